"""Hand-made tables in the shape that the engine hands over, for tests of what judges them."""

from __future__ import annotations

import dataclasses
import ipaddress
import zlib
from typing import Any

import pyarrow as pa

from tapsight._check import Result
from tapsight.detectors import DETECTORS

TS = pa.timestamp("ns", "UTC")
SECOND = 1_000_000_000
NOON = 1_767_268_800 * SECOND + 1
"""2026-01-01 12:00:00.000000001 UTC: no whole microseconds, as in captures."""

ADDRESS, MAC, TEXT, COUNT = pa.binary(16), pa.binary(6), pa.string(), pa.uint64()
LABEL, NAME = pa.dictionary(pa.uint8(), TEXT), pa.dictionary(pa.uint16(), TEXT)

FLOWS = pa.schema(
    {
        "tap": NAME,
        **dict.fromkeys(("eth_src", "eth_dst"), MAC),
        **dict.fromkeys(("vlan", "vlan_inner"), pa.uint16()),
        "mpls": pa.list_(pa.uint32()),
        "encap": NAME,
        **dict.fromkeys(("outer_src", "outer_dst"), ADDRESS),
        "tunnel_id": pa.uint32(),
        "ip_version": pa.uint8(),
        **dict.fromkeys(("src", "dst"), ADDRESS),
        "protocol": pa.uint8(),
        **dict.fromkeys(("src_port", "dst_port"), pa.uint16()),
        **dict.fromkeys(("app", "traffic", "basis"), LABEL),
        **dict.fromkeys(("flow_id", "packets", "cut", "bytes"), COUNT),
        "tcp_flags": pa.uint16(),
        **dict.fromkeys(("first_ttl", "last_ttl"), pa.uint8()),
        **dict.fromkeys(("first_ts", "last_ts"), TS),
        "frames": pa.list_(COUNT),
    }
)
CLAIMS = pa.schema(
    {
        "detector": TEXT,
        "report": pa.bool_(),
        **dict.fromkeys(("kind", "severity", "tap", "copy_tap"), TEXT),
        **dict.fromkeys(("packets", "in_scope", "judged"), COUNT),
        **dict.fromkeys(("first_ts", "last_ts"), TS),
        "lag_ns": pa.int64(),
        "encap": TEXT,
        **dict.fromkeys(("exporter", "collector"), ADDRESS),
        **dict.fromkeys(("exporter_mac", "collector_mac"), MAC),
        "tunnel_id": pa.uint32(),
        **dict.fromkeys(("subject", "rewritten_from", "rewritten_to"), ADDRESS),
        "detail": TEXT,
        "flows": COUNT,
        "more_flows": pa.bool_(),
        "evidence": pa.list_(pa.struct({"tap": TEXT, "frame": COUNT, "role": TEXT})),
        **dict.fromkeys(("apps", "traffic"), pa.list_(TEXT)),
    }
)
SCOPES = pa.schema({"check": TEXT, "in_scope": COUNT, "judged": COUNT, "reason": TEXT, "lost": COUNT})
TAPS = pa.schema(
    {
        **dict.fromkeys(("tap", "file", "interface", "link_type"), TEXT),
        **dict.fromkeys(("frames", "bytes"), COUNT),
        **dict.fromkeys(("first_ts", "last_ts"), TS),
        **dict.fromkeys(("received", "dropped", "issues", "snapped"), COUNT),
        "warnings": pa.list_(TEXT),
        **dict.fromkeys(("format", "compression"), TEXT),
        "snaplen": pa.uint32(),
        "ts_resolution": TEXT,
    }
)
COMPARED = pa.schema(
    {
        **dict.fromkeys(("from_tap", "to_tap", "traffic"), TEXT),
        **dict.fromkeys(("flows", "judged", "passed", "lost", "inserted", "modified"), COUNT),
        **dict.fromkeys(("readdressed", "copied", "diverted", "capture_loss", "remarked"), COUNT),
        **dict.fromkeys(("delay_p50_ns", "delay_p99_ns", "offset_ns", "offset_uncertainty_ns"), pa.int64()),
        **dict.fromkeys(("drift_ppm", "drift_uncertainty_ppm"), pa.float64()),
        "both_ways": pa.bool_(),
        "clock_steps": pa.list_(pa.struct({"ts": TS, "step_ns": pa.int64()})),
    }
)
FILES = pa.schema({"file": TEXT, "tap": TEXT, "first_frame": COUNT, "frames": COUNT})


@dataclasses.dataclass
class FakeExamination:
    """What ``_core.examine`` returns, of hand-made rows."""

    claims: pa.Table
    flows: pa.Table
    compared: pa.Table
    scopes: pa.Table
    taps: pa.Table
    files: pa.Table
    calls: tuple[pa.Table, ...] = ()
    call_changes: tuple[pa.Table, ...] = ()
    call_media: tuple[pa.Table, ...] = ()
    media: tuple[pa.Table, ...] = ()
    missing: int = 0
    warnings: list[str] = dataclasses.field(default_factory=list)
    state: bytes | None = None


def table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    def column(field: pa.Field) -> pa.Array:
        values = [row.get(field.name) for row in rows]
        if pa.types.is_dictionary(field.type):
            return pa.array(values, field.type.value_type).dictionary_encode().cast(field.type)
        return pa.array(values, field.type)

    return pa.table([column(field) for field in schema], schema=schema)


def address(text: str | None) -> bytes | None:
    if text is None:
        return None
    value = ipaddress.ip_address(text)
    return b"\0" * 10 + b"\xff\xff" + value.packed if value.version == 4 else value.packed


def mac(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text.replace(":", ""))


def flow(src: str | None = "192.0.2.10", dst: str | None = "203.0.113.10", **other: Any) -> dict[str, Any]:
    """A row of flows; addresses as text."""
    row: dict[str, Any] = {
        "tap": "inside",
        "mpls": [],
        "ip_version": 4,
        "protocol": 17,
        "traffic": "unknown",
        "flow_id": zlib.crc32("".join(sorted([src or "", dst or ""])).encode()),
        "packets": 100,
        "cut": 0,
        "bytes": 10_000,
        "first_ts": NOON,
        "last_ts": NOON + 60 * SECOND,
        "frames": [1, 2],
        "src": src,
        "dst": dst,
        **other,
    }
    return row | {name: address(row.get(name)) for name in ("src", "dst", "outer_src", "outer_dst")}


def sip(src: str, dst: str, **other: Any) -> dict[str, Any]:
    return flow(src, dst, **{"app": "sip", "traffic": "voice-signalling", "basis": "signature", **other})


def rtp(**other: Any) -> dict[str, Any]:
    return flow(**{"app": "rtp", "traffic": "voice-media", "basis": "behaviour", **other})


def claim(detector: str, **other: Any) -> dict[str, Any]:
    """A row of claims; addresses as text."""
    row: dict[str, Any] = {
        "detector": detector,
        "report": True,
        "kind": "copy",
        "severity": "high",
        "tap": "inside",
        "copy_tap": "outside",
        "packets": 9_950,
        "in_scope": 10_000,
        "judged": 9_990,
        "first_ts": NOON,
        "last_ts": NOON + 300 * SECOND,
        "lag_ns": 1_200_000,
        "flows": 12,
        "more_flows": False,
        "evidence": [
            {"tap": "inside", "frame": 12, "role": "original"},
            {"tap": "outside", "frame": 1_014, "role": "copy"},
        ],
        "apps": ["rtp"],
        "traffic": ["voice-media"],
        **other,
    }
    row |= {
        name: address(row.get(name))
        for name in ("exporter", "collector", "subject", "rewritten_from", "rewritten_to")
    }
    return row | {name: mac(row.get(name)) for name in ("exporter_mac", "collector_mac")}


def mirror(detector: str = "A1.encapsulated-sibling", **other: Any) -> dict[str, Any]:
    """A claim of a mirror session from 192.0.2.1 to 198.51.100.7."""
    session = {"encap": "gre/erspan2", "exporter": "192.0.2.1", "collector": "198.51.100.7", "tunnel_id": 17}
    return claim(detector, **{**session, **other})


def tap(name: str = "inside", **other: Any) -> dict[str, Any]:
    return {
        "tap": name,
        "file": f"{name}.pcap",
        "link_type": "ethernet",
        "frames": 1_000,
        "bytes": 100_000,
        "first_ts": NOON,
        "last_ts": NOON + 60 * SECOND,
        "issues": 0,
        "snapped": 0,
        "warnings": [],
        "format": "pcap",
        "snaplen": 262_144,
        "ts_resolution": "1 µs",
        **other,
    }


def scope(
    check: str, in_scope: int = 10_000, judged: int = 10_000, reason: str | None = None, lost: int = 0
) -> dict[str, Any]:
    return {"check": check, "in_scope": in_scope, "judged": judged, "reason": reason, "lost": lost}


def examination(**rows: list[dict[str, Any]]) -> FakeExamination:
    """An examination; the outside tap consists of two files of 1,000 frames each."""
    files = [
        {"file": "inside.pcap", "tap": "inside", "first_frame": 1, "frames": 1_000},
        {"file": "outside-1.pcap", "tap": "outside", "first_frame": 1, "frames": 1_000},
        {"file": "outside-2.pcap", "tap": "outside", "first_frame": 1_001, "frames": 1_000},
    ]
    return FakeExamination(
        claims=table(rows.get("claims", []), CLAIMS),
        flows=table(rows.get("flows", [flow()]), FLOWS),
        compared=table(rows.get("compared", []), COMPARED),
        scopes=table(rows.get("scopes", [scope(id_) for id_ in DETECTORS]), SCOPES),
        taps=table(rows.get("taps", [tap()]), TAPS),
        files=table(rows.get("files", files), FILES),
    )


def verdict(result: Result, check: str) -> dict[str, Any]:
    """The row of a check in the table of verdicts."""
    (row,) = [row for row in result.verdicts.to_pylist() if row["check"] == check]
    return dict(row)


def told(result: Result, check: str) -> tuple[str, int, int, int]:
    """What a check says: its verdict, packets in scope, those judged, findings."""
    return *covered(result, check), verdict(result, check)["findings"]


def covered(result: Result, check: str) -> tuple[str, int, int]:
    """The verdict of a check, packets in scope and those judged."""
    row = verdict(result, check)
    return row["verdict"], row["in_scope"], row["judged"]


def why(result: Result, check: str) -> str:
    """Why a check says so; empty if it does not tell."""
    return verdict(result, check)["reason"] or ""


def sentences(result: Result, check: str) -> list[str]:
    """What a check found."""
    rows = result.findings.select(["check", "sentence"]).to_pylist()
    return [row["sentence"] for row in rows if row["check"] == check]
