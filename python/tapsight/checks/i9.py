"""I9: no copies of protected prefixes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import polars as pl
from pydantic import Field

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity, within
from tapsight._text import plural
from tapsight.checks._base import OFF, Judgement, Observed, Scope
from tapsight.checks._composite import Composite, Part, found_by
from tapsight.checks._tables import ReadOnceError
from tapsight.claims import Frame

if TYPE_CHECKING:
    from tapsight._check import Verdict
    from tapsight.findings import Finding


READABLE = ("A2", "A3", "A6")
"""Detectors of copies that need no original: what is copied is known by what is inside."""

_SESSION = ["outer_src", "outer_dst", "tunnel_id"]


class I9Options(Options):
    """What a policy may say under [checks.I9]."""

    protected: Prefixes | None = None
    """Addresses and prefixes of whose packets there may be no copies."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Below this share of judged packets the verdict is unknown, unless something failed: more than is usual, since one copy is one too many."""


class I9(Composite[I9Options]):
    """Nobody receives copies of what those say whom the network has to protect.

    What it looks for:
        Copies that A1 (in a tunnel), A2 (in one made for mirroring), A3 (in the headers of lawful intercept), A5 (to another next hop, late, readdressed,
        in a loop), A6 (in samples) and A7 (in a tunnel that cannot be read) report, and that hold packets from or to ``protected``: tunnels and samples by
        what is inside of them, others by the frames that prove them.

    Why it matters:
        What the other checks find of anybody's traffic matters most for some: an embassy, a regulator, the network's own management. Of
        these the answer has to be yes or no, and with how much of the traffic seen.

    Example that fails:
        Packets of 203.0.113.7 inside of ERSPAN to 198.51.100.66, with this policy::

            packs = ["carrier-internet"]
            [checks.I9]
            protected = ["203.0.113.0/29"]
            min_coverage = 0.99

    What to do:
        What the findings of the others say: find the mirror session, the policy route, the tunnel or the exporter on the device named.

    When it is unknown:
        While A1 or A5 could judge less than ``min_coverage``: coverage is that of the one that judged least, of all traffic, less the packets of
        tunnels that A7 could not judge. And where one of these found copies of which the frames that were kept, or what can be read inside, do not show whether
        protected packets are among them. For samples, captures are read once more.

    What it cannot see:
        What those cannot, and copies that A4 reports. Sessions listed under I6 are agreed, and so are mediation listed under A3 and collectors under A6.

    Source: the question that the project is for; min_coverage of 0.9 is a proposal.
    """

    id = "I9"
    title = "No copies of protected prefixes"
    severity = "critical"
    pack = "carrier-internet"
    needs = ("protected",)
    options = I9Options
    of = ("A1", "A2", "A3", "A5", "A6", "A7")

    def judge(self, seen: Observed, options: I9Options, severity: Severity) -> Judgement:
        """Judges by the others if there is anything to protect."""
        if seen.flows.filter(_is_protected(seen.flows, options)).is_empty():
            return Judgement(Scope(), nothing="no packets from or to protected prefixes were seen")
        return super().judge(seen, options, severity)

    def part(self, verdict: Verdict, seen: Observed, options: I9Options) -> Part:
        """The findings of which it is known that they are of protected prefixes; those of which that is not known leave doubt."""
        if verdict.verdict != "fail":
            part = super().part(verdict, seen, options)
            # Tunnels that could not be judged are part of what is covered.
            counted = verdict.check == "A7" and verdict.doubt is None and verdict.reason != OFF
            return part._replace(doubt=None) if counted else part
        if verdict.check in READABLE:
            return self._inside(verdict, seen, options)
        flows = seen.flows.filter(_is_protected(seen.flows, options))
        open_ = [each for each in found_by(verdict.check, seen) if _may_hold(each, flows)]
        proven = [each for each in open_ if _holds(each, options)]
        open_ = [each for each in open_ if not _holds(each, options)]
        shown, why = _shown(seen, open_, options)
        doubtful = 0
        for each in open_:
            if not shown.isdisjoint(_telling(each)):
                proven.append(each)
            elif why or len(_telling(each)) < each.packets:
                doubtful += 1
        doubt = None
        if doubtful:
            doubt = why or "the frames that were kept show none, and they are not all"
            doubt = f"{plural(doubtful, 'finding')} may be of protected prefixes: {doubt}"
        return Part(len(proven), "; ".join(filter(None, (doubt, verdict.doubt))) or None)

    def _inside(self, verdict: Verdict, seen: Observed, options: I9Options) -> Part:
        """The findings that hold protected packets, by what is inside of them; those that cannot all be read leave doubt."""
        copies = found_by(verdict.check, seen)
        try:
            told = _sampled(seen, options) if verdict.check == "A6" else _tunnelled(seen, options)
        except ReadOnceError as error:
            return Part(0, f"{plural(len(copies), 'finding')} may be of protected prefixes: {error}")
        whole = verdict.check != "A6" or seen.captures.is_whole
        held = [_holds_inside(each, told, is_whole=whole) for each in copies]
        unread = held.count(None)
        doubt = (
            f"{plural(unread, 'finding')} may be of protected prefixes: not all that is inside can be read"
            if unread
            else None
        )
        return Part(held.count(True), "; ".join(filter(None, (doubt, verdict.doubt))) or None)

    def covered(self, had: Sequence[Verdict]) -> Scope:
        """What A1 and A5 could judge, less the tunnels that A7 could not."""
        tunnels = sum(each.in_scope - each.judged for each in had if each.check == "A7")
        scope = super().covered([each for each in had if each.check in {"A1", "A5"}] or had)
        judged = max(0, scope.judged - tunnels)
        why = f"{plural(tunnels, 'packet')} in tunnels that cannot be read" if tunnels else None
        return Scope(scope.in_scope, judged, why)


def _is_protected(flows: pl.DataFrame, options: I9Options) -> pl.Series:
    prefixes = options.protected or ()
    return inside(flows["src"], prefixes) | inside(flows["dst"], prefixes)


def _tunnelled(seen: Observed, options: I9Options) -> pl.DataFrame:
    """What is in each tunnel: whether any of it is protected (``hit``), and whether all of it can be read (``read``)."""
    flows = seen.flows.with_columns(hit=_is_protected(seen.flows, options)).filter(
        pl.col("encap").is_not_null()
    )
    # Where the packet inside was cut away, the row has the tunnel's own ends.
    is_read = pl.col("src").ne_missing(pl.col("outer_src")) | pl.col("dst").ne_missing(pl.col("outer_dst"))
    read = pl.col("src").is_not_null() & pl.col("dst").is_not_null() & is_read
    return flows.select(*_SESSION, "hit", read=read)


def _sampled(seen: Observed, options: I9Options) -> pl.DataFrame:
    """The same of samples, by exporter and collector.

    Raises:
        ReadOnceError: Captures cannot be read a second time.
    """
    parts = [
        pl.DataFrame(schema={**dict.fromkeys(_SESSION[:2], pl.Binary), "hit": pl.Boolean, "read": pl.Boolean})
    ]
    prefixes = options.protected or ()
    for frame in seen.read("sample", ["src", "dst", "sampled_src", "sampled_dst"]):
        hit = inside(frame["sampled_src"], prefixes) | inside(frame["sampled_dst"], prefixes)
        read = pl.col("sampled_src").is_not_null() & pl.col("sampled_dst").is_not_null()
        parts.append(frame.select(outer_src="src", outer_dst="dst", hit=hit, read=read).unique())
    return pl.concat(parts)


def _holds_inside(copy: Finding, told: pl.DataFrame, *, is_whole: bool) -> bool | None:
    """Whether a copy holds protected packets; none if what is inside is not all known."""
    way = {"outer_src": copy.tunnel.src, "outer_dst": copy.tunnel.dst, "tunnel_id": copy.tunnel.id}
    mine = told.filter(
        *(pl.col(name).eq_missing(pl.lit(of)) for name, of in way.items() if name in told.columns)
    )
    if mine["hit"].any():
        return True
    return False if is_whole and len(mine) and mine["read"].all() else None


def _may_hold(copy: Finding, protected: pl.DataFrame) -> bool:
    """Whether any of the flows of protected prefixes took the way of a copy."""
    way: dict[str, str | bytes | int | None]
    if copy.family == "A1":
        # Its stack may differ from packet to packet, as IPv4 and IPv6 in IP do.
        way = {"outer_src": copy.tunnel.src, "outer_dst": copy.tunnel.dst, "tunnel_id": copy.tunnel.id}
        protected = protected.filter(pl.col("encap").is_not_null())
    elif copy.detector in {"A5.forked", "A5.late"}:
        way = {"eth_dst": copy.collector_mac}
        protected = protected.filter(pl.col("tap").is_in(sorted(copy.seen_at)))
    else:
        return True
    return not protected.filter(*(pl.col(name).eq_missing(pl.lit(of)) for name, of in way.items())).is_empty()


def _holds(copy: Finding, options: I9Options) -> bool:
    """Whether it takes no frames to know that a copy which may hold protected packets does: by what is in its tunnel, or by its addresses."""
    rewritten = copy.addresses if copy.detector == "A5.readdressed" else ()
    return copy.family == "A1" or any(within(each, options.protected or ()) for each in rewritten)


def _telling(copy: Finding) -> frozenset[Frame]:
    """The frames of its evidence that tell whose packets were copied: of tunnels that cannot be read, the originals."""
    is_original = copy.family == "A7"
    return frozenset(frame for frame in copy.evidence if (frame.role == "original") == is_original)


def _shown(
    seen: Observed, copies: Iterable[Finding], options: I9Options
) -> tuple[frozenset[Frame], str | None]:
    """Which frames of the evidence are from or to protected prefixes; or why that could not be looked up."""
    frames = frozenset(frame for copy in copies for frame in _telling(copy))
    if not frames:
        return frozenset(), None
    if not seen.captures.is_whole:
        return frozenset(), "the captures of earlier runs cannot be read again"
    numbers = sorted({frame.frame for frame in frames})
    hits: set[tuple[str, int]] = set()
    try:
        for batch in seen.captures.batches("packets", ["tap", "frame", "src", "dst"]):
            rows = pl.DataFrame(batch).filter(pl.col("frame").is_in(numbers))
            hits.update(rows.filter(_is_protected(rows, options)).select("tap", "frame").iter_rows())
    except ReadOnceError as error:
        return frozenset(), str(error)
    return frozenset(frame for frame in frames if (frame.tap, frame.frame) in hits), None
