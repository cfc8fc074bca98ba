"""Who becomes the router that hosts send to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import brief, ether, findings
from scapy.layers.hsrp import HSRP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE
from scapy.layers.vrrp import VRRP

import tapsight

ADDRESS = "192.0.2.1"
HELLO, COUP, RESIGN = 0, 1, 2
ACTIVE, STANDBY = 16, 8


def hsrp(host: int, at: float, state: int = ACTIVE, opcode: int = HELLO, priority: int = 100) -> Any:
    message = HSRP(opcode=opcode, state=state, priority=priority, group=1, virtualIP=ADDRESS, auth=b"secret")
    packet = IP(src=f"192.0.2.{host}", dst="224.0.0.2", ttl=1, id=int(at * 100) % 65535 + 1)
    return ether(packet / UDP(sport=1985, dport=1985) / message, at=at)


def vrrp(host: int, at: float, priority: int = 100, ttl: int = 255) -> Any:
    message = VRRP(version=2, vrid=7, priority=priority, addrlist=[ADDRESS])
    return ether(
        IP(src=f"192.0.2.{host}", dst="224.0.0.18", ttl=ttl, id=int(at * 100) % 65535 + 1) / message, at=at
    )


TAKEOVER, HIGH = [("B7.takeover", "medium")], [("B7.takeover", "high")]
HELLOS = [hsrp(2, 0), hsrp(2, 3), hsrp(2, 6)]
ADVERTISEMENTS = [vrrp(2, 0), vrrp(2, 1), vrrp(2, 2)]


@pytest.mark.parametrize(
    ("packets", "wanted"),
    [
        ([*HELLOS, hsrp(3, 7, opcode=COUP, priority=255), hsrp(3, 7.1, priority=255)], TAKEOVER),
        ([*HELLOS, hsrp(3, 7, priority=255)], TAKEOVER),
        # Two hellos tell the interval, and one nothing: at the beginning, several may be active.
        ([hsrp(2, 0), hsrp(2, 3), hsrp(3, 8.9)], TAKEOVER),
        ([hsrp(2, 0), hsrp(2, 3), hsrp(3, 9)], []),
        ([hsrp(2, 0), hsrp(3, 1)], []),
        # Silent for three hellos; has resigned; took part for a minute; takes back its role.
        ([*HELLOS, hsrp(3, 7, STANDBY), hsrp(3, 16)], []),
        ([*HELLOS, hsrp(2, 7, opcode=RESIGN), hsrp(3, 7.1)], []),
        ([hsrp(3, -60, STANDBY), *HELLOS, hsrp(3, 7, opcode=COUP)], []),
        ([hsrp(3, -20), *HELLOS, hsrp(3, 7, opcode=COUP), hsrp(3, 8)], []),
        # The active router's own coup, and a standby that only speaks.
        ([*HELLOS, hsrp(2, 7, opcode=COUP), hsrp(3, 8, STANDBY)], []),
        ([*ADVERTISEMENTS, vrrp(3, 2.5, 200)], TAKEOVER),
        ([*ADVERTISEMENTS, vrrp(3, 6)], []),
        ([*ADVERTISEMENTS, vrrp(2, 2.2, 0), vrrp(3, 2.5)], []),
        ([vrrp(3, 0, 255)], [("B7.not-owner", "medium")]),
        ([vrrp(1, 0, 255)], []),
        ([vrrp(3, 0, ttl=64)], [("B7.off-link", "medium")]),
        # A mirrored copy is not another router.
        ([*HELLOS, ether(IP(src="198.51.100.1") / GRE() / hsrp(3, 7)[IP], at=7)], []),
    ],
)
def test_takeovers_and_failovers(packets: list[Any], wanted: Any, tmp_path: Path) -> None:
    packets = sorted(packets, key=lambda packet: packet.time)
    assert brief(findings(packets, tmp_path, "B7")) == wanted


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        ('gateways = ["192.0.2.2"]', HIGH),
        ('gateways = ["192.0.2.2", "192.0.2.3"]', []),
        ('infrastructure = ["192.0.2.0/24"]', []),
    ],
)
def test_routers_of_the_policy_may_take_over(network: str, wanted: Any, tmp_path: Path) -> None:
    packets = [*HELLOS, hsrp(3, 7, opcode=COUP)]
    assert brief(findings(packets, tmp_path, "B7", network)) == wanted


def test_the_sentence_names_routers_group_and_address(tmp_path: Path) -> None:
    (found,) = findings([*HELLOS, hsrp(3, 7, opcode=COUP)], tmp_path, "B7")
    assert (
        f"192.0.2.3 took over the virtual address {ADDRESS} (HSRP group 1, until then 192.0.2.2)"
        in (found["sentence"])
    )


@pytest.mark.parametrize(("name", "wanted"), [("coup", ["B7.takeover"]), ("failover", []), ("election", [])])
def test_captures_of_hsrp(name: str, wanted: list[str], captures: Path) -> None:
    path = captures / f"the-tcpdump-group__tcpdump/tests__HSRP_{name}.pcap"
    if not path.is_file():
        pytest.skip("this capture is not at hand")
    found = tapsight.check(str(path)).findings["detector"].to_pylist()
    assert [detector for detector in found if detector.startswith("B7")] == wanted
