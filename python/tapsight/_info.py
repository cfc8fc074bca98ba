"""What is in captures: ``tapsight info``."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from tapsight._check import plain_rows
from tapsight._engine import Examination
from tapsight._links import is_unread
from tapsight._text import duration, plural, safe
from tapsight.checks._base import flows_frame

_TOP = 8


def info_rows(examination: Examination) -> list[dict[str, Any]]:
    """A row for each file and interface, with the most frequent encapsulations, applications and traffic of its tap."""
    taps = pa.table(examination.taps)
    flows = flows_frame(pa.table(examination.flows))
    first, last = (taps[name].cast(pa.int64()).to_pylist() for name in ("first_ts", "last_ts"))
    rows = plain_rows(taps)
    for row, start, end in zip(rows, first, last, strict=True):
        mine = flows.filter(pl.col("tap") == row["tap"])
        row["duration_ns"] = end - start if start is not None and end is not None else None
        row["encaps"] = _top(mine.filter(pl.col("encap").is_not_null()), ["encap"])
        row["apps"] = _top(mine.filter(pl.col("app").is_not_null()), ["app", "basis"])
        row["traffic"] = _top(mine, ["traffic", "basis"])
    return rows


def _top(flows: pl.DataFrame, by: list[str]) -> list[dict[str, Any]]:
    """The most frequent, by packets; ties in the order of their names."""
    sums = flows.group_by(by).agg(pl.col("packets").sum())
    order = ["packets", *by]
    return sums.sort(order, descending=[True, *(False for _ in by)]).head(_TOP).to_dicts()


def info_text(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines: list[str] = []
    for row in rows:
        pairs = [
            ("tap", row["tap"]),
            ("interface", row["interface"]),
            ("format", " ".join(filter(None, (row["format"], row["compression"])))),
            ("link type", row["link_type"]),
            ("frames", f"{plural(row['frames'], 'frame')}, {plural(row['bytes'], 'byte')}"),
            ("time", _span(row)),
            ("snaplen", _snaplen(row)),
            ("drops", _drops(row)),
            ("issues", _issues(row)),
            ("tunnels", _counts(row["encaps"], "encap")),
            ("apps", _counts(row["apps"], "app")),
            ("traffic", _counts(row["traffic"], "traffic")),
            *(("warning", warning) for warning in row["warnings"] or ()),
        ]
        lines.append(safe(row["file"]))
        lines += [f"  {label:<10} {safe(str(value))}" for label, value in pairs if value]
        lines.append("")
    return "\n".join(lines)


def _issues(row: dict[str, Any]) -> str:
    if not row["issues"]:
        return "none"
    if is_unread(row["link_type"]):
        return (
            f"this link type is not read: nothing is known of what its {plural(row['frames'], 'frame')} carry"
        )
    return f"{plural(row['issues'], 'frame')} with malformed or cut headers"


def _span(row: dict[str, Any]) -> str:
    if row["duration_ns"] is None:
        return ""
    first, last = (row[name].replace("T", " ").replace("Z", " UTC") for name in ("first_ts", "last_ts"))
    return f"{first} to {last} ({duration(row['duration_ns'])}; clock counts {row['ts_resolution']})"


def _snaplen(row: dict[str, Any]) -> str:
    limit = f"{row['snaplen']:,} bytes" if row["snaplen"] else "not told"
    return limit + (f"; {plural(row['snapped'], 'frame')} captured in part" if row["snapped"] else "")


def _drops(row: dict[str, Any]) -> str:
    if row["dropped"] is None:
        return "not told"
    return f"{row['dropped']:,}" + (f" of {row['received']:,}" if row["received"] is not None else "")


def _counts(rows: list[dict[str, Any]], name: str) -> str:
    texts = []
    for row in rows:
        basis = f" by {row['basis']}" if row.get("basis") else ""
        texts.append(f"{row[name]}{basis} {row['packets']:,}")
    return ", ".join(texts)
