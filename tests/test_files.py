"""Files that are named: what is read is not written over, and what is no file, or no end of one, does not hang."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scapy.all import IP, UDP, Ether, wrpcap
from typer.testing import CliRunner

import tapsight
from tapsight._baseline import read_baseline
from tapsight.cli import app
from tapsight.policy import Policy, PolicyError


@pytest.fixture
def capture(tmp_path: Path) -> str:
    path = tmp_path / "made.pcap"
    packet = Ether(src="00:00:5e:00:53:01", dst="00:00:5e:00:53:02") / IP(src="192.0.2.1", dst="192.0.2.2")
    wrpcap(str(path), [packet / UDP(sport=1000, dport=2000) / b"text"])
    return str(path)


# --- What is read is not written over ---------------------------------------------------------------------------------


@pytest.fixture
def inputs(tmp_path: Path, capture: str) -> Path:
    """A folder with all that commands read, and links to it."""
    (tmp_path / "a.pcap").write_bytes(Path(capture).read_bytes())
    (tmp_path / "link.pcap").symlink_to("a.pcap")
    (tmp_path / "hard.pcap").hardlink_to(tmp_path / "a.pcap")
    (tmp_path / "peers.csv").write_text("member\n192.0.2.1\n")
    (tmp_path / "places.csv").write_text("prefix,country\n192.0.2.0/24,NO\n")
    (tmp_path / "policy.toml").write_text(
        '[sets]\npeers = { file = "peers.csv" }\n[places]\nfiles = "places.csv"\n'
    )
    (tmp_path / "monday.json").write_text('{"findings": []}')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ("check a.pcap -o a.pcap", "one of the captures"),
        ("check x=a.pcap -o link.pcap", "one of the captures"),
        ("check link.pcap -o a.pcap", "one of the captures"),
        ("check a.pcap -o hard.pcap", "one of the captures"),
        ("check a.pcap --policy policy.toml -o policy.toml", "the policy"),
        ("check a.pcap --policy policy.toml -o peers.csv", "a file that the policy names"),
        ("check a.pcap --policy policy.toml -o places.csv", "a file that the policy names"),
        ("check a.pcap --baseline monday.json -o monday.json", "the baseline"),
        ("check a.pcap --state new.state -o new.state", "the state"),
        ("report a.pcap -o a.pcap", "one of the captures"),
        ("report a.pcap --policy policy.toml -o policy.toml", "the policy"),
        ("policy init a.pcap -o a.pcap", "one of the captures"),
        ("digest x=a.pcap -o hard.pcap", "one of the captures"),
        ("classify a.pcap --format csv -o a.pcap", "one of the captures"),
        ("flows a.pcap --format zeek -o link.pcap", "one of the captures"),
        ("flows a.pcap --places places.csv -o places.csv", "one of the places"),
        ("flows a.pcap --policy policy.toml --format csv -o policy.toml", "the policy"),
        ("flows a.pcap --policy policy.toml -o peers.csv", "a file that the policy names"),
        ("flows a.pcap --policy policy.toml -o places.csv", "a file that the policy names"),
        ("calls a.pcap --format csv -o a.pcap", "one of the captures"),
        ("calls a.pcap --policy policy.toml -o peers.csv", "a file that the policy names"),
        (
            "calls a.pcap --policy policy.toml --table call_media -o places.csv",
            "a file that the policy names",
        ),
        ("media a.pcap --format csv -o a.pcap", "one of the captures"),
        ("bench a.pcap --runs 1 --json a.pcap", "one of the captures"),
    ],
)
def test_what_is_read_is_not_written_over(
    inputs: Path, arguments: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    before = {path.name: path.read_bytes() for path in inputs.iterdir() if path.is_file()}
    done = CliRunner().invoke(app, arguments.split())
    assert done.exit_code == 2, done.output
    assert f"{arguments.rsplit(maxsplit=1)[-1]} is {what}: name another file" in done.stderr
    assert {path.name: path.read_bytes() for path in inputs.iterdir() if path.is_file()} == before


def test_a_device_may_be_read_and_written(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty policy, and output that nobody wants."""
    monkeypatch.chdir(inputs)
    done = CliRunner().invoke(app, ["check", "a.pcap", "--policy", "/dev/null", "-o", "/dev/null"])
    assert done.exit_code == 0, done.output


def test_a_page_is_not_written_over_what_it_is_of(inputs: Path) -> None:
    pytest.importorskip("vl_convert")
    result = tapsight.check(str(inputs / "a.pcap"))
    with pytest.raises(ValueError, match="is one of the captures: name another file"):
        result.report(inputs / "hard.pcap")


def test_a_full_device_is_named(inputs: Path) -> None:
    done = CliRunner().invoke(app, ["classify", str(inputs / "a.pcap"), "--format", "csv", "-o", "/dev/full"])
    assert done.exit_code == 2
    assert done.stderr == "tapsight: /dev/full: No space left on device\n"


@pytest.mark.parametrize("form", ["parquet", "arrow", "csv"])
def test_standard_output_without_a_buffer_is_not_cut_unseen(inputs: Path, tmp_path: Path, form: str) -> None:
    """Of a file that may get no longer, as on a disk that is nearly full, a write takes a part."""
    command = [sys.executable, "-u", "-m", "tapsight", "classify", str(inputs / "a.pcap"), "--format", form]
    whole = subprocess.run([*command, "-o", "-"], capture_output=True, check=True).stdout
    most = len(whole) - 1

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    with (tmp_path / "cut").open("wb") as file:
        done = subprocess.run(
            [*command, "-o", "-"], check=False, stdout=file, stderr=subprocess.PIPE, preexec_fn=limit
        )
    assert done.returncode != 0
    assert b"File too large" in done.stderr


# --- Names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "info", "classify", "digest"])
def test_a_name_that_is_no_text_is_told(capture: str, command: str, tmp_path: Path) -> None:
    """A name is bytes, which Python reads with surrogates (PEP 383)."""
    bad = os.fsdecode(bytes(tmp_path) + b"/bad\xff\xfe.pcap")
    Path(capture).rename(bad)
    done = CliRunner().invoke(app, [command, bad, *(["-o", "x.digest"] if command == "digest" else [])])
    shown = rf"{tmp_path}/bad\udcff\udcfe.pcap"
    assert done.exit_code == 2
    assert done.stderr == f"tapsight: {shown}: a name that is not UTF-8 text cannot be used: rename it\n"
    for read in (tapsight.open, tapsight.scan, tapsight.check, tapsight.places.Places):
        with pytest.raises(ValueError, match="not UTF-8 text cannot be used: rename it"):
            read(bad)
    with pytest.raises(tapsight.SourceError, match=r"^\\udcff: a name that is not UTF-8"):
        tapsight.check({"\udcff": bad.replace("bad", "good")})


def test_what_is_written_may_be_called_anything(capture: str, tmp_path: Path) -> None:
    out = os.fsdecode(bytes(tmp_path) + b"/\xff")
    for arguments in (
        ["check", capture],
        ["digest", f"x={capture}"],
        ["classify", capture, "--format", "csv"],
    ):
        done = CliRunner().invoke(app, [*arguments, "-o", out])
        assert done.exit_code == 0, done.output
        assert Path(out).stat().st_size > 0


# --- What is no file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [Policy.load, read_baseline], ids=["policy", "baseline"])
def test_what_never_ends_and_what_nobody_writes(
    tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tapsight.policy.MOST_BYTES", "tapsight._baseline.MOST_BYTES"):
        monkeypatch.setattr(name, 1 << 20)
    with pytest.raises(ValueError, match=r"^/dev/zero: is longer than 1 MiB, the most that a \w+ may be$"):
        read("/dev/zero")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match=r"pipe: is a pipe into which nobody writes: name a file$"):
        read(pipe)
    with pytest.raises((OSError, PolicyError), match="Is a directory"):
        read(tmp_path)


def test_a_policy_and_a_baseline_may_come_from_a_pipe(inputs: Path) -> None:
    """As a shell's <(…) has it; what comes is waited for."""
    script = f"""
    cd {inputs}
    tapsight() {{ {sys.executable} -m tapsight "$@"; }}
    tapsight policy check <(sleep 1; echo '[network]'; sleep 1; echo 'home = "NO"')
    echo 'b = 7' | tapsight policy check /dev/stdin
    tapsight check a.pcap -q --baseline <(cat monday.json) -o /dev/null || echo failed
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert "checks and detectors judge" in done.stdout, done
    assert 'unknown key "b"' in done.stderr
    assert "failed" not in done.stdout


def test_a_state_is_a_file(tmp_path: Path, capture: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match=r": is no file: a state is read and written anew"):
            tapsight.check(capture, state=name)
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(ValueError, match=rf"^{tmp_path}/other: is no saved state"):
        tapsight.check(capture, state=tmp_path / "other")
