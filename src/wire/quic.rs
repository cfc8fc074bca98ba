//! QUIC initial packets: what a client says first. Their keys follow from the packet itself (RFC 9001 section 5.2), so whoever sees it can
//! read it.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;

/// What a version needs: salt, and the labels of key, IV and header protection.
struct Version {
    salt: [u8; 20],
    labels: [&'static str; 3],
}

/// RFC 9001 sections 5.1 and 5.2; draft-ietf-quic-tls-29 to 32 differ by the salt.
const VERSION_1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
    0xbb, 0x7f, 0x0a,
];
const DRAFT_29: [u8; 20] = [
    0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43,
    0x90, 0xa8, 0x99,
];
/// RFC 9369 section 3.3.1.
const VERSION_2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9,
    0xbd, 0x2e, 0xd9,
];

impl Version {
    fn of(number: u32) -> Option<Self> {
        let old = ["quic key", "quic iv", "quic hp"];
        Some(match number {
            // Drafts 33 and 34 have the salt of version 1.
            1 | 0xff00_0021 | 0xff00_0022 => Self { salt: VERSION_1, labels: old },
            0xff00_001d..=0xff00_0020 => Self { salt: DRAFT_29, labels: old },
            0x6b33_43cf => Self { salt: VERSION_2, labels: ["quicv2 key", "quicv2 iv", "quicv2 hp"] },
            _ => return None,
        })
    }
}

/// HKDF-Expand-Label of TLS 1.3 without context, RFC 8446 section 7.1.
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &str) -> Option<[u8; N]> {
    let len = [0, N as u8, (6 + label.len()) as u8];
    let mut key = [0; N];
    secret.expand_multi_info(&[&len, b"tls13 ", label.as_bytes(), &[0]], &mut key).ok()?;
    Some(key)
}

/// A number of 1 to 8 bytes (RFC 9000 section 16), and what follows.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, _) = bytes.split_first()?;
    let (digits, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = digits.iter().fold(0, |value: u64, &byte| value << 8 | u64::from(byte));
    Some((value & (u64::MAX >> (66 - 8 * digits.len() as u32)), rest))
}

/// The bytes of the handshake from its beginning on that the first packet of a datagram holds, if that is an initial packet of a client.
pub(crate) fn client_handshake(datagram: &[u8]) -> Option<Vec<u8>> {
    let (&[first, a, b, c, d, id_len], rest) = datagram.split_first_chunk()?;
    let number_of_version = u32::from_be_bytes([a, b, c, d]);
    let version = Version::of(number_of_version)?;
    // RFC 9000 section 17.2.2, RFC 9369 section 3.2: the kind of packet.
    let initial = u8::from(number_of_version == 0x6b33_43cf);
    if first & 0xc0 != 0xc0 || first >> 4 & 3 != initial || id_len > 20 {
        return None;
    }
    let (id, rest) = rest.split_at_checked(usize::from(id_len))?;
    let (&source_len, rest) = rest.split_first()?;
    let (_, rest) = rest.split_at_checked(usize::from(source_len))?;
    let (token_len, rest) = number(rest)?;
    let (_, rest) = rest.split_at_checked(usize::try_from(token_len).ok()?)?;
    let (len, sealed) = number(rest)?;
    let sealed = sealed.get(..usize::try_from(len).ok()?).unwrap_or(sealed);

    let (_, initial) = Hkdf::<Sha256>::extract(Some(&version.salt), id);
    // The client's secret is of the length of the hash.
    let client = expand::<32>(&initial, "client in")?;
    let client = Hkdf::<Sha256>::from_prk(&client).ok()?;
    let [key, iv, protection] = version.labels;
    let (key, iv) = (expand::<16>(&client, key)?, expand::<12>(&client, iv)?);
    let protection = Aes128::new(&expand::<16>(&client, protection)?.into());

    // RFC 9001 section 5.4: the length of the packet number, and the number itself, are masked.
    let sample: [u8; 16] = sealed.get(4..20)?.try_into().ok()?;
    let mut mask = sample.into();
    protection.encrypt_block(&mut mask);
    let number_len = usize::from((first ^ mask.first()? & 0x0f) & 3) + 1;
    let mut packet_number = 0_u32;
    for (byte, mask) in sealed.iter().zip(mask.iter().skip(1)).take(number_len) {
        packet_number = packet_number << 8 | u32::from(byte ^ mask);
    }
    // RFC 9001 section 5.3: AES-GCM, of which the tag is not checked; its counter begins with 2 (NIST SP 800-38D section 7.2).
    let sealed = sealed.get(number_len..)?;
    let mut plain = sealed.get(..sealed.len().checked_sub(16)?)?.to_vec();
    let cipher = Aes128::new(&key.into());
    let mut counter = [0; 16];
    for (to, from) in counter.iter_mut().zip(iv) {
        *to = from;
    }
    for (to, from) in counter.iter_mut().skip(8).zip(packet_number.to_be_bytes()) {
        *to ^= from;
    }
    for (block, part) in (2_u32..).zip(plain.chunks_mut(16)) {
        for (to, from) in counter.iter_mut().skip(12).zip(block.to_be_bytes()) {
            *to = from;
        }
        let mut stream = counter.into();
        cipher.encrypt_block(&mut stream);
        for (byte, mask) in part.iter_mut().zip(stream) {
            *byte ^= mask;
        }
    }
    crypto(&plain)
}

/// The bytes that CRYPTO frames hold (RFC 9000 section 19.6), from the first one on and without gaps; clients may send them in any order.
fn crypto(mut frames: &[u8]) -> Option<Vec<u8>> {
    let mut parts = Vec::new();
    while let Some((kind, rest)) = number(frames) {
        frames = match kind {
            // Padding and pings.
            0 | 1 => rest,
            6 => {
                let (offset, rest) = number(rest)?;
                let (len, rest) = number(rest)?;
                let (part, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
                parts.push((offset, part));
                rest
            }
            // Acknowledgments are not the first thing that a client says, and others may not be here.
            _ => break,
        };
    }
    parts.sort_by_key(|&(offset, _)| offset);
    let mut whole = Vec::new();
    for (offset, part) in parts {
        let known = (whole.len() as u64).checked_sub(offset);
        let Some(new) = known.and_then(|known| part.get(usize::try_from(known).ok()?..)) else { continue };
        whole.extend_from_slice(new);
    }
    (!whole.is_empty()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 9001 appendix A.1: keys of the connection 8394c8f03e515708.
    #[test]
    fn keys_are_those_of_the_standard() {
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&VERSION_1), &hex("8394c8f03e515708"));
        let client = expand::<32>(&initial, "client in").unwrap();
        assert_eq!(client.to_vec(), hex("c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea"));
        let client = Hkdf::<Sha256>::from_prk(&client).unwrap();
        assert_eq!(
            expand::<16>(&client, "quic key").unwrap().to_vec(),
            hex("1f369613dd76d5467730efcbe3b1a22d")
        );
        assert_eq!(expand::<12>(&client, "quic iv").unwrap().to_vec(), hex("fa044b2f42a3fd3b46fb255c"));
        assert_eq!(
            expand::<16>(&client, "quic hp").unwrap().to_vec(),
            hex("9f50449e04a0e810283a1e9933adedd2")
        );
    }

    /// RFC 9000 appendix A.1.
    #[test]
    fn numbers_are_those_of_the_standard() {
        assert_eq!(number(&hex("c2197c5eff14e88c")), Some((151_288_809_941_952_652, &[][..])));
        assert_eq!(number(&hex("9d7f3e7d00")), Some((494_878_333, &[0][..])));
        assert_eq!(number(&hex("7bbd")), Some((15_293, &[][..])));
        assert_eq!(number(&[0x25]), Some((37, &[][..])));
        assert_eq!(number(&[0xc2, 0]), None);
    }

    #[test]
    fn parts_in_any_order_and_a_gap() {
        let frames =
            [&[6, 3, 2, b'd', b'e', 1, 0, 0][..], &[6, 0, 4, b'a', b'b', b'c', b'd'], &[6, 9, 1, b'x']]
                .concat();
        assert_eq!(crypto(&frames).unwrap(), b"abcde");
        assert_eq!(crypto(&[6, 5, 1, b'x']), None);
        assert_eq!(crypto(&[6, 0, 9, b'x']), None);
    }

    #[test]
    fn nothing_makes_it_panic() {
        let packet = hex("c300000001088394c8f03e5157080000449e00000002");
        for len in 0..packet.len() {
            assert_eq!(client_handshake(&packet[..len]), None);
        }
        for kind in 0..=255 {
            let mut long = packet.clone();
            long.resize(1200, kind);
            long[5] = kind;
            client_handshake(&long);
        }
    }
}
