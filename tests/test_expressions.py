"""Conditions over columns: what they mean by SQL's three values, and what is said of those that mean nothing."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapsight._expressions import DEEPEST, LONGEST, Column, ExpressionError, condition

COLUMNS = {
    column.name: column
    for column in (
        Column("packets", "number"),
        Column("ttl", "number"),
        Column("vlan", "number"),
        Column("protocol", "number"),
        Column("src_port", "number"),
        Column("dst_port", "number"),
        Column("app", "text", words=("dns", "rtp", "sip")),
        Column("basis", "text", words=("signature", "port")),
        Column("codec", "text"),
        Column("encap", "text"),
        Column("mpls", "number", is_list=True),
        Column("codecs", "text", is_list=True),
        Column("is_siprec", "boolean"),
        Column("src", "address"),
        Column("dst", "address"),
        Column("outer_src", "address"),
        Column("eth_src", "MAC address"),
        Column("ts", "time"),
    )
}
SETS = {"voice": (210, 211), "peers": ("192.0.2.0/24", "2001:db8::/32"), "unsaid": None}


def packed(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def ask(text: str, **row: object) -> bool | None:
    """What a condition says of one row; columns that are not given are null."""
    kinds = {
        "number": pl.Int64,
        "text": pl.String,
        "boolean": pl.Boolean,
        "address": pl.Binary,
        "MAC address": pl.Binary,
        "time": pl.Int64,
    }
    schema = {
        name: pl.List(kinds[column.kind]) if column.is_list else kinds[column.kind]
        for name, column in COLUMNS.items()
    }
    frame = pl.DataFrame([{name: row.get(name) for name in schema}], schema=schema)
    answer: bool | None = frame.select(condition(text, COLUMNS, SETS).expr).to_series()[0]
    return answer


@pytest.mark.parametrize(
    ("text", "row", "answer"),
    [
        # Numbers, ranges, sets.
        ("ttl == 64", {"ttl": 64}, True),
        ("ttl != 64", {"ttl": 64}, False),
        ("ttl = 0x40", {"ttl": 64}, True),
        ("ttl == 64", {}, None),
        ("ttl in (1, 60..64, 255)", {"ttl": 62}, True),
        ("ttl in (1, 60..64, 255)", {"ttl": 65}, False),
        ("ttl not in 60..64", {"ttl": 65}, True),
        ("vlan in voice", {"vlan": 211}, True),
        ("vlan in voice", {"vlan": 212}, False),
        ("packets / ttl > 1.5", {"packets": 4, "ttl": 2}, True),
        ("packets - ttl < 0", {"packets": 1, "ttl": 2}, True),
        ("(packets + 1) * 2 == 10", {"packets": 4}, True),
        ("packets / ttl > 1", {"packets": 4, "ttl": 0}, None),  # No share of nothing.
        # What null means: of VLANs and encapsulations that there is none, of others that nobody knows.
        ("vlan in voice", {}, False),
        ("not vlan in voice", {}, True),
        ("encap has gre", {}, False),
        ("not ttl == 1", {}, None),
        ("ttl is null", {}, True),
        ("ttl is not null", {}, False),
        # Kleene's logic, as SQL has it.
        ("ttl == 1 or packets == 1", {"packets": 1}, True),
        ("ttl == 1 and packets == 1", {"packets": 2}, False),
        ("ttl == 1 and packets == 1", {"packets": 1}, None),
        ("not (ttl == 1 and packets == 1)", {"packets": 2}, True),
        # And binds before or, not before and.
        ("ttl == 1 or ttl == 2 and packets == 9", {"ttl": 1, "packets": 1}, True),
        ("(ttl == 1 or ttl == 2) and packets == 9", {"ttl": 1, "packets": 1}, False),
        ("not ttl == 1 and packets == 9", {"ttl": 2, "packets": 9}, True),
        ("!(ttl == 1) && packets == 9 || vlan == 3", {"ttl": 1, "vlan": 3}, True),
        # Text, with words that are known and others.
        ("app in (sip, rtp)", {"app": "rtp"}, True),
        ('app == "sip"', {"app": "dns"}, False),
        ("basis == port", {"basis": "port"}, True),  # Not the word for either port.
        ('codec == "G.711"', {"codec": "G.711"}, True),
        ("codec == 'it\\'s'", {"codec": "it's"}, True),
        ('codec matches "^G\\."', {"codec": "G.711"}, True),
        ("encap has erspan2", {"encap": "gre/erspan2"}, True),
        ("encap has erspan", {"encap": "gre/erspan2"}, False),  # A part is a whole element.
        # Lists.
        ("mpls has 30021", {"mpls": [1, 30021]}, True),
        ("mpls in (30021, 5)", {"mpls": [1, 2]}, False),
        ("mpls in 1..3", {"mpls": [9, 2]}, True),
        ("codecs has PCMA", {"codecs": ["PCMU", "PCMA"]}, True),
        ("codecs has PCMA", {}, None),
        ('codecs matches "^PC"', {"codecs": ["G722", "PCMA"]}, True),
        # Addresses: IPv4 is kept as ::ffff:a.b.c.d.
        ("src in peers", {"src": packed("192.0.2.7")}, True),
        ("src in peers", {"src": packed("2001:db8::7")}, True),
        ("src in (peers, 198.51.100.1)", {"src": packed("198.51.100.1")}, True),
        ("src == 192.0.2.7", {"src": packed("192.0.2.8")}, False),
        ("src in peers", {}, None),
        ("src == outer_src", {"src": packed("192.0.2.8"), "outer_src": packed("192.0.2.8")}, True),
        ("outer_src in peers", {}, False),
        ("eth_src == 00:1b:54:AB:cd:ef", {"eth_src": bytes.fromhex("001b54abcdef")}, True),
        # Either of two columns; of neither, where not equal (as Wireshark since 4.0).
        ("addr in peers", {"src": packed("203.0.113.1"), "dst": packed("192.0.2.1")}, True),
        ("addr != 192.0.2.1", {"src": packed("203.0.113.1"), "dst": packed("192.0.2.1")}, False),
        ("addr not in peers", {"src": packed("203.0.113.1"), "dst": packed("203.0.113.2")}, True),
        ("port == 53", {"protocol": 17, "src_port": 40000, "dst_port": 53}, True),
        # What has no ports has none; of a fragment of UDP nobody knows.
        ("port == 53", {"protocol": 1}, False),
        ("port == 53", {"protocol": 17}, None),
        ("protocol == tcp", {"protocol": 6}, True),
        ("protocol in (tcp, 132)", {"protocol": 132}, True),
        # Booleans and times.
        ("is_siprec", {"is_siprec": True}, True),
        ("not is_siprec", {"is_siprec": True}, False),
        ("is_siprec == false", {}, None),
        ("ts < 2026-01-01", {"ts": 1767225600 * 10**9 - 1}, True),
        ("ts < 2026-01-01", {"ts": 1767225600 * 10**9}, False),
        ("ts in 2026-01-01..2026-01-02T00:00:00Z", {"ts": 1767225601 * 10**9}, True),
    ],
)
def test_what_conditions_mean(text: str, row: dict[str, object], answer: bool | None) -> None:
    assert ask(text, **row) is answer


def test_names_that_need_members_are_told() -> None:
    made = condition("vlan in unsaid and src in peers", COLUMNS, SETS)
    assert made.needs == {"unsaid"}
    assert made.columns == {"vlan", "src"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "says nothing"),
        ("  ", "says nothing"),
        ("app == spi", 'did you mean "sip"?'),
        ("ap == sip", 'did you mean "app"?'),
        ("vlan in voise", 'did you mean "voice"?'),
        ("vlan in peers", 'set "peers" holds text or prefixes, and "vlan" is a number'),
        ("src in 192.0.2.1/24", "did you mean 192.0.2.0/24?"),
        ("src == 300.1.2.3", "neither an address nor a prefix"),
        ("src < 192.0.2.1", "neither more nor less"),
        ("src", "is an address, not a condition: compare it, such as src in 192.0.2.0/24"),
        ("mpls == 3", "use has or in"),
        ("ttl has 3", "holds nothing"),
        ('ttl matches "3"', "only text matches"),
        ('codec matches "("', "no regular expression"),
        ("codec matches G", "a pattern in quotes"),
        ("src == eth_src", '"eth_src" is a MAC address, and "src" an address'),
        ("eth_src == 1", "no MAC address"),
        ("ts < soon", "no time"),
        ("ts < 9999-01-01", "not between the years 1678 and 2262"),
        ("ttl in 5..1", "ends before it begins"),
        ("ttl == 1e999", "is no number"),
        ("ttl in (1, 2", '")" should stand here, not the end'),
        ("ttl == 1 ttl == 2", "join conditions by and, or"),
        ("ttl == ", "a value should stand here"),
        ("ttl == voice", "stands for several values: use in"),
        ("packets/ttl > 1", "write spaces around - and /"),
        ("app + 1 > 2", "is not a single number"),
        ("is_siprec == 1", "is true or false"),
        ("ttl is 3", '"null" should stand here'),
        ("ttl in ()", "a value should stand here"),
        ("ttl \x1b[31m 3", "is not understood here"),
        ("(" * 200 + "ttl == 1" + ")" * 200, "more than 64"),
        ("not " * 200 + "ttl == 1", "more than 64"),
        ('"unfinished', "is not understood here"),
        ("and", "is no column"),
    ],
)
def test_what_means_nothing_is_said(text: str, says: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        condition(text, COLUMNS, SETS)
    assert says in str(raised.value)
    assert "\x1b" not in str(raised.value)


def test_the_place_of_a_mistake_is_told() -> None:
    with pytest.raises(ExpressionError, match="at character 15"):
        condition("ttl == 64 and vlan voice", COLUMNS, SETS)


# --- Long ones --------------------------------------------------------------------------------------------------------


def depth(expr: pl.Expr) -> int:
    """How many expressions are inside of each other: what makes Polars slow."""
    return 1 + max((depth(each) for each in expr.meta.pop()), default=0)


@pytest.mark.parametrize(
    "text",
    [
        " or ".join(f"ttl == {number}" for number in range(LONGEST)),
        " and ".join(f"(ttl != {number})" for number in range(LONGEST)),
        f"ttl in ({', '.join(f'{number}..{number}' for number in range(LONGEST - 1))})",
        f"ttl in ({', '.join(str(number) for number in range(20 * LONGEST))})",
    ],
)
def test_what_stands_side_by_side_is_asked_side_by_side(text: str) -> None:
    assert depth(condition(text, COLUMNS, SETS).expr) <= 6


@pytest.mark.parametrize(
    ("text", "row", "answer"),
    [
        (" or ".join(f"ttl == {number}" for number in range(900)), {"ttl": 899}, True),
        (" or ".join(f"ttl == {number}" for number in range(900)), {"ttl": 900}, False),
        (" or ".join(["packets == 1", *["ttl == 1"] * 900]), {"packets": 1}, True),
        (" or ".join(["packets == 1", *["ttl == 1"] * 900]), {"packets": 2}, None),
        (" and ".join(["packets == 1", *["ttl == 1"] * 900]), {"packets": 2}, False),
        (" and ".join(["packets == 1", *["ttl == 1"] * 900]), {"packets": 1}, None),
        (f"mpls in ({', '.join(f'{number}..{number + 1}' for number in range(0, 900, 3))})", {"mpls": [2, 5]}, False),
        (f"mpls in ({', '.join(f'{number}..{number + 1}' for number in range(0, 900, 3))})", {"mpls": [2, 6]}, True),
        (f"mpls within ({', '.join(f'{number}..{number + 1}' for number in range(0, 900, 3))})", {"mpls": [3, 6]}, True),
        (f"mpls within ({', '.join(f'{number}..{number + 1}' for number in range(0, 900, 3))})", {"mpls": [3, 5]}, False),
        (f"ttl{' + 1' * DEEPEST} == 65", {"ttl": 1}, True),
    ],
)  # fmt: skip
def test_what_long_conditions_mean(text: str, row: dict[str, object], answer: bool | None) -> None:
    assert ask(text, **row) is answer


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" or ".join(["ttl == 1"] * (LONGEST + 1)), f"more than {LONGEST} comparisons"),
        (" and ".join(["(ttl == 1)"] * (LONGEST + 1)), f"more than {LONGEST} comparisons"),
        (f"ttl in ({', '.join(['1..2'] * LONGEST)})", f"more than {LONGEST} comparisons"),
        (" or ".join(["ttl + 1 + 1 + 1 == 1"] * (LONGEST // 4 + 1)), f"more than {LONGEST} comparisons"),
        (f"ttl{' + 1' * (DEEPEST + 1)} == 1", f"more than {DEEPEST} calculations in each other"),
        (f"ttl{' * 1' * (DEEPEST + 1)} == 1", f"more than {DEEPEST} calculations in each other"),
        (f"{'(' * 40}ttl{' - 1)' * 40}{' - 1' * 30} == 1", f"more than {DEEPEST} calculations in each other"),
        (f"{'not ' * (DEEPEST + 1)}ttl == 1", f"more than {DEEPEST} conditions in each other"),
    ],
)
def test_what_is_too_long_is_said(text: str, says: str) -> None:
    with pytest.raises(ExpressionError, match=says):
        condition(text, COLUMNS, SETS)


def test_a_text_is_read_once() -> None:
    class Counted(str):
        """Text that counts the characters that are copied out of it."""

        copied = 0

        def __getitem__(self, at: object) -> str:
            taken = super().__getitem__(at)  # type: ignore[index]
            Counted.copied += len(taken)
            return taken

    text = Counted(" or ".join(["ttl == 1"] * 100))
    condition(text, COLUMNS, SETS)
    assert Counted.copied <= len(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_an_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        condition(text, COLUMNS, SETS)


# --- The same conditions, asked of DuckDB -----------------------------------------------------------------------------


def comparisons() -> st.SearchStrategy[tuple[str, str]]:
    """A comparison in our words, and the same in SQL."""
    number = st.integers(0, 4)
    column = st.sampled_from(["ttl", "packets"])
    operator = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    plain = st.tuples(column, operator, number).map(
        lambda each: (f"{each[0]} {each[1]} {each[2]}", f"{each[0]} {each[1].replace('==', '=')} {each[2]}")
    )
    both = st.tuples(operator).map(
        lambda each: (f"ttl {each[0]} packets", f"ttl {each[0].replace('==', '=')} packets")
    )
    member = st.tuples(column, st.lists(number, min_size=1, max_size=3)).map(
        lambda each: (f"{each[0]} in ({', '.join(map(str, each[1]))})",) * 2
    )
    span = st.tuples(column, number, number).map(
        lambda each: (
            f"{each[0]} in {min(each[1:])}..{max(each[1:])}",
            f"{each[0]} between {min(each[1:])} and {max(each[1:])}",
        )
    )
    spans = st.tuples(column, number, number, number).map(
        lambda each: (
            f"{each[0]} in ({each[1]}..4, {each[2]}..{each[2]}, {each[3]})",
            f"({each[0]} between {each[1]} and 4 or {each[0]} = {each[2]} or {each[0]} = {each[3]})",
        )
    )
    calculated = st.tuples(st.sampled_from("+-*/"), operator, number).map(
        lambda each: (
            f"packets {each[0]} ttl {each[1]} {each[2]}",
            f"packets::double {each[0]} {'nullif(ttl, 0)' if each[0] == '/' else 'ttl'} {each[1].replace('==', '=')} {each[2]}",
        )
    )
    known = column.map(lambda name: (f"{name} is null",) * 2)
    return st.one_of(plain, both, member, span, spans, calculated, known)


def conditions() -> st.SearchStrategy[tuple[str, str]]:
    return st.recursive(
        comparisons(),
        lambda inner: st.one_of(
            inner.map(lambda each: (f"not ({each[0]})", f"not ({each[1]})")),
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
                lambda each: (
                    f"({each[0][0]}) {each[1]} ({each[2][0]})",
                    f"({each[0][1]}) {each[1]} ({each[2][1]})",
                )
            ),
            # Several in a row, of which and binds before or.
            st.tuples(
                inner, st.lists(st.tuples(st.sampled_from(["and", "or"]), inner), min_size=2, max_size=4)
            ).map(
                lambda each: (
                    " ".join([f"({each[0][0]})", *(f"{word} ({more[0]})" for word, more in each[1])]),
                    " ".join([f"({each[0][1]})", *(f"{word} ({more[1]})" for word, more in each[1])]),
                )
            ),
        ),
        max_leaves=6,
    )


ROWS = pl.DataFrame(
    [(ttl, packets) for ttl in (None, 0, 1, 2, 3, 4) for packets in (None, 0, 1, 2, 3, 4)],
    schema={"ttl": pl.Int64, "packets": pl.Int64},
    orient="row",
)


@settings(max_examples=300, deadline=None)
@given(conditions())
def test_duckdb_says_the_same(pair: tuple[str, str]) -> None:
    ours, sql = pair
    rows = ROWS.to_arrow()
    expected = duckdb.sql(f"select ({sql}) as answer from rows").pl()["answer"].to_list()
    assert rows.num_rows == len(expected)
    assert ROWS.select(answer=condition(ours, COLUMNS, SETS).expr)["answer"].to_list() == expected


def test_an_expression_of_polars_is_taken_as_it_is() -> None:
    made = condition(pl.col("ttl") > 3, COLUMNS, SETS)
    assert made.columns == {"ttl"}
    with pytest.raises(ExpressionError, match='no column is called "tll"; did you mean "ttl"'):
        condition(pl.col("tll") > 3, COLUMNS, SETS)


@pytest.mark.parametrize(
    "expr",
    [
        pl.lit(True),
        pl.col("is_siprec"),
        pl.col("ttl").is_null() | (pl.col("app").str.contains("s") & pl.col("src").is_in([b"x"])),
        pl.when(pl.col("ttl") > 3).then(pl.col("packets") > 1).otherwise(False),
        pl.any_horizontal(pl.col("ttl") > 3, pl.max_horizontal("ttl", "packets") == 1),
        pl.col("mpls").list.eval(pl.element() > 3).list.any(),
        pl.col("mpls").list.sum() > 3,
        pl.struct("ttl", "packets").hash() > 3,
        pl.col("src").map_batches(lambda column: column.is_null(), pl.Boolean, is_elementwise=True),
        pl.col("src").map_elements(lambda value: len(str(value)) == 16, pl.Boolean),
    ],
)
def test_expressions_of_polars_that_ask_each_row(expr: pl.Expr) -> None:
    assert condition(expr, COLUMNS, SETS).columns == set(expr.meta.root_names())


BY_OTHERS = "depends on other rows"
AT_ONCE = "columns by place, pattern or type"


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ((pl.col("packets") > 0).all(), BY_OTHERS),
        (pl.col("packets").sum() > 1, BY_OTHERS),
        (pl.col("packets") > pl.col("packets").mean(), BY_OTHERS),
        (pl.when(pl.col("packets") > pl.col("ttl").max()).then(True), BY_OTHERS),
        (pl.col("packets").sum().over("src") > 1, BY_OTHERS),
        (pl.col("packets").shift() > 1, BY_OTHERS),
        (pl.col("packets").cum_sum() > 1, BY_OTHERS),
        (pl.col("packets").rank() > 1, BY_OTHERS),
        (pl.col("src").is_first_distinct(), BY_OTHERS),
        (pl.col("packets").fill_null(strategy="forward") > 1, BY_OTHERS),
        (pl.col("packets").is_in(pl.col("ttl").implode()), BY_OTHERS),
        (pl.col("packets").filter(pl.col("packets") > 1) > 0, BY_OTHERS),
        ((pl.col("packets") > 1).head(1), BY_OTHERS),
        (pl.col("mpls").explode() > 1, BY_OTHERS),
        (pl.lit(pl.Series([True, False])), BY_OTHERS),
        (pl.len() > 3, BY_OTHERS),
        (pl.col("src").map_batches(lambda column: column.is_null(), pl.Boolean), BY_OTHERS),
        (pl.all() == 1, AT_ONCE),
        (pl.nth(0) > 1, AT_ONCE),
        (pl.col("^pack.*$") > 1, AT_ONCE),
        (pl.col(pl.Int64) > 1, AT_ONCE),
        (pl.any_horizontal(pl.all() > 1), AT_ONCE),
        (pl.col("app"), "it is String, not Boolean"),
        (pl.col("packets"), "it is Int64, not Boolean"),
        (pl.col("mpls"), r"it is List\(Int64\), not Boolean"),
        (pl.lit(None), "it is Null, not Boolean"),
        (pl.col("packets").str.contains("x"), "expected `String`|expected String|String"),
    ],
)
def test_expressions_of_polars_that_do_not(expr: pl.Expr, says: str) -> None:
    with pytest.raises(ExpressionError, match=says):
        condition(expr, COLUMNS, SETS)


def test_times_are_utc_unless_said_otherwise() -> None:
    noon = int(datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC).timestamp()) * 10**9
    assert ask("ts == 2026-01-31T12:00:00", ts=noon) is True
    assert ask("ts == '2026-01-31T13:00:00+01:00'", ts=noon) is True
