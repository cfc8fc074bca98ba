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
//! | [`paths`] | packets | one row a direction of a conversation and path |
//! | [`calls`] | messages | one row a call |
//! | [`flows`] | packets | one row a conversation |
//! | [`media`] | packets and messages | one row a media stream |
//! | [`voice`] | packets and messages | media streams with their calls |
//! | [`detect`] | packets | claims of copying and diversion |
//! | [`mod@parquet`] | tables | the bytes of a file |
//! | [`evidence`] | numbers of frames | those frames, as they were captured |
//! | [`places`] | addresses, telephone numbers | countries, networks, zones |
//! | [`traffic`] | a seed | captures made for measuring |
//!
//! `python` is the binding, built only with the feature of that name; nothing else knows that Python exists.

mod arrays;
pub mod budget;
pub mod calls;
pub mod capture;
pub mod classify;
pub mod detect;
pub mod dissect;
pub mod evidence;
pub mod flows;
mod hash;
pub mod media;
pub mod messages;
mod named;
pub mod packets;
pub mod parquet;
pub mod paths;
pub mod places;
mod plain;
mod prefetch;
#[cfg(feature = "python")]
mod python;
pub mod stage;
mod table;
pub mod tap;
pub mod traffic;
pub mod voice;
pub mod wire;
