"""S2: operations of category 1 never from an interconnect."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tapsight._options import Options, Severity
from tapsight.checks._base import Judgement, Observed, Scope
from tapsight.checks._composite import Composite, Counted

if TYPE_CHECKING:
    from tapsight._judging import Verdict

WITHOUT = frozenset({"GTP-C", "GTP-U"})
"""Protocols that B20 tells peers by, and that have no operations of category 1."""


class S2(Composite[Options]):
    """What only a network itself may ask, nobody asks from outside.

    What it looks for:
        B20.category-1 where one end is not among the network's ``own`` nodes: MAP anyTimeInterrogation (71), sendRoutingInfo (22), sendIMSI
        (58) and their like, and Diameter of Cx, Sh and SLh. Being listed as a peer does not help, unless its ``categories`` list 1.

    Why it matters:
        One such operation tells where a subscriber is, or who it is. No partner needs them for roaming.

    Example that fails:
        anyTimeInterrogation from 203.0.113.1 to 192.0.2.1, with this policy::

            packs = ["mobile-signalling"]
            [checks.B20]
            own = ["192.0.2.0/28"]

    What to do:
        Have the signalling firewall drop category 1 at the interconnect, and ask the peer whose node has the title or realm named.

    When it is unknown:
        Where neither SS7 nor Diameter was seen: GTP has no operations of category 1.

    What it cannot see:
        What B20 cannot: signalling inside of IPsec or DTLS, TCAP in segments, and operations of CAP. A peer with ``categories = [1]`` was agreed
        on, so that what it asks is no finding.

    Source: operations by 3GPP TS 29.002, section 17.5, and applications of Diameter by TS 29.230; that category 1 has no business on an
    interconnect is general knowledge of GSMA FS.11, which is not public.
    """

    id = "S2"
    title = "Operations of category 1 never from an interconnect"
    severity = "high"
    pack = "mobile-signalling"
    options = Options
    of = ("B20",)
    classes = frozenset({"B20.category-1"})
    lists = {"B20": ("own",)}  # noqa: RUF012 - as the class that it is of has it

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges by B20, as far as that saw what such operations could be in."""
        judgement = super().judge(seen, options, severity)
        if judgement.others or judgement.doubt or not judgement.scope.in_scope:
            return judgement
        met = [each for each in seen.claims if each.family == "B20" and each.detail in WITHOUT]
        other, all_ = sum(each.packets for each in met), judgement.scope
        if other >= all_.in_scope:
            return Judgement(Scope(), nothing="no signalling was seen that such operations could be in")
        scope = Scope(all_.in_scope - other, max(0, all_.judged - other))
        return dataclasses.replace(judgement, scope=scope)

    def counts_of(self, verdict: Verdict, seen: Observed, options: Options) -> Counted:
        """What B20 says of category 1: who is a peer does not matter to it, only what is the network's own."""
        counts = super().counts_of(verdict, seen, options)
        return counts._replace(doubt=None) if verdict.doubt else counts
