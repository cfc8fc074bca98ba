//! Packets that begin with the number some backdoor waits for.

use super::columns::{Text, table};
use super::{Frame, Table};
use crate::dissect::Transport;

table! {
    /// Packets whose payload begins with a number that a known backdoor waits for. One packet in 65,536 does by chance.
    Knock, Row {
        /// The backdoor: `bpfdoor` (0x5293 over TCP; 0x7255 over UDP and in echo requests).
        name: Text,
    }
}

impl Table for Knock {
    fn read(&mut self, frame: &Frame<'_>) {
        if is_knock(frame) {
            self.push(frame, Row { name: Some("bpfdoor".into()), ..Row::default() });
        }
    }
}

/// Whether the payload begins with one of the numbers, at the offsets of the packet filter that BPFDoor installs (the analyses of Elastic
/// Security Labs and others, 2022): `udp[8:2]=0x7255`, `icmp[8:2]=0x7255` of echo requests, `tcp[((tcp[12]&0xf0)>>2):2]=0x5293`.
#[inline]
pub(super) fn is_knock(frame: &Frame<'_>) -> bool {
    matches!(
        (frame.layers.transport, frame.layers.payload),
        (Transport::Tcp(_), [0x52, 0x93, ..])
            | (Transport::Udp(_) | Transport::Icmp { kind: 8, .. }, [0x72, 0x55, ..])
    )
}
