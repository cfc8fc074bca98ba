//! One source or many, read as one stream of blocks.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::source::{Format, Opened};
use super::walk::{BLOCK_RECORDS, Sink, Stop, Walked};
use super::warning::Warnings;
use super::window::{Refill, Window};
use super::{Block, Error, Interface, Origin, Source, Warning};

/// Bytes of a block, about: as many records as that takes, going by those of the block before.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes of a mapped file that stay in memory behind the last block, unless told otherwise.
const KEPT: usize = 16 << 20;

/// How to read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the tap, for all sources; without one, each source has its own: its file name.
    pub tap: Option<String>,
    /// Whether regular files are mapped into memory, which is fastest. A file that another process shortens meanwhile
    /// ends this process then (`SIGBUS`); turn it off for files that are rotated in place.
    pub mmap: bool,
    /// Number of the first frame: 1, unless these sources follow others.
    pub first_frame: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { tap: None, mmap: true, first_frame: 1 }
    }
}

/// A source, as far as it has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// The source, as the user named it.
    pub name: String,
    /// The file format, as `editcap -F` names it: `pcap`, `nsecpcap`, `modpcap`, `pcapng` and others.
    pub format: Cow<'static, str>,
    /// How it is compressed: `gzip`, `zstd` or `lz4`.
    pub compression: Option<Cow<'static, str>>,
    /// Number of its first frame in the stream, from 1.
    pub first_frame: u64,
    /// Its frames so far.
    pub frames: u64,
    /// Its bytes so far, after decompression.
    pub bytes: u64,
    /// SHA-256 of the file, as whoever made a digest of it found it; none of what is read itself.
    pub sha256: Option<[u8; 32]>,
}

/// Reads one source, or several one after the other as one stream: frame numbers go on, as in what `mergecap -a` writes.
///
/// After an error the reader goes on with the next source, so that a caller may pass over one that cannot be read.
pub struct Reader {
    options: Options,
    waiting: VecDeque<Source>,
    current: Option<Current>,
    interfaces: Vec<Arc<Interface>>,
    files: Vec<FileInfo>,
    warnings: Warnings,
    /// Number of the frame to come, from 1.
    next_frame: u64,
    is_live: bool,
    /// Bytes that were walked over, in all sources.
    walked: u64,
    /// From which of these bytes on mapped files stay in memory.
    kept_from: Option<u64>,
    /// Bytes of a record, and of what stands before it, of the last block that had any.
    mean_len: usize,
}

/// The source that is being read.
struct Current {
    window: Window,
    walker: Walker,
}

enum Walker {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl Walker {
    fn walk(&mut self, bytes: &[u8], at: usize, sink: &mut Sink<'_>) -> Walked {
        match self {
            Self::Pcap(pcap) => pcap.walk(bytes, at, sink),
            Self::Pcapng(pcapng) => pcapng.walk(bytes, at, sink),
        }
    }

    fn format(&self) -> &'static str {
        match self {
            Self::Pcap(pcap) => pcap.format(),
            Self::Pcapng(_) => "pcapng",
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("files", &self.files)
            .field("next_frame", &self.next_frame)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens the first source, and makes sure that the others exist. Waits for the first bytes of a pipe; a signal
    /// before them is an [`Error::Io`] of the kind `Interrupted`.
    pub fn open(sources: Vec<Source>, options: Options) -> Result<Self, Error> {
        let next_frame = options.first_frame;
        let is_live = sources.iter().any(Source::is_live);
        let mut reader = Self {
            options,
            waiting: sources.into(),
            current: None,
            interfaces: Vec::new(),
            files: Vec::new(),
            warnings: Warnings::default(),
            next_frame,
            is_live,
            walked: 0,
            kept_from: None,
            mean_len: 0,
        };
        reader.waiting.iter().try_for_each(Source::check)?;
        reader.begin()?;
        Ok(reader)
    }

    /// The next frames, or none after the last source.
    ///
    /// Does a bounded amount of work, and hands out what a pipe holds as it comes. So a block can be empty: when a
    /// signal arrived, or when what was read holds no whole frame.
    pub fn next_block(&mut self) -> Result<Option<Block>, Error> {
        self.next_block_of(BLOCK_RECORDS)
    }

    /// The next frames, as [`next_block`](Self::next_block), and no more than `most` of them.
    pub fn next_block_of(&mut self, most: usize) -> Result<Option<Block>, Error> {
        let most = most.min(BLOCK_BYTES / self.mean_len.max(1)).clamp(1, BLOCK_RECORDS);
        let mut records = Vec::with_capacity(most);
        // What ended a source is dealt with when no frame is left to hand out, so that it costs none.
        let mut waited = false;
        loop {
            let Some(Current { window, walker }) = &mut self.current else {
                if self.begin()? {
                    continue;
                }
                return Ok(None);
            };
            let bytes = Arc::clone(window.bytes());
            let mut sink = Sink {
                most,
                records: &mut records,
                interfaces: &mut self.interfaces,
                warnings: &mut self.warnings,
                base: window.base(),
            };
            let walked = walker.walk((*bytes).as_ref(), window.at(), &mut sink);
            let len = walked.at.saturating_sub(window.at());
            self.walked += len as u64;
            let kept = match self.kept_from {
                Some(from) => self.walked.saturating_sub(from) as usize,
                None => len.saturating_add(KEPT),
            };
            window.advance(walked.at, kept);
            let found = records.len() as u64;
            self.mean_len = len.checked_div(records.len()).unwrap_or(self.mean_len);
            let first_frame = self.next_frame;
            self.next_frame += found;
            if let Some(file) = self.files.last_mut() {
                file.format = walker.format().into();
                file.frames += found;
                file.bytes = window.offset();
            }
            if found == 0 {
                match walked.stop {
                    Stop::Full => {}
                    Stop::More(need) if !window.is_last() => {
                        if !waited {
                            waited = window.refill(need) == Refill::Done;
                            if waited {
                                continue;
                            }
                        }
                    }
                    Stop::More(_) => {
                        self.finish()?;
                        continue;
                    }
                    Stop::Broken(reason) => {
                        self.give_up(reason)?;
                        continue;
                    }
                }
            }
            return Ok(Some(Block::new(bytes, records, first_frame)));
        }
    }

    /// Has mapped files stay in memory from this of the bytes on that were [walked over](Self::walked): what is before is of blocks that nobody
    /// needs any more.
    pub fn keep_from(&mut self, walked: u64) {
        self.kept_from = Some(walked);
    }

    /// How many bytes were walked over so far, with all that is not in frames.
    pub fn walked(&self) -> u64 {
        self.walked
    }

    /// Whether it may wait long for frames, as somebody may be writing them.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The interfaces met so far, of all sources.
    pub fn interfaces(&self) -> &[Arc<Interface>] {
        &self.interfaces
    }

    /// The sources opened so far, in order.
    pub fn files(&self) -> &[FileInfo] {
        &self.files
    }

    /// Which source a frame of the stream is from, by index in [`files`](Self::files), and its number there, from 1.
    pub fn locate(&self, frame: u64) -> Option<(usize, u64)> {
        let index = self.files.partition_point(|file| file.first_frame <= frame).checked_sub(1)?;
        let file = self.files.get(index)?;
        let number = frame - file.first_frame + 1;
        (number <= file.frames).then_some((index, number))
    }

    /// What was wrong so far with captures that could be read nevertheless.
    pub fn warnings(&self) -> &[Warning] {
        self.warnings.all()
    }

    /// Interfaces, files and warnings so far, to keep.
    pub fn origin(&self) -> Origin {
        Origin {
            interfaces: self.interfaces.iter().map(|interface| (**interface).clone()).collect(),
            files: self.files.clone(),
            warnings: self.warnings().to_vec(),
        }
    }

    /// Opens the next source, if there is one.
    fn begin(&mut self) -> Result<bool, Error> {
        let Some(source) = self.waiting.pop_front() else { return Ok(false) };
        let name = source.name();
        let tap = self.options.tap.clone().unwrap_or_else(|| source.tap());
        let Opened { window, format, compression } = source.open(self.options.mmap)?;
        let file = self.files.len();
        let walker = match format {
            Format::Pcap => Walker::Pcap(Pcap::new(file, tap)),
            Format::Pcapng => Walker::Pcapng(Pcapng::new(file, tap)),
        };
        self.warnings.begin(&name);
        self.files.push(FileInfo {
            name,
            format: walker.format().into(),
            compression: compression.map(|compression| compression.name().into()),
            first_frame: self.next_frame,
            frames: 0,
            bytes: 0,
            sha256: None,
        });
        self.current = Some(Current { window, walker });
        Ok(true)
    }

    /// Ends a source that has no more bytes.
    fn finish(&mut self) -> Result<(), Error> {
        let Some(Current { mut window, .. }) = self.current.take() else { return Ok(()) };
        let end = window.offset() + window.left() as u64;
        match (window.take_fault(), self.files.last()) {
            (Some(source), Some(file)) if source.raw_os_error().is_some() => {
                return Err(Error::Io { name: file.name.clone(), source });
            }
            (Some(fault), file) => {
                let compression = file.and_then(|file| file.compression.as_deref()).unwrap_or("stream");
                self.warnings.end(end, format!("the {compression} data is damaged or cut off: {fault}"));
            }
            (None, _) if window.left() > 0 => {
                let start = window.offset();
                let message =
                    format!("the capture is cut off in the middle of a record that begins at byte {start}");
                self.warnings.end(end, message);
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// Ends a source whose bytes make no sense any more. If there was nothing before, it is no capture.
    fn give_up(&mut self, reason: String) -> Result<(), Error> {
        let Some(Current { window, .. }) = self.current.take() else { return Ok(()) };
        match self.files.last() {
            Some(file) if window.offset() == 0 => {
                Err(Error::NotACapture { name: file.name.clone(), found: reason.clone() })
            }
            _ => {
                self.warnings.end(window.offset(), reason);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::testing::{Drip, Order, Outcome, drain, memory, open, read};
    use super::*;

    /// A pcap file with frames of these lengths.
    fn pcap(order: Order, lens: &[u8]) -> Vec<u8> {
        let mut file = order.pcap(0xa1b2_c3d4, (2, 4), 1);
        for (number, &len) in lens.iter().enumerate() {
            let fields = [number as u32, 7, len.into(), u32::from(len) + 4];
            file.extend(order.record(fields, &[], &vec![number as u8; len.into()]));
        }
        file
    }

    /// A pcapng file with frames of these lengths, on two interfaces, with other blocks between.
    fn pcapng(order: Order, lens: &[u8]) -> Vec<u8> {
        let mut file = order.section(&order.option(3, b"Linux"));
        file.extend(order.interface(1, 0, &order.option(2, b"eth0")));
        file.extend(order.interface(1, 0, &order.option(9, &[9])));
        for (number, &len) in lens.iter().enumerate() {
            let frame = vec![number as u8; len.into()];
            file.extend(order.packet(number as u32 % 2, number as u64, u32::from(len) + 4, &frame));
            if number % 3 == 0 {
                file.extend(order.block(0xbad, &frame));
            }
        }
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};

        let info = FrameInfo::new().block_size(BlockSize::Max64KB).content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    type Compressor = (&'static str, fn(&[u8]) -> Vec<u8>);
    const COMPRESSORS: [Compressor; 3] = [("gzip", gzip), ("zstd", zstd), ("lz4", lz4)];

    /// Without what tells a compressed or streamed source from a plain one.
    fn plain(mut outcome: Outcome) -> Outcome {
        outcome.files[0].compression = None;
        outcome
    }

    #[test]
    fn a_cut_at_any_byte_keeps_the_frames_before_it() {
        for order in Order::BOTH {
            for (ng, make) in [(false, pcap as fn(_, &_) -> _), (true, pcapng)] {
                let file: Vec<u8> = make(order, &[5, 0, 60, 3]);
                let whole = read(&file);
                assert_eq!((whole.frames.len(), whole.warnings.len()), (4, 0));
                let ends: Vec<_> =
                    (0..=4).map(|frames| make(order, &[5, 0, 60, 3][..frames]).len()).collect();
                for len in 0..file.len() {
                    let cut = &file[..len];
                    if len < 4 {
                        assert!(open(vec![memory("test", cut)]).is_err());
                        continue;
                    }
                    for outcome in [read(cut), drain(open(vec![Drip::source(cut, &[1])]).unwrap())] {
                        // A custom block after a frame belongs to neither.
                        let frames = outcome.frames.len();
                        let in_reach = ends.iter().skip(1).filter(|&&end| end <= len).count();
                        assert!(
                            frames == in_reach || frames == in_reach + 1,
                            "{frames} frames in {len} bytes"
                        );
                        assert_eq!(outcome.frames[..], whole.frames[..frames]);
                        assert_eq!(outcome.errors, [""; 0]);
                        for warning in &outcome.warnings {
                            assert!(
                                warning
                                    .message
                                    .starts_with("the capture is cut off in the middle of a record")
                                    || warning.message.ends_with("its header")
                            );
                            assert_eq!((warning.offset, warning.incomplete), (len as u64, true));
                        }
                        if !ng {
                            assert_eq!(frames, in_reach);
                            assert_eq!(outcome.warnings.is_empty(), ends.contains(&len), "{len}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_frames_from_a_stream_and_compressed() {
        for make in [pcap, pcapng] {
            let file = make(Order::Little, &[5, 0, 60, 3]);
            let whole = read(&file);
            for sizes in [&[1][..], &[7, 0, 3], &[1000]] {
                assert_eq!(drain(open(vec![Drip::source(&file, sizes)]).unwrap()), whole);
            }
            for (name, compress) in COMPRESSORS {
                let packed = compress(&file);
                let outcome = read(&packed);
                assert_eq!(outcome.files[0].compression.as_deref(), Some(name));
                assert_eq!(plain(outcome), whole, "{name}");
                // Two members or frames, cut anywhere in the capture.
                for cut in [1, 30, file.len() - 1] {
                    let (first, second) = file.split_at(cut);
                    let packed = [compress(first), compress(second)].concat();
                    assert_eq!(plain(read(&packed)), whole, "{name}, two of them");
                }
                assert_eq!(
                    plain(drain(open(vec![Drip::source(&packed, &[1, 0])]).unwrap())),
                    whole,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_compressed_file_cut_off_or_damaged_gives_what_it_can() {
        let lens: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        let file = pcap(Order::Little, &lens);
        let whole = read(&file);
        for (name, compress) in COMPRESSORS {
            let packed = compress(&file);
            for len in [0, 1, 2, 10, packed.len() / 2, packed.len() - 5, packed.len() - 1] {
                let Ok(reader) = open(vec![memory("test", &packed[..len])]) else {
                    assert!(len <= 10, "{name} cut to {len} bytes");
                    continue;
                };
                let outcome = drain(reader);
                assert_eq!(outcome.frames[..], whole.frames[..outcome.frames.len()]);
                if len > 10 {
                    assert!(outcome.frames.len() > 1000, "{name}: {} frames", outcome.frames.len());
                    let message = format!("the {name} data is damaged or cut off");
                    assert!(outcome.messages()[0].starts_with(&message), "{:?}", outcome.warnings);
                    assert!(outcome.warnings[0].incomplete);
                }
            }
            let mut damaged = packed.clone();
            let middle = packed.len() / 2;
            damaged[middle..middle + 64].fill(0xff);
            let outcome = read(&damaged);
            assert!(!outcome.warnings.is_empty(), "{name}");
            assert_eq!(outcome.errors, [""; 0]);
        }
    }

    #[test]
    fn what_a_compressed_file_holds_is_said_when_it_is_no_capture() {
        for (name, compress) in COMPRESSORS {
            let error =
                open(vec![memory("a file", &compress(b"PK\x03\x04 and so on"))]).map(drain).unwrap_err();
            let expected = format!(
                "a file: not a packet capture: it is {name}-compressed, and inside it is a ZIP archive"
            );
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn sources_follow_each_other_as_one_stream() {
        let sources = vec![
            memory("one", &pcap(Order::Big, &[1, 2])),
            memory("two", &pcapng(Order::Little, &[3])),
            memory("three", &pcap(Order::Little, &[])),
            memory("four", &gzip(&pcap(Order::Little, &[4, 5]))),
        ];
        let mut reader = open(sources).unwrap();
        let mut frames = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            frames.extend(block.frames().zip(block.first_frame()..).map(|(frame, number)| {
                let interface = &reader.interfaces()[frame.record.interface as usize];
                (number, frame.data.len(), interface.file, interface.tap.clone())
            }));
        }
        let seen: Vec<_> = frames.iter().map(|(n, len, file, tap)| (*n, *len, *file, tap.as_str())).collect();
        assert_eq!(
            seen,
            [(1, 1, 0, "one"), (2, 2, 0, "one"), (3, 3, 1, "two/eth0"), (4, 4, 3, "four"), (5, 5, 3, "four")]
        );
        let files: Vec<_> = reader.files().iter().map(|file| (file.first_frame, file.frames)).collect();
        assert_eq!(files, [(1, 2), (3, 1), (4, 0), (4, 2)]);
        let located: Vec<_> = (0..=6).map(|frame| reader.locate(frame)).collect();
        assert_eq!(
            located,
            [None, Some((0, 1)), Some((0, 2)), Some((1, 1)), Some((3, 1)), Some((3, 2)), None]
        );
    }

    #[test]
    fn a_named_stream_is_one_tap_over_all_files() {
        let sources = vec![memory("a", &pcapng(Order::Big, &[1])), memory("b", &pcapng(Order::Little, &[1]))];
        let options = Options { tap: Some("router".into()), ..Options::default() };
        let outcome = drain(Reader::open(sources, options).unwrap());
        let taps: Vec<_> = outcome.interfaces.iter().map(|interface| interface.tap.as_str()).collect();
        assert_eq!(taps, ["router/eth0", "router/1", "router/eth0", "router/1"]);
    }

    #[test]
    fn after_a_source_that_is_no_capture_the_next_one_is_read() {
        let sources = vec![
            memory("a", &pcap(Order::Big, &[1])),
            memory("b", b""),
            memory("c", &pcap(Order::Big, &[2])),
        ];
        let outcome = drain(open(sources).unwrap());
        assert_eq!(outcome.errors, ["b: not a packet capture: it is empty"]);
        assert_eq!(outcome.frames.len(), 2);
    }

    #[test]
    fn blocks_are_bounded_and_share_the_bytes() {
        let lens = vec![0; 2 * BLOCK_RECORDS + 1];
        let bytes = pcap(Order::Little, &lens);
        let shared: crate::capture::Bytes = Arc::new(bytes);
        let source = Source::Memory { name: "test".into(), bytes: Arc::clone(&shared) };
        let mut reader = open(vec![source]).unwrap();
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            blocks.push(block);
        }
        let sizes: Vec<_> = blocks.iter().map(|block| (block.first_frame(), block.len())).collect();
        let full = BLOCK_RECORDS as u64;
        assert_eq!(sizes, [(1, BLOCK_RECORDS), (full + 1, BLOCK_RECORDS), (2 * full + 1, 1)]);
        drop(reader);
        // One here, one in each block.
        assert_eq!(Arc::strong_count(&shared), 4);
    }

    #[test]
    fn a_claim_of_128_mib_costs_no_memory() {
        let mut file = Order::Little.pcap(0xa1b2_c3d4, (2, 4), 231);
        file.extend(Order::Little.record([0, 0, 128 << 20, 128 << 20], &[], &[1; 100]));
        let outcome = drain(open(vec![Drip::source(&file, &[50])]).unwrap());
        assert_eq!(outcome.warnings[0].offset, 24 + 16 + 100);
    }

    #[test]
    fn a_frame_larger_than_a_chunk_arrives_whole() {
        let len = 5 << 20;
        let mut file = Order::Little.pcap(0xa1b2_c3d4, (2, 4), 231);
        file.extend(Order::Little.record([0, 0, len, len], &[], &vec![7; len as usize]));
        file.extend(Order::Little.record([0, 0, 1, 1], &[], &[8]));
        for source in [Drip::source(&file, &[100_000]), memory("test", &gzip(&file))] {
            let outcome = drain(open(vec![source]).unwrap());
            assert_eq!(outcome.frames.len(), 2);
            assert!(outcome.frames[0].data == vec![7; len as usize]);
        }
    }

    #[test]
    fn a_pipe_is_not_waited_for_when_frames_are_there() {
        let (input, mut output) = std::io::pipe().unwrap();
        let bytes = pcap(Order::Little, &[1, 2]);
        output.write_all(&bytes[..bytes.len() - 1]).unwrap();
        let mut reader = open(vec![Source::Stream { name: "pipe".into(), reader: Box::new(input) }]).unwrap();
        // The other end is open, so a second read would wait for ever.
        assert_eq!(reader.next_block().unwrap().unwrap().len(), 1);
        output.write_all(&bytes[bytes.len() - 1..]).unwrap();
        assert_eq!(reader.next_block().unwrap().unwrap().len(), 1);
        drop(output);
        assert!(reader.next_block().unwrap().is_none());
    }

    #[test]
    fn a_signal_gives_the_caller_a_turn() {
        let file = pcap(Order::Little, &[1]);
        let mut reader = open(vec![Drip::source(&file, &[24, 0, 0, 100])]).unwrap();
        let lens: Vec<_> =
            std::iter::from_fn(|| reader.next_block().unwrap()).map(|block| block.len()).collect();
        assert!(lens.len() > 1 && lens.contains(&0));
        assert_eq!(lens.iter().sum::<usize>(), 1);
        // Before the first byte there is nothing to give a turn with.
        let error = open(vec![Drip::source(&file, &[0])]).map(drain).unwrap_err();
        assert!(
            matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::Interrupted)
        );
    }

    #[test]
    fn paths_that_are_no_files_are_refused_at_once() {
        let missing = || Source::Path("does/not/exist.pcap".into());
        assert!(matches!(open(vec![missing()]), Err(Error::Io { .. })));
        let good = || memory("a", &pcap(Order::Big, &[1]));
        assert!(matches!(open(vec![good(), missing()]), Err(Error::Io { .. })), "before anything is read");
        let error = open(vec![good(), Source::Path(std::env::temp_dir())]).map(drain).unwrap_err();
        assert!(error.to_string().ends_with("is a directory; name the capture files in it"), "{error}");
    }

    #[test]
    fn warnings_say_where_and_are_bounded() {
        let order = Order::Little;
        let mut file = order.section(&[]);
        file.extend(order.block(5, &[0; 12]).repeat(1000));
        let outcome = read(&file);
        assert_eq!(outcome.warnings.len(), 100);
        assert_eq!(
            outcome.warnings[0].to_string(),
            "test: at byte 28: statistics of interface 0, which is not described"
        );
        assert_eq!(outcome.messages()[99], "further warnings about this file are left out");
    }

    /// The frames that the pcap-parser crate finds: time in units of the file, original length, bytes. Nothing if it
    /// finds fault with the file.
    fn peer(bytes: &[u8]) -> Option<Vec<(u32, Vec<u8>)>> {
        use pcap_parser::{Block, PcapBlockOwned, PcapError};

        let mut reader = pcap_parser::create_reader(65536, std::io::Cursor::new(bytes.to_vec())).ok()?;
        let mut frames = Vec::new();
        loop {
            match reader.next() {
                Ok((len, block)) => {
                    match block {
                        PcapBlockOwned::Legacy(packet) => frames.push((packet.origlen, packet.data.to_vec())),
                        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                            // Its data includes the padding.
                            let data = packet.data.get(..packet.caplen as usize)?;
                            frames.push((packet.origlen, data.to_vec()));
                        }
                        _ => {}
                    }
                    reader.consume(len);
                }
                Err(PcapError::Eof) => return Some(frames),
                Err(PcapError::Incomplete(_)) => reader.refill().ok()?,
                Err(_) => return None,
            }
        }
    }

    fn order() -> impl Strategy<Value = Order> {
        prop_oneof![Just(Order::Big), Just(Order::Little)]
    }

    proptest! {
        #[test]
        fn the_way_bytes_arrive_makes_no_difference(
            order in order(),
            lens in prop::collection::vec(any::<u8>(), 0..40),
            ng: bool,
            sizes in prop::collection::vec(0_usize..50, 1..5),
            damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut file = if ng { pcapng(order, &lens) } else { pcap(order, &lens) };
            if damage.is_none() {
                prop_assert_eq!(read(&file).frames.len(), lens.len());
            }
            if let Some((place, value)) = damage {
                // Behind the section header, or the records that tell a variant of pcap: a pipe has none yet.
                let start = if ng { 24 } else { pcap(order, &lens[..lens.len().min(3)]).len() };
                let place = start + place.index(file.len() - start + 1);
                if let Some(byte) = file.get_mut(place) {
                    *byte = value;
                }
            }
            let whole = read(&file);
            let mut sizes = sizes;
            sizes.push(1);
            // An interruption before the first byte is an error.
            sizes.insert(0, 3);
            prop_assert_eq!(&drain(open(vec![Drip::source(&file, &sizes)]).unwrap()).frames, &whole.frames);
            for (_, compress) in COMPRESSORS {
                prop_assert_eq!(plain(read(&compress(&file))), plain(read(&file)));
            }
        }

        #[test]
        fn a_peer_finds_the_same_frames(
            order in order(),
            lens in prop::collection::vec(any::<u8>(), 1..40),
            ng: bool,
            damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut file = if ng { pcapng(order, &lens) } else { pcap(order, &lens) };
            if let Some((place, value)) = damage {
                let place = 24 + place.index(file.len() - 24);
                // Not a kind of packet block that the peer is not asked for.
                file[place] = value | 0x10;
            }
            let ours = read(&file);
            // It checks less, and knows no variants.
            let sound = ours.warnings.is_empty() && ours.errors.is_empty();
            if let Some(theirs) = peer(&file) && sound && matches!(&*ours.files[0].format, "pcap" | "pcapng") {
                let ours: Vec<_> = ours.frames.into_iter().map(|frame| (frame.wire_len, frame.data)).collect();
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(magic in 0_usize..6, rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let magics: [&[u8]; 6] = [
                &[0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4], &[0x34, 0xcd, 0xb2, 0xa1, 2, 0, 4, 0],
                &Order::Little.section(&[]), &[0x1f, 0x8b, 8, 0], &[0x28, 0xb5, 0x2f, 0xfd], &[4, 0x22, 0x4d, 0x18],
            ];
            let bytes = [magics[magic], &rest].concat();
            if let Ok(reader) = open(vec![memory("test", &bytes)]) {
                drain(reader);
            }
            if let Ok(reader) = open(vec![memory("test", &rest)]) {
                drain(reader);
            }
        }
    }
}
