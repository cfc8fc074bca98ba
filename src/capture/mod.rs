//! Bytes → frames. Readers of pcap and pcapng, plain or compressed, from a file, a pipe or memory.
//!
//! A [`Reader`] hands out [`Block`]s: a stretch of bytes with the records found in it. A block owns or shares its
//! bytes, so it may be dissected on another thread while the next one is read. Frames are never copied out of it.
//!
//! Whatever the bytes come from, they are seen through a window; a *walker* (one a file format) finds the records in
//! it and says how far it came and what it needs to go on. So mapped files and pipes are read by the same code.
//!
//! Frames are numbered as Wireshark numbers them, with one exception: pcapng blocks that are no packets but get a
//! number there (custom blocks, systemd journal entries, sysdig events) are skipped here and get none.

mod block;
mod compression;
mod error;
mod foreign;
mod interface;
mod link;
mod map;
mod origin;
mod pcap;
mod pcapng;
mod prefetch;
mod reader;
mod source;
#[cfg(test)]
mod testing;
mod walk;
mod warning;
mod window;

pub use block::{Block, Bytes, Frame, Record};
pub use error::Error;
pub use interface::{Interface, TsResolution};
pub use link::LinkType;
pub use origin::Origin;
pub use reader::{FileInfo, Options, Reader};
pub use source::{Mark, Source};
pub use walk::BLOCK_RECORDS;
pub use warning::Warning;
