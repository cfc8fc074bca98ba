//! Frames → one Arrow row a frame: the packets contract.
//!
//! The contract is the list of columns in [`Column`], the definition of the ids in [`ids`], and the schema version in
//! the metadata. A frame that cannot be understood is a row with what was understood and an issue: frames in = rows
//! out.

pub mod address;
mod builder;
mod chain;
mod column;
pub mod digest;
mod filter;
mod fragments;
pub(crate) mod frames;
pub mod ids;
mod part;
mod parts;
mod row;
mod scan;
mod view;
mod xxh3;

pub use chain::Chain;
pub(crate) use chain::Helper;
pub use column::{Column, SCHEMA_VERSION, schema};
pub use filter::{Filter, Value};
pub use frames::{Carried, Pause};
pub use part::Batch;
pub(crate) use parts::{PATIENCE, Pausing};
pub use scan::{BATCH_SIZE, Scan, ScanOptions};
pub use view::{Packet, Packets};
