//! What a capture file says about the interface that frames were seen on.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::LinkType;

/// An interface of one source. Frames name it by its index in [`Reader::interfaces`](super::Reader::interfaces).
///
/// A pcap file has one; a pcapng file describes each one in an Interface Description Block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Index of the source in [`Reader::files`](super::Reader::files).
    pub file: usize,
    /// Where frames of this interface were seen: the name of the stream, and the interface's own name if it has one,
    /// as in `router7/eth0`. The same interface of the next file of a stream that the user named has the same tap.
    /// Comes from the file unchanged, so it can hold any character.
    pub tap: String,
    /// Name of the device (`if_name`), such as `eth0`.
    pub name: Option<String>,
    /// Description (`if_description`).
    pub description: Option<String>,
    /// Capture filter in libpcap syntax (`if_filter`).
    pub filter: Option<String>,
    /// Operating system of the capturing machine (`if_os`, else the section's `shb_os`).
    pub os: Option<String>,
    /// Link-layer header type of its frames.
    pub link: LinkType,
    /// Most bytes captured of a frame, as the file claims; 0 is no limit.
    pub snaplen: u32,
    /// Resolution of the time stamps in the file.
    pub ts_resolution: TsResolution,
    /// Seconds added to the time stamps in the file (`if_tsoffset`). Record times include it.
    pub ts_offset: i64,
    /// Bytes of frame check sequence at the end of each frame (`if_fcslen`, or the FCS bits of a pcap header), if known.
    pub fcs_len: Option<u8>,
    /// Frames the interface received (`isb_ifrecv` of the last Interface Statistics Block).
    pub received: Option<u64>,
    /// Frames it dropped for want of resources (`isb_ifdrop` of the last Interface Statistics Block).
    pub dropped: Option<u64>,
}

/// Resolution of time stamps, as the pcapng option `if_tsresol` holds it: the negative power of ten of a second, or of
/// two if the top bit is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TsResolution(pub u8);

impl TsResolution {
    /// Microseconds: what pcap has, and pcapng unless it says otherwise.
    pub const MICROS: Self = Self(6);
    /// Nanoseconds.
    pub const NANOS: Self = Self(9);
}

impl fmt::Display for TsResolution {
    /// The unit as a power of a second, such as `10^-6 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = if self.0 & 0x80 == 0 { 10 } else { 2 };
        write!(f, "{base}^-{} s", self.0 & 0x7f)
    }
}
