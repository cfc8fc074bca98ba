"""Packets of scapy through a check: what its detectors find in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

import tapsight

A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
START = 1_760_000_000


def ether(packet: Any, src: str = A, dst: str = B, at: float = 0.0) -> Any:
    """The packet in a frame, captured so many seconds after the start."""
    frame = packet if packet.haslayer(Ether) else Ether(src=src, dst=dst) / packet
    frame.time = START + at
    return frame


def findings(
    packets: list[Any], folder: Path, family: str, network: str = "", taps: int = 1
) -> list[dict[str, Any]]:
    """The findings of one detector, with its policy's [network]; each of the taps sees all packets."""
    (folder / "policy.toml").write_text(f"[network]\n{network}\n")
    sources = {f"tap{number}": str(folder / f"{number}.pcap") for number in range(taps)}
    for path in sources.values():
        wrpcap(path, packets)
    result = tapsight.check(sources, policy=folder / "policy.toml")
    found: list[dict[str, Any]] = result.findings.to_pylist()
    return [row for row in found if row["detector"].split(".")[0] == family]


def brief(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Class and severity of each."""
    return [(row["detector"], row["severity"]) for row in found]
