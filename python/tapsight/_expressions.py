"""Conditions over the columns of a table, as people who know nfdump and Wireshark write them, as expressions of Polars.

::

    app in (sip, rtp) and not vlan in voice_vlans
    addr in infrastructure and dst_port in (23, 80, 8000..8999)
    encap has erspan2 or (encap is null and ttl < 5)
    dh_groups within (15, 16, 20)

A condition is true, false or, where the packets do not tell, neither: null, which ``and``, ``or`` and ``not`` take as SQL does
(ISO/IEC 9075-2, section 8.1). Names and types are checked without any packet.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import ipaddress
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from tapsight._options import did_you_mean

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

Kind = Literal["number", "text", "boolean", "address", "MAC address", "time"]
"""What the values of a column are."""

Sets = Mapping[str, Sequence[str] | Sequence[int] | None]
"""Members by name; none if it has to be said, and is not."""

EITHER = {"addr": ("src", "dst"), "port": ("src_port", "dst_port"), "mac": ("eth_src", "eth_dst")}
"""Words for one column or the other, as nfdump's ``ip`` and Wireshark's ``ip.addr``."""

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "rsvp": 46,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "eigrp": 88,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "l2tp": 115,
    "sctp": 132,
    "udplite": 136,
}
"""Words for numbers of the column ``protocol`` (IANA, Assigned Internet Protocol Numbers)."""

NONE_IF_NULL = frozenset(
    {
        "vlan",
        "vlan_inner",
        "vlans",
        "mpls",
        "encap",
        "outer_src",
        "outer_dst",
        "tunnel_id",
        "reverse_tunnel_id",
        "fragment",
        "issue",
    }
)
"""Columns of which null means that there is none, so that a comparison is false; of others it means that nobody knows."""

WITH_PORTS = (6, 17, 132)
"""Protocols whose ports the engine reads: of others, no port is one."""

DEEPEST = 64
"""How deep parentheses may be nested, and how many calculations one may rest on."""

LONGEST = 1000
"""How many comparisons, calculations and ranges a condition may have: each row is asked all of them. Of values in parentheses there may be any number."""

_SHOWN = 120
"""How many characters of a condition errors show."""


class ExpressionError(ValueError):
    """A condition that cannot be used: what is wrong, and what would be right."""

    def __init__(self, message: str, text: str, at: int | None) -> None:
        """What is wrong at this place of the text; or with an expression that has no places."""
        middle = at or 0
        shown = (
            text if len(text) <= _SHOWN else f"{text[max(0, middle - _SHOWN // 2) : middle + _SHOWN // 2]} …"
        )
        where = "in" if at is None else f"at character {at + 1} of"
        super().__init__(f"{message} ({where} {shown!r})")


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind
    is_list: bool = False
    words: tuple[str, ...] = ()
    """All that it may say, if that is known."""
    least: float | None = None
    most: float | None = None
    """Between what its numbers are, if that is known."""
    is_real: bool = False
    """Whether its numbers may have fractions."""


_MOST = {"vlan": 4095, "vlan_inner": 4095, "dscp": 63, "mpls": 2**20 - 1}
"""The largest numbers that columns have, where their types would hold more (IEEE 802.1Q; RFC 2474; RFC 3032, section 2.1)."""

_WITH_RATE = frozenset({"codecs_offered", "codecs_agreed"})
"""Columns of encodings with their clock rates, as session descriptions have them (RFC 8866, section 6.6)."""


def columns_of(schema: pa.Schema) -> dict[str, Column]:
    """The columns of a table of the engine that can be compared."""
    found = (_column(field.name, field.type) for field in schema)
    return {column.name: column for column in found if column is not None}


def _column(name: str, kind: pa.DataType) -> Column | None:
    import pyarrow as pa

    from tapsight import _core

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if is_list:
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    said: Kind
    if pa.types.is_boolean(kind):
        said = "boolean"
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        said = "number"
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        said = "text"
    elif pa.types.is_timestamp(kind):
        said = "time"
    elif kind == pa.binary(16):
        said = "address"
    elif kind == pa.binary(6):
        said = "MAC address"
    else:
        return None
    if pa.types.is_integer(kind):
        bits = kind.bit_width
        least, most = (
            (0, 2**bits - 1)
            if pa.types.is_unsigned_integer(kind)
            else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )
        return Column(name, said, is_list, least=least, most=_MOST.get(name, most))
    words = tuple(_core.column_words(name)) if said == "text" else ()
    return Column(name, said, is_list, words, is_real=pa.types.is_floating(kind))


@dataclasses.dataclass(frozen=True)
class Condition:
    """A condition that can be asked of a table's rows."""

    expr: pl.Expr
    columns: frozenset[str]
    """The columns that it reads."""
    needs: frozenset[str] = frozenset()
    """The names that it uses and that have no members yet."""

    @property
    def rests_on_label(self) -> bool:
        """Whether it goes by what the traffic is, and leaves open what that rests on."""
        return not self.columns.isdisjoint({"app", "traffic"}) and "basis" not in self.columns


def condition(text: str | pl.Expr, columns: Mapping[str, Column], sets: Sets = {}) -> Condition:  # noqa: B006 - only read
    """The condition in a text; or one of Polars, which is taken as it is if it asks each row by itself.

    Args:
        text: What is asked.
        columns: The columns that there are, by name.
        sets: The names that stand for several values.

    Raises:
        ExpressionError: It is not understood, or compares what cannot be compared.
    """
    if not isinstance(text, str):
        return _of_polars(text, columns)
    reader = _Reader(text, columns, sets)
    try:
        return reader.whole()
    except RecursionError:
        raise ExpressionError("nested too deep", text, 0) from None


def _of_polars(expr: pl.Expr, columns: Mapping[str, Column]) -> Condition:
    names = expr.meta.root_names()
    for name in names:
        if name not in columns:
            hint = did_you_mean(name, columns) or f"; there are: {', '.join(columns)}"
            raise ExpressionError(f'no column is called "{name}"{hint}', str(expr), None)
    _ask_each_row(expr, columns)
    return Condition(expr, frozenset(names))


def _ask_each_row(expr: pl.Expr, columns: Mapping[str, Column]) -> None:
    """Makes sure that an expression says true or false of each row, whatever other rows there are: tables come batch by batch.

    Raises:
        ExpressionError: It does not.
    """
    import polars as pl

    if expr.meta.has_multiple_outputs():
        message = "it is about columns by place, pattern or type: name each, and join them by pl.all_horizontal or pl.any_horizontal"
        raise ExpressionError(message, str(expr), None)
    schema = {column.name: _stored(column) for column in columns.values()}
    rows = pl.LazyFrame(schema=schema).with_columns(_asked=expr)
    try:
        kind = rows.collect_schema()["_asked"]
        # Polars leaves out rows before it asks them only if it asks each by itself.
        plan = rows.filter(pl.col(next(iter(schema))).is_null()).explain()
    except pl.exceptions.PolarsError as error:
        raise ExpressionError(str(error).partition("\n")[0], str(expr), None) from error
    if kind != pl.Boolean:
        raise ExpressionError(f"it is {kind}, not Boolean: compare it", str(expr), None)
    if not plan.lstrip().startswith("WITH_COLUMNS"):
        message = (
            "what it says of a row depends on other rows, and tables come batch by batch: a detector of your own can sum up (tapsight.Custom); "
            "a function of your own says with is_elementwise=True that it goes row by row"
        )
        raise ExpressionError(message, str(expr), None)


def _stored(column: Column) -> pl.DataType:
    """What Polars has for the values of a column."""
    import polars as pl

    kinds: dict[Kind, pl.DataType] = {
        "number": pl.Float64() if column.is_real else pl.Int64(),
        "text": pl.String(),
        "boolean": pl.Boolean(),
        "address": pl.Binary(),
        "MAC address": pl.Binary(),
        "time": pl.Int64(),
    }
    kind = kinds[column.kind]
    return pl.List(kind) if column.is_list else kind


def _any_of(each: Sequence[pl.Expr]) -> pl.Expr:
    """That one of these is true, side by side: Polars takes much longer for each inside of the one before."""
    import polars as pl

    return each[0] if len(each) == 1 else pl.any_horizontal(each)


def _a(kind: Kind) -> str:
    return {"text": "text", "address": "an address"}.get(kind, f"a {kind}")


# --- Reading ----------------------------------------------------------------------------------------------------------

_BLANK = re.compile(r"\s*")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<word>[\w:](?:[\w:/-]|\.(?!\.))*)
      | (?P<mark>\.\.|==|!=|<=|>=|&&|\|\||[-+*/()<>=,!])
    )""",
    re.VERBOSE,
)
_WORDS_OF_MARKS = {"&&": "and", "||": "or", "!": "not", "=": "=="}
_RESERVED = frozenset({"and", "or", "not", "in", "has", "within", "is", "matches", "null", "true", "false"})
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CALCULATE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Token:
    text: str
    at: int
    is_string: bool = False

    @property
    def said(self) -> str:
        return f'"{self.text}"' if self.text else "the end"


@dataclasses.dataclass(frozen=True)
class _Operand:
    """A side of a comparison: columns of one kind, either of which may be meant, or what is calculated from one."""

    kind: Kind
    exprs: tuple[pl.Expr, ...]
    columns: tuple[Column, ...]
    token: _Token
    depth: int = 0
    """How many calculations it rests on, each of which needs that before."""

    @property
    def is_list(self) -> bool:
        return any(column.is_list for column in self.columns)

    @property
    def words(self) -> tuple[str, ...]:
        return self.columns[0].words if len(self.columns) == 1 else ()


@dataclasses.dataclass(frozen=True)
class _Members:
    """What stands behind ``in``."""

    values: tuple[Any, ...] = ()
    ranges: tuple[tuple[float, float], ...] = ()
    is_known: bool = True


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str, columns: Mapping[str, Column], sets: Sets) -> None:
        self._text = text
        self._columns = columns
        self._sets = sets
        self._used: set[str] = set()
        self._needs: set[str] = set()
        self._depth = 0
        self._asked = 0
        self._tokens = list(self._split())
        self._next = 0

    def whole(self) -> Condition:
        if self._peek.text == "" and not self._peek.is_string:
            self._fail("says nothing; write a condition such as: vlan in (210, 211)", self._peek)
        expr = self._either()
        if not self._is_at_end:
            self._fail(f"{self._peek.said} is one too many; join conditions by and, or", self._peek)
        return Condition(expr, frozenset(self._used), frozenset(self._needs))

    # Tokens

    def _split(self) -> Iterable[_Token]:
        at, text = 0, self._text
        while match := _BLANK.match(text, at):
            start = match.end()
            if start == len(text):
                break
            match = _TOKEN.match(text, start)
            if match is None:
                self._fail(f"{text[start]!r} is not understood here", _Token(text[start], start))
            kind = match.lastgroup or ""
            said = match[kind]
            if kind == "string":
                yield _Token(re.sub(r"\\(.)", r"\1", said[1:-1]), match.start(kind), is_string=True)
            else:
                yield _Token(_WORDS_OF_MARKS.get(said, said), match.start(kind))
            at = match.end()
        yield _Token("", len(text))

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    @property
    def _is_at_end(self) -> bool:
        return self._next == len(self._tokens) - 1

    def _take(self) -> _Token:
        token = self._peek
        if not self._is_at_end:
            self._next += 1
        return token

    def _is(self, *texts: str) -> bool:
        return not self._peek.is_string and self._peek.text in texts

    def _takes(self, text: str) -> bool:
        if self._is(text):
            self._take()
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._takes(text):
            self._fail(f'"{text}" should stand here, not {self._peek.said}', self._peek)

    def _fail(self, message: str, token: _Token) -> NoReturn:
        raise ExpressionError(message, self._text, token.at)

    # Conditions

    def _either(self) -> pl.Expr:
        each = [self._both()]
        while self._takes("or"):
            each.append(self._both())
        return _any_of(each)

    def _both(self) -> pl.Expr:
        import polars as pl

        each = [self._negated()]
        while self._takes("and"):
            each.append(self._negated())
        return each[0] if len(each) == 1 else pl.all_horizontal(each)

    def _negated(self) -> pl.Expr:
        if self._takes("not"):
            return ~self._nested(self._negated)
        if self._is("(") and self._holds_condition():
            self._take()
            expr = self._nested(self._either)
            self._expect(")")
            return expr
        return self._comparison()

    def _nested(self, read: Callable[[], pl.Expr]) -> pl.Expr:
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(f"more than {DEEPEST} conditions in each other", self._peek)
        expr = read()
        self._depth -= 1
        return expr

    def _holds_condition(self) -> bool:
        """Whether the parenthesis here is one around a condition, not around a calculation: whether what follows its end is no operator."""
        depth = 0
        for index in range(self._next, len(self._tokens)):
            token = self._tokens[index]
            if not token.is_string and token.text in {"(", ")"}:
                depth += 1 if token.text == "(" else -1
                if depth == 0:
                    after = self._tokens[index + 1]
                    return after.is_string or after.text not in {*_COMPARE, *_CALCULATE, "in", "is"}
        return True

    def _count(self, token: _Token) -> None:
        """Counts what each row is asked."""
        self._asked += 1
        if self._asked > LONGEST:
            self._fail(
                f"more than {LONGEST} comparisons, calculations and ranges: put values into a set, or make several checks",
                token,
            )

    def _comparison(self) -> pl.Expr:
        self._count(self._peek)
        left = self._calculation()
        token = self._take()
        if token.is_string:
            self._fail(f"an operator should stand before {token.said}, such as == or in", token)
        match token.text:
            case "in":
                return self._any(left, self._members(left))
            case "not" if self._takes("in"):
                return ~self._any(left, self._members(left))
            case "has":
                return self._has(left, token)
            case "within":
                return self._within(left, token)
            case "matches":
                return self._matches(left, token)
            case "is":
                negated = self._takes("not")
                self._expect("null")
                each = [expr.is_not_null() if negated else expr.is_null() for expr in left.exprs]
                return functools.reduce(operator.or_ if negated else operator.and_, each)
            case operation if operation in _COMPARE:
                return self._compare(left, operation, token)
            case _:
                self._next -= 0 if token.text == "" else 1
                if left.kind != "boolean":
                    what = "a list" if left.is_list else _a(left.kind)
                    self._fail(
                        f"{left.token.said} is {what}, not a condition: compare it, such as {left.token.text} {self._example(left)}",
                        left.token,
                    )
                return self._joined(left, left.exprs)

    @staticmethod
    def _example(left: _Operand) -> str:
        if left.is_list:
            return "has …"
        examples: dict[Kind, str] = {
            "number": "== 1",
            "text": '== "…"',
            "boolean": "== true",
            "address": "in 192.0.2.0/24",
            "MAC address": "== 00:1b:54:ab:cd:ef",
            "time": "< 2026-01-31",
        }
        return examples[left.kind]

    def _joined(self, left: _Operand, each: Sequence[pl.Expr]) -> pl.Expr:
        """That one of the columns fits; where null means that there is none, it does not."""
        fits = [self._if_any(expr, column) for expr, column in zip(each, left.columns, strict=True)]
        return functools.reduce(operator.or_, fits)

    def _if_any(self, expr: pl.Expr, column: Column) -> pl.Expr:
        import polars as pl

        if column.name in NONE_IF_NULL:
            return expr.fill_null(value=False)
        if column.name in EITHER["port"] and "protocol" in self._columns:
            self._used.add("protocol")
            return (
                pl.when(pl.col("protocol").is_in(WITH_PORTS).fill_null(value=True))
                .then(expr)
                .otherwise(pl.lit(False))
            )
        return expr

    def _compare(self, left: _Operand, operation: str, token: _Token) -> pl.Expr:
        import polars as pl

        if left.is_list:
            self._fail(f"{left.token.said} is a list: use has or in, not {token.said}", token)
        ordered = operation not in {"==", "!="}
        if ordered and left.kind not in {"number", "time"}:
            self._fail(
                f"{_a(left.kind)} is neither more nor less than another: use == or in, not {token.said}",
                token,
            )
        # Either of two columns is unequal when neither is equal, as in Wireshark since 4.0.
        compare = operator.eq if operation == "!=" else _COMPARE[operation]
        right = self._other_side(left)
        if isinstance(right, _Operand):
            if right.is_list:
                self._fail(f"{right.token.said} is a list: use has or in on it", right.token)
            if right.kind != left.kind:
                self._fail(
                    f"{right.token.said} is {_a(right.kind)}, and {left.token.said} {_a(left.kind)}",
                    right.token,
                )
            each = [
                self._joined(right, [compare(expr, other) for other in right.exprs]) for expr in left.exprs
            ]
        elif left.kind == "address":
            each = [self._inside(expr, right) for expr in left.exprs]
        elif right.is_known:
            each = [compare(expr, pl.lit(right.values[0])) for expr in left.exprs]
        else:
            each = [pl.lit(None, pl.Boolean) for _ in left.exprs]
        fits = self._joined(left, each)
        return ~fits if operation == "!=" else fits

    def _other_side(self, left: _Operand) -> _Operand | _Members:
        """A column or calculation, or one value."""
        token = self._peek
        is_column = token.text in {*self._columns, *EITHER, "("} and token.text not in left.words
        if is_column and not token.is_string:
            return self._calculation()
        if left.kind == "number" and self._follows_calculation():
            return self._calculation()
        members = self._member(left)
        if len(members.values) != 1 and members.is_known:
            self._fail(f"{token.said} stands for several values: use in", token)
        return members

    def _follows_calculation(self) -> bool:
        after = self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        return not after.is_string and after.text in _CALCULATE

    def _has(self, left: _Operand, token: _Token) -> pl.Expr:
        """That a list, or what stands between the slashes of a text, holds a value."""
        if not left.is_list and left.kind != "text":
            self._fail(f"{left.token.said} is {_a(left.kind)}, which holds nothing: use == or in", token)
        members = self._members(left, is_part=not left.is_list)
        if left.is_list:
            return self._any(left, members)
        return self._joined(left, [self._overlap(expr.str.split("/"), members) for expr in left.exprs])

    def _within(self, left: _Operand, token: _Token) -> pl.Expr:
        """That a list, or what stands between the slashes of a text, holds no value but these."""
        if not left.is_list and left.kind != "text":
            self._fail(f"{left.token.said} is {_a(left.kind)}, which holds nothing: use in", token)
        members = self._members(left, is_part=not left.is_list)
        lists = [expr if left.is_list else expr.str.split("/") for expr in left.exprs]
        return self._joined(left, [~self._overlap(expr, members, is_other=True) for expr in lists])

    def _matches(self, left: _Operand, token: _Token) -> pl.Expr:
        import polars as pl

        if left.kind != "text":
            self._fail(f"{left.token.said} is {_a(left.kind)}: only text matches a pattern", token)
        pattern = self._take()
        if not pattern.is_string:
            self._fail(f"a pattern in quotes should stand here, not {pattern.said}", pattern)
        try:
            pl.Series([""]).str.contains(pattern.text)
        except pl.exceptions.PolarsError as error:
            causes = re.findall(r"^error: (.*)", str(error), re.MULTILINE)
            self._fail(
                f"no regular expression: {causes[-1] if causes else str(error).splitlines()[0]}", pattern
            )
        if left.is_list:
            each = [expr.list.eval(pl.element().str.contains(pattern.text)).list.any() for expr in left.exprs]
        else:
            each = [expr.str.contains(pattern.text) for expr in left.exprs]
        return self._joined(left, each)

    # Membership

    def _any(self, left: _Operand, members: _Members) -> pl.Expr:
        if left.is_list:
            return self._joined(left, [self._overlap(expr, members) for expr in left.exprs])
        return self._joined(left, [self._is_in(expr, members, left.kind) for expr in left.exprs])

    def _is_in(self, expr: pl.Expr, members: _Members, kind: Kind) -> pl.Expr:
        import polars as pl

        if not members.is_known:
            return pl.lit(None, pl.Boolean)
        if kind == "address":
            return self._inside(expr, members)
        fits = [expr.is_in(list(members.values))] if members.values or not members.ranges else []
        fits += [expr.is_between(low, high) for low, high in members.ranges]
        return _any_of(fits)

    @staticmethod
    def _overlap(expr: pl.Expr, members: _Members, *, is_other: bool = False) -> pl.Expr:
        """That a list has a value that is a member; or one that is none."""
        import polars as pl

        if not members.is_known:
            return pl.lit(None, pl.Boolean)
        element = pl.element()
        fits = [element.is_in(list(members.values))] if members.values or not members.ranges else []
        fits += [element.is_between(low, high) for low, high in members.ranges]
        fit = _any_of(fits)
        return expr.list.eval(~fit if is_other else fit).list.any()

    @staticmethod
    def _inside(expr: pl.Expr, members: _Members) -> pl.Expr:
        import polars as pl

        from tapsight import addresses

        if not members.is_known:
            return pl.lit(None, pl.Boolean)
        prefixes = [str(value) for value in members.values]
        return expr.map_batches(
            lambda column: addresses.in_prefixes(column, prefixes),
            return_dtype=pl.Boolean,
            is_elementwise=True,
        )

    def _members(self, left: _Operand, *, is_part: bool = False) -> _Members:
        """One value, name or range; or several in parentheses."""
        if not self._takes("("):
            return self._member(left, is_part=is_part)
        found = [self._member(left, is_part=is_part)]
        while self._takes(","):
            found.append(self._member(left, is_part=is_part))
        self._expect(")")
        return _Members(
            tuple(value for each in found for value in each.values),
            tuple(pair for each in found for pair in each.ranges),
            all(each.is_known for each in found),
        )

    def _member(self, left: _Operand, *, is_part: bool = False) -> _Members:
        token = self._take()
        if not token.text and not token.is_string:
            self._fail("a value should stand here", token)
        if not token.is_string and (
            token.text in _RESERVED - {"true", "false"} or not re.match(r"[\w:-]", token.text)
        ):
            self._fail(f"a value should stand here, not {token.said}", token)
        if not token.is_string and token.text in self._sets:
            return self._set(left, token)
        value = self._value(left, token, is_part=is_part)
        if self._is("..") and left.kind in {"number", "time"}:
            self._count(self._take())
            high = self._value(left, self._take(), is_part=is_part)
            if high < value:
                self._fail(f"the range from {token.text} ends before it begins", token)
            return _Members(ranges=((value, high),))
        return _Members((value,))

    def _set(self, left: _Operand, token: _Token) -> _Members:
        members = self._sets[token.text]
        if members is None:
            self._needs.add(token.text)
            return _Members(is_known=False)
        kinds = {"address": str, "number": int, "text": str, "MAC address": bytes}
        if members and not isinstance(members[0], kinds.get(left.kind, ())):
            holds = {str: "text or prefixes", int: "numbers", bytes: "MAC addresses"}
            self._fail(
                f'set "{token.text}" holds {holds[type(members[0])]}, and {left.token.said} is {_a(left.kind)}',
                token,
            )
        return _Members(tuple(members))

    # Values

    def _value(self, left: _Operand, token: _Token, *, is_part: bool = False) -> Any:
        text = token.text
        match left.kind:
            case "text":
                if left.words and not is_part and text not in left.words:
                    what = "it is one of" if len(left.words) <= 12 else "such as"
                    hint = did_you_mean(text, left.words) or f"; {what}: {', '.join(left.words[:12])}"
                    self._fail(f'{left.token.said} is never "{text}"{hint}', token)
                if left.columns and left.columns[0].name in _WITH_RATE and "/" not in text:
                    rate = f"{text}/8000"
                    self._fail(
                        f'{left.token.said} has encodings with their clock rate: write "{rate}", or what it is',
                        token,
                    )
                return text
            case "boolean":
                if text not in {"true", "false"} or token.is_string:
                    self._fail(f"{left.token.said} is true or false, not {token.said}", token)
                return text == "true"
            case "address":
                return self._address(left, token)
            case "MAC address":
                if not re.fullmatch(r"(?i)[0-9a-f]{2}(?::[0-9a-f]{2}){5}", text):
                    self._fail(
                        f"{token.said} is no MAC address, such as 00:1b:54:ab:cd:ef{self._named(token)}",
                        token,
                    )
                return bytes.fromhex(text.replace(":", ""))
            case "time":
                return self._time(token)
            case _:
                return self._number(left, token)

    def _address(self, left: _Operand, token: _Token) -> str:
        try:
            return str(ipaddress.ip_network(token.text))
        except ValueError:
            pass
        try:
            network = ipaddress.ip_interface(token.text).network
        except ValueError:
            hint = self._named(token)
            self._fail(
                f"{token.said} is neither an address nor a prefix, such as 192.0.2.1 or 2001:db8::/32{hint}",
                token,
            )
        self._fail(f"{token.said} has bits set beyond its length; did you mean {network}?", token)

    def _named(self, token: _Token) -> str:
        """What else a word may have been meant to be."""
        names = [*self._sets, *self._columns]
        close = did_you_mean(token.text, names)
        return close or (f"; sets: {', '.join(self._sets)}" if self._sets else "")

    def _number(self, left: _Operand, token: _Token) -> int | float:
        text = token.text
        sign = 1
        if text == "-" and not token.is_string:
            sign, text = -1, self._take().text
        if left.columns and left.columns[0].name == "protocol" and text in PROTOCOLS:
            return PROTOCOLS[text]
        try:
            value = sign * (
                int(text, 0) if re.fullmatch(r"(?i)0x[0-9a-f]{1,16}|\d{1,19}", text) else float(text)
            )
        except ValueError:
            self._fail(f"{token.said} is no number, and {left.token.said} is one{self._named(token)}", token)
        if not math.isfinite(value):
            self._fail(f"{token.said} is no number", token)
        for column in left.columns:
            if (
                column.least is not None
                and column.most is not None
                and not column.least <= value <= column.most
            ):
                self._fail(f"{left.token.said} is from {column.least} to {column.most}, never {value}", token)
        return value

    def _time(self, token: _Token) -> Any:
        try:
            moment = datetime.datetime.fromisoformat(token.text)
        except ValueError:
            self._fail(f"{token.said} is no time, such as 2026-01-31 or 2026-01-31T12:30:00Z", token)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        nanoseconds = (since // datetime.timedelta(microseconds=1)) * 1000
        if not -(2**63) <= nanoseconds < 2**63:
            self._fail(f"{token.said} is not between the years 1678 and 2262", token)
        return nanoseconds

    # Columns, and what is calculated from them

    def _calculation(self) -> _Operand:
        left = self._product()
        while self._is("+", "-"):
            left = self._calculate(left, self._take(), self._product())
        return left

    def _product(self) -> _Operand:
        left = self._operand()
        while self._is("*", "/"):
            left = self._calculate(left, self._take(), self._operand())
        return left

    def _calculate(self, left: _Operand, sign: _Token, right: _Operand) -> _Operand:
        import polars as pl

        for each in (left, right):
            if each.kind != "number" or each.is_list or len(each.exprs) != 1:
                self._fail(f"{each.token.said} is not a single number: {sign.said} needs two", each.token)
        self._count(sign)
        depth = 1 + max(left.depth, right.depth)
        if depth > DEEPEST:
            self._fail(f"more than {DEEPEST} calculations in each other", sign)
        # Counters have no sign, and what is taken from them may have one.
        first, second = (each.exprs[0].cast(pl.Float64) for each in (left, right))
        if sign.text == "/":
            # Nobody knows what a part of nothing is.
            second = pl.when(second != 0).then(second)
        return _Operand(
            "number", (_CALCULATE[sign.text](first, second),), (Column("", "number"),), left.token, depth
        )

    def _operand(self) -> _Operand:
        import polars as pl

        token = self._take()
        if not token.is_string:
            if token.text == "(":
                self._depth += 1
                if self._depth > DEEPEST:
                    self._fail(f"more than {DEEPEST} parentheses in each other", token)
                inner = self._calculation()
                self._expect(")")
                self._depth -= 1
                return inner
            names = (
                EITHER.get(token.text, (token.text,)) if token.text not in self._columns else (token.text,)
            )
            if all(name in self._columns for name in names):
                columns = tuple(self._columns[name] for name in names)
                self._used.update(names)
                return _Operand(columns[0].kind, tuple(pl.col(name) for name in names), columns, token)
            if re.fullmatch(r"(?i)0x[0-9a-f]{1,16}|\d+(\.\d+)?", token.text):
                value = float(int(token.text, 16)) if token.text[:2] in {"0x", "0X"} else float(token.text)
                return _Operand("number", (pl.lit(value),), (Column("", "number"),), token)
        if not token.text and not token.is_string:
            self._fail("a column should stand here", token)
        known = [*self._columns, *(word for word, names in EITHER.items() if names[0] in self._columns)]
        hint = did_you_mean(token.text, known) or f"; there are: {', '.join(known)}"
        if re.split(r"[-/]", token.text)[0] in self._columns:
            hint = "; to calculate, write spaces around - and /"
        self._fail(f"{token.said} is no column{hint}", token)
