"""A run that comes every night: what is new, what is known, what is gone, and what makes it fail."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tapsight
from tapsight._baseline import read_baseline
from tapsight.cli import app
from tapsight.lab import Implant, Scenario, generate
from tapsight.lab.scenario import Generated
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
    assert read_baseline(yesterday) == frozenset(ids)
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
    assert read_baseline(path) == frozenset()
