"""Captures as tables: every kind of source, every kind of reader, the same rows."""

from __future__ import annotations

import contextlib
import gzip
import ipaddress
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import communityid
import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP  # type: ignore[import-untyped]
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6  # type: ignore[import-untyped]
from scapy.layers.sctp import SCTP  # type: ignore[import-untyped]
from scapy.utils import wrpcap  # type: ignore[import-untyped]

import tapsight
from tapsight import _core, addresses
from tapsight.lab import Implant, Scenario, generate

SCENARIO = Scenario(seconds=4, calls=2, downloads=6, implants=(Implant("mirror"),))


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(SCENARIO, tmp_path_factory.mktemp("open")).outside


@pytest.fixture(scope="session")
def table(capture: Path) -> pa.Table:
    return tapsight.open(capture).to_pyarrow()


def without_tap(table: pa.Table) -> pa.Table:
    return table.drop_columns(["tap"]).combine_chunks().unify_dictionaries()


def test_any_source_gives_the_same_rows(capture: Path, table: pa.Table, tmp_path: Path) -> None:
    data = capture.read_bytes()
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(data))
    sources: list[Any] = [
        str(capture),
        data,
        bytearray(data),
        memoryview(data),
        np.frombuffer(data, np.uint8),
        packed,
    ]
    sources += [[capture], str(capture)[:-6] + "*ng"]
    for codec in ("zstd", "lz4"):
        path = tmp_path / f"a.{codec}"
        with pa.CompressedOutputStream(str(path), codec) as stream:
            stream.write(data)
        sources.append(path)
    for source in sources:
        assert without_tap(tapsight.open(source).to_pyarrow()) == without_tap(table), type(source)


def test_standard_input(capture: Path, table: pa.Table) -> None:
    code = "import tapsight; print(tapsight.open('-', columns=['frame']).to_pyarrow().num_rows)"
    with capture.open("rb") as stream:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=stream, capture_output=True, text=True, check=True
        )
    assert int(done.stdout) == table.num_rows


def test_files_in_order_are_one_stream(capture: Path, table: pa.Table) -> None:
    both = tapsight.open([capture, capture], columns=["frame", "tap"], tap="T").to_polars()
    assert both["frame"].to_list() == list(range(1, 2 * table.num_rows + 1))
    assert both["tap"].unique().to_list() == ["T"]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 65_536])
def test_batch_size_changes_nothing(capture: Path, table: pa.Table, batch_size: int) -> None:
    scan = tapsight.open(capture, batch_size=batch_size)
    batches = list(scan)
    assert all(batch.num_rows == batch_size for batch in batches[:-1])
    assert without_tap(pa.Table.from_batches(batches)) == without_tap(table)


def test_a_scan_can_be_read_again_and_pickled(capture: Path, table: pa.Table) -> None:
    scan = tapsight.open(capture, columns=["frame", "app"])
    copy = pickle.loads(pickle.dumps(scan))
    for again in (scan, scan, copy):
        assert pa.table(again).num_rows == table.num_rows
    assert pl.DataFrame(scan).shape == (table.num_rows, 2)
    assert (
        duckdb.sql("select count(*) from scan where app = 'rtp'").fetchall()
        == duckdb.sql("select count(*) from scan where app = 'rtp'").fetchall()
    )


def test_columns_are_those_asked_for_in_that_order(capture: Path, table: pa.Table) -> None:
    some = tapsight.open(capture, columns=["dst", "ts", "src_port"])
    assert some.schema.names == ["dst", "ts", "src_port"]
    assert some.to_pyarrow() == table.select(["dst", "ts", "src_port"])
    assert some.schema.metadata[b"tapsight.schema_version"] == b"1"
    with pytest.raises(ValueError, match=r"no column .sorce..*there are: frame"):
        tapsight.open(capture, columns=["sorce"])


def test_the_schema_is_known_without_the_file() -> None:
    scan = tapsight.open(["nowhere.pcap"])
    assert pa.schema(scan).names == [
        name for name in tapsight.COLUMNS if name not in ("payload_head", "community_id")
    ]
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pcap"):
        scan.to_pyarrow()


VALUES = {
    "app": ["rtp", "sip", "tls", "dns", "nosuch"],
    "traffic": ["voice-media", "internet"],
    "basis": ["signature", "port"],
    "protocol": [6, 17, 1],
    "src_port": [443, 5060, 53],
    "vlan": [100, 210, 7],
    "ip_version": [4, 6],
    "ttl": [59, 64],
}


@st.composite
def predicates(draw: st.DrawFn) -> pl.Expr:
    def term() -> pl.Expr:
        name = draw(st.sampled_from(sorted(VALUES)))
        column, values = pl.col(name), VALUES[name]
        kind = draw(st.sampled_from(["eq", "in", "ne", "null", "gt"]))
        value = draw(st.sampled_from(values))
        if kind == "in":
            return column.is_in(draw(st.lists(st.sampled_from(values), min_size=1, max_size=3)))
        if kind == "ne":
            return column != value
        if kind == "null":
            return column.is_null()
        if kind == "gt" and isinstance(value, int):
            return column > value
        return column == value

    expression = term()
    for _ in range(draw(st.integers(0, 2))):
        other = term()
        expression = expression & other if draw(st.booleans()) else expression | other
    return expression


@given(predicate=predicates())
@settings(max_examples=60, deadline=None)
def test_pushed_filters_change_nothing(capture: Path, table: pa.Table, predicate: pl.Expr) -> None:
    whole = pl.from_arrow(table)
    assert isinstance(whole, pl.DataFrame)
    lazy = tapsight.scan(capture)
    assert lazy.filter(predicate).collect()["frame"].to_list() == whole.filter(predicate)["frame"].to_list()
    some = lazy.filter(predicate).select("frame", "src").head(3).collect()
    assert some["frame"].to_list() == whole.filter(predicate)["frame"].head(3).to_list()


def test_scan_pushes_columns_rows_and_filters(capture: Path) -> None:
    from tapsight._polars import engine_filters

    lazy = tapsight.scan(capture)
    assert lazy.head(5).select("frame").collect()["frame"].to_list() == [1, 2, 3, 4, 5]
    assert "PROJECT 1/38" in lazy.select("frame").explain()
    predicate = (pl.col("app") == "sip") & pl.col("dst_port").is_in([5060, 5061]) & (pl.col("ttl") > 3)
    assert engine_filters(predicate) == (("app", ("sip",)), ("dst_port", (5060, 5061)))


def test_community_ids_are_those_of_the_reference(tmp_path: Path) -> None:
    pairs = [("192.0.2.1", "198.51.100.2"), ("198.51.100.2", "192.0.2.1"), ("2001:db8::1", "2001:db8::2")]
    frames, wanted = [], []
    make = communityid.FlowTuple
    for src, dst in pairs:
        ip = IPv6(src=src, dst=dst) if ":" in src else IP(src=src, dst=dst)
        for layer, flow in (
            (TCP(sport=443, dport=50000), make.make_tcp(src, dst, 443, 50000)),
            (UDP(sport=53, dport=4000), make.make_udp(src, dst, 53, 4000)),
            (SCTP(sport=2905, dport=2905), make.make_sctp(src, dst, 2905, 2905)),
        ):
            frames.append(ip / layer)
            wanted.append(communityid.CommunityID().calc(flow))
    for kind, code in ((8, 0), (0, 0), (3, 1), (13, 0)):
        frames.append(IP(src=pairs[0][0], dst=pairs[0][1]) / ICMP(type=kind, code=code))
        wanted.append(communityid.CommunityID().calc(make.make_icmp(*pairs[0], kind, code)))
    frames.append(IPv6(src=pairs[2][0], dst=pairs[2][1]) / ICMPv6EchoRequest())
    wanted.append(communityid.CommunityID().calc(make.make_icmp6(*pairs[2], 128, 0)))
    wrpcap(str(tmp_path / "ids.pcap"), frames, linktype=101)
    assert (
        tapsight.open(tmp_path / "ids.pcap", columns=["community_id"]).to_pyarrow()[0].to_pylist() == wanted
    )


@given(values=st.lists(st.one_of(st.none(), st.ip_addresses()), max_size=30))
def test_addresses_are_text_and_back(
    values: list[ipaddress.IPv4Address | ipaddress.IPv6Address | None],
) -> None:
    values = [value for value in values if value is None or value.version == 4 or value.ipv4_mapped is None]
    texts = pa.array([None if value is None else str(value) for value in values], pa.string())
    packed = addresses.from_text(texts)
    assert packed.type == pa.binary(16)
    assert addresses.to_text(packed).to_pylist() == texts.to_pylist()
    series = pl.Series("a", packed)
    assert addresses.to_text(series).to_list() == texts.to_pylist()
    inside = addresses.in_prefixes(packed, ["10.0.0.0/8", "2000::/3"])
    networks = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2000::/3")]
    assert inside.to_pylist() == [
        None if value is None else any(value in network for network in networks) for value in values
    ]


def test_wrong_addresses_are_errors() -> None:
    with pytest.raises(ValueError, match="an address has 16 bytes, not 4"):
        addresses.to_text(pa.array([b"abcd"]))
    with pytest.raises(ValueError, match="is not an IP address"):
        addresses.from_text(pa.array(["192.0.2.256"]))
    with pytest.raises(ValueError, match="bits behind the prefix"):
        addresses.in_prefixes(pa.array([b"\0" * 16]), ["192.0.2.1/24"])
    assert addresses.mac_to_text(pa.array([bytes(range(6)), None])).to_pylist() == ["00:01:02:03:04:05", None]
    assert addresses.mac_from_text(pa.array(["0001.0203.0405"])).to_pylist() == [bytes(range(6))]


def test_what_is_no_capture_is_said_clearly(tmp_path: Path, captures: Path) -> None:
    for name, content in (("empty", b""), ("text", b"hello, this is a text file\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(tapsight.CaptureError, match=name):
            tapsight.open(tmp_path / name).to_pyarrow()
    with pytest.raises(IsADirectoryError):
        tapsight.open(tmp_path).to_pyarrow()
    with pytest.raises(FileNotFoundError, match="no file matches"):
        tapsight.open(str(tmp_path / "*.pcap"))
    with pytest.raises(tapsight.CaptureError, match=r"NetMon.*editcap"):
        tapsight.open(captures / "epiecs__packetlife-backup" / "pcaps__iphttps.cap").to_pyarrow()


def test_damage_found_later_is_a_capture_error_too(capture: Path) -> None:
    data = bytearray(capture.read_bytes())
    data[4:8] = b"\x40\0\0\0"  # the section header's length, which no longer equals its copy
    with pytest.raises(tapsight.CaptureError, match="not a packet capture"):
        tapsight.open(bytes(data)).to_pyarrow()


def test_a_cut_capture_yields_what_is_there(capture: Path, table: pa.Table, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcapng"
    cut.write_bytes(capture.read_bytes()[:200_000])
    with pytest.warns(tapsight.CaptureWarning, match="cut"):
        rows = tapsight.open(cut, columns=["frame", "ts"]).to_pyarrow()
    assert 0 < rows.num_rows < table.num_rows
    assert rows == table.select(["frame", "ts"]).slice(0, rows.num_rows)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no F_SETPIPE_SZ")
def test_a_pipe_holds_more_than_usual(capture: Path) -> None:
    import fcntl

    reader, writer = os.pipe()
    before = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
    code = "import tapsight; print(tapsight.open('-').to_pyarrow().num_rows)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=reader, stdout=subprocess.PIPE) as process:
        os.write(writer, capture.read_bytes()[:24])
        until = time.monotonic() + 60
        while (now := fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)) == before and time.monotonic() < until:
            time.sleep(0.01)
        os.close(writer)
        assert process.communicate()[0] == b"0\n"
    os.close(reader)
    assert now > before


@contextlib.contextmanager
def kept_open(pipe: Path, content: bytes) -> Iterator[None]:
    """A pipe with a name, into which somebody writes this, and does not close it."""
    os.mkfifo(pipe)
    done = threading.Event()

    def write() -> None:
        with pipe.open("wb") as stream:
            stream.write(content)
            stream.flush()
            done.wait(60)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


def test_control_c_ends_a_wait_for_a_pipe(capture: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    code = f"import tapsight; tapsight.open({str(pipe)!r}).to_pyarrow()"
    with kept_open(pipe, capture.read_bytes()[:10_000]):
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
        try:
            time.sleep(1.5)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert b"KeyboardInterrupt" in errors


def test_the_first_rows_of_a_pipe_that_stays_open(tmp_path: Path) -> None:
    # What follows them is asked for, too, and does not come.
    pipe = tmp_path / "pipe"
    code = f"import tapsight; print(tapsight.scan({str(pipe)!r}).head(5).collect().height)"
    with kept_open(pipe, _core.traffic("64-byte", 6000)):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        try:
            assert process.communicate(timeout=50)[0] == b"5\n"
        finally:
            process.kill()
