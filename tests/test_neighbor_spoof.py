"""Who says which MAC address has an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import A, B, C, brief, ether, findings
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

GATEWAY, HOST = "192.0.2.1", "192.0.2.9"
VIRTUAL = "00:00:5e:00:01:07"
POLICY = f'gateways = ["{GATEWAY}"]'
BROADCAST = "ff:ff:ff:ff:ff:ff"


def reply(mac: str, at: float, address: str = GATEWAY, source: str | None = None) -> Any:
    packet = ARP(op=2, hwsrc=mac, psrc=address, hwdst=C, pdst=HOST)
    return ether(packet, src=source or mac, dst=C, at=at)


def gratuitous(mac: str, at: float, address: str = GATEWAY) -> Any:
    packet = ARP(op=1, hwsrc=mac, psrc=address, hwdst="00:00:00:00:00:00", pdst=address)
    return ether(packet, src=mac, dst=BROADCAST, at=at)


def ask(host: int, at: float) -> Any:
    mac = f"02:00:00:00:01:{host:02x}"
    packet = ARP(op=1, hwsrc=mac, psrc=f"192.0.2.{host}", hwdst="00:00:00:00:00:00", pdst=GATEWAY)
    return ether(packet, src=mac, dst=BROADCAST, at=at)


def probe(mac: str, at: float) -> Any:
    packet = ARP(op=1, hwsrc=mac, psrc="0.0.0.0", hwdst="00:00:00:00:00:00", pdst=GATEWAY)
    return ether(packet, src=mac, dst=BROADCAST, at=at)


def advertisement(mac: str, at: float, override: int = 1) -> Any:
    packet = IPv6(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt="fe80::1", R=1, S=0, O=override)
    frame = Ether(src=mac, dst="33:33:00:00:00:01") / packet / ICMPv6NDOptDstLLAddr(lladdr=mac)
    return ether(frame, at=at)


AGAIN = [reply(B, 12), reply(A, 15)]
TWO_MEDIUM = [("B6.two-owners", "medium")]
TWO_HIGH, TWO_LOW = [("B6.two-owners", "high")], [("B6.two-owners", "low")]


@pytest.mark.parametrize(
    ("packets", "network", "wanted"),
    [
        ([reply(A, 0), reply(B, 5), reply(A, 10)], "", TWO_LOW),
        ([reply(A, 0), reply(B, 5), reply(A, 10)], POLICY, TWO_MEDIUM),
        ([reply(A, 0), reply(B, 5), reply(A, 10), *AGAIN], POLICY, TWO_HIGH),
        ([reply(A, 0), reply(B, 5), reply(A, 10), *AGAIN], "", TWO_LOW),
        ([reply(A, 0), reply(B, 5), reply(A, 10)], 'gateways = ["192.0.2.2"]', TWO_LOW),
        ([ask(10, 0), ask(11, 0), ask(12, 0), reply(A, 1), reply(B, 5), reply(A, 10)], "", TWO_LOW),
        ([ask(10, 0), ask(11, 0), ask(12, 0), reply(A, 1), reply(B, 5), reply(A, 10), *AGAIN], "", TWO_HIGH),
        ([ask(10, 0), ask(10, 0), ask(11, 0), reply(A, 1), reply(B, 5), reply(A, 10)], "", TWO_LOW),
        ([gratuitous(A, 0), gratuitous(B, 5), gratuitous(A, 10)], POLICY, TWO_MEDIUM),
        # It moves, and the first is silent; or comes back after more than a minute.
        ([reply(A, 0), gratuitous(B, 5), reply(B, 10)], POLICY, []),
        ([reply(A, 0), reply(B, 5), reply(A, 70)], POLICY, []),
        ([reply(A, 0), reply(B, 65), reply(A, 70)], POLICY, []),
        # Virtual addresses move by themselves, but a router's own does not take their place.
        ([reply(A, 0), reply(VIRTUAL, 5), reply(A, 10)], POLICY, []),
        ([reply(VIRTUAL, 0), reply(A, 5), reply(VIRTUAL, 10)], POLICY, TWO_MEDIUM),
        # A gateway answers for a host.
        ([reply(A, 0), reply(B, 1, HOST), reply(A, 2, HOST), reply(B, 3, HOST)], POLICY, []),
        # Probes claim nothing.
        ([reply(A, 0), probe(B, 5), reply(A, 10)], POLICY, []),
        ([reply(A, 0, source=B)], "", [("B6.other-sender", "low")]),
        ([reply(A, 0, source=B)], POLICY, [("B6.other-sender", "medium")]),
        ([reply(VIRTUAL, 0, source=B)], POLICY, []),
        (
            [advertisement(A, 0), advertisement(B, 5), advertisement(A, 10)],
            'gateways = ["fe80::1"]',
            TWO_MEDIUM,
        ),
        # RFC 4861 section 7.2.7: several may answer for an anycast address, without the override flag.
        ([advertisement(A, 0, 0), advertisement(B, 5, 0), advertisement(A, 10, 0)], "", []),
    ],
)
def test_who_claims_an_address(packets: list[Any], network: str, wanted: Any, tmp_path: Path) -> None:
    assert brief(findings(packets, tmp_path, "B6", network)) == wanted


def test_the_sentence_names_both_and_the_address(tmp_path: Path) -> None:
    (found,) = findings([reply(A, 0), reply(B, 5), reply(A, 10)], tmp_path, "B6")
    assert f"with MAC {B} claimed the address {GATEWAY}" in found["sentence"]
    assert f"belonged to the device with MAC {A}" in found["sentence"]
