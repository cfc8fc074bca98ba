"""V8: media have agreed codecs and packet times, and no unknown payload types."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
from pydantic import Field

from tapsight._engine import inside
from tapsight._options import Codecs, Options, Severity
from tapsight._text import listing, plural, safe, span_text
from tapsight.checks._base import (
    Check,
    Judgement,
    Observed,
    Scope,
    group,
    ordered_ends,
    outside_of,
    packets,
)
from tapsight.checks._dialogs import CALL
from tapsight.checks._special import GROUPS
from tapsight.checks._talks import end

BESIDE = ("CN", "TELEPHONE-EVENT", "TONE")
"""Encodings of what goes beside speech: comfort noise (RFC 3389), digits and tones (RFC 4733)."""

STATIC = {0: "PCMU", 3: "GSM", 4: "G723", 5: "DVI4", 6: "DVI4", 7: "LPC", 8: "PCMA", 9: "G722", 10: "L16", 11: "L16", 12: "QCELP"} | {
    13: "CN", 14: "MPA", 15: "G728", 16: "DVI4", 17: "DVI4", 18: "G729", 25: "CelB", 26: "JPEG", 28: "nv", 31: "H261", 32: "MPV"
} | {33: "MP2T", 34: "H263"}  # fmt: skip
"""Encodings of payload types that always mean the same: RFC 3551, tables 4 and 5."""

DYNAMIC = 96
"""The payload type from which on only signalling says what they mean (RFC 3551, section 6)."""

NEAR = 0.01
"""By how many milliseconds packet times may differ from those agreed."""


class V8Options(Options):
    """What a policy may say under [checks.V8]."""

    codecs: Codecs | None = None
    """Encodings that media may have, as session descriptions call them: ``PCMA``, ``G729``, ``AMR-WB``."""
    packet_times: list[Annotated[float, Field(gt=0)]] | None = None
    """How many milliseconds of sound a packet may hold."""


class V8(Check[V8Options]):
    """Media are what the contract says that they are.

    What it looks for:
        RTP streams with another encoding than those in ``codecs``, by its payload type, or by what the call says that this means; with another packet time
        than those in ``packet_times``, by the steps of the timestamp; and with payload types that neither a standard nor the call knows. Comfort noise and
        telephone events may always be there.

    Why it matters:
        What is not in the contract was transcoded or negotiated by something that nobody ordered, sounds worse, or is no call at all: RTP is a good
        place to hide other things in.

    Example that fails:
        RTP in G.729, or in packets of 30 ms, with this policy::

            [checks.V8]
            codecs = ["PCMA", "PCMU", "AMR-WB"]
            packet_times = [20]

    What to do:
        Look at what the call offered and answered (``tapsight calls --ladder``), and at which device put the codec there.

    What it cannot see:
        What a dynamic payload type (96 to 127) means in a stream of which nobody saw the call, and how long its packets are: that is not judged.
        Payload types beyond the first eight of a stream. Codecs that pause while nobody speaks may seem to have longer packets. Whether the payload
        really is what its type says.

    Source: catalogue of policy checks, V8 (contract); RFC 3551; RFC 3264, section 5.1; RFC 8866, section 6.4 (ptime).
    """

    id = "V8"
    title = "Media have agreed codecs and packet times"
    severity = "medium"
    needs = ("codecs", "packet_times")
    options = V8Options
    hears = True
    pack = "carrier-voice"

    def judge(self, seen: Observed, options: V8Options, severity: Severity) -> Judgement:
        """Judges each payload type of each stream."""
        media = outside_of(seen.media, seen.authorised)
        rows = _types(media.filter(~inside(media["dst"], GROUPS)), seen)
        codecs = [name.upper() for name in options.codecs or ()]
        name = pl.col("encoding").str.to_uppercase()
        beside = name.is_in(BESIDE)
        codec = (
            pl.when("is_unknown")
            .then(pl.lit(value=False))
            .when(pl.lit(options.codecs is None) & name.is_not_null())
            .then(pl.lit(value=True))
            .otherwise(name.is_in(codecs) | beside)
        )
        near = [(pl.col("packet_time_ms") - time).abs() < NEAR for time in options.packet_times or ()]
        time = pl.any_horizontal(near) if near else pl.lit(value=True)
        is_main = pl.col("type") == pl.col("payload_type")
        rows = rows.with_columns(
            codec=codec, time=pl.when(is_main & ~beside).then(time).otherwise(pl.lit(value=True))
        )
        rows = rows.with_columns(fits=pl.col("codec") & pl.col("time"), app=pl.lit("rtp")).with_columns(
            *ordered_ends("src", "dst"),
            flow_id=pl.struct("src", "src_port", "dst", "dst_port", "ssrc").hash(),
        )
        judged = rows.filter(pl.col("fits").is_not_null())
        whole = packets(rows) + int(rows["others"].sum())
        reason = (
            "calls that would say what payload types mean were not seen" if packets(judged) < whole else None
        )
        scope = Scope(whole, packets(judged), reason)
        what = (
            pl.when("is_unknown")
            .then(pl.lit("unknown"))
            .when(~pl.col("codec"))
            .then(pl.lit("codec"))
            .otherwise(pl.lit("time"))
        )
        # What a dynamic payload type means, each call says for itself.
        named = pl.when(pl.col("what") == "codec").then(name)
        violations = judged.filter(~pl.col("fits")).with_columns(what=what).with_columns(named=named)
        findings = tuple(
            self.finding(
                row,
                scope,
                severity,
                identity=(row["what"], row["end_a"], row["end_b"], row["type"], row["named"]),
                sentence=(
                    f"{plural(row['packets'], 'packet')} of media in {plural(row['flows'], 'stream')} between {end(row['end_a'])} and "
                    f"{end(row['end_b'])} {_why(row)}, {span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])})."
                ),
            )
            for row in group(
                violations, ["what", "end_a", "end_b", "type", "named"], ["encoding", "packet_time_ms"]
            )
        )
        return Judgement(scope, findings, nothing="no media were seen", doubt=seen.heard.doubt)


def _types(media: pl.DataFrame, seen: Observed) -> pl.DataFrame:
    """A row for each payload type (``type``) of each stream: its ``packets``, its ``encoding`` if that is known, and whether its call should know it and does not.

    ``others``: packets of the stream that no row has, in the first of them.
    """
    rows = (
        media.with_row_index("stream")
        .explode("payload_types", "payload_type_packets")
        .rename({"payload_types": "type"})
    )
    is_first = pl.int_range(pl.len()).over("stream") == 0
    rows = rows.with_columns(
        packets=pl.col("payload_type_packets").cast(pl.Int64),
        others=pl.when(is_first).then(pl.col("other_payload_type_packets").cast(pl.Int64)).otherwise(0),
    )
    described = (
        seen.call_media.select(*CALL, "side", "payloads")
        .explode("payloads")
        .drop_nulls("payloads")
        .select(
            *CALL,
            "side",
            type=pl.col("payloads").str.extract(r"^(\d+)").cast(pl.UInt8, strict=False),
            told=pl.col("payloads").str.extract(r"^\d+ ([^/ ]+)"),
        )
        .drop_nulls("type")
    )
    # What a type means, who receives it says (RFC 3264, section 5.1); most take the other side's word for it.
    first = pl.col("told").drop_nulls().first()
    theirs = described.group_by(*CALL, "side", "type").agg(first.alias("theirs"))
    meanings = described.group_by(*CALL, "type").agg(first)
    heard = described.select(CALL).unique().with_columns(heard=pl.lit(value=True))
    rows = rows.join(theirs, on=[*CALL, "side", "type"], how="left", maintain_order="left")
    rows = rows.join(meanings, on=[*CALL, "type"], how="left", maintain_order="left")
    rows = rows.join(heard, on=CALL, how="left", maintain_order="left")
    static = pl.col("type").replace_strict(STATIC, default=None, return_dtype=pl.String)
    rows = rows.with_columns(encoding=pl.coalesce("theirs", "told", static))
    unnamed = pl.col("encoding").is_null()
    # Those that are reserved or not assigned mean nothing, unless a call says so.
    is_unknown = unnamed & (pl.col("heard").fill_null(value=False) | (pl.col("type") < DYNAMIC))
    return rows.with_columns(is_unknown=is_unknown)


def _why(row: dict[str, Any]) -> str:
    if row["what"] == "unknown":
        return f"had payload type {row['type']}, which neither their call nor a standard knows"
    if row["what"] == "codec":
        return f"were {safe(row['encoding'])} (payload type {row['type']}), which the policy does not list"
    return f"held {row['packet_time_ms']:g} ms each, which the policy does not list"
