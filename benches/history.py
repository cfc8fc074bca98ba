"""Draws what is recorded in ``benches/record``, a point a run: packets a second by mix, and instructions per packet.

Times compare on one machine only: where the next run was made on another, the line breaks, and so it does for counts of
other compilers or processors.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).parent / "record"

ROW = "all columns"
"""Of ``tapsight bench`` and of the paths of the engine."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5a5a5a")
"""Told apart with any eyes (Okabe and Ito)."""

WIDTH, HEIGHT = 400, 250
"""Of the inside of a chart."""

LEFT, TOP, RIGHT, BOTTOM = 80, 50, 190, 80
"""Around it: figures, title, names, runs."""


@dataclass(frozen=True)
class Point:
    """A figure of a run. ``place`` is what has to be equal for two to compare."""

    run: int
    value: float
    place: str


@dataclass(frozen=True)
class Chart:
    """Lines over runs, which have labels."""

    title: str
    runs: Sequence[str]
    lines: dict[str, list[Point]]


def main() -> int:
    """Reads the record and writes the picture."""
    parser = argparse.ArgumentParser(description="Draw the history of benches/record.")
    parser.add_argument(
        "file", nargs="?", type=Path, default=ROOT / "target" / "history.svg", help="the SVG to write"
    )
    path = parser.parse_args().file
    made = [
        chart
        for chart in (*times(RECORD / "runs"), *instructions(RECORD / "instructions.json"))
        if chart.lines
    ]
    if not made:
        print("history: nothing is recorded; make record does", file=sys.stderr)
        return 2
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(picture(made))
    print(path)
    return 0


def times(folder: Path) -> list[Chart]:
    """Millions of packets a second, on one core and on all, of what ``tapsight bench --json`` wrote."""
    files = [(path.stem, json.loads(path.read_text())) for path in folder.glob("*.json")]
    files.sort(key=lambda file: file[1]["time"])
    runs = [name for name, _ in files]
    one: dict[str, list[Point]] = {}
    every: dict[str, list[Point]] = {}
    for run, (_, content) in enumerate(files):
        machine = content["machine"]
        place = f"{machine.get('processor')} {machine['processors']}"
        wanted = [
            row
            for row in content["rows"]
            if (row["row"], row["place"], row["skipped"]) == (ROW, "memory", None)
        ]
        most = max((row["threads"] for row in wanted), default=1)
        for row in wanted:
            point = Point(run, row["packets"] / row["seconds"] / 1e6, place)
            for lines, threads in ((one, 1), (every, most)):
                if row["threads"] == threads:
                    lines.setdefault(row["source"], []).append(point)
    title = f"million packets/s, {ROW}, from memory"
    return [Chart(f"{title}, one core", runs, one), Chart(f"{title}, all cores", runs, every)]


def instructions(path: Path) -> list[Chart]:
    """Instructions per packet, a chart a mix with a line a path."""
    entries = json.loads(path.read_text()) if path.exists() else []
    charts: dict[str, dict[str, list[Point]]] = {}
    for run, entry in enumerate(entries):
        place = str({name: value for name, value in entry["environment"].items() if name != "processor"})
        for mix, paths in entry["instructions"].items():
            for name, value in paths.items():
                lines = charts.setdefault(mix, {})
                lines.setdefault(name.partition(":")[0], []).append(Point(run, value, place))
    runs = [f"{entry['date']}-{entry['commit']}" for entry in entries]
    return [Chart(f"instructions per packet, {mix}", runs, lines) for mix, lines in charts.items()]


def picture(charts: Sequence[Chart]) -> str:
    """The charts, two beside each other."""
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    rows = math.ceil(len(charts) / 2)
    size = f'viewBox="0 0 {2 * width} {rows * height}" width="{2 * width}" height="{rows * height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11" fill="#333">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for at, chart in enumerate(charts):
        parts.append(f'<g transform="translate({at % 2 * width + LEFT} {at // 2 * height + TOP})">')
        parts += draw(chart)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw(chart: Chart) -> Iterable[str]:
    """A chart whose inside begins at 0, 0. The scale begins at 0 as well: shares can be seen."""
    step = nice(max(point.value for line in chart.lines.values() for point in line) / 5)
    top = step * math.ceil(max(point.value for line in chart.lines.values() for point in line) / step)
    last = max(len(chart.runs) - 1, 1)

    def x(run: int) -> float:
        return round(10 + run * (WIDTH - 20) / last, 1)

    def y(value: float) -> float:
        return round(HEIGHT * (1 - value / top), 1)

    yield f'<text y="-18" font-size="13" font-weight="bold">{escape(chart.title)}</text>'
    for tick in range(round(top / step) + 1):
        at = y(tick * step)
        yield f'<path d="M0 {at}H{WIDTH}" stroke="#ddd"/>'
        yield f'<text x="-6" y="{at + 4}" text-anchor="end">{tick * step:,.10g}</text>'
    # As many labels as there is room for, the last one among them.
    every = math.ceil(len(chart.runs) / 16)
    for run, label in enumerate(chart.runs):
        if (len(chart.runs) - 1 - run) % every == 0:
            yield (
                f'<text transform="translate({x(run) + 4} {HEIGHT + 10}) rotate(-40)" text-anchor="end" font-size="9">'
                f"{escape(label)}</text>"
            )
    ends: list[tuple[float, str, str]] = []
    for colour, (name, line) in zip(COLOURS * len(chart.lines), chart.lines.items(), strict=False):
        pieces = []
        for before, point in zip([None, *line], line, strict=False):
            joined = before is not None and before.place == point.place
            pieces.append(f"{'L' if joined else 'M'}{x(point.run)} {y(point.value)}")
        yield f'<path d="{"".join(pieces)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for point in line:
            words = escape(f"{name}, {chart.runs[point.run]}: {point.value:,.4g}")
            yield f'<circle cx="{x(point.run)}" cy="{y(point.value)}" r="3" fill="{colour}"><title>{words}</title></circle>'
        ends.append((y(line[-1].value), f"{name} {line[-1].value:,.4g}", colour))
    # Names stand beside the ends of their lines, each at least a line below the one before; from the bottom up.
    limit = float(HEIGHT)
    for at, text, colour in sorted(ends, reverse=True):
        limit = min(at, limit - 12)
        yield f'<text x="{WIDTH + 6}" y="{limit + 4:.1f}" fill="{colour}">{escape(text)}</text>'


def nice(step: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step)) if step > 0 else 1
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step))


if __name__ == "__main__":
    sys.exit(main())
