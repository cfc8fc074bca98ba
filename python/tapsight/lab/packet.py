"""Packets as the lab builds them: addresses and numbers in, bytes with right checksums out."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, replace

TCP, UDP, ICMP, ICMPV6, GRE, IPIP = 6, 17, 1, 58, 47, 4
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data: bytes) -> int:
    """The Internet checksum, RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    # Adding 16-bit words with end-around carry is arithmetic modulo 2^16 - 1.
    total = int.from_bytes(data, "big") % 0xFFFF
    return 0xFFFF - total if total or not any(data) else 0


def address(text: str) -> bytes:
    """An address as it stands on the wire."""
    return ipaddress.ip_address(text).packed


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet. For TCP, ``seq``, ``ack`` and ``flags`` count; for others not."""

    src: str
    dst: str
    protocol: int
    src_port: int = 0
    dst_port: int = 0
    payload: bytes = b""
    ttl: int = 64
    tos: int = 0
    ip_id: int = 0
    seq: int = 0
    ack: int = 0
    flags: int = 0
    window: int = 64240

    def forwarded(self) -> Packet:
        """The packet behind a router, RFC 1812 section 5.3.1."""
        return replace(self, ttl=self.ttl - 1)

    def encode(self) -> bytes:
        """The packet from its IP header on."""
        src, dst = address(self.src), address(self.dst)
        body = self._transport(src + dst)
        if len(src) == 16:
            first = 6 << 28 | self.tos << 20
            return struct.pack("!IHBB", first, len(body), self.protocol, self.ttl) + src + dst + body
        do_not_fragment = 0x4000 if self.ip_id == 0 or self.protocol == TCP else 0
        header = struct.pack(
            "!BBHHHBBH",
            0x45,
            self.tos,
            20 + len(body),
            self.ip_id,
            do_not_fragment,
            self.ttl,
            self.protocol,
            0,
        )
        header += src + dst
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body

    def _transport(self, addresses: bytes) -> bytes:
        if self.protocol == TCP:
            options = b"\x02\x04\x05\xb4" if self.flags & SYN else b""
            offset = (20 + len(options)) // 4
            body = struct.pack(
                "!HHIIHHHH",
                self.src_port,
                self.dst_port,
                self.seq & 0xFFFFFFFF,
                self.ack & 0xFFFFFFFF,
                offset << 12 | self.flags,
                self.window,
                0,
                0,
            )
            return self._sealed(addresses, body + options + self.payload, 16)
        if self.protocol == UDP:
            body = struct.pack("!HHHH", self.src_port, self.dst_port, 8 + len(self.payload), 0) + self.payload
            return self._sealed(addresses, body, 6)
        if self.protocol == ICMP:
            return self._sealed(b"", self.payload, 2)
        if self.protocol == ICMPV6:
            return self._sealed(addresses, self.payload, 2)
        return self.payload

    def _sealed(self, addresses: bytes, body: bytes, at: int) -> bytes:
        """The body with its checksum, over a pseudo-header if there are addresses (RFC 9293 section 3.1)."""
        pseudo = addresses + struct.pack("!IHBB", len(body), 0, 0, self.protocol) if addresses else b""
        value = checksum(pseudo + body)
        if self.protocol == UDP and value == 0:
            value = 0xFFFF  # RFC 768: zero says that there is none
        return body[:at] + struct.pack("!H", value) + body[at + 2 :]


def ethernet(src: bytes, dst: bytes, packet: bytes, vlan: int | None = None) -> bytes:
    """A frame around an IP packet, or around an IP packet in a VLAN."""
    ethertype = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return dst + src + tag + struct.pack("!H", ethertype) + packet


def tunnel(kind: str, outer: Packet, frame: bytes, packet: bytes, session: int, sequence: int) -> Packet:
    """``outer`` with a copy inside: of the whole frame where the tunnel carries frames, else of its packet."""
    if kind == "erspan2":  # draft-foschiano-erspan-03, type II
        gre = struct.pack("!HHI", 0x1000, 0x88BE, sequence)
        return replace(outer, protocol=GRE, payload=gre + struct.pack("!HHI", 1 << 12, session, 0) + frame)
    if kind == "erspan3":
        gre = struct.pack("!HHI", 0x1000, 0x22EB, sequence)
        header = struct.pack("!HHIHH", 2 << 12, session, sequence, 0, 0)
        return replace(outer, protocol=GRE, payload=gre + header + frame)
    if kind == "gre":  # RFC 2890, with a key
        ethertype = 0x86DD if packet[0] >> 4 == 6 else 0x0800
        return replace(outer, protocol=GRE, payload=struct.pack("!HHI", 0x2000, ethertype, session) + packet)
    if kind == "ipip":  # RFC 2003, RFC 4213
        return replace(outer, protocol=41 if packet[0] >> 4 == 6 else IPIP, payload=packet)
    udp = replace(outer, protocol=UDP, src_port=49152 + sequence % 16384)
    if kind == "vxlan":  # RFC 7348
        return replace(udp, dst_port=4789, payload=struct.pack("!II", 0x08000000, session << 8) + frame)
    if kind == "geneve":  # RFC 8926
        return replace(udp, dst_port=6081, payload=struct.pack("!BBHI", 0, 0, 0x6558, session << 8) + frame)
    if kind == "gtpu":  # 3GPP TS 29.281
        header = struct.pack("!BBHI", 0x30, 255, len(packet), session)
        return replace(udp, src_port=2152, dst_port=2152, payload=header + packet)
    raise ValueError(f"no tunnel {kind!r}; there are erspan2, erspan3, gre, ipip, vxlan, geneve, gtpu")
