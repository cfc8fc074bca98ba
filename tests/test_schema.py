"""The published JSON Schema holds for what is written, and says when there is more."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tables import claim, examination, flow, mirror, tap
from typer.testing import CliRunner

import tapsight
from tapsight._answers import Answer
from tapsight._check import judge
from tapsight._schema import schema
from tapsight._tables import ABOUT, COLUMNS, described, empty
from tapsight.cli import app
from tapsight.lab import Implant, Scenario, generate
from tapsight.policy import Policy

EVIL = "\x1b[31m\u202e<script>"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tapsight.Result:
    """Two taps, calls, copies, a policy."""
    files = generate(
        Scenario(implants=(Implant("mirror", only="voice"),)), tmp_path_factory.mktemp("mirrored")
    )
    return tapsight.check({"inside": str(files.inside), "outside": str(files.outside)}, policy=files.policy)


@pytest.fixture(scope="module")
def one_tap(tmp_path_factory: pytest.TempPathFactory) -> tapsight.Result:
    """One tap, no policy, and a capture that cannot be read."""
    folder = tmp_path_factory.mktemp("one")
    files = generate(Scenario(calls=1), folder)
    (folder / "odd.pcap").write_bytes(b"no capture")
    return tapsight.check([str(files.inside), str(folder / "odd.pcap")])


@pytest.fixture(scope="module")
def hostile() -> tapsight.Result:
    claims = [
        mirror(tap=EVIL, copy_tap=EVIL, evidence=[{"tap": EVIL, "frame": 1, "role": "copy"}]),
        claim("A5.readdressed", kind="diversion", rewritten_from="203.0.113.10", rewritten_to="198.51.100.9"),
        # Alike but for their order.
        claim("A5.forked"),
        claim("A5.forked"),
        claim("A5.span-both", report=False),
    ]
    rows = {"claims": claims, "taps": [tap(EVIL, warnings=[EVIL])], "flows": [flow(tap=EVIL)]}
    return judge(examination(**rows), Policy.loads('[checks.V1]\nticket = "CHG-1"\n'), [EVIL])


@pytest.fixture(scope="module")
def own() -> tapsight.Result:
    """A check of the policy's own."""
    policy = '[checks.no-telnet]\nexpect = "app != telnet"\n'
    return judge(examination(flows=[flow(app="telnet", traffic="management")]), Policy.loads(policy))


@pytest.fixture(scope="module")
def nothing() -> tapsight.Result:
    return judge(examination(taps=[]), None)


RESULTS = ("lab", "one_tap", "hostile", "own", "nothing")


@pytest.fixture(params=RESULTS)
def result(request: pytest.FixtureRequest) -> tapsight.Result:
    found: tapsight.Result = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def whole() -> Any:
    made = schema("json")
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


@pytest.fixture(scope="module")
def line() -> Any:
    made = schema("ndjson")
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def variants(result: tapsight.Result) -> list[tapsight.Result]:
    """As it is; with all findings known, and some of another night; and with those of low severity left out."""
    ids = result.findings["id"].to_pylist()
    return [result, result.since([*ids, "0123456789ab"]), result.from_severity("critical")]


def test_what_is_written_is_as_the_schema_has_it(result: tapsight.Result, whole: Any, line: Any) -> None:
    for each in variants(result):
        whole.validate(json.loads(each.to_json()))
        lines = [json.loads(text) for text in each.to_ndjson().splitlines()]
        assert lines[0]["type"] == "run"
        for row in lines:
            line.validate(row)


def test_both_runs_say_something(lab: tapsight.Result, one_tap: tapsight.Result) -> None:
    """That the above is of something."""
    data = lab.to_dict()
    assert all(
        data[name] for name in ("taps", "taps_compared", "verdicts", "findings", "explained", "not_shown")
    )
    assert any(row["clock_steps"] == [] for row in data["taps_compared"])
    assert one_tap.to_dict()["problems"]


def objects(value: Any) -> list[dict[str, Any]]:
    """All objects in a value."""
    if isinstance(value, list):
        return [found for each in value for found in objects(each)]
    if isinstance(value, dict):
        return [value, *(found for each in value.values() for found in objects(each))]
    return []


def test_an_unknown_or_a_missing_key_is_seen_anywhere(lab: tapsight.Result, whole: Any, line: Any) -> None:
    data = json.loads(lab.to_json())
    # The first row of each list is enough.
    data = {
        key: value[:1] if key not in {"answers"} and isinstance(value, list) else value
        for key, value in data.items()
    }
    count = len(objects(data))
    assert count > 10
    for at in range(count):
        more, less = copy.deepcopy(data), copy.deepcopy(data)
        objects(more)[at]["unheard_of"] = 1
        assert not whole.is_valid(more)
        found = objects(less)[at]
        found.pop(next(iter(found)))
        assert not whole.is_valid(less)
    for text in lab.to_ndjson().splitlines():
        row = json.loads(text)
        assert not line.is_valid({**row, "unheard_of": 1})
        assert not line.is_valid({**row, "type": "unheard of"})


def test_every_key_has_a_description(whole: Any, line: Any) -> None:
    for made in (whole.schema, line.schema):
        for found in objects(made):
            for name, value in found.get("properties", {}).items():
                if name not in {"type", "message"}:
                    assert value.get("description"), name


def test_the_answer_is_what_the_schema_says() -> None:
    fields = [field.name for field in dataclasses.fields(Answer)]
    assert list(schema("json")["$defs"]["answer"]["properties"]) == fields


def test_the_command_and_docs_have_the_same() -> None:
    for arguments, file in ((["schema"], "result"), (["schema", "ndjson"], "result-line")):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        committed = (ROOT / "docs" / f"{file}.schema.json").read_text("utf-8")
        assert done.output == committed, "make docs writes it anew"


def test_every_column_is_described_and_no_other() -> None:
    made = empty()
    assert set(made) == set(ABOUT)
    for name, table in made.items():
        for column in table.column_names:
            assert described(name, column)
        assert set(COLUMNS[name]) <= set(table.column_names)
