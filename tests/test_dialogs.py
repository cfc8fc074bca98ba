"""Hand-made dialogs: calls led elsewhere (B12), media hijacked (B13), encryption that falls (B16), and what is honest."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import pytest

import tapsight
from tapsight.checks.b16 import fall, tail
from tapsight.lab.packet import UDP, Packet, ethernet

A, B, EVIL = "198.51.100.10", "203.0.113.10", "192.0.2.66"
NEAR = f'[checks.B12]\npeers = ["198.51.100.0/24", "{B}"]\n'
NET = f'[checks.B12]\npeers = ["{A}", "{B}"]\n[checks.B13]\nmedia = ["{A}", "{B}"]\n'


def sdp(addr: str, *, keys: bool = False, direction: str = "sendrecv") -> str:
    profile = "RTP/SAVP" if keys else "RTP/AVP"
    crypto = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'d' * 40}\r\n" if keys else ""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {addr}\r\ns=-\r\nc=IN IP4 {addr}\r\nt=0 0\r\n"
        f"m=audio 20000 {profile} 8\r\na=rtpmap:8 PCMA/8000\r\n{crypto}a={direction}\r\n"
    )


def message(
    src: str, first: str, cseq: int, body: str = "", contact: str = "", call: str = "a", tag: bool = True
) -> str:
    return (
        f"{first}\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bK{cseq}\r\nFrom: <sip:x@{A}>;tag=1\r\n"
        f"To: <sip:y@{B}>{';tag=2' if tag else ''}\r\nCall-ID: {call}\r\nCSeq: {cseq} INVITE\r\n"
        f"Contact: <sip:z@{contact or src}>\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )


def invite(body: str, cseq: int = 1, contact: str = "", call: str = "a") -> tuple[str, str, str]:
    return A, B, message(A, f"INVITE sip:y@{B} SIP/2.0", cseq, body, contact, call, tag=cseq > 1)


def answer(
    body: str, cseq: int = 1, status: str = "200 OK", contact: str = "", call: str = "a"
) -> tuple[str, str, str]:
    return B, A, message(B, f"SIP/2.0 {status}", cseq, body, contact, call)


def write(path: Path, messages: list[tuple[str, str, str]]) -> str:
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for n, (src, dst, text) in enumerate(messages):
        packet = Packet(src, dst, UDP, 5060, 5060, text.encode(), ip_id=n + 1)
        frame = ethernet(b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", packet.encode(), 7)
        out += struct.pack("<IIII", 1_767_225_600 + n, 0, len(frame), len(frame)) + frame
    path.write_bytes(out)
    return str(path)


def found(tmp_path: Path, check: str, policy: str | None, **taps: list[tuple[str, str, str]]) -> list[Any]:
    rules = tmp_path / "policy.toml"
    rules.write_text(policy or "")
    sources = {tap: write(tmp_path / f"{tap}.pcap", messages) for tap, messages in taps.items()}
    result = tapsight.check(sources, policy=rules if policy else None, threads=1)
    rows = result.findings.select(["check", "severity", "sentence"]).to_pylist()
    return [(row["severity"], row["sentence"]) for row in rows if row["check"] == check]


CALL = [invite(sdp(A)), answer(sdp(B))]


@pytest.mark.parametrize("policy", [None, NET])
def test_honest_calls_raise_nothing(tmp_path: Path, policy: str | None) -> None:
    hold = [*CALL, invite(sdp(A, direction="sendonly"), 2), answer(sdp(B, direction="recvonly"), 2)]
    for check in ("B12", "B13", "B16"):
        assert found(tmp_path, check, policy, t=hold) == []


@pytest.mark.parametrize(("policy", "severity"), [(None, "low"), (NET, "high")])
def test_a_target_that_changes_within_a_call(tmp_path: Path, policy: str | None, severity: str) -> None:
    ((told, text),) = found(tmp_path, "B12", policy, t=[*CALL, invite("", 2, EVIL)])
    assert told == severity
    assert EVIL in text
    # Another host of the same network may be of the same cluster, where no list says otherwise.
    near = found(tmp_path, "B12", policy, t=[*CALL, invite("", 2, "198.51.100.11")])
    assert len(near) == (policy is not None)
    assert found(tmp_path, "B12", NEAR if policy else None, t=[*CALL, invite("", 2, "198.51.100.11")]) == []


def test_a_redirection(tmp_path: Path) -> None:
    sent = [invite(sdp(A)), answer("", 1, "302 Moved", EVIL)]
    ((severity, text),) = found(tmp_path, "B12", NET, t=sent)
    assert (severity, EVIL in text, "302" in text) == ("high", True, True)
    assert found(tmp_path, "B12", None, t=sent) == []


def test_a_description_that_differs_between_taps(tmp_path: Path) -> None:
    rows = found(tmp_path, "B13", NET, inside=CALL, outside=[invite(sdp(EVIL)), answer(sdp(B))])
    assert [(severity, EVIL in text) for severity, text in rows] == [("high", True)]
    keyed = [invite(sdp(A, keys=True)), answer(sdp(B))]
    ((severity, text),) = found(tmp_path, "B13", NET, inside=keyed, outside=CALL)
    assert (severity, "no keys" in text) == ("high", True)


@pytest.mark.parametrize(("policy", "severity"), [(None, "low"), (NET, "high")])
def test_media_that_move_within_a_call(tmp_path: Path, policy: str | None, severity: str) -> None:
    ((told, text),) = found(tmp_path, "B13", policy, t=[*CALL, invite(sdp(EVIL), 2)])
    assert (told, EVIL in text) == (severity, True)


def test_a_share_that_falls(tmp_path: Path) -> None:
    calls = []
    for n in range(30):
        keys = n < 15
        calls += [invite(sdp(A, keys=keys), call=f"c{n}"), answer(sdp(B, keys=keys), call=f"c{n}")]
    ((severity, text),) = found(tmp_path, "B16", None, t=calls)
    assert severity == "medium"
    assert "15 of 15" in text
    assert found(tmp_path, "B16", None, t=calls[30:]) == []


def test_binomial_tails() -> None:
    assert math.isclose(tail(0, 10, 0.5), 0.5**10)
    assert math.isclose(tail(1, 3, 0.5), 0.5)
    assert fall([True] * 10 + [False] * 9, 10) == (0, 1.0, 0)
    assert fall([True] * 10 + [False] * 10, 10)[::2] == (10, 10)
    assert fall([True, False] * 20, 10) == (0, 1.0, 0)
