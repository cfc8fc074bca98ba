"""Implants that act on what calls say: where they are led, where their media go, and whether those are encrypted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from tapsight.lab import sip
from tapsight.lab.effect import Passage, Tampering
from tapsight.lab.network import INSIDE_MEDIA, INSIDE_SBC, TLS_PEER
from tapsight.lab.packet import UDP
from tapsight.lab.peers import Script, dialog, media, spread
from tapsight.lab.traffic import MILLISECOND, VOICE, Event

CALLS = ("call-", "sdes-", "dtls-")
"""What the names of calls whose signalling can be read begin with."""


def is_signalling(event: Event) -> bool:
    """Whether it is a message of SIP."""
    return event.network == VOICE and event.packet.protocol == UDP and 5060 in event.packet[3:5]


class Leading(Tampering):
    """Has its way with the calls that it chooses."""

    uses = ("via", "share", "start", "collector")
    acts_on: ClassVar[tuple[str, ...]] = CALLS

    def prepare(self) -> None:
        """No call was chosen yet."""
        self._chosen: set[str] = set()

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Chooses calls that begin after its start, and changes what is said and sent in them."""
        calls: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            if event.network == VOICE and event.flow.startswith(self.acts_on):
                calls[event.flow].append(event)
            else:
                yield event
        for flow, mine in calls.items():
            if (
                mine[0].time < self.start
                or not is_signalling(mine[0])
                or self.rng.random() >= self.dials.share
            ):
                yield from mine
                continue
            self._chosen.add(flow)
            for event in self.led(mine):
                self.acted += event.role == self.kind
                yield event

    def led(self, call: list[Event]) -> Iterator[Event]:
        """What is said and sent in a call, of which the first event is the INVITE, instead."""
        yield from call

    def changed(
        self,
        event: Event,
        change: Callable[[str], str] | None = None,
        *,
        src: str | None = None,
        dst: str | None = None,
        cut: int = 0,
    ) -> Event:
        """The event with other text, from or to another address, or without the last bytes of its payload."""
        packet = event.packet
        payload = packet.payload[: len(packet.payload) - cut]
        if change is not None:
            payload = sip.edited(payload, change)
        packet = packet._replace(payload=payload, src=src or packet.src, dst=dst or packet.dst)
        return (
            event._replace(packet=packet, role=self.kind, cause=self.number)
            if packet != event.packet
            else event
        )

    def rewrites(self, passage: Passage, change: Callable[[str], str]) -> None:
        """Changes the text of a message on its way through the router."""
        packet = passage.event.packet
        payload = sip.edited(packet.payload, change)
        if payload != packet.payload:
            self.acted += 1
            passage.leaving = packet._replace(payload=payload)
            passage.role, passage.cause = self.kind, self.number

    def script(self, flow: str) -> Script:
        """Writes what it adds to a call."""
        return Script(flow, self.rng, self.kind, self.number)

    def concerns(self, passage: Passage) -> bool:
        """Whether a packet is a message of a chosen call."""
        return passage.event.flow in self._chosen and is_signalling(passage.event)


class SipRedirect(Leading):
    """Leads calls to the collector by their signalling: redirections, Contact, Record-Route, transfers in another's name."""

    kind = "sip-redirect"
    expects = frozenset({"B12"})
    variants = ("302", "305", "contact", "peer", "route", "refer", "replaces")

    def led(self, call: list[Event]) -> Iterator[Event]:
        """Answers in the peer's name, leads messages elsewhere, or breaks in."""
        if self.via in ("302", "305"):
            return self._redirected(call)
        if self.via in ("refer", "replaces"):
            return self._broken_in(call)
        return self._answered(call) if self.via in ("contact", "peer") else self._routed(call)

    def alters(self, passage: Passage) -> None:
        """Writes the collector into messages on their way, and takes it out on the way back."""
        if not self.concerns(passage):
            return
        if self.via == "contact" and not passage.event.outward:
            self.rewrites(passage, self._contact)
        elif self.via == "route" and passage.event.outward:
            if passage.event.packet.payload.startswith(b"INVITE"):
                self.rewrites(passage, self._hop)
        elif self.via == "route":
            self.rewrites(passage, self._no_hop)

    def _contact(self, text: str) -> str:
        if not text.startswith(("SIP/2.0 180", "SIP/2.0 200")) or " INVITE\r\n" not in text:
            return text
        return re.sub(r"(?<=\r\nContact: <sip:)[^:>]+", self.dials.collector, text, count=1)

    def _hop(self, text: str) -> str:
        """With the collector as the hop that sent it, and that stays on the route (RFC 3261 section 16.6)."""
        hop = self.dials.collector
        via = f"\r\nVia: SIP/2.0/UDP {hop}:5060;branch=z9hG4bKhop{len(text)}"
        return text.replace("\r\nVia:", f"{via}\r\nRecord-Route: <sip:{hop};lr>\r\nVia:", 1)

    def _no_hop(self, text: str) -> str:
        lines = text.split("\r\n")
        mine = (f"Via: SIP/2.0/UDP {self.dials.collector}:", f"Record-Route: <sip:{self.dials.collector};")
        return "\r\n".join(line for line in lines if not line.startswith(mine))

    def _answered(self, call: list[Event]) -> Iterator[Event]:
        """The caller goes on with who its peer seems to be (RFC 3261 section 12.2.1.1)."""
        peer, hop = call[0].packet.dst, self.dials.collector
        for event in call:
            later = is_signalling(event) and re.search(rb"CSeq: \d+ (ACK|BYE)", event.packet.payload)
            if later and event.outward:
                yield self.changed(
                    event, lambda text: re.sub(rf"@?{re.escape(peer)}(?= SIP)", f"@{hop}", text), dst=hop
                )
            elif later:
                yield self.changed(event, src=hop)
            elif is_signalling(event) and not event.outward and self.via == "peer":
                yield self.changed(event, self._contact)
            else:
                yield event

    def _routed(self, call: list[Event]) -> Iterator[Event]:
        """The peer answers with the hops that it was told (RFC 3261 sections 8.2.6.2 and 12.1.1)."""
        for event in call:
            answers = is_signalling(event) and not event.outward and b" INVITE\r\n" in event.packet.payload
            yield self.changed(event, self._hop) if answers else event

    def _redirected(self, call: list[Event]) -> Iterator[Event]:
        """A redirection in the peer's name comes before its answer; the caller follows it (RFC 3261 sections 8.1.3.4 and 21.3)."""
        invite, hop = call[0], self.dials.collector
        peer, mine = invite.packet.dst, invite.packet.src
        script = self.script(invite.flow)
        fields = [
            line
            for line in invite.packet.payload.decode().split("\r\n")
            if line.startswith(("Via:", "From:", "To:", "Call-ID:", "CSeq:"))
        ]
        reason = "302 Moved Temporarily" if self.via == "302" else "305 Use Proxy"
        said = [f"SIP/2.0 {reason}", *fields, f"Contact: <sip:{hop}:5060>", "Content-Length: 0"]
        text = "\r\n".join(said) + "\r\n\r\n"
        yield invite
        yield script.says(invite.time + 3 * MILLISECOND, peer, mine, text.encode())
        received = (
            f"ACK sip:{peer} SIP/2.0\r\n"
            + "\r\n".join(fields).replace("1 INVITE", "1 ACK")
            + "\r\nContent-Length: 0\r\n\r\n"
        )
        yield script.says(invite.time + 5 * MILLISECOND, mine, peer, received.encode())

        def follows(text: str) -> str:
            text = re.sub(r"branch=z9hG4bK(\w+)", r"branch=z9hG4bK\1r", text)
            text = re.sub(r"(?<=\r\nCSeq: )\d+", lambda number: str(int(number[0]) + 1), text)
            if self.via == "305":
                return (
                    text.replace("\r\nVia:", f"\r\nRecord-Route: <sip:{hop};lr>\r\nVia:", 1)
                    if text.startswith("SIP/2.0 200")
                    else text
                )
            text = re.sub(rf"^(\w+ sip:.*?){re.escape(peer)}(?= SIP)", rf"\g<1>{hop}", text)
            return re.sub(rf"(?<=\r\nContact: <sip:){re.escape(peer)}", hop, text)

        for event in call:
            if not is_signalling(event):
                yield event
                continue
            src, dst = (None, hop) if event.outward else (hop, None)
            later = event._replace(time=event.time + 8 * MILLISECOND)
            yield self.changed(later, follows, src=src, dst=dst)

    def _broken_in(self, call: list[Event]) -> Iterator[Event]:
        """Somebody who knows the dialog has it transferred (RFC 3515), or takes the place of the peer (RFC 3891)."""
        yield from call
        hop, script = self.dials.collector, self.script(call[0].flow)
        call_id, caller, callee = _names(call)
        time = (call[0].time + call[-1].time) // 2
        if self.via == "refer":
            stranger = sip.Dialog(hop, INSIDE_SBC, call_id, callee, caller)
            refer = stranger.request("REFER", 7, "", f"Refer-To: <sip:{hop}>")
            yield script.says(time, hop, INSIDE_SBC, refer)
            yield script.says(
                time + 5 * MILLISECOND, INSIDE_SBC, hop, stranger.response(202, "Accepted", "REFER", 7)
            )
            return
        session = sip.Dialog(hop, INSIDE_SBC, f"x-{call_id}", "x1", "x2")
        # Tags as who receives it has them: its own first (RFC 3891 section 3).
        field = f"Replaces: {call_id};to-tag={caller};from-tag={callee}"
        yield script.says(time, hop, INSIDE_SBC, session.request("INVITE", 1, sip.audio(hop, 40_000), field))
        answer = session.response(200, "OK", "INVITE", 1, sip.audio(INSIDE_MEDIA, 26_900))
        yield script.says(time + 20 * MILLISECOND, INSIDE_SBC, hop, answer)
        yield script.says(time + 40 * MILLISECOND, hop, INSIDE_SBC, session.request("ACK", 1))


class SdpHijack(Leading):
    """Writes the collector into session descriptions, so that media go through it and the call goes on."""

    kind = "sdp-hijack"
    expects = frozenset({"B13"})
    variants = ("both", "offer", "peer", "reinvite")

    def alters(self, passage: Passage) -> None:
        """Rewrites offers, and answers if both sides are moved."""
        if not self.concerns(passage):
            return
        if self.via == "both" or (self.via == "offer" and passage.event.outward):
            self.rewrites(passage, self._here)

    def _here(self, text: str) -> str:
        return re.sub(r"(?<=\r\nc=IN IP4 )\S+", self.dials.collector, text)

    def led(self, call: list[Event]) -> Iterator[Event]:
        """Media go by way of the collector; in the middle of a call, from where it is told so."""
        hop, middle = self.dials.collector, (call[0].time + call[-1].time) // 2
        since = middle + 60 * MILLISECOND if self.via == "reinvite" else 0
        invite = call[0].packet
        for event in call:
            if is_signalling(event):
                yield self.changed(event, self._here) if self.via == "peer" and not event.outward else event
            elif event.time < since:
                yield event
            elif event.outward:
                # Where the offer only is changed, the peer is where it says.
                yield event if self.via == "offer" else self.changed(event, dst=hop)
            else:
                yield self.changed(event, src=hop)
        if self.via != "reinvite":
            return
        call_id, caller, callee = _names(call)
        # In the peer's name, which asks for the first time.
        session = sip.Dialog(invite.dst, invite.src, call_id, callee, caller)
        script, mine = self.script(call[0].flow), _description(call[0])
        theirs = self._here(
            next(_description(event) for event in call if event.packet.payload.startswith(b"SIP/2.0 200"))
        )
        offer = session.request("INVITE", 11, theirs)
        answer = session.response(200, "OK", "INVITE", 11, mine)
        yield script.says(middle, invite.dst, invite.src, offer)
        yield script.says(middle + 20 * MILLISECOND, invite.src, invite.dst, answer)
        yield script.says(middle + 40 * MILLISECOND, invite.dst, invite.src, session.request("ACK", 11))


def _names(call: list[Event]) -> list[str]:
    """Call-ID and tags, the caller's first."""
    text = next(event.packet.payload.decode() for event in call if event.packet.payload.startswith(b"ACK"))
    found = (re.search(rf"\r\n{name}(\S+)", text) for name in ("Call-ID: ", "From: .*;tag=", "To: .*;tag="))
    return [each[1] for each in found if each is not None]


def _description(event: Event) -> str:
    return event.packet.payload.decode().partition("\r\n\r\n")[2]


class Downgrade(Leading):
    """Has calls go on in clear from a moment on, where they were encrypted: by taking keys out on the way, or at the peer's end."""

    kind = "downgrade"
    expects = frozenset({"B16"})
    variants = ("crypto", "listed", "unlisted", "tls")
    uses = ("via", "share", "start", "count")
    on_encrypted = True

    def prepare(self) -> None:
        """Begins in the middle, if it is not told when."""
        super().prepare()
        self.start = self.start or self.end // 2

    @property
    def collector(self) -> str | None:
        """Anybody may listen."""
        return None

    def expected(self) -> frozenset[str]:
        """What differs between taps is B13's matter as well."""
        return frozenset({"B13", "B16"} if self.via == "crypto" else {"B16"})

    def alters(self, passage: Passage) -> None:
        """Takes keys out of offers."""
        if self.via == "crypto" and passage.event.outward and self.concerns(passage):
            self.rewrites(passage, sip.in_clear)

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Ends the connection over TLS, after which calls are set up in clear."""
        if self.via != "tls":
            yield from super().hosts(events)
            return
        for event in events:
            if event.time < self.start or not event.flow.startswith("tls"):
                yield event
        times = [time for time in spread(self.end, 2 * (self.dials.count or 15)) if time >= self.start]
        for n, time in enumerate(times):
            script = self.script(f"fallen-{n}")
            for event in script.call(time, dialog("fallen", n, TLS_PEER), *media("", n, 25_000, self.rng)):
                self.acted += 1
                yield event

    def led(self, call: list[Event]) -> Iterator[Event]:
        """A call in clear with the peer of whom that is asked."""
        wanted = "dtls-" if self.via == "unlisted" else "sdes-"
        if not call[0].flow.startswith(wanted):
            self._chosen.discard(call[0].flow)
            yield from call
            return
        for event in call:
            if not is_signalling(event):
                yield self.changed(event, cut=10)
            elif self.via == "crypto" and event.outward:
                yield event
            else:
                yield self.changed(event, sip.in_clear)


KINDS = (SipRedirect, SdpHijack, Downgrade)
