//! TZSP (TaZmen Sniffer Protocol): frames that an access point or router sends to an analyser over UDP.

/// Length of header and tagged fields, and the link type of the frame behind them; `None` if this is no frame.
pub fn frame(bytes: &[u8]) -> Option<(usize, u16)> {
    // Version 1, type 0 (received) or 1 (to be sent), then what is encapsulated.
    let (&[1, 0 | 1, hi, lo], mut fields) = bytes.split_first_chunk::<4>()? else { return None };
    let link = match u16::from_be_bytes([hi, lo]) {
        1 => 1,
        18 => 105,
        127 => 127,
        _ => return None,
    };
    loop {
        match *fields {
            [1, ref frame @ ..] => return Some((bytes.len() - frame.len(), link)),
            [0, ref rest @ ..] => fields = rest,
            [_, len, ref rest @ ..] => fields = rest.get(usize::from(len)..)?,
            _ => return None,
        }
    }
}
