"""Calls: what was configured is what comes out, of real clients; tshark sees the same; and numbers stay hidden."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import time
import wave
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import ROOT, capture_index
from namespaces import Network, captured, missing
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap
from tshark_peer import is_available
from typer.testing import CliRunner

import tapsight
from tapsight._calls import _has_none, _names, _pattern, hidden_user
from tapsight._ladder import calls_text, ladder
from tapsight.cli import app
from tapsight.places import country_of_number

HERE = Path(__file__).parent

LACKING = missing("sipp")
LACKING_BARESIP = missing("baresip")
needs_tshark = pytest.mark.skipif(not is_available(), reason="needs tshark")
needs_sipp = pytest.mark.skipif(bool(LACKING), reason=f"a real call needs {', '.join(LACKING)}")
needs_baresip = pytest.mark.skipif(
    bool(LACKING_BARESIP), reason=f"a real call needs {', '.join(LACKING_BARESIP)}"
)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def tables(path: Path) -> dict[str, pl.DataFrame]:
    made = {}
    for name in ("calls", "call_messages", "call_changes", "call_media"):
        calls = tapsight.calls(path, table=name, show_numbers=True)  # type: ignore[arg-type]
        # What captures lack is no concern here.
        frame = pl.from_arrow(pa.Table.from_batches(list(calls.read(str)), calls.schema))
        assert isinstance(frame, pl.DataFrame)
        made[name] = frame
    return made


def sip(start: str, *fields: str, body: str = "") -> bytes:
    lines = [start, *fields, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def invite(number: str = "+3225550199", caller: str = "+32470123456", call_id: str = "1@192.0.2.1") -> bytes:
    return sip(
        f"INVITE sip:{number}@192.0.2.2;user=phone SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        f'From: "{caller}" <sip:{caller}@192.0.2.1>;tag=a',
        f"To: <sip:{number}@192.0.2.2>",
        f"Call-ID: {call_id}",
        "CSeq: 1 INVITE",
        f"Contact: <sip:{caller}@192.0.2.1:5060>",
        f"Diversion: <tel:{number}>;reason=no-answer",
        "Content-Type: application/sdp",
        body="v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    )


def capture(path: Path, *payloads: bytes) -> Path:
    macs = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
    frames = [
        Ether(**macs) / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=5060, dport=5060) / payload
        for payload in payloads
    ]
    for at, frame in enumerate(frames):
        frame.time = 1_700_000_000 + at
    wrpcap(str(path), frames)
    return path


def test_numbers_are_hidden_unless_asked_for(tmp_path: Path) -> None:
    path = capture(
        tmp_path / "a.pcap", invite(call_id="32470123456-7@192.0.2.1"), invite(call_id="+3225550199@x")
    )
    secrets = ("470123456", "25550199")
    shown = run("calls", str(path), "--show-numbers", "--format", "csv").stdout
    assert all(secret in shown for secret in secrets)
    for table in ("calls", "call_messages", "call_changes", "call_media"):
        for form in ("csv", "ndjson"):
            text = run("calls", str(path), "--table", table, "--format", form).stdout
            assert text or form == "ndjson"
            assert not any(secret in text for secret in secrets), (table, form)
    for options in ((), ("--ladder", "1")):
        text = run("calls", str(path), *options).stdout
        assert "+32~" in text
        assert not any(secret in text for secret in secrets)
    hidden = tapsight.calls(path).to_polars()
    assert hidden["caller"].n_unique() == 1
    assert hidden["callee"][0] == hidden_user("+3225550199")
    # Whatever reads the stream itself sees no more.
    frame = pl.DataFrame(tapsight.calls(path))
    assert not any(secret in str(frame.to_dicts()) for secret in secrets)


def test_one_number_has_one_hash_in_one_run() -> None:
    assert hidden_user("+32 470 12-34-56") == hidden_user("+32470123456")
    assert hidden_user("0032470123456") == hidden_user("+32470123456").removeprefix("+32")
    # Where it was dialled, 00 may lead abroad or not: as tapsight.places has it.
    assert country_of_number("0032470123456") is None
    # Without a mark that it is international, nobody knows what its first digits are.
    assert hidden_user("32470123456") == hidden_user("+32470123456").removeprefix("+32")
    assert hidden_user("+32470123456", b"k" * 16) != hidden_user("+32470123456", b"l" * 16)
    assert re.fullmatch(r"~[0-9a-f]{8}", hidden_user("alice"))
    # Too short to show anything of it.
    assert re.fullmatch(r"~[0-9a-f]{8}", hidden_user("123456"))
    # Country codes of ITU-T E.164: one, two and three digits.
    for number, code in (
        ("+12125551212", "+1"),
        ("+442079460000", "+44"),
        ("+3530000000", "+353"),
        ("0079001234567", ""),
        ("+79001234567", "+7"),
    ):
        assert hidden_user(number).split("~")[0] == code


def outputs(path: Path) -> list[str]:
    """All that is written of the calls of a capture where nobody asked for numbers."""
    texts = [run("calls", str(path), *options).stdout for options in ((), ("--ladder", "1"))]
    for table in ("calls", "call_messages", "call_changes", "call_media"):
        for form in ("csv", "ndjson"):
            texts.append(run("calls", str(path), "--table", table, "--format", form).stdout)
        out = path.with_name("hidden.parquet")
        run("calls", str(path), "--table", table, "-o", str(out))
        texts.append(str(pl.read_parquet(out).to_dicts()))
        texts.append(str(tapsight.calls(path, table=table).to_polars().to_dicts()))  # type: ignore[arg-type]
    return texts


def test_numbers_are_hidden_in_odd_places(tmp_path: Path) -> None:
    number, caller, other = "+3225550199", "+32470123456", "4915112345678"
    odd = invite(number, caller).replace(
        b"INVITE sip:+3225550199@192.0.2.2;user=phone", b"INVITE tel:+32-2-555-01-99"
    )
    odd = odd.replace(b"Contact: <sip:+32470123456@192.0.2.1:5060>", b"Contact: <sip:4915112345678>")
    odd = odd.replace(b"Call-ID: 1@192.0.2.1", b"Call-ID: a32470123456b3225550199-alicelast@192.0.2.1")
    odd = odd.replace(b"tag=a", b"tag=4915112345678").replace(
        b"branch=z9hG4bK1", b"branch=z9hG4bK32470123456"
    )
    more = [
        b"User-Agent: phone of +4915112345678",
        b"Record-Route: <sip:alicelast@x@192.0.2.9;lr>, <sip:8.7.6.5.4.3.2.1.1.5.1.9.4.e164.arpa>",
        b"P-Asserted-Identity: <sip:alicelast@192.0.2.1>",
        b"Session-ID: 32470123456",
        b"P-Charging-Vector: icid-value=4915112345678",
        b"Require: 4915112345678",
        b"Replaces: 4915112345678@x;to-tag=1",
        b"Content-Type: application/sdp",
    ]
    odd = odd.replace(b"Content-Type: application/sdp", b"\r\n".join(more))
    again = (
        odd.replace(b"CSeq: 1", b"CSeq: 2")
        .replace(b"<sip:4915112345678>", b"<sip:x@4915112345679>")
        .replace(b"bK3", b"bK4")
    )
    isup = bytes.fromhex("010020000a00020907041023220000100a05841323740000")
    sip_i = odd.replace(b"Content-Type: application/sdp", b"Content-Type: application/isup").replace(
        b"a3247", b"c3247"
    )
    head, _, _ = sip_i.partition(b"Content-Length")
    sip_i = head + f"Content-Length: {len(isup)}\r\n\r\n".encode() + isup
    path = capture(tmp_path / "a.pcap", odd, again, sip_i)
    shown = run("calls", str(path), "--show-numbers", "--format", "csv").stdout
    assert all(each in shown for each in (number, caller, other, "alicelast", "+3222000001"))
    secrets = (
        "25550199",
        "470123456",
        "1511234567",
        "alicelast",
        "22000001",
        "555-01-99",
        "7.6.5.4.3.2.1.1.5",
    )
    for text in outputs(path):
        assert [secret for secret in secrets if secret in text] == []


@pytest.mark.parametrize(
    "user", ["alice", "ALICE", "a-l.i ce", "+1 (555) 010", "\u0131-am", "\u017fam", "1", ""]
)
@pytest.mark.parametrize(
    "text",
    ["", "Alice@h", "xalicex", "sip:1555010@h", "I-AM", "sam", "\u017fam", "10.1.2.3", "-1-", "+4930123456"],
)
def test_a_name_that_is_said_not_to_be_in_a_text_is_not(user: str, text: str) -> None:
    names = _names((user,))
    if _has_none(text, names):
        assert _pattern(names).sub("~", text) == _pattern(()).sub("~", text)


def test_what_almost_looks_like_a_number_takes_no_longer() -> None:
    """RFC 6116 section 3.2: digits with dots between them, before e164.arpa. Of a name that only begins so, each digit is looked at once."""
    pattern = _pattern(_names(("+3222",)))
    for name in (
        "1.2.3.4.5.6.e164.arpa",
        "sip:x@91.2.3.4.5.6.E164.ARPA",
        "1.2.3.4.5.6.x.6.5.4.3.2.1.e164.arpa",
    ):
        assert pattern.sub("~", name).lower().endswith("~")
    assert pattern.sub("~", "1.2.3.4.5.e164.arpa") == "1.2.3.4.5.e164.arpa"
    took = []
    for length in (4_000, 64_000):
        began = time.process_time()
        assert pattern.sub("~", "1." * length) == "1." * length
        took.append(time.process_time() - began)
    assert took[1] < 64 * took[0] + 0.1


def test_a_ladder(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", invite(), invite())
    done = run("calls", str(path), "--ladder", "1@192.0.2.1", "--show-numbers")
    assert done.stdout.splitlines()[0] == f"call 1 at {path.name}: +32470123456 → +3225550199, calling"
    assert re.search(r"0\.000 s +\|-+ INVITE -+>\|", done.stdout)
    assert re.search(r"1\.000 s +\|-+ INVITE \(again\) -+>\|", done.stdout)
    assert "offer audio 192.0.2.1:4000 RTP/AVP sendrecv" in done.stdout
    assert run("calls", str(path), "--ladder", "77").exit_code == 2
    piped = run("calls", "-", "--ladder", "1")
    assert (piped.exit_code, "name a file" in piped.output) == (2, True)


def test_a_call_that_began_before_the_capture_has_no_time(tmp_path: Path) -> None:
    within = invite().replace(b"5550199@192.0.2.2>", b"5550199@192.0.2.2>;tag=b")
    ack = within.replace(b"INVITE sip", b"ACK sip").replace(b"CSeq: 1 INVITE", b"CSeq: 1 ACK")
    bye = within.replace(b"INVITE sip", b"BYE sip").replace(b"CSeq: 1 INVITE", b"CSeq: 2 BYE")
    for payloads, began, state in (
        ((ack, bye), "before", "ended"),
        # Messages within a call alone, of which none ends it.
        ((within, ack), "before", "unknown"),
        ((invite(), bye), "2023-11-14 22:13:20", "ended"),
    ):
        text = run("calls", str(capture(tmp_path / "a.pcap", *payloads))).stdout
        head, line = text.splitlines()
        # 1,700,000,000 s after 1970; the last message comes a second later.
        assert line[head.index("began") :].startswith(f"{began}  "), text
        assert line[head.index("state") :].startswith(state), text


def test_why_a_call_failed_is_told_if_it_is_known() -> None:
    row = {
        "call": 1, "began": 0, "caller": None, "callee": None, "talk_ms": None, "codecs_agreed": None, "encryption": None,
        "tap": "a", "src": bytes(16), "dst": bytes(16), "final_status": None, "cause": None,
    }  # fmt: skip
    for state, status, cause, told in (
        ("failed", 486, None, "failed 486"),
        ("failed", 486, 17, "failed 486"),
        ("failed", None, 17, "failed, cause 17"),
        ("failed", None, None, "failed"),
        ("redirected", 302, None, "redirected 302"),
        ("ended", 200, 16, "ended"),
    ):
        text = calls_text([{**row, "state": state, "final_status": status, "cause": cause}], None)
        assert re.search(rf" {told}  ", text), text
        assert "None" not in text


def test_a_capture_without_calls_says_what_was_looked_for(tmp_path: Path) -> None:
    text = run("calls", str(capture(tmp_path / "a.pcap", b"hello"))).stdout
    assert text.startswith("no calls: ")
    assert all(name in text for name in ("SIP", "ISUP", "BICC", "H.323", "Skinny"))


def test_the_table_is_cut_only_to_a_width_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = "+32" + "4" * 90
    path = capture(tmp_path / f"{'long' * 20}.pcap", invite(caller=caller))
    monkeypatch.delenv("COLUMNS", raising=False)
    head, line = run("calls", str(path), "--show-numbers").stdout.splitlines()
    assert len(line) > 200
    assert "192.0.2.1 → 192.0.2.2" in line
    assert line.endswith(path.name)
    assert "…" not in line
    # Where a call went comes before how it was coded and where it was seen.
    assert " ".join(head.split()) == "call began caller callee state talk from → to encryption codec tap"
    monkeypatch.setenv("COLUMNS", "60")
    for each in run("calls", str(path)).stdout.splitlines():
        assert len(each) == 60
        assert each.endswith("…")
    monkeypatch.setenv("COLUMNS", "what")
    assert "…" not in run("calls", str(path)).stdout


def test_the_table_says_where_calls_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = tmp_path / "own.csv"
    table.write_text("prefix,country\n192.0.2.1/32,BE\n192.0.2.2/32,NL\n")
    path = capture(tmp_path / "a.pcap", invite(number="+3225550199", caller="+4930123456"))
    for options in (("--places", str(table)), ("--places", str(table), "--home", "BE")):
        head, line = run("calls", str(path), *options).stdout.splitlines()
        # +49 is Germany's and +32 Belgium's (E.164); media are announced at 192.0.2.1.
        for name, cell in (
            ("numbers", "DE → BE"),
            ("signalling", "BE,NL"),
            ("media", "BE"),
            ("disagrees", "signalling NL"),
        ):
            assert re.split(r"  +", line[head.index(name) :])[0] == cell, name
    assert "disagrees" not in run("calls", str(path)).stdout
    assert run("calls", str(path), "--located", "-o", "-").stdout.startswith('"call",')


def test_a_hidden_call_id_finds_its_call(tmp_path: Path) -> None:
    call_id = "105090259-446faf7a@192.0.2.1"
    path = capture(tmp_path / "a.pcap", invite(call_id="other@x"), invite(call_id=call_id))
    done = run("calls", str(path), "--ladder", call_id)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"call 2 at {path.name}: ")
    assert done.stdout.count("INVITE") == 1
    # Whoever knows the Call-ID learns nothing else by it.
    for secret in ("105090259", "470123456", "25550199"):
        assert secret not in done.stdout
    assert call_id not in run("calls", str(path), "--format", "csv").stdout
    assert run("calls", str(path), "--ladder", "105090259").exit_code == 2


def test_text_of_captures_does_not_steer_terminals(tmp_path: Path) -> None:
    bad = invite().replace(b"1@192.0.2.1", b"1\x1b[2J@x").replace(b"m=audio", b"m=au\x1b[31mdio")
    path = capture(tmp_path / "a.pcap", bad.replace(b"INVITE sip:+3225550199", b"INVITE sip:%1b]0;x"))
    for options in (
        (),
        ("--ladder", "1"),
        ("--show-numbers",),
        ("--table", "call_media"),
        ("--format", "csv"),
    ):
        assert "\x1b" not in run("calls", str(path), *options).stdout


def test_ladders_of_many_addresses() -> None:
    rows = [
        {
            "src": bytes([0] * 15 + [at]), "dst": bytes([0] * 15 + [at + 1]), "ts": at * 10**9, "method": None, "status": 200,
            "cseq_method": "INVITE", "is_retransmission": False, "is_complete": at != 1, "sdp": None, "media": None,
        }
        for at in range(6)
    ]  # fmt: skip
    for width in (20, 80, 200):
        text = ladder("x", rows, width, colour=False)
        assert text.count("200 INVITE") == 6
        assert "(cut)" in text
    assert "\x1b[32m" in ladder("x", rows, 80, colour=True)


def test_ladders_stay_as_wide_whatever_a_capture_holds() -> None:
    """Thousands of addresses in one call: the first have a bar, the others are named, and all messages are there."""
    rows = [
        {
            "src": at.to_bytes(16, "big"), "dst": bytes(16), "ts": at, "method": "INVITE", "status": None, "cseq_method": "INVITE",
            "is_retransmission": False, "is_complete": True, "sdp": "offer", "media": ["audio 192.0.2.1:4000\x1b[2J"],
        }
        for at in range(1, 2001)
    ]  # fmt: skip
    text = ladder("x", rows, 120, colour=False)
    assert text.count("INVITE") == 2000
    assert max(map(len, text.splitlines())) < 16 * 40
    # 2,001 addresses, 16 of which have a bar.
    assert text.splitlines()[-1] == "1,985 more addresses without a bar"
    assert "\x1b" not in text


def test_a_ladder_is_in_the_order_of_time() -> None:
    rows = [
        {
            "src": bytes(16), "dst": bytes([0] * 15 + [1]), "ts": at * 10**9, "method": name, "status": None,
            "cseq_method": name, "is_retransmission": False, "is_complete": True, "sdp": None, "media": None,
        }
        for at, name in ((3, "BYE"), (1, "INVITE"), (2, "ACK"))
    ]  # fmt: skip
    lines = ladder("x", rows, 80, colour=False).splitlines()[2:]
    assert [re.sub(r"[^A-Z0-9.]", "", line) for line in lines] == ["0.000INVITE", "1.000ACK", "2.000BYE"]


HEPLIFY = "sipcapture__heplify/example__pcap__sip_tcp_websocket.pcap"
NDPI = "ntop__nDPI/tests__cfgs__default__pcap__"


def told(path: Path, condition: str, *names: str) -> list[list[str]]:
    """Fields of the messages of a capture, as tshark has them."""
    command = ["tshark", "-r", str(path), "-Y", condition, "-T", "fields", "-E", "occurrence=f"]
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line.split("\t") for line in done.stdout.splitlines()]


@needs_tshark
def test_messages_that_were_cut_are_neither_in_clear_nor_late(captures: Path) -> None:
    path = captures / HEPLIFY
    made = tables(path)
    rows = told(path, "sip.Method == INVITE", "sip.Call-ID", "frame.time_epoch", "sip.CSeq.seq")
    call_id = "kovfhoptshgn59q712sr"
    call = made["calls"].row(by_predicate=pl.col("call_id") == call_id, named=True)
    messages = made["call_messages"].filter(pl.col("call") == call["call"])
    # tshark puts the segments on this port together: all profiles of this call are of DTLS-SRTP.
    profiles = told(path, f'sip.Call-ID == "{call_id}" && sdp', "sdp.media.proto")
    assert {profile for (profile,) in profiles} == {"UDP/TLS/RTP/SAVPF"}
    assert (call["began_before"], call["encryption"], call["encryption_lost"]) == (False, "dtls-srtp", False)
    assert [row[2] for row in rows if row[0] == call_id] == ["2206", "2207", "2207"]
    # The first segment of an INVITE comes just before the one with which tshark has all of it.
    first = float(next(row[1] for row in rows if row[0] == call_id))
    assert 0 <= first - call["began"].timestamp() < 0.05
    assert messages["ts"].is_sorted()
    assert call["frames"] == sorted(call["frames"])
    media = made["call_media"].filter(pl.col("call") == call["call"])
    assert "none" not in media["encryption"].to_list()
    cut = messages.filter(~pl.col("is_complete"))["frame"].to_list()
    assert {16, 33} <= set(cut)
    assert media.filter(pl.col("frame").is_in([16, 33]))["encryption"].null_count() > 1


@needs_tshark
def test_a_call_that_is_challenged_is_one(captures: Path) -> None:
    path = captures / f"{NDPI}sip.pcap"
    ids = {call_id for (call_id,) in told(path, "sip.CSeq.method == INVITE", "sip.Call-ID")}
    finals = dict(
        told(path, "sip.CSeq.method == INVITE && sip.Status-Code >= 300", "sip.Call-ID", "sip.Status-Code")
    )
    calls = tables(path)["calls"]
    assert len(calls) == len(ids) == 4
    assert {row["call_id"]: str(row["final_status"]) for row in calls.to_dicts()} == finals


@needs_tshark
def test_sides_are_those_of_who_sends(captures: Path) -> None:
    """Of two calls between two hosts, one each way: requests of a dialog with tags that no message had before are no other side's."""
    path = captures / "snort3__snort3_demo/tests__framework__classification_and_references__digium.pcap"
    made = tables(path)
    sent = told(path, "sip", "frame.number", "sip.Call-ID", "ip.src")
    callers: dict[str, str] = {}
    for _, call_id, src in sent:
        callers.setdefault(call_id, src)
    expected = {int(frame): "caller" if src == callers[call_id] else "callee" for frame, call_id, src in sent}
    messages = made["call_messages"]
    assert len(messages) > 15
    assert messages["side"].to_list() == [expected[frame] for frame in messages["frame"]]


def test_fields_say_what_they_mean() -> None:
    for table in ("calls", "call_messages", "call_changes", "call_media"):
        for field in tapsight.calls("x", table=table).schema:  # type: ignore[arg-type]
            assert field.metadata[b"description"]
    with pytest.raises(ValueError, match="there are: calls"):
        tapsight.calls("x", table="other")  # type: ignore[arg-type]


@needs_sipp
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_of_sipp(tmp_path: Path, transport: str) -> None:
    voice, scenario = tmp_path / "voice.ulaw", tmp_path / "call.xml"
    voice.write_bytes(random.Random(0).randbytes(80_000))
    text = (HERE / "call.xml").read_text().replace("voice.ulaw", str(voice))
    text = text.replace('"2500"', '"1500"').replace("sip:caller@", "sip:+32470123456@")
    text = text.replace("[pid]-[call_number]", "agreed-tag")
    more = [
        "User-Agent: agreed agent",
        "Session-ID: ab30317f1a784dc48ff824d0d3715d86",
        "P-Charging-Vector: icid-value=agreed-icid",
    ]
    text = text.replace(
        "    CSeq: 1 INVITE\n", "    CSeq: 1 INVITE\n" + "".join(f"    {line}\n" for line in more)
    )
    scenario.write_text(text.replace("    CSeq: 2 BYE\n", "    CSeq: 2 BYE\n    Reason: Q.850;cause=16\n"))
    path = tmp_path / "call.pcap"
    mode = ("-t", "u1" if transport == "udp" else "t1")
    with Network(tmp_path) as network:
        here = network.namespace("calls")
        here.ip("addr add 192.0.2.1/32 dev lo", "addr add 192.0.2.2/32 dev lo")
        network.start(
            here,
            "sipp",
            "-sn",
            "uas",
            "-i",
            "192.0.2.2",
            "-mi",
            "192.0.2.2",
            "-mp",
            "7000",
            "-nostdin",
            *mode,
        )
        with captured(network, [(here, "lo", path)]):
            client = network.start(
                here, "sipp", "192.0.2.2:5060", "-sf", scenario, "-s", "+3225550199", "-m", "1", "-timeout", "20", "-nostdin",
                "-i", "192.0.2.1", "-mi", "192.0.2.1", "-mp", "6000", "-p", "5070", "-cid_str", "%u-%p@agreed", *mode,
            )  # fmt: skip
            network.finish(client)
    found = tables(path)
    assert len(found["calls"]) == 1
    call = found["calls"].row(0, named=True)
    expected = {
        "state": "ended", "ended_by": "caller", "final_status": 200, "began_before": False, "transport": transport,
        "caller": "+32470123456", "caller_source": "From", "callee": "+3225550199", "callee_source": "Request-URI",
        "from_host": "192.0.2.1:5070", "to_host": "192.0.2.2:5060", "request_host": "192.0.2.2:5060",
        "addresses": ["192.0.2.1", "192.0.2.2"], "via": ["192.0.2.1:5070"], "caller_media": ["audio 192.0.2.1:6000"],
        "callee_media": ["audio 192.0.2.2:7000"], "codecs_offered": ["PCMU/8000"], "codecs_agreed": ["PCMU/8000"],
        "encryption": "none", "encryption_lost": False, "retransmissions": 0, "incomplete": 0, "messages": 6,
        "from_tag": "agreed-tag", "from_user": "+32470123456", "to_user": "+3225550199", "request_user": "+3225550199",
        "caller_agent": "agreed agent", "callee_agent": None, "cause": 16, "icid": "agreed-icid", "joins": None,
        "session_id": "ab30317f1a784dc48ff824d0d3715d86", "asserted_user": None, "diverted_by": None, "history": None,
        "received": None, "route": None, "redirect_users": None, "refer_user": None, "replaces": None, "is_siprec": False,
        "encap": None, "vlan": None, "require": None, "isup_called": None, "encryption_offered": None,
    }  # fmt: skip
    assert {name: call[name] for name in expected} == expected
    # What sipp's own scenario of who is called puts there.
    assert len(call["to_tags"]) == 1
    assert re.fullmatch(r"\d+SIPpTag01\d+", call["to_tags"][0])
    assert tapsight.addresses.to_text(pl.Series([call["src"], call["dst"]])).to_list() == [
        "192.0.2.1",
        "192.0.2.2",
    ]
    assert call["began"] <= call["rang"] <= call["answered"] < call["ended"] <= call["last"]
    assert call["post_dial_ms"] == (call["rang"] - call["began"]).total_seconds() * 1000 // 1
    assert call["frames"] == found["call_messages"]["frame"].to_list()
    assert call["call_id"].endswith("@agreed")
    assert 1500 <= call["talk_ms"] <= 2500
    assert call["contacts"][0] == "192.0.2.1:5070"
    messages = found["call_messages"]
    told = [row["method"] or str(row["status"]) for row in messages.iter_rows(named=True)]
    assert told == ["INVITE", "180", "200", "ACK", "BYE", "200"]
    assert messages["sdp"].to_list() == ["offer", None, "answer", None, None, None]
    media = found["call_media"]
    assert media["is_agreed"].all()
    assert media["port"].to_list() == [6000, 7000]
    assert len(found["call_changes"]) == 0
    assert_agrees(path)


def baresip_config(folder: Path, user: str, port: int, media: str, encryption: str, more: str) -> Path:
    folder.mkdir()
    modules = next(Path("/usr/lib").glob("**/baresip/modules"), Path("/usr/lib/baresip/modules"))
    names = ("g711", "aufile", "srtp", "dtls_srtp")
    with wave.open(str(folder / "voice.wav"), "wb") as voice:
        voice.setparams((1, 2, 8000, 0, "NONE", "none"))
        voice.writeframes(random.Random(0).randbytes(16_000 * 10))
    lines = [
        f"sip_listen 192.0.2.{user[-1]}:{port}",
        "call_local_timeout 60",
        "call_max_calls 2",
        "audio_player aufile,/dev/null",
        f"audio_source aufile,{folder / 'voice.wav'}",
        "audio_alert aufile,/dev/null",
        f"rtp_ports {media}",
        "rtcp_mux no",
        f"module_path {modules}",
        *(f"module {name}.so" for name in names),
        "module_app account.so",
        "module_app menu.so",
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    account = f"<sip:{user}@192.0.2.{user[-1]}:{port}>;regint=0;audio_codecs=pcma{encryption}{more}\n"
    (folder / "accounts").write_text(account)
    (folder / "contacts").write_text("")
    return folder


@needs_baresip
@pytest.mark.parametrize(
    ("mode", "expected"),
    [("", "none"), (";mediaenc=srtp-mand", "sdes"), (";mediaenc=dtls_srtp", "dtls-srtp")],
)
def test_a_call_of_baresip(tmp_path: Path, mode: str, expected: str) -> None:
    path = tmp_path / "call.pcap"
    callee = baresip_config(tmp_path / "callee", "322555012", 5062, "21000-21010", mode, ";answermode=auto")
    caller = baresip_config(tmp_path / "caller", "324701231", 5061, "20000-20010", mode, "")
    with Network(tmp_path) as network:
        here = network.namespace("calls")
        here.ip("addr add 192.0.2.1/32 dev lo", "addr add 192.0.2.2/32 dev lo")
        network.start(here, "baresip", "-4", "-f", callee, "-t", "8", seconds=20)
        with captured(network, [(here, "lo", path)]):
            client = network.start(
                here,
                "baresip",
                "-4",
                "-f",
                caller,
                "-t",
                "4",
                "-e",
                "/dial sip:322555012@192.0.2.2:5062",
                seconds=20,
            )
            client.wait(20)
    found = tables(path)
    assert len(found["calls"]) == 1
    call = found["calls"].row(0, named=True)
    wanted = {
        "state": "ended", "ended_by": "caller", "caller": "324701231", "callee": "322555012", "transport": "udp",
        "encryption": expected, "encryption_offered": None if expected == "none" else [expected], "encryption_lost": False,
        "codecs_agreed": ["PCMA/8000"], "final_status": 200, "incomplete": 0,
    }  # fmt: skip
    assert {name: call[name] for name in wanted} == wanted
    assert "baresip" in call["caller_agent"]
    assert "baresip" in call["callee_agent"]
    # Tags are those of every message of the dialog (RFC 3261 section 12).
    for row in found["call_messages"].filter(pl.col("side") == "caller").iter_rows(named=True):
        assert call["from_tag"] in {row["from_tag"], row["to_tag"]}
    answers = found["call_messages"].filter(pl.col("status") == 200)
    assert set(call["to_tags"]) <= set(answers["to_tag"]) | set(answers["from_tag"])
    assert len(call["to_tags"]) == 1
    assert (call["from_user"], call["to_user"], call["request_user"]) == (
        "324701231",
        "322555012",
        "322555012",
    )
    assert call["joins"] is None
    media = found["call_media"]
    assert set(media["side"]) == {"caller", "callee"}
    ports = dict(media.select("side", "port").iter_rows())
    assert 20000 <= ports["caller"] <= 20010
    assert 21000 <= ports["callee"] <= 21010
    if expected == "sdes":
        assert "AES_CM_128_HMAC_SHA1_80" in media["suites"][0]
    assert_agrees(path)


def tshark_messages(path: Path) -> list[dict[str, Any]]:
    """The SIP messages that tshark finds, put together from segments and fragments."""
    command = [
        "tshark",
        "-r",
        str(path),
        "-Y",
        "sip",
        "-T",
        "pdml",
        "-o",
        "sip.desegment_headers:TRUE",
        "-o",
        "sip.desegment_body:TRUE",
    ]
    # Packets in ESP without encryption are read here too.
    command += ["-o", "esp.enable_null_encryption_decode_heuristic:TRUE"]
    # What tshark takes for X11 by its port.
    command += ["-d", "tcp.port==6060,sip"]
    done = subprocess.run(command, capture_output=True, check=False)
    found = []
    for packet in ET.fromstring(done.stdout):
        number = next(field.get("show") for field in packet.iter("field") if field.get("name") == "num")
        for proto in packet.iter("proto"):
            if proto.get("name") != "sip":
                continue
            values: dict[str, list[str]] = defaultdict(list)
            for field in proto.iter("field"):
                values[field.get("name", "")].append(field.get("show", ""))
            found.append({"frame": int(number or 0), "values": values})
    return found


DIFFERENT = {
    "docs__assets__pcapng__nonipsec_to_ipsec_call.pcapng": "calls in ESP of which packets are fragments: not put together here",
    "tests__framework__classification_and_references__digium.pcap": "a description whose lines end without a return: not read by tshark",
}
"""Captures of which the media, or messages that one reader lacks, are not compared."""


def assert_agrees(path: Path) -> tuple[int, int]:
    """Asserts that tshark sees the same calls, messages of them and media; returns how many calls and messages there were."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    theirs: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for message in tshark_messages(path):
        values = message["values"]
        call_id = next(iter(values["sip.Call-ID"]), None)
        if call_id is None:
            continue
        name = next(iter(values["sip.Method"] or values["sip.Status-Code"]), "")
        ports = sorted({port for port in values["sdp.media.port"] if port.isdigit()})
        theirs[call_id].append((message["frame"], name, " ".join(ports)))
    found = tables(path)
    ids = dict(found["calls"].select("call", "call_id").iter_rows())
    ours: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for row in found["call_messages"].iter_rows(named=True):
        name = row["method"] or str(row["status"])
        ports = sorted({re.findall(r":([0-9]+) ", medium)[0] for medium in row["media"] or ()})
        ours[ids[row["call"]]].append((row["frame"], name, " ".join(ports)))

    def called(all_rows: dict[str, list[tuple[int, str, str]]]) -> set[str]:
        return {call_id for call_id, rows in all_rows.items() if any(name == "INVITE" for _, name, _ in rows)}

    assert called(ours) == called(theirs), path.name
    for call_id in sorted(called(ours)):
        # What came before the first message that belongs to a call is left out.
        first = ours[call_id][0][0]
        expected = [row for row in theirs[call_id] if row[0] >= first]
        if path.name in DIFFERENT:
            assert {row[:2] for row in ours[call_id]} <= {row[:2] for row in expected}
        elif "websocket" in path.name:
            # Messages in several masked segments: told, at the first segment, and incomplete.
            assert {row[1] for row in ours[call_id]} == {row[1] for row in expected}
        else:
            assert ours[call_id] == expected, (path.name, call_id)
    return len(called(ours)), sum(len(ours[call_id]) for call_id in called(ours))


USERS = {
    field.name for field in tapsight.calls(b"").schema if (field.metadata or {}).get(b"personal") == b"user"
}

SIP_CAPTURES = [
    row["file"]
    for row in capture_index()
    # What is fuzzed, each reader guesses in its own way.
    if "fuzz" not in row["file"]
    and (
        "sip" in row["tags"].split(",")
        or any(word in row["file"].lower() for word in ("sip", "voip", "asterisk"))
    )
]


@pytest.mark.parametrize("name", SIP_CAPTURES or ["-"])
def test_numbers_of_captures_are_hidden(captures: Path, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.symlink_to(captures / name)
    found = tables(path)["calls"]
    users = [user for column in found.columns if column in USERS for user in found[column].drop_nulls()]
    numbers = {
        digits
        for each in users
        for user in ([each] if isinstance(each, str) else each)
        if len(digits := re.sub(r"[-.()+ ]", "", user)) >= 7 and digits.isdigit()
    }
    if not numbers:
        return
    for text in outputs(path):
        assert [number for number in numbers if number in text] == []


@pytest.mark.parametrize("name", SIP_CAPTURES or ["-"])
def test_tshark_sees_the_same_calls(captures: Path, name: str) -> None:
    assert_agrees(captures / name)


def test_documentation_names_every_column() -> None:
    text = (ROOT / "docs/calls.md").read_text()
    for table in ("calls", "call_messages", "call_changes", "call_media"):
        for field in tapsight.calls("x", table=table).schema:  # type: ignore[arg-type]
            assert f"`{field.name}`" in text
