"""V2: voice media only inside the voice VLANs, labels, tunnels or prefixes."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from tapsight._engine import inside
from tapsight._options import Labels, Options, Prefixes, Severity, TunnelIds, Vlans
from tapsight._text import address_text, listing, plural, span_text
from tapsight.checks._base import TUNNEL, Check, Judgement, Observed, Scope, group, packets, with_cut
from tapsight.claims import Tunnel


class V2Options(Options):
    """What a policy may say under [checks.V2]. Being inside any one of those given suffices."""

    vlans: Vlans | None = None
    """VLAN ids, outer or inner tag."""
    mpls: Labels | None = None
    """MPLS labels, anywhere in the stack."""
    tunnel_ids: TunnelIds | None = None
    """VNI, key or session of the tunnel around it."""
    prefixes: Prefixes | None = None
    """Where both ends must be."""


class V2(Check[V2Options]):
    """What callers say travels only in the part of the network that is set aside for voice.

    What it looks for:
        RTP and RTCP outside of every VLAN, MPLS label, tunnel id and prefix that the policy gives. Being inside any
        one of them suffices; inside a prefix means with both ends.

    Why it matters:
        Voice is kept apart so that nothing else can listen to it. Media outside of that part was routed, copied or
        pulled out of it.

    Example that fails:
        RTP in VLAN 999, with this policy::

            [checks.V2]
            vlans = [210, 211]

    What to do:
        Follow the VLAN or label of the frames named to the device that put them there.

    What it cannot see:
        A tap that shows no VLAN tags at all (or no labels, no tunnels) cannot tell in which VLAN its traffic is: such
        packets are in scope but not judged, as are those that the capture cut before what they carry. Neither are those that only their port makes look like media, nor media
        in encrypted tunnels. RTP to a multicast group is not voice, and left out. Copies in mirror sessions listed under I6 are left out.

    Source: GSMA IR.77, section 3.2 (isolation of the inter-operator network).
    """

    id = "V2"
    title = "Voice media only where voice belongs"
    severity = "high"
    needs = ("vlans", "mpls", "tunnel_ids", "prefixes")
    options = V2Options

    def judge(self, seen: Observed, options: V2Options, severity: Severity) -> Judgement:
        """Judges each flow of media by its path."""
        # RTP to a group is television or the like: calls have two ends.
        media = seen.unlisted.filter(pl.col("traffic") == "voice-media")
        flows = media.filter(~inside(media["dst"], ("224.0.0.0/4", "ff00::/8")))
        fits, blind, reasons = where(seen, flows, options)
        guessed = (flows["basis"] == "port").fill_null(value=False)
        reasons += ["only the port says that it is media"] if guessed.any() else []
        judged = flows.with_columns(fits=fits).filter(~guessed & (fits | ~blind))
        scope = with_cut(Scope(packets(flows), packets(judged), "; ".join(reasons) or None), seen.cut)
        path = ["tap", "vlan", "vlan_inner", *TUNNEL]
        violations = judged.filter(~pl.col("fits"))
        findings = []
        for row in group(violations, path):
            tunnel = Tunnel(*(row[name] for name in TUNNEL))
            ends = [
                address_text(row[end]) if row[end] is not None else "an unknown address"
                for end in ("src", "dst")
            ]
            findings.append(
                self.finding(
                    row,
                    scope,
                    severity,
                    identity=tuple(row[name] for name in path),
                    sentence=(
                        f"{plural(row['packets'], 'packet')} of voice in {plural(row['flows'], 'conversation')}, such "
                        f"as from {ends[0]} to {ends[1]}, travelled {_place(row, tunnel)} (on {listing(row['taps'])}), "
                        f"{span_text(row['first_ts'], row['last_ts'])}; the policy allows voice only {_allowed(options)}."
                    ),
                    tunnel=tunnel,
                )
            )
        return Judgement(scope, tuple(findings), nothing="no voice media was seen")


class Place(NamedTuple):
    """Of rows with the columns of a path: whether each is where voice belongs."""

    fits: pl.Series
    hidden: pl.Series
    """Whether its tap does not show what would tell."""
    reasons: list[str]
    """What taps do not show."""


def where(seen: Observed, flows: pl.DataFrame, options: V2Options) -> Place:
    """Judges each row of media by its VLANs, labels, tunnel and addresses."""
    nothing = pl.Series(values=[False] * len(flows), dtype=pl.Boolean)
    fits, blind, reasons = nothing, nothing, []
    if options.vlans is not None:
        vlans = list(options.vlans)
        fits |= flows["vlan"].is_in(vlans).fill_null(value=False)
        fits |= flows["vlan_inner"].is_in(vlans).fill_null(value=False)
        hidden = _hidden(seen, flows, pl.col("vlan").is_not_null())
        blind |= hidden
        reasons += ["this tap shows no VLAN tags"] if (hidden & ~fits).any() else []
    if options.mpls is not None:
        wanted = set(options.mpls)
        fits |= (
            flows["mpls"]
            .map_elements(lambda stack: not wanted.isdisjoint(stack), pl.Boolean)
            .fill_null(value=False)
        )
        hidden = _hidden(seen, flows, pl.col("mpls").list.len() > 0)
        blind |= hidden
        reasons += ["this tap shows no MPLS labels"] if (hidden & ~fits).any() else []
    if options.tunnel_ids is not None:
        fits |= flows["tunnel_id"].is_in(list(options.tunnel_ids)).fill_null(value=False)
        hidden = _hidden(seen, flows, pl.col("encap").is_not_null())
        blind |= hidden
        reasons += ["this tap shows no tunnels"] if (hidden & ~fits).any() else []
    if options.prefixes is not None:
        fits |= inside(flows["src"], options.prefixes) & inside(flows["dst"], options.prefixes)
    return Place(fits, blind, reasons)


def _hidden(seen: Observed, flows: pl.DataFrame, shows: pl.Expr) -> pl.Series:
    """Which flows were seen on a tap of which no packet shows what the expression looks for."""
    telling = seen.flows.filter(shows)["tap"].unique().to_list()
    return ~flows["tap"].is_in(telling)


def _place(row: dict[str, Any], tunnel: Tunnel) -> str:
    tags = [str(row[name]) for name in ("vlan", "vlan_inner") if row[name] is not None]
    place = f"in VLAN {' inside '.join(reversed(tags))}" if tags else "outside of any VLAN"
    return place + (f" in a {tunnel}" if tunnel.encap is not None else "")


def _allowed(options: V2Options) -> str:
    given = {
        "VLAN": options.vlans,
        "MPLS label": options.mpls,
        "tunnel id": options.tunnel_ids,
        "prefix": options.prefixes,
    }
    texts = [
        f"in {name} {listing([str(value) for value in values])}" if values else f"in no {name}"
        for name, values in given.items()
        if values is not None
    ]
    return " or ".join(texts)
