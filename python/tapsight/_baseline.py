"""What an earlier run has found, so that one that comes every night shows what is new, and what is worse.

Findings are compared one by one, before those of a kind that are too many to be listed are summed up: so what is new is told, however much
of its kind is known. A baseline is what a run has written as JSON or NDJSON: rows of findings, and under ``remembered`` those that have none.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tapsight._files import read_whole
from tapsight._options import SEVERITIES, Severity
from tapsight._text import plural
from tapsight.findings import Finding, FrameNumbers, findings_table, grouped, id_of_rest, numbered

if TYPE_CHECKING:
    import pyarrow as pa

REMEMBERED = 10_000
"""Findings of one kind that a result remembers for later ones, those listed included. What it does not remember is new to those."""

WORSE = 10
"""What has so many times the packets that it had is worse, as is what has a higher severity."""

MOST_BYTES = 256 << 20
"""How long a baseline may be."""


@dataclasses.dataclass(frozen=True, slots=True)
class Level:
    """How bad a finding was when it was last told."""

    severity: Severity
    packets: int

    def is_exceeded_by(self, finding: Finding) -> bool:
        """Whether it is worse than it was."""
        return SEVERITIES.index(finding.severity) > SEVERITIES.index(
            self.severity
        ) or finding.packets >= WORSE * max(1, self.packets)

    def remembered(self) -> Level:
        """With packets to two digits, rounded up so that nothing looks worse than it was: many findings then are of one level."""
        unit = 10 ** max(0, len(str(self.packets)) - 2)
        return dataclasses.replace(self, packets=-(-self.packets // unit) * unit)

    def __str__(self) -> str:
        """In a few words."""
        about = "about " if self.packets >= 100 else ""
        return f"{self.severity}, of {about}{plural(self.packets, 'packet')}"


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What an earlier run has found."""

    levels: Mapping[str, Level | None]
    """Ids of findings, and how bad they were; none where that is not known."""
    forgotten: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """How many findings it does not remember, by check or by detector and class."""
    is_old: bool = False
    """Whether it is from before results remembered what they do not list."""

    @classmethod
    def of_ids(cls, ids: Iterable[str]) -> Baseline:
        """That these were found, however bad."""
        return cls(dict.fromkeys(ids))

    @property
    def notes(self) -> list[str]:
        """What it cannot tell, a line each."""
        lines = [
            f"does not remember {plural(count, 'finding')} of {name}, which are told as new"
            for name, count in self.forgotten.items()
        ]
        if self.is_old:
            lines.append(
                "is of an earlier version: findings that it summed up are told as new, and of those that it left out itself none is told as worse. "
                "What this run writes is a baseline without these gaps"
            )
        return lines

    def joined(self, other: Baseline) -> Baseline:
        """What either knows; of what both do, as the other has it."""
        return Baseline(
            {**self.levels, **other.levels},
            {**self.forgotten, **other.forgotten},
            self.is_old or other.is_old,
        )


# --- What a run has found, one by one ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Found:
    """All findings of a run, those included that are not listed one by one, and how they stand beside a baseline."""

    findings: tuple[Finding, ...] = ()
    """Those that count, by rank."""
    excepted: frozenset[str] = frozenset()
    """Ids of those that do not."""
    numbers: FrameNumbers = dataclasses.field(default_factory=lambda: FrameNumbers(()))
    baseline: Baseline | None = None

    @classmethod
    def of(cls, findings: Iterable[Finding], excepted: Iterable[Finding], numbers: FrameNumbers) -> Found:
        """Those that count, and those that do not."""
        return cls(tuple(numbered(findings)), frozenset(each.row_id for each in numbered(excepted)), numbers)

    def since(self, baseline: Baseline) -> Found:
        """The same beside one more baseline."""
        joined = self.baseline.joined(baseline) if self.baseline is not None else baseline
        return dataclasses.replace(self, baseline=joined)

    def table(self) -> pa.Table:
        """What is new or worse, as a table in which many of a kind are summed up."""
        return findings_table(grouped(self._told()), self.numbers)

    def _told(self) -> Iterator[Finding]:
        for finding in self.findings:
            if not self._is_known(finding):
                yield finding
            elif self._is_worse(finding):
                was = self._level(finding)
                yield dataclasses.replace(
                    finding,
                    sentence=f"{finding.sentence} Known, but worse: it was {was}.",
                    is_known=True,
                )

    def _is_known(self, finding: Finding) -> bool:
        return self.baseline is not None and finding.row_id in self.baseline.levels

    def _level(self, finding: Finding) -> Level | None:
        return self.baseline.levels.get(finding.row_id) if self.baseline is not None else None

    def _is_worse(self, finding: Finding) -> bool:
        level = self._level(finding)
        return level is not None and level.is_exceeded_by(finding)

    @property
    def known(self) -> tuple[str, ...]:
        """Ids of those that the baseline has, and that are no worse than they were."""
        return tuple(
            each.row_id for each in self.findings if self._is_known(each) and not self._is_worse(each)
        )

    @property
    def worse(self) -> tuple[str, ...]:
        """Ids of those that the baseline has, but less of."""
        return tuple(each.row_id for each in self.findings if self._is_worse(each))

    @property
    def gone(self) -> tuple[str, ...]:
        """Ids of those that only the baseline has."""
        if self.baseline is None:
            return ()
        there = {each.row_id for each in self.findings}
        # What an old baseline summed up is told one by one now.
        sums = {id_of_rest(each.name) for each in self.findings}
        return tuple(sorted(set(self.baseline.levels) - there - self.excepted - sums))

    def remembered(self, listed: Iterable[str]) -> tuple[dict[Level, list[str]], dict[str, int]]:
        """Ids that are not among those listed, by level; and how many more there are, by check or by detector and class.

        What is known stays as bad as it was when it was told, so that what grows night by night is told one day.
        """
        listed = frozenset(listed)
        by_level: dict[Level, list[str]] = {}
        counts: dict[str, int] = {}
        for finding in self.findings:
            name = finding.name or ""
            counts[name] = counts.get(name, 0) + 1
            if counts[name] <= REMEMBERED and finding.row_id not in listed:
                level = None if self._is_worse(finding) else self._level(finding)
                level = level or Level(finding.severity, finding.packets)
                by_level.setdefault(level.remembered(), []).append(finding.row_id)
        return by_level, {name: count - REMEMBERED for name, count in counts.items() if count > REMEMBERED}

    def as_baseline(self) -> Baseline:
        """What a later run may go by."""
        by_level, forgotten = self.remembered(())
        return Baseline({id_: level for level, ids in by_level.items() for id_ in ids}, forgotten)


def remembered_rows(by_level: Mapping[Level, list[str]]) -> list[dict[str, Any]]:
    """As JSON has it: few rows, each with many ids in one text."""
    return [
        {"severity": level.severity, "packets": level.packets, "ids": " ".join(ids)}
        for level, ids in by_level.items()
    ]


def forgotten_rows(forgotten: Mapping[str, int]) -> list[dict[str, Any]]:
    """As JSON has it."""
    return [{"of": name, "findings": count} for name, count in forgotten.items()]


# --- What an earlier run has written ----------------------------------------------------------------------------------


def read_baseline(path: str | os.PathLike[str]) -> Baseline:
    """The findings in the JSON or NDJSON of an earlier run, those included that it left out.

    So one night's output is the next night's baseline.

    Raises:
        ValueError: It is neither, or longer than one would be.
        OSError: It cannot be read.
    """
    baseline = _baseline(read_whole(path, MOST_BYTES, "baseline").decode("utf-8", "replace"))
    if baseline is None:
        raise ValueError(
            f"{os.fspath(path)}: not what `tapsight check --format json` or `--format ndjson` writes"
        )
    return baseline


def _baseline(text: str) -> Baseline | None:
    """What there is, if it is one."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        try:
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            return None
    else:
        if isinstance(whole, dict) and whole.get("type") != "run":
            return _of(whole, whole.get("findings"))
        lines = [whole]
    if not lines or not all(isinstance(line, dict) for line in lines) or lines[0].get("type") != "run":
        return None
    return _of(lines[0], [line for line in lines if line.get("type") == "finding"])


def _of(run: dict[str, Any], findings: object) -> Baseline | None:
    left_out = [run.get(name, []) for name in ("known", "lesser", "remembered", "forgotten")]
    if not isinstance(findings, list) or not all(isinstance(each, list) for each in left_out):
        return None
    known, lesser, remembered, forgotten = left_out
    if not all(isinstance(id_, str) for id_ in (*known, *lesser)):
        return None
    if not all(isinstance(row, dict) for row in (*findings, *remembered, *forgotten)):
        return None
    # What does not say how bad it was is known all the same; a severity that there is not, somebody has written.
    if any(row.get("severity") not in (None, *SEVERITIES) for row in (*findings, *remembered)):
        return None
    is_old = "remembered" not in run
    # What is left out is remembered with how bad it was; before that, there were only ids.
    levels: dict[str, Level | None] = dict.fromkeys([*known, *lesser] if is_old else ())
    for row in findings:
        id_ = row.get("id")
        if not isinstance(id_, str):
            return None
        # A row that stands for many says nothing of any one of them.
        if id_ != id_of_rest(row.get("check") or row.get("detector")):
            levels[id_] = _level(row)
    for row in remembered:
        ids = row.get("ids")
        if not isinstance(ids, str):
            return None
        levels.update(dict.fromkeys(ids.split(), _level(row)))
    counts = {
        str(row.get("of")): row["findings"] for row in forgotten if isinstance(row.get("findings"), int)
    }
    return Baseline(levels, counts, is_old and bool(known or lesser or findings))


def _level(row: Mapping[str, Any]) -> Level | None:
    severity, packets = row.get("severity"), row.get("packets")
    if severity not in SEVERITIES or not isinstance(packets, int) or packets < 0:
        return None
    return Level(severity, packets)
