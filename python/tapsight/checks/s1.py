"""S1: mobile signalling only from agreed peers, in their own names."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._composite import Composite


class S1(Composite[Options]):
    """Networks signal only with those that they agreed with, and each of these in its own name.

    What it looks for:
        What B20 reports of peers: SIGTRAN, Diameter and GTP with an address that is neither one of the network's ``own`` nodes nor
        among its ``peers`` (B20.unlisted-peer), even if the other end is none of its own; a calling global title that none of the peer's ``titles`` begins
        (B20.gt-mismatch), and an origin realm of Diameter that is not at or below one of its ``realms`` (B20.realm-mismatch).

    Why it matters:
        Mobile networks believe each other's signalling. Whoever can send it from somewhere else, or in another's name, can ask
        where subscribers are and have their calls and messages sent elsewhere.

    Example that fails:
        Diameter from 198.51.100.66 to 192.0.2.1, or from 203.0.113.1 with the origin realm ``other.example``, with this policy::

            packs = ["mobile-signalling"]
            [checks.B20]
            own = ["192.0.2.0/28"]
            peers = [{ addresses = "203.0.113.0/28", titles = ["41"], realms = ["epc.mnc001.mcc228.3gppnetwork.org"] }]

    What to do:
        Ask who owns the address. If it is a partner, list it, with the titles and realms of its IR.21; else have the
        signalling firewall or the routing of the interconnect drop it.

    What it cannot see:
        What B20 cannot: signalling inside of IPsec or DTLS, and TCAP in segments. A peer whose ``titles`` or ``realms`` are not given may
        use any. Carriers that bring the signalling of others are peers with the names of all of these.

    Source: 3GPP TS 29.002 and TS 29.272 for what is read. That peers and names are to be compared is general knowledge of GSMA FS.11
    (SS7), FS.19 (Diameter) and FS.20 (GTP), which are not public.
    """

    id = "S1"
    title = "Mobile signalling only from agreed peers, in their own names"
    severity = "high"
    pack = "mobile-signalling"
    options = Options
    of = ("B20",)
    classes = frozenset({"B20.unlisted-peer", "B20.gt-mismatch", "B20.realm-mismatch"})
    lists = {"B20": ("own", "peers")}  # noqa: RUF012 - as the class that it is of has it
