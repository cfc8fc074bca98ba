//! Side tables: what single protocols say beyond the columns that every packet has, one row a message.
//!
//! Each table is one file: which packets have such messages, and what is read of each. Rows begin with the number of the
//! frame, by which they join the packets. Every frame is read by itself: a message that goes on in another segment is
//! read as far as this one holds it.

pub(crate) mod aaa;
pub(crate) mod bgp;
pub(crate) mod columns;
pub(crate) mod dhcp;
pub(crate) mod diameter;
pub(crate) mod dns;
pub(crate) mod fhrp;
pub(crate) mod gtp;
pub(crate) mod icmp;
pub(crate) mod ike;
pub(crate) mod knock;
pub(crate) mod neighbor;
pub(crate) mod path_options;
pub(crate) mod routing_auth;
pub(crate) mod rtcp;
pub(crate) mod rtp;
pub(crate) mod sample;
mod saved;
pub(crate) mod signalling;
pub(crate) mod sip;
pub(crate) mod snmp;
pub(crate) mod ss7;
pub(crate) mod ssh;
mod tables;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod transfer;
pub(crate) mod wccp;
mod words;

pub(crate) use rtp::Seen as SeenMedia;
pub use tables::Kinds;
pub(crate) use tables::{Ordered, Tables, View};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use crate::capture::{Block, Reader};
use crate::classify::Label;
use crate::dissect::Layers;
use crate::named::named;
use crate::packets::Pause;
use crate::packets::frames::{Blocks, Frames};
use crate::wire::ip::Ip;
use crate::wire::ipv6;

named! {
    /// A side table.
    Kind {
        /// DNS messages.
        Dns = "dns",
        /// TLS and QUIC: hellos.
        Tls = "tls",
        /// TCP segments that begin a connection.
        Tcp = "tcp",
        /// SIP requests and responses.
        Sip = "sip",
        /// RTP packets.
        Rtp = "rtp",
        /// RTCP reports.
        Rtcp = "rtcp",
        /// ICMP and ICMPv6.
        Icmp = "icmp",
        /// ARP and neighbour discovery.
        Neighbor = "neighbor",
        /// VRRP, CARP, HSRP, GLBP.
        Fhrp = "fhrp",
        /// DHCP and DHCPv6.
        Dhcp = "dhcp",
        /// BGP messages.
        Bgp = "bgp",
        /// RADIUS and TACACS+.
        Aaa = "aaa",
        /// Diameter messages.
        Diameter = "diameter",
        /// GTP-C messages.
        Gtp = "gtp",
        /// SS7 over IP.
        Ss7 = "ss7",
        /// Frames that sFlow, IPFIX, NetFlow and HEP carry copies of.
        Sample = "sample",
        /// Requests for files, and captures that are sent.
        Transfer = "transfer",
        /// SNMP messages.
        Snmp = "snmp",
        /// Source routes and what else packets say of their way.
        PathOptions = "path_options",
        /// WCCP messages, and packets that are redirected.
        Wccp = "wccp",
        /// Packets that begin with the number some backdoor waits for.
        Knock = "knock",
        /// SSH: identification, and lists of algorithms.
        Ssh = "ssh",
        /// IKE messages.
        Ike = "ike",
        /// How routing protocols are authenticated.
        RoutingAuth = "routing_auth",
        /// Frames that may hold call signalling, as they are.
        Signalling = "signalling",
    }
}

/// A frame that may hold messages.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its number, as in the packets table.
    pub number: u64,
    /// When it was captured, nanoseconds UTC.
    pub ts: i64,
    /// Its layers.
    pub layers: &'a Layers<'a>,
    /// What it is.
    pub label: Label,
}

impl Frame<'_> {
    /// Whether it has the label of its first fragment, and no beginning of a message.
    fn is_later_fragment(&self) -> bool {
        self.layers.ip.is_some_and(|ip| ip.fragment.is_later())
    }
}

/// What an IP packet carries: behind the authentication headers (RFC 4302 section 2), which IPv4 counts to its payload.
fn carried<'a>(ip: &Ip<'a>) -> &'a [u8] {
    let (mut protocol, mut bytes) = (ip.protocol, ip.payload());
    while let (51, Some(len), Some(&next)) = (protocol, ipv6::extension_len(51, bytes), bytes.first()) {
        (protocol, bytes) = (next, bytes.get(len..).unwrap_or_default());
    }
    bytes
}

/// What collects rows; written by `columns::table!`.
trait Columns: std::fmt::Debug + Send {
    fn schema(&self) -> SchemaRef;
    fn len(&self) -> usize;
    /// Rows, and what they hold beyond that, so that batches are bounded in bytes too.
    fn size(&self) -> usize;
    fn finish(&mut self) -> Result<RecordBatch, ArrowError>;
}

/// A side table.
trait Table: Columns {
    /// Adds a row for each message in this frame.
    fn read(&mut self, frame: &Frame<'_>);
}

fn table(kind: Kind) -> Box<dyn Table> {
    match kind {
        Kind::Dns => Box::<dns::Dns>::default(),
        Kind::Tls => Box::<tls::Tls>::default(),
        Kind::Tcp => Box::<tcp::Tcp>::default(),
        Kind::Sip => Box::<sip::Sip>::default(),
        Kind::Rtp => Box::<rtp::Rtp>::default(),
        Kind::Icmp => Box::<icmp::Icmp>::default(),
        Kind::Diameter => Box::<diameter::Diameter>::default(),
        Kind::Ss7 => Box::<ss7::Ss7>::default(),
        Kind::Aaa => Box::<aaa::Aaa>::default(),
        Kind::Bgp => Box::<bgp::Bgp>::default(),
        Kind::Dhcp => Box::<dhcp::Dhcp>::default(),
        Kind::Fhrp => Box::<fhrp::Fhrp>::default(),
        Kind::Gtp => Box::<gtp::Gtp>::default(),
        Kind::Neighbor => Box::<neighbor::Neighbor>::default(),
        Kind::Rtcp => Box::<rtcp::Rtcp>::default(),
        Kind::Sample => Box::<sample::Sample>::default(),
        Kind::Transfer => Box::<transfer::Transfer>::default(),
        Kind::Snmp => Box::<snmp::Snmp>::default(),
        Kind::PathOptions => Box::<path_options::PathOptions>::default(),
        Kind::Wccp => Box::<wccp::Wccp>::default(),
        Kind::Knock => Box::<knock::Knock>::default(),
        Kind::Ssh => Box::<ssh::Ssh>::default(),
        Kind::Ike => Box::<ike::Ike>::default(),
        Kind::RoutingAuth => Box::<routing_auth::RoutingAuth>::default(),
        Kind::Signalling => Box::<signalling::Signalling>::default(),
    }
}

/// The schema of a side table.
pub fn schema(kind: Kind) -> SchemaRef {
    table(kind).schema()
}

/// Reads the messages of a capture batch by batch.
#[derive(Debug)]
pub struct Scan {
    blocks: Blocks,
    frames: Frames,
    table: Box<dyn Table>,
    reads_fragments: bool,
    batch_size: usize,
}

impl Scan {
    /// A scan of all that `reader` has. A batch holds about `batch_size` rows: up to as many more as one frame has,
    /// and fewer of such as hold much text.
    pub fn new(reader: Reader, kind: Kind, batch_size: usize) -> Self {
        Self {
            blocks: Blocks::new(reader),
            frames: Frames::default(),
            table: table(kind),
            reads_fragments: tables::READ_FRAGMENTS.has(kind),
            batch_size: batch_size.max(1),
        }
    }

    /// The same scan, which calls `pause` when the reader has nothing yet.
    #[must_use]
    pub fn with_pause(mut self, pause: Pause) -> Self {
        self.blocks.pause = Some(pause);
        self
    }

    /// The reader, for its warnings so far.
    pub fn reader(&self) -> &Reader {
        &self.blocks.reader
    }

    /// The next batch; `None` when the capture has ended.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while self.table.size() < self.batch_size {
            let Some((block, position)) = self.blocks.take()? else { break };
            let position = self.read_block(&block, position);
            self.blocks.put(block, position);
        }
        if self.table.len() == 0 {
            return Ok(None);
        }
        self.table.finish().map(Some)
    }

    /// Adds the messages of the frames from `position` on, as far as the batch has room; returns where it stopped.
    fn read_block(&mut self, block: &Block, mut position: usize) -> usize {
        let interfaces = self.blocks.reader.interfaces();
        let mut layers = Layers::default();
        for frame in block.frames().skip(position) {
            if self.table.size() >= self.batch_size {
                break;
            }
            let number = block.first_frame() + position as u64;
            position += 1;
            let label = self.frames.read(interfaces, frame, &mut layers);
            let frame = Frame { number, ts: frame.record.ts, layers: &layers, label };
            if !frame.is_later_fragment() || self.reads_fragments {
                self.table.read(&frame);
            }
        }
        position
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl RecordBatchReader for Scan {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }
}
