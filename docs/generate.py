"""Writes the pages and pictures that are made from the code: ``make docs``.

The table of columns in packets.md, the picture of a check, the record of benches/peers, and (where tshark and captures are
at hand) agreement.md.
"""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tapsight
from tapsight._about import PACKS, in_pack, meanings_of, needs
from tapsight._options import Options
from tapsight.checks._base import Check
from tapsight.detectors import DETECTORS
from tapsight.lab import Implant, Scenario, generate

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def columns() -> str:
    """The table of columns, from the doc comments of the schema."""
    source = (ROOT / "src/packets/column.rs").read_text()
    described = {
        name: " ".join(re.findall(r"/// ?(.*)", doc))
        for doc, name in re.findall(r'((?:\s+///.*\n)+)\s+\w+ = "(\w+)",', source)
    }
    schema = tapsight.open(b"", columns=tapsight.COLUMNS).schema
    rows = ["| column | type | null | meaning |", "|---|---|---|---|"]
    for field in schema:
        kind = str(field.type).replace(", ordered=0", "").replace("|", "\\|")
        null = "yes" if field.nullable else ""
        rows.append(
            f"| `{field.name}` | {kind} | {null} | {described[field.name].replace('[`super::ids`]', 'Ids, below')} |"
        )
    return "\n".join(rows)


def table(head: str, rows: list[tuple[str, ...]]) -> str:
    """A table, of which the head names the columns."""
    names = head.split(", ")
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def packets() -> None:
    """packets.md: the table between its markers."""
    path = DOCS / "packets.md"
    text = path.read_text()
    begin, end = "<!-- columns: begin -->\n", "<!-- columns: end -->"
    head, rest = text.split(begin)
    path.write_text(head + begin + columns() + "\n" + end + rest.split(end)[1])


def picture() -> None:
    """images/check.svg: a check as a terminal shows it."""
    from rich.console import Console
    from rich.text import Text

    with tempfile.TemporaryDirectory() as folder:
        files = generate(Scenario(implants=(Implant("mirror", only="voice"),)), folder)
        names = [f"inside={files.inside}", f"outside={files.outside}"]
        command = [sys.executable, "-m", "tapsight", "check", *names, "--policy", str(files.policy)]
        output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    text = output.replace(folder + "/", "")
    console = Console(record=True, width=106, file=io.StringIO(), force_terminal=True)
    console.print(
        Text(
            "$ tapsight check inside=inside.pcapng outside=outside.pcapng --policy policy.toml", style="bold"
        )
    )
    for line in text.splitlines()[:48]:
        style = "bold red" if re.match(r"\s+(HIGH|CRITICAL)|(Was|Did) .*\? +(YES|NO):", line) else ""
        console.print(Text(line, style=style))
    (DOCS / "images").mkdir(exist_ok=True)
    (DOCS / "images/check.svg").write_text(console.export_svg(title="tapsight"))


def agreement() -> None:
    """agreement.md: the comparison with tshark."""
    command = [sys.executable, str(ROOT / "tests/tshark_peer.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2:
        print("agreement.md left as it is: " + done.stderr.strip())
        return
    version = subprocess.run(
        ["tshark", "--version"], capture_output=True, text=True, check=False
    ).stdout.split("\n")[0]
    (DOCS / "agreement.md").write_text(
        "# Agreement with tshark\n\n"
        "Every frame of 1,069 captures that other open-source projects test with, field by field, against "
        f"{version.split(' (')[0]}. Made by `make docs`; `make test` fails on any difference without a reason below.\n\n"
        "Addresses, TTL, ports and the like are those of the innermost packet on both sides; `outer_src` and `outer_dst` those of "
        "the outermost. tshark runs without reassembly, so that each frame is compared by itself. The tags of the last table are those "
        "of the collection of captures; a capture has several.\n\n" + done.stdout
    )


def labels() -> None:
    """labels.md: the comparison with nDPI and Zeek."""
    command = [sys.executable, str(ROOT / "tests/labels_peer.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print("labels.md left as it is: " + done.stderr.strip())
        return
    (DOCS / "labels.md").write_text(
        "# Agreement with nDPI and Zeek\n\n"
        "The application of every flow of which nDPI's or Zeek's own tests expect one, beside ours. Of nDPI's flows those that it "
        "told from their bytes (`Confidence: DPI`), by master protocol; of Zeek's those with a service. A flow is alike if what "
        "its bytes said to us (not its port) includes that application: a call has several on one port (RFC 7983). Made by "
        "`make docs`; `make test` fails below 98 % of packets, on any other difference without a reason, on voice that is not "
        "called voice, and on anything else that is.\n\n" + done.stdout.rstrip() + "\n"
    )


def documented(path: str, pattern: str) -> list[tuple[str, ...]]:
    """What a source file declares, each with the comment before it: groups of ``pattern``, then the comment."""
    text = (ROOT / path).read_text()
    found = re.finditer(r"((?:^ *///[^\n]*\n)+) *" + pattern, text, re.MULTILINE)
    return [(*match.groups()[1:], " ".join(re.findall(r"/// ?(.*)", match[1])).strip()) for match in found]


def protocols() -> None:
    """protocols.md: all that is read, from the tables of the code, and by which tests."""
    sys.path.insert(0, str(ROOT / "tests"))
    import labels_peer
    import test_messages
    import tshark_peer

    by_ndpi = {labels_peer.SAME.get(app or "", app) for app in labels_peer.NAMES.values()}
    by_zeek = set(labels_peer.ZEEK.values())
    by_tshark = {encap for encap, _ in tshark_peer.ENCAPS.values()}
    by_tshark |= {"ipip", "ip6", "erspan1", "erspan2", "erspan3", "gtpu", "mpls", "esp"}
    vectors = (ROOT / "src/classify/tests.rs").read_text()
    frames = (ROOT / "src/dissect/tests.rs").read_text()
    link_file = "src/capture/link.rs"

    links = [
        (
            f"`{name.lower()}`",
            number,
            doc,
            "frames by hand" if f"LinkType::{name}" in frames else "tshark only",
        )
        for name, number, doc in documented(link_file, r"pub const (\w+): Self = Self\((\d+)\);")
    ]
    tunnels = []
    for name, doc in documented("src/dissect/layers.rs", r'\w+ = "([\w-]+)",'):
        tests = ["frames by hand"] if re.search(rf'"(?:[\w-]+/)*{name}(?:/[\w-]+)*"', frames) else []
        tunnels.append((f"`{name}`", doc, ", ".join(tests + ["tshark"] * (name in by_tshark)) or "none yet"))
    apps = []
    declared = documented("src/classify/app.rs", r'(\w+) = "([\w-]+)", (\w+)')
    for variant, name, traffic, doc in declared:
        tests = ["vectors"] if re.search(rf"App::{variant}\b[^:]", vectors) else []
        alias = labels_peer.SAME.get(name, name)
        tests += ["nDPI"] * (name in by_ndpi or alias in by_ndpi) + ["Zeek"] * (
            name in by_zeek or alias in by_zeek
        )
        purpose = re.sub(r"(?<!^)([A-Z])", r"-\1", traffic).lower()
        apps.append((f"`{name}`", purpose, doc, ", ".join(tests) or "none yet"))
    messages = []
    for name in tapsight.TABLES[1:]:
        schema = tapsight.open(b"", table=name).schema
        how = (
            "tshark"
            if any(peer.split(" of ")[0] == name for peer in test_messages.PEERS)
            else "bytes by the standard"
        )
        messages.append((f"`{name}`", schema.metadata[b"description"].decode(), how))
    (DOCS / "protocols.md").write_text(
        "# Protocols\n\n"
        "What is read, by which standard, and how that is tested. Made by `make docs` from the code and its tests.\n\n"
        "*frames by hand* and *vectors*: bytes written after the figures of the standard, whole and cut at every byte. *tshark*: every "
        "frame of the captures that has it ([agreement](agreement.md)). *nDPI*, *Zeek*: their own expected results "
        "([labels](labels.md)). *none yet*: no independent test.\n\n"
        "## Link layers\n\nA frame of any other type is a row with the issue `link-unsupported`.\n\n"
        + table("link type, number, what, tested with", links)
        + "\nInside them: LLC, SNAP, VLAN tags (802.1Q, 802.1ad, 0x9100), MPLS with pseudowires, PPPoE, PPP, 802.1ah, 802.1BR, VN-Tag, "
        "ISL, fabric path and metadata (Cisco), MACsec without encryption.\n\n## Encapsulations\n\n"
        + table("`encap`, what, tested with", tunnels)
        + "\n## Applications\n\n"
        + table("`app`, `traffic`, what, tested with", apps)
        + "\n## Messages\n\nTables of their own, a row a message: [messages](messages.md).\n\n"
        + table("table, what, tested with", messages)
    )


def messages() -> None:
    """messages.md: the side tables and their columns."""
    head = (
        "# Messages\n\n"
        "*What do single protocols say?* A side table has a row a message, and `frame` joins it to the packets:\n\n"
        "```python\n"
        'tapsight.scan("capture.pcap", table="dns").filter(pl.col("qname").str.ends_with("example.com")).collect()\n'
        "```\n\n"
        "```sh\n"
        "tapsight classify capture.pcap --table sip -o sip.parquet\n"
        "```\n\n"
        "All begin with `frame`, `ts`, `src`, `dst`, `src_port`, `dst_port`. Each frame is read by itself: a message that goes on in "
        "another TCP segment is read as far as its first one holds it. Text is as captured: **numbers and names are shown**, and are personal data. "
        "`tapsight calls`, which puts such messages together, hides them unless `--show-numbers` is given. Made by `make docs` from the code.\n"
    )
    parts = [head]
    for name in tapsight.TABLES[1:]:
        schema = tapsight.open(b"", table=name).schema
        parts.append(
            f"\n## {name}\n\n{schema.metadata[b'description'].decode()}\n\n| column | type | meaning |\n|---|---|---|\n"
        )
        parts += [
            f"| `{f.name}` | {f.type} | {f.metadata[b'description'].decode()} |\n" for f in list(schema)[6:]
        ]
    (DOCS / "messages.md").write_text("".join(parts))


def between(path: Path, name: str, made: str) -> None:
    """Puts text between the markers of this name."""
    text = path.read_text()
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, rest = text.split(begin)
    path.write_text(head + begin + made + end + rest.split(end)[1])


def calls() -> None:
    """calls.md: a ladder of a call of the lab, and the columns of the tables."""
    with tempfile.TemporaryDirectory() as folder:
        files = generate(Scenario(calls=1), folder)
        command = [
            sys.executable,
            "-m",
            "tapsight",
            "calls",
            str(files.inside),
            "--ladder",
            "1",
            "--show-numbers",
        ]
        # As wide wherever the page is made.
        wide = {**os.environ, "COLUMNS": "120"}
        drawn = subprocess.run(command, capture_output=True, text=True, check=True, env=wide).stdout
    parts = []
    for name in ("calls", "call_messages", "call_changes", "call_media"):
        schema = tapsight.calls(b"", table=name).schema
        rows = [
            (
                f"`{f.name}`",
                str(f.type).replace("list<item: string>", "list of string"),
                f.metadata[b"description"].decode(),
            )
            for f in schema
        ]
        parts.append(
            f"## {name}\n\n{schema.metadata[b'description'].decode()}\n\n"
            + table("column, type, meaning", rows)
        )
    drawn = re.sub(r" at \S+: ", " at inside: ", drawn, count=1)
    between(DOCS / "calls.md", "ladder", f"```text\n{drawn}```\n")
    known, located = tapsight.places.Places(registered=False), []
    for name, of in (("calls", ""), ("call_media", " of `call_media`")):
        plain = tapsight.calls(b"", table=name).schema.names
        added = [f for f in tapsight.calls(b"", table=name, places=known).schema if f.name not in plain]
        located += [
            (
                f"`{f.name}`{of}",
                str(f.type).replace("list<item: string>", "list of string"),
                f.metadata[b"description"].decode(),
            )
            for f in added
        ]
    between(DOCS / "calls.md", "places", table("column, type, meaning", located))
    sys.path.insert(0, str(ROOT / "tests"))
    import calls_peer
    from conftest import captures_dir

    if (captures := captures_dir()) is not None:
        between(DOCS / "calls.md", "peer", calls_peer.compare(captures).text())
    between(DOCS / "calls.md", "columns", "\n".join(parts))


def flows() -> None:
    """flows.md: what a flow is, and the columns."""
    schema = tapsight.flows(b"").schema
    head = (
        "# Flows\n\n"
        "*Who talked to whom, by what, how much each way, and how did it go?* One row a conversation, both directions together.\n\n"
        "```sh\n"
        "tapsight flows capture.pcap                          # CSV; or -o flows.parquet, .arrow, .ndjson\n"
        "tapsight flows inside=a.pcap outside=b.pcap --columns tap,src,dst,app,bytes,reverse_bytes\n"
        "tapsight flows capture.pcap --located                # with countries, networks and zones: see places.md\n"
        "tapsight flows capture.pcap --format eve             # as Suricata's flow events; zeek: as conn.log: see formats.md\n"
        "```\n\n"
        "```python\n"
        'tapsight.flows("capture.pcap").to_polars().filter(pl.col("conn_state") == "REJ")\n'
        "```\n\n"
        "A flow is what two endpoints (addresses, ports, protocol) say to each other on one tap and in one tunnel; frames without IP go by MACs and "
        "EtherType. *Source* is who began: who sent the first packet, unless that answers a SYN. A row ends after two minutes without a packet "
        "(`--idle-timeout`), ten seconds after TCP is over, or when a SYN with another sequence number begins a new connection; `--active-timeout` cuts long "
        "ones. Rows come while the capture is read, and are the same for any number of threads and cut of the files. Of all rows, packets and bytes add up to those of "
        "the capture: what a mirror port shows twice counts twice, and `ways` says in how many ways packets were seen.\n\n"
        "VLANs, labels and MACs do not tell flows apart (they are columns); tunnels do, with their identifiers where both directions share one. If there are too many "
        "at a time for `--memory`, those that were silent for longest end early (`lack-of-resources`), and a warning counts them.\n\n"
        "The application goes by all packets of the flow: what bytes say counts before behaviour, and that before ports, so that a signature that comes late corrects a "
        "guess by port. Server names are those of TLS hellos and of QUIC's first packets, as far as the first one holds them.\n\n"
        "## Beside other tools\n\n"
        "`tests/test_flows.py` compares: TCP and UDP conversations with tshark, packets each way (captures without tunnels and fragments); packets and bytes of all "
        "flows of nfstream's own tests; packets each way and `conn_state` of the connections that Zeek's own tests expect, of which two thirds are alike: Zeek also logs "
        "a tunnel's outside, leaves out packets with wrong checksums, and cuts half-seen connections otherwise.\n\n"
        "## Columns\n\nMade by `make docs` from the code.\n\n| column | type | meaning |\n|---|---|---|\n"
    )
    rows = []
    for field in schema:
        kind = str(field.type).replace(", ordered=0", "")
        rows.append(f"| `{field.name}` | {kind} | {field.metadata[b'description'].decode()} |\n")
    (DOCS / "flows.md").write_text(head + "".join(rows))


def media() -> None:
    """media.md: what is made of media streams, and the columns."""
    sys.path.insert(0, str(ROOT / "tests"))
    import test_media

    schema = tapsight.media(b"").schema
    head = (
        "# Media streams\n\n"
        "*Which voice and video went where, and how well did it arrive?* One row an RTP stream: what one source (SSRC) sends from one endpoint to "
        "another on one path, so that a copy in another VLAN or in a tunnel is a row of its own.\n\n"
        "```sh\n"
        "tapsight media capture.pcap                 # CSV; or -o streams.parquet, .arrow, .ndjson\n"
        "tapsight media inside=a.pcap outside=b.pcap -o streams.parquet\n"
        "```\n\n"
        "```python\n"
        'tapsight.media("capture.pcap").to_polars().filter(pl.col("lost") > 0)\n'
        "```\n\n"
        "Calls need not be in the capture: endpoints that a session description announced are taken at its word (`basis` is `signature`); else "
        "sequence numbers have to go on as those of RTP do, three times, before it is believed (`behaviour`), and packets count from then "
        "on. So the first three packets of such a stream are missing, and more where they prove nothing: of packets that a mirror port made twice, both "
        "copies of these three are, so six; what is lost or comes late at the beginning makes it more as well. `in_sequence` says how many packets prove it "
        "since. Descriptions count for `basis` only where they stand in one datagram or segment and come before the media: a stream that a description in "
        "several segments, Skinny or a later message has announced is `behaviour`, though `announced` says which ends are known.\n\n"
        "Rows come while captures are read, in the order in which streams end: after 60 seconds without a packet (`--timeout`), and at the end all "
        "others, by their last packets. They are the same for any number of threads. At most 65,536 streams are followed at a time; of more, the one that was silent for longest is a "
        "row early, and a warning says how many were.\n\n"
        "What RTP cannot tell: whether it is encrypted (SRTP has the same header, and its tag counts as payload), the codec of a dynamic payload type and thus its "
        "clock (jitter and packet times are null), and what a receiver does with packets that come too late. Times are those of the "
        "tap: jitter is what the network did before it. RTP over TCP is in no row. A stream whose next hop changes goes on as another row, with the same SSRC.\n\n"
        "## Beside tshark\n\n"
        "`tests/test_media.py` compares all captures that hold RTP with `tshark -z rtp,streams`: packets, loss, the longest gap and jitter are "
        "the same, but for\n\n"
        + "".join(f"- {reason}\n" for reason in test_media.DIFFERENCES.values())
        + "\n## Columns\n\nMade by `make docs` from the code.\n\n| column | type | meaning |\n|---|---|---|\n"
    )
    rows = [f"| `{f.name}` | {f.type} | {f.metadata[b'description'].decode()} |\n" for f in schema]
    (DOCS / "media.md").write_text(head + "".join(rows))


def checks() -> None:
    """checks.md: each check and detector as its docstring has it, by pack."""
    groups: list[tuple[str, str, dict[str, Any]]] = [
        (
            "Checks that always judge",
            "They are *unknown* until the policy says what they need.",
            dict(in_pack(None)),
        ),
        *(
            (
                f"Pack {pack}",
                f'On with `packs = ["{pack}"]` in the policy, or each by a table of its own, such as `[checks.{next(iter(in_pack(pack)))}]`.',
                dict(in_pack(pack)),
            )
            for pack in PACKS
            if in_pack(pack)
        ),
        (
            "Detectors",
            "They always look, with or without a policy, which may say what is agreed.",
            dict(DETECTORS),
        ),
    ]
    rows = [
        (f"[{id_}](#{id_.lower()})", each.title, _pack(each), _needs(each))
        for _, _, members in groups
        for id_, each in members.items()
    ]
    parts = [
        "# Checks and detectors\n\n"
        "*What does each look for, why, and what can it not see?* The same text is in `tapsight explain ID`, which also has how often each was wrong "
        "in the lab. How a policy is written: [policy](policy.md). Made by `make docs` from the code.\n\n"
        "Each takes `severity` (of its findings, in place of the usual one), `min_coverage` (below this share of judged packets it is *unknown*, "
        "unless something failed; 0.5 if not given), `enabled` and `ticket`.\n\n"
        + table("id, title, pack, needs", rows)
    ]
    for title, about, members in groups:
        parts.append(f"\n## {title}\n\n{about}\n")
        for id_, each in members.items():
            parts.append(f"\n### {id_}\n\n**{each.title}**\n\n{_markdown(inspect.getdoc(each) or '')}")
            parts.append(_options(each.options))
    (DOCS / "checks.md").write_text("".join(parts))


def _pack(thing: Any) -> str:
    """The pack that it comes with."""
    if not issubclass(thing, Check):
        return "(detector)"
    return thing.pack or "(always)"


def _needs(thing: Any) -> str:
    """What a policy has to say so that a check judges."""
    if not issubclass(thing, Check):
        return ""
    return ", ".join(map(str, needs(thing)))


def _options(model: Any) -> str:
    """A table of what a policy may say of a check, beside what all take."""
    meanings, rows = meanings_of(model), []
    for name, field in model.model_fields.items():
        usual = Options.model_fields.get(name)
        if usual is not None and field.default == usual.default:
            continue
        # Of lists that have to be given there is no usual value.
        default = "" if field.default is None else json.dumps(field.default, default=str)
        rows.append((f"`{name}`", meanings[name].replace("``", "`"), default))
    return "\n" + table("option, meaning, if not given", rows) if rows else ""


def _markdown(doc: str) -> str:
    """A docstring of a check as Markdown: sections in bold, examples as code, classes of a detector as lists."""
    made: list[str] = []
    code = 0
    """How far code is indented, while it lasts."""
    for line in doc.replace("``", "`").splitlines():
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if code and text and indent < code:
            made += ["```", ""]
            code = 0
        if code:
            # What is blank before the first line of code is none of it.
            made += [line[code:]] if text or made[-1] != "```toml" else []
        elif text.endswith("::"):
            title = f"**{text[:-1]}**" if indent == 0 else text[:-1]
            made += [title, "", "```toml"]
            code = indent + 4
        elif indent == 0:
            title, colon, rest = text.partition(":")
            made.append(f"**{title}:**{rest}" if colon and (not rest or title == "Source") else text)
        else:
            is_item = re.match(r"[A-Z]\d+\.[\w-]+(, [A-Z]\d+\.[\w-]+)*:", text)
            made.append(f"- {text}" if is_item else text)
    made += ["```"] if code else []
    return "\n".join(made).replace("\n\n```\n", "\n```\n").strip() + "\n"


def peers() -> None:
    """peers.md and images/peers.svg: what benches/peers/run.py recorded."""
    sys.path.insert(0, str(ROOT / "benches/peers"))
    import page

    record = json.loads((ROOT / "benches/record/peers.json").read_text())
    (DOCS / "peers.md").write_text(page.markdown(record))
    (DOCS / "images").mkdir(exist_ok=True)
    (DOCS / "images/peers.svg").write_text(page.chart(record))


def schemas() -> None:
    """result.schema.json and result-line.schema.json: what JSON and NDJSON of a check hold."""
    for name, file in (("json", "result"), ("ndjson", "result-line")):
        command = [sys.executable, "-m", "tapsight", "schema", name]
        made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        (DOCS / f"{file}.schema.json").write_text(made)


def real_captures() -> None:
    """real-captures.md: what is found in the captures of other projects, as a test holds it to."""
    with (ROOT / "tests/real_findings.tsv").open(newline="") as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    rows = [(r["file"], r["detector"], r["severity"], r["findings"], r["truth"]) for r in found]
    (DOCS / "real-captures.md").write_text(
        "# What is found in real captures\n\n"
        "*Does it cry wolf?* 1,069 captures of other projects, from protocol samples to attacks, go through `tapsight check` without a "
        f"policy. These are all findings of medium severity or above, in {len({r['file'] for r in found})} captures, each with what is "
        "true about it; in the others there is none. A test fails when one comes or goes (`tests/test_real_captures.py`). Made by "
        "`make docs`.\n\n" + table("capture, detector, severity, findings, what is true", rows)
    )


if __name__ == "__main__":
    packets()
    real_captures()
    schemas()
    protocols()
    messages()
    checks()
    calls()
    flows()
    media()
    peers()
    picture()
    agreement()
    labels()
