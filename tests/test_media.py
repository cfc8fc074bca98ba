"""Media streams: against tshark over all captures that hold some, and what is made for it."""

from __future__ import annotations

import io
import ipaddress
import re
import subprocess
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import capture_index, captures_dir
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import PcapWriter
from tshark_peer import is_available
from typer.testing import CliRunner

import tapsight
from tapsight.cli import app

Key = tuple[str, int, str, int, int]

# A line of tshark -z rtp,streams: times, ends, SSRC, payload, packets, lost, deltas, jitters.
LINE = re.compile(
    r"^ *[\d.]+ +[\d.]+ +(\S+) +(\d+) +(\S+) +(\d+) +0x([0-9A-F]{8}) +(.*?) +(\d+) +(-?\d+) \(\S+%\)"
    r" +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+)"
)


def tshark_streams(path: Path) -> dict[Key, dict[str, Any]]:
    """What tshark says of each stream."""
    command = ["tshark", "-n", "-r", str(path), "-q", "-z", "rtp,streams", "--enable-heuristic", "rtp_udp"]
    done = subprocess.run(
        [*command, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"],
        capture_output=True,
        text=True,
        check=False,
    )
    streams = {}
    for match in filter(None, map(LINE.match, done.stdout.splitlines())):
        src, sport, dst, dport, ssrc, payload, packets, lost, _, _, gap, _, mean, top = match.groups()
        streams[src, int(sport), dst, int(dport), int(ssrc, 16)] = {
            "payload": payload,
            "packets": int(packets),
            "lost": int(lost),
            "gap": float(gap),
            "mean": float(mean),
            "max": float(top),
        }
    return streams


def our_streams(path: Path) -> dict[Key, list[dict[str, Any]]]:
    """Our rows by the same key: several if it was seen on several paths, or fell silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tapsight.CaptureWarning)
        rows = tapsight.media(path, timeout=86_400).to_polars().to_dicts()
    streams = defaultdict(list)
    for row in rows:
        src, dst = (text(row[name]) for name in ("src", "dst"))
        streams[src, row["src_port"], dst, row["dst_port"], row["ssrc"]].append(row)
    return streams


def text(address: bytes) -> str:
    ip = ipaddress.IPv6Address(address)
    return str(ip.ipv4_mapped or ip)


DIFFERENCES = {
    "proof": "the first three packets of a stream that nobody announced, which prove that it is one, with their copies;",
    "paths": "streams that were seen on several paths, which tshark counts together: we have a row for each, and the sum is its;",
    "short": "streams of fewer than four packets that nobody announced, and payload types that are not assigned (35 to 95), which are no rows here;",
    "padding": "packets whose padding is longer than they are, as of SRTP, where it is encrypted: tshark leaves them out;",
    "lost": "`lost`, of which tshark takes `duplicates`;",
    "gap": "`max_gap_ms`, which tshark has no equal of: its longest delta is `max_talk_gap_ms`;",
    "mean": "the mean of jitter, from which tshark leaves packets with a marker and comfort noise (up to 5 %, and their share), and jitter of streams with duplicates or events, "
    "which we leave out.",
}
"""Why what tshark says of a stream is not what we say."""


def compare(path: Path, counts: Counter[str]) -> list[str]:
    """What differs without a reason in a capture; counts what was compared, and what differs with one."""
    ours, theirs = our_streams(path), tshark_streams(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tapsight.CaptureWarning)
        packets = tapsight.open(path, table="rtp").to_polars()
    odd = set(packets.filter(pl.col("payload_len").is_null())["ssrc"])
    wrong = [f"{path.name} {key}: not in tshark" for key in ours.keys() - theirs.keys()]
    for key, them in theirs.items():
        rows = ours.get(key, [])
        what = f"{path.name} {key}: {rows}, tshark {them}"
        if not rows:
            is_short = them["packets"] < 4 or them["payload"] == "Unassigned"
            counts["short"] += is_short
            wrong += [] if is_short else [what]
            continue
        counts["streams"] += 1
        if len(rows) > 1:
            counts["paths"] += 1
            wrong += [] if sum(row["packets"] for row in rows) == them["packets"] else [what]
            continue
        (row,) = rows
        if row["ssrc"] in odd:
            counts["padding"] += 1
            continue
        missing = them["packets"] - row["packets"]
        if row["basis"] == "behaviour":
            counts["proof"] += 1
            is_right = missing == 3 if row["duplicates"] == 0 else 3 <= missing <= 6
        else:
            is_right = missing == 0
        if missing == 0 or row["duplicates"] == 0:
            counts["lost"] += row["duplicates"] > 0
            is_right &= row["lost"] - row["duplicates"] == them["lost"]
        gap = row["max_talk_gap_ms"] or 0.0
        counts["gap"] += gap != (row["max_gap_ms"] or 0.0)
        is_right &= abs(gap - them["gap"]) < 0.001 or (missing > 0 and gap < them["gap"])
        kinds = set(them["payload"].split(", ")) - {"CN"}
        if missing == 0 and row["duplicates"] == 0 and len(kinds) == 1 and row["mean_jitter_ms"]:
            counts["jitter"] += 1
            share = 0.05 + row["comfort_noise"] / row["packets"]
            counts["mean"] += abs(row["mean_jitter_ms"] - them["mean"]) >= 0.001
            is_right &= abs(row["max_jitter_ms"] - them["max"]) < 0.001
            is_right &= abs(row["mean_jitter_ms"] - them["mean"]) < 0.001 + share * them["mean"]
        wrong += [] if is_right else [what]
    return wrong


@pytest.mark.skipif(captures_dir() is None or not is_available(), reason="needs captures and tshark")
def test_streams_are_those_of_tshark() -> None:
    directory = captures_dir()
    assert directory is not None
    counts: Counter[str] = Counter()
    wrong = []
    for row in capture_index():
        if {"rtp", "srtp", "dtls-srtp"} & set(row["tags"].split(",")):
            wrong += compare(directory / row["file"], counts)
    assert wrong == []
    assert counts["streams"] >= 45
    assert counts["jitter"] >= 7
    assert {name for name in DIFFERENCES if counts[name] == 0} == set()


A, B = "192.0.2.1", "192.0.2.2"


def rtp(
    seq: int, *, ssrc: int = 0x1111, payload_type: int = 0, ends: tuple[str, str] = (A, B), **ip: int
) -> Packet:
    """20 ms of G.711."""
    header = bytes([0x80, payload_type]) + (seq & 0xFFFF).to_bytes(2, "big")
    header += ((160 * seq) & 0xFFFFFFFF).to_bytes(4, "big") + ssrc.to_bytes(4, "big")
    return udp(ends, (4000, 5000), header + bytes(160), **ip)


def udp(ends: tuple[str, str], ports: tuple[int, int], payload: bytes, **ip: int) -> Packet:
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    return ether / IP(src=ends[0], dst=ends[1], **ip) / UDP(sport=ports[0], dport=ports[1]) / Raw(payload)


def capture(*packets: tuple[float, Packet]) -> bytes:
    """A capture of packets at these times."""
    file = io.BytesIO()
    writer = PcapWriter(file, linktype=1, nano=True)
    for at, packet in packets:
        packet.time = 1000 + at
        writer.write(packet)
    writer.flush()
    return file.getvalue()


def series(numbers: list[int], start: float = 0.0, **what: Any) -> list[tuple[float, Packet]]:
    return [(start + 0.02 * at, rtp(number, **what)) for at, number in enumerate(numbers)]


def rows(*packets: tuple[float, Packet], **options: Any) -> list[dict[str, Any]]:
    table = tapsight.media(capture(*packets), **options)
    return table.to_polars().to_dicts()


def test_what_a_stream_says() -> None:
    """Of a series that nobody announced, packets count from the fourth one on."""
    numbers = [*range(65530, 65536), 0, 1, 2, 2, 4, 3, 7]
    (row,) = rows(*series(numbers, tos=184, ttl=61))
    assert row["basis"] == "behaviour"
    assert (row["packets"], row["expected"], row["lost"]) == (10, 11, 2)
    assert (row["duplicates"], row["out_of_order"], row["restarts"]) == (1, 1, 0)
    assert (row["first_seq"], row["last_seq"], row["ssrc"]) == (65533, 7, 0x1111)
    assert (row["payload_type"], row["codec"], row["clock_rate"]) == (0, "PCMU", 8000)
    assert (row["packet_time_ms"], row["payload_bytes"], row["bytes"]) == (20.0, 1600, 10 * 214)
    assert (row["dscp"], row["min_ttl"], row["max_ttl"]) == ([46], 61, 61)
    assert row["frames"] == list(range(4, 12))
    assert row["previous_ssrc"] is None
    assert row["max_gap_ms"] == pytest.approx(20, abs=0.01)
    # 95 * 18.18 / (18.18 + 25.1) = 39.91 with 2 of 11 lost.
    assert row["rating"] == pytest.approx(93.2 - 39.91, abs=0.01)


def test_of_packets_that_were_mirrored_twice_six_are_missing() -> None:
    """Both copies of the three that prove it."""
    twice = [(at + later, packet.copy()) for at, packet in series(list(range(20))) for later in (0.0, 0.0001)]
    (row,) = rows(*twice)
    assert (row["packets"], row["duplicates"], row["first_seq"]) == (34, 17, 3)


def test_of_few_packets_nobody_can_tell_how_good_they_are() -> None:
    for count, is_rated in ((12, False), (13, True)):
        (row,) = rows(*series(list(range(count))))
        assert row["expected"] == count - 3
        assert (row["rating"] is not None, row["mos"] is not None) == (is_rated, is_rated)


@pytest.mark.skipif(captures_dir() is None or not is_available(), reason="needs captures and tshark")
def test_packet_times_of_what_is_silent() -> None:
    """AMR-WB has frames of 20 ms (RFC 4867 section 4.1), of which most of this call describe silence, 160 ms apart."""
    directory = captures_dir()
    assert directory is not None
    path = directory / "open5gs__open5gs/docs__assets__pcapng__nonipsec_to_ipsec_call.pcapng"
    command = [
        "tshark",
        "-r",
        str(path),
        "-Y",
        "rtp",
        "-T",
        "fields",
        "-e",
        "rtp.ssrc",
        "-e",
        "rtp.seq",
        "-e",
        "rtp.timestamp",
    ]
    done = subprocess.run([*command, "-E", "occurrence=l"], capture_output=True, text=True, check=False)
    sent: dict[str, dict[int, int]] = defaultdict(dict)
    for line in done.stdout.splitlines():
        ssrc, seq, timestamp = line.split("\t")
        sent[ssrc][int(seq)] = int(timestamp)
    for times in sent.values():
        steps = Counter(times[seq + 1] - times[seq] for seq in times if seq + 1 in times)
        assert (steps.most_common(1)[0][0], min(steps)) == (2560, 320)
    found = tapsight.media(path).to_polars().filter(pl.col("codec") == "AMR-WB")
    assert len(found) > 0
    assert set(found["packet_time_ms"]) == {20.0}
    assert set(found["timestamp_step"]) == {2560}


def test_a_copy_on_another_path_is_another_stream() -> None:
    sent = series(list(range(10)))
    copies = []
    for at, packet in sent:
        copy = packet.copy()
        ether = Ether(src=packet.src, dst=packet.dst) / Dot1Q(vlan=7) / copy[IP]
        copies.append((at + 0.001, ether))
    both = sorted([*sent, *copies], key=lambda each: each[0])
    first, second = sorted(rows(*both), key=lambda row: row["vlan"] or 0)
    assert (first["vlan"], second["vlan"]) == (None, 7)
    assert first["duplicates"] == second["duplicates"] == 0
    assert first["lost"] == second["lost"] == 0
    # The series is proved by the packets of both.
    assert (first["packets"], second["packets"]) == (7, 7)


def test_streams_end_when_they_fall_silent_and_sources_follow_each_other() -> None:
    packets = [
        *series(list(range(10))),
        *series(list(range(500, 510)), 0.2, ssrc=0x2222),
        *series(list(range(10, 20)), 100.0),
    ]
    first, second, third = rows(*packets)
    assert [row["ssrc"] for row in (first, second, third)] == [0x1111, 0x2222, 0x1111]
    assert [row["previous_ssrc"] for row in (first, second, third)] == [None, 0x1111, None]
    assert (first["packets"], third["packets"], third["lost"]) == (7, 10, 0)
    (whole, _) = sorted(rows(*packets, timeout=1000), key=lambda row: row["ssrc"])
    assert (whole["packets"], whole["max_gap_ms"]) == (17, pytest.approx(99_820, abs=0.01))


def test_reports_of_receivers_and_round_trips() -> None:
    """RFC 3550 section 6.4.1: from the sender report to the answer, less the delay that this tells."""
    sender = bytes([0x80, 200, 0, 6]) + (0x1111).to_bytes(4, "big") + (100).to_bytes(4, "big") + bytes(16)
    block = (0x1111).to_bytes(4, "big") + bytes([64]) + (3).to_bytes(3, "big") + (9).to_bytes(4, "big")
    block += (80).to_bytes(4, "big") + (100 << 16).to_bytes(4, "big") + (26214).to_bytes(4, "big")
    receiver = bytes([0x81, 201, 0, 7]) + (0x2222).to_bytes(4, "big") + block
    (row,) = rows(
        *series(list(range(20))),
        (1.0, udp((A, B), (4001, 5001), sender)),
        (1.5, udp((B, A), (5001, 4001), receiver)),
        # About another source, and from another host: neither counts.
        (1.6, udp((B, A), (5001, 4001), receiver.replace((0x1111).to_bytes(4, "big"), b"abcd"))),
        (1.7, udp(("192.0.2.9", A), (5001, 4001), receiver)),
    )
    assert (row["reports"], row["reported_fraction_lost"], row["reported_lost"]) == (1, 0.25, 3)
    assert row["reported_jitter_ms"] == 10.0
    assert row["round_trip_ms"] == pytest.approx(500 - 1000 * 26214 / 65536, abs=0.001)
    assert row["max_round_trip_ms"] == row["round_trip_ms"]
    # Half of 100 ms is no delay that one hears.
    assert (row["rating"], row["mos"]) == (pytest.approx(93.2), pytest.approx(4.41, abs=0.005))


def test_of_dynamic_payload_types_only_the_packets_are_known() -> None:
    (row,) = rows(*series(list(range(10)), payload_type=111))
    names = ("codec", "clock_rate", "packet_time_ms", "mean_jitter_ms", "rating", "mos", "telephone_events")
    assert [row[name] for name in names] == [None] * len(names)
    assert (row["payload_types"], row["payload_type_packets"], row["timestamp_step"]) == ([111], [7], 160)


def test_rtp_table_knows_padding_and_extensions() -> None:
    plain = rtp(1).load
    extended = bytes([0x90]) + plain[1:12] + b"\xbe\xde\0\1abcd" + plain[12:]
    padded = bytes([0xA0]) + plain[1:-1] + bytes([4])
    loads = [plain, extended, padded]
    packets = [
        (0.02 * n, udp((A, B), (4000, 5000), loads[n % 3][:2] + n.to_bytes(2, "big") + loads[n % 3][4:]))
        for n in range(9)
    ]
    table = tapsight.open(capture(*packets), table="rtp").to_polars()
    found = table.select("seq", "payload_len", "padding_len", "extension_profile").rows()
    assert found[:3] == [(3, 160, 0, None), (4, 160, 0, 0xBEDE), (5, 156, 4, None)]


def test_command_writes_what_the_function_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(*series(list(range(10)))))
    other = tmp_path / "b.pcap"
    other.write_bytes(capture(*series(list(range(10)), ssrc=5)))
    done = CliRunner().invoke(
        app, ["media", f"left={path}", f"right={other}", "-o", str(tmp_path / "a.parquet")]
    )
    assert done.exit_code == 0, done.output
    written = pl.read_parquet(tmp_path / "a.parquet")
    assert written["tap"].to_list() == ["left", "right"]
    assert written.drop("tap").head(1).equals(tapsight.media(path).to_polars().drop("tap"))
    shown = CliRunner().invoke(app, ["media", str(path)])
    assert shown.exit_code == 0
    assert ',"192.0.2.1","192.0.2.2",4000,5000,4369,' in shown.stdout
    wrong = CliRunner().invoke(app, ["media", str(path), "--timeout", "0"])
    assert wrong.exit_code == 2
    assert "timeout is a number of seconds" in wrong.stderr


def test_rows_are_the_same_for_any_number_of_threads() -> None:
    packets = capture(*series(list(range(3000))), *series(list(range(3000)), 60.0, ssrc=9, ends=(B, A)))
    expected = tapsight.media(packets, threads=1).to_polars()
    for threads in (2, 3):
        assert tapsight.media(packets, threads=threads).to_polars().equals(expected)


def main() -> None:
    """Says what differs without a reason: python tests/test_media.py CAPTURE..."""
    counts: Counter[str] = Counter()
    for name in sys.argv[1:]:
        print(*compare(Path(name), counts), sep="\n")  # noqa: T201
    print(dict(counts))  # noqa: T201


if __name__ == "__main__":
    main()
