"""The page and the picture that show what ``run.py`` recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from peers import GROUPS, PEERS, Peer

HEAD = """# Beside its peers

*How fast is tapsight, beside what one would pick instead of it?* The same captures went through each program in the same run,
one after the other. They do not do the same: what each makes of the packets is [below](#what-each-does), and rows
that do about the same stand together.

![Packets a second of each program, on a logarithmic scale](images/peers.svg)

Measured on {date}: {processor}, {cores} cores, {memory_gib} GiB, {system}, kernel {kernel}, Python {python}; load when it
began: {load}. The more others do on a machine, the wider are the ranges, and the more do seconds of CPU tell. To measure again:

```console
$ benches/peers/install.sh     # Debian 12, root or sudo, cargo: packages, a .venv and two loops in Rust
$ .venv/bin/python benches/peers/run.py --json benches/record/peers.json
$ make docs
```

`run.py --quick` shows in a minute or two whether all of it works; `--only dpkt tapsight` runs some rows, `--mix rtp` other
traffic.
"""

TIMES = """
## How many times as fast

tapsight with one core beside each of the others, by packets a second; less than 1 is slower. Bold where both do about the same.

A check follows every path and compares each packet with its earlier sightings, and finds calls and media, which none of the others does: it takes
longer than programs that make flows where there are calls. etherparse names no application, makes no ids and keeps nothing, and libpcap's loop looks at no packet: what
they leave out is most of the work ([performance.md](performance.md#what-limits-it)).
"""

ONE_CORE = ", one core"
"""How the names of our rows end that are compared."""

HOW = """
## How to read it

- **Packets a second** are those of the packets that a program was given. Slow ones are given fewer packets of the same kind.
  Medians of {rounds} rounds, with the slowest and the fastest. A round gives each row its turn, so that what else the
  machine does meets all alike.
- **Whole processes**, with output thrown away, over a file in the page cache. *Start* is how long each takes for {few}
  packets, in the same round; it is taken off the time. `-`, `?`: nothing was left.
- **A second of CPU** is user and system time of all threads and processes. It shows what several cores cost, and is disturbed
  least by what else runs.
- **Peak** is the memory of the largest process, start included. Less than {own_peak} MiB, which is what the measuring process has,
  cannot be told. tapsight maps the file, of which what is under way counts: some 10 MiB with one thread.
- **Read**: how many of the packets the program says it read. Most skip what they do not know, such as MPLS.
- **The traffic** is made by tapsight, the same bytes each time: conversations, thousands at a time.
"""

COLUMNS = "| | Mpackets/s | min-max | per s of CPU | start s | peak MiB | packets | read |\n|---|---:|---:|---:|---:|---:|---:|---:|\n"


def markdown(record: dict[str, Any]) -> str:
    """The page: tables of rates, and what each row computes."""
    parts = [HEAD.format(date=record["date"], **record["machine"])]
    for mix in _mixes(record):
        rows = {row["name"]: row for row in record["rows"] if row["mix"] == mix}
        most = max(rows.values(), key=lambda row: row["packets"])
        parts.append(
            f"\n## {mix}\n\n{most['packets']:,} packets, {most['bytes'] / 1e6:,.0f} MB.\n\n{COLUMNS}"
        )
        for group, peers in _grouped(rows):
            parts.append(f"| ***{group}*** | | | | | | | |\n")
            parts += [_line(rows[peer.name], record["own_peak"]) for peer in peers]
    parts.append(TIMES)
    for mix in _mixes(record):
        parts += [f"\n{mix}:\n\n", *_times([row for row in record["rows"] if row["mix"] == mix])]
    parts.append(
        HOW.format(rounds=record["rounds"], few=record["few"], own_peak=math.ceil(record["own_peak"] / 2**20))
    )
    parts.append(
        "\n## What each does\n\n| | version | what it computes | what it does not |\n|---|---|---|---|\n"
    )
    versions = {row["name"]: row["version"] for row in record["rows"]}
    for peer in PEERS:
        if peer.name in versions:
            parts.append(
                f"| {_name(peer.name)} | {versions[peer.name] or '-'} | {peer.computes} | {peer.lacks} |\n"
            )
    return "".join(parts)


def _times(rows: list[dict[str, Any]]) -> Iterator[str]:
    """How many times as fast each of our rows with one core is as each of the others."""
    rates = {row["name"]: row.get("rate") for row in rows}
    groups = {peer.name: peer.group for peer in PEERS}
    ours = [name for name in rates if name.endswith(ONE_CORE)]
    titles = [name.removesuffix(ONE_CORE).removeprefix("tapsight, ") for name in ours]
    yield f"| | {' | '.join(titles)} |\n|---|{'---:|' * len(ours)}\n"
    for name, rate in rates.items():
        if rate and not name.startswith("tapsight"):
            cells = []
            for our in ours:
                times = rates[our] / rate if rates[our] else 0
                cell = f"{times:,.0f}" if times >= 10 else f"{times:.2g}" if times else "-"
                cells.append(f"**{cell}**" if groups[our] == groups[name] else cell)
            yield f"| {name} | {' | '.join(cells)} |\n"


def _mixes(record: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["mix"] for row in record["rows"]))


def _grouped(rows: dict[str, Any]) -> Iterator[tuple[str, list[Peer]]]:
    """The peers of each group that has any."""
    for group in GROUPS:
        if peers := [peer for peer in PEERS if peer.group == group and peer.name in rows]:
            yield group, peers


def _name(name: str) -> str:
    return f"**{name}**" if name.startswith("tapsight") else name


def _line(row: dict[str, Any], own_peak: int) -> str:
    name = _name(row["name"])
    if "skipped" in row:
        return f"| {name} | skipped: {row['skipped'].replace('|', '/')} | | | | | | |\n"
    slow, fast = (row["packets"] / row[key] if row[key] else None for key in ("slowest", "fastest"))
    peak = f"< {math.ceil(own_peak / 2**20)}" if row["peak"] is None else f"{row['peak'] / 2**20:.0f}"
    read = "-" if row["read"] is None else f"{100 * row['read'] / row['packets']:.0f} %"
    return (
        f"| {name} | {_rate(row['rate'])} | {_rate(slow, '?')}-{_rate(fast, '?')} | {_rate(row['cpu_rate'])} "
        f"| {row['start']:.2f} | {peak} | {row['packets']:,} | {read} |\n"
    )


def _rate(rate: float | None, unknown: str = "-") -> str:
    """Millions, three digits that count."""
    if rate is None:
        return unknown
    millions = rate / 1e6
    digits = max(0, 2 - math.floor(math.log10(millions)))
    return f"{millions:.{digits}f}"


STYLE = """
.paper { fill: #ffffff } .grid { stroke: #d8dee4 } .range { stroke: #1f2328 }
text { fill: #1f2328; font: 12px system-ui, "Liberation Sans", Arial, sans-serif }
.quiet { fill: #59636e; font-size: 11px } .end { text-anchor: end } .middle { text-anchor: middle } .strong { font-weight: 600 }
.ours { fill: #0f766e } .theirs { fill: #6e7781 }
@media (prefers-color-scheme: dark) {
  .paper { fill: #0d1117 } .grid { stroke: #30363d } .range { stroke: #e6edf3 }
  text { fill: #e6edf3 } .quiet { fill: #9198a1 }
  .ours { fill: #2dd4bf } .theirs { fill: #9198a1 }
}
"""

WIDTH, LEFT, RIGHT, TOP = 860, 236, 72, 90
BAR, GAP, HEADING = 14, 10, 30
SHADES = (1.0, 0.55, 0.35, 0.2)
"""How much of the colour the bars of each mix have."""


def chart(record: dict[str, Any]) -> str:
    """The picture: bars of packets a second on a logarithmic scale, a line from the slowest round to the fastest."""
    mixes = _mixes(record)
    rows = {(row["name"], row["mix"]): row for row in record["rows"]}
    ends = [
        row["packets"] / row[key]
        for row in rows.values()
        for key in ("fastest", "slowest", "seconds")
        if row.get(key)
    ]
    low, high = math.floor(math.log10(min(ends))), math.ceil(math.log10(max(ends)))
    scale = (WIDTH - LEFT - RIGHT) / (high - low)

    def place(rate: float) -> float:
        return LEFT + (math.log10(rate) - low) * scale

    bars: list[str] = []
    y = TOP
    for group, peers in _grouped({name: None for name, _ in rows}):
        bars.append(_text(12, y + 18, group, "strong"))
        y += HEADING
        for peer in peers:
            kind = "ours" if peer.name.startswith("tapsight") else "theirs"
            middle = y + BAR * len(mixes) / 2 + 4
            bars.append(
                _text(LEFT - 8, middle, peer.name, "end strong" if kind == "ours" else "end"),
            )
            for n, mix in enumerate(mixes):
                row = rows.get((peer.name, mix))
                if row is not None:
                    bars += _bar(row, y + n * BAR, kind, SHADES[n % len(SHADES)], place)
            y += BAR * len(mixes) + GAP
    grid = []
    for power in range(low, high + 1):
        x = place(10**power)
        grid.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{y}"/>')
        grid.append(_text(x, TOP - 14, _power(power), "quiet middle"))
    legend = [_text(12, 24, "Packets a second", "strong")]
    x = LEFT
    for n, mix in enumerate(mixes):
        for step, kind in enumerate(("ours", "theirs")):
            legend.append(
                f'<rect class="{kind}" fill-opacity="{SHADES[n % len(SHADES)]}" x="{x + 14 * step}" y="14" width="12" height="12"/>'
            )
        legend.append(_text(x + 34, 24, mix, ""))
        x += 110
    legend.append(_text(LEFT, 46, "green: tapsight; line: from the slowest round to the fastest", "quiet"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 12}" width="{WIDTH}" height="{y + 12}" role="img">\n'
        f"<title>Packets a second of each program, on a logarithmic scale</title>\n<style>{STYLE}</style>\n"
        f'<rect class="paper" width="100%" height="100%"/>\n'
        + "\n".join([*legend, *grid, *bars])
        + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(text)}</text>'


def _bar(
    row: dict[str, Any], y: float, kind: str, shade: float, place: Callable[[float], float]
) -> list[str]:
    """A row of a mix: its bar, its range, its rate behind both."""
    if "skipped" in row:
        return [_text(LEFT + 6, y + BAR - 3, "skipped", "quiet")]
    if row["rate"] is None:
        return [_text(LEFT + 6, y + BAR - 3, "not told from its start", "quiet")]
    end = place(row["rate"])
    ends = [place(row["packets"] / row[key]) for key in ("slowest", "fastest") if row[key]]
    made = [
        f'<rect class="{kind}" fill-opacity="{shade}" x="{LEFT}" y="{y + 1}" width="{end - LEFT:.1f}" height="{BAR - 2}"/>'
    ]
    if len(ends) == 2:
        made.append(
            f'<line class="range" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y + BAR // 2}" y2="{y + BAR // 2}"/>'
        )
    return [*made, _text(max([end, *ends]) + 5, y + BAR - 3, _short(row["rate"]), "quiet")]


def _power(power: int) -> str:
    """A power of ten, short."""
    return f"{10 ** (power % 3)}{['', ' k', ' M', ' G'][power // 3]}"


def _short(rate: float) -> str:
    """A rate with three digits that count."""
    unit = min(3, int(math.log10(rate)) // 3)
    value = rate / 1000**unit
    return f"{value:.{max(0, 2 - int(math.log10(value)))}f}{['', ' k', ' M', ' G'][unit]}"
