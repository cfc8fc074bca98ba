"""Messages between routers, servers and hosts, byte by byte after their standards."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

from tapsight.lab.packet import ICMP, ICMPV6, UDP, VRRP, Packet, address, checksum

# --- Neighbours --------------------------------------------------------------------------------------------------------


def arp(operation: int, mac: bytes, sender: str, target_mac: bytes, target: str) -> bytes:
    """ARP for IPv4 over Ethernet, RFC 826: 1 asks, 2 answers."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return head + mac + address(sender) + target_mac + address(target)


def neighbour_solicitation(source: str, target: str, mac: bytes) -> Packet:
    """Asks who has an address of IPv6, RFC 4861 section 4.3, and tells the own MAC address."""
    body = struct.pack("!BBHI", 135, 0, 0, 0) + address(target) + b"\x01\x01" + mac
    return Packet(source, solicited(target), ICMPV6, payload=body, ttl=255)


def solicited(target: str) -> str:
    """The group of those that may have an address, RFC 4291 section 2.7.1."""
    return f"ff02::1:ff{address(target)[13]:02x}:{address(target)[14]:02x}{address(target)[15]:02x}"


def neighbour_advertisement(source: str, target: str, mac: bytes, *, to: str = "ff02::1") -> Packet:
    """A router says which MAC address it has, RFC 4861 section 4.4: to all nodes, or to the one that asked."""
    flags = 0xA0000000 | (to != "ff02::1") << 30
    body = struct.pack("!BBHI", 136, 0, 0, flags) + address(target) + b"\x02\x01" + mac
    return Packet(source, to, ICMPV6, payload=body, ttl=255)


def router_advertisement(source: str, prefix: str, mac: bytes) -> Packet:
    """A router advertisement with a prefix of 64 bits, RFC 4861 sections 4.2, 4.6.1 and 4.6.2."""
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0x08, 1800, 0, 0) + b"\x01\x01" + mac
    body += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 14400, 0) + address(prefix)
    return Packet(source, "ff02::1", ICMPV6, payload=body, ttl=255)


def redirect(source: str, host: str, gateway: str, original: bytes) -> Packet:
    """An ICMP redirect for a host (code 1), RFC 792: the better gateway, and what was sent to the other."""
    body = struct.pack("!BBH", 5, 1, 0) + address(gateway) + original[:28]
    return Packet(source, host, ICMP, payload=body, ttl=255)


def time_exceeded(source: str, original: bytes) -> Packet:
    """ICMP time exceeded in transit, RFC 792."""
    host = ".".join(str(byte) for byte in original[12:16])
    return Packet(source, host, ICMP, payload=struct.pack("!BBHI", 11, 0, 0, 0) + original[:28], ttl=255)


def echo(source: str, target: str, payload: bytes, number: int, *, reply: bool, ident: int = 77) -> Packet:
    """ICMP echo or its reply, RFC 792."""
    body = struct.pack("!BBHHH", 0 if reply else 8, 0, 0, ident, number) + payload
    return Packet(source, target, ICMP, payload=body, ip_id=number % 65535 + 1)


# --- Routers that stand for each other ---------------------------------------------------------------------------------


def hsrp(source: str, operation: int, state: int, priority: int, virtual: str, group: int = 10) -> Packet:
    """HSRP version 0, RFC 2281 section 5.1: operation 0 hello, 1 coup; state 16 active, 8 standby."""
    body = (
        struct.pack("!8B", 0, operation, state, 3, 10, priority, group, 0) + b"cisco\0\0\0" + address(virtual)
    )
    return Packet(source, "224.0.0.2", UDP, 1985, 1985, body, ttl=1)


def vrrp(source: str, priority: int, virtual: str, group: int = 10) -> Packet:
    """A VRRP advertisement, version 3 for IPv4, every second, RFC 9568 section 5.2."""
    body = struct.pack("!BBBBHH", 0x31, group, priority, 1, 100, 0) + address(virtual)
    pseudo = address(source) + address("224.0.0.18") + struct.pack("!BBH", 0, VRRP, len(body))
    body = body[:6] + struct.pack("!H", checksum(pseudo + body)) + body[8:]
    return Packet(source, "224.0.0.18", VRRP, payload=body, ttl=255, tos=0xC0)


def virtual_mac(group: int = 10) -> bytes:
    """The MAC address of a VRRP group for IPv4, RFC 9568 section 7.3."""
    return bytes((0, 0, 0x5E, 0, 1, group))


# --- What hosts are told when they come --------------------------------------------------------------------------------


NOBODY = "0.0.0.0"  # noqa: S104 - nothing is bound to it
"""The address of a host that has none yet."""


def dhcp(
    kind: int, number: int, host: bytes, *, to: str = "", server: str = "", relay: str = "", more: bytes = b""
) -> bytes:
    """A message of DHCP, RFC 2131 section 2: 1 discover, 2 offer, 3 request, 5 acknowledgement; ``to`` is the host's address."""
    answer = kind in (2, 5, 6)
    head = struct.pack(
        "!BBBBIHH", 2 if answer else 1, 1, 6, 1 if relay else 0, number, 0, 0 if relay else 0x8000
    )
    head += address(NOBODY) + address(to or NOBODY) + address(NOBODY) + address(relay or NOBODY)
    options = bytes((53, 1, kind))
    if server:
        options += bytes((54, 4)) + address(server)
    if answer and kind != 6:
        options += bytes((51, 4)) + struct.pack("!I", 3600) + bytes((1, 4, 255, 255, 255, 0))
    return head + host.ljust(16, b"\0") + bytes(192) + b"\x63\x82\x53\x63" + options + more + b"\xff"


def dhcp_addresses(option: int, *hosts: str) -> bytes:
    """An option with addresses, RFC 2132: 3 routers, 6 DNS servers."""
    return bytes((option, 4 * len(hosts))) + b"".join(map(address, hosts))


def dhcp_routes(*routes: tuple[str, int, str]) -> bytes:
    """Classless static routes, RFC 3442: prefix, its length, router."""
    body = b"".join(
        bytes([length]) + address(prefix)[: (length + 7) // 8] + address(router)
        for prefix, length, router in routes
    )
    return bytes((121, len(body))) + body


def dhcpv6(kind: int, number: int, host: bytes, *, server: bytes = b"", more: bytes = b"") -> bytes:
    """A message of DHCPv6, RFC 8415 section 8: 1 solicit, 2 advertise. Both sides are known by a DUID of their MAC address."""
    options = dhcpv6_option(1, b"\0\x03\0\x01" + host)
    if server:
        options += dhcpv6_option(2, b"\0\x03\0\x01" + server)
    return struct.pack("!I", kind << 24 | number & 0xFFFFFF) + options + more


def dhcpv6_option(option: int, value: bytes) -> bytes:
    """An option of DHCPv6, RFC 8415 section 21.1: 23 holds DNS servers (RFC 3646)."""
    return struct.pack("!HH", option, len(value)) + value


# --- Copies and samples ------------------------------------------------------------------------------------------------


def flow_sample(frame: bytes, number: int, header: int = 128) -> bytes:
    """An sFlow sample of one packet in one, with the first bytes of its frame (sFlow version 5, flow_sample)."""
    kept = frame[:header]
    record = struct.pack("!IIII", 1, len(frame) + 4, 4, len(kept)) + kept + bytes(-len(kept) % 4)
    record = struct.pack("!II", 1, len(record)) + record
    sample = struct.pack("!IIIIIIII", number, 2, 1, number, 0, 1, 2, 1) + record
    return struct.pack("!II", 1, len(sample)) + sample


def sflow(agent: str, samples: Sequence[bytes], number: int, uptime: int) -> bytes:
    """An sFlow datagram, version 5: the agent's address, a number, milliseconds since start."""
    head = struct.pack("!II", 5, 1) + address(agent) + struct.pack("!IIII", 0, number, uptime, len(samples))
    return head + b"".join(samples)


def pcap_file(frames: Sequence[bytes]) -> bytes:
    """A capture file as tcpdump writes it, little-endian with microseconds."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    return head + b"".join(
        struct.pack("<IIII", number, 0, len(frame), len(frame)) + frame for number, frame in enumerate(frames)
    )


# --- Diversion ---------------------------------------------------------------------------------------------------------


def source_route(route: Sequence[str]) -> bytes:
    """The IPv4 option "loose source and record route", and the end of options, RFC 791 section 3.1."""
    option = bytes((131, 3 + 4 * len(route), 4)) + b"".join(map(address, route))
    return option + bytes(-len(option) % 4)


def routing_header(route: Sequence[str], following: int, payload: bytes) -> bytes:
    """An IPv6 routing header of type 0 and what follows it, RFC 2460 section 4.4."""
    return (
        struct.pack("!BBBBI", following, 2 * len(route), 0, len(route), 0)
        + b"".join(map(address, route))
        + payload
    )


def wccp_here_i_am(cache: str, router: str, number: int) -> bytes:
    """WCCP version 2, "here I am" of a cache for the standard service, web (draft-mclaggan-wccp-v2rev1)."""
    buckets = bytes(32) + struct.pack("!HH", 10_000, 0)
    parts = _part(0, struct.pack("!I", 0)) + _part(1, bytes(24))
    parts += _part(3, address(cache) + struct.pack("!HH", 0, 0) + buckets)
    parts += _part(
        5, struct.pack("!II", 1, 1) + address(router) + struct.pack("!II", number, 1) + address(cache)
    )
    return struct.pack("!IHH", 10, 0x0200, len(parts)) + parts


def wccp_i_see_you(cache: str, router: str, number: int) -> bytes:
    """WCCP version 2, "I see you" of the router (the same draft)."""
    parts = _part(0, struct.pack("!I", 0)) + _part(1, bytes(24))
    parts += _part(
        2,
        address(router) + struct.pack("!I", number) + address(cache) + struct.pack("!I", 1) + address(cache),
    )
    buckets = bytes(32) + struct.pack("!HH", 10_000, 0)
    view = struct.pack("!I", 1) + bytes(8) + struct.pack("!I", 1) + address(router)
    parts += _part(4, view + struct.pack("!I", 1) + address(cache) + struct.pack("!HH", 0, 0) + buckets)
    return struct.pack("!IHH", 11, 0x0200, len(parts)) + parts


def _part(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, len(body)) + body


# --- Management --------------------------------------------------------------------------------------------------------


def tftp_write(name: str) -> bytes:
    """A TFTP write request, RFC 1350 section 5."""
    return b"\0\x02" + name.encode() + b"\0octet\0"


def tftp_block(number: int, data: bytes) -> bytes:
    """A TFTP block of 512 bytes, or less at the end, RFC 1350 section 5."""
    return struct.pack("!HH", 3, number) + data


def tftp_ack(number: int) -> bytes:
    """What acknowledges a TFTP block, RFC 1350 section 5."""
    return struct.pack("!HH", 4, number)


def tacacs(kind: int, number: int, session: int, body: bytes) -> bytes:
    """A TACACS+ packet whose body is not obfuscated (flag 1), RFC 8907 section 4.1: 1 is authentication."""
    return struct.pack("!BBBBII", 0xC0, kind, number, 1, session, len(body)) + body


def tacacs_login(user: str, password: str, terminal: str, origin: str) -> bytes:
    """The start of a login with a password in it, RFC 8907 sections 5.1 and 5.4.2.2."""
    texts = [text.encode() for text in (user, terminal, origin, password)]
    return struct.pack("!4B4B", 1, 1, 2, 1, *map(len, texts)) + b"".join(texts)


def tacacs_reply(status: int = 1) -> bytes:
    """The answer to a login, RFC 8907 section 5.2: 1 is pass."""
    return struct.pack("!BBHH", status, 0, 0, 0)


def snmp(kind: int, request: int, variables: Sequence[tuple[Sequence[int], bytes]]) -> bytes:
    """A message of SNMP version 2c, RFC 3416 section 3: 0xa3 sets, 0xa2 answers. Values are encoded already."""
    bound = b"".join(_ber(0x30, _ber(6, _oid(name)) + value) for name, value in variables)
    pdu = _ber(kind, snmp_integer(request) + snmp_integer(0) + snmp_integer(0) + _ber(0x30, bound))
    return _ber(0x30, snmp_integer(1) + _ber(4, b"private") + pdu)


def snmp_integer(value: int, tag: int = 2) -> bytes:
    """An integer in BER (X.690 section 8.3)."""
    return _ber(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


CONFIG_COPY = (1, 3, 6, 1, 4, 1, 9, 9, 96, 1, 1, 1, 1)
"""ccCopyEntry of CISCO-CONFIG-COPY-MIB."""


def config_copy(server: str, name: str, row: int) -> list[tuple[Sequence[int], bytes]]:
    """What starts the copy of a configuration to a TFTP server (CISCO-CONFIG-COPY-MIB, ccCopyTable)."""
    values = [
        (2, snmp_integer(1)),  # by TFTP
        (3, snmp_integer(4)),  # from the running configuration
        (4, snmp_integer(1)),  # to a file on the network
        (5, _ber(0x40, address(server))),
        (6, _ber(4, name.encode())),
        (14, snmp_integer(4)),  # create, and go
    ]
    return [((*CONFIG_COPY, column, row), value) for column, value in values]


def _ber(tag: int, value: bytes) -> bytes:
    size = len(value)
    length = bytes([size]) if size < 128 else b"\x82" + struct.pack("!H", size)
    return bytes([tag]) + length + value


def _oid(parts: Sequence[int]) -> bytes:
    out = bytearray([40 * parts[0] + parts[1]])
    for part in parts[2:]:
        septets = [part & 0x7F]
        while part := part >> 7:
            septets.append(part & 0x7F | 0x80)
        out += bytes(reversed(septets))
    return bytes(out)


def ike_init(rng: random.Random, spis: tuple[bytes, bytes], *, reply: bool) -> bytes:
    """IKE_SA_INIT with a proposal, a key and a nonce, RFC 7296 sections 1.2, 3.1 and 3.3."""

    def payload(following: int, body: bytes) -> bytes:
        return struct.pack("!BBH", following, 0, 4 + len(body)) + body

    # AES-GCM with 256 bits, HMAC-SHA2-256, group 19.
    transforms = struct.pack("!BBHBBHHH", 3, 0, 12, 1, 0, 20, 0x800E, 256)
    transforms += struct.pack("!BBHBBH", 3, 0, 8, 2, 0, 5) + struct.pack("!BBHBBH", 0, 0, 8, 4, 0, 19)
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transforms), 1, 1, 0, 3) + transforms
    body = payload(34, proposal)
    body += payload(40, struct.pack("!HH", 19, 0) + rng.randbytes(64)) + payload(0, rng.randbytes(32))
    flags = 0x20 if reply else 0x08
    return spis[0] + spis[1] + struct.pack("!BBBBII", 33, 0x20, 34, flags, 0, 28 + len(body)) + body


# --- Multicast ---------------------------------------------------------------------------------------------------------


def group_mac(group: str) -> bytes:
    """The MAC address of a group, RFC 1112 section 6.4 and RFC 2464 section 7."""
    packed = address(group)
    if len(packed) == 16:
        return b"\x33\x33" + packed[12:]
    return b"\x01\x00\x5e" + bytes((packed[1] & 0x7F,)) + packed[2:]
