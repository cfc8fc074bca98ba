"""The questions: did voice travel as agreed, and what could the captures not show? One answer for text, JSON, notebooks and pages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from scapy.all import IP, TCP, Ether, wrpcap
from tables import examination, flow, mirror, scope, tap, verdict, why

import tapsight
from tapsight._answers import settling
from tapsight._check import judge
from tapsight.checks import CHECKS
from tapsight.detectors import DETECTORS
from tapsight.lab import Implant, Scenario, generate, mobile
from tapsight.policy import Policy
from tapsight.report_text import render

AGREED = '[checks.V1]\npairs = [["192.0.2.10", "203.0.113.10"]]\n[checks.V2]\nvlans = [210]\n'


def voice(**other: Any) -> list[dict[str, Any]]:
    """Signalling and media between two ends, in VLAN 210."""
    ends = {"src": "192.0.2.10", "dst": "203.0.113.10", "vlan": 210, **other}
    return [
        flow(traffic="voice-signalling", app="sip", flow_id=1, packets=10, **ends),
        flow(traffic="voice-media", app="rtp", flow_id=2, packets=1000, **ends),
    ]


def asked(policy: str | None, flows: list[dict[str, Any]], *problems: str) -> tuple[str, str]:
    result = judge(examination(flows=flows), None if policy is None else Policy.loads(policy), list(problems))
    answer = result.answers[2]
    assert (answer.about, answer.question) == ("agreed", "Did voice travel as agreed?")
    return answer.answer, answer.because


def test_yes_needs_both_rules_to_pass() -> None:
    word, because = asked(AGREED, voice())
    assert word == "yes"
    assert "100 % of those in scope" in because
    signalling, media = voice()
    assert asked(AGREED, [signalling]) == ("cannot tell", "V2: no voice media was seen")
    assert asked(AGREED, [media]) == ("cannot tell", "V1: no voice signalling was seen")


def test_no_says_which_rule() -> None:
    assert asked(AGREED, voice(dst="203.0.113.66")) == (
        "no",
        "voice signalling without an agreement (V1: 1 finding)",
    )
    assert asked(AGREED, voice(vlan=999)) == ("no", "voice where it does not belong (V2: 1 finding)")
    assert asked(AGREED, voice(dst="203.0.113.66", vlan=999)) == (
        "no",
        "voice signalling without an agreement (V1: 1 finding); voice where it does not belong (V2: 1 finding)",
    )
    # What failed is not made better by what could not be read.
    assert asked(AGREED, voice(vlan=999), "b.pcap: is empty")[0] == "no"


def test_further_checks_of_voice_are_asked_where_there_is_something() -> None:
    """V4, signalling with peers that agreed on it is encrypted: of two who did, and of one who is not there."""
    assert asked(AGREED + '[checks.V4]\nencrypted = ["192.0.2.77"]\n', voice())[0] == "yes"
    word, because = asked(AGREED + '[checks.V4]\nencrypted = ["192.0.2.10"]\n', voice(basis="signature"))
    assert (word, because) == ("no", "voice signalling in the clear (V4: 1 finding)")


def test_what_is_no_voice_does_not_make_it_no(tmp_path: Path) -> None:
    """A peer that agreed to encrypt signals in the clear for mobile telephones; and SSH has the code point of voice (EF, 46)."""
    policy = AGREED + '[checks.V4]\nencrypted = ["192.0.2.10"]\n'
    diameter = flow(traffic="mobile-signalling", app="diameter", basis="signature", flow_id=3)
    sealed = [row | {"app": "sips"} if row["app"] == "sip" else row for row in voice(basis="signature")]
    assert asked(policy, [*sealed, diameter])[0] == "yes"
    assert asked(policy, [diameter]) == ("cannot tell", "no voice was seen")
    assert asked(policy, [*voice(basis="signature"), diameter]) == (
        "no",
        "voice signalling in the clear (V4: 1 finding)",
    )

    path = tmp_path / "ssh.pcap"
    ends = IP(src="192.0.2.10", dst="203.0.113.10", tos=46 << 2) / TCP(sport=40000, dport=22, flags="PA")
    wrpcap(
        str(path),
        Ether(src="00:00:5e:00:53:01", dst="00:00:5e:00:53:02") / ends / b"SSH-2.0-OpenSSH_10.0\r\n",
    )
    result = tapsight.check({"here": str(path)}, policy=Policy.loads(f"{AGREED}[checks.V7]\nvoice = [46]\n"))
    assert verdict(result, "V7")["verdict"] == "fail"
    answer = result.answers[2]
    assert (answer.answer, answer.because) == ("cannot tell", "no voice was seen")


def test_calls_by_sigtran_are_voice(tmp_path: Path) -> None:
    """An initial address message (ITU-T Q.763, table 32) over M3UA, whose service indicator is 5 (ISUP); and the same bytes as SCCP (3)."""
    message = bytes.fromhex("0100 01 00 2000 0a 00 02 09 07 04 10 23 22 00 00 10 0a 05 84 13 23 74 00 00")
    path = tmp_path / "m3ua.pcap"
    for service, expected in (
        (5, ("no", "voice signalling in the clear (V4: 1 finding)")),
        (3, ("cannot tell", "no voice was seen")),
    ):
        data = mobile.m3ua(1, 2, message, service)
        sent = IP(mobile.sctp("192.0.2.10", "203.0.113.10", mobile.M3UA, 1, data).encode())
        wrpcap(str(path), Ether(src="00:00:5e:00:53:01", dst="00:00:5e:00:53:02") / sent)
        policy = Policy.loads(AGREED + '[checks.V4]\nencrypted = ["192.0.2.10"]\n')
        result = tapsight.check({"here": str(path)}, policy=policy)
        assert verdict(result, "V4")["verdict"] == "fail"
        assert (result.answers[2].answer, result.answers[2].because) == expected


def test_without_a_policy_it_says_what_it_takes() -> None:
    for policy in (None, "", "[checks.V1]\n"):
        word, because = asked(policy, voice())
        assert word == "cannot tell"
        assert (
            "`pairs` in [checks.V1] and `vlans` or `mpls` or `tunnel_ids` or `prefixes` in [checks.V2]"
            in because
        )
    word, because = asked(AGREED.partition("[checks.V2]")[0], voice())
    assert word == "cannot tell"
    assert "pairs" not in because and "`vlans`" in because


def test_no_voice_is_said_to_be_none() -> None:
    assert asked(AGREED, [flow(traffic="internet", app="http")]) == ("cannot tell", "no voice was seen")
    assert asked(None, [])[1].startswith("no voice was seen; nothing says what was agreed")


def test_of_frames_that_are_not_read_nobody_says_that_there_is_no_voice() -> None:
    mtp = tap(link_type="mtp2 (140)", frames=10)
    policy = AGREED + '[checks.V4]\nencrypted = ["192.0.2.0/24"]\n'
    result = judge(examination(flows=[], taps=[mtp], scopes=[]), Policy.loads(policy))
    unread = "10 of 10 frames are of a link type that is not read (mtp2 (140))"
    assert result.answers[-1].because == f"{unread}: whether there is voice is not known"
    for id_ in ("V1", "V2", "V4", "B20"):
        assert (verdict(result, id_)["verdict"], why(result, id_)) == ("unknown", unread)
    assert "captures in a link type that is read" in result.not_shown.because
    # Those that are read say what they do not have, and no more.
    both = judge(
        examination(flows=[flow(traffic="internet")], taps=[mtp, tap(frames=90)]), Policy.loads(policy)
    )
    unread = "10 of 100 frames are of a link type that is not read (mtp2 (140))"
    assert both.answers[-1].because == f"no voice was seen in what is read, but {unread}"
    assert why(both, "V1") == f"no voice signalling was seen, but {unread}"


def test_what_could_hardly_be_judged_is_no_yes() -> None:
    # A tap without any VLAN tag cannot tell in which VLAN voice is.
    word, because = asked(AGREED, voice(vlan=None))
    assert word == "cannot tell"
    assert because == "V2: nothing in scope could be judged"
    off = AGREED + "enabled = false\n"
    assert asked(off, voice()) == ("cannot tell", "V2: switched off by the policy")
    assert asked(AGREED, voice(), "b.pcap: is empty") == ("cannot tell", "1 capture could not be read")


@pytest.mark.parametrize(
    ("implants", "word", "words"),
    [
        ((), "yes", "12 of 12 calls could be told in full"),
        (("mirror",), "no", "12 of 12 calls did not: 6 with voice where it does not belong, 12 copied"),
        (("media-redirect",), "no", "6 with voice where nobody signalled it"),
    ],
)
def test_calls_of_the_lab(implants: tuple[str, ...], word: str, words: str, tmp_path: Path) -> None:
    files = generate(
        Scenario(
            implants=tuple(
                Implant(each, only="voice") if each == "mirror" else Implant(each) for each in implants
            )
        ),
        tmp_path,
    )
    taps = {"inside": str(files.inside), "outside": str(files.outside)}
    result = tapsight.check(taps, policy=files.policy)
    assert result.answers[2].answer == word
    assert words in result.answers[2].because
    bare = tapsight.check(taps)
    assert bare.answers[2].answer != "yes"
    for each in (result, bare):
        lines = render(each).splitlines()
        assert 24 <= len(lines) <= 40
        assert max(map(len, lines)) <= 100


def test_one_answer_everywhere(tmp_path: Path) -> None:
    result = judge(examination(claims=[mirror()], flows=voice(vlan=999)), Policy.loads(AGREED))
    lines = [json.loads(line) for line in result.to_ndjson().splitlines()]
    answers = [{key: row[key] for key in row if key != "type"} for row in lines if row["type"] == "answer"]
    assert answers == result.to_dict()["answers"] == json.loads(result.to_json())["answers"]
    assert [row["about"] for row in answers] == ["copied", "diverted", "agreed"]
    result.report(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text("utf-8")
    shown = re.findall(r'<li class="answer (\w*)"><h2>(.*?)</h2><p class="said">(.*?)</p><p>(.*?)</p>', html)
    assert [row[2] for row in shown] == [row["answer"] for row in answers] + [result.not_shown.answer]
    assert [row[0] for row in shown] == ["bad", "good", "bad", ""]
    text, notebook = " ".join(render(result).split()), result._repr_html_()
    for row in answers:
        assert f"{row['question']} {row['answer']} ({row['because']})" in repr(result)
        assert row["because"] in text
        assert f"<b>{row['question']}</b> {row['answer']}: " in notebook
    for other in (text, repr(result), notebook):
        assert "What could these captures not show?" in other
    assert "NO: voice where it does not belong (V2: 1 finding)" in text
    assert "\x1b[1;31mNO\x1b[0m" in render(result, colour=True)


def test_yes_is_good_or_bad_by_what_was_asked() -> None:
    result = judge(examination(claims=[mirror()], flows=voice()), Policy.loads(AGREED))
    assert [each.tone for each in result.answers] == ["bad", "good", "good"]
    text = render(result, colour=True)
    assert "\x1b[1;31mYES\x1b[0m" in text
    assert "\x1b[1;32myes\x1b[0m" in text


def test_what_could_not_be_shown_is_counted_by_what_it_takes() -> None:
    scopes = {
        "B1": (0, 0, "there is one tap only, and it takes two to compare"),
        "B9": (0, 0, None),
        "A1": (10, 1, "short"),
    }
    rows = [scope(id_, *scopes.get(id_, (10, 10))) for id_ in DETECTORS]
    policy = Policy.loads("[checks.I6]\nsinks = []\nenabled = false\n[checks.V1]\npairs = []\n")
    result = judge(examination(scopes=rows), policy)
    unknown = {row["check"] for row in result.verdicts.to_pylist() if row["verdict"] == "unknown"}
    by = dict(result.not_shown.by)
    # Packs that nobody asked for are no questions that stay open.
    always = len(DETECTORS) + sum(each.pack is None for each in CHECKS.values())
    assert sorted(id_ for ids in by.values() for id_ in ids) == sorted(unknown)
    assert by["a second tap"] == ("B1",)
    assert by["whole packets"] == ("A1",)
    assert "B9" in by["traffic that these captures do not have"]
    assert {"I6", "V2"} <= set(by["a policy that says more"])
    assert "V1" not in by["a policy that says more"]
    assert result.not_shown.answer == f"{len(unknown)} of {always} checks"
    assert result.to_dict()["not_shown"] == [
        {"settle": what, "checks": list(ids)} for what, ids in result.not_shown.by
    ]
    # Most first; without a policy, what needs one counts as well.
    assert [len(ids) for _, ids in result.not_shown.by] == sorted(
        (len(ids) for ids in by.values()), reverse=True
    )
    bare = judge(examination(scopes=rows), None).not_shown
    assert {"V1", "V2", "I6"} <= set(dict(bare.by)["a policy that says more"])
    assert bare.checks == always


def test_every_check_says_in_short_what_would_settle_it() -> None:
    sentences, briefly = settling()
    assert {*CHECKS, *DETECTORS} == set(briefly) == set(sentences)
    assert all(len(words) < 40 for words in briefly.values())
