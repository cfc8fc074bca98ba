//! rpcap: frames that a remote capture daemon sends to whoever asked for them.

/// Length of the header before a frame: an rpcap header of 8 bytes and a packet header of 20.
pub const LEN: usize = 28;

/// Whether a packet message begins here: version 0, type 7, and lengths that agree.
#[inline]
pub fn is_packet(bytes: &[u8]) -> bool {
    let number =
        |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|&word| u32::from_be_bytes(word));
    let agrees = || {
        let (len, cap_len, wire_len) = (number(4)?, number(16)?, number(20)?);
        Some(len == cap_len.checked_add(20)? && cap_len <= wire_len && (14..=0x4_0000).contains(&wire_len))
    };
    matches!(bytes, [0, 7, 0, 0, ..]) && agrees() == Some(true)
}
