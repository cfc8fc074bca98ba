"""How long the package takes for what people do with it, over traffic that is made. `make bench` runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

import tapsight
from tapsight import _core
from tapsight._files import write_parquet
from tapsight.lab import Implant, Scenario, generate

PACKETS = 100_000

Benchmark = Any
"""The fixture of pytest-benchmark, which has no types."""


@pytest.fixture(scope="module", params=_core.mix_names())
def capture(request: pytest.FixtureRequest) -> bytes:
    """A capture of each mix, in memory."""
    return _core.traffic(request.param, PACKETS)


@pytest.fixture(scope="module")
def file(capture: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    path = tmp_path_factory.mktemp("bench") / "capture.pcap"
    path.write_bytes(capture)
    return path


def test_batches(benchmark: Benchmark, capture: bytes) -> None:
    """All columns, batch by batch."""
    packets = tapsight.open(capture)
    assert benchmark(lambda: sum(batch.num_rows for batch in packets)) == PACKETS


def test_scan_with_filter(benchmark: Benchmark, file: Path) -> None:
    """A filter and a choice of columns, which reach the engine."""
    query = tapsight.scan(file).filter(pl.col("app") == "rtp").select("ts", "src", "dst", "wire_len")
    assert benchmark(query.collect).width == 4


def test_to_polars(benchmark: Benchmark, capture: bytes) -> None:
    """All columns as a data frame."""
    assert benchmark(tapsight.open(capture).to_polars).height == PACKETS


def test_to_parquet(benchmark: Benchmark, capture: bytes, tmp_path: Path) -> None:
    """All columns into a file."""
    packets = tapsight.open(capture)
    path = tmp_path / "packets.parquet"

    def write() -> None:
        with path.open("wb") as file:
            write_parquet(packets, packets.schema, file)

    benchmark(write)
    assert pq.read_metadata(path).num_rows == PACKETS


def test_check(benchmark: Benchmark, tmp_path: Path) -> None:
    """Both taps of a router that mirrors calls, with the policy: from captures to verdicts."""
    made = generate(Scenario(implants=(Implant("mirror"),)), tmp_path)
    taps = {"inside": made.inside, "outside": made.outside}
    result = benchmark(tapsight.check, taps, policy=made.policy)
    assert result.exit_code == 1
