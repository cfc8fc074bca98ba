"""What subscribers and carriers send: calls and internet traffic, packet by packet, both ways.

Everything follows from the seed. Conversations are lists of :class:`Event`; hosts number their packets as real ones do,
each in a way of its own.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tapsight.lab.network import (
    COMPATRIOTS,
    INSIDE_MEDIA,
    INSIDE_SBC,
    OUTSIDE_MEDIA,
    OUTSIDE_SBC,
    RESOLVER,
    SUBSCRIBERS,
)
from tapsight.lab.packet import ACK, FIN, ICMP, PSH, SYN, TCP, UDP, Packet

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
MICROSECOND = 1_000

VOICE = "voice"
INTERNET = "internet"


class Event(NamedTuple):
    """A packet on its way to the router."""

    time: int
    """Nanoseconds since the start."""
    packet: Packet
    outward: bool
    """From the inside to the outside."""
    network: str
    """``voice`` or ``internet``."""
    flow: str
    role: str = "original"
    """``original``, or ``retransmission`` if the host sent the same data before."""
    cause: int | None = None
    """Number of the effect that made the host send it."""


class Host(NamedTuple):
    """How far away a host is: the same for all that it sends."""

    initial_ttl: int
    hops: int
    """Routers on the way to it, if it is abroad."""
    rtt: int
    """Nanoseconds there and back."""

    @classmethod
    def at(cls, address: str) -> Host:
        """The host with this address. Those of a network abroad are about as far away."""
        number = zlib.crc32(address.encode())
        return cls((64, 128, 255)[number % 3], 9 + number // 3 % 2, (30 + number // 6 % 5) * MILLISECOND)


class Numbering:
    """How hosts set the identification field: a counter, random numbers, or zero with DF (RFC 6864 section 4)."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._hosts: dict[str, tuple[str, int]] = {}

    def next(self, host: str) -> int:
        """The identification of the host's next packet."""
        if ":" in host:
            return 0
        way, value = self._hosts.get(host) or (
            self._rng.choices(["counter", "random", "zero"], [6, 3, 1])[0],
            self._rng.randrange(1, 65536),
        )
        if host in (INSIDE_SBC, OUTSIDE_SBC, INSIDE_MEDIA, OUTSIDE_MEDIA):
            way = "counter"
        if way == "random":
            value = self._rng.randrange(1, 65536)
        self._hosts[host] = (way, value % 65535 + 1)
        return 0 if way == "zero" else value


class Traffic:
    """Makes the events of a scenario."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - traffic, not secrets
        self.end = int(seconds * SECOND)
        self._ids = Numbering(self.rng)

    def _sent(self, packet: Packet) -> Packet:
        """The packet as its host numbers it."""
        return packet._replace(ip_id=self._ids.next(packet.src))

    # Voice.

    def call(self, number: int, start: int, length: int) -> Iterator[Event]:
        """A call from a subscriber to abroad: SIP (RFC 3261) with SDP, RTP both ways (G.711, RFC 3551), RTCP."""
        rng = self.rng
        name = f"call-{number}"
        call_id = f"{rng.getrandbits(64):016x}@{INSIDE_SBC}"
        tags = f"{rng.getrandbits(32):08x}", f"{rng.getrandbits(32):08x}"
        caller, callee = f"+3222{number:06d}", f"+9712{number:06d}"
        ports = 20000 + 4 * number, 30000 + 4 * number
        branch = f"z9hG4bK{rng.getrandbits(48):012x}"

        def sip(
            time: int,
            outward: bool,
            first: str,
            method: str,
            sequence: int,
            body: str = "",
            to_tag: bool = True,
        ) -> Event:
            src, dst = (INSIDE_SBC, OUTSIDE_SBC) if outward else (OUTSIDE_SBC, INSIDE_SBC)
            requester = INSIDE_SBC
            lines = [
                first,
                f"Via: SIP/2.0/UDP {requester}:5060;branch={branch}{sequence}",
                *(["Max-Forwards: 69"] if not first.startswith("SIP/2.0") else []),
                f"From: <sip:{caller}@{INSIDE_SBC}>;tag={tags[0]}",
                f"To: <sip:{callee}@{OUTSIDE_SBC}>" + (f";tag={tags[1]}" if to_tag else ""),
                f"Call-ID: {call_id}",
                f"CSeq: {sequence} {method}",
                f"Contact: <sip:{src}:5060>",
                *(["Content-Type: application/sdp"] if body else []),
                f"Content-Length: {len(body)}",
            ]
            payload = ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
            packet = Packet(src, dst, UDP, 5060, 5060, payload, ttl=60, tos=0x60)
            return Event(time, self._sent(packet), outward, VOICE, name)

        def sdp(media: str, port: int) -> str:
            lines = ["v=0", f"o=- {number} 1 IN IP4 {media}", "s=-", f"c=IN IP4 {media}", "t=0 0",
                     f"m=audio {port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000", "a=ptime:20"]  # fmt: skip
            return "\r\n".join(lines) + "\r\n"

        uri = f"sip:{callee}@{OUTSIDE_SBC}"
        rtt = rng.randrange(60, 120) * MILLISECOND
        invite = sip(
            start, True, f"INVITE {uri} SIP/2.0", "INVITE", 1, sdp(INSIDE_MEDIA, ports[0]), to_tag=False
        )
        yield invite
        if rng.random() < 0.3:
            again = invite._replace(
                time=start + 500 * MILLISECOND,
                packet=self._sent(invite.packet),
                role="retransmission",
            )
            yield again
            rtt += 450 * MILLISECOND
        yield sip(start + rtt, False, "SIP/2.0 100 Trying", "INVITE", 1, to_tag=False)
        yield sip(start + 2 * rtt, False, "SIP/2.0 180 Ringing", "INVITE", 1)
        answer = start + 2 * rtt + rng.randrange(500, 1500) * MILLISECOND
        yield sip(answer, False, "SIP/2.0 200 OK", "INVITE", 1, sdp(OUTSIDE_MEDIA, ports[1]))
        yield sip(answer + rtt // 2, True, f"ACK {uri} SIP/2.0", "ACK", 1)
        talk_end = answer + length
        yield from self._media(name, ports, answer + rtt // 2, talk_end)
        yield sip(talk_end, True, f"BYE {uri} SIP/2.0", "BYE", 2)
        yield sip(talk_end + rtt, False, "SIP/2.0 200 OK", "BYE", 2)

    def _media(self, name: str, ports: tuple[int, int], start: int, end: int) -> Iterator[Event]:
        for outward in (True, False):
            src, dst = (INSIDE_MEDIA, OUTSIDE_MEDIA) if outward else (OUTSIDE_MEDIA, INSIDE_MEDIA)
            src_port, dst_port = ports if outward else ports[::-1]
            ssrc, sequence, stamp = (
                self.rng.getrandbits(32),
                self.rng.getrandbits(16),
                self.rng.getrandbits(32),
            )
            packets = 0
            for tick in range(start, end, 20 * MILLISECOND):
                jitter = int(self.rng.gauss(0, 300_000))
                header = struct.pack("!BBHII", 0x80, 8, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc)
                speech = self.rng.randbytes(160)
                packet = Packet(src, dst, UDP, src_port, dst_port, header + speech, ttl=60, tos=0xB8)
                yield Event(tick + jitter, self._sent(packet), outward, VOICE, name)
                sequence, stamp, packets = sequence + 1, stamp + 160, packets + 1
                if packets % 250 == 0:  # a sender report every five seconds, RFC 3550 section 6.4.1
                    report = struct.pack("!BBHI", 0x80, 200, 6, ssrc)
                    report += struct.pack(
                        "!IIIII",
                        3_900_000_000 + tick // SECOND,
                        0,
                        stamp & 0xFFFFFFFF,
                        packets,
                        packets * 160,
                    )
                    packet = Packet(src, dst, UDP, src_port + 1, dst_port + 1, report, ttl=60, tos=0xB8)
                    yield Event(tick + MILLISECOND, self._sent(packet), outward, VOICE, name)

    def keepalives(self) -> Iterator[Event]:
        """SIP OPTIONS between the border controllers, every ten seconds each way."""
        for n, time in enumerate(range(SECOND, self.end, 10 * SECOND)):
            for outward in (True, False):
                src, dst = (INSIDE_SBC, OUTSIDE_SBC) if outward else (OUTSIDE_SBC, INSIDE_SBC)
                common = (
                    f"Via: SIP/2.0/UDP {src}:5060;branch=z9hG4bKka{n}{int(outward)}\r\nFrom: <sip:{src}>;tag=ka{n}\r\n"
                    f"To: <sip:{dst}>\r\nCall-ID: keepalive-{n}-{int(outward)}@{src}\r\nCSeq: {n + 1} OPTIONS\r\n"
                )
                ask = f"OPTIONS sip:{dst} SIP/2.0\r\n{common}Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
                reply = f"SIP/2.0 200 OK\r\n{common}Content-Length: 0\r\n\r\n".encode()
                there = Packet(src, dst, UDP, 5060, 5060, ask, ttl=60, tos=0x60)
                back = Packet(dst, src, UDP, 5060, 5060, reply, ttl=60, tos=0x60)
                yield Event(time, self._sent(there), outward, VOICE, "keepalive")
                yield Event(time + 80 * MILLISECOND, self._sent(back), not outward, VOICE, "keepalive")

    # Internet.

    def web(self, number: int, start: int) -> Iterator[Event]:
        """A subscriber resolves a name and fetches something over TLS (RFC 8446 as seen on the wire)."""
        rng = self.rng
        six = rng.random() < 0.3
        host = rng.randrange(1, 200)
        client = f"2001:db8:1::{host:x}" if six else f"198.51.100.{50 + host % 200}"
        server = f"2001:db8:ffff::{rng.randrange(1, 40):x}" if six else f"192.0.2.{rng.randrange(1, 40)}"
        name = f"www{rng.randrange(40)}.example"
        yield from self._resolve(number, start, name, six)
        rtt = Host.at(server).rtt + rng.randrange(2000) * MICROSECOND
        yield from self._download(f"web-{number}", client, server, name, start + rtt, rtt)

    def _resolve(self, number: int, start: int, name: str, six: bool) -> Iterator[Event]:
        rng = self.rng
        client = f"198.51.100.{50 + number % 200}"
        kind = 28 if six else 1
        query_id, port = rng.getrandbits(16), rng.randrange(20000, 60000)
        query = dns_query(query_id, name, kind)
        rdata = b"\x20\x01\x0d\xb8" + bytes(12) if six else b"\xc0\x00\x02\x01"
        answer = dns_answer(query, rdata, kind)
        ask = Packet(client, RESOLVER, UDP, port, 53, query)
        yield Event(start, self._sent(ask), True, INTERNET, f"dns-{number}")
        if rng.random() < 0.05:
            start += SECOND
            yield Event(start, self._sent(ask), True, INTERNET, f"dns-{number}", "retransmission")
        back = Packet(RESOLVER, client, UDP, 53, port, answer, ttl=57)
        yield Event(start + 12 * MILLISECOND, self._sent(back), False, INTERNET, f"dns-{number}")

    def _download(
        self, flow: str, client: str, server: str, name: str, start: int, rtt: int
    ) -> Iterator[Event]:
        rng = self.rng
        port = rng.randrange(32768, 60999)
        seqs = [rng.getrandbits(32), rng.getrandbits(32)]
        near, far = Host.at(client), Host.at(server)
        ttls = near.initial_ttl - 1, far.initial_ttl - far.hops
        time = start

        def segment(outward: bool, flags: int, payload: bytes = b"") -> Event:
            src, dst = (client, server) if outward else (server, client)
            ports = (port, 443) if outward else (443, port)
            mine, theirs = (0, 1) if outward else (1, 0)
            ack = 0 if flags == SYN else seqs[theirs]
            packet = Packet(src, dst, TCP, *ports, payload, ttls[mine], 0, 0, seqs[mine], ack, flags)
            seqs[mine] += len(payload) + bool(flags & (SYN | FIN))
            return Event(time, self._sent(packet), outward, INTERNET, flow)

        yield segment(True, SYN)
        time += rtt
        yield segment(False, SYN | ACK)
        time += MILLISECOND
        yield segment(True, ACK)
        yield segment(True, PSH | ACK, client_hello(rng, name))
        time += rtt
        yield segment(False, PSH | ACK, server_hello(rng))
        left = min(int(rng.paretovariate(1.1) * 4000), 400_000)
        while left > 0:
            size = min(left, 1355)
            event = segment(False, ACK, b"\x17\x03\x03" + struct.pack("!H", size) + rng.randbytes(size))
            yield event
            if rng.random() < 0.005:
                yield event._replace(
                    time=time + rtt * 2, packet=self._sent(event.packet), role="retransmission"
                )
            left -= size
            time += 150_000
            if left // 1355 % 2 == 0:
                yield segment(True, ACK)
        time += rtt
        yield segment(True, FIN | ACK)
        yield segment(False, FIN | ACK)

    def others(self) -> Iterator[Event]:
        """NTP, ICMP echo, QUIC, and BGP between the router's neighbours."""
        rng = self.rng
        for n, time in enumerate(range(0, self.end, SECOND)):
            host = f"198.51.100.{60 + n % 100}"
            ping = struct.pack("!BBHHH", 8, 0, 0, 77, n) + rng.randbytes(48)
            pong = b"\0" + ping[1:]
            yield Event(
                time, self._sent(Packet(host, "192.0.2.80", ICMP, payload=ping)), True, INTERNET, "ping"
            )
            back = Packet("192.0.2.80", host, ICMP, payload=pong, ttl=55)
            yield Event(time + 20 * MILLISECOND, self._sent(back), False, INTERNET, "ping")
            clock = b"\x23\x00\x06\x20" + rng.randbytes(44)
            yield Event(
                time + 5,
                self._sent(Packet(host, "192.0.2.123", UDP, 40123, 123, clock)),
                True,
                INTERNET,
                "ntp",
            )
            quic = b"\xc3\0\0\0\x01\x08" + rng.randbytes(8) + b"\0\0\x44\xb0" + rng.randbytes(1176)
            first = Packet(host, "192.0.2.90", UDP, 50000 + n, 443, quic)
            yield Event(time + 9, self._sent(first), True, INTERNET, f"quic-{n}")
            for k in range(rng.randrange(3, 12)):
                body = bytes([0x40 | rng.getrandbits(5)]) + rng.randbytes(rng.randrange(30, 1200))
                answer = Packet("192.0.2.90", host, UDP, 443, 50000 + n, body, ttl=54)
                yield Event(time + (k + 20) * MILLISECOND, self._sent(answer), False, INTERNET, f"quic-{n}")
        sequence, peer_sequence = rng.getrandbits(32), rng.getrandbits(32)
        keepalive = b"\xff" * 16 + b"\x00\x13\x04"
        for time in range(2 * SECOND, self.end, 15 * SECOND):
            bgp = Packet(
                "198.51.100.1",
                "203.0.113.1",
                TCP,
                179,
                41001,
                keepalive,
                255,
                0xC0,
                0,
                sequence,
                peer_sequence,
            )
            yield Event(time, self._sent(bgp._replace(flags=PSH | ACK)), True, INTERNET, "bgp")
            sequence += len(keepalive)


def conversation(
    client: tuple[str, int],
    server: tuple[str, int],
    exchanges: Iterable[tuple[bool, bytes]],
    *,
    start: int,
    rtt: int,
    rng: random.Random,
    ttls: tuple[int, int] = (64, 60),
) -> Iterator[tuple[int, Packet, bool]]:
    """A TCP connection from SYN to FIN: when, the packet, and whether the client sent it.

    Args:
        client: Address and port of who opens it.
        server: Address and port of the other.
        exchanges: What they say in turn, and whether the client says it. It is cut into segments of 1,400 bytes.
        start: Time of the SYN.
        rtt: From a request to its answer.
        rng: Where sequence and identification numbers come from.
        ttls: Of the client's packets and of the server's.
    """
    seqs = [rng.getrandbits(32), rng.getrandbits(32)]
    numbers = [rng.randrange(1, 60000), rng.randrange(1, 60000)]
    time, last = start, True

    def segment(from_client: bool, flags: int, payload: bytes = b"") -> tuple[int, Packet, bool]:
        mine, theirs = (0, 1) if from_client else (1, 0)
        ends = (client, server) if from_client else (server, client)
        ack = seqs[theirs] if flags & ACK else 0
        numbers[mine] = numbers[mine] % 65535 + 1
        packet = Packet(
            ends[0][0], ends[1][0], TCP, ends[0][1], ends[1][1], payload, ttls[mine], 0, numbers[mine],
            seqs[mine], ack, flags,
        )  # fmt: skip
        seqs[mine] = (seqs[mine] + len(payload) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF
        return time, packet, from_client

    yield segment(True, SYN)
    time += rtt
    yield segment(False, SYN | ACK)
    time += MILLISECOND
    yield segment(True, ACK)
    for from_client, said in exchanges:
        time += rtt if from_client != last else MILLISECOND
        last = from_client
        for at in range(0, len(said), 1400):
            yield segment(from_client, PSH | ACK, said[at : at + 1400])
            time += 100_000
        yield segment(not from_client, ACK)
    time += MILLISECOND
    yield segment(True, FIN | ACK)
    time += rtt
    yield segment(False, FIN | ACK)
    time += MILLISECOND
    yield segment(True, ACK)


def national(
    rng: random.Random,
    number: int,
    start: int,
    rtt: int,
    *,
    hops: int = 6,
    server: str = "",
    flow: str = "national",
) -> Iterator[Event]:
    """A subscriber fetches something from a host elsewhere in the country, so many routers away: the one of this number."""
    client, server = f"{SUBSCRIBERS}{60 + number % 12}", server or f"{COMPATRIOTS}{130 + number % 6}"
    said = [(True, rng.randbytes(300)), (False, rng.randbytes(4000))]
    steps = conversation(
        (client, 35_000 + number % 25_000), (server, 443), said,
        start=start, rtt=rtt + rng.randrange(MILLISECOND), rng=rng, ttls=(63, 64 - hops),
    )  # fmt: skip
    for time, packet, outward in steps:
        yield Event(time, packet, outward, INTERNET, f"{flow}-{number}")


def dns_query(number: int, name: str, kind: int = 1) -> bytes:
    """A question of DNS, RFC 1035 section 4."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + question + struct.pack("!HH", kind, 1)


def dns_answer(query: bytes, rdata: bytes, kind: int = 1, lifetime: int = 300) -> bytes:
    """The answer to a question, RFC 1035 section 4: one record whose name points to the question's."""
    answer = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + query[12:]
    return answer + struct.pack("!HHHIH", 0xC00C, kind, 1, lifetime, len(rdata)) + rdata


def client_hello(rng: random.Random, name: str) -> bytes:
    """A ClientHello with a server name, RFC 8446 section 4.1.2 and RFC 6066 section 3."""
    host = name.encode()
    sni = struct.pack("!HHHBH", 0, len(host) + 5, len(host) + 3, 0, len(host)) + host
    versions = b"\x00\x2b\x00\x03\x02\x03\x04"
    offer = b"\x03\x03" + rng.randbytes(32) + b"\x00" + b"\x00\x04\x13\x01\x13\x02" + b"\x01\x00"
    return _handshake(1, offer, sni + versions)


def server_hello(rng: random.Random) -> bytes:
    """A ServerHello, RFC 8446 section 4.1.3."""
    choice = b"\x03\x03" + rng.randbytes(32) + b"\x00" + b"\x13\x01" + b"\x00"
    return _handshake(2, choice, b"\x00\x2b\x00\x02\x03\x04")


def _handshake(kind: int, head: bytes, extensions: bytes) -> bytes:
    body = head + struct.pack("!H", len(extensions)) + extensions
    handshake = bytes([kind]) + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + struct.pack("!H", len(handshake)) + handshake
