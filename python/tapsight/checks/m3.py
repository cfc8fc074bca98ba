"""M3: no CDP or LLDP on external interfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tapsight._expressions import Column
from tapsight._options import Macs, Options, Taps, Vlans
from tapsight.checks._rule import Rule

if TYPE_CHECKING:
    from tapsight.checks._base import Observed


class M3Options(Options):
    """What a policy may say under [checks.M3]: which frames are those of external interfaces; any one suffices."""

    taps: Taps | None = None
    """Names of taps, or of interfaces, that see an external link and nothing else."""
    vlans: Vlans | None = None
    """VLANs of external links, and with them CDP and LLDP without a tag at taps that show no others."""
    macs: Macs | None = None
    """MAC addresses of the network's own external interfaces."""


class M3(Rule[M3Options]):
    """Devices do not introduce themselves to the neighbours of other networks.

    What it looks for:
        CDP and LLDP frames at one of ``taps``, in one of ``vlans``, or from one of ``macs``. LLDP never has a tag, and CDP seldom: with ``vlans``, frames
        without one count too, at taps whose tagged frames are all in one of these.

    Why it matters:
        They tell model, software version, addresses and interfaces to whoever is at the other end of the link.

    Example that fails:
        An LLDP frame at the tap ``peering``, with this policy::

            packs = ["router-hardening"]
            [checks.M3]
            taps = ["peering"]

    What to do:
        Turn the protocol off on the interface (``no cdp enable``, ``no lldp transmit``).

    What it cannot see:
        Whose frames they are at a tap or in a VLAN, where both sides send: ``macs`` says that. Links without a tap. At a tap that shows other VLANs
        beside one of ``vlans``, nobody knows to which neighbour frames without a tag go: they are in scope but not judged.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices":
    discovery protocols (CDP, LLDP) off where they are not needed. IEEE 802.1AB.
    """

    id = "M3"
    title = "No CDP or LLDP on external interfaces"
    severity = "medium"
    pack = "router-hardening"
    needs = ("taps", "vlans", "macs")
    options = M3Options
    uses = ("taps", "vlans", "macs")
    own_sets = {"taps": (), "vlans": (), "macs": ()}  # noqa: RUF012 - only read
    over = "flows"
    scope = "tap in taps or vlan in vlans or eth_src in macs or is_of_trunk"
    # Both are told by their bytes: what is not recognised, or by its port, is neither.
    expect = 'app is null or basis == "port" or not app in (cdp, lldp) or not is_outside'
    added = {name: Column(name, "boolean") for name in ("is_of_trunk", "is_outside")}  # noqa: RUF012 - only read
    by = ("tap", "eth_src")
    says = "{eth_src} told a neighbour of another network about itself in {packets:{apps}}, {when}"
    nothing = "nothing was seen on external interfaces"

    def add_to(self, frame: pl.DataFrame, seen: Observed, options: M3Options) -> pl.DataFrame:
        """Whether they have no tag at a tap that shows one of the VLANs; and whether they are on an external interface, null if nobody knows."""
        tagged = pl.col("vlan") > 0
        outside = pl.col("vlan").is_in(list(options.vlans or ()))
        taps = seen.flows.filter(tagged, pl.col("encap").is_null()).group_by("tap")
        shown = taps.agg(is_any=outside.any(), is_all=outside.all()).filter("is_any").drop("is_any")
        # IEEE 802.1AB: frames of LLDP have no tag, or one that says no VLAN.
        untagged = ~tagged.fill_null(value=False) & pl.col("encap").is_null()
        told = untagged & pl.col("app").is_in(["cdp", "lldp"]) & pl.col("is_all").is_not_null()
        said = [
            pl.col("tap").is_in(list(options.taps or ())),
            pl.col("eth_src").is_in(list(options.macs or ())),
        ]
        frame = frame.join(shown, on="tap", how="left", maintain_order="left")
        return frame.with_columns(
            is_of_trunk=told.fill_null(value=False),
            is_outside=pl.when(~told.fill_null(value=False) | pl.any_horizontal(said))
            .then(statement=True)
            .when("is_all")
            .then(statement=True),
        ).drop("is_all")
