"""Frames that scapy builds are read back with the same fields: random stacks of links, tunnels and transports."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header
from scapy.contrib.mpls import MPLS
from scapy.contrib.nsh import NSH
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.layers.l2 import GRE, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import PcapWriter

import tapsight

ports = st.integers(49152, 65535)
bits = st.integers(0, 255)


def macs() -> st.SearchStrategy[str]:
    return st.binary(min_size=5, max_size=5).map(lambda tail: "02:" + tail.hex(":"))


def v4() -> st.SearchStrategy[str]:
    return st.tuples(st.integers(1, 223), bits, bits, bits).map(lambda parts: ".".join(map(str, parts)))


def v6() -> st.SearchStrategy[str]:
    return st.tuples(st.integers(1, 0xFFFF), st.integers(1, 0xFFFF)).map(
        lambda ends: f"2001:db8:{ends[0]:x}::{ends[1]:x}"
    )


@st.composite
def transports(draw: st.DrawFn, version: int) -> tuple[Packet, dict[str, Any]]:
    kind = draw(st.sampled_from([TCP, UDP, SCTP, ICMP]))
    if kind is ICMP:
        number, packet = (1, ICMP()) if version == 4 else (58, ICMPv6EchoRequest())
        return packet, {"protocol": number, "src_port": None, "dst_port": None}
    src, dst = draw(ports), draw(ports)
    expected = {"src_port": src, "dst_port": dst, "protocol": {TCP: 6, UDP: 17, SCTP: 132}[kind]}
    packet = kind(sport=src, dport=dst)
    if kind is TCP:
        packet.seq, packet.ack, packet.flags = (
            draw(st.integers(0, 2**32 - 1)),
            draw(st.integers(0, 2**32 - 1)),
            0x18,
        )
        expected |= {"tcp_seq": packet.seq, "tcp_ack": packet.ack, "tcp_flags": 0x18}
    return packet, expected


@st.composite
def networks(draw: st.DrawFn, extensions: bool = True) -> tuple[Packet, dict[str, Any]]:
    ttl, tos = draw(st.integers(1, 255)), draw(bits)
    if draw(st.booleans()):
        src, dst, number = draw(v4()), draw(v4()), draw(st.integers(0, 65535))
        packet = IP(src=src, dst=dst, ttl=ttl, tos=tos, id=number)
        return packet, {"src": src, "dst": dst, "ttl": ttl, "tos": tos, "ip_id": number, "ip_version": 4}
    src, dst = draw(v6()), draw(v6())
    packet = IPv6(src=src, dst=dst, hlim=ttl, tc=tos)
    for header in draw(
        st.sampled_from([[], [IPv6ExtHdrHopByHop()], [IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()]])
    ):
        packet = packet / header if extensions else packet
    return packet, {"src": src, "dst": dst, "ttl": ttl, "tos": tos, "ip_version": 6}


Tunnel = tuple[Callable[[Packet], Packet], str, int | None]


@st.composite
def tunnels(draw: st.DrawFn) -> Tunnel:
    """How to wrap a packet for the packet outside, the name of that in ``encap``, and the identifier."""
    kind = draw(
        st.sampled_from(["gre", "key", "teb", "vxlan", "geneve", "gtpu", "ipip", "erspan2", "erspan3", "nsh"])
    )
    number = draw(st.integers(1, 1023))
    ether = Ether(src=draw(macs()), dst=draw(macs()))
    src = draw(ports)
    wraps: dict[str, Tunnel] = {
        "gre": (lambda inner: GRE() / inner, "gre", None),
        "key": (lambda inner: GRE(key_present=1, key=number) / inner, "gre", number),
        "teb": (lambda inner: GRE(proto=0x6558) / ether / inner, "gre", None),
        "vxlan": (
            lambda inner: UDP(sport=src, dport=4789) / VXLAN(vni=number) / ether / inner,
            "vxlan",
            number,
        ),
        "geneve": (
            lambda inner: UDP(sport=src, dport=6081) / GENEVE(vni=number) / ether / inner,
            "geneve",
            number,
        ),
        "gtpu": (
            lambda inner: UDP(sport=2152, dport=2152) / GTP_U_Header(gtp_type=255, teid=number) / inner,
            "gtpu",
            number,
        ),
        "ipip": (lambda inner: inner, "ipip", None),
        "erspan2": (
            lambda inner: (
                GRE(proto=0x88BE, seqnum_present=1, sequence_number=1)
                / ERSPAN_II(session_id=number)
                / ether
                / inner
            ),
            "gre/erspan2",
            number,
        ),
        "erspan3": (
            lambda inner: (
                GRE(proto=0x22EB, seqnum_present=1, sequence_number=1)
                / ERSPAN_III(session_id=number)
                / ether
                / inner
            ),
            "gre/erspan3",
            number,
        ),
        "nsh": (
            lambda inner: GRE(proto=0x894F) / NSH(mdtype=2, nextproto=3, spi=number) / ether / inner,
            "gre/nsh",
            number,
        ),
    }
    return wraps[kind]


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    network, expected = draw(networks())
    transport, more = draw(transports(expected["ip_version"]))
    payload = draw(st.binary(max_size=60))
    packet = network / transport / Raw(payload)
    expected |= more | {"outer_src": None, "outer_dst": None, "tunnel_id": None}
    encaps: list[str] = []
    for wrap, name, number in draw(st.lists(tunnels(), max_size=3)):
        outside, outer = draw(networks(extensions=False))
        encaps.insert(0, "ip6" if name == "ipip" and isinstance(packet, IPv6) else name)
        packet = outside / wrap(packet)
        expected |= {"outer_src": outer["src"], "outer_dst": outer["dst"]}
        if number is not None:
            expected["tunnel_id"] = number
    expected["encap"] = "/".join(encaps) or None
    src, dst = draw(macs()), draw(macs())
    frame = Ether(src=src, dst=dst)
    expected |= {"eth_src": src, "eth_dst": dst, "vlan": None, "vlan_inner": None, "issue": None}
    tags = draw(st.lists(st.integers(1, 4094), max_size=2))
    for column, vlan, last in zip(["vlan", "vlan_inner"], tags, [len(tags) == 1, True], strict=False):
        frame = frame / (Dot1Q(vlan=vlan) if last else Dot1AD(vlan=vlan))
        expected[column] = vlan
    labels = draw(st.lists(st.integers(16, 2**20 - 1), max_size=3))
    for depth, label in enumerate(labels):
        frame = frame / MPLS(label=label, s=int(depth == len(labels) - 1))
    expected["mpls"] = labels or None
    return bytes(frame / packet), expected


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(frames(), min_size=1, max_size=20))
def test_what_is_built_is_read(built: list[tuple[bytes, dict[str, Any]]]) -> None:
    buffer = io.BytesIO()
    writer = PcapWriter(buffer, linktype=1)
    for frame, _ in built:
        writer.write(Ether(frame))
    columns = sorted({column for _, expected in built for column in expected})
    table = tapsight.open(buffer.getvalue(), columns=columns).to_pyarrow()
    rows = {}
    for name in columns:
        column = table[name]
        if name in ("src", "dst", "outer_src", "outer_dst"):
            column = tapsight.addresses.to_text(column)
        elif name in ("eth_src", "eth_dst"):
            column = tapsight.addresses.mac_to_text(column)
        rows[name] = column.to_pylist()
    for at, (frame, expected) in enumerate(built):
        assert {name: rows[name][at] for name in expected} == expected, frame.hex()
