"""D1, SYNful Knock."""

from __future__ import annotations

from tapsight._text import begin, party, plural
from tapsight.detectors._base import Detector, Told


class D1(Detector):
    """A router answered the knock of an implant in its system image.

    What it looks for:
        D1.knock: a SYN to port 80 whose sequence and acknowledgment numbers differ by 0xC123D. Scanners that look for the implant
        send it too.
        D1.answer: a SYN/ACK from port 80 whose numbers are those of the implant's answer.
        D1.implant: such an answer to such a knock, or with the implant's TCP options as well.

    Why it matters:
        Whoever changed a router's image reads, copies and redirects all that passes it, and the router's own commands do not show it.

    What to do:
        Treat the router named as not your own any more: compare its image with the maker's, from outside, and replace it. Do not warn by
        logging in.

    What it cannot see:
        The implant while nobody knocks, and variants with other numbers.

    Source: the scanners published by Mandiant with its report on SYNful Knock, 2015; ATT&CK S0519, T1205 (Traffic Signaling), T1601.001
    (Patch System Image).
    """

    id = "D1"
    title = "SYNful Knock"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who knocked, and who answered."""
        claim = told.claim
        router, client = party(claim.tunnel.src), party(claim.tunnel.dst)
        match claim.detector:
            case "D1.knock":
                return begin(
                    f"{client} knocked on port 80 of {router} {plural(claim.packets, 'time')} as one does for the implant SYNful Knock, "
                    f"{told.when} ({told.seen}). Scanners that look for it do the same."
                )
            case "D1.answer":
                return begin(
                    f"{router} answered {client} {plural(claim.packets, 'time')} with numbers that the implant SYNful Knock uses, "
                    f"{told.when} ({told.seen})."
                )
        return begin(
            f"{router} answered {client} {plural(claim.packets, 'time')} as only the implant SYNful Knock does, {told.when} "
            f"({told.seen}): its system image was changed."
        )
