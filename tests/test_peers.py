"""What benches/peers makes of its measurements; the measuring itself needs what its install.sh installs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benches/peers"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType, ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    import page
    import peers
    import run

    return peers, run, page


def test_start_is_taken_off_in_each_round(modules: tuple[ModuleType, ...]) -> None:
    peers, run, _ = modules
    plain = peers.PEERS[0]
    starts = [{"seconds": s, "cpu": c, "peak": 1} for s, c in ((1.0, 0.5), (3.0, 0.5), (2.0, 0.5))]
    runs = [{"seconds": s, "cpu": c, "peak": 1 << 40} for s, c in ((3.0, 1.5), (4.0, 1.0), (2.0, 0.5))]
    row = run.summary(plain, 1000, starts, runs)
    assert (row["start"], row["seconds"], row["slowest"], row["rate"]) == (2.0, 1.0, 2.0, 1000)
    assert row["fastest"] is None, "one round took no longer than its start"
    assert (row["cpu"], row["cpu_rate"], row["peak"]) == (0.5, 2000, 1 << 40)


def test_what_waits_is_timed_by_its_cpu(modules: tuple[ModuleType, ...]) -> None:
    peers, run, _ = modules
    argus = next(peer for peer in peers.PEERS if peer.waits)
    row = run.summary(
        argus, 1000, [{"seconds": 1, "cpu": 0.0, "peak": 1}], [{"seconds": 2, "cpu": 0.25, "peak": 1}]
    )
    assert (row["seconds"], row["rate"], row["peak"]) == (0.25, 4000, None)


def test_page_and_picture_show_every_row(modules: tuple[ModuleType, ...]) -> None:
    peers, run, page = modules
    rows: list[dict[str, Any]] = []
    for n, peer in enumerate(peers.PEERS):
        row = {
            "mix": "rtp",
            "name": peer.name,
            "version": None,
            "packets": 1000,
            "bytes": 230_024,
            "read": None,
        }
        if n % 3 == 0:
            row["skipped"] = "why <it> is not there"
        else:
            start = [{"seconds": 0.5, "cpu": 0.5, "peak": 1}]
            row |= run.summary(peer, 1000, start, [{"seconds": n % 3, "cpu": n % 3, "peak": 1}])
        rows.append(row)
    record = {
        "date": "2026-01-01",
        "machine": run.machine(),
        "rounds": 1,
        "few": run.FEW,
        "own_peak": 1,
        "rows": rows,
    }
    text, picture = page.markdown(record), page.chart(record)
    shown = {element.text for element in ET.fromstring(picture).iter() if element.tag.endswith("text")}
    for peer in peers.PEERS:
        assert peer.name in shown
        # Its rate, how many times as fast ours are, and what it does.
        is_compared = not peer.name.startswith("tapsight") and peers.PEERS.index(peer) % 3 != 0
        found = re.findall(rf"^\| (?:\*\*)?{re.escape(peer.name)}(?:\*\*)? \|", text, re.MULTILINE)
        assert len(found) == 2 + is_compared
    assert text.count("skipped: why <it> is not there") == len(peers.PEERS[::3])


def test_times_as_fast_are_rates_divided(modules: tuple[ModuleType, ...]) -> None:
    _, _, page = modules
    rates = {
        "tcpdump -w": 5e6,
        "argus": 3e5,
        "tapsight, all columns, one core": 4e6,
        "tapsight, flows, one core": 4.5e6,
    }
    rows = [{"mix": "rtp", "name": name, "rate": rate} for name, rate in rates.items()]
    assert list(page._times([*rows, {"mix": "rtp", "name": "scapy", "skipped": "why"}])) == [
        "| | all columns | flows |\n|---|---:|---:|\n",
        "| tcpdump -w | 0.8 | 0.9 |\n",
        "| argus | 13 | **15** |\n",
    ]


def test_install_brings_every_peer(modules: tuple[ModuleType, ...]) -> None:
    peers, _, _ = modules
    brought = set(re.findall(r"^try (\S+)", (FOLDER / "install.sh").read_text(), re.MULTILINE))
    assert brought == {peer.made_by for peer in peers.PEERS if peer.made_by}
