"""Findings about two addresses, by what they exchanged."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any

from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Scope, group, ordered_ends
from tapsight.checks._talks import end

if TYPE_CHECKING:
    import polars as pl

    from tapsight._options import Severity
    from tapsight.findings import Finding


def exchanges(
    check: Check[Any], flows: pl.DataFrame, scope: Scope, severity: Severity, *, what: str, wrong: str
) -> tuple[Finding, ...]:
    """A finding for each two addresses between which flows went that should not have, or not so.

    Args:
        check: Whose findings they are.
        flows: Those flows.
        scope: What was judged.
        severity: Of the findings.
        what: What the packets are of, such as ``voice signalling``.
        wrong: What is wrong with it, as the end of a sentence.
    """
    return tuple(
        check.finding(
            row,
            scope,
            severity,
            identity=(row["end_a"], row["end_b"]),
            sentence=functools.partial(_sentence, _SAID(row), what, wrong),
            traffic=row["traffic"],
        )
        for row in group(
            flows.with_columns(*ordered_ends("src", "dst")), ["end_a", "end_b"], all_of=["traffic"]
        )
    )


_SAID = operator.itemgetter("end_a", "end_b", "packets", "apps", "first_ts", "last_ts", "taps")
"""What a sentence says, so that no more of a row is kept for it."""


def _sentence(said: tuple[Any, ...], what: str, wrong: str) -> str:
    one, other, count, apps, first_ts, last_ts, taps = said
    return (
        f"{end(one)} and {end(other)} exchanged {plural(count, 'packet')} of {what} ({listing(apps)}), "
        f"{span_text(first_ts, last_ts)} (on {listing(taps)}), {wrong}."
    )
