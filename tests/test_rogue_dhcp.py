"""Who tells hosts which gateway and servers to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import A, B, C, brief, ether, findings
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DUID_LL,
    DHCP6_Advertise,
    DHCP6OptClientId,
    DHCP6OptDNSServers,
    DHCP6OptServerId,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE
from scapy.utils import wrpcap

import tapsight
from tapsight._check import plain_rows

OFFER, REQUEST, ACK, NAK = 2, 3, 5, 6
FIRST, SECOND, ROGUE = "192.0.2.1", "192.0.2.2", "192.0.2.66"
MACS = {FIRST: A, SECOND: B, ROGUE: C}
NAMES = "192.0.2.53"


def answer(
    server: str,
    at: float,
    router: str | None = FIRST,
    dns: tuple[str, ...] = (NAMES,),
    *,
    kind: int = OFFER,
    xid: int = 1,
    client: int = 1,
    name: str = "",
    mac: str = "",
    relay: str = "0.0.0.0",
    routes: bytes = b"",
    file: bytes = b"",
    address: str = "192.0.2.100",
) -> Any:
    """What a server tells a client; ``name`` is what it calls itself, if not its address."""
    options: list[Any] = [("message-type", kind), ("server_id", name or server)]
    if router:
        options.append(("router", router))
    if dns:
        options.append(("name_server", *dns))
    if routes:
        options.append((121, routes))
    bootp = BOOTP(
        op=2, xid=xid, yiaddr=address, giaddr=relay, chaddr=bytes((2, 0, 0, 0, 1, client)), file=file
    )
    number = int(at * 1000) % 65535 + 1
    packet = IP(src=server, dst="255.255.255.255", id=number) / UDP(sport=67, dport=68) / bootp
    packet /= DHCP(options=[*options, "end"])
    return ether(packet, src=mac or MACS.get(server, C), dst="ff:ff:ff:ff:ff:ff", at=at)


def advertise(host: str, at: float, dns: str, mac: str) -> Any:
    message = DHCP6_Advertise(trid=7) / DHCP6OptClientId(duid=DUID_LL(lladdr="02:00:00:00:01:01"))
    message /= DHCP6OptServerId(duid=DUID_LL(lladdr=mac)) / DHCP6OptDNSServers(dnsservers=[dns])
    return ether(IPv6(src=host, dst="fe80::100") / UDP(sport=547, dport=546) / message, src=mac, dst=B, at=at)


CONFLICT, HIGH = [("B8.conflict", "medium")], [("B8.conflict", "high")]
# RFC 3442: half of all addresses by way of the rogue.
ROUTES = bytes.fromhex("0100c0000242") + bytes.fromhex("0180c0000242")


@pytest.mark.parametrize(
    ("packets", "wanted"),
    [
        # Another gateway, another DNS server, and routes beside the gateway, in one transaction.
        ([answer(FIRST, 0), answer(ROGUE, 0.1, ROGUE)], CONFLICT),
        ([answer(ROGUE, 0, ROGUE), answer(FIRST, 0.1)], CONFLICT),
        ([answer(FIRST, 0), answer(ROGUE, 0.1, dns=(ROGUE,))], CONFLICT),
        ([answer(FIRST, 0), answer(ROGUE, 0.1, routes=ROUTES)], CONFLICT),
        ([answer(FIRST, 0, kind=ACK), answer(ROGUE, 0.1, ROGUE, kind=ACK)], CONFLICT),
        # Redundant servers: the same in another order, or less of it.
        ([answer(FIRST, 0, dns=(NAMES, FIRST)), answer(SECOND, 0.1, dns=(FIRST, NAMES))], []),
        ([answer(FIRST, 0), answer(SECOND, 0.1, router=None, dns=())], []),
        # One that only tells what to boot (proxy DHCP), and one that boots something else.
        ([answer(FIRST, 0), answer(SECOND, 0.1, None, (), address="0.0.0.0", file=b"pxe.0")], []),
        ([answer(FIRST, 0, file=b"a.0"), answer(SECOND, 0.1, file=b"b.0")], [("B8.boot", "low")]),
        # Not in one transaction, and not of one client: pools may differ. In VLANs of their own, they are nobody's business.
        ([answer(FIRST, 0), answer(ROGUE, 9, ROGUE, xid=2, client=2)], [("B8.second-server", "low")]),
        ([answer(FIRST, 0), answer(FIRST, 9, SECOND, xid=2)], []),
        ([answer(FIRST, 0, relay="192.0.2.8"), answer(SECOND, 0.1, SECOND, relay="192.0.2.9")], []),
        # Behind a relay, both answers come from that.
        (
            [
                answer("192.0.2.8", 0, name=FIRST, relay="192.0.2.8"),
                answer("192.0.2.8", 0.1, ROGUE, name=ROGUE, relay="192.0.2.8"),
            ],
            CONFLICT,
        ),
        # A refusal tells nothing, and requests are none of a server's.
        ([answer(FIRST, 0), answer(ROGUE, 0.1, ROGUE, kind=NAK)], []),
        ([answer(FIRST, 0), answer(FIRST, 1, kind=ACK), answer(FIRST, 1800, kind=ACK, xid=2)], []),
        # Two devices as one server, in turn; and one that takes over for good.
        (
            [answer(FIRST, n, xid=n, mac=B if n % 2 else A) for n in range(1, 6)],
            [("B8.impostor", "medium")],
        ),
        ([answer(FIRST, n, xid=n, mac=B if n > 3 else A) for n in range(1, 6)], []),
        ([answer(FIRST, n, xid=n, mac="00:00:5e:00:01:07" if n % 2 else A) for n in range(1, 6)], []),
        # DHCPv6, by DUID.
        (
            [advertise("fe80::1", 0, "2001:db8::53", A), advertise("fe80::2", 0.1, "2001:db8:bad::53", B)],
            CONFLICT,
        ),
        ([advertise("fe80::1", 0, "2001:db8::53", A), advertise("fe80::2", 0.1, "2001:db8::53", B)], []),
        # A mirrored copy is told by nobody on this link.
        (
            [answer(FIRST, 0), ether(IP(src="198.51.100.1") / GRE() / answer(ROGUE, 0.1, ROGUE)[IP], at=0.1)],
            [],
        ),
    ],
)
def test_servers_that_tell_different_things(packets: list[Any], wanted: Any, tmp_path: Path) -> None:
    assert brief(findings(packets, tmp_path, "B8")) == wanted


@pytest.mark.parametrize(
    ("policy", "packets", "wanted"),
    [
        # Whom the network does not list as a gateway, hosts should not use.
        (f'gateways = ["{FIRST}"]', [answer(FIRST, 0), answer(ROGUE, 0.1, ROGUE)], HIGH),
        (f'gateways = ["{FIRST}", "{SECOND}"]', [answer(FIRST, 0), answer(SECOND, 0.1, SECOND)], []),
        (f'gateways = ["{FIRST}", "{SECOND}"]', [answer(FIRST, 0), answer(SECOND, 0.1, SECOND, (ROGUE,))], CONFLICT),
        # Listed servers may differ; of others, one answer suffices.
        (f'[checks.B8]\nservers = ["{FIRST}", "{SECOND}"]', [answer(FIRST, 0), answer(SECOND, 0.1, SECOND)], []),
        (f'[checks.B8]\nservers = ["{FIRST}"]', [answer(ROGUE, 0, ROGUE)], [("B8.unlisted", "high")]),
        # It may say what it will: where the answer comes from counts too, but for a relay.
        (f'[checks.B8]\nservers = ["{FIRST}"]', [answer(ROGUE, 0, name=FIRST)], [("B8.unlisted", "high")]),
        (f'[checks.B8]\nservers = ["{FIRST}"]', [answer("192.0.2.8", 0, name=FIRST, relay="192.0.2.8")], []),
        # Two devices with the name of a listed one.
        (f'[checks.B8]\nservers = ["{FIRST}"]', [answer(FIRST, 0), answer(FIRST, 0.1, ROGUE, mac=C)], CONFLICT),
        ('[checks.B8]\nservers = []\nduids = ["00:03:00:01:02:00:00:00:00:0a"]', [advertise("fe80::1", 0, "::1", A)], []),
        ('[checks.B8]\nservers = ["fe80::1"]', [advertise("fe80::2", 0, "::1", B)], [("B8.unlisted", "high")]),
    ],
)  # fmt: skip
def test_what_a_policy_knows(policy: str, packets: list[Any], wanted: Any, tmp_path: Path) -> None:
    assert brief(findings(packets, tmp_path, "B8", policy)) == wanted


def test_sentences_name_servers_and_what_they_told(tmp_path: Path) -> None:
    (found,) = findings([answer(FIRST, 0), answer(ROGUE, 0.1, ROGUE)], tmp_path, "B8")
    assert (
        "192.0.2.66 told: gateway 192.0.2.66; DNS 192.0.2.53; 192.0.2.1 told: gateway 192.0.2.1; DNS 192.0.2.53"
        in (found["sentence"])
    )
    assert found["attack"] == ["T1557.003"]
    (found,) = findings([answer(FIRST, n, xid=n, mac=B if n % 2 else A) for n in range(1, 6)], tmp_path, "B8")
    assert f"MAC {A} and the device with MAC {B}" in found["sentence"]
    hostile = [answer(FIRST, 0, file=b"\x1b[2J;a"), answer(ROGUE, 0.1, file=b"\x1b]0;x\x07; DUID 00030001")]
    (found,) = findings(hostile, tmp_path, "B8")
    assert "\x1b" not in found["sentence"]


def test_both_taps_and_twice_on_one_are_one_transaction(tmp_path: Path) -> None:
    packets = [
        answer(FIRST, 0),
        answer(FIRST, 0.000005),
        answer(ROGUE, 0.1, ROGUE),
        answer(ROGUE, 0.100005, ROGUE),
    ]
    assert [row["packets"] for row in findings(packets, tmp_path, "B8")] == [1]
    assert brief(findings(packets, tmp_path, "B8", taps=2)) == CONFLICT * 2


def test_many_servers_are_too_many_and_it_says_so(tmp_path: Path) -> None:
    packets = [answer(f"192.0.2.{n}", n / 100, xid=n, client=n) for n in range(1, 13)]
    wrpcap(str(tmp_path / "x.pcap"), packets)
    verdict = next(
        row for row in plain_rows(tapsight.check(tmp_path / "x.pcap").verdicts) if row["check"] == "B8"
    )
    assert (verdict["in_scope"], verdict["judged"]) == (12, 8)
    assert "4 answers were of servers that found no room" in verdict["reason"]


def test_it_goes_on_from_a_state(tmp_path: Path) -> None:
    packets = [
        answer(FIRST, 0),
        answer(FIRST, 1, xid=2, mac=B),
        answer(FIRST, 2, xid=3),
        answer(ROGUE, 2.1, ROGUE, xid=3),
    ]
    parts = []
    for n, packet in enumerate(packets):
        parts.append(str(tmp_path / f"{n}.pcap"))
        wrpcap(parts[-1], packet)
    whole = tapsight.check({"tap": parts})
    for part in parts:
        last = tapsight.check({"tap": part}, state=tmp_path / "state")
    assert plain_rows(last.claims) == plain_rows(whole.claims)
    assert {"B8.conflict", "B8.impostor"} <= {row["detector"] for row in plain_rows(last.claims)}
