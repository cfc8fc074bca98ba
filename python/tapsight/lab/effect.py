"""What implants and confounders have in common: each is an effect, and says at which points it steps in."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from tapsight.lab.dials import Confounder, Implant
from tapsight.lab.network import NEIGHBOUR, ROUTER, SUBSCRIBERS, VLANS
from tapsight.lab.packet import Packet, ethernet
from tapsight.lab.traffic import INTERNET, SECOND, Event

D = TypeVar("D", Implant, Confounder)


class Seen(NamedTuple):
    """A frame on a tap, and the truth about it."""

    time: int
    """Nanoseconds since the start, by a clock that is right."""
    tap: str
    frame: bytes
    flow: str
    network: str
    role: str
    """``original``, ``forwarded``, ``retransmission``, ``span-duplicate``, or the part that it plays in an effect."""
    event: int
    """Number of the packet: all sightings of one have the same."""
    cause: int | None = None
    """Number of the effect that made it."""
    weak: bool = False
    """Whether its packet holds too little to be told from others."""


class Sent(NamedTuple):
    """A frame that an effect sends by itself."""

    time: int
    tap: str
    frame: bytes
    flow: str
    role: str = ""
    """Its part; the kind of the effect if empty."""
    honest: bool = False
    """Whether it is what stands beside the effect, and not of its making."""
    weak: bool = False


class Passage:
    """A packet on its way through the router. Effects first change it, then copy what became of it."""

    __slots__ = (
        "arriving", "cause", "entry", "entry_cause", "entry_frame", "entry_macs", "entry_packet", "entry_role",
        "event", "exit", "exit_frame", "exit_label", "exit_macs", "exit_packet", "hops", "leave", "leaving",
        "made", "number", "role", "time", "unwrapped", "vlan", "weak", "wrapped",
    )  # fmt: skip

    def __init__(self, number: int, event: Event, leave: int) -> None:
        self.number = number
        self.event = event
        self.time, self.leave = event.time, leave
        self.entry, self.exit = ("inside", "outside") if event.outward else ("outside", "inside")
        self.entry_macs = NEIGHBOUR[self.entry], ROUTER[self.entry]
        self.exit_macs = ROUTER[self.exit], NEIGHBOUR[self.exit]
        self.exit_label: int | None = None
        self.vlan = VLANS[event.network]
        self.arriving = event.packet
        """The packet as it reaches the router."""
        self.leaving: Packet | None = event.packet
        """The packet as it leaves, with the TTL that it came with; none if it does not."""
        self.wrapped: Packet | None = None
        """The tunnel that it leaves in, without its payload."""
        self.unwrapped: Packet | None = None
        """The tunnel that it came in, without its payload."""
        self.hops = 1
        self.role, self.cause = "forwarded", event.cause
        self.entry_role, self.entry_cause = event.role, event.cause
        self.weak = event.packet.is_weak
        self.made: list[Seen] = []
        self.entry_packet = self.exit_packet = self.entry_frame = self.exit_frame = b""

    def add(self, effect: Effect[Any], time: int, tap: str, frame: bytes, role: str = "") -> None:
        """A frame that an effect makes of the packet."""
        event = self.event
        role = role or effect.kind
        self.made.append(
            Seen(time, tap, frame, event.flow, event.network, role, self.number, effect.number, self.weak)
        )


class Effect(Generic[D]):
    """Something that happens beside forwarding. A subclass overrides the points at which it steps in."""

    kind: ClassVar[str]
    """Its name."""
    dials: D
    """How it is set."""

    def __init__(self, dials: D, number: int, seed: int, end: int) -> None:
        """Takes its dials, its number among all effects, the scenario's seed and its length in nanoseconds."""
        self.dials = dials
        self.number = number
        self.end = end
        self.rng = random.Random(f"{seed} {number} {dials.kind}")  # noqa: S311 - traffic, not secrets
        self.acted = 0
        """Packets that it acted on."""
        self.prepare()

    def prepare(self) -> None:
        """Sets up what it needs."""

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """What hosts send in place of these events."""
        return events

    def alters(self, passage: Passage) -> None:
        """Changes how a packet comes in or goes out."""

    def copies(self, passage: Passage) -> None:
        """Makes further frames of a packet, which is encoded by now."""

    def sends(self) -> Iterator[Sent]:
        """Frames of its own."""
        yield from ()

    def captures(self, tap: str, frames: list[Seen]) -> list[Seen]:
        """What a tap makes of its frames: which it keeps, in which order, with which time."""
        return frames

    def policy(self) -> dict[str, list[str]]:
        """What the policy has to say of it: entries, as TOML, by the list they belong to."""
        return {}

    def places(self) -> dict[str, str]:
        """Where the table of places puts its addresses: countries by prefix."""
        return {}

    @classmethod
    def title(cls) -> str:
        """What it does, in a line."""
        return (cls.__doc__ or "").strip().split("\n")[0]


class Tampering(Effect[Implant]):
    """What an implant does."""

    expects: ClassVar[frozenset[str]] = frozenset()
    """The detectors, by family, that should see it."""
    variants: ClassVar[tuple[str, ...]] = ()
    """What its dial ``via`` may be, the first by default."""
    uses: ClassVar[tuple[str, ...]] = ()
    """The dials that count for it."""
    on_encrypted: ClassVar[bool] = False
    """Whether it acts on calls that are encrypted, and on nothing else."""

    def __init__(self, dials: Implant, number: int, seed: int, end: int) -> None:
        """See :class:`Effect`."""
        self.via = dials.via or (self.variants[0] if self.variants else "")
        if self.via not in self.variants and self.variants:
            raise ValueError(
                f"{dials.kind} has no variant {dials.via!r}; there are {', '.join(self.variants)}"
            )
        self.start = int(dials.start * SECOND)
        self.only = dials.only
        super().__init__(dials, number, seed, end)

    def expected(self) -> frozenset[str]:
        """The detectors that should see it with these dials."""
        return self.expects

    @property
    def exporter(self) -> str | None:
        """The address that the taken traffic comes from."""
        return None

    @property
    def collector(self) -> str | None:
        """The address that the taken traffic goes to."""
        return self.dials.collector

    @property
    def collector_mac(self) -> str | None:
        """The MAC address that it goes to, where that tells more."""
        return None

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Finds the busiest subscriber, if it is to act on that one."""
        if self.dials.only == "subscriber":
            hosts = (event.packet.src if event.outward else event.packet.dst for event in events)
            counted = Counter(host for host in hosts if host.startswith(SUBSCRIBERS))
            for host in [event.packet.src for event in events if event.network != INTERNET]:
                counted.pop(host, None)
            self.only = max(counted, key=lambda host: (counted[host], host), default="")
        return events

    def wants(self, event: Event) -> bool:
        """Whether it acts on this packet."""
        only = self.only
        if only not in ("all", event.network) and only not in (event.packet.src, event.packet.dst):
            return False
        if event.time < self.start:
            return False
        share = self.dials.share
        return share >= 1 or self.rng.random() < share

    def times(self, count: int) -> list[int]:
        """When it acts, if it acts by itself: spread over the scenario, as often as its dial says or else ``count``."""
        count = self.dials.count or count
        first = max(self.start, self.end // 20)
        step = max(1, (self.end * 9 // 10 - first) // count)
        return [first + n * step + self.rng.randrange(max(1, step // 4)) for n in range(count)]

    def routed(
        self,
        time: int,
        packet: Packet,
        *,
        outward: bool,
        flow: str = "",
        role: str = "",
        tap: str = "outside",
    ) -> Sent:
        """A packet from the router itself (``outward``) or to it, as it is on a tap."""
        macs = ROUTER[tap], NEIGHBOUR[tap]
        src, dst = macs if outward else macs[::-1]
        frame = ethernet(src, dst, packet.encode(), VLANS[INTERNET])
        return Sent(time, tap, frame, flow or self.kind, role, weak=packet.is_weak)
