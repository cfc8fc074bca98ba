"""The detectors of the engine, described as people ask for them: ``tapsight explain A5``.

Each class below is documentation and a title; the detecting happens in the engine.
"""

from __future__ import annotations

import inspect
from typing import ClassVar, Literal

Question = Literal["copied", "diverted"]


class Detector:
    """A detector of the engine."""

    id: ClassVar[str]
    title: ClassVar[str]
    asks: ClassVar[tuple[Question, ...]]
    """The questions that it helps to answer."""

    @classmethod
    def explain(cls) -> str:
        """What it sees and what it cannot."""
        return f"{cls.id}: {cls.title}\n\n{inspect.getdoc(cls)}"


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


class A5(Detector):
    """The same packet was seen more than once without a tunnel, and no harmless reason explains it.

    What it looks for:
        A5.forked: one router sent a packet twice, to two next hops, VLANs or labels. A mirror that no tunnel shows.
        A5.late: a packet came by again later than any forwarding takes. A replay, or a detour through something.
        A5.readdressed: the same content was seen with another source or destination address.
        A5.loop: a packet came by again and again while its TTL fell. A routing loop.

    What it names but does not report:
        A5.span-both (a mirror port that sees a packet enter and leave), A5.routed-span (both sides of a router on one
        tap), A5.vlan-copy (a mirror port on two VLANs), A5.forwarded (the normal hop from one tap to the next),
        A5.translated (address translation), A5.retransmission, A5.multicast (packets meant for many).

    Why it matters:
        Copying to a second next hop and rewriting addresses are what a router can do without leaving a tunnel.

    What to do:
        Look at the frames named. Ask for the policy-based routes, access lists with a copy action and translation
        rules of the device whose MAC address sent both.

    What it cannot see:
        Packets too alike to be told apart (short ones without IP identification and payload): they are in scope but
        not judged. Copies that leave on a link without a tap.

    Source: measured classes of duplicates in public captures; the window for late ones is 5 minutes.
    ATT&CK T1020.001 (Traffic Duplication), T1557 (Adversary-in-the-Middle).
    """

    id = "A5"
    title = "The same packet twice on the wire"
    asks = ("copied", "diverted")


DETECTORS: dict[str, type[Detector]] = {detector.id: detector for detector in (A1, A2, A5)}
"""Every detector by its id, in the order of the catalogue."""
