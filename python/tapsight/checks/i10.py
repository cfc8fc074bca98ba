"""I10: paths to protected prefixes are as long as they should be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity, policy_error
from tapsight._text import duration, listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, packets
from tapsight.checks._paths import (
    CONNECTIONS,
    INITIAL,
    MAX_HOPS,
    RETRANSMITTED,
    prefix_of,
    prefix_text,
    remote,
)
from tapsight.checks._talks import SYN, summed, talks
from tapsight.findings import Finding

PACKETS = 10
"""Packets of a host that have to be outside of a band: fewer may be forged, or those of a tool that chooses its TTL."""

TRACED = 32
"""Up to this TTL a packet may be one that traces the route, whose TTL says nothing."""


def _range(value: object) -> tuple[float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
        or not 0 <= value[0] <= value[1]
    ):
        raise policy_error("must be the least and the most, such as [5, 9]", value)
    return value[0], value[1]


Range = Annotated[
    tuple[float, float],
    BeforeValidator(_range),
    WithJsonSchema(
        {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 2, "maxItems": 2}
    ),
]
"""The least and the most."""


class Band(BaseModel):
    """How far away prefixes are, as seen from the taps."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prefixes: Prefixes
    """Of whom."""
    hops: Range | None = None
    """Routers that their packets have passed, the least and the most."""
    rtt_ms: Range | None = None
    """Milliseconds until their servers answer a SYN, the least and the most."""

    @model_validator(mode="after")
    def _says_something(self) -> Band:
        if self.hops is None and self.rtt_ms is None:
            raise policy_error("needs hops or rtt_ms, such as hops = [5, 9]", None)
        return self


class I10Options(Options):
    """What a policy may say under [checks.I10]."""

    bands: list[Band] | None = None
    """How far away prefixes are: tables with ``prefixes``, and ``hops`` or ``rtt_ms`` or both."""


class I10(Check[I10Options]):
    """Whoever has to be protected is as far away as always: not farther, as by a detour, and not nearer, as somebody who answers for them.

    What it looks for:
        Packets from ``prefixes`` whose hop count is outside of ``hops``: 10 packets of a host and more. Hops are what is missing of the TTL to
        the next of 64, 128 and 255. And servers in them that answer SYN outside of ``rtt_ms``: prefixes (/24 of IPv4, /48 of
        IPv6) of which half of the connections or more do, of 10 at least.

    Why it matters:
        Traffic that is led past somebody who reads it comes a longer way; 1 ms of round trip is at most 100 km of fibre each
        way. Somebody who answers in another's name is often nearer.

    Example that fails:
        Packets from 203.0.113.7 that arrive with a TTL of 50 (14 hops of 64), with this policy::

            packs = ["carrier-internet"]
            [checks.I10]
            bands = [{ prefixes = "203.0.113.0/29", hops = [5, 9], rtt_ms = [0.5, 40] }]

    What to do:
        Trace the route to the prefix, and compare with the routing changes of that time. ``tapsight flows`` has TTLs and round trips
        of good days to choose a band by.

    When it is unknown:
        Where a band has ``hops`` or ``rtt_ms``, and nothing was seen to tell those by.

    What it cannot see:
        Detours of equal length, and tunnels that hide their hops; bands are as seen from all taps, so that taps far from each other need wide
        ones. TTLs up to 32 are not judged (traces of routes look like that), nor conversations whose TTL changes, but for their first and last
        packet, nor answers after a second (SYN may have been sent again). Times include how busy a server is, which is why half of the connections have to be outside.

    Source: Jin, Wang, Shin: Hop-Count Filtering, CCS 2003, as B2; RFC 6298, section 2, as B3. The limits of 10 are proposals.
    """

    id = "I10"
    title = "Paths to protected prefixes are as long as they should be"
    severity = "medium"
    pack = "carrier-internet"
    needs = ("bands",)
    options = I10Options

    def judge(self, seen: Observed, options: I10Options, severity: Severity) -> Judgement:
        """Judges hops by the TTLs of hosts, and times by the handshakes of servers."""
        flows = remote(seen.unlisted)
        found = [
            (band, what, measured)
            for band in options.bands or ()
            for what, limits, measure in (("hops", band.hops, _hops), ("rtt_ms", band.rtt_ms, _times))
            if limits is not None
            for measured in [measure(flows, band.prefixes, limits)]
        ]
        had = [measured.scope for _, _, measured in found if measured.scope.in_scope]
        silent = [
            f"{what} of {listing(list(band.prefixes))}" for band, what, each in found if not each.scope.judged
        ]
        if not had:
            return Judgement(Scope(), nothing="nothing was seen to tell hops or times of these prefixes by")
        # A band is as good as what was judged least.
        scope = min(had, key=lambda each: each.judged / each.in_scope)
        findings = tuple(
            _finding(row, what, scope, severity) for _, what, measured in found for row in measured.rows
        )
        notes = [measured.note for _, _, measured in found if measured.note]
        return Judgement(
            scope,
            findings,
            note="; ".join(notes) or None,
            doubt=f"too little was seen to tell {listing(silent)}" if silent else None,
        )


@dataclasses.dataclass(frozen=True)
class _Measured:
    """What there was to judge of a band, and what lies outside of it."""

    scope: Scope
    rows: list[dict[str, Any]]
    note: str | None = None


def _hops(flows: pl.DataFrame, prefixes: Prefixes, limits: tuple[float, float]) -> _Measured:
    """Packets from these prefixes by how many hops they took."""
    rows = flows.filter(pl.col("first_ttl") > 0)
    rows = rows.filter(inside(rows["src"], prefixes))
    first, last = _hops_of("first_ttl"), _hops_of("last_ttl")
    rows = rows.with_columns(first=first, last=last)
    rows = rows.with_columns(
        *(pl.col(name).is_between(*limits).alias(f"{name}_fits") for name in ("first", "last")),
        whole="packets",
    )
    alike = pl.col("first_fits") == pl.col("last_fits")
    # Of a conversation that was inside and outside, only the first and the last packet are known.
    ends = [
        rows.filter(alike).with_columns(fits="first_fits"),
        *(
            rows.filter(~alike.fill_null(value=False), pl.col(f"{name}_fits").is_not_null()).with_columns(
                fits=f"{name}_fits", first=name, last=name, packets=pl.lit(1, rows.schema["packets"])
            )
            for name in ("first", "last")
        ),
    ]
    told = pl.concat(ends)
    outside = told.filter(~pl.col("fits"))
    enough = outside.group_by("tap", "src").agg(pl.col("packets").sum()).filter(pl.col("packets") >= PACKETS)
    some = outside.join(enough, on=["tap", "src"], how="anti")
    outside = outside.join(enough, on=["tap", "src"], how="semi", maintain_order="left")
    by = ["tap", "prefix"]
    sides = outside.group_by(by).agg(
        pl.min_horizontal("first", "last").min().alias("least"),
        pl.max_horizontal("first", "last").max().alias("most"),
        pl.col("src").n_unique().alias("hosts"),
    )
    return _Measured(
        _scope(
            packets(rows), packets(told) - packets(some), "packets whose TTL says nothing, or hosts with few"
        ),
        _with(group(outside, by), sides, by, limits),
    )


def _hops_of(name: str) -> pl.Expr:
    """Hops by a TTL; null where it says nothing."""
    ttl = pl.col(name).cast(pl.Int64)
    initial = pl.min_horizontal(pl.when(ttl <= each).then(each) for each in INITIAL)
    return pl.when(ttl > TRACED, initial - ttl <= MAX_HOPS).then(initial - ttl)


def _times(flows: pl.DataFrame, prefixes: Prefixes, limits: tuple[float, float]) -> _Measured:
    """Connections to these prefixes by how long SYN took to be answered."""
    begun = talks(flows.filter(pl.col("protocol") == 6, (pl.col("tcp_flags") & SYN) != 0))
    begun = begun.filter(pl.col("rtt").is_not_null())
    begun = begun.filter(inside(begun["server"], prefixes)).with_columns(prefix=prefix_of("server"))
    by = ["tap", "prefix"]
    least, most = (1e6 * limit for limit in limits)
    clear = begun.filter(pl.col("rtt").is_between(0, RETRANSMITTED - 1))
    told = clear.filter(pl.len().over(by) >= CONNECTIONS).with_columns(
        outside=~pl.col("rtt").is_between(least, most)
    )
    outside = told.filter("outside")
    off = told.filter(pl.col("outside").mean().over(by) >= 0.5)
    sides = off.group_by(by).agg(
        pl.col("rtt").median().alias("middle"),
        pl.col("outside").sum().alias("connections"),
        pl.len().alias("of"),
        pl.col("server").n_unique().alias("hosts"),
    )
    left = len(outside) - len(off.filter("outside"))
    return _Measured(
        _scope(len(begun), len(told), "prefixes with too few connections, or answers after a second"),
        _with(summed(off.filter("outside"), by), sides, by, limits),
        f"{plural(left, 'connection')} outside of the band, fewer than half of those to a prefix"
        if left
        else None,
    )


def _scope(in_scope: int, judged: int, reason: str) -> Scope:
    return Scope(in_scope, judged, reason if judged < in_scope else None)


def _with(
    rows: list[dict[str, Any]], more: pl.DataFrame, by: list[str], limits: tuple[float, float]
) -> list[dict[str, Any]]:
    """The rows with what else is known of each."""
    known = {tuple(row[name] for name in by): row for row in more.to_dicts()}
    return [{**row, **known[tuple(row[name] for name in by)], "limits": limits} for row in rows]


def _finding(row: Mapping[str, Any], what: str, scope: Scope, severity: Severity) -> Finding:
    least, most = row["limits"]
    who = f"{prefix_text(row['prefix'])} ({plural(row['hosts'], 'host')})"
    when = f"{span_text(row['first_ts'], row['last_ts'])} (on {row['tap']})"
    if what == "hops":
        took = f"{row['least']} to {row['most']}" if row["least"] != row["most"] else f"{row['least']}"
        sentence = f"{plural(row['packets'], 'packet')} from {who} took {took} hops, {when}; the policy expects {least:g} to {most:g}."
    else:
        sentence = (
            f"Servers of {who} answered after {duration(round(row['middle']))} in the middle, {when}; the policy expects {least:g} to "
            f"{most:g} ms, and {row['connections']:,} of {plural(row['of'], 'connection')} are outside of that."
        )
    return I10.finding(row, scope, severity, identity=(what, row["tap"], row["prefix"]), sentence=sentence)
