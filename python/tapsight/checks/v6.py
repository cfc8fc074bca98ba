"""V6: media go between the endpoints that signalling describes."""

from __future__ import annotations

from tapsight._options import Options, Severity
from tapsight.checks._base import Judgement, Observed, Scope
from tapsight.checks._composite import Composite


class V6(Composite[Options]):
    """Media come from where calls say, go to where calls say, and what calls say comes through as it was said.

    What it looks for:
        What B14 and B13 find. B14: RTP from a source or to a destination that its call does not describe, streams that are taken over, and ports of
        relays that are tried. B13: descriptions with other addresses on another tap or behind a hop, and media that move to where nobody in the call
        was. It fails if either does, and passes if B14 had media to judge and neither found anything.

    Why it matters:
        A contract says that media and signalling belong together. Where they do not, somebody else receives the call, or sends into it.

    Example that fails:
        RTP from 192.0.2.66 into a call whose sides described 198.51.100.20 and 203.0.113.20, with this policy::

            packs = ["carrier-voice"]

        What B13 and B14 take as options stands under their own names: ``media`` and ``b2bua`` in [checks.B13].

    What to do:
        Look at the findings of B13 and B14: they name the call, the endpoints and the frames.

    What it cannot see:
        What B13 and B14 cannot: ports, which are not compared; calls that began before the capture; media of which nobody saw the call. It has no
        findings of its own. The less of the two was judged, the less of this.

    Source: catalogue of policy checks, V6; RFC 3264; RFC 3550, section 8.2.
    """

    id = "V6"
    title = "Media go between the endpoints that signalling describes"
    severity = "high"
    options = Options
    hears = True
    pack = "carrier-voice"
    of = ("B14", "B13")

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges by both; but descriptions alone tell nothing of where media go."""
        media = seen.verdicts["B14"]
        judgement = super().judge(seen, options, severity)
        if judgement.others or media.in_scope:
            return judgement
        return Judgement(Scope(), nothing=media.reason or "no media were seen", lack=media.lack)
