"""Two taps beside a router: what became of each packet, and how far the clocks are apart."""

from __future__ import annotations

import ipaddress
import json
import random
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import tapsight
from tapsight import report_text
from tapsight._check import plain_rows

US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000
HOUR = 3600 * SECOND
START = 1_767_225_600 * SECOND
UDP, TCP = 17, 6

INSIDE, ROUTER_IN, ROUTER_OUT, OUTSIDE, ELSEWHERE = (bytes([2, 0, 0, 0, 0, n]) for n in range(1, 6))


@dataclass(frozen=True)
class Packet:
    """An IPv4 packet on its way to the router."""

    time: int
    outward: bool
    src: str
    dst: str
    protocol: int
    ports: tuple[int, int]
    payload: bytes
    ip_id: int
    seq: int = 0
    flags: int = 0x18
    options: bytes = b""
    ttl: int = 60
    tos: int = 0
    fragment: int = 0x4000
    next_hop: bytes | None = None
    late: int = 0
    """Nanoseconds that it takes more than others."""

    def ip(self) -> bytes:
        addresses = ipaddress.ip_address(self.src).packed + ipaddress.ip_address(self.dst).packed
        body = self.transport(addresses) if self.fragment & 0x1FFF == 0 else self.payload
        head = struct.pack(
            "!BBHHHBBH", 0x45, self.tos, 20 + len(body), self.ip_id, self.fragment, self.ttl, self.protocol, 0
        )
        return head[:10] + checksum(head + addresses) + addresses + body

    def transport(self, addresses: bytes) -> bytes:
        if self.protocol == UDP:
            head, at = struct.pack("!HHHH", *self.ports, 8 + len(self.payload), 0), 6
        else:
            words = (20 + len(self.options)) // 4
            head = struct.pack("!HHIIBBHHH", *self.ports, self.seq, 1, words << 4, self.flags, 8192, 0, 0)
            head, at = head + self.options, 16
        body = head + self.payload
        pseudo = addresses + struct.pack("!HH", self.protocol, len(body))
        return body[:at] + checksum(pseudo + body) + body[at + 2 :]


def checksum(data: bytes) -> bytes:
    """RFC 1071."""
    total = int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF
    return struct.pack("!H", 0xFFFF - total)


def media(rng: random.Random, host: int, seconds: float) -> Iterator[Packet]:
    """A packet each 20 ms in both directions, numbered in sequence."""
    inside, outside = f"198.51.100.{host}", f"203.0.113.{host}"
    first = rng.randrange(1, 30_000), rng.randrange(1, 30_000)
    for n in range(int(seconds * 50)):
        for outward in (True, False):
            ends = (inside, outside) if outward else (outside, inside)
            time = n * 20 * MS + host * 700 * US + (0 if outward else 9 * MS)
            yield Packet(time, outward, *ends, UDP, (4000, 4000), rng.randbytes(160), first[outward] + n)


def download(rng: random.Random, host: int, seconds: float) -> Iterator[Packet]:
    """A segment inward each 10 ms, and a request outward each 100 ms."""
    client, server = f"198.51.100.{host}", f"192.0.2.{host}"
    seqs = [rng.getrandbits(32), rng.getrandbits(32)]
    for n in range(int(seconds * 100)):
        for outward in (False, True) if n % 10 == 0 else (False,):
            ends, ports = ((client, server), (40_000, 443)) if outward else ((server, client), (443, 40_000))
            payload = rng.randbytes(200 if outward else 700)
            time = n * 10 * MS + host * 130 * US + (3 * MS if outward else 0)
            number = rng.randrange(1, 65536)
            yield Packet(time, outward, *ends, TCP, ports, payload, number, seqs[outward] % 2**32)
            seqs[outward] += len(payload)


def traffic(seconds: float = 8.0) -> list[Packet]:
    """Two calls' media and three downloads."""
    rng = random.Random(7)
    packets = [packet for host in (11, 12) for packet in media(rng, host, seconds)]
    packets += [packet for host in (21, 22, 23) for packet in download(rng, host, seconds)]
    return sorted(packets, key=lambda packet: packet.time)


@dataclass
class Router:
    """What happens between the taps, and to the clock of the outside tap."""

    change: Callable[[Packet], Iterable[Packet]] = lambda packet: [packet]
    """What leaves the router for a packet that enters it."""
    clock: Callable[[int], float] = lambda _: 0
    """By how much the outside tap's clock is ahead."""
    missed: Callable[[str, Packet], bool] = lambda _, __: False
    """Whether a tap fails to capture a packet."""
    delays: tuple[int, int] = (100 * US, 300 * US)
    rng: random.Random = field(default_factory=lambda: random.Random(3))

    def taps(self, packets: Iterable[Packet]) -> dict[str, list[tuple[int, bytes]]]:
        """Frames by tap, each with its time."""
        seen: dict[str, list[tuple[int, bytes]]] = {"inside": [], "outside": []}
        for packet in packets:
            entry, exit_ = ("inside", "outside") if packet.outward else ("outside", "inside")
            macs = (ROUTER_IN, INSIDE) if packet.outward else (ROUTER_OUT, OUTSIDE)
            if not self.missed(entry, packet):
                self.put(seen, entry, packet.time, b"".join(macs), packet)
            for left in self.change(packet):
                delay = self.rng.randrange(*self.delays) + left.late
                macs = (OUTSIDE, ROUTER_OUT) if packet.outward else (INSIDE, ROUTER_IN)
                pair = (left.next_hop or macs[0]) + macs[1]
                if not self.missed(exit_, left):
                    self.put(seen, exit_, packet.time + delay, pair, replace(left, ttl=left.ttl - 1))
        return {tap: sorted(frames) for tap, frames in seen.items()}

    def put(
        self, seen: dict[str, list[tuple[int, bytes]]], tap: str, time: int, macs: bytes, packet: Packet
    ) -> None:
        ahead = int(self.clock(time)) if tap == "outside" else 0
        seen[tap].append((START + time + ahead, macs + b"\x08\0" + packet.ip()))


def write(path: Path, frames: Iterable[tuple[int, bytes]]) -> str:
    """A pcap with nanoseconds."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)]
    for time, frame in frames:
        out.append(struct.pack("<IIII", time // SECOND, time % SECOND, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(out))
    return str(path)


def check(folder: Path, router: Router, packets: Iterable[Packet] | None = None) -> tapsight.Result:
    taps = router.taps(traffic() if packets is None else packets)
    files = {tap: write(folder / f"{tap}.pcap", frames) for tap, frames in taps.items()}
    return tapsight.check(files)


def rows(result: tapsight.Result) -> list[dict[str, Any]]:
    compared: list[dict[str, Any]] = result.to_dict()["taps_compared"]
    return compared


def total(result: tapsight.Result, *names: str) -> dict[str, int]:
    """Sums over all rows, of those counts that are not 0."""
    names = names or ("lost", "inserted", "modified", "readdressed", "copied", "diverted", "capture_loss")
    sums = {name: sum(row[name] for row in rows(result)) for name in names}
    return {name: count for name, count in sums.items() if count}


def found(result: tapsight.Result) -> list[tuple[str, str, int]]:
    """Findings of B1."""
    columns = result.findings.select(["detector", "severity", "packets"]).to_pylist()
    return [tuple(row.values()) for row in columns if row["detector"].startswith("B1.")]


def verdict(result: tapsight.Result) -> dict[str, Any]:
    (row,) = (row for row in result.verdicts.to_pylist() if row["check"] == "B1")
    return row


def every(n: int, wanted: Callable[[Packet], bool], then: Callable[[Packet], list[Packet]]) -> Any:
    """Does something to every n-th packet that is wanted."""
    count = 0

    def change(packet: Packet) -> list[Packet]:
        nonlocal count
        if not wanted(packet):
            return [packet]
        count += 1
        return then(packet) if count % n == 0 else [packet]

    return change


# --- Clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 3 * MS, -250 * MS, 7 * SECOND, HOUR, -HOUR], ids=str)
@pytest.mark.parametrize("ppm", [0, 40, -100])
def test_offset_and_drift_are_found_within_their_uncertainty(offset: int, ppm: int, tmp_path: Path) -> None:
    result = check(tmp_path, Router(clock=lambda time: offset + time * ppm / 1e6))
    assert {(row["from_tap"], row["to_tap"]) for row in rows(result)} == {
        ("inside", "outside"),
        ("outside", "inside"),
    }
    for row in rows(result):
        sign = 1 if row["to_tap"] == "outside" else -1
        assert row["both_ways"]
        # Both least delays are 100 µs, so the offset is known to about that.
        assert 90 * US < row["offset_uncertainty_ns"] < 250 * US
        assert abs(row["offset_ns"] - sign * offset) <= row["offset_uncertainty_ns"]
        assert abs(row["drift_ppm"] - sign * ppm) <= row["drift_uncertainty_ppm"] + 0.1
        assert row["drift_uncertainty_ppm"] < 10
        assert row["ttl_fall"] == 1
        assert row["clock_steps"] == []
        # Delays are spread evenly between 100 and 300 µs.
        assert abs(row["delay_p50_ns"] - 200 * US) <= row["offset_uncertainty_ns"] + 10 * US
        assert abs(row["delay_p99_ns"] - 298 * US) <= row["offset_uncertainty_ns"] + 10 * US
    # 2 x 2 x 50 media packets and 3 x 110 segments a second, less what is close to the ends.
    assert total(result) == {}
    assert 3900 < sum(row["passed"] for row in rows(result)) <= 4240
    assert (verdict(result)["verdict"], found(result)) == ("pass", [])


@pytest.mark.parametrize("at", [3, 5])
@pytest.mark.parametrize("step", [-1200 * MS, -SECOND, 800 * MS, SECOND, 2 * SECOND, 3 * SECOND])
def test_after_a_clock_was_set_nothing_is_late_or_lost(step: int, at: int, tmp_path: Path) -> None:
    result = check(tmp_path, Router(clock=lambda time: step if time > at * SECOND else 0))
    for row in rows(result):
        (told,) = row["clock_steps"]
        assert abs(abs(told["step_ns"]) - abs(step)) < MS
    assert (total(result), found(result)) == ({}, [])
    assert "A5.late" not in result.findings["detector"].to_pylist()


def test_one_direction_does_not_tell_offset_from_delay(tmp_path: Path) -> None:
    packets = [packet for packet in traffic() if packet.outward]
    result = check(tmp_path, Router(clock=lambda _: 20 * MS), packets)
    for row in rows(result):
        assert not row["both_ways"]
        assert row["offset_uncertainty_ns"] is None
        assert 20_100 * US <= row["offset_ns"] < 20_150 * US
    assert total(result) == {}
    assert "one direction does not tell which" in " ".join(report_text.render(result, details=True).split())


def test_a_step_of_a_clock_is_followed_and_told(tmp_path: Path) -> None:
    result = check(
        tmp_path, Router(clock=lambda time: 3 * SECOND if time > 6 * SECOND else 0), traffic(seconds=12)
    )
    (row,) = {row["to_tap"]: row for row in rows(result) if row["to_tap"] == "outside"}.values()
    (step,) = row["clock_steps"]
    assert abs(step["step_ns"] - 3 * SECOND) < MS
    assert step["ts"].startswith("2026-01-01T00:00:06")
    assert abs(row["offset_ns"]) <= row["offset_uncertainty_ns"]
    assert (total(result), found(result)) == ({}, [])


def test_taps_that_did_not_capture_at_the_same_time_are_told(tmp_path: Path) -> None:
    taps = Router().taps(traffic())
    early = [frame for frame in taps["inside"] if frame[0] < START + 3 * SECOND]
    late = [frame for frame in taps["outside"] if frame[0] > START + 4 * SECOND]
    files = {"inside": write(tmp_path / "a.pcap", early), "outside": write(tmp_path / "b.pcap", late)}
    result = tapsight.check(files)
    assert verdict(result)["verdict"] == "unknown"
    assert verdict(result)["reason"] == "the taps did not capture at the same time"
    assert [answer.answer for answer in result.answers[:2]] == ["no sign", "no sign"]


def test_a_tap_that_begins_later_is_found_whatever_its_clock_says(tmp_path: Path) -> None:
    taps = Router(clock=lambda _: HOUR).taps(traffic())
    late = [frame for frame in taps["outside"] if frame[0] > START + HOUR + 2 * SECOND]
    files = {
        "inside": write(tmp_path / "a.pcap", taps["inside"]),
        "outside": write(tmp_path / "b.pcap", late),
    }
    result = tapsight.check(files)
    assert total(result) == {}
    assert 2700 < sum(row["passed"] for row in rows(result)) <= 3180


# --- Losses -----------------------------------------------------------------------------------------------------------


def retransmitted(
    packets: Iterable[Packet], lost: Callable[[Packet], bool]
) -> tuple[set[Packet], list[Packet]]:
    """Segments that are lost on their way, and all packets with those sent again 300 ms later."""
    gone, sent = set(), []
    for packet in packets:
        sent.append(packet)
        if lost(packet):
            gone.add(packet)
            again = replace(packet, time=packet.time + 300 * MS, ip_id=packet.ip_id % 65535 + 1)
            sent.append(again)
    return gone, sorted(sent, key=lambda packet: packet.time)


def inner(packet: Packet) -> bool:
    """Whether it is far from the ends of the capture."""
    return 2 * SECOND < packet.time < 6 * SECOND


def test_what_the_router_loses_is_lost(tmp_path: Path) -> None:
    rng = random.Random(1)
    gone, packets = retransmitted(
        traffic(), lambda packet: packet.protocol == TCP and inner(packet) and rng.random() < 0.01
    )
    result = check(tmp_path, Router(change=lambda packet: [] if packet in gone else [packet]), packets)
    assert len(gone) > 5
    # Loss is normal.
    assert (total(result), found(result)) == ({"lost": len(gone)}, [])
    (row,) = (row for row in rows(result) if row["lost"] > 0 and row["to_tap"] == "inside")
    assert row["lost_low"] < row["lost"] / row["judged"] < row["lost_high"] < 0.05


@pytest.mark.parametrize("tap", ["inside", "outside"])
def test_what_a_tap_misses_is_not_lost_nor_inserted(tap: str, tmp_path: Path) -> None:
    rng = random.Random(2)
    count = 0

    def missed(at: str, packet: Packet) -> bool:
        nonlocal count
        is_it = at == tap and inner(packet) and rng.random() < 0.01
        count += is_it
        return is_it

    result = check(tmp_path, Router(missed=missed))
    assert count > 10
    assert (total(result), found(result)) == ({"capture_loss": count}, [])


def test_what_a_tap_says_it_dropped_explains_what_is_missing(tmp_path: Path) -> None:
    # Packets of UDP without numbers: nothing in them tells who lost them.
    rng = random.Random(9)
    packets = [
        replace(packet, ip_id=rng.randrange(1, 65536)) for packet in traffic() if packet.protocol == UDP
    ]
    gone = {packet for packet in packets if inner(packet) and rng.random() < 0.02}
    taps = Router(missed=lambda tap, packet: tap == "inside" and packet in gone).taps(packets)
    outside = write(tmp_path / "outside.pcap", taps["outside"])
    for dropped, counts in ((0, {"lost", "inserted"}), (len(gone), {"capture_loss"})):
        path = tmp_path / f"inside-{dropped}.pcapng"
        path.write_bytes(pcapng(taps["inside"], dropped))
        result = tapsight.check({"inside": str(path), "outside": outside})
        assert set(total(result)) == counts
        assert sum(total(result).values()) == len(gone)
        assert found(result) == []


def pcapng(frames: Iterable[tuple[int, bytes]], dropped: int) -> bytes:
    """A pcapng with nanoseconds, and the tap's own count of dropped frames (isb_ifdrop)."""

    def block(kind: int, body: bytes) -> bytes:
        size = len(body) + 12
        return struct.pack("<II", kind, size) + body + struct.pack("<I", size)

    out = [block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    out.append(block(1, struct.pack("<HHIHHB3xHH", 1, 0, 65535, 9, 1, 9, 0, 0)))
    for time, frame in frames:
        head = struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
        out.append(block(6, head + frame + bytes(-len(frame) % 4)))
    out.append(block(5, struct.pack("<IIIHHQHH", 0, 0, 0, 5, 8, dropped, 0, 0)))
    return b"".join(out)


def test_a_prefix_that_loses_far_more_than_others_is_reported(tmp_path: Path) -> None:
    def change(packet: Packet) -> list[Packet]:
        is_lost = packet.dst.startswith("203.0.113.") and packet.ip_id % 10 == 0 and inner(packet)
        return [] if is_lost else [packet]

    gone = [packet for packet in traffic() if not change(packet)]
    # Media has no retransmissions, so the numbers have holes that nobody fills; these hosts number at random.
    rng = random.Random(4)
    shuffled = {packet: rng.randrange(1, 6553) * 10 + packet.ip_id % 10 for packet in traffic()}
    packets = [replace(packet, ip_id=shuffled[packet] or 10) for packet in traffic()]
    result = check(tmp_path, Router(change=change), packets)
    assert found(result) == [("B1.lost", "low", len(gone))]
    assert "203.0.113.0/24" in result.findings["sentence"].to_pylist()[0]


# --- What a tampered router does --------------------------------------------------------------------------------------


def of_download(packet: Packet) -> bool:
    return packet.protocol == TCP and not packet.outward and packet.dst == "198.51.100.21" and inner(packet)


def test_segments_that_are_added_to_a_connection_are_reported(tmp_path: Path) -> None:
    # As QUANTUMINSERT does: an answer of one's own at the place of the real one, which passes too.
    def forged(packet: Packet) -> list[Packet]:
        return [replace(packet, payload=bytes(700), ip_id=1 + packet.ip_id // 2), packet]

    result = check(tmp_path, Router(change=every(30, of_download, forged)))
    assert found(result) == [("B1.inserted", "high", 13)]
    assert total(result) == {"inserted": 13}
    (finding,) = (row for row in result.to_dict()["findings"] if row["detector"].startswith("B1."))
    assert (finding["kind"], finding["attack"]) == ("injection", ["T1659"])
    assert "198.51.100.21" in finding["sentence"]
    assert {frame["role"] for frame in finding["evidence"]} == {"injected"}
    assert {frame["tap"] for frame in finding["evidence"]} == {"inside"}


def test_datagrams_that_are_added_to_a_flow_are_reported(tmp_path: Path) -> None:
    def of_call(packet: Packet) -> bool:
        return packet.dst == "203.0.113.11" and inner(packet)

    def forged(packet: Packet) -> list[Packet]:
        return [packet, replace(packet, payload=bytes(range(160)), ip_id=60_000 + packet.ip_id % 1000)]

    result = check(tmp_path, Router(change=every(10, of_call, forged)))
    assert found(result) == [("B1.inserted", "medium", 20)]


def test_added_packets_from_another_device_are_reported(tmp_path: Path) -> None:
    taps = Router().taps(traffic())
    forged = []
    for packet in list(filter(of_download, traffic()))[::40]:
        bad = replace(packet, payload=bytes(700), ip_id=7 + packet.ip_id // 3, ttl=44)
        forged.append((START + packet.time + 2 * MS, INSIDE + ELSEWHERE + b"\x08\0" + bad.ip()))
    files = {
        "outside": write(tmp_path / "outside.pcap", taps["outside"]),
        "inside": write(tmp_path / "inside.pcap", sorted(taps["inside"] + forged)),
    }
    result = tapsight.check(files)
    assert [(name, packets) for name, _, packets in found(result)] == [("B1.inserted", 10)]


def test_changed_payload_is_reported(tmp_path: Path) -> None:
    def spoilt(packet: Packet) -> list[Packet]:
        return [replace(packet, payload=b"<script>evil</script>" + packet.payload[21:])]

    result = check(tmp_path, Router(change=every(50, of_download, spoilt)))
    assert found(result) == [("B1.modified", "high", 8)]
    assert total(result) == {"modified": 8}
    (finding,) = result.to_dict()["findings"]
    assert "payload" in finding["sentence"]
    assert {(frame["tap"], frame["role"]) for frame in finding["evidence"]} == {
        ("outside", "original"),
        ("inside", "offending"),
    }


def test_payload_changed_in_all_packets_of_a_flow_is_reported(tmp_path: Path) -> None:
    def change(packet: Packet) -> list[Packet]:
        return [replace(packet, payload=packet.payload[::-1])] if of_download(packet) else [packet]

    result = check(tmp_path, Router(change=change), [p for p in traffic() if not of_download(p) or inner(p)])
    assert [(name, severity) for name, severity, _ in found(result)] == [("B1.modified", "high")]


def test_hosts_that_number_all_packets_alike_make_no_modification(tmp_path: Path) -> None:
    rng = random.Random(8)
    packets = [replace(packet, ip_id=77) for packet in traffic() if packet.protocol == UDP]
    result = check(tmp_path, Router(missed=lambda *_: rng.random() < 0.02), packets)
    assert set(total(result)) == {"lost", "inserted"}
    assert found(result) == []


def test_clamping_the_mss_is_named_only(tmp_path: Path) -> None:
    packets = traffic()
    syns = [
        Packet(
            2 * SECOND + n * 200 * MS,
            True,
            f"198.51.100.{22 + n % 2}",
            f"192.0.2.{22 + n % 2}",
            TCP,
            (40_000, 443),
            b"",
            500 + n,
            seq=1000 + n,
            flags=2,
            options=struct.pack("!BBHBBBBBBBB", 2, 4, 1460, 1, 3, 3, 7, 4, 2, 1, 1),
        )
        for n in range(6)
    ]

    def change(packet: Packet) -> list[Packet]:
        clamped = packet.options.replace(struct.pack("!H", 1460), struct.pack("!H", 1340))
        return [replace(packet, options=clamped)]

    result = check(tmp_path, Router(change=change), sorted(packets + syns, key=lambda packet: packet.time))
    assert (found(result), total(result)) == ([], {"modified": 6})
    (claim,) = (row for row in plain_rows(result.claims) if row["detector"].startswith("B1"))
    assert (claim["detector"], claim["report"], claim["packets"]) == ("B1.modified", False, 6)
    assert "MSS" in claim["detail"]


@pytest.mark.parametrize("hosts", [("203.0.113.11",), ("203.0.113.11", "203.0.113.12")], ids=len)
def test_packets_that_leave_by_another_next_hop_are_reported(hosts: tuple[str, ...], tmp_path: Path) -> None:
    def of_call(packet: Packet) -> bool:
        return packet.dst in hosts and inner(packet)

    def elsewhere(packet: Packet) -> list[Packet]:
        return [replace(packet, next_hop=ELSEWHERE)]

    result = check(tmp_path, Router(change=every(10, of_call, elsewhere)))
    assert found(result) == [("B1.diverted", "medium", 20 * len(hosts))]
    assert result.findings["collector"].to_pylist()[0]["mac"] == "02:00:00:00:00:05"
    assert [answer.answer for answer in result.answers[:2]] == ["no sign", "yes"]


# --- What is harmless -------------------------------------------------------------------------------------------------


def test_dscp_may_be_rewritten(tmp_path: Path) -> None:
    result = check(tmp_path, Router(change=lambda packet: [replace(packet, tos=0x28)]))
    assert (found(result), total(result)) == ([], {})
    assert total(result, "remarked")["remarked"] > 3900


def test_a_route_may_change(tmp_path: Path) -> None:
    def change(packet: Packet) -> list[Packet]:
        return [replace(packet, next_hop=ELSEWHERE) if packet.time > 4 * SECOND else packet]

    result = check(tmp_path, Router(change=change))
    assert (found(result), total(result)) == ([], {})


def test_packets_may_be_spread_over_two_next_hops(tmp_path: Path) -> None:
    result = check(
        tmp_path, Router(change=lambda p: [replace(p, next_hop=ELSEWHERE if p.ip_id % 3 == 0 else None)])
    )
    assert found(result) == []


def test_addresses_may_be_translated(tmp_path: Path) -> None:
    public = "203.0.113.250"

    def change(packet: Packet) -> list[Packet]:
        port = 20_000 + int(packet.src.split(".")[3])
        if packet.outward:
            return [replace(packet, src=public, ports=(port, packet.ports[1]))]
        host = f"198.51.100.{packet.ports[1] - 20_000}"
        local = 40_000 if packet.protocol == TCP else 4000
        return [replace(packet, dst=host, ports=(packet.ports[0], local))]

    def packets() -> Iterator[Packet]:
        for packet in traffic():
            if packet.outward:
                yield packet
            else:
                port = 20_000 + int(packet.dst.split(".")[3])
                yield replace(packet, dst=public, ports=(packet.ports[0], port))

    result = check(tmp_path, Router(change=change), packets())
    assert found(result) == []
    assert set(total(result)) == {"readdressed"}
    assert 3900 < total(result)["readdressed"] <= 4240


def test_flows_on_one_tap_only_are_out_of_scope(tmp_path: Path) -> None:
    # What goes to 192.0.2.0/24 leaves elsewhere, and what comes from there enters elsewhere.
    def missed(tap: str, packet: Packet) -> bool:
        return tap == "outside" and packet.protocol == TCP

    result = check(tmp_path, Router(missed=missed))
    assert (found(result), total(result)) == ([], {})
    assert 1450 < sum(row["passed"] for row in rows(result)) <= 1600


def test_fragmentation_between_the_taps_is_not_judged(tmp_path: Path) -> None:
    def change(packet: Packet) -> list[Packet]:
        if packet.protocol != UDP or packet.ip_id % 10 != 0:
            return [packet]
        whole = packet.transport(
            ipaddress.ip_address(packet.src).packed + ipaddress.ip_address(packet.dst).packed
        )
        first = replace(packet, fragment=0x2000, payload=packet.payload[:80])
        return [first, replace(packet, fragment=88 // 8, payload=whole[88:])]

    result = check(tmp_path, Router(change=change))
    assert (found(result), total(result)) == ([], {})


def test_second_sightings_by_the_tap_are_not_counted(tmp_path: Path) -> None:
    taps = Router().taps(traffic())
    for frames in taps.values():
        frames += [(time + 5 * US, frame) for time, frame in frames[::7]]
        frames.sort()
    files = {tap: write(tmp_path / f"{tap}.pcap", frames) for tap, frames in taps.items()}
    result = tapsight.check(files)
    assert (found(result), total(result)) == ([], {})


def test_two_taps_on_one_link(tmp_path: Path) -> None:
    frames = Router().taps(traffic())["inside"]
    rng = random.Random(5)
    other = sorted((time + rng.randrange(-3, 4) * US + 40 * MS, frame) for time, frame in frames)
    files = {"a": write(tmp_path / "a.pcap", frames), "b": write(tmp_path / "b.pcap", other)}
    result = tapsight.check(files)
    assert (found(result), total(result)) == ([], {})
    for row in rows(result):
        sign = 1 if row["to_tap"] == "b" else -1
        assert row["ttl_fall"] == 0
        assert abs(row["offset_ns"] - sign * 40 * MS) <= row["offset_uncertainty_ns"] < 20 * US


def test_of_three_taps_in_a_row_neighbours_are_compared(tmp_path: Path) -> None:
    packets = [packet for packet in traffic() if packet.outward]
    rng = random.Random(6)
    middle = Router().taps(packets)["outside"]
    files = {"inside": write(tmp_path / "inside.pcap", Router().taps(packets)["inside"])}
    # The one in the middle misses one in fifty; one hop further, all are there.
    files["middle"] = write(tmp_path / "middle.pcap", [frame for frame in middle if rng.random() > 0.02])
    further = []
    for time, frame in middle:
        ip = bytearray(frame[14:])
        ip[8] -= 1
        ip[10:12] = bytes(2)
        ip[10:12] = checksum(bytes(ip[:20]))
        further.append((time + 150 * US, frame[:14] + bytes(ip)))
    files["outside"] = write(tmp_path / "outside.pcap", further)
    result = tapsight.check(files)
    pairs = {(row["from_tap"], row["to_tap"]) for row in rows(result) if row["passed"] > 0}
    assert pairs == {("inside", "middle"), ("middle", "outside")}
    assert set(total(result)) == {"capture_loss"}
    assert found(result) == []


def test_packets_that_leave_by_another_tap_are_reported(tmp_path: Path) -> None:
    taps = Router().taps(traffic())
    # Downloads enter and leave by a second link; and so does every tenth packet of a call, which else takes the first one.
    split: dict[str, list[tuple[int, bytes]]] = {"inside": taps["inside"], "first": [], "second": []}
    calls = 0
    for time, frame in taps["outside"]:
        protocol, dst = frame[23], str(ipaddress.ip_address(frame[30:34]))
        calls += dst == "203.0.113.11"
        is_second = protocol == TCP or (dst == "203.0.113.11" and calls % 10 == 0)
        split["second" if is_second else "first"].append((time, frame))
    files = {tap: write(tmp_path / f"{tap}.pcap", frames) for tap, frames in split.items()}
    result = tapsight.check(files)
    # 400 packets in 8 s, less what is close to the ends.
    assert found(result) == [("B1.diverted", "medium", total(result)["diverted"])]
    assert 38 <= total(result)["diverted"] <= 40
    assert set(total(result)) == {"diverted"}


def test_a_tunnel_on_one_side_changes_nothing(tmp_path: Path) -> None:
    taps = Router().taps(traffic())
    wrapped = []
    for time, frame in taps["outside"]:
        gre = bytes(2) + b"\x08\0" + frame[14:]
        ends = ("192.0.2.201", "192.0.2.202") if frame[6:12] == ROUTER_OUT else ("192.0.2.202", "192.0.2.201")
        outer = Packet(0, True, *ends, 47, (0, 0), gre, 1)
        ip = bytearray(outer.ip()[:20] + gre)
        ip[2:4], ip[10:12] = struct.pack("!H", len(ip)), bytes(2)
        ip[10:12] = checksum(bytes(ip[:20]))
        wrapped.append((time, frame[:14] + bytes(ip)))
    files = {
        "inside": write(tmp_path / "inside.pcap", taps["inside"]),
        "outside": write(tmp_path / "outside.pcap", wrapped),
    }
    result = tapsight.check(files)
    assert (found(result), total(result)) == ([], {})
    assert 3900 < sum(row["passed"] for row in rows(result)) <= 4240


def test_when_memory_runs_short_both_taps_keep_the_same_sample(tmp_path: Path) -> None:
    taps = Router().taps(traffic())
    files = {tap: write(tmp_path / f"{tap}.pcap", frames) for tap, frames in taps.items()}
    result = tapsight.check(files, memory=100_000)
    assert (found(result), total(result)) == ([], {})
    # There is room for 1,024 sightings, and there are 5,300 in five seconds.
    assert 100 < sum(row["passed"] for row in rows(result)) < 2120


def test_one_tap_is_unknown_and_keeps_no_answer_back(tmp_path: Path) -> None:
    path = write(tmp_path / "inside.pcap", Router().taps(traffic())["inside"])
    result = tapsight.check(path)
    assert (verdict(result)["verdict"], verdict(result)["in_scope"]) == ("unknown", 0)
    assert verdict(result)["reason"] == "there is one tap only, and it takes two to compare"
    assert [answer.answer for answer in result.answers[:2]] == ["no sign", "no sign"]
    assert rows(result) == []


def test_what_passed_is_in_the_report_and_in_json(tmp_path: Path) -> None:
    result = check(tmp_path, Router(clock=lambda _: 3 * MS))
    text = " ".join(report_text.render(result, details=True).split())
    assert "From tap to tap" in text
    (told,) = re.findall(r"the clock of outside is ([\d.]+) ms ahead of inside's, ± ([\d.]+) µs", text)
    assert abs(float(told[0]) - 3) <= float(told[1]) / 1000
    data = json.loads(result.to_json())
    assert {row["to_tap"] for row in data["taps_compared"]} == {"inside", "outside"}
    kinds = [json.loads(line)["type"] for line in result.to_ndjson().splitlines()]
    assert kinds.count("taps_compared") == len(data["taps_compared"])
