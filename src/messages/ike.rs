//! How IPsec peers agree on keys: IKE version 1 (RFC 2408, RFC 2409) and 2 (RFC 7296).

use std::borrow::Cow;

use super::columns::{Bool, Texts, U8, U16s, U32, U64, table};
use super::words::Words;
use super::{Frame, Table};
use crate::classify::{App, Basis};

table! {
    /// IKE messages, with what they propose, or choose, for the association that protects IKE itself. What protects the traffic is agreed on
    /// encrypted.
    Ike, Row {
        /// 1 or 2.
        version: U8,
        /// Kind of exchange, of version 1: 2 main mode, 4 aggressive mode, 5 informational, 32 quick mode; of version 2: 34
        /// initial, 35 authentication, 36 of a child, 37 informational.
        exchange: U8,
        /// Whether it is a response; version 1 does not tell.
        is_response: Bool,
        /// Identifier of the message.
        message_id: U32,
        /// Index (SPI) that the initiator chose.
        initiator_spi: U64,
        /// Index that the responder chose, 0 before it has.
        responder_spi: U64,
        /// How many proposals for IKE there are; null where there is nothing in the clear, or where they are cut off: then the lists below hold
        /// what is there.
        proposals: U8,
        /// Ciphers in any proposal, with the bits of their key where they are said: `aes-cbc-256`, `aes-gcm-16-256`, `3des`; a number
        /// where the name is not known here. This and the lists below are null where no proposal is in the clear.
        encryption: Texts,
        /// Integrity algorithms in any proposal (of version 1, hashes): `sha256`, `sha384`, `none`; none at all with a cipher that needs none.
        integrity: Texts,
        /// Pseudo-random functions in any proposal (of version 1, hashes).
        prf: Texts,
        /// Diffie-Hellman groups in any proposal (IANA, Transform Type 4): 14 of 2048 bits, 15 of 3072, 16 of 4096, 19 and 20 elliptic curves of
        /// 256 and 384.
        dh_groups: U16s,
    }
}

impl Table for Ike {
    fn read(&mut self, frame: &Frame<'_>) {
        if (frame.label.app, frame.label.basis) != (Some(App::Ike), Some(Basis::Signature)) {
            return;
        }
        let payload = frame.layers.payload;
        // Four zero bytes tell it from ESP on port 4500 (RFC 3948 section 2.2).
        if let Some(row) = message(payload.strip_prefix(&[0; 4]).unwrap_or(payload)) {
            self.push(frame, row);
        }
    }
}

/// RFC 7296 section 3.1, and RFC 2408 section 3.1: both indices, next payload, version, exchange, flags, message, length. None of a
/// keep-alive (RFC 3948 section 2.3).
fn message(bytes: &[u8]) -> Option<Row<'static>> {
    let mut words = Words(bytes);
    let (initiator, responder) = (words.array()?, words.array()?);
    let (next, version, exchange, flags) = (words.u8()?, words.u8()? >> 4, words.u8()?, words.u8()?);
    let message_id = words.u32();
    words.u32();
    let mut row = Row {
        version: Some(version),
        exchange: Some(exchange),
        is_response: (version == 2).then_some(flags & 0x20 != 0),
        message_id,
        initiator_spi: Some(u64::from_be_bytes(initiator)),
        responder_spi: Some(u64::from_be_bytes(responder)),
        ..Row::default()
    };
    // Of version 1, a flag says that all behind the header is encrypted.
    let is_encrypted = version == 1 && flags & 0x01 != 0;
    if let Some(proposed) = association(next, version, words).filter(|_| !is_encrypted) {
        row.proposals = (!proposed.is_cut).then_some(proposed.count);
        if row.proposals == Some(0) {
            return Some(row);
        }
        row.encryption = Some(proposed.encryption);
        row.integrity = Some(proposed.integrity);
        row.prf = Some(proposed.prf);
        row.dh_groups = Some(proposed.groups);
    }
    Some(row)
}

/// What all proposals of a message name, each once.
#[derive(Debug, Default)]
struct Proposed {
    count: u8,
    /// Whether there is less than the lengths say.
    is_cut: bool,
    encryption: Vec<Cow<'static, str>>,
    integrity: Vec<Cow<'static, str>>,
    prf: Vec<Cow<'static, str>>,
    groups: Vec<u16>,
}

fn add<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// The payload that holds proposals among those that follow each other (RFC 7296 section 3.2): kind of the next, flags, length with these. Those
/// that are encrypted (46, 53) end them.
fn association(mut kind: u8, version: u8, mut words: Words<'_>) -> Option<Proposed> {
    loop {
        let is_association = matches!((version, kind), (1, 1) | (2, 33));
        let (Some(next), Some(_), Some(length)) = (words.u8(), words.u8(), words.u16()) else {
            return is_association.then(|| Proposed { is_cut: true, ..Proposed::default() });
        };
        let length = usize::from(length).checked_sub(4)?;
        let body = words.bytes(length);
        if is_association {
            let proposed = if version == 1 { proposals_of_first(body) } else { proposals_of_second(body) };
            return Some(Proposed { is_cut: proposed.is_cut || body.len() < length, ..proposed });
        }
        match kind {
            0 | 46 | 53 => return None,
            _ => kind = next,
        }
    }
}

/// What is inside of proposals and transforms alike: whether another follows, a reserved byte, length with these; then the body, as far as it is
/// there, and whether that is all of it.
fn part<'a>(words: &mut Words<'a>) -> Option<(Words<'a>, bool)> {
    words.u8()?;
    words.u8()?;
    let length = usize::from(words.u16()?).checked_sub(4)?;
    let body = words.bytes(length);
    Some((Words(body), body.len() == length))
}

impl Proposed {
    /// Reads each proposal for IKE with `transform`: of number, protocol (1 is IKE), length of the index and count of transforms; then transforms. One
    /// that is not there whole is left out: what its key is may be missing.
    fn read<'a>(mut words: Words<'a>, mut transform: impl FnMut(&mut Self, Words<'a>)) -> Self {
        let mut proposed = Self::default();
        while !words.0.is_empty() {
            let Some((mut proposal, is_whole)) = part(&mut words) else {
                proposed.is_cut = true;
                break;
            };
            proposed.is_cut |= !is_whole;
            let (_, Some(1), Some(spi), Some(_)) =
                (proposal.u8(), proposal.u8(), proposal.u8(), proposal.u8())
            else {
                continue;
            };
            proposal.bytes(spi.into());
            proposed.count = proposed.count.saturating_add(1);
            while !proposal.0.is_empty() {
                let Some((body, true)) = part(&mut proposal) else {
                    proposed.is_cut = true;
                    break;
                };
                transform(&mut proposed, body);
            }
        }
        proposed
    }
}

/// RFC 7296 section 3.3: proposals; transforms of type, identifier and attributes.
fn proposals_of_second(bytes: &[u8]) -> Proposed {
    Proposed::read(Words(bytes), |proposed, mut transform| {
        let (Some(kind), _, Some(id)) = (transform.u8(), transform.u8(), transform.u16()) else { return };
        match kind {
            1 => {
                let bits = attributes(transform.0).find(|&(kind, _)| kind == 14).map(|(_, bits)| bits);
                add(&mut proposed.encryption, named(cipher(id), id, bits));
            }
            2 => add(&mut proposed.prf, named(prf(id), id, None)),
            3 => add(&mut proposed.integrity, named(integrity(id), id, None)),
            4 => add(&mut proposed.groups, id),
            _ => {}
        }
    })
}

/// RFC 2408 section 3.4 to 3.6, RFC 2409 appendix A: domain and situation; proposals; transforms of number, identifier (1), two reserved bytes,
/// attributes.
fn proposals_of_first(bytes: &[u8]) -> Proposed {
    Proposed::read(Words(bytes.get(8..).unwrap_or_default()), |proposed, transform| {
        let attributes = attributes(transform.0.get(4..).unwrap_or_default());
        let (mut id, mut bits) = (None, None);
        for (kind, value) in attributes {
            match kind {
                1 => id = Some(value),
                2 => {
                    let name = named(hash_of_first(value), value, None);
                    add(&mut proposed.integrity, name.clone());
                    add(&mut proposed.prf, name);
                }
                4 => add(&mut proposed.groups, value),
                14 => bits = Some(value),
                _ => {}
            }
        }
        if let Some(id) = id {
            add(&mut proposed.encryption, named(cipher_of_first(id), id, bits));
        }
    })
}

/// Attributes of a fixed or a told length, RFC 7296 section 3.3.5 and RFC 2408 section 3.3: those of two bytes.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, u16)> {
    let mut words = Words(bytes);
    std::iter::from_fn(move || {
        loop {
            let (kind, value) = (words.u16()?, words.u16()?);
            if kind & 0x8000 != 0 {
                return Some((kind & 0x7fff, value));
            }
            words.bytes(value.into());
        }
    })
}

/// The name, or the number where there is none; then the bits of its key.
fn named(name: Option<&'static str>, id: u16, bits: Option<u16>) -> Cow<'static, str> {
    match (name, bits) {
        (Some(name), None) => name.into(),
        (Some(name), Some(bits)) => format!("{name}-{bits}").into(),
        (None, None) => id.to_string().into(),
        (None, Some(bits)) => format!("{id}-{bits}").into(),
    }
}

/// IANA, IKEv2 Transform Type 1.
fn cipher(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "des-iv64",
        2 => "des",
        3 => "3des",
        4 => "rc5",
        5 => "idea",
        6 => "cast",
        7 => "blowfish",
        11 => "null",
        12 => "aes-cbc",
        13 => "aes-ctr",
        14 => "aes-ccm-8",
        15 => "aes-ccm-12",
        16 => "aes-ccm-16",
        18 => "aes-gcm-8",
        19 => "aes-gcm-12",
        20 => "aes-gcm-16",
        23 => "camellia-cbc",
        28 => "chacha20-poly1305",
        _ => return None,
    })
}

/// IANA, IKEv2 Transform Type 2.
fn prf(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "md5",
        2 => "sha1",
        4 => "aes-xcbc",
        5 => "sha256",
        6 => "sha384",
        7 => "sha512",
        8 => "aes-cmac",
        _ => return None,
    })
}

/// IANA, IKEv2 Transform Type 3.
fn integrity(id: u16) -> Option<&'static str> {
    Some(match id {
        0 => "none",
        1 => "md5",
        2 => "sha1",
        5 => "aes-xcbc",
        8 => "aes-cmac",
        12 => "sha256",
        13 => "sha384",
        14 => "sha512",
        _ => return None,
    })
}

/// IANA, IKE version 1, Encryption Algorithms.
fn cipher_of_first(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "des",
        2 => "idea",
        3 => "blowfish",
        4 => "rc5",
        5 => "3des",
        6 => "cast",
        7 => "aes-cbc",
        8 => "camellia-cbc",
        _ => return None,
    })
}

/// IANA, IKE version 1, Hash Algorithms.
fn hash_of_first(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "md5",
        2 => "sha1",
        3 => "tiger",
        4 => "sha256",
        5 => "sha384",
        6 => "sha512",
        _ => return None,
    })
}
