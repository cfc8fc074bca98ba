"""Checks of captures and of verdicts: what passes, what fails, what nobody can tell."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from tables import flow, scope, sip, tap
from test_checks import PEERS, findings_of, run, told, verdict

import tapsight
from tapsight.detectors import DETECTORS
from tapsight.policy import Policy

PACK = 'packs = ["capture-quality"]\n'


# --- Q1 ---------------------------------------------------------------------------------------------------------------


def tcp(src: str = "192.0.2.10", dst: str = "203.0.113.10", **other: Any) -> dict[str, Any]:
    return flow(src, dst, protocol=6, src_port=40_000, dst_port=443, **other)


def scan(flags: int, dst: str = "203.0.113.9") -> dict[str, Any]:
    return tcp(dst=dst, tcp_flags=flags)


def both_ways(name: str = "inside") -> list[dict[str, Any]]:
    back = {"protocol": 6, "src_port": 443, "dst_port": 40_000, "tap": name}
    return [tcp(tap=name), flow("203.0.113.10", "192.0.2.10", **back)]


def good(name: str = "inside", **other: Any) -> dict[str, Any]:
    """A capture in which nothing is missing."""
    return tap(name, **{"dropped": 0, "received": 1_000, "format": "pcapng"} | other)


def compared(**other: Any) -> dict[str, Any]:
    row = {
        "from_tap": "inside",
        "to_tap": "outside",
        "traffic": "internet",
        "judged": 400,
        "offset_ns": 2_000_000,
    }
    return {**row, "offset_uncertainty_ns": 100_000, "both_ways": True, "clock_steps": []} | other


TWO = {"taps": [good(), good("outside")], "flows": [*both_ways(), *both_ways("outside")]}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"taps": [good()], "flows": both_ways()}, ("pass", 1_000, 1_000)),
        # 1 of 1,001 is less than one in a thousand, 2 of 1,002 are more.
        ({"taps": [good(dropped=1)], "flows": both_ways()}, ("pass", 1_000, 1_000)),
        ({"taps": [good(dropped=2)], "flows": both_ways()}, ("fail", 1_000, 1_000)),
        ({"taps": [good(dropped=None)], "flows": both_ways()}, ("unknown", 1_000, 0)),
        # Nothing was cut, or not to less than 128 bytes.
        ({"taps": [good(snaplen=96)], "flows": both_ways()}, ("pass", 1_000, 1_000)),
        ({"taps": [good(snaplen=128, snapped=300)], "flows": both_ways()}, ("pass", 1_000, 1_000)),
        ({"taps": [good(snaplen=96, snapped=300)], "flows": both_ways()}, ("fail", 1_000, 1_000)),
        ({"taps": [good(snaplen=None, snapped=300)], "flows": both_ways()}, ("unknown", 1_000, 0)),
        # What nobody answered, as in a scan, is no direction that was not seen: SYN, also with ECE and CWR; unless there was more (ACK, RST).
        (
            {"taps": [good()], "flows": [*both_ways(), scan(0x02), scan(0xC2, "203.0.113.8")]},
            ("pass", 1_000, 1_000),
        ),
        ({"taps": [good()], "flows": [*both_ways(), scan(0x12)]}, ("fail", 1_000, 1_000)),
        ({"taps": [good()], "flows": [*both_ways(), scan(0x06)]}, ("fail", 1_000, 1_000)),
        ({"taps": [good()], "flows": [scan(0x02)]}, ("unknown", 1_000, 0)),
        # One direction; and no protocol that always answers.
        ({"taps": [good()], "flows": [tcp()]}, ("fail", 1_000, 1_000)),
        ({"taps": [good()], "flows": [flow()]}, ("unknown", 1_000, 0)),
        # 200 of 220 packets in both directions are more than nine in ten; 200 of 240 are not.
        (
            {"taps": [good()], "flows": [*both_ways(), tcp(dst="203.0.113.9", packets=20)]},
            ("pass", 1_000, 1_000),
        ),
        (
            {"taps": [good()], "flows": [*both_ways(), tcp(dst="203.0.113.9", packets=40)]},
            ("fail", 1_000, 1_000),
        ),
        # Clocks: 2 ms apart; 12 ms; between; in one direction only; nothing passed both.
        ({**TWO, "compared": [compared()]}, ("pass", 2_000, 2_000)),
        ({**TWO, "compared": [compared(offset_ns=-12_000_000)]}, ("fail", 2_000, 2_000)),
        ({**TWO, "compared": [compared(offset_ns=9_950_000)]}, ("unknown", 2_000, 0)),
        ({**TWO, "compared": [compared(both_ways=False)]}, ("unknown", 2_000, 0)),
        ({**TWO, "compared": []}, ("unknown", 2_000, 0)),
        ({"taps": []}, ("unknown", 0, 0)),
    ],
)
def test_q1_judges_each_tap_and_each_pair(rows: dict[str, Any], expected: tuple[str, int, int]) -> None:
    assert told(run(PACK, **rows), "Q1") == expected


@pytest.mark.parametrize(("size", "expected"), [(60, "fail"), (127, "fail"), (128, "pass"), (200, "pass")])
def test_q1_goes_by_what_was_captured(size: int, expected: str, tmp_path: Path) -> None:
    """Frames of 154 bytes in a capture that says 65,535 (pcap, sections 4 and 5), each with the length that it had on the wire."""
    frames = b""
    for number in range(20):
        there = number % 2 == 0
        ends = ("192.0.2.10", "203.0.113.10") if there else ("203.0.113.10", "192.0.2.10")
        ports = (40_000, 443) if there else (443, 40_000)
        whole = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=ends[0], dst=ends[1])
        data = bytes(whole / TCP(sport=ports[0], dport=ports[1], flags="A") / (b"x" * 100))
        frames += struct.pack("<IIII", 1_700_000_000, number, len(data[:size]), len(data)) + data[:size]
    (tmp_path / "x.pcap").write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1) + frames)
    policy = Policy.loads(f"{PACK}[checks.Q1]\nuntold_drops = true\n")
    result = tapsight.check(tmp_path / "x.pcap", policy=policy)
    assert verdict(result, "Q1")["verdict"] == expected
    texts = [row["sentence"] for row in findings_of(result) if row["check"] == "Q1"]
    assert texts == (
        [f"Tap x.pcap captured only {size} bytes of 20 packets that were longer: less than 128."]
        if expected == "fail"
        else []
    )


def test_q1_says_what_is_wrong() -> None:
    rows = {
        "taps": [good(dropped=250), good("outside", snaplen=96, snapped=300)],
        "flows": [*both_ways(), tcp(tap="outside")],
        "compared": [compared(offset_ns=-12_000_000)],
    }
    found = findings_of(run(PACK, **rows))
    assert sorted(row["sentence"] for row in found) == [
        "Tap inside dropped 250 of 1,250 packets (20.0 %): more than 0.1 %.",
        "Tap outside captured only 96 bytes of 300 packets that were longer: less than 128.",
        "Tap outside saw both directions of only 0 % of TCP and SCTP (0 of 100 packets): less than 90 %.",
        "The clocks of inside and outside are 12 ms apart (± 100 µs): more than 10 ms.",
    ]
    assert {row["check"] for row in found} == {"Q1"}


def test_q1_says_what_is_not_known() -> None:
    rows = {"taps": [good(dropped=None)], "flows": both_ways()}
    assert "inside does not say what it dropped" in verdict(run(PACK, **rows), "Q1")["reason"]
    trusted = PACK + "[checks.Q1]\nuntold_drops = true\n"
    assert told(run(trusted, **rows), "Q1") == ("pass", 1_000, 1_000)
    # One of two taps that fits does not make the other fit.
    part = run(
        PACK, **{**TWO, "taps": [good(), good("outside", dropped=None, frames=10)], "compared": [compared()]}
    )
    assert told(part, "Q1") == ("unknown", 1_010, 1_000)


@pytest.mark.parametrize(
    ("option", "rows"),
    [
        ("max_drops = 0.01", {"taps": [good(dropped=5)], "flows": both_ways()}),
        ("min_snaplen = 64", {"taps": [good(snaplen=96, snapped=9)], "flows": both_ways()}),
        ("min_two_way = 0", {"taps": [good()], "flows": [tcp()]}),
        ("max_offset_ms = 20", {**TWO, "compared": [compared(offset_ns=12_000_000)]}),
    ],
)
def test_limits_of_q1_are_the_policys(option: str, rows: dict[str, Any]) -> None:
    assert verdict(run(PACK, **rows), "Q1")["verdict"] == "fail"
    assert verdict(run(f"{PACK}[checks.Q1]\n{option}\n", **rows), "Q1")["verdict"] == "pass"


def test_captures_in_several_files_are_one_tap() -> None:
    files = [good(file="1.pcapng", dropped=1), good(file="2.pcapng", dropped=0)]
    assert told(run(PACK, taps=files, flows=both_ways()), "Q1") == ("pass", 2_000, 2_000)


# --- Q2 ---------------------------------------------------------------------------------------------------------------


def partly(judged: int) -> list[dict[str, Any]]:
    """Voice signalling of which so many packets in a hundred can be judged."""
    return [
        sip("192.0.2.10", "203.0.113.10", packets=judged),
        sip("198.51.100.1", "198.51.100.2", basis="port", packets=100 - judged),
    ]


@pytest.mark.parametrize(("judged", "expected"), [(95, "pass"), (90, "pass"), (60, "fail"), (40, "pass")])
def test_q2_fails_what_passes_by_too_little(judged: int, expected: str) -> None:
    result = run(PACK + PEERS, flows=partly(judged))
    assert verdict(result, "V1")["verdict"] == ("unknown" if judged == 40 else "pass")
    assert verdict(result, "Q2")["verdict"] == expected


def test_q2_names_them_and_counts_the_unknown() -> None:
    result = run(PACK + PEERS, flows=partly(60))
    (finding,) = (row for row in findings_of(result) if row["check"] == "Q2")
    assert finding["sentence"] == (
        "V1 passed by 60.0 % of what was in scope (60 of 100 packets), less than the 90 % demanded: it is not known whether the rest fits."
    )
    assert finding["packets"] == 40
    row = verdict(run(PACK + PEERS, flows=partly(40)), "Q2")
    assert "verdicts unknown" in row["reason"]


def test_q2_leaves_what_fails_alone() -> None:
    flows = [*partly(60), sip("192.0.2.10", "198.51.100.66")]
    result = run(PACK + PEERS, flows=flows)
    assert verdict(result, "V1")["verdict"] == "fail"
    assert verdict(result, "Q2")["verdict"] == "pass"


def test_q2_is_unknown_where_nothing_was_judged() -> None:
    result = run(PACK, flows=[], taps=[], scopes=[scope(id_, 0, 0) for id_ in DETECTORS])
    row = verdict(result, "Q2")
    assert (row["verdict"], row["reason"]) == ("unknown", "no check or detector could judge anything")


def test_q2_also_judges_those_that_rest_on_others() -> None:
    policy = 'packs = ["capture-quality", "carrier-internet"]\n[checks.A3]\nmediation = []\n[checks.Q2]\ncoverage = 0.99\n'
    scopes = [scope(id_, 100, 95 if id_ == "A3" else 100) for id_ in DETECTORS]
    result = run(policy, scopes=scopes, flows=[])
    told_of = {row["sentence"].split()[0] for row in findings_of(result) if row["check"] == "Q2"}
    assert told_of == {"A3", "I7"}


# --- Exceptions -------------------------------------------------------------------------------------------------------

EXCEPTION = """
[[exceptions]]
check = "Q2"
id = "{id}"
owner = "noc@example.net"
reason = "one fibre only, CHG-7"
expires = 2026-06-30
"""


def test_what_q2_finds_can_be_excepted() -> None:
    result = run(PACK + PEERS, flows=partly(60))
    (id_,) = (row["id"] for row in findings_of(result) if row["check"] == "Q2")
    result = run(PACK + PEERS + EXCEPTION.format(id=id_), flows=partly(60))
    row = verdict(result, "Q2")
    assert (row["verdict"], row["findings"]) == ("pass", 0)
    assert "1 finding excepted: noc@example.net" in row["reason"]
    assert result.excepted["check"].to_pylist() == ["Q2"]
    assert [each["findings"] for each in result.exceptions] == [1]


@pytest.mark.parametrize(("at", "expected"), [("inside", "pass"), ("outside", "fail")])
def test_what_q1_finds_at_one_tap_is_not_excepted_at_another(at: str, expected: str) -> None:
    exception = EXCEPTION.replace("Q2", "Q1").replace('id = "{id}"', f'tap = "{at}"')
    rows = {"taps": [good(dropped=250)], "flows": both_ways()}
    assert verdict(run(PACK + exception, **rows), "Q1")["verdict"] == expected
