//! Packets → conversations: one row a direction of a conversation on one path.
//!
//! A *path* is how a packet was seen: tap, MACs, VLANs, labels, and the tunnel around it. The same packets seen on two
//! paths are two rows with the same `flow_id`: what policy judges, and what copies are told apart by.

mod identity;
mod index;
mod path;
mod table;

pub use path::{Path, PathId, Paths};
pub(crate) use table::append_fixed;
pub use table::{Flow, FlowKey, Flows, Wanted, flow_schema};
