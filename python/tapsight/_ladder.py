"""Calls as text: a table of them, and the ladder of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapsight._text import address_text, duration, plural, safe, time_text

BEFORE = "before"
"""What stands for the time of a call that began before the capture."""

_TIME = 11
_LEAST = 22
_MOST = 16
"""Ends that have a bar of their own: a crafted call may have thousands, and each line is as wide as all of them."""
_COLOURS = {"good": "\x1b[32m", "bad": "\x1b[31m", "ask": "\x1b[1m"}


def calls_text(rows: list[dict[str, Any]], width: int | None, *, located: bool = False) -> str:
    """The calls as a table, one line each: what matters most comes first. Lines longer than ``width`` are cut, and end in ``…``."""
    if not rows:
        return (
            "no calls: nothing that calls somebody was seen, of SIP, ISUP, BICC, H.323 (H.225.0) or Skinny\n"
        )
    places = _PLACES if located else ()
    head = (
        *("call", "began", "caller", "callee", "state", "talk", "from → to"),
        *places,
        *("encryption", "codec", "tap"),
    )
    lines = [head, *(_line(row, located=located) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    made = (
        "  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "".join(_cut(line, width) + "\n" for line in made)


_PLACES = ("numbers", "signalling", "media", "disagrees")
"""Countries: of both numbers, of signalling, of media as announced and as sent; and where ways lead to one that neither number is of."""


def _cut(line: str, width: int | None) -> str:
    return line if width is None or len(line) <= width else line[: max(width - 1, 0)] + "…"


def _line(row: dict[str, Any], *, located: bool) -> tuple[str, ...]:
    state = row["state"]
    if state in {"failed", "redirected"}:
        # A status of SIP, or a cause of Q.850; some have neither.
        status = row["final_status"] if row["final_status"] is not None else row["cause"]
        if status is not None:
            state += f" {status}" if row["final_status"] is not None else f", cause {status}"
    cells = [
        str(row["call"]),
        BEFORE if row["began"] is None else time_text(row["began"]).removesuffix(" UTC"),
        row["caller"] or "?",
        row["callee"] or "?",
        state,
        "" if row["talk_ms"] is None else duration(row["talk_ms"] * 1_000_000),
        f"{_address(row['src'])} → {_address(row['dst'])}",
    ]
    if located:
        media = [row[f"{side}_{what}_countries"] or () for side in _SIDES for what in ("media", "sender")]
        cells += [
            f"{row['caller_country'] or '?'} → {row['callee_country'] or '?'}",
            ",".join(row["signalling_countries"] or ()),
            ",".join(dict.fromkeys(country for each in media for country in each)),
            ", ".join(row["disagrees"] or ()),
        ]
    cells += [row["encryption"] or "", ",".join(row["codecs_agreed"] or ()), row["tap"]]
    return tuple(safe(cell) for cell in cells)


_SIDES = ("caller", "callee")


def _address(address: bytes | None) -> str:
    return address_text(address) if address is not None else "?"


def ladder(title: str, messages: Iterable[dict[str, Any]], width: int, *, colour: bool) -> str:
    """The messages of one call between the addresses that sent them, from top to bottom."""
    rows = sorted(messages, key=lambda row: row["ts"])
    seen = dict.fromkeys(address_text(row[name]) for row in rows for name in ("src", "dst"))
    ends = list(seen)[:_MOST]
    gap = max(_LEAST, (width - _TIME - 16) // max(len(ends) - 1, 1))
    places = [_TIME + 7 + at * gap for at in range(len(ends))]
    lines = [safe(title), _header(ends, places)]
    first = rows[0]["ts"] if rows else 0
    for row in rows:
        between = [address_text(row[name]) for name in ("src", "dst")]
        name = row["method"] or f"{row['status']} {row['cseq_method'] or ''}".strip()
        notes = [
            text
            for text, told in (("again", row["is_retransmission"]), ("cut", not row["is_complete"]))
            if told
        ]
        label = safe(" ".join([name, *(f"({note})" for note in notes)]))
        time = f"{(row['ts'] - first) / 1e9:.3f} s"
        if not all(end in ends for end in between):
            media = [f"{row['sdp'] or 'sdp'} {safe(medium)}" for medium in row["media"] or ()]
            text = "; ".join([f"{between[0]} → {between[1]}: {label}", *media])
            lines.append(f"{time.rjust(_TIME - 2)}  {text}")
            continue
        src, dst = (places[ends.index(end)] for end in between)
        lines.append(_arrow(time, label, src, dst, places, _colour(row) if colour else ""))
        for medium in row["media"] or ():
            lines.append(_note(f"{row['sdp'] or 'sdp'} {safe(medium)}", src, dst, places))
    if len(seen) > len(ends):
        lines.append(f"{plural(len(seen) - len(ends), 'more address', 'more addresses')} without a bar")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _header(ends: list[str], places: list[int]) -> str:
    line = ""
    for end, place in zip(ends, places, strict=True):
        start = max(place - len(end) // 2, len(line) + 1 if line else 0)
        line = line.ljust(start) + end
    return line


def _bars(places: list[int]) -> list[str]:
    line = [" "] * (places[-1] + 1 if places else 0)
    for place in places:
        line[place] = "|"
    return line


def _arrow(time: str, label: str, src: int, dst: int, places: list[int], colour: str) -> str:
    line = _bars(places)
    line[: _TIME - 2] = time.rjust(_TIME - 2)[: _TIME - 2]
    left, right = min(src, dst), max(src, dst)
    if left == right:
        return "".join(line[: left + 1]) + f" {label} (to itself)"
    inner = ["-"] * (right - left - 1)
    text = f" {label} "[: max(len(inner) - 2, 0)]
    start = (len(inner) - len(text)) // 2
    inner[start : start + len(text)] = text
    if dst > src:
        inner[-1] = ">"
    else:
        inner[0] = "<"
    body = "".join(inner)
    end = "\x1b[0m" if colour else ""
    return "".join(line[: left + 1]) + colour + body + end + "".join(line[right:])


def _note(text: str, src: int, dst: int, places: list[int]) -> str:
    """A line of text between two bars, and over those behind if it is longer."""
    line = _bars(places)
    start = min(src, dst) + 2
    line[start : start + len(text)] = text
    return "".join(line)


def _colour(row: dict[str, Any]) -> str:
    status = row["status"]
    if status is None:
        return _COLOURS["ask"]
    return _COLOURS["bad"] if status >= 300 else _COLOURS["good"] if status >= 200 else ""
