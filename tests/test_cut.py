"""What a capture that cuts packets does not show is not judged: nothing passes by it, and nothing fails by it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.l2 import Ether

import tapsight
from tapsight.lab import Generated, Implant, Scenario, generate


def made(tmp_path: Path, implant: Implant, snaplen: int | None = None) -> Generated:
    dials = {} if snaplen is None else {"snaplen": snaplen}
    return generate(
        Scenario(seconds=8, calls=3, downloads=6, implants=(implant,), **dials), tmp_path / str(snaplen)
    )


def checked(files: Generated, policy: Path | str | None = None) -> tapsight.Result:
    return tapsight.check({"inside": str(files.inside), "outside": str(files.outside)}, policy=policy)


def verdict(result: tapsight.Result, check: str) -> str:
    (row,) = [row for row in result.verdicts.to_pylist() if row["check"] == check]
    return str(row["verdict"])


@pytest.mark.parametrize(("tunnel", "snap"), [("erspan2", 96), ("vxlan", 110), ("gre", 64)])
def test_a_copy_that_was_cut_is_not_an_injected_segment(tmp_path: Path, tunnel: str, snap: int) -> None:
    # Of its 20 to 63 bytes of payload there is a beginning to compare, but no id of 64 bytes.
    result = checked(made(tmp_path, Implant("mirror", tunnel=tunnel, snap=snap)))
    assert [each for each in result.findings["detector"].to_pylist() if each and each.startswith("B10")] == []


@pytest.mark.parametrize(
    ("check", "implant", "snaplen"),
    [
        # An sFlow datagram with 128 bytes of each of some packets.
        ("A6", Implant("sflow-export"), 128),
        # Objects of SNMP behind community and version.
        ("D4", Implant("config-copy"), 64),
        # TCAP behind M3UA and SCCP.
        ("B20", Implant("mobile-query"), 96),
        # Headers and description of an INVITE.
        ("A4", Implant("siprec"), 128),
        # What a service says first is behind 54 bytes of headers, and more with options.
        ("C2", Implant("router-service"), 64),
        # The type of ICMPv6 is at byte 54.
        ("B5", Implant("rogue-ra"), 50),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_messages_that_were_cut_are_not_judged(
    tmp_path: Path, check: str, implant: Implant, snaplen: int
) -> None:
    whole = made(tmp_path, implant)
    assert verdict(checked(whole, whole.policy), check) == "fail"
    files = made(tmp_path, implant, snaplen)
    assert verdict(checked(files, files.policy), check) == "unknown"


def test_ports_of_later_fragments_are_not_zero(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        """
        [network]
        infrastructure = ["198.51.100.0/28"]
        [checks.C4]
        allow = [{ to = "192.0.2.9", ports = [2152], protocol = "udp" }]
        """
    )
    sent = IP(src="198.51.100.1", dst="192.0.2.9", id=77) / UDP(sport=2000, dport=2152) / (b"z" * 2500)
    parts = [
        bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / part) for part in fragment(sent, 1400)
    ]
    assert len(parts) == 2
    for name, frames in {"in-order": parts, "later-first": parts[::-1], "first-missing": parts[1:]}.items():
        header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
        records = [
            struct.pack("<IIII", 1_700_000_000, at, len(frame), len(frame)) + frame
            for at, frame in enumerate(frames)
        ]
        (tmp_path / f"{name}.pcap").write_bytes(header + b"".join(records))
        result = tapsight.check(tmp_path / f"{name}.pcap", policy=tmp_path / "p.toml")
        assert verdict(result, "C4") != "fail", name
        assert 0 not in result.flows["src_port"].to_pylist()
