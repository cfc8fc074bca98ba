"""I8: no exports of packet samples but to listed collectors."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._composite import Composite


class I8(Composite[Options]):
    """Telemetry that holds beginnings of packets goes to the network's own collectors.

    What it looks for:
        What A6 reports: samples of packets (sFlow, IPFIX, PSAMP, NetFlow) and copied messages (HEP) to a collector that ``collectors`` does
        not list, and copies of all packets to one that is not listed with ``full = true``. ``collectors = []`` says that there are none.

    Why it matters:
        Every router can export samples. Sent to somebody else, at a rate of one in one, they are a wire-tap that passes for telemetry.

    Example that fails:
        sFlow with beginnings of packets from 192.0.2.1 to 198.51.100.66, with this policy::

            packs = ["carrier-internet"]
            [checks.A6]
            collectors = ["192.0.2.50"]

    What to do:
        Look at the collectors and the sampling rate in the configuration of the exporter.

    What it cannot see:
        What A6 cannot: exports over TLS or DTLS. Records of flows hold no packets, and are not judged.

    Source: own. CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), asks to have exporters of flows; that
    only listed collectors get samples is the project's own demand. sFlow version 5; RFC 5477, RFC 7011.
    """

    id = "I8"
    title = "No exports of packet samples but to listed collectors"
    severity = "high"
    pack = "carrier-internet"
    options = Options
    of = ("A6",)
    lists = {"A6": ("collectors",)}  # noqa: RUF012 - as the class that it is of has it
