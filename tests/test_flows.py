"""Flows: one row a conversation."""

from __future__ import annotations

import csv
import shutil
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import capture_index
from hypothesis import given, settings
from hypothesis import strategies as st
from labels_peer import PROTOCOLS
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import EDecimal, wrpcap

import tapsight
from tapsight import _core, addresses

A, B = "192.0.2.1", "198.51.100.2"
MACS = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def there(*layers: Packet, src: str = A, dst: str = B, **ip: Any) -> Packet:
    """A frame from the first host to the second."""
    return _frame(MACS, IP(src=src, dst=dst, **ip), layers)


def back(*layers: Packet, src: str = B, dst: str = A, **ip: Any) -> Packet:
    """A frame the other way."""
    return _frame(MACS[::-1], IP(src=src, dst=dst, **ip), layers)


def _frame(macs: Sequence[str], ip: Packet, layers: Sequence[Packet]) -> Packet:
    frame = Ether(src=macs[0], dst=macs[1]) / ip
    for layer in layers:
        frame /= layer
    return frame


def tcp(
    flags: str, seq: int = 0, ack: int = 0, payload: bytes = b"", sport: int = 50000, dport: int = 443
) -> Packet:
    return TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack) / Raw(payload)


def handshake(sport: int = 50000) -> list[Packet]:
    return [
        there(tcp("S", 100, sport=sport)),
        back(tcp("SA", 900, 101, sport=443, dport=sport)),
        there(tcp("A", 101, 901, sport=sport)),
    ]


def capture(path: Path, frames: list[tuple[float, Packet]]) -> str:
    """A capture of these frames at these seconds."""
    for ts, frame in frames:
        frame.time = EDecimal(1_700_000_000) + EDecimal(str(ts))
    wrpcap(str(path / "made.pcap"), [frame for _, frame in frames], nano=True)
    return str(path / "made.pcap")


def rows(path: str, **options: Any) -> list[dict[str, Any]]:
    table = tapsight.flows(path, **options).to_pyarrow()
    for name in ("first_ts", "last_ts"):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.int64()))
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def text(address: bytes | None) -> str | None:
    return addresses.to_text([address])[0].as_py() if address is not None else None


# --- What a row says ---------------------------------------------------------------------------------------------------


def test_a_connection_both_ways(tmp_path: Path) -> None:
    frames = [
        *zip([0, 0.030, 0.032], handshake(), strict=True),
        (0.04, there(tcp("PA", 101, 901, b"x" * 10), tos=0xB8, ttl=63)),
        (0.07, back(tcp("PA", 901, 111, b"y" * 400, sport=443, dport=50000), ttl=55)),
        (1.0, there(tcp("FA", 111, 1301))),
        (1.03, back(tcp("FA", 1301, 112, sport=443, dport=50000))),
        (1.04, there(tcp("A", 112, 1302))),
    ]
    (row,) = rows(capture(tmp_path, list(frames)), tap="lab")
    assert (text(row["src"]), row["src_port"], text(row["dst"]), row["dst_port"]) == (A, 50000, B, 443)
    assert (row["tap"], row["protocol"], row["ip_version"], row["end_reason"]) == ("lab", 6, 4, "end-of-flow")
    assert (row["packets"], row["reverse_packets"]) == (5, 3)
    assert (row["payload_bytes"], row["reverse_payload_bytes"]) == (10, 400)
    # 14 bytes of Ethernet, 20 of IP, 20 of TCP.
    assert (row["bytes"], row["reverse_bytes"]) == (5 * 54 + 10, 3 * 54 + 400)
    assert row["conn_state"] == "SF"
    assert (row["tcp_flags"], row["reverse_tcp_flags"]) == (0x1B, 0x1B)
    assert (row["rtt_dst_ns"], row["rtt_src_ns"], row["response_ns"]) == (30_000_000, 2_000_000, 30_000_000)
    assert (row["ttl_min"], row["ttl_max"], row["reverse_ttl_min"], row["reverse_ttl_max"]) == (
        63,
        64,
        55,
        64,
    )
    assert (row["dscp"], row["reverse_dscp"]) == ([0, 46], [0])
    assert row["eth_src"] == row["reverse_eth_dst"] == bytes.fromhex("02000000000a")
    assert row["ways"] == 2
    assert row["frames"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert row["last_ts"] - row["first_ts"] == 1_040_000_000
    # Of the pseudo code of the specification: seed, the smaller end, the larger one, protocol, padding, ports.
    assert row["community_id"] == _community_id(A, B, 6, 50000, 443)


def _community_id(src: str, dst: str, protocol: int, src_port: int, dst_port: int) -> str:
    import communityid

    kind = communityid.FlowTuple.make_tcp if protocol == 6 else communityid.FlowTuple.make_udp
    return str(communityid.CommunityID().calc(kind(src, dst, src_port, dst_port)))


@pytest.mark.parametrize(
    ("frames", "state"),
    [
        ([there(tcp("S", 1))], "S0"),
        (handshake(), "S1"),
        ([there(tcp("S", 1)), back(tcp("RA", 0, 2, sport=443, dport=50000))], "REJ"),
        ([*handshake(), there(tcp("FA", 101, 901))], "S2"),
        ([*handshake(), back(tcp("FA", 901, 101, sport=443, dport=50000))], "S3"),
        ([*handshake(), there(tcp("R", 101))], "RSTO"),
        ([*handshake(), back(tcp("R", 901, sport=443, dport=50000))], "RSTR"),
        ([there(tcp("S", 1)), there(tcp("R", 2))], "RSTOS0"),
        ([back(tcp("SA", 900, 2, sport=443, dport=50000)), back(tcp("R", 901, sport=443, dport=50000))], "RSTRH"),
        ([there(tcp("S", 1)), there(tcp("FA", 2))], "SH"),
        ([back(tcp("SA", 900, 2, sport=443, dport=50000)), back(tcp("FA", 901, sport=443, dport=50000))], "SHR"),
        ([there(tcp("A", 5, 5, b"x"))], "OTH"),
    ],
)  # fmt: skip
def test_states_are_those_of_zeek(tmp_path: Path, frames: list[Packet], state: str) -> None:
    """As its documentation of conn_state describes them."""
    (row,) = rows(capture(tmp_path, [(n / 100, frame.copy()) for n, frame in enumerate(frames)]))
    assert row["conn_state"] == state
    assert text(row["src"]) == A


def test_a_round_trip_is_not_told_where_a_syn_was_sent_again(tmp_path: Path) -> None:
    syn, answer, ack = handshake()
    frames = [(0.0, syn), (1.0, syn.copy()), (1.2, answer), (1.21, ack)]
    (row,) = rows(capture(tmp_path, frames))
    assert (row["rtt_dst_ns"], row["rtt_src_ns"]) == (None, 10_000_000)
    # A mirror port that shows it twice does not send it again.
    syn, answer, ack = handshake()
    frames = [(0.0, syn), (0.000_1, syn.copy()), (0.2, answer), (0.21, ack)]
    (row,) = rows(capture(tmp_path, frames))
    assert row["rtt_dst_ns"] == 200_000_000


def test_what_bytes_say_later_counts_before_the_port(tmp_path: Path) -> None:
    sip = b"OPTIONS sip:198.51.100.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"
    ports = {"sport": 40000, "dport": 53}
    frames = [(0.1 * n, there(UDP(**ports), Raw(b"\0" * 20))) for n in range(3)]
    (row,) = rows(capture(tmp_path, frames))
    assert (row["app"], row["basis"]) == ("dns", "port")
    (row,) = rows(capture(tmp_path, [*frames, (0.5, there(UDP(**ports), Raw(sip)))]))
    assert (row["app"], row["basis"], row["traffic"], row["confidence"]) == (
        "sip",
        "signature",
        "voice-signalling",
        1.0,
    )


def test_confidence_is_the_share_of_packets_that_agree(tmp_path: Path) -> None:
    query = DNS(id=7, qd=DNSQR(qname="example.com"))
    answer = DNS(id=7, qr=1, qd=DNSQR(qname="example.com"), an=DNSRR(rrname="example.com", rdata="192.0.2.9"))
    sip = Raw(b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n")
    frames = [
        (0.0, there(UDP(sport=40000, dport=53), query)),
        (0.1, back(UDP(sport=53, dport=40000), answer)),
        (0.2, there(UDP(sport=40000, dport=53), query)),
        (0.3, there(UDP(sport=40000, dport=53), sip)),
    ]
    (row,) = rows(capture(tmp_path, frames))
    assert (row["app"], row["confidence"], row["response_ns"]) == ("dns", 0.75, 100_000_000)


def test_names_that_clients_ask_for(captures: Path) -> None:
    """Those that tshark reads, of connections whose hello is in one segment."""
    path = captures / "Lekensteyn__wireshark-notes/tls__imap-ssl.pcapng"
    if not path.exists():
        pytest.skip("no such capture")
    names = {row["server_name"] for row in rows(str(path))} - {None}
    told = subprocess.run(
        ["tshark", "-r", str(path), "-Y", "tls.handshake.type == 1", "-Tfields", "-e",
         "tls.handshake.extensions_server_name"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert names == set(told)


def test_frames_without_ip_are_flows_too(tmp_path: Path) -> None:
    who = Ether(src=MACS[0], dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, psrc=A, pdst=B)
    here = Ether(src=MACS[1], dst=MACS[0]) / ARP(op=2, psrc=B, pdst=A)
    found = rows(capture(tmp_path, [(0, who), (0.1, who.copy()), (0.2, here)]))
    assert [(row["src"], row["ip_version"], row["app"], row["packets"]) for row in found] == [
        (None, None, "arp", 2),
        (None, None, "arp", 1),
    ]


def test_icmp_has_the_community_id_of_its_first_message(tmp_path: Path) -> None:
    import communityid

    frames = [(0.0, there(ICMP(type=8, id=1, seq=1))), (0.02, back(ICMP(type=0, id=1, seq=1)))]
    (row,) = rows(capture(tmp_path, frames))
    expected = communityid.CommunityID().calc(communityid.FlowTuple.make_icmp(A, B, 8, 0))
    assert (row["community_id"], row["response_ns"], row["src_port"]) == (expected, 20_000_000, None)


# --- What tells flows apart ---------------------------------------------------------------------------------------------


def test_a_tunnel_is_another_flow_and_its_ways_are_told(tmp_path: Path) -> None:
    ping = IP(src=A, dst=B) / UDP(sport=1, dport=2) / Raw(b"x" * 30)
    pong = IP(src=B, dst=A) / UDP(sport=2, dport=1) / Raw(b"x" * 30)
    out = {"src": "203.0.113.1", "dst": "203.0.113.2"}
    home = {"src": "203.0.113.2", "dst": "203.0.113.1"}
    frames = [
        (0.0, Ether(src=MACS[0], dst=MACS[1]) / ping),
        (0.1, there(GRE(key_present=1, key=7), ping, **out)),
        (0.2, back(GRE(key_present=1, key=7), pong, **home)),
        (0.3, there(GRE(key_present=1, key=8), ping, **out)),
    ]
    found = rows(capture(tmp_path, frames))
    seen = [
        (row["encap"], text(row["outer_src"]), row["tunnel_id"], row["packets"], row["reverse_packets"])
        for row in found
    ]
    assert seen == [
        (None, None, None, 1, 0),
        ("gre", "203.0.113.1", 7, 1, 1),
        ("gre", "203.0.113.1", 8, 1, 0),
    ]


def test_vlans_and_macs_are_ways_of_one_flow(tmp_path: Path) -> None:
    frames = [(0.0, there(UDP(sport=1, dport=2), Raw(b"x" * 20)))]
    for n, tag in enumerate((10, 20, 20), 1):
        tagged = Ether(src=MACS[0], dst=MACS[1]) / Dot1Q(vlan=tag) / IP(src=A, dst=B) / UDP(sport=1, dport=2)
        frames.append((n / 10, tagged / Raw(b"x" * 20)))
    (row,) = rows(capture(tmp_path, frames))
    assert (row["packets"], row["ways"], row["vlans"]) == (4, 3, [10, 20])


def test_who_answers_did_not_begin(tmp_path: Path) -> None:
    _, answer, ack = handshake()
    (row,) = rows(capture(tmp_path, [(0.0, answer), (0.1, ack)]))
    assert (text(row["src"]), row["packets"], row["reverse_packets"]) == (A, 1, 1)


def test_silence_ends_a_flow(tmp_path: Path) -> None:
    frames = [(ts, there(UDP(sport=1, dport=2), Raw(b"x" * 20))) for ts in (0, 100, 219, 340)]
    path = capture(tmp_path, frames)
    found = rows(path)
    assert [(row["packets"], row["end_reason"]) for row in found] == [(3, "idle-timeout"), (1, "forced-end")]
    assert [row["flow"] for row in found] == [1, 2]
    assert [row["packets"] for row in rows(path, idle_timeout=90)] == [1, 1, 1, 1]
    assert [row["packets"] for row in rows(path, idle_timeout=1000)] == [4]


def test_a_row_can_be_told_while_the_flow_goes_on(tmp_path: Path) -> None:
    frames = [(ts, there(UDP(sport=1, dport=2), Raw(b"x" * 20))) for ts in range(0, 100, 10)]
    found = rows(capture(tmp_path, frames), active_timeout=35)
    assert [row["packets"] for row in found] == [4, 4, 2]
    assert [row["end_reason"] for row in found] == ["active-timeout", "active-timeout", "forced-end"]


def test_ports_that_are_used_again_are_another_connection(tmp_path: Path) -> None:
    end = [there(tcp("FA", 101, 901)), back(tcp("FA", 901, 102, sport=443, dport=50000))]
    again = [there(tcp("S", 7777)), back(tcp("SA", 1, 7778, sport=443, dport=50000))]
    frames = [*handshake(), *end, *again]
    found = rows(capture(tmp_path, [(n / 10, frame) for n, frame in enumerate(frames)]))
    assert [(row["packets"] + row["reverse_packets"], row["conn_state"]) for row in found] == [
        (5, "SF"),
        (2, "S1"),
    ]
    # The same, of a connection that nobody has ended.
    frames = [*handshake(), *[frame.copy() for frame in again]]
    found = rows(capture(tmp_path, [(n / 10, frame) for n, frame in enumerate(frames)]))
    assert [(row["conn_state"], row["end_reason"]) for row in found] == [
        ("S1", "forced-end"),
        ("S1", "forced-end"),
    ]


def test_an_answer_that_comes_before_its_syn_is_one_connection(tmp_path: Path) -> None:
    syn, answer, ack = handshake()
    (row,) = rows(capture(tmp_path, [(0.0, answer), (0.000_01, syn), (0.1, ack)]))
    assert (row["packets"], row["reverse_packets"], row["conn_state"]) == (2, 1, "S1")


def test_the_last_time_there_is_takes_no_longer(tmp_path: Path) -> None:
    """Frames at the end of all times (2^64 - 1 ns in a pcapng, which counts as 2^63 - 1): each flow is found once, in as much time as elsewhere."""

    def capture_at(ts: int) -> str:
        def block(kind: int, body: bytes) -> bytes:
            body += bytes(-len(body) % 4)
            size = struct.pack("<I", 12 + len(body))
            return struct.pack("<I", kind) + size + body + size

        parts = [
            block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
            # if_tsresol: nanoseconds.
            block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)),
        ]
        whole = bytes(there(UDP(sport=1000, dport=53), Raw(b"x" * 20)))
        for number in range(20_000):
            # Source address.
            frame = whole[:26] + (0x0A000000 + number).to_bytes(4, "big") + whole[30:]
            parts.append(
                block(6, struct.pack("<IIIII", 0, ts >> 32, ts & 0xFFFFFFFF, len(frame), len(frame)) + frame)
            )
        path = tmp_path / f"{ts}.pcapng"
        path.write_bytes(b"".join(parts))
        return str(path)

    took = []
    for ts in (10**18, 2**64 - 1):
        path = capture_at(ts)
        began = time.process_time()
        assert tapsight.flows(path, threads=1).to_pyarrow().num_rows == 20_000
        took.append(time.process_time() - began)
    assert took[1] < 5 * took[0] + 0.5


def test_too_many_flows_are_ended_early_and_counted(tmp_path: Path) -> None:
    frames = [
        (
            n / 1000,
            Ether(src=MACS[0], dst=MACS[1])
            / IP(src=A, dst=f"10.0.{n >> 8}.{n & 255}")
            / UDP(sport=1, dport=2),
        )
        for n in range(3000)
    ]
    path = capture(tmp_path, frames)
    with pytest.warns(tapsight.CaptureWarning, match=r"\d+ flows were ended before their time"):
        found = rows(path, memory=1)  # room for the least that there is, 1,024
    reasons = Counter(row["end_reason"] for row in found)
    assert len(found) == 3000
    assert reasons["lack-of-resources"] >= 3000 - 1024
    # Those that were silent for longest.
    early = [row["flow"] for row in found if row["end_reason"] == "lack-of-resources"]
    assert early == sorted(early) == list(range(1, len(early) + 1))


def test_each_flow_is_handed_out_once() -> None:
    # Places are used again and again: there is room for 1,024 at a time.
    with pytest.warns(tapsight.CaptureWarning, match="ended before their time"):
        found = list(tapsight.flows(_core.traffic("flood", 20_000), memory=1))
    numbers = [number for batch in found for number in pa.record_batch(batch)["flow"].to_pylist()]
    assert numbers == list(range(1, 20_001))
    assert all(set(pa.record_batch(batch)["packets"].to_pylist()) == {1} for batch in found)


def test_packets_far_apart_end_flows() -> None:
    # A minute between each two: flows are over when there were no packets for two, whenever all of them are looked at.
    flood = _core.traffic("flood", 50_000)
    frame = flood[24 + 16 : 24 + 16 + 60]
    late = b"".join(struct.pack("<IIII", 4_000_000_000 + 60 * n, 0, 60, 60) + frame for n in range(5_000))
    table = pl.DataFrame(tapsight.flows(flood + late)).select("end_reason", "packets")
    assert Counter(table["end_reason"]) == {"idle-timeout": 50_000, "forced-end": 1}
    assert table.filter(end_reason="forced-end")["packets"].to_list() == [5_000]


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(wrong: float) -> None:
    with pytest.raises(ValueError, match="idle_timeout is a number of seconds"):
        tapsight.flows("x.pcap", idle_timeout=wrong)


def test_fields_say_what_they_mean() -> None:
    schema = tapsight.flows("missing.pcap").schema
    assert b"Conversations" in schema.metadata[b"description"]
    for field in schema:
        assert len((field.metadata or {}).get(b"description", b"")) > 5, field.name


# --- Against packets and other tools ------------------------------------------------------------------------------------


def readable(
    captures: Path, most: int, one_in: int = 1, first: int = 0
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Captures that can be read, up to a size, and their packets."""
    columns = ["wire_len", "encap", "fragment", "payload_len", "issue", "src", "protocol"]
    for row in capture_index()[first::one_in]:
        path = captures / row["file"]
        if path.stat().st_size > most:
            continue
        try:
            yield str(path), tapsight.open(str(path), columns=columns).to_polars()
        except (tapsight.CaptureError, OSError):
            continue


@pytest.mark.filterwarnings("ignore::tapsight.CaptureWarning")
def test_totals_over_flows_are_totals_over_packets(captures: Path) -> None:
    compared = 0
    for path, packets in readable(captures, 400_000, one_in=2):
        found = tapsight.flows(path).to_polars()
        totals = found.select(pl.col("packets", "reverse_packets", "bytes", "reverse_bytes").sum()).row(0)
        assert totals[0] + totals[1] == len(packets), path
        assert totals[2] + totals[3] == packets["wire_len"].sum(), path
        payload = found["payload_bytes"].sum() + found["reverse_payload_bytes"].sum()
        assert payload == packets["payload_len"].sum(), path
        assert found["issues"].sum() == packets["issue"].count(), path
        assert sorted(found["flow"]) == list(range(1, len(found) + 1)), path
        compared += 1
    assert compared > 300


Conversation = tuple[tuple[str, int], tuple[str, int], int, int]


def _of_tshark(path: str) -> Counter[Conversation]:
    """TCP and UDP conversations as tshark counts them, the smaller end's packets and bytes first."""
    command = [
        "tshark",
        "-n",
        "-r",
        path,
        "-o",
        "ip.defragment:FALSE",
        "-q",
        "-z",
        "conv,tcp",
        "-z",
        "conv,udp",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: Counter[Conversation] = Counter()
    for line in done.stdout.splitlines():
        if "<->" not in line:
            continue
        left, _, rest = line.partition("<->")
        right, *numbers = rest.replace(",", "").split()
        # Frames and bytes (with a unit) to the left, to the right, and in all.
        a, b = _end(left.strip()), _end(right)
        to_a = int(numbers[0])
        to_b = int(numbers[3])
        found[_sorted(a, b, to_b, to_a)] += 1
    return found


def _end(written: str) -> tuple[str, int]:
    address, _, port = written.rpartition(":")
    return address, int(port)


def _sorted(a: tuple[str, int], b: tuple[str, int], from_a: int, from_b: int) -> Any:
    return (a, b, from_a, from_b) if a <= b else (b, a, from_b, from_a)


# tshark names the last destination of a routing header, we the one in the header, as the path is judged by that.
OTHERWISE = ("ipv6_options.pcap", "ipv6-routing-header.pcap")


@pytest.mark.filterwarnings("ignore::tapsight.CaptureWarning")
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("first", [0, 3, 6, 9])
def test_conversations_are_those_of_tshark(captures: Path, first: int) -> None:
    """Packets each way between two endpoints, of captures without tunnels, fragments and what cannot be read."""
    compared = conversations = 0
    for path, packets in readable(captures, 60_000, one_in=12, first=first):
        if path.endswith(OTHERWISE):
            continue
        is_plain = (
            packets["encap"].null_count() == packets["fragment"].null_count() == packets["issue"].null_count()
        )
        if not is_plain or packets["encap"].null_count() < len(packets) or (packets["protocol"] == 1).any():
            continue
        if not packets["protocol"].is_in([6, 17]).any():
            continue
        theirs: Counter[Any] = Counter()
        for conversation, count in _of_tshark(path).items():
            a, b, from_a, from_b = conversation
            theirs[a, b, "there"] += count * from_a
            theirs[a, b, "back"] += count * from_b
        ours: Counter[Any] = Counter()
        for flow in rows(path):
            if flow["protocol"] in {6, 17}:
                ends = (
                    (text(flow["src"]) or "", flow["src_port"]),
                    (text(flow["dst"]) or "", flow["dst_port"]),
                )
                a, b, from_a, from_b = _sorted(*ends, flow["packets"], flow["reverse_packets"])
                ours[a, b, "there"] += from_a
                ours[a, b, "back"] += from_b
        assert +ours == +theirs, path
        compared += 1
        conversations += len(ours) // 2
    assert compared > 12
    assert conversations > 50


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 300)), min_size=1, max_size=40),
    st.integers(1, 39),
    st.sampled_from([1, 2, 5]),
)
def test_threads_and_cuts_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, int, int]], cut: int, threads: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    ts, frames = 0, []
    for host, flags, wait in sent:
        ts += wait
        segment = tcp(("S", "SA", "A", "FA")[flags], 100 * host, sport=50000 + host)
        frames.append((float(ts), there(segment) if flags != 1 else back(segment)))
    whole = tapsight.flows(capture(folder, frames), tap="t", threads=1).to_pyarrow()
    wrpcap(str(folder / "1.pcap"), [frame for _, frame in frames][:cut])
    paths = [str(folder / "1.pcap")]
    if frames[cut:]:
        wrpcap(str(folder / "2.pcap"), [frame for _, frame in frames][cut:])
        paths.append(str(folder / "2.pcap"))
    assert tapsight.flows(paths, tap="t", threads=threads).to_pyarrow().equals(whole)


@pytest.mark.filterwarnings("ignore::tapsight.CaptureWarning")
def test_flows_are_those_of_nfstream(captures: Path) -> None:
    """The results that its own tests expect: packets and bytes of each flow. It ends rows after 1,800 s."""
    results = sorted((captures / "truth/nfstream__nfstream").glob("tests__results__*"))
    if not results:
        pytest.skip("no results of nfstream")
    for result in results:
        (path,) = captures.glob(f"nfstream__nfstream/*__{result.name.removeprefix('tests__results__')}")
        with result.open() as file:
            expected = Counter(
                (int(row["bidirectional_packets"]), int(row["bidirectional_bytes"]))
                for row in csv.DictReader(file)
            )
        found = tapsight.flows(str(path), active_timeout=1800).to_polars().drop_nulls("src")
        both = found.select(
            pl.col("packets") + pl.col("reverse_packets"), pl.col("bytes") + pl.col("reverse_bytes")
        )
        assert Counter(both.iter_rows()) == expected, path


@pytest.mark.filterwarnings("ignore::tapsight.CaptureWarning")
def test_connections_are_those_of_zeek(captures: Path) -> None:
    """The conn.log that its own tests expect. It cuts and judges some otherwise: tunnels it reads in both forms, checksums it minds."""
    alike = other = 0
    for row in capture_index():
        logs = [name for name in row["truth"].split(",") if "zeek__zeek" in name and "conn.log" in name]
        for log in logs:
            expected = _zeek_connections(captures / log)
            if not expected:
                continue
            try:
                found = rows(str(captures / row["file"]))
            except (tapsight.CaptureError, OSError):
                continue
            ours = Counter(
                (
                    flow["protocol"], text(flow["src"]), flow["src_port"], text(flow["dst"]), flow["dst_port"],
                    flow["packets"], flow["reverse_packets"], flow["conn_state"],
                )
                for flow in found
            )  # fmt: skip
            alike += (ours & expected).total()
            other += (expected - ours).total()
    if alike + other == 0:
        pytest.skip("no connections of Zeek")
    assert alike / (alike + other) >= 0.65, (alike, other)


def _zeek_connections(path: Path) -> Counter[tuple[Any, ...]]:
    """TCP and UDP connections of a log, with packets each way; of TCP with state."""
    fields: list[str] = []
    found: Counter[tuple[Any, ...]] = Counter()
    needed = {"id.orig_h", "id.resp_h", "orig_pkts", "resp_pkts", "conn_state", "proto"}
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("#fields"):
            fields = line.split("\t")[1:]
        if line.startswith("#") or not needed <= set(fields):
            continue
        row = dict(zip(fields, line.split("\t"), strict=False))
        if row["proto"] not in {"tcp", "udp"} or not row["orig_pkts"].isdigit():
            continue
        found[
            PROTOCOLS[row["proto"].upper()], row["id.orig_h"], int(row["id.orig_p"]), row["id.resp_h"],
            int(row["id.resp_p"]), int(row["orig_pkts"]), int(row["resp_pkts"]),
            row["conn_state"] if row["proto"] == "tcp" else None,
        ] += 1  # fmt: skip
    return found
