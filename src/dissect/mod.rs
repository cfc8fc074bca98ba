//! Frame → layers.

mod layers;
mod walk;

pub use layers::{Encap, Labels, Layers, Mac, Stack, Transport};
pub use walk::dissect;
