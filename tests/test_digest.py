"""Several processes make digests of captures, and one check over those says what it would say of the captures."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import capture_index, nanoseconds
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.l2 import Ether
from test_state import plain
from typer.testing import CliRunner

import tapsight
from tapsight._sources import SourceError
from tapsight.cli import app

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")

TABLES = ("verdicts", "findings", "taps", "flows", "claims", "taps_compared")


def assert_same(ours: tapsight.Result, whole: tapsight.Result) -> None:
    for table in TABLES:
        assert getattr(ours, table).equals(getattr(whole, table)), table
    assert ours.answers == whole.answers


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tapsight", *args], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def digests(rotated: list[dict[str, str]]) -> dict[str, list[str]]:
    """A digest of each part of each tap, all made at once by processes of their own."""
    made: dict[str, list[str]] = {tap: [] for tap in rotated[0]}
    processes = []
    for part, tap in itertools.product(rotated, made):
        path = f"{part[tap]}.digest"
        args = [
            sys.executable,
            "-m",
            "tapsight",
            "digest",
            f"{tap}={part[tap]}",
            "-o",
            path,
            "--threads",
            "1",
        ]
        processes.append(subprocess.Popen(args, stdout=subprocess.DEVNULL))
        made[tap].append(path)
    assert [process.wait() for process in processes] == [0] * len(processes)
    return made


@pytest.fixture(scope="module")
def whole(rotated: list[dict[str, str]]) -> tapsight.Result:
    result = tapsight.check({tap: [part[tap] for part in rotated] for tap in rotated[0]})
    # Copies, and calls whose media only earlier frames tell.
    assert result.findings.num_rows >= 2
    assert "rtp" in result.flows["app"].to_pylist()
    return result


def test_what_several_processes_have_read(digests: dict[str, list[str]], whole: tapsight.Result) -> None:
    # In any order, and by the names that they were given when they were made.
    every = [digests["inside"][2], *digests["outside"], *digests["inside"][:2], digests["inside"][3]]
    result = tapsight.check(every)
    assert sorted(tap for tap in result.taps["tap"].to_pylist()) == ["inside", "outside"]
    in_order = tapsight.check({tap: digests[tap] for tap in ("inside", "outside")})
    assert_same(in_order, whole)
    assert result.answers == whole.answers
    assert result.findings["sentence"].to_pylist() == whole.findings["sentence"].to_pylist()


def test_threads_and_captures_among_digests(
    rotated: list[dict[str, str]],
    digests: dict[str, list[str]],
    whole: tapsight.Result,
) -> None:
    for threads in (1, 4):
        some = {
            tap: [rotated[number][tap] if number % 2 else digests[tap][number] for number in range(4)]
            for tap in digests
        }
        assert_same(tapsight.check(some, threads=threads), whole)


def test_a_day_at_a_time(digests: dict[str, list[str]], whole: tapsight.Result, tmp_path: Path) -> None:
    state = tmp_path / "state"
    for number in range(4):
        last = tapsight.check([digests[tap][number] for tap in ("inside", "outside")], state=state)
    copied, diverted, _ = last.answers
    assert copied == whole.answers[0]
    # Of calls only those of the last run are known, and of these nothing could be judged.
    assert diverted.answer == "cannot tell"
    assert all(id_ in diverted.because for id_ in ("B12", "B13", "B14"))
    assert plain(last.claims) == plain(whole.claims)
    assert plain(last.flows) == plain(whole.flows)
    assert last.findings["evidence"].to_pylist() == whole.findings["evidence"].to_pylist()
    with pytest.raises(SourceError, match=r"inside-0\.pcap: the saved state knows it already"):
        tapsight.check(digests["inside"][0], state=state)


def test_evidence_is_cut_from_the_captures(
    rotated: list[dict[str, str]],
    digests: dict[str, list[str]],
    whole: tapsight.Result,
    tmp_path: Path,
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    manifest = tapsight.check(digests).evidence(ours)
    whole.evidence(theirs)
    packets = sorted(path.name for path in ours.glob("*.pcapng"))
    assert packets
    for name in packets:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert {each["digest"] for each in manifest["inputs"]} == {
        path for made in digests.values() for path in made
    }
    assert manifest["command"].endswith(" ".join(f"{tap}={path}" for tap in digests for path in digests[tap]))
    # Where the captures have gone, beside the digest will do, and nothing else.
    moved = tmp_path / "moved"
    moved.mkdir()
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(Path(rotated[0]["outside"]).read_bytes())
    made = tapsight.digest(f"outside={capture}", moved / "a.digest")
    capture.rename(moved / "capture.pcap")
    result = tapsight.check(made.path)
    assert result.evidence(tmp_path / "beside")["inputs"][0]["file"] == str(capture)
    with (moved / "capture.pcap").open("ab") as file:
        file.write(b"more")
    with pytest.raises(
        SourceError,
        match=r"which .*a\.digest has not, and .*capture\.pcap, which it is of, is not there or has changed",
    ):
        result.evidence(tmp_path / "changed")
    assert not (tmp_path / "changed").exists()
    # Nor the same length and beginning: of 100 KB or more, one byte of the last frame is another.
    long = tmp_path / "long.pcap"
    frames = [
        bytes(ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=1 + n // 2) / UDP() / (b"z" * 900))
        for n in range(120)
    ]
    long.write_bytes(nanoseconds([(10**18 + n, frame) for n, frame in enumerate(frames)]))
    made = tapsight.digest({"a": str(long)}, tmp_path / "long.digest")
    result = tapsight.check(made.path)
    manifest = result.evidence(tmp_path / "long")
    assert manifest["inputs"][0]["sha256"] == hashlib.sha256(long.read_bytes()).hexdigest()
    data = bytearray(long.read_bytes())
    data[-1] ^= 1
    long.write_bytes(data)
    with pytest.raises(
        tapsight.EvidenceError, match=r"long\.pcap is not what .*long\.digest was made of: it has changed"
    ):
        tapsight.check(made.path).evidence(tmp_path / "long-changed")


def test_evidence_of_a_later_day(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    """A state tells of captures of earlier days, of which there is no evidence any more; of this day's there is."""
    for number, part in enumerate(rotated):
        result = tapsight.check(part, state=tmp_path / "state")
        manifest = result.evidence(tmp_path / f"day{number}")
        assert [each["file"] for each in manifest["inputs"]] == list(part.values())
    assert {each["file"] for row in manifest["findings"] for each in row["frames"]} <= set(
        rotated[-1].values()
    )
    earlier = {each["file"] for row in manifest["findings"] for each in row.get("not_found", ())}
    assert earlier & {path for part in rotated[:-1] for path in part.values()}


def test_what_lies_on_both_sides_of_a_cut(tmp_path: Path) -> None:
    """A datagram in three fragments, each in another file: only the first has ports."""
    datagram = (
        ETHER / IP(src="192.0.2.1", dst="198.51.100.1", id=7) / UDP(sport=5060, dport=5062) / (b"x" * 3000)
    )
    parts = []
    for number, piece in enumerate(fragment(datagram, fragsize=1480)):
        path = tmp_path / f"part-{number}.pcap"
        path.write_bytes(nanoseconds([(10**18 + number, bytes(piece))]))
        tapsight.digest({"tap": str(path)}, f"{path}.digest")
        parts.append(f"{path}.digest")
    assert len(parts) == 3
    flows = tapsight.check(parts).flows
    assert flows.select(["src_port", "dst_port", "packets"]).to_pylist() == [
        {"src_port": 5060, "dst_port": 5062, "packets": 3}
    ]
    # The last two by themselves are of no known port.
    assert tapsight.check(parts[1:]).flows["src_port"].to_pylist() == [None]


def test_taps_keep_their_interfaces(tmp_path: Path) -> None:
    """A pcapng file of two interfaces, made by hand after draft-ietf-opsawg-pcapng sections 4.1 to 4.3."""

    def block(kind: int, body: bytes) -> bytes:
        length = (12 + len(body)).to_bytes(4, "little")
        return kind.to_bytes(4, "little") + length + body + length

    section = block(0x0A0D0D0A, bytes.fromhex("4d3c2b1a01000000") + b"\xff" * 8)
    interfaces = b"".join(
        block(1, bytes.fromhex("0100000000000000") + b"\x02\0\x04\0" + name + b"\0" * 4)
        for name in (b"eth0", b"eth1")
    )
    frame = bytes(
        ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=9) / UDP(sport=1000, dport=2000) / (b"y" * 58)
    )
    assert len(frame) == 100
    packets = b"".join(
        block(6, struct.pack("<5I", number, 0, number, 100, 100) + frame) for number in range(2)
    )
    capture = tmp_path / "two.pcapng"
    capture.write_bytes(section + interfaces + packets)
    made = tapsight.digest(f"a={capture}", tmp_path / "a.digest")
    assert (made.tap, made.captures, made.packets, made.warnings) == ("a", (str(capture),), 2, ())
    assert tapsight.check(made.path).taps["tap"].to_pylist() == ["a/eth0", "a/eth1"]
    assert tapsight.check(f"b={made.path}").taps["tap"].to_pylist() == ["b/eth0", "b/eth1"]
    assert_same(tapsight.check(f"b={made.path}"), tapsight.check(f"b={capture}"))


@pytest.mark.parametrize("row", capture_index()[::9], ids=lambda row: row.get("file") or str(row))
def test_real_captures_in_three_parts(row: dict[str, str], captures: Path, tmp_path: Path) -> None:
    path = captures / next(iter(row.values()))
    data = path.read_bytes()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}.get(data[:4])
    if order is None:
        # Of another format: whole.
        made = tapsight.digest(f"tap={path}", tmp_path / "whole.digest")
        assert_same(tapsight.check({"tap": made.path}), tapsight.check({"tap": str(path)}))
        return
    records, at = [], 24
    while at + 16 <= len(data):
        length = struct.unpack_from(f"{order}I", data, at + 8)[0]
        records.append(data[at : at + 16 + length])
        at += 16 + length
    third = -(-len(records) // 3)
    if third == 0:
        pytest.skip("no packets")
    parts, digests = [], []
    for start in range(0, len(records), third):
        part = tmp_path / f"{start}.pcap"
        part.write_bytes(data[:24] + b"".join(records[start : start + third]))
        parts.append(str(part))
        digests.append(tapsight.digest(f"tap={part}", f"{part}.digest", threads=1).path)
    assert_same(tapsight.check({"tap": digests}), tapsight.check({"tap": parts}))


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_a_capture_is_not_read_twice(
    digests: dict[str, list[str]], rotated: list[dict[str, str]], tmp_path: Path
) -> None:
    capture, made = rotated[0]["inside"], digests["inside"][0]
    for both in ([capture, made], {"a": capture, "b": made}, [made, f"b={capture}"]):
        with pytest.raises(
            SourceError, match=r"inside-0\.pcap.* one capture: every packet would look like a copy"
        ):
            tapsight.check(both)
    again = tapsight.digest(f"other={capture}", tmp_path / "again.digest")
    with pytest.raises(
        SourceError, match=r"\(in .*inside-0\.pcap\.digest\) and .*\(in .*again\.digest\) are one capture"
    ):
        tapsight.check([made, again.path])


def test_digests_that_cannot_be_used(digests: dict[str, list[str]], tmp_path: Path) -> None:
    good, other = Path(digests["inside"][0]).read_bytes(), digests["outside"][0]
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    for bad, words in (
        (good[:-1], "this digest is cut off"),
        (good[: len(good) // 2], "this digest is cut off"),
        (good[:20], "this digest is cut off"),
        (bytes(changed), "this digest is damaged: make it again"),
        (good + good, "something follows the end of this digest"),
        (good[:17] + b"9" + good[18:], r"was made by version 9\S+, and this is \S+: make it again"),
        (good[:17] + b"\x1b" + good[18:], r"was made by version \\u\{1b\}"),
    ):
        path = tmp_path / "bad.digest"
        path.write_bytes(bad)
        with pytest.raises(SourceError, match=words):
            tapsight.check(str(path))
        # The rest is examined without it, and said to be incomplete.
        result = tapsight.check([str(path), other])
        assert result.exit_code == 2
        assert len(result.problems) == 1
        assert "bad.digest: " in result.problems[0]
        assert result.taps["tap"].to_pylist() == ["outside"]


def test_where_digests_do_not_belong(
    digests: dict[str, list[str]], rotated: list[dict[str, str]], tmp_path: Path
) -> None:
    made = digests["inside"][0]
    with pytest.raises(SourceError, match=r"is a digest: name the captures"):
        tapsight.digest(made, tmp_path / "b.digest")
    with pytest.raises(ValueError, match=r"not a packet capture: it is a digest"):
        tapsight.scan(made).collect()
    with pytest.raises(
        SourceError, match=r"a digest is of one tap, and these are captures of 2 \(inside, outside\)"
    ):
        tapsight.digest(rotated[0], tmp_path / "b.digest")
    capture = rotated[0]["inside"]
    with pytest.raises(SourceError, match=r"say which tap .*inside-0\.pcap is of, as in inside="):
        tapsight.digest(capture, tmp_path / "b.digest")
    with pytest.raises(SourceError, match=r"is one of the captures"):
        tapsight.digest(f"a={capture}", capture)
    with pytest.raises(SourceError, match=r"missing\.pcap: No such file"):
        tapsight.digest(f"a={tmp_path / 'missing.pcap'}", tmp_path / "b.digest")
    with pytest.raises(SourceError, match="nowhere"):
        tapsight.digest(f"a={capture}", tmp_path / "nowhere" / "b.digest")
    noise = tmp_path / "noise.pcap"
    noise.write_bytes(b"no capture at all" * 9)
    for captures in ([str(noise)], [capture, str(noise)]):
        with pytest.raises(SourceError, match=r"noise\.pcap: not a packet capture"):
            tapsight.digest({"a": captures}, tmp_path / "b.digest")
    assert [path.name for path in tmp_path.iterdir()] == ["noise.pcap"]


def test_a_digest_is_not_read_twice_either(digests: dict[str, list[str]]) -> None:
    made = digests["inside"][0]
    with pytest.raises(SourceError, match=r"inside-0\.pcap\.digest is named twice"):
        tapsight.check([made, made])


def test_links_are_written_through(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    """As /dev/stdout is one, and not to be replaced by a file."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    tapsight.digest(f"inside={rotated[0]['inside']}", link)
    assert link.is_symlink() and target.read_bytes().startswith(b"tapsight digest\n")
    state, link = tmp_path / "state", tmp_path / "linked-state"
    link.symlink_to(state)
    tapsight.check(rotated[0], state=link)
    assert link.is_symlink() and state.read_bytes().startswith(b"tapsight state")


def test_a_reader_that_has_seen_enough(rotated: list[dict[str, str]]) -> None:
    command = [sys.executable, "-m", "tapsight", "digest", f"inside={rotated[0]['inside']}", "-o", "-", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141  # 128 + SIGPIPE


@pytest.mark.parametrize("threads", ["1", "2"])
def test_nothing_is_left_of_what_was_ended(tmp_path: Path, threads: str) -> None:
    endings = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    # What whoever started the tests has it ignore (nohup), a program that they start ignores, too.
    for ending in [ending for ending in endings if signal.getsignal(ending) != signal.SIG_IGN]:
        command = [sys.executable, "-m", "tapsight", "digest", "a=-", "-o", "a.digest", "--threads", threads]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
        ) as process:
            assert process.stdin is not None
            process.stdin.write(nanoseconds([(10**18, b"x" * 60)]))
            process.stdin.flush()
            while not any(tmp_path.iterdir()):
                assert process.poll() is None
            time.sleep(0.2)
            # One that comes just before a read that waits is seen when that ends: people press again.
            for _ in range(30):
                process.send_signal(ending)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
                    break
            assert process.returncode == 128 + ending
        assert list(tmp_path.iterdir()) == []


def test_standard_output_that_is_closed(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    command = f"{sys.executable} -m tapsight digest inside={rotated[0]['inside']} -o - >&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (2, "tapsight: standard output is closed: name a file with -o\n")


def test_names_in_a_digest_cannot_steer_a_terminal(tmp_path: Path) -> None:
    capture = tmp_path / "a\x1b[31m\nb.pcap"
    capture.write_bytes(nanoseconds([(10**18, b"x" * 60)]))
    made = tapsight.digest({"a\x1b]0;\n": str(capture)}, tmp_path / "a.digest")
    capture.unlink()
    done = run("evidence", "a.digest", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr and done.stderr.count("\n") == 1
    done = run("check", "a.digest", cwd=tmp_path)
    assert "\x1b" not in done.stdout + done.stderr
    assert tapsight.check(made.path).taps["tap"].to_pylist() == ["a\x1b]0;\n"]


def test_digests_that_straddle_another_are_refused(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    parts = [part["inside"] for part in rotated]
    ends = tapsight.digest({"inside": [parts[2], parts[0]]}, tmp_path / "ends.digest").path
    with pytest.raises(
        SourceError, match=r"ends\.digest is of captures before and after .*inside-1\.pcap: make digests"
    ):
        tapsight.check([ends, f"inside={parts[1]}"])
    last = tapsight.check([f"inside={parts[3]}", ends])
    assert_same(last, tapsight.check({"inside": [parts[0], parts[2], parts[3]]}))


def test_captures_of_one_name(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    """Every host of a network has its capture.pcap: a check can tell them apart, evidence cannot."""
    made = []
    for number, part in enumerate(rotated[:2]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "capture.pcap").write_bytes(Path(part["outside"]).read_bytes())
        done = run("digest", f"tap{number}=capture.pcap", "-o", "a.digest", cwd=folder)
        assert done.returncode == 0, done.stderr
        made.append(str(folder / "a.digest"))
    result = tapsight.check(made)
    assert result.taps["tap"].to_pylist() == ["tap0", "tap1"]
    with pytest.raises(SourceError, match=r"several captures are called capture\.pcap"):
        result.evidence(tmp_path / "evidence")


def test_a_pipe_day_after_day(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    """What can be read only once is not known again: its name says nothing."""
    for part in rotated[:2]:
        with Path(part["inside"]).open("rb") as stdin:
            command = [sys.executable, "-m", "tapsight", "check", "inside=-", "--state", "state", "--quiet"]
            done = subprocess.run(
                command, stdin=stdin, capture_output=True, text=True, cwd=tmp_path, check=False
            )
        assert done.returncode in {0, 1}, done.stderr
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600
    # Under another name it is still the same capture.
    again = tmp_path / "again.pcap"
    again.write_bytes(Path(rotated[2]["inside"]).read_bytes())
    tapsight.check({"inside": rotated[2]["inside"]}, state=tmp_path / "state")
    for tap in ("inside", "outside"):
        with pytest.raises(SourceError, match=r"again\.pcap: the saved state knows it already"):
            tapsight.check({tap: str(again)}, state=tmp_path / "state")


def test_a_capture_without_packets(tmp_path: Path) -> None:
    capture = tmp_path / "none.pcap"
    capture.write_bytes(nanoseconds([]))
    other = tmp_path / "none-either.pcap"
    other.write_bytes(capture.read_bytes())
    made = tapsight.digest(f"a={capture}", tmp_path / "none.digest")
    assert made.packets == 0
    # Two that are alike, byte for byte, but hold nothing that could look like a copy.
    assert_same(tapsight.check([made.path, f"b={other}"]), tapsight.check([f"a={capture}", f"b={other}"]))


def test_command_line(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    part = rotated[0]
    out = tmp_path / "in.digest"
    result = CliRunner().invoke(app, ["digest", f"inside={part['inside']}", "-o", str(out)])
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.startswith(f"{out}: ")
    assert result.stderr.endswith(" packets of tap inside\n")
    with out.open("rb") as capture:
        refused = subprocess.run(
            [sys.executable, "-m", "tapsight", "check", "-"],
            stdin=capture,
            capture_output=True,
            text=True,
            check=False,
        )
    assert refused.returncode == 2
    assert "a digest that tapsight made: a check reads those, from files and uncompressed" in refused.stderr
    checked = run("check", str(out), "--format", "json", cwd=tmp_path)
    assert checked.returncode in {0, 1}
    assert [tap["tap"] for tap in json.loads(checked.stdout)["taps"]] == ["inside"]


def test_from_and_to_a_pipe(rotated: list[dict[str, str]], tmp_path: Path) -> None:
    capture = Path(rotated[0]["inside"])
    command = [sys.executable, "-m", "tapsight", "digest", "inside=-", "-o", "-"]
    with capture.open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, check=True)
    path = tmp_path / "piped.digest"
    path.write_bytes(done.stdout)
    # Behind what is there already.
    with capture.open("rb") as stdin, (tmp_path / "both").open("wb") as both:
        both.write(b"before")
        both.flush()
        subprocess.run(command, stdin=stdin, stdout=both, check=True)
    assert (tmp_path / "both").read_bytes() == b"before" + done.stdout
    ours, theirs = tapsight.check(str(path)), tapsight.check(f"inside={capture}")
    assert ours.answers == theirs.answers
    assert ours.findings["sentence"].to_pylist() == theirs.findings["sentence"].to_pylist()
    with pytest.raises(SourceError, match="is of stdin, which could be read only once"):
        ours.evidence(tmp_path / "evidence")
