"""B9, DNS answers in a race."""

from __future__ import annotations

from tapsight._text import begin, party, plural, safe
from tapsight.detectors._base import Detector, Told


class B9(Detector):
    """A DNS query got two answers that contradict each other.

    What it looks for:
        B9.race: two answers to one query, with other addresses, or one that says there is no such name. High if the TTL of the packets
        differs: they come from different places. Low if the query did not pass the tap.
        B9.unasked: an answer from a server that the query did not go to.

    Why it matters:
        Who is on the path can answer before the server does. The first answer wins, and all that follows goes where it says.

    What to do:
        Ask the server itself for the name, by another way, and compare. Look at where the frames named entered the network. DNSSEC and
        encrypted DNS stop this.

    What it cannot see:
        A single wrong answer, as a server gives that lies or that was put in another's place; DNS over TCP, TLS and HTTPS.

    Source: RFC 1035; RFC 5452; ATT&CK T1557 (Adversary-in-the-Middle), T1659 (Content Injection).
    """

    id = "B9"
    title = "DNS answers in a race"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Which answers there were."""
        claim = told.claim
        name = safe(claim.detail or "a name")
        if claim.detector == "B9.unasked":
            return begin(
                f"{party(claim.tunnel.src)} answered {plural(claim.packets, 'query', 'queries')} that went to another server, such as "
                f"for {name} by {told.subject}, {told.when} ({told.seen})."
            )
        first = party(claim.tunnel.dst) if claim.tunnel.dst else "no such name"
        second = party(claim.rewritten_from) if claim.rewritten_from else "another"
        return begin(
            f"{plural(claim.packets, 'query', 'queries')} to {party(claim.tunnel.src)} got two answers that contradict each other, such "
            f"as for {name} by {told.subject}: first {first}, then {second}, {told.when} ({told.seen})."
        )
