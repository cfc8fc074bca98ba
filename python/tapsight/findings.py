"""Claims of the engine and violations of a policy → findings: one thing that failed, its frames, and a sentence."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import hashlib
import importlib.resources
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tapsight._options import SEVERITIES, Severity
from tapsight._text import address_text, mac_text, plural, span_text
from tapsight.claims import Claim, Frame, Tunnel
from tapsight.detectors import DETECTORS, Told

if TYPE_CHECKING:
    import pyarrow as pa


@dataclasses.dataclass(frozen=True, slots=True)
class Later:
    """A sentence that is made when somebody reads it: of thousands of findings of one kind, few are listed."""

    say: Callable[[], str]

    def __str__(self) -> str:
        """The sentence."""
        return self.say()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that failed."""

    detector: str | None
    """Detector and class that saw it, such as ``A5.forked``; none if only a policy check did."""
    check: str | None
    """The policy check that it fails; none if a detector reports it by itself."""
    kind: str
    """``copy``, ``diversion``, ``injection``, ``modification``, ``loss``, ``tunnel``, ``implant``, ``signalling`` or ``policy``."""
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
    """Frames that prove it: the first ones, and some from all of the time."""
    sentence: str | Later
    """What happened, for a person who does not know the protocols."""
    tunnel: Tunnel = dataclasses.field(default_factory=Tunnel)
    """Where a copy or a tunnel goes."""
    collector_mac: bytes | None = None
    """The MAC address it goes to."""
    calls: frozenset[tuple[str, int]] = frozenset()
    """All calls that it is of, by tap and number, of which evidence shows the first; none where it is not told by call."""
    taps: frozenset[str] = frozenset()
    """The taps that saw it; none if those are the ones of its evidence."""
    traffic: tuple[str, ...] = ()
    """Classes of the traffic concerned, where the detector or the check tells."""
    is_part: bool = True
    """Whether its packets are some of those judged, so that their share says something."""
    techniques: tuple[str, ...] | None = None
    """ATT&CK techniques that a policy says it points to; none if it does not say."""
    nth: int = 0
    """Which one it is of those that nothing tells apart but their order, from 2: the first has 0. :func:`numbered` tells."""
    is_known: bool = False
    """Whether an earlier run has it, though less of it."""
    _id: str | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    @property
    def seen_at(self) -> frozenset[str]:
        """The taps that saw it."""
        return self.taps or frozenset(frame.tap for frame in self.evidence)

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """The addresses that it is about: those that identify it, not examples of them."""
        return tuple(part for part in self.identity if isinstance(part, bytes) and len(part) == _ADDRESS)

    @property
    def id(self) -> str:
        """Short hash of what identifies it: the same finding has the same id in every run."""
        if self._id is None:
            # Of many findings each is asked again and again.
            object.__setattr__(self, "_id", _id(self.name, self.identity))
        return self._id or ""

    @property
    def row_id(self) -> str:
        """The id that it has in tables, which no other finding has."""
        return f"{self.id}-{self.nth}" if self.nth else self.id

    @property
    def name(self) -> str | None:
        """The check, or the detector and class: what findings are of one kind by."""
        return self.check or self.detector

    @property
    def family(self) -> str:
        """The check or detector without the class: ``A5`` of ``A5.forked``."""
        return (self.name or "").partition(".")[0]

    @property
    def attack(self) -> list[str]:
        """ATT&CK techniques that it points to."""
        if self.techniques is not None:
            return list(self.techniques)
        _, techniques = attack()
        name = self.name or ""
        return techniques.get(name) or techniques.get(name.partition(".")[0]) or []


def _id(name: str | None, identity: tuple[object, ...]) -> str:
    text = "\x1f".join(part.hex() if isinstance(part, bytes) else str(part) for part in (name, *identity))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


_ADDRESS = 16
"""Bytes of an address."""


@functools.cache
def _attack() -> dict[str, Any]:
    return tomllib.loads(
        importlib.resources.files("tapsight").joinpath("data/attack.toml").read_text("utf-8")
    )


def attack() -> tuple[str, dict[str, list[str]]]:
    """The version of ATT&CK, and the techniques by detector class or check."""
    return _attack()["version"], _attack()["findings"]


def technique_names() -> dict[str, str]:
    """What ATT&CK calls its techniques, of those that findings point to."""
    names: dict[str, str] = _attack()["techniques"]
    return names


def worst(severities: Iterable[Severity]) -> Severity:
    """The most severe."""
    return max(severities, key=SEVERITIES.index)


def share_interval(part: int, whole: int) -> tuple[float, float] | tuple[None, None]:
    """Between what the share of the part in all traffic lies, with a confidence of 95 %, as far as packets are independent.

    The score interval of Wilson (1927), "Probable Inference, the Law of Succession, and Statistical Inference". Without a whole, or with a
    part that is more than that, there is none.
    """
    if not 0 <= part <= whole or whole == 0:
        return None, None
    z = 1.959963984540054  # The 97.5th percentile of the normal distribution.
    share, spread = part / whole, z * z / whole
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


# --- Claims → findings ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Strike:
    """What a check or detector fails by, once."""

    severity: Severity
    findings: tuple[Finding, ...]
    """What tells of it. A mirror session that A2 saw may be told by several findings of A1."""


def findings_of(
    claims: Iterable[Claim], *, sinks_listed: bool, severities: Mapping[str, Severity]
) -> tuple[list[Finding], dict[str, list[Strike]]]:
    """The findings of claims that are to be reported, and by detector what it fails by.

    A mirror session that A1 proves is not repeated for A2: the two become one finding of A1. ``sinks_listed`` tells
    whether a policy lists authorised sinks, ``severities`` holds those that a policy sets, by detector.
    """
    reported = [claim for claim in claims if claim.report]
    proven = {claim.tunnel for claim in reported if claim.family == "A1"}
    announced = {claim.tunnel: claim for claim in reported if claim.family == "A2"}
    findings = []
    strikes: dict[str, list[Strike]] = {}
    proofs: dict[Tunnel, list[Finding]] = {}
    for claim in reported:
        if claim.family == "A2" and claim.tunnel in proven:
            continue
        mirror = announced.get(claim.tunnel) if claim.family == "A1" else None
        severity = worst(each.severity for each in (claim, mirror) if each is not None)
        finding = Finding(
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
            sentence=DETECTORS[claim.family].sentence(Told(claim, mirror, sinks_listed)),
            tunnel=claim.tunnel,
            collector_mac=claim.collector_mac,
            taps=claim.taps,
            traffic=claim.traffic,
        )
        findings.append(finding)
        strikes.setdefault(claim.family, []).append(Strike(claim.severity, (finding,)))
        if claim.family == "A1":
            proofs.setdefault(claim.tunnel, []).append(finding)
    for claim in reported:
        if claim.family == "A2" and claim.tunnel in proven:
            strikes.setdefault("A2", []).append(Strike(claim.severity, tuple(proofs[claim.tunnel])))
    return findings, strikes


def ids_of_claims(claims: Iterable[Claim]) -> list[str]:
    """By which id each claim is a finding, if it is one: a mirror session that A1 proves is one of A1 for A2, too."""
    claims = list(claims)
    proven = {claim.tunnel: claim for claim in reversed(claims) if claim.report and claim.family == "A1"}
    told = [proven.get(claim.tunnel, claim) if claim.family == "A2" else claim for claim in claims]
    return [_id(claim.detector, _identity(claim)) for claim in told]


def _identity(claim: Claim) -> tuple[object, ...]:
    """A tunnel identifies a mirror session; copies outside of tunnels are told apart by their MAC addresses too."""
    tunnel = claim.tunnel
    session = (claim.tap, claim.copy_tap, tunnel.encap, tunnel.src, tunnel.dst, tunnel.id)
    if claim.family in {"A1", "A2", "A7"}:
        return session
    rewritten = (claim.rewritten_from, claim.rewritten_to)
    # What a finding was called before these were told stays its name.
    more = tuple(each for each in (claim.subject, claim.detail) if each is not None)
    return (*session, claim.exporter_mac, claim.collector_mac, *rewritten, *more)


# --- Many of a kind ---------------------------------------------------------------------------------------------------

MOST_OF_A_KIND = 50
"""Findings of one detector class or check that are listed one by one."""


def _rank(finding: Finding) -> tuple[object, ...]:
    """Most severe first; of those, detectors' before policy checks', then by packets."""
    severity = -SEVERITIES.index(finding.severity)
    return severity, finding.check is not None, -finding.packets, finding.first_ts, finding.id


def numbered(findings: Iterable[Finding]) -> list[Finding]:
    """The findings by rank, where each has a :attr:`Finding.row_id` of its own: two claims that nothing tells apart but their order stay two."""
    used: dict[str, int] = {}
    made = []
    for finding in sorted(findings, key=_rank):
        if finding.nth == 0:
            nth = used[finding.id] = used.get(finding.id, 0) + 1
            finding = dataclasses.replace(finding, nth=nth) if nth > 1 else finding  # noqa: PLW2901
        made.append(finding)
    return made


def grouped(findings: Iterable[Finding]) -> list[Finding]:
    """The findings; of those of one kind, what comes after the first 50 is one finding more.

    So traffic that was crafted to make thousands of findings hides none of another kind, and a report stays readable. Those that are not
    listed are rows of the claims (of a detector) or flows (of a check) all the same.
    """
    kinds: dict[tuple[str | None, str | None], list[Finding]] = {}
    for finding in numbered(findings):
        kinds.setdefault((finding.check, None if finding.check else finding.detector), []).append(finding)
    kept = []
    for (check, detector), all_ in kinds.items():
        kept += all_[:MOST_OF_A_KIND]
        if rest := all_[MOST_OF_A_KIND:]:
            kept.append(_rest(check, detector, rest))
    return kept


_OTHERS = ("others",)
"""The identity of what stands for many: whatever they are, so that nothing must be told by it."""


def id_of_rest(name: str | None) -> str:
    """The id of the finding that stands for those of one kind that are not listed."""
    return _id(name, _OTHERS)


def _rest(check: str | None, detector: str | None, rest: list[Finding]) -> Finding:
    if len(rest) == 1:
        return rest[0]
    packets = sum(finding.packets for finding in rest)
    first, last = min(each.first_ts for each in rest), max(each.last_ts for each in rest)
    where = "the table of claims" if check is None else "the table of flows"
    known = sum(finding.is_known for finding in rest)
    worse = f", {known:,} of which the baseline has, but less of them" if known else ""
    return Finding(
        detector=detector,
        check=check,
        kind=rest[0].kind,
        severity=worst(finding.severity for finding in rest),
        identity=_OTHERS,
        packets=packets,
        # Packets of one may be those of another, too: only what is concerned adds up.
        in_scope=packets,
        judged=packets,
        first_ts=first,
        last_ts=last,
        flows=sum(finding.flows for finding in rest),
        evidence=tuple(frame for finding in rest[:_REST_EVIDENCE] for frame in finding.evidence[:2]),
        is_part=False,
        techniques=rest[0].techniques,
        sentence=(
            f"{plural(len(rest), 'more finding')} of {check or detector}, of {plural(packets, 'packet')} in all{worse}, "
            f"{span_text(first, last)}: {where} has what they rest on."
        ),
    )


_REST_EVIDENCE = 16


# --- The table --------------------------------------------------------------------------------------------------------


def period(taps: pa.Table) -> tuple[int, int]:
    """The first and last time of captures, nanoseconds; zeros if there is none."""
    import polars as pl

    times = pl.DataFrame(taps).select(
        pl.col("first_ts").min().dt.timestamp("ns"), pl.col("last_ts").max().dt.timestamp("ns")
    )
    first, last = times.row(0) if times.height else (None, None)
    return first or 0, last or 0


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

    ``share_low`` and ``share_high`` bound the share of ``packets`` among those ``judged``, see :func:`share_interval`; null where they are not some of these.
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
            pa.field("share_low", pa.float64()),
            pa.field("share_high", pa.float64()),
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

    rows = []
    for finding in numbered(findings):
        tunnel = finding.tunnel
        low, high = share_interval(finding.packets, finding.judged) if finding.is_part else (None, None)
        evidence = []
        for frame in finding.evidence:
            file, number = numbers.locate(frame)
            evidence.append({"tap": frame.tap, "file": file, "frame": number, "role": frame.role})
        rows.append(
            {
                "id": finding.row_id,
                "detector": finding.detector,
                "check": finding.check,
                "kind": finding.kind,
                "severity": finding.severity,
                "verdict": "fail",
                "packets": finding.packets,
                "in_scope": finding.in_scope,
                "judged": finding.judged,
                "share_low": low,
                "share_high": high,
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
                "sentence": str(finding.sentence),
            }
        )
    return pa.Table.from_pylist(rows, schema=finding_schema())
