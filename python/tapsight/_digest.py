"""Captures → a file with what a check needs to know of them, so that several processes can share the work."""

from __future__ import annotations

import dataclasses
import os

from tapsight import _engine, _files
from tapsight._engine import Progress
from tapsight._scan import checked_threads
from tapsight._sources import (
    SourceError,
    Sources,
    captures_read,
    in_order_of_time,
    problem_with,
    read_sources,
    usable_digest,
)
from tapsight._text import error_text, safe


@dataclasses.dataclass(frozen=True, slots=True)
class Digested:
    """What was made, and of what."""

    path: str
    tap: str
    captures: tuple[str, ...]
    packets: int
    warnings: tuple[str, ...]
    """What was wrong with the captures, a line each."""


def digest(
    sources: Sources,
    path: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Digested:
    """Writes what :func:`tapsight.check` needs to know of the captures of one tap to a file, which it reads in their place.

    So the work can be shared by several processes, on one machine or where the captures are: what a check says of digests is what it
    says of the captures, however they were shared out. Of packets, a digest holds only those that carry samples of others (sFlow, IPFIX,
    NetFlow, HEP), but of all of them addresses, ports, and what signalling says (names, numbers, URIs).

    Args:
        sources: Captures of one tap, with its name: ``NAME=path``, several of those, or a mapping of the name to a path or paths.
        path: Where to, ``-`` for standard output; what was there is replaced when all is written.
        progress: Called now and then with the number of packets so far; what it raises ends the work.
        threads: How many threads to use; all processors by default.

    Raises:
        SourceError: The captures are of several taps, or of one without a name, or cannot be read, or the file cannot be written.
    """
    taps = read_sources(sources)
    if len(taps) > 1:
        names = ", ".join(tap.name for tap in taps[:3])
        raise SourceError(
            f"a digest is of one tap, and these are captures of {len(taps)} ({names}): make one for each, or call them alike, "
            "as in NAME=CAPTURE"
        )
    (tap,) = taps
    if not tap.named:
        raise SourceError(
            f"say which tap {tap.paths[0]} is of, as in inside={tap.paths[0]}: digests of one tap belong together"
        )
    target = os.fspath(path)
    for capture in tap.paths:
        if (problem := problem_with(capture)) is not None:
            raise SourceError(problem)
        if usable_digest(capture) is not None:
            raise SourceError(f"{capture} is a digest: name the captures that this one is to be of")
    try:
        captures = in_order_of_time(tap.paths)
        with _files.output(target, captures_read([tap])) as file:
            packets, warnings = _engine.write_digest(
                tap.name,
                captures,
                f"/dev/fd/{file.fileno()}",
                name=safe(target),
                progress=progress,
                threads=checked_threads(threads),
            )
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SourceError(error_text(error)) from error
    except ValueError as error:
        raise SourceError(str(error)) from error
    return Digested(target, tap.name, captures, packets, tuple(warnings))
