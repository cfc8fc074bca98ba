"""V4: signalling with peers that agreed on it is encrypted."""

from __future__ import annotations

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity, Taps
from tapsight._text import plural
from tapsight.checks._base import Check, Judgement, Observed, Scope, packets
from tapsight.checks._exchanges import exchanges
from tapsight.checks._labels import ONLY_PORT, is_proven

ESP = 50
"""IP protocol of the Encapsulating Security Payload (RFC 4303)."""

DIAMETERS = 5658
"""Port of Diameter over TLS or DTLS (RFC 6733, section 11.4)."""

MOBILE = ("m3ua", "m2ua", "m2pa", "sua", "diameter", "gtp-c")
"""Applications of mobile networks by which peers signal to each other: SIGTRAN, Diameter, GTP-C. The others stay within one network."""


class V4Options(Options):
    """What a policy may say under [checks.V4]."""

    encrypted: Prefixes | None = None
    """Those that agreed to encrypt all signalling with them: what signals there, and their IPsec gateways."""
    taps: Taps | None = None
    """The taps on links where it has to be encrypted; all, if not given."""


class V4(Check[V4Options]):
    """Signalling with peers that agreed on encryption cannot be read.

    What it looks for:
        SIP and other voice signalling, SIGTRAN, Diameter and GTP-C that can be read, recognised by what was sent, from or to an address in
        ``encrypted``. SIP over TLS or DTLS (port 5061) and Diameter over TLS (5658) with such an address pass, and so does IPsec (ESP) beside these.

    Why it matters:
        Who reads signalling knows who calls whom, and has the keys of media that are agreed in it (SDES).

    Example that fails:
        SIP over UDP between 198.51.100.10 and 203.0.113.11, with this policy::

            [checks.V4]
            encrypted = ["203.0.113.11"]

    What to do:
        Ask the peer since when; look at the trunk's transport on both sides. A fallback to UDP or TCP when TLS fails is a setting of most border
        controllers: turn it off.

    What it cannot see:
        What is inside of TLS and IPsec: beside signalling over TLS, that ESP with a peer carries its signalling too is taken for granted, and the verdict
        says so. Where nothing but ESP was seen, which may carry anything, the verdict is unknown. A tap between
        an IPsec gateway and what signals sees signalling in the clear: name the other taps in ``taps``. Packets that only their port makes look
        like signalling are in scope but not judged, unless others of their conversation are recognised. Copies in mirror sessions listed under I6 are
        left out. What signals within a mobile network (S1AP, X2AP, NGAP, PFCP, GTP') is not judged. Whether certificates are right, and ciphers
        strong, is not judged here.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12): end-to-end encrypted to the maximum
    extent; RFC 3261, section 26.2; RFC 6733, section 13; RFC 4303.
    """

    id = "V4"
    title = "Signalling with peers that agreed on it is encrypted"
    severity = "high"
    needs = ("encrypted",)
    options = V4Options
    pack = "carrier-voice"

    def judge(self, seen: Observed, options: V4Options, severity: Severity) -> Judgement:
        """Judges each flow of a peer by whether it can be read."""
        peers = options.encrypted or ()
        flows = seen.unlisted.filter(
            inside(seen.unlisted["src"], peers) | inside(seen.unlisted["dst"], peers)
        )
        if options.taps is not None:
            flows = flows.filter(pl.col("tap").is_in(list(options.taps)))
        app = pl.col("app")
        diameters = app.is_in(["tls", "dtls"]) & (
            (pl.col("src_port") == DIAMETERS) | (pl.col("dst_port") == DIAMETERS)
        )
        esp = (pl.col("protocol") == ESP).fill_null(value=False)
        signals = (pl.col("traffic") == "voice-signalling") | app.is_in(MOBILE)
        flows = flows.with_columns(
            in_esp=esp | (app == "esp").fill_null(value=False),
            sealed=esp | (app.is_in(["esp", "sips"]) | diameters).fill_null(value=False),
            signals=signals.fill_null(value=False),
        ).filter(pl.col("sealed") | pl.col("signals"))
        sure = is_proven(flows) | flows.select(esp).to_series()
        judged = flows.filter(sure)
        scope = Scope(packets(flows), packets(judged), ONLY_PORT if not sure.all() else None)
        # What carries calls of ISUP or BICC signals voice as well.
        carries = app.is_in(seen.calls["transport"].drop_nulls().unique().to_list())
        violations = judged.filter(~pl.col("sealed")).with_columns(
            traffic=pl.when(carries).then(pl.lit("voice-signalling")).otherwise("traffic")
        )
        findings = exchanges(
            self,
            violations,
            scope,
            severity,
            what="signalling in the clear",
            wrong="but the policy says that they encrypt it",
        )
        unread = packets(judged.filter("in_esp"))
        # If nothing else was seen, perhaps no signalling was.
        is_alone = 0 < unread == scope.judged
        taken = f"that {plural(unread, 'packet')} of IPsec are signalling is taken for granted"
        return Judgement(
            scope,
            findings,
            nothing="no signalling of these peers was seen",
            note=taken if unread and not is_alone else None,
            doubt="nothing but IPsec was seen, which may carry anything" if is_alone else None,
        )
