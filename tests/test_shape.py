"""Encrypted copies (A7): tunnels that follow clear traffic are found, and what only looks alike is not."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import pytest

import tapsight
from tapsight._check import plain_rows
from tapsight.lab import Scenario, generate

EXPORTER, COLLECTOR = bytes([198, 51, 100, 254]), bytes([203, 0, 113, 66])
Frames = list[tuple[float, bytes]]
Taps = dict[str, Frames]


@pytest.fixture(scope="module")
def taps(tmp_path_factory: pytest.TempPathFactory) -> Taps:
    """A clean router of the lab."""
    files = generate(Scenario(seconds=10, calls=4, downloads=15), tmp_path_factory.mktemp("range"))
    read = {}
    for name in ("inside", "outside"):
        with getattr(files, name).open("rb") as file:
            read[name] = [(float(ts), untagged(bytes(frame))) for ts, frame in dpkt.pcapng.Reader(file)]
    return read


def untagged(frame: bytes) -> bytes:
    return frame[:12] + frame[16:] if frame[12:14] == b"\x81\x00" else frame


def check(taps: Taps, folder: Path) -> tapsight.Result:
    paths = {}
    for name, frames in taps.items():
        path = folder / f"{name}.pcap"
        with path.open("wb") as file:
            writer = dpkt.pcap.Writer(file, nano=True)
            for ts, frame in sorted(frames):
                writer.writepkt(frame, ts)
        paths[name] = str(path)
    return tapsight.check(paths)


def outbound(frames: Frames) -> Frames:
    """The IPv4 packets of the device that sends most of them."""
    senders: dict[bytes, int] = {}
    for _, frame in frames:
        if frame[12:14] == b"\x08\x00":
            senders[frame[6:12]] = senders.get(frame[6:12], 0) + 1
    router = max(senders, key=lambda mac: senders[mac])
    return [(ts, frame) for ts, frame in frames if frame[6:12] == router and frame[12:14] == b"\x08\x00"]


def esp(frame: bytes, number: int, *, block: int = 4, src: bytes = EXPORTER) -> bytes:
    """An ESP packet (RFC 4303) that holds the IP packet of a frame: SPI, number, IV of 8, padding to a block, ICV of 16."""
    inner = len(frame) - 14
    sealed = inner + 2 + -(inner + 2) % block
    body = struct.pack("!II", 0x1001, number) + random.Random(number).randbytes(8 + sealed + 16)
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), number % 65536, 0, 64, 50, 0, src, COLLECTOR
    )
    return frame[:12] + b"\x08\x00" + header + body


def copies(
    frames: Frames,
    seed: int = 1,
    *,
    block: int = 4,
    lag: Callable[[random.Random], float] | None = None,
    **other: Any,
) -> Frames:
    rng = random.Random(seed)
    lag = lag or (lambda rng: 0.0004 + rng.expovariate(1 / 0.0001))
    return [(ts + lag(rng), esp(frame, n, block=block, **other)) for n, (ts, frame) in enumerate(frames)]


def claims(result: tapsight.Result) -> list[tuple[str, str]]:
    rows = result.claims.select(["detector", "severity"]).to_pylist()
    return [(row["detector"], row["severity"]) for row in rows if row["detector"].startswith("A7")]


@pytest.mark.parametrize("block", [4, 16], ids=["padded to 4", "padded to 16"])
def test_an_encrypted_copy_is_found(taps: Taps, block: int, tmp_path: Path) -> None:
    originals = outbound(taps["outside"])
    result = check({**taps, "outside": taps["outside"] + copies(originals, block=block)}, tmp_path)
    (row,) = (row for row in plain_rows(result.findings) if row["detector"] == "A7.encrypted-copy")
    assert row["severity"] == "high"
    assert row["collector"]["address"] == "203.0.113.66"
    assert row["collector"]["tunnel_id"] == 0x1001
    assert 0.9 * len(originals) < row["packets"] <= len(originals)
    # Outer IPv4 20, ESP 8, IV 8, ICV 16, and 2 to `block` + 1 bytes of trailer; of a few packets' sizes it may not be told exactly.
    told = re.search(r"each (\d+) to (\d+) bytes longer", row["sentence"])
    assert told is not None
    least, most = int(told[1]), int(told[2])
    assert abs(least - (20 + 8 + 8 + 16 + 2)) <= 2
    assert abs(most - (20 + 8 + 8 + 16 + block + 1)) <= 2


@pytest.mark.parametrize(
    ("lag", "found"),
    [
        (lambda rng: 0.05 + rng.expovariate(1 / 0.0005), True),
        (lambda rng: 0.3, True),
        (lambda rng: 0.8, False),
        (lambda rng: rng.uniform(0, 0.4), False),
    ],
    ids=["50 ms", "300 ms", "800 ms", "none that is steady"],
)
def test_the_lag_is_steady(taps: Taps, lag: Any, found: bool, tmp_path: Path) -> None:
    tunnel = copies(outbound(taps["outside"]), lag=lag)
    result = check({**taps, "outside": taps["outside"] + tunnel}, tmp_path)
    assert [name for name, _ in claims(result)] == ["A7.encrypted-copy"] * found


def test_one_tap_suffices_where_the_same_device_sends_both(taps: Taps, tmp_path: Path) -> None:
    frames = taps["outside"]
    result = check({"outside": frames + copies(outbound(frames))}, tmp_path)
    assert claims(result) == [("A7.encrypted-copy", "high")]


def test_the_head_end_of_a_vpn_is_named_only(taps: Taps, tmp_path: Path) -> None:
    # What enters on the inside leaves in the tunnel and in no other way.
    originals = outbound(taps["outside"])
    numbers = {frame[18:20] for _, frame in originals}
    inside = [(ts, frame) for ts, frame in taps["inside"] if frame[18:20] in numbers]
    sender = originals[0][1][:14]
    tunnel = copies([(ts, sender + frame[14:]) for ts, frame in inside])
    result = check({"inside": taps["inside"], "outside": tunnel}, tmp_path)
    assert [name for name, _ in claims(result)] == ["A7.follows"]
    assert [row for row in result.findings["detector"].to_pylist() if row.startswith("A7")] == []


def test_sizes_in_another_order_are_no_copy(taps: Taps, tmp_path: Path) -> None:
    originals = outbound(taps["outside"])
    times, frames = [ts for ts, _ in originals], [frame for _, frame in originals]
    random.Random(1).shuffle(frames)
    tunnel = copies(list(zip(times, frames, strict=True)))
    assert claims(check({**taps, "outside": taps["outside"] + tunnel}, tmp_path)) == []


def test_a_tunnel_of_other_traffic_is_no_copy(taps: Taps, tmp_path: Path) -> None:
    other = generate(Scenario(seed=9, seconds=10, calls=4, downloads=15), tmp_path)
    with other.outside.open("rb") as file:
        frames = [(float(ts), untagged(bytes(frame))) for ts, frame in dpkt.pcapng.Reader(file)]
    tunnel = copies(outbound(frames))
    assert claims(check({**taps, "outside": taps["outside"] + tunnel}, tmp_path)) == []


@pytest.mark.parametrize(("cover", "found"), [(0.5, True), (1.5, False)])
def test_other_traffic_in_the_tunnel_hides_a_copy(
    taps: Taps, cover: float, found: bool, tmp_path: Path
) -> None:
    originals = outbound(taps["outside"])
    rng = random.Random(3)
    begin, end = originals[0][0], originals[-1][0]
    padding = [
        (rng.uniform(begin, end), bytes(14 + rng.randrange(40, 1400)))
        for _ in range(round(cover * len(originals)))
    ]
    covered = [(ts, originals[0][1][:14] + frame[14:]) for ts, frame in padding]
    tunnel = copies(originals) + copies(covered, seed=4)
    result = check({**taps, "outside": taps["outside"] + tunnel}, tmp_path)
    assert claims(result) == [("A7.encrypted-copy", "medium")] * found


def test_calls_at_a_fixed_rate_prove_nothing(tmp_path: Path) -> None:
    # Two calls, of 50 equal packets a second, and a third one in a tunnel that has nothing to do with them.
    def rtp(number: int, call: int) -> bytes:
        body = (
            struct.pack("!BBHII", 0x80, 0, number % 65536, number * 160, call) + bytes([number % 256]) * 160
        )
        udp = struct.pack("!HHHH", 16384 + call, 20000 + call, 8 + len(body), 0) + body
        head = struct.pack(
            "!BBHHHBBH4s4s",
            0x45,
            0,
            20 + len(udp),
            number % 65536,
            0,
            64,
            17,
            0,
            bytes([192, 0, 2, call]),
            bytes(4),
        )
        return bytes(6) + b"\x02\0\0\0\0\1\x08\0" + head + udp

    calls = [(n / 50 + call / 200, rtp(n, call)) for n in range(1000) for call in (1, 2)]
    tunnel = copies([(n / 50 + 0.003, rtp(n, 3)) for n in range(1000)], lag=lambda rng: 0.0)
    assert claims(check({"a": calls + tunnel}, tmp_path)) == []


def test_what_was_not_compared_is_said(taps: Taps, tmp_path: Path) -> None:
    def scope(frames: Frames) -> dict[str, Any]:
        result = check({**taps, "outside": taps["outside"] + frames}, tmp_path)
        return next(row for row in result.verdicts.to_pylist() if row["check"] == "A7")

    without = scope([])
    few = scope(copies(outbound(taps["outside"])[:199]))
    assert (few["in_scope"], few["judged"]) == (without["in_scope"] + 199, without["judged"])
    assert "fewer than 200 packets" in few["reason"]
