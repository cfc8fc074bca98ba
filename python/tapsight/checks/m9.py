"""M9: TLS 1.3 only."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._rule import Rule


class M9(Rule[Options]):
    """Where devices use TLS, it is version 1.3.

    What it looks for:
        The version that the server chose in each TLS or DTLS handshake of an address of ``infrastructure``.

    Why it matters:
        Earlier versions allow key exchanges and ciphers that let recorded traffic be decrypted later, and show certificates in the clear.

    Example that fails:
        A server hello of TLS 1.2 from 198.51.100.1, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]

    What to do:
        Allow TLS 1.3 only, on the device and on what it asks.

    What it cannot see:
        Handshakes of which the server's side was not captured. Of a hello that is cut off, or goes on in another segment, the version is only known if the
        extension that says it was there. QUIC (RFC 9001) is never less than TLS 1.3.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices": use
    TLS 1.3. RFC 8446, sections 4.1.3 and 4.2.1; RFC 9147, section 5.4.
    """

    id = "M9"
    title = "TLS 1.3 where devices use TLS"
    severity = "medium"
    pack = "router-hardening"
    network_needs = ("infrastructure",)
    options = Options
    over = "tls"
    scope = "addr in infrastructure and protocol in (tls, dtls) and handshake == 2"
    expect = "version in (0x0304, 0xfefc)"
    says = "{src} chose {version}, not version 1.3, in {packets} to {dst}, {when}"
    nothing = "no TLS handshake of infrastructure was seen"
