"""Verdicts on a router that is Linux itself, as it should be and with implants, and what the captures say of them.

docs/router-test.md shows the network. Without root, or a tool, or a part of the kernel, a test says what it lacks.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dpkt
import polars as pl
import pytest
from namespaces import CommandError, Network, mac_of, missing
from real_router import (
    CARRIER_A,
    CARRIER_A6,
    CARRIER_B,
    CARRIER_B6,
    COLLECTOR,
    COLLECTOR6,
    LISTENER,
    LISTENER6,
    OUTSIDE,
    OUTSIDE6,
    PHONE,
    SERVER,
    SERVER_VOICE,
    SUBSCRIBER,
    TOOLS,
    VOICE,
    Site,
)

import tapsight
from tapsight.addresses import to_text

LACKING = missing(*TOOLS)
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"a real router needs {', '.join(LACKING)}")

LACKS = "[Uu]nknown|not supported|not enabled|No such file"
"""What tools say of a part that the kernel does not have."""

KEY = 77
"""Key, session or network identifier of tunnels."""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with Network(tmp_path) as network:
        yield network
    # TAPSIGHT_KEEP names a folder for the captures, to look at them.
    if (keep := os.environ.get("TAPSIGHT_KEEP")) is not None:
        name = os.environ["PYTEST_CURRENT_TEST"].partition("::")[2].partition(" ")[0]
        shutil.copytree(tmp_path, Path(keep) / name, dirs_exist_ok=True)


def if_kernel_has(what: str, set_up: Callable[[], object]) -> None:
    """Sets up an implant, or skips the test where the kernel does not know of such a thing."""
    try:
        set_up()
    except CommandError as error:
        said = [line for line in str(error).splitlines() if re.search(LACKS, line)]
        if not said:
            raise
        pytest.skip(f"this kernel lacks {what}: {said[0].strip()}")


def check(site: Site) -> tapsight.Result:
    """Has the hosts talk, and judges what the taps saw."""
    site.exchange()
    return tapsight.check(site.taps, policy=site.policy)


def verdicts(result: tapsight.Result) -> dict[str, str]:
    return {row["check"]: row["verdict"] for row in result.to_dict()["verdicts"]}


def findings(result: tapsight.Result, detector: str) -> list[dict[str, Any]]:
    """What a detector reports by itself."""
    rows = result.to_dict()["findings"]
    return [row for row in rows if (row["detector"] or "").startswith(detector) and row["check"] is None]


# --- What the captures say, read by another program -------------------------------------------------------------------


@functools.lru_cache(maxsize=2)
def frames(path: Path) -> list[dpkt.ethernet.Ethernet]:
    with path.open("rb") as file:
        return [dpkt.ethernet.Ethernet(data) for _, data in dpkt.pcap.Reader(file)]


def is_to_mac(frame: dpkt.ethernet.Ethernet, mac: str) -> bool:
    return bool(frame.dst.hex(":") == mac)


def is_to_address(frame: dpkt.ethernet.Ethernet, *addresses: str) -> bool:
    return getattr(frame.data, "dst", b"") in [ip_address(address).packed for address in addresses]


def is_voice(frame: dpkt.ethernet.Ethernet) -> bool:
    udp = frame.data.data
    return isinstance(udp, dpkt.udp.UDP) and SERVER_VOICE in (udp.sport, udp.dport)


def assert_proven(
    site: Site, finding: dict[str, Any], is_copy: Callable[[dpkt.ethernet.Ethernet], bool]
) -> None:
    """Every frame that a finding names is the copy or the original that it is said to be."""
    assert finding["evidence"]
    for each in finding["evidence"]:
        frame = frames(site.taps[each["tap"]])[each["frame"] - 1]
        assert is_copy(frame) == (each["role"] != "original"), each


# --- A router as it should be -----------------------------------------------------------------------------------------


def balanced(site: Site) -> None:
    """Two next hops, each for some of the conversations."""
    site.router.ip(
        f"route replace default nexthop via {CARRIER_A} nexthop via {CARRIER_B}",
        f"route replace ::/0 nexthop via {CARRIER_A6} nexthop via {CARRIER_B6}",
    )


def translating(site: Site) -> None:
    """The hosts inside share the router's address."""
    site.router.nft("""
        table inet own {
            chain translate { type nat hook postrouting priority srcnat
                oifname "outside" masquerade
            }
        }
    """)


def rewriting(site: Site) -> None:
    """Routers mark traffic, and tell hosts to send smaller segments."""
    site.router.nft("""
        table inet own {
            chain rewrite { type filter hook forward priority mangle
                ip dscp set af41
                ip6 dscp set af41
                tcp flags syn tcp option maxseg size set 1300
            }
        }
    """)


def losing(site: Site) -> None:
    """A router that loses each hundredth segment, so that hosts send it again: what UDP carries would not be sent again."""
    site.router.nft("""
        table inet own {
            chain lose { type filter hook forward priority filter
                meta l4proto tcp numgen inc mod 100 == 0 drop
            }
        }
    """)


def as_it_is(site: Site) -> None:
    """A router that does nothing but forward."""


@pytest.mark.parametrize("set_up", [as_it_is, balanced, translating, rewriting, losing])
def test_a_router_as_it_should_be_passes(network: Network, set_up: Callable[[Site], None]) -> None:
    site = Site(network)
    if_kernel_has(f"what {set_up.__name__!r} needs", lambda: set_up(site))
    result = check(site)
    assert [row["sentence"] for row in result.to_dict()["findings"]] == []
    # Of some kinds, such as resets, there is nothing.
    assert result.exit_code == 0
    assert {verdicts(result)[check] for check in ("A1", "A2", "A5", "B1")} == {"pass"}
    # What cannot be judged are IPv6 acknowledgments, mostly.
    copies = [row for row in result.to_dict()["verdicts"] if row["check"] in {"A1", "A2", "A5"}]
    assert min(row["coverage"] for row in copies) > 0.8
    # Both directions of each call, 50 packets a second for two and a half seconds, at both taps.
    calls = pl.concat(tapsight.scan(path) for path in site.taps.values()).filter(pl.col("app") == "rtp")
    assert calls.select(pl.len()).collect().item() == pytest.approx(len(VOICE) * 2 * 125 * 2, rel=0.2)
    hops = Counter(frame.dst.hex(":") for frame in frames(site.taps["outside"]))
    carriers = [hops[mac_of(carrier, "lan")] for carrier in (site.carrier_a, site.carrier_b)]
    assert all(carriers) if set_up is balanced else carriers[1] == 0


@pytest.mark.parametrize("sides", [["inside"], ["inside", "outside"]], ids="-".join)
def test_segments_that_are_not_cut_and_sums_that_are_not_made_pass(
    network: Network, sides: list[str]
) -> None:
    # What a host with offloading captures of its own traffic: frames larger than the MTU, and partial checksums.
    site = Site(network, offload=sides)
    result = check(site)
    assert (result.to_dict()["findings"], result.exit_code) == ([], 0)
    for name, path in site.taps.items():
        assert any(len(frame) > 3000 for frame in frames(path)) == (name in sides)


def test_a_detour_shows_in_the_hops_and_is_no_copy(network: Network) -> None:
    site = Site(network)
    detour = network.namespace("detour")
    for number, device in ((1, "there"), (2, "back")):
        network.link(site.router, device, detour, device)
        site.router.ip(f"addr add 172.17.{number}.1/24 dev {device}")
        detour.ip(f"addr add 172.17.{number}.2/24 dev {device}")
    detour.sysctl({"net.ipv4.ip_forward": 1})
    detour.ip("route add default via 172.17.2.1")
    site.router.ip(
        "route add default via 172.17.1.2 table 100",
        f"rule add from {SUBSCRIBER} iif inside table 100",
    )
    result = check(site)
    assert not any(row["kind"] == "copy" for row in result.to_dict()["findings"])
    columns = ["src", "dst", "ttl", "packet_id"]
    inside, outside = (tapsight.scan(path).select(columns) for path in site.taps.values())
    # Bit 0 of an id says that it is strong: see docs/packets.md.
    both = inside.filter(pl.col("packet_id") & 1 == 1).join(outside, on="packet_id").collect()
    both = both.with_columns(source=pl.Series(to_text(both["src"])), target=pl.Series(to_text(both["dst"])))
    fallen = both.filter(pl.col("target") == SERVER).group_by("source")
    hops = fallen.agg((pl.col("ttl").cast(pl.Int16) - pl.col("ttl_right")).unique().alias("hops"))
    assert dict(hops.iter_rows()) == {PHONE: [1], SUBSCRIBER: [3]}


# --- Copies to a neighbour --------------------------------------------------------------------------------------------


def duplicated(site: Site) -> None:
    """By nftables, where packets are forwarded."""
    voice = f"meta l4proto udp th sport {SERVER_VOICE}", f"meta l4proto udp th dport {SERVER_VOICE}"
    for family, listener in (("ip", LISTENER), ("ip6", LISTENER6)):
        rules = "\n".join(f'{match} dup to {listener} device "outside"' for match in voice)
        site.router.nft(f"""
            table {family} implant {{
                chain copy {{ type filter hook forward priority filter
                    {rules}
                }}
            }}
        """)


def teed(site: Site) -> None:
    """By iptables, where packets come in."""
    for program, listener in (("iptables", LISTENER), ("ip6tables", LISTENER6)):
        for end in ("--sport", "--dport"):
            match = ("-p", "udp", end, f"{SERVER_VOICE}")
            site.router.run(
                program, "-t", "mangle", "-A", "PREROUTING", *match, "-j", "TEE", "--gateway", listener
            )


@pytest.mark.parametrize("set_up", [duplicated, teed])
def test_a_copy_to_a_neighbour_is_found(network: Network, set_up: Callable[[Site], None]) -> None:
    site = Site(network)
    # What the hosts inside send may be fragmented on the way. Linux says of its copies that they may not.
    site.inside.sysctl({"net.ipv4.ip_no_pmtu_disc": 1})
    if_kernel_has(f"what {set_up.__name__!r} needs", lambda: set_up(site))
    result = check(site)
    found = findings(result, "A5")
    listener = mac_of(site.listener, "lan")
    for finding in found:
        assert (finding["detector"], finding["kind"], finding["severity"]) == ("A5.forked", "copy", "high")
        assert (finding["collector"]["mac"], finding["flows"]) == (listener, len(VOICE))
        assert finding["in_scope"] >= finding["packets"]
        assert_proven(site, finding, lambda frame: is_to_mac(frame, listener))
    # One for what goes out, and one for what comes in: those left the router by two links.
    assert len(found) == 2
    copies = [
        frame for frame in frames(site.taps["outside"]) if is_to_mac(frame, listener) and is_voice(frame)
    ]
    assert 0.95 * len(copies) <= sum(finding["packets"] for finding in found) <= len(copies)
    assert (verdicts(result)["A5"], result.exit_code) == ("fail", 1)
    assert result.answers[0].answer == "yes"


# --- Copies in tunnels ------------------------------------------------------------------------------------------------


def mirror(site: Site, device: str, *, everything: bool) -> None:
    """Has tc copy what passes the router's inside port, both ways, into a device."""
    site.router.tc("qdisc add dev inside clsact")
    to = f"action mirred egress mirror dev {device}"
    for way, end in (("ingress", "dport"), ("egress", "sport")):
        add = f"filter add dev inside {way} protocol"
        if everything:
            site.router.tc(f"{add} all u32 match u32 0 0 {to}")
            continue
        for kind, version in (("ip", "ip"), ("ipv6", "ip6")):
            match = f"match {version} protocol 17 0xff match {version} {end} {SERVER_VOICE} 0xffff"
            site.router.tc(f"{add} {kind} u32 {match} {to}")


def assert_mirror_found(
    site: Site,
    result: tapsight.Result,
    encap: set[str],
    number: int | None,
    collector: str = COLLECTOR,
    exporter: str = OUTSIDE,
) -> None:
    (finding,) = findings(result, "A1")
    assert (finding["detector"], finding["kind"]) == ("A1.encapsulated-sibling", "copy")
    assert (finding["severity"], finding["exporter"]) == ("high", exporter)
    assert finding["collector"]["address"] == collector
    assert finding["collector"]["tunnel_id"] == number
    assert finding["collector"]["encap"] in encap
    copies = [frame for frame in frames(site.taps["outside"]) if is_to_address(frame, collector)]
    # Later fragments show nothing of the packet inside.
    copies = [frame for frame in copies if not getattr(frame.data, "offset", 0)]
    # Some are too short to be told from others.
    assert 0.7 * len(copies) < finding["packets"] <= len(copies)
    assert_proven(site, finding, lambda frame: is_to_address(frame, collector))
    assert result.exit_code == 1
    assert [verdicts(result)[check_] for check_ in ("A1", "I5", "I6")] == ["fail", "fail", "fail"]
    made_for_mirrors = any("erspan" in kind for kind in encap)
    assert verdicts(result)["A2"] == ("fail" if made_for_mirrors else "pass")
    (unlisted,) = (row for row in result.to_dict()["findings"] if row["check"] == "I6")
    assert unlisted["collector"] == finding["collector"]
    if made_for_mirrors:
        assert unlisted["packets"] == len(copies)


DEVICES = {
    "vxlan": (f"type vxlan id {KEY} remote {COLLECTOR} local {OUTSIDE} dstport 4789", {"vxlan"}, KEY),
    "gretap": (f"type gretap remote {COLLECTOR} local {OUTSIDE} key {KEY}", {"gre"}, KEY),
    "erspan II": (
        f"type erspan seq key {KEY} remote {COLLECTOR} local {OUTSIDE} erspan_ver 1 erspan 5",
        {"gre/erspan2"},
        KEY,
    ),
    "erspan III": (
        f"type erspan seq key {KEY} remote {COLLECTOR} local {OUTSIDE} erspan_ver 2 erspan_hwid 5",
        {"gre/erspan3"},
        KEY,
    ),
    "ipip": (f"type ipip remote {COLLECTOR} local {OUTSIDE}", {"ipip"}, None),
}
"""Tunnels of the kernel."""


@pytest.mark.parametrize("everything", [False, True], ids=["voice", "all"])
@pytest.mark.parametrize("kind", DEVICES)
def test_a_mirror_into_a_tunnel_is_found(network: Network, kind: str, everything: bool) -> None:
    # Where everything is copied, copies of large packets are sent in fragments.
    site = Site(network, mtu=1500 if everything else 9000)
    device, encap, number = DEVICES[kind]

    def set_up() -> None:
        site.router.ip(f"link add copy0 {device}", "link set copy0 up")
        mirror(site, "copy0", everything=everything)

    if_kernel_has(kind, set_up)
    result = check(site)
    assert_mirror_found(site, result, encap, number)
    # The same, ordered: the sink is listed, and so is the tunnel.
    tunnel = next(iter(encap)).partition("/")[0]
    listed = site.policy.read_text().replace("sinks = []", f'sinks = ["{COLLECTOR}"]')
    allow = f'allow = [{{ encap = "{tunnel}", between = ["{OUTSIDE}", "{COLLECTOR}"] }}]'
    site.policy.write_text(listed.replace("allow = []", allow))
    ordered = tapsight.check(site.taps, policy=site.policy)
    assert [verdicts(ordered)[check_] for check_ in ("A1", "A2", "A5", "I5", "I6")] == ["pass"] * 5


@pytest.mark.parametrize(
    ("kind", "everything", "encap", "number"),
    [
        ("gretap", False, {"gre"}, KEY),
        ("erspan2", True, {"gre/erspan2"}, KEY),
        ("erspan3", False, {"gre/erspan3"}, KEY),
        ("ipip", True, {"ipip", "ip6"}, None),
    ],
)
def test_a_mirror_by_a_program_is_found(
    network: Network, kind: str, everything: bool, encap: set[str], number: int | None
) -> None:
    # A program on the router, which needs nothing of the kernel but a device to read frames from.
    site = Site(network)

    def set_up() -> None:
        site.host(site.router, "encapsulate", "copy0", OUTSIDE, COLLECTOR, kind, f"{KEY}")
        site.router.ip("link set copy0 txqueuelen 10000 up")
        mirror(site, "copy0", everything=everything)

    if_kernel_has("tap devices or mirred", set_up)
    assert_mirror_found(site, check(site), encap, number)


def test_a_copy_by_segment_routing_is_found(network: Network) -> None:
    # The gateway that copies are sent to is a route into IPv6 with segments (RFC 8986, H.Encaps).
    site = Site(network)
    gateway, segments = "10.99.0.1", f"encap seg6 mode encap segs {COLLECTOR6}"

    def set_up() -> None:
        site.router.ip(f"route add {gateway} {segments} via inet6 {CARRIER_A6} dev outside")
        match = ("-p", "udp", "--dport", f"{SERVER_VOICE}")
        site.router.run(
            "iptables", "-t", "mangle", "-A", "PREROUTING", *match, "-j", "TEE", "--gateway", gateway
        )

    if_kernel_has("TEE or SRv6", set_up)
    assert_mirror_found(site, check(site), {"srv6"}, None, COLLECTOR6, OUTSIDE6)


# --- Other implants ---------------------------------------------------------------------------------------------------


def test_a_diversion_to_a_relay_is_found(network: Network) -> None:
    # The subscriber's sessions end at a relay, which takes them to the server: they notice nothing.
    site = Site(network)
    site.host(site.collector, "relay", COLLECTOR, SERVER, "443")
    site.router.nft(f"""
        table ip implant {{
            chain divert {{ type nat hook prerouting priority dstnat
                ip saddr {SUBSCRIBER} ip daddr {SERVER} tcp dport 443 dnat to {COLLECTOR}
            }}
        }}
    """)
    result = check(site)
    (finding,) = findings(result, "A5")
    assert (finding["detector"], finding["kind"]) == ("A5.readdressed", "diversion")
    assert (finding["severity"], finding["collector"]["address"]) == ("high", COLLECTOR)
    diverted = [frame for frame in frames(site.taps["outside"]) if is_to_address(frame, COLLECTOR)]
    # Acknowledgments have no payload to know them by.
    segments = Counter((tcp.sport, tcp.seq) for tcp in (frame.data.data for frame in diverted) if tcp.data)
    assert finding["flows"] == len({port for port, _ in segments})
    assert len(segments) <= finding["packets"] <= min(segments.total(), finding["in_scope"])
    assert_proven(site, finding, lambda frame: is_to_address(frame, COLLECTOR))
    assert result.answers[1].answer == "yes"
    # The command line says the same.
    taps = [f"{name}={path}" for name, path in site.taps.items()]
    command = [sys.executable, "-m", "tapsight", "check", *taps, "--policy", site.policy, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"] == result.to_dict()["findings"]


def test_a_replay_is_found(network: Network) -> None:
    # Voice leaves once more, 300 ms later. Hosts number IPv4 packets, so it is no retransmission.
    site = Site(network)

    def set_up() -> None:
        site.host(site.router, "replay", "copy0", "outside", "0.3")
        site.router.ip("link set copy0 txqueuelen 10000 up")
        match = f"match ip protocol 17 0xff match ip dport {SERVER_VOICE} 0xffff"
        site.router.tc(
            "qdisc add dev outside clsact",
            f"filter add dev outside egress protocol ip u32 {match} action mirred egress mirror dev copy0",
        )

    if_kernel_has("tap devices or mirred", set_up)
    (finding,) = findings(check(site), "A5")
    assert (finding["detector"], finding["kind"]) == ("A5.late", "copy")
    replayed = [frame for frame in frames(site.taps["outside"]) if is_to_address(frame, SERVER)]
    numbers = Counter((frame.data.src, frame.data.id) for frame in replayed if is_voice(frame))
    copies = sum(count - 1 for count in numbers.values())
    assert 0.95 * copies <= finding["packets"] <= copies
