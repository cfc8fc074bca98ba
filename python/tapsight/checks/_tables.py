"""The tables that rules can be about, and how they are read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tapsight import _core
from tapsight._engine import open_packets, stage_schema
from tapsight._expressions import Column, columns_of
from tapsight._sources import Tap, in_order_of_time, is_read_once, usable_digest

if TYPE_CHECKING:
    import pyarrow as pa

    from tapsight.checks._base import Observed


@dataclasses.dataclass(frozen=True)
class About:
    """What a row of a table stands for: the names of columns that say so."""

    first: str = "ts"
    last: str = "ts"
    packets: str | None = None
    """How many packets it is; one if there is no such column."""
    frames: str = "frame"
    """Frames that show it: one, or a list."""


HEARD: Mapping[str, About] = {
    "flows": About("first_ts", "last_ts", "packets", "frames"),
    "conversations": About("first_ts", "last_ts", "packets", "frames"),
    "calls": About("began", "last", "messages", "frames"),
    "media": About("first_ts", "last_ts", "packets", "frames"),
}
"""What is known as soon as captures are read, so that a rule about it costs nothing."""

READ: tuple[str, ...] = ("packets", *(name for name in _core.table_names() if name != "signalling"))
"""What captures are read once more for: a row a packet, or a message of one protocol."""

TABLES = (*HEARD, *READ)


def about(table: str) -> About:
    """What its rows stand for."""
    return HEARD.get(table, About())


@functools.cache
def table_columns(table: str) -> Mapping[str, Column]:
    """The columns of a table that conditions can use, by name."""
    import pyarrow as pa

    if table == "conversations":
        schema = conversations_schema()
    elif table in HEARD:
        schema = pa.schema(stage_schema("paths" if table == "flows" else table))
    else:
        schema = pa.schema(_core.schema() if table == "packets" else _core.table_schema(table))
    columns = dict(columns_of(schema))
    columns.setdefault("tap", Column("tap", "text"))
    return columns


def conversations_schema() -> pa.Schema:
    """The columns of conversations over TCP, UDP and SCTP: a row each and tap, of those that took place.

    Client and server, with their ports, are null where nobody knows who of ``src`` and ``dst`` is which; ``handshake`` is true where a SYN, or its
    answer, told it, else null. ``answered`` is false where no answer was seen and the tap shows both directions of other conversations of that
    server, null where it does not; of TCP there was one as soon as either side said what it is. What is not known by more than its port has
    ``port`` as its ``basis``.
    """
    import pyarrow as pa

    address, port, text = pa.binary(16), pa.uint16(), pa.string()
    return pa.schema(
        {
            "tap": text,
            "flow_id": pa.uint64(),
            **dict.fromkeys(("src", "dst", "client", "server"), address),
            **dict.fromkeys(("src_port", "dst_port", "client_port", "server_port"), port),
            "protocol": pa.uint8(),
            **dict.fromkeys(("app", "basis"), text),
            **dict.fromkeys(("answered", "handshake"), pa.bool_()),
            "packets": pa.uint64(),
            **dict.fromkeys(("first_ts", "last_ts"), pa.timestamp("ns", "UTC")),
        }
    )


class ReadOnceError(ValueError):
    """Captures cannot be read a second time."""


@dataclasses.dataclass(frozen=True)
class Captures:
    """The captures that were examined, to be read once more."""

    taps: Sequence[Tap] = ()
    threads: int | None = None
    is_whole: bool = True
    """Whether they are all that was seen: of what earlier runs have left in a state, nothing can be read again."""

    def schema(self, table: str, columns: Sequence[str]) -> pa.Schema:
        """The schema of :meth:`batches`."""
        import pyarrow as pa

        wanted = [name for name in columns if name != "tap"]
        made = _core.schema(wanted) if table == "packets" else _core.table_schema(table, wanted)
        return pa.schema(made).append(pa.field("tap", pa.string()))

    def batches(self, table: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Rows of a table of each tap one after the other, with its name in the column ``tap``.

        Raises:
            ReadOnceError: They cannot be read a second time.
        """
        import pyarrow as pa

        for path in (path for tap in self.taps for path in tap.paths):
            if is_read_once(path):
                raise ReadOnceError("captures from a pipe cannot be read a second time: give files")
            if usable_digest(path) is not None:
                raise ReadOnceError("a digest has no packets to read: give the captures")
        wanted = [name for name in columns if name != "tap"]
        for tap in self.taps:
            paths = in_order_of_time(tap.paths)
            rows = open_packets(paths, table=table, columns=wanted, threads=self.threads)
            # What is cut off was said when it was read for the first time.
            for batch in rows.read(lambda _: None):
                yield batch.append_column("tap", pa.repeat(tap.name, batch.num_rows))


def doubt_about(table: str, seen: Observed) -> str | None:
    """Why a check of this table cannot say that all is well, if there is something that it did not get to see."""
    if table in {"calls", "media"}:
        return seen.heard.doubt or (
            None if seen.heard.is_whole else "calls and media of earlier runs are not known"
        )
    if table not in HEARD and not seen.captures.is_whole:
        return "the captures of earlier runs cannot be read again"
    return None
