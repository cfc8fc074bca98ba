"""Rows of captures that are read once more, summed up batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tapsight.checks._base import EVIDENCE

PARTS = 64
"""How many batches may leave something to sum up before it is."""

LIMIT = 1 << 18
"""How many keys are told apart: of those that come after them, packets are only counted."""


class Sums:
    """``packets``, ``first_ts``, ``last_ts`` and ``frames`` of rows with equal keys, in the order in which these were first seen.

    What is kept is as large as there are keys in the last batches, however many batches there were, and no larger than :data:`LIMIT` keys and what those
    batches have.
    """

    missing: int
    """Packets of keys that found no room, as far as was summed up: by :meth:`total` and :meth:`by_batch`, all are."""

    def __init__(self, keys: Sequence[str], examples: Sequence[str] = ()) -> None:
        """No rows yet. Of ``examples``, the value of the first row is kept."""
        self._keys = list(keys)
        self._examples = list(examples)
        self._parts: list[pl.DataFrame] = []
        self.missing = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Adds the rows of a batch."""
        self._parts.append(self._summed(rows))
        if len(self._parts) == PARTS:
            self._sum_up()

    def _sum_up(self) -> None:
        rows = self._summed(pl.concat(self._parts))
        self.missing += int(rows[LIMIT:]["packets"].sum())
        self._parts = [rows[:LIMIT]]

    def by_batch(self) -> pl.DataFrame | None:
        """A row for equal keys of a batch, or of several; none if there was no batch. Those of the last batches may still have equal keys."""
        if sum(map(len, self._parts)) > LIMIT:
            self._sum_up()
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
