"""M12: routing protocols are authenticated."""

from __future__ import annotations

from tapsight._options import Options, Prefixes
from tapsight.checks._several import Part, Several


class M12Options(Options):
    """What a policy may say under [checks.M12]."""

    multihop: Prefixes | None = None
    """BGP peers that are more than one hop away, of which no TTL is demanded."""


class M12(Several[M12Options]):
    """Routers prove to each other who they are before they believe each other.

    What it looks for:
        OSPF, EIGRP, RIP, HSRP, GLBP and version 2 of VRRP from an address of ``infrastructure``, and IS-IS, without authentication or with a password in the clear;
        BGP and LDP sessions (TCP ports 179 and 646) that a device began or accepted without TCP's MD5 or authentication option; and BGP with others than devices
        that does not begin with a TTL of 255 (GTSM).

    Why it matters:
        Whoever can send a packet to a router that trusts everybody changes where traffic goes, or takes over as the gateway.

    Example that fails:
        An OSPF hello of 198.51.100.1 with authentication type 0, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]
            [checks.M12]
            multihop = ["203.0.113.179"]

    What to do:
        Give each neighbour a key, with HMAC-SHA where the devices know it; ``ttl-security hops 1`` for external BGP.

    What it cannot see:
        BGP and LDP sessions of which it did not see the beginning. That a digest is right. IS-IS has no addresses, so that all of it is taken to be the network's.
        Version 3 of VRRP has no authentication and goes by its TTL (RFC 9568, section 9); BFD, PIM, RSVP and LDP's hellos are left out. A TTL from 129 to 254 may be 255 at the
        beginning, and is not judged. OSPF and VRRP in the authentication header of IPv4 are not read.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices": authenticate routing and
    first-hop protocols. RFC 2328, appendix D; RFC 5709; RFC 7166; RFC 5304; RFC 5310; RFC 7868, section 6.6.1.1; RFC 4822; RFC 2385; RFC 5925; RFC 5082.
    """

    id = "M12"
    title = "Routing protocols are authenticated"
    severity = "medium"
    pack = "router-hardening"
    network_needs = ("infrastructure",)
    options = M12Options
    uses = ("multihop",)
    own_sets = {"multihop": ()}  # noqa: RUF012 - only read
    nothing = "no routing protocol of infrastructure was seen"
    parts = (
        Part(
            "messages",
            over="routing_auth",
            scope=(
                "(protocol in (ospf, eigrp, rip, hsrp, glbp) or (protocol == vrrp and version == 2)) and src in infrastructure "
                "or protocol == isis"
            ),
            expect="auth in (md5, sha1, sha256, sha384, sha512, cryptographic, ah, esp)",
            by=("protocol", "src"),
            says="{src} sent {packets:{protocol}} {auth}, {when}",
        ),
        Part(
            "sessions",
            over="tcp",
            scope="src in infrastructure and port in (179, 646)",
            expect="has_md5 or ao_key is not null",
            says="{src} began or accepted BGP or LDP sessions with {dst} without authentication, in {packets}, {when}",
        ),
        Part(
            "ttl",
            over="flows",
            scope=(
                "app == bgp and basis != 'port' and src in infrastructure and not dst in infrastructure and not dst in multihop "
                "and (first_ttl == 255 or first_ttl <= 128)"
            ),
            expect="first_ttl == 255",
            says="{src} sent {dst} {packets:{apps}} that anybody may have sent from afar, for all that a TTL of {first_ttl} tells, {when}",
        ),
    )
