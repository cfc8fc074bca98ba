"""Tables of a result: read back by Polars, DuckDB and pyarrow, joined by the ids of findings."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import examination, flow, mirror, tap
from typer.testing import CliRunner

import tapsight
from tapsight import _tables
from tapsight._check import judge, plain_rows
from tapsight.cli import app
from tapsight.lab import Implant, Scenario, generate
from tapsight.policy import Policy


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tapsight.Result:
    files = generate(
        Scenario(implants=(Implant("mirror", only="voice"),)),
        tmp_path_factory.mktemp("lab"),
    )
    return tapsight.check({"inside": str(files.inside), "outside": str(files.outside)}, policy=files.policy)


@pytest.fixture(scope="module")
def folder(lab: tapsight.Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tables") / "parquet"
    assert lab.write_tables(place) == {name: place / f"{name}.parquet" for name in _tables.ABOUT}
    return place


def test_what_is_read_back_is_what_there_was(lab: tapsight.Result, folder: Path) -> None:
    for name, table in lab.tables().items():
        assert pq.read_table(folder / f"{name}.parquet").num_rows == table.num_rows
        read = pl.read_parquet(folder / f"{name}.parquet")
        assert read.columns == table.column_names
        plain = [
            column for column in read.columns if not isinstance(read.schema[column], pl.Categorical | pl.Enum)
        ]
        assert read.select(plain).equals(pl.DataFrame(table).select(plain))
        (rows,) = duckdb.sql(f"select count(*) from '{folder / name}.parquet'").fetchall()
        assert rows == (table.num_rows,)
    for name in ("verdicts", "findings", "taps", "taps_compared", "flows"):
        assert lab.tables()[name].column_names == getattr(lab, name).column_names


def test_metadata_say_versions_and_what_columns_mean(folder: Path) -> None:
    for name in _tables.ABOUT:
        read = pq.read_schema(folder / f"{name}.parquet")
        assert read.metadata[b"tapsight"].decode() == tapsight.__version__
        assert read.metadata[b"tapsight.schema"] == b"1"
        assert read.metadata[b"tapsight.table"].decode() == name
        assert all(field.metadata[b"description"] for field in read)


def test_ids_of_findings_join_the_tables(lab: tapsight.Result, folder: Path) -> None:
    def sql(text: str) -> list[Any]:
        return duckdb.sql(
            text.format(
                *[
                    f"{folder}/{name}.parquet"
                    for name in ("findings", "frames", "claims", "calls", "verdicts")
                ]
            )
        ).fetchall()

    # Each frame of the evidence is there once.
    frames = sum(len(row["evidence"]) for row in plain_rows(lab.findings))
    assert sql("select count(*) from '{0}' f join '{1}' e on e.finding = f.id") == [(frames,)]
    # Each finding of a detector alone rests on a claim, with the same packets; a mirror session of A2 is told as A1's.
    rows = sql(
        "select f.id, f.detector, f.packets, c.detector, c.packets from '{0}' f join '{2}' c on c.finding = f.id"
    )
    alone = {row["id"] for row in plain_rows(lab.findings) if row["check"] is None}
    assert {row[0] for row in rows} == alone
    for _, detector, packets, of, claimed in rows:
        assert (of, claimed) == (detector, packets) or (detector[:2], of[:2]) == ("A1", "A2")
    assert sql("select count(*) from '{2}' where finding is not null and not report") == [(0,)]


def test_calls_name_the_findings_that_are_of_them(tmp_path: Path) -> None:
    """Media that are redirected: the calls of the finding that says so are those that fail by it."""
    files = generate(Scenario(implants=(Implant("media-redirect"),)), tmp_path)
    taps = {"inside": str(files.inside), "outside": str(files.outside)}
    result = tapsight.check(taps, policy=files.policy)
    written = result.write_tables(tmp_path / "tables")
    text = "select distinct c.tap, c.call from (select *, unnest(findings) id from '{}') c join '{}' f using (id) where f.check like 'B14%'"
    rows = duckdb.sql(text.format(written["calls"], written["findings"])).fetchall()
    failed = {(row["tap"], row["call"]) for row in plain_rows(result.calls) if row["media"] == "fail"}
    assert set(rows) == failed
    assert failed


def test_arrow_streams(lab: tapsight.Result, tmp_path: Path) -> None:
    for name, path in lab.write_tables(tmp_path / "arrow", "arrow").items():
        with path.open("rb") as file:
            read = pa.ipc.open_stream(file).read_all()
        assert read.schema.metadata[b"tapsight.table"].decode() == name
        assert read.num_rows == pl.read_ipc_stream(path).height == lab.tables()[name].num_rows


def test_text_of_captures_is_as_it_is_but_in_csv(tmp_path: Path) -> None:
    evil = '=cmd|"/c"!A1,\x1b[31m\u202e'
    claims = [mirror(tap=evil, copy_tap=evil, evidence=[{"tap": evil, "frame": 1, "role": "copy"}])]
    rows = {"claims": claims, "taps": [tap(evil, warnings=[evil])], "flows": [flow(tap=evil)]}
    result = judge(examination(**rows), Policy.loads(""))
    written = result.write_tables(tmp_path / "parquet")
    assert pl.read_parquet(written["taps"])["tap"].to_list() == [evil]
    assert pl.read_parquet(written["frames"])["tap"].to_list() == [evil]
    for path in result.write_tables(tmp_path / "csv", "csv").values():
        text = path.read_bytes().decode()
        assert not set(text) & set("\x1b\u202e")
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
        assert not [cell for cell in cells if cell[:1] in {"=", "@"}]
    (row,) = csv.DictReader((tmp_path / "csv" / "findings.csv").read_text("utf-8").splitlines())
    assert row["collector_encap"] == "gre/erspan2"
    assert row["exporter"] == plain_rows(result.findings)[0]["exporter"]


def test_nothing_is_overwritten_and_nothing_is_left_half(
    lab: tapsight.Result, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OSError, match="overwrite nothing"):
        lab.write_tables(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(folder)
    for name in ("file", "link"):
        with pytest.raises(OSError, match="no folder of its own"):
            lab.write_tables(tmp_path / name)
    with pytest.raises(OSError, match="no folder that you may write to"):
        lab.write_tables(tmp_path / "file" / "within")
    with pytest.raises(ValueError, match="no format"):
        lab.write_tables(tmp_path / "new", "xlsx")  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    assert all(path.is_file() for path in lab.write_tables(tmp_path / "empty").values())

    written = []

    def full(*_: Any) -> None:
        written.append(1)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(_tables, "_write", full)
    with pytest.raises(OSError, match="No space"):
        lab.write_tables(tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "link"]


def test_a_result_of_nothing(tmp_path: Path) -> None:
    result = judge(examination(taps=[]), None)
    for path in result.write_tables(tmp_path / "tables").values():
        pl.read_parquet(path)
    for path in result.write_tables(tmp_path / "csv", "csv").values():
        assert path.read_bytes()


def test_the_command(tmp_path: Path) -> None:
    files = generate(Scenario(calls=1), tmp_path)
    out = tmp_path / "tables"
    arguments = ["check", str(files.inside), "-q", "--tables", str(out), "-o", str(tmp_path / "result.json")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    verdicts = json.loads((tmp_path / "result.json").read_text())["verdicts"]
    assert pl.read_parquet(out / "verdicts.parquet").to_dicts() == verdicts
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert f"{out}: is not empty, and tables overwrite nothing" in again.output


def test_what_is_excepted_has_its_frames_and_claims(tmp_path: Path) -> None:
    claims = [mirror(evidence=[{"tap": "outside", "frame": 7, "role": "copy"}])]
    bare = judge(examination(claims=claims), Policy.loads(""))
    (id_,) = bare.findings["id"].to_pylist()
    exception = (
        f'[[exceptions]]\ncheck = "A1"\nid = "{id_}"\nowner = "noc"\nreason = "CHG-1"\nexpires = 9999-12-31\n'
    )
    result = judge(examination(claims=claims), Policy.loads(exception))
    assert (result.findings.num_rows, result.excepted["id"].to_pylist()) == (0, [id_])
    tables = result.tables()
    assert tables["frames"]["finding"].to_pylist() == [id_]
    assert tables["claims"]["finding"].to_pylist() == [id_]
