"""What the network's own devices do, and where packets come from: checks of hand-made flows."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from tables import SECOND, address, examination, flow, mac, sentences, told

from tapsight._check import Result, judge
from tapsight.checks._base import flows_frame
from tapsight.checks._talks import talks
from tapsight.policy import Policy, PolicyError

DEVICE, OTHER = "198.51.100.1", "203.0.113.66"
NETWORK = '[network]\ninfrastructure = ["198.51.100.0/28"]\n'
S, SA, A, RA, PA = 0x02, 0x12, 0x10, 0x14, 0x18


def run(policy: str | None, *flows: dict[str, Any]) -> Result:
    return judge(examination(flows=list(flows)), Policy.loads(policy) if policy is not None else None)


def talk(
    client: str,
    server: str,
    port: int,
    *,
    flags: tuple[int, int] = (S | PA, SA | PA),
    client_port: int = 40000,
    **other: Any,
) -> list[dict[str, Any]]:
    """Both directions of a conversation, the client's first."""
    names = {
        "protocol": 6,
        "flow_id": hash((client, server, port, client_port)) & 0xFFFF,
        "packets": 10,
        **other,
    }
    if names["protocol"] != 6:
        flags = (0, 0)
    later = names.get("first_ts", SECOND) + 1000
    return [
        flow(
            client,
            server,
            src_port=client_port,
            dst_port=port,
            **{"first_ts": SECOND, **names},
            tcp_flags=flags[0],
        ),
        flow(
            server,
            client,
            src_port=port,
            dst_port=client_port,
            **{**names, "first_ts": later},
            tcp_flags=flags[1],
        ),
    ]


# --- Who asked whom ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "client", "known", "answered"),
    [
        (talk(DEVICE, OTHER, 9999), DEVICE, True, True),
        (talk(DEVICE, OTHER, 9999)[::-1], DEVICE, True, True),
        (talk(DEVICE, OTHER, 22, flags=(PA, PA))[::-1], DEVICE, True, True),
        (talk(DEVICE, OTHER, 9999, flags=(PA, PA)), DEVICE, False, True),
        (talk(DEVICE, OTHER, 9999, flags=(S, RA)), DEVICE, True, False),
        (talk(DEVICE, OTHER, 9999, flags=(S, 0))[:1], DEVICE, True, False),
        (talk(DEVICE, OTHER, 443)[1:], DEVICE, True, True),
        (talk(DEVICE, OTHER, 9999)[1:], OTHER, False, False),
        (talk(DEVICE, OTHER, 53, protocol=17)[1:], DEVICE, True, True),
        (talk(DEVICE, OTHER, 9999, protocol=17)[::-1], DEVICE, True, True),
        (talk(DEVICE, OTHER, 123, protocol=17, client_port=123), DEVICE, True, True),
        (talk(OTHER, DEVICE, 50000, protocol=17, client_port=1812), DEVICE, True, True),
        (talk(DEVICE, OTHER, 3868, protocol=132)[1:], DEVICE, True, True),
        (talk(DEVICE, OTHER, 2049, client_port=890, flags=(PA, PA)), DEVICE, False, True),
        (talk(DEVICE, OTHER, 9999, flags=(PA, SA | PA)), DEVICE, False, True),
        (talk(DEVICE, OTHER, 22, flags=(S | PA, 0))[:1], DEVICE, True, True),
    ],
    ids=[
        "by-syn",
        "in-any-order",
        "by-port",
        "beginning-not-seen",
        "refused",
        "no-answer",
        "answer-only",
        "answer-only-of-a-high-port",
        "answer-only-over-udp",
        "udp-by-time",
        "udp-of-equal-ports",
        "radius-answer-first",
        "diameter-answer-only",
        "two-services",
        "only-one-syn",
        "data-after-syn",
    ],
)
def test_who_is_the_client(flows: list[dict[str, Any]], client: str, known: bool, answered: bool) -> None:
    (row,) = talks(flows_frame(examination(flows=flows).flows)).to_dicts()
    assert (row["client"], row["known"], row["answered"]) == (address(client), known, answered)


def test_labels_by_signature_count_before_those_by_port() -> None:
    flows = talk(DEVICE, OTHER, 22)
    flows[0].update(app="telnet", basis="port")
    flows[1].update(app="ssh", basis="signature")
    (row,) = talks(flows_frame(examination(flows=flows).flows)).to_dicts()
    assert (row["app"], row["is_proven"], row["packets"]) == ("ssh", True, 20)


def test_no_flows_are_no_talks() -> None:
    assert isinstance(talks(flows_frame(examination().flows)), pl.DataFrame)


# --- What they need ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["C1", "C2", "C3", "C4"])
def test_without_infrastructure_no_check_passes(check: str) -> None:
    (row,) = [row for row in run("").verdicts.to_pylist() if row["check"] == check]
    assert row["verdict"] == "unknown"
    assert row["reason"].startswith("needs set `")
    assert check not in run(None).verdicts["check"].to_pylist()


# --- C1 ---------------------------------------------------------------------------------------------------------------


def test_c1_judges_tunnels_that_end_at_a_device() -> None:
    inner = {"encap": "gre", "outer_src": DEVICE, "outer_dst": OTHER}
    flows = [
        flow(**inner),
        flow(**{**inner, "outer_dst": "192.0.2.1"}, flow_id=2),
        flow(**{**inner, "outer_src": "192.0.2.7", "outer_dst": "192.0.2.1"}, flow_id=3),
        flow(DEVICE, OTHER, protocol=50, flow_id=4),
    ]
    allow = 'allow = [{ encap = "gre", between = ["198.51.100.1", "192.0.2.1"] }]\n'
    result = run(f"{NETWORK}[checks.C1]\n{allow}", *flows)
    assert told(result, "C1") == ("fail", 300, 300, 2)
    assert sorted(text.partition(",")[0] for text in sentences(result, "C1")) == [
        "A tunnel (esp) between 198.51.100.1 and 203.0.113.66",
        "A tunnel (gre) between 198.51.100.1 and 203.0.113.66",
    ]


# --- C2 ---------------------------------------------------------------------------------------------------------------

SSH, TLS = {"app": "ssh", "basis": "signature"}, {"app": "tls", "basis": "signature"}


@pytest.mark.parametrize(
    ("port", "label", "policy", "findings"),
    [
        (22222, SSH, "", 1),
        (10022, SSH, "", 1),
        (122, SSH, "", 1),
        (57722, SSH, "", 1),
        (18443, TLS, "", 1),
        (4786, {}, "", 1),
        (22, SSH, "", 0),
        (830, SSH, "", 0),
        (22222, {}, "", 0),
        (22222, {"app": "ssh", "basis": "port"}, "", 0),
        (57722, {}, "", 0),
        (8443, TLS, "", 0),
        (22222, SSH, "[checks.C2]\nports = [22, 22222]\n", 0),
        (8443, TLS, "[checks.C2]\nports = [22]\n", 1),
    ],
)
def test_c2_ports_that_answered(port: int, label: dict[str, Any], policy: str, findings: int) -> None:
    result = run(NETWORK + policy, *talk(OTHER, DEVICE, port, **label))
    assert told(result, "C2") == ("fail" if findings else "pass", 20, 20, findings)


def test_c2_is_about_devices_that_answered() -> None:
    flows = [
        *talk(DEVICE, OTHER, 22222, **SSH),
        *talk(OTHER, "192.0.2.1", 22222, **SSH),
        *talk(OTHER, DEVICE, 4786, flags=(S, RA)),
    ]
    assert told(run(NETWORK, *flows), "C2") == ("unknown", 0, 0, 0)


# --- C3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (talk(DEVICE, OTHER, 49), ("fail", 20, 20, 1)),
        (talk(DEVICE, "192.0.2.49", 49), ("pass", 20, 20, 0)),
        (talk(DEVICE, OTHER, 1812, protocol=17), ("fail", 20, 20, 1)),
        (talk(DEVICE, OTHER, 9000, app="tacacs", basis="signature"), ("fail", 20, 20, 1)),
        (talk(DEVICE, OTHER, 49, app="ssh", basis="signature"), ("unknown", 0, 0, 0)),
        (talk("192.0.2.1", OTHER, 49), ("unknown", 0, 0, 0)),
        (talk(OTHER, DEVICE, 49), ("unknown", 0, 0, 0)),
    ],
    ids=["tacacs", "listed", "radius", "by-signature", "something-else", "no-device", "asked-itself"],
)
def test_c3_servers(flows: list[dict[str, Any]], expected: Any) -> None:
    assert told(run(f'{NETWORK}[checks.C3]\nservers = ["192.0.2.49"]\n', *flows), "C3") == expected


# --- C4 ---------------------------------------------------------------------------------------------------------------

ALLOW = """[sets]
collectors = ["192.0.2.14"]
[checks.C4]
allow = ["collectors", { to = "192.0.2.123", ports = [123], protocol = "udp" }]
"""


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (talk(DEVICE, OTHER, 21), ("fail", 20, 20, 1)),
        (talk(DEVICE, "192.0.2.14", 6514), ("pass", 20, 20, 0)),
        (talk(DEVICE, "192.0.2.123", 123, protocol=17), ("pass", 20, 20, 0)),
        (talk(DEVICE, "192.0.2.123", 123), ("fail", 20, 20, 1)),
        (talk(DEVICE, "192.0.2.123", 124, protocol=17), ("fail", 20, 20, 1)),
        (talk(OTHER, DEVICE, 22), ("unknown", 0, 0, 0)),
        (talk(DEVICE, OTHER, 179, traffic="routing", app="bgp", basis="signature"), ("fail", 20, 20, 1)),
        (talk(DEVICE, OTHER, 3784, protocol=17, traffic="routing"), ("unknown", 0, 0, 0)),
        (talk(DEVICE, "224.0.0.2", 1985, protocol=17)[:1], ("unknown", 0, 0, 0)),
        (talk(DEVICE, OTHER, 9999, flags=(PA, PA)), ("fail", 40, 20, 1)),
    ],
    ids=["ftp", "listed", "listed-service", "transport", "port", "asked", "bgp", "bfd", "group", "unsure"],
)
def test_c4_servers(flows: list[dict[str, Any]], expected: Any) -> None:
    if expected == ("fail", 40, 20, 1):
        # One whose beginning was not seen, beside one that fails.
        flows = [*flows, *talk(DEVICE, OTHER, 21)]
    assert told(run(NETWORK + ALLOW, *flows), "C4") == expected


def test_c4_sentence_and_errors() -> None:
    (sentence,) = sentences(
        run(NETWORK + ALLOW, *talk(DEVICE, OTHER, 21), *talk(DEVICE, OTHER, 69, protocol=17)), "C4"
    )
    assert sentence.startswith(
        "198.51.100.1, a device of the network, began 2 conversations with 203.0.113.66 (tcp/21 and udp/69, 40 packets seen), "
    )
    with pytest.raises(PolicyError, match=r"ports.*70000 is no port"):
        Policy.loads("[checks.C2]\nports = [70000]\n")


# --- C5 ---------------------------------------------------------------------------------------------------------------


def answers(port: int, ttl: int, n: int = 2, server: str = DEVICE, **other: Any) -> list[dict[str, Any]]:
    """Connections to a port, answered with this TTL."""
    rows = []
    for number in range(n):
        rows += talk(OTHER, server, port, client_port=41000 + number, first_ttl=ttl, last_ttl=ttl, **other)
    return rows


@pytest.mark.parametrize(
    ("flows", "findings"),
    [
        ([*answers(22, 253), *answers(22222, 62)], 1),
        ([*answers(22, 253), *answers(22222, 251)], 0),
        ([*answers(22, 253), *answers(22222, 62, 1)], 0),
        ([*answers(22, 253), *answers(179, 64, traffic="routing")], 0),
        ([*answers(22, 253), *answers(22222, 62, server="192.0.2.1")], 0),
        ([*answers(22, 253), *answers(22222, 80)], 0),
        (
            [
                *answers(22, 253),
                *talk(DEVICE, OTHER, 80, first_ttl=64),
                *talk(DEVICE, OTHER, 81, first_ttl=64),
            ],
            0,
        ),
    ],
    ids=["two-systems", "one", "one-answer", "routing", "no-device", "of-no-system", "asks"],
)
def test_c5_one_device_answers_as_one_system(flows: list[dict[str, Any]], findings: int) -> None:
    result = run(NETWORK, *flows)
    assert told(result, "C5")[3] == findings
    if findings:
        assert sentences(result, "C5")[0].endswith(
            "with an initial TTL of 255 on tcp/22 and 64 on tcp/22222."
        )


# --- B22 --------------------------------------------------------------------------------------------------------------

MAC_IN, MAC_OUT = "02:00:00:00:00:01", "02:00:00:00:00:02"
OWN = '[checks.B22]\nown = ["20.0.0.0/24"]\n'


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (("20.0.0.1", "30.0.0.1"), "pass"),
        (("127.0.0.1", "30.0.0.1"), "fail"),
        (("240.0.0.1", "30.0.0.1"), "fail"),
        (("30.0.0.1", "240.0.0.1"), "fail"),
        (("192.0.2.1", "30.0.0.1"), "fail"),
        (("2001:db8::1", "2a00::1"), "fail"),
        (("10.0.0.1", "30.0.0.1"), "pass"),
        (("100.64.0.1", "30.0.0.1"), "pass"),
        (("fe80::1", "2a00::1"), "pass"),
        (("30.0.0.1", "255.255.255.255"), "pass"),
        (("30.0.0.1", "224.0.0.1"), "pass"),
        (("192.0.2.1", "198.51.100.1"), "unknown"),
        (("10.0.0.1", "192.168.0.1"), "unknown"),
        (("0.0.0.0", "255.255.255.255"), "unknown"),
    ],
)
def test_b22_without_a_policy_looks_for_bogons_beside_public_addresses(
    ends: tuple[str, str], expected: str
) -> None:
    result = run(None, flow(*ends))
    assert told(result, "B22")[0] == expected
    assert set(result.findings["severity"].to_pylist()) <= {"low"}


@pytest.mark.parametrize(
    ("ends", "source", "expected"),
    [
        (("20.0.0.1", "30.0.0.1"), MAC_IN, []),
        (("30.0.0.1", "20.0.0.1"), MAC_OUT, []),
        (("30.0.0.9", "30.0.0.1"), MAC_IN, ["medium"]),
        (("20.0.0.9", "20.0.0.1"), MAC_OUT, ["medium"]),
        (("10.0.0.9", "20.0.0.1"), MAC_OUT, ["medium"]),
        (("10.0.0.9", "30.0.0.1"), MAC_IN, ["medium"]),
        (("198.51.100.1", "30.0.0.1"), MAC_IN, ["low"]),
        (("0.0.0.0", "255.255.255.255"), MAC_IN, []),
        (("fe80::1", "ff02::1"), MAC_IN, []),
    ],
)
@pytest.mark.parametrize("side", [f'inside_macs = "{MAC_IN}"', "inside_vlans = [7]", 'inside_taps = "in"'])
def test_b22_knows_what_comes_from_inside(
    ends: tuple[str, str], source: str, expected: list[str], side: str
) -> None:
    inside = source == MAC_IN
    row = flow(*ends, eth_src=mac(source), vlan=7 if inside else 8, tap="in" if inside else "out")
    result = run(f"{NETWORK}{OWN}{side}\n", row)
    assert result.findings["severity"].to_pylist() == expected


@pytest.mark.parametrize(
    ("ends", "source", "policy", "expected"),
    [
        # The routers are the network's own, and their packets come from either side.
        (("20.0.0.9", "20.0.0.1"), MAC_OUT, "[network]\ninfrastructure = ['20.0.0.9']\n", []),
        (("10.0.0.9", "20.0.0.1"), MAC_OUT, "", []),
        (("10.0.1.9", "20.0.0.1"), MAC_OUT, "", ["medium"]),
        (("192.0.2.1", "30.0.0.1"), MAC_OUT, "", []),
        (("30.0.0.1", "192.0.2.1"), MAC_OUT, "", []),
        (("198.51.100.1", "30.0.0.1"), MAC_OUT, "", ["medium"]),
        # A link to another network that is numbered from one's own prefixes.
        (("20.0.0.253", "20.0.0.252"), MAC_OUT, "", []),
        (("20.0.0.254", "20.0.0.252"), MAC_OUT, "", ["medium"]),
    ],
)
def test_b22_knows_what_is_agreed(
    ends: tuple[str, str], source: str, policy: str, expected: list[str]
) -> None:
    agreed = f'inside_macs = "{MAC_IN}"\nallow = ["10.0.0.0/24", "192.0.2.0/24", "20.0.0.252/31"]\n'
    result = run(policy + OWN + agreed, flow(*ends, eth_src=mac(source)))
    assert result.findings["severity"].to_pylist() == expected


def test_b22_tells_what_comes_back_from_what_is_forged() -> None:
    ends, side = ("20.0.0.9", "30.0.0.1"), f'inside_macs = "{MAC_IN}"\n'
    there, back, forged = (
        flow(*ends, eth_src=mac(source), flow_id=number)
        for source, number in ((MAC_IN, 7), (MAC_OUT, 7), (MAC_OUT, 8))
    )
    assert run(OWN + side, there, back).findings["severity"].to_pylist() == ["low"]
    assert run(OWN + side, there, forged).findings["severity"].to_pylist() == ["medium"]


def test_b22_leaves_tunnels_and_pings_of_labels_alone() -> None:
    flows = [
        flow("127.0.0.1", "30.0.0.1", encap="gre", outer_src="30.0.0.2", outer_dst="30.0.0.3"),
        flow("30.0.0.1", "127.0.0.1", dst_port=3503),
        flow("30.0.0.1", "127.0.0.1", eth_dst=bytes(6)),
    ]
    assert told(run(None, *flows), "B22")[0] == "pass"


def test_b22_says_what_is_wrong_with_a_mac_address() -> None:
    with pytest.raises(PolicyError, match="must be a MAC address"):
        Policy.loads("[checks.B22]\ninside_macs = ['02-00']\n")
