"""I4: no bogons, no martians, and nothing from outside that claims to be from inside."""

from __future__ import annotations

import dataclasses

from tapsight._options import Options, Severity
from tapsight.checks._base import Judgement, Observed
from tapsight.checks._composite import Composite
from tapsight.checks.b22 import ONLY_BOGONS


class I4(Composite[Options]):
    """No packet has an address that nobody can have, and none from outside one of the network's own.

    What it looks for:
        What B22 finds: packets between a public address and one that no router forwards (bogons, martians), private sources from outside, the
        network's own addresses from outside, and sources from inside that are not its own.

    Why it matters:
        Such packets are forged, or a route leads where it should not. Networks agree to let none of them pass.

    Example that fails:
        A packet with the source 192.0.2.7 that comes from outside, with this policy::

            packs = ["carrier-internet"]
            [checks.B22]
            own = ["192.0.2.0/24"]
            inside_vlans = [100]

    What to do:
        Look at the findings of B22: they name the device that brought the packets. Filter there.

    What it cannot see:
        What B22 cannot. As long as [checks.B22] does not say which addresses are the network's own and what comes from inside, B22 looks for bogons only:
        then this is unknown at best, and fails if there are any. It has no findings of its own.

    Source: RFC 2827 (BCP 38); RFC 3704 (BCP 84); RFC 6890; RFC 1812, section 5.3.7 (martian addresses).
    """

    id = "I4"
    title = "No bogons, martians, or own addresses from outside"
    severity = "medium"
    options = Options
    pack = "carrier-internet"
    of = ("B22",)

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges by B22, if that knows what is the network's own."""
        judgement = super().judge(seen, options, severity)
        if ONLY_BOGONS not in (seen.verdicts["B22"].reason or ""):
            return judgement
        needs = "needs set `own`, and `inside_taps`, `inside_macs` or `inside_vlans`, in [checks.B22]"
        if not judgement.scope.in_scope:
            return dataclasses.replace(judgement, nothing=needs, lack="policy")
        return dataclasses.replace(judgement, doubt="; ".join(filter(None, (needs, judgement.doubt))))
