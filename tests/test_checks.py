"""Verdicts and findings of hand-made flows and claims: what passes, what fails, what nobody can tell."""

from __future__ import annotations

from typing import Any

import pytest
from tables import NOON, SECOND, claim, covered, examination, flow, mirror, rtp, scope, sip, verdict

from tapsight._check import Result, judge, plain_rows
from tapsight.detectors import DETECTORS
from tapsight.findings import share_interval
from tapsight.policy import Policy

PEERS = '[sets]\npeers = ["192.0.2.10", "203.0.113.10"]\n[checks.V1]\npairs = [["peers", "peers"]]\n'


def run(policy: str | None, **rows: list[dict[str, Any]]) -> Result:
    return judge(examination(**rows), Policy.loads(policy) if policy is not None else None)


def findings_of(result: Result) -> list[dict[str, Any]]:
    # Times of captures are no whole microseconds, which Python's datetime cannot hold.
    return plain_rows(result.findings)


# --- V1 ---------------------------------------------------------------------------------------------------------------


def test_v1_passes_agreed_pairs_in_both_directions() -> None:
    flows = [sip("192.0.2.10", "203.0.113.10"), sip("203.0.113.10", "192.0.2.10"), flow(packets=7)]
    result = run(PEERS, flows=flows)
    assert covered(result, "V1") == ("pass", 200, 200)
    assert result.exit_code == 0


def test_v1_fails_other_pairs_once_for_both_directions() -> None:
    flows = [
        sip("192.0.2.10", "198.51.100.66"),
        sip("198.51.100.66", "192.0.2.10", frames=[9]),
        sip("192.0.2.10", "203.0.113.10"),
    ]
    result = run(PEERS, flows=flows)
    assert covered(result, "V1") == ("fail", 300, 300)
    assert result.exit_code == 1
    (finding,) = findings_of(result)
    assert (finding["check"], finding["kind"], finding["packets"], finding["flows"]) == (
        "V1",
        "policy",
        200,
        1,
    )
    assert [frame["frame"] for frame in finding["evidence"]] == [1, 2, 9]
    assert finding["sentence"] == (
        "192.0.2.10 and 198.51.100.66 exchanged 200 packets of voice signalling (sip), from 2026-01-01 12:00:00 UTC until "
        "2026-01-01 12:01:00 UTC (on inside), but the policy knows no agreement between them."
    )


def test_v1_does_not_judge_guesses_unless_an_end_is_named() -> None:
    guess = sip("198.51.100.1", "198.51.100.2", basis="port")
    assert covered(run(PEERS, flows=[guess]), "V1") == ("unknown", 100, 0)
    assert covered(run(PEERS, flows=[sip("192.0.2.10", "198.51.100.2", basis="port")]), "V1") == (
        "fail",
        100,
        100,
    )


def test_v1_leaves_mobile_signalling_alone_and_says_when_there_is_nothing() -> None:
    result = run(PEERS, flows=[flow(app="diameter", traffic="mobile-signalling", basis="signature")])
    assert verdict(result, "V1")["reason"] == "no voice signalling was seen"
    assert verdict(result, "V1")["verdict"] == "unknown"


@pytest.mark.parametrize("check", ["V1", "V2", "I5", "I6"])
@pytest.mark.parametrize("policy", ["", "[checks.{}]\nseverity = 'low'\n"])
def test_without_its_set_no_check_passes(check: str, policy: str) -> None:
    row = verdict(run(policy.format(check)), check)
    assert row["verdict"] == "unknown"
    assert row["reason"].startswith("needs set `")


def test_what_a_detector_had_no_room_for_is_no_pass() -> None:
    """However few they are: what was not kept may be all that there was to find."""
    sinks = '[checks.I6]\nsinks = ["198.51.100.7"]\n'
    for lost, word in ((0, "pass"), (1, "unknown")):
        result = run(sinks, scopes=[scope(id_, lost=lost if id_ == "A1" else 0) for id_ in DETECTORS])
        for id_ in ("A1", "I6"):
            row = verdict(result, id_)
            assert row["verdict"] == word, id_
            assert ("there was no room for all that it found" in (row["reason"] or "")) == bool(lost), id_
        assert verdict(result, "A5")["verdict"] == "pass"
        assert result.answers[0].answer == ("cannot tell" if lost else "no sign")


def test_coverage_below_the_minimum_is_no_pass() -> None:
    flows = [
        sip("192.0.2.10", "203.0.113.10", packets=70),
        sip("198.51.100.1", "198.51.100.2", basis="port", packets=30),
    ]
    assert covered(run(PEERS, flows=flows), "V1") == ("pass", 100, 70)
    row = verdict(run(PEERS + "min_coverage = 0.8\n", flows=flows), "V1")
    assert row["verdict"] == "unknown"
    assert row["reason"].startswith("only 70.0 % could be judged, less than the 80 % demanded")
    assert row["coverage"] == 0.7


def test_switched_off() -> None:
    row = verdict(run(PEERS + "enabled = false\n", flows=[sip("192.0.2.10", "198.51.100.66")]), "V1")
    assert (row["verdict"], row["reason"], row["findings"]) == ("unknown", "switched off by the policy", 0)
    result = run("[checks.A1]\nenabled = false\n", claims=[mirror()])
    assert result.findings.num_rows == 0
    assert verdict(result, "A1")["verdict"] == "unknown"


# --- V2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "path", "expected"),
    [
        ("vlans = [210]", {"vlan": 210}, "pass"),
        ("vlans = [210]", {"vlan": 100, "vlan_inner": 210}, "pass"),
        ("vlans = [210]", {"vlan": 999}, "fail"),
        ("vlans = [210]", {}, "unknown"),
        ("mpls = [30021]", {"mpls": [16, 30021]}, "pass"),
        ("mpls = [30021]", {"mpls": [16]}, "fail"),
        ("mpls = [30021]", {}, "unknown"),
        ("tunnel_ids = [5]", {"encap": "vxlan", "tunnel_id": 5}, "pass"),
        ("tunnel_ids = [5]", {"encap": "vxlan", "tunnel_id": 6}, "fail"),
        ("tunnel_ids = [5]", {}, "unknown"),
        ("prefixes = ['192.0.2.0/24', '203.0.113.0/24']", {}, "pass"),
        ("prefixes = ['192.0.2.0/24']", {}, "fail"),
        ("vlans = [210]\nmpls = [30021]", {"vlan": 999, "mpls": [30021]}, "pass"),
        ("vlans = [210]", {"vlan": 210, "basis": "port"}, "unknown"),
    ],
)
def test_v2_one_of_what_is_given_suffices(option: str, path: dict[str, Any], expected: str) -> None:
    assert verdict(run(f"[checks.V2]\n{option}\n", flows=[rtp(**path)]), "V2")["verdict"] == expected


def test_v2_untagged_media_fails_where_the_tap_shows_tags() -> None:
    flows = [rtp(), flow(vlan=5), rtp(tap="outside", packets=50)]
    result = run("[checks.V2]\nvlans = [210]\n", flows=flows)
    assert covered(result, "V2") == ("fail", 150, 100)
    assert "this tap shows no VLAN tags" in verdict(result, "V2")["reason"]
    assert result.findings["sentence"].to_pylist() == [
        (
            "100 packets of voice in 1 conversation, such as from 192.0.2.10 to 203.0.113.10, travelled outside of any VLAN "
            "(on inside), from 2026-01-01 12:00:00 UTC until 2026-01-01 12:01:00 UTC; the policy allows voice only in VLAN 210."
        )
    ]


# --- I5 ---------------------------------------------------------------------------------------------------------------

GRE = {"encap": "gre", "outer_src": "192.0.2.1", "outer_dst": "198.51.100.1", "tunnel_id": 17}
ALLOW = '[checks.I5]\nallow = [ { encap = "gre", between = ["192.0.2.1", "198.51.100.1"], id = 17 } ]\n'


@pytest.mark.parametrize(
    ("tunnel", "expected"),
    [
        (GRE, "pass"),
        (GRE | {"outer_src": "198.51.100.1", "outer_dst": "192.0.2.1"}, "pass"),
        (GRE | {"encap": "gre/ipip"}, "pass"),
        (GRE | {"encap": "vxlan"}, "fail"),
        (GRE | {"encap": "vxlan/gre"}, "fail"),
        (GRE | {"tunnel_id": 18}, "fail"),
        (GRE | {"tunnel_id": None}, "fail"),
        (GRE | {"outer_dst": "198.51.100.2"}, "fail"),
        ({"protocol": 50}, "fail"),
        ({"protocol": 51}, "fail"),
        ({"app": "wireguard", "basis": "signature"}, "fail"),
        ({"app": "wireguard", "basis": "port"}, "unknown"),
        ({"protocol": 6, "app": "http", "basis": "signature"}, "pass"),
    ],
)
def test_i5_judges_kind_ends_and_id(tunnel: dict[str, Any], expected: str) -> None:
    assert verdict(run(ALLOW, flows=[flow(**tunnel)]), "I5")["verdict"] == expected


def test_i5_counts_all_packets_and_groups_by_tunnel() -> None:
    other = GRE | {"tunnel_id": 99}
    back = other | {"outer_src": other["outer_dst"], "outer_dst": other["outer_src"]}
    result = run(
        ALLOW,
        flows=[flow(**GRE), flow(**other), flow("203.0.113.10", "192.0.2.10", **back), flow(packets=700)],
    )
    assert covered(result, "I5") == ("fail", 1_000, 1_000)
    (finding,) = findings_of(result)
    assert finding["sentence"].startswith(
        "A tunnel (gre) with id 99 between 192.0.2.1 and 198.51.100.1 carried 200 packets"
    )
    assert finding["attack"] == ["T1572"]


# --- I6, A1, A2 -------------------------------------------------------------------------------------------------------

NO_SINKS = "[checks.I6]\nsinks = []\n"
BOTH = [mirror(), mirror("A2.mirror-encapsulation", packets=10_500, severity="medium", lag_ns=None)]


def test_a_mirror_is_one_finding_of_a1_even_if_a2_saw_it_too() -> None:
    result = run(None, claims=BOTH)
    (finding,) = findings_of(result)
    assert finding["detector"] == "A1.encapsulated-sibling"
    assert finding["attack"] == ["T1020.001", "T1040"]
    assert finding["collector"] == {
        "mac": None,
        "address": "198.51.100.7",
        "tunnel_id": 17,
        "encap": "gre/erspan2",
    }
    assert finding["sentence"] == (
        "192.0.2.1 copied 9,950 of 10,000 packets (99.5 %) in 12 conversations (voice) and sent the copies to "
        "198.51.100.7 in a tunnel (gre/erspan2) with id 17, from 2026-01-01 12:00:00 UTC until 2026-01-01 12:05:00 UTC "
        "(on tap outside). The copy followed 1.2 ms after the original. Such a tunnel is made for mirroring only. "
        "It carried 10,500 packets in all."
    )
    assert [verdict(result, id_)["verdict"] for id_ in ("A1", "A2", "A5")] == ["fail", "fail", "pass"]


def test_evidence_names_the_frame_in_its_file() -> None:
    frames = findings_of(run(None, claims=[mirror()]))[0]["evidence"]
    assert [(each["file"], each["frame"], each["role"]) for each in frames] == [
        ("inside.pcap", 12, "original"),
        ("outside-2.pcap", 14, "copy"),
    ]


def test_a2_says_that_no_sinks_were_listed() -> None:
    alone = BOTH[1:]
    assert "No list of authorised sinks was given." in findings_of(run(None, claims=alone))[0]["sentence"]
    assert "No list" not in findings_of(run(NO_SINKS, claims=alone))[0]["sentence"]


@pytest.mark.parametrize(
    ("sinks", "listed"),
    [
        ("['198.51.100.7']", True),
        ("'198.51.100.0/24'", True),
        ("[{ sink = '198.51.100.7', exporter = '192.0.2.1', encap = 'erspan2', id = 17 }]", True),
        ("[{ sink = '198.51.100.7', encap = 'gre/erspan2' }]", True),
        ("[]", False),
        ("['198.51.100.8']", False),
        ("[{ sink = '198.51.100.7', exporter = '192.0.2.2' }]", False),
        ("[{ sink = '198.51.100.7', encap = 'erspan3' }]", False),
        ("[{ sink = '198.51.100.7', id = 18 }]", False),
    ],
)
def test_i6_authorises_listed_sessions(sinks: str, listed: bool) -> None:
    result = run(f"[checks.I6]\nsinks = {sinks}\n", claims=BOTH)
    words = [verdict(result, id_)["verdict"] for id_ in ("A1", "A2", "I6")]
    assert words == (["pass"] * 3 if listed else ["fail"] * 3)
    assert result.findings.num_rows == (0 if listed else 2)
    assert verdict(result, "I6")["reason"] == ("1 authorised mirror session" if listed else None)


def test_listed_mirrors_are_no_tunnels_and_no_voice_elsewhere() -> None:
    session = {"encap": "gre/erspan2", "outer_src": "192.0.2.1", "outer_dst": "198.51.100.7", "tunnel_id": 17}
    flows = [rtp(vlan=210), rtp(**session)]
    policy = "[checks.I6]\nsinks = {}\n[checks.I5]\nallow = []\n[checks.V2]\nvlans = [210]\n"
    listed = run(policy.format("['198.51.100.7']"), claims=BOTH, flows=flows)
    assert [verdict(listed, id_)["verdict"] for id_ in ("I5", "V2")] == ["pass", "pass"]
    unlisted = run(policy.format("[]"), claims=BOTH, flows=flows)
    assert [verdict(unlisted, id_)["verdict"] for id_ in ("I5", "V2")] == ["fail", "fail"]


# --- Detectors, answers, ids ------------------------------------------------------------------------------------------


def test_answers_follow_the_kinds_of_findings() -> None:
    def words(result: Result) -> list[str]:
        return [answer.answer for answer in result.answers[:2]]

    assert words(run(None)) == ["no sign", "no sign"]
    assert words(run(None, claims=[mirror()])) == ["yes", "no sign"]
    readdressed = claim(
        "A5.readdressed", kind="diversion", rewritten_from="203.0.113.10", rewritten_to="198.51.100.9"
    )
    assert words(run(None, claims=[readdressed])) == ["no sign", "yes"]
    assert words(run(None, scopes=[scope("A1", 100, 1), scope("A2"), scope("A5")])) == [
        "cannot tell",
        "no sign",
    ]
    forked = [claim("A5.forked")]
    assert words(run(None, claims=forked, scopes=[scope("A1"), scope("A2"), scope("A5", 100, 1)])) == [
        "yes",
        "cannot tell",
    ]
    assert words(run(None, scopes=[])) == ["cannot tell", "cannot tell"]
    assert words(judge(examination(), None, ["b.pcap: is empty"])) == ["cannot tell", "cannot tell"]


def test_claims_that_only_name_are_no_findings() -> None:
    result = run(
        None,
        claims=[claim("A5.span-both", report=False, kind="duplicate"), claim("A5.span-both", report=False)],
    )
    assert result.findings.num_rows == 0
    assert result.exit_code == 0
    assert result.explained() == [{"detector": "A5.span-both", "claims": 2, "packets": 19_900}]


@pytest.mark.parametrize(
    ("detector", "other", "words"),
    [
        (
            "A5.forked",
            {"exporter_mac": "02:00:00:00:00:01", "collector_mac": "02:00:00:00:00:ff"},
            (
                "The device with MAC 02:00:00:00:00:01 sent 9,950 of 10,000 packets (99.5 %) in 12 conversations (voice) "
                "twice: as usual, and once more to the device with MAC 02:00:00:00:00:ff"
            ),
        ),
        ("A5.late", {"lag_ns": 42 * SECOND}, "42 s after the first: later than forwarding takes."),
        (
            "A5.readdressed",
            {"rewritten_from": "203.0.113.10", "rewritten_to": "198.51.100.9"},
            "with the address 203.0.113.10 were seen again with 198.51.100.9 in its place",
        ),
        ("A5.loop", {}, "a routing loop sends them in circles"),
        ("A5.new", {"collector": "198.51.100.9"}, "A5.new saw 9,950 of 10,000 packets (99.5 %)"),
        (
            "A5.forked",
            {"packets": 1, "in_scope": 0, "flows": 1, "last_ts": NOON},
            "sent 1 packet in 1 conversation",
        ),
        ("A5.forked", {"tap": None, "copy_tap": None, "traffic": [], "lag_ns": None}, "an unknown device"),
    ],
)
def test_sentences(detector: str, other: dict[str, Any], words: str) -> None:
    assert words in findings_of(run(None, claims=[claim(detector, **other)]))[0]["sentence"]


def test_the_same_finding_has_the_same_id_in_every_run() -> None:
    def ids(*claims: dict[str, Any]) -> list[str]:
        return sorted(run(None, claims=list(claims)).findings["id"].to_pylist())

    (first,) = ids(mirror())
    assert ids(mirror(packets=3, last_ts=NOON + SECOND, evidence=[])) == [first]
    assert ids(mirror(tunnel_id=18)) != [first]
    assert ids(mirror(), mirror(packets=1)) == [first, f"{first}-2"]


def test_most_severe_first() -> None:
    claims = [
        mirror(tunnel_id=1, severity="low"),
        mirror(tunnel_id=2, severity="critical"),
        mirror(tunnel_id=3),
    ]
    assert run(None, claims=claims).findings["severity"].to_pylist() == ["critical", "high", "low"]
    result = run("[checks.A1]\nseverity = 'low'\n", claims=claims)
    assert set(result.findings["severity"].to_pylist()) == {"low"}


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_of_shares_are_those_of_the_literature(
    part: int, whole: int, low: float, high: float
) -> None:
    assert share_interval(part, whole) == pytest.approx((low, high), abs=0.0001)


@pytest.mark.parametrize(("part", "whole"), [(0, 0), (2, 1)])
def test_there_is_no_share_of_nothing(part: int, whole: int) -> None:
    assert share_interval(part, whole) == (None, None)


@pytest.mark.parametrize(("listed", "findings"), [("203.0.113.0/24", 0), ("192.0.2.0/24", 1)])
def test_addresses_that_stand_for_others_may_be_rewritten(listed: str, findings: int) -> None:
    rewritten = claim(
        "A5.readdressed", kind="diversion", rewritten_from="203.0.113.10", rewritten_to="198.51.100.9"
    )
    result = run(f'[checks.A5]\nvirtual_servers = ["{listed}"]\n', claims=[rewritten])
    assert result.findings.num_rows == findings
    assert verdict(result, "A5")["verdict"] == ("fail" if findings else "pass")


@pytest.mark.parametrize(("severity", "answer"), [("medium", "yes"), ("low", "no sign")])
def test_what_is_odd_only_proves_nothing(severity: str, answer: str) -> None:
    result = run(None, claims=[claim("A5.late", severity=severity)])
    copied = result.answers[0]
    assert (copied.question, copied.answer) == ("Was traffic copied?", answer)
    assert ("1 finding of low severity" in copied.because) == (severity == "low")


def test_media_for_a_group_is_no_voice() -> None:
    policy = "[checks.V2]\nvlans = [210]\n"
    result = run(policy, flows=[rtp(vlan=100, dst="239.1.1.1"), rtp(vlan=210, dst="203.0.113.10")])
    assert covered(result, "V2") == ("pass", 100, 100)


@pytest.mark.parametrize(
    ("packets", "policy", "expected"),
    [
        (2, None, "pass"),
        (3, None, "unknown"),
        (3, '[checks.A5]\nbridged_taps = ["outside"]\n', "pass"),
        (3, '[checks.A5]\nbridged_taps = ["inside"]\n', "unknown"),
    ],
)
def test_a5_doubts_copies_that_a_bridge_would_explain(
    packets: int, policy: str | None, expected: str
) -> None:
    result = run(policy, claims=[claim("A5.vlan-copy", report=False, packets=packets)])
    assert verdict(result, "A5")["verdict"] == expected
