"""I1: national traffic does not leave the country."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import polars as pl
from pydantic import BeforeValidator

from tapsight._options import Options, OrText, Severity, policy_error
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, packets, with_cut
from tapsight.checks._borders import Crossing, countries_text, end_text, zones_text
from tapsight.checks._paths import MOST
from tapsight.checks._talks import end
from tapsight.claims import Tunnel
from tapsight.findings import Finding


def _crossings(value: object) -> list[Any]:
    """Entries as tables; the code of a country becomes a table with nothing but that."""
    crossings: list[Any] = []
    for item in value if isinstance(value, list) else [value]:
        if item == {}:
            raise policy_error("must say any of countries, between and tunnel", item)
        crossings.append(item if isinstance(item, dict) else {"countries": item})
    return crossings


class I1Options(Options):
    """What a policy may say under [checks.I1]."""

    allow: Annotated[list[Crossing], BeforeValidator(_crossings), OrText()] | None = None
    """How national traffic may leave the country: codes of countries, or tables of countries, between and tunnel."""


class I1(Check[I1Options]):
    """What is sent from one place in the country to another stays in it.

    What it looks for:
        Packets of which both ends are in the countries of ``home``, under [network], and that a tap saw on a way abroad: in a tunnel of
        which an end is in another country, or on a link (by its MAC addresses, labels, VLANs or tap) of a zone that is. Each tunnel and each
        zone is one finding, unless ``allow`` lists it; of GTP-U, L2TP and ESP, whose ids are of one direction each, all between the same two ends is one. B19 does not report what ``allow`` lists either. Copies count as well, unless they go to sinks
        that I6 lists.

    Why it matters:
        Abroad, others may listen, by other laws.

    Severity:
        Medium where a zone of the policy says that it is abroad; low where files or registries say so. These tell where an address was
        registered, or is thought to be, and that is wrong often enough: B19 looks for further signs.

    Example that fails:
        A packet from 193.0.2.1 to 193.0.3.1 in a GRE tunnel to 192.0.2.1, with this policy::

            [network]
            home = "NO"
            [places]
            files = ["places.csv"]  # prefix,country: 193.0.0.0/16,NO and 192.0.2.0/24,SE
            [checks.I1]
            allow = ["DK", { countries = ["SE"], between = ["193.0.4.0/24", "193.0.5.0/24"], tunnel = ["193.0.9.1", "192.0.2.7"] }]

        An entry is a country, or says any of ``countries`` (all those that are crossed have to be listed), ``between`` (both ends of the traffic) and
        ``tunnel`` (both ends of the tunnel). ``allow = []`` says that none may leave.

    What to do:
        Find out who routes the traffic there, and list what is agreed.

    What it cannot see:
        A border that is crossed beyond what the taps see: between them, or behind them. Addresses without a country (private ones, unless a zone or
        a file has them; ``anycast`` ones) are not judged.

    Source: catalogue of policy checks, I1; arXiv 1606.05047 (detours of traffic between places in one country).
    """

    id = "I1"
    title = "National traffic does not leave the country"
    severity = "medium"
    needs = ("allow",)
    network_needs = ("home",)
    options = I1Options

    def judge(self, seen: Observed, options: I1Options, severity: Severity) -> Judgement:
        """Judges each packet of national traffic by the tunnel and the link that it was seen in."""
        rows = seen.borders.rows
        hidden = rows.filter(pl.col("encap").is_not_null(), ~pl.col("knows_tunnel"), ~pl.col("is_abroad"))
        unread = packets(hidden)
        reasons = ["addresses without a country"] if seen.borders.unknown else []
        reasons += ["tunnels of which an end has no country"] if unread else []
        scope = with_cut(
            Scope(seen.borders.in_scope, packets(rows) - unread, "; ".join(reasons) or None),
            seen.cut.filter(pl.col("hides_path") | pl.col("src").is_null()),
        )
        count, abroad, by = _ways(seen.borders.crossing.filter(~pl.col("agreed")))
        fixed = options.severity is not None
        findings = tuple(
            self._finding(row, scope, severity if fixed or _is_certain(row) else "low")
            for row in group(abroad, by)
        )
        more = f"only the first {MOST} ways were looked into" if count > MOST else None
        note = "; ".join(filter(None, (seen.borders.note, more))) or None
        return Judgement(scope, findings, nothing="no national traffic was seen", note=note)

    def _finding(self, row: dict[str, Any], scope: Scope, severity: Severity) -> Finding:
        tunnel = None
        if row["through"]:
            tunnel = Tunnel(row["encap"], row["outer_src"], row["outer_dst"], row["tunnel_id"])
        ways = []
        if tunnel is not None:
            ways.append(
                f"in a {tunnel} between {end_text(row, 'outer_src')} and {end_text(row, 'outer_dst')}"
            )
        if row["on"]:
            ways.append(f"on a link of {zones_text(row['on'].split(_AND))}")
        why = "" if _is_certain(row) else "; countries of addresses err"
        return self.finding(
            row,
            scope,
            severity,
            identity=dataclasses.astuple(tunnel) if tunnel is not None else (row["where"], row["on"]),
            sentence=(
                f"{plural(row['packets'], 'packet')} of national traffic in {plural(row['flows'], 'conversation')}, such as from {end(row['src'])} to "
                f"{end(row['dst'])}, went through {countries_text(row['where'].split(_AND))}, {' and '.join(ways)}, "
                f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}); the policy does not allow it{why}."
            ),
            tunnel=tunnel,
        )


def _ways(abroad: pl.DataFrame) -> tuple[int, pl.DataFrame, list[str]]:
    """How many ways there are, the flows by those that have most packets, and the columns that tell ways apart: the tunnel, or else the zones of the link.

    ``through`` tells whether there is a tunnel that leads abroad; ``where`` and ``on`` are countries and zones, each as one text.
    """
    through = pl.col("tunnel").list.len() > 0
    abroad = abroad.with_columns(
        through=through,
        where=pl.when(through).then("tunnel").otherwise("link").list.join(_AND),
        alone=pl.when(~through).then(pl.col("zones").list.join(_AND)),
    )
    # Both directions of a tunnel are one. Ids that the receiver chose are others on the way back, and nothing says which belong together.
    one_way = pl.col("encap").str.split("/").list.eval(pl.element().is_in(_ONE_WAY)).list.any()
    abroad = abroad.with_columns(tunnel_id=pl.when(~one_way.fill_null(value=False)).then("tunnel_id"))
    key = ["encap", "tunnel_id"]
    key += [f"outer_{end}{what}" for end in ("src", "dst") for what in ("", "_country", "_source")]
    swapped = pl.col("outer_src") > pl.col("outer_dst")
    abroad = abroad.with_columns(
        pl.when(swapped).then(_other(name)).otherwise(name).alias(name) for name in key
    )
    abroad = abroad.with_columns(pl.when("through").then(name).alias(name) for name in key)
    key = ["through", "where", *key, "alone"]
    ways = abroad.group_by(key, maintain_order=True).agg(
        on=pl.col("zones").explode().drop_nulls().unique().sort().implode(), all=pl.col("packets").sum()
    )
    count = len(ways)
    ways = ways.sort("all", descending=True, maintain_order=True).head(MOST).drop("all")
    ways = ways.with_columns(pl.col("on").list.join(_AND))
    return count, abroad.join(ways, on=key, nulls_equal=True, maintain_order="left"), [*key, "on"]


def _is_certain(row: dict[str, Any]) -> bool:
    """Whether the policy itself says that it is abroad."""
    ends = ("outer_src", "outer_dst")
    where = row["where"].split(_AND)
    return bool(row["on"]) or any(
        row[f"{end}_source"] == "zone" and row[f"{end}_country"] in where for end in ends
    )


def _other(name: str) -> str:
    """What the column says of the tunnel's other end."""
    one, other = ("src", "dst") if "src" in name else ("dst", "src")
    return name.replace(one, other)


_ONE_WAY = ["gtpu", "l2tp", "l2tpv3", "esp"]
"""Tunnels whose id is of one direction: TEID (3GPP TS 29.281), tunnel and session (RFC 2661, RFC 3931), SPI (RFC 4303)."""

_AND = "\x1f"
"""Between members of a list that is one text."""
