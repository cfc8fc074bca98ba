"""A scenario, and the files that come of it."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tapsight.lab.confounders import CONFOUNDERS
from tapsight.lab.dials import Confounder, Implant
from tapsight.lab.effect import Effect, Seen, Tampering
from tapsight.lab.honest import Honest
from tapsight.lab.implants import IMPLANTS
from tapsight.lab.mobile import realm
from tapsight.lab.network import (
    AAA_SERVER,
    ABROAD_LABEL,
    ABROAD_NEIGHBOUR,
    DHCP_SERVER_6,
    DHCP_SERVERS,
    DTLS_PEER,
    GATEWAY,
    GATEWAY_6,
    HOME,
    INSIDE_MEDIA,
    INSIDE_SBC,
    LOOPBACK,
    MANAGEMENT,
    MAX_RTT_MS,
    NAT_ADDRESS,
    NEIGHBOUR,
    NEIGHBOUR_ADDRESS,
    OUTSIDE_SBC,
    PACKET_GATEWAY,
    PARTNER_GATEWAY,
    PARTNER_NETWORK,
    PARTNER_SIGNALLING,
    PARTNER_TITLE,
    PEER_MEDIA,
    PLACES,
    RESOLVER,
    ROUTER,
    SDES_PEER,
    SIGNALLING,
    TLS_PEER,
)
from tapsight.lab.peers import secure_calls
from tapsight.lab.router import TAPS, Router
from tapsight.lab.traffic import SECOND, Event, Traffic

START = 1_767_225_600 * SECOND  # 2026-01-01 00:00:00 UTC


@dataclass(frozen=True)
class Scenario:
    """What happens at the router. The same scenario makes the same bytes.

    Args:
        seed: From which all chance follows.
        seconds: How long.
        calls: How many calls.
        downloads: How many downloads.
        secure: How many short calls with each of three peers that encrypt: SDES, DTLS-SRTP, and SIP over TLS.
        implants: What the router does that it should not.
        confounders: What is honest, and looks like it.
        span: The share of frames that each tap sees twice.
        loss: The share of frames that each tap loses.
        nat: The router translates subscribers' addresses: the confounder ``nat``.
        ecmp: The router spreads flows over two next hops: the confounder ``ecmp``.
        vlan_copy: A switch copies some frames into another VLAN: the confounder ``vlan-copy``.
        snaplen: Bytes kept of each frame.
    """

    seed: int = 1
    seconds: float = 20.0
    calls: int = 6
    downloads: int = 40
    secure: int = 0
    implants: tuple[Implant, ...] = ()
    confounders: tuple[Confounder, ...] = ()
    span: float = 0.01
    loss: float = 0.002
    nat: bool = False
    ecmp: bool = False
    vlan_copy: bool = False
    snaplen: int = 262_144

    def honest(self) -> tuple[Confounder, ...]:
        """All confounders, those that have a switch of their own too."""
        more = [Confounder("nat")] * self.nat + [Confounder("ecmp")] * self.ecmp
        more += [Confounder("vlan-copy", share=self.span)] * self.vlan_copy
        return (*more, *self.confounders)


@dataclass(frozen=True)
class Generated:
    """The files of a scenario."""

    inside: Path
    """Capture of the inside tap."""
    outside: Path
    """Capture of the outside tap."""
    truth: Path
    """One line of JSON a frame: ``tap``, ``frame``, ``time`` (as captured, nanoseconds UTC), ``role``, ``flow``, ``network``, ``packet`` (the same number for all
    sightings of one packet), ``implant`` and ``confounder`` (which of the scenario's made it, by index, or null), ``weak``
    (whether the packet holds too little to be told from others)."""
    policy: Path
    """The policy that is true of this network."""
    places: Path
    """In which country addresses are, as a table that the policy names."""
    scenario: Path
    """What was built. ``implants``: the dials, ``packets`` (how many each acted on), ``expected`` (detectors that should
    see it), ``exporter``, ``collector``, ``collector_mac``. ``confounders``: the dials, and ``packets``."""


def generate(scenario: Scenario, directory: str | os.PathLike[str]) -> Generated:
    """Write the captures of a scenario, its truth and its policy into ``directory``, which is made if needed.

    Raises:
        ValueError: There is no such implant, confounder, tunnel or variant.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    end = int(scenario.seconds * SECOND)
    honest, tampering = effects(scenario, end)
    # What is honest comes first: implants act on the traffic as it is.
    router = Router(
        random.Random(scenario.seed + 1),  # noqa: S311 - traffic, not secrets
        [*honest, *tampering],
        end,
        span=scenario.span,
        loss=scenario.loss,
    )
    taps = router.run(events(scenario))
    files = Generated(
        folder / "inside.pcapng",
        folder / "outside.pcapng",
        folder / "truth.ndjson",
        folder / "policy.toml",
        folder / "places.csv",
        folder / "scenario.json",
    )
    with files.truth.open("w") as truth:
        for tap in TAPS:
            frames = taps[tap]
            (folder / f"{tap}.pcapng").write_bytes(pcapng(frames, scenario.snaplen, router.dropped[tap]))
            truth.writelines(truth_line(number, frame, len(honest)) for number, frame in enumerate(frames, 1))
    files.policy.write_text(policy(honest))
    files.places.write_text(places([*honest, *tampering]))
    files.scenario.write_text(json.dumps(described(scenario, honest, tampering), indent=2) + "\n")
    return files


def effects(scenario: Scenario, end: int) -> tuple[list[Honest], list[Tampering]]:
    """The confounders and implants of a scenario, numbered in this order."""
    honest: list[Honest] = []
    tampering: list[Tampering] = []
    for confounder in scenario.honest():
        if confounder.kind not in CONFOUNDERS:
            raise ValueError(f"no confounder {confounder.kind!r}; there are {', '.join(CONFOUNDERS)}")
        honest.append(CONFOUNDERS[confounder.kind](confounder, len(honest), scenario.seed, end))
    for implant in scenario.implants:
        if implant.kind not in IMPLANTS:
            raise ValueError(f"no implant {implant.kind!r}; there are {', '.join(IMPLANTS)}")
        if IMPLANTS[implant.kind].on_encrypted and not scenario.secure:
            raise ValueError(
                f"{implant.kind} acts on calls that are encrypted, and there are none: give --secure 24 (Scenario(secure=24))"
            )
        number = len(honest) + len(tampering)
        tampering.append(IMPLANTS[implant.kind](implant, number, scenario.seed, end))
    return honest, tampering


def described(scenario: Scenario, honest: Sequence[Honest], tampering: Sequence[Tampering]) -> dict[str, Any]:
    """The scenario as :attr:`Generated.scenario` holds it."""
    implants = [
        {
            **asdict(each.dials),
            "packets": each.acted,
            "expected": sorted(each.expected()),
            "exporter": each.exporter,
            "collector": each.collector,
            "collector_mac": each.collector_mac,
        }
        for each in tampering
    ]
    confounders = [{**asdict(each.dials), "packets": each.acted} for each in honest]
    return {**asdict(scenario), "implants": implants, "confounders": confounders}


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
    if scenario.secure:
        made += secure_calls(scenario.seed, traffic.end, scenario.secure)
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


def truth_line(number: int, seen: Seen, honest: int) -> str:
    """The truth about a frame, as a line of JSON. The first effects, this many, are honest."""
    cause = seen.cause
    implant = confounder = "null"
    if cause is not None:
        if cause < honest:
            confounder = str(cause)
        else:
            implant = str(cause - honest)
    # All words are the lab's own, and need no escaping.
    return (
        f'{{"tap": "{seen.tap}", "frame": {number}, "time": {START + seen.time}, "role": "{seen.role}", "flow": "{seen.flow}", '
        f'"network": "{seen.network}", "packet": {seen.event}, "implant": {implant}, "confounder": {confounder}, '
        f'"weak": {"true" if seen.weak else "false"}}}\n'
    )


def policy(honest: Iterable[Effect[Any]]) -> str:
    """What should be true of the example network, with what its confounders add."""
    added: dict[str, list[str]] = {name: [] for name in LISTS}
    for each in honest:
        for name, entries in each.policy().items():
            added.setdefault(name, []).extend(entries)
    return POLICY.format(
        **{name: ", ".join(added.pop(name)) for name in LISTS},
        sets="".join(f"{name} = {json.dumps(entries)}\n" for name, entries in added.items()),
        checks="".join(CHECKS_OF_SETS[name] for name in added if name in CHECKS_OF_SETS),
    )


def places(effects: Iterable[Effect[Any]]) -> str:
    """In which country addresses are, as a table."""
    rows = dict(PLACES)
    for each in effects:
        rows |= each.places()
    return "prefix,country\n" + "".join(f"{prefix},{country}\n" for prefix, country in rows.items())


LISTS = (
    "allow", "mirror_sinks", "voice_vlans", "vlans", "own_prefixes", "other_networks", "inside_macs", "virtual_servers",
    "bridged_taps", "voice_peers", "voice_media", "anycast", "crossings",
)  # fmt: skip
"""Lists of the policy to which confounders add, as TOML."""

ROUTERS = (LOOPBACK, *GATEWAY.values())

CHECKS_OF_SETS = {
    "mediation": '\n[checks.A3] # who may receive intercepted traffic\nmediation = ["mediation"]\n',
    "recorders": '\n[checks.A4] # who may record calls\nrecorders = ["recorders"]\n',
}
"""What a policy says of sets that only some scenarios have."""

POLICY = f"""\
# What should be true of the example network.

[sets]
voice_peers = ["{INSIDE_SBC}", "{OUTSIDE_SBC}", "{SDES_PEER}", "{DTLS_PEER}", "{TLS_PEER}", {{voice_peers}}]
voice_media = ["{INSIDE_MEDIA}", "{PEER_MEDIA}", {{voice_media}}]
voice_vlans = [210, {{voice_vlans}}]
vlans = [100, 210, {{vlans}}]
mirror_sinks = []
own_prefixes = ["198.51.100.0/24", "{NAT_ADDRESS}", "2001:db8:1::/48", {{own_prefixes}}]
routers = {json.dumps(ROUTERS)}
gateways = {json.dumps([*GATEWAY.values(), GATEWAY_6])}
bgp_peers = {json.dumps(list(NEIGHBOUR_ADDRESS.values()))}
resolvers = ["{RESOLVER}"]
management = ["{MANAGEMENT}"]
aaa_servers = ["{AAA_SERVER}"]
{{sets}}
[network] # what the network is
infrastructure = ["routers"]
gateways = ["gateways"]
home = "{HOME}"
anycast = [{{anycast}}]

[places]
files = ["places.csv"]

[zones] # the other side of the border
abroad = {{{{ macs = ["{ABROAD_NEIGHBOUR.hex(":")}"], mpls = [{ABROAD_LABEL}], country = "DE" }}}}

[checks.V1] # voice signalling only between agreed interconnect pairs
pairs = [["voice_peers", "voice_peers"]]

[checks.V2] # voice media only inside the voice VLAN
vlans = "voice_vlans"

[checks.I1] # national traffic leaves the country only so
allow = [{{crossings}}]

[checks.I5] # no tunnels but those listed
allow = [{{allow}}]

[checks.I6] # no mirror sessions but to listed sinks
sinks = ["mirror_sinks", {{mirror_sinks}}]

[checks.A5] # what may come by twice: addresses that stand for others, taps that see frames in several VLANs
virtual_servers = [{{virtual_servers}}]
bridged_taps = [{{bridged_taps}}]

[checks.A8] # no VLANs and labels but those listed
vlans = ["vlans"]
mpls = []

[checks.B8] # hosts are told by these servers only
servers = {json.dumps([*DHCP_SERVERS, DHCP_SERVER_6])}

[checks.B12] # only these take part in signalling
peers = ["voice_peers"]

[checks.B13] # media go there only, or by way of border controllers
media = ["voice_media"]
b2bua = ["voice_peers"]

[checks.B16] # whose calls are to be as encrypted as before, and those of whom all are to be
peers = ["voice_peers"]
encrypted = ["{SDES_PEER}"]

[checks.B19] # no place in the country is farther
max_rtt_ms = {MAX_RTT_MS}

[checks.B20] # signalling of mobile networks only with these, and only in their partners' names
own = ["{SIGNALLING}", "{PACKET_GATEWAY}"]
peers = [
    {{{{ addresses = "{PARTNER_SIGNALLING}", titles = ["{PARTNER_TITLE[:4]}"], realms = ["{realm(*PARTNER_NETWORK)}"] }}}},
    "{PARTNER_GATEWAY}",
]

[checks.B22] # sources only where they can be
own = ["own_prefixes"]
allow = ["192.0.2.0/24", "203.0.113.0/24", "2001:db8::/32", {{other_networks}}] # what stands for other networks here
inside_macs = ["{NEIGHBOUR["inside"].hex(":")}", "{ROUTER["outside"].hex(":")}", {{inside_macs}}]

[checks.C1] # no tunnels that end at routers, but those listed
allow = [{{allow}}]

[checks.C3] # routers ask only these who may log in
servers = ["aaa_servers"]

[checks.C4] # routers begin conversations only with these
allow = ["bgp_peers", "resolvers", "management", "aaa_servers"]
{{checks}}"""
