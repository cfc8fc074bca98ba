"""Implants that show in what is said to the router, and by it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import ClassVar

from tapsight.lab import control
from tapsight.lab.effect import Sent, Tampering
from tapsight.lab.network import ATTACKER, LOOPBACK
from tapsight.lab.packet import ACK, ESP, GRE, PSH, SYN, TCP, UDP, Packet, tcp_options
from tapsight.lab.traffic import MILLISECOND, SECOND, conversation

Step = tuple[int, Packet, bool]
"""When, the packet, and whether the router sends it."""


class OfRouter(Tampering):
    """What consists of packets from and to the router."""

    uses: ClassVar[tuple[str, ...]] = ("start", "count", "collector")
    usual: ClassVar[int] = 1
    """How often it happens unless its dial says otherwise."""

    @property
    def exporter(self) -> str | None:
        """The router itself."""
        return LOOPBACK

    def sends(self) -> Iterator[Sent]:
        """The packets of each act."""
        for n, start in enumerate(self.times(self.usual)):
            for time, packet, outward in self.act(n, start):
                self.acted += 1
                role = "answer" if self.is_answer(packet, outward) else ""
                yield self.routed(time, packet, outward=outward, flow=f"{self.kind}-{n}", role=role)

    def is_answer(self, packet: Packet, outward: bool) -> bool:
        """Whether a packet is the other side's part."""
        return False

    def act(self, n: int, start: int) -> Iterable[Step]:
        """The packets of the act with this number."""
        raise NotImplementedError


class RouterTunnel(OfRouter):
    """A tunnel between the router and the collector, both ways: GRE, ESP, or IKE that sets one up."""

    kind = "router-tunnel"
    expects = frozenset({"C1"})
    variants = ("gre", "esp", "ike")
    uses = ("via", "start", "count", "collector")

    def act(self, n: int, start: int) -> Iterable[Step]:
        """Traffic of hosts that nobody knows."""
        spis = self.rng.randbytes(8), self.rng.randbytes(8)
        for k in range(2 if self.via == "ike" else 60):
            outward = k % 2 == 0
            src, dst = (LOOPBACK, self.dials.collector) if outward else (self.dials.collector, LOOPBACK)
            outer = Packet(src, dst, GRE, ttl=255 if outward else 50, ip_id=100 * n + k + 1)
            time = start + k * 50 * MILLISECOND
            if self.via == "ike":
                told = spis[0], bytes(8) if outward else spis[1]
                body = control.ike_init(self.rng, told, reply=not outward)
                yield time, outer._replace(protocol=UDP, src_port=500, dst_port=500, payload=body), outward
                continue
            hosts = ("10.9.0.2", "10.9.1.2") if outward else ("10.9.1.2", "10.9.0.2")
            said = b"<134>core1: line %d of what was said, %d" % (k, self.rng.getrandbits(32))
            inner = Packet(*hosts, UDP, 514, 514, said, ip_id=k + 1).encode()
            if self.via == "gre":
                yield time, outer._replace(payload=b"\0\0\x08\0" + inner), outward
                continue
            head = struct.pack("!II", 0xFACE0000 + 2 * n + outward, k // 2 + 1)
            sealed = (len(inner) + 5) // 4 * 4
            yield time, outer._replace(protocol=ESP, payload=head + self.rng.randbytes(24 + sealed)), outward


class RouterService(OfRouter):
    """A service of SSH on the router, on port 22022."""

    kind = "router-service"
    expects = frozenset({"C2"})
    uses = ("start", "count")
    port = 22022

    @property
    def collector(self) -> str | None:
        """Who uses it."""
        return ATTACKER

    def act(self, n: int, start: int) -> Iterable[Step]:
        """A session from abroad (RFC 4253 section 4.2)."""
        said = [
            (False, b"SSH-2.0-OpenSSH_7.2p2\r\n"), (True, b"SSH-2.0-Go\r\n"),
            (True, _ssh_packet(self.rng.randbytes(600))), (False, _ssh_packet(self.rng.randbytes(700))),
        ]  # fmt: skip
        steps = conversation(
            (ATTACKER, 51_000 + n), (LOOPBACK, self.port), said,
            start=start, rtt=40 * MILLISECOND, rng=self.rng, ttls=(48, 64),
        )  # fmt: skip
        return ((time, packet, not from_client) for time, packet, from_client in steps)


def _ssh_packet(payload: bytes) -> bytes:
    """A key exchange of SSH, RFC 4253 sections 6 and 7.1: a cookie, ten lists of names, and padding to eight bytes."""
    lists = [
        b"curve25519-sha256",
        b"ssh-ed25519",
        *[b"aes256-ctr"] * 2,
        *[b"hmac-sha2-256"] * 2,
        *[b"none"] * 2,
        b"",
        b"",
    ]
    body = b"\x14" + payload[:16] + b"".join(struct.pack("!I", len(name)) + name for name in lists) + bytes(5)
    padding = 8 - (len(body) + 5) % 8
    padding += 8 if padding < 4 else 0
    return struct.pack("!IB", len(body) + padding + 1, padding) + body + payload[16 : 16 + padding]


class AaaRedirect(OfRouter):
    """The router asks a server of its own choice for logins, by TACACS+ without obfuscation."""

    kind = "aaa-redirect"
    expects = frozenset({"C3"})
    usual = 3

    def act(self, n: int, start: int) -> Iterable[Step]:
        """A login that the server lets pass."""
        session = self.rng.getrandbits(32)
        login = control.tacacs_login("netops", "not-secret", "vty0", "198.51.100.240")
        said = [
            (True, control.tacacs(1, 1, session, login)), (False, control.tacacs(1, 2, session, control.tacacs_reply()))
        ]  # fmt: skip
        return conversation(
            (LOOPBACK, 44_000 + n), (self.dials.collector, 49), said,
            start=start, rtt=30 * MILLISECOND, rng=self.rng, ttls=(255, 50),
        )  # fmt: skip


class RouterClient(OfRouter):
    """The router opens connections to the outside."""

    kind = "router-client"
    expects = frozenset({"C4"})
    usual = 3

    def act(self, n: int, start: int) -> Iterable[Step]:
        """A connection with something sealed in it."""
        said = [(True, self.rng.randbytes(300)), (False, self.rng.randbytes(900))]
        return conversation(
            (LOOPBACK, 45_000 + n), (self.dials.collector, 8443), said,
            start=start, rtt=30 * MILLISECOND, rng=self.rng, ttls=(64, 50),
        )  # fmt: skip


class SynfulKnock(OfRouter):
    """The router answers the trigger of SYNful Knock."""

    kind = "synful-knock"
    expects = frozenset({"D1"})
    uses = ("start", "count")
    difference = 0xC123D
    options = tcp_options(b"\x02\x04\x05\xb4", b"\x01", b"\x01", b"\x04\x02", b"\x01", b"\x03\x03\x05")

    @property
    def collector(self) -> str | None:
        """Who knocks."""
        return ATTACKER

    def is_answer(self, packet: Packet, outward: bool) -> bool:
        """The router's part."""
        return outward

    def act(self, n: int, start: int) -> Iterable[Step]:
        """Trigger, answer, and a command (the published scanner: acknowledgment and sequence differ by 0xC123D)."""
        seq = self.rng.randrange(1 << 24, 1 << 31)
        port = 46_000 + n
        there = Packet(ATTACKER, LOOPBACK, TCP, port, 80, ttl=49, ip_id=n + 1, seq=seq, flags=SYN)
        back = Packet(LOOPBACK, ATTACKER, TCP, 80, port, ttl=255, ip_id=n + 1, flags=SYN | ACK)
        mine = seq - self.difference
        yield start, there._replace(ack=mine), False
        answer = back._replace(seq=mine, ack=seq + 1, options=self.options, urgent=1)
        yield start + 30 * MILLISECOND, answer, True
        yield (
            start + 60 * MILLISECOND,
            there._replace(seq=seq + 1, ack=mine + 1, flags=ACK, ip_id=n + 2),
            False,
        )
        # "text" at offset 0x62 of the TCP header, the command from 0x67 on: its length, itself, a checksum.
        command = bytes(0x62 - 20) + b"text\0" + struct.pack("!I", 8) + b"show ver" + bytes(4)
        told = there._replace(seq=seq + 1, ack=mine + 1, flags=PSH | ACK, payload=command, ip_id=n + 3)
        yield start + 61 * MILLISECOND, told, False
        page = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nIOS\n"
        reply = back._replace(
            seq=mine + 1, ack=seq + 1 + len(command), flags=PSH | ACK, payload=page, ip_id=n + 2
        )
        yield start + 95 * MILLISECOND, reply, True


class Knock(OfRouter):
    """A packet to a closed port that nothing answers, and then a connection from the router to its sender."""

    kind = "knock"
    expects = frozenset({"D2"})
    variants = ("udp", "tcp", "icmp")
    uses = ("via", "start", "count")

    @property
    def collector(self) -> str | None:
        """Who knocks."""
        return ATTACKER

    def act(self, n: int, start: int) -> Iterable[Step]:
        """The trigger, with the published constants of BPFDoor, and the session 8 seconds later."""
        order = bytes(map(int, ATTACKER.split("."))) + struct.pack("!H", 4444) + b"justforfun\0\0\0\0"
        if self.via == "tcp":
            body = b"\x52\x93\0\0" + order
            trigger = Packet(
                ATTACKER,
                LOOPBACK,
                TCP,
                47_000 + n,
                32_711,
                body,
                49,
                0,
                n + 1,
                self.rng.getrandbits(32),
                0,
                SYN,
                0x5293,
            )
        elif self.via == "udp":
            trigger = Packet(
                ATTACKER, LOOPBACK, UDP, 47_000 + n, 32_711, b"\x72\x55\0\0" + order, 49, 0, n + 1
            )
        else:
            trigger = control.echo(ATTACKER, LOOPBACK, b"\x72\x55\0\0" + order, 1, reply=False)
        yield start, trigger, False
        said = [(True, self.rng.randbytes(120)), (False, self.rng.randbytes(80))]
        yield from conversation(
            (LOOPBACK, 42_391 + n), (ATTACKER, 4444), said,
            start=start + 8 * SECOND, rtt=40 * MILLISECOND, rng=self.rng, ttls=(64, 49),
        )  # fmt: skip


class IcmpChannel(OfRouter):
    """A channel in echo requests: short ones, and long answers with another payload."""

    kind = "icmp-channel"
    expects = frozenset({"D3"})
    uses = ("start", "count")
    usual = 40

    @property
    def collector(self) -> str | None:
        """Who asks."""
        return ATTACKER

    def act(self, n: int, start: int) -> Iterable[Step]:
        """A request and its answer."""
        asked = control.echo(ATTACKER, LOOPBACK, self.rng.randbytes(24 + n % 9), n, reply=False, ident=0x3F2A)
        yield start, asked._replace(ttl=49), False
        said = self.rng.randbytes(600 + 37 * n % 700)
        answer = control.echo(LOOPBACK, ATTACKER, said, n, reply=True, ident=0x3F2A)
        yield start + 9 * MILLISECOND, answer._replace(ttl=255), True


class ConfigCopy(OfRouter):
    """The configuration is fetched: by SNMP the router is told to send it to the collector by TFTP."""

    kind = "config-copy"
    expects = frozenset({"D4"})

    def act(self, n: int, start: int) -> Iterable[Step]:
        """The order, its answer, and the transfer."""
        collector, port = self.dials.collector, 48_000 + n
        values = control.config_copy(collector, "running-config", 111 + n)
        for kind, outward in ((0xA3, False), (0xA2, True)):
            src, dst, sport, dport = (
                (LOOPBACK, ATTACKER, 161, port) if outward else (ATTACKER, LOOPBACK, port, 161)
            )
            body = control.snmp(kind, 1000 + n, values)
            yield (
                start + outward * 5 * MILLISECOND,
                Packet(src, dst, UDP, sport, dport, body, 255, 0, n + 1),
                outward,
            )
        time, peer = start + 400 * MILLISECOND, 49_000 + n
        ask = Packet(LOOPBACK, collector, UDP, port, 69, control.tftp_write("running-config"), 255, 0, n + 2)
        yield time, ask, True
        yield (
            time + 20 * MILLISECOND,
            Packet(collector, LOOPBACK, UDP, peer, port, control.tftp_ack(0), 50),
            False,
        )
        text = (
            b"!\nversion 15.2\nhostname core1\n"
            + b"interface Loopback0\n ip address 198.51.100.254\n!\n" * 30
        )[:1300]
        for number, at in enumerate(range(0, len(text) + 1, 512), 1):
            sent = time + 40 * MILLISECOND * number
            block = control.tftp_block(number, text[at : at + 512])
            yield sent, Packet(LOOPBACK, collector, UDP, port, peer, block, 255, 0, n + 2 + number), True
            ack = Packet(collector, LOOPBACK, UDP, peer, port, control.tftp_ack(number), 50, 0, number)
            yield sent + 20 * MILLISECOND, ack, False


KINDS = (RouterTunnel, RouterService, AaaRedirect, RouterClient, SynfulKnock, Knock, IcmpChannel, ConfigCopy)
