"""Pictures of a report as SVG: charts of :mod:`tapsight.plot`, and who sent what to whom."""

from __future__ import annotations

import html
import re
import textwrap
from typing import TYPE_CHECKING

from tapsight._text import safe

if TYPE_CHECKING:
    import altair as alt


_LEAST = 480
"""Pixels that a picture takes at least, if it is as wide."""


def chart_svg(chart: alt.Chart | alt.LayerChart, label: str) -> str:
    """A chart as SVG, with a text for who does not see it."""
    import vl_convert

    # Without a ground of its own, so that the page's shadows tell that there is more to the side.
    svg = vl_convert.vegalite_to_svg({**chart.to_dict(), "background": "transparent"})
    # On a telephone it is scrolled rather than made so small that nobody can read it.
    found = re.search(r'<svg [^>]*?width="([\d.]+)"', svg)
    least = min(float(found[1]), _LEAST) if found else 0
    head = f'<svg role="img" aria-label="{_text(label)}" style="min-width: {least:.0f}px" '
    return svg.replace("<svg ", head, 1)


_BOX, _TALL, _GAP = 168, 64, 68


_BETWEEN = 42
"""Characters that fit between two boxes that are the width of a third apart."""


_INK, _ALARM = "#1b1f24", "#a63c00"


def copy_svg(*, senders: str, device: str, receivers: str, collector: str, copied: str, way: str) -> str:
    """Who sent what to whom, and who got a copy: from left to right what was meant, and below where it went as well.

    Args:
        senders: Whose traffic.
        device: What sent the copy.
        receivers: For whom it was meant.
        collector: Where the copy went.
        copied: What was copied.
        way: By what way: the tunnel, and how late.
    """
    middle, below = _BOX + _GAP, 140
    start, centre = middle + _BOX / 2, below + _TALL / 2
    branch = (
        f'<path d="M{start} {20 + _TALL} V{centre} H{2 * middle - 8}" fill="none" '
        f'stroke="{_ALARM}" stroke-width="2" stroke-dasharray="7 4"/>'
    )
    label = f"{senders} to {receivers} by {device}; a copy to {collector}: {copied}, {way}"
    return _picture(
        label,
        212,
        _box(0, 20, "from", senders, _INK),
        _box(middle, 20, "by", device, _INK),
        _box(2 * middle, 20, "to", receivers, _INK),
        _arrow(_BOX, middle, 20 + _TALL / 2, _INK),
        _arrow(middle + _BOX, 2 * middle, 20 + _TALL / 2, _INK),
        _box(2 * middle, below, "and a copy to", collector, _ALARM),
        branch,
        _head(2 * middle, centre, _ALARM),
        *_lines(
            start - 10,
            centre - 12,
            [*_wrapped(copied, _BETWEEN, 2), *_wrapped(way, _BETWEEN, 2)],
            _ALARM,
            anchor="end",
        ),
    )


def way_svg(*, sender: str, receiver: str, what: str, way: str) -> str:
    """What went from whom to whom where it should not.

    Args:
        sender: The device, or the end of a tunnel, that it came from.
        receiver: Where it went.
        what: What traffic.
        way: By what way: the tunnel.
    """
    far = 2 * (_BOX + _GAP)
    above = _wrapped(what, _BETWEEN, 2)
    return _picture(
        f"{what} from {sender} to {receiver}, {way}",
        96,
        _box(0, 20, "from", sender, _INK),
        _box(far, 20, "to", receiver, _ALARM),
        _arrow(_BOX, far, 20 + _TALL / 2, _ALARM),
        *_lines((_BOX + far) / 2, 44 - 16 * (len(above) - 1), above, _ALARM, anchor="middle"),
        *_lines((_BOX + far) / 2, 70, _wrapped(way, _BETWEEN, 2), _ALARM, anchor="middle"),
    )


def _picture(label: str, height: int, *parts: str) -> str:
    width = 3 * _BOX + 2 * _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{_text(label)}" viewBox="-2 0 {width + 4} {height}" width="{width}" style="min-width: {_LEAST}px" '
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
    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1][: width - 1] + "…"]


def _arrow(x: float, to: float, y: float, colour: str) -> str:
    line = f'<line x1="{x}" y1="{y}" x2="{to - 8}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
    return line + _head(to, y, colour)


def _head(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x - 10} {y - 5} L{x} {y} L{x - 10} {y + 5} Z" fill="{colour}"/>'


def _text(text: str) -> str:
    return html.escape(safe(text))
