"""Q1: captures are fit for judging."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from tapsight._options import Options, Severity
from tapsight._text import duration, percent_beside, plural
from tapsight.checks._base import Check, Judgement, Observed, Scope, packets
from tapsight.checks._tables import ReadOnceError
from tapsight.checks._talks import ACK, FIN, RST, SYN
from tapsight.findings import Finding

TCP = 6
"""IP protocol of TCP."""

ANSWERED = (TCP, 132)
"""Protocols in which the other side always answers, if only to acknowledge: TCP and SCTP."""


class Q1Options(Options):
    """What a policy may say under [checks.Q1]."""

    max_drops: Annotated[float, Field(ge=0, le=1)] = 0.001
    """The largest share of packets that a tap may have dropped: 0.001 is one in a thousand."""
    untold_drops: bool = False
    """Whether captures that do not say how many packets were dropped are taken for complete."""
    min_snaplen: Annotated[int, Field(ge=0)] = 128
    """Bytes of each packet that captures have to hold at least."""
    min_two_way: Annotated[float, Field(ge=0, le=1)] = 0.9
    """The least share of the packets of TCP and SCTP that have to be in conversations of which a tap shows both directions."""
    max_offset_ms: Annotated[float, Field(ge=0)] = 10.0
    """How far the clocks of two taps may be apart, in milliseconds."""


class Q1(Check[Q1Options]):
    """What was captured is good enough to be judged.

    What it looks for:
        Of each tap: packets dropped, as the capture itself counts them, of more than ``max_drops``; packets cut to less than ``min_snaplen`` bytes;
        and TCP and SCTP of which one direction only was seen, for more than what ``min_two_way`` leaves. TCP that nobody answered, nothing but SYN as scans
        send it, does not count. Of each pair of taps: clocks that
        are more than ``max_offset_ms`` apart.

    Why it matters:
        What a tap drops, cuts or does not see can hold what is looked for. A pass rests on the capture that it was made of.

    Example that fails:
        A tap that dropped 1,200 of 100,000 packets, with this policy::

            packs = ["capture-quality"]
            [checks.Q1]
            max_drops = 0.001
            min_snaplen = 128
            min_two_way = 0.9
            max_offset_ms = 10

    What to do:
        Capture with larger buffers or to a faster disk; with ``-s 0``; on both fibres of a link, given as one tap
        (``link=east.pcap link=west.pcap``); and set clocks by NTP or PTP.

    When it is unknown:
        Where a capture does not say what it dropped (pcap cannot, pcapng may), unless ``untold_drops = true``; where a tap has no TCP and no SCTP; where a
        capture does not say to how many bytes it cut packets, and cannot be read once more; and where the clocks of two taps cannot be compared, because no
        traffic passed both, or in one direction only.

    What it cannot see:
        Losses before the capture counts: on a mirror port that has less room than what it mirrors, or in a tap. Counters of a capture that was cut into
        several files may be of all of them. Packets that were cut by a tool that left no word of their length on the wire. To how many bytes others were cut, the
        packets tell, since a tool may leave the snap length as it was: if any were, captures are read once more.

    Source: own. pcapng, section 4.6 (Interface Statistics Block) for drops. The limits are proposals.
    """

    id = "Q1"
    title = "Captures are fit for judging"
    severity = "medium"
    pack = "capture-quality"
    options = Q1Options

    def judge(self, seen: Observed, options: Q1Options, severity: Severity) -> Judgement:
        """Judges each tap, and each pair of taps."""
        taps = seen.taps.filter(pl.col("frames") > 0) if seen.taps.width else seen.taps
        if taps.is_empty():
            return Judgement(Scope(), nothing="no frames were captured")
        cut = _cut_packets(seen, taps, options)
        answers = [
            answer
            for (tap,), rows in taps.group_by("tap", maintain_order=True)
            for answer in (
                _drops(str(tap), rows, options),
                _cut(str(tap), rows, cut, options),
                _two_way(str(tap), seen, options),
            )
        ]
        answers += _clocks(seen, taps, options)
        frames = dict(taps.group_by("tap").agg(pl.col("frames").sum()).iter_rows())
        untold = {tap for answer in answers if answer.is_fit is None for tap in answer.taps}
        reasons = [answer.text for answer in answers if answer.is_fit is None]
        total = sum(frames.values())
        scope = Scope(total, total - sum(frames[tap] for tap in untold), "; ".join(reasons) or None)
        findings = tuple(
            _finding(answer, taps, scope, severity) for answer in answers if answer.is_fit is False
        )
        return Judgement(
            scope, findings, doubt="not all that makes a capture fit is known" if untold else None
        )


@dataclasses.dataclass(frozen=True)
class _Answer:
    """Whether taps are fit in one respect."""

    taps: tuple[str, ...]
    about: str
    is_fit: bool | None
    """None if nobody can tell."""
    text: str = ""
    """Why not; or why nobody can."""
    packets: int = 0
    """How many are concerned."""
    flows: int = 0
    whole: int | None = None
    """How many those are a part of; none where the question is not which part."""


def _drops(tap: str, rows: pl.DataFrame, options: Q1Options) -> _Answer:
    told = rows.filter(pl.col("dropped").is_not_null())
    dropped = int(told["dropped"].sum())
    whole = dropped + int(told["frames"].sum())
    if dropped > options.max_drops * whole:
        text = f"Tap {tap} dropped {dropped:,} of {plural(whole, 'packet')} ({percent_beside(dropped, whole, options.max_drops)}): more than {100 * options.max_drops:g} %."
        return _Answer((tap,), "drops", is_fit=False, text=text, packets=dropped, whole=whole)
    if len(told) < len(rows) and not options.untold_drops:
        return _Answer((tap,), "drops", is_fit=None, text=f"{tap} does not say what it dropped")
    return _Answer((tap,), "drops", is_fit=True)


def _cut(tap: str, rows: pl.DataFrame, cut: pl.DataFrame | None, options: Q1Options) -> _Answer:
    found = rows.filter(pl.col("snapped") > 0)
    said = found["snaplen"].fill_null(0)
    if cut is not None:
        short = cut.filter(pl.col("tap") == tap)
        packets_, least = int(short["packets"].sum()), short["least"].min()
    else:
        # Nothing but the word of the capture is left.
        short = found.filter(said.is_between(1, options.min_snaplen - 1))
        packets_, least = int(short["snapped"].sum()), short["snaplen"].min()
    if packets_:
        text = f"Tap {tap} captured only {plural(int(least), 'byte')} of {plural(packets_, 'packet')} that were longer: less than {options.min_snaplen:,}."  # type: ignore[arg-type]
        return _Answer(
            (tap,), "snaplen", is_fit=False, text=text, packets=packets_, whole=int(rows["frames"].sum())
        )
    if cut is None and (said == 0).any():
        return _Answer(
            (tap,), "snaplen", is_fit=None, text=f"{tap} does not say to how many bytes it cut packets"
        )
    return _Answer((tap,), "snaplen", is_fit=True)


def _cut_packets(seen: Observed, taps: pl.DataFrame, options: Q1Options) -> pl.DataFrame | None:
    """How many packets each tap cut to less than it may (``packets``), and the least that it captured of one (``least``); none if nobody can look.

    The snap length that a capture says is what it was made with: a tool may have cut it since.
    """
    empty = pl.DataFrame(schema={"tap": pl.String, "packets": pl.UInt32, "least": pl.UInt32})
    if not taps["snapped"].sum():
        return empty
    if not seen.captures.is_whole or not seen.captures.taps:
        return None
    parts = [empty]
    try:
        for frame in seen.read("packets", ["cap_len", "wire_len"]):
            is_short = (pl.col("cap_len") < pl.col("wire_len")) & (pl.col("cap_len") < options.min_snaplen)
            short = frame.filter(is_short).group_by("tap")
            parts.append(short.agg(packets=pl.len().cast(pl.UInt32), least=pl.col("cap_len").min()))
    except ReadOnceError:
        return None
    return pl.concat(parts)


def _two_way(tap: str, seen: Observed, options: Q1Options) -> _Answer:
    flows = seen.unlisted.filter(pl.col("tap") == tap, pl.col("protocol").is_in(ANSWERED))
    # A filter drops what a scan asks for without a word: that is no direction that the tap did not see.
    said = pl.col("tcp_flags").fill_null(ACK) & (SYN | ACK | RST | FIN)
    ways = flows.group_by("flow_id").agg(
        pl.col("packets").sum(),
        pl.struct("src", "src_port").n_unique().alias("ways"),
        ((pl.col("protocol") == TCP) & (said == SYN)).all().alias("asks"),
    )
    ways = ways.filter(~pl.col("asks") | (pl.col("ways") > 1))
    whole, one = packets(ways), ways.filter(pl.col("ways") == 1)
    if whole == 0:
        return _Answer(
            (tap,), "directions", is_fit=None, text=f"{tap} has no TCP or SCTP to tell directions by"
        )
    both = whole - packets(one)
    if both < options.min_two_way * whole:
        text = (
            f"Tap {tap} saw both directions of only {percent_beside(both, whole, options.min_two_way)} of TCP and SCTP ({both:,} of {plural(whole, 'packet')}): less than "
            f"{100 * options.min_two_way:g} %."
        )
        return _Answer(
            (tap,), "directions", is_fit=False, text=text, packets=whole - both, flows=len(one), whole=whole
        )
    return _Answer((tap,), "directions", is_fit=True)


def _clocks(seen: Observed, taps: pl.DataFrame, options: Q1Options) -> Iterator[_Answer]:
    names = taps["tap"].unique(maintain_order=True).to_list()
    known: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in seen.compared.to_dicts():
        if row["offset_ns"] is not None and row["both_ways"]:
            known.setdefault(tuple(sorted((row["from_tap"], row["to_tap"]))), row)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            yield _clock((one, other), known.get(tuple(sorted((one, other)))), options)


def _clock(pair: tuple[str, str], row: dict[str, Any] | None, options: Q1Options) -> _Answer:
    one, other = pair
    if row is None:
        return _Answer(
            pair,
            "clocks",
            is_fit=None,
            text=f"nothing tells how far the clocks of {one} and {other} are apart",
        )
    offset, give = abs(row["offset_ns"]), row["offset_uncertainty_ns"] or 0
    limit = options.max_offset_ms * 1e6
    steps = [abs(step["step_ns"]) for step in row["clock_steps"] or ()]
    if offset - give > limit or any(step > limit for step in steps):
        text = (
            f"The clocks of {one} and {other} are {duration(offset)} apart (± {duration(give)})"
            f"{f', and jumped by up to {duration(max(steps))}' if steps else ''}: more than {options.max_offset_ms:g} ms."
        )
        return _Answer(pair, "clocks", is_fit=False, text=text, packets=row["judged"])
    if offset + give > limit:
        text = f"the clocks of {one} and {other} are {duration(offset)} ± {duration(give)} apart, which may be more than {options.max_offset_ms:g} ms"
        return _Answer(pair, "clocks", is_fit=None, text=text)
    return _Answer(pair, "clocks", is_fit=True)


def _finding(answer: _Answer, taps: pl.DataFrame, scope: Scope, severity: Severity) -> Finding:
    mine = taps.filter(pl.col("tap").is_in(answer.taps))
    row = {
        "packets": answer.packets,
        "flows": answer.flows,
        "first_ts": mine["first_ts"].min() or 0,
        "last_ts": mine["last_ts"].max() or 0,
        "evidence": (),
        "taps": answer.taps,
    }
    return Q1.finding(
        row,
        scope if answer.whole is None else Scope(answer.whole, answer.whole),
        severity,
        identity=(answer.about, *sorted(answer.taps)),
        sentence=answer.text,
        is_part=answer.whole is not None,
    )
