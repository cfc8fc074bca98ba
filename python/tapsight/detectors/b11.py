"""B11, forged resets."""

from __future__ import annotations

from tapsight._text import begin, party, plural
from tapsight.detectors._base import Detector, Told


class B11(Detector):
    """A TCP connection was reset by somebody who is not at its end.

    What it looks for:
        B11.ignored: after the reset, the host in whose name it came went on sending.
        B11.behind: the reset's sequence number is below what its host had sent, and above all that was acknowledged.
        B11.guessed: a second reset tries a higher sequence number than the host had reached.
        B11.forged: one of these, and the TTL differs by 2 or more from that of the host.

    What it names but does not report:
        B11.other-ttl: only the TTL differs.

    Why it matters:
        Resets in the name of others end connections that somebody does not want: a session with a router, a tunnel, a download that
        an injected answer replaces.

    What to do:
        Ask whether a firewall, a load balancer or a filter on the way resets connections; most that do are meant well. The source
        MAC of the frames tells from which side the resets came.

    What it cannot see:
        Resets that arrive in time and fit: they look like the host's own. Hence all but B11.forged are of low severity.

    Source: Weaver, Sommer, Paxson: Detecting Forged TCP Reset Packets, NDSS 2009; RFC 9293, section 3.5.2; RFC 5961, section 3;
    ATT&CK T1557 (Adversary-in-the-Middle).
    """

    id = "B11"
    title = "Resets forged in the name of others"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """What was odd about the resets."""
        claim = told.claim
        match claim.detector:
            case "B11.ignored":
                what = "were followed by data of the host in whose name they came"
            case "B11.behind":
                what = "did not know what the host in whose name they came had just sent"
            case "B11.guessed":
                what = "guessed at a sequence number that the host in whose name they came had not reached"
            case _:
                what = "fit neither the sequence numbers nor the TTL of the host in whose name they came"
        return begin(
            f"{plural(claim.packets, 'reset')} of TCP connections ({told.conversations}) {what}, "
            f"{told.when} ({told.seen}); {party(None, claim.exporter_mac)} brought them."
        )
