//! What SSH (RFC 4253) says before it encrypts: who speaks which version, and by what algorithms keys may be agreed.

use std::borrow::Cow;

use super::columns::{Text, Texts, U16, table};
use super::words::Words;
use super::{Frame, Table};
use crate::classify::App;
use crate::dissect::Transport;

table! {
    /// SSH identification strings, lists of algorithms, and groups for the key exchange, as far as the segment holds them in which they
    /// begin.
    Ssh, Row {
        /// `identification` (RFC 4253 section 4.2), `key-exchange`: the lists of algorithms (section 7.1), or `group`: what a server
        /// chose for a group exchange (RFC 4419 section 3).
        message: Text,
        /// Version of the protocol: `2.0`; `1.99` of a server that speaks version 1 too (section 5.1); `1.5` or the like.
        version: Text,
        /// Name and version of the software.
        software: Text,
        /// Methods of key exchange, the preferred one first; a marker such as `ext-info-c` (RFC 8308) may be among them.
        key_exchanges: Texts,
        /// Algorithms of the server's key.
        host_keys: Texts,
        /// Ciphers from client to server.
        ciphers_to_server: Texts,
        /// Ciphers from server to client.
        ciphers_to_client: Texts,
        /// Length of a chosen group's prime in bits.
        group_bits: U16,
    }
}

/// Longest packet that everybody has to take, RFC 4253 section 6.1.
const LONGEST: u32 = 35_000;

impl Table for Ssh {
    fn read(&mut self, frame: &Frame<'_>) {
        let (Some(App::Ssh), Transport::Tcp(_)) = (frame.label.app, frame.layers.transport) else { return };
        let mut rest = frame.layers.payload;
        if let Some((row, behind)) = identification(rest) {
            self.push(frame, row);
            rest = behind;
        }
        while let Some((message, behind)) = packet(rest) {
            if let Some(row) = algorithms(message).or_else(|| group(message)) {
                self.push(frame, row);
            }
            rest = behind;
        }
    }
}

/// RFC 4253 section 4.2: `SSH-`, version, `-`, software, perhaps a space and comments, the end of the line.
fn identification(bytes: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let text = bytes.strip_prefix(b"SSH-")?;
    let end = text.iter().position(|&byte| byte == b'\n');
    let (line, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    let at = line.iter().position(|&byte| byte == b'-')?;
    let (version, software) = line.split_at_checked(at)?;
    let software = software.get(1..)?.split(|byte| matches!(byte, b' ' | b'\r')).next()?;
    let row = Row {
        message: Some("identification".into()),
        version: Some(String::from_utf8_lossy(version)),
        software: Some(String::from_utf8_lossy(software)),
        ..Row::default()
    };
    Some((row, rest.get(1..).unwrap_or_default()))
}

/// Section 6: length, length of the padding; then the message, as far as it is there. The length of an encrypted packet is seldom that
/// of any.
fn packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = Words(bytes);
    let length = words.u32().filter(|&length| (12..=LONGEST).contains(&length) && length % 8 == 4)?;
    let padding = words.u8().filter(|&padding| padding >= 4)?;
    let len = (length as usize).checked_sub(1 + usize::from(padding))?;
    let message = words.bytes(len);
    words.bytes(padding.into());
    Some((message, words.0))
}

/// A list of names, section 5 of RFC 4251; none if it is not there whole, or holds what no name has (section 6).
fn names<'a>(words: &mut Words<'a>) -> Option<Vec<Cow<'a, str>>> {
    let length = words.u32()? as usize;
    let list = words.bytes(length);
    let text =
        std::str::from_utf8(list).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))?;
    let is_whole = list.len() == length;
    is_whole.then(|| text.split(',').filter(|name| !name.is_empty()).map(Cow::from).collect())
}

/// `SSH_MSG_KEXINIT`, RFC 4253 section 7.1: 20, a cookie, lists of names. The first list has to be there at least in part.
fn algorithms(message: &[u8]) -> Option<Row<'_>> {
    let mut words = Words(message);
    (words.u8()? == 20).then_some(())?;
    words.array::<16>()?;
    let mut row = Row { message: Some("key-exchange".into()), ..Row::default() };
    let first = Words(words.0).u32().filter(|&length| length < LONGEST)?;
    let begin = words.0.get(4..).map(|list| list.get(..first as usize).unwrap_or(list))?;
    begin.iter().all(u8::is_ascii_graphic).then_some(())?;
    row.key_exchanges = names(&mut words);
    row.host_keys = names(&mut words);
    row.ciphers_to_server = names(&mut words);
    row.ciphers_to_client = names(&mut words);
    Some(row)
}

/// `SSH_MSG_KEX_DH_GEX_GROUP`, RFC 4419 section 3: 31, a prime, a generator, and nothing else, which tells it from other messages of that
/// number.
fn group(message: &[u8]) -> Option<Row<'_>> {
    let mut words = Words(message);
    (words.u8()? == 31).then_some(())?;
    let mut number = || {
        let length = words.u32()? as usize;
        Some(words.bytes(length)).filter(|number| number.len() == length && !number.is_empty())
    };
    let (prime, _) = (number()?, number()?);
    let zeros = prime.iter().take_while(|&&byte| byte == 0).count();
    let prime = prime.get(zeros..)?;
    let bits = (prime.len() * 8).checked_sub(prime.first()?.leading_zeros() as usize)?;
    let is_odd = prime.last().is_some_and(|last| last & 1 == 1);
    (words.0.is_empty() && is_odd).then(|| Row {
        message: Some("group".into()),
        group_bits: u16::try_from(bits).ok(),
        ..Row::default()
    })
}
