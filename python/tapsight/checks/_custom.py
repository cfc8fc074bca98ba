"""Detectors that a program brings along: Arrow batches in, findings as an Arrow table out."""

from __future__ import annotations

import dataclasses
import itertools
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from tapsight._core import CaptureError
from tapsight._options import SEVERITIES, Options, Severity, did_you_mean
from tapsight.checks._base import EVIDENCE, Check, Judgement, Observed, Scope
from tapsight.checks._own import check_name
from tapsight.checks._tables import HEARD, TABLES, ReadOnceError, doubt_about, table_columns
from tapsight.claims import Frame
from tapsight.findings import Finding

if TYPE_CHECKING:
    import pyarrow as pa


@runtime_checkable
class Custom(Protocol):
    """What :func:`tapsight.check` takes in ``checks``, beside rules: an object with these members."""

    id: str
    """How verdicts and findings call it: small letters, digits, ``-`` and ``_``."""
    title: str
    """What should be true, for people."""
    severity: Severity
    """How much its findings matter."""
    table: str
    """What it reads: ``packets``, a side table such as ``dns``, or ``flows``, ``calls`` or ``media``."""
    columns: Sequence[str]
    """The columns of that; ``tap`` always comes along."""

    def judge(self, batches: pa.RecordBatchReader) -> Judged:
        """Judges the table.

        It comes batch by batch, each of one tap, in order of time; or all at once, as ``batches.read_all()`` or
        ``polars.DataFrame(batches)``. Without rows there is one batch that is empty, so that there always are columns.
        """


@dataclasses.dataclass(frozen=True)
class Judged:
    """What a detector of one's own has found.

    ``findings`` is an Arrow table or batch, or anything that exports one. A row is a finding:

    ``key``: text that is the same for the same finding in another run, such as an address;
    ``sentence``: what it means, for people;
    ``packets``: how many it concerns;
    ``first_ts``, ``last_ts``: from when until when, as the column ``ts`` has it;
    ``tap``, and ``frames``, a list of numbers as the column ``frame`` has them: the packets that prove it;
    ``severity``: optional, in place of the usual one.
    """

    in_scope: int
    """Packets, or rows of the table, that it is about."""
    judged: int
    """How many of those it could judge."""
    findings: Any = None
    reason: str | None = None
    """Why the others could not be judged."""


def custom_check(custom: Custom) -> type[Check[Any]]:
    """The check that runs it.

    Raises:
        ValueError: A member is missing or makes no sense.
        TypeError: It is a class, or a member is of another kind.
    """
    if isinstance(custom, type):
        raise TypeError(f"{custom.__name__} is a class: give an object of it, {custom.__name__}(…)")
    for name in ("id", "title", "severity", "table", "columns", "judge"):
        if not hasattr(custom, name):
            raise ValueError(
                f"{custom!r} has no `{name}`: a check is made by tapsight.rule, or has the members of tapsight.Custom"
            )
    check_name(custom.id)
    if not isinstance(custom.title, str) or not custom.title:
        raise TypeError(f"{custom.id}: its title is text, not {custom.title!r}")
    if custom.severity not in SEVERITIES:
        raise ValueError(f"{custom.id}: severity is one of {', '.join(SEVERITIES)}, not {custom.severity!r}")
    if custom.table not in TABLES:
        raise ValueError(
            f"{custom.id}: no table is called {custom.table!r}{did_you_mean(custom.table, TABLES)}"
        )
    known = table_columns(custom.table)
    for name in custom.columns:
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
            raise ValueError(f'{custom.id}: no column of {custom.table} is called "{name}"{hint}')

    return type(
        "OwnDetector",
        (_Adapter,),
        {"__doc__": custom.__doc__ or custom.title, "custom": custom, **_about(custom)},
    )


def _about(custom: Custom) -> dict[str, Any]:
    return {"id": custom.id, "title": custom.title, "severity": custom.severity}


class _Adapter(Check[Options]):
    """A detector of somebody's own, as a check."""

    options = Options
    custom: ClassVar[Custom]

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges what it says of the table that it reads."""
        del options
        custom = self.custom
        try:
            judged = custom.judge(_batches(custom, seen))
        except ReadOnceError as error:
            return Judgement(Scope(), nothing=str(error), lack=None)
        except CaptureError:
            raise
        except Exception as error:
            raise DetectorError(f"{custom.id}: {type(error).__name__}: {error}") from error
        if not isinstance(judged, Judged):
            raise TypeError(f"{custom.id}: judge returns a tapsight.Judged, not {type(judged).__name__}")
        for name in ("in_scope", "judged"):
            if not isinstance(getattr(judged, name), numbers.Integral):
                raise TypeError(f"{custom.id}: {name} is a whole number, not {getattr(judged, name)!r}")
        if not 0 <= judged.judged <= judged.in_scope <= _MOST:
            raise ValueError(f"{custom.id}: judged is {judged.judged}, of {judged.in_scope} in scope")
        scope = Scope(int(judged.in_scope), int(judged.judged), judged.reason)
        frames = _frames(seen)
        rows = _rows(custom, judged.findings)
        for row in rows:
            _require_sense(custom, row, frames)
        found = tuple(self._found(row, scope, severity) for row in rows)
        return Judgement(scope, found, doubt=doubt_about(custom.table, seen))

    def _found(self, row: dict[str, Any], scope: Scope, severity: Severity) -> Finding:
        if row["severity"] is not None and row["severity"] not in SEVERITIES:
            raise ValueError(
                f"{self.id}: severity is one of {', '.join(SEVERITIES)}, not {row['severity']!r}"
            )
        frames = [Frame(row["tap"], number, "offending") for number in (row["frames"] or ())[:EVIDENCE]]
        summed = {**row, "flows": 0, "evidence": tuple(frames)}
        return self.finding(
            summed, scope, row["severity"] or severity, identity=(row["key"],), sentence=row["sentence"]
        )


_MOST = 2**63 - 1
"""What counts may be."""


class DetectorError(RuntimeError):
    """A detector of somebody's own has raised something, which is its cause; the text says which detector."""


def _frames(seen: Observed) -> dict[str, int | None]:
    """The number of the last frame of each tap, if that is known; the first has 1."""
    frames: dict[str, int | None] = dict.fromkeys(seen.taps["tap"] if seen.taps.width else ())
    for row in seen.files.iter_rows(named=True):
        frames[row["tap"]] = max(frames.get(row["tap"]) or 0, row["first_frame"] + row["frames"] - 1)
    return frames


def _require_sense(custom: Custom, row: Mapping[str, Any], frames: Mapping[str, int | None]) -> None:
    """Makes sure that a finding is of what was captured."""
    where = f"{custom.id}: finding {row['key']!r}"
    if row["tap"] not in frames:
        there = ", ".join(map(repr, frames)) or "none"
        raise ValueError(f"{where} is of tap {row['tap']!r}, which is not there; there are: {there}")
    if row["first_ts"] > row["last_ts"]:
        raise ValueError(f"{where} ends (last_ts) before it begins (first_ts)")
    last = frames[row["tap"]]
    for number in row["frames"]:
        if not number or (last is not None and number > last):
            there = "" if last is None else f", which has frames 1 to {last}"
            raise ValueError(
                f"{where} names frame {number} of tap {row['tap']!r}{there}, as the column `frame` counts them"
            )


def _rows(custom: Custom, findings: Any) -> list[dict[str, Any]]:
    """The findings, if they have the columns that they should."""
    import pyarrow as pa

    if findings is None:
        return []
    table = findings if isinstance(findings, pa.Table) else pa.table(findings)
    columns = []
    for field in _findings_schema():
        if field.name not in table.column_names:
            if not field.nullable:
                raise ValueError(f"{custom.id}: findings have no column `{field.name}`")
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        try:
            column = table[field.name].cast(field.type)
        except pa.ArrowException as error:
            raise ValueError(f"{custom.id}: column `{field.name}` of findings: {error}") from error
        if column.null_count and not field.nullable:
            raise ValueError(f"{custom.id}: column `{field.name}` of findings has nulls")
        columns.append(column)
    # Times as the engine has them: numbers.
    whole = pa.table(columns, schema=_findings_schema()).cast(_numbers(_findings_schema()))
    rows: list[dict[str, Any]] = whole.to_pylist()
    return rows


def _findings_schema() -> pa.Schema:
    import pyarrow as pa

    time = pa.timestamp("ns", "UTC")
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("sentence", pa.string(), nullable=False),
            pa.field("packets", pa.uint64(), nullable=False),
            pa.field("first_ts", time, nullable=False),
            pa.field("last_ts", time, nullable=False),
            pa.field("tap", pa.string(), nullable=False),
            pa.field("frames", pa.list_(pa.uint64()), nullable=False),
            pa.field("severity", pa.string()),
        ]
    )


def _numbers(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [field.with_type(pa.int64()) if pa.types.is_timestamp(field.type) else field for field in schema]
    )


def _batches(custom: Custom, seen: Observed) -> pa.RecordBatchReader:
    """The table that it reads, with a schema and a batch even where there are no rows.

    Raises:
        ReadOnceError: It cannot be read a second time.
    """
    import polars as pl
    import pyarrow as pa

    wanted = list(dict.fromkeys([*custom.columns, "tap"]))
    if custom.table in HEARD:
        columns = table_columns(custom.table)
        times = [name for name in wanted if columns[name].kind == "time"]
        frame = seen.unlisted if custom.table == "flows" else getattr(seen, custom.table)
        whole = frame.select(wanted).with_columns(pl.col(times).cast(pl.Datetime("ns", "UTC"))).to_arrow()
        schema, batches = whole.schema, iter(whole.to_batches())
    else:
        schema = seen.captures.schema(custom.table, wanted)
        batches = seen.captures.batches(custom.table, wanted)
    # Whether it can be read shows with the first one.
    first = next(batches, None)
    if first is None:
        first = pa.RecordBatch.from_pylist([], schema=schema)
    return pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], batches))
