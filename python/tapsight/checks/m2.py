"""M2: no management in the clear."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._several import Part, Several


class M2(Several[Options]):
    """Devices of the network are not managed by protocols that anybody on the way can read.

    What it looks for:
        Telnet, FTP and TFTP of an address of ``infrastructure`` with anybody; HTTP that it serves; SSH of version 1 (or 1.99: both) that it
        speaks; SNMP of versions 1 and 2c.

    Why it matters:
        They carry passwords, community strings and configurations in the clear. Whoever reads one packet can log in.

    Example that fails:
        SNMP version 2c between 192.0.2.14 and 198.51.100.1, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]

    What to do:
        Turn the service off; use SSH version 2, SCP or SFTP, HTTPS and SNMP version 3 with authentication and privacy. Renew the passwords that
        were sent.

    What it cannot see:
        The same inside of encrypted tunnels. What is not recognised, or only by its port, is in scope but not judged.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices":
    disable Telnet, FTP, TFTP, SSHv1, HTTP, and SNMP v1/v2c. RFC 4253, section 5.1; RFC 3411.
    """

    id = "M2"
    title = "No management in the clear"
    severity = "high"
    pack = "router-hardening"
    network_needs = ("infrastructure",)
    options = Options
    nothing = "no conversations of infrastructure were seen"
    parts = (
        Part(
            "clear",
            over="conversations",
            scope="addr in infrastructure",
            expect="not app in (telnet, ftp, tftp) and (app != http or not server in infrastructure)",
            says="{end_a} and {end_b} exchanged {packets:{apps}} in the clear, {when}",
        ),
        Part(
            "ssh",
            over="ssh",
            scope="src in infrastructure and message == identification",
            expect='version == "2.0"',
            says="{src} offered {dst} SSH version {version}, not version 2 only, in {packets}, {when}",
        ),
        Part(
            "snmp",
            over="snmp",
            scope="addr in infrastructure",
            expect="version == 3",
            says="{end_a} and {end_b} exchanged {packets:SNMP} of {version}, whose community string anybody can read, {when}",
        ),
    )
