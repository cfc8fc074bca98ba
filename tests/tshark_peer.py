"""tshark as an independent reader: the same fields of the same frames, and where the two differ.

Run as a script, it writes the table of agreement over all captures to docs/agreement.md.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Self

import tapsight

FIELDS = [
    "frame.number", "frame.time_epoch", "frame.cap_len", "frame.len", "frame.protocols",
    "ip.src", "ip.dst", "ip.ttl", "ip.proto", "ip.id", "ip.dsfield", "ip.frag_offset",
    "ipv6.src", "ipv6.dst", "ipv6.hlim", "ipv6.nxt", "ipv6.tclass",
    "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.window_size_value",
    "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport",
    "vlan.id", "ieee8021ad.id", "mpls.label", "eth.src", "eth.dst", "wlan.sa", "wlan.da", "isl.src", "isl.dst", "isl.vlan_id",
    "dccp.srcport", "dccp.dstport", "ip.flags.mf", "ipv6.fraghdr.more", "ipv6.fraghdr.offset", "udp.length", "tcp.len",
    "gre.key", "gre.proto", "gre.flags.sequence_number", "erspan.version", "erspan.spanid", "vxlan.vni", "geneve.vni", "gtp.teid",
    "nsh.spi", "l2tp.tunnel", "l2tp.session", "lisp-data.iid", "lisp-data.flags.iid", "esp.spi", "gre.key.call_id",
]  # fmt: skip

COMPARED = [
    "encap", "tunnel_id", "fragment",
    "ts", "cap_len", "wire_len", "eth_src", "eth_dst", "vlan", "vlan_inner", "mpls",
    "outer_src", "outer_dst", "ip_version", "src", "dst", "ttl", "tos", "ip_id", "protocol",
    "src_port", "dst_port", "tcp_flags", "tcp_seq", "tcp_ack", "tcp_window",
]  # fmt: skip

COLUMNS = [*COMPARED, "frame", "issue"]

# Layers that both sides walk over from one packet to the one inside it. tshark goes through more than these.
WALKED = {
    "eth", "ethertype", "vlan", "mpls", "pwethheuristic", "pwethcw", "pwethnocw", "data", "llc", "sll", "null", "raw", "loop",
    "ip", "ipv6", "gre", "erspan", "vxlan", "geneve", "gtp", "udp", "ipv6.hopopts", "ipv6.dstopts", "ipv6.routing",
    "ipv6.fraghdr", "ah", "ieee8021ad", "ppp", "pppoes", "chdlc", "fr", "wlan_radio", "wlan", "wlan_aggregate", "radiotap",
    "ppi", "nflog", "ipoib", "juniper", "pktap", "pcap_pktdata", "cfp", "cmd", "etag", "ieee8021ah", "vntag", "macsec", "isl",
    "vxlan_gpe", "nsh", "l2tp", "lisp", "teredo", "lisp-data", "capwap.data", "pim", "etherip", "esp", "tzsp", "udpencap", "pcap",
}  # fmt: skip


# Captures with custom blocks, which tshark numbers as frames.
NUMBERED_OTHERWISE = {
    f"hadrielk__pcapng-test-generator/output_{order}__{test}.pcapng"
    for order in ("be", "le")
    for test in ("basic__test010", "basic__test012", "basic__test017", "basic__test018", "difficult__test201")
}

# Captures made to have fractions of a second that are none.
BAD_FRACTIONS = {
    "tests__timestamp_invalid_micro.pcap",
    "tests__timestamp_invalid_nano.pcap",
    "tests__cfgs__default__pcap__fuzz-2021-10-13.pcap",
}


def is_available() -> bool:
    """Whether tshark is on this machine."""
    return shutil.which("tshark") is not None


@dataclass
class Agreement:
    """How often each field agreed, and what differed for which reason."""

    equal: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    frames_compared: int = 0
    frames_equal: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def __iadd__(self, other: Agreement) -> Self:
        self.equal += other.equal
        self.frames += other.frames
        self.frames_compared += other.frames_compared
        self.frames_equal += other.frames_equal
        self.compared += other.compared
        self.explained += other.explained
        self.differences += other.differences
        return self


def tshark_rows(path: Path) -> list[dict[str, list[str]]]:
    """One dictionary a frame, each field with all its occurrences."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,"]
    # Each frame by itself: nothing joined from several, no guesses by content.
    for option in ("ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE",
                   "esp.enable_null_encryption_decode_heuristic:TRUE", "tcp.try_heuristic_first:FALSE", "udp.try_heuristic_first:FALSE"):  # fmt: skip
        command += ["-o", option]
    for name in FIELDS:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, check=False)
    if b"aren't valid" in done.stderr:
        raise RuntimeError(done.stderr.decode())
    output = done.stdout.decode("utf-8", "replace")
    rows = []
    for line in output.split("\n"):
        cells = line.split("\t")
        if len(cells) == len(FIELDS):
            rows.append(
                {name: cell.split(",") if cell else [] for name, cell in zip(FIELDS, cells, strict=True)}
            )
    return rows


def expected(row: dict[str, list[str]]) -> tuple[dict[str, object], str | None]:
    """What tshark says of the columns; and the reason if it walked into layers that are not read here."""
    protocols = row["frame.protocols"][0].split(":") if row["frame.protocols"] else []
    # What an error message quotes is no packet on this link.
    quoting = next((place for place, name in enumerate(protocols, 1) if name in ("icmp", "icmpv6")), None)
    protocols = protocols[:quoting]
    out: dict[str, object] = {
        "cap_len": int(row["frame.cap_len"][0]),
        "wire_len": int(row["frame.len"][0]),
    }
    if row["frame.time_epoch"]:
        out["ts"] = int(Decimal(row["frame.time_epoch"][0]) * 10**9)
    counts: Counter[str] = Counter()
    networks: list[tuple[str, int]] = []
    transport: tuple[str, int] | None = None
    vlans: list[int] = []
    mpls_outside = 0
    foreign = None
    for protocol in protocols:
        if protocol in ("ip", "ipv6"):
            networks.append((protocol, counts[protocol]))
            transport = None
        elif protocol in ("tcp", "udp", "sctp", "udplite", "dccp") and networks:
            transport = (protocol, counts[protocol])
        elif protocol not in WALKED:
            rest = protocols[protocols.index(protocol) + 1 :]
            if "ip" in rest or "ipv6" in rest:
                foreign = protocol
            break
        if protocol in ("vlan", "ieee8021ad") and not networks and not counts["mpls"]:
            ids = row["vlan.id" if protocol == "vlan" else "ieee8021ad.id"]
            vlans += [int(value) for value in ids[counts[protocol] : counts[protocol] + 1]]
        counts[protocol] += 1
        mpls_outside += protocol == "mpls" and not networks
    if row["isl.dst"]:
        out["eth_src"], out["eth_dst"] = row["isl.src"][0], row["isl.dst"][0]
        vlans = [int(row["isl.vlan_id"][0], 0), *vlans]
    elif "wlan" in protocols[:3] and row["wlan.sa"]:
        out["eth_src"], out["eth_dst"] = row["wlan.sa"][0], row["wlan.da"][0]
    elif row["eth.src"] and protocols[:1] == ["eth"]:
        out["eth_src"], out["eth_dst"] = row["eth.src"][0], row["eth.dst"][0]
    out["vlan"] = vlans[0] if vlans else None
    out["vlan_inner"] = vlans[1] if len(vlans) > 1 else None
    out["encap"], out["tunnel_id"] = expected_encap(row, protocols)
    if mpls_outside == 1:
        out["mpls"] = [int(value, 0) for value in row["mpls.label"]][:8]
    if not networks:
        out |= {"src": None, "dst": None, "ip_version": None}
        return out, foreign
    (kind, n), (outer_kind, outer_n) = networks[-1], networks[0]

    def at(name: str, n: int) -> str | None:
        values = row[name]
        return values[n] if n < len(values) else None

    def number(name: str, n: int) -> int | None:
        value = at(name, n)
        return None if value is None else int(value, 0)

    out["ip_version"] = 4 if kind == "ip" else 6
    out["src"], out["dst"] = at(f"{kind}.src", n), at(f"{kind}.dst", n)
    if len(networks) > 1:
        out["outer_src"], out["outer_dst"] = (
            at(f"{outer_kind}.src", outer_n),
            at(f"{outer_kind}.dst", outer_n),
        )
    if kind == "ip":
        more, offset = at("ip.flags.mf", n) == "1", number("ip.frag_offset", n)
        out["fragment"] = {(False, False): None, (True, False): "first", (True, True): "middle"}.get(
            (more, bool(offset)), "last"
        )
        out |= {"ttl": number("ip.ttl", n), "protocol": number("ip.proto", n), "ip_id": number("ip.id", n)}
        out["tos"] = number("ip.dsfield", n)
    else:
        parts = zip(row["ipv6.fraghdr.more"][-1:], row["ipv6.fraghdr.offset"][-1:], strict=True)
        for more, at_unit in parts if "ipv6.fraghdr" in protocols else ():
            place = (more == "1", int(at_unit) > 0)
            out["fragment"] = {(False, False): None, (True, False): "first", (True, True): "middle"}.get(
                place, "last"
            )
        out |= {"ttl": number("ipv6.hlim", n), "tos": number("ipv6.tclass", n)}
        if not any(protocol.startswith("ipv6.") or protocol == "ah" for protocol in protocols):
            out["protocol"] = number("ipv6.nxt", n)
    if transport is None:
        # Later fragments have the ports of their first here, and none there without reassembly.
        if out.get("fragment") in (None, "first"):
            out |= {"src_port": None, "dst_port": None}
    elif transport[0] in ("tcp", "udp", "sctp", "dccp"):
        name, n = transport
        out |= {"src_port": number(f"{name}.srcport", n), "dst_port": number(f"{name}.dstport", n)}
        if name == "tcp":
            out |= {"tcp_flags": number("tcp.flags", n), "tcp_seq": number("tcp.seq_raw", n)}
            out |= {"tcp_ack": number("tcp.ack_raw", n), "tcp_window": number("tcp.window_size_value", n)}
    return out, foreign


# Layers of tshark that are one encapsulation of ours each, and the field that is its identifier.
ENCAPS = {
    "gre": ("gre", "gre.key"), "vxlan": ("vxlan", "vxlan.vni"), "vxlan_gpe": ("vxlan-gpe", "vxlan.vni"),
    "geneve": ("geneve", "geneve.vni"), "nsh": ("nsh", "nsh.spi"), "teredo": ("teredo", None),
    "lisp-data": ("lisp", "lisp-data.iid"), "lisp": ("lisp", None), "capwap.data": ("capwap", None), "etherip": ("etherip", None),
    "tzsp": ("tzsp", None), "pim": ("pim", None),
}  # fmt: skip


def expected_encap(row: dict[str, list[str]], protocols: list[str]) -> tuple[str | None, int | None]:
    """The encapsulations that tshark walked through up to the last packet, and the identifier of the first that has one."""
    quoting = next(
        (place for place, name in enumerate(protocols) if name in ("icmp", "icmpv6")), len(protocols)
    )
    protocols = protocols[:quoting]
    carried = ("ip", "ipv6", "arp", "lcp")
    last = max((place for place, name in enumerate(protocols) if name in carried), default=-1)
    stack: list[str] = []
    ids: list[int] = []
    seen: Counter[str] = Counter()
    in_packet = False
    before = ""

    def add(encap: str, field: str | None) -> None:
        stack.append(encap)
        ids.extend(int(value, 0) for value in (row[field] if field else [])[seen[name] : seen[name] + 1])

    for place, name in enumerate(protocols):
        # What a tunnel's header is the last of carries something that neither reads further.
        if place > last and name not in ("gre", "erspan", "vxlan", "geneve", "esp"):
            continue

        if name in ("ip", "ipv6"):
            if before in ("ip", "ipv6", "ah") or before.startswith("ipv6."):
                stack.append("ipip" if name == "ip" else "ip6")
            in_packet = True
        elif name == "erspan":
            version = (row["erspan.version"][seen[name] :] or [None])[0]
            if version is not None:
                # The session takes the place of the key of the GRE around it.
                del ids[len(ids) - bool(row["gre.key"]) :]
            add({"1": "erspan2", "2": "erspan3"}.get(version or "", "erspan1"), "erspan.spanid")
        elif name == "gtp" and protocols[place + 1 : place + 2] in (["ip"], ["ipv6"]):
            add("gtpu", "gtp.teid")
        elif name == "mpls" and in_packet and before != "mpls":
            add("mpls", "mpls.label")
        elif name == "esp" and protocols[place + 1 : place + 2] in (["ip"], ["ipv6"], ["udp"], ["tcp"]):
            add("esp", "esp.spi")
        elif name == "l2tp":
            stack.append("l2tp")
            ids += [
                int(tunnel) << 16 | int(session)
                for tunnel, session in zip(row["l2tp.tunnel"], row["l2tp.session"], strict=True)
            ][:1]
        elif name == "gre" and row["gre.key.call_id"] and protocols[place + 1 : place + 2] == ["ppp"]:
            add("gre", "gre.key.call_id")
        elif name == "nsh" and before == "udp":
            # tshark has no name for the VXLAN-GPE header between the two.
            stack.append("vxlan-gpe")
            ids += [int(value, 0) for value in row["vxlan.vni"]]
            add("nsh", "nsh.spi")
        elif name == "esp" and not ids:
            ids += [int(value, 0) for value in row["esp.spi"][:1]]
        elif name in ENCAPS:
            add(*ENCAPS[name])
        seen[name] += 1
        before = name
    return "/".join(stack) or None, ids[0] if ids else None


def our_rows(path: Path) -> list[dict[str, object]]:
    """One dictionary a frame, addresses as text."""
    table = tapsight.open(str(path), columns=COLUMNS).to_pyarrow()
    columns: dict[str, list[object]] = {}
    for name in COLUMNS:
        column = table[name]
        if name in ("src", "dst", "outer_src", "outer_dst"):
            column = tapsight.addresses.to_text(column)
        elif name in ("eth_src", "eth_dst"):
            column = tapsight.addresses.mac_to_text(column)
        elif name == "ts":
            column = column.cast("int64")
        columns[name] = column.to_pylist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def compare(path: Path, name: str) -> Agreement:
    """Compare every frame of a capture that both read."""
    result = Agreement()
    try:
        ours = our_rows(path)
    except (tapsight.CaptureError, OSError, ValueError):
        result.explained["a format that is not read here"] += 1
        return result
    result.frames = len(ours)
    theirs = tshark_rows(path)
    if not theirs:
        result.explained["tshark does not read the capture"] += len(ours)
        return result
    if len(ours) != len(theirs) and name not in NUMBERED_OTHERWISE:
        result.differences.append(f"{name}: {len(ours)} frames, tshark {len(theirs)}")
        return result
    if name in NUMBERED_OTHERWISE:
        # capinfos counts as we do: tests of the engine compare with it.
        result.explained["tshark numbers custom blocks as frames"] += len(ours)
        return result
    for us, row in zip(ours, theirs, strict=True):
        them, foreign = expected(row)
        reason = explain(us, them, name, row["frame.protocols"][0].split(":"), foreign)
        if reason is not None:
            result.explained[reason] += 1
        before = len(result.differences)
        for column in () if reason else COMPARED:
            if column not in them:
                continue
            result.compared[column] += 1
            if us[column] == them[column]:
                result.equal[column] += 1
            elif us["issue"] is not None:
                # tshark shows the fields of a header that is wrong or cut short one by one, as far as they go.
                result.explained[f"field of a malformed frame: {us['issue']}"] += 1
                result.compared[column] -= 1
            else:
                result.differences.append(
                    f"{name} frame {us['frame']} {column}: {us[column]!r}, tshark {them[column]!r}"
                    f" ({row['frame.protocols']} issue {us['issue']} encap {us['encap']})"
                )
        result.frames_compared += reason is None
        result.frames_equal += reason is None and len(result.differences) == before
    return result


def explain(
    us: dict[str, object], them: dict[str, object], name: str, protocols: list[str], foreign: str | None
) -> str | None:
    """Why the layers of this frame are not compared, if there is a reason."""
    theirs = them.get("ts")
    if us["issue"] == "link-unsupported":
        return "link type not read yet"
    if us["ts"] in (-(2**63), 2**63 - 1) or theirs is None or theirs == 0:
        return "no time, or one that 64 bits of nanoseconds do not hold"
    if isinstance(theirs, int) and theirs < 0:
        return "seconds above 2^31 in a pcap, which tshark shows as negative"
    if name.rpartition("/")[2] in BAD_FRACTIONS:
        return "a fraction of a second that is one or more, which we carry over"
    if isinstance(us["wire_len"], int) and us["wire_len"] >= 2**31:
        return "a length above 2^31, which tshark shows as 2^31 - 1"
    if "cfp" in protocols:
        return "in fabric path, where tshark takes the last four bytes of a frame for its checksum"
    if foreign is not None:
        return f"carried by {foreign}, which is not read yet"
    return None


def main() -> int:
    """Compare all captures; print the table of agreement in Markdown, and any difference that has no reason."""
    from concurrent.futures import ThreadPoolExecutor

    from conftest import capture_index, captures_dir

    directory = captures_dir()
    if directory is None or not is_available():
        print("needs tshark and captures (TAPSIGHT_CAPTURES)", file=sys.stderr)  # noqa: T201
        return 2
    total = Agreement()
    by_tag: dict[str, Agreement] = defaultdict(Agreement)
    index = list(capture_index())
    with ThreadPoolExecutor(2) as pool:
        for row, result in zip(
            index, pool.map(lambda row: compare(directory / row["file"], row["file"]), index), strict=True
        ):
            total += result
            for tag in row["tags"].split(","):
                by_tag[tag] += result
    print("| column | compared | equal | different |\n|---|---:|---:|---:|")  # noqa: T201
    for column in COMPARED:
        compared, equal = total.compared[column], total.equal[column]
        print(f"| `{column}` | {compared:,} | {equal:,} | {compared - equal:,} |")  # noqa: T201
    print("\n| not compared, because | frames or fields |\n|---|---:|")  # noqa: T201
    for reason, count in sorted(total.explained.items(), key=lambda item: (-item[1], item[0])):
        print(f"| {reason} | {count:,} |")  # noqa: T201
    print("\n| tag | frames | compared | equal in every column |\n|---|---:|---:|---:|")  # noqa: T201
    for tag, agreement in sorted(by_tag.items()):
        counts = (agreement.frames, agreement.frames_compared, agreement.frames_equal)
        print(f"| {tag} | " + " | ".join(f"{count:,}" for count in counts) + " |")  # noqa: T201
    for line in total.differences:
        print(line, file=sys.stderr)  # noqa: T201
    return int(bool(total.differences))


if __name__ == "__main__":
    sys.exit(main())
