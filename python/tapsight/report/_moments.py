"""When copies went, how late, and what of: what only packets tell, from a second look at the captures."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

import tapsight
from tapsight._sources import SourceError
from tapsight._text import address_text

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
    "ip_version",
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
    """``finding``, ``prefix``, and how many ``packets`` from or to it were seen, of which ``copied``: on the tap that saw most."""
    traffic: pl.DataFrame
    """``finding``, ``traffic`` (class) and ``packets``: what was sent there."""
    evidence: pl.DataFrame
    """``finding``, ``role``, ``ts``, ``file``, ``frame`` of the evidence."""
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
_PREFIXES = {"finding": pl.String, "prefix": pl.String, "packets": pl.UInt64, "copied": pl.UInt64}
_TRAFFIC = {"finding": pl.String, "traffic": pl.String, "packets": pl.UInt64}
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
    if collector["address"] is not None:
        is_there = pl.col("outer_dst") == pl.lit(_address(collector["address"]))
        if finding["exporter"] is not None:
            is_there &= pl.col("outer_src") == pl.lit(_address(finding["exporter"]))
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
    times = pl.DataFrame(result.taps).select(pl.col("first_ts").min(), pl.col("last_ts").max())
    first, last = (time.dt.timestamp("ns").item() or 0 for time in times)
    width = max(1, (last - first) // BINS + 1)
    unread: list[str] = []
    counts, traffic, prefixes, seen = [], [], [], []
    wanted = evidence.select("file", "frame").unique()
    for capture, packets in _captures(result, unread):
        mine = wanted.filter(pl.col("file") == capture.name).select("frame")
        ends: list[pl.DataFrame] = []
        for batch in packets:
            seen.append(
                batch.join(mine, on="frame").select(pl.lit(capture.name).alias("file"), "frame", "ts")
            )
            bins = batch.with_columns(
                (first + (pl.col("ts").dt.timestamp("ns") - first) // width * width).alias("bin")
            )
            for id_, place in places.items():
                named = bins.with_columns(pl.lit(id_).alias("finding"), place.alias("there"))
                counts.append(named.group_by("finding", "bin", "there").len())
                traffic.append(named.filter("there").group_by("finding", "traffic").len())
                if id_ in copies:
                    ends += _ends(named)
        if ends:
            prefixes.append(
                pl.concat(ends)
                .group_by("finding", "prefix")
                .agg(pl.col("packets").sum(), pl.col("copied").sum())
                .with_columns(pl.lit(capture.tap).alias("tap"))
            )
    timed = _timed(evidence, seen)
    return Moments(
        width_ns=width,
        counts=_counts(counts),
        lags=_lags(timed),
        prefixes=_prefixes(prefixes),
        traffic=_summed(traffic, ["finding", "traffic"]) if traffic else pl.DataFrame(schema=_TRAFFIC),
        evidence=timed.drop("at"),
        heads=heads,
        unread=tuple(unread),
    )


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


def _counts(counts: list[pl.DataFrame]) -> pl.DataFrame:
    if not counts:
        return pl.DataFrame(schema=_COUNTS)
    summed = _summed(counts, ["finding", "bin", "there"])
    return summed.select(
        "finding",
        pl.from_epoch("bin", time_unit="ns").dt.replace_time_zone("UTC").alias("ts"),
        pl.when("there").then(pl.lit("there")).otherwise(pl.lit("elsewhere")).alias("sent"),
        "packets",
    ).sort("finding", "ts", "sent")


def _summed(parts: Iterable[pl.DataFrame], by: list[str]) -> pl.DataFrame:
    return pl.concat(parts).group_by(by).agg(pl.col("len").sum().cast(pl.UInt64).alias("packets")).sort(by)


def _ends(named: pl.DataFrame) -> list[pl.DataFrame]:
    """How many packets prefixes have: the copies, and the others. Networks of 24 bits, and of 48 of IPv6."""
    frames = []
    for end in ("src", "dst"):
        is_v4 = pl.col("ip_version") == 4
        prefix = pl.when(is_v4).then(pl.col(end).bin.slice(0, 15)).otherwise(pl.col(end).bin.slice(0, 6))
        frames.append(
            named.drop_nulls(end)
            .group_by("finding", prefix.alias("prefix"))
            .agg((~pl.col("there")).sum().alias("packets"), pl.col("there").sum().alias("copied"))
        )
    return frames


def _prefixes(parts: list[pl.DataFrame]) -> pl.DataFrame:
    if not parts:
        return pl.DataFrame(schema=_PREFIXES)
    by_tap = pl.concat(parts).group_by("finding", "prefix", "tap").agg(pl.col("packets", "copied").sum())
    most = by_tap.group_by("finding", "prefix").agg(pl.col("packets", "copied").max())
    shown = (
        most.filter(pl.col("copied") > 0)
        .sort("copied", "packets", "prefix", descending=[True, True, False])
        .group_by("finding", maintain_order=True)
        .head(PREFIXES)
    )
    return shown.with_columns(pl.col("prefix").map_elements(prefix_text, return_dtype=pl.String)).select(
        pl.col(name).cast(kind) for name, kind in _PREFIXES.items()
    )


@functools.lru_cache
def prefix_text(start: bytes) -> str:
    """A prefix by the bytes that it begins with."""
    bits = 8 * len(start) - (96 if len(start) > 12 else 0)
    return f"{address_text(start.ljust(16, bytes(1)))}/{bits}"
