"""The pack router-hardening: what the network's own devices may say, to whom, and how protected."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import capture_index, captures_dir
from make_corpus import EIGRP, HSRP, HSRP2, ISIS, OSPF, OSPF3, RIP, VRRP
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap
from tables import NOON, examination, flow, scope, sentences, told, why
from test_infrastructure import PA, RA, A, S, talk

import tapsight
from tapsight._check import Result, judge
from tapsight._expressions import Column, ExpressionError, condition
from tapsight._sources import Tap
from tapsight.checks import CHECKS
from tapsight.checks._base import flows_frame
from tapsight.checks._rule import ENDS, Rule
from tapsight.checks._several import Several
from tapsight.checks._tables import Captures, table_columns
from tapsight.checks._talks import conversations
from tapsight.checks._words import fields_of
from tapsight.policy import Policy

DEVICE, OTHER, MANAGER = "198.51.100.1", "203.0.113.66", "192.0.2.14"
NETWORK = 'packs = ["router-hardening"]\n[network]\ninfrastructure = ["198.51.100.0/28", "2001:db8::/64"]\n'
PACK = [f"M{number}" for number in range(1, 15)]


def of_flows(policy: str, flows: Iterable[dict[str, Any]]) -> Result:
    return judge(examination(flows=list(flows)), Policy.loads(NETWORK + policy))


def of_packets(folder: Path, policy: str, *packets: Packet, name: str = "a") -> Result:
    for number, packet in enumerate(packets):
        packet.time = 1_700_000_000 + number / 1000
    path = folder / "a.pcap"
    wrpcap(str(path), list(packets))
    return tapsight.check({name: [str(path)]}, policy=Policy.loads(NETWORK + policy))


def ether(*layers: Any) -> Packet:
    packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    for layer in layers:
        packet /= layer
    return packet


def sent(src: str, dst: str, *layers: Any, ttl: int = 64) -> Packet:
    return ether(IP(src=src, dst=dst, ttl=ttl), *layers)


def cut(packet: Packet, length: int) -> Packet:
    """What a capture holds that ends frames after so many bytes."""
    frame = bytes(packet)
    kept = Ether(frame[:length])
    kept.wirelen = len(frame)
    return kept


def said(app: str, basis: str = "signature") -> dict[str, Any]:
    return {"app": app, "basis": basis}


# --- What they need ---------------------------------------------------------------------------------------------------


def test_the_pack_is_whole_and_judges_only_if_asked_for() -> None:
    assert [id_ for id_, check in CHECKS.items() if check.pack == "router-hardening"] == PACK
    without = judge(examination(), Policy.loads(NETWORK.partition("\n")[2]))
    assert set(PACK).isdisjoint(without.verdicts["check"].to_pylist())
    assert set(PACK) <= set(of_flows("", []).verdicts["check"].to_pylist())


@pytest.mark.parametrize(
    ("check", "needs"),
    [
        ("M1", "`management` in [checks.M1]"),
        ("M2", "`infrastructure` in [network]"),
        ("M3", "`taps` or `vlans` or `macs` in [checks.M3]"),
        ("M5", "`infrastructure` in [network]"),
        ("M6", "`servers` in [checks.M6]"),
        ("M7", "`vpn_gateways` in [checks.M7]"),
        ("M8", "`infrastructure` in [network]"),
        ("M9", "`infrastructure` in [network]"),
        ("M10", "`infrastructure` in [network]"),
        ("M11", "`allow` in [checks.C4]"),
        ("M12", "`infrastructure` in [network]"),
        ("M13", "`ports` in [checks.M13]"),
    ],
)
def test_without_what_it_needs_no_check_passes(check: str, needs: str) -> None:
    result = judge(examination(flows=talk(MANAGER, DEVICE, 22)), Policy.loads('packs = ["router-hardening"]'))
    assert told(result, check)[0] == "unknown"
    assert needs in why(result, check)


@pytest.mark.parametrize("check", PACK)
def test_nothing_seen_is_unknown(check: str) -> None:
    options = """
        [checks.M1]
        management = ["192.0.2.0/28"]
        [checks.M3]
        vlans = [7]
        [checks.M6]
        servers = ["192.0.2.49"]
        [checks.M7]
        vpn_gateways = ["198.51.100.9"]
        [checks.M13]
        ports = [22]
        [checks.C4]
        allow = []
    """
    nothing = [scope(id_, 0, 0) for id_ in ("B17", "D1", "D2", "D3", "D4")]
    result = judge(examination(flows=[], scopes=nothing), Policy.loads(NETWORK + options))
    assert told(result, check) == ("unknown", 0, 0, 0)


# --- Conversations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (talk(OTHER, DEVICE, 22, **said("ssh")), (True, True)),
        (talk(OTHER, DEVICE, 22, flags=(S, RA), **said("ssh", "port")), None),
        (talk(OTHER, DEVICE, 22, flags=(S, 0), **said("ssh", "port"))[:1], None),
        (talk(OTHER, DEVICE, 161, protocol=17, **said("snmp"))[:1], (True, None)),
        (talk(OTHER, DEVICE, 161, protocol=17, **said("snmp", "port"))[:1], None),
        (talk(OTHER, DEVICE, 22, **said("ssh"))[:1], (True, True)),
        (talk(OTHER, DEVICE, 9999, flags=(PA, A)), (False, True)),
        # Who has sent data after SYN was answered; who has sent both flags but no data may be a scanner.
        (talk(OTHER, DEVICE, 22, **said("ssh", "port"), flags=(S | PA, 0))[:1], (True, True)),
        (talk(OTHER, DEVICE, 22, **said("ssh", "port"), flags=(S | A, 0))[:1], None),
    ],
    ids=[
        *("answered", "refused", "ignored", "asked", "knocked", "one-sided", "mid-stream"),
        *("one-sided-data", "one-sided-scan"),
    ],
)
def test_a_conversation_is_what_took_place(
    flows: list[dict[str, Any]], expected: tuple[bool, Any] | None
) -> None:
    rows = conversations(flows_frame(examination(flows=flows).flows)).to_dicts()
    assert [(row["server"] is not None, row["answered"]) for row in rows] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([15, 20], True), ([15, 14], False), ([14], False), ([], True), (None, None)],
)
def test_lists_that_hold_nothing_else(values: list[int] | None, expected: bool | None) -> None:
    columns = {"groups": Column("groups", "number", is_list=True)}
    frame = pl.DataFrame({"groups": [values]}, schema={"groups": pl.List(pl.Int64)})
    for text in ("groups within (15, 16, 20)", "groups within (15..16, more)"):
        condition_ = condition(text, columns, {"more": (20,)})
        assert frame.select(fits=condition_.expr)["fits"].to_list() == [expected]
    with pytest.raises(ExpressionError, match="which holds nothing: use in"):
        condition("ttl within (1, 2)", {"ttl": Column("ttl", "number")})


# --- M1 ---------------------------------------------------------------------------------------------------------------

MANAGEMENT = '[checks.M1]\nmanagement = ["192.0.2.0/28"]\n'


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (talk(OTHER, DEVICE, 22, **said("ssh")), ("fail", 20, 20, 1)),
        (talk(OTHER, DEVICE, 161, protocol=17, **said("snmp")), ("fail", 20, 20, 1)),
        (talk(MANAGER, DEVICE, 22, **said("ssh")), ("pass", 20, 20, 0)),
        (talk("198.51.100.2", DEVICE, 22, **said("ssh")), ("fail", 20, 20, 1)),
        (talk(DEVICE, OTHER, 22, **said("ssh")), ("pass", 20, 20, 0)),
        (talk(OTHER, DEVICE, 22, **said("ssh", "port")), ("unknown", 20, 0, 0)),
        (talk(OTHER, DEVICE, 22, flags=(S, RA), **said("ssh", "port")), ("unknown", 0, 0, 0)),
        (talk(OTHER, DEVICE, 161, protocol=17, **said("snmp"))[:1], ("unknown", 10, 0, 0)),
        (talk(OTHER, DEVICE, 9999, flags=(PA, PA), **said("ssh")), ("unknown", 20, 0, 0)),
        (talk(OTHER, DEVICE, 179, **said("bgp")), ("unknown", 0, 0, 0)),
    ],
    ids=[
        "ssh",
        "snmp",
        "listed",
        "device",
        "out",
        "guess",
        "refused",
        "unanswered",
        "direction",
        "no-management",
    ],
)
def test_m1_only_management_networks_manage(flows: list[dict[str, Any]], expected: Any) -> None:
    assert told(of_flows(MANAGEMENT, flows), "M1") == expected


def test_m1_names_client_and_server() -> None:
    (text,) = sentences(of_flows(MANAGEMENT, talk(OTHER, DEVICE, 22, **said("ssh"))), "M1")
    assert text.startswith("203.0.113.66 managed 198.51.100.1 over SSH, in 20 packets, ")


def test_what_a_device_ignores_is_not_answered_if_its_answers_are_seen() -> None:
    # A scan of 8 strangers, 10 packets each, which nobody answers; then the device answers its manager at the same tap, or at another.
    scan = [
        row
        for last in range(8)
        for row in talk(f"203.0.113.{last}", DEVICE, 161, protocol=17, **said("snmp"))[:1]
    ]
    own = talk(MANAGER, DEVICE, 22, **said("ssh"))
    assert told(of_flows(MANAGEMENT, [*scan, *own]), "M1") == ("pass", 100, 100, 0)
    for row in own:
        row["tap"] = "elsewhere"
    assert told(of_flows(MANAGEMENT, [*scan, *own]), "M1") == ("unknown", 100, 20, 0)


# --- M2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (talk(MANAGER, DEVICE, 23, **said("telnet")), ("fail", 20, 20, 1)),
        (talk(DEVICE, MANAGER, 21, **said("ftp")), ("fail", 20, 20, 1)),
        (talk(DEVICE, MANAGER, 69, protocol=17, **said("tftp")), ("fail", 20, 20, 1)),
        (talk(MANAGER, DEVICE, 80, **said("http")), ("fail", 20, 20, 1)),
        (talk(DEVICE, MANAGER, 80, **said("http")), ("pass", 20, 20, 0)),
        (talk(MANAGER, DEVICE, 22, **said("ssh")), ("pass", 20, 20, 0)),
        (talk(MANAGER, OTHER, 23, **said("telnet")), ("unknown", 0, 0, 0)),
        (talk(MANAGER, DEVICE, 23, **said("telnet", "port")), ("unknown", 20, 0, 0)),
        (talk(MANAGER, DEVICE, 7777), ("unknown", 20, 0, 0)),
        (talk(OTHER, DEVICE, 69, protocol=17, **said("tftp"))[:1], ("unknown", 10, 0, 0)),
        (
            [
                *talk(OTHER, DEVICE, 69, protocol=17, **said("tftp"))[:1],
                *talk(MANAGER, DEVICE, 22, **said("ssh")),
            ],
            ("pass", 30, 30, 0),
        ),
        (talk(DEVICE, OTHER, 69, protocol=17, **said("tftp"))[:1], ("fail", 10, 10, 1)),
    ],
    ids=[
        *("telnet", "ftp", "tftp", "http", "http-out", "ssh", "others", "guess", "unrecognised"),
        *("asked-for", "ignored", "asked"),
    ],
)
def test_m2_nothing_in_the_clear(flows: list[dict[str, Any]], expected: Any) -> None:
    assert told(of_flows("", flows), "M2") == expected


def snmp(version: int, src: str = DEVICE) -> Packet:
    # RFC 1157 section 4: version, community, a response without variables.
    body = bytes([2, 1, version]) + b"\x04\x06public" + bytes.fromhex("a20b 020101 020100 020100 3000")
    return of_snmp(body, src)


def of_snmp(body: bytes, src: str) -> Packet:
    message = Raw(b"\x30" + bytes([len(body)]) + body)
    if src == DEVICE:
        return sent(DEVICE, MANAGER, UDP(sport=161, dport=40000), message)
    return sent(src, DEVICE, UDP(sport=40000, dport=161), message)


SYSTEM = bytes.fromhex("300c 06082b06010201010100 0500")
"""sysDescr.0 without a value: RFC 3416, section 3."""


def snmp3(flags: int, pdu: int, names: bytes = SYSTEM, src: str = DEVICE) -> Packet:
    """RFC 3412 section 6: version, a header, parameters of security, and what is asked, which is encrypted if flag 2 is set."""
    listed = bytes([0x30, len(names)]) + names
    asked = bytes([0xA0 + pdu, 9 + len(listed)]) + bytes.fromhex("020101 020100 020100") + listed
    scoped = bytes.fromhex("0400 0400") + asked
    scoped = bytes([0x04 if flags & 2 else 0x30, len(scoped)]) + scoped
    header = bytes.fromhex("300d 020101 020205dc 0401") + bytes([flags]) + bytes.fromhex("020103")
    return of_snmp(bytes.fromhex("020103") + header + bytes.fromhex("0400") + scoped, src)


def ssh(version: str, src: str = DEVICE) -> Packet:
    return sent(src, MANAGER, TCP(sport=22, dport=40000, flags="PA"), Raw(f"SSH-{version}-x\r\n".encode()))


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (snmp(0), ("fail", 1)),
        (snmp(1), ("fail", 1)),
        (snmp3(0x03, 2), ("pass", 0)),
        (snmp3(0x01, 2), ("fail", 1)),
        (snmp3(0x00, 2), ("fail", 1)),
        (snmp3(0x04, 0), ("fail", 1)),
        (snmp3(0x04, 0, names=b""), ("pass", 0)),
        (snmp3(0x00, 8), ("pass", 0)),
        (snmp(1, src=OTHER), ("unknown", 0)),
        (snmp3(0x04, 0, src=OTHER), ("unknown", 0)),
        (ssh("1.5"), ("fail", 1)),
        (ssh("1.99"), ("fail", 1)),
        (ssh("2.0"), ("pass", 0)),
        (ssh("1.5", src=OTHER), ("unknown", 0)),
    ],
    ids=[
        *("v1", "v2c", "v3", "v3-authenticated", "v3-open", "v3-asked", "discovery", "report"),
        *("v2c-asked-for", "v3-asked-for", "ssh1", "ssh-both", "ssh2", "others"),
    ],
)
def test_m2_versions_that_say_all(packet: Packet, expected: tuple[str, int], tmp_path: Path) -> None:
    word, _, _, findings = told(of_packets(tmp_path, "", packet), "M2")
    assert (word, findings) == expected


def test_m2_does_not_blame_a_device_for_what_it_ignores_or_refuses(tmp_path: Path) -> None:
    asked = [snmp(1, src=OTHER), snmp3(0x04, 0, src=OTHER)]
    question = sent(MANAGER, DEVICE, TCP(sport=40000, dport=22, flags="A"))
    assert told(of_packets(tmp_path, "", *asked, ssh("2.0"), question), "M2")[0] == "pass"
    refused = sent(DEVICE, OTHER, UDP(sport=161, dport=40000), snmp3(0x00, 8)[Raw])
    assert told(of_packets(tmp_path, "", *asked, refused), "M2")[0] == "pass"
    answered = sent(DEVICE, OTHER, UDP(sport=161, dport=40000), snmp(1)[Raw])
    result = of_packets(tmp_path, "", *asked, refused, answered)
    assert told(result, "M2") == ("fail", 4, 4, 1)
    (text,) = sentences(result, "M2")
    assert text.startswith(
        "1 SNMP packet of version 2c that anybody can read or forge passed between 198.51.100.1 and 203.0.113.66, at "
    )


def transfer(server: str, client: str) -> list[dict[str, Any]]:
    """A file by TFTP: 1 packet asks at port 69, and the server sends 10 from another, each acknowledged (RFC 1350, section 4)."""
    asked = talk(client, server, 69, protocol=17, packets=1, **said("tftp"))[:1]
    return [*asked, *talk(server, client, 40000, client_port=50123, protocol=17, first_ts=NOON)]


def test_m2_a_file_that_a_device_sent_is_one_that_was_asked_for() -> None:
    assert told(of_flows("", transfer(DEVICE, OTHER)), "M2") == ("fail", 21, 21, 1)
    assert told(of_flows("", transfer(MANAGER, OTHER)), "M2") == ("unknown", 0, 0, 0)


def test_m2_findings_of_two_tables_are_two(tmp_path: Path) -> None:
    result = of_packets(tmp_path, "", snmp(1), ssh("1.5"))
    assert told(result, "M2")[3] == 2
    assert len(set(result.findings["id"].to_pylist())) == len(result.findings)


def test_m2_does_not_pass_if_captures_cannot_be_read_again(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    seen, policy = examination(flows=talk(MANAGER, DEVICE, 22, **said("ssh"))), Policy.loads(NETWORK)
    result = judge(seen, policy, captures=Captures([Tap("a", (str(pipe),))]))
    assert told(result, "M2") == ("unknown", 20, 20, 0)
    assert why(result, "M2") == "captures from a pipe cannot be read a second time: give files"
    # What fails without them fails.
    seen = examination(flows=talk(MANAGER, DEVICE, 23, **said("telnet")))
    assert told(judge(seen, policy, captures=Captures([Tap("a", (str(pipe),))])), "M2")[0] == "fail"


# --- M3 ---------------------------------------------------------------------------------------------------------------

LLDP = bytes.fromhex("0207 04 020000000001 0403 07 3132 0602 0078 0000")
CDP = bytes.fromhex("aaaa03 00000c 2000 02b4 0000 0001 0006 7231")


def lldp(vlan: int | None = None) -> Packet:
    packet = Ether(src="02:00:00:00:00:01", dst="01:80:c2:00:00:0e", type=0x88CC)
    if vlan is not None:
        packet = Ether(src=packet.src, dst=packet.dst) / Dot1Q(vlan=vlan, type=0x88CC)
    return packet / Raw(LLDP)


def cdp() -> Packet:
    return Dot3(src="02:00:00:00:00:01", dst="01:00:0c:cc:cc:cc") / Raw(CDP)


@pytest.mark.parametrize(
    ("packet", "options", "expected"),
    [
        (lldp(), 'taps = ["peering"]', "fail"),
        (cdp(), 'taps = ["peering"]', "fail"),
        (lldp(), 'macs = ["02:00:00:00:00:01"]', "fail"),
        (lldp(7), "vlans = [7]", "fail"),
        (lldp(8), "vlans = [7]", "unknown"),
        (lldp(), 'macs = ["02:00:00:00:00:09"]', "unknown"),
        (sent(MANAGER, OTHER, ICMP()), 'taps = ["peering"]', "pass"),
        (sent(MANAGER, OTHER, UDP(sport=5, dport=6)), 'taps = ["peering"]', "pass"),
    ],
    ids=["lldp", "cdp", "mac", "vlan", "other-vlan", "other-mac", "icmp", "unrecognised"],
)
def test_m3_nobody_outside_is_told(packet: Packet, options: str, expected: str, tmp_path: Path) -> None:
    result = of_packets(tmp_path, f"[checks.M3]\n{options}\n", packet, name="peering")
    assert told(result, "M3")[0] == expected


# --- M4, M11, M14 -----------------------------------------------------------------------------------------------------


def tagged(vlan: int) -> Packet:
    head = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=vlan)
    return head / IP(src=MANAGER, dst=OTHER) / UDP(sport=5, dport=6)


@pytest.mark.parametrize(
    ("packets", "options", "expected"),
    [
        ([tagged(300), lldp()], "vlans = [300]", ("fail", 2, 2, 1)),
        ([tagged(300), cdp()], "vlans = [300]", ("fail", 2, 2, 1)),
        ([tagged(300), lldp(0)], "vlans = [300]", ("fail", 2, 2, 1)),
        ([tagged(300), tagged(301), lldp()], "vlans = [300, 301]", ("fail", 3, 3, 1)),
        ([tagged(300), tagged(7), lldp(), lldp()], "vlans = [300]", ("unknown", 3, 1, 0)),
        (
            [tagged(300), tagged(7), lldp()],
            'vlans = [300]\nmacs = ["02:00:00:00:00:01"]',
            ("fail", 3, 3, 1),
        ),
        ([tagged(300), sent(MANAGER, OTHER, ICMP())], "vlans = [300]", ("pass", 1, 1, 0)),
        ([tagged(7), lldp()], "vlans = [300]", ("unknown", 0, 0, 0)),
    ],
    ids=["lldp", "cdp", "no-vlan", "two", "trunk", "trunk-and-mac", "nothing", "other-vlan"],
)
def test_m3_what_has_no_tag_belongs_to_the_vlans_beside_it(
    packets: list[Packet], options: str, expected: Any, tmp_path: Path
) -> None:
    assert told(of_packets(tmp_path, f"[checks.M3]\n{options}\n", *packets), "M3") == expected


def test_m4_is_what_b17_found(tmp_path: Path) -> None:
    options = [IPOption_LSRR(routers=["192.0.2.3"])]
    routed = ether(IP(src=OTHER, dst=DEVICE, options=options), UDP(sport=5, dport=6))
    result = of_packets(tmp_path, "", routed)
    assert told(result, "M4")[0] == "fail"
    assert why(result, "M4") == "B17: 1 found"
    assert sentences(result, "M4") == []
    assert told(of_packets(tmp_path, "", sent(OTHER, DEVICE, UDP(sport=5, dport=6))), "M4")[0] == "pass"


@pytest.mark.parametrize(
    ("allow", "expected"),
    [('allow = ["203.0.113.66"]', "pass"), ("allow = []", "fail")],
)
def test_m11_is_what_c4_found(allow: str, expected: str) -> None:
    result = of_flows(f"[checks.C4]\n{allow}\n", talk(DEVICE, OTHER, 22, **said("ssh")))
    assert told(result, "M11")[0] == told(result, "C4")[0] == expected


@pytest.mark.parametrize(
    ("peer", "allow", "expected"),
    [
        (OTHER, "[]", "fail"),
        (OTHER, '[{ to = "203.0.113.66", ports = [179] }]', "pass"),
        (OTHER, '[{ to = "203.0.113.66", ports = [22] }]', "fail"),
        ("198.51.100.2", "[]", "pass"),
    ],
    ids=["unlisted", "listed", "another-service", "between-devices"],
)
def test_m11_bgp_is_begun_with_neighbours_only(peer: str, allow: str, expected: str) -> None:
    flows = talk(DEVICE, peer, 179, traffic="routing", **said("bgp"))
    result = of_flows(f"[checks.C4]\nallow = {allow}\n", flows)
    assert told(result, "M11")[0] == told(result, "C4")[0] == expected


def test_m11_who_is_asked_for_a_file_begins_nothing() -> None:
    allow = '[checks.C4]\nallow = [{ to = "203.0.113.66", ports = [69] }]\n'
    assert told(of_flows("[checks.C4]\nallow = []\n", transfer(DEVICE, OTHER)), "C4")[0] == "unknown"
    assert told(of_flows("[checks.C4]\nallow = []\n", transfer(OTHER, DEVICE)), "C4") == ("fail", 21, 21, 1)
    assert told(of_flows(allow, transfer(OTHER, DEVICE)), "C4") == ("pass", 21, 21, 0)


def test_m14_is_what_implants_do(tmp_path: Path) -> None:
    # SYNful Knock's first packet: the difference of acknowledgment and sequence number, and the urgent pointer without its flag.
    knock = sent(OTHER, DEVICE, TCP(sport=40000, dport=80, flags="S", seq=1000, ack=1000 + 0xC123D, urgptr=1))
    assert told(of_packets(tmp_path, "", knock), "D1")[0] == "fail"
    assert told(of_packets(tmp_path, "", knock), "M14")[0] == "fail"
    assert told(of_packets(tmp_path, "", sent(OTHER, DEVICE, TCP(sport=40000, dport=80))), "M14")[0] == "pass"


# --- M5 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (talk(OTHER, DEVICE, 4786), ("fail", 20, 20, 1)),
        (talk(OTHER, DEVICE, 22, **said("ssh")), ("pass", 20, 20, 0)),
        (talk(DEVICE, OTHER, 4786), ("fail", 20, 20, 1)),
        (talk(OTHER, DEVICE, 443, client_port=4786), ("pass", 20, 20, 0)),
        (talk(OTHER, DEVICE, 443, client_port=4786, flags=(PA, PA)), ("unknown", 20, 0, 0)),
        (talk(OTHER, DEVICE, 4786, flags=(S, RA)), ("unknown", 0, 0, 0)),
        (talk(OTHER, DEVICE, 4786, flags=(PA, PA)), ("fail", 20, 20, 1)),
        (talk(OTHER, DEVICE, 4786)[1:], ("fail", 10, 10, 1)),
        (talk(OTHER, MANAGER, 4786), ("unknown", 0, 0, 0)),
    ],
    ids=[
        *("answered", "ssh", "as-a-client", "port-of-a-client", "either"),
        *("refused", "mid-stream", "one-sided", "others"),
    ],
)
def test_m5_nobody_speaks_smart_install(flows: list[dict[str, Any]], expected: Any) -> None:
    assert told(of_flows("", flows), "M5") == expected


# --- M6 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (talk(DEVICE, OTHER, 49, **said("tacacs")), ("fail", 20, 20, 1)),
        (talk(DEVICE, "192.0.2.49", 49, **said("tacacs")), ("pass", 20, 20, 0)),
        (talk(DEVICE, OTHER, 1812, protocol=17, **said("radius")), ("fail", 20, 20, 1)),
        (talk(DEVICE, MANAGER, 514, protocol=17, **said("syslog"))[:1], ("fail", 10, 10, 1)),
        (talk(DEVICE, MANAGER, 6514, **said("syslog")), ("fail", 20, 20, 1)),
        (talk(DEVICE, MANAGER, 6514, **said("tls")), ("pass", 20, 20, 0)),
        (talk(DEVICE, MANAGER, 6514, **said("tls", "port")), ("unknown", 20, 0, 0)),
        (talk(DEVICE, OTHER, 49, **said("tacacs", "port")), ("unknown", 20, 0, 0)),
        (talk(DEVICE, OTHER, 1812, protocol=17, **said("radius"))[1:], ("fail", 10, 10, 1)),
        (talk(DEVICE, "192.0.2.49", 1813, protocol=17, **said("radius"))[1:], ("pass", 10, 10, 0)),
        (talk(OTHER, DEVICE, 50000, client_port=1812, protocol=17, **said("radius")), ("fail", 20, 20, 1)),
        (talk(DEVICE, OTHER, 1645, protocol=17, **said("radius"))[1:], ("fail", 10, 10, 1)),
        (talk(OTHER, DEVICE, 514, protocol=17, **said("syslog"))[:1], ("unknown", 0, 0, 0)),
        (talk(DEVICE, MANAGER, 6514, flags=(PA, PA), **said("syslog")), ("fail", 20, 20, 1)),
    ],
    ids=[
        *("tacacs", "listed", "radius", "syslog", "clear-on-its-port", "encrypted", "guess", "guessed-aaa"),
        *("answers", "answers-of-a-listed", "answer-first", "old-port", "of-strangers", "mid-stream"),
    ],
)
def test_m6_servers_and_logs(flows: list[dict[str, Any]], expected: Any) -> None:
    assert told(of_flows('[checks.M6]\nservers = ["192.0.2.49"]\n', flows), "M6") == expected


def test_m6_one_part_that_cannot_be_judged_keeps_all_open() -> None:
    flows = [
        *talk(DEVICE, "192.0.2.49", 49, packets=1000, **said("tacacs")),
        *talk(DEVICE, MANAGER, 6514, **said("tls", "port")),
    ]
    assert told(of_flows('[checks.M6]\nservers = ["192.0.2.49"]\n', flows), "M6") == ("unknown", 20, 0, 0)


# --- M7 ---------------------------------------------------------------------------------------------------------------

GATEWAY = "198.51.100.9"


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (talk(OTHER, GATEWAY, 500, protocol=17, client_port=500), ("pass", 20, 20, 0)),
        (talk(OTHER, GATEWAY, 4500, protocol=17), ("pass", 20, 20, 0)),
        ([flow(OTHER, GATEWAY, protocol=50)], ("pass", 100, 100, 0)),
        ([flow(OTHER, GATEWAY, protocol=1)], ("unknown", 0, 0, 0)),
        (talk(OTHER, GATEWAY, 443, **said("tls")), ("fail", 20, 20, 1)),
        (talk(OTHER, GATEWAY, 500), ("fail", 20, 20, 1)),
        (talk(OTHER, GATEWAY, 1701, protocol=17), ("fail", 20, 20, 1)),
        (talk(MANAGER, GATEWAY, 22, **said("ssh")), ("pass", 20, 20, 0)),
        (talk(GATEWAY, OTHER, 53, protocol=17), ("pass", 20, 20, 0)),
        (talk(OTHER, GATEWAY, 443, flags=(S, RA)), ("unknown", 0, 0, 0)),
        (talk(OTHER, GATEWAY, 9999, flags=(PA, PA)), ("unknown", 20, 0, 0)),
        ([flow(OTHER, GATEWAY, protocol=51)], ("fail", 100, 100, 1)),
        (
            [flow("10.0.0.1", "10.0.0.2", encap="gre", outer_src=OTHER, outer_dst=GATEWAY)],
            ("fail", 100, 100, 1),
        ),
        (
            [flow("10.0.0.1", "10.0.0.2", encap="esp", outer_src=OTHER, outer_dst=GATEWAY)],
            ("pass", 100, 100, 0),
        ),
        ([flow(GATEWAY, "224.0.0.18", protocol=112, **said("vrrp"))], ("unknown", 0, 0, 0)),
        ([flow(GATEWAY, "224.0.0.22", protocol=2, **said("igmp"))], ("unknown", 0, 0, 0)),
        ([flow(OTHER, GATEWAY, protocol=112, **said("vrrp"))], ("fail", 100, 100, 1)),
        (talk(OTHER, GATEWAY, 500, protocol=17, **said("dns")), ("fail", 20, 20, 1)),
        (talk(OTHER, GATEWAY, 500, protocol=17, **said("ike")), ("pass", 20, 20, 0)),
        (talk(OTHER, GATEWAY, 500, protocol=17, **said("ike", "port")), ("pass", 20, 20, 0)),
        (talk(OTHER, GATEWAY, 4500, protocol=17, **said("esp")), ("pass", 20, 20, 0)),
        (talk(OTHER, GATEWAY, 443, **said("tls", "port")), ("fail", 20, 20, 1)),
    ],
    ids=[
        *(
            "ike",
            "nat-t",
            "esp",
            "icmp",
            "tls",
            "tcp-500",
            "l2tp",
            "management",
            "as-a-client",
            "refused",
            "direction",
        ),
        *("ah", "gre", "null-encryption", "vrrp", "igmp", "vrrp-of-others"),
        *("dns", "ike-by-bytes", "ike-by-port", "esp-by-bytes", "tls-by-port"),
    ],
)
def test_m7_gateways_are_for_ipsec(flows: list[dict[str, Any]], expected: Any) -> None:
    options = f'[checks.M7]\nvpn_gateways = ["{GATEWAY}"]\nmanagement = ["192.0.2.0/28"]\n'
    assert told(of_flows(options, flows), "M7") == expected


# --- M8 ---------------------------------------------------------------------------------------------------------------


def transform(kind: int, number: int, bits: int | None = None, *, last: bool = False) -> bytes:
    """RFC 7296 section 3.3.2 and 3.3.5."""
    attribute = b"" if bits is None else (0x800E).to_bytes(2, "big") + bits.to_bytes(2, "big")
    head = bytes([0 if last else 3, 0]) + (8 + len(attribute)).to_bytes(2, "big")
    return head + bytes([kind, 0]) + number.to_bytes(2, "big") + attribute


def ike(
    *transforms: tuple[int, int] | tuple[int, int, int],
    src: str = DEVICE,
    dst: str = OTHER,
    payload: int = 33,
) -> Packet:
    """IKE_SA_INIT with one proposal."""
    body = b"".join(
        transform(*each[:2], bits=each[2] if len(each) == 3 else None, last=at + 1 == len(transforms))
        for at, each in enumerate(transforms)
    )
    proposal = bytes([0, 0]) + (8 + len(body)).to_bytes(2, "big") + bytes([1, 1, 0, len(transforms)]) + body
    association = bytes([0, 0]) + (4 + len(proposal)).to_bytes(2, "big") + proposal
    head = bytes(range(1, 9)) + bytes(8) + bytes([payload, 0x20, 34, 8]) + bytes(4)
    message = head + (28 + len(association)).to_bytes(4, "big") + association
    return sent(src, dst, UDP(sport=500, dport=500), Raw(message))


STRONG = ((1, 12, 256), (2, 6), (3, 13), (4, 20))


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (ike(*STRONG), ("pass", 1, 1, 0)),
        (ike((1, 20, 256), (2, 7), (4, 16), (4, 15)), ("pass", 1, 1, 0)),
        (ike(*STRONG, (4, 14)), ("fail", 1, 1, 1)),
        (ike((1, 12, 128), *STRONG[1:]), ("fail", 1, 1, 1)),
        (ike((1, 3), *STRONG[1:]), ("fail", 1, 1, 1)),
        (ike(STRONG[0], (2, 5), *STRONG[2:]), ("fail", 1, 1, 1)),
        (ike(*STRONG[:2], (3, 2), STRONG[3]), ("fail", 1, 1, 1)),
        (ike(*STRONG, (4, 14), src=OTHER, dst=DEVICE), ("unknown", 0, 0, 0)),
        (ike(*STRONG, payload=46), ("unknown", 0, 0, 0)),
    ],
    ids=["strong", "aead", "group-14", "128-bits", "3des", "sha256", "sha1", "of-others", "encrypted"],
)
def test_m8_proposals_are_strong(packet: Packet, expected: Any, tmp_path: Path) -> None:
    assert told(of_packets(tmp_path, "", packet), "M8") == expected


# Headers of Ethernet, IPv4, UDP, IKE, the association and its proposal: 14 + 20 + 8 + 28 + 4 + 8 bytes. Of STRONG, 12 + 8 + 8 + 8 follow.
TRANSFORMS = 82


@pytest.mark.parametrize(
    ("packet", "length", "expected"),
    [
        (ike(*STRONG, (4, 14)), TRANSFORMS + 36, ("unknown", 1, 0, 0)),
        (ike(*STRONG, (4, 14)), TRANSFORMS + 40, ("unknown", 1, 0, 0)),
        (ike((4, 14), *STRONG), TRANSFORMS + 20, ("fail", 1, 1, 1)),
        (ike(*STRONG), TRANSFORMS + 8, ("unknown", 1, 0, 0)),
        (ike(*STRONG), TRANSFORMS - 12, ("unknown", 1, 0, 0)),
        (ike(*STRONG), TRANSFORMS + 36, ("pass", 1, 1, 0)),
    ],
    ids=["behind-one", "within-one", "weak-one-is-there", "without-its-key", "without-any", "whole"],
)
def test_m8_proposals_that_are_cut_off_do_not_pass(
    packet: Packet, length: int, expected: Any, tmp_path: Path
) -> None:
    assert told(of_packets(tmp_path, "", cut(packet, length)), "M8") == expected


# --- M9 ---------------------------------------------------------------------------------------------------------------


def server_hello(version: int, src: str = DEVICE) -> Packet:
    """RFC 8446 section 4.1.3: of version 1.3, an extension says so (section 4.2.1)."""
    extensions = bytes.fromhex("002b00020304") if version == 0x0304 else b""
    body = min(version, 0x0303).to_bytes(2, "big") + bytes(32) + bytes.fromhex("00 1301 00")
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    record = b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message
    return sent(src, OTHER, TCP(sport=443, dport=40000, flags="PA"), Raw(record))


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (server_hello(0x0304), ("pass", 1, 1, 0)),
        (server_hello(0x0303), ("fail", 1, 1, 1)),
        (server_hello(0x0301), ("fail", 1, 1, 1)),
        (server_hello(0x0303, src=MANAGER), ("unknown", 0, 0, 0)),
    ],
    ids=["1.3", "1.2", "1.0", "of-others"],
)
def test_m9_tls_is_the_last_version(packet: Packet, expected: Any, tmp_path: Path) -> None:
    assert told(of_packets(tmp_path, "", packet), "M9") == expected


# A server hello of TLS 1.3 in a record, the key share (RFC 8446 section 4.2.8) in front of the version (section 4.2.1).
KEY_SHARE_FIRST = (
    bytes.fromhex("160303 0076 02 000072 0303")
    + bytes(32)
    + b"\x20"
    + bytes(32)
    + bytes.fromhex("1301 00 002a 0033 0020 001d 001c")
    + bytes(28)
    + bytes.fromhex("002b 0002 0304")
)


@pytest.mark.parametrize(
    ("pieces", "length", "expected"),
    [
        ([KEY_SHARE_FIRST], 1500, ("pass", 1, 1, 0)),
        ([KEY_SHARE_FIRST], 128, ("unknown", 1, 0, 0)),
        # Headers of 54 bytes, 81 of the hello, and the key share.
        ([KEY_SHARE_FIRST], 54 + 81 + 36, ("unknown", 1, 0, 0)),
        ([KEY_SHARE_FIRST[:90], KEY_SHARE_FIRST[90:]], 1500, ("unknown", 1, 0, 0)),
    ],
    ids=["whole", "cut-off", "before-the-version", "two-segments"],
)
def test_m9_a_hello_without_its_end_has_no_version(
    pieces: list[bytes], length: int, expected: Any, tmp_path: Path
) -> None:
    packets = [sent(DEVICE, OTHER, TCP(sport=443, dport=40000, flags="PA"), Raw(piece)) for piece in pieces]
    assert told(of_packets(tmp_path, "", *(cut(packet, length) for packet in packets)), "M9") == expected


# --- M10 --------------------------------------------------------------------------------------------------------------


def key_exchange(names: str, *, keep: int | None = None, src: str = DEVICE, port: int = 22) -> Packet:
    """RFC 4253 section 6 and 7.1: ten lists, of which the first is given."""
    lists = [names.encode(), b"ssh-ed25519", b"aes256-ctr", b"aes256-ctr", *[b""] * 6]
    body = b"\x14" + bytes(16) + b"".join(len(each).to_bytes(4, "big") + each for each in lists) + bytes(5)
    padding = 4 + -(len(body) + 9) % 8
    packet = (1 + len(body) + padding).to_bytes(4, "big") + bytes([padding]) + body + bytes(padding)
    return sent(src, OTHER, TCP(sport=port, dport=40000, flags="PA"), Raw(packet[:keep]))


def group(bits: int) -> Packet:
    """RFC 4419 section 3."""
    prime = ((1 << bits) - 1).to_bytes(bits // 8 + 1, "big")
    body = b"\x1f" + len(prime).to_bytes(4, "big") + prime + b"\0\0\0\x01\x02"
    padding = 4 + -(len(body) + 9) % 8
    packet = (1 + len(body) + padding).to_bytes(4, "big") + bytes([padding]) + body + bytes(padding)
    return sent(DEVICE, OTHER, TCP(sport=22, dport=40000, flags="PA"), Raw(packet))


@pytest.mark.parametrize(
    ("packet", "options", "expected"),
    [
        (
            key_exchange("diffie-hellman-group16-sha512,ext-info-s,kex-strict-s-v00@openssh.com"),
            "",
            ("pass", 1, 1, 0),
        ),
        (key_exchange("diffie-hellman-group16-sha512,diffie-hellman-group14-sha256"), "", ("fail", 1, 1, 1)),
        (key_exchange("curve25519-sha256"), "", ("fail", 1, 1, 1)),
        (key_exchange("curve25519-sha256"), 'key_exchanges = ["curve25519-sha256"]', ("pass", 1, 1, 0)),
        (key_exchange("diffie-hellman-group16-sha512"), 'key_exchanges = ["x"]', ("fail", 1, 1, 1)),
        (key_exchange("diffie-hellman-group-exchange-sha256"), "", ("pass", 1, 1, 0)),
        (key_exchange("diffie-hellman-group14-sha256", port=2222), "", ("fail", 1, 1, 1)),
        (key_exchange("diffie-hellman-group14-sha256", keep=40), "", ("unknown", 1, 0, 0)),
        (key_exchange("diffie-hellman-group14-sha256", src=MANAGER), "", ("unknown", 0, 0, 0)),
        (group(2048), "", ("fail", 1, 1, 1)),
        (group(4096), "", ("pass", 1, 1, 0)),
        (ssh("2.0"), "", ("unknown", 1, 1, 0)),
        (ssh("1.99"), "", ("fail", 1, 1, 1)),
    ],
    ids=[
        *(
            "group-16",
            "group-14",
            "x25519",
            "listed",
            "not-listed",
            "group-exchange",
            "another-port",
            "cut-off",
            "of-others",
        ),
        *("2048-bits", "4096-bits", "version-2", "version-1"),
    ],
)
def test_m10_key_exchanges_are_strong(packet: Packet, options: str, expected: Any, tmp_path: Path) -> None:
    assert told(of_packets(tmp_path, f"[checks.M10]\n{options}\n", packet), "M10") == expected


def test_m10_what_shows_no_key_exchange_does_not_pass(tmp_path: Path) -> None:
    result = of_packets(tmp_path, "", ssh("2.0"))
    assert why(result, "M10") == "no key exchange of infrastructure was seen"
    strong, weak = "diffie-hellman-group16-sha512", "diffie-hellman-group1-sha1"
    # Ethernet, IPv4, TCP, the head of a packet and the cookie: 14 + 20 + 20 + 5 + 17 bytes.
    pieces = [ssh("2.0"), cut(key_exchange(weak), 14 + 20 + 20 + 5 + 17 + 10)]
    assert told(of_packets(tmp_path, "", *pieces), "M10") == ("unknown", 1, 0, 0)
    result = of_packets(tmp_path, "", ssh("2.0"), key_exchange(strong))
    assert told(result, "M10") == ("pass", 1, 1, 0)


# --- M12 --------------------------------------------------------------------------------------------------------------


def six(body: bytes, protocol: int, src: str = "2001:db8::1") -> Packet:
    return ether(IPv6(src=src, dst="ff02::5", nh=protocol, hlim=1), Raw(body))


def four(body: bytes, protocol: int, src: str = DEVICE) -> Packet:
    return ether(IP(src=src, dst="224.0.0.5", ttl=1, proto=protocol), Raw(body))


def on_port(body: bytes, port: int) -> Packet:
    return sent(DEVICE, "224.0.0.9", UDP(sport=port, dport=port), Raw(body))


# RFC 2281 section 5.1 has `cisco` as the default; in version 2 and in version 1, element 4 with an algorithm (1), keys and a digest of 16 bytes follows.
DIGEST = bytes.fromhex("041c 01000000 c0000201 00000007") + bytes(16)
NO_AUTH = OSPF[:14] + bytes(10) + OSPF[24:44]
SIMPLE = OSPF[:14] + b"\0\x01password" + OSPF[24:44]


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (four(OSPF, 89), "pass"),
        (four(NO_AUTH, 89), "fail"),
        (four(SIMPLE, 89), "fail"),
        (four(NO_AUTH, 89, src=OTHER), "unknown"),
        (four(NO_AUTH[:15], 89), "unknown"),
        (four(OSPF[:44], 89), "fail"),
        (cut(four(OSPF, 89), 14 + 20 + 50), "unknown"),
        (six(OSPF3[:36], 89, src="fe80::1"), "fail"),
        (six(OSPF3, 89, src="fe80::1"), "pass"),
        (cut(six(OSPF3, 89), 14 + 40 + 36), "unknown"),
        (six(OSPF3, 89), "pass"),
        (six(OSPF3[:36], 89), "fail"),
        (six(bytes.fromhex("59040000 00000100 00000001") + bytes(12) + OSPF3[:36], 51), "pass"),
        (four(EIGRP, 88), "pass"),
        (four(EIGRP[:20] + bytes.fromhex("0001 000c 0100 0100 0000 000f"), 88), "fail"),
        (on_port(RIP, 520), "fail"),
        (on_port(RIP[:4] + bytes.fromhex("ffff0003 0044 07 10") + RIP[12:], 520), "pass"),
        (on_port(HSRP, 1985), "fail"),
        (on_port(HSRP + DIGEST, 1985), "pass"),
        (on_port(HSRP2 + DIGEST, 1985), "pass"),
        (on_port(HSRP2, 1985), "fail"),
        (four(VRRP, 112), "fail"),
        (four(VRRP[:4] + b"\x02" + VRRP[5:], 112), "fail"),
        (four(b"\x31" + VRRP[1:12], 112), "unknown"),
        (Dot3(src="02:00:00:00:00:01", dst="01:80:c2:00:00:15") / Raw(ISIS), "fail"),
        (
            Dot3(src="02:00:00:00:00:01", dst="01:80:c2:00:00:15")
            / Raw(ISIS.replace(b"\x01abcd", b"\x36abcd")),
            "pass",
        ),
    ],
    ids=[
        *(
            "ospf-md5",
            "ospf-none",
            "ospf-password",
            "of-others",
            "cut-off",
            "ospf-without-its-digest",
            "ospf-digest-cut-off",
            "ospf3-of-a-link",
            "ospf3-of-a-link-trailer",
            "ospf3-trailer-cut-off",
            "ospf3-trailer",
            "ospf3-none",
            "ospf3-ah",
            "eigrp-md5",
        ),
        *(
            "eigrp-none",
            "rip-password",
            "rip-digest",
            "hsrp-password",
            "hsrp-md5",
            "hsrp2-md5",
            "hsrp2-none",
            "vrrp2-password",
            "vrrp2-says-ah",
        ),
        *("vrrp3", "isis-password", "isis-md5"),
    ],
)
def test_m12_routers_prove_who_they_are(packet: Packet, expected: str, tmp_path: Path) -> None:
    assert told(of_packets(tmp_path, "", packet), "M12")[0] == expected


def syn(src: str, flags: str, options: list[Any], port: int = 179) -> Packet:
    dst = OTHER if src == DEVICE else DEVICE
    ports = {"sport": port, "dport": 40000} if flags == "SA" else {"sport": 40000, "dport": port}
    return sent(src, dst, TCP(**ports, flags=flags, options=options))


MD5, AO = [(19, bytes(16))], [(29, bytes.fromhex("0701") + bytes(12))]


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (syn(DEVICE, "S", MD5), "pass"),
        (syn(DEVICE, "S", AO), "pass"),
        (syn(DEVICE, "SA", []), "fail"),
        (syn(DEVICE, "S", [], port=646), "fail"),
        (syn(OTHER, "S", []), "unknown"),
        (syn(DEVICE, "S", [], port=443), "unknown"),
    ],
    ids=["md5", "ao", "accepted", "ldp", "tried", "another-port"],
)
def test_m12_sessions_are_authenticated(packet: Packet, expected: str, tmp_path: Path) -> None:
    assert told(of_packets(tmp_path, "", packet), "M12")[0] == expected


# RFC 4271 section 4.4; RFC 5036 sections 3.1 and 3.5.4: 14 bytes behind the length, of label space 0 of 192.0.2.1, a keep-alive.
KEEPALIVE = b"\xff" * 16 + bytes.fromhex("0013 04")
LDP_KEEPALIVE = bytes.fromhex("0001 000e c0000201 0000 0201 0004 00000001")


@pytest.mark.parametrize(
    ("body", "port", "options", "expected"),
    [
        (KEEPALIVE, 179, [], ("fail", 1, 1, 1)),
        (KEEPALIVE, 179, MD5, ("pass", 1, 1, 0)),
        (KEEPALIVE, 179, AO, ("pass", 1, 1, 0)),
        (LDP_KEEPALIVE, 646, [], ("fail", 1, 1, 1)),
        (LDP_KEEPALIVE, 646, MD5, ("pass", 1, 1, 0)),
    ],
    ids=["bgp", "bgp-md5", "bgp-ao", "ldp", "ldp-md5"],
)
def test_m12_sessions_that_began_earlier_are_authenticated(
    body: bytes, port: int, options: list[Any], expected: Any, tmp_path: Path
) -> None:
    # RFC 2385 section 2: every segment has the option.
    tcp = TCP(sport=40000, dport=port, flags="PA", options=options)
    packet = sent(DEVICE, "198.51.100.2", tcp, Raw(body))
    assert told(of_packets(tmp_path, "", packet), "M12") == expected


@pytest.mark.parametrize(
    ("ttl", "own_basis", "dst", "expected"),
    [
        (255, "signature", DEVICE, ("pass", 20, 20, 0)),
        (60, "signature", DEVICE, ("fail", 20, 20, 1)),
        (60, "port", DEVICE, ("unknown", 0, 0, 0)),
        (250, "signature", DEVICE, ("pass", 20, 20, 0)),
        (60, "signature", "198.51.100.9", ("fail", 20, 20, 1)),
    ],
    ids=["gtsm", "taken", "only-tried", "passed-routers", "another-device"],
)
def test_m12_devices_take_no_bgp_from_afar(ttl: int, own_basis: str, dst: str, expected: Any) -> None:
    # RFC 5082 section 3: it is the receiver that is protected.
    asked, answered = talk(OTHER, dst, 179, **said("bgp"), packets=20)
    asked |= {"first_ttl": ttl, "last_ttl": ttl}
    answered |= {"first_ttl": 255, "last_ttl": 255, "basis": own_basis}
    assert told(of_flows("", [asked, answered]), "M12") == expected
    listed = '[checks.M12]\nmultihop = ["203.0.113.66"]\n'
    assert told(of_flows(listed, [asked, answered]), "M12")[0] == "unknown"


@pytest.mark.parametrize(
    ("dst", "ttl", "expected"),
    [
        (OTHER, 255, ("pass", 100, 100, 0)),
        (OTHER, 64, ("fail", 100, 100, 1)),
        (OTHER, 1, ("fail", 100, 100, 1)),
        (OTHER, 250, ("unknown", 0, 0, 0)),
        ("198.51.100.2", 64, ("unknown", 0, 0, 0)),
        ("203.0.113.179", 64, ("unknown", 0, 0, 0)),
    ],
    ids=["gtsm", "64", "1", "passed-routers", "internal", "multihop"],
)
def test_m12_external_bgp_begins_with_255(dst: str, ttl: int, expected: Any) -> None:
    row = flow(
        DEVICE, dst, protocol=6, src_port=40000, dst_port=179, first_ttl=ttl, last_ttl=ttl, **said("bgp")
    )
    assert told(of_flows('[checks.M12]\nmultihop = ["203.0.113.179"]\n', [row]), "M12") == expected


# --- M13 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (talk(OTHER, DEVICE, 22222), ("fail", 20, 20, 1)),
        (talk(OTHER, DEVICE, 22), ("pass", 20, 20, 0)),
        (talk(DEVICE, OTHER, 22222), ("pass", 20, 20, 0)),
        (talk(OTHER, DEVICE, 22222, flags=(S, RA)), ("unknown", 0, 0, 0)),
        (talk(OTHER, DEVICE, 22222, flags=(PA, PA)), ("unknown", 20, 0, 0)),
        (talk("192.0.2.50", DEVICE, 890, client_port=2049, flags=(PA, PA)), ("unknown", 20, 0, 0)),
        (talk(OTHER, DEVICE, 23, flags=(PA, PA)), ("unknown", 20, 0, 0)),
        (talk(OTHER, DEVICE, 22, flags=(PA, PA)), ("pass", 20, 20, 0)),
        (talk(OTHER, DEVICE, 22222, protocol=17), ("unknown", 0, 0, 0)),
    ],
    ids=[
        *("unlisted", "listed", "as-a-client", "refused", "direction"),
        *("nfs", "mid-stream", "listed-mid-stream", "udp"),
    ],
)
def test_m13_only_listed_ports_answer(flows: list[dict[str, Any]], expected: Any) -> None:
    assert told(of_flows("[checks.M13]\nports = [22, 179]\n", flows), "M13") == expected


def session(port: int) -> list[Packet]:
    """A connection that a stranger began with a device: 3 packets of the stranger, 2 of the device."""
    flags = [(OTHER, "S"), (DEVICE, "SA"), (OTHER, "A"), (OTHER, "PA"), (DEVICE, "PA")]
    ends = {OTHER: (DEVICE, 40000, port), DEVICE: (OTHER, port, 40000)}
    packets = []
    for src, each in flags:
        dst, sport, dport = ends[src]
        packets.append(sent(src, dst, TCP(sport=sport, dport=dport, flags=each)))
    return packets


@pytest.mark.parametrize(("src", "n"), [(DEVICE, 2), (OTHER, 3)], ids=["answers", "questions"])
def test_one_direction_tells_who_accepted(src: str, n: int, tmp_path: Path) -> None:
    one = [packet for packet in session(22222) if packet[IP].src == src]
    policy = "[checks.M13]\nports = [22]\n"
    assert told(of_packets(tmp_path, policy, *one), "M13") == ("fail", n, n, 1)
    # The other way around: the same flags but in SYN and its answer.
    one[0][TCP].flags = "SA" if src == OTHER else "S"
    assert told(of_packets(tmp_path, policy, *one), "M13")[::3] == ("pass", 0)


def test_one_direction_of_a_pipe_tells_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    seen = examination(flows=talk(OTHER, DEVICE, 22222)[1:])
    policy = Policy.loads(NETWORK + "[checks.M13]\nports = [22]\n")
    result = judge(seen, policy, captures=Captures([Tap("a", (str(pipe),))]))
    assert told(result, "M13") == ("unknown", 10, 0, 0)


def test_an_answer_without_its_syn_does_not_turn_roles(tmp_path: Path) -> None:
    # Both directions, of which only the answer has SYN: the sender of the answer is the server.
    result = of_packets(tmp_path, "[checks.M13]\nports = [22]\n", *session(22222)[1:])
    assert told(result, "M13") == ("fail", 4, 4, 1)


# --- All of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", PACK)
def test_the_example_of_its_explanation_is_a_policy(check: str) -> None:
    text = CHECKS[check].explain()
    for section in ("looks for", "matters", "Example that fails", "What to do", "cannot see", "Source"):
        assert section in text
    example = (CHECKS[check].__doc__ or "").partition("with this policy::")[2].partition("What to do")[0]
    lines = [line.strip() for line in example.splitlines()]
    toml = "\n".join(lines[: next((at for at, line in enumerate(lines) if at > 2 and not line), None)])
    Policy.loads(toml)


AT = ", at 2023-11-14 22:13:20 UTC (on a)"


@pytest.mark.parametrize(
    ("check", "packets", "said"),
    [
        ("M2", [ssh("1.5")], f"198.51.100.1 offered 192.0.2.14 SSH version 1.5, not version 2 only, in 1 packet{AT}."),
        ("M2", [snmp(1), snmp(1)], f"2 SNMP packets of version 2c that anybody can read or forge passed between 192.0.2.14 and 198.51.100.1{AT}."),
        ("M3", [lldp()], f"The device with MAC 02:00:00:00:00:01 told a neighbour of another network about itself in 1 LLDP packet{AT}."),
        ("M8", [ike(*STRONG, (4, 14))], ("198.51.100.1 proposed or chose algorithms for IKE that the guidance does not list, in 1 packet to 203.0.113.66"
         f"{AT}; in the first, dh_groups is [20, 14], encryption is [aes-cbc-256], integrity is [sha384] and prf is [sha384].")),
        ("M9", [server_hello(0x0303), server_hello(0x0301)], f"198.51.100.1 chose TLS 1.2 and TLS 1.0, not version 1.3, in 2 packets to 203.0.113.66{AT}."),
        ("M10", [group(2048)], (f"198.51.100.1 offered or chose SSH that is weaker than 4096 bits of Diffie-Hellman, in 1 packet{AT}; "
         "in the first, group_bits is 2048 and message is group.")),
        ("M12", [four(NO_AUTH, 89)], f"198.51.100.1 sent 1 OSPF packet without authentication{AT}."),
        ("M12", [four(NO_AUTH, 89), four(SIMPLE, 89)], f"198.51.100.1 sent 2 OSPF packets without authentication and with a password in the clear{AT}."),
        ("M12", [Dot3(src="02:00:00:00:00:01", dst="01:80:c2:00:00:15") / Raw(ISIS)],
         f"A device without an address sent 1 IS-IS packet with a password in the clear{AT}."),
        ("M12", [syn(DEVICE, "SA", [])], f"198.51.100.1 began or accepted BGP or LDP sessions with 203.0.113.66 without authentication, in 1 packet{AT}."),
    ],
)  # fmt: skip
def test_findings_say_who_did_what_and_what_is_wrong(
    check: str, packets: list[Packet], said: str, tmp_path: Path
) -> None:
    result = of_packets(tmp_path, '[checks.M3]\ntaps = ["a"]\n', *packets)
    assert said in sentences(result, check)


@pytest.mark.parametrize(
    ("check", "policy", "flows", "said"),
    [
        ("M2", "", talk(MANAGER, DEVICE, 23, **said("telnet")), "20 Telnet packets in the clear passed between 192.0.2.14 and 198.51.100.1, "),
        ("M5", "", talk(OTHER, DEVICE, 4786), "198.51.100.1 answered 203.0.113.66 by Smart Install (TCP port 4786), by which anybody can replace a configuration, in 20 packets, "),
        ("M6", '[checks.M6]\nservers = []\n', talk(DEVICE, OTHER, 49, **said("tacacs")),
         "198.51.100.1 has 203.0.113.66 as a server for log-ins, which the policy does not list: 20 TACACS+ packets, "),
        ("M6", '[checks.M6]\nservers = []\n', talk(DEVICE, MANAGER, 514, protocol=17, **said("syslog"))[:1],
         "10 syslog packets in the clear passed between 192.0.2.14 and 198.51.100.1, "),
        ("M7", '[checks.M7]\nvpn_gateways = ["198.51.100.9"]\n', talk(OTHER, GATEWAY, 443, **said("tls")),
         "198.51.100.9, a VPN gateway, answered on port 443 with a service that is not IPsec, in 20 TLS packets, "),
        ("M7", '[checks.M7]\nvpn_gateways = ["198.51.100.9"]\n', [flow(OTHER, GATEWAY, protocol=51)],
         "203.0.113.66 sent 198.51.100.9 100 AH packets, not ESP (IP protocol 50), "),
        ("M7", '[checks.M7]\nvpn_gateways = ["198.51.100.9"]\n',
         [flow("10.0.0.1", "10.0.0.2", encap="gre", outer_src=OTHER, outer_dst=GATEWAY)],
         "203.0.113.66 sent 198.51.100.9 100 packets in a tunnel of gre, not ESP, "),
        ("M12", "", [flow(DEVICE, OTHER, protocol=6, src_port=40000, dst_port=179, first_ttl=64, last_ttl=64, **said("bgp"))],
         "198.51.100.1 sent 203.0.113.66 100 BGP packets that anybody may have sent from afar, for all that a TTL of 64 tells, "),
        ("M13", "[checks.M13]\nports = [22]\n", talk(OTHER, DEVICE, 22222),
         "198.51.100.1 answered on TCP port 22222, which the policy does not list, in 20 packets, "),
    ],
)  # fmt: skip
def test_findings_about_conversations_say_it_too(
    check: str, policy: str, flows: list[dict[str, Any]], said: str
) -> None:
    assert any(text.startswith(said) for text in sentences(of_flows(policy, flows), check))


def test_rules_that_ship_have_sentences_of_their_own() -> None:
    rules = [
        rule
        for check in CHECKS.values()
        for rule in (check.rules() if issubclass(check, Several) else [check])
        if issubclass(rule, Rule)
    ]
    assert len(rules) > 10
    for rule in rules:
        fields = set(fields_of(rule.says))
        assert {"packets", "when"} <= fields, rule.says
        assert fields <= {"packets", "when", "apps", "first", *ENDS, *table_columns(rule.over)}, rule.says


def test_parts_of_a_check_have_names_of_their_own() -> None:
    for check in CHECKS.values():
        if issubclass(check, Several):
            names = [part.name for part in check.parts]
            assert len(set(names)) == len(names)


def test_what_a_part_had_not_to_judge_is_said(tmp_path: Path) -> None:
    result = of_packets(tmp_path, "", four(OSPF, 89))
    assert told(result, "M12")[0] == "pass"
    assert why(result, "M12") == "nothing for sessions, ttl and accepted ttl to judge"


# --- Captures of others -----------------------------------------------------------------------------------------------

# Who is taken for infrastructure, and what tshark shows of its messages.
REAL = [
    # 61 messages of OSPF version 3, all behind an authentication header.
    ("tests__OSPFv3_with_AH", "fe80::/64", "M12", ("pass", 61, 61, 0)),
    # 53 messages of two routers, none with authentication.
    ("tests__EIGRP_adjacency", "10.0.0.0/24", "M12", ("fail", 53, 53, 2)),
    # An identification and a list with group 18 only; and a list with group 14 among others.
    ("ssh_kex_dh_group18", "192.168.249.1", "M10", ("pass", 1, 1, 0)),
    ("ssh_kex_dh_group18", "192.168.249.130", "M10", ("fail", 1, 1, 1)),
    # Identifications, and nothing of the key exchange.
    ("default__pcap__ssh_unidirectional", "0.0.0.0/0", "M10", ("unknown", 1, 1, 0)),
    # Two ask without authentication and encryption; two learn whom they ask, and four reports of the other side.
    ("snmp-v3-get-bulk-unauth", "127.0.0.1", "M2", ("fail", 8, 8, 1)),
    # Three proposals of group 19 and SHA-256.
    ("test__pcaps__ikev2_nat_t", "172.16.15.92", "M8", ("fail", 3, 3, 1)),
]


@pytest.mark.parametrize(("name", "infrastructure", "check", "expected"), REAL)
def test_captures_of_others(name: str, infrastructure: str, check: str, expected: Any) -> None:
    directory = captures_dir()
    if directory is None:
        pytest.skip("no captures of other projects: set TAPSIGHT_CAPTURES to a folder with an INDEX.tsv")
    (file,) = [each["file"] for each in capture_index() if name in each["file"]]
    policy = f'packs = ["router-hardening"]\n[network]\ninfrastructure = ["{infrastructure}"]\n'
    result = tapsight.check({"a": [str(directory / file)]}, policy=Policy.loads(policy))
    assert told(result, check) == expected
