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
//! | `unproven` | as one of those below, but of too few packets | a lead |
//! | **`forked`** | same source MAC, other destination MAC or other label | the router sent it to a second next hop |
//! | | as `routed-span`, sent by the MAC that it came to, and with the same TTL on another tap | as well as on, it sent it back to where it came from |
//! | **`late`** | numbered by its host, and more than 10 ms apart, TTL falls by more than one, or rises | replay, tee, injection |
//! | **`readdressed`** | same payload and number, destination rewritten | relay, man in the middle |
//!
//! *Cannot see*: forks on a link that no tap sees; copies with rewritten payload or header; anything about weak packets.
//! *Guards*: of all earlier sightings, a harmless explanation is preferred; but that a packet went through a router explains one that left
//! it, not two. Reported from 3 packets on (`readdressed`: for one receiver). `late` and `readdressed` need an identification that varies between packets (hosts that number all packets alike, or not at
//! all as in IPv6, send retransmissions that equal the original), so late copies of IPv6 are not told from retransmissions.
//! Between two taps late is what took half a second longer than is usual, and only if others still take as long as usual: else a
//! clock was set (the last packets of a capture, before that can be told, count for neither). What was sent with a TTL of 1 was
//! rewritten by nobody. Rewriting counts as translation, not as redirection, if the conversation was opened by the side whose
//! address is rewritten.
//! *Thresholds*: 10 ms separates capture artefacts from late copies (measured over 4,299 public captures; catalogue, A5).
//! ATT&CK: T1020.001 (Traffic Duplication), T1557 (Adversary-in-the-Middle) for rewriting.

use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::conversations::{Link, Originals};
use super::lags::{Lags, Pair, Told};
use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, saved};
use crate::dissect::Mac;
use crate::packets::ids;
use crate::paths::{Flow, FlowKey, Path};
use crate::wire::ip::Addr;

/// Capture artefacts and the way through a router take less than this, in nanoseconds.
const ARTEFACT: i64 = 10_000_000;
/// Rewritten packets leave within this time, in nanoseconds.
const REWRITE: i64 = 1_000_000_000;
const MIN_PACKETS: u64 = 3;
const MIN_IP_IDS: usize = 3;
const UNPROVEN: &str = "A5.unproven";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Key {
    /// Class, tap of the original, tap of the copy.
    Named(Class, u16, u16),
    /// The links of the original and the copy.
    Late(Link, Link),
    /// The two links, in their own order: which of them the copies took shows at the end.
    Forked(Link, Link),
    /// Taps, address before and after, and whether it is the destination.
    Rewritten { taps: (u16, u16), from: Addr, to: Addr, destination: bool },
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Duplicate {
    claims: Claims<Key>,
    /// Those of rewritten addresses, of which a translator makes as many as there are hosts behind it.
    rewritten: Claims<Key>,
    rewrites: HashMap<(Addr, Addr), Opening>,
    /// What is usual from one tap to another.
    lags: HashMap<(u16, u16), Lags>,
}

/// How conversations between a pair of addresses, of which one stands for the other, were opened.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Opening {
    /// Whether the first packet seen had its destination rewritten.
    first_at_destination: bool,
    /// TCP connection requests whose destination (true) or source (false) was rewritten.
    requests: [u32; 2],
    /// Packets whose rewritten side had a server's port: the lower one, and below 1024.
    at_server: u32,
    /// Packets whose other side had a server's port.
    at_client: u32,
}

const MAX_REWRITES: usize = 1 << 16;

impl Detector for Duplicate {
    saved!(claims, rewritten);

    fn id(&self) -> &'static str {
        "A5"
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        let now = seen.sighting;
        if !ids::is_strong(now.packet_id) {
            return;
        }
        let path = context.paths.get(now.path);
        // Copies in tunnels are A1's. That a packet passed another tap explains its first sighting here, not a second one.
        let comparable = |earlier: &&Sighting| path.same_tunnel(context.paths.get(earlier.path));
        if let Some((onward, back)) = sent_back(seen, path, context) {
            let [a, b] = [onward, back].map(|sighting| Link::of(context.paths.get(sighting.path)));
            if let Some(tally) = self.claims.entry(Key::Forked(a.min(b), a.max(b)), context.room) {
                tally.add(seen, back, Some(onward), (Role::Original, Role::Copy), context);
            }
            return;
        }
        let here = |earlier: &&Sighting| context.paths.get(earlier.path).tap == path.tap;
        let was_here = seen.earlier.iter().filter(comparable).any(|earlier| here(&earlier));
        let (mut explained, mut fork): (Option<(Class, Sighting)>, Option<Sighting>) = (None, None);
        let others = seen.earlier.iter().filter(comparable).filter(|earlier| !was_here || here(earlier));
        for &earlier in others {
            let class = Self::class(seen, path, earlier, context.paths.get(earlier.path));
            if class == Class::Forked && earlier.ttl == now.ttl {
                fork = Some(earlier);
            }
            let order = |class, sighting: Sighting| (class, std::cmp::Reverse(sighting.ts));
            if explained.is_none_or(|(least, other)| order(class, earlier) < order(least, other)) {
                explained = Some((class, earlier));
            }
        }
        // What came in explains what went out, but only once.
        if let (Some((Class::RoutedSpan, _)), Some(earlier)) = (explained, fork) {
            explained = Some((Class::Forked, earlier));
        }
        if let Some((class, earlier)) = explained {
            let class =
                if class == Class::Late && falls_steadily(seen, context) { Class::Loop } else { class };
            let pair = Pair::new(seen, earlier, context);
            if class == Class::Forwarded {
                self.forwarded(pair, context);
            } else {
                self.count(class, pair, context);
            }
        } else if let Some(earlier) = seen.same_payload {
            self.rewritten(seen, path, earlier, context);
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let (context, missing) = (&outcome.context, [self.claims.missing(), self.rewritten.missing()]);
        let mut claims = Vec::new();
        let mut tallies = self.claims.take();
        tallies.extend(self.rewritten.take());
        // Whoever receives the packets for one address may receive a few for others.
        let mut receivers: HashMap<Addr, (u64, HashSet<u32>)> = HashMap::new();
        for (key, tally) in &tallies {
            if let Key::Rewritten { to, destination: true, .. } = *key {
                let (packets, ip_ids) = receivers.entry(to).or_default();
                *packets += tally.packets;
                ip_ids.extend(tally.ip_ids());
            }
        }
        for (key, tally) in tallies {
            claims.push(match key {
                Key::Named(class, ..) => {
                    let claim = Claim::new(class.name(), Kind::Duplicate, Severity::Info, tally, context);
                    Claim { report: false, ..claim }
                }
                Key::Forked(a, b) => forked(a, b, tally, outcome),
                Key::Late(original, copy) => {
                    let enough = tally.packets >= MIN_PACKETS && tally.distinct_ip_ids() >= MIN_IP_IDS;
                    // On one and the same path it may be equipment on the way that sent the packet again, as radio links do.
                    let severity = if original == copy { Severity::Low } else { Severity::Medium };
                    let mut claim = Claim::new(Class::Late.name(), Kind::Copy, severity, tally, context);
                    claim.count_scope(Originals::Link(original), outcome);
                    if enough { claim } else { claim.unproven(UNPROVEN) }
                }
                Key::Rewritten { from, to, destination, .. } => {
                    let enough = receivers
                        .get(&to)
                        .is_some_and(|(packets, ids)| *packets >= MIN_PACKETS && ids.len() >= MIN_IP_IDS);
                    self.readdressed((from, to, destination), enough, tally, outcome)
                }
            });
        }
        self.rewrites.clear();
        self.lags.clear();
        let reach = outcome.limits.reach.map(|reach| {
            let seconds = reach / 1_000_000_000;
            format!("memory for recent packets reached back {seconds} s, and later copies were not seen")
        });
        (claims, Scope::of_compared(outcome, [reach].into_iter().chain(missing)))
    }
}

impl Duplicate {
    /// Counts a second sighting.
    fn count(&mut self, class: Class, pair: Pair, context: &Context<'_>) {
        let [before, after] = [pair.original, pair.copy].map(|each| Link::of(context.paths.get(each.path)));
        let key = match class {
            Class::Forked => Key::Forked(before.min(after), before.max(after)),
            Class::Late => Key::Late(before, after),
            _ => Key::Named(class, before.tap, after.tap),
        };
        if let Some(tally) = self.claims.entry(key, context.room) {
            let roles = (Role::Original, Role::Copy);
            tally.count(pair.copy, Some(pair.original), roles, pair.traffic, context);
        }
    }

    /// Counts a packet that came from one tap to another: whether it was late shows when the next one was not.
    fn forwarded(&mut self, pair: Pair, context: &Context<'_>) {
        let taps = (context.paths.get(pair.original.path).tap, context.paths.get(pair.copy.path).tap);
        match self.lags.entry(taps).or_default().follow(pair) {
            Told::Waits => {}
            Told::Stepped(pairs) => {
                for pair in pairs {
                    self.count(Class::Forwarded, pair, context);
                }
            }
            Told::Usual(late) => {
                for pair in late {
                    self.count(late_or_again(pair.copy), pair, context);
                }
                self.count(Class::Forwarded, pair, context);
            }
        }
    }

    /// What a second sighting is, seen from one earlier one.
    fn class(seen: &Seen<'_>, path: &Path, earlier: Sighting, other: &Path) -> Class {
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
            return Class::Forwarded;
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
        let same_number = now.ip_id != 0 && now.ip_id == earlier.ip_id;
        let Some(before) = context.flows.get(earlier.flow).map(Flow::key) else { return };
        let after = seen.packet;
        let fall = i16::from(earlier.ttl) - i16::from(now.ttl);
        // Nothing on the way passes on what was sent with a TTL of 1: a router floods its neighbours with equal packets.
        if earlier.ttl <= 1
            || !same_number
            || gap > REWRITE
            || !(0..=3).contains(&fall)
            || before.protocol != after.protocol()
        {
            return;
        }
        let other = context.paths.get(earlier.path);
        let Some((from, to, destination)) = rewritten_address(&before, after.src(), after.dst()) else {
            return;
        };
        let pair = (from.min(to), from.max(to));
        let (src_port, dst_port) =
            (after.src_port().unwrap_or_default(), after.dst_port().unwrap_or_default());
        let (port, peer_port) = if destination { (dst_port, src_port) } else { (src_port, dst_port) };
        if self.rewrites.len() < MAX_REWRITES || self.rewrites.contains_key(&pair) {
            let opening = self.rewrites.entry(pair).or_insert(Opening {
                first_at_destination: destination,
                requests: [0; 2],
                at_server: 0,
                at_client: 0,
            });
            let is_request = after.tcp_flags().unwrap_or_default() & 0x12 == 0x02;
            if let Some(requests) = opening.requests.get_mut(usize::from(destination)) {
                *requests = requests.saturating_add(is_request.into());
            }
            let is_server = |port, peer| port < peer && port < 1024;
            opening.at_server = opening.at_server.saturating_add(is_server(port, peer_port).into());
            opening.at_client = opening.at_client.saturating_add(is_server(peer_port, port).into());
        }
        let key = Key::Rewritten { taps: (other.tap, path.tap), from, to, destination };
        if let Some(tally) = self.rewritten.entry(key, context.room) {
            tally.add(seen, now, Some(earlier), (Role::Original, Role::Redirected), context);
        }
    }

    fn readdressed(
        &self,
        (from, to, destination): (Addr, Addr, bool),
        enough: bool,
        tally: Tally,
        outcome: &Outcome<'_>,
    ) -> Claim {
        let opening = self.rewrites.get(&(from.min(to), from.max(to)));
        let at_server = opening.is_some_and(Opening::is_redirect);
        // The way back of a redirection is part of it, and not reported a second time.
        let class = if at_server && destination { Class::Readdressed } else { Class::Translated };
        let originals = tally.paths.0.into_iter().collect();
        let kind = if class == Class::Readdressed { Kind::Diversion } else { Kind::Duplicate };
        let severity = if class == Class::Readdressed { Severity::High } else { Severity::Info };
        let mut claim = Claim::new(class.name(), kind, severity, tally, &outcome.context);
        claim.rewritten = Some((from, to));
        if destination {
            claim.collector = Some(to);
        }
        claim.count_scope(Originals::Paths(&originals), outcome);
        claim.report = class == Class::Readdressed;
        if claim.report && !enough { claim.unproven(UNPROVEN) } else { claim }
    }
}

impl Opening {
    /// Whether the side that answers was rewritten, and not the one that asks: redirection, not translation.
    fn is_redirect(&self) -> bool {
        let [at_source, at_destination] = self.requests;
        if at_source != at_destination {
            at_destination > at_source
        } else if self.at_server != self.at_client {
            self.at_server > self.at_client
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

/// A fork: the copy's link is the one whose other end does not take part in the conversations concerned, while that of the
/// original's sends back what was answered. If that does not tell, it is the link that carried less of them; if both carried
/// about the same (taps lose a little), the one that the packets took second more often. That comes last, for there are
/// routers that send the copy first: Linux does.
fn forked(a: Link, b: Link, tally: Tally, outcome: &Outcome<'_>) -> Claim {
    let context = &outcome.context;
    let carried = |link| outcome.conversations.carried(&tally.flows, link);
    let (on_a, on_b) = (carried(a), carried(b));
    let (a_answers, b_answers) = (carried(a.back()) > 0, carried(b.back()) > 0);
    let second = tally.paths.1.map(|path| Link::of(context.paths.get(path)));
    let usually_second = if tally.is_usually_first_order() == (second == Some(a)) { a } else { b };
    let copy = if a_answers != b_answers {
        if a_answers { b } else { a }
    } else if on_a.abs_diff(on_b) * 10 <= on_a.max(on_b) {
        usually_second
    } else if on_a < on_b {
        a
    } else {
        b
    };
    let original = if copy == a { b } else { a };
    let enough = tally.packets >= MIN_PACKETS;
    let tally = tally.with_copies(|path| Link::of(context.paths.get(path)) == copy);
    let mut claim = Claim::new(Class::Forked.name(), Kind::Copy, Severity::High, tally, context);
    claim.count_scope(Originals::Link(original), outcome);
    if enough { claim } else { claim.unproven(UNPROVEN) }
}

/// A packet seen again long after: a late copy if its host numbers packets, else perhaps sent again by the host.
fn late_or_again(now: Sighting) -> Class {
    if now.ip_id != 0 { Class::Late } else { Class::Retransmission }
}

/// A packet that a router sent on to another tap, and also back to where it came from: the two sightings of that, if this
/// packet is the later of them. A router with one arm does not send packets on, and the next router's TTL is lower.
fn sent_back(seen: &Seen<'_>, path: &Path, context: &Context<'_>) -> Option<(Sighting, Sighting)> {
    if seen.earlier.len() < 2 || is_group(seen, path) {
        return None;
    }
    let now = seen.sighting;
    let path_of = |sighting: Sighting| context.paths.get(sighting.path);
    let comparable = || seen.earlier.iter().copied().filter(|&earlier| path.same_tunnel(path_of(earlier)));
    if comparable().any(|earlier| Link::of(path_of(earlier)) == Link::of(path)) {
        return None;
    }
    let is_back = |back: Sighting| {
        comparable().any(|came: Sighting| {
            let (before, after) = (path_of(came), path_of(back));
            before.tap == after.tap
                && i16::from(came.ttl) - i16::from(back.ttl) == 1
                && (0..=ARTEFACT).contains(&back.ts.saturating_sub(came.ts))
                && after.eth_src.is_some()
                && after.eth_src == before.eth_dst
        })
    };
    let is_onward = |onward: Sighting, back: Sighting| {
        let (onward_path, back_path) = (path_of(onward), path_of(back));
        onward_path.tap != back_path.tap
            && onward.ttl == back.ttl
            && (onward_path.eth_src, onward_path.eth_dst) != (back_path.eth_src, back_path.eth_dst)
    };
    let last_came_back = || comparable().find(|&onward| is_onward(onward, now)).filter(|_| is_back(now));
    let last_went_on = || comparable().find(|&back| is_onward(now, back) && is_back(back));
    last_came_back().map(|onward| (onward, now)).or_else(|| last_went_on().map(|back| (now, back)))
}

/// Whether each sighting's TTL is below the one before, over three or more on this tap: on another one, a packet that goes on
/// falls as well.
fn falls_steadily(seen: &Seen<'_>, context: &Context<'_>) -> bool {
    let tap = |sighting: &Sighting| context.paths.get(sighting.path).tap;
    let mut ttl = seen.sighting.ttl;
    let mut here = seen.earlier.iter().filter(|earlier| tap(earlier) == tap(&seen.sighting));
    here.clone().count() >= 2
        && here.all(|earlier| {
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
    path.eth_dst.is_some_and(group_mac) || seen.packet.dst().is_some_and(group_address)
}
