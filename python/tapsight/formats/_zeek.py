"""Zeek's ``notice.log``, as its ASCII writer has it: tab-separated, with a header that says the types.

Source: https://docs.zeek.org/en/current/scripts/base/frameworks/notice/main.zeek.html (type ``Notice::Info``) and
https://docs.zeek.org/en/current/log-formats.html.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tapsight.findings import period
from tapsight.formats import _rows

if TYPE_CHECKING:
    from tapsight._check import Result

FIELDS = {
    "ts": "time",
    "note": "enum",
    "msg": "string",
    "sub": "string",
    "src": "addr",
    "dst": "addr",
    "n": "count",
    "peer_descr": "string",
    "actions": "set[enum]",
    "suppress_for": "interval",
}
"""Names and types, in the order of Zeek's own log; fields that a finding has nothing for are left out."""


def render(result: Result) -> str:
    """A notice for each finding."""
    rows = list(_rows.findings(result))
    times = [row["last_ns"] for row in rows] or [period(result.taps)[1]]
    opened, closed = (_stamp(time) for time in (min(times), max(times)))
    lines = [
        *head("notice", FIELDS, f"#open\t{opened}"),
        *("\t".join(_notice(row)) for row in rows),
        f"#close\t{closed}",
    ]
    return "\n".join(lines) + "\n"


def _notice(row: dict[str, Any]) -> list[str]:
    seconds, rest = divmod(row["first_ns"], 1_000_000_000)
    name = "".join(part.capitalize() for part in row["name"].replace(".", "-").split("-"))
    # Whoever saw what is told of comes first: of a copy, the tap where the copy was seen.
    first = _rows.leading(row)
    taps = dict.fromkeys(frame["tap"] for frame in (*([first] if first else ()), *(row["evidence"] or ())))
    values = {
        "ts": f"{seconds}.{rest // 1000:06d}",
        "note": f"Tapsight::{name}",
        "msg": row["sentence"],
        "sub": f"{row['id']} {row['severity']} {' '.join(row['attack'])}".strip(),
        "src": row["exporter"],
        "dst": row["collector"]["address"],
        "n": str(row["packets"]),
        "peer_descr": ",".join(taps) or None,
        "actions": "Notice::ACTION_LOG",
        "suppress_for": "0.000000",
    }
    return [_value(values[field]) for field in FIELDS]


def head(path: str, fields: Mapping[str, str], *more: str) -> list[str]:
    """The lines that a log begins with."""
    return [
        "#separator \\x09",
        "#set_separator\t,",
        "#empty_field\t(empty)",
        "#unset_field\t-",
        f"#path\t{path}",
        *more,
        "\t".join(["#fields", *fields]),
        "\t".join(["#types", *fields.values()]),
    ]


def escaped(text: str) -> str:
    """Text as the ASCII writer has it: bytes that are not printable, and backslashes, are a backslash, an x and two digits."""
    return "".join(
        char
        if " " <= char <= "~" and char != "\\"
        else "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "backslashreplace"))
        for char in text
    )


def _value(text: str | None) -> str:
    """A value: what is unset is ``-``, and a text that looks so is escaped."""
    if text is None:
        return "-"
    if text == "":
        return "(empty)"
    if text in {"-", "(empty)"}:
        return f"\\x{ord(text[0]):02x}{text[1:]}"
    return escaped(text)


def _stamp(nanoseconds: int) -> str:
    return datetime.datetime.fromtimestamp(nanoseconds // 1_000_000_000, datetime.UTC).strftime(
        "%Y-%m-%d-%H-%M-%S"
    )
