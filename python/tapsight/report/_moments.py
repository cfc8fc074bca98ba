"""When copies went, how late, and what of: what only packets tell, from a second look at the captures."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

import tapsight
from tapsight._sources import SourceError
from tapsight.checks._paths import prefix_of, prefix_text
from tapsight.findings import period

if TYPE_CHECKING:
    from tapsight._check import Result
    from tapsight._evidence import Capture

MOST = 20
"""Findings that are looked at: as many as text shows."""
BINS = 120
"""Parts of the time."""
PREFIXES = 12
"""Prefixes of which a share is shown, those with the most packets copied."""

_COLUMNS = (
    "frame",
    "ts",
    "eth_dst",
    "outer_src",
    "outer_dst",
    "tunnel_id",
    "src",
    "dst",
    "traffic",
)


@dataclasses.dataclass(frozen=True)
class Moments:
    """What a second look has found."""

    width_ns: int
    """Length of a bin, nanoseconds."""
    counts: pl.DataFrame
    """Packets by ``finding``, ``ts`` (begin of the bin) and ``sent`` (``there``: to where the finding says; ``elsewhere``)."""
    lags: pl.DataFrame
    """``finding`` and ``lag_ns``, by how much a copy was later than its original: of the pairs among the evidence."""
    prefixes: pl.DataFrame
    """``finding``, ``end`` (``src`` or ``dst``), ``prefix``, how many ``packets`` from or to it were seen at the tap that saw most of them,
    and how many ``copied`` ones at the tap that saw most of those."""
    traffic: pl.DataFrame
    """``finding``, ``traffic`` (class) and ``packets``: what was sent there."""
    copies: frozenset[str]
    """The findings among ``finding`` of which packets were copied: of others, what went there went nowhere else."""
    heads: Mapping[str, str]
    """By each finding that says where packets went, the first one that says the same: what is told of it is told of both."""
    unread: tuple[str, ...]
    """Why captures were not looked at again, a line each."""


_COUNTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "finding": pl.String,
    "ts": pl.Datetime("ns", "UTC"),
    "sent": pl.String,
    "packets": pl.UInt64,
}
_PREFIXES = {
    "finding": pl.String,
    "end": pl.String,
    "prefix": pl.String,
    "packets": pl.UInt64,
    "copied": pl.UInt64,
}
_LAGS = {"finding": pl.String, "lag_ns": pl.Int64}
_EVIDENCE: dict[str, pl.DataType | type[pl.DataType]] = {
    "finding": pl.String,
    "at": pl.UInt32,
    "role": pl.String,
    "ts": pl.Datetime("ns", "UTC"),
    "file": pl.String,
    "frame": pl.UInt64,
}


def destination(finding: Mapping[str, Any]) -> pl.Expr | None:
    """Whether a packet goes where the finding says that packets should not: into its tunnel or, without one, to its MAC address."""
    collector = finding["collector"]
    # What goes there without a tunnel has it as its own address.
    outer = "outer_" if collector["encap"] is not None else ""
    if collector["address"] is not None:
        is_there = pl.col(f"{outer}dst") == pl.lit(_address(collector["address"]))
        if finding["exporter"] is not None:
            is_there &= pl.col(f"{outer}src") == pl.lit(_address(finding["exporter"]))
        if collector["tunnel_id"] is not None:
            is_there &= pl.col("tunnel_id") == collector["tunnel_id"]
        return is_there.fill_null(value=False)
    if collector["mac"] is not None:
        return (pl.col("eth_dst") == bytes.fromhex(collector["mac"].replace(":", ""))).fill_null(value=False)
    return None


def _address(text: str) -> bytes:
    """An address as packets have it: IPv4 as ``::ffff:a.b.c.d``."""
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def moments(result: Result) -> Moments:
    """Looks at the captures of a result a second time."""
    findings = result.findings.slice(0, MOST)
    rows = pl.DataFrame(findings).drop("evidence").to_dicts()
    heads: dict[str, str] = {}
    places: dict[str, pl.Expr] = {}
    copies: set[str] = set()
    for row in rows:
        if (place := destination(row)) is None:
            continue
        same = next((id_ for id_, known in places.items() if known.meta.eq(place)), row["id"])
        places.setdefault(same, place)
        heads[row["id"]] = same
        if row["kind"] == "copy":
            copies.add(same)
    evidence = _evidence(pl.DataFrame(findings))
    exact = {row["id"]: frames for row in rows if row["id"] in places and (frames := _all_of(row, evidence))}
    first, last = period(result.taps)
    width = max(1, (last - first) // BINS + 1)
    unread: list[str] = []
    counts, traffic = _Sum(["finding", "bin", "there"]), _Sum(["finding", "traffic"])
    prefixes, seen = [], []
    wanted = evidence.select("file", "frame").unique()
    for capture, packets in _captures(result, unread):
        mine = wanted.filter(pl.col("file") == capture.name).select("frame")
        ends = _Sum(["finding", "end", "prefix", "there"])
        for batch in packets:
            proof = batch.join(mine, on="frame").select(pl.lit(capture.name).alias("file"), "frame", "ts")
            if proof.height:
                seen.append(proof)
            bins = batch.with_columns(
                (first + (pl.col("ts").dt.timestamp("ns") - first) // width * width).alias("bin")
            )
            for id_, place in places.items():
                is_there = pl.col("frame").is_in(exact[id_].get(capture.name, [])) if id_ in exact else place
                named = bins.with_columns(pl.lit(id_).alias("finding"), is_there.alias("there"))
                counts.add(named)
                traffic.add(named.filter("there"))
                if id_ in copies:
                    for end in ("src", "dst"):
                        prefix = prefix_of(end)
                        ends.add(
                            named.drop_nulls(end).with_columns(
                                pl.lit(end).alias("end"), prefix.alias("prefix")
                            )
                        )
        prefixes.append(ends.total().with_columns(pl.lit(capture.tap).alias("tap")))
    timed = _timed(evidence, seen)
    return Moments(
        width_ns=width,
        counts=_counts(counts.total()),
        lags=_lags(timed),
        prefixes=_prefixes(prefixes),
        traffic=traffic.total(),
        copies=frozenset(copies),
        heads=heads,
        unread=tuple(unread),
    )


def _all_of(row: Mapping[str, Any], evidence: pl.DataFrame) -> dict[str, list[int]] | None:
    """By file the frames of a finding that names all of its packets: then nothing else between the same ends is of it. None of others, and of copies."""
    mine = evidence.filter(pl.col("finding") == row["id"]).select("file", "frame").unique()
    if row["kind"] == "copy" or mine.height < row["packets"]:
        return None
    return dict(mine.group_by("file").agg("frame").iter_rows())


def _captures(result: Result, unread: list[str]) -> Iterator[tuple[Capture, Iterator[pl.DataFrame]]]:
    """Each capture that is still there, as frames of its packets."""
    run = result.run
    for capture in () if run is None else (each for each in run.captures if each.name in run.frames):
        try:
            path = capture.place()
        except SourceError as error:
            unread.append(str(error))
            continue
        if path == "-":
            unread.append("standard input can be read only once")
            continue
        yield capture, _packets(path, unread)


def _packets(path: str, unread: list[str]) -> Iterator[pl.DataFrame]:
    try:
        for batch in tapsight.open(path, columns=_COLUMNS).read(lambda _: None):
            yield pl.DataFrame(batch).with_columns(pl.col("traffic").cast(pl.String))
    except (OSError, ValueError) as error:
        unread.append(str(error))


def _evidence(findings: pl.DataFrame) -> pl.DataFrame:
    """The frames of the evidence, in order."""
    frames = findings.select("id", "evidence").explode("evidence").drop_nulls().unnest("evidence")
    return frames.select(
        pl.col("id").alias("finding"),
        pl.int_range(pl.len(), dtype=pl.UInt32).over("id").alias("at"),
        "role",
        "file",
        "frame",
    ).drop_nulls("file")


def _timed(evidence: pl.DataFrame, seen: list[pl.DataFrame]) -> pl.DataFrame:
    """The evidence with the times of its frames."""
    if not seen:
        return pl.DataFrame(schema=_EVIDENCE)
    timed = evidence.join(pl.concat(seen), on=["file", "frame"], maintain_order="left")
    return timed.select(pl.col(name).cast(kind) for name, kind in _EVIDENCE.items())


def _lags(evidence: pl.DataFrame) -> pl.DataFrame:
    """How much later copies were: the evidence of a copy is original, copy, original, copy."""
    behind = evidence.with_columns(
        pl.col("role").shift(1).over("finding").alias("before"),
        pl.col("at").diff().over("finding").alias("step"),
        pl.col("ts").dt.timestamp("ns").diff().over("finding").alias("lag_ns"),
    )
    pairs = behind.filter(pl.col("role") == "copy", pl.col("before") == "original", pl.col("step") == 1)
    return pairs.select("finding", "lag_ns").cast(_LAGS)  # type: ignore[arg-type]


class _Sum:
    """Packets by these columns, of one batch after another. However many there are, it holds few."""

    _PARTS = 64

    def __init__(self, by: list[str]) -> None:
        self._by = by
        self._parts: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Counts the rows."""
        counted = rows.group_by(self._by).agg(pl.len().cast(pl.UInt64).alias("packets"))
        if counted.height:
            self._parts.append(counted)
        if len(self._parts) > self._PARTS:
            self._parts = [self.total()]

    def total(self) -> pl.DataFrame:
        """The sums, in order."""
        if not self._parts:
            return pl.DataFrame(schema={**dict.fromkeys(self._by, pl.String()), "packets": pl.UInt64()})
        summed = pl.concat(self._parts).group_by(self._by).agg(pl.col("packets").sum())
        return summed.sort(self._by, nulls_last=True)


def _counts(counts: pl.DataFrame) -> pl.DataFrame:
    if counts.is_empty():
        return pl.DataFrame(schema=_COUNTS)
    return counts.select(
        "finding",
        pl.from_epoch("bin", time_unit="ns").dt.replace_time_zone("UTC").alias("ts"),
        pl.when("there").then(pl.lit("there")).otherwise(pl.lit("elsewhere")).alias("sent"),
        "packets",
    ).sort("finding", "ts", "sent")


def _prefixes(parts: list[pl.DataFrame]) -> pl.DataFrame:
    parts = [part for part in parts if part.height]
    if not parts:
        return pl.DataFrame(schema=_PREFIXES)
    keys = ["finding", "end", "prefix"]
    by_tap = (
        pl.concat(parts)
        .group_by(*keys, "tap")
        .agg(
            pl.col("packets").filter(~pl.col("there")).sum(),
            pl.col("packets").filter("there").sum().alias("copied"),
        )
    )
    most = by_tap.group_by(keys).agg(pl.col("packets", "copied").max())
    shown = (
        most.filter(pl.col("copied") > 0)
        .sort("copied", "packets", "prefix", descending=[True, True, False])
        .group_by("finding", "end", maintain_order=True)
        .head(PREFIXES)
    )
    return shown.with_columns(pl.col("prefix").map_elements(prefix_text, return_dtype=pl.String)).select(
        pl.col(name).cast(kind) for name, kind in _PREFIXES.items()
    )
