"""Packets as media streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tapsight import _core
from tapsight._scan import Rows, Source, checked_threads, expand

TIMEOUT = 60.0
"""After how many seconds without a packet a stream has ended."""

MAX_STREAMS = 65_536
"""How many streams are followed at a time."""


@dataclass(frozen=True)
class Media(Rows):
    """Captures as a table of RTP streams. Make one with :func:`tapsight.media`."""

    sources: tuple[Any, ...]
    tap: str | None = None
    timeout: float = TIMEOUT
    max_streams: int = MAX_STREAMS
    threads: int | None = None

    def _stream(self) -> _core.Stream:
        return _core.Stream.media(
            list(self.sources),
            tap=self.tap,
            threads=self.threads,
            timeout_ns=round(self.timeout * 1e9),
            limit=self.max_streams,
        )

    def __arrow_c_schema__(self) -> object:
        """The schema, without opening the capture."""
        return _core.stage_schema("media").__arrow_c_schema__()


def media(
    source: Source | Sequence[Source],
    *,
    tap: str | None = None,
    timeout: float = TIMEOUT,
    max_streams: int = MAX_STREAMS,
    threads: int | None = None,
) -> Media:
    """Open a capture as media streams: one row for what one source (SSRC) sends from one endpoint to another on one path.

    Rows come while the capture is read, in the order in which streams end. The columns are in ``docs/media.md``, and each field of the
    schema has its meaning under ``description``.

    Args:
        source: As for :func:`tapsight.open`.
        tap: A name for the place where the capture was taken, for the column ``tap``. Without one, each file has its own name.
        timeout: After how many seconds without a packet a stream has ended. What comes later is another row.
        max_streams: How many streams are followed at a time, with about 1 KiB each. Of more, the one that was silent for longest
            is a row early, and a :class:`CaptureWarning` says how many were.
        threads: How many threads to use; all processors by default. The rows are the same.

    Raises:
        FileNotFoundError: A file is missing, or a glob matches nothing.
        ValueError: The timeout is not above 0, or longer than a century; or no stream is to be followed.
    """
    if not 0 < timeout <= 3_155_760_000:
        raise ValueError(f"timeout is a number of seconds above 0, and not {timeout}")
    if not 0 < max_streams < 1 << 32:
        raise ValueError(f"max_streams is a number from 1, and not {max_streams}")
    return Media(expand(source), tap, timeout, max_streams, checked_threads(threads))
