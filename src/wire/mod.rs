//! What the bytes mean: one header format a file, and nothing else.
//!
//! Each header is a `#[repr(C)]` struct that *is* the figure of its standard, viewed over borrowed bytes by
//! `zerocopy`: one length check when it is made, plain field reads after. A view never allocates and never panics.
//! What does not fit is an [`Issue`].

pub mod ethernet;
pub mod gre;
pub mod gtpu;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
mod issue;
pub mod mpls;
pub mod sctp;
pub mod sll;
pub mod tcp;
pub mod udp;
pub mod vxlan;

pub use issue::{Header, Issue, Reason};
