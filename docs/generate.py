"""Writes the pages and pictures that are made from the code: ``make docs``.

The table of columns in packets.md, the picture of a check, and (where tshark and captures are at hand) agreement.md.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tapsight
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
        style = "bold red" if re.match(r"\s+(HIGH|CRITICAL)|Was .*YES", line) else ""
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


if __name__ == "__main__":
    packets()
    picture()
    agreement()
    labels()
