"""Says which parts of the engine the instructions of a packet go to: each counts for the innermost of our files that it was inlined into.

callgrind counts by address, addr2line tells what was inlined there, and helpers (hashes, tables, prefetching) count for who called
them. As in instructions.py, half of what three passes take more than one is what a pass takes.
"""

from __future__ import annotations

import argparse
import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from instructions import ATTACKS, MIXES, PACKETS, ROOT, CannotRun, build, callgrind, exit_code, output

PARTS = {
    "capture": "records",
    "wire": "headers",
    "dissect": "headers",
    "classify": "what a packet is",
    "packets/ids.rs": "ids",
    "packets/xxh3.rs": "ids",
    "packets": "rows and columns",
}
"""What files are for, by how their paths begin below ``src``; others go by their folder."""

MEMORY = ("libc", "mimalloc", "alloc")
"""Where memory is copied, cleared, asked for and given back."""

Inlined = list[tuple[str, str]]
"""Functions and files at an address, the innermost first."""


class Place(NamedTuple):
    """What instructions count for."""

    part: str
    where: str


def main() -> int:
    """Prints the parts, and with ``--functions`` what is in them."""
    parser = argparse.ArgumentParser(description="Say what the instructions of a packet are for.")
    parser.add_argument("path", nargs="?", default="all columns", help="which path of the engine")
    parser.add_argument(
        "--mix",
        choices=(*MIXES, *ATTACKS),
        action="append",
        help=f"which traffic; again for more ({', '.join(MIXES)})",
    )
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="and the N dearest functions")
    arguments = parser.parse_args()

    for tool, package in (("valgrind", "valgrind"), ("addr2line", "binutils")):
        if shutil.which(tool) is None:
            raise CannotRun(f"{tool} is needed; on Debian: apt-get install {package}")
    program = build()
    if arguments.path not in (paths := output(str(program)).splitlines()):
        raise CannotRun(f"there is no path {arguments.path!r}; there are: {', '.join(paths)}")
    mixes = arguments.mix or MIXES
    profiles = {mix: profile(program, mix, arguments.path) for mix in mixes}
    print(table({mix: by_part(places) for mix, places in profiles.items()}))
    for mix, places in profiles.items() if arguments.functions else ():
        print(f"\n{mix}")
        for place, count in places.most_common(arguments.functions):
            print(f"{count:8.1f}  {place.part}: {place.where}")
    return 0


def profile(program: Path, mix: str, path: str) -> Counter[Place]:
    """Instructions for a packet, by place."""
    one, three = (costs(program, mix, path, passes) for passes in (1, 3))
    each = {at: (three[at] - one[at]) / 2 / PACKETS for at in three}
    inlined = dict(inlined_at(program, (address for file, address in each if file == program.name)))
    places: Counter[Place] = Counter()
    for (file, address), count in each.items():
        places[place(file, inlined.get(address, []))] += count
    return places


def costs(program: Path, mix: str, path: str, passes: int) -> Counter[tuple[str, int]]:
    """Instructions by file and address."""
    with tempfile.NamedTemporaryFile("r") as out:
        command = ["valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no"]
        command += ["--compress-strings=no", f"--callgrind-out-file={out.name}"]
        callgrind(program, command, mix, path, passes)
        counts: Counter[tuple[str, int]] = Counter()
        file, is_of_callee = "", False
        for line in out:
            if line.startswith("ob="):
                file = line[3:].strip().rpartition("/")[2]
            elif line.startswith("calls="):
                is_of_callee = True
            elif line.startswith("0x"):
                address, _, count = line.split()
                if not is_of_callee:
                    counts[file, int(address, 16)] += int(count)
                is_of_callee = False
    return counts


def inlined_at(program: Path, addresses: Iterable[int]) -> Iterator[tuple[int, Inlined]]:
    """What addr2line says of addresses: a line with each, and two for each function there."""
    done = subprocess.run(
        ["addr2line", "--exe", str(program), "--inlines", "--addresses", "--functions", "--demangle"],
        input="\n".join(map(hex, addresses)),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = iter(done.stdout.splitlines())
    address, found = 0, []
    for line in lines:
        if line.startswith("0x"):
            yield address, found
            address, found = int(line, 16), []
        else:
            found.append((line, next(lines, "")))
    yield address, found


def place(file: str, inlined: Inlined) -> Place:
    """What an instruction in this file counts for."""
    ours = [(function, path) for function, line in inlined if (path := below_source(line))]
    # A helper of all parts lies in no folder.
    for function, path in [each for each in ours if "/" in each[1]] or ours:
        return Place(part(path), f"{path} {function}")
    function, line = inlined[-1] if inlined else ("", "")
    is_memory = any(name in f"{file} {line}" for name in MEMORY)
    what = "memory" if is_memory else "Arrow" if "/arrow-" in line else "other"
    return Place(what, function or file)


@functools.cache
def part(path: str) -> str:
    """What one of our files is for."""
    named = [name for name in PARTS if path == name or path.startswith(f"{name}/")]
    return PARTS[max(named, key=len)] if named else path.partition("/")[0]


def below_source(line: str) -> str | None:
    """The path of one of our files below ``src``, of a line that begins with a path."""
    found = re.match(re.escape(str(ROOT / "src")) + r"/(\S+\.rs)", line)
    return found[1] if found else None


def by_part(places: Counter[Place]) -> Counter[str]:
    """Instructions by what they are for."""
    parts: Counter[str] = Counter()
    for each, count in places.items():
        parts[each.part] += count
    return parts


def table(profiles: Mapping[str, Counter[str]]) -> str:
    """A row a part, the dearest first; those below one instruction together."""
    total: Counter[str] = Counter()
    for parts in profiles.values():
        total += parts
    shown = [name for name, count in total.most_common() if count >= len(profiles)]
    rows = {name: [parts[name] for parts in profiles.values()] for name in shown}
    rows["less than one each"] = [parts.total() - sum(parts[n] for n in shown) for parts in profiles.values()]
    rows["sum"] = [parts.total() for parts in profiles.values()]
    head = f"{'instructions per packet':<28}" + "".join(f"{mix:>10}" for mix in profiles)
    lines = [f"{name:<28}" + "".join(f"{count:10.0f}" for count in counts) for name, counts in rows.items()]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    sys.exit(exit_code("profile", main))
