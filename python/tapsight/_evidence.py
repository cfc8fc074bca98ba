"""Findings → a folder to hand on: the packets that prove each, where they came from, and the sums to check it all by."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import hashlib
import itertools
import mmap
import os
import re
import shlex
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from tapsight import _engine, _pcapng
from tapsight._options import did_you_mean
from tapsight._sources import (
    STDIN,
    SourceError,
    Tap,
    captures_read,
    is_read_once,
    read_sources,
    usable_capture,
    usable_digest,
)
from tapsight._text import iso_time, plural, safe
from tapsight.findings import attack

if TYPE_CHECKING:
    from tapsight._check import Result
    from tapsight.policy import Policy

SCHEMA = 1
"""Version of ``manifest.json``. It rises when a key changes its name or meaning, not when one is added."""

MAX_FRAMES = 1000
"""How many packets of one finding are written unless told otherwise."""

KEYS = ("id", "detector", "check", "kind", "severity", "attack", "sentence", "packets")
"""Columns of findings that the manifest repeats."""

LONGEST_NAME = 200
"""Characters of a name from a capture that go into a comment; the manifest has all of them."""


class EvidenceError(ValueError):
    """Evidence cannot be written; the text says what to do."""


# --- What a check was asked -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyFile:
    """The policy of a check, as far as it was a file."""

    file: str | None
    size: int | None
    sha256: str | None
    places: tuple[PolicyFile, ...] = ()
    """The files of places that it names."""
    sets: tuple[PolicyFile, ...] = ()
    """The files of sets that it names."""

    @classmethod
    def of(cls, named: object, policy: Policy | None) -> PolicyFile | None:
        """What tells this policy from others, and the files that it names: sums of files, or nothing of one that was made in a program."""
        if policy is None:
            return None
        own = cls._of_file(named) if isinstance(named, str | os.PathLike) else cls(None, None, None)
        files = dict.fromkeys(each.file for each in policy.sets.values() if each.file is not None)
        return dataclasses.replace(
            own,
            places=tuple(cls._of_file(path) for path in policy.places.files),
            sets=tuple(cls._of_file(path) for path in files),
        )

    @classmethod
    def _of_file(cls, path: str | os.PathLike[str]) -> PolicyFile:
        with Path(path).open("rb") as file:
            sum_ = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(os.fspath(path), os.fstat(file.fileno()).st_size, sum_)

    def entry(self) -> dict[str, Any]:
        """Its part of the manifest."""
        named = {
            kind: [each.entry() for each in files]
            for kind, files in (("places", self.places), ("sets", self.sets))
            if files
        }
        return {"file": self.file, "size": self.size, "sha256": self.sha256, **named}


@dataclasses.dataclass(frozen=True, slots=True)
class Capture:
    """A capture of a check, read itself or by way of a digest."""

    name: str
    """As it was named to whoever read it."""
    tap: str
    digest: str | None
    mark: tuple[int, int] | None
    """What the digest says it is known by."""

    def place(self) -> str:
        """Where it is: as it was named or, of a digest, beside that.

        Raises:
            SourceError: It is not there, has changed, or could be read only once.
        """
        if self.digest is None:
            return self.name
        if self.mark is None:
            raise SourceError(
                f"{self.digest} is of {safe(self.name)}, which could be read only once, and evidence takes a second look: write the "
                "capture to a file first, and make the digest of that"
            )
        for path in (self.name, str(Path(self.digest).parent / Path(self.name).name)):
            if (found := usable_capture(path)) is not None and found.mark == self.mark:
                return path
        raise SourceError(
            f"evidence is made of packets, which {self.digest} has not, and {safe(self.name)}, which it is of, is not there or has changed: "
            "put it beside the digest, or run this where the captures are"
        )


def captures_of(taps: Iterable[Tap]) -> list[Capture]:
    """The captures of taps, those included that digests are of."""
    captures = []
    for name, path in ((tap.name, path) for tap in taps for path in tap.paths):
        if (head := usable_digest(path)) is None:
            captures.append(Capture(path, name, None, None))
        else:
            captures += [Capture(each.name, name, path, each.mark) for each in head.captures]
    return captures


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What a check was asked, and how its captures were then: enough to read them again and know that they are the same."""

    taps: tuple[Tap, ...]
    policy: PolicyFile | None
    window: float
    """In seconds."""
    memory: int
    """In bytes."""
    captures: tuple[Capture, ...]
    states: Mapping[str, tuple[int, int] | None]
    """Size and time of the last change of each file that was read, none of what is no regular file."""
    frames: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """How many frames were read of each capture; those that could not be read are missing."""
    sums: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """SHA-256 of captures, as digests tell it."""
    ambiguous: frozenset[str] = frozenset()
    """Names of interfaces that two taps have in common."""

    @classmethod
    def begin(cls, taps: Sequence[Tap], policy: PolicyFile | None, *, window: float, memory: int) -> Run:
        """To be called before the captures are read."""
        states = {path: _state(path) for tap in taps for path in tap.paths}
        return cls(tuple(taps), policy, window, memory, tuple(captures_of(taps)), states)

    def end(self, files: Iterable[Mapping[str, Any]]) -> Run:
        """The same with what the engine's table of files says."""
        taps = self.tap_of()
        frames: dict[str, int] = {}
        sums: dict[str, str] = {}
        owners: dict[str, set[str]] = {}
        # A state to go on from tells of captures of earlier runs, too.
        for row in (row for row in files if row["file"] in taps):
            frames[row["file"]] = row["frames"]
            owners.setdefault(row["tap"], set()).add(taps[row["file"]])
            if row["sha256"] is not None:
                sums[row["file"]] = row["sha256"].hex()
        ambiguous = frozenset(name for name, among in owners.items() if len(among) > 1)
        return dataclasses.replace(self, frames=frames, sums=sums, ambiguous=ambiguous)

    def inputs(self) -> list[tuple[str, str]]:
        """All files that were read, and what they are, for :func:`tapsight._files.require_other`."""
        read = [*captures_read(self.taps), *((each.name, "one of the captures") for each in self.captures)]
        if self.policy is not None:
            read += [(self.policy.file, "the policy")] if self.policy.file is not None else []
            named = (*self.policy.places, *self.policy.sets)
            read += [(each.file, "a file that the policy names") for each in named if each.file is not None]
        return read

    def tap_of(self) -> dict[str, str]:
        """The tap's name by capture."""
        return {capture.name: capture.tap for capture in self.captures}


def _state(path: str) -> tuple[int, int] | None:
    try:
        if path == STDIN or not Path(path).is_file():
            return None
        stat = Path(path).stat()
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns


# --- What can be told beforehand --------------------------------------------------------------------------------------


def require_files(taps: Iterable[Tap]) -> None:
    """Makes sure that the captures can be read a second time.

    Raises:
        SourceError: One is standard input, a pipe or a device; or a digest's, and is not there; or two have one name.
    """
    captures = captures_of(taps)
    times = Counter(capture.name for capture in captures)
    for capture in captures:
        if times[capture.name] > 1:
            raise SourceError(
                f"several captures are called {safe(capture.name)}, so that frames cannot be told apart: make digests of captures with names of "
                "their own"
            )
        path = capture.place()
        if capture.digest is not None:
            continue
        # What is not there, or a folder, is told by the check.
        if is_read_once(path):
            what = "standard input" if path == STDIN else path
            raise SourceError(
                f"{what} can be read only once, and evidence takes a second look: write the capture to a file first, "
                "such as with tcpdump -w FILE, and name that"
            )


def require_room(directory: Path) -> None:
    """Makes sure that nothing would be overwritten.

    Raises:
        EvidenceError: The directory is not empty, or no directory, or cannot be made.
    """
    if directory.is_dir():
        if any(directory.iterdir()):
            raise EvidenceError(
                f"{directory} is not empty, and evidence overwrites nothing: name a new directory, or empty this one"
            )
        place = directory
    else:
        if directory.exists() or directory.is_symlink():
            raise EvidenceError(f"{directory} is there and no directory: name a new or an empty directory")
        place = next(parent for parent in directory.absolute().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise EvidenceError(
            f"{directory} cannot be written, as {place} is no directory that you may write to"
        )


# --- Writing ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Frame:
    """A frame of a finding."""

    tap: str
    file: str | None
    number: int
    role: str
    """All its roles in this finding."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Chosen:
    """A finding, and the frames of it that are written."""

    row: dict[str, Any]
    frames: tuple[_Frame, ...]
    left_out: int
    """Frames that there was no room for."""


def write(
    result: Result,
    directory: str | os.PathLike[str],
    *,
    findings: Iterable[str] | None = None,
    max_frames: int = MAX_FRAMES,
    zero_payload: bool = False,
) -> dict[str, Any]:
    """Writes the evidence of a result; see :meth:`tapsight.Result.evidence`."""
    from tapsight._core import __version__

    run, directory = result.run, Path(directory)
    if run is None:
        raise EvidenceError(
            "this result does not tell its captures: evidence is of what tapsight.check returns"
        )
    if max_frames < 1:
        raise EvidenceError(f"max_frames is {max_frames}, and should be 1 or more")
    wanted = None if findings is None else list(dict.fromkeys(findings))
    require_files(run.taps)
    require_room(directory)
    rows = result.findings.select([*KEYS, "evidence"]).to_pylist()
    if wanted is not None:
        rows += result.excepted.select([*KEYS, "evidence"]).to_pylist()
    chosen = _choose(rows, wanted, max_frames)
    if mixed := sorted(run.ambiguous & {frame.tap for each in chosen for frame in each.frames}):
        raise EvidenceError(
            f"two taps have interfaces called {mixed[0]}, so that frames cannot be told apart: "
            "give the taps other names"
        )
    manifest: dict[str, Any] = {
        "tapsight": __version__,
        "schema": SCHEMA,
        "attack": attack()[0],
        "command": _command(run, wanted, max_frames, zero_payload=zero_payload),
        "options": {
            "window": run.window,
            "memory": run.memory,
            "findings": wanted,
            "max_frames": max_frames,
            "zero_payload": zero_payload,
        },
        "policy": None if run.policy is None else run.policy.entry(),
        "inputs": inputs(run),
        "problems": list(result.problems),
    }
    with _Folder(directory) as folder:
        with _spooled(directory, chosen, run, zero_payload=zero_payload) as spool:
            manifest["findings"] = [_write_finding(folder, spool, each, manifest) for each in chosen]
        _require_unchanged(run)
        folder.write("README.txt", _readme(manifest))
        manifest["outputs"] = folder.sums()
        folder.write("manifest.json", _pretty(manifest) + "\n")
        lines = [f"{each['sha256']}  {each['file']}\n" for each in folder.sums()]
        folder.write("SHA256SUMS", "".join(lines))
    return manifest


def _choose(rows: Sequence[dict[str, Any]], wanted: Sequence[str] | None, max_frames: int) -> list[_Chosen]:
    known = {row["id"] for row in rows}
    for id_ in wanted or ():
        if id_ not in known:
            hint = did_you_mean(id_, known)
            there = f"there are {', '.join(sorted(known))}" if known else "there is none"
            raise EvidenceError(f"no finding {id_}{hint}: {there}")
    chosen = []
    for row in rows:
        if wanted is not None and row["id"] not in wanted:
            continue
        # A frame can be the original of several copies: it is written once.
        roles: dict[tuple[str, str | None, int], dict[str, None]] = {}
        for each in row["evidence"]:
            roles.setdefault((each["tap"], each["file"], each["frame"]), {})[each["role"]] = None
        frames = tuple(_Frame(*key, ", ".join(among)) for key, among in roles.items())
        chosen.append(_Chosen(row, frames[:max_frames], max(0, len(frames) - max_frames)))
    return chosen


def inputs(run: Run) -> list[dict[str, Any]]:
    """Sums of the captures, in the order they were named: each is read once for it.

    Raises:
        EvidenceError: One has changed since it was checked.
        SourceError: One of a digest is not there.
    """
    rows = []
    for capture in run.captures:
        if capture.digest is None and run.states[capture.name] is None:
            continue
        with Path(capture.place()).open("rb") as file:
            sum_ = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        if run.sums.get(capture.name, sum_) != sum_:
            raise EvidenceError(
                f"{safe(capture.name)} is not what {capture.digest} was made of: it has changed since, so that it proves nothing"
            )
        entry = {
            "tap": capture.tap,
            "file": capture.name,
            "frames": run.frames.get(capture.name),
            "size": size,
            "sha256": sum_,
        }
        rows.append(entry if capture.digest is None else {**entry, "digest": capture.digest})
    _require_unchanged(run)
    return rows


def _require_unchanged(run: Run) -> None:
    for path, state in run.states.items():
        if state is not None and _state(path) != state:
            raise _changed(path)


def _changed(path: str) -> EvidenceError:
    return EvidenceError(f"{path} has changed since it was checked: run the check again")


class _Spool:
    """The frames of all findings, as a table in a file that is mapped: what they take of memory can be had back."""

    def __init__(self, table: pa.Table, places: Mapping[str, tuple[int, Sequence[int]]]) -> None:
        """Takes the frames file by file, with the first row and the sorted numbers of each file's."""
        self._data, self._taps = table["data"], table["tap"]
        numbers = table.drop_columns(["data", "tap"]).append_column("cap_len", pc.binary_length(self._data))
        # Rows are taken out for each finding, which goes over all chunks otherwise.
        self._numbers = numbers.combine_chunks()
        self._places = places

    def rows(self, frames: Sequence[_Frame]) -> list[dict[str, Any]]:
        """What is known of each frame, in the same order, and under ``at`` where its bytes are."""
        at = [self._at(frame) for frame in frames]
        rows: list[dict[str, Any]] = self._numbers.take(pa.array(at, pa.int64())).to_pylist()
        return [
            {**row, "tap": self._taps[place].as_py(), "at": place}
            for row, place in zip(rows, at, strict=True)
        ]

    def data(self, at: int) -> bytes:
        """The bytes of the frame there."""
        data: bytes = self._data[at].as_py()
        return data

    def _at(self, frame: _Frame) -> int:
        base, numbers = self._places[str(frame.file)]
        return base + bisect.bisect_left(numbers, frame.number)


@contextlib.contextmanager
def _spooled(
    directory: Path, chosen: Sequence[_Chosen], run: Run, *, zero_payload: bool
) -> Iterator[_Spool | None]:
    """Reads the frames of all findings, each capture once and no further than is needed; none if there are no frames."""
    wanted: dict[str, set[int]] = {}
    for frame in (frame for each in chosen for frame in each.frames):
        if frame.file is not None:
            wanted.setdefault(frame.file, set()).add(frame.number)
    places: dict[str, tuple[int, Sequence[int]]] = {}

    def tables() -> Iterator[pa.Table]:
        count = 0
        for capture in run.captures:
            numbers = sorted(wanted.get(capture.name, ()))
            places[capture.name] = (count, numbers)
            if not numbers:
                continue
            path = capture.place()
            for table in _engine.extract(path, numbers, tap=capture.tap, zero_payload=zero_payload):
                count += table.num_rows
                yield table
            if count != places[capture.name][0] + len(numbers):
                raise _changed(path)

    found = tables()
    first = next(found, None)
    if first is None:
        yield None
        return
    # The file has no name, so that nothing is left of it whatever happens.
    with tempfile.TemporaryFile(dir=directory) as file:
        with pa.ipc.new_file(pa.PythonFile(file, mode="w"), first.schema) as sink:
            for table in itertools.chain([first], found):
                sink.write_table(table)
        file.flush()
        mapped = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        yield _Spool(pa.ipc.open_file(pa.BufferReader(mapped)).read_all(), places)


def _write_finding(
    folder: _Folder, spool: _Spool | None, chosen: _Chosen, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes the packets of a finding, and says what the manifest says of it."""
    row = chosen.row
    order = {each["file"]: number for number, each in enumerate(manifest["inputs"])}
    # With a state to go on from, a frame can lie in a capture of an earlier run.
    located = [frame for frame in chosen.frames if frame.file in order]
    name = None
    frames = []
    if spool is not None and located:
        packets = list(zip(located, spool.rows(located), strict=True))
        for frame, packet in packets:
            if packet["tap"] != frame.tap:
                raise _changed(str(frame.file))
        packets.sort(key=lambda pair: (pair[1]["ts"], order[pair[0].file], pair[0].number))
        with folder.create(f"{row['check'] or row['detector']}-{row['id']}", ".pcapng") as (name, file):
            for block in _blocks(spool, row, packets, f"tapsight {manifest['tapsight']}"):
                file.write(block)
        frames = [
            {
                "number": number,
                "role": frame.role,
                "tap": frame.tap,
                "file": frame.file,
                "frame": frame.number,
                "time": iso_time(packet["ts"]),
                "captured": packet["cap_len"],
                "length": packet["wire_len"],
                "zeroed_from": packet["zeroed_from"],
            }
            for number, (frame, packet) in enumerate(packets, 1)
        ]
    entry = {key: row[key] for key in KEYS}
    entry |= {"file": name, "frames": frames, "left_out": chosen.left_out}
    if missing := [frame for frame in chosen.frames if frame.file not in order]:
        entry["not_found"] = [
            {"role": frame.role, "tap": frame.tap, "file": frame.file, "frame": frame.number}
            for frame in missing
        ]
    if manifest["options"]["zero_payload"]:
        entry["zeroed"] = ZEROED
    return entry


ZEROED = (
    "All bytes behind the innermost transport header were set to zero, in each frame from zeroed_from on; checksums "
    "are those of the bytes before. What a finding concludes from them can be seen in the captures only."
)


def _blocks(
    spool: _Spool,
    finding: Mapping[str, Any],
    packets: Sequence[tuple[_Frame, dict[str, Any]]],
    application: str,
) -> Iterator[bytes]:
    """The blocks of a pcapng file: its section, an interface for each tap, the packets."""
    id_ = safe(finding["id"])
    yield _pcapng.section(comment=f"finding {id_}: {safe(finding['sentence'])}", application=application)
    # Files of one tap may differ in link type, for which a second interface of the same name is needed.
    interfaces: dict[tuple[Any, ...], int] = {}
    snaplens: dict[tuple[Any, ...], list[int]] = {}
    for _, packet in packets:
        key = _interface_of(packet)
        interfaces.setdefault(key, len(interfaces))
        # No limit if one file knows none, and no less than what a file holds beyond its own limit.
        snaplens.setdefault(key, []).extend((packet["snaplen"] or UNLIMITED, packet["cap_len"]))
    # Times before 1970 are told by what they are counted from: those in packets have no sign.
    offset = min(0, packets[0][1]["ts"] // 1_000_000_000)
    for key in interfaces:
        tap, link_type, fcs_len = key
        longest = max(snaplens[key])
        snaplen = 0 if longest == UNLIMITED else longest
        yield _pcapng.interface(
            _brief(tap), link_type=link_type, snaplen=snaplen, fcs_len=fcs_len, offset=offset
        )
    for frame, packet in packets:
        place = f"frame {frame.number}; tap {_brief(frame.tap)}; file {_brief(str(frame.file))}"
        yield _pcapng.packet(
            interfaces[_interface_of(packet)],
            packet["ts"] - offset * 1_000_000_000,
            spool.data(packet["at"]),
            packet["wire_len"],
            comment=f"{_brief(frame.role)}; finding {id_}; {place}",
        )


UNLIMITED = 1 << 32
"""More than any snapshot length."""


def _interface_of(packet: Mapping[str, Any]) -> tuple[Any, ...]:
    return packet["tap"], packet["link_type"], packet["fcs_len"]


def _brief(name: str) -> str:
    """A name from a capture as a comment may hold it."""
    return safe(name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…")


class _Folder:
    """A directory that is filled, and left as it was if that fails."""

    def __init__(self, path: Path) -> None:
        """Of an empty directory, or one that is to be made."""
        self._path = path
        self._made = False
        self._sums: dict[str, tuple[int, str]] = {}

    def __enter__(self) -> Self:
        """Makes it if need be."""
        self._made = not self._path.exists()
        self._path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Takes everything away again after an error."""
        if kind is not None:
            for name in self._sums:
                (self._path / name).unlink(missing_ok=True)
            if self._made:
                with contextlib.suppress(OSError):
                    self._path.rmdir()

    @contextlib.contextmanager
    def create(self, stem: str, ending: str) -> Iterator[tuple[str, _Summed]]:
        """A new file, its name the stem as far as every file system can hold it."""
        stem = re.sub(r"[^0-9A-Za-z._-]+", "_", stem).strip("._-")[:100] or "finding"
        taken = {name.casefold() for name in self._sums}
        names = (stem + (f"-{number}" if number > 1 else "") + ending for number in itertools.count(1))
        name = next(name for name in names if name.casefold() not in taken)
        with (self._path / name).open("xb") as file:
            summed = _Summed(file)
            self._sums[name] = (0, "")
            yield name, summed
        self._sums[name] = (summed.size, summed.sum.hexdigest())

    def write(self, name: str, text: str) -> None:
        """A new file with this text."""
        stem, ending = name.rsplit(".", 1) if "." in name else (name, "")
        with self.create(stem, ending and f".{ending}") as (_, file):
            file.write(text.encode("utf-8", "backslashreplace"))

    def sums(self) -> list[dict[str, Any]]:
        """Name, size and SHA-256 of each file so far, by name."""
        return [
            {"file": name, "size": size, "sha256": digest}
            for name, (size, digest) in sorted(self._sums.items())
        ]


class _Summed:
    """A file that is written, with its sum."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sum = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Adds bytes."""
        self._file.write(data)
        self.sum.update(data)
        self.size += len(data)


# --- Text -------------------------------------------------------------------------------------------------------------


def _command(run: Run, findings: Sequence[str] | None, max_frames: int, *, zero_payload: bool) -> str | None:
    """The command line that writes this evidence again, none if there is none that does."""
    more = ["--max-frames", str(max_frames)]
    more += ["--zero-payload"] if zero_payload else []
    for id_ in findings or ():
        more += ["--finding", id_]
    return command_line(run, ["evidence", "--out", "DIR"], more)


def command_line(run: Run, command: Sequence[str], more: Sequence[str] = ()) -> str | None:
    """A command line that asks the same of the same captures, none if there is none that does."""
    args = ["tapsight", *command]
    if run.policy is not None:
        if run.policy.file is None:
            return None
        args += ["--policy", run.policy.file]
    args += ["--window", repr(float(run.window)), "--memory", str(run.memory >> 20), *more]
    # A capture that has no name of its own is called as its file.
    plain = [
        path if len(tap.paths) == 1 and tap.name in {path, Path(path).name} else f"{tap.name}={path}"
        for tap in run.taps
        for path in tap.paths
    ]
    named = [f"{tap.name}={path}" for tap in run.taps for path in tap.paths]
    for captures in (plain, named):
        with contextlib.suppress(SourceError):
            if read_sources(captures) == list(run.taps) and run.memory % (1 << 20) == 0:
                return shlex.join([*args, "--", *captures])
    return None


def _pretty(value: Any, indent: str = "") -> str:
    """JSON in ASCII for people: what holds no lists or objects is one line, such as a frame."""
    from tapsight._check import as_json

    inner = indent + "  "
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(item, dict | list) for item in items):
        return as_json(value)
    if isinstance(value, dict):
        lines = [f"{inner}{as_json(key)}: {_pretty(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _pretty(item, inner) for item in value) + f"\n{indent}]"


def _readme(manifest: Mapping[str, Any]) -> str:
    """What the folder is, for whoever receives it."""
    findings = manifest["findings"]
    lines = [
        f"Evidence of {plural(len(findings), 'finding')}, by tapsight {manifest['tapsight']}",
        "",
        "WHAT IS HERE",
        "",
    ]
    for each in findings:
        what = each["file"] or "(no packets)"
        lines += [what, *_wrapped(f"Finding {each['id']}. {each['sentence']}", "    "), ""]
    if not findings:
        lines += ["The check found nothing that failed.", ""]
    lines += [
        "manifest.json",
        *_wrapped(
            "What was read (with SHA-256 of each capture, of the policy and of the places that it names), with which options, and for each finding "
            "which frames of which captures prove it.",
            "    ",
        ),
        "",
        "HOW TO LOOK AT IT",
        "",
        *_wrapped(
            "Open a .pcapng file with Wireshark. Each packet has a comment: its role in the finding, the finding's id, "
            "and the frame of the tap and capture that it came from. To list them:"
        ),
        "",
        "    tshark -r FILE.pcapng -T fields -e frame.number -e frame.time -e frame.comment",
        "",
        *_wrapped(
            'In Wireshark, the display filter frame.comment matches "^copy" shows the packets of that role.'
        ),
        "",
    ]
    if manifest["options"]["zero_payload"]:
        lines += [*_wrapped(ZEROED.replace("zeroed_from", "the zeroed_from of manifest.json")), ""]
    lines += [
        "HOW TO VERIFY IT",
        "",
        "That nothing here was changed (on macOS: shasum -a 256 -c SHA256SUMS):",
        "",
        "    sha256sum -c SHA256SUMS",
        "",
        *_wrapped(
            "That only holds as far as SHA256SUMS itself was not changed: whoever hands the folder on should tell its "
            "sum by another way."
        ),
        "",
        *_wrapped(
            "That the packets are those of the captures: compare sha256sum CAPTURE with manifest.json, and take the "
            "frames that it names out of the capture yourself:"
        ),
        "",
        "    editcap -r CAPTURE own.pcapng FRAME...",
        "",
        *_wrapped("That the findings follow from the captures: check them again."),
        "",
        f"    {safe(manifest['command'] or 'with tapsight.check in Python, and the options in manifest.json')}",
        "",
    ]
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        safe(text), 80, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
