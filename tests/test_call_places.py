"""Where calls are, which calls seem to be one, and calls of H.225.0 and Skinny beside tshark."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import calls_peer
import polars as pl
import pytest
from conftest import ROOT
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.rtp import RTP
from scapy.utils import wrpcap
from test_calls import run, sip

import tapsight

NDPI = "ntop__nDPI/tests__cfgs__default__pcap__"

OWN = """prefix,country,asn,name
20.0.1.0/24,BE,64501,Belgian voice
20.0.2.0/24,NL,64502,Dutch relay
20.0.3.0/24,DE,64503,German voice
20.0.4.0/24,US,64504,Far tunnel
"""


@pytest.fixture
def places(tmp_path: Path) -> tapsight.places.Places:
    own = tmp_path / "own.csv"
    own.write_text(OWN)
    return tapsight.places.Places(own, registered=False)


def sdp(addr: str, port: int) -> str:
    return f"v=0\r\no=- 1 1 IN IP4 {addr}\r\ns=-\r\nc=IN IP4 {addr}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"


def message(start: str, caller: str, callee: str, *fields: str, tag: str = "", body: str = "") -> bytes:
    return sip(
        start,
        "Via: SIP/2.0/UDP 20.0.1.9:5060;branch=z9hG4bK1",
        f"From: <sip:{caller}@20.0.1.9>;tag=a",
        f"To: <sip:{callee}@20.0.1.8>{tag}",
        "Call-ID: 1@20.0.1.9",
        "CSeq: 1 INVITE",
        *fields,
        *(["Content-Type: application/sdp"] if body else []),
        body=body,
    )


def call(path: Path, caller: str, callee: str, media: str, *, tunnel: bool = False) -> Path:
    """A call from 20.0.1.9 to 20.0.1.8, whose callee announces media there, and RTP from there."""
    macs = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
    to, back = IP(src="20.0.1.9", dst="20.0.1.8"), IP(src="20.0.1.8", dst="20.0.1.9")
    invite = message(
        f"INVITE sip:{callee}@20.0.1.8 SIP/2.0",
        caller,
        callee,
        "Record-Route: <sip:20.0.1.7;lr>",
        "Contact: <sip:20.0.1.9>",
        body=sdp("20.0.1.9", 4000),
    )
    answer = message("SIP/2.0 200 OK", caller, callee, tag=";tag=b", body=sdp(media, 5000))
    frames: list[Any] = [
        Ether(**macs) / to / UDP(sport=5060, dport=5060) / invite,
        Ether(**macs) / back / UDP(sport=5060, dport=5060) / answer,
    ]
    for at in range(8):
        rtp = (
            UDP(sport=5000, dport=4000)
            / RTP(sequence=at, timestamp=160 * at, sourcesync=7, payload_type=0)
            / bytes(160)
        )
        packet = IP(src=media, dst="20.0.1.9") / rtp
        outer = IP(src="20.0.4.1", dst="20.0.1.1") / GRE() / packet
        frames.append(Ether(**macs) / (outer if tunnel else packet))
    for at, frame in enumerate(frames):
        frame.time = 1_700_000_000 + at / 50
    wrpcap(str(path), frames)
    return path


def located(path: Path, places: tapsight.places.Places, home: str | None = None) -> dict[str, Any]:
    frame = tapsight.calls(path, show_numbers=True, places=places, home=home).to_polars()
    assert len(frame) == 1
    return frame.row(0, named=True)


def test_media_abroad_of_a_national_call(tmp_path: Path, places: tapsight.places.Places) -> None:
    row = located(call(tmp_path / "a.pcap", "+32470123456", "+3225550199", "20.0.2.5"), places, "BE")
    expected = {
        "caller_country": "BE", "callee_country": "BE", "caller_numbering": "Belgium", "scope": "national",
        "signalling_scope": "national", "media_scope": "international", "src_country": "BE", "dst_country": "BE",
        "src_asn": 64501, "src_network": "Belgian voice", "signalling_countries": ["BE"], "via_countries": ["BE"],
        "route_countries": ["BE"], "contact_countries": ["BE"], "caller_media_countries": ["BE"],
        "callee_media_countries": ["NL"], "callee_senders": ["20.0.2.5"], "callee_sender_countries": ["NL"],
        "caller_senders": None, "media_networks": ["Belgian voice", "Dutch relay"], "tunnel_countries": None,
        "crosses_numbers": [], "crosses_signalling": [], "crosses_media": ["BE", "NL"], "crosses_tunnels": None,
        "disagrees": ["media NL"],
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    media = tapsight.calls(tmp_path / "a.pcap", table="call_media", places=places).to_polars()
    assert media.select("side", "country", "asn", "network").rows() == [
        ("caller", "BE", 64501, "Belgian voice"),
        ("callee", "NL", 64502, "Dutch relay"),
    ]


def test_numbers_borders_and_tunnels(tmp_path: Path, places: tapsight.places.Places) -> None:
    row = located(call(tmp_path / "a.pcap", "+32470123456", "+4930123456", "20.0.3.5", tunnel=True), places)
    assert row["scope"] == row["media_scope"] == "international"
    assert row["crosses_numbers"] == row["crosses_media"] == ["BE", "DE"]
    assert row["tunnel_countries"] == row["crosses_tunnels"] == ["BE", "US"]
    assert row["disagrees"] == ["tunnels US"]
    # Who is of no country, and who is not said to be international.
    row = located(call(tmp_path / "b.pcap", "+881612345678", "025550199", "20.0.3.5"), places)
    assert (row["caller_country"], row["caller_numbering"], row["callee_country"]) == (None, "Iridium", None)
    assert (row["scope"], row["crosses_numbers"], row["disagrees"]) == (None, None, None)
    row = located(call(tmp_path / "c.pcap", "+4930123456", "+3312345678", "20.0.3.5"), places, "BE")
    assert row["scope"] == "transit"


def test_options_of_the_command(tmp_path: Path, places: tapsight.places.Places) -> None:
    path = call(tmp_path / "a.pcap", "+32470123456", "+3225550199", "20.0.2.5")
    made = run(
        "calls",
        str(path),
        "--places",
        str(tmp_path / "own.csv"),
        "--home",
        "BE",
        "--columns",
        "scope,disagrees",
    )
    assert made.exit_code == 0, made.output
    assert "media NL" in made.stdout
    assert "disagrees" not in run("calls", str(path), "--format", "csv").stdout
    with pytest.raises(ValueError, match="give places"):
        tapsight.calls(path, home="BE")
    for table in ("calls", "call_media"):
        for field in tapsight.calls("x", table=table, places=places).schema:  # type: ignore[arg-type]
            assert field.metadata[b"description"]
            assert f"`{field.name}`" in (ROOT / "docs/calls.md").read_text()


JOINS = {
    # An OmniPCX calls on 0.1 s later, with a media endpoint that the first call has described.
    "example__pcap__erspan_sip_ipv4_udp.pcapng": [(2, 3, "high")],
    # A Zoiper calls an Asterisk, which calls on 4 ms later.
    "tests__framework__classification_and_references__digium.pcap": [(1, 2, "medium")],
}
"""Calls of captures that are joined: by capture, earlier and later call, and how far that goes. Looked at by hand."""


def test_no_false_join_in_captures(captures: Path) -> None:
    found: dict[str, list[tuple[int, int, str]]] = {}
    several = 0
    for path in calls_peer.sip_captures(captures):
        frame = calls_peer.table(path, "calls")
        several += len(frame) > 1
        for row in frame.sort("call").iter_rows(named=True):
            for other, how in zip(row["joins"] or (), row["join_confidence"] or (), strict=True):
                if other > row["call"]:
                    found.setdefault(path.name, []).append((row["call"], other, how))
    assert found == JOINS
    assert several > 5


def test_calls_agree_with_tshark(captures: Path) -> None:
    compared = calls_peer.compare(captures)
    assert compared.calls > 50
    assert {name for name, *_ in compared.differ} <= set(calls_peer.REASONS)
    assert compared.agree >= compared.calls - 4
    assert compared.text() in (ROOT / "docs/calls.md").read_text()


def fields(path: Path, condition: str, *names: str) -> list[list[list[str]]]:
    command = ["tshark", "-r", str(path), "-Y", condition, "-T", "fields", "-E", "occurrence=a"]
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [
        [cell.split(",") if cell else [] for cell in line.split("\t")] for line in done.stdout.splitlines()
    ]


def test_h225_agrees_with_tshark(captures: Path) -> None:
    path = captures / f"{NDPI}h323.pcap"
    told = fields(
        path, "q931", "frame.number", "q931.message_type", "q931.call_ref", "q931.calling_party_number.digits",
        "q931.called_party_number.digits", "q931.cause_value",
    )  # fmt: skip
    names = {
        "0x05": "SETUP",
        "0x02": "CALL PROCEEDING",
        "0x01": "ALERTING",
        "0x07": "CONNECT",
        "0x5a": "RELEASE COMPLETE",
    }
    rows = calls_peer.table(path, "call_messages")
    expected = [(int(row[0][0]), names[row[1][0]]) for row in told]
    assert rows.select("frame", "method").rows() == expected
    assert len(expected) == 8
    calls = calls_peer.table(path, "calls").filter(pl.col("transport") == "h225").sort("call")
    setups = [row for row in told if row[1] == ["0x05"]]
    assert [(row[3] or [None])[0] for row in setups] == calls["caller"].to_list()
    assert [(row[4] or [None])[0] for row in setups] == calls["callee"].to_list()
    references = [int(row[2][0].removeprefix("0x"), 16) for row in setups]
    assert [int(name.split()[-1]) for name in calls["call_id"]] == references
    # Set up, proceeding, alerting, connected; alerting, then years; released by who was called.
    assert calls["state"].to_list() == ["answered", "timed-out", "failed"]
    ended = [int(row[5][0]) for row in told if row[5]]
    assert calls["cause"].drop_nulls().to_list() == ended


def test_skinny_agrees_with_tshark(captures: Path) -> None:
    path = captures / f"{NDPI}skinny.pcap"
    calls = calls_peer.table(path, "calls").sort("call")
    info = fields(path, "skinny.callType", "skinny.callingParty", "skinny.calledParty")
    assert {(row[0][0], row[1][0]) for row in info} == set(calls.select("caller", "callee").rows())
    references = {
        int(each) for row in fields(path, "skinny.callState", "skinny.callReference") for each in row[0]
    }
    assert {int(name.split()[-1]) for name in calls["call_id"]} == references
    states: dict[int, int] = {}
    for reference, state in fields(path, "skinny.callState", "skinny.callReference", "skinny.callState"):
        # A frame has messages of one call; what its last state is, is what it is left in.
        states[int(reference[0])] = int(state[-1], 16)
    assert set(states.values()) == {5}
    assert calls["state"].to_list() == ["answered", "answered"]
    opened = fields(path, "skinny.messageId == 34", "skinny.ipAddr.ipv4", "skinny.portNumber")
    sent = fields(path, "skinny.messageId == 138", "skinny.remoteIpAddr.ipv4", "skinny.remotePortNumber")
    expected = {(row[0][0], int(row[1][0])) for row in opened + sent}
    media = calls_peer.table(path, "call_media")
    found = set(zip(tapsight.addresses.to_text(media["addr"]), media["port"], strict=True))
    assert found == expected
    assert media["payloads"].to_list() == [["0 PCMU/8000"]] * len(media)
    # Streams to the endpoints that both sides receive at belong to their calls.
    streams = tapsight.media(path).to_polars()
    ends = defaultdict(set)
    for dst, port, number in zip(
        tapsight.addresses.to_text(streams["dst"]), streams["dst_port"], streams["call"], strict=True
    ):
        ends[dst, port].add(number)
    assert ends["192.168.195.58", 32144] <= {1, 2}
    assert None not in ends["192.168.195.58", 32144]
    # Both phones have described both ends of what they say to each other: whichever call it is, it has announced both.
    both = {("192.168.195.58", 32144), ("192.168.195.50", 17718)}
    assert both <= expected
    of = streams.with_columns(
        src=pl.Series(tapsight.addresses.to_text(streams["src"])),
        dst=pl.Series(tapsight.addresses.to_text(streams["dst"])),
    ).filter(pl.col("src_port").is_in([32144, 17718]) & pl.col("dst_port").is_in([32144, 17718]))
    assert set(of.select("src", "src_port").rows()) == set(of.select("dst", "dst_port").rows()) == both
    assert of["announced"].cast(str).to_list() == ["both"] * 2
