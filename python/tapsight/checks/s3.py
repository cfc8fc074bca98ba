"""S3: GTP-U only between listed nodes, and no GTP inside of it."""

from __future__ import annotations

from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity
from tapsight._text import begin, listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, ordered_ends, packets
from tapsight.checks._talks import end
from tapsight.claims import Tunnel
from tapsight.findings import Finding

TUNNEL = "gtpu"
"""GTP-U as columns of tunnels name it (3GPP TS 29.281)."""

UDP = 17
"""IP protocol of UDP."""

MESSAGES = "gtp-u"
"""Its messages without a subscriber's packet in them, as the column ``app`` names them."""

GTP = ("gtp-c", "gtp-u", "gtp-prime")
"""What has no place in the packets of a subscriber."""


class S3Options(Options):
    """What a policy may say under [checks.S3]."""

    nodes: Prefixes | None = None
    """The nodes that exchange GTP-U: GSN, SGW, PGW, UPF, base stations, and those of roaming partners."""


class S3(Check[S3Options]):
    """The tunnels in which subscribers' packets travel end at known nodes, and hold no tunnels of that kind.

    What it looks for:
        GTP-U of which one end is not among ``nodes``: tunnels, and messages of its own (echo, error indication). And GTP inside of
        GTP-U: a stack such as ``gtpu/gtpu``, or GTP-C and GTP' in a tunnel, known by more than their ports.

    Why it matters:
        Whoever can send GTP-U to a gateway from somewhere else puts packets into subscribers' sessions. GTP that comes out
        of a tunnel comes from a subscriber who talks to the network's nodes.

    Example that fails:
        GTP-U from 198.51.100.66 to 192.0.2.1, with this policy::

            packs = ["mobile-signalling"]
            [sets]
            gateways = ["192.0.2.0/28", "203.0.113.0/28"]
            [checks.S3]
            nodes = "gateways"

    What to do:
        Ask who owns the address, and add it if it is a partner's node; else filter UDP 2152 towards the gateways. Have gateways drop
        GTP to their own addresses that comes out of a tunnel.

    What it cannot see:
        The ends of GTP-U inside of another tunnel, whose ends are shown instead: it is in scope but not judged, as is what only its
        port makes look like GTP-U, inside of a tunnel or not. Nor is a tunnel between listed nodes judged if the packet in it was cut before its ports,
        as captures with a short snap length have it. Whether a tunnel was agreed on by signalling. Tunnels in IPsec.

    Source: 3GPP TS 29.281 for GTP-U; that its peers are listed and that it is not nested is general knowledge of GSMA FS.20 and IR.88,
    which are not public.
    """

    id = "S3"
    title = "GTP-U only between listed nodes, and no GTP inside of it"
    severity = "high"
    pack = "mobile-signalling"
    needs = ("nodes",)
    options = S3Options

    def judge(self, seen: Observed, options: S3Options, severity: Severity) -> Judgement:
        """Judges each flow by the ends of its tunnel, and by what is in it."""
        stack = pl.col("encap").str.split("/")
        tunnelled, bare = stack.list.contains(TUNNEL), pl.col("encap").is_null()
        flows = seen.unlisted.filter(
            (tunnelled | (bare & (pl.col("app") == MESSAGES))).fill_null(value=False)
        )
        proven = pl.col("basis") != "port"
        app_is_gtp = tunnelled & pl.col("app").is_in(GTP)
        # Where the packet inside was cut away, or is none of IP, the row has the tunnel's own ends, ports and application.
        shown = ((pl.col("src") != pl.col("outer_src")) | (pl.col("dst") != pl.col("outer_dst"))).fill_null(
            value=False
        )
        # Nobody knows what a datagram inside is of which the ports were cut away (0), or only these are known.
        no_ports = (pl.col("protocol") == UDP) & (pl.max_horizontal("src_port", "dst_port").fill_null(0) == 0)
        is_open = no_ports | (app_is_gtp & ~proven)
        # At a tap that cuts packets, a message of GTP-U itself looks like a tunnel of which all that is inside was cut away.
        cuts = seen.taps.filter(pl.col("snapped") > 0)["tap"].to_list() if seen.taps.width else []
        # The ends that are shown are those of the outermost tunnel.
        outermost = stack.list.first() == TUNNEL
        flows = flows.with_columns(
            near=pl.when(bare).then("src").otherwise("outer_src"),
            far=pl.when(bare).then("dst").otherwise("outer_dst"),
            known=(pl.when(bare).then(proven).otherwise(outermost)).fill_null(value=False),
            nested=pl.when(stack.list.count_matches(TUNNEL) > 1)
            .then(pl.lit(value=True))
            .when(bare & ~pl.col("tap").is_in(cuts))
            .then(pl.lit(value=False))
            .when(tunnelled & shown & ~is_open.fill_null(value=False))
            .then(app_is_gtp.fill_null(value=False)),
        )
        told = pl.col("known") & pl.col("near").is_not_null() & pl.col("far").is_not_null()
        nodes = options.nodes or ()
        listed = inside(flows["near"], nodes) & inside(flows["far"], nodes)
        flows = flows.with_columns(listed=listed | ~pl.Series(flows.select(told).to_series()))
        # What is wrong already is judged, whatever else may be.
        is_wrong = ~pl.col("listed") | pl.col("nested").fill_null(value=False)
        judged = flows.filter(is_wrong | (told & pl.col("nested").is_not_null()))
        reason = "the ends of tunnels inside of others, or what is inside, are not shown, or only the port says what it is"
        scope = Scope(packets(flows), packets(judged), reason if len(judged) < len(flows) else None)
        violations = judged.with_columns(*ordered_ends("near", "far"))
        findings = [
            _unlisted(row, scope, severity)
            for row in group(violations.filter(~pl.col("listed")), ["end_a", "end_b"])
        ]
        findings += [
            _nested(row, scope, severity)
            for row in group(violations.filter("nested"), ["encap", "near", "far"], ["app"])
        ]
        return Judgement(scope, tuple(findings), nothing="no GTP-U was seen")


def _unlisted(row: dict[str, Any], scope: Scope, severity: Severity) -> Finding:
    when = f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])})"
    return S3.finding(
        row,
        scope,
        severity,
        identity=("unlisted", row["end_a"], row["end_b"]),
        sentence=begin(
            f"{end(row['end_a'])} and {end(row['end_b'])} exchanged {plural(row['packets'], 'packet')} of GTP-U, {when}, "
            f"but the policy does not list both as nodes that do."
        ),
        tunnel=Tunnel(TUNNEL, row["end_a"], row["end_b"]),
    )


def _nested(row: dict[str, Any], scope: Scope, severity: Severity) -> Finding:
    when = f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])})"
    return S3.finding(
        row,
        scope,
        severity,
        identity=("nested", row["encap"], row["near"], row["far"]),
        sentence=begin(
            f"a tunnel ({row['encap']}) from {end(row['near'])} to {end(row['far'])} carried GTP inside of GTP-U, "
            f"{plural(row['packets'], 'packet')} such as from {end(row['src'])} to {end(row['dst'])}, {when}."
        ),
        tunnel=Tunnel(row["encap"], row["near"], row["far"]),
    )
