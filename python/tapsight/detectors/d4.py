"""D4, configuration fetched by SNMP."""

from __future__ import annotations

from tapsight._text import begin, party, plural, safe
from tapsight.detectors._base import Detector, Told


class D4(Detector):
    """A device was told over SNMP to send its configuration away.

    What it looks for:
        D4.set: an SNMP set request for ciscoConfigCopy (1.3.6.1.4.1.9.9.96.1.1.1.1) or writeNet (1.3.6.1.4.1.9.2.1.55).
        D4.copied: a transfer by TFTP, FTP or HTTP that the device begins within a minute of that.

    Why it matters:
        A configuration holds passwords, keys and the map of the network; written back, it is a new router. State actors do just this
        to routers with a guessed community.

    What to do:
        If your management did not ask for it, treat all secrets of the device as known. Allow SNMP version 3 only, and no writing.

    What it cannot see:
        SNMP that is encrypted, copies by SCP, and exploits that need no request.

    Source: CISCO-CONFIG-COPY-MIB; OLD-CISCO-SYS-MIB; ATT&CK T1602.002 (Network Device Configuration Dump).
    """

    id = "D4"
    title = "Configuration fetched by SNMP"

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who told which device, and where the configuration went."""
        claim = told.claim
        if claim.detector == "D4.set":
            return begin(
                f"{party(claim.tunnel.src)} told {told.subject} over SNMP to copy its configuration, {plural(claim.packets, 'time')}, "
                f"{told.when} ({told.seen})."
            )
        file = f" ({safe(claim.detail)})" if claim.detail else ""
        return begin(
            f"{told.subject} was told over SNMP to copy its configuration, and began {plural(claim.packets, 'transfer')}{file} with "
            f"{party(claim.tunnel.dst)}, {told.when} ({told.seen})."
        )
