"""What is measured: tapsight, and what a user would pick instead of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = str(HERE / ".venv/bin/python")
LOOPS = str(HERE / "loops/target/release/loops")

# fmt: off
FIELDS = (
    "frame.number", "frame.time_epoch", "frame.cap_len", "frame.len", "eth.src", "eth.dst", "vlan.id",
    "mpls.label", "eth.type", "ip.version", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "ip.ttl",
    "ipv6.hlim", "ip.dsfield", "ip.id", "ip.proto", "ipv6.nxt", "tcp.srcport", "tcp.dstport",
    "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport", "tcp.flags", "tcp.seq_raw",
    "tcp.ack_raw", "tcp.window_size_value", "frame.protocols",
)
# fmt: on
"""What tshark prints of a packet: what the packets table has too, ids and fragments left out."""

GROUPS = (
    "finds the records",
    "reads each packet",
    "makes flows",
    "writes Parquet",
)
"""What a row is compared by: it stands beside those that do about the same."""


@dataclass(frozen=True)
class Peer:
    """A program that reads a capture.

    Attributes:
        name: What the row is called.
        group: One of :data:`GROUPS`.
        command: What is run; ``{file}`` is the capture, ``{folder}`` a folder for what is written, ``{port}`` one of
            UDP on this machine where somebody listens.
        computes: What it makes of the packets, beside what tapsight makes of them.
        lacks: What it does not do of what tapsight does.
        version: A command, and a pattern whose group is the version in what that prints.
        share: It is given one in so many of the packets, as it would need too long for all.
        count: A shell command, run after ``command``, that says how many packets are read where that does not.
        counted: A pattern whose group is that number.
        waits: It sleeps until a second is full, so that its seconds are those of CPU.
        made_by: What of install.sh brings it.
    """

    name: str
    group: str
    command: tuple[str, ...]
    computes: str
    lacks: str
    version: tuple[tuple[str, ...], str]
    share: int = 1
    count: str | None = None
    counted: str | None = r"packets (\d+)"
    waits: bool = False
    made_by: str = ""


def _read(python: str, *arguments: str) -> tuple[str, ...]:
    return (python, str(HERE / "read.py"), *arguments)


def _packaged(package: str, python: str = PACKAGES) -> tuple[tuple[str, ...], str]:
    ask = f"from importlib.metadata import version; print(version('{package}'))"
    return (python, "-c", ask), r"(\S+)"


def _tapsight(row: str, reader: str, group: str, computes: str) -> list[Peer]:
    return [
        Peer(
            name=f"tapsight, {row}, {'all cores' if threads == 'all' else 'one core'}",
            group=group,
            command=_read(sys.executable, f"tapsight-{reader}", "{file}", threads),
            computes=computes,
            lacks="",
            version=_packaged("tapsight", sys.executable),
        )
        for threads in ("1", "all")
    ]


def _crate(name: str) -> tuple[tuple[str, ...], str]:
    return ("cat", str(HERE / "loops/Cargo.lock")), rf'name = "{name}"\nversion = "([^"]+)"'


PEERS = (
    Peer(
        name="cat",
        group=GROUPS[0],
        command=("cat", "{file}"),
        computes="Nothing: the floor, what it costs to get the bytes out of the page cache.",
        lacks="Everything.",
        version=(("cat", "--version"), r"\) (\S+)"),
        counted=None,
    ),
    Peer(
        name="pcap-parser",
        group=GROUPS[0],
        command=(LOOPS, "records", "{file}"),
        computes="Where each record is: a bare loop in Rust.",
        lacks="Looks at no packet.",
        version=_crate("pcap-parser"),
        made_by="loops",
    ),
    Peer(
        name="tcpdump -w",
        group=GROUPS[0],
        command=("tcpdump", "-r", "{file}", "-w", "/dev/null"),
        computes="Where each record is, by libpcap's loop, and a copy of it.",
        lacks="Looks at no packet.",
        version=(("tcpdump", "--version"), r"version (\S+)\nlibpcap version \S+"),
        count="tcpdump -r '{file}' --count",
        counted=r"(\d+) packets?",
        made_by="tcpdump",
    ),
    *_tapsight(
        "all columns",
        "columns",
        GROUPS[1],
        "The whole packets table as Arrow: headers inside of tunnels, labels of applications, three ids, issues.",
    ),
    Peer(
        name="etherparse",
        group=GROUPS[1],
        command=(LOOPS, "headers", "{file}"),
        computes="Slices up to the transport of each packet: a bare loop in Rust over what pcap-parser finds.",
        lacks="Stops at MPLS and at tunnels; names no application, keeps nothing.",
        version=_crate("etherparse"),
        made_by="loops",
    ),
    Peer(
        name="tshark -T fields",
        group=GROUPS[1],
        command=(
            "tshark",
            "-n",
            "-r",
            "{file}",
            "-T",
            "fields",
            *(part for f in FIELDS for part in ("-e", f)),
        ),
        computes=f"{len(FIELDS)} fields as text, after a full dissection by some 3,000 protocols, with streams reassembled.",
        lacks="No ids of packets, no typed columns.",
        version=(("tshark", "--version"), r"TShark.*? ([\d.]+\d)"),
        share=20,
        count="tshark -n -r '{file}' -T fields -e frame.number 2> /dev/null | tail -n 1",
        counted=r"(\d+)",
        made_by="tshark",
    ),
    Peer(
        name="dpkt",
        group=GROUPS[1],
        command=_read(PACKAGES, "dpkt", "{file}"),
        computes="An object with the fields of each header up to the transport: a loop in Python.",
        lacks="Stops at tunnels; names no application, keeps nothing.",
        version=_packaged("dpkt"),
        share=10,
        made_by="dpkt",
    ),
    Peer(
        name="scapy",
        group=GROUPS[1],
        command=_read(PACKAGES, "scapy", "{file}"),
        computes="An object for each header up to the transport, that can be changed and sent again: a loop in Python.",
        lacks="Told to stop at tunnels; names no application, keeps nothing.",
        version=_packaged("scapy"),
        share=50,
        made_by="scapy",
    ),
    *_tapsight(
        "flows",
        "flows",
        GROUPS[2],
        "Conversations, inside of tunnels too: both directions, application and on what basis, names, states of TCP, round trips; as Arrow.",
    ),
    *_tapsight(
        "check",
        "check",
        GROUPS[2],
        "Flows by path, inside of tunnels too, and all detectors: each packet is compared with its earlier sightings.",
    ),
    Peer(
        name="softflowd",
        group=GROUPS[2],
        command=(
            "softflowd",
            "-d",
            "-a",
            "-r",
            "{file}",
            "-m",
            "1000000",
            "-v",
            "10",
            "-b",
            "-n",
            "127.0.0.1:{port}",
            "-p",
            "{folder}/pid",
            "-c",
            "none",
        ),
        computes="Flows by the clock of the capture with their timeouts, sent as bidirectional IPFIX records by UDP.",
        lacks="Skips MPLS, stops at tunnels; names no application, compares no packets.",
        version=(("softflowd", "-h"), r"version (\S+\d)"),
        counted=r"Packets processed: (\d+)",
        made_by="softflowd",
    ),
    Peer(
        name="argus",
        group=GROUPS[2],
        command=("argus", "-X", "-r", "{file}", "-w", "/dev/null"),
        computes="Bidirectional flow records with the state of TCP, losses and retransmissions, reported every minute.",
        lacks="Names no application, compares no packets. It sleeps until a second is full: its rate is that of its CPU time.",
        version=(("argus", "-h"), r"Argus Version (\S+)"),
        count="argus -X -r '{file}' -w - | racount -r -",
        counted=r"sum\s+\d+\s+(\d+)",
        waits=True,
        made_by="argus",
    ),
    Peer(
        name="ndpiReader",
        group=GROUPS[2],
        command=("ndpiReader", "-t", "-i", "{file}"),
        computes="Flows, inside of GTP too, and which of some 300 applications each is, by deep inspection of its first "
        "packets put together; risks, fingerprints of TLS and hosts.",
        lacks="Skips MPLS; compares no packets, keeps nothing of single packets.",
        version=(("ndpiReader", "-h"), r"nDPI (\S+)"),
        counted=r"IP packets:\s+(\d+)",
        made_by="ndpiReader",
    ),
    Peer(
        name="nfstream",
        group=GROUPS[2],
        command=_read(PACKAGES, "nfstream", "{file}"),
        computes="Flows as objects of Python with nDPI's applications, on all cores; statistics of sizes and gaps for "
        "learning machines if asked for, which is not done here.",
        lacks="Skips MPLS; compares no packets, keeps nothing of single packets.",
        version=_packaged("nfstream"),
        share=5,
        made_by="nfstream",
    ),
    *_tapsight("to Parquet", "parquet", GROUPS[3], "The whole packets table, compressed with zstd."),
    Peer(
        name="pcaptoparquet",
        group=GROUPS[3],
        command=(str(HERE / ".venv/bin/pcaptoparquet"), "-i", "{file}", "-o", "{folder}/packets.parquet"),
        computes="A row a packet with headers, and names out of DNS, HTTP, TLS and QUIC; in Python, over dpkt.",
        lacks="No ids of packets; fewer tunnels.",
        version=_packaged("pcaptoparquet"),
        share=50,
        count=f"'{PACKAGES}' -c \"import polars; print(polars.read_parquet('{{folder}}/packets.parquet').height)\"",
        counted=r"(\d+)",
        made_by="pcaptoparquet",
    ),
)
"""All rows, in the order of the table."""
