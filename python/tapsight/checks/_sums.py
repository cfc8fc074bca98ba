"""Rows of captures that are read once more, summed up batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tapsight.checks._base import EVIDENCE

PARTS = 64
"""How many batches may leave something to sum up before it is."""


class Sums:
    """``packets``, ``first_ts``, ``last_ts`` and ``frames`` of rows with equal keys, in the order in which these were first seen.

    What is kept is as large as there are keys in the last batches, however many batches there were.
    """

    def __init__(self, keys: Sequence[str], examples: Sequence[str] = ()) -> None:
        """No rows yet. Of ``examples``, the value of the first row is kept."""
        self._keys = list(keys)
        self._examples = list(examples)
        self._parts: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Adds the rows of a batch."""
        self._parts.append(self._summed(rows))
        if len(self._parts) == PARTS:
            self._parts = [self._summed(pl.concat(self._parts))]

    def by_batch(self) -> pl.DataFrame | None:
        """A row for equal keys of a batch, or of several; none if there was no batch. Those of the last batches may still have equal keys."""
        return pl.concat(self._parts) if self._parts else None

    def total(self) -> pl.DataFrame | None:
        """A row for equal keys; none if there was no batch."""
        rows = self.by_batch()
        return None if rows is None else self._summed(rows)

    def _summed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.group_by(self._keys, maintain_order=True).agg(
            pl.col("packets").sum(),
            pl.col("first_ts").min(),
            pl.col("last_ts").max(),
            *(pl.col(name).first() for name in self._examples),
            pl.col("frames").list.explode(keep_nulls=False, empty_as_null=False).head(EVIDENCE),
        )
