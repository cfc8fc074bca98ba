//! Skinny Client Control Protocol of Cisco: phones and their call manager over TCP. Cisco has published no specification: layouts are as Wireshark's
//! dissector and phones in captures have them.
//!
//! A message is a length (of what follows the next field), the version of the header, a kind, and fields; numbers are little-endian. Headers of
//! version 0 are of the first phones; from 17 on, addresses have a family before them and 16 bytes.

use std::net::Ipv4Addr;

use super::ip::Addr;

/// The longest message that is one.
const MAX_LEN: usize = 4096;

/// What a message says of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skinny {
    /// Kind of message.
    pub kind: u32,
    /// Call reference: who manages calls has given it.
    pub reference: Option<u32>,
    /// Conference that media belong to.
    pub conference: Option<u32>,
    /// New state of a call: 1 off hook, 2 on hook, 3 rings there, 4 rings here, 5 connected, 6 busy, 7 congestion, 8 hold, 12 proceeding, 14 no such number.
    pub state: Option<u32>,
    /// Whether the phone is called (1), calls (2), or is called by what was forwarded (3).
    pub call_type: Option<u32>,
    /// Number calling.
    pub calling: Option<String>,
    /// Number called.
    pub called: Option<String>,
    /// Number called at first.
    pub original_called: Option<String>,
    /// Number that redirected the call last.
    pub redirecting: Option<String>,
    /// Where to send, or where the phone receives.
    pub endpoint: Option<(Addr, u16)>,
    /// How media are encoded: Cisco's own number.
    pub codec: Option<u32>,
}

/// Phone → manager: a channel is open, and where.
pub const OPEN_RECEIVE_CHANNEL_ACK: u32 = 0x22;
/// Manager → phone: send media there.
pub const START_MEDIA_TRANSMISSION: u32 = 0x8a;
/// Manager → phone: send no more.
pub const STOP_MEDIA_TRANSMISSION: u32 = 0x8b;
/// Manager → phone: who calls whom.
pub const CALL_INFO: u32 = 0x8f;
/// Manager → phone: open a channel to receive media.
pub const OPEN_RECEIVE_CHANNEL: u32 = 0x105;
/// Manager → phone: close it.
pub const CLOSE_RECEIVE_CHANNEL: u32 = 0x106;
/// Manager → phone: what becomes of a call.
pub const CALL_STATE: u32 = 0x111;
/// Manager → phone: what was dialled.
pub const DIALED_NUMBER: u32 = 0x11d;
/// Manager → phone: who calls whom, with texts of any length.
pub const CALL_INFO_V2: u32 = 0x14a;
/// Phone → manager: media are sent.
pub const START_MEDIA_TRANSMISSION_ACK: u32 = 0x154;

/// How long the message is that begins here; none if none does.
pub fn message_len(bytes: &[u8]) -> Option<usize> {
    let word = |at: usize| le32(bytes, at);
    let (len, version, kind) = (word(0)? as usize, word(4)?, word(8)?);
    let is_one = (4..=MAX_LEN).contains(&len) && version <= 0x20 && matches!(kind, 0..0x200 | 0x8000..0x8200);
    is_one.then(|| len.saturating_add(8))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*word))
}

/// Fields one after the other.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn word(&mut self) -> Option<u32> {
        let word = le32(self.bytes, self.at)?;
        self.skip(4);
        Some(word)
    }

    fn skip(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
    }

    /// Text of a fixed width, or up to the byte that ends it.
    fn text(&mut self, width: Option<usize>) -> Option<&'a str> {
        let rest = self.bytes.get(self.at..)?;
        let rest = width.map_or(Some(rest), |width| rest.get(..width))?;
        let end = rest.iter().position(|&byte| byte == 0);
        // Without its end it was cut.
        let len = end.or(width)?;
        self.skip(width.unwrap_or_else(|| len.saturating_add(1)));
        std::str::from_utf8(rest.get(..len)?).ok()
    }

    fn number(&mut self, width: Option<usize>) -> Option<String> {
        let text = self.text(width)?;
        let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'*' | b'#');
        (!text.is_empty() && text.len() <= 32 && text.bytes().all(is_number)).then(|| text.to_owned())
    }

    /// Of version 17 on with a family before it: 0 is IPv4, 1 IPv6.
    fn addr(&mut self, version: u32) -> Option<Addr> {
        if version < 17 {
            let octets = *self.bytes.get(self.at..)?.first_chunk::<4>()?;
            self.skip(4);
            return Some(Ipv4Addr::from(octets).to_ipv6_mapped().octets());
        }
        let family = self.word()?;
        let octets = *self.bytes.get(self.at..)?.first_chunk::<16>()?;
        self.skip(16);
        let [a, b, c, d, ..] = octets;
        match family {
            0 => Some(Ipv4Addr::new(a, b, c, d).to_ipv6_mapped().octets()),
            1 => Some(octets),
            _ => None,
        }
    }

    fn endpoint(&mut self, version: u32) -> Option<(Addr, u16)> {
        let addr = self.addr(version);
        let port = self.word()?;
        Some((addr?, u16::try_from(port).ok()?))
    }
}

impl Skinny {
    /// The message that begins here, as far as it is there.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let len = message_len(bytes)?;
        let bytes = bytes.get(..len.min(bytes.len()))?;
        let version = le32(bytes, 4)?;
        let mut message = Self { kind: le32(bytes, 8)?, ..Self::default() };
        message.read(Fields { bytes, at: 12 }, version);
        Some(message)
    }

    /// Reads the fields; those that are not there stay out.
    fn read(&mut self, mut fields: Fields<'_>, version: u32) -> Option<()> {
        match self.kind {
            CALL_STATE => {
                self.state = fields.word();
                fields.skip(4);
                self.reference = fields.word();
            }
            CALL_INFO => {
                fields.skip(40);
                self.calling = fields.number(Some(24));
                fields.at = 12 + 64 + 40;
                self.called = fields.number(Some(24));
                fields.at = 12 + 128 + 4;
                self.reference = fields.word();
                self.call_type = fields.word();
                fields.skip(40);
                self.original_called = fields.number(Some(24));
                fields.at = 12 + 140 + 64 + 40;
                self.redirecting = fields.number(Some(24));
            }
            CALL_INFO_V2 => {
                fields.skip(4);
                self.reference = fields.word();
                self.call_type = fields.word();
                fields.skip(20);
                self.calling = fields.number(None);
                // The calling number in another form.
                fields.text(None);
                self.called = fields.number(None);
                self.original_called = fields.number(None);
                self.redirecting = fields.number(None);
            }
            DIALED_NUMBER => {
                // The number has as many bytes as are left before line and reference.
                let width =
                    fields.bytes.len().checked_sub(12 + 8).filter(|width| (24..=64).contains(width))?;
                self.called = fields.number(Some(width.min(25)));
                fields.at = 12_usize.saturating_add(width);
                fields.skip(4);
                self.reference = fields.word();
            }
            OPEN_RECEIVE_CHANNEL => {
                self.conference = fields.word();
                // Party; milliseconds in a packet.
                fields.skip(8);
                self.codec = fields.word();
                // Cancelling of echo; bit rate, or parameters of the codec.
                fields.skip(8);
                self.reference = fields.word();
            }
            OPEN_RECEIVE_CHANNEL_ACK => {
                let is_open = fields.word()? == 0;
                self.endpoint = fields.endpoint(version).filter(|_| is_open);
                // Party.
                fields.skip(4);
                self.reference = fields.word();
            }
            START_MEDIA_TRANSMISSION => {
                self.conference = fields.word();
                // Party.
                fields.skip(4);
                self.endpoint = fields.endpoint(version);
                fields.skip(4);
                self.codec = fields.word();
                // Precedence; silence; frames in a packet; bit rate, or parameters of the codec.
                fields.skip(16);
                self.reference = fields.word();
            }
            STOP_MEDIA_TRANSMISSION | CLOSE_RECEIVE_CHANNEL | START_MEDIA_TRANSMISSION_ACK => {
                self.conference = fields.word();
                // Party.
                fields.skip(4);
                self.reference = fields.word();
            }
            _ => {}
        }
        Some(())
    }
}

/// The payload type and encoding of RFC 3551 that a codec of Cisco's has.
pub fn encoding(codec: u32) -> Option<(u8, &'static str)> {
    Some(match codec {
        2 | 3 => (8, "PCMA/8000"),
        4 | 5 => (0, "PCMU/8000"),
        6..=8 => (9, "G722/8000"),
        9 => (4, "G723/8000"),
        10 => (15, "G728/8000"),
        11 | 12 | 15 | 16 => (18, "G729/8000"),
        18 => (3, "GSM/8000"),
        _ => return None,
    })
}

/// The name of a kind of message.
pub fn name(kind: u32) -> Option<&'static str> {
    Some(match kind {
        OPEN_RECEIVE_CHANNEL_ACK => "OpenReceiveChannelAck",
        START_MEDIA_TRANSMISSION => "StartMediaTransmission",
        STOP_MEDIA_TRANSMISSION => "StopMediaTransmission",
        CALL_INFO => "CallInfo",
        OPEN_RECEIVE_CHANNEL => "OpenReceiveChannel",
        CLOSE_RECEIVE_CHANNEL => "CloseReceiveChannel",
        CALL_STATE => "CallState",
        DIALED_NUMBER => "DialedNumber",
        CALL_INFO_V2 => "CallInfoV2",
        START_MEDIA_TRANSMISSION_ACK => "StartMediaTransmissionAck",
        _ => return None,
    })
}

/// The name of a state of a call.
pub fn state_name(state: u32) -> Option<&'static str> {
    Some(match state {
        1 => "OffHook",
        2 => "OnHook",
        3 => "RingOut",
        4 => "RingIn",
        5 => "Connected",
        6 => "Busy",
        7 => "Congestion",
        8 => "Hold",
        9 => "CallWaiting",
        10 => "CallTransfer",
        11 => "CallPark",
        12 => "Proceed",
        13 => "CallRemoteMultiline",
        14 => "InvalidNumber",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(version: u32, kind: u32, words: &[u32], more: &[u8]) -> Vec<u8> {
        let len = (4 + 4 * words.len() + more.len()) as u32;
        let words = [len, version, kind].into_iter().chain(words.iter().copied());
        words.flat_map(u32::to_le_bytes).chain(more.iter().copied()).collect()
    }

    fn fixed(text: &str, width: usize) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(width, 0);
        bytes
    }

    #[test]
    fn who_calls_whom_in_both_kinds() {
        let old = [
            fixed("Alice", 40),
            fixed("321", 24),
            fixed("Bob", 40),
            fixed("307", 24),
            vec![1, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0],
            fixed("Carol", 40),
            fixed("300", 24),
            fixed("", 40),
            fixed("", 24),
        ]
        .concat();
        let old = Skinny::parse(&message(0, CALL_INFO, &[], &old)).unwrap();
        let new = message(
            20,
            CALL_INFO_V2,
            &[1, 9, 2, 0, 0, 1, 0, 0],
            b"321\0\x00307\x00300\0\0\0\0\0\0Alice\0Bob\0\0\0",
        );
        let new = Skinny::parse(&new).unwrap();
        for info in [&old, &new] {
            assert_eq!((info.reference, info.call_type), (Some(9), Some(2)));
            let numbers = [&info.calling, &info.called, &info.original_called, &info.redirecting];
            assert_eq!(
                numbers.map(|number| number.as_deref()),
                [Some("321"), Some("307"), Some("300"), None]
            );
        }
    }

    #[test]
    fn where_media_go() {
        let endpoint = |octets: [u8; 4]| Ipv4Addr::from(octets).to_ipv6_mapped().octets();
        // Headers of version 0: four bytes of address; of version 20: family and sixteen.
        let old = message(0, OPEN_RECEIVE_CHANNEL_ACK, &[0, 0x0100_000a, 17_718, 77, 9], &[]);
        let new = message(20, OPEN_RECEIVE_CHANNEL_ACK, &[0, 0, 0x0100_000a, 0, 0, 0, 17_718, 77, 9], &[]);
        for bytes in [old, new] {
            let ack = Skinny::parse(&bytes).unwrap();
            assert_eq!((ack.endpoint, ack.reference), (Some((endpoint([10, 0, 0, 1]), 17_718)), Some(9)));
        }
        let refused = message(0, OPEN_RECEIVE_CHANNEL_ACK, &[1, 0, 0, 77, 9], &[]);
        assert_eq!(Skinny::parse(&refused).unwrap().endpoint, None);
        let start =
            message(0, START_MEDIA_TRANSMISSION, &[5, 77, 0x0200_000a, 4000, 20, 4, 0, 0, 0, 0, 9], &[]);
        let start = Skinny::parse(&start).unwrap();
        assert_eq!((start.endpoint, start.codec), (Some((endpoint([10, 0, 0, 2]), 4000)), Some(4)));
        assert_eq!((start.conference, start.reference), (Some(5), Some(9)));
        assert_eq!(encoding(4), Some((0, "PCMU/8000")));
    }

    #[test]
    fn how_long_a_message_is() {
        // The length is of what follows the version: at least the kind, at most 4,096 bytes.
        for (len, expected) in
            [(3, None), (4, Some(12)), (2001, Some(2009)), (4096, Some(4104)), (4097, None)]
        {
            let bytes = [len, 0, CALL_STATE].map(u32::to_le_bytes).concat();
            assert_eq!(message_len(&bytes), expected);
        }
        assert_eq!((name(CALL_STATE), name(0)), (Some("CallState"), None));
        assert_eq!((state_name(5), state_name(0)), (Some("Connected"), None));
    }

    #[test]
    fn cut_anywhere_nothing_is_invented() {
        let whole = message(20, CALL_INFO_V2, &[1, 9, 2, 0, 0, 1, 0, 0], b"321\0\x00307\x00300\0\0");
        let info = Skinny::parse(&whole).unwrap();
        for end in 0..whole.len() {
            let Some(part) = Skinny::parse(&whole[..end]) else { continue };
            assert!(part.called.is_none() || part.called == info.called);
            assert!(part.calling.is_none() || part.calling == info.calling);
        }
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                _ = Skinny::parse(&bytes);
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400), version in 0_u32..30) {
            _ = Skinny::parse(&bytes);
            let kinds = [
                OPEN_RECEIVE_CHANNEL_ACK, START_MEDIA_TRANSMISSION, STOP_MEDIA_TRANSMISSION, CALL_INFO, OPEN_RECEIVE_CHANNEL,
                CLOSE_RECEIVE_CHANNEL, CALL_STATE, DIALED_NUMBER, CALL_INFO_V2, START_MEDIA_TRANSMISSION_ACK,
            ];
            for kind in kinds {
                _ = Skinny::parse(&message(version, kind, &[], &bytes));
            }
        }
    }
}
