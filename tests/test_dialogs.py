"""Hand-made dialogs: calls led elsewhere (B12), media hijacked (B13), encryption that falls (B16), and what is honest."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pyarrow.compute as pc
import pytest
from tables import verdict

import tapsight
from tapsight._check import examine_readable, judge, plain_rows
from tapsight._sources import read_sources
from tapsight.checks.b16 import fall, tail
from tapsight.lab import Confounder, Implant, Scenario, dialogs, generate, sip
from tapsight.lab.implants import IMPLANTS
from tapsight.lab.packet import TCP, UDP, Packet, ethernet

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


Sent = tuple[str, str, str] | tuple[str, str, bytes, int, int]
"""A message of SIP, or any payload and its ports: of TCP with port 5061, of IP protocol ``n`` with a first port of ``-n``."""


def write(path: Path, messages: Sequence[Sent]) -> str:
    """One a second."""
    out = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for n, (src, dst, load, *ports) in enumerate(messages):
        payload = load.encode() if isinstance(load, str) else load
        here, there = ports or (5060, 5060)
        protocol = -here if here < 0 else TCP if there == 5061 else UDP
        packet = Packet(src, dst, protocol, max(here, 0), there, payload, ip_id=n + 1, seq=21 * n, flags=16)
        frame = ethernet(b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", packet.encode(), 7)
        out += struct.pack("<IIII", 1_767_225_600 + n, 0, len(frame), len(frame)) + frame
    path.write_bytes(out)
    return str(path)


def found(tmp_path: Path, check: str, policy: str | None, **taps: Sequence[Sent]) -> list[Any]:
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


# --- By RFC 3261, 3515, 3891: who is led where ---------------------------------------------------------------------------

DIALOG = sip.Dialog(A, B, "one@a", "a1", "b1")
LISTED = f'[checks.B12]\npeers = ["{A}", "{B}"]\n'


def says(session: sip.Dialog, message: bytes, *, back: bool = False, src: str = "") -> tuple[str, str, str]:
    """A message from who asked first, or back to it."""
    ends = (session.dst, session.src) if back else (session.src, session.dst)
    return src or ends[0], ends[1], message.decode()


def begun(session: sip.Dialog = DIALOG, *fields: str, at: str = "") -> list[tuple[str, str, str]]:
    """A call that was answered: fields and Contact of its INVITE."""
    return [
        says(session, session.request("INVITE", 1, sdp(A), *fields, at=at)),
        says(session, session.response(200, "OK", "INVITE", 1, sdp(B)), back=True),
        says(session, session.request("ACK", 1)),
    ]


def hop(message: bytes, via: str) -> bytes:
    """With another topmost Via."""
    return message.replace(b"Via: SIP/2.0/UDP " + A.encode(), b"Via: SIP/2.0/UDP " + via.encode(), 1)


REDIRECTED = {
    status: [
        says(DIALOG, DIALOG.request("INVITE", 1, sdp(A))),
        says(DIALOG, DIALOG.response(status, "Elsewhere", "INVITE", 1, at=EVIL), back=True),
    ]
    for status in (302, 305)
}
REFER = [
    *begun(),
    says(DIALOG, DIALOG.turned().request("REFER", 2, "", f"Refer-To: <sip:z@{EVIL}>"), back=True),
]
BYE = DIALOG.request("BYE", 2)
OTHER = sip.Dialog(EVIL, A, "two@x", "x1", "x2")
TAKEN = "Replaces: one@a;to-tag=b1;from-tag=a1"
ROUTED = DIALOG.request("INVITE", 2, sdp(A), f"Record-Route: <sip:{EVIL};lr>")
FIRST = DIALOG.request("INVITE", 1, sdp(A), f"Record-Route: <sip:{A};lr>")


@pytest.mark.parametrize(
    ("messages", "words", "without", "with_list"),
    [
        # RFC 3261, 21.3.3 and 21.3.4: one call says nothing without a list, but a proxy that is imposed does.
        (REDIRECTED[302], "status 302", None, "high"),
        (REDIRECTED[305], "status 305", "low", "high"),
        # RFC 3515: whoever is asked goes there.
        (REFER, "(REFER)", None, "high"),
        # RFC 3891: the call of A and B goes on with a stranger.
        ([*begun(), *begun(OTHER, TAKEN)], "(Replaces)", "low", "high"),
        # RFC 3261, 12.2.1.1: where a BYE comes from and by way of, and a re-INVITE.
        ([*begun(), says(DIALOG, hop(BYE, EVIL))], "(Via)", "low", "high"),
        ([*begun(), says(DIALOG, BYE, src=EVIL)], "began to send", "low", "high"),
        ([says(DIALOG, FIRST), *begun()[1:], says(DIALOG, ROUTED)], "(Record-Route)", "low", "high"),
        # RFC 3261, 18.2.1 and 16.6: what an INVITE says of who sent it.
        ([says(DIALOG, hop(DIALOG.request("INVITE", 1, sdp(A)), EVIL))], "(Via)", None, "high"),
        ([says(DIALOG, DIALOG.request("INVITE", 1, "", f"Record-Route: <sip:{EVIL};lr>"))], "(Record-Route)", None, "high"),
        ([says(DIALOG, DIALOG.request("INVITE", 1), src=EVIL)], "names somebody else", None, "high"),
        # RFC 3261, 8.1.1.8: where it is to be answered from then on, but for a listed hop that stays on the way.
        (begun(at=EVIL), "(Contact)", None, "high"),
        (begun(DIALOG, f"Record-Route: <sip:{A};lr>", at=EVIL), "(Contact)", None, None),
        # A phone behind a translation of addresses, and one whose name is not an address.
        (begun(at="192.168.1.20"), "(Contact)", None, None),
        (begun(at="phone.example"), "(Contact)", None, None),
        ([says(DIALOG, hop(DIALOG.request("INVITE", 1), "10.0.0.9"))], "(Via)", None, None),
    ],
)  # fmt: skip
def test_where_calls_are_led(
    tmp_path: Path,
    messages: list[tuple[str, str, str]],
    words: str,
    without: str | None,
    with_list: str | None,
) -> None:
    for policy, severity in ((None, without), (LISTED, with_list)):
        rows = [row for row in found(tmp_path, "B12", policy, t=messages) if words in row[1]]
        assert [row[0] for row in rows] == [severity] * (severity is not None), policy
        assert all(EVIL in text for _, text in rows)


def test_who_took_part_may_take_the_place_of_another(tmp_path: Path) -> None:
    # The callee calls in place of its own call, from another port of the same host.
    own = sip.Dialog(B, A, "two@b", "x1", "x2")
    for policy in (None, LISTED):
        assert found(tmp_path, "B12", policy, t=[*begun(), *begun(own, TAKEN)]) == []


def test_many_redirections_to_one_place(tmp_path: Path) -> None:
    calls = []
    for n, server in enumerate((B, B, "192.0.2.130")):
        each = sip.Dialog(A, server, f"c{n}", f"a{n}", f"b{n}")
        calls += [
            says(each, each.request("INVITE", 1)),
            says(each, each.response(302, "Moved", "INVITE", 1, at="198.18.0.66"), back=True),
        ]
    ((severity, text),) = found(tmp_path, "B12", None, t=calls)
    assert (severity, "3 calls to 198.18.0.66" in text) == ("low", True)
    assert found(tmp_path, "B12", None, t=calls[2:]) == []


def test_a_contact_that_is_unusual_between_two_hosts(tmp_path: Path) -> None:
    def calls(count: int, odd: int, at: str = EVIL) -> list[tuple[str, str, str]]:
        return [
            each
            for n in range(count)
            for each in begun(sip.Dialog(A, B, f"c{n}", f"a{n}", f"b{n}"), at=at if n < odd else "")
        ]

    ((severity, text),) = found(tmp_path, "B12", None, t=calls(20, 2))
    assert (severity, f"2 calls had {EVIL} as the target" in text) == ("low", True)
    # More than one in ten is usual; of few calls nothing is known; and what a cluster or a translation makes of it.
    assert found(tmp_path, "B12", None, t=calls(20, 3)) == []
    assert found(tmp_path, "B12", None, t=calls(19, 1)) == []
    assert found(tmp_path, "B12", None, t=calls(20, 2, "203.0.113.99")) == []
    assert found(tmp_path, "B12", None, t=calls(20, 2, "10.1.2.3")) == []
    assert found(tmp_path, "B12", None, t=calls(20, 2, "phone.example")) == []


def test_without_a_list_it_is_not_known_who_may_redirect(tmp_path: Path) -> None:
    path = write(tmp_path / "t.pcap", REDIRECTED[302])
    row = verdict(tapsight.check(path, threads=1), "B12")
    assert row["verdict"] == "unknown"
    assert row["reason"].startswith(
        "1 call redirected, transferred or in place of another, and no `peers` say"
    )
    assert verdict(tapsight.check(write(tmp_path / "u.pcap", begun()), threads=1), "B12")["verdict"] == "pass"


@pytest.mark.parametrize("policy", [None, LISTED])
def test_fields_that_differ_between_taps(tmp_path: Path, policy: str | None) -> None:
    seen = {"inside": begun(), "outside": begun(at=EVIL)}
    ((severity, text),) = found(tmp_path, "B12", policy, **seen)
    assert (severity, "(Contact) on one tap and not on another" in text, EVIL in text) == ("high", True, True)
    # A hop that was put in.
    more = [begun()[0][2].replace("Via:", f"Via: SIP/2.0/UDP {EVIL};branch=z9hG4bKx\r\nVia:", 1)]
    ((severity, text),) = found(
        tmp_path, "B12", policy, inside=begun(), outside=[(A, B, more[0]), *begun()[1:]]
    )
    assert (severity, "(Via) on one tap" in text, EVIL in text) == ("high", True, True)
    # A tap that lost a message shows less of a call.
    lost = begun(DIALOG, f"Record-Route: <sip:{A};lr>", at="203.0.113.99")[1:]
    assert found(tmp_path, "B12", None, inside=begun(), outside=lost) == []


# --- By RFC 8866, 4568, 8839: media ---------------------------------------------------------------------------------------


def rtp(
    src: str, dst: str, ports: tuple[int, int], count: int, ssrc: int
) -> list[tuple[str, str, bytes, int, int]]:
    return [
        (src, dst, struct.pack("!BBHII", 0x80, 8, n, 160 * n, ssrc) + bytes(160), *ports)
        for n in range(count)
    ]


C = "198.51.100.77"
HOPS = [invite(sdp(A)), (B, C, message(B, f"INVITE sip:y@{C} SIP/2.0", 1, sdp(EVIL), tag=False))]


def test_a_next_hop_that_describes_media_elsewhere(tmp_path: Path) -> None:
    ((severity, text),) = found(tmp_path, "B13", None, t=HOPS)
    assert (severity, EVIL in text, "which is not its own" in text) == ("low", True, True)
    # What media come from and go to is a relay, and so is what is listed.
    relay = [*rtp(A, EVIL, (20000, 30000), 16, 1), *rtp(EVIL, C, (30002, 40000), 16, 2)]
    assert found(tmp_path, "B13", None, t=[*HOPS, *relay]) == []
    assert len(found(tmp_path, "B13", None, t=[*HOPS, *relay[:16]])) == 1
    assert found(tmp_path, "B13", f'[checks.B13]\nb2bua = ["{EVIL}"]\n', t=HOPS) == []
    # The hop describes itself: a border controller.
    own = [HOPS[0], (B, C, message(B, f"INVITE sip:y@{C} SIP/2.0", 1, sdp(B), tag=False))]
    assert found(tmp_path, "B13", None, t=own) == []


def test_keys_that_are_agreed_and_later_are_not(tmp_path: Path) -> None:
    keyed = [invite(sdp(A, keys=True)), answer(sdp(B, keys=True))]
    bare = [invite(sdp(A), 2), answer(sdp(B), 2)]
    ((severity, text),) = found(tmp_path, "B13", None, t=[*keyed, *bare])
    assert (severity, "encrypted and later not any more" in text) == ("medium", True)
    assert found(tmp_path, "B13", f'[checks.B13]\nb2bua = ["{B}"]\n', t=[*keyed, *bare]) == []
    again = [invite(sdp(A, keys=True), 2), answer(sdp(B, keys=True), 2)]
    assert found(tmp_path, "B13", None, t=[*keyed, *again]) == []
    # Fax goes in clear (ITU-T T.38).
    fax = (
        sdp(A)
        .replace("m=audio 20000 RTP/AVP 8", "m=image 20000 udptl t38")
        .replace("a=rtpmap:8 PCMA/8000\r\n", "")
    )
    assert found(tmp_path, "B13", None, t=[*keyed, invite(fax, 2), answer(fax.replace(A, B), 2)]) == []


def test_addresses_that_were_offered_as_candidates(tmp_path: Path) -> None:
    # RFC 8839, 4.2.3 and 5.1: candidates first, and the chosen one in a later offer.
    listed = sdp(A) + f"a=candidate:1 1 UDP 2130706431 {EVIL} 20000 typ host\r\n"
    chosen = sdp(EVIL)
    assert found(tmp_path, "B13", None, t=[invite(listed), answer(sdp(B)), invite(chosen, 2)]) == []
    assert len(found(tmp_path, "B13", None, t=[*CALL, invite(chosen, 2)])) == 1
    # Where media may go is said: neither a candidate nor hold make more of it than it is.
    policy = f'[checks.B13]\nmedia = ["{A}", "{B}"]\n'
    hold = sdp("0.0.0.0")  # RFC 2543, on hold
    assert found(tmp_path, "B13", policy, t=[invite(listed), answer(sdp(B)), invite(hold, 2)]) == []


def test_a_translation_of_addresses_changes_descriptions_too(tmp_path: Path) -> None:
    inside, outside = [invite(sdp("192.168.1.5")), answer(sdp(B))], [invite(sdp(A)), answer(sdp(B))]
    for policy in (None, NET):
        assert found(tmp_path, "B13", policy, inside=inside, outside=outside) == []
    assert len(found(tmp_path, "B13", None, inside=inside, outside=[invite(sdp(EVIL)), answer(sdp(B))])) == 1


# --- Encryption that ends -------------------------------------------------------------------------------------------------


def clear_calls(count: int, *, keys: int = 0, call: str = "u") -> list[Sent]:
    """Calls of which the first so many have keys."""
    out: list[Sent] = []
    for n in range(count):
        out += [
            invite(sdp(A, keys=n < keys), call=f"{call}{n}"),
            answer(sdp(B, keys=n < keys), call=f"{call}{n}"),
        ]
    return out


def test_signalling_that_falls_from_tls(tmp_path: Path) -> None:
    tls: list[Sent] = [(A, B, b"\x17\x03\x03\0\x10" + bytes(16), 40000, 5061)] * 25
    ((severity, text),) = found(tmp_path, "B16", None, t=[*tls, *clear_calls(10)])
    assert (severity, "10 calls" in text, "since their signalling over TLS ended" in text) == (
        "medium",
        True,
        True,
    )
    # Both at once; few segments; few calls, which is not known to be well.
    assert found(tmp_path, "B16", None, t=[*clear_calls(10), *tls]) == []
    assert found(tmp_path, "B16", None, t=[*tls[:19], *clear_calls(10)]) == []
    assert found(tmp_path, "B16", None, t=[*tls, *clear_calls(9)]) == []
    policy = '[checks.B16]\nmin_coverage = 0.0\nencrypted = ["192.0.2.0/24"]\n'
    (tmp_path / "p.toml").write_text(policy)
    path = write(tmp_path / "few.pcap", [*tls, *clear_calls(9), *talk(EVIL, 1)])
    row = verdict(tapsight.check(path, policy=tmp_path / "p.toml", threads=1), "B16")
    assert row["verdict"] == "unknown"
    assert "9 calls in clear since signalling over TLS ended, and it takes 10 to tell" in row["reason"]


def talk(peer: str, count: int) -> list[Sent]:
    """Calls with keys between A and somebody else."""
    out: list[Sent] = []
    for n in range(count):
        session = sip.Dialog(A, peer, f"{peer}-{n}", f"p{n}", f"q{n}")
        out += [
            says(session, session.request("INVITE", 1, sdp(A, keys=True))),
            says(session, session.response(200, "OK", "INVITE", 1, sdp(peer, keys=True)), back=True),
        ]
    return out


def test_ipsec_that_ends(tmp_path: Path) -> None:
    esp: list[Sent] = [(A, B, struct.pack("!II", 7, n) + bytes(96), -50, 0) for n in range(25)]
    bare: list[Sent] = [(A, B, bytes(100), 9000, 9001)] * 20
    ((severity, text),) = found(tmp_path, "B16", None, t=[*esp, *bare])
    assert (severity, text.startswith(f"IPsec between {A} and {B} ended, and 20 packets went in clear")) == (
        "medium",
        True,
    )
    assert found(tmp_path, "B16", None, t=[*bare[:1], *esp, *bare]) == []
    assert found(tmp_path, "B16", None, t=[*esp, *bare[:19]]) == []
    # The exchange of keys (RFC 7296) goes beside a tunnel.
    assert found(tmp_path, "B16", None, t=[*esp, *([(A, B, bytes(100), 500, 500)] * 20)]) == []
    # Two taps see one tunnel.
    ((_, text),) = found(tmp_path, "B16", None, one=[*esp, *bare], two=[*esp, *bare])
    assert "20 packets" in text


def test_calls_that_the_policy_wants_encrypted(tmp_path: Path) -> None:
    policy = f'[checks.B16]\nencrypted = ["{B}"]\n'
    ((severity, text),) = found(tmp_path, "B16", policy, t=clear_calls(3, keys=2))
    assert (severity, text.startswith(f"1 call between {A} and {B} had media in clear")) == ("high", True)
    assert found(tmp_path, "B16", policy, t=clear_calls(3, keys=3)) == []
    assert found(tmp_path, "B16", policy + 'peers = ["192.0.2.0/24"]\n', t=clear_calls(3)) == []
    # The verdict of each call says so as well.
    (tmp_path / "p.toml").write_text(policy)
    path = write(tmp_path / "t.pcap", clear_calls(3, keys=2))
    said = tapsight.check(path, policy=tmp_path / "p.toml", threads=1).calls.to_pydict()
    assert said["encrypted"] == ["pass", "pass", "fail"]
    assert "the policy demands that it is encrypted (B16)" in said["reason"][2]
    assert tapsight.check(path, threads=1).calls["encrypted"].to_pylist() == ["pass", "pass", "unknown"]


def test_a_call_that_two_taps_have_seen_is_one(tmp_path: Path) -> None:
    calls = clear_calls(24, keys=12)
    ((_, text),) = found(tmp_path, "B16", None, one=calls, two=calls)
    assert "12 of 12 were encrypted before" in text
    assert "12 calls had media in clear" in text
    sources = {tap: write(tmp_path / f"{tap}.pcap", calls) for tap in ("one", "two")}
    result = tapsight.check(sources, threads=1)
    for check in ("B12", "B13", "B16"):
        row = verdict(result, check)
        assert (row["in_scope"], row["judged"]) == (24, 24), check
    # Half of them on each tap is enough together.
    assert len(found(tmp_path, "B16", None, one=calls[::4] + calls[1::4], two=calls[2::4] + calls[3::4])) == 1


def test_a_peer_that_never_encrypts_while_others_do(tmp_path: Path) -> None:
    # Keys that are offered as welcome (RTP/AVP with a=crypto), and refused.
    offer = sdp(A, keys=True).replace("RTP/SAVP", "RTP/AVP")
    calls: list[Sent] = []
    for n in range(20):
        calls += [invite(offer, call=f"n{n}"), answer(sdp(B), call=f"n{n}")]
    path = write(tmp_path / "t.pcap", [*calls, *talk("203.0.113.77", 20)])
    row = verdict(tapsight.check(path, threads=1), "B16")
    assert (row["verdict"], row["judged"]) == ("pass", 40)
    assert f"{B} never agreed on encryption that was offered, while others do" in row["reason"]


# --- What is not known ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "policy", "judged", "reasons"),
    [
        # Q.931 is read of H.225.0, and neither H.245 nor anything that leads calls elsewhere; it has three calls by tshark (q931.call_ref).
        (
            "h323",
            NET,
            (3, 0, 0),
            ("calls of H.323, of which targets", "calls of H.323, of which media addresses"),
        ),
        ("h323", None, (3, 0, 0), ("calls of H.323, of which targets", "calls of H.323, of which changes")),
        # Of the two sides of a call of Skinny, media addresses are read and compared with a list.
        ("skinny", NET, (2, 0, 2), ("calls of Skinny, of which targets", "")),
        (
            "skinny",
            None,
            (2, 0, 0),
            ("calls of Skinny, of which targets", "calls of Skinny, of which changes"),
        ),
    ],
)
def test_calls_of_which_nothing_can_be_read_are_not_judged(
    captures: Path,
    tmp_path: Path,
    name: str,
    policy: str | None,
    judged: tuple[int, int, int],
    reasons: tuple[str, str],
) -> None:
    path = captures / f"ntop__nDPI/tests__cfgs__default__pcap__{name}.pcap"
    rules = tmp_path / "policy.toml"
    rules.write_text(policy or "")
    result = tapsight.check(path, policy=rules if policy else None, threads=1)
    count, *each = judged
    for check, number, reason in zip(("B12", "B13"), each, reasons, strict=True):
        row = verdict(result, check)
        assert (row["in_scope"], row["judged"]) == (count, number), check
        assert row["verdict"] == ("fail" if number else "unknown"), check
        assert reason in (row["reason"] or ""), check
    # Both ends of the two streams of Skinny are described: what is read of them are 30 and 27 packets (docs/media.md).
    packets = {"A4": 0, "B14": 57 if name == "skinny" else 0, "B16": 0}
    for check, number in packets.items():
        assert verdict(result, check)["judged"] == number, check
    for aspect in ("encrypted", "alone", "path"):
        assert "pass" not in result.calls[aspect].to_pylist(), aspect
    # Media that flow between the ends that a call describes are where they are signalled; whether a list has those is another question.
    media = "fail" if judged[2] else "pass" if name == "skinny" else "unknown"
    assert set(result.calls["media"].to_pylist()) == {media}


def test_rows_that_found_no_room_are_a_doubt(tmp_path: Path) -> None:
    path = write(tmp_path / "t.pcap", clear_calls(24, keys=24))
    examined = examine_readable(read_sources(path), threads=1).examination
    names = [name for name in dir(examined) if not name.startswith("_")]
    for missing, word in ((0, "pass"), (3, "unknown")):
        copy = SimpleNamespace(**{name: getattr(examined, name) for name in names})
        copy.missing = missing
        result = judge(copy, None)  # type: ignore[arg-type]
        for check in ("B12", "B13", "B16"):
            assert verdict(result, check)["verdict"] == word, check
        assert ("3 rows of calls and media found no room" in verdict(result, "B13")["reason"]) == bool(
            missing
        )
        # What could not be judged of calls leaves the question open whether they were diverted.
        (_, diverted, _) = result.answers
        assert (diverted.answer, "B12: 3 rows" in diverted.because) == (
            ("cannot tell", True) if missing else ("no sign", False)
        )


# --- What the verdict of a call, and the answer to a question, may say ------------------------------------------------------


def made(tmp_path: Path, *implants: Implant, **dials: Any) -> tapsight.Result:
    scenario = Scenario(seconds=12, calls=3, downloads=20, loss=0, span=0, implants=implants, **dials)
    files = generate(scenario, tmp_path)
    return tapsight.check(
        {"inside": str(files.inside), "outside": str(files.outside)}, policy=files.policy, threads=2
    )


@pytest.mark.parametrize(
    ("implant", "alone"),
    [
        # The finding shows frames of some calls, the tunnel holds the conversations of all.
        (Implant("mirror", only="voice"), {"fail"}),
        # What is copied is no call: what is in the tunnel says so, and of an encrypted one what it follows.
        (Implant("mirror", only="internet"), {"pass"}),
        (Implant("mirror", only="internet", tunnel="esp"), {"pass"}),
        (Implant("fork", only="internet"), {"pass"}),
        # Samples that amount to a copy may be of anything.
        (Implant("sflow-export"), {"unknown"}),
    ],
    ids=lambda value: f"{value.kind} {value.tunnel} {value.only}" if isinstance(value, Implant) else None,
)
def test_a_copy_of_other_traffic_is_none_of_a_call(tmp_path: Path, implant: Implant, alone: set[str]) -> None:
    result = made(tmp_path, implant)
    assert result.answers[0].answer == "yes"
    assert set(result.calls["alone"].to_pylist()) == alone


def test_calls_that_were_forked_and_others(tmp_path: Path) -> None:
    result = made(tmp_path, Implant("media-fork", share=0.5))
    truth = [json.loads(line) for line in (tmp_path / "truth.ndjson").read_text().splitlines()]
    forked = {int(row["flow"].removeprefix("call-")) for row in truth if row["implant"] is not None}
    assert 0 < len(forked) < 3
    # Calls are known by their ports: 20000 and four more for each (see the lab's traffic).
    calls = tapsight.calls(tmp_path / "inside.pcapng").to_polars()
    number = {
        row["call"]: (int(row["caller_media"][0].split(":")[-1]) - 20000) // 4 for row in calls.to_dicts()
    }
    rows = result.calls.select(["tap", "call", "alone"]).to_pylist()
    inside = {number[row["call"]]: row["alone"] for row in rows if row["tap"] == "inside"}
    assert {n for n, word in inside.items() if word == "fail"} == forked
    # The receiver of the fork is that of all calls, so of the others it cannot be said.
    assert {word for n, word in inside.items() if n not in forked} == {"unknown"}


def test_media_of_which_nobody_saw_the_call_leave_the_question_open(tmp_path: Path) -> None:
    stream = rtp(A, B, (20000, 30000), 60, 5)
    told = dict.fromkeys(("copied", "diverted"))
    result = tapsight.check(write(tmp_path / "t.pcap", stream), threads=1)
    told["copied"], told["diverted"] = (each.answer for each in result.answers[:2])
    assert verdict(result, "B14")["verdict"] == "unknown"
    assert (told["diverted"], result.answers[1].because) == (
        "cannot tell",
        "B14: nothing in scope could be judged",
    )
    # Three packets pass before it is known for media; those of few packets are nothing that A4 could compare.
    assert (verdict(result, "A4")["verdict"], told["copied"]) == ("pass", "no sign")
    short = tapsight.check(write(tmp_path / "u.pcap", stream[:30]), threads=1)
    assert verdict(short, "A4")["verdict"] == "unknown"
    assert short.answers[0].answer == "cannot tell"
    # Where nobody speaks, nothing is missing; what is switched off does not judge.
    quiet = write(tmp_path / "v.pcap", [(A, B, bytes([n]) * 100, 9000, 9001) for n in range(60)])
    assert [each.answer for each in tapsight.check(quiet, threads=1).answers[:2]] == ["no sign", "no sign"]
    (tmp_path / "p.toml").write_text("[checks.A4]\nenabled = false\n")
    off = tapsight.check(tmp_path / "t.pcap", policy=tmp_path / "p.toml", threads=1)
    assert off.answers[0].because == "A4: switched off by the policy"
    assert [
        each.answer for each in tapsight.check(quiet, policy=tmp_path / "p.toml", threads=1).answers[:2]
    ] == ["no sign"] * 2


@pytest.mark.parametrize("kind", [kind.kind for kind in dialogs.KINDS])
def test_honest_calls_of_the_lab_raise_nothing(tmp_path: Path, kind: str) -> None:
    scenario = Scenario(seconds=30, calls=1, downloads=4, confounders=(Confounder(kind),))
    files = generate(scenario, tmp_path)
    sources = {"inside": str(files.inside), "outside": str(files.outside)}
    for policy in (files.policy, None):
        rows = tapsight.check(sources, policy=policy, threads=2).findings.select(
            ["check", "severity", "sentence"]
        )
        calls = [
            row
            for row in rows.to_pylist()
            if (row["check"] or "")[:3] in ("A4", "B12", "B13", "B14", "B16", "V1", "V2")
        ]
        assert [row for row in calls if policy is not None or row["severity"] != "low"] == []


VARIANTS = [
    (kind, via) for kind in ("sip-redirect", "sdp-hijack", "downgrade") for via in IMPLANTS[kind].variants
]


@pytest.mark.parametrize(("kind", "via"), VARIANTS)
def test_implants_of_the_lab_are_found(tmp_path: Path, kind: str, via: str) -> None:
    scenario = Scenario(
        seconds=24, calls=1, downloads=4, secure=20, implants=(Implant(kind, via=via, start=12),), loss=0
    )
    files = generate(scenario, tmp_path)
    truth = [json.loads(line) for line in files.truth.read_text().splitlines()]
    led = {row["flow"] for row in truth if row["implant"] is not None}
    built = json.loads(files.scenario.read_text())["implants"][0]
    result = tapsight.check(
        {"inside": str(files.inside), "outside": str(files.outside)}, policy=files.policy, threads=2
    )
    rows = plain_rows(result.findings)
    # However few frames a finding shows, each of its calls fails.
    aspect = {"sip-redirect": "peers", "sdp-hijack": "media", "downgrade": "encrypted"}[kind]
    ids = tapsight.calls(files.outside, show_numbers=True).to_polars().select("call", "call_id")
    failed = result.calls.filter(pc.equal(result.calls[aspect], "fail")).select(["tap", "call"]).to_pylist()
    mine_too = {row["call"] for row in failed if row["tap"] == "outside"}
    assert len(ids.filter(pl.col("call").is_in(sorted(mine_too)))["call_id"].unique()) >= len(led)
    for check in built["expected"]:
        mine = [row for row in rows if row["check"] == check]
        assert max(row["packets"] for row in mine) == len(led), (check, mine)
        # Nothing is said of what went before.
        assert min(row["first_ts"] for row in mine) >= "2026-01-01T00:00:11"
