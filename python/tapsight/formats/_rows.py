"""What all formats take from a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tapsight._about import about
from tapsight._check import plain_rows
from tapsight._text import time_text

if TYPE_CHECKING:
    import pyarrow as pa

    from tapsight._check import Result


def findings(result: Result) -> Iterator[dict[str, Any]]:
    """The findings as plain values, with ``name`` (who says it) and ``title``; times are integers, nanoseconds."""
    return _rows(result, result.findings)


def excepted(result: Result) -> Iterator[dict[str, Any]]:
    """Those that an exception covers, as :func:`findings`, with ``owner``, ``reason`` and ``expires``."""
    return _rows(result, result.excepted)


def _rows(result: Result, table: pa.Table) -> Iterator[dict[str, Any]]:
    import polars as pl

    times = pl.DataFrame(table).select(pl.col("first_ts", "last_ts").dt.timestamp("ns"))
    for row, (first, last) in zip(plain_rows(table), times.iter_rows(), strict=True):
        name = row["check"] or row["detector"]
        known = about(name, result.checks)
        family = known.id if known is not None else name
        yield {
            **row,
            "name": name,
            "family": family,
            "title": known.title if known is not None else name,
            "first_ns": first,
            "last_ns": last,
        }


def leading(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The frame that shows a finding best: of a copy the copy, at the tap where it was seen, rather than what it is a copy of. Empty if there is none."""
    evidence: Sequence[Mapping[str, Any]] = row["evidence"] or ()
    return next((each for each in evidence if each["role"] != "original"), evidence[0] if evidence else {})


def utc(nanoseconds: int, digits: int) -> str:
    """A time as ISO 8601 with so many digits of a second, without a zone."""
    return time_text(nanoseconds, digits).removesuffix(" UTC").replace(" ", "T")
