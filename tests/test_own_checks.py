"""Checks of one's own: conditions in a policy, rules and detectors from Python."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from scapy.all import DNS, DNSQR, DNSRR, IP, TCP, UDP, Dot1Q, Ether, Raw, wrpcap
from tables import examination, flow, sip, verdict

import tapsight
from tapsight._check import judge, plain_rows
from tapsight._expressions import ExpressionError, condition
from tapsight.checks._base import Check
from tapsight.checks._custom import custom_check
from tapsight.checks._tables import TABLES, table_columns
from tapsight.policy import Policy, PolicyError

MACS = {"src": "00:00:5e:00:53:01", "dst": "00:00:5e:00:53:02"}


def frame(src: str, dst: str, *layers: Any, vlan: int | None = None, ttl: int = 64) -> Any:
    packet = Ether(**MACS)
    if vlan is not None:
        packet /= Dot1Q(vlan=vlan)
    packet /= IP(src=src, dst=dst, ttl=ttl)
    for layer in layers:
        packet /= layer
    return packet


def telnet(src: str, dst: str, *ports: int) -> Any:
    # Options of RFC 854 make it Telnet by its bytes, not by its port alone.
    return frame(
        src,
        dst,
        TCP(sport=ports[0], dport=ports[1], flags="PA"),
        Raw(b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27"),
    )


def answer(name: str, address: str) -> Any:
    record = DNSRR(rrname=name, rdata=address)
    return frame(
        "192.0.2.53",
        "192.0.2.9",
        UDP(sport=53, dport=5353 + 40000),
        DNS(qr=1, qd=DNSQR(qname=name), an=record),
    )


@pytest.fixture
def capture(tmp_path: Path) -> str:
    path = tmp_path / "c.pcap"
    packets = [
        telnet("192.0.2.1", "192.0.2.7", 40000, 23),
        telnet("192.0.2.7", "192.0.2.1", 23, 40000),
        frame("192.0.2.1", "192.0.2.8", UDP(sport=1000, dport=9), vlan=210),
        frame("192.0.2.1", "192.0.2.8", UDP(sport=1000, dport=9), vlan=300, ttl=3),
        answer("www.example.com", "192.0.2.80"),
        answer("www.example.com", "203.0.113.66"),
        answer("www.example.com", "203.0.113.66"),
        answer("notexample.com", "203.0.113.66"),
    ]
    for at, packet in enumerate(packets):
        packet.time = 1_700_000_000 + at
    wrpcap(str(path), packets)
    return str(path)


def found(result: tapsight.Result, check: str) -> list[dict[str, Any]]:
    return [row for row in plain_rows(result.findings) if row["check"] == check]


# --- In a policy ------------------------------------------------------------------------------------------------------


def test_a_condition_over_flows(capture: str) -> None:
    policy = Policy.loads("""
[network]
infrastructure = ["192.0.2.7"]
[checks.no-telnet]
scope = "addr in infrastructure"
expect = "app != telnet"
severity = "high"
ticket = "CHG-7"
""")
    result = tapsight.check(capture, policy=policy)
    row = verdict(result, "no-telnet")
    assert (row["verdict"], row["in_scope"], row["judged"], row["findings"]) == ("fail", 2, 2, 1)
    assert (row["severity"], row["ticket"], row["title"]) == ("high", "CHG-7", "expect app != telnet")
    (finding,) = found(result, "no-telnet")
    assert (finding["packets"], finding["flows"], finding["severity"]) == (2, 1, "high")
    assert [each["frame"] for each in finding["evidence"]] == [1, 2]
    assert finding["sentence"].startswith(
        "2 packets (telnet) passed between 192.0.2.1 and 192.0.2.7, from 2023-11-14 22:13:20 UTC"
    )


def test_a_condition_over_packets_agrees_with_tshark(capture: str) -> None:
    policy = Policy.loads("""
[sets]
voice = [210]
[checks.vlan]
over = "packets"
scope = "vlan is not null"
expect = "vlan in voice and ttl > 10"
by = ["vlan", "src"]
""")
    result = tapsight.check(capture, policy=policy)
    (finding,) = found(result, "vlan")
    shown = subprocess.run(
        ["tshark", "-r", capture, "-Y", "vlan && !(vlan.id == 210 && ip.ttl > 10)", "-T", "fields", "-e", "frame.number"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert [str(each["frame"]) for each in finding["evidence"]] == shown == ["4"]
    assert verdict(result, "vlan")["in_scope"] == 2
    assert finding["sentence"] == (
        "192.0.2.1 sent 1 packet with vlan 300, at 2023-11-14 22:13:23 UTC (on c.pcap), which the policy does not allow; in the first, ttl is 3."
    )


def test_a_condition_over_messages(capture: str) -> None:
    policy = Policy.loads("""
[checks.own-names]
over = "dns"
scope = 'is_response and qname matches "(^|\\\\.)example\\\\.com$"'
expect = "address in 192.0.2.0/24"
by = "qname"
""")
    result = tapsight.check(capture, policy=policy)
    row = verdict(result, "own-names")
    assert (row["verdict"], row["in_scope"], row["judged"]) == ("fail", 3, 3)
    (finding,) = found(result, "own-names")
    assert [each["frame"] for each in finding["evidence"]] == [6, 7]


def test_conditions_and_findings_may_be_about_any_column_of_any_table() -> None:
    path = Path(__file__).parent / "corpus" / "protocols.pcap"
    checks = []
    for table in TABLES:
        columns = list(table_columns(table))
        never = " or ".join(f"({name} is null and {name} is not null)" for name in columns)
        name = table.replace("_", "-")
        checks.append(tapsight.rule(f"{name}-shown", over=table, expect=never))
        checks.append(tapsight.rule(f"{name}-by", over=table, expect=never, by=columns))
    result = tapsight.check(path, checks=checks)
    words = {check.id: verdict(result, check.id)["verdict"] for check in checks}
    assert {name for name, word in words.items() if word != "fail"} == set()


def test_conditions_about_what_findings_sum_up(capture: str) -> None:
    policy = Policy.loads("""
[checks.big]
scope = "protocol == udp and dst == 192.0.2.8"
expect = "bytes / packets > 1000 and first_ts > 2030-01-01"
[checks.each]
over = "conversations"
expect = "packets > 1000"
by = ["protocol", "packets"]
""")
    result = tapsight.check(capture, policy=policy)
    # Two frames of Ethernet, IEEE 802.1Q, IPv4 and UDP, on two paths.
    first, _ = found(result, "big")[0], found(result, "each")
    assert first["packets"] == 2
    assert first["sentence"].endswith(
        "; in the first, bytes is 46, first_ts is 2023-11-14 22:13:22.000000 UTC and packets is 1."
    )
    assert [row["packets"] for row in found(result, "each")] == [4, 2]
    assert found(result, "each")[0]["sentence"].startswith(
        "There were 4 packets (dns) with protocol UDP and packets 4, from 2023-11-14"
    )


def test_what_only_a_port_says_is_not_judged() -> None:
    policy = Policy.loads('[checks.x]\nscope = "app == sip"\nexpect = "vlan == 210"')
    guess = sip("192.0.2.1", "192.0.2.2", basis="port", packets=90)
    result = judge(examination(flows=[guess, sip("192.0.2.1", "192.0.2.2", vlan=210, packets=10)]), policy)
    row = verdict(result, "x")
    assert (row["verdict"], row["in_scope"], row["judged"]) == ("unknown", 100, 10)
    assert "only the port says what it is" in row["reason"]
    # Unless the condition says what it makes of guesses.
    asked = Policy.loads('[checks.x]\nscope = "app == sip and basis == port"\nexpect = "vlan == 210"')
    assert verdict(judge(examination(flows=[guess]), asked), "x")["verdict"] == "fail"


def test_what_packets_do_not_tell_is_not_judged() -> None:
    policy = Policy.loads('[checks.x]\nexpect = "first_ttl > 60"\nmin_coverage = 0.8')
    known, unknown = flow(first_ttl=64, packets=70), flow(first_ttl=None, packets=30)
    row = verdict(judge(examination(flows=[known, unknown]), policy), "x")
    assert (row["verdict"], row["in_scope"], row["judged"]) == ("unknown", 100, 70)
    assert "70.0 %" in row["reason"]


def test_nothing_in_scope_is_unknown() -> None:
    policy = Policy.loads('[checks.x]\nscope = "vlan == 5"\nexpect = "vlan == 5"')
    assert verdict(judge(examination(flows=[flow()]), policy), "x")["verdict"] == "unknown"


def test_packets_cannot_be_read_again_from_a_pipe_or_of_another_day(capture: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[checks.x]\nover = "packets"\nexpect = "ttl > 1"\n')
    command = ["python", "-m", "tapsight", "check", "-", "--policy", str(policy), "--format", "json"]
    with Path(capture).open("rb") as file:
        run = subprocess.run([sys.executable, *command[1:]], stdin=file, capture_output=True, check=False)
    (row,) = [row for row in json.loads(run.stdout)["verdicts"] if row["check"] == "x"]
    assert row["verdict"] == "unknown"
    assert row["reason"] == "captures from a pipe cannot be read a second time: give files"
    state, later = tmp_path / "state", tmp_path / "later.pcap"
    subprocess.run(["editcap", "-t", "86400", capture, str(later)], check=True)
    days = [
        verdict(tapsight.check({"here": path}, policy=policy, state=state), "x")
        for path in (capture, str(later))
    ]
    assert [day["verdict"] for day in days] == ["pass", "unknown"]
    assert days[1]["reason"] == "the captures of earlier runs cannot be read again"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('[checks.x]\nexpect = "vlna == 1"', 2, '[checks.x] expect: "vlna" is no column; did you mean "vlan"?'),
        ('[checks.x]\nscope = "vlan =="\nexpect = "vlan == 1"', 2, "[checks.x] scope: a value should stand here"),
        ('[checks.X]\nexpect = "vlan == 1"', 1, '"X" is no name for a check'),
        ('[checks.x]\nover = "flowz"\nexpect = "vlan == 1"', 2, 'did you mean "flows"?'),
        ('[checks.x]\nexpect = "vlan == 1"\nby = ["vlna"]', 3, 'no column is called "vlna"; did you mean "vlan"?'),
        ('[checks.x]\nexpect = "vlan == 1"\nby = ["src", "tap", "src"]', 3, '[checks.x] by: names the column "src" twice'),
        ('[checks.x]\nexpect = "vlan == 1"\nscop = "vlan == 1"', 3, 'unknown key "scop" in [checks.x]; did you mean "scope"?'),
        ('[checks.x]\nscope = "vlan == 1"', 1, 'unknown check "x"; a check of your own needs `expect`'),
        ('[checks.v2]\nvlans = [1]', 1, 'unknown check "v2"; did you mean "V2"?'),
        ('[checks.x]\nexpect = "vlan in (5000)"', 2, '"vlan" is from 0 to 4095, never 5000'),
        ('[checks.x]\nexpect = "mpls has 1048576"', 2, '"mpls" is from 0 to 1048575, never 1048576'),
        ('[checks.x]\nexpect = "dst_port in (1..65536)"', 2, '"dst_port" is from 0 to 65535, never 65536'),
        ('[checks.x]\nexpect = "first_ttl > -1"', 2, '"first_ttl" is from 0 to 255, never -1'),
        ('[checks.x]\nover = "media"\nexpect = "dscp within (46, 99)"', 3, '"dscp" is from 0 to 63, never 99'),
        ('[checks.x]\nover = "calls"\nexpect = "codecs_agreed in (PCMA, PCMU)"', 3, 'with their clock rate: write "PCMA/8000"'),
        ('[checks.x]\nover = "dns"\nexpect = "qname matches \'(\'"', 3, "no regular expression: unclosed group"),
        ('[sets]\npeers = ["192.0.2.1"]\n[checks.x]\nexpect = "src in peerz"', 4, 'did you mean "peers"?'),
        ("[checks.x]\nexpect = 1", 2, "must be a valid string"),
        ('packs = ["router"]', 1, "must be"),
        ('[sets]\na = [1]\n[checks.x]\nexpect = "src in a"', 4, 'set "a" holds numbers, and "src" is an address'),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_line(text: str, line: int, says: str) -> None:
    with pytest.raises(PolicyError) as raised:
        Policy.loads(text)
    problem = next(each for each in raised.value.problems if says in each.message)
    assert problem.line == line


# --- From Python ------------------------------------------------------------------------------------------------------


def test_rules_in_words_and_as_expressions_of_polars_say_the_same(capture: str) -> None:
    words = tapsight.rule("a", scope="app is not null", expect="app != telnet", severity="low")
    polars = tapsight.rule("b", scope=pl.col("app").is_not_null(), expect=pl.col("app") != "telnet")
    result = tapsight.check(capture, checks=[words, polars])
    rows = [verdict(result, name) for name in "ab"]
    assert [(row["verdict"], row["in_scope"], row["judged"]) for row in rows] == [("fail", 6, 6)] * 2
    assert [row["severity"] for row in rows] == ["low", "medium"]


def test_rules_take_sets(capture: str) -> None:
    rule = tapsight.rule(
        "a", over="packets", scope="vlan is not null", expect="vlan in mine", sets={"mine": [210, 300]}
    )
    assert verdict(tapsight.check(capture, checks=[rule]), "a")["verdict"] == "pass"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "A", "expect": "vlan == 1"}, "no name for a check"),
        ({"name": "a", "expect": "vlan = = 1"}, "a value should stand here"),
        ({"name": "a", "expect": pl.col("vlna") == 1}, 'no column is called "vlna"'),
        ({"name": "a", "expect": "vlan == 1", "over": "pakets"}, "no table is called"),
        ({"name": "a", "expect": "vlan == 1", "by": ["x"]}, 'no column is called "x"'),
        ({"name": "a", "expect": "vlan in nowhere"}, "is no number"),
        ({"name": "mine", "expect": (pl.col("packets") > 0).all()}, 'check "mine": .* depends on other rows'),
        (
            {"name": "mine", "expect": "vlan == 1", "scope": pl.col("packets").sum() > 1},
            'check "mine": .* depends on other rows',
        ),
        ({"name": "mine", "expect": pl.col("tap")}, 'check "mine": it is String, not Boolean'),
        ({"name": "mine", "expect": pl.all() == 1}, 'check "mine": .* name each'),
    ],
)
def test_mistakes_in_rules(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tapsight.rule(options.pop("name"), **options)


def test_what_fails_while_it_is_asked_names_the_check(capture: str) -> None:
    mine = tapsight.rule("mine", expect=pl.col("tap").cast(pl.Int64) > 0)
    with pytest.raises(ValueError, match=r'check "mine": (.|\n)*conversion from `str` to `i64` failed'):
        tapsight.check(capture, checks=[mine])


def test_two_checks_of_one_name_are_refused(capture: str) -> None:
    twice = [tapsight.rule("a", expect="vlan == 1")] * 2
    with pytest.raises(ValueError, match="two checks are called 'a'"):
        tapsight.check(capture, checks=twice)


class Counts:
    """Counts what it is given."""

    id = "counts"
    title = "Counts"
    severity = "info"
    table = "packets"
    columns = ("frame", "ts", "src")

    def __init__(self, **more: Any) -> None:
        self.more = more
        self.seen: list[pa.RecordBatch] = []

    def judge(self, batches: pa.RecordBatchReader) -> tapsight.Judged:
        self.seen = list(batches)
        rows = sum(batch.num_rows for batch in self.seen)
        first = self.seen[0].slice(0, 1)
        finding = {
            "key": ["one"],
            "sentence": ["It was \x1b[31mseen."],
            "packets": [1],
            "first_ts": first["ts"],
            "last_ts": first["ts"],
            "tap": first["tap"],
            "frames": [first["frame"].to_pylist()],
            **self.more,
        }
        return tapsight.Judged(
            rows,
            rows - 1,
            pa.table({key: value for key, value in finding.items() if value}),
            "one is left out",
        )


def test_a_detector_in_python(capture: str) -> None:
    mine = Counts(severity=["high"])
    result = tapsight.check({"here": capture}, checks=[mine])
    (batch,) = mine.seen
    assert batch.schema.names == ["frame", "ts", "src", "tap"]
    assert set(batch["tap"].to_pylist()) == {"here"}
    row = verdict(result, "counts")
    assert (row["verdict"], row["in_scope"], row["judged"], row["reason"]) == (
        "fail",
        8,
        7,
        "not judged: one is left out",
    )
    (finding,) = found(result, "counts")
    assert (finding["severity"], finding["packets"], finding["evidence"][0]["frame"]) == ("high", 1, 1)
    assert "\x1b" not in repr(result)


@pytest.mark.parametrize("table", ["dns", "packets", "flows", "calls"])
def test_a_detector_has_columns_where_there_are_no_rows(table: str, tmp_path: Path) -> None:
    class Reads:
        id, title, severity, columns = "reads", "Reads", "low", ("src", "tap")
        made: tuple[pa.Table, pl.DataFrame]

        def judge(self, batches: pa.RecordBatchReader) -> tapsight.Judged:
            told = list(batches)
            self.made = pa.Table.from_batches(told), pl.DataFrame(batches.from_batches(batches.schema, told))
            return tapsight.Judged(0, 0)

    empty = tmp_path / "empty.pcap"
    wrpcap(str(empty), [Ether(**MACS, type=0x88B5)] if table in {"dns", "calls"} else [], linktype=1)
    reads = Reads()
    reads.table = table  # type: ignore[attr-defined]
    assert verdict(tapsight.check(empty, checks=[reads]), "reads")["verdict"] == "unknown"  # type: ignore[list-item]
    arrow, frame = reads.made
    assert arrow.num_rows == frame.height == 0
    assert set(arrow.column_names) == set(frame.columns) == {"src", "tap"}
    # Nor if there are no captures at all.
    result = judge(examination(flows=[]), None, checks=[custom_check(reads)])  # type: ignore[arg-type]
    assert verdict(result, "reads")["verdict"] == "unknown"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"key": None}, "findings have no column `key`"),
        ({"packets": ["many"]}, "column `packets` of findings"),
        ({"sentence": pa.nulls(1, pa.string())}, "column `sentence` of findings has nulls"),
        ({"severity": ["awful"]}, "severity is one of"),
        (
            {"tap": ["elsewhere"]},
            "finding 'one' is of tap 'elsewhere', which is not there; there are: 'c.pcap'",
        ),
        (
            {"frames": [[10**15]]},
            "finding 'one' names frame 1000000000000000 of tap 'c.pcap', which has frames 1 to 8",
        ),
        ({"frames": [[8, 9]]}, "names frame 9"),
        ({"frames": [[0]]}, "names frame 0"),
        ({"frames": [[7, None]]}, "names frame None"),
        ({"last_ts": [0]}, r"finding 'one' ends \(last_ts\) before it begins"),
    ],
)
def test_findings_that_are_none(capture: str, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^counts: .*{says}"):
        tapsight.check(capture, checks=[Counts(**more)])


def test_a_detector_that_raises_is_named(capture: str) -> None:
    class Fails(Counts):
        id = "fails"

        def judge(self, batches: pa.RecordBatchReader) -> tapsight.Judged:
            return tapsight.Judged(1 // len(self.more), 1)

    with pytest.raises(tapsight.DetectorError, match=r"^fails: ZeroDivisionError: ") as caught:
        tapsight.check(capture, checks=[Fails()])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("judged", [(1.5, 1), (float("nan"), 1), ("8", 1), (1, 2), (2**70, 1), (1, -1)])
def test_counts_that_are_none(capture: str, judged: Any) -> None:
    class Miscounts(Counts):
        def judge(self, batches: pa.RecordBatchReader) -> tapsight.Judged:
            return tapsight.Judged(*judged)

    with pytest.raises((ValueError, TypeError), match=r"^counts: "):
        tapsight.check(capture, checks=[Miscounts()])


def test_objects_that_are_no_detectors(capture: str) -> None:
    class Lacks:
        id = "lacks"

    number, untitled = Counts(), Counts()
    number.id, untitled.title = 5, None  # type: ignore[assignment]
    wrong = Counts()
    wrong.columns = ("frame", "scr")  # type: ignore[assignment]
    for each, says in (
        (Lacks(), "has no `title`"),
        (Counts, "is a class"),
        (number, "a check is called by text, not by 5"),
        (untitled, "counts: its title is text, not None"),
        (wrong, 'no column of packets is called "scr"; did you mean "src"'),
    ):
        with pytest.raises((ValueError, TypeError), match=says):
            tapsight.check(capture, checks=[each])  # type: ignore[list-item]


@pytest.mark.parametrize("table", ["flows", "calls", "media", "packets", "dns"])
def test_each_table_comes_with_the_types_that_it_has(capture: str, table: str) -> None:
    class Reads:
        id, title, severity = "reads", "Reads", "low"

        def judge(self, batches: pa.RecordBatchReader) -> tapsight.Judged:
            for batch in batches:
                for name, column in table_columns(self.table).items():
                    kind = batch.schema.field(name).type
                    assert pa.types.is_timestamp(kind) == (column.kind == "time"), name
            return tapsight.Judged(1, 1)

    reads = Reads()
    reads.table, reads.columns = table, list(table_columns(table))  # type: ignore[attr-defined]
    assert verdict(tapsight.check(capture, checks=[reads]), "reads")["verdict"] == "pass"  # type: ignore[list-item]


def test_the_example(capture: str) -> None:
    path = Path(__file__).parent.parent / "examples" / "own_checks.py"
    spec = importlib.util.spec_from_file_location("own_checks", path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    result = tapsight.check(
        capture, checks=[example.no_telnet, example.OwnNames("example.com", ["192.0.2.0/24"])]
    )
    (finding,) = found(result, "own-names")
    assert finding["sentence"] == "192.0.2.53 gave an address that is not ours for www.example.com"
    assert [each["frame"] for each in finding["evidence"]] == [6, 7]
    assert verdict(result, "no-telnet")["verdict"] == "fail"
    assert issubclass(example.no_telnet, Check)


def test_the_page_says_what_works(capture: str, tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "own-checks.md").read_text()
    blocks = re.findall(r"```(toml|python)\n(.*?)```", page, re.DOTALL)
    policy = Policy.loads(next(text for kind, text in blocks if kind == "toml"))
    assert {"voice-rides-vlan", "peers-answer", "no-old-tls"} <= set(policy.in_force())
    for kind, text in blocks:
        if kind == "python":
            names: dict[str, Any] = {"tapsight": tapsight, "pl": pl, "pa": pa, "captures": capture}
            exec(text.replace('policy="policy.toml", ', ""), names)
            if "ShortAnswers" in names:
                silent = tmp_path / "silent.pcap"
                wrpcap(str(silent), [telnet("192.0.2.1", "192.0.2.7", 40000, 23)])
                result = tapsight.check(silent, checks=[names["ShortAnswers"]()])
                assert verdict(result, "short-answers")["verdict"] == "unknown"
    for line in re.findall(r"^\| [^|]+ \| (`.*`)", page, re.MULTILINE):
        for text in re.findall(r"`([^`]+)`", line.replace("\\|", "|")):
            if " " in text:
                assert condition_anywhere(text), text


def condition_anywhere(text: str) -> bool:
    """Whether one of the tables has the columns that a condition names."""
    sets = {"peers": ["192.0.2.0/24"]}
    for table in TABLES:
        with contextlib.suppress(ExpressionError):
            condition(text.replace("\\\\", "\\"), table_columns(table), sets)
            return True
    return False
