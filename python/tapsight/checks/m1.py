"""M1: management only from management networks."""

from __future__ import annotations

from tapsight._options import Options, Prefixes
from tapsight.checks._rule import Rule


class M1Options(Options):
    """What a policy may say under [checks.M1]."""

    management: Prefixes | None = None
    """From where devices are managed."""


class M1(Rule[M1Options]):
    """Devices of the network are managed from management networks only, never from the Internet.

    What it looks for:
        SSH, Telnet, HTTP, TLS, SNMP, FTP, TFTP or RDP that an address of ``infrastructure`` answered, and that was not begun from an address in
        ``management``. Another device is none: an intruder goes from one to the next. List those that may log in on others.

    Why it matters:
        Whoever can reach the management of a router can try passwords and flaws on it. The intrusions into carriers of 2024 and 2025 began so.

    Example that fails:
        SSH from 203.0.113.66 to 198.51.100.1, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]
            [checks.M1]
            management = ["192.0.2.0/28"]

    What to do:
        Put an access list on the lines and services of the device, and move management out of band. Look who was logged in.

    What it cannot see:
        Management over other protocols, and which device is behind a listed address: a workstation there may itself be reached from outside. Of
        TCP connections without ports of services, it has to see the beginning to know who began them. What nobody answered is no finding: of UDP, what a
        tap shows no answer to is taken for that if it shows both directions of other conversations of the device, else it is not judged. What only its
        port makes look like management is in scope but not judged.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices":
    out-of-band management without lateral connections between devices, and management from dedicated administrative workstations only.
    """

    id = "M1"
    title = "Management only from management networks"
    severity = "high"
    pack = "router-hardening"
    needs = ("management",)
    network_needs = ("infrastructure",)
    options = M1Options
    uses = ("management",)
    over = "conversations"
    scope = "addr in infrastructure and app in (ssh, telnet, http, tls, snmp, ftp, tftp, rdp)"
    expect = "not server in infrastructure or client in management or not answered"
    by = ("client", "server")
    says = "{client} managed {server} over {apps}, in {packets}, {when}; the policy does not say that devices are managed from there"
    nothing = "no management of infrastructure was seen"
