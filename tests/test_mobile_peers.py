"""Who signals with whom in mobile networks, and asks for what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import brief, ether, findings
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw
from scapy.utils import wrpcap

import tapsight
from tapsight._check import plain_rows
from tapsight.lab import mobile
from tapsight.lab.packet import Packet
from tapsight.policy import Policy, PolicyError

OWN, OTHER, PEER, STRANGER = "192.0.2.1", "192.0.2.2", "203.0.113.1", "198.51.100.66"
HERE, THERE = ("32220000001", 6), ("97120000001", 7)
IMSI = "206991234567890"
POLICY = f"""
[checks.B20]
own = ["192.0.2.0/28"]
peers = [{{ addresses = "{PEER}", titles = ["9712"], realms = ["{mobile.realm("424", "99")}"] }}]
"""


def frame(packet: Packet, at: float) -> Any:
    return ether(IP(packet.encode()), at=at)


def map_(
    operation: tuple[int, bytes],
    src: str = PEER,
    dst: str = OWN,
    *,
    calling: tuple[str, int] = THERE,
    called: tuple[str, int] = HERE,
    context: tuple[int, int] = mobile.LOCATION_ENQUIRY,
    at: float = 0.0,
) -> Any:
    data = mobile.unitdata(called, calling, mobile.begin(7, context, operation))
    return frame(mobile.sctp(src, dst, mobile.M3UA, int(at * 100), mobile.m3ua(1, 2, data)), at)


def s6a(command: int, origin: str, src: str = PEER, dst: str = OWN, *, at: float = 0.0) -> Any:
    message = mobile.diameter(command, origin, mobile.realm("206", "99"), 9, IMSI, request=True)
    return frame(mobile.sctp(src, dst, mobile.DIAMETER, int(at * 100), message), at)


def tunnelled(src: str, dst: str, inner: Packet, *, at: float = 0.0) -> Any:
    return frame(mobile.gtpu(src, dst, 7, int(at * 100), inner.encode()), at)


INNER = Packet("10.0.0.1", "10.0.0.2", 17, 1000, 2000, bytes(range(100)), ip_id=9)
ECHO = mobile.gtpc("10.0.0.1", "10.0.0.2", 32, 0, 1, mobile.full_endpoint("10.0.0.1", 1, 6))
LOCATE, UPDATE = mobile.any_time_interrogation(IMSI, THERE[0]), mobile.update_location(IMSI, THERE[0])
INSERT = mobile.insert_subscriber_data(IMSI)
CATEGORY_1 = [("B20.category-1", "high")]
UNLISTED = ("B20.unlisted-peer", "medium")
PARTNER = mobile.realm("424", "99")


@pytest.mark.parametrize(
    ("packets", "wanted"),
    [
        ([map_(LOCATE)], CATEGORY_1),
        # Within the network, it may be asked; and what partners may ask for, too.
        ([map_(LOCATE, OTHER, OWN)], []),
        ([map_(INSERT), map_(UPDATE, at=1)], []),
        ([map_(INSERT, OWN, PEER, calling=HERE, called=THERE)], []),
        # In another's name.
        ([map_(UPDATE, calling=("88234000001", 7))], [("B20.gt-mismatch", "high")]),
        ([map_(LOCATE, calling=("88234000001", 147))], [*CATEGORY_1, ("B20.gt-mismatch", "high")]),
        # From nobody.
        ([map_(INSERT, STRANGER)], [("B20.category-2", "medium"), UNLISTED]),
        ([map_(UPDATE, STRANGER)], [("B20.category-3", "medium"), UNLISTED]),
        # The same codes are others in CAP (22 releases a call), told by its context, or by subsystem 146.
        ([map_((22, b"\x80\x02\x80\x90"), context=(50, 1))], []),
        ([map_((22, b"\x80\x02\x80\x90"), calling=(THERE[0], 146))], CATEGORY_1),
        ([s6a(318, PARTNER), s6a(317, PARTNER, at=1)], []),
        ([s6a(318, f"MME.{PARTNER}".upper())], []),
        ([s6a(318, mobile.realm("901", "88"))], [("B20.realm-mismatch", "high")]),
        ([s6a(318, f"evil{PARTNER}")], [("B20.realm-mismatch", "high")]),
        ([s6a(317, PARTNER, STRANGER)], [("B20.category-2", "medium"), UNLISTED]),
        ([frame(mobile.gtpc(PEER, OWN, 32, 0, 1, mobile.ACCEPTED), 0)], []),
        ([frame(mobile.gtpc(STRANGER, OWN, 32, 0, 1, mobile.ACCEPTED), 0)], [UNLISTED]),
        ([tunnelled(PEER, OWN, INNER)], []),
        ([tunnelled(OWN, STRANGER, INNER)], [UNLISTED]),
        ([tunnelled(PEER, OWN, ECHO)], [("B20.gtp-in-gtp", "medium")]),
        (
            [tunnelled(PEER, OWN, mobile.gtpu("10.0.0.1", "10.0.0.2", 8, 1, INNER.encode()))],
            [("B20.gtp-in-gtp", "medium")],
        ),
        # Between two others, both have to be listed.
        ([tunnelled(PEER, STRANGER, INNER)], [UNLISTED]),
    ],
)  # fmt: skip
def test_what_may_come_over_an_interconnect(packets: list[Any], wanted: Any, tmp_path: Path) -> None:
    assert sorted(brief(findings(packets, tmp_path, "B20", POLICY))) == sorted(wanted)


def verdict(packets: list[Any], folder: Path, policy: str = "") -> tuple[str, str | None]:
    wrpcap(str(folder / "x.pcap"), packets)
    result = tapsight.check(folder / "x.pcap", policy=Policy.loads(policy))
    row = next(row for row in plain_rows(result.verdicts) if row["check"] == "B20")
    return row["verdict"], row["reason"]


def test_without_a_policy_nothing_is_reported_and_nothing_passed(tmp_path: Path) -> None:
    packets = [
        map_(LOCATE),
        map_(UPDATE, STRANGER, at=1),
        s6a(317, PARTNER, at=2),
        tunnelled(PEER, OWN, INNER, at=3),
    ]
    for policy, words in [
        ("", "needs own and peers"),
        ('[checks.B20]\npeers = ["203.0.113.200"]', "[checks.B20] own would tell"),
        ('[checks.B20]\nown = ["192.0.2.0/24", "203.0.113.0/24", "198.51.100.0/24"]', None),
    ]:
        word, reason = verdict(packets, tmp_path, policy)
        assert word == ("unknown" if words else "pass"), (policy, reason)
        assert words is None or words in str(reason)
    # The boundary alone tells of category 1; who may be a peer, it does not.
    assert verdict(packets, tmp_path, '[checks.B20]\nown = ["192.0.2.0/24"]')[0] == "fail"
    word, reason = verdict([map_(UPDATE)], tmp_path, '[checks.B20]\nown = ["192.0.2.0/24"]')
    assert (word, "needs peers" in str(reason)) == ("unknown", True)


def test_subscribers_are_in_no_claim(tmp_path: Path) -> None:
    # Routed by a subscriber's number; the answer comes in that name.
    msisdn = ("32475123456", 6)
    answer = mobile.unitdata(THERE, msisdn, mobile.end(7))
    packets = [
        map_(LOCATE, called=msisdn),
        frame(mobile.sctp(OWN, PEER, mobile.M3UA, 5, mobile.m3ua(2, 1, answer)), 0.1),
        s6a(318, PARTNER, at=1),
    ]
    wrpcap(str(tmp_path / "x.pcap"), packets)
    result = tapsight.check(tmp_path / "x.pcap", policy=Policy.loads(POLICY))
    text = repr(plain_rows(result.claims)) + result.to_json()
    assert THERE[0] in text
    assert msisdn[0] not in text and IMSI not in text and IMSI[5:] not in text


def test_dialogues_without_context_are_known_by_their_subsystems(tmp_path: Path) -> None:
    def bare(called: int, calling: int) -> Any:
        operation, argument = LOCATE
        invoke = mobile.ber(0xA1, bytes((2, 1, 1, 2, 1, operation)) + argument)
        data = mobile.ber(0x62, mobile.ber(0x48, b"\0\0\0\1") + mobile.ber(0x6C, invoke))
        message = mobile.m3ua(1, 2, mobile.unitdata((HERE[0], called), (THERE[0], calling), data))
        return frame(mobile.sctp(PEER, OWN, mobile.M3UA, 1, message), 0)

    for called, calling, wanted in [(6, 147, CATEGORY_1), (146, 8, []), (250, 254, [])]:
        assert brief(findings([bare(called, calling)], tmp_path, "B20", POLICY)) == wanted


def test_a_packet_on_two_taps_counts_once(tmp_path: Path) -> None:
    found = findings([map_(LOCATE, at=n) for n in range(3)], tmp_path, "B20", POLICY, taps=2)
    assert [row["packets"] for row in found] == [3]


def test_segments_of_sccp_are_not_judged(tmp_path: Path) -> None:
    # ITU-T Q.713 section 4.18: extended unitdata with a segmentation parameter, and the later part of a message.
    whole = mobile.unitdata(HERE, THERE, b"\x01\x02\x03\x04")
    message = mobile.m3ua(1, 2, whole)
    word, reason = verdict([frame(mobile.sctp(PEER, OWN, mobile.M3UA, 1, message), 0)], tmp_path, POLICY)
    assert (word, "could not be read" in str(reason)) == ("unknown", True)


def test_gtp_in_another_tunnel_is_not_judged(tmp_path: Path) -> None:
    from scapy.layers.l2 import GRE

    inner = IP(mobile.gtpu(PEER, OWN, 7, 1, INNER.encode()).encode())
    word, reason = verdict(
        [ether(IP(src="10.1.1.1", dst="10.1.1.2", id=5) / GRE() / inner)], tmp_path, POLICY
    )
    assert (word, "packets in other tunnels" in str(reason)) == ("unknown", True)


def test_it_goes_on_from_a_state(tmp_path: Path) -> None:
    packets = [map_(LOCATE), s6a(318, PARTNER, at=1), map_(LOCATE, at=2), tunnelled(PEER, OWN, ECHO, at=3)]
    parts = []
    for n, packet in enumerate(packets):
        parts.append(str(tmp_path / f"{n}.pcap"))
        wrpcap(parts[-1], packet)
    whole = tapsight.check({"tap": parts})
    for part in parts:
        last = tapsight.check({"tap": part}, state=tmp_path / "state")
    assert plain_rows(last.claims) == plain_rows(whole.claims)
    assert {"B20.category-1", "B20.title", "B20.realm", "B20.gtp-in-gtp"} <= {
        row["detector"] for row in plain_rows(last.claims)
    }


def test_names_without_end_are_bounded(tmp_path: Path) -> None:
    def named(n: int) -> Any:
        return map_(UPDATE, calling=(f"{n:015d}", 7), at=n / 100)

    word, reason = verdict([named(n) for n in range(4200)], tmp_path)
    assert word == "unknown"
    assert "104 messages found no room in the table of claims" in str(reason) or "own and peers" in str(
        reason
    )
    result = tapsight.check(tmp_path / "x.pcap")
    assert sum(row["detector"] == "B20.title" for row in plain_rows(result.claims)) == 4096


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('peers = [{ addresses = "192.0.2.1", titles = ["x"] }]', "beginnings of global titles"),
        ('peers = [{ addresses = "192.0.2.1", categories = [4] }]', "some of 1, 2 and 3"),
        ('peers = [{ addresses = "192.0.2.1", title = ["32"] }]', 'did you mean "titles"'),
        ('peers = ["grx"]', 'no set is named "grx"'),
    ],
)
def test_errors_of_the_policy(line: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Policy.loads(f"[checks.B20]\n{line}\n")


def test_no_udp_is_taken_for_gtp(tmp_path: Path) -> None:
    packet = ether(IP(src=PEER, dst=OWN, id=3) / UDP(sport=2123, dport=2123) / Raw(b"no such thing"))
    assert verdict([packet], tmp_path, POLICY)[1] == "no packets that it could look at"
