"""I2: prefixes leave by the next hops that were agreed."""

from __future__ import annotations

import ipaddress
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from tapsight._engine import inside
from tapsight._options import Macs, Options, Prefixes, Severity, Taps, Vlans
from tapsight._text import listing, party, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, packets
from tapsight.checks._special import NOT_ROUTED
from tapsight.checks._talks import end, to_many


class Way(BaseModel):
    """A way out for a prefix."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prefixes: Prefixes
    """Where packets go to."""
    macs: Macs | None = None
    """MAC addresses of the next hops; any if not given."""
    vlans: Vlans | None = None
    """VLANs, outer or inner, of the links; any if not given."""
    sources: Prefixes | None = None
    """Where packets come from; anywhere if not given."""
    taps: Taps | None = None
    """Taps on the links by which they leave; all if not given."""


class I2Options(Options):
    """What a policy may say under [checks.I2]."""

    allow: list[Way] | None = None
    """The ways out."""
    own_macs: Macs | None = None
    """MAC addresses of one's own routers on these links: what is sent to these comes in."""


class I2(Check[I2Options]):
    """What is sent to a prefix leaves by the peers that were agreed for it.

    What it looks for:
        Packets to an address in ``prefixes`` of an entry of ``allow`` (and from ``sources``, on ``taps``, where it has these) whose next hop, the
        destination MAC address, is not in its ``macs``, or whose VLAN is not in its ``vlans``. As in routing, the longest prefix decides: an entry
        for 0.0.0.0/0 does not allow what another one has for a part of it. Of several entries for the same prefix, one suffices. What came in is left out:
        frames from one of the ``macs`` of an entry, and frames to ``own_macs``, the network's own routers. So is what stays on its link (link-local
        addresses), or is for many.

    Why it matters:
        Traffic that takes another next hop goes through another network. A wrong route, a forged announcement or a static route of an
        intruder does that, and the traffic still arrives.

    Example that fails:
        A packet to 203.0.113.7 with the destination MAC address 00:1b:54:00:00:99, with this policy::

            [checks.I2]
            allow = [
                { prefixes = ["203.0.113.0/24"], macs = ["00:1b:54:00:00:01"], vlans = [300], taps = ["border"] },
                { prefixes = ["0.0.0.0/0"], macs = ["00:1b:54:00:00:02"], taps = ["border"] },
            ]
            own_macs = ["00:1b:54:00:00:03"]

    What to do:
        Look up the prefix in the routing table of the router that the frames come from, and who announced it since when.

    What it cannot see:
        What a next hop does with the packets. Packets to the prefix that are still inside: without ``taps``, each tap that sees them counts as a place by which they
        leave. What comes in where neither ``macs`` nor ``own_macs`` says so: it counts as leaving. Taps without MAC addresses, or that show no VLAN tags,
        cannot tell where an entry asks for these: those packets are in scope but not judged.
        In tunnels that can be read, the addresses are those inside, and the next hop is that of the tunnel. Copies in mirror sessions listed under I6
        are left out.

    Source: catalogue of policy checks, I2 (MANRS, change plan); that next hops are told by their MAC addresses is general knowledge. RFC 4632, section 5.1
    (longest match).
    """

    id = "I2"
    title = "Prefixes leave by agreed next hops"
    severity = "high"
    needs = ("allow",)
    options = I2Options
    pack = "carrier-internet"

    def judge(self, seen: Observed, options: I2Options, severity: Severity) -> Judgement:
        """Judges each flow by the entries that have the longest prefix for its destination."""
        flows = seen.unlisted.filter(pl.col("dst").is_not_null())
        ours = pl.col("eth_dst").is_in(pl.Series(options.own_macs or (), dtype=pl.Binary).implode())
        flows = flows.filter(~inside(flows["dst"], NOT_ROUTED), ~to_many(), ~ours.fill_null(value=False))
        ways = options.allow or []
        if not ways or flows.is_empty():
            return Judgement(Scope(), nothing="nothing was sent to these prefixes")
        lengths = pl.DataFrame([_length(flows, way).alias(str(at)) for at, way in enumerate(ways)])
        longest = lengths.max_horizontal()
        shows_vlans = flows["tap"].is_in(
            seen.flows.filter(pl.col("vlan").is_not_null())["tap"].unique().to_list()
        )
        # What a next hop sends did not leave by another: it came in.
        came = pl.any_horizontal(_came(way, shows_vlans).fill_null(value=True) for way in ways)
        hits: list[pl.Expr] = []
        for at, way in enumerate(ways):
            applies = lengths[str(at)] == longest
            flows = flows.with_columns(
                pl.when(applies.fill_null(value=False)).then(_fits(way, shows_vlans)).alias(f"fits{at}"),
                applies.fill_null(value=False).alias(f"has{at}"),
            )
            hits.append(pl.col(f"has{at}") & pl.col(f"fits{at}"))
        # What no entry that applies allows, though one cannot tell, is not known.
        flows = flows.with_columns(longest=longest, fits=pl.any_horizontal(hits), came=came)
        flows = flows.filter(pl.col("longest").is_not_null(), ~pl.col("came"))
        judged = flows.filter(pl.col("fits").is_not_null())
        reason = "the tap shows no MAC addresses, or no VLAN tags" if len(judged) < len(flows) else None
        scope = Scope(packets(flows), packets(judged), reason)
        violations = judged.filter(~pl.col("fits"))
        findings = tuple(
            self.finding(
                row,
                scope,
                severity,
                identity=(row["tap"], row["eth_dst"], row["vlan"]),
                sentence=(
                    f"{plural(row['packets'], 'packet')} in {plural(row['flows'], 'conversation')}, such as from {end(row['src'])} to "
                    f"{end(row['dst'])}, left by {_hop(row)}, {span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}); "
                    f"the policy lists other ways for them."
                ),
            )
            for row in group(violations, ["tap", "eth_dst", "vlan"])
        )
        return Judgement(scope, findings, nothing="nothing was sent to these prefixes")


def _length(flows: pl.DataFrame, way: Way) -> pl.Series:
    """How long the longest prefix of an entry is that has the destination; null if none has, or the entry is not about the flow."""
    found = pl.Series(values=[None] * len(flows), dtype=pl.Int64)
    about = pl.Series(values=[True] * len(flows), dtype=pl.Boolean)
    if way.sources is not None:
        about &= inside(flows["src"], way.sources)
    if way.taps is not None:
        about &= flows["tap"].is_in(list(way.taps))
    networks = sorted(
        (ipaddress.ip_network(prefix) for prefix in way.prefixes), key=lambda each: each.prefixlen
    )
    for length in sorted({each.prefixlen for each in networks}):
        prefixes = [str(each) for each in networks if each.prefixlen == length]
        hit = inside(flows["dst"], prefixes) & about
        found = found.zip_with(~hit, pl.Series([length], dtype=pl.Int64).new_from_index(0, len(flows)))
    return found


def _came(way: Way, shows_vlans: pl.Series) -> pl.Expr:
    """Whether a flow comes from the next hop of an entry, on its link; null where its tap cannot tell."""
    if way.macs is None:
        return pl.lit(value=False)
    came = pl.col("eth_src").is_not_null() & _fits(way, shows_vlans, "eth_src")
    return came if way.taps is None else came & pl.col("tap").is_in(list(way.taps))


def _fits(way: Way, shows_vlans: pl.Series, hop: str = "eth_dst") -> pl.Expr:
    """Whether a flow has the next hop and the VLAN of an entry; null where its tap cannot tell."""
    fits = pl.lit(value=True)
    if way.macs is not None:
        fits &= pl.col(hop).is_in(pl.Series(way.macs, dtype=pl.Binary).implode())
    if way.vlans is not None:
        vlans = list(way.vlans)
        tagged = (pl.col("vlan").is_in(vlans) | pl.col("vlan_inner").is_in(vlans)).fill_null(value=False)
        fits &= pl.when(tagged | shows_vlans).then(tagged)
    return fits


def _hop(row: dict[str, Any]) -> str:
    vlan = f" in VLAN {row['vlan']}" if row["vlan"] is not None else ""
    return f"{party(None, row['eth_dst'])}{vlan}"
