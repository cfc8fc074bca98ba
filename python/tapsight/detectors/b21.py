"""B21, WCCP."""

from __future__ import annotations

from tapsight._text import begin, party, plural
from tapsight.detectors._base import Detector, Told


class B21(Detector):
    """A router handed packets over to a device that called itself a cache.

    What it looks for:
        B21.agreement: WCCP messages between a router and a cache (UDP port 2048).
        B21.redirected: packets that the router sends to the cache (GRE protocol 0x883E).

    What it names but does not report:
        B21.listed: the cache is among the `infrastructure` in the policy's [network].

    Why it matters:
        One line of configuration, and a device that says "here I am", are enough to lead all web traffic of a router there.

    What to do:
        Ask for `show ip wccp` on the router named. If the cache is wanted, list it as infrastructure, and give the service a password.

    What it cannot see:
        Packets handed over by a rewritten MAC address instead of GRE.

    Source: draft-mclaggan-wccp-v2rev1; ATT&CK T1557 (Adversary-in-the-Middle).
    """

    id = "B21"
    title = "Packets redirected to caches (WCCP)"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Which router gives packets to whom."""
        claim = told.claim
        router, cache = party(claim.tunnel.src), party(claim.tunnel.dst)
        if claim.detector == "B21.agreement":
            return begin(
                f"{cache} and {router} agreed by {plural(claim.packets, 'message')} of WCCP that the router redirects traffic to it, "
                f"{told.when} ({told.seen})."
            )
        return begin(
            f"{router} redirected {plural(claim.packets, 'packet')}{told.what} to {cache} by WCCP, {told.when} ({told.seen})."
        )
