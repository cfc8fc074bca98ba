"""Implants that divert traffic, or put some into it."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import ClassVar

from tapsight.lab import control
from tapsight.lab.effect import Passage, Sent, Tampering
from tapsight.lab.network import (
    ABROAD_LABEL,
    ABROAD_NEIGHBOUR,
    GATEWAY,
    GATEWAY_6,
    LOOPBACK,
    NEIGHBOUR,
    RESOLVER,
    ROGUE_MAC,
    ROUTER,
    VLANS,
)
from tapsight.lab.packet import ACK, GRE, IPIP, PSH, RST, SYN, TCP, UDP, Packet, ethernet, link
from tapsight.lab.router import through_tunnel, use_next_hop
from tapsight.lab.traffic import (
    INTERNET,
    MILLISECOND,
    SECOND,
    Event,
    conversation,
    dns_answer,
    dns_query,
    national,
)

ROUTING = 43
ROGUE_6 = "fe80::bad"


class Redirect(Tampering):
    """Sends packets for the victim to the collector instead."""

    kind = "redirect"
    expects = frozenset({"A5"})
    uses = ("share", "only", "start", "collector", "victim")

    def alters(self, passage: Passage) -> None:
        """Rewrites the destination."""
        leaving = passage.leaving
        if leaving is None or leaving.dst != self.dials.victim or not self.wants(passage.event):
            return
        self.acted += 1
        passage.leaving = leaving._replace(dst=self.dials.collector)
        passage.role, passage.cause = self.kind, self.number


class Drop(Tampering):
    """Does not pass packets on."""

    kind = "drop"
    expects = frozenset({"B1"})
    uses = ("share", "only", "start")

    @property
    def collector(self) -> str | None:
        """Nobody."""
        return None

    def alters(self, passage: Passage) -> None:
        """Lets nothing out; what came in is marked."""
        if passage.leaving is not None and self.wants(passage.event):
            self.acted += 1
            passage.leaving = None
            passage.entry_role, passage.entry_cause = "dropped", self.number


class Insert(Tampering):
    """Sends packets of its own in other hosts' conversations."""

    kind = "insert"
    expects = frozenset({"B1"})
    uses = ("share", "only", "start", "lag")

    @property
    def collector(self) -> str | None:
        """Nobody."""
        return None

    def copies(self, passage: Passage) -> None:
        """Sends a datagram with the same addresses and another payload."""
        packet = passage.leaving
        if packet is None or packet.protocol != UDP or not self.wants(passage.event):
            return
        self.acted += 1
        payload = self.rng.randbytes(max(40, len(packet.payload)))
        mine = packet._replace(payload=payload, ttl=packet.ttl - 1, ip_id=(packet.ip_id + 4711) % 65535 + 1)
        time = passage.leave + (30_000 if self.dials.lag is None else self.dials.lag)
        passage.add(self, time, passage.exit, ethernet(*passage.exit_macs, mine.encode(), passage.vlan))


class Modify(Tampering):
    """Changes what packets say, and makes their checksums right."""

    kind = "modify"
    expects = frozenset({"B1"})
    uses = ("share", "only", "start")

    @property
    def collector(self) -> str | None:
        """Nobody."""
        return None

    def alters(self, passage: Passage) -> None:
        """Changes the last four bytes of the payload."""
        packet = passage.leaving
        if packet is None or packet.protocol not in (TCP, UDP) or len(packet.payload) < 16:
            return
        if not self.wants(passage.event):
            return
        self.acted += 1
        passage.leaving = packet._replace(payload=packet.payload[:-4] + self.rng.randbytes(4))
        passage.role, passage.cause = self.kind, self.number


class NewLabel(Tampering):
    """Sends packets out under an MPLS label that nothing else has."""

    kind = "new-label"
    expects = frozenset({"A8"})
    uses = ("share", "only", "start", "label")

    @property
    def collector(self) -> str | None:
        """Whoever has the label."""
        return None

    def alters(self, passage: Passage) -> None:
        """Puts the label on."""
        if passage.exit == "outside" and passage.leaving is not None and self.wants(passage.event):
            self.acted += 1
            passage.exit_label = self.dials.label
            passage.role, passage.cause = self.kind, self.number


class Reroute(Tampering):
    """Has the traffic from a network abroad take a detour: 3 hops and 30 ms more, and it arrives from another router."""

    kind = "reroute"
    expects = frozenset({"B2", "B3", "B4"})
    uses = ("lag", "start", "only")
    prefix = "192.0.2."

    @property
    def collector(self) -> str | None:
        """Unknown: it lies on the way."""
        return None

    @property
    def collector_mac(self) -> str | None:
        """The router that the traffic comes from now."""
        return ROGUE_MAC.hex(":")

    def prepare(self) -> None:
        """From the middle on, unless told otherwise."""
        self.start = self.start or self.end // 2

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Delays what comes back, and all that waits for it: twice in a connection, for handshake and request."""
        lag = 30 * MILLISECOND if self.dials.lag is None else self.dials.lag
        trips: Counter[str] = Counter()
        outward: dict[str, bool] = {}
        for event in super().hosts(events):
            flow, packet = event.flow, event.packet
            away = packet.dst if event.outward else packet.src
            if event.time < self.start or not away.startswith(self.prefix):
                yield event
                continue
            if not event.outward and outward.get(flow, True) and trips[flow] < 2:
                trips[flow] += 1
            outward[flow] = event.outward
            yield event._replace(time=event.time + trips[flow] * lag)

    def alters(self, passage: Passage) -> None:
        """Takes three hops off, and changes who brings it."""
        packet = passage.arriving
        if passage.event.outward or not packet.src.startswith(self.prefix) or not self.wants(passage.event):
            return
        self.acted += 1
        changed = packet._replace(ttl=packet.ttl - 3)
        passage.leaving = changed if passage.leaving is packet else passage.leaving
        passage.arriving = changed
        passage.entry_macs = ROGUE_MAC, passage.entry_macs[1]
        passage.entry_role, passage.entry_cause = self.kind, self.number
        passage.cause = self.number


class Detour(Tampering):
    """Leads conversations between two places in the country over another one: 4 hops and 40 ms more, from some time on."""

    kind = "detour"
    expects = frozenset({"B19"})
    variants = ("gre", "ipip", "mpls", "router", "beyond")
    uses = ("via", "share", "start", "count", "lag", "collector")

    def expected(self) -> frozenset[str]:
        """Of what lies beyond the taps, only time tells."""
        return self.expects if self.via == "beyond" else self.expects | {"I1"}

    @property
    def exporter(self) -> str | None:
        """The router itself, where there is a tunnel."""
        return LOOPBACK if self.via in ("gre", "ipip") else None

    @property
    def collector(self) -> str | None:
        """The end of the tunnel abroad; else nobody has an address."""
        return self.dials.collector if self.via in ("gre", "ipip") else None

    def prepare(self) -> None:
        """From the middle on, unless told otherwise."""
        self.start = self.start or self.end // 2
        self._led: set[str] = set()
        self._numbers = [0, 0]

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds traffic within the country, near until some of it is led away."""
        yield from super().hosts(events)
        lag = 40 * MILLISECOND if self.dials.lag is None else self.dials.lag
        count = self.dials.count or 120
        first = self.end // 20
        step = max(1, (self.end * 9 // 10 - first) // count)
        for n in range(count):
            start = first + n * step
            led = start >= self.start and self.rng.random() < self.dials.share
            if led:
                self._led.add(f"national-{n}")
            rtt, hops = (8 * MILLISECOND + lag, 10) if led else (8 * MILLISECOND, 6)
            yield from national(self.rng, n, start, rtt, hops=hops)

    def alters(self, passage: Passage) -> None:
        """Shows the way, as far as taps see it."""
        if passage.event.flow not in self._led:
            return
        self.acted += 1
        outward = passage.event.outward
        if self.via in ("gre", "ipip"):
            through_tunnel(passage, self.dials.collector, self._numbers, GRE if self.via == "gre" else IPIP)
        elif self.via == "mpls" and outward:
            passage.exit_label = ABROAD_LABEL
        elif self.via == "router":
            use_next_hop(passage, ABROAD_NEIGHBOUR)
        if outward:
            passage.role = self.kind
        else:
            passage.entry_role, passage.entry_cause = self.kind, self.number
        passage.cause = self.number


class Inside(Tampering):
    """What sends frames of its own on the inside."""

    uses: ClassVar[tuple[str, ...]] = ("start", "count")

    @property
    def collector(self) -> str | None:
        """The device that asks for the traffic."""
        return None

    @property
    def collector_mac(self) -> str | None:
        """Its MAC address."""
        return ROGUE_MAC.hex(":")

    def rogue(self, time: int, packet: Packet, to: bytes, flow: str = "") -> Sent:
        """A packet from the rogue device."""
        frame = ethernet(ROGUE_MAC, to, packet.encode(), VLANS[INTERNET])
        self.acted += 1
        return Sent(time, "inside", frame, flow or self.kind)


class IcmpRedirect(Inside):
    """Tells hosts of a better gateway."""

    kind = "icmp-redirect"
    expects = frozenset({"B5"})
    uses = ("start", "count", "collector")

    @property
    def collector(self) -> str | None:
        """The better gateway."""
        return "198.51.100.66"

    def sends(self) -> Iterator[Sent]:
        """Redirects, each as the answer to a packet of the host."""
        for n, time in enumerate(self.times(8)):
            host = f"198.51.100.{60 + n}"
            asked = Packet(host, "192.0.2.80", UDP, 40000 + n, 443, self.rng.randbytes(64), ip_id=n + 1)
            told = control.redirect(GATEWAY["inside"], host, str(self.collector), asked.encode())
            yield self.rogue(time, told._replace(ip_id=n + 1), NEIGHBOUR["inside"])


class RogueRa(Inside):
    """Advertises itself as a router of IPv6."""

    kind = "rogue-ra"
    expects = frozenset({"B5"})

    def sends(self) -> Iterator[Sent]:
        """Router advertisements."""
        for time in self.times(5):
            advert = control.router_advertisement(ROGUE_6, "2001:db8:bad::", ROGUE_MAC)
            yield self.rogue(time, advert, control.group_mac("ff02::1"))


class ArpSpoof(Inside):
    """Claims the gateway's address by ARP."""

    kind = "arp-spoof"
    expects = frozenset({"B6"})

    def sends(self) -> Iterator[Sent]:
        """Gratuitous ARP replies (RFC 826), again and again."""
        gateway = GATEWAY["inside"]
        for time in self.times(20):
            body = control.arp(2, ROGUE_MAC, gateway, b"\xff" * 6, gateway)
            frame = link(ROGUE_MAC, NEIGHBOUR["inside"], 0x0806, body, VLANS[INTERNET])
            self.acted += 1
            yield Sent(time, "inside", frame, self.kind, weak=True)


class NaSpoof(Inside):
    """Claims the gateway's address by neighbour discovery."""

    kind = "na-spoof"
    expects = frozenset({"B6"})

    def sends(self) -> Iterator[Sent]:
        """Unsolicited advertisements with the override flag (RFC 4861 section 7.2.6)."""
        for time in self.times(20):
            advert = control.neighbour_advertisement(GATEWAY_6, GATEWAY_6, ROGUE_MAC)
            yield self.rogue(time, advert, control.group_mac("ff02::1"))


class FhrpTakeover(Inside):
    """Takes the role of the standby group's active router: an HSRP coup, or VRRP with priority 255."""

    kind = "fhrp-takeover"
    expects = frozenset({"B7"})
    variants = ("hsrp", "vrrp")
    uses = ("via", "start", "count")
    virtual = "198.51.100.250"

    @property
    def collector(self) -> str | None:
        """The new active router."""
        return "198.51.100.66"

    def sends(self) -> Iterator[Sent]:
        """What the two routers of the group say, and then the third."""
        active, standby = "198.51.100.251", "198.51.100.252"
        start = self.start or self.end // 2
        step = 3 * SECOND if self.via == "hsrp" else SECOND
        for n, time in enumerate(range(SECOND // 4, self.end, step)):
            if self.via == "hsrp":
                hellos = [
                    control.hsrp(active, 0, 16, 110, self.virtual),
                    control.hsrp(standby, 0, 8, 100, self.virtual),
                ]
            else:
                hellos = [control.vrrp(active, 200, self.virtual)]
            for k, hello in enumerate(hellos):
                yield self._sent(time + k * MILLISECOND, hello._replace(ip_id=n + 1), honest=True)
        rogue = str(self.collector)
        for n, time in enumerate(range(start, self.end, step)):
            self.acted += 1
            if self.via == "vrrp":
                yield self._sent(time, control.vrrp(rogue, 255, self.virtual)._replace(ip_id=n + 1))
                continue
            hello = control.hsrp(rogue, 0 if n else 1, 16, 255, self.virtual)
            yield self._sent(time, hello._replace(ip_id=n + 1))

    def _sent(self, time: int, packet: Packet, *, honest: bool = False) -> Sent:
        own = {"198.51.100.251": b"\x02\0\x5e\x30\0\x01", "198.51.100.252": b"\x02\0\x5e\x30\0\x02"}
        src = own.get(packet.src, ROGUE_MAC)
        if self.via == "vrrp":
            src = control.virtual_mac()
        elif honest and packet.src.endswith("251"):
            src = b"\x00\x00\x0c\x07\xac\x0a"
        frame = ethernet(src, control.group_mac(packet.dst), packet.encode(), VLANS[INTERNET])
        return Sent(time, "inside", frame, self.via, honest=honest)


class DnsRace(Tampering):
    """Answers questions of subscribers before the resolver does, and otherwise."""

    kind = "dns-race"
    expects = frozenset({"B9"})
    uses = ("share", "only", "start", "lag", "collector")

    def copies(self, passage: Passage) -> None:
        """Sends an answer of its own to each question that goes out."""
        ask = passage.event.packet
        if not passage.event.outward or ask.dst_port != 53 or ask.dst != RESOLVER:
            return
        kind = int.from_bytes(ask.payload[-4:-2], "big")
        if not self.wants(passage.event):
            return
        self.acted += 1
        rdata = bytes(15) + b"\x42" if kind == 28 else bytes(map(int, self.dials.collector.split(".")))
        body = dns_answer(ask.payload, rdata, kind, 60)
        answer = Packet(RESOLVER, ask.src, UDP, 53, ask.src_port, body, 62, 0, self.rng.randrange(1, 65536))
        time = passage.time + (2 * MILLISECOND if self.dials.lag is None else self.dials.lag)
        frame = ethernet(ROUTER["inside"], NEIGHBOUR["inside"], answer.encode(), passage.vlan)
        passage.add(self, time, "inside", frame)


class TcpInjection(Tampering):
    """Answers web requests before the server does, and sends the browser elsewhere."""

    kind = "tcp-injection"
    expects = frozenset({"B10"})
    uses = ("share", "only", "start", "lag", "collector", "count")

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds requests over plain HTTP."""
        return [*super().hosts(events), *requests(self, self.dials.count or 20)]

    def copies(self, passage: Passage) -> None:
        """Sends a redirection to each request, with the numbers of the answer to come."""
        ask = passage.event.packet
        if not passage.event.outward or ask.dst_port != 80 or not ask.payload.startswith(b"GET "):
            return
        if not self.wants(passage.event):
            return
        self.acted += 1
        said = (
            f"HTTP/1.1 302 Found\r\nLocation: http://{self.dials.collector}/a\r\nContent-Length: 0\r\n"
            "Connection: close\r\n\r\n"
        ).encode()
        forged = Packet(
            ask.dst, ask.src, TCP, 80, ask.src_port, said, 62, 0, self.rng.randrange(40000, 65000),
            ask.ack, ask.seq + len(ask.payload), PSH | ACK,
        )  # fmt: skip
        time = passage.time + (3 * MILLISECOND if self.dials.lag is None else self.dials.lag)
        frame = ethernet(ROUTER["inside"], NEIGHBOUR["inside"], forged.encode(), passage.vlan)
        passage.add(self, time, "inside", frame)


def requests(effect: Tampering, count: int) -> Iterator[Event]:
    """Subscribers that fetch pages over plain HTTP."""
    for n, start in enumerate(effect.times(count)):
        client, server = f"198.51.100.{70 + n % 100}", f"192.0.2.{41 + n % 7}"
        page = b"<html>" + bytes(effect.rng.choices(b"abcdefgh <>/", k=900)) + b"</html>"
        said = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (
            len(page),
            page,
        )
        asked = f"GET /{n} HTTP/1.1\r\nHost: www{n}.example\r\nUser-Agent: lab\r\n\r\n".encode()
        steps = conversation(
            (client, 50_000 + n), (server, 80), [(True, asked), (False, said)],
            start=start, rtt=effect.rng.randrange(20, 80) * MILLISECOND, rng=effect.rng, ttls=(64, 49),
        )  # fmt: skip
        for time, packet, outward in steps:
            yield Event(time, packet, outward, INTERNET, f"http-{n}")


class ForgedRst(Tampering):
    """Ends connections of others: a reset in the server's name, while the server goes on."""

    kind = "forged-rst"
    expects = frozenset({"B11"})
    uses = ("share", "only", "start")

    @property
    def collector(self) -> str | None:
        """Nobody."""
        return None

    def prepare(self) -> None:
        """Each connection is ended once at most."""
        self._segments: Counter[str] = Counter()

    def copies(self, passage: Passage) -> None:
        """Sends a reset behind the fourth segment of data that comes in."""
        packet = passage.event.packet
        if passage.event.outward or packet.protocol != TCP or not packet.payload:
            return
        self._segments[passage.event.flow] += 1
        if self._segments[passage.event.flow] != 4 or not self.wants(passage.event):
            return
        self.acted += 1
        forged = packet._replace(
            payload=b"", flags=RST, seq=packet.seq + len(packet.payload), ack=0, window=0,
            ttl=61, ip_id=self.rng.randrange(1, 65536),
        )  # fmt: skip
        frame = ethernet(ROUTER["inside"], NEIGHBOUR["inside"], forged.encode(), passage.vlan)
        passage.add(self, passage.leave + 50_000, "inside", frame)


class SourceRoute(Tampering):
    """Packets that say which way they want: the LSRR option of IPv4, or the routing header of type 0 of IPv6."""

    kind = "source-route"
    expects = frozenset({"B17"})
    variants = ("lsrr", "rh0")
    uses = ("via", "start", "count", "collector")

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds the packets, from outside."""
        yield from super().hosts(events)
        for n, time in enumerate(self.times(10)):
            self.acted += 1
            payload = self.rng.randbytes(120)
            if self.via == "lsrr":
                target = f"198.51.100.{80 + n}"
                packet = Packet(
                    "192.0.2.66", LOOPBACK, UDP, 33000 + n, 33434, payload, 50, 0, n + 1,
                    ip_options=control.source_route([self.dials.collector, target]), final=target,
                )  # fmt: skip
            else:
                source, via, target = "2001:db8:ffff::66", "2001:db8:1::1", f"2001:db8:1::{80 + n:x}"
                datagram = Packet(source, target, UDP, 33000 + n, 33434, payload).encode()[40:]
                body = control.routing_header([target], UDP, datagram)
                packet = Packet(source, via, ROUTING, payload=body, ttl=50)
            yield Event(time, packet, False, INTERNET, f"{self.kind}-{n}", self.kind, self.number)


class Wccp(Tampering):
    """Has the router divert web traffic to a "cache" by WCCP."""

    kind = "wccp"
    expects = frozenset({"B21"})
    uses = ("share", "only", "start", "collector")

    @property
    def exporter(self) -> str | None:
        """The router itself."""
        return LOOPBACK

    def prepare(self) -> None:
        """Counts packets of the tunnel."""
        self._ip_id = 0

    def sends(self) -> Iterator[Sent]:
        """What cache and router say every ten seconds."""
        cache = self.dials.collector
        for n, time in enumerate(range(max(self.start, SECOND), self.end, 10 * SECOND)):
            asked = Packet(
                cache, LOOPBACK, UDP, 2048, 2048, control.wccp_here_i_am(cache, LOOPBACK, n + 1), 50, 0, n + 1
            )
            yield self.routed(time, asked, outward=False, role="control")
            said = control.wccp_i_see_you(cache, LOOPBACK, n + 1)
            answer = Packet(LOOPBACK, cache, UDP, 2048, 2048, said, 255, 0, n + 1)
            yield self.routed(time + MILLISECOND, answer, outward=True, role="control")

    def alters(self, passage: Passage) -> None:
        """Sends what subscribers send to web servers to the cache, in GRE (draft-mclaggan-wccp-v2rev1)."""
        packet = passage.leaving
        if packet is None or not passage.event.outward or packet.protocol != TCP or ":" in packet.src:
            return
        if packet.dst_port not in (80, 443) or not self.wants(passage.event):
            return
        self.acted += 1
        self._ip_id = self._ip_id % 65535 + 1
        header = struct.pack("!HHI", 0, 0x883E, 0)
        passage.wrapped = Packet(
            LOOPBACK, self.dials.collector, GRE, payload=header, ttl=255, ip_id=self._ip_id
        )
        passage.role, passage.cause = self.kind, self.number


class Spoofed(Tampering):
    """Packets whose source cannot be where they come from: own addresses from outside, private ones to the outside."""

    kind = "spoofed"
    expects = frozenset({"B22"})
    uses = ("start", "count", "victim")

    @property
    def collector(self) -> str | None:
        """Nobody: the answers go to whom they name."""
        return None

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds the packets."""
        yield from super().hosts(events)
        for n, time in enumerate(self.times(20)):
            self.acted += 1
            outward = n % 2 == 1
            src, dst = (f"10.6.6.{n}", "192.0.2.53") if outward else (f"198.51.100.{90 + n}", "198.51.100.60")
            packet = Packet(
                src, dst, UDP, 1024 + n, 53, dns_query(n, f"host{n}.of.some.example"), 50, 0, n + 1
            )
            if n % 4 < 2:
                packet = Packet(src, dst, TCP, 1024 + n, 80, ttl=50, ip_id=n + 1, seq=n << 20, flags=SYN)
            yield Event(time, packet, outward, INTERNET, f"{self.kind}-{n}", self.kind, self.number)


KINDS = (
    Redirect, Drop, Insert, Modify, NewLabel, Reroute, Detour, IcmpRedirect, RogueRa, ArpSpoof, NaSpoof, FhrpTakeover,
    DnsRace, TcpInjection, ForgedRst, SourceRoute, Wccp, Spoofed,
)  # fmt: skip
