"""C5: one device answers as one system."""

from __future__ import annotations

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Severity
from tapsight._text import begin, listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group
from tapsight.checks._paths import INITIAL, MAX_HOPS
from tapsight.checks._talks import SYN, end, talks

CONVERSATIONS = 2
"""Answers with a TTL before it counts: one may be forged."""


class C5(Check[Options]):
    """A device of the network answers all TCP connections with the same initial TTL.

    What it looks for:
        An address of ``infrastructure`` that answers SYN on some ports with an initial TTL of 255, say, and on others with 64: two systems
        behind one address. At least 2 connections with each.

    Why it matters:
        Routers' own systems begin with 255 as a rule, Linux with 64. A guest system or an implant on the router that opened ports of its own shows
        by that.

    What to do:
        List the containers, guest shells and listening sockets of the device, and ask which of them belong there.

    What it cannot see:
        A second system with the same initial TTL; ports that nobody used. Systems of some makers answer differently on ports of their own, so it
        is of low severity. Routing protocols choose their TTL and are left out (RFC 5082).

    Source: catalogue of detectors, C5; RFC 5082; ATT&CK T1205 (Traffic Signaling), T1601 (Modify System Image).
    """

    id = "C5"
    title = "One device answers as one system"
    severity = "low"
    network_needs = ("infrastructure",)
    options = Options

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges each device by the TTLs of its answers."""
        devices = seen.network.infrastructure
        flows = seen.unlisted.filter(
            pl.col("protocol") == 6,
            (pl.col("traffic") != "routing").fill_null(value=True),
            pl.col("encap").is_null(),
        )
        flows = flows.filter(inside(flows["src"], devices) | inside(flows["dst"], devices))
        found = talks(flows).filter("known").select("tap", "flow_id", "server", "server_port")
        answers = flows.filter((pl.col("tcp_flags") & SYN) != 0).join(found, on=["tap", "flow_id"])
        answers = answers.filter(
            pl.col("src") == pl.col("server"), pl.col("src_port") == pl.col("server_port")
        )
        answers = answers.filter(inside(answers["src"], devices))
        ttl = pl.col("first_ttl").cast(pl.Int64)
        answers = answers.with_columns(
            initial=pl.min_horizontal(pl.when(ttl <= each).then(each) for each in INITIAL)
        )
        judged = answers.filter(pl.col("initial") - ttl <= MAX_HOPS)
        scope = Scope(
            int(answers["packets"].sum()),
            int(judged["packets"].sum()),
            "answers whose TTL is that of no system",
        )
        systems = judged.group_by("src", "initial").agg(
            pl.col("flow_id").n_unique().alias("n"), pl.col("server_port").unique().sort().alias("ports")
        )
        systems = systems.filter(pl.col("n") >= CONVERSATIONS).sort(
            "src", "initial", descending=[False, True]
        )
        several = systems.filter(pl.len().over("src") > 1)
        findings = []
        for row in group(judged.join(several, on=["src", "initial"], how="semi"), ["src"]):
            mine = several.filter(pl.col("src") == pl.lit(row["src"]))
            words = [
                f"{each['initial']} on {listing([f'tcp/{port}' for port in each['ports']])}"
                for each in mine.to_dicts()
            ]
            findings.append(
                self.finding(
                    row,
                    scope,
                    severity,
                    identity=(row["src"], *mine["initial"].to_list()),
                    sentence=begin(
                        f"{end(row['src'])}, a device of the network, answered as {plural(len(words), 'system')}, "
                        f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}): with an initial TTL of "
                        f"{listing(words)}."
                    ),
                )
            )
        return Judgement(scope, tuple(findings), nothing="no device answered a TCP connection")
