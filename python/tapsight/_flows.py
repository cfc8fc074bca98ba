"""Packets as conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tapsight import _core
from tapsight._located import Known, checked_homes, checked_places
from tapsight._scan import Rows, Source, checked_threads, expand

if TYPE_CHECKING:
    from tapsight.places import Places

IDLE_TIMEOUT = 120.0
"""After how many seconds without a packet a flow ends."""

MEMORY = 160 << 20
"""About how many bytes are used for flows that are going on."""


@dataclass(frozen=True)
class Flows(Rows):
    """Captures as a table of conversations. Make one with :func:`tapsight.flows`."""

    sources: tuple[Any, ...]
    tap: str | None = None
    idle_timeout: float = IDLE_TIMEOUT
    active_timeout: float | None = None
    memory: int = MEMORY
    threads: int | None = None
    places: Places | None = None
    home: tuple[str, ...] = ()

    def _stream(self) -> _core.Stream:
        active = self.active_timeout
        return _core.Stream.flows(
            list(self.sources),
            tap=self.tap,
            threads=self.threads,
            idle_timeout_ns=round(self.idle_timeout * 1e9),
            active_timeout_ns=None if active is None else round(active * 1e9),
            memory=self.memory,
            places=self.places.core if self.places else None,
            home=list(self.home),
        )

    def __arrow_c_schema__(self) -> object:
        """The schema, without opening the capture."""
        return _core.stage_schema(
            "flows", places=self.places.core if self.places else None
        ).__arrow_c_schema__()


def flows(
    source: Source | Sequence[Source],
    *,
    tap: str | None = None,
    idle_timeout: float = IDLE_TIMEOUT,
    active_timeout: float | None = None,
    memory: int = MEMORY,
    threads: int | None = None,
    places: Known | None = None,
    home: str | Sequence[str] | None = None,
) -> Flows:
    """Open a capture as conversations: one row a flow, both directions together.

    Rows come while the capture is read, as flows end. The columns are in ``docs/flows.md``, and each field of the schema has its
    meaning under ``description``.

    Args:
        source: As for :func:`tapsight.open`.
        tap: A name for the place where the capture was taken, for the column ``tap``. Without one, each file has its own name.
        idle_timeout: After how many seconds without a packet a flow ends. A TCP connection that is over ends after 10 s.
        active_timeout: After how many seconds a flow is told in a row, and goes on in another; never by default.
        memory: About how many bytes to use for flows that are going on. If there are too many, those that were silent for longest end
            (``lack-of-resources``), and a :class:`CaptureWarning` says how many.
        threads: How many threads to use; all processors by default. The rows are the same.
        places: What is known of addresses, or the path of a file that says so, or several. With it, rows say the countries, networks and zones of both ends, the countries of a tunnel's
            ends, and which of those are of neither end (``crosses``).
        home: Code of the country, or of the countries, that are home, for the column ``scope``. Without one, ends in the same country are
            national.

    Raises:
        FileNotFoundError: A file is missing, or a glob matches nothing.
        ValueError: A timeout is not above 0, or longer than a century; or ``home`` is none, or given without ``places``; or a file of these is not understood.
        TypeError: ``places`` are none.
    """
    for name, seconds in (("idle_timeout", idle_timeout), ("active_timeout", active_timeout)):
        if seconds is not None and not 0 < seconds <= 3_155_760_000:
            raise ValueError(f"{name} is a number of seconds above 0, and not {seconds}")
    if not 0 < memory < 1 << 60:
        raise ValueError(f"memory is a number of bytes, and no machine has {memory}")
    homes = checked_homes(home)
    known = checked_places(places)
    if homes and known is None:
        raise ValueError(
            "home says whose traffic it is by places: give places too, such as tapsight.places.Places(), or the path of a file"
        )
    return Flows(
        expand(source), tap, idle_timeout, active_timeout, memory, checked_threads(threads), known, homes
    )
