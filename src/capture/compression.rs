//! Compressed captures, known by their first bytes.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

/// Compressed bytes asked for at once.
const BUFFER: usize = 64 << 10;

/// How a capture is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// gzip (RFC 1952), one member or several.
    Gzip,
    /// Zstandard (RFC 8878), one frame or several.
    Zstd,
    /// LZ4 frames (lz4 Frame Format 1.6), one or several.
    Lz4,
    /// The LZ4 frames of the Linux kernel and of `lz4 -l`, which have no end mark.
    Lz4Legacy,
}

impl Compression {
    /// The compression that a source with these first bytes has.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        match *head.first_chunk::<4>()? {
            // ID1, ID2 and the only method there is, deflate.
            [0x1f, 0x8b, 8, _] => Some(Self::Gzip),
            // A frame, or the skippable frame that pzstd begins with.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            [0x04, 0x22, 0x4d, 0x18] => Some(Self::Lz4),
            [0x02, 0x21, 0x4c, 0x18] => Some(Self::Lz4Legacy),
            _ => None,
        }
    }

    /// Its usual name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 | Self::Lz4Legacy => "lz4",
        }
    }

    /// A reader of what `compressed` holds. At damage it gives what could be decoded before, then an error.
    pub(super) fn decoder(self, compressed: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        let input = BufReader::with_capacity(BUFFER, Patient(compressed));
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
            Self::Lz4 | Self::Lz4Legacy => Box::new(Lz4 {
                decoder: FrameDecoder::new(Watched { input, taken: 0, ended: false }),
                between_frames: true,
                legacy: self == Self::Lz4Legacy,
            }),
        })
    }
}

/// Input that does not let signals interrupt it: not every decoder can go on where it was interrupted.
struct Patient<R>(R);

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

/// LZ4 frames one after the other. The decoder stops after each frame, and it takes the end of input between two
/// blocks for the end of the frame; this goes on, and tells a cut from an end.
struct Lz4<R: Read> {
    decoder: FrameDecoder<Watched<R>>,
    between_frames: bool,
    legacy: bool,
}

impl<R: Read> Read for Lz4<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let taken = self.decoder.get_ref().taken;
            let read = self.decoder.read(buf)?;
            if read > 0 {
                self.between_frames = false;
                return Ok(read);
            }
            let input = self.decoder.get_ref();
            if !input.ended {
                self.between_frames = true;
            } else if input.taken == taken && (self.between_frames || self.legacy) {
                return Ok(0);
            } else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the last frame is incomplete"));
            }
        }
    }
}

/// Input that remembers how many bytes were taken from it and whether its end was seen.
struct Watched<R> {
    input: R,
    taken: u64,
    ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buf)?;
        self.taken += read as u64;
        self.ended |= read == 0 && !buf.is_empty();
        Ok(read)
    }
}
