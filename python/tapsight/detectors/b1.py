"""B1, two taps and more."""

from __future__ import annotations

from tapsight._text import begin, party, safe
from tapsight.detectors._base import Detector, Told


class B1(Detector):
    """What happened to packets between one tap and the next.

    What it looks for:
        B1.inserted: packets that only the tap downstream has, in flows that pass both.
        B1.modified: packets that were changed on their way, other than routers do.
        B1.diverted: packets that left by another next hop, or on another tap, than the rest of their flow at the same time.
        B1.lost: a prefix that loses more than 1 % of its packets, and three times what the others lose.

    What it names but does not report:
        Rewritten headers (TCP options such as the MSS), and too few packets to prove anything (B1.unproven). Readdressed
        packets are counted here and reported by A5; copies by A1 and A5.

    Why it matters:
        What enters a router should leave it, once, unchanged and by the agreed exit. Two taps show whether it does.

    What else it tells:
        How far the clocks of the taps are apart, how fast they drift and whether one stepped, with what that is uncertain by; for each
        class of traffic how much passed, was lost, inserted, modified, readdressed, copied or diverted, how long it took, and
        how much the taps themselves missed. Offset and delay are told apart only if packets go both ways.

    What to do:
        Look at the frames named on both taps. Ask for the policies, proxies, filters and taps between them.

    What it cannot see:
        Flows that only one tap has (asymmetric paths, or flows dropped as a whole), weak packets, packets that are fragmented
        between the taps, and what happens close to the beginning and end of a capture. Losses of UDP in a tap that does
        not count its drops look like losses on the way.

    Source: RFC 5474 and RFC 5475 (packets are told by a hash of what does not change); Wilson 1927 for intervals;
    ATT&CK T1557 (Adversary-in-the-Middle), T1659 (Content Injection).
    """

    id = "B1"
    title = "From tap to tap"
    asks = ("diverted",)
    optional = True

    @classmethod
    def sentence(cls, told: Told) -> str:
        """What happened between which taps."""
        claim = told.claim
        match claim.detector:
            case "B1.inserted":
                to = f" to {party(claim.subject)}" if claim.subject else ""
                return (
                    f"{told.share}{told.what}{to} left on tap {claim.copy_tap}, {told.when}, and never came by tap {claim.tap}, "
                    f"as the rest of their conversations did: something in between added them."
                )
            case "B1.modified":
                return (
                    f"{told.share}{told.what} were changed between tap {claim.tap} and tap {claim.copy_tap}, {told.when}: "
                    f"{safe(claim.detail or 'content')}."
                )
            case "B1.diverted":
                return begin(
                    f"{told.share}{told.what} were sent to {party(None, claim.collector_mac)} on tap {claim.copy_tap}, "
                    f"{told.when}, while the rest went another way."
                )
            case "B1.lost":
                return (
                    f"{told.share}{told.what} for {safe(claim.detail or 'some destinations')} came by tap {claim.tap} and not by tap "
                    f"{claim.copy_tap}, {told.when}: far more than others lose."
                )
        return super().sentence(told)
