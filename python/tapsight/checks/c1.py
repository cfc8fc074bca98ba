"""C1: no tunnels of infrastructure except listed."""

from __future__ import annotations

from tapsight._engine import inside
from tapsight._options import Options, Severity
from tapsight.checks._base import Check, Judgement, Observed, Scope, packets
from tapsight.checks.i5 import Allowed, are_listed, tunnels_in, unlisted_tunnels


class C1Options(Options):
    """What a policy may say under [checks.C1]."""

    allow: list[Allowed] | None = None
    """The tunnels that the network's own devices may have, as under [checks.I5]."""


class C1(Check[C1Options]):
    """The network's own devices end no tunnels but those that are listed.

    What it looks for:
        Tunnels (GRE, IP in IP, VXLAN, ESP, AH, IKE, L2TP, WireGuard, ...) of which one end is an address of ``infrastructure``, and which no
        entry of ``allow`` describes.

    Why it matters:
        A tunnel on a router is how an intruder carries traffic out, and how he keeps a way in. I5 asks the same of all tunnels; this
        check can be kept where customers' tunnels are many and nobody lists them.

    Example that fails:
        GRE between 198.51.100.1 and 203.0.113.66, with this policy::

            [network]
            infrastructure = ["198.51.100.0/28"]
            [checks.C1]
            allow = [ { encap = "gre", between = ["198.51.100.1", "198.51.100.2"] } ]

        ``allow = []`` says that there are none.

    What to do:
        Look for the tunnel interface in the running configuration, and in what the device really has: they may differ.

    What it cannot see:
        Tunnels that look like something else (over TLS, SSH or DNS): C4 may. What only its port makes look like a tunnel is in scope but
        not judged. Mirror sessions listed under I6 count as listed.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12); ATT&CK T1572 (Protocol
    Tunneling), T1090.003 (Multi-hop Proxy).
    """

    id = "C1"
    title = "No tunnels of infrastructure except listed"
    severity = "high"
    needs = ("allow",)
    network_needs = ("infrastructure",)
    options = C1Options

    def judge(self, seen: Observed, options: C1Options, severity: Severity) -> Judgement:
        """Judges each tunnel with an end at a device by its kind, ends and id."""
        tunnels = tunnels_in(seen.unlisted)
        devices = seen.network.infrastructure
        tunnels = tunnels.filter(inside(tunnels["near"], devices) | inside(tunnels["far"], devices))
        judged = tunnels.filter(~tunnels["guessed"])
        scope = Scope(packets(tunnels), packets(judged), "only the port says that it is a tunnel")
        violations = judged.filter(~are_listed(judged, options.allow or []))
        findings = unlisted_tunnels(
            self, violations, scope, severity, of_ends=", of which one is a device of the network,"
        )
        return Judgement(scope, findings, nothing="no tunnels of infrastructure were seen")
