//! The pcap file format and its variants.
//!
//! A file header of 24 bytes, then records: a header of 16 bytes and a frame. Byte order and unit of time follow from the
//! magic number. Source: draft-ietf-opsawg-pcap; for the variants the behaviour of libpcap and Wireshark, whose
//! `editcap -F` names are used here.

use std::sync::Arc;

use super::prefetch;
use super::walk::{Sink, Stop, Walked, u16_of, u32_of, words};
use super::{Interface, LinkType, Record, TsResolution};

/// Bytes of the file header.
const FILE_HEADER: usize = 24;
/// Bytes of the record header that all variants begin with.
const RECORD_HEADER: usize = 16;
/// Frames that are looked at to tell a variant, as Wireshark does.
const TRIED: usize = 3;
/// A frame that claims more bytes on the wire is taken for a sign of another variant, as in Wireshark.
const MAX_PLAUSIBLE_WIRE_LEN: u32 = 128 << 20;

/// What the magic number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Magic {
    big_endian: bool,
    nanos: bool,
    /// Record headers are longer (Alexey Kuznetzov's patches of 1999).
    modified: bool,
    /// Four more bytes in the file header: the size of all records (Ixia `lcap`).
    ixia: bool,
}

impl Magic {
    fn of(head: &[u8]) -> Option<Self> {
        let bytes = *head.first_chunk::<4>()?;
        let of = |number, big_endian| {
            let magic = Self { big_endian, nanos: false, modified: false, ixia: false };
            Some(match number {
                0xa1b2_c3d4_u32 => magic,
                0xa1b2_3c4d => Self { nanos: true, ..magic },
                0xa1b2_cd34 => Self { modified: true, ..magic },
                0x1c00_01ab => Self { ixia: true, ..magic },
                0x1c00_01ac => Self { ixia: true, nanos: true, ..magic },
                _ => return None,
            })
        };
        of(u32::from_le_bytes(bytes), false).or_else(|| of(u32::from_be_bytes(bytes), true))
    }
}

/// Whether a file that begins with `head` is a pcap file.
pub(super) fn is_pcap(head: &[u8]) -> bool {
    Magic::of(head).is_some()
}

/// In which order a record header has the captured and the original length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    /// Captured first: since version 2.3.
    CapturedFirst,
    /// Original first: before version 2.3, and DG/UX (version 543.0).
    OriginalFirst,
    /// Files of version 2.3 have either order; the captured length is the lesser one.
    Either,
}

/// A kind of record header, by what follows the 16 bytes that all have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Nothing.
    Standard,
    /// Interface index, protocol, packet type, padding: Red Hat 6.1, and files with the modified magic number.
    Modified,
    /// The same and 4 more bytes: SuSE 6.3.
    Suse,
    /// Four bytes of unknown meaning: Nokia IPSO.
    Nokia,
}

impl Variant {
    /// Bytes of the record header.
    fn header_len(self) -> usize {
        match self {
            Self::Standard => RECORD_HEADER,
            Self::Nokia => RECORD_HEADER + 4,
            Self::Modified => RECORD_HEADER + 8,
            Self::Suse => RECORD_HEADER + 12,
        }
    }
}

/// How to read the records, known after the file header.
#[derive(Debug, Clone, Copy)]
struct Layout {
    header_len: usize,
    lengths: Lengths,
    /// Nanoseconds in the unit of the second half of a time stamp.
    unit: i64,
    max_cap_len: u32,
    interface: u32,
}

/// Reads one pcap file.
pub(super) struct Pcap {
    file: usize,
    tap: String,
    format: &'static str,
    big_endian: bool,
    layout: Option<Layout>,
}

impl Pcap {
    /// A walker of source number `file`, whose frames were seen on `tap`.
    pub(super) fn new(file: usize, tap: String) -> Self {
        Self { file, tap, format: "pcap", big_endian: false, layout: None }
    }

    /// What `editcap -F` calls the format; certain once the header is read.
    pub(super) fn format(&self) -> &'static str {
        self.format
    }

    /// Finds records in `bytes` from `at` on.
    pub(super) fn walk(&mut self, bytes: &[u8], at: usize, sink: &mut Sink<'_>) -> Walked {
        let (layout, at) = match self.layout {
            Some(layout) => (layout, at),
            None => match self.header(bytes.get(at..).unwrap_or_default(), sink) {
                Ok((layout, len)) => (*self.layout.insert(layout), at + len),
                Err(stop) => return stop.at(at),
            },
        };
        let plain = layout.header_len == RECORD_HEADER && layout.lengths == Lengths::CapturedFirst;
        match (self.big_endian, plain) {
            (false, true) => records::<false, true>(layout, bytes, at, sink),
            (false, false) => records::<false, false>(layout, bytes, at, sink),
            (true, true) => records::<true, true>(layout, bytes, at, sink),
            (true, false) => records::<true, false>(layout, bytes, at, sink),
        }
    }

    /// Reads the file header, and says how long it is.
    fn header(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(Layout, usize), Stop> {
        let Some(magic) = Magic::of(bytes) else { return Err(Stop::More(FILE_HEADER)) };
        let len = FILE_HEADER + if magic.ixia { 4 } else { 0 };
        let Some((&[_, version, _zone, _sigfigs, snaplen, network], rest)) =
            words(bytes).zip(bytes.get(len..))
        else {
            return Err(Stop::More(len));
        };
        self.big_endian = magic.big_endian;
        let u32_at = if magic.big_endian { u32_of::<true> } else { u32_of::<false> };
        let u16_at = if magic.big_endian { u16_of::<true> } else { u16_of::<false> };
        let [major0, major1, minor0, minor1] = version;
        let (major, minor) = (u16_at([major0, major1]), u16_at([minor0, minor1]));
        let (snaplen, network) = (u32_at(snaplen), u32_at(network));

        if major < 2 {
            return Err(Stop::Broken(format!(
                "a pcap header of version {major}.{minor}, which is not known"
            )));
        }
        let lengths = match (major, minor) {
            (2, 0..=2) | (543, _) => Lengths::OriginalFirst,
            (2, 3) => Lengths::Either,
            _ => Lengths::CapturedFirst,
        };
        // AIX writes version 2.2, the numbers of RFC 1573 (ifType) for the link type, and nanoseconds. No other
        // system that wrote 2.2 had link types with these numbers.
        let standard = !magic.modified && !magic.ixia && !magic.nanos;
        let aix = match network {
            6 => Some(1),
            9 => Some(6),
            15 => Some(10),
            24 => Some(0),
            _ => None,
        }
        .filter(|_| standard && (major, minor) == (2, 2));
        let link = LinkType(aix.unwrap_or(network as u16));
        // The upper half of the field: 4 bits FCS length in 16-bit units, a reserved bit, a bit that says that the FCS
        // length is given, 10 reserved bits.
        let fcs_len = (network & 0x0400_0000 != 0).then_some((network >> 28) as u8 * 2);
        if network & 0x03ff_0000 != 0 {
            sink.warnings.note(
                sink.base + 20,
                format!(
                    "reserved bits of the link type are set ({network:#010x}); taken for link type {}",
                    link.0
                ),
            );
        }

        let max_cap_len = link.max_cap_len();
        let nanos = magic.nanos || aix.is_some();
        let candidates: &[Variant] = match magic {
            Magic { modified: true, .. } => &[Variant::Modified, Variant::Suse],
            _ if standard && lengths == Lengths::CapturedFirst => {
                &[Variant::Standard, Variant::Modified, Variant::Nokia]
            }
            _ => &[Variant::Standard],
        };
        // The first one is what it should be by the magic number. It also wins if there is nothing to choose by, such as
        // when a pipe has no frame yet.
        let plausible_len = if snaplen == 0 { max_cap_len } else { max_cap_len.min(snaplen) };
        let fits = if magic.big_endian { fits::<true> } else { fits::<false> };
        let fits = |variant: &Variant| fits(*variant, rest, plausible_len);
        let fallback = if magic.modified { Variant::Modified } else { Variant::Standard };
        let variant = candidates.iter().copied().find(fits).unwrap_or(fallback);
        self.format = match variant {
            Variant::Nokia => "nokiapcap",
            Variant::Suse => "suse6_3pcap",
            Variant::Modified if magic.modified => "modpcap",
            Variant::Modified => "rh6_1pcap",
            Variant::Standard if aix.is_some() => "aixpcap",
            Variant::Standard if nanos => "nsecpcap",
            Variant::Standard => "pcap",
        };

        let layout = Layout {
            header_len: variant.header_len(),
            lengths,
            unit: if nanos { 1 } else { 1000 },
            max_cap_len,
            interface: sink.interfaces.len() as u32,
        };
        sink.interfaces.push(Arc::new(Interface {
            file: self.file,
            tap: self.tap.clone(),
            name: None,
            description: None,
            filter: None,
            os: None,
            link,
            snaplen,
            ts_resolution: if nanos { TsResolution::NANOS } else { TsResolution::MICROS },
            ts_offset: 0,
            fcs_len,
            received: None,
            dropped: None,
        }));
        Ok((layout, len))
    }
}

/// The walk from record to record. `PLAIN` records have the standard header.
fn records<const BIG: bool, const PLAIN: bool>(
    layout: Layout,
    bytes: &[u8],
    mut at: usize,
    sink: &mut Sink<'_>,
) -> Walked {
    let header_len = if PLAIN { RECORD_HEADER } else { layout.header_len };
    let out = &mut *sink.records;
    for _ in out.len()..sink.most {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(&[seconds, fraction, first, second]) = words(rest) else {
            return Stop::More(header_len).at(at);
        };
        let (mut cap_len, mut wire_len) = (u32_of::<BIG>(first), u32_of::<BIG>(second));
        if !PLAIN
            && (layout.lengths == Lengths::OriginalFirst
                || layout.lengths == Lengths::Either && cap_len > wire_len)
        {
            (cap_len, wire_len) = (wire_len, cap_len);
        }
        if cap_len > layout.max_cap_len {
            let max = layout.max_cap_len;
            return Stop::Broken(format!(
                "a record claims {cap_len} bytes, more than the {max} a frame can have"
            ))
            .at(at);
        }
        let total = header_len + cap_len as usize;
        if rest.len() < total {
            return Stop::More(total).at(at);
        }
        prefetch::ahead(bytes, at, total);
        out.push(Record {
            // Seconds are unsigned, so that the format lasts until 2106. Both halves at their largest fit an i64.
            ts: i64::from(u32_of::<BIG>(seconds)) * 1_000_000_000
                + i64::from(u32_of::<BIG>(fraction)) * layout.unit,
            offset: at + header_len,
            cap_len,
            wire_len,
            interface: layout.interface,
        });
        at += total;
    }
    Stop::Full.at(at)
}

/// Whether the first records make sense if they are of this variant. A record that is not all there speaks against an
/// unusual variant only, lest the start of a stream or a short capture that is cut off is taken for one.
fn fits<const BIG: bool>(variant: Variant, mut bytes: &[u8], max_cap_len: u32) -> bool {
    let cut_fits = variant == Variant::Standard;
    for _ in 0..TRIED {
        if bytes.is_empty() {
            break;
        }
        let Some((&[_, fraction, cap_len, wire_len], extra)) = words(bytes).zip(bytes.get(RECORD_HEADER..))
        else {
            return cut_fits;
        };
        let [fraction, cap_len, wire_len] = [fraction, cap_len, wire_len].map(u32_of::<BIG>);
        let lengths_fit = cap_len <= max_cap_len && cap_len <= wire_len && wire_len <= MAX_PLAUSIBLE_WIRE_LEN;
        if fraction >= 1_000_000 || !lengths_fit {
            return false;
        }
        let extra_fits = match (variant, extra) {
            (Variant::Standard, _) => true,
            (Variant::Nokia, &[a, b, c, d, ..]) => is_nokia(u32_of::<BIG>([a, b, c, d])),
            (Variant::Modified | Variant::Suse, &[a, b, c, d, e, f, packet_type, ..]) => {
                u32_of::<BIG>([a, b, c, d]) <= 10_000
                    && is_linux_protocol(u16_of::<BIG>([e, f]))
                    && packet_type <= 4
            }
            _ => return cut_fits,
        };
        if !extra_fits {
            return false;
        }
        match bytes.get(variant.header_len() + cap_len as usize..) {
            Some(next) => bytes = next,
            None => return cut_fits,
        }
    }
    true
}

/// Whether these can be the four bytes that Nokia's record headers end with: of their meaning, only this is known, and
/// that Wireshark writes zeros.
fn is_nokia(stuff: u32) -> bool {
    stuff == 0 || stuff >> 16 & 0x0fff == 0x0fbf
}

/// Whether it is an Ethertype or a value that Linux uses in its place (`ETH_P_` in linux/if_ether.h).
fn is_linux_protocol(protocol: u16) -> bool {
    protocol >= 0x600 || matches!(protocol, 0..=0x17 | 0x60 | 0x200 | 0x400)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Order, read};
    use super::*;

    const FRAME: &[u8] = b"frame";

    /// One record: 1 s and `fraction` units, 5 bytes of 60.
    fn one(order: Order, magic: u32, extra: &[u8], fraction: u32) -> Vec<u8> {
        let mut file = order.pcap(magic, (2, 4), 1);
        file.extend(order.record([1, fraction, 5, 60], extra, FRAME));
        file
    }

    #[test]
    fn micro_and_nanoseconds_in_both_byte_orders() {
        for order in Order::BOTH {
            for (magic, format, ts) in
                [(0xa1b2_c3d4, "pcap", 1_000_007_000), (0xa1b2_3c4d, "nsecpcap", 1_000_000_007)]
            {
                let outcome = read(&one(order, magic, &[], 7));
                assert_eq!(outcome.files[0].format, format);
                assert_eq!(outcome.interface().link, LinkType::ETHERNET);
                assert_eq!(outcome.interface().snaplen, 65535);
                assert_eq!(outcome.interface().tap, "test");
                let frame = &outcome.frames[0];
                assert_eq!((frame.ts, frame.wire_len, &frame.data[..]), (ts, 60, FRAME));
                assert_eq!(outcome.warnings, []);
            }
        }
    }

    #[test]
    fn times_use_all_bits_and_never_overflow() {
        let mut file = Order::Little.pcap(0xa1b2_c3d4, (2, 4), 1);
        file.extend(Order::Little.record([u32::MAX, u32::MAX, 0, 0], &[], b""));
        // (2^32 - 1) * 10^9 + (2^32 - 1) * 10^3
        assert_eq!(read(&file).frames[0].ts, 4_294_967_295_000_000_000 + 4_294_967_295_000);
    }

    #[test]
    fn longer_record_headers() {
        // Interface 2, protocol 0x0800, packet type 0 (for us), padding.
        let modified = [&Order::Big.u32(2)[..], &[8, 0, 0, 0]].concat();
        let suse = [&modified[..], &[0; 4]].concat();
        let nokia = Order::Big.u32(0x9fbf_b601);
        for (magic, extra, format) in [
            (0xa1b2_cd34, &modified[..], "modpcap"),
            (0xa1b2_cd34, &suse, "suse6_3pcap"),
            (0xa1b2_c3d4, &modified, "rh6_1pcap"),
            (0xa1b2_c3d4, &nokia, "nokiapcap"),
        ] {
            let mut file = one(Order::Big, magic, extra, 7);
            for second in 2..5 {
                file.extend(Order::Big.record([second, 0, 5, 60], extra, FRAME));
            }
            let outcome = read(&file);
            assert_eq!(outcome.files[0].format, format);
            assert_eq!(outcome.frames.len(), 4, "{format}");
            assert!(outcome.frames.iter().all(|frame| frame.data == FRAME), "{format}");
        }
    }

    #[test]
    fn ixia_has_four_more_bytes_in_the_file_header() {
        for order in Order::BOTH {
            for (magic, ts) in [(0x1c00_01ab, 1_000_007_000), (0x1c00_01ac, 1_000_000_007)] {
                let mut file = order.pcap(magic, (2, 4), 1);
                file.extend(order.u32(21));
                file.extend(order.record([1, 7, 5, 60], &[], FRAME));
                let outcome = read(&file);
                assert_eq!(outcome.frames[0].ts, ts);
                assert_eq!(outcome.frames[0].data, FRAME);
            }
        }
    }

    #[test]
    fn old_versions_have_the_lengths_the_other_way_round() {
        // 2.3 has either order: the captured length is the lesser one.
        for (version, lengths) in [
            ((2, 2), [60, 5]),
            ((2, 0), [60, 5]),
            ((543, 0), [60, 5]),
            ((2, 3), [60, 5]),
            ((2, 3), [5, 60]),
            ((2, 4), [5, 60]),
        ] {
            let mut file = Order::Big.pcap(0xa1b2_c3d4, version, 1);
            file.extend(Order::Big.record([1, 7, lengths[0], lengths[1]], &[], FRAME));
            let outcome = read(&file);
            assert_eq!((&outcome.frames[0].data[..], outcome.frames[0].wire_len), (FRAME, 60), "{version:?}");
        }
    }

    #[test]
    fn aix_counts_nanoseconds_and_numbers_link_types_its_own_way() {
        let mut file = Order::Big.pcap(0xa1b2_c3d4, (2, 2), 6);
        file.extend(Order::Big.record([1, 7, 60, 5], &[], FRAME));
        let outcome = read(&file);
        assert_eq!(outcome.interface().link, LinkType::ETHERNET);
        assert_eq!(outcome.frames[0].ts, 1_000_000_007);
    }

    #[test]
    fn the_link_type_field_also_tells_of_the_fcs() {
        let network = |network| {
            let mut file = one(Order::Little, 0xa1b2_c3d4, &[], 0);
            file[20..24].copy_from_slice(&Order::Little.u32(network));
            read(&file)
        };
        // Length 2 * 16 bits, length given.
        let outcome = network(0x2400_0001);
        assert_eq!((outcome.interface().link, outcome.interface().fcs_len), (LinkType::ETHERNET, Some(4)));
        assert_eq!(outcome.warnings, []);
        // Without the bit that says so, the length means nothing.
        assert_eq!(network(0x2000_0001).interface().fcs_len, None);
        let outcome = network(0x0030_0001);
        assert_eq!(outcome.interface().link, LinkType::ETHERNET);
        assert_eq!(outcome.frames.len(), 1);
        assert_eq!(
            outcome.messages(),
            ["reserved bits of the link type are set (0x00300001); taken for link type 1"]
        );
    }

    #[test]
    fn a_frame_may_exceed_the_snaplen_but_not_the_sane() {
        let file = |link, len: u32| {
            let mut file = Order::Big.pcap(0xa1b2_c3d4, (2, 4), link);
            file.extend(Order::Big.record([1, 0, len, len], &[], &vec![0; len as usize]));
            file.extend(Order::Big.record([2, 0, 5, 5], &[], FRAME));
            read(&file)
        };
        assert_eq!(file(1, 262_144).frames.len(), 2, "more than the snaplen of 65535");
        let outcome = file(1, 262_145);
        assert_eq!(outcome.frames.len(), 0);
        assert_eq!(outcome.warnings[0].offset, 24);
        assert!(outcome.warnings[0].incomplete);
        assert_eq!(
            outcome.messages(),
            ["a record claims 262145 bytes, more than the 262144 a frame can have"]
        );
        // USBPcap: transfers can be large.
        assert_eq!(file(249, 262_145).frames.len(), 2);
    }

    #[test]
    fn versions_before_2_are_not_known() {
        let file = Order::Big.pcap(0xa1b2_c3d4, (1, 2), 1);
        let outcome = read(&file);
        assert_eq!(
            outcome.errors,
            ["test: not a packet capture: a pcap header of version 1.2, which is not known"]
        );
    }
}
