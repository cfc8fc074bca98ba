"""V5: media are encrypted where calls or agreements say so."""

from __future__ import annotations

from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity
from tapsight._text import listing, plural, span_text
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

SAMPLED = (0, 8)
"""Payload types with a byte for each sample, so that timestamps tell how long a packet is: PCMU and PCMA (RFC 3551, section 4.5.14)."""

TAGS = (4, 10, 16)
"""Bytes behind the sound of a packet of SRTP: HMAC-SHA1-32 and -80 (RFC 3711, RFC 4568 section 6.2), AES-GCM (RFC 7714, section 13)."""


class V5Options(Options):
    """What a policy may say under [checks.V5]."""

    encrypted: Prefixes | None = None
    """Those whose media have to be encrypted, whatever their calls agree on: what signals, or what media come from and go to."""


class V5(Check[V5Options]):
    """Media are encrypted if their call has agreed on it, and always with those who have it in their contract.

    What it looks for:
        RTP in the clear in calls that agreed on keys (SDES, DTLS-SRTP, ZRTP), or had agreed on them before; and in calls of which an end is in
        ``encrypted`` and that agreed on none. The headers of RTP and SRTP are alike, so what was agreed counts, and, of PCMU and PCMA, the
        length of packets: sound has a byte for each step of the timestamp, and SRTP puts a tag of 4, 10 or 16 bytes behind it. A stream of which
        each packet has its sound and no tag is in the clear, whatever its call says.

    Why it matters:
        Who can capture media in the clear can hear the call.

    Example that fails:
        A call between 198.51.100.10 and 203.0.113.11 that agrees on RTP/AVP, with this policy::

            [checks.V5]
            encrypted = ["203.0.113.11"]

        Without ``encrypted``, the calls themselves say which media have to be.

    What to do:
        Look at the call (``tapsight calls --ladder``): who offered no keys, or answered without? If keys were agreed and packets have no
        tags, the device that sends them does not do what it signals.

    What it cannot see:
        Whether media of other codecs are really encrypted: there, the word of the call is taken. Media of ``encrypted`` of which no agreement was
        seen, as where signalling is encrypted too, are judged by their length only, and not at all if that does not tell. Calls that agree
        on no encryption are nobody's concern here unless ``encrypted`` has an end of them. Copies in mirror sessions listed under I6 are left out.
        That keys are any good is not judged.

    Source: catalogue of policy checks, V5 (contract); RFC 3711; RFC 4568; RFC 5763; RFC 3551. That lengths of packets tell follows from these and stands in
    none of them. Measured: of 16 streams of PCMU or PCMA alone in captures of other projects, lengths tell 13 to be in the clear and one, which is SRTP,
    to have tags; of two they do not tell.
    """

    id = "V5"
    title = "Media are encrypted where calls or agreements say so"
    severity = "high"
    options = V5Options
    hears = True
    pack = "carrier-voice"

    def judge(self, seen: Observed, options: V5Options, severity: Severity) -> Judgement:
        """Judges each stream by what its call agreed on, and by the length of its packets."""
        media = outside_of(seen.media, seen.authorised)
        media = media.filter(~inside(media["dst"], GROUPS)).join(
            _agreements(seen, options), on=CALL, how="left", maintain_order="left"
        )
        bound = inside(media["src"], options.encrypted or ()) | inside(media["dst"], options.encrypted or ())
        media = media.with_columns(
            bound=bound | media["bound"].fill_null(value=False),
            agreed=pl.col("encryption") != "none",
            had=pl.col("had").fill_null(value=False),
            size=packet_sizes(),
        )
        said = pl.col("agreed").fill_null(value=False)
        media = media.filter(said | pl.col("had") | pl.col("bound"))
        bare = (pl.col("encryption") == "none") & (pl.col("had") | pl.col("bound"))
        why = (
            pl.when(pl.col("size") == "tagged")
            .then(pl.lit(""))
            .when((pl.col("size") == "plain") & said)
            .then(pl.lit("packets have no tags of SRTP, though their call agreed on keys"))
            .when(bare & pl.col("had"))
            .then(pl.lit("their call had agreed on keys, and then went on without"))
            .when(bare)
            .then(pl.lit("the policy says that they have to be encrypted"))
            .when(pl.col("size") == "plain")
            .then(pl.lit("the policy says that they have to be encrypted, and packets have no tags of SRTP"))
            .when(said)
            .then(pl.lit(""))
        )
        media = media.with_columns(why=why, app=pl.lit("rtp")).with_columns(
            *ordered_ends("src", "dst"),
            flow_id=pl.struct("src", "src_port", "dst", "dst_port", "ssrc").hash(),
        )
        judged = media.filter(pl.col("why").is_not_null())
        reason = (
            "no agreement was seen, and lengths of packets do not tell" if len(judged) < len(media) else None
        )
        scope = Scope(packets(media), packets(judged), reason)
        violations = judged.filter(pl.col("why") != "")
        calls = _calls(violations)
        findings = tuple(
            self.finding(
                {**row, "calls": calls.get(tuple(row[name] for name in _FINDING), frozenset())},
                scope,
                severity,
                identity=tuple(row[name] for name in _FINDING),
                sentence=(
                    f"{plural(row['packets'], 'packet')} of media in {plural(row['flows'], 'stream')} between {end(row['end_a'])} and "
                    f"{end(row['end_b'])} were in the clear, {span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}): "
                    f"{row['why']}."
                ),
            )
            for row in group(violations, _FINDING)
        )
        return Judgement(
            scope,
            findings,
            nothing="no media were seen that have to be encrypted",
            doubt=seen.heard.doubt,
        )


def _agreements(seen: Observed, options: V5Options) -> pl.DataFrame:
    """What each call agreed on: ``encryption``; ``had``, whether both sides had keys once; ``bound``, whether the policy names an end."""
    calls = seen.calls
    keyed = seen.call_media.filter(pl.col("is_agreed"), pl.col("encryption") != "none")
    had = keyed.group_by(CALL).agg(had=pl.col("side").n_unique() == 2)
    named = inside(calls["src"], options.encrypted or ()) | inside(calls["dst"], options.encrypted or ())
    found = calls.select(*CALL, "encryption").with_columns(bound=named)
    return found.join(had, on=CALL, how="left", maintain_order="left")


def packet_sizes() -> pl.Expr:
    """What packets hold beside a byte for each sample: ``plain``, nothing; ``tagged``, a tag of SRTP; null where that cannot be told."""
    types = pl.col("payload_types")
    alone = (types.list.len() == 1) & types.list.first().is_in(list(SAMPLED))
    steps = pl.col("timestamp_step").cast(pl.Int64) * pl.col("packets").cast(pl.Int64)
    more = pl.col("payload_bytes").cast(pl.Int64) - steps
    tags = [more == tag * pl.col("packets").cast(pl.Int64) for tag in TAGS]
    return (
        pl.when(~alone)
        .then(None)
        .when(more == 0)
        .then(pl.lit("plain"))
        .when(pl.any_horizontal(tags))
        .then(pl.lit("tagged"))
    )


def _calls(violations: pl.DataFrame) -> dict[tuple[Any, ...], frozenset[tuple[str, int]]]:
    """The calls of each finding, by what makes it one."""
    told = violations.filter(pl.col("call").is_not_null())
    grouped = told.group_by(_FINDING).agg(calls=pl.struct(CALL).unique())
    return {
        tuple(key): frozenset((each["tap"], each["call"]) for each in calls)
        for *key, calls in grouped.select(*_FINDING, "calls").iter_rows()
    }


_FINDING = ["end_a", "end_b", "why"]
"""Columns of which equal ones make one finding."""
