"""M14: no fingerprint of an implant."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._composite import Composite


class M14(Composite[Options]):
    """Nothing looks like the traffic of an implant on a router.

    What it looks for:
        What detectors D1 to D4 found: packets that wake an implant, packets whose headers no system makes, and configurations that are
        fetched or copied. Findings are theirs.

    Why it matters:
        An implant on a router sees and copies all that passes.

    Example that fails:
        A knock that D1 finds, with this policy::

            packs = ["router-hardening"]

    What to do:
        ``tapsight explain D1`` to ``D4`` say it for each. Keep the device as it is until its memory has been saved.

    What it cannot see:
        What D1 to D4 cannot: implants that nobody has described.

    Source: those of D1 to D4: the scanners published by Mandiant with its report on SYNful Knock, 2015; the packet filter of BPFDoor as published by Elastic
    Security Labs; RFC 792; CISCO-CONFIG-COPY-MIB. ATT&CK T1205 (Traffic Signaling), T1602.002 (Network Device Configuration Dump).
    """

    id = "M14"
    title = "No fingerprint of an implant"
    severity = "critical"
    pack = "router-hardening"
    options = Options
    of = ("D1", "D2", "D3", "D4")
