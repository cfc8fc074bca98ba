"""Each call in one row: did it ride the right path, with the right peers, encrypted as agreed, with media where signalled, and alone?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import polars as pl

    from tapsight._judging import Verdict
    from tapsight.checks._base import Observed
    from tapsight.claims import Claim
    from tapsight.findings import Finding

ASPECTS = ("path", "peers", "encrypted", "media", "alone")
"""What is judged of a call."""

_COPIES = ("A1", "A2", "A3", "A4", "A5", "A6", "A7")
_VOICE = {"voice-media", "voice-signalling", "unknown"}
"""Classes of traffic that calls may be in: the first packets of a stream are not known for what they are."""
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
        [
            *start,
            *[pa.field(name, text, nullable=False) for name in ASPECTS],
            pa.field("reason", text),
            pa.field("encryption", text),
            pa.field("findings", pa.list_(pa.field("item", text, nullable=False)), nullable=False),
        ]
    )


def judge_calls(
    seen: Observed,
    options: Mapping[str, Any],
    findings: Sequence[Finding],
    verdicts: Sequence[Verdict],
    claims: Sequence[Claim] = (),
) -> pa.Table:
    """The verdict of each call. A call fails if anything about it does, and passes if all does. ``claims`` are those that are reported."""
    import polars as pl

    calls = seen.calls
    if calls.is_empty():
        return schema().empty_table()
    keys = ["tap", "call"]
    streams = seen.media.filter(pl.col("call").is_not_null())
    known = calls.select(
        *keys,
        "began",
        "src",
        "dst",
        "state",
        "encryption",
        "encryption_lost",
        id=_ids(calls),
        bound=_bound(calls, options.get("B16")),
    )
    counted = streams.group_by(keys).agg(
        pl.col("packets").sum(), pl.col("announced").is_in(["both"]).all().alias("both")
    )
    known = known.join(counted, on=keys, how="left", maintain_order="left")
    known = known.join(_paths(seen, streams, options.get("V2")), on=keys, how="left", maintain_order="left")
    known = known.with_columns(pl.col("packets").fill_null(0), agreed=_peers(known, options.get("V1")))
    named = _named(findings, calls, streams).group_by(keys)
    touched = named.agg(
        pl.col("id").unique().sort().alias("findings"),
        *(
            pl.col("check").is_in(list(checks)).any().alias(f"{name}_touched")
            for name, checks in _ABOUT.items()
        ),
    )
    known = known.join(touched, on=keys, how="left", maintain_order="left")
    # A copy that one tap has seen is one of the call, wherever else that was seen.
    copied, suspected = _copied(seen, claims, findings, known, streams)
    of_copies = pl.col("id").is_in(pl.Series(sorted(copied), dtype=pl.String).implode())
    known = known.with_columns(
        pl.col("findings").fill_null([]),
        *(pl.col(f"{name}_touched").fill_null(value=False) for name in _ABOUT),
        suspected=pl.col("id").is_in(pl.Series(sorted(suspected), dtype=pl.String).implode()),
    )
    known = known.with_columns(alone_touched=of_copies | pl.col("alone_touched").any().over("id"))
    said = _said({verdict.check: verdict.verdict for verdict in verdicts})
    known = known.with_columns(_first(ladder).alias(name) for name, ladder in said.items())
    words = [pl.col(name).struct.field("word") for name in ASPECTS]
    reasons = [
        pl.when(word != "pass").then(pl.format("{}: {}", pl.lit(name), pl.col(name).struct.field("reason")))
        for name, word in zip(ASPECTS, words, strict=True)
    ]
    table = known.select(
        *("tap", "call", "began", "src", "dst", "state", "packets"),
        pl.when(pl.any_horizontal(word == "fail" for word in words))
        .then(pl.lit("fail"))
        .when(pl.any_horizontal(word == "unknown" for word in words))
        .then(pl.lit("unknown"))
        .otherwise(pl.lit("pass"))
        .alias("verdict"),
        *(word.alias(name) for name, word in zip(ASPECTS, words, strict=True)),
        pl.concat_str(reasons, separator="; ", ignore_nulls=True).replace({"": None}).alias("reason"),
        "encryption",
        "findings",
    ).to_arrow()
    return table.cast(schema()).combine_chunks()


_ABOUT = {"alone": _COPIES, "media": _MEDIA, "peers": ("B12", "V1"), "encrypted": ("B16", "V5")}
"""The checks whose findings fail an aspect of the calls that they are of, or whose frames they name."""

_Step = tuple["pl.Expr", str, str]
"""Where it holds, the word that goes for a call, and why, if that is not to pass."""


def _said(words: Mapping[str, str]) -> dict[str, list[_Step]]:
    """What is said of each aspect of a call: the first step that holds. ``words`` are the verdicts of checks."""
    import polars as pl

    otherwise = pl.lit(value=True)
    no_media = (pl.col("packets") == 0, "unknown", "no media of it were seen")
    encryption = pl.col("encryption")
    touched = {name: pl.col(f"{name}_touched") for name in _ABOUT}
    unlooked = any(words.get(name) == "unknown" for name in ("A1", "A4", "A5"))
    return {
        "path": [
            (pl.col("where") == "pass", "pass", ""),
            (pl.col("where") == "fail", "fail", "media outside of where voice belongs (V2)"),
            (pl.col("where") == "unknown", "unknown", "the tap does not show it"),
            no_media,
            (otherwise, "unknown", "the policy does not say where voice belongs (V2)"),
        ],
        "peers": [
            (touched["peers"], "fail", "see the findings of B12 and V1"),
            (pl.col("agreed").is_null(), "unknown", "the policy does not say who may call whom (V1)"),
            (pl.col("agreed"), "pass", ""),
            (otherwise, "fail", "no agreement between its ends (V1)"),
        ],
        "encrypted": [
            (
                pl.col("bound") & (encryption == "none"),
                "fail",
                "the policy demands that it is encrypted (B16)",
            ),
            (pl.col("encryption_lost"), "fail", "encryption was offered or agreed, and then was not"),
            (touched["encrypted"], "fail", "see the findings of B16 and V5"),
            (encryption.is_null(), "unknown", "no agreement about media was seen"),
            (encryption == "none", "unknown", "it is not encrypted, and nothing says that it has to be"),
            (otherwise, "pass", ""),
        ],
        "media": [
            (touched["media"], "fail", "see the findings of B13 and B14"),
            no_media,
            (pl.col("both"), "pass", ""),
            (otherwise, "unknown", "one end of its media was not described"),
        ],
        "alone": [
            (touched["alone"], "fail", "copies of it were seen"),
            no_media,
            (pl.col("suspected"), "unknown", "copies were seen that may be of it"),
            (pl.lit(unlooked), "unknown", "copies could not be looked for (A1, A4, A5)"),
            (otherwise, "pass", ""),
        ],
    }


def _first(steps: Sequence[_Step]) -> pl.Expr:
    """Word and reason of the first step that holds."""
    import polars as pl

    said: pl.Expr = pl.lit(None)
    for holds, word, reason in reversed(steps):
        said = pl.when(holds).then(pl.struct(word=pl.lit(word), reason=pl.lit(reason))).otherwise(said)
    return said


def _paths(seen: Observed, streams: pl.DataFrame, options: Any) -> pl.DataFrame:
    """Whether the media of each call were where the policy wants voice: ``pass``, ``fail``, ``unknown``."""
    import polars as pl

    from tapsight.checks.v2 import V2, where

    empty = {"tap": pl.String, "call": pl.UInt64, "where": pl.String}
    if options is None or not options.enabled or V2.missing(options, seen.network) or streams.is_empty():
        return pl.DataFrame(schema=empty)
    place = where(seen, streams, options)
    word = pl.when(place.fits).then(pl.lit(0)).when(place.hidden).then(pl.lit(1)).otherwise(pl.lit(2))
    worst = (
        streams.select("tap", "call", word.alias("where")).group_by("tap", "call").agg(pl.col("where").max())
    )
    return worst.with_columns(
        pl.col("where").replace_strict([0, 1, 2], ["pass", "unknown", "fail"], return_dtype=pl.String)
    )


def _peers(calls: pl.DataFrame, options: Any) -> pl.Series:
    """Whether there is an agreement between the ends of each call; null where the policy says nothing."""
    import polars as pl

    from tapsight.checks.v1 import agreed

    if options is None or not options.enabled or options.pairs is None:
        return pl.Series(values=[None] * len(calls), dtype=pl.Boolean)
    return agreed(calls, options)[0]


def _ids(calls: pl.DataFrame) -> pl.Expr:
    """What a call is known by at all taps: its Call-ID, if it has one."""
    import polars as pl

    from tapsight.checks._dialogs import SIP

    is_sip = pl.col("transport").is_in(list(SIP)) & pl.col("call_id").is_not_null()
    own = pl.format("{} {}", "tap", "call")
    return pl.when(is_sip).then(pl.format("sip {}", "call_id")).otherwise(own)


def _bound(calls: pl.DataFrame, options: Any) -> pl.Series:
    """Whether the policy demands that a call is encrypted."""
    import polars as pl

    from tapsight.checks.b16 import must_be_encrypted

    if options is None or not options.enabled:
        return pl.Series(values=[False] * len(calls), dtype=pl.Boolean)
    return must_be_encrypted(calls, options)


_FLOW = ["src", "src_port", "dst", "dst_port"]
_PATH = ["encap", "outer_src", "outer_dst", "tunnel_id"]


def _copied(
    seen: Observed,
    claims: Sequence[Claim],
    findings: Sequence[Finding],
    known: pl.DataFrame,
    streams: pl.DataFrame,
) -> tuple[set[str], set[str]]:
    """The calls of which copies were seen, and those of which what was copied may be a part.

    What is in a tunnel that can be read is known by its conversations; what left by another next hop, by those that went there; what was
    sent on to other addresses, by the addresses; a second stream, by its source (SSRC). Of the rest the class of traffic is known.
    """
    import polars as pl

    from tapsight.claims import Tunnel

    everyone = set(known["id"])
    copied: set[str] = set()
    suspected: set[str] = set()
    claims = [claim for claim in claims if claim.family in _COPIES]
    sessions = [each for each in findings if (each.check or "") == "A4"]
    if not claims and not sessions:
        return copied, suspected
    media = streams.join(known.select("tap", "call", "id"), on=["tap", "call"], how="inner")
    flows = seen.flows.filter(pl.col("src").is_not_null(), pl.col("dst").is_not_null())
    # Conversations of media of calls while these last, and of the signalling between the same hosts.
    spans = media.group_by(*_FLOW, "id").agg(
        pl.col("first_ts").min().alias("began"), pl.col("last_ts").max().alias("ended")
    )
    of_media = flows.join(spans, on=_FLOW).filter(
        pl.col("first_ts") <= pl.col("ended"), pl.col("last_ts") >= pl.col("began")
    )
    ends = known.select("id", "src", "dst").drop_nulls()
    ends = pl.concat([ends, ends.select("id", src="dst", dst="src")]).unique()
    said = flows.filter(pl.col("traffic") == "voice-signalling")
    of_words = said.select(*_PATH, "tap", "eth_dst", "src", "dst").unique().join(ends, on=["src", "dst"])

    def by(rows: pl.DataFrame, keys: list[str]) -> dict[tuple[Any, ...], set[str]]:
        told: dict[tuple[Any, ...], set[str]] = {}
        for *key, call in rows.select(*keys, "id").unique().iter_rows():
            told.setdefault(tuple(key), set()).add(call)
        return told

    readable = set(flows.filter(pl.col("encap").is_not_null()).select(_PATH).unique().iter_rows())
    tunnels = by(of_media, _PATH), by(of_words, _PATH)
    hops = by(of_media, ["tap", "eth_dst"]), by(of_words, ["tap", "eth_dst"])
    sources = by(media, ["ssrc"])
    addresses: dict[bytes, set[str]] = {}
    for frame in (media, known):
        for name in ("src", "dst"):
            for (address,), called in by(frame.drop_nulls(name), [name]).items():
                addresses.setdefault(address, set()).update(called)

    def of(told: Sequence[Mapping[Any, Collection[str]]], key: Any) -> set[str]:
        return {call for each in told for call in each.get(key, ())}

    for claim in claims:
        tunnel = claim.tunnel
        path = (tunnel.encap, tunnel.src, tunnel.dst, tunnel.id)
        if claim.family != "A6" and claim.traffic and _VOICE.isdisjoint(claim.traffic):
            continue
        if path in readable:
            copied |= of(tunnels[:1], path)
            suspected |= of(tunnels[1:], path)
        elif claim.rewritten_from is not None:
            suspected |= of([addresses], claim.rewritten_from) | of([addresses], claim.rewritten_to)
        elif claim.family == "A5" and claim.collector_mac is not None and tunnel == Tunnel():
            suspected |= of(hops, (claim.copy_tap or claim.tap, claim.collector_mac))
        else:
            suspected |= everyone
    for finding in sessions:
        there = finding.tunnel
        second = seen.media.filter(
            (pl.col("dst") == pl.lit(there.dst, pl.Binary)) & (pl.col("src") == pl.lit(there.src, pl.Binary))
        )
        # A recording session may have sources of its own.
        if finding.identity[0] != "copy" or second.is_empty():
            suspected |= everyone
            continue
        for ssrc in second["ssrc"].unique():
            suspected |= of([sources], (ssrc,))
    return copied, suspected


def _named(findings: Sequence[Finding], calls: pl.DataFrame, streams: pl.DataFrame) -> pl.DataFrame:
    """The calls (``tap``, ``call``) that findings are of, or name a frame of: with the ``id`` of each, and its ``check`` or detector."""
    import polars as pl

    told = [(at, tap, call) for at, finding in enumerate(findings) for tap, call in finding.calls]
    rows = [(at, frame.tap, frame.frame) for at, finding in enumerate(findings) for frame in finding.evidence]
    key = {"at": pl.UInt32, "tap": pl.String}
    named = pl.DataFrame(told, schema={**key, "call": pl.UInt64}, orient="row")
    if rows:
        frames = (
            pl.concat([each.select("tap", "call", "frames") for each in (calls, streams)])
            .explode("frames")
            .drop_nulls()
        )
        wanted = pl.DataFrame(rows, schema={**key, "frames": pl.UInt64}, orient="row")
        hits = wanted.join(frames, on=["tap", "frames"])
        named = pl.concat([named, hits.select(named.columns)])
    checks = [(finding.check or finding.detector or "").partition(".")[0] for finding in findings]
    of = pl.DataFrame(
        {"id": [finding.id for finding in findings], "check": checks},
        schema={"id": pl.String, "check": pl.String},
    ).with_row_index("at")
    return named.join(of, on="at").drop("at")
