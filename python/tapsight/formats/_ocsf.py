"""OCSF 1.5: Detection Finding (class 2004) for findings, Compliance Finding (2003) for verdicts of policy checks; an object a line.

What an exception of the policy covers is a Detection Finding with the status Suppressed, and says in ``comment`` who answers for it.

Source: https://schema.ocsf.io/1.5.0/classes/detection_finding and https://schema.ocsf.io/1.5.0/classes/compliance_finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapsight._about import about
from tapsight._check import as_json
from tapsight._core import __version__
from tapsight.findings import attack, period, technique_names
from tapsight.formats import _rows

if TYPE_CHECKING:
    from tapsight._check import Result

SCHEMA_VERSION = "1.5.0"
SEVERITY = {"info": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_NAMES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
_CREATE = 1
"""Activity: a finding is created."""
_COMPLIANCE = {"pass": (1, "Pass"), "fail": (3, "Fail"), "unknown": (0, "Unknown")}


def render(result: Result) -> str:
    """An object for each finding, then one for each policy check."""
    metadata = {
        "version": SCHEMA_VERSION,
        "product": {"name": "tapsight", "vendor_name": "tapsight", "version": __version__},
    }
    objects = [_detection(row, metadata) for row in _rows.findings(result)]
    objects += [_suppressed(row, metadata) for row in _rows.excepted(result)]
    _, last = period(result.taps)
    for row in result.verdicts.to_pylist():
        known = about(row["check"], result.checks)
        if known is not None and known.kind == "check":
            objects.append(_compliance(row, last, metadata))
    return "".join(as_json(each) + "\n" for each in objects)


def _common(
    class_uid: int, name: str, severity: int, time_ns: int, metadata: dict[str, Any]
) -> dict[str, Any]:
    return {
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": class_uid,
        "class_name": name,
        "activity_id": _CREATE,
        "activity_name": "Create",
        "type_uid": class_uid * 100 + _CREATE,
        "type_name": f"{name}: Create",
        "severity_id": severity,
        "severity": _NAMES[severity],
        "time": time_ns // 1_000_000,
        "metadata": metadata,
    }


def _detection(row: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    techniques = [
        {"version": attack()[0], "technique": {"uid": technique, "name": technique_names()[technique]}}
        for technique in row["attack"]
    ]
    made = _common(2004, "Detection Finding", SEVERITY[row["severity"]], row["last_ns"], metadata)
    made |= {
        "status_id": 1,
        "status": "New",
        "message": row["sentence"],
        "count": row["packets"],
        "finding_info": {
            "uid": row["id"],
            "title": row["title"],
            "desc": row["sentence"],
            "types": [row["kind"]],
            "first_seen_time": row["first_ns"] // 1_000_000,
            "last_seen_time": row["last_ns"] // 1_000_000,
            "analytic": {"type_id": 1, "type": "Rule", "uid": row["name"], "name": row["title"]},
            **({"attacks": techniques} if techniques else {}),
        },
        "unmapped": {
            key: row[key] for key in ("in_scope", "judged", "share_low", "share_high", "flows", "evidence")
        },
    }
    evidence: dict[str, Any] = {}
    if row["exporter"] is not None:
        evidence["src_endpoint"] = {"ip": row["exporter"]}
    collector = row["collector"]
    if endpoint := {
        key: value for key, value in (("ip", collector["address"]), ("mac", collector["mac"])) if value
    }:
        evidence["dst_endpoint"] = endpoint
    if evidence:
        made["evidences"] = [evidence]
    return made


def _suppressed(row: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    said = {key: row[key] for key in ("owner", "reason", "expires")}
    made = _detection(row, metadata)
    return made | {
        "status_id": 3,
        "status": "Suppressed",
        "comment": f"{row['owner']}: {row['reason']}, until {row['expires']}",
        "unmapped": {**made["unmapped"], "exception": said},
    }


def _compliance(row: dict[str, Any], time_ns: int, metadata: dict[str, Any]) -> dict[str, Any]:
    status_id, status = _COMPLIANCE[row["verdict"]]
    severity = SEVERITY[row["severity"]] if row["verdict"] == "fail" else 1
    made = _common(2003, "Compliance Finding", severity, time_ns, metadata)
    return made | {
        "message": row["reason"] or row["title"],
        "finding_info": {"uid": row["check"], "title": row["title"]},
        "compliance": {
            "control": row["check"],
            "requirements": [row["title"]],
            "status_id": status_id,
            "status": status,
            **({"status_detail": row["reason"]} if row["reason"] else {}),
        },
        "unmapped": {key: row[key] for key in ("in_scope", "judged", "coverage", "findings", "ticket")},
    }
