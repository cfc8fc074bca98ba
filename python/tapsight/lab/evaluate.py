"""How well do the detectors see, and on what do they raise false alarms? ``make evaluate`` runs the range through a check.

Every dial is turned with all else as it is, and every confounder put in the way. What comes of it is written to
``docs/evaluation.md`` and, for programs, ``docs/evaluation.json``. The same code writes the same bytes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import tapsight
from tapsight._check import plain_rows
from tapsight._explain import per_million
from tapsight._options import SEVERITIES
from tapsight._text import address_text, duration, mac_text
from tapsight.checks import CHECKS
from tapsight.claims import read_claims
from tapsight.detectors import DETECTORS, Told
from tapsight.findings import share_interval
from tapsight.lab.confounders import CONFOUNDERS
from tapsight.lab.dials import Confounder, Implant
from tapsight.lab.implants import IMPLANTS
from tapsight.lab.network import ATTACKER
from tapsight.lab.scenario import Scenario, generate
from tapsight.lab.tunnels import ENCRYPTED, TUNNELS

T = TypeVar("T")

GOAL = 0.99
"""The share of copies that should be found where a copy is made of at least one packet in 1,000."""
COPYING = (
    "mirror",
    "li-export",
    "fork",
    "late",
    "readdress",
    "rspan",
    "redirect",
    "sflow-export",
    "media-fork",
)
"""Kinds of which copies are counted."""
CALLING = ("sip-redirect", "sdp-hijack", "downgrade")
"""Kinds of which calls are counted; of others, whether they are found at all."""
ARTEFACT = 10_000_000
"""Nanoseconds within which the same frame on the same link is taken for captured twice (A5.span-both)."""
FEW = 3
"""Copies from which on detectors report them."""
NONE = "\N{EN DASH}"
MICROSECOND, MILLISECOND, SECOND = 1_000, 1_000_000, 1_000_000_000


# --- What is run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Experiment:
    """One scenario, of which each implant is a row of a table."""

    dial: str
    """What is turned: the title of the table."""
    settings: tuple[str, ...]
    """How, for each implant."""
    scenario: Scenario
    taps: tuple[str, ...] = ("inside", "outside")
    """The taps that are looked at."""
    detectors: tuple[str, ...] = ()
    """The detectors asked, if not those that the implant expects."""
    policy: bool = True
    """Whether the check is told what is true of the network."""


def traffic(packets: float, seconds: float = 60.0, **dials: Any) -> Scenario:
    """A scenario of about so many packets, three of five of them voice; of few packets, a shorter one."""
    seconds = min(seconds, max(8.0, packets / 100))
    calls = max(1, round(0.6 * packets / (42.5 * seconds)))
    return Scenario(seconds=seconds, calls=calls, downloads=max(4, round(0.4 * packets / 25)), **dials)


def collectors(count: int) -> list[str]:
    """Addresses for as many collectors, so that they can be told apart."""
    return [f"203.0.113.{70 + n}" for n in range(count)]


def together(dial: str, base: Implant, settings: dict[str, dict[str, Any]], scenario: Scenario) -> Experiment:
    """All settings in one scenario, each with a collector of its own."""
    implants = [
        replace(base, collector=collector, session=30 + n, **dials)
        for n, (dials, collector) in enumerate(zip(settings.values(), collectors(len(settings)), strict=True))
    ]
    return Experiment(dial, tuple(settings), replace(scenario, implants=tuple(implants)))


def apart(
    dial: str, base: Implant, settings: dict[str, dict[str, Any]], scenario: Scenario, **more: Any
) -> Iterator[Experiment]:
    """Each setting in a scenario of its own."""
    for name, dials in settings.items():
        yield Experiment(dial, (name,), replace(scenario, implants=(replace(base, **dials),)), **more)


SHARES = {"1": 1.0, "1/10": 0.1, "1/100": 0.01, "1/1,000": 0.001, "1/10,000": 0.0001}
LAGS = {
    "1 µs": MICROSECOND, "15 µs": 15 * MICROSECOND, "1 ms": MILLISECOND, "20 ms": 20 * MILLISECOND,
    "250 ms": 250 * MILLISECOND, "1 s": SECOND, "4 s": 4 * SECOND, "6 s": 6 * SECOND, "60 s": 60 * SECOND,
    "4 min": 240 * SECOND,
}  # fmt: skip
REWRITES = {
    "nothing": (), "TTL": ("ttl",), "DSCP": ("dscp",), "MAC": ("mac",), "TTL, DSCP, MAC": ("ttl", "dscp", "mac"),
    "identification": ("id",),
}  # fmt: skip
ONLY = {"everything": "all", "voice": "voice", "internet": "internet", "one subscriber": "subscriber"}


def experiments(scale: float) -> Iterator[Experiment]:
    """Every experiment. ``scale`` makes their scenarios larger or smaller."""
    small, big = 10_000 * scale, 200_000 * scale
    lags = {name: {"lag": lag, "share": 0.2} for name, lag in LAGS.items()}
    rewrites = {name: {"rewrite": rewrite} for name, rewrite in REWRITES.items()}

    mirror = Implant("mirror", tunnel="gre")
    shares = {name: {"share": share} for name, share in SHARES.items()}
    yield together("mirror: share of packets", mirror, shares, traffic(big))
    yield from apart("mirror: time from packet to copy", mirror, lags, traffic(small, 90))
    snaps = {f"{size} bytes": {"snap": size} for size in (1500, 256, 128, 96, 95, 64)}
    yield together("mirror: bytes of each packet in the copy", mirror, snaps, traffic(small))
    yield together("mirror: what of the copy is rewritten", mirror, rewrites, traffic(small))
    tunnels = {name: {"tunnel": name} for name in TUNNELS}
    yield from apart("mirror: tunnel", mirror, tunnels, traffic(small))
    sealed = {name: {"tunnel": name} for name in sorted(ENCRYPTED)}
    dial = "mirror: encrypted tunnels, asked of those that look inside"
    yield from apart(dial, mirror, sealed, traffic(small), detectors=("A1",))
    cuts = {"none": {}, "packet into 1,000": {"fragment": 1000}, "packet into 576": {"fragment": 576},
            "tunnel into 1,400": {"mtu": 1400}, "tunnel into 576": {"mtu": 576}}  # fmt: skip
    yield together("mirror: fragments", mirror, cuts, traffic(small))
    yield from apart(
        "mirror: of whom", mirror, {name: {"only": only} for name, only in ONLY.items()}, traffic(small)
    )
    for taps in (("inside", "outside"), ("outside",), ("inside",)):
        scenario = replace(traffic(small), implants=(mirror,))
        yield Experiment("mirror: taps", (" and ".join(taps),), scenario, taps=taps)
    for snaplen in (262_144, 256, 192, 128, 96, 64):
        scenario = replace(traffic(small), implants=(mirror,), snaplen=snaplen)
        yield Experiment("mirror: bytes of each frame that the taps kept", (f"{snaplen:,}",), scenario)
    for name, among in AMONG.items():
        yield Experiment("mirror: among", (name,), replace(traffic(small), implants=(mirror,), **among))

    fork = Implant("fork")
    for implant in (fork, Implant("late"), Implant("redirect"), Implant("readdress", only="voice")):
        for name, share in SHARES.items():
            packets = max(small, min(big if implant is fork else big / 2, 40 / share * scale))
            scenario = replace(traffic(packets), implants=(replace(implant, share=share),))
            detectors = ("A5",)
            yield Experiment(f"{implant.kind}: share of packets", (name,), scenario, detectors=detectors)
    yield from apart("fork: time from packet to copy", fork, lags, traffic(small, 90), detectors=("A5",))
    yield from apart("late: time from packet to copy", Implant("late"), lags, traffic(small, 90))
    places = {"another next hop": {"to": "mac"}, "another VLAN": {"to": "vlan"},
              "another next hop in another VLAN": {"to": "mac-vlan"}, "a label": {"to": "mpls"},
              "another next hop, under a label": {"to": "mac-mpls"}}  # fmt: skip
    yield from apart("fork: where to", fork, places, traffic(small), detectors=("A5",))
    yield from apart("fork: what of the copy is rewritten", fork, rewrites, traffic(small))
    cuts = {"none": {}, "into 1,000": {"fragment": 1000}, "into 576": {"fragment": 576}}
    yield from apart("fork: fragments", fork, cuts, traffic(small))
    yield from apart(
        "fork: of whom", fork, {name: {"only": only} for name, only in ONLY.items()}, traffic(small)
    )
    for name, among in AMONG.items():
        scenario = replace(traffic(small), implants=(fork,), **among)
        yield Experiment("fork: among", (name,), scenario, detectors=("A5",))

    yield from of_calls(scale)

    detour = {name: {"share": SHARES[name]} for name in ("1", "1/10", "1/100")}
    yield from apart(
        "detour: share of conversations",
        Implant("detour", count=600),
        detour,
        traffic(small, 100),
        detectors=("B19",),
    )

    for kind, implant_ in IMPLANTS.items():
        for via in implant_.variants or ("",):
            asked = any(each in DETECTORS for each in implant_.expects)
            for seed in range(1, 6 if asked and kind not in COPYING else 2):
                # Whether a path has changed takes longer to tell.
                size = (4000, 40) if asked else (15_000, 100)
                implant = Implant(kind, via=via, **TYPICAL.get(kind, {}))
                # What peers that encrypt say and send, where that matters.
                secure = 24 if kind in CALLING else 0
                scenario = traffic(size[0] * max(scale, 0.5), size[1], seed=seed, secure=secure)
                scenario = replace(scenario, implants=(implant,))
                yield Experiment("every implant", (f"{kind} {via}".strip(),), scenario)


def of_calls(scale: float) -> Iterator[Experiment]:
    """Implants that act on calls. Of each call the taps see about 270 frames."""
    many = max(24, round(48 * scale))
    scenario = Scenario(seconds=60, calls=2, downloads=10, secure=many)
    places = {"in the peer's network": {}, "elsewhere": {"collector": ATTACKER}}
    parts = {"1": {"share": 1.0}, "1/2": {"share": 0.5}, "1/10": {"share": 0.1}, "1/50": {"share": 0.02}}
    for kind in CALLING:
        hows = {via: {"via": via} for via in IMPLANTS[kind].variants}
        usual = Implant(kind)
        yield from apart(f"{kind}: how", usual, hows, scenario)
        yield from apart(f"{kind}: how, {WITHOUT}", usual, hows, scenario, policy=False)
        yield from apart(f"{kind}: share of calls", usual, parts, scenario)
        for taps in (("inside", "outside"), ("outside",), ("inside",)):
            told_ = replace(scenario, implants=(usual,))
            # On one tap, B13 has nothing to compare.
            asked = ("B16",) if kind == "downgrade" else ()
            yield Experiment(f"{kind}: taps", (" and ".join(taps),), told_, taps, asked)
    for kind, via, share in (
        ("sip-redirect", "refer", 1.0),
        ("sip-redirect", "peer", 0.05),
        ("sdp-hijack", "reinvite", 1.0),
    ):
        dial = f"{kind} {via}: collector of {share:g} of calls, {WITHOUT}"
        yield from apart(dial, Implant(kind, via=via, share=share), places, scenario, policy=False)
    for via in ("unlisted", "tls"):
        for count in (16, 20, 24, 48):
            implant = Implant("downgrade", via=via, count=count // 2)
            made = replace(scenario, secure=count, implants=(implant,))
            yield Experiment(f"downgrade {via}: calls, half of them after it", (str(count),), made)


WITHOUT = "without a policy"
"""What dials are called in which the check is told nothing of the network."""

TYPICAL: dict[str, dict[str, Any]] = {"drop": {"only": "voice", "share": 0.2}}
"""Dials for implants that otherwise would leave nothing to compare."""

AMONG: dict[str, dict[str, Any]] = {
    "nothing else": {},
    "address translation": {"nat": True},
    "frames seen twice": {"span": 1.0},
    "both sides on one tap": {"confounders": (Confounder("routed-span"),)},
    "frames in two VLANs": {"confounders": (Confounder("vlan-copy"),)},
    "retransmissions": {"confounders": (Confounder("retransmissions", share=0.2),)},
    "5 % of frames lost by taps": {"loss": 0.05},
    "clocks 100 ms apart": {"confounders": (Confounder("clock-offset", ms=100),)},
    "clocks 4 s apart": {"confounders": (Confounder("clock-offset", ms=4000),)},
    "clocks 10 s apart": {"confounders": (Confounder("clock-offset", ms=10_000),)},
}
"""What else goes on while an implant is at work."""


@dataclass(frozen=True)
class Calm:
    """A scenario without an implant: every finding is a false alarm."""

    name: str
    scenario: Scenario


def calms(scale: float) -> Iterator[Calm]:
    """Every confounder, and nothing at all."""
    base = traffic(25_000 * scale, 60, secure=24)
    for seed in (1, 2, 3):
        yield Calm("nothing", replace(base, seed=seed))
    for kind in CONFOUNDERS:
        if not kind.startswith("clock"):
            yield Calm(kind, replace(base, confounders=(Confounder(kind),)))
    for ms in (1, 10, 100, 1_000, 10_000):
        yield Calm(f"clock-offset {ms:,} ms", replace(base, confounders=(Confounder("clock-offset", ms=ms),)))
    for ms in (10, 100, 1_000, 10_000):
        yield Calm(f"clock-step {ms:,} ms", replace(base, confounders=(Confounder("clock-step", ms=ms),)))
    for ppm in (10, 100, 1_000):
        yield Calm(
            f"clock-drift {ppm:,} ppm", replace(base, confounders=(Confounder("clock-drift", ppm=ppm),))
        )
    honest = (
        "nat",
        "ecmp-change",
        "retransmissions",
        "multicast",
        "mss-clamping",
        "microburst",
        "authorised-mirror",
    )
    yield Calm(" + ".join(honest), replace(base, confounders=tuple(Confounder(kind) for kind in honest)))


# --- What comes of it --------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """How one detector saw one implant."""

    dial: str
    setting: str
    kind: str
    detector: str
    looked_for: bool
    """Whether there is such a detector."""
    made: int = 0
    """Copies that taps captured, or of other kinds: implants."""
    findable: int = 0
    """Those of them that can be told: strong, and an original was captured as well."""
    found: int = 0
    """Those of them that findings with the right collector count."""
    counted: int = 0
    """Packets that those findings count; more than were made if something else is taken for a copy."""
    wrong: int = 0
    """Findings of the detector that do not name the collector."""
    verdict: str = ""
    """What the detector says."""
    denied: bool = False
    """Whether the answer to every question is that there is no sign."""
    checks: list[str] = field(default_factory=list)
    """Checks of the policy that fail."""
    delay: int | None = None
    """Nanoseconds from the first captured copy to the third one that the finding shows as evidence (the last, if it shows
    fewer)."""

    @property
    def recall(self) -> float | None:
        """Found of those that could be; none if none could be."""
        return min(1.0, self.found / self.findable) if self.findable else None


@dataclass
class Alarms:
    """What was reported where nothing was wrong."""

    name: str
    packets: int
    seconds: float
    findings: list[dict[str, Any]]
    """``detector``, ``severity``, ``packets``, ``sentence``."""
    verdicts: dict[str, str]
    judged: dict[str, int]
    """How many packets each check and detector could judge."""


class Known(NamedTuple):
    """The truth of an implant's copies."""

    copies: set[int]
    findable: set[int]
    first: int | None


def known(index: int, kind: str, taps: Sequence[str], truth: list[dict[str, Any]]) -> Known:
    """Which packets an implant copied, as far as the taps captured it, and which of those can be told."""
    copies: set[int] = set()
    strong: set[int] = set()
    originals: set[int] = set()
    first = None
    # That a router sent a packet twice shows beside the one that it sent as usual.
    beside = ("outside",) if kind in ("fork", "late", "media-fork") else taps
    for row in truth:
        if row["tap"] not in taps:
            continue
        if row["implant"] == index:
            # What was only marked, or goes on as it was, is no copy.
            if row["role"] in ("span-duplicate", "forwarded", "dropped", "control"):
                continue
            copies.add(row["packet"])
            if not row["weak"]:
                strong.add(row["packet"])
            first = row["time"] if first is None else min(first, row["time"])
        elif row["implant"] is None and row["tap"] in beside and row["role"] != "span-duplicate":
            originals.add(row["packet"])
    return Known(copies, strong & originals, first)


def led(index: int, taps: Sequence[str], truth: list[dict[str, Any]]) -> set[str]:
    """The calls that an implant acted on, as far as the taps captured that."""
    return {row["flow"] for row in truth if row["implant"] == index and row["tap"] in taps}


def measure(experiment: Experiment) -> list[Row]:
    """Runs an experiment."""
    with tempfile.TemporaryDirectory() as folder:
        files = generate(experiment.scenario, folder)
        truth = [json.loads(line) for line in files.truth.read_text().splitlines()]
        built = json.loads(files.scenario.read_text())["implants"]
        sources = {tap: str(getattr(files, tap)) for tap in experiment.taps}
        policy = files.policy if experiment.policy else None
        result = tapsight.check(sources, policy=policy, threads=1)
        is_late = any(implant["kind"] == "late" for implant in built)
        resent = sent_again(sources["outside"], truth) if is_late else set()
    verdicts = {
        row["check"]: row["verdict"] for row in result.verdicts.select(["check", "verdict"]).to_pylist()
    }
    times = {(row["tap"], row["frame"]): row["time"] for row in truth}
    rows = []
    for index, (setting, implant) in enumerate(zip(experiment.settings, built, strict=True)):
        kind = implant["kind"]
        counted = kind in COPYING
        for detector in experiment.detectors or implant["expected"]:
            row = Row(experiment.dial, setting, kind, detector, detector in DETECTORS or detector in CHECKS)
            rows.append(row)
            row.checks = [check for check in CHECKS if verdicts.get(check) == "fail"]
            if not row.looked_for:
                continue
            its = known(index, kind, experiment.taps, truth)
            if kind == "late":
                its = its._replace(findable=its.findable - resent)
            mine = told(result, detector)
            right = [each for each in mine if names(each, implant)]
            # Of several implants in one scenario, the verdict is that of those that were found.
            row.verdict = verdicts.get(detector, "") if right or len(built) == 1 else ""
            row.denied = all(each.answer == "no sign" for each in result.answers if each.about != "agreed")
            row.made, row.findable = (len(its.copies), len(its.findable)) if counted else (1, 1)
            row.counted = sum(each["packets"] for each in right)
            if kind in CALLING:
                row.made = row.findable = len(led(index, experiment.taps, truth))
                # B16 may say of the same calls that they are too many and that none should be.
                row.counted = (
                    max((each["packets"] for each in mine), default=0) if detector == "B16" else row.counted
                )
            row.found = min(row.counted, row.findable) if counted or kind in CALLING else min(1, len(mine))
            row.wrong = len(mine) - len(right) if len(built) == 1 else 0
            shown = sorted(
                times[frame["tap"], frame["frame"]]
                for each in (right if counted else mine)
                for frame in each["evidence"]
                if frame["role"] not in ("original",) and (frame["tap"], frame["frame"]) in times
            )
            if shown and its.first is not None:
                row.delay = max(0, shown[:3][-1] - its.first)
    return rows


def told(result: tapsight.Result, detector: str) -> list[dict[str, Any]]:
    """What a detector or check reported, as rows of findings.

    Claims come first: a mirror session that A1 proves is one finding with what A2 says of it.
    """
    claims = [claim for claim in read_claims(result.claims) if claim.report and claim.family == detector]
    rows = [
        {
            "packets": claim.packets,
            "collector": {
                "address": _text(address_text, claim.tunnel.dst),
                "mac": _text(mac_text, claim.collector_mac),
            },
            "exporter": _text(address_text, claim.tunnel.src),
            "sentence": DETECTORS[claim.family].sentence(Told(claim)),
            "evidence": [asdict(frame) for frame in claim.evidence],
        }
        for claim in claims
    ]
    if rows:
        return rows
    findings = plain_rows(result.findings)
    return [each for each in findings if (each["check"] or each["detector"]).split(".")[0] == detector]


def _text(form: Callable[[bytes], str], value: bytes | None) -> str | None:
    return form(value) if value is not None else None


def sent_again(outside: str, truth: list[dict[str, Any]]) -> set[int]:
    """Packets that their hosts did not number: a late copy of one is no other than one that was sent again."""
    numbers = tapsight.open(outside, columns=["ip_id"]).to_pyarrow()["ip_id"].to_pylist()
    seen = (row for row in truth if row["tap"] == "outside")
    return {row["packet"] for row in seen if not numbers[row["frame"] - 1]}


def names(finding: dict[str, Any], implant: dict[str, Any]) -> bool:
    """Whether a finding names who receives the traffic, as far as the implant has somebody."""
    collector = finding["collector"]
    if implant["collector"] is None and implant["collector_mac"] is None:
        return True
    named = {collector["address"], collector["mac"], finding["exporter"]}
    if named & {implant["collector"], implant["collector_mac"]} - {None}:
        return True
    words = set(re.findall(r"[0-9a-f:.]*[0-9a-f]", finding["sentence"]))
    return bool(words & {implant["collector"], implant["collector_mac"]})


def alarms(calm: Calm) -> Alarms:
    """Runs a scenario without an implant, with the policy that is true of it."""
    with tempfile.TemporaryDirectory() as folder:
        files = generate(calm.scenario, folder)
        packets = files.truth.read_bytes().count(b"\n")
        sources = {"inside": str(files.inside), "outside": str(files.outside)}
        result = tapsight.check(sources, policy=files.policy, threads=1)
    findings = [
        {
            "detector": each["check"] or each["detector"],
            "severity": each["severity"],
            "packets": each["packets"],
            "sentence": each["sentence"],
        }
        for each in plain_rows(result.findings)
    ]
    told = result.verdicts.select(["check", "verdict", "judged"]).to_pylist()
    verdicts = {row["check"]: row["verdict"] for row in told}
    judged = {row["check"]: row["judged"] for row in told}
    return Alarms(calm.name, packets, calm.scenario.seconds, findings, verdicts, judged)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The interval of a share, at 95 %; all there is where nothing was seen."""
    low, high = share_interval(hits, of)
    return (0.0, 1.0) if low is None or high is None else (low, high)


def merged(rows: Iterable[Row]) -> list[Row]:
    """Rows of the same setting and detector, which differ by seed, as one."""
    out: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        key = (row.dial, row.setting, row.detector)
        if key not in out:
            out[key] = row
            continue
        sum_ = out[key]
        sum_.made, sum_.findable = sum_.made + row.made, sum_.findable + row.findable
        sum_.found, sum_.wrong = sum_.found + row.found, sum_.wrong + row.wrong
        sum_.counted += row.counted
        sum_.checks = [check for check in sum_.checks if check in row.checks]
        sum_.denied |= row.denied
        sum_.verdict = "/".join(dict.fromkeys([*sum_.verdict.split("/"), row.verdict]))
        if row.delay is not None:
            sum_.delay = row.delay if sum_.delay is None else max(sum_.delay, row.delay)
    return list(out.values())


# --- What is written ---------------------------------------------------------------------------------------------------

HEAD = f"""\
# Evaluation

*How well do the detectors see, and on what do they raise false alarms?* Written by `make evaluate` from the code as it is; the
same figures for programs are in [evaluation.json](evaluation.json). The traffic is that of the [lab](lab.md): an imagined router with
calls and internet traffic, tapped on both sides. Real networks differ; this says what can be expected where all that is
known.

**How it is counted.** A *copy* is a packet that an implant made a copy of and at least one tap captured. It *can be found* if the
packet is strong (48 bytes or more, and a payload or an identification) and a tap captured the original too (of forks and late
copies: the tap that sees the copy; late ones only if their host numbers packets, for others look as if it had sent them again). It
is *found* if a finding of the detector that names the right collector counts it. *Recall* is found of those that can be, with the Wilson
interval at 95 %. *Seen after* is the time from the first captured copy to the third one that the finding shows as evidence (the
last, if it shows fewer). Checks run with the policy that is true of the network as it should be.

**Goals.** Recall of {100 * GOAL:g} % where a copy is made of one packet in 1,000 or more; no false alarm at medium or above on anything
honest; where three copies and more that can be found are not, the answer is not that there is no sign of them. (But for late copies
within 10 ms: the same frame on the same link is what mirror ports show, and reaches nobody else. A5 names them.)
"""


CALLS_TOO = f"""
Counted are calls that the implant acted on, as far as the taps captured that, and those that findings count. The policy is that of the
lab; {WITHOUT}, the checks know the calls only.
"""


def markdown(rows: Sequence[Row], calm: Sequence[Alarms], scale: float = 1.0) -> str:
    """The page."""
    size = "" if scale == 1 else f"\nScenarios are {scale:g} times their usual size (`--scale {scale:g}`).\n"
    parts = [HEAD + size, "\n## In short\n\n" + summary(rows, calm)]
    for title, of in (("Copies", False), ("Calls", True)):
        theirs = [row for row in rows if row.dial != "every implant" and (row.kind in CALLING) == of]
        parts.append(f"\n## {title}, dial by dial\n")
        parts += [CALLS_TOO] if of else []
        for dial in dict.fromkeys(row.dial for row in theirs):
            mine = [row for row in theirs if row.dial == dial]
            parts.append(f"\n### {dial[0].upper()}{dial[1:]}\n\n" + table(mine) + "\n" + stops(mine))
    every = [row for row in rows if row.dial == "every implant"]
    parts.append("\n## Every implant\n\n" + of_implants(every))
    parts.append("\n## False alarms\n\n" + of_alarms(calm))
    return "".join(parts)


def summary(rows: Sequence[Row], calm: Sequence[Alarms]) -> str:
    """Goals beside figures."""
    lines = ["| goal | measured | |", "|---|---|---|"]
    frequent = [name for name, share in SHARES.items() if share >= 0.001]
    for kind in dict.fromkeys(row.kind for row in rows if row.dial.endswith(": share of packets")):
        mine = [row for row in rows if row.dial == f"{kind}: share of packets" and row.looked_for]
        goal = [row for row in mine if row.setting in frequent and row.recall is not None]
        if goal:
            worst = min(goal, key=lambda row: row.recall or 0.0)
            met = all((row.recall or 0) >= GOAL for row in goal)
            lines.append(
                f"| {kind}: recall ≥ {100 * GOAL:g} % from 1 in 1,000 | {percent(worst)} at {worst.setting} | {mark(met)} |"
            )
    loud = [each for each in calm if any(_is_loud(finding) for finding in each.findings)]
    said = (
        f"on {len(loud)} of {len(calm)}: {', '.join(each.name for each in loud)}"
        if loud
        else f"none on {len(calm)}"
    )
    lines.append(f"| no false alarm at medium or above | {said} | {mark(not loud)} |")
    passed = [row for row in rows if row.looked_for and not row.found and row.made and row.verdict == "pass"]
    # Fewer copies than a detector needs are too few by design, and those at once and the same way reach nobody else.
    passed = [row for row in passed if row.kind not in COPYING or row.findable >= FEW]
    passed = [row for row in passed if row.kind != "late" or LAGS.get(row.setting, ARTEFACT) >= ARTEFACT]
    # Who may take part in calls, a list has to say.
    untold = [row for row in passed if WITHOUT in row.dial]
    passed = [row for row in passed if WITHOUT not in row.dial]
    blind = [row for row in passed if row.denied]
    said = f"no sign is said of what is there in {len(blind)} settings"
    lines.append(f"| never sure where nothing can be known | {said} | {mark(not blind)} |")
    looked = {row.detector for row in rows if row.looked_for}
    missing = sorted({row.detector for row in rows if not row.looked_for}, key=_catalogue)
    text = "\n".join(lines) + "\n"
    if blind:
        text += f"\nNo sign in spite of copies: {places(blind)}.\n"
    if untold:
        text += f"\n`pass` {WITHOUT} that lists who takes part in calls: {places(untold)}.\n"
    if others := [row for row in passed if not row.denied]:
        text += f"\n`pass` of the one that is asked, where others find it or the answer is that it cannot be told: {places(others)}.\n"
    return (
        text
        + f"\nLooked for: {', '.join(sorted(looked, key=_catalogue))}. Not looked for yet: {', '.join(missing) or 'nothing'}.\n"
    )


def places(rows: Sequence[Row]) -> str:
    """Which detectors, and where."""
    return "; ".join(f"{row.detector} in {row.dial}, {row.setting}" for row in rows)


def _is_loud(finding: dict[str, Any]) -> bool:
    return SEVERITIES.index(finding["severity"]) >= SEVERITIES.index("medium")


def _catalogue(detector: str) -> tuple[str, int]:
    return detector[0], int(detector[1:])


def mark(met: bool) -> str:
    """Whether a goal is met."""
    return "met" if met else "**missed**"


def percent(row: Row) -> str:
    """Recall as text, with its interval."""
    if row.recall is None:
        return NONE
    low, high = wilson(row.found, row.findable)
    return f"{100 * row.recall:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def table(rows: Sequence[Row]) -> str:
    """Rows of one dial."""
    what = "calls" if rows and rows[0].kind in CALLING else "copies"
    lines = [
        f"| | detector | {what} | can be found | found | recall | collector | seen after | verdict |",
        "|---|---|--:|--:|--:|--:|---|--:|---|",
    ]
    for row in rows:
        if not row.looked_for:
            lines.append(f"| {row.setting} | {row.detector} | | | | not looked for | | | |")
            continue
        # Of other kinds, implants are counted, and not packets.
        is_more = row.kind in COPYING and row.counted > row.made
        more = f" (and {row.counted - row.made:,} more)" if is_more else ""
        lines.append(
            f"| {row.setting} | {row.detector} | {row.made:,} | {row.findable:,} | {row.found:,}{more} | {percent(row)} "
            f"| {who(row)} | {delay(row.delay)} | {row.verdict} |"
        )
    return "\n".join(lines) + "\n"


def who(row: Row) -> str:
    """Whether findings name the collector."""
    if not row.wrong:
        return "right" if row.found else NONE
    if row.kind not in COPYING + CALLING:
        return "not named"
    return "right and wrong" if row.found else "wrong"


def delay(nanoseconds: int | None) -> str:
    """A time in units that fit."""
    return NONE if nanoseconds is None else duration(nanoseconds)


def stops(rows: Sequence[Row]) -> str:
    """Where a detector stops being able to tell."""
    lines = []
    for detector in dict.fromkeys(row.detector for row in rows if row.looked_for):
        mine = [row for row in rows if row.detector == detector and row.looked_for]
        poor = [row.setting for row in mine if row.recall is not None and row.recall < GOAL]
        none = [row.setting for row in mine if row.findable and not row.found]
        if not poor:
            lines.append(f"{detector} tells in every case.")
            continue
        text = f"{detector} finds less than {100 * GOAL:g} % at: {'; '.join(poor)}."
        lines.append(text + (f" Nothing at: {'; '.join(none)}." if none else ""))
    return " ".join(lines) + "\n" if lines else ""


def of_implants(rows: Sequence[Row]) -> str:
    """Every implant, by the detectors that should see it."""
    text = (
        "Copies and calls are counted as above; of other implants, in how many of five scenarios they were found. The last column says which "
        "checks of the policy fail.\n\n"
    )
    lines = [
        "| implant | what it does | detector | found | collector | seen after | policy |",
        "|---|---|---|--:|---|--:|---|",
    ]
    for row in rows:
        title, checks = IMPLANTS[row.kind].title(), ", ".join(row.checks)
        if not row.looked_for:
            lines.append(f"| {row.setting} | {title} | {row.detector} | not looked for | | | {checks} |")
            continue
        found = f"{row.found:,} of {row.findable:,}"
        after = delay(row.delay)
        lines.append(
            f"| {row.setting} | {title} | {row.detector} | {found} | {who(row)} | {after} | {checks} |"
        )
    return text + "\n".join(lines) + "\n"


def of_alarms(calm: Sequence[Alarms]) -> str:
    """False alarms, by confounder."""
    text = (
        "Scenarios without an implant. *Per million* and *per hour* count findings of any severity; where there was none, the bound "
        "that holds with 95 % (3 over what was seen).\n\n"
        "| confounder | packets | info, low | medium and above | per million | per hour | verdicts that are not pass |\n"
        "|---|--:|--:|--:|--:|--:|---|\n"
    )
    sums: dict[str, list[Alarms]] = {}
    for each in calm:
        sums.setdefault(each.name, []).append(each)
    for name, runs in sums.items():
        packets, seconds = sum(run.packets for run in runs), sum(run.seconds for run in runs)
        found = [finding for run in runs for finding in run.findings]
        loud = sum(map(_is_loud, found))
        count, sign = (len(found), "") if found else (3, "< ")
        odd = sorted(
            {
                f"{check} {verdict}"
                for run in runs
                for check, verdict in run.verdicts.items()
                if verdict != "pass"
            }
        )
        text += (
            f"| {name} | {packets:,} | {len(found) - loud} | {f'**{loud}**' if loud else 0} "
            f"| {sign}{count * 1e6 / packets:,.0f} | {sign}{count * 3600 / seconds:,.0f} | {', '.join(odd)} |\n"
        )
    packets = sum(run.packets for run in calm)
    text += f"\nIn all, {packets:,} packets.\n"
    text += (
        "\nBy check and detector, of the packets that each could judge (some judge conversations or devices: their packets). A dash is one "
        "that had nothing to judge.\n\n"
        "| check | packets judged | info, low | medium and above | of those per million |\n|---|--:|--:|--:|--:|\n"
    )
    for check, rate in rates(calm).items():
        alarms_ = f"**{rate['loud']}**" if rate["loud"] else "0"
        million = per_million(rate["loud"], rate["judged"])
        text += f"| {check} | {rate['judged']:,} | {rate['quiet']} | {alarms_} | {million or '-'} |\n"
    told: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for run in calm:
        for finding in run.findings:
            told.setdefault((run.name, finding["detector"], finding["severity"]), []).append(finding)
    text += "\nWhat was said, with an example each:\n\n" if told else ""
    for (name, detector, severity), found in told.items():
        packets = sum(finding["packets"] for finding in found)
        times = f"{len(found)} findings" if len(found) > 1 else "one finding"
        text += f"- {name}: {detector}, {severity}, {times} of {packets:,} packets. {found[0]['sentence']}\n"
    return text


def rates(calm: Sequence[Alarms]) -> dict[str, dict[str, int]]:
    """By check: in how many scenarios and of how many packets it could judge, how many findings are of low and of higher severity."""
    found = [(each["detector"].partition(".")[0], _is_loud(each)) for run in calm for each in run.findings]
    return {
        check: {
            "scenarios": sum(run.judged[check] > 0 for run in calm),
            "judged": sum(run.judged[check] for run in calm),
            "quiet": sum(not loud for of, loud in found if of == check),
            "loud": sum(loud for of, loud in found if of == check),
        }
        for check in (calm[0].verdicts if calm else ())
    }


def run(
    scale: float = 1.0, only: str = "", jobs: int = 2, alarms_too: bool = True
) -> tuple[list[Row], list[Alarms]]:
    """Runs all experiments whose dial has ``only`` in its name, and the confounders."""
    chosen = [each for each in experiments(scale) if only in each.dial]
    # The largest first, so that no processor is left alone with one at the end.
    order = sorted(range(len(chosen)), key=lambda n: -chosen[n].scenario.downloads)
    honest = list(calms(scale)) if alarms_too else []
    if jobs == 1:
        results, calm = {n: measure(chosen[n]) for n in order}, [alarms(each) for each in honest]
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            measured = pool.map(measure, [chosen[n] for n in order])
            waiting = pool.map(alarms, honest)
            total = len(chosen) + len(honest)
            results = dict(zip(order, progress(measured, 0, total), strict=True))
            calm = list(progress(waiting, len(chosen), total))
    return merged(row for n in range(len(chosen)) for row in results[n]), calm


def progress(results: Iterable[T], done: int, of: int) -> Iterator[T]:
    """The results, and on standard error how many of them there are."""
    for number, result in enumerate(results, done + 1):
        print(f"\r{number} of {of} scenarios", end="", file=sys.stderr, flush=True)  # noqa: T201 - a command
        yield result


def as_json(rows: Sequence[Row], calm: Sequence[Alarms], scale: float = 1.0) -> str:
    """The same for programs."""
    table_ = [
        {**asdict(row), "recall": row.recall, "interval": wilson(row.found, row.findable)} for row in rows
    ]
    data = {
        "schema": 1,
        "scale": scale,
        "goal": GOAL,
        "implants": table_,
        "confounders": [asdict(each) for each in calm],
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs everything and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m tapsight.lab.evaluate", description=main.__doc__)
    parser.add_argument("folder", nargs="?", default="docs", type=Path, help="where evaluation.md is written")
    parser.add_argument("--scale", type=float, default=1.0, help="how large scenarios are")
    parser.add_argument("--only", default="", help="only dials with this in their name")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--rates", type=Path, help="where rates of false alarms are written, for tapsight explain"
    )
    options = parser.parse_args(argv)
    rows, calm = run(options.scale, options.only, options.jobs)
    options.folder.mkdir(parents=True, exist_ok=True)
    print(file=sys.stderr)  # noqa: T201 - a command
    (options.folder / "evaluation.md").write_text(markdown(rows, calm, options.scale))
    (options.folder / "evaluation.json").write_text(as_json(rows, calm, options.scale))
    if options.rates:
        options.rates.write_text(json.dumps(rates(calm), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
