"""TCP segments and resets that somebody sent in another's name: real captures, and built ones for each guard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import capture_index
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

import tapsight

CLIENT, SERVER = "192.0.2.10", "203.0.113.80"
ROUTER, SIDE = "02:00:00:00:00:01", "02:00:00:00:00:66"
REAL, FORGED = b"HTTP/1.1 200 OK\r\nServer: real\r\n\r\n", b"HTTP/1.1 302 Found\nLocation: x\n\n"

QUANTUM = {
    # The injected frame, and the real one: read in Wireshark, by TTL and identification beside those of the SYN/ACK.
    "fox-it__quantuminsert/pcaps__qi_internet_SYNACK_curl_jsonip.pcap": ("B10.injected", 5, 9),
    "fox-it__quantuminsert/pcaps__qi_local_SYNACK_imgur_qdp.pcap": ("B10.injected", 1263, 1282),
    "fox-it__quantuminsert/pcaps__qi_local_SYNACK_putty_dl.pcap": ("B10.two-senders", 21, 26),
    "fox-it__quantuminsert/pcaps__qi_local_SYNACK_slashdot_redirect.pcap": ("B10.injected", 5, 19),
    "fox-it__quantuminsert/presentations__brocon2015__pcaps__id1.cn-inject.pcap": ("B10.injected", 5, 8),
}


def segment(seq: int, payload: bytes = b"", *, back: bool = False, at: float = 0, **other: Any) -> Packet:
    """A segment of the server, or ``back`` to it; ``ttl``, ``id``, ``flags``, ``ack`` and ``mac`` may be given."""
    ends = {"src": CLIENT, "dst": SERVER} if back else {"src": SERVER, "dst": CLIENT}
    ports = {"sport": 40000, "dport": 80} if back else {"sport": 80, "dport": 40000}
    packet = (
        Ether(src=other.get("mac", ROUTER), dst="02:00:00:00:00:02")
        / IP(**ends, ttl=other.get("ttl", 54), id=other.get("id", 100))
        / TCP(**ports, seq=seq, ack=other.get("ack", 5000), flags=other.get("flags", "PA"))
        / Raw(payload)
    )
    packet.time = 1_700_000_000 + at
    return packet


OPENING = [
    segment(4999, back=True, flags="S", at=0),
    segment(999, flags="SA", id=0, at=0.01),
]


def check(folder: Path, *taps: Sequence[Packet]) -> tapsight.Result:
    sources = []
    for number, packets in enumerate(taps):
        path = folder / f"{number}.pcap"
        wrpcap(str(path), packets)
        sources.append(f"tap{number}={path}")
    return tapsight.check(sources)


def claims(result: tapsight.Result, family: str) -> list[tuple[str, str, int]]:
    rows = result.claims.select(["detector", "severity", "packets"]).to_pylist()
    found = ((row["detector"], row["severity"], row["packets"]) for row in rows)
    return [row for row in found if row[0].partition(".")[0] == family]


def evidence(result: tapsight.Result) -> list[tuple[int, str]]:
    (rows,) = result.findings["evidence"].to_pylist()
    return sorted((frame["frame"], frame["role"]) for frame in rows)


# --- B10 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUANTUM)
def test_quantuminsert_is_found_and_the_injected_frame_named(name: str, captures: Path) -> None:
    if not (captures / name).is_file():
        pytest.skip(f"{name} is not among the captures")
    kind, injected, real = QUANTUM[name]
    result = tapsight.check(captures / name)
    found = [row for row in result.findings.select(["detector", "evidence"]).to_pylist()]
    (finding,) = [row for row in found if row["detector"].startswith("B10")]
    assert finding["detector"] == kind
    assert {(frame["frame"], frame["role"]) for frame in finding["evidence"]} == {
        (injected, "injected"),
        (real, "original"),
    }
    assert result.answers[1].answer == "yes"


def test_no_other_capture_has_an_injection(captures: Path) -> None:
    tagged = ("tcp-overlap-conflict", "ts-out-of-order", "dup-packets", "tcp-retransmission")
    names = [row["file"] for row in capture_index() if any(tag in row["tags"] for tag in tagged)]
    assert names
    for name in set(names) - set(QUANTUM):
        found = tapsight.check(captures / name).findings["detector"].to_pylist()
        assert not [each for each in found if each and each.startswith(("B10", "B11"))], name


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ({}, {"ttl": 64}, [("B10.injected", "high", 1)]),
        ({}, {"id": 1100}, [("B10.injected", "high", 1)]),
        ({"id": 65500}, {"id": 963}, [("B10.differs", "info", 1)]),  # 999 apart, going round.
        ({"id": 65500}, {"id": 964}, [("B10.injected", "high", 1)]),
        ({}, {"ttl": 53, "mac": SIDE}, [("B10.rewritten", "low", 1)]),
        ({}, {}, [("B10.differs", "info", 1)]),
        ({}, {"ttl": 64, "at": 1.001}, []),
        ({}, {"ttl": 64, "at": -0.001}, []),
        ({}, {"ttl": 64, "payload": REAL}, []),
        ({}, {"ttl": 64, "payload": REAL + b"x", "id": 100}, []),
        ({}, {"ttl": 64, "payload": REAL + b"x", "id": 9999}, [("B10.two-senders", "medium", 1)]),
        ({}, {"ttl": 55, "payload": REAL + b"x", "id": 9999}, []),
        ({}, {"ttl": 64, "payload": REAL[:20] + b"other to the end"[:13]}, [("B10.injected", "high", 1)]),
        ({"payload": b"\0"}, {"ttl": 64, "payload": FORGED}, []),
        ({}, {"ttl": 64, "seq": 1001}, []),
    ],
    ids=[
        "ttl",
        "identification",
        "identification-close",
        "identification-goes-round",
        "rewritten",
        "one-sender",
        "too-late",
        "clock-runs-back",
        "retransmitted-on-another-path",
        "recut",
        "recut-by-another",
        "recut-one-hop-apart",
        "same-beginning-same-length",
        "keep-alive",
        "not-the-same-place",
    ],
)
def test_what_two_segments_at_one_place_are(first: Any, second: Any, wanted: Any, tmp_path: Path) -> None:
    def one(at: float, payload: bytes, seq: int = 1000, **other: Any) -> Packet:
        return segment(**{"seq": seq, "payload": payload, "at": at, **other})

    start = {"payload": REAL, **first}
    after = {"payload": FORGED, "at": 0.5, **second}
    after["at"] += 0.02
    frames = [*OPENING, one(**{"at": 0.02, **start}), one(**after)]
    assert claims(check(tmp_path, frames), "B10") == wanted


def test_the_frame_with_the_unusual_ttl_is_the_injected_one(tmp_path: Path) -> None:
    real, forged = segment(1000, REAL, at=0.06), segment(1000, FORGED, ttl=64, mac=SIDE, at=0.03)
    result = check(tmp_path, [*OPENING, forged, real])
    assert evidence(result) == [(3, "injected"), (4, "original")]
    (sentence,) = result.findings["sentence"].to_pylist()
    for word in (CLIENT, SERVER, SIDE):
        assert word in sentence
    assert result.findings["attack"].to_pylist() == [["T1557", "T1659"]]


def test_a_retransmission_after_the_injection_is_no_second_one(tmp_path: Path) -> None:
    forged, real = segment(1000, FORGED, ttl=64, at=0.03), segment(1000, REAL, at=0.06)
    again = segment(1000, REAL, id=101, ack=5001, at=0.3)
    assert claims(check(tmp_path, [*OPENING, forged, real, again]), "B10") == [("B10.injected", "high", 1)]


def test_both_taps_and_span_duplicates_see_one_injection(tmp_path: Path) -> None:
    forged, real = segment(1000, FORGED, ttl=64, at=0.03), segment(1000, REAL, at=0.06)
    outside = [*OPENING, forged, forged, real, real]
    inside = []
    for packet in outside:
        hop = packet.copy()
        hop[IP].ttl -= 1
        del hop[IP].chksum
        hop.time = packet.time + 0.0001
        inside.append(hop)
    assert claims(check(tmp_path, outside, inside), "B10") == [("B10.injected", "high", 1)]


def test_what_was_captured_too_short_is_not_judged(tmp_path: Path) -> None:
    cut = []
    for packet in (segment(1000, REAL, at=0.03), segment(1000, FORGED, ttl=64, at=0.06)):
        short = Ether(bytes(packet)[:60])
        short.time, short.wirelen = packet.time, len(packet)
        cut.append(short)
    verdicts = {row["check"]: row for row in check(tmp_path, [*OPENING, *cut]).verdicts.to_pylist()}
    assert (verdicts["B10"]["verdict"], verdicts["B10"]["in_scope"], verdicts["B10"]["judged"]) == (
        "unknown",
        2,
        0,
    )


# --- B11 --------------------------------------------------------------------------------------------------------------

DATA = [
    *OPENING,
    segment(5000, back=True, ack=1000, flags="A", at=0.02),
    segment(5000, b"GET / HTTP/1.0\r\n\r\n", back=True, ack=1000, at=0.03),
    segment(1000, ack=5018, flags="A", at=0.035),
    segment(1000, b"a" * 100, at=0.04),
    segment(1100, b"b" * 100, at=0.05),
]
ACKED = segment(5018, back=True, ack=1100, flags="A", at=0.06)


def reset(seq: int, at: float, **other: Any) -> Packet:
    return segment(seq, flags="R", at=at, **other)


@pytest.mark.parametrize(
    ("frames", "wanted"),
    [
        ([reset(1200, 0.07)], []),
        ([reset(1200, 0.07), segment(1200, b"c" * 100, at=0.08)], [("B11.ignored", "low", 1)]),
        (
            [reset(1200, 0.07, ttl=64), segment(1200, b"c" * 100, at=0.08)],
            [("B11.other-ttl", "info", 1), ("B11.forged", "medium", 1)],
        ),
        ([reset(1200, 0.07), segment(1100, b"b" * 100, at=0.08)], []),
        ([reset(1200, 0.07), segment(1200, b"c" * 100, at=2.08)], []),
        ([reset(1200, 0.07), segment(7000, flags="SA", at=0.08), segment(7001, b"c" * 100, at=0.09)], []),
        ([reset(1150, 0.07)], [("B11.behind", "low", 1)]),
        ([reset(1150, 0.07, ttl=64)], [("B11.forged", "medium", 1)]),
        ([reset(1150, 2.1)], []),
        ([reset(1100, 0.07)], []),
        ([reset(1050, 0.07)], []),
        ([reset(1200, 0.07), reset(2660, 0.08)], [("B11.guessed", "low", 1)]),
        ([reset(1200, 0.07), reset(1202, 0.08)], []),
        ([reset(1200, 0.07), reset(2660, 2.08)], []),
        ([segment(1200, flags="FA", at=0.065), reset(1201, 0.07), reset(2660, 0.08)], []),
        ([reset(1200, 0.07, ttl=64)], [("B11.other-ttl", "info", 1)]),
        ([reset(1200, 0.07, ttl=55)], []),
        ([reset(1200, 0.07), reset(1200, 0.08)], []),
    ],
    ids=[
        "as-it-should-be",
        "ignored",
        "ignored-and-another-ttl",
        "reordered",
        "long-after",
        "a-new-connection",
        "behind",
        "behind-and-another-ttl",
        "behind-but-long-after",
        "answers-an-acknowledgment",
        "answers-an-earlier-one",
        "guessed",
        "one-off",
        "guessed-long-after",
        "after-fin",
        "another-ttl",
        "one-hop-apart",
        "twice",
    ],
)
def test_what_resets_are(frames: list[Packet], wanted: Any, tmp_path: Path) -> None:
    assert claims(check(tmp_path, [*DATA, ACKED, *frames]), "B11") == wanted


def test_refused_connections_are_no_subject(tmp_path: Path) -> None:
    refused = [segment(4999, back=True, flags="S"), segment(0, flags="RA", at=0.01)]
    verdicts = {row["check"]: row for row in check(tmp_path, refused).verdicts.to_pylist()}
    assert verdicts["B11"]["in_scope"] == 0


def test_a_reset_without_its_connection_is_not_judged(tmp_path: Path) -> None:
    verdicts = {row["check"]: row for row in check(tmp_path, [reset(1200, 0)]).verdicts.to_pylist()}
    assert (verdicts["B11"]["verdict"], verdicts["B11"]["in_scope"], verdicts["B11"]["judged"]) == (
        "unknown",
        1,
        0,
    )


def test_two_taps_tell_of_one_reset(tmp_path: Path) -> None:
    outside = [*DATA, ACKED, reset(1150, 0.07, id=7)]
    inside = []
    for packet in outside:
        hop = packet.copy()
        hop[IP].ttl -= 1
        del hop[IP].chksum
        hop.time = packet.time + 0.0001
        inside.append(hop)
    assert claims(check(tmp_path, outside, inside), "B11") == [("B11.behind", "low", 1)]
