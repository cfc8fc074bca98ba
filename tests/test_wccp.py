"""Packets that routers redirect to caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import brief, ether, findings
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import GRE

import tapsight

ROUTER, CACHE = "192.0.2.1", "192.0.2.66"
# draft-mclaggan-wccp-v2rev1 section 6: message, version, length; security without password, service 0.
REST = bytes.fromhex("0200 0024 0000 0004 00000000 0001 0018 00000000") + bytes(20)
HERE_I_AM = IP(src=CACHE, dst=ROUTER) / UDP(sport=2048, dport=2048) / (bytes.fromhex("0000000a") + REST)
I_SEE_YOU = IP(src=ROUTER, dst=CACHE) / UDP(sport=2048, dport=2048) / (bytes.fromhex("0000000b") + REST)
REDIRECTED = (
    IP(src=ROUTER, dst=CACHE)
    / GRE(proto=0x883E)
    / bytes(4)
    / (IP(src="198.51.100.7", dst="203.0.113.9") / TCP(sport=40000, dport=80, flags="S"))
)


@pytest.mark.parametrize(
    ("packets", "network", "wanted"),
    [
        ([HERE_I_AM, I_SEE_YOU], "", [("B21.agreement", "medium")]),
        ([REDIRECTED], "", [("B21.redirected", "medium")]),
        ([REDIRECTED], f'infrastructure = ["{ROUTER}"]', [("B21.redirected", "high")]),
        ([HERE_I_AM, REDIRECTED], f'infrastructure = ["{ROUTER}", "{CACHE}"]', []),
        ([IP(src=ROUTER, dst=CACHE) / GRE() / (IP() / TCP())], "", []),
    ],
    ids=["agreement", "redirected", "unlisted", "listed", "plain-gre"],
)
def test_who_gets_packets(packets: list[Any], network: str, wanted: Any, tmp_path: Path) -> None:
    found = findings([ether(packet) for packet in packets], tmp_path, "B21", network)
    assert brief(found) == wanted
    for row in found:
        assert ROUTER in row["sentence"]
        assert CACHE in row["sentence"]


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        # No packet is redirected in it.
        ("epiecs__packetlife-backup/pcaps__WCCPv2.pcap.cap", {"B21.agreement"}),
        ("the-tcpdump-group__tcpdump/tests__wccp_redirect_gre.pcap", {"B21.redirected"}),
    ],
)
def test_captures_of_wccp(file: str, wanted: set[str], captures: Path) -> None:
    if not (captures / file).is_file():
        pytest.skip("this capture is not at hand")
    found = tapsight.check(str(captures / file)).findings["detector"].to_pylist()
    assert {detector for detector in found if detector.startswith("B21")} == wanted
