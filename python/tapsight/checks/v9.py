"""V9: media have no third receiver."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._composite import Composite


class V9(Composite[Options]):
    """One stream goes to who called, one to who was called, and none to anybody else.

    What it looks for:
        What A4 finds: streams with the same packets that go to two receivers, and recording sessions (SIPREC) with servers that no policy lists.

    Why it matters:
        A third receiver hears the call.

    Example that fails:
        RTP from 198.51.100.20 to 203.0.113.20, and the same packets to 192.0.2.66, with this policy::

            packs = ["carrier-voice"]
            [checks.A4]
            recorders = ["198.51.100.7"]

    What to do:
        Look at the findings of A4: they name the receiver and who sends to it.

    What it cannot see:
        What A4 cannot: copies in tunnels and to mirror sinks, which are A1's and A2's matter, copies with other numbers or another SSRC, and those
        of streams of fewer than 50 packets. It has no findings of its own.

    Source: catalogue of policy checks, V9; RFC 3550, section 8; RFC 7866.
    """

    id = "V9"
    title = "Media have no third receiver"
    severity = "high"
    options = Options
    hears = True
    pack = "carrier-voice"
    of = ("A4",)
