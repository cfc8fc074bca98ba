"""B17, ways that packets name."""

from __future__ import annotations

from tapsight._text import begin, party, plural, safe
from tapsight.detectors._base import Detector, Told


class B17(Detector):
    """A packet said itself by which routers it is to go.

    What it looks for:
        B17.source-route: a loose or strict source route of IPv4, or a routing header of type 0 of IPv6.
        B17.segments-outside: a segment routing header whose last segment is not in the `infrastructure` of the policy's [network].

    What it names but does not report:
        B17.segments (segment routing within the network, or where `infrastructure` is not known), B17.record-route,
        B17.router-alert (MPLS), B17.service-header (NSH), B17.routing-header (of other types).

    Why it matters:
        Such a packet passes by what the routes say: traffic can be led to where it is read. Routers should discard source routes.

    What to do:
        Turn source routing off (`no ip source-route` and the like) on every router, and find who sent the frames named.

    What it cannot see:
        Whether a router obeyed; MPLS label stacks that do the same; lists of service paths.

    Source: RFC 791, section 3.1; RFC 5095; RFC 8754; CISA's hardening guide for communications infrastructure; ATT&CK T1557
    (Adversary-in-the-Middle).
    """

    id = "B17"
    title = "Source routes"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who sent packets by which way."""
        claim = told.claim
        what = safe(claim.detail or "segment routing header")
        return begin(
            f"{party(claim.tunnel.src, claim.exporter_mac)} sent {plural(claim.packets, 'packet')} with a {what}, which is to come to "
            f"{party(claim.tunnel.dst)} by a way that the packets name themselves, {told.when} ({told.seen})."
        )
