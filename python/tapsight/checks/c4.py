"""C4: infrastructure begins no conversations except listed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from tapsight._engine import inside
from tapsight._options import Options, OrText, Ports, Prefixes, Severity, resolve_prefixes
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope
from tapsight.checks._special import GROUPS
from tapsight.checks._talks import PORTED, end, services, summed, talks

MANY = (*GROUPS, "255.255.255.255")
"""Destinations that are not one host (RFC 5771, RFC 919, RFC 4291)."""

ROUTING = ("bgp", "ldp")
"""Routing protocols over TCP (RFC 4271, RFC 5036)."""


class Service(BaseModel):
    """Whom devices may ask; what is not given may be anything."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    to: Prefixes
    """The servers."""
    ports: Ports | None = None
    """Their ports."""
    protocol: Literal["tcp", "udp", "sctp"] | None = None
    """The transport."""


def _services(value: object, info: ValidationInfo) -> list[Any]:
    """Entries as tables; addresses, prefixes and names of sets become a table with nothing but ``to``."""
    return [
        item if isinstance(item, dict) else {"to": list(resolve_prefixes(item, info))}
        for item in (value if isinstance(value, list) else [value])
    ]


class C4Options(Options):
    """What a policy may say under [checks.C4]."""

    allow: Annotated[list[Service], BeforeValidator(_services), OrText()] | None = None
    """Whom devices may ask: sets, addresses and prefixes, or tables that also name ports and protocol."""


class C4(Check[C4Options]):
    """The network's own devices begin no conversations but those that their work needs.

    What it looks for:
        TCP, UDP and SCTP conversations that an address of ``infrastructure`` began, with a server that no entry of ``allow``
        describes. BGP and LDP over TCP with another address of ``infrastructure`` is right as it is; other routing protocols and what goes to
        groups of receivers are left out. What a device sends because it was asked for by TFTP belongs to whom asked.

    Why it matters:
        Routers answer, and ask a handful of servers: time, names, logs, who may log in. One that opens connections elsewhere is
        used as a stepping stone, or sends away what it captured.

    Example that fails:
        FTP from 198.51.100.1 to 203.0.113.66, with this policy::

            [sets]
            collectors = ["192.0.2.14"]
            [network]
            infrastructure = ["198.51.100.0/28"]
            [checks.C4]
            allow = ["collectors", { to = "192.0.2.53", ports = [53] }, { to = "192.0.2.123", ports = [123], protocol = "udp" }]

        ``allow = []`` says that they ask nobody. Either side may begin BGP, so list neighbours: ``{ to = "bgp_peers", ports = [179] }``.

    What to do:
        Ask who was logged in on the device at that time. Take its running processes and sockets before it is restarted.

    What it cannot see:
        TCP connections without ports of services whose beginning was not seen: they are in scope but not judged.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12); ATT&CK T1090 (Proxy), T1048
    (Exfiltration Over Alternative Protocol).
    """

    id = "C4"
    title = "Infrastructure begins no conversations except listed"
    severity = "medium"
    needs = ("allow",)
    network_needs = ("infrastructure",)
    options = C4Options

    def judge(self, seen: Observed, options: C4Options, severity: Severity) -> Judgement:
        """Judges each pair of a device and a server that it asked."""
        devices = seen.network.infrastructure
        routing = (pl.col("traffic") == "routing").fill_null(value=False)
        flows = seen.unlisted.filter(~routing | (pl.col("protocol") == 6))
        flows = flows.filter(
            inside(flows["src"], devices) | inside(flows["dst"], devices), ~inside(flows["dst"], MANY)
        )
        found = talks(flows).with_columns(is_routing=pl.col("app").is_in(ROUTING).fill_null(value=False))
        own = found.filter(inside(found["client"], devices))
        # Who is the client of these is a guess: either side may be.
        unsure = found.filter(~pl.col("known"))
        judged = own.filter("known")
        listed = judged["is_routing"] & inside(judged["server"], devices)
        for rule in options.allow or []:
            fits = inside(judged["server"], rule.to)
            if rule.ports is not None:
                fits &= judged["asked_port"].is_in(list(rule.ports))
            if rule.protocol is not None:
                fits &= judged["protocol"].replace_strict(PORTED, default=None) == rule.protocol
            listed |= fits
        some = int(judged["packets"].sum())
        scope = Scope(
            some + int(unsure["packets"].sum()),
            some,
            "connections whose beginning was not seen, so that nobody knows who began them",
        )
        findings = []
        for row in summed(judged.filter(~listed), ["client", "server"]):
            findings.append(
                self.finding(
                    row,
                    scope,
                    severity,
                    identity=(row["client"], row["server"]),
                    sentence=(
                        f"{end(row['client'])}, a device of the network, began {plural(row['flows'], 'conversation')} with "
                        f"{end(row['server'])} ({services(row)}, {plural(row['packets'], 'packet')} seen), "
                        f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}); the policy does not list that."
                    ),
                )
            )
        return Judgement(scope, tuple(findings), nothing="no device began a conversation")
