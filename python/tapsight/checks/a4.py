"""A4: no second stream of the same media."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity
from tapsight._text import address_text, duration, listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope
from tapsight.checks._media import endpoint, legs, same_packets, shown
from tapsight.checks._special import GROUPS
from tapsight.claims import Tunnel
from tapsight.findings import Finding

COMMON = 50
"""Packets that two streams must have in common, about."""


class A4Options(Options):
    """What a policy may say under [checks.A4]."""

    recorders: Prefixes | None = None
    """Who may receive copies of media and recording sessions."""


class A4(Check[A4Options]):
    """Media of calls are streamed to one receiver, and to recorders that the policy lists.

    What it looks for:
        Two RTP streams of one source (SSRC) on one tap that have packets in common (sequence number, timestamp and length) within a second,
        50 or more, and go to different addresses or ports. And recording sessions (SIPREC, RFC 7866) with servers that ``recorders`` does
        not list.

    Why it matters:
        Who receives a second stream of the same packets hears the call.

    Severity:
        High for a copy that no call describes. Medium if no call describes the first stream either. Low if one call describes both, and if sources differ and no router of ``infrastructure`` is one of them: a relay on the way may
        look so. Recording sessions: high, or medium if the policy lists no recorders at all.

    Example that fails:
        ``recorders = ["198.51.100.7"]``, and media that go to 203.0.113.66 as well.

    What to do:
        Ask who owns the receiver, and who configured the sender: relays, border controllers and routers can all send twice.

    What it cannot see:
        Copies with another SSRC or other numbers; those of fewer than about 50 packets (16 are sampled of each stream, so that this is give or
        take a quarter); copies on another tap than the first stream; copies to the same address and port (A5) or in a tunnel (A1, A2).
        What goes on from where a stream was sent to is taken for its relay. A stream that is seen once before and once behind a translation of
        addresses, with a lower TTL, is no copy. Groups of receivers (multicast) are left out. Of packets with the same numbers at the same
        time, contents are not compared: senders that all begin with the same numbers and SSRC, as test tools do, look like copies, unless each
        has a call of its own: so a copy that is a call of its own, and no recording session, is not told from one.

    Source: catalogue of detectors, A4; RFC 3550, section 8 (SSRC are random: others than copies rarely share one); RFC 7866; ATT&CK T1020.001
    (Traffic Duplication), T1123 (Audio Capture).
    """

    id = "A4"
    title = "No second stream of the same media but to listed recorders"
    severity = "high"
    options = A4Options
    hears = True
    asks = ("copied",)

    def judge(self, seen: Observed, options: A4Options, severity: Severity) -> Judgement:
        """Judges pairs of streams, and recording sessions."""
        found = legs(seen.media)
        recorders = options.recorders or ()
        sessions = seen.calls.filter(pl.col("is_siprec").fill_null(value=False))
        messages = int(sessions["messages"].sum())
        long = found.filter(pl.col("packets") >= COMMON, ~inside(found["dst"], GROUPS))
        scope = Scope(
            int(found["packets"].sum()) + messages,
            int(long["packets"].sum()) + messages,
            _UNJUDGED if len(long) < len(found) else None,
        )
        findings = [
            *self._copies(seen, long, recorders, scope, severity, fixed=options.severity is not None),
            *self._sessions(seen, sessions, found, options, scope, severity),
        ]
        return Judgement(
            scope,
            tuple(findings),
            nothing="no media were seen",
            doubt=seen.heard.doubt,
        )

    def _copies(
        self,
        seen: Observed,
        long: pl.DataFrame,
        recorders: tuple[str, ...],
        scope: Scope,
        severity: Severity,
        *,
        fixed: bool,
    ) -> list[Finding]:
        pairs = same_packets(seen.media, long).filter(pl.col("common") >= COMMON)
        if pairs.is_empty():
            return []
        routers = inside(long["src"], seen.network.infrastructure)
        # How often a stream was forwarded, wherever that was seen.
        everywhere = [name for name in ("ssrc", "src", "src_port", "dst", "dst_port")]
        long = long.with_columns(
            router=routers,
            recorder=inside(long["dst"], recorders),
            described=pl.col("announced").is_in(["both", "destination"]).fill_null(value=False),
            least=pl.col("low_ttl").min().over(everywhere),
            most=pl.col("high_ttl").max().over(everywhere),
        )
        rows = {row["leg"]: row for row in long.to_dicts()}
        copies: dict[tuple[bytes, bytes], dict[str, Any]] = {}
        for pair in pairs.to_dicts():
            first, other = rows[pair["leg"]], rows[pair["other"]]
            level = _level(first, other)
            if level is None:
                continue
            # The copy is what no call describes; of two alike, what comes later.
            copy, original = (
                (first, other) if other["described"] and not first["described"] else (other, first)
            )
            if copy["recorder"]:
                continue
            if original["recorder"]:
                # A copy that is allowed was compared; what it is of is judged by itself.
                continue
            told = copies.setdefault(
                (copy["src"], copy["dst"]),
                {"level": level, "copies": {}, "originals": {}, "lag": pair["lag"]},
            )
            told["level"] = max(told["level"], level, key=_ORDER.index)
            told["copies"][copy["leg"]] = copy
            told["originals"][original["leg"]] = original
        return [
            self._finding(key, told, scope, severity if told["level"] == "high" or fixed else told["level"])
            for key, told in copies.items()
        ]

    def _finding(
        self, key: tuple[bytes, bytes], told: dict[str, Any], scope: Scope, severity: Severity
    ) -> Finding:
        src, dst = key
        copies, originals = list(told["copies"].values()), list(told["originals"].values())
        by_tap: dict[str, int] = defaultdict(int)
        for copy in copies:
            by_tap[copy["tap"]] += copy["packets"]
        packets = max(by_tap.values())
        example, original = copies[0], originals[0]
        first, last = min(copy["first_ts"] for copy in copies), max(copy["last_ts"] for copy in copies)
        streams = len({tuple(copy[name] for name in ("ssrc", "src_port", "dst_port")) for copy in copies})
        sentence = (
            f"{plural(streams, 'media stream')} that {address_text(original['src'])} sends to "
            f"{endpoint(original['dst'], original['dst_port'])} "
            f"{'go' if streams > 1 else 'goes'} to {endpoint(dst, example['dst_port'])} as well, "
            f"{'from there' if src == original['src'] else 'from ' + address_text(src)}, "
            f"within {duration(told['lag'])}: {plural(packets, 'packet')}, {span_text(first, last)} "
            f"(on {listing(sorted(by_tap))}). {_WHY[told['level']]}"
        )
        return Finding(
            detector=None,
            check=self.id,
            kind="copy",
            severity=severity,
            identity=("copy", src, dst),
            packets=packets,
            in_scope=scope.in_scope,
            judged=scope.judged,
            first_ts=first,
            last_ts=last,
            flows=streams,
            evidence=shown([*originals[:4], *copies]),
            sentence=sentence,
            tunnel=Tunnel(src=src, dst=dst),
            calls=frozenset((leg["tap"], leg["call"]) for leg in originals if leg["call"] is not None),
            taps=frozenset(leg["tap"] for leg in [*originals, *copies]),
        )

    def _sessions(
        self,
        seen: Observed,
        sessions: pl.DataFrame,
        found: pl.DataFrame,
        options: A4Options,
        scope: Scope,
        severity: Severity,
    ) -> list[Finding]:
        listed = options.recorders
        if listed is None and options.severity is None:
            severity = "medium"
        kept = sessions.filter(~inside(sessions["dst"], listed or ()), ~inside(sessions["src"], listed or ()))
        labels = seen.call_media.group_by("tap", "call").agg(pl.col("label").drop_nulls().unique().sort())
        media = found.group_by("tap", "call").agg(pl.col("packets").sum().alias("media"))
        kept = kept.join(labels, on=["tap", "call"], how="left").join(media, on=["tap", "call"], how="left")
        by_server: dict[bytes | None, list[dict[str, Any]]] = defaultdict(list)
        for row in kept.to_dicts():
            by_server[row["dst"]].append(row)
        findings = []
        for server, rows in by_server.items():
            taps = sorted({row["tap"] for row in rows})
            packets = sum(row["messages"] + (row["media"] or 0) for row in rows if row["tap"] == taps[0])
            count = sum(row["tap"] == taps[0] for row in rows)
            named = sorted({label for row in rows for label in row["label"] or ()})
            times = [row["began"] or row["last"] for row in rows]
            last = max(row["last"] for row in rows)
            to = address_text(server) if server is not None else "an unknown server"
            streams = f", of media labelled {listing(named)}" if named else ""
            policy = (
                "and the policy lists no recorders" if listed is None else "which the policy does not list"
            )
            findings.append(
                Finding(
                    detector=None,
                    check=self.id,
                    kind="copy",
                    severity=severity,
                    identity=("siprec", server),
                    packets=packets,
                    in_scope=scope.in_scope,
                    judged=scope.judged,
                    first_ts=min(times),
                    last_ts=last,
                    flows=count,
                    evidence=shown(rows),
                    sentence=(
                        f"{plural(count, 'recording session')} (SIPREC{streams}) with {to}, {policy}, "
                        f"{span_text(min(times), last)} (on {listing(taps)})."
                    ),
                    tunnel=Tunnel(src=rows[0]["src"], dst=server),
                    taps=frozenset(taps),
                )
            )
        return findings


_UNJUDGED = f"streams of fewer than {COMMON} packets, and those to groups of receivers"
_ORDER: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")

_WHY = {
    "high": "No call describes that receiver.",
    "medium": "No call describes either receiver.",
    "low": "A conference or a relay may do this.",
}


def _level(first: dict[str, Any], other: dict[str, Any]) -> Severity | None:
    """How much two legs with the same packets, of which ``other`` came later, matter; none if that is explained."""
    if first["dst"] == other["src"] or other["dst"] == first["src"]:
        return None
    is_one_way = first["least"] == first["most"] is not None
    translated = is_one_way and other["most"] is not None and other["most"] < first["least"]
    if translated:
        # Seen once before and once behind a router that translates addresses.
        return None
    if first["src"] != other["src"] and not (first["router"] or other["router"]):
        # Two sides of something that relays media: where calls are known, one side of a copy is not described by any.
        return "low" if (first["call"] is None) != (other["call"] is None) else None
    if first["described"] and other["described"]:
        # Two calls, each described: senders that begin alike, as test tools do, or a conference.
        return "low" if first["call"] == other["call"] else None
    return "high" if first["described"] or other["described"] else "medium"
