"""M5: no Smart Install."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._rule import Rule


class M5(Rule[Options]):
    """No device of the network speaks Smart Install.

    What it looks for:
        An address of ``infrastructure`` that answered on TCP port 4786, or was answered by somebody there: switches are its clients and others direct
        them. Here the port is what it is about: Smart Install has no other, and nothing else belongs there.

    Why it matters:
        Anybody who reaches it can read and replace the configuration and the software of the switch, without a password (CVE-2018-0171).

    Example that fails:
        A connection of 203.0.113.66 to 198.51.100.2 port 4786 that was accepted, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]

    What to do:
        ``no vstack``. Compare the running configuration and the image with what should be there.

    What it cannot see:
        A service that nobody used while it looked. What was refused, or not answered, is no finding. Of a connection between 4786 and another port of a
        service, it has to see the beginning.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Cisco-Specific Guidance"
    and "Hardening Systems and Devices", network engineers: disable Smart Install. CVE-2018-0171.
    """

    id = "M5"
    title = "No Smart Install"
    severity = "high"
    pack = "router-hardening"
    network_needs = ("infrastructure",)
    options = Options
    over = "conversations"
    scope = "addr in infrastructure and protocol == tcp"
    expect = "not port == 4786 or server_port != 4786"
    by = ("client", "server")
    says = "{server} answered {client} by Smart Install (TCP port 4786), by which anybody can replace a configuration, in {packets}, {when}"
    nothing = "no TCP conversation of infrastructure was seen"
