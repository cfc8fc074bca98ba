"""All that is found at medium severity or above in the captures of other projects: each finding is known, and why it is true."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from conftest import capture_index

import tapsight

PARTS = 8

KNOWN = Path(__file__).with_name("real_findings.tsv")
"""File, class of the detector, severity, how many, and what is true about it."""

Found = tuple[str, str, str]


def found(captures: Path, name: str) -> list[Found]:
    """File, class and severity of each finding of medium severity or above."""
    try:
        result = tapsight.check(str(captures / name), threads=1)
    except ValueError:
        return []  # Nothing in it can be read, which other tests look at.
    rows = result.findings.select(["detector", "check", "severity"]).to_pylist()
    told = [(name, row["detector"] or row["check"], row["severity"]) for row in rows]
    return [each for each in told if each[2] not in ("info", "low")]


@pytest.mark.parametrize("part", range(PARTS))
def test_every_finding_in_real_captures_is_known(captures: Path, part: int) -> None:
    names = [row["file"] for row in capture_index()[part::PARTS]]
    assert len(names) > 1000 // PARTS
    with KNOWN.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert all(row["truth"] for row in rows)
    assert {row["file"] for row in rows} <= {row["file"] for row in capture_index()}
    known = {
        (row["file"], row["detector"], row["severity"]): int(row["findings"])
        for row in rows
        if row["file"] in names
    }
    assert Counter(each for name in names for each in found(captures, name)) == known
