"""Evidence: the packets of the captures and no others, as scapy, dpkt and tshark read them."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import dpkt
import pyarrow as pa
import pytest
from conftest import capture_index
from scapy.utils import RawPcapNgReader, RawPcapReader  # type: ignore[import-untyped]
from typer.testing import CliRunner

import tapsight
from tapsight import _engine, _evidence
from tapsight._sources import SourceError
from tapsight.cli import app
from tapsight.findings import finding_schema
from tapsight.lab import Implant, Scenario, generate

SECOND = 1_000_000_000
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@dataclasses.dataclass(frozen=True)
class Seen:
    """A frame as an independent reader has it."""

    data: bytes
    ts: int
    """Nanoseconds."""
    wire_len: int
    link_type: int
    interface: str | None = None
    comment: str | None = None


def read(path: Path) -> list[Seen]:
    """All frames of a capture, by scapy."""
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    file = io.BytesIO(data)
    file.name = path.name  # type: ignore[misc]
    frames = []
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        for frame, meta in RawPcapNgReader(file):
            ticks = meta.tshigh << 32 | meta.tslow
            [comment] = meta.comments or [None]
            frames.append(
                Seen(
                    frame,
                    ticks * SECOND // meta.tsresol,
                    meta.wirelen,
                    meta.linktype,
                    meta.ifname and meta.ifname.decode(),
                    comment and comment.decode(),
                )
            )
        return frames
    reader = RawPcapReader(file)
    unit = 1 if reader.nano else 1000
    return [
        Seen(frame, meta.sec * SECOND + meta.usec * unit, meta.wirelen, reader.linktype)
        for frame, meta in reader
    ]


def tshark(path: Path, *fields: str) -> list[list[str]]:
    """Fields of all frames, by tshark."""
    command = ["tshark", "-n", "-r", str(path), "-o", "frame.generate_md5_hash:TRUE", "-T", "fields"]
    command += [arg for field in fields for arg in ("-e", field)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [line.split("\t") for line in done.stdout.splitlines()]


def section_comment(path: Path) -> tuple[str, str]:
    """The comment and the application of a section header, by dpkt."""
    data = path.read_bytes()
    section = dpkt.pcapng.SectionHeaderBlockLE(data[: struct.unpack_from("<I", data, 4)[0]])
    options = {opt.code: opt.data for opt in section.opts}
    return options[1].decode(), options[4].decode()


def pcap(
    frames: Iterable[tuple[int, bytes]], *, nanos: bool = False, link_type: int = 1, snaplen: int = 262144
) -> bytes:
    """A pcap of times in nanoseconds and frames, each with 4 more bytes on the wire than captured."""
    magic, unit = (0xA1B23C4D, 1) if nanos else (0xA1B2C3D4, 1000)
    out = [struct.pack("<IHHiIII", magic, 2, 4, 0, 0, snaplen, link_type)]
    for ts, frame in frames:
        fields = (ts // SECOND, ts % SECOND // unit, len(frame), len(frame) + 4)
        out.append(struct.pack("<IIII", *fields) + frame)
    return b"".join(out)


def option(code: int, value: bytes) -> bytes:
    return struct.pack(">HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes) -> bytes:
    length = struct.pack(">I", 12 + len(body))
    return struct.pack(">I", kind) + length + body + length


def pcapng(
    interfaces: Sequence[tuple[bytes | None, int, int, int]], frames: Iterable[tuple[int, int, bytes]]
) -> bytes:
    """A pcapng in big-endian order. Interfaces: name, link type, resolution, offset in seconds. Frames: interface, ticks."""
    out = [block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for name, link_type, resolution, offset in interfaces:
        options = option(2, name) if name is not None else b""
        options += option(9, bytes([resolution])) + option(14, struct.pack(">q", offset)) + option(0, b"")
        out.append(block(1, struct.pack(">HHI", link_type, 0, 96) + options))
    for interface, ticks, frame in frames:
        head = struct.pack(">IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame) + 4)
        out.append(block(6, head + frame + bytes(-len(frame) % 4)))
    return b"".join(out)


def udp(n: int, payload: bytes = b"payload of this packet") -> bytes:
    """An IPv4 packet."""
    datagram = struct.pack(">HHHH", 4000 + n, 5000, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), n, 0, 64, 17, 0)
    return head + bytes([192, 0, 2, 1, 192, 0, 2, 2]) + datagram


def ethernet(n: int) -> bytes:
    return bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]) + udp(n)


def finding(
    *evidence: tuple[str, str | None, int, str], id_: str = "0123456789ab", **other: Any
) -> dict[str, Any]:
    """A row of findings; evidence is tap, file, frame and role."""
    keys = ("tap", "file", "frame", "role")
    row: dict[str, Any] = {
        "id": id_,
        "detector": "A9.made-up",
        "kind": "copy",
        "severity": "high",
        "verdict": "fail",
        **dict.fromkeys(("packets", "in_scope", "judged", "flows"), 1),
        **dict.fromkeys(("first_ts", "last_ts"), 0),
        "collector": {},
        "evidence": [dict(zip(keys, each, strict=True)) for each in evidence],
        "attack": ["T1040"],
        "sentence": "Something was copied.",
    }
    return row | other


def with_findings(result: tapsight.Result, *rows: dict[str, Any]) -> tapsight.Result:
    """The result of a check, with findings made by hand."""
    return dataclasses.replace(result, findings=pa.Table.from_pylist(list(rows), schema=finding_schema()))


def run(*args: str | Path) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# --- What a real check finds ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captures of two taps, a mirror session and forked packets in them."""
    folder = tmp_path_factory.mktemp("lab")
    implants = (Implant("mirror", tunnel="erspan2"), Implant("fork"))
    generate(Scenario(implants=implants, seconds=4.0, calls=2, downloads=4), folder)
    return folder


@pytest.fixture(scope="module")
def result(lab: Path) -> tapsight.Result:
    taps = {"inside": str(lab / "inside.pcapng"), "outside": str(lab / "outside.pcapng")}
    result = tapsight.check(taps, policy=lab / "policy.toml")
    assert {"A1.encapsulated-sibling", "A5.forked"} <= set(result.findings["detector"].to_pylist())
    return result


@pytest.fixture(scope="module")
def folder(result: tapsight.Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence")
    result.evidence(folder)
    return folder


def cited(row: dict[str, Any]) -> dict[tuple[str, str, int], set[str]]:
    """The frames of a finding and their roles: tap, file, frame."""
    frames: dict[tuple[str, str, int], set[str]] = {}
    for each in row["evidence"]:
        frames.setdefault((each["tap"], each["file"], each["frame"]), set()).add(each["role"])
    return frames


def test_the_packets_are_those_of_the_captures(result: tapsight.Result, folder: Path) -> None:
    rows = result.findings.select(["id", "detector", "check", "sentence", "evidence"]).to_pylist()
    sources = {path: read(Path(path)) for row in rows for _, path, _ in cited(row)}
    for row in rows:
        path = folder / f"{row['check'] or row['detector']}-{row['id']}.pcapng"
        assert section_comment(path) == (
            f"finding {row['id']}: {row['sentence']}",
            f"tapsight {tapsight.__version__}",
        )
        made = read(path)
        expected = []
        for (tap, file, number), roles in cited(row).items():
            source = sources[file][number - 1]
            place = f"finding {row['id']}; frame {number}; tap {tap}; file {file}"
            comment = f"{', '.join(sorted(roles, reverse=True))}; {place}"
            expected.append(dataclasses.replace(source, interface=tap, comment=comment))
        assert len(made) >= 2
        assert made == sorted(expected, key=lambda frame: (frame.ts, frame.interface))


@needs_tshark
def test_tshark_reads_the_same(result: tapsight.Result, folder: Path) -> None:
    fields = ("frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.md5_hash")
    row = result.findings.select(["id", "detector", "evidence"]).to_pylist()[0]
    sources = {path: tshark(Path(path), *fields) for path in {path for _, path, _ in cited(row)}}
    made = tshark(
        folder / f"{row['detector']}-{row['id']}.pcapng", *fields, "frame.interface_name", "frame.comment"
    )
    expected = []
    for (tap, file, number), roles in cited(row).items():
        place = f"finding {row['id']}; frame {number}; tap {tap}; file {file}"
        expected.append([*sources[file][number - 1][1:], tap, f"{min(roles)}; {place}"])
    assert sorted(line[1:] for line in made) == sorted(expected)
    assert [line[0] for line in made] == [str(number) for number in range(1, len(made) + 1)]
    times = [line[1] for line in made]
    assert times == sorted(times)


def test_the_manifest_says_what_is_there(lab: Path, result: tapsight.Result, folder: Path) -> None:
    def told(path: Path) -> dict[str, Any]:
        data = path.read_bytes()
        return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["tapsight"], manifest["schema"]) == (tapsight.__version__, 1)
    assert manifest["attack"] == result.to_dict()["attack"]
    frames = {tap: len(read(lab / f"{tap}.pcapng")) for tap in ("inside", "outside")}
    assert manifest["inputs"] == [
        {"tap": tap, "file": str(lab / f"{tap}.pcapng"), "frames": frames[tap], **told(lab / f"{tap}.pcapng")}
        for tap in ("inside", "outside")
    ]
    places = {"file": str(lab / "places.csv"), **told(lab / "places.csv")}
    assert manifest["policy"] == {
        "file": str(lab / "policy.toml"),
        **told(lab / "policy.toml"),
        "places": [places],
    }
    others = sorted(set(contents(folder)) - {"manifest.json", "SHA256SUMS"})
    assert manifest["outputs"] == [{"file": name, **told(folder / name)} for name in others]
    by_id = {row["id"]: row for row in result.findings.drop_columns(["first_ts", "last_ts"]).to_pylist()}
    assert [each["id"] for each in manifest["findings"]] == list(by_id)
    for each in manifest["findings"]:
        row = by_id[each["id"]]
        for key in ("detector", "check", "kind", "severity", "attack", "sentence", "packets"):
            assert each[key] == row[key]
        made = read(folder / each["file"])
        assert each["left_out"] == 0
        assert "zeroed" not in each
        assert [frame["number"] for frame in each["frames"]] == list(range(1, len(made) + 1))
        for frame, seen in zip(each["frames"], made, strict=True):
            assert frame["role"] in cited(row)[frame["tap"], frame["file"], frame["frame"]]
            assert (frame["captured"], frame["length"]) == (len(seen.data), seen.wire_len)
            assert frame["time"].endswith(f".{seen.ts % SECOND:09d}Z")
            assert frame["zeroed_from"] is None


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sums_are_verified_as_the_readme_says(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "handed on"
    shutil.copytree(folder, copy)
    assert "    sha256sum -c SHA256SUMS\n" in (copy / "README.txt").read_text()
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True)
    named = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    assert named == set(contents(copy)) - {"SHA256SUMS"}
    (copy / "manifest.json").write_text("{}")
    assert subprocess.run(command, cwd=copy, capture_output=True, check=False).returncode == 1


def test_the_command_of_the_manifest_makes_the_same_bytes(result: tapsight.Result, tmp_path: Path) -> None:
    ids = result.findings["id"].to_pylist()[:2]
    manifest = result.evidence(tmp_path / "a", findings=[ids[1], ids[0]], max_frames=5, zero_payload=True)
    program, *args = shlex.split(manifest["command"])
    assert program == "tapsight"
    args[args.index("DIR")] = str(tmp_path / "b")
    done = run(*args)
    assert done.exit_code == 1
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert [each["id"] for each in manifest["findings"]] == ids
    assert len(done.stdout.splitlines()) == 2
    assert str(tmp_path / "b" / manifest["findings"][0]["file"]) in done.stdout


def test_check_writes_evidence_beside_its_report(
    lab: Path, result: tapsight.Result, folder: Path, tmp_path: Path
) -> None:
    taps = [f"{tap}={lab / tap}.pcapng" for tap in ("inside", "outside")]
    args = ["--policy", lab / "policy.toml", "--format", "json"]
    done = run("check", *taps, *args, "--evidence", tmp_path / "e")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == result.to_dict()
    assert contents(tmp_path / "e") == contents(folder)


def test_a_report_is_written_whatever_becomes_of_evidence(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    report = tmp_path / "e" / "report.json"
    args = ["check", lab / "inside.pcapng", "--evidence", tmp_path / "e", "-o"]
    assert run(*args, report).exit_code in {0, 1}
    assert {"report.json", "SHA256SUMS"} < set(contents(tmp_path / "e"))
    shutil.rmtree(tmp_path / "e")
    monkeypatch.setattr(_evidence, "_readme", broken)
    done = run(*args, tmp_path / "report.json")
    assert (done.exit_code, done.stderr) == (2, "tapsight: [Errno 28] No space left on device\n")
    assert json.loads((tmp_path / "report.json").read_text())["verdicts"]


# --- Payloads ---------------------------------------------------------------------------------------------------------


def payload_offset(frame: bytes) -> int | None:
    """Where the payload of an Ethernet frame begins, by the header lengths that dpkt reads; none if it reads none."""
    at = 12
    while frame[at : at + 2] in {b"\x81\x00", b"\x88\xa8"}:
        at += 4
    at += 2
    try:
        if frame[at - 2 : at] == b"\x08\x00":
            ip = dpkt.ip.IP(frame[at:])
            at += ip.hl << 2
            if ip.offset or ip.mf:
                return at if ip.offset else None
        elif frame[at - 2 : at] == b"\x86\xdd":
            ip = dpkt.ip6.IP6(frame[at:])
            at += 40
            if ip.nxt not in {6, 17, 58}:
                return None
        elif frame[at - 2 : at] == b"\x08\x06":
            arp = dpkt.arp.ARP(frame[at:])
            return at + 28 if (arp.hrd, arp.pro, arp.hln, arp.pln) == (1, 0x0800, 6, 4) else at
        else:
            return None
    except dpkt.UnpackError:
        return None
    match ip.data:
        case dpkt.tcp.TCP() as tcp:
            return at + (tcp.off << 2)
        case dpkt.udp.UDP() | dpkt.icmp.ICMP():
            return at + 8
        case dpkt.icmp6.ICMP6() as icmp6:
            # Length 0 is that of a packet that is yet to be cut into segments.
            whole = ip.plen or len(frame) - at
            return at + (whole if icmp6.type in {133, 134, 135, 136} and icmp6.code == 0 else 4)
        case dpkt.gre.GRE() if ip.data.p == 0x88BE:  # with a sequence number, then ERSPAN II: 8 bytes each
            inside = payload_offset(frame[at + 16 :])
            return at + 16 + inside if inside is not None else None
        case _:
            return None


def test_zeroed_payloads_begin_where_dpkt_says(lab: Path, result: tapsight.Result, tmp_path: Path) -> None:
    # Every frame of both captures, by themselves and mirrored.
    sources = {tap: read(lab / f"{tap}.pcapng") for tap in ("inside", "outside")}
    every = [
        (tap, str(lab / f"{tap}.pcapng"), number, "original")
        for tap, frames in sources.items()
        for number in range(1, len(frames) + 1)
    ]
    all_of_it = with_findings(result, finding(*every))
    manifest = all_of_it.evidence(tmp_path, max_frames=len(every), zero_payload=True)
    [row] = manifest["findings"]
    offsets = set()
    for frame, after in zip(row["frames"], read(tmp_path / row["file"]), strict=True):
        before = sources[frame["tap"]][frame["frame"] - 1]
        at = payload_offset(before.data)
        assert at is not None
        zeroed = before.data[:at] + bytes(len(before.data) - at)
        assert (after.data, after.ts, after.wire_len) == (zeroed, before.ts, before.wire_len)
        assert frame["zeroed_from"] == at
        offsets.add(at)
    assert len(row["frames"]) == len(every)
    assert len(offsets) >= 6
    assert "set to zero" in row["zeroed"]
    assert "set to zero" in (tmp_path / "README.txt").read_text()
    assert manifest["options"]["zero_payload"] is True


def test_payloads_of_real_frames_begin_where_dpkt_says(captures: Path) -> None:
    compared = 0
    for row in capture_index():
        if row["link_type"] != "ether (1)" or int(row["packets"] or 0) > 3000:
            continue
        path = str(captures / row["file"])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", tapsight.CaptureWarning)
                packets = tapsight.open(path, columns=["encap", "mpls", "issue"]).to_pyarrow()
                tables = _engine.extract(path, range(1, len(packets) + 1), tap="t", zero_payload=True)
                ours = pa.concat_tables(tables)["zeroed_from"].to_pylist() if len(packets) else []
                plain = _engine.extract(path, range(1, len(packets) + 1), tap="t", zero_payload=False)
                frames = pa.concat_tables(plain)["data"].to_pylist() if len(packets) else []
        except (OSError, ValueError):
            continue
        columns = (packets[name].to_pylist() for name in ("encap", "mpls", "issue"))
        for at, frame, encap, mpls, issue in zip(ours, frames, *columns, strict=True):
            # What is only captured in part, or is wrong, the two may read differently; dpkt knows few tunnels.
            if not encap and not mpls and issue is None and (expected := payload_offset(frame)) is not None:
                assert at == expected, path
                compared += 1
    assert compared > 50_000


# --- Kinds of captures ------------------------------------------------------------------------------------------------


def test_one_interface_of_a_file_with_several(tmp_path: Path) -> None:
    # Times of one are told in nanoseconds, of the other in microseconds and from a day after 1970; the third has no name.
    frames = [
        (
            n % 3,
            [5 * SECOND + n, 5_000_000 + n, 5 * 1024 + n][n % 3],
            [ethernet(n), udp(n), ethernet(n)][n % 3],
        )
        for n in range(1, 31)
    ]
    interfaces = [(b"eth0", 1, 9, 0), (b"tun0", 101, 6, 86_400), (None, 1, 0x8A, 0)]
    path = tmp_path / "both.pcapng"
    path.write_bytes(pcapng(interfaces, frames))
    checked = tapsight.check(f"router={path}")
    taps = ["router/eth0", "router/tun0", "router/2"]
    assert sorted(checked.taps["tap"].to_pylist()) == sorted(taps)
    evidence = [(taps[n % 3], str(path), n, f"role {n}") for n in (30, 3, 4, 5, 1, 17)]
    manifest = with_findings(checked, finding(*evidence)).evidence(tmp_path / "e")
    made = read(tmp_path / "e" / manifest["findings"][0]["file"])
    sources = read(path)
    times = {
        n: [5 * SECOND + n, 86_405 * SECOND + n * 1000, (5 * 1024 + n) * SECOND // 1024][n % 3]
        for n in range(31)
    }
    order = sorted((30, 3, 4, 5, 1, 17), key=times.__getitem__)
    assert [(seen.data, seen.wire_len, seen.link_type) for seen in made] == [
        (sources[n - 1].data, sources[n - 1].wire_len, [1, 101, 1][n % 3]) for n in order
    ]
    assert [seen.ts for seen in made] == [times[n] for n in order]
    assert [seen.interface for seen in made] == [taps[n % 3] for n in order]
    assert [frame["frame"] for frame in manifest["findings"][0]["frames"]] == order


@pytest.mark.parametrize("layout", ["one file with two interfaces", "rotated and compressed"])
def test_what_a_check_finds_in_them(layout: str, lab: Path, tmp_path: Path) -> None:
    seen = {tap: read(lab / f"{tap}.pcapng") for tap in ("inside", "outside")}
    # Where each frame is: capture and number, by tap and number in the lab's own capture.
    places: dict[tuple[str, int], tuple[str, int]] = {}
    if layout == "rotated and compressed":
        sources: Any = {"inside": str(lab / "inside.pcapng"), "outside": []}
        places |= {("inside", n): (sources["inside"], n) for n in range(1, len(seen["inside"]) + 1)}
        for part, first in enumerate(range(0, len(seen["outside"]), 10)):
            frames = seen["outside"][first : first + 10]
            path = tmp_path / f"out{part:03}.pcap.gz"
            path.write_bytes(gzip.compress(pcap(((frame.ts, frame.data) for frame in frames), nanos=True)))
            sources["outside"].append(str(path))
            places |= {("outside", first + n): (str(path), n) for n in range(1, len(frames) + 1)}
        taps = {"inside": "inside", "outside": "outside"}
    else:
        path = tmp_path / "both.pcapng"
        sources = {"router": str(path)}
        every = [(frame.ts, tap, n, frame) for tap in seen for n, frame in enumerate(seen[tap], 1)]
        every.sort(key=lambda each: each[:3])
        interfaces = [(tap.encode(), 1, 9, 0) for tap in seen]
        numbers = {tap: number for number, tap in enumerate(seen)}
        path.write_bytes(pcapng(interfaces, ((numbers[tap], ts, frame.data) for ts, tap, _, frame in every)))
        places |= {(tap, n): (str(path), at) for at, (_, tap, n, _) in enumerate(every, 1)}
        taps = {"inside": "router/inside", "outside": "router/outside"}
    names = {name: tap for tap, name in taps.items()}
    back = {(file, n): key for key, (file, n) in places.items()}
    manifest = tapsight.check(sources).evidence(tmp_path / "e")
    [mirror] = [row for row in manifest["findings"] if row["detector"] == "A1.encapsulated-sibling"]
    roles = set()
    for frame, made in zip(mirror["frames"], read(tmp_path / "e" / mirror["file"]), strict=True):
        tap, n = back[frame["file"], frame["frame"]]
        assert tap == names[frame["tap"]]
        assert (made.data, made.ts, made.interface) == (seen[tap][n - 1].data, seen[tap][n - 1].ts, taps[tap])
        # A copy is in GRE, protocol 47, and its original is not.
        assert (dpkt.ethernet.Ethernet(made.data).data.p == 47) == (frame["role"] == "copy")
        roles.add(frame["role"])
    assert roles == {"original", "copy"}
    assert layout != "rotated and compressed" or len({frame["file"] for frame in mirror["frames"]}) > 2


def test_rotated_files_in_all_formats_are_one_tap(tmp_path: Path) -> None:
    def frames(first: int) -> list[tuple[int, bytes]]:
        return [(1_700_000_000 * SECOND + 1000 * n + n % 1000, ethernet(n)) for n in range(first, first + 10)]

    files = {
        "1.pcap": pcap(frames(1)),
        "2.pcap.gz": gzip.compress(pcap(frames(11), nanos=True)),
        "3.pcap": pcap([], nanos=True),
        "4.pcap.zst": pa.compress(pcap(frames(21), nanos=True), codec="zstd", asbytes=True),
        "5.pcap.lz4": pa.compress(pcap(frames(31)), codec="lz4", asbytes=True),
        "6.pcapng": pcapng([(None, 1, 9, 0)], [(0, ts, frame) for ts, frame in frames(41)]),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    checked = tapsight.check({"out": [str(tmp_path / name) for name in files]})
    cited = [(name, number) for name in files if name != "3.pcap" for number in (10, 1)]
    evidence = [("out", str(tmp_path / name), number, "original") for name, number in cited]
    manifest = with_findings(checked, finding(*evidence)).evidence(tmp_path / "e")
    made = read(tmp_path / "e" / manifest["findings"][0]["file"])
    expected = []
    for at, name in enumerate(name for name in files if name != "3.pcap"):
        for number in (1, 10):
            ts, frame = frames(1 + 10 * at)[number - 1]
            ts = ts // 1000 * 1000 if name in {"1.pcap", "5.pcap.lz4"} else ts
            place = f"frame {number}; tap out; file {tmp_path / name}"
            comment = f"original; finding 0123456789ab; {place}"
            expected.append(Seen(frame, ts, len(frame) + 4, 1, "out", comment))
    assert made == expected
    assert [(each["file"], each["frames"]) for each in manifest["inputs"]] == [
        (str(tmp_path / name), 0 if name == "3.pcap" else 10) for name in files
    ]
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert {Path(each["file"]).name: each["sha256"] for each in manifest["inputs"]} == sums


def test_files_of_one_tap_with_two_link_types(tmp_path: Path) -> None:
    (tmp_path / "1.pcap").write_bytes(pcap([(1000, ethernet(1))], snaplen=100))
    (tmp_path / "2.pcap").write_bytes(pcap([(2000, udp(2))], link_type=101, snaplen=40))
    (tmp_path / "3.pcap").write_bytes(pcap([(3000, ethernet(3))], snaplen=200))
    paths = [str(tmp_path / f"{n}.pcap") for n in (1, 2, 3)]
    checked = tapsight.check({"t": paths})
    row = finding(*(("t", path, 1, "original") for path in paths))
    manifest = with_findings(checked, row).evidence(tmp_path / "e")
    path = tmp_path / "e" / manifest["findings"][0]["file"]
    assert [(seen.link_type, seen.interface) for seen in read(path)] == [(1, "t"), (101, "t"), (1, "t")]
    with RawPcapNgReader(str(path)) as reader:
        list(reader)
        snaplens = [(link_type, snaplen) for link_type, snaplen, _ in reader.interfaces]
    # The greatest of the sources; the second holds a frame longer than it says.
    assert snaplens == [(1, 200), (101, len(udp(2)))]


@needs_tshark
def test_times_before_1970(tmp_path: Path) -> None:
    path = tmp_path / "old.pcapng"
    path.write_bytes(
        pcapng([(b"eth0", 1, 9, -10)], [(0, 3 * SECOND + 7, ethernet(1)), (0, 12 * SECOND, ethernet(2))])
    )
    row = finding(*(("old.pcapng/eth0", str(path), n, "original") for n in (1, 2)))
    manifest = with_findings(tapsight.check(str(path)), row).evidence(tmp_path / "e")
    made = tshark(tmp_path / "e" / manifest["findings"][0]["file"], "frame.time_epoch")
    assert made == tshark(path, "frame.time_epoch")
    assert made[1] == ["2.000000000"]
    assert manifest["findings"][0]["frames"][0]["time"] == "1969-12-31T23:59:53.000000007Z"


@needs_tshark
def test_checksums_at_the_end_of_frames_stay_known(tmp_path: Path) -> None:
    # 4 bytes of FCS in the upper bits of the link type: draft-ietf-opsawg-pcap, section 4.
    data = bytearray(pcap([(1000, ethernet(1) + bytes(4))]))
    data[36:40] = data[32:36]  # nothing of it is left out of the capture
    data[20:24] = struct.pack("<I", 1 | 0x0400_0000 | 2 << 28)
    (tmp_path / "a.pcap").write_bytes(data)
    row = finding(("a.pcap", str(tmp_path / "a.pcap"), 1, "original"))
    manifest = with_findings(tapsight.check(str(tmp_path / "a.pcap")), row).evidence(tmp_path / "e")
    made = tshark(tmp_path / "e" / manifest["findings"][0]["file"], "eth.fcs", "frame.protocols")
    assert made == tshark(tmp_path / "a.pcap", "eth.fcs", "frame.protocols")
    assert made[0][0] == "0x00000000"


def erspan_captures() -> list[str]:
    return [row["file"] for row in capture_index() if "erspan" in row["tags"].split(",")]


@pytest.mark.parametrize("name", erspan_captures() or [None])
def test_real_mirror_sessions(name: str | None, captures: Path, tmp_path: Path) -> None:
    assert name is not None
    path = captures / name
    checked = tapsight.check(str(path))
    assert "A2" in [str(each)[:2] for each in checked.claims["detector"].to_pylist()]
    assert checked.findings.num_rows > 0
    manifest = checked.evidence(tmp_path / "e")
    source = read(path)
    for each, row in zip(
        manifest["findings"], checked.findings.select(["evidence"]).to_pylist(), strict=True
    ):
        made = read(tmp_path / "e" / each["file"])
        numbers = {frame["frame"] for frame in row["evidence"]}
        assert {frame["frame"] for frame in each["frames"]} == numbers
        for frame, seen in zip(each["frames"], made, strict=True):
            before = source[frame["frame"] - 1]
            assert (seen.data, seen.ts, seen.wire_len, seen.link_type, seen.interface) == (
                before.data,
                before.ts,
                before.wire_len,
                before.link_type,
                frame["tap"],
            )


# --- Limits, names, errors --------------------------------------------------------------------------------------------


@pytest.fixture
def checked(tmp_path: Path) -> tapsight.Result:
    """Twenty frames, nothing found in them."""
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([(n * SECOND, ethernet(n)) for n in range(1, 21)]))
    return tapsight.check(f"t={path}")


def test_a_cap_keeps_the_first_and_says_how_many_it_left_out(
    checked: tapsight.Result, tmp_path: Path
) -> None:
    file = str(tmp_path / "a.pcap")
    cited = [("t", file, n, role) for n in (9, 2, 5, 7) for role in ("original", "copy")]
    manifest = with_findings(checked, finding(*cited)).evidence(tmp_path / "e", max_frames=3)
    [each] = manifest["findings"]
    assert [(frame["frame"], frame["role"]) for frame in each["frames"]] == [
        (2, "original, copy"),
        (5, "original, copy"),
        (9, "original, copy"),
    ]
    assert each["left_out"] == 1
    assert len(read(tmp_path / "e" / each["file"])) == 3
    with pytest.raises(_evidence.EvidenceError, match="max_frames is 0"):
        checked.evidence(tmp_path / "f", max_frames=0)


def test_names_from_captures_go_nowhere(tmp_path: Path) -> None:
    evil = "../../x\x1b[2J\n\u202e" + "y" * 3000
    path = tmp_path / "a b\n\x1b[31m=.pcapng"
    path.write_bytes(pcapng([(evil.encode(), 1, 9, 0)], [(0, 1, ethernet(1))]))
    checked = tapsight.check(f"t={path}")
    ids = ["../../etc/passwd", "..", "", "con\n", "A/b", "a_B", "x" * 300, "\u00e9\u202e"]
    evidence = (f"t/{evil}", str(path), 1, "copy\n\x1b]0;x\x07")
    rows = [finding(evidence, id_=id_, sentence="Some\x1b[2J\nthing.") for id_ in ids]
    rows += [finding(evidence, id_=id_, detector=None, check="../..") for id_ in ("..", "README", "readme")]
    manifest = with_findings(checked, *rows).evidence(tmp_path / "e" / "f")
    assert {path.name for path in tmp_path.iterdir()} == {path.name, "e"}
    assert {path.name for path in (tmp_path / "e").iterdir()} == {"f"}
    names = [each["file"] for each in manifest["findings"]]
    assert len({name.casefold() for name in names}) == len(rows)
    assert set(contents(tmp_path / "e/f")) == {*names, "README.txt", "manifest.json", "SHA256SUMS"}
    for name in names:
        assert name.isascii() and len(name) < 120 and name[0].isalnum()
        assert set(name) <= {*"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-"}
        [seen] = read(tmp_path / "e/f" / name)
        assert seen.data == ethernet(1)
        for text in (seen.comment, seen.interface, *section_comment(tmp_path / "e/f" / name)):
            assert text is not None and text.isprintable()
        assert seen.interface is not None and len(seen.interface) < 300
    for name in ("README.txt", "manifest.json", "SHA256SUMS"):
        assert (tmp_path / "e/f" / name).read_text().replace("\n", "").isprintable()
    # All of it is in the manifest, as JSON.
    assert manifest["findings"][0]["frames"][0]["tap"] == f"t/{evil}"
    assert json.loads((tmp_path / "e/f/manifest.json").read_text()) == manifest


def test_a_comment_longer_than_an_option_is_cut(checked: tapsight.Result, tmp_path: Path) -> None:
    row = finding(("t", str(tmp_path / "a.pcap"), 1, "copy"), sentence="\u00e9" * 40_000)
    manifest = with_findings(checked, row).evidence(tmp_path / "e")
    path = tmp_path / "e" / manifest["findings"][0]["file"]
    assert [seen.data for seen in read(path)] == [ethernet(1)]
    text, _ = section_comment(path)
    assert text == "finding 0123456789ab: " + "\u00e9" * (len(text) - 22)
    assert 65_000 < len(text.encode()) < 65_536


def test_nothing_is_found_and_nothing_located(checked: tapsight.Result, tmp_path: Path) -> None:
    manifest = checked.evidence(tmp_path / "none")
    assert manifest["findings"] == []
    assert set(contents(tmp_path / "none")) == {"README.txt", "manifest.json", "SHA256SUMS"}
    row = finding(("elsewhere", None, 3, "copy"))
    manifest = with_findings(checked, row).evidence(tmp_path / "lost")
    [each] = manifest["findings"]
    assert (each["file"], each["frames"]) == (None, [])
    assert each["not_found"] == [{"role": "copy", "tap": "elsewhere", "file": None, "frame": 3}]


def test_nothing_is_overwritten(
    checked: tapsight.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_nothing(*_: Any, **__: Any) -> Any:
        raise AssertionError("captures are read")

    full, file, empty = tmp_path / "full", tmp_path / "file", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "notes").write_text("mine")
    file.write_text("mine")
    for place, words in [(full, "is not empty"), (file, "no directory"), (file / "below", "no directory")]:
        with pytest.raises(_evidence.EvidenceError, match=words):
            checked.evidence(place)
        with monkeypatch.context() as patch:
            patch.setattr(_engine, "examine", read_nothing)
            for args in (
                ["evidence", tmp_path / "a.pcap", "--out"],
                ["check", tmp_path / "a.pcap", "--evidence"],
            ):
                done = run(*args, place)
                assert (done.exit_code, done.stdout) == (2, "")
                assert words in done.stderr
                assert len(done.stderr.splitlines()) == 1
    assert (contents(full), file.read_text()) == ({"notes": b"mine"}, "mine")
    checked.evidence(empty)
    checked.evidence(tmp_path / "new" / "folder")
    assert contents(empty) == contents(tmp_path / "new" / "folder")


def test_what_fails_leaves_nothing_behind(
    checked: tapsight.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    row = finding(("t", str(tmp_path / "a.pcap"), 1, "copy"))
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(_evidence, "_readme", broken)
    for place in (empty, tmp_path / "new"):
        with pytest.raises(OSError, match="No space"):
            with_findings(checked, row).evidence(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pcap", "empty"]
    assert contents(empty) == {}


def test_captures_that_changed_since_are_refused(checked: tapsight.Result, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    good = path.read_bytes()
    with path.open("ab") as file:
        file.write(good[24:])
    with pytest.raises(_evidence.EvidenceError, match=r"a\.pcap has changed since it was checked"):
        checked.evidence(tmp_path / "e")
    path.unlink()
    with pytest.raises((_evidence.EvidenceError, FileNotFoundError)):
        checked.evidence(tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_frames_that_are_not_there_are_no_evidence(checked: tapsight.Result, tmp_path: Path) -> None:
    for tap, number in (("t", 21), ("other", 1)):
        row = finding((tap, str(tmp_path / "a.pcap"), number, "copy"))
        with pytest.raises(_evidence.EvidenceError, match="has changed"):
            with_findings(checked, row).evidence(tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_two_taps_of_one_name_are_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "1.pcapng", tmp_path / "2.pcap"
    one.write_bytes(pcapng([(b"eth0", 1, 9, 0)], [(0, 1, ethernet(1))]))
    other.write_bytes(pcap([(1000, ethernet(2))]))
    checked = tapsight.check({"r": str(one), "r/eth0": str(other)})
    with pytest.raises(_evidence.EvidenceError, match="other names"):
        with_findings(checked, finding(("r/eth0", str(one), 1, "copy"))).evidence(tmp_path / "e")


def test_input_that_can_be_read_once_is_refused_before_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_nothing(*_: Any, **__: Any) -> Any:
        raise AssertionError("captures are read")

    monkeypatch.setattr(_engine, "examine", read_nothing)
    os.mkfifo(tmp_path / "pipe")
    for source in ("-", f"t={tmp_path / 'pipe'}"):
        for args in (["evidence", source, "--out"], ["check", source, "--evidence"]):
            done = run(*args, tmp_path / "e")
            assert (done.exit_code, done.stdout) == (2, "")
            assert "can be read only once" in done.stderr
            assert "write the capture to a file first" in done.stderr
    assert not (tmp_path / "e").exists()


def test_evidence_of_standard_input_is_refused_afterwards_too(tmp_path: Path) -> None:
    code = "import sys, tapsight; tapsight.check('-').evidence(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "e")]
    done = subprocess.run(command, input=pcap([(1, ethernet(1))]), capture_output=True, check=False)
    assert b"SourceError: standard input can be read only once" in done.stderr
    assert issubclass(SourceError, ValueError)


def test_an_unknown_finding_names_those_there_are(checked: tapsight.Result, tmp_path: Path) -> None:
    with pytest.raises(tapsight.EvidenceError, match="no finding 1234: there is none"):
        checked.evidence(tmp_path / "e", findings=["1234"])
    row = finding(("t", str(tmp_path / "a.pcap"), 1, "copy"))
    with pytest.raises(tapsight.EvidenceError, match=r"no finding 0123456789aa.*0123456789ab"):
        with_findings(checked, row).evidence(tmp_path / "e", findings=["0123456789aa"])


def test_captures_that_could_not_be_read_are_told(checked: tapsight.Result, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no capture")
    done = run(
        "evidence",
        tmp_path / "a.pcap",
        tmp_path / "notes.txt",
        tmp_path / "none.pcap",
        "--out",
        tmp_path / "e",
    )
    assert done.exit_code == 2
    manifest = json.loads((tmp_path / "e/manifest.json").read_text())
    assert len(manifest["problems"]) == 2
    frames = {Path(each["file"]).name: each["frames"] for each in manifest["inputs"]}
    assert frames == {"a.pcap": 20, "notes.txt": None}


def test_no_command_where_none_says_the_same(checked: tapsight.Result, tmp_path: Path) -> None:
    path = str(tmp_path / "a.pcap")
    assert shlex.split(checked.evidence(tmp_path / "1")["command"] or "")[-1] == f"t={path}"
    for number, (sources, options) in enumerate(
        [({"x/y": path}, {}), (path, {"memory": 1_000_000}), (path, {"policy": tapsight.Policy()})]
    ):
        manifest = tapsight.check(sources, **options).evidence(tmp_path / f"no{number}")
        assert manifest["command"] is None
        assert "with tapsight.check in Python" in (tmp_path / f"no{number}" / "README.txt").read_text()
    assert manifest["policy"] == {"file": None, "size": None, "sha256": None}


def test_zeroing_without_evidence_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap([(1, ethernet(1))]))
    done = run("check", tmp_path / "a.pcap", "--zero-payload")
    assert done.exit_code == 2
    assert "--evidence DIR" in done.stderr
