//! RTP and RTCP messages → one row a media stream.
//!
//! A *stream* is what one source (SSRC) sends from one endpoint to another on one path, so that a copy of it that was seen elsewhere
//! (another VLAN, a tunnel, another next hop) is a stream of its own. It ends when nothing was heard of it for a while.
//!
//! What only packets tell is here: codecs of dynamic payload types are for signalling to say, by [`Streams::announce`].

mod announced;
mod codec;
mod rows;
mod sample;
mod sequence;
mod stream;

use std::hash::{BuildHasher, RandomState};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use hashbrown::{HashMap, HashTable};

pub use codec::Codec;

use crate::arrays::Names;
use crate::dissect::Stack;
use crate::hash::{address, fold};
use crate::messages::{self, Kinds, View, rtcp, rtp};
use crate::packets::{Batch, Column, Packet, Packets};
use crate::paths::Path;
use crate::prefetch::prefetch;
use crate::stage::Stage;
use crate::wire::ip::Addr;
use announced::Announced;
use stream::{Ends, Key, Reports, Seen, Stream};

/// Rows that are handed out at once.
const ROWS: usize = 4096;

/// Sender reports that a round trip is measured from: receivers answer to the last one or the one before.
const SENT: usize = 4;

/// A round trip that is longer is none.
const MAX_ROUND_TRIP: i64 = 60_000_000_000;

/// How streams are told apart and kept.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// After how long without a packet a stream has ended, nanoseconds.
    pub timeout: i64,
    /// How many streams are followed at a time. Of more, the one that was silent for longest is handed out early.
    pub limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: 60_000_000_000, limit: 1 << 16 }
    }
}

impl Options {
    /// As many streams as find room where calls, media and their rows have so many bytes.
    #[must_use]
    pub fn within(memory: usize) -> Self {
        Self { limit: (memory / 5120).max(64), ..Self::default() }
    }
}

/// Media streams, in the order in which they end: that of their last packets.
#[derive(Debug)]
pub struct Streams {
    options: Options,
    /// Numbers that nobody can know beforehand, so that nobody can make streams that share a hash.
    seed: u64,
    taps: Names,
    places: HashTable<u32>,
    all: Vec<Entry>,
    /// Their order, beside them: each packet changes that of others, of which nothing else is wanted then.
    order: Vec<Neighbours>,
    free: Vec<u32>,
    /// The stream that was silent for longest, and the one heard last.
    oldest: Option<u32>,
    newest: Option<u32>,
    /// Of each pair of endpoints on a path: the source that began last, and how many streams there are.
    sources: HashMap<(u64, Ends), (u32, u32)>,
    reported: HashMap<Reported, Reporting>,
    announced: Announced,
    ended: Vec<(Stream, Reports)>,
    evicted: u64,
    /// Streams of which a payload type has no name, when names were forgotten.
    unnamed: u64,
}

/// A stream, and what it is looked up by.
#[derive(Debug)]
struct Entry {
    stream: Stream,
    path_hash: u64,
    hash: u64,
}

/// The streams that were heard of before and after one.
#[derive(Debug, Clone, Copy, Default)]
struct Neighbours {
    before: Option<u32>,
    after: Option<u32>,
}

/// An RTP packet about to be counted.
struct Next<'a> {
    packet: Packet<'a>,
    tap: u16,
    ends: Ends,
    ssrc: u32,
    path_hash: u64,
    hash: u64,
    seen: Seen,
}

/// What reports are about: tap, tunnels, addresses of source and destination, SSRC. Ports differ from those of the media.
type Reported = (u16, Stack, Addr, Addr, u32);

#[derive(Debug, Default)]
struct Reporting {
    /// How many streams this is of: one for each path.
    streams: u32,
    reports: Reports,
    /// The middle of the NTP time of sender reports, and when they were seen.
    sent: [Option<(u32, i64)>; SENT],
}

impl Streams {
    /// The side tables that are read.
    pub const TABLES: Kinds = Kinds::of(&[messages::Kind::Rtp, messages::Kind::Rtcp]);

    /// No streams yet.
    pub fn new(options: Options) -> Self {
        let limit = options.limit.clamp(1, u32::MAX as usize);
        Self {
            options: Options { limit, ..options },
            seed: RandomState::new().hash_one(0),
            taps: Names::default(),
            places: HashTable::new(),
            all: Vec::new(),
            order: Vec::new(),
            free: Vec::new(),
            oldest: None,
            newest: None,
            sources: HashMap::new(),
            reported: HashMap::new(),
            announced: Announced::new(limit),
            ended: Vec::new(),
            evicted: 0,
            unnamed: 0,
        }
    }

    /// Says what a payload type is at an endpoint, from now on and for the packets so far of streams that go on: the endpoint is that of a
    /// session description, which the media are sent to (or, if nobody announced that, from).
    pub fn announce(&mut self, (addr, port): (Addr, u16), payload_type: u8, codec: Codec) {
        self.announced.add((addr, port, payload_type), codec);
    }

    /// How many streams are not what they would be, had there been more room: they were handed out before they ended, or have no
    /// name of a payload type that may have had one.
    pub fn incomplete(&self) -> u64 {
        self.evicted + self.unnamed
    }

    /// What there is to count of an RTP packet. The memory where its stream is comes while others are counted.
    fn look_up<'a>(
        &self,
        packet: Packet<'a>,
        tap: u16,
        view: &rtp::View<'_>,
        row: usize,
    ) -> Option<Next<'a>> {
        let ends =
            Ends { src: (packet.src()?, packet.src_port()?), dst: (packet.dst()?, packet.dst_port()?) };
        let ssrc = view.ssrc(row)?;
        let seen = Seen {
            frame: packet.frame(),
            ts: packet.ts(),
            wire_len: packet.wire_len(),
            payload_len: view.payload_len(row),
            ttl: packet.ttl(),
            tos: packet.tos(),
            basis: packet.label().basis,
            payload_type: view.payload_type(row).unwrap_or_default(),
            marker: view.marker(row).unwrap_or_default(),
            seq: view.seq(row)?,
            timestamp: view.timestamp(row)?,
        };
        let path_hash = self.path_hash(packet, tap);
        let hash = fold(path_hash ^ u64::from(ssrc), ends_hash(&ends) | 1);
        if let Some(entry) = self.places.find(hash, |_| true).and_then(|&at| self.all.get(at as usize)) {
            prefetch(entry);
        }
        Some(Next { packet, tap, ends, ssrc, path_hash, hash, seen })
    }

    /// Takes note of an RTP packet.
    fn media(&mut self, next: &Next<'_>) {
        let Next { packet, tap, ends, ssrc, path_hash, hash, ref seen } = *next;
        self.expire(seen.ts);
        let is_it = |&at: &u32| {
            self.all.get(at as usize).is_some_and(|entry| {
                let key = &entry.stream.key;
                key.ssrc == ssrc && key.ends == ends && key.path.is_of(packet, tap)
            })
        };
        let mut found = self.places.find(hash, is_it).copied();
        let is_over = |entry: &Entry| seen.ts.saturating_sub(entry.stream.last_ts) > self.options.timeout;
        if let Some(at) = found
            && self.all.get(at as usize).is_some_and(is_over)
        {
            self.end(at);
            found = None;
        }
        let at = match found {
            Some(at) => {
                self.unlink(at);
                at
            }
            None => self.begin(Key { path: Path::of(packet, tap), ends, ssrc }, path_hash, hash, seen.ts),
        };
        self.link(at);
        let Self { all, announced, .. } = self;
        if let Some(entry) = all.get_mut(at as usize) {
            entry.stream.add(seen, announced.changes(), |ends, payload_type| {
                let of = |(addr, port)| announced.get((addr, port, payload_type));
                of(ends.dst).or_else(|| of(ends.src)).cloned()
            });
        }
    }

    /// Takes note of packets that were looked up.
    fn media_of(&mut self, ahead: &mut Vec<Next<'_>>) {
        for next in ahead.drain(..) {
            self.media(&next);
        }
    }

    /// Takes note of a report.
    fn report(&mut self, packet: Packet<'_>, tap: u16, view: &rtcp::View<'_>, row: usize) {
        let (Some(src), Some(dst)) = (packet.src(), packet.dst()) else { return };
        let (ts, encap) = (packet.ts(), packet.encap());
        if let (Some(ssrc), Some(seconds), Some(fraction)) =
            (view.ssrc(row), view.ntp_seconds(row), view.ntp_fraction(row))
            && let Some(reporting) = self.reported.get_mut(&(tap, encap, src, dst, ssrc))
        {
            let middle = seconds << 16 | fraction >> 16;
            if reporting.sent.first().copied().flatten().is_none_or(|(last, _)| last != middle) {
                reporting.sent.rotate_right(1);
                if let Some(first) = reporting.sent.first_mut() {
                    *first = Some((middle, ts));
                }
            }
        }
        let (Some(reported), Some(fraction_lost)) = (view.reported_ssrc(row), view.fraction_lost(row)) else {
            return;
        };
        let Some(reporting) = self.reported.get_mut(&(tap, encap, dst, src, reported)) else { return };
        reporting.reports.take(fraction_lost, view.lost(row), view.jitter(row));
        if let (Some(last), Some(delay)) = (view.last_report(row), view.delay(row))
            && let Some((_, sent)) = reporting.sent.iter().flatten().find(|(middle, _)| *middle == last)
        {
            // Units of 2^-16 s.
            let delay = (i64::from(delay) * 1_000_000_000) >> 16;
            let round_trip = ts.saturating_sub(*sent).saturating_sub(delay);
            if (0..=MAX_ROUND_TRIP).contains(&round_trip) {
                reporting.reports.round_trip(round_trip.unsigned_abs());
            }
        }
    }

    /// A hash of how a packet was seen.
    fn path_hash(&self, packet: Packet<'_>, tap: u16) -> u64 {
        let mac = |mac: Option<[u8; 6]>| {
            mac.map_or(1, |[a, b, c, d, e, f]| u64::from_le_bytes([a, b, c, d, e, f, 2, 0]))
        };
        let vlan = |vlan: Option<u16>| vlan.map_or(0, |vlan| u64::from(vlan) + 1);
        let link = fold(mac(packet.eth_src()) ^ self.seed, mac(packet.eth_dst()) ^ self.seed.rotate_left(32));
        let tags = u64::from(tap) << 40 | vlan(packet.vlan()) << 20 | vlan(packet.vlan_inner());
        let mut hash = fold(link ^ tags, self.seed | 1);
        if packet.is_encapsulated_or_labelled() {
            let outer = address(packet.outer_src()) ^ address(packet.outer_dst()).rotate_left(32);
            let id = packet.tunnel_id().map_or(0, |id| u64::from(id) + 1);
            hash = fold(hash ^ outer, packet.encap().bits() ^ id.rotate_left(24) | 1);
            for &label in packet.mpls().as_slice() {
                hash = fold(hash ^ u64::from(label), self.seed | 1);
            }
        }
        hash
    }

    /// Begins a stream, for which room is made; says where it is. It is not in the order of last packets yet.
    fn begin(&mut self, key: Key, path_hash: u64, hash: u64, ts: i64) -> u32 {
        if self.all.len() - self.free.len() >= self.options.limit
            && let Some(oldest) = self.oldest
        {
            self.evicted += 1;
            self.end(oldest);
        }
        let source = self.sources.entry((path_hash, key.ends)).or_insert((key.ssrc, 0));
        let previous = (source.1 > 0 && source.0 != key.ssrc).then_some(source.0);
        *source = (key.ssrc, source.1 + 1);
        self.reported.entry(reported(&key)).or_default().streams += 1;
        let stream = Stream::new(key, ts, previous);
        let entry = Entry { stream, path_hash, hash };
        let at = if let Some(at) = self.free.pop() {
            if let Some(place) = self.all.get_mut(at as usize) {
                *place = entry;
            }
            at
        } else {
            self.all.push(entry);
            self.order.push(Neighbours::default());
            self.all.len() as u32 - 1
        };
        let all = &self.all;
        self.places.insert_unique(hash, at, |&at| all.get(at as usize).map_or(0, |entry| entry.hash));
        at
    }

    /// Ends the streams that were silent for too long.
    #[inline]
    fn expire(&mut self, now: i64) {
        while let Some(oldest) = self.oldest
            && let Some(entry) = self.all.get(oldest as usize)
            && now.saturating_sub(entry.stream.last_ts) > self.options.timeout
        {
            self.end(oldest);
        }
    }

    /// Ends a stream.
    fn end(&mut self, at: u32) {
        self.unlink(at);
        let Some(entry) = self.all.get(at as usize) else { return };
        let (stream, path_hash, hash) = (entry.stream.clone(), entry.path_hash, entry.hash);
        if let Ok(place) = self.places.find_entry(hash, |&place| place == at) {
            place.remove();
        }
        self.free.push(at);
        self.unnamed += u64::from(self.announced.has_forgotten() && stream.has_unnamed_type());
        if let Some((_, streams)) = self.sources.get_mut(&(path_hash, stream.key.ends)) {
            *streams -= 1;
            if *streams == 0 {
                self.sources.remove(&(path_hash, stream.key.ends));
            }
        }
        let mut reports = Reports::default();
        if let Some(reporting) = self.reported.get_mut(&reported(&stream.key)) {
            reports = reporting.reports;
            reporting.streams -= 1;
            if reporting.streams == 0 {
                self.reported.remove(&reported(&stream.key));
            }
        }
        self.ended.push((stream, reports));
    }

    /// Takes a stream out of the order of last packets.
    fn unlink(&mut self, at: u32) {
        let Some(neighbours) = self.order.get_mut(at as usize) else { return };
        let Neighbours { before, after } = std::mem::take(neighbours);
        match before.and_then(|before| self.order.get_mut(before as usize)) {
            Some(neighbours) => neighbours.after = after,
            None => self.oldest = after,
        }
        match after.and_then(|after| self.order.get_mut(after as usize)) {
            Some(neighbours) => neighbours.before = before,
            None => self.newest = before,
        }
    }

    /// Puts a stream behind all others in the order of last packets.
    fn link(&mut self, at: u32) {
        let newest = self.newest.replace(at);
        match newest.and_then(|newest| self.order.get_mut(newest as usize)) {
            Some(neighbours) => neighbours.after = Some(at),
            None => self.oldest = Some(at),
        }
        if let Some(neighbours) = self.order.get_mut(at as usize) {
            *neighbours = Neighbours { before: newest, after: None };
        }
    }
}

/// A hash of endpoints.
fn ends_hash(ends: &Ends) -> u64 {
    let ports = u64::from(ends.src.1) << 16 | u64::from(ends.dst.1);
    fold(address(Some(ends.src.0)) ^ ports, address(Some(ends.dst.0)).rotate_left(32) | 1)
}

fn reported(key: &Key) -> Reported {
    (key.path.tap, key.path.encap, key.ends.src.0, key.ends.dst.0, key.ssrc)
}

impl Stage for Streams {
    fn columns(&self) -> Vec<Column> {
        COLUMNS.to_vec()
    }

    fn tables(&self) -> Kinds {
        Self::TABLES
    }

    fn schema(&self) -> SchemaRef {
        rows::schema()
    }

    /// Messages of packets that the batch does not have are left out.
    fn read(&mut self, batch: &Batch) -> Result<(), ArrowError> {
        if batch.messages.is_empty() {
            return Ok(());
        }
        let packets = Packets::with(&batch.packets, COLUMNS)?;
        let taps: Vec<u16> = packets.taps().iter().map(|name| self.taps.number(*name)).collect();
        let views = batch.messages.iter().map(|(kind, batch)| View::new(*kind, batch));
        let views = views.collect::<Result<Vec<_>, _>>()?;
        // Frame, view, row: both tables in the order of the capture.
        let mut order = Vec::new();
        for (number, view) in views.iter().enumerate() {
            if matches!(view, View::Rtp(_) | View::Rtcp(_)) {
                order.extend(view.frames().iter().zip(0_usize..).map(|(&frame, row)| (frame, number, row)));
            }
        }
        if views.iter().filter(|view| matches!(view, View::Rtp(_) | View::Rtcp(_))).count() > 1 {
            #[expect(clippy::stable_sort_primitive, reason = "two runs that are in order are merged")]
            order.sort();
        }
        let mut at = 0;
        let mut ahead = Vec::with_capacity(Packets::AHEAD);
        for (frame, number, row) in order {
            while packets.get(at).is_some_and(|packet| packet.frame() < frame) {
                at += 1;
            }
            let Some(packet) = packets.get(at).filter(|packet| packet.frame() == frame) else { continue };
            let tap = taps.get(usize::from(packet.tap())).copied().unwrap_or_default();
            match views.get(number) {
                Some(View::Rtp(view)) => ahead.extend(self.look_up(packet, tap, view, row)),
                Some(View::Rtcp(view)) => {
                    self.media_of(&mut ahead);
                    self.report(packet, tap, view, row);
                }
                _ => {}
            }
            if ahead.len() == Packets::AHEAD {
                self.media_of(&mut ahead);
            }
        }
        self.media_of(&mut ahead);
        Ok(())
    }

    fn take(&mut self, is_end: bool) -> Result<Option<RecordBatch>, ArrowError> {
        if is_end {
            while let Some(oldest) = self.oldest {
                self.end(oldest);
            }
        }
        if self.ended.is_empty() || (!is_end && self.ended.len() < ROWS) {
            return Ok(None);
        }
        let rest = self.ended.split_off(self.ended.len().min(ROWS));
        let rows = std::mem::replace(&mut self.ended, rest);
        rows::batch(&rows, self.taps.all()).map(Some)
    }

    fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.evicted > 0 {
            let limit = self.options.limit;
            all.push(format!(
                "{} media streams were handed out before they ended, for there were more than {limit} at a time",
                self.evicted
            ));
        }
        if self.unnamed > 0 {
            all.push(format!(
                "{} media streams have a payload type without a name, which may have been forgotten: too many were announced",
                self.unnamed
            ));
        }
        all
    }
}

/// The columns of packets that streams are made of.
const COLUMNS: &[Column] = &[
    Column::Frame,
    Column::Ts,
    Column::Tap,
    Column::WireLen,
    Column::EthSrc,
    Column::EthDst,
    Column::Vlan,
    Column::VlanInner,
    Column::Mpls,
    Column::Encap,
    Column::OuterSrc,
    Column::OuterDst,
    Column::TunnelId,
    Column::Src,
    Column::Dst,
    Column::Ttl,
    Column::Tos,
    Column::SrcPort,
    Column::DstPort,
    Column::App,
    Column::Basis,
];

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::capture::{self, Reader, Source};
    use crate::packets::digest;
    use crate::packets::{Carried, Chain, Scan, ScanOptions};
    use crate::stage::Staged;
    use crate::traffic::{Mix, capture};

    fn rows(batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>) -> Vec<String> {
        let mut rows = Vec::new();
        for batch in batches {
            let batch = batch.unwrap();
            rows.extend((0..batch.num_rows()).map(|row| format!("{:?}", batch.slice(row, 1).columns())));
        }
        rows
    }

    fn corpus() -> Source {
        Source::Path(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/protocols.pcap"))
    }

    fn made() -> Source {
        Source::Memory { name: "made".into(), bytes: Arc::new(capture(Mix::Rtp, 3000, 1)) }
    }

    fn staged(source: Source, options: Options, batch_size: usize, threads: usize) -> Vec<String> {
        let tap = capture::Options { tap: Some("tap".to_owned()), ..capture::Options::default() };
        let reader = Reader::open(vec![source], tap).unwrap();
        let scan = ScanOptions { batch_size, threads, ..ScanOptions::default() };
        rows(Staged::new(Box::new(Streams::new(options)), scan, |options| Scan::new(reader, options)))
    }

    /// The same rows in the same order, whatever the batches and threads; and by way of a digest.
    #[test]
    fn rows_depend_on_packets_only() {
        for source in [corpus, made] {
            // Short, so that streams end on the way.
            let options = Options { timeout: 20_000_000, ..Options::default() };
            let expected = staged(source(), options, 16_384, 1);
            assert!(!expected.is_empty());
            for (batch_size, threads) in [(1, 1), (7, 3), (100, 2), (16_384, 4)] {
                let rows = staged(source(), options, batch_size, threads);
                assert!(rows == expected, "{batch_size} {threads}");
            }
            let mut stage = Streams::new(options);
            let (columns, tables) = (stage.columns(), stage.tables());
            let scan = ScanOptions { columns, tables, batch_size: 64, ..ScanOptions::default() };
            let mut digested = Vec::new();
            digest::write(vec![source()], "tap", scan.clone(), None, &mut digested, "made", |_| Ok(()))
                .unwrap();
            let digested = Source::Memory { name: "digest".into(), bytes: Arc::new(digested) };
            let (of, carried) = (capture::Options::default(), Carried::default());
            for batch in Chain::open(vec![digested], of, scan, None, carried).unwrap() {
                stage.read(&batch.unwrap()).unwrap();
            }
            let digested = rows(std::iter::from_fn(|| stage.take(true).transpose()));
            assert!(digested == expected);
        }
    }

    /// Reads a made capture, with `announce` called before each batch; all streams, ended.
    fn ended(options: Options, mut announce: impl FnMut(&mut Streams, usize)) -> Streams {
        let reader = Reader::open(vec![made()], capture::Options::default()).unwrap();
        let mut stage = Streams::new(options);
        let (columns, tables) = (stage.columns(), stage.tables());
        let mut scan =
            Scan::new(reader, ScanOptions { columns, tables, batch_size: 1000, ..ScanOptions::default() });
        for number in 0.. {
            let Some(batch) = scan.next_with_messages().unwrap() else { break };
            announce(&mut stage, number);
            stage.read(&batch).unwrap();
            assert!(stage.all.len() <= options.limit);
        }
        while let Some(oldest) = stage.oldest {
            stage.end(oldest);
        }
        stage
    }

    #[test]
    fn announced_payload_types_have_names_and_clocks() {
        let plain = ended(Options::default(), |_, _| {});
        let of = |stage: &Streams, key: &Key| {
            let (stream, _) = stage.ended.iter().find(|(stream, _)| stream.key == *key).unwrap();
            let kind = stream.main_type().unwrap();
            (kind.number, kind.codec().map(str::to_owned), kind.clock_rate())
        };
        let key = plain.ended.last().unwrap().0.key;
        let (number, ..) = of(&plain, &key);
        let codec = || Codec { name: "opus".into(), clock_rate: 48_000 };
        let expected = (number, Some("opus".to_owned()), Some(48_000));
        // Before the stream and in its middle; where it is sent to, and where it comes from.
        for (at, end) in [(0, key.ends.dst), (2, key.ends.dst), (0, key.ends.src)] {
            let told = ended(Options::default(), |stage, number_of_batch| {
                if number_of_batch == at {
                    stage.announce(end, number, codec());
                }
            });
            assert_eq!(of(&told, &key), expected);
        }
    }

    #[test]
    fn streams_that_may_have_lost_a_name_are_told_of() {
        let codec = || Codec { name: "opus".into(), clock_rate: 48_000 };
        let of = |limit| {
            ended(Options::default(), |stage, batch| {
                // As if all of them had begun with a dynamic payload type.
                for entry in stage.all.iter_mut().filter(|_| batch == 1) {
                    entry.stream.types[0].number = 96;
                }
                if batch == 0 {
                    stage.announced = Announced::new(limit);
                    (97..100).for_each(|payload_type| stage.announce(([0; 16], 9), payload_type, codec()));
                }
            })
        };
        let full = of(1);
        let without = full.ended.iter().filter(|(stream, _)| stream.has_unnamed_type()).count() as u64;
        assert!(without > 0);
        assert_eq!((full.incomplete(), full.warnings().len()), (without, 1));
        // Where nothing was forgotten, nobody has named it.
        let known = of(6);
        assert_eq!((known.incomplete(), known.warnings().len()), (0, 0));
    }

    #[test]
    fn what_finds_no_room_is_handed_out_early_and_said() {
        let packets = |stage: &Streams| stage.ended.iter().map(|(stream, _)| stream.packets).sum::<u64>();
        let all = ended(Options::default(), |_, _| {});
        assert_eq!((all.incomplete(), all.warnings().len()), (0, 0));
        let few = ended(Options { limit: 2, ..Options::default() }, |_, _| {});
        assert!(few.incomplete() > 0 && few.ended.len() > all.ended.len());
        assert_eq!(packets(&few), packets(&all));
        assert_eq!(few.warnings().len(), 1);
        assert!(few.sources.is_empty() && few.reported.is_empty() && few.places.is_empty());
    }
}
