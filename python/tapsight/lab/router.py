"""The router, the taps on both of its sides, and what an implant in it does.

A packet that passes is seen on one tap, and a little later on the other: one hop further, between other MACs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from tapsight.lab.packet import Packet, ethernet, tunnel
from tapsight.lab.traffic import MILLISECOND, SECOND, VOICE, Event

Only = Literal["all", "voice", "internet"]


def mac(text: str) -> bytes:
    """A MAC address as it stands on the wire."""
    return bytes.fromhex(text.replace(":", ""))


ROUTER = {"inside": mac("02:00:5e:10:00:01"), "outside": mac("02:00:5e:10:00:02")}
NEIGHBOUR = {"inside": mac("02:00:5e:20:00:01"), "outside": mac("02:00:5e:20:00:02")}
ECMP_NEIGHBOUR = mac("02:00:5e:20:00:03")
COLLECTOR_MAC = mac("02:00:5e:66:66:66")
LOOPBACK = "198.51.100.254"


@dataclass(frozen=True)
class Implant:
    """What a tampered router does to a share of the packets that pass it.

    Args:
        kind: ``mirror`` sends a copy in a tunnel to ``collector``; ``fork`` sends the packet a second time, to another MAC;
            ``redirect`` sends packets for ``victim`` to ``collector`` instead; ``late`` sends the packet again after ``lag``.
        share: The share of conversations' packets concerned.
        only: Which traffic.
        lag: Nanoseconds from the original to the copy; each kind has its own default.
        tunnel: For ``mirror``: ``erspan2``, ``erspan3``, ``gre``, ``ipip``, ``vxlan``, ``geneve`` or ``gtpu``.
        session: For ``mirror``: the tunnel's id.
        collector: The address that receives the traffic.
        victim: For ``redirect``: the address whose traffic is diverted.
    """

    kind: Literal["mirror", "fork", "redirect", "late"]
    share: float = 1.0
    only: Only = "all"
    lag: int | None = None
    tunnel: str = "erspan2"
    session: int = 17
    collector: str = "203.0.113.66"
    victim: str = "203.0.113.20"

    def wants(self, event: Event, rng: random.Random) -> bool:
        """Whether it acts on this packet."""
        return self.only in ("all", event.network) and rng.random() < self.share


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame on a tap, and the truth about it."""

    time: int
    tap: str
    frame: bytes
    flow: str
    network: str
    role: str
    """``original``, ``forwarded``, ``retransmission``, ``span-duplicate``, ``vlan-copy``, or what an implant made of it:
    ``mirror``, ``fork``, ``redirect``, ``late``."""
    event: int
    """Number of the event that it stems from."""
    implant: int | None = None


@dataclass
class Router:
    """Passes events on, and notes what the taps see."""

    rng: random.Random
    implants: tuple[Implant, ...] = ()
    span: float = 0.01
    loss: float = 0.002
    vlans: dict[str, int] = field(default_factory=lambda: {VOICE: 210, "internet": 100})
    nat: bool = False
    ecmp: bool = False
    vlan_copy: bool = False
    dropped: dict[str, int] = field(default_factory=lambda: {"inside": 0, "outside": 0})
    acted: dict[int, int] = field(default_factory=dict)
    _sequence: int = 0
    _router_ip_id: int = 4000

    def run(self, events: Iterable[Event]) -> list[Seen]:
        """All frames that the taps captured, in order of time."""
        seen = [frame for number, event in enumerate(events) for frame in self._pass(number, event)]
        captured = [copy for frame in seen for copy in self._capture(frame)]
        return sorted(captured, key=lambda frame: (frame.time, frame.tap, frame.event))

    def _pass(self, number: int, event: Event) -> list[Seen]:
        entry, exit_ = ("inside", "outside") if event.outward else ("outside", "inside")
        vlan = self.vlans[event.network]
        arriving = self._translated(event.packet, event) if not event.outward else event.packet
        leaving = (self._translated(event.packet, event) if event.outward else event.packet).forwarded()
        delay = self.rng.randrange(20_000, 200_000)
        entry_frame = ethernet(self._neighbour(entry, event), ROUTER[entry], arriving.encode(), vlan)

        def seen(time: int, tap: str, frame: bytes, role: str, implant: int | None = None) -> Seen:
            return Seen(time, tap, frame, event.flow, event.network, role, number, implant)

        frames = [seen(event.time, entry, entry_frame, event.role)]
        leave = event.time + delay
        role, implant = "forwarded", None
        for index, candidate in enumerate(self.implants):
            if (
                candidate.kind == "redirect"
                and leaving.dst == candidate.victim
                and candidate.wants(event, self.rng)
            ):
                leaving, role, implant = replace(leaving, dst=candidate.collector), "redirect", index
                self._count(index)
        exit_frame = ethernet(ROUTER[exit_], self._neighbour(exit_, event), leaving.encode(), vlan)
        frames.append(seen(leave, exit_, exit_frame, role, implant))
        for index, candidate in enumerate(self.implants):
            copy = self._copy(candidate, event, entry_frame, arriving, exit_, exit_frame, leave)
            if copy is not None:
                self._count(index)
                frames.append(seen(*copy, candidate.kind, index))
        if self.vlan_copy and self.rng.random() < self.span:
            copy_frame = exit_frame[:14] + (900).to_bytes(2, "big") + exit_frame[16:]
            frames.append(seen(leave + 8_000, exit_, copy_frame, "vlan-copy"))
        return frames

    def _copy(
        self,
        implant: Implant,
        event: Event,
        entry_frame: bytes,
        arriving: Packet,
        exit_: str,
        exit_frame: bytes,
        leave: int,
    ) -> tuple[int, str, bytes] | None:
        """What an implant sends in addition: when, seen on which tap, and the frame."""
        if implant.kind == "redirect" or not implant.wants(event, self.rng):
            return None
        if implant.kind == "mirror":
            self._sequence += 1
            self._router_ip_id = self._router_ip_id % 65535 + 1
            outer = Packet(LOOPBACK, implant.collector, 0, ttl=255, ip_id=self._router_ip_id)
            packet = tunnel(
                implant.tunnel, outer, entry_frame, arriving.encode(), implant.session, self._sequence
            )
            lag = 15_000 if implant.lag is None else implant.lag
            frame = ethernet(ROUTER["outside"], NEIGHBOUR["outside"], packet.encode(), self.vlans["internet"])
            return event.time + lag, "outside", frame
        if exit_ != "outside":
            return None
        if implant.kind == "fork":
            lag = 4_000 if implant.lag is None else implant.lag
            return leave + lag, "outside", COLLECTOR_MAC + exit_frame[6:]
        lag = 250 * MILLISECOND if implant.lag is None else implant.lag
        return leave + lag, "outside", exit_frame

    def _count(self, index: int) -> None:
        self.acted[index] = self.acted.get(index, 0) + 1

    def _capture(self, frame: Seen) -> list[Seen]:
        """What the tap makes of a frame: it may lose it, or see it twice."""
        kept = [frame]
        if self.rng.random() < self.span:
            kept.append(
                replace(frame, time=frame.time + self.rng.randrange(2_000, 12_000), role="span-duplicate")
            )
        lost = [copy for copy in kept if self.rng.random() < self.loss]
        self.dropped[frame.tap] += len(lost)
        return [copy for copy in kept if copy not in lost]

    def _neighbour(self, side: str, event: Event) -> bytes:
        if self.ecmp and side == "outside" and sum(event.flow.encode()) % 2:
            return ECMP_NEIGHBOUR
        return NEIGHBOUR[side]

    def _translated(self, packet: Packet, event: Event) -> Packet:
        """With NAT, the packet as it is on the outside: subscribers share one address (RFC 3022)."""
        inner = packet.src if event.outward else packet.dst
        if not self.nat or event.network == VOICE or ":" in inner or not inner.startswith("198.51.100."):
            return packet
        return replace(packet, src="203.0.113.200") if event.outward else replace(packet, dst="203.0.113.200")


__all__ = ["COLLECTOR_MAC", "LOOPBACK", "SECOND", "Implant", "Router", "Seen"]
