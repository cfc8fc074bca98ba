"""A result as one screen of text: the answers first, then the proof, then how much could be judged."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from tapsight._call_verdicts import ASPECTS
from tapsight._check import Result, compared_rows, plain_rows
from tapsight._exceptions import exception_lines
from tapsight._links import is_unread
from tapsight._text import duration, listing, percent, plural, safe
from tapsight.checks._base import Lack

_COLOURS = {"bad": 31, "fail": 31, "critical": 31, "high": 31, "medium": 33, "open": 33, "unknown": 33}
_COLOURS |= {"good": 32, "pass": 32}

_MOST = 20
"""Findings shown in detail; the others are counted."""
SCREEN = 40
"""Lines of one screen: less is shown until that suffices, if it can."""
_LESS = ((5, 6), (5, 4), (5, 3), (4, 3), (3, 3), (3, 2), (2, 2), (2, 1), (1, 2), (1, 1))
"""How many places that findings are of, and reasons why checks could not judge, are shown on one screen; the others are counted."""
_FRAMES = 4
"""Frames that one screen names of a finding."""
_MORE = "--details shows all"
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

    def said(self, question: str, answer: str, because: str, tone: str) -> None:
        """A question and its answer, in as few lines as they take."""
        start = f"{safe(question)} {safe(answer)}: "
        lines = textwrap.wrap(
            start + safe(because), self.width, subsequent_indent=" " * 4, break_on_hyphens=False
        )
        self.lines += [lines[0].replace(safe(answer), self.paint(answer, tone), 1), *lines[1:]]

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


def render(result: Result, *, width: int = 100, colour: bool = False, details: bool = False) -> str:
    """The result as text, lines no wider than ``width`` where words allow it.

    Without ``details`` it is one screen: answers, what could not be judged, what failed with the frames to look up first, and counts.
    """
    page = _Page(width, colour=colour)
    verdicts = result.verdicts.to_pylist()
    if details:
        _answers(page, result)
        _not_judged(page, result, verdicts, details=True)
        _findings(page, result)
        _excepted(page, result)
        _verdicts(page, verdicts)
        _calls(page, result)
        _compared(page, result)
        _quality(page, result)
    else:
        for stories, reasons in _LESS:
            page = _Page(width, colour=colour)
            _answers(page, result)
            _not_judged(page, result, verdicts, most=reasons)
            _stories(page, result, stories)
            _counts(page, result, verdicts)
            if len(page.lines) <= SCREEN:
                break
    return "\n".join(page.lines) + "\n"


def _answers(page: _Page, result: Result) -> None:
    for each in result.answers:
        said = each.answer.upper() if each.tone == "bad" else each.answer
        page.said(f"{each.question:<{_ASKED}}", said, each.because, each.tone)
    last = result.not_shown
    page.said(last.question, last.answer, last.because, "open" if last.unknown else "good")


_ASKED = 27
"""Room for a question."""


# --- One screen -------------------------------------------------------------------------------------------------------


def _stories(page: _Page, result: Result, most: int) -> None:
    """What failed: findings that name one place are told once, with the frames to look up first."""
    found = result.findings.num_rows
    page.heading(f"Findings ({found})")
    if not found:
        page.line("  none")
    rows = plain_rows(result.findings)
    stories: dict[object, list[dict[str, Any]]] = {}
    for row in rows:
        place = row["collector"]
        where = (place["encap"], place["address"], place["tunnel_id"])
        stories.setdefault(where if place["address"] is not None else row["id"], []).append(row)
    for first, *others in list(stories.values())[:most]:
        page.lines.append(_title(page, first))
        page.labelled("", first["sentence"], hang=4)
        if others:
            same = listing([f"{_who(row)} {row['id']}" for row in others], 4)
            page.labelled("", f"Also: {same}.", hang=4)
        for file, frames in list(_by_file(first["evidence"]).items())[-1:]:
            shown = display_filter(frame["frame"] for frame in frames[:_FRAMES])
            page.labelled("look up", f"{file}: {shown}", indent=4, hang=13)
    if len(stories) > most:
        rest = sum(map(len, list(stories.values())[most:]))
        page.line(f"  and {rest:,} more: {_MORE}")
    _left_out(page, result)
    if excepted := result.excepted.num_rows:
        owners = list(dict.fromkeys(result.excepted["owner"].to_pylist()))
        page.line(f"  {plural(excepted, 'finding')} excepted, for which {listing(owners)} answers: {_MORE}")
    for note in exception_lines(result.exceptions):
        page.labelled("-", note, hang=4)


def _counts(page: _Page, result: Result, verdicts: list[dict[str, Any]]) -> None:
    """Verdicts, calls, taps and captures, a line or two each."""
    page.heading("In short")
    words = {
        word: [row for row in verdicts if row["verdict"] == word] for word in ("fail", "pass", "unknown")
    }
    for word, rows in words.items():
        if rows:
            shares = [
                f" {_share(row)}" if row["verdict"] == "pass" and _is_partial(row) else "" for row in rows
            ]
            names = _runs([(row["check"], share) for row, share in zip(rows, shares, strict=True)])
            page.labelled(f"{word} {len(rows)}", ", ".join(names))
    if calls := result.calls.num_rows:
        page.labelled("calls", f"{calls:,}: " + "; ".join(_aspects(result)))
    for line in _passed(result):
        page.labelled("tap to tap", line)
    taps: dict[str, list[dict[str, Any]]] = {}
    for row in plain_rows(result.taps):
        taps.setdefault(row["tap"], []).append(row)
    for tap, rows in list(taps.items())[:_TAPS]:
        notes = {note: None for row in rows for note in quality_notes(row)}
        what = f"{tap}: {plural(sum(row['frames'] for row in rows), 'frame')} in {plural(len(rows), 'file')}"
        page.labelled("captures", f"{what}; {listing(list(notes), 4)}")
    if len(taps) > _TAPS:
        page.labelled("", f"and {plural(len(taps) - _TAPS, 'more tap')}")
    if named := result.explained():
        text = ", ".join(f"{row['detector']} {row['packets']:,}" for row in named)
        page.labelled("explained", f"packets named, not reported: {text} (tapsight explain ID)")
    page.line(f"{_MORE}; --format json, tapsight report and tapsight evidence have more.")


def _runs(names: list[tuple[str, str]]) -> list[str]:
    """Ids with what is said of each; three and more that follow one another, of which nothing is said, as the first and the last."""
    runs: list[list[str]] = []
    last: tuple[str, int] | None = None
    for id_, said in names:
        found = re.fullmatch(r"([A-Z])([0-9]+)", id_) if not said else None
        here = (found[1], int(found[2])) if found else None
        if here is not None and last == (here[0], here[1] - 1):
            runs[-1].append(id_)
        else:
            runs.append([id_ + said])
        last = here
    return [each for run in runs for each in ([f"{run[0]}-{run[-1]}"] if len(run) > 2 else run)]


_TAPS = 4
"""Taps that one screen has a line of."""


def _share(row: Mapping[str, Any]) -> str:
    return percent(row["judged"], row["in_scope"])


def _aspects(result: Result) -> list[str]:
    """What is told of the calls; aspects with the same counts together."""
    told: dict[str, list[str]] = {}
    for name in ASPECTS:
        counts = {each["values"]: each["counts"] for each in result.calls[name].value_counts().to_pylist()}
        text = ", ".join(f"{counts[word]:,} {word}" for word in ("fail", "pass", "unknown") if word in counts)
        told.setdefault(text, []).append(name)
    return [f"{', '.join(names)} {text}" for text, names in told.items()]


def _passed(result: Result) -> list[str]:
    """What became of packets from one tap to the next, all classes of traffic together."""
    ways: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in compared_rows(result.taps_compared):
        ways.setdefault((row["from_tap"], row["to_tap"]), []).append(row)
    lines = []
    for (begin, end), rows in ways.items():
        total = {
            name: sum(row[name] for row in rows) for name in ("judged", "passed", *_FATES, "capture_loss")
        }
        if not total["judged"]:
            continue
        # A packet that a tap missed did not pass it for all that is known, but its copy may have.
        more = ", also of packets that a tap missed" if total["copied"] > total["passed"] else ""
        what = [f"{total[name]:,} {name}{more if name == 'copied' else ''}" for name in _FATES if total[name]]
        what += [f"{total['capture_loss']:,} missed by a tap"] if total["capture_loss"] else []
        share = percent(total["passed"], total["judged"])
        lines.append(
            "; ".join([f"{begin} to {end}: {share} of {plural(total['judged'], 'packet')} passed", *what])
        )
    return lines[:_TAPS]


_FATES = ("lost", "inserted", "modified", "readdressed", "diverted", "copied")
"""What can become of packets but to pass."""


# --- In detail --------------------------------------------------------------------------------------------------------


def _verdicts(page: _Page, verdicts: list[dict[str, Any]]) -> None:
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


def _not_judged(
    page: _Page, result: Result, verdicts: list[dict[str, Any]], *, details: bool = False, most: int = 0
) -> None:
    lines = _reasons(list(filter(_is_partial, verdicts)), result.lacks)
    shown = lines if details else lines[:most]
    if lines or result.problems:
        page.line("What could not be judged")
        for line in result.problems:
            page.labelled("-", line, hang=4)
        for line in shown:
            cut = line if details else textwrap.shorten(line, page.width - 4, placeholder=" …")
            page.labelled("-", cut, hang=4)
        if len(lines) > len(shown):
            page.line(f"  and by {plural(len(lines) - len(shown), 'more reason')}: {_MORE}")
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
        page.lines.append(_title(page, row))
        page.labelled("", row["sentence"], hang=4)
        if where := collector_text(row["collector"]):
            page.labelled("to", where, indent=4, hang=15)
        for file, frames, shown in frames_by_file(row["evidence"]):
            page.labelled("frames", f"{file}: {frames}", indent=4, hang=15)
            page.labelled("look up", shown, indent=4, hang=15)
    if result.findings.num_rows > len(findings):
        page.line(f"  and {result.findings.num_rows - len(findings):,} more: --format json lists all")
    _left_out(page, result)


def _title(page: _Page, row: Mapping[str, Any]) -> str:
    rest = "  ".join(filter(None, (_who(row), row["id"], ", ".join(row["attack"]))))
    return f"  {page.paint(row['severity'].upper(), row['severity'])}  {safe(rest)}"


def _who(row: Mapping[str, Any]) -> str:
    """Which check and detector a finding is of."""
    return " / ".join(filter(None, (row["check"], row["detector"])))


def _left_out(page: _Page, result: Result) -> None:
    """What findings are not shown because nobody asked for them, and which of those shown are not new."""
    if result.worse:
        page.line(f"  known, but worse: {plural(len(result.worse), 'finding')}")
    if result.known:
        page.line(f"  and {plural(len(result.known), 'finding')} that the baseline has")
    if result.lesser:
        page.line(f"  and {plural(len(result.lesser), 'finding')} of lower severity")
    if result.gone:
        page.line(f"  not found this time: {listing(list(result.gone), 8)}, which the baseline has")


def _excepted(page: _Page, result: Result) -> None:
    """Findings that somebody answers for, and what there is to say of the exceptions."""
    notes = exception_lines(result.exceptions)
    if result.excepted.num_rows == 0 and not notes:
        return
    page.heading(f"Excepted ({result.excepted.num_rows})")
    for row in plain_rows(result.excepted.slice(0, _MOST)):
        name = " / ".join(filter(None, (row["check"], row["detector"])))
        page.lines.append(f"  {safe(row['severity'].upper())}  {safe(name)}  {safe(row['id'])}")
        page.labelled("", row["sentence"], hang=4)
        page.labelled("by", f"{row['owner']}, {row['reason']}, until {row['expires']}", indent=4, hang=15)
    if result.excepted.num_rows > _MOST:
        page.line(f"  and {result.excepted.num_rows - _MOST:,} more: --format json lists all")
    for note in notes:
        page.labelled("-", note, hang=4)


def collector_text(collector: Mapping[str, Any]) -> str:
    """Where copies or a tunnel go: address, MAC, tunnel."""
    tunnel = collector["encap"] or ""
    if collector["tunnel_id"] is not None:
        tunnel += f" id {collector['tunnel_id']}"
    return "  ".join(filter(None, (collector["address"], collector["mac"], tunnel)))


def frames_by_file(evidence: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """For each file its frames by role, and the display filter that shows them in Wireshark."""
    rows = []
    for file, frames in _by_file(evidence).items():
        roles: dict[str, list[int]] = {}
        for frame in frames:
            roles.setdefault(frame["role"], []).append(frame["frame"])
        texts = [f"{role} {', '.join(map(str, sorted(numbers)[:4]))}" for role, numbers in roles.items()]
        more = sum(max(0, len(numbers) - 4) for numbers in roles.values())
        shown = display_filter(frame["frame"] for frame in frames[:_LOOKED_UP])
        rows.append((file, "; ".join(texts) + (f" and {more} more" if more else ""), shown))
    return rows


def _by_file(evidence: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    files: dict[str, list[Mapping[str, Any]]] = {}
    for frame in evidence:
        files.setdefault(frame["file"] or f"tap {frame['tap']}", []).append(frame)
    return files


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
        what = [f"{row[word]:,} {word}" for word in _FATES if row[word]]
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
