//! What became of the packets, when all have been seen.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::clock::Solved;
use super::table::{Line, Verdicts, at_least, to_batch, wilson};
use super::{ALONE, Comparison, Group, MISSING, NEW, PARTIAL, Row, Stray, WAIT, direction};
use crate::classify::{Label, Traffic};
use crate::detect::claim::Tally;
use crate::detect::{Claim, Context, Kind, Outcome, Role, Scope, Severity, Sighting, median, time};
use crate::dissect::{Labels, Mac};
use crate::paths::{Flow, FlowKey};
use crate::wire::ip::Addr;

/// A flow passes two taps if so many of its packets did.
const ESTABLISHED: u32 = 3;
/// Claims rest on at least so many packets.
const MIN_PACKETS: u64 = 3;
/// Losses are claimed from so many packets on, and this share.
const MIN_LOST: (u64, f64) = (10, 0.01);
/// How many times more than the rest of a pair a prefix must lose.
const LOSES_MORE: f64 = 3.0;
/// How many times more new packets there must be than the tap before says it dropped.
const MORE_THAN_DROPPED: f64 = 2.0;
/// How probable it may be that what is claimed is chance, over all shares that are looked at.
const CHANCE: f64 = 0.001;
const SECOND: i64 = 1_000_000_000;
/// What shares are compared with: about one in a thousand by chance.
const Z: f64 = 3.29;
/// What the rest of a pair says counts from so many packets on.
const REST: u64 = 100;
/// If one flow in so many, of those on a tap, goes by two next hops at once, packets are balanced, not diverted.
const BALANCED: usize = 2;

/// What is known of taps beside their packets.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::detect) struct Captured {
    /// Frames captured.
    pub frames: u64,
    /// Frames that the tap itself says it dropped.
    pub dropped: Option<u64>,
}

/// What came out.
pub(in crate::detect) struct Compared {
    pub table: RecordBatch,
    pub claims: Vec<Claim>,
    pub scope: Scope,
}

/// What of a packet was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Change {
    Payload,
    Rest,
    Header,
    /// It begins alike and is longer or shorter: segments that were cut or joined, as network cards do.
    Cut,
}

impl Change {
    /// What changed of two packets with the same flow, identification and sequence number.
    fn of(before: &Stray, after: &Stray) -> Self {
        let (a, b) = (&before.note, &after.note);
        let heads_differ = a.head != 0 && b.head != 0 && a.head != b.head;
        if a.len != b.len && a.head != 0 && a.head == b.head {
            return Self::Cut;
        }
        if a.len != b.len || heads_differ {
            return Self::Payload;
        }
        let same_payload =
            before.sighting.payload_id != 0 && before.sighting.payload_id == after.sighting.payload_id;
        let covered = crate::packets::ids::PAYLOAD_BYTES;
        if a.len == 0 || (same_payload && usize::from(a.len) <= covered) { Self::Header } else { Self::Rest }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Rest => "header, or payload behind its first bytes",
            Self::Header => "header, such as TCP options (MSS)",
            Self::Cut => "length, as of segments that are cut or joined",
        }
    }
}

/// A stray, with the other tap that lacks it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Lone {
    stray: Stray,
    tap: u16,
    other: u16,
    flow: u32,
    /// What became of it, if that is known.
    settled: bool,
}

/// A next hop.
type Hop = (Option<Mac>, Labels);

/// New packets for one destination, from one tap to another.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Share {
    found: Vec<usize>,
    contradicted: u64,
    of: u64,
}

struct Judge<'a> {
    comparison: &'a Comparison,
    context: Context<'a>,
    taps: &'a [String],
    captured: &'a [Captured],
    /// Rows of directions that pass taps, by tap.
    established: HashMap<(u16, FlowKey), u32>,
    groups: BTreeMap<Group, Verdicts>,
    claims: Vec<Claim>,
    /// Pairs of taps between which segments are cut or joined.
    recut: HashSet<(u16, u16)>,
}

/// Two taps, in whichever order.
fn pair(a: u16, b: u16) -> (u16, u16) {
    (a.min(b), a.max(b))
}

impl Comparison {
    /// Says what became of all packets. Everything must be settled.
    pub(in crate::detect) fn finish(
        &self,
        outcome: &Outcome<'_>,
        taps: &[String],
        captured: &[Captured],
    ) -> Result<Compared, ArrowError> {
        let mut judge = Judge {
            comparison: self,
            context: outcome.context,
            taps,
            captured,
            established: HashMap::new(),
            groups: BTreeMap::new(),
            claims: Vec::new(),
            recut: HashSet::new(),
        };
        judge.count();
        let mut lone = judge.lone();
        judge.modified(&mut lone);
        judge.explained(&mut lone);
        judge.inserted(&lone);
        judge.lost(&lone);
        judge.spare_rewritten();
        judge.diverted();
        judge.missed_by_count();
        let (lines, reasons) = judge.lines();
        let scope = judge.scope(reasons);
        Ok(Compared { table: to_batch(&lines, taps)?, claims: judge.claims, scope })
    }
}

impl<'a> Judge<'a> {
    fn rows(&self) -> impl Iterator<Item = (u32, &'a Row, &'a Flow)> + use<'a> {
        let flows = self.context.flows;
        let rows = self.comparison.rows.iter().enumerate();
        rows.filter_map(move |(number, row)| Some((number as u32, row, flows.get(number as u32)?)))
    }

    fn row(&self, number: u32) -> Row {
        self.comparison.rows.get(number as usize).copied().unwrap_or_default()
    }

    fn tap(&self, flow: &Flow) -> u16 {
        self.context.paths.get(flow.path).tap
    }

    fn group(&mut self, from: u16, to: u16, traffic: u8) -> &mut Verdicts {
        self.groups.entry((from, to, traffic)).or_default()
    }

    /// Counts what was settled packet by packet.
    fn count(&mut self) {
        for (number, row, flow) in self.rows() {
            let (tap, traffic) = (self.tap(flow), traffic(flow));
            if let Some(to) = row.next.tap().filter(|_| row.next.votes >= ESTABLISHED) {
                self.established.insert((tap, direction(flow)), number);
                let group = self.group(tap, to, traffic);
                group.flows += 1;
                group.passed += u64::from(row.passed - row.readdressed.min(row.passed));
                group.readdressed += u64::from(row.readdressed.min(row.passed));
                group.lost += u64::from(row.missing);
                group.copied += u64::from(row.copied) * u64::from(row.prev.votes < ESTABLISHED);
            }
            if let Some(from) = row.prev.tap().filter(|_| row.prev.votes >= ESTABLISHED) {
                self.established.insert((tap, direction(flow)), number);
                let group = self.group(from, tap, traffic);
                group.inserted += u64::from(row.new);
                group.copied += u64::from(row.copied);
            }
        }
        // Of a direction that passes two taps, what takes another path belongs to it.
        for (_, row, flow) in self.rows() {
            let tap = self.tap(flow);
            if row.next.votes >= ESTABLISHED || row.prev.votes >= ESTABLISHED {
                continue;
            }
            let Some(&sibling) = self.established.get(&(tap, direction(flow))) else { continue };
            let sibling = self.row(sibling);
            let traffic = traffic(flow);
            if let Some(from) = sibling.prev.tap().filter(|_| sibling.prev.votes >= ESTABLISHED) {
                let group = self.group(from, tap, traffic);
                group.inserted += u64::from(row.alone) + u64::from(row.new);
                group.copied += u64::from(row.copied);
            } else if let Some(to) = sibling.next.tap() {
                self.group(tap, to, traffic).lost += u64::from(row.alone) + u64::from(row.missing);
            }
        }
        for (&(from, to, traffic), passage) in &self.comparison.passages {
            self.groups.entry((from, to, traffic)).or_default().remarked += passage.remarked;
        }
    }

    /// Strays of directions that pass two taps, and those of directions that were never matched, in order.
    fn lone(&self) -> Vec<Lone> {
        let mut lone = Vec::new();
        for (&(tap, _), stray) in &self.comparison.strays {
            let flow = stray.sighting.flow;
            let row = self.row(flow);
            let Some(of) = self.context.flows.get(flow) else { continue };
            let sibling = self.established.get(&(tap, direction(of))).map(|&sibling| self.row(sibling));
            let behind = |row: Row| row.prev.tap().filter(|_| row.prev.votes >= ESTABLISHED);
            let ahead = |row: Row| row.next.tap().filter(|_| row.next.votes >= ESTABLISHED);
            let mut stray = *stray;
            let kind = stray.note.flags;
            let other = if kind & NEW != 0
                && let Some(from) = behind(row)
            {
                stray.note.flags = stray.note.flags & !(MISSING | ALONE) | NEW;
                from
            } else if kind & MISSING != 0
                && let Some(to) = ahead(row)
            {
                stray.note.flags = stray.note.flags & !(NEW | ALONE) | MISSING;
                to
            } else if let Some(from) = sibling.and_then(behind) {
                stray.note.flags = stray.note.flags & !(MISSING | ALONE) | NEW;
                from
            } else if let Some(to) = sibling.and_then(ahead) {
                stray.note.flags = stray.note.flags & !(NEW | ALONE) | MISSING;
                to
            } else {
                stray.note.flags = stray.note.flags & !(NEW | MISSING) | ALONE;
                tap
            };
            lone.push(Lone { stray, tap, other, flow, settled: false });
        }
        lone.sort_unstable_by_key(|lone| (lone.stray.sighting.ts, lone.tap, lone.stray.sighting.frame));
        lone
    }

    /// Takes a stray out of what is lost or inserted.
    fn take_out(&mut self, lone: &Lone) -> Option<&mut Verdicts> {
        let traffic = self.context.flows.get(lone.flow).map(traffic)?;
        let flags = lone.stray.note.flags;
        if flags & NEW != 0 {
            let group = self.group(lone.other, lone.tap, traffic);
            group.inserted = group.inserted.saturating_sub(1);
            Some(group)
        } else if flags & MISSING != 0 {
            let group = self.group(lone.tap, lone.other, traffic);
            group.lost = group.lost.saturating_sub(1);
            Some(group)
        } else {
            None
        }
    }

    /// Pairs of strays that are one packet, changed on its way.
    fn modified(&mut self, lone: &mut [Lone]) {
        type Changes = BTreeMap<(u16, u16, Change), Vec<(usize, usize)>>;
        let mut waiting: HashMap<(FlowKey, u32, u32), Vec<usize>> = HashMap::new();
        let mut pairs: Changes = BTreeMap::new();
        let mut parts: HashMap<(Option<Addr>, Option<Addr>, u32), u16> = HashMap::new();
        for one in lone.iter().filter(|one| one.stray.note.flags & PARTIAL != 0) {
            if let Some(key) = self.context.flows.get(one.flow).map(direction) {
                parts.insert((key.src, key.dst, one.stray.sighting.ip_id), one.tap);
            }
        }
        for at in 0..lone.len() {
            let Some(&one) = lone.get(at) else { break };
            let Some(key) = self.context.flows.get(one.flow).map(direction) else { continue };
            let id = one.stray.sighting.ip_id;
            // Fragments, and what they were made of or put together to.
            let is_part = one.stray.note.flags & PARTIAL != 0;
            let in_parts = parts.get(&(key.src, key.dst, id)).is_some_and(|&tap| tap != one.tap);
            if is_part || (in_parts && id != 0) {
                self.take_out(&one);
                if let Some(slot) = lone.get_mut(at) {
                    slot.settled = true;
                }
                continue;
            }
            let is_tcp = key.protocol == Some(6);
            let tells = if id == 0 {
                is_tcp && one.stray.note.len > 0
            } else {
                is_tcp || !self.row(one.flow).gaps.is_alike()
            };
            if !tells {
                continue;
            }
            let candidates = waiting.entry((key, id, one.stray.note.seq)).or_default();
            let fits = |&other: &usize| {
                lone.get(other).is_some_and(|other| {
                    let apart = one.stray.sighting.ts.saturating_sub(other.stray.sighting.ts);
                    other.tap != one.tap && apart <= WAIT && is_pair(other, &one)
                })
            };
            let Some(place) = candidates.iter().position(fits) else {
                candidates.push(at);
                continue;
            };
            let other_at = candidates.swap_remove(place);
            let Some(&other) = lone.get(other_at) else { continue };
            let (a, b) = (&other.stray, &one.stray);
            let a_first = if (a.note.flags | b.note.flags) & (MISSING | NEW) == 0 {
                a.sighting.ttl >= b.sighting.ttl
            } else {
                a.note.flags & MISSING != 0 || b.note.flags & NEW != 0
            };
            let (from, to) = if a_first { (other_at, at) } else { (at, other_at) };
            for index in [from, to] {
                if let Some(one) = lone.get_mut(index) {
                    one.settled = true;
                    let one = *one;
                    self.take_out(&one);
                }
            }
            let (Some(before), Some(after)) = (lone.get(from), lone.get(to)) else { continue };
            let traffic = self.context.flows.get(before.flow).map_or(0, traffic);
            self.group(before.tap, after.tap, traffic).modified += 1;
            let change = Change::of(&before.stray, &after.stray);
            pairs.entry((before.tap, after.tap, change)).or_default().push((from, to));
        }
        for ((_, _, change), pairs) in pairs {
            let mut tally = Tally::default();
            let mut distinct = HashSet::new();
            for &(from, to) in &pairs {
                if let Some(one) = lone.get(to) {
                    distinct.insert((one.flow, one.stray.sighting.ip_id, one.stray.note.seq));
                }
                if let (Some(from), Some(to)) = (lone.get(from), lone.get(to)) {
                    self.add(&mut tally, to.stray.sighting, Some(from.stray.sighting), Role::Offending);
                }
            }
            let enough = distinct.len() as u64 >= MIN_PACKETS;
            let severity = match change {
                Change::Payload => Severity::High,
                Change::Rest => Severity::Medium,
                Change::Header | Change::Cut => Severity::Info,
            };
            if change == Change::Cut {
                self.recut.extend(
                    pairs.iter().filter_map(|&(from, to)| Some(pair(lone.get(from)?.tap, lone.get(to)?.tap))),
                );
            }
            let mut claim = self.claim("B1.modified", Kind::Modification, severity, tally);
            claim.detail = Some(change.text().to_owned());
            // Headers are rewritten by what routers and firewalls are meant to do.
            claim.report = !matches!(change, Change::Header | Change::Cut);
            self.claims.push(if enough || !claim.report { claim } else { unproven(claim) });
        }
    }

    /// Where addresses are translated, or segments cut or joined, in between, not every packet is known again on the other side: what looks
    /// lost or inserted there is only named.
    fn spare_rewritten(&mut self) {
        let translated = self.groups.iter().filter(|(_, verdicts)| verdicts.readdressed > 0);
        let mut pairs: HashSet<(u16, u16)> = translated.map(|(&(from, to, _), _)| pair(from, to)).collect();
        pairs.extend(&self.recut);
        let touched: HashSet<u16> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
        for claim in &mut self.claims {
            let taps = (claim.tap, claim.copy_tap);
            let is_between = match taps {
                (Some(a), Some(b)) if a != b => pairs.contains(&pair(a, b)),
                (Some(one), _) | (None, Some(one)) => touched.contains(&one),
                (None, None) => !pairs.is_empty(),
            };
            // With segments, checksums are left to the card as well.
            let is_rest =
                claim.detector == "B1.modified" && claim.detail.as_deref() == Some(Change::Rest.text());
            if is_between && (is_rest || matches!(claim.detector, "B1.inserted" | "B1.lost")) {
                (claim.report, claim.severity) = (false, Severity::Info);
            }
        }
    }

    /// Strays that the other tap merely missed.
    fn explained(&mut self, lone: &mut [Lone]) {
        for one in lone.iter_mut().filter(|one| !one.settled && one.stray.missed) {
            if let Some(group) = self.take_out(one) {
                group.capture_loss += 1;
                one.settled = true;
            }
        }
    }

    /// What the taps themselves say they dropped explains what is still missing there, as far as it goes.
    fn missed_by_count(&mut self) {
        for (number, captured) in self.captured.iter().enumerate() {
            let (tap, mut left) = (number as u16, captured.dropped.unwrap_or(0));
            for (&(from, to, _), group) in &mut self.groups {
                if from == tap {
                    let excused = group.inserted.min(left);
                    group.inserted -= excused;
                    group.capture_loss += excused;
                    left -= excused;
                }
                if to == tap {
                    let excused = group.lost.min(left);
                    group.lost -= excused;
                    group.capture_loss += excused;
                    left -= excused;
                }
            }
        }
    }

    /// The share of frames that a tap says it dropped.
    fn drop_rate(&self, tap: u16) -> f64 {
        self.captured.get(usize::from(tap)).map_or(0.0, |captured| {
            let dropped = captured.dropped.unwrap_or(0);
            dropped as f64 / (captured.frames + dropped).max(1) as f64
        })
    }

    fn inserted(&mut self, lone: &[Lone]) {
        type Pair = (u16, u16);
        let mut shares: BTreeMap<(Pair, Option<Addr>), Share> = BTreeMap::new();
        let mut pairs: HashMap<Pair, (u64, u64)> = HashMap::new();
        for (_, row, flow) in self.rows() {
            if let Some(from) = row.prev.tap().filter(|_| row.prev.votes >= ESTABLISHED) {
                let pair = (from, self.tap(flow));
                let arrived = u64::from(row.arrived);
                shares.entry((pair, flow.key().dst)).or_default().of += arrived;
                pairs.entry(pair).or_default().1 += arrived;
            }
        }
        let mut missed: HashSet<(Pair, i64)> = HashSet::new();
        let second = |one: &Lone| one.stray.sighting.ts.div_euclid(SECOND);
        for one in lone.iter().filter(|one| one.settled && one.stray.missed) {
            missed.extend((-1..=1).map(|by| ((one.other, one.tap), second(one) + by)));
        }
        for (at, one) in lone.iter().enumerate() {
            let pair = (one.other, one.tap);
            let is_new = one.stray.note.flags & NEW != 0;
            if is_new && one.settled && one.stray.missed {
                let all = pairs.entry(pair).or_default();
                (all.0, all.1) = (all.0 + 1, all.1 + 1);
            }
            if !is_new || one.settled {
                continue;
            }
            let dst = self.context.flows.get(one.flow).and_then(|flow| flow.key().dst);
            let share = shares.entry((pair, dst)).or_default();
            share.found.push(at);
            // The tap before saw what belongs there, and missed nothing else at that time.
            let is_sure = one.stray.contradicted && !missed.contains(&(pair, second(one)));
            share.contradicted += u64::from(is_sure);
            share.of += 1;
            let all = pairs.entry(pair).or_default();
            (all.0, all.1) = (all.0 + 1, all.1 + 1);
        }
        let tried = shares.len() as f64;
        for ((pair, dst), mut share) in shares {
            let contradicted = share.contradicted >= MIN_PACKETS;
            if !contradicted {
                self.spare_bursts(pair.1, &mut share, lone);
            }
            let new = share.found.len() as u64;
            if new < MIN_PACKETS {
                continue;
            }
            let (all_new, all) = pairs.get(&pair).copied().unwrap_or_default();
            let drops = self.drop_rate(pair.0);
            // What a tap misses is spread over all flows.
            let by_chance = at_least(new, all_new, share.of as f64 / all as f64) * tried;
            let stands_out = all - share.of >= REST
                && by_chance < CHANCE
                && wilson(new, share.of, Z).0 > MORE_THAN_DROPPED * drops;
            let mut tally = Tally::default();
            for one in share.found.iter().filter_map(|&at| lone.get(at)) {
                self.add(&mut tally, one.stray.sighting, None, Role::Injected);
            }
            let severity = if contradicted { Severity::High } else { Severity::Medium };
            let mut claim = self.claim("B1.inserted", Kind::Injection, severity, tally);
            claim.tap = Some(pair.0);
            claim.subject = dst;
            (claim.in_scope, claim.judged) = (share.of, share.of);
            self.claims.push(if stands_out || contradicted { claim } else { unproven(claim) });
        }
    }

    /// Leaves out new packets that came when many for others were new as well: a burst that the tap before could not follow.
    fn spare_bursts(&self, tap: u16, share: &mut Share, lone: &[Lone]) {
        let Some(bursts) = self.comparison.bursts.get(usize::from(tap)) else { return };
        let time = |&at: &usize| lone.get(at).map_or(0, |one| one.stray.sighting.ts);
        let alone = bursts.alone(&share.found.iter().map(time).collect::<Vec<_>>());
        let mut alone = alone.into_iter();
        share.found.retain(|_| alone.next().unwrap_or(true));
    }

    fn lost(&mut self, lone: &[Lone]) {
        type Pair = (u16, u16);
        let mut shares: BTreeMap<(Pair, Option<(Addr, u8)>), Share> = BTreeMap::new();
        let mut pairs: HashMap<Pair, (u64, u64)> = HashMap::new();
        for (_, row, flow) in self.rows() {
            if let Some(to) = row.next.tap().filter(|_| row.next.votes >= ESTABLISHED) {
                let pair = (self.tap(flow), to);
                shares.entry((pair, prefix(flow))).or_default().of += u64::from(row.passed);
                pairs.entry(pair).or_default().1 += u64::from(row.passed);
            }
        }
        for (at, one) in lone.iter().enumerate() {
            if one.stray.note.flags & MISSING == 0 || one.settled {
                continue;
            }
            let pair = (one.tap, one.other);
            let of = self.context.flows.get(one.flow).and_then(prefix);
            let share = shares.entry((pair, of)).or_default();
            share.found.push(at);
            share.of += 1;
            let all = pairs.entry(pair).or_default();
            (all.0, all.1) = (all.0 + 1, all.1 + 1);
        }
        let tried = shares.len() as f64;
        for ((pair, of), share) in shares {
            let (lost, (all_lost, all)) =
                (share.found.len() as u64, pairs.get(&pair).copied().unwrap_or_default());
            let (rest_lost, rest) = (all_lost - lost, all - share.of);
            let usual = (rest_lost as f64 / rest.max(1) as f64).max(self.drop_rate(pair.1));
            let by_chance = at_least(lost, all_lost, share.of as f64 / all as f64) * tried;
            let is_enough = lost >= MIN_LOST.0 && wilson(lost, share.of, Z).0 > MIN_LOST.1;
            let is_more = lost as f64 > LOSES_MORE * usual * share.of as f64 && by_chance < CHANCE;
            if rest < REST || !is_enough || !is_more {
                continue;
            }
            let mut tally = Tally::default();
            for one in share.found.iter().filter_map(|&at| lone.get(at)) {
                self.add(&mut tally, one.stray.sighting, None, Role::Original);
            }
            let mut claim = self.claim("B1.lost", Kind::Loss, Severity::Low, tally);
            (claim.tap, claim.copy_tap) = (Some(pair.0), Some(pair.1));
            claim.detail = of.map(|(addr, bits)| prefix_text(addr, bits));
            (claim.in_scope, claim.judged) = (share.of, share.of);
            self.claims.push(claim);
        }
    }

    /// Flows that leave by two next hops, or two taps, at the same time.
    fn diverted(&mut self) {
        let mut hops: HashMap<(u16, FlowKey), Vec<u32>> = HashMap::new();
        let mut neighbours: HashSet<(u16, u16)> = HashSet::new();
        for (number, row, flow) in self.rows() {
            let tap = self.tap(flow);
            // Rows of copies were met on this tap before.
            let is_copy = u64::from(row.again) * 2 >= flow.packets;
            if row.prev.votes >= ESTABLISHED && !is_copy {
                hops.entry((tap, direction(flow))).or_default().push(number);
            }
            if let Some(to) = row.next.tap().filter(|_| row.next.votes >= ESTABLISHED) {
                neighbours.insert((tap, to));
            }
        }
        // Of each tap, how many directions there are, and how many of them part.
        let mut directions: HashMap<u16, (usize, usize)> = HashMap::new();
        let mut found: BTreeMap<(u16, u32), Vec<(u32, u32)>> = BTreeMap::new();
        for ((tap, _), numbers) in hops {
            let counts = directions.entry(tap).or_default();
            counts.0 += 1;
            let Some((main, others)) = self.parted(&numbers) else { continue };
            counts.1 += 1;
            // Told apart by the next hop that they take beside the usual one.
            for number in others {
                let path = self.context.flows.get(number).map_or(0, |flow| flow.path);
                found.entry((tap, path)).or_default().push((number, main));
            }
        }
        for ((tap, _), mut numbers) in found {
            let mut tally = Tally::default();
            let (mut diverted, mut of) = (0, 0);
            numbers.sort_unstable();
            for (number, main) in numbers {
                let Some(flow) = self.context.flows.get(number) else { continue };
                let usual = self.context.flows.get(main);
                let mut original = usual.into_iter().flat_map(|flow| sightings(flow, main));
                for sighting in sightings(flow, number) {
                    self.add(&mut tally, sighting, original.next(), Role::Redirected);
                }
                let row = self.row(number);
                let packets = u64::from(row.arrived);
                diverted += packets;
                of += packets + u64::from(self.row(main).arrived);
                if let Some(from) = row.prev.tap() {
                    let group = self.group(from, tap, traffic(flow));
                    group.diverted += packets;
                    group.passed = group.passed.saturating_sub(packets);
                }
            }
            tally.packets = diverted;
            let (all, parted) = directions.get(&tap).copied().unwrap_or_default();
            let enough = diverted >= MIN_PACKETS && parted * BALANCED < all;
            let mut claim = self.claim("B1.diverted", Kind::Diversion, Severity::Medium, tally);
            (claim.in_scope, claim.judged) = (of, of);
            self.claims.push(if enough { claim } else { unproven(claim) });
        }
        // Another tap, beside the usual next one and not behind it, is another exit.
        for (_, row, flow) in self.rows() {
            let tap = self.tap(flow);
            let (Some(to), Some(other)) = (row.next.tap(), u16::from(row.other).checked_sub(1)) else {
                continue;
            };
            if row.elsewhere == 0 || row.next.votes < ESTABLISHED {
                continue;
            }
            let (elsewhere, traffic) = (u64::from(row.elsewhere), traffic(flow));
            if !neighbours.contains(&(tap, other)) || neighbours.contains(&(to, other)) {
                // The usual next tap lies before that one, and missed them.
                self.group(tap, to, traffic).capture_loss += elsewhere;
                continue;
            }
            self.group(tap, other, traffic).diverted += elsewhere;
            if elsewhere < MIN_PACKETS {
                continue;
            }
            let mut tally = Tally::default();
            let exit = self
                .rows()
                .find(|(_, _, exit)| self.tap(exit) == other && direction(exit) == direction(flow));
            if let Some((number, _, exit)) = exit {
                for sighting in sightings(exit, number) {
                    self.add(&mut tally, sighting, None, Role::Redirected);
                }
            }
            tally.packets = elsewhere;
            let mut claim = self.claim("B1.diverted", Kind::Diversion, Severity::Medium, tally);
            claim.tap = Some(tap);
            claim.in_scope = elsewhere + u64::from(row.passed);
            claim.judged = claim.in_scope;
            self.claims.push(claim);
        }
    }

    /// The row with most packets of those that left one router, and those that went to another next hop while it lasted.
    fn parted(&self, numbers: &[u32]) -> Option<(u32, Vec<u32>)> {
        let flow = |number: u32| self.context.flows.get(number);
        let main = *numbers.iter().max_by_key(|number| flow(**number).map(|flow| flow.packets))?;
        let usual = flow(main)?;
        let path = self.context.paths.get(usual.path);
        let hop = |flow: &Flow| -> Hop {
            let path = self.context.paths.get(flow.path);
            (path.eth_dst, path.mpls)
        };
        let is_other = |number: &u32| {
            flow(*number).is_some_and(|other| {
                let same_sender = self.context.paths.get(other.path).eth_src == path.eth_src;
                let meanwhile = usual.first_ts < other.first_ts && other.last_ts < usual.last_ts;
                let enough = u64::from(self.row(*number).arrived) >= MIN_PACKETS;
                same_sender && path.eth_src.is_some() && hop(other) != hop(usual) && meanwhile && enough
            })
        };
        let others: Vec<u32> = numbers.iter().copied().filter(is_other).collect();
        (!others.is_empty()).then_some((main, others))
    }

    fn add(&self, tally: &mut Tally, sighting: Sighting, original: Option<Sighting>, role: Role) {
        let flow = self.context.flows.get(sighting.flow);
        let label = flow.map_or_else(Label::default, |flow| flow.key().label);
        let of = (flow.and_then(Flow::flow_id), label);
        tally.count(sighting, original, (Role::Original, role), of, &self.context);
    }

    fn claim(&self, detector: &'static str, kind: Kind, severity: Severity, tally: Tally) -> Claim {
        let mut claim = Claim::new(detector, kind, severity, tally, &self.context);
        (claim.in_scope, claim.judged) = (claim.tally.packets, claim.tally.packets);
        if kind != Kind::Diversion {
            // Whoever got them next is who should.
            claim.collector_mac = None;
        }
        claim
    }

    /// The rows of the table, and what there is to say about clocks.
    fn lines(&self) -> (Vec<Line>, Vec<String>) {
        let mut solved: BTreeMap<(u16, u16), Solved> = BTreeMap::new();
        let mut reasons = Vec::new();
        let name = |tap: u16| self.taps.get(usize::from(tap)).map_or("", String::as_str);
        let mut clocks: Vec<_> = self.comparison.clocks.iter().collect();
        clocks.sort_unstable_by_key(|(pair, _)| **pair);
        for (&(low, high), clock) in clocks {
            let Some(clocks) = clock.solve() else { continue };
            if !clocks.both_ways {
                reasons.push(format!(
                    "between {} and {}, packets went one way only: how far their clocks are apart cannot be told from delay",
                    name(low),
                    name(high)
                ));
            }
            for (ts, step) in &clocks.steps {
                let step = *step as f64 / 1e9;
                reasons.push(format!(
                    "the clock of {} against {} stepped by {step} s at {}",
                    name(high),
                    name(low),
                    time(*ts)
                ));
            }
            solved.insert((low, high), clocks);
        }
        let line = |(&(from, to, class), verdicts): (&Group, &Verdicts)| {
            let forth = from < to;
            let clocks = solved.get(&(from.min(to), from.max(to))).cloned().unwrap_or_default();
            let passage = self.comparison.passages.get(&(from, to, class));
            let mut delays: Vec<i64> = passage.map_or_else(Vec::new, |passage| {
                let delay = |&(ts, later): &(i64, i64)| {
                    let delay = later.saturating_sub(clocks.at(ts));
                    if forth { delay } else { delay.saturating_neg() }
                };
                passage.delays.values.iter().map(delay).collect()
            });
            let p99 = (delays.len() * 99 / 100).min(delays.len().saturating_sub(1));
            let p99 = (!delays.is_empty()).then(|| *delays.select_nth_unstable(p99).1);
            let delays = median(&mut delays).zip(p99);
            let falls = passage.map(|passage| passage.falls).unwrap_or_default();
            let most = falls.iter().enumerate().max_by_key(|(at, count)| (**count, std::cmp::Reverse(*at)));
            let ttl_fall = most.filter(|(_, count)| **count > 0).map(|(at, _)| at as i8 - 1);
            let clocks = if forth { clocks } else { clocks.reversed() };
            let traffic = Traffic::ALL.get(usize::from(class)).map_or("unknown", |traffic| traffic.name());
            Line { from, to, traffic, verdicts: *verdicts, delays, ttl_fall, clocks }
        };
        (self.groups.iter().map(line).collect(), reasons)
    }

    fn scope(&self, reasons: Vec<String>) -> Scope {
        let (mut in_scope, mut judged) = (0_u64, 0_u64);
        let mut weak = false;
        for (_, row, flow) in self.rows().filter(|(_, row, _)| row.next.votes >= ESTABLISHED) {
            let done = u64::from(row.passed) + u64::from(row.missing) + u64::from(row.elsewhere);
            let all = done + u64::from(row.unknowable);
            // As many weak ones as there were among the others.
            let strong = flow.packets.saturating_sub(flow.weak.into()).max(1);
            let of_weak = (u128::from(flow.weak) * u128::from(all) / u128::from(strong)) as u64;
            weak |= of_weak > 0;
            in_scope += all + of_weak;
            judged += done;
        }
        // What is new, and was neither put in by somebody nor missed by the tap before, as far as that can be told.
        let new: u64 = self.groups.values().map(|verdicts| verdicts.inserted).sum();
        let claimed = self.claims.iter().filter(|claim| claim.detector == "B1.inserted" && claim.report);
        let claimed: u64 = claimed.map(|claim| claim.tally.packets).sum();
        in_scope += new;
        judged += claimed.min(new);
        let mut why = Vec::new();
        why.push((claimed < new).then(|| {
            let open = new - claimed;
            format!("of {open} packets that only the later tap has it cannot be told whether the one before missed them")
        }));
        if in_scope == 0 {
            why.push(Some(self.nothing().to_owned()));
        }
        let overflow = self.comparison.overflow;
        why.push((overflow > 0).then(|| {
            format!("{overflow} packets that one tap lacks were counted, and not looked at one by one")
        }));
        why.push(weak.then(|| "packets too short, or captured too short, to be told from others".to_owned()));
        Scope::new(in_scope, judged.min(in_scope), why.into_iter().chain(reasons.into_iter().map(Some)))
    }

    /// Why nothing could be compared.
    fn nothing(&self) -> &'static str {
        let spans: Vec<_> = self.comparison.spans.iter().flatten().collect();
        let apart = |from: i64, to: i64| from > to;
        let overlap = spans.iter().enumerate().any(|(at, a)| {
            spans.iter().skip(at + 1).any(|b| !apart(a.first, b.last) && !apart(b.first, a.last))
        });
        if !overlap {
            "the taps did not capture at the same time"
        } else if self.comparison.clocks.is_empty() {
            "no packet was seen on two taps"
        } else {
            "no flow passed two taps for long enough while both captured"
        }
    }
}

impl Solved {
    /// The same, seen from the other tap.
    fn reversed(mut self) -> Self {
        self.offset = self.offset.saturating_neg();
        self.drift = self.drift.map(|drift| -drift);
        for (_, step) in &mut self.steps {
            *step = step.saturating_neg();
        }
        self
    }
}

/// Whether two strays on two taps may be one packet: one is missing where the other is new, or nothing is known of either.
fn is_pair(a: &Lone, b: &Lone) -> bool {
    let kind = |lone: &Lone| lone.stray.note.flags & (MISSING | NEW);
    match (kind(a), kind(b)) {
        (0, 0) => true,
        (0, _) => b.other == a.tap,
        (_, 0) => a.other == b.tap,
        (a_kind, b_kind) => a_kind != b_kind && a.other == b.tap && b.other == a.tap,
    }
}

fn unproven(claim: Claim) -> Claim {
    claim.unproven("B1.unproven")
}

fn traffic(flow: &Flow) -> u8 {
    flow.key().label.traffic() as u8
}

/// The prefix of a flow's destination: 24 bits of IPv4, 48 of IPv6.
fn prefix(flow: &Flow) -> Option<(Addr, u8)> {
    let dst = flow.key().dst?;
    let (kept, bits) =
        if dst.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]) { (15, 24) } else { (6, 48) };
    let mut addr = dst;
    addr.iter_mut().skip(kept).for_each(|byte| *byte = 0);
    Some((addr, bits))
}

fn prefix_text(addr: Addr, bits: u8) -> String {
    let addr = std::net::Ipv6Addr::from(addr);
    addr.to_ipv4_mapped().map_or_else(|| format!("{addr}/{bits}"), |addr| format!("{addr}/{bits}"))
}

/// The first packets of a row, as sightings.
fn sightings(flow: &Flow, number: u32) -> impl Iterator<Item = Sighting> + use<'_> {
    let ends = |at: usize, all: usize| if at + 1 == all { flow.last_ts } else { flow.first_ts };
    let frames = flow.frames();
    frames.iter().enumerate().map(move |(at, &frame)| Sighting {
        ts: ends(at, frames.len()),
        frame,
        path: flow.path,
        flow: number,
        ..Sighting::default()
    })
}
