"""A policy over time: what it says at each moment of captures, and what all of that makes of findings.

Members of sets may count for a time only. Where none begins or ends within the time of the captures, a policy says one thing, and everything
is judged once. Else it is *read* once for each time between two such moments, and everything is judged by each reading. A finding is

* sure, if its first or its last packet is of the time of a reading that has it: that packet was against the policy; or if all readings of
  its time have it,
* none, if no reading of its time has it,
* in doubt else: then its check does not pass, and says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tapsight._call_verdicts import ASPECTS
from tapsight._sets import Dated
from tapsight._text import listing
from tapsight.findings import Finding, Strike

if TYPE_CHECKING:
    import pyarrow as pa

    from tapsight.checks._base import Observed
    from tapsight.policy import Policy

MOST = 16
"""How many readings there may be. Of what changes more often, there are two, of all of the time: with what always counted, and with all that ever did."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What a policy says for a time."""

    policy: Policy | None
    first: int = -(1 << 80)
    """Nanoseconds UTC; of the first and the last reading, beyond all times."""
    last: int = 1 << 80
    is_exact: bool = True
    """Whether it is what the policy says in that time, rather than the least or the most of it."""

    def touches(self, first: int, last: int) -> bool:
        """Whether it is of any moment of that time."""
        return self.first <= last and first <= self.last


def readings(policy: Policy | None, first: int, last: int) -> list[Reading]:
    """What the policy says from the first packet to the last, in order of time; one if it says the same all of the time."""
    whole = Reading(policy)
    if policy is None:
        return [whole]
    edges = sorted({edge for _, member in _dated(policy) for edge in _edges(member, first, last)})
    if len(edges) < MOST:
        starts, ends = [whole.first, *edges], [*(edge - 1 for edge in edges), whole.last]
        parts = [
            Reading(policy.when(_counts_at(max(start, first))), start, end)
            for start, end in zip(starts, ends, strict=True)
        ]
    else:
        always = policy.when(lambda member: member.throughout(first, last))
        ever = policy.when(lambda member: member.ever(first, last))
        parts = [Reading(always, is_exact=False), Reading(ever, is_exact=False)]
    merged = parts[:1]
    for part in parts[1:]:
        before = merged[-1]
        # Not all sets are of something that is judged.
        if part.policy is not None and before.policy is not None and part.policy.says_as(before.policy):
            merged[-1] = dataclasses.replace(before, last=part.last)
        else:
            merged.append(part)
    return merged


def _counts_at(time: int) -> Callable[[Dated], bool]:
    return lambda member: member.at(time)


def _dated(policy: Policy) -> Iterator[tuple[str, Dated]]:
    """The members with dates, with the names of their sets."""
    for name, members in policy.sets.items():
        for member in members.dated:
            yield name, member


def _edges(member: Dated, first: int, last: int) -> Iterator[int]:
    """When it begins or ends to count, if that is within this time."""
    for edge in (member.begins, member.ends):
        if edge is not None and first < edge <= last:
            yield edge


def changes_text(policy: Policy | None, first: int, last: int) -> str:
    """Which members begin or end to count within this time."""
    words = [
        f"{name}: {member}"
        for name, member in (_dated(policy) if policy else ())
        if any(_edges(member, first, last))
    ]
    return listing(words)


# --- What readings make of findings -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Agreed:
    """What the readings make of findings together."""

    findings: list[Finding]
    """Those that are sure."""
    strikes: dict[str, list[Strike]]
    """What checks and detectors surely fail by."""
    doubted: dict[str, list[Finding]] = dataclasses.field(default_factory=dict)
    """Those in doubt, by check and detector."""
    partly: dict[str, int] = dataclasses.field(default_factory=dict)
    """By the id of a sure finding of which a part was allowed, the reading that it is against."""


def agree(
    parts: Sequence[Reading],
    judged: Sequence[tuple[Sequence[Finding], dict[str, list[Strike]]]],
    changed: str,
) -> Agreed:
    """What is sure among the findings of each reading, and what fails by those. ``changed`` says what the readings differ in."""
    if len(parts) == 1:
        return Agreed(list(judged[0][0]), judged[0][1])
    found: dict[str, dict[int, list[Finding]]] = {}
    for at, (findings, _) in enumerate(judged):
        for finding in findings:
            found.setdefault(finding.id, {}).setdefault(at, []).append(finding)
    sure: dict[str, int] = {}
    doubted: dict[str, Finding] = {}
    agreed: list[Finding] = []
    partly: dict[str, int] = {}
    for id_, among in found.items():
        every = [finding for findings in among.values() for finding in findings]
        first, last = min(each.first_ts for each in every), max(each.last_ts for each in every)
        its_time = [at for at, part in enumerate(parts) if part.touches(first, last)]
        having = [at for at in its_time if at in among]
        proven = [at for at in having if any(_is_proof(parts[at], each) for each in among[at])]
        if having == its_time or proven:
            # What the least of them says is what all of them do.
            sure[id_] = min(proven or having, key=lambda at: sum(each.packets for each in among[at]))
            kept = among[sure[id_]]
            if having != its_time:
                some = f"Some of this may have been allowed, as the policy changed meanwhile ({changed})."
                kept = [dataclasses.replace(each, sentence=f"{each.sentence} {some}") for each in kept]
                partly[id_] = sure[id_]
            agreed += kept
        elif having:
            doubted[id_] = among[having[0]][0]
    strikes: dict[str, list[Strike]] = {}
    unsure: dict[str, dict[str, Finding]] = {}
    for at, (_, mine) in enumerate(judged):
        for check, struck in mine.items():
            for strike in struck:
                # Told by several findings, it is as sure as the surest of them.
                told = next((each.id for each in strike.findings if each.id in sure), None)
                if told is None:
                    unsure.setdefault(check, {}).update(
                        {each.id: each for each in strike.findings if each.id in doubted}
                    )
                elif sure[told] == at:
                    strikes.setdefault(check, []).append(strike)
    return Agreed(
        agreed, strikes, {check: list(each.values()) for check, each in unsure.items() if each}, partly
    )


_PATH = (
    "tap",
    *("eth_src", "eth_dst", "vlan", "vlan_inner", "encap", "outer_src", "outer_dst", "tunnel_id"),
    *("src", "dst", "protocol", "src_port", "dst_port", "flow_id", "app", "traffic", "basis"),
)
"""Columns that packets have in common with the row of flows that they are counted in, and that tell it from others."""


def narrowed(seen: Observed, part: Reading) -> tuple[Observed, bool]:
    """What was seen, with flows of no more than the time of a reading; and whether packets could be counted of what began before or ended after it.

    For these the captures are read once more. Where that cannot be, they are left out.
    """
    import polars as pl

    from tapsight.checks._base import plain
    from tapsight.checks._tables import ReadOnceError

    flows = seen.flows.filter(
        pl.col("first_ts") <= _limit(part.last), pl.col("last_ts") >= _limit(part.first)
    )
    spans = (pl.col("first_ts") < _limit(part.first)) | (pl.col("last_ts") > _limit(part.last))
    whole, cut = flows.filter(~spans), flows.filter(spans)
    if cut.is_empty():
        return dataclasses.replace(seen, flows=whole), True
    if not seen.captures.taps or not seen.captures.is_whole:
        return dataclasses.replace(seen, flows=whole), False
    keys = cut.select(_PATH).unique()
    counted = []
    is_now = pl.col("ts").is_between(_limit(part.first), _limit(part.last))
    try:
        for batch in seen.captures.batches("packets", [*_PATH, "frame", "ts"]):
            packets = plain(pl.DataFrame(batch)).join(keys, on=_PATH, how="semi", nulls_equal=True)
            counted.append(
                packets.group_by(_PATH).agg(
                    pl.len().alias("all"),
                    is_now.sum().alias("now"),
                    pl.col("ts").filter(is_now).min().alias("begin"),
                    pl.col("ts").filter(is_now).max().alias("end"),
                    pl.col("frame").filter(is_now).head(8).alias("named"),
                )
            )
    except (ReadOnceError, OSError, ValueError):
        return dataclasses.replace(seen, flows=whole), False
    sums = (
        pl.concat(counted)
        .group_by(_PATH, maintain_order=True)
        .agg(
            pl.col("all", "now").sum(),
            pl.col("begin").min(),
            pl.col("end").max(),
            pl.col("named").list.explode(keep_nulls=False, empty_as_null=False).head(8),
        )
    )
    told = cut.join(sums, on=_PATH, how="left", nulls_equal=True, maintain_order="left")
    # What is not counted as it was the first time cannot be told apart.
    sure = told.filter((pl.col("all") == pl.col("packets")).fill_null(value=False))
    inside = sure.filter(pl.col("now") > 0).with_columns(
        packets=pl.col("now").cast(cut.schema["packets"]), first_ts="begin", last_ts="end", frames="named"
    )
    inside = inside.select(pl.col(name).cast(kind) for name, kind in cut.schema.items())
    return dataclasses.replace(seen, flows=pl.concat([whole, inside])), len(sure) == len(told)


def _limit(time: int) -> int:
    """A time that fits into a column."""
    return max(-(2**63), min(2**63 - 1, time))


def _is_proof(part: Reading, finding: Finding) -> bool:
    """Whether a packet of the finding is surely of the time of the reading that has it."""
    return part.is_exact and any(part.touches(time, time) for time in (finding.first_ts, finding.last_ts))


def settled_calls(
    parts: Sequence[Reading], tables: Sequence[pa.Table], ended: Sequence[int | None] = ()
) -> pa.Table:
    """The verdicts of calls, each by what the policy said when it began; where only the least and the most of that are known, by what both say.

    One that was signalled on until a time when there was no agreement between its ends any more fails as well, as V1 does. The tables have the
    same calls in the same order; ``ended`` has the times of their last messages.
    """
    import pyarrow as pa

    if len(parts) == 1:
        return tables[0]
    began = tables[0]["began"].cast(pa.int64()).to_pylist()
    # Its own times are cut to microseconds by Python, so they are left as they are.
    columns = [table.drop_columns(["began"]).to_pylist() for table in tables]
    rows = []
    for at, time in enumerate(began):
        if parts[0].is_exact:
            # One that began before the first packet was there then, too.
            part = next(n for n, part in enumerate(parts) if time is None or part.touches(time, time))
            row = columns[part][at]
            last = ended[at] if ended else None
            if last is not None and not parts[part].touches(last, last):
                later = next(n for n, each in enumerate(parts) if each.touches(last, last))
                row = _outlived(row, columns[later][at])
            rows.append(row)
        else:
            rows.append(_common([column[at] for column in columns]))
    made = pa.Table.from_pylist(
        rows, schema=tables[0].schema.remove(tables[0].schema.get_field_index("began"))
    )
    return made.add_column(2, tables[0].schema.field("began"), tables[0]["began"]).select(
        tables[0].column_names
    )


def _outlived(row: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """The verdict of a call that went on after the policy had changed; ``later`` is that by what the policy said in the end."""
    if row["peers"] != "pass" or later["peers"] != "fail":
        return row
    reason = "; ".join(
        filter(None, [row["reason"], "peers: it went on when they no longer had an agreement (V1)"])
    )
    findings = sorted({*(row["findings"] or ()), *(later["findings"] or ())})
    return {**row, "peers": "fail", "verdict": "fail", "reason": reason, "findings": findings}


def _common(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What several verdicts of one call agree on."""
    first, *others = rows
    differing = [name for name in ASPECTS if any(row[name] != first[name] for row in others)]
    if not differing:
        return first
    said = {name: "unknown" if name in differing else first[name] for name in ASPECTS}
    verdict = "fail" if "fail" in said.values() else "unknown"
    reason = "; ".join(f"{name}: the policy changed meanwhile" for name in differing)
    return {**first, **said, "verdict": verdict, "reason": reason}
