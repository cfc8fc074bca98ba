"""What confounders have in common, and what those that are calls say and send."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import ClassVar

from tapsight.lab import sip
from tapsight.lab.dials import Confounder
from tapsight.lab.effect import Effect
from tapsight.lab.implants.voice import rtp, signalling
from tapsight.lab.network import INSIDE_MEDIA, INSIDE_SBC, OUTSIDE_MEDIA, OUTSIDE_SBC
from tapsight.lab.packet import UDP, Packet
from tapsight.lab.traffic import MILLISECOND, SECOND, VOICE, Event


class Honest(Effect[Confounder]):
    """What a confounder does."""

    usual: ClassVar[float] = 1.0
    """The share of what it could concern that it concerns, unless its dial says otherwise."""
    uses: ClassVar[tuple[str, ...]] = ()
    """The dials that count for it."""

    @property
    def share(self) -> float:
        """The share of what it could concern that it concerns."""
        return self.usual if self.dials.share is None else self.dials.share

    @property
    def at(self) -> int:
        """When it happens, in nanoseconds from the start."""
        return int(self.end * self.dials.at)

    def ms(self, usual: float) -> int:
        """Its size in nanoseconds."""
        return int((usual if self.dials.ms is None else self.dials.ms) * MILLISECOND)

    def hits(self) -> bool:
        """Whether it concerns what is at hand."""
        return self.share >= 1 or self.rng.random() < self.share

    def concerns(self, flow: str) -> bool:
        """Whether it concerns this conversation: the same answer each time."""
        return zlib.crc32(flow.encode()) < self.share * 2**32


class Talk(Honest):
    """Calls in which something honest happens to the media."""

    second, third = "203.0.113.21", "203.0.113.22"
    """Other media hosts outside."""

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds four calls."""
        yield from events
        for n in range(4):
            start = self.end // 10 + n * SECOND
            session = sip.Dialog(
                INSIDE_SBC,
                OUTSIDE_SBC,
                f"{self.kind}-{n}@{INSIDE_SBC}",
                f"{self.kind}{n}a",
                f"{self.kind}{n}b",
            )
            for event in self.call(n, start, session):
                self.acted += 1
                yield event

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """What is said and sent in a call."""
        raise NotImplementedError

    def name(self, n: int) -> str:
        """The conversation."""
        return f"{self.kind}-{n}"

    def says(self, n: int, time: int, session: sip.Dialog, message: bytes, *, outward: bool) -> Event:
        """A message."""
        return signalling(session, time, message, self.name(n), "original", self.number, outward=outward)

    def begins(
        self, n: int, start: int, session: sip.Dialog, ports: tuple[int, int], media: str = OUTSIDE_MEDIA
    ) -> Iterator[Event]:
        """The call, its answer after 200 ms, and that it was received."""
        offer = sip.description(INSIDE_MEDIA, [(ports[0], "sendrecv", "")])
        answer = sip.description(media, [(ports[1], "sendrecv", "")])
        yield self.says(n, start, session, session.request("INVITE", 1, offer), outward=True)
        message = session.response(200, "OK", "INVITE", 1, answer)
        yield self.says(n, start + 200 * MILLISECOND, session, message, outward=False)
        yield self.says(n, start + 220 * MILLISECOND, session, session.request("ACK", 1), outward=True)

    def sends_media(
        self, n: int, times: range, ends: tuple[str, int, str, int], ssrc: int, first: int, *, outward: bool
    ) -> Iterator[Event]:
        """A stream, of which this is the number of the first packet."""
        src, src_port, dst, dst_port = ends
        for number, time in enumerate(times, first):
            payload = rtp(ssrc, number, self.rng.randbytes(160))
            packet = Packet(
                src, dst, UDP, src_port, dst_port, payload, 60, 0xB8, self.rng.randrange(1, 65536)
            )
            yield Event(time, packet, outward, VOICE, self.name(n), cause=self.number)


def ticks(start: int, length: int) -> range:
    """Times of packets of 20 ms each."""
    return range(start, start + length, 20 * MILLISECOND)
