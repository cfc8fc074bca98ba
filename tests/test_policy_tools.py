"""Policies are begun, read back and compared; the schema for editors accepts what the reader does."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from test_policy import GOOD
from typer.testing import CliRunner

import tapsight
from tapsight._policy_tools import schema, standings, starter
from tapsight.cli import app
from tapsight.lab import Implant, Scenario, generate
from tapsight.lab.scenario import Generated
from tapsight.policy import Policy, PolicyError

DOCS = Path(__file__).parent.parent / "docs" / "policy.md"


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(
        Scenario(implants=(Implant("mirror", only="voice"),)), tmp_path_factory.mktemp("mirrored")
    )


def _documented() -> list[str]:
    """The policies in the documentation."""
    return re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)


def _plain(text: str) -> Any:
    """The policy as editors hold it against a schema: dates are text."""
    return json.loads(json.dumps(tomllib.loads(text), default=lambda value: value.isoformat()))


@pytest.mark.parametrize("text", [GOOD, "", *_documented()])
def test_the_schema_accepts_what_is_a_policy(text: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(_plain(text), schema())


def test_the_schema_accepts_the_policy_of_the_lab(mirrored: Generated) -> None:
    jsonschema.validate(tomllib.loads(mirrored.policy.read_text()), schema())


@pytest.mark.parametrize(
    "text",
    [
        "[set]\n",
        "[checks.V99]\n",
        "[checks.V1]\nseverty = 'low'\n",
        "[checks.V1]\nseverity = 'hihg'\n",
        "[checks.V1]\nmin_coverage = 1.5\n",
        "[network]\nrouters = []\n",
        "[checks.V1]\npairs = [['a']]\n",
    ],
)
def test_the_schema_refuses_what_is_none(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy.loads(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), schema())


def test_a_first_policy_of_nothing_is_one() -> None:
    policy = Policy.loads(starter()[0])
    states = {row.check: row.state for row in standings(policy)}
    assert states["V2"] == "off"
    assert states["I6"] == "judges"
    assert states["C1"] == "needs set `allow` in [checks.C1]"
    assert states["V9"] == 'not asked for: packs = ["carrier-voice"]'
    states = {row.check: row.state for row in standings(Policy.loads('packs = ["carrier-voice"]'))}
    assert (states["V9"], states["V4"]) == ("judges", "needs set `encrypted` in [checks.V4]")


def test_a_first_policy_of_captures_lists_what_they_show(mirrored: Generated) -> None:
    sources = {"inside": str(mirrored.inside), "outside": str(mirrored.outside)}
    text, problems = starter(sources)
    assert problems == ()
    policy = Policy.loads(text)
    truth = json.loads(mirrored.scenario.read_text())["implants"][0]
    (allowed,) = policy.options("I5").allow
    assert allowed.id is not None
    assert truth["collector"] in str(allowed.between)
    verdicts = {
        row["check"]: row["verdict"] for row in tapsight.check(sources, policy=policy).verdicts.to_pylist()
    }
    # All that was seen is listed, but for copies: those are never.
    assert (verdicts["V1"], verdicts["I5"], verdicts["I6"]) == ("pass", "pass", "fail")


def test_a_first_policy_says_what_it_leaves_out(tmp_path: Path) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    frames = [
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IP(src=f"192.0.2.{host}", dst="198.51.100.1")
        / UDP(sport=5060, dport=5060)
        / b"OPTIONS sip:a SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"
        for host in range(1, 61)
    ]
    wrpcap(str(tmp_path / "many.pcap"), frames)
    (tmp_path / "none.pcap").write_bytes(b"not a capture")
    done = CliRunner().invoke(
        app, ["policy", "init", str(tmp_path / "many.pcap"), str(tmp_path / "none.pcap")]
    )
    assert done.exit_code == 2
    assert "none.pcap" in done.stderr
    assert "11 more were seen, with fewer packets" in done.stdout


def test_a_diff_says_what_a_change_changes(mirrored: Generated, tmp_path: Path) -> None:
    before, after = tmp_path / "before.toml", tmp_path / "after.toml"
    truth = json.loads(mirrored.scenario.read_text())["implants"][0]
    before.write_text("[checks.I6]\nsinks = []\n")
    after.write_text(f'[checks.I6]\nsinks = ["{truth["collector"]}"]\n')
    arguments = ["policy", "diff", str(before), str(after), str(mirrored.inside), str(mirrored.outside), "-q"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    assert re.search(r"^I6  fail.* -> pass", done.output, re.MULTILINE)
    assert re.search(rf"^  - {re.escape(truth['collector'])} received ", done.output, re.MULTILINE)
    same = CliRunner().invoke(app, ["policy", "diff", str(before), str(before), str(mirrored.inside), "-q"])
    assert (same.exit_code, same.output) == (0, "no verdict changes\n")


def test_commands(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(GOOD)
    bad.write_text("[checks.V1]\nseverty = 'low'\n")
    assert CliRunner().invoke(app, ["policy", "check", str(good)]).exit_code == 0
    done = CliRunner().invoke(app, ["policy", "check", str(bad)])
    assert done.exit_code == 2
    assert f'{bad}:2: unknown key "severty"' in done.output
    assert "V1   judges" in CliRunner().invoke(app, ["policy", "explain", str(good)]).output
    assert json.loads(CliRunner().invoke(app, ["policy", "schema"]).output) == schema()
    out = tmp_path / "first.toml"
    assert CliRunner().invoke(app, ["policy", "init", "-o", str(out)]).exit_code == 0
    assert out.read_text() == starter()[0]
