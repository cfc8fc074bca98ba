"""Implants that copy traffic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from tapsight.lab import control
from tapsight.lab.effect import Passage, Sent, Tampering
from tapsight.lab.network import COLLECTOR_MAC, LOOPBACK, NEIGHBOUR, ROGUE_MAC, ROUTER, SUBSCRIBERS, VLANS
from tapsight.lab.packet import UDP, Packet, ethernet, fragments, mac, with_dscp, with_ttl
from tapsight.lab.traffic import INTERNET, MILLISECOND, Event, conversation
from tapsight.lab.tunnels import ENCRYPTED, INTERCEPT, MIRROR_ONLY, TUNNELS, Load


def way(collector: str) -> tuple[str, tuple[bytes, bytes]]:
    """On which tap the router's packets to the collector are seen, and between which MAC addresses."""
    tap = "inside" if collector.startswith(SUBSCRIBERS) else "outside"
    return tap, (ROUTER[tap], NEIGHBOUR[tap])


class Copying(Tampering):
    """What copies have in common: they can be cut, changed, and fragmented."""

    copied = ("share", "only", "lag", "start", "rewrite", "fragment")

    def changed(self, packet: bytes) -> bytes:
        """The packet as the copy has it."""
        rewrite = self.dials.rewrite
        if "ttl" in rewrite:
            packet = with_ttl(packet, 33)
        if "dscp" in rewrite:
            packet = with_dscp(packet, 10)
        if "id" in rewrite and packet[0] >> 4 == 4:
            number = self.rng.randrange(1, 65536).to_bytes(2, "big")
            # Setting the TTL to what it is makes the checksum right.
            packet = with_ttl(packet[:4] + number + packet[6:], packet[8])
        return packet

    def cut(self, packet: bytes) -> Iterable[bytes]:
        """The packet in the fragments that it is sent in."""
        return fragments(packet, self.dials.fragment) if self.dials.fragment else (packet,)


class Mirror(Copying):
    """Sends a copy of each packet to the collector, in a tunnel."""

    kind = "mirror"
    expects = frozenset({"A1"})
    uses: ClassVar[tuple[str, ...]] = (*Copying.copied, "tunnel", "session", "collector", "snap", "mtu")

    def prepare(self) -> None:
        """Looks the tunnel up."""
        name = self.tunnel
        if name not in TUNNELS:
            raise ValueError(f"no tunnel {name!r}; there are {', '.join(TUNNELS)}")
        self._wrap = TUNNELS[name]
        self._sequence, self._ip_id = 0, 4000

    @property
    def tunnel(self) -> str:
        """Which tunnel carries the copies."""
        return self.dials.tunnel

    def expected(self) -> frozenset[str]:
        """By shape only if the tunnel is encrypted, by itself if it is made for mirroring."""
        if self.tunnel in ENCRYPTED:
            return frozenset({"A7", "C1"})
        more = {"A2"} if self.tunnel in MIRROR_ONLY else {"A3"} if self.tunnel in INTERCEPT else set()
        return self.expects | more

    @property
    def exporter(self) -> str | None:
        """The router itself."""
        return LOOPBACK

    def copies(self, passage: Passage) -> None:
        """Puts what came in into a tunnel."""
        if not self.wants(passage.event):
            return
        self.acted += 1
        lag = 15_000 if self.dials.lag is None else self.dials.lag
        src, dst = passage.entry_macs
        if "mac" in self.dials.rewrite:
            src, dst = ROGUE_MAC, COLLECTOR_MAC
        snap, time = self.dials.snap, passage.time + lag
        tap, macs = way(self.dials.collector)
        for packet in self.cut(self.changed(passage.entry_packet)):
            self._sequence += 1
            self._ip_id = self._ip_id % 65535 + 1
            frame = ethernet(src, dst, packet, passage.vlan)
            truncated = snap is not None and len(frame) > snap
            load = Load(frame[:snap], packet[:snap], truncated, self.dials.session, self._sequence, self.rng)
            outer = Packet(LOOPBACK, self.dials.collector, 0, ttl=255, ip_id=self._ip_id)
            carried = self._wrap(outer, load).encode()
            for part in fragments(carried, self.dials.mtu) if self.dials.mtu else (carried,):
                passage.add(self, time, tap, ethernet(*macs, part, VLANS[INTERNET]))
                time += 500


class LiExport(Mirror):
    """Exports intercepted packets to a device that is no mediation device."""

    kind = "li-export"
    expects = frozenset({"A1", "A3"})
    variants = tuple(sorted(INTERCEPT, reverse=True))
    uses = (*Copying.copied, "via", "session", "collector")

    @property
    def tunnel(self) -> str:
        """The format of the export."""
        return self.via


class Fork(Copying):
    """Sends each packet a second time: to another next hop, VLAN or label."""

    kind = "fork"
    expects = frozenset({"A5"})
    uses = (*Copying.copied, "to", "mac", "vlan", "label")

    def prepare(self) -> None:
        """Checks where to."""
        if self.dials.to not in ("mac", "vlan", "mac-vlan", "mpls", "mac-mpls"):
            raise ValueError(f"fork goes to mac, vlan, mac-vlan, mpls or mac-mpls, not to {self.dials.to!r}")

    def expected(self) -> frozenset[str]:
        """A new VLAN or label shows by itself."""
        return self.expects | ({"A8"} if self.dials.to != "mac" else set())

    @property
    def collector(self) -> str | None:
        """Forks have a next hop."""
        return None

    @property
    def collector_mac(self) -> str | None:
        """The other next hop, or the usual one."""
        return self.dials.mac if self.dials.to.startswith("mac") else NEIGHBOUR["outside"].hex(":")

    def copies(self, passage: Passage) -> None:
        """Sends what goes out once more."""
        if passage.exit != "outside" or passage.leaving is None or not self.wants(passage.event):
            return
        self.acted += 1
        to = self.dials.to
        time = passage.leave + (4_000 if self.dials.lag is None else self.dials.lag)
        src, dst = passage.exit_macs
        dst = mac(self.dials.mac) if to.startswith("mac") else dst
        src = ROGUE_MAC if "mac" in self.dials.rewrite else src
        vlan = self.dials.vlan if to.endswith("vlan") else passage.vlan
        label = self.dials.label if to.endswith("mpls") else None
        for packet in self.cut(self.changed(passage.exit_packet)):
            passage.add(self, time, "outside", ethernet(src, dst, packet, vlan, label))
            time += 500


class Late(Copying):
    """Sends each packet again, the same way, after a while."""

    kind = "late"
    expects = frozenset({"A5"})
    uses = Copying.copied

    @property
    def collector(self) -> str | None:
        """It goes where the original went."""
        return None

    def copies(self, passage: Passage) -> None:
        """Sends what goes out once more."""
        if passage.exit != "outside" or passage.leaving is None or not self.wants(passage.event):
            return
        self.acted += 1
        lag = 250 * MILLISECOND if self.dials.lag is None else self.dials.lag
        for packet in self.cut(self.changed(passage.exit_packet)):
            passage.add(
                self, passage.leave + lag, "outside", ethernet(*passage.exit_macs, packet, passage.vlan)
            )


class Readdress(Copying):
    """Sends a copy of each packet whose destination is the collector; of voice, that is a media fork."""

    kind = "readdress"
    expects = frozenset({"A5"})
    uses = (*Copying.copied, "collector")

    def expected(self) -> frozenset[str]:
        """Media sent to two destinations shows by its numbers too."""
        return self.expects | ({"A4"} if self.dials.only == "voice" else set())

    def copies(self, passage: Passage) -> None:
        """Sends what goes out once more, to the collector."""
        leaving = passage.leaving
        if (
            passage.exit != "outside"
            or leaving is None
            or ":" in leaving.src
            or not self.wants(passage.event)
        ):
            return
        self.acted += 1
        lag = 20_000 if self.dials.lag is None else self.dials.lag
        packet = leaving._replace(dst=self.dials.collector, ttl=leaving.ttl - 1).encode()
        for part in self.cut(self.changed(packet)):
            passage.add(
                self, passage.leave + lag, "outside", ethernet(*passage.exit_macs, part, passage.vlan)
            )


class Rspan(Copying):
    """Copies each frame that comes in to a VLAN, as a switch does that mirrors to another."""

    kind = "rspan"
    expects = frozenset({"A8"})
    uses = (*Copying.copied, "vlan")

    @property
    def collector(self) -> str | None:
        """Whoever is in the VLAN."""
        return None

    def copies(self, passage: Passage) -> None:
        """Sends what came in to the VLAN."""
        if not self.wants(passage.event):
            return
        self.acted += 1
        lag = 10_000 if self.dials.lag is None else self.dials.lag
        for packet in self.cut(self.changed(passage.entry_packet)):
            frame = ethernet(*passage.entry_macs, packet, self.dials.vlan)
            passage.add(self, passage.time + lag, "outside", frame)


class SflowExport(Tampering):
    """Samples one packet in one by sFlow, and so copies the first 128 bytes of each to the collector."""

    kind = "sflow-export"
    expects = frozenset({"A6"})
    uses = ("share", "only", "start", "collector", "snap")
    per_datagram = 7

    def prepare(self) -> None:
        """Begins with nothing sampled."""
        self._samples: list[bytes] = []
        self._sampled = self._datagrams = 0

    @property
    def exporter(self) -> str | None:
        """The router itself."""
        return LOOPBACK

    def copies(self, passage: Passage) -> None:
        """Samples the packet, and sends the datagram when it is full."""
        if not self.wants(passage.event):
            return
        self.acted += 1
        self._sampled += 1
        self._samples.append(control.flow_sample(passage.entry_frame, self._sampled, self.dials.snap or 128))
        if len(self._samples) < self.per_datagram:
            return
        self._datagrams += 1
        uptime = passage.time // MILLISECOND + 86_400_000
        body = control.sflow(LOOPBACK, self._samples, self._datagrams, uptime)
        self._samples = []
        outer = Packet(
            LOOPBACK, self.dials.collector, UDP, 50343, 6343, body, 255, 0, self._datagrams % 65535 + 1
        )
        tap, macs = way(self.dials.collector)
        frame = ethernet(*macs, outer.encode(), VLANS[INTERNET])
        passage.add(self, passage.time + 40_000, tap, frame)


class CaptureExfil(Tampering):
    """Sends captures that it took to the collector, by TFTP, FTP or HTTP."""

    kind = "capture-exfil"
    expects = frozenset({"A9"})
    variants = ("tftp", "ftp", "http")
    uses = ("via", "start", "collector", "count")

    @property
    def exporter(self) -> str | None:
        """The router itself."""
        return LOOPBACK

    def hosts(self, events: list[Event]) -> Iterable[Event]:
        """Takes a few packets for its captures."""
        self._taken = [
            ethernet(NEIGHBOUR["inside"], ROUTER["inside"], event.packet.encode()) for event in events[:40]
        ]
        return super().hosts(events)

    def sends(self) -> Iterator[Sent]:
        """The transfers."""
        for n, start in enumerate(self.times(1)):
            file = control.pcap_file(self._taken)
            steps = {"tftp": self._tftp, "ftp": self._ftp, "http": self._http}[self.via](n, start, file)
            for time, packet, outward in steps:
                self.acted += 1
                yield self.routed(time, packet, outward=outward, flow=f"{self.kind}-{n}")

    def _tftp(self, n: int, start: int, file: bytes) -> Iterator[tuple[int, Packet, bool]]:
        port, peer = 40_000 + n, 50_000 + n
        collector, ip_id = self.dials.collector, 100
        ask = Packet(LOOPBACK, collector, UDP, port, 69, control.tftp_write("mycap.pcap"), 255, ip_id=ip_id)
        yield start, ask, True
        yield (
            start + 20 * MILLISECOND,
            Packet(collector, LOOPBACK, UDP, peer, port, control.tftp_ack(0), 50),
            False,
        )
        for number, at in enumerate(range(0, len(file) + 1, 512), 1):
            time = start + 40 * MILLISECOND * number
            block = control.tftp_block(number, file[at : at + 512])
            yield time, Packet(LOOPBACK, collector, UDP, port, peer, block, 255, ip_id=ip_id + number), True
            ack = Packet(collector, LOOPBACK, UDP, peer, port, control.tftp_ack(number), 50, ip_id=number)
            yield time + 20 * MILLISECOND, ack, False

    def _ftp(self, n: int, start: int, file: bytes) -> Iterator[tuple[int, Packet, bool]]:
        collector = self.dials.collector
        host = collector.replace(".", ",")
        says = [
            (False, b"220 ready\r\n"), (True, b"USER backup\r\n"), (False, b"331 password\r\n"),
            (True, b"PASS backup\r\n"), (False, b"230 in\r\n"), (True, b"TYPE I\r\n"), (False, b"200 binary\r\n"),
            (True, b"PASV\r\n"), (False, f"227 Entering Passive Mode ({host},195,80)\r\n".encode()),
            (True, b"STOR mycap.pcap\r\n"), (False, b"150 go on\r\n"), (False, b"226 done\r\n"), (True, b"QUIT\r\n"),
        ]  # fmt: skip
        rtt = 20 * MILLISECOND
        common = {"rtt": rtt, "rng": self.rng, "ttls": (255, 50)}
        yield from conversation((LOOPBACK, 41_000 + n), (collector, 21), says, start=start, **common)  # type: ignore[arg-type]
        data = start + 12 * rtt
        yield from conversation(
            (LOOPBACK, 42_000 + n), (collector, 50_000), [(True, file)], start=data, **common  # type: ignore[arg-type]
        )  # fmt: skip

    def _http(self, n: int, start: int, file: bytes) -> Iterator[tuple[int, Packet, bool]]:
        head = (
            f"PUT /up/{n} HTTP/1.1\r\nHost: {self.dials.collector}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(file)}\r\n\r\n"
        ).encode()
        says = [(True, head + file), (False, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")]
        yield from conversation(
            (LOOPBACK, 43_000 + n), (self.dials.collector, 80), says,
            start=start, rtt=20 * MILLISECOND, rng=self.rng, ttls=(255, 50),
        )  # fmt: skip


KINDS = (Mirror, LiExport, Fork, Late, Readdress, Rspan, SflowExport, CaptureExfil)
