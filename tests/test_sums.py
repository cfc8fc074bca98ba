"""Sums over captures that are read once more are bounded, and what found no room is told."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tapsight
from tapsight.checks import _sums
from tapsight.policy import Policy


def frame(keys: list[int]) -> pl.DataFrame:
    """A row a packet, numbered as they come."""
    numbers = range(len(keys))
    return pl.DataFrame(
        {
            "key": keys,
            "packets": pl.Series([1] * len(keys), dtype=pl.Int64),
            "first_ts": numbers,
            "last_ts": numbers,
            "frames": [[n] for n in numbers],
        }
    )


def test_keys_that_come_last_find_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sums, "LIMIT", 3)
    sums = _sums.Sums(["key"])
    for _ in range(2 * _sums.PARTS):
        sums.add(frame([5, 1, 5, 7, 9, 8]))
    total = sums.total()
    assert total is not None
    # By hand: 128 batches, in each of them two packets of 5 and one of each other.
    assert total.select("key", "packets").rows() == [(5, 256), (1, 128), (7, 128)]
    assert sums.missing == 256
    nothing = _sums.Sums(["key"])
    assert (nothing.total(), nothing.by_batch(), nothing.missing) == (None, None, 0)


def verdict(result: tapsight.Result, check: str) -> dict[str, Any]:
    """The row of a check."""
    [row] = [row for row in result.verdicts.to_pylist() if row["check"] == check]
    return row


def datagrams(ports: range, tos: int) -> bytes:
    """A capture of a datagram a port, from one address to another."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)]
    for n, port in enumerate(ports):
        query = struct.pack(">HHHHHH", port, 0x0100, 1, 0, 0, 0) + b"\x01a\x00\x00\x01\x00\x01"
        udp = struct.pack(">HHHH", port, 53, 8 + len(query), 0) + query
        header = struct.pack(
            ">BBHHHBBH4s4s",
            0x45,
            tos,
            20 + len(udp),
            n,
            0,
            64,
            17,
            0,
            bytes([192, 0, 2, 1]),
            bytes([198, 51, 100, 1]),
        )
        records.append(struct.pack("<IIII", n, 0, 20 + len(udp), 20 + len(udp)) + header + udp)
    return b"".join(records)


@pytest.mark.parametrize("tos", [0, 184])
def test_code_points_of_more_conversations_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tos: int
) -> None:
    monkeypatch.setattr(_sums, "LIMIT", 10)
    path = tmp_path / "many.pcap"
    path.write_bytes(datagrams(range(40_000, 40_030), tos))
    policy = Policy.loads('packs = ["carrier-voice"]\n[checks.V7]\nvoice = [46]\n')
    row = verdict(tapsight.check(str(path), policy=policy), "V7")
    # DNS with the code point of voice fails; of what found no room, nobody knows whether it was in scope.
    assert (row["verdict"], row["judged"], row["in_scope"]) == (
        ("fail", 10, 30) if tos else ("unknown", 0, 20)
    )
    assert "20 packets of more conversations than there is room for" in row["reason"]


def test_a_check_of_ones_own_tells_of_those_that_it_does_not_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sums, "LIMIT", 10)
    path = tmp_path / "many.pcap"
    path.write_bytes(datagrams(range(40_000, 40_030), 0))
    policy = Policy.loads('[checks.ports]\nover = "packets"\nexpect = "dst_port != 53"\nby = ["src_port"]\n')
    row = verdict(tapsight.check(str(path), policy=policy), "ports")
    assert (row["verdict"], row["judged"], row["findings"]) == ("fail", 30, 10)
    assert "20 packets that fail it are of more conversations than there is room for" in (row["reason"])
