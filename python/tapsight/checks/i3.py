"""I3: customers send from their own prefixes only."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict

from tapsight._engine import inside
from tapsight._options import Macs, Options, Prefixes, Severity, Taps, Vlans, policy_error
from tapsight._text import listing, party, plural, safe, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, packets
from tapsight.checks._special import GROUPS, LINK
from tapsight.checks._talks import end

STAYS = ("0.0.0.0/8", *LINK, "::/128")
"""Sources of what stays on its link (RFC 1122, section 3.2.1.3; RFC 3927; RFC 4291, section 2.5)."""

NOT_ROUTED = (*LINK, *GROUPS, "255.255.255.255/32")
"""Destinations of what stays on its link, or is for many."""


class Customer(BaseModel):
    """A port of a customer, by what its frames show. All that is given has to fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prefixes: Prefixes
    """What may come from there as a source."""
    name: str | None = None
    """What findings call it."""
    vlans: Vlans | None = None
    """VLANs, outer or inner, of the port."""
    macs: Macs | None = None
    """MAC addresses of the customer's devices."""
    taps: Taps | None = None
    """Taps on the port."""


def _with_ports(customers: list[Customer]) -> list[Customer]:
    for each in customers:
        if each.vlans is None and each.macs is None and each.taps is None:
            raise policy_error("must say any of vlans, macs and taps", each.name or "prefixes")
    return customers


class I3Options(Options):
    """What a policy may say under [checks.I3]."""

    customers: Annotated[list[Customer], AfterValidator(_with_ports)] | None = None
    """Ports, and what may come from each."""
    own_macs: Macs | None = None
    """MAC addresses of one's own routers: what these send is for customers, not from them."""


class I3(Check[I3Options]):
    """From the port of a customer come packets of that customer only.

    What it looks for:
        Packets from a port of ``customers``, by its VLAN, its tap or the customer's MAC addresses, with a source that is not in ``prefixes``: what
        a router with source address validation (uRPF) would not let in. Of tunnels, the outermost source counts.

    Why it matters:
        Forged sources are how floods are reflected by others, and how somebody speaks in another's name. Only the network at
        whose edge they enter can tell.

    Example that fails:
        A packet from 192.0.2.99 in VLAN 101, with this policy::

            [checks.I3]
            customers = [
                { name = "bakery", vlans = [101], prefixes = ["198.51.100.64/28"] },
                { macs = ["00:1b:54:00:00:07"], taps = ["access"], prefixes = ["198.51.100.80/28", "2001:db8:7::/48"] },
            ]
            own_macs = ["00:1b:54:00:00:01"]

    What to do:
        Switch uRPF on at that port (strict, or feasible path where the customer has several), and ask the customer. If it has that prefix as well, list it.

    What it cannot see:
        Forged sources within the customer's own prefixes. In which direction packets go, if neither ``macs`` nor ``own_macs`` says so: then those to the
        customer's prefixes from elsewhere are in scope but not judged. What stays on its link (ARP, link-local addresses, DHCP, groups) is left out.
        Packets that no entry is about are not in scope.

    Source: RFC 2827 (BCP 38); RFC 3704 (BCP 84); RFC 8704; MANRS, action 2 (anti-spoofing), by general knowledge.
    """

    id = "I3"
    title = "Customers send from their own prefixes only"
    severity = "medium"
    needs = ("customers",)
    options = I3Options
    pack = "carrier-internet"

    def judge(self, seen: Observed, options: I3Options, severity: Severity) -> Judgement:
        """Judges each source by the ports that its packets came from."""
        flows = seen.unlisted.with_columns(
            near=pl.coalesce("outer_src", "src"), far=pl.coalesce("outer_dst", "dst")
        )
        flows = flows.filter(pl.col("near").is_not_null(), pl.col("far").is_not_null())
        flows = flows.filter(~inside(flows["near"], STAYS), ~inside(flows["far"], NOT_ROUTED))
        ours = _is(
            flows, pl.col("eth_src").is_in(pl.Series(options.own_macs or (), dtype=pl.Binary).implode())
        )
        flows = flows.filter(~ours)
        flows = flows.filter(~ours).with_row_index("row")
        parts = [flows.select("row", owner=pl.lit(None, pl.Int64), fits=True, hidden=False).clear()]
        for at, customer in enumerate(options.customers or []):
            part = flows.filter(_port(customer))
            fits = inside(part["near"], customer.prefixes)
            # Without a MAC address to tell by, what goes to the customer looks as if it came from him.
            is_told = customer.macs is not None or options.own_macs is not None
            hidden = ~fits & inside(part["far"], () if is_told else customer.prefixes)
            parts.append(part.select("row", owner=pl.lit(at, pl.Int64), fits=fits, hidden=hidden))
        # What two entries are about is fine if one of them has it.
        told = pl.concat(parts).group_by("row").agg(pl.col("owner").min(), pl.col("fits", "hidden").any())
        flows = flows.join(told, on="row", how="inner", maintain_order="left")
        flows = flows.with_columns(hidden=pl.col("hidden") & ~pl.col("fits"))
        judged = flows.filter(~pl.col("hidden"))
        reason = (
            "nothing says whether packets come from the customer or go there"
            if len(judged) < len(flows)
            else None
        )
        scope = Scope(packets(flows), packets(judged), reason)
        findings = tuple(
            self.finding(
                row,
                scope,
                severity,
                identity=(_name(row, options), row["tap"], row["eth_src"], row["vlan"]),
                sentence=(
                    f"{plural(row['packets'], 'packet')} in {plural(row['flows'], 'conversation')} came from {_name(row, options)} with sources that "
                    f"are not the customer's, such as from {end(row['near'])} to {end(row['far'])}, brought by "
                    f"{party(None, row['eth_src'])}{_vlan(row)}, {span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])})."
                ),
            )
            for row in group(
                judged.filter(~pl.col("fits")), ["owner", "tap", "eth_src", "vlan"], ["near", "far"]
            )
        )
        return Judgement(scope, findings, nothing="nothing came from the ports of customers")


def _port(customer: Customer) -> pl.Expr:
    """What the frames of a port show."""
    fits = pl.lit(value=True)
    if customer.vlans is not None:
        vlans = list(customer.vlans)
        fits &= pl.col("vlan").is_in(vlans).fill_null(value=False) | pl.col("vlan_inner").is_in(
            vlans
        ).fill_null(value=False)
    if customer.macs is not None:
        fits &= pl.col("eth_src").is_in(pl.Series(customer.macs, dtype=pl.Binary).implode())
    if customer.taps is not None:
        fits &= pl.col("tap").is_in(list(customer.taps))
    return fits


def _is(flows: pl.DataFrame, condition: pl.Expr) -> pl.Series:
    """Where a condition is true, and not null."""
    return flows.with_columns(hit=condition.fill_null(value=False))["hit"]


def _name(row: dict[str, Any], options: I3Options) -> str:
    customer = (options.customers or [])[row["owner"]]
    if customer.name is not None:
        return f'"{safe(customer.name)}"'
    return f"the port of {listing(list(customer.prefixes))}"


def _vlan(row: dict[str, Any]) -> str:
    return f" in VLAN {row['vlan']}" if row["vlan"] is not None else ""
