"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader

from tapsight.lab import Implant, Scenario, generate

ROOT = Path(__file__).parent.parent

PARTS = 4
"""Into how many parts captures are cut."""


def captures_dir() -> Path | None:
    """Where captures of other projects lie, with an INDEX.tsv, if they are at hand."""
    for place in (os.environ.get("TAPSIGHT_CAPTURES"), ROOT.parent / "shared" / "captures"):
        if place and (Path(place) / "INDEX.tsv").is_file():
            return Path(place)
    return None


def capture_index() -> list[dict[str, str]]:
    """The rows of INDEX.tsv; none if the captures are not at hand."""
    directory = captures_dir()
    if directory is None:
        return []
    header, *lines = (directory / "INDEX.tsv").read_text().splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=False)) for line in lines]


@pytest.fixture(scope="session")
def captures() -> Path:
    directory = captures_dir()
    if directory is None:
        pytest.skip("no captures of other projects: set TAPSIGHT_CAPTURES to a folder with an INDEX.tsv")
    return directory


@pytest.fixture(scope="session")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Captures of both taps, cut into parts that follow each other in time: each part's paths by tap."""
    folder = tmp_path_factory.mktemp("rotated")
    implants = (Implant("mirror", tunnel="gre", share=0.3), Implant("fork", only="voice"))
    files = generate(Scenario(seconds=8, calls=3, downloads=15, implants=implants), folder)
    parts: list[dict[str, str]] = [{} for _ in range(PARTS)]
    for tap in ("inside", "outside"):
        with RawPcapNgReader(str(getattr(files, tap))) as reader:
            frames = [
                ((meta.tshigh << 32 | meta.tslow) * 10**9 // meta.tsresol, bytes(data))
                for data, meta in reader
            ]
        start, end = frames[0][0], frames[-1][0] + 1
        for number in range(PARTS):
            span = [start + (end - start) * cut // PARTS for cut in (number, number + 1)]
            path = folder / f"{tap}-{number}.pcap"
            path.write_bytes(nanoseconds([frame for frame in frames if span[0] <= frame[0] < span[1]]))
            parts[number][tap] = str(path)
    return parts


def nanoseconds(frames: list[tuple[int, bytes]]) -> bytes:
    out = bytearray(bytes.fromhex("4d3cb2a1020004000000000000000000ffff000001000000"))
    for ts, data in frames:
        for value in (ts // 10**9, ts % 10**9, len(data), len(data)):
            out += value.to_bytes(4, "little")
        out += data
    return bytes(out)
