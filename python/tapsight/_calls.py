"""Signalling as calls."""

from __future__ import annotations

import functools
import hashlib
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from tapsight import _core
from tapsight._located import Known, checked_homes, checked_places
from tapsight._scan import Rows, Source, checked_threads, expand

if TYPE_CHECKING:
    import pyarrow as pa

    from tapsight.places import Places

Table: TypeAlias = Literal["calls", "call_messages", "call_changes", "call_media"]
"""A row a call, a row a signalling message of one, a row a change within one, a row a media endpoint that one has described."""

CALL_TABLES: tuple[Table, ...] = get_args(Table)

_KEY = secrets.token_bytes(16)
_NUMBER = re.compile(r"\+?[0-9]+")
_CALLING_CODE = re.compile(r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[0-9]{3}")
"""Country codes: one digit, two, or three (ITU-T E.164, list of assigned codes)."""
_HIDDEN = 4
"""Digits that are hidden behind a country code, at the least."""
_LIKE_A_NUMBER = r"\+[0-9]{5,}|[0-9]{7,}|(?<![0-9]\.)(?:[0-9]\.){6,}e164\.arpa"
"""What looks like a number within other text: with a plus sign, long, or as a name of ENUM (RFC 6116 section 3.2), looked for once in a row of digits."""


@dataclass(frozen=True)
class Calls(Rows):
    """Captures as a table of calls. Make one with :func:`tapsight.calls`."""

    sources: tuple[Any, ...]
    table: Table = "calls"
    show_numbers: bool = False
    tap: str | None = None
    threads: int | None = None
    places: Places | None = None
    home: tuple[str, ...] = ()
    key: bytes = field(default=_KEY, repr=False)

    def _stream(self) -> _core.Stream:
        return _core.Stream.calls(
            list(self.sources),
            table=self.table,
            tap=self.tap,
            threads=self.threads,
            places=self.places.core if self.places else None,
            home=list(self.home),
        )

    def __arrow_c_schema__(self) -> object:
        """The schema, without opening the capture."""
        return _core.stage_schema(
            self.table, places=self.places.core if self.places else None
        ).__arrow_c_schema__()

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
    places: Known | None = None,
    home: str | Sequence[str] | None = None,
) -> Calls:
    """Open a capture as calls: one row a call, put together from SIP, ISUP, BICC, H.225.0 and Skinny.

    Rows come while the capture is read, as calls end; ``call`` joins the tables. The columns are in ``docs/calls.md``, and each field of the
    schema has its meaning under ``description``.

    Numbers and names are personal data. Unless ``show_numbers`` is set, of each international number only the country code is shown, of
    others and of each name nothing; the same goes for numbers and names of the call in other text, such as Call-IDs; the rest is a hash with a key that is made anew for each process, so the same number has the same hash in all tables of one
    run and in no other.

    Args:
        source: As for :func:`tapsight.open`.
        table: ``"calls"``; ``"call_messages"``, a row a signalling message; ``"call_changes"``, a row a change of media, target, route or
            encryption within a call; ``"call_media"``, a row a media endpoint that was described.
        show_numbers: Show numbers and names as they are.
        tap: A name for the place where the capture was taken, for the column ``tap``. Without one, each file has its own name.
        threads: How many threads to use; all processors by default. The rows are the same.
        places: What is known of addresses, or the path of a file that says so, or several. With it, rows of calls say the countries of numbers, signalling, media and tunnels, which borders
            they cross, and where these disagree; rows of media endpoints where these are.
        home: Code of the country, or of the countries, that are home, for ``scope``. Without one, ends in the same country are national.

    Raises:
        FileNotFoundError: A file is missing, or a glob matches nothing.
        ValueError: There is no such table; or ``home`` is none, or given without ``places``; or a file of these is not understood.
        TypeError: ``places`` are none.
    """
    if table not in CALL_TABLES:
        raise ValueError(f"no table of calls is named {table!r}; there are: {', '.join(CALL_TABLES)}")
    homes = checked_homes(home)
    known = checked_places(places)
    if homes and known is None:
        raise ValueError(
            "home says whose traffic it is by places: give places too, such as tapsight.places.Places(), or the path of a file"
        )
    return Calls(expand(source), table, show_numbers, tap, checked_threads(threads), known, homes)


def hidden_user(user: str, key: bytes = _KEY) -> str:
    """A number or a name, as it is shown to whoever need not know it: ``+32~5d41402a``.

    Of an international number (with a plus sign) the country code is left; of one with two zeros, which lead abroad in most countries and not
    in all, it is not. The same number has the same hash with a plus sign, with two zeros and without.
    """
    digits = re.sub(r"[-.() ]", "", user)
    prefix = ""
    if _NUMBER.fullmatch(digits):
        is_international = digits.startswith("+")
        digits = digits.removeprefix("+").removeprefix("00")
        if is_international:
            code = _CALLING_CODE.match(digits)
            prefix = "+" + (code[0] if code is not None and len(digits) >= len(code[0]) + _HIDDEN else "")
    hashed = hashlib.blake2b(digits.encode("utf-8", "surrogatepass"), key=key, digest_size=4).hexdigest()
    return f"{prefix}~{hashed}"


def hidden(batch: pa.RecordBatch, key: bytes) -> pa.RecordBatch:
    """The batch without numbers and names: columns whose fields are marked ``personal``."""
    import pyarrow as pa

    marks = [(field.metadata or {}).get(b"personal") for field in batch.schema]
    users = [batch.column(at).to_pylist() for at, mark in enumerate(marks) if mark == b"user"]
    named = [_flat(row) for row in zip(*users, strict=True)] if users else [()] * len(batch)
    users_of = [tuple(of) for of in named]
    columns = list(batch.columns)
    for at, mark in enumerate(marks):
        if mark is None:
            continue
        values = batch.column(at).to_pylist()
        if mark == b"user":
            shown: list[Any] = [_each(value, lambda user: hidden_user(user, key)) for value in values]
        else:
            shown = [
                _each(value, functools.partial(_hidden_in, users=users, key=key))
                for value, users in zip(values, users_of, strict=True)
            ]
        columns[at] = pa.array(shown, batch.schema.field(at).type)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _each(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [change(each) for each in value]
    return None if value is None else change(value)


def _flat(values: Sequence[Any]) -> list[str]:
    return [each for value in values if value for each in (value if isinstance(value, list) else [value])]


@functools.lru_cache(maxsize=256)
def _names(users: tuple[str, ...]) -> tuple[str, ...]:
    """How text may call these users, longest first."""
    names = {user.removeprefix("+") for user in users} | {re.sub(r"[-.() +]", "", user) for user in users}
    return tuple(sorted(filter(None, names), key=lambda name: (-len(name), name)))


@functools.lru_cache(maxsize=256)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """What must not be read in text of a call of users with these names: they, and whatever looks like a number."""
    parts = [_LIKE_A_NUMBER]
    for name in names:
        # Short ones stand in addresses and words too: only by themselves are they meant.
        if len(name) >= 5:
            parts.append(re.escape(name))
        else:
            parts.append(rf"(?<![\w.:]){re.escape(name)}(?![\w.:])")
    return re.compile("|".join(parts), re.IGNORECASE)


def _has_none(text: str, names: tuple[str, ...]) -> bool:
    """Whether none of the names can be in the text, in capitals or not; of what is not ASCII, only a pattern knows."""
    if not text.isascii():
        return False
    text = text.lower()
    return not any(name.lower() in text or not name.isascii() for name in names)


def _hidden_in(text: str, users: tuple[str, ...], key: bytes) -> str:
    """Text in which no number or name of the call can be read."""
    names = _names(users)
    # Most have none of them, and a pattern for each call takes longer to make than all else of it.
    pattern = _pattern(() if _has_none(text, names) else names)
    return pattern.sub(lambda match: hidden_user(match[0], key), text)
