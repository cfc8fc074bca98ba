//! Which packet a fragment is a part of: the first fragment has the ports, the others only an identification.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::classify::Label;
use crate::dissect::Layers;
use crate::table::Table;
use crate::wire::ip::{Fragment, Ip};
use crate::wire::{Header, Issue, Reason};

/// How long fragments are kept for each other, in nanoseconds: RFC 8200 section 4.5 says 60 seconds.
const TIMEOUT: i64 = 60_000_000_000;

/// Fragments of one packet that are compared for overlap; later ones are joined, but not compared with each other.
const MAX_PARTS: usize = 16;

/// A fragment, told from itself alone.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Piece {
    /// Its packet.
    key: u64,
    /// When it was captured.
    ts: i64,
    is_first: bool,
    /// Of the first fragment.
    ports: Option<(u16, u16)>,
    /// First and last unit of 8 bytes that it holds.
    units: (u16, u16),
    /// What is wrong with it if it overlaps another one.
    overlap: Issue,
}

impl Piece {
    /// What piece of a packet this is, if it is a fragment.
    #[inline(always)]
    pub fn of(ts: i64, frame: &[u8], layers: &Layers<'_>) -> Option<Self> {
        match layers.ip {
            Some(ip) if ip.fragment != Fragment::Whole => Some(Self::new(ts, frame, ip, layers.ports())),
            _ => None,
        }
    }

    #[cold]
    fn new(ts: i64, frame: &[u8], ip: Ip<'_>, ports: Option<(u16, u16)>) -> Self {
        let offset = (ip.packet.as_ptr().addr() - frame.as_ptr().addr()) as u32;
        let header = if ip.version == 4 { Header::Ipv4 } else { Header::Ipv6 };
        let is_first = ip.fragment == Fragment::First;
        Self {
            key: key(&ip),
            ts,
            is_first,
            ports: ports.filter(|_| is_first),
            units: units(&ip),
            overlap: Issue { header, reason: Reason::Overlap, offset },
        }
    }
}

/// Fragmented packets of late: as many as fit into a table of fixed size.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Fragments {
    packets: Table<Fragmented>,
}

/// What is known of a fragmented packet.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Fragmented {
    /// When its first seen fragment was captured.
    since: i64,
    /// Of its first fragment, if that was seen.
    ports: Option<(u16, u16)>,
    /// Of its first fragment, if that was seen.
    label: Label,
    /// First and last unit of 8 bytes of each fragment.
    parts: [(u16, u16); MAX_PARTS],
    count: u8,
}

/// What a fragment has by being one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Joined {
    /// Ports of its packet and its label, if this is a later fragment and the first one came before.
    pub known: Option<((u16, u16), Label)>,
    /// If it overlaps another one.
    pub issue: Option<Issue>,
}

impl Fragments {
    /// Takes note of a fragment, in the order of the capture, of which `label` is what it is by itself.
    pub fn join(&mut self, piece: &Piece, label: Label) -> Joined {
        let Some(packet) = self.packets.entry(piece.key) else { return Joined::default() };
        if packet.count == 0 || piece.ts.abs_diff(packet.since) > TIMEOUT.unsigned_abs() {
            *packet = Fragmented { since: piece.ts, ..Fragmented::default() };
        }
        let known = packet.ports.filter(|_| !piece.is_first).map(|ports| (ports, packet.label));
        if piece.is_first {
            packet.ports = piece.ports;
        }
        if known.is_none() {
            packet.label = label;
        }
        Joined { known, issue: packet.overlaps(piece.units).then_some(piece.overlap) }
    }
}

impl Fragmented {
    /// Takes note of a fragment; says whether it holds something that another one holds, and is not the same one again.
    fn overlaps(&mut self, part: (u16, u16)) -> bool {
        let parts = self.parts.get(..self.count.into()).unwrap_or_default();
        if parts.contains(&part) {
            return false;
        }
        let overlaps = parts.iter().any(|other| part.0 <= other.1 && other.0 <= part.1);
        if let Some(free) = self.parts.get_mut(usize::from(self.count)) {
            *free = part;
            self.count += 1;
        }
        overlaps
    }
}

/// First and last unit of 8 bytes that a fragment holds, by its own length field.
fn units(ip: &Ip<'_>) -> (u16, u16) {
    let len = (ip.total_len as usize).saturating_sub(ip.header_len as usize);
    let units = u16::try_from(len.div_ceil(8).saturating_sub(1)).unwrap_or(u16::MAX);
    (ip.fragment_offset, ip.fragment_offset.saturating_add(units))
}

/// Source, destination and identification, and for IPv4 the protocol (RFC 791 section 2.3, RFC 8200 section 4.5). Never 0,
/// which stands for a free entry.
fn key(ip: &Ip<'_>) -> u64 {
    let mut key = [0; 38];
    key[..16].copy_from_slice(&ip.src());
    key[16..32].copy_from_slice(&ip.dst());
    key[32..36].copy_from_slice(&ip.id.unwrap_or_default().to_be_bytes());
    key[36] = ip.version;
    key[37] = if ip.version == 4 { ip.protocol } else { 0 };
    xxh3_64(&key).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::LinkType;
    use crate::dissect::dissect;

    /// An IPv4 fragment of `units` times 8 bytes at `offset`, of UDP from port 5 to 6.
    fn fragment(id: u8, offset: u8, units: u8, more: bool) -> Vec<u8> {
        let mut packet =
            vec![0x45, 0, 0, 20 + 8 * units, 0, id, 0, offset, 61, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        packet[6] = if more { 0x20 } else { 0 };
        packet.extend([0, 5, 0, 6, 0, 48, 0, 0].repeat(units.into()));
        packet
    }

    fn join(fragments: &mut Fragments, ts: i64, packet: &[u8]) -> (Option<(u16, u16)>, Option<Reason>) {
        let layers = dissect(LinkType::RAW, packet, packet.len() as u32);
        let joined = fragments.join(&Piece::of(ts, packet, &layers).unwrap(), Label::default());
        let ports = joined.known.map(|(ports, _)| ports).or(layers.ports());
        (ports, layers.issue.or(joined.issue).map(|issue| issue.reason))
    }

    #[test]
    fn later_fragments_have_the_ports_of_the_first() {
        let mut fragments = Fragments::default();
        let mut see = |ts, packet: &[u8]| join(&mut fragments, ts, packet);
        // Before the first one there are none.
        assert_eq!(see(0, &fragment(1, 2, 1, true)), (None, None));
        assert_eq!(see(1, &fragment(1, 0, 2, true)), (Some((5, 6)), None));
        assert_eq!(see(2, &fragment(1, 3, 1, false)), (Some((5, 6)), None));
        // Another identification, and the same one after the timeout.
        assert_eq!(see(3, &fragment(2, 3, 1, false)), (None, None));
        assert_eq!(see(TIMEOUT + 1, &fragment(1, 3, 1, false)), (None, None));
    }

    #[test]
    fn overlap_is_an_issue_and_repetition_is_not() {
        let mut fragments = Fragments::default();
        let mut see = |packet: &[u8]| join(&mut fragments, 0, packet).1;
        assert_eq!(see(&fragment(1, 0, 2, true)), None);
        assert_eq!(see(&fragment(1, 0, 2, true)), None);
        assert_eq!(see(&fragment(1, 2, 2, true)), None);
        assert_eq!(see(&fragment(1, 1, 2, true)), Some(Reason::Overlap));
        assert_eq!(see(&fragment(1, 4, 1, false)), None);
    }
}
