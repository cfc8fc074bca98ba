"""A result as one screen of text: the answers first, then the proof, then how much could be judged."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from tapsight._call_verdicts import ASPECTS
from tapsight._check import Result, compared_rows, plain_rows
from tapsight._links import is_unread
from tapsight._text import duration, listing, percent, plural, safe
from tapsight.checks._base import Lack

_COLOURS = {"yes": 31, "fail": 31, "critical": 31, "high": 31, "medium": 33, "cannot tell": 33, "unknown": 33}
_COLOURS |= {"no sign": 32, "pass": 32}

_MOST = 20
"""Findings shown; the others are counted."""
_LOOKED_UP = 32
"""Frames of a file that a display filter names; JSON has all."""


class _Page:
    """Lines of a report. What goes in is escaped here, so that nothing else needs to think of it."""

    def __init__(self, width: int, *, colour: bool) -> None:
        self.width = max(width, 40)
        self.colour = colour
        self.lines: list[str] = []

    def paint(self, text: str, word: str) -> str:
        code = _COLOURS.get(word)
        return f"\x1b[1;{code}m{safe(text)}\x1b[0m" if self.colour and code else safe(text)

    def line(self, text: str = "") -> None:
        self.lines.append(safe(text))

    def heading(self, text: str) -> None:
        self.lines += ["", f"\x1b[1m{safe(text)}\x1b[0m" if self.colour else safe(text)]

    def labelled(self, label: str, text: str, *, indent: int = 2, hang: int = 13) -> None:
        """The text, wrapped, with a label in front of its first line."""
        wrapped = textwrap.wrap(safe(text), self.width - hang, break_on_hyphens=False) or [""]
        first = f"{' ' * indent}{label}".ljust(hang - 1) + " "
        self.lines += [(first if at == 0 else " " * hang) + part for at, part in enumerate(wrapped)]

    def table(self, head: list[str], rows: list[list[str]], *, painted: int | None = None) -> None:
        """Columns as wide as their cells; the last one is wrapped."""
        rows = [[safe(cell) for cell in row] for row in rows]
        widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head) - 1)]
        start = sum(widths) + 2 * len(head)
        for row in (head, *rows):
            cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
            if painted is not None and row is not head:
                cells[painted] = self.paint(cells[painted], row[painted])
            wrapped = textwrap.wrap(row[-1], max(self.width - start, 20), break_on_hyphens=False) or [""]
            self.lines.append(("  " + "  ".join([*cells, wrapped[0]])).rstrip())
            self.lines += [" " * start + part for part in wrapped[1:]]


def render(result: Result, *, width: int = 100, colour: bool = False) -> str:
    """The result as text, lines no wider than ``width`` where words allow it."""
    page = _Page(width, colour=colour)
    verdicts = result.verdicts.to_pylist()
    for answer in result.answers:
        said = answer.answer.upper() if answer.answer == "yes" else answer.answer
        start = len(said) + 2
        text = textwrap.wrap(safe(answer.because), page.width - 24, initial_indent=" " * start) or [""]
        page.lines.append(
            f"{safe(answer.question):<23} {page.paint(said, answer.answer)}: {text[0].lstrip()}"
        )
        page.lines += [" " * 24 + part for part in text[1:]]
    _not_judged(page, result, verdicts)
    _findings(page, result)
    page.heading("Verdicts")
    page.table(
        ["check", "verdict", "coverage", "packets", "findings", "what"],
        [
            [
                row["check"],
                row["verdict"],
                percent(row["judged"], row["in_scope"]) if row["in_scope"] else "-",
                f"{row['in_scope']:,}",
                f"{row['findings']:,}",
                "; ".join(
                    filter(None, (row["title"], None if _is_partial(row) else row["reason"], row["ticket"]))
                ),
            ]
            for row in verdicts
        ],
        painted=1,
    )
    _calls(page, result)
    _compared(page, result)
    _quality(page, result)
    return "\n".join(page.lines) + "\n"


def _calls(page: _Page, result: Result) -> None:
    """How many calls passed, and in what the others did not."""
    calls = result.calls
    if calls.num_rows == 0:
        return
    page.heading(f"Calls ({calls.num_rows})")
    counts = {
        name: {each["values"]: each["counts"] for each in calls[name].value_counts().to_pylist()}
        for name in ("verdict", *ASPECTS)
    }
    words = ("pass", "fail", "unknown")
    rows = [
        [name, *[f"{counts[name].get(word, 0):,}" for word in words], what] for name, what in _ASPECTS.items()
    ]
    page.table(["", *words, "what"], rows)


_ASPECTS = {
    "path": "media where voice belongs",
    "peers": "between ends that agreed",
    "encrypted": "as offered and agreed",
    "media": "where signalled",
    "alone": "nobody else receives them",
    "verdict": "all of these",
}


def _not_judged(page: _Page, result: Result, verdicts: list[dict[str, Any]]) -> None:
    lines = [*result.problems, *_reasons(list(filter(_is_partial, verdicts)), result.lacks)]
    if lines:
        page.line("What could not be judged")
        for line in lines:
            page.labelled("-", line, hang=4)
    else:
        page.line("Everything in scope could be judged.")


def _reasons(partial: list[dict[str, Any]], lacks: Mapping[str, Lack]) -> list[str]:
    """Why these could not judge, a line a reason. JSON has the reason of each."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    unsaid, unseen, nearly = [], [], []
    for row in partial:
        reason = (row["reason"] or "too little could be judged").removeprefix("not judged: ")
        lack = lacks.get(row["check"])
        if lack == "policy":
            unsaid.append(row["check"])
        elif lack == "traffic":
            unseen.append(row["check"])
        elif row["verdict"] != "unknown" and row["judged"] >= _NEARLY * row["in_scope"]:
            nearly.append(row["check"])
        else:
            by_reason.setdefault(reason, []).append(row)
    lines = []
    for reason, rows in by_reason.items():
        names, left = [row["check"] for row in rows], [_left(row) for row in rows]
        if len(set(left)) > 1:
            names = [f"{name} ({text})" if text else name for name, text in zip(names, left, strict=True)]
            left = [None]
        each = " each" if len(rows) > 1 else ""
        lines.append(f"{', '.join(names)}: {f'{left[0]}{each}; ' if left[0] else ''}{reason}")
    if nearly:
        lines.append(
            f"{', '.join(nearly)}: less than {100 * (1 - _NEARLY):.0f} % of what there was (--format json says why)"
        )
    if unseen:
        lines.append(f"{', '.join(unseen)}: nothing that they look at was seen")
    if unsaid:
        lines.append(f"{', '.join(unsaid)}: the policy does not say what they need (tapsight explain ID)")
    return lines


def _left(row: dict[str, Any]) -> str | None:
    """How many packets were not judged, where the reason does not tell."""
    if row["verdict"] == "unknown":
        return None
    return f"{plural(row['in_scope'] - row['judged'], 'packet')} of {row['in_scope']:,}"


_NEARLY = 0.95
"""The share of what there was from which on it is told together that the rest was not judged."""


def _is_partial(verdict: dict[str, Any]) -> bool:
    """Whether something could not be judged, so that the reason stands in that part of the page."""
    return bool(verdict["verdict"] == "unknown" or verdict["judged"] < verdict["in_scope"])


def _findings(page: _Page, result: Result) -> None:
    findings = plain_rows(result.findings.slice(0, _MOST))
    page.heading(f"Findings ({result.findings.num_rows})")
    if not findings:
        page.line("  none")
    for row in findings:
        name = " / ".join(filter(None, (row["check"], row["detector"])))
        rest = "  ".join(filter(None, (name, row["id"], ", ".join(row["attack"]))))
        page.lines.append(f"  {page.paint(row['severity'].upper(), row['severity'])}  {safe(rest)}")
        page.labelled("", row["sentence"], hang=4)
        if where := collector_text(row["collector"]):
            page.labelled("to", where, indent=4, hang=15)
        for file, frames, shown in frames_by_file(row["evidence"]):
            page.labelled("frames", f"{file}: {frames}", indent=4, hang=15)
            page.labelled("look up", shown, indent=4, hang=15)
    if result.findings.num_rows > len(findings):
        page.line(f"  and {result.findings.num_rows - len(findings):,} more: --format json lists all")
    if result.known:
        page.line(f"  and {plural(len(result.known), 'finding')} that the baseline has")
    if result.lesser:
        page.line(f"  and {plural(len(result.lesser), 'finding')} of lower severity")
    if result.gone:
        page.line(f"  not found this time: {listing(list(result.gone), 8)}, which the baseline has")


def collector_text(collector: Mapping[str, Any]) -> str:
    """Where copies or a tunnel go: address, MAC, tunnel."""
    tunnel = collector["encap"] or ""
    if collector["tunnel_id"] is not None:
        tunnel += f" id {collector['tunnel_id']}"
    return "  ".join(filter(None, (collector["address"], collector["mac"], tunnel)))


def frames_by_file(evidence: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """For each file its frames by role, and the display filter that shows them in Wireshark."""
    files: dict[str, list[Mapping[str, Any]]] = {}
    for frame in evidence:
        files.setdefault(frame["file"] or f"tap {frame['tap']}", []).append(frame)
    rows = []
    for file, frames in files.items():
        roles: dict[str, list[int]] = {}
        for frame in frames:
            roles.setdefault(frame["role"], []).append(frame["frame"])
        texts = [f"{role} {', '.join(map(str, sorted(numbers)[:4]))}" for role, numbers in roles.items()]
        more = sum(max(0, len(numbers) - 4) for numbers in roles.values())
        shown = display_filter(frame["frame"] for frame in frames[:_LOOKED_UP])
        rows.append((file, "; ".join(texts) + (f" and {more} more" if more else ""), shown))
    return rows


def display_filter(frames: Iterable[int]) -> str:
    """The Wireshark display filter that shows these frames."""
    return f"frame.number in {{{', '.join(map(str, sorted(set(frames))))}}}"


def _compared(page: _Page, result: Result) -> None:
    rows = compared_rows(result.taps_compared)
    if not rows:
        return
    page.heading("From tap to tap")
    rows.sort(key=lambda row: -row["judged"])
    table = []
    for row in rows[:_MOST]:
        words = ("lost", "inserted", "modified", "readdressed", "diverted", "copied")
        what = [f"{row[word]:,} {word}" for word in words if row[word]]
        what += [f"{row['capture_loss']:,} missed by a tap"] if row["capture_loss"] else []
        if not row["judged"] and not what:
            continue
        if row["delay_p50_ns"] is not None:
            more = "" if row["both_ways"] else " more than the least"
            what.append(
                f"took {duration(row['delay_p50_ns'])}, 99 % at most {duration(row['delay_p99_ns'])}{more}"
            )
        share = percent(row["passed"], row["judged"]) if row["judged"] else "-"
        table.append(
            [row["from_tap"], row["to_tap"], row["traffic"], f"{row['judged']:,}", share, "; ".join(what)]
        )
    page.table(["from", "to", "traffic", "packets", "passed", "what else"], table)
    if len(rows) > _MOST:
        page.line(f"  and {len(rows) - _MOST:,} more: --format json lists all")
    clocks = {tuple(sorted((row["from_tap"], row["to_tap"]))): row for row in rows}
    for row in clocks.values():
        page.labelled("-", _clocks(row), hang=4)


def _clocks(row: Mapping[str, Any]) -> str:
    """How far two taps' clocks are apart."""
    ahead, behind, offset = row["to_tap"], row["from_tap"], row["offset_ns"]
    drift = row["drift_ppm"]
    if offset < 0:
        ahead, behind, offset, drift = behind, ahead, -offset, None if drift is None else -drift
    if not row["both_ways"]:
        return (
            f"{ahead} is {duration(offset)} later than {behind}, by how their clocks are apart and how long packets take: one "
            "direction does not tell which"
        )
    text = f"the clock of {ahead} is {duration(offset)} ahead of {behind}'s, ± {duration(row['offset_uncertainty_ns'])}"
    if drift is not None and abs(drift) > row["drift_uncertainty_ppm"]:
        text += f", and gains {drift:.3g} µs a second (± {row['drift_uncertainty_ppm']:.2g})"
    for step in row["clock_steps"]:
        text += f"; it stepped by {duration(abs(step['step_ns']))} at {step['ts']}"
    return text


def quality_notes(row: Mapping[str, Any]) -> list[str]:
    """What is wrong with a capture, a row of ``Result.taps``; or that it is complete."""
    notes = [f"{row['dropped']:,} dropped"] if row["dropped"] else []
    notes += ["drops not told"] if row["dropped"] is None else []
    if is_unread(row.get("link_type")):
        notes.append(f"its link type is not read ({row['link_type']})")
    elif row["issues"]:
        notes.append(f"{row['issues']:,} with malformed or cut headers")
    notes += [f"{row['snapped']:,} captured in part"] if row["snapped"] else []
    notes += list(row["warnings"] or ())
    return notes or ["complete"]


def _quality(page: _Page, result: Result) -> None:
    page.heading("Captures")
    for row in plain_rows(result.taps):
        what = f"{row['tap']}: {plural(row['frames'], 'frame')} in {row['file']}"
        page.labelled("-", "; ".join([what, *quality_notes(row)]), hang=4)
    for row in result.explained():
        packets, family = plural(row["packets"], "packet"), row["detector"].split(".")[0]
        page.labelled(
            "-", f"{packets} named, not reported: {row['detector']} (tapsight explain {family})", hang=4
        )
