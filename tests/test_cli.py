"""The command line: data on standard output, a clear line on standard error, and the exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from tables import (
    ADDRESS,
    LABEL,
    MAC,
    NAME,
    NOON,
    TS,
    FakeExamination,
    address,
    examination,
    flow,
    mac,
    mirror,
    sip,
    tap,
)
from typer.testing import CliRunner

import tapsight
from tapsight import _engine
from tapsight._files import write_table
from tapsight._links import is_unread
from tapsight._sources import SourceError, Tap, read_sources
from tapsight.checks import CHECKS
from tapsight.cli import app
from tapsight.detectors import DETECTORS

GOOD_MAGIC = b"\xd4\xc3\xb2\xa1"


class FakeRows:
    """What the engine would open."""

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        self.schema = schema
        self._batches = batches

    def read(self, warn: Callable[[str], object]) -> Iterator[pa.RecordBatch]:
        yield from self._batches

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self._batches).__arrow_c_stream__()


class Engine:
    """Stands in for the engine: remembers what it was asked, hands out what it was given."""

    def __init__(self) -> None:
        self.found: FakeExamination = examination()
        self.asked: list[Any] = []
        self.packets: pa.Table = packets()

    def examine(
        self,
        taps: Any,
        *,
        window_ns: int,
        memory: int,
        progress: Any,
        threads: int | None,
        **_: Any,
    ) -> FakeExamination:
        assert memory > 0
        assert threads is None
        assert progress is None
        self.asked.append((taps, window_ns))
        for _, paths in taps:
            for path in paths:
                self._require_capture(path)
        return self.found

    def open_packets(
        self,
        source: Any,
        *,
        table: str = "packets",
        columns: Any = None,
        tap: str | None = None,
        threads: int | None = None,
    ) -> FakeRows:
        assert table == "packets"
        for path in source:
            self._require_capture(path)
        rows = self.packets.select(columns) if columns else self.packets
        if "tap" in rows.column_names and tap is not None:
            rows = rows.set_column(
                rows.schema.get_field_index("tap"),
                "tap",
                pa.array([tap] * len(rows)).dictionary_encode().cast(NAME),
            )
        return FakeRows(rows.schema, rows.to_batches())

    def _require_capture(self, path: str) -> None:
        if path != "-" and not Path(path).read_bytes().startswith(GOOD_MAGIC):
            raise ValueError(f"{path}: not a packet capture: it begins with 6e 6f")


def packets() -> pa.Table:
    return pa.table(
        {
            "frame": pa.array([1, 2], pa.uint64()),
            "ts": pa.array([NOON, NOON + 1], TS),
            "tap": pa.array(["x", "x"]).dictionary_encode().cast(NAME),
            "eth_src": pa.array([mac("02:00:00:00:00:01"), None], MAC),
            "mpls": pa.array([[16, 17], []], pa.list_(pa.uint32())),
            "src": pa.array([address("192.0.2.1"), address("2001:db8::1")], ADDRESS),
            "app": pa.array(["sip", None]).dictionary_encode().cast(LABEL),
        }
    )


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake = Engine()
    monkeypatch.setattr(_engine, "examine", fake.examine)
    monkeypatch.setattr(_engine, "open_packets", fake.open_packets)
    return fake


@pytest.fixture
def capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("a.pcap").write_bytes(GOOD_MAGIC)
    return "a.pcap"


def run(*args: str | Path) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args])


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_exits_0_if_nothing_failed(engine: Engine, capture: str) -> None:
    result = run("check", capture)
    assert result.exit_code == 0
    assert result.stdout.startswith("Was traffic copied?         no sign")
    assert result.stderr == ""
    assert engine.asked == [([("a.pcap", ("a.pcap",))], 5_000_000_000)]


def test_check_exits_1_if_something_failed(engine: Engine, capture: str) -> None:
    engine.found = examination(claims=[mirror()])
    assert run("check", capture).exit_code == 1


def test_check_with_a_policy(engine: Engine, capture: str) -> None:
    engine.found = examination(flows=[sip("192.0.2.10", "198.51.100.66")])
    Path("policy.toml").write_text("[checks.V1]\npairs = [['192.0.2.10', '203.0.113.10']]\n")
    result = run("check", capture, "--policy", "policy.toml", "--format", "json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["schema"] == 1
    assert {"tapsight", "taps", "verdicts", "findings"} <= set(data)
    always = [id_ for id_, check in CHECKS.items() if check.pack is None]
    assert [row["check"] for row in data["verdicts"]] == [*DETECTORS, *always]
    assert data["findings"][0]["first_ts"] == "2026-01-01T12:00:00.000000001Z"
    assert data["findings"][0]["evidence"][0] == {
        "tap": "inside",
        "file": "inside.pcap",
        "frame": 1,
        "role": "offending",
    }


def test_check_writes_an_object_a_line(engine: Engine, capture: str) -> None:
    engine.found = examination(claims=[mirror()])
    result = run("check", capture, "-o", "out.ndjson")
    assert result.stdout == ""
    rows = [json.loads(line) for line in Path("out.ndjson").read_text().splitlines()]
    assert {row["type"] for row in rows} == {"run", "answer", "not_shown", "tap", "verdict", "finding"}
    assert [row["check"] for row in rows if row["type"] == "verdict"][:3] == ["A1", "A2", "A3"]


def test_a_bad_policy_is_one_line_a_problem(engine: Engine, capture: str) -> None:
    Path("policy.toml").write_text("[checks.V1]\npair = []\n[checks.V2]\nvlan = []\n")
    result = run("check", capture, "--policy", "policy.toml")
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["policy.toml:2", "policy.toml:4"]
    assert engine.asked == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.pcap", None, "missing.pcap: No such file or directory"),
        ("empty.pcap", b"", "empty.pcap: is empty"),
        ("notes.txt", b"no capture", "notes.txt: not a packet capture: it begins with 6e 6f"),
        ("directory", "directory", "directory: is a directory"),
        ("evil\x1b[31m.pcap", None, "evil\\x1b[31m.pcap: No such file"),
    ],
)
@pytest.mark.parametrize("command", ["check", "info", "classify"])
def test_what_cannot_be_read_is_a_line_and_the_rest_is_read(
    engine: Engine, capture: str, command: str, name: str, content: Any, words: str
) -> None:
    if content == "directory":
        Path(name).mkdir()
    elif content is not None:
        Path(name).write_bytes(content)
    alone = run(command, name)
    assert (alone.exit_code, alone.stdout) == (2, "")
    both = run(command, name, capture)
    assert both.exit_code == 2
    assert both.stdout != ""
    for result in (alone, both):
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith(f"tapsight: {words}")


def test_one_capture_twice_is_refused(engine: Engine, capture: str) -> None:
    result = run("check", capture, "./a.pcap")
    assert result.exit_code == 2
    assert "named twice" in result.stderr


# --- sources ----------------------------------------------------------------------------------------------------------


def test_names_of_taps(capture: str) -> None:
    for name in ("b-2.pcap", "b-1.pcap", "x=y.pcap"):
        Path(name).write_bytes(GOOD_MAGIC)
    Path("d").mkdir()
    Path("d/a.pcap").write_bytes(GOOD_MAGIC)
    assert read_sources("a.pcap") == [Tap("a.pcap", ("a.pcap",))]
    assert read_sources(["out=b-2.pcap", "out=b-1.pcap"]) == [Tap("out", ("b-2.pcap", "b-1.pcap"))]
    assert read_sources("out=b-*.pcap") == [Tap("out", ("b-1.pcap", "b-2.pcap"))]
    assert read_sources("x=y.pcap") == [Tap("x=y.pcap", ("x=y.pcap",))]
    assert read_sources("t=x=y.pcap") == [Tap("t", ("x=y.pcap",))]
    assert read_sources(["a.pcap", "d/a.pcap"]) == [
        Tap("a.pcap", ("a.pcap",)),
        Tap("d/a.pcap", ("d/a.pcap",)),
    ]
    assert read_sources({"in": "a.pcap", "out": ["b-1.pcap", Path("b-2.pcap")]}) == [
        Tap("in", ("a.pcap",)),
        Tap("out", ("b-1.pcap", "b-2.pcap")),
    ]
    assert read_sources(["-", "far=none.pcap"]) == [Tap("stdin", ("-",)), Tap("far", ("none.pcap",))]
    for nothing in ([], {}, {"in": []}):
        with pytest.raises(SourceError):
            read_sources(nothing)


def test_the_same_from_python(engine: Engine, capture: str) -> None:
    engine.found = examination(claims=[mirror()])
    result = tapsight.check({"in": capture}, window=1.5)
    assert engine.asked == [([("in", ("a.pcap",))], 1_500_000_000)]
    assert result.exit_code == 1
    assert "Was traffic copied? yes" in repr(result)
    assert "<table>" in result._repr_html_()
    assert tapsight.check([capture, "none.pcap"]).exit_code == 2


# --- classify ---------------------------------------------------------------------------------------------------------


def test_classify_writes_csv_that_is_safe_in_a_spreadsheet(engine: Engine, capture: str) -> None:
    result = run("classify", "+1+1\x1b[2J=a.pcap")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert result.exit_code == 0
    assert rows[0] == {
        "frame": "1",
        "ts": "2026-01-01T12:00:00.000000001Z",
        "tap": "'+1+1\\x1b[2J",
        "eth_src": "02:00:00:00:00:01",
        "mpls": "[16,17]",
        "src": "192.0.2.1",
        "app": "sip",
    }
    assert (rows[1]["src"], rows[1]["eth_src"], rows[1]["mpls"]) == ("2001:db8::1", "", "[]")


def test_classify_by_ending_and_columns(engine: Engine, capture: str) -> None:
    for name in ("out.parquet", "out.arrow", "out.ndjson", "out.csv"):
        assert run("classify", capture, "-o", name, "--columns", "src,frame").exit_code == 0
    assert pq.read_table("out.parquet").column_names == ["src", "frame"]
    assert pa.ipc.open_stream("out.arrow").read_all()["frame"].to_pylist() == [1, 2]
    assert [json.loads(line) for line in Path("out.ndjson").read_text().splitlines()] == [
        {"src": "192.0.2.1", "frame": 1},
        {"src": "2001:db8::1", "frame": 2},
    ]
    assert pl.read_csv("out.csv").columns == ["src", "frame"]
    assert sorted(path.name for path in Path().iterdir()) == [
        "a.pcap",
        "out.arrow",
        "out.csv",
        "out.ndjson",
        "out.parquet",
    ]


def test_lists_can_be_told_apart_whatever_they_hold() -> None:
    texts = [["pcmu/8000", "a,b", 'q"q', "\x1b[2J", "=1+1"], [], None]
    table = pa.table(
        {
            "codecs": pa.array(texts, pa.list_(pa.string())),
            "mpls": pa.array([[16, 17], [], None], pa.list_(pa.uint32())),
        }
    )
    harmless = [["pcmu/8000", "a,b", 'q"q', "\\x1b[2J", "=1+1"], [], None]
    written = {}
    for form in ("csv", "ndjson"):
        file = io.BytesIO()
        write_table(iter(table.to_batches()), table.schema, file, form)  # type: ignore[arg-type]
        written[form] = file.getvalue().decode()
        assert "\x1b" not in written[form]
    lines = [json.loads(line) for line in written["ndjson"].splitlines()]
    assert [line["codecs"] for line in lines] == harmless
    assert [line["mpls"] for line in lines] == [[16, 17], [], None]
    cells = list(csv.DictReader(io.StringIO(written["csv"])))
    for name, expected in (("codecs", harmless), ("mpls", [[16, 17], [], None])):
        assert [json.loads(cell[name]) if cell[name] else None for cell in cells] == expected
        assert all(cell[name][:1] in {"", "["} for cell in cells)


def test_classify_leaves_nothing_half_written(
    engine: Engine, capture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        def batches() -> Any:
            yield packets().to_batches()[0]
            raise OSError(5, "Input/output error", "a.pcap")

        return FakeRows(packets().schema, batches())

    monkeypatch.setattr(_engine, "open_packets", broken)
    Path("out.csv").write_text("before")
    result = run("classify", capture, "-o", "out.csv")
    assert result.exit_code == 2
    assert "Input/output error" in result.stderr
    assert Path("out.csv").read_text() == "before"
    assert sorted(path.name for path in Path().iterdir()) == ["a.pcap", "out.csv"]


def test_classify_asks_for_a_format_it_knows(engine: Engine, capture: str) -> None:
    assert "cannot tell the format" in run("classify", capture, "-o", "out.xls").stderr
    assert run("classify", capture, "-o", "out.xls", "--format", "csv").exit_code == 0
    assert run("classify", capture, "--format", "xls").exit_code == 2
    assert (
        run("classify", capture, "-o", "none/out.csv").stderr
        == "tapsight: none/out.csv: No such file or directory\n"
    )


# --- info, explain, the rest ------------------------------------------------------------------------------------------


def test_info(engine: Engine, capture: str) -> None:
    engine.found = examination(
        taps=[tap(warnings=["cut off in frame \x1b1000"], dropped=3, received=1003)],
        flows=[flow(packets=5, encap="gre/erspan2"), sip("192.0.2.1", "192.0.2.2", packets=7)],
    )
    text = run("info", capture).stdout
    for words in (
        "gre/erspan2 5",
        "sip by signature 7",
        "unknown 5",
        "3 of 1,003",
        "cut off in frame \\x1b1000",
        "(60 s;",
    ):
        assert words in text
    (row,) = json.loads(run("info", capture, "--format", "json").stdout)
    assert row["duration_ns"] == 60_000_000_000
    assert row["apps"] == [{"app": "sip", "basis": "signature", "packets": 7}]


def test_info_tells_a_link_type_that_is_not_read(captures: Path) -> None:
    """By tshark, these are frames of ZigBee and of D-Bus."""
    for name, link in (
        ("secdev__scapy/test__pcaps__zigbee-join-authenticate.pcap", "link type 230"),
        ("the-tcpdump-group__tcpdump/tests__unsupported-link-type-dbus.pcap", "dbus (231)"),
    ):
        text = run("info", captures / name).stdout
        assert f"link type  {link}" in text
        assert "this link type is not read: nothing is known of what its" in text
        assert "malformed" not in text
        page = " ".join(run("check", captures / name).stdout.split())
        assert f"its link type is not read ({link})" in page
    documented = re.findall(r"^\| `\w+` \| (\d+) \|", (ROOT / "docs/protocols.md").read_text(), re.MULTILINE)
    assert len(documented) > 20
    assert {number for number in range(400) if not is_unread(f"link type {number}")} == {
        *map(int, documented),
        12,
        14,
    }
    assert not is_unread(None)


def test_explain() -> None:
    for id_ in (*DETECTORS, *CHECKS, "v2", "A5.forked"):
        text = run("explain", id_).stdout
        assert text.startswith(id_.upper().partition(".")[0])
        assert "What it cannot see" in text
        assert "Source:" in text
    unknown = run("explain", "V")
    assert unknown.exit_code == 2
    assert ", ".join([*DETECTORS, *CHECKS]) in unknown.stderr


def test_explain_lists_by_pack() -> None:
    every = run("explain").stdout
    for id_, each in {**DETECTORS, **CHECKS}.items():
        assert f"  {id_:<4} {each.title}\n" in every
    pack = run("explain", "capture-quality")
    assert (pack.exit_code, pack.stdout.splitlines()[1:3]) == (
        0,
        ["  Q1   Captures are fit for judging", "  Q2   What passes rests on enough of the traffic"],
    )
    # Under the heading of its pack, and of no other.
    headings = [part.splitlines()[0] for part in every.split("\n\n") if "  Q1 " in part]
    assert headings == [pack.stdout.splitlines()[0]]
    typo = run("explain", "capture-qualty")
    assert typo.exit_code == 2
    assert 'did you mean "capture-quality"?' in typo.stderr


def test_explain_knows_a_policys_own_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("policy.toml").write_text(
        '[checks.voice-vlan]\nscope = "app == sip"\nexpect = "vlan in (210, 211)"\ntitle = "Voice in\\u001b its VLANs"\n'
    )
    without = run("explain", "voice-vlan")
    assert without.exit_code == 0
    assert "a check of a policy's own" in without.stdout
    assert "[checks.voice-vlan]" in without.stdout
    text = run("explain", "voice-vlan", "--policy", "policy.toml").stdout
    assert text.startswith("voice-vlan: Voice in\\x1b its VLANs\n")
    for words in (
        "A check of a policy's or a program's own",
        "table flows where app == sip",
        "vlan in (210, 211)",
    ):
        assert words in text
    assert "False alarms measured" not in text
    assert "  voice-vlan Voice in\\x1b its VLANs" in run("explain", "--policy", "policy.toml").stdout
    other = run("explain", "voice-lan", "--policy", "policy.toml")
    assert (other.exit_code, 'did you mean "voice-vlan"' in other.stderr) == (2, True)


def command(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tapsight", *args], capture_output=True, text=True, check=False, **options
    )


def test_help_loads_no_engine() -> None:
    code = "import sys; from tapsight.cli import app; print({'polars', 'pyarrow', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert command("--version").stdout.startswith("tapsight ")


def test_a_closed_pipe_is_silent() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "tapsight", "explain", "A5"],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_interrupt_exits_130(engine: Engine, capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_engine, "examine", interrupted)
    result = run("check", capture)
    assert result.exit_code == 130
    assert result.stdout == ""


def test_output_to_a_pipe_does_not_replace_it(tmp_path: Path) -> None:
    from tapsight._files import output

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with output(str(pipe)) as file:
            file.write(b"rows")
        assert os.read(reader, 10) == b"rows"
        assert pipe.is_fifo()
    finally:
        os.close(reader)


def test_a_capture_that_ends_before_its_first_packet_is_a_problem(tmp_path: Path) -> None:
    # A section header block of 28 bytes (pcapng, section 4.1), and 2 bytes of the next.
    path = tmp_path / "cut.pcapng"
    path.write_bytes(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + b"\1\0")
    result = tapsight.check(str(path))
    assert result.exit_code == 2
    assert "cut off" in result.problems[0]
    assert {answer.answer for answer in result.answers} == {"cannot tell"}


def test_a_mistake_of_our_own_is_no_verdict(tmp_path: Path) -> None:
    program = """
import sys
import tapsight._check
from tapsight import cli

class Panic(BaseException): pass

def broken(*_, **__):
    raise (KeyError if sys.argv.pop() == "error" else Panic)("\\x1b[2J")

tapsight._check.check = broken
cli.main()
"""
    for kind in ("error", "panic"):
        command = [sys.executable, "-c", program, "check", str(tmp_path / "a.pcap"), kind]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stdout) == (2, "")
        *lines, last = run.stderr.splitlines()
        assert last.startswith(
            f"tapsight: a mistake in tapsight {tapsight.__version__}, not in what you gave it"
        )
        assert "Please report" in last
        assert any("in broken" in line for line in lines)
        assert "\x1b" not in run.stderr
