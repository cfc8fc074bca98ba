"""Checks of exports, of copies of protected prefixes and of how far away they are: what passes, what fails, what nobody can tell."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap
from tables import NOON, SECOND, claim, flow, mirror, scope
from test_checks import findings_of, run, told, verdict

import tapsight
from tapsight.detectors import DETECTORS
from tapsight.lab import Implant, Scenario, generate
from tapsight.policy import Policy, PolicyError

PACK = 'packs = ["carrier-internet"]\n'


# --- I7, I8 -----------------------------------------------------------------------------------------------------------


def intercept(**other: Any) -> dict[str, Any]:
    ends = {"exporter": "192.0.2.1", "collector": "198.51.100.66", "tunnel_id": 17, "encap": None}
    return claim("A3.jmirror", **{**ends, **other})


def sampled(detector: str = "A6.sampled", **other: Any) -> dict[str, Any]:
    ends = {"exporter": "192.0.2.1", "collector": "198.51.100.66", "report": detector == "A6.full-copy"}
    return claim(detector, **{**ends, **other})


@pytest.mark.parametrize(
    ("check", "policy", "claims", "expected"),
    [
        ("I7", '[checks.A3]\nmediation = ["198.51.100.66"]', [intercept()], ("pass", None)),
        ("I7", '[checks.A3]\nmediation = ["192.0.2.40"]', [intercept()], ("fail", "A3: 1 found")),
        ("I7", "[checks.A3]\nmediation = []", [intercept()], ("fail", "A3: 1 found")),
        ("I7", "[checks.A3]\nmediation = []", [], ("pass", None)),
        ("I7", "", [intercept()], ("unknown", "needs set `mediation` in [checks.A3]")),
        ("I8", '[checks.A6]\ncollectors = ["198.51.100.66"]', [sampled()], ("pass", None)),
        ("I8", '[checks.A6]\ncollectors = ["192.0.2.50"]', [sampled()], ("fail", "A6: 1 found")),
        # Copies of all packets also need to be agreed as such.
        (
            "I8",
            '[checks.A6]\ncollectors = ["198.51.100.66"]',
            [sampled("A6.full-copy")],
            ("fail", "A6: 1 found"),
        ),
        (
            "I8",
            '[checks.A6]\ncollectors = [{ collector = "198.51.100.66", full = true }]',
            [sampled("A6.full-copy")],
            ("pass", None),
        ),
        ("I8", "", [sampled("A6.full-copy")], ("unknown", "needs set `collectors` in [checks.A6]")),
        (
            "I8",
            "[checks.A6]\ncollectors = []\nenabled = false",
            [sampled()],
            ("unknown", "A6: switched off by the policy"),
        ),
    ],
)
def test_exports(
    check: str, policy: str, claims: list[dict[str, Any]], expected: tuple[str, str | None]
) -> None:
    row = verdict(run(PACK + policy, claims=claims), check)
    assert (row["verdict"], row["reason"]) == expected


def test_exports_are_unknown_where_too_little_was_judged() -> None:
    scopes = [scope(id_, 100, 10) for id_ in DETECTORS]
    result = run(PACK + "[checks.A3]\nmediation = []\n", scopes=scopes)
    assert told(result, "I7") == ("unknown", 100, 10)


# --- I9 ---------------------------------------------------------------------------------------------------------------

PROTECTED = PACK + '[checks.I9]\nprotected = ["203.0.113.0/29"]\n'
VICTIM = flow("192.0.2.10", "203.0.113.1")
OTHER = flow("192.0.2.10", "198.51.100.9")
ROUTER, SECOND_HOP = "02:00:00:00:00:01", "02:00:00:00:00:09"


def inside_of(row: dict[str, Any]) -> dict[str, Any]:
    """The same packets in the mirror session of :func:`tables.mirror`."""
    session = flow(encap="gre/erspan2", outer_src="192.0.2.1", outer_dst="198.51.100.7", tunnel_id=17)
    return {**row, **{name: session[name] for name in ("encap", "outer_src", "outer_dst", "tunnel_id")}}


def forked(**other: Any) -> dict[str, Any]:
    return claim("A5.forked", exporter_mac=ROUTER, collector_mac=SECOND_HOP, **other)


def by_way_of(row: dict[str, Any], hop: str) -> dict[str, Any]:
    return {
        **row,
        "tap": "outside",
        "eth_src": bytes.fromhex(ROUTER.replace(":", "")),
        "eth_dst": bytes.fromhex(hop.replace(":", "")),
    }


@pytest.mark.parametrize(
    ("flows", "claims", "expected"),
    [
        ([VICTIM, OTHER], [], "pass"),
        # A mirror session: by whose packets are inside of it.
        ([VICTIM, OTHER, inside_of(VICTIM)], [mirror()], "fail"),
        ([VICTIM, OTHER, inside_of(OTHER)], [mirror()], "pass"),
        # A copy by another next hop: no protected packets took that way, or some did, which proves nothing.
        ([VICTIM, by_way_of(OTHER, SECOND_HOP)], [forked()], "pass"),
        ([VICTIM, by_way_of(VICTIM, SECOND_HOP)], [forked()], "unknown"),
        # An address that was put in place of a protected one.
        (
            [VICTIM],
            [claim("A5.readdressed", rewritten_from="203.0.113.1", rewritten_to="198.51.100.9")],
            "fail",
        ),
        (
            [VICTIM],
            [claim("A7.tunnel", encap=None, exporter="192.0.2.1", collector="198.51.100.7")],
            "unknown",
        ),
        # Nobody to protect was seen.
        ([OTHER], [mirror()], "unknown"),
        # A mirror, or an intercept, of which nobody saw the originals: by what is inside.
        ([inside_of(VICTIM)], [mirror("A2.mirror-encapsulation")], "fail"),
        ([VICTIM, inside_of(OTHER)], [mirror("A2.mirror-encapsulation")], "pass"),
        ([inside_of(VICTIM)], [mirror("A3.intercept")], "fail"),
        # Of one that cannot be read, nobody knows.
        ([VICTIM], [mirror("A2.mirror-encapsulation")], "unknown"),
        (
            [VICTIM, inside_of(flow("192.0.2.1", "198.51.100.7"))],
            [mirror("A2.mirror-encapsulation")],
            "unknown",
        ),
        # Of samples, captures tell.
        ([VICTIM], [mirror("A6.full-copy", encap=None, tunnel_id=None)], "unknown"),
    ],
)
def test_i9_tells_whose_packets_were_copied(
    flows: list[dict[str, Any]], claims: list[dict[str, Any]], expected: str
) -> None:
    row = verdict(run(PROTECTED, flows=flows, claims=claims), "I9")
    assert row["verdict"] == expected, row["reason"]


@pytest.mark.parametrize(("host", "expected"), [("203.0.113.7", "fail"), ("198.51.100.9", "pass")])
def test_i9_tells_whose_packets_were_sampled(host: str, expected: str, tmp_path: Path) -> None:
    """sFlow of one packet in one (sFlow version 5, section 5): a raw header of 60 bytes, Ethernet, as it was on the wire."""
    packets = []
    for number in range(40):
        inner = Ether(src=ROUTER, dst=SECOND_HOP) / IP(src=host, dst="198.51.100.10", id=1000 + number)
        raw = bytes(inner / UDP(sport=5, dport=6) / Raw(bytes([number]) * 60))
        header = raw[:60]
        record = struct.pack(">IIIIII", 1, 16 + len(header), 1, len(raw) + 4, 4, len(header)) + header
        sample = struct.pack(">IIIIIIII", number, 1, 1, number + 1, 0, 1, 2, 1) + record
        datagram = struct.pack(">II4sIIII", 5, 1, bytes([192, 0, 2, 1]), 0, number, number * 10, 1)
        datagram += struct.pack(">II", 1, len(sample)) + sample
        export = (
            Ether(src=ROUTER, dst=SECOND_HOP)
            / IP(src="192.0.2.1", dst="198.51.100.66")
            / UDP(sport=6343, dport=6343)
        )
        packets.append(export / Raw(datagram))
    victim = (
        Ether(src=ROUTER, dst=SECOND_HOP) / IP(src="203.0.113.7", dst="198.51.100.10") / UDP(sport=7, dport=8)
    )
    wrpcap(str(tmp_path / "x.pcap"), [victim / Raw(b"x" * 60), *packets])
    policy = Policy.loads(f"{PROTECTED}[checks.A6]\ncollectors = []\n")
    rows = tapsight.check(str(tmp_path / "x.pcap"), policy=policy).verdicts.to_pylist()
    said = {row["check"]: (row["verdict"], row["reason"]) for row in rows}
    assert said["A6"][0] == "fail"
    assert said["I9"][0] == expected, said["I9"]


def test_i9_demands_coverage() -> None:
    scopes = [scope(id_, 100, 95 if id_ == "A5" else 100) for id_ in DETECTORS]
    assert told(run(PROTECTED, flows=[VICTIM], scopes=scopes), "I9") == ("pass", 100, 95)
    strict = run(PROTECTED + "min_coverage = 0.99\n", flows=[VICTIM], scopes=scopes)
    assert told(strict, "I9") == ("unknown", 100, 95)
    assert "95.0 % could be judged, less than the 99 % demanded" in verdict(strict, "I9")["reason"]
    # More than is usual is demanded anyway.
    few = [scope(id_, 100, 100 if id_ == "A7" else 85) for id_ in DETECTORS]
    assert told(run(PROTECTED, flows=[VICTIM], scopes=few), "I9") == ("unknown", 100, 85)


def test_i9_counts_tunnels_that_a7_could_not_judge_as_not_judged() -> None:
    def judged(in_scope: int, policy: str = "") -> tuple[str, int, int]:
        scopes = [scope("A7", in_scope, 0) if id_ == "A7" else scope(id_, 1_000, 990) for id_ in DETECTORS]
        return told(run(PROTECTED + policy, flows=[VICTIM], scopes=scopes), "I9")

    assert judged(0) == ("pass", 1_000, 990)
    assert judged(5) == ("pass", 1_000, 985)
    assert judged(500) == ("unknown", 1_000, 490)
    assert judged(5, "[checks.A7]\nenabled = false\n")[0] == "unknown"


def test_i9_leaves_authorised_sessions_alone_and_needs_its_list() -> None:
    flows = [VICTIM, inside_of(VICTIM)]
    agreed = '[checks.I6]\nsinks = ["198.51.100.7"]\n'
    assert verdict(run(PROTECTED + agreed, flows=flows, claims=[mirror()]), "I9")["verdict"] == "pass"
    assert verdict(run(PACK, flows=flows), "I9")["reason"] == "needs set `protected` in [checks.I9]"


def protected(implant: Implant, folder: Path) -> tuple[dict[str, str], Any]:
    """Captures with an implant, and a function that judges them, given who is protected."""
    made = generate(Scenario(implants=(implant,), calls=3, downloads=10, seconds=20), folder)
    sources = {"inside": str(made.inside), "outside": str(made.outside)}

    def judged(prefixes: str) -> tuple[str, str | None]:
        policy = f"{PACK}[checks.I9]\nprotected = {prefixes}\nmin_coverage = 0.5\n"
        rows = tapsight.check(sources, policy=Policy.loads(policy)).verdicts.to_pylist()
        row = next(row for row in rows if row["check"] == "I9")
        return row["verdict"], row["reason"]

    return json.loads(made.scenario.read_text())["implants"][0], judged


@pytest.mark.parametrize("implant", [Implant("mirror", only="voice"), Implant("fork", only="voice")])
def test_i9_finds_copies_of_some_and_none_of_others_in_packets(implant: Implant, tmp_path: Path) -> None:
    truth, judged = protected(implant, tmp_path)
    assert judged(f'["{truth["victim"]}"]')[0] == "fail"
    # Downloads are from there, and are not what is copied.
    assert judged('["192.0.2.0/24"]')[0] == "pass"
    # Nobody has these addresses.
    assert judged('["100.64.1.0/24"]') == ("unknown", "no packets from or to protected prefixes were seen")


# --- I10 --------------------------------------------------------------------------------------------------------------

HOPS = PACK + '[checks.I10]\nbands = [{ prefixes = "20.0.0.0/24", hops = [5, 9] }]\n'
RTT = PACK + '[checks.I10]\nbands = [{ prefixes = "20.0.0.0/24", rtt_ms = [1, 40] }]\n'


def host(ttl: int, last: int | None = None, number: int = 1, **other: Any) -> dict[str, Any]:
    """Packets of a host of the prefix, with the TTLs of the first and of the last."""
    return flow(
        f"20.0.0.{number}",
        "30.0.0.1",
        **{"first_ttl": ttl, "last_ttl": last or ttl, "flow_id": number * 1000 + ttl, "packets": 20} | other,
    )


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        # 64 - 57 = 7 and 128 - 119 = 9 hops are inside, 64 - 60 = 4 and 255 - 241 = 14 are not.
        ([host(57), host(119, number=2)], ("pass", 40, 40)),
        ([host(57), host(60, number=2)], ("fail", 40, 40)),
        ([host(57), host(241, number=2)], ("fail", 40, 40)),
        # Fewer than ten packets may be anything.
        ([host(57), host(50, packets=9)], ("pass", 29, 20)),
        # TTLs up to 32 may trace the route, and 64 - 33 = 31 hops are more than there are.
        ([host(20)], ("unknown", 20, 0)),
        ([host(33)], ("unknown", 20, 0)),
        # A way that changed within a conversation: two packets are known. One outside of the band is no proof.
        ([host(57, 50)], ("unknown", 20, 1)),
        ([host(57, 58)], ("pass", 20, 20)),
        # Others than the prefix, and what is in tunnels, have no part in this.
        ([flow(first_ttl=40, last_ttl=40)], ("unknown", 0, 0)),
        ([host(40, encap="gre")], ("unknown", 0, 0)),
    ],
)
def test_i10_judges_hops(flows: list[dict[str, Any]], expected: tuple[str, int, int]) -> None:
    assert told(run(HOPS, flows=flows), "I10") == expected


def test_i10_says_how_far() -> None:
    (finding,) = findings_of(run(HOPS, flows=[host(50), host(52, number=2), host(57, number=3)]))
    assert (finding["check"], finding["kind"], finding["packets"]) == ("I10", "policy", 40)
    assert finding["sentence"] == (
        "40 packets from 20.0.0.0/24 (2 hosts) took 12 to 14 hops, from 2026-01-01 12:00:00 UTC until 2026-01-01 12:01:00 UTC (on inside); "
        "the policy expects 5 to 9."
    )


def handshake(number: int, milliseconds: float) -> list[dict[str, Any]]:
    """A connection whose SYN was answered after so long."""
    at = NOON + number * SECOND
    both = {
        "protocol": 6,
        "src_port": 40_000 + number,
        "dst_port": 443,
        "flow_id": 7_000 + number,
        "packets": 5,
    }
    back = {**both, "src_port": 443, "dst_port": 40_000 + number}
    syn = flow("30.0.0.1", "20.0.0.9", **both, tcp_flags=0x12 & 0x02, first_ts=at, last_ts=at + SECOND)
    answer = at + round(milliseconds * 1e6)
    return [
        syn,
        flow("20.0.0.9", "30.0.0.1", **back, tcp_flags=0x12, first_ts=answer, last_ts=answer + SECOND),
    ]


def connections(*milliseconds: float) -> list[dict[str, Any]]:
    return [row for number, each in enumerate(milliseconds) for row in handshake(number, each)]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([20.0] * 10, ("pass", 10, 10)),
        ([60.0] * 10, ("fail", 10, 10)),
        # Somebody nearer answers.
        ([0.2] * 10, ("fail", 10, 10)),
        ([20.0] * 5 + [60.0] * 5, ("fail", 10, 10)),
        ([20.0] * 9, ("unknown", 9, 0)),
        # SYN may have been sent again.
        ([20.0] * 10 + [1_200.0], ("pass", 11, 10)),
    ],
)
def test_i10_judges_times(times: list[float], expected: tuple[str, int, int]) -> None:
    assert told(run(RTT, flows=connections(*times)), "I10") == expected


def test_i10_says_how_long_and_what_else_there_was() -> None:
    (finding,) = findings_of(run(RTT, flows=connections(*[60.0] * 8, 20.0, 20.0)))
    assert finding["sentence"] == (
        "Servers of 20.0.0.0/24 (1 host) answered after 60 ms in the middle, from 2026-01-01 12:00:00 UTC until 2026-01-01 12:00:08 UTC (on "
        "inside); the policy expects 1 to 40 ms, and 8 of 10 connections are outside of that."
    )
    row = verdict(run(RTT, flows=connections(*[20.0] * 8, 60.0, 60.0)), "I10")
    assert (row["verdict"], row["reason"]) == (
        "pass",
        "2 connections outside of the band, fewer than half of those to a prefix",
    )


def test_i10_does_not_pass_by_one_of_two() -> None:
    both = PACK + '[checks.I10]\nbands = [{ prefixes = "20.0.0.0/24", hops = [5, 9], rtt_ms = [1, 40] }]\n'
    row = verdict(run(both, flows=[host(57)]), "I10")
    assert (row["verdict"], row["reason"]) == ("unknown", "too little was seen to tell rtt_ms of 20.0.0.0/24")
    assert verdict(run(both, flows=[host(40)]), "I10")["verdict"] == "fail"


def test_i10_needs_its_bands() -> None:
    assert verdict(run(PACK, flows=[host(57)]), "I10")["reason"] == "needs set `bands` in [checks.I10]"


@pytest.mark.parametrize(
    ("band", "message"),
    [
        ('{ prefixes = "20.0.0.0/24" }', "needs hops or rtt_ms"),
        ('{ prefixes = "20.0.0.0/24", hops = [9, 5] }', "must be the least and the most"),
        ('{ prefixes = "20.0.0.0/24", hops = 7 }', "must be the least and the most"),
        ('{ prefixes = "20.0.0.0/24", hop = [5, 9] }', 'did you mean "hops"'),
        ('{ prefixes = "far", hops = [5, 9] }', 'no set is named "far"'),
    ],
)
def test_errors_of_bands(band: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Policy.loads(f"[checks.I10]\nbands = [{band}]\n")


def test_what_is_excepted_of_others_does_not_count() -> None:
    exception = """
[[exceptions]]
check = "{}"
address = "198.51.100.66"
owner = "noc@example.net"
reason = "CHG-7"
expires = 2026-06-30
"""
    policy = PACK + "[checks.A3]\nmediation = []\n"
    assert verdict(run(policy, claims=[intercept()]), "I7")["verdict"] == "fail"
    assert verdict(run(policy + exception.format("A3"), claims=[intercept()]), "I7")["verdict"] == "pass"
    session = [VICTIM, inside_of(VICTIM)]
    agreed = PROTECTED + exception.format("A1").replace("198.51.100.66", "198.51.100.7")
    assert verdict(run(agreed, flows=session, claims=[mirror()]), "I9")["verdict"] == "pass"
