"""Implants that act on the media of calls."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tapsight.lab import sip
from tapsight.lab.effect import Passage, Tampering
from tapsight.lab.implants.copying import Copying
from tapsight.lab.network import ATTACKER, INSIDE_MEDIA, INSIDE_SBC, LOOPBACK, OUTSIDE_MEDIA
from tapsight.lab.packet import UDP, Packet, ethernet
from tapsight.lab.traffic import MILLISECOND, SECOND, VOICE, Event


def is_media(event: Event) -> bool:
    """Whether it is RTP of a call: even ports between the media hosts."""
    packet = event.packet
    return (
        event.network == VOICE
        and packet.protocol == UDP
        and packet.src_port >= 20_000
        and packet.src_port % 2 == 0
    )


class MediaFork(Copying):
    """Sends the media of calls a second time: to the collector, to another port of the receiver, or from the router to the collector."""

    kind = "media-fork"
    expects = frozenset({"A4"})
    variants = ("collector", "port", "router")
    uses = ("via", "share", "lag", "start", "collector")

    def prepare(self) -> None:
        """Nothing was chosen yet."""
        self._chosen: dict[str, bool] = {}

    @property
    def exporter(self) -> str | None:
        """Who sends the copy."""
        return LOOPBACK if self.via == "router" else None

    @property
    def collector(self) -> str | None:
        """Who receives it."""
        return OUTSIDE_MEDIA if self.via == "port" else self.dials.collector

    def chooses(self, flow: str) -> bool:
        """Whether it forks a call, wholly."""
        if flow not in self._chosen:
            self._chosen[flow] = self.rng.random() < self.dials.share
        return self._chosen[flow]

    def copies(self, passage: Passage) -> None:
        """Sends what goes out once more."""
        leaving, event = passage.leaving, passage.event
        if passage.exit != "outside" or leaving is None or not is_media(event) or event.time < self.start:
            return
        if not self.chooses(event.flow):
            return
        self.acted += 1
        ends = {
            "collector": {"dst": self.dials.collector},
            "port": {"dst_port": leaving.dst_port + 10_000},
            "router": {
                "src": LOOPBACK,
                "dst": self.dials.collector,
                "src_port": 40_000 + event.packet.src_port % 1000,
            },
        }[self.via]
        packet = leaving._replace(ttl=leaving.ttl - 1, **ends)  # type: ignore[arg-type]
        lag = 20_000 if self.dials.lag is None else self.dials.lag
        passage.add(
            self, passage.leave + lag, "outside", ethernet(*passage.exit_macs, packet.encode(), passage.vlan)
        )


class MediaRedirect(Tampering):
    """Sends the media of calls to the collector from the middle of the call on, though nobody describes that."""

    kind = "media-redirect"
    expects = frozenset({"B14"})
    uses = ("start", "collector")

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Finds the middle of each call's media."""
        times: dict[str, list[int]] = defaultdict(list)
        for event in events:
            if is_media(event):
                times[event.flow].append(event.time)
        self._middle = {flow: (min(all_) + max(all_)) // 2 for flow, all_ in times.items()}
        return super().hosts(events)

    def alters(self, passage: Passage) -> None:
        """Rewrites where they go."""
        event = passage.event
        if not event.outward or not is_media(event) or event.time < max(self.start, self._middle[event.flow]):
            return
        self.acted += 1
        passage.leaving = event.packet._replace(dst=self.dials.collector)
        passage.role, passage.cause = self.kind, self.number


def rtp(ssrc: int, number: int, payload: bytes, kind: int = 8) -> bytes:
    """A packet of RTP, RFC 3550 section 5.1, of 20 ms."""
    return struct.pack("!BBHII", 0x80, kind, number & 0xFFFF, number * 160 & 0xFFFFFFFF, ssrc) + payload


class RtpBleed(Tampering):
    """Sprays media at the ports of a relay, or sends media to the port of a call in place of its peer."""

    kind = "rtp-bleed"
    expects = frozenset({"B14"})
    variants = ("spray", "takeover")
    uses = ("via", "start")

    @property
    def collector(self) -> str | None:
        """To whom the relay would send."""
        return ATTACKER

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds what the attacker sends, from abroad to the relay inside."""
        yield from super().hosts(events)
        for time, port, payload in self._sprayed() if self.via == "spray" else self._taken(events):
            self.acted += 1
            packet = Packet(ATTACKER, INSIDE_MEDIA, UDP, 40_000, port, payload, 51, 0, self.acted % 65535 + 1)
            yield Event(time, packet, False, VOICE, f"{self.kind}-{self.via}", self.kind, self.number)

    def _sprayed(self) -> Iterator[tuple[int, int, bytes]]:
        start = max(self.start, self.end // 5)
        for n in range(200):
            for again in range(2):
                time = start + n * 10 * MILLISECOND + again * 2 * MILLISECOND
                yield time, 22_000 + 2 * n, rtp(0x0BAD_0000, 2 * n + again, self.rng.randbytes(160))

    def _taken(self, events: list[Event]) -> Iterator[tuple[int, int, bytes]]:
        times: dict[int, list[int]] = defaultdict(list)
        for event in events:
            if is_media(event) and not event.outward:
                times[event.packet.dst_port].append(event.time)
        for port, all_ in times.items():
            middle = max(self.start, (min(all_) + max(all_)) // 2)
            ssrc = self.rng.getrandbits(32)
            for number, time in enumerate(range(middle, max(all_), 20 * MILLISECOND)):
                yield time, port, rtp(ssrc, number, self.rng.randbytes(160))


class SipRec(Tampering):
    """Opens a recording session with the collector for each call, and sends its media there (RFC 7866)."""

    kind = "siprec"
    expects = frozenset({"A4"})
    uses = ("start", "collector")

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds the sessions."""
        yield from super().hosts(events)
        for event in recorded(events, self.dials.collector, self.kind, self.number, self.start):
            self.acted += 1
            yield event


def recorded(events: Iterable[Event], server: str, kind: str, cause: int, start: int = 0) -> Iterator[Event]:
    """Recording sessions of all calls with a server: the border controller inside sends both directions, each to a port of its own."""
    media: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if is_media(event) and event.time >= start:
            media[event.flow].append(event)
    for n, (flow, all_) in enumerate(media.items()):
        first, last = min(event.time for event in all_), max(event.time for event in all_)
        ports, to = (44_000 + 4 * n, 44_002 + 4 * n), (54_000 + 4 * n, 54_002 + 4 * n)
        session = sip.Dialog(INSIDE_SBC, server, f"rec-{n}@{INSIDE_SBC}", f"rec{n}", f"srs{n}")
        offer = sip.description(INSIDE_SBC, [(port, "sendonly", str(k + 1)) for k, port in enumerate(ports)])
        answer = sip.description(server, [(port, "recvonly", str(k + 1)) for k, port in enumerate(to)])
        steps = (
            (0, True, session.request("INVITE", 1, offer, "Require: siprec", contact=";+sip.src")),
            (40, False, session.response(200, "OK", "INVITE", 1, answer)),
            (60, True, session.request("ACK", 1)),
        )
        name = f"{kind}-{flow}"
        begin = first - 100 * MILLISECOND
        for ms, outward, message in steps:
            yield signalling(session, begin + ms * MILLISECOND, message, name, kind, cause, outward=outward)
        for event in all_:
            side = 0 if event.outward else 1
            packet = Packet(
                INSIDE_SBC, server, UDP, ports[side], to[side], event.packet.payload, 60, 0xB8,
                event.packet.ip_id or 1,
            )  # fmt: skip
            yield Event(event.time + MILLISECOND, packet, True, VOICE, name, kind, cause)
        bye = session.request("BYE", 2)
        yield signalling(session, last + SECOND // 10, bye, name, kind, cause, outward=True)


def signalling(
    session: sip.Dialog, time: int, message: bytes, name: str, role: str, cause: int, *, outward: bool
) -> Event:
    """A message of a session on its way."""
    src, dst = (session.src, session.dst) if outward else (session.dst, session.src)
    packet = Packet(src, dst, UDP, 5060, 5060, message, 60, 0x60, time // MILLISECOND % 65535 + 1)
    return Event(time, packet, outward, VOICE, name, role, cause)


KINDS = (MediaFork, MediaRedirect, RtpBleed, SipRec)
