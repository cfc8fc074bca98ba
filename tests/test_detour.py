"""National traffic that leaves the country (B19, I1): by hand-made flows, built packets and the lab, with each guard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.contrib.mpls import MPLS  # type: ignore[import-untyped]
from scapy.layers.inet import IP, TCP, UDP  # type: ignore[import-untyped]
from scapy.layers.l2 import GRE, Dot1Q, Ether  # type: ignore[import-untyped]
from scapy.packet import Raw  # type: ignore[import-untyped]
from scapy.utils import wrpcap  # type: ignore[import-untyped]
from tables import NOON, SECOND, claim, covered, examination, flow, mac, mirror, why
from typer.testing import CliRunner

import tapsight
from tapsight._check import Result, judge
from tapsight.cli import app
from tapsight.lab import Confounder, Implant, Scenario, generate
from tapsight.lab.evaluate import Calm, alarms
from tapsight.places import Places
from tapsight.policy import Policy, PolicyError

PLACES = "prefix,country\n20.0.0.0/8,NO\n21.0.0.0/8,SJ\n30.0.0.0/8,SE\n31.0.0.0/8,DK\n40.0.0.0/8,EU\n2a00::/16,NO\n"
NETWORK = '[network]\nhome = ["NO", "SJ"]\nanycast = ["20.0.53.0/24"]\n[places]\nfiles = ["places.csv"]\n'
ZONES = '[zones]\nlink = { macs = ["02:00:00:00:00:09"], mpls = [24001], vlans = [900], taps = ["stockholm"], country = "SE" }\n'
ZONES += 'core = { macs = ["02:00:00:00:00:01"], taps = ["oslo"], country = "NO" }\n'
NONE = "[checks.I1]\nallow = []\n"
ABROAD, AT_HOME, UNLISTED = "02:00:00:00:00:09", "02:00:00:00:00:01", "02:00:00:00:00:02"
GRE_ABROAD = {"encap": "gre", "outer_src": "20.0.9.9", "outer_dst": "30.0.0.1"}
MS = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "places.csv").write_text(PLACES)
    return tmp_path


def run(
    folder: Path, flows: list[dict[str, Any]], policy: str = NETWORK + ZONES + NONE, **more: Any
) -> Result:
    return judge(examination(flows=flows, **more), Policy.loads(policy, folder=folder))


def findings(result: Result, check: str) -> list[dict[str, Any]]:
    rows = result.findings.drop_columns(["first_ts", "last_ts"]).to_pylist()
    return [row for row in rows if row["check"] == check]


def severities(result: Result, check: str) -> list[str]:
    return [row["severity"] for row in findings(result, check)]


def connection(
    number: int, at: float, rtt: float, server: str = "20.0.1.1", **other: Any
) -> list[dict[str, Any]]:
    """SYN from 20.0.0.7 to a server, and its answer after ``rtt`` ms; 20 packets each."""
    first = NOON + round(at * SECOND)
    client = str(other.pop("client", "20.0.0.7"))
    row = {
        "flow_id": number,
        "protocol": 6,
        "tcp_flags": 0x1A,
        "packets": 20,
        "last_ts": first + 2 * SECOND,
        **other,
    }
    there = {"src_port": 40_000 + number, "dst_port": 443, "first_ts": first}
    back = {"src_port": 443, "dst_port": 40_000 + number, "first_ts": first + round(rtt * MS)}
    turned = {"outer_src": row.get("outer_dst"), "outer_dst": row.get("outer_src")}
    return [flow(client, server, **row, **there), flow(server, client, **(row | turned), **back)]


def connections(rtts: list[float], every: float = 2, **other: Any) -> list[dict[str, Any]]:
    numbers = range(len(rtts))
    return [row for n in numbers for row in connection(n + 1, n * every, rtts[n], **other)]


# --- Which traffic is national ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("src", "dst", "in_scope", "abroad"),
    [
        ("20.0.0.1", "20.0.1.1", 100, True),
        ("20.0.0.1", "21.0.1.1", 100, True),
        ("2a00:1::1", "2a00:2::1", 100, True),
        ("20.0.0.1", "30.0.1.1", 0, False),
        ("30.0.0.1", "31.0.1.1", 0, False),
        ("10.0.0.1", "30.0.1.1", 0, False),
        ("20.0.0.1", "10.0.1.1", 100, False),
        ("10.0.0.1", "10.0.1.1", 100, False),
        ("20.0.0.1", "40.0.1.1", 100, False),
        ("20.0.0.1", "20.0.53.1", 100, False),
        ("20.0.0.1", "224.0.0.1", 0, False),
        ("20.0.0.1", None, 0, False),
    ],
    ids=[
        "both-at-home",
        "two-countries-are-home",
        "ipv6",
        "one-abroad",
        "both-abroad",
        "one-abroad-suffices",
        "one-unknown",
        "both-unknown",
        "a-region",
        "anycast",
        "to-many",
        "no-address",
    ],
)
def test_traffic_is_national_if_both_ends_are_known_to_be_at_home(
    folder: Path, src: str, dst: str | None, in_scope: int, abroad: bool
) -> None:
    result = run(folder, [flow(src, dst, **GRE_ABROAD)])
    assert severities(result, "B19") == severities(result, "I1") == ["low"] * abroad
    for check in ("B19", "I1"):
        verdict = "fail" if abroad else "unknown"
        assert covered(result, check) == (verdict, in_scope, 100 if abroad else 0)
    if in_scope and not abroad:
        assert why(result, "B19") == "nothing in scope could be judged; addresses without a country"
    if not in_scope:
        assert why(result, "I1") == "no national traffic was seen"


def test_without_a_home_nothing_is_known(folder: Path) -> None:
    flows = [flow("20.0.0.1", "20.0.1.1", **GRE_ABROAD)]
    result = run(folder, flows, "[places]\nfiles = ['places.csv']\n[checks.I1]\nallow = []\n")
    for check in ("B19", "I1"):
        assert covered(result, check) == ("unknown", 0, 0)
        assert why(result, check) == "needs set `home` in [network]"
    assert why(run(folder, flows, NETWORK), "I1") == "needs set `allow` in [checks.I1]"
    assert {"B19", "I1"}.isdisjoint(judge(examination(flows=flows), None).verdicts["check"].to_pylist())


def test_a_zone_of_the_policy_knows_better_than_files(folder: Path) -> None:
    # A private prefix, and one that the file has abroad.
    zones = '[zones]\nours = { prefixes = ["10.1.0.0/16", "30.7.0.0/16"], country = "NO" }\n'
    flows = [flow("10.1.0.1", "30.7.0.1", **GRE_ABROAD)]
    assert covered(run(folder, flows), "I1")[1] == 0
    (finding,) = findings(run(folder, flows, NETWORK + zones + NONE), "B19")
    assert finding["sentence"].startswith(
        "Traffic between 10.1.0.0/24 and 30.7.0.0/24, in NO by a zone of the policy, may have gone"
    )


def test_registered_countries_go_without_a_file(tmp_path: Path) -> None:
    # The universities of Oslo (129.240.0.0/16) and Bergen (129.177.0.0/16), and SUNET (193.10.0.0/16), by the RIPE database.
    flows = [flow("129.240.0.1", "129.177.0.1", encap="gre", outer_src="129.240.0.2", outer_dst="193.10.0.1")]
    (finding,) = findings(run(tmp_path, flows, '[network]\nhome = "NO"\n'), "B19")
    assert "in NO by its registration, may have gone through SE (Sweden)" in finding["sentence"]
    assert "and 193.10.0.1 (SE by its registration). This is the only sign" in finding["sentence"]


# --- Signs ------------------------------------------------------------------------------------------------------------

SOON, LATE = [8.0, 9.0, 12.0] * 4, [140.0, 151.0, 160.0] * 4


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        ([flow("20.0.0.1", "20.0.1.1", **GRE_ABROAD)], ["low"]),
        ([flow("20.0.0.1", "20.0.1.1", **{**GRE_ABROAD, "outer_dst": "20.0.9.1"})], []),
        ([flow("20.0.0.1", "20.0.1.1", **{**GRE_ABROAD, "outer_dst": "40.0.9.1"})], []),
        ([flow("20.0.0.1", "20.0.1.1", **{**GRE_ABROAD, "outer_dst": "20.0.53.1"})], []),
        ([flow("20.0.0.1", "20.0.1.1", eth_src=mac(ABROAD))], ["low"]),
        ([flow("20.0.0.1", "20.0.1.1", eth_dst=mac(ABROAD))], ["low"]),
        ([flow("20.0.0.1", "20.0.1.1", mpls=[16, 24001])], ["low"]),
        ([flow("20.0.0.1", "20.0.1.1", vlan=900)], ["low"]),
        ([flow("20.0.0.1", "20.0.1.1", vlan=7, vlan_inner=900)], ["low"]),
        ([flow("20.0.0.1", "20.0.1.1", tap="stockholm")], ["low"]),
        ([flow("20.0.0.1", "20.0.1.1", tap="oslo", eth_src=mac(AT_HOME), eth_dst=mac(UNLISTED))], []),
        ([flow("20.0.0.1", "20.0.1.1", vlan=900, eth_src=mac(AT_HOME))], []),
        (connections(LATE), ["low"]),
        (connections(SOON), []),
        ([flow("20.0.0.1", "20.0.1.1", eth_src=mac(ABROAD), **GRE_ABROAD)], ["high"]),
        (connections(LATE, **GRE_ABROAD), ["high"]),
        (connections(LATE, mpls=[24001]), ["high"]),
        (connections(SOON, **GRE_ABROAD), ["low"]),
        # What was seen abroad is near, and what is far was not seen abroad: two pieces of traffic with a sign each.
        (
            [*connections(SOON, **GRE_ABROAD), *connections(LATE, client="20.0.0.8", server="20.0.1.2")],
            ["low"],
        ),
    ],
    ids=[
        "tunnel",
        "tunnel-at-home",
        "tunnel-to-a-region",
        "tunnel-to-anycast",
        "from-a-device",
        "to-a-device",
        "label",
        "vlan",
        "inner-vlan",
        "tap",
        "link-at-home",
        "device-before-vlan",
        "late",
        "soon",
        "tunnel-and-device",
        "tunnel-and-late",
        "label-and-late",
        "tunnel-and-soon",
        "not-the-same",
    ],
)
def test_two_signs_are_high_and_one_is_low(
    folder: Path, flows: list[dict[str, Any]], expected: list[str]
) -> None:
    result = run(folder, flows)
    assert severities(result, "B19") == expected
    assert {row["kind"] for row in findings(result, "B19")} <= {"diversion"}
    assert result.answers[1].answer == ("yes" if "high" in expected else "no sign")


def numbered(*groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Connections one after the other, each with a number of its own."""
    return [{**row, "flow_id": 1000 * n + row["flow_id"]} for n, rows in enumerate(groups) for row in rows]


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (connections(LATE[:10]), ["low"]),
        (connections(LATE[:9]), []),
        (connections([*LATE[:6], 8.0, *LATE[:6]]), []),
        (connections([8.0, *LATE]), ["low"]),
        (connections([*LATE, 8.0]), ["low"]),
        (connections(LATE, every=0.5), []),
        (connections(LATE, every=1), ["low"]),
        (connections([100.0] * 12), []),
        (connections([101.0] * 12), ["low"]),
        (connections([480.0, 600.0, 700.0] * 4), []),
        (connections([470.0, 600.0, 700.0] * 4), ["low"]),
        (connections([1500.0] * 12), []),
        (numbered(connections(LATE[:6]), connections(LATE[:6], server="20.0.2.1")), []),
        (numbered(connections(LATE), connections(SOON, client="20.0.1.9", server="20.0.0.9")), ["low"]),
    ],
    ids=[
        "ten",
        "nine",
        "one-was-sooner",
        "from-a-moment-on",
        "for-a-time",
        "a-queue",
        "longer-than-a-queue",
        "at-most",
        "just-more",
        "satellite",
        "nearer-than-a-satellite",
        "sent-again",
        "few-of-each",
        "only-one-way",
    ],
)
def test_all_answers_have_to_be_late_for_long(
    folder: Path, flows: list[dict[str, Any]], expected: list[str]
) -> None:
    assert severities(run(folder, flows), "B19") == expected


def test_the_bound_is_that_of_the_policy(folder: Path) -> None:
    policy = NETWORK + "[checks.B19]\nmax_rtt_ms = 7.5\n"
    (finding,) = findings(run(folder, connections(SOON), policy), "B19")
    assert finding["severity"] == "low"
    assert (
        "Servers of 20.0.1.0/24 took 8 ms at least to answer, 12 times, where 7.5 ms are the most within the country. This is "
        "the only sign, and slow access takes long, too." in finding["sentence"]
    )
    assert severities(run(folder, connections(SOON, **GRE_ABROAD), policy), "B19") == ["high"]


@pytest.mark.parametrize("check", ["B19", "I1"])
def test_the_severity_of_the_policy_is_in_place_of_the_usual_one(folder: Path, check: str) -> None:
    flows = [flow("20.0.0.1", "20.0.1.1", **GRE_ABROAD)]
    policy = NETWORK + "[checks.B19]\n[checks.I1]\nallow = []\n"
    assert severities(run(folder, flows, policy), check) == ["low"]
    section = f"[checks.{check}]\n"
    for severity in ("low", "medium", "critical"):
        told_so = policy.replace(section, f"{section}severity = '{severity}'\n")
        assert severities(run(folder, flows, told_so), check) == [severity]


def test_a_satellite_hides_a_detour_and_is_named(folder: Path) -> None:
    flows = numbered(connections([590.0, 640.0] * 6), connections(SOON, server="20.0.2.1"))
    result = run(folder, flows)
    assert covered(result, "B19") == ("pass", 960, 480)
    assert why(result, "B19") == (
        "1 pair of prefixes as far as a satellite; not judged: national traffic of which nothing shows the way"
    )


def test_a_change_of_hops_and_times_alone_is_no_detour(folder: Path) -> None:
    early = connections([8.0, 9.0] * 8, every=10, first_ttl=60, last_ttl=60)
    late = connections([48.0, 49.0] * 8, every=10, first_ttl=54, last_ttl=54)
    shift = 400 * SECOND
    late = [{**row, "first_ts": row["first_ts"] + shift, "last_ts": row["last_ts"] + shift} for row in late]
    result = run(folder, numbered(early, late))
    assert severities(result, "B3") == ["low"]
    assert severities(result, "B19") == []
    # Beside a sign, it is told.
    (finding,) = findings(run(folder, numbered(early, [{**row, "vlan": 900} for row in late])), "B19")
    assert finding["severity"] == "low"
    assert finding["sentence"].endswith("At about the same time its round-trip times (B3) changed.")


def test_it_says_what_is_known_and_by_whom(folder: Path) -> None:
    result = run(folder, connections(LATE, **GRE_ABROAD))
    (finding,) = findings(result, "B19")
    # 12 connections of 40 packets; the last begins 22 s after the first and takes 2 s.
    assert finding["sentence"] == (
        "Traffic between 20.0.0.0/24 and 20.0.1.0/24, in NO by places.csv, went through SE (Sweden): 480 packets in 12 conversations, from "
        "2026-01-01 12:00:00 UTC until 2026-01-01 12:00:24 UTC (on inside). It was in a tunnel (gre) between 20.0.9.9 (NO by places.csv) "
        "and 30.0.0.1 (SE by places.csv); servers of 20.0.1.0/24 took 140 ms at least to answer, 12 times, where 100 ms are the most "
        "within the country. It lasted to the end of the captures, so whether it is transient (up to 72 hours) or persistent is "
        "not known."
    )
    assert (finding["packets"], finding["flows"], finding["in_scope"], finding["judged"]) == (
        480,
        12,
        480,
        480,
    )
    assert finding["exporter"] == "20.0.9.9" and finding["collector"]["address"] == "30.0.0.1"
    assert finding["attack"] == ["T1557"]


def test_a_near_answer_says_how_far_it_can_be(folder: Path) -> None:
    # 8 ms there and back are 800 km of fibre.
    (finding,) = findings(run(folder, connections(SOON, **GRE_ABROAD)), "B19")
    assert (
        "an address need not be where it is registered. The first of 12 answers came after 8 ms, from no more than 800 km away."
        in finding["sentence"]
    )


def test_how_long_it_lasted(folder: Path) -> None:
    def lasting(hours: float, *more: dict[str, Any]) -> str:
        row = flow("20.0.0.1", "20.0.1.1", last_ts=NOON + round(hours * 3600) * SECOND, **GRE_ABROAD)
        (finding,) = findings(run(folder, [row, *more]), "B19")
        return str(finding["sentence"])

    later = flow("20.0.0.2", "20.0.1.2", first_ts=NOON + 7000 * SECOND, last_ts=NOON + 7100 * SECOND)
    assert lasting(80).endswith("It is persistent: it lasted 80 hours.")
    assert "It lasted to the end of the captures" in lasting(1)
    assert lasting(1, later).endswith("It is transient: afterwards, the traffic went another way.")


NOT_KNOWN = ", so whether it is transient (up to 72 hours) or persistent is not known."
TO_THE_END = f"It lasted to the end of the captures{NOT_KNOWN}"
TRANSIENT = "It is transient: afterwards, the traffic went another way."


def fell_silent(before: str) -> str:
    return f"It lasted to the last packet of this pair, {before} before the end of the captures{NOT_KNOWN}"


def proves_nothing(before: str) -> str:
    return (
        f"It was last seen {before} before the end of the captures, and what was seen of this pair afterwards proves no other way"
        + NOT_KNOWN
    )


def until(seconds: float, src: str = "30.0.0.1", dst: str = "31.0.0.1", **other: Any) -> dict[str, Any]:
    """Traffic up to then; of other prefixes, and not national, unless other ends are given."""
    return flow(src, dst, last_ts=NOON + round(seconds * SECOND), **other)


# The last of twelve late handshakes is at 22 s, and its last packet at 24 s.
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], TO_THE_END),
        ([until(24.4)], TO_THE_END),  # a tenth of 24.4 s is 2.44 s
        ([until(25)], fell_silent("3 s")),
        ([until(600)], fell_silent("578 s")),
        ([until(600, "20.0.0.2", "20.0.1.2")], proves_nothing("578 s")),
        (connection(99, 400, 8), TRANSIENT),
        ([until(600), *connection(99, 30, 100)], TRANSIENT),
        ([until(600), connection(99, 400, 8)[0]], proves_nothing("578 s")),
        ([until(600), *connection(99, 400, 1500)], proves_nothing("578 s")),
        # From the server's prefix to the client's it is near by any way, and so it is for another tap.
        (
            [until(600), *connection(99, 400, 8, client="20.0.1.9", server="20.0.0.9")],
            proves_nothing("578 s"),
        ),
        ([until(600), *connection(99, 400, 8, tap="outside")], proves_nothing("578 s")),
        # The answers of other prefixes tell nothing.
        ([until(600), *connection(99, 400, 8, server="20.0.2.1")], fell_silent("578 s")),
        # A late answer goes on with it.
        ([until(600), *connection(99, 400, 150)], fell_silent("200 s")),
        # It began late, and went on: since then, nothing tells its way.
        (connection(99, 23, 150, last_ts=NOON + 600 * SECOND), proves_nothing("577 s")),
        # Another tap captured on, which never had this pair.
        ([until(600, tap="outside")], TO_THE_END),
    ],
    ids=[
        "end",
        "near-the-end",
        "silent-soon",
        "silent",
        "datagrams",
        "soon-answer",
        "soon-at-once",
        "no-answer",
        "sent-again",
        "the-other-way-round",
        "other-tap",
        "other-prefix",
        "late-answer",
        "long-conversation",
        "other-tap-goes-on",
    ],
)
def test_by_time_only_a_soon_answer_proves_another_way(
    folder: Path, more: list[dict[str, Any]], expected: str
) -> None:
    (finding,) = findings(run(folder, [*connections(LATE), *more]), "B19")
    assert "This is the only sign, and slow access takes long, too. " in finding["sentence"]
    assert finding["sentence"].partition("takes long, too. ")[2] == expected


def test_a_soon_answer_before_is_none_afterwards(folder: Path) -> None:
    (finding,) = findings(run(folder, [*connections([8.0, *LATE]), until(600)]), "B19")
    assert finding["sentence"].endswith(fell_silent("576 s"))


def test_by_time_alone_it_is_persistent_if_answers_were_late_for_so_long(folder: Path) -> None:
    (finding,) = findings(run(folder, connections(LATE, every=8 * 3600)), "B19")
    assert finding["sentence"].endswith("It is persistent: it lasted 88 hours.")
    # One conversation that goes on for long proves nothing: its packets may go another way since.
    flows = [*connections(LATE), *connection(99, 23, 150, last_ts=NOON + 80 * 3600 * SECOND)]
    (finding,) = findings(run(folder, flows), "B19")
    assert finding["sentence"].endswith(proves_nothing("287,977 s"))


@pytest.mark.parametrize(
    ("seconds", "more", "expected"),
    [
        (1200, [until(1260)], TO_THE_END),  # within a minute
        (1200, [until(1261)], fell_silent("61 s")),
        (20, [until(22)], TO_THE_END),  # within a tenth
        (20, [until(40)], fell_silent("20 s")),
        (1200, [until(3600), until(1260, "20.0.0.2", "20.0.1.2")], fell_silent("2,400 s")),
        (1200, [until(1261, "20.0.0.2", "20.0.1.2")], TRANSIENT),
        # Nearer than a minute, it may have gone both ways all the time.
        (20, [until(40, "20.0.0.2", "20.0.1.2")], proves_nothing("20 s")),
    ],
)
def test_a_tunnel_lasts_to_the_last_packet_of_the_pair_or_to_the_end(
    folder: Path, seconds: float, more: list[dict[str, Any]], expected: str
) -> None:
    result = run(folder, [until(seconds, "20.0.0.1", "20.0.1.1", **GRE_ABROAD), *more])
    (finding,) = findings(result, "B19")
    assert finding["sentence"].endswith(expected)


def test_a_copy_that_is_led_abroad_is_no_detour(folder: Path) -> None:
    session = {"encap": "gre/erspan2", "outer_src": "20.0.9.9", "outer_dst": "30.0.0.7", "tunnel_id": 17}
    flows = [flow("20.0.0.1", "20.0.1.1"), flow("20.0.0.1", "20.0.1.1", **session)]
    claims = [mirror(exporter="20.0.9.9", collector="30.0.0.7")]
    result = run(folder, flows, claims=claims)
    assert severities(result, "B19") == []
    # But what was national is abroad, unless somebody ordered the copy.
    assert severities(result, "I1") == ["low"]
    sinks = '[checks.I6]\nsinks = ["30.0.0.7"]\n'
    assert severities(run(folder, flows, NETWORK + ZONES + NONE + sinks, claims=claims), "I1") == []
    assert severities(run(folder, flows, claims=[claim("A5.forked")]), "B19") == ["low"]


# --- I1 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "is_agreed"),
    [
        ('["SE"]', True),
        ('"se"', True),
        ('["DK"]', False),
        ('["DK", "SE"]', True),
        ('[{ countries = ["SE", "DK"] }]', True),
        ('[{ between = ["20.0.1.0/24", "20.0.0.0/24"] }]', True),
        ('[{ between = ["20.0.1.0/24", "20.0.1.0/24"] }]', False),
        ('[{ tunnel = ["30.0.0.1", "20.0.9.9"] }]', True),
        ('[{ tunnel = ["30.0.0.1", "20.0.9.8"] }]', False),
        (
            '[{ countries = "SE", between = ["20.0.0.0/16", "20.0.0.0/16"], tunnel = ["20.0.9.9", "30.0.0.0/8"] }]',
            True,
        ),
        ('[{ countries = "DK", tunnel = ["20.0.9.9", "30.0.0.0/8"] }]', False),
    ],
)
def test_what_is_agreed_is_not_reported_by_either(folder: Path, allow: str, is_agreed: bool) -> None:
    result = run(folder, connections(LATE, **GRE_ABROAD), NETWORK + f"[checks.I1]\nallow = {allow}\n")
    assert severities(result, "I1") == ["low"] * (not is_agreed)
    # An agreed way may take longer, too.
    assert severities(result, "B19") == ["high"] * (not is_agreed)
    if is_agreed:
        assert covered(result, "I1") == covered(result, "B19") == ("pass", 480, 480)
        assert why(result, "B19") == "480 packets went abroad as the policy allows"


def test_a_way_over_two_countries_is_agreed_if_both_are(folder: Path) -> None:
    flows = [flow("20.0.0.1", "20.0.1.1", encap="gre", outer_src="31.0.0.1", outer_dst="30.0.0.1")]
    for allow, expected in (('["SE"]', 1), ('["SE", "DK"]', 1), ('[{ countries = ["SE", "DK"] }]', 0)):
        assert (
            len(findings(run(folder, flows, NETWORK + f"[checks.I1]\nallow = {allow}\n"), "I1")) == expected
        )


def test_i1_shows_each_way_once_and_is_surer_of_what_the_policy_says(folder: Path) -> None:
    back = {**GRE_ABROAD, "outer_src": "30.0.0.1", "outer_dst": "20.0.9.9"}
    flows = [
        flow("20.0.0.1", "20.0.1.1", **GRE_ABROAD),
        flow("20.0.1.1", "20.0.0.1", **back, frames=[9]),
        flow("20.0.2.1", "20.0.1.1", **GRE_ABROAD),
        flow("20.0.2.1", "20.0.1.1", vlan=900),
    ]
    result = run(folder, flows)
    first, second = findings(result, "I1")
    assert (first["severity"], first["packets"], first["flows"]) == ("medium", 100, 1)
    assert first["sentence"] == (
        "100 packets of national traffic in 1 conversation, such as from 20.0.2.1 to 20.0.1.1, went through SE (Sweden), on a link of zone "
        '"link", which the policy has abroad, from 2026-01-01 12:00:00 UTC until 2026-01-01 12:01:00 UTC (on inside); the policy does '
        "not allow it."
    )
    assert (second["severity"], second["packets"], second["flows"]) == ("low", 300, 2)
    assert {frame["frame"] for frame in second["evidence"]} == {1, 2, 9}
    assert (
        "in a tunnel (gre) between 20.0.9.9 (NO by places.csv) and 30.0.0.1 (SE by places.csv)"
        in second["sentence"]
    )
    assert second["sentence"].endswith("; the policy does not allow it; countries of addresses err.")
    # The policy itself may say where the end of the tunnel is.
    zones = '[zones]\nfar = { prefixes = ["30.0.0.1"], country = "SE" }\n'
    assert severities(run(folder, flows[:1], NETWORK + zones + NONE), "I1") == ["medium"]
    zones = '[zones]\nnear = { prefixes = ["20.0.9.9"], country = "NO" }\n'
    assert severities(run(folder, flows[:1], NETWORK + zones + NONE), "I1") == ["low"]


@pytest.mark.parametrize(
    ("encap", "ids", "count"),
    [
        # A TEID is chosen by who receives (3GPP TS 29.281, section 5.1), so the way back has another one.
        ("gtpu", (1, 2), 1),
        ("gtpu", (1, 1), 1),
        ("l2tp", (1, 2), 1),
        # Keys and network identifiers are the same both ways, and others are other tunnels.
        ("gre", (7, 7), 1),
        ("gre", (7, 8), 2),
        ("vxlan", (7, 8), 2),
        ("gre", (None, None), 1),
    ],
)
def test_i1_shows_a_tunnel_once_whatever_the_ids_of_its_ways(
    folder: Path, encap: str, ids: tuple[int | None, int | None], count: int
) -> None:
    there = {**GRE_ABROAD, "encap": encap, "tunnel_id": ids[0]}
    back = {**there, "outer_src": "30.0.0.1", "outer_dst": "20.0.9.9", "tunnel_id": ids[1]}
    flows = [flow("20.0.0.1", "20.0.1.1", **there), flow("20.0.1.1", "20.0.0.1", **back)]
    told = findings(run(folder, flows), "I1")
    assert len(told) == count
    assert sum(row["packets"] for row in told) == 200
    if count == 1:
        assert told[0]["flows"] == 1


def test_i1_does_not_judge_tunnels_whose_ends_lie_nowhere(folder: Path) -> None:
    flows = [
        flow("20.0.0.1", "20.0.1.1", packets=70),
        flow("20.0.0.1", "20.0.1.1", packets=20, encap="gre", outer_src="10.0.0.1", outer_dst="20.0.9.9"),
        flow("20.0.0.1", "10.0.1.1", packets=10),
    ]
    result = run(folder, flows)
    assert covered(result, "I1") == ("pass", 100, 70)
    assert (
        why(result, "I1") == "not judged: addresses without a country; tunnels of which an end has no country"
    )
    # B19 knows nothing of any of them, but of those in the tunnel not even that.
    assert covered(result, "B19") == ("unknown", 100, 0)


# --- Coverage and bounds ----------------------------------------------------------------------------------------------


def test_traffic_is_judged_by_whatever_tells_of_its_way(folder: Path) -> None:
    flows = [
        *connections(SOON),  # 480 packets, of a pair of prefixes that answered soon
        flow("20.0.0.9", "20.0.1.9", packets=40),  # of the same
        flow("20.0.3.1", "20.0.4.1", packets=30, encap="gre", outer_src="20.0.9.1", outer_dst="20.0.9.2"),
        flow("20.0.3.1", "20.0.5.1", packets=20, eth_src=mac(AT_HOME)),
        flow("20.0.3.1", "20.0.5.1", packets=5, tap="elsewhere"),  # the same conversation
        flow("20.0.3.1", "20.0.6.1", packets=10),
        flow("20.0.3.1", "10.0.6.1", packets=3),
    ]
    result = run(folder, flows)
    assert covered(result, "B19") == ("pass", 588, 575)
    assert why(result, "B19") == (
        "not judged: addresses without a country; national traffic of which nothing shows the way"
    )
    demanding = NETWORK + ZONES + "[checks.B19]\nmin_coverage = 0.99\n"
    assert covered(run(folder, flows, demanding), "B19") == ("unknown", 588, 575)


def test_many_prefixes_and_tunnels_make_few_findings(folder: Path) -> None:
    flows = []
    for n in range(3000):
        tunnel = {
            "encap": "gre",
            "outer_src": "20.0.9.9",
            "outer_dst": f"30.{n >> 8}.{n & 255}.1",
            "tunnel_id": n,
        }
        flows.append(flow(f"20.1.{n & 255}.{n >> 8}", f"20.{2 + (n >> 8)}.{n & 255}.1", flow_id=n, **tunnel))
    result = run(folder, flows)
    assert covered(result, "B19") == covered(result, "I1") == ("fail", 300_000, 300_000)
    for check, what in (("B19", "pairs of prefixes"), ("I1", "ways")):
        assert f"only the first 256 {what} were looked into" in why(result, check)
        assert len(findings(result, check)) == 51
    for count, is_all in ((256, True), (257, False)):
        result = run(folder, flows[:count])
        for check in ("B19", "I1"):
            assert ("only the first 256" not in str(why(result, check))) == is_all
            # 50, and one of the others.
            assert len(findings(result, check)) == 51


# --- The policy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "[network]\n\nhome = 'Norway'\n",
            3,
            "[network] home: must be a country's code of two letters, such as NO (ISO 3166), not 'Norway'",
        ),
        ("[network]\nhome = [\n 'NO',\n 'QQ',\n]\n", 4, "not 'QQ'"),
        ("[network]\nhome = 'EU'\n", 2, "'EU' is no country, but what registries write of a region"),
        ("[network]\nhome = 47\n", 2, "not 47"),
        ("[network]\nhomes = 'NO'\n", 2, 'did you mean "home"?'),
        ("[network]\nanycast = ['8.8.8.8/24']\n", 2, "bits set beyond its length"),
        ("[places]\nfile = []\n", 2, 'unknown key "file" in [places]; did you mean "files"?'),
        (
            "[places]\nfiles = ['places.csv',\n'none.csv']\n",
            3,
            "none.csv: there is no such file (names go by the folder of the policy)",
        ),
        ("[places]\nfiles = ['.']\n", 2, "no file"),
        ("[places]\nfiles = [3]\n", 2, "must be the name of a file, not 3"),
        ("[place]\n", 1, 'unknown key "place"; did you mean "places"?'),
        ("[zones.a]\nvlans = [1]\ncountry = 'Sweden'\n", 3, "[zones] a.country: must be a country's code"),
        ("[zones]\na = { contry = 'SE' }\n", 2, 'did you mean "country"?'),
        ("[checks.B19]\nmax_rtt_ms = 0\n", 2, "greater than 0"),
        ("[checks.B19]\nmax_rtt_ms = nan\n", 2, "max_rtt_ms"),
        ("[checks.B19]\nallow = ['SE']\n", 2, 'unknown key "allow"'),
        ("[checks.I1]\nallow = ['Sweden']\n", 2, "not 'Sweden'"),
        ("[checks.I1]\nallow = [{}]\n", 2, "must say any of countries, between and tunnel"),
        ("[checks.I1]\nallow = [{ country = 'SE' }]\n", 2, 'did you mean "countries"?'),
        ("[checks.I1]\nallow = [{ tunnel = ['20.0.0.1'] }]\n", 2, "list of two sides"),
    ],
)
def test_a_policy_that_is_wrong_says_where(folder: Path, text: str, line: int, words: str) -> None:
    path = folder / "policy.toml"
    path.write_text(text)
    with pytest.raises(PolicyError) as caught:
        Policy.load(path)
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"{path}:{line}: "), message


def test_places_are_read_before_captures_and_told_by_both_lines(folder: Path) -> None:
    (folder / "more.csv").write_text("prefix,country\n20.0.0.0/8,NO\n20.0.0.1/8,NO\n")
    path = folder / "policy.toml"
    path.write_text('[network]\nhome = "NO"\n[places]\nfiles = [\n  "places.csv",\n  "more.csv",\n]\n')
    with pytest.raises(PolicyError) as caught:
        tapsight.check(str(folder / "none.pcap"), policy=path)
    assert str(caught.value) == (
        f'{path}:6: [places] files: {folder / "more.csv"}:3: "20.0.0.1/8" is not an address prefix: bits behind the prefix length are set'
    )
    done = CliRunner().invoke(app, ["check", str(folder / "none.pcap"), "--policy", str(path)])
    assert done.exit_code == 2


def test_files_go_by_the_folder_of_the_policy_and_later_ones_count_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/own.csv").write_text("prefix,country\n30.0.0.0/16,NO\n")
    path = folder / "policy.toml"
    path.write_text(
        '[network]\nhome = "no"\n[places]\nfiles = ["places.csv", "sub/own.csv"]\n[zones]\nz = { prefixes = ["30.0.1.0/24"], country = "DK" }\n'
    )
    monkeypatch.chdir("/")
    policy = Policy.load(path)
    assert policy.network.home == ("NO",)
    rows = (
        policy.known_places()
        .lookup(["30.0.0.1", "30.9.0.1", "30.0.1.1", "10.0.0.1", "129.240.0.1"])
        .to_pylist()
    )
    assert [(row["country"], row["source"]) for row in rows] == [
        ("NO", str(folder / "sub/own.csv")),
        ("SE", str(folder / "places.csv")),
        ("DK", "zone"),
        (None, None),
        ("NO", "registry"),
    ]
    # Commands go by it as well; what they are given counts first.
    done = CliRunner().invoke(app, ["where", "30.0.0.1", "--policy", str(path), "--format", "json"])
    assert json.loads(done.output)[0]["country"] == "NO"
    arguments = [
        "where",
        "30.0.0.1",
        "--policy",
        str(path),
        "--places",
        str(folder / "places.csv"),
        "--format",
        "json",
    ]
    assert json.loads(CliRunner().invoke(app, arguments).output)[0]["country"] == "SE"


# --- Packets ----------------------------------------------------------------------------------------------------------


def built(folder: Path, rtt: float, around: Any) -> str:
    """Twelve handshakes from 20.0.0.7, 2 s apart, each with its answer after ``rtt`` s, then a datagram that is in no tunnel."""
    frames = []
    for n in range(12):
        syn = IP(src="20.0.0.7", dst="20.0.1.1", id=n + 1) / TCP(sport=5000 + n, dport=443, flags="S", seq=n)
        answer = IP(src="20.0.1.1", dst="20.0.0.7", id=n + 1) / TCP(
            sport=443, dport=5000 + n, flags="SA", seq=9, ack=n + 1
        )
        for at, packet, outward in ((0.0, syn, True), (rtt, answer, False)):
            frame = around(packet, outward)
            frame.time = 1_767_268_800 + 2 * n + at
            frames.append(frame)
    alone = (
        Ether(src=UNLISTED, dst="02:00:00:00:00:03")
        / IP(src="20.0.0.7", dst="20.0.2.1")
        / UDP(sport=7, dport=9)
        / Raw(bytes(40))
    )
    alone.time = 1_767_268_900
    path = str(folder / "built.pcap")
    wrpcap(path, [*frames, alone])
    return path


def in_gre(packet: IP, outward: bool) -> Ether:
    ends = ("20.0.9.9", "30.0.0.1") if outward else ("30.0.0.1", "20.0.9.9")
    return Ether(src=UNLISTED, dst="02:00:00:00:00:03") / IP(src=ends[0], dst=ends[1]) / GRE() / packet


def in_ip(packet: IP, outward: bool) -> Ether:
    ends = ("20.0.9.9", "30.0.0.1") if outward else ("30.0.0.1", "20.0.9.9")
    return Ether(src=UNLISTED, dst="02:00:00:00:00:03") / IP(src=ends[0], dst=ends[1], proto=4) / packet


def under_a_label(packet: IP, outward: bool) -> Ether:
    return Ether(src=UNLISTED, dst="02:00:00:00:00:03") / MPLS(label=24001, s=1, ttl=60) / packet


def in_a_vlan(packet: IP, outward: bool) -> Ether:
    return Ether(src=UNLISTED, dst="02:00:00:00:00:03") / Dot1Q(vlan=900) / packet


def by_a_router(packet: IP, outward: bool) -> Ether:
    return Ether(src=UNLISTED, dst=ABROAD) / packet if outward else Ether(src=ABROAD, dst=UNLISTED) / packet


@pytest.mark.parametrize(
    "around", [in_gre, in_ip, under_a_label, in_a_vlan, by_a_router], ids=lambda each: each.__name__
)
@pytest.mark.parametrize(("rtt", "severity"), [(0.15, "high"), (0.01, "low")])
def test_packets_that_were_built(folder: Path, around: Any, rtt: float, severity: str) -> None:
    (folder / "policy.toml").write_text(NETWORK + ZONES + NONE)
    result = tapsight.check(built(folder, rtt, around), policy=folder / "policy.toml")
    (finding,) = findings(result, "B19")
    assert (finding["severity"], finding["packets"], finding["flows"]) == (severity, 24, 12)
    assert [frame["frame"] for frame in finding["evidence"]] == list(range(1, 25))
    assert "through SE (Sweden)" in finding["sentence"]
    # The datagram is national, and nothing shows its way.
    assert covered(result, "B19") == ("fail", 25, 24)
    assert covered(result, "I1") == ("fail", 25, 25)
    (finding,) = findings(result, "I1")
    assert finding["packets"] == 24
    assert finding["severity"] == ("low" if around in (in_gre, in_ip) else "medium")
    assert result.answers[1].answer == ("yes" if severity == "high" else "cannot tell") or severity == "low"


def test_evidence_tells_the_places_that_it_rests_on(folder: Path) -> None:
    (folder / "policy.toml").write_text(NETWORK + ZONES + NONE)
    result = tapsight.check(built(folder, 0.15, in_gre), policy=folder / "policy.toml")
    manifest = result.evidence(folder / "out")
    (named,) = manifest["policy"]["places"]
    assert named["file"] == str(folder / "places.csv")
    assert named["size"] == len(PLACES)


def test_flows_take_home_and_places_from_the_policy(folder: Path) -> None:
    (folder / "policy.toml").write_text(NETWORK)
    capture = built(folder, 0.01, in_gre)
    arguments = [
        "flows",
        capture,
        "--policy",
        str(folder / "policy.toml"),
        "--columns",
        "scope,crosses",
        "-o",
        str(folder / "f.parquet"),
    ]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    rows = pl.read_parquet(folder / "f.parquet")
    assert set(rows["scope"].cast(pl.String)) == {"national"}
    assert rows["crosses"].to_list().count(["SE"]) == 12
    places = Places(folder / "places.csv", registered=False)
    for home, scope in (("NO", "national"), (["SE", "DK"], "transit"), (["SE", "NO"], "national")):
        table = pl.DataFrame(tapsight.flows(capture, places=places, home=home))
        assert set(table["scope"].cast(pl.String)) == {scope}


# --- The lab ----------------------------------------------------------------------------------------------------------

LAB = {"seconds": 40.0, "calls": 1, "downloads": 8}


@pytest.mark.parametrize("via", ["gre", "ipip", "mpls", "router", "beyond"])
def test_a_detour_of_the_lab_is_found_as_it_was_made(tmp_path: Path, via: str) -> None:
    scenario = Scenario(implants=(Implant("detour", via=via, share=0.5, count=160),), **LAB)
    files = generate(scenario, tmp_path)
    truth = [json.loads(line) for line in files.truth.read_text().splitlines()]
    mine = [row for row in truth if row["tap"] == "outside" and row["implant"] == 0]
    result = tapsight.check({"inside": str(files.inside), "outside": str(files.outside)}, policy=files.policy)
    if via == "mpls":
        # Labels are on what goes out.
        mine = [row for row in mine if row["frame"] in labelled(files.outside)]
    if via == "beyond":
        # Half of the answers are soon, and nothing else tells one conversation from another.
        assert severities(result, "B19") == [] and covered(result, "B19")[0] == "pass"
        return
    (finding,) = findings(result, "B19")
    assert finding["severity"] == "high"
    assert finding["packets"] == len(mine)
    assert finding["flows"] == len({row["flow"] for row in mine})
    assert finding["collector"]["address"] == ("203.0.113.66" if via in ("gre", "ipip") else None)
    # All handshakes took 48 to 49 ms, and up to 0.2 ms in the router.
    assert "servers of 203.0.113.0/24 took 48" in finding["sentence"] or "took 47.9 ms" in finding["sentence"]
    assert result.answers[1].answer == "yes"
    assert len(findings(result, "I1")) == 1


def labelled(path: Path) -> set[int]:
    table = pl.DataFrame(tapsight.open(path, columns=["frame", "mpls"]).to_pyarrow())
    return set(table.filter(pl.col("mpls").list.len() > 0)["frame"])


def test_a_detour_of_all_traffic_beyond_the_taps_is_told_by_time(tmp_path: Path) -> None:
    files = generate(Scenario(implants=(Implant("detour", via="beyond"),), **LAB), tmp_path)
    result = tapsight.check({"inside": str(files.inside), "outside": str(files.outside)}, policy=files.policy)
    assert severities(result, "B19") == ["low"]
    assert findings(result, "I1") == []


@pytest.mark.parametrize(
    ("kind", "low"),
    [
        ("geolocation-error", ["B19", "I1"]),
        ("anycast-at-home", []),
        ("satellite", []),
        ("foreign-backup", []),
    ],
)
def test_honest_traffic_within_the_country_raises_no_alarm(kind: str, low: list[str]) -> None:
    found = alarms(Calm(kind, Scenario(confounders=(Confounder(kind),), **LAB))).findings
    assert sorted((each["detector"], each["severity"]) for each in found) == [(check, "low") for check in low]


# --- Anything at all --------------------------------------------------------------------------------------------------

ENDS = ["20.0.0.1", "20.0.1.1", "30.0.0.1", "10.0.0.1", "20.0.53.1", "2a00:1::1", "::", "224.0.0.1", None]
ROWS = st.fixed_dictionaries(
    {
        "src": st.sampled_from(ENDS),
        "dst": st.sampled_from(ENDS),
        "outer_src": st.sampled_from(ENDS),
        "outer_dst": st.sampled_from(ENDS),
        "encap": st.sampled_from([None, "gre", "ipip/gre"]),
        "tunnel_id": st.sampled_from([None, 0, 2**32 - 1]),
        "eth_src": st.sampled_from([None, mac(ABROAD), mac(AT_HOME), bytes(6)]),
        "eth_dst": st.sampled_from([None, mac(ABROAD), bytes(6)]),
        "vlan": st.sampled_from([None, 900, 0]),
        "mpls": st.sampled_from([[], [24001], [16, 24001], [0, 1, 2]]),
        "tap": st.sampled_from(["oslo", "stockholm", "inside"]),
        "protocol": st.sampled_from([None, 6, 17, 255]),
        "tcp_flags": st.sampled_from([None, 0, 0x02, 0x12, 0x1FF]),
        "src_port": st.sampled_from([None, 0, 443, 65535]),
        "dst_port": st.sampled_from([None, 443, 40_000]),
        "flow_id": st.sampled_from([None, 0, 1, 2**64 - 1]),
        "packets": st.sampled_from([1, 2**40]),
        "first_ts": st.sampled_from([-(2**60), 0, NOON, 2**62]),
        "last_ts": st.sampled_from([0, NOON, 2**62]),
        "frames": st.sampled_from([[], [1], [2**63]]),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(ROWS, max_size=12), st.sampled_from(["[]", '["SE"]', '[{ between = ["20.0.0.0/8", "::/0"] }]'])
)
def test_any_flows_are_judged(folder: Path, rows: list[dict[str, Any]], allow: str) -> None:
    flows = [flow(**row) for row in rows]
    result = run(folder, flows, NETWORK + ZONES + f"[checks.I1]\nallow = {allow}\n")
    total = sum(row["packets"] for row in rows)
    for check in ("B19", "I1"):
        _, in_scope, judged = covered(result, check)
        assert judged <= in_scope <= total
        for finding in findings(result, check):
            assert 0 < finding["packets"] <= in_scope
