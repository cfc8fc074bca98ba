"""The sets of a policy: members in place or of a file, and from when until when each is one."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from tapsight._options import check_number, check_prefix, did_you_mean, policy_error
from tapsight._text import iso_time, plural

Value = str | int
"""An address or prefix as text, or a number."""

MOST = 1_000_000
"""Members that a set may have."""
MOST_BYTES = 128 << 20
"""How long a file of them may be."""
SHOWN = 10
"""Lines of a file that are named for what is wrong with them."""
PATIENCE = 1000
"""Lines that are wrong, after which the rest is not looked at."""

KEYS = ("member", "from", "until", "note")
"""What may be said of a member: columns of CSV, keys of JSON and of tables in place."""

ALONE = frozenset(
    {
        "member",
        "address",
        "ip",
        "ipaddress",
        "prefix",
        "network",
        "subnet",
        "cidr",
        "host",
        "peer",
        "vlan",
        "vlanid",
        "label",
        "mplslabel",
        "tunnelid",
        "vni",
        "teid",
        "key",
        "number",
        "id",
    }
)
"""What the only column of a table may be called, in small letters, without spaces and the s of many: nothing that could be a member with a slip."""

DAY = 86_400 * 10**9
"""In nanoseconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Dated:
    """A member that is one for a time only."""

    member: Value
    begins: int | None
    """From when on, nanoseconds UTC; none if it always was."""
    ends: int | None
    """The first nanosecond that it is none any more; none if that is not known."""
    note: str | None = None

    def at(self, time: int) -> bool:
        """Whether it is one then."""
        return (self.begins is None or self.begins <= time) and (self.ends is None or time < self.ends)

    def throughout(self, first: int, last: int) -> bool:
        """Whether it is one all of that time."""
        return self.at(first) and self.at(last)

    def ever(self, first: int, last: int) -> bool:
        """Whether it is one at any moment of that time."""
        return (self.begins is None or self.begins <= last) and (self.ends is None or first < self.ends)

    def __str__(self) -> str:
        """The member, and when it is one."""
        begins = f" from {moment_text(self.begins)}" if self.begins is not None else ""
        ends = f" until {end_text(self.ends)}" if self.ends is not None else ""
        return f"{self.member}{begins}{ends}" + (f" ({self.note})" if self.note else "")


@dataclasses.dataclass(frozen=True)
class Members:
    """What a name in [sets] stands for: addresses and prefixes, or numbers."""

    always: tuple[Value, ...] = ()
    """Those without dates."""
    dated: tuple[Dated, ...] = ()
    """Those with dates."""
    file: str | None = None
    """Where they stand, if that is a file."""

    def __len__(self) -> int:
        """How many there are, at whatever time."""
        return len(self.always) + len(self.dated)

    def those(self, wanted: Callable[[Dated], bool]) -> tuple[Value, ...]:
        """Those without dates, and of the others the ones that are wanted."""
        return (*self.always, *(each.member for each in self.dated if wanted(each)))

    @property
    def holds_numbers(self) -> bool:
        """Whether they are numbers rather than addresses and prefixes."""
        return any(
            isinstance(each, int) for each in self.always[:1] or [each.member for each in self.dated[:1]]
        )


# --- Dates ------------------------------------------------------------------------------------------------------------

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_EPOCH = datetime.date(1970, 1, 1)
_LIKE = "such as 2027-01-31, or 2027-01-31T12:00:00Z"


def now() -> int:
    """The time now, nanoseconds UTC."""
    return int(datetime.datetime.now(datetime.UTC).timestamp()) * 10**9


def day_of(value: object) -> datetime.date:
    """A date (RFC 3339, full-date), of TOML or as text."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return datetime.date.fromisoformat(value)
        except ValueError:
            pass
    raise policy_error(f"{_shown(value)} is no date: must be one such as 2027-01-31", value)


def begin_of(day: datetime.date) -> int:
    """The first nanosecond of a day (UTC)."""
    return (day - _EPOCH).days * DAY


def read_time(value: object, *, until: bool) -> int:
    """From when on, or the first nanosecond no more, of what is a date or a time (RFC 3339); a date counts to its end (UTC)."""
    year = (
        value[:4] if isinstance(value, str) and re.match("[0-9]{4}-", value) else getattr(value, "year", 2000)
    )
    if not 1970 <= int(year) <= 9000:
        raise policy_error(f"{_shown(value)} is in no year that captures are of: must be one {_LIKE}", value)
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise policy_error(
                f"{value.isoformat()} says no zone: write {value.isoformat()}Z for UTC, or the offset", value
            )
        return _nanoseconds(value.replace(microsecond=0)) + value.microsecond * 1000
    if isinstance(value, str) and (time := _TIME.fullmatch(value)):
        zone = time[4].upper().replace("Z", "+00:00")
        try:
            whole = datetime.datetime.fromisoformat(f"{time[1]}T{time[2]}{zone}")
        except ValueError as error:
            raise policy_error(f'"{value}" is no time ({error}): must be one {_LIKE}', value) from None
        return _nanoseconds(whole) + int((time[3] or "0").ljust(9, "0"))
    if isinstance(value, datetime.date) or (isinstance(value, str) and _DATE.fullmatch(value)):
        return begin_of(day_of(value)) + (DAY if until else 0)
    if isinstance(value, str) and _TIME.fullmatch(f"{value}Z"):
        raise policy_error(f'"{value}" says no zone: write "{value}Z" for UTC, or the offset', value)
    raise policy_error(f"{_shown(value)} is no date: must be one {_LIKE}", value)


def _nanoseconds(time: datetime.datetime) -> int:
    """Of a time without a fraction of a second."""
    since = time - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (since.days * 86_400 + since.seconds) * 10**9


def moment_text(time: int) -> str:
    """A time as people would write it: the day alone, if it is the beginning of one."""
    days, rest = divmod(time, DAY)
    if rest == 0:
        return (_EPOCH + datetime.timedelta(days=days)).isoformat()
    return iso_time(time).replace(".000000000Z", "Z")


def end_text(ends: int) -> str:
    """The end of a time: the last day, if it is the end of one."""
    return moment_text(ends - DAY) if ends % DAY == 0 else moment_text(ends)


def _shown(value: object) -> str:
    """What was written, in few words."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return _cut(text, 80)


def _cut(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


# --- Members ----------------------------------------------------------------------------------------------------------


def check_set(value: object, info: ValidationInfo) -> Members:
    """A set of the policy: a list of addresses and prefixes or of numbers, each with dates where it has some; or a file of them."""
    context = info.context if isinstance(info.context, Mapping) else {}
    return read_set(value, str(context.get("folder", ".")))


def read_set(value: object, folder: str) -> Members:
    """As :func:`check_set`, with the folder by which names of files go."""
    if isinstance(value, Members):
        return value
    if isinstance(value, dict):
        return _file(value, folder)
    if not isinstance(value, list):
        raise policy_error(
            'must be a list, such as [210, 211] or ["192.0.2.0/24"], or a file, such as { file = "peers.csv" }',
            value,
        )
    return _members(_told(item) for item in value)


def _told(item: object) -> Dated:
    """A member as it stands in a list."""
    if not isinstance(item, dict):
        return _dated({"member": item})
    for key in item:
        if key not in KEYS:
            hint = did_you_mean(str(key), KEYS) or ";"
            raise policy_error(f'unknown key "{key}" of a member{hint} known: {", ".join(KEYS)}', key)
    if "member" not in item:
        raise policy_error('a member lacks "member"', next(iter(item), item))
    return _dated(item)


def _dated(said: Mapping[str, Any]) -> Dated:
    """A member of what is said of it."""
    member, note = said["member"], said.get("note")
    if isinstance(member, int):
        member = check_number(member, "VLAN id, label or tunnel id", 2**32 - 1)
    elif isinstance(member, str):
        member = check_prefix(member)
    else:
        raise policy_error(f"must be a prefix in quotes or a number, not {_shown(member)}", member)
    if note is not None and not isinstance(note, str):
        raise policy_error(f"a note must be text, not {_shown(note)}", note)
    begins = read_time(said["from"], until=False) if "from" in said else None
    ends = read_time(said["until"], until=True) if "until" in said else None
    if begins is not None and ends is not None and begins >= ends:
        first, last = moment_text(begins), end_text(ends)
        if first == last:
            raise policy_error(f"{member} ends when it begins ({first})", member)
        raise policy_error(f"{member} ends ({last}) before it begins ({first})", member)
    return Dated(member, begins, ends, note)


def _members(told: Iterator[Dated], file: str | None = None) -> Members:
    """A set of members, which all have to be of one kind."""
    always: list[Value] = []
    dated: list[Dated] = []
    kind: type | None = None
    for each in told:
        kind = kind or type(each.member)
        if type(each.member) is not kind:
            raise policy_error(
                f"mixes numbers and text ({each.member!r}): must be all prefixes or all numbers", each.member
            )
        if len(always) + len(dated) == MOST:
            raise policy_error(f"has more than {MOST:,} members, the most that a set may have", None)
        if each.begins is None and each.ends is None:
            always.append(each.member)
        else:
            dated.append(each)
    return Members(tuple(always), tuple(dated), file)


# --- Files of members -------------------------------------------------------------------------------------------------


class _FileError(Exception):
    """What is wrong with a file as a whole, and in which line."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


def _file(table: Mapping[str, Any], folder: str) -> Members:
    """The members in a file that a table names."""
    if set(table) != {"file"}:
        odd = next((key for key in table if key != "file"), "file")
        raise policy_error('a set from a file is { file = "peers.csv" }, and has no other key', odd)
    name = table["file"]
    if not isinstance(name, str) or not name or "\0" in name:
        raise policy_error(f"must be the name of a file, not {_shown(name)}", name)
    reader = {".csv": _csv, ".json": _json}.get(Path(name).suffix.lower())
    if reader is None:
        raise policy_error(f'"{name}" is neither .csv nor .json, which files of members have to be', name)
    path = Path(folder) / name
    problems: list[str] = []

    def members() -> Iterator[Dated]:
        kind: type | None = None
        for line, told in reader(_text(path)):
            try:
                member = told()
                kind = kind or type(member.member)
                if type(member.member) is not kind:
                    what = "addresses and prefixes" if kind is str else "numbers"
                    raise policy_error(
                        f"{_shown(member.member)} is not like those before: a set is all {what}, or none",
                        name,
                    )
                yield member
            except PydanticCustomError as error:
                problems.append(f"{path}:{line}: {_cut(error.message())}")
                if len(problems) == PATIENCE:
                    return

    try:
        found = _members(members(), str(path))
    except _FileError as error:
        problems.append(f"{path}:{error.line}: {error}" if error.line else f"{path}: {error}")
    except PydanticCustomError as error:
        problems.append(f"{path}: {_cut(error.message())}")
    if problems:
        more = len(problems) - SHOWN
        so_far = " so far" if len(problems) == PATIENCE else ""
        rest = [f"{path}: {plural(more, 'more problem')}{so_far}"] if more > 0 else []
        raise _policy_errors([*problems[:SHOWN], *rest], name)
    return found


def _policy_errors(messages: Sequence[str], item: object) -> PydanticCustomError:
    """Several errors at one place of a policy."""
    context = {"message": messages[0], "more": list(messages[1:]), "item": item}
    return PydanticCustomError("policy", "{message}", context)


def _text(path: Path) -> str:
    """The text of a file of members."""
    try:
        if not path.exists():
            raise _FileError(None, "there is no such file (names go by the folder of the policy)")
        if not path.is_file():
            raise _FileError(None, "is no file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _FileError(None, error.strerror or str(error)) from error
    if len(data) > MOST_BYTES:
        raise _FileError(
            None, f"is longer than {MOST_BYTES >> 20} MiB, the most that a file of members may be"
        )
    try:
        # What Excel writes begins with a byte order mark.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _FileError(data[: error.start].count(b"\n") + 1, "not UTF-8 text: save it as UTF-8") from error
    if (at := text.find("\0")) >= 0:
        raise _FileError(text.count("\n", 0, at) + 1, "holds a NUL, which text does not")
    if not text.strip():
        raise _FileError(None, 'is empty: of no members, .csv has a header ("member") and .json is []')
    return text


_Row = tuple[int, Callable[[], Dated]]
"""The line of a member, and what reads it."""


def _csv(text: str) -> Iterator[_Row]:
    """The members in a table with a header (RFC 4180)."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise _FileError(line, f"not a table of comma-separated values ({error})") from error
        if row is None:
            return
        if header is None:
            header = _header([cell.strip() for cell in row], line)
        elif any(cell.strip() for cell in row):
            yield line, lambda row=row, names=header: _dated(_cells(row, names))  # type: ignore[misc]


def _header(names: list[str], line: int) -> list[str]:
    """The columns of a table; one alone may be called as people call such a list."""
    for name in names:
        if _is_member(name):
            raise _FileError(
                line,
                f'begins with {_shown(name)} where a header belongs: put a first line before it, such as "member"',
            )
    if len(names) == 1 and not any(char in names[0] for char in ";\t"):
        told = re.sub("[ _-]", "", names[0].lower())
        if not {told, told.removesuffix("s"), told.removesuffix("es")} & ALONE:
            raise _FileError(
                line,
                f'begins with {_shown(names[0])} where a header belongs, such as "member", "address", "prefix" or "vlan"',
            )
        return ["member"]
    if any(char in name for name in names for char in ";\t"):
        raise _FileError(line, "columns must be separated by commas, not by semicolons or tabs")
    for name in names:
        if name not in KEYS:
            hint = did_you_mean(name, KEYS) or ";"
            raise _FileError(line, f"unknown column {_shown(name)}{hint} known: {', '.join(KEYS)}")
        if names.count(name) > 1:
            raise _FileError(line, f"has the column {_shown(name)} more than once")
    if "member" not in names:
        raise _FileError(line, 'lacks the column "member"')
    return names


def _is_member(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return re.fullmatch("[0-9]+", text) is not None
    return True


def _cells(row: list[str], names: list[str]) -> dict[str, Any]:
    if len(row) != len(names):
        raise policy_error(
            f"has {plural(len(row), 'cell')}, and the header {plural(len(names), 'column')}; what holds a comma belongs in quotes",
            None,
        )
    said: dict[str, Any] = {name: cell.strip() for name, cell in zip(names, row, strict=True) if cell.strip()}
    if "member" not in said:
        raise policy_error("has no member", None)
    if re.fullmatch("[0-9]{1,20}", said["member"]):
        said["member"] = int(said["member"])
    return said


def _json(text: str) -> Iterator[_Row]:
    """The members in a list of JSON (RFC 8259)."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    space = re.compile(r"[ \t\r\n]*")
    counted, line = 0, 1

    def line_of(at: int) -> int:
        nonlocal counted, line
        line, counted = line + text.count("\n", counted, at), at
        return line

    def after_space(at: int) -> int:
        return space.match(text, at).end()  # type: ignore[union-attr]

    at = after_space(0)
    if not text.startswith("[", at):
        raise _FileError(
            1, 'must be a list, such as ["192.0.2.1", { "member": "192.0.2.2", "until": "2027-01-31" }]'
        )
    at = after_space(at + 1)
    is_first = True
    while not text.startswith("]", at):
        if not is_first:
            if not text.startswith(",", at):
                raise _FileError(line_of(at), "not JSON: a comma or ] is missing")
            at = after_space(at + 1)
        is_first, start = False, at
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise _FileError(error.lineno, f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}") from error
        except RecursionError as error:
            raise _FileError(line_of(start), "nested too deep") from error
        except ValueError as error:
            # A number with more digits than Python reads, or a key that is there twice.
            raise _FileError(line_of(start), str(error)) from error
        yield line_of(start), lambda value=value: _told(value)  # type: ignore[misc]
        at = after_space(at)
    if after_space(at + 1) != len(text):
        raise _FileError(line_of(at), "not JSON: something follows the list")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key is there twice")
    return keys


# --- For editors ------------------------------------------------------------------------------------------------------

DAY_SCHEMA = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
"""A date, as editors see those of TOML."""
_WHEN = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2}))?$",
}
_MEMBER = {"type": ["integer", "string"]}
_SCHEMA = {
    "anyOf": [
        {
            "type": "array",
            "items": {
                "anyOf": [
                    _MEMBER,
                    {
                        "type": "object",
                        "properties": {
                            "member": _MEMBER,
                            "from": _WHEN,
                            "until": _WHEN,
                            "note": {"type": "string"},
                        },
                        "required": ["member"],
                        "additionalProperties": False,
                    },
                ]
            },
        },
        {
            "type": "object",
            "properties": {"file": {"type": "string", "pattern": r"\.([Cc][Ss][Vv]|[Jj][Ss][Oo][Nn])$"}},
            "required": ["file"],
            "additionalProperties": False,
        },
    ]
}

Set = Annotated[Members, PlainValidator(check_set), WithJsonSchema(_SCHEMA)]
"""What a name in [sets] stands for."""
