"""I5: no tunnels except listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from tapsight._engine import inside
from tapsight._options import Options, Pair, Severity, TunnelId
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, ordered_ends, packets
from tapsight.checks._talks import end
from tapsight.claims import Tunnel
from tapsight.findings import Finding

OPAQUE_PROTOCOLS = {50: "esp", 51: "ah", 115: "l2tp"}
"""Tunnels that the engine does not look into, by IP protocol (IANA, Assigned Internet Protocol Numbers)."""

OPAQUE_APPS = ("esp", "ah", "ike", "l2tp", "wireguard", "openvpn")
"""Tunnels that the engine does not look into, by application."""


class Allowed(BaseModel):
    """A tunnel that may exist."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    encap: str
    """The stack as the ``encap`` column names it, its first element, or one of ``esp ah ike l2tp wireguard openvpn``."""
    between: Pair
    """Its two ends, in either direction."""
    id: TunnelId | None = None
    """Its VNI, key, TEID or session; any if not given."""


class I5Options(Options):
    """What a policy may say under [checks.I5]."""

    allow: list[Allowed] | None = None
    """The tunnels that may exist."""


class I5(Check[I5Options]):
    """The only tunnels are those that somebody asked for.

    What it looks for:
        Packets in any encapsulation (GRE, VXLAN, GENEVE, GTP-U, IP in IP, ...) and tunnels that cannot be looked into
        (ESP, AH, IKE, L2TP, WireGuard, OpenVPN) that no entry of ``allow`` describes.

    Why it matters:
        A tunnel takes traffic past routing policy, filters and taps. One that nobody ordered is how traffic is carried
        away, and how an intruder keeps a way in.

    Example that fails:
        A GRE tunnel between 192.0.2.1 and 203.0.113.66, with this policy::

            [checks.I5]
            allow = [ { encap = "gre", between = ["192.0.2.1", "198.51.100.1"], id = 17 } ]

        ``encap`` is the whole stack (``gre/erspan2``) or its outermost element (``gre``); ``id`` is optional; the sides
        of ``between`` may be prefixes or names of sets.

    What to do:
        Find the tunnel's interface on the device that has one of the addresses, and who ordered it.

    What it cannot see:
        Tunnels inside of allowed ones, and tunnels that look like something else (over TLS or DNS). What only its port
        makes look like a tunnel is in scope but not judged. Mirror sessions listed under I6 count as listed.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12);
    AA25-239A; GSMA IR.77, sections 3.4 and 5.2.
    """

    id = "I5"
    title = "No tunnels except listed"
    severity = "medium"
    needs = ("allow",)
    options = I5Options

    def judge(self, seen: Observed, options: I5Options, severity: Severity) -> Judgement:
        """Judges each tunnel by its kind, ends and id."""
        tunnels = tunnels_in(seen.unlisted)
        guessed = packets(tunnels.filter("guessed"))
        tunnels = tunnels.filter(~pl.col("guessed"))
        listed = are_listed(tunnels, options.allow or [])
        total = packets(seen.flows)
        headers = seen.scopes.get("A2", Scope())
        unread = min(headers.in_scope - headers.judged, total - guessed)
        reasons = [headers.reason or "headers that could not be read"] if unread else []
        reasons += ["only the port says that it is a tunnel"] if guessed else []
        scope = Scope(total, total - guessed - unread, "; ".join(reasons) or None)
        findings = unlisted_tunnels(self, tunnels.filter(~listed), scope, severity)
        return Judgement(scope, findings, nothing="no packets were seen")


def tunnels_in(flows: pl.DataFrame) -> pl.DataFrame:
    """The flows that are tunnels, with ``name`` of their kind, ends ``near`` and ``far``, and whether only the port says so (``guessed``)."""
    protocol = pl.col("protocol").replace_strict(OPAQUE_PROTOCOLS, default=None, return_dtype=pl.String)
    app = pl.when(pl.col("app").is_in(OPAQUE_APPS)).then(pl.col("app"))
    bare = pl.col("encap").is_null()
    return flows.with_columns(
        name=pl.coalesce("encap", protocol, app),
        guessed=(bare & protocol.is_null() & (pl.col("basis") == "port")).fill_null(value=False),
        near=pl.when(bare).then("src").otherwise("outer_src"),
        far=pl.when(bare).then("dst").otherwise("outer_dst"),
    ).filter(pl.col("name").is_not_null())


def unlisted_tunnels(
    check: Check[Any], flows: pl.DataFrame, scope: Scope, severity: Severity, *, of_ends: str = ""
) -> tuple[Finding, ...]:
    """A finding for each tunnel of :func:`tunnels_in` that nobody listed; ``of_ends`` says what else there is to say of its ends."""
    findings = []
    for row in group(
        flows.with_columns(*ordered_ends("near", "far")), ["name", "end_a", "end_b", "tunnel_id"]
    ):
        tunnel = Tunnel(row["name"], row["end_a"], row["end_b"], row["tunnel_id"])
        findings.append(
            check.finding(
                row,
                scope,
                severity,
                identity=(tunnel.encap, tunnel.src, tunnel.dst, tunnel.id),
                sentence=(
                    f"A {tunnel} between {end(tunnel.src)} and {end(tunnel.dst)}{of_ends} carried {plural(row['packets'], 'packet')}, "
                    f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}); the policy does not list it."
                ),
                tunnel=tunnel,
            )
        )
    return tuple(findings)


def are_listed(tunnels: pl.DataFrame, allow: Sequence[Allowed]) -> pl.Series:
    """Which of the :func:`tunnels_in` may exist."""
    listed = pl.Series(values=[False] * len(tunnels), dtype=pl.Boolean)
    for rule in allow:
        left, right = rule.between
        forth = inside(tunnels["near"], left) & inside(tunnels["far"], right)
        back = inside(tunnels["near"], right) & inside(tunnels["far"], left)
        named = (tunnels["name"] == rule.encap) | (tunnels["name"].str.split("/").list.first() == rule.encap)
        same = True if rule.id is None else (tunnels["tunnel_id"] == rule.id).fill_null(value=False)
        listed |= named & (forth | back) & same
    return listed
