"""V1: voice signalling only between agreed interconnect pairs."""

from __future__ import annotations

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Pair, Severity
from tapsight.checks._base import Check, Judgement, Observed, Scope, packets, with_cut
from tapsight.checks._exchanges import exchanges


class V1Options(Options):
    """What a policy may say under [checks.V1]."""

    pairs: list[Pair] | None = None
    """Who may signal with whom, in both directions."""


class V1(Check[V1Options]):
    """Voice signalling travels only between the addresses that agreed on it.

    What it looks for:
        SIP, MGCP, H.323 and other voice signalling between two addresses that no entry of ``pairs`` joins.
        Signalling of mobile networks (SIGTRAN, Diameter, GTP-C) is another matter and not judged here.

    Why it matters:
        Interconnect partners are few and known. Signalling with anybody else is fraud, a misrouted trunk, or a call
        control that sits where it should not.

    Example that fails:
        SIP between 192.0.2.10 and 198.51.100.66, with this policy::

            [sets]
            voice_peers = ["192.0.2.10", "203.0.113.10"]
            [checks.V1]
            pairs = [["voice_peers", "voice_peers"]]

    What to do:
        Ask who owns the address. If it is a partner, add it to the set; else look for the route or trunk that leads
        there.

    What it cannot see:
        Signalling inside encrypted tunnels. Packets that the capture cut before what they carry may be signalling: they are in scope but not judged. Packets that only their port makes look like signalling are in scope but
        not judged, unless one end is named in a pair. Copies in mirror sessions listed under I6 are left out.

    Source: GSMA IR.77, section 4 (peering) and IR.34: traffic only between parties that agreed.
    """

    id = "V1"
    title = "Voice signalling only between agreed pairs"
    severity = "high"
    needs = ("pairs",)
    options = V1Options

    def judge(self, seen: Observed, options: V1Options, severity: Severity) -> Judgement:
        """Judges each conversation by its two addresses."""
        flows = seen.unlisted.filter(pl.col("traffic") == "voice-signalling")
        fits, named = agreed(flows, options)
        guessed = (flows["basis"] == "port").fill_null(value=False) & ~named
        judged = flows.with_columns(agreed=fits).filter(
            ~guessed & flows["src"].is_not_null() & flows["dst"].is_not_null()
        )
        violations = judged.filter(~pl.col("agreed"))
        reasons = ["only the port says that it is signalling"] if guessed.any() else []
        scope = with_cut(Scope(packets(flows), packets(judged), "; ".join(reasons) or None), seen.cut)
        findings = exchanges(
            self,
            violations,
            scope,
            severity,
            what="voice signalling",
            wrong="but the policy knows no agreement between them",
        )
        return Judgement(scope, findings, nothing="no voice signalling was seen")


def agreed(frame: pl.DataFrame, options: V1Options) -> tuple[pl.Series, pl.Series]:
    """Of rows with ``src`` and ``dst``: whether a pair of the policy holds both, and whether any pair names one of them."""
    both = named = pl.Series(values=[False] * len(frame), dtype=pl.Boolean)
    for left, right in options.pairs or []:
        src_left, dst_left = inside(frame["src"], left), inside(frame["dst"], left)
        src_right, dst_right = inside(frame["src"], right), inside(frame["dst"], right)
        both |= (src_left & dst_right) | (src_right & dst_left)
        named |= src_left | dst_left | src_right | dst_right
    return both, named
