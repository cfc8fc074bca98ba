"""A7, encrypted copy."""

from __future__ import annotations

from tapsight._text import begin, party
from tapsight.detectors._base import Detector, Told


class A7(Detector):
    """A tunnel that nobody can read follows clear traffic packet by packet.

    What it looks for:
        Tunnels whose packets each come at a steady lag (up to 500 ms) behind a packet of clear traffic, and are larger by the same
        number of bytes (20 to 159): ESP, WireGuard, OpenVPN, IPsec over UDP, unknown UDP. At least half of at least 200 packets of
        the tunnel, and at least twice as many as at any other lag.

    What it names but does not report:
        A7.follows: the same, where it does not show that the packets also went on in the clear, or where they were addressed to
        the tunnel's source. The head-end of any VPN looks like that.

    Why it matters:
        Whoever copies traffic and wants to hide it encrypts the copies. The sizes and times of packets stay.

    Example:
        Of the packets that a router sent to its peer, 97 % were followed after 0.4 ms by an ESP packet to 198.51.100.7, 57 bytes
        larger.

    What to do:
        Find the tunnel on the device that has its source address, and what feeds it.

    What it cannot see:
        Copies in TCP or TLS, padded to one length, batched, fragmented, delayed by more, mixed with as much of other traffic; of calls with
        equal packets at a fixed rate, whose pattern repeats. Long captures are compared in stretches of 131,072 packets, one
        in four.

    Source: pairs of packets by lag and difference in size, against the same at other lags of the same traffic; the thresholds are
    proposals, measured over public captures. ATT&CK T1020.001 (Traffic Duplication), T1573 (Encrypted Channel).
    """

    id = "A7"
    title = "Encrypted tunnels that follow clear traffic"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Which tunnel follows which traffic, and how closely."""
        claim = told.claim
        spi = f" with id {claim.tunnel.id}" if claim.tunnel.id is not None else ""
        return begin(
            f"{told.share}{told.what} were followed, {told.late} later, by an encrypted packet from {party(claim.tunnel.src)} to "
            f"{party(claim.tunnel.dst)}{spi}, {claim.detail or 'larger by the same'}, {told.when} ({told.seen}). Shape and times "
            f"say that the tunnel carries copies; its content cannot be read."
        )
