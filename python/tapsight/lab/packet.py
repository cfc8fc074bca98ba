"""Packets as the lab builds them: addresses and numbers in, bytes with right checksums out."""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections.abc import Iterator
from typing import NamedTuple

TCP, UDP, ICMP, ICMPV6, GRE, IPIP, IP6IN4 = 6, 17, 1, 58, 47, 4, 41
ESP, ETHERIP, VRRP, SCTP = 50, 97, 112, 132
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data: bytes) -> int:
    """The Internet checksum, RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    # Adding 16-bit words with end-around carry is arithmetic modulo 2^16 - 1.
    total = int.from_bytes(data, "big") % 0xFFFF
    return 0xFFFF - total if total or not any(data) else 0


@functools.lru_cache(maxsize=1 << 16)
def address(text: str) -> bytes:
    """An address as it stands on the wire."""
    return ipaddress.ip_address(text).packed


@functools.cache
def mac(text: str) -> bytes:
    """A MAC address as it stands on the wire."""
    return bytes.fromhex(text.replace(":", ""))


class Packet(NamedTuple):
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
    options: bytes = b""
    """Options of TCP, a multiple of four bytes; a SYN without any has an MSS of 1460."""
    ip_options: bytes = b""
    """Options of IPv4, a multiple of four bytes."""
    urgent: int = 0
    final: str = ""
    """The last of the addresses that it is routed by: checksums count that as its destination (RFC 8200 section 8.1)."""

    @property
    def is_weak(self) -> bool:
        """Whether it holds too little to be told from others: shorter than 48 bytes, or neither payload nor number."""
        header = 40 if ":" in self.src else 20
        transport = {TCP: 20, UDP: 8, ICMP: 8, ICMPV6: 8}.get(self.protocol, 0)
        payload = len(self.payload) - (8 if self.protocol in (ICMP, ICMPV6) else 0)
        options = 4 if self.flags & SYN and not self.options else len(self.options)
        short = header + transport + options + payload < 48
        return short or (not self.ip_id and payload <= 0)

    def encode(self) -> bytes:
        """The packet from its IP header on."""
        src, dst = address(self.src), address(self.dst)
        body = self._transport(src + (address(self.final) if self.final else dst))
        if len(src) == 16:
            first = 6 << 28 | self.tos << 20
            return struct.pack("!IHBB", first, len(body), self.protocol, self.ttl) + src + dst + body
        do_not_fragment = 0x4000 if self.ip_id == 0 or self.protocol == TCP else 0
        words = 5 + len(self.ip_options) // 4
        header = struct.pack(
            "!BBHHHBBH",
            0x40 | words,
            self.tos,
            4 * words + len(body),
            self.ip_id,
            do_not_fragment,
            self.ttl,
            self.protocol,
            0,
        )
        return _sealed_header(header + src + dst + self.ip_options) + body

    def _transport(self, addresses: bytes) -> bytes:
        if self.protocol == TCP:
            options = self.options or (b"\x02\x04\x05\xb4" if self.flags & SYN else b"")
            body = struct.pack(
                "!HHIIHHHH",
                self.src_port,
                self.dst_port,
                self.seq & 0xFFFFFFFF,
                self.ack & 0xFFFFFFFF,
                (20 + len(options)) // 4 << 12 | self.flags,
                self.window,
                0,
                self.urgent,
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


def _sealed_header(header: bytes) -> bytes:
    """An IPv4 header with its checksum in place."""
    header = header[:10] + b"\0\0" + header[12:]
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:]


# --- What happens to packets on the way --------------------------------------------------------------------------------


def forwarded(packet: bytes, hops: int = 1) -> bytes:
    """The packet this many routers on: TTL and header checksum as RFC 1812 section 5.3.1 and RFC 1624 have them."""
    if packet[0] >> 4 == 6:
        return packet[:7] + bytes((packet[7] - hops,)) + packet[8:]
    value = (packet[10] << 8 | packet[11]) + (hops << 8)
    value = (value & 0xFFFF) + (value >> 16)
    if value == 0xFFFF:
        value = 0
    return packet[:8] + bytes((packet[8] - hops, packet[9], value >> 8, value & 0xFF)) + packet[12:]


def with_ttl(packet: bytes, ttl: int) -> bytes:
    """The packet with this TTL or hop limit."""
    if packet[0] >> 4 == 6:
        return packet[:7] + bytes((ttl,)) + packet[8:]
    size = 4 * (packet[0] & 15)
    return _sealed_header(packet[:8] + bytes((ttl,)) + packet[9:size]) + packet[size:]


def with_dscp(packet: bytes, dscp: int) -> bytes:
    """The packet with this DSCP (RFC 2474), and ECN as it was."""
    if packet[0] >> 4 == 6:
        first = int.from_bytes(packet[:4], "big") & ~(0x3F << 22) | dscp << 22
        return first.to_bytes(4, "big") + packet[4:]
    size = 4 * (packet[0] & 15)
    return _sealed_header(packet[:1] + bytes((dscp << 2 | packet[1] & 3,)) + packet[2:size]) + packet[size:]


def fragments(packet: bytes, mtu: int) -> Iterator[bytes]:
    """The packet in fragments of at most ``mtu`` bytes, RFC 791 section 3.2; whole if it fits or is IPv6."""
    if len(packet) <= mtu or packet[0] >> 4 == 6:
        yield packet
        return
    size = 4 * (packet[0] & 15)
    header, body = packet[:size], packet[size:]
    step = (mtu - size) // 8 * 8
    for at in range(0, len(body), step):
        part = body[at : at + step]
        more = 0x2000 if at + step < len(body) else 0
        head = header[:2] + struct.pack("!H", size + len(part)) + header[4:6]
        yield _sealed_header(head + struct.pack("!H", more | at // 8) + header[8:]) + part


# --- Frames ------------------------------------------------------------------------------------------------------------


def ethernet(
    src: bytes, dst: bytes, packet: bytes, vlan: int | None = None, label: int | None = None
) -> bytes:
    """A frame around an IP packet, in a VLAN and under an MPLS label (RFC 3032) if they are given."""
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    if label is not None:
        ttl = packet[7] if packet[0] >> 4 == 6 else packet[8]
        return dst + src + tag + struct.pack("!HI", 0x8847, label << 12 | 0x100 | ttl) + packet
    return dst + src + tag + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def link(src: bytes, dst: bytes, ethertype: int, body: bytes, vlan: int | None = None) -> bytes:
    """A frame around anything else, padded to the least length of Ethernet without its check sequence."""
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return (dst + src + tag + struct.pack("!H", ethertype) + body).ljust(60, b"\0")


def tcp_options(*options: bytes) -> bytes:
    """Options of TCP, with no-operations up to a multiple of four bytes."""
    joined = b"".join(options)
    return joined + b"\x01" * (-len(joined) % 4)
