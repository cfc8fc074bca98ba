"""Calls beside tshark: who called whom, what became of each call, and where its media were to go, by tshark's fields of single messages.

What becomes of a call is derived here from methods and status codes, by RFC 3261 (sections 9, 13, 15) and RFC 6141: tshark's own list of calls is not
in its terminal. As a command, prints the figures of docs/calls.md.
"""

from __future__ import annotations

import ipaddress
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

import tapsight

UNANSWERED = 300.0
"""After how many seconds without a message an unanswered call is taken for timed out."""

FIELDS = ("from_user", "to_user", "from_tag", "state", "final_status", "media")

REASONS = {
    "docs__assets__pcapng__nonipsec_to_ipsec_call.pcapng": "a `tel` URI, of which tshark names no user, or one with its parameters",
    "example__pcap__sip_ipv4_tcp_fragmented.pcap": "it began before the capture: whether its 200 answers the call or a later INVITE, nobody can tell; "
    "`final_status` is null here",
    "example__pcap__sip_ipv6_udp.pcap": "its messages are years apart: each is a call of its own here",
    "tests__framework__classification_and_references__digium.pcap": "messages whose lines end without a return, which tshark does not read",
}
"""Why calls of a capture differ."""


@dataclass
class Message:
    """A message, as tshark reads it."""

    frame: int
    ts: float
    values: dict[str, list[str]]
    media: set[tuple[str, int]] = field(default_factory=set)

    def first(self, name: str) -> str:
        return next(iter(self.values.get(name, ())), "")


def messages(path: Path) -> tuple[list[Message], float]:
    """The SIP messages of a capture, put together from segments and fragments, and when it ends."""
    command = ["tshark", "-r", str(path), "-Y", "sip", "-T", "pdml", "-d", "tcp.port==6060,sip"]
    for option in (
        "sip.desegment_headers:TRUE",
        "sip.desegment_body:TRUE",
        "esp.enable_null_encryption_decode_heuristic:TRUE",
    ):
        command += ["-o", option]
    done = subprocess.run(command, capture_output=True, check=False)
    found = []
    for packet in ET.fromstring(done.stdout):
        of = {each.get("name"): each.get("value") for each in packet.iter("field")}
        shown = {each.get("name"): each.get("show") for each in packet.iter("field")}
        for proto in packet.iter("proto"):
            if proto.get("name") == "sip":
                made = Message(int(shown["num"] or 0), float(of["timestamp"] or 0), defaultdict(list))
                read(made, proto)
                found.append(made)
    times = ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.time_epoch"]
    last = max(map(float, subprocess.run(times, capture_output=True, text=True, check=False).stdout.split()))
    return found, last


def read(message: Message, proto: ET.Element) -> None:
    session = current = None
    port = None
    for each in proto.iter("field"):
        name, show = each.get("name", ""), each.get("show", "")
        message.values[name].append(show)
        if name == "sdp.connection_info.address":
            if port is None:
                session = show
            current = show
        elif name == "sdp.media":
            port, current = 0, session
        # The media line comes before the connection that is its own: an endpoint is known at the next one, or the end.
        if name == "sdp.media.port" and show.isdigit():
            port = int(show)
        if (
            port is not None
            and current is not None
            and name in {"sdp.media.port", "sdp.connection_info.address"}
        ):
            if name == "sdp.connection_info.address":
                message.media.discard((str(session), port))
            message.media.add((current, port))


def ending(told: list[Message], end: float) -> tuple[str, int | None]:
    """What became of a call, and the last final status of an INVITE."""
    state, final = "unknown", None
    confirmed: set[str] = set()
    ended: set[str] = set()
    answered = False
    caller = told[0].first("sip.from.tag")
    invite = -1
    for message in told:
        method, kind = message.first("sip.Method"), message.first("sip.CSeq.method")
        sequence = int(message.first("sip.CSeq.seq") or 0)
        tags = message.first("sip.from.tag"), message.first("sip.to.tag")
        other = tags[1] if tags[0] == caller else tags[0]
        status = int(message.first("sip.Status-Code") or 0)
        if method == "INVITE" and not tags[1]:
            # A request that is made again with another sequence number, as after a challenge (RFC 3261 section 22).
            if (state == "unknown" and message is told[0]) or (
                state in {"failed", "redirected"} and sequence > invite
            ):
                state = "calling"
            invite = max(invite, sequence)
        elif method == "CANCEL" and not answered and state in {"calling", "ringing", "unknown"}:
            state = "cancelled"
        elif method == "BYE":
            ended.add(other)
            if not confirmed - ended:
                state = "ended"
        elif status and kind == "INVITE":
            if status >= 200:
                final = status
            if 180 <= status < 190 and not answered and state in {"calling", "ringing", "unknown"}:
                state = "ringing"
            elif 200 <= status < 300:
                confirmed.add(tags[1])
                if state != "ended":
                    state, answered = "answered", True
            elif status >= 300 and not answered and state in {"calling", "ringing", "unknown"}:
                state = "redirected" if status < 400 else "failed"
    if state in {"calling", "ringing"} and end - told[-1].ts > UNANSWERED:
        state = "timed-out"
    return state, final


def theirs(path: Path) -> dict[str, dict[str, Any]]:
    """Calls by Call-ID, by tshark's fields."""
    by_id: dict[str, list[Message]] = defaultdict(list)
    found, end = messages(path)
    for message in found:
        if message.first("sip.Call-ID"):
            by_id[message.first("sip.Call-ID")].append(message)
    calls = {}
    for call_id, told in by_id.items():
        if not any(message.first("sip.CSeq.method") == "INVITE" for message in told):
            continue
        # What comes before the first message that can be of a call is none of it.
        kinds = {"INVITE", "BYE", "ACK", "UPDATE", "PRACK", "CANCEL"}
        while told and told[0].first("sip.CSeq.method") not in kinds:
            told.pop(0)
        first = told[0]
        state, final = ending(told, end)
        media: set[tuple[str, int]] = set()
        for message in told:
            media |= {(addr, port) for addr, port in message.media if is_address(addr)}
        calls[call_id] = {
            "from_user": first.first("sip.from.user") or None,
            "to_user": first.first("sip.to.user") or None,
            "from_tag": first.first("sip.from.tag") or None,
            "state": state,
            "final_status": final,
            "media": media,
        }
    return calls


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def table(path: Path, name: str) -> pl.DataFrame:
    calls = tapsight.calls(path, table=name, show_numbers=True)  # type: ignore[arg-type]
    frame = pl.from_arrow(pa.Table.from_batches(list(calls.read(str)), calls.schema))
    assert isinstance(frame, pl.DataFrame)
    return frame


def ours(path: Path) -> dict[str, dict[str, Any]]:
    """The same, of ours."""
    media: dict[int, set[tuple[str, int]]] = defaultdict(set)
    endpoints = table(path, "call_media").filter(pl.col("addr").is_not_null() & ~pl.col("is_candidate"))
    for row in endpoints.iter_rows(named=True):
        addr = ipaddress.ip_address(row["addr"])
        assert isinstance(addr, ipaddress.IPv6Address)
        media[row["call"]].add((str(addr.ipv4_mapped or addr), row["port"]))
    sip = table(path, "calls").filter(pl.col("transport").is_in(["udp", "tcp", "sctp", "ws"]))
    return {
        row["call_id"]: {name: row[name] for name in FIELDS if name != "media"}
        | {"media": media[row["call"]]}
        for row in sip.iter_rows(named=True)
    }


@dataclass
class Compared:
    """What was compared."""

    captures: int = 0
    calls: int = 0
    agree: int = 0
    missing: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    differ: list[tuple[str, str, str, Any, Any]] = field(default_factory=list)

    def add(self, path: Path) -> None:
        expected, found = theirs(path), ours(path)
        if not expected:
            return
        self.captures += 1
        for call_id, call in expected.items():
            self.calls += 1
            mine = found.get(call_id)
            if mine is None:
                self.missing += 1
                self.differ.append((path.name, call_id, "call", call, None))
                continue
            wrong = [name for name in FIELDS if mine[name] != call[name]]
            self.agree += not wrong
            self.fields.update(wrong)
            self.differ.extend((path.name, call_id, name, call[name], mine[name]) for name in wrong)

    def text(self) -> str:
        by_capture = Counter(
            {name: len({row[1] for row in self.differ if row[0] == name}) for name, *_ in self.differ}
        )
        names = ", ".join(f"`{name}`" for name in FIELDS)
        head = f"Of {self.calls} calls in {self.captures} captures, {self.agree} agree with tshark in every compared field ({names}). The others:"
        lines = [
            head,
            "",
            *(
                f"- {count} of `{name}`: {REASONS.get(name, 'not explained')}"
                for name, count in sorted(by_capture.items())
            ),
        ]
        return "\n".join(lines) + "\n"


def sip_captures(folder: Path) -> list[Path]:
    """The captures with SIP; what is fuzzed, each reader guesses in its own way."""
    rows = [line.split("\t") for line in (folder / "INDEX.tsv").read_text().splitlines()]
    at = {name: number for number, name in enumerate(rows[0])}
    words = ("sip", "voip", "asterisk")
    return [
        folder / row[at["file"]]
        for row in rows[1:]
        if "fuzz" not in row[at["file"]]
        and ("sip" in row[at["tags"]].split(",") or any(word in row[at["file"]].lower() for word in words))
    ]


def compare(folder: Path) -> Compared:
    compared = Compared()
    for path in sip_captures(folder):
        compared.add(path)
    return compared


if __name__ == "__main__":
    from conftest import captures_dir

    found = compare(Path(sys.argv[1]) if len(sys.argv) > 1 else captures_dir() or Path())
    sys.stdout.write(found.text())
    for row in found.differ:
        sys.stderr.write("\t".join(map(str, row)) + "\n")
