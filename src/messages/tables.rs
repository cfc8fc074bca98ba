//! Side tables that are made beside the packets, in the same pass over the frames.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use serde::{Deserialize, Serialize};

use super::{Frame, Kind, Table, columns, table};
use super::{
    aaa, bgp, dhcp, diameter, dns, fhrp, gtp, icmp, ike, knock, neighbor, path_options, routing_auth, rtcp,
    rtp, sample,
    signalling::{self, is_text},
    sip, snmp, ss7, ssh, tcp, tls, transfer, wccp,
};
use crate::capture::LinkType;
use crate::classify::{App, Label};
use crate::dissect::{Layers, Transport, dissect_into};
use crate::plain;
use crate::wire::ip::Ip;

/// A set of side tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds(u32);

impl Kinds {
    /// A set of these.
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut rest = kinds;
        while let [first, others @ ..] = rest {
            bits |= 1 << *first as u8;
            rest = others;
        }
        Self(bits)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is among them.
    pub const fn has(self, kind: Kind) -> bool {
        self.0 >> kind as u8 & 1 == 1
    }

    /// All that are in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All that are in both sets.
    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that may have a row of a frame. What this leaves out, the table would leave out too; but for RTP, which only earlier
    /// frames tell: see [`Tables::note_media`].
    fn of_frame(frame: &Frame<'_>) -> Self {
        let by_transport = match frame.layers.transport {
            Transport::Icmp { .. } => Self::of(&[Kind::Icmp]),
            Transport::Icmpv6 { .. } => Self::of(&[Kind::Icmp, Kind::Neighbor]),
            Transport::Tcp(tcp) if tcp.flags() & 0x02 != 0 => Self::of(&[Kind::Tcp]),
            Transport::Sctp(_) => Self::of(&[Kind::Ss7]),
            _ => Self(0),
        };
        let some = |has: bool, kind| if has { Self::of(&[kind]) } else { Self(0) };
        let by_bytes = some(transfer::beginning(frame).is_some(), Kind::Transfer)
            .or(some(path_options::may_have(frame.layers), Kind::PathOptions))
            .or(some(knock::is_knock(frame), Kind::Knock))
            .or(some(wccp::is_redirected(frame.layers), Kind::Wccp))
            .or(some(signalling::may_continue(frame.layers), Kind::Signalling));
        by_transport.or(by_bytes).or(frame.label.app.map_or(Self(0), Self::of_app))
    }

    /// Those that may have a row of a packet of this application.
    #[inline]
    const fn of_app(app: App) -> Self {
        let kind = match app {
            App::Arp => Kind::Neighbor,
            App::Dns | App::Mdns | App::Llmnr => Kind::Dns,
            App::Tls | App::Dtls | App::Quic => Kind::Tls,
            App::Rtcp => Kind::Rtcp,
            App::Vrrp | App::Carp | App::Hsrp | App::Glbp => {
                return Self::of(&[Kind::Fhrp, Kind::RoutingAuth]);
            }
            App::Ospf | App::IsIs | App::Eigrp | App::Rip | App::Bfd | App::Ldp => Kind::RoutingAuth,
            App::Ssh => Kind::Ssh,
            App::Ike => Kind::Ike,
            App::Dhcp | App::Dhcpv6 => Kind::Dhcp,
            App::Bgp => return Self::of(&[Kind::Bgp, Kind::RoutingAuth]),
            App::Radius | App::Tacacs => Kind::Aaa,
            App::Diameter => Kind::Diameter,
            App::Gtpc => Kind::Gtp,
            App::Sflow | App::NetFlow | App::Hep => Kind::Sample,
            App::Tftp | App::Ftp => Kind::Transfer,
            App::Snmp => Kind::Snmp,
            App::Wccp => Kind::Wccp,
            // SIP over WebSocket too.
            App::Http => return Self::of(&[Kind::Sip, Kind::Transfer]),
            App::Sip => return Self::of(&[Kind::Sip, Kind::Signalling]),
            App::Skinny | App::H225 => Kind::Signalling,
            _ => return Self(0),
        };
        Self::of(&[kind])
    }

    /// Whether any table may have a row of a frame. Told from a few values, so that layers that are at hand only in registers need not be
    /// written down for this: count instructions after each change.
    #[inline(always)]
    pub fn may_be_of(self, layers: &Layers<'_>, label: Label) -> bool {
        // Beginnings of captures, of a first block of TFTP, and of knocks.
        const BEGINNINGS: [[u8; 2]; 8] = [
            [0xd4, 0xc3],
            [0x4d, 0x3c],
            [0x34, 0xcd],
            [0xa1, 0xb2],
            [0x0a, 0x0d],
            [0x00, 0x03],
            [0x52, 0x93],
            [0x72, 0x55],
        ];
        const BEGIN: Kinds = Kinds::of(&[Kind::Transfer, Kind::Knock]);
        const AROUND: Kinds = Kinds::of(&[Kind::PathOptions, Kind::Wccp]);
        let is_long = |ip: &Ip<'_>| ip.header_len > if ip.version == 4 { 20 } else { 40 };
        let by_transport = match layers.transport {
            Transport::Icmp { .. } | Transport::Icmpv6 { .. } | Transport::Sctp(_) => true,
            Transport::Tcp(tcp) => tcp.flags() & 0x02 != 0,
            _ => false,
        };
        let may_continue = match layers.transport {
            Transport::Tcp(_) => true,
            Transport::None => {
                layers.ip.as_ref().is_some_and(|ip| ip.protocol == 17 && ip.fragment.is_later())
            }
            _ => false,
        };
        !self.is_empty()
            && (by_transport
                || label.app.is_some_and(|app| {
                    !Self::of_app(app).and(self).is_empty()
                        // Most of what they send is encrypted; a row is made of a handshake (RFC 8446 section 5.1) or a long header (RFC 9000
                        // section 17.2).
                        && (!matches!(app, App::Tls | App::Dtls | App::Quic)
                            || matches!(layers.payload, [22 | 0x80.., ..]))
                })
                || !self.and(BEGIN).is_empty()
                    && layers.payload.first_chunk().is_some_and(|begin| BEGINNINGS.contains(begin))
                || !self.and(AROUND).is_empty()
                    && (layers.ip.as_ref().is_some_and(|ip| is_long(ip) || ip.protocol == 47)
                        || layers.outer.as_ref().is_some_and(|ip| is_long(ip) || ip.protocol == 47)
                        || !layers.mpls.as_slice().is_empty()
                        || !layers.encap.is_empty())
                || self.has(Kind::Signalling)
                    && label.app.is_none()
                    && may_continue
                    && is_text(layers.payload))
    }
}

/// Tables of which a row may rest on earlier frames: their frames are read in order.
const ORDERED: Kinds = Kinds::of(&[Kind::Sample]);

/// Tables that read later fragments too.
pub(super) const READ_FRAGMENTS: Kinds = Kinds::of(&[Kind::Signalling]);

/// The messages of some frames that follow each other.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tables {
    wanted: Kinds,
    #[serde(skip)]
    made: Vec<(Kind, Box<dyn Table>)>,
    /// Those that are complete: written to a file, or read from it.
    #[serde(with = "super::saved")]
    closed: Vec<(Kind, RecordBatch)>,
    /// Frames for tables that must be read in order.
    later: Vec<Kept>,
    /// Packets that may turn out to be RTP, in the order of the capture.
    media: Vec<rtp::Seen>,
}

/// A frame, kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    kinds: Kinds,
    number: u64,
    ts: i64,
    link: LinkType,
    wire_len: u32,
    label: Label,
    #[serde(with = "plain")]
    data: Vec<u8>,
}

impl Tables {
    pub fn new(wanted: Kinds) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Adds a row for each message in a frame, of which these are number, time, label, link type, length and bytes.
    #[inline(never)]
    pub fn read(
        &mut self,
        (number, ts, label): (u64, i64, Label),
        (link, wire_len, data): (LinkType, u32, &[u8]),
    ) {
        let mut layers = Layers::default();
        dissect_into(link, data, wire_len, &mut layers);
        let frame = &Frame { number, ts, layers: &layers, label };
        let mut kinds = Kinds::of_frame(frame).and(self.wanted);
        if frame.is_later_fragment() {
            kinds = kinds.and(READ_FRAGMENTS);
        }
        for &kind in Kind::ALL.iter().filter(|&&kind| kinds.has(kind) && !ORDERED.has(kind)) {
            read(&mut self.made, kind, frame);
        }
        let kinds = kinds.and(ORDERED);
        if !kinds.is_empty() {
            self.later.push(Kept { kinds, number, ts, link, wire_len, label, data: data.to_vec() });
        }
    }

    /// Notes a packet that may turn out to be RTP.
    #[inline]
    pub fn note_media(&mut self, seen: rtp::Seen, room: usize) {
        if self.media.is_empty() {
            // Where there is one there may be many.
            self.media.reserve(room);
        }
        self.media.push(seen);
    }

    /// Makes them ready to be written: no message can be added any more.
    pub fn close(&mut self) -> Result<(), ArrowError> {
        for (kind, mut table) in self.made.drain(..).filter(|(_, table)| table.len() > 0) {
            self.closed.push((kind, table.finish()?));
        }
        Ok(())
    }

    /// Makes all frame numbers of what was read back from a file greater by this.
    pub fn renumber(&mut self, by: u64) -> Result<(), ArrowError> {
        for (_, batch) in &mut self.closed {
            *batch = columns::renumbered(batch, by)?;
        }
        for kept in &mut self.later {
            kept.number = kept.number.wrapping_add(by);
        }
        for seen in &mut self.media {
            seen.renumber(by);
        }
        Ok(())
    }

    /// A batch of each table that has rows. `ordered` has seen all frames before these; `media` has the numbers of those that proved
    /// to be RTP, in order.
    pub fn finish(
        self,
        ordered: &mut Ordered,
        media: &[u64],
    ) -> Result<Vec<(Kind, RecordBatch)>, ArrowError> {
        let Self { mut made, closed, later, media: seen, .. } = self;
        if !media.is_empty() {
            made.push((Kind::Rtp, Box::new(rtp::Rtp::of(&seen, media))));
        }
        for kept in &later {
            let mut layers = Layers::default();
            dissect_into(kept.link, &kept.data, kept.wire_len, &mut layers);
            let frame = Frame { number: kept.number, ts: kept.ts, layers: &layers, label: kept.label };
            for &kind in Kind::ALL.iter().filter(|&&kind| kept.kinds.has(kind)) {
                read(&mut ordered.made, kind, &frame);
            }
        }
        let all = made.iter_mut().chain(&mut ordered.made).filter(|(_, table)| table.len() > 0);
        let made = all.map(|(kind, table)| Ok((*kind, table.finish()?)));
        closed.into_iter().map(Ok).chain(made).collect()
    }
}

/// Tables whose frames are read in the order of the capture, and what they remember.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    made: Vec<(Kind, Box<dyn Table>)>,
}

/// Adds the messages of a frame to the table of this kind, which is made if it is not there yet.
fn read(tables: &mut Vec<(Kind, Box<dyn Table>)>, kind: Kind, frame: &Frame<'_>) {
    if !tables.iter().any(|(known, _)| *known == kind) {
        tables.push((kind, table(kind)));
    }
    if let Some((_, table)) = tables.iter_mut().find(|(known, _)| *known == kind) {
        table.read(frame);
    }
}

macro_rules! views {
    ($($module:ident: $variant:ident,)+) => {
        /// A batch of a side table, read back row by row.
        #[derive(Debug)]
        #[allow(dead_code, reason = "not every table is read by who looks for something")]
        pub(crate) enum View<'a> { $($variant($module::View<'a>),)+ }

        impl<'a> View<'a> {
            /// A view of a batch of this table.
            pub fn new(kind: Kind, batch: &'a RecordBatch) -> Result<Self, ArrowError> {
                Ok(match kind { $(Kind::$variant => Self::$variant($module::View::new(batch)?),)+ })
            }

            /// Which table it is.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant,)+ }
            }

            /// The numbers of the frames that the messages were in.
            pub fn frames(&self) -> &'a [u64] {
                match self { $(Self::$variant(view) => view.frames(),)+ }
            }
        }
    };
}

views! {
    dns: Dns, tls: Tls, tcp: Tcp, sip: Sip, rtp: Rtp, rtcp: Rtcp, icmp: Icmp, neighbor: Neighbor, fhrp: Fhrp, dhcp: Dhcp,
    bgp: Bgp, aaa: Aaa, diameter: Diameter, gtp: Gtp, ss7: Ss7, sample: Sample, transfer: Transfer,
    snmp: Snmp, path_options: PathOptions, wccp: Wccp, knock: Knock,
    ssh: Ssh, ike: Ike, routing_auth: RoutingAuth,
    signalling: Signalling,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Options, Reader, Source};
    use crate::messages::{self, schema};
    use crate::packets::{Scan, ScanOptions};

    /// Every table, made beside the packets in parts of any size, is what it is by itself.
    #[test]
    fn tables_beside_packets_are_those_made_alone() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/protocols.pcap");
        let reader = || Reader::open(vec![Source::Path(corpus.clone())], Options::default()).unwrap();
        for threads in [1, 3] {
            let tables = Kinds::of(Kind::ALL);
            let options = ScanOptions { tables, batch_size: 7, threads, ..ScanOptions::default() };
            let mut scan = Scan::new(reader(), options);
            let mut batches = Vec::new();
            while let Some(batch) = scan.next_with_messages().unwrap() {
                batches.extend(batch.messages);
            }
            for &kind in Kind::ALL {
                let parts = batches.iter().filter(|(of, _)| *of == kind).map(|(_, batch)| batch);
                let mut rows = Vec::new();
                for batch in parts {
                    assert_eq!(batch.schema(), schema(kind));
                    let view = View::new(kind, batch).unwrap();
                    rows.extend(view.frames().iter().map(|frame| format!("{frame}")));
                    rows.extend(
                        (0..batch.num_rows()).map(|row| format!("{:?}", batch.slice(row, 1).columns())),
                    );
                }
                let mut alone = Vec::new();
                for batch in messages::Scan::new(reader(), kind, 1) {
                    let batch = batch.unwrap();
                    let view = View::new(kind, &batch).unwrap();
                    alone.extend(view.frames().iter().map(|frame| format!("{frame}")));
                    alone.extend(
                        (0..batch.num_rows()).map(|row| format!("{:?}", batch.slice(row, 1).columns())),
                    );
                }
                rows.sort();
                alone.sort();
                assert!(!alone.is_empty(), "{kind:?}");
                assert_eq!(rows, alone, "{kind:?}");
            }
        }
    }
}
