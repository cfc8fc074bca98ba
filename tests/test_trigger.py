"""Odd packets to routers, and connections that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import brief, ether, findings
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.utils import wrpcap

import tapsight

ROUTER, OTHER = "192.0.2.1", "198.51.100.7"
NETWORK = f'infrastructure = ["{ROUTER}"]'
# The packet filter of BPFDoor: 0x5293 behind the TCP header, 0x7255 behind those of UDP and of an echo request.
TCP_MAGIC, UDP_MAGIC = bytes.fromhex("52930000 c6336407 01bb"), bytes.fromhex("72550000 c6336407 01bb")


def odd(at: float = 0.0, dst: str = ROUTER, **fields: Any) -> Any:
    values = {"sport": 40000, "dport": 8022, "flags": "S", "seq": 1} | fields
    return ether(IP(src=OTHER, dst=dst) / TCP(**values), at=at)


def answered(at: float, src: str = ROUTER, dst: str = OTHER, sport: int = 22, dport: int = 40001) -> Any:
    return ether(IP(src=src, dst=dst) / TCP(sport=sport, dport=dport, flags="SA", seq=1, ack=2), at=at)


def packet(transport: Any, at: float = 0.0) -> Any:
    return ether(IP(src=OTHER, dst=ROUTER) / transport, at=at)


TRIGGER, BACKDOOR = [("D2.trigger", "medium")], [("D2.backdoor", "high")]


@pytest.mark.parametrize(
    ("packets", "wanted"),
    [
        ([odd(ack=5), answered(30)], TRIGGER),
        ([odd(urgptr=1), answered(30)], TRIGGER),
        ([odd(ack=5), answered(30, OTHER, ROUTER, 443, 50000)], TRIGGER),
        ([packet(UDP(sport=9, dport=9) / UDP_MAGIC), answered(30)], BACKDOOR),
        ([packet(ICMP(type=8) / UDP_MAGIC), answered(30, OTHER, ROUTER, 443, 50000)], BACKDOOR),
        ([packet(TCP(sport=9, dport=22, flags="PA") / TCP_MAGIC), answered(30)], BACKDOOR),
        # Nothing odd; urgent by its flag; answered; the same port; too late; another; nobody's router.
        ([odd(), answered(30)], []),
        ([odd(urgptr=1, flags="SU"), answered(30)], []),
        ([odd(ack=5), answered(1, sport=8022, dport=40000), answered(30)], []),
        ([odd(ack=5), answered(30, sport=8022)], []),
        ([odd(ack=5), answered(61)], []),
        ([odd(ack=5), answered(30, dst="198.51.100.8")], []),
        ([odd(ack=5, dst="192.0.2.2"), answered(30, src="192.0.2.2")], []),
        ([answered(0), odd(1, ack=5)], []),
        # The number elsewhere, or in a reply.
        ([packet(UDP(sport=9, dport=9) / b"\0" / UDP_MAGIC), answered(30)], []),
        ([packet(ICMP(type=0) / UDP_MAGIC), answered(30)], []),
    ],
)
def test_triggers_and_connections(packets: list[Any], wanted: Any, tmp_path: Path) -> None:
    assert brief(findings(packets, tmp_path, "D2", NETWORK)) == wanted


def test_without_infrastructure_it_is_unknown(tmp_path: Path) -> None:
    wrpcap(str(tmp_path / "a.pcap"), [odd(ack=5), answered(30)])
    verdicts = tapsight.check(str(tmp_path / "a.pcap")).verdicts.to_pylist()
    (verdict,) = [row for row in verdicts if "D2" in row.values()]
    assert "unknown" in verdict.values()
    assert "infrastructure" in str(verdict)


def test_one_connection_on_two_taps_is_one(tmp_path: Path) -> None:
    (found,) = findings([odd(ack=5), answered(30)], tmp_path, "D2", NETWORK, taps=2)
    assert "1 connection " in found["sentence"]
    assert f"{OTHER} sent {ROUTER}" in found["sentence"]
