//! # tapsight: was traffic copied or sent elsewhere?
//!
//! Bytes of a capture become rows of Arrow, rows become claims with the frames that prove them.
//! Each stage is a module, named for what it turns into what:
//!
//! | module | from | to |
//! |---|---|---|
//! | [`capture`] | files, pipes, memory | frames |
//! | [`wire`] | bytes | one header, one file a format |
//! | [`dissect`] | a frame | its layers, through tunnels |
//! | [`classify`] | layers | application and on what basis |
//! | [`packets`] | frames | one Arrow row a frame: the contract |
//! | [`messages`] | frames | one Arrow row a message of one protocol |
//! | [`flows`] | packets | one row a conversation and path |
//! | [`detect`] | packets | claims of copying and diversion |
//! | [`evidence`] | numbers of frames | those frames, as they were captured |
//! | [`places`] | addresses, telephone numbers | countries, networks, zones |
//! | [`traffic`] | a seed | captures made for measuring |
//!
//! `python` is the binding, built only with the feature of that name; nothing else knows that Python exists.

pub mod capture;
pub mod classify;
pub mod detect;
pub mod dissect;
pub mod evidence;
pub mod flows;
mod hash;
pub mod messages;
mod named;
pub mod packets;
pub mod places;
mod plain;
mod prefetch;
#[cfg(feature = "python")]
mod python;
mod table;
pub mod traffic;
pub mod wire;
