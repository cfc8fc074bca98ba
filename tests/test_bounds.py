"""Input made to exhaust memory or time: each is read in a process of its own, whose memory is measured."""

from __future__ import annotations

import importlib
import itertools
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest

import tapsight
from tapsight import _core

READ = """
import sys, warnings
warnings.simplefilter("ignore")
import tapsight
from tapsight._bench import peak_memory
import pyarrow  # loaded with the first batch: not what is measured
before = peak_memory()
if sys.argv[2] == "check":
    rows = len(tapsight.check(sys.argv[1], memory=int(sys.argv[3]) << 20, threads=1).findings)
elif sys.argv[2] == "flows":
    rows = sum(batch.num_rows for batch in tapsight.flows(sys.argv[1], memory=int(sys.argv[3]) << 20, threads=1))
else:
    rows = sum(batch.num_rows for batch in tapsight.open(sys.argv[1], columns=sys.argv[2].split(",")))
print(rows, (peak_memory() - before) >> 20)
"""

GIVEN = 64
"""What checks are given, in MiB."""


def measure(data: bytes, path: Path, what: str, given: int = GIVEN) -> tuple[int, int]:
    """Rows or findings, and the memory in MiB that reading took on top of what the package takes."""
    path.write_bytes(data)
    command = [sys.executable, "-c", READ, str(path), what, str(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    rows, memory = done.stdout.split()
    return int(rows), int(memory)


def pcap(frames: Iterable[bytes], snaplen: int = 262144) -> bytes:
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, 101)]
    for n, frame in enumerate(frames):
        parts.append(struct.pack("<IIII", n // 100_000, n % 100_000, len(frame), len(frame)) + frame)
    return b"".join(parts)


def block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


SECTION = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
INTERFACE = block(1, struct.pack("<HHI", 1, 0, 0))


def ipv4(n: int, protocol: int, payload: bytes, flags_offset: int = 0, net: int = 10) -> bytes:
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), n & 0xFFFF, flags_offset, 64, protocol, 0)
    return header + struct.pack(">I", (net << 24) + n) + bytes([192, 0, 2, 1]) + payload


def datagram(n: int) -> bytes:
    return ipv4(n, 17, struct.pack(">HHHH", 1024 + n % 60000, 53, 48, 0) + struct.pack(">Q", n) * 5)


def test_a_decompression_bomb_is_read_in_pieces(tmp_path: Path) -> None:
    # 512 MiB of zeros in half a megabyte: 33 million empty records.
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    packed = [
        compressor.compress(pcap([])),
        *(compressor.compress(zeros) for _ in range(512)),
        compressor.flush(),
    ]
    rows, memory = measure(b"".join(packed), tmp_path / "bomb.pcap.gz", "frame")
    assert rows == (512 << 20) // 16
    assert memory < 150


def test_a_bomb_of_zstd_too(tmp_path: Path) -> None:
    import pyarrow as pa

    data = pcap([]) + bytes(256 << 20)
    rows, memory = measure(
        pa.Codec("zstd", 19).compress(data, asbytes=True), tmp_path / "bomb.pcap.zst", "frame"
    )
    assert rows == (256 << 20) // 16
    assert memory < 150


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a million interfaces", SECTION + INTERFACE * 1_000_000),
        (
            "endless options",
            SECTION + block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HH", 3, 0) * (4 << 20)),
        ),
        ("a block of four gigabytes", SECTION + INTERFACE + struct.pack("<II", 6, 0xFFFFFFFC) + bytes(100)),
        (
            "a record of four gigabytes",
            pcap([], 0xFFFFFFFF) + struct.pack("<4I", 0, 0, 0xFFFFFFF0, 0xFFFFFFF0),
        ),
        (
            "a million names",
            SECTION
            + INTERFACE
            + block(4, struct.pack("<HH4s8sI", 1, 12, bytes(4), b"a.b.com\0", 0)) * 1_000_000,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_file_claims_takes_no_memory(name: str, data: bytes, tmp_path: Path) -> None:
    rows, memory = measure(data, tmp_path / "claims.pcap", "frame")
    assert rows == 0
    # The file itself is mapped: its pages count.
    assert memory < 100 + 2 * (len(data) >> 20), name


def test_a_flood_of_fragments(tmp_path: Path) -> None:
    flood = pcap(ipv4(n, 17, bytes(32), 0x2000 + 4 * (n % 2)) for n in range(300_000))
    rows, memory = measure(flood, tmp_path / "fragments.pcap", "src_port,flow_id,issue")
    assert rows == 300_000
    assert memory < 150


def test_a_flood_of_flows_stays_within_the_memory_given(tmp_path: Path) -> None:
    _, memory = measure(pcap(map(datagram, range(300_000))), tmp_path / "flows.pcap", "check")
    assert memory < GIVEN + 300


GRE = struct.pack(">HHI", 0x2000, 0x0800, 7)
"""A header with a key (RFC 2890), of IPv4."""


def test_flows_that_are_over_are_let_go(tmp_path: Path) -> None:
    # Of 400,000 flows of some 600 bytes, most end for want of room for them.
    rows, memory = measure(_core.traffic("flood", 400_000), tmp_path / "flood.pcap", "flows", 32)
    assert rows == 400_000
    assert memory < 32 + 64


def test_a_flood_of_tunnels(tmp_path: Path) -> None:
    def copies() -> Iterable[bytes]:
        for n in range(50_000):
            yield datagram(n)
            yield ipv4(n, 47, struct.pack(">HHI", 0x2000, 0x0800, n) + datagram(n), net=11)

    _, memory = measure(pcap(copies()), tmp_path / "tunnels.pcap", "check")
    assert memory < GIVEN + 300


def test_a_copy_of_more_conversations_than_find_room(tmp_path: Path) -> None:
    count = 60_000
    path = tmp_path / "copies.pcap"
    frames = ((datagram(n), ipv4(1, 47, GRE + datagram(n), net=11)) for n in range(count))
    path.write_bytes(pcap(itertools.chain.from_iterable(frames)))
    # Copies come right behind, so that there is room for recent packets; claims share a twentieth of it.
    for memory, is_told in ((512 << 20, True), (4 << 20, False)):
        result = tapsight.check(path, window=0.01, memory=memory)
        (claim,) = (row for row in result.claims.to_pylist() if row["report"])
        (finding,) = result.findings.to_pylist()
        if is_told:
            told = [claim[name] for name in ("packets", "flows", "more_flows", "in_scope")]
            assert told == [count, count, False, count]
            assert f" in {count:,} conversations" in finding["sentence"]
            continue
        assert claim["more_flows"]
        assert claim["packets"] > claim["flows"]
        # A conversation takes 9 bytes at the least, and 18 where the table has just grown.
        assert (memory // 20) // 40 < claim["flows"] < (memory // 20) // 9
        assert (claim["in_scope"], claim["judged"]) == (0, 0)
        assert f" in at least {claim['flows']:,} conversations" in finding["sentence"]
        assert (finding["share_low"], finding["share_high"]) == (None, None)


def test_a_check_of_a_carriers_mix(tmp_path: Path) -> None:
    # 290 MB, of 6,000 calls and 60,000 rows of flows: docs/performance.md says what gigabytes take.
    mix = importlib.import_module("tapsight._core").traffic("carrier", 500_000)
    _, memory = measure(mix, tmp_path / "carrier.pcap", "check", 80)
    assert memory < 80 + 160


def invite(n: int, fields: str = "") -> bytes:
    text = (
        f"INVITE sip:b{n}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{n}\r\n"
        f"From: <sip:a{n}@example.com>;tag={n}\r\nTo: <sip:b{n}@example.org>\r\nCall-ID: {n}@a\r\n"
        f"CSeq: 1 INVITE\r\n{fields}Content-Length: 0\r\n\r\n"
    )
    return ipv4(n, 17, struct.pack(">HHHH", 5060, 5060, 8 + len(text), 0) + text.encode())


def test_a_flood_of_calls(tmp_path: Path) -> None:
    # Without a limit, each would take 5 to 10 KiB: a gigabyte.
    _, memory = measure(pcap(map(invite, range(200_000))), tmp_path / "calls.pcap", "check")
    assert memory < GIVEN + 200


def test_calls_that_say_much(tmp_path: Path) -> None:
    # 168 MB: of a batch of packets as many as ever, messages alone would take as much again, and more while they grow.
    fields = f"Require: {'x' * 255}\r\n" * 210
    _, memory = measure(pcap(invite(n, fields) for n in range(3_000)), tmp_path / "calls.pcap", "check")
    assert memory < GIVEN + 300


def description(sender: int) -> str:
    """8 media of 16 encodings and 16 candidates: of each candidate there is a row, with all encodings."""
    lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]
    name = "\N{GRINNING FACE}" * 60
    for medium in range(8):
        port = 4000 + 16 * sender + 2 * medium
        lines.append(f"m=audio {port} RTP/AVP {' '.join(str(96 + n) for n in range(16))}")
        lines += [f"a=rtpmap:{96 + n} {name}/8000" for n in range(16)]
        lines += [f"a=candidate:{n} 1 UDP 1 198.51.100.{n + 1} {5000 + n} typ host" for n in range(16)]
    return "\r\n".join(lines) + "\r\n"


@pytest.mark.filterwarnings("ignore:.*media endpoints were forgotten")
@pytest.mark.parametrize("is_same", [True, False], ids=["again and again", "each another"])
def test_calls_that_describe_much(is_same: bool, tmp_path: Path) -> None:
    bodies = [description(0 if is_same else sender) for sender in range(8)]
    calls = 250

    def messages() -> Iterable[bytes]:
        for call in range(calls):
            for sender, body in enumerate(bodies):
                text = (
                    f"INVITE sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{call}{sender}\r\n"
                    f"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.org>\r\nCall-ID: {call}@a\r\nCSeq: 1 INVITE\r\n"
                    f"Content-Type: application/sdp\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
                ).encode()
                yield ipv4(sender, 17, struct.pack(">HHHH", 5060, 5060, 8 + len(text), 0) + text)

    # Some 80 MB, of which a call would keep 350 kB.
    _, memory = measure(pcap(messages()), tmp_path / "calls.pcap", "check")
    assert memory < GIVEN + 300
    rows = 0
    for batch in tapsight.calls(str(tmp_path / "calls.pcap"), table="call_media"):
        # Rows of 4 KiB and more: a batch of 8,192 would have 32 MiB, and of thousands of calls more than offsets have numbers for.
        assert batch.get_total_buffer_size() < 16 << 20
        rows += batch.num_rows
    assert rows == calls * 64 * 17


@pytest.mark.parametrize(("small", "most"), [(0, 100), (1_100, 140)], ids=["large only", "small between"])
def test_large_frames_of_a_file_are_given_back(small: int, most: int, tmp_path: Path) -> None:
    # Each frame is as large as offloading makes them, so that those that are read at once are many megabytes; where small ones come
    # before, the reader takes 1,024 of them at a time: 50 MB.
    def frames() -> Iterable[bytes]:
        for n in range(4 * 1024):
            if n % 1024 == 0:
                yield from [b""] * small
            yield ipv4(n, 17, struct.pack(">HHHH", 4000, 4001, 50_008, 0) + bytes(50_000))

    rows, memory = measure(pcap(frames()), tmp_path / "large.pcap", "src_port,packet_id")
    assert rows == 4 * (1024 + small)
    assert memory < most


def test_frames_with_much_else_between_them(tmp_path: Path) -> None:
    # Blocks of a mebibyte that hold no packet, and a frame behind each: with them, a batch of 4,096 frames would keep gigabytes.
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
    frame = ipv4(1, 17, bytes(28))
    packet = block(6, struct.pack("<IIIII", 0, 0, 0, len(frame), len(frame)) + frame)
    filler = block(0x0BAD, bytes(1 << 20))
    parts = [deflate.compress(SECTION + INTERFACE)]
    parts += [deflate.compress(filler + packet) for _ in range(600)]
    # And no frame for longer than a batch is.
    parts += [deflate.compress(filler) for _ in range(20)]
    parts += [deflate.compress(packet), deflate.flush()]
    rows, memory = measure(b"".join(parts), tmp_path / "filler.pcapng.gz", "frame")
    assert rows == 601
    assert memory < 100
    assert len(tapsight.check(str(tmp_path / "filler.pcapng.gz")).taps) == 1


def test_a_batch_has_so_many_bytes_of_frames(tmp_path: Path) -> None:
    frames = [bytes(20)] * 1024 + [ipv4(n, 17, bytes(60_000)) for n in range(600)]
    path = tmp_path / "large.pcap"
    path.write_bytes(pcap(frames))
    for threads in (1, 2):
        batches = list(tapsight.open(str(path), columns=["frame", "wire_len"], threads=threads))
        assert sum(batch.num_rows for batch in batches) == 1624
        for batch in batches:
            assert sum(batch.column("wire_len").to_pylist()) < (6 << 20) + 60_020


def ethernet(destination: int, source: int, packet: bytes) -> bytes:
    return bytes([2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source]) + b"\x08\0" + packet


def test_a_translator_of_many_hosts_hides_no_copy(tmp_path: Path) -> None:
    # Each host is a claim that its address was rewritten, which there is no room for. Then packets are copied to another MAC, in a conversation.
    def frames() -> Iterable[bytes]:
        for n in range(12_000):
            host, ttl = n % 1_000, 64
            udp = struct.pack(">HHHH", 5000, 443, 68, 0) + struct.pack(">Q", n) * 7 + bytes(4)
            for mac, network, hops in ((1, 10, 0), (3, 203, 1)):
                packet = bytearray(ipv4(host, 17, udp, net=network))
                packet[4:6], packet[8] = struct.pack(">H", 1 + n), ttl - hops
                yield ethernet(mac + 1, mac, bytes(packet))
        for n in range(200):
            packet = ipv4(
                70_000 + n,
                17,
                struct.pack(">HHHH", 4000, 4000, 68, 0) + struct.pack(">Q", n) * 7 + bytes(4),
                net=11,
            )
            packet = packet[:12] + bytes([192, 0, 2, 9]) + packet[16:]
            yield from (ethernet(6, 5, packet), ethernet(9, 5, packet))

    path = tmp_path / "nat.pcap"
    data = pcap(frames())
    path.write_bytes(data[:20] + struct.pack("<I", 1) + data[24:])
    result = tapsight.check(path, memory=16 << 20)
    verdict = {row["check"]: row for row in result.verdicts.to_pylist()}["A5"]
    assert "copies found no room in the table of claims" in verdict["reason"]
    assert verdict["verdict"] == "fail"
    (finding,) = (row for row in result.findings.to_pylist() if row["detector"] == "A5.forked")
    assert finding["packets"] == 200
    assert finding["evidence"]
