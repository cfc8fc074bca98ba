"""A result as tables in a folder, and what their columns mean: the same words for Parquet, Arrow and the JSON Schema."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, get_args

from tapsight import _files

if TYPE_CHECKING:
    import pyarrow as pa

    from tapsight._check import Result

TablesFormat = Literal["parquet", "arrow", "csv"]
"""Parquet, Arrow IPC streams, or CSV without what is nested."""

TABLES_FORMATS: tuple[TablesFormat, ...] = get_args(TablesFormat)

ABOUT = {
    "verdicts": "A row a detector and check: what it says, and how much it could judge.",
    "findings": "A row a thing that failed. `id` is what other tables know it by.",
    "excepted": "A row a finding that an exception of the policy covers: what happened, and somebody answers for.",
    "frames": "A row a frame of the evidence of a finding, excepted ones included.",
    "claims": "A row a claim of a detector, also of what it only names. `finding` is the id of the finding that it became, excepted ones included.",
    "calls": "A row a call and tap, and whether it travelled as agreed. `findings` has ids.",
    "taps": "A row a tap, file and interface: what was captured there, and how well.",
    "taps_compared": "A row a class of traffic from one tap to the next: what became of its packets.",
    "flows": "A row a direction of a conversation on one path. Rows with equal keys add up.",
}
"""The tables, and what a row of them is."""

_CHECKED = {
    "check": "Id of the detector or check; `tapsight explain ID` says what it looks for.",
    "severity": "How much it matters.",
    "in_scope": "Packets that there were to judge.",
    "judged": "Packets of these that could be judged.",
    "tap": "Name of the tap.",
    "packets": "Packets concerned; of a copy, those copied.",
    "flows": "Conversations concerned, as far as they are told apart.",
    "first_ts": "Time of the first packet.",
    "last_ts": "Time of the last packet.",
    "traffic": "Class of traffic.",
    "tunnel_id": "VNI, key, TEID or session of the tunnel.",
    "encap": "The stack of encapsulations, outermost first.",
}
"""What columns of several tables mean."""

_VERDICT = "pass, fail or unknown."
_FATES = {
    "lost": "Packets that did not arrive.",
    "inserted": "Packets that were not sent.",
    "modified": "Packets that arrived changed.",
    "readdressed": "Packets that arrived with other addresses or ports.",
    "copied": "Second sightings.",
    "diverted": "Packets that left by another next hop.",
}
COLUMNS: dict[str, dict[str, str]] = {
    "verdicts": {
        "title": "What it asks, in words.",
        "verdict": "pass only if enough could be judged and nothing failed; fail; or unknown.",
        "reason": "Why not all could be judged, or what else to know.",
        "coverage": "judged / in_scope; null where nothing was in scope.",
        "findings": "Findings of it.",
        "ticket": "The note that the policy has for it.",
    },
    "findings": {
        "id": "The same finding has the same id in every run.",
        "detector": "Detector and class that saw it; null if only a policy check did.",
        "check": "The policy check that it fails; null if a detector reports it by itself.",
        "kind": "What it is: copy, diversion, injection, modification, loss, tunnel, implant, signalling or policy.",
        "verdict": "fail.",
        "share_low": "Least share of packets in judged, with 95 % confidence (Wilson).",
        "share_high": "Largest share of packets in judged, with 95 % confidence (Wilson).",
        "exporter": "Address that copies or a tunnel come from.",
        "collector": "Where copies or a tunnel go.",
        "evidence": "Frames that prove it.",
        "attack": "Techniques of MITRE ATT&CK that it points to.",
        "sentence": "What happened, for somebody who does not know the protocols. May hold text from captures.",
    },
    "excepted": {
        "owner": "Who answers for it.",
        "reason": "Why it may be.",
        "expires": "The last day of that.",
    },
    "frames": {
        "finding": "Id of the finding.",
        "file": "The capture; null if that is not known.",
        "frame": "Number of the frame in the file, as Wireshark has it; without a file, in the tap.",
        "role": "Its part: original, copy, mirror, redirected, injected, trigger, answer or offending.",
    },
    "claims": {
        "finding": "Id of the finding that it became; null of what is only named, allowed by the policy, or left out.",
        "detector": "Detector and class.",
        "report": "Whether it is reported, or only named.",
        "kind": "What it is, as of findings.",
        "tap": "Where the original was seen.",
        "copy_tap": "Where the copy was seen.",
        "lag_ns": "How long after the original the copy came, nanoseconds.",
        "exporter": "Who did it: address of 16 bytes.",
        "collector": "Who gains by it: address of 16 bytes.",
        "exporter_mac": "Who did it: MAC address.",
        "collector_mac": "Who gains by it: MAC address.",
        "more_flows": "Whether there were more conversations than are counted, which are not told apart.",
        "subject": "Whose traffic is concerned, where there is one address.",
        "detail": "What else identifies it, as captured.",
        "rewritten_from": "The address that was replaced.",
        "rewritten_to": "The address in its place.",
        "evidence": "Frames that prove it, by their numbers in the tap.",
        "apps": "Applications concerned.",
        "traffic": "Classes of traffic concerned.",
    },
    "calls": {
        "call": "Number of the call in `tapsight calls`.",
        "began": "When it began.",
        "src": "Address that began it, 16 bytes.",
        "dst": "Address that it went to, 16 bytes.",
        "state": "What became of it.",
        "packets": "Packets of its media.",
        "verdict": "fail if anything about it fails, pass if all passes, else unknown.",
        "path": f"Media where the policy wants voice (V2): {_VERDICT}",
        "peers": f"An agreement between its ends (V1, B12): {_VERDICT}",
        "encrypted": f"As was offered and agreed (B16): {_VERDICT}",
        "media": f"Media where signalled (B13, B14): {_VERDICT}",
        "alone": f"Nobody else receives them (A1 to A7): {_VERDICT}",
        "reason": "Why not.",
        "encryption": "How its media are encrypted as last agreed: none, sdes, dtls-srtp or zrtp; null if no agreement was seen.",
        "findings": "Ids of the findings that are of it or name a frame of it, also of those that are told as one of many.",
    },
    "taps": {
        "file": "The capture.",
        "interface": "Name of the interface in it.",
        "link_type": "Link layer.",
        "format": "pcap or pcapng.",
        "compression": "How the file was compressed.",
        "ts_resolution": "Resolution of its times.",
        "snaplen": "Most bytes of a frame that were captured.",
        "frames": "Frames read.",
        "bytes": "Bytes of these frames on the wire.",
        "received": "Frames that the interface says it has received.",
        "dropped": "Frames that the interface says it has dropped; null if it says nothing.",
        "issues": "Frames with malformed or cut headers.",
        "snapped": "Frames captured in part.",
        "warnings": "What was wrong with the capture.",
    },
    "taps_compared": {
        "from_tap": "The tap that packets passed first.",
        "to_tap": "The tap that they passed next.",
        "flows": "Directions of conversations that passed both taps.",
        "judged": "Packets judged.",
        "passed": "Packets that arrived as they were.",
        **_FATES,
        **{
            f"{name}_{end}": f"{which} share of those {name} in judged, with 95 % confidence (Wilson)."
            for name in _FATES
            for end, which in (("low", "Least"), ("high", "Largest"))
        },
        "capture_loss": "Packets that a tap itself has missed.",
        "remarked": "Packets of which DSCP or ECN were rewritten.",
        "delay_p50_ns": "How long half of the packets took at most, nanoseconds.",
        "delay_p99_ns": "How long 99 % of the packets took at most, nanoseconds.",
        "ttl_fall": "By how much their TTL fell, most often: -1 for a rise, 14 for that and more.",
        "both_ways": "Whether packets passed in both directions: else offset and delay cannot be told apart.",
        "offset_ns": "By how much the clock of to_tap was ahead of from_tap's in the beginning, nanoseconds.",
        "offset_uncertainty_ns": "Give or take, nanoseconds; null with one direction.",
        "drift_ppm": "By how much the clock of to_tap gains, microseconds a second.",
        "drift_uncertainty_ppm": "Give or take.",
        "clock_steps": "When a clock jumped, and by how much.",
    },
    "flows": {
        "eth_src": "MAC address that sent them.",
        "eth_dst": "MAC address that they were sent to.",
        "vlan": "Outer VLAN id.",
        "vlan_inner": "Inner VLAN id.",
        "mpls": "MPLS labels, outermost first.",
        "outer_src": "Address that the outermost tunnel comes from, 16 bytes.",
        "outer_dst": "Address that the outermost tunnel goes to, 16 bytes.",
        "ip_version": "Version of the innermost IP.",
        "src": "Innermost source address, 16 bytes, IPv4 as ::ffff:a.b.c.d.",
        "dst": "Innermost destination address, 16 bytes.",
        "protocol": "Protocol of the innermost IP.",
        "src_port": "Source port.",
        "dst_port": "Destination port.",
        "app": "Application.",
        "basis": "What the application rests on: signature, behaviour or port.",
        "flow_id": "The conversation, both directions alike.",
        "tcp_flags": "All flags that were set.",
        "first_ttl": "TTL of the first packet.",
        "last_ttl": "TTL of the last packet.",
        "packets": "Packets.",
        "weak": "Packets too weak or too short to be told from others.",
        "cut": "Packets of which the capture kept only a part.",
        "bytes": "Bytes of the frames.",
        "frames": "Numbers of some of the frames in the tap.",
    },
}
"""What the columns of each table mean, beside those of several tables."""


COLUMNS["excepted"] = {**COLUMNS["findings"], **COLUMNS["excepted"], "verdict": "excepted."}


def described(table: str, column: str) -> str:
    """What a column means."""
    return COLUMNS[table].get(column) or _CHECKED[column]


def tables(result: Result) -> dict[str, pa.Table]:
    """All tables of a result, with what they and their columns mean, and versions, in their metadata."""
    found = {name: getattr(result, name) for name in ABOUT if name not in {"frames", "claims"}}
    made = {**found, "frames": _frames(result), "claims": _claims(result)}
    return {name: _named(made[name], name) for name in ABOUT}


def _named(table: pa.Table, name: str) -> pa.Table:
    import pyarrow as pa

    from tapsight._check import SCHEMA
    from tapsight._core import __version__
    from tapsight.findings import attack

    fields = [field.with_metadata({"description": described(name, field.name)}) for field in table.schema]
    about = {
        "tapsight": __version__,
        "tapsight.schema": str(SCHEMA),
        "tapsight.table": name,
        "tapsight.attack": attack()[0],
        "description": ABOUT[name],
    }
    return pa.table(table.columns, schema=pa.schema(fields, metadata=about))


def _frames(result: Result) -> pa.Table:
    """The evidence of all findings, also of those that are excepted, a row a frame."""
    import polars as pl
    import pyarrow as pa

    frames = (
        pl.concat(
            [pl.DataFrame(each.select(["id", "evidence"])) for each in (result.findings, result.excepted)]
        )
        .explode("evidence")
        .drop_nulls("evidence")
        .unnest("evidence")
        .rename({"id": "finding"})
    )
    text = pa.string()
    schema = pa.schema(
        [
            pa.field("finding", text, nullable=False),
            pa.field("tap", text, nullable=False),
            pa.field("file", text),
            pa.field("frame", pa.uint64(), nullable=False),
            pa.field("role", text, nullable=False),
        ]
    )
    return frames.select(schema.names).to_arrow().cast(schema)


def _claims(result: Result) -> pa.Table:
    """The claims, each with the finding that it became."""
    import pyarrow as pa

    from tapsight.claims import read_claims
    from tapsight.findings import ids_of_claims

    claims = read_claims(result.claims)
    known = {*result.findings["id"].to_pylist(), *result.excepted["id"].to_pylist()}
    ids = [
        id_ if claim.report and id_ in known else None
        for claim, id_ in zip(claims, ids_of_claims(claims), strict=True)
    ]
    return result.claims.add_column(0, pa.field("finding", pa.string()), pa.array(ids, pa.string()))


# --- The folder -------------------------------------------------------------------------------------------------------


def require_room(directory: str | os.PathLike[str]) -> None:
    """Makes sure that nothing would be overwritten.

    Raises:
        OSError: There is something of that name that is not an empty folder, or it cannot be made.
    """
    place = Path(directory)
    if place.is_dir() and not place.is_symlink():
        if any(place.iterdir()):
            raise OSError(errno.ENOTEMPTY, "is not empty, and tables overwrite nothing", str(place))
    elif place.exists() or place.is_symlink():
        raise OSError(errno.ENOTDIR, "is there and no folder of its own", str(place))
    # It is made beside what is there, and told before captures are read for hours.
    above = next(parent for parent in place.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "is no folder that you may write to", str(above))


def write(
    result: Result,
    directory: str | os.PathLike[str],
    form: TablesFormat = "parquet",
    threads: int | None = None,
) -> dict[str, Path]:
    """Writes all tables of a result; see :meth:`tapsight.Result.write_tables`."""
    if form not in TABLES_FORMATS:
        raise ValueError(f"no format is called {form!r}; there are: {', '.join(TABLES_FORMATS)}")
    require_room(directory)
    target = Path(directory).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside it and renamed: nobody sees half of it.
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        for name, table in tables(result).items():
            with (made / f"{name}.{form}").open("xb") as file:
                _write(table, file, form, threads)
        mask = os.umask(0)
        os.umask(mask)
        made.chmod(0o777 & ~mask)
        with contextlib.suppress(FileNotFoundError):
            target.rmdir()
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return {name: Path(directory) / f"{name}.{form}" for name in ABOUT}


def _write(table: pa.Table, file: IO[bytes], form: TablesFormat, threads: int | None) -> None:
    if form == "csv":
        table = _flat(table)
    _files.write_table(iter(table.to_batches()), table.schema, file, form, threads)


def _flat(table: pa.Table) -> pa.Table:
    """The table without what CSV has no place for: a struct becomes columns, lists of structs are left out."""
    import pyarrow as pa

    nested = [
        field.name
        for field in table.schema
        if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type)
    ]
    flat = table.drop_columns(nested).flatten()
    return flat.rename_columns([name.replace(".", "_") for name in flat.column_names])


def empty() -> Mapping[str, pa.Table]:
    """The tables of a result of nothing: their schemas, as the engine makes them."""
    from tapsight import _engine
    from tapsight._check import judge
    from tapsight.policy import Policy

    # A pcap file without packets: magic number of nanoseconds, version 2.4, Ethernet.
    head = bytes.fromhex("4d3cb2a1 0200 0400 00000000 00000000 ffff0000 01000000")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nothing.pcap"
        path.write_bytes(head)
        examined = _engine.examine([("nothing", [str(path)])], window_ns=1, memory=1 << 20)
        result = judge(examined, Policy.loads(""))
    return {name: table.slice(0, 0) for name, table in tables(result).items()}
