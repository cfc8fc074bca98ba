//! **A1, encapsulated sibling.** A packet that is also seen inside a tunnel it was not put into to get where it goes.
//!
//! *Sees*: two sightings of one packet, one of them with further encapsulations around it, on one tap or on two,
//! in either order, within the window, or as long as memory reaches back if its host numbers packets.
//! Any tunnel that the walk peels counts, not only those made for mirroring.
//! *Cannot see*: copies in encrypted tunnels, copies cut so short that the inner packet has no id, and copies whose
//! original passes no tap.
//! *Guards*: weak ids prove nothing and are not judged. A frame that was itself captured twice counts once. A tunnel
//! that carries traffic in both directions between its two ends and is not made for mirroring is a tunnel
//! whose head-end the tap sees from both sides (`A1.tunnel-head-end`): named, not reported.
//! *Thresholds*: window 5 s (catalogue's default). Reported from 2 packets on: strong ids of 64 bits make one chance
//! match unlikely (n²/2⁶⁴ over n packets in the window), and a second one in the same tunnel more so. Beyond the window, from 3
//! identifications on, as in A5.
//! ATT&CK: T1020.001 (Traffic Duplication), T1040 (Network Sniffing).

use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::conversations::Originals;
use super::mirror::is_mirror;
use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, saved};
use crate::classify::App;
use crate::dissect::Stack;
use crate::paths::{Flow, PathId};
use crate::wire::ip::Addr;

const MIN_PACKETS: u64 = 2;
/// Copies later than the window have so many different identifications at least.
const MIN_IP_IDS: usize = 3;

/// A tunnel in one direction on one tap: tap, source, destination, id. Its stack may differ from packet to packet, as
/// IPv4 and IPv6 in IP do.
type Tunnel = (u16, Option<Addr>, Option<Addr>, Option<u32>);

/// The two ends and the stack of a tunnel, in one direction.
type Ends = (Option<Addr>, Option<Addr>, Stack);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct EncapsulatedSibling {
    claims: Claims<Tunnel>,
    /// Paths of the originals of each claim.
    originals: HashMap<Tunnel, HashSet<PathId>>,
}

const MAX_ORIGINALS: usize = 1 << 10;

impl Detector for EncapsulatedSibling {
    saved!(claims);

    fn id(&self) -> &'static str {
        "A1"
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        if seen.earlier.is_empty() {
            return;
        }
        let now = seen.sighting;
        let path = context.paths.get(now.path);
        let is_again = |earlier: &&Sighting| {
            let other = context.paths.get(earlier.path);
            other.tap == path.tap && other.same_tunnel(path)
        };
        // Later, only what its host numbered is told from what it sent again.
        let within = |earlier: &&Sighting| {
            now.ip_id != 0 || now.ts.saturating_sub(earlier.ts).saturating_abs() <= context.window
        };
        let recent = || seen.earlier.iter().filter(within);
        if recent().any(|earlier| is_again(&earlier)) {
            return;
        }
        // The original it stands beside: of those that fit, one on the same tap, else the first seen.
        let original = recent()
            .filter(|earlier| path.encap.wraps(context.paths.get(earlier.path).encap))
            .min_by_key(|earlier| (context.paths.get(earlier.path).tap != path.tap, earlier.ts));
        if let Some(&original) = original {
            self.count(seen, now, original, context);
            return;
        }
        // Or it is the original, and its copies came before it: those that no other original has claimed.
        for &copy in recent() {
            let copy_path = context.paths.get(copy.path);
            let claimed = recent().any(|other| {
                let other = context.paths.get(other.path);
                copy_path.encap.wraps(other.encap)
            });
            if copy_path.encap.wraps(path.encap) && !claimed {
                self.count(seen, copy, now, context);
            }
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let (context, missing) = (&outcome.context, self.claims.missing());
        // Tunnels that carry packets, to know which are used in both directions.
        let carriers = context.flows.iter();
        let carriers =
            carriers.filter(|flow| flow.flow_id().is_some() || u64::from(flow.weak) < flow.packets);
        let carriers = carriers.map(|flow| context.paths.get(flow.path));
        let ends: HashSet<Ends> = carriers
            .filter(|path| !path.encap.is_empty())
            .map(|path| (path.outer_src, path.outer_dst, path.encap))
            .collect();
        let mut claims = Vec::new();
        for (key, tally) in self.claims.take() {
            let (_, src, dst, _) = key;
            let encap = tally.paths.1.map(|path| context.paths.get(path).encap).unwrap_or_default();
            let head_end = !is_mirror(encap) && ends.contains(&(dst, src, encap));
            let is_late = tally.lag().is_some_and(|lag| lag.saturating_abs() > context.window);
            let enough = tally.packets >= MIN_PACKETS && (!is_late || tally.distinct_ip_ids() >= MIN_IP_IDS);
            let mut claim = if head_end {
                Claim::new("A1.tunnel-head-end", Kind::Tunnel, Severity::Info, tally, context)
            } else {
                Claim::new("A1.encapsulated-sibling", Kind::Copy, Severity::High, tally, context)
            };
            claim.report = !head_end;
            let originals = self.originals.remove(&key).unwrap_or_default();
            claim.count_scope(Originals::Paths(&originals), outcome);
            claims.push(if head_end || enough { claim } else { claim.unproven("A1.unproven") });
        }
        self.originals.clear();
        // What is sealed was compared as a packet of the tunnel, but not what it carries.
        let is_sealed = |flow: &&Flow| {
            flow.key().label.app.is_some_and(|app| matches!(app, App::Esp | App::WireGuard | App::OpenVpn))
        };
        let sealed: u64 = context.flows.iter().filter(is_sealed).map(|flow| flow.packets).sum();
        let why = (sealed > 0)
            .then(|| format!("{sealed} packets of encrypted tunnels, into which nobody can look (A7 looks at their sizes and times)"));
        let scope = Scope::of_compared(outcome, [missing, why]);
        (claims, Scope { judged: scope.judged.saturating_sub(sealed), ..scope })
    }
}

impl EncapsulatedSibling {
    fn count(&mut self, seen: &Seen<'_>, copy: Sighting, original: Sighting, context: &Context<'_>) {
        let path = context.paths.get(copy.path);
        let key = (path.tap, path.outer_src, path.outer_dst, path.tunnel_id);
        let (tally, replaced) = self.claims.entry_or_replace(key, context.room);
        if let Some(replaced) = replaced {
            self.originals.remove(&replaced);
        }
        let Some(tally) = tally else { return };
        tally.add(seen, copy, Some(original), (Role::Original, Role::Copy), context);
        let originals = self.originals.entry(key).or_default();
        if originals.len() < MAX_ORIGINALS {
            originals.insert(original.path);
        }
    }
}
