"""B8, rogue DHCP."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from tapsight._options import Options, Prefixes, within
from tapsight._text import begin, party, plural, safe
from tapsight.claims import Claim
from tapsight.detectors._base import Detector, Told


def _duids(value: object) -> tuple[Any, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or not re.fullmatch(r"(?i)(?:[0-9a-f]{2}:?){3,130}", item):
            raise ValueError(
                "must be a list of DUIDs in hexadecimal digits, such as 00:03:00:01:00:1b:54:ab:cd:ef"
            )
    return tuple(item.replace(":", "").lower() for item in items)


class B8Options(Options):
    """What a policy may say under [checks.B8]."""

    servers: Prefixes | None = None
    """The servers that may answer hosts: their addresses, of DHCPv6 also those of their links."""
    duids: Annotated[tuple[str, ...], BeforeValidator(_duids)] = ()
    """Servers of DHCPv6 by their DUID, whatever address they answer from."""


class B8(Detector):
    """A DHCP server that hosts should not listen to.

    What it looks for:
        B8.unlisted: an answer from a server that is not among ``servers`` in the policy. High.
        B8.conflict: two servers answered one client with other gateways, DNS servers or routes (options 3, 6, 121 and 249), unless both are
        listed. High if the policy's [network] lists gateways and one that was told is none of them, else medium.
        B8.impostor: two devices offered as one and the same server, in turn. Medium.
        B8.second-server: as B8.conflict, but told to different clients of one link, or at different times. Low.
        B8.boot: two servers told one client other boot files or servers. Low.

    What it names but does not report:
        B8.server: who answered, with what. B8.changed: a server told a client other things than before.

    Why it matters:
        A host believes the first answer. Who gives it decides which router gets all that the host sends, which server it asks for names,
        or what it boots.

    Example of a policy::

        [checks.B8]
        servers = ["192.0.2.67", "192.0.2.68", "fe80::67"]
        duids = ["00:03:00:01:00:1b:54:ab:cd:ef"]

    What to do:
        Find the switch port with the MAC address that is named. Use DHCP snooping and RA guard, and list the servers in the policy.

    What it cannot see:
        A single server that is wrong, unless the policy lists servers; one that claims address and name of a listed server from the same MAC
        address. Of what a relay passed on, only the server's own words tell who it was.

    Source: RFC 2131, RFC 2132, RFC 3442, RFC 8415; CVE-2024-3661 (routes); ATT&CK T1557.003 (DHCP Spoofing).
    """

    id = "B8"
    title = "Rogue DHCP servers"
    options = B8Options

    @classmethod
    def under(cls, claim: Claim, options: B8Options | None) -> Claim:
        """Servers that are not listed are reported, and conflicts of those that are not."""
        if options is None or options.servers is None:
            return claim
        if claim.detector == "B8.server" and not _is_listed(claim, options):
            return dataclasses.replace(claim, detector="B8.unlisted", report=True, severity="high")
        ends = claim.rewritten_from, claim.rewritten_to
        two = claim.detector in {"B8.conflict", "B8.second-server", "B8.boot"} and ends[0] != ends[1]
        if two and all(within(end, options.servers) for end in ends):
            return dataclasses.replace(claim, report=False)
        return claim

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who told what."""
        claim = told.claim
        server = _server(claim)
        through = f" through the relay {party(claim.tunnel.dst)}" if claim.tunnel.dst is not None else ""
        here, _, there = safe(claim.detail or "").partition("; the other ")
        times = plural(claim.packets, "time")
        match claim.detector:
            case "B8.unlisted":
                return begin(
                    f"{server} answered hosts as a DHCP server{through}, {times}, {told.when} ({told.seen}); the policy does not list it. "
                    f"It told them: {here}."
                )
            case "B8.impostor":
                devices = " and ".join(party(None, mac) for mac in (claim.exporter_mac, claim.collector_mac))
                return begin(
                    f"{devices} offered addresses as one DHCP server, {party(claim.subject)}, in turn, {times}, {told.when} ({told.seen})."
                )
        one_of = "clients of the same link" if claim.detector == "B8.second-server" else "one client"
        said = f"told {one_of}{through} different things, {times}, {told.when} ({told.seen}):"
        if claim.rewritten_from == claim.rewritten_to:
            return begin(
                f"two devices that call themselves the DHCP server {party(claim.subject)} {said} {here}; or {there}."
            )
        return begin(
            f"two DHCP servers {said} {server} told: {here}; {party(claim.rewritten_from)} told: {there}."
        )


def _server(claim: Claim) -> str:
    """The server as it is known: by its own words and by where its answers come from."""
    src, name = claim.tunnel.src, claim.subject
    told = party(src, claim.exporter_mac)
    if name is not None and name != src:
        told += f", which calls itself {party(name)},"
    return told


def _is_listed(claim: Claim, options: B8Options) -> bool:
    servers = options.servers or ()
    duid = re.match(r"DUID ([0-9a-f]+)", claim.detail or "")
    if duid is not None and duid[1] in options.duids:
        return True
    # Behind a relay, answers come from that.
    ends = {claim.subject} if claim.tunnel.dst is not None else {claim.subject, claim.tunnel.src}
    return all(within(end, servers) for end in ends)
