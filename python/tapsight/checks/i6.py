"""I6: no mirror sessions except to listed sinks."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from tapsight._options import Options, OrText, Prefixes, Severity, TunnelId, resolve_prefixes, within
from tapsight._text import begin, party, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope
from tapsight.claims import Claim, Tunnel
from tapsight.findings import Finding


class Sink(BaseModel):
    """A receiver of mirrored traffic that is authorised; what is not given may be anything."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sink: Prefixes
    """Where the copies may go."""
    exporter: Prefixes | None = None
    """Who may make them."""
    encap: str | None = None
    """The stack of the tunnel, or any one of its elements."""
    id: TunnelId | None = None
    """Session, VNI or key."""

    def authorises(self, session: Tunnel) -> bool:
        """Whether this mirror session is one of those meant."""
        return (
            within(session.dst, self.sink)
            and (self.exporter is None or within(session.src, self.exporter))
            and (self.encap is None or self.encap in {session.encap, *(session.encap or "").split("/")})
            and (self.id is None or self.id == session.id)
        )


def _sinks(value: object, info: ValidationInfo) -> list[Any]:
    """Entries as tables; addresses, prefixes and names of sets become a table with nothing but the sink."""
    sinks: list[Any] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            sinks.append(item)
        else:
            sinks.append({"sink": list(resolve_prefixes(item, info))})
    return sinks


class I6Options(Options):
    """What a policy may say under [checks.I6]."""

    sinks: Annotated[list[Sink], BeforeValidator(_sinks), OrText()] | None = None
    """Who may receive copies: a set, addresses and prefixes, or tables that also name exporter, encap and id."""


class I6(Check[I6Options]):
    """Copies of traffic go only to receivers that are authorised.

    What it looks for:
        Tunnels made for mirroring (A2) and tunnels in which packets seen outside were found again (A1), whose
        destination is not among ``sinks``. A session that is listed makes no findings of A1 and A2 either; the verdict
        counts them.

    Why it matters:
        Mirroring is a normal tool of operation, and the easiest way to wire-tap a router. The list of receivers is
        what tells the one from the other.

    Example that fails:
        ERSPAN from 192.0.2.1 to 198.51.100.66, with this policy::

            [sets]
            mirror_sinks = ["192.0.2.9"]
            [checks.I6]
            sinks = ["mirror_sinks", { sink = "192.0.2.10", exporter = "192.0.2.1", encap = "erspan2", id = 17 }]

        ``sinks = []`` says that there are none, so that every mirror session fails.

    What to do:
        Remove the session on the exporting device, or have it authorised and listed.

    What it cannot see:
        Copies that are not in a tunnel (A5 reports those) and those that A1 and A2 cannot see.

    Source: ATT&CK detection strategy DET0403; CISA, Enhanced Visibility and Hardening Guidance for Communications
    Infrastructure (2024-12).
    """

    id = "I6"
    title = "No mirror sessions except to listed sinks"
    severity = "high"
    needs = ("sinks",)
    options = I6Options

    def judge(self, seen: Observed, options: I6Options, severity: Severity) -> Judgement:
        """Judges each mirror session, however many detectors and taps saw it."""
        scope = seen.scopes.get("A2", Scope())
        sessions: dict[Tunnel, list[Claim]] = {}
        for claim in seen.claims:
            if is_session(claim):
                sessions.setdefault(claim.tunnel, []).append(claim)
        findings = [
            self._finding(session, claims, scope, severity)
            for session, claims in sessions.items()
            if session not in seen.authorised
        ]
        listed = len(sessions) - len(findings)
        note = plural(listed, "authorised mirror session") if listed else None
        doubts = (seen.scopes.get(id_, Scope()).doubt for id_ in ("A1", "A2"))
        doubt = next(filter(None, doubts), None)
        return Judgement(scope, tuple(findings), nothing="no packets were seen", note=note, doubt=doubt)

    def _finding(self, session: Tunnel, claims: list[Claim], scope: Scope, severity: Severity) -> Finding:
        main = max(claims, key=lambda claim: claim.packets)
        first, last = min(claim.first_ts for claim in claims), max(claim.last_ts for claim in claims)
        return Finding(
            detector=min(claim.detector for claim in claims),
            check=self.id,
            kind="policy",
            severity=severity,
            identity=dataclasses.astuple(session),
            packets=main.packets,
            in_scope=scope.in_scope,
            judged=scope.judged,
            first_ts=first,
            last_ts=last,
            flows=main.flows,
            evidence=main.evidence,
            sentence=begin(
                f"{party(session.dst, main.collector_mac)} received {plural(main.packets, 'copied packet')} from "
                f"{party(session.src, main.exporter_mac)} in a {session}, {span_text(first, last)}; "
                f"the policy does not list it as a receiver of copies from there."
            ),
            tunnel=session,
            collector_mac=main.collector_mac,
            taps=frozenset(tap for claim in claims for tap in claim.taps),
        )


def is_session(claim: Claim) -> bool:
    """Whether the claim is of a mirror session that has a tunnel."""
    return claim.report and claim.family in {"A1", "A2"}


def authorised(claims: list[Claim], options: I6Options | None) -> frozenset[Tunnel]:
    """The mirror sessions among the claims that the policy lists."""
    sinks = (options.sinks if options is not None else None) or []
    sessions = {claim.tunnel for claim in claims if is_session(claim)}
    return frozenset(session for session in sessions if any(sink.authorises(session) for sink in sinks))
