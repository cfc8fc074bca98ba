//! How a packet was seen, as a small number.

use hashbrown::HashMap;

use crate::dissect::{Labels, Mac, Stack};
use crate::packets::Packet;
use crate::wire::ip::Addr;

/// How a packet was seen. Field meanings are those of the packets table; `tap` is a number given by the caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are columns of the packets table, documented there")]
pub struct Path {
    pub tap: u16,
    pub eth_src: Option<Mac>,
    pub eth_dst: Option<Mac>,
    pub vlan: Option<u16>,
    pub vlan_inner: Option<u16>,
    pub mpls: Labels,
    pub encap: Stack,
    pub outer_src: Option<Addr>,
    pub outer_dst: Option<Addr>,
    pub tunnel_id: Option<u32>,
}

impl Path {
    /// The path of a packet seen on `tap`.
    #[inline]
    pub fn of(packet: &Packet, tap: u16) -> Self {
        Self {
            tap,
            eth_src: packet.eth_src,
            eth_dst: packet.eth_dst,
            vlan: packet.vlan,
            vlan_inner: packet.vlan_inner,
            mpls: packet.mpls,
            encap: packet.encap,
            outer_src: packet.outer_src,
            outer_dst: packet.outer_dst,
            tunnel_id: packet.tunnel_id,
        }
    }

    /// Whether both are inside the same tunnel, or both in none.
    #[inline]
    pub fn same_tunnel(&self, other: &Self) -> bool {
        (self.encap, self.outer_src, self.outer_dst, self.tunnel_id)
            == (other.encap, other.outer_src, other.outer_dst, other.tunnel_id)
    }
}

/// Number of a path in its [`Paths`].
pub type PathId = u32;

/// All paths seen, numbered as they appear. Bounded: what comes after [`Paths::MAX`] shares one path a tap that says
/// nothing but the tap.
#[derive(Debug, Default)]
pub struct Paths {
    all: Vec<Path>,
    numbers: HashMap<Path, PathId>,
    last: Option<(Path, PathId)>,
    overflow: u64,
}

impl Paths {
    /// How many paths are kept apart.
    pub const MAX: usize = 1 << 17;

    /// The number of this path.
    #[inline]
    pub fn number(&mut self, path: Path) -> PathId {
        match self.last {
            Some((last, number)) if last == path => number,
            _ => {
                let number = self.number_of_another(path);
                self.last = Some((path, number));
                number
            }
        }
    }

    fn number_of_another(&mut self, mut path: Path) -> PathId {
        if let Some(&number) = self.numbers.get(&path) {
            return number;
        }
        if self.all.len() >= Self::MAX {
            self.overflow += 1;
            path = Path { tap: path.tap, ..Path::default() };
        }
        let all = &mut self.all;
        *self.numbers.entry(path).or_insert_with(|| {
            all.push(path);
            all.len() as PathId - 1
        })
    }

    /// The path of this number; one that says nothing if there is none.
    #[inline]
    pub fn get(&self, number: PathId) -> Path {
        self.all.get(number as usize).copied().unwrap_or_default()
    }

    /// How often a path was met that found no room.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }
}
