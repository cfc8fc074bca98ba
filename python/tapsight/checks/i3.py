"""I3: customers send from their own prefixes only."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict

from tapsight._engine import inside
from tapsight._options import Macs, Options, Prefixes, Severity, Taps, Vlans, policy_error
from tapsight._text import listing, party, plural, safe, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, packets
from tapsight.checks._special import LINK, NOT_ROUTED
from tapsight.checks._talks import end, to_many

STAYS = ("0.0.0.0/8", *LINK, "::/128")
"""Sources of what stays on its link (RFC 1122, section 3.2.1.3; RFC 3927; RFC 4291, section 2.5)."""


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
        Forged sources within the customer's own prefixes. In which direction packets go, if neither ``macs`` nor ``own_macs`` says so: then those from elsewhere
        to the customer's prefixes, or of a device that sent nothing of his to others, are in scope but not judged. What stays on its link (ARP, link-local
        addresses, DHCP, groups, frames to all or to a group) is left out. Packets that no entry is about are not in scope.

    Source: RFC 2827 (BCP 38); RFC 3704 (BCP 84); RFC 8704; RFC 1812, section 5.3.4 (frames for many are not forwarded); MANRS, action 2 (anti-spoofing), by general knowledge.
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
        flows = flows.filter(pl.col("near").is_not_null(), pl.col("far").is_not_null(), ~to_many())
        flows = flows.filter(~inside(flows["near"], STAYS), ~inside(flows["far"], NOT_ROUTED))
        ours = pl.col("eth_src").is_in(pl.Series(options.own_macs or (), dtype=pl.Binary).implode())
        flows = flows.filter(~ours.fill_null(value=False)).with_row_index("row")
        customers = options.customers or []
        parts = [flows.select("row", owner=pl.lit(None, pl.Int64), fits=True, hidden=False).clear()]
        owned = flows.join(_owners(flows, customers), on="row", how="inner", maintain_order="left")
        for part in owned.partition_by("owner", maintain_order=True):
            customer = customers[part["owner"][0]]
            fits = inside(part["near"], customer.prefixes)
            is_told = customer.macs is not None or options.own_macs is not None
            is_to_customer = inside(part["far"], () if is_told else customer.prefixes)
            hidden = ~fits & (is_to_customer if is_told else _may_go_there(part, fits, is_to_customer))
            parts.append(part.select("row", "owner", fits=fits, hidden=hidden))
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


def _owners(flows: pl.DataFrame, customers: list[Customer]) -> pl.DataFrame:
    """Which customers' ports each flow came from: their numbers (``owner``), by what the frames of the port show."""
    names = ["vlan", "eth_src", "tap"]
    schema: dict[str, Any] = {"owner": pl.Int64, **{name: flows.schema[name] for name in names}}
    # Entries that give the same things, VLANs and taps for instance, are looked up together.
    given: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for at, each in enumerate(customers):
        said = {"vlan": each.vlans, "eth_src": each.macs, "tap": each.taps}
        has = {name: values for name, values in said.items() if values is not None}
        given.setdefault(tuple(has), []).extend((at, *values) for values in product(*has.values()))
    shown = flows.select("row", *names)
    shown = pl.concat(
        [shown, flows.select("row", vlan="vlan_inner", eth_src="eth_src", tap="tap")], how="vertical_relaxed"
    )
    parts = [shown.select(owner=pl.lit(None, pl.Int64), row="row").clear()]
    for keys, rows in given.items():
        entries = pl.DataFrame(rows, {name: schema[name] for name in ("owner", *keys)}, orient="row")
        parts.append(shown.join(entries, on=list(keys), how="inner").select("owner", "row"))
    return pl.concat(parts).unique().sort("row", "owner")


def _may_go_there(part: pl.DataFrame, fits: pl.Series, is_to_customer: pl.Series) -> pl.Series:
    """Whether packets at a port may go to the customer, where no list of MAC addresses tells.

    Those to his prefixes may, and so may all that a device brings which never sent any of his own to others: it may be a router of the network that
    talks to an address of the link. Without MAC addresses, what is not to his prefixes is taken for his.
    """
    senders = part.filter(fits & ~is_to_customer)["eth_src"].drop_nulls().unique()
    is_his = part["eth_src"].is_null() | part["eth_src"].is_in(senders.implode())
    return is_to_customer | ~is_his


def _name(row: dict[str, Any], options: I3Options) -> str:
    customer = (options.customers or [])[row["owner"]]
    if customer.name is not None:
        return f'"{safe(customer.name)}"'
    return f"the port of {listing(list(customer.prefixes))}"


def _vlan(row: dict[str, Any]) -> str:
    return f" in VLAN {row['vlan']}" if row["vlan"] is not None else ""
