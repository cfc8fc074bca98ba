"""The pack carrier-internet over hand-made flows: what passes, what fails, and what nobody can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tables import examination, flow, mac, sentences, told, why

import tapsight
from tapsight._check import Result, judge
from tapsight.lab import Implant, Scenario, generate
from tapsight.policy import Policy, PolicyError

INSIDE, OUTSIDE, PEER = "192.0.2.10", "203.0.113.10", "203.0.113.200"
OURS, THEIRS, WRONG = "00:1b:54:00:00:01", "00:1b:54:00:00:02", "00:1b:54:00:00:99"


def run(policy: str, *flows: dict[str, Any]) -> Result:
    return judge(examination(flows=list(flows)), Policy.loads(policy))


def frame(
    src: str = INSIDE, dst: str = OUTSIDE, by: str = OURS, to: str = THEIRS, **other: Any
) -> dict[str, Any]:
    """A flow with MAC addresses."""
    return flow(src, dst, eth_src=mac(by), eth_dst=mac(to), **other)


def test_the_pack_judges_only_where_it_is_asked_for() -> None:
    names = ["I2", "I3", "I4"]
    assert not set(names) & set(run("").verdicts["check"].to_pylist())
    every = run('packs = ["carrier-internet"]\n', flow("10.0.0.1", "10.0.0.2"))
    for name, needs in zip(
        names, ("`allow` in [checks.I2]", "`customers` in [checks.I3]", "`own`"), strict=True
    ):
        assert told(every, name)[::2] == ("unknown", 0)
        if name != "I4":
            assert why(every, name) == f"needs set {needs}"


# --- I2 ---------------------------------------------------------------------------------------------------------------

WAYS = f"""[checks.I2]
allow = [
    {{ prefixes = ["203.0.113.0/24"], macs = ["{THEIRS}"], vlans = [300] }},
    {{ prefixes = ["203.0.113.192/26", "2001:db8::/32"], macs = ["{WRONG}"] }},
]
"""
ANY = f'[checks.I2]\nallow = [{{ prefixes = ["0.0.0.0/0"], macs = ["{WRONG}"] }}]\n'


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (frame(vlan=300), "pass"),
        (frame(vlan=5, vlan_inner=300), "pass"),
        (frame(to=WRONG, vlan=300), "fail"),
        (frame(vlan=301), "fail"),
        # A tap that shows no tags; one that shows no MAC addresses.
        (frame(), "unknown"),
        (flow(INSIDE, OUTSIDE, vlan=300), "unknown"),
        # Wrong, whatever its VLAN may be.
        (frame(to=WRONG), "fail"),
        # The longest prefix decides.
        (frame(dst=PEER, to=WRONG), "pass"),
        (frame(dst=PEER, vlan=300), "fail"),
        (frame("2001:db8:1::1", "2001:db8:2::1", to=WRONG, ip_version=6), "pass"),
        # Nothing is said of others, and what is for many has no next hop.
        (frame(OUTSIDE, INSIDE), "unknown"),
        (frame(dst="203.0.113.255", to="ff:ff:ff:ff:ff:ff"), "unknown"),
        # What stays on its link: link-local addresses, and all of them.
        (frame("fe80::1", "fe80::2", ip_version=6), "unknown"),
        (frame(dst="255.255.255.255"), "unknown"),
        # The next hop of a tunnel is that of what is inside.
        (frame(to=WRONG, vlan=300, encap="gre", outer_src="192.0.2.1", outer_dst="198.51.100.1"), "fail"),
    ],
)
def test_i2_prefixes_leave_by_their_next_hops(seen: dict[str, Any], expected: str) -> None:
    assert told(run(WAYS, seen), "I2")[0] == expected


DOCUMENTED = f"""[checks.I2]
allow = [
    {{ prefixes = ["203.0.113.0/24"], macs = ["{THEIRS}"], vlans = [300], taps = ["border"] }},
    {{ prefixes = ["0.0.0.0/0"], macs = ["{WRONG}"], taps = ["border"] }},
]
"""


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        # What a next hop sends comes in, whoever it is for; in the VLAN of its entry, and on its taps.
        (frame("192.0.2.7", "198.51.100.10", by=WRONG, to=OURS), ("unknown", 0, 0, 0)),
        (frame(OUTSIDE, "198.51.100.10", by=THEIRS, to=OURS, vlan=300), ("unknown", 0, 0, 0)),
        (frame(OUTSIDE, "198.51.100.10", by=THEIRS, to=OURS, vlan=301), ("fail", 100, 100, 1)),
        # A router of the network sends it to another one that no entry names.
        (frame("198.51.100.10", "192.0.2.7", by=OURS, to="00:1b:54:00:00:77"), ("fail", 100, 100, 1)),
        (frame("198.51.100.10", "192.0.2.7", by=OURS, to=WRONG), ("pass", 100, 100, 0)),
    ],
)
def test_i2_does_not_judge_what_comes_in(seen: dict[str, Any], expected: tuple[str, int, int, int]) -> None:
    assert told(run(DOCUMENTED, {**seen, "tap": "border"}), "I2") == expected


def test_i2_is_told_of_routers_where_vlans_alone_tell_the_way() -> None:
    way = '[checks.I2]\nallow = [{ prefixes = ["0.0.0.0/0"], vlans = [200] }]\n'
    incoming = frame(OUTSIDE, "198.51.100.10", by=THEIRS, to=OURS, vlan=300)
    outgoing = frame("198.51.100.10", OUTSIDE, vlan=300)
    assert told(run(way, incoming), "I2")[0] == "fail"
    assert told(run(f'{way}own_macs = ["{OURS}"]\n', incoming), "I2")[0] == "unknown"
    assert told(run(f'{way}own_macs = ["{OURS}"]\n', incoming, outgoing), "I2") == ("fail", 100, 100, 1)


def test_i2_limits_entries_to_sources_and_taps() -> None:
    way = f'prefixes = ["203.0.113.0/24"], macs = ["{THEIRS}"], taps = ["border"], sources = ["192.0.2.0/24"]'
    policy = f"[checks.I2]\nallow = [{{ {way} }}]\n"
    flows = [
        frame(tap="border"),
        frame(tap="border", to=WRONG, packets=30),
        frame(tap="border", to=WRONG, src="198.51.100.1"),
        frame(tap="core", to=WRONG),
    ]
    result = run(policy, *flows)
    assert told(result, "I2") == ("fail", 130, 130, 1)
    assert sentences(result, "I2") == [
        (
            f"30 packets in 1 conversation, such as from {INSIDE} to {OUTSIDE}, left by the device with MAC {WRONG}, "
            "from 2026-01-01 12:00:00 UTC until 2026-01-01 12:01:00 UTC (on border); the policy lists other ways for them."
        )
    ]


def test_i2_one_of_several_entries_suffices() -> None:
    ways = ", ".join(f'{{ prefixes = ["203.0.113.0/24"], macs = ["{each}"] }}' for each in (THEIRS, WRONG))
    flows = frame(), frame(to=WRONG), frame(to=OURS)
    assert told(run(f"[checks.I2]\nallow = [{ways}]\n", *flows), "I2") == ("fail", 300, 300, 1)
    assert told(run("[checks.I2]\nallow = []\n", *flows), "I2") == ("unknown", 0, 0, 0)


def test_i2_shows_a_second_next_hop_of_the_lab(tmp_path: Path) -> None:
    """The lab's fork sends copies to another next hop, whose MAC address the policy does not list."""
    files = generate(
        Scenario(seconds=8, calls=2, downloads=10, implants=(Implant("fork", only="voice"),)), tmp_path
    )
    honest = generate(Scenario(seconds=8, calls=2, downloads=10), tmp_path / "honest")
    seen = tapsight.open(str(honest.outside), columns=["dst", "eth_dst"]).to_polars()
    outward = seen.filter(seen["dst"].bin.encode("hex").str.ends_with("cb007114"))["eth_dst"].unique()
    (next_hop,) = (each.hex(":") for each in outward)
    policy = Policy.loads(
        f'[checks.I2]\nallow = [{{ prefixes = ["203.0.113.20"], macs = ["{next_hop}"], taps = ["outside"] }}]\n'
    )
    assert told(tapsight.check({"outside": str(honest.outside)}, policy=policy), "I2")[0] == "pass"
    result = tapsight.check({"outside": str(files.outside)}, policy=policy)
    assert told(result, "I2")[0] == "fail"


# --- I3 ---------------------------------------------------------------------------------------------------------------

PORT = '[checks.I3]\ncustomers = [{ name = "bakery", vlans = [101], prefixes = ["192.0.2.0/28"] }]\n'
KNOWN = f'{PORT}own_macs = ["{OURS}"]\n'
BY_MAC = (
    f'[checks.I3]\ncustomers = [{{ macs = ["{THEIRS}"], prefixes = ["192.0.2.0/28", "2001:db8:7::/48"] }}]\n'
)


@pytest.mark.parametrize(
    ("policy", "seen", "expected"),
    [
        (PORT, frame(vlan=101), "pass"),
        (PORT, frame(vlan=7, vlan_inner=101), "pass"),
        (PORT, frame(vlan=102), "unknown"),
        # A device that has sent nothing of the customer's may be a router of the network that talks to an address of the link.
        (PORT, frame("198.51.100.66", vlan=101), "unknown"),
        (PORT, flow("198.51.100.66", vlan=101), "fail"),
        # To the customer, or in his name to himself: without MAC addresses, nobody can tell.
        (PORT, frame("198.51.100.66", INSIDE, vlan=101), "unknown"),
        (KNOWN, frame("198.51.100.66", INSIDE, vlan=101), "unknown"),
        (KNOWN, frame("198.51.100.66", INSIDE, by=THEIRS, vlan=101), "fail"),
        (KNOWN, frame(by=THEIRS, vlan=101), "pass"),
        (BY_MAC, frame(by=THEIRS), "pass"),
        (BY_MAC, frame("198.51.100.66", by=THEIRS), "fail"),
        (BY_MAC, frame("2001:db8:7::1", "2001:db8:8::1", by=THEIRS, ip_version=6), "pass"),
        (BY_MAC, frame("2001:db8:9::1", "2001:db8:8::1", by=THEIRS, ip_version=6), "fail"),
        (BY_MAC, frame("198.51.100.66", by=OURS), "unknown"),
        # What stays on its link.
        (BY_MAC, frame("0.0.0.0", "255.255.255.255", by=THEIRS), "unknown"),
        (BY_MAC, frame("fe80::1", "ff02::1", by=THEIRS, ip_version=6), "unknown"),
        (BY_MAC, frame("198.51.100.66", "224.0.0.5", by=THEIRS), "unknown"),
        (BY_MAC, frame("192.168.1.3", "192.168.1.255", by=THEIRS, to="ff:ff:ff:ff:ff:ff"), "unknown"),
        # The outermost source of a tunnel is what came in.
        (
            BY_MAC,
            frame("10.0.0.1", "10.0.0.2", by=THEIRS, encap="gre", outer_src=INSIDE, outer_dst=OUTSIDE),
            "pass",
        ),
        (
            BY_MAC,
            frame(INSIDE, "10.0.0.2", by=THEIRS, encap="gre", outer_src="198.51.100.66", outer_dst=OUTSIDE),
            "fail",
        ),
    ],
)
def test_i3_customers_send_what_is_theirs(policy: str, seen: dict[str, Any], expected: str) -> None:
    assert told(run(policy, seen), "I3")[0] == expected


def test_i3_all_that_an_entry_says_has_to_fit() -> None:
    policy = (
        f'[checks.I3]\ncustomers = [{{ macs = ["{THEIRS}"], vlans = [101], taps = ["access"], prefixes = ["192.0.2.0/28"] }},'
        '{ vlans = [101], taps = ["metro"], prefixes = ["198.51.100.0/24"] }]\n'
    )
    flows = [
        frame("198.51.100.66", by=THEIRS, vlan=101, tap="access", packets=9),
        frame("198.51.100.66", by=THEIRS, vlan=102, tap="access"),
        frame("198.51.100.66", by=THEIRS, vlan=101, tap="metro"),
        frame("198.51.100.66", by=WRONG, vlan=101, tap="access"),
    ]
    result = run(policy, *flows)
    assert told(result, "I3") == ("fail", 109, 109, 1)
    assert sentences(result, "I3") == [
        (
            "9 packets in 1 conversation came from the port of 192.0.2.0/28 with sources that are not the customer's, such as from "
            f"198.51.100.66 to {OUTSIDE}, brought by the device with MAC {THEIRS} in VLAN 101, from 2026-01-01 12:00:00 UTC until "
            "2026-01-01 12:01:00 UTC (on access)."
        )
    ]


def test_i3_names_customers_and_says_what_it_could_not_judge() -> None:
    flows = [
        frame(vlan=101, packets=5),
        frame("198.51.100.66", vlan=101, packets=5),
        frame("198.51.100.66", INSIDE, vlan=101, packets=5),
        # The router's ping to an address of the link, which is not the customer's.
        frame("198.51.100.1", "198.51.100.2", by=WRONG, vlan=101, packets=5),
    ]
    result = run(PORT, *flows)
    assert told(result, "I3") == ("fail", 20, 10, 1)
    assert 'came from "bakery" with sources' in sentences(result, "I3")[0]
    assert why(result, "I3") == "not judged: nothing says whether packets come from the customer or go there"


def test_i3_leaves_out_what_own_routers_send() -> None:
    flows = [
        frame(OUTSIDE, INSIDE, by=OURS, to=THEIRS, vlan=101),
        *(frame(f"192.0.2.{host}", by=THEIRS, to=OURS, vlan=101) for host in (1, 2, 3)),
    ]
    assert told(run(KNOWN, *flows), "I3") == ("pass", 300, 300, 0)


def test_i3_tells_many_customers_apart() -> None:
    entries = ", ".join(
        f'{{ name = "c{n}", vlans = [{n}, {n + 100}], taps = ["inside"], prefixes = ["10.0.{n}.0/24"] }}'
        for n in range(1, 101)
    )
    flows = [
        # Its own in both VLANs; the neighbour's; in a VLAN of nobody; on another tap.
        frame("10.0.1.1", by=THEIRS, vlan=1),
        frame("10.0.100.1", by=THEIRS, vlan=9, vlan_inner=200),
        frame("10.0.3.1", by=THEIRS, vlan=2, packets=7),
        frame("10.0.3.1", by=THEIRS, vlan=300),
        frame("10.0.3.1", by=THEIRS, vlan=2, tap="outside"),
    ]
    result = run(f'[checks.I3]\ncustomers = [{entries}]\nown_macs = ["{OURS}"]\n', *flows)
    # VLAN 9 is of c9, and VLAN 200 of c100, whose it is.
    assert told(result, "I3") == ("fail", 207, 207, 1)
    assert 'came from "c2" with sources' in sentences(result, "I3")[0]


def test_i3_refuses_customers_without_a_port() -> None:
    with pytest.raises(PolicyError, match="must say any of vlans, macs and taps"):
        Policy.loads('[checks.I3]\ncustomers = [{ prefixes = ["192.0.2.0/28"] }]\n')


# --- I4 ---------------------------------------------------------------------------------------------------------------

PACK = 'packs = ["carrier-internet"]\n'
OWN = f'{PACK}[checks.B22]\nown = ["11.2.0.0/16"]\ninside_macs = ["{OURS}"]\n'


@pytest.mark.parametrize(
    ("policy", "seen", "expected"),
    [
        (OWN, frame("11.2.0.1", "9.9.9.9"), "pass"),
        # Own addresses from outside, a bogon, a private address from outside, and a foreign one from inside.
        (OWN, frame("11.2.0.1", "9.9.9.9", by=THEIRS), "fail"),
        (OWN, frame("240.0.0.1", "11.2.0.1", by=THEIRS), "fail"),
        (OWN, frame("10.0.0.1", "11.2.0.1", by=THEIRS), "fail"),
        (OWN, frame("8.8.8.8", "9.9.9.9"), "fail"),
        # Nobody says what is the network's own: bogons fail, and nothing passes.
        (PACK, frame("11.2.0.1", "9.9.9.9"), "unknown"),
        (PACK, frame("240.0.0.1", "9.9.9.9"), "fail"),
    ],
)
def test_i4_is_what_b22_finds(policy: str, seen: dict[str, Any], expected: str) -> None:
    result = run(policy, seen)
    assert told(result, "I4")[0] == expected
    assert set(result.findings["check"].to_pylist()) <= {"B22"}


def test_i4_says_what_b22_has_to_know() -> None:
    result = run(PACK, frame("11.2.0.1", "9.9.9.9"))
    assert told(result, "B22")[0] == "pass"
    assert why(result, "I4") == (
        "needs set `own`, and `inside_taps`, `inside_macs` or `inside_vlans`, in [checks.B22]"
    )
    assert why(run(OWN, frame("11.2.0.1", "9.9.9.9", by=THEIRS)), "I4") == "B22: 1 found"


def test_real_captures_with_bogons(captures: Path) -> None:
    name = str(captures / "OISF__suricata-verify/tests__sip-method__sip.pcap")
    result = tapsight.check(name, policy=Policy.loads(PACK))
    assert (told(result, "B22")[0], told(result, "I4")[0]) == ("pass", "unknown")
