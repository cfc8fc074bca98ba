"""D3, odd echoes."""

from __future__ import annotations

from tapsight._text import begin, party, plural
from tapsight.detectors._base import Detector, Told


class D3(Detector):
    """Pings that carry something.

    What it looks for:
        D3.asymmetric: at least four echo replies of another length than the request, which they must return.
        D3.replies: at least four echo requests that the same host answered more than once.

    What it names but does not report:
        D3.sizes (pings of eight sizes or more between two hosts), and fewer than four of the others.

    Why it matters:
        Echoes pass most filters, and few look into them: some implants, Regin among them, and tunnels talk in them. So do broken hosts.

    What to do:
        Look at the payload of the frames named. A ping returns what it got.

    What it cannot see:
        What the echoes carry, and those that keep to one length.

    Source: RFC 792; RFC 4443, section 4; ATT&CK T1095 (Non-Application Layer Protocol).
    """

    id = "D3"
    title = "Odd echoes"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who answered what."""
        claim = told.claim
        answers, asks = party(claim.tunnel.src), party(claim.tunnel.dst)
        how = (
            f"{plural(claim.packets, 'ping')} of {asks} with another length of data than they had"
            if claim.detector == "D3.asymmetric"
            else f"pings of {asks} more than once, {plural(claim.packets, 'reply', 'replies')} too many"
        )
        return begin(f"{answers} answered {how}, {told.when} ({told.seen}).")
