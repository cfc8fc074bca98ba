"""Tables as Parquet: what others read back is what was written."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tapsight
from tapsight import _core
from tapsight._files import ROW_GROUP, write_parquet

LABEL = pa.dictionary(pa.uint16(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("frame", pa.uint64(), nullable=False),
        pa.field("ts", pa.timestamp("ns", "UTC"), metadata={"description": "when"}),
        pa.field("label", LABEL),
        pa.field("address", pa.binary(16)),
        pa.field("labels", pa.list_(pa.uint32())),
        pa.field("names", pa.list_(pa.string())),
        pa.field("parts", pa.list_(pa.struct([("name", pa.string()), ("count", pa.int64())]))),
        pa.field("text", pa.string()),
        pa.field("share", pa.float64()),
        pa.field("is_it", pa.bool_()),
        pa.field("nothing", pa.binary(6)),
    ],
    metadata={"tapsight.schema": "7"},
)


def batch(rows: range) -> pa.RecordBatch:
    """Rows with all kinds of values, and with none now and then."""

    def some(value: object, row: int, each: int) -> object:
        return None if row % each == 0 else value

    columns = [
        pa.array(rows, pa.uint64()),
        pa.array([some(1_767_268_800_000_000_001 + row, row, 7) for row in rows], SCHEMA.field("ts").type),
        pa.array([some(f"label {row % 300}", row, 5) for row in rows], LABEL),
        pa.array([some((row % 40).to_bytes(16, "big"), row, 3) for row in rows], pa.binary(16)),
        pa.array([some([row, row + 1][: row % 3], row, 4) for row in rows], pa.list_(pa.uint32())),
        pa.array([some([None, "a\0b"][: row % 3], row, 6) for row in rows], pa.list_(pa.string())),
        pa.array(
            [some([{"name": None, "count": row}][: row % 2], row, 8) for row in rows],
            SCHEMA.field("parts").type,
        ),
        pa.array([some("é" * (row % 9), row, 2) for row in rows], pa.string()),
        pa.array([some(row / 3, row, 9) for row in rows], pa.float64()),
        pa.array([some(row % 2 == 1, row, 11) for row in rows], pa.bool_()),
        pa.nulls(len(rows), pa.binary(6)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


BATCHES = [batch(range(400)), batch(range(400, 401)), batch(range(500, 500)), batch(range(401, 1000))]


def written(batches: list[pa.RecordBatch], schema: pa.Schema = SCHEMA, threads: int | None = None) -> bytes:
    file = io.BytesIO()
    write_parquet(batches, schema, file, threads)
    return file.getvalue()


def values(table: pa.Table) -> list[dict[str, object]]:
    """All values as Python has them; times, which it has no nanoseconds for, as numbers."""
    at = table.schema.get_field_index("ts")
    return table.set_column(at, "ts", table["ts"].cast(pa.int64())).to_pylist()


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "t.parquet").write_bytes(written(BATCHES))
    return str(tmp_path / "t.parquet")


def test_arrow_reads_what_was_written(path: str) -> None:
    read = pq.read_table(path)
    assert read.schema.equals(SCHEMA, check_metadata=True)
    assert values(read) == values(pa.Table.from_batches(BATCHES))


def test_polars_and_duckdb_read_it(path: str) -> None:
    rows = pa.Table.from_batches(BATCHES)
    assert pl.read_parquet(path).drop("ts").to_dicts() == rows.drop_columns("ts").to_pylist()
    assert pl.read_parquet(path)["ts"].to_physical().to_list() == rows["ts"].cast(pa.int64()).to_pylist()
    # DuckDB has no times of nanoseconds with a zone.
    columns = "frame, label, address, labels, names, parts, text, share, is_it, nothing"
    read = duckdb.sql(f"select {columns} from '{path}' order by frame").to_arrow_table()
    assert read.to_pylist() == rows.drop_columns("ts").to_pylist()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_bytes_do_not_depend_on_threads(threads: int) -> None:
    assert written(BATCHES, threads=threads) == written(BATCHES)


def test_tables_without_rows_and_columns() -> None:
    for schema in (SCHEMA, pa.schema([])):
        read = pq.read_table(io.BytesIO(written([], schema)))
        assert (read.num_rows, read.schema.names) == (0, schema.names)


def test_metadata_are_there_for_readers_without_arrow() -> None:
    assert pq.read_metadata(io.BytesIO(written(BATCHES))).metadata[b"tapsight.schema"] == b"7"


def test_packets_come_in_row_groups_with_bounds_of_times_and_labels() -> None:
    packets = tapsight.open(_core.traffic("imix", ROW_GROUP + 10_000), threads=2)
    file = io.BytesIO(written(list(packets), packets.schema))
    read = pq.read_table(file)
    assert read.schema.equals(packets.schema, check_metadata=True)
    few = pa.array(range(0, read.num_rows, 97))
    assert values(read.take(few)) == values(packets.to_pyarrow().take(few))
    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [ROW_GROUP, 10_000]
    columns = {
        column.path_in_schema: column for column in map(groups[1].column, range(groups[1].num_columns))
    }
    bounds = columns["frame"].statistics
    assert (bounds.min, bounds.max) == (ROW_GROUP + 1, ROW_GROUP + 10_000)
    assert columns["app"].statistics.has_min_max
    assert columns["ts"].statistics.has_min_max
    assert columns["src"].statistics is None
    assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_what_goes_wrong_is_told_and_ends_it() -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield BATCHES[0]
        raise RuntimeError("the source broke")

    file = io.BytesIO()
    with pytest.raises(RuntimeError, match="the source broke"):
        write_parquet(broken(), SCHEMA, file)
    with pytest.raises(pa.ArrowInvalid):
        pq.read_table(io.BytesIO(file.getvalue()))

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_parquet(BATCHES, SCHEMA, Full())
    with pytest.raises(ValueError, match="a batch with other columns"):
        written([pa.RecordBatch.from_pydict({"frame": ["text"]})])


def test_columns_in_another_order_are_not_taken_for_each_other() -> None:
    schema = pa.schema([("src", pa.binary(2)), ("dst", pa.binary(2))])
    batch = pa.RecordBatch.from_pydict({"dst": [b"to"], "src": [b"of"]}, pa.schema(list(schema)[::-1]))
    with pytest.raises(ValueError, match="dst, src"):
        written([batch], schema)


def test_large_batches_and_slices_make_row_groups_of_one_size() -> None:
    schema = pa.schema([("frame", pa.uint64()), ("is_it", pa.bool_()), ("label", LABEL)])
    count = 2 * ROW_GROUP + 5
    columns = [
        pa.array(range(count), pa.uint64()),
        pa.array([None if row % 3 == 0 else row % 2 == 0 for row in range(count)]),
        pa.array([f"label {row % 1000}" for row in range(count)], LABEL),
    ]
    table = pa.table(columns, schema)
    for most in (None, 100_003):
        file = pq.ParquetFile(io.BytesIO(written(table.to_batches(most), schema)))
        groups = [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)]
        assert groups == [ROW_GROUP, ROW_GROUP, 5]
        assert file.read().to_pydict() == table.to_pydict()


def test_an_encoder_ends_once() -> None:
    finished = _core.ParquetEncoder(SCHEMA)
    finished.finish()
    # Without the rows of what failed, no file must come out.
    failed = _core.ParquetEncoder(SCHEMA)
    failed.row_group([BATCHES[0]])
    with pytest.raises(ValueError, match="record batch"):
        failed.row_group([pa.array([1])])
    for encoder in (finished, failed):
        with pytest.raises(ValueError, match="has ended"):
            encoder.row_group([BATCHES[0]])
        with pytest.raises(ValueError, match="has ended"):
            encoder.finish()
