"""B14: media flow between the endpoints that calls describe."""

from __future__ import annotations

from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Severity
from tapsight._text import address_text, listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope
from tapsight.checks._media import SECOND, endpoint, legs, shown
from tapsight.checks._special import LOCAL
from tapsight.claims import Frame, Tunnel
from tapsight.findings import Finding

LEARNED = 5
"""Packets from which a relay may learn where its peer is."""
EARLY = 2 * SECOND
"""How long behind an answer what was sent before may go on."""
PORTS = 20
"""Ports of one host that one sender must try for a spray."""
FEW = 20
"""Packets for each of them, at most."""
TRACEROUTE = (33434, 33534)
"""Ports that traceroute counts through."""


class B14(Check[Options]):
    """Media come from and go to where calls say.

    What it looks for:
        Of each RTP stream of a call, more than 5 packets: from a source that its call does not describe (``source``); to an endpoint
        that it does not describe, from the beginning or from some time on (``destination``); to a described endpoint from another source with
        another SSRC while or after the right one sends (``takeover``). And one sender that tries 20 or more ports of a host of media, with 20
        packets or fewer for each, of which calls describe at most a tenth for it (``spray``, as RTPBleed does).

    Why it matters:
        Relays send media to where media come from. Who sends first, or last, receives the call. And media that go elsewhere than agreed
        were redirected on their way.

    Severity:
        High for ``takeover`` and for a destination that changed; medium for the others.

    What to do:
        Look at the call (``tapsight calls --ladder``) for what it describes. If a relay was taken over, have it check sources, or use SRTP.

    What it cannot see:
        Addresses are compared, not ports: media often come from another port. Others are taken for honest: sources of the call's own
        signalling, or that another call on the tap describes; all, where the described ones are private and these are not (the peer is
        behind a translation of addresses); where the peer has candidates (ICE, RFC 8445); the same SSRC that goes on from another
        address (it moved); early media, until 2 s behind the answer. A second destination beside the described one is A4's matter.
        Calls that began before the capture, or of which the other side's description was not seen, are not judged, and neither are media of which
        nobody saw the call: they count as what could not be. A spray at ports 33434 to
        33534 is taken for a traceroute.

    Source: catalogue of detectors, B14; RFC 3264; RFC 3550, section 8.2; RTPBleed (S. Gauci and K. Orlov, 2017); ATT&CK T1557
    (Adversary-in-the-Middle).
    """

    id = "B14"
    title = "Media flow between the endpoints that calls describe"
    severity = "high"
    options = Options
    hears = True
    asks = ("diverted",)

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges the streams of calls, and who tries ports."""
        every = legs(seen.media)
        found = every.filter(pl.col("call").is_not_null(), pl.col("announced").is_not_null())
        # Media of which nobody saw the call: where they should go is not known.
        alone = every.filter(pl.col("call").is_null() & (pl.col("packets") > LEARNED))
        calls = seen.calls.select("tap", "call", "began_before", "answered", "addresses")
        found = found.join(calls, on=["tap", "call"], how="left", maintain_order="left")
        described = seen.call_media.filter(pl.col("addr").is_not_null(), pl.col("port") > 0)
        private = inside(described["addr"], LOCAL)
        described = described.with_columns(private=private)
        sides = described.group_by("tap", "call", "side").agg(
            pl.col("addr").unique().alias("addrs"),
            pl.col("private").all(),
            pl.col("is_candidate").any().alias("candidates"),
        )
        # Whose end it is that the call has not described.
        swapped = pl.col("side").replace({"caller": "callee", "callee": "caller"})
        strange = pl.col("announced") == "destination"
        found = found.with_columns(
            far_side=pl.when(strange).then(swapped).otherwise("side"),
            far=pl.when(strange).then("src").otherwise("dst"),
        ).join(
            sides.rename({"side": "far_side"}),
            on=["tap", "call", "far_side"],
            how="left",
            maintain_order="left",
        )
        both = pl.col("announced") == "both"
        early = (pl.col("last_ts") <= pl.col("answered") + EARLY).fill_null(value=True)
        can = both | (
            ~pl.col("began_before").fill_null(value=True)
            & pl.col("addrs").is_not_null()
            & ~early
            & (pl.col("packets") > LEARNED)
        )
        judged = found.filter(can)
        odd = judged.filter(~both)
        whole = int(found["packets"].sum()) + int(alone["packets"].sum())
        sprays = _sprays(seen)
        tried = sum(row["packets"] for row in sprays)
        scope = Scope(
            whole + tried,
            int(judged["packets"].sum()) + tried,
            _UNJUDGED if len(judged) < len(found) + len(alone) else None,
        )
        known = (
            seen.call_media.filter(pl.col("addr").is_not_null())
            .select("tap", pl.col("addr").alias("far"))
            .unique()
        )
        odd = odd.join(known, on=["tap", "far"], how="anti", maintain_order="left")
        odd = odd.filter(~pl.col("candidates"), ~(pl.col("private") & ~inside(odd["far"], LOCAL)))
        fixed = options.severity is not None
        by: dict[tuple[str, bytes, bytes], list[dict[str, Any]]] = {}
        for row in odd.to_dicts():
            if address_text(row["far"]) in (row["addresses"] or ()):
                continue
            name = (
                _of_source(row, found) if row["announced"] == "destination" else _of_destination(row, found)
            )
            if name is not None:
                near = row["dst"] if row["announced"] == "destination" else row["src"]
                by.setdefault((name, row["far"], near), []).append(row)
        findings = [
            self._finding(key, rows, scope, severity if fixed or key[0] in _WORST else "medium")
            for key, rows in by.items()
        ]
        findings += [self._spray(row, scope, severity if fixed else "medium") for row in sprays]
        return Judgement(
            scope,
            tuple(findings),
            nothing="no media were seen",
            doubt=seen.heard.doubt,
        )

    def _finding(
        self, key: tuple[str, bytes, bytes], rows: list[dict[str, Any]], scope: Scope, severity: Severity
    ) -> Finding:
        name, far, near = key
        taps = sorted({row["tap"] for row in rows})
        packets = max(sum(row["packets"] for row in rows if row["tap"] == tap) for tap in taps)
        calls = max(len({row["call"] for row in rows if row["tap"] == tap}) for tap in taps)
        first, last = min(row["first_ts"] for row in rows), max(row["last_ts"] for row in rows)
        row = rows[0]
        said = listing(sorted(address_text(addr) for addr in row["addrs"]))
        what = {
            "source": f"from {address_text(far)} to {endpoint(near, row['dst_port'])}, but its peer described {said}",
            "takeover": (
                f"from {address_text(far)} to {endpoint(near, row['dst_port'])}, with another SSRC than those of the described peer "
                f"({said}), which sent before"
            ),
            "destination": (
                f"from {address_text(near)} to {endpoint(far, row['dst_port'])}, but the receiver described {said}"
            ),
            "moved": (
                f"from {address_text(near)} to {endpoint(far, row['dst_port'])} and no longer to {said}, though nothing new was described"
            ),
        }[name]
        return Finding(
            detector=None,
            check=f"{self.id}.{_CLASS.get(name, name)}",
            kind="injection" if name in {"source", "takeover"} else "diversion",
            severity=severity,
            identity=(name, far, near),
            packets=packets,
            in_scope=scope.in_scope,
            judged=scope.judged,
            first_ts=first,
            last_ts=last,
            flows=len(rows),
            evidence=shown(rows),
            sentence=(
                f"{plural(packets, 'packet')} of media of {plural(calls, 'call')} went {what}, "
                f"{span_text(first, last)} (on {listing(taps)})."
            ),
            tunnel=Tunnel(src=row["src"], dst=row["dst"]),
            calls=frozenset((row["tap"], row["call"]) for row in rows),
            taps=frozenset(taps),
        )

    def _spray(self, row: dict[str, Any], scope: Scope, severity: Severity) -> Finding:
        frames = sorted({(row["tap"], number) for list_ in row["frames"] for number in list_ or ()})
        return Finding(
            detector=None,
            check=f"{self.id}.spray",
            kind="injection",
            severity=severity,
            identity=("spray", row["src"], row["dst"]),
            packets=row["packets"],
            in_scope=scope.in_scope,
            judged=scope.judged,
            first_ts=row["first_ts"],
            last_ts=row["last_ts"],
            flows=row["ports"],
            evidence=tuple(Frame(tap, number, "offending") for tap, number in frames[:32]),
            sentence=(
                f"{address_text(row['src'])} tried {plural(row['ports'], 'port')} of {address_text(row['dst'])}, which media go to, with "
                f"{plural(row['packets'], 'packet')}, {span_text(row['first_ts'], row['last_ts'])} (on {row['tap']}); calls describe "
                f"{row['described'] or 'none'} of these ports for it."
            ),
            tunnel=Tunnel(src=row["src"], dst=row["dst"]),
        )


_UNJUDGED = (
    "media that no call describes, calls that began before the capture or were not answered, other ends that no description was seen "
    "of, and early media"
)
_WORST = {"takeover", "moved"}
_CLASS = {"moved": "destination"}


def _of_source(row: dict[str, Any], found: pl.DataFrame) -> str | None:
    """What a stream from an undescribed source is; none if it is the described one, which moved."""
    others = found.filter(
        pl.col("tap") == row["tap"],
        pl.col("dst") == row["dst"],
        pl.col("dst_port") == row["dst_port"],
        pl.col("call") == row["call"],
        pl.col("src") != row["src"],
        pl.col("first_ts") < row["first_ts"],
    )
    if not others.filter(
        pl.col("ssrc") == row["ssrc"], pl.col("last_ts") <= row["first_ts"] + EARLY
    ).is_empty():
        return None
    rightful = others.filter(pl.col("announced") == "both", pl.col("ssrc") != row["ssrc"])
    return "source" if rightful.is_empty() else "takeover"


def _has_moved(row: dict[str, Any], found: pl.DataFrame) -> bool:
    """Whether the peer went on from this destination with the SSRC that it had elsewhere."""
    back = found.filter(
        pl.col("tap") == row["tap"],
        pl.col("src") == row["dst"],
        pl.col("dst") == row["src"],
        pl.col("dst_port") == row["src_port"],
    )
    return any(_of_source(each, found) is None for each in back.to_dicts())


def _of_destination(row: dict[str, Any], found: pl.DataFrame) -> str | None:
    """What a stream to an undescribed destination is; none if the described one receives it as well."""
    same = found.filter(
        pl.col("tap") == row["tap"],
        pl.col("src") == row["src"],
        pl.col("src_port") == row["src_port"],
        pl.col("ssrc") == row["ssrc"],
        pl.col("announced") == "both",
    )
    beside = same.filter(pl.col("first_ts") <= row["last_ts"], pl.col("last_ts") >= row["first_ts"] + SECOND)
    if not beside.is_empty() or _has_moved(row, found):
        return None
    return "destination" if same.filter(pl.col("last_ts") < row["last_ts"]).is_empty() else "moved"


def _sprays(seen: Observed) -> list[dict[str, Any]]:
    """Senders that tried many ports of a host of media."""
    hosts = pl.concat(
        [
            seen.media.select(pl.col("dst")),
            seen.call_media.filter(pl.col("addr").is_not_null()).select(pl.col("addr").alias("dst")),
        ]
    ).unique()
    flows = seen.unlisted.filter(
        pl.col("protocol") == 17,
        pl.col("src_port") >= 1024,
        pl.col("dst_port") >= 1024,
        ~pl.col("dst_port").is_between(*TRACEROUTE),
    ).join(hosts, on="dst", how="semi")
    tries = flows.group_by("tap", "src", "dst", "dst_port", maintain_order=True).agg(
        pl.col("packets").sum(), pl.col("first_ts").min(), pl.col("last_ts").max(), pl.col("frames").first()
    )
    # Ports that calls describe for this sender: those of media on which it is described itself.
    calls = seen.media.filter(pl.col("announced") == "both").select("tap", "src", "dst", "dst_port").unique()
    rtcp = calls.with_columns((pl.col("dst_port") + 1).cast(pl.UInt16))
    agreed = pl.concat([calls, rtcp]).unique().with_columns(agreed=pl.lit(value=True))
    tries = tries.join(
        agreed, on=["tap", "src", "dst", "dst_port"], how="left", maintain_order="left"
    ).with_columns(pl.col("agreed").fill_null(value=False))
    rows = (
        tries.group_by("tap", "src", "dst", maintain_order=True)
        .agg(
            pl.len().alias("ports"),
            pl.col("agreed").sum().alias("described"),
            (pl.col("packets") <= FEW).mean().alias("small"),
            pl.col("packets").filter(pl.col("packets") <= FEW).sum(),
            pl.col("first_ts").min(),
            pl.col("last_ts").max(),
            pl.col("frames").head(8),
        )
        .filter(pl.col("ports") >= PORTS, pl.col("small") >= 0.9, pl.col("described") * 10 <= pl.col("ports"))
    )
    # One sender and host is one finding: that of the tap that shows most.
    return (
        rows.sort("ports", descending=True, maintain_order=True)
        .unique(["src", "dst"], keep="first", maintain_order=True)
        .to_dicts()
    )
