"""I7: no exports of lawful intercept but to mediation."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._composite import Composite


class I7(Composite[Options]):
    """What is intercepted by order goes to mediation devices, and nowhere else.

    What it looks for:
        What A3 reports: packets in the headers of lawful intercept, to a receiver that ``mediation`` does not list, or not from this exporter
        or with this id. ``mediation = []`` says that there are none, so that each such export fails.

    Why it matters:
        Routers come with the means of interception. Whoever controls one can have a second intercept sent to another receiver, and nothing
        else on the router has to change.

    Example that fails:
        An intercept exported from 192.0.2.1 to 198.51.100.66, with this policy::

            packs = ["carrier-internet"]
            [checks.A3]
            mediation = ["192.0.2.40"]

    What to do:
        Compare with the orders in force, and find the intercept on the device that is the source of the datagrams.

    What it cannot see:
        What A3 cannot: handover interfaces (ETSI TS 102 232), encrypted exports, and headers of other lengths.

    Source: formats as OpenLI's collector reads them. That interception is lawful only as ordered is general knowledge: which law says so
    depends on the country.
    """

    id = "I7"
    title = "No exports of lawful intercept but to mediation"
    severity = "high"
    pack = "carrier-internet"
    options = Options
    of = ("A3",)
    lists = {"A3": ("mediation",)}  # noqa: RUF012 - as the class that it is of has it
