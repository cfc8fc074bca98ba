"""C3: TACACS+ and RADIUS only to listed servers."""

from __future__ import annotations

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope
from tapsight.checks._talks import end, services, summed, talks

APPS = ("tacacs", "radius")

PORTS = {6: (49, 300, 2083), 17: (1645, 1646, 1812, 1813)}
"""TACACS+ (RFC 8907), over TLS (RFC 9887), RADIUS over TLS (RFC 6614) and RADIUS (RFC 2865, RFC 2866 and what came before)."""


class C3Options(Options):
    """What a policy may say under [checks.C3]."""

    servers: Prefixes | None = None
    """The servers that may be asked who may log in."""


class C3(Check[C3Options]):
    """The network's own devices ask only listed servers who may log in.

    What it looks for:
        TACACS+ and RADIUS, by what was said or by port, from an address of ``infrastructure`` to one that is not in ``servers``.

    Why it matters:
        Whoever is asked learns the passwords of those who run the network, and decides who is let in.

    Example that fails:
        TACACS+ from 198.51.100.1 to 203.0.113.66, with this policy::

            [network]
            infrastructure = ["198.51.100.0/28"]
            [checks.C3]
            servers = ["192.0.2.49"]

    What to do:
        Look at the device's AAA configuration, and at who changed it. Renew the passwords and shared secrets that were used since.

    What it cannot see:
        A listed server that is reached another way, and what is said in TLS on other ports. Whether TACACS+ was unencrypted is in the ``aaa``
        table.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12); AA25-239A; ATT&CK T1556 (Modify
    Authentication Process), T1040 (Network Sniffing).
    """

    id = "C3"
    title = "TACACS+ and RADIUS only to listed servers"
    severity = "high"
    needs = ("servers",)
    network_needs = ("infrastructure",)
    options = C3Options

    def judge(self, seen: Observed, options: C3Options, severity: Severity) -> Judgement:
        """Judges each server that a device asked."""
        devices = seen.network.infrastructure
        flows = seen.unlisted
        found = talks(flows.filter(inside(flows["src"], devices) | inside(flows["dst"], devices)))
        port = pl.col("server_port")
        by_port = pl.any_horizontal(
            (pl.col("protocol") == protocol) & port.is_in(list(ports)) for protocol, ports in PORTS.items()
        )
        other = pl.col("is_proven") & ~pl.col("app").is_in([*APPS, "tls"])
        asked = found.filter(pl.col("app").is_in(APPS) | by_port, ~other.fill_null(value=False))
        asked = asked.filter(inside(asked["client"], devices))
        judged = asked.filter("known")
        scope = Scope(
            int(asked["packets"].sum()),
            int(judged["packets"].sum()),
            "beginnings of conversations that were not seen",
        )
        violations = judged.filter(~inside(judged["server"], options.servers or ()))
        findings = tuple(
            self.finding(
                row,
                scope,
                severity,
                identity=(row["client"], row["server"]),
                sentence=(
                    f"{end(row['client'])}, a device of the network, asked {end(row['server'])} who may log in "
                    f"({services(row)}, {plural(row['packets'], 'packet')} seen), "
                    f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}); the policy does not list that "
                    f"server."
                ),
            )
            for row in summed(violations, ["client", "server"])
        )
        return Judgement(scope, findings, nothing="no device asked a TACACS+ or RADIUS server")
