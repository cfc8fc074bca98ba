"""How fast captures are read on this machine, beside the least that any reader has to do: one pass over the bytes.

Each row runs in a process of its own, whose memory is measured, and takes turns with its floor: what else the machine does
meets both alike.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tapsight import _core
from tapsight._calls import calls
from tapsight._flows import flows
from tapsight._media import media
from tapsight.detectors import DETECTORS

MIXES: tuple[str, ...] = tuple(_core.mix_names())
"""The kinds of traffic that can be made."""

FOUR = ("ts", "src", "dst", "wire_len")
IDS = frozenset({"packet_id", "payload_id", "flow_id"})

DEFAULT_BYTES = 64 << 20
"""How much traffic to make of each mix: more than caches hold."""

RECORD_HEADER = 16
"""Bytes of a capture that each packet has beside its frame (pcap)."""

MOST_COPIED = 1 << 30
"""Bytes of a capture up to which it is also read from memory and compressed, which take a copy of it."""

Place = Literal["memory", "file", "gzip", "zstd"]
"""Where the bytes lie; files are in the page cache."""

COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
"""What compressed files begin with (RFC 1952, RFC 8878, the LZ4 frame format)."""


class Skipped(Exception):  # noqa: N818 - no error: the row says why it is not there
    """A row that cannot be run here."""


def _scan(source: str | bytes, columns: Sequence[str] | None, threads: int) -> Any:
    import tapsight

    return tapsight.open(source, columns=columns, threads=threads)


def _drain(columns: Sequence[str] | None) -> Callable[[str | bytes, int], int]:
    def run(source: str | bytes, threads: int) -> int:
        return sum(batch.nbytes for batch in _scan(source, columns, threads))

    return run


def _without_ids(source: str | bytes, threads: int) -> int:
    names = [name for name in _scan(b"", None, threads).schema.names if name not in IDS]
    return _drain(names)(source, threads)


def _check(source: str | bytes, threads: int) -> int:
    import tapsight

    assert isinstance(source, str)  # noqa: S101 - rows of files have files
    tapsight.check([source], threads=threads)
    return 0


def _digest(source: str | bytes, threads: int) -> int:
    import tapsight

    assert isinstance(source, str)  # noqa: S101 - rows of files have files
    with tempfile.NamedTemporaryFile() as file:
        tapsight.digest({"bench": source}, file.name, threads=threads)
        return Path(file.name).stat().st_size


def _examined(detectors: Sequence[str] | None) -> Callable[[str | bytes, int], int]:
    def run(source: str | bytes, threads: int) -> int:
        import pyarrow as pa

        from tapsight import _engine

        taps: list[tuple[str, Sequence[Any]]] = [("tap", [source])]
        window = 5_000_000_000
        found = _engine.examine(
            taps, window_ns=window, memory=_engine.MEMORY, threads=threads, detectors=detectors
        )
        tables = (
            found.flows,
            found.claims,
            *found.calls,
            *found.call_changes,
            *found.call_media,
            *found.media,
        )
        return sum(pa.table(table).nbytes for table in tables)

    return run


def _pipe(source: str | bytes, threads: int) -> int:
    """All columns, from a pipe: one thread reads, the others dissect."""
    assert isinstance(source, str)  # noqa: S101 - rows of files have files
    command = ["cat", "--", source]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as cat:  # noqa: S603 - a file that was named
        assert cat.stdout is not None  # noqa: S101 - it was asked for
        return _drain(None)(f"/dev/fd/{cat.stdout.fileno()}", threads)


def _parquet(source: str | bytes, threads: int) -> int:
    from tapsight._files import write_parquet

    scan = _scan(source, None, threads)
    with tempfile.TemporaryFile() as file:
        write_parquet(scan, scan.schema, file, threads)
        return file.tell()


def _polars(source: str | bytes, threads: int) -> int:
    return int(_scan(source, None, threads).to_polars().estimated_size())


def _duckdb(source: str | bytes, threads: int) -> int:
    try:
        import duckdb
    except ImportError as error:
        raise Skipped("duckdb is not installed") from error
    packets = _scan(source, None, threads)
    with duckdb.connect() as connection:
        connection.register("packets", packets)
        connection.execute("select app, traffic, count(*) from packets group by all").fetchall()
    return 0


def _rows_of(table: Callable[..., Any]) -> Callable[[str | bytes, int], int]:
    def run(source: str | bytes, threads: int) -> int:
        return sum(batch.nbytes for batch in table(source, threads=threads))

    return run


@dataclass(frozen=True)
class Row:
    """One thing to measure. ``run`` is given a source and a number of threads, and says how many bytes it made, of Arrow or of a file.

    Without ``places``, captures that are made are read from memory, and files as files: mapped files are memory as well,
    so that a single row shows both.
    """

    name: str
    run: Callable[[str | bytes, int], int]
    places: tuple[Place, ...] | None = None


ROWS = (
    Row("records (frame numbers only)", _drain(["frame"])),
    Row("parse and classify (app only)", _drain(["app"])),
    Row("4 columns", _drain(FOUR)),
    Row("all columns without ids", _without_ids),
    Row("all columns", _drain(None), ("memory", "file", "gzip", "zstd")),
    Row("all columns, from a pipe", _pipe, ("file",)),
    Row("flows: a row a conversation", _rows_of(flows)),
    Row("calls: a row a call", _rows_of(calls)),
    Row("media: a row a stream", _rows_of(media)),
    Row("check without detectors", _examined([])),
    Row("check: flows, A1, A2, A5", _examined(["A1", "A2", "A5"])),
    Row("check: all that the engine does", _examined(None)),
    Row("check: flows, all detectors", _check, ("file",)),
    Row("digest: written", _digest, ("file",)),
    Row("to Parquet (zstd)", _parquet),
    Row("to Polars", _polars),
    Row("DuckDB: packets by application", _duckdb),
)


DETECTOR_ROWS = tuple(Row(f"check with {id_} only", _examined([id_])) for id_ in DETECTORS)
"""What each detector of the engine costs; beside the row of a check without detectors, as they share that."""


@dataclass(frozen=True)
class Measured:
    """A row, measured. Times are medians in seconds; ``peak`` is the memory in bytes that came on top of the source."""

    source: str
    row: str
    place: Place
    threads: int
    packets: int = 0
    bytes: int = 0
    seconds: float = 0
    fastest: float = 0
    slowest: float = 0
    floor_seconds: float = 0
    made_bytes: int = 0
    peak: int = 0
    skipped: str | None = field(default=None)

    def line(self) -> str:
        """As a line of the table that :func:`header` begins."""
        name = f"  {self.row:<30} {self.place:<6} {self.threads:>7}"
        if self.skipped is not None:
            return f"{name} skipped: {self.skipped}"
        per_packet = 1e9 / max(self.packets, 1)
        spread = f"{self.fastest * per_packet:.0f}-{self.slowest * per_packet:.0f}"
        made = f"{self.made_bytes / max(self.packets, 1):.0f}" if self.made_bytes else "-"
        return (
            f"{name} {self.packets / self.seconds / 1e6:>9.2f} {self.bytes / self.seconds / 1e9:>7.2f}"
            f" {self.seconds * per_packet:>9.1f} {spread:>13} {made:>8}"
            f" {self.floor_seconds * per_packet:>8.1f} {self.seconds / self.floor_seconds:>8.1f} {self.peak / 2**20:>9.0f}"
        )


def header() -> str:
    """The head of the table."""
    return (
        f"  {'':<30} {'from':<6} {'threads':>7} {'Mpacket/s':>9} {'GB/s':>7} {'ns/packet':>9} {'min-max':>13} {'made B':>8}"
        f" {'floor ns':>8} {'x floor':>8} {'peak MiB':>9}"
    )


def explanation(runs: int) -> str:
    """What the columns of the table mean."""
    return (
        f"Medians of {runs} runs. GB/s is of the capture. Made B: bytes made per packet, of Arrow, or of the file that is written.\n"
        "Floor: one pass over the same bytes, in turns with each run; of a file, cat FILE > /dev/null. Peak: memory on top of the source."
    )


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "tapsight": _core.__version__,
        "debug": _core.DEBUG,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return model[1] if model else platform.processor()


def bench(
    files: Sequence[str],
    mixes: Sequence[str],
    *,
    packets: int | None = None,
    runs: int = 5,
    detectors: bool = False,
) -> Iterator[tuple[str, Iterator[Measured]]]:
    """Measures all rows over files and mixes: for each its name, and the rows as they are measured.

    On request, also those of each detector by itself.

    Raises:
        ValueError: A mix does not exist, or a file cannot be read or is no capture.
    """
    from tapsight._check import format_problem

    for mix in mixes:
        if mix not in MIXES:
            raise ValueError(f'no mix is called "{mix}"; there are: {", ".join(MIXES)}')
    problems = [problem for file in files if (problem := _no_file(file) or format_problem(file))]
    if problems:
        raise ValueError("\n".join(problems))
    rows = ROWS + (DETECTOR_ROWS if detectors else ())
    with tempfile.TemporaryDirectory(prefix="tapsight-bench-") as folder:
        for mix in mixes:
            path = Path(folder) / f"{mix}.pcap"
            _child({"make": mix, "packets": packets, "path": str(path)})
            yield (
                f"{mix}, {path.stat().st_size / 2**20:.0f} MiB",
                _rows(rows, mix, path, "memory", Path(folder), runs),
            )
            path.unlink()
        for file in files:
            yield file, _rows(rows, file, Path(file), "file", Path(folder), runs)


def _no_file(path: str) -> str | None:
    """Why this is no file that can be read again and again, if so."""
    from tapsight._sources import problem_with

    if path == "-" or (Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir()):
        return f"{path}: can be read only once; name a file"
    return problem_with(path)


def _rows(
    rows: Sequence[Row], source: str, path: Path, home: Place, folder: Path, runs: int
) -> Iterator[Measured]:
    """The rows over a capture, which lies at ``home`` unless a row says where; copies of it are made in ``folder``."""
    for row in rows:
        for place in row.places or (home,):
            for threads in dict.fromkeys((1, os.cpu_count() or 1)):
                task = {"row": row.name, "place": place, "threads": threads, "runs": runs}
                try:
                    with _placed(path, place, home, folder) as placed:
                        answer = _child({**task, "path": str(placed)})
                except Skipped as skipped:
                    answer = {"skipped": str(skipped)}
                yield Measured(source=source, row=row.name, place=place, threads=threads, **answer)


@contextlib.contextmanager
def _placed(path: Path, place: Place, home: Place, folder: Path) -> Iterator[Path]:
    """The capture as a file that this place is made of: compressed, if it is to be."""
    if place not in {home, "file"} and path.stat().st_size > MOST_COPIED:
        raise Skipped(f"larger than {MOST_COPIED >> 30} GiB")
    if place not in {"gzip", "zstd"}:
        yield path
        return
    import pyarrow as pa

    with path.open("rb") as source:
        begin = source.read(4)
        for magic, name in COMPRESSED.items():
            if begin.startswith(magic):
                raise Skipped(f"is compressed with {name} as it is")
        source.seek(0)
        packed = folder / f"packed.{place}"
        try:
            if place == "gzip":
                with gzip.open(packed, "wb", compresslevel=1) as file:
                    shutil.copyfileobj(source, file)
            else:
                with pa.output_stream(packed, compression="zstd") as file:
                    shutil.copyfileobj(source, file)
            yield packed
        finally:
            packed.unlink(missing_ok=True)


def _child(task: dict[str, Any]) -> dict[str, Any]:
    """Does a task in a process of its own.

    Raises:
        ValueError: It could not be done.
    """
    command = [sys.executable, "-m", "tapsight._bench", json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 - ourselves
    if done.returncode != 0:
        raise ValueError(f"measuring ended with exit code {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    if "problem" in answer:
        raise ValueError(answer["problem"])
    return answer


def _do(task: dict[str, Any]) -> dict[str, Any]:
    """What the process of its own does. Problems are given back, so that the text of all is made safe in one place."""
    # A capture that is cut off is measured up to there, in every run.
    warnings.simplefilter("ignore")
    try:
        mix = task.pop("make", None)
        return _make(mix, **task) if mix else _measure(task.pop("row"), **task)
    except (OSError, ValueError, MemoryError) as error:
        return {"problem": str(error) or type(error).__name__}


def _make(mix: str, packets: int | None, path: str) -> dict[str, Any]:
    if packets is None:
        sample = 10_000
        packets = DEFAULT_BYTES * sample // len(_core.traffic(mix, sample))
    Path(path).write_bytes(_core.traffic(mix, packets))
    return {}


def peak_memory() -> int:
    """The most memory that this process had resident so far, in bytes."""
    # What getrusage says begins with the peak of the process that started this one.
    status = Path("/proc/self/status")
    high_water = (
        re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    )
    if high_water:
        return int(high_water[1]) * 1024
    # KiB, but bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _measure(name: str, path: str, place: Place, threads: int, runs: int) -> dict[str, Any]:
    row = next(row for row in (*ROWS, *DETECTOR_ROWS) if row.name == name)
    source = Path(path).read_bytes() if place == "memory" else path
    packets = frame_bytes = 0
    for batch in _scan(source, ["cap_len"], threads):
        packets += batch.num_rows
        frame_bytes += int(batch["cap_len"].to_numpy().sum())

    def floor() -> object:
        if isinstance(source, bytes):
            return _core.floor(source)
        return subprocess.run(["cat", "--", source], stdout=subprocess.DEVNULL, check=True)  # noqa: S603, S607

    made = 0

    def run() -> None:
        nonlocal made
        made = row.run(source, threads)

    # The first run of each, which is not counted, loads what is needed.
    try:
        floor()
        before = peak_memory()
        run()
    except Skipped as skipped:
        return {"skipped": str(skipped)}
    floors, times = [], []
    for _ in range(runs):
        floors.append(_seconds(floor))
        times.append(_seconds(run))
    return {
        "packets": packets,
        "bytes": frame_bytes + RECORD_HEADER * packets,
        "seconds": statistics.median(times),
        "fastest": min(times),
        "slowest": max(times),
        "floor_seconds": statistics.median(floors),
        "made_bytes": made,
        "peak": peak_memory() - before,
    }


def as_json(rows: Sequence[Measured]) -> str:
    """Rows with the time and the machine they were measured on, for records."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    content = {"time": now, "machine": machine(), "rows": [asdict(row) for row in rows]}
    return json.dumps(content, indent=2) + "\n"


if __name__ == "__main__":
    json.dump(_do(json.loads(sys.argv[1])), sys.stdout)
