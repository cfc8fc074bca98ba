"""Each call in one row: did it ride the right path, with the right peers, encrypted as agreed, with media where signalled, and alone?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import polars as pl

    from tapsight._check import Verdict
    from tapsight.checks._base import Observed
    from tapsight.findings import Finding

ASPECTS = ("path", "peers", "encrypted", "media", "alone")
"""What is judged of a call."""

_COPIES = ("A1", "A2", "A3", "A4", "A5", "A7")
_MEDIA = ("B13", "B14")


def schema() -> pa.Schema:
    """The schema of the table of calls; fields mean what :attr:`tapsight.Result.calls` says."""
    text = pa.string()
    start = [
        pa.field("tap", text, nullable=False),
        pa.field("call", pa.uint64(), nullable=False),
        pa.field("began", pa.timestamp("ns", "UTC")),
        pa.field("src", pa.binary(16)),
        pa.field("dst", pa.binary(16)),
        pa.field("state", text),
        pa.field("packets", pa.uint64(), nullable=False),
        pa.field("verdict", text, nullable=False),
    ]
    return pa.schema(
        [*start, *[pa.field(name, text, nullable=False) for name in ASPECTS], pa.field("reason", text)]
    )


def judge_calls(
    seen: Observed,
    options: Mapping[str, Any],
    findings: Sequence[Finding],
    verdicts: Sequence[Verdict],
) -> pa.Table:
    """The verdict of each call. A call fails if anything about it does, and passes if all does."""
    import polars as pl

    calls = seen.calls
    if calls.is_empty():
        return schema().empty_table()
    keys = ["tap", "call"]
    streams = seen.media.filter(pl.col("call").is_not_null())
    words = {verdict.check: verdict.verdict for verdict in verdicts}
    known = calls.select(
        *keys,
        "began",
        "src",
        "dst",
        "state",
        "encryption",
        "encryption_lost",
    )
    counted = streams.group_by(keys).agg(
        pl.col("packets").sum(), pl.col("announced").is_in(["both"]).all().alias("both")
    )
    known = known.join(counted, on=keys, how="left", maintain_order="left")
    known = known.join(_paths(seen, streams, options.get("V2")), on=keys, how="left", maintain_order="left")
    known = known.with_columns(_peers(known, options.get("V1")).alias("peers"))
    touched = {name: _touched(findings, checks, calls, streams) for name, checks in _ABOUT.items()}
    rows = []
    for row in known.to_dicts():
        key = row["tap"], row["call"]
        said, reasons = _said(row, words, {name: key in hit for name, hit in touched.items()})
        rows.append(
            {
                **{name: row[name] for name in ("tap", "call", "began", "src", "dst", "state")},
                "packets": row["packets"] or 0,
                "verdict": "fail"
                if "fail" in said.values()
                else "unknown"
                if "unknown" in said.values()
                else "pass",
                **said,
                "reason": "; ".join(reasons) or None,
            }
        )
    return pa.Table.from_pylist(rows, schema=schema())


_ABOUT = {"alone": _COPIES, "media": _MEDIA, "peers": ("B12", "V1"), "encrypted": ("B16",)}
"""The checks whose findings fail an aspect of the calls whose frames they name."""


def _said(
    row: Mapping[str, Any], words: Mapping[str, str], touched: Mapping[str, bool]
) -> tuple[dict[str, str], list[str]]:
    """The verdict of each aspect, and why those that are unknown are."""
    said: dict[str, str] = {}
    reasons = []
    has_media = bool(row["packets"])

    def decide(name: str, word: str, reason: str) -> None:
        said[name] = word
        if word != "pass":
            reasons.append(f"{name}: {reason}")

    if row["path"] is None:
        why = (
            "no media of it were seen"
            if not has_media
            else "the policy does not say where voice belongs (V2)"
        )
        decide("path", "unknown", why)
    else:
        decide(
            "path",
            row["path"],
            "media outside of where voice belongs (V2)"
            if row["path"] == "fail"
            else "the tap does not show it",
        )
    if touched["peers"]:
        decide("peers", "fail", "see the findings of B12 and V1")
    elif row["peers"] is None:
        decide("peers", "unknown", "the policy does not say who may call whom (V1)")
    else:
        decide("peers", "pass" if row["peers"] else "fail", "no agreement between its ends (V1)")
    if touched["encrypted"] or row["encryption_lost"]:
        decide("encrypted", "fail", "encryption was offered or agreed, and then was not")
    elif row["encryption"] is None or row["encryption"] == "none":
        decide(
            "encrypted",
            "unknown",
            "it is not encrypted, and nothing says that it has to be"
            if row["encryption"]
            else "no agreement about media was seen",
        )
    else:
        decide("encrypted", "pass", "")
    if touched["media"]:
        decide("media", "fail", "see the findings of B13 and B14")
    elif not has_media:
        decide("media", "unknown", "no media of it were seen")
    else:
        decide("media", "pass" if row["both"] else "unknown", "one end of its media was not described")
    if touched["alone"]:
        decide("alone", "fail", "copies of it were seen")
    elif not has_media:
        decide("alone", "unknown", "no media of it were seen")
    elif any(words.get(name) == "fail" for name in _COPIES):
        decide("alone", "unknown", "copies were seen, of which not all frames are named")
    elif any(words.get(name) == "unknown" for name in ("A1", "A4", "A5")):
        decide("alone", "unknown", "copies could not be looked for (A1, A4, A5)")
    else:
        decide("alone", "pass", "")
    return said, reasons


def _paths(seen: Observed, streams: pl.DataFrame, options: Any) -> pl.DataFrame:
    """Whether the media of each call were where the policy wants voice: ``pass``, ``fail``, ``unknown``."""
    import polars as pl

    from tapsight.checks.v2 import V2, where

    empty = {"tap": pl.String, "call": pl.UInt64, "path": pl.String}
    if (
        options is None
        or not options.enabled
        or V2.missing(options, seen.network) is not None
        or streams.is_empty()
    ):
        return pl.DataFrame(schema=empty)
    place = where(seen, streams, options)
    word = pl.when(place.fits).then(pl.lit(0)).when(place.hidden).then(pl.lit(1)).otherwise(pl.lit(2))
    worst = (
        streams.select("tap", "call", word.alias("path")).group_by("tap", "call").agg(pl.col("path").max())
    )
    return worst.with_columns(
        pl.col("path").replace_strict([0, 1, 2], ["pass", "unknown", "fail"], return_dtype=pl.String)
    )


def _peers(calls: pl.DataFrame, options: Any) -> pl.Series:
    """Whether there is an agreement between the ends of each call; null where the policy says nothing."""
    import polars as pl

    from tapsight.checks.v1 import agreed

    if options is None or not options.enabled or options.pairs is None:
        return pl.Series(values=[None] * len(calls), dtype=pl.Boolean)
    return agreed(calls, options)[0]


def _touched(
    findings: Sequence[Finding], checks: Sequence[str], calls: pl.DataFrame, streams: pl.DataFrame
) -> set[tuple[str, int]]:
    """The calls of which findings of these checks name a frame."""
    import polars as pl

    named = {
        (frame.tap, frame.frame)
        for finding in findings
        if (finding.check or finding.detector or "").partition(".")[0] in checks
        for frame in finding.evidence
    }
    if not named:
        return set()
    frames = (
        pl.concat([each.select("tap", "call", "frames") for each in (calls, streams)])
        .explode("frames")
        .drop_nulls()
    )
    wanted = pl.DataFrame(sorted(named), schema={"tap": pl.String, "frames": pl.UInt64}, orient="row")
    return set(
        frames.join(wanted, on=["tap", "frames"], how="semi").select("tap", "call").unique().iter_rows()
    )
