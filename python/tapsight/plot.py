"""Pictures of a result, as Altair charts: for notebooks, and what a report shows.

::

    result = tapsight.check("tap.pcap", policy="policy.toml")
    result.plot.timeline()                 # when packets went where they should not, for the first finding that says so
    result.plot.verdicts().save("verdicts.svg")

They need Altair: ``pip install 'tapsight[report]'``. Colours are those of Okabe and Ito (2008), which people of all kinds of colour
vision can tell apart.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from tapsight._check import Result
    from tapsight.places import Places
    from tapsight.report._moments import Moments

BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8a8f98"
SKY, PINK, BLACK = "#56b4e9", "#cc79a7", "#1b1f24"
_VERDICTS = {"pass": GREEN, "fail": RED, "unknown": GREY}
_CLASSES = {
    "voice-media": BLUE,
    "voice-signalling": SKY,
    "mobile-signalling": PINK,
    "internet": ORANGE,
    "routing": GREEN,
    "management": RED,
    "unknown": GREY,
}
_WIDTH = 560
_SMALL = 0.1
"""Bars of less than this share of the tallest are marked."""
APPLICATIONS = 12
"""Applications that are shown; the others are one."""


class Plot:
    """Pictures of one result. A second look at its captures is taken when a picture first needs it.

    Raises:
        ImportError: Altair is not installed.
    """

    def __init__(self, result: Result) -> None:
        try:
            import altair  # noqa: F401
        except ImportError as error:
            raise ImportError("pictures need Altair: pip install 'tapsight[report]'") from error
        self._result = result

    @functools.cached_property
    def moments(self) -> Moments:
        """What the second look has found."""
        from tapsight.report._moments import moments

        return moments(self._result)

    def verdicts(self) -> alt.Chart:
        """How many checks and detectors pass, fail, or cannot say."""
        import polars as pl

        counts = pl.DataFrame(self._result.verdicts).group_by("verdict").len("checks").sort("verdict")
        return self._verdict_bars(counts, "checks", "checks and detectors")

    def timeline(self, finding: str | None = None) -> alt.Chart | alt.LayerChart:
        """When packets went where a finding says, beside all others.

        Args:
            finding: Its id; the first one with such a place by default.

        Raises:
            ValueError: No such finding, or it says of no place that packets went there.
        """
        import altair as alt
        import polars as pl

        head = self._head(finding)
        width = pl.duration(nanoseconds=self.moments.width_ns)
        counts = _of(self.moments.counts, head).with_columns((pl.col("ts") + width).alias("end"))
        bars: alt.Chart = (
            alt.Chart(counts)
            # A bar for each part of the time, so that nothing is drawn where there was nothing.
            .mark_rect(opacity=0.85)
            .encode(
                alt.X("ts:T", title="time (UTC)", scale=alt.Scale(type="utc")),
                alt.X2("end:T"),
                alt.Y("packets:Q", title="packets", stack=None),
                alt.Y2Datum(0),
                alt.Color(
                    "sent:N",
                    title=None,
                    scale=alt.Scale(domain=["elsewhere", "there"], range=[GREY, RED]),
                    legend=alt.Legend(orient="top", labelExpr=_SENT),
                ),
                alt.Order("sent:N"),
            )
            .properties(width=_WIDTH, height=140)
        )
        there, most = counts.filter(pl.col("sent") == "there"), counts["packets"].max()
        if not there.height or there["packets"].max() >= _SMALL * (most or 0):  # type: ignore[operator]
            return bars
        # So low that nobody would see them: what says when they were stands above.
        marks = (
            alt.Chart(there)
            .mark_point(shape="triangle-down", filled=True, size=70, opacity=1, color=RED, yOffset=-6)
            .encode(alt.X("ts:T"), alt.Y("packets:Q"))
        )
        return cast("alt.LayerChart", alt.layer(bars, marks))

    def lags(self, finding: str | None = None) -> alt.Chart:
        """How much later copies were than their originals, milliseconds: of the pairs among the evidence.

        Args and errors are those of :meth:`timeline`.
        """
        import altair as alt
        import polars as pl

        head = self._head(finding)
        lags = _of(self.moments.lags, head).select((pl.col("lag_ns") / 1e6).alias("lag_ms"))
        chart: alt.Chart = (
            alt.Chart(lags)
            .mark_bar(color=BLUE)
            .encode(
                alt.X(
                    "lag_ms:Q",
                    bin=alt.Bin(maxbins=40),
                    title="milliseconds from the original to its copy",
                ),
                alt.Y("count()", title="pairs", axis=alt.Axis(tickMinStep=1)),
            )
            .properties(width=_WIDTH, height=110)
        )
        return chart

    def prefixes(self, finding: str | None = None) -> alt.Chart:
        """How many of the packets of each prefix were copied.

        Args and errors are those of :meth:`timeline`.
        """
        import altair as alt
        import polars as pl

        head = self._head(finding)
        both = _of(self.moments.prefixes, head).group_by("prefix").agg(pl.col("packets", "copied").sum())
        rows = both.with_columns((pl.col("copied") / pl.max_horizontal("packets", "copied")).alias("share"))
        rows = rows.sort("copied", "prefix", descending=[True, False])
        bars = alt.Chart(rows).encode(
            alt.Y("prefix:N", sort=alt.SortField("copied", "descending"), title=None)
        )
        share = bars.mark_bar(color=RED).encode(
            alt.X(
                "share:Q",
                title="copied, of the packets from or to it",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1]),
            )
        )
        chart: alt.Chart = share.properties(width=_WIDTH - 160, height=alt.Step(20))
        return chart

    def traffic(self) -> alt.Chart:
        """Bytes by class of traffic and application."""
        import altair as alt
        import polars as pl

        rows = (
            _paths(self._result)
            .group_by("traffic", pl.col("app").fill_null("unrecognised"))
            .agg(pl.col("bytes").sum())
            .sort("bytes", "app", "traffic", descending=[True, False, False])
        )
        rows = pl.concat(
            [
                rows.head(APPLICATIONS),
                rows.slice(APPLICATIONS)
                .group_by("traffic")
                .agg(pl.lit("other").alias("app"), pl.col("bytes").sum())
                .select("traffic", "app", "bytes")
                .sort("traffic"),
            ]
        )
        # The class stands in words, too: no colour has to be told from another.
        rows = rows.with_columns(pl.format("{} ({})", "app", "traffic").alias("what"))
        shown = [name for name in _CLASSES if name in set(rows["traffic"])]
        chart: alt.Chart = (
            alt.Chart(rows)
            .mark_bar()
            .encode(
                alt.X("bytes:Q", title="bytes", axis=alt.Axis(format="~s")),
                alt.Y("what:N", sort=alt.EncodingSortField("bytes", order="descending"), title=None),
                alt.Color(
                    "traffic:N",
                    title=None,
                    scale=alt.Scale(domain=shown, range=[_CLASSES[name] for name in shown]),
                    legend=alt.Legend(orient="top", columns=3),
                ),
            )
            .properties(width=_WIDTH - 160, height=alt.Step(20))
        )
        return chart

    def encryption(self) -> alt.LayerChart:
        """How much of each class of traffic is encrypted, and by what: shares of packets. See :func:`encryption`."""
        import altair as alt
        import polars as pl

        order = {name: at for at, name in enumerate(_WAYS)}
        rows = (
            encryption(self._result)
            .with_columns(
                (pl.col("packets") / pl.col("packets").sum().over("traffic")).alias("share"),
                pl.col("packets").sum().over("traffic").alias("all"),
                pl.col("way").replace_strict(order, return_dtype=pl.Int64).alias("order"),
            )
            .sort("traffic", "order")
            .with_columns(
                pl.col("share").cum_sum().over("traffic").alias("end"),
                pl.when(pl.col("share") >= _LEGIBLE).then("way").otherwise(pl.lit("")).alias("label"),
            )
            .with_columns((pl.col("end") - pl.col("share") / 2).alias("middle"))
        )
        shown = [name for name in _WAYS if name in set(rows["way"])]
        base = alt.Chart(rows).encode(
            alt.Y("traffic:N", sort=alt.EncodingSortField("all", op="max", order="descending"), title=None)
        )
        bars = base.mark_bar(stroke="white").encode(
            alt.X("share:Q", stack="zero", title="share of packets", axis=alt.Axis(format="%")),
            alt.Order("order:Q"),
            alt.Color(
                "way:N",
                title=None,
                scale=alt.Scale(domain=shown, range=[_WAYS[name] for name in shown]),
                legend=alt.Legend(orient="top", columns=4, labelLimit=200),
            ),
        )
        dark = list(_DARK)
        texts = base.mark_text(fontSize=11).encode(
            alt.X("middle:Q"),
            alt.Text("label:N"),
            color=alt.condition(
                alt.FieldOneOfPredicate(field="way", oneOf=dark), alt.value("white"), alt.value(BLACK)
            ),
        )
        chart: alt.LayerChart = (bars + texts).properties(width=_WIDTH - 100, height=alt.Step(24))
        return chart

    def countries(self) -> alt.LayerChart:
        """Bytes from country to country, as :func:`country_pairs` has them."""
        return _matrix(country_pairs(self._result), "bytes", ".2~s")

    def call_countries(self) -> alt.LayerChart:
        """Calls from country to country, by the ends of their signalling."""
        return _matrix(call_pairs(self._result), "calls", ",")

    def calls(self) -> alt.Chart:
        """In how many calls each of the five questions was answered how."""
        import polars as pl

        from tapsight._call_verdicts import ASPECTS

        calls = (
            pl.DataFrame(self._result.calls)
            .select(*ASPECTS)
            .unpivot(variable_name="about", value_name="verdict")
        )
        return self._verdict_bars(
            calls.group_by("about", "verdict").len("calls").sort("about", "verdict"),
            "calls",
            "calls",
            by="about",
            order=ASPECTS,
        )

    def _verdict_bars(
        self, rows: pl.DataFrame, count: str, title: str, *, by: str | None = None, order: Sequence[str] = ()
    ) -> alt.Chart:
        import altair as alt

        chart: alt.Chart = (
            alt.Chart(rows)
            .mark_bar()
            .encode(
                alt.X(f"{count}:Q", title=title, axis=alt.Axis(tickMinStep=1)),
                alt.Color(
                    "verdict:N",
                    title=None,
                    scale=alt.Scale(domain=list(_VERDICTS), range=list(_VERDICTS.values())),
                    legend=alt.Legend(orient="top"),
                ),
            )
            .properties(width=_WIDTH - 100)
        )
        if by is None:
            chart = chart.properties(height=22)
        else:
            chart = chart.encode(alt.Y(f"{by}:N", sort=list(order), title=None))
            chart = chart.properties(height=alt.Step(22))
        return chart

    def _head(self, finding: str | None) -> str:
        """The finding under which the second look has what is told of this one."""
        heads = self.moments.heads
        if finding is None:
            finding = next(iter(heads), None)
            if finding is None:
                raise ValueError("no finding says where packets went")
        if finding not in self._result.findings["id"].to_pylist():
            raise ValueError(f"no finding has the id {finding!r}")
        if finding not in heads:
            from tapsight.report._moments import MOST

            first = (
                f" (of the first {MOST} findings, which are looked at)"
                if self._result.findings.num_rows > MOST
                else ""
            )
            raise ValueError(f"finding {finding} does not say where packets went{first}")
        return heads[finding]


_SENT = "datum.label == 'there' ? 'sent there' : 'all other packets'"


def _of(table: pl.DataFrame, finding: str) -> pl.DataFrame:
    import polars as pl

    return table.filter(pl.col("finding") == finding)


def _paths(result: Result) -> pl.DataFrame:
    import polars as pl

    labels = ["traffic", "app"]
    return pl.DataFrame(result.flows).with_columns(pl.col(labels).cast(pl.String))


def _matrix(pairs: pl.DataFrame, count: str, form: str) -> alt.LayerChart:
    """From where to where, a cell a pair, darker for more; the number stands in it, so that no colour need be told from another."""
    import altair as alt
    import polars as pl

    most = pairs[count].max() or 1
    rows = pairs.with_columns((pl.col(count) > cast(int, most) / 3).alias("is_dark"))
    order = [*(place for place in sorted({*rows["from"], *rows["to"]}) if place not in _LAST), *_LAST]
    base = alt.Chart(rows).encode(
        alt.X("to:N", title="to", sort=order, axis=alt.Axis(orient="top", labelAngle=-45, labelLimit=160)),
        alt.Y("from:N", title="from", sort=order, axis=alt.Axis(labelLimit=160)),
    )
    cells = base.mark_rect(stroke="#d0d7de").encode(
        alt.Color(f"{count}:Q", scale=alt.Scale(scheme="blues", domainMin=0), legend=None)
    )
    texts = base.mark_text(fontSize=11).encode(
        alt.Text(f"{count}:Q", format=form),
        color=alt.condition("datum.is_dark", alt.value("white"), alt.value(BLACK)),
    )
    chart: alt.LayerChart = (cells + texts).properties(width=alt.Step(46), height=alt.Step(24))
    return chart


_LAST = ("other", "local", "not known")
"""What is no country, behind those that are."""


def _places(result: Result) -> Places:
    """What the policy knows of addresses, else where they are registered."""
    from tapsight.places import Places

    return result.places if result.places is not None else Places()


def sources(result: Result) -> list[str]:
    """Who says in which countries the ends of conversations are: ``registry``, ``zone``, or names of files."""
    import polars as pl

    flows = pl.DataFrame(result.flows).select("src", "dst").drop_nulls()
    ends = pl.concat([flows["src"], flows["dst"]]).unique(maintain_order=True)
    found = _places(result).lookup(ends)["source"].cast(pl.String)
    return sorted(found.drop_nulls().unique())


def _located(result: Result, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with ``src`` and ``dst``, with the countries of both as ``from`` and ``to``; without them ``local`` or ``not known``."""
    import polars as pl

    from tapsight import _core

    ends = pl.concat([rows["src"], rows["dst"]]).unique(maintain_order=True)
    place = _places(result).lookup(ends)
    codes = place["country"].cast(pl.String)
    names = {code: f"{code} {_core.country_name(code) or ''}".strip() for code in codes.drop_nulls().unique()}
    known = pl.DataFrame(
        {
            "addr": ends,
            "country": codes.replace(names)
            .fill_null(place["special"].cast(pl.String).replace_strict({}, default="local"))
            .fill_null("not known"),
        }
    )
    for end, name in (("src", "from"), ("dst", "to")):
        rows = rows.join(known.rename({"addr": end, "country": name}), on=end, how="left")
    return rows


def _few(pairs: pl.DataFrame, count: str, most: int) -> pl.DataFrame:
    """The pairs, of which countries beyond those with most are ``other``."""
    import polars as pl

    ends = [pairs.select(pl.col(end).alias("place"), count) for end in ("from", "to")]
    ranked = pl.concat(ends).group_by("place").agg(pl.col(count).sum())
    kept = ranked.sort(count, "place", descending=[True, False])["place"].head(most)
    shown = [
        pl.when(pl.col(end).is_in(kept.implode()) | pl.col(end).is_in(_LAST))
        .then(pl.col(end))
        .otherwise(pl.lit("other"))
        .alias(end)
        for end in ("from", "to")
    ]
    sums = pairs.with_columns(shown).group_by("from", "to").agg(pl.exclude("from", "to").sum())
    return sums.sort(count, "from", "to", descending=[True, False, False])


def country_pairs(result: Result, most: int = 12) -> pl.DataFrame:
    """From which country to which how much went.

    ``from``, ``to`` (countries, or ``local``, ``not known``; of those with few bytes ``other``), ``packets``, ``bytes``, and ``flows``
    (conversations). Countries are those that addresses are registered in, unless the policy has a home: then zones and places of the policy count first.
    """
    import polars as pl

    flows = _paths(result).drop_nulls(["src", "dst"])
    rows = flows.group_by("src", "dst").agg(
        pl.col("packets", "bytes").sum(), pl.col("flow_id").n_unique().alias("flows")
    )
    pairs = _located(result, rows).group_by("from", "to").agg(pl.col("packets", "bytes", "flows").sum())
    return _few(pairs, "bytes", most)


def call_pairs(result: Result, most: int = 12) -> pl.DataFrame:
    """``from``, ``to`` (as :func:`country_pairs` has them) and ``calls``, by the addresses of their signalling, as often as taps saw them."""
    import polars as pl

    calls = pl.DataFrame(result.calls).drop_nulls(["src", "dst"])
    rows = calls.group_by("src", "dst").agg(pl.len().alias("calls"))
    return _few(_located(result, rows).group_by("from", "to").agg(pl.col("calls").sum()), "calls", most)


# --- Encryption -------------------------------------------------------------------------------------------------------

_WAYS = {
    "in clear": ORANGE,
    "TLS": BLUE,
    "QUIC": SKY,
    "SSH": PINK,
    "IPsec": RED,
    "SRTP": GREEN,
    "other tunnels": BLACK,
    "cannot be told": GREY,
}
"""How traffic is encrypted, in the order of pictures."""
_DARK = ("TLS", "other tunnels")
"""Those with colours that text on them has to be white for."""
_LEGIBLE = 0.15
"""Share from which on there is room for a name."""
_ENCRYPTED = {
    "tls": "TLS",
    "dtls": "TLS",
    "sips": "TLS",
    "quic": "QUIC",
    "ssh": "SSH",
    "esp": "IPsec",
    "ike": "IPsec",
    "wireguard": "other tunnels",
    "openvpn": "other tunnels",
    "macsec": "other tunnels",
}
_UNTOLD = frozenset(
    {
        "rtp",
        "rtcp",
        "t38",
        "zrtp",
        "rdp",
        "smb",
        "ldap",
        "kerberos",
        "radius",
        "tacacs",
        "snmp",
        "iax2",
        "bittorrent",
        "pptp",
        "l2tp",
        "capwap",
    }
)
"""Applications that may encrypt what they carry, and whose packets do not tell whether they do."""


def encryption(result: Result) -> pl.DataFrame:
    """How much of each class of traffic is encrypted: ``traffic``, ``way``, ``packets``, ``flows`` (conversations).

    What only a port tells counts as what it says if the same conversation was recognised elsewhere by its bytes, else as what cannot be told. So does
    what nobody recognised, and what may be encrypted or not: of RTP, whether it is SRTP is known by the calls that agreed on it (packets of
    those; conversations are null). ``in clear`` is what is written in protocols that do not encrypt.
    """
    import polars as pl

    flows = _paths(result).with_columns(pl.col("basis").cast(pl.String))
    told = (pl.col("basis") != "port").any().over("flow_id", "app") & pl.col("app").is_not_null()
    way = (
        pl.when(
            ~told.fill_null(value=False) | (pl.col("traffic") == "unknown") | pl.col("app").is_in(_UNTOLD)
        )
        .then(pl.lit("cannot be told"))
        .otherwise(pl.col("app").replace_strict(_ENCRYPTED, default="in clear", return_dtype=pl.String))
    )
    counts = (
        flows.with_columns(way.alias("way"))
        .group_by("traffic", "way")
        .agg(pl.col("packets").sum(), pl.col("flow_id").n_unique().cast(pl.UInt64).alias("flows"))
    )
    return _with_calls(counts, pl.DataFrame(result.calls)).sort(
        "traffic", "packets", descending=[False, True]
    )


def _with_calls(counts: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """The counts, in which media of calls are as was agreed: SRTP, or in clear."""
    import polars as pl

    agreed = pl.when(pl.col("encryption") == "none").then(pl.lit("in clear")).otherwise(pl.lit("SRTP"))
    by_way = (
        calls.drop_nulls("encryption")
        .with_columns(agreed.alias("way"), pl.lit("voice-media").alias("traffic"))
        .group_by("traffic", "way")
        .agg(pl.col("packets").sum().cast(pl.UInt64), pl.lit(None, pl.UInt64).alias("flows"))
    )
    is_media = (pl.col("traffic") == "voice-media") & (pl.col("way") == "cannot be told")
    room = int(counts.filter(is_media)["packets"].sum())
    known = int(by_way["packets"].sum())
    # Calls that shared a stream would count twice.
    if not 0 < known <= room:
        return counts
    left = counts.with_columns(pl.when(is_media).then(pl.col("packets") - known).otherwise(pl.col("packets")))
    both = pl.concat([left.filter(pl.col("packets") > 0), by_way.select(counts.columns)])
    return both.group_by("traffic", "way").agg(
        pl.col("packets").sum(),
        pl.when(pl.col("flows").null_count() == 0).then(pl.col("flows").sum()).alias("flows"),
    )
