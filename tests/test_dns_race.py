"""Two answers to one query of DNS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import brief, ether, findings
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, UDP

CLIENT, SERVER, OTHER = "192.0.2.9", "198.51.100.53", "203.0.113.53"
GOOD, EVIL = "203.0.113.1", "203.0.113.66"


def query(at: float = 0.0, name: str = "a.example", server: str = SERVER, port: int = 40000) -> Any:
    message = DNS(id=7, qr=0, qd=DNSQR(qname=name))
    return ether(
        IP(src=CLIENT, dst=server, id=1 + int(at * 1000)) / UDP(sport=port, dport=53) / message, at=at
    )


def answer(at: float, *addresses: str, **fields: Any) -> Any:
    """An answer with these addresses; `ttl` of the packet, `rcode`, `tc`, `server`, `name`, `port`."""
    name = fields.pop("name", "a.example")
    packet = IP(
        src=fields.pop("server", SERVER), dst=CLIENT, ttl=fields.pop("ttl", 60), id=1 + int(at * 1000)
    )
    records = [DNSRR(rrname=name, type="A", rdata=address) for address in addresses]
    port = fields.pop("port", 40000)
    message = DNS(id=7, qr=1, qd=DNSQR(qname=name), an=records, **fields)
    return ether(packet / UDP(sport=53, dport=port) / message, at=at)


HIGH, MEDIUM, LOW = [("B9.race", "high")], [("B9.race", "medium")], [("B9.race", "low")]


@pytest.mark.parametrize(
    ("packets", "wanted"),
    [
        ([query(), answer(0.01, EVIL, ttl=200), answer(0.05, GOOD)], HIGH),
        ([query(), answer(0.01, EVIL), answer(0.05, GOOD)], MEDIUM),
        ([answer(0.01, EVIL, ttl=200), answer(0.05, GOOD)], LOW),
        # No such name (RFC 1035 section 4.1.1) against an address.
        ([query(), answer(0.01, rcode=3, ttl=200), answer(0.05, GOOD)], HIGH),
        # Case does not matter.
        ([query(), answer(0.01, EVIL, ttl=200, name="A.eXample"), answer(0.05, GOOD)], HIGH),
        # Two queries, and a third answer.
        ([query(), query(1), answer(1.1, EVIL), answer(1.2, GOOD)], []),
        ([query(), query(1), answer(1.1, EVIL), answer(1.2, GOOD), answer(1.3, OTHER)], MEDIUM),
        # The same again, in another order; too late; cut short; failed; an alias alone.
        ([query(), answer(0.01, GOOD, EVIL), answer(0.05, EVIL, GOOD)], []),
        ([query(), answer(0.01, GOOD), answer(0.05, GOOD, ttl=200)], []),
        ([query(), answer(0.01, EVIL), answer(6, GOOD)], []),
        ([query(), answer(0.01, EVIL, tc=1), answer(0.05, GOOD)], []),
        ([query(), answer(0.01, rcode=2), answer(0.05, GOOD)], []),
        ([query(), answer(0.01), answer(0.05, GOOD)], []),
        # Another question by name or port.
        ([query(), answer(0.01, EVIL, name="b.example"), answer(0.05, GOOD)], []),
        ([query(), answer(0.01, EVIL, port=40001), answer(0.05, GOOD)], []),
        # From a server that was not asked, and from one of two that were.
        ([query(), answer(0.01, EVIL, server=OTHER)], [("B9.unasked", "low")]),
        ([query(), query(0.01, server=OTHER), answer(0.02, EVIL, server=OTHER), answer(0.05, GOOD)], []),
        ([answer(0.01, EVIL, server=OTHER)], []),
    ],
)
def test_answers_that_contradict_each_other(packets: list[Any], wanted: Any, tmp_path: Path) -> None:
    assert brief(findings(packets, tmp_path, "B9")) == wanted


def test_copies_of_a_mirror_port_and_of_another_tap_are_no_race(tmp_path: Path) -> None:
    packets = [query(), query(0), answer(0.01, GOOD), answer(0.01, GOOD)]
    assert findings(packets, tmp_path, "B9", taps=2) == []


def test_the_sentence_names_both_answers(tmp_path: Path) -> None:
    (found,) = findings([query(), answer(0.01, EVIL, ttl=200), answer(0.05, GOOD)], tmp_path, "B9")
    assert f"such as for a.example by {CLIENT}: first {EVIL}, then {GOOD}" in found["sentence"]
