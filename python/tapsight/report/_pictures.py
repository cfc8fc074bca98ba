"""Pictures of a report as SVG: charts of :mod:`tapsight.plot`, and who sent what to whom."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from tapsight._text import safe

if TYPE_CHECKING:
    import altair as alt


def chart_svg(chart: alt.Chart, label: str) -> str:
    """A chart as SVG, with a text for who does not see it."""
    import vl_convert

    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    text = html.escape(safe(label))
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{text}" ', svg, count=1)


_BOX, _TALL, _GAP = 168, 64, 68


def path_svg(*, senders: str, device: str, receivers: str, collector: str, copied: str, way: str) -> str:
    """Who sent what to whom: from left to right what was meant, and below where it went as well.

    Args:
        senders: Whose traffic.
        device: What sent it elsewhere.
        receivers: For whom it was meant.
        collector: Where it went.
        copied: What went there.
        way: By what way: the tunnel, and how late.
    """
    width = 3 * _BOX + 2 * _GAP
    middle = _BOX + _GAP
    label = f"{senders} to {receivers} by {device}; to {collector} as well: {copied}, {way}"
    branch = (
        f'<path d="M{middle + _BOX / 2} {20 + _TALL} V{140 + _TALL / 2} H{2 * middle - 8}" fill="none" '
        'stroke="#a63c00" stroke-width="2" stroke-dasharray="7 4"/>'
    )
    parts = [
        _box(0, 20, "from", senders, "#1b1f24"),
        _box(middle, 20, "by", device, "#1b1f24"),
        _box(2 * middle, 20, "to", receivers, "#1b1f24"),
        _arrow(_BOX, 20 + _TALL / 2, middle, 20 + _TALL / 2, "#1b1f24"),
        _arrow(middle + _BOX, 20 + _TALL / 2, 2 * middle, 20 + _TALL / 2, "#1b1f24"),
        _box(2 * middle, 140, "and also to", collector, "#a63c00"),
        branch,
        _head(2 * middle, 140 + _TALL / 2, "#a63c00"),
        *_lines(middle + _BOX / 2 - 10, 140 + _TALL / 2 - 12, [copied, way], "#a63c00", anchor="end"),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{_text(label)}" viewBox="-2 0 {width + 4} 212" width="{width}" '
        f'font-family="system-ui, DejaVu Sans, sans-serif" font-size="12">{"".join(parts)}</svg>'
    )


def _box(x: float, y: float, label: str, text: str, colour: str) -> str:
    rect = (
        f'<rect x="{x}" y="{y}" width="{_BOX}" height="{_TALL}" rx="4" fill="#fff" stroke="{colour}" stroke-width="1.5"/>'
        f'<text x="{x + 8}" y="{y - 5}" fill="#57606a" font-size="11">{_text(label)}</text>'
    )
    words = _wrapped(text, 25, 3)
    return rect + "".join(_lines(x + 8, y + 20, words, colour))


def _lines(x: float, y: float, lines: list[str], colour: str, anchor: str = "start") -> list[str]:
    return [
        f'<text x="{x}" y="{y + 16 * at}" fill="{colour}" text-anchor="{anchor}">{_text(line)}</text>'
        for at, line in enumerate(lines)
    ]


def _wrapped(text: str, width: int, most: int) -> list[str]:
    """Lines of a text; one that is too long for all of them ends in an ellipsis."""
    import textwrap

    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1][: width - 1] + "…"]


def _arrow(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    line = f'<line x1="{x}" y1="{y}" x2="{to_x - 8}" y2="{to_y}" stroke="{colour}" stroke-width="2"/>'
    return line + _head(to_x, to_y, colour)


def _head(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x - 10} {y - 5} L{x} {y} L{x - 10} {y + 5} Z" fill="{colour}"/>'


def _text(text: str) -> str:
    return html.escape(safe(text))
