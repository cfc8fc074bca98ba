"""V3: no voice on the public internet."""

from __future__ import annotations

import polars as pl

from tapsight._engine import inside
from tapsight._options import Macs, Options, Pair, Prefixes, Severity, Taps, Vlans
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, ordered_ends, packets
from tapsight.checks._labels import ONLY_PORT, is_proven
from tapsight.checks._special import GROUPS, LOCAL
from tapsight.checks._talks import end

VOICE = ("voice-signalling", "voice-media", "mobile-signalling")
"""Classes of traffic that calls are made of."""


class V3Options(Options):
    """What a policy may say under [checks.V3]. A packet is on the public internet if its addresses or its link say so."""

    interconnect: Prefixes | None = None
    """Public addresses that are reached without the public internet: one's own, and those of networks that are connected directly or by an IPX."""
    internet_taps: Taps | None = None
    """Taps that see links of the public internet, and nothing else."""
    internet_vlans: Vlans | None = None
    """VLANs of such links."""
    internet_macs: Macs | None = None
    """MAC addresses of routers of the public internet, such as those of transit providers."""
    own: Prefixes | None = None
    """Whose voice is judged: one's own border controllers, gateways and nodes; that of customers with others as well, if not given."""
    allow: list[Pair] | None = None
    """Who may talk over the public internet all the same, in both directions."""


class V3(Check[V3Options]):
    """Calls, and the signalling of mobile networks, do not cross the public internet where others can read them.

    What it looks for:
        SIP and other voice signalling, RTP, SIGTRAN, Diameter and GTP, recognised by what was sent, between two public addresses that are not both
        in ``interconnect``; and on a link of the internet (``internet_taps``, ``internet_vlans``, ``internet_macs``), whatever the addresses. In
        a tunnel that can be read, the addresses are those of its outside: voice between private addresses in GRE across the internet counts.
        Customers may well call each other over the internet: ``own`` limits it to the network's own hosts.

    Why it matters:
        Operators exchange voice over networks of their own, apart from the internet, so that nobody in between can listen, and nobody else can reach
        what signals. What must cross the internet goes in IPsec.

    Example that fails:
        RTP between 198.51.100.20 and 192.0.2.99, with this policy::

            [checks.V3]
            interconnect = ["198.51.100.0/24", "203.0.113.0/28"]
            allow = [["198.51.100.20", "192.0.2.7"]]

    What to do:
        Ask which interconnection that call should have taken, and why routing chose another way. If it was agreed, put IPsec around it.

    What it cannot see:
        What IPsec encrypts: it is not found, so a network that keeps to this is told that nothing was seen. IPsec without encryption, SRTP and SIP
        over TLS count as voice on the internet: ``allow`` lists those that are agreed. Between a private address and a public one that is not listed,
        nobody can tell which way packets go once the address is translated: they are in scope but not judged. So are those on taps that
        show no VLAN tags or MAC addresses, where the policy goes by these. Neither is what only its
        port makes look like voice. Groups of receivers are left out. Of a copy that a mirror sends
        elsewhere, the way of the copy counts; those listed under I6 are left out.

    Source: GSMA IR.77, sections 3.3, 3.3.1 and 6 (by their titles: public isolation, local tail over the internet, encryption and IPsec). That two
    public addresses outside of an interconnection meet on the internet is general knowledge, and no rule of it.
    """

    id = "V3"
    title = "No voice on the public internet, but inside of IPsec"
    severity = "high"
    needs = ("interconnect", "internet_taps", "internet_vlans", "internet_macs")
    options = V3Options
    pack = "carrier-voice"

    def judge(self, seen: Observed, options: V3Options, severity: Severity) -> Judgement:
        """Judges each flow of voice by its outermost addresses, and by its link."""
        in_gtp = pl.col("encap").str.split("/").list.contains("gtpu").fill_null(value=False)
        flows = seen.unlisted.filter(pl.col("traffic").is_in(VOICE) | in_gtp).with_columns(
            near=pl.coalesce("outer_src", "src"),
            far=pl.coalesce("outer_dst", "dst"),
            in_gtp=in_gtp,
            app=pl.when(in_gtp).then(pl.lit("gtp-u")).otherwise("app"),
            is_mobile=in_gtp | (pl.col("traffic") == "mobile-signalling").fill_null(value=False),
        )
        flows = flows.filter(~inside(flows["far"], GROUPS))
        if options.own is not None:
            ends = [inside(flows[name], options.own) for name in ("src", "dst", "near", "far")]
            flows = flows.filter(ends[0] | ends[1] | ends[2] | ends[3])
        agreed = pl.Series(values=[False] * len(flows), dtype=pl.Boolean)
        for left, right in options.allow or []:
            agreed |= inside(flows["near"], left) & inside(flows["far"], right)
            agreed |= inside(flows["near"], right) & inside(flows["far"], left)
        flows = flows.with_columns(
            agreed=agreed, sure=is_proven(flows) | flows["in_gtp"], by_address=_by_address(flows, options)
        )
        flows = flows.with_columns(fails=(pl.col("by_address") | _by_link(seen, options)) & ~pl.col("agreed"))
        judged = flows.filter(pl.col("sure"), pl.col("fails").is_not_null())
        reasons = [] if flows["sure"].all() else [ONLY_PORT]
        if flows.filter("sure")["fails"].is_null().any():
            reasons.append("neither addresses nor the tap tell where they went")
        scope = Scope(packets(flows), packets(judged), "; ".join(reasons) or None)
        violations = judged.filter("fails").with_columns(*ordered_ends("near", "far"))
        findings = tuple(
            self.finding(
                row,
                scope,
                severity,
                identity=(row["end_a"], row["end_b"], row["is_mobile"]),
                sentence=(
                    f"{plural(row['packets'], 'packet')} of {'a mobile network' if row['is_mobile'] else 'voice'} ({listing(row['apps'])}) in {plural(row['flows'], 'conversation')} went over the public internet "
                    f"between {end(row['end_a'])} and {end(row['end_b'])}, {span_text(row['first_ts'], row['last_ts'])} "
                    f"(on {listing(row['taps'])}), where others can read them."
                ),
            )
            for row in group(violations, ["end_a", "end_b", "is_mobile"])
        )
        return Judgement(
            scope,
            findings,
            nothing="no voice was seen; what IPsec encrypts, nobody can tell from other traffic",
        )


def _by_address(flows: pl.DataFrame, options: V3Options) -> pl.Series:
    """Whether the outermost addresses meet on the public internet; null where they do not tell."""
    if options.interconnect is None:
        return pl.Series(values=[False] * len(flows), dtype=pl.Boolean)
    ends = {
        f"{name}_{what}": inside(flows[name], prefixes)
        for name in ("near", "far")
        for what, prefixes in (("local", LOCAL), ("fine", (*LOCAL, *options.interconnect)))
    }
    near, far = ~pl.col("near_fine"), ~pl.col("far_fine")
    hidden = (near & pl.col("far_local")) | (far & pl.col("near_local"))
    unknown = pl.col("near").is_null() | pl.col("far").is_null()
    found = flows.with_columns(**ends).select(by=pl.when(~hidden & ~unknown).then(near | far))
    return found["by"]


def _by_link(seen: Observed, options: V3Options) -> pl.Expr:
    """Whether a packet was on a link of the public internet; null where its tap does not tell."""
    signs = [pl.lit(value=False)]
    if options.internet_taps is not None:
        signs.append(pl.col("tap").is_in(list(options.internet_taps)))
    if options.internet_vlans is not None:
        vlans = list(options.internet_vlans)
        on = (pl.col("vlan").is_in(vlans) | pl.col("vlan_inner").is_in(vlans)).fill_null(value=False)
        tagged = seen.flows.filter(pl.col("vlan").is_not_null())["tap"].unique().to_list()
        signs.append(pl.when(pl.col("tap").is_in(tagged)).then(on))
    if options.internet_macs is not None:
        macs = pl.Series(options.internet_macs, dtype=pl.Binary).implode()
        signs.append(pl.col("eth_src").is_in(macs) | pl.col("eth_dst").is_in(macs))
    return pl.any_horizontal(signs)
