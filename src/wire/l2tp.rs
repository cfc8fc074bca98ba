//! L2TP versions 2 (RFC 2661) and 3 (RFC 3931).

/// The header of an L2TPv2 data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// Tunnel (high 16 bits) and session (low 16 bits).
    pub id: u32,
    /// Length of the header, offset included.
    pub len: usize,
}

/// What an L2TP packet over UDP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Control, or a version that is not known.
    Other,
    /// A version 2 data message: PPP follows.
    Data2(Data),
    /// A version 3 data message over UDP: what follows its session is not told by the packet (RFC 3931 section 4.1.2.1).
    Data3 {
        /// Session.
        session: u32,
    },
}

/// Reads the header that begins here, RFC 2661 section 3.1; `None` if too few bytes are there.
pub fn read(bytes: &[u8]) -> Option<Kind> {
    let number =
        |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|&pair| u16::from_be_bytes(pair));
    let flags = number(0)?;
    if flags & 0x8000 != 0 {
        return Some(Kind::Other);
    }
    match flags & 0x0f {
        2 => {
            let mut at = if flags & 0x4000 == 0 { 2 } else { 4 };
            let id = u32::from(number(at)?) << 16 | u32::from(number(at + 2)?);
            at += if flags & 0x0800 == 0 { 4 } else { 8 };
            if flags & 0x0200 != 0 {
                at += 2 + usize::from(number(at)?);
            }
            Some(Kind::Data2(Data { id, len: at }))
        }
        3 => {
            let session = u32::from(number(4)?) << 16 | u32::from(number(6)?);
            Some(Kind::Data3 { session })
        }
        _ => Some(Kind::Other),
    }
}

/// Offsets behind a version 3 session at which what it carries may begin: cookies of 0, 4 or 8 bytes (RFC 3931 section
/// 4.1), each without and with the default sublayer of 4 bytes (section 4.6).
pub const V3_OFFSETS: [usize; 4] = [0, 4, 8, 12];
