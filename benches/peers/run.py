"""Measures tapsight beside what a user would pick instead of it: the same captures, in the same run, one after the other.

Each row is a whole process whose output is thrown away. In every round each row has its turn, first with a capture of a
few packets, which is its start, then with the one that counts. ``install.sh`` installs what is compared.

This file is imported by nothing and imports little on purpose: the peak of memory of a process is never told as less
than that of the one that started it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers import HERE, PEERS, Peer

FEW = 10
"""Packets of the capture that shows how long a process takes to start."""

PATIENCE = 300
"""Seconds after which a row is given up when it is tried out."""

MAKE = "import sys; from tapsight import _core; sys.stdout.buffer.write(_core.traffic(sys.argv[1], int(sys.argv[2])))"


class Skipped(Exception):  # noqa: N818 - no error: the row says why it is not there
    """A row that cannot be run here."""


class Bench:
    """What the rows are given: captures of a mix in a folder, and a port where somebody listens."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.captures: dict[int, Path] = {}

    def capture(self, mix: str, packets: int) -> Path:
        """A capture of so many packets, made if it is not there."""
        if packets not in self.captures:
            path = self.folder / f"{packets}.pcap"
            with path.open("wb") as file:
                subprocess.run([sys.executable, "-c", MAKE, mix, str(packets)], stdout=file, check=True)
            self.captures[packets] = path
        return self.captures[packets]

    def forget(self) -> None:
        """Removes the captures, before those of another mix are made."""
        for path in self.captures.values():
            path.unlink()
        self.captures.clear()

    def filled(self, text: str, file: Path) -> str:
        """A part of a command with its places filled."""
        return text.format(file=file, folder=self.folder, port=self.port)

    def run(self, peer: Peer, file: Path) -> dict[str, float]:
        """One process: ``seconds``, ``cpu`` seconds and ``peak`` bytes of its largest process."""
        (self.folder / "packets.parquet").unlink(missing_ok=True)
        command = [self.filled(part, file) for part in peer.command]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise Skipped(f"ended with exit code {process.returncode} after it had worked before")
        return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}

    def try_out(self, peer: Peer, file: Path) -> int | None:
        """Runs it once, which is not measured, and says how many packets it read, where it tells."""
        reason = HERE / "made" / f"{peer.made_by}.failed"
        if peer.made_by and reason.exists():
            raise Skipped(f"not installed: {reason.read_text().strip()}")
        if shutil.which(peer.command[0]) is None:
            raise Skipped("not installed: run install.sh")
        said = self._said([self.filled(part, file) for part in peer.command])
        if peer.count is not None:
            said = self._said(["bash", "-o", "pipefail", "-c", self.filled(peer.count, file)])
        if peer.counted is None:
            return None
        found = re.search(peer.counted, said)
        if found is None:
            raise Skipped("does not say how many packets it read")
        return int(found[1])

    def _said(self, command: Sequence[str]) -> str:
        """The end of what a command writes, so that this process stays small."""
        with tempfile.TemporaryFile(dir=self.folder) as output:
            try:
                done = subprocess.run(
                    command, stdout=output, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise Skipped(f"took more than {PATIENCE} s") from error
            output.seek(max(0, output.tell() - 16_384))
            said = output.read().decode(errors="replace")
        if done.returncode != 0:
            last = said.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise Skipped(last[0])
        return said


def version(peer: Peer) -> str | None:
    """Its version, as it says itself."""
    command, pattern = peer.version
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, done.stdout)
    return found[1] if found else None


def measure(bench: Bench, mix: str, packets: int, rounds: int, peers: Sequence[Peer]) -> list[dict[str, Any]]:
    """The rows of a mix."""
    rows: list[dict[str, Any]] = []
    few = bench.capture(mix, FEW)
    files = [bench.capture(mix, packets // peer.share) for peer in peers]
    starts: list[list[dict[str, float]]] = [[] for _ in peers]
    runs: list[list[dict[str, float]]] = [[] for _ in peers]
    for peer, file in zip(peers, files, strict=True):
        row: dict[str, Any] = {"mix": mix, "name": peer.name, "version": version(peer)}
        row |= {"packets": packets // peer.share, "bytes": file.stat().st_size}
        try:
            row["read"] = bench.try_out(peer, file)
        except Skipped as skipped:
            row["skipped"] = str(skipped)
        rows.append(row)
    for n in range(rounds):
        print(f"{mix}: round {n + 1} of {rounds}", file=sys.stderr)
        for peer, file, row, start, run in zip(peers, files, rows, starts, runs, strict=True):
            if "skipped" in row:
                continue
            try:
                start.append(bench.run(peer, few))
                run.append(bench.run(peer, file))
            except Skipped as skipped:
                row["skipped"] = str(skipped)
    for peer, row, start, run in zip(peers, rows, starts, runs, strict=True):
        if "skipped" not in row:
            row.update(summary(peer, row["packets"], start, run))
    return rows


def summary(
    peer: Peer, packets: int, starts: Sequence[dict[str, float]], runs: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """What the rounds of a row come to.

    ``seconds`` and ``cpu`` are medians of what is left when each round's start is taken off; ``fastest`` and ``slowest``
    are the bounds of ``seconds``; all are null where nothing is left. ``rate`` is packets a second, ``cpu_rate`` packets a
    second of CPU. ``peak`` is null if it is below what can be told.
    """

    def left(key: str) -> list[float]:
        return [run[key] - start[key] for start, run in zip(starts, runs, strict=True)]

    def positive(value: float) -> float | None:
        return round(value, 6) if value > 0 else None

    times = left("cpu" if peer.waits else "seconds")
    seconds = positive(statistics.median(times))
    cpu = positive(statistics.median(left("cpu")))
    peak = max(one["peak"] for one in runs)
    return {
        "start": round(statistics.median(one["seconds"] for one in starts), 6),
        "seconds": seconds,
        "fastest": positive(min(times)),
        "slowest": positive(max(times)),
        "cpu": cpu,
        "rate": round(packets / seconds) if seconds else None,
        "cpu_rate": round(packets / cpu) if cpu else None,
        "peak": int(peak) if peak > own_peak() else None,
    }


def own_peak() -> int:
    """Bytes below which the memory of a process cannot be told."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor[1] if processor else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    name = f"  {row['name']:<32}"
    if "skipped" in row:
        return f"{name} skipped: {row['skipped']}"
    read = "-" if row["read"] is None else f"{100 * row['read'] / row['packets']:.0f} %"

    def rate(key: str) -> str:
        return "-" if row[key] is None else f"{row[key] / 1e6:.3f}"

    spread = "-".join("?" if row[key] is None else f"{row[key]:.2f}" for key in ("fastest", "slowest"))
    peak = f"< {own_peak() / 2**20:.0f}" if row["peak"] is None else f"{row['peak'] / 2**20:.0f}"
    return (
        f"{name} {row['packets']:>9} {read:>6} {rate('rate'):>9} {rate('cpu_rate'):>11} {spread:>13}"
        f" {row['start']:>7.2f} {peak:>9}"
    )


HEADER = (
    f"  {'':<32} {'packets':>9} {'read':>6} {'Mpacket/s':>9} {'/s of CPU':>11} {'min-max s':>13}"
    f" {'start s':>7} {'peak MiB':>9}"
)


def main() -> int:
    """Measures what the arguments say; 0 if no row was skipped, 1 if one was, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        description="tapsight beside its peers: the same captures in the same run."
    )
    parser.add_argument(
        "--mix",
        nargs="+",
        default=["64-byte", "carrier"],
        help="kinds of traffic: 64-byte, imix, carrier, rtp, flood, repeated",
    )
    parser.add_argument(
        "--packets", type=int, default=1_000_000, help="how many; slow peers are given a share"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="rows whose names contain one of these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the result is written")
    parser.add_argument(
        "--quick", action="store_true", help="one round over few packets, to see that all works"
    )
    options = parser.parse_args()
    if options.quick:
        options.packets, options.rounds = 20_000, 1
    if options.packets < 100 * FEW or options.rounds < 1:
        parser.error(f"at least {100 * FEW} packets and one round")
    peers = [peer for peer in PEERS if not options.only or any(name in peer.name for name in options.only)]
    if not peers:
        parser.error(f"--only: there are {', '.join(peer.name for peer in PEERS)}")

    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "packets": options.packets,
        "rounds": options.rounds,
        "few": FEW,
    }
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="tapsight-peers-") as folder,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
    ):
        # Nobody reads what comes here; a full buffer drops it, and the sender does not notice.
        sink.bind(("127.0.0.1", 0))
        bench = Bench(Path(folder), sink.getsockname()[1])
        for mix in options.mix:
            of_mix = measure(bench, mix, options.packets, options.rounds, peers)
            bench.forget()
            print("\n".join([mix, HEADER, *map(line, of_mix)]), flush=True)
            rows += of_mix
    result |= {"own_peak": own_peak(), "rows": rows}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return int(any("skipped" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
