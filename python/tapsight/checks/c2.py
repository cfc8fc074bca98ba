"""C2: services on infrastructure that intruders are known for."""

from __future__ import annotations

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Ports, Severity
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, with_cut
from tapsight.checks._talks import end, services, summed, talks

SMART_INSTALL = 4786
"""Cisco Smart Install, TCP (CVE-2018-0171)."""
XR_SSH = 57722
"""SSH into the operating system below Cisco IOS XR, TCP (AA25-239A)."""


class C2Options(Options):
    """What a policy may say under [checks.C2]."""

    ports: Ports | None = None
    """TCP ports on which devices may answer; any other is reported."""


class C2(Check[C2Options]):
    """The network's own devices offer no services that intruders are known to leave there.

    What it looks for:
        On addresses of ``infrastructure``, TCP ports that answered:
        SSH, recognised by what was said, on a port that ends in 22 but is not 22 (such as 2022, 22122, 10022), or on 57722 (the host below
        IOS XR); TLS, recognised likewise, on 18000 to 18999; Smart Install (4786).
        With ``ports``, every other TCP port that answered, too.

    Why it matters:
        These are what the intrusions into carriers of 2024 and 2025 (Salt Typhoon) left on routers to come back.

    Example that fails:
        SSH to 198.51.100.1 port 22222, with this policy::

            [network]
            infrastructure = ["198.51.100.0/28"]
            [checks.C2]
            ports = [22, 179, 830]

        What is in ``ports`` is never reported, so a management port that happens to look like the pattern can be listed.

    What to do:
        Compare with the device's configuration and its list of listening sockets. Turn Smart Install off (``no vstack``).

    What it cannot see:
        Services that nobody used while it looked; paths of requests inside of TLS. The number of a port alone proves nothing and is not
        reported without SSH or TLS on it.

    Source: AA25-239A (2025-08); CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12); ATT&CK
    T1571 (Non-Standard Port).
    """

    id = "C2"
    title = "No services of intruders on infrastructure"
    severity = "high"
    network_needs = ("infrastructure",)
    options = C2Options

    def judge(self, seen: Observed, options: C2Options, severity: Severity) -> Judgement:
        """Judges each port of a device that answered."""
        devices = seen.network.infrastructure
        flows = seen.unlisted.filter(pl.col("protocol") == 6)
        found = talks(flows.filter(inside(flows["src"], devices) | inside(flows["dst"], devices)))
        served = found.filter(inside(found["server"], devices) & found["answered"])
        port, app, sure = pl.col("server_port"), pl.col("app"), pl.col("is_proven")
        for_ssh, for_tls = (port % 100 == 22) & (port > 100), port.is_between(18000, 18999)
        # On these ports it matters what they speak, which a capture that cuts packets may not show.
        cut = flows.filter(pl.col("cut") > 0)["flow_id"].unique()
        is_hidden = (for_ssh | for_tls | (port == XR_SSH)) & ~sure & pl.col("flow_id").is_in(cut.implode())
        judged = served.filter(pl.col("known") & ~is_hidden.fill_null(value=False))
        ssh = (app == "ssh") & sure
        reason: pl.Expr = (
            pl.when(ssh & for_ssh)
            .then(pl.lit("SSH on a port that is made to be overlooked"))
            .when(ssh & (port == XR_SSH))
            .then(pl.lit("SSH to the host below IOS XR"))
            .when((app == "tls") & sure & for_tls)
            .then(pl.lit("TLS on a port that intruders use"))
            .when(port == SMART_INSTALL)
            .then(pl.lit("Smart Install, which lets anybody replace the configuration"))
        )
        if options.ports is not None:
            reason = pl.coalesce(reason, pl.lit("a service that the policy does not list"))
            reason = pl.when(~port.is_in(list(options.ports))).then(reason)
        scope = Scope(
            int(served["packets"].sum()),
            int(judged["packets"].sum()),
            "beginnings of conversations that were not seen, or of which the capture kept too little",
        )
        scope = with_cut(scope, seen.cut)
        violations = judged.with_columns(reason=reason).filter(pl.col("reason").is_not_null())
        findings = tuple(
            self.finding(
                row,
                scope,
                severity,
                identity=(row["server"], row["server_port"]),
                sentence=(
                    f"{end(row['server'])}, a device of the network, answered on {services(row)} "
                    f"({plural(row['packets'], 'packet')} seen in {plural(row['flows'], 'conversation')}, such as with "
                    f"{end(row['clients'][0])}), {span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}): "
                    f"{row['reason']}."
                ),
            )
            for row in summed(violations, ["server", "server_port", "reason"])
        )
        return Judgement(scope, findings, nothing="no device answered a TCP connection")
