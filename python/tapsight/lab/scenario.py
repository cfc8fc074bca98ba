"""A scenario, and the files that come of it."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tapsight.lab.router import COLLECTOR_MAC, LOOPBACK, Implant, Router, Seen
from tapsight.lab.traffic import (
    INSIDE_MEDIA,
    INSIDE_SBC,
    OUTSIDE_MEDIA,
    OUTSIDE_SBC,
    SECOND,
    Event,
    Traffic,
)

START = 1_767_225_600 * SECOND  # 2026-01-01 00:00:00 UTC


@dataclass(frozen=True)
class Scenario:
    """What happens at the router. The same scenario makes the same bytes.

    Args:
        seed: From which all chance follows.
        seconds: How long.
        calls: How many calls.
        downloads: How many downloads.
        implants: What the router does that it should not.
        span: The share of frames that each tap sees twice.
        loss: The share of frames that each tap loses.
        nat: The router translates subscribers' addresses.
        ecmp: The router spreads flows over two next hops.
        vlan_copy: A switch copies some frames into another VLAN.
        snaplen: Bytes kept of each frame.
    """

    seed: int = 1
    seconds: float = 20.0
    calls: int = 6
    downloads: int = 40
    implants: tuple[Implant, ...] = ()
    span: float = 0.01
    loss: float = 0.002
    nat: bool = False
    ecmp: bool = False
    vlan_copy: bool = False
    snaplen: int = 262_144


@dataclass(frozen=True)
class Generated:
    """The files of a scenario."""

    inside: Path
    """Capture of the inside tap."""
    outside: Path
    """Capture of the outside tap."""
    truth: Path
    """One line of JSON a frame: ``tap``, ``frame``, ``role``, ``flow``, ``network``, ``packet`` (the same number for all
    sightings of one packet), ``implant`` (index into the scenario's, or null)."""
    policy: Path
    """The policy that is true of this network."""
    scenario: Path
    """What was built: ``implants`` with ``packets`` (how many each acted on), ``collector`` and ``collector_mac``."""


def generate(scenario: Scenario, directory: str | os.PathLike[str]) -> Generated:
    """Write the captures of a scenario, its truth and its policy into ``directory``, which is made if needed."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    router = Router(
        random.Random(scenario.seed + 1),  # noqa: S311 - traffic, not secrets
        scenario.implants,
        scenario.span,
        scenario.loss,
        nat=scenario.nat,
        ecmp=scenario.ecmp,
        vlan_copy=scenario.vlan_copy,
    )
    seen = router.run(events(scenario))
    files = Generated(
        folder / "inside.pcapng",
        folder / "outside.pcapng",
        folder / "truth.ndjson",
        folder / "policy.toml",
        folder / "scenario.json",
    )
    truth = []
    for tap, path in (("inside", files.inside), ("outside", files.outside)):
        frames = [frame for frame in seen if frame.tap == tap]
        path.write_bytes(pcapng(frames, scenario.snaplen, router.dropped[tap]))
        truth += [truth_line(number, frame) for number, frame in enumerate(frames, 1)]
    files.truth.write_text("".join(truth))
    files.policy.write_text(POLICY)
    implants = [
        {
            **asdict(implant),
            "packets": router.acted.get(index, 0),
            "exporter": LOOPBACK if implant.kind == "mirror" else None,
            "collector": None if implant.kind in ("fork", "late") else implant.collector,
            "collector_mac": COLLECTOR_MAC.hex(":") if implant.kind == "fork" else None,
        }
        for index, implant in enumerate(scenario.implants)
    ]
    described = {**asdict(scenario), "implants": implants}
    files.scenario.write_text(json.dumps(described, indent=2) + "\n")
    return files


def events(scenario: Scenario) -> list[Event]:
    """What hosts send, in order of time."""
    traffic = Traffic(scenario.seed, scenario.seconds)
    rng = traffic.rng
    made: list[Event] = []
    for number in range(scenario.calls):
        start = rng.randrange(int(traffic.end * 0.3) + 1)
        length = int(traffic.end * rng.uniform(0.3, 0.55))
        made += traffic.call(number, start, length)
    for number in range(scenario.downloads):
        made += traffic.web(number, rng.randrange(int(traffic.end * 0.8) + 1))
    made += traffic.keepalives()
    made += traffic.others()
    made = [event for event in made if 0 <= event.time < traffic.end]
    made.sort(key=lambda event: event.time)
    return made


def pcapng(frames: Iterable[Seen], snaplen: int, dropped: int) -> bytes:
    """A capture in pcapng with nanoseconds and, at its end, the tap's own count of lost frames."""

    def option(code: int, value: bytes) -> bytes:
        return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)

    def block(kind: int, body: bytes) -> bytes:
        length = len(body) + 12
        return struct.pack("<II", kind, length) + body + struct.pack("<I", length)

    out = [block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    out.append(block(1, struct.pack("<HHI", 1, 0, snaplen) + option(9, b"\x09") + option(0, b"")))
    count = last = 0
    for seen in frames:
        last = START + seen.time
        kept = seen.frame[:snaplen]
        head = struct.pack("<IIIII", 0, last >> 32, last & 0xFFFFFFFF, len(kept), len(seen.frame))
        out.append(block(6, head + kept + bytes(-len(kept) % 4)))
        count += 1
    counters = (
        option(4, struct.pack("<Q", count + dropped)) + option(5, struct.pack("<Q", dropped)) + option(0, b"")
    )
    out.append(block(5, struct.pack("<III", 0, last >> 32, last & 0xFFFFFFFF) + counters))
    return b"".join(out)


def truth_line(number: int, seen: Seen) -> str:
    """The truth about a frame, as a line of JSON."""
    row = {
        "tap": seen.tap,
        "frame": number,
        "role": seen.role,
        "flow": seen.flow,
        "network": seen.network,
        "packet": seen.event,
        "implant": seen.implant,
    }
    return json.dumps(row) + "\n"


POLICY = f"""\
# What should be true of the example network.

[sets]
voice_peers = ["{INSIDE_SBC}", "{OUTSIDE_SBC}"]
voice_media = ["{INSIDE_MEDIA}", "{OUTSIDE_MEDIA}"]
voice_vlans = [210]
mirror_sinks = []

[checks.V1] # voice signalling only between agreed interconnect pairs
pairs = [["voice_peers", "voice_peers"]]

[checks.V2] # voice media only inside the voice VLAN
vlans = "voice_vlans"

[checks.I5] # no tunnels but those listed
allow = []

[checks.I6] # no mirror sessions but to listed sinks
sinks = "mirror_sinks"
"""
