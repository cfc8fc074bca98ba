"""Signalling as calls."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from tapsight import _core
from tapsight._scan import Rows, Source, checked_threads, expand

if TYPE_CHECKING:
    import pyarrow as pa

Table: TypeAlias = Literal["calls", "call_messages", "call_changes", "call_media"]
"""A row a call, a row a signalling message of one, a row a change within one, a row a media endpoint that one has described."""

CALL_TABLES: tuple[Table, ...] = get_args(Table)

_KEY = secrets.token_bytes(16)
_NUMBER = re.compile(r"\+?[0-9]+")
_SHOWN = 3
_HIDDEN = 4


@dataclass(frozen=True)
class Calls(Rows):
    """Captures as a table of calls. Make one with :func:`tapsight.calls`."""

    sources: tuple[Any, ...]
    table: Table = "calls"
    show_numbers: bool = False
    tap: str | None = None
    threads: int | None = None
    key: bytes = field(default=_KEY, repr=False)

    def _stream(self) -> _core.Stream:
        return _core.Stream.calls(list(self.sources), table=self.table, tap=self.tap, threads=self.threads)

    def __arrow_c_schema__(self) -> object:
        """The schema, without opening the capture."""
        return _core.stage_schema(self.table).__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Open the capture anew, as a capsule by the Arrow PyCapsule interface."""
        import pyarrow as pa

        if self.show_numbers:
            return super().__arrow_c_stream__(requested_schema)
        return pa.RecordBatchReader.from_batches(self.schema, iter(self)).__arrow_c_stream__(requested_schema)

    def read(self, warn: Callable[[str], object]) -> Iterator[pa.RecordBatch]:
        """Read the capture batch by batch, with what names somebody as it is to be shown."""
        for batch in super().read(warn):
            yield batch if self.show_numbers else hidden(batch, self.key)


def calls(
    source: Source | Sequence[Source],
    *,
    table: Table = "calls",
    show_numbers: bool = False,
    tap: str | None = None,
    threads: int | None = None,
) -> Calls:
    """Open a capture as calls: one row a call, put together from SIP over UDP, TCP, SCTP and WebSocket.

    Rows come while the capture is read, as calls end; ``call`` joins the tables. The columns are in ``docs/calls.md``, and each field of the
    schema has its meaning under ``description``.

    Numbers and names are personal data. Unless ``show_numbers`` is set, of each number only the first three digits are shown, of each
    name nothing; the rest is a hash with a key that is made anew for each process, so the same number has the same hash in all tables of one
    run and in no other.

    Args:
        source: As for :func:`tapsight.open`.
        table: ``"calls"``; ``"call_messages"``, a row a signalling message; ``"call_changes"``, a row a change of media, target, route or
            encryption within a call; ``"call_media"``, a row a media endpoint that was described.
        show_numbers: Show numbers and names as they are.
        tap: A name for the place where the capture was taken, for the column ``tap``. Without one, each file has its own name.
        threads: How many threads to use; all processors by default. The rows are the same.

    Raises:
        FileNotFoundError: A file is missing, or a glob matches nothing.
        ValueError: There is no such table.
    """
    if table not in CALL_TABLES:
        raise ValueError(f"no table of calls is named {table!r}; there are: {', '.join(CALL_TABLES)}")
    return Calls(expand(source), table, show_numbers, tap, checked_threads(threads))


def hidden_user(user: str, key: bytes = _KEY) -> str:
    """A number or a name, as it is shown to whoever need not know it: ``+324~5d41402a``.

    The first three digits of a number are left if four more are hidden. The same number has the same hash with a plus sign, with two
    zeros and without.
    """
    digits = re.sub(r"[-.() ]", "", user)
    prefix = ""
    if _NUMBER.fullmatch(digits):
        plus = "+" if digits.startswith(("+", "00")) else ""
        digits = digits.removeprefix("+").removeprefix("00")
        prefix = plus + digits[:_SHOWN] if len(digits) >= _SHOWN + _HIDDEN else plus
    hashed = hashlib.blake2b(digits.encode("utf-8", "surrogatepass"), key=key, digest_size=4).hexdigest()
    return f"{prefix}~{hashed}"


def hidden(batch: pa.RecordBatch, key: bytes) -> pa.RecordBatch:
    """The batch without numbers and names: columns whose fields are marked ``personal``."""
    import pyarrow as pa

    marks = [(field.metadata or {}).get(b"personal") for field in batch.schema]
    users = [batch.column(at).to_pylist() for at, mark in enumerate(marks) if mark == b"user"]
    columns = list(batch.columns)
    for at, mark in enumerate(marks):
        kind = batch.schema.field(at).type
        values = batch.column(at).to_pylist() if mark else []
        if mark == b"user":
            shown: list[Any] = [_each(value, lambda user: hidden_user(user, key)) for value in values]
            columns[at] = pa.array(shown, kind)
        elif mark == b"id":
            named = [_flat(row) for row in zip(*users, strict=True)] if users else [[] for _ in values]
            shown = [_hidden_id(value, of, key) for value, of in zip(values, named, strict=True)]
            columns[at] = pa.array(shown, kind)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _each(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [change(each) for each in value]
    return None if value is None else change(value)


def _flat(values: Sequence[Any]) -> list[str]:
    return [each for value in values if value for each in (value if isinstance(value, list) else [value])]


def _hidden_id(text: str | None, users: list[str], key: bytes) -> str | None:
    """A Call-ID in which no number of the call can be read."""
    if text is None:
        return None
    for user in sorted({user.removeprefix("+") for user in users}, key=lambda user: (-len(user), user)):
        if len(user) >= 5:
            text = text.replace(user, hidden_user(user, key))
    return re.sub(r"\+[0-9]{5,}", lambda match: hidden_user(match[0], key), text)
