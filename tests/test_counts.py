"""What benches/instructions.py makes of counts, without counting."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
from conftest import ROOT

HERE = {"rustc": "1", "architecture": "x86_64", "extensions": ["avx2"], "libc": "1", "processor": "a"}


@pytest.fixture(scope="module")
def counts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("instructions", ROOT / "benches" / "instructions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_the_record_grows_by_an_entry_a_commit(counts: ModuleType, tmp_path) -> None:
    path = tmp_path / "record" / "instructions.json"
    for commit, figure in (("a", 1), ("b", 2), ("b", 3)):
        counts.write(path, counts.read(path), {"commit": commit, "figure": figure})
    assert counts.read(path) == [{"commit": "a", "figure": 1}, {"commit": "b", "figure": 3}]
