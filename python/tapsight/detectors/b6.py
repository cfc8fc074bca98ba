"""B6, ARP and neighbour spoofing."""

from __future__ import annotations

from tapsight._text import begin, mac_text, party, plural, safe
from tapsight.detectors._base import Detector, Told


class B6(Detector):
    """Two devices said that an address is theirs.

    What it looks for:
        B6.two-owners: an address that two MAC addresses claim in turn, each within a minute of the other. High for gateways: those in
        the policy's [network], or, where it lists none, addresses that three hosts have asked for, if it happens more than once. Else
        medium (a gateway of the policy, once) or low.
        B6.moved: a host was told, without asking, that an address has another MAC address, and its packets to one and the same
        destination went there from then on. High.
        B6.other-sender: ARP that names another sender than the source of its frame.

    What it names but does not report:
        B6.told (as B6.moved, but no packets went another way), B6.announced (a gateway was announced unasked by a new MAC address, and the old one fell silent), B6.proxy (a listed gateway
        answers for others).

    Why it matters:
        Hosts believe who answers last. Who answers for a gateway receives all that leaves the network, and can pass it on unseen.

    What to do:
        Find the switch port that has the second MAC address. Use dynamic ARP inspection and RA guard; list the gateways in the policy.

    What it cannot see:
        One who answers alone, and hosts with two network cards on one address from an attack on that host.

    Source: RFC 826; RFC 4861; RFC 5227; ATT&CK T1557.002 (ARP Cache Poisoning).
    """

    id = "B6"
    title = "Addresses with two owners (ARP, neighbour discovery)"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who claims whose address."""
        claim = told.claim
        claimant = party(None, claim.collector_mac)
        other = f"the device with MAC {safe(claim.detail or mac_text(bytes(6)))}"
        if claim.detector in {"B6.moved", "B6.told"}:
            moved = ", and the packets of that device went there from then on" * (
                claim.detector == "B6.moved"
            )
            return begin(
                f"{claimant} told {other} {plural(claim.packets, 'time')}, without being asked, that the address "
                f"{told.subject} is its own, {told.when} ({told.seen}){moved}."
            )
        if claim.detector == "B6.other-sender":
            name = claimant if claim.collector_mac else "another device"
            return begin(
                f"{other} sent ARP in the name of {name}, such as for the address {told.subject}, {plural(claim.packets, 'time')}, "
                f"{told.when} ({told.seen})."
            )
        return begin(
            f"{claimant} claimed the address {told.subject} {plural(claim.packets, 'time')}, {told.when} ({told.seen}), while it "
            f"belonged to {other}."
        )
