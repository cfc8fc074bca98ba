"""M12: routing protocols are authenticated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tapsight._expressions import Condition
from tapsight._options import Options, Prefixes
from tapsight.checks._rule import Rule
from tapsight.checks._several import Part, Several

if TYPE_CHECKING:
    from tapsight.policy import Network


class M12Options(Options):
    """What a policy may say under [checks.M12]."""

    multihop: Prefixes | None = None
    """BGP peers that are more than one hop away, of which no TTL is demanded."""


class Accepted(Rule[M12Options]):
    """Of conversations in which both sides have said what they are: what one of them did not want is not among them."""

    @classmethod
    def conditions(cls, options: Options | None, network: Network | None) -> tuple[Condition, Condition]:
        """Its scope, without what only one side has said, and its expectation."""
        scope, expect = super().conditions(options, network)
        is_said = (pl.col("app") == "bgp") & (pl.col("basis") != "port")
        have_both = pl.col("src").filter(is_said).n_unique().over("flow_id") == 2
        return Condition(scope.expr & have_both, scope.columns, scope.needs), expect


class M12(Several[M12Options]):
    """Routers prove to each other who they are before they believe each other.

    What it looks for:
        OSPF, EIGRP, RIP, HSRP, GLBP and version 2 of VRRP from an address of ``infrastructure`` or of a link (``fe80::/10``), and IS-IS, without authentication or with a
        password in the clear; BGP and LDP sessions (TCP ports 179 and 646) that a device began or accepted without TCP's MD5 or authentication option, and their
        messages without one; and BGP with others than devices that does not begin with a TTL of 255 (GTSM), be it that a device sends less, or that it
        speaks with who sent less.

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
        That a digest is right. Which sessions of BGP are internal: those between addresses of ``infrastructure``; list the routers at both ends, or
        the other one in ``multihop``. IS-IS has no addresses, and those of links say nothing of whose they are, so that all of these are taken to be the network's.
        Version 3 of VRRP has no authentication and goes by its TTL (RFC 9568, section 9); BFD, PIM, RSVP and LDP's hellos are left out. A TTL from 129 to 254 may be 255 at the
        beginning, and is not judged. OSPF and VRRP in the authentication header of IPv4 are not read.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices": authentication of protocols
    where it is possible, of which it names NTP and TACACS+ (not judged here), OSPF, BGP and HSRP. The others are by their own documents: RFC 2328, appendix D; RFC 5709; RFC 7166; IS-IS RFC 5304 and
    RFC 5310; EIGRP RFC 7868; RIP RFC 4822; VRRP RFC 3768; sessions RFC 2385 and RFC 5925, LDP's RFC 5036, section 2.9; GTSM RFC 5082.
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
                "(protocol in (ospf, eigrp, rip, hsrp, glbp) or (protocol == vrrp and version == 2)) and (src in infrastructure or src in fe80::/10) "
                "or protocol in (bgp, ldp) and src in infrastructure or protocol == isis"
            ),
            expect="auth in (md5, sha1, sha256, sha384, sha512, cryptographic, ao, ah, esp)",
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
        Part(
            "accepted ttl",
            over="flows",
            # Only the receiver can leave out what comes from afar (RFC 5082, section 3): who gets an answer though it sent less was not left out.
            scope=(
                "app == bgp and basis != 'port' and dst in infrastructure and not src in infrastructure and not src in multihop "
                "and (first_ttl == 255 or first_ttl <= 128)"
            ),
            expect="first_ttl == 255",
            says="{dst} took {packets:{apps}} from {src} though anybody may have sent them from afar, for all that a TTL of {first_ttl} tells, {when}",
            base=Accepted,
        ),
    )
