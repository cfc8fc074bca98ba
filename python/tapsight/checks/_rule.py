"""Checks that are conditions over a table: what they are about, and what has to be true of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import polars as pl

from tapsight._expressions import Column, Condition, Sets, condition
from tapsight._options import Options, Severity
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import (
    TUNNEL,
    Check,
    Judgement,
    Observed,
    Scope,
    group,
    ordered_ends,
    packets,
    with_cut,
)
from tapsight.checks._needs import Need
from tapsight.checks._special import SETS
from tapsight.checks._sums import Sums
from tapsight.checks._tables import HEARD, About, ReadOnceError, about, doubt_about, table_columns
from tapsight.checks._words import Told, fields_of

if TYPE_CHECKING:
    from tapsight.policy import Network

O = TypeVar("O", bound=Options)

ENDS = ("end_a", "end_b")
"""The two addresses of a row, in order, so that both directions are one."""

_SAID = frozenset({"src", "dst", "app", "traffic", "basis", "protocol", "answered", "handshake", "proposals"})
"""Columns of an expectation of which a finding need not show a value: it says them anyway, or in other words."""

_OF_ALL = frozenset({"packets", "when", "apps", "first", "src", "dst"})
"""Fields of templates that every finding has."""

_KNOWN_OF_NETWORK = ("infrastructure", "gateways", "anycast")


class Rule(Check[O]):
    """A check of which :attr:`expect` has to be true of every row of a table for which :attr:`scope` is.

    What a condition says nothing of, because the packets do not tell, is not judged. Neither is what only a port makes look like
    an application, where conditions go by that.
    """

    over: ClassVar[str] = "flows"
    """The table: flows, conversations, calls and media are known anyway, others are read from the captures once more."""
    scope: ClassVar[str | pl.Expr | None] = None
    """What it is about; every row if not given."""
    expect: ClassVar[str | pl.Expr]
    """What has to be true of that."""
    by: ClassVar[tuple[str, ...]] = ENDS
    """The columns of which equal ones make one finding."""
    says: ClassVar[str] = ""
    """The sentence of a finding, as :meth:`tapsight.checks._words.Told.by_template` has it; one that fits all if not given."""
    nothing: ClassVar[str] = "nothing of that kind was seen"
    """What to say if nothing was in scope."""
    uses: ClassVar[tuple[str, ...]] = ()
    """Options that are sets, by whose names conditions use them; those that a policy does not give are needed."""
    added: ClassVar[Mapping[str, Column]] = {}
    """Columns beside those of the table, which :meth:`add_to` gives."""
    own_sets: ClassVar[Sets] = {}
    """Names and members of sets beside those of the policy's [network]; of options, what they are where a policy does not give them."""

    @classmethod
    def sets(cls, options: Options | None, network: Network | None) -> Sets:
        """What names in its conditions stand for: its options, what the policy says of the network, and what addresses are for."""
        of_network = {name: getattr(network, name, None) or None for name in _KNOWN_OF_NETWORK}
        given = {name: getattr(options, name, None) for name in cls.uses}
        of_options = {
            name: cls.own_sets.get(name) if members is None else members for name, members in given.items()
        }
        return {**SETS, **of_network, **cls.own_sets, **of_options}

    @classmethod
    def conditions(cls, options: Options | None, network: Network | None) -> tuple[Condition, Condition]:
        """Its scope and expectation.

        Raises:
            ExpressionError: One of them is not understood.
        """
        every = Condition(pl.lit(True), frozenset())
        scope = every if cls.scope is None else cls.condition(cls.scope, options, network)
        return scope, cls.condition(cls.expect, options, network)

    @classmethod
    def condition(cls, text: str | pl.Expr, options: Options | None, network: Network | None) -> Condition:
        """A condition over the table of this rule.

        Raises:
            ExpressionError: It is not understood.
        """
        return condition(text, {**table_columns(cls.over), **cls.added}, cls.sets(options, network))

    def add_to(self, frame: pl.DataFrame, seen: Observed, options: O) -> pl.DataFrame:
        """Rows of the table with the columns that are :attr:`added`."""
        return frame

    @classmethod
    def missing(cls, options: Options | None, network: Network) -> tuple[Need, ...]:
        """What the policy does not say and the conditions use."""
        unsaid = super().missing(options, network)
        told = {name for need in unsaid for name in need.names}
        needs = set().union(*(each.needs for each in cls.conditions(options, network))) - told
        of_network = sorted(name for name in needs if name in _KNOWN_OF_NETWORK)
        of_options = sorted(needs.difference(of_network))
        where = [(f"checks.{cls.id}", of_options), ("network", of_network)]
        return (*unsaid, *(Need(table, tuple(names)) for table, names in where if names))

    def judge(self, seen: Observed, options: O, severity: Severity) -> Judgement:
        """Judges each row by its own columns, batch by batch."""
        scope, expect = self.conditions(options, seen.network)
        fields = fields_of(self.says)
        expected = sorted(expect.columns.difference(_SAID, self.by, self.added))
        tally = _Tally(
            self.by,
            about(self.over),
            expected if not fields or "first" in fields else (),
            [name for name in fields if name not in {*_OF_ALL, *self.by}],
        )
        try:
            for frame in self._rows(seen, scope.columns | expect.columns | {*tally.told}):
                tally.add(self.add_to(frame, seen, options), scope, expect)
        except ReadOnceError as error:
            return Judgement(Scope(), nothing=str(error), lack=None)
        except pl.exceptions.PolarsError as error:
            raise ValueError(f'check "{self.id}": {error}') from error
        reasons = ["only the port says what it is"] if tally.guessed else []
        reasons += ["the packets do not tell"] if tally.judged + tally.guessed < tally.in_scope else []
        total = Scope(tally.in_scope, tally.judged, "; ".join(reasons) or None)
        if self.over == "conversations":
            total = with_cut(total, seen.cut)
        elif not total.in_scope:
            # Of messages that are called as their application is, and that were cut so short that no table has them.
            same = seen.flows.filter(pl.col("app") == self.over, pl.col("cut") > 0)
            total = with_cut(total, same)
        findings = tuple(
            self.finding(
                row,
                total,
                severity,
                identity=tuple(row[_by(name)] for name in self.by),
                sentence=functools.partial(self.sentence, row, tally),
            )
            for row in tally.failed()
        )
        untold = (
            f"{plural(tally.failing.missing, 'packet')} that fail it are of more conversations than there is room for"
            if tally.failing.missing
            else None
        )
        is_open = (
            f"of {plural(tally.open, 'packet')} it is not known whether they are in scope"
            if tally.open
            else None
        )
        note = "; ".join(filter(None, [untold, is_open])) or None
        doubt = doubt_about(self.over, seen) or untold
        return Judgement(total, findings, nothing=self.nothing, note=note, doubt=doubt)

    def sentence(self, row: Mapping[str, Any], tally: _Tally) -> str:
        """What a finding says."""
        told = Told(
            table=self.over,
            kinds={name: column.kind for name, column in table_columns(self.over).items()},
            by={name: row[_by(name)] for name in self.by},
            packets=row["packets"],
            when=f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])})",
            apps=row["apps"],
            ends={name: row[name] for name in ("src", "dst")},
            all={name: row[_all(name)] for name in tally.told},
            first={name: row[_first(name)] for name in tally.examples},
        )
        return told.by_template(self.says) if self.says else told.plainly()

    def _rows(self, seen: Observed, names: frozenset[str]) -> Iterator[pl.DataFrame]:
        """The table as frames that have these columns, and those that findings are made of."""
        columns, means = table_columns(self.over), about(self.over)
        wanted = {*names, *self.by, "tap", means.first, means.last, means.frames, means.packets or ""}
        wanted.update(("src", "dst", "src_port", "dst_port", "app", "basis", "flow_id", *TUNNEL))
        if self.over in HEARD:
            frame = seen.unlisted if self.over == "flows" else getattr(seen, self.over)
            yield frame.select(name for name in frame.columns if name in wanted)
            return
        yield from seen.read(self.over, [name for name in columns if name in wanted])


@dataclasses.dataclass
class _Tally:
    """What there was, batch by batch."""

    by: tuple[str, ...]
    means: About
    examples: Sequence[str]
    """Columns of which a finding shows what the first row says."""
    told: Sequence[str]
    """Columns of which a finding says all that they say."""
    in_scope: int = 0
    judged: int = 0
    guessed: int = 0
    open: int = 0
    """Packets of which it is not known whether they are in scope."""
    failing: Sums = dataclasses.field(init=False)
    """What failed, a row a conversation, tap and application of each finding to be."""

    def __post_init__(self) -> None:
        """Nothing has failed yet."""
        keys = [*map(_by, self.by), *map(_all, self.told), "flow_id", "tap", "app"]
        self.failing = Sums(keys, ["src", "dst", *map(_first, self.examples)])

    def add(self, frame: pl.DataFrame, scope: Condition, expect: Condition) -> None:
        """Judges the rows of a frame."""
        if frame.is_empty():
            return
        is_guess = pl.lit(False)
        if "basis" in frame.columns and (scope.rests_on_label or expect.rests_on_label):
            is_guess = (pl.col("basis") == "port").fill_null(value=False)
        marked = self._like_flows(frame).with_columns(
            _in_scope=scope.expr, _fits=expect.expr, _guessed=is_guess
        )
        self.open += packets(marked.filter(pl.col("_in_scope").is_null()))
        marked = marked.filter("_in_scope")
        self.in_scope += packets(marked)
        self.guessed += packets(marked.filter("_guessed"))
        judged = marked.filter(~pl.col("_guessed"), pl.col("_fits").is_not_null())
        self.judged += packets(judged)
        failed = judged.filter(~pl.col("_fits"))
        if not failed.is_empty():
            self.failing.add(failed)

    def failed(self) -> list[dict[str, Any]]:
        """What did not fit, most packets first."""
        rows = self.failing.by_batch()
        if rows is None:
            return []
        return group(
            rows, [*map(_by, self.by)], [*map(_first, self.examples)], all_of=[*map(_all, self.told)]
        )

    def _like_flows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the columns of flows that :func:`group` sums up; those of the table that a finding is about have names of their own."""
        means = self.means
        ends = dict(zip(ENDS, ordered_ends("src", "dst"), strict=True))
        columns: dict[str, pl.Expr] = {
            "first_ts": pl.col(means.first),
            "last_ts": pl.col(means.last),
            "frames": pl.col(means.frames) if means.frames == "frames" else pl.concat_list(means.frames),
            "packets": pl.col(means.packets).cast(pl.Int64) if means.packets else pl.lit(1, pl.Int64),
            **{_by(name): ends.get(name, pl.col(name)) for name in self.by},
            **{_all(name): pl.col(name) for name in self.told},
            **{_first(name): pl.col(name) for name in self.examples},
        }
        if "app" not in frame.columns:
            columns["app"] = pl.lit(None, pl.String)
        if "flow_id" not in frame.columns:
            ports = [name for name in ("src_port", "dst_port") if name in frame.columns]
            sides = (
                [pl.min_horizontal(ports).alias("low"), pl.max_horizontal(ports).alias("high")]
                if ports
                else []
            )
            columns["flow_id"] = pl.struct(*ends.values(), *sides).hash()
        return frame.with_columns(**columns)


def _by(name: str) -> str:
    """The column of equal values, apart from what is summed up by a like name."""
    return f"by {name}"


def _all(name: str) -> str:
    return f"all {name}"


def _first(name: str) -> str:
    return f"first {name}"
