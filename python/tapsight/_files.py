"""Writing what comes out: whole files or none, tables in the formats that people ask for."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, get_args

from tapsight import _engine
from tapsight._text import safe, safe_cell

if TYPE_CHECKING:
    import pyarrow as pa

TableFormat = Literal["csv", "ndjson", "arrow", "parquet"]
"""CSV (RFC 4180), one JSON object a line, Arrow IPC (a file, or a stream on standard output), Parquet."""

TABLE_FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)


Input = tuple[str | os.PathLike[str], str]
"""What a run reads, and what that is: ``("monday.json", "the baseline")``."""


def require_other(path: str | os.PathLike[str] | None, inputs: Iterable[Input]) -> None:
    """Makes sure that what is to be written is nothing that is read, by whatever name or link; to be called before long work, too.

    Raises:
        ValueError: It is.
    """
    if path is None or os.fspath(path) == "-":
        return
    for name, what in inputs:
        if os.fspath(name) != "-" and _is_same_file(path, name):
            raise ValueError(f"{os.fspath(path)} is {what}: name another file")


def _is_same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether both are one file, or would be; a device or a pipe is no file."""
    try:
        if not Path(one).exists() or not Path(other).exists():
            return os.path.realpath(one) == os.path.realpath(other)
        return Path(one).is_file() and Path(one).samefile(other)
    except (OSError, ValueError):
        # What cannot be looked at is told when it is opened.
        return False


@contextlib.contextmanager
def output(path: str | None, inputs: Iterable[Input] = ()) -> Iterator[IO[bytes]]:
    """Where to write: standard output for ``None`` and ``-``, else a file that appears when it is complete.

    A file is written under another name beside it and renamed, so that nobody ever sees half of it.

    Raises:
        ValueError: It is one of the inputs.
        OSError: It cannot be written.
    """
    require_other(path, inputs)
    try:
        with _output(path) as file:
            yield file
    except OSError as error:
        if error.filename is None and error.errno == errno.ENOSPC:
            # Of a full device, Python does not say which file is on it.
            raise OSError(error.errno, error.strerror, path or "standard output") from error
        raise


@contextlib.contextmanager
def _output(path: str | None) -> Iterator[IO[bytes]]:
    if path in {None, "-"}:
        if sys.stdout is None:
            raise OSError("standard output is closed: name a file with -o")
        if isinstance(sys.stdout.buffer, io.RawIOBase):
            # Without a buffer (python -u), a write may take a part only, as on a disk that is nearly full, and nobody looks at how much.
            with open(sys.stdout.fileno(), "wb", closefd=False) as file:
                yield file
            return
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(str(path))
    if target.is_symlink() or (target.exists() and not target.is_file()):
        # A pipe or a device has no half-written state, and neither these nor a link to one, as /dev/stdout, must be replaced by a file.
        with target.open("wb") as file:
            yield file
        return
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_whole(path: str | os.PathLike[str], most: int, what: str) -> bytes:
    """The bytes of a file that somebody wrote, such as a policy, if they are no more than fits; also of a pipe into which somebody writes.

    Raises:
        ValueError: It is longer, or a pipe into which nobody writes.
        OSError: It cannot be read.
    """
    name = os.fspath(path)
    # To open a named pipe would wait until somebody writes into it; to read it does not, if nobody does.
    with open(name, "rb", opener=lambda file, flags: os.open(file, flags | os.O_NONBLOCK)) as file:
        os.set_blocking(file.fileno(), True)
        data = file.read(most + 1)
        if not data and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{name}: is a pipe into which nobody writes: name a file")
    if len(data) > most:
        raise ValueError(f"{name}: is longer than {most >> 20} MiB, the most that a {what} may be")
    return data


def write_table(
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    file: IO[bytes],
    form: TableFormat,
    threads: int | None = None,
) -> None:
    """Writes batches as they come. CSV and NDJSON have addresses and times as text; a list is an array of NDJSON, and in a cell of CSV one of JSON."""
    import pyarrow as pa

    if form == "arrow":
        with pa.ipc.new_stream(pa.PythonFile(file, mode="w"), schema) as stream:
            for batch in batches:
                stream.write_batch(batch)
    elif form == "parquet":
        write_parquet(batches, schema, file, threads)
    elif form == "csv":
        import pyarrow.csv as pcsv

        empty = readable(pa.Table.from_batches([], schema), safe_cell, as_cells=True)
        with pcsv.CSVWriter(pa.PythonFile(file, mode="w"), empty.schema) as writer:
            for batch in batches:
                writer.write_table(readable(pa.Table.from_batches([batch]), safe_cell, as_cells=True))
    else:
        import polars as pl

        for batch in batches:
            file.write(pl.DataFrame(readable(pa.Table.from_batches([batch]), safe)).write_ndjson().encode())


ROW_GROUP = 131_072
"""Rows of a row group of Parquet: enough that readers have little to do for each, few enough to be held in memory."""


def write_parquet(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, file: IO[bytes], threads: int | None = None
) -> None:
    """Writes batches as Parquet with zstd; columns are encoded by so many threads, else all processors."""
    encoder = _engine.parquet_encoder(schema, threads)
    group: list[pa.RecordBatch] = []
    missing = ROW_GROUP
    for batch in batches:
        # A table in memory comes as one batch.
        rest = batch
        while rest.num_rows >= missing:
            file.write(encoder.row_group([*group, rest.slice(0, missing)]))
            rest = rest.slice(missing)
            group, missing = [], ROW_GROUP
        if rest.num_rows:
            group.append(rest)
            missing -= rest.num_rows
    file.write(encoder.row_group(group))
    file.write(encoder.finish())


def readable(table: pa.Table, escape: Callable[[str], str], *, as_cells: bool = False) -> pa.Table:
    """The table with addresses, MACs and times as text; text that comes from captures goes through ``escape``.

    With ``as_cells``, a list is one text, an array of JSON: whatever its members hold, they can be told apart.
    """
    import json

    import pyarrow as pa
    import pyarrow.compute as pc

    def escaped(column: pa.ChunkedArray) -> pa.Array:
        encoded = column.combine_chunks().dictionary_encode()
        texts = pa.array([escape(text) for text in encoded.dictionary.to_pylist()], pa.string())
        return texts.take(encoded.indices)

    for at, field in enumerate(table.schema):
        column, kind = table.column(at), field.type
        if pa.types.is_dictionary(kind):
            column = column.cast(pa.string())
        if field.name == "tap" or pa.types.is_string(kind):
            column = escaped(column)
        elif pa.types.is_fixed_size_binary(kind):
            as_text = _engine.addresses_as_text if kind.byte_width == 16 else _engine.macs_as_text
            column = as_text(column)
        elif pa.types.is_binary(kind):
            column = pa.array(
                [None if value is None else value.hex() for value in column.to_pylist()], pa.string()
            )
        elif pa.types.is_timestamp(kind):
            column = pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
        elif pa.types.is_list(kind) and as_cells and not pa.types.is_string(kind.value_type):
            joined = pc.binary_join(column.cast(pa.list_(pa.string())), ",")
            column = pc.binary_join_element_wise("[", joined, "]", "")
        elif pa.types.is_list(kind) and as_cells:
            # Text is escaped by JSON itself but for what steers terminals; a cell that begins with a bracket is no formula.
            cells = [
                None
                if row is None
                else json.dumps(
                    [safe(each) if isinstance(each, str) else each for each in row],
                    ensure_ascii=False,
                    separators=(",", ":"),
                )
                for row in column.to_pylist()
            ]
            column = pa.array(cells, pa.string())
        elif pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
            rows = [
                None if row is None else [None if each is None else escape(each) for each in row]
                for row in column.to_pylist()
            ]
            column = pa.array(rows, kind)
        table = table.set_column(at, field.name, column)
    return table
