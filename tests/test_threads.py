"""However the work is divided, the same bytes come out: by threads, by batches, by cuts of the file."""

from __future__ import annotations

import gzip
import itertools
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import tapsight
from tapsight import _core

THREADS = (1, 2, 5)

HEADER = 24
"""Bytes of the file header of a pcap."""


@pytest.fixture(scope="module", params=_core.mix_names())
def traffic(request: pytest.FixtureRequest) -> bytes:
    data: bytes = _core.traffic(request.param, 40_000)
    return data


@pytest.fixture(scope="module")
def fragments() -> bytes:
    """Media that becomes known in its first packets, and fragments of it far apart from each other."""
    records = []

    def add(frame: bytes) -> None:
        n = len(records)
        records.append(struct.pack("<IIII", n // 1000, n % 1000, len(frame), len(frame)) + frame)

    def ip(identification: int, flags_offset: int, payload: bytes) -> bytes:
        fields = (0x45, 0, 20 + len(payload), identification, flags_offset, 64, 17, 0)
        return struct.pack(">BBHHHBBH", *fields) + bytes([192, 0, 2, 1, 192, 0, 2, 2]) + payload

    def rtp(n: int) -> bytes:
        media = struct.pack(">BBHII", 0x80, 0, n, 160 * n, 7) + bytes(20)
        return struct.pack(">HHHH", 40_000, 40_002, 8 + len(media), 0) + media

    for n in range(400):
        whole = rtp(n)
        add(ip(2 * n, 0, whole))
        add(ip(2 * n + 1, 0x2000, whole[:24]))
        if n >= 50:
            add(ip(2 * (n - 50) + 1, 3, whole[24:]))
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + b"".join(records)


def as_bytes(scan: Any) -> list[bytes]:
    """Every batch, as Arrow writes it."""
    return [batch.serialize().to_pybytes() for batch in scan]


def as_table(scan: Any) -> pa.Table:
    """All rows, whatever their batches and the numbers in their dictionaries."""
    return pa.Table.from_batches(list(scan), schema=scan.schema).combine_chunks().unify_dictionaries()


def same_rows(a: Any, b: Any) -> bool:
    """Whether two scans have the same rows."""
    return pl.from_arrow(as_table(a)).equals(pl.from_arrow(as_table(b)))


@pytest.mark.parametrize("batch_size", [1000, 16_384])
def test_threads_make_the_same_batches(traffic: bytes, batch_size: int) -> None:
    one, *others = (
        as_bytes(tapsight.open(traffic, threads=threads, batch_size=batch_size)) for threads in THREADS
    )
    assert len(one) == -(-40_000 // batch_size)
    assert all(other == one for other in others)


@pytest.mark.parametrize("threads", THREADS)
def test_what_earlier_frames_tell_reaches_over_batches(fragments: bytes, threads: int) -> None:
    names = [name for name in tapsight.COLUMNS if name != "tap"]
    whole = tapsight.open(fragments, columns=names, threads=1, batch_size=65_536)
    rows = pl.from_arrow(as_table(whole))
    assert isinstance(rows, pl.DataFrame)
    # Three increments prove the series; from then on all of it is media, later fragments too, but for those of three
    # first fragments that came before.
    later = rows.filter(pl.col("fragment") == "last")
    assert later["app"].to_list() == [None] * 3 + ["rtp"] * 347
    assert (later["src_port"] == 40_000).all()
    assert later["flow_id"].n_unique() == 1
    assert later["community_id"].n_unique() == 1
    for batch_size in (1, 7, 100):
        scan = tapsight.open(fragments, columns=names, threads=threads, batch_size=batch_size)
        assert same_rows(scan, whole)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(
    "wanted",
    [
        pl.col("app") == "rtp",
        (pl.col("basis") == "behaviour") & (pl.col("dst_port") == 40_002),
        pl.col("src_port") == 40_000,
        pl.col("app") == "dns",
    ],
    ids=str,
)
def test_filters_know_what_earlier_frames_tell(fragments: bytes, wanted: pl.Expr, threads: int) -> None:
    for data in (fragments, _core.traffic("carrier", 20_000)):
        pushed = tapsight.scan(data, threads=threads, batch_size=500).filter(wanted)
        everything = tapsight.scan(data, threads=1).collect().filter(wanted)
        columns = [name for name in everything.columns if name != "community_id"]
        assert pushed.select(columns).collect().equals(everything.select(columns))
        assert pushed.select("frame").collect().equals(everything.select("frame"))


def test_rows_that_are_left_out_tell_as_much(fragments: bytes) -> None:
    # The first fragments came another way than the later ones, and only those that came that way are wanted.
    frames = bytearray(fragments)
    at = HEADER
    while at < len(frames):
        if frames[at + 16 + 6] == 0 and frames[at + 16 + 7] == 3:
            frames[at + 16 + 8] = 9
        at += 16 + struct.unpack_from("<I", frames, at + 8)[0]
    scan = tapsight.scan(bytes(frames), threads=1)
    later = scan.filter((pl.col("ttl") == 9) & (pl.col("app") == "rtp")).collect()
    assert later.height == 350 - 3
    assert later.equals(scan.collect().filter((pl.col("ttl") == 9) & (pl.col("app") == "rtp")))


@pytest.mark.parametrize("threads", THREADS)
def test_a_cut_of_the_file_changes_nothing(fragments: bytes, tmp_path: Path, threads: int) -> None:
    names = [name for name in tapsight.COLUMNS if name != "tap"]
    whole = tapsight.open(fragments, columns=names, threads=1)
    at, cuts = HEADER, []
    while at < len(fragments):
        cuts.append(at)
        at += 16 + struct.unpack_from("<I", fragments, at + 8)[0]
    header = fragments[:HEADER]
    for step in (1, 300, 999):
        bounds = [*cuts[::step], len(fragments)]
        parts: list[Any] = [header + fragments[a:b] for a, b in itertools.pairwise(bounds)]
        packed = tmp_path / f"{step}.pcap.gz"
        packed.write_bytes(gzip.compress(parts[-1]))
        parts[-1] = packed
        assert same_rows(tapsight.open(parts, columns=names, threads=threads, batch_size=97), whole)


@pytest.mark.parametrize("threads", THREADS)
def test_rows_before_an_error_come_first(threads: int) -> None:
    good = _core.traffic("64-byte", 1000)
    rows = 0
    with pytest.raises(tapsight.CaptureError, match="not a packet capture"):
        for batch in tapsight.open([good, b"not a capture", good], threads=threads):
            rows += batch.num_rows
    assert rows == 1000


@pytest.mark.parametrize("threads", THREADS)
def test_a_scan_that_is_left_ends_its_threads(threads: int) -> None:
    data = _core.traffic("64-byte", 50_000)
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir())) if tasks.exists() else 0
    for _ in range(20):
        next(iter(tapsight.open(data, threads=threads, batch_size=100)))
    assert tapsight.open(data, threads=threads).to_pyarrow().num_rows == 50_000
    if before:
        wait_for(lambda: len(list(tasks.iterdir())) <= before + threads)


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until something is so; the limit is only there to end a test that fails."""
    done = threading.Event()
    for _ in range(600):
        if condition():
            return
        done.wait(0.05)
    pytest.fail("it does not come to be so")


def test_checks_find_the_same(tmp_path: Path) -> None:
    from tapsight._check import examine_readable
    from tapsight._sources import read_sources
    from tapsight.lab import Implant, Scenario, generate

    captures = generate(Scenario(seconds=4, calls=2, downloads=4, implants=(Implant("mirror"),)), tmp_path)
    taps = {"inside": captures.inside, "outside": captures.outside}
    results = [tapsight.check(taps, threads=threads) for threads in THREADS]
    assert len(results[0].findings) > 0 and len(results[0].calls) > 0
    for result in results[1:]:
        for name, table in results[0].tables().items():
            assert result.tables()[name] == table, name
    # What was heard beside, of more than one batch.
    (tmp_path / "calls.pcap").write_bytes(_core.traffic("carrier", 40_000))
    sources = read_sources([str(captures.inside), str(tmp_path / "calls.pcap")])
    heard = [
        [
            [pl.DataFrame(pa.table(each)).rows() for each in tables]
            for tables in (found.calls, found.call_changes, found.call_media, found.media)
        ]
        for threads in THREADS
        for found in [examine_readable(sources, threads=threads).examination]
    ]
    calls, _, _, media = heard[0]
    assert any(calls) and any(media)
    assert heard[1:] == [heard[0]] * (len(THREADS) - 1)


@pytest.mark.parametrize("threads", THREADS)
def test_a_check_that_is_left_ends_its_threads(threads: int, tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(_core.traffic("rtp", 150_000))
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir())) if tasks.exists() else 0

    def leave(packets: int) -> None:
        raise KeyboardInterrupt

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            tapsight.check(tmp_path / "a.pcap", threads=threads, progress=leave)
    if before:
        # Polars has threads of its own.
        wait_for(lambda: len(list(tasks.iterdir())) <= before + threads + (os.cpu_count() or 1))


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_numbers_of_threads_that_make_no_sense(threads: int) -> None:
    with pytest.raises(ValueError, match="threads is a number from 1 to 1024"):
        tapsight.open(b"", threads=threads)
