"""The policy: what is agreed and allowed, as a TOML file.

::

    packs = ["router-hardening"] # checks that belong together: carrier-voice, carrier-internet, mobile-signalling, capture-quality

    [sets]                       # names for lists of one kind: addresses and prefixes, or numbers
    voice_peers  = ["192.0.2.10", { member = "203.0.113.10", until = 2027-01-31, note = "CHG-881" }]
    carriers     = { file = "carriers.csv" }  # columns: member, from, until, note; or a list in .json
    voice_vlans  = [210]
    mirror_sinks = []

    [network]                    # what the network is; some checks need to know
    infrastructure = ["198.51.100.0/28"]
    gateways       = ["198.51.100.1"]
    home           = "NO"        # the country, or countries, whose traffic is national
    anycast        = []          # addresses that are in several places at once

    [places]                     # where addresses are, beside what registries say; a later file counts before an earlier one
    files = ["places.csv", "dbip.mmdb"]

    [zones]                      # names for parts of the network; also: mpls, macs, taps, country
    core = { prefixes = ["198.51.100.0/24"], vlans = [100] }
    link = { macs = ["00:1b:54:ab:cd:ef"], country = "SE" }

    [checks.I1]                  # national traffic leaves the country only so; also: between, tunnel
    allow = ["SE"]

    [checks.V1]                  # voice signalling only between agreed pairs
    pairs = [["voice_peers", "voice_peers"]]

    [checks.V2]                  # voice media only in these VLANs (also: mpls, tunnel_ids, prefixes)
    vlans = "voice_vlans"

    [checks.I5]                  # no tunnels except these
    allow = [ { encap = "gre", between = ["192.0.2.1", "198.51.100.1"], id = 17 } ]

    [checks.I6]                  # no mirror sessions except to these
    sinks = "mirror_sinks"
    severity = "critical"        # every check also takes severity, min_coverage, enabled, ticket, attack

    [[exceptions]]               # findings that somebody answers for until a day; also: address, tap, encap, id
    check   = "I5"
    between = ["192.0.2.1", "198.51.100.66"]
    owner   = "noc@example.net"
    reason  = "migration, CHG-1234"
    expires = 2026-12-31

    [checks.no-telnet]           # a check of one's own: what has to be true of rows of a table (flows, unless `over` names another)
    scope  = "addr in infrastructure"
    expect = "app != telnet"

Detectors (``[checks.A1]``) take the options of every check too. What is not understood is an error, never ignored.
"""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticCustomError

from tapsight._exceptions import Waivers
from tapsight._expressions import ExpressionError
from tapsight._files import read_whole
from tapsight._options import (
    Countries,
    Country,
    Files,
    Labels,
    Macs,
    Prefixes,
    Taps,
    Vlans,
    did_you_mean,
    policy_error,
)
from tapsight._sets import Dated, Members, Set, now, read_set
from tapsight._text import mac_text, safe
from tapsight.checks import CHECKS
from tapsight.checks._base import Check, Pack
from tapsight.checks._own import NAME, OwnOptions, check_name, own_rule
from tapsight.detectors import DETECTORS

if TYPE_CHECKING:
    from tapsight.places import Places

MOST_BYTES = 64 << 20
"""How long a policy may be; sets in files of their own have their own limit."""

_CLOSED = ConfigDict(extra="forbid", frozen=True)

Checks: type[BaseModel] = create_model(
    "Checks",
    __config__=_CLOSED,
    **{id_: (detector.options | None, None) for id_, detector in DETECTORS.items()},  # type: ignore[call-overload]
    **{id_: (check.options | None, None) for id_, check in CHECKS.items()},
)
"""The tables under [checks]: one for each check and detector."""


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a policy."""

    line: int | None
    """Line of the file, from 1."""
    message: str
    """What is wrong there and what would be right."""


class PolicyError(ValueError):
    """A policy that cannot be used. The text has a line for each problem: ``file:line: what is wrong``."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        """Problems of the policy with this name."""
        self.problems = sorted(problems, key=lambda problem: problem.line or 0)
        lines = (
            f"{name}:{each.line}: {each.message}" if each.line else f"{name}: {each.message}"
            for each in self.problems
        )
        super().__init__("\n".join(safe(line) for line in lines))


class Network(BaseModel):
    """What the network is."""

    model_config = _CLOSED

    infrastructure: Prefixes = ()
    """Addresses of its routers, switches and other devices."""
    gateways: Prefixes = ()
    """Addresses that hosts send to, to reach others."""
    home: Countries = ()
    """The countries whose traffic is national."""
    anycast: Prefixes = ()
    """Addresses that are in several places at once (RFC 4786), so that no country is theirs."""


class PlaceFiles(BaseModel):
    """What is known of addresses beside what registries say."""

    model_config = _CLOSED

    files: Files = ()
    """MaxMind DBs, tables as CSV, or delegation files of registries; a later one counts before an earlier one."""


class Zone(BaseModel):
    """What belongs to a part of the network that has a name."""

    model_config = _CLOSED

    prefixes: Prefixes = ()
    """Addresses and prefixes. They say the zone of an address before all that follows."""
    vlans: Vlans = ()
    """VLAN ids, for addresses that no zone lists."""
    mpls: Labels = ()
    """MPLS labels."""
    macs: Macs = ()
    """MAC addresses of what sends from there."""
    taps: Taps = ()
    """Names of taps, or of interfaces, that see nothing else."""
    country: Country | None = None
    """The country that all of it is in."""


def _disjoint(zones: dict[str, Zone]) -> dict[str, Zone]:
    """The zones, if no two list the same."""
    owners: dict[tuple[str, object], str] = {}
    for name, zone in zones.items():
        for kind, members in zone:
            if kind == "country":
                continue
            for member in members:
                key = ipaddress.ip_network(member) if kind == "prefixes" else member
                owner = owners.setdefault((kind, key), name)
                if owner != name:
                    shown = mac_text(member) if isinstance(member, bytes) else member
                    message = f'{shown} is listed under {kind} of "{owner}" and of "{name}"'
                    raise policy_error(message, member)
    return zones


class Policy(BaseModel):
    """What is agreed and allowed."""

    model_config = _CLOSED

    packs: list[Pack] = []
    """Packs of checks that are to judge, beside those that always do and those that have a table under [checks]."""
    sets: dict[str, Set] = Field(default_factory=dict)
    """Addresses and prefixes or numbers, by name, with the times at which each counts."""
    network: Network = Network()
    """What the network is."""
    places: PlaceFiles = PlaceFiles()
    """What is known of addresses."""
    zones: Annotated[dict[str, Zone], AfterValidator(_disjoint)] = Field(default_factory=dict)
    """Parts of the network by name."""
    checks: Any = Field(default_factory=Checks)
    """Options by check, an instance of :data:`Checks`, as they are at one time: when it was loaded, or that of :meth:`when`."""
    exceptions: Waivers = ()
    """Findings that do not count for a time."""
    _name: str = PrivateAttr("policy")
    _lines_of_files: tuple[int | None, ...] = PrivateAttr(())
    _known: Any = PrivateAttr(None)
    _own: dict[str, tuple[type[Check[Any]], OwnOptions]] = PrivateAttr(default_factory=dict)
    _said: Any = PrivateAttr(None)

    def when(self, wanted: Callable[[Dated], bool]) -> Policy:
        """The policy of a time, with those members of sets that count then, beside those that always do."""
        if self._said is None or not any(each.dated for each in self.sets.values()):
            return self
        said, folder = self._said
        sets: dict[str, Any] = {name: each.those(wanted) for name, each in self.sets.items()}
        checks = Checks.model_validate(said, context={"sets": sets, "folder": folder})
        policy = self.model_copy(update={"checks": checks})
        policy._own = {
            id_: (own_rule(id_, options, sets), options) for id_, (_, options) in self._own.items()
        }
        return policy

    def says_as(self, other: Policy) -> bool:
        """Whether it says the same of all that is judged as another one, made of the same file."""
        return self.checks == other.checks and self._own_sets() == other._own_sets()

    def _own_sets(self) -> dict[str, Any]:
        """The sets that its own checks may use, by check."""
        return {
            id_: {
                name: members
                for name, members in getattr(rule, "own_sets", {}).items()
                if name in f"{options.scope} {options.expect}"
            }
            for id_, (rule, options) in self._own.items()
        }

    def known_places(self) -> Places:
        """What is known of addresses by its files and zones, and of registries. Files are read once.

        Raises:
            PolicyError: A file cannot be read or is not understood.
        """
        if self._known is None:
            from tapsight.places import Places

            try:
                self._known = Places(*self.places.files, zones=self.zones)
            except (OSError, ValueError) as error:
                text = str(error)
                at = next(
                    (n for n, file in enumerate(self.places.files) if text.startswith(f"{file}:")), None
                )
                lines = self._lines_of_files
                line = lines[at] if at is not None and at < len(lines) else None
                where = "[places] files" if at is not None else "[zones]"
                raise PolicyError(self._name, [Problem(line, f"{where}: {text}")]) from error
        known: Places = self._known
        return known

    def files(self) -> tuple[str, ...]:
        """The files that it names, of places and of sets."""
        sets = dict.fromkeys(each.file for each in self.sets.values() if each.file is not None)
        return (*self.places.files, *sets)

    def options(self, id_: str) -> Any:
        """The options of this check or detector, ``None`` if the policy does not mention it."""
        return self._own[id_][1] if id_ in self._own else getattr(self.checks, id_, None)

    def in_force(self) -> dict[str, type[Check[Any]]]:
        """The checks that judge, by id: those that always do, those of packs, those that the policy mentions, and its own."""
        shipped = {
            id_: each
            for id_, each in CHECKS.items()
            if each.pack is None or each.pack in self.packs or self.options(id_) is not None
        }
        return {**shipped, **{id_: each for id_, (each, _) in self._own.items()}}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Reads a policy file.

        Raises:
            PolicyError: It cannot be read, is not a policy, or says nothing.
        """
        try:
            text = read_whole(path, MOST_BYTES, "policy").decode("utf-8")
        except OSError as error:
            raise PolicyError(os.fspath(path), [Problem(None, error.strerror or str(error))]) from error
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise PolicyError(
                os.fspath(path), [Problem(line, "not UTF-8 text, which TOML has to be")]
            ) from error
        except ValueError as error:
            what = str(error).removeprefix(f"{os.fspath(path)}: ")
            raise PolicyError(os.fspath(path), [Problem(None, what)]) from error
        is_silent = all(not line or line.startswith("#") for line in map(str.strip, text.splitlines()))
        # Whoever names a device, as /dev/null, means a policy that says nothing; a file is rather one that was not written.
        if is_silent and Path(path).is_file():
            message = "says nothing: `tapsight policy init CAPTURE` writes a policy to begin with"
            raise PolicyError(os.fspath(path), [Problem(None, message)])
        return cls.loads(text, name=os.fspath(path), folder=Path(path).parent)

    @classmethod
    def loads(cls, text: str, *, name: str = "policy", folder: str | os.PathLike[str] = ".") -> Policy:
        """Reads a policy from text; ``name`` is what errors call it, and files that it names go by ``folder``.

        Raises:
            PolicyError: It is not a policy.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(name, [_syntax_problem(str(error), text)]) from error
        except RecursionError as error:
            raise PolicyError(name, [Problem(None, "nested too deep")]) from error
        except ValueError as error:
            # A number with more digits than Python reads.
            raise PolicyError(name, [Problem(None, str(error))]) from error
        sets = _read_sets(data, os.fspath(folder))
        time = now()
        listed = {name: each.those(lambda member: member.at(time)) for name, each in sets.items()}
        context = {"sets": listed, "folder": os.fspath(folder)}
        lines = _Lines(text)
        problems = []
        checks = None
        said = data.get("checks")
        # A table that says what to expect is a check of the policy's own.
        own = (
            {id_: each for id_, each in said.items() if _is_own(id_, each)} if isinstance(said, dict) else {}
        )
        try:
            # The top level says what else it may hold; the tables under [checks] have types made from the registry.
            if isinstance(said, dict):
                shipped = {id_: each for id_, each in said.items() if id_ not in own}
                checks = Checks.model_validate(shipped, context=context)
        except ValidationError as error:
            problems += _problems(
                [{**each, "loc": ("checks", *each["loc"])} for each in error.errors()], lines
            )
        # What the network is has no dates, and exceptions have their own.
        dated = {name for name, each in sets.items() if each.dated}
        try:
            policy = cls.model_validate(data, context={**context, "dated": dated, "own": tuple(own)})
        except ValidationError as error:
            problems += _problems(error.errors(), lines)
        else:
            policy._own = _own_checks(own, listed, context, lines, problems)
        if "checks" in data and not isinstance(said, dict):
            problems.append(Problem(lines.find(("checks",)), "checks must be a table, such as [checks.V1]"))
        if problems:
            raise PolicyError(name, problems)
        # A copy shares what is private.
        policy = policy.model_copy(update={"checks": checks or Checks()})
        files = data.get("places", {}).get("files", [])
        policy._name = name
        policy._said = {id_: each for id_, each in (said or {}).items() if id_ not in own}, os.fspath(folder)
        policy._lines_of_files = tuple(
            lines.find(("places", "files"), file) for file in (files if isinstance(files, list) else [files])
        )
        return policy


def _is_own(id_: str, table: object) -> bool:
    return id_ not in Checks.model_fields and isinstance(table, dict) and "expect" in table


def _own_checks(
    tables: Mapping[str, Any],
    sets: Mapping[str, Any],
    context: Mapping[str, Any],
    lines: _Lines,
    problems: list[Problem],
) -> dict[str, tuple[type[Check[Any]], OwnOptions]]:
    """The policy's own checks; adds what is wrong with others."""
    made: dict[str, tuple[type[Check[Any]], OwnOptions]] = {}
    for id_, table in tables.items():
        where = ("checks", id_)
        try:
            check_name(id_)
        except ValueError as error:
            problems.append(Problem(lines.find(where), str(error)))
            continue
        try:
            options = OwnOptions.model_validate(table, context=context)
        except ValidationError as error:
            problems += _problems([{**each, "loc": (*where, *each["loc"])} for each in error.errors()], lines)
            continue
        try:
            rule = own_rule(id_, options, sets)
        except ValueError as error:
            problems.append(Problem(lines.find((*where, "by")), f"{_where((*where, 'by'))}: {error}"))
            continue
        for key, text in (("scope", options.scope), ("expect", options.expect)):
            try:
                if text is not None:
                    rule.condition(text, None, None)
            except ExpressionError as error:
                problems.append(Problem(lines.find((*where, key)), f"{_where((*where, key))}: {error}"))
        made[id_] = rule, options
    return made


def _read_sets(data: dict[str, Any], folder: str) -> dict[str, Members]:
    """The sets that are understood, which take the place of what was read; what is wrong with others is reported where they stand."""
    named = data.get("sets")
    if not isinstance(named, dict):
        return {}
    found: dict[str, Members] = {}
    for name, value in named.items():
        try:
            found[name] = named[name] = read_set(value, folder)
        except PydanticCustomError:
            found[name] = Members()
    return found


def _syntax_problem(message: str, text: str) -> Problem:
    # Python tells the position only inside the message until 3.14.
    what, _, position = message.partition(" (at ")
    line = re.match(r"line (\d+)", position)
    return Problem(
        int(line[1]) if line else text.rstrip("\n").count("\n") + 1, f"not TOML: {what[:1].lower()}{what[1:]}"
    )


def _problems(errors: Iterable[Any], lines: _Lines) -> list[Problem]:
    """What is wrong; some errors say several things of one place."""
    found = []
    for error in errors:
        first = _problem(error["loc"], error, lines)
        found += [
            first,
            *(
                dataclasses.replace(first, message=f"{_where(error['loc'])}: {message}")
                for message in error.get("ctx", {}).get("more", ())
            ),
        ]
    return found


def _problem(loc: tuple[int | str, ...], error: Any, lines: _Lines) -> Problem:
    *above, last = loc
    where = _where(loc)
    context = error.get("ctx", {})
    item = context.get("item", error["input"])
    match error["type"]:
        case "extra_forbidden":
            known = _known(tuple(above))
            line = lines.find(loc)
            if above == ["checks"] and NAME.fullmatch(str(last)):
                shipped = next((id_ for id_ in known if id_.lower() == last), None)
                hint = f'did you mean "{shipped}"? A' if shipped else "a"
                return Problem(
                    line,
                    f'unknown check "{last}"; {hint} check of your own needs `expect`, what has to be true, such as expect = "vlan in (210, 211)"',
                )
            hint = f"{did_you_mean(str(last), known) or ';'} known: {', '.join(known)}"
            what = "check" if above == ["checks"] else "key"
            return Problem(line, f'unknown {what} "{last}"{_inside(tuple(above))}{hint}')
        case "literal_error":
            hint = did_you_mean(str(item), re.findall(r"'([^']*)'", context.get("expected", "")))
            message = f"must be {context.get('expected')}, not {item!r}{hint}"
        case "missing":
            return Problem(lines.find(tuple(above)), f'{_where(tuple(above))}: lacks "{last}"')
        case "policy":
            message = context.get("message", error["msg"])
        case "model_type" | "model_attributes_type":
            message = f"must be a table, not {item!r}"
        case _:
            message = f"{error['msg'].replace('Input should be', 'must be')}, not {item!r}"
    return Problem(lines.find(loc, item), f"{where}: {message}")


def _where(loc: tuple[int | str, ...]) -> str:
    """A place in the policy as people write it: ``[checks.V1] pairs[0][1]``."""
    match loc:
        case ("checks", check, *rest) if rest:
            table = f"[checks.{check}] "
        case ("exceptions", int(number), *rest) if rest:
            table = f"[[exceptions]] no. {number + 1}, "
        case ("exceptions", int(number)):
            return f"[[exceptions]] no. {number + 1}"
        case ("sets" | "network" | "places" | "zones" as name, *rest) if rest:
            table = f"[{name}] "
        case _:
            return f"[{'.'.join(map(str, loc))}]"
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
    return table + path.removeprefix(".")


def _inside(above: tuple[int | str, ...]) -> str:
    return f" in {_where(above)}" if above else ""


def _known(above: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand at this place."""
    model: Any = Policy
    for at, part in enumerate(above):
        if above[0] == "checks" and at == 0:
            model = Checks
            continue
        if above[0] == "checks" and at == 1 and part not in Checks.model_fields:
            model = OwnOptions
            continue
        if isinstance(part, str) and (above[0] != "zones" or at != 1):
            model = _model_within(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_within(annotation: Any) -> Any:
    """The model in an annotation such as ``list[Allowed] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_within(each) for each in getattr(annotation, "__args__", ()))
    return next((model for model in inner if model is not None), None)


class _Lines:
    """Where the keys of a TOML text stand. tomllib does not tell."""

    _HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
    _KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
    _PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
    _MARK = re.compile(r'''"""|\'\'\'|"(?:\\.|[^"\\])*"|'[^']*'|#.*|[][{}]''')

    def __init__(self, text: str) -> None:
        self._text = text.splitlines()
        self._keys = list(self._scan())

    def _scan(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """Each header and key with its line; what continues a value of several lines is skipped.

        Tables of an array, such as ``[[exceptions]]``, are numbered from 0.
        """
        table: tuple[str, ...] = ()
        counts: dict[tuple[str, ...], int] = {}
        depth, quote = 0, ""
        for number, line in enumerate(self._text, 1):
            if depth == 0 and not quote:
                if header := self._HEADER.match(line):
                    table = self._path(header[1])
                    if line.lstrip().startswith("[["):
                        counts[table] = counts.get(table, -1) + 1
                        table = (*table, str(counts[table]))
                    yield table, number
                    continue
                if key := self._KEY.match(line):
                    yield (*table, *self._path(key[1])), number
                    line = line[key.end() :]  # noqa: PLW2901
            for mark in self._MARK.findall(line):
                if mark in {'"""', "'''"}:
                    quote = "" if quote == mark else quote or mark
                elif not quote and mark in "[]{}":
                    depth = max(0, depth + (1 if mark in "[{" else -1))

    def _path(self, dotted: str) -> tuple[str, ...]:
        return tuple(part.strip("\"'") for part in self._PART.findall(dotted))

    def find(self, loc: tuple[int | str, ...], item: object = None) -> int | None:
        """The line of what is at this place: of the longest part of it that can be found, and there of the item."""
        names = tuple(str(part) for part in loc)
        for length in range(len(names), 0, -1):
            lines = [line for path, line in self._keys if path == names[:length]]
            # A table may only be there as part of a longer header or key: [checks.V1] is where checks are.
            lines += [line for path, line in self._keys if path[:length] == names[:length]]
            if lines:
                key = names[-1] if length < len(names) else None
                return self._find_within(lines[0], item, key)
        return None

    def _find_within(self, start: int, item: object, key: str | None) -> int:
        """The first line from the start, up to the next key, that has the item, or else the key, written in it."""
        end = min((line for _, line in self._keys if line > start), default=len(self._text) + 1)
        written = []
        if isinstance(item, str):
            written.append(rf"[\"']{re.escape(item)}[\"']")
        elif isinstance(item, int | float):
            written.append(rf"(?<![\w.]){re.escape(str(item).lower())}(?![\w.])")
        elif isinstance(item, datetime.date):
            written.append(re.escape(str(item)[:10]))
        if key is not None:
            written.append(rf"(?<![\w-])[\"']?{re.escape(key)}[\"']?\s*=")
        for pattern in written:
            for number in range(start, end):
                if re.search(pattern, self._text[number - 1]):
                    return number
        return start
