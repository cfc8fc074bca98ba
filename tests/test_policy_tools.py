"""Policies are begun, read back and compared; the schema for editors accepts what the reader does."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tables import examination, flow
from test_policy import GOOD
from typer.testing import CliRunner

import tapsight
from tapsight._about import PACKS
from tapsight._check import judge
from tapsight._policy_tools import compare, packs, schema, standings, starter, summary
from tapsight.checks import CHECKS
from tapsight.checks._base import Pack
from tapsight.cli import app
from tapsight.detectors import DETECTORS
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


OWN = """
packs = ["capture-quality", "mobile-signalling"]
[sets]
voice_vlans = [210]
[checks.voice-vlan]
title = "Voice in its VLANs"
over = "flows"
scope = "app in (sip, rtp)"
expect = "vlan in voice_vlans"
by = "tap"
severity = "high"
ticket = "CHG-1"
[checks.few-questions]
over = "dns"
expect = "questions == 1"
by = ["src", "dst"]
[checks.S3]
nodes = ["192.0.2.0/28"]
[checks.I10]
bands = [{ prefixes = "192.0.2.0/24", hops = [5, 9], rtt_ms = [0.5, 40] }]
"""


@pytest.mark.parametrize("text", [GOOD, "", OWN, *_documented()])
def test_the_schema_accepts_what_is_a_policy(text: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(_plain(text), schema())


@pytest.mark.parametrize("text", [each for each in (GOOD, OWN, *_documented()) if "peers.csv" not in each])
def test_what_the_schema_accepts_is_a_policy(text: str, tmp_path: Path) -> None:
    for name in ("places.csv", "dbip.mmdb"):
        (tmp_path / name).write_text("")
    Policy.loads(text, folder=tmp_path)


def test_the_schema_lets_editors_complete() -> None:
    made = schema()
    checks = made["properties"]["checks"]
    # The tables that ship, each with its title, and any other name with what an own check takes.
    assert {*DETECTORS, *CHECKS} == set(checks["properties"])
    assert checks["properties"]["S3"]["description"] == CHECKS["S3"].title
    own = made["$defs"][checks["additionalProperties"]["$ref"].rpartition("/")[2]]
    assert {"title", "over", "scope", "expect", "by", "severity"} <= set(own["properties"])
    assert own["required"] == ["expect"]
    assert {"flows", "packets", "dns"} <= set(own["properties"]["over"]["enum"])
    assert "capture-quality" in made["properties"]["packs"]["items"]["enum"]
    assert made["$defs"]["S3Options"]["properties"]["nodes"]["description"].startswith(
        "The nodes that exchange GTP-U"
    )


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
        "packs = ['router']\n",
        "[checks.no-telnet]\nscope = 'app == telnet'\n",
        "[checks.no-telnet]\nexpect = 3\n",
        "[checks.no-telnet]\nexpect = 'app != telnet'\nover = 'flowz'\n",
        "[checks.no-telnet]\nexpect = 'app != telnet'\nexpected = 'x'\n",
        "[checks.No-Telnet]\nexpect = 'app != telnet'\n",
        "[checks.I10]\nbands = [{ prefixes = '192.0.2.0/24', hops = 7 }]\n",
        "[checks.V2]\nvlans = [9999]\n",
        "[checks.V7]\nvoice = 99\n",
        "[checks.V1]\nattack = ['T9999']\n",
        "[checks.M13]\nports = 65536\n",
        "[network]\nhome = 'norway'\n",
        "[zones]\na = { country = 'norway' }\n",
        "[zones]\na = { macs = ['00:1b'] }\n",
        "[zones]\na = { mpls = [1048576] }\n",
    ],
)
def test_the_schema_refuses_what_is_none(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy.loads(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), schema())


@pytest.mark.parametrize("salt", ['"pepper-17"', '["pepper-17"]', "{ x = 'pepper-17' }"])
def test_secrets_are_never_shown(salt: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f"[checks.A3]\nsalt = {salt}\nmediation = []\n")
    for command in (["explain", str(path)], ["check", str(path)]):
        run = CliRunner().invoke(app, ["policy", *command])
        assert "pepper" not in run.output
    if salt.startswith('"'):
        policy = Policy.load(path)
        assert (
            "pepper"
            not in f"{policy!r} {policy} {policy.checks!r} {policy.checks.model_dump()} {policy.checks.model_dump_json()}"
        )
        assert {row.check: row.said for row in standings(policy)}["A3"] == "mediation (0), salt (secret)"


def test_all_that_a_check_needs_is_named_at_once() -> None:
    states = {
        row.check: row.state
        for row in standings(Policy.loads('packs = ["router-hardening", "carrier-voice"]'))
    }
    assert states["C1"] == "needs set `allow` in [checks.C1], `infrastructure` in [network]"
    assert states["M1"] == "needs set `management` in [checks.M1], `infrastructure` in [network]"
    assert states["M11"] == "needs set `allow` in [checks.C4], `infrastructure` in [network]"
    assert states["M6"] == "needs set `servers` in [checks.M6], `infrastructure` in [network]"
    assert states["V10"] == "needs set `numbers` or `prefixes` in [checks.V10], `peers` in [checks.V10]"
    told = summary(Policy.loads('packs = ["router-hardening"]'))
    assert re.search(r"and \d+ more", told) is None
    assert {"C1", "M1", "M2", "M9", "M13", "V1"} <= set(re.findall(r"[A-Z]\d+", told))


def test_a_first_policy_of_nothing_is_one() -> None:
    policy = Policy.loads(starter()[0])
    states = {row.check: row.state for row in standings(policy)}
    assert states["V2"] == "off"
    # What nobody has answered yet judges nothing: an empty list would say that there is none.
    assert states["V1"] == "needs set `pairs` in [checks.V1]"
    assert [states[id_] for id_ in ("I5", "I6")] == [
        "needs set `allow` in [checks.I5]",
        "needs set `sinks` in [checks.I6]",
    ]
    assert states["Q1"] == 'not asked for: packs = ["capture-quality"]'
    assert states["C1"] == "needs set `allow` in [checks.C1], `infrastructure` in [network]"
    assert states["V9"] == 'not asked for: packs = ["carrier-voice"]'
    states = {row.check: row.state for row in standings(Policy.loads('packs = ["carrier-voice"]'))}
    assert (states["V9"], states["V4"]) == ("judges", "needs set `encrypted` in [checks.V4]")


@pytest.mark.parametrize("packs", [(), ("capture-quality",), PACKS])
def test_a_first_policy_of_nothing_fails_nothing(packs: tuple[Pack, ...], mirrored: Generated) -> None:
    """It says itself that verdicts are unknown until its questions are answered."""
    policy = Policy.loads(starter(None, packs)[0])
    sources = {"inside": str(mirrored.inside), "outside": str(mirrored.outside)}
    result = tapsight.check(sources, policy=policy)
    asked = {"V1", "V2", "I5", "I6"}
    words = {row["check"]: row["verdict"] for row in result.verdicts.to_pylist()}
    assert {words[id_] for id_ in asked} == {"unknown"}
    # That the calls were mirrored is found all the same.
    assert not {"V1", "V2"} & set(re.findall(r"\((V\d+)", result.answers[2].because))
    # Once a # is taken away, what is in the tables is a policy.
    answered = re.sub(
        r"^# (\[checks\.(?:V1|I5|I6)\]|pairs =|sinks =|allow = )", r"\1", starter()[0], flags=re.MULTILINE
    )
    states = {row.check: row.state for row in standings(Policy.loads(answered))}
    assert [states[id_] for id_ in ("V1", "I5", "I6")] == ["judges"] * 3


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
    assert "voice_vlans = []  # none was seen\n" in done.stdout


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
    out.write_text(GOOD)
    again = CliRunner().invoke(app, ["policy", "init", "-o", str(out)])
    assert again.exit_code == 2
    assert (
        f"{out} is there already, and may have been edited: name another file, or delete it" in again.stderr
    )
    assert out.read_text() == GOOD


# --- Packs and own checks ---------------------------------------------------------------------------------------------


def test_packs_that_are_on_and_what_others_would_add() -> None:
    policy = Policy.loads('packs = ["capture-quality"]\n[checks.S3]\nnodes = []\n')
    said = {each.pack: str(each) for each in packs(policy)}
    assert said["capture-quality"] == "on: Q1, Q2"
    assert said["mobile-signalling"] == "off, but for S3; would add S1, S2"
    states = {row.check: row.state for row in standings(policy)}
    assert (states["S3"], states["Q1"], states["Q2"]) == ("judges", "judges", "judges")
    assert states["S1"] == states["S2"] == 'not asked for: packs = ["mobile-signalling"]'


@pytest.mark.parametrize("pack", PACKS)
def test_a_first_policy_with_a_pack_asks_what_its_checks_need(pack: str) -> None:
    text, _ = starter(None, [pack])
    policy = Policy.loads(text)
    assert policy.packs == [pack]
    for id_, check in CHECKS.items():
        if check.pack == pack:
            assert f"# {id_:<4} {check.title}\n" in text
    # Once the questions are answered by "there is none", nothing is missing any more.
    answered = _answered(text)
    left = {
        row.check: row.state
        for row in standings(Policy.loads(answered))
        if row.check in CHECKS and CHECKS[row.check].pack == pack and row.state != "judges"
    }
    assert all("[network]" in state for state in left.values()), left


def _answered(text: str) -> str:
    """A first policy whose questions are no comments any more."""
    lines, is_open = [], False
    for line in text.splitlines():
        if re.match(r"# \[[\w.]+\]", line):
            is_open = True
        elif not re.match(r"# \w+ *= \[\]", line):
            is_open = False
        lines.append(line.removeprefix("# ") if is_open else line)
    return "\n".join(lines)


def test_packs_that_need_the_same_table_ask_once() -> None:
    text, _ = starter(None, PACKS)
    tables = re.findall(r"^# \[([\w.]+)\]", text, re.MULTILINE)
    assert len(tables) == len(set(tables))
    # What belongs to a table further up is asked for in words.
    (line,) = re.findall(r"^# Fill in .*", text, re.MULTILINE)
    assert line.startswith("# Fill in infrastructure under [network] above, for M1, M2, ")
    Policy.loads(_answered(text))


def test_commands_know_packs(tmp_path: Path) -> None:
    out = tmp_path / "first.toml"
    arguments = ["policy", "init", "--pack", "mobile-signalling", "--pack", "capture-quality", "-o", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    told = CliRunner().invoke(app, ["policy", "explain", str(out)]).output
    assert re.search(r"^pack mobile-signalling +on: S1, S2, S3$", told, re.MULTILINE)
    assert re.search(r"^pack carrier-internet +off; would add .*I7, I8, I9, I10", told, re.MULTILINE)
    assert "S1   needs set `own` and `peers` in [checks.B20]" in told
    assert not re.search(r"^I9 ", told, re.MULTILINE)
    wrong = CliRunner().invoke(app, ["policy", "init", "--pack", "mobile"])
    assert (wrong.exit_code, 'no pack is called "mobile"' in wrong.output) == (2, True)


def test_own_checks_are_explained_and_compared(tmp_path: Path) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="192.0.2.1", dst="192.0.2.2")
    wrpcap(str(tmp_path / "x.pcap"), [frame / UDP(sport=1000, dport=9) / b"x"])
    before, after = tmp_path / "before.toml", tmp_path / "after.toml"
    before.write_text('[checks.no-discard]\ntitle = "Nobody discards"\nexpect = "dst_port != 99"\n')
    after.write_text('[checks.no-discard]\ntitle = "Nobody discards"\nexpect = "dst_port != 9"\n')
    told = CliRunner().invoke(app, ["policy", "explain", str(after)]).output
    assert "no-discard judges: Nobody discards" in told
    arguments = ["policy", "diff", str(before), str(after), str(tmp_path / "x.pcap"), "-q"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    assert re.search(r"^no-discard  pass -> fail.*: Nobody discards$", done.output, re.MULTILINE)
    # A check that only one of them has.
    before.write_text("packs = []\n")
    done = CliRunner().invoke(app, arguments)
    assert re.search(r"^no-discard  - -> fail.*: Nobody discards$", done.output, re.MULTILINE)


def test_a_diff_tells_changes_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which more than 50 of a kind are summed up by a row that is always called alike."""
    flows = [flow(f"10.0.0.{n}", "198.51.100.1", protocol=6, dst_port=23) for n in range(70)]
    rule = '[checks.clear]\nexpect = "dst_port != 23"\nby = ["src"]\n'
    policies = [Policy.loads(rule + scope) for scope in ("", 'scope = "src in 10.0.0.0/26"\n')]
    results = [judge(examination(flows=flows), policy) for policy in policies]
    monkeypatch.setattr("tapsight._policy_tools._judged", lambda *_: results)
    (change,) = compare("x", *policies)[0]
    assert (change.check, change.before, change.after, change.new) == ("clear", "fail", "fail", ())
    # 10.0.0.64 to 10.0.0.69
    named = sorted(re.findall(r"10\.0\.0\.\d+", each)[0] for each in change.gone)
    assert named == [f"10.0.0.{n}" for n in range(64, 70)]
