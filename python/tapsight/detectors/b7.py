"""B7, takeover of a first hop."""

from __future__ import annotations

from tapsight._text import begin, party, plural, safe
from tapsight.detectors._base import Detector, Told


class B7(Detector):
    """A router made itself the one that hosts send to (HSRP, VRRP, GLBP, CARP).

    What it looks for:
        B7.takeover: a router that was not known to take part became active while the one before was alive: by a coup of HSRP, or by a
        higher priority. Medium; high where the policy's [network] lists gateways or infrastructure, and the router is none of them.
        B7.not-owner: priority 255 of VRRP, which is for the owner of the address, from somebody else.
        B7.off-link: VRRP whose TTL is not 255: it does not come from this link.

    What it names but does not report:
        B7.preempted (a router that was active before, took part for a minute, or is listed, took over), B7.default-password (`cisco`, of HSRP).

    Why it matters:
        The active router receives all that leaves the network. None of these protocols, without a secret, asks who may be it.

    What to do:
        Compare the router named with the ones that belong to the group. Give the group a secret (MD5), and the active router the highest
        priority and preemption.

    What it cannot see:
        Takeovers before the capture began. A new router that is put into service by its owners looks the same.

    Source: RFC 2281; RFC 9568; ATT&CK T1557 (Adversary-in-the-Middle).
    """

    id = "B7"
    title = "Takeover of a first hop (HSRP, VRRP, GLBP, CARP)"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who took over what."""
        claim = told.claim
        router, group = party(claim.tunnel.src, claim.exporter_mac), safe(claim.detail or "")
        match claim.detector:
            case "B7.not-owner":
                return begin(
                    f"{router} claimed to own the virtual address {told.subject} ({group}), which is not its own, "
                    f"{plural(claim.packets, 'time')}, {told.when} ({told.seen})."
                )
            case "B7.off-link":
                return begin(
                    f"{router} sent {plural(claim.packets, 'message')} for {told.subject} ({group}) from another link, {told.when} "
                    f"({told.seen})."
                )
        return begin(
            f"{router} took over the virtual address {told.subject} ({group}) from a router that was alive, {told.when} ({told.seen})."
        )
