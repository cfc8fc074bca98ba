//! Frame → layers.

mod layers;
mod link;
mod network;
mod plain;
#[cfg(test)]
mod tests;
mod transport;
mod tunnel;
mod walk;

pub use layers::{Encap, Labels, Layers, Mac, Stack, Transport};
pub(crate) use plain::Then;
pub use walk::dissect;
pub(crate) use walk::{dissect_into, dissect_then, dissect_to_end};
