//! What TLS (RFC 8446), DTLS (RFC 9147) and QUIC (RFC 9000) say before they encrypt.

use std::borrow::Cow;

use super::columns::{Text, Texts, U8, U16, U32, table};
use super::{Frame, Table};
use crate::classify::{App, Basis};
use crate::wire::quic;

table! {
    /// Hellos of TLS and DTLS, and QUIC packets with a long header, the first of each datagram; of a client's first one the hello, as far as
    /// that packet holds it.
    Tls, Row {
        /// `tls`, `dtls` or `quic`.
        protocol: Text,
        /// Kind of handshake message: 1 client hello, 2 server hello.
        handshake: U8,
        /// Highest version that a client offers, or the version that a server chose (0x0304 is TLS 1.3); null if the hello is cut off before
        /// it says so.
        version: U16,
        /// Name of the server that a client asks for, RFC 6066 section 3; here and below, null if the hello is cut off before its end.
        sni: Text,
        /// Application protocols that are offered or chosen, RFC 7301.
        alpn: Texts,
        /// Cipher suites that a client offers.
        cipher_suites: U16,
        /// Cipher suite that a server chose.
        cipher_suite: U16,
        /// Version of QUIC; 0 is version negotiation.
        quic_version: U32,
        /// Kind of QUIC packet (RFC 9000 section 17.2): 0 initial, 1 0-RTT, 2 handshake, 3 retry.
        quic_type: U8,
    }
}

impl Table for Tls {
    fn read(&mut self, frame: &Frame<'_>) {
        if frame.label.basis != Some(Basis::Signature) {
            return;
        }
        let payload = frame.layers.payload;
        let handshake;
        let row = match (frame.label.app, payload) {
            (Some(App::Quic), &[first, a, b, c, d, ..]) if first & 0x80 != 0 => {
                handshake = quic::client_handshake(payload).unwrap_or_default();
                let said = match *handshake {
                    [kind, a, b, c, ref body @ ..] => hello(kind, [a, b, c], body, false),
                    _ => None,
                };
                Some(Row {
                    protocol: Some("quic".into()),
                    quic_version: Some(u32::from_be_bytes([a, b, c, d])),
                    quic_type: quic_type(u32::from_be_bytes([a, b, c, d]), first >> 4 & 3),
                    ..said.unwrap_or_default()
                })
            }
            // A record of an epoch that is not encrypted (RFC 6347 section 4.1), a handshake that is not in fragments (section
            // 4.2.2).
            (
                Some(App::Dtls),
                &[22, 254, _, 0, 0, _, _, _, _, _, _, _, _, kind, a, b, c, _, _, 0, 0, 0, ref rest @ ..],
            ) => rest.get(3..).and_then(|body| hello(kind, [a, b, c], body, true)),
            (_, &[22, 3, _, hi, lo, kind, a, b, c, ref body @ ..]) => {
                // In one record: what is longer, or shorter than any hello, is encrypted, or in fragments.
                let record_len = u32::from(u16::from_be_bytes([hi, lo]));
                let fits = u32::from_be_bytes([0, a, b, c]) + 4 <= record_len;
                if fits { hello(kind, [a, b, c], body, false) } else { None }
            }
            _ => None,
        };
        if let Some(row) = row {
            self.push(frame, row);
        }
    }
}

/// Kind of packet in the numbers of version 1 (RFC 9000 section 17.2), which its drafts from 17 on share; version 2 has
/// other ones (RFC 9369 section 3.2), and so may those that are not known.
fn quic_type(version: u32, bits: u8) -> Option<u8> {
    match version {
        1 | 0xff00_0011..=0xff00_0022 => Some(bits),
        0x6b33_43cf => Some(bits.wrapping_sub(1) & 3),
        _ => None,
    }
}

/// Splits off what a length of `size` bytes precedes, if all of it is there.
fn counted(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(size)?;
    let length = length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
    rest.split_at_checked(length)
}

/// A client or server hello, RFC 8446 section 4.1.2 and 4.1.3.
fn hello(kind: u8, len: [u8; 3], body: &[u8], is_dtls: bool) -> Option<Row<'_>> {
    let [a, b, c] = len;
    let whole = body.get(..u32::from_be_bytes([0, a, b, c]) as usize);
    let (body, is_whole) = (whole.unwrap_or(body), whole.is_some());
    let major = if is_dtls { 254 } else { 3 };
    if !matches!(kind, 1 | 2) || body.first().is_some_and(|&first| first != major) {
        return None;
    }
    let mut row = Row {
        protocol: Some(if is_dtls { "dtls" } else { "tls" }.into()),
        handshake: Some(kind),
        ..Row::default()
    };
    let has_ended = read(&mut row, kind == 1, (body, is_whole), is_dtls).is_some();
    let first = body.first_chunk().map(|&version| u16::from_be_bytes(version));
    // The version in front is that of TLS 1.2 in all that came later (RFC 8446 section 4.1.2 and 4.1.3, RFC 9147 section 5.3 and 5.4): then an
    // extension tells, and where it is missing, that is only known at the end of them all.
    let is_open = matches!(first, Some(0x0303 | 0xfefd)) && !has_ended;
    row.version = row.version.or(first.filter(|_| !is_open));
    Some(row)
}

/// What is behind the first version; none if it is not there up to its end.
fn read<'a>(
    row: &mut Row<'a>,
    is_client: bool,
    (body, is_whole): (&'a [u8], bool),
    is_dtls: bool,
) -> Option<()> {
    // Version, random; then the session.
    let (_, mut rest) = counted(body.get(34..)?, 1)?;
    if is_client {
        if is_dtls {
            (_, rest) = counted(rest, 1)?;
        }
        let (suites, behind) = counted(rest, 2)?;
        row.cipher_suites = u16::try_from(suites.len() / 2).ok();
        (_, rest) = counted(behind, 1)?;
    } else {
        let (&suite, behind) = rest.split_first_chunk()?;
        row.cipher_suite = Some(u16::from_be_bytes(suite));
        rest = behind.get(1..)?;
    }
    if rest.is_empty() && is_whole {
        return Some(());
    }
    let (&length, rest) = rest.split_first_chunk()?;
    let all = rest.get(..u16::from_be_bytes(length).into());
    let mut extensions = all.unwrap_or(rest);
    while let Some((&kind, behind)) = extensions.split_first_chunk() {
        let (data, next) = counted(behind, 2)?;
        match u16::from_be_bytes(kind) {
            // Names of the server: a list, of which only host names (type 0) exist.
            0 if is_client => {
                let names = data.get(2..).unwrap_or_default();
                if let Some((&[0, ..], name)) = names.split_first_chunk::<1>() {
                    row.sni = counted(name, 2).map(|(name, _)| String::from_utf8_lossy(name));
                }
            }
            16 => row.alpn = Some(protocols(data)),
            // Supported versions: greased ones (RFC 8701) are none.
            43 if is_client => {
                let (versions, _) = data.get(1..)?.as_chunks::<2>();
                let versions =
                    versions.iter().copied().map(u16::from_be_bytes).filter(|&version| !is_greased(version));
                // DTLS counts downwards; drafts of version 1.3 are below it.
                let rank = |&version: &u16| {
                    if is_dtls {
                        !version
                    } else if version >> 8 == 3 {
                        version
                    } else {
                        0
                    }
                };
                row.version = versions.max_by_key(rank);
            }
            43 => row.version = Some(u16::from_be_bytes(*data.first_chunk()?)),
            _ => {}
        }
        extensions = next;
    }
    (extensions.is_empty() && all.is_some()).then_some(())
}

/// Values that stand for nothing, so that servers learn to ignore what they do not know: 0x0A0A, 0x1A1A, ... (RFC 8701).
fn is_greased(version: u16) -> bool {
    version & 0x0f0f == 0x0a0a && version >> 8 == version & 0xff
}

fn protocols(data: &[u8]) -> Vec<Cow<'_, str>> {
    let mut rest = data.get(2..).unwrap_or_default();
    let mut names = Vec::new();
    while let Some((name, behind)) = counted(rest, 1) {
        names.push(String::from_utf8_lossy(name));
        rest = behind;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::hello;

    /// A client hello with an extension of supported versions, RFC 8446 section 4.1.2 and 4.2.1.
    fn client_hello(versions: &[u8]) -> Vec<u8> {
        let len = versions.len() as u8;
        let random_to_compression = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
        [&random_to_compression[..], &[0, 5 + len, 0, 43, 0, 1 + len, len], versions].concat()
    }

    #[test]
    fn the_highest_version_that_is_one() {
        for (offered, version) in
            [(&[0x5a, 0x5a, 3, 3, 3, 2][..], 0x0303), (&[0x7f, 0x1c, 3, 4], 0x0304), (&[0x8a, 0x8a], 0x0303)]
        {
            let body = client_hello(offered);
            let row = hello(1, [0, 0, body.len() as u8], &body, false).unwrap();
            assert_eq!((row.version, row.cipher_suites), (Some(version), Some(1)));
        }
    }

    /// A server hello of TLS 1.3 whose key share comes first, RFC 8446 section 4.1.3 and 4.2.8: however much is there, it is never said to be of
    /// TLS 1.2; and one without extensions is as soon as it has ended.
    #[test]
    fn what_is_cut_off_has_no_version() {
        let front = [&[3, 3][..], &[7; 32], &[0, 0x13, 1, 0]].concat();
        let extensions = [&[0, 46, 0, 51, 0, 36, 0, 29, 0, 32][..], &[9; 32], &[0, 43, 0, 2, 3, 4]].concat();
        let body = [&front[..], &extensions].concat();
        for there in 0..=body.len() {
            let row = hello(2, [0, 0, body.len() as u8], &body[..there], false).unwrap();
            assert_eq!(row.version, (there == body.len()).then_some(0x0304), "{there}");
        }
        for there in 0..=front.len() {
            let row = hello(2, [0, 0, front.len() as u8], &front[..there], false).unwrap();
            assert_eq!(row.version, (there == front.len()).then_some(0x0303), "{there}");
        }
        // No server that knows a later version says 1.1 in front.
        let earlier = [&[3, 2][..], &front[2..]].concat();
        let row = hello(2, [0, 0, 200], &earlier, false).unwrap();
        assert_eq!((row.version, row.cipher_suite), (Some(0x0302), Some(0x1301)));
    }
}
