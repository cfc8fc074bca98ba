//! One source or many, read as one stream of blocks.

use std::collections::VecDeque;
use std::sync::Arc;

use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::source::{Format, Opened};
use super::walk::{BLOCK_RECORDS, Sink, Stop, Walked};
use super::warning::Warnings;
use super::window::{Refill, Window};
use super::{Block, Error, Interface, Source, Warning};

/// How to read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the tap, for all sources; without one, each source has its own: its file name.
    pub tap: Option<String>,
    /// Whether regular files are mapped into memory, which is fastest. A file that another process shortens meanwhile
    /// ends this process then (`SIGBUS`); turn it off for files that are rotated in place.
    pub mmap: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { tap: None, mmap: true }
    }
}

/// A source, as far as it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// The source, as the user named it.
    pub name: String,
    /// The file format, as `editcap -F` names it: `pcap`, `nsecpcap`, `modpcap`, `pcapng` and others.
    pub format: &'static str,
    /// How it is compressed: `gzip`, `zstd` or `lz4`.
    pub compression: Option<&'static str>,
    /// Number of its first frame in the stream, from 1.
    pub first_frame: u64,
    /// Its frames so far.
    pub frames: u64,
    /// Its bytes so far, after decompression.
    pub bytes: u64,
}

/// Reads one source, or several one after the other as one stream: frame numbers go on, as in what `mergecap -a` writes.
///
/// After an error the reader goes on with the next source, so that a caller may pass over one that cannot be read.
pub struct Reader {
    options: Options,
    waiting: VecDeque<Source>,
    current: Option<Current>,
    interfaces: Vec<Interface>,
    files: Vec<FileInfo>,
    warnings: Warnings,
    /// Number of the frame to come, from 1.
    next_frame: u64,
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
    fn walk(&mut self, bytes: &[u8], at: usize, last: bool, sink: &mut Sink<'_>) -> Walked {
        match self {
            Self::Pcap(pcap) => pcap.walk(bytes, at, last, sink),
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

impl Reader {
    /// Opens the first source, and makes sure that the others exist. Waits for the first bytes of a pipe; a signal
    /// before them is an [`Error::Io`] of the kind `Interrupted`.
    pub fn open(sources: Vec<Source>, options: Options) -> Result<Self, Error> {
        let mut reader = Self {
            options,
            waiting: sources.into(),
            current: None,
            interfaces: Vec::new(),
            files: Vec::new(),
            warnings: Warnings::default(),
            next_frame: 1,
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
        let mut records = Vec::with_capacity(BLOCK_RECORDS);
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
                records: &mut records,
                interfaces: &mut self.interfaces,
                warnings: &mut self.warnings,
                base: window.base(),
            };
            let walked = walker.walk((*bytes).as_ref(), window.at(), window.is_last(), &mut sink);
            window.advance(walked.at);
            let found = records.len() as u64;
            let first_frame = self.next_frame;
            self.next_frame += found;
            if let Some(file) = self.files.last_mut() {
                file.format = walker.format();
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

    /// The interfaces met so far, of all sources.
    pub fn interfaces(&self) -> &[Interface] {
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
            format: walker.format(),
            compression: compression.map(super::compression::Compression::name),
            first_frame: self.next_frame,
            frames: 0,
            bytes: 0,
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
                let compression = file.and_then(|file| file.compression).unwrap_or("stream");
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
                Err(Error::NotACapture { name: file.name.clone(), found: format!("it has {reason}") })
            }
            _ => {
                self.warnings.end(window.offset(), reason);
                Ok(())
            }
        }
    }
}
