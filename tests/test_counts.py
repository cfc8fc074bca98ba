"""What benches/instructions.py and benches/history.py make of counts, without counting."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from conftest import ROOT

HERE = {"rustc": "1", "architecture": "x86_64", "extensions": ["avx2"], "libc": "1", "processor": "a"}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benches" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def counts() -> ModuleType:
    return load("instructions")


@pytest.mark.parametrize(
    ("new", "mark", "fails"),
    [(100, "same", False), (102.9, "same", False), (103.1, "RISEN", True), (96.9, "fallen", False)],
)
def test_a_rise_fails_and_a_fall_is_reported(counts: ModuleType, new: float, mark: str, fails: bool) -> None:
    risen, lines = counts.compare(
        {"imix": {"records": 100, "other": 5}}, {"imix": {"records": new, "other": 5}}
    )
    assert risen is fails
    (line,) = (line for line in lines if "records" in line and "imix" in line)
    assert line.split()[0] == mark
    assert "100.0 ->" in line
    assert any("--record" in line for line in lines) is (mark == "fallen")


def test_paths_that_are_new_or_gone_do_not_fail(counts: ModuleType) -> None:
    risen, lines = counts.compare({"imix": {"old": 1}}, {"imix": {"new": 1}, "rtp": {"new": 1}})
    assert not risen
    assert [line.split()[0] for line in lines[1:]] == ["new", "new", "gone"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"processor": "b"}, None),
        ({"rustc": "2"}, "recorded with rustc 2, here it is 1"),
        ({"architecture": "aarch64"}, "recorded with architecture aarch64"),
        ({"extensions": []}, "recorded with extensions"),
    ],
)
def test_what_compares(counts: ModuleType, change: dict[str, object], words: str | None) -> None:
    history = [{"packets": counts.PACKETS, "environment": HERE | change}]
    why = counts.incomparable(history, HERE, "valgrind")
    assert why is None if words is None else words in why
    assert "valgrind" in counts.incomparable(history, HERE, None)
    assert "nothing is recorded" in counts.incomparable([], HERE, "valgrind")


def test_the_record_grows_by_an_entry_a_commit(counts: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "record" / "instructions.json"
    for commit, figure in (("a", 1), ("b", 2), ("b", 3)):
        counts.write(path, counts.read(path), {"commit": commit, "figure": figure})
    assert counts.read(path) == [{"commit": "a", "figure": 1}, {"commit": "b", "figure": 3}]


def test_the_history_is_drawn_and_breaks_where_runs_do_not_compare(tmp_path: Path) -> None:
    history = load("history")
    entries = [
        {
            "date": "d",
            "commit": commit,
            "environment": HERE | {"rustc": rustc},
            "instructions": {"<mix>": {"a: b": figure}},
        }
        for commit, rustc, figure in (("1", "1", 100), ("2", "1", 90), ("3", "2", 80.5))
    ]
    row = {
        "source": "rtp",
        "row": history.ROW,
        "place": "memory",
        "packets": 100,
        "seconds": 1e-4,
        "skipped": None,
    }
    run = {"time": "t", "machine": {"processors": 2}, "rows": [row | {"threads": 1}, row | {"threads": 2}]}
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "d-1.json").write_text(json.dumps(run))
    (tmp_path / "instructions.json").write_text(json.dumps(entries))
    charts = [*history.times(tmp_path / "runs"), *history.instructions(tmp_path / "instructions.json")]
    assert [[point.value for point in chart.lines.popitem()[1]] for chart in copy.deepcopy(charts)] == [
        [1.0],
        [1.0],
        [100, 90, 80.5],
    ]
    svg = ElementTree.fromstring(history.picture(charts))
    lines = [
        path.get("d") for path in svg.iter("{http://www.w3.org/2000/svg}path") if path.get("fill") == "none"
    ]
    assert [(line.count("M"), line.count("L")) for line in lines] == [(1, 0), (1, 0), (2, 1)]
    assert "instructions per packet, <mix>" in [
        text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")
    ]
