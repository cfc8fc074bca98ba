"""Copies in headers of lawful intercept (A3), in samples (A6), in encrypted tunnels (A7), and in VLANs that are new (A8)."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import PcapWriter

import tapsight
from tapsight.detectors.a3 import hashed

SUBJECT, PEER, ROUTER, SINK = "192.0.2.10", "198.51.100.20", "192.0.2.1", "203.0.113.66"
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}


def write(path: Path, frames: Iterable[tuple[float, Any]]) -> str:
    with PcapWriter(str(path), linktype=1) as writer:
        for time, frame in sorted(frames, key=lambda each: each[0]):
            frame.time = 1_700_000_000 + time
            writer.write(frame)
    return str(path)


def found(result: tapsight.Result, detector: str) -> list[tuple[str, str, int]]:
    rows = result.findings.select(["detector", "severity", "packets"]).to_pylist()
    return [tuple(row.values()) for row in rows if (row["detector"] or "").startswith(detector)]


def datagram(number: int, *, src: str = SUBJECT, dst: str = PEER, size: int = 100, port: int = 4000) -> Any:
    """A packet of the subject: numbered, and with a payload of its own."""
    payload = struct.pack("!I", number) * (size // 4)
    return IP(src=src, dst=dst, id=number % 65535 + 1) / UDP(sport=port, dport=port) / Raw(payload)


# --- A3 ---------------------------------------------------------------------------------------------------------------


def intercepted(header: bytes, number: int, dst: str = SINK) -> Any:
    outer = IP(src=ROUTER, dst=dst) / UDP(sport=30030, dport=30030)
    return Ether(**MACS) / outer / Raw(header + bytes(datagram(number)))


JMIRROR = struct.pack("!II", 17, 1)  # intercept id and session, 32 bits each
CISCO = struct.pack("!I", 17)  # content connection id, 32 bits


@pytest.mark.parametrize("header", [JMIRROR, CISCO], ids=["8 bytes", "4 bytes"])
@pytest.mark.parametrize(("packets", "wanted"), [(19, []), (20, [("A3.intercept", "medium", 20)])])
def test_twenty_packets_in_the_header_of_an_intercept(
    header: bytes, packets: int, wanted: Any, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.pcap", [(n / 10, intercepted(header, n)) for n in range(packets)])
    assert found(tapsight.check(path), "A3") == wanted


def test_an_intercept_whose_packets_also_pass_by_themselves_is_severe(tmp_path: Path) -> None:
    bare = [(n / 10, Ether(**MACS) / datagram(n)) for n in range(40)]
    copies = [(n / 10 + 0.001, intercepted(JMIRROR, n)) for n in range(40)]
    result = tapsight.check(write(tmp_path / "a.pcap", bare + copies))
    assert found(result, "A3") == [("A3.intercept", "high", 40)]
    (sentence,) = (
        text for text in result.findings["sentence"].to_pylist() if "lawful intercept with id 17" in text
    )
    assert ROUTER in sentence
    assert SINK in sentence


def test_a_counter_before_each_packet_is_no_intercept(tmp_path: Path) -> None:
    frames = [(n / 10, intercepted(struct.pack("!II", n, 1), n)) for n in range(60)]
    assert found(tapsight.check(write(tmp_path / "a.pcap", frames)), "A3") == []


def test_a_frame_captured_twice_counts_once(tmp_path: Path) -> None:
    frames = [(n / 10 + again / 1e4, intercepted(JMIRROR, n)) for n in range(30) for again in (0, 1)]
    assert found(tapsight.check(write(tmp_path / "a.pcap", frames)), "A3") == [("A3.intercept", "medium", 30)]


@pytest.mark.parametrize(
    ("mediation", "listed"),
    [
        (f"['{SINK}']", True),
        ("['mediation']", True),
        ("['192.0.2.40']", False),
        (f"[{{ device = '{SINK}', exporter = '{ROUTER}', ids = ['{{17}}'] }}]", True),
        (f"[{{ device = '{SINK}', ids = ['{{18}}'] }}]", False),
        (f"[{{ device = '{SINK}', exporter = '192.0.2.99' }}]", False),
        ("[]", False),
    ],
)
def test_a_policy_lists_mediation_by_device_exporter_and_hash_of_the_id(
    mediation: str, listed: bool, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.pcap", [(n / 10, intercepted(JMIRROR, n)) for n in range(30)])
    for intercept in (17, 18):
        mediation = mediation.replace(f"{{{intercept}}}", hashed(intercept, "pepper"))
    policy = tmp_path / "policy.toml"
    text = f"[sets]\nmediation = ['203.0.113.0/24']\n[checks.A3]\nsalt = 'pepper'\nmediation = {mediation}\n"
    policy.write_text(text)
    result = tapsight.check(path, policy=policy)
    assert found(result, "A3") == ([] if listed else [("A3.intercept", "medium", 30)])


def test_ids_in_the_clear_are_refused() -> None:
    from tapsight.policy import Policy, PolicyError

    with pytest.raises(PolicyError, match="32 hexadecimal digits"):
        Policy.loads("[checks.A3]\nmediation = [{ device = '192.0.2.1', ids = ['17'] }]\n")


# --- A6 ---------------------------------------------------------------------------------------------------------------

COLLECTOR = "203.0.113.50"


def sflow(frame: bytes, number: int, rate: int) -> Any:
    """An sFlow version 5 datagram with one flow sample of one raw header (sflow_version_5.txt, section 5)."""
    head = frame[:128]
    padded = head + bytes(-len(head) % 4)
    record = struct.pack("!IIII", 1, len(frame) + 4, 4, len(head)) + padded
    records = struct.pack("!II", 1, len(record)) + record
    sample = struct.pack("!8I", number, 1, rate, number * rate, 0, 1, 2, 1) + records
    datagram_ = struct.pack("!II4sIIII", 5, 1, bytes([192, 0, 2, 1]), 0, number, number * 10, 1)
    payload = datagram_ + struct.pack("!II", 1, len(sample)) + sample
    return (
        Ether(**MACS)
        / IP(src=ROUTER, dst=COLLECTOR, id=number % 65535)
        / UDP(sport=6343, dport=6343)
        / Raw(payload)
    )


def ipfix(frame: bytes, number: int) -> Any:
    """An IPFIX message with a template of dataLinkFrameSection (315) alone and a record of it (RFC 7011, section 3)."""
    template = struct.pack("!HHHHHH", 2, 12, 256, 1, 315, 65535)
    section = bytes([len(frame)]) + frame
    data = struct.pack("!HH", 256, 4 + len(section)) + section
    head = struct.pack("!HHIII", 10, 16 + len(template) + len(data), 1_700_000_000, number, 7)
    payload = head + template + data
    return (
        Ether(**MACS)
        / IP(src=ROUTER, dst=COLLECTOR, id=number % 65535)
        / UDP(sport=4739, dport=4739)
        / Raw(payload)
    )


def sampled(path: Path, *, packets: int, one_in: int, rate: int | None, seen: bool = True) -> str:
    """A conversation of so many packets, and exports of one in so many of them."""
    frames: list[tuple[float, Any]] = []
    for n in range(packets):
        frame = Ether(**MACS) / datagram(n)
        if seen:
            frames.append((n / 100, frame))
        if n % one_in == 0:
            export = ipfix(bytes(frame), n) if rate is None else sflow(bytes(frame), n, rate)
            frames.append((n / 100 + 0.001, export))
    return write(path, frames)


@pytest.mark.parametrize(
    ("rate", "one_in", "seen", "wanted"),
    [
        (1, 1, True, [("A6.full-copy", "high", 200)]),
        # Whatever the exporter says, what can be measured counts.
        (1000, 1, True, [("A6.full-copy", "high", 200)]),
        (None, 1, True, [("A6.full-copy", "high", 200)]),
        (None, 4, True, [("A6.full-copy", "high", 50)]),
        (None, 5, True, []),
        (1000, 100, True, []),
        (1, 1, False, [("A6.full-copy", "medium", 200)]),
        (1000, 1, False, []),
        (None, 1, False, []),
    ],
)
def test_samples_are_a_copy_if_they_are_nearly_all_packets(
    rate: int | None, one_in: int, seen: bool, wanted: Any, tmp_path: Path
) -> None:
    path = sampled(tmp_path / "a.pcap", packets=200, one_in=one_in, rate=rate, seen=seen)
    result = tapsight.check(path)
    assert found(result, "A6") == wanted
    assert ["A6.sampled"] * (not wanted) == [
        name for name in result.claims["detector"].to_pylist() if name == "A6.sampled"
    ]
    (row,) = (row for row in result.verdicts.to_pylist() if row["check"] == "A6")
    # What IPFIX exporters sample cannot be told without the packets.
    assert row["in_scope"] - row["judged"] == (200 if rate is None and not seen else 0)


def test_short_conversations_do_not_tell_the_rate(tmp_path: Path) -> None:
    # 100 conversations of 15 packets each, of which one packet was sampled: as of a million that were not.
    frames: list[tuple[float, Any]] = []
    for n in range(1500):
        frame = Ether(**MACS) / datagram(n, port=5000 + n // 15)
        frames.append((n / 100, frame))
        if n % 15 == 7:
            frames.append((n / 100 + 0.001, ipfix(bytes(frame), n)))
    assert found(tapsight.check(write(tmp_path / "a.pcap", frames)), "A6") == []


def test_a_datagram_on_two_taps_counts_once(tmp_path: Path) -> None:
    first = sampled(tmp_path / "a.pcap", packets=50, one_in=1, rate=1)
    second = sampled(tmp_path / "b.pcap", packets=50, one_in=1, rate=1)
    assert found(tapsight.check({"a": first, "b": second}), "A6") == [("A6.full-copy", "high", 50)]


@pytest.mark.parametrize(
    ("collectors", "one_in", "wanted"),
    [
        (f"['{COLLECTOR}']", 1, ["A6.full-copy"]),
        (f"[{{ collector = '{COLLECTOR}', full = true }}]", 1, []),
        (f"['{COLLECTOR}']", 100, []),
        ("['192.0.2.50']", 100, ["A6.unlisted"]),
        ("[]", 1, ["A6.full-copy"]),
    ],
)
def test_a_policy_lists_collectors(collectors: str, one_in: int, wanted: list[str], tmp_path: Path) -> None:
    path = sampled(tmp_path / "a.pcap", packets=200, one_in=one_in, rate=1000)
    (tmp_path / "policy.toml").write_text(f"[checks.A6]\ncollectors = {collectors}\n")
    result = tapsight.check(path, policy=tmp_path / "policy.toml")
    assert [name for name, _, _ in found(result, "A6")] == wanted


def test_hep_copies_messages(tmp_path: Path) -> None:
    chunks = b"".join(
        struct.pack("!HHH", 0, kind, 6 + len(value)) + value
        for kind, value in (
            (1, b"\x02"),
            (2, b"\x11"),
            (3, bytes([192, 0, 2, 10])),
            (4, bytes([198, 51, 100, 20])),
            (7, struct.pack("!H", 5060)),
            (8, struct.pack("!H", 5060)),
            (15, b"OPTIONS sip:a@example.net SIP/2.0\r\n\r\n"),
        )
    )
    payload = b"HEP3" + struct.pack("!H", 6 + len(chunks)) + chunks
    frames = [
        (
            n / 10,
            Ether(**MACS)
            / IP(src=ROUTER, dst=COLLECTOR, id=n + 1)
            / UDP(sport=9060, dport=9060)
            / Raw(payload),
        )
        for n in range(20)
    ]
    result = tapsight.check(write(tmp_path / "a.pcap", frames))
    assert found(result, "A6") == [("A6.signalling-copy", "medium", 20)]


# --- A8 ---------------------------------------------------------------------------------------------------------------


def in_vlans(path: Path, vlan: int, begin: float, *, copy: bool) -> str:
    """Two minutes of VLAN 210, and VLAN ``vlan`` from ``begin`` on, with copies of it or with packets of its own."""
    from scapy.layers.l2 import Dot1Q

    frames: list[tuple[float, Any]] = []
    for n in range(240):
        frames.append((n / 2, Ether(**MACS) / Dot1Q(vlan=210) / datagram(n)))
        if n / 2 >= begin:
            other = datagram(n) if copy else datagram(n + 1000, port=6000)
            frames.append(
                (n / 2 + 0.001, Ether(src="02:00:00:00:00:09", dst=MACS["dst"]) / Dot1Q(vlan=vlan) / other)
            )
    return write(path, frames)


@pytest.mark.parametrize(
    ("policy", "begin", "copy", "wanted"),
    [
        ("", 70, True, [("high", 100)]),
        ("", 50, True, []),
        ("", 70, False, []),
        ("learn = 80", 70, True, []),
        ("vlans = [210]", 0, True, [("high", 240)]),
        ("vlans = [210]", 0, False, [("medium", 240)]),
        ("vlans = [210, 999]", 70, True, []),
        ("mpls = [16]", 70, True, [("high", 100)]),
    ],
)
def test_a_new_vlan_matters_if_it_carries_copies_or_is_not_listed(
    policy: str, begin: float, copy: bool, wanted: Any, tmp_path: Path
) -> None:
    path = in_vlans(tmp_path / "a.pcap", 999, begin, copy=copy)
    (tmp_path / "policy.toml").write_text(f"[checks.A8]\n{policy}\n")
    rows = tapsight.check(path, policy=tmp_path / "policy.toml").findings.to_pylist()
    mine = [row for row in rows if row["check"] == "A8"]
    assert [(row["severity"], row["packets"]) for row in mine] == wanted
    assert all("VLAN 999" in row["sentence"] for row in mine)


def test_a_short_capture_shows_nothing_new(tmp_path: Path) -> None:
    frames = [(n / 10, Ether(**MACS) / datagram(n)) for n in range(20)]
    from scapy.layers.l2 import Dot1Q

    frames += [(n / 10, Ether(**MACS) / Dot1Q(vlan=5) / datagram(n + 100)) for n in range(20)]
    rows = {
        row["check"]: row for row in tapsight.check(write(tmp_path / "a.pcap", frames)).verdicts.to_pylist()
    }
    assert (rows["A8"]["verdict"], rows["A8"]["in_scope"], rows["A8"]["judged"]) == ("unknown", 20, 0)


# --- Many of a kind ---------------------------------------------------------------------------------------------------


def test_of_many_findings_of_a_kind_fifty_are_listed_and_none_of_another_is_hidden() -> None:
    from tables import claim, examination, mirror

    from tapsight._check import judge

    flood = [mirror(tunnel_id=n, packets=10 + n) for n in range(4_096)]
    result = judge(examination(claims=[*flood, claim("A5.forked", packets=7)]), None)
    rows = result.findings.select(["detector", "packets", "sentence"]).to_pylist()
    listed = [row["packets"] for row in rows if row["detector"] == "A1.encapsulated-sibling"]
    # The fifty largest, and the sum of 10 + n for n from 0 to 4,045.
    assert sorted(listed)[:-1] == [10 + n for n in range(4_046, 4_096)]
    assert max(listed) == sum(10 + n for n in range(4_046))
    assert [row["packets"] for row in rows if row["detector"] == "A5.forked"] == [7]
    assert sum("4,046 more findings of A1.encapsulated-sibling" in row["sentence"] for row in rows) == 1
    assert {row["check"]: row["findings"] for row in result.verdicts.to_pylist()}["A1"] == 4_096


def test_evidence_is_of_all_the_time(tmp_path: Path) -> None:
    frames = [(n, intercepted(JMIRROR, n)) for n in range(5_000)]
    result = tapsight.check(write(tmp_path / "a.pcap", frames))
    (row,) = (row for row in result.claims.to_pylist() if row["detector"] == "A3.intercept")
    numbers = [frame["frame"] for frame in row["evidence"]]
    assert numbers == sorted(set(numbers))
    assert 55 <= len(numbers) <= 80
    gaps = [after - before for before, after in itertools.pairwise(numbers)]
    assert set(gaps[:29]) == {1}
    # No stretch of the time is without: half of 48 copies kept, one in 128 of 5,000.
    assert max(gaps) <= 256
