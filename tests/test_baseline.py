"""A run that comes every night: what is new, what is known, what is gone, and what makes it fail."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tables import examination, flow
from typer.testing import CliRunner

import tapsight
from tapsight._baseline import Baseline, Level, read_baseline
from tapsight._check import Result, judge, plain_rows
from tapsight.cli import app
from tapsight.lab import Implant, Scenario, generate
from tapsight.lab.scenario import Generated
from tapsight.policy import Policy
from tapsight.report_text import render


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(
        Scenario(implants=(Implant("mirror", only="voice"),)), tmp_path_factory.mktemp("mirrored")
    )


@pytest.fixture(scope="module")
def result(mirrored: Generated) -> tapsight.Result:
    return tapsight.check(
        {"inside": str(mirrored.inside), "outside": str(mirrored.outside)}, policy=mirrored.policy
    )


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_what_was_known_yesterday_is_not_new(
    result: tapsight.Result, mirrored: Generated, tmp_path: Path, form: str
) -> None:
    yesterday = tmp_path / f"yesterday.{form}"
    yesterday.write_text(result.to_json() if form == "json" else result.to_ndjson())
    ids = result.findings["id"].to_pylist()
    assert set(read_baseline(yesterday).levels) == set(ids)
    arguments = [
        "check",
        f"inside={mirrored.inside}",
        f"outside={mirrored.outside}",
        "--policy",
        str(mirrored.policy),
        "-q",
    ]
    done = CliRunner().invoke(app, [*arguments, "--baseline", str(yesterday)])
    assert done.exit_code == 0, done.output
    assert "Findings (0)" in done.output
    assert f"and {len(ids)} findings that the baseline has" in done.output
    # Copies are still copies: the answer and the verdicts are those of all.
    assert "Was traffic copied?         YES" in done.output


def test_new_and_gone(result: tapsight.Result) -> None:
    ids = result.findings["id"].to_pylist()
    later = result.since([*ids[1:], "gone"])
    assert later.findings["id"].to_pylist() == ids[:1]
    assert (later.known, later.gone, later.exit_code) == (tuple(ids[1:]), ("gone",), 1)
    assert later.verdicts == result.verdicts
    assert "not found this time: gone, which the baseline has" in render(later)
    data = json.loads(later.to_json())
    assert (data["known"], data["gone"]) == (ids[1:], ["gone"])


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_one_nights_output_is_the_next_nights_baseline(
    result: tapsight.Result, tmp_path: Path, form: str
) -> None:
    ids = result.findings["id"].to_pylist()
    monday = result.since(ids[:1]).from_severity("high")
    path = tmp_path / f"monday.{form}"
    path.write_text(monday.to_json() if form == "json" else monday.to_ndjson())
    tuesday = result.since(read_baseline(path))
    assert (tuesday.findings.num_rows, tuesday.gone, tuesday.exit_code) == (0, (), 0)
    assert sorted(tuesday.known) == sorted(ids)


def test_severity(result: tapsight.Result, mirrored: Generated) -> None:
    every = result.findings["severity"].to_pylist()
    assert {"high", "medium"} <= set(every)
    assert result.from_severity("high").findings.num_rows == every.count("high") + every.count("critical")
    assert result.exit_code_from("critical") == 0
    assert result.exit_code_from("high") == 1
    arguments = ["check", str(mirrored.inside), str(mirrored.outside), "--policy", str(mirrored.policy), "-q"]
    done = CliRunner().invoke(app, [*arguments, "--fail-on", "critical", "--min-severity", "high"])
    assert done.exit_code == 0, done.output
    assert "MEDIUM" not in done.output
    assert re.search(r"and \d+ findings? of lower severity", done.output)
    assert CliRunner().invoke(app, [*arguments, "--fail-on", "hihg"]).exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "x",
        '{"type": "finding"}',
        '{"findings": [1]}',
        '{"findings": [{}]}',
        '{"findings": [], "known": 7}',
        '{"findings": [], "known": [7]}',
        '{"findings": [], "remembered": [7]}',
        '{"findings": [], "remembered": [{"ids": 7}]}',
        '{"findings": [], "forgotten": {}}',
        '{"findings": [{"id": "0123456789ab", "severity": "huge", "packets": 1}]}',
        '{"findings": [], "remembered": [{"ids": "0123456789ab", "severity": "huge", "packets": 1}]}',
        '{"findings": [{"id": "0123456789ab", "severity": [], "packets": 1}]}',
        "[" * 5000,
    ],
)
def test_what_is_no_result_is_no_baseline(text: str, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"baseline\.json: not what"):
        read_baseline(path)


def test_a_baseline_without_findings(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text('{"type": "run", "tapsight": "0.1.0"}\n')
    assert (read_baseline(path).levels, read_baseline(path).notes) == ({}, [])


# --- Many of a kind, and worse ----------------------------------------------------------------------------------------


def telnet(count: int, server: str = "198.51.100.1", **other: Any) -> list[dict[str, Any]]:
    return [
        flow(f"10.0.{n >> 8}.{n & 255}", server, protocol=6, dst_port=23, **{"packets": 2, **other})
        for n in range(count)
    ]


def night(flows: list[dict[str, Any]], severity: str = "low") -> Result:
    rule = f'[checks.clear]\nexpect = "dst_port != 23"\nby = ["src", "dst"]\nseverity = "{severity}"\n'
    return judge(examination(flows=flows), Policy.loads(rule))


def written(result: Result, path: Path) -> Baseline:
    path.write_text(result.to_json() if path.suffix == ".json" else result.to_ndjson())
    return read_baseline(path)


def ranks_changed(flows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, where those that came last have the most packets, so that others are listed."""
    return [{**row, "packets": 2 + at // 10} for at, row in enumerate(flows)]


@pytest.mark.parametrize("name", ["monday.json", "monday.ndjson"])
def test_what_is_new_is_told_however_much_of_its_kind_is_known(tmp_path: Path, name: str) -> None:
    monday = night(telnet(70))
    assert monday.findings.num_rows == 51
    baseline = written(monday, tmp_path / name)
    same = night(telnet(70)).since(baseline)
    assert (same.findings.num_rows, len(same.known), same.gone, same.exit_code) == (0, 70, (), 0)
    tuesday = night(telnet(70) + telnet(100, "203.0.113.66")).since(baseline)
    assert (tuesday.findings.num_rows, len(tuesday.known), tuesday.exit_code) == (51, 70, 1)
    assert not tuesday.gone
    # What stands for many has the most packets.
    rest, *sentences = tuesday.findings["sentence"].to_pylist()
    assert all("203.0.113.66" in each for each in sentences)
    assert rest.startswith("50 more findings of clear, of 100 packets in all, ")
    # One that is new among many that are known, and has the fewest packets of all.
    one = night([*telnet(70), *telnet(1, "203.0.113.66", packets=1)]).since(baseline)
    assert (one.findings.num_rows, len(one.known), one.exit_code) == (1, 70, 1)
    # From night to night, whatever is listed and whatever is not.
    wednesday = night(telnet(70) + telnet(100, "203.0.113.66")).since(written(tuesday, tmp_path / name))
    assert (wednesday.findings.num_rows, len(wednesday.known), wednesday.gone) == (0, 170, ())
    fewer = night(telnet(60)).since(written(wednesday, tmp_path / name))
    assert (fewer.findings.num_rows, len(fewer.known), len(fewer.gone)) == (0, 60, 110)


def test_rank_does_not_matter(tmp_path: Path) -> None:
    baseline = written(night(telnet(80)), tmp_path / "monday.json")
    tuesday = night(ranks_changed(telnet(80))).since(baseline)
    assert tuesday.findings.num_rows == 0
    assert len(tuesday.known) == 80


def test_an_earlier_result_is_a_baseline(tmp_path: Path) -> None:
    monday = night(telnet(70))
    assert night(telnet(70)).since(monday).findings.num_rows == 0
    # Ids of rows do not tell what was summed up, which is told rather than hidden.
    by_ids = night(telnet(70)).since(monday.findings["id"].to_pylist())
    assert (by_ids.findings.num_rows, by_ids.gone) == (20, ())
    # One after the other, and with what is of low severity left out, in whichever order.
    left_out = night(telnet(70)).from_severity("high").since(monday.findings["id"].to_pylist())
    assert (left_out.findings.num_rows, len(left_out.known), len(left_out.lesser)) == (0, 50, 20)
    twice = left_out.since(monday)
    assert (len(twice.known), twice.lesser) == (70, ())
    assert written(left_out, tmp_path / "a.json").levels.keys() == monday.baseline.levels.keys()


@pytest.mark.parametrize(
    ("severity", "packets", "was"),
    [
        ("low", 19, None),
        ("low", 20, "low, of 2 packets"),
        ("critical", 2, "low, of 2 packets"),
        ("critical", 1, "low, of 2 packets"),
        ("low", 3, None),
    ],
)
def test_what_is_worse_is_told_again(tmp_path: Path, severity: str, packets: int, was: str | None) -> None:
    baseline = written(night(telnet(3)), tmp_path / "monday.json")
    tuesday = night([*telnet(1, packets=packets), *telnet(3)[1:]], severity).since(baseline)
    worse = [row for row in plain_rows(tuesday.findings) if row["packets"] == packets]
    if was is None:
        assert (worse, tuesday.worse, tuesday.exit_code) == ([], (), 0)
        return
    assert [row["sentence"].rpartition("Known, but worse: ")[2] for row in worse[:1]] == [f"it was {was}."]
    assert worse[0]["id"] in tuesday.worse
    assert not set(tuesday.worse) & set(tuesday.known)
    assert (tuesday.exit_code_from("low"), tuesday.exit_code_from("high")) == (1, int(severity == "critical"))
    assert f"known, but worse: {len(tuesday.worse)}" in render(tuesday)
    # The next night it is known as it is now.
    wednesday = night([*telnet(1, packets=packets), *telnet(3)[1:]], severity).since(
        written(tuesday, tmp_path / "tuesday.json")
    )
    assert (wednesday.findings.num_rows, wednesday.worse) == (0, ())


def test_what_grows_night_by_night_is_told_one_day(tmp_path: Path) -> None:
    baseline = written(night(telnet(1, packets=100)), tmp_path / "a.json")
    told = []
    for packets in (300, 900, 2700):
        result = night(telnet(1, packets=packets)).since(baseline)
        told.append(result.findings.num_rows)
        baseline = written(result, tmp_path / "a.json")
    assert told == [0, 0, 1]


def test_what_is_worse_among_many_is_counted(tmp_path: Path) -> None:
    baseline = written(night(telnet(70)), tmp_path / "a.json")
    tuesday = night(telnet(70, packets=30)).since(baseline)
    assert (tuesday.findings.num_rows, len(tuesday.worse), tuesday.known) == (51, 70, ())
    assert "20 of which the baseline has, but less of them" in tuesday.findings["sentence"].to_pylist()[0]


def test_a_baseline_of_an_earlier_version(tmp_path: Path) -> None:
    """Which had a row for what it summed up, with an id that was always the same, and ids alone of what it left out."""
    monday = json.loads(night(telnet(70)).to_json())
    # `printf 'clear\037others' | sha256sum`
    assert monday["findings"][0]["id"] == "66eb26e45b88"
    for key in ("worse", "remembered", "forgotten"):
        del monday[key]
    moved = monday["findings"].pop()
    monday["known"] = [moved["id"]]
    path = tmp_path / "monday.json"
    path.write_text(json.dumps(monday))
    baseline = read_baseline(path)
    (note,) = baseline.notes
    assert "earlier version" in note
    tuesday = night(telnet(70), "high").since(baseline)
    # 20 that were summed up are new, 49 have a higher severity, and of one only the id is known.
    assert (len(tuesday.worse), tuesday.known, tuesday.findings.num_rows) == (49, (moved["id"],), 51)
    assert tuesday.gone == ()


def test_the_command_says_what_a_baseline_cannot_tell(tmp_path: Path, mirrored: Generated) -> None:
    path = tmp_path / "monday.json"
    path.write_text('{"findings": [], "known": ["0123456789ab"]}')
    done = CliRunner().invoke(app, ["check", str(mirrored.inside), "-q", "--baseline", str(path)])
    assert f"tapsight: {path}: is of an earlier version" in done.stderr


def test_a_baseline_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapsight._baseline.REMEMBERED", 60)
    monday = night(telnet(70))
    assert json.loads(monday.to_json())["forgotten"] == [{"of": "clear", "findings": 10}]
    baseline = written(monday, tmp_path / "monday.json")
    assert len(baseline.levels) == 60
    assert baseline.notes == ["does not remember 10 findings of clear, which are told as new"]
    assert night(telnet(70)).since(baseline).findings.num_rows == 10


def test_what_is_remembered_is_short() -> None:
    rows = [{**row, "packets": at * 7919 + 1} for at, row in enumerate(telnet(20_000))]
    result = night(rows)
    data = json.loads(result.to_json())
    assert sum(len(row["ids"].split()) for row in data["remembered"]) == 10_000 - 50
    assert data["forgotten"] == [{"of": "clear", "findings": 10_000}]
    assert len(json.dumps(data["remembered"])) < 150_000
    assert len(data["remembered"]) < 500
    assert Level("low", 10_001).remembered() == Level("low", 11_000)
    assert Level("low", 99).remembered() == Level("low", 99)
    assert Level("low", 0).remembered() == Level("low", 0)
