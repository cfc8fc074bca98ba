"""What the Python side asks of the engine: one place where the two meet."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tapsight import addresses

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

MEMORY = 512 << 20
"""About how many bytes an examination may use for all that it remembers, unless told otherwise."""

Progress = Callable[[int], object]
"""Called now and then with the number of packets so far."""


class Examination(Protocol):
    """What the engine found in the taps: each attribute exports an Arrow stream."""

    claims: Any
    flows: Any
    compared: Any
    scopes: Any
    taps: Any
    files: Any
    calls: Sequence[Any]
    call_changes: Sequence[Any]
    call_media: Sequence[Any]
    media: Sequence[Any]
    missing: int
    warnings: list[str]
    state: bytes | None


def examine(
    taps: Sequence[tuple[str | None, Sequence[str | bytes]]],
    *,
    window_ns: int,
    memory: int,
    progress: Progress | None = None,
    threads: int | None = None,
    infrastructure: Sequence[str] = (),
    gateways: Sequence[str] = (),
    state: bytes | None = None,
    save: bool = False,
    detectors: Sequence[str] | None = None,
) -> Examination:
    """Reads all taps once, merged by time. Each is a name and its captures in order; ``-`` is standard input.

    ``detectors`` are the ids of those to use, without which all are. ``state`` is what an earlier run has saved, which this one goes on from; with ``save``, this one does so too.
    """
    core = importlib.import_module("tapsight._core")
    examination: Examination = core.examine(
        [(name, list(paths)) for name, paths in taps],
        window_ns=window_ns,
        memory=memory,
        progress=progress,
        threads=threads,
        infrastructure=list(infrastructure),
        gateways=list(gateways),
        state=state,
        save=save,
        detectors=list(detectors) if detectors is not None else None,
    )
    return examination


def stage_schema(name: str) -> Any:
    """A table without rows of what a stage makes: ``calls``, ``call_changes``, ``call_media``, ``media``, ``flows``."""
    return importlib.import_module("tapsight._core").stage_schema(name)


def open_packets(
    source: Sequence[str],
    *,
    table: str = "packets",
    columns: Sequence[str] | None = None,
    tap: str | None = None,
    threads: int | None = None,
) -> Any:
    """The packets, or the messages of a side table, of captures that follow each other, as something that exports an Arrow stream."""
    tapsight = importlib.import_module("tapsight")
    return tapsight.open(list(source), table=table, columns=columns, tap=tap, threads=threads)


def open_flows(
    source: Sequence[str],
    *,
    tap: str | None,
    idle_timeout: float,
    active_timeout: float | None,
    memory: int,
    threads: int | None,
    places: Any = None,
    home: str | Sequence[str] | None = None,
) -> Any:
    """The conversations in captures that follow each other."""
    tapsight = importlib.import_module("tapsight")
    return tapsight.flows(
        list(source),
        tap=tap,
        idle_timeout=idle_timeout,
        active_timeout=active_timeout,
        memory=memory,
        threads=threads,
        places=places,
        home=home,
    )


def open_calls(
    source: Sequence[str],
    *,
    table: str,
    tap: str | None,
    show_numbers: bool,
    threads: int | None,
    places: Any = None,
    home: str | Sequence[str] | None = None,
) -> Any:
    """The calls in captures that follow each other, or another table that is made of them."""
    tapsight = importlib.import_module("tapsight")
    return tapsight.calls(
        list(source),
        table=table,
        tap=tap,
        show_numbers=show_numbers,
        threads=threads,
        places=places,
        home=home,
    )


def open_media(source: Sequence[str], *, tap: str | None, timeout: float, threads: int | None) -> Any:
    """The media streams in captures that follow each other."""
    tapsight = importlib.import_module("tapsight")
    return tapsight.media(list(source), tap=tap, timeout=timeout, threads=threads)


@dataclasses.dataclass(frozen=True, slots=True)
class CaptureHead:
    """What is known of a capture before it is read."""

    name: str
    """As it was named to whoever opened it."""
    mark: tuple[int, int] | None
    """Its length, and a hash of its beginning: what it is known by, whatever it is called; none if it can be read only once."""
    first_ts: int | None
    """When its first frame was captured, nanoseconds UTC; none if it has none."""


@dataclasses.dataclass(frozen=True, slots=True)
class DigestHead:
    """What is known of a digest before it is read."""

    tap: str
    captures: tuple[CaptureHead, ...]
    """The captures that it is of, in order."""


def digest_head(path: str) -> DigestHead | None:
    """What is known of a digest; ``None`` of what is something else."""
    head = importlib.import_module("tapsight._core").digest_head(path)
    return None if head is None else DigestHead(head[0], tuple(CaptureHead(*each) for each in head[1]))


def capture_head(path: str) -> CaptureHead:
    """What is known of a capture."""
    return CaptureHead(*importlib.import_module("tapsight._core").capture_head(path))


def verify_digest(path: str) -> None:
    """Reads a digest to its end, and raises what is wrong with it."""
    importlib.import_module("tapsight._core").verify_digest(path)


def write_digest(
    tap: str, captures: Sequence[str], path: str, *, name: str, progress: Progress | None, threads: int | None
) -> tuple[int, list[str]]:
    """Writes a digest of captures to a path, called so in messages: how many frames there are, and warnings."""
    core = importlib.import_module("tapsight._core")
    written: tuple[int, list[str]] = core.write_digest(
        tap, list(captures), path, name=name, progress=progress, threads=threads
    )
    return written


class ParquetEncoder(Protocol):
    """Makes a file row group by row group; each call gives the bytes that come next in it."""

    def row_group(self, batches: Sequence[pa.RecordBatch]) -> bytes: ...
    def finish(self) -> bytes: ...


def parquet_encoder(schema: pa.Schema, threads: int | None) -> ParquetEncoder:
    """What makes Parquet of batches of this schema, with so many threads, else all processors."""
    encoder: ParquetEncoder = importlib.import_module("tapsight._core").ParquetEncoder(
        schema, threads=threads
    )
    return encoder


def extract(path: str, frames: Sequence[int], *, tap: str, zero_payload: bool) -> Iterator[pa.Table]:
    """The frames of a capture with these numbers, in order, a row a frame; see ``src/evidence.rs`` for the columns."""
    import pyarrow as pa

    core = importlib.import_module("tapsight._core")
    for table in core.Extract([path], frames, tap=tap, zero_payload=zero_payload):
        yield pa.table(table)


def inside(column: pl.Series, prefixes: Sequence[str]) -> pl.Series:
    """Whether each address (16 bytes, IPv4 mapped) is inside any of the prefixes; false for null."""
    matches: pl.Series = addresses.in_prefixes(column, list(prefixes))
    return matches.fill_null(value=False)


def addresses_as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Addresses of 16 bytes as text."""
    return addresses.to_text(column)


def macs_as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """MAC addresses as text."""
    return addresses.mac_to_text(column)
