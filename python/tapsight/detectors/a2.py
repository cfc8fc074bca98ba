"""A2, mirror encapsulation."""

from __future__ import annotations

from tapsight._text import begin, plural
from tapsight.detectors._base import Detector, Told


class A2(Detector):
    """Packets in an encapsulation that has no use but mirroring.

    What it looks for:
        ERSPAN types I, II and III (GRE with protocol 0x88BE or 0x22EB), TZSP, HP's encapsulated remote mirroring, and
        rpcap.

    Why it matters:
        These formats exist to carry copies of traffic to an analyser. One that nobody ordered is a wire-tap.

    Example:
        A single packet of GRE protocol 0x88BE from a router to an address abroad.

    What to do:
        Find the session on the exporting device. List the sinks that are ordered under [checks.I6].

    What it cannot see:
        Mirrors in tunnels that also have other uses (plain GRE, VXLAN, IPsec). A1 sees those as long as the original
        passes a tap too.

    Source: draft-foschiano-erspan-03; ATT&CK T1020.001 (Traffic Duplication).
    """

    id = "A2"
    title = "Tunnels made for mirroring"
    asks = ("copied",)

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who sent copies to whom."""
        listed = "" if told.sinks_listed else " No list of authorised sinks was given."
        return begin(
            f"{told.exporter} sent {plural(told.claim.packets, 'copied packet')}{told.what} to {told.collector} in a "
            f"{told.claim.tunnel}, which is made for mirroring only, {told.when} ({told.seen}).{listed}"
        )
