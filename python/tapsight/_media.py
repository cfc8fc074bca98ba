"""Media streams of captures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tapsight import _core
from tapsight._scan import Scan, Source, checked_threads, expand


@dataclass(frozen=True)
class Media(Scan):
    """RTP streams of a capture as a table that is read when it is needed, and again each time.

    Anything that takes Arrow streams can read it, as it can a :class:`tapsight.Scan`. Make one with :func:`tapsight.media`.
    """

    timeout_ns: int | None = None

    def _stream(self) -> _core.Stream:
        return _core.Stream.media(
            list(self.sources), tap=self.tap, threads=self.threads, timeout_ns=self.timeout_ns
        )

    def __arrow_c_schema__(self) -> object:
        """The schema, without opening the capture."""
        return _core.media_schema().__arrow_c_schema__()


def media(
    source: Source | Sequence[Source],
    *,
    tap: str | None = None,
    threads: int | None = None,
    timeout: float = 60.0,
) -> Media:
    """RTP streams of a capture, one row each: packets, loss, jitter, gaps, codecs, and what receivers report of them.

    A stream is what one source (SSRC) sends from one endpoint to another on one path (tap, MACs, VLANs, labels, tunnel). Rows come in the
    order in which streams end. ``tapsight.media(…).schema`` has the meaning of each column.

    Args:
        source: A path, a glob, ``"-"`` for standard input, a buffer that holds a capture, or a list of these, which
            are read in order as one stream.
        tap: A name for the place where the capture was taken, for the column ``tap``. Without one, each file has its own name.
        threads: How many threads to use; all processors by default. The rows are the same.
        timeout: After how many seconds without a packet a stream has ended; what comes later is another one.

    Raises:
        FileNotFoundError: A file is missing, or a glob matches nothing.
        ValueError: The timeout is none.
    """
    if not 0 < timeout <= 86_400 * 365:
        raise ValueError(f"timeout is a number of seconds above 0 and up to a year, not {timeout}")
    return Media(
        expand(source),
        tap=tap,
        table="media",
        threads=checked_threads(threads),
        timeout_ns=int(timeout * 1e9),
    )
