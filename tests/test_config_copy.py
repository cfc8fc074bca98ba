"""Configurations that devices are told to send away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import brief, ether, findings
from scapy.asn1.asn1 import ASN1_INTEGER, ASN1_OID
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.snmp import SNMP, SNMPget, SNMPset, SNMPvarbind

DEVICE, ATTACKER, SERVER = "192.0.2.1", "198.51.100.7", "203.0.113.9"
# ccCopyProtocol.1 is tftp(1), CISCO-CONFIG-COPY-MIB.
COPY, WRITE_NET, NAME = (
    "1.3.6.1.4.1.9.9.96.1.1.1.1.2.1",
    "1.3.6.1.4.1.9.2.1.55.203.0.113.9",
    "1.3.6.1.2.1.1.5.0",
)


def snmp(oid: str, at: float = 0.0, kind: Any = SNMPset, community: str = "private") -> Any:
    binding = SNMPvarbind(oid=ASN1_OID(oid), value=ASN1_INTEGER(1))
    message = SNMP(version="v2c", community=community, PDU=kind(varbindlist=[binding]))
    return ether(IP(src=ATTACKER, dst=DEVICE) / UDP(sport=40000, dport=161) / message, at=at)


def tftp(at: float, src: str = DEVICE, name: str = "tac.cfg") -> Any:
    request = b"\0\x02" + name.encode() + b"\0octet\0"
    return ether(IP(src=src, dst=SERVER) / UDP(sport=50000, dport=69) / request, at=at)


def ftp(at: float) -> Any:
    segment = TCP(sport=50000, dport=21, flags="PA") / b"STOR tac.cfg\r\n"
    return ether(IP(src=DEVICE, dst=SERVER) / segment, at=at)


SET, COPIED = ("D4.set", "medium"), ("D4.copied", "high")


@pytest.mark.parametrize(
    ("packets", "wanted"),
    [
        ([snmp(COPY)], [SET]),
        ([snmp(WRITE_NET)], [SET]),
        ([snmp(COPY), tftp(2)], [COPIED, SET]),
        ([snmp(COPY), ftp(2)], [COPIED, SET]),
        ([snmp(COPY), tftp(61)], [SET]),
        ([snmp(COPY), tftp(2, src="192.0.2.2")], [SET]),
        ([tftp(0), snmp(COPY, 1)], [SET]),
        ([snmp(NAME), tftp(2)], []),
        ([snmp(COPY, kind=SNMPget), tftp(2)], []),
    ],
)
def test_requests_and_transfers(packets: list[Any], wanted: Any, tmp_path: Path) -> None:
    assert sorted(brief(findings(packets, tmp_path, "D4"))) == wanted


def test_sentences_name_all_and_no_community(tmp_path: Path) -> None:
    packets = [snmp(COPY, community="s3cret"), tftp(2, name="x\x1b[31m.cfg")]
    found = {row["detector"]: row["sentence"] for row in findings(packets, tmp_path, "D4", taps=2)}
    assert f"{ATTACKER} told {DEVICE} over SNMP to copy its configuration, 1 time" in found["D4.set"]
    assert f"(x\\x1b[31m.cfg) with {SERVER}" in found["D4.copied"]
    assert f"{DEVICE} was told" in found["D4.copied"]
    assert "s3cret" not in str(found)
