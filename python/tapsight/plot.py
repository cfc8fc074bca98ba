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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from tapsight._check import Result
    from tapsight.report._moments import Moments

BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8a8f98"
_VERDICTS = {"pass": GREEN, "fail": RED, "unknown": GREY}
_WIDTH = 560
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

    def timeline(self, finding: str | None = None) -> alt.Chart:
        """When packets went where a finding says, beside all others.

        Args:
            finding: Its id; the first one with such a place by default.

        Raises:
            ValueError: No such finding, or it says of no place that packets went there.
        """
        import altair as alt

        head = self._head(finding)
        counts = _of(self.moments.counts, head)
        chart: alt.Chart = (
            alt.Chart(counts)
            .mark_area(interpolate="step-after", opacity=0.85, line=False)
            .encode(
                alt.X("ts:T", title="time (UTC)", scale=alt.Scale(type="utc")),
                alt.Y("packets:Q", title="packets", stack=None),
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
        return chart

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
            .sort("bytes", "app", descending=[True, False])
        )
        rows = pl.concat(
            [
                rows.head(APPLICATIONS),
                rows.slice(APPLICATIONS)
                .group_by("traffic")
                .agg(pl.lit("other").alias("app"), pl.col("bytes").sum())
                .select("traffic", "app", "bytes"),
            ]
        )
        chart: alt.Chart = (
            alt.Chart(rows)
            .mark_bar()
            .encode(
                alt.X("bytes:Q", title="bytes", axis=alt.Axis(format="~s")),
                alt.Y("app:N", sort=alt.EncodingSortField("bytes", op="sum", order="descending"), title=None),
                alt.Color(
                    "traffic:N",
                    title=None,
                    scale=alt.Scale(scheme="tableau10"),
                    legend=alt.Legend(orient="top", columns=3),
                ),
            )
            .properties(width=_WIDTH - 100, height=alt.Step(18))
        )
        return chart

    def countries(self) -> alt.Chart:
        """Bytes by the countries that the two ends of conversations are registered in, smaller code first."""
        import altair as alt

        chart: alt.Chart = (
            alt.Chart(country_pairs(self._result))
            .mark_rect()
            .encode(
                alt.X("to:N", title=None),
                alt.Y("from:N", title=None),
                alt.Color(
                    "bytes:Q",
                    title="bytes",
                    scale=alt.Scale(scheme="blues", type="symlog"),
                    legend=alt.Legend(format="~s"),
                ),
            )
            .properties(width=alt.Step(24), height=alt.Step(24))
        )
        return chart

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
            calls.group_by("about", "verdict").len("calls"), "calls", "calls", by="about", order=ASPECTS
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


def country_pairs(result: Result, most: int = 12) -> pl.DataFrame:
    """``from``, ``to`` (countries, or ``?``; of those with few bytes ``other``), ``packets`` and ``bytes``."""
    import polars as pl

    from tapsight.places import Places

    pairs = (
        _paths(result).drop_nulls(["src", "dst"]).group_by("src", "dst").agg(pl.col("packets", "bytes").sum())
    )
    ends = pl.concat([pairs["src"], pairs["dst"]]).unique(maintain_order=True)
    place = Places().lookup(ends)
    known = pl.DataFrame(
        {
            "addr": ends,
            "country": place["country"]
            .cast(pl.String)
            .fill_null(place["special"].cast(pl.String).replace_strict({}, default="local"))
            .fill_null("?"),
        }
    )
    for end in ("src", "dst"):
        pairs = pairs.join(known.rename({"addr": end, "country": f"{end}_country"}), on=end, how="left")
    first, second = (pl.col(f"{end}_country") for end in ("src", "dst"))
    summed = pairs.group_by(
        pl.min_horizontal(first, second).alias("from"), pl.max_horizontal(first, second).alias("to")
    ).agg(pl.col("packets", "bytes").sum())
    by_country = pl.concat(
        [summed.select("from", "bytes"), summed.select(pl.col("to").alias("from"), "bytes")]
    )
    kept = (
        by_country.group_by("from")
        .agg(pl.col("bytes").sum())
        .sort("bytes", "from", descending=[True, False])["from"]
        .head(most)
    )
    shown = [
        pl.when(pl.col(end).is_in(kept.implode())).then(pl.col(end)).otherwise(pl.lit("other")).alias(end)
        for end in ("from", "to")
    ]
    return (
        summed.with_columns(shown)
        .group_by("from", "to")
        .agg(pl.col("packets", "bytes").sum())
        .sort("bytes", descending=True)
    )
