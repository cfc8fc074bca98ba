"""SYNful Knock: what the published scanners send and look for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from messages_lab import brief, ether, findings
from scapy.layers.inet import IP, TCP

ROUTER, CLIENT = "192.0.2.1", "198.51.100.7"
# The example of the scanner: 0x7528092b - 0x75341b69 is -0xC123E, so the acknowledgment less one differs by 0xC123D.
SEQ, ACK = 0x7528092B, 0x75341B69
MSS_ALONE = [("MSS", 1460)]
# 02 04 05 b4 01 01 04 02 01 03 03 05
OPTIONS = [("MSS", 1460), ("NOP", None), ("NOP", None), ("SAckOK", b""), ("NOP", None), ("WScale", 5)]


def knock(seq: int = 0xC123D + 5, ack: int = 5, port: int = 80, at: float = 0.0) -> Any:
    return ether(
        IP(src=CLIENT, dst=ROUTER) / TCP(sport=40000, dport=port, flags="S", seq=seq, ack=ack), at=at
    )


def answer(seq: int = SEQ, ack: int = ACK, options: Any = MSS_ALONE, port: int = 80, at: float = 0.1) -> Any:
    segment = TCP(sport=port, dport=40000, flags="SA", seq=seq, ack=ack, options=options)
    return ether(IP(src=ROUTER, dst=CLIENT) / segment, at=at)


KNOCK, ANSWER, IMPLANT = ("D1.knock", "medium"), ("D1.answer", "high"), ("D1.implant", "critical")


@pytest.mark.parametrize(
    ("packets", "wanted"),
    [
        ([knock()], [KNOCK]),
        ([knock(5, 0xC123D + 5)], [KNOCK]),
        # Around zero.
        ([knock(0xC123C, 0xFFFFFFFF)], [KNOCK]),
        ([answer()], [ANSWER]),
        # seq - ack is 0xC123C.
        ([answer(0xC123C + 9, 9)], [ANSWER]),
        ([answer(options=OPTIONS)], [IMPLANT]),
        ([knock(), answer()], [IMPLANT, KNOCK]),
        ([knock(), answer(at=61)], [ANSWER, KNOCK]),
        # No difference, another port, an acknowledgment of nothing; options or numbers of others.
        ([knock(0xC123D, 0)], []),
        ([knock(0xC123E + 5, 5)], []),
        ([knock(port=443)], []),
        ([answer(ack=ACK + 1)], []),
        ([answer(port=443)], []),
        ([answer(ack=7, options=OPTIONS)], []),
    ],
)
def test_knocks_and_answers(packets: list[Any], wanted: Any, tmp_path: Path) -> None:
    assert sorted(brief(findings(packets, tmp_path, "D1"))) == sorted(wanted)


def test_two_taps_see_one_implant(tmp_path: Path) -> None:
    found = findings([knock(), answer()], tmp_path, "D1", taps=2)
    assert sorted(brief(found)) == [IMPLANT, KNOCK]
    (sentence,) = (row["sentence"] for row in found if row["detector"] == "D1.implant")
    assert ROUTER in sentence
    assert CLIENT in sentence
