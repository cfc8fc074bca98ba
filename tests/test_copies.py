"""Copies in headers of lawful intercept (A3), in samples (A6), in encrypted tunnels (A7), and in VLANs that are new (A8)."""

from __future__ import annotations

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
