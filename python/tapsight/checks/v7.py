"""V7: voice has its code point from end to end, and nothing else has it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._options import CodePoints, Options, Prefixes, Severity
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import (
    TUNNEL,
    Check,
    Judgement,
    Observed,
    Scope,
    group,
    ordered_ends,
    packets,
)
from tapsight.checks._special import GROUPS
from tapsight.checks._sums import Sums
from tapsight.checks._tables import ReadOnceError, doubt_about
from tapsight.checks._talks import end

ICMP = (1, 58)
"""Protocols that are left out: errors are to have the TOS of what they answer, but a precedence of 6 or 7 (RFC 1812, section 4.3.2.5)."""

NAMES = {46: "EF", 44: "VA", 0: "CS0", **{8 * n: f"CS{n}" for n in range(1, 8)}} | {
    8 * n + 2 * k: f"AF{n}{k}" for n in range(1, 5) for k in range(1, 4)
}
"""What code points are called: RFC 2474, RFC 2597, RFC 3246, RFC 5865."""

_CLASSES = {"media": "voice-media", "signalling": "voice-signalling"}
"""The class of traffic that a stream of voice is of, also of those packets of it that nothing recognised."""

_SAID = operator.itemgetter(
    "what", "end_a", "end_b", "dscp", "packets", "apps", "first_ts", "last_ts", "taps"
)
"""What a sentence says, so that no more of a row is kept for it."""

_STREAM = ["flow_id", "protocol", "src", "dst", "src_port", "dst_port"]
_READ = ["ts", "frame", "tos", "traffic", "app", "basis", *_STREAM, *TUNNEL]


class V7Options(Options):
    """What a policy may say under [checks.V7]."""

    voice: CodePoints | None = None
    """Code points that RTP has to have, such as 46 (EF), and that nothing else may."""
    signalling: CodePoints | None = None
    """Code points that voice signalling has to have, such as 24 (CS3); not judged if not given."""
    allow: Prefixes | None = None
    """Hosts of which other traffic may have the code points of voice, too."""


class V7(Check[V7Options]):
    """Routers know voice by its code point, so voice has it wherever it passes, and what is no voice has another.

    What it looks for:
        RTP with another code point (DSCP) than one of ``voice``, signalling of calls with another than one of ``signalling``, on any tap. The same
        stream with other code points on one tap than on the first, even if both are listed. And packets with one of ``voice`` that are
        recognised as something else, unless an end is in ``allow``.

    Why it matters:
        Voice without its code point waits behind downloads. Whoever gives his own traffic that code point goes before voice, and, where the
        queue for voice is short, drops it. And a code point that changes on the way shows that something rewrites packets there.

    Example that fails:
        RTP with DSCP 0, or a download with DSCP 46, with this policy::

            [checks.V7]
            voice = [46]
            signalling = [24, 26]

    What to do:
        Look at the first tap without the code point: the router before it does not trust, or does not mark. For what should not have it, let the edge
        set it to 0.

    What it cannot see:
        Which tap comes first, but for the time at which each saw the stream. The code points of tunnels around: what counts is the innermost packet.
        RTCP and STUN may have any; of traffic that nobody recognises, or only by its port, it is not known whether it may have that of voice: it is in
        scope but not judged. ICMP is left out: the code point of its errors is made of that of what they answer and a precedence of
        6 or 7 (RFC 1812, section 4.3.2.5). With one tap, whether code points are kept is not known. Captures are read once more.

    Source: GSMA IR.34 (classes of service), by general knowledge: EF for conversations; RFC 2474; RFC 3246; RFC 4594, sections 4.1 and 4.2.
    """

    id = "V7"
    title = "Voice keeps its code point, and nothing else has it"
    severity = "medium"
    needs = ("voice", "signalling")
    options = V7Options
    pack = "carrier-voice"

    def judge(self, seen: Observed, options: V7Options, severity: Severity) -> Judgement:
        """Judges each direction of a conversation by the code points that its packets have."""
        try:
            rows, missing = _summed(_batches(seen))
        except ReadOnceError as error:
            return Judgement(Scope(), nothing=str(error), lack=None)
        rows = _with_kind(rows.filter(~inside(rows["dst"], GROUPS)))
        voice, signalling = list(options.voice or ()), list(options.signalling or ())
        has_voice = pl.col("dscp").is_in(voice)
        allowed = inside(rows["src"], options.allow or ()) | inside(rows["dst"], options.allow or ())
        rows = rows.with_columns(allowed=allowed).with_columns(
            fits=pl.when((pl.col("kind") == "media") & bool(voice))
            .then(has_voice)
            .when((pl.col("kind") == "signalling") & bool(signalling))
            .then(pl.col("dscp").is_in(signalling))
            .when((pl.col("kind") == "other") & has_voice)
            .then(pl.col("allowed")),
            in_scope=((pl.col("kind") == "media") & bool(voice))
            | ((pl.col("kind") == "signalling") & bool(signalling))
            | (pl.col("kind").is_in(["other", "unknown"]) & has_voice),
        )
        rows = rows.filter("in_scope").with_columns(*ordered_ends("src", "dst"))
        rows = _with_changed(rows)
        judged = rows.filter(pl.col("fits").is_not_null())
        failed = judged.filter(~pl.col("fits") | pl.col("changed"))
        reasons = ["nobody recognises what it is"] if len(judged) < len(rows) else []
        reasons += (
            [f"{plural(missing, 'packet')} of more conversations than there is room for"] if missing else []
        )
        scope = Scope(packets(rows) + missing, packets(judged), "; ".join(reasons) or None)
        failed = failed.with_columns(
            what=pl.when(~pl.col("fits")).then("kind").otherwise(pl.lit("changed")),
            concerned=pl.col("kind").replace_strict(_CLASSES, default=pl.col("traffic")),
        )
        findings = tuple(
            self.finding(
                row,
                scope,
                severity,
                identity=(row["what"], row["end_a"], row["end_b"], row["dscp"]),
                sentence=functools.partial(self._sentence, _SAID(row), options),
                traffic=row["concerned"],
            )
            for row in group(failed, ["what", "end_a", "end_b", "dscp"], all_of=["concerned"])
        )
        taps = judged["tap"].n_unique()
        note = "with one tap, nobody can tell whether code points are kept" if taps == 1 else None
        doubt = doubt_about("packets", seen)
        return Judgement(
            scope,
            findings,
            nothing=_nothing(voice, signalling),
            # To say that there are no code points is to say nothing that can be judged.
            lack="traffic" if voice or signalling else "policy",
            note=note,
            doubt=doubt,
        )

    @staticmethod
    def _sentence(said: tuple[Any, ...], options: V7Options) -> str:
        what, end_a, end_b, code, number, app_names, first_ts, last_ts, taps = said
        wanted = {"media": options.voice, "signalling": options.signalling}.get(what)
        count, ends = plural(number, "packet"), f"{end(end_a)} and {end(end_b)}"
        apps = f" ({listing(app_names)})" if app_names else ""
        why = {
            "other": "which the policy keeps for voice",
            "changed": "while the first tap that saw them had another",
        }.get(what) or f"not with {_names(wanted or (), ' or ')}"
        return (
            f"{count} between {ends}{apps} went with DSCP {_names([code])}, {span_text(first_ts, last_ts)} "
            f"(on {listing(taps)}), {why}."
        )


def _nothing(voice: list[int], signalling: list[int]) -> str:
    """What to say if nothing was in scope, by the code points that are listed."""
    if voice:
        return "no packets of voice, and none with its code points"
    return "no signalling of calls was seen" if signalling else "the policy lists no code points"


def _names(codes: Iterable[int], between: str = ", ") -> str:
    return between.join(f"{code} ({NAMES[code]})" if code in NAMES else str(code) for code in codes)


def _batches(seen: Observed) -> Iterator[pl.DataFrame]:
    for frame in seen.read("packets", _READ):
        yield frame.filter(
            pl.col("tos").is_not_null(), pl.col("src").is_not_null(), pl.col("dst").is_not_null()
        )


def _summed(frames: Iterable[pl.DataFrame]) -> tuple[pl.DataFrame, int]:
    """One row a direction of a conversation, tap, label and code point; and how many packets found no room."""
    keys = ["tap", *_STREAM, "traffic", "app", "basis", "dscp"]
    sums = Sums(keys)
    for frame in frames:
        sums.add(
            frame.select(
                *keys[:-1],
                dscp=pl.col("tos") // 4,
                packets=pl.lit(1, pl.Int64),
                first_ts=pl.col("ts"),
                last_ts=pl.col("ts"),
                frames=pl.concat_list("frame"),
            )
        )
    found = sums.total()
    return pl.DataFrame(schema=_EMPTY) if found is None else found, sums.missing


_EMPTY: dict[str, Any] = {
    "tap": pl.String,
    "flow_id": pl.UInt64,
    "protocol": pl.UInt8,
    **dict.fromkeys(("src", "dst"), pl.Binary),
    **dict.fromkeys(("src_port", "dst_port"), pl.UInt16),
    **dict.fromkeys(("traffic", "app", "basis"), pl.String),
    "dscp": pl.UInt8,
    **dict.fromkeys(("packets", "first_ts", "last_ts"), pl.Int64),
    "frames": pl.List(pl.UInt64),
}


def _with_kind(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with what their conversation is, whichever tap recognised it: ``media``, ``signalling``, ``other``; ``unknown`` if none did.

    The first packets of a stream, and segments without data, are recognised by the others. What goes between the endpoints of RTP beside it is of no
    kind.
    """
    proven = pl.col("basis") != "port"
    media = proven & (pl.col("app") == "rtp")
    beside = proven & (pl.col("traffic") == "voice-media")
    signalling = proven & (pl.col("traffic") == "voice-signalling")
    other = proven & (pl.col("traffic") != "unknown")
    kinds = rows.group_by("flow_id").agg(
        media=media.any(), beside=beside.any(), signalling=signalling.any(), other=other.any()
    )
    is_rtp = (pl.col("app") == "rtp") | pl.col("app").is_null()
    kind = (
        pl.when(pl.col("protocol").is_in(ICMP))
        .then(None)
        .when(pl.col("media") & is_rtp)
        .then(pl.lit("media"))
        .when(pl.col("media") | pl.col("beside"))
        .then(None)
        .when("signalling")
        .then(pl.lit("signalling"))
        .when("other")
        .then(pl.lit("other"))
        .otherwise(pl.lit("unknown"))
    )
    found = rows.join(kinds, on="flow_id", how="left", nulls_equal=True, maintain_order="left")
    return found.with_columns(kind=kind)


def _with_changed(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with whether the first tap that saw a stream of voice saw no packet of it with this code point (``changed``)."""
    first_tap = pl.col("tap").sort_by("first_ts").first().over(_STREAM)
    at_first = rows.filter(pl.col("tap") == first_tap).select(*_STREAM, "dscp").unique()
    at_first = at_first.with_columns(is_first=pl.lit(value=True))
    rows = rows.join(at_first, on=[*_STREAM, "dscp"], how="left", nulls_equal=True, maintain_order="left")
    is_voice = pl.col("kind").is_in(["media", "signalling"])
    return rows.with_columns(changed=is_voice & pl.col("is_first").is_null())
