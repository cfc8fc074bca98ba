"""Checks that a policy or a program makes itself: a scope and an expectation over the columns of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
from pydantic import BeforeValidator, ConfigDict, WithJsonSchema

from tapsight._expressions import ExpressionError
from tapsight._options import Options, Severity, did_you_mean, policy_error
from tapsight.checks._rule import ENDS, Rule
from tapsight.checks._tables import TABLES, table_columns

if TYPE_CHECKING:
    from tapsight._expressions import Sets

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
"""How own checks may be called, so that none is taken for one that ships."""


def check_name(name: str) -> None:
    """Makes sure that a check may be called so.

    Raises:
        ValueError: It may not.
        TypeError: It is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"a check is called by text, not by {name!r}")
    if not NAME.fullmatch(name):
        raise ValueError(f'"{name}" is no name for a check: small letters, digits, - and _, a letter first')


def _table(value: object) -> str:
    if not isinstance(value, str) or value not in TABLES:
        hint = did_you_mean(str(value), TABLES)
        raise policy_error(f"must be one of {', '.join(TABLES)}, not {value!r}{hint}", value)
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class OwnOptions(Options):
    """What a policy may say under [checks.NAME] of a check of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: str | None = None
    """What it demands, for people; the expectation itself if not given."""
    over: Annotated[str, BeforeValidator(_table), WithJsonSchema({"enum": list(TABLES)})] = "flows"
    """The table: flows, calls, media, packets, or a side table such as dns."""
    scope: str | None = None
    """A condition: what it is about; all of the table if not given."""
    expect: str
    """A condition that has to be true of that."""
    by: Annotated[list[str], BeforeValidator(_listed), WithJsonSchema(_ONE_OR_MORE)] | None = None
    """The columns of which equal ones make one finding; the two addresses if not given."""


def own_rule(
    name: str,
    options: OwnOptions,
    sets: Sets,
) -> type[Rule[Any]]:
    """The check that a policy describes so.

    Raises:
        ValueError: A column in ``by`` is not there.
    """
    return _rule(
        name,
        title=options.title,
        over=options.over,
        scope=options.scope,
        expect=options.expect,
        by=options.by,
        severity=options.severity or "medium",
        sets=sets,
        options=OwnOptions,
    )


def rule(
    name: str,
    *,
    expect: str | pl.Expr,
    scope: str | pl.Expr | None = None,
    over: str = "flows",
    by: Sequence[str] | None = None,
    title: str | None = None,
    severity: Severity = "medium",
    sets: Mapping[str, Sequence[str] | Sequence[int]] = {},
) -> type[Rule[Any]]:
    """A check for :func:`tapsight.check`: what has to be true of the rows of a table.

    Args:
        name: How verdicts and findings call it.
        expect: What has to be true: a condition in words, such as ``"vlan in (210, 211)"``, or an expression of Polars.
            Where it is null, the row is not judged.
        scope: What it is about, likewise; all of the table if not given.
        over: ``flows``, ``calls``, ``media``, ``packets``, or a side table such as ``dns``.
        by: The columns of which equal ones make one finding; the two addresses if not given.
        title: What it demands, for people.
        severity: How much it matters when it fails.
        sets: Names that conditions in words may use, and their members.

    Raises:
        ValueError: A name, table, column or condition is not understood.
    """
    check_name(name)
    if over not in TABLES:
        raise ValueError(f"no table is called {over!r}; there are: {', '.join(TABLES)}")
    made = _rule(
        name,
        title=title,
        over=over,
        scope=scope,
        expect=expect,
        by=by,
        severity=severity,
        sets=sets,
        options=Options,
    )
    try:
        made.conditions(None, None)
    except ExpressionError as error:
        raise ValueError(f'check "{name}": {error}') from error
    return made


def _rule(
    name: str, *, title: str | None, by: Sequence[str] | None, over: str, sets: Sets, **members: Any
) -> type[Rule[Any]]:
    columns = table_columns(over)
    if by is None:
        by = ENDS if {"src", "dst"} <= columns.keys() else ("tap",)
    for column in by:
        if column not in columns and column not in ENDS:
            hint = did_you_mean(column, columns) or f"; there are: {', '.join(columns)}"
            raise ValueError(f'no column is called "{column}"{hint}')
    if twice := next((column for at, column in enumerate(by) if column in by[:at]), None):
        raise ValueError(f'names the column "{twice}" twice')
    title = title or f"expect {members['expect']}"
    about = {"id": name, "title": title, "by": tuple(by), "over": over, "own_sets": dict(sets), **members}
    about["__doc__"] = _document(over, members["scope"], members["expect"], by)
    return type("OwnRule", (Rule,), about)


def _document(over: str, scope: object, expect: object, by: Sequence[str]) -> str:
    """What such a check is, as the docstrings of those that ship have it."""
    where = f" where {scope}" if scope is not None else ""
    ends = "its two addresses" if tuple(by) == ENDS else ", ".join(by)
    return (
        f"A check of a policy's or a program's own.\n\nWhat it looks at:\n    Rows of the table {over}{where}.\n\n"
        f"What has to be true of them:\n    {expect}\n\nA finding is about all that have the same: {ends}."
    )
