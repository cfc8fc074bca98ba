"""The pack carrier-voice over hand-made flows and calls: what passes, what fails, and what nobody can tell."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import ROOT, capture_index
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.rtp import RTP
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap
from tables import claim, examination, flow, mac, mirror, rtp, scope, sentences, told, why
from tables import sip as sip_flow

import tapsight
from tapsight._check import Result, judge
from tapsight._engine import MEMORY, Examination, examine
from tapsight._sources import Tap
from tapsight.checks._tables import Captures
from tapsight.checks.v5 import packet_sizes
from tapsight.lab import sip
from tapsight.policy import Policy, PolicyError

A, B, X = "198.51.100.1", "203.0.113.1", "192.0.2.66"


def run(policy: str, *flows: dict[str, Any]) -> Result:
    return judge(examination(flows=list(flows)), Policy.loads(policy))


def heard(folder: Path, policy: str, *taps: list[Packet]) -> Result:
    """The verdicts of captures, one a tap."""
    sources = {}
    for number, packets in enumerate(taps):
        path = folder / f"{number}.pcap"
        wrpcap(str(path), sorted(packets, key=lambda each: each.time))
        sources[f"tap{number}"] = str(path)
    return tapsight.check(sources, policy=Policy.loads(policy), threads=1)


def heard_examination(folder: Path, packets: list[Packet]) -> Examination:
    """What the engine says of a capture."""
    path = folder / "media.pcap"
    wrpcap(str(path), sorted(packets, key=lambda each: each.time))
    return examine([("inside", (str(path),))], window_ns=5_000_000_000, memory=MEMORY, threads=1)


def packet(
    time: float, src: str, dst: str, ports: tuple[int, int], load: Any, *, tos: int = 184, layer: Any = UDP
) -> Packet:
    made = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst, tos=tos)
    made /= layer(sport=ports[0], dport=ports[1]) / load
    made.time = 1_767_225_600 + time
    return made


def stream(
    src: str,
    dst: str,
    ports: tuple[int, int] = (20000, 30000),
    *,
    kind: int = 8,
    size: int = 160,
    step: int = 160,
    count: int = 60,
    begin: float = 0.5,
    tos: int = 184,
) -> list[Packet]:
    """RTP, 60 packets; ``size`` and ``step`` are those of 20 ms of PCMA."""
    return [
        packet(
            begin + 0.02 * n,
            src,
            dst,
            ports,
            RTP(payload_type=kind, sequence=100 + n, timestamp=step * n, sourcesync=7) / Raw(b"\xd5" * size),
            tos=tos,
        )
        for n in range(count)
    ]


def call(
    offer: str, answer: str, *more: tuple[float, str, str, bytes], user: str = "", dst: str = B
) -> list[Packet]:
    """A call from A, answered after 0.2 s and ended after 12."""
    dialog = sip.Dialog(A, dst, "one@a", "a1", "b1")
    invite = dialog.request("INVITE", 1, offer)
    if user:
        invite = sip.edited(invite, lambda text: text.replace("INVITE sip:", f"INVITE sip:{user}@", 1))
    steps = [
        (0.0, A, dst, invite),
        (0.2, dst, A, dialog.response(200, "OK", "INVITE", 1, answer)),
        (0.3, A, dst, dialog.request("ACK", 1)),
        *more,
        (12.0, A, dst, dialog.request("BYE", 2)),
    ]
    return [packet(time, src, to, (5060, 5060), Raw(load), tos=96) for time, src, to, load in steps]


CLEAR = (sip.audio(A, 20000), sip.audio(B, 30000))
KEYED = tuple(
    sip.audio(host, port, sip.crypto(key * 40), profile=sip.SDES)
    for host, port, key in ((A, 20000, "A"), (B, 30000, "B"))
)


def test_the_pack_judges_only_where_it_is_asked_for() -> None:
    names = [f"V{n}" for n in range(3, 11)]
    assert not set(names) & set(run("").verdicts["check"].to_pylist())
    every = run('packs = ["carrier-voice"]\n')
    assert [each for each in every.verdicts["check"].to_pylist() if each in names] == names
    for name in ("V3", "V4", "V7", "V8", "V10"):
        assert told(every, name) == ("unknown", 0, 0, 0)
        assert why(every, name).startswith("needs set `")
    assert told(run("[checks.V9]\n"), "V9")[0] == "unknown"


# --- V3 ---------------------------------------------------------------------------------------------------------------

INTERCONNECT = '[checks.V3]\ninterconnect = ["198.51.100.0/24", "203.0.113.0/28"]\n'
LINKS = (
    '[checks.V3]\ninternet_vlans = [30]\ninternet_macs = ["02:00:00:00:00:99"]\ninternet_taps = ["transit"]\n'
)
MACS = {"eth_src": mac("02:00:00:00:00:01"), "eth_dst": mac("02:00:00:00:00:02")}
GTP = {"encap": "gtpu", "outer_src": "198.51.100.33", "protocol": 6, "app": "http", "basis": "port"}
GRE = {"encap": "gre", "outer_src": "198.51.100.1", "outer_dst": "192.0.2.1"}


@pytest.mark.parametrize(
    ("policy", "seen", "expected"),
    [
        (INTERCONNECT, sip_flow(A, B), "pass"),
        (INTERCONNECT, sip_flow(A, "203.0.113.66"), "fail"),
        (INTERCONNECT, sip_flow("203.0.113.66", A), "fail"),
        (INTERCONNECT, sip_flow(X, "203.0.113.66"), "fail"),
        (INTERCONNECT, sip_flow("10.0.0.1", "10.0.0.2"), "pass"),
        (INTERCONNECT, sip_flow("10.0.0.1", A), "pass"),
        (INTERCONNECT, sip_flow("10.0.0.1", X), "unknown"),
        (INTERCONNECT, sip_flow(A, None), "unknown"),
        (INTERCONNECT, sip_flow(A, X, basis="port"), "unknown"),
        (INTERCONNECT, rtp(src=A, dst=X), "fail"),
        (INTERCONNECT, rtp(src=A, dst="239.1.1.1"), "unknown"),
        (
            INTERCONNECT,
            flow(A, X, app="diameter", traffic="mobile-signalling", basis="signature"),
            "fail",
        ),
        (INTERCONNECT, flow(A, X, app="tls", traffic="internet", basis="signature"), "unknown"),
        (INTERCONNECT, flow(A, X, protocol=50, app="esp", traffic="internet", basis="signature"), "unknown"),
        # The outside of a tunnel tells where it goes, and all that is in GTP is of a mobile network.
        (INTERCONNECT, sip_flow("10.0.0.1", "10.0.0.2", **GRE), "fail"),
        (INTERCONNECT, sip_flow(X, X, **{**GRE, "outer_dst": B}), "pass"),
        (INTERCONNECT, flow("10.0.0.1", "192.0.2.80", **GTP, outer_dst=X), "fail"),
        (INTERCONNECT, flow("10.0.0.1", "192.0.2.80", **GTP, outer_dst=B), "pass"),
        (f'{INTERCONNECT}allow = [["{A}", "{X}"]]\n', sip_flow(X, A), "pass"),
        (f'{INTERCONNECT}own = ["198.51.100.0/24"]\n', sip_flow(X, "203.0.113.66"), "unknown"),
        (f'{INTERCONNECT}own = ["198.51.100.0/24"]\n', sip_flow(X, A), "fail"),
        # A tap that shows neither tags nor MAC addresses does not tell on which link it is.
        (LINKS, sip_flow(A, X), "unknown"),
        (LINKS, sip_flow(A, X, vlan=31), "unknown"),
        (LINKS, sip_flow(A, X, vlan=31, **MACS), "pass"),
        (LINKS, sip_flow(A, None, vlan=31, **MACS), "pass"),
        (LINKS, sip_flow("10.0.0.1", X, vlan=30), "fail"),
        (LINKS, sip_flow(A, B, eth_dst=mac("02:00:00:00:00:99")), "fail"),
        (LINKS, sip_flow(A, B, tap="transit"), "fail"),
    ],
)
def test_v3_goes_by_outermost_addresses_and_links(policy: str, seen: dict[str, Any], expected: str) -> None:
    assert told(run(policy, seen), "V3")[0] == expected


def test_v3_counts_and_says_what_it_found() -> None:
    flows = [
        sip_flow(A, X),
        # Segments without data, which nothing but their conversation says anything of.
        sip_flow(A, X, basis="port", packets=7),
        sip_flow(A, B),
        sip_flow("10.0.0.1", X, packets=30),
        sip_flow(X, B, basis="port", packets=3),
    ]
    result = run(INTERCONNECT, *flows)
    assert told(result, "V3") == ("fail", 240, 207, 1)
    assert sentences(result, "V3") == [
        (
            f"107 packets of voice (sip) in 1 conversation went over the public internet between {X} and {A}, "
            "from 2026-01-01 12:00:00 UTC until 2026-01-01 12:01:00 UTC (on inside), where others can read them."
        )
    ]
    assert why(result, "V3") == (
        "not judged: only the port says what it is; neither addresses nor the tap tell where they went"
    )


def test_v3_what_gtp_carries_is_of_a_mobile_network() -> None:
    result = run(
        INTERCONNECT, flow("10.0.0.1", "192.0.2.80", **GTP, outer_dst=X), sip_flow("198.51.100.33", X)
    )
    starts = sorted(text.partition(" in ")[0] for text in sentences(result, "V3"))
    assert starts == ["100 packets of a mobile network (gtp-u)", "100 packets of voice (sip)"]


# --- V4 ---------------------------------------------------------------------------------------------------------------

ENCRYPTED = f'[checks.V4]\nencrypted = ["{B}"]\n'


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (sip_flow(A, B), "fail"),
        (sip_flow(B, A), "fail"),
        (sip_flow(A, X), "unknown"),
        (sip_flow(A, B, basis="port"), "unknown"),
        (sip_flow(A, B, app="sips"), "pass"),
        (flow(A, B, app="m3ua", traffic="mobile-signalling", basis="signature"), "fail"),
        (flow(A, B, app="gtp-u", traffic="mobile-signalling", basis="signature"), "unknown"),
        (flow(A, B, app="pfcp", traffic="mobile-signalling", basis="signature"), "unknown"),
        (flow(A, B, app="diameter", traffic="mobile-signalling", basis="signature", dst_port=3868), "fail"),
        (flow(A, B, app="tls", traffic="internet", basis="signature", dst_port=5658), "pass"),
        (flow(A, B, app="tls", traffic="internet", basis="signature", dst_port=443), "unknown"),
        # IPsec may carry anything.
        (flow(A, B, protocol=50), "unknown"),
        (rtp(src=A, dst=B), "unknown"),
    ],
)
def test_v4_signalling_of_those_who_agreed_cannot_be_read(seen: dict[str, Any], expected: str) -> None:
    assert told(run(ENCRYPTED, seen), "V4")[0] == expected


def test_v4_says_what_it_takes_for_granted() -> None:
    result = run(ENCRYPTED, flow(A, B, protocol=50, packets=80), sip_flow(A, B, app="sips", packets=20))
    assert told(result, "V4") == ("pass", 100, 100, 0)
    assert why(result, "V4") == "that 80 packets of IPsec are signalling is taken for granted"


def test_v4_can_leave_out_taps_behind_the_gateway() -> None:
    flows = sip_flow(A, B), flow(A, B, protocol=50, tap="outside")
    assert told(run(ENCRYPTED, *flows), "V4") == ("fail", 200, 200, 1)
    gateway = run(f'{ENCRYPTED}taps = ["outside"]\n', *flows)
    assert told(gateway, "V4") == ("unknown", 100, 100, 0)
    assert why(gateway, "V4") == "nothing but IPsec was seen, which may carry anything"
    (text,) = sentences(run(ENCRYPTED, *flows), "V4")
    assert text.startswith(f"{A} and {B} exchanged 100 packets of signalling in the clear (sip), from ")


# --- V5 ---------------------------------------------------------------------------------------------------------------

PACK = 'packs = ["carrier-voice"]\n'
CONTRACT = f'[checks.V5]\nencrypted = ["{B}"]\n'


@pytest.mark.parametrize(
    ("policy", "packets", "expected"),
    [
        # 160 bytes of sound, and the tag of 10 bytes that the keys ask for; or none.
        (PACK, [*call(*KEYED), *stream(A, B, size=170)], ("pass", 60, 60, 0)),
        (PACK, [*call(*KEYED), *stream(A, B, size=164)], ("pass", 60, 60, 0)),
        (PACK, [*call(*KEYED), *stream(A, B)], ("fail", 60, 60, 1)),
        # Another codec: the word of the call is taken.
        (PACK, [*call(*KEYED), *stream(A, B, kind=18, size=20)], ("pass", 60, 60, 0)),
        # Nobody agreed on anything; with a contract, that is what is wrong.
        (PACK, [*call(*CLEAR), *stream(A, B)], ("unknown", 0, 0, 0)),
        (CONTRACT, [*call(*CLEAR), *stream(A, B)], ("fail", 60, 60, 1)),
        (CONTRACT, [*call(*CLEAR), *stream(A, B, kind=18, size=20)], ("fail", 60, 60, 1)),
        (CONTRACT, [*call(*KEYED), *stream(A, B, size=170)], ("pass", 60, 60, 0)),
        # Nobody saw the call: from the fourth packet on it is a stream, and only lengths can tell.
        (CONTRACT, stream(A, B), ("fail", 57, 57, 1)),
        (CONTRACT, stream(A, B, size=170), ("pass", 57, 57, 0)),
        (CONTRACT, stream(A, B, kind=18, size=20), ("unknown", 57, 0, 0)),
        (CONTRACT, stream(A, B, size=163), ("unknown", 57, 0, 0)),
        (CONTRACT, stream(A, X), ("unknown", 0, 0, 0)),
    ],
)
def test_v5_goes_by_agreements_and_lengths(
    tmp_path: Path, policy: str, packets: list[Packet], expected: tuple[str, int, int, int]
) -> None:
    assert told(heard(tmp_path, policy, packets), "V5") == expected


def test_v5_a_call_that_goes_on_without_keys(tmp_path: Path) -> None:
    dialog = sip.Dialog(A, B, "one@a", "a1", "b1")
    again = [
        (3.0, A, B, dialog.request("INVITE", 2, CLEAR[0])),
        (3.2, B, A, dialog.response(200, "OK", "INVITE", 2, CLEAR[1])),
    ]
    packets = [*call(*KEYED, *again), *stream(A, B, kind=18, size=20, begin=4)]
    result = heard(tmp_path, PACK, packets)
    assert told(result, "V5") == ("fail", 60, 60, 1)
    (text,) = sentences(result, "V5")
    assert text.startswith(f"60 packets of media in 1 stream between {A} and {B} were in the clear, ")
    assert text.endswith(": their call had agreed on keys, and then went on without.")


def test_v5_is_of_calls(tmp_path: Path) -> None:
    """That a call agreed on keys does not make it an encrypted one."""
    packets = [*call(*KEYED), *stream(A, B)]
    for policy, word in (("", "pass"), (PACK, "fail")):
        (row,) = heard(tmp_path, policy, packets).calls.to_pylist()
        assert row["encrypted"] == word


def test_v5_finds_the_one_real_stream_of_srtp(captures: Path) -> None:
    policy = Policy.loads('[checks.V5]\nencrypted = ["0.0.0.0/0"]\n')
    counts = {
        "gteissier__srtp-decrypt/marseillaise-srtp.pcap": ("pass", 11885, 11885, 0),
        "sippy__rtpproxy/tests__acct_rtcp_hep__rtcp.a.pcap": ("fail", 233, 233, 1),
        "asterisk__testsuite/tests__codecs__opus__fec__16_bit_48khz_60_fec_rtp.pcapng": (
            "unknown",
            2997,
            0,
            0,
        ),
    }
    for name, expected in counts.items():
        assert told(tapsight.check(str(captures / name), policy=policy), "V5") == expected


def test_v5_lengths_of_real_streams_tell_srtp(captures: Path) -> None:
    """Of all streams of PCMU or PCMA alone, one is SRTP: the project that has it says so."""
    told_by: dict[str | None, list[str]] = {"plain": [], "tagged": [], None: []}
    for row in capture_index():
        if not {"rtp", "sip"} & set(row["tags"].split(",")):
            continue
        media = tapsight.media(str(captures / row["file"])).to_polars()
        media = media.filter(
            pl.col("packets") >= 3,
            pl.col("payload_types").list.len() == 1,
            pl.col("payload_type").is_in([0, 8]),
        )
        for size in media.select(size=packet_sizes())["size"]:
            told_by[size].append(row["file"])
    assert told_by["tagged"] == ["gteissier__srtp-decrypt/marseillaise-srtp.pcap"]
    assert (len(told_by["plain"]), len(told_by[None])) == (13, 2)


# --- V6, V9 -----------------------------------------------------------------------------------------------------------

BOTH_WAYS = [*stream(A, B, count=200), *stream(B, A, (30000, 20000))]
FORK = [*call(*CLEAR), *BOTH_WAYS, *stream(A, X, begin=0.505, count=200)]


@pytest.mark.parametrize(
    ("packets", "v6", "v9"),
    [
        ([*call(*CLEAR), *BOTH_WAYS], "pass", "pass"),
        # Another receiver beside the one that was described: A4's matter, not B14's.
        (FORK, "pass", "fail"),
        # An undescribed sender, from after the answer on.
        ([*call(*CLEAR), *stream(X, A, (4000, 20000), begin=3)], "fail", "pass"),
        # Nobody saw the call; nobody saw media; too few of them.
        (BOTH_WAYS, "unknown", "pass"),
        (call(*CLEAR), "unknown", "unknown"),
        ([*call(*CLEAR), *stream(A, B, count=20)], "pass", "unknown"),
    ],
)
def test_v6_and_v9_say_what_others_found(tmp_path: Path, packets: list[Packet], v6: str, v9: str) -> None:
    result = heard(tmp_path, PACK, packets)
    assert (told(result, "V6")[0], told(result, "V9")[0]) == (v6, v9)
    # What is found is theirs.
    assert not {"V6", "V9"} & set(result.findings["check"].to_pylist())


def test_v6_and_v9_name_whose_findings_they_are(tmp_path: Path) -> None:
    assert why(heard(tmp_path, PACK, FORK), "V9") == "A4: 1 found"
    strange = [*call(*CLEAR), *stream(X, A, (4000, 20000), begin=3)]
    assert why(heard(tmp_path, PACK, strange), "V6").startswith("B14: 1 found")
    assert why(heard(tmp_path, PACK, call(*CLEAR)), "V6") == "no media were seen"
    off = heard(tmp_path, f"{PACK}[checks.A4]\nenabled = false\n", FORK)
    assert (told(off, "V9")[0], why(off, "V9")) == ("unknown", "A4: switched off by the policy")


@pytest.mark.parametrize(
    ("claims", "word", "reason"),
    [
        ([], "pass", ""),
        # A mirror of calls, and one of something else.
        ([mirror(traffic=["voice-media", "voice-signalling"])], "fail", "A1: 1 found"),
        (
            [mirror("A2.mirror-encapsulation"), claim("A5.forked", severity="high")],
            "fail",
            "A2: 1 found; A5: 1 found",
        ),
        ([mirror(traffic=["internet"])], "pass", ""),
        # Nobody knows what was copied; or the copy is odd rather than proof.
        ([mirror(traffic=[])], "unknown", "1 copy that may be of media (A1)"),
        ([mirror(traffic=["unknown"])], "unknown", "1 copy that may be of media (A1)"),
        ([claim("A5.late", severity="low")], "unknown", "1 copy that may be of media (A5)"),
        # What is no copy.
        ([mirror("A1.tunnel-head-end", kind="tunnel")], "pass", ""),
    ],
)
def test_v9_does_not_pass_where_media_were_copied_otherwise(
    claims: list[dict[str, Any]], word: str, reason: str, tmp_path: Path
) -> None:
    """Media that A4 passes, with what detectors found beside them."""
    made = heard_examination(tmp_path, BOTH_WAYS)
    result = judge(dataclasses.replace(examination(claims=claims), media=made.media), Policy.loads(PACK))
    assert told(result, "A4")[0] == "pass"
    assert (told(result, "V9")[0], why(result, "V9")) == (word, reason)
    assert ("V9" in result.answers[2].because) == (word == "fail")
    listed = PACK + '[checks.I6]\nsinks = ["198.51.100.7"]\n'
    if claims == [mirror(traffic=["voice-media", "voice-signalling"])]:
        result = judge(
            dataclasses.replace(examination(claims=claims), media=made.media), Policy.loads(listed)
        )
        assert told(result, "V9")[0] == "pass"


@pytest.mark.parametrize(
    ("judged", "expected", "reason"),
    [
        (900, ("pass", 254, 254), ""),
        (500, ("pass", 254, 254), ""),
        # 43 % of 254.
        (
            430,
            ("unknown", 254, 109),
            "copies of media may be among packets that others could not judge (A1 judged 43.0 %)",
        ),
        (0, ("unknown", 254, 0), "(A1 judged 0 %)"),
    ],
)
def test_v9_passes_only_if_copies_could_be_seen(
    judged: int, expected: tuple[str, int, int], reason: str, tmp_path: Path
) -> None:
    """Media that A4 passes, 260 packets but for the first three of each stream, of a capture in which A1 could judge so many of 1,000 packets."""
    made = heard_examination(tmp_path, BOTH_WAYS)
    seen = examination(scopes=[scope("A1", 1000, judged), scope("A5", 1000, 900)])
    result = judge(dataclasses.replace(seen, media=made.media), Policy.loads(PACK))
    assert told(result, "V9")[:3] == expected
    assert reason in why(result, "V9")


# --- V7 ---------------------------------------------------------------------------------------------------------------

EF = "[checks.V7]\nvoice = [46]\n"
HELLO = bytes.fromhex("16030100350100003103 03".replace(" ", "")) + bytes(47)
"""The beginning of a connection over TLS (RFC 8446, section 5.1)."""


def other(tos: int, load: bytes = HELLO, host: str = X) -> list[Packet]:
    """What is no voice."""
    return [packet(1, A, host, (40000, 443), Raw(load), tos=tos, layer=TCP)]


@pytest.mark.parametrize(
    ("policy", "packets", "expected"),
    [
        # Of a stream that nobody announced, the first packets are its own as well.
        (EF, stream(A, B), ("pass", 60, 60, 0)),
        (EF, stream(A, B, tos=184 + 2), ("pass", 60, 60, 0)),
        (EF, stream(A, B, tos=0), ("fail", 60, 60, 1)),
        (EF, [*stream(A, B, count=30), *stream(B, A, (30000, 20000), tos=0)], ("fail", 90, 90, 1)),
        ("[checks.V7]\nvoice = [46, 34]\n", stream(A, B, tos=34 << 2), ("pass", 60, 60, 0)),
        # What is no voice may not have it, unless that is agreed; what it is, something has to say.
        (EF, other(0), ("unknown", 0, 0, 0)),
        (EF, other(184), ("fail", 1, 1, 1)),
        (f'{EF}allow = ["{X}"]\n', other(184), ("pass", 1, 1, 0)),
        (EF, other(184, b"\x01\x02\x03"), ("unknown", 1, 0, 0)),
        (EF, [*stream(A, B), *other(184, b"\x01\x02\x03")], ("pass", 61, 60, 0)),
        # Signalling is judged if the policy says what it has to have: 96 is CS3.
        (EF, call(*CLEAR), ("unknown", 0, 0, 0)),
        (f"{EF}signalling = [24]\n", call(*CLEAR), ("pass", 4, 4, 0)),
        (f"{EF}signalling = [26]\n", call(*CLEAR), ("fail", 4, 4, 1)),
        ("[checks.V7]\nsignalling = [24]\n", [*call(*CLEAR), *stream(A, B, tos=0)], ("pass", 4, 4, 0)),
    ],
)
def test_v7_voice_has_its_code_point_and_nothing_else_has(
    tmp_path: Path, policy: str, packets: list[Packet], expected: tuple[str, int, int, int]
) -> None:
    assert told(heard(tmp_path, policy, packets), "V7") == expected


def test_v7_code_points_are_kept_from_tap_to_tap(tmp_path: Path) -> None:
    here, there = stream(A, B), stream(A, B, begin=0.501, tos=34 << 2)
    assert told(heard(tmp_path, EF, here, stream(A, B, begin=0.501)), "V7") == ("pass", 120, 120, 0)
    result = heard(tmp_path, EF, here, there)
    assert told(result, "V7") == ("fail", 120, 120, 1)
    assert sentences(result, "V7") == [
        (
            f"60 packets between {A} and {B} (rtp) went with DSCP 34 (AF41), from 2026-01-01 00:00:00 UTC until "
            f"2026-01-01 00:00:01 UTC (on tap1), not with 46 (EF)."
        )
    ]
    # Both are listed, and yet something rewrote them.
    both = heard(tmp_path, "[checks.V7]\nvoice = [46, 34]\n", here, there)
    assert told(both, "V7") == ("fail", 120, 120, 1)
    assert sentences(both, "V7")[0].endswith("(on tap1), while the first tap that saw them had another.")
    assert "with one tap" in why(heard(tmp_path, EF, here), "V7")
    assert "with one tap" not in why(heard(tmp_path, EF, here, here), "V7")


def test_v7_needs_captures_that_can_be_read_twice(tmp_path: Path) -> None:
    assert told(run(EF, rtp()), "V7") == ("unknown", 0, 0, 0)
    piped = judge(examination(), Policy.loads(EF), captures=Captures([Tap("here", ("-",))]))
    assert why(piped, "V7") == "captures from a pipe cannot be read a second time: give files"
    path, state = tmp_path / "day.pcap", tmp_path / "state"
    for day, word in enumerate(("pass", "unknown")):
        wrpcap(str(path), stream(A, B, begin=86_400 * day))
        result = tapsight.check({"here": str(path)}, policy=Policy.loads(EF), state=state)
        assert told(result, "V7") == (word, 60, 60, 0)


def test_v7_says_what_was_not_there(tmp_path: Path) -> None:
    """Of 60 packets of RTP, none can be judged by a list of no code points, nor by one of signalling."""
    for policy, said in (
        ("[checks.V7]\nvoice = []\n", "the policy lists no code points"),
        ("[checks.V7]\nsignalling = [24]\n", "no signalling of calls was seen"),
    ):
        result = heard(tmp_path, policy, stream(A, B))
        assert (told(result, "V7"), why(result, "V7")) == (("unknown", 0, 0, 0), said)


def test_v7_takes_code_points_of_six_bits() -> None:
    with pytest.raises(PolicyError, match="no code point of DSCP"):
        Policy.loads("[checks.V7]\nvoice = [184]\n")


# --- V8 ---------------------------------------------------------------------------------------------------------------

CODECS = '[checks.V8]\ncodecs = ["pcma", "AMR-WB"]\npacket_times = [20]\n'
DYNAMIC = tuple(
    sip.audio(
        host, port, "rtpmap:96 AMR-WB/16000", "rtpmap:97 opus/48000/2", "rtpmap:101 telephone-event/8000"
    ).replace(" RTP/AVP 8", " RTP/AVP 8 96 97 101")
    for host, port in ((A, 20000), (B, 30000))
)


@pytest.mark.parametrize(
    ("policy", "packets", "expected"),
    [
        (CODECS, stream(A, B), ("pass", 57, 57, 0)),
        (CODECS, stream(A, B, kind=0), ("fail", 57, 57, 1)),
        (CODECS, stream(A, B, step=240, size=240), ("fail", 57, 57, 1)),
        ("[checks.V8]\npacket_times = [20, 30]\n", stream(A, B, step=240, size=240), ("pass", 57, 57, 0)),
        ('[checks.V8]\ncodecs = ["PCMU"]\n', stream(A, B, kind=0, step=240), ("pass", 57, 57, 0)),
        # Without the call, nobody knows what a dynamic type means; with it, one that it does not know is odd.
        (CODECS, stream(A, B, kind=96, step=320), ("unknown", 57, 0, 0)),
        (CODECS, [*call(*DYNAMIC), *stream(A, B, kind=96, step=320)], ("pass", 60, 60, 0)),
        (CODECS, [*call(*DYNAMIC), *stream(A, B, kind=97, step=960)], ("fail", 60, 60, 1)),
        (CODECS, [*call(*DYNAMIC), *stream(A, B, kind=111, step=320)], ("fail", 60, 60, 1)),
        # Reserved: RFC 3551, table 4.
        ("[checks.V8]\npacket_times = [20]\n", [*call(*DYNAMIC), *stream(A, B, kind=2)], ("fail", 60, 60, 1)),
        # Digits and comfort noise may be anywhere.
        (
            CODECS,
            [*call(*DYNAMIC), *stream(A, B, count=50), *stream(A, B, kind=101, count=5, begin=2)],
            ("pass", 55, 55, 0),
        ),
        (CODECS, call(*DYNAMIC), ("unknown", 0, 0, 0)),
    ],
)
def test_v8_codecs_and_packet_times(
    tmp_path: Path, policy: str, packets: list[Packet], expected: tuple[str, int, int, int]
) -> None:
    assert told(heard(tmp_path, policy, packets), "V8") == expected


def test_v8_types_mean_what_their_receiver_says(tmp_path: Path) -> None:
    turned = DYNAMIC[1].replace("rtpmap:96 AMR-WB/16000", "rtpmap:96 opus/48000/2")
    turned = turned.replace("rtpmap:97 opus/48000/2", "rtpmap:97 AMR-WB/16000")
    packets = [
        *call(DYNAMIC[0], turned),
        *stream(A, B, kind=97, step=320),
        *stream(B, A, (30000, 20000), kind=96, step=320),
    ]
    assert told(heard(tmp_path, '[checks.V8]\ncodecs = ["AMR-WB"]\n', packets), "V8") == ("pass", 120, 120, 0)


def test_v8_says_what_is_wrong(tmp_path: Path) -> None:
    def text(policy: str, *packets: Packet) -> str:
        (found,) = sentences(heard(tmp_path, policy, list(packets)), "V8")
        return found

    assert " were opus (payload type 97), which the policy does not list, " in text(
        CODECS, *call(*DYNAMIC), *stream(A, B, kind=97, step=960)
    )
    assert " held 30 ms each, which the policy does not list, " in text(
        CODECS, *stream(A, B, step=240, size=240)
    )
    assert " had payload type 111, which neither their call nor a standard knows, " in text(
        CODECS, *call(*DYNAMIC), *stream(A, B, kind=111, step=320)
    )


def test_v8_tells_codecs_of_one_payload_type_apart(tmp_path: Path) -> None:
    """Payload type 96 is AMR-WB in the first call, and iLBC in the second between the same hosts; 60 packets of each."""
    other = [
        sip.audio(host, port).replace("RTP/AVP 8", "RTP/AVP 96") for host, port in ((A, 40000), (B, 50000))
    ]
    second = [re.sub(r"a=rtpmap:8 .*", "a=rtpmap:96 iLBC/8000\r", each) for each in other]
    dialog = sip.Dialog(A, B, "two@a", "a2", "b2")
    steps = (
        (0.6, A, B, dialog.request("INVITE", 1, second[0])),
        (0.7, B, A, dialog.response(200, "OK", "INVITE", 1, second[1])),
    )
    packets = [
        *call(*DYNAMIC, *steps),
        *stream(A, B, kind=96, step=320),
        *stream(A, B, (40000, 50000), kind=96, begin=1),
    ]
    found = sentences(heard(tmp_path, '[checks.V8]\ncodecs = ["PCMA"]\n', packets), "V8")
    assert sorted(re.sub(r", from .*", "", text) for text in found) == [
        f"60 packets of media in 1 stream between {A} and {B} were AMR-WB (payload type 96), which the policy does not list",
        f"60 packets of media in 1 stream between {A} and {B} were iLBC (payload type 96), which the policy does not list",
    ]


def test_v8_of_a_real_call(captures: Path) -> None:
    name = str(captures / "markofu__pcaps/HoneyNet__0410__Forensic_challenge_4.pcap")
    # tshark: PCMU in packets of 20 ms and telephone-event, as negotiated.
    policy = Policy.loads('[checks.V8]\ncodecs = ["PCMU"]\npacket_times = [20]\n')
    assert told(tapsight.check(name, policy=policy), "V8") == ("pass", 3113, 3113, 0)
    policy = Policy.loads('[checks.V8]\ncodecs = ["PCMA"]\n')
    assert told(tapsight.check(name, policy=policy), "V8") == ("fail", 3113, 3113, 1)


# --- V10 --------------------------------------------------------------------------------------------------------------

NATIONAL = f'[checks.V10]\nnumbers = ["112"]\nprefixes = ["+49", "030"]\npeers = ["{A}", "{B}"]\n'


@pytest.mark.parametrize(
    ("user", "dst", "expected"),
    [
        ("112", B, ("pass", 1, 1, 0)),
        ("112", X, ("fail", 1, 1, 1)),
        ("1120", X, ("unknown", 0, 0, 0)),
        ("+493012345678", B, ("pass", 1, 1, 0)),
        ("+49-30-1234.5678;npdi", X, ("fail", 1, 1, 1)),
        ("00493012345678", X, ("fail", 1, 1, 1)),
        ("03012345678", X, ("fail", 1, 1, 1)),
        ("+33112", X, ("unknown", 0, 0, 0)),
        ("alice", X, ("unknown", 0, 0, 0)),
    ],
)
def test_v10_goes_by_who_is_called(
    tmp_path: Path, user: str, dst: str, expected: tuple[str, int, int, int]
) -> None:
    result = heard(tmp_path, NATIONAL, call(*CLEAR, user=user, dst=dst))
    assert told(result, "V10") == expected
    assert "12345678" not in "".join(sentences(result, "V10"))


def test_v10_says_which_entry_and_never_whom(tmp_path: Path) -> None:
    (text,) = sentences(heard(tmp_path, NATIONAL, call(*CLEAR, user="00493012345678", dst=X)), "V10")
    assert text == (
        f"1 call for +49… went to {X}, at 2026-01-01 00:00:00 UTC (on tap0), which the policy does not list as a national peer."
    )
    whole = NATIONAL.replace('"112"', '"+4930115"')
    (text,) = sentences(heard(tmp_path, whole, call(*CLEAR, user="+4930115", dst=X)), "V10")
    assert text.startswith("1 call for a number of 8 digits that the policy lists went to ")


def test_v10_does_not_judge_calls_of_which_nobody_saw_the_number(tmp_path: Path) -> None:
    late = call(*CLEAR, user="112", dst=X)[1:]
    hello = [packet(0, A, X, (40000, 5061), Raw(HELLO), layer=TCP)]
    # A call with its beginning, one over TLS, and one that began before.
    result = heard(tmp_path, NATIONAL, [*call(*CLEAR, user="112"), *hello])
    assert told(result, "V10") == ("pass", 2, 1, 0)
    assert told(heard(tmp_path, NATIONAL, late), "V10") == ("unknown", 1, 0, 0)
    # A service by its name (RFC 5031); and a host, which is no number.
    named = call(*CLEAR, user="urn:service:sos@", dst=X)
    invite = sip.edited(
        named[0][Raw].load, lambda text: text.replace("sip:urn:service:sos@@192.0.2.66", "urn:service:sos")
    )
    named[0] = packet(0, A, X, (5060, 5060), Raw(invite))
    assert b"INVITE urn:service:sos SIP/2.0" in invite
    assert told(heard(tmp_path, NATIONAL, named), "V10") == ("unknown", 1, 0, 0)
    assert told(heard(tmp_path, NATIONAL, call(*CLEAR, dst=X)), "V10") == ("unknown", 0, 0, 0)
    assert told(
        heard(tmp_path, f"{NATIONAL}min_coverage = 0.9\n", [*call(*CLEAR, user="112"), *hello]), "V10"
    ) == (
        "unknown",
        2,
        1,
        0,
    )


FOREIGN, OTHER_FOREIGN = "192.0.2.67", "192.0.2.68"


def from_abroad() -> list[Packet]:
    """A call from X for a number of the country that A answers; the caller's side goes on from other hosts of its own (RFC 3261, section 12.2.1.1)."""
    there = sip.Dialog(X, A, "one@x", "a1", "b1")
    back = there.turned()
    invite = sip.edited(
        there.request("INVITE", 1, CLEAR[0]),
        lambda text: text.replace("INVITE sip:", "INVITE sip:+4930123@", 1),
    )
    steps = [
        (0.0, X, A, invite),
        (0.2, A, X, there.response(200, "OK", "INVITE", 1, CLEAR[1])),
        (0.3, FOREIGN, A, there.request("ACK", 1)),
        # Who was called asks for other media, and hangs up.
        (2.0, A, OTHER_FOREIGN, back.request("INVITE", 2, CLEAR[1])),
        (2.2, OTHER_FOREIGN, A, back.response(200, "OK", "INVITE", 2, CLEAR[0])),
        (9.0, A, FOREIGN, back.request("BYE", 3)),
        (9.1, FOREIGN, A, back.response(200, "OK", "BYE", 3)),
    ]
    return [packet(time, src, to, (5060, 5060), Raw(load)) for time, src, to, load in steps]


def test_v10_does_not_take_the_callers_side_for_where_a_call_went(tmp_path: Path) -> None:
    assert told(heard(tmp_path, NATIONAL, from_abroad()), "V10") == ("pass", 1, 1, 0)
    # A sends it on, and another one answers.
    there = sip.Dialog(X, A, "one@x", "a1", "b1")
    invite = from_abroad()[0][Raw].load
    answer = there.response(200, "OK", "INVITE", 1, CLEAR[1])
    sent_on = [
        packet(0.1, A, FOREIGN, (5060, 5060), Raw(invite)),
        packet(0.15, OTHER_FOREIGN, A, (5060, 5060), Raw(answer)),
    ]
    result = heard(tmp_path, NATIONAL, [*from_abroad(), *sent_on])
    assert told(result, "V10") == ("fail", 1, 1, 2)
    assert sorted(text.split(",")[0] for text in sentences(result, "V10")) == [
        f"1 call for +49… went to {FOREIGN}",
        f"1 call for +49… went to {OTHER_FOREIGN}",
    ]


def test_v10_doubts_where_captures_cannot_be_read_once_more(tmp_path: Path) -> None:
    wrpcap(str(tmp_path / "x.pcap"), from_abroad())
    tapsight.digest(f"inside={tmp_path / 'x.pcap'}", tmp_path / "x.digest")
    result = tapsight.check(str(tmp_path / "x.digest"), policy=Policy.loads(NATIONAL))
    assert told(result, "V10") == ("unknown", 1, 1, 0)
    assert why(result, "V10") == "where 1 call went, captures would tell if they could be read once more"


def for_uri(uri: str, dst: str) -> list[Packet]:
    """A call from A of which the INVITE has this Request-URI."""
    packets = call(*CLEAR, dst=dst)
    invite = sip.edited(
        packets[0][Raw].load, lambda text: text.replace(f"INVITE sip:{dst} ", f"INVITE {uri} ", 1)
    )
    assert f"INVITE {uri} SIP/2.0".encode() in invite
    return [packet(0, A, dst, (5060, 5060), Raw(invite)), *packets[1:]]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        # Local numbers, in the context of a country, or of an area of one (RFC 3966, section 5.1.5).
        ("tel:030123456;phone-context=+44", "fail"),
        ("tel:40123456;phone-context=+49", "fail"),
        ("tel:123456;phone-context=+49-30", "fail"),
        ("tel:123456;phone-context=+33", "unknown"),
        ("tel:123456;phone-context=example.com", "unknown"),
        ("tel:+4930123456", "fail"),
        # Services (RFC 5031): that of the policy, and those below it.
        ("urn:service:sos", "fail"),
        ("urn:service:sos.fire", "fail"),
        ("URN:service:sos", "fail"),
        ("urn:service:sosial", "unknown"),
    ],
)
def test_v10_reads_telephone_uris_and_names_of_services(uri: str, expected: str, tmp_path: Path) -> None:
    policy = NATIONAL.replace('"112"', '"112", "urn:service:sos"')
    result = heard(tmp_path, policy, for_uri(uri, X))
    assert told(result, "V10")[0] == expected
    assert "123456" not in "".join(sentences(result, "V10"))
    if expected == "fail":
        assert told(heard(tmp_path, policy, for_uri(uri, B)), "V10")[0] == "pass"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('numbers = ["112"]', "needs set `peers`"),
        (f'peers = ["{A}"]', "needs set `numbers` or `prefixes`"),
    ],
)
def test_v10_needs_both(text: str, words: str) -> None:
    assert why(run(f"[checks.V10]\n{text}\n"), "V10").startswith(words)


@pytest.mark.parametrize(
    ("codec", "says"),
    [
        ("PCMAA", '"PCMAA" is no encoding that is known; did you mean "PCMA"?'),
        ("AMRWB", 'did you mean "AMR-WB"?'),
        ("PCMA/8000", 'has a clock rate: write "PCMA"'),
        (8, "must be the name of an encoding in quotes"),
    ],
)
def test_v8_refuses_what_is_nearly_an_encoding(codec: object, says: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(says)):
        Policy.loads(f"[checks.V8]\ncodecs = [{json.dumps(codec)}]\n")


def test_v8_takes_encodings_of_the_engine_and_others() -> None:
    known = re.search(
        r"const NAMES[^=]*= \[(.*?)\];", (ROOT / "src" / "wire" / "sdp.rs").read_text(), re.DOTALL
    )
    assert known is not None
    names = re.findall(r'"([^"]+)"', known[1])
    assert len(names) > 50
    Policy.loads(f"[checks.V8]\ncodecs = {json.dumps([*names, *map(str.lower, names), 'X-OWN'])}\n")


def test_v10_refuses_what_is_no_number() -> None:
    with pytest.raises(PolicyError, match="must be a number in quotes"):
        Policy.loads('[checks.V10]\nnumbers = ["police"]\n')
    with pytest.raises(PolicyError, match="must be the name of a service"):
        Policy.loads('[checks.V10]\nnumbers = ["urn:service:"]\n')
    with pytest.raises(PolicyError, match="must be a number in quotes"):
        Policy.loads('[checks.V10]\nprefixes = ["urn:service:sos"]\n')


def test_v10_of_real_calls(captures: Path) -> None:
    name = str(captures / "zeek__zeek/testing__btest__Traces__sip__wireshark.pcap")
    # tshark: 0097239287044 and 97239287044 are called; of the former, two Call-IDs.
    policy = '[checks.V10]\nprefixes = ["+972"]\npeers = ["{}"]\n'
    assert told(tapsight.check(name, policy=Policy.loads(policy.format(X))), "V10") == ("fail", 2, 2, 1)
    listed = Policy.loads(policy.format("212.242.33.35"))
    assert told(tapsight.check(name, policy=listed), "V10") == ("pass", 2, 2, 0)
