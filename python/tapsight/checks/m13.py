"""M13: no unlisted listener on infrastructure."""

from __future__ import annotations

from tapsight._options import Options, Ports
from tapsight.checks._rule import Rule


class M13Options(Options):
    """What a policy may say under [checks.M13]."""

    ports: Ports | None = None
    """TCP ports on which devices may answer."""


class M13(Rule[M13Options]):
    """Devices of the network answer only on the TCP ports that are listed.

    What it looks for:
        An address of ``infrastructure`` that accepted a TCP connection on a port that is not among ``ports``, by the SYN or its answer.

    Why it matters:
        A port that nobody opened on purpose is a service that was forgotten, or one that an intruder left to come back.

    Example that fails:
        198.51.100.1 accepts a connection on port 22222, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]
            [checks.M13]
            ports = [22, 179, 830]

        ``ports = []`` says that devices answer on none.

    What to do:
        Compare with the sockets that the device lists, and with its configuration: they may differ. C2 names ports that intruders are known for.

    What it cannot see:
        Services that nobody used while it looked. Of connections whose beginning was not seen, ports do not prove who accepted them, as clients have low ones
        too (NFS): those where a device seems to be the server of an unlisted port are in scope but not judged. UDP has nothing that tells acceptance.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices", network
    defenders: scan for services; AA25-239A; ATT&CK T1571 (Non-Standard Port).
    """

    id = "M13"
    title = "No unlisted listener on infrastructure"
    severity = "high"
    pack = "router-hardening"
    needs = ("ports",)
    network_needs = ("infrastructure",)
    options = M13Options
    uses = ("ports",)
    over = "conversations"
    scope = "addr in infrastructure and protocol == tcp"
    expect = "not server in infrastructure or server_port in ports or not handshake"
    by = ("server", "server_port")
    says = "{server} answered on TCP port {server_port}, which the policy does not list, in {packets:{apps}}, {when}"
    nothing = "no TCP conversation of infrastructure was seen"
