"""nDPI as an independent judge of applications: its expected results for captures, flow by flow, beside our labels.

Run as a script, it prints docs/labels.md's tables.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import polars as pl

import tapsight

# nDPI's master protocols that are applications of ours, by the names that both have.
NAMES = {
    "BGP": "bgp", "BitTorrent": "bittorrent", "DHCP": "dhcp", "DHCPV6": "dhcpv6", "DNS": "dns", "DTLS": "dtls",
    "Diameter": "diameter", "EGP": None, "EIGRP": "eigrp", "FTP_CONTROL": "ftp", "GLBP": "glbp", "GTP_C": "gtp-c",
    "GTP_PRIME": "gtp-prime", "GTP_U": "gtp-u", "H323": "h323", "HSRP": "hsrp", "HTTP": "http", "HTTP_Proxy": "http",
    "HTTP2": "http", "IAX": "iax2", "ICMP": "icmp", "ICMPV6": "icmpv6", "IGMP": "igmp", "IMAP": "imap", "IPSec": "ike",
    "Kerberos": "kerberos", "LDAP": "ldap", "LLMNR": "llmnr", "MDNS": "mdns", "MQTT": "mqtt", "Megaco": "megaco",
    "NTP": "ntp", "NetBIOS": "netbios", "NetFlow": "netflow", "OSPF": "ospf", "OpenVPN": "openvpn", "PFCP": "pfcp",
    "PIM": "pim", "POP3": "pop3", "PPTP": "pptp", "QUIC": "quic", "RADIUS": "radius", "RDP": "rdp", "RIP": "rip",
    "RTCP": "rtcp", "RTP": "rtp", "RTSP": "rtsp", "SIP": "sip", "SMBv1": "smb", "SMBv23": "smb", "SMTP": "smtp",
    "SNMP": "snmp", "SSDP": "ssdp", "SSH": "ssh", "STUN": "stun", "SRTP": "rtp", "Skinny": "skinny", "CiscoSkinny": "skinny",
    "Syslog": "syslog", "TACACS": "tacacs", "TFTP": "tftp", "TLS": "tls", "Telnet": "telnet", "VRRP": "vrrp",
    "WireGuard": "wireguard", "L2TP": "l2tp", "sFlow": "sflow", "BFD": "bfd", "Megaco/H.248": "megaco", "MGCP": "mgcp",
    "BFCP": None, "ESP": "esp", "AH": "ah", "WCCP": "wccp",
}  # fmt: skip

# Names of ours that nDPI has one name for.
SAME = {"mdns": "dns", "llmnr": "dns", "h225": "h323", "h245": "h323", "ras": "h323", "srtp": "rtp"}

# The services of Zeek's conn.log that are applications of ours.
ZEEK = {
    "dns": "dns", "http": "http", "ssl": "tls", "quic": "quic", "ssh": "ssh", "ftp": "ftp", "smtp": "smtp", "sip": "sip",
    "snmp": "snmp", "ntp": "ntp", "dhcp": "dhcp", "rdp": "rdp", "rfb": None, "krb_tcp": "kerberos", "krb": "kerberos",
    "mqtt": "mqtt", "radius": "radius", "syslog": "syslog", "imap": "imap", "pop3": "pop3", "smb": "smb", "ldap_tcp": "ldap",
    "ldap_udp": "ldap", "gtpv1": "gtp-u", "ayiya": None, "teredo": None, "vxlan": None, "geneve": None, "websocket": "http",
}  # fmt: skip

# Calls, of which nDPI names the service, or what shares their ports: addresses (STUN), keys (DTLS), or QUIC.
CALLS = {
    "default__pcap__discord_mid_flow.pcap", "default__pcap__rtp.pcapng", "default__pcap__snapchat_call.pcapng",
    "default__pcap__snapchat_call_v1.pcapng", "default__pcap__stun_classic.pcap", "default__pcap__stun_google_meet.pcapng",
    "default__pcap__teams.pcap", "default__pcap__whatsapp_login_call.pcap",
}  # fmt: skip

# Why a flow has another label here.
REASONS = {
    "default__pcap__coap_mqtt.pcap": "other port, and the flow begins after its CONNECT: two bytes a message are no signature",
    "default__pcap__quic-fuzz-overflow.pcapng": "made by a fuzzer: no version of QUIC that exists",
    "default__pcap__bittorrent_utp.pcap": "uTP alone: its first bytes are too common to be a signature",
}

VOICE = {"voice-signalling", "voice-media"}

LINE = re.compile(
    r"^\t\d+\t(?P<protocol>\S+) (?P<a>\S+) (?:<->|->) (?P<b>\S+) (?:\[VLAN: \d+\])?\[proto: (?:GTP:|\w+:)?[\d.]+/(?P<name>[^\]]+)\]"
    r".*?\[Confidence: (?P<confidence>[^\]]+)\]"
)
PACKETS = re.compile(r"\[(\d+) pkts/\d+ bytes (?:<->|->) (\d+) pkts/")

PROTOCOLS = {
    "TCP": 6,
    "UDP": 17,
    "ICMP": 1,
    "ICMPV6": 58,
    "IGMP": 2,
    "SCTP": 132,
    "OSPF": 89,
    "VRRP": 112,
    "PIM": 103,
}


class Flow(NamedTuple):
    """A conversation, the lower endpoint first."""

    protocol: int
    a: tuple[str, int]
    b: tuple[str, int]


VOICE_APPS = {"sip", "rtp", "rtcp", "h323", "megaco", "mgcp", "skinny", "iax2"}


@dataclass
class Score:
    """What was compared."""

    flows: Counter[str] = field(default_factory=Counter)
    packets: Counter[str] = field(default_factory=Counter)
    equal_flows: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)
    confusions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    false_voice: list[str] = field(default_factory=list)
    not_found: int = 0
    captures: int = 0

    @property
    def share(self) -> float:
        """Share of packets in flows that have the same application on both sides."""
        return self.equal.total() / max(1, self.packets.total())


def endpoint(text: str) -> tuple[str, int]:
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port.removeprefix(":") or 0)
    address, _, port = text.rpartition(":")
    return address, int(port)


def judged(path: Path) -> Iterator[tuple[Flow, str, int]]:
    """Flows of an expected result that nDPI told from their bytes, the protocol it says, and their packets."""
    for line in path.read_text(errors="replace").splitlines():
        match, packets = LINE.match(line), PACKETS.search(line)
        if match is None or packets is None or match["confidence"] != "DPI":
            continue
        protocol = PROTOCOLS.get(match["protocol"])
        if protocol is None:
            continue
        a, b = sorted((endpoint(match["a"]), endpoint(match["b"])))
        yield Flow(protocol, a, b), match["name"].partition(".")[0], sum(map(int, packets.groups()))


def labelled(path: Path) -> dict[Flow, tuple[list[str], set[str]]]:
    """Our labels of each flow: the applications with the strongest basis, most packets first; and the traffic classes."""
    columns = ["protocol", "src", "dst", "src_port", "dst_port", "app", "basis", "traffic"]
    table = tapsight.open(str(path), columns=columns).to_polars()
    grouped = (
        table.drop_nulls("protocol")
        .group_by(columns)
        .len()
        .with_columns(pl.col("app", "basis", "traffic").cast(pl.String))
    )
    seen: dict[Flow, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    classes: dict[Flow, set[str]] = defaultdict(set)
    for row in grouped.sort("len", descending=True).iter_rows(named=True):
        ends = (
            (tapsight.addresses.to_text([row["src"]])[0].as_py(), row["src_port"] or 0),
            (tapsight.addresses.to_text([row["dst"]])[0].as_py(), row["dst_port"] or 0),
        )
        a, b = sorted(ends)
        flow = Flow(row["protocol"], a, b)
        if row["app"] is not None:
            seen[flow][row["basis"]][row["app"]] += row["len"]
            if row["basis"] != "port":
                classes[flow].add(row["traffic"])
        else:
            seen[flow]["none"]["unknown"] += row["len"]
    result = {}
    for flow, by_basis in seen.items():
        # Media, keys and addresses of a call share ports (RFC 7983): whatever the bytes say counts.
        told = by_basis["signature"] + by_basis["behaviour"] or by_basis["port"] or by_basis["none"]
        result[flow] = ([app for app, _ in told.most_common()], classes[flow])
    return result


def zeek_services(path: Path) -> Iterator[tuple[Flow, str, int]]:
    """Connections of a conn.log that Zeek told the service of, the service, and their packets."""
    fields: list[str] = []
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("#fields"):
            fields = line.split("\t")[1:]
        if line.startswith("#") or not {"id.orig_h", "service", "orig_pkts", "resp_pkts"} <= set(fields):
            continue
        row = dict(zip(fields, line.split("\t"), strict=False))
        protocol = PROTOCOLS.get(row["proto"].upper())
        packets = sum(int(row[name]) for name in ("orig_pkts", "resp_pkts") if row[name].isdigit())
        if row["service"] == "-" or protocol is None:
            continue
        a, b = sorted(((row["id.orig_h"], int(row["id.orig_p"])), (row["id.resp_h"], int(row["id.resp_p"]))))
        yield Flow(protocol, a, b), row["service"], packets


def compare(captures: Path, index: list[dict[str, str]], judge: str = "nDPI") -> Score:
    """Compare all captures that nDPI, or Zeek, has an expected result for."""
    names, flows = (NAMES, judged) if judge == "nDPI" else (ZEEK, zeek_services)
    score = Score()
    for row in index:
        truths = [
            name
            for name in row["truth"].split(",")
            if ("ntop__nDPI" in name and name.endswith(".out") and judge == "nDPI")
            or ("zeek__zeek" in name and "conn.log" in name and judge == "Zeek")
        ]
        if not truths:
            continue
        try:
            ours = labelled(captures / row["file"])
        except (tapsight.CaptureError, OSError):
            continue
        score.captures += 1
        file = (
            row["file"]
            .rpartition("/")[2]
            .removeprefix("tests__cfgs__")
            .removeprefix("testing__btest__Traces__")
        )
        for truth in truths:
            for flow, name, packets in flows(captures / truth):
                found = ours.get(flow)
                if found is None:
                    score.not_found += packets
                    continue
                apps, classes = found
                # Zeek names all that it found in a flow.
                known = [names[part] for part in name.split(",") if names.get(part)]
                expected = next((app for app in known if app in apps), (known or [None])[0])
                if classes & VOICE and expected not in VOICE_APPS and file not in CALLS:
                    score.false_voice.append(f"{file}: {flow} is {name}, not {apps}")
                if expected is None:
                    continue
                score.flows[expected] += 1
                score.packets[expected] += packets
                if expected in apps or expected in (SAME.get(app) for app in apps):
                    score.equal_flows[expected] += 1
                    score.equal[expected] += packets
                else:
                    score.confusions[expected, apps[0], file] += packets
    return score


def table(score: Score) -> Iterator[str]:
    """The score as Markdown."""
    yield "| application | flows | alike | packets | alike |"
    yield "|---|---:|---:|---:|---:|"
    for app in sorted(score.flows):
        counts = (score.flows[app], score.equal_flows[app], score.packets[app], score.equal[app])
        yield f"| {app} | " + " | ".join(f"{count:,}" for count in counts) + " |"
    total = (score.flows, score.equal_flows, score.packets, score.equal)
    yield "| **all** | " + " | ".join(f"**{count.total():,}**" for count in total) + " |"
    yield ""
    yield f"Packets in flows that are alike: {score.share:.2%}. {score.captures} captures."
    yield ""
    yield "| said | ours | packets | capture | why |"
    yield "|---|---|---:|---|---|"
    for (said, ours, file), count in score.confusions.most_common():
        yield f"| {said} | {ours} | {count:,} | {file} | {REASONS.get(file, '')} |"


def main() -> int:
    """Print the tables of docs/labels.md."""
    from conftest import capture_index, captures_dir

    warnings.simplefilter("ignore")
    directory = captures_dir()
    if directory is None:
        print("needs captures (TAPSIGHT_CAPTURES)", file=sys.stderr)  # noqa: T201
        return 2
    index = list(capture_index())
    for judge in ("nDPI", "Zeek"):
        score = compare(directory, index, judge)
        print(f"## {judge}\n")  # noqa: T201
        print("\n".join(table(score)) + "\n")  # noqa: T201
        for line in score.false_voice:
            print(line, file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
