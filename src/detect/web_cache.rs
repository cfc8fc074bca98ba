//! **B21, WCCP.** A router hands packets over to a device that called itself a cache.
//!
//! *Sees*: the messages by which caches and routers agree (UDP port 2048: *here I am*, *I see you*, *redirect assign*), and packets
//! that a router redirects (GRE protocol 0x883E), grouped by router and cache (draft-mclaggan-wccp-v2rev1).
//! *Cannot see*: redirection by rewriting the destination MAC address, which the two may agree on instead of GRE; packets that were
//! handed over before the capture began, unless they go on.
//! *Guards*: a cache that the policy's `infrastructure` lists is what the network wants: named (`B21.listed`), not reported. Of a
//! packet that passed the same tap before, only the first counts. A router's *I see you* alone names the cache it is sent to.
//! *Thresholds*: one packet suffices: who does not use WCCP expects none, who does can list its caches. Where `infrastructure` is
//! not known, agreement and redirection are of medium severity; where it is known and does not have the cache, high.
//! ATT&CK: T1557 (Adversary-in-the-Middle).

use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Wanted, saved};
use crate::messages::{self, Kinds, View};
use crate::wire::ip::Addr;

/// Router, cache, and whether packets are redirected.
type Key = (Option<Addr>, Option<Addr>, bool);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct WebCache {
    claims: Claims<Key>,
}

impl Detector for WebCache {
    saved!(claims);

    fn id(&self) -> &'static str {
        "B21"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Wccp])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::Wccp(wccp) = messages else { return };
        if seen.was_here(context) {
            return;
        }
        let packet = &seen.packet;
        let is_redirected = wccp.is_redirected(row) == Some(true);
        let (from, to) = if is_redirected {
            (packet.outer_src().or(packet.src()), packet.outer_dst().or(packet.dst()))
        } else {
            (packet.src(), packet.dst())
        };
        let (router, cache) = match wccp.message(row) {
            // Redirected packets, I see you, removal query.
            None | Some(8 | 11 | 13) => (from, to),
            // Caches may speak to a group of routers: that is one party.
            _ => (to, from),
        };
        if let Some(tally) = self.claims.entry((router, cache, is_redirected), context.room) {
            tally.add(seen, seen.sighting, None, (Role::Offending, Role::Redirected), context);
            if is_redirected {
                tally.subject = tally.subject.or(packet.src());
            }
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

fn claim((router, cache, is_redirected): Key, tally: Tally, context: &Context<'_>) -> Claim {
    let devices = &context.network.infrastructure;
    let is_listed = cache.is_some_and(|cache| devices.contains(cache));
    let class = if is_redirected { "B21.redirected" } else { "B21.agreement" };
    let (detector, report, severity) = match (devices.is_empty(), is_listed) {
        (true, _) => (class, true, Severity::Medium),
        (false, true) => ("B21.listed", false, Severity::Info),
        (false, false) => (class, true, Severity::High),
    };
    let (packets, subject) = (tally.packets, tally.subject);
    let claim = Claim::new(detector, Kind::Diversion, severity, tally, context);
    Claim { report, exporter: router, collector: cache, subject, in_scope: packets, judged: packets, ..claim }
}
