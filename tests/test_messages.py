"""Side tables against tshark, field by field, over all captures that hold the protocol."""

from __future__ import annotations

import io
import ipaddress
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import capture_index, captures_dir
from tshark_peer import is_available

import tapsight

MACHINE = ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE"]


def number(text: str) -> int:
    return int(text, 0)


def truth(text: str) -> bool:
    return text in ("1", "True")


class Peer(NamedTuple):
    """How tshark says what a side table says: tags of captures, which frames, and a field for each column."""

    tags: set[str]
    frames: str
    fields: dict[str, tuple[str, Callable[[str], Any]]]
    least: int


PEERS = {
    "dns": Peer(
        {"dns", "mdns", "llmnr"},
        "dns or mdns or llmnr",
        {
            "id": ("dns.id", number),
            "is_response": ("dns.flags.response", truth),
            "opcode": ("dns.flags.opcode", number),
            "rcode": ("dns.flags.rcode", number),
            "questions": ("dns.count.queries", number),
            "answers": ("dns.count.answers", number),
            "qtype": ("dns.qry.type", number),
            "qname": ("dns.qry.name", str),
        },
        2000,
    ),
    "tcp": Peer(
        {"sip-tcp", "ssh", "mptcp", "bgp", "rtsp", "tcp-injection"},
        "tcp.flags.syn == 1",
        {
            "seq": ("tcp.seq_raw", number),
            "window": ("tcp.window_size_value", number),
            "mss": ("tcp.options.mss_val", number),
            "window_scale": ("tcp.options.wscale.shift", number),
            "tsval": ("tcp.options.timestamp.tsval", number),
            "tsecr": ("tcp.options.timestamp.tsecr", number),
        },
        1000,
    ),
    "tls": Peer(
        {"dtls", "sip-tcp", "http2", "imap", "smtp", "ldap", "rdp", "doh", "dot"},
        "tls.handshake.type in {1, 2} or dtls.handshake.type in {1, 2}",
        {
            "handshake": ("tls.handshake.type", number),
            "sni": ("tls.handshake.extensions_server_name", str),
            "alpn": ("tls.handshake.extensions_alpn_str", str),
            "cipher_suite": ("tls.handshake.ciphersuite", number),
        },
        100,
    ),
    "sip": Peer(
        {"sip"},
        "sip",
        {
            "method": ("sip.Method", str),
            "request_uri": ("sip.r-uri", str),
            "status": ("sip.Status-Code", number),
            "call_id": ("sip.Call-ID", str),
            "cseq": ("sip.CSeq.seq", number),
            "cseq_method": ("sip.CSeq.method", str),
            "from": ("sip.From", str),
            "to": ("sip.To", str),
            "contact": ("sip.Contact", str),
            "via": ("sip.Via", str),
            "content_type": ("sip.Content-Type", str),
            "content_length": ("sip.Content-Length", number),
        },
        300,
    ),
    "rtp": Peer(
        {"rtp"},
        "rtp",
        {
            "payload_type": ("rtp.p_type", number),
            "marker": ("rtp.marker", truth),
            "seq": ("rtp.seq", number),
            "timestamp": ("rtp.timestamp", number),
            "ssrc": ("rtp.ssrc", number),
        },
        3000,
    ),
    "icmp": Peer(
        {"icmp-redirect", "icmpv6-redirect", "icmp-tunnel", "traceroute", "igmp"},
        "icmp",
        {
            "type": ("icmp.type", number),
            "code": ("icmp.code", number),
            "gateway": ("icmp.redir_gw", lambda text: ipaddress.ip_address(f"::ffff:{text}").packed),
        },
        100,
    ),
    "diameter": Peer(
        {"diameter"},
        "diameter",
        {
            "command": ("diameter.cmd.code", number),
            "application": ("diameter.applicationId", number),
            "is_request": ("diameter.flags.request", truth),
            "hop_by_hop": ("diameter.hopbyhopid", number),
            "end_to_end": ("diameter.endtoendid", number),
            "session_id": ("diameter.Session-Id", str),
            "origin_host": ("diameter.Origin-Host", str),
            "origin_realm": ("diameter.Origin-Realm", str),
            "destination_realm": ("diameter.Destination-Realm", str),
            "destination_host": ("diameter.Destination-Host", str),
            "result_code": ("diameter.Result-Code", number),
        },
        10,
    ),
    "ss7": Peer(
        {"m3ua"},
        "m3ua",
        {
            "opc": ("m3ua.protocol_data_opc", number),
            "dpc": ("m3ua.protocol_data_dpc", number),
            "service": ("m3ua.protocol_data_si", number),
            "network": ("m3ua.protocol_data_ni", number),
            "sccp_type": ("sccp.message_type", number),
            "called_ssn": ("sccp.called.ssn", number),
            "calling_ssn": ("sccp.calling.ssn", number),
            "called_gt": ("sccp.called.digits", str),
            "calling_gt": ("sccp.calling.digits", str),
            "otid": ("tcap.otid", lambda text: int(text.replace(":", ""), 16)),
            "dtid": ("tcap.dtid", lambda text: int(text.replace(":", ""), 16)),
            "operation": ("gsm_old.localValue", number),
            "cic": ("isup.cic", number),
            "isup_type": ("isup.message_type", number),
        },
        20,
    ),
}


# Made by a fuzzer: two methods in one CSeq, of which tshark shows the other.
KNOWN = {("tests__cfgs__default__pcap__fuzz-2006-06-26-2594.pcap", 155, "cseq_method")}


def alike(ours: Any, theirs: Any) -> bool:
    """Whether two values are the same; texts as far as both show their bytes alike: tshark ends them at a zero byte."""
    if not isinstance(ours, str):
        return bool(ours == theirs)
    strange = re.compile(r"[^ -\[\]-~].*", re.DOTALL)
    return strange.sub("", ours) == strange.sub("", theirs.replace("<Root>", "."))


def tshark_frames(path: Path, peer: Peer) -> dict[int, dict[str, str]]:
    """The first occurrence of each field, by frame."""
    command = ["tshark", "-n", "-r", str(path), "-Y", peer.frames, "-T", "fields", "-E", "occurrence=f"]
    for option in MACHINE:
        command += ["-o", option]
    for field in ("frame.number", *(field for field, _ in peer.fields.values())):
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, check=False)
    assert b"aren't valid" not in done.stderr, done.stderr
    frames = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        cells = line.split("\t")
        if len(cells) == len(peer.fields) + 1:
            frames[int(cells[0])] = dict(zip(peer.fields, cells[1:], strict=True))
    return frames


def our_frames(path: Path, table: str) -> dict[int, dict[str, Any]]:
    """The first row of each frame."""
    rows: dict[int, dict[str, Any]] = {}
    columns = tapsight.open(str(path), table=table).to_pyarrow()
    for row in columns.drop_columns("ts").to_pylist():
        rows.setdefault(row["frame"], row)
    return rows


@pytest.mark.parametrize("table", PEERS)
def test_messages_agree_with_tshark(table: str) -> None:
    directory = captures_dir()
    if directory is None:
        pytest.skip("no captures of other projects: set TAPSIGHT_CAPTURES to a folder with an INDEX.tsv")
    if not is_available():
        pytest.skip("tshark is not installed")
    peer = PEERS[table]
    compared, differences = 0, []
    for capture in capture_index():
        if not peer.tags & set(capture["tags"].split(",")):
            continue
        path = directory / capture["file"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tapsight.CaptureWarning)
            try:
                ours = our_frames(path, table)
            except (tapsight.CaptureError, OSError):
                continue
        for frame, them in tshark_frames(path, peer).items():
            us = ours.get(frame)
            if us is None:
                continue
            for column, (_, convert) in peer.fields.items():
                value = us[column][0] if isinstance(us[column], list) and us[column] else us[column]
                if not them[column] or value is None:
                    continue
                compared += 1
                if not alike(value, convert(them[column])) and (path.name, frame, column) not in KNOWN:
                    differences.append(
                        f"{capture['file']} {frame} {column}: {value!r}, tshark {them[column]!r}"
                    )
    assert differences == []
    assert compared > peer.least


def one(data: bytes, table: str) -> dict[str, Any]:
    rows = tapsight.open(data, table=table).to_pyarrow().drop_columns("ts").to_pylist()
    assert len(rows) == 1
    row: dict[str, Any] = rows[0]
    return row


def capture(payload: bytes, port: int) -> bytes:
    """A pcap with a datagram from 192.0.2.1 to 192.0.2.2 in each frame."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw
    from scapy.utils import PcapWriter

    buffer = io.BytesIO()
    writer = PcapWriter(buffer, linktype=1)
    writer.write(Ether() / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=port, dport=port) / Raw(payload))
    return buffer.getvalue()


def copied() -> bytes:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    return bytes(
        Ether()
        / IP(src="198.51.100.1", dst="198.51.100.2", id=7)
        / UDP(sport=20000, dport=30000)
        / Raw(b"a" * 100)
    )


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def addresses(row: dict[str, Any]) -> tuple[str, ...]:
    ends = [row["src"], row["dst"], row["sampled_src"], row["sampled_dst"]]
    return tuple(tapsight.addresses.to_text(ends).to_pylist())


ENDS = ("192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.2")


def packet_id() -> int:
    """The id that the sampled packet has where it is captured itself."""
    from scapy.layers.l2 import Ether
    from scapy.utils import PcapWriter

    buffer = io.BytesIO()
    PcapWriter(buffer, linktype=1).write(Ether(copied()))
    value = tapsight.open(buffer.getvalue(), columns=["packet_id"]).to_pyarrow()["packet_id"][0].as_py()
    assert isinstance(value, int)
    return value


def test_sflow_samples_are_copies_of_packets() -> None:
    # sFlow version 5: one flow sample with one raw header; the frame lost its checksum (4 bytes).
    frame = copied()
    padded = frame + bytes(-len(frame) % 4)
    record = words(1, len(frame) + 4, 4, len(frame)) + padded
    sample = words(1, 2, 512, 1000, 0, 1, 2, 1) + words(1, len(record)) + record
    datagram = words(5, 1, 0xC0000209, 0, 1, 99, 1) + words(1, len(sample)) + sample
    row = one(capture(datagram, 6343), "sample")
    assert addresses(row) == ENDS
    assert (row["carrier"], row["sampling_rate"], row["sampled_len"]) == ("sflow", 512, len(frame) + 4)
    assert (row["sampled_src_port"], row["sampled_dst_port"], row["sampled_protocol"]) == (20000, 30000, 17)
    assert row["sampled_packet_id"] == packet_id()


@pytest.mark.parametrize("is_variable", [False, True])
def test_ipfix_sections_are_copies_of_packets(is_variable: bool) -> None:
    # RFC 7011: template 256 with dataLinkFrameSection (315), then one record of it.
    frame = copied()
    length = 0xFFFF if is_variable else len(frame)
    template = bytes.fromhex("0002000c 0100 0001 013b") + length.to_bytes(2, "big")
    record = (bytes([len(frame)]) if is_variable else b"") + frame
    data = (256).to_bytes(2, "big") + (4 + len(record)).to_bytes(2, "big") + record
    body = template + data
    message = (10).to_bytes(2, "big") + (16 + len(body)).to_bytes(2, "big") + words(0, 1, 5) + body
    row = one(capture(message, 4739), "sample")
    assert addresses(row) == ENDS
    assert (row["carrier"], row["sampled_len"]) == ("ipfix", len(frame))
    assert row["sampled_packet_id"] == packet_id()


def test_hep_carries_addresses_of_what_it_copies() -> None:
    def chunk(kind: int, value: bytes) -> bytes:
        return bytes(2) + kind.to_bytes(2, "big") + (6 + len(value)).to_bytes(2, "big") + value

    chunks = b"".join(
        [
            chunk(1, b"\x02"), chunk(2, b"\x11"), chunk(3, bytes([198, 51, 100, 1])), chunk(4, bytes([198, 51, 100, 2])),
            chunk(7, b"\x13\xc4"), chunk(8, b"\x13\xc4"), chunk(11, b"\x01"), chunk(15, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"),
        ]
    )  # fmt: skip
    row = one(capture(b"HEP3" + (6 + len(chunks)).to_bytes(2, "big") + chunks, 9060), "sample")
    assert addresses(row) == ENDS
    assert (row["carrier"], row["sampled_protocol"], row["sampled_src_port"], row["sampled_len"]) == (
        "hep",
        17,
        5060,
        27,
    )


def test_tables_have_names_columns_and_meanings() -> None:
    for table in tapsight.TABLES[1:]:
        schema = tapsight.open(b"", table=table).schema
        assert schema.names[:6] == ["frame", "ts", "src", "dst", "src_port", "dst_port"]
        assert all(field.metadata[b"description"] for field in list(schema)[6:])
    assert tapsight.open(b"", table="dns", columns=["qname", "frame"]).schema.names == ["qname", "frame"]
    with pytest.raises(ValueError, match='no table "nds"; there are: packets, dns'):
        tapsight.open(b"", table="nds")
    with pytest.raises(ValueError, match='no column "vlan"'):
        tapsight.open(b"", table="dns", columns=["vlan"])


def test_side_tables_are_lazy_frames_too() -> None:
    import polars as pl

    query = bytes.fromhex("1234 0100 0001 0000 0000 0000 0161 0765 7861 6d70 6c65 00 0001 0001")
    lazy = tapsight.scan(capture(query, 53), table="dns")
    assert lazy.filter(pl.col("qtype") == 1).select("qname").collect().rows() == [("a.example",)]
    assert lazy.filter(pl.col("qtype") == 2).collect().height == 0


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_text_of_captures_controls_no_terminal(form: str, tmp_path: Path) -> None:
    sip = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: =1+1\x1b[31m\r\nUser-Agent: \x9b\xe2\x80\xae\r\nTo: x\r\n\r\n"
    path, out = tmp_path / "sip.pcap", tmp_path / f"sip.{form}"
    path.write_bytes(capture(sip, 5060))
    command = [sys.executable, "-m", "tapsight", "classify", str(path), "--table", "sip", "-o", str(out)]
    subprocess.run(command, check=True)
    text = out.read_text()
    assert "[31m" in text
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert form != "csv" or ',"=1+1' not in text
