//! Teredo, RFC 4380: IPv6 over UDP.

/// Length of the authentication and origin indications before the IPv6 packet, RFC 4380 section 5.1.1.
pub fn indications_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    if let Some(&[0, 1, client, value]) = bytes.first_chunk() {
        // Client identification, authentication value, nonce (8 bytes), confirmation (1 byte).
        len = 4 + usize::from(client) + usize::from(value) + 9;
    }
    if matches!(bytes.get(len..)?, [0, 0, ..]) {
        len += 8;
    }
    Some(len)
}
