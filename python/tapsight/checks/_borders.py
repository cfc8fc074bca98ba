"""National traffic, and what shows that it left the country: what B19 and I1 judge by."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from tapsight import _core
from tapsight._engine import inside
from tapsight._located import REGIONS
from tapsight._options import Countries, Pair
from tapsight._text import address_text, listing
from tapsight.checks._base import packets
from tapsight.checks._paths import between_hosts, prefix_of

if TYPE_CHECKING:
    from tapsight.checks._base import Observed
    from tapsight.places import Places

_ENDS = ("src", "dst", "outer_src", "outer_dst")
_TUNNEL, _ZONES = ("outer_src", "outer_dst"), ("near", "far")
_LINK = ["tap", "eth_src", "eth_dst", "vlan", "vlan_inner", "labels"]
"""What zones go by, but for addresses."""


class Crossing(BaseModel):
    """A way of national traffic abroad that is agreed; what is not given may be anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    countries: Countries | None = None
    """The countries that it may go through."""
    between: Pair | None = None
    """The two ends of the traffic, in either direction."""
    tunnel: Pair | None = None
    """The two ends of the tunnel, in either direction."""


@dataclasses.dataclass(frozen=True)
class Borders:
    """National traffic."""

    rows: pl.DataFrame
    """Its flows, and beside their columns: ``low`` and ``high``, the prefixes of both ends in order; for each of ``src``, ``dst``, ``outer_src`` and
    ``outer_dst`` its ``…_country`` and ``…_source`` (who says so); ``is_abroad``, whether it was seen on a way abroad; and what could be judged:
    ``knows_tunnel``, ``knows_link``."""
    crossing: pl.DataFrame
    """Those that were seen on a way abroad, and beside: ``tunnel``, the countries abroad of the tunnel's ends; ``link``, those of the zones of the
    link, and ``zones``, their names; ``agreed``, whether the policy allows it."""
    in_scope: int
    """Packets that are national, or may be, for all that is known."""

    @property
    def unknown(self) -> int:
        """Packets of which a country is not known, so that they may be national."""
        return self.in_scope - packets(self.rows)

    @property
    def note(self) -> str | None:
        """What is not reported, as the policy allows it."""
        count = packets(self.crossing.filter("agreed"))
        return f"{count:,} packets went abroad as the policy allows" if count else None


def borders(seen: Observed) -> Borders:
    """The national traffic of all that was seen, but for copies that the policy lists."""
    places, network = seen.places, seen.network
    if places is None:
        raise ValueError("without places, no traffic is national")
    flows = between_hosts(seen.unlisted)
    known = _countries(flows, places, network.anycast)
    for end in _ENDS:
        names = {"address": end, "country": f"{end}_country", "source": f"{end}_source"}
        flows = _with(flows, known.rename(names), [end])
    src, dst = (pl.col(f"{end}_country").is_in(list(network.home)) for end in ("src", "dst"))
    # One end abroad is enough to know that it is not national.
    flows = flows.filter(~(~src | ~dst).fill_null(value=False))
    in_scope = packets(flows)
    flows = flows.filter((src & dst).fill_null(value=False))
    rows = flows.with_columns(
        low=pl.min_horizontal(prefix_of("src"), prefix_of("dst")),
        high=pl.max_horizontal(prefix_of("src"), prefix_of("dst")),
    )
    rows = _with_links(rows, places)

    abroad = {name: ~pl.col(f"{name}_country").is_in(list(network.home)) for name in (*_TUNNEL, *_ZONES)}
    rows = rows.with_columns(
        is_abroad=pl.any_horizontal(abroad.values()).fill_null(value=False),
        knows_tunnel=pl.all_horizontal(pl.col(f"{name}_country").is_not_null() for name in _TUNNEL),
        knows_link=pl.any_horizontal(pl.col(f"{name}_country").is_not_null() for name in _ZONES),
    )
    crossing = rows.filter("is_abroad").with_columns(
        tunnel=_set(*(pl.when(abroad[name]).then(f"{name}_country") for name in _TUNNEL)),
        link=_set(*(pl.when(abroad[name]).then(f"{name}_country") for name in _ZONES)),
        zones=_set(*(pl.when(abroad[name]).then(f"{name}_zone") for name in _ZONES)),
    )
    return Borders(rows, crossing.with_columns(agreed=_are_agreed(crossing, seen.agreed)), in_scope)


def _set(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Both, in order, as far as they are there."""
    first, last = pl.min_horizontal(one, other), pl.max_horizontal(one, other)
    return pl.concat_list(first, pl.when(last != first).then(last)).list.drop_nulls()


def _countries(flows: pl.DataFrame, places: Places, anycast: Sequence[str]) -> pl.DataFrame:
    """The country of each address, where it has one, and who says so."""
    addresses = pl.concat([flows[end].rename("address") for end in _ENDS]).drop_nulls().unique()
    addresses = addresses.filter(~inside(addresses, anycast))
    found: pl.DataFrame = places.lookup(addresses).select(pl.col("country", "source").cast(pl.String))
    found = found.with_columns(address=addresses)
    return found.filter(pl.col("country").is_not_null(), ~pl.col("country").is_in(REGIONS))


def _with_links(rows: pl.DataFrame, places: Places) -> pl.DataFrame:
    """The flows with the zones that packets came from and were handed to, and their countries: each link is looked up once."""
    rows = rows.with_columns(labels=pl.col("mpls").cast(pl.List(pl.String)).list.join(" "))
    found: list[tuple[str | None, str | None]] = []
    links = rows.select(_LINK).unique(maintain_order=True)
    if not places.zone_countries:
        links = links.clear()
    for tap, near, far, outer, inner, labels in links.iter_rows():
        vlans = [vlan for vlan in (outer, inner) if vlan is not None]
        mpls = [int(label) for label in (labels or "").split()]
        found.append((places.zone(mac=near, mpls=mpls, vlans=vlans, taps=[tap]), places.zone(mac=far)))
    zones = pl.DataFrame(found, schema={"near_zone": pl.String, "far_zone": pl.String}, orient="row")
    names = pl.DataFrame(list(places.zone_countries.items()), schema=["zone", "country"], orient="row").cast(
        pl.String
    )
    for end in _ZONES:
        zones = zones.join(
            names.rename({"zone": f"{end}_zone", "country": f"{end}_country"}),
            on=f"{end}_zone",
            how="left",
            maintain_order="left",
        )
    links = pl.concat([links, zones], how="horizontal")
    return _with(rows, links, _LINK)


def _with(rows: pl.DataFrame, more: pl.DataFrame, on: list[str]) -> pl.DataFrame:
    """The rows with what is known of them: a join that leaves the other columns where they are."""
    found = rows.select(on).join(more, on=on, how="left", nulls_equal=True, maintain_order="left")
    return rows.hstack(found.drop(on))


def _are_agreed(rows: pl.DataFrame, allow: Sequence[Crossing]) -> pl.Series:
    agreed = pl.Series(values=[False] * len(rows), dtype=pl.Boolean)
    for rule in allow:
        meant = pl.Series(values=[True] * len(rows), dtype=pl.Boolean)
        if rule.countries is not None:
            listed = pl.element().is_in(list(rule.countries))
            meant &= rows.select(pl.concat_list("tunnel", "link").list.eval(listed).list.all()).to_series()
        for pair, (one, other) in ((rule.between, ("src", "dst")), (rule.tunnel, ("outer_src", "outer_dst"))):
            if pair is not None:
                left, right = pair
                forth = inside(rows[one], left) & inside(rows[other], right)
                meant &= forth | (inside(rows[one], right) & inside(rows[other], left))
        agreed |= meant
    return agreed


# --- As text ----------------------------------------------------------------------------------------------------------


def country_text(code: str) -> str:
    """A country by its code and name."""
    name = _core.country_name(code)
    return f"{code} ({name})" if name else code


def countries_text(codes: Sequence[str]) -> str:
    """Countries by their codes and names."""
    return listing([country_text(code) for code in codes])


def zones_text(names: Sequence[str]) -> str:
    """Zones abroad."""
    zones = listing([f'"{name}"' for name in names])
    return f"{'zone' if len(names) == 1 else 'zones'} {zones}, which the policy has abroad"


def source_text(source: str) -> str:
    """Who says in which country an address is."""
    return {"zone": "a zone of the policy", "registry": "its registration"}.get(source) or Path(source).name


def end_text(row: dict[str, Any], end: str) -> str:
    """An end of a tunnel, and in which country it is by whom."""
    if row[end] is None:
        return "an unknown address"
    country, source = row[f"{end}_country"], row[f"{end}_source"]
    known = f" ({country} by {source_text(source)})" if country else ""
    return address_text(row[end]) + known
