"""Flows as Suricata's EVE JSON (event type ``flow``) and as Zeek's ``conn.log``, a batch of columns at a time.

Sources: https://docs.suricata.io/en/latest/output/eve/eve-json-format.html ("Event type: Flow") and
https://docs.zeek.org/en/current/scripts/base/protocols/conn/main.zeek.html (type ``Conn::Info``).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

import polars as pl

from tapsight import addresses
from tapsight.formats._zeek import escaped, head

if TYPE_CHECKING:
    import pyarrow as pa

_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "IPv6-ICMP", 132: "SCTP", 47: "GRE", 50: "ESP", 51: "AH"}
"""As /etc/protocols and Suricata write them; others are their number."""
_REASONS = {"idle-timeout": "timeout", "active-timeout": "forced", "end-of-flow": "timeout"}
"""Suricata's words for why a flow ended: ``timeout``, ``forced``, ``shutdown``, ``unknown``."""

ZEEK = {
    "ts": "time",
    "uid": "string",
    "id.orig_h": "addr",
    "id.orig_p": "port",
    "id.resp_h": "addr",
    "id.resp_p": "port",
    "proto": "enum",
    "service": "string",
    "duration": "interval",
    "orig_bytes": "count",
    "resp_bytes": "count",
    "conn_state": "string",
    "orig_pkts": "count",
    "resp_pkts": "count",
    "community_id": "string",
}
"""Names and types, in the order of Zeek's log. ``orig_ip_bytes`` is left out: bytes of flows are those of whole frames."""


def write_eve(batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> None:
    """An event for each flow with addresses, a line each. What is not known is not there."""
    for batch in batches:
        file.write(_without_nulls(_eve(_frame(batch)).write_ndjson().encode()))


def write_zeek(batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> None:
    """A log with a line for each flow with addresses."""
    file.write(("\n".join(head("conn", ZEEK)) + "\n").encode())
    for batch in batches:
        text = _zeek(_frame(batch)).write_csv(
            separator="\t", include_header=False, quote_style="never", null_value="-"
        )
        file.write(text.encode())


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    """The flows that have addresses, those and labels as text."""
    frame = pl.DataFrame(batch).drop_nulls(["src", "dst"])
    labels = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Categorical | pl.Enum)]
    texts = [addresses.to_text(frame[name]).alias(name) for name in ("src", "dst", "outer_src", "outer_dst")]
    macs = [addresses.mac_to_text(frame[name]).alias(name) for name in ("eth_src", "eth_dst")]
    tap = frame["tap"].cast(pl.String)
    known = tap.unique()
    shown = tap.replace_strict(known, pl.Series([escaped(name) for name in known], dtype=pl.String))
    ids = tap.replace_strict(
        known, pl.Series([f"t{zlib.crc32(name.encode()):08x}" for name in known], dtype=pl.String)
    )
    frame = frame.with_columns(pl.col(labels).cast(pl.String))
    return frame.with_columns(*texts, *macs, shown.alias("tap"), ids.alias("tap_id"))


def _time(column: str) -> pl.Expr:
    return pl.col(column).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+0000")


def _eve(flows: pl.DataFrame) -> pl.DataFrame:
    protocol = pl.col("protocol").replace_strict(
        _PROTOCOLS, default=pl.col("protocol").cast(pl.String), return_dtype=pl.String
    )
    is_answered = pl.col("reverse_packets") > 0
    is_over = pl.col("conn_state").is_in(["SF", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH"])
    state = pl.when(is_over).then(pl.lit("closed")).when(is_answered).then(pl.lit("established"))
    return flows.select(
        _time("last_ts").alias("timestamp"),
        pl.col("flow").alias("flow_id"),
        pl.col("tap").alias("in_iface"),
        pl.lit("flow").alias("event_type"),
        pl.when(pl.col("vlans").list.len() > 0).then("vlans").alias("vlan"),
        pl.col("src").alias("src_ip"),
        "src_port",
        pl.col("dst").alias("dest_ip"),
        pl.col("dst_port").alias("dest_port"),
        protocol.alias("proto"),
        pl.col("app").alias("app_proto"),
        "community_id",
        pl.struct(
            pl.col("packets").alias("pkts_toserver"),
            pl.col("reverse_packets").alias("pkts_toclient"),
            pl.col("bytes").alias("bytes_toserver"),
            pl.col("reverse_bytes").alias("bytes_toclient"),
            _time("first_ts").alias("start"),
            _time("last_ts").alias("end"),
            ((pl.col("last_ts") - pl.col("first_ts")).dt.total_seconds()).alias("age"),
            state.otherwise(pl.lit("new")).alias("state"),
            pl.col("end_reason")
            .replace_strict(_REASONS, default=pl.lit("unknown"), return_dtype=pl.String)
            .alias("reason"),
        ).alias("flow"),
        pl.struct(pl.col("eth_src").alias("src_mac"), pl.col("eth_dst").alias("dest_mac")).alias("ether"),
        pl.struct(
            pl.col("outer_src").alias("src_ip"),
            pl.col("outer_dst").alias("dest_ip"),
            pl.col("encap").alias("proto"),
            (pl.col("encap").str.count_matches("/") + 1).alias("depth"),
        ).alias("tunnel"),
    )


_EMPTY = re.compile(rb',"\w+":(?:null|\{\})')
_FIRST = re.compile(rb'\{"\w+":null,?')


def _without_nulls(lines: bytes) -> bytes:
    """The objects without what is null, and without objects that nothing is left of: Suricata leaves those out.

    Quotes inside of text have a backslash before them, so that no text looks like a key.
    """
    lines = _FIRST.sub(b"{", _EMPTY.sub(b"", lines))
    return _EMPTY.sub(b"", lines)


def _zeek(flows: pl.DataFrame) -> pl.DataFrame:
    names = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp"}
    protocol = pl.col("protocol").replace_strict(
        names, default=pl.lit("unknown_transport"), return_dtype=pl.String
    )
    since = pl.col("last_ts") - pl.col("first_ts")

    def seconds(nanoseconds: pl.Expr) -> pl.Expr:
        whole, rest = nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000 // 1000
        return whole.cast(pl.String) + "." + rest.cast(pl.String).str.zfill(6)

    return flows.select(
        seconds(pl.col("first_ts").dt.timestamp("ns")).alias("ts"),
        # Unique within the log, and the same in every run.
        ("C" + pl.col("flow").cast(pl.String) + pl.col("tap_id")).alias("uid"),
        "src",
        pl.col("src_port").fill_null(0),
        "dst",
        pl.col("dst_port").fill_null(0),
        protocol.alias("proto"),
        pl.when(pl.col("basis") != "port").then("app").alias("service"),
        seconds(since.dt.total_nanoseconds()).alias("duration"),
        "payload_bytes",
        "reverse_payload_bytes",
        pl.col("conn_state").fill_null(
            pl.when(pl.col("reverse_packets") > 0).then(pl.lit("SF")).otherwise(pl.lit("S0"))
        ),
        "packets",
        "reverse_packets",
        "community_id",
    )
