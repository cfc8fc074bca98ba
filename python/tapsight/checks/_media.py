"""Media streams → legs: what one source sends between two endpoints on a tap, whatever the paths, for checks that compare them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from tapsight._text import address_text
from tapsight.checks._base import EVIDENCE
from tapsight.claims import Frame

ENDS = ["src", "src_port", "dst", "dst_port"]
LEG = ["tap", "ssrc", *ENDS]

SECOND = 1_000_000_000


def legs(media: pl.DataFrame) -> pl.DataFrame:
    """One row a leg, numbered by ``leg``: the same source, endpoints and tap, on all paths together.

    ``packets`` are those of the path that shows most, ``low_ttl`` and ``high_ttl`` the least and the greatest TTL.
    """
    told = pl.col("call").is_not_null()
    return (
        media.group_by(LEG, maintain_order=True)
        .agg(
            pl.col("packets").max(),
            pl.col("first_ts").min(),
            pl.col("last_ts").max(),
            pl.col("min_ttl").min().alias("low_ttl"),
            pl.col("max_ttl").max().alias("high_ttl"),
            *(pl.col(name).filter(told).first() for name in ("call", "side", "announced")),
            pl.col("frames").first(),
        )
        .with_row_index("leg")
    )


MOST = 64
"""Legs with the same packet that are compared with each other: a crafted capture may hold thousands."""


def same_packets(media: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Pairs of legs of one tap that have packets in common and go to different endpoints.

    ``leg`` came first and ``other`` later, by ``lag`` nanoseconds (median). ``common`` is about how many packets they share. Of the
    hashes from 0 to 2^64 that packets have, streams keep the least ones, so a share of the packets is known by its hashes.
    """
    packet = ["tap", "ssrc", "sample"]
    # Hashes of most packets are there once: those are left out before it is looked into whose they are.
    kept = (
        media.filter(pl.col("sample").is_not_null())
        .join(found.select("leg", *LEG), on=LEG, how="inner", nulls_equal=True)
        .select(
            "leg",
            pl.when(pl.col("sample").list.len() >= 16).then(pl.col("sample").list.max()).alias("until"),
            "sample",
            (pl.col("sample_ns") + pl.col("first_ts")).alias("ts"),
        )
        .explode("sample", "ts")
        .filter(pl.col("sample").is_duplicated())
        .group_by("leg", "sample", maintain_order=True)
        .agg(pl.col("ts").min(), pl.col("until").min())
        .join(found.select("leg", "tap", "ssrc", "dst", "dst_port"), on="leg", maintain_order="left")
    )
    kept = kept.filter(pl.len().over(packet) > 1, pl.int_range(pl.len()).over(packet) < MOST)
    pairs = kept.join(kept, on=packet, suffix="_other").filter(
        pl.col("leg") < pl.col("leg_other"),
        (pl.col("dst") != pl.col("dst_other")) | (pl.col("dst_port") != pl.col("dst_port_other")),
        (pl.col("ts") - pl.col("ts_other")).abs() < SECOND,
    )
    known = pl.min_horizontal("until", "until_other").cast(pl.Float64) / 2.0**64
    paired = pairs.group_by("leg", "leg_other", maintain_order=True).agg(
        (pl.len() / known.fill_null(1.0).min()).alias("common"),
        (pl.col("ts_other") - pl.col("ts")).median().alias("lag"),
    )
    early = pl.col("lag") >= 0
    return paired.select(
        pl.when(early).then("leg").otherwise("leg_other").alias("leg"),
        pl.when(early).then("leg_other").otherwise("leg").alias("other"),
        "common",
        pl.col("lag").abs().cast(pl.Int64),
    )


def shown(rows: Iterable[dict[str, Any]]) -> tuple[Frame, ...]:
    """The first frames of legs."""
    frames = {(row["tap"], number) for row in rows for number in row["frames"] or ()}
    return tuple(Frame(tap, number, "offending") for tap, number in sorted(frames)[:EVIDENCE])


def endpoint(address: bytes, port: int) -> str:
    """An address and a port as text."""
    text = address_text(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
