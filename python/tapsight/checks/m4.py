"""M4: no source routing."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._composite import Composite


class M4(Composite[Options]):
    """No packet says by which way it is to travel.

    What it looks for:
        What detector B17 found: loose and strict source routes of IPv4, routing headers of IPv6, and the like. Findings are B17's.

    Why it matters:
        With a source route a sender chooses the way past filters and taps, and gets answers to an address that is not his.

    Example that fails:
        A packet with the option for a loose source route, with this policy::

            packs = ["router-hardening"]

    What to do:
        ``no ip source-route`` on all routers; filter options at the border. ``tapsight explain B17`` says more.

    What it cannot see:
        What B17 cannot. Packets that a router drops behind the tap are found all the same: that somebody tried is worth knowing.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices":
    disable IP source routing. RFC 791, section 3.1; RFC 5095; RFC 7126, section 4.3.
    """

    id = "M4"
    title = "No source routing"
    severity = "medium"
    pack = "router-hardening"
    options = Options
    of = ("B17",)
