//! What the bytes mean: one header format a file, and nothing else.
//!
//! Each header is a `#[repr(C)]` struct that *is* the figure of its standard, viewed over borrowed bytes by
//! `zerocopy`: one length check when it is made, plain field reads after. A view never allocates and never panics.
//! What does not fit is an [`Issue`].

pub mod capwap;
pub mod dccp;
pub mod esp;
pub mod ethernet;
pub mod frame_relay;
pub mod gre;
pub mod gtpu;
pub mod hep;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
mod issue;
pub mod isup;
pub mod l2tp;
pub mod lisp;
pub mod mpls;
pub mod nflog;
pub mod nsh;
pub mod ppp;
pub mod q931;
pub(crate) mod quic;
pub mod rpcap;
pub mod sctp;
pub mod sdp;
pub mod shim;
pub mod sip;
pub mod skinny;
pub mod sll;
pub mod tag;
pub mod tcp;
pub mod teredo;
pub mod tzsp;
pub mod udp;
pub mod vxlan;
pub mod websocket;
pub mod wlan;

pub use issue::{Header, Issue, Reason};
