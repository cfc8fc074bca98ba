"""The Polars side of :func:`tapsight.scan`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from tapsight import _core
from tapsight._scan import Scan

Filters: TypeAlias = tuple[tuple[str, tuple[int | str, ...]], ...]


def lazy_frame(scan: Scan) -> pl.LazyFrame:
    """A lazy frame that reads ``scan`` each time it is collected."""
    names = scan.schema.names

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        columns = names if with_columns is None else [name for name in names if name in with_columns]
        narrowed = replace(
            scan,
            columns=tuple(columns),
            filters=() if predicate is None or scan.table != "packets" else engine_filters(predicate),
            # With a predicate, the rows to count are those that pass all of it, which only Polars knows.
            limit=n_rows if predicate is None else None,
            batch_size=min(scan.batch_size, max(n_rows, 1)) if n_rows is not None else scan.batch_size,
        )
        left = n_rows
        for batch in narrowed:
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a batch makes a frame
            if predicate is not None:
                frame = frame.filter(predicate)
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            yield frame
            if left == 0:
                return

    return register_io_source(
        source, schema=polars_schema(scan), is_pure=True, validate_schema=False, explain_name="TAPSIGHT"
    )


def polars_schema(scan: Scan) -> pl.Schema:
    """The schema as Polars sees it."""
    frame = pl.from_arrow(pa.Table.from_batches([], schema=scan.schema))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table makes a frame
    return frame.schema


def engine_filters(predicate: pl.Expr) -> Filters:
    """The part of ``predicate`` that the engine can apply: comparisons with literals that must all hold.

    Polars' form of an expression is not a stable interface. What is not understood is left out, which costs time but not
    correctness: the whole predicate is applied to the rows afterwards.
    """
    try:
        tree = json.loads(predicate.meta.serialize(format="json"))
        return tuple(_conjunction(tree))
    except (ValueError, TypeError, KeyError, AttributeError, pl.exceptions.PolarsError):
        return ()


def _conjunction(node: Any) -> Iterator[tuple[str, tuple[int | str, ...]]]:
    binary = node.get("BinaryExpr")
    if binary is not None and binary["op"] in ("And", "LogicalAnd"):
        yield from _conjunction(binary["left"])
        yield from _conjunction(binary["right"])
        return
    comparison = _comparison(node)
    if comparison is not None and _core.filterable(comparison[0], list(comparison[1])):
        yield comparison


def _comparison(node: Any) -> tuple[str, tuple[int | str, ...]] | None:
    function = node.get("Function")
    if function is not None and "IsIn" in function["function"].get("Boolean", ()):
        column, values = function["input"]
        name, found = column.get("Column"), _list(values)
        return None if not isinstance(name, str) or found is None else (name, found)
    binary = node.get("BinaryExpr")
    if binary is None or binary["op"] != "Eq":
        return None
    for column, literal in ((binary["left"], binary["right"]), (binary["right"], binary["left"])):
        name, value = column.get("Column"), _literal(literal)
        if isinstance(name, str) and value is not None:
            return name, (value,)
    return None


def _list(node: Any) -> tuple[int | str, ...] | None:
    """The numbers or texts in a literal list, which Polars writes as an IPC stream of one column of lists."""
    encoded = bytes(node["Literal"]["Scalar"]["List"])
    values = pl.read_ipc_stream(encoded).to_series().explode().to_list()
    known = [value for value in values if isinstance(value, str) or (isinstance(value, int) and value >= 0)]
    return tuple(known) if len(known) == len(values) else None


def _literal(node: Any) -> int | str | None:
    """The number or text in a literal, however deep Polars wraps it."""
    literal = node.get("Literal")
    while isinstance(literal, dict) and len(literal) == 1:
        literal = next(iter(literal.values()))
    if isinstance(literal, bool) or not isinstance(literal, int | str):
        return None
    return literal if isinstance(literal, str) or literal >= 0 else None
