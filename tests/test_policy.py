"""A policy file is understood as a whole, or refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapsight.policy import Policy, PolicyError

GOOD = """\
[sets]
voice_peers    = ["192.0.2.10", "203.0.113.0/28"]
voice_vlans    = [210]
mirror_sinks   = []
[checks.V1]
pairs = [["voice_peers", "voice_peers"], ["2001:db8::1", ["voice_peers", "192.0.2.66"]]]
ticket = "CHG-881"
[checks.V2]
vlans = "voice_vlans"
mpls = [30021]
[checks.I5]
allow = [ { encap = "gre", between = ["192.0.2.1", "198.51.100.1"], id = 17 } ]
severity = "critical"
[checks.I6]
sinks = ["mirror_sinks", { sink = "192.0.2.9", exporter = "192.0.2.1", encap = "erspan2", id = 3 }]
[checks.A1]
min_coverage = 0.99
"""


def test_reads_every_part() -> None:
    policy = Policy.loads(GOOD)
    peers = ("192.0.2.10", "203.0.113.0/28")
    assert policy.options("V1").pairs == [(peers, peers), (("2001:db8::1",), (*peers, "192.0.2.66"))]
    assert policy.options("V1").ticket == "CHG-881"
    assert policy.options("V2").vlans == (210,)
    assert policy.options("V2").mpls == (30021,)
    assert policy.options("V2").prefixes is None
    assert policy.options("I5").allow[0].id == 17
    assert policy.options("I5").severity == "critical"
    assert [sink.sink for sink in policy.options("I6").sinks] == [(), ("192.0.2.9",)]
    assert policy.options("A1").min_coverage == 0.99
    assert policy.options("A2") is None


def test_nothing_is_a_policy_too() -> None:
    assert Policy.loads("").options("V1") is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[sets]\na = [1]\n[checks.V1\n", 3, "not TOML"),
        ("a = [1\n", 1, "not TOML"),
        ("[set]\n", 1, 'unknown key "set"; did you mean "sets"?'),
        ("[checks.V1]\npairs = []\n[checks.V99]\n", 3, 'unknown check "V99"'),
        ("[checks.V1]\npairs = []\nseverty = 'low'\n", 3, 'did you mean "severity"?'),
        ("[checks.V1]\nseverity = 'hihg'\n", 2, 'did you mean "high"?'),
        ("[checks.V1]\n\nmin_coverage = 1.5\n", 3, "less than or equal to 1"),
        ("[checks.V1]\nenabled = 'yes'\n", 2, "must be a valid boolean"),
        ("[checks.V1]\nticket = 881\n", 2, "must be a valid string"),
        (
            "[sets]\npeers = ['192.0.2.1']\n[checks.V1]\npairs = [\n  ['peers', 'peer'],\n]\n",
            5,
            'mean "peers"?',
        ),
        ("[checks.V1]\npairs = [['a', 'b']]\n", 2, "[sets] is empty"),
        ("[checks.V1]\npairs = [['192.0.2.1']]\n", 2, "list of two sides"),
        ("[checks.V1]\npairs = ['192.0.2.1', '192.0.2.2']\n", 2, "list of two sides"),
        ("[sets]\na = [\n '192.0.2.1',\n '192.0.2.300',\n]\n", 4, "neither an address nor a prefix"),
        ("[sets]\na = ['192.0.2.1/24']\n", 2, 'did you mean "192.0.2.0/24"?'),
        ("[sets]\na = [1, '192.0.2.1']\n", 2, "mixes"),
        ("[sets]\na = [true]\n", 2, "whole number"),
        ("[sets]\na = 210\n", 2, "must be a list"),
        ("[sets]\nv = [210]\n[checks.V1]\npairs = [['v', 'v']]\n", 4, "does not hold addresses"),
        ("[sets]\np = ['192.0.2.1']\n[checks.V2]\nvlans = 'p'\n", 4, "does not hold numbers"),
        ("[checks.V2]\nvlans = [\n  210,\n  4095,\n]\n", 4, "from 0 to 4094"),
        ("[checks.V2]\nmpls = [1048576]\n", 2, "from 0 to 1048575"),
        ("[checks.I5]\nallow = [\n { encap = 'gre' },\n]\n", 2, 'lacks "between"'),
        (
            (
                "[checks.I5]\nallow = [\n { encap = 'gre', between = ['192.0.2.1', '192.0.2.2'] },\n"
                " { encap = 'gre', betwen = 1, between = ['192.0.2.1', '192.0.2.2'] },\n]\n"
            ),
            4,
            'did you mean "between"?',
        ),
        ("[checks.I6]\nsinks = [{ sink = '192.0.2.1', id = -1 }]\n", 2, "from 0 to 4294967295"),
        ("[checks.I6]\nsinks = 'nobody'\n", 2, 'no set is named "nobody"'),
        ("checks = 3\n", 1, "must be a table"),
        ("[checks]\nV1 = 3\n", 2, "must be a"),
        ("sets = []\n", 1, "must be a"),
    ],
)
def test_says_what_is_wrong_and_where(text: str, line: int, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.loads(text, name="policy.toml")
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"policy.toml:{line}: "), message


def test_reports_all_problems_in_order_of_lines() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.loads("[checks.V2]\nvlan = [1]\n[checks.V1]\nseverity = 'x'\n[sets]\na = ['y']\n")
    assert [problem.line for problem in caught.value.problems] == [2, 4, 6]


def test_hostile_names_do_not_reach_the_terminal() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.loads('["\\u001b[31mred"]\n')
    assert "\x1b" not in str(caught.value)


def test_a_number_beyond_reading_is_a_problem_of_the_policy() -> None:
    with pytest.raises(PolicyError, match="4300 digits"):
        Policy.loads("x = " + "9" * 5000)


def test_files(tmp_path) -> None:
    with pytest.raises(PolicyError, match="No such file"):
        Policy.load(tmp_path / "none.toml")
    path = tmp_path / "policy.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(PolicyError, match=":2: not UTF-8"):
        Policy.load(path)
    path.write_text(GOOD)
    assert Policy.load(path).options("V1") == Policy.loads(GOOD).options("V1")


@pytest.mark.parametrize("text", ["", "\n \n", "# [checks.V1]\n  # later\n"])
def test_a_file_that_says_nothing_is_no_policy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(PolicyError, match="says nothing: `tapsight policy init CAPTURE` writes"):
        Policy.load(path)
    # In a program, and from a device, it is meant.
    assert Policy.loads(text).in_force() == Policy().in_force() == Policy.load("/dev/null").in_force()


@given(st.text(alphabet="[]{}=,.'\"# \nabV1checksts01"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        Policy.loads(text)
    except PolicyError as error:
        assert error.problems


@given(st.ip_addresses())
def test_any_address_is_a_side(address) -> None:
    policy = Policy.loads(f"[checks.V1]\npairs = [['{address}', '{address}']]\n")
    side = str(getattr(address, "ipv4_mapped", None) or address)
    assert policy.options("V1").pairs == [((side,), (side,))]
