//! Where a capture comes from.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::compression::Compression;
use super::window::{Stream, Window};
use super::{Bytes, Error, Options, Reader, foreign, map};

/// Where a capture comes from.
#[non_exhaustive]
pub enum Source {
    /// A file, or a pipe or device with a name.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// Bytes in memory.
    Memory {
        /// What to call them in messages, and as a tap.
        name: String,
        /// The bytes of a capture file.
        bytes: Bytes,
    },
    /// Bytes that somebody else reads, such as a decryptor or a network client.
    Stream {
        /// What to call them in messages, and as a tap.
        name: String,
        /// The bytes of a capture file.
        reader: Box<dyn Read + Send>,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name()).finish()
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl Source {
    /// What to call it in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stdin => "stdin".into(),
            Self::Memory { name, .. } | Self::Stream { name, .. } => name.clone(),
        }
    }

    /// What its frames were seen on, if nobody says better: the file name without directories.
    pub(super) fn tap(&self) -> String {
        match self {
            Self::Path(path) => match path.file_name() {
                Some(file) => file.to_string_lossy().into_owned(),
                None => path.display().to_string(),
            },
            _ => self.name(),
        }
    }

    /// Whether it can be opened, as far as can be told without doing so: a misspelt name late in a long list should not
    /// be found out hours later.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self::Path(path) = self else { return Ok(()) };
        let io = |source| Error::Io { name: self.name(), source };
        if fs::metadata(path).map_err(io)?.is_dir() {
            let hint = "is a directory; name the capture files in it";
            return Err(io(io::Error::new(io::ErrorKind::IsADirectory, hint)));
        }
        Ok(())
    }

    /// Whether somebody may be writing at the other end.
    pub(super) fn is_live(&self) -> bool {
        match self {
            Self::Path(_) => self.path().is_none(),
            Self::Stdin | Self::Stream { .. } => true,
            Self::Memory { .. } => false,
        }
    }

    /// Whether it begins with these bytes; false of what can be read only once.
    pub(crate) fn begins_with(&self, magic: &[u8]) -> Result<bool, Error> {
        match self {
            Self::Path(path) => {
                let io = |source| Error::Io { name: self.name(), source };
                if !fs::metadata(path).map_err(io)?.is_file() {
                    return Ok(false);
                }
                let mut head = Vec::with_capacity(magic.len());
                let file = File::open(path).map_err(io)?;
                file.take(magic.len() as u64).read_to_end(&mut head).map_err(io)?;
                Ok(head == magic)
            }
            Self::Memory { bytes, .. } => Ok((**bytes).as_ref().starts_with(magic)),
            Self::Stdin | Self::Stream { .. } => Ok(false),
        }
    }

    /// Where it is, if it is a file that can be read again.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Path(path) if fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) => Some(path),
            _ => None,
        }
    }

    /// What tells it from others, whatever it is called and wherever it lies; none of what can be read only once.
    pub fn mark(&self) -> Result<Option<Mark>, Error> {
        let Self::Path(path) = self else { return Ok(None) };
        let io = |source| Error::Io { name: self.name(), source };
        let metadata = fs::metadata(path).map_err(io)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut beginning = Vec::new();
        File::open(path)
            .and_then(|file| file.take(Mark::BEGINNING).read_to_end(&mut beginning))
            .map_err(io)?;
        Ok(Some(Mark { len: metadata.len(), beginning: xxh3_64(&beginning) }))
    }

    /// When the first frame was captured, nanoseconds UTC, of what can be read again; none if there is no frame, or that cannot be told.
    pub(crate) fn first_ts(&self) -> Result<Option<i64>, Error> {
        let Self::Path(path) = self else { return Ok(None) };
        let mut reader = Reader::open(vec![Self::Path(path.clone())], Options::default())?;
        while let Some(block) = reader.next_block_of(1)? {
            if let Some(frame) = block.frames().next() {
                return Ok(Some(frame.record.ts));
            }
        }
        Ok(None)
    }

    /// Its bytes as they are, of what can be read again.
    pub(crate) fn reader(&self) -> Result<Box<dyn Read + Send>, Error> {
        let io = |source| Error::Io { name: self.name(), source };
        match self {
            Self::Path(path) => Ok(Box::new(File::open(path).map_err(io)?)),
            Self::Memory { bytes, .. } => Ok(Box::new(Cursor::new(Shared(Arc::clone(bytes))))),
            Self::Stdin | Self::Stream { .. } => Err(io(io::ErrorKind::NotSeekable.into())),
        }
    }

    /// Opens it and finds out what it holds. The window begins with the capture, after decompression.
    pub(super) fn open(self, mmap: bool) -> Result<Opened, Error> {
        self.check()?;
        let name = self.name();
        let io = |source| Error::Io { name: name.clone(), source };
        match self {
            Self::Path(path) => {
                let file = File::open(path).map_err(io)?;
                // Only a regular file has a length that a mapping could cover; not every file system maps.
                let regular = file.metadata().map_err(io)?.is_file();
                if !regular {
                    widen(&file);
                }
                let map = (regular && mmap).then(|| map::map(&file).ok()).flatten();
                match map.and_then(|map| Some((Format::of((*map).as_ref())?, map))) {
                    Some((format, map)) => {
                        Ok(Opened { window: Window::mapped(map), format, compression: None })
                    }
                    None => open_stream(&name, Stream { reader: Box::new(file), live: !regular }),
                }
            }
            Self::Stdin => {
                widen(io::stdin());
                open_stream(&name, Stream { reader: Box::new(io::stdin()), live: true })
            }
            Self::Memory { bytes, .. } => open_bytes(&name, bytes),
            Self::Stream { reader, .. } => open_stream(&name, Stream { reader, live: true }),
        }
    }
}

/// Bytes that a pipe is to hold: the most that Linux gives a user who is not root (pipe(7)).
#[cfg(target_os = "linux")]
const PIPE: usize = 1 << 20;

/// Lets a pipe hold more than the usual 64 KiB before its writer has to wait. Files stay as they are, and so do pipes of a user
/// who has too many that hold as much.
#[cfg(target_os = "linux")]
fn widen(file: impl std::os::fd::AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(file, PIPE);
}

#[cfg(not(target_os = "linux"))]
fn widen<T>(_: T) {}

/// What tells a file from others: enough to know one again, not to prove that nobody changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How many bytes it has.
    pub len: u64,
    /// XXH3 of the first 64 KiB.
    pub beginning: u64,
}

impl Mark {
    const BEGINNING: u64 = 64 << 10;
}

/// A source with a capture in a format that is read here.
pub(super) struct Opened {
    pub window: Window,
    pub format: Format,
    pub compression: Option<Compression>,
}

/// A capture file format that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Pcap,
    Pcapng,
}

impl Format {
    /// The format of a capture that begins with `head`.
    fn of(head: &[u8]) -> Option<Self> {
        if super::pcapng::is_pcapng(head) {
            Some(Self::Pcapng)
        } else if super::pcap::is_pcap(head) {
            Some(Self::Pcap)
        } else {
            None
        }
    }
}

/// Bytes that are all there.
fn open_bytes(name: &str, bytes: Bytes) -> Result<Opened, Error> {
    let head = (*bytes).as_ref();
    if let Some(format) = Format::of(head) {
        return Ok(Opened { window: Window::whole(bytes), format, compression: None });
    }
    if Compression::of(head).is_some() {
        return open_stream(name, Stream { reader: Box::new(Cursor::new(Shared(bytes))), live: false });
    }
    Err(foreign::identify(name, head, None))
}

/// Bytes that come one after the other.
fn open_stream(name: &str, stream: Stream) -> Result<Opened, Error> {
    let io = |source| Error::Io { name: name.to_owned(), source };
    let (head, stream) = peek(stream).map_err(io)?;
    if let Some(format) = Format::of(&head) {
        return Ok(Opened { window: Window::stream(stream), format, compression: None });
    }
    let Some(compression) = Compression::of(&head) else {
        return Err(foreign::identify(name, &head, None));
    };
    let reader = compression.decoder(stream.reader).map_err(io)?;
    // A compressed file that is cut off in its first bytes is no capture; what was found says so.
    match peek(Stream { reader, live: stream.live }) {
        Ok((head, stream)) => match Format::of(&head) {
            Some(format) => {
                Ok(Opened { window: Window::stream(stream), format, compression: Some(compression) })
            }
            None => Err(foreign::identify(name, &head, Some(compression))),
        },
        Err(source) if source.raw_os_error().is_some() => Err(io(source)),
        Err(source) => Err(Error::NotACapture {
            name: name.to_owned(),
            found: format!("it looks like {}, but cannot be decompressed: {source}", compression.name()),
        }),
    }
}

/// The first bytes of a stream, and the stream with them still in it. A capture is known by four bytes, so that a pipe
/// is not waited for; to say what else it is takes more. A signal before the first byte is an error, lest a program
/// that waits for its input cannot be stopped.
fn peek(mut stream: Stream) -> io::Result<(Vec<u8>, Stream)> {
    let mut head = vec![0; foreign::HEAD];
    let mut filled = 0;
    let mut fault = None;
    loop {
        let known = head.get(..filled).unwrap_or_default();
        if Format::of(known).is_some() || Compression::of(known).is_some() {
            break;
        }
        match stream.reader.read(head.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted && filled > 0 => {}
            Err(error) => {
                fault = Some(error);
                break;
            }
        }
    }
    head.truncate(filled);
    match fault {
        Some(fault) if Format::of(&head).is_none() => Err(fault),
        fault => {
            let start = Cursor::new(head.clone()).chain(Faulty(fault));
            Ok((head, Stream { reader: Box::new(start.chain(stream.reader)), live: stream.live }))
        }
    }
}

/// Gives an error once, then nothing.
struct Faulty(Option<io::Error>);

impl Read for Faulty {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Shared bytes, for a cursor over them.
struct Shared(Bytes);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}
