"""Paths to remote prefixes that change: hand-made flows, with each guard."""

from __future__ import annotations

from typing import Any

import pytest
from tables import SECOND, examination, flow, mac

from tapsight._check import Result, judge
from tapsight.policy import Policy

ROUTER, OTHER, VRRP = "02:00:00:00:00:01", "02:00:00:00:00:02", "00:00:5e:00:01:07"
START = 1_767_268_800
CHANGE = 1000
"""Seconds after the start at which the path changes."""


def run(flows: list[dict[str, Any]], policy: str | None = None) -> Result:
    return judge(examination(flows=flows), Policy.loads(policy) if policy is not None else None)


def findings(result: Result, check: str) -> list[tuple[str, str]]:
    rows = result.findings.select(["check", "severity", "kind"]).to_pylist()
    return [(row["severity"], row["kind"]) for row in rows if row["check"] == check]


def sentence(result: Result, check: str) -> str:
    rows = result.findings.select(["check", "sentence"]).to_pylist()
    (text,) = [row["sentence"] for row in rows if row["check"] == check]
    return str(text)


def host(
    number: int, at: float, ttl: int = 55, source: str = ROUTER, net: str = "20.0.0", **other: Any
) -> dict[str, Any]:
    """A flow of a host that lasts 10 s; of a hop count of 64 - ttl."""
    first = (START + round(at * 1000) // 1000) * SECOND + round(at * 1000) % 1000 * 1_000_000
    row = {
        "eth_src": mac(source),
        "flow_id": number << 20 | round(at),
        "first_ttl": ttl,
        "last_ttl": other.pop("last_ttl", ttl),
        "packets": 20,
        "first_ts": first,
        "last_ts": first + 10 * SECOND,
        **other,
    }
    if ":" in net:
        return flow(f"{net}:{number}", "2a00:9::1", **row)
    return flow(f"{net}.{number}", "30.0.0.1", **row)


def before(hosts: int = 4, **other: Any) -> list[dict[str, Any]]:
    return [host(number, at + number, **other) for number in range(1, hosts + 1) for at in (0, 300, 900)]


def after(hosts: int = 4, **other: Any) -> list[dict[str, Any]]:
    return [
        host(number, CHANGE + at + number, **other) for number in range(1, hosts + 1) for at in (0, 300, 900)
    ]


# --- B2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        ([*before(), *after(ttl=52)], 1),
        ([*before(), *after(ttl=58)], 1),
        ([*before(net="2a00:1:2:3:"), *after(net="2a00:1:2:3:", ttl=52)], 1),
        ([*before(), *after()], 0),
        ([*before(), *after(ttl=54)], 0),
        ([*before(2), *after(2, ttl=52)], 0),
        ([*before(packets=4), *after(ttl=52)], 0),
        ([*before(), *after(ttl=119)], 0),
        ([*before(), *after(ttl=52), *[host(n, 2500 + n) for n in range(1, 5)]], 0),
        ([*before(), *before(ttl=52), *after(), *after(ttl=52)], 0),
        ([host(n, 400 * n + at, ttl=52 if at else 55) for n in range(1, 5) for at in (0, 20, 40)], 0),
        (
            [
                *before(8),
                *after(3, ttl=52),
                *[host(n, CHANGE + at + n) for n in range(4, 9) for at in (300, 900)],
            ],
            0,
        ),
        ([*before(), *after(ttl=52, encap="gre")], 0),
        ([*before(net="224.0.0"), *after(net="224.0.0", ttl=52)], 0),
        ([*before(), *after(tap="outside", ttl=52)], 0),
    ],
    ids=[
        "farther",
        "nearer",
        "ipv6",
        "as-before",
        "one-hop",
        "two-hosts",
        "few-packets",
        "another-system",
        "and-back",
        "both-all-along",
        "not-at-once",
        "most-stayed",
        "in-a-tunnel",
        "no-hosts",
        "another-tap",
    ],
)
def test_b2_several_hosts_of_a_prefix_move_at_once(flows: list[dict[str, Any]], expected: int) -> None:
    assert findings(run(flows), "B2") == [("low", "diversion")] * expected


def test_b2_says_how_far() -> None:
    text = sentence(run([*before(), *after(ttl=52)]), "B2")
    assert text == (
        "4 hosts of 20.0.0.0/24 became farther by 3 hops (9 before, 12 since), at 2026-01-01 12:16:41 UTC (on inside), for 240 packets "
        "since."
    )


def test_b2_sees_the_change_within_a_flow() -> None:
    # Each flow begins with 9 hops and ends, 10 s later, with 12.
    flows = [*before(), *[host(n, CHANGE - 5, last_ttl=52, flow_id=n) for n in range(1, 5)], *after(ttl=52)]
    assert findings(run(flows), "B2") == [("low", "diversion")]


def test_b2_judges_prefixes_with_enough_hosts() -> None:
    result = run([*before(), *before(2, net="40.0.0")])
    (row,) = [row for row in result.verdicts.to_pylist() if row["check"] == "B2"]
    assert (row["verdict"], row["in_scope"], row["judged"]) == ("pass", 360, 240)


# --- B4 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        ([*before(), *after(source=OTHER)], [("low", "diversion")]),
        ([*before(vlan=5), *after(source=OTHER, vlan=5)], [("low", "diversion")]),
        ([*before(), *after()], []),
        ([*before(vlan=5), *after(source=OTHER, vlan=6)], []),
        ([*before(), *after(2, source=OTHER)], []),
        (
            [*before(), *[host(n, CHANGE + n + at, source=OTHER) for n in range(11, 15) for at in (0, 300)]],
            [],
        ),
        ([*before(), *after(source=VRRP)], []),
        ([*before(), *before(source=OTHER), *after(), *after(source=OTHER)], []),
        ([*before(), *after(source=OTHER, packets=2)], []),
        ([*before(), *after(source=OTHER, encap="gre")], []),
    ],
    ids=[
        "moved",
        "in-a-vlan",
        "as-before",
        "another-vlan",
        "two-hosts",
        "other-hosts",
        "shared-address",
        "equal-cost",
        "few-packets",
        "in-a-tunnel",
    ],
)
def test_b4_another_device_brings_a_prefix(flows: list[dict[str, Any]], expected: Any) -> None:
    # Something else that the first device goes on bringing, so that it is no maintenance.
    rest = [host(1, at, net="50.0.0", flow_id=at) for at in (0, 1000, 3000)]
    assert findings(run([*flows, *rest]), "B4") == expected


def test_b4_maintenance_is_one_finding() -> None:
    nets = ("20.0.0", "40.0.0", "60.0.0")
    flows = [row for net in nets for row in [*before(net=net), *after(net=net, source=OTHER)]]
    result = run(flows)
    assert findings(result, "B4") == [("info", "diversion")]
    assert sentence(result, "B4") == (
        "All that 02:00:00:00:00:01 brought (20.0.0.0/24, 40.0.0.0/24 and 60.0.0.0/24) is brought by 02:00:00:00:00:02 since 2026-01-01 "
        "12:16:41 UTC (on inside)."
    )


def test_hops_and_next_hop_together_weigh_more() -> None:
    rest = [host(1, at, net="50.0.0", flow_id=at) for at in (0, 1000, 3000)]
    flows = [*before(), *after(ttl=52, source=OTHER), *rest]
    result = run(flows)
    assert findings(result, "B2") == findings(result, "B4") == [("medium", "diversion")]
    assert sentence(result, "B2").endswith(" Since then, 02:00:00:00:00:02 brings its packets.")
    assert findings(run(flows, "[checks.B2]\nseverity = 'critical'\n"), "B2") == [("critical", "diversion")]


# --- B3 ---------------------------------------------------------------------------------------------------------------


def connection(
    number: int, at: float, rtt: float, server: int | None = None, ttl: int = 55, source: str = ROUTER
) -> list[dict[str, Any]]:
    """SYN from 30.0.0.1 to a server of 20.0.0.0/24, and its answer after ``rtt`` ms; 20 packets each."""
    server = number % 4 + 1 if server is None else server
    first = START * SECOND + round(at * SECOND)
    ports = {
        "flow_id": number,
        "protocol": 6,
        "tcp_flags": 0x1A,
        "packets": 20,
        "last_ts": first + 2 * SECOND,
        "first_ttl": 60,
        "last_ttl": 60,
    }
    answer = {
        **ports,
        "first_ttl": ttl,
        "last_ttl": ttl,
        "eth_src": mac(source),
        "first_ts": first + round(rtt * 1_000_000),
    }
    client, address = "30.0.0.1", f"20.0.0.{server}"
    return [
        flow(
            client,
            address,
            **ports,
            first_ts=first,
            src_port=40000 + number,
            dst_port=443,
            eth_src=mac(OTHER),
        ),
        flow(address, client, **answer, src_port=443, dst_port=40000 + number),
    ]


def series(early: list[float], late: list[float], **other: Any) -> list[dict[str, Any]]:
    rows = []
    for number, rtt in enumerate([*early, *late]):
        at = 10 * number if number < len(early) else CHANGE + 10 * (number - len(early))
        rows += connection(number, at, rtt, **(other if number >= len(early) else {}))
    return rows


SOON, LATE = [20, 21, 19] * 5, [55, 57, 56] * 5


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (series(SOON, LATE), 1),
        (series(LATE, SOON), 1),
        (series(SOON, SOON), 0),
        (series(SOON, [rtt + 9 for rtt in SOON]), 0),
        (series([5, 20, 60] * 5, [15, 30, 70] * 5), 0),
        (series(SOON, LATE[:6]), 0),
        (series(SOON[:6], LATE), 0),
        (series(SOON, [rtt + 1000 for rtt in LATE]), 0),
        (series(SOON, LATE, server=9), 0),
    ],
    ids=[
        "later",
        "sooner",
        "as-before",
        "too-little",
        "noisy",
        "few-after",
        "few-before",
        "sent-again",
        "another-server",
    ],
)
def test_b3_servers_answer_later(flows: list[dict[str, Any]], expected: int) -> None:
    assert findings(run(flows), "B3") == [("low", "diversion")] * expected


def test_b3_says_how_much_later_and_how_far_that_may_be() -> None:
    # 20 ms, then 56 ms: 36 ms more are 3,600 km at 10 µs a kilometre, there and back.
    assert sentence(run(series(SOON, LATE)), "B3") == (
        "Servers of 20.0.0.0/24 answered later since 2026-01-01 12:16:40 UTC (on inside): after 56 ms instead of 20 ms, in 15 connections, "
        "which could be up to 3,600 km farther."
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ttl": 52}, "At the same time the number of hops went from 9 to 12."),
        ({"source": "02:00:00:00:00:03"}, "Since the same time, 02:00:00:00:00:03 brings its packets."),
    ],
)
def test_b3_is_high_when_the_path_changed_too(change: dict[str, Any], words: str) -> None:
    result = run(series(SOON, LATE, **change))
    assert findings(result, "B3") == [("high", "diversion")]
    assert sentence(result, "B3").endswith(words)
    assert result.answers[1].answer == "yes"
