"""M6: who may log in is asked of listed servers, and logs travel encrypted."""

from __future__ import annotations

from tapsight._options import Options, Prefixes
from tapsight.checks._several import Part, Several


class M6Options(Options):
    """What a policy may say under [checks.M6]."""

    servers: Prefixes | None = None
    """The servers that may be asked who may log in."""


class M6(Several[M6Options]):
    """Devices ask listed servers who may log in, and nobody on the way can read their logs.

    What it looks for:
        TACACS+ and RADIUS of an address of ``infrastructure`` with a server that is not among ``servers``; syslog in the clear that
        one sends. Syslog over TLS (TCP 6514, RFC 5425) is what passes. What others send to a device is no log of its own.

    Why it matters:
        Whoever is asked learns the passwords of those who run the network. Who reads the logs knows what is noticed; who can change
        them is not noticed at all.

    Example that fails:
        Syslog over UDP from 198.51.100.1, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]
            [checks.M6]
            servers = ["192.0.2.49"]

    What to do:
        Compare the AAA servers in the configuration with the list; send logs over TLS or IPsec.

    What it cannot see:
        Syslog and AAA inside of encrypted tunnels, which is as it should be, and AAA over TLS (RFC 6614, RFC 9887). What is known by its
        port only is in scope but not judged. C3 also asks for AAA by port.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12): logs, those of AAA among them, sent securely to a
    central server. That devices ask listed servers only is not said there: AA25-239A tells of TACACS+ servers that intruders put in their place, and
    catalogue of detectors, C3.
    """

    id = "M6"
    title = "AAA only with listed servers, logs encrypted"
    severity = "high"
    pack = "router-hardening"
    needs = ("servers",)
    network_needs = ("infrastructure",)
    options = M6Options
    uses = ("servers",)
    nothing = "no device logged or asked who may log in"
    parts = (
        Part(
            "servers",
            over="conversations",
            scope="addr in infrastructure and app in (tacacs, radius)",
            expect="server in servers or not client in infrastructure",
            by=("client", "server"),
            says="{client} has {server} as a server for log-ins, which the policy does not list: {packets:{apps}}, {when}",
        ),
        Part(
            "logs",
            over="conversations",
            scope="client in infrastructure and (app == syslog or port == 6514)",
            expect="app != syslog",
            says="{packets:{apps}} in the clear passed between {end_a} and {end_b}, {when}",
        ),
    )
