"""The lab's captures are what they claim to be, by independent readers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dpkt
import pytest
from conftest import ROOT
from scapy.layers.inet import IP, TCP, UDP  # type: ignore[import-untyped]
from scapy.layers.l2 import Ether  # type: ignore[import-untyped]
from scapy.utils import RawPcapNgReader  # type: ignore[import-untyped]

import tapsight
from tapsight._explain import false_alarms, per_million
from tapsight.detectors import DETECTORS
from tapsight.lab import Confounder, Generated, Implant, Scenario, evaluate, generate
from tapsight.lab.__main__ import main
from tapsight.lab.confounders import CONFOUNDERS
from tapsight.lab.implants import IMPLANTS
from tapsight.lab.packet import Packet, forwarded, fragments
from tapsight.lab.tunnels import TUNNELS
from tapsight.policy import Policy

SMALL: dict[str, Any] = {"seconds": 6.0, "calls": 2, "downloads": 8}
TINY: dict[str, Any] = {"seconds": 4.0, "calls": 1, "downloads": 6}
CARRYING = [
    Implant("mirror", tunnel=tunnel)
    for tunnel in ("erspan2", "erspan3", "gre", "ipip", "vxlan", "geneve", "gtpu")
]
CARRYING += [Implant("fork"), Implant("redirect"), Implant("late")]


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    def made(seed: int, name: str) -> list[bytes]:
        files = generate(Scenario(seed=seed, implants=(Implant("mirror"),), **SMALL), tmp_path / name)
        return [path.read_bytes() for path in (files.inside, files.outside, files.truth, files.scenario)]

    assert made(5, "a") == made(5, "b")
    assert made(5, "a")[0] != made(6, "c")[0]


@pytest.mark.parametrize(
    "implant", [None, *CARRYING], ids=lambda implant: implant and f"{implant.kind}-{implant.tunnel}"
)
def test_frames_are_right_and_have_a_truth_each(tmp_path: Path, implant: Implant | None) -> None:
    files = generate(Scenario(implants=(implant,) if implant else (), **SMALL), tmp_path)
    truth = [json.loads(line) for line in files.truth.read_text().splitlines()]
    for tap, path in (("inside", files.inside), ("outside", files.outside)):
        mine = [row for row in truth if row["tap"] == tap]
        assert [row["frame"] for row in mine] == list(range(1, len(mine) + 1))
        assert tapsight.open(path).to_pyarrow().num_rows == len(mine)
        with RawPcapNgReader(str(path)) as reader:
            raw = [bytes(data) for data, _ in reader]
        assert len(raw) == len(mine)
        # scapy fills in the checksums that are deleted: the bytes must come out as they were.
        for data in raw[::17]:
            frame = Ether(data)
            for layer in (IP, TCP, UDP):
                if layer in frame:
                    del frame[layer].chksum
            assert bytes(Ether(bytes(frame))) == data
    built = json.loads(files.scenario.read_text())["implants"]
    roles = Counter(row["role"] for row in truth)
    if implant is None:
        assert built == []
        assert {row["implant"] for row in truth} == {None}
    else:
        # Taps lose a few of what implants sent, and may see some twice.
        assert built[0]["packets"] * 0.97 <= roles[implant.kind] <= built[0]["packets"]


def test_sip_lengths_and_dialogs(tmp_path: Path) -> None:
    files = generate(Scenario(**SMALL), tmp_path)
    methods: Counter[str] = Counter()
    with files.inside.open("rb") as stream:
        for _, data in dpkt.pcapng.Reader(stream):
            udp = dpkt.ethernet.Ethernet(data).data.data
            if isinstance(udp, dpkt.udp.UDP) and udp.dport == 5060:
                head, _, body = udp.data.partition(b"\r\n\r\n")
                headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
                assert int(headers[b"Content-Length"]) == len(body)
                methods[headers[b"CSeq"].split()[1].decode()] += 1
    assert methods["INVITE"] >= 6
    assert methods["BYE"] >= 2


# --- Every kind --------------------------------------------------------------------------------------------------------

tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

EVERY = [Implant(kind, via=via) for kind, implant in IMPLANTS.items() for via in (implant.variants or ("",))]
"""Every kind of implant, in all of its variants."""


def rows(files: Generated) -> dict[tuple[str, int], dict[str, Any]]:
    """The truth by tap and number of the frame."""
    lines = map(json.loads, files.truth.read_text().splitlines())
    return {(row["tap"], row["frame"]): row for row in lines}


def dissected(path: Path, fields: Iterable[str], *more: str) -> Iterator[dict[str, str]]:
    """What tshark reads of each frame: the fields that it has, with checksums checked."""
    names = ["frame.number", *fields]
    command = [
        "tshark",
        "-n",
        "-r",
        str(path),
        "-T",
        "fields",
        "-o",
        "tcp.analyze_sequence_numbers:FALSE",
        *more,
    ]
    for layer in ("ip", "tcp", "udp"):
        command += ["-o", f"{layer}.check_checksum:TRUE"]
    command += ["-o", "sctp.checksum:CRC 32c"]
    for name in names:
        command += ["-e", name]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in output.splitlines():
        yield {name: value for name, value in zip(names, line.split("\t"), strict=True) if value}


CHECKSUMS = [f"{layer}.checksum.status" for layer in ("ip", "tcp", "udp", "icmp", "icmpv6", "vrrp", "sctp")]


def assert_sound(frame: dict[str, str]) -> None:
    """Nothing in a frame is malformed, and no checksum is wrong."""
    assert "_ws.malformed" not in frame, frame
    for name in CHECKSUMS:
        assert "0" not in frame.get(name, "").split(","), frame


@pytest.mark.parametrize("kind", IMPLANTS)
def test_an_implant_makes_the_same_bytes_again_and_leaves_the_rest_alone(kind: str, tmp_path: Path) -> None:
    scenario = Scenario(implants=(Implant(kind),), secure=8 if kind == "downgrade" else 0, **TINY)
    made = [generate(scenario, tmp_path / name) for name in "ab"]
    for name in ("inside", "outside", "truth", "policy", "scenario"):
        first, second = (getattr(files, name).read_bytes() for files in made)
        assert first == second, name
    built = json.loads(made[0].scenario.read_text())["implants"][0]
    causes = Counter(row["implant"] for row in rows(made[0]).values())
    assert built["packets"] > 0
    assert set(built["expected"]) >= IMPLANTS[kind].expects
    assert set(causes) == {None, 0}
    assert {row["confounder"] for row in rows(made[0]).values()} == {None}


@pytest.mark.parametrize("kind", CONFOUNDERS)
def test_a_confounder_is_in_the_truth_and_its_policy_can_be_read(kind: str, tmp_path: Path) -> None:
    scenario = Scenario(confounders=(Confounder(kind),), **TINY)
    files, again = generate(scenario, tmp_path / "a"), generate(scenario, tmp_path / "b")
    for name in ("inside", "outside", "truth", "policy", "scenario"):
        assert getattr(files, name).read_bytes() == getattr(again, name).read_bytes(), name
    built = json.loads(files.scenario.read_text())["confounders"][0]
    assert built["kind"] == kind
    assert built["packets"] > 0
    truth = rows(files)
    assert {row["implant"] for row in truth.values()} == {None}
    assert {row["confounder"] for row in truth.values()} <= {None, 0}
    for tap in ("inside", "outside"):
        assert tapsight.open(getattr(files, tap)).to_pyarrow().num_rows == sum(key[0] == tap for key in truth)
    Policy.load(files.policy)


def test_implants_together_are_told_apart(tmp_path: Path) -> None:
    implants = (
        Implant("mirror", tunnel="gre", share=0.2),
        Implant("fork", share=0.1),
        Implant("synful-knock"),
    )
    files = generate(Scenario(implants=implants, nat=True, loss=0, span=0, **TINY), tmp_path)
    built = json.loads(files.scenario.read_text())
    causes = Counter(row["implant"] for row in rows(files).values())
    assert [causes[n] for n in range(3)] == [each["packets"] for each in built["implants"]]
    assert [each["kind"] for each in built["confounders"]] == ["nat"]


ALONE = {
    "mirror", "li-export", "fork", "late", "readdress", "rspan", "redirect", "drop", "insert", "modify", "new-label",
    "reroute", "detour", "sflow-export", "wccp", "media-fork", "media-redirect", "rtp-bleed", "siprec",
    "sip-redirect", "sdp-hijack", "downgrade",
}  # fmt: skip
"""Kinds that act on all packets, or on all calls."""

OWN = [implant for implant in EVERY if implant.kind not in ALONE]

FIELDS = [
    "frame.protocols", "_ws.malformed", "eth.src", "tcp.options", "tcp.urgent_pointer", "tcp.seq_raw",
    "tcp.ack_raw", "tcp.flags", "ip.src", "ip.dst", "ip.ttl", "tcp.srcport", "tcp.dstport",
    "tftp.opcode", "tftp.destination_file", "ftp.request.command", "http.request.method",
    "http.response.code", "icmp.type", "icmp.redir_gw", "icmpv6.type", "icmpv6.nd.na.flag.o",
    "arp.opcode", "arp.src.proto_ipv4", "hsrp.opcode", "hsrp.priority", "vrrp.prio", "dns.a",
    "dns.aaaa", "ip.opt.type", "ipv6.routing.type", "gre.proto", "esp.spi", "isakmp.exchangetype",
    "ssh.protocol", "tacplus.type", "tacplus.flags", "snmp.data", "snmp.name", "data.len", "data.data",
    "tcp.len", "tcp.payload", "tcp.window_size_value", "gsm_old.localValue", "sccp.calling.digits", "diameter.cmd.code",
    "diameter.Origin-Realm", "gtp.teid", "gtpv2.message_type", "dhcp.option.dhcp", "dhcp.option.dhcp_server_id",
    "dhcp.option.router", "dhcp.option.domain_name_server", "dhcp.option.classless_static_route", "dhcpv6.msgtype",
    "dhcpv6.dns_server",
]  # fmt: skip

Frames = list[dict[str, str]]
BUILT: dict[str, Callable[[Frames], bool]] = {
    "capture-exfil tftp": lambda frames: (
        any(f.get("tftp.opcode") == "2" and f["tftp.destination_file"] == "mycap.pcap" for f in frames)
        and any(f.get("data.data", "").startswith("d4c3b2a1") for f in frames)
    ),
    "capture-exfil ftp": lambda frames: (
        any(f.get("ftp.request.command") == "STOR" for f in frames)
        and any(f.get("tcp.payload", "").startswith("d4c3b2a1") for f in frames)
    ),
    "capture-exfil http": lambda frames: (
        any(f.get("http.request.method") == "PUT" for f in frames)
        and any("0d0a0d0ad4c3b2a1" in f.get("tcp.payload", "") for f in frames)
    ),
    "icmp-redirect": lambda frames: all(
        f["icmp.type"] == "5" and f["icmp.redir_gw"] == "198.51.100.66" for f in frames
    ),
    "rogue-ra": lambda frames: all(f["icmpv6.type"] == "134" for f in frames),
    "arp-spoof": lambda frames: all(
        f["arp.opcode"] == "2" and f["arp.src.proto_ipv4"] == "198.51.100.253" for f in frames
    ),
    "na-spoof": lambda frames: all(
        f["icmpv6.type"] == "136" and f["icmpv6.nd.na.flag.o"] == "1" for f in frames
    ),
    "fhrp-takeover hsrp": lambda frames: (
        frames[0]["hsrp.opcode"] == "1" and frames[0]["hsrp.priority"] == "255"
    ),
    "fhrp-takeover vrrp": lambda frames: all(
        f["vrrp.prio"] == "255" and f["ip.ttl"] == "255" for f in frames
    ),
    "dns-race": lambda frames: all(
        "203.0.113.66" in f.get("dns.a", "::42" + f.get("dns.aaaa", "")) or f["dns.aaaa"] == "::42"
        for f in frames
    ),
    "tcp-injection": lambda frames: all(f["http.response.code"] == "302" for f in frames),
    "forged-rst": lambda frames: all(f["tcp.flags"] == "0x0004" for f in frames),
    "source-route lsrr": lambda frames: all("131" in f["ip.opt.type"].split(",") for f in frames),
    "source-route rh0": lambda frames: all(f["ipv6.routing.type"] == "0" for f in frames),
    "spoofed": lambda frames: all(f["ip.src"].startswith(("10.6.6.", "198.51.100.")) for f in frames),
    "router-tunnel gre": lambda frames: all(f["gre.proto"] == "0x0800" for f in frames),
    "router-tunnel esp": lambda frames: {f["esp.spi"] for f in frames} == {"0xface0000", "0xface0001"},
    "router-tunnel ike": lambda frames: all(f["isakmp.exchangetype"] == "34" for f in frames),
    "router-service": lambda frames: any(
        f.get("ssh.protocol") == "SSH-2.0-OpenSSH_7.2p2" and f["tcp.srcport"] == "22022" for f in frames
    ),
    "aaa-redirect": lambda frames: any(f.get("tacplus.type") == "1" for f in frames),
    "router-client": lambda frames: any(
        f["tcp.flags"] == "0x0002" and f["ip.src"] == "198.51.100.254" for f in frames
    ),
    "synful-knock": lambda frames: (
        abs(int(frames[0]["tcp.seq_raw"]) - int(frames[0]["tcp.ack_raw"])) == 0xC123D
        and int(frames[1]["tcp.ack_raw"]) - int(frames[1]["tcp.seq_raw"]) == 0xC123E
        and frames[1]["tcp.options"] == "020405b40101040201030305"
        and frames[1]["tcp.urgent_pointer"] == "1"
    ),
    "knock udp": lambda frames: frames[0]["data.data"].startswith("7255"),
    "knock tcp": lambda frames: frames[0]["tcp.window_size_value"] == str(0x5293),
    "knock icmp": lambda frames: frames[0]["data.data"].startswith("7255"),
    "icmp-channel": lambda frames: (
        {f["icmp.type"] for f in frames} == {"0", "8"}
        and min(int(f["data.len"]) for f in frames if f["icmp.type"] == "0")
        > max(int(f["data.len"]) for f in frames if f["icmp.type"] == "8")
    ),
    "config-copy": lambda frames: (
        frames[0]["snmp.name"].startswith("1.3.6.1.4.1.9.9.96.1.1.1.1.")
        and any(
            f.get("tftp.opcode") == "2" and f["tftp.destination_file"] == "running-config" for f in frames
        )
    ),
    "mobile-query locate": lambda frames: (
        [f.get("gsm_old.localValue") for f in frames[:4]] == ["71", None, "71", None]
        and frames[0]["sccp.calling.digits"] == "97120000001"
    ),
    "mobile-query unlisted": lambda frames: (
        {f.get("gsm_old.localValue") for f in frames} == {"70", None} and frames[0]["ip.src"] == "192.0.2.66"
    ),
    "mobile-query title": lambda frames: (
        frames[0]["gsm_old.localValue"] == "2" and frames[0]["sccp.calling.digits"] == "88234000001"
    ),
    "mobile-query realm": lambda frames: (
        {f["diameter.cmd.code"] for f in frames} == {"318"}
        and frames[0]["diameter.Origin-Realm"] == "epc.mnc088.mcc901.3gppnetwork.org"
    ),
    "mobile-query gtp": lambda frames: all(
        f["gtpv2.message_type"] == "32" and f["gtp.teid"] == "0x00005eed" for f in frames
    ),
    "rogue-dhcp gateway": lambda frames: all(
        (f["dhcp.option.dhcp"], f["dhcp.option.router"]) == ("2", "198.51.100.66") for f in frames
    ),
    "rogue-dhcp dns": lambda frames: all(
        f["dhcp.option.domain_name_server"] == f["dhcp.option.dhcp_server_id"] == "198.51.100.66"
        for f in frames
    ),
    # Half of all addresses each (RFC 3442), as they stand there.
    "rogue-dhcp routes": lambda frames: all(
        f["dhcp.option.classless_static_route"].replace(":", "") == "0100c6336442,0180c6336442"
        for f in frames
    ),
    "rogue-dhcp alone": lambda frames: all(
        f["dhcp.option.dhcp_server_id"] == "198.51.100.66" for f in frames
    ),
    "rogue-dhcp impostor": lambda frames: all(
        (f["dhcp.option.dhcp_server_id"], f["eth.src"]) == ("198.51.100.247", "02:00:5e:66:66:01")
        for f in frames
    ),
    "rogue-dhcp v6": lambda frames: all(
        (f["dhcpv6.msgtype"], f["dhcpv6.dns_server"]) == ("2", "2001:db8:bad::53") for f in frames
    ),
}
"""What tshark says of the frames of an implant, in order of time."""


@tshark
def test_what_implants_send_by_themselves_is_what_it_is_meant_to_be(tmp_path: Path) -> None:
    scenario = Scenario(seconds=12, calls=1, downloads=8, implants=tuple(OWN), span=0, loss=0)
    files = generate(scenario, tmp_path)
    truth = rows(files)
    found: dict[str, Frames] = defaultdict(list)
    # Ports that would be taken for those of other protocols.
    ports = ["-d", "tcp.port==22022,ssh", "-d", "udp.port==32711,data"]
    for tap in ("inside", "outside"):
        for frame in dissected(getattr(files, tap), [*FIELDS, *CHECKSUMS], *ports):
            assert_sound(frame)
            cause = truth[tap, int(frame["frame.number"])]["implant"]
            if cause is not None:
                found[f"{OWN[cause].kind} {OWN[cause].via}".strip()].append(frame)
    assert found.keys() == BUILT.keys() == {f"{each.kind} {each.via}".strip() for each in OWN}
    for name, frames in found.items():
        assert BUILT[name](frames), (name, frames[:3])


CARRIED = {
    **dict.fromkeys(("erspan1", "erspan2", "erspan3", "gre", "nvgre"), "gre"),
    "ipip": "ip:ip", "etherip": "etherip", "vxlan": "vxlan", "geneve": "geneve", "gtpu": "gtp", "tzsp": "tzsp",
    "jmirror": "jmirror", "esp": "esp", "wireguard": "wg",
}  # fmt: skip
"""What tshark calls a tunnel. Cisco's intercept it does not know."""


@tshark
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_tshark_reads_the_tunnels(tmp_path: Path, tunnel: str) -> None:
    implant = Implant("mirror", tunnel=tunnel, share=0.3)
    files = generate(Scenario(implants=(implant,), **TINY), tmp_path)
    truth = rows(files)
    for frame in dissected(files.outside, ["frame.protocols", "_ws.malformed", "udp.length", *CHECKSUMS]):
        assert_sound(frame)
        row, protocols = truth["outside", int(frame["frame.number"])], frame["frame.protocols"]
        if row["implant"] is not None:
            assert CARRIED.get(tunnel, "data") in protocols or "ip:ipv6" in protocols, frame
            hidden = tunnel in ("esp", "wireguard", "cisco-li")
            assert hidden or protocols.count("ip") >= 2, frame
        elif row["flow"].startswith("call-"):
            assert any(name in protocols for name in ("sip", "rtp", "rtcp")), frame
        elif row["flow"].startswith("dns-"):
            assert "dns" in protocols, frame


@tshark
@pytest.mark.parametrize(
    ("implant", "field", "values"),
    [
        (Implant("sflow-export"), "sflow_245.version", {"5"}),
        (Implant("wccp"), "gre.proto", {"0x883e"}),
        (Implant("rspan"), "vlan.id", {"999"}),
        (Implant("new-label"), "mpls.label", {"16077"}),
        (Implant("fork", to="mac-mpls"), "mpls.label", {"16077"}),
        (Implant("fork", to="vlan"), "vlan.id", {"999"}),
        (Implant("fork"), "eth.dst", {"02:00:5e:66:66:66"}),
        (Implant("reroute"), "eth.src", {"02:00:5e:66:66:01"}),
        (Implant("detour"), "gre.proto", {"0x0800"}),
        (Implant("detour", via="ipip"), "ip.proto", {"4,6"}),
        (Implant("detour", via="mpls"), "mpls.label", {"24016"}),
        (Implant("detour", via="router"), "eth.dst", {"02:00:5e:20:00:04", "02:00:5e:10:00:02"}),
        (Implant("readdress", only="voice"), "ip.dst", {"203.0.113.66"}),
        (Implant("fork", rewrite=("ttl", "dscp", "mac")), "eth.src", {"02:00:5e:66:66:01"}),
        (Implant("modify"), "udp.checksum.status", {"1"}),
        (Implant("media-fork"), "ip.dst", {"203.0.113.66"}),
        (Implant("media-fork", via="router"), "ip.src", {"198.51.100.254"}),
        (Implant("media-redirect"), "ip.dst", {"203.0.113.66"}),
        (Implant("sip-redirect"), "sip.contact.host", {"203.0.113.66"}),
        (Implant("sip-redirect", via="305"), "sip.Record-Route.host", {"203.0.113.66"}),
        (Implant("sip-redirect", via="contact"), "ip.src", {"203.0.113.66"}),
        (Implant("sip-redirect", via="peer"), "sip.contact.host", {"203.0.113.66", "203.0.113.10"}),
        (Implant("sip-redirect", via="route"), "sip.Record-Route.host", {"203.0.113.66"}),
        (Implant("sip-redirect", via="refer"), "sip.Refer-To", {"<sip:203.0.113.66>"}),
        (Implant("sip-redirect", via="replaces"), "sip.r-uri.host", {"198.51.100.10"}),
        (Implant("sdp-hijack"), "sdp.connection_info.address", {"203.0.113.66"}),
        (Implant("sdp-hijack", via="offer"), "sdp.connection_info.address", {"203.0.113.66"}),
        (Implant("sdp-hijack", via="peer"), "sdp.connection_info.address", {"203.0.113.66"}),
        (Implant("sdp-hijack", via="reinvite"), "sip.CSeq.seq", {"11"}),
        (Implant("downgrade"), "sdp.media.proto", {"RTP/AVP"}),
        (Implant("downgrade", via="unlisted"), "sdp.media.proto", {"RTP/AVP"}),
        (
            Implant("downgrade", via="tls"),
            "ip.src",
            {"203.0.113.13", "203.0.113.25"},
        ),
    ],
    ids=lambda value: f"{value.kind} {value.via}".strip() if isinstance(value, Implant) else None,
)
def test_tshark_reads_what_becomes_of_packets(
    tmp_path: Path, implant: Implant, field: str, values: set[str]
) -> None:
    secure = 8 if implant.kind == "downgrade" else 0
    files = generate(Scenario(implants=(implant,), span=0, secure=secure, **TINY), tmp_path)
    truth = rows(files)
    mine = []
    # What modify does to SIP is not SIP any more, but its checksums are right.
    broken = [] if implant.kind == "modify" else ["_ws.malformed"]
    for frame in dissected(files.outside, [*broken, *dict.fromkeys([field, *CHECKSUMS])]):
        assert_sound(frame)
        row = truth["outside", int(frame["frame.number"])]
        if row["role"] == implant.kind and row["implant"] == 0 and field in frame:
            mine.append(frame)
    assert {frame[field] for frame in mine} == values


@tshark
def test_peers_that_encrypt_are_what_they_are_meant_to_be(tmp_path: Path) -> None:
    files = generate(Scenario(secure=6, span=0, loss=0, **TINY), tmp_path)
    truth = rows(files)
    fields = ["frame.protocols", "_ws.malformed", "sdp.media.proto", *CHECKSUMS]
    described: dict[str, set[str]] = defaultdict(set)
    carried: dict[str, set[str]] = defaultdict(set)
    for frame in dissected(files.inside, fields):
        assert_sound(frame)
        kind = truth["inside", int(frame["frame.number"])]["flow"].partition("-")[0]
        carried[kind].add(frame["frame.protocols"].removeprefix("eth:ethertype:vlan:ethertype:"))
        if "sdp.media.proto" in frame:
            described[kind].add(frame["sdp.media.proto"])
    assert described == {"call": {"RTP/AVP"}, "sdes": {"RTP/SAVP"}, "dtls": {"UDP/TLS/RTP/SAVP"}}
    assert "ip:tcp:tls" in carried["tls"]


@tshark
def test_confounders_are_sound(tmp_path: Path) -> None:
    kinds = [kind for kind in CONFOUNDERS if not kind.startswith(("clock", "capture"))]
    scenario = Scenario(confounders=tuple(Confounder(kind) for kind in kinds), **TINY)
    files = generate(scenario, tmp_path)
    for tap in ("inside", "outside"):
        for frame in dissected(getattr(files, tap), ["_ws.malformed", "frame.protocols", *CHECKSUMS]):
            assert_sound(frame)


# --- Dials -------------------------------------------------------------------------------------------------------------


def copies(files: Generated, role: str) -> list[bytes]:
    """The frames on the outside tap with this role."""
    truth = rows(files)
    with RawPcapNgReader(str(files.outside)) as reader:
        frames = [bytes(data) for data, _ in reader]
    return [data for number, data in enumerate(frames, 1) if truth["outside", number]["role"] == role]


def test_a_mirror_may_cut_what_it_copies(tmp_path: Path) -> None:
    files = generate(Scenario(implants=(Implant("mirror", tunnel="erspan2", snap=64),), **TINY), tmp_path)
    # Ethernet with a VLAN, IPv4, GRE with a sequence number, ERSPAN II, and at most 64 bytes.
    sizes = {len(frame) for frame in copies(files, "mirror")}
    assert max(sizes) == 18 + 20 + 8 + 8 + 64
    cut = [frame for frame in copies(files, "mirror") if len(frame) == max(sizes)]
    assert any(frame[18 + 20 + 8 + 2] & 0x04 for frame in cut)  # the bit T of draft-foschiano-erspan-03


@pytest.mark.parametrize(("dial", "most"), [({"fragment": 576}, 18 + 20 + 8 + 576), ({"mtu": 576}, 18 + 576)])
def test_fragments_join_to_what_was_copied(tmp_path: Path, dial: dict[str, int], most: int) -> None:
    files = generate(Scenario(implants=(Implant("mirror", tunnel="gre", **dial),), loss=0, **TINY), tmp_path)
    parts: dict[tuple[int, bytes], list[Any]] = defaultdict(list)
    whole = []
    for data in copies(files, "mirror"):
        packet = IP(data[18:])
        inner = IP(bytes(packet.payload)[8:]) if "fragment" in dial else packet
        if inner.version == 6:
            continue
        assert len(data) <= most
        if not inner.id:
            continue  # Of hosts that number nothing, one cannot tell whose part it is.
        if inner.flags & 1 or inner.frag:
            parts[inner.id, bytes(inner)[12:20]].append(inner)
        else:
            whole.append(inner)
    assert len(parts) > 5
    for fragments_ in parts.values():
        ordered = sorted(fragments_, key=lambda part: part.frag)
        size = 0
        for part in ordered:
            assert part.frag * 8 == size
            size += len(part.payload)
        assert not ordered[-1].flags & 1


def test_fragments_are_those_of_scapy() -> None:
    from scapy.layers.inet import fragment  # type: ignore[import-untyped]

    packet = Packet("192.0.2.1", "198.51.100.1", 17, 1000, 2000, bytes(range(256)) * 5, ip_id=77).encode()
    # scapy wants the length of the payload, and rounds it down to a multiple of eight as well.
    theirs = [bytes(part) for part in fragment(IP(packet), fragsize=556)]
    assert list(fragments(packet, 576)) == theirs


@pytest.mark.parametrize("ttl", [2, 64, 128, 255])
@pytest.mark.parametrize("source", ["192.0.2.1", "2001:db8::1"])
def test_forwarding_changes_ttl_and_checksum_only(ttl: int, source: str) -> None:
    target = "198.51.100.1" if "." in source else "2001:db8::2"
    for number in range(1, 3000, 7):
        packet = Packet(source, target, 17, 1000, 2000, b"x" * 30, ttl, ip_id=number)
        assert forwarded(packet.encode()) == packet._replace(ttl=ttl - 1).encode()


def test_a_copy_may_differ_in_what_routers_change(tmp_path: Path) -> None:
    implant = Implant("mirror", tunnel="ipip", only="voice", rewrite=("ttl", "dscp"))
    files = generate(Scenario(implants=(implant,), **TINY), tmp_path)
    for data in copies(files, "mirror"):
        inner = IP(data[38:])
        assert (inner.ttl, inner.tos >> 2) == (33, 10)
        chksum = inner.chksum
        del inner.chksum
        assert IP(bytes(inner)).chksum == chksum


def test_a_share_is_about_that_share(tmp_path: Path) -> None:
    files = generate(Scenario(implants=(Implant("mirror", share=0.1),), **SMALL), tmp_path)
    packets = len({row["packet"] for row in rows(files).values() if row["network"] != "router"})
    acted = json.loads(files.scenario.read_text())["implants"][0]["packets"]
    # Within four standard deviations of a binomial distribution.
    assert abs(acted - 0.1 * packets) < 4 * (packets * 0.1 * 0.9) ** 0.5


def test_a_share_of_conversations_is_about_that_share_and_not_by_their_letters() -> None:
    names = [f"6 198.51.100.{n // 1000 + 50} {10_000 + n} 203.0.113.5 443" for n in range(20_000)]
    for share in (0.0, 0.1, 0.5, 0.9):
        confounder = CONFOUNDERS["ecmp"](Confounder("ecmp", share=share), 0, 1, 10)
        chosen = {name for name in names if confounder.concerns(name)}
        # Within four standard deviations of a binomial distribution.
        assert abs(len(chosen) - share * len(names)) <= 4 * (len(names) * share * (1 - share)) ** 0.5
    by_letters = defaultdict(set)
    confounder = CONFOUNDERS["ecmp"](Confounder("ecmp"), 0, 1, 10)
    for n in range(10, 100):
        by_letters["".join(sorted(str(n)))].add(confounder.concerns(f"x-{n}"))
    assert {True, False} in by_letters.values()


def test_one_subscriber_is_copied_and_nobody_else(tmp_path: Path) -> None:
    files = generate(
        Scenario(implants=(Implant("mirror", tunnel="ipip", only="subscriber"),), **SMALL), tmp_path
    )
    ends = [{inner.src, inner.dst} for inner in (IP(data[38:]) for data in copies(files, "mirror"))]
    (subscriber,) = set.intersection(*ends) & {f"198.51.100.{n}" for n in range(50, 250)}
    assert len(ends) > 10 and subscriber


def test_a_clock_shows_what_its_dial_says(tmp_path: Path) -> None:
    def times(**dials: Any) -> list[int]:
        confounders = (Confounder("clock-step", ms=40, **dials),) if dials else ()
        files = generate(Scenario(confounders=confounders, **TINY), tmp_path / str(bool(dials)))
        table = tapsight.open(files.outside, columns=["ts"]).to_pyarrow()
        return [int(value) for value in table["ts"].cast("int64").to_pylist()]

    right, wrong = times(), times(at=0.5)
    start = min(right) - min(right) % 1_000_000_000
    assert len(right) == len(wrong)
    differences = {b - a for a, b in zip(right, wrong, strict=True) if a < start + 2_000_000_000}
    assert differences == {0}
    assert {b - a for a, b in zip(right, wrong, strict=True) if a >= start + 2_000_000_000} == {40_000_000}


def test_what_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for scenario, message in [
        (Scenario(implants=(Implant("mirrror"),)), "no implant 'mirrror'"),
        (Scenario(implants=(Implant("mirror", tunnel="x"),)), "no tunnel 'x'"),
        (Scenario(implants=(Implant("knock", via="x"),)), "no variant 'x'"),
        (Scenario(confounders=(Confounder("x"),)), "no confounder 'x'"),
        # Without calls that are encrypted there would be nothing in the captures to find.
        (Scenario(implants=(Implant("downgrade"),)), "give --secure 24"),
    ]:
        with pytest.raises(ValueError, match=message):
            generate(scenario, tmp_path)
    for text in ("mirror:lag=3xs", "mirror:size=3"):
        with pytest.raises(SystemExit):
            main([str(tmp_path), "--implant", text])
    assert "mirror has no dial 'size'" in capsys.readouterr().err


def test_the_command_lists_kinds_and_sets_dials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    listed = capsys.readouterr().out
    assert all(f"  {kind} " in listed for kind in [*IMPLANTS, *CONFOUNDERS])
    arguments = [
        "--implant",
        "mirror:tunnel=gre,lag=3ms,rewrite=ttl+dscp",
        "--implant",
        "fork",
        "--share",
        "0.5",
    ]
    arguments += ["--confounder", "clock-step:ms=5", "--seconds", "2", "--calls", "1", "--downloads", "2"]
    main([str(tmp_path), *arguments])
    built = json.loads((tmp_path / "scenario.json").read_text())
    assert [each["share"] for each in built["implants"]] == [0.5, 0.5]
    mirror = built["implants"][0]
    assert (mirror["tunnel"], mirror["lag"], mirror["rewrite"]) == ("gre", 3_000_000, ["ttl", "dscp"])
    assert built["confounders"][0]["ms"] == 5


# --- The evaluation ----------------------------------------------------------------------------------------------------


def test_the_interval_of_wilson() -> None:
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, of, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert evaluate.wilson(hits, of) == pytest.approx((low, high), abs=5e-5)


def test_an_evaluation_counts_copies_against_the_truth() -> None:
    rows, calm = evaluate.run(0.02, "mirror: tunnel", jobs=1, alarms_too=False)
    by_tunnel = {row.setting: row for row in rows if row.detector == "A1"}
    assert calm == []
    assert by_tunnel.keys() == TUNNELS.keys() - {"esp", "wireguard"}
    for row in by_tunnel.values():
        assert row.looked_for
        assert 0 < row.findable < row.made
        # A host that numbers nothing sends again what equals the first: the two copies count once.
        assert row.findable - 3 <= row.found <= row.findable, row
        assert row.verdict == "fail"
    page = evaluate.markdown(rows, calm)
    assert "| gre | A1 |" in page
    assert json.loads(evaluate.as_json(rows, calm))["implants"]


def test_an_evaluation_counts_calls_against_the_truth() -> None:
    rows, _ = evaluate.run(0.02, "sdp-hijack: share", jobs=1, alarms_too=False)
    assert [row.setting for row in rows] == ["1", "1/2", "1/10", "1/50"]
    # Two calls in clear, and 24 with each of two peers that encrypt with what can be read.
    assert (rows[0].made, rows[0].found, rows[0].verdict) == (50, 50, "fail")
    assert all(row.found == row.findable for row in rows)
    page = evaluate.markdown(rows, [])
    assert "## Calls, dial by dial" in page and "| | detector | calls |" in page


def test_an_evaluation_counts_false_alarms() -> None:
    scenario = Scenario(implants=(Implant("mirror"),), **TINY)
    # An implant that nobody told of is a false alarm in a scenario that is said to be without.
    told = evaluate.alarms(evaluate.Calm("mirror", scenario))
    quiet = evaluate.alarms(evaluate.Calm("nothing", Scenario(**TINY)))
    assert [finding["detector"] for finding in told.findings if finding["severity"] == "high"]
    assert quiet.findings == []
    page = evaluate.of_alarms([quiet, told])
    assert "| nothing |" in page and "mirror: A1" in page
    rates = evaluate.rates([quiet, told])
    assert (rates["A1"]["loud"], rates["A1"]["scenarios"]) == (1, 2)
    assert rates["A1"]["judged"] == quiet.judged["A1"] + told.judged["A1"] > 0
    assert evaluate.rates([quiet])["A1"]["loud"] == 0


def test_rates_of_false_alarms_are_those_of_the_evaluation() -> None:
    calm = json.loads((ROOT / "docs" / "evaluation.json").read_text())["confounders"]
    kept = json.loads((ROOT / "python/tapsight/data/false_alarms.json").read_text())
    assert kept == evaluate.rates([evaluate.Alarms(**each) for each in calm])
    # By hand: 3 over a million and a half is 2 in a million.
    assert per_million(0, 1_500_000) == "< 2"
    assert per_million(3, 10_000) == "300"
    assert per_million(0, 0) is None
    assert "No scenario of the lab" in false_alarms("X1")
    text = DETECTORS["A5"].explain()
    assert f"where it judged {kept['A5']['judged']:,} packets" in " ".join(text.split())
