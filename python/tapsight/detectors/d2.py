"""D2, a trigger and a session."""

from __future__ import annotations

from tapsight._text import begin, party, plural, safe
from tapsight.detectors._base import Detector, Told


class D2(Detector):
    """An odd packet to a router, and a connection with who sent it right after.

    What it looks for:
        D2.backdoor: a packet that begins with the number that BPFDoor waits for, and within 60 s a connection between the same two.
        D2.trigger: a SYN with an acknowledgment number or urgent pointer that its flags do not make one, which nothing answers, and within
        60 s a connection between the same two on another port.

    Why it matters:
        Implants open no port that a scan would find. They wait for one packet that looks like noise, and answer on their own terms.

    What to do:
        List the routers as `infrastructure` in the policy's [network]: without it, nothing can be told. Compare the router's image with the
        maker's, and its connections with who may have one.

    What it cannot see:
        Triggers that look like any packet, and connections with another address than the trigger's.

    Source: the packet filter of BPFDoor as published by Elastic Security Labs; ATT&CK T1205.001 (Port Knocking), T1205.002 (Socket Filters).
    """

    id = "D2"
    title = "A trigger and a session"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who triggered what."""
        claim = told.claim
        what = (
            f"the number that {safe(claim.detail)} waits for"
            if claim.detail
            else "an odd SYN that nothing answered"
        )
        return begin(
            f"{party(claim.tunnel.dst)} sent {told.subject} {what}, and {plural(claim.packets, 'connection')} between the two followed "
            f"within a minute, {told.when} ({told.seen})."
        )
