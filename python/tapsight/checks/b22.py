"""B22: sources where they cannot be."""

from __future__ import annotations

from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._options import Macs, Options, Prefixes, Severity, Taps, Vlans
from tapsight._text import listing, party, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, packets
from tapsight.checks._special import DOCUMENTATION, GROUPS, HOST, LINK, NETWORK
from tapsight.checks._talks import end
from tapsight.findings import Finding

BOGONS = (
    "0.0.0.0/8",
    *HOST,
    "169.254.0.0/16",
    *DOCUMENTATION,
    "198.18.0.0/15",
    "240.0.0.0/4",
    "::/128",
    "100::/64",
)
"""No source of what a router forwards (RFC 6890 and its registries; RFC 9637)."""

STAYS = ("0.0.0.0/8", *LINK, "::")
"""Sources of what stays on its link (RFC 1122, section 3.2.1.3; RFC 3927; RFC 4291, section 2.5)."""

NO_HOST = (*GROUPS, "255.255.255.255")
"""Destinations that are not one host."""

LSP_PING = 3503
"""UDP port of pings of label switched paths (RFC 8029)."""

ONLY_BOGONS = "only bogons were looked for: the policy does not say what is the network's own, and what comes from inside"
"""What a verdict says that rests on nothing but the registries."""

NOT_PUBLIC = (*NETWORK, *BOGONS, *STAYS, *NO_HOST, "192.0.0.0/24")


class B22Options(Options):
    """What a policy may say under [checks.B22]."""

    own: Prefixes | None = None
    """What the network and its customers may use as a source."""
    allow: Prefixes | None = None
    """Sources from outside that are agreed though they are private, for documentation, or one's own: of an interconnection, or a laboratory."""
    inside_taps: Taps | None = None
    """Taps of which all frames come from inside: those that see one direction only."""
    inside_macs: Macs | None = None
    """Source MACs of what comes from inside."""
    inside_vlans: Vlans | None = None
    """VLANs of what comes from inside."""


class B22(Check[B22Options]):
    """Packets come from where their source says.

    What it looks for:
        Without a policy: packets between a public address and one that no router forwards (0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, addresses
        for documentation and benchmarking, 240.0.0.0/4, and those of IPv6), of low severity.
        With ``own``, and one of ``inside_taps``, ``inside_macs`` and ``inside_vlans``, which say what comes from inside: sources from inside
        that are not in ``own``, and sources from outside that are (but for the network's ``infrastructure``, and ``allow``), or that are private; of medium
        severity.

    Why it matters:
        Forged sources are how floods are reflected and how an injector speaks in another's name. A network that checks sources at its
        edges sees none of these.

    Example that fails:
        A packet with source 203.0.113.7 in VLAN 100, with this policy::

            [checks.B22]
            own = ["192.0.2.0/24"]
            inside_vlans = [100]

    What to do:
        Switch source address validation on where the frames came from (BCP 38, BCP 84).

    What it cannot see:
        Forged sources that are plausible; what is inside of tunnels, which has addresses of its own. Private addresses towards public ones
        are normal before address translation, so they are reported only from outside. What went out and came back, as in a routing
        loop, is of low severity. Sources in ``allow`` are agreed wherever they come in: of a link to another network that is numbered from one's own
        prefixes, list the address of the other side only.

    Source: RFC 2827 (BCP 38); RFC 3704 (BCP 84); RFC 6890; ATT&CK T1557 (Adversary-in-the-Middle).
    """

    id = "B22"
    title = "Sources only where they can be"
    severity = "medium"
    options = B22Options

    def judge(self, seen: Observed, options: B22Options, severity: Severity) -> Judgement:
        """Judges each source by where its packets came from."""
        flows = seen.unlisted.filter(
            pl.col("encap").is_null(), pl.col("src").is_not_null(), pl.col("dst").is_not_null()
        )
        src, dst = flows["src"], flows["dst"]
        public = ~inside(src, NOT_PUBLIC), ~inside(dst, NOT_PUBLIC)
        odd = inside(src, BOGONS), inside(dst, BOGONS) & ~inside(dst, [*STAYS, *NO_HOST])
        # Pings of label switched paths go to 127.0.0.0/8 (RFC 8029, section 2.1), and what never leaves a host has no MACs.
        is_ping = _is(flows, (pl.col("protocol") == 17) & (pl.col("dst_port") == LSP_PING))
        odd = odd[0], odd[1] & ~is_ping & ~_is(flows, pl.col("eth_dst") == pl.lit(bytes(6)))
        agreed = inside(src, options.allow or ()), inside(dst, options.allow or ())
        odd = odd[0] & ~agreed[0], odd[1] & ~agreed[1]
        rules = {"bogon": (odd[0] & public[1]) | (public[0] & odd[1])}
        in_scope = public[0] | public[1]
        note: str | None = ONLY_BOGONS
        sides = options.inside_taps, options.inside_macs, options.inside_vlans
        unseen = sorted(set(options.inside_taps or ()) - set(flows["tap"].unique()))
        if options.own is not None and any(side is not None for side in sides):
            taps, macs, vlans = (list(side or ()) for side in sides)
            near = _is(flows, pl.col("tap").is_in(taps))
            near |= _is(flows, pl.col("eth_src").is_in(pl.Series(macs, dtype=pl.Binary).implode()))
            near |= _is(flows, pl.col("vlan").is_in(vlans))
            owned, devices = inside(src, options.own), inside(src, seen.network.infrastructure)
            own, ours = owned | devices, owned & ~devices & ~agreed[0]
            # What went out, and comes back as it was.
            returned = flows["flow_id"].is_in(flows["flow_id"].filter(near).drop_nulls().unique().implode())
            # What stays on its link, and what is for many, has no part in this.
            stays = inside(src, STAYS) | inside(dst, [*STAYS, *NO_HOST])
            rules = {
                "outsider": near & ~own & ~stays,
                "returned": ~near & ours & returned & ~stays,
                "insider": ~near & ours & ~stays,
                "private": ~near & ~own & ((inside(src, NETWORK) & ~agreed[0]) | odd[0]) & ~stays,
                **rules,
            }
            # It may not have been captured today; or the name is another.
            in_scope, note = ~stays, f"no tap is named {listing(unseen)}" if unseen else None
        rule = pl.coalesce(*(pl.when(hits).then(pl.lit(name)) for name, hits in rules.items()))
        total = packets(flows.filter(in_scope))
        scope = Scope(total, total)
        violations = flows.with_columns(rule=rule).filter(pl.col("rule").is_not_null())
        findings = tuple(
            _finding(row, scope, "low" if row["rule"] in {"bogon", "returned"} else severity)
            for row in group(violations, ["rule", "tap", "eth_src"])
        )
        return Judgement(
            scope, findings, nothing="no packets to or from public addresses were seen", note=note
        )


def _is(flows: pl.DataFrame, condition: pl.Expr) -> pl.Series:
    """Where a condition is true, and not null."""
    return flows.select(condition.fill_null(value=False)).to_series()


_WORDS = {
    "outsider": "came from inside with sources that the network does not own",
    "insider": "came from outside with sources that are the network's own",
    "returned": "came back from outside, as in a routing loop",
    "private": "came from outside with sources that no network sends to another",
    "bogon": "went between a public address and one that no router forwards",
}


def _finding(row: dict[str, Any], scope: Scope, severity: Severity) -> Finding:
    return B22.finding(
        row,
        scope,
        severity,
        identity=(row["rule"], row["tap"], row["eth_src"]),
        sentence=(
            f"{plural(row['packets'], 'packet')} in {plural(row['flows'], 'conversation')} {_WORDS[row['rule']]}, such as from "
            f"{end(row['src'])} to {end(row['dst'])}, brought by {party(None, row['eth_src'])}, "
            f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])})."
        ),
    )
