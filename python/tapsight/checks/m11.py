"""M11: devices begin no sessions except with listed services."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._composite import Composite


class M11(Composite[Options]):
    """Devices of the network begin no sessions but with the services that they need.

    What it looks for:
        What check C4 found: conversations that an address of ``infrastructure`` began with a server that ``[checks.C4] allow`` does not list, BGP with
        neighbours among them. Findings are C4's.

    Why it matters:
        A router that logs in elsewhere, or sends files, is used as a stepping stone.

    Example that fails:
        SSH from 198.51.100.1 to 203.0.113.66, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]
            [checks.C4]
            allow = [{ to = "192.0.2.123", ports = [123], protocol = "udp" }]

    What to do:
        ``transport output none`` on the lines of the device. ``tapsight explain C4`` says more.

    What it cannot see:
        What C4 cannot.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices":
    no outbound connections from management lines.
    """

    id = "M11"
    title = "Devices begin no sessions except with listed services"
    severity = "medium"
    pack = "router-hardening"
    options = Options
    of = ("C4",)
