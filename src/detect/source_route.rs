//! **B17, ways that packets name.** A packet that says itself where it is to go passes by what the routes say.
//!
//! *Sees*: loose and strict source routes and record routes of IPv4 (RFC 791 section 3.1), routing headers of type 0 (deprecated by
//! RFC 5095) and segment routing headers (RFC 8754) of IPv6, MPLS router alert (RFC 3032 section 2.1) and network service headers
//! (RFC 8300), grouped by the packet's source and where it is to come to.
//! *Cannot see*: whether a router obeyed; a source route that a router has taken off; SR-MPLS, whose labels are like any others; service
//! paths that are too many to be listed.
//! *Guards*: record routes, router alerts, service headers and routing headers of other types (RFC 6275, RFC 6554) do not send a packet
//! elsewhere, or belong to how a network works: named, not reported. Segment routing is reported only where the policy lists the network's
//! `infrastructure` and the last segment is not in it (`B17.segments-outside`); else named (`B17.segments`). Of a packet that passed
//! the same tap before, only the first counts.
//! *Thresholds*: one packet suffices: CISA's hardening guide for communications infrastructure (2024) wants source routing disabled, and
//! RFC 5095 forbids type 0, so the expected number of both is 0.
//! ATT&CK: T1557 (Adversary-in-the-Middle).

use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Wanted, saved};
use crate::messages::{self, Kinds, View};
use crate::wire::ip::Addr;

/// What a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Way {
    Loose,
    Strict,
    /// A routing header of type 0.
    TypeZero,
    Segments,
    Recorded,
    Alert,
    Service,
    Other,
}

impl Way {
    /// What a source route is called.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Loose => Some("loose source route"),
            Self::Strict => Some("strict source route"),
            Self::TypeZero => Some("routing header of type 0"),
            _ => None,
        }
    }
}

/// What it is, the packet's source, its destination, and the last address it lists.
type Key = (Way, Option<Addr>, Option<Addr>, Option<Addr>);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SourceRoute {
    claims: Claims<Key>,
}

impl Detector for SourceRoute {
    saved!(claims);

    fn id(&self) -> &'static str {
        "B17"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::PathOptions])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::PathOptions(ways) = messages else { return };
        let way = match ways.kind(row).as_deref() {
            Some("lsrr") => Way::Loose,
            Some("ssrr") => Way::Strict,
            Some("rh0") => Way::TypeZero,
            Some("srh") => Way::Segments,
            Some("rr") => Way::Recorded,
            Some("mpls-alert") => Way::Alert,
            Some("nsh") => Way::Service,
            _ => Way::Other,
        };
        let is_empty = way.name().is_some() && ways.hops(row) == Some(0);
        if is_empty || seen.was_here(context) {
            return;
        }
        // Where it came by is not what tells records apart, nor who sent it what tells segments apart.
        let (from, to, last) = (ways.from(row), ways.to(row), ways.last(row));
        let key = match way {
            Way::Segments => (way, None, None, last),
            _ if way.name().is_some() => (way, from, to, last),
            _ => (way, None, None, None),
        };
        if let Some(tally) = self.claims.entry(key, context.room) {
            tally.add(seen, seen.sighting, None, (Role::Offending, Role::Offending), context);
            tally.subject = tally.subject.or(from);
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let claims = self.claims.take().into_iter().map(|(key, tally)| claim(key, tally, &outcome.context));
        // Every packet could have been one.
        let counts = outcome.counts;
        (claims.collect(), Scope::new(counts.packets, counts.read, [missing]))
    }
}

fn claim((way, from, to, last): Key, tally: Tally, context: &Context<'_>) -> Claim {
    let devices = &context.network.infrastructure;
    let is_outside = !devices.is_empty() && last.is_some_and(|last| !devices.contains(last));
    let (detector, report, severity) = match way {
        Way::Loose | Way::Strict | Way::TypeZero => ("B17.source-route", true, Severity::Medium),
        Way::Segments if is_outside => ("B17.segments-outside", true, Severity::Low),
        Way::Segments => ("B17.segments", false, Severity::Info),
        Way::Recorded => ("B17.record-route", false, Severity::Info),
        Way::Alert => ("B17.router-alert", false, Severity::Info),
        Way::Service => ("B17.service-header", false, Severity::Info),
        Way::Other => ("B17.routing-header", false, Severity::Info),
    };
    let (packets, subject) = (tally.packets, tally.subject);
    let claim = Claim::new(detector, Kind::Diversion, severity, tally, context);
    Claim {
        report,
        exporter: from.or(subject),
        collector: last.or(to),
        subject,
        detail: way.name().map(str::to_owned),
        in_scope: packets,
        judged: packets,
        ..claim
    }
}
