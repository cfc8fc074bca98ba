"""Files that leave a router (A9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.contrib.ospf import OSPF_Hdr, OSPF_Hello
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

import tapsight

ROUTER, SERVER, HOST = "198.51.100.1", "203.0.113.9", "192.0.2.7"
PCAP = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")


def tftp(src: str, operation: int, name: bytes) -> Any:
    request = bytes([0, operation]) + name + b"\0octet\0"
    return IP(src=src, dst=SERVER) / UDP(sport=50000, dport=69) / Raw(request)


def ftp(src: str, line: bytes) -> Any:
    return IP(src=src, dst=SERVER) / TCP(sport=50000, dport=21, flags="PA", seq=1) / Raw(line)


def content(src: str) -> Any:
    return IP(src=src, dst=SERVER) / TCP(sport=50001, dport=20, flags="PA", seq=1) / Raw(PCAP + bytes(200))


def http(src: str, line: bytes) -> Any:
    head = line + b" HTTP/1.1\r\nHost: example.net\r\nContent-Length: 3\r\n\r\nabc"
    return IP(src=src, dst=SERVER) / TCP(sport=50002, dport=80, flags="PA", seq=1) / Raw(head)


OSPF = IP(src=ROUTER, dst="224.0.0.5", ttl=1) / OSPF_Hdr(src=ROUTER) / OSPF_Hello()
EXCEEDED = IP(src=ROUTER, dst=HOST) / ICMP(type=11) / IP(src=HOST, dst=SERVER, ttl=1) / UDP() / Raw(bytes(8))

TOLD = f"[network]\ninfrastructure = ['{ROUTER}']\n"


def found(packets: list[Any], policy: str, folder: Path) -> list[tuple[str, str]]:
    frames = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet for packet in packets]
    for n, frame in enumerate(frames):
        frame.time = 1_700_000_000 + n
    wrpcap(str(folder / "a.pcap"), frames)
    (folder / "policy.toml").write_text(policy)
    result = tapsight.check(str(folder / "a.pcap"), policy=folder / "policy.toml" if policy else None)
    rows = result.findings.select(["detector", "severity"]).to_pylist()
    return [(row["detector"], row["severity"]) for row in rows if (row["detector"] or "").startswith("A9")]


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        (tftp(ROUTER, 2, b"mycap.pcap"), [("A9.capture", "high")]),
        (tftp(ROUTER, 2, b"running-config"), [("A9.configuration", "medium")]),
        (tftp(ROUTER, 2, b"r1-confg"), [("A9.configuration", "medium")]),
        (tftp(ROUTER, 2, b"core"), [("A9.file", "medium")]),
        (tftp(ROUTER, 1, b"image.bin"), []),
        (ftp(ROUTER, b"STOR tac.pcap\r\n"), [("A9.capture", "high")]),
        (ftp(ROUTER, b"RETR image.bin\r\n"), []),
        (content(ROUTER), [("A9.capture", "high")]),
        (http(ROUTER, b"PUT /a"), [("A9.file", "medium")]),
        (http(ROUTER, b"GET /a"), []),
        (tftp(HOST, 2, b"mycap.pcap"), []),
        (content(HOST), []),
        (http(HOST, b"POST /a"), []),
    ],
    ids=str,
)
def test_what_a_router_sends(packet: Any, wanted: Any, tmp_path: Path) -> None:
    assert found([packet], TOLD, tmp_path) == wanted


@pytest.mark.parametrize("sign", [OSPF, EXCEEDED, None], ids=["OSPF", "time exceeded", "nothing"])
def test_routers_are_known_by_what_they_send_if_nobody_says(sign: Any, tmp_path: Path) -> None:
    packets = [tftp(ROUTER, 2, b"mycap.pcap"), tftp(ROUTER, 2, b"x-confg"), *([sign] if sign else [])]
    wanted = [("A9.capture", "high"), ("A9.configuration", "low")] if sign else []
    assert found(packets, "", tmp_path) == wanted
    (row,) = (
        row for row in tapsight.check(str(tmp_path / "a.pcap")).verdicts.to_pylist() if row["check"] == "A9"
    )
    assert (row["verdict"], row["judged"]) == (("fail", 2) if sign else ("unknown", 0))


@pytest.mark.parametrize(("name", "wanted"), [(b"r1-confg", []), (b"1.pcap", [("A9.capture", "high")])])
def test_servers_may_have_configurations_but_no_captures(name: bytes, wanted: Any, tmp_path: Path) -> None:
    policy = f"{TOLD}[checks.A9]\nservers = ['{SERVER}']\n"
    assert found([tftp(ROUTER, 2, name)], policy, tmp_path) == wanted


@pytest.mark.parametrize(
    ("client", "segments", "back", "wanted"),
    [
        (ROUTER, 800, 5, [("A9.ssh", "medium")]),
        (ROUTER, 600, 5, []),
        (ROUTER, 800, 120, []),
        (HOST, 800, 5, []),
    ],
    ids=["much", "little", "as much back", "of a host"],
)
def test_much_over_ssh(client: str, segments: int, back: int, wanted: Any, tmp_path: Path) -> None:
    # 800 segments of 1,400 bytes are 1.1 MB.
    def segment(src: str, dst: str, sport: int, dport: int, n: int, data: bytes) -> Any:
        return (
            IP(src=src, dst=dst, id=n + 1)
            / TCP(sport=sport, dport=dport, flags="PA", seq=n * 1400 + 1)
            / Raw(data)
        )

    packets = [
        segment(SERVER, client, 22, 50000, 0, b"SSH-2.0-OpenSSH_9.6\r\n"),
        segment(client, SERVER, 50000, 22, 0, b"SSH-2.0-Cisco-1.25\r\n"),
        *(segment(client, SERVER, 50000, 22, n, n.to_bytes(4, "big") * 350) for n in range(1, segments)),
        *(segment(SERVER, client, 22, 50000, n, n.to_bytes(4, "big") * 350) for n in range(1, back)),
    ]
    assert found(packets, TOLD, tmp_path) == wanted


def test_a_web_of_uploads_does_not_crowd_out_a_router(tmp_path: Path) -> None:
    packets = [
        http(f"10.{n >> 8}.{n & 255}.1", b"POST /x%d" % n)
        if n % 2
        else tftp(f"10.{n >> 8}.{n & 255}.1", 2, b"f%d" % n)
        for n in range(10_000)
    ]
    assert found([*packets, tftp(ROUTER, 2, b"mycap.pcap")], TOLD, tmp_path) == [("A9.capture", "high")]


def test_names_are_escaped_where_they_are_shown(tmp_path: Path) -> None:
    found([tftp(ROUTER, 2, b"\x1b[31mcap.pcap")], TOLD, tmp_path)
    result = tapsight.check(str(tmp_path / "a.pcap"), policy=tmp_path / "policy.toml")
    from tapsight.report_text import render

    assert "\x1b" not in render(result)
