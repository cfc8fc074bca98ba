//! How a packet was seen, as a small number.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};

use crate::dissect::{Labels, Mac, Stack};
use crate::packets::Packet;
use crate::prefetch::prefetch;
use crate::wire::ip::Addr;

/// How a packet was seen. Field meanings are those of the packets table; `tap` is a number given by the caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    pub fn of(packet: Packet<'_>, tap: u16) -> Self {
        Self {
            tap,
            eth_src: packet.eth_src(),
            eth_dst: packet.eth_dst(),
            vlan: packet.vlan(),
            vlan_inner: packet.vlan_inner(),
            mpls: packet.mpls(),
            encap: packet.encap(),
            outer_src: packet.outer_src(),
            outer_dst: packet.outer_dst(),
            tunnel_id: packet.tunnel_id(),
        }
    }

    /// Whether this is the path of a packet seen on `tap`.
    #[inline]
    pub fn is_of(&self, packet: Packet<'_>, tap: u16) -> bool {
        self.tap == tap
            && self.eth_src == packet.eth_src()
            && self.eth_dst == packet.eth_dst()
            && self.vlan == packet.vlan()
            && self.vlan_inner == packet.vlan_inner()
            && self.encap == packet.encap()
            && self.outer_src == packet.outer_src()
            && self.outer_dst == packet.outer_dst()
            && self.tunnel_id == packet.tunnel_id()
            && self.mpls == packet.mpls()
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Paths {
    all: Vec<Path>,
    numbers: HashTable<PathId>,
    hasher: DefaultHashBuilder,
    nowhere: Path,
    overflow: u64,
}

/// What is saved of them: the rest follows from it.
#[derive(Serialize, Deserialize)]
struct Saved {
    all: Vec<Path>,
    overflow: u64,
}

impl From<Saved> for Paths {
    fn from(Saved { all, overflow }: Saved) -> Self {
        let mut paths = Self { overflow, ..Self::default() };
        for path in &all {
            paths.number_of(path);
        }
        paths
    }
}

impl From<Paths> for Saved {
    fn from(Paths { all, overflow, .. }: Paths) -> Self {
        Self { all, overflow }
    }
}

impl Paths {
    /// How many paths are kept apart.
    pub const MAX: usize = 1 << 17;

    /// The number of this path.
    pub fn number(&mut self, path: &Path) -> PathId {
        if self.all.len() < Self::MAX {
            return self.number_of(path);
        }
        self.find(path).unwrap_or_else(|| {
            self.overflow += 1;
            self.rest(path.tap)
        })
    }

    /// The number of the path that says nothing but the tap.
    pub fn rest(&mut self, tap: u16) -> PathId {
        self.number_of(&Path { tap, ..Path::default() })
    }

    fn find(&self, path: &Path) -> Option<PathId> {
        self.numbers.find(self.hasher.hash_one(path), |&number| self.get(number) == path).copied()
    }

    fn number_of(&mut self, path: &Path) -> PathId {
        let Self { all, numbers, hasher, .. } = self;
        if all.is_empty() {
            // Pages that are not used yet take no memory, and rows that need not move take no time.
            let _ = all.try_reserve_exact(Self::MAX);
        }
        let of = |number: PathId| all.get(number as usize);
        let entry = numbers.entry(
            hasher.hash_one(path),
            |&number| of(number) == Some(path),
            |&number| of(number).map_or(0, |path| hasher.hash_one(path)),
        );
        let next = all.len() as PathId;
        let number = *entry.or_insert(next).get();
        if number == next {
            all.push(*path);
        }
        number
    }

    /// The path of this number; one that says nothing if there is none.
    #[inline]
    pub fn get(&self, number: PathId) -> &Path {
        self.all.get(number as usize).unwrap_or(&self.nowhere)
    }

    /// Asks for the path of this number.
    #[inline]
    pub fn prefetch(&self, number: PathId) {
        prefetch(self.get(number));
    }

    /// All paths, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.all.iter()
    }

    /// How many packets had a path that found no room.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }
}
