"""Honest things that look like tampering, one class a kind: none of them may raise an alarm.

A new one is a class and its place in ``CONFOUNDERS``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import ClassVar

from tapsight.lab import control, dialogs, mobile, sip
from tapsight.lab.dials import Implant
from tapsight.lab.effect import Passage, Seen, Sent
from tapsight.lab.honest import Honest, Talk, ticks
from tapsight.lab.implants.copying import Mirror
from tapsight.lab.implants.signalling import dhcp_frame
from tapsight.lab.implants.voice import recorded
from tapsight.lab.network import (
    BACKUP,
    COMPATRIOTS,
    DHCP_SERVERS,
    ECMP_NEIGHBOUR,
    GATEWAY,
    HEAD_END,
    INSIDE_MEDIA,
    LOOPBACK,
    MEDIATION,
    NAT_ADDRESS,
    NEIGHBOUR,
    OUTSIDE_MEDIA,
    OWN_NETWORK,
    OWN_TITLE,
    PACKET_GATEWAY,
    PARTNER_GATEWAY,
    PARTNER_NETWORK,
    PARTNER_SIGNALLING,
    PARTNER_TITLE,
    PROBE,
    RECORDER,
    RESOLVER,
    ROUTER,
    SIGNALLING,
    SUBSCRIBERS,
    VIRTUAL_SERVER,
    VLANS,
    VPN_PEER,
)
from tapsight.lab.packet import TCP, UDP, Packet, ethernet, forwarded, link, tcp_options
from tapsight.lab.router import through_tunnel, use_next_hop
from tapsight.lab.traffic import (
    INTERNET,
    MILLISECOND,
    SECOND,
    VOICE,
    Event,
    conversation,
    dns_answer,
    dns_query,
    national,
)

# --- How taps see ------------------------------------------------------------------------------------------------------


class Span(Honest):
    """A mirror port that sees each frame enter and leave the switch: every frame twice."""

    kind = "span"
    uses = ("share",)

    def captures(self, tap: str, frames: list[Seen]) -> list[Seen]:
        """Each frame and its double, a few microseconds later."""
        twice = [
            frame._replace(
                time=frame.time + self.rng.randrange(2_000, 12_000), role=self.kind, cause=self.number
            )
            for frame in frames
            if self.hits()
        ]
        self.acted += len(twice)
        return sorted([*frames, *twice], key=attrgetter("time", "event"))


class RoutedSpan(Honest):
    """A tap that sees both sides of the router."""

    kind = "routed-span"
    uses = ("share", "tap")

    def copies(self, passage: Passage) -> None:
        """Shows the frame of the other side too."""
        if not self.hits():
            return
        self.acted += 1
        tap = self.dials.tap
        if passage.entry != tap:
            passage.add(self, passage.time + 900, tap, passage.entry_frame)
        elif passage.leaving is not None:
            passage.add(self, passage.leave + 900, tap, passage.exit_frame)


class VlanCopy(Honest):
    """A mirror port on two VLANs: frames are seen in another one too."""

    kind = "vlan-copy"
    uses = ("share",)

    def copies(self, passage: Passage) -> None:
        """Shows what goes out in VLAN 900 as well."""
        if passage.leaving is None or not self.hits():
            return
        self.acted += 1
        frame = passage.exit_frame[:14] + (900).to_bytes(2, "big") + passage.exit_frame[16:]
        passage.add(self, passage.leave + 8_000, passage.exit, frame)

    def policy(self) -> dict[str, list[str]]:
        """The VLAN is listed, for voice too, and that taps see both."""
        return {"voice_vlans": ["900"], "vlans": ["900"], "bridged_taps": ['"inside"', '"outside"']}


class Microburst(Honest):
    """A burst that a tap cannot follow: for a while it loses most frames."""

    kind = "microburst"
    usual = 0.7
    uses = ("share", "at", "ms", "tap")

    def captures(self, tap: str, frames: list[Seen]) -> list[Seen]:
        """Loses a share of frames."""
        if tap != self.dials.tap:
            return frames
        begin, end = self.at, self.at + self.ms(500)
        kept = [frame for frame in frames if not begin <= frame.time < end or not self.hits()]
        self.acted += len(frames) - len(kept)
        return kept


class Clock(Honest):
    """What is wrong with the clock of a tap."""

    def wrong(self, time: int) -> int:
        """What the clock shows at this time."""
        raise NotImplementedError

    def captures(self, tap: str, frames: list[Seen]) -> list[Seen]:
        """Writes the clock's time on each frame."""
        if tap != self.dials.tap:
            return frames
        self.acted += len(frames)
        return [frame._replace(time=max(0, self.wrong(frame.time))) for frame in frames]


class ClockOffset(Clock):
    """The clock of a tap is ahead."""

    kind = "clock-offset"
    uses = ("ms", "tap")

    def wrong(self, time: int) -> int:
        """Ahead by the same all the time."""
        return time + self.ms(200)


class ClockStep(Clock):
    """The clock of a tap is set forward on the way."""

    kind = "clock-step"
    uses = ("ms", "at", "tap")

    def wrong(self, time: int) -> int:
        """Ahead after the step."""
        return time + (self.ms(200) if time >= self.at else 0)


class ClockDrift(Clock):
    """The clock of a tap runs fast."""

    kind = "clock-drift"
    uses = ("ppm", "tap")

    def wrong(self, time: int) -> int:
        """Ahead by more and more."""
        return time + int(time * self.dials.ppm / 1e6)


class CaptureJitter(Honest):
    """A capture of several queues: frames are written a little out of order, with their right times."""

    kind = "capture-jitter"
    uses = ("ms", "tap")

    def captures(self, tap: str, frames: list[Seen]) -> list[Seen]:
        """Changes the order."""
        if tap != self.dials.tap:
            return frames
        self.acted += len(frames)
        most = self.ms(1)
        keyed = [(frame.time + self.rng.randrange(most), n) for n, frame in enumerate(frames)]
        return [frames[n] for _, n in sorted(keyed)]


# --- What hosts send ---------------------------------------------------------------------------------------------------


class Retransmissions(Honest):
    """Hosts that send again: TCP after a loss, SIP with its timer T1 doubling (RFC 3261, 17.1.1.2), DNS after a second."""

    kind = "retransmissions"
    usual = 0.05
    uses = ("share",)

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds what is sent again."""
        numbers: dict[str, int] = {}
        for event in events:
            yield event
            packet = event.packet
            again: list[int] = []
            if packet.protocol == UDP and packet.dst_port == 5060:
                again = [500, 1500, 3500] if packet.payload[:3] != b"SIP" else []
            elif packet.protocol == UDP and packet.dst_port == 53:
                again = [1000]
            elif packet.protocol == TCP and packet.payload:
                again = [220]
            if not again or not self.hits():
                continue
            for ms in again:
                self.acted += 1
                # Linux numbers what it sends again anew (a counter a connection); some hosts number nothing.
                number = packet.ip_id
                if number:
                    numbers[packet.src] = number = (numbers.get(packet.src, number) + 7919) % 65535 + 1
                yield event._replace(
                    time=event.time + ms * MILLISECOND,
                    packet=packet._replace(ip_id=number),
                    role="retransmission",
                    cause=self.number,
                )


class Unnumbered(Honest):
    """Hosts that number no packet: the IPv4 identification is 0 everywhere (RFC 6864, 4.1)."""

    kind = "ip-id-zero"
    uses = ("share",)

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Takes the numbers away."""
        for event in events:
            if event.packet.ip_id and self.concerns(event.packet.src):
                self.acted += 1
                yield event._replace(packet=event.packet._replace(ip_id=0), cause=self.number)
            else:
                yield event


class Multicast(Honest):
    """A television channel to a group (RFC 1112): one packet comes in, and one leaves in each VLAN that wants it."""

    kind = "multicast"
    group = "232.1.1.1"

    def sends(self) -> Iterator[Sent]:
        """The packets, on both sides."""
        to = control.group_mac(self.group)
        for n, time in enumerate(range(SECOND // 3, self.end, 10 * MILLISECOND)):
            self.acted += 1
            # RTP (RFC 2250) with four packets of a transport stream (ISO/IEC 13818-1), here without content.
            stream = b"".join(b"\x47\x1f\xff\x10" + self.rng.randbytes(184) for _ in range(4))
            rtp = struct.pack("!BBHII", 0x80, 33, n & 0xFFFF, 900 * n & 0xFFFFFFFF, 0x1BADCAFE) + stream
            packet = Packet("192.0.2.200", self.group, UDP, 5004, 5004, rtp, 60, 0, n % 65535 + 1)
            arriving = packet.encode()
            flow = f"multicast-{self.group}"
            yield Sent(time, "outside", ethernet(NEIGHBOUR["outside"], to, arriving, VLANS[INTERNET]), flow)
            for k, vlan in enumerate((100, 101, 102)):
                frame = ethernet(ROUTER["inside"], to, forwarded(arriving), vlan)
                yield Sent(time + 60_000 + 2_000 * k, "inside", frame, flow)

    def policy(self) -> dict[str, list[str]]:
        """The VLANs of the viewers are listed."""
        return {"vlans": ["101", "102"]}


class Anycast(Honest):
    """One address, two servers: answers come with other TTLs, and from another router (RFC 4786)."""

    kind = "anycast"
    server = "192.0.2.153"

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds questions and answers."""
        yield from events
        for n, time in enumerate(range(SECOND // 7, self.end, SECOND // 5)):
            self.acted += 1
            client, port = f"198.51.100.{50 + n % 150}", 20_000 + n % 40_000
            query = dns_query(self.rng.getrandbits(16), f"any{n % 30}.example")
            ask = Packet(client, self.server, UDP, port, 53, query, ip_id=n % 65535 + 1)
            flow = f"anycast-{n % 2}-{n}"
            yield Event(time, ask, True, INTERNET, flow, cause=self.number)
            answer = dns_answer(query, bytes((192, 0, 2, 10 + n % 30)))
            ttl = 57 if n % 2 else 51
            back = Packet(self.server, client, UDP, 53, port, answer, ttl, 0, self.rng.randrange(1, 65536))
            yield Event(
                time + (9 + 4 * (n % 2)) * MILLISECOND, back, False, INTERNET, flow, cause=self.number
            )

    def alters(self, passage: Passage) -> None:
        """Every other conversation goes by the other router."""
        if passage.event.flow.startswith("anycast-1"):
            use_next_hop(passage, ECMP_NEIGHBOUR)


class Roaming(Honest):
    """Subscribers roam both ways: operations of MAP and S6a that only their homes, or where they are, may ask for; and GTP."""

    kind = "roaming"

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds dialogues with a partner, over the carrier that the policy lists."""
        yield from events
        for n, time in enumerate(range(SECOND // 6, self.end * 9 // 10, SECOND // 3)):
            steps = (self._map, self._diameter, self._gtp)[n % 3](n)
            for k, (packet, outward) in enumerate(steps):
                self.acted += 1
                yield Event(
                    time + k * 35 * MILLISECOND, packet, outward, VOICE, f"roaming-{n}", cause=self.number
                )

    def _map(self, n: int) -> Iterator[tuple[Packet, bool]]:
        """Every other subscriber is one of the partner's, and here; the others are own ones, and there."""
        here = n % 2 == 0
        imsi = "".join(PARTNER_NETWORK if here else OWN_NETWORK) + f"{self.rng.randrange(10**10):010d}"
        visited, home = ((OWN_TITLE, 7), (PARTNER_TITLE, 6)) if here else ((PARTNER_TITLE, 7), (OWN_TITLE, 6))
        asked = (
            (mobile.AUTHENTICATION, mobile.send_authentication_info(imsi), True),
            (mobile.LOCATION_UPDATE, mobile.update_location(imsi, visited[0]), True),
            (mobile.DATA_MANAGEMENT, mobile.insert_subscriber_data(imsi), False),
            (mobile.SUBSCRIBER_INFO, mobile.provide_subscriber_info(imsi), False),
            (mobile.CANCELLATION, mobile.cancel_location(imsi), False),
        )
        for k, (context, operation, from_visited) in enumerate(asked):
            number = 16 * n + 2 * k
            calling, called = (visited, home) if from_visited else (home, visited)
            question = mobile.unitdata(called, calling, mobile.begin(number, context, operation))
            answer = mobile.unitdata(calling, called, mobile.end(number))
            for data, outward in ((question, from_visited == here), (answer, from_visited != here)):
                ends = (SIGNALLING, PARTNER_SIGNALLING) if outward else (PARTNER_SIGNALLING, SIGNALLING)
                codes = (1001, 3001) if outward else (3001, 1001)
                message = mobile.m3ua(*codes, data)
                yield mobile.sctp(*ends, mobile.M3UA, number + (data is answer), message), outward

    def _diameter(self, n: int) -> Iterator[tuple[Packet, bool]]:
        """Keys and place of a subscriber, asked of its home; and what that tells on."""
        here = n % 2 == 0
        imsi = "".join(PARTNER_NETWORK if here else OWN_NETWORK) + f"{self.rng.randrange(10**10):010d}"
        own, partner = mobile.realm(*OWN_NETWORK), mobile.realm(*PARTNER_NETWORK)
        for k, (command, from_visited) in enumerate(((318, True), (316, True), (319, False), (317, False))):
            number, out = 16 * n + 2 * k, from_visited == here
            realms = (own, partner) if out else (partner, own)
            for request in (True, False):
                outward = out == request
                ends = (SIGNALLING, PARTNER_SIGNALLING) if outward else (PARTNER_SIGNALLING, SIGNALLING)
                message = mobile.diameter(
                    command, *(realms if request else realms[::-1]), number, imsi, request=request
                )
                yield mobile.sctp(*ends, mobile.DIAMETER, number + (not request), message), outward

    def _gtp(self, n: int) -> Iterator[tuple[Packet, bool]]:
        """A session of a subscriber abroad, and some packets in it."""
        ends, here = (PARTNER_GATEWAY, PACKET_GATEWAY), 0x1000 + n
        ask = mobile.full_endpoint(PARTNER_GATEWAY, here, 6)
        yield mobile.gtpc(*ends, 32, 0, n, ask), False
        answer = mobile.ACCEPTED + mobile.full_endpoint(PACKET_GATEWAY, here, 7)
        yield mobile.gtpc(*ends[::-1], 33, here, n, answer), True
        for k in range(6):
            outward = k % 2 == 1
            inner_ends = ("192.0.2.90", "198.51.100.77") if outward else ("198.51.100.77", "192.0.2.90")
            inner = Packet(
                *inner_ends,
                UDP,
                40_000 + n % 1000,
                40_001,
                self.rng.randbytes(120),
                60,
                0,
                8 * n % 65528 + k + 1,
            )
            through = ends[::-1] if outward else ends
            yield mobile.gtpu(*through, here, 8 * n + k, inner.encode()), outward

    def policy(self) -> dict[str, list[str]]:
        """The tunnels between both gateways are listed."""
        return {"allow": [f'{{ encap = "gtpu", between = ["{PACKET_GATEWAY}", "{PARTNER_GATEWAY}"] }}']}


class DhcpServers(Honest):
    """Two DHCP servers that tell the same, as each other's reserve, and a relay that asks both."""

    kind = "dhcp-servers"
    macs: ClassVar = dict(zip(DHCP_SERVERS, (b"\x02\0\x5e\x50\0\x01", b"\x02\0\x5e\x50\0\x02"), strict=True))
    relay, relay_mac = "198.51.100.249", b"\x02\0\x5e\x50\0\x03"
    guests = tuple(bytes((2, 0, 0x5E, 0x41, 0, n)) for n in range(24))

    def sends(self) -> Iterator[Sent]:
        """Hosts come, are told by both servers, take one, and renew with it; every third one is on a link behind the relay."""
        for n, time in enumerate(range(SECOND // 9, self.end * 9 // 10, SECOND)):
            for later, frame in self._relayed(n) if n % 3 == 2 else self._local(n):
                yield Sent(time + later * MILLISECOND, "inside", frame, "dhcp")

    def _local(self, n: int) -> Iterator[tuple[int, bytes]]:
        """On the link of the servers, by broadcast; to renew, the host asks its server itself (RFC 2131 section 4.3.2)."""
        host, to, number = self._guest(n)
        nobody, all_, mine = control.NOBODY, "255.255.255.255", DHCP_SERVERS[n % 2]
        yield 0, self._frame(nobody, all_, host, control.dhcp(1, number, host))
        for k, server in enumerate(DHCP_SERVERS):
            yield 2 + k, self._frame(server, all_, self.macs[server], self._told(2, n, server))
        yield 10, self._frame(nobody, all_, host, control.dhcp(3, number, host, server=mine))
        yield 12, self._frame(mine, all_, self.macs[mine], self._told(5, n, mine))
        yield 300, self._frame(to, mine, host, control.dhcp(3, number + 1, host), self.macs[mine])
        yield 302, self._frame(mine, to, self.macs[mine], self._told(5, n, mine), host)

    def _relayed(self, n: int) -> Iterator[tuple[int, bytes]]:
        """The relay asks both servers, each in a packet of its own, and both answer it."""
        host, _, number = self._guest(n)
        mine = DHCP_SERVERS[n % 2]
        for later, kind in ((0, 1), (10, 3)):
            asked = control.dhcp(kind, number, host, server=mine if kind == 3 else "", relay=self.relay)
            for server, mac in self.macs.items():
                yield later, self._frame(self.relay, server, self.relay_mac, asked, mac)
                if kind == 1 or server == mine:
                    told = self._told(2 if kind == 1 else 5, n, server, self.relay)
                    yield later + 2, self._frame(server, self.relay, mac, told, self.relay_mac)

    def _guest(self, n: int) -> tuple[bytes, str, int]:
        """The host that comes, the address that it gets, and its transaction."""
        return self.guests[n % 24], f"198.51.100.{80 + n % 24}", 0xD1C00000 + 2 * n

    def _told(self, kind: int, n: int, server: str, relay: str = "") -> bytes:
        """What a server tells: the same as the other one. In which order names are asked for is each one's own."""
        host, to, number = self._guest(n)
        names = (RESOLVER, "192.0.2.53")[:: 1 if server == DHCP_SERVERS[0] else -1]
        more = control.dhcp_addresses(3, GATEWAY["inside"]) + control.dhcp_addresses(6, *names)
        return control.dhcp(kind, number, host, to=to, server=server, relay=relay, more=more)

    def _frame(self, src: str, dst: str, mac: bytes, message: bytes, to: bytes = b"\xff" * 6) -> bytes:
        self.acted += 1
        return dhcp_frame(src, dst, mac, message, self.acted % 65535 + 1, to)

    def policy(self) -> dict[str, list[str]]:
        """Servers, relay and hosts are inside."""
        macs = (*self.macs.values(), self.relay_mac, *self.guests)
        return {"inside_macs": [f'"{mac.hex(":")}"' for mac in macs]}


# --- How packets travel ------------------------------------------------------------------------------------------------


def spread_by(packet: Packet) -> str:
    """What routers spread traffic by: addresses, protocol and ports, both directions alike (RFC 2992)."""
    ends = sorted((f"{packet.src} {packet.src_port}", f"{packet.dst} {packet.dst_port}"))
    return f"{packet.protocol} {ends[0]} {ends[1]}"


class Ecmp(Honest):
    """Conversations are spread over two next hops."""

    kind = "ecmp"
    usual = 0.5
    uses = ("share",)

    def alters(self, passage: Passage) -> None:
        """Some go by the other one, from beginning to end."""
        if self.concerns(spread_by(passage.event.packet)):
            self.acted += 1
            use_next_hop(passage, ECMP_NEIGHBOUR)


class EcmpChange(Honest):
    """Conversations are spread anew on the way: from some time on, some go by another next hop."""

    kind = "ecmp-change"
    usual = 0.5
    uses = ("share", "at")

    def alters(self, passage: Passage) -> None:
        """From then on, some go by the other one."""
        if passage.event.time >= self.at and self.concerns(spread_by(passage.event.packet)):
            self.acted += 1
            use_next_hop(passage, ECMP_NEIGHBOUR)
            passage.cause = passage.entry_cause = self.number


class Maintenance(Honest):
    """Announced work: for a while, traffic of the internet goes by another router, one hop and 4 ms further."""

    kind = "maintenance"
    uses = ("at", "ms")

    @property
    def until(self) -> int:
        """When it ends."""
        return self.at + self.end // 4

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Delays what comes back."""
        for event in events:
            during = self.at <= event.time < self.until and event.network == INTERNET
            yield event._replace(time=event.time + self.ms(4)) if during and not event.outward else event

    def alters(self, passage: Passage) -> None:
        """Goes by the other router."""
        event = passage.event
        if event.network != INTERNET or not self.at <= event.time < self.until:
            return
        self.acted += 1
        use_next_hop(passage, ECMP_NEIGHBOUR)
        passage.cause = passage.entry_cause = self.number
        if not event.outward:
            packet = passage.arriving
            changed = packet._replace(ttl=packet.ttl - 1)
            passage.leaving = changed if passage.leaving is packet else passage.leaving
            passage.arriving = changed


class VrrpFailover(Honest):
    """The active router of a VRRP group on the inside gives up, and the other takes the virtual address (RFC 9568)."""

    kind = "vrrp-failover"
    uses = ("at",)
    routers = ("198.51.100.251", b"\x02\0\x5e\x30\0\x01"), ("198.51.100.252", b"\x02\0\x5e\x30\0\x02")
    virtual = "198.51.100.250"

    def sends(self) -> Iterator[Sent]:
        """Advertisements, the resignation, and the gratuitous ARP of the successor."""
        mac, to = control.virtual_mac(), control.group_mac("224.0.0.18")
        first, second = self.routers[0][0], self.routers[1][0]
        adverts = [(time, first, 200) for time in range(SECOND // 8, self.at, SECOND)]
        adverts.append((self.at, first, 0))
        takes = self.at + 600 * MILLISECOND
        adverts += [(time, second, 100) for time in range(takes, self.end, SECOND)]
        for n, (time, source, priority) in enumerate(adverts):
            self.acted += 1
            packet = control.vrrp(source, priority, self.virtual)._replace(ip_id=n % 65535 + 1)
            yield Sent(time, "inside", ethernet(mac, to, packet.encode(), VLANS[INTERNET]), "vrrp")
        body = control.arp(2, mac, self.virtual, b"\xff" * 6, self.virtual)
        frame = link(mac, b"\xff" * 6, 0x0806, body, VLANS[INTERNET])
        yield Sent(takes + MILLISECOND, "inside", frame, "vrrp", weak=True)

    def alters(self, passage: Passage) -> None:
        """Traffic of the internet comes from the one that is active, and goes to the virtual address."""
        if passage.event.network != INTERNET:
            return
        if passage.event.outward:
            active = self.routers[passage.event.time >= self.at + 600 * MILLISECOND][1]
            passage.entry_macs = active, ROUTER["inside"]
        else:
            passage.exit_macs = ROUTER["inside"], control.virtual_mac()

    def policy(self) -> dict[str, list[str]]:
        """What the two routers bring comes from inside."""
        return {"inside_macs": [f'"{mac.hex(":")}"' for _, mac in self.routers]}


class Nat(Honest):
    """The router translates subscribers' addresses to one (RFC 3022)."""

    kind = "nat"

    def prepare(self) -> None:
        """Each port of the shared address stands for one host and port."""
        self._ports: dict[tuple[int, str, int], int] = {}
        self._used: set[tuple[int, int]] = set()

    def port(self, protocol: int, host: str, port: int) -> int:
        """The port that stands for a host's: the same one, or the next that is free."""
        key = protocol, host, port
        if key not in self._ports:
            while (protocol, port) in self._used:
                port = port % 65535 + 1
            self._used.add((protocol, port))
            self._ports[key] = port
        return self._ports[key]

    def alters(self, passage: Passage) -> None:
        """Outside, subscribers have the shared address."""
        event, packet = passage.event, passage.event.packet
        host = packet.src if event.outward else packet.dst
        if event.network == VOICE or not host.startswith(SUBSCRIBERS) or passage.wrapped or passage.unwrapped:
            return
        self.acted += 1
        if event.outward:
            port = self.port(packet.protocol, host, packet.src_port)
            passage.leaving = packet._replace(src=NAT_ADDRESS, src_port=port)
        else:
            port = self.port(packet.protocol, host, packet.dst_port)
            passage.arriving = packet._replace(dst=NAT_ADDRESS, dst_port=port)


class LoadBalancer(Honest):
    """Clients abroad use a virtual address, and the router spreads them over servers inside (RFC 2391)."""

    kind = "load-balancer"

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds clients abroad."""
        yield from events
        for n, start in enumerate(range(SECOND // 5, self.end * 9 // 10, SECOND // 2)):
            said = [(True, self.rng.randbytes(400)), (False, self.rng.randbytes(5000))]
            steps = conversation(
                (f"192.0.2.{130 + n % 20}", 33_000 + n % 30_000), (f"10.20.0.{11 + n % 3}", 443), said,
                start=start, rtt=35 * MILLISECOND, rng=self.rng, ttls=(51, 64),
            )  # fmt: skip
            for time, packet, from_client in steps:
                yield Event(time, packet, not from_client, INTERNET, f"balanced-{n}", cause=self.number)

    def alters(self, passage: Passage) -> None:
        """Outside, servers have the virtual address."""
        event, packet = passage.event, passage.event.packet
        if not event.flow.startswith("balanced-"):
            return
        self.acted += 1
        if event.outward:
            passage.leaving = packet._replace(src=VIRTUAL_SERVER)
        else:
            passage.arriving = packet._replace(dst=VIRTUAL_SERVER)

    def policy(self) -> dict[str, list[str]]:
        """The virtual address and its servers."""
        return {"virtual_servers": [f'"{VIRTUAL_SERVER}"'], "own_prefixes": ['"10.20.0.0/24"']}


class RoutingLoop(Honest):
    """The router and its neighbour send packets for a network back and forth until their TTL is used up."""

    kind = "routing-loop"
    uses = ("at",)

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds packets for the network."""
        yield from events
        for n in range(40):
            packet = Packet(
                "198.51.100.61", "192.0.2.222", UDP, 40_000, 9, self.rng.randbytes(100), 12, 0, n + 1
            )
            yield Event(self.at + n * 20 * MILLISECOND, packet, True, INTERNET, "loop", cause=self.number)

    def copies(self, passage: Passage) -> None:
        """Sends the packet around."""
        if passage.event.flow != "loop":
            return
        self.acted += 1
        packet, time = passage.exit_packet, passage.leave
        macs = ROUTER["outside"], NEIGHBOUR["outside"]
        for _ in range(5):
            packet, time = forwarded(packet), time + 300_000
            passage.add(self, time, "outside", ethernet(*macs[::-1], packet, passage.vlan))
            packet, time = forwarded(packet), time + 100_000
            passage.add(self, time, "outside", ethernet(*macs, packet, passage.vlan))


class MssClamping(Honest):
    """The router lowers the largest segment size that connections ask for, to 1,360."""

    kind = "mss-clamping"

    def alters(self, passage: Passage) -> None:
        """Rewrites the option of a SYN (RFC 9293 section 3.7.1)."""
        leaving = passage.leaving
        if leaving is None or leaving.protocol != TCP or not leaving.flags & 2:
            return
        self.acted += 1
        size = tcp_options(b"\x02\x04" + struct.pack("!H", 1360))
        passage.leaving = leaving._replace(options=size)
        passage.cause = self.number


class TunnelHeadEnd(Honest):
    """The router is the end of a tunnel that a customer ordered: its packets are seen bare inside, and in GRE outside."""

    kind = "tunnel-head-end"

    def prepare(self) -> None:
        """Counts the packets of the tunnel."""
        self._numbers = [0, 0]

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds the customer's traffic."""
        yield from events
        for n, start in enumerate(range(SECOND // 4, self.end * 9 // 10, SECOND)):
            said = [(True, self.rng.randbytes(500)), (False, self.rng.randbytes(20_000))]
            steps = conversation(
                ("198.51.100.31", 34_000 + n % 30_000), ("172.16.9.9", 445), said,
                start=start, rtt=25 * MILLISECOND, rng=self.rng, ttls=(64, 63),
            )  # fmt: skip
            for time, packet, from_client in steps:
                yield Event(time, packet, from_client, INTERNET, f"vpn-{n}", cause=self.number)

    def alters(self, passage: Passage) -> None:
        """Outside, the packets are in the tunnel."""
        if not passage.event.flow.startswith("vpn-"):
            return
        self.acted += 1
        through_tunnel(passage, VPN_PEER, self._numbers)

    def policy(self) -> dict[str, list[str]]:
        """The tunnel is listed."""
        return {
            "allow": [f'{{ encap = "gre", between = ["{LOOPBACK}", "{VPN_PEER}"] }}'],
            "other_networks": ['"172.16.9.0/24"'],
        }


# --- Traffic within the country ----------------------------------------------------------------------------------------


class National(Honest):
    """Traffic between two places in the country."""

    far_end = ""
    """The end of the tunnel that it is in, if it is in one."""
    rtt = 8
    """Milliseconds there and back."""
    server = ""
    """Who is asked, if not several."""

    def prepare(self) -> None:
        """Counts the packets of the tunnel."""
        self._numbers = [0, 0]

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds the traffic, all the time."""
        yield from events
        for n, start in enumerate(range(SECOND // 6, self.end * 9 // 10, SECOND // 2)):
            rtt = self.ms(self.rtt)
            for event in national(self.rng, n, start, rtt, server=self.server, flow=self.kind):
                yield event._replace(cause=self.number)

    def alters(self, passage: Passage) -> None:
        """Outside, it is in the tunnel."""
        if not passage.event.flow.startswith(f"{self.kind}-"):
            return
        self.acted += 1
        if self.far_end:
            through_tunnel(passage, self.far_end, self._numbers)


class GeolocationError(National):
    """Traffic within the country in a tunnel that is ordered, whose other end is thought to be abroad and is not."""

    kind = "geolocation-error"
    far_end = HEAD_END
    uses = ("ms",)

    def places(self) -> dict[str, str]:
        """What is wrong."""
        return {f"{HEAD_END}/32": "DE"}

    def policy(self) -> dict[str, list[str]]:
        """The tunnel is listed."""
        return {"allow": [f'{{ encap = "gre", between = ["{LOOPBACK}", "{HEAD_END}"] }}']}


class AnycastAtHome(National):
    """An address that was registered in the country, whose nearest server is far away (RFC 4786)."""

    kind = "anycast-at-home"
    rtt = 90
    server = f"{COMPATRIOTS}153"
    uses = ("ms",)

    def policy(self) -> dict[str, list[str]]:
        """The address is listed."""
        return {"anycast": [f'"{self.server}"']}


class Satellite(National):
    """A customer in the country who is reached over a geostationary satellite."""

    kind = "satellite"
    rtt = 590
    server = f"{COMPATRIOTS}160"
    uses = ("ms",)


class ForeignBackup(National):
    """Traffic within the country on a backup path over another country, which the policy allows."""

    kind = "foreign-backup"
    far_end = BACKUP
    rtt = 48
    uses = ("ms",)

    def policy(self) -> dict[str, list[str]]:
        """The tunnel is listed, and that it may leave the country."""
        return {
            "allow": [f'{{ encap = "gre", between = ["{LOOPBACK}", "{BACKUP}"] }}'],
            "crossings": [f'{{ countries = "DE", tunnel = ["{LOOPBACK}", "{BACKUP}"] }}'],
        }


# --- Copies that somebody ordered --------------------------------------------------------------------------------------


class Authorised(Honest):
    """A copy that is ordered, and listed in the policy."""

    ordered: ClassVar[Implant]

    def prepare(self) -> None:
        """Sets up the session."""
        seed = self.rng.randrange(1 << 30)
        self._mirror = Mirror(self.ordered, self.number, seed, self.end)

    def copies(self, passage: Passage) -> None:
        """Copies as any mirror does."""
        count = len(passage.made)
        self._mirror.copies(passage)
        passage.made[count:] = [frame._replace(role=self.kind) for frame in passage.made[count:]]
        self.acted = self._mirror.acted


class AuthorisedMirror(Authorised):
    """A mirror of a tenth of the packets to the analyser, which the policy lists."""

    kind = "authorised-mirror"
    ordered = Implant("mirror", share=0.1, tunnel="erspan2", session=5, collector=PROBE)

    def policy(self) -> dict[str, list[str]]:
        """The session is listed."""
        return {
            "mirror_sinks": [f'{{ sink = "{PROBE}", exporter = "{LOOPBACK}", encap = "erspan2", id = 5 }}']
        }


class AuthorisedIntercept(Authorised):
    """A lawful intercept of one subscriber, which goes to the mediation device that the policy lists."""

    kind = "authorised-intercept"
    ordered = Implant("mirror", only="subscriber", tunnel="jmirror", session=811, collector=MEDIATION)

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Chooses the subscriber."""
        return self._mirror.hosts(events)

    def policy(self) -> dict[str, list[str]]:
        """The mediation device is listed."""
        return {
            "mirror_sinks": [f'{{ sink = "{MEDIATION}", exporter = "{LOOPBACK}" }}'],
            "mediation": [MEDIATION],
        }


# --- Calls -------------------------------------------------------------------------------------------------------------


class MovedPhone(Talk):
    """The peer of a call goes on from another address, as behind a translation of addresses that changed, and is answered there."""

    kind = "moved-phone"

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """Half from one address, half from the other: the same SSRC and numbers."""
        ports, ssrcs, half = (
            (26_000 + 4 * n, 36_000 + 4 * n),
            (self.rng.getrandbits(32), self.rng.getrandbits(32)),
            self.end // 5,
        )
        yield from self.begins(n, start, session, ports)
        for part, (media, port) in enumerate(((OUTSIDE_MEDIA, ports[1]), (self.second, ports[1] + 1000))):
            times = ticks(start + SECOND // 4 + part * half, half)
            there, back = (INSIDE_MEDIA, ports[0], media, port), (media, port, INSIDE_MEDIA, ports[0])
            yield from self.sends_media(n, times, back, ssrcs[1], part * len(times), outward=False)
            later = range(times.start + 60 * MILLISECOND, times.stop + 60 * MILLISECOND, times.step)
            yield from self.sends_media(n, later, there, ssrcs[0], part * len(times), outward=True)


class EarlyMedia(Talk):
    """A call is forked: two peers send media before the answer (RFC 3960), one of which answers."""

    kind = "early-media"

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """Both describe where they are; the second one answers."""
        ports = (26_100 + 4 * n, 36_100 + 4 * n)
        offer = sip.description(INSIDE_MEDIA, [(ports[0], "sendrecv", "")])
        yield self.says(n, start, session, session.request("INVITE", 1, offer), outward=True)
        answered = start + 2 * SECOND
        for k, media in enumerate((self.second, self.third)):
            leg = session._replace(to_tag=f"{session.to_tag}{k}")
            body, ssrc = sip.description(media, [(ports[1], "sendrecv", "")]), self.rng.getrandbits(32)
            message = leg.response(183, "Session Progress", "INVITE", 1, body)
            yield self.says(n, start + (150 + k) * MILLISECOND, leg, message, outward=False)
            length = self.end // 3 if k else 2 * SECOND
            ends = (media, ports[1], INSIDE_MEDIA, ports[0])
            yield from self.sends_media(n, ticks(start + SECOND // 10, length), ends, ssrc, 0, outward=False)
        yield self.says(n, answered, leg, leg.response(200, "OK", "INVITE", 1, body), outward=False)
        yield self.says(n, answered + 20 * MILLISECOND, leg, leg.request("ACK", 1), outward=True)


class HoldResume(Talk):
    """A call is put on hold, hears music from another host, and goes on: all of that is described (RFC 3264 section 8.4)."""

    kind = "hold-resume"

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """The caller is held by new descriptions of where its peer is."""
        ports, third = (26_200 + 4 * n, 36_200 + 4 * n), self.end // 6
        yield from self.begins(n, start, session, ports)
        for part, media in enumerate((OUTSIDE_MEDIA, self.second, OUTSIDE_MEDIA)):
            time = start + SECOND // 4 + part * third
            if part:
                offer = sip.description(
                    INSIDE_MEDIA, [(ports[0], "recvonly" if part == 1 else "sendrecv", "")]
                )
                answer = sip.description(media, [(ports[1], "sendonly" if part == 1 else "sendrecv", "")])
                message = session.request("INVITE", 1 + part, offer)
                yield self.says(n, time - 150 * MILLISECOND, session, message, outward=True)
                message = session.response(200, "OK", "INVITE", 1 + part, answer)
                yield self.says(n, time - 100 * MILLISECOND, session, message, outward=False)
                yield self.says(
                    n, time - 80 * MILLISECOND, session, session.request("ACK", 1 + part), outward=True
                )
            ends = (media, ports[1], INSIDE_MEDIA, ports[0])
            ssrc = self.rng.getrandbits(32)
            yield from self.sends_media(n, ticks(time, third), ends, ssrc, 0, outward=False)


class Conference(Talk):
    """A mixer sends all its members the same at the same time, to each with an SSRC of its own (RFC 3550 section 7.1)."""

    kind = "conference"

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """Each member calls; numbers and times are the mixer's."""
        ports = (26_300 + 4 * n, 36_300 + 4 * n)
        yield from self.begins(n, start, session, ports)
        begin = self.end // 10 + 5 * SECOND
        ends = (OUTSIDE_MEDIA, ports[1], INSIDE_MEDIA, ports[0])
        ssrc = 0x5EED_0000 + n
        yield from self.sends_media(n, ticks(begin, self.end // 3), ends, ssrc, 0, outward=False)


class Recorder(Honest):
    """Calls are recorded by a server that the policy lists (SIPREC, RFC 7866)."""

    kind = "recorder"

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds the sessions."""
        yield from events
        for event in recorded(events, RECORDER, "original", self.number):
            self.acted += 1
            yield event

    def policy(self) -> dict[str, list[str]]:
        """The server is listed."""
        return {"voice_peers": [f'"{RECORDER}"'], "voice_media": [f'"{RECORDER}"'], "recorders": [RECORDER]}


CONFOUNDERS: dict[str, type[Honest]] = {
    each.kind: each
    for each in (
        Span, RoutedSpan, VlanCopy, Microburst, ClockOffset, ClockStep, ClockDrift, CaptureJitter, Retransmissions,
        Unnumbered, Multicast, Anycast, Roaming, DhcpServers, Ecmp, EcmpChange, Maintenance, VrrpFailover, Nat, LoadBalancer, RoutingLoop,
        MssClamping, TunnelHeadEnd, AuthorisedMirror, AuthorisedIntercept, MovedPhone, EarlyMedia, HoldResume, Conference,
        Recorder, *dialogs.KINDS, GeolocationError, AnycastAtHome, Satellite, ForeignBackup,
    )
}  # fmt: skip
"""Every confounder by its kind."""
