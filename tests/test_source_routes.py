"""Packets that name their way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import brief, ether, findings
from scapy.layers.inet import IP, UDP, IPOption_LSRR, IPOption_RR, IPOption_SSRR
from scapy.layers.inet6 import IPv6, IPv6ExtHdrRouting, IPv6ExtHdrSegmentRouting

HOPS, SIX = ["192.0.2.3", "192.0.2.4"], ["2001:db8::3", "2001:db8::4"]


def four(option: Any) -> Any:
    return IP(src="198.51.100.1", dst="203.0.113.9", options=[option]) / UDP(sport=5, dport=6)


def segments(last: str) -> Any:
    header = IPv6ExtHdrSegmentRouting(addresses=[last, "2001:db8::4"], segleft=1, lastentry=1)
    return IPv6(src="2001:db8::1", dst="2001:db8::4") / header / UDP(sport=5, dport=6)


SOURCE_ROUTE = [("B17.source-route", "medium")]


@pytest.mark.parametrize(
    ("packet", "network", "wanted"),
    [
        (four(IPOption_LSRR(routers=HOPS)), "", SOURCE_ROUTE),
        (four(IPOption_SSRR(routers=HOPS)), "", SOURCE_ROUTE),
        (IPv6() / IPv6ExtHdrRouting(type=0, addresses=SIX) / UDP(), "", SOURCE_ROUTE),
        (four(IPOption_RR(routers=HOPS)), "", []),
        (four(IPOption_LSRR(routers=[])), "", []),
        (IPv6() / IPv6ExtHdrRouting(type=2, addresses=SIX[:1]) / UDP(), "", []),
        (segments("2001:db8::3"), "", []),
        (segments("2001:db8::3"), 'infrastructure = ["2001:db8::/32"]', []),
        (segments("2001:db9::3"), 'infrastructure = ["2001:db8::/32"]', [("B17.segments-outside", "low")]),
    ],
    ids=["loose", "strict", "type-0", "record", "empty", "mobile", "segments", "inside", "outside"],
)
def test_ways_that_go_past_the_routes(packet: Any, network: str, wanted: Any, tmp_path: Path) -> None:
    assert brief(findings([ether(packet)], tmp_path, "B17", network)) == wanted


def test_the_sentence_names_who_and_where_to(tmp_path: Path) -> None:
    (found,) = findings([ether(four(IPOption_LSRR(routers=HOPS)))], tmp_path, "B17")
    for word in ("198.51.100.1", "192.0.2.4", "loose source route", "1 packet"):
        assert word in found["sentence"]


def test_a_packet_seen_twice_on_a_tap_is_one(tmp_path: Path) -> None:
    payload = bytes(range(64))
    packet = four(IPOption_LSRR(routers=HOPS)) / payload
    (found,) = findings([ether(packet), ether(packet, at=0.0001)], tmp_path, "B17")
    assert "1 packet " in found["sentence"]
