"""A5, duplicates by class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tapsight._options import Options, Prefixes, Taps, within
from tapsight._text import begin, listing, party, plural
from tapsight.claims import Claim
from tapsight.detectors._base import Detector, Told


class A5Options(Options):
    """What a policy may say under [checks.A5]."""

    virtual_servers: Prefixes | None = None
    """Addresses that stand for others: what a load balancer or a relay of the network's own rewrites."""
    bridged_taps: Taps | None = None
    """Taps that see the same frames in several VLANs, or with several MAC addresses."""


FEW = 3
"""Below so many packets nothing is reported, nor doubted."""


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

    Example of a policy::

        [checks.A5]
        virtual_servers = ["203.0.113.80"]   # a load balancer's: that it rewrites this address is no finding
        bridged_taps = ["core"]              # this tap sees frames in several VLANs: that is no reason for doubt

    When it is unknown:
        Where packets came by again in another VLAN or with other MAC addresses (A5.vlan-copy), and ``bridged_taps`` does not say that this
        tap sees both: a copy to another VLAN, or to another next hop under another name, looks the same.

    What it cannot see:
        Packets too alike to be told apart (short ones without IP identification and payload): they are in scope but
        not judged. Copies that leave on a link without a tap; on taps in ``bridged_taps``, copies to another VLAN.

    Source: measured classes of duplicates in public captures; the window for late ones is 5 minutes.
    ATT&CK T1020.001 (Traffic Duplication), T1557 (Adversary-in-the-Middle).
    """

    id = "A5"
    title = "The same packet twice on the wire"
    asks = ("copied", "diverted")
    options = A5Options

    @classmethod
    def under(cls, claim: Claim, options: A5Options | None) -> Claim:
        """That an address is rewritten is not reported if the policy says that it stands for others."""
        virtual = (options.virtual_servers if options is not None else None) or ()
        if claim.detector == "A5.readdressed" and within(claim.rewritten_from, virtual):
            return dataclasses.replace(claim, report=False)
        return claim

    @classmethod
    def doubt(cls, claims: Sequence[Claim], options: A5Options) -> str | None:
        """A copy to another VLAN looks like a tap that sees several."""
        known = options.bridged_taps or ()
        odd = [each for each in claims if each.detector == "A5.vlan-copy" and each.copy_tap not in known]
        count = sum(each.packets for each in odd)
        if count < FEW:
            return None
        taps = listing(sorted({each.copy_tap or "" for each in odd}))
        return (
            f"{plural(count, 'packet')} came by again in another VLAN or with other MAC addresses (on {taps}): copies, or a tap that sees "
            f"the same frames twice, which the policy could say (bridged_taps)"
        )

    @classmethod
    def sentence(cls, told: Told) -> str:
        """What came by twice, and how."""
        claim, when = told.claim, f"{told.when} ({told.seen})"
        match claim.detector:
            case "A5.forked":
                return (
                    f"{begin(party(None, claim.exporter_mac))} sent {told.share}{told.what} twice: as usual, and once "
                    f"more to {party(None, claim.collector_mac)}, {when}.{told.lag}"
                )
            case "A5.late":
                return (
                    f"{told.share}{told.what} came by a second time, {told.hop}, {when}, {told.late} after the first: "
                    f"later than forwarding takes."
                )
            case "A5.readdressed":
                return (
                    f"{told.share}{told.what} with the address {party(claim.rewritten_from)} were seen again with "
                    f"{party(claim.rewritten_to)} in its place, {when}: something in between rewrites them."
                )
            case "A5.loop":
                return f"{told.share}{told.what} came by again and again, {when}: a routing loop sends them in circles."
        return super().sentence(told)
