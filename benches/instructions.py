"""Counts the instructions that each path of the engine takes for a packet, and compares them with what is recorded.

Times depend on what else the machine does; instructions do not, so a rise of some percent shows. callgrind runs each path
once and three times over the same small capture: half of the difference is what a pass costs, without start and the making
of the capture.

Figures compare only between builds by the same compiler for the same kind of processor: memchr, zlib-rs and the C library
choose their code by what it can. callgrind shows programs a processor of its own with no more than AVX2, so that is all
that counts of the real one; its model is recorded for people.

Exit codes: 0 nothing rose, or nothing to compare with; 1 something rose; 2 could not run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).parent / "record" / "instructions.json"

MIXES = ("64-byte", "imix", "carrier", "rtp")
ATTACKS = ("flood", "repeated")
"""What can be made besides, and is not recorded."""

PACKETS = 10_000
"""Enough for tables to grow and conversations to end, and few enough for callgrind, which is 50 times slower."""

TOLERANCE = 0.03
"""A share. Counts of one program differ by up to 0.2 %, because the allocator draws random numbers and looks at clocks."""

EXTENSIONS = frozenset({"sse4_2", "avx", "avx2", "asimd", "sve"})
"""What libraries choose their code by, as far as callgrind lets them see it."""

Counts = dict[str, dict[str, float]]
"""Instructions for a packet, by mix and path."""


class CannotRun(Exception):  # noqa: N818 - reads as what it says
    """What stands in the way."""


def main() -> int:
    """Counts, and does with the figures what was asked for."""
    parser = argparse.ArgumentParser(description="Count the instructions that a packet takes.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check",
        action="store_true",
        help="compare with the record; fail if something rose by more than 3 %%",
    )
    what.add_argument("--record", action="store_true", help="add the figures to the record")
    arguments = parser.parse_args()

    valgrind = shutil.which("valgrind")
    here = environment()
    history = read(RECORD)
    if arguments.check and (why := incomparable(history, here, valgrind)):
        print(f"instructions: cannot compare, {why}")
        return 0
    if valgrind is None:
        raise CannotRun("valgrind is needed; on Debian: apt-get install valgrind")
    counts = count(build(), valgrind)
    if arguments.check:
        risen, lines = compare(history[-1]["instructions"], counts)
        print("\n".join(lines))
        return int(risen)
    print(table(counts))
    if arguments.record:
        write(RECORD, history, {**moment(), "environment": here, "packets": PACKETS, "instructions": counts})
    return 0


def environment() -> dict[str, Any]:
    """What the figures depend on; ``processor`` is for people."""
    rustc = output("rustc", "--version")
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return {
        "rustc": rustc,
        "architecture": platform.machine(),
        "extensions": sorted(EXTENSIONS.intersection(flags[1].split() if flags else [])),
        "libc": " ".join(platform.libc_ver()),
        "processor": model[1] if model else platform.processor(),
    }


def incomparable(history: list[dict[str, Any]], here: Mapping[str, Any], valgrind: str | None) -> str | None:
    """Why there is nothing to compare with, if so."""
    if valgrind is None:
        return "valgrind is not installed"
    if not history:
        return "nothing is recorded"
    last = history[-1]
    if last["packets"] != PACKETS:
        return f"recorded with {last['packets']} packets, now {PACKETS}"
    for name, value in here.items():
        if name != "processor" and (was := last["environment"].get(name)) != value:
            return f"recorded with {name} {was}, here it is {value}"
    return None


def build() -> Path:
    """The program that runs a path."""
    command = [os.environ.get("CARGO", "cargo"), "build", "--release", "--locked"]
    command += [
        "--bin",
        "instructions",
        "--features",
        "instructions",
        "--message-format",
        "json-render-diagnostics",
    ]
    for line in output(*command).splitlines():
        if executable := json.loads(line).get("executable"):
            return Path(executable)
    raise CannotRun("cargo built no program")


def callgrind(program: Path, command: Sequence[str], mix: str, path: str, passes: int) -> str:
    """Runs a path under this command; gives what callgrind says."""
    done = subprocess.run(
        # Seeds of hash tables are made of addresses, and those follow from the environment and the name of the program.
        [*command, f"./{program.name}", mix, str(PACKETS), path, str(passes)],
        cwd=program.parent,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotRun(f"callgrind failed at {mix}, {path}:\n{done.stderr}")
    return done.stderr


def count(program: Path, valgrind: str) -> Counts:
    """Runs all paths over all mixes."""
    paths = output(str(program)).splitlines()

    def instructions(mix: str, path: str, passes: int) -> int:
        options = (valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null")
        said = callgrind(program, options, mix, path, passes)
        collected = re.search(r"Collected\s*:\s*(\d+)", said)
        if collected is None:
            raise CannotRun(f"callgrind counted nothing at {mix}, {path}:\n{said}")
        return int(collected[1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {
            (mix, path): [pool.submit(instructions, mix, path, passes) for passes in (1, 3)]
            for mix in MIXES
            for path in paths
        }
        counts: Counts = {mix: {} for mix in MIXES}
        for (mix, path), (one, three) in runs.items():
            counts[mix][path] = round((three.result() - one.result()) / 2 / PACKETS, 1)
    return counts


def compare(recorded: Counts, now: Counts) -> tuple[bool, list[str]]:
    """Whether something rose by more than the tolerance, and a line for each path."""
    lines, risen, fallen = [], 0, 0
    for mix, paths in now.items():
        for path, new in paths.items():
            old = recorded.get(mix, {}).get(path)
            if old is None:
                lines.append(f"  new      {mix}, {path}: {new:,.1f}")
                continue
            change = new / old - 1 if old else float(new > 0)
            rose, fell = change > TOLERANCE, change < -TOLERANCE
            risen += rose
            fallen += fell
            mark = "RISEN" if rose else "fallen" if fell else "same"
            lines.append(f"  {mark:<8} {mix}, {path}: {old:,.1f} -> {new:,.1f} ({change:+.1%})")
    lines += [
        f"  gone     {mix}, {path}"
        for mix, paths in recorded.items()
        for path in paths
        if path not in now.get(mix, {})
    ]
    lines.insert(0, "instructions per packet, recorded -> now")
    if fallen:
        lines.append(
            f"{fallen} fell by more than {TOLERANCE:.0%}: renew the record with benches/instructions.py --record"
        )
    if risen:
        lines.append(f"{risen} rose by more than {TOLERANCE:.0%}")
    return risen > 0, lines


def table(counts: Counts) -> str:
    """The figures, a row a path."""
    paths = list(next(iter(counts.values())))
    width = max(map(len, paths))
    head = f"{'instructions per packet':<{width}}" + "".join(f"{mix:>10}" for mix in counts)
    rows = [f"{path:<{width}}" + "".join(f"{by[path]:>10,.1f}" for by in counts.values()) for path in paths]
    return "\n".join([head, *rows])


def moment() -> dict[str, str]:
    """The day, and the last commit that changed what is measured, with a + if files differ from it."""
    measured = ("src", "benches/instructions.rs", "benches/paths", "Cargo.lock")
    commit = output("git", "log", "-1", "--format=%h", "--", *measured)
    changed = output("git", "status", "--porcelain", "--", *measured)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit + "+" * bool(changed),
    }


def read(path: Path) -> list[dict[str, Any]]:
    """All that was recorded, the oldest first."""
    history: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return history


def write(path: Path, history: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    """Adds an entry, in place of one of the same commit."""
    kept = [other for other in history if other["commit"] != entry["commit"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*kept, entry], indent=1) + "\n")


def output(*command: str) -> str:
    """What a command says."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise CannotRun(f"{' '.join(command)} ended with exit code {done.returncode}")
    return done.stdout.strip()


def exit_code(name: str, main: Callable[[], int]) -> int:
    """What a program of this name ends with: 2, and why, if it could not run."""
    try:
        return main()
    except CannotRun as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(exit_code("instructions", main))
