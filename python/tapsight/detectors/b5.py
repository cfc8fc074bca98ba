"""B5, redirects."""

from __future__ import annotations

from tapsight._text import begin, party, plural
from tapsight.detectors._base import Detector, Told


class B5(Detector):
    """Hosts or routers were told to send traffic elsewhere.

    What it looks for:
        B5.redirect: an ICMP redirect, which names another gateway for a destination.
        B5.rogue-router: a router advertisement of somebody who is not among `gateways` in the policy's [network].

    What it names but does not report:
        B5.between-gateways (one gateway of the network pointing to another), B5.router-advertisement (where the gateways are not
        known, or the sender is one of them).

    Why it matters:
        Whoever is believed receives traffic that was meant for another. Between carriers, nobody has a reason to send either.

    What to do:
        Find the device that has the MAC address of the frames named. Let routers ignore redirects, and switches filter router
        advertisements (RFC 6105).

    What it cannot see:
        Whether anybody obeyed, and routes that come by DHCP or a routing protocol.

    Source: RFC 792; RFC 1256; RFC 4861, sections 4.2 and 4.5; ATT&CK T1557 (Adversary-in-the-Middle).
    """

    id = "B5"
    title = "Redirects and router advertisements"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who sent hosts where."""
        claim = told.claim
        sender = party(claim.tunnel.src, claim.exporter_mac)
        if claim.detector == "B5.rogue-router":
            return begin(
                f"{sender} advertised itself as a router {plural(claim.packets, 'time')}, {told.when} ({told.seen}); the "
                f"policy does not list it as a gateway."
            )
        what = f" for traffic to {told.subject}" if claim.subject else ""
        return begin(
            f"{sender} told hosts {plural(claim.packets, 'time')} to send to {party(claim.tunnel.dst)} instead of "
            f"itself{what}, {told.when} ({told.seen})."
        )
