"""Short calls with peers that encrypt, so that there is something which may end."""

from __future__ import annotations

import base64
import random
import struct
from collections.abc import Iterator

from tapsight.lab import sip
from tapsight.lab.network import DTLS_PEER, INSIDE_MEDIA, INSIDE_SBC, SDES_PEER, SECURE_MEDIA, TLS_PEER
from tapsight.lab.packet import ACK, PSH, SYN, TCP, UDP, Packet
from tapsight.lab.traffic import MILLISECOND, VOICE, Event, client_hello, server_hello

FRAMES = 60
"""Packets of media of a short call, each way."""


class Script:
    """Writes one conversation of voice.

    Args:
        flow: Its name.
        rng: Where chance comes from.
        role: The part that it plays, as in the truth.
        cause: Whose doing it is.
        numbers: The last identification of each host, where conversations have hosts in common.
    """

    def __init__(
        self,
        flow: str,
        rng: random.Random,
        role: str = "original",
        cause: int | None = None,
        numbers: dict[str, int] | None = None,
    ) -> None:
        self.flow, self.rng, self.role, self.cause = flow, rng, role, cause
        self._numbers = {} if numbers is None else numbers

    def packet(self, time: int, packet: Packet) -> Event:
        """A packet on its way; what comes from hosts of the network goes outward."""
        last = self._numbers.get(packet.src)
        number = self.rng.randrange(1, 65536) if last is None else last % 65535 + 1
        self._numbers[packet.src] = number
        outward = packet.src.startswith("198.51.100.")
        packet = packet._replace(ip_id=number)
        return Event(time, packet, outward, VOICE, self.flow, self.role, self.cause)

    def says(self, time: int, src: str, dst: str, message: bytes) -> Event:
        """A message of SIP."""
        return self.packet(time, Packet(src, dst, UDP, 5060, 5060, message, 60, 0x60))

    def sends(
        self,
        time: int,
        src: tuple[str, int],
        dst: tuple[str, int],
        count: int = FRAMES,
        *,
        ssrc: int | None = None,
        first: int = 0,
        tag: int = 0,
    ) -> Iterator[Event]:
        """So many packets of media of 20 ms, with a tag of so many bytes if they are encrypted (RFC 3711 section 3.1)."""
        ssrc = self.rng.getrandbits(32) if ssrc is None else ssrc
        for n in range(first, first + count):
            head = struct.pack("!BBHII", 0x80, 8, n & 0xFFFF, n * 160 & 0xFFFFFFFF, ssrc)
            packet = Packet(
                src[0], dst[0], UDP, src[1], dst[1], head + self.rng.randbytes(160 + tag), 60, 0xB8
            )
            yield self.packet(time + (n - first) * 20 * MILLISECOND, packet)

    def agrees(self, time: int, session: sip.Dialog, offer: str, answer: str) -> Iterator[Event]:
        """The beginning of a call that is answered at once."""
        src, dst = session.src, session.dst
        yield self.says(time, src, dst, session.request("INVITE", 1, offer))
        yield self.says(time + 100 * MILLISECOND, dst, src, session.response(200, "OK", "INVITE", 1, answer))
        yield self.says(time + 120 * MILLISECOND, src, dst, session.request("ACK", 1))

    def call(
        self,
        time: int,
        session: sip.Dialog,
        offer: tuple[str, str, int],
        answer: tuple[str, str, int],
        *,
        count: int = FRAMES,
        tag: int = 0,
    ) -> Iterator[Event]:
        """A call from its beginning to its end: descriptions, with where each wants its media."""
        src, dst = session.src, session.dst
        yield self.says(time, src, dst, session.request("INVITE", 1, offer[0]))
        response = session.response(180, "Ringing", "INVITE", 1)
        yield self.says(time + 60 * MILLISECOND, dst, src, response)
        response = session.response(200, "OK", "INVITE", 1, answer[0])
        yield self.says(time + 150 * MILLISECOND, dst, src, response)
        yield self.says(time + 170 * MILLISECOND, src, dst, session.request("ACK", 1))
        for here, there in ((offer[1:], answer[1:]), (answer[1:], offer[1:])):
            yield from self.sends(time + 200 * MILLISECOND, here, there, count, tag=tag)
        end = time + (240 + 20 * count) * MILLISECOND
        yield self.says(end, src, dst, session.request("BYE", 2))
        yield self.says(end + 40 * MILLISECOND, dst, src, session.response(200, "OK", "BYE", 2))


def spread(end: int, count: int) -> list[int]:
    """So many times all over the scenario, with time for a call behind the last."""
    return [end // 20 + n * (end * 17 // 20) // max(count, 1) for n in range(count)]


def secure_calls(seed: int, end: int, count: int) -> Iterator[Event]:
    """So many calls with each of the peers that encrypt."""
    rng = random.Random(f"{seed} peers")  # noqa: S311 - traffic, not secrets
    numbers: dict[str, int] = {}
    for n, time in enumerate(spread(end, count)):
        for kind, peer, base in (("sdes", SDES_PEER, 27_000), ("dtls", DTLS_PEER, 28_000)):
            script = Script(f"{kind}-{n}", rng, numbers=numbers)
            yield from script.call(
                time + rng.randrange(100) * MILLISECOND,
                dialog(kind, n, peer),
                *media(kind, n, base, rng),
                tag=10,
            )
        script = Script(f"tls-{n}", rng, numbers=numbers)
        ends = (INSIDE_MEDIA, 29_000 + 4 * n), (SECURE_MEDIA, 39_000 + 4 * n)
        for here, there in (ends, ends[::-1]):
            yield from script.sends(time, here, there, tag=10)
    yield from _tls(rng, end, count, numbers)


def dialog(kind: str, n: int, peer: str) -> sip.Dialog:
    """The dialog of a call with a peer."""
    return sip.Dialog(INSIDE_SBC, peer, f"{kind}-{n}@{INSIDE_SBC}", f"{kind}{n}a", f"{kind}{n}b")


def media(
    kind: str, n: int, base: int, rng: random.Random
) -> tuple[tuple[str, str, int], tuple[str, str, int]]:
    """Offer and answer of a call, encrypted as its peer does (``sdes``, ``dtls``) or in clear, with their endpoints."""
    ends = (INSIDE_MEDIA, base + 4 * n), (SECURE_MEDIA, base + 10_000 + 4 * n)
    made = []
    for (address, port), setup in zip(ends, ("actpass", "active"), strict=True):
        if kind == "sdes":
            key = base64.b64encode(rng.randbytes(30)).decode()
            text = sip.audio(address, port, sip.crypto(key), profile=sip.SDES)
        elif kind == "dtls":
            print_ = sip.fingerprint(rng.randbytes(32))
            text = sip.audio(address, port, print_, f"setup:{setup}", profile=sip.DTLS)
        else:
            text = sip.audio(address, port)
        made.append((text, address, port))
    return made[0], made[1]


def _tls(rng: random.Random, end: int, count: int, numbers: dict[str, int]) -> Iterator[Event]:
    """A connection over which calls are set up that nobody else can read (RFC 3261 section 26.2.1): eight records for each."""
    script = Script("tls", rng, numbers=numbers)
    seqs = [rng.getrandbits(32), rng.getrandbits(32)]

    def segment(time: int, outward: bool, flags: int, payload: bytes = b"") -> Event:
        ends = ((INSIDE_SBC, 41_061), (TLS_PEER, 5061))
        (src, src_port), (dst, dst_port) = ends if outward else ends[::-1]
        mine, theirs = (0, 1) if outward else (1, 0)
        ack = seqs[theirs] if flags & ACK else 0
        packet = Packet(src, dst, TCP, src_port, dst_port, payload, 60, 0x60, 0, seqs[mine], ack, flags)
        seqs[mine] = (seqs[mine] + len(payload) + bool(flags & SYN)) & 0xFFFFFFFF
        return script.packet(time, packet)

    time = end // 50
    yield segment(time, True, SYN)
    yield segment(time + 30 * MILLISECOND, False, SYN | ACK)
    yield segment(time + 31 * MILLISECOND, True, ACK)
    yield segment(time + 32 * MILLISECOND, True, PSH | ACK, client_hello(rng, "sbc.example"))
    yield segment(time + 62 * MILLISECOND, False, PSH | ACK, server_hello(rng))
    for start in spread(end, count):
        for k in range(8):
            size = rng.randrange(300, 900)
            record = b"\x17\x03\x03" + struct.pack("!H", size) + rng.randbytes(size)
            yield segment(start + k * 30 * MILLISECOND, k % 2 == 0, PSH | ACK, record)
