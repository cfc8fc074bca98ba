//! **A3, interception outside of mediation.** Copies of a subject's traffic in the headers that lawful intercept uses, on their way to
//! somebody. Whether that is the mediation device is for policy to say.
//!
//! *Sees*: packets behind the 4 or 8 bytes that Juniper, Nokia, Cisco and `PacketCable` put before an intercepted packet (formats as
//! the collectors of `OpenLI` read them), grouped by exporter, mediation device and intercept id.
//! *Cannot see*: handover interfaces (ETSI TS 102 232), which go in TCP and mostly in TLS; exports that are encrypted (A7); headers of
//! other lengths. A private tunnel that puts 4 or 8 constant bytes before each packet looks the same.
//! *Guards*: every packet proves itself (length and header checksum, see `wire::shim`: chance does that once in 2^36 datagrams), so that
//! others to the same destination need not be few. An id stays the same while a conversation does: of the packets of
//! conversations that were seen before, 95 % must have the id that they had, else it is a counter and no id (`A3.unproven`, named only).
//! *Thresholds*: 20 packets to one destination, 95 % (catalogue, A3). Of medium severity; high where a packet inside also passed a tap by
//! itself, as for A1.
//! ATT&CK: T1020.001 (Traffic Duplication).

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, saved};
use crate::dissect::{Encap, Stack};
use crate::hash::fold;
use crate::table::Table;
use crate::wire::ip::Addr;

const MIN_PACKETS: u64 = 20;
/// Packets of known conversations that suffice to tell an id from a counter.
const MIN_REPEATS: u64 = 10;

/// Tap, exporter and mediation device.
type Export = (u16, Option<Addr>, Option<Addr>);

/// One intercept: where it goes, how, and its id.
type Intercept = (Export, Stack, Option<u32>);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct InterceptExport {
    claims: Claims<Intercept>,
    exports: HashMap<Export, Steadiness>,
    /// The last id of each conversation of each export, plus one.
    last: Table<u64>,
}

/// Whether ids stay.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Steadiness {
    packets: u64,
    /// Packets of conversations that were seen before, and those of them whose id had changed.
    repeats: u64,
    changes: u64,
    /// The first id, and whether there was another.
    id: Option<u32>,
    has_others: bool,
}

impl Steadiness {
    fn is_id(&self) -> bool {
        !self.has_others || (self.repeats >= MIN_REPEATS && self.changes * 20 <= self.repeats)
    }
}

impl Detector for InterceptExport {
    saved!(claims);

    fn id(&self) -> &'static str {
        "A3"
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        if !seen.packet.encap().iter().any(|encap| encap == Encap::Intercept) {
            return;
        }
        let path = context.paths.get(seen.sighting.path);
        let is_again = |earlier: &Sighting| context.paths.get(earlier.path).same_tunnel(path);
        if seen.earlier.iter().any(is_again) {
            return;
        }
        let export = (path.tap, path.outer_src, path.outer_dst);
        let Some(tally) = self.claims.entry((export, path.encap, path.tunnel_id), context.room) else {
            return;
        };
        let original =
            seen.earlier.iter().find(|earlier| path.encap.wraps(context.paths.get(earlier.path).encap));
        tally.add(seen, seen.sighting, original.copied(), (Role::Original, Role::Mirror), context);
        // Whose claims are bounded, so are these.
        let ids = self.exports.entry(export).or_default();
        ids.packets += 1;
        if ids.packets == 1 {
            ids.id = path.tunnel_id;
        }
        ids.has_others |= ids.id != path.tunnel_id;
        let ends = path.outer_src.into_iter().chain(path.outer_dst);
        let ends = ends.fold(1, |hash, addr| {
            fold(hash ^ u128::from_le_bytes(addr) as u64, hash | 1) ^ (u128::from_le_bytes(addr) >> 64) as u64
        });
        if let Some(flow) = seen.packet.flow_id()
            && let Some(last) = self.last.entry(fold(flow ^ ends, 0x9e37_79b9_7f4a_7c15) | 1)
        {
            let id = path.tunnel_id.map_or(0, u64::from) + 1;
            if *last != 0 {
                ids.repeats += 1;
                ids.changes += u64::from(*last != id);
            }
            *last = id;
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let (missing, overflow) = (self.claims.missing(), self.claims.overflow());
        let mut claims = Vec::new();
        for ((export, ..), tally) in self.claims.take() {
            let ids = self.exports.get(&export).copied().unwrap_or_default();
            let (packets, severity) =
                (tally.packets, if tally.lag().is_some() { Severity::High } else { Severity::Medium });
            let claim = Claim::new("A3.intercept", Kind::Copy, severity, tally, &outcome.context);
            let claim = Claim { in_scope: packets, judged: packets, ..claim };
            let is_proven = ids.packets >= MIN_PACKETS && ids.is_id();
            claims.push(if is_proven { claim } else { claim.unproven("A3.unproven") });
        }
        let counts = outcome.counts;
        let unread = (counts.read < counts.packets)
            .then(|| "frames whose headers could not be read to the end".into());
        (claims, Scope::new(counts.packets, counts.read.saturating_sub(overflow), [unread, missing]))
    }
}
