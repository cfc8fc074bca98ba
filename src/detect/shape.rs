//! **A7, encrypted copy.** A tunnel that cannot be read, but whose packets follow those of clear traffic, one by one, each larger by the
//! same number of bytes.
//!
//! *Sees*: tunnels of datagrams: ESP and AH, `WireGuard`, `OpenVPN`, IPsec over UDP, UDP that nobody knows (QUIC and DTLS too), other IP
//! protocols, and encapsulations whose inside cannot be read. Of a stretch of packets (the log), for some packets of each tunnel, it
//! looks at what passed up to 500 ms before and after, and counts by lag and by difference in length. A copy makes a peak: many pairs of
//! one lag and one difference. Then each packet of the tunnel is paired with one original at most.
//! *Cannot see*: tunnels in TCP or TLS, which cut packets anew; that pad to one length, batch, fragment, delay by more than 500 ms or mix in
//! as much of other traffic; copies of a few packets now and then; traffic of more than 1,536 packets in 10 ms, which is not judged.
//! *Guards*: what the peak is measured against is the same traffic: pairs at other lags, also such where the "copy" comes first, have
//! the same lengths, rates and bursts (they are the surrogates). Calls that send equal packets at a fixed rate have equal peaks
//! every 20 ms, and so prove nothing: what counts is packets that have an original at the one lag and none at the other. A tunnel's own reverse, and the same tunnel on another tap, are no originals. A VPN's head-end looks the same, but for
//! one thing: what enters the VPN does not also go on in the clear. So a tunnel is reported only if most of the packets it follows
//! were seen on two links outside of it, or left the same device (by MAC address) as it; else it is named (`A7.follows`). A tunnel that
//! comes from where the packets went (a relay, a proxy) is named too.
//! *Thresholds*, proposals that were measured over public captures and the engine's own traffic (none reported): at least 200 packets in the
//! tunnel, at least half of them paired. Of 384 of them, for each of 199 surrogates, at least 30 have an original at the lag and not at the
//! surrogate's, and at most a tenth as many the other way round (for equal chances, a sign test gives less than 10⁻⁵, and the rank among
//! surrogates 1 in 200). 20 to 159 bytes more, as tunnels add (AES-GCM pads ESP to 4 bytes, CBC and `WireGuard` to 16, so up to 16
//! differences in a row count as one). Medium; high if nine in ten packets are paired, and 60 samples tell the lag from any other.
//! *Bounds*: 131,072 packets are logged from the first packet of a tunnel on, then compared, then three times as many pass; four tunnels
//! each time, those that are made to be tunnels first, then by bytes.
//! ATT&CK: T1020.001 (Traffic Duplication), T1573 (Encrypted Channel).

use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::conversations::Link;
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::classify::App;
use crate::paths::{Flow, PathId};
use crate::wire::ip::Addr;

const LOG: usize = 1 << 17;
/// Packets that pass between one log and the next.
const PAUSE: u64 = 3 * LOG as u64;
const MAX_TUNNELS: usize = 4;
/// Tunnels of which it is known that they were compared.
const MAX_COMPARED: usize = 4096;
/// Packets that a tunnel has at least.
const MIN_PACKETS: usize = 200;
/// Packets of a tunnel that are looked at for a peak.
const SAMPLES: usize = 384;
/// How many packets before and after each.
const REACH: usize = 1536;
/// And how far, in nanoseconds; where these packets do not go even so far as the least of it, nothing is compared.
const MAX_LAG: i64 = 500_000_000;
const MIN_REACH: i64 = 10_000_000;
/// A copy that passes another tap than its original may be seen before it, by clocks and queues: nanoseconds.
const EARLY: i64 = 5_000_000;
const MIN_OVERHEAD: usize = 20;
const OVERHEADS: usize = 140;
/// Lags are told apart by a thousandth of the reach, before and after.
const HALF: usize = 1000;
const BUCKETS: usize = 2 * HALF;
/// Buckets around a peak that are part of it.
const AROUND: usize = 40;
/// By how many bytes in a row overheads may differ, and by how many buckets lags may.
const PADS: [usize; 3] = [1, 4, 16];
const SPREADS: [usize; 3] = [2, 8, 32];
const SURROGATES: i64 = 199;
/// Samples that have an original at the lag and not at any one other.
const MIN_PROOF: u32 = 30;
const STRONG_PROOF: u32 = 60;

/// A tunnel in one direction: tap, source, destination, protocol, ports.
type Tunnel = (u16, Option<Addr>, Option<Addr>, u8, (u16, u16));

/// A packet in the log.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Entry {
    ts: i64,
    frame: u64,
    flow: u32,
    size: u16,
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct EncryptedCopy {
    log: Vec<Entry>,
    /// Packets that are still to pass before the next log.
    pause: u64,
    compared: HashSet<Tunnel>,
    claims: Claims<Tunnel>,
    facts: HashMap<Tunnel, Facts>,
}

/// What is known of a claim.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Facts {
    /// Whether the originals went on in the clear.
    is_copy: bool,
    is_clear: bool,
    /// By how many bytes the tunnel's packets are longer: at least, and with padding.
    longer: (usize, usize),
    /// Packets of the flows that were copied.
    in_scope: u64,
    tunnel_id: Option<u32>,
}

/// Packets of one tunnel in the log.
#[derive(Debug, Serialize, Deserialize)]
struct Group {
    tunnel: Tunnel,
    /// Whether it is made to be one.
    is_tunnel: bool,
    bytes: u64,
    entries: Vec<u32>,
}

/// Pairs of which one lies in a range of lags and overheads.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Peak {
    overhead: usize,
    pad: usize,
    /// Nanoseconds, from and to.
    lag: (i64, i64),
}

impl Detector for EncryptedCopy {
    saved!(claims);

    fn id(&self) -> &'static str {
        "A7"
    }

    fn packets(&self) -> Wanted {
        Wanted::All
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let Sighting { ts, frame, flow, .. } = seen.sighting;
        if self.log.is_empty() {
            // Most packets are told by their protocol and label.
            let may_be = match seen.packet.protocol() {
                Some(6) => false,
                Some(17) => made_to_be(seen.packet.label().app).is_some(),
                _ => true,
            };
            if !may_be || context.flows.get(flow).is_none_or(|flow| tunnel(flow, context).is_none()) {
                return;
            }
        }
        let size = seen.packet.wire_len().min(u16::MAX.into()) as u16;
        self.log.push(Entry { ts, frame, flow, size });
        if self.log.len() == LOG {
            self.compare(context);
            self.pause = PAUSE;
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let context = &outcome.context;
        self.compare(context);
        let (mut in_scope, mut judged) = (0, 0);
        for flow in context.flows.iter() {
            if let Some((tunnel, _)) = tunnel(flow, context) {
                in_scope += flow.packets;
                judged += if self.compared.contains(&tunnel) { flow.packets } else { 0 };
            }
        }
        let missing = self.claims.missing();
        let mut claims: Vec<Claim> = Vec::new();
        for (tunnel, tally) in self.claims.take() {
            let facts = self.facts.get(&tunnel).copied().unwrap_or_default();
            let (name, kind, severity) = match facts {
                Facts { is_copy: false, .. } => ("A7.follows", Kind::Tunnel, Severity::Info),
                Facts { is_clear: true, .. } => ("A7.encrypted-copy", Kind::Copy, Severity::High),
                _ => ("A7.encrypted-copy", Kind::Copy, Severity::Medium),
            };
            let packets = tally.packets;
            let (_, src, dst, ..) = tunnel;
            let claim = Claim {
                report: facts.is_copy,
                exporter: src,
                collector: dst,
                tunnel_id: facts.tunnel_id,
                detail: Some(match facts.longer {
                    (least, most) if least == most => format!("each {least} bytes longer"),
                    (least, most) => format!("each {least} to {most} bytes longer"),
                }),
                in_scope: facts.in_scope.max(packets),
                judged: facts.in_scope.max(packets),
                ..Claim::new(name, kind, severity, tally, context)
            };
            // A tunnel that both taps see is one.
            let is_same =
                |other: &&mut Claim| (other.exporter, other.collector, other.detector) == (src, dst, name);
            match claims.iter_mut().find(is_same) {
                Some(other) if other.tally.packets < packets => *other = claim,
                Some(_) => {}
                None => claims.push(claim),
            }
        }
        let small = (judged < in_scope).then(|| {
            format!(
                "tunnels of fewer than {MIN_PACKETS} packets in the stretches that were compared, others than the {MAX_TUNNELS} largest, \
                 or traffic of more than {REACH} packets in 10 ms"
            )
        });
        (claims, Scope::new(in_scope, judged, [small, missing]))
    }
}

/// The tunnel that a flow belongs to, if it is one that cannot be read, and whether it is made to be one.
fn tunnel(flow: &Flow, context: &Context<'_>) -> Option<(Tunnel, bool)> {
    let (key, path) = (flow.key(), context.paths.get(flow.path));
    let ports = (key.src_port, key.dst_port);
    match (path.encap.is_empty(), key.protocol) {
        (false, _) if key.src.is_none() => {
            Some(((path.tap, path.outer_src, path.outer_dst, 0, (0, 0)), true))
        }
        (true, Some(17)) => {
            let is_tunnel = made_to_be(key.label.app)?;
            Some(((path.tap, key.src, key.dst, 17, ports), is_tunnel))
        }
        // ICMP, IGMP, TCP, ICMPv6, EIGRP, OSPF, PIM, VRRP, SCTP are none; nor is what can be read inside of one.
        (false, _) | (true, Some(1 | 2 | 6 | 58 | 88 | 89 | 103 | 112 | 132) | None) => None,
        (true, Some(protocol)) => Some(((path.tap, key.src, key.dst, protocol, (0, 0)), true)),
    }
}

/// Whether UDP of this application is made to be a tunnel; none if it is known to be something else.
#[inline]
fn made_to_be(app: Option<App>) -> Option<bool> {
    match app {
        Some(App::WireGuard | App::OpenVpn | App::Ike | App::Esp) => Some(true),
        None | Some(App::Quic | App::Dtls) => Some(false),
        Some(_) => None,
    }
}

const NONE: u16 = u16::MAX;

impl EncryptedCopy {
    /// Looks for copies in the log, and empties it.
    fn compare(&mut self, context: &Context<'_>) {
        let mut log = std::mem::take(&mut self.log);
        // It is in order as far as captures are.
        log.sort_by_key(|entry| entry.ts);
        let (mut groups, owners) = group(&log, context);
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.retain(|&at| groups.get(at).is_some_and(|group| group.entries.len() >= MIN_PACKETS));
        order.sort_by_key(|&at| {
            groups.get(at).map(|group| std::cmp::Reverse((group.is_tunnel, group.bytes, group.tunnel)))
        });
        let mut histogram = Vec::new();
        for at in order.into_iter().take(MAX_TUNNELS) {
            let Some(group) = groups.get_mut(at) else { continue };
            let (tunnel, entries) = (group.tunnel, std::mem::take(&mut group.entries));
            let is_of: Vec<bool> = groups.iter().map(|other| is_same_pair(&other.tunnel, &tunnel)).collect();
            let traffic = Traffic { log: &log, owners: &owners, is_of: &is_of };
            let Some(reach) = traffic.reach(&entries) else { continue };
            if self.compared.len() < MAX_COMPARED {
                self.compared.insert(tunnel);
            }
            if let Some((peak, strong)) = traffic.peak(&entries, reach, &mut histogram) {
                self.take_note(&traffic, tunnel, &entries, peak, strong, context);
            }
        }
        log.clear();
        self.log = log;
    }

    /// Pairs the packets of a tunnel with originals, and claims them if most have one.
    fn take_note(
        &mut self,
        traffic: &Traffic<'_>,
        tunnel: Tunnel,
        entries: &[u32],
        peak: Peak,
        strong: bool,
        context: &Context<'_>,
    ) {
        let path =
            entries.first().and_then(|&at| context.flows.get(traffic.at(at)?.flow)).map(|flow| flow.path);
        let Some(path) = path else { return };
        // Of a conversation that is copied, most packets are followed, on each path on which it is seen.
        let followed = traffic.followed(entries, peak);
        let mut by_path: HashMap<(Direction, PathId), (u64, u64)> = HashMap::new();
        for (&number, &(all, fits)) in &followed {
            let of = (direction(number, context), context.flows.get(number).map_or(0, |flow| flow.path));
            let sum = by_path.entry(of).or_default();
            *sum = (sum.0 + all, sum.1 + fits);
        }
        let sender = context.paths.get(path).eth_src;
        let mut totals: HashMap<Direction, u64> = HashMap::new();
        let mut ranks: HashMap<Direction, u8> = HashMap::new();
        for ((of, at), (all, fits)) in by_path {
            let total = totals.entry(of).or_default();
            *total = all.max(*total);
            let rank = u8::from(fits * 2 >= all)
                + u8::from(fits * 10 >= all * 9) * 2
                + u8::from(fits * 2 >= all && sender.is_some() && context.paths.get(at).eth_src == sender);
            let known = ranks.entry(of).or_default();
            *known = rank.max(*known);
        }
        // Where packets of several fit, the more plausible: those that are followed more often, and leave by the same device.
        let rank = |flow| ranks.get(&direction(flow, context)).copied().unwrap_or_default();
        let pairs = traffic.pairs(entries, peak, rank);
        let mut copied_of: HashMap<Direction, u64> = HashMap::new();
        for (original, _) in &pairs {
            *copied_of.entry(direction(original.flow, context)).or_default() += 1;
        }
        let total = |of: &Direction| totals.get(of).copied().unwrap_or_default();
        copied_of.retain(|of, copied| *copied * 2 >= total(of));
        let copied: u64 = copied_of.values().sum();
        if copied * 2 < entries.len() as u64 {
            return;
        }
        let clear = in_clear(&copied_of, path, tunnel.1, context);
        let Some(tally) = self.claims.entry(tunnel, context.room) else { return };
        for (original, copy) in &pairs {
            let Some(flow) = context.flows.get(original.flow) else { continue };
            if !copied_of.contains_key(&direction(original.flow, context)) {
                continue;
            }
            let sighting = |entry: &Entry| Sighting {
                ts: entry.ts,
                frame: entry.frame,
                flow: entry.flow,
                path: context.flows.get(entry.flow).map_or(0, |flow| flow.path),
                ..Sighting::default()
            };
            let of = (flow.flow_id(), flow.key().label);
            tally.count(sighting(copy), Some(sighting(original)), (Role::Original, Role::Copy), of, context);
        }
        let facts = self.facts.entry(tunnel).or_default();
        facts.is_copy |= clear * 2 >= copied;
        facts.is_clear |= strong && copied * 10 >= entries.len() as u64 * 9;
        facts.longer = (peak.overhead, peak.overhead + peak.pad.saturating_sub(1));
        facts.in_scope += copied_of.keys().map(total).sum::<u64>();
        facts.tunnel_id = context.paths.get(path).tunnel_id;
    }
}

/// A direction of a conversation, on whichever path: `flow_id` and source; of what has none, the number of the flow.
type Direction = (u64, Option<Addr>);

fn direction(number: u32, context: &Context<'_>) -> Direction {
    let flow = context.flows.get(number);
    flow.and_then(|flow| Some((flow.flow_id()?, flow.key().src))).unwrap_or((number.into(), None))
}

/// Of the packets of these conversations, how many went on in the clear: they were seen on two links, or left the device that the
/// tunnel left, and were not addressed to the tunnel's source.
fn in_clear(
    copied: &HashMap<Direction, u64>,
    path: PathId,
    exporter: Option<Addr>,
    context: &Context<'_>,
) -> u64 {
    let sender = context.paths.get(path).eth_src;
    // The first link, and whether the conversation went on.
    let mut links: HashMap<Direction, (Link, bool)> = HashMap::new();
    for (number, flow) in context.flows.iter().enumerate() {
        let other = context.paths.get(flow.path);
        let of = direction(number as u32, context);
        if other.encap.is_empty() && flow.key().dst != exporter && copied.contains_key(&of) {
            let link = Link::of(other);
            let (first, goes_on) = links.entry(of).or_insert((link, false));
            *goes_on |= *first != link || (sender.is_some() && other.eth_src == sender);
        }
    }
    let goes_on = |of: &Direction| links.get(of).is_some_and(|&(_, goes_on)| goes_on);
    copied.iter().filter(|(of, _)| goes_on(of)).map(|(_, packets)| packets).sum()
}

/// Whether two tunnels have the same ends, in whichever direction and on whichever tap.
fn is_same_pair(a: &Tunnel, b: &Tunnel) -> bool {
    a.3 == b.3 && ((a.1, a.2) == (b.1, b.2) || (a.1, a.2) == (b.2, b.1))
}

/// The tunnels in a log, and of each packet in which it is.
fn group(log: &[Entry], context: &Context<'_>) -> (Vec<Group>, Vec<u16>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut numbers: HashMap<Tunnel, u16> = HashMap::new();
    let mut known: HashMap<u32, u16> = HashMap::new();
    let mut owners = Vec::with_capacity(log.len());
    for (at, entry) in log.iter().enumerate() {
        let owner = *known.entry(entry.flow).or_insert_with(|| {
            let Some((tunnel, is_tunnel)) =
                context.flows.get(entry.flow).and_then(|flow| tunnel(flow, context))
            else {
                return NONE;
            };
            let next = groups.len().min(usize::from(NONE)) as u16;
            let number = *numbers.entry(tunnel).or_insert(next);
            if number == next && next != NONE {
                groups.push(Group { tunnel, is_tunnel, bytes: 0, entries: Vec::new() });
            }
            number
        });
        owners.push(owner);
        if let Some(group) = groups.get_mut(usize::from(owner)) {
            group.bytes += u64::from(entry.size);
            group.entries.push(at as u32);
        }
    }
    (groups, owners)
}

/// The log, seen from one tunnel.
struct Traffic<'a> {
    log: &'a [Entry],
    /// The tunnel of each packet.
    owners: &'a [u16],
    /// Whether a tunnel has the ends of this one.
    is_of: &'a [bool],
}

impl Traffic<'_> {
    fn at(&self, number: u32) -> Option<&Entry> {
        self.log.get(number as usize)
    }

    /// Whether a packet may be an original.
    fn may_be_original(&self, at: usize) -> bool {
        let owner = self.owners.get(at).map(|&owner| usize::from(owner));
        owner.is_some_and(|owner| !self.is_of.get(owner).copied().unwrap_or_default())
    }

    /// Some of these, evenly.
    fn samples<'b>(&self, entries: &'b [u32]) -> impl Iterator<Item = (u32, Entry)> + use<'_, 'b> {
        let n = entries.len().min(SAMPLES);
        (0..n).filter_map(move |sample| {
            let at = *entries.get(sample * entries.len() / n)?;
            Some((at, *self.at(at)?))
        })
    }

    /// How far packets are looked at before and after, in nanoseconds, as far as the usual number of them goes; none if that is
    /// not far enough to see a copy.
    fn reach(&self, entries: &[u32]) -> Option<i64> {
        let mut reaches: Vec<i64> = self
            .samples(entries)
            .map(|(at, entry)| {
                let before = (at as usize).checked_sub(REACH).and_then(|before| self.log.get(before));
                before.map_or(MAX_LAG, |other| entry.ts.saturating_sub(other.ts))
            })
            .collect();
        let middle = reaches.len() / 2;
        let reach = if reaches.is_empty() { 0 } else { *reaches.select_nth_unstable(middle).1 };
        (reach >= MIN_REACH).then_some(reach.min(MAX_LAG))
    }

    /// Where pairs of tunnel packets and earlier ones pile up, if that is beyond chance, and whether far beyond.
    fn peak(&self, entries: &[u32], reach: i64, histogram: &mut Vec<u32>) -> Option<(Peak, bool)> {
        // Lags are told apart as finely as the packets in reach allow.
        let width = reach / HALF as i64;
        // Pairs by overhead and lag, each as a sum over all lower ones: the pairs in any rectangle are a difference of four.
        histogram.clear();
        histogram.resize((OVERHEADS + 1) * (BUCKETS + 1), 0);
        let mut taken = 0_u32;
        for (at, entry) in self.samples(entries) {
            taken += 1;
            self.visit(at as usize, entry.ts, reach, |other| {
                let (Some(more), lag) = (
                    usize::from(entry.size).checked_sub(usize::from(other.size) + MIN_OVERHEAD),
                    entry.ts.saturating_sub(other.ts),
                ) else {
                    return;
                };
                let bucket = lag.div_euclid(width) + HALF as i64;
                if more < OVERHEADS && (0..BUCKETS as i64).contains(&bucket) {
                    let at = (more + 1) * (BUCKETS + 1) + bucket as usize + 1;
                    if let Some(cell) = histogram.get_mut(at) {
                        *cell += 1;
                    }
                }
            });
        }
        accumulate(histogram);
        let early = (EARLY / width).min(HALF as i64 / 10) as usize;
        let mut best: Option<(u32, Peak)> = None;
        for pad in PADS {
            for spread in SPREADS {
                let windows = || {
                    (0..=OVERHEADS - pad).flat_map(move |more| {
                        (0..=BUCKETS - spread).step_by(spread / 2).map(move |bucket| (more, bucket))
                    })
                };
                let count =
                    |&(more, bucket): &(usize, usize)| rectangle(histogram, more, pad, bucket, spread);
                let causal = windows().filter(|&(_, bucket)| bucket + early >= HALF);
                let Some((more, bucket)) = causal.max_by_key(count) else { continue };
                let highest = count(&(more, bucket));
                let elsewhere = windows().filter(|&(_, other)| other.abs_diff(bucket) > AROUND + spread);
                let chance = elsewhere.map(|window| count(&window)).max().unwrap_or(highest);
                // A first look that costs little: no peak, no copy.
                if highest * 2 < taken || highest * 5 < chance * 6 {
                    continue;
                }
                let from = (bucket as i64 - HALF as i64) * width;
                let lag = (from, from + spread as i64 * width);
                let peak = Peak { overhead: more + MIN_OVERHEAD, pad, lag };
                let gap = (AROUND as i64 * width).max(2 * (lag.1 - lag.0));
                if let Some(proof) = self.proof(entries, peak, reach, gap)
                    && best.is_none_or(|(most, _)| proof > most)
                {
                    best = Some((proof, peak));
                }
            }
        }
        let (proof, peak) = best?;
        Some((peak, proof >= STRONG_PROOF))
    }

    /// How many samples have an original at this lag and none at another: the least over all surrogates, if that is enough and hardly any
    /// has one there and none here.
    fn proof(&self, entries: &[u32], peak: Peak, reach: i64, gap: i64) -> Option<u32> {
        // Of each sample, the lags at which there is a packet of the right size, descending.
        let mut lags: Vec<Vec<i64>> = Vec::new();
        for (at, entry) in self.samples(entries) {
            let mut fitting = Vec::new();
            self.visit(at as usize, entry.ts, reach, |other| {
                if peak.fits(&entry, other) {
                    fitting.push(entry.ts.saturating_sub(other.ts));
                }
            });
            lags.push(fitting);
        }
        let has_at = |fitting: &Vec<i64>, shift: i64| {
            let (from, to) = (peak.lag.0 + shift, peak.lag.1 + shift);
            fitting.get(fitting.partition_point(|&lag| lag >= to)).is_some_and(|&lag| lag >= from)
        };
        let here: Vec<bool> = lags.iter().map(|fitting| has_at(fitting, 0)).collect();
        let found = here.iter().filter(|&&here| here).count();
        if found * 2 < here.len() {
            return None;
        }
        // On both sides, as far as there is traffic to compare with, but not next to the peak.
        let shifts = (0..SURROGATES).map(|surrogate| {
            let shift = gap + (reach - gap).max(0) * (surrogate / 2) / (SURROGATES / 2 + 1);
            let to_past = surrogate % 2 == 1 || peak.lag.1 + shift > reach;
            if to_past && peak.lag.0 - shift > -reach { -shift } else { shift }
        });
        let mut least = u32::MAX;
        for shift in shifts {
            let (mut only_here, mut only_there) = (0, 0);
            for (&here, fitting) in here.iter().zip(&lags) {
                let there = has_at(fitting, shift);
                only_here += u32::from(here && !there);
                only_there += u32::from(there && !here);
            }
            if only_here < MIN_PROOF || only_there * 10 > only_here {
                return None;
            }
            least = least.min(only_here);
        }
        Some(least)
    }

    /// Shows what may be originals of a packet: those around it.
    fn visit(&self, at: usize, ts: i64, reach: i64, mut show: impl FnMut(&Entry)) {
        let around = at.saturating_sub(REACH)..(at + REACH).min(self.log.len());
        for number in around {
            if let Some(other) = self.log.get(number)
                && other.ts.saturating_sub(ts).saturating_abs() <= reach
                && self.may_be_original(number)
            {
                show(other);
            }
        }
    }

    /// Of each flow, how many packets there were while the tunnel was there, and how many of them a packet of the tunnel follows.
    fn followed(&self, entries: &[u32], peak: Peak) -> HashMap<u32, (u64, u64)> {
        let copies: Vec<&Entry> = entries.iter().filter_map(|&at| self.at(at)).collect();
        let span = copies.first().zip(copies.last());
        let Some((from, to)) = span
            .map(|(first, last)| (first.ts.saturating_sub(peak.lag.1), last.ts.saturating_sub(peak.lag.0)))
        else {
            return HashMap::new();
        };
        let mut flows: HashMap<u32, (u64, u64)> = HashMap::new();
        for (at, entry) in self.log.iter().enumerate() {
            if (from..=to).contains(&entry.ts) && self.may_be_original(at) {
                let start = copies.partition_point(|copy| copy.ts < entry.ts.saturating_add(peak.lag.0));
                let later = copies.iter().skip(start).take(REACH);
                let mut later = later.take_while(|copy| copy.ts < entry.ts.saturating_add(peak.lag.1));
                let flow = flows.entry(entry.flow).or_default();
                flow.0 += 1;
                flow.1 += u64::from(later.any(|copy| peak.fits(copy, entry)));
            }
        }
        flows
    }

    /// Packets of the tunnel, each with an original of its own: of those that fit the one of the highest rank, and none of rank 0.
    fn pairs(&self, entries: &[u32], peak: Peak, rank: impl Fn(u32) -> u8) -> Vec<(Entry, Entry)> {
        let mut used: HashSet<usize> = HashSet::new();
        let mut pairs = Vec::new();
        for copy in entries.iter().filter_map(|&at| self.at(at)) {
            let (from, to) = (copy.ts.saturating_sub(peak.lag.1), copy.ts.saturating_sub(peak.lag.0));
            let start = self.log.partition_point(|entry| entry.ts <= from);
            let rest = self.log.iter().enumerate().skip(start).take(REACH);
            let rest = rest.take_while(|(_, entry)| entry.ts <= to);
            let fits = rest.filter(|&(at, entry)| {
                peak.fits(copy, entry) && self.may_be_original(at) && !used.contains(&at)
            });
            let best = fits.map(|(at, entry)| (rank(entry.flow), std::cmp::Reverse(at), entry));
            let best = best.filter(|&(rank, ..)| rank > 0).max_by_key(|&(rank, at, _)| (rank, at));
            if let Some((_, std::cmp::Reverse(at), original)) = best {
                used.insert(at);
                pairs.push((*original, *copy));
            }
        }
        pairs
    }
}

impl Peak {
    fn fits(&self, copy: &Entry, original: &Entry) -> bool {
        let more = usize::from(copy.size).checked_sub(usize::from(original.size));
        more.is_some_and(|more| (self.overhead..self.overhead + self.pad).contains(&more))
    }
}

/// Turns counts into sums over all lower rows and columns.
fn accumulate(histogram: &mut [u32]) {
    let mut above = vec![0; BUCKETS + 1];
    for row in histogram.chunks_exact_mut(BUCKETS + 1) {
        let mut sum = 0;
        for (cell, above) in row.iter_mut().zip(&mut above) {
            sum += *cell;
            *cell = sum + *above;
            *above = *cell;
        }
    }
}

/// The pairs in a rectangle of so many rows and columns.
fn rectangle(histogram: &[u32], more: usize, pad: usize, bucket: usize, spread: usize) -> u32 {
    let cell =
        |row: usize, column: usize| histogram.get(row * (BUCKETS + 1) + column).copied().unwrap_or_default();
    let (bottom, right) = (more + pad, bucket + spread);
    (cell(bottom, right) + cell(more, bucket)) - cell(more, right) - cell(bottom, bucket)
}
