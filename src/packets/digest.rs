//! What a check needs to know of a capture, in a file: rows and messages, and of packets only those that carry samples of others (sFlow,
//! IPFIX, NetFlow, HEP), as what those say can rest on earlier ones.
//!
//! Several processes, on one machine or many, make digests of a capture each, and one check reads them all. A digest holds what
//! threads make of frames before anybody knows what came before them ([`Part`]), and that is added when it is read, in order. So
//! what comes out is what one scan over all captures would give, wherever they were cut.
//!
//! A file is a line that says what it is, the version, and blocks of a length, a checksum and compressed bytes: what is known
//! from the beginning, parts, and where the frames came from. They are this program's own data: other versions refuse them, damage
//! is found, and what they hold is looked over before it is used.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use arrow_schema::ArrowError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use super::ScanOptions;
use super::frames::Pause;
use super::part::{Part, Work};
use super::parts::{Parts, Unfinished};
use crate::capture::{Error, Mark, Options, Origin, Reader, Source};

/// What a digest begins with.
pub const MAGIC: &[u8; 16] = b"tapsight digest\n";

/// Numbers are written as they are in memory.
const VERSION: &str = if cfg!(target_endian = "little") {
    env!("CARGO_PKG_VERSION")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " big-endian")
};

/// Frames of a block: more of them are compressed better, and in less time.
pub const BATCH_SIZE: usize = 8_192;

/// The most bytes of a block of rows, compressed or not: 16 KiB a frame.
const MAX_PART: u64 = 128 << 20;

/// The most bytes of the first and the last block: room for a million interfaces.
const MAX_ENDS: u64 = 32 << 20;

/// How much work is put into compression: the least, which is what reading and writing keep up with.
const LEVEL: i32 = 1;

/// What is known of a digest before its frames are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The tap that the captures are of; interfaces are named after it.
    pub tap: String,
    /// The captures that it is of, in order.
    pub captures: Vec<Captured>,
}

/// A capture that a digest is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// As it was named.
    pub name: String,
    /// What to know it by, if it can be read again.
    pub mark: Option<Mark>,
    /// When its first frame was captured, nanoseconds UTC; none if there is no frame.
    pub first_ts: Option<i64>,
}

impl Captured {
    /// What a digest of this source says of it, as far as that can be told before it is read.
    pub fn of(source: &Source) -> Result<Self, Error> {
        let mark = source.mark()?;
        let first_ts = match mark {
            Some(_) => source.first_ts()?,
            None => None,
        };
        Ok(Self { name: source.name(), mark, first_ts })
    }

    /// The captures that these sources are, or digests among them are of.
    pub fn all_of(sources: &[Source]) -> Result<Vec<Self>, Error> {
        let mut all = Vec::with_capacity(sources.len());
        for source in sources {
            match Digest::head_of(source)? {
                Some(head) => all.extend(head.captures),
                None => all.push(Self::of(source)?),
            }
        }
        Ok(all)
    }
}

/// What a block of rows begins with: the number of its kind.
const PART: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
enum Block {
    Head(Head),
    Part(Box<Part>),
    /// Nothing comes behind it.
    End(Origin),
}

/// How many bytes a block that begins like this may have: that is known before memory is given to what it says.
fn most(plain: &[u8]) -> u64 {
    if plain.first() == Some(&PART) { MAX_PART } else { MAX_ENDS }
}

/// Writes a digest of sources, which are of one tap; says where the frames came from. `scan` is how they are to be read, and `waiting` is
/// called when a source has nothing yet; `progress` now and then, with the number of packets so far. An error of theirs ends the work.
/// Errors of `output` are of `name`.
pub fn write(
    sources: Vec<Source>,
    tap: &str,
    scan: ScanOptions,
    waiting: Option<Pause>,
    output: impl Write,
    name: &str,
    mut progress: impl FnMut(u64) -> Result<(), ArrowError>,
) -> Result<Origin, ArrowError> {
    let mut captures = sources.iter().map(Captured::of).collect::<Result<Vec<_>, _>>().map_err(external)?;
    let sums = Sums::begin(&sources);
    let options = Options { tap: Some(tap.to_owned()), ..Options::default() };
    let (threads, reader) = (scan.threads, Reader::open(sources, options).map_err(external)?);
    let mut parts = Parts::new(reader, Work::of(scan), Unfinished, threads);
    if let Some(waiting) = waiting {
        parts.set_pause(waiting);
    }
    let mut next = parts.next()?;
    if let [only] = captures.as_mut_slice() {
        // Of a pipe, this could not be told before.
        only.first_ts = next.as_ref().and_then(Part::first_ts);
    }
    let mut writer = Writer { output, name };
    writer.write(&[MAGIC.as_slice(), &[VERSION.len() as u8], VERSION.as_bytes()])?;
    writer.block(&Block::Head(Head { tap: tap.to_owned(), captures }))?;
    let mut packets = 0;
    while let Some(mut part) = next {
        packets += part.frames() as u64;
        part.close()?;
        if part.frames() > 0 {
            writer.block(&Block::Part(part.into()))?;
        }
        progress(packets)?;
        next = parts.next()?;
    }
    let mut origin = parts.reader().origin();
    for (file, sum) in origin.files.iter_mut().zip(sums.end()) {
        file.sha256 = sum;
    }
    writer.block(&Block::End(origin.clone()))?;
    writer.output.flush().map_err(|source| writer.error(source))?;
    Ok(origin)
}

/// SHA-256 of the sources that are files, found on a thread beside the one that reads them.
struct Sums(JoinHandle<Vec<Option<[u8; 32]>>>);

impl Sums {
    fn begin(sources: &[Source]) -> Self {
        let files: Vec<Option<PathBuf>> = sources.iter().map(|source| source.path().cloned()).collect();
        Self(thread::spawn(move || files.into_iter().map(|path| sha256(&path?)).collect()))
    }

    fn end(self) -> Vec<Option<[u8; 32]>> {
        self.0.join().unwrap_or_default()
    }
}

fn sha256(path: &Path) -> Option<[u8; 32]> {
    let (mut file, mut sum) = (File::open(path).ok()?, Sha256::new());
    let mut bytes = vec![0; 1 << 20];
    loop {
        match file.read(&mut bytes).ok()? {
            0 => return Some(sum.finalize().into()),
            len => sum.update(bytes.get(..len)?),
        }
    }
}

struct Writer<'a, W> {
    output: W,
    name: &'a str,
}

impl<W: Write> Writer<'_, W> {
    fn block(&mut self, block: &Block) -> Result<(), ArrowError> {
        let plain = postcard::to_stdvec(block).map_err(|error| ArrowError::ExternalError(error.into()))?;
        let packed = zstd::bulk::compress(&plain, LEVEL)?;
        let len = packed.len() as u64;
        if len > MAX_PART || plain.len() as u64 > most(&plain) {
            let problem = "a digest has no room for so much, be it interfaces or long messages: check the capture itself";
            return Err(external(Error::Digest { name: self.name.to_owned(), problem: problem.to_owned() }));
        }
        self.write(&[&len.to_le_bytes(), &xxh3_64(&packed).to_le_bytes(), &packed])
    }

    fn write(&mut self, all: &[&[u8]]) -> Result<(), ArrowError> {
        all.iter().try_for_each(|bytes| self.output.write_all(bytes)).map_err(|source| self.error(source))
    }

    fn error(&self, source: std::io::Error) -> ArrowError {
        external(Error::Io { name: self.name.to_owned(), source })
    }
}

fn external(error: Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// A digest that is read.
pub struct Digest {
    blocks: Blocks,
    head: Head,
    /// How many frames were read so far.
    frames: u64,
}

/// The blocks of a digest.
struct Blocks {
    name: String,
    input: Box<dyn Read + Send>,
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digest")
            .field("name", &self.blocks.name)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

/// What comes next in a digest.
#[derive(Debug)]
pub(super) enum Next {
    Part(Box<Part>),
    End(Origin),
}

impl Digest {
    /// What is known of a source that is a digest before its frames are read; none if it is something else.
    pub fn head_of(source: &Source) -> Result<Option<Head>, Error> {
        Ok(if Self::is_one(source)? { Some(Self::open(source)?.head) } else { None })
    }

    /// Whether a source is one; false of what can be read only once.
    pub fn is_one(source: &Source) -> Result<bool, Error> {
        source.begins_with(MAGIC)
    }

    /// Opens one, and reads what is known from the beginning.
    pub fn open(source: &Source) -> Result<Self, Error> {
        let mut blocks = Blocks { name: source.name(), input: source.reader()? };
        let mut magic = [0; MAGIC.len()];
        blocks.read(&mut magic)?;
        if magic != *MAGIC {
            return Err(blocks.problem("this is no digest"));
        }
        let mut len = [0];
        blocks.read(&mut len)?;
        let mut version = vec![0; len[0].into()];
        blocks.read(&mut version)?;
        if version != VERSION.as_bytes() {
            let version = String::from_utf8_lossy(&version).escape_default().to_string();
            let problem = format!("was made by version {version}, and this is {VERSION}: make it again");
            return Err(blocks.problem(&problem));
        }
        match blocks.next()? {
            Block::Head(head) => Ok(Self { blocks, head, frames: 0 }),
            _ => Err(blocks.damaged()),
        }
    }

    /// What is known before frames are read.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Reads all of it, made of what a scan with these options makes.
    pub fn verify(mut self, scan: ScanOptions) -> Result<(), Error> {
        let work = Work::of(scan);
        while let Next::Part(_) = self.next(&work)? {}
        Ok(())
    }

    /// What comes next. To be called until the end.
    pub(super) fn next(&mut self, work: &Work) -> Result<Next, Error> {
        let blocks = &mut self.blocks;
        match blocks.next()? {
            Block::Head(_) => Err(blocks.damaged()),
            Block::Part(part) => {
                let part = part.restored(work, self.frames + 1).ok_or_else(|| blocks.damaged())?;
                self.frames += part.frames() as u64;
                Ok(Next::Part(part.into()))
            }
            Block::End(origin) => {
                blocks.end()?;
                let told = origin.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.frames));
                if told == Some(self.frames) { Ok(Next::End(origin)) } else { Err(blocks.damaged()) }
            }
        }
    }
}

impl Blocks {
    fn next(&mut self) -> Result<Block, Error> {
        let (mut len, mut checksum) = ([0; 8], [0; 8]);
        self.read(&mut len)?;
        self.read(&mut checksum)?;
        let len = u64::from_le_bytes(len);
        let mut packed = Vec::new();
        if len > MAX_PART {
            return Err(self.damaged());
        }
        // Never more than the file has, whatever it says.
        let read = (&mut self.input).take(len).read_to_end(&mut packed);
        if read.map_err(|source| self.io(source))? as u64 != len {
            return Err(self.cut_off());
        }
        if xxh3_64(&packed) != u64::from_le_bytes(checksum) {
            return Err(self.damaged());
        }
        let mut plain = Vec::new();
        let decoder = zstd::Decoder::with_buffer(packed.as_slice());
        let read = decoder.and_then(|decoder| decoder.take(MAX_PART + 1).read_to_end(&mut plain));
        if read.is_err() || plain.len() as u64 > most(&plain) {
            return Err(self.damaged());
        }
        postcard::from_bytes(&plain).map_err(|_| self.damaged())
    }

    /// Makes sure that nothing follows.
    fn end(&mut self) -> Result<(), Error> {
        let mut more = Vec::new();
        (&mut self.input).take(1).read_to_end(&mut more).map_err(|source| self.io(source))?;
        if more.is_empty() {
            Ok(())
        } else {
            Err(self.problem("something follows the end of this digest: name each by itself"))
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.input.read_exact(bytes).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => self.cut_off(),
            _ => self.io(source),
        })
    }

    fn io(&self, source: std::io::Error) -> Error {
        Error::Io { name: self.name.clone(), source }
    }

    fn problem(&self, problem: &str) -> Error {
        Error::Digest { name: self.name.clone(), problem: problem.to_owned() }
    }

    fn damaged(&self) -> Error {
        self.problem("this digest is damaged: make it again")
    }

    fn cut_off(&self) -> Error {
        self.problem("this digest is cut off: it was not written to its end, so make it again")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::messages::{Kind, Kinds};
    use crate::packets::{Batch, Carried, Chain, Packets};

    fn corpus() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/protocols.pcap")
    }

    fn memory(bytes: Vec<u8>) -> Source {
        Source::Memory { name: "memory".to_owned(), bytes: std::sync::Arc::new(bytes) }
    }

    /// All columns that a digest has, and all tables.
    fn options(batch_size: usize, threads: usize) -> ScanOptions {
        let tables = Kinds::of(Kind::ALL);
        ScanOptions {
            columns: Packets::COLUMNS.to_vec(),
            tables,
            batch_size,
            threads,
            ..ScanOptions::default()
        }
    }

    fn digest(capture: Vec<u8>, batch_size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let sources = vec![memory(capture)];
        write(sources, "made", options(batch_size, 1), None, &mut bytes, "memory", |_| Ok(())).unwrap();
        bytes
    }

    /// The corpus, cut before these frames: a capture each.
    fn cut(at: &[usize]) -> Vec<Vec<u8>> {
        let bytes = fs::read(corpus()).unwrap();
        let (header, mut rest) = bytes.split_at(24);
        let mut parts = vec![header.to_vec()];
        let mut number = 0;
        while rest.len() >= 16 {
            let len = 16 + u32::from_le_bytes(*rest[8..].first_chunk().unwrap()) as usize;
            if at.contains(&number) {
                parts.push(header.to_vec());
            }
            parts.last_mut().unwrap().extend(&rest[..len]);
            rest = &rest[len..];
            number += 1;
        }
        parts
    }

    /// Rows as text, in order, by table.
    type Tables = BTreeMap<&'static str, Vec<String>>;

    /// Rows and messages of sources that follow each other, and where they came from.
    fn read(sources: Vec<Source>, tap: Option<&str>, threads: usize) -> (Tables, Origin) {
        let options_of = Options { tap: tap.map(str::to_owned), first_frame: 8, ..Options::default() };
        let mut chain =
            Chain::open(sources, options_of, options(16, threads), None, Carried::default()).unwrap();
        let mut rows = Tables::new();
        for batch in &mut chain {
            let Batch { packets, messages } = batch.unwrap();
            for (name, batch) in
                messages.iter().map(|(kind, batch)| (kind.name(), batch)).chain([("packets", &packets)])
            {
                rows.entry(name).or_default().extend((0..batch.num_rows()).map(|row| {
                    let row = batch.slice(row, 1);
                    let columns = row.columns().iter().zip(row.schema_ref().fields());
                    let text =
                        columns.map(|(column, field)| format!("{}={}", field.name(), arrow_cell(column)));
                    text.collect::<Vec<_>>().join(" ")
                }));
            }
        }
        (rows, chain.origin())
    }

    /// A value as text; of a dictionary, the label.
    fn arrow_cell(column: &arrow_array::ArrayRef) -> String {
        use arrow_array::cast::AsArray;
        use arrow_array::types;
        let label = column
            .as_dictionary_opt::<types::UInt16Type>()
            .map(|dictionary| (dictionary.key(0), dictionary.values().as_string::<i32>()));
        match label {
            Some((key, names)) => format!("{:?}", key.map(|key| names.value(key))),
            None => format!("{column:?}"),
        }
    }

    #[test]
    fn digests_are_read_as_the_captures_would_be() {
        for at in [vec![], vec![25], vec![1, 2, 3, 30, 31]] {
            let captures = cut(&at);
            let expected = read(captures.iter().cloned().map(memory).collect(), Some("made"), 1);
            assert_eq!(expected.0["packets"].len(), 61);
            assert!(expected.0.len() > 10);
            assert_eq!(expected.1.next_frame(), Some(8 + 61));
            for (batch_size, threads) in [(7, 1), (16_384, 3)] {
                let digests: Vec<Source> =
                    captures.iter().map(|capture| memory(digest(capture.clone(), batch_size))).collect();
                assert!(read(digests, None, threads) == expected);
                // Captures and digests of the same tap, one behind the other.
                let mixed = captures.iter().enumerate().map(|(number, capture)| {
                    memory(if number % 2 == 0 {
                        capture.clone()
                    } else {
                        digest(capture.clone(), batch_size)
                    })
                });
                assert!(read(mixed.collect(), Some("made"), threads) == expected);
            }
        }
    }

    #[test]
    fn a_tap_can_be_called_otherwise() {
        let (rows, origin) = read(vec![memory(digest(cut(&[]).remove(0), 16))], Some("other"), 0);
        assert_eq!(origin.interfaces[0].tap, "other");
        assert!(rows["packets"].iter().all(|row| row.contains("tap=Some(\"other\")")));
    }

    /// What is wrong with a digest of these bytes.
    fn problem(bytes: Vec<u8>) -> Option<String> {
        let opened = Digest::open(&memory(bytes));
        opened.and_then(|digest| digest.verify(options(16, 0))).err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_no_whole_digest_says_so() {
        let good = digest(cut(&[]).remove(0), 16);
        assert_eq!(problem(good.clone()), None);
        for len in 0..good.len() {
            let problem = problem(good[..len].to_vec()).unwrap();
            assert!(problem.contains("cut off"), "{len}: {problem}");
        }
        let mut other = good.clone();
        other[17] = b'9';
        assert!(problem(other).unwrap().contains("was made by version 9"));
        assert!(problem(fs::read(corpus()).unwrap()).unwrap().contains("no digest"));
        // A part of other columns.
        let scan = ScanOptions { batch_size: 16, ..ScanOptions::default() };
        let error = Digest::open(&memory(good)).unwrap().verify(scan).unwrap_err();
        assert!(error.to_string().contains("damaged"));
    }

    #[test]
    fn every_changed_byte_is_found() {
        let good = digest(cut(&[]).remove(0), 16_384);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(problem(bad).is_some(), "byte {at}");
        }
    }

    /// The plain bytes of each block of a digest.
    static BLOCKS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let digest = digest(fs::read(corpus()).unwrap(), 64);
        let mut rest = &digest[MAGIC.len() + 1 + VERSION.len()..];
        let mut blocks = Vec::new();
        while let Some((len, after)) = rest.split_first_chunk() {
            let (packed, after) = after[8..].split_at(u64::from_le_bytes(*len) as usize);
            blocks.push(zstd::decode_all(packed).unwrap());
            rest = after;
        }
        blocks
    });

    /// A digest of these blocks, with checksums that hold.
    fn packed(blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &[VERSION.len() as u8], VERSION.as_bytes()].concat();
        for plain in blocks {
            let packed = zstd::bulk::compress(plain, LEVEL).unwrap();
            bytes.extend((packed.len() as u64).to_le_bytes());
            bytes.extend(xxh3_64(&packed).to_le_bytes());
            bytes.extend(packed);
        }
        bytes
    }

    #[test]
    fn a_block_that_unpacks_to_gigabytes_is_damage() {
        for (kind, most) in [(0, MAX_ENDS), (PART, MAX_PART)] {
            let mut plain = vec![0; most as usize + 1];
            plain[0] = kind;
            assert!(problem(packed(&[plain])).unwrap().contains("damaged"));
        }
    }

    #[test]
    fn blocks_out_of_order_are_damage() {
        let [head, part, end] = BLOCKS.as_slice() else { panic!("of 50 frames there is one part") };
        let of = |blocks: &[&Vec<u8>]| problem(packed(&blocks.iter().copied().cloned().collect::<Vec<_>>()));
        assert_eq!(of(&[head, part, end]), None);
        assert!(of(&[part, end]).unwrap().contains("damaged"));
        assert!(of(&[end]).unwrap().contains("damaged"));
        assert!(of(&[head, head, end]).unwrap().contains("damaged"));
        assert!(of(&[head, part, end, end]).unwrap().contains("something follows"));
        assert!(of(&[head, part]).unwrap().contains("cut off"));
        // Rows that are missing or there twice, though every checksum holds.
        assert!(of(&[head, end]).unwrap().contains("damaged"));
        assert!(of(&[head, part, part, end]).unwrap().contains("damaged"));
        assert_eq!([head[0], part[0], end[0]], [0, PART, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Whoever makes a digest on purpose, with checksums that hold, gets an error or rows.
        #[test]
        fn no_block_makes_it_panic(
            block in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut blocks = BLOCKS.clone();
            let block = block.get_mut(&mut blocks);
            for (at, byte) in changes {
                *at.get_mut(block) = byte;
            }
            let source = memory(packed(&blocks));
            let tap = Options { tap: Some("other".to_owned()), first_frame: 8, ..Options::default() };
            if let Ok(mut chain) = Chain::open(vec![source], tap, options(64, 0), None, Carried::default()) {
                for batch in chain.by_ref().map_while(Result::ok) {
                    let _ = Packets::new(&batch.packets);
                    for (kind, messages) in &batch.messages {
                        let _ = crate::messages::View::new(*kind, messages);
                    }
                }
                let _ = chain.origin().next_frame();
            }
        }
    }
}
