"""The page: in a real browser, with hostile text, and in numbers that the tables have."""

from __future__ import annotations

import dataclasses
import hashlib
import html.parser
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap
from tables import claim, examination, flow, mirror, tap
from test_mobile_peers import LOCATE, OWN, PEER, POLICY, map_
from typer.testing import CliRunner

import tapsight
from tapsight._check import judge
from tapsight.cli import app
from tapsight.lab import Implant, Scenario, generate
from tapsight.plot import Plot, call_pairs, country_pairs, encryption, sources
from tapsight.policy import Policy
from tapsight.report._pictures import copy_svg, way_svg

EVIL = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> tapsight.Result:
    folder = tmp_path_factory.mktemp("mirrored")
    files = generate(Scenario(implants=(Implant("mirror", only="voice"),)), folder)
    return tapsight.check({"inside": str(files.inside), "outside": str(files.outside)}, policy=files.policy)


@pytest.fixture(scope="module")
def page(mirrored: tapsight.Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    mirrored.evidence(folder / "evidence")
    mirrored.report(folder / "report.html", evidence=folder / "evidence", figures=folder / "figures")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


class Texts(html.parser.HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_browser_shows_it_without_errors_or_requests(page: Path, browser: Any) -> None:
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    errors: list[str] = []
    requests: list[str] = []
    tab.on("console", lambda message: errors.append(message.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(page.as_uri())
    assert requests == [page.as_uri()]
    assert tab.locator(".answer .said").all_inner_texts()[:2] == ["yes", "no sign"]
    rows = tab.locator("#verdict-table tbody tr")
    every = rows.count()
    tab.get_by_role("button", name=re.compile("pass")).click()
    assert tab.locator("#verdict-table tbody tr:visible").count() < every
    assert "pass" not in tab.locator("#verdict-table tbody tr:visible .verdict").all_inner_texts()
    # By keyboard: back again, and then a search.
    tab.get_by_role("button", name=re.compile("pass")).focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#verdict-table tbody tr:visible").count() == every
    tab.get_by_label("Search").fill("mirror sessions")
    assert tab.locator("#verdict-table tbody tr:visible th").all_inner_texts() == ["I6"]
    assert tab.locator("#shown").inner_text() == f"1 of {every}"
    assert errors == []
    # What a script of somebody else would need, the page forbids itself.
    script = "const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.append(s);"
    assert tab.evaluate(f"() => {{ {script} return window.hit ?? null }}") is None
    assert tab.pdf()[:5] == b"%PDF-"
    tab.close()


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_it_fits_a_telephone(page: Path, browser: Any, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 640})
    tab.goto(page.as_uri())
    assert tab.evaluate("() => document.scrollingElement.scrollWidth") <= width
    tab.close()


def test_numbers_are_those_of_the_tables(page: Path, mirrored: tapsight.Result) -> None:
    texts = Texts(page.read_text("utf-8"))
    for id_, sentence in zip(
        mirrored.findings["id"].to_pylist(), mirrored.findings["sentence"].to_pylist(), strict=True
    ):
        assert id_ in texts.text
        assert sentence in texts.text
    for row in mirrored.verdicts.to_pylist():
        assert row["title"] in texts.text
    # Of the first finding: how many, of how many, when.
    first = pl.DataFrame(mirrored.findings).row(0, named=True)
    assert f"{first['packets']:,}" in texts.text
    assert f"{100 * first['packets'] / first['judged']:.1f} % (95 %: " in texts.text
    assert (
        "17,436 frames of 2 taps (inside and outside), 2026-01-01 00:00:00 UTC to 2026-01-01 00:00:19 UTC."
        in texts.text
    )
    links = [value for name, value in texts.attributes if name == "href" and value and value[0] != "#"]
    assert links
    assert all((page.parent / link).is_file() for link in links if link)
    figures = sorted(path.name.split("-")[0] for path in (page.parent / "figures").glob("*.png"))
    assert {
        "verdicts.png",
        "calls.png",
        "traffic.png",
        "encryption.png",
        "countries.png",
        "call",
        "path",
        "timeline",
    } <= set(figures)


def test_pictures_are_the_same_each_time(mirrored: tapsight.Result) -> None:
    first, second = Plot(mirrored), Plot(mirrored)
    for name in ("prefixes", "traffic", "encryption", "countries", "call_countries", "calls", "verdicts"):
        specs = [json.dumps(getattr(plot, name)().to_dict()["datasets"]) for plot in (first, second)]
        assert specs[0] == specs[1], name


def test_the_timeline_counts_every_packet_once(mirrored: tapsight.Result) -> None:
    """All packets of both taps; those sent there are the copies that the lab has made, as often as a tap saw them."""
    moments = mirrored.plot.moments
    head = next(iter(moments.heads))
    counts = moments.counts.filter(pl.col("finding") == head).group_by("sent").agg(pl.col("packets").sum())
    sent = dict(counts.iter_rows())
    frames = sum(mirrored.taps["frames"].to_pylist())
    assert mirrored.run is not None
    truth = Path(mirrored.run.captures[0].name).parent / "truth.ndjson"
    copies = [row for row in map(json.loads, truth.read_text().splitlines()) if row["implant"] is not None]
    assert sent == {"there": len(copies), "elsewhere": frames - len(copies)}
    traffic = moments.traffic.filter(pl.col("finding") == head)
    assert traffic["packets"].sum() == len(copies)
    # The lab makes copies 15 microseconds after the original.
    assert moments.lags["lag_ns"].unique().to_list() == [15_000]
    assert not moments.unread


def test_what_is_no_copy_is_not_called_one(tmp_path: Path) -> None:
    """An unlisted tunnel: its packets went nowhere else. And media without a tunnel: those that go to the address."""
    files = generate(Scenario(implants=(Implant("redirect"),)), tmp_path)
    result = tapsight.check({"inside": str(files.inside), "outside": str(files.outside)}, policy=files.policy)
    assert "copy" not in result.findings["kind"].to_pylist()
    result.report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "and a copy to" not in text
    assert not result.plot.moments.copies
    moved = generate(Scenario(implants=(Implant("media-redirect"),)), tmp_path / "moved")
    result = tapsight.check({"inside": str(moved.inside), "outside": str(moved.outside)}, policy=moved.policy)
    rows = pl.DataFrame(result.findings).filter(pl.col("check").str.starts_with("B14"))
    there = result.plot.moments.counts.filter(pl.col("sent") == "there")
    heads = result.plot.moments.heads
    for id_, packets in rows.select("id", "packets").iter_rows():
        assert there.filter(pl.col("finding") == heads[id_])["packets"].sum() == packets
    assert rows.height


def test_a_finding_of_one_packet_is_a_moment(tmp_path: Path) -> None:
    """Two hosts that say much to each other, of which one message is the finding: only that is drawn as sent there, and what was said is named after it."""
    ask = map_(LOCATE, at=20.0)
    others = []
    for at in range(40):
        frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=PEER, dst=OWN)
        frame /= UDP(sport=4000, dport=80) / Raw(bytes(60))
        frame.time = float(ask.time) - 20 + at
        others.append(frame)
    wrpcap(str(tmp_path / "x.pcap"), sorted([*others, ask], key=lambda each: float(each.time)))
    result = tapsight.check(tmp_path / "x.pcap", policy=Policy.loads(POLICY))
    (head,) = {
        row["id"]
        for row in result.findings.select(["id", "detector"]).to_pylist()
        if row["detector"] == "B20.category-1"
    }
    moments = result.plot.moments
    there = moments.counts.filter(pl.col("finding") == moments.heads[head], pl.col("sent") == "there")
    assert there["packets"].to_list() == [1]
    assert moments.traffic["traffic"].to_list() == ["mobile-signalling"]
    # One among forty is marked, and no bar is drawn where there was nothing.
    spec = result.plot.timeline(head).to_dict()
    assert [layer["mark"]["type"] for layer in spec.get("layer", [spec])] in (["rect"], ["rect", "point"])


@pytest.mark.parametrize(
    "what", ["voice", "internet traffic, mobile network signalling and voice signalling", "word " * 60]
)
def test_words_on_arrows_do_not_run_into_boxes(what: str) -> None:
    for svg in (
        way_svg(sender="192.0.2.1", receiver="192.0.2.2", what=what, way=what),
        copy_svg(senders=what, device=what, receivers=what, collector=what, copied=what, way=what),
    ):
        texts = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" fill="[^"]+" text-anchor="(\w+)">([^<]*)', svg)
        for x, _, anchor, text in texts:
            # No letter of this size is wider than 7 pixels on average.
            half = 7 * len(text) / 2
            if anchor == "middle":
                assert float(x) - half >= 168 and float(x) + half <= 472, text
            if anchor == "end":
                assert float(x) - 2 * half >= 0, text


def test_the_page_says_who_made_it_of_what(mirrored: tapsight.Result, page: Path, tmp_path: Path) -> None:
    assert mirrored.run is not None
    sums = {
        capture.name: hashlib.sha256(Path(capture.name).read_bytes()).hexdigest()
        for capture in mirrored.run.captures
    }
    # With evidence, its manifest has them; else only if asked for.
    assert all(sum_ in Texts(page.read_text("utf-8")).text for sum_ in sums.values())
    mirrored.report(tmp_path / "plain.html")
    plain = Texts((tmp_path / "plain.html").read_text("utf-8")).text
    assert not any(sum_ in plain for sum_ in sums.values())
    assert "not computed" in plain
    mirrored.report(tmp_path / "sums.html", author="N. <Ovice>", sums=True)
    text = Texts((tmp_path / "sums.html").read_text("utf-8")).text
    assert all(sum_ in text for sum_ in sums.values())
    assert re.search(r"Made by N\. <Ovice> at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC with tapsight", text)
    for capture in mirrored.run.captures:
        assert f"{capture.tap}={capture.name}" in text


def test_names_of_options_are_code_and_findings_without_frames_have_no_fold(tmp_path: Path) -> None:
    policy = 'packs = ["mobile-signalling", "capture-quality"]\n'
    result = judge(examination(taps=[tap(dropped=500)]), Policy.loads(policy))
    result.report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "needs set <code>nodes</code> in [checks.S3]" in text.replace("Needs", "needs")
    assert "`" not in Texts(text.partition("<script>")[0]).text
    assert result.findings["check"].to_pylist() == ["Q1"]
    assert "Frames that prove it" not in text


def test_what_is_left_out_is_said(mirrored: tapsight.Result, tmp_path: Path) -> None:
    quiet = mirrored.since(mirrored.findings["id"].to_pylist())
    quiet.report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "Nothing failed." not in text
    assert "Not shown: 5 findings that the baseline has." in text


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    name = EVIL
    claims = [
        mirror(
            tap=name,
            copy_tap=name,
            evidence=[{"tap": name, "frame": 1, "role": "copy"}],
            traffic=["voice-media"],
        )
    ]
    rows = {"claims": claims, "taps": [tap(name, warnings=[name])], "flows": [flow(tap=name)]}
    result = judge(examination(**rows), None, [name])
    result.report(tmp_path / "page.html", title=name)
    text = (tmp_path / "page.html").read_text("utf-8")
    texts = Texts(text)
    assert texts.tags.count("script") == 1
    assert "img" not in texts.tags
    assert not [attribute for attribute, _ in texts.attributes if attribute.startswith("on")]
    assert "<script>alert(1)</script>" in texts.text
    assert not set(text) & set("\x1b\u202e")


def test_names_without_an_end_fit_a_telephone(tmp_path: Path, browser: Any) -> None:
    """A tap, and who answers for a copy that it saw, with names of 200 letters."""
    name = "n" * 200
    claims = [mirror(tap=name, copy_tap=name, evidence=[{"tap": name, "frame": 1, "role": "copy"}])]
    rows = {"claims": claims, "taps": [tap(name, warnings=[name])], "flows": [flow(tap=name)]}
    policy = (
        f'[[exceptions]]\ncheck = "A1"\naddress = "198.51.100.7"\nowner = "{name}"\nreason = "{name}"\n'
        "expires = 2030-12-31\n"
    )
    result = judge(examination(**rows), Policy.loads(policy), [name])
    assert len(result.excepted) == 1
    result.report(tmp_path / "page.html", title=name)
    tab = browser.new_page(viewport={"width": 360, "height": 640})
    tab.goto((tmp_path / "page.html").as_uri())
    assert tab.evaluate("() => document.scrollingElement.scrollWidth") <= 360
    tab.close()


def test_hostile_text_of_a_capture(tmp_path: Path, browser: Any) -> None:
    """A redirected call that has scripts wherever SIP has text, in a file that is named like one."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    script = "<script>document.title='x'</script>"

    def sip(src: str, dst: str, *lines: str) -> Any:
        payload = "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()
        frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst)
        return frame / UDP(sport=5060, dport=5060) / payload

    common = [
        f"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{script}",
        f'From: "{script}" <sip:+4930123456@192.0.2.1>;tag=1',
        "To: <sip:+4612345678@192.0.2.2>",
        f"Call-ID: {script}",
        "CSeq: 1 INVITE",
    ]
    call = [
        sip("192.0.2.1", "192.0.2.2", "INVITE sip:+4612345678@192.0.2.2 SIP/2.0", *common),
        sip(
            "192.0.2.2",
            "192.0.2.1",
            "SIP/2.0 302 Moved",
            *common,
            f'Contact: "{script}" <sip:a@203.0.113.66>',
        ),
    ]
    capture = tmp_path / "<img src=x onerror=alert(1)>.pcap"
    wrpcap(str(capture), call)
    (tmp_path / "policy.toml").write_text('[checks.B12]\npeers = ["192.0.2.0/24"]\n')
    result = tapsight.check(capture, policy=tmp_path / "policy.toml")
    assert "B12" in result.findings["check"].to_pylist()
    result.report(tmp_path / "page.html")
    texts = Texts((tmp_path / "page.html").read_text("utf-8"))
    assert (texts.tags.count("script"), texts.tags.count("img")) == (1, 0)
    assert capture.name in texts.text
    tab = browser.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    assert tab.title() == "Was traffic copied, or sent elsewhere?"
    tab.close()


def test_a_page_of_captures_that_are_gone_says_so(tmp_path: Path) -> None:
    files = generate(Scenario(implants=(Implant("mirror", only="voice"),)), tmp_path)
    result = tapsight.check({"inside": str(files.inside), "outside": str(files.outside)})
    files.inside.unlink()
    result.report(tmp_path / "page.html")
    assert "could not be read again" in (tmp_path / "page.html").read_text("utf-8")


def test_a_check_of_the_policy_has_its_title(tmp_path: Path) -> None:
    policy = '[checks.no-telnet]\nexpect = "app != telnet"\ntitle = "Nobody uses Telnet"\n'
    rows = [flow(app="telnet", traffic="management")]
    judge(examination(flows=rows), Policy.loads(policy)).report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert re.search(r"<h3>.* Nobody uses Telnet <span", text)


def test_nothing_found_and_nothing_there(tmp_path: Path) -> None:
    result = judge(examination(taps=[tap()], claims=[claim("A5.span-both", report=False)]), None)
    result.report(tmp_path / "page.html")
    assert "Nothing failed." in (tmp_path / "page.html").read_text("utf-8")
    with pytest.raises(ValueError, match="no finding says where packets went"):
        Plot(result).timeline()
    with pytest.raises(ValueError, match="no finding has the id 'x'"):
        Plot(result).timeline("x")
    empty = judge(examination(taps=[]), None)
    empty.report(tmp_path / "empty.html")
    assert "No frames." in (tmp_path / "empty.html").read_text("utf-8")


def test_own_checks_and_packs_are_on_the_page(tmp_path: Path) -> None:
    policy = """
        packs = ["mobile-signalling", "capture-quality"]
        [checks.no-vlan]
        title = "No <b>VLANs</b>\\u001b here"
        expect = "vlan is null"
        [checks.few-questions]
        over = "calls"
        title = "Few calls"
        expect = "messages < 9"
    """
    result = judge(examination(flows=[flow(vlan=210)]), Policy.loads(policy))
    result.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    texts = Texts(page)
    assert "b" not in texts.tags
    for words in ("no-vlan", "No <b>VLANs</b>\\x1b here", "Few calls", "GTP-U only between listed nodes"):
        assert words in texts.text
    # What would settle a check that ships is known; of others, the policy tells.
    assert "under nodes in [checks.S3]" in texts.text


def test_the_command(tmp_path: Path) -> None:
    files = generate(Scenario(), tmp_path)
    arguments = [
        "report",
        f"inside={files.inside}",
        f"outside={files.outside}",
        "--policy",
        str(files.policy),
        "-q",
    ]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "page.html"), "--title", "Monday"])
    assert done.exit_code == 0, done.output
    assert "<title>Monday</title>" in (tmp_path / "page.html").read_text("utf-8")
    assert CliRunner().invoke(app, ["report", str(files.inside)]).exit_code == 2


def test_every_check_says_what_would_settle_it() -> None:
    import importlib.resources
    import tomllib

    from tapsight.checks import CHECKS
    from tapsight.detectors import DETECTORS

    text = importlib.resources.files("tapsight").joinpath("data/settling.toml").read_text("utf-8")
    settling = tomllib.loads(text)["settling"]
    assert {*CHECKS, *DETECTORS} <= set(settling)


def _flows(*rows: tuple[str, str | None, str | None, str, str, int]) -> list[dict[str, Any]]:
    """Flows of: class of traffic, application, what that rests on, from, to, packets."""
    return [
        flow(
            traffic=traffic,
            app=app,
            basis=basis,
            src=src,
            dst=dst,
            packets=packets,
            bytes=100 * packets,
            flow_id=at,
        )
        for at, (traffic, app, basis, src, dst, packets) in enumerate(rows, 1)
    ]


def test_encryption_is_told_only_of_what_tells_it() -> None:
    ends = ("192.0.2.1", "192.0.2.2")
    rows = _flows(
        ("internet", "tls", "signature", *ends, 10),
        # Nobody has seen what is on this port.
        ("internet", "tls", "port", *ends, 7),
        ("internet", "quic", "behaviour", *ends, 5),
        ("internet", "http", "signature", *ends, 3),
        ("internet", "esp", "signature", *ends, 2),
        ("management", "ssh", "signature", *ends, 4),
        ("management", "snmp", "signature", *ends, 1),
        ("voice-media", "rtp", "signature", *ends, 50),
        ("unknown", None, None, *ends, 6),
    )
    # The same conversation, of which another packet was recognised.
    rows.append({**rows[0], "basis": "port", "packets": 20})
    result = judge(examination(flows=rows), None)
    told = {
        (row["traffic"], row["way"]): (row["packets"], row["flows"]) for row in encryption(result).to_dicts()
    }
    assert told == {
        ("internet", "TLS"): (30, 1),
        ("internet", "cannot be told"): (7, 1),
        ("internet", "QUIC"): (5, 1),
        ("internet", "in clear"): (3, 1),
        ("internet", "IPsec"): (2, 1),
        ("management", "SSH"): (4, 1),
        ("management", "cannot be told"): (1, 1),
        ("voice-media", "cannot be told"): (50, 1),
        ("unknown", "cannot be told"): (6, 1),
    }
    # Of calls is known what they agreed on.
    calls = result.calls.schema.empty_table().to_pylist() + [
        {
            **dict.fromkeys(result.calls.schema.names, "pass"),
            "call": at,
            "began": None,
            "src": None,
            "dst": None,
            "packets": packets,
            "encryption": way,
            "findings": [],
        }
        for at, (packets, way) in enumerate(((20, "sdes"), (5, "dtls-srtp"), (10, "none"), (9, None)))
    ]
    heard = dataclasses.replace(result, calls=pa.Table.from_pylist(calls, schema=result.calls.schema))
    media = {
        row["way"]: row["packets"] for row in encryption(heard).to_dicts() if row["traffic"] == "voice-media"
    }
    assert media == {"SRTP": 25, "in clear": 10, "cannot be told": 15}
    # Shares of a class add up to one.
    values = heard.plot.encryption().to_dict()["datasets"]
    (data,) = values.values()
    for traffic in {row["traffic"] for row in data}:
        assert sum(row["share"] for row in data if row["traffic"] == traffic) == pytest.approx(1)


def test_countries_by_pair(tmp_path: Path) -> None:
    """Registered: 193.0.0.0/21 in the Netherlands, 8.8.8.0/24 in the United States (delegation files of RIPE NCC and ARIN)."""
    dutch, american, private = "193.0.0.1", "8.8.8.8", "10.0.0.1"
    rows = _flows(
        ("internet", "http", "signature", dutch, american, 10),
        ("internet", "http", "signature", american, dutch, 4),
        ("internet", "dns", "signature", private, american, 1),
    )
    result = judge(examination(flows=rows), None)
    pairs = [
        (row["from"][:2], row["to"][:2], row["packets"], row["flows"])
        for row in country_pairs(result).to_dicts()
    ]
    assert pairs == [("NL", "US", 10, 1), ("US", "NL", 4, 1), ("lo", "US", 1, 1)]
    assert country_pairs(result)["from"][0].startswith("NL ")
    assert sources(result) == ["registry"]
    # What the policy says counts first.
    (tmp_path / "places.csv").write_text("prefix,country\n8.8.8.0/24,SE\n")
    policy = '[network]\nhome = "NL"\n[places]\nfiles = ["places.csv"]\n'
    (tmp_path / "policy.toml").write_text(policy)
    told = judge(examination(flows=rows), Policy.load(tmp_path / "policy.toml"))
    assert [(row["from"][:2], row["to"][:2]) for row in country_pairs(told).to_dicts()] == [
        ("NL", "SE"),
        ("SE", "NL"),
        ("lo", "SE"),
    ]
    assert [Path(name).name for name in sources(told)] == ["places.csv", "registry"]
    # Of many countries, those with most are shown; nothing is lost.
    few = country_pairs(result, most=1)
    assert set(few["from"]) | set(few["to"]) == {"other", "local", "US United States"}
    assert few["packets"].sum() == 15


def test_calls_by_pair_of_countries(mirrored: tapsight.Result) -> None:
    """The lab's places: its own network is in Belgium."""
    pairs = call_pairs(mirrored).to_dicts()
    assert sum(row["calls"] for row in pairs) == mirrored.calls.num_rows
    assert {row["from"] for row in pairs} == {"BE Belgium"}
    labels = [
        row["calls"] for rows in mirrored.plot.call_countries().to_dict()["datasets"].values() for row in rows
    ]
    assert labels == [row["calls"] for row in pairs]
