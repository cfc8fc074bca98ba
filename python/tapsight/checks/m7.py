"""M7: VPN gateways expose only IPsec."""

from __future__ import annotations

from tapsight._options import Options, Prefixes
from tapsight.checks._several import Part, Several


class M7Options(Options):
    """What a policy may say under [checks.M7]."""

    vpn_gateways: Prefixes | None = None
    """Addresses of the gateways on which they end VPNs."""
    management: Prefixes | None = None
    """From where anything is allowed."""


class M7(Several[M7Options]):
    """A VPN gateway can be reached by IPsec and by nothing else.

    What it looks for:
        On addresses of ``vpn_gateways``: TCP, UDP and SCTP that they answered on other ports than UDP 500 and 4500, or there but as something else than IKE
        and ESP, unless it came from ``management``; other IP protocols than ESP; tunnels other than ESP. ICMP is left out: without it, paths do not learn
        their MTU. So is what goes to groups of receivers, such as VRRP and IGMP, which is not for others to reach.

    Why it matters:
        Gateways face the Internet. Each service beside the one that they are for is one more way in.

    Example that fails:
        HTTPS that 203.0.113.1 answered, with this policy::

            packs = ["router-hardening"]
            [checks.M7]
            vpn_gateways = ["203.0.113.1"]

    What to do:
        Filter all but UDP 500, UDP 4500 and ESP (IP protocol 50) to the gateway; manage it from inside.

    What it cannot see:
        Services that nobody used while it looked. What was refused, or not answered, is no finding. On UDP 500 and 4500, what is not recognised as something
        else passes: tunnels in which other protocols are made to look like it, too.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices":
    limit, if possible, what is exposed of VPN gateways to what is minimally required, for example UDP 500, UDP 4500 and ESP. It is an example: a
    gateway that is for something else has no place in ``vpn_gateways``. RFC 7296, section 2; RFC 3948.
    """

    id = "M7"
    title = "VPN gateways expose only IPsec"
    severity = "high"
    pack = "router-hardening"
    needs = ("vpn_gateways",)
    options = M7Options
    uses = ("vpn_gateways", "management")
    own_sets = {"management": ()}  # noqa: RUF012 - only read
    nothing = "no traffic of VPN gateways was seen"
    parts = (
        Part(
            "services",
            over="conversations",
            scope="addr in vpn_gateways",
            expect=(
                "not server in vpn_gateways or client in management or not answered "
                "or (protocol == udp and server_port in (500, 4500) "
                'and (app is null or app in (ike, esp) or basis == "port"))'
            ),
            by=("server", "server_port"),
            says="{server}, a VPN gateway, answered on port {server_port} with a service that is not IPsec, in {packets:{apps}}, {when}",
        ),
        Part(
            "protocols",
            over="flows",
            scope=(
                "addr in vpn_gateways and not dst in multicast and encap is null "
                "and not protocol in (tcp, udp, sctp, icmp, icmpv6)"
            ),
            expect="protocol == esp",
            by=("src", "dst", "protocol"),
            says="{src} sent {dst} {packets:{protocol}}, not ESP (IP protocol 50), {when}",
        ),
        Part(
            "tunnels",
            over="flows",
            scope="outer_src in vpn_gateways or outer_dst in vpn_gateways",
            expect="encap matches '^esp'",
            by=("outer_src", "outer_dst", "encap"),
            says="{outer_src} sent {outer_dst} {packets} in a tunnel of {encap}, not ESP, {when}",
        ),
    )
