"""`tapsight bench`: every row is there, and what it cannot do is a clear line. Times are not looked at."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tapsight import _bench, _core
from tapsight.cli import app

HOSTILE = "evil\x1b[31m\u202e.pcap"
THREADS = sorted({1, os.cpu_count() or 1})
PLACES = {
    "all columns": {"memory", "file", "gzip", "zstd"},
    "all columns, from a pipe": {"file"},
    "check: flows, all detectors": {"file"},
    "digest: written": {"file"},
}


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["bench", *args])


@pytest.fixture
def capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path(HOSTILE).write_bytes(_core.traffic("imix", 2000))
    return HOSTILE


@pytest.fixture
def one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = (row for row in _bench.ROWS if row.name == "all columns")
    monkeypatch.setattr(_bench, "ROWS", (row,))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def test_every_row_of_a_mix(tmp_path: Path) -> None:
    written = tmp_path / "numbers.json"
    result = run("--mix", "rtp", "--packets", "2000", "--runs", "1", "--detectors", "--json", str(written))
    assert (result.exit_code, result.stderr) == (0, "")
    title, head, *lines = result.stdout.splitlines()
    assert title.startswith("rtp, ")
    assert head.split()[:4] == ["from", "threads", "Mpacket/s", "GB/s"]
    numbers = json.loads(written.read_text())
    assert {"tapsight", "debug", "python", "system", "processor", "processors"} == set(numbers["machine"])
    wanted = [
        (row.name, place, threads)
        for row in (*_bench.ROWS, *_bench.DETECTOR_ROWS)
        for place in sorted(PLACES.get(row.name, {"memory"}))
        for threads in THREADS
    ]
    assert sorted((row["row"], row["place"], row["threads"]) for row in numbers["rows"]) == sorted(wanted)
    for line, row in zip(lines, numbers["rows"], strict=False):
        assert line == _bench.Measured(**row).line()
        assert (row["source"], row["packets"], row["skipped"]) == ("rtp", 2000, None)
        assert row["fastest"] <= row["seconds"] <= row["slowest"]
        assert row["bytes"] > 2000 * _bench.RECORD_HEADER


def test_a_capture_of_the_user(capture: str, one_row: None) -> None:
    result = run(capture, "--runs", "1", "--json", "numbers.json")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == r"evil\x1b[31m\u202e.pcap"
    rows = json.loads(Path("numbers.json").read_text())["rows"]
    assert [(row["source"], row["place"], row["packets"]) for row in rows] == [
        (HOSTILE, place, 2000) for place in ("memory", "file", "gzip", "zstd")
    ]
    assert sorted(path.name for path in Path().iterdir()) == sorted([HOSTILE, "numbers.json"])


def test_files_are_read_where_they_are() -> None:
    rows = {row.name: row.places for row in _bench.ROWS}
    assert {name: set(places) for name, places in rows.items() if places} == PLACES


def test_what_is_compressed_is_not_compressed_again(capture: str, one_row: None) -> None:
    Path("a.pcap.gz").write_bytes(gzip.compress(Path(capture).read_bytes()))
    result = run("a.pcap.gz", "--runs", "1")
    assert result.exit_code == 0
    assert result.stdout.count("skipped: is compressed with gzip as it is") == 2


def test_large_captures_are_not_copied(capture: str, one_row: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bench, "MOST_COPIED", 1000)
    result = run(capture, "--runs", "1")
    assert result.exit_code == 0
    assert result.stdout.count("skipped: larger than") == 3


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.pcap", None, "missing.pcap: No such file or directory"),
        ("evil\x1b[31m.pcap", None, "evil\\x1b[31m.pcap: No such file or directory"),
        ("empty.pcap", b"", "empty.pcap: is empty"),
        ("notes.txt", b"no capture", "notes.txt: not a packet capture"),
        ("pipe", "pipe", "pipe: can be read only once"),
        ("directory", "directory", "directory: is a directory"),
        ("-", None, "-: can be read only once"),
    ],
)
def test_what_cannot_be_read(capture: str, name: str, content: Any, words: str) -> None:
    match content:
        case "pipe":
            os.mkfifo(name)
        case "directory":
            Path(name).mkdir()
        case bytes():
            Path(name).write_bytes(content)
    result = run(name, capture, "--json", "numbers.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"tapsight: {words}")
    assert len(result.stderr.splitlines()) == 1
    assert not Path("numbers.json").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
def test_a_file_of_others(capture: str) -> None:
    Path(capture).chmod(0)
    result = run(capture)
    assert result.exit_code == 2
    assert "Permission denied" in result.stderr


def test_a_mix_that_does_not_exist() -> None:
    result = run("--mix", "evil\x1b[31m")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        'tapsight: no mix is called "evil\\x1b[31m"; there are: 64-byte, imix, carrier, rtp, flood, repeated\n'
    )


def test_what_cannot_be_written_is_told_before_measuring(capture: str) -> None:
    result = run(capture, "--json", "none/numbers.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "tapsight: none/numbers.json: No such file or directory\n"


def test_what_goes_wrong_meanwhile_is_a_line(
    capture: str, one_row: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _bench._rows

    def gone(*args: Any) -> Any:
        Path(capture).write_bytes(b"no capture")
        return made(*args)

    monkeypatch.setattr(_bench, "_rows", gone)
    result = run(capture, "--runs", "1")
    assert result.exit_code == 2
    assert result.stderr.startswith("tapsight: ")
    assert "not a packet capture" in result.stderr
    assert "\x1b" not in result.stderr
