//! **A5, duplicates by class.** Every second sighting of a packet is named by how the two differ; those that a
//! harmless cause explains are counted, the others are claims.
//!
//! *Sees*: equal `packet_id`s (and, for rewritten addresses, equal `payload_id`s) on one tap and between two.
//!
//! | class | the two sightings | meaning |
//! |---|---|---|
//! | `span-both` | same MACs, VLAN, TTL; at most 10 ms apart | SPAN of both directions, loopback |
//! | `routed-span` | TTL one less, source MAC differs or both equal; at most 10 ms apart | both sides of a router on one tap |
//! | `vlan-copy` | same TTL, other VLAN or other source MAC | inter-VLAN, RSPAN, bridge |
//! | `multicast` | to a group address | replication that is meant |
//! | `loop` | three or more, TTL falls from each to the next | routing loop |
//! | `retransmission` | as `late`, but nothing in the packet numbers it | the host sent it again |
//! | `forwarded` | on two taps | passed the router |
//! | `translated` | same payload, a source address rewritten | address translation |
//! | **`forked`** | same source MAC, other destination MAC or other label | the router sent it to a second next hop |
//! | **`late`** | numbered by its host, and more than 10 ms apart, TTL falls by more than one, or rises | replay, tee, injection |
//! | **`readdressed`** | same payload and number, destination rewritten | relay, man in the middle |
//!
//! *Cannot see*: forks on a link that no tap sees; copies with rewritten payload or header; anything about weak packets.
//! *Guards*: of all earlier sightings, a harmless explanation is preferred. Reported from 3 packets on. `late` and
//! `readdressed` need an identification that varies between packets (hosts that number all packets alike, or not at
//! all as in IPv6, send retransmissions that equal the original), so late copies of IPv6 are not told from retransmissions.
//! Rewriting counts as translation, not as redirection, if the conversation was opened by the side whose
//! address is rewritten.
//! *Thresholds*: 10 ms separates capture artefacts from late copies (measured over 4,299 public captures; catalogue, A5).
//! ATT&CK: T1020.001 (Traffic Duplication), T1557 (Adversary-in-the-Middle) for rewriting.

use hashbrown::{HashMap, HashSet};

use super::claim::Tally;
use super::{Claim, Claims, Context, Detector, Kind, Role, Scope, Seen, Severity, Sighting};
use crate::dissect::Mac;
use crate::flows::{FlowKey, Path, PathId};
use crate::packets::ids;
use crate::wire::ip::Addr;

/// Capture artefacts and the way through a router take less than this, in nanoseconds.
const ARTEFACT: i64 = 10_000_000;
/// Rewritten packets leave within this time, in nanoseconds.
const REWRITE: i64 = 1_000_000_000;
/// A packet between two taps is late if it took this much longer than is usual, in nanoseconds.
const LATE_BETWEEN_TAPS: i64 = 500_000_000;
const MIN_PACKETS: u64 = 3;
const MIN_IP_IDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Class {
    // From the most harmless explanation to the least.
    SpanBoth,
    RoutedSpan,
    VlanCopy,
    Multicast,
    Forwarded,
    Loop,
    Retransmission,
    Translated,
    Late,
    Forked,
    Readdressed,
}

impl Class {
    const fn name(self) -> &'static str {
        match self {
            Self::SpanBoth => "A5.span-both",
            Self::RoutedSpan => "A5.routed-span",
            Self::VlanCopy => "A5.vlan-copy",
            Self::Multicast => "A5.multicast",
            Self::Forwarded => "A5.forwarded",
            Self::Loop => "A5.loop",
            Self::Retransmission => "A5.retransmission",
            Self::Translated => "A5.translated",
            Self::Late => "A5.late",
            Self::Forked => "A5.forked",
            Self::Readdressed => "A5.readdressed",
        }
    }
}

/// What tells one claim from another. Harmless classes are told apart by tap only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// Class, tap of the original, tap of the copy.
    Named(Class, u16, u16),
    /// Class and paths, in order of their numbers for forks (which of the two is the copy shows at the end).
    Paths(Class, PathId, PathId),
    /// Taps, address before and after, and whether it is the destination.
    Rewritten { taps: (u16, u16), from: Addr, to: Addr, destination: bool },
}

/// The detector.
#[derive(Debug, Default)]
pub(super) struct Duplicate {
    claims: Claims<Key>,
    rewrites: HashMap<(Addr, Addr), Opening>,
    lags: HashMap<(u16, u16), Lags>,
    scope: Scope,
}

/// How conversations between a pair of addresses, of which one stands for the other, were opened.
#[derive(Debug, Clone, Copy)]
struct Opening {
    /// Whether the first packet seen had its destination rewritten.
    first_at_destination: bool,
    /// TCP connection requests whose destination (true) or source (false) was rewritten.
    requests: [u32; 2],
    /// Packets whose rewritten side had the lower port and one below 1024: a server's.
    server_side: [u32; 2],
}

/// The usual time from one tap to another.
#[derive(Debug, Default)]
struct Lags {
    first: Vec<i64>,
    usual: Option<i64>,
}

impl Lags {
    const ENOUGH: usize = 33;

    /// Takes note of a time; says whether it is unusually long.
    fn is_late(&mut self, lag: i64) -> bool {
        if let Some(usual) = self.usual {
            return lag.saturating_sub(usual) > LATE_BETWEEN_TAPS;
        }
        self.first.push(lag);
        if self.first.len() == Self::ENOUGH {
            self.usual = Some(*self.first.select_nth_unstable(Self::ENOUGH / 2).1);
        }
        false
    }
}

const MAX_REWRITES: usize = 1 << 16;

impl Detector for Duplicate {
    fn id(&self) -> &'static str {
        "A5"
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        if seen.packet.src.is_none() {
            return;
        }
        self.scope.in_scope += 1;
        if !ids::is_strong(seen.sighting.packet_id) {
            return;
        }
        self.scope.judged += 1;
        let now = seen.sighting;
        let path = context.paths.get(now.path);
        let explained = seen
            .earlier
            .iter()
            .filter_map(|&earlier| {
                let other = context.paths.get(earlier.path);
                // Copies in tunnels are A1's.
                path.same_tunnel(&other).then(|| (self.class(seen, &path, earlier, &other), earlier))
            })
            .min_by_key(|&(class, earlier)| (class, std::cmp::Reverse(earlier.ts)));
        if let Some((class, earlier)) = explained {
            let class = if class == Class::Late && falls_steadily(seen) { Class::Loop } else { class };
            let key = match class {
                Class::Forked => Key::Paths(class, earlier.path.min(now.path), earlier.path.max(now.path)),
                Class::Late => Key::Paths(class, earlier.path, now.path),
                _ => Key::Named(class, context.paths.get(earlier.path).tap, path.tap),
            };
            if let Some(tally) = self.claims.entry(key) {
                tally.add(seen, now, Some(earlier), (Role::Original, Role::Copy), context);
            }
        } else if let Some(earlier) = seen.same_payload {
            self.rewritten(seen, &path, earlier, context);
        }
    }

    fn finish(&mut self, context: &Context<'_>) -> (Vec<Claim>, Scope) {
        let mut claims = Vec::new();
        for (key, tally) in self.claims.take() {
            claims.push(match key {
                Key::Named(class, ..) => {
                    let claim = Claim::new(class.name(), Kind::Duplicate, Severity::Info, tally, context);
                    Claim { report: false, ..claim }
                }
                Key::Paths(Class::Forked, a, b) => forked(a, b, tally, context),
                Key::Paths(class, original, _) => {
                    let report = tally.packets >= MIN_PACKETS && tally.distinct_ip_ids() >= MIN_IP_IDS;
                    let mut claim = Claim::new(class.name(), Kind::Copy, Severity::Medium, tally, context);
                    claim.report = report;
                    claim.count_scope(&HashSet::from([original]), context);
                    claim
                }
                Key::Rewritten { from, to, destination, .. } => {
                    self.readdressed(from, to, destination, tally, context)
                }
            });
        }
        self.rewrites.clear();
        self.lags.clear();
        if self.scope.judged < self.scope.in_scope {
            self.scope.reason =
                Some("packets too short, or captured too short, to be told from others".into());
        }
        (claims, std::mem::take(&mut self.scope))
    }
}

impl Duplicate {
    /// What a second sighting is, seen from one earlier one.
    fn class(&mut self, seen: &Seen<'_>, path: &Path, earlier: Sighting, other: &Path) -> Class {
        let now = seen.sighting;
        let fall = i16::from(earlier.ttl) - i16::from(now.ttl);
        let gap = now.ts.saturating_sub(earlier.ts).saturating_abs();
        let same_src = path.eth_src == other.eth_src;
        let same_macs = same_src && path.eth_dst == other.eth_dst;
        let same_vlan = (path.vlan, path.vlan_inner) == (other.vlan, other.vlan_inner);
        let same_labels = path.mpls == other.mpls;
        if is_group(seen, path) {
            return Class::Multicast;
        }
        // A router that sends a packet out changes its source MAC: two that have the same, left the same router.
        let left_same_router = same_src && path.eth_src.is_some() && fall.abs() <= 1;
        if left_same_router && (path.eth_dst != other.eth_dst || (same_macs && same_vlan && !same_labels)) {
            return Class::Forked;
        }
        if path.tap != other.tap {
            let late = self
                .lags
                .entry((other.tap, path.tap))
                .or_default()
                .is_late(now.ts.saturating_sub(earlier.ts));
            return if late { late_or_again(now) } else { Class::Forwarded };
        }
        match fall {
            0 if !same_macs || !same_vlan => Class::VlanCopy,
            0 if gap <= ARTEFACT => Class::SpanBoth,
            -1 | 1 if gap <= ARTEFACT => Class::RoutedSpan,
            _ => late_or_again(now),
        }
    }

    /// Takes note of a packet that has another's payload but not its addresses.
    fn rewritten(&mut self, seen: &Seen<'_>, path: &Path, earlier: Sighting, context: &Context<'_>) {
        let now = seen.sighting;
        let gap = now.ts.saturating_sub(earlier.ts).saturating_abs();
        // A host that sends the same payload to two others numbers the packets differently.
        let same_number = now.ip_id.is_some() && now.ip_id == earlier.ip_id;
        let Some(before) = context.flows.get(earlier.flow).map(|flow| flow.key) else { return };
        let after = seen.packet;
        let fall = i16::from(earlier.ttl) - i16::from(now.ttl);
        if !same_number || gap > REWRITE || !(0..=3).contains(&fall) || before.protocol != after.protocol {
            return;
        }
        let other = context.paths.get(earlier.path);
        let Some((from, to, destination)) = rewritten_address(&before, after.src, after.dst) else { return };
        let pair = (from.min(to), from.max(to));
        let (port, peer_port) =
            if destination { (after.dst_port, after.src_port) } else { (after.src_port, after.dst_port) };
        if self.rewrites.len() < MAX_REWRITES || self.rewrites.contains_key(&pair) {
            let opening = self.rewrites.entry(pair).or_insert(Opening {
                first_at_destination: destination,
                requests: [0; 2],
                server_side: [0; 2],
            });
            let is_request = after.tcp_flags & 0x12 == 0x02;
            let is_server = port < peer_port && port < 1024;
            let side = usize::from(destination);
            if let (Some(requests), Some(servers)) =
                (opening.requests.get_mut(side), opening.server_side.get_mut(side))
            {
                *requests = requests.saturating_add(is_request.into());
                *servers = servers.saturating_add(is_server.into());
            }
        }
        let key = Key::Rewritten { taps: (other.tap, path.tap), from, to, destination };
        if let Some(tally) = self.claims.entry(key) {
            tally.add(seen, now, Some(earlier), (Role::Original, Role::Redirected), context);
        }
    }

    fn readdressed(
        &self,
        from: Addr,
        to: Addr,
        destination: bool,
        tally: Tally,
        context: &Context<'_>,
    ) -> Claim {
        let enough = tally.packets >= MIN_PACKETS && tally.distinct_ip_ids() >= MIN_IP_IDS;
        let opening = self.rewrites.get(&(from.min(to), from.max(to)));
        let at_server = opening.is_some_and(|opening| opening.is_redirect());
        // The way back of a redirection is part of it, and not reported a second time.
        let class = if at_server && destination { Class::Readdressed } else { Class::Translated };
        let original = tally.paths.0;
        let kind = if class == Class::Readdressed { Kind::Diversion } else { Kind::Duplicate };
        let severity = if class == Class::Readdressed { Severity::High } else { Severity::Info };
        let mut claim = Claim::new(class.name(), kind, severity, tally, context);
        claim.report = class == Class::Readdressed && enough;
        claim.rewritten = Some((from, to));
        if destination {
            claim.collector = Some(to);
        }
        claim.count_scope(&original.into_iter().collect(), context);
        claim
    }
}

impl Opening {
    /// Whether the side that answers was rewritten, and not the one that asks: redirection, not translation.
    fn is_redirect(&self) -> bool {
        let [at_source, at_destination] = self.requests;
        let [servers_at_source, servers_at_destination] = self.server_side;
        if at_source != at_destination {
            at_destination > at_source
        } else if servers_at_source + servers_at_destination > 0 {
            // The port is the rewritten side's own, so either direction of a redirected server counts for redirection.
            true
        } else {
            self.first_at_destination
        }
    }
}

/// The one address that differs: before, after, and whether it is the destination.
fn rewritten_address(before: &FlowKey, src: Option<Addr>, dst: Option<Addr>) -> Option<(Addr, Addr, bool)> {
    match (before.src? == src?, before.dst? == dst?) {
        (true, false) => Some((before.dst?, dst?, true)),
        (false, true) => Some((before.src?, src?, false)),
        _ => None,
    }
}

/// A fork: the copy's path is the one that carried less of the conversations concerned, the later one if both carried
/// the same.
fn forked(a: PathId, b: PathId, tally: Tally, context: &Context<'_>) -> Claim {
    let carried = |path: PathId| {
        context
            .flows
            .iter()
            .filter(|flow| {
                flow.key.path == path && flow.key.flow_id.is_some_and(|id| tally.flows.contains(&id))
            })
            .map(|flow| flow.packets)
            .sum::<u64>()
    };
    let (on_a, on_b) = (carried(a), carried(b));
    let copy = match on_a.cmp(&on_b) {
        std::cmp::Ordering::Less => a,
        std::cmp::Ordering::Greater => b,
        std::cmp::Ordering::Equal => tally.paths.1.unwrap_or(b),
    };
    let original = if copy == a { b } else { a };
    let enough = tally.packets >= MIN_PACKETS;
    // The frames of each pair were noted in order of time; which of the two is the copy is known only now.
    let tally = tally.with_paths(original, copy);
    let mut claim = Claim::new(Class::Forked.name(), Kind::Copy, Severity::High, tally, context);
    claim.report = enough;
    claim.count_scope(&HashSet::from([original]), context);
    claim
}

/// A packet seen again long after: a late copy if its host numbers packets, else perhaps sent again by the host.
fn late_or_again(now: Sighting) -> Class {
    if now.ip_id.is_some() { Class::Late } else { Class::Retransmission }
}

/// Whether each sighting's TTL is below the one before, over three or more.
fn falls_steadily(seen: &Seen<'_>) -> bool {
    let mut ttl = seen.sighting.ttl;
    seen.earlier.len() >= 2
        && seen.earlier.iter().all(|earlier| {
            let falls = earlier.ttl > ttl;
            ttl = earlier.ttl;
            falls
        })
}

/// Whether a packet goes to a group: a multicast or broadcast MAC, or a multicast address.
fn is_group(seen: &Seen<'_>, path: &Path) -> bool {
    let group_mac = |mac: Mac| mac.first().is_some_and(|first| first & 1 == 1);
    let group_address = |addr: Addr| match addr {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, first, ..] => first >= 224,
        [first, ..] => first == 0xff,
    };
    path.eth_dst.is_some_and(group_mac) || seen.packet.dst.is_some_and(group_address)
}
