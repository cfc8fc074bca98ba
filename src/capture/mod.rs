//! Bytes → frames. Readers of pcap and pcapng, plain or compressed, from a file, a pipe or memory.
//!
//! A [`Reader`] hands out [`Block`]s: a stretch of bytes with the records found in it. A block owns or shares its
//! bytes, so it may be dissected on another thread while the next one is read. Frames are never copied out of it.

mod block;
mod error;
mod link;

pub use block::{Block, Bytes, Frame, Record};
pub use error::Error;
pub use link::LinkType;
#[allow(missing_docs)]
#[derive(Debug)] pub struct Interface { pub tap: String, pub link: LinkType }
#[allow(missing_docs)]
#[derive(Debug)] pub struct Reader;
#[allow(missing_docs)]
impl Reader { pub fn next_block(&mut self) -> Result<Option<Block>, Error> { Ok(None) } pub fn interfaces(&self) -> &[Interface] { &[] } }
