"""A1, encapsulated sibling."""

from __future__ import annotations

from tapsight._text import begin, plural
from tapsight.detectors._base import Detector, Told


class A1(Detector):
    """The same packet was seen bare and once more inside a tunnel.

    What it looks for:
        A packet on its normal path, and within the window (5 s unless told otherwise) the identical packet wrapped in
        a tunnel: GRE, ERSPAN, VXLAN, GENEVE, GTP-U, IP in IP and so on, on the same tap or another one.

    Why it matters:
        Somebody had a router or switch copy the traffic and carry the copy away. Whoever receives the tunnel reads
        what the subscribers say and send.

    Example:
        A call's RTP packets leave towards 203.0.113.10, and each of them leaves again in a GRE tunnel
        from 192.0.2.1 to 198.51.100.7.

    What to do:
        Find the mirror session on the device whose address is the source of the tunnel, and who ordered it. If it is
        ordered, list its sink under [checks.I6].

    What it cannot see:
        Copies in encrypted tunnels, copies cut too short to be recognised, and copies of packets whose original
        passes no tap. A tunnel that is seen before and after its head-end is named, not reported.

    Source: ATT&CK T1020.001 (Traffic Duplication), T1040 (Network Sniffing).
    """

    id = "A1"
    title = "The same packet inside a tunnel"
    asks = ("copied",)

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who copied what to whom."""
        tunnel, mirror = told.claim.tunnel, told.mirror
        made = " Such a tunnel is made for mirroring only." if tunnel.is_mirror else ""
        more = ""
        if mirror is not None and mirror.packets > told.claim.packets:
            more = f" It carried {plural(mirror.packets, 'packet')} in all."
        return begin(
            f"{told.exporter} copied {told.share}{told.what} and sent the copies to {told.collector} in a {tunnel}, "
            f"{told.when} ({told.seen}).{told.lag}{made}{more}"
        )
