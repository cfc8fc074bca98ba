"""A run goes on from where an earlier one ended, and says what one run over all would say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_bounds import pcap
from typer.testing import CliRunner

import tapsight
from tapsight._check import plain_rows
from tapsight._sources import SourceError
from tapsight.checks import CHECKS
from tapsight.cli import app


def plain(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(plain_rows(table), key=repr)


def test_a_day_at_a_time_is_as_good_as_all_at_once(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    state = tmp_path / "state"
    whole = tapsight.check({tap: [part[tap] for part in rotated] for tap in rotated[0]})
    assert whole.findings.num_rows >= 2
    for part in rotated:
        last = tapsight.check(part, state=state)
    assert plain(last.claims) == plain(whole.claims)
    assert plain(last.flows) == plain(whole.flows)
    heard = {id_ for id_, check in CHECKS.items() if check.hears}

    def others(result: tapsight.Result) -> list[dict[str, Any]]:
        return [row for row in plain(result.verdicts) if row["check"] not in heard]

    assert others(last) == others(whole)
    # Of calls and media, a run knows its own.
    words = {row["check"]: row["verdict"] for row in last.verdicts.to_pylist()}
    assert {words[id_] for id_ in heard & words.keys()} <= {"unknown"}
    # Frames are named by their own files, also those of earlier days.
    assert plain(last.findings) == plain(whole.findings)
    assert {frame["file"] for row in last.findings["evidence"].to_pylist() for frame in row} > {
        rotated[0]["outside"]
    }


def test_rotated_files_are_read_in_order_of_time(rotated: list[dict[str, str]]) -> None:
    def all_of(order: list[int]) -> tapsight.Result:
        return tapsight.check({tap: [rotated[number][tap] for number in order] for tap in rotated[0]})

    assert plain(all_of([2, 0, 3, 1]).findings) == plain(all_of([0, 1, 2, 3]).findings)


def test_what_was_read_is_not_read_again(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    tapsight.check(rotated[0], state=tmp_path / "state")
    with pytest.raises(SourceError, match=r"inside-0\.pcap: the saved state knows it already"):
        tapsight.check(rotated[0], state=tmp_path / "state")


def test_states_that_cannot_be_used(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    state = tmp_path / "state"
    tapsight.check(rotated[0], state=state)
    good = state.read_bytes()
    with pytest.raises(SourceError, match="was saved with a window of 5 s"):
        tapsight.check(rotated[1], state=state, window=2)
    for bad, words in (
        (b"", "is no saved state"),
        (b"something else", "is no saved state"),
        (good[:-20], "is damaged"),
        (good[:200] + bytes([good[200] ^ 1]) + good[201:], "is damaged"),
        (good.replace(b"0.1.0", b"9.9.9", 1), r"was saved by version 9\.9\.9"),
    ):
        state.write_bytes(bad)
        with pytest.raises(SourceError, match=f"state: {words}"):
            tapsight.check(rotated[1], state=state)
        # What was there is still there.
        assert state.read_bytes() == bad


def test_a_run_that_fails_leaves_the_state_alone(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    state = tmp_path / "state"
    tapsight.check(rotated[0], state=state)
    before = state.read_bytes()
    with pytest.raises(SourceError):
        tapsight.check({"inside": str(tmp_path / "missing.pcap")}, state=state)
    assert state.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap([bytes(60)]))
    (tmp_path / "b.pcap").write_bytes(pcap([bytes(60)] * 2))
    for name in "ab":
        command = [
            "check",
            f"t={tmp_path}/{name}.pcap",
            "--state",
            str(tmp_path / "state"),
            "--format",
            "json",
        ]
        result = CliRunner().invoke(app, command)
    assert [(row["tap"], row["frames"]) for row in json.loads(result.stdout)["taps"]] == [("t", 3)]
