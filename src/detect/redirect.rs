//! **B5, redirects.** Hosts and routers are told to send traffic elsewhere: ICMP redirects and router advertisements.
//!
//! *Sees*: ICMP redirects of any code (RFC 792, type 5; RFC 4861 section 4.5, type 137) and router advertisements (RFC 1256,
//! ICMP type 9; RFC 4861 section 4.2, ICMPv6 type 134), grouped by who sends them and where they point.
//! *Cannot see*: whether anybody obeyed; routes given by DHCP (B8) or routing protocols (B18).
//! *Guards*: a redirect that names a gateway of the network, sent by one of them, is how a LAN with two routers works
//! (`B5.between-gateways`): named, not reported. Router advertisements are normal on a LAN: reported only where the network's gateways
//! are known and the sender is none of them (`B5.rogue-router`); else named (`B5.router-advertisement`).
//! *Thresholds*: one packet suffices: on links between carriers, where hosts are not, the expected number is 0 (catalogue, B5). Where
//! gateways are not known, a redirect is of medium severity; where they are known and not meant, high.
//! ATT&CK: T1557 (Adversary-in-the-Middle).

use super::claim::Tally;
use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Wanted, saved};
use crate::messages::{self, Kinds, View};
use crate::wire::ip::Addr;
use serde::{Deserialize, Serialize};

/// Tap, sender, whether it is a redirect, and to which gateway.
type Key = (u16, Option<Addr>, bool, Option<Addr>);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Redirect {
    claims: Claims<Key>,
    messages: u64,
}

impl Detector for Redirect {
    saved!(claims);

    fn id(&self) -> &'static str {
        "B5"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Icmp])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::Icmp(icmp) = messages else { return };
        self.messages += 1;
        let is_redirect = match (icmp.version(row), icmp.type_(row)) {
            (Some(4), Some(5)) | (Some(6), Some(137)) => true,
            (Some(4), Some(9)) | (Some(6), Some(134)) => false,
            _ => return,
        };
        let tap = context.paths.get(seen.sighting.path).tap;
        if let Some(tally) =
            self.claims.entry((tap, seen.packet.src(), is_redirect, icmp.gateway(row)), context.room)
        {
            tally.add(seen, seen.sighting, None, (Role::Offending, Role::Offending), context);
            tally.subject = tally.subject.or(icmp.quoted_dst(row));
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let (missing, overflow) = (self.claims.missing(), self.claims.overflow());
        let claims = self.claims.take().into_iter().map(|(key, tally)| claim(key, tally, &outcome.context));
        (
            claims.collect(),
            Scope::of_kinds(outcome, self.messages, self.messages.saturating_sub(overflow), [missing]),
        )
    }
}

fn claim((_, sender, is_redirect, gateway): Key, tally: Tally, context: &Context<'_>) -> Claim {
    let gateways = &context.network.gateways;
    let is_gateway = |addr: Option<Addr>| addr.is_some_and(|addr| gateways.contains(addr));
    let (detector, report, severity) = match (is_redirect, gateways.is_empty()) {
        (true, true) => ("B5.redirect", true, Severity::Medium),
        (true, false) if is_gateway(sender) && is_gateway(gateway) => {
            ("B5.between-gateways", false, Severity::Info)
        }
        (true, false) => ("B5.redirect", true, Severity::High),
        (false, false) if !is_gateway(sender) => ("B5.rogue-router", true, Severity::High),
        (false, _) => ("B5.router-advertisement", false, Severity::Info),
    };
    let (packets, subject) = (tally.packets, tally.subject);
    let claim = Claim::new(detector, Kind::Diversion, severity, tally, context);
    Claim {
        report,
        exporter: sender,
        collector: gateway.or(sender.filter(|_| !is_redirect)),
        subject,
        in_scope: packets,
        judged: packets,
        ..claim
    }
}
