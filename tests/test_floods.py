"""Findings by the thousand: what is listed costs no more than what is listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap
from tables import examination, sentences, sip

import tapsight
from tapsight import findings
from tapsight._check import Result, judge
from tapsight.checks import _exchanges
from tapsight.checks._rule import Rule
from tapsight.checks.v7 import V7
from tapsight.findings import MOST_OF_A_KIND
from tapsight.policy import Policy

STRANGERS = 300


class Counter:
    """A function that counts how often it is called."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        return self.function(*arguments, **options)


def strangers() -> Result:
    """The verdicts of a flood of signalling with hosts that nobody knows."""
    flows = [sip("192.0.2.10", f"198.51.{n // 200}.{n % 200}", flow_id=n) for n in range(STRANGERS)]
    policy = '[checks.V1]\npairs = [["192.0.2.10", "203.0.113.10"]]\n'
    return judge(examination(flows=flows), Policy.loads(policy))


def test_a_finding_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    named = Counter(findings._id)
    monkeypatch.setattr(findings, "_id", named)
    result = strangers()
    row = next(row for row in result.verdicts.to_pylist() if row["check"] == "V1")
    assert (row["verdict"], row["findings"]) == ("fail", STRANGERS)
    assert named.calls < 2 * STRANGERS


def test_only_what_is_listed_is_put_into_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Counter(_exchanges._sentence)
    monkeypatch.setattr(_exchanges, "_sentence", said)
    told = sentences(strangers(), "V1")
    assert said.calls <= MOST_OF_A_KIND
    assert len(told) == MOST_OF_A_KIND + 1
    assert len(set(told)) == MOST_OF_A_KIND + 1
    assert any(f"{STRANGERS - MOST_OF_A_KIND} more findings of V1" in each for each in told)


def test_of_captures_that_are_read_once_more_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = []
    for n in range(STRANGERS):
        packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        packet /= IP(src=f"198.51.{n // 200}.{n % 200}", dst="192.0.2.53", tos=46 << 2) / UDP(sport=40000)
        packets.append(packet / DNS(rd=1, qd=DNSQR(qname="example.com")))
    path = tmp_path / "flood.pcap"
    wrpcap(str(path), packets)
    by_code = Counter(V7._sentence)
    by_rule = Counter(Rule.sentence)
    monkeypatch.setattr(V7, "_sentence", staticmethod(by_code))

    def as_method(*arguments: Any) -> Any:
        return by_rule(*arguments)

    monkeypatch.setattr(Rule, "sentence", as_method)
    policy = Policy.loads(
        'packs = ["carrier-voice"]\n[checks.V7]\nvoice = [46]\n[checks.mine]\nover = "packets"\nexpect = "ttl == 1"'
    )
    result = tapsight.check(str(path), policy=policy, threads=1)
    for check, said in (("V7", by_code), ("mine", by_rule)):
        row = next(row for row in result.verdicts.to_pylist() if row["check"] == check)
        assert (row["verdict"], row["findings"]) == ("fail", STRANGERS)
        assert len(sentences(result, check)) == MOST_OF_A_KIND + 1
        assert said.calls <= MOST_OF_A_KIND
