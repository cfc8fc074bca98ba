//! All taps, in order of time, past every detector.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

use super::claim::claims_to_batch;
use super::history::{History, MAX_SIGHTINGS, Sighting};
use super::{Claim, Context, Scope, Seen, claim_schema, detectors};
use crate::flows::{Flows, Path, Paths};
use crate::packets::{Packet, Packets, ids};

/// How to examine.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How far apart a packet and its copy may lie, in nanoseconds.
    pub window: i64,
    /// How far apart two equal packets may lie to be called a late copy, in nanoseconds.
    pub late_window: i64,
    /// About how many bytes to use for what is remembered.
    pub memory: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { window: 5_000_000_000, late_window: 300_000_000_000, memory: 256 << 20 }
    }
}

/// Where the packets of one or several taps come from: batches with at least [`Packets::COLUMNS`].
pub type Tap<'a> = &'a mut dyn Iterator<Item = Result<RecordBatch, ArrowError>>;

/// Counts over one tap.
#[derive(Debug, Clone, Copy)]
pub struct TapCounts {
    /// Frames.
    pub frames: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Time of the earliest frame, nanoseconds UTC.
    pub first_ts: i64,
    /// Time of the latest frame, nanoseconds UTC.
    pub last_ts: i64,
    /// Frames with an issue.
    pub issues: u64,
    /// Frames of which the capture kept only a part.
    pub snapped: u64,
}

impl TapCounts {
    const NONE: Self =
        Self { frames: 0, bytes: 0, first_ts: i64::MAX, last_ts: i64::MIN, issues: 0, snapped: 0 };

    fn add(&mut self, packet: &Packet) {
        self.frames += 1;
        self.bytes += u64::from(packet.wire_len);
        self.first_ts = self.first_ts.min(packet.ts);
        self.last_ts = self.last_ts.max(packet.ts);
        self.issues += u64::from(packet.has_issue);
        self.snapped += u64::from(packet.cap_len < packet.wire_len);
    }
}

/// What came out.
#[derive(Debug)]
pub struct Examination {
    /// Names of the taps that any frame was seen on, in the order they appeared, with counts.
    pub taps: Vec<(String, TapCounts)>,
    /// One row a claim, [`claim_schema`].
    pub claims: RecordBatch,
    /// One row a flow and path, [`crate::flows::flow_schema`].
    pub flows: RecordBatch,
    /// How much each detector could judge.
    pub scopes: Vec<(&'static str, Scope)>,
    /// Packets that are missing from the answers because a table was full, and which table.
    pub overflows: Vec<(&'static str, u64)>,
}

/// A tap's stream, one batch of it at hand.
struct Stream<'a> {
    batches: Tap<'a>,
    batch: Option<RecordBatch>,
}

impl Stream<'_> {
    fn advance(&mut self) -> Result<(), ArrowError> {
        loop {
            self.batch = self.batches.next().transpose()?;
            if self.batch.as_ref().is_none_or(|batch| batch.num_rows() > 0) {
                return Ok(());
            }
        }
    }
}

/// Reads the taps to their ends, merged by time, and says what was found. `pause` is called now and then with the number
/// of packets so far; its error ends the work.
pub fn examine<E: From<ArrowError>>(
    taps: Vec<Tap<'_>>,
    options: Options,
    mut pause: impl FnMut(u64) -> Result<(), E>,
) -> Result<Examination, E> {
    let mut streams: Vec<Stream<'_>> =
        taps.into_iter().map(|batches| Stream { batches, batch: None }).collect();
    let mut state = State::new(options);
    for stream in &mut streams {
        stream.advance()?;
    }
    let mut cursors = vec![0; streams.len()];
    while streams.iter().any(|stream| stream.batch.is_some()) {
        // With one batch of each tap at hand, go on until one of them is used up.
        let mut open = Vec::with_capacity(streams.len());
        for (number, stream) in streams.iter().enumerate() {
            if let Some(batch) = &stream.batch {
                let packets = Packets::new(batch)?;
                let names = packets.taps().iter().map(|name| state.tap(name)).collect::<Vec<_>>();
                open.push((number, packets, names));
            }
        }
        let used_up = state.merge(&open, &mut cursors);
        drop(open);
        if let Some(stream) = used_up.and_then(|number| streams.get_mut(number)) {
            stream.advance()?;
        }
        if let Some(cursor) = used_up.and_then(|number| cursors.get_mut(number)) {
            *cursor = 0;
        }
        pause(state.packets)?;
    }
    Ok(state.finish()?)
}

/// A batch at hand: number of its stream, its rows, and its taps' numbers.
type Open<'a> = (usize, Packets<'a>, Vec<u16>);

struct State {
    options: Options,
    taps: Vec<String>,
    counts: Vec<TapCounts>,
    paths: Paths,
    flows: Flows,
    history: History,
    detectors: Vec<Box<dyn super::Detector>>,
    packets: u64,
}

impl State {
    fn new(options: Options) -> Self {
        Self {
            options,
            taps: Vec::new(),
            counts: Vec::new(),
            paths: Paths::default(),
            // A quarter of the memory for conversations, the rest for recent packets.
            flows: Flows::new((options.memory / 4 / 512).max(1024)),
            history: History::new(options.memory / 4 * 3),
            detectors: detectors(),
            packets: 0,
        }
    }

    /// The number of the tap with this name.
    fn tap(&mut self, name: &str) -> u16 {
        let known = self.taps.iter().position(|known| known == name);
        let number = known.unwrap_or_else(|| {
            self.taps.push(name.to_owned());
            self.counts.push(TapCounts::NONE);
            self.taps.len() - 1
        });
        number.min(usize::from(u16::MAX)) as u16
    }

    /// Takes rows in order of time until one of the batches is used up; returns which.
    fn merge(&mut self, open: &[Open<'_>], cursors: &mut [usize]) -> Option<usize> {
        loop {
            let mut first: Option<(i64, &Open<'_>, usize)> = None;
            for stream in open {
                let row = cursors.get(stream.0).copied()?;
                let Some(ts) = stream.1.ts(row) else { return Some(stream.0) };
                if first.is_none_or(|(earliest, ..)| ts < earliest) {
                    first = Some((ts, stream, row));
                }
            }
            let (_, (number, packets, names), row) = first?;
            if let Some(packet) = packets.get(row) {
                let tap = names.get(usize::from(packet.tap)).copied().unwrap_or_default();
                self.take(&packet, tap);
            }
            if let Some(cursor) = cursors.get_mut(*number) {
                *cursor += 1;
            }
        }
    }

    fn take(&mut self, packet: &Packet, tap: u16) {
        self.packets += 1;
        if let Some(counts) = self.counts.get_mut(usize::from(tap)) {
            counts.add(packet);
        }
        let path = self.paths.number(Path::of(packet, tap));
        let flow = self.flows.add(path, packet);
        let sighting = Sighting {
            ts: packet.ts,
            frame: packet.frame,
            packet_id: packet.packet_id.unwrap_or_default(),
            payload_id: packet.payload_id.filter(|&id| ids::is_strong(id)).unwrap_or_default(),
            path,
            flow,
            ip_id: packet.ip_id.filter(|&id| id != 0),
            ttl: packet.ttl,
        };
        let strong = ids::is_strong(sighting.packet_id);
        let mut found = [Sighting::default(); MAX_SIGHTINGS];
        let n = if strong {
            self.history.same_packet(sighting.packet_id, packet.ts, self.options.late_window, &mut found)
        } else {
            0
        };
        let earlier = found.get(..n).unwrap_or_default();
        let same_payload = if n == 0 && sighting.payload_id != 0 {
            self.history.same_payload(sighting.payload_id, packet.ts, self.options.window)
        } else {
            None
        };
        let context = Context { paths: &self.paths, flows: &self.flows, window: self.options.window };
        let seen = Seen { packet, sighting, earlier, same_payload };
        for detector in &mut self.detectors {
            detector.observe(&seen, &context);
        }
        if strong || sighting.payload_id != 0 {
            self.history.add(sighting, n == 0);
        }
    }

    fn finish(mut self) -> Result<Examination, ArrowError> {
        let context = Context { paths: &self.paths, flows: &self.flows, window: self.options.window };
        let mut claims: Vec<Claim> = Vec::new();
        let mut scopes = Vec::new();
        for detector in &mut self.detectors {
            let (found, scope) = detector.finish(&context);
            claims.extend(found);
            scopes.push((detector.id(), scope));
        }
        let overflows = [("paths", self.paths.overflow()), ("flows", self.flows.overflow())];
        Ok(Examination {
            claims: if claims.is_empty() {
                RecordBatch::new_empty(claim_schema())
            } else {
                claims_to_batch(&claims, &self.taps)?
            },
            flows: self.flows.to_batch(&self.paths, &self.taps)?,
            scopes,
            overflows: overflows.into_iter().filter(|&(_, missing)| missing > 0).collect(),
            taps: self.taps.into_iter().zip(self.counts).collect(),
        })
    }
}
