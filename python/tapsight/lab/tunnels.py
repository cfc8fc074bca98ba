"""What carries a copy away: one function a tunnel, each after the figure of its standard.

A tunnel is given the router's packet to fill, the frame or packet to carry, an id, a sequence number, and chance for what
looks random. ``TUNNELS`` names them all.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from tapsight.lab.packet import ESP, ETHERIP, GRE, IP6IN4, IPIP, UDP, Packet


@dataclass(frozen=True, slots=True)
class Load:
    """What a tunnel is to carry."""

    frame: bytes
    """The whole frame, for tunnels that carry frames."""
    packet: bytes
    """Its IP packet, for tunnels that carry packets."""
    truncated: bool
    """Whether either was cut short."""
    session: int
    """The id of the tunnel."""
    sequence: int
    """Number of the packet in the tunnel, from 1."""
    rng: random.Random


Wrap = Callable[[Packet, Load], Packet]


def erspan1(outer: Packet, load: Load) -> Packet:
    """ERSPAN type I: GRE without sequence number, and no header of its own (draft-foschiano-erspan-03)."""
    return outer._replace(protocol=GRE, payload=struct.pack("!HH", 0, 0x88BE) + load.frame)


def erspan2(outer: Packet, load: Load) -> Packet:
    """ERSPAN type II (draft-foschiano-erspan-03, section 4.2)."""
    gre = struct.pack("!HHI", 0x1000, 0x88BE, load.sequence)
    header = struct.pack("!HHI", 1 << 12, load.truncated << 10 | load.session & 0x3FF, 0)
    return outer._replace(protocol=GRE, payload=gre + header + load.frame)


def erspan3(outer: Packet, load: Load) -> Packet:
    """ERSPAN type III (draft-foschiano-erspan-03, section 4.3)."""
    gre = struct.pack("!HHI", 0x1000, 0x22EB, load.sequence)
    session = load.truncated << 10 | load.session & 0x3FF
    header = struct.pack("!HHIHH", 2 << 12, session, load.sequence, 0, 0)
    return outer._replace(protocol=GRE, payload=gre + header + load.frame)


def gre(outer: Packet, load: Load) -> Packet:
    """GRE with a key (RFC 2890)."""
    header = struct.pack("!HHI", 0x2000, 0x86DD if load.packet[0] >> 4 == 6 else 0x0800, load.session)
    return outer._replace(protocol=GRE, payload=header + load.packet)


def nvgre(outer: Packet, load: Load) -> Packet:
    """NVGRE: GRE with frames, and a key that holds the subnet (RFC 7637)."""
    header = struct.pack("!HHI", 0x2000, 0x6558, load.session << 8)
    return outer._replace(protocol=GRE, payload=header + load.frame)


def ipip(outer: Packet, load: Load) -> Packet:
    """IP in IP (RFC 2003, RFC 4213)."""
    return outer._replace(protocol=IP6IN4 if load.packet[0] >> 4 == 6 else IPIP, payload=load.packet)


def etherip(outer: Packet, load: Load) -> Packet:
    """EtherIP (RFC 3378)."""
    return outer._replace(protocol=ETHERIP, payload=b"\x30\x00" + load.frame)


def vxlan(outer: Packet, load: Load) -> Packet:
    """VXLAN (RFC 7348)."""
    return _udp(outer, load, 4789, struct.pack("!II", 0x08000000, load.session << 8) + load.frame)


def geneve(outer: Packet, load: Load) -> Packet:
    """GENEVE (RFC 8926)."""
    return _udp(outer, load, 6081, struct.pack("!BBHI", 0, 0, 0x6558, load.session << 8) + load.frame)


def gtpu(outer: Packet, load: Load) -> Packet:
    """GTP-U, a G-PDU (3GPP TS 29.281, section 5.1)."""
    header = struct.pack("!BBHI", 0x30, 255, len(load.packet), load.session)
    return outer._replace(protocol=UDP, src_port=2152, dst_port=2152, payload=header + load.packet)


def tzsp(outer: Packet, load: Load) -> Packet:
    """TZSP, a received frame of Ethernet and the tag that ends the header (as Wireshark reads it)."""
    return _udp(outer, load, 37008, b"\x01\x00\x00\x01\x01" + load.frame)


def jmirror(outer: Packet, load: Load) -> Packet:
    """Juniper packet mirroring: an intercept id of 30 bits, a session id, then IP."""
    header = struct.pack("!II", load.session & 0x3FFFFFFF, load.sequence >> 20)
    return _udp(outer, load, 30030, header + load.packet, source=30030)


def cisco_li(outer: Packet, load: Load) -> Packet:
    """Cisco lawful intercept, and PacketCable's electronic surveillance: an id of 4 bytes, then IP."""
    return _udp(outer, load, 7000, struct.pack("!I", load.session) + load.packet, source=7000)


def esp(outer: Packet, load: Load) -> Packet:
    """ESP in tunnel mode with AES-GCM: SPI, number, IV of 8, ciphertext padded to 4, ICV of 16 (RFC 4303, RFC 4106)."""
    sealed = (len(load.packet) + 2 + 3) // 4 * 4
    head = struct.pack("!II", 0xC0DE0000 | load.session, load.sequence)
    return outer._replace(protocol=ESP, payload=head + load.rng.randbytes(8 + sealed + 16))


def wireguard(outer: Packet, load: Load) -> Packet:
    """WireGuard, transport data: type 4, receiver, counter, packet padded to 16, tag of 16 (its paper, section 5.4.6)."""
    sealed = (len(load.packet) + 15) // 16 * 16
    head = struct.pack("<IIQ", 4, 0x5EED0000 | load.session, load.sequence - 1)
    body = head + load.rng.randbytes(sealed + 16)
    return outer._replace(protocol=UDP, src_port=51820, dst_port=51820, payload=body)


def _udp(outer: Packet, load: Load, port: int, payload: bytes, source: int | None = None) -> Packet:
    # Source ports spread a tunnel over paths (RFC 7348 section 5).
    source = 49152 + load.sequence % 16384 if source is None else source
    return outer._replace(protocol=UDP, src_port=source, dst_port=port, payload=payload)


TUNNELS: dict[str, Wrap] = {
    "erspan1": erspan1,
    "erspan2": erspan2,
    "erspan3": erspan3,
    "gre": gre,
    "nvgre": nvgre,
    "ipip": ipip,
    "etherip": etherip,
    "vxlan": vxlan,
    "geneve": geneve,
    "gtpu": gtpu,
    "tzsp": tzsp,
    "jmirror": jmirror,
    "cisco-li": cisco_li,
    "esp": esp,
    "wireguard": wireguard,
}
"""Every tunnel by its name."""

MIRROR_ONLY = frozenset({"erspan1", "erspan2", "erspan3", "tzsp"})
"""Those that have no use but mirroring."""

ENCRYPTED = frozenset({"esp", "wireguard"})
"""Those that show nothing of what they carry."""

INTERCEPT = frozenset({"jmirror", "cisco-li"})
"""Those of lawful intercept."""
