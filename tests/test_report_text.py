"""The text report: answers first, nothing hostile in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import claim, examination, flow, mirror, scope, tap

import tapsight
from tapsight._about import PACKS
from tapsight._check import judge
from tapsight._text import duration, iso_time, listing, percent, safe, safe_cell
from tapsight.checks._needs import Need
from tapsight.checks.v1 import V1
from tapsight.detectors import DETECTORS
from tapsight.lab import Implant, Scenario, generate
from tapsight.policy import Policy
from tapsight.report_text import SCREEN, _runs, display_filter, render

EVIL = "\x1b[31m[bold]x[/bold]\x07\u202eexe.\x9b2J\r\nroot\u2028\ud800"


def test_answers_come_first_then_findings_verdicts_captures() -> None:
    page = render(judge(examination(claims=[mirror()]), Policy.loads("")), width=100, details=True)
    lines = page.splitlines()
    assert lines[0] == "Was traffic copied?         YES: 1 finding, the largest of 9,950 packets"
    assert lines[1].startswith(
        "Was traffic diverted?       no sign: no diversions among the packets that could be judged, 100 %"
    )
    unsaid = "B19, C1, C2, C3, C4, C5, V1, V2, I1, I5, I6: the policy does not say what they need (tapsight explain ID)"
    part = page[page.index("What could not be judged") : page.index("Findings (1)")]
    assert f"- {unsaid}" in " ".join(part.split())
    order = [
        page.index(word) for word in ("Was traffic", "Findings (1)", "198.51.100.7", "Verdicts", "Captures")
    ]
    assert order == sorted(order)
    assert "frame.number in {14}" in page
    assert "outside-2.pcap: copy 14" in page
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in page


def test_colour_only_when_asked() -> None:
    assert "\x1b[1;31mYES\x1b[0m" in render(judge(examination(claims=[mirror()]), None), colour=True)


def test_hostile_strings_are_made_visible() -> None:
    claims = [
        mirror(tap=EVIL[:-1], copy_tap=EVIL[:-1], evidence=[{"tap": EVIL[:-1], "frame": 1, "role": "copy"}])
    ]
    rows = {"claims": claims, "taps": [tap(EVIL[:-1], warnings=[EVIL[:-1]])], "flows": [flow(tap=EVIL[:-1])]}
    result = judge(examination(**rows), None, [EVIL])
    for text in (
        render(result),
        render(result, details=True),
        repr(result),
        result.to_json(),
        result.to_ndjson(),
    ):
        assert not set(text) & set("\x1b\x07\x9b\u202e\u2028\r\ud800")
    assert "\\x1b[31m[bold]x[/bold]\\x07\\u202eexe." in render(result, width=10_000)
    assert "<b" not in re.sub("<b>(Was|Did|What) ", "", result._repr_html_())


def test_quality_of_captures_is_told() -> None:
    cut = tap(dropped=1_234, issues=5, snapped=6, warnings=["cut off in frame 1000"])
    page = render(
        judge(examination(taps=[cut], claims=[claim("A5.span-both", report=False)]), None),
        width=200,
        details=True,
    )
    notes = "1,234 dropped; 5 with malformed or cut headers; 6 captured in part; cut off in frame 1000"
    assert f"  - inside: 1,000 frames in inside.pcap; {notes}" in page
    assert "9,950 packets named, not reported: A5.span-both (tapsight explain A5)" in page


def test_it_is_one_screen(tmp_path: Path) -> None:
    """40 lines at 100 columns, also with all packs and mirrored calls at two taps that lose packets."""
    files = generate(Scenario(implants=(Implant("mirror", only="voice"),)), tmp_path)
    policy = Path(files.policy).read_text()
    policy = f"packs = {json.dumps(list(PACKS))}\n{policy}"
    sources = {"inside": str(files.inside), "outside": str(files.outside)}
    result = tapsight.check(sources, policy=Policy.loads(policy, folder=tmp_path))
    lines = render(result, width=100).splitlines()
    assert len(lines) <= SCREEN == 40
    assert max(map(len, lines)) <= 100 or any("frame.number" in line for line in lines)
    # Every check is counted, by itself or between the first and the last of some.
    assert f"fail {result.verdicts['verdict'].to_pylist().count('fail')} " in "\n".join(lines)
    assert len(render(result, width=100, details=True).splitlines()) > 100


def test_ids_that_follow_one_another_are_told_by_the_first_and_the_last() -> None:
    names = [(id_, "") for id_ in ("A1", "M1", "M2", "M3", "V4", "V5", "own", "V6")]
    assert _runs(names) == ["A1", "M1-M3", "V4", "V5", "own", "V6"]
    assert _runs([("M1", ""), ("M2", " 90 %"), ("M3", ""), ("M4", ""), ("M5", "")]) == [
        "M1",
        "M2 90 %",
        "M3-M5",
    ]


def test_copies_of_packets_that_a_tap_missed_are_said_to_be_so() -> None:
    way = {"from_tap": "inside", "to_tap": "outside", "traffic": "voice-media", "clock_steps": []}
    fates = dict.fromkeys(("lost", "inserted", "modified", "readdressed", "diverted", "remarked", "flows"), 0)

    def text(passed: int, copied: int, missed: int) -> str:
        row = {**way, **fates, "judged": passed, "passed": passed, "copied": copied, "capture_loss": missed}
        return " ".join(render(judge(examination(compared=[row]), None)).split())

    assert (
        "100 % of 100 packets passed; 102 copied, also of packets that a tap missed; 6 missed by a tap"
        in text(100, 102, 6)
    )
    assert "100 % of 100 packets passed; 100 copied; 6 missed by a tap" in text(100, 100, 6)


def test_many_findings_are_counted() -> None:
    page = render(
        judge(examination(claims=[mirror(tunnel_id=number) for number in range(25)]), None), details=True
    )
    assert "Findings (25)" in page
    assert "and 5 more" in page


@given(st.text(max_size=50))
def test_safe_text_is_printable(text: str) -> None:
    shown = safe(text)
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in shown)
    assert safe(shown) == shown
    assert safe_cell(text)[:1] not in {"=", "+", "-", "@"} or re.fullmatch(r"\+[0-9]+", text)


def test_international_numbers_are_no_formulas() -> None:
    assert safe_cell("+390612345678") == "+390612345678"
    for text in ("+1+1", "+", "+39~5d41402a", "+3\n", "+\u0663", "-39", "=39", "+39 06", "+A1"):
        assert safe_cell(text)[0] == "'", text


def test_values_as_text() -> None:
    assert [percent(*each) for each in ((0, 5), (5, 5), (1, 100_000), (99_999, 100_000), (1, 3), (0, 0))] == [
        "0 %", "100 %", "0.1 %", "99.9 %", "33.3 %", "0 %",
    ]  # fmt: skip
    assert [duration(each) for each in (0, 999, 1_200_000, 42_000_000_000, 3_600_000_000_000)] == [
        "0 ns", "999 ns", "1.2 ms", "42 s", "3,600 s",
    ]  # fmt: skip
    assert [duration(each) for each in (999_400_000, 999_600_000, 999_900, -2_000_000, -5_000_000_000_000)] == [
        "999 ms", "1 s", "1 ms", "-2 ms", "-5,000 s",
    ]  # fmt: skip
    assert iso_time(1) == "1970-01-01T00:00:00.000000001Z"
    assert iso_time(-1) == "1969-12-31T23:59:59.999999999Z"
    assert [listing(list(each)) for each in ("", "a", "ab", "abc", "abcd")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 1 more",
    ]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_understands_the_display_filter(tmp_path: Path) -> None:
    # A pcap file (libpcap's savefile format) of three empty-bodied Ethernet frames.
    header = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000")
    frame = bytes.fromhex("00000000 00000000 0e000000 0e000000") + b"\x02" * 12 + b"\x88\xb5"
    path = tmp_path / "three.pcap"
    path.write_bytes(header + 3 * frame)
    command = ["tshark", "-r", path, "-Y", display_filter([3, 1]), "-T", "fields", "-e", "frame.number"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["1", "3"]


def test_what_could_not_be_judged_is_grouped_by_reason() -> None:
    few, short = "prefixes with too few hosts or packets", "packets too short to be told from others"
    scopes = {
        "A1": (1000, 900, short),
        "A5": (1000, 900, short),
        "A2": (1000, 700, "headers that were cut short"),
        "A9": (10, 9, "headers that were cut short"),
        "A6": (1000, 990, "samples that were cut off"),
        "B9": (0, 0, None),
        "B1": (0, 0, "no packet was seen on two taps"),
        "B20": (0, 0, None),
        "B10": (50, 0, few),
        "B11": (50, 0, few),
        "B17": (100, 80, "headers that were cut off"),
    }
    rows = [scope(id_, *scopes.get(id_, (10, 10))) for id_ in DETECTORS]
    result = judge(examination(scopes=rows), Policy.loads(""))
    page = render(result, width=200, details=True)
    lines = page[: page.index("Findings")].splitlines()
    told = [line for line in lines[lines.index("What could not be judged") + 1 :] if line]
    assert f"  - A1, A5: 100 packets of 1,000 each; {short}" in told
    assert "  - A2 (300 packets of 1,000), A9 (1 packet of 10): headers that were cut short" in told
    # What the engine says of nothing in scope says more than that there was nothing.
    assert "  - B1: no packet was seen on two taps" in told
    assert f"  - B10, B11: nothing in scope could be judged; {few}" in told
    assert "  - B17: 20 packets of 100; headers that were cut off" in told
    assert "  - A6: less than 5 % of what there was (--format json says why)" in told
    (unseen,) = (line for line in told if line.endswith("nothing that they look at was seen"))
    assert {"B9", "B20"} <= {name.strip(" -:") for name in unseen.partition(":")[0].split(",")}
    # However many there are, they take a line a reason; JSON has each.
    assert len(told) == len({line.partition(": ")[2] for line in told})
    data = {row["check"]: row["reason"] for row in result.to_dict()["verdicts"]}
    assert "samples that were cut off" in data["A6"]
    assert data["V1"] == "needs set `pairs` in [checks.V1]"


def test_what_is_missing_goes_by_what_is_known_of_it_and_not_by_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = Policy.loads("[checks.C2]\nenabled = false\n")
    unsaid = (Need("nobody's table", ("who may talk to whom",)),)
    monkeypatch.setattr(V1, "missing", classmethod(lambda *_: unsaid))
    result = judge(
        examination(scopes=[scope("A1", 10, 0, "no luck"), scope("B1", 0, 0, "needs set taps")]), policy
    )
    assert {result.lacks[id_] for id_ in ("V1", "C1", "I6")} == {"policy"}
    assert {result.lacks[id_] for id_ in ("A5", "B13", "B20")} == {"traffic"}
    assert not {"A1", "B1", "C2"} & set(result.lacks)
    page = render(result, width=500, details=True)
    unsaid, unseen = (
        next(line for line in page.splitlines() if words in line).strip(" -").partition(":")[0].split(", ")
        for words in ("the policy does not say what they need", "nothing that they look at was seen")
    )
    assert set(unsaid) | set(unseen) == set(result.lacks) and not set(unsaid) & set(unseen)
    assert "V1" in unsaid and "A5" in unseen
    for line in (
        "A1: nothing in scope could be judged; no luck",
        "B1: needs set taps",
        "C2: switched off by the policy",
    ):
        assert f"  - {line}" in page.splitlines()
    # The columns stay as they are.
    assert "lack" not in result.verdicts.column_names
