//! What is known of one media stream.

use super::codec::{self, COMFORT_NOISE, Codec, EVENTS};
use super::sample::Sample;
use super::sequence::{Place, Sequence};
use crate::classify::Basis;
use crate::paths::Path;
use crate::wire::ip::Addr;

/// Payload types that are counted by themselves: more than a stream of RTP has reason for.
const TYPES: usize = 8;

/// Steps of the timestamp that are counted.
const STEPS: usize = 4;

/// A step that is more rare than the most frequent one by this much is an exception.
const RARE: u64 = 10;

/// Of fewer packets, one that was lost would be more than a tenth of all, and none that was would say nothing.
const MIN_RATED: u64 = 10;

const MS: f64 = 1e6;

/// What tells streams apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub path: Path,
    pub ends: Ends,
    pub ssrc: u32,
}

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub src: (Addr, u16),
    pub dst: (Addr, u16),
}

/// A packet of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub frame: u64,
    pub ts: i64,
    pub wire_len: u32,
    pub payload_len: Option<u32>,
    pub ttl: Option<u8>,
    pub tos: Option<u8>,
    pub basis: Option<Basis>,
    pub payload_type: u8,
    pub marker: bool,
    pub seq: u16,
    pub timestamp: u32,
}

/// A payload type of a stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Type {
    pub number: u8,
    pub packets: u64,
    /// As a session description names it.
    pub announced: Option<Codec>,
}

impl Type {
    pub fn codec(&self) -> Option<&str> {
        let by_number = || codec::of_static(self.number).map(|(name, _)| name);
        self.announced.as_ref().map(|codec| &*codec.name).or_else(by_number)
    }

    pub fn clock_rate(&self) -> Option<u32> {
        let by_number = || codec::of_static(self.number).map(|(_, rate)| rate);
        self.announced.as_ref().map(|codec| codec.clock_rate).or_else(by_number).filter(|&rate| rate > 0)
    }

    fn is_events(&self) -> bool {
        self.codec().is_some_and(|name| name.eq_ignore_ascii_case(EVENTS))
    }

    fn is_comfort_noise(&self) -> bool {
        self.number == COMFORT_NOISE || self.codec().is_some_and(|name| name.eq_ignore_ascii_case("CN"))
    }
}

/// Jitter, RFC 3550 section 6.4.1 and appendix A.8, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Jitter {
    /// Time (nanoseconds), timestamp and clock rate of the packet before.
    before: Option<(i64, u32, u32)>,
    pub last: f64,
    pub max: f64,
    sum: f64,
    count: u64,
}

impl Jitter {
    fn take(&mut self, ts: i64, timestamp: u32, clock_rate: u32) {
        if let Some((ts_before, timestamp_before, rate_before)) = self.before
            && rate_before == clock_rate
        {
            let sent = f64::from(timestamp.wrapping_sub(timestamp_before).cast_signed());
            let arrived = ts.saturating_sub(ts_before) as f64 / MS;
            let difference = (arrived - 1000.0 * sent / f64::from(clock_rate)).abs();
            self.last += (difference - self.last) / 16.0;
            self.max = self.max.max(self.last);
            self.sum += self.last;
            self.count += 1;
        }
        self.before = Some((ts, timestamp, clock_rate));
    }

    /// The mean over all packets but the first; none if there is no other, or the clock was never known.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    pub fn of(&self, value: f64) -> Option<f64> {
        (self.count > 0).then_some(value)
    }
}

/// What receivers report of a stream by RTCP.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reports {
    pub count: u64,
    /// The greatest, in units of 1/256.
    pub fraction_lost: u8,
    pub lost: Option<i32>,
    /// The last, in units of the codec's clock.
    pub jitter: Option<u32>,
    /// Sum, number and greatest of round trips, nanoseconds.
    round_trips: (u64, u64, u64),
}

impl Reports {
    pub fn take(&mut self, fraction_lost: u8, lost: Option<i32>, jitter: Option<u32>) {
        self.count += 1;
        self.fraction_lost = self.fraction_lost.max(fraction_lost);
        self.lost = lost.or(self.lost);
        self.jitter = jitter.or(self.jitter);
    }

    pub fn round_trip(&mut self, nanoseconds: u64) {
        let (sum, count, max) = self.round_trips;
        self.round_trips = (sum.saturating_add(nanoseconds), count + 1, max.max(nanoseconds));
    }

    /// Mean round trip, milliseconds.
    pub fn round_trip_ms(&self) -> Option<f64> {
        let (sum, count, _) = self.round_trips;
        (count > 0).then(|| sum as f64 / count as f64 / MS)
    }

    pub fn max_round_trip_ms(&self) -> Option<f64> {
        let (_, count, max) = self.round_trips;
        (count > 0).then_some(max as f64 / MS)
    }
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub key: Key,
    pub previous_ssrc: Option<u32>,
    pub basis: Option<Basis>,
    pub first_ts: i64,
    pub last_ts: i64,
    pub packets: u64,
    pub bytes: u64,
    pub payload_bytes: u64,
    pub types: [Type; TYPES],
    /// Packets of payload types that found no room.
    pub other_types: u64,
    pub markers: u64,
    pub sequence: Sequence,
    pub jitter: Jitter,
    pub max_gap: i64,
    /// The longest one within a talkspurt: not before a marker, nor before or behind comfort noise.
    pub max_talk_gap: i64,
    was_comfort_noise: bool,
    steps: [(u32, u64); STEPS],
    /// Number, timestamp and payload type of the packet before.
    before: Option<(u16, u32, u8)>,
    /// A bit for each code point.
    pub dscp: u64,
    pub ttl: Option<(u8, u8)>,
    frames: [u64; Self::FRAMES],
    pub sample: Sample,
    /// At how many announcements it last asked for its payload types.
    asked: u64,
}

impl Stream {
    const FRAMES: usize = 8;

    pub fn new(key: Key, ts: i64, previous_ssrc: Option<u32>) -> Self {
        Self {
            key,
            previous_ssrc,
            basis: None,
            first_ts: ts,
            last_ts: ts,
            packets: 0,
            bytes: 0,
            payload_bytes: 0,
            types: Default::default(),
            other_types: 0,
            markers: 0,
            sequence: Sequence::default(),
            jitter: Jitter::default(),
            max_gap: 0,
            max_talk_gap: 0,
            was_comfort_noise: false,
            steps: [(0, 0); STEPS],
            before: None,
            dscp: 0,
            ttl: None,
            frames: [0; Self::FRAMES],
            sample: Sample::default(),
            asked: 0,
        }
    }

    /// Adds a packet. `announced` says what a payload type was announced as, and `announcements` how many there were.
    pub fn add(&mut self, seen: &Seen, announcements: u64, announced: impl Fn(&Ends, u8) -> Option<Codec>) {
        if let Some(slot) = self.frames.get_mut(usize::try_from(self.packets).unwrap_or(usize::MAX)) {
            *slot = seen.frame;
        }
        // An announced endpoint says more than behaviour.
        if self.basis != Some(Basis::Signature) {
            self.basis = seen.basis;
        }
        let is_comfort_noise = seen.payload_type == COMFORT_NOISE;
        if self.packets > 0 {
            let gap = seen.ts.saturating_sub(self.last_ts);
            self.max_gap = self.max_gap.max(gap);
            if !(seen.marker || is_comfort_noise || self.was_comfort_noise) {
                self.max_talk_gap = self.max_talk_gap.max(gap);
            }
        }
        self.was_comfort_noise = is_comfort_noise;
        self.first_ts = self.first_ts.min(seen.ts);
        self.last_ts = self.last_ts.max(seen.ts);
        self.packets += 1;
        self.bytes += u64::from(seen.wire_len);
        self.payload_bytes += u64::from(seen.payload_len.unwrap_or_default());
        self.markers += u64::from(seen.marker);
        self.sample.take(seen.seq, seen.timestamp, seen.payload_len.unwrap_or_default(), seen.ts);
        self.dscp |= seen.tos.map_or(0, |tos| 1 << (tos >> 2));
        if let Some(ttl) = seen.ttl {
            let (least, most) = self.ttl.unwrap_or((ttl, ttl));
            self.ttl = Some((least.min(ttl), most.max(ttl)));
        }
        let is_new_announcement = self.asked != announcements;
        self.asked = announcements;
        let clock_rate = self.count_type(seen.payload_type, is_new_announcement, announced);
        match self.sequence.take(seen.seq) {
            Place::Duplicate | Place::Stray => return,
            Place::First => self.jitter.before = None,
            Place::Next(_) | Place::Late => {}
        }
        match clock_rate {
            Some(rate) => self.jitter.take(seen.ts, seen.timestamp, rate),
            None => self.jitter.before = None,
        }
        self.count_step(seen);
    }

    /// Counts a packet of a payload type; gives its clock rate if its timestamps go on with time.
    fn count_type(
        &mut self,
        number: u8,
        ask: bool,
        announced: impl Fn(&Ends, u8) -> Option<Codec>,
    ) -> Option<u32> {
        if ask {
            for known in self.types.iter_mut().filter(|known| known.packets > 0) {
                known.announced = announced(&self.key.ends, known.number).or(known.announced.take());
            }
        }
        let found = self.types.iter_mut().find(|known| known.packets == 0 || known.number == number);
        let Some(found) = found else {
            self.other_types += 1;
            return None;
        };
        if found.packets == 0 {
            *found = Type { number, packets: 0, announced: announced(&self.key.ends, number) };
        }
        found.packets += 1;
        // The timestamp of an event stands still while it lasts (RFC 4733 section 2.2.1).
        found.clock_rate().filter(|_| !found.is_events())
    }

    /// Counts how far the timestamp went from the packet before, if that is the one before in the stream too.
    fn count_step(&mut self, seen: &Seen) {
        let before = self.before.replace((seen.seq, seen.timestamp, seen.payload_type));
        let Some((seq, timestamp, payload_type)) = before else { return };
        let step = seen.timestamp.wrapping_sub(timestamp);
        if seen.seq != seq.wrapping_add(1) || payload_type != seen.payload_type || step.cast_signed() <= 0 {
            return;
        }
        if let Some((_, count)) = self.steps.iter_mut().find(|(known, count)| *count > 0 && *known == step) {
            *count += 1;
        } else if let Some(free) = self.steps.iter_mut().find(|(_, count)| *count == 0) {
            *free = (step, 1);
        } else {
            // What is frequent outlasts what is not (Misra and Gries, 1982).
            self.steps.iter_mut().for_each(|(_, count)| *count -= 1);
        }
    }

    /// The payload type that most packets have; of several, the lowest.
    pub fn main_type(&self) -> Option<&Type> {
        let seen = self.types.iter().filter(|known| known.packets > 0);
        seen.max_by_key(|known| (known.packets, u8::MAX - known.number))
    }

    /// Whether a payload type that it has is nothing that is known.
    pub fn has_unnamed_type(&self) -> bool {
        self.types.iter().any(|known| known.packets > 0 && known.codec().is_none())
    }

    /// Payload types by number.
    pub fn sorted_types(&self) -> Vec<&Type> {
        let mut seen: Vec<_> = self.types.iter().filter(|known| known.packets > 0).collect();
        seen.sort_by_key(|known| known.number);
        seen
    }

    /// The step of the timestamp that is most frequent; of several, the least.
    pub fn step(&self) -> Option<u32> {
        let seen = self.steps.iter().filter(|(_, count)| *count > 0);
        seen.max_by_key(|(step, count)| (*count, u32::MAX - step)).map(|(step, _)| *step)
    }

    /// How much a packet holds: no more than the time to the next one, which is longer where nothing is sent of silence.
    pub fn packet_time_ms(&self) -> Option<f64> {
        let rate = self.main_type()?.clock_rate()?;
        let most = self.steps.iter().map(|(_, count)| *count).max()?;
        let frequent =
            self.steps.iter().filter(|(_, count)| *count > 0 && count.saturating_mul(RARE) >= most);
        let step = frequent.map(|(step, _)| *step).min()?;
        Some(1000.0 * f64::from(step) / f64::from(rate))
    }

    pub fn comfort_noise(&self) -> u64 {
        self.types.iter().filter(|known| known.is_comfort_noise()).map(|known| known.packets).sum()
    }

    /// Packets of events; none if a payload type is not known, so that it may be theirs.
    pub fn events(&self) -> Option<u64> {
        let mut seen = self.types.iter().filter(|known| known.packets > 0);
        let count = seen.clone().filter(|known| known.is_events()).map(|known| known.packets).sum();
        (count > 0 || seen.all(|known| known.codec().is_some())).then_some(count)
    }

    /// The rating R, as far as loss and round trips tell.
    pub fn rating(&self, reports: &Reports) -> Option<f64> {
        let expected = self.sequence.expected();
        if expected < MIN_RATED {
            return None;
        }
        let lost = self.sequence.lost() as f64 / expected as f64;
        let delay = reports.round_trip_ms().map_or(0.0, |round_trip| round_trip / 2.0);
        codec::rating(self.main_type()?.codec()?, lost, delay)
    }

    pub fn frames(&self) -> &[u64] {
        self.frames.get(..self.packets.min(Self::FRAMES as u64) as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(packets: &[(i64, u16, u32, u8)], announced: Option<(&str, u32)>) -> Stream {
        let ends = Ends { src: ([1; 16], 1), dst: ([2; 16], 2) };
        let mut stream = Stream::new(Key { path: Path::default(), ends, ssrc: 7 }, packets[0].0, None);
        for (frame, &(ms, seq, timestamp, payload_type)) in (1..).zip(packets) {
            let seen = Seen {
                frame,
                ts: ms * 1_000_000,
                wire_len: 214,
                payload_len: Some(160),
                ttl: Some(64),
                tos: Some(184),
                basis: Some(Basis::Behaviour),
                payload_type,
                marker: frame == 1,
                seq,
                timestamp,
            };
            stream.add(&seen, 0, |_, _| {
                announced.map(|(name, clock_rate)| Codec { name: name.into(), clock_rate })
            });
        }
        stream
    }

    /// RFC 3550 appendix A.8 by hand: |D| is 0, 8, 8 and 0 ms, and J goes on by a sixteenth of what it is off.
    #[test]
    fn jitter_is_that_of_the_standard() {
        let sent = [(0, 1, 0, 0), (20, 2, 160, 0), (48, 3, 320, 0), (60, 4, 480, 0), (80, 5, 640, 0)];
        let jitter = stream(&sent, None).jitter;
        let (second, third) = (8.0 / 16.0, 8.0 / 16.0 + (8.0 - 8.0 / 16.0) / 16.0);
        let last = third - third / 16.0;
        assert!((jitter.last - last).abs() < 1e-9);
        assert!((jitter.max - third).abs() < 1e-9);
        assert!((jitter.mean().unwrap() - (second + third + last) / 4.0).abs() < 1e-9);
    }

    #[test]
    fn jitter_needs_a_clock_and_leaves_events_out() {
        let dynamic = [(0, 1, 0, 96), (20, 2, 960, 96), (40, 3, 1920, 96)];
        let unknown = stream(&dynamic, None);
        assert_eq!(
            (unknown.jitter.mean(), unknown.packet_time_ms(), unknown.step()),
            (None, None, Some(960))
        );
        assert_eq!(unknown.events(), None);
        let known = stream(&dynamic, Some(("opus", 48_000)));
        assert_eq!((known.jitter.mean(), known.packet_time_ms()), (Some(0.0), Some(20.0)));
        assert_eq!(known.events(), Some(0));
        let events = stream(&dynamic, Some(("telephone-event", 8000)));
        assert_eq!((events.jitter.mean(), events.events()), (None, Some(3)));
    }

    #[test]
    fn what_is_counted() {
        let all = [(0, 65535, 0, 8), (20, 0, 160, 8), (40, 1, 320, 8), (45, 2, 400, 13), (145, 4, 1280, 8)];
        let it = stream(&all, None);
        assert_eq!((it.packets, it.bytes, it.payload_bytes, it.markers), (5, 1070, 800, 1));
        assert_eq!((it.sequence.expected(), it.sequence.lost()), (6, 1));
        assert_eq!((it.max_gap, it.max_talk_gap), (100_000_000, 20_000_000));
        assert_eq!(it.packet_time_ms(), Some(20.0));
        assert_eq!((it.comfort_noise(), it.events()), (1, Some(0)));
        assert_eq!((it.dscp, it.ttl, it.frames()), (1 << 46, Some((64, 64)), &[1, 2, 3, 4, 5][..]));
        assert_eq!(it.main_type().and_then(Type::codec), Some("PCMA"));
        // Of six packets nobody can tell.
        assert_eq!(it.rating(&Reports::default()), None);
    }

    #[test]
    fn few_packets_have_no_rating() {
        let sent = |numbers: std::ops::Range<u16>| {
            let all: Vec<_> =
                numbers.filter(|n| *n != 4).map(|n| (i64::from(n) * 20, n, u32::from(n) * 160, 8)).collect();
            stream(&all, None).rating(&Reports::default())
        };
        assert_eq!(sent(0..9), None);
        // One in ten lost: 95 * 10 / (10 + 25.1) = 27.07.
        assert!((sent(0..10).unwrap() - 66.13).abs() < 0.01);
    }

    /// AMR-WB of 20 ms a frame, clock 16 kHz (RFC 4867 section 4.1): in silence a frame describes it every eighth (3GPP TS 26.193 section 5.1.2).
    #[test]
    fn silence_does_not_count_for_packet_times() {
        let mut all = Vec::new();
        let mut frame = 0;
        for seq in 0..200_u16 {
            all.push((i64::from(frame) * 20, seq, frame * 320, 97));
            frame += if seq % 4 == 0 { 1 } else { 8 };
        }
        let it = stream(&all, Some(("AMR-WB", 16_000)));
        assert_eq!((it.step(), it.packet_time_ms()), (Some(2560), Some(20.0)));
        // One step that is an exception is none.
        all.push((i64::from(frame) * 20, 200, frame * 320, 97));
        all.push((i64::from(frame) * 20 + 10, 201, frame * 320 + 160, 97));
        assert_eq!(stream(&all, Some(("AMR-WB", 16_000))).packet_time_ms(), Some(20.0));
    }
}
