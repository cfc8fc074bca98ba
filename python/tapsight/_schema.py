"""The JSON Schema of results: of ``check --format json``, and of the lines of ``ndjson``. Rows are described by the tables that they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from tapsight._answers import AnswerWord, Subject
from tapsight._check import SCHEMA
from tapsight._options import SEVERITIES
from tapsight._tables import ABOUT, described, empty

if TYPE_CHECKING:
    import pyarrow as pa

SchemaName = Literal["json", "ndjson"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TIME = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z$",
    "description": "RFC 3339, UTC, with nanoseconds.",
}
_DATE = {"type": "string", "format": "date"}
_ID = {"type": "string", "pattern": "^[0-9a-f]{12}(-[0-9]+)?$"}
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_VERDICTS = ("pass", "fail", "unknown")
_KINDS = (
    "copy",
    "diversion",
    "injection",
    "modification",
    "loss",
    "tunnel",
    "implant",
    "signalling",
    "policy",
)
_ROLES = ("original", "copy", "mirror", "redirected", "injected", "trigger", "answer", "offending")
_WORDS: dict[tuple[str, str], dict[str, Any]] = {
    ("verdicts", "verdict"): {"enum": list(_VERDICTS)},
    ("verdicts", "severity"): {"enum": list(SEVERITIES)},
    ("findings", "verdict"): {"const": "fail"},
    ("findings", "severity"): {"enum": list(SEVERITIES)},
    ("findings", "kind"): {"enum": list(_KINDS)},
    ("findings", "id"): {"pattern": _ID["pattern"]},
}
_WORDS |= {("excepted", column): said for (table, column), said in _WORDS.items() if table == "findings"}
_WORDS["excepted", "verdict"] = {"const": "excepted"}
"""What a column of text says, where that is one of few."""
_NESTED: dict[str, dict[str, dict[str, Any]]] = {
    "collector": {
        "mac": {"description": "MAC address."},
        "address": {"description": "Address as text."},
        "tunnel_id": {"description": "VNI, key, TEID or session."},
        "encap": {"description": "The stack of encapsulations, outermost first."},
    },
    "evidence": {
        "tap": {"type": "string", "description": "Name of the tap."},
        "file": {"description": "The capture; null if that is not known."},
        "frame": {
            **_COUNT,
            "description": "Number in the file, as Wireshark has it; without a file, in the tap.",
        },
        "role": {"enum": list(_ROLES), "type": "string", "description": "Its part in what happened."},
    },
    "clock_steps": {
        "ts": {"description": "When it jumped."},
        "step_ns": {"description": "By how much, nanoseconds."},
    },
}
"""What parts of nested columns mean."""


def schema(name: SchemaName = "json") -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a result as JSON, or of a line of it as NDJSON. Keys that it does not name do not occur."""
    tables = empty()
    rows = {
        "answer": _ANSWER,
        "not_shown": _NOT_SHOWN,
        "tap": _row("taps", tables["taps"].schema),
        "taps_compared": _row("taps_compared", tables["taps_compared"].schema),
        "verdict": _row("verdicts", tables["verdicts"].schema),
        "finding": _row("findings", tables["findings"].schema),
        "excepted": _row("excepted", tables["excepted"].schema),
        "exception": _EXCEPTION,
        "explained": _EXPLAINED,
    }
    return _whole(rows) if name == "json" else _lines(rows)


def _whole(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    def listed(name: str) -> dict[str, Any]:
        return {
            "type": "array",
            "items": {"$ref": f"#/$defs/{name}"},
            "description": rows[name]["description"],
        }

    return {
        "$schema": _DRAFT,
        "$id": f"urn:tapsight:result:{SCHEMA}",
        "title": "Result of tapsight check --format json",
        "description": f"Version {SCHEMA}. It rises when a key changes its name or meaning, not when one is added.",
        **_object(
            {
                **_RUN,
                "answers": {**listed("answer"), "minItems": len(get_args(Subject))},
                "not_shown": listed("not_shown"),
                "problems": _PROBLEMS,
                "taps": listed("tap"),
                "taps_compared": listed("taps_compared"),
                "verdicts": listed("verdict"),
                "findings": listed("finding"),
                "excepted": listed("excepted"),
                "exceptions": listed("exception"),
                "explained": listed("explained"),
            }
        ),
        "$defs": rows,
    }


def _lines(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    problem = {"description": "A capture that could not be read.", **_object({"message": _TEXT})}
    run = {"description": "Versions, and ids of findings that are left out: the first line.", **_object(_RUN)}
    kinds = {
        name: {
            **row,
            "properties": {"type": {"const": name}, **row["properties"]},
            "required": ["type", *row["required"]],
        }
        for name, row in {"run": run, "problem": problem, **rows}.items()
    }
    return {
        "$schema": _DRAFT,
        "$id": f"urn:tapsight:result-line:{SCHEMA}",
        "title": "A line of tapsight check --format ndjson",
        "description": f"Version {SCHEMA}. `type` tells what a line is.",
        "type": "object",
        "required": ["type"],
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": kinds,
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of these and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


# --- Arrow → JSON -----------------------------------------------------------------------------------------------------


def _row(table: str, columns: pa.Schema) -> dict[str, Any]:
    """A row of a table."""
    properties = {}
    for field in columns:
        value = _value(field, _WORDS.get((table, field.name), {}))
        properties[field.name] = {**value, "description": described(table, field.name)}
    return {"description": ABOUT[table], **_object(properties)}


def _value(field: pa.Field, more: dict[str, Any]) -> dict[str, Any]:
    """A value of a column, null if that may be."""
    import pyarrow as pa

    kind = field.type
    made: dict[str, Any]
    if pa.types.is_boolean(kind):
        made = {"type": "boolean"}
    elif pa.types.is_integer(kind):
        made = _COUNT if pa.types.is_unsigned_integer(kind) else {"type": "integer"}
    elif pa.types.is_floating(kind):
        made = {"type": "number"}
    elif pa.types.is_timestamp(kind):
        made = _TIME
    elif pa.types.is_date(kind):
        made = _DATE
    elif pa.types.is_list(kind):
        item = kind.value_field.with_name(field.name).with_nullable(False)
        made = {"type": "array", "items": _value(item, {})}
    elif pa.types.is_struct(kind):
        known = _NESTED[field.name]
        made = _object({child.name: {**_value(child, {}), **known[child.name]} for child in kind})
    else:
        made = _TEXT
    made = {**made, **more}
    return {**made, "type": [made["type"], "null"]} if field.nullable else made


# --- What is no table -------------------------------------------------------------------------------------------------

_RUN = {
    "tapsight": {**_TEXT, "description": "Version of tapsight."},
    "schema": {"const": SCHEMA, "description": "Version of this schema."},
    "attack": {**_TEXT, "description": "Version of MITRE ATT&CK."},
    "known": {
        "type": "array",
        "items": _ID,
        "description": "Findings left out because the baseline has them.",
    },
    "worse": {
        "type": "array",
        "items": _ID,
        "description": "Findings that the baseline has, but less of: those with a row say what it was.",
    },
    "lesser": {"type": "array", "items": _ID, "description": "Findings left out because of their severity."},
    "gone": {
        "type": "array",
        "items": _TEXT,
        "description": "Findings that the baseline has and this run has not, for whatever reason.",
    },
    "remembered": {
        "type": "array",
        "items": _object(
            {
                "severity": {"enum": list(SEVERITIES), "description": "How severe they were."},
                "packets": {**_COUNT, "description": "How many, to two digits, rounded up."},
                "ids": {**_TEXT, "description": "Their ids, with spaces between."},
            }
        ),
        "description": "Findings without a row, for later runs: as bad as they were when they were last told.",
    },
    "forgotten": {
        "type": "array",
        "items": _object(
            {
                "of": {**_TEXT, "description": "The check, or the detector and class."},
                "findings": {**_COUNT, "description": "How many."},
            }
        ),
        "description": "Findings that are not remembered, since there are too many of a kind: later runs tell them as new.",
    },
}
_PROBLEMS = {"type": "array", "items": _TEXT, "description": "Captures that could not be read, a line each."}
_ANSWER = {
    "description": "The answer to one of the questions that captures are taken for.",
    **_object(
        {
            "about": {"enum": list(get_args(Subject)), "description": "Which question."},
            "question": {**_TEXT, "description": "As people ask it."},
            "answer": {
                "enum": list(get_args(AnswerWord)),
                "description": "copied, diverted: yes, no sign or cannot tell. agreed (did voice travel as agreed): yes, no or cannot tell.",
            },
            "because": {**_TEXT, "description": "What it rests on."},
        }
    ),
}
_NOT_SHOWN = {
    "description": "What could not be judged, by what would settle it.",
    **_object(
        {
            "settle": {**_TEXT, "description": "What it would take."},
            "checks": {
                "type": "array",
                "items": _TEXT,
                "minItems": 1,
                "description": "Ids of the detectors and checks.",
            },
        }
    ),
}
_EXCEPTION = {
    "description": "An exception of the policy.",
    **_object(
        {
            "check": {
                "type": "array",
                "items": _TEXT,
                "description": "Ids of the detectors and checks that it is for.",
            },
            "about": {**_TEXT, "description": "What it covers, in words."},
            "owner": {**_TEXT, "description": "Who answers for it."},
            "reason": {**_TEXT, "description": "Why."},
            "expires": {**_DATE, "description": "Its last day."},
            "findings": {**_COUNT, "description": "Findings that it covers."},
            "expired": {**_COUNT, "description": "Findings that it would cover, had it not expired."},
            "note": {
                "type": ["string", "null"],
                "description": "What its owner should know: that it has expired, soon will, or covers nothing.",
            },
        }
    ),
}
_EXPLAINED = {
    "description": "What was named and not reported: it has an honest reason.",
    **_object(
        {
            "detector": {**_TEXT, "description": "Detector and class."},
            "claims": {**_COUNT, "description": "How often."},
            "packets": {**_COUNT, "description": "Of how many packets in all."},
        }
    ),
}
