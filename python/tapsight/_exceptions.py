"""Exceptions of a policy: findings that somebody answers for until a day, and why."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, WithJsonSchema, model_validator

from tapsight._options import Pair, Prefixes, Taps, did_you_mean, policy_error, within
from tapsight._sets import DAY, DAY_SCHEMA, begin_of, day_of
from tapsight._text import plural
from tapsight.findings import Finding, FrameNumbers, finding_schema, findings_table, grouped

if TYPE_CHECKING:
    import pyarrow as pa

SOON = 30
"""Days before its end from which on an exception is said to end."""

SELECTORS = ("between", "address", "tap", "encap", "id")
"""What narrows an exception down."""

_OF_PREFIXES = frozenset({"B2", "B3", "B4", "B19"})
"""Checks whose findings are of whole prefixes: an address is a part of one only."""


def _text(what: str, like: str) -> BeforeValidator:
    def read(value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise policy_error(f"must say {what}, such as {like!r}, not {value!r}", value)
        return value

    return BeforeValidator(read)


def _checks(value: object, info: ValidationInfo) -> tuple[str, ...]:
    from tapsight.checks import CHECKS
    from tapsight.checks._composite import Composite
    from tapsight.detectors import DETECTORS

    context = info.context if isinstance(info.context, Mapping) else {}
    known = [*DETECTORS, *CHECKS, *context.get("own", ())]
    items: list[Any] = value if isinstance(value, list) else [value]
    if not items:
        raise policy_error('must name a check or detector, such as "I5"', value)
    for item in items:
        family = item.partition(".")[0] if isinstance(item, str) else None
        if family not in known:
            hint = did_you_mean(str(item), known) or ";"
            raise policy_error(
                f"no check or detector is called {item!r}{hint} known: {', '.join(known)}", item
            )
        check = CHECKS.get(str(family))
        if check is not None and issubclass(check, Composite):
            raise policy_error(
                f"{family} has no findings, but says what others find: name {' or '.join(check.of)}", item
            )
    return tuple(items)


def _ids(value: object) -> tuple[str, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or not re.fullmatch("[0-9a-f]{12}", item):
            raise policy_error(f"must be a finding's id, 12 hexadecimal digits, not {item!r}", item)
    return tuple(items)


def _listed(**one: Any) -> WithJsonSchema:
    """For editors: a text or a list of them."""
    text = {"type": "string", **one}
    return WithJsonSchema({"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]})


class Waiver(BaseModel):
    """An entry of [[exceptions]]: findings that do not count for a time. All that is given has to fit."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        json_schema_extra={"anyOf": [{"required": [name]} for name in SELECTORS]},
    )

    check: Annotated[tuple[str, ...], BeforeValidator(_checks), _listed()]
    """Of which checks or detectors, as findings name them: ``I5``, ``A5`` or ``A5.forked``."""
    between: Pair | None = None
    """Findings that are about two addresses, one on each of these sides."""
    address: Prefixes | None = None
    """Findings that are about an address among these."""
    tap: Taps | None = None
    """Findings that were seen at these taps, and at no other."""
    encap: Annotated[str, _text("which encapsulation", "gre")] | None = None
    """Findings about a tunnel of this stack, or with this one outermost."""
    id: Annotated[tuple[str, ...], BeforeValidator(_ids), _listed(pattern="^[0-9a-f]{12}$")] | None = None
    """Findings with these ids."""
    owner: Annotated[str, _text("who answers for it", "noc@example.net")]
    """Who answers for it."""
    reason: Annotated[str, _text("why it is so", "migration, CHG-1234")]
    """Why it is so."""
    expires: Annotated[datetime.date, BeforeValidator(day_of), WithJsonSchema(DAY_SCHEMA)]
    """The last day (UTC) on which it counts."""

    @model_validator(mode="after")
    def _is_narrow(self) -> Waiver:
        if all(getattr(self, name) is None for name in SELECTORS):
            raise policy_error(
                f"would cover all that {' and '.join(self.check)} ever find: say which with one of {', '.join(SELECTORS)}",
                None,
            )
        return self

    @property
    def ends(self) -> int:
        """The first nanosecond (UTC) that it does not count for."""
        return begin_of(self.expires) + DAY

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is one of those meant, be it in time or not."""
        if {finding.check or finding.detector, finding.family}.isdisjoint(self.check):
            return False
        addresses = () if finding.family in _OF_PREFIXES else finding.addresses
        encap = finding.tunnel.encap if finding.tunnel.encap in finding.identity else None
        return (
            (self.between is None or _are_between(addresses, *self.between))
            and (self.address is None or any(within(each, self.address) for each in addresses))
            and (self.tap is None or finding.seen_at <= set(self.tap))
            and (self.encap is None or (encap is not None and self.encap in {encap, encap.partition("/")[0]}))
            and (self.id is None or finding.id in self.id)
        )

    @property
    def about(self) -> str:
        """What it covers, in plain words."""
        words = []
        if self.between is not None:
            words.append(f"between {_some(self.between[0])} and {_some(self.between[1])}")
        words += [f"about {_some(self.address)}"] if self.address is not None else []
        words += [f"seen at {_some(self.tap)} only"] if self.tap is not None else []
        words += [f"in {self.encap}"] if self.encap is not None else []
        words += [f"with id {_some(self.id)}"] if self.id is not None else []
        return f"{_some(self.check)} {', '.join(words)}"

    def left(self, time: int) -> int:
        """For how many days after that of this time it counts still; negative once it has expired."""
        return (begin_of(self.expires) - time // DAY * DAY) // DAY


def _tables(value: object) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise policy_error("must be tables: write [[exceptions]], with two brackets, before each", value)
    return value


Waivers = Annotated[tuple[Waiver, ...], BeforeValidator(_tables)]
"""What stands under [[exceptions]]."""


def _some(words: Sequence[str], most: int = 4) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return (" or ".join(words[:most]) or "nothing") + more


def _are_between(addresses: Sequence[bytes], left: Sequence[str], right: Sequence[str]) -> bool:
    """Whether of two of the addresses one is on each side."""
    return any(
        within(one, left) and within(other, right) for one, other in itertools.permutations(addresses, 2)
    )


# --- What they do to findings -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Excepting:
    """What the exceptions of a policy make of findings."""

    findings: list[Finding]
    """Those that count; where an exception has expired, the sentence says so."""
    excepted: list[tuple[Finding, Waiver]]
    """Those that do not, each with what covers it."""
    rows: list[dict[str, Any]]
    """Each exception with what became of it: what :attr:`tapsight.Result.exceptions` has."""

    def note(self, findings: Iterable[Finding]) -> str | None:
        """How many of these are excepted, by whom, why and until when."""
        ids = {finding.id for finding in findings}
        counts: dict[Waiver, int] = {}
        for finding, waiver in self.excepted:
            if finding.id in ids:
                counts[waiver] = counts.get(waiver, 0) + 1
        texts = [f"{plural(count, 'finding')} excepted: {answered(each)}" for each, count in counts.items()]
        return "; ".join(texts) or None


def excepted_schema() -> pa.Schema:
    """The schema of excepted findings: that of findings, and what is said of the exception."""
    import pyarrow as pa

    schema = finding_schema()
    for name, kind in (("owner", pa.string()), ("reason", pa.string()), ("expires", pa.date32())):
        schema = schema.append(pa.field(name, kind, nullable=False))
    return schema


def excepted_table(excepted: Iterable[tuple[Finding, Waiver]], numbers: FrameNumbers) -> pa.Table:
    """Excepted findings as a table; of those of one kind under one exception, what comes after the first 50 is one row more."""
    import pyarrow as pa

    by_waiver: dict[Waiver, list[Finding]] = {}
    for finding, waiver in excepted:
        by_waiver.setdefault(waiver, []).append(finding)
    tables = [excepted_schema().empty_table()]
    for waiver, findings in by_waiver.items():
        table = findings_table(grouped(findings), numbers)
        verdict = pa.array(["excepted"] * len(table), pa.string())
        table = table.set_column(
            table.schema.get_field_index("verdict"), table.schema.field("verdict"), verdict
        )
        for name in ("owner", "reason", "expires"):
            field = excepted_schema().field(name)
            table = table.append_column(field, pa.array([getattr(waiver, name)] * len(table), field.type))
        tables.append(table)
    return pa.concat_tables(tables)


def answered(waiver: Waiver) -> str:
    """Who answers for it, why, and until when."""
    return f"{waiver.owner}, {waiver.reason}, until {waiver.expires.isoformat()}"


def except_from(findings: Sequence[Finding], waivers: Sequence[Waiver], last: int) -> Excepting:
    """Takes out the findings that an exception covers, if the last packet of them is not after its end.

    The first one in the policy that does so counts. ``last`` is the time of the last packet of all, from which on is told what ends soon.
    """
    kept: list[Finding] = []
    excepted: list[tuple[Finding, Waiver]] = []
    covered, late = [0] * len(waivers), [0] * len(waivers)
    for finding in findings:
        fitting = [at for at, waiver in enumerate(waivers) if waiver.covers(finding)]
        valid = next((at for at in fitting if finding.last_ts < waivers[at].ends), None)
        if valid is not None:
            covered[valid] += 1
            excepted.append((finding, waivers[valid]))
            continue
        if fitting:
            # Of several, the one that was there longest.
            at = max(fitting, key=lambda at: waivers[at].expires)
            late[at] += 1
            ended = (
                f"The exception of {waivers[at].owner} for it expired on {waivers[at].expires.isoformat()}."
            )
            finding = dataclasses.replace(finding, sentence=f"{finding.sentence} {ended}")  # noqa: PLW2901
        kept.append(finding)
    rows = [_row(waiver, covered[at], late[at], last) for at, waiver in enumerate(waivers)]
    return Excepting(kept, excepted, rows)


def _row(waiver: Waiver, covered: int, late: int, last: int) -> dict[str, Any]:
    return {
        "check": list(waiver.check),
        "about": waiver.about,
        "owner": waiver.owner,
        "reason": waiver.reason,
        "expires": waiver.expires.isoformat(),
        "findings": covered,
        "expired": late,
        "note": _note(waiver, covered, late, last),
    }


def _note(waiver: Waiver, covered: int, late: int, last: int) -> str | None:
    """What its owner should know."""
    left = waiver.left(last)
    if late or left < 0:
        return "has expired: take it out, or have it renewed"
    if not covered:
        return "covers nothing that was found: take it out, unless it is for what is to come"
    if left <= SOON:
        return f"ends {in_days(left)}"
    return None


def in_days(days: int) -> str:
    """How soon."""
    return "with this day" if days == 0 else f"in {plural(days, 'day')}"


def exception_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What there is to say of exceptions to who keeps the policy, a line each."""
    return [
        f"the exception of {row['owner']} for {row['about']} ({row['reason']}, until {row['expires']}) {row['note']}"
        for row in rows
        if row["note"] is not None
    ]
