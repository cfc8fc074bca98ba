"""SARIF 2.1.0 (OASIS standard): a result for each finding, and one for each verdict without any that is shown.

A verdict that passes is a result of kind ``pass``, one that is unknown of kind ``open``: "the scan was insufficient to determine"
(section 3.27.9). What an exception of the policy covers is a result that is suppressed (section 3.35). Findings point to their captures and, in ``logicalLocations``, to frames by number.
"""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapsight._about import about
from tapsight._check import as_json
from tapsight._core import __version__
from tapsight.formats import _rows

if TYPE_CHECKING:
    from tapsight._check import Result

LEVEL = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_KIND = {"pass": "pass", "fail": "fail", "unknown": "open"}
FRAMES = 32
"""Frames that a result names; the tables and evidence have all."""


def render(result: Result) -> str:
    """One run of the tool."""
    from tapsight.findings import attack

    verdicts = result.verdicts.to_pylist()
    rules = [row["check"] for row in verdicts]
    findings = list(_rows.findings(result))
    excepted = list(_rows.excepted(result))
    techniques = sorted({each for row in [*findings, *excepted] for each in row["attack"]})
    index = {technique: at for at, technique in enumerate(techniques)}
    results = [_finding(row, rules, index) for row in findings]
    results += [{**_finding(row, rules, index), "suppressions": [_suppression(row)]} for row in excepted]
    told = {row["family"] for row in findings}
    results += [_verdict(row, rules) for row in verdicts if row["check"] not in told]
    # All results of a run say whether they are suppressed, or none does (section 3.27.23).
    results = [{"suppressions": [], **each} for each in results]
    taxonomy = {
        "name": "ATT&CK",
        "version": attack()[0],
        "organization": "MITRE",
        "informationUri": "https://attack.mitre.org/",
        "taxa": [{"id": technique} for technique in techniques],
    }
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "tapsight",
                "semanticVersion": __version__,
                "rules": [_rule(row, result) for row in verdicts],
            }
        },
        "taxonomies": [taxonomy],
        "invocations": [
            {
                "executionSuccessful": not result.problems,
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": line}} for line in result.problems
                ],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return as_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(row: dict[str, Any], result: Result) -> dict[str, Any]:
    known = about(row["check"], result.checks)
    return {
        "id": row["check"],
        "shortDescription": {"text": row["title"]},
        "help": {"text": known.text if known is not None else row["title"]},
        "defaultConfiguration": {"level": LEVEL[row["severity"]]},
    }


def _finding(row: dict[str, Any], rules: list[str], techniques: dict[str, int]) -> dict[str, Any]:
    taxa = [
        {"id": technique, "index": techniques[technique], "toolComponent": {"name": "ATT&CK", "index": 0}}
        for technique in row["attack"]
    ]
    properties = {
        key: row[key]
        for key in ("severity", "kind", "packets", "in_scope", "judged", "flows", "exporter", "collector")
    }
    made: dict[str, Any] = {
        "ruleId": row["family"],
        "ruleIndex": rules.index(row["family"]),
        "kind": "fail",
        "level": LEVEL[row["severity"]],
        "message": {"text": row["sentence"]},
        # The first location is what viewers show: of a copy, where it was seen.
        "locations": _locations(
            sorted(row["evidence"] or (), key=lambda each: each["tap"] != _rows.leading(row)["tap"])
        ),
        # The same finding has the same id in every run.
        "partialFingerprints": {"tapsight/v1": row["id"]},
        "properties": {**properties, "first_ts": row["first_ts"], "last_ts": row["last_ts"]},
    }
    return {**made, "taxa": taxa} if taxa else made


def _suppression(row: dict[str, Any]) -> dict[str, Any]:
    """Who accepted it, why, and until when: by a file beside the captures, so ``external``."""
    return {
        "kind": "external",
        "status": "accepted",
        "justification": f"{row['owner']}: {row['reason']}",
        "properties": {key: row[key] for key in ("owner", "reason", "expires")},
    }


def _verdict(row: dict[str, Any], rules: list[str]) -> dict[str, Any]:
    text = f"{row['title']}: {row['verdict']}" + (f" ({row['reason']})" if row["reason"] else "")
    return {
        "ruleId": row["check"],
        "ruleIndex": rules.index(row["check"]),
        "kind": _KIND[row["verdict"]],
        "level": LEVEL[row["severity"]] if row["verdict"] == "fail" else "none",
        "message": {"text": text},
        "properties": {key: row[key] for key in ("in_scope", "judged", "coverage")},
    }


def _locations(evidence: Any) -> list[dict[str, Any]]:
    files: dict[str, list[dict[str, Any]]] = {}
    for frame in evidence:
        files.setdefault(frame["file"] or frame["tap"], []).append(frame)
    return [
        {
            "physicalLocation": {"artifactLocation": {"uri": _uri(file)}},
            "logicalLocations": [
                {
                    "name": f"frame {frame['frame']}",
                    "fullyQualifiedName": f"{frame['tap']}/{frame['frame']}",
                    "kind": frame["role"],
                }
                for frame in frames[:FRAMES]
            ],
        }
        for file, frames in files.items()
    ]


def _uri(file: str) -> str:
    """A relative reference for a relative path (RFC 3986), and a file URI for an absolute one."""
    path = Path(file)
    return path.as_uri() if path.is_absolute() else urllib.parse.quote(path.as_posix())
