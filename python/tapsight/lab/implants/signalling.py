"""Implants that ask other networks, or hosts that come, for what they should not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tapsight.lab import control, mobile
from tapsight.lab.effect import Sent, Tampering
from tapsight.lab.implants.diverting import Inside
from tapsight.lab.network import (
    ATTACKER,
    DHCP_SERVER_6,
    DHCP_SERVERS,
    GATEWAY,
    OWN_NETWORK,
    OWN_TITLE,
    PACKET_GATEWAY,
    PARTNER_GATEWAY,
    PARTNER_SIGNALLING,
    PARTNER_TITLE,
    RESOLVER,
    ROGUE_MAC,
    SIGNALLING,
    VLANS,
)
from tapsight.lab.packet import UDP, Packet, address, ethernet
from tapsight.lab.traffic import INTERNET, MILLISECOND, VOICE, Event

HLR, VLR, SERVICE = 6, 7, 147
"""Subsystems (3GPP TS 23.003 section 8.2)."""

STRANGE_TITLE = "88234000001"
"""A title that is none of the partner's."""


class MobileQuery(Tampering):
    """Asks, over an interconnect, for what may not come from there: a subscriber's place or keys, or a way to the network's nodes."""

    kind = "mobile-query"
    expects = frozenset({"B20"})
    variants = ("locate", "unlisted", "title", "realm", "gtp")
    uses = ("via", "start", "count")

    @property
    def collector(self) -> str | None:
        """Who asks."""
        if self.via == "gtp":
            return PARTNER_GATEWAY
        return ATTACKER if self.via == "unlisted" else PARTNER_SIGNALLING

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds questions and answers."""
        yield from super().hosts(events)
        for n, time in enumerate(self.times(6)):
            self.acted += 1
            for later, packet, outward in self.exchange(n):
                flow = f"{self.kind}-{self.via}-{n}"
                yield Event(time + later, packet, outward, VOICE, flow, self.kind, self.number)

    def exchange(self, n: int) -> Iterator[tuple[int, Packet, bool]]:
        """One question, and its answer."""
        imsi = "".join(OWN_NETWORK) + f"{self.rng.randrange(10**10):010d}"
        number = 9000 + 1000 * self.variants.index(self.via) + 2 * n
        if self.via == "gtp":
            # A subscriber abroad talks to the gateway of the own network, in its tunnel.
            echo = mobile.gtpc(
                "192.0.2.77", PACKET_GATEWAY, 32, 0, number, mobile.full_endpoint("192.0.2.77", n + 1, 6)
            )
            yield 0, mobile.gtpu(PARTNER_GATEWAY, PACKET_GATEWAY, 0x5EED, number, echo.encode()), False
            return
        src = str(self.collector)
        if self.via == "realm":
            origin, home = mobile.realm("901", "88"), mobile.realm(*OWN_NETWORK)
            ask = mobile.diameter(318, origin, home, number, imsi, request=True)
            reply = mobile.diameter(318, home, origin, number, imsi, request=False)
            yield 0, mobile.sctp(src, SIGNALLING, mobile.DIAMETER, number, ask), False
            yield 40 * MILLISECOND, mobile.sctp(SIGNALLING, src, mobile.DIAMETER, number, reply), True
            return
        own, calling = (OWN_TITLE, HLR), (PARTNER_TITLE, SERVICE)
        context, asked = mobile.LOCATION_ENQUIRY, mobile.any_time_interrogation(imsi, PARTNER_TITLE)
        if self.via == "unlisted":
            own, calling = (OWN_TITLE, VLR), (STRANGE_TITLE, HLR)
            context, asked = mobile.SUBSCRIBER_INFO, mobile.provide_subscriber_info(imsi)
        elif self.via == "title":
            calling = (STRANGE_TITLE, VLR)
            context, asked = mobile.LOCATION_UPDATE, mobile.update_location(imsi, STRANGE_TITLE)
        question = mobile.unitdata(own, calling, mobile.begin(number, context, asked))
        answer = mobile.unitdata(calling, own, mobile.end(number))
        ask = mobile.m3ua(3001, 1001, question)
        reply = mobile.m3ua(1001, 3001, answer)
        yield 0, mobile.sctp(src, SIGNALLING, mobile.M3UA, number, ask), False
        yield 40 * MILLISECOND, mobile.sctp(SIGNALLING, src, mobile.M3UA, number, reply), True


class RogueDhcp(Inside):
    """Answers hosts that come before or beside the DHCP server, and tells them to send their packets, or questions for names, to itself."""

    kind = "rogue-dhcp"
    expects = frozenset({"B8"})
    variants = ("gateway", "dns", "routes", "alone", "impostor", "v6")
    uses = ("via", "start", "count")
    address = "198.51.100.66"
    address_6 = "fe80::bad"

    @property
    def collector(self) -> str | None:
        """The rogue server; an impostor has the address of the right one."""
        return {"impostor": None, "v6": self.address_6}.get(self.via, self.address)

    @property
    def collector_mac(self) -> str | None:
        """Of an impostor, only this tells."""
        return ROGUE_MAC.hex(":")

    def sends(self) -> Iterator[Sent]:
        """A host asks, the server offers, and so does the rogue."""
        for n, time in enumerate(self.times(6)):
            host = bytes((2, 0, 0x5E, 0x40, 0, n + 1))
            yield from self._six(n, time, host) if self.via == "v6" else self._four(n, time, host)

    def _four(self, n: int, time: int, host: bytes) -> Iterator[Sent]:
        number, to = 0xD0C00000 + n, f"198.51.100.{90 + n}"
        server, mac = DHCP_SERVERS[0], b"\x02\0\x5e\x50\0\x01"
        right = control.dhcp_addresses(3, GATEWAY["inside"]) + control.dhcp_addresses(6, RESOLVER)
        wrong = {
            "dns": control.dhcp_addresses(3, GATEWAY["inside"]) + control.dhcp_addresses(6, self.address),
            "routes": right
            + control.dhcp_routes((control.NOBODY, 1, self.address), ("128.0.0.0", 1, self.address)),
        }.get(self.via, control.dhcp_addresses(3, self.address) + control.dhcp_addresses(6, RESOLVER))
        asks = dhcp_frame(control.NOBODY, "255.255.255.255", host, control.dhcp(1, number, host), n + 1)
        yield Sent(time, "inside", asks, self.kind, honest=True)
        if self.via != "alone":
            offer = control.dhcp(2, number, host, to=to, server=server, more=right)
            frame = dhcp_frame(server, "255.255.255.255", mac, offer, n + 1)
            yield Sent(time + 3 * MILLISECOND, "inside", frame, self.kind, honest=True)
        mine = server if self.via == "impostor" else self.address
        offer = control.dhcp(2, number, host, to=to, server=mine, more=wrong)
        self.acted += 1
        frame = dhcp_frame(mine, "255.255.255.255", ROGUE_MAC, offer, 500 + n)
        yield Sent(time + 2 * MILLISECOND, "inside", frame, self.kind)

    def _six(self, n: int, time: int, host: bytes) -> Iterator[Sent]:
        group, link = "ff02::1:2", f"fe80::5e:40:0:{n + 1:x}"
        solicit = control.dhcpv6(1, 0xDC0000 + n, host)
        yield Sent(
            time,
            "inside",
            dhcp_frame_6(link, group, host, control.group_mac(group), solicit),
            self.kind,
            honest=True,
        )
        for later, src, mac, dns, honest in (
            (2, self.address_6, ROGUE_MAC, "2001:db8:bad::53", False),
            (3, DHCP_SERVER_6, b"\x02\0\x5e\x50\0\x01", "2001:db8:ffff::53", True),
        ):
            told = control.dhcpv6_option(23, address(dns))
            advert = control.dhcpv6(2, 0xDC0000 + n, host, server=mac, more=told)
            self.acted += not honest
            frame = dhcp_frame_6(src, link, mac, host, advert)
            yield Sent(time + later * MILLISECOND, "inside", frame, self.kind, honest=honest)


def dhcp_frame(src: str, dst: str, mac: bytes, message: bytes, number: int, to: bytes = b"\xff" * 6) -> bytes:
    """A message of DHCP in its frame: port 68 is the host's; servers and relays have 67 (RFC 2131 section 4.1)."""
    ports = (67, 68) if message[0] == 2 else (68, 67)
    if any(message[24:28]):
        ports = 67, 67
    return ethernet(mac, to, Packet(src, dst, UDP, *ports, message, 64, 0, number).encode(), VLANS[INTERNET])


def dhcp_frame_6(src: str, dst: str, mac: bytes, to: bytes, message: bytes) -> bytes:
    """A message of DHCPv6 in its frame."""
    ports = (546, 547) if message[0] == 1 else (547, 546)
    return ethernet(mac, to, Packet(src, dst, UDP, *ports, message, 64).encode(), VLANS[INTERNET])


KINDS = (MobileQuery, RogueDhcp)
