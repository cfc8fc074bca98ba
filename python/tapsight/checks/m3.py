"""M3: no CDP or LLDP on external interfaces."""

from __future__ import annotations

from tapsight._options import Macs, Options, Taps, Vlans
from tapsight.checks._rule import Rule


class M3Options(Options):
    """What a policy may say under [checks.M3]: which frames are those of external interfaces; any one suffices."""

    taps: Taps | None = None
    """Names of taps, or of interfaces, that see an external link and nothing else."""
    vlans: Vlans | None = None
    """VLANs of external links."""
    macs: Macs | None = None
    """MAC addresses of the network's own external interfaces."""


class M3(Rule[M3Options]):
    """Devices do not introduce themselves to the neighbours of other networks.

    What it looks for:
        CDP and LLDP frames at one of ``taps``, in one of ``vlans``, or from one of ``macs``.

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
        Whose frames they are at a tap or in a VLAN, where both sides send: ``macs`` says that. Links without a tap.

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
    scope = "tap in taps or vlan in vlans or eth_src in macs"
    # Both are told by their bytes: what is not recognised, or by its port, is neither.
    expect = 'app is null or basis == "port" or not app in (cdp, lldp)'
    by = ("tap", "eth_src")
    says = "{eth_src} told a neighbour of another network about itself in {packets:{apps}}, {when}"
    nothing = "nothing was seen on external interfaces"
