"""A4 and B14 over hand-made calls: what is found, and what is honest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.rtp import RTP
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

import tapsight
from tapsight._check import plain_rows
from tapsight.lab import sip
from tapsight.policy import Policy

A, B, X = "198.51.100.1", "203.0.113.1", "192.0.2.66"


def packet(time: float, src: str, dst: str, ports: tuple[int, int], load: Any, ttl: int = 60) -> Packet:
    made = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst, ttl=ttl)
    made /= UDP(sport=ports[0], dport=ports[1]) / load
    made.time = 1_767_225_600 + time
    return made


def call(*, private: bool = False, require: str = "") -> list[Packet]:
    """A call from A, answered after 0.2 s and ended after 12: audio at A:20000 and B:30000."""
    dialog = sip.Dialog(A, B, "one@a", "a1", "b1")
    offer = sip.description(A, [(20000, "sendrecv", "1")])
    answer = sip.description("10.0.0.9" if private else B, [(30000, "sendrecv", "")])
    fields = (require,) if require else ()
    steps = [
        (0.0, A, B, dialog.request("INVITE", 1, offer, *fields)),
        (0.2, B, A, dialog.response(200, "OK", "INVITE", 1, answer)),
        (0.3, A, B, dialog.request("ACK", 1)),
        (12.0, A, B, dialog.request("BYE", 2)),
    ]
    return [packet(time, src, dst, (5060, 5060), Raw(load)) for time, src, dst, load in steps]


def stream(
    src: str,
    dst: str,
    ports: tuple[int, int],
    ssrc: int = 7,
    begin: float = 0.5,
    count: int = 200,
    first: int = 100,
    ttl: int = 60,
) -> list[Packet]:
    return [
        packet(
            begin + 0.02 * n,
            src,
            dst,
            ports,
            RTP(payload_type=8, sequence=first + n, timestamp=160 * (first + n), sourcesync=ssrc)
            / Raw(b"x" * 160),
            ttl,
        )
        for n in range(count)
    ]


def found(tmp_path: Path, packets: list[Packet], policy: str = "") -> list[tuple[str, str]]:
    path = tmp_path / "voice.pcap"
    wrpcap(str(path), sorted(packets, key=lambda each: each.time))
    result = tapsight.check(str(path), policy=Policy.loads(policy), threads=1)
    told = [(row["check"] or "", row["severity"]) for row in plain_rows(result.findings)]
    return [each for each in told if each[0].startswith(("A4", "B14"))]


THERE, BACK = (20000, 30000), (30000, 20000)
USUAL = [*call(), *stream(A, B, THERE), *stream(B, A, BACK, ssrc=8)]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], []),
        # A fork: another address, another port, and too few packets to tell.
        (stream(A, X, THERE, begin=0.505), [("A4", "high")]),
        (stream(A, B, (20000, 31000), begin=0.505), [("A4", "high")]),
        (stream(A, X, THERE, begin=0.505, count=30), []),
        # The same numbers with another SSRC, or two seconds later.
        (stream(A, "192.0.2.9", (20002, 30000), ssrc=9, begin=0.505), []),
        (stream(A, "192.0.2.9", (20002, 30000), begin=2.5), []),
        # A group of receivers, a relay that hands on, and a translation of the destination.
        (stream(A, "239.1.1.1", (20002, 30000), begin=0.505), []),
        (stream(B, "192.0.2.9", (30002, 30000), begin=0.505), []),
        (stream(A, "192.0.2.9", (20002, 30000), begin=0.505, ttl=59), []),
        # Another source with another SSRC, while the right one sends; and one that is the right one, moved.
        (stream(X, A, (4000, 20000), ssrc=9, begin=2.0), [("B14.takeover", "high")]),
        (
            stream(B, A, BACK, ssrc=8, begin=4.5, first=300) + stream(X, A, (4000, 20000), 8, 8.5, first=500),
            [],
        ),
        # Few packets, from which nobody learns.
        (stream(X, A, (4000, 20000), ssrc=9, begin=3.0, count=5), []),
        # The right stream ends, and goes on to somewhere else.
        (stream(A, X, (20000, 9000), begin=4.6, first=300), [("B14.destination", "high")]),
        # Ports of a host of media are tried.
        (
            [each for n in range(25) for each in stream(X, A, (4000, 21000 + 2 * n), 9, 1 + n / 50, 2)],
            [("B14.spray", "medium")],
        ),
        ([each for n in range(10) for each in stream(X, A, (4000, 21000 + 2 * n), 9, 1 + n / 50, 2)], []),
    ],
)
def test_streams_beside_those_of_a_call(
    tmp_path: Path, more: list[Packet], expected: list[tuple[str, str]]
) -> None:
    assert found(tmp_path, [*USUAL, *more]) == expected


def test_a_source_that_nobody_described(tmp_path: Path) -> None:
    strange = stream(X, A, (4000, 20000), count=300)
    assert found(tmp_path, [*call(), *strange]) == [("B14.source", "medium")]
    # The peer is behind a translation of addresses; and nothing is known of a call without its beginning.
    assert found(tmp_path, [*call(private=True), *strange]) == []
    assert found(tmp_path, [*call()[1:], *strange]) == []


def test_recording_sessions(tmp_path: Path) -> None:
    session = [*call(require="Require: siprec"), *stream(A, B, THERE)]
    assert found(tmp_path, session) == [("A4", "medium")]
    assert found(tmp_path, session, f'[checks.A4]\nrecorders = ["{X}"]\n') == [("A4", "high")]
    assert found(tmp_path, session, f'[checks.A4]\nrecorders = ["{B}"]\n') == []
    fork = [*USUAL, *stream(A, X, THERE, begin=0.505)]
    assert found(tmp_path, fork, f'[checks.A4]\nrecorders = ["{X}"]\n') == []
