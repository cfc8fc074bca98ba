"""B10, TCP injection."""

from __future__ import annotations

from tapsight._text import begin, party, plural, safe
from tapsight.detectors._base import Detector, Told


class B10(Detector):
    """Somebody spoke in another's name inside of a TCP connection.

    What it looks for:
        B10.injected: two segments that begin at the same place of a connection, within a second, with other content (told by their first
        20 bytes), and with another TTL or an IP identification that differs by 1,000 or more: two hosts sent them.
        B10.two-senders: they begin alike and differ in length, but both TTL (by 2 or more) and identification say that two hosts sent
        them.
        B10.rewritten: a device on the way changed the content: one hop apart, the same identification.

    What it names but does not report:
        B10.differs: other content from what looks like the same sender.

    Why it matters:
        Whoever reads a connection on its way can answer before the server does. The host believes what comes first: a redirect to
        a page that takes it over (QUANTUMINSERT, used against the engineers of a carrier), or a page with something added.

    Example:
        A host asks 192.0.2.80 for a page. An answer with TTL 64 sends it to another site; 30 ms later the real answer comes, with
        TTL 54, and is ignored.

    What to do:
        Look at the frames named: `injected` is the one whose TTL or identification is unusual for its connection, else the first. Its
        source MAC tells from which side it came. Treat the host that received it as attacked.

    What it cannot see:
        What differs behind the first 20 bytes of segments that differ in length; overlaps that do not begin at the same place; injected
        segments whose original never came by; captures without payload.

    Source: Fox-IT, Deep dive into QUANTUM INSERT (2015) and its captures; ATT&CK T1557 (Adversary-in-the-Middle), T1659 (Content
    Injection).
    """

    id = "B10"
    title = "Segments injected into TCP connections"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who was told what in whose name."""
        claim = told.claim
        sender = safe(claim.detail) if claim.detail else "the other side"
        share = f"{plural(claim.packets, 'segment')} that {told.subject} received from {sender}"
        match claim.detector:
            case "B10.two-senders":
                what = "came from two hosts: they begin alike, but length, TTL and identification differ"
            case "B10.rewritten":
                what = "had another content one hop further: a device on the way rewrites it"
            case _:
                what = "said something else than the segment in whose place they came, and another host sent them"
        return begin(
            f"{share} {what}, {told.when} ({told.seen}); "
            f"the frames marked injected came from {party(None, claim.exporter_mac)}."
        )
