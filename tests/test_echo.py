"""Pings that carry something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import brief, ether, findings
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import GRE

import tapsight

HOST, OTHER = "192.0.2.9", "198.51.100.7"


def ping(number: int, len_: int = 56, at: float = 0.0) -> Any:
    packet = (
        IP(src=HOST, dst=OTHER, id=number + 1) / ICMP(type=8, id=1, seq=number) / (bytes([number]) * len_)
    )
    return ether(packet, at=number + at)


def reply(number: int, len_: int = 56, at: float = 0.1, src: str = OTHER) -> Any:
    ident = 1000 + number * 10 + int(at * 10)
    packet = IP(src=src, dst=HOST, id=ident) / ICMP(type=0, id=1, seq=number) / (bytes([number]) * len_)
    return ether(packet, at=number + at)


def pairs(count: int, **fields: Any) -> list[Any]:
    return [packet for number in range(count) for packet in (ping(number), reply(number, **fields))]


ASYMMETRIC, REPLIES = [("D3.asymmetric", "low")], [("D3.replies", "low")]


@pytest.mark.parametrize(
    ("packets", "wanted"),
    [
        (pairs(4), []),
        (pairs(4, len_=100), ASYMMETRIC),
        (pairs(3, len_=100), []),
        ([*pairs(4), *(reply(number, at=0.5) for number in range(4))], REPLIES),
        # Another host answers, as to a group.
        ([*pairs(4), *(reply(number, at=0.5, src="198.51.100.8") for number in range(4))], []),
        # Of requests that were not seen, and of those in a tunnel, nothing is known.
        ([reply(number, len_=100) for number in range(4)], []),
        (
            [ether(IP() / GRE() / packet[IP], at=float(packet.time) % 100) for packet in pairs(4, len_=100)],
            [],
        ),
    ],
)
def test_echoes_that_are_not(packets: list[Any], wanted: Any, tmp_path: Path) -> None:
    packets = sorted(packets, key=lambda packet: packet.time)
    assert brief(findings(packets, tmp_path, "D3")) == wanted


def test_a_mirror_port_that_shows_packets_twice_makes_no_replies(tmp_path: Path) -> None:
    packets = [copy for packet in pairs(4) for copy in (packet, packet)]
    assert findings(packets, tmp_path, "D3") == []


def test_a_tunnel_of_pings_is_one(captures: Path) -> None:
    path = captures / "ntop__nDPI/tests__cfgs__default__pcap__icmp-tunnel.pcap"
    if not path.is_file():
        pytest.skip("this capture is not at hand")
    claims = tapsight.check(str(path)).claims["detector"].to_pylist()
    assert {"D3.asymmetric", "D3.sizes"} & set(claims)
