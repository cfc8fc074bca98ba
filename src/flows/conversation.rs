//! One conversation: what its packets were, counted both ways.

use crate::classify::{App, Basis, Label};
use crate::dissect::{Labels, Mac};
use crate::hash::fold;
use crate::packets::Packet;
use crate::prefetch::prefetch_first;

pub(super) const FIN: u16 = 0x01;
pub(super) const SYN: u16 = 0x02;
pub(super) const RST: u16 = 0x04;
pub(super) const ACK: u16 = 0x10;

/// Two equal packets within this time are one packet, seen twice by a mirror port (A5 of the detectors).
const COPY: i64 = 10_000_000;

/// What was sent one way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Side {
    pub packets: u64,
    /// On the wire, with all headers.
    pub bytes: u64,
    /// Behind the transport header.
    pub payload_bytes: u64,
    /// A bit for each code point.
    pub dscp: u64,
    /// All that were set.
    pub tcp_flags: u16,
    pub ttl_min: u8,
    pub ttl_max: u8,
}

/// What the first packets of one way say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Start {
    pub eth_src: Option<Mac>,
    pub eth_dst: Option<Mac>,
    pub tunnel_id: Option<u32>,
    /// Sequence number of the first SYN.
    pub isn: Option<u32>,
    /// When that came.
    syn_ts: i64,
    /// Whether another came later, so that nobody can tell which one was answered.
    is_resent: bool,
}

/// A few different values, in the order in which they came; those that find no room are only known to have been.
#[derive(Debug, Clone, Copy)]
pub(super) struct Few<T, const N: usize> {
    values: [T; N],
    len: u8,
}

impl<T: Copy + Default + PartialEq, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self { values: [T::default(); N], len: 0 }
    }
}

impl<T: Copy + Default + PartialEq, const N: usize> Few<T, N> {
    #[inline]
    pub fn add(&mut self, value: T) {
        // Most packets are as the one before.
        if self.values.first() == Some(&value) && self.len > 0 || self.as_slice().contains(&value) {
            return;
        }
        if let Some(slot) = self.values.get_mut(usize::from(self.len)) {
            *slot = value;
            self.len += 1;
        }
    }

    pub fn as_slice(&self) -> &[T] {
        self.values.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What the packets of a conversation say that it is: the strongest basis counts, and on that the majority.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Opinion {
    basis: Option<Basis>,
    /// Applications and how many packets say so.
    apps: [(Option<App>, u32); 3],
    /// Packets that say something on this basis.
    of: u32,
}

impl Opinion {
    /// Strongest first, as [`Basis`] has them.
    const fn rank(basis: Option<Basis>) -> u8 {
        match basis {
            Some(basis) => basis as u8,
            None => u8::MAX,
        }
    }

    #[inline]
    fn add(&mut self, label: Label) {
        let (Some(_), Some(_)) = (label.app, label.basis) else { return };
        let (new, old) = (Self::rank(label.basis), Self::rank(self.basis));
        if new > old {
            return;
        }
        if new < old {
            *self = Self { basis: label.basis, ..Self::default() };
        }
        self.of = self.of.saturating_add(1);
        let slot = self.apps.iter_mut().find(|(app, _)| *app == label.app || app.is_none());
        if let Some((app, packets)) = slot {
            *app = label.app;
            *packets = packets.saturating_add(1);
        }
    }

    /// What it is, and the share of the packets that say something on this basis which say so.
    pub fn conclusion(&self) -> (Label, Option<f32>) {
        // The first of several with equal votes.
        let most = self.apps.iter().rev().max_by_key(|(_, packets)| *packets);
        match most {
            Some(&(Some(app), packets)) => {
                let share = f64::from(packets) / f64::from(self.of.max(1));
                (Label { app: Some(app), basis: self.basis }, Some(share as f32))
            }
            _ => (Label::default(), None),
        }
    }
}

/// Why a row ends where it does; the names of IPFIX (IANA, flowEndReason, 136).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum EndReason {
    IdleTimeout,
    ActiveTimeout,
    EndOfFlow,
    ForcedEnd,
    LackOfResources,
}

impl EndReason {
    pub const NAMES: [&str; 5] =
        ["idle-timeout", "active-timeout", "end-of-flow", "forced-end", "lack-of-resources"];
}

/// A conversation so far. *Forward* is the way of who began it.
// All that is read and written of most packets lies in the first four cache lines, which are asked for beforehand.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Conversation {
    pub key: super::Key,
    /// In the order in which they began, from 1.
    pub number: u64,
    /// Whether who began it is the second of the key's ends.
    pub is_turned: bool,
    /// The same of the tunnel's ends.
    pub outer_turned: bool,
    /// Why it is over; none while it goes on.
    pub reason: Option<EndReason>,
    /// Who sent the first RST, if it was who began.
    pub reset_forward: Option<bool>,
    /// Whether there is an `rtt_src`.
    has_rtt_src: bool,
    /// Type and code of the first ICMP message.
    pub icmp: Option<[u8; 2]>,
    pub forward: Side,
    pub reverse: Side,
    pub first_ts: i64,
    pub last_ts: i64,
    pub opinion: Opinion,
    /// Hashes of the ways it was seen.
    pub ways: Few<u32, 8>,
    pub vlans: Few<u16, 4>,
    pub issues: u64,
    // What is behind this is looked at seldom.
    pub frames: [u64; Self::FRAMES],
    pub forward_start: Start,
    pub reverse_start: Start,
    pub mpls: Few<u32, 4>,
    /// When the first packet of the other way came.
    pub answer_ts: Option<i64>,
    /// From SYN to SYN and ACK.
    pub rtt_dst: Option<i64>,
    /// From that to the ACK of it.
    pub rtt_src: Option<i64>,
    /// The name that a client asked for.
    pub server_name: Option<Box<str>>,
}

impl Conversation {
    pub const FRAMES: usize = 8;

    pub fn new(key: super::Key, number: u64, is_turned: bool, ts: i64) -> Self {
        Self {
            key,
            number,
            is_turned,
            outer_turned: false,
            reason: None,
            reset_forward: None,
            has_rtt_src: false,
            icmp: None,
            forward: Side::default(),
            reverse: Side::default(),
            first_ts: ts,
            last_ts: ts,
            opinion: Opinion::default(),
            ways: Few::default(),
            vlans: Few::default(),
            issues: 0,
            frames: [0; Self::FRAMES],
            forward_start: Start::default(),
            reverse_start: Start::default(),
            mpls: Few::default(),
            answer_ts: None,
            rtt_dst: None,
            rtt_src: None,
            server_name: None,
        }
    }

    /// Asks for what most packets need of it.
    #[inline]
    pub fn prefetch(&self) {
        prefetch_first(self, std::mem::offset_of!(Self, frames));
    }

    /// All packets.
    #[inline]
    pub fn packets(&self) -> u64 {
        self.forward.packets + self.reverse.packets
    }

    /// Whether both sides have said that it is over, or one has broken it off.
    #[inline]
    pub fn is_over(&self) -> bool {
        (self.forward.tcp_flags | self.reverse.tcp_flags) & RST != 0
            || self.forward.tcp_flags & self.reverse.tcp_flags & FIN != 0
    }

    /// Whether a SYN without ACK, sent by the second of the key's ends if it `is_turned`, begins another connection between the same ends.
    pub fn is_new(&self, seq: u32, is_turned: bool) -> bool {
        let is_forward = is_turned == self.is_turned;
        let (forward, reverse) = (self.forward_start.isn, self.reverse_start.isn);
        match if is_forward { forward } else { reverse } {
            Some(isn) => isn != seq,
            // What was seen may be the rest of an earlier one, or the answer, which came first.
            None => self.packets() > u64::from(reverse.is_some() || forward.is_some()),
        }
    }

    /// Counts a packet, which the second of the key's ends has sent if it `is_turned`.
    #[inline]
    pub fn add(&mut self, packet: Packet<'_>, is_turned: bool) {
        let ts = packet.ts();
        let is_forward = is_turned == self.is_turned;
        let before = self.packets() as usize;
        if let Some(slot) = self.frames.get_mut(before) {
            *slot = packet.frame();
        }
        self.first_ts = self.first_ts.min(ts);
        self.last_ts = self.last_ts.max(ts);
        self.issues += u64::from(packet.has_issue());
        self.opinion.add(packet.label());
        let (vlan, inner) = (packet.vlan(), packet.vlan_inner());
        for tag in [vlan, inner].into_iter().flatten() {
            self.vlans.add(tag);
        }
        let flags = packet.tcp_flags();
        if !is_forward && self.reverse.packets == 0 {
            self.answer_ts = Some(ts);
        }
        let (side, start) = if is_forward {
            (&mut self.forward, &mut self.forward_start)
        } else {
            (&mut self.reverse, &mut self.reverse_start)
        };
        let mut labels = Labels::default();
        let mut tunnel_id = None;
        if packet.is_encapsulated_or_labelled() {
            labels = packet.mpls();
            tunnel_id = packet.tunnel_id();
            start.tunnel_id = start.tunnel_id.or(tunnel_id);
        }
        if side.packets == 0 {
            (start.eth_src, start.eth_dst) = (packet.eth_src(), packet.eth_dst());
        }
        self.ways.add(way(packet, vlan, inner, labels, tunnel_id));
        side.packets += 1;
        side.bytes += u64::from(packet.wire_len());
        side.payload_bytes += u64::from(packet.payload_len().unwrap_or_default());
        if let Some(tos) = packet.tos() {
            side.dscp |= 1 << (tos >> 2);
        }
        if let Some(ttl) = packet.ttl() {
            side.ttl_min = if side.ttl_max == 0 && side.ttl_min == 0 { ttl } else { side.ttl_min.min(ttl) };
            side.ttl_max = side.ttl_max.max(ttl);
        }
        for &label in labels.as_slice() {
            self.mpls.add(label);
        }
        if let Some(flags) = flags {
            self.add_tcp(packet, flags, is_forward);
        }
    }

    #[inline]
    fn add_tcp(&mut self, packet: Packet<'_>, flags: u16, is_forward: bool) {
        let ts = packet.ts();
        let (side, start) = if is_forward {
            (&mut self.forward, &mut self.forward_start)
        } else {
            (&mut self.reverse, &mut self.reverse_start)
        };
        side.tcp_flags |= flags;
        if flags & SYN != 0 {
            match start.isn {
                None => (start.isn, start.syn_ts) = (packet.tcp_seq(), ts),
                Some(_) => start.is_resent |= ts.saturating_sub(start.syn_ts) > COPY,
            }
            let Self { forward_start: there, reverse_start: back, .. } = self;
            if !is_forward && flags & ACK != 0 && self.rtt_dst.is_none() && there.isn.is_some() {
                let took = ts.saturating_sub(there.syn_ts);
                self.rtt_dst = Some(took).filter(|_| !there.is_resent && !back.is_resent);
            }
        } else if is_forward && flags & ACK != 0 && !self.has_rtt_src && self.is_answered_by(packet) {
            let took = ts.saturating_sub(self.reverse_start.syn_ts);
            self.rtt_src = Some(took).filter(|_| !self.reverse_start.is_resent);
            self.has_rtt_src = self.rtt_src.is_some();
        }
        // What comes after both have ended it breaks nothing off.
        let is_ended = self.forward.tcp_flags & self.reverse.tcp_flags & FIN != 0;
        if flags & RST != 0 && self.reset_forward.is_none() && !is_ended {
            self.reset_forward = Some(is_forward);
        }
    }

    /// Whether this is the ACK that ends the handshake.
    fn is_answered_by(&self, packet: Packet<'_>) -> bool {
        let ack = |start: &Start| start.isn.map(|isn| isn.wrapping_add(1));
        // Flags first, as they are at hand.
        self.forward.tcp_flags & SYN != 0
            && self.reverse.tcp_flags & (SYN | ACK) == SYN | ACK
            && self.forward_start.isn.is_some()
            && packet.tcp_ack().is_some_and(|number| ack(&self.reverse_start) == Some(number))
    }

    /// How a TCP connection went, by the names that Zeek has for it in `conn_state`.
    pub fn conn_state(&self) -> &'static str {
        let (there, back) = (self.forward.tcp_flags, self.reverse.tcp_flags);
        let syn = self.forward_start.isn.is_some();
        let answer = self.reverse_start.isn.is_some() && back & ACK != 0;
        match (syn, answer, self.reset_forward) {
            (true, true, Some(true)) => "RSTO",
            (true, true, Some(false)) => "RSTR",
            (true, false, Some(true)) => "RSTOS0",
            (true, false, Some(false)) => "REJ",
            (false, true, Some(false)) => "RSTRH",
            (true, true, None) => match (there & FIN != 0, back & FIN != 0) {
                (true, true) => "SF",
                (true, false) => "S2",
                (false, true) => "S3",
                (false, false) => "S1",
            },
            (true, false, None) if there & FIN != 0 => "SH",
            (true, false, None) => "S0",
            (false, true, None) if back & FIN != 0 => "SHR",
            _ => "OTH",
        }
    }
}

/// A number for how a packet was seen: MACs, VLANs, labels, tunnel.
#[inline]
fn way(
    packet: Packet<'_>,
    vlan: Option<u16>,
    inner: Option<u16>,
    labels: Labels,
    tunnel_id: Option<u32>,
) -> u32 {
    let mac = |mac: Option<Mac>| {
        let [a, b, c, d, e, f] = mac.unwrap_or_default();
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    };
    let tag = |tag: Option<u16>| u64::from(tag.map_or(0xffff, |tag| tag & 0x0fff));
    let mut hash = fold(
        mac(packet.eth_src()) ^ 0x9e37_79b9_7f4a_7c15,
        mac(packet.eth_dst()) ^ 0xd1b5_4a32_d192_ed03 ^ (tag(vlan) | tag(inner) << 16) << 32,
    );
    for &label in labels.as_slice() {
        hash = fold(hash ^ u64::from(label), 0x9e37_79b9_7f4a_7c15);
    }
    if let Some(id) = tunnel_id {
        hash = fold(hash ^ u64::from(id), 0xd1b5_4a32_d192_ed03);
    }
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_most_packets_need_is_asked_for() {
        assert!(std::mem::offset_of!(Conversation, frames) <= 4 * crate::prefetch::LINE);
    }
}
