"""ICMP redirects and router advertisements: who may send hosts where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, IPv6
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

import tapsight

ROUTER, OTHER, HOST = "192.0.2.1", "192.0.2.66", "192.0.2.9"
REDIRECT = (
    Ether(src="02:00:00:00:00:01")
    / IP(src=ROUTER, dst=HOST)
    / ICMP(type=5, code=1, gw=OTHER)
    / IP(src=HOST, dst="203.0.113.9")
    / UDP()
)
ADVERTISEMENT = Ether(src="02:00:00:00:00:01") / IPv6(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_RA()


def claims(packet: Any, gateways: list[str], folder: Path) -> list[tuple[str, str, str | None]]:
    wrpcap(str(folder / "a.pcap"), [packet])
    (folder / "policy.toml").write_text(f"[network]\ngateways = {gateways}\n")
    result = tapsight.check(str(folder / "a.pcap"), policy=folder / "policy.toml")
    found = result.findings.select(["detector", "severity", "collector"]).to_pylist()
    return [(row["detector"], row["severity"], row["collector"]["address"]) for row in found]


@pytest.mark.parametrize(
    ("packet", "gateways", "wanted"),
    [
        (REDIRECT, [], [("B5.redirect", "medium", OTHER)]),
        (REDIRECT, [ROUTER], [("B5.redirect", "high", OTHER)]),
        (REDIRECT, [ROUTER, OTHER], []),
        (ADVERTISEMENT, [], []),
        (ADVERTISEMENT, ["fe80::1"], []),
        (ADVERTISEMENT, ["fe80::2"], [("B5.rogue-router", "high", "fe80::1")]),
    ],
    ids=["redirect", "from-a-gateway", "between-gateways", "advertisement", "of-a-gateway", "rogue"],
)
def test_who_may_send_hosts_where(packet: Any, gateways: list[str], wanted: Any, tmp_path: Path) -> None:
    assert claims(packet, gateways, tmp_path) == wanted


def test_the_sentence_names_sender_gateway_and_destination(tmp_path: Path) -> None:
    wrpcap(str(tmp_path / "a.pcap"), [REDIRECT])
    (sentence,) = tapsight.check(str(tmp_path / "a.pcap")).findings["sentence"].to_pylist()
    for word in (ROUTER, OTHER, "203.0.113.9"):
        assert word in sentence
