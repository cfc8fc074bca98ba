"""The router, and the taps on both of its sides.

A packet that passes is seen on one tap, and a little later on the other: one hop further, between other MACs. Effects
(implants, and honest things that look like them) step in at the points that :class:`~tapsight.lab.effect.Effect` names.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

from tapsight.lab import control
from tapsight.lab.effect import Effect, Passage, Seen, Sent
from tapsight.lab.network import (
    GATEWAY,
    GATEWAY_6,
    LOOPBACK,
    NEIGHBOUR,
    NEIGHBOUR_6,
    NEIGHBOUR_ADDRESS,
    ROUTER,
    VLANS,
)
from tapsight.lab.packet import GRE, Packet, ethernet, forwarded, link
from tapsight.lab.traffic import SECOND, Event

TAPS = ("inside", "outside")


class Router:
    """Passes events on, and notes what the taps see.

    Args:
        rng: Where chance comes from.
        effects: What else happens.
        end: When the scenario ends, in nanoseconds.
        span: The share of frames that each tap sees twice.
        loss: The share of frames that each tap loses.
    """

    def __init__(
        self,
        rng: random.Random,
        effects: Sequence[Effect[Any]],
        end: int,
        *,
        span: float = 0.01,
        loss: float = 0.002,
    ) -> None:
        self.rng, self.effects, self.end = rng, effects, end
        self.span, self.loss = span, loss
        self.dropped = dict.fromkeys(TAPS, 0)

    def run(self, events: list[Event]) -> dict[str, list[Seen]]:
        """The frames that each tap captured, in the order of its capture."""
        for effect in self.effects:
            events = sorted(effect.hosts(events), key=attrgetter("time"))
        events = [event for event in events if 0 <= event.time < self.end]
        seen = self._passed(events)
        number = len(events)
        for sent, cause, kind in self._sent():
            number += 1
            role = sent.role or kind
            network = "router"
            seen.append(
                Seen(sent.time, sent.tap, sent.frame, sent.flow, network, role, number, cause, sent.weak)
            )
        seen.sort(key=attrgetter("time", "tap", "event"))
        taps: dict[str, list[Seen]] = {tap: [] for tap in TAPS}
        for frame in seen:
            taps[frame.tap].append(frame)
        return {tap: self._captured(tap, frames) for tap, frames in taps.items()}

    def _passed(self, events: list[Event]) -> list[Seen]:
        """What all packets leave on the taps on their way."""
        base = Effect[Any]
        alters = [each.alters for each in self.effects if type(each).alters is not base.alters]
        copies = [each.copies for each in self.effects if type(each).copies is not base.copies]
        out: list[Seen] = []
        randrange = self.rng.randrange
        for number, event in enumerate(events):
            passage = Passage(number, event, event.time + randrange(20_000, 200_000))
            for alter in alters:
                alter(passage)
            encode(passage)
            flow, network, weak = event.flow, event.network, passage.weak
            out.append(
                Seen(passage.time, passage.entry, passage.entry_frame, flow, network,
                     passage.entry_role, number, passage.entry_cause, weak)
            )  # fmt: skip
            if passage.leaving is not None:
                out.append(
                    Seen(passage.leave, passage.exit, passage.exit_frame, flow, network,
                         passage.role, number, passage.cause, weak)
                )  # fmt: skip
            for copy in copies:
                copy(passage)
            if passage.made:
                out += passage.made
        return out

    def _sent(self) -> Iterator[tuple[Sent, int | None, str]]:
        """What effects and the router send by themselves, and whose doing it is."""
        for effect in self.effects:
            for sent in effect.sends():
                if 0 <= sent.time < self.end:
                    yield (
                        sent,
                        None if sent.honest else effect.number,
                        "original" if sent.honest else effect.kind,
                    )
        for sent in neighbourhood(self.end):
            yield sent, None, "original"

    def _captured(self, tap: str, frames: list[Seen]) -> list[Seen]:
        """What the tap makes of its frames: it may lose them, or see them twice."""
        random_, randrange, kept = self.rng.random, self.rng.randrange, []
        passed = 0
        for frame in frames:
            seen = [frame]
            if random_() < self.span:
                later = frame.time + randrange(2_000, 12_000)
                seen.append(frame._replace(time=later, role="span-duplicate"))
            passed += len(seen)
            kept += [copy for copy in seen if random_() >= self.loss]
        self.dropped[tap] += passed - len(kept)
        kept.sort(key=attrgetter("time", "event"))
        for effect in self.effects:
            count = len(kept)
            kept = effect.captures(tap, kept)
            self.dropped[tap] += max(0, count - len(kept))
        return kept


def use_next_hop(passage: Passage, mac: bytes) -> None:
    """Sends the packet to another router outside, or has it come from there."""
    if passage.exit == "outside":
        passage.exit_macs = ROUTER["outside"], mac
    else:
        passage.entry_macs = mac, ROUTER["outside"]


def through_tunnel(passage: Passage, far_end: str, numbers: list[int], protocol: int = GRE) -> None:
    """Has the packet travel in a tunnel between the router and an address outside: GRE without a key (RFC 2784), or IP in IP.

    ``numbers`` are those of the last packets of the tunnel, inward and outward.
    """
    outward = passage.event.outward
    numbers[outward] = numbers[outward] % 65535 + 1
    src, dst = (LOOPBACK, far_end) if outward else (far_end, LOOPBACK)
    header = b"\0\0\x08\0" if protocol == GRE else b""
    outer = Packet(src, dst, protocol, payload=header, ttl=255 if outward else 58, ip_id=numbers[outward])
    if outward:
        passage.wrapped = outer
    else:
        passage.unwrapped = outer


def encode(passage: Passage) -> None:
    """Makes the frames by which a packet comes in and goes out."""
    arriving, leaving, vlan = passage.arriving, passage.leaving, passage.vlan
    bare = arriving.encode()
    packet = bare if passage.unwrapped is None else around(passage.unwrapped, bare)
    passage.entry_packet = packet
    passage.entry_frame = ethernet(*passage.entry_macs, packet, vlan)
    if leaving is None:
        return
    packet = forwarded(bare if leaving is arriving else leaving.encode(), passage.hops)
    if passage.wrapped is not None:
        packet = around(passage.wrapped, packet)
    passage.exit_packet = packet
    passage.exit_frame = ethernet(*passage.exit_macs, packet, vlan, passage.exit_label)


def around(tunnel: Packet, packet: bytes) -> bytes:
    """A packet in a tunnel whose header is the payload so far."""
    return tunnel._replace(payload=tunnel.payload + packet).encode()


def neighbourhood(end: int) -> Iterator[Sent]:
    """What the router and its neighbours say to find each other: ARP and neighbour discovery, every 15 seconds."""
    vlan = VLANS["internet"]
    for tap in TAPS:
        for time in range(SECOND // 2, end, 15 * SECOND):
            asker, owner = (NEIGHBOUR[tap], NEIGHBOUR_ADDRESS[tap]), (ROUTER[tap], GATEWAY[tap])
            ask = control.arp(1, *asker, bytes(6), owner[1])
            answer = control.arp(2, *owner, *asker)
            frame = link(asker[0], b"\xff" * 6, 0x0806, ask, vlan)
            yield Sent(time, tap, frame, "arp", "original", weak=True)
            frame = link(owner[0], asker[0], 0x0806, answer, vlan)
            yield Sent(time + 300_000, tap, frame, "arp", "original", weak=True)
    asks, owns = NEIGHBOUR["inside"], ROUTER["inside"]
    for time in range(SECOND, end, 15 * SECOND):
        ask6 = control.neighbour_solicitation(NEIGHBOUR_6, GATEWAY_6, asks)
        answer6 = control.neighbour_advertisement(GATEWAY_6, GATEWAY_6, owns, to=NEIGHBOUR_6)
        group = control.group_mac(ask6.dst)
        yield Sent(time, "inside", ethernet(asks, group, ask6.encode(), vlan), "nd", "original")
        yield Sent(time + 300_000, "inside", ethernet(owns, asks, answer6.encode(), vlan), "nd", "original")
