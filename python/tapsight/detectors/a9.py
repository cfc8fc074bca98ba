"""A9, files that leave a router."""

from __future__ import annotations

import dataclasses

from tapsight._options import Options, Prefixes, within
from tapsight._text import begin, plural
from tapsight.claims import Claim
from tapsight.detectors._base import Detector, Told


class A9Options(Options):
    """What a policy may say under [checks.A9]."""

    servers: Prefixes | None = None
    """Who may receive files of routers, such as servers that keep configurations: a set, addresses and prefixes."""


class A9(Detector):
    """A router sends files: captures of what it forwards, its configuration, or others.

    What it looks for:
        A9.capture: a capture file (pcap, pcapng) that begins in a packet of a router, or that it sends by name (``*.pcap``), to
        whomever.
        A9.configuration, A9.file: a router sends a file by TFTP, FTP or HTTP to a server that is not among ``servers``.
        A9.ssh: a router opened an SSH connection and sent 1 MB or more, ten times as much as it received, to such a server.

    What it names but does not report:
        A9.fetch (a router, or another host, asks for a file), A9.elsewhere (any of these of an address that is no router).

    Why it matters:
        Routers can capture packets by themselves, to their own flash. Whoever controls one takes the files away with the tools at
        hand, and with them the calls and passwords of those who use the network.

    Who is a router:
        What ``infrastructure`` in the policy's [network] lists. Without it, who speaks a routing protocol or sends ICMP time
        exceeded; what others do is not judged then, and findings but captures are of low severity.

    Example of a policy::

        [network]
        infrastructure = ["198.51.100.0/28"]
        [checks.A9]
        servers = ["192.0.2.60"]

    What to do:
        Ask who ordered the transfer; look for capture sessions, and for files on the flash of the device.

    What it cannot see:
        Encrypted transfers but by their amount, captures that are compressed, and files that others fetch from a router unless they
        are captures.

    Source: CISA, AA25-239A, and Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12); RFC 1350, RFC 959;
    ATT&CK T1048.003, T1602.002, T1040.
    """

    id = "A9"
    title = "Files that leave a router"
    options = A9Options

    @classmethod
    def under(cls, claim: Claim, options: A9Options | None) -> Claim:
        """Files for servers that are listed are not reported, unless they are captures."""
        servers = options.servers if options is not None else None
        if servers and claim.detector != "A9.capture" and within(claim.tunnel.dst, servers):
            return dataclasses.replace(claim, report=False)
        return claim

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Which router sent what to whom."""
        claim = told.claim
        named = f', such as "{claim.detail}"' if claim.detail else ""
        times = plural(claim.packets, "time")
        match claim.detector:
            case "A9.capture":
                what = f"a capture of network traffic ({times}{named})"
            case "A9.configuration":
                what = f"its configuration ({times}{named})"
            case "A9.ssh":
                what = f"much more than it received over SSH ({plural(claim.packets, 'packet')})"
            case _:
                what = f"a file ({times}{named})"
        return begin(
            f"The router {told.exporter} sent {what} to {told.collector}, {told.when} ({told.seen})."
        )
