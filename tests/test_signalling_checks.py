"""Checks of mobile signalling: what passes, what fails, what nobody can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import ether
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap
from tables import examination, flow
from test_checks import findings_of, run, told, verdict
from test_mobile_peers import (
    ECHO,
    INNER,
    LOCATE,
    OWN,
    PARTNER,
    PEER,
    POLICY,
    STRANGER,
    UPDATE,
    map_,
    s6a,
    tunnelled,
)

import tapsight
from tapsight._check import judge, plain_rows
from tapsight.lab import mobile
from tapsight.policy import Policy

PACK = 'packs = ["mobile-signalling"]\n'


def words(packets: list[Any], folder: Path, policy: str) -> dict[str, tuple[str, str | None]]:
    """The verdict and reason of each check of the pack."""
    wrpcap(str(folder / "x.pcap"), packets)
    result = tapsight.check(folder / "x.pcap", policy=Policy.loads(PACK + policy))
    return {
        row["check"]: (row["verdict"], row["reason"])
        for row in plain_rows(result.verdicts)
        if row["check"] in {"S1", "S2", "S3"}
    }


# --- S1, S2 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packets", "s1", "s2"),
    [
        # A partner updates a location in its own name, by both protocols: nothing is wrong.
        ([map_(UPDATE), s6a(318, PARTNER, at=1)], "pass", "pass"),
        # It asks where somebody is, which only the network itself may; as a peer it is agreed.
        ([map_(LOCATE)], "pass", "fail"),
        ([map_(UPDATE, STRANGER)], "fail", "pass"),
        ([map_(UPDATE, calling=("88234000001", 7))], "fail", "pass"),
        ([s6a(318, mobile.realm("901", "88"))], "fail", "pass"),
        ([map_(LOCATE, STRANGER)], "fail", "fail"),
        # GTP inside of GTP-U is neither: that is S3's.
        ([tunnelled(PEER, OWN, ECHO)], "pass", "pass"),
    ],
)
def test_s1_and_s2_say_what_b20_found_of_peers_and_of_category_1(
    packets: list[Any], s1: str, s2: str, tmp_path: Path
) -> None:
    said = words(packets, tmp_path, POLICY)
    assert (said["S1"][0], said["S2"][0]) == (s1, s2), said


def test_s1_and_s2_need_what_b20_needs(tmp_path: Path) -> None:
    packets = [map_(LOCATE), map_(UPDATE, STRANGER, at=1)]
    said = words(packets, tmp_path, "")
    assert said["S1"] == ("unknown", "needs set `own` and `peers` in [checks.B20]")
    assert said["S2"] == ("unknown", "needs set `own` in [checks.B20]")
    # The boundary is enough to tell of category 1; who is a peer, it does not tell.
    own = '[checks.B20]\nown = ["192.0.2.0/28"]\n'
    said = words(packets, tmp_path, own)
    assert said["S1"] == ("unknown", "needs set `peers` in [checks.B20]")
    assert said["S2"] == ("fail", "B20: 1 found")
    assert words([map_(UPDATE)], tmp_path, own)["S2"][0] == "pass"


def test_what_a_policy_lets_a_peer_ask_is_agreed(tmp_path: Path) -> None:
    agreed = f'[checks.B20]\nown = ["{OWN}"]\npeers = [{{ addresses = "{PEER}", categories = [1, 2, 3] }}]\n'
    assert words([map_(LOCATE)], tmp_path, agreed)["S2"][0] == "pass"


def test_s1_and_s2_are_unknown_without_signalling_or_without_b20(tmp_path: Path) -> None:
    quiet = [ether(IP(INNER.encode()))]
    said = words(quiet, tmp_path, POLICY)
    assert said["S1"][0] == said["S2"][0] == "unknown"
    off = words([map_(LOCATE)], tmp_path, POLICY + "enabled = false\n")
    assert off["S1"][0] == off["S2"][0] == "unknown"
    assert "switched off" in str(off["S2"][1])


# --- S3 ---------------------------------------------------------------------------------------------------------------

NODES = PACK + '[checks.S3]\nnodes = ["192.0.2.0/28", "203.0.113.0/28"]\n'


def gtpu(src: str = PEER, dst: str = OWN, **other: Any) -> dict[str, Any]:
    """Subscribers' packets in a tunnel of GTP-U."""
    return flow(
        "10.0.0.1",
        "10.0.0.2",
        **{
            "src_port": 40000,
            "dst_port": 443,
            "encap": "gtpu",
            "outer_src": src,
            "outer_dst": dst,
            "tunnel_id": 7,
        }
        | other,
    )


def test_s3_passes_listed_nodes_in_both_directions_and_their_own_messages() -> None:
    echo = flow(OWN, PEER, app="gtp-u", basis="signature", packets=2)
    result = run(NODES, flows=[gtpu(), gtpu(OWN, PEER), echo, flow(packets=7)])
    assert told(result, "S3") == ("pass", 202, 202)


@pytest.mark.parametrize(
    "odd",
    [gtpu(STRANGER), gtpu(OWN, STRANGER), flow(STRANGER, OWN, app="gtp-u", basis="signature")],
)
def test_s3_fails_other_ends(odd: dict[str, Any]) -> None:
    result = run(NODES, flows=[gtpu(), odd])
    assert told(result, "S3") == ("fail", 200, 200)
    (finding,) = findings_of(result)
    assert (finding["check"], finding["packets"], finding["attack"]) == ("S3", 100, ["T1572"])
    assert finding["sentence"] == (
        f"{OWN} and {STRANGER} exchanged 100 packets of GTP-U, from 2026-01-01 12:00:00 UTC until 2026-01-01 12:01:00 UTC (on inside), "
        "but the policy does not list both as nodes that do."
    )


@pytest.mark.parametrize(
    "nested",
    [
        gtpu(encap="gtpu/gtpu", packets=5),
        gtpu(app="gtp-c", basis="signature", packets=5),
        # Also where the ends of the tunnel are not shown.
        gtpu(encap="gre/gtpu/gtpu", packets=5),
    ],
)
def test_s3_fails_gtp_inside_of_gtp(nested: dict[str, Any]) -> None:
    result = run(NODES, flows=[gtpu(), nested])
    assert told(result, "S3") == ("fail", 105, 105)
    (finding,) = findings_of(result)
    assert "carried GTP inside of GTP-U, 5 packets such as from 10.0.0.1 to 10.0.0.2" in finding["sentence"]


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        # Whose ends another tunnel hides, and what only a port makes look like it.
        ([gtpu(encap="gre/gtpu")], ("unknown", 100, 0)),
        ([flow(STRANGER, OWN, app="gtp-u", basis="port")], ("unknown", 100, 0)),
        ([gtpu(app="gtp-c", basis="port")], ("unknown", 100, 0)),
        ([gtpu(STRANGER, app="gtp-c", basis="port")], ("fail", 100, 100)),
        ([gtpu(), gtpu(encap="gre/gtpu", packets=50)], ("pass", 150, 100)),
        ([flow()], ("unknown", 0, 0)),
    ],
)
def test_s3_does_not_judge_what_is_not_shown(
    flows: list[dict[str, Any]], expected: tuple[str, int, int]
) -> None:
    assert told(run(NODES, flows=flows), "S3") == expected


def test_s3_without_its_list_is_unknown() -> None:
    assert verdict(run(PACK, flows=[gtpu(STRANGER)]), "S3")["reason"] == "needs set `nodes` in [checks.S3]"


def test_s3_reads_packets(tmp_path: Path) -> None:
    listed = f'[checks.S3]\nnodes = ["{OWN}", "{PEER}"]\n'
    assert words([tunnelled(PEER, OWN, INNER)], tmp_path, listed)["S3"] == ("pass", None)
    assert words([tunnelled(STRANGER, OWN, INNER)], tmp_path, listed)["S3"][0] == "fail"
    assert words([tunnelled(PEER, OWN, ECHO)], tmp_path, listed)["S3"][0] == "fail"
    within = mobile.gtpu("10.0.0.1", "10.0.0.2", 8, 1, INNER.encode())
    assert words([tunnelled(PEER, OWN, within)], tmp_path, listed)["S3"][0] == "fail"


def cut(packets: list[Any], size: int) -> list[Any]:
    """The packets with no more than so many bytes captured, of as many as there were."""
    shown = []
    for each in packets:
        part = Ether(bytes(each)[:size])
        part.wirelen = len(bytes(each))
        shown.append(part)
    return shown


@pytest.mark.parametrize(
    ("size", "honest", "nested"),
    [
        # Ethernet 14, IPv4 20, UDP 8, GTP-U 8: 50. Inside IPv4 20 until 70, its UDP until 78, and GTP-U of the subscriber's behind.
        (200, "pass", "fail"),
        (76, "unknown", "unknown"),
        (64, "unknown", "unknown"),
        (50, "unknown", "unknown"),
    ],
)
def test_s3_does_not_judge_what_was_cut_away(size: int, honest: str, nested: str, tmp_path: Path) -> None:
    listed = f'[checks.S3]\nnodes = ["{OWN}", "{PEER}"]\n'
    within = mobile.gtpu("10.0.0.1", "10.0.0.2", 8, 1, INNER.encode())
    for inner, expected in ((INNER, honest), (within, nested)):
        packets = cut([tunnelled(PEER, OWN, inner)], size)
        assert words(packets, tmp_path, listed)["S3"][0] == expected
        # Whose ends are wrong is wrong, whatever is inside.
        strange = cut([tunnelled(STRANGER, OWN, inner)], size)
        assert words(strange, tmp_path, listed)["S3"][0] == "fail"


def test_the_pack_is_off_unless_asked_for() -> None:
    result = judge(examination(), Policy.loads(""))
    assert not {"S1", "S2", "S3"} & set(result.verdicts["check"].to_pylist())
