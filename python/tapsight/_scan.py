"""Captures as Arrow streams and Polars frames."""

from __future__ import annotations

import glob
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from tapsight import _core
from tapsight._text import name_problem

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Any
"""A path, a glob, ``"-"`` for standard input, or a buffer that holds a capture (bytes, a numpy array of uint8, …)."""

BATCH_SIZE: int = _core.BATCH_SIZE
_KEPT_BATCH_SIZE = 65_536
"""The most that a batch may have."""

MAX_THREADS: int = 1024
COLUMNS: tuple[str, ...] = tuple(_core.column_names())
"""All columns of the packets table; those made on request only (``payload_head``, ``community_id``) among them."""


TABLES: tuple[str, ...] = ("packets", *_core.table_names())
"""The tables that a capture can be read as: a row a frame, or a row a message of one protocol."""


class CaptureWarning(UserWarning):
    """A capture could be read in part only, such as one that was cut off."""


@dataclass(frozen=True)
class Rows(ABC):
    """Rows that are made of captures when they are needed, and again each time.

    It holds no open file, so it can be pickled and sent to other processes. Anything that takes Arrow streams can read it:
    ``pyarrow.table(rows)``, ``polars.DataFrame(rows)``, and DuckDB by its name in a query.
    """

    @abstractmethod
    def _stream(self) -> _core.Stream:
        """The captures, opened anew."""

    @abstractmethod
    def __arrow_c_schema__(self) -> object:
        """The schema, without opening the capture."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Open the capture anew, as a capsule by the Arrow PyCapsule interface."""
        return self._stream().__arrow_c_stream__(requested_schema)

    @property
    def schema(self) -> pa.Schema:
        """The schema, without opening the capture."""
        import pyarrow as pa

        return pa.schema(self)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Read the capture batch by batch.

        Warns with :class:`CaptureWarning` at its end if a part of it could not be read.

        Raises:
            CaptureError: A source is no capture, or one of a format that is not read.
            OSError: A source cannot be read.
        """
        return self.read(lambda text: warnings.warn(text, CaptureWarning, stacklevel=3))

    def read(self, warn: Callable[[str], object]) -> Iterator[pa.RecordBatch]:
        """Read the capture batch by batch, as iterating does, and call ``warn`` at its end for each thing that could not be read."""
        import pyarrow as pa

        stream = self._stream()
        try:
            yield from pa.RecordBatchReader.from_stream(stream)
        except (pa.ArrowException, OSError):
            stream.raise_error()
            raise
        for text in stream.warnings:
            warn(text)

    def to_pyarrow(self) -> pa.Table:
        """Read all of it into a :class:`pyarrow.Table`."""
        import pyarrow as pa

        return pa.Table.from_batches(list(self._kept()), schema=self.schema)

    def _kept(self) -> Rows:
        """The same rows, for one who keeps all of them."""
        return self

    def to_polars(self) -> pl.DataFrame:
        """Read all of it into a :class:`polars.DataFrame`."""
        import polars as pl

        frame = pl.from_arrow(self.to_pyarrow())
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table makes a frame
        return frame


@dataclass(frozen=True)
class Scan(Rows):
    """A capture as a table of packets, or of messages. Make one with :func:`tapsight.open`."""

    sources: tuple[Any, ...]
    columns: tuple[str, ...] | None = None
    batch_size: int = BATCH_SIZE
    tap: str | None = None
    filters: tuple[tuple[str, tuple[int | str, ...]], ...] = field(default=(), repr=False)
    limit: int | None = field(default=None, repr=False)
    table: str = "packets"
    threads: int | None = None

    def _kept(self) -> Scan:
        # Memory that is kept does not stay in caches anyway, and fewer batches are less to go through.
        is_told = self.batch_size != BATCH_SIZE or self.limit is not None
        return self if is_told else replace(self, batch_size=_KEPT_BATCH_SIZE)

    def _stream(self) -> _core.Stream:
        return _core.Stream(
            list(self.sources),
            table=self.table,
            tap=self.tap,
            columns=None if self.columns is None else list(self.columns),
            batch_size=self.batch_size,
            filters=[(name, list(values)) for name, values in self.filters],
            limit=self.limit,
            threads=self.threads,
        )

    def __arrow_c_schema__(self) -> object:
        """The schema, without opening the capture."""
        return _schema(self.table, self.columns).__arrow_c_schema__()


def _schema(table: str, columns: tuple[str, ...] | None) -> _core.Table:
    names = None if columns is None else list(columns)
    return _core.schema(names) if table == "packets" else _core.table_schema(table, names)


def open(
    source: Source | Sequence[Source],
    *,
    table: str = "packets",
    columns: Iterable[str] | None = None,
    batch_size: int = BATCH_SIZE,
    tap: str | None = None,
    threads: int | None = None,
) -> Scan:
    """Open a capture: pcap or pcapng, plain or compressed with gzip, zstd or lz4.

    Args:
        source: A path, a glob, ``"-"`` for standard input, a buffer that holds a capture, or a list of these, which
            are read in order as one stream whose frame numbers go on.
        table: ``"packets"``, a row a frame; or a side table, a row a message of one protocol, such as ``"dns"`` or ``"sip"``,
            which joins the packets by ``frame``. See :data:`tapsight.TABLES`.
        columns: The columns to make, in this order; all but ``payload_head`` and ``community_id`` by default. See :data:`tapsight.COLUMNS`.
        batch_size: Frames that make a batch, at most 65,536: as many rows of packets, less what a filter leaves out. Of large frames there are
            fewer: those of 1.5 KiB for each of these at the most, or of 6 MiB if that is more.
        tap: A name for the place where the capture was taken, for the column ``tap``. Without one, each file has its own name.
        threads: How many threads make packets; all processors by default. What they make is the same. Side tables are made by
            one.

    Raises:
        FileNotFoundError: A file is missing, or a glob matches nothing.
        ValueError: A table or column does not exist.
    """
    names = None if columns is None else tuple(columns)
    _schema(table, names)
    if batch_size < 1:
        raise ValueError(f"batch_size is a number of rows from 1, not {batch_size}")
    return Scan(expand(source), names, batch_size, tap, table=table, threads=checked_threads(threads))


def checked_threads(threads: int | None) -> int | None:
    """A number of threads, if it is one."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads is a number from 1 to {MAX_THREADS}, not {threads}")
    return threads


def expand(source: Source | Sequence[Source]) -> tuple[Any, ...]:
    """The single sources that ``source`` names: lists made flat, globs replaced by the files they match, by name."""
    if isinstance(source, list | tuple):
        if not source:
            raise ValueError("an empty list of captures")
        return tuple(single for part in source for single in expand(part))
    if not isinstance(source, str | os.PathLike):
        # A view cannot be pickled, and its owner could change what it shows.
        return (bytes(source) if isinstance(source, memoryview | bytearray) else source,)
    path = os.fspath(source)
    if (problem := name_problem(path)) is not None:
        raise ValueError(problem)
    if path == "-" or os.path.lexists(path) or not glob.has_magic(path):
        return (path,)
    matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - the pattern may be absolute
    if not matches:
        raise FileNotFoundError(f"{path}: no file matches")
    return tuple(matches)


def scan(
    source: Source | Sequence[Source],
    *,
    table: str = "packets",
    columns: Iterable[str] | None = None,
    batch_size: int = BATCH_SIZE,
    tap: str | None = None,
    threads: int | None = None,
) -> pl.LazyFrame:
    """Open a capture as a :class:`polars.LazyFrame`.

    Only the columns that the query needs are made. ``head`` and ``limit`` end the reading early. Comparisons of ``app``,
    ``traffic``, ``basis``, ``protocol``, ``ip_version``, ports, ``vlan``, ``ethertype``, ``tunnel_id`` and ``ttl`` with
    literals are made before rows are (``==``, ``is_in``, and these joined by ``&``); others by Polars, batch by batch.

    Arguments are those of :func:`open`.
    """
    from tapsight._polars import lazy_frame

    return lazy_frame(
        open(source, table=table, columns=columns, batch_size=batch_size, tap=tap, threads=threads)
    )
