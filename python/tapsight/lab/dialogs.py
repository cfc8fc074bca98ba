"""Honest calls that look as if somebody led them elsewhere, moved their media or took their keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tapsight.lab import sip
from tapsight.lab.honest import Talk
from tapsight.lab.network import INSIDE_MEDIA, INSIDE_SBC, OUTSIDE_MEDIA, OUTSIDE_SBC
from tapsight.lab.peers import Script, media, spread
from tapsight.lab.traffic import MILLISECOND, SECOND, Event

SECOND_SBC = "203.0.113.15"
"""Another border controller of the peer."""
OWN_SBC = "198.51.100.11"
"""Another one of the network's own."""
ALTERNATIVE = "192.0.2.15"
"""A border controller of the peer at another site, with its media beside it."""
ALTERNATIVE_MEDIA = "192.0.2.25"
OWN = (INSIDE_SBC, INSIDE_MEDIA)


class Spoken(Talk):
    """Calls of a few messages and a little media."""

    peers: tuple[str, ...] = ()
    """Who takes part and is listed."""
    hosts_of_media: tuple[str, ...] = ()
    """Where media go and are listed."""

    def policy(self) -> dict[str, list[str]]:
        """All are listed."""
        return {
            "voice_peers": [f'"{each}"' for each in self.peers],
            "voice_media": [f'"{each}"' for each in self.hosts_of_media],
        }

    def script(self, n: int) -> Script:
        """Writes the conversation."""
        return Script(self.name(n), self.rng, cause=self.number)

    def ports(self, n: int, base: int) -> tuple[int, int]:
        """Ports of both ends of a call."""
        return base + 4 * n, base + 10_000 + 4 * n


class BorderController(Spoken):
    """A listed border controller takes calls, describes itself to both sides, relays their media and calls on under the same Call-ID."""

    kind = "border-controller"
    peers = (ALTERNATIVE, OWN_SBC)
    hosts_of_media = (ALTERNATIVE_MEDIA,)

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """Out to it, and from it back in to another host."""
        script, (near, far) = self.script(n), self.ports(n, 25_100)
        there = sip.Dialog(INSIDE_SBC, ALTERNATIVE, session.call_id, session.from_tag, session.to_tag)
        back = sip.Dialog(ALTERNATIVE, OWN_SBC, session.call_id, session.from_tag, session.to_tag)
        legs = (
            (there, (INSIDE_MEDIA, near), (ALTERNATIVE_MEDIA, far)),
            (back, (ALTERNATIVE_MEDIA, far + 2), (INSIDE_MEDIA, near + 2)),
        )
        for k, (leg, here, other) in enumerate(legs):
            texts = sip.audio(*here), sip.audio(*other)
            at = start + k * 10 * MILLISECOND
            yield from script.call(at, leg, (texts[0], *here), (texts[1], *other), count=50)


class OldHold(Spoken):
    """A call is put on hold by an address of zeros (RFC 2543), then by ``inactive`` (RFC 3264 section 8.4), and goes on after each."""

    kind = "old-hold"

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """Four descriptions of the same ends."""
        script, (near, far) = self.script(n), self.ports(n, 25_200)
        src, dst = session.src, session.dst
        offers = (
            sip.audio(INSIDE_MEDIA, near),
            sip.audio("0.0.0.0", near),  # noqa: S104 - on hold
            sip.audio(INSIDE_MEDIA, near),
            sip.audio(INSIDE_MEDIA, near, "inactive"),
            sip.audio(INSIDE_MEDIA, near, "sendrecv"),
        )
        for k, offer in enumerate(offers, 1):
            time = start + (k - 1) * SECOND
            answer = sip.audio(OUTSIDE_MEDIA, far, *(["inactive"] if k == 4 else []))
            yield script.says(time, src, dst, session.request("INVITE", k, offer))
            yield script.says(
                time + 90 * MILLISECOND, dst, src, session.response(200, "OK", "INVITE", k, answer)
            )
            yield script.says(time + 100 * MILLISECOND, src, dst, session.request("ACK", k))
            if k % 2:
                for here, there in (
                    ((INSIDE_MEDIA, near), (OUTSIDE_MEDIA, far)),
                    ((OUTSIDE_MEDIA, far), (INSIDE_MEDIA, near)),
                ):
                    yield from script.sends(
                        time + 150 * MILLISECOND,
                        here,
                        there,
                        40,
                        ssrc=n * 2 + (here[0] == INSIDE_MEDIA) + 1,
                        first=40 * k,
                    )


class Transfer(Spoken):
    """An attended transfer: the peer is asked to call another of the network's own hosts, in place of the call that was had with that (RFC 5589)."""

    kind = "transfer"
    peers = (OWN_SBC,)

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """REFER within the call, and a call with Replaces."""
        script, (near, far) = self.script(n), self.ports(n, 25_300)
        offer, answer = sip.audio(INSIDE_MEDIA, near), sip.audio(OUTSIDE_MEDIA, far)
        src, dst = session.src, session.dst
        yield from script.agrees(start, session, offer, answer)
        other = f"consulted-{n}@{INSIDE_SBC}"
        target = f"Refer-To: <sip:{OWN_SBC}?Replaces={other}%3Bto-tag%3Dc2%3Bfrom-tag%3Dc1>"
        time = start + 500 * MILLISECOND
        # The consultation: with the host that the call goes to, by way of the peer's side.
        consulted = sip.Dialog(OUTSIDE_SBC, OWN_SBC, other, "c1", "c2")
        yield script.says(
            start + 200 * MILLISECOND, OUTSIDE_SBC, OWN_SBC, consulted.request("INVITE", 1, answer)
        )
        text = consulted.response(200, "OK", "INVITE", 1, sip.audio(INSIDE_MEDIA, near + 2))
        yield script.says(start + 250 * MILLISECOND, OWN_SBC, OUTSIDE_SBC, text)
        yield script.says(start + 270 * MILLISECOND, OUTSIDE_SBC, OWN_SBC, consulted.request("ACK", 1))
        yield script.says(time, src, dst, session.request("REFER", 2, "", target))
        yield script.says(time + 30 * MILLISECOND, dst, src, session.response(202, "Accepted", "REFER", 2))
        taken = sip.Dialog(OUTSIDE_SBC, OWN_SBC, f"taken-{n}@{OUTSIDE_SBC}", f"t{n}a", f"t{n}b")
        field = f"Replaces: {other};to-tag=c2;from-tag=c1"
        yield script.says(
            time + 60 * MILLISECOND, OUTSIDE_SBC, OWN_SBC, taken.request("INVITE", 1, answer, field)
        )
        text = taken.response(200, "OK", "INVITE", 1, sip.audio(INSIDE_MEDIA, near + 2))
        yield script.says(time + 120 * MILLISECOND, OWN_SBC, OUTSIDE_SBC, text)
        yield script.says(time + 140 * MILLISECOND, OUTSIDE_SBC, OWN_SBC, taken.request("ACK", 1))
        ends = (INSIDE_MEDIA, near + 2), (OUTSIDE_MEDIA, far)
        for here, there in (ends, ends[::-1]):
            yield from script.sends(time + 200 * MILLISECOND, here, there, 100)


class Failover(Spoken):
    """A call is taken over by another border controller of the same peer, at another site: Contact, sender and media are new, and listed."""

    kind = "failover"
    peers = (ALTERNATIVE,)
    hosts_of_media = (ALTERNATIVE_MEDIA,)

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """Half by one, half by the other."""
        script, (near, far) = self.script(n), self.ports(n, 25_400)
        offer, answer = sip.audio(INSIDE_MEDIA, near), sip.audio(OUTSIDE_MEDIA, far)
        src = session.src
        yield from script.agrees(start, session, offer, answer)
        time = start + 2 * SECOND
        peer = session.turned()._replace(src=ALTERNATIVE)
        yield script.says(
            time, ALTERNATIVE, src, peer.request("INVITE", 5, sip.audio(ALTERNATIVE_MEDIA, far))
        )
        yield script.says(
            time + 30 * MILLISECOND, src, ALTERNATIVE, peer.response(200, "OK", "INVITE", 5, offer)
        )
        yield script.says(time + 60 * MILLISECOND, ALTERNATIVE, src, peer.request("ACK", 5))
        for k, host in enumerate((OUTSIDE_MEDIA, ALTERNATIVE_MEDIA)):
            ends = (INSIDE_MEDIA, near), (host, far)
            for here, there in (ends, ends[::-1]):
                yield from script.sends(start + k * 2 * SECOND + 150 * MILLISECOND, here, there, 80)


class NatPhones(Spoken):
    """Phones behind a translation of addresses describe private ones, and are answered where they are seen (RFC 3581, RFC 4961)."""

    kind = "nat-phones"
    public = "192.0.2.150"
    peers = (public,)
    hosts_of_media = (public,)

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """A call from abroad, with what the phone knows of itself."""
        script, (near, far) = self.script(n), self.ports(n, 25_500)
        phone, public = f"192.168.1.{20 + n}", self.public
        inner = sip.Dialog(phone, INSIDE_SBC, session.call_id, session.from_tag, session.to_tag)
        offer, answer = sip.audio(phone, far), sip.audio(INSIDE_MEDIA, near)

        def seen(message: bytes) -> bytes:
            return message.replace(b";branch", f";received={public};rport=5060;branch".encode(), 1)

        yield script.says(start, public, INSIDE_SBC, inner.request("INVITE", 1, offer))
        text = seen(inner.response(200, "OK", "INVITE", 1, answer))
        yield script.says(start + 100 * MILLISECOND, INSIDE_SBC, public, text)
        yield script.says(start + 120 * MILLISECOND, public, INSIDE_SBC, inner.request("ACK", 1))
        ends = (INSIDE_MEDIA, near), (public, 40_000 + 2 * n)
        yield from script.sends(start + 150 * MILLISECOND, ends[1], ends[0], 100)
        yield from script.sends(start + 200 * MILLISECOND, ends[0], ends[1], 97)
        yield script.says(start + 3 * SECOND, public, INSIDE_SBC, inner.request("BYE", 2))
        yield script.says(
            start + 3 * SECOND + 30 * MILLISECOND,
            INSIDE_SBC,
            public,
            seen(inner.response(200, "OK", "BYE", 2)),
        )


class Many(Spoken):
    """Many short calls with a peer of one's own."""

    peer = "203.0.113.18"
    peers = (peer,)
    count = 24

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Adds the calls."""
        yield from events
        for n, time in enumerate(spread(self.end, self.count)):
            session = sip.Dialog(INSIDE_SBC, self.peer, f"{self.kind}-{n}@{INSIDE_SBC}", f"m{n}a", f"m{n}b")
            for event in self.call(n, time, session):
                self.acted += 1
                yield event


class PlainPeer(Many):
    """A peer never encrypts, though that is offered each time as what would be welcome (keys in RTP/AVP)."""

    kind = "plain-peer"

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """An offer with keys, and an answer without."""
        keyed, _ = media("sdes", n, 25_600, self.rng)
        _, answer = media("", n, 25_600, self.rng)
        offer = keyed[0].replace(f" {sip.SDES} ", " RTP/AVP "), *keyed[1:]
        yield from self.script(n).call(start, session, offer, answer, count=5)


class FewCalls(Many):
    """A peer stops to encrypt after a few calls: too few to tell."""

    kind = "few-calls"
    count = 16

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """The first half with keys."""
        kind = "sdes" if n < self.count // 2 else ""
        yield from self.script(n).call(
            start, session, *media(kind, n, 25_700, self.rng), count=5, tag=10 if kind else 0
        )


class IceCall(Spoken):
    """A call begins by way of a relay, and goes on between the addresses that connectivity checks have chosen (RFC 8445 section 8.1.1, RFC 8839)."""

    kind = "ice"
    relay, host = "192.0.2.160", "192.0.2.161"
    peers = (host,)
    hosts_of_media = (relay, host)

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """An offer with candidates, and one with the chosen pair."""
        script, (near, far) = self.script(n), self.ports(n, 25_800)
        phone = sip.Dialog(self.host, INSIDE_SBC, session.call_id, session.from_tag, session.to_tag)
        candidates = (
            f"candidate:1 1 UDP 2130706431 {self.host} {far} typ host",
            f"candidate:2 1 UDP 16777215 {self.relay} {far + 2} typ relay raddr {self.host} rport {far}",
        )
        first = sip.audio(
            self.relay, far + 2, "ice-ufrag:abcd", "ice-pwd:0123456789012345678901", *candidates
        )
        mine = f"candidate:1 1 UDP 2130706431 {INSIDE_MEDIA} {near} typ host"
        answer = sip.audio(INSIDE_MEDIA, near, "ice-ufrag:efgh", "ice-pwd:0123456789012345678901", mine)
        chosen = sip.audio(self.host, far, "ice-ufrag:abcd", "ice-pwd:0123456789012345678901", candidates[0])
        for k, offer in enumerate((first, chosen), 1):
            time = start + (k - 1) * SECOND
            yield script.says(time, self.host, INSIDE_SBC, phone.request("INVITE", k, offer))
            yield script.says(
                time + 50 * MILLISECOND, INSIDE_SBC, self.host, phone.response(200, "OK", "INVITE", k, answer)
            )
            yield script.says(time + 80 * MILLISECOND, self.host, INSIDE_SBC, phone.request("ACK", k))
        ends = (INSIDE_MEDIA, near), (self.host, far)
        for here, there in (ends, ends[::-1]):
            yield from script.sends(start + 1200 * MILLISECOND, here, there, 100)


class Announcement(Spoken):
    """An announcement comes from another server before the answer, which describes the peer itself (RFC 3960)."""

    kind = "announcement"
    hosts_of_media = (ALTERNATIVE_MEDIA,)

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """183 with one address, 200 with another."""
        script, (near, far) = self.script(n), self.ports(n, 25_900)
        src, dst = session.src, session.dst
        yield script.says(start, src, dst, session.request("INVITE", 1, sip.audio(INSIDE_MEDIA, near)))
        for k, (status, reason, server) in enumerate(
            ((183, "Session Progress", ALTERNATIVE_MEDIA), (200, "OK", OUTSIDE_MEDIA))
        ):
            time = start + (100 + 2000 * k) * MILLISECOND
            text = session.response(status, reason, "INVITE", 1, sip.audio(server, far))
            yield script.says(time, dst, src, text)
            yield from script.sends(time + 20 * MILLISECOND, (server, far), (INSIDE_MEDIA, near), 90)
        yield script.says(start + 2150 * MILLISECOND, src, dst, session.request("ACK", 1))
        yield from script.sends(start + 2200 * MILLISECOND, (INSIDE_MEDIA, near), (OUTSIDE_MEDIA, far), 80)


class RedirectServer(Spoken):
    """A redirect server that is listed sends each caller to where the called one has registered, which is listed as well."""

    kind = "redirect-server"
    server = "203.0.113.16"
    peers = (server, ALTERNATIVE)
    hosts_of_media = (ALTERNATIVE_MEDIA,)

    def call(self, n: int, start: int, session: sip.Dialog) -> Iterator[Event]:
        """The same call again, to another host."""
        script, (near, far) = self.script(n), self.ports(n, 26_000)
        first = session._replace(dst=self.server)
        again = session._replace(dst=ALTERNATIVE)
        offer, answer = sip.audio(INSIDE_MEDIA, near), sip.audio(ALTERNATIVE_MEDIA, far)
        src = session.src
        yield script.says(start, src, self.server, first.request("INVITE", 1, offer))
        moved = first.response(302, "Moved Temporarily", "INVITE", 1, at=ALTERNATIVE)
        yield script.says(start + 30 * MILLISECOND, self.server, src, moved)
        yield script.says(start + 40 * MILLISECOND, src, self.server, first.request("ACK", 1))
        invite = again.request("INVITE", 2, offer).replace(f";tag={session.to_tag}".encode(), b"")
        yield script.says(start + 50 * MILLISECOND, src, ALTERNATIVE, invite)
        yield script.says(
            start + 150 * MILLISECOND, ALTERNATIVE, src, again.response(200, "OK", "INVITE", 2, answer)
        )
        yield script.says(start + 160 * MILLISECOND, src, ALTERNATIVE, again.request("ACK", 2))
        ends = (INSIDE_MEDIA, near), (ALTERNATIVE_MEDIA, far)
        for here, there in (ends, ends[::-1]):
            yield from script.sends(start + 200 * MILLISECOND, here, there, 100)


KINDS = (
    BorderController, OldHold, Transfer, Failover, NatPhones, PlainPeer, FewCalls, IceCall, Announcement, RedirectServer,
)  # fmt: skip
