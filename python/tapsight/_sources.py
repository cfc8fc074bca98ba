"""What a user names → taps and the captures of each."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tapsight import _engine
from tapsight._engine import CaptureHead, DigestHead
from tapsight._text import name_problem, safe

T = TypeVar("T")

STDIN = "-"
"""The name of standard input."""

Sources = (
    str
    | os.PathLike[str]
    | Iterable[str | os.PathLike[str]]
    | Mapping[str, str | os.PathLike[str] | Sequence[str | os.PathLike[str]]]
)
"""One capture or digest; several, each a path or ``NAME=path``; or a mapping of names to a path or paths."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tap:
    """A place where frames were captured."""

    name: str
    paths: tuple[str, ...]
    """Its captures, in order."""
    named: bool = dataclasses.field(default=True, compare=False)
    """Whether somebody gave it its name; else it is called as its capture."""


class SourceError(ValueError):
    """What was named cannot be examined."""


def read_sources(sources: Sources) -> list[Tap]:
    """The taps that the sources name.

    Captures under one name are one tap, read in the order given, those of a pattern sorted by name. A capture without
    a name is a tap of its own, called as its file, or as its path where several files are called alike. A digest without a name
    is of the tap that it was made of.
    A ``=`` in the path of an existing file is part of the path.

    Raises:
        SourceError: Nothing was named, or something was named twice, or by bytes that are no text.
    """
    named: dict[str, list[str]] = {}
    unnamed: list[str] = []
    if isinstance(sources, Mapping):
        for name, paths in sources.items():
            listed = [paths] if isinstance(paths, str | os.PathLike) else paths
            named[name] = [file for path in listed for file in _expand(os.fspath(path))]
    else:
        listed = [sources] if isinstance(sources, str | os.PathLike) else sources
        for source in listed:
            text = os.fspath(source)
            # A name has no slash: "out/a=b.pcap" that is not there is a missing file, not a tap called "out/a".
            match = re.fullmatch(r"([^=/]+)=(.+)", text, re.DOTALL)
            if match and isinstance(source, str) and not Path(text).exists():
                named.setdefault(match[1], []).extend(_expand(match[2]))
                continue
            for path in _expand(text):
                head = usable_digest(path)
                (unnamed if head is None else named.setdefault(head.tap, [])).append(path)
    every: list[str] = [*unnamed, *(path for files in named.values() for path in files)]
    if not every:
        raise SourceError("no capture was named")
    if wrong := list(filter(None, map(name_problem, [*named, *every]))):
        raise SourceError("\n".join(wrong))
    _refuse_twice(every)
    names = [_file_name(path) for path in unnamed]
    taps = [
        Tap(path if names.count(name) > 1 or name in named else name, (path,), named=False)
        for name, path in zip(names, unnamed, strict=True)
    ]
    return taps + [Tap(name, tuple(files)) for name, files in named.items()]


def captures_read(taps: Iterable[Tap]) -> list[tuple[str, str]]:
    """The captures of taps and what they are, for :func:`tapsight._files.require_other`."""
    return [(path, "one of the captures") for tap in taps for path in tap.paths]


def _file_name(path: str) -> str:
    return "stdin" if path == STDIN else Path(path).name


def _expand(path: str) -> list[str]:
    """The files that a pattern matches; what is no pattern or matches nothing stays as it is."""
    if path == STDIN or Path(path).exists() or not glob.has_magic(path):
        return [path]
    return sorted(glob.glob(path)) or [path]  # noqa: PTH207 (Path.glob takes no absolute patterns)


def _refuse_twice(paths: list[str]) -> None:
    seen = set()
    for path in paths:
        same = path if path == STDIN else os.path.realpath(path)
        if same in seen:
            raise SourceError(f"{path} is named twice: every packet would look like a copy")
        seen.add(same)
    heads = {path: head for path in paths if (head := usable_digest(path)) is not None}
    known: dict[tuple[int, int], tuple[str, str]] = {}
    for path in paths if heads else ():
        single = usable_capture(path) if path not in heads else None
        captures = heads[path].captures if path in heads else (single,) if single is not None else ()
        for capture in captures:
            # Those without frames are alike, and harmless.
            if capture.mark is None or capture.first_ts is None:
                continue
            if capture.mark in known:
                other, through = known[capture.mark]
                first = f"{safe(other)} (in {through})" if other != through else other
                second = f"{safe(capture.name)} (in {path})" if path in heads else path
                raise SourceError(
                    f"{first} and {second} are one capture: every packet would look like a copy"
                )
            known[capture.mark] = capture.name, path


def usable_digest(path: str) -> DigestHead | None:
    """What is known of a digest before it is read; ``None`` of what is none, or cannot be used: to read it will tell."""
    return _usable(path, _engine.digest_head)


def usable_capture(path: str) -> CaptureHead | None:
    """What is known of a capture before it is read; ``None`` of what cannot be read, or only once."""
    return _usable(path, _engine.capture_head)


def _usable(path: str, head: Callable[[str], T | None]) -> T | None:
    with contextlib.suppress(OSError, ValueError):
        if path != STDIN and Path(path).is_file():
            return head(path)
    return None


def is_read_once(path: str) -> bool:
    """Whether it is standard input, a pipe or a device: opening one takes its first bytes away or waits for its writer."""
    return path == STDIN or (Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir())


def in_order_of_time(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The captures of a tap by the times of their first frames: rotated files, in whichever order they were named.

    Raises:
        SourceError: A digest is of captures before and after another one.
    """
    if len(paths) < 2 or STDIN in paths:
        return paths
    spans: dict[str, list[int]] = {}
    for path in paths:
        head = _engine.digest_head(path)
        captures = head.captures if head is not None else (_engine.capture_head(path),)
        spans[path] = [each.first_ts for each in captures if each.first_ts is not None] or [0]
    ordered = sorted(paths, key=lambda path: spans[path][0])
    for here, there in itertools.pairwise(ordered):
        if len(spans[here]) > 1 and max(spans[here]) > spans[there][0]:
            raise SourceError(
                f"{here} is of captures before and after {there}: make digests of captures that follow each other"
            )
    return tuple(ordered)


def problem_with(path: str) -> str | None:
    """Why the file cannot be read, before its format matters; ``None`` if it can."""
    if path == STDIN:
        return None
    try:
        if Path(path).is_dir():
            return f"{path}: is a directory; name the captures in it, such as {path.rstrip('/')}/*.pcap"
        if is_read_once(path):
            return None
        with Path(path).open("rb") as file:
            return None if file.read(1) else f"{path}: is empty"
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    except ValueError as error:
        return f"{path}: {error}"
