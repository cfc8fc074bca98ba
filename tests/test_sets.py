"""Sets of a policy: from files, with dates, and what a policy says of captures in whose time it changes."""

from __future__ import annotations

import datetime
import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap
from tables import NOON, SECOND, address, claim, examination, flow, rtp, sip, tap, verdict
from typer.testing import CliRunner

import tapsight
from tapsight._call_verdicts import ASPECTS
from tapsight._call_verdicts import schema as call_schema
from tapsight._check import Result, judge, plain_rows
from tapsight._options import within
from tapsight._readings import MOST, Reading, readings, settled_calls
from tapsight._sets import Dated, Members, end_text, moment_text, read_time
from tapsight.checks._custom import custom_check
from tapsight.cli import app
from tapsight.lab import Scenario, generate
from tapsight.lab import sip as sip_lab
from tapsight.policy import Policy, PolicyError

MIDNIGHT = 1_767_225_600 * SECOND
"""2026-01-01 00:00:00 UTC: `date -u -d 2026-01-01 +%s`."""
DAY = 86_400 * SECOND
PAIRS = '[checks.V1]\npairs = [["peers", "peers"]]\n'


def from_file(folder: Path, name: str, content: str | bytes) -> Members:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return Policy.loads(f'[sets]\npeers = {{ file = "{name}" }}\n', folder=folder).sets["peers"]


# --- Dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "until", "seconds"),
    [
        ("2026-01-01", False, 1_767_225_600),
        # The whole day counts: until the first nanosecond of the next.
        ("2026-01-01", True, 1_767_312_000),
        (datetime.date(2026, 1, 1), True, 1_767_312_000),
        ("2026-01-01T12:00:00Z", True, 1_767_268_800),
        ("2026-01-01t12:00:00z", False, 1_767_268_800),
        ("2026-01-01 13:00:00+01:00", False, 1_767_268_800),
        ("2026-01-01T06:30:00-05:30", False, 1_767_268_800),
        (datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC), True, 1_767_268_800),
        # 2024 was a leap year.
        ("2024-02-29", True, 1_709_251_200),
        ("1970-01-01", False, 0),
    ],
)
def test_reads_dates_and_times(value: object, until: bool, seconds: int) -> None:
    assert read_time(value, until=until) == seconds * SECOND


def test_reads_nanoseconds() -> None:
    assert read_time("2026-01-01T12:00:00.000000001Z", until=True) == NOON
    assert read_time("2026-01-01T12:00:00.5Z", until=True) == NOON - 1 + SECOND // 2
    half = datetime.datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=datetime.UTC)
    assert read_time(half, until=False) == NOON - 1 + SECOND // 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"2026-02-30"', "no date: must be one such as 2027-01-31"),
        ('"01.02.2026"', "no date"),
        ('"2026-1-1"', "no date"),
        ('"20260101"', "no date"),
        ('"2026-W01-1"', "no date"),
        ('"2026-01-01T25:00:00Z"', "no time"),
        ('"2026-01-01T12:00:00"', 'says no zone: write "2026-01-01T12:00:00Z" for UTC'),
        ("2026-01-01T12:00:00", "says no zone: write 2026-01-01T12:00:00Z for UTC"),
        ("12:00:00", "no date"),
        ("2026", "2026 is no date"),
        ("true", "no date"),
        ("[2026-01-01]", "no date"),
        ("0001-01-01", "in no year that captures are of"),
        ('"9999-12-31T23:59:59-23:59"', "in no year that captures are of"),
    ],
)
def test_says_what_is_wrong_with_a_date(value: str, words: str) -> None:
    text = f"[sets]\na = [\n  '192.0.2.1',\n  {{ member = '192.0.2.2', until = {value} }},\n]\n"
    with pytest.raises(PolicyError) as caught:
        Policy.loads(text, name="policy.toml")
    assert words in str(caught.value)
    assert str(caught.value).startswith(("policy.toml:4: [sets] a: ", "policy.toml:2: [sets] a: "))


@given(st.integers(DAY, 250 * 365 * 86_400 * 10**9))
def test_a_time_is_written_as_it_is_read(time: int) -> None:
    text = moment_text(time)
    assert read_time(text, until=False) == time
    assert read_time(end_text(time), until=True) == time


def test_members_count_from_the_first_day_to_the_end_of_the_last() -> None:
    text = "[sets]\na = ['192.0.2.1', { member = '192.0.2.2', from = 2026-01-01, until = 2026-01-31, note = 'CHG-881' }]"
    members = Policy.loads(text).sets["a"]
    assert members.always == ("192.0.2.1",)
    (dated,) = members.dated
    assert (dated.begins, dated.ends) == (MIDNIGHT, MIDNIGHT + 31 * DAY)
    assert str(dated) == "192.0.2.2 from 2026-01-01 until 2026-01-31 (CHG-881)"
    times = [MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 31 * DAY - 1, MIDNIGHT + 31 * DAY]
    assert [dated.at(time) for time in times] == [False, True, True, False]


# --- Files ------------------------------------------------------------------------------------------------------------


def test_reads_csv(tmp_path: Path) -> None:
    members = from_file(
        tmp_path,
        "peers.csv",
        # As Excel writes it: with a byte order mark and CRLF.
        "\ufeffmember,until,from,note\r\n192.0.2.10,,,\r\n"
        ' 203.0.113.0/28 ,2026-12-31,2026-01-01T06:00:00Z,"CHG-881, Oslo\r\nand Bergen"\r\n\r\n2001:db8::/32,,2026-01-01,\r\n',
    )
    assert members.always == ("192.0.2.10",)
    assert members.dated == (
        # 365 days of 2026, to its end.
        Dated("203.0.113.0/28", MIDNIGHT + DAY // 4, MIDNIGHT + 365 * DAY, "CHG-881, Oslo\r\nand Bergen"),
        Dated("2001:db8::/32", MIDNIGHT, None, None),
    )
    assert members.file == str(tmp_path / "peers.csv")


def test_reads_csv_of_numbers_in_one_column_of_any_name(tmp_path: Path) -> None:
    assert from_file(tmp_path, "v.csv", "VLAN\n210\n211\n").always == (210, 211)
    assert from_file(tmp_path, "v.CSV", "member\n").always == ()
    for name in ("Member", "IP addresses", "Prefix", "networks", "VLAN ID", "tunnel_id"):
        assert from_file(tmp_path, "v.csv", f"{name}\n7\n").always == (7,)


def test_reads_json(tmp_path: Path) -> None:
    text = '[\n "192.0.2.10",\n {"member": "203.0.113.0/28", "until": "2026-12-31", "note": "CHG-881"}\n]\n'
    members = from_file(tmp_path, "peers.json", text)
    assert members.always == ("192.0.2.10",)
    assert members.dated == (Dated("203.0.113.0/28", None, MIDNIGHT + 365 * DAY, "CHG-881"),)
    assert from_file(tmp_path, "v.json", "\ufeff[210, 211]").always == (210, 211)
    assert from_file(tmp_path, "v.json", " [ ] ").always == ()


def test_files_are_members_for_checks(tmp_path: Path) -> None:
    (tmp_path / "peers.csv").write_text("member,until\n192.0.2.10,\n192.0.2.11,2020-12-31\n")
    (tmp_path / "vlans.json").write_text("[210]")
    text = '[sets]\npeers = { file = "peers.csv" }\nvlans = { file = "vlans.json" }\n[checks.V2]\nvlans = "vlans"\n'
    policy = Policy.loads(text + PAIRS, folder=tmp_path)
    # As it is today; captures have it as it was then.
    assert policy.options("V1").pairs == [(("192.0.2.10",), ("192.0.2.10",))]
    assert policy.options("V2").vlans == (210,)
    then = policy.when(lambda member: member.at(0))
    assert then.options("V1").pairs[0][0] == ("192.0.2.10", "192.0.2.11")


@pytest.mark.parametrize(
    ("name", "content", "line", "words"),
    [
        ("p.csv", "member\n192.0.2.1\n192.0.2.300\n", 3, "neither an address nor a prefix"),
        ("p.csv", "member\n192.0.2.1/24\n", 2, 'did you mean "192.0.2.0/24"?'),
        ("p.csv", 'member,note\n192.0.2.1,"a\nb"\n192.0.2.2/8,\n', 4, "192.0.0.0/8"),
        ("p.csv", "member\n192.0.2.1\n17\n", 3, "17 is not like those before: a set is all addresses"),
        ("p.csv", "member\n17\n192.0.2.1\n", 3, "a set is all numbers, or none"),
        ("p.csv", "member\n4294967296\n", 2, "from 0 to 4294967295"),
        ("p.csv", "member\n-1\n", 2, "neither an address"),
        (
            "p.csv",
            "member,form\n",
            1,
            'unknown column "form"; did you mean "from"? known: member, from, until, note',
        ),
        ("p.csv", "member;until\n", 1, "separated by commas"),
        ("p.csv", "member\tuntil\n", 1, "separated by commas"),
        ("p.csv", "member,until,until\n", 1, 'has the column "until" more than once'),
        ("p.csv", "from,until\n", 1, 'lacks the column "member"'),
        ("p.csv", "192.0.2.1\n192.0.2.2\n", 1, 'begins with "192.0.2.1" where a header belongs'),
        ("p.csv", "210\n211\n", 1, "where a header belongs"),
        (
            "p.csv",
            "192.0.2.0/24x\n192.0.2.2\n",
            1,
            'begins with "192.0.2.0/24x" where a header belongs, such as',
        ),
        ("p.csv", "2O1\n202\n", 1, 'begins with "2O1" where a header belongs'),
        ("p.csv", "peer.example.net\n", 1, "where a header belongs"),
        ("p.csv", "member,until\n192.0.2.1\n", 2, "has 1 cell, and the header 2 columns"),
        ("p.csv", "member,note\n192.0.2.1,a,b\n", 2, "what holds a comma belongs in quotes"),
        ("p.csv", "member,note\n,a\n", 2, "has no member"),
        ("p.csv", "member,until\n192.0.2.1,31.12.2026\n", 2, "no date"),
        (
            "p.csv",
            "member,from,until\n192.0.2.1,2026-02-01,2026-01-31\n",
            2,
            "ends (2026-01-31) before it begins (2026-02-01)",
        ),
        (
            "p.csv",
            "member,from,until\n192.0.2.1,2026-02-01T12:00:00Z,2026-02-01T13:00:00+01:00\n",
            2,
            "192.0.2.1 ends when it begins (2026-02-01T12:00:00Z)",
        ),
        ("p.csv", 'member\n"192.0.2.1\n', 2, "not a table"),
        ("p.csv", "member\n" + "1" * 200_000 + "\n", 2, "field larger than field limit"),
        ("p.csv", "member\n192.0.2.1\n\0\n", 3, "holds a NUL"),
        ("p.csv", b"member\n\xe9\n", 2, "not UTF-8 text: save it as UTF-8"),
        ("p.csv", 'member\n=HYPERLINK("http://a")\n', 2, "neither an address"),
        ("p.csv", "member\n" + "9" * 100_000 + "\n", 2, "999…"),
        ("p.csv", "member\n=1+1\n", 2, '"=1+1" is neither an address'),
        ("p.json", '[\n "192.0.2.1",\n "192.0.2.300"\n]', 3, "neither an address"),
        ("p.json", '[\n "192.0.2.1"\n "192.0.2.2"\n]', 3, "a comma or ] is missing"),
        ("p.json", '[\n "192.0.2.1",\n', 3, "not JSON: expecting value"),
        ("p.json", '{"member": "192.0.2.1"}', 1, "must be a list"),
        ("p.json", '[{"member": "192.0.2.1", "unitl": "2026-01-01"}]', 1, 'did you mean "until"?'),
        ("p.json", '[\n{"note": "x"}]', 2, 'lacks "member"'),
        ("p.json", '[{"member": "192.0.2.1", "member": "192.0.2.2"}]', 1, "a key is there twice"),
        ("p.json", '[{"member": "192.0.2.1", "note": 7}]', 1, "a note must be text"),
        ("p.json", "[1.5]", 1, "must be a prefix in quotes or a number"),
        ("p.json", "[NaN]", 1, "must be a prefix in quotes or a number"),
        ("p.json", "[true]", 1, "whole number"),
        ("p.json", "[" + "9" * 5000 + "]", 1, "4300 digits"),
        ("p.json", "[210]\n[211]", 1, "something follows the list"),
        ("p.json", "[" * 100_000, 1, "nested too deep"),
        ("p.json", "\n[]\x00", 2, "holds a NUL"),
    ],
)
def test_says_what_is_wrong_with_a_file_and_in_which_line(
    tmp_path: Path, name: str, content: str | bytes, line: int, words: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        from_file(tmp_path, name, content)
    message = str(caught.value)
    assert message.startswith(f"policy:2: [sets] peers: {tmp_path / name}:{line}: "), message
    assert words in message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('{ file = "none.csv" }', "none.csv: there is no such file (names go by the folder of the policy)"),
        ('{ file = "folder.csv" }', "folder.csv: is no file"),
        ('{ file = "empty.csv" }', "empty.csv: is empty"),
        ('{ file = "long.csv" }', "long.csv: is longer than 128 MiB"),
        ('{ file = "pipe.csv" }', "pipe.csv: is no file"),
        ('{ file = "peers.xlsx" }', '"peers.xlsx" is neither .csv nor .json'),
        ('{ file = "" }', "must be the name of a file"),
        ('{ file = "a\\u0000.csv" }', "must be the name of a file"),
        ("{ file = 7 }", "must be the name of a file"),
        ('{ file = "peers.csv", until = 2026-01-01 }', "has no other key"),
        ('{ fiel = "peers.csv" }', 'is { file = "peers.csv" }'),
        ("[{ member = '192.0.2.1', till = 2026-01-01 }]", 'unknown key "till"'),
        ("[{ until = 2026-01-01 }]", 'lacks "member"'),
        ("[{ member = 192.5 }]", "must be a prefix in quotes or a number"),
        ("[{ member = 7 }, '192.0.2.1']", "mixes"),
    ],
)
def test_says_what_is_wrong_with_a_set(tmp_path: Path, value: str, words: str) -> None:
    import os

    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "empty.csv").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.csv")
    with (tmp_path / "long.csv").open("wb") as file:
        file.truncate(1 << 30)  # takes no room on the disk
    with pytest.raises(PolicyError) as caught:
        Policy.loads(f"[sets]\n\npeers = {value}\n", name="policy.toml", folder=tmp_path)
    assert str(caught.value).startswith("policy.toml:3: [sets] peers: ")
    assert words in str(caught.value)


def test_names_ten_lines_and_how_many_more(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        from_file(tmp_path, "p.csv", "member\n" + "x\n" * 25)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[2] for line in lines] == [
        *(f"{tmp_path}/p.csv:{number}" for number in range(2, 12)),
        f"{tmp_path}/p.csv",
    ]
    assert lines[-1].endswith(": 15 more problems")


def test_does_not_look_at_all_lines_of_what_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="990 more problems so far"):
        from_file(tmp_path, "p.csv", "member\n" + "x\n" * 100_000)


def test_a_million_members_are_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapsight._sets.MOST", 3)
    assert len(from_file(tmp_path, "v.csv", "vlan\n1\n2\n3\n")) == 3
    with pytest.raises(PolicyError, match="has more than 3 members"):
        from_file(tmp_path, "v.csv", "vlan\n1\n2\n3\n4\n")


def test_hostile_text_of_files_does_not_reach_the_terminal(tmp_path: Path) -> None:
    for name, text in (("p.csv", "member\n\x1b[31m\u202e\n"), ("p.json", '["\\u001b[31m\\u202e"]')):
        with pytest.raises(PolicyError) as caught:
            from_file(tmp_path, name, text)
        assert not set(str(caught.value)) & set("\x1b\u202e")
    (tmp_path / "p.csv").write_text('member,until,note\n192.0.2.1,2020-01-01,"\x1b[31m\u202e"\n')
    (tmp_path / "policy.toml").write_text('[sets]\npeers = { file = "p.csv" }\n')
    for command in ("check", "explain"):
        done = CliRunner().invoke(app, ["policy", command, str(tmp_path / "policy.toml")])
        assert done.exit_code == 0
        assert "192.0.2.1 until 2020-01-01 (\\x1b[31m\\u202e)" in done.output
        assert not set(done.output) & set("\x1b\u202e")


@given(st.text(alphabet='member,from\n\r"0123456789.-;=\t'))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_is_read_or_refused(tmp_path: Path, text: str) -> None:
    for name in ("p.csv", "p.json"):
        try:
            assert len(from_file(tmp_path, name, text)) >= 0
        except PolicyError as error:
            assert error.problems


@given(
    st.lists(
        st.ip_addresses().map(str) | st.ip_addresses(network="10.0.0.0/8").map(lambda each: f"{each}/32")
    ),
    st.ip_addresses(),
)
def test_within_is_what_the_standard_library_says(prefixes: list[str], addr: Any) -> None:
    import ipaddress

    wide = [*prefixes, str(ipaddress.ip_network(f"{addr}/{addr.max_prefixlen // 2}", strict=False))]
    for listed in (prefixes, wide, ["0.0.0.0/0"], ["::/0"]):
        # The engine has IPv4 in this form, so it is nothing else.
        value = getattr(addr, "ipv4_mapped", None) or addr
        expected = any(value in ipaddress.ip_network(prefix) for prefix in listed)
        assert within(address(str(addr)), tuple(listed)) == expected


# --- Dates are for what is agreed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[network]\ninfrastructure = 'peers'\n",
        "[network]\ngateways = ['192.0.2.1', 'peers']\n",
        "[zones]\ncore = { prefixes = 'peers' }\n",
        "[[exceptions]]\ncheck = 'V1'\naddress = 'peers'\nowner = 'a'\nreason = 'b'\nexpires = 2026-12-31\n",
    ],
)
def test_what_the_network_is_has_no_dates(text: str) -> None:
    head = "[sets]\npeers = [{ member = '192.0.2.1', until = 2030-12-31 }]\n"
    with pytest.raises(PolicyError, match='set "peers" has members with dates, which only \\[checks\\] take'):
        Policy.loads(head + text)
    Policy.loads(head.replace(", until = 2030-12-31", "") + text)


# --- What a policy says of captures in whose time it changes ------------------------------------------------------------


def run(policy: str, flows: list[dict[str, Any]], first: int, last: int, **rows: Any) -> Result:
    taps = [tap(first_ts=first, last_ts=last)]
    return judge(examination(flows=flows, taps=taps, **rows), Policy.loads(policy))


def signalling(first: int, last: int, dst: str = "203.0.113.10") -> dict[str, Any]:
    return sip("192.0.2.10", dst, first_ts=first, last_ts=last)


UNTIL_NEW_YEAR = (
    "[sets]\npeers = ['192.0.2.10', { member = '203.0.113.10', until = 2025-12-31, note = 'CHG-1' }]\n"
    + PAIRS
)
FROM_NEW_YEAR = "[sets]\npeers = ['192.0.2.10', { member = '203.0.113.10', from = 2026-01-01 }]\n" + PAIRS
FROM_EVE_TO_NOON = (MIDNIGHT - DAY // 2, MIDNIGHT + DAY // 2)


@pytest.mark.parametrize(
    ("policy", "first", "last", "word"),
    [
        # All of the capture before the change, to the last nanosecond of the year; all of it after.
        (UNTIL_NEW_YEAR, MIDNIGHT - 60 * SECOND, MIDNIGHT - 1, "pass"),
        (UNTIL_NEW_YEAR, MIDNIGHT, MIDNIGHT + SECOND, "fail"),
        (FROM_NEW_YEAR, MIDNIGHT - 60 * SECOND, MIDNIGHT - 1, "fail"),
        (FROM_NEW_YEAR, MIDNIGHT, MIDNIGHT + SECOND, "pass"),
    ],
)
def test_captures_are_judged_by_what_counted_then(policy: str, first: int, last: int, word: str) -> None:
    result = run(policy, [signalling(first, last)], first, last)
    assert verdict(result, "V1")["verdict"] == word
    assert "meanwhile" not in str(plain_rows(result.findings))


@pytest.mark.parametrize(
    ("policy", "first", "last", "word"),
    [
        # The capture goes on from the one year to the next; the calls are of one of them only.
        (UNTIL_NEW_YEAR, MIDNIGHT - 60 * SECOND, MIDNIGHT - 1, "pass"),
        (UNTIL_NEW_YEAR, MIDNIGHT, MIDNIGHT + 60 * SECOND, "fail"),
        (FROM_NEW_YEAR, MIDNIGHT - 60 * SECOND, MIDNIGHT - 1, "fail"),
        (FROM_NEW_YEAR, MIDNIGHT, MIDNIGHT + 60 * SECOND, "pass"),
    ],
)
def test_traffic_of_one_side_of_a_change_is_judged_exactly(
    policy: str, first: int, last: int, word: str
) -> None:
    result = run(policy, [signalling(first, last)], *FROM_EVE_TO_NOON)
    assert verdict(result, "V1")["verdict"] == word
    assert result.findings.num_rows == int(word == "fail")
    assert "meanwhile" not in str(plain_rows(result.findings))


@pytest.mark.parametrize("policy", [UNTIL_NEW_YEAR, FROM_NEW_YEAR])
def test_what_goes_on_beyond_an_agreement_fails_and_says_that_some_was_allowed(policy: str) -> None:
    result = run(policy, [signalling(MIDNIGHT - SECOND, MIDNIGHT + SECOND)], *FROM_EVE_TO_NOON)
    assert verdict(result, "V1")["verdict"] == "fail"
    (finding,) = plain_rows(result.findings)
    when = "until 2025-12-31 (CHG-1)" if policy == UNTIL_NEW_YEAR else "from 2026-01-01"
    assert finding["sentence"].endswith(
        f" Some of this may have been allowed, as the policy changed meanwhile (peers: 203.0.113.10 {when})."
    )


def test_a_finding_is_of_what_came_after_an_agreement_ended(tmp_path: Path) -> None:
    """Three messages of a call before the agreement ends, two after: those two are the finding, and the call is none of peers any more."""
    dialog = sip_lab.Dialog("192.0.2.10", "203.0.113.10", "one@a", "a1", "b1")
    steps = [
        (-3.0, True, dialog.request("INVITE", 1)),
        (-2.0, False, dialog.response(200, "OK", "INVITE", 1)),
        (-1.0, True, dialog.request("ACK", 1)),
        (5.0, True, dialog.request("BYE", 2)),
        (6.0, False, dialog.response(200, "OK", "BYE", 2)),
    ]
    frames = []
    for at, is_forth, load in steps:
        src, dst = ("192.0.2.10", "203.0.113.10") if is_forth else ("203.0.113.10", "192.0.2.10")
        frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst)
        frame /= UDP(sport=5060, dport=5060) / Raw(load)
        frame.time = MIDNIGHT // SECOND + at
        frames.append(frame)
    wrpcap(str(tmp_path / "x.pcap"), frames)
    result = tapsight.check(tmp_path / "x.pcap", policy=Policy.loads(UNTIL_NEW_YEAR))
    (finding,) = plain_rows(result.findings)
    assert (finding["packets"], finding["first_ts"]) == (2, "2026-01-01T00:00:05.000000000Z")
    assert [each["frame"] for each in finding["evidence"]] == [4, 5]
    assert "exchanged 2 packets of voice signalling" in finding["sentence"]
    assert "may" not in finding["sentence"]
    assert (result.calls["peers"].to_pylist(), result.calls["verdict"].to_pylist()) == (["fail"], ["fail"])
    assert result.calls["findings"].to_pylist() == [[finding["id"]]]
    assert "no longer had an agreement" in result.calls["reason"][0].as_py()


def test_what_cannot_be_told_apart_is_said_beside_what_can() -> None:
    """Of one conversation over the change nobody knows which packets came after it; another one began after it, so that its frames prove it."""
    over = signalling(MIDNIGHT - SECOND, MIDNIGHT + SECOND)
    after = {
        **signalling(MIDNIGHT + SECOND, MIDNIGHT + 2 * SECOND),
        "packets": 7,
        "frames": [30, 31],
        "src_port": 9,
    }
    (finding,) = plain_rows(run(UNTIL_NEW_YEAR, [over, after], *FROM_EVE_TO_NOON).findings)
    assert (finding["packets"], [each["frame"] for each in finding["evidence"]]) == (7, [30, 31])
    assert finding["sentence"].endswith(
        "There may be more, of conversations that began earlier or went on longer."
    )


GAP = (
    "[sets]\npeers = ['192.0.2.10', { member = '203.0.113.10', until = 2025-12-31 }, "
    "{ member = '203.0.113.10', from = 2026-01-01T06:00:00Z }]\n" + PAIRS
)


def test_what_may_have_paused_meanwhile_is_in_doubt() -> None:
    """Agreed before midnight and after six; signalling from evening to noon, of which nobody knows whether it was there at night."""
    result = run(GAP, [signalling(*FROM_EVE_TO_NOON)], *FROM_EVE_TO_NOON)
    row = verdict(result, "V1")
    assert row["verdict"] == "unknown"
    assert row["reason"].startswith(
        "1 finding in doubt, as the policy changed meanwhile (peers: 203.0.113.10 until 2025-12-31 and "
    )
    assert "192.0.2.10 and 203.0.113.10 exchanged 100 packets" in row["reason"]
    assert result.findings.num_rows == 0
    assert result.exit_code == 0
    # What is sure besides fails, and the doubt is told as well.
    flows = [signalling(*FROM_EVE_TO_NOON), signalling(*FROM_EVE_TO_NOON, dst="198.51.100.1")]
    row = verdict(run(GAP, flows, *FROM_EVE_TO_NOON), "V1")
    assert (row["verdict"], row["findings"]) == ("fail", 1)
    assert row["reason"].startswith("1 finding in doubt")


def test_sets_that_nothing_is_judged_by_change_nothing() -> None:
    unused = UNTIL_NEW_YEAR.replace("peers = ", "others = [{ member = 1, from = 2026-01-01 }]\npeers = ", 1)
    assert len(readings(Policy.loads(unused), *FROM_EVE_TO_NOON)) == 2
    assert len(readings(Policy.loads(unused.split("[checks")[0]), *FROM_EVE_TO_NOON)) == 1


def test_numbers_have_dates_as_well() -> None:
    policy = "[sets]\nvoice = [{ member = 210, until = 2025-12-31 }, 211]\n[checks.V2]\nvlans = 'voice'\n"
    before = rtp(vlan=210, first_ts=MIDNIGHT - 60 * SECOND, last_ts=MIDNIGHT - 1)
    after = rtp(vlan=210, first_ts=MIDNIGHT, last_ts=MIDNIGHT + SECOND)
    assert verdict(run(policy, [before], *FROM_EVE_TO_NOON), "V2")["verdict"] == "pass"
    assert verdict(run(policy, [after], *FROM_EVE_TO_NOON), "V2")["verdict"] == "fail"


def test_lists_of_detectors_have_dates_as_well() -> None:
    """A6: samples to a collector that may have them until the year ends."""
    policy = "[sets]\nc = [{ member = '192.0.2.50', until = 2025-12-31 }]\n[checks.A6]\ncollectors = 'c'\n"

    def samples(first: int, last: int) -> dict[str, Any]:
        return claim(
            "A6.copy",
            collector="192.0.2.50",
            exporter="192.0.2.1",
            encap="sflow",
            first_ts=first,
            last_ts=last,
        )

    def word(first: int, last: int) -> str:
        result = run(policy, [flow()], *FROM_EVE_TO_NOON, claims=[samples(first, last)])
        return str(verdict(result, "A6")["verdict"])

    always = policy.replace(", until = 2025-12-31", "")
    listed = run(always, [flow()], *FROM_EVE_TO_NOON, claims=[samples(MIDNIGHT, MIDNIGHT + SECOND)])
    assert verdict(listed, "A6")["verdict"] == word(MIDNIGHT - SECOND, MIDNIGHT - 1)
    assert word(MIDNIGHT, MIDNIGHT + SECOND) == "fail"


def test_what_changes_too_often_is_judged_by_the_least_and_the_most_of_it() -> None:
    members = ", ".join(
        f"{{ member = '203.0.113.{number}', from = 2026-01-01T{number % 12:02}:{number // 12:02}:00Z }}"
        for number in range(MOST)
    )
    policy = f"[sets]\npeers = ['192.0.2.10', '192.0.2.11', {members}]\n{PAIRS}"
    span = (MIDNIGHT - DAY, MIDNIGHT + DAY)
    assert len(readings(Policy.loads(policy), *span)) == 2
    # Agreed all of the time; agreed at no time; agreed some of the time.
    assert verdict(run(policy, [signalling(*span, dst="192.0.2.11")], *span), "V1")["verdict"] == "pass"
    assert verdict(run(policy, [signalling(*span, dst="198.51.100.1")], *span), "V1")["verdict"] == "fail"
    late = signalling(MIDNIGHT + DAY - SECOND, MIDNIGHT + DAY, dst="203.0.113.1")
    assert verdict(run(policy, [late], *span), "V1")["verdict"] == "unknown"


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(1, 9)), max_size=3),
    st.lists(st.integers(0, 9), min_size=1, max_size=3),
)
@settings(max_examples=30, deadline=None)
def test_no_verdict_is_surer_than_the_packets_allow(times: list[tuple[int, int]], packets: list[int]) -> None:
    """By brute force: each packet beside the members of its second."""
    dated = ", ".join(
        f"{{ member = '203.0.113.10', from = 2026-01-01T00:00:{first:02}Z, until = 2026-01-01T00:00:{first + long:02}Z }}"
        for first, long in times
    )
    policy = f"[sets]\npeers = ['192.0.2.10', {dated}]\n{PAIRS}"
    flows = [signalling(MIDNIGHT + at * SECOND, MIDNIGHT + at * SECOND) for at in packets]
    row = verdict(run(policy, flows, MIDNIGHT, MIDNIGHT + 10 * SECOND), "V1")
    allowed = [any(first <= at < first + long for first, long in times) for at in packets]
    assert row["verdict"] in ({"pass", "unknown"} if all(allowed) else {"fail", "unknown"})
    if len(set(packets)) == 1:
        assert row["verdict"] == ("pass" if all(allowed) else "fail")


# --- For people -------------------------------------------------------------------------------------------------------


def test_check_and_explain_say_what_does_not_count_today(tmp_path: Path) -> None:
    (tmp_path / "peers.csv").write_text(
        "member,from,until,note\n192.0.2.1,,,\n192.0.2.2,,2020-12-31,CHG-1\n192.0.2.3,8999-01-01,,\n"
    )
    policy = tmp_path / "policy.toml"
    policy.write_text('[sets]\npeers = { file = "peers.csv" }\nvlans = [210]\n')
    others = "2 of 3 do not count today: 192.0.2.2 until 2020-12-31 (CHG-1) and 192.0.2.3 from 8999-01-01"
    done = CliRunner().invoke(app, ["policy", "check", str(policy)])
    assert done.exit_code == 0
    assert done.output.splitlines()[1:] == [f"{policy}: set peers: {others}"]
    explained = CliRunner().invoke(app, ["policy", "explain", str(policy)]).output.splitlines()
    assert explained[-2:] == [
        f"set peers: 3 addresses and prefixes from {tmp_path / 'peers.csv'}; {others}",
        "set vlans: 1 number",
    ]


def test_explain_says_of_empty_sets_that_they_are(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[sets]\nsinks = []\n[checks.I6]\nsinks = ["sinks"]\n')
    explained = CliRunner().invoke(app, ["policy", "explain", str(policy)]).output.splitlines()
    assert explained[-1] == "set sinks: no members"
    assert [line.rpartition(" [")[2] for line in explained if line.startswith("I6 ")] == ["sinks (0)]"]


def test_evidence_has_sums_of_files(tmp_path: Path) -> None:
    import hashlib

    from tapsight._evidence import PolicyFile

    (tmp_path / "peers.csv").write_text("member\n192.0.2.1\n")
    policy = tmp_path / "policy.toml"
    policy.write_text('[sets]\npeers = { file = "peers.csv" }\n')
    named = PolicyFile.of(policy, Policy.load(policy))
    assert named is not None
    (entry,) = named.entry()["sets"]
    assert entry["file"] == str(tmp_path / "peers.csv")
    assert entry["sha256"] == hashlib.sha256(b"member\n192.0.2.1\n").hexdigest()
    assert json.dumps(named.entry())


def test_captures_are_judged_by_a_file_of_their_time(tmp_path: Path) -> None:
    """Captures of the lab, which begin with 2026, and partners of whom a file says until when."""
    files = generate(Scenario(seconds=4, calls=3, downloads=2), tmp_path)
    text = files.policy.read_text()
    peers = tomllib.loads(text)["sets"]["voice_peers"]
    inline = next(line for line in text.splitlines() if line.startswith("voice_peers"))
    policy = tmp_path / "dated.toml"
    policy.write_text(text.replace(inline, 'voice_peers = { file = "peers.csv" }'))
    sources = {"inside": str(files.inside), "outside": str(files.outside)}
    for until, word in (("2025-12-31", "fail"), ("2026-01-01", "pass"), ("", "pass")):
        rows = "".join(f"{peer},{until}\n" for peer in peers)
        (tmp_path / "peers.csv").write_text(f"member,until\n{rows}")
        result = tapsight.check(sources, policy=policy)
        assert verdict(result, "V1")["verdict"] == word, until
        # Of a call, too.
        assert set(result.calls["peers"].to_pylist()) == {word}
    manifest = result.evidence(tmp_path / "evidence")
    assert [each["file"] for each in manifest["policy"]["sets"]] == [str(tmp_path / "peers.csv")]


def _calls(*rows: tuple[int | None, str]) -> pa.Table:
    made = [
        {
            "tap": "inside",
            "call": number,
            "began": began,
            "packets": 1,
            "verdict": word,
            "reason": None if word == "pass" else "path: no",
            **dict.fromkeys(ASPECTS, "pass"),
            "path": word,
        }
        for number, (began, word) in enumerate(rows)
    ]
    return pa.Table.from_pylist(made, schema=call_schema())


def test_a_call_is_judged_by_what_counted_when_it_began() -> None:
    times = [None, NOON, NOON + 1, NOON + 2]
    before = _calls(*((time, "pass") for time in times))
    after = _calls(*((time, "fail") for time in times))
    parts = [Reading(None, last=NOON), Reading(None, first=NOON + 1)]
    settled = settled_calls(parts, [before, after])
    assert settled.schema == before.schema
    assert settled["verdict"].to_pylist() == ["pass", "pass", "fail", "fail"]
    assert settled["began"].equals(before["began"])
    # Where only the least and the most of it are known, neither is believed.
    parts = [Reading(None, is_exact=False), Reading(None, is_exact=False)]
    (row,) = settled_calls(parts, [before.slice(0, 1), after.slice(0, 1)]).drop_columns(["began"]).to_pylist()
    assert (row["verdict"], row["path"], row["peers"]) == ("unknown", "unknown", "pass")
    assert row["reason"] == "path: the policy changed meanwhile"
    assert settled_calls(parts, [after, after]).drop_columns(["began"]).equals(after.drop_columns(["began"]))


VOICE = (
    "[sets]\nvoice = [{ member = 210, until = 2025-12-31 }, 211]\n"
    '[checks.voice-vlans]\nscope = "app == rtp"\nexpect = "vlan in voice"\nby = "vlan"\n'
)


def test_checks_of_ones_own_go_by_the_time_as_well() -> None:
    before = rtp(vlan=210, first_ts=MIDNIGHT - 60 * SECOND, last_ts=MIDNIGHT - 1)
    after = rtp(vlan=210, first_ts=MIDNIGHT, last_ts=MIDNIGHT + SECOND)
    for flows, word in (([before], "pass"), ([after], "fail"), ([rtp(vlan=211)], "pass")):
        assert verdict(run(VOICE, flows, *FROM_EVE_TO_NOON), "voice-vlans")["verdict"] == word
    assert verdict(run(VOICE, [after], MIDNIGHT, MIDNIGHT + SECOND), "voice-vlans")["verdict"] == "fail"
    assert len(readings(Policy.loads(VOICE), *FROM_EVE_TO_NOON)) == 2
    # Of another set, they know nothing.
    other = VOICE.replace("in voice", "in (210, 211)")
    assert len(readings(Policy.loads(other), *FROM_EVE_TO_NOON)) == 1


def test_what_a_program_brings_along_is_asked_once() -> None:
    times: list[int] = []

    class Counter:
        id, title, severity, table, columns = (
            "counter",
            "Is asked once",
            "low",
            "flows",
            ("packets", "first_ts"),
        )

        def judge(self, batches: Any) -> Any:
            times.append(sum(batch.num_rows for batch in batches))
            finding = {"key": "k", "sentence": "It is there.", "packets": 1, "tap": "inside", "frames": [1]}
            stamps = {"first_ts": MIDNIGHT - 1, "last_ts": MIDNIGHT + 1}
            return tapsight.Judged(1, 1, pa.Table.from_pylist([{**finding, **stamps}]))

    policy = Policy.loads(UNTIL_NEW_YEAR)
    taps = [tap(first_ts=FROM_EVE_TO_NOON[0], last_ts=FROM_EVE_TO_NOON[1])]
    assert len(readings(policy, *FROM_EVE_TO_NOON)) == 2
    seen = examination(flows=[flow()], taps=taps)
    result = judge(seen, policy, checks=[custom_check(Counter())])
    assert times == [1]
    assert verdict(result, "counter")["verdict"] == "fail"
    (finding,) = plain_rows(result.findings)
    assert finding["sentence"] == "It is there."
