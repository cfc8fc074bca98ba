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
        nobody can tell which way packets go once the address is translated: they are in scope but not judged. Neither is what only its
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
            near=pl.coalesce("outer_src", "src"), far=pl.coalesce("outer_dst", "dst"), in_gtp=in_gtp
        )
        flows = flows.filter(~inside(flows["far"], GROUPS))
        if options.own is not None:
            ends = [inside(flows[name], options.own) for name in ("src", "dst", "near", "far")]
            flows = flows.filter(ends[0] | ends[1] | ends[2] | ends[3])
        near, far = flows["near"], flows["far"]
        local = inside(near, LOCAL), inside(far, LOCAL)
        known = near.is_not_null(), far.is_not_null()
        listed = options.interconnect
        strange = [
            is_known & ~is_local & ~inside(address, listed or ()) if listed is not None else is_known & False
            for address, is_local, is_known in zip((near, far), local, known, strict=True)
        ]
        abroad = (strange[0] & ~local[1] & known[1]) | (strange[1] & ~local[0] & known[0])
        hidden = (strange[0] | strange[1] | ~known[0] | ~known[1]) & ~abroad
        on_link = flows.select(
            pl.any_horizontal(
                pl.col("tap").is_in(list(options.internet_taps or ())),
                pl.col("vlan").is_in(list(options.internet_vlans or ())),
                *(
                    pl.col(name).is_in(pl.Series(options.internet_macs or (), dtype=pl.Binary).implode())
                    for name in ("eth_src", "eth_dst")
                ),
            ).fill_null(value=False)
        ).to_series()
        agreed = pl.Series(values=[False] * len(flows), dtype=pl.Boolean)
        for left, right in options.allow or []:
            agreed |= (inside(near, left) & inside(far, right)) | (inside(near, right) & inside(far, left))
        guessed = ~is_proven(flows) & ~flows["in_gtp"]
        hidden &= ~on_link & ~agreed & ~guessed
        judged = flows.with_columns(fails=(abroad | on_link) & ~agreed).filter(~guessed & ~hidden)
        reasons = [ONLY_PORT] if guessed.any() else []
        reasons += ["one end is private or unknown, and the other is not listed"] if hidden.any() else []
        scope = Scope(packets(flows), packets(judged), "; ".join(reasons) or None)
        violations = judged.filter("fails").with_columns(*ordered_ends("near", "far"))
        findings = tuple(
            self.finding(
                row,
                scope,
                severity,
                identity=(row["end_a"], row["end_b"]),
                sentence=(
                    f"{plural(row['packets'], 'packet')} of {_what(row['apps'])} in {plural(row['flows'], 'conversation')} went over the public internet "
                    f"between {end(row['end_a'])} and {end(row['end_b'])}, {span_text(row['first_ts'], row['last_ts'])} "
                    f"(on {listing(row['taps'])}), where others can read them."
                ),
            )
            for row in group(violations, ["end_a", "end_b"])
        )
        return Judgement(
            scope,
            findings,
            nothing="no voice was seen; what IPsec encrypts, nobody can tell from other traffic",
        )


def _what(apps: list[str]) -> str:
    return f"voice ({listing(apps)})" if apps else "voice"
