"""Exceptions: findings that somebody answers for until a day are no failures, but they are not gone."""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import sarif_pydantic
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from tables import NOON, SECOND, claim, examination, flow, mirror, sip, tap, verdict
from typer.testing import CliRunner

import tapsight
from tapsight._baseline import read_baseline
from tapsight._check import Result, judge, plain_rows
from tapsight._options import Options
from tapsight._policy_tools import schema
from tapsight.checks import CHECKS
from tapsight.checks._composite import Composite
from tapsight.cli import app
from tapsight.formats import render
from tapsight.lab import Implant, Scenario, generate
from tapsight.lab.scenario import Generated
from tapsight.policy import Policy, PolicyError
from tapsight.report_text import render as render_text

MIDNIGHT = 1_767_225_600 * SECOND
"""2026-01-01 00:00:00 UTC: `date -u -d 2026-01-01 +%s`."""
DAY = 86_400 * SECOND

PEERS = '[sets]\npeers = ["192.0.2.10", "203.0.113.10"]\n[checks.V1]\npairs = [["peers", "peers"]]\n'
BY = 'owner = "noc@example.net"\nreason = "migration, CHG-1234"\n'


def excepting(selector: str, check: str = "V1", expires: str = "2026-12-31") -> str:
    return f'[[exceptions]]\ncheck = "{check}"\n{selector}\n{BY}expires = {expires}\n'


STRANGER = 'between = ["192.0.2.10", "198.51.100.0/24"]'


def run(policy: str, **rows: Any) -> Result:
    return judge(examination(**rows), Policy.loads(policy))


def stranger(**other: Any) -> dict[str, Any]:
    return sip("192.0.2.10", "198.51.100.66", **other)


def ids(result: Result) -> list[str]:
    found: list[str] = result.findings["id"].to_pylist()
    return found


# --- What does not count ------------------------------------------------------------------------------------------------


def test_a_finding_that_is_excepted_is_no_failure_and_still_there() -> None:
    flows = [sip("192.0.2.10", "203.0.113.10"), stranger()]
    plain, result = run(PEERS, flows=flows), run(PEERS + excepting(STRANGER), flows=flows)
    assert (verdict(plain, "V1")["verdict"], plain.exit_code) == ("fail", 1)
    row = verdict(result, "V1")
    assert (row["verdict"], row["findings"], row["coverage"]) == ("pass", 0, 1.0)
    assert row["reason"] == "1 finding excepted: noc@example.net, migration, CHG-1234, until 2026-12-31"
    assert (result.exit_code, result.findings.num_rows) == (0, 0)
    # It is the same finding, with all that is known of it.
    (finding,) = plain_rows(plain.findings)
    said = {"owner": "noc@example.net", "reason": "migration, CHG-1234", "expires": "2026-12-31"}
    assert plain_rows(result.excepted) == [{**finding, "verdict": "excepted", **said}]
    assert result.excepted["expires"].to_pylist() == [datetime.date(2026, 12, 31)]
    assert [dict(each) for each in result.exceptions] == [
        {
            "check": ["V1"],
            "about": "V1 between 192.0.2.10 and 198.51.100.0/24",
            **said,
            "findings": 1,
            "expired": 0,
            "note": None,
        }
    ]


def test_others_of_its_check_still_fail() -> None:
    flows = [stranger(), sip("192.0.2.10", "203.0.113.66")]
    result = run(PEERS + excepting(STRANGER), flows=flows)
    row = verdict(result, "V1")
    assert (row["verdict"], row["findings"], result.exit_code) == ("fail", 1, 1)
    assert row["reason"] == "1 finding excepted: noc@example.net, migration, CHG-1234, until 2026-12-31"


def test_what_could_hardly_be_judged_does_not_pass_by_an_exception() -> None:
    flows = [stranger(packets=10), sip("198.51.100.1", "198.51.100.2", basis="port", packets=90)]
    row = verdict(run(PEERS + excepting(STRANGER), flows=flows), "V1")
    assert row["verdict"] == "unknown"
    assert row["reason"].startswith("only 10.0 % could be judged, less than the 50 % demanded")
    assert row["reason"].endswith(
        "1 finding excepted: noc@example.net, migration, CHG-1234, until 2026-12-31"
    )


@pytest.mark.parametrize(
    ("selector", "is_covered"),
    [
        ('between = ["192.0.2.10", "198.51.100.66"]', True),
        ('between = ["::ffff:192.0.2.10", "::ffff:198.51.100.0/120"]', True),
        ('address = "::ffff:192.0.2.10"', True),
        ('address = "::ffff:c633:6442"', True),  # 198.51.100.66
        ('address = "::ffff:0:0/96"', True),
        ('address = "::ffff:192.0.2.11"', False),
        ('address = "::/0"', False),
        ('between = ["198.51.100.66", "192.0.2.10"]', True),
        ('between = ["192.0.2.0/24", ["203.0.113.1", "198.51.100.66"]]', True),
        ('between = ["peers", "0.0.0.0/0"]', True),
        ('between = ["192.0.2.10", "192.0.2.10"]', False),
        ('between = ["192.0.2.10", "198.51.100.67"]', False),
        ('address = "198.51.100.66"', True),
        ('address = ["203.0.113.9", "198.51.100.64/30"]', True),
        ('address = "198.51.100.67"', False),
        ('address = "2001:db8::/32"', False),
        ("address = []", False),
        ('tap = "inside"', True),
        ('tap = ["outside", "inside"]', True),
        ('tap = "outside"', False),
        ('encap = "gre"', False),
        ('address = "198.51.100.66"\ntap = "inside"', True),
        ('address = "198.51.100.66"\ntap = "outside"', False),
    ],
)
def test_all_that_is_given_has_to_fit(selector: str, is_covered: bool) -> None:
    result = run(PEERS + excepting(selector), flows=[stranger()])
    assert (result.excepted.num_rows, result.findings.num_rows) == ((1, 0) if is_covered else (0, 1))


def test_a_tap_that_is_not_named_keeps_it_a_failure() -> None:
    flows = [stranger(), stranger(tap="outside")]
    assert run(PEERS + excepting('tap = "inside"'), flows=flows).exit_code == 1
    assert run(PEERS + excepting('tap = ["inside", "outside"]'), flows=flows).exit_code == 0


def test_by_id() -> None:
    (id_,) = ids(run(PEERS, flows=[stranger()]))
    assert run(PEERS + excepting(f'id = "{id_}"'), flows=[stranger()]).exit_code == 0
    assert run(PEERS + excepting('id = ["000000000000"]'), flows=[stranger()]).exit_code == 1


TUNNEL = {"encap": "gre/erspan2", "outer_src": "192.0.2.1", "outer_dst": "198.51.100.7", "tunnel_id": 17}
NO_TUNNELS = "[checks.I5]\nallow = []\n"


@pytest.mark.parametrize(("encap", "code"), [("gre", 0), ("gre/erspan2", 0), ("erspan2", 1), ("vxlan", 1)])
def test_by_encapsulation_as_a_whole_or_the_outermost(encap: str, code: int) -> None:
    policy = NO_TUNNELS + excepting(f'encap = "{encap}"', "I5")
    assert run(policy, flows=[flow(**TUNNEL)]).exit_code == code


def test_examples_are_not_what_a_finding_is_about() -> None:
    """V2 tells of a VLAN, with two addresses as an example: an exception for these would cover all others in it."""
    voice = flow(app="rtp", traffic="voice-media", basis="behaviour", vlan=999)
    policy = "[checks.V2]\nvlans = [210]\n"
    assert run(policy + excepting('address = "192.0.2.10"', "V2"), flows=[voice]).exit_code == 1
    assert run(policy + excepting('tap = "inside"', "V2"), flows=[voice]).exit_code == 0


@pytest.mark.parametrize(
    ("check", "code"),
    [('"A5.forked"', 0), ('"A5"', 0), ('"A5.late"', 1), ('"A1"', 1), ('["A1", "A5"]', 0)],
)
def test_a_detector_or_one_class_of_it(check: str, code: int) -> None:
    claims = [claim("A5.forked", collector_mac="02:00:00:00:00:66")]
    policy = excepting('tap = ["inside", "outside"]').replace('"V1"', check)
    assert run(policy, claims=claims).exit_code == code


def test_a_mirror_session_fails_several_and_each_is_excepted_by_itself() -> None:
    claims = [mirror(), mirror("A2.erspan2")]
    sinks = "[checks.I6]\nsinks = []\n"
    session = 'between = ["192.0.2.1", "198.51.100.7"]'

    def words(result: Result) -> list[str]:
        return [verdict(result, check)["verdict"] for check in ("A1", "A2", "I6")]

    assert words(run(sinks, claims=claims)) == ["fail", "fail", "fail"]
    # A2 has no finding of its own where A1 proves what it saw.
    assert words(run(sinks + excepting(session, "A1"), claims=claims)) == ["pass", "pass", "fail"]
    both = sinks + excepting(session).replace('"V1"', '["A1", "I6"]')
    result = run(both, claims=claims)
    assert words(result) == ["pass", "pass", "pass"]
    assert (result.exit_code, result.excepted.num_rows) == (0, 2)


def test_a_session_that_two_taps_prove_counts_until_both_are_excepted() -> None:
    claims = [
        mirror(tap="a", copy_tap="a", evidence=[]),
        mirror(tap="b", copy_tap="b", evidence=[]),
        mirror("A2.erspan2"),
    ]
    one = run(excepting('tap = "a"', "A1"), claims=claims)
    assert [verdict(one, check)["findings"] for check in ("A1", "A2")] == [1, 1]
    both = run(excepting('tap = "a"', "A1") + excepting('tap = "b"', "A1"), claims=claims)
    assert [verdict(both, check)["verdict"] for check in ("A1", "A2")] == ["pass", "pass"]


def test_the_severity_of_a_verdict_is_that_of_what_counts() -> None:
    claims = [
        claim(
            "A5.forked",
            severity="critical",
            collector_mac="02:00:00:00:00:66",
            tap="x",
            copy_tap="x",
            evidence=[],
        ),
        claim("A5.late", severity="low", collector_mac="02:00:00:00:00:67"),
    ]
    assert verdict(run("", claims=claims), "A5")["severity"] == "critical"
    assert verdict(run(excepting('tap = "x"', "A5"), claims=claims), "A5")["severity"] == "low"


def test_many_of_a_kind_are_each_held_against_the_exception() -> None:
    """More than are listed one by one: 60 excepted, 60 not."""
    flows = [sip("192.0.2.10", f"198.51.100.{host}") for host in range(1, 61)]
    flows += [sip("192.0.2.10", f"203.0.113.{host}") for host in range(20, 80)]
    result = run(PEERS + excepting(STRANGER), flows=flows)
    row = verdict(result, "V1")
    assert (row["verdict"], row["findings"]) == ("fail", 60)
    assert row["reason"].startswith("60 findings excepted")
    assert result.exceptions[0]["findings"] == 60
    # 50, and the rest as one.
    assert (result.findings.num_rows, result.excepted.num_rows) == (51, 51)


def test_the_first_exception_that_fits_counts() -> None:
    policy = PEERS + excepting('tap = "inside"') + excepting(STRANGER).replace("noc@", "other@")
    result = run(policy, flows=[stranger()])
    assert result.excepted["owner"].to_pylist() == ["noc@example.net"]
    assert [each["note"] for each in result.exceptions] == [
        None,
        "covers nothing that was found: take it out, unless it is for what is to come",
    ]


# --- Until when ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "counts"),
    [(MIDNIGHT, True), (MIDNIGHT + DAY - 1, True), (MIDNIGHT + DAY, False), (MIDNIGHT + DAY + 1, False)],
)
def test_it_counts_to_the_last_nanosecond_of_its_day_by_the_time_of_the_traffic(
    last: int, counts: bool
) -> None:
    policy = PEERS + excepting(STRANGER, expires="2026-01-01")
    taps = [tap(first_ts=MIDNIGHT, last_ts=MIDNIGHT + 2 * DAY)]
    result = run(policy, flows=[stranger(first_ts=MIDNIGHT, last_ts=last)], taps=taps)
    assert result.excepted.num_rows == int(counts)
    row = verdict(result, "V1")
    assert row["verdict"] == ("pass" if counts else "fail")
    if not counts:
        (finding,) = plain_rows(result.findings)
        assert finding["sentence"].endswith(
            "between them. The exception of noc@example.net for it expired on 2026-01-01."
        )
        assert finding["id"] == ids(run(PEERS, flows=[stranger()]))[0]
        assert result.exceptions[0]["expired"] == 1
    assert result.exceptions[0]["note"] == "has expired: take it out, or have it renewed"


@pytest.mark.parametrize(
    ("expires", "note"),
    [
        # Captures of 2026-01-01.
        ("2025-12-31", "has expired: take it out, or have it renewed"),
        ("2026-01-01", "ends with this day"),
        ("2026-01-02", "ends in 1 day"),
        ("2026-01-31", "ends in 30 days"),
        ("2026-02-01", None),
        ('"2026-02-01"', None),
        ("9999-12-31", None),
    ],
)
def test_says_which_end_soon(expires: str, note: str | None) -> None:
    result = run(PEERS + excepting(STRANGER, expires=expires), flows=[stranger()])
    assert result.exceptions[0]["note"] == note
    page = render_text(result, width=400)
    line = f"  - the exception of noc@example.net for V1 between 192.0.2.10 and 198.51.100.0/24 (migration, CHG-1234, until {expires}) {note}\n"
    assert (line in page) == (note is not None)


def test_of_several_that_have_expired_the_last_is_named() -> None:
    policy = PEERS + excepting(STRANGER, expires="2024-01-01") + excepting(STRANGER, expires="2025-06-30")
    (finding,) = plain_rows(run(policy, flows=[stranger()]).findings)
    assert finding["sentence"].endswith("expired on 2025-06-30.")


# --- What is said of it ---------------------------------------------------------------------------------------------------


def test_a_copy_that_is_excepted_is_still_a_copy() -> None:
    claims = [mirror()]
    policy = excepting('between = ["192.0.2.1", "198.51.100.7"]', "A1")
    result = run(policy, claims=claims)
    copied = result.answers[0]
    assert (copied.question, copied.answer) == ("Was traffic copied?", "yes")
    assert copied.because == (
        "1 finding, the largest of 9,950 packets; 1 finding excepted: noc@example.net, migration, CHG-1234, until 2026-12-31"
    )
    assert result.exit_code == 0
    mixed = run(policy, claims=[*claims, mirror(collector="203.0.113.7")])
    assert mixed.answers[0].because.startswith(
        "2 findings, the largest of 9,950 packets; 1 finding excepted: "
    )
    assert mixed.exit_code == 1


@pytest.fixture
def result() -> Result:
    text = PEERS + excepting(STRANGER) + excepting('encap = "gre"', "I5", "2026-01-11")
    return run(text, flows=[stranger(), sip("192.0.2.10", "203.0.113.66")])


def test_text(result: Result) -> None:
    page = render_text(result, width=200, details=True)
    (id_,) = result.excepted["id"].to_pylist()
    assert "\nFindings (1)\n" in page
    start = page.index("\nExcepted (1)\n")
    part = page[start : page.index("\nVerdicts\n")]
    assert f"  HIGH  V1  {id_}\n    192.0.2.10 and 198.51.100.66 exchanged" in part
    assert "    by         noc@example.net, migration, CHG-1234, until 2026-12-31\n" in part
    assert (
        "  - the exception of noc@example.net for I5 in gre (migration, CHG-1234, until 2026-01-11) covers nothing"
        in part
    )
    assert "Excepted" not in render_text(run(PEERS, flows=[stranger()]), details=True)
    short = render_text(result, width=200)
    assert "  1 finding excepted, for which noc@example.net answers: --details shows all\n" in short
    assert "excepted" not in render_text(run(PEERS, flows=[stranger()]))
    assert repr(result).splitlines()[-2:] == ["findings: 1", "excepted: 1"]


def test_json_and_ndjson(result: Result) -> None:
    data = json.loads(result.to_json())
    assert [row["owner"] for row in data["excepted"]] == ["noc@example.net"]
    assert [row["expires"] for row in data["exceptions"]] == ["2026-12-31", "2026-01-11"]
    lines = [json.loads(line) for line in result.to_ndjson().splitlines()]
    assert [line for line in lines if line["type"] == "excepted"] == [
        {"type": "excepted", **data["excepted"][0]}
    ]
    assert [line["findings"] for line in lines if line["type"] == "exception"] == [1, 0]


def test_a_baseline_does_not_know_what_was_excepted(result: Result, tmp_path: Path) -> None:
    """What was excepted yesterday, and is not today, is new."""
    (excepted,) = result.excepted["id"].to_pylist()
    for name, text in (("a.json", result.to_json()), ("a.ndjson", result.to_ndjson())):
        (tmp_path / name).write_text(text)
        known = read_baseline(tmp_path / name)
        assert set(known.levels) == set(ids(result))
        later = run(PEERS, flows=[stranger(), sip("192.0.2.10", "203.0.113.66")]).since(known)
        assert ids(later) == [excepted]
    # What comes to be excepted is not gone.
    assert result.since([excepted]).gone == ()


def test_sarif_has_it_as_suppressed(result: Result) -> None:
    """SARIF 2.1.0, section 3.35: kind external, for what is not in the artifact; status accepted; justification."""
    text = render(result, "sarif")
    sarif_pydantic.Sarif.model_validate_json(text)
    # All say whether they are, section 3.27.23.
    suppressed = [each for each in json.loads(text)["runs"][0]["results"] if each["suppressions"]]
    assert [each["partialFingerprints"]["tapsight/v1"] for each in suppressed] == result.excepted[
        "id"
    ].to_pylist()
    (suppression,) = suppressed[0]["suppressions"]
    assert (suppression["kind"], suppression["status"]) == ("external", "accepted")
    assert suppression["justification"] == "noc@example.net: migration, CHG-1234"
    assert suppression["properties"]["expires"] == "2026-12-31"
    alone = run(PEERS + excepting(STRANGER), flows=[stranger()])
    results = json.loads(render(alone, "sarif"))["runs"][0]["results"]
    # The check passes, and what it passes without is there.
    assert sorted(each["kind"] for each in results if each["ruleId"] == "V1") == ["fail", "pass"]


def test_ocsf_has_it_as_suppressed(result: Result) -> None:
    """OCSF 1.5, Detection Finding: status_id 3 is Suppressed."""
    objects = [json.loads(line) for line in render(result, "ocsf").splitlines()]
    detections = [DetectionFinding.model_validate(each) for each in objects if each["class_uid"] == 2004]
    assert [each.status for each in detections] == ["New", "Suppressed"]
    assert detections[1].status_id is not None
    assert detections[1].status_id.value == 3
    assert detections[1].comment == "noc@example.net: migration, CHG-1234, until 2026-12-31"


@pytest.mark.parametrize("name", ["eve", "zeek", "stix"])
def test_what_raises_alerts_leaves_it_out(result: Result, name: Any) -> None:
    text = render(result, name)
    assert ids(result)[0] in text
    assert result.excepted["id"].to_pylist()[0] not in text


def test_page(result: Result, tmp_path: Path) -> None:
    result.report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert '<h3>Excepted <span class="count">1</span></h3>' in text
    assert "<strong>By noc@example.net, migration, CHG-1234, until 2026-12-31.</strong>" in text
    assert "The exception of noc@example.net for I5 in gre" in text


def test_hostile_text_of_a_policy_stays_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\\u001b[31m\\u202e"
    policy = PEERS + excepting(STRANGER).replace("migration, CHG-1234", evil)
    result = run(policy, flows=[stranger()])
    result.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count("<script>") == 1
    for text in (
        page,
        render_text(result),
        result.to_json(),
        render(result, "sarif"),
        render(result, "ocsf"),
    ):
        assert not set(text) & set("\x1b\u202e")
    (tmp_path / "policy.toml").write_text(policy)
    done = CliRunner().invoke(app, ["policy", "explain", str(tmp_path / "policy.toml")])
    assert not set(done.output) & set("\x1b\u202e")


# --- What is no exception -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            excepting(""),
            1,
            "no. 1: would cover all that V1 ever find: say which with one of between, address, tap, encap, id",
        ),
        (excepting(STRANGER, "V99"), 2, "no check or detector is called 'V99'"),
        (excepting(STRANGER).replace('"V1"', "[]"), 2, "must name a check or detector"),
        (excepting('between = ["192.0.2.1"]'), 3, "list of two sides"),
        (excepting('between = ["192.0.2.1", "partners"]'), 3, 'no set is named "partners"'),
        (excepting('address = "192.0.2.300"'), 3, "neither an address"),
        (excepting("tap = 3"), 3, "must be the name of a tap"),
        (excepting("encap = ''"), 3, "must say which encapsulation"),
        (excepting("id = 'abc'"), 3, "12 hexadecimal digits"),
        (
            excepting(f"{STRANGER}\nsrc = '192.0.2.1'"),
            4,
            'unknown key "src" in [[exceptions]] no. 1; known: check, between',
        ),
        (excepting(STRANGER, expires="2026-12-31T12:00:00Z"), 6, "2026-12-31T12:00:00+00:00 is no date"),
        (excepting(STRANGER, expires='"soon"'), 6, '"soon" is no date: must be one such as 2027-01-31'),
        (excepting(STRANGER, expires='"2026-02-29"'), 6, "is no date"),
        (
            excepting(STRANGER).replace('"noc@example.net"', "' '"),
            4,
            "must say who answers for it, such as 'noc@example.net'",
        ),
        (
            excepting(STRANGER).replace('reason = "migration, CHG-1234"\n', ""),
            1,
            '[[exceptions]] no. 1: lacks "reason"',
        ),
        (
            excepting(STRANGER) + excepting(STRANGER, expires="7"),
            12,
            "[[exceptions]] no. 2, expires: 7 is no date",
        ),
        (
            "exceptions = 3\n",
            1,
            "[exceptions]: must be tables: write [[exceptions]], with two brackets, before each",
        ),
        ("exceptions = ['V1']\n", 1, "must be tables"),
        ("[exceptions]\ncheck = 'V1'\n", 1, "must be tables"),
    ],
)
def test_says_what_is_wrong_and_where(text: str, line: int, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.loads(text, name="policy.toml")
    assert str(caught.value).startswith(f"policy.toml:{line}: "), str(caught.value)
    assert words in str(caught.value)


def _plain(text: str) -> Any:
    """The policy as editors hold it against a schema: dates are text."""
    return json.loads(json.dumps(tomllib.loads(text), default=lambda value: value.isoformat()))


def test_the_schema_knows_exceptions_sets_and_techniques() -> None:
    good = PEERS.replace(
        '"203.0.113.10"]',
        '{ member = "203.0.113.10", from = 2026-01-01, until = 2026-06-30T12:00:00Z, note = "x" }]',
    ).replace("[checks", '[sets.more]\nfile = "peers.csv"\n[checks', 1).replace(
        "[checks.V1]", '[checks.V1]\nattack = ["T1557"]'
    ) + excepting(STRANGER)
    jsonschema.validate(_plain(good), schema())
    for old, new in [
        ("expires = 2026-12-31", "expires = 7"),
        (STRANGER, ""),
        ("peers.csv", "peers.xlsx"),
        ("from = 2026", "form = 2026"),
        ("until = 2026-06-30T12:00:00Z", 'until = "soon"'),
        ('owner = "noc@example.net"', ""),
        ("[checks.V1]", "[checks.V1]\nattack = 7\n#"),
    ]:
        assert old in good
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(
                _plain(good.replace(old, new, 1).replace('#\nattack = ["T1557"]', "")), schema()
            )


# --- ATT&CK ---------------------------------------------------------------------------------------------------------------


def test_a_policy_says_what_findings_of_a_check_point_to() -> None:
    policy = PEERS.replace("[checks.V1]", '[checks.V1]\nattack = ["T1557", "T1040"]') + excepting(
        'address = "198.51.100.9"'
    )
    flows = [stranger(), sip("192.0.2.10", "198.51.100.9")]
    result = run(policy, flows=flows)
    assert result.findings["attack"].to_pylist() == [["T1557", "T1040"]]
    assert result.excepted["attack"].to_pylist() == [["T1557", "T1040"]]
    assert run(PEERS, flows=flows).findings["attack"].to_pylist() == [[], []]
    for name in ("eve", "ocsf", "sarif", "stix", "zeek"):
        assert "T1557" in render(result, name)  # type: ignore[arg-type]
    assert "T1557, T1040" in render_text(result)
    # More than are listed one by one say so together, too.
    many = run(policy, flows=[sip("192.0.2.10", f"203.0.113.{host}") for host in range(20, 80)])
    assert many.findings["attack"].to_pylist() == [["T1557", "T1040"]] * 51


def test_of_a_detector_and_of_none() -> None:
    claims = [mirror()]
    assert run("", claims=claims).findings["attack"].to_pylist() == [["T1020.001", "T1040"]]
    assert run('[checks.A1]\nattack = "T1123"\n', claims=claims).findings["attack"].to_pylist() == [["T1123"]]
    assert run("[checks.A1]\nattack = []\n", claims=claims).findings["attack"].to_pylist() == [[]]


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ('"T1558"', 'did you mean "T1557" (Adversary-in-the-Middle)? known: T1020.001'),
        ('["T1557", "Network Snifing"]', 'did you mean "T1040" (Network Sniffing)?'),
        ("7", "7 is no technique of ATT&CK"),
        ('"x"', "that findings point to; known: T1020.001"),
    ],
)
def test_a_technique_that_is_not_known(attack: str, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.loads(f"[checks.V1]\n\nattack = {attack}\n", name="policy.toml")
    assert str(caught.value).startswith("policy.toml:3: [checks.V1] attack: ")
    assert words in str(caught.value)


# --- From captures to exit codes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(
        Scenario(implants=(Implant("mirror", only="voice"),)), tmp_path_factory.mktemp("mirrored")
    )


def test_commands(mirrored: Generated, tmp_path: Path) -> None:
    sources = {"inside": str(mirrored.inside), "outside": str(mirrored.outside)}
    before = tapsight.check(sources, policy=mirrored.policy)
    names = sorted(
        {(row["check"] or row["detector"]).partition(".")[0] for row in plain_rows(before.findings)}
    )
    assert before.exit_code == 1
    text = mirrored.policy.read_text()
    all_ids = ", ".join(f'"{id_}"' for id_ in ids(before))
    # Beside the first one, whose folder has what both name.
    policy = mirrored.policy.with_name("excepted.toml")
    checks = "[" + ", ".join(f'"{name}"' for name in names) + "]"
    policy.write_text(text + excepting(f"id = [{all_ids}]", expires="2999-12-31").replace('"V1"', checks))
    arguments = [*(f"{name}={path}" for name, path in sources.items()), "-q"]
    done = CliRunner().invoke(app, ["check", *arguments, "--policy", str(policy)])
    assert done.exit_code == 0, done.output
    assert re.search(r"^Was traffic copied\? +YES: ", done.output, re.MULTILINE)
    assert f"  {len(ids(before))} findings excepted, for which noc@example.net answers" in done.output
    strict = CliRunner().invoke(app, ["check", *arguments, "--policy", str(policy), "--fail-on", "critical"])
    assert strict.exit_code == 0
    # What a change of a policy takes out is shown as what it is.
    diff = CliRunner().invoke(app, ["policy", "diff", str(mirrored.policy), str(policy), *arguments])
    assert diff.exit_code == 1
    assert "  + excepted by noc@example.net until 2999-12-31: " in diff.output
    # Evidence of what is excepted, for who asks.
    result = tapsight.check(sources, policy=policy)
    assert result.exit_code == 0
    manifest = result.evidence(tmp_path / "evidence", findings=result.excepted["id"].to_pylist()[:1])
    assert [each["id"] for each in manifest["findings"]] == result.excepted["id"].to_pylist()[:1]
    assert result.evidence(tmp_path / "none")["findings"] == []


def test_check_and_explain(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        PEERS
        + excepting(STRANGER, expires="2020-02-29")
        + excepting('id = "0123456789ab"', "I5", "2999-12-31")
    )
    done = CliRunner().invoke(app, ["policy", "check", str(policy)])
    assert done.exit_code == 0
    assert done.output.splitlines()[1:] == [
        f"{policy}: the exception of noc@example.net for V1 between 192.0.2.10 and 198.51.100.0/24 expired on 2020-02-29 (migration, CHG-1234)"
    ]
    explained = CliRunner().invoke(app, ["policy", "explain", str(policy)]).output.splitlines()
    assert explained[-2:] == [
        "exception: findings of V1 between 192.0.2.10 and 198.51.100.0/24 count again since it expired on 2020-02-29 (noc@example.net: migration, CHG-1234)",
        "exception: findings of I5 with id 0123456789ab do not count until 2999-12-31 (noc@example.net: migration, CHG-1234)",
    ]


def test_expires_as_told_on_its_last_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(PEERS + excepting(STRANGER, expires="2026-01-01"))
    for time, words in (
        (NOON, "ends with this day"),
        (NOON - DAY, "ends in 1 day"),
        (NOON - 30 * DAY, "ends in 30 days"),
        (NOON - 31 * DAY, None),
        (MIDNIGHT + DAY, "expired on 2026-01-01"),
    ):
        monkeypatch.setattr("tapsight._sets.now", lambda time=time: time)
        lines = CliRunner().invoke(app, ["policy", "check", str(policy)]).output.splitlines()[1:]
        assert [words in line for line in lines if words] == ([True] if words else [])
        assert len(lines) == int(words is not None)


# --- Checks of one's own, and those that say what others found -------------------------------------------------------------

OWN = '[checks.no-calls]\nscope = "app == sip"\nexpect = "dst == 203.0.113.10 or src == 203.0.113.10"\nattack = "T1557"\n'


def test_checks_of_ones_own_have_exceptions() -> None:
    flows = [stranger()]
    plain = run(OWN, flows=flows)
    assert (verdict(plain, "no-calls")["verdict"], plain.findings["attack"].to_pylist()) == (
        "fail",
        [["T1557"]],
    )
    result = run(OWN + excepting('between = ["192.0.2.10", "198.51.100.66"]', "no-calls"), flows=flows)
    assert verdict(result, "no-calls")["verdict"] == "pass"
    assert (result.exit_code, result.excepted["check"].to_pylist()) == (0, ["no-calls"])
    with pytest.raises(PolicyError, match='did you mean "no-calls"'):
        Policy.loads(OWN + excepting('tap = "inside"', "no-cals"))


@pytest.mark.parametrize("name", ["eve", "ocsf", "sarif", "stix", "zeek"])
def test_formats_know_checks_of_ones_own(name: Any) -> None:
    title = "expect dst == 203.0.113.10 or src == 203.0.113.10"
    text = render(run(OWN, flows=[stranger()]), name)
    assert "no-calls" in text or "NoCalls" in text
    assert title in text or name in {"zeek"}
    render(run(OWN + excepting('tap = "inside"', "no-calls"), flows=[stranger()]), name)


def test_what_says_what_others_found_goes_by_what_counts() -> None:
    class Both(Composite[Options]):
        """Signalling and tunnels."""

        id, title, severity, options, of = "both", "Nothing of both", "high", Options, ("V1", "A1")

    flows = [stranger()]
    policies = (PEERS, PEERS + excepting(STRANGER))
    results = [judge(examination(flows=flows), Policy.loads(text), checks=[Both]) for text in policies]
    assert [verdict(result, "both")["verdict"] for result in results] == ["fail", "pass"]
    assert [result.exit_code for result in results] == [1, 0]
    # So it is where the policy changes within the captures.
    dated = PEERS.replace('"203.0.113.10"]', '{ member = "203.0.113.10", until = 2026-01-01T12:00:30Z }]')
    for text, word in ((dated, "fail"), (dated + excepting(STRANGER), "pass")):
        result = judge(examination(flows=flows), Policy.loads(text), checks=[Both])
        assert verdict(result, "both")["verdict"] == word


def test_what_says_what_others_found_has_no_findings_to_except(monkeypatch: pytest.MonkeyPatch) -> None:
    class Both(Composite[Options]):
        """Signalling and tunnels."""

        id, title, severity, options, of = "M0", "Nothing of both", "high", Options, ("V1", "A1")

    monkeypatch.setitem(CHECKS, "M0", Both)
    with pytest.raises(PolicyError, match="M0 has no findings, but says what others find: name V1 or A1"):
        Policy.loads(excepting('tap = "inside"', "M0"))
