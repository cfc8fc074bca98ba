"""Implants of the lab are found with the right kind and collector; without one, nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tapsight
from tapsight.lab import Confounder, Generated, Implant, Scenario, generate

COLLECTOR = "203.0.113.66"
EXPORTER = "198.51.100.254"
FORK_MAC = "02:00:5e:66:66:66"

Range = Callable[..., tuple[Generated, "Truth"]]


@dataclass
class Truth:
    frames: dict[tuple[str, int], dict[str, Any]]

    def role(self, frame: dict[str, Any]) -> str:
        return self.frames[frame["tap"], frame["frame"]]["role"]

    def packets(self, role: str) -> int:
        return sum(frame["role"] == role for frame in self.frames.values())


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Range:
    made: dict[Scenario, tuple[Generated, Truth]] = {}

    def make(**dials: Any) -> tuple[Generated, Truth]:
        scenario = Scenario(seconds=8, calls=3, downloads=15, **dials)
        if scenario not in made:
            files = generate(scenario, tmp_path_factory.mktemp("range"))
            rows = [json.loads(line) for line in files.truth.read_text().splitlines()]
            made[scenario] = files, Truth({(row["tap"], row["frame"]): row for row in rows})
        return made[scenario]

    return make


def check(files: Generated, policy: Path | None = None) -> tapsight.Result:
    return tapsight.check({"inside": str(files.inside), "outside": str(files.outside)}, policy=policy)


def findings(result: tapsight.Result, detector: str) -> list[dict[str, Any]]:
    columns = [
        "detector",
        "kind",
        "severity",
        "verdict",
        "packets",
        "in_scope",
        "collector",
        "evidence",
        "sentence",
        "attack",
    ]
    rows: list[dict[str, Any]] = result.findings.select(columns).to_pylist()
    return [row for row in rows if (row["detector"] or "").startswith(detector)]


def verdicts(result: tapsight.Result) -> dict[str, str]:
    return {row["check"]: row["verdict"] for row in result.verdicts.select(["check", "verdict"]).to_pylist()}


@pytest.mark.parametrize(
    "dials",
    [{"seed": 1}, {"seed": 2}, {"seed": 3}, {"nat": True}, {"ecmp": True}, {"span": 0.2}, {"snaplen": 128}],
    ids=str,
)
def test_a_clean_router_has_no_finding(lab: Range, dials: dict[str, Any]) -> None:
    files, _ = lab(**dials)
    result = check(files, files.policy)
    assert result.findings.num_rows == 0, result.findings.column("sentence").to_pylist()
    found = verdicts(result)
    # What it has nothing of, such as resets, or no set for, is unknown.
    assert set(found.values()) <= {"pass", "unknown"}
    assert {found[check] for check in ("A1", "A2", "A5", "V1", "V2", "I5", "I6")} == {"pass"}
    assert result.exit_code == 0


@pytest.mark.parametrize("tap", ["inside", "outside"])
def test_one_tap_of_a_clean_router_has_no_finding(lab: Range, tap: str) -> None:
    files, _ = lab()
    assert tapsight.check(str(getattr(files, tap))).findings.num_rows == 0


@pytest.mark.parametrize(
    ("tunnel", "encap", "has_id"),
    [
        ("erspan2", "gre/erspan2", True),
        ("erspan3", "gre/erspan3", True),
        ("gre", "gre", True),
        ("vxlan", "vxlan", True),
        ("geneve", "geneve", True),
        ("gtpu", "gtpu", True),
        ("ipip", "ipip", False),
    ],
)
def test_a_mirror_is_found_in_any_tunnel(lab: Range, tunnel: str, encap: str, has_id: bool) -> None:
    files, truth = lab(implants=(Implant("mirror", tunnel=tunnel),))
    result = check(files)
    (finding,) = findings(result, "A1")
    collector = finding["collector"]
    assert (finding["kind"], finding["verdict"]) == ("copy", "fail")
    assert collector["address"] == COLLECTOR
    assert collector["encap"] in (encap, "ip6")
    assert collector["tunnel_id"] == (17 if has_id else None)
    assert EXPORTER in finding["sentence"]
    assert "T1020.001" in finding["attack"]
    # Weak packets (acknowledgments, mostly) and those whose original no tap kept are not counted.
    assert 0.8 * truth.packets("mirror") < finding["packets"] <= truth.packets("mirror")
    for frame in finding["evidence"]:
        role = truth.role(frame)
        assert (role == "mirror") == (frame["role"] in ("copy", "mirror")), frame
    assert result.exit_code == 1


def test_mirror_sessions_that_were_cut_are_not_judged(lab: Range) -> None:
    # 50 bytes: Ethernet, IPv4 and GRE, with a VLAN tag 4 more, and 8 of ERSPAN do not fit any more.
    files, truth = lab(implants=(Implant("mirror", tunnel="erspan2"),), snaplen=50)
    policy = files.policy.with_name("no-mirrors.toml")
    policy.write_text("[checks.I6]\nsinks = []\n")
    result = check(files, policy)
    packets = tapsight.open(str(files.outside)).to_polars()
    cut = int((packets["issue"] == "erspan-snapped").sum())
    assert cut >= truth.packets("mirror") > 0
    rows = {row["check"]: row for row in result.verdicts.to_pylist()}
    for each in ("A2", "I6"):
        assert rows[each]["verdict"] == "unknown", rows[each]
        assert rows[each]["judged"] <= rows[each]["in_scope"] - cut


@pytest.mark.parametrize("snaplen", [40, 50])
def test_voice_that_was_cut_is_not_said_to_be_where_it_belongs(lab: Range, snaplen: int) -> None:
    # 40 bytes: Ethernet and IPv4, and with a VLAN tag 2 of 4 bytes of ports.
    files, truth = lab(implants=(Implant("mirror", tunnel="erspan2"),), snaplen=snaplen)
    result = check(files, files.policy)
    rows = {row["check"]: row for row in result.verdicts.to_pylist()}
    for each in ("V1", "V2"):
        assert rows[each]["verdict"] == "unknown", rows[each]
        assert "cut before what they carry" in rows[each]["reason"]
    for each in ("V1", "V2", "A8"):
        assert rows[each]["in_scope"] - rows[each]["judged"] >= truth.packets("mirror"), rows[each]
    (agreed,) = [answer for answer in result.answers if answer.about == "agreed"]
    assert agreed.answer == "cannot tell"


def test_a_mirror_is_found_on_one_tap(lab: Range) -> None:
    files, _ = lab(implants=(Implant("mirror", tunnel="vxlan"),))
    (finding,) = findings(tapsight.check(str(files.outside)), "A1")
    assert finding["collector"]["address"] == COLLECTOR


@pytest.mark.parametrize("dials", [{"share": 0.02}, {"only": "voice"}, {"lag": 40_000_000}], ids=str)
def test_a_mirror_is_found_when_it_hides(lab: Range, dials: dict[str, Any]) -> None:
    files, truth = lab(implants=(Implant("mirror", tunnel="gre", **dials),))
    (finding,) = findings(check(files), "A1")
    assert finding["collector"]["address"] == COLLECTOR
    assert 0.8 * truth.packets("mirror") < finding["packets"] <= truth.packets("mirror")


def test_an_authorised_mirror_is_no_finding(lab: Range, tmp_path: Path) -> None:
    files, _ = lab(implants=(Implant("mirror"),))
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[checks.I6]\nsinks = ["{COLLECTOR}"]\n')
    result = check(files, policy)
    assert result.findings.num_rows == 0, result.findings.column("sentence").to_pylist()
    assert verdicts(result)["I6"] == "pass"


def test_an_unlisted_mirror_fails_the_policy(lab: Range) -> None:
    files, _ = lab(implants=(Implant("mirror"),))
    found = verdicts(check(files, files.policy))
    assert (found["A1"], found["I5"], found["I6"], found["V2"]) == ("fail", "fail", "fail", "fail")


@pytest.mark.parametrize("dials", [{}, {"only": "voice"}, {"share": 0.1}, {"lag": 2_000_000}], ids=str)
def test_a_fork_is_found(lab: Range, dials: dict[str, Any]) -> None:
    files, truth = lab(implants=(Implant("fork", **dials),))
    (finding,) = findings(check(files), "A5")
    assert finding["detector"] == "A5.forked"
    assert finding["kind"] == "copy"
    assert finding["collector"]["mac"] == FORK_MAC
    assert 0.55 * truth.packets("fork") < finding["packets"] <= truth.packets("fork")
    for frame in finding["evidence"]:
        assert (truth.role(frame) == "fork") == (frame["role"] == "copy"), frame


ROUTER, ROUTER_INSIDE = "02:00:00:00:00:01", "02:00:00:00:00:0a"
GATEWAY, LISTENER, HOST = "02:00:00:00:00:02", "02:00:00:00:00:09", "02:00:00:00:00:0b"


class Capture:
    """Frames of a call's packets, which are numbered, as taps see them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: list[Any] = []

    def out(self, src: str, dst: str, n: int, time: float, **fields: Any) -> None:
        ends = {"src": "192.0.2.10", "dst": "203.0.113.10", "id": n}
        self._write(src, dst, ends | fields, (16400, 20000), n, time)

    def back(self, src: str, dst: str, n: int, time: float, **fields: Any) -> None:
        ends = {"src": "203.0.113.10", "dst": "192.0.2.10", "id": 1000 + n}
        self._write(src, dst, ends | fields, (20000, 16400), n, time)

    def _write(
        self, src: str, dst: str, fields: dict[str, Any], ports: tuple[int, int], n: int, time: float
    ) -> None:
        from scapy.layers.inet import IP, UDP
        from scapy.layers.l2 import Ether
        from scapy.packet import Raw

        frame = Ether(src=src, dst=dst) / IP(**fields) / UDP(sport=ports[0], dport=ports[1])
        frame /= Raw(bytes([n]) + bytes(range(80)))
        frame.time = n + time
        self._frames.append(frame)

    def written(self) -> Path:
        from scapy.utils import wrpcap

        wrpcap(str(self._path), self._frames, nano=True)
        return self._path


def test_the_neighbour_that_takes_no_part_is_the_one_that_gets_copies(tmp_path: Path) -> None:
    # Linux sends a copy before the original, with Don't Fragment set, and of what comes back too.
    outside = Capture(tmp_path / "outside.pcap")
    for n in range(1, 21):
        outside.out(ROUTER, LISTENER, n, 0, ttl=63, flags="DF")
        outside.out(ROUTER, GATEWAY, n, 0.00001, ttl=63)
        outside.back(GATEWAY, ROUTER, n, 0.001, ttl=63)
        outside.back(ROUTER, LISTENER, n, 0.00101, ttl=62, flags="DF")
    (finding,) = findings(tapsight.check(str(outside.written())), "A5")
    assert (finding["detector"], finding["collector"]["mac"]) == ("A5.forked", LISTENER)
    assert (finding["packets"], finding["in_scope"]) == (20, 20)


@pytest.mark.parametrize("first", ["copy", "original"])
def test_what_is_sent_on_and_also_back_is_a_copy(first: str, tmp_path: Path) -> None:
    outside, inside = Capture(tmp_path / "outside.pcap"), Capture(tmp_path / "inside.pcap")
    early, late = 0.00001, 0.00002
    copied, went_on = (early, late) if first == "copy" else (late, early)
    for n in range(1, 21):
        inside.out(HOST, ROUTER_INSIDE, n, 0, ttl=64)
        outside.out(ROUTER, GATEWAY, n, 0.00001, ttl=63)
        outside.back(GATEWAY, ROUTER, n, 0.001, ttl=63)
        outside.back(ROUTER, LISTENER, n, 0.001 + copied, ttl=62)
        inside.back(ROUTER_INSIDE, HOST, n, 0.001 + went_on, ttl=62)
    result = tapsight.check({"inside": inside.written(), "outside": outside.written()})
    (finding,) = findings(result, "A5")
    assert (finding["detector"], finding["collector"]["mac"]) == ("A5.forked", LISTENER)
    assert (finding["packets"], finding["in_scope"]) == (20, 20)
    assert {(each["tap"], each["role"]) for each in finding["evidence"]} == {
        ("inside", "original"),
        ("outside", "copy"),
    }


@pytest.mark.parametrize(("macs", "ttl"), [((ROUTER, GATEWAY), 62), ((GATEWAY, HOST), 61)])
def test_a_router_with_one_arm_copies_nothing(macs: tuple[str, str], ttl: int, tmp_path: Path) -> None:
    # The second tap is on the link that the router sends packets back to, or behind the next router.
    one, other = Capture(tmp_path / "one.pcap"), Capture(tmp_path / "other.pcap")
    for n in range(1, 21):
        one.out(HOST, ROUTER, n, 0, ttl=63)
        one.out(ROUTER, GATEWAY, n, 0.00001, ttl=62)
        other.out(*macs, n, 0.00002, ttl=ttl)
    assert tapsight.check({"one": one.written(), "other": other.written()}).findings.num_rows == 0


def test_a_redirection_is_found(lab: Range) -> None:
    files, truth = lab(implants=(Implant("redirect"),))
    (finding,) = findings(check(files), "A5")
    assert finding["detector"] == "A5.readdressed"
    assert finding["kind"] == "diversion"
    assert finding["collector"]["address"] == COLLECTOR
    assert "203.0.113.20" in finding["sentence"]
    assert 0.9 * truth.packets("redirect") < finding["packets"] <= truth.packets("redirect")
    # The tap inside saw all of them before they were rewritten, or else they would not be known for it.
    assert finding["in_scope"] >= finding["packets"]
    assert {truth.role(frame) for frame in finding["evidence"] if frame["role"] == "redirected"} == {
        "redirect"
    }


def test_a_redirection_behind_translation_is_found(lab: Range) -> None:
    files, _ = lab(implants=(Implant("redirect"),), nat=True)
    (finding,) = findings(check(files), "A5")
    assert finding["collector"]["address"] == COLLECTOR


def test_a_late_copy_is_found(lab: Range) -> None:
    files, truth = lab(implants=(Implant("late"),))
    (finding,) = findings(check(files), "A5")
    assert finding["detector"] == "A5.late"
    assert 0.6 * truth.packets("late") < finding["packets"] <= truth.packets("late")
    for frame in finding["evidence"]:
        assert (truth.role(frame) == "late") == (frame["role"] == "copy"), frame


def test_copies_in_a_tunnel_are_found_later_too(lab: Range) -> None:
    # By default the window is 5 seconds.
    files, truth = lab(implants=(Implant("mirror", lag=6_000_000_000, only="voice"),))
    (finding,) = findings(check(files), "A1")
    assert 0.9 * truth.packets("mirror") < finding["packets"] <= truth.packets("mirror")


def test_a_fork_is_found_by_a_tap_that_sees_both_sides(lab: Range) -> None:
    files, truth = lab(implants=(Implant("fork"),), confounders=(Confounder("routed-span"),))
    (finding,) = findings(check(files), "A5")
    assert finding["detector"] == "A5.forked"
    assert 0.6 * truth.packets("fork") < finding["packets"] <= truth.packets("fork")


def test_what_is_sealed_is_not_judged_by_those_that_look_inside(lab: Range) -> None:
    files, truth = lab(implants=(Implant("mirror", tunnel="esp"),))
    (row,) = (row for row in check(files).verdicts.to_pylist() if row["check"] == "A1")
    assert row["in_scope"] - row["judged"] >= truth.packets("mirror") > 0
    assert "encrypted tunnels" in row["reason"]


def test_a_copy_to_another_vlan_leaves_doubt_unless_the_policy_lists_vlans(lab: Range) -> None:
    files, _ = lab(implants=(Implant("fork", to="vlan", vlan=333),))
    result = check(files)
    verdicts = {row["check"]: row for row in result.verdicts.to_pylist()}
    assert verdicts["A5"]["verdict"] == "unknown"
    assert "another VLAN" in verdicts["A5"]["reason"]
    assert result.answers[0].answer == "cannot tell"
    judged = check(files, files.policy)
    assert "A8" in {row["check"] for row in judged.verdicts.to_pylist() if row["verdict"] == "fail"}
    assert judged.answers[0].answer == "yes"


def test_findings_keep_their_ids(lab: Range) -> None:
    files, _ = lab(implants=(Implant("mirror"),))
    assert check(files).findings.column("id") == check(files).findings.column("id")


@pytest.mark.parametrize(("ttl", "findings"), [(1, 0), (64, 1)])
def test_what_cannot_be_forwarded_was_not_redirected(ttl: int, findings: int, tmp_path: Path) -> None:
    # A router sends its neighbours equal packets and numbers them alike; with a TTL that lets them through, it is a relay.
    from scapy.layers.inet import IP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw
    from scapy.utils import PcapWriter

    path = tmp_path / "flood.pcap"
    with PcapWriter(str(path), linktype=1) as writer:
        for number in range(1, 20):
            for neighbour in (2, 3):
                packet = Ether() / IP(src="10.0.0.1", dst=f"10.0.0.{neighbour}", id=number, ttl=ttl, proto=89)
                packet = packet / Raw(bytes([number]) + bytes(range(60)))
                packet.time = number + neighbour / 100
                writer.write(packet)
    assert tapsight.check(str(path)).findings.num_rows == findings


MEMORY = 4096
"""So little that the engine remembers 1,024 packets, as it does at least."""


@pytest.mark.parametrize(("packets", "sampled"), [(400, False), (20_000, True)])
def test_when_memory_runs_short_a_sample_is_compared_and_said(
    packets: int, sampled: bool, tmp_path: Path
) -> None:
    # All within a second; of every tenth packet, the other tap sees a copy in a tunnel.
    from test_bounds import ipv4, pcap

    def datagram(n: int) -> bytes:
        udp = (5000).to_bytes(2, "big") + (53).to_bytes(2, "big") + (48).to_bytes(2, "big") + bytes(2)
        return ipv4(1 + n % 65535, 17, udp + n.to_bytes(8, "big") * 5)

    def tunnelled(n: int) -> bytes:
        return ipv4(n, 47, bytes.fromhex("00000800") + datagram(n), net=11)

    inside, outside = tmp_path / "inside.pcap", tmp_path / "outside.pcap"
    inside.write_bytes(pcap(datagram(n) for n in range(packets)))
    outside.write_bytes(pcap(tunnelled(n) if n % 10 == 0 else datagram(n) for n in range(packets)))
    result = tapsight.check({"inside": str(inside), "outside": str(outside)}, memory=MEMORY)
    verdict = {row["check"]: row for row in result.verdicts.to_pylist()}["A1"]
    claims = [row for row in result.claims.to_pylist() if row["detector"].startswith("A1")]
    found = sum(row["packets"] for row in claims)
    assert verdict["in_scope"] == 2 * packets
    if not sampled:
        assert (verdict["judged"], found) == (2 * packets, packets // 10)
        return
    assert "memory for recent packets was reached at 1970-01-01T00:00:00" in verdict["reason"]
    assert verdict["coverage"] < 0.5
    # Both taps keep the same packets: of the copies, about the share that was compared is found, and more than two packets.
    copies = packets // 10
    assert found > 2
    assert abs(found / copies - verdict["coverage"]) < 0.05
    assert all(row["judged"] <= row["in_scope"] for row in claims)
