"""What all formats take from a result."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tapsight._check import plain_rows
from tapsight.checks import CHECKS
from tapsight.detectors import DETECTORS

if TYPE_CHECKING:
    from tapsight._check import Result


def findings(result: Result) -> Iterator[dict[str, Any]]:
    """The findings as plain values, with ``name`` (who says it) and ``title``; times are integers, nanoseconds."""
    import polars as pl

    times = pl.DataFrame(result.findings).select(pl.col("first_ts", "last_ts").dt.timestamp("ns"))
    for row, (first, last) in zip(plain_rows(result.findings), times.iter_rows(), strict=True):
        family = (row["check"] or row["detector"]).partition(".")[0]
        about = CHECKS.get(family) or DETECTORS[family]
        name = row["check"] or row["detector"]
        yield {
            **row,
            "name": name,
            "family": family,
            "title": about.title,
            "first_ns": first,
            "last_ns": last,
        }


def period(result: Result) -> tuple[int, int]:
    """The first and last time of the captures, nanoseconds: what a verdict is about."""
    import polars as pl

    taps = pl.DataFrame(result.taps).select(
        pl.col("first_ts").min().dt.timestamp("ns"), pl.col("last_ts").max().dt.timestamp("ns")
    )
    first, last = taps.row(0) if taps.height else (None, None)
    return first or 0, last or 0


def utc(nanoseconds: int, digits: int) -> str:
    """A time as ISO 8601 with so many digits of a second, without a zone."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    fraction = f".{rest:09d}"[: digits + 1] if digits else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction
