//! **A1, encapsulated sibling.** A packet that is also seen inside a tunnel it was not put into to get where it goes.
//!
//! *Sees*: two sightings of one packet, one of them with further encapsulations around it, on one tap or on two,
//! in either order, within the window. Any tunnel that the walk peels counts, not only those made for mirroring.
//! *Cannot see*: copies in encrypted tunnels, copies cut so short that the inner packet has no id, and copies whose
//! original passes no tap.
//! *Guards*: weak ids prove nothing and are not judged. A frame that was itself captured twice counts once. A tunnel
//! that carries traffic in both directions between its two ends and is not made for mirroring is a tunnel
//! whose head-end the tap sees from both sides (`A1.tunnel-head-end`): named, not reported.
//! *Thresholds*: window 5 s (catalogue's default). Reported from 2 packets on: strong ids of 64 bits make one chance
//! match unlikely (n²/2⁶⁴ over n packets in the window), and a second one in the same tunnel more so.
//! ATT&CK: T1020.001 (Traffic Duplication), T1040 (Network Sniffing).

use hashbrown::{HashMap, HashSet};

use super::mirror::is_mirror;
use super::{Claim, Claims, Context, Detector, Kind, Role, Scope, Seen, Severity, Sighting};
use crate::dissect::Stack;
use crate::flows::PathId;
use crate::packets::ids;
use crate::wire::ip::Addr;

const MIN_PACKETS: u64 = 2;

/// A tunnel in one direction on one tap: tap, source, destination, stack, id.
type Tunnel = (u16, Option<Addr>, Option<Addr>, Stack, Option<u32>);

/// The two ends and the stack of a tunnel, in one direction.
type Ends = (Option<Addr>, Option<Addr>, Stack);

/// The detector.
#[derive(Debug, Default)]
pub(super) struct EncapsulatedSibling {
    /// By tunnel, and by the tap that saw the originals.
    claims: Claims<(Tunnel, u16)>,
    /// Paths of the originals of each claim.
    originals: HashMap<(Tunnel, u16), HashSet<PathId>>,
    /// Tunnels that carry anything, to know which are used in both directions.
    ends: HashSet<Ends>,
    scope: Scope,
}

/// More tunnels than this are not remembered; a tunnel that is not is taken for one-way.
const MAX_ENDS: usize = 1 << 16;
const MAX_ORIGINALS: usize = 1 << 10;

impl Detector for EncapsulatedSibling {
    fn id(&self) -> &'static str {
        "A1"
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        let packet = seen.packet;
        let Some(packet_id) = packet.packet_id else {
            self.scope.in_scope += u64::from(packet.src.is_some());
            return;
        };
        self.scope.in_scope += 1;
        self.scope.judged += u64::from(ids::is_strong(packet_id));
        if !packet.encap.is_empty() && self.ends.len() < MAX_ENDS {
            self.ends.insert((packet.outer_src, packet.outer_dst, packet.encap));
        }
        if seen.earlier.is_empty() {
            return;
        }
        let now = seen.sighting;
        let path = context.paths.get(now.path);
        let is_again = |earlier: &&Sighting| {
            let other = context.paths.get(earlier.path);
            other.tap == path.tap && other.same_tunnel(&path)
        };
        let within =
            |earlier: &&Sighting| now.ts.saturating_sub(earlier.ts).saturating_abs() <= context.window;
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

    fn finish(&mut self, context: &Context<'_>) -> (Vec<Claim>, Scope) {
        let mut claims = Vec::new();
        for (key, tally) in self.claims.take() {
            let ((_, src, dst, encap, _), _) = key;
            let head_end = !is_mirror(encap) && self.ends.contains(&(dst, src, encap));
            let enough = tally.packets >= MIN_PACKETS;
            let mut claim = if head_end {
                Claim::new("A1.tunnel-head-end", Kind::Tunnel, Severity::Info, tally, context)
            } else {
                Claim::new("A1.encapsulated-sibling", Kind::Copy, Severity::High, tally, context)
            };
            claim.report = !head_end && enough;
            claim.count_scope(&self.originals.remove(&key).unwrap_or_default(), context);
            claims.push(claim);
        }
        self.originals.clear();
        self.ends.clear();
        if self.scope.judged < self.scope.in_scope {
            self.scope.reason =
                Some("packets too short, or captured too short, to be told from others".into());
        }
        (claims, std::mem::take(&mut self.scope))
    }
}

impl EncapsulatedSibling {
    fn count(&mut self, seen: &Seen<'_>, copy: Sighting, original: Sighting, context: &Context<'_>) {
        let path = context.paths.get(copy.path);
        let tunnel = (path.tap, path.outer_src, path.outer_dst, path.encap, path.tunnel_id);
        let key = (tunnel, context.paths.get(original.path).tap);
        let Some(tally) = self.claims.entry(key) else { return };
        tally.add(seen, copy, Some(original), (Role::Original, Role::Copy), context);
        let originals = self.originals.entry(key).or_default();
        if originals.len() < MAX_ORIGINALS {
            originals.insert(original.path);
        }
    }
}
