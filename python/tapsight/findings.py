"""Claims of the engine and violations of a policy → findings: one thing that failed, its frames, and a sentence."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import hashlib
import importlib.resources
import tomllib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tapsight._options import SEVERITIES, Severity
from tapsight._text import address_text, duration, listing, mac_text, percent, plural, time_text

if TYPE_CHECKING:
    import pyarrow as pa

MIRROR_ONLY = frozenset({"erspan1", "erspan2", "erspan3", "tzsp", "hp-erm", "rpcap"})
"""Encapsulations that have no use but mirroring, by their names in the ``encap`` column."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel in one direction; a mirror session, if it carries copies."""

    encap: str | None = None
    """The stack of encapsulations, outermost first, such as ``gre/erspan2``."""
    src: bytes | None = None
    """Address that it comes from, 16 bytes."""
    dst: bytes | None = None
    """Address that it goes to, 16 bytes."""
    id: int | None = None
    """VNI, key, TEID or session."""

    @property
    def is_mirror(self) -> bool:
        """Whether it is made for mirroring only."""
        return self.encap is not None and not MIRROR_ONLY.isdisjoint(self.encap.split("/"))

    def __str__(self) -> str:
        """Its kind and identifier."""
        return f"tunnel ({self.encap or 'unknown'})" + (f" with id {self.id}" if self.id is not None else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """A frame that proves something."""

    tap: str
    frame: int
    """Number in the tap's stream."""
    role: str
    """Its part: ``original``, ``copy``, ``mirror``, ``redirected`` or ``offending`` (against a policy)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A row of the engine's claims. Fields are its columns."""

    detector: str
    report: bool
    kind: str
    severity: Severity
    tap: str | None
    copy_tap: str | None
    packets: int
    in_scope: int
    judged: int
    first_ts: int
    last_ts: int
    lag_ns: int | None
    tunnel: Tunnel
    """Encapsulation, exporter, collector and tunnel id."""
    exporter_mac: bytes | None
    collector_mac: bytes | None
    rewritten_from: bytes | None
    rewritten_to: bytes | None
    flows: int
    evidence: tuple[Frame, ...]
    apps: tuple[str, ...]
    traffic: tuple[str, ...]

    @property
    def family(self) -> str:
        """Id of its detector without the class: ``A5`` of ``A5.forked``."""
        return self.detector.partition(".")[0]


def read_claims(table: pa.Table) -> list[Claim]:
    """The claims of an examination."""
    import pyarrow as pa

    for name in ("first_ts", "last_ts"):
        column = table[name].cast(pa.int64())
        table = table.set_column(table.schema.get_field_index(name), name, column)
    claims = []
    for row in table.to_pylist():
        tunnel = Tunnel(row.pop("encap"), row.pop("exporter"), row.pop("collector"), row.pop("tunnel_id"))
        evidence = tuple(
            Frame(frame["tap"], frame["frame"], frame["role"]) for frame in row.pop("evidence") or ()
        )
        apps, traffic = tuple(row.pop("apps") or ()), tuple(row.pop("traffic") or ())
        names = {field.name for field in dataclasses.fields(Claim)}
        known = {name: value for name, value in row.items() if name in names}
        claims.append(Claim(tunnel=tunnel, evidence=evidence, apps=apps, traffic=traffic, **known))
    return claims


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that failed."""

    detector: str | None
    """Detector and class that saw it, such as ``A5.forked``; none if only a policy check did."""
    check: str | None
    """The policy check that it fails; none if a detector reports it by itself."""
    kind: str
    """``copy``, ``diversion``, ``injection``, ``tunnel``, ``implant`` or ``policy``."""
    severity: Severity
    identity: tuple[object, ...]
    """What makes it this finding and no other, the same in every run."""
    packets: int
    """Packets concerned; of a copy, those copied."""
    in_scope: int
    """Packets of which those are a part."""
    judged: int
    """Packets in scope that could be judged."""
    first_ts: int
    """Time of the first, nanoseconds UTC."""
    last_ts: int
    """Time of the last, nanoseconds UTC."""
    flows: int
    """Conversations concerned."""
    evidence: tuple[Frame, ...]
    """The first frames that prove it."""
    sentence: str
    """What happened, for a person who does not know the protocols."""
    tunnel: Tunnel = Tunnel()
    """Where a copy or a tunnel goes."""
    collector_mac: bytes | None = None
    """The MAC address it goes to."""

    @property
    def id(self) -> str:
        """Short hash of what identifies it: the same finding has the same id in every run."""
        parts = (self.check or self.detector, *self.identity)
        text = "\x1f".join(part.hex() if isinstance(part, bytes) else str(part) for part in parts)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    @property
    def attack(self) -> list[str]:
        """ATT&CK techniques that it points to."""
        _, techniques = attack()
        name = self.check or self.detector or ""
        return techniques.get(name) or techniques.get(name.partition(".")[0]) or []


@functools.cache
def attack() -> tuple[str, dict[str, list[str]]]:
    """The version of ATT&CK, and the techniques by detector class or check."""
    text = importlib.resources.files("tapsight").joinpath("data/attack.toml").read_text("utf-8")
    data = tomllib.loads(text)
    return data["version"], data["findings"]


def worst(severities: Iterable[Severity]) -> Severity:
    """The most severe."""
    return max(severities, key=SEVERITIES.index)


# --- Claims → findings ------------------------------------------------------------------------------------------------


def findings_of(
    claims: Iterable[Claim], *, sinks_listed: bool, severities: Mapping[str, Severity]
) -> list[Finding]:
    """The findings of claims that are to be reported.

    A mirror session that A1 proves is not repeated for A2: the two become one finding of A1. ``sinks_listed`` tells
    whether a policy lists authorised sinks, ``severities`` holds those that a policy sets, by detector.
    """
    reported = [claim for claim in claims if claim.report]
    proven = {claim.tunnel for claim in reported if claim.family == "A1"}
    announced = {claim.tunnel: claim for claim in reported if claim.family == "A2"}
    findings = []
    for claim in reported:
        if claim.family == "A2" and claim.tunnel in proven:
            continue
        mirror = announced.get(claim.tunnel) if claim.family == "A1" else None
        severity = worst(each.severity for each in (claim, mirror) if each is not None)
        findings.append(
            Finding(
                detector=claim.detector,
                check=None,
                kind=claim.kind,
                severity=severities.get(claim.family, severity),
                identity=_identity(claim),
                packets=claim.packets,
                in_scope=claim.in_scope,
                judged=claim.judged,
                first_ts=claim.first_ts,
                last_ts=claim.last_ts,
                flows=claim.flows,
                evidence=claim.evidence,
                sentence=sentence(claim, mirror, sinks_listed=sinks_listed),
                tunnel=claim.tunnel,
                collector_mac=claim.collector_mac,
            )
        )
    return findings


def _identity(claim: Claim) -> tuple[object, ...]:
    """A tunnel identifies a mirror session; copies outside of tunnels are told apart by their MAC addresses too."""
    tunnel = claim.tunnel
    session = (claim.tap, claim.copy_tap, tunnel.encap, tunnel.src, tunnel.dst, tunnel.id)
    if claim.family in {"A1", "A2"}:
        return session
    return (*session, claim.exporter_mac, claim.collector_mac, claim.rewritten_from, claim.rewritten_to)


# --- Sentences --------------------------------------------------------------------------------------------------------

_TRAFFIC = {
    "voice-signalling": "call set-up",
    "voice-media": "voice",
    "mobile-signalling": "mobile network signalling",
    "internet": "internet traffic",
    "routing": "routing protocols",
    "management": "network management",
    "unknown": "unrecognised traffic",
}


def traffic_text(traffic: Iterable[str]) -> str:
    """Traffic classes in everyday words."""
    return listing(
        [_TRAFFIC.get(name, name) for name in sorted(traffic, key=lambda name: (name == "unknown", name))], 4
    )


def span_text(first_ts: int, last_ts: int) -> str:
    """``from … until …``, or ``at …`` within a second."""
    first, last = time_text(first_ts), time_text(last_ts)
    return f"at {first}" if first == last else f"from {first} until {last}"


def party(address: bytes | None, mac: bytes | None = None) -> str:
    """Who, by address or else by MAC address."""
    if address is not None:
        return address_text(address)
    return f"the device with MAC {mac_text(mac)}" if mac is not None else "an unknown device"


def begin(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def sentence(claim: Claim, mirror: Claim | None = None, *, sinks_listed: bool = False) -> str:
    """What a claim means, in a sentence or two for a person who does not know the protocols."""
    what = f" ({traffic_text(claim.traffic)})" if claim.traffic else ""
    when = span_text(claim.first_ts, claim.last_ts)
    seen = f"on tap {claim.copy_tap or claim.tap}" if claim.copy_tap or claim.tap else "in the capture"
    share = f"{plural(claim.packets, 'packet')}"
    if claim.in_scope >= claim.packets and claim.in_scope > 0:
        share = f"{claim.packets:,} of {plural(claim.in_scope, 'packet')} ({percent(claim.packets, claim.in_scope)})"
    if claim.flows:
        share += f" in {plural(claim.flows, 'conversation')}"
    late = claim.lag_ns or 0
    lag = f" The copy followed {duration(late)} after the original." if late > 0 else ""
    tunnel = claim.tunnel
    hop = f"from {party(None, claim.exporter_mac)} to {party(None, claim.collector_mac)}"
    match claim.detector:
        case "A1.encapsulated-sibling":
            made = " Such a tunnel is made for mirroring only." if tunnel.is_mirror else ""
            more = ""
            if mirror is not None and mirror.packets > claim.packets:
                more = f" It carried {plural(mirror.packets, 'packet')} in all."
            return begin(
                f"{party(tunnel.src, claim.exporter_mac)} copied {share}{what} and sent the copies to "
                f"{party(tunnel.dst, claim.collector_mac)} in a {tunnel}, {when} ({seen}).{lag}{made}{more}"
            )
        case "A2.mirror-encapsulation":
            listed = "" if sinks_listed else " No list of authorised sinks was given."
            return begin(
                f"{party(tunnel.src, claim.exporter_mac)} sent {plural(claim.packets, 'copied packet')}{what} to "
                f"{party(tunnel.dst, claim.collector_mac)} in a {tunnel}, which is made for mirroring only, "
                f"{when} ({seen}).{listed}"
            )
        case "A5.forked":
            return (
                f"{begin(party(None, claim.exporter_mac))} sent {share}{what} twice: as usual, and once more to "
                f"{party(None, claim.collector_mac)}, {when} ({seen}).{lag}"
            )
        case "A5.late":
            return (
                f"{share}{what} came by a second time, {hop}, {when} ({seen}), "
                f"{duration(late)} after the first: later than forwarding takes."
            )
        case "A5.readdressed":
            return (
                f"{share}{what} with the address {party(claim.rewritten_from)} were seen again "
                f"with {party(claim.rewritten_to)} in its place, {when} ({seen}): something in between rewrites them."
            )
        case "A5.loop":
            return (
                f"{share}{what} came by again and again, {when} ({seen}): "
                f"a routing loop sends them in circles."
            )
        case other:
            to = f" to {party(tunnel.dst, claim.collector_mac)}" if tunnel.dst or claim.collector_mac else ""
            return f"{other} saw {share}{what}{to}, {when} ({seen}).{lag}"


# --- The table --------------------------------------------------------------------------------------------------------


class FrameNumbers:
    """Turns a frame's number in a tap's stream into the number that Wireshark shows in the file."""

    def __init__(self, files: Iterable[Mapping[str, Any]]) -> None:
        """Takes the rows of the engine's ``files``."""
        self._files: dict[str, list[tuple[int, int, str]]] = {}
        for row in files:
            self._files.setdefault(row["tap"], []).append((row["first_frame"], row["frames"], row["file"]))
        for spans in self._files.values():
            spans.sort()

    def locate(self, frame: Frame) -> tuple[str | None, int]:
        """The file and the number in it; no file and the number in the stream if that is not known."""
        spans = self._files.get(frame.tap, [])
        at = bisect.bisect_right(spans, frame.frame, key=lambda span: span[0]) - 1
        if at < 0 or frame.frame >= spans[at][0] + spans[at][1]:
            return None, frame.frame
        return spans[at][2], frame.frame - spans[at][0] + 1


def finding_schema() -> pa.Schema:
    """The schema of the findings table. Fields mean what those of :class:`Finding` do; addresses are text.

    ``sentence`` and names may hold text from captures: pass them through :func:`tapsight._text.safe` before a terminal.
    """
    import pyarrow as pa

    text, count, time = pa.string(), pa.uint64(), pa.timestamp("ns", "UTC")
    collector = pa.struct([("mac", text), ("address", text), ("tunnel_id", pa.uint32()), ("encap", text)])
    frame = pa.struct([("tap", text), ("file", text), ("frame", count), ("role", text)])
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("detector", text),
            pa.field("check", text),
            pa.field("kind", text, nullable=False),
            pa.field("severity", text, nullable=False),
            pa.field("verdict", text, nullable=False),
            pa.field("packets", count, nullable=False),
            pa.field("in_scope", count, nullable=False),
            pa.field("judged", count, nullable=False),
            pa.field("first_ts", time, nullable=False),
            pa.field("last_ts", time, nullable=False),
            pa.field("exporter", text),
            pa.field("collector", collector, nullable=False),
            pa.field("flows", count, nullable=False),
            pa.field("evidence", pa.list_(frame), nullable=False),
            pa.field("attack", pa.list_(text), nullable=False),
            pa.field("sentence", text, nullable=False),
        ],
        metadata={"tapsight.findings_schema": "1", "tapsight.attack_version": attack()[0]},
    )


def findings_table(findings: Iterable[Finding], numbers: FrameNumbers) -> pa.Table:
    """The findings as a table, most severe first; of those, detectors' before policy checks', then by packets."""
    import pyarrow as pa

    def rank(finding: Finding) -> tuple[object, ...]:
        severity = -SEVERITIES.index(finding.severity)
        return severity, finding.check is not None, -finding.packets, finding.first_ts, finding.id

    ranked = sorted(findings, key=rank)
    rows, used = [], dict[str, int]()
    for finding in ranked:
        # Two claims that nothing tells apart but their order stay two findings.
        used[finding.id] = used.get(finding.id, 0) + 1
        id_ = finding.id if used[finding.id] == 1 else f"{finding.id}-{used[finding.id]}"
        tunnel = finding.tunnel
        evidence = []
        for frame in finding.evidence:
            file, number = numbers.locate(frame)
            evidence.append({"tap": frame.tap, "file": file, "frame": number, "role": frame.role})
        rows.append(
            {
                "id": id_,
                "detector": finding.detector,
                "check": finding.check,
                "kind": finding.kind,
                "severity": finding.severity,
                "verdict": "fail",
                "packets": finding.packets,
                "in_scope": finding.in_scope,
                "judged": finding.judged,
                "first_ts": finding.first_ts,
                "last_ts": finding.last_ts,
                "exporter": address_text(tunnel.src) if tunnel.src is not None else None,
                "collector": {
                    "mac": mac_text(finding.collector_mac) if finding.collector_mac is not None else None,
                    "address": address_text(tunnel.dst) if tunnel.dst is not None else None,
                    "tunnel_id": tunnel.id,
                    "encap": tunnel.encap,
                },
                "flows": finding.flows,
                "evidence": evidence,
                "attack": finding.attack,
                "sentence": finding.sentence,
            }
        )
    return pa.Table.from_pylist(rows, schema=finding_schema())
