//! From a port or a protocol number to its application, by tables made at compile time.

use super::app::{App, NUMBERS, Space};

/// Applications by number, one byte each; and a bit each that says whether there is one, which is in a cache when the bytes
/// are not: most ports stand for nothing.
struct Table<const N: usize> {
    apps: [Option<App>; N],
    known: [u64; 1024],
}

impl<const N: usize> Table<N> {
    #[expect(clippy::indexing_slicing, reason = "evaluated at compile time only, where it cannot panic")]
    const fn of(space: Space) -> Self {
        let mut apps = [None; N];
        let mut known = [0; 1024];
        let mut at = 0;
        while at < NUMBERS.len() {
            let (number_space, number, app) = NUMBERS[at];
            if number_space as u8 == space as u8 {
                apps[number as usize] = Some(app);
                known[number as usize / 64] |= 1 << (number % 64);
            }
            at += 1;
        }
        Self { apps, known }
    }

    #[inline(always)]
    fn get(&self, number: usize) -> Option<App> {
        let word = self.known.get(number / 64).copied().unwrap_or_default();
        if word >> (number % 64) & 1 == 0 {
            return None;
        }
        self.apps.get(number).copied().flatten()
    }

    /// The applications of the two ports, that of the lower port first: it is more likely the server's.
    #[inline(always)]
    fn both(&self, (src, dst): (u16, u16)) -> [Option<App>; 2] {
        [self.get(usize::from(src.min(dst))), self.get(usize::from(src.max(dst)))]
    }
}

/// What the ports of a TCP segment suggest, the likelier first.
#[inline(always)]
pub(super) fn tcp(ports: (u16, u16)) -> [Option<App>; 2] {
    static TABLE: Table<65_536> = Table::of(Space::Tcp);
    TABLE.both(ports)
}

/// What the ports of a UDP datagram suggest, the likelier first.
#[inline(always)]
pub(super) fn udp(ports: (u16, u16)) -> [Option<App>; 2] {
    static TABLE: Table<65_536> = Table::of(Space::Udp);
    TABLE.both(ports)
}

/// What the ports of an SCTP packet suggest, the likelier first.
#[inline]
pub(super) fn sctp(ports: (u16, u16)) -> [Option<App>; 2] {
    static TABLE: Table<65_536> = Table::of(Space::Sctp);
    TABLE.both(ports)
}

/// What an IP protocol number stands for.
#[inline]
pub(super) fn ip(protocol: u8) -> Option<App> {
    static TABLE: Table<256> = Table::of(Space::Ip);
    TABLE.get(usize::from(protocol))
}

/// What an SCTP payload protocol identifier stands for.
#[inline]
pub(super) fn payload_protocol(id: u32) -> Option<App> {
    static TABLE: Table<256> = Table::of(Space::Ppid);
    TABLE.get(id as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_stands_for_two_applications() {
        let mut numbers: Vec<_> = NUMBERS.iter().map(|&(space, number, _)| (space as u8, number)).collect();
        numbers.sort_unstable();
        let all = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }

    #[test]
    fn lower_port_first() {
        assert_eq!(tcp((80, 5060)), [Some(App::Http), Some(App::Sip)]);
        assert_eq!(tcp((5060, 80)), [Some(App::Http), Some(App::Sip)]);
        assert_eq!(udp((40_000, 53)), [Some(App::Dns), None]);
        assert_eq!(sctp((1, 36_412)), [None, Some(App::S1ap)]);
        assert_eq!(ip(89), Some(App::Ospf));
        assert_eq!((payload_protocol(46), payload_protocol(u32::MAX)), (Some(App::Diameter), None));
    }
}
