"""Side tables against tshark, field by field, over all captures that hold the protocol."""

from __future__ import annotations

import io
import ipaddress
import random
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import capture_index, captures_dir
from tshark_peer import NUMBERED_OTHERWISE, is_available

import tapsight
from tapsight.lab import mobile

MACHINE = ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE"]


def number(text: str) -> int:
    return int(text, 0)


def truth(text: str) -> bool:
    return text in ("1", "True")


def address(text: str) -> bytes:
    return ipaddress.ip_address(text if ":" in text else f"::ffff:{text}").packed


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


class Peer(NamedTuple):
    """How tshark says what a side table says: tags of captures, which frames, and a field for each column."""

    tags: set[str]
    frames: str
    fields: dict[str, tuple[str, Callable[[str], Any]]]
    least: int


# By table, and what of it where tshark has other fields for it.
PEERS = {
    "dns": Peer(
        {"dns", "mdns", "llmnr"},
        "dns or mdns or llmnr",
        {
            "id": ("dns.id", number),
            "is_response": ("dns.flags.response", truth),
            "opcode": ("dns.flags.opcode", number),
            "rcode": ("dns.flags.rcode", number),
            "questions": ("dns.count.queries", number),
            "answers": ("dns.count.answers", number),
            "qtype": ("dns.qry.type", number),
            "qname": ("dns.qry.name", str),
        },
        2000,
    ),
    "tcp": Peer(
        {"sip-tcp", "ssh", "mptcp", "bgp", "rtsp", "tcp-injection"},
        "tcp.flags.syn == 1",
        {
            "seq": ("tcp.seq_raw", number),
            "ack": ("tcp.ack_raw", number),
            "urgent": ("tcp.urgent_pointer", number),
            "options": ("tcp.options", lambda text: text.replace(":", "")),
            "window": ("tcp.window_size_value", number),
            "mss": ("tcp.options.mss_val", number),
            "window_scale": ("tcp.options.wscale.shift", number),
            "tsval": ("tcp.options.timestamp.tsval", number),
            "tsecr": ("tcp.options.timestamp.tsecr", number),
        },
        1000,
    ),
    "tls": Peer(
        {"dtls", "sip-tcp", "http2", "imap", "smtp", "ldap", "rdp", "doh", "dot"},
        "tls.handshake.type in {1, 2} or dtls.handshake.type in {1, 2}",
        {
            "handshake": ("tls.handshake.type", number),
            "sni": ("tls.handshake.extensions_server_name", str),
            "alpn": ("tls.handshake.extensions_alpn_str", str),
            "cipher_suite": ("tls.handshake.ciphersuite", number),
        },
        100,
    ),
    "sip": Peer(
        {"sip", "sip-ws"},
        "sip",
        {
            "method": ("sip.Method", str),
            "request_uri": ("sip.r-uri", str),
            "status": ("sip.Status-Code", number),
            "call_id": ("sip.Call-ID", str),
            "cseq": ("sip.CSeq.seq", number),
            "cseq_method": ("sip.CSeq.method", str),
            "from": ("sip.From", str),
            "to": ("sip.To", str),
            "contact": ("sip.Contact", str),
            "via": ("sip.Via", str),
            "content_type": ("sip.Content-Type", str),
            "content_length": ("sip.Content-Length", number),
        },
        300,
    ),
    "rtp": Peer(
        {"rtp"},
        "rtp",
        {
            "payload_type": ("rtp.p_type", number),
            "marker": ("rtp.marker", truth),
            "seq": ("rtp.seq", number),
            "timestamp": ("rtp.timestamp", number),
            "ssrc": ("rtp.ssrc", number),
        },
        3000,
    ),
    "icmp": Peer(
        {"icmp-redirect", "icmpv6-redirect", "icmp-tunnel", "traceroute", "igmp"},
        "icmp",
        {
            "type": ("icmp.type", number),
            "code": ("icmp.code", number),
            "id": ("icmp.ident", number),
            "sequence": ("icmp.seq", number),
            "gateway": ("icmp.redir_gw", address),
        },
        100,
    ),
    "diameter": Peer(
        {"diameter"},
        "diameter",
        {
            "command": ("diameter.cmd.code", number),
            "application": ("diameter.applicationId", number),
            "is_request": ("diameter.flags.request", truth),
            "hop_by_hop": ("diameter.hopbyhopid", number),
            "end_to_end": ("diameter.endtoendid", number),
            "session_id": ("diameter.Session-Id", str),
            "origin_host": ("diameter.Origin-Host", str),
            "origin_realm": ("diameter.Origin-Realm", str),
            "destination_realm": ("diameter.Destination-Realm", str),
            "destination_host": ("diameter.Destination-Host", str),
            "result_code": ("diameter.Result-Code", number),
        },
        10,
    ),
    "rtcp": Peer(
        {"rtcp"},
        "rtcp.pt in {200, 201} and not icmp and count(rtcp.senderssrc) == 1",
        {
            "type": ("rtcp.pt", number),
            "ssrc": ("rtcp.senderssrc", number),
            "ntp_seconds": ("rtcp.timestamp.ntp.msw", number),
            "ntp_fraction": ("rtcp.timestamp.ntp.lsw", number),
            "timestamp": ("rtcp.timestamp.rtp", number),
            "sent_packets": ("rtcp.sender.packetcount", number),
            "sent_bytes": ("rtcp.sender.octetcount", number),
            "reported_ssrc": ("rtcp.ssrc.identifier", number),
            "fraction_lost": ("rtcp.ssrc.fraction", number),
            "lost": ("rtcp.ssrc.cum_nr", number),
            "highest_seq": ("rtcp.ssrc.high_seq", number),
            "jitter": ("rtcp.ssrc.jitter", number),
            "last_report": ("rtcp.ssrc.lsr", number),
            "delay": ("rtcp.ssrc.dlsr", number),
        },
        300,
    ),
    "neighbor of ARP": Peer(
        {"arp", "arp-gratuitous", "arp-spoof", "arp-conflict", "arp-dup-address"},
        "arp",
        {
            "operation": ("arp.opcode", number),
            "sender": ("arp.src.proto_ipv4", address),
            "sender_mac": ("arp.src.hw_mac", mac),
            "target": ("arp.dst.proto_ipv4", address),
            "target_mac": ("arp.dst.hw_mac", mac),
            "eth_src": ("eth.src", mac),
        },
        1000,
    ),
    "neighbor of solicitations": Peer(
        {"icmpv6", "ndp-spoof"},
        "icmpv6.type == 135",
        {
            "operation": ("icmpv6.type", number),
            "sender": ("ipv6.src", address),
            "sender_mac": ("icmpv6.opt.src_linkaddr", mac),
            "target": ("icmpv6.nd.ns.target_address", address),
        },
        100,
    ),
    "neighbor of advertisements": Peer(
        {"icmpv6", "ndp-spoof"},
        "icmpv6.type == 136",
        {
            "target": ("icmpv6.nd.na.target_address", address),
            "target_mac": ("icmpv6.opt.target_linkaddr", mac),
            "is_router": ("icmpv6.nd.na.flag.r", truth),
            "is_solicited": ("icmpv6.nd.na.flag.s", truth),
            "is_override": ("icmpv6.nd.na.flag.o", truth),
        },
        100,
    ),
    "neighbor of routers": Peer(
        {"icmpv6", "ndp-spoof"},
        "icmpv6.type == 134",
        {
            "sender_mac": ("icmpv6.opt.src_linkaddr", mac),
            "router_lifetime": ("icmpv6.nd.ra.router_lifetime", number),
        },
        20,
    ),
    "fhrp of VRRP": Peer(
        {"vrrp"},
        "vrrp",
        {
            "version": ("vrrp.version", number),
            "operation": ("vrrp.type", number),
            "group": ("vrrp.virt_rtr_id", number),
            "priority": ("vrrp.prio", number),
            "address": ("vrrp.ip_addr", address),
            "ip_ttl": ("ip.ttl", number),
            "password": ("vrrp.auth_string", str),
        },
        50,
    ),
    "fhrp of HSRP": Peer(
        {"hsrp"},
        "hsrp.version == 0",
        {
            "operation": ("hsrp.opcode", number),
            "state": ("hsrp.state", number),
            "group": ("hsrp.group", number),
            "priority": ("hsrp.priority", number),
            "address": ("hsrp.virt_ip", address),
            "password": ("hsrp.auth_data", str),
        },
        50,
    ),
    "fhrp of HSRP version 2": Peer(
        {"hsrp"},
        "hsrp2.version",
        {
            "operation": ("hsrp2.opcode", number),
            "state": ("hsrp2.state", number),
            "group": ("hsrp2.group", number),
            "priority": ("hsrp2.priority", number),
            "address": ("hsrp2.virt_ip", address),
        },
        5,
    ),
    "fhrp of GLBP": Peer(
        {"glbp"},
        "glbp.hello.priority",
        {
            "version": ("glbp.version", number),
            "state": ("glbp.hello.vgstate", number),
            "group": ("glbp.group", number),
            "priority": ("glbp.hello.priority", number),
            "address": ("glbp.hello.virtualipv4", address),
        },
        4,
    ),
    "dhcp": Peer(
        {"dhcp"},
        "dhcp",
        {
            "message": ("dhcp.option.dhcp", number),
            "transaction": ("dhcp.id", number),
            "client_mac": ("dhcp.hw.mac_addr", mac),
            "server": ("dhcp.option.dhcp_server_id", address),
            "router": ("dhcp.option.router", address),
            "dns_server": ("dhcp.option.domain_name_server", address),
            "relay": ("dhcp.ip.relay", address),
            "next_server": ("dhcp.ip.server", address),
            "routers": ("dhcp.option.router", str),
            "dns_servers": ("dhcp.option.domain_name_server", str),
        },
        300,
    ),
    "dhcp of IPv6": Peer(
        {"dhcpv6"},
        "dhcpv6 and count(dhcpv6.msgtype) == 1",
        {
            "message": ("dhcpv6.msgtype", number),
            "transaction": ("dhcpv6.xid", number),
            "client": ("dhcpv6.iaaddr.ip", address),
        },
        50,
    ),
    "bgp": Peer(
        {"bgp", "bgp-update"},
        "count(bgp.type) == 1 and not bgp.update.path_attribute.as_path_segment.as2",
        {
            "type": ("bgp.type", number),
            "hold_time": ("bgp.open.holdtime", number),
            "router_id": ("bgp.open.identifier", address),
            "next_hop": ("bgp.update.path_attribute.next_hop", address),
            "first_as": ("bgp.update.path_attribute.as_path_segment.as4", number),
            "error": ("bgp.notify.major_error", number),
        },
        50,
    ),
    "aaa of RADIUS": Peer(
        {"radius"},
        "radius",
        {
            "type": ("radius.code", number),
            "id": ("radius.id", number),
            "nas": ("radius.NAS_IP_Address", address),
        },
        50,
    ),
    "aaa of TACACS+": Peer(
        {"tacacs"},
        "tacplus and count(tacplus.type) == 1",
        {
            "type": ("tacplus.type", number),
            "id": ("tacplus.session_id", number),
            "sequence": ("tacplus.seqno", number),
            "is_unencrypted": ("tacplus.flags.unencrypted", truth),
        },
        10,
    ),
    "gtp of version 1": Peer(
        {"gtpv1"},
        "gtp and udp.port == 2123 and not gtpv2",
        {
            "message": ("gtp.message", number),
            "teid": ("gtp.teid", number),
            "sequence": ("gtp.seq_number", number),
            "cause": ("gtp.cause", number),
            "control_teid": ("gtp.teid_cp", number),
            "data_teid": ("gtp.teid_data", number),
            "control_address": ("gtp.gsn_ipv4", address),
            "subscriber": ("gtp.user_ipv4", address),
        },
        50,
    ),
    "gtp of version 2": Peer(
        {"gtpv2-c"},
        "gtpv2",
        {
            "message": ("gtpv2.message_type", number),
            "teid": ("gtpv2.teid", number),
            "sequence": ("gtpv2.seq", number),
            "cause": ("gtpv2.cause", number),
            "control_teid": ("gtpv2.f_teid_gre_key", number),
            "control_address": ("gtpv2.f_teid_ipv4", address),
            "subscriber": ("gtpv2.pdn_addr_and_prefix.ipv4", address),
        },
        20,
    ),
    "ss7": Peer(
        {"m3ua"},
        "m3ua",
        {
            "opc": ("m3ua.protocol_data_opc", number),
            "dpc": ("m3ua.protocol_data_dpc", number),
            "service": ("m3ua.protocol_data_si", number),
            "network": ("m3ua.protocol_data_ni", number),
            "sccp_type": ("sccp.message_type", number),
            "called_ssn": ("sccp.called.ssn", number),
            "calling_ssn": ("sccp.calling.ssn", number),
            "called_gt": ("sccp.called.digits", str),
            "calling_gt": ("sccp.calling.digits", str),
            "otid": ("tcap.otid", lambda text: int(text.replace(":", ""), 16)),
            "dtid": ("tcap.dtid", lambda text: int(text.replace(":", ""), 16)),
            "operation": ("gsm_old.localValue", number),
            "context": ("tcap.application_context_name", str),
            "cic": ("isup.cic", number),
            "isup_type": ("isup.message_type", number),
        },
        20,
    ),
    "snmp": Peer(
        {"snmp"},
        "snmp.version and not snmp.version == 3",
        {
            "version": ("snmp.version", {"0": 1, "1": 2}.__getitem__),
            "pdu": ("snmp.data", number),
            "request": ("snmp.request_id", lambda text: number(text) & 0xFFFFFFFF),
            "error": ("snmp.error_status", number),
            "oids": ("snmp.name", str),
            "community_len": ("snmp.community", len),
        },
        50,
    ),
    "snmp of version 3": Peer(
        {"snmp"},
        "snmp.msgVersion == 3",
        {
            "version": ("snmp.msgVersion", number),
            "pdu": ("snmp.data", number),
            "is_authenticated": ("snmp.v3.flags.auth", truth),
            "is_encrypted": ("snmp.v3.flags.crypt", truth),
        },
        5,
    ),
    "wccp": Peer(
        {"wccp"},
        "wccp",
        {
            "message": ("wccp.message", number),
            "version": ("wccp.message_header_version", number),
            "service": ("wccp.service_info_std_id", number),
            "is_dynamic": ("wccp.service_info_type", truth),
            "has_password": ("wccp.security_info_option", truth),
        },
        20,
    ),
    "wccp of redirected packets": Peer(
        {"gre-wccp"},
        "gre.proto == 0x883e",
        {
            "service": ("gre.wccp.service_id", number),
            "is_dynamic": ("gre.wccp.dynamic_service", truth),
        },
        1,
    ),
    "ssh": Peer(
        {"ssh"},
        "ssh.protocol",
        {
            "version": ("ssh.protocol", lambda text: text.split("-")[1]),
            "software": ("ssh.protocol", lambda text: text.split("-", 2)[2].split(" ")[0]),
        },
        20,
    ),
    "ssh of group exchange": Peer(
        {"ssh"},
        "ssh.dh_gex.p",
        {"group_bits": ("ssh.dh_gex.p", lambda text: int(text.replace(":", ""), 16).bit_length())},
        1,
    ),
    "ike": Peer(
        {"isakmp"},
        "isakmp",
        {
            "version": ("isakmp.version", lambda text: number(text) >> 4),
            "exchange": ("isakmp.exchangetype", number),
            "is_response": ("isakmp.flag_r", truth),
            "message_id": ("isakmp.messageid", number),
            "initiator_spi": ("isakmp.ispi", lambda text: int(text.replace(":", ""), 16)),
            "responder_spi": ("isakmp.rspi", lambda text: int(text.replace(":", ""), 16)),
        },
        100,
    ),
    "routing_auth of OSPF": Peer(
        {"ospf"},
        "ospf",
        {
            "version": ("ospf.version", number),
            "type": ("ospf.msg", number),
            "auth": ("ospf.auth.type", {"0": "none", "1": "text", "2": "md5"}.__getitem__),
            "key_id": ("ospf.auth.crypt.key_id", number),
            "ip_ttl": ("ip.ttl", number),
        },
        300,
    ),
    "routing_auth of OSPF's trailer": Peer(
        {"ospf"},
        "ospf.at.sa_id",
        {
            "key_id": ("ospf.at.sa_id", number),
            "auth": (
                "ospf.at.auth_data_len",
                lambda text: {32: "sha1", 36: "sha1", 48: "sha256"}[number(text)],
            ),
        },
        1,
    ),
    "routing_auth of IS-IS": Peer(
        {"isis"},
        "isis",
        {"version": ("isis.version", number), "type": ("isis.type", number)},
        100,
    ),
    "routing_auth of EIGRP": Peer(
        {"eigrp"},
        "eigrp",
        {
            "version": ("eigrp.version", number),
            "type": ("eigrp.opcode", number),
            "auth": ("eigrp.auth.type", {"2": "md5", "3": "sha256"}.__getitem__),
            "key_id": ("eigrp.auth.keyid", number),
        },
        100,
    ),
    "routing_auth of RIP": Peer(
        {"rip"},
        "rip",
        {
            "version": ("rip.version", number),
            "type": ("rip.command", number),
            "auth": ("rip.auth.type", {"2": "text", "3": "cryptographic"}.__getitem__),
        },
        3,
    ),
    "routing_auth of BFD": Peer(
        {"bfd"},
        "bfd",
        {
            "version": ("bfd.version", number),
            "type": ("bfd.sta", number),
            "auth": (
                "bfd.auth.type",
                {"1": "text", "2": "md5", "3": "md5", "4": "sha1", "5": "sha1"}.__getitem__,
            ),
            "key_id": ("bfd.auth.key", number),
        },
        50,
    ),
    "routing_auth of VRRP": Peer(
        {"vrrp"},
        # CARP is as long as VRRP never is.
        "vrrp and not ip.len == 56",
        {
            "version": ("vrrp.version", number),
            "type": ("vrrp.type", number),
            "auth": ("vrrp.auth_type", {"0": "none", "1": "text", "2": "none"}.__getitem__),
            "ip_ttl": ("ip.ttl", number),
        },
        50,
    ),
    "routing_auth of HSRP": Peer(
        {"hsrp"},
        "hsrp.version == 0",
        {
            "auth": ("hsrp.auth_data", lambda _: "text"),
            "ip_ttl": ("ip.ttl", number),
        },
        20,
    ),
    "routing_auth of GLBP": Peer(
        {"glbp"},
        "glbp",
        {
            "type": ("glbp.type", number),
            "auth": ("glbp.auth.authtype", {"0": "none", "1": "text", "2": "md5", "3": "md5"}.__getitem__),
        },
        1,
    ),
    "transfer of TFTP": Peer(
        {"tftp"},
        "tftp.opcode == 1",
        {
            "operation": ("tftp.opcode", {"1": "RRQ"}.__getitem__),
            "name": ("tftp.source_file", str),
        },
        5,
    ),
    "transfer of FTP": Peer(
        {"ftp"},
        'ftp.request.command in {"RETR", "STOR", "STOU", "APPE"}',
        {
            "operation": ("ftp.request.command", str),
            "name": ("ftp.request.arg", str),
        },
        10,
    ),
    "transfer of HTTP": Peer(
        {"http"},
        'http.request.method in {"PUT", "POST"}',
        {
            "operation": ("http.request.method", str),
            "name": ("http.request.uri", str),
        },
        50,
    ),
}


# Made by a fuzzer: two methods in one CSeq, of which tshark shows the other.
KNOWN = {("tests__cfgs__default__pcap__fuzz-2006-06-26-2594.pcap", 155, "cseq_method")}


def alike(ours: Any, theirs: Any) -> bool:
    """Whether two values are the same; texts as far as both show their bytes alike: tshark ends them at a zero byte."""
    if not isinstance(ours, str):
        return bool(ours == theirs)
    strange = re.compile(r"[^ -\[\]-~].*", re.DOTALL)
    return strange.sub("", ours) == strange.sub("", theirs.replace("<Root>", "."))


def tshark_frames(path: Path, peer: Peer) -> dict[int, dict[str, str]]:
    """The first occurrence of each field, by frame."""
    command = ["tshark", "-n", "-r", str(path), "-Y", peer.frames, "-T", "fields", "-E", "occurrence=f"]
    for option in MACHINE:
        command += ["-o", option]
    for field in ("frame.number", *(field for field, _ in peer.fields.values())):
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, check=False)
    assert b"aren't valid" not in done.stderr, done.stderr
    frames = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        cells = line.split("\t")
        if len(cells) == len(peer.fields) + 1:
            frames[int(cells[0])] = dict(zip(peer.fields, cells[1:], strict=True))
    return frames


def our_frames(path: Path, table: str) -> dict[int, dict[str, Any]]:
    """The first row of each frame."""
    rows: dict[int, dict[str, Any]] = {}
    columns = tapsight.open(str(path), table=table).to_pyarrow()
    for row in columns.drop_columns("ts").to_pylist():
        rows.setdefault(row["frame"], row)
    return rows


@pytest.mark.parametrize("table", PEERS)
def test_messages_agree_with_tshark(table: str) -> None:
    directory = captures_dir()
    if directory is None:
        pytest.skip("no captures of other projects: set TAPSIGHT_CAPTURES to a folder with an INDEX.tsv")
    if not is_available():
        pytest.skip("tshark is not installed")
    peer = PEERS[table]
    table = table.split(" of ", maxsplit=1)[0]
    compared, differences = 0, []
    for capture in capture_index():
        if not peer.tags & set(capture["tags"].split(",")) or capture["file"] in NUMBERED_OTHERWISE:
            continue
        path = directory / capture["file"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tapsight.CaptureWarning)
            try:
                ours = our_frames(path, table)
            except (tapsight.CaptureError, OSError):
                continue
        for frame, them in tshark_frames(path, peer).items() if ours else ():
            us = ours.get(frame)
            if us is None:
                continue
            for column, (_, convert) in peer.fields.items():
                value = us[column][0] if isinstance(us[column], list) and us[column] else us[column]
                if not them[column] or value is None:
                    continue
                compared += 1
                if not alike(value, convert(them[column])) and (path.name, frame, column) not in KNOWN:
                    differences.append(
                        f"{capture['file']} {frame} {column}: {value!r}, tshark {them[column]!r}"
                    )
    assert differences == []
    assert compared > peer.least


def test_names_in_quic_are_those_that_tshark_decrypts() -> None:
    """Hellos that are in one packet; tshark joins those that are in several, and names them in the last."""
    directory = captures_dir()
    if directory is None or not is_available():
        pytest.skip("needs captures of other projects and tshark")
    command = ["-Y", "quic and tls.handshake.type == 1", "-Tfields", "-Eoccurrence=f"]
    fields = ["-e", "frame.number", "-e", "tls.handshake.extensions_server_name"]
    alike, missing, wrong = 0, 0, []
    for capture in capture_index():
        if "quic" not in capture["tags"].split(","):
            continue
        path = directory / capture["file"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tapsight.CaptureWarning)
            ours = our_frames(path, "tls")
        done = subprocess.run(
            ["tshark", "-r", str(path), *command, *fields], capture_output=True, text=True, check=False
        )
        for line in done.stdout.splitlines():
            frame, _, name = line.partition("\t")
            row = ours.get(int(frame), {})
            if not name or row.get("protocol") != "quic":
                continue
            alike += row["sni"] == name
            missing += row["sni"] is None
            if row["sni"] not in {None, name}:
                wrong.append(f"{path.name} {frame}: {row['sni']}, tshark {name}")
    assert wrong == []
    assert alike > 20
    assert missing < alike


LISTS = {
    "key_exchanges": "ssh.kex_algorithms",
    "host_keys": "ssh.server_host_key_algorithms",
    "ciphers_to_server": "ssh.encryption_algorithms_client_to_server",
    "ciphers_to_client": "ssh.encryption_algorithms_server_to_client",
}


def test_lists_of_ssh_are_those_of_tshark() -> None:
    """Lists that are whole in the segment in which they begin; tshark shows them where all of the message is."""
    directory = captures_dir()
    if directory is None or not is_available():
        pytest.skip("needs captures of other projects and tshark")
    peer = Peer({"ssh"}, "ssh.kex_algorithms", {name: (field, str) for name, field in LISTS.items()}, 0)
    compared, missing = 0, 0
    for capture in capture_index():
        if "ssh" not in capture["tags"].split(",") or capture["file"] in NUMBERED_OTHERWISE:
            continue
        # Made by hand: its packets are of no length that RFC 4253 section 6 allows.
        if "kex-quadratic-1000" in capture["file"]:
            continue
        path = directory / capture["file"]
        theirs = tshark_frames(path, peer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tapsight.CaptureWarning)
            try:
                table = tapsight.open(str(path), table="ssh").to_pyarrow().drop_columns("ts")
            except (tapsight.CaptureError, OSError):
                continue
        ours = {row["frame"]: row for row in table.to_pylist() if row["message"] == "key-exchange"}
        for frame, lists in theirs.items():
            row = ours.get(frame)
            missing += row is None
            for name, text in lists.items():
                if row is not None and text and row[name] is not None:
                    compared += 1
                    assert ",".join(row[name]) == text, (capture["file"], frame, name)
    assert (compared > 40, missing) == (True, 0)


IKE_CIPHERS = {
    "3": "3des",
    "12": "aes-cbc",
    "13": "aes-ctr",
    "20": "aes-gcm-16",
    "23": "camellia-cbc",
    "18": "aes-gcm-8",
    "19": "aes-gcm-12",
}
IKE_HASHES = {"1": "md5", "2": "sha1", "4": "sha256", "5": "sha384", "6": "sha512"}
IKE_PRFS = {
    "1": "md5",
    "2": "sha1",
    "4": "aes-xcbc",
    "5": "sha256",
    "6": "sha384",
    "7": "sha512",
    "8": "aes-cmac",
}
IKE_INTEGRITY = {"1": "md5", "2": "sha1", "5": "aes-xcbc", "12": "sha256", "13": "sha384", "14": "sha512"}
IKE_FIRST_CIPHERS = {"1": "des", "5": "3des", "7": "aes-cbc"}


def test_proposals_of_ike_are_those_of_tshark() -> None:
    directory = captures_dir()
    if directory is None or not is_available():
        pytest.skip("needs captures of other projects and tshark")
    fields = {
        "dh": ("isakmp.tf.id.dh", {}), "encr": ("isakmp.tf.id.encr", IKE_CIPHERS), "prf": ("isakmp.tf.id.prf", IKE_PRFS),
        "integ": ("isakmp.tf.id.integ", IKE_INTEGRITY), "bits": ("isakmp.ike2.attr.key_length", {}),
        "dh1": ("isakmp.ike.attr.group_description", {}), "encr1": ("isakmp.ike.attr.encryption_algorithm", IKE_FIRST_CIPHERS),
        "hash1": ("isakmp.ike.attr.hash_algorithm", IKE_HASHES), "bits1": ("isakmp.ike.attr.key_length", {}),
    }  # fmt: skip
    command = [
        "-Y",
        "isakmp.prop.protoid == 1",
        "-Tfields",
        "-Eoccurrence=a",
        "-Eaggregator=,",
        "-e",
        "frame.number",
    ]
    for field, _ in fields.values():
        command += ["-e", field]
    compared = {1: 0, 2: 0}
    for capture in capture_index():
        if "isakmp" not in capture["tags"].split(",") or capture["file"] in NUMBERED_OTHERWISE:
            continue
        path = directory / capture["file"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tapsight.CaptureWarning)
            ours = our_frames(path, "ike")
        done = subprocess.run(
            ["tshark", "-n", "-r", str(path), *command], capture_output=True, text=True, check=False
        )
        for line in done.stdout.splitlines():
            frame, *cells = line.split("\t")
            row = ours.get(int(frame))
            if row is None or row["proposals"] is None:
                continue
            said = {
                name: {names.get(text, text) for text in cell.split(",") if text}
                for cell, (name, (_, names)) in zip(cells, fields.items(), strict=True)
            }
            ciphers = [re.fullmatch(r"(.*?)(?:-(128|192|256))?", each) for each in row["encryption"]]
            assert all(ciphers)
            mine = {
                "encr": {each[1] for each in ciphers if each},
                "bits": {each[2] for each in ciphers if each and each[2]},
                "dh": {str(each) for each in row["dh_groups"]},
                "prf": set(row["prf"]),
                "integ": set(row["integrity"]),
            }
            where = (capture["file"], frame)
            if row["version"] == 2:
                assert mine == {name: said[name] for name in mine}, where
            else:
                theirs = (said["encr1"], said["bits1"], said["dh1"], said["hash1"])
                assert (mine["encr"], mine["bits"], mine["dh"], mine["integ"]) == theirs, where
            compared[row["version"]] += 1
    assert min(compared.values()) > 3, compared


def one(data: bytes, table: str) -> dict[str, Any]:
    rows = tapsight.open(data, table=table).to_pyarrow().drop_columns("ts").to_pylist()
    assert len(rows) == 1
    row: dict[str, Any] = rows[0]
    return row


def capture(payload: bytes, port: int) -> bytes:
    """A pcap with a datagram from 192.0.2.1 to 192.0.2.2 in each frame."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw
    from scapy.utils import PcapWriter

    buffer = io.BytesIO()
    writer = PcapWriter(buffer, linktype=1)
    writer.write(Ether() / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=port, dport=port) / Raw(payload))
    return buffer.getvalue()


def copied() -> bytes:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    return bytes(
        Ether()
        / IP(src="198.51.100.1", dst="198.51.100.2", id=7)
        / UDP(sport=20000, dport=30000)
        / Raw(b"a" * 100)
    )


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def addresses(row: dict[str, Any]) -> tuple[str, ...]:
    ends = [row["src"], row["dst"], row["sampled_src"], row["sampled_dst"]]
    return tuple(tapsight.addresses.to_text(ends).to_pylist())


ENDS = ("192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.2")


def packet_id() -> int:
    """The id that the sampled packet has where it is captured itself."""
    from scapy.layers.l2 import Ether
    from scapy.utils import PcapWriter

    buffer = io.BytesIO()
    PcapWriter(buffer, linktype=1).write(Ether(copied()))
    value = tapsight.open(buffer.getvalue(), columns=["packet_id"]).to_pyarrow()["packet_id"][0].as_py()
    assert isinstance(value, int)
    return value


def test_sflow_samples_are_copies_of_packets() -> None:
    # sFlow version 5: one flow sample with one raw header; the frame lost its checksum (4 bytes).
    frame = copied()
    padded = frame + bytes(-len(frame) % 4)
    record = words(1, len(frame) + 4, 4, len(frame)) + padded
    sample = words(1, 2, 512, 1000, 0, 1, 2, 1) + words(1, len(record)) + record
    datagram = words(5, 1, 0xC0000209, 0, 1, 99, 1) + words(1, len(sample)) + sample
    row = one(capture(datagram, 6343), "sample")
    assert addresses(row) == ENDS
    assert (row["carrier"], row["sampling_rate"], row["sampled_len"]) == ("sflow", 512, len(frame) + 4)
    assert (row["sampled_src_port"], row["sampled_dst_port"], row["sampled_protocol"]) == (20000, 30000, 17)
    assert row["sampled_packet_id"] == packet_id()


@pytest.mark.parametrize("is_variable", [False, True])
def test_ipfix_sections_are_copies_of_packets(is_variable: bool) -> None:
    # RFC 7011: template 256 with dataLinkFrameSize (312) and dataLinkFrameSection (315), then one record of it.
    frame = copied()
    length = 0xFFFF if is_variable else len(frame)
    template = bytes.fromhex("00020010 0100 0002 0138 0002 013b") + length.to_bytes(2, "big")
    record = len(frame).to_bytes(2, "big") + (bytes([len(frame)]) if is_variable else b"") + frame
    data = (256).to_bytes(2, "big") + (4 + len(record)).to_bytes(2, "big") + record
    body = template + data
    message = (10).to_bytes(2, "big") + (16 + len(body)).to_bytes(2, "big") + words(0, 1, 5) + body
    row = one(capture(message, 4739), "sample")
    assert addresses(row) == ENDS
    assert (row["carrier"], row["sampled_len"]) == ("ipfix", len(frame))
    assert row["sampled_packet_id"] == packet_id()


def test_hep_carries_addresses_of_what_it_copies() -> None:
    def chunk(kind: int, value: bytes) -> bytes:
        return bytes(2) + kind.to_bytes(2, "big") + (6 + len(value)).to_bytes(2, "big") + value

    chunks = b"".join(
        [
            chunk(1, b"\x02"), chunk(2, b"\x11"), chunk(3, bytes([198, 51, 100, 1])), chunk(4, bytes([198, 51, 100, 2])),
            chunk(7, b"\x13\xc4"), chunk(8, b"\x13\xc4"), chunk(11, b"\x01"), chunk(15, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"),
        ]
    )  # fmt: skip
    row = one(capture(b"HEP3" + (6 + len(chunks)).to_bytes(2, "big") + chunks, 9060), "sample")
    assert addresses(row) == ENDS
    assert (row["carrier"], row["sampled_protocol"], row["sampled_src_port"], row["sampled_len"]) == (
        "hep",
        17,
        5060,
        27,
    )


@pytest.mark.parametrize("version", [1, 2])
def test_the_first_versions_of_hep_carry_them_too(version: int) -> None:
    # Version, length, family, protocol, ports, addresses; seconds, microseconds, capture id and padding.
    header = bytes([version, 16 if version == 1 else 28, 2, 17]) + bytes.fromhex(
        "13c4 13c6 c6336401 c6336402"
    )
    row = one(
        capture(header + bytes(12) * (version - 1) + b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", 9060), "sample"
    )
    assert addresses(row) == ENDS
    ports = (row["sampled_src_port"], row["sampled_dst_port"])
    assert (row["carrier"], ports, row["sampled_protocol"], row["sampled_len"]) == (
        "hep",
        (5060, 5062),
        17,
        27,
    )


# SCCP unitdata with two global titles (subsystems 6 and 8) and a TCAP begin with an invoke.
SCCP = bytes.fromhex(
    "0980030d170a120600120443871000320a12080012043187001020" "1262104804000000016c08a106020101020138"
)  # fmt: skip
# Service information SCCP of a national network; routing label: to 2, from 1, link 3 (ITU-T Q.704 section 2.2).
UNIT = bytes([0x83]) + (2 | 1 << 14 | 3 << 28).to_bytes(4, "little") + SCCP


def common_header(kind: int, body: bytes) -> bytes:
    """RFC 4666 section 3.1: version, reserved, class and type, length."""
    return bytes([1, 0]) + kind.to_bytes(2, "big") + (8 + len(body)).to_bytes(4, "big") + body


def parameter(tag: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return tag.to_bytes(2, "big") + length.to_bytes(2, "big") + value + bytes(-length % 4)


def sua_address(subsystem: int, digits: str) -> bytes:
    title = bytes([0, 0, 0, 4, len(digits), 0, 1, 4]) + bytes.fromhex(
        "".join(b + a for a, b in zip(digits[::2], digits[1::2], strict=True))
    )
    return (
        bytes.fromhex("00010007") + parameter(0x8001, title) + parameter(0x8003, bytes([0, 0, 0, subsystem]))
    )


SIGTRAN = {
    "m2ua": (
        2,
        common_header(0x0601, parameter(0x0001, bytes([0, 0, 0, 1])) + parameter(0x0300, UNIT)),
        "mtp3",
    ),
    "m2pa": (5, common_header(0x0B01, bytes.fromhex("0000000100000002") + b"\0" + UNIT), "mtp3"),
    "sua": (
        4,
        common_header(
            0x0701,
            parameter(0x0102, sua_address(8, "44318700"))
            + parameter(0x0103, sua_address(6, "44387100"))
            + parameter(0x010B, SCCP[28:]),
        ),
        "sua",
    ),
}


@pytest.mark.parametrize("adaptation", SIGTRAN)
def test_ss7_in_its_other_wrappings_agrees_with_tshark(adaptation: str, tmp_path: Path) -> None:
    from scapy.layers.inet import IP
    from scapy.layers.l2 import Ether
    from scapy.layers.sctp import SCTP, SCTPChunkData
    from scapy.utils import wrpcap

    payload_protocol, message, _ = SIGTRAN[adaptation]
    chunk = SCTPChunkData(proto_id=payload_protocol, beginning=1, ending=1, data=message)
    path = tmp_path / "ss7.pcap"
    wrpcap(str(path), Ether() / IP(src="192.0.2.1", dst="192.0.2.2") / SCTP(sport=3565, dport=3565) / chunk)
    row = one(path.read_bytes(), "ss7")
    assert (row["adaptation"], row["message"]) == (adaptation, int.from_bytes(message[2:4], "big"))
    assert (row["tcap"], row["component"], row["operation"]) == ("begin", "invoke", 0x38)
    assert (row["calling_ssn"], row["called_ssn"]) == (8, 6)
    if not is_available():
        pytest.skip("tshark is not installed")
    fields = {
        "otid": ("tcap.otid", lambda text: int(text.replace(":", ""), 16)),
        "operation": ("gsm_old.localValue", number),
    }
    if adaptation == "sua":
        fields |= {"message": ("sua.message_type", lambda text: 0x0700 | number(text))}
        fields |= {"calling_ssn": ("sua.source.ssn", number)}
    else:
        fields |= {
            "dpc": ("mtp3.dpc", number),
            "opc": ("mtp3.opc", number),
            "service": ("mtp3.service_indicator", number),
        }
        fields |= {"network": ("mtp3.network_indicator", number), "called_gt": ("sccp.called.digits", str)}
        fields |= {"calling_ssn": ("sccp.calling.ssn", number)}
    theirs = tshark_frames(path, Peer(set(), "sctp", fields, 0))[1]
    for column, (_, convert) in fields.items():
        assert theirs[column], column
        assert row[column] == convert(theirs[column]), column


ISUP_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "isup_type": ("isup.message_type", number),
    "called_nature": ("isup.called_party_nature_of_address_indicator", number),
    "calling_nature": ("isup.calling_party_nature_of_address_indicator", number),
    "calling_restricted": ("isup.address_presentation_restricted_indicator", lambda text: number(text) != 0),
    "cause": ("isup.cause_indicator", number),
}
ISUP_NUMBERS = {
    "called": "isup.called",
    "calling": "isup.calling",
    "redirecting": "isup.redirecting",
    "original_called": "isup.original_called_number",
}


def isup_number(rng: random.Random, *, presented: bool, end: bool = False) -> bytes:
    """A number of ITU-T Q.763 sections 3.9 and 3.10, of any nature and with any presentation that has digits."""
    digits = "".join(rng.choices("0123456789bc", k=rng.randrange(1, 16))) + "f" * end
    odd = len(digits) % 2
    digits += "0" * odd
    first = odd << 7 | rng.choice([1, 2, 3, 4, 4, 5])
    second = rng.choice([1, 1, 3, 4]) << 4 | (
        rng.choice([0, 4, 0x0C]) | rng.getrandbits(2) if presented else 0
    )
    pairs = zip(digits[::2], digits[1::2], strict=True)
    return bytes([first, second, *(int(high + low, 16) for low, high in pairs)])


def isup_messages() -> list[bytes]:
    """Messages of ITU-T Q.763 without their circuit: from captures where those are at hand, and by chance."""
    rng = random.Random(1)
    messages = []
    for n in range(300):
        if n % 3 == 2:
            cause = bytes([0x80 | rng.getrandbits(4), 0x80 | rng.getrandbits(7)])
            messages.append(bytes([12, 2, 0, len(cause)]) + cause)
            continue
        called = isup_number(rng, presented=False, end=n % 2 == 0)
        # The calling number first: tshark has one field for the nature of all of them.
        names = sorted(rng.sample([0x0A, 0x0B, 0x28], rng.randrange(4)))
        numbers = [
            bytes([name, len(value)]) + value
            for name in names
            for value in [isup_number(rng, presented=True)]
        ]
        options = b"\x08\x01\0" + b"".join(numbers) + b"\0" if n % 5 else b""
        pointers = bytes([2, 2 + len(called) if options else 0])
        messages.append(b"\x01\0\x20\0\x0a\0" + pointers + bytes([len(called)]) + called + options)
    directory = captures_dir()
    for name in ("the-tcpdump-group__libpcap/tests__filter__isup_load_generator.pcap",):
        path = directory / name if directory is not None else Path(name)
        if path.is_file():
            # MTP2 and MTP3 before: three bytes and five; the circuit; behind, two of a checksum (ITU-T Q.703).
            data, at = path.read_bytes(), 24
            while at < len(data):
                size = int.from_bytes(data[at + 8 : at + 12], "little")
                messages.append(data[at + 16 + 10 : at + 16 + size - 2])
                at += 16 + size
    return messages


@pytest.mark.parametrize("service", [5, 13])
def test_numbers_of_isup_and_bicc_agree_with_tshark(service: int, tmp_path: Path) -> None:
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    messages = isup_messages()
    circuits = [n * 7919 % (1 << 12 if service == 5 else 1 << 32) for n in range(len(messages))]
    frames = []
    for n, (message, circuit) in enumerate(zip(messages, circuits, strict=True)):
        data = circuit.to_bytes(2 if service == 5 else 4, "little") + message
        packet = mobile.sctp("192.0.2.1", "192.0.2.2", mobile.M3UA, n, mobile.m3ua(1, 2, data, service))
        frames.append(Ether(bytes(12) + b"\x08\0" + packet.encode()))
    path = tmp_path / "isup.pcap"
    wrpcap(str(path), frames)
    ours = our_frames(path, "ss7")
    assert [row["cic"] for row in ours.values()] == circuits
    assert sum(row["called"] is not None for row in ours.values()) >= 200
    assert {row["called"][0] for row in ours.values() if row["called_nature"] == 4} >= {"+"}
    if not is_available():
        pytest.skip("tshark is not installed")
    circuit_field = "isup.cic" if service == 5 else "bicc.cic"
    fields = {
        **ISUP_FIELDS,
        **{name: (field, str) for name, field in ISUP_NUMBERS.items()},
        "cic": (circuit_field, number),
    }
    theirs = tshark_frames(path, Peer(set(), "isup or bicc", fields, 0))
    assert len(theirs) == len(messages)
    compared: Counter[str] = Counter()
    for frame, them in theirs.items():
        row = ours[frame]
        for column, (_, convert) in fields.items():
            value = row[column].removeprefix("+") if isinstance(row[column], str) else row[column]
            if column in {"calling_nature", "calling_restricted"} and row["calling"] is None:
                continue
            if not them[column]:
                assert value is None, (frame, column, row)
                continue
            # tshark shows code 15, which ends a number, as one of its digits.
            compared[column] += 1
            told = convert(them[column])
            told = told.lower().rstrip("f") if isinstance(told, str) else told
            assert value == told, (frame, column, messages[frame - 1].hex())
    assert all(compared[column] > 40 for column in fields), compared


def test_all_that_tcap_invokes_is_listed_as_tshark_has_it(tmp_path: Path) -> None:
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    imsi, titles = "424991234567890", (("32220000001", 6), ("97120000001", 7))
    asked = [
        mobile.send_authentication_info(imsi),
        mobile.update_location(imsi, titles[1][0]),
        mobile.cancel_location(imsi),
    ]
    whole = mobile.begin(7, mobile.LOCATION_UPDATE, *asked)
    # Of indefinite length (ITU-T X.690 section 8.1.3.6): the components, and in them the first invoke.
    at = whole.index(b"\x6c")
    parts = whole[at + 2 :]
    first = parts[: 2 + parts[1]]
    open_ = b"\x6c\x80" + b"\xa1\x80" + first[2:] + b"\0\0" + parts[len(first) :] + b"\0\0"
    indefinite = mobile.ber(0x62, whole[2:at] + open_)
    frames = []
    for n, data in enumerate((whole, indefinite)):
        message = mobile.m3ua(1, 2, mobile.unitdata(*titles, data))
        packet = mobile.sctp("192.0.2.1", "192.0.2.2", mobile.M3UA, n, message)
        frames.append(Ether(bytes(12) + b"\x08\0" + packet.encode()))
    path = tmp_path / "tcap.pcap"
    wrpcap(str(path), frames)
    for row in our_frames(path, "ss7").values():
        assert (row["operation"], row["invokes"], row["context"]) == (56, [56, 2, 3], "0.4.0.0.1.0.1.3")
    if not is_available():
        pytest.skip("tshark is not installed")
    command = [
        "tshark",
        "-n",
        "-r",
        str(path),
        "-T",
        "fields",
        "-e",
        "gsm_old.localValue",
        "-e",
        "tcap.application_context_name",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["56,2,3\t0.4.0.0.1.0.1.3"] * 2


def test_elements_within_elements_end() -> None:
    from scapy.layers.inet import IP
    from scapy.layers.l2 import Ether
    from scapy.layers.sctp import SCTP, SCTPChunkData

    # Indefinite lengths, one within the other, and never an end: the reading ends all the same.
    deep = b"\x62\x80" + b"\x6c\x80" * 15_000
    message = common_header(0x0701, parameter(0x010B, deep))
    chunk = SCTPChunkData(proto_id=4, beginning=1, ending=1, data=message)
    packet = IP(src="192.0.2.1", dst="192.0.2.2") / SCTP(sport=14001, dport=14001) / chunk
    row = one(written(bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet)), "ss7")
    assert (row["tcap"], row["component"]) == ("begin", None)


def written(frame: bytes) -> bytes:
    """A pcap with one frame of Ethernet."""
    from scapy.utils import PcapWriter

    buffer = io.BytesIO()
    writer = PcapWriter(buffer, linktype=1)
    writer.write(frame)
    return buffer.getvalue()


def test_lists_of_dhcp_agree_with_tshark() -> None:
    directory = captures_dir()
    if directory is None or not is_available():
        pytest.skip("needs tshark and captures of other projects")
    lists = {"routers": "dhcp.option.router", "dns_servers": "dhcp.option.domain_name_server"}
    compared = 0
    for capture in capture_index():
        if "dhcp" not in capture["tags"].split(",") or capture["file"] in NUMBERED_OTHERWISE:
            continue
        path = directory / capture["file"]
        command = ["tshark", "-n", "-r", str(path), "-Y", "dhcp", "-T", "fields", "-e", "frame.number"]
        for field in lists.values():
            command += ["-e", field]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tapsight.CaptureWarning)
            try:
                ours = our_frames(path, "dhcp")
            except (tapsight.CaptureError, OSError):
                continue
        for line in told.splitlines():
            frame, *theirs = line.split("\t")
            row = ours.get(int(frame))
            for column, text in zip(lists, theirs, strict=False):
                if row is not None and text:
                    compared += 1
                    assert row[column] == text.split(","), (path.name, frame, column)
    assert compared > 50


def test_routes_of_dhcp_are_those_of_scapy() -> None:
    from scapy.layers.dhcp import BOOTP, DHCP
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    # RFC 3442: example of "10.17.0.0/16" with two significant bytes, a default route with none, and one that is cut short.
    routes = bytes.fromhex("100a11c0000201" + "00c0000202" + "18c63364c0")
    frame = Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff") / IP(
        src="192.0.2.1", dst="255.255.255.255"
    )
    frame /= UDP(sport=67, dport=68)
    frame /= BOOTP(op=2, yiaddr="192.0.2.77", siaddr="192.0.2.9", chaddr=b"\2\0\0\0\0\1")
    frame /= DHCP(options=[("message-type", "offer"), (249, routes), "end"])
    row = one(written(bytes(frame)), "dhcp")
    assert row["routes"] == ["10.17.0.0/16 via 192.0.2.1", "0.0.0.0/0 via 192.0.2.2"]
    assert row["next_server"] == address("192.0.2.9")


def wrapped(*packets: Any) -> bytes:
    """A pcap with these packets."""
    from scapy.layers.l2 import Ether
    from scapy.utils import PcapWriter

    buffer = io.BytesIO()
    writer = PcapWriter(buffer, linktype=1)
    for packet in packets:
        writer.write(Ether() / packet)
    return buffer.getvalue()


def test_templates_belong_to_a_session_and_can_be_redefined() -> None:
    def message(*sets: tuple[int, bytes]) -> bytes:
        body = b"".join(n.to_bytes(2, "big") + (4 + len(data)).to_bytes(2, "big") + data for n, data in sets)
        return (10).to_bytes(2, "big") + (16 + len(body)).to_bytes(2, "big") + words(0, 1, 5) + body

    from scapy.layers.inet import IP, UDP

    section, packet = (2, bytes.fromhex("0100 0001 0139 0014")), (256, copied()[14:34])
    other = (2, bytes.fromhex("0100 0001 0008 0014"))
    port = {"first": 1000, "second": 1001}

    def rows(*messages: tuple[str, bytes]) -> int:
        packets = [IP(src="192.0.2.1") / UDP(sport=port[who], dport=4739) / data for who, data in messages]
        return tapsight.open(wrapped(*packets), table="sample").to_pyarrow().num_rows

    assert rows(("first", message(section)), ("first", message(packet))) == 1
    assert rows(("first", message(section)), ("second", message(other)), ("first", message(packet))) == 1
    assert rows(("first", message(section)), ("second", message(packet))) == 0
    assert rows(("first", message(section)), ("first", message(other)), ("first", message(packet))) == 0


def test_what_is_no_hello_is_none() -> None:
    # RFC 5246 section 7.4.9: Finished is encrypted, and its first byte may be any; RFC 6347 section 4.2.2: a fragment.
    from scapy.layers.inet import IP, TCP

    finished = bytes.fromhex("1603030028 01") + bytes(range(200, 239))
    dtls = bytes.fromhex("16fefd 0000 000000000001 0030 01 000100 0000 00008c 000024") + b"A" * 36
    later = tapsight.open(wrapped(IP() / TCP(sport=40000, dport=443, flags="PA") / finished), table="tls")
    assert later.to_pyarrow().num_rows == 0
    assert tapsight.open(capture(dtls, 40000), table="tls").to_pyarrow().num_rows == 0
    # A server hello without extensions, and another message in the same record.
    hello = b"\x03\x03" + bytes(32) + b"\x00\x00\x2f\x00"
    messages = (
        b"\x02" + len(hello).to_bytes(3, "big") + hello + bytes.fromhex("0b00000a 00000700000430820102")
    )
    record = b"\x16\x03\x03" + len(messages).to_bytes(2, "big") + messages
    row = one(wrapped(IP() / TCP(sport=443, dport=40000, flags="PA") / record), "tls")
    assert (row["version"], row["cipher_suite"], row["alpn"]) == (0x0303, 0x2F, None)


def test_the_rest_of_a_body_is_no_message() -> None:
    from scapy.layers.inet import IP, TCP

    text = b"MESSAGE sip:a@b SIP/2.0\r\nCall-ID: 1\r\n\r\nHello world and more\r\n"
    assert one(wrapped(IP() / TCP(dport=5060, flags="PA") / text), "sip")["method"] == "MESSAGE"


def test_sip_over_sctp() -> None:
    from scapy.layers.inet import IP
    from scapy.layers.sctp import SCTP, SCTPChunkData

    chunk = SCTPChunkData(proto_id=0, beginning=1, ending=1, data=b"OPTIONS sip:a@b SIP/2.0\r\n\r\n")
    assert one(wrapped(IP() / SCTP(sport=5060, dport=5060) / chunk), "sip")["method"] == "OPTIONS"


def test_names_that_point_to_pointers_are_followed_once() -> None:
    # As many questions as fit, each a pointer into a chain of pointers: quadratic if each were followed.
    count, chain = 8000, 8000
    pointers = b"".join((0xC000 | 10 + 2 * n).to_bytes(2, "big") for n in range(1, chain))
    questions = (0xC000 | 12 + 2 * (chain - 2)).to_bytes(2, "big") + b"\0\x01\0\x01"
    message = (
        bytes.fromhex("0001 0100")
        + count.to_bytes(2, "big")
        + bytes(6)
        + b"\0\0"
        + pointers
        + questions * count
    )
    assert tapsight.open(capture(message[:65000], 53), table="dns").to_pyarrow().num_rows == 1


def test_rows_are_bounded_by_the_batch_and_a_frame() -> None:
    from scapy.layers.inet import IP, TCP

    query = bytes.fromhex("001b 1234 0100 0001 0000 0000 0000 0161 0765 7861 6d70 6c65 00 0001 0001")
    packets = [IP() / TCP(sport=40000, dport=53, flags="PA") / (query * 10) for _ in range(20)]
    batches = list(tapsight.open(wrapped(*packets), table="dns", batch_size=25))
    assert [batch.num_rows for batch in batches] == [30] * 6 + [20]


def test_messages_that_follow_another_in_a_packet() -> None:
    from scapy.layers.inet import IP
    from scapy.layers.sctp import SCTP, SCTPChunkData

    def chunk(method: bytes) -> Any:
        return SCTPChunkData(proto_id=0, beginning=1, ending=1, data=method + b" sip:a@b SIP/2.0\r\n\r\n")

    both = IP() / SCTP(sport=5060, dport=5060) / chunk(b"OPTIONS") / chunk(b"BYE")
    assert tapsight.open(wrapped(both), table="sip").to_pyarrow()["method"].to_pylist() == ["OPTIONS", "BYE"]
    # 3GPP TS 29.274 section 5.5.1: the flag P says that another message follows.
    gtp = bytes.fromhex("58210008 00000001 00000100 48200008 00000000 00000200")
    rows = tapsight.open(capture(gtp, 2123), table="gtp").to_pyarrow()
    assert (rows["message"].to_pylist(), rows["sequence"].to_pylist()) == ([33, 32], [1, 2])


def test_later_fragments_hold_no_messages() -> None:
    from scapy.layers.inet import IP, UDP, fragment

    text = b"OPTIONS sip:a@b SIP/2.0\r\nSubject: " + b"\x04\x01\0\0 " * 200 + b"\r\n\r\n"
    parts = fragment(
        IP(src="192.0.2.1", dst="192.0.2.2", id=7) / UDP(sport=5060, dport=5060) / text, fragsize=480
    )
    assert len(parts) > 1
    assert one(wrapped(*parts), "sip")["method"] == "OPTIONS"


def test_addresses_of_gtp_are_for_what_the_message_makes() -> None:
    def message(kind: int, *elements: str) -> dict[str, Any]:
        body = bytes.fromhex("0001 0000" + "".join(elements))
        header = bytes([0x32, kind]) + len(body).to_bytes(2, "big") + bytes(4)
        return one(capture(header + body, 2123), "gtp")

    # 3GPP TS 29.060 section 7.5.3: a context request has two addresses for control. Section 7.7.27: both kinds of address.
    control, other = "850004 c0000201", "850004 c0000202"
    assert message(50, "11 00000001", control, other)["data_address"] is None
    create = message(
        16, "10 00000001", "11 00000002", "800016 f18d c0000209 20010db8" + "00" * 11 + "09", control, other
    )
    assert (create["subscriber"], create["data_address"]) == (address("192.0.2.9"), address("192.0.2.2"))


def test_the_first_relay_is_the_innermost() -> None:
    # RFC 8415 section 19.1.2: each relay wraps what it passes on.
    def relayed(link: str, inside: bytes) -> bytes:
        return b"\x0c\0" + address(link) + bytes(16) + b"\0\x09" + len(inside).to_bytes(2, "big") + inside

    solicit = bytes.fromhex("01000001")
    row = one(capture(relayed("2001:db8::2", relayed("2001:db8::1", solicit)), 547), "dhcp")
    assert (row["relay"], row["message"]) == (address("2001:db8::1"), 1)


def test_llmnr_has_no_authorities() -> None:
    # RFC 4795 section 2.1.1: where DNS has AA, LLMNR has C (conflict).
    message = bytes.fromhex("1234 8400 0001 0000 0000 0000 0161 00 0001 0001")
    flags = {port: one(capture(message, port), "dns")["is_authoritative"] for port in (53, 5355)}
    assert flags == {53: True, 5355: None}


def test_lengths_end_what_is_read() -> None:
    # RFC 2865 section 3: what follows the length is padding.
    radius = bytes.fromhex("01070014") + bytes(16) + bytes.fromhex("040609090909")
    assert one(capture(radius, 1812), "aaa")["nas"] is None


def test_extended_parameters_of_bgp() -> None:
    # RFC 9072 section 2: a length and a type of 255, then lengths of two bytes.
    from scapy.layers.inet import IP, TCP

    parameters = bytes.fromhex("02 0006 4104fa56ea00")
    body = bytes.fromhex("04 5ba0 00b4 c0000201 ff ff") + len(parameters).to_bytes(2, "big") + parameters
    message = b"\xff" * 16 + (19 + len(body)).to_bytes(2, "big") + b"\x01" + body
    assert one(wrapped(IP() / TCP(dport=179, flags="PA") / message), "bgp")["asn"] == 4200000000


def test_batches_are_bounded_by_what_their_rows_hold() -> None:
    # Each zero is the prefix 0.0.0.0/0: a row may hold thousands.
    from scapy.layers.inet import IP, TCP

    update = b"\xff" * 16 + (4019).to_bytes(2, "big") + b"\x02" + bytes(4000)
    packets = [IP() / TCP(dport=179, flags="PA") / update for _ in range(10)]
    batches = list(tapsight.open(wrapped(*packets), table="bgp", batch_size=800))
    assert [batch.num_rows for batch in batches] == [1] * 10


def test_folded_header_fields_are_one_line() -> None:
    # RFC 3261 section 7.3.1: the second To is a part of the subject.
    lines = [
        b"OPTIONS sip:a@b SIP/2.0",
        b"Subject: I know",
        b" To: <sip:evil@x>",
        b"From: Alice",
        b"\t <sip:a@b>;tag=1",
    ]
    row = one(capture(b"\r\n".join([*lines, b"To: <sip:b@b>", b"", b" body"]), 5060), "sip")
    assert (row["to"], row["from"]) == ("<sip:b@b>", "Alice <sip:a@b>;tag=1")


@pytest.mark.parametrize(
    ("version", "bits", "kind"),
    [(1, 0, 0), (1, 3, 3), (0x6B3343CF, 1, 0), (0x6B3343CF, 0, 3), (0xFF00001D, 2, 2)],
)
def test_kinds_of_quic_packets_are_those_of_version_1(version: int, bits: int, kind: int) -> None:
    # RFC 9000 section 17.2, RFC 9369 section 3.2: initial 0, 0-RTT 1, handshake 2, retry 3.
    packet = (
        bytes([0xC0 | bits << 4]) + version.to_bytes(4, "big") + b"\x08" + bytes(8) + b"\0\0" + bytes(1200)
    )
    assert one(capture(packet, 443), "tls")["quic_type"] == kind


def test_errors_quote_ports_of_eight_bytes_and_behind_authentication() -> None:
    from scapy.layers.inet import ICMP, IP, TCP
    from scapy.layers.inet6 import ICMPv6ND_Redirect, ICMPv6NDOptRedirectedHdr, IPv6
    from scapy.layers.ipsec import AH
    from scapy.packet import Raw

    quoted = bytes(IP(src="198.51.100.1", dst="198.51.100.2") / TCP(sport=20000, dport=443))[:28]
    for before in (IP(), IP() / AH(nh=1, payloadlen=4, icv=bytes(12))):
        row = one(wrapped(before / ICMP(type=5, code=1, gw="192.0.2.9") / Raw(quoted)), "icmp")
        assert (row["quoted_src_port"], row["quoted_dst_port"]) == (20000, 443)
        assert row["gateway"] == address("192.0.2.9")
    six = IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=20000, dport=443)
    option = ICMPv6NDOptRedirectedHdr(pkt=six)
    row = one(wrapped(IPv6() / ICMPv6ND_Redirect(tgt="fe80::9", dst="2001:db8::2") / option), "icmp")
    assert (row["gateway"], row["quoted_dst"]) == (address("fe80::9"), address("2001:db8::2"))
    assert (row["quoted_src_port"], row["quoted_dst_port"]) == (20000, 443)


def test_a_wide_path_takes_the_place_of_what_old_speakers_passed_on() -> None:
    # RFC 6793 section 4.2.3: AS_PATH of 64999 and twice AS_TRANS, AS4_PATH of the latter two as they are.
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether
    from scapy.utils import PcapWriter

    attributes = bytes.fromhex(
        "400101 00 400208 0203 fde7 5ba0 5ba0 400304 c0000201 c0110a 0202 00010005 00010006"
    )
    body = bytes(2) + len(attributes).to_bytes(2, "big") + attributes + bytes.fromhex("18cb0071 08 0a")
    message = b"\xff" * 16 + (19 + len(body)).to_bytes(2, "big") + b"\x02" + body
    buffer = io.BytesIO()
    PcapWriter(buffer, linktype=1).write(Ether() / IP() / TCP(dport=179) / message)
    row = one(buffer.getvalue(), "bgp")
    assert (row["as_path"], row["first_as"], row["origin_as"]) == ("64999 65541 65542", 64999, 65542)
    assert row["announced"] == ["203.0.113.0/24", "10.0.0.0/8"]


PCAP, PCAPNG = bytes.fromhex("d4c3b2a1 0200 0400"), bytes.fromhex("0a0d0d0a 0000001c 1a2b3c4d")


@pytest.mark.parametrize(
    ("port", "payload", "wanted"),
    [
        # draft-ietf-opsawg-pcap section 4 and draft-ietf-opsawg-pcapng section 4.1, in both orders of bytes.
        (20, PCAP, (None, None, None, "pcap")),
        (40000, bytes.fromhex("a1b23c4d 0002 0004"), (None, None, None, "pcap")),
        (40000, PCAPNG, (None, None, None, "pcapng")),
        (40000, PCAPNG[:8] + bytes.fromhex("4d3c2b1a"), (None, None, None, "pcapng")),
        (80, b"PUT /a HTTP/1.1\r\n\r\n" + PCAP, ("http", "PUT", "/a", "pcap")),
        (80, b"HTTP/1.1 200 OK\r\n\r\n" + PCAPNG, ("http", None, None, "pcapng")),
        (21, b"stor a b\r\n", ("ftp", "STOR", "a b", None)),
        (21, b"STOU\r\n", ("ftp", "STOU", None, None)),
        # An empty line of text, another version, another command, another method.
        (40000, b"\n\r\r\n" + bytes(8), None),
        (40000, bytes.fromhex("d4c3b2a1 0300 0400"), None),
        (21, b"STORE a\r\n", None),
        (80, b"GET /mycap.pcap HTTP/1.1\r\n\r\n", None),
    ],
)
def test_files_and_captures_that_are_transferred(port: int, payload: bytes, wanted: Any) -> None:
    from scapy.layers.inet import IP, TCP

    rows = tapsight.open(wrapped(IP() / TCP(sport=40001, dport=port, flags="PA") / payload), table="transfer")
    columns = ["protocol", "operation", "name", "content"]
    found = [tuple(row.values()) for row in rows.to_pyarrow().select(columns).to_pylist()]
    assert found == ([] if wanted is None else [wanted])


def test_a_capture_begins_in_the_first_block_of_tftp() -> None:
    # RFC 1350 section 5: operation 3, number of the block, 512 bytes.
    rows = [tapsight.open(capture(bytes([0, 3, 0, n]) + PCAP, 40000), table="transfer") for n in (1, 2)]
    assert [table.to_pyarrow().num_rows for table in rows] == [1, 0]
    row = one(capture(b"\0\x02tac.pcap\0octet\0", 69), "transfer")
    assert (row["protocol"], row["operation"], row["name"]) == ("tftp", "WRQ", "tac.pcap")


def test_ways_that_packets_name_agree_with_tshark(tmp_path: Path) -> None:
    from scapy.layers.inet import IP, UDP, IPOption_LSRR, IPOption_RR, IPOption_SSRR
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrRouting, IPv6ExtHdrSegmentRouting

    hops = ["192.0.2.3", "192.0.2.4"]
    six = ["2001:db8::3", "2001:db8::4"]
    packets = [
        IP(options=[IPOption_LSRR(routers=hops)]) / UDP(),
        # The second of the two is next.
        IP(options=[IPOption_SSRR(routers=hops, pointer=8)]) / UDP(),
        # One place of three is filled.
        IP(options=[IPOption_RR(routers=["192.0.2.3", "0.0.0.0", "0.0.0.0"], pointer=8)]) / UDP(),
        IPv6() / IPv6ExtHdrRouting(type=0, addresses=six, segleft=1) / UDP(),
        # RFC 8754 section 2: the last segment first.
        IPv6() / IPv6ExtHdrSegmentRouting(addresses=six, segleft=1, lastentry=1) / UDP(),
    ]
    path = tmp_path / "ways.pcap"
    path.write_bytes(wrapped(*packets))
    rows = our_frames(path, "path_options")
    found = [(r["kind"], r["hops"], r["pointer"], r["routing"], r["last"]) for r in rows.values()]
    assert found == [
        ("lsrr", 2, 4, None, address("192.0.2.4")),
        ("ssrr", 2, 8, None, address("192.0.2.4")),
        ("rr", 1, 8, None, address("192.0.2.3")),
        ("rh0", 2, 1, 0, address("2001:db8::4")),
        ("srh", 2, 1, 4, address("2001:db8::3")),
    ]
    if not is_available():
        pytest.skip("tshark is not installed")
    kinds = {"lsrr": "131", "ssrr": "137", "rr": "7"}
    four = Peer(set(), "ip", {"kind": ("ip.opt.type", str), "pointer": ("ip.opt.ptr", number)}, 0)
    for frame, theirs in tshark_frames(path, four).items():
        assert theirs == {"kind": kinds[rows[frame]["kind"]], "pointer": str(rows[frame]["pointer"])}
    routing = {"routing": ("ipv6.routing.type", number), "pointer": ("ipv6.routing.segleft", number)}
    for frame, theirs in tshark_frames(path, Peer(set(), "ipv6", routing, 0)).items():
        assert theirs == {column: str(rows[frame][column]) for column in routing}


def test_ways_of_labels_and_service_paths() -> None:
    # RFC 3032 section 2.1: label 1 is router alert; RFC 8300 section 2: version 0, length 6, type 1, IPv4, path 7, index 255.
    from scapy.contrib.mpls import MPLS
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    alert = MPLS(label=1, s=0) / MPLS(label=100, s=1) / IP(src="192.0.2.1") / UDP(sport=3503, dport=3503)
    service = Ether(type=0x894F) / (bytes.fromhex("0fc60101 000007ff") + bytes(16) + bytes(IP() / UDP()))
    plain = IP() / UDP()
    kinds = [
        tapsight.open(wrapped(packet), table="path_options").to_pyarrow()["kind"].to_pylist()
        for packet in (alert, plain)
    ]
    assert kinds == [["mpls-alert"], []]
    buffer = io.BytesIO()
    from scapy.utils import PcapWriter

    PcapWriter(buffer, linktype=1).write(service)
    assert one(buffer.getvalue(), "path_options")["kind"] == "nsh"


def test_communities_are_not_kept() -> None:
    # RFC 1157 section 4.1.1: version 2c, a set request of ciscoConfigCopy's server address.
    def message(community: bytes) -> dict[str, Any]:
        rest = bytes.fromhex(
            "a323 020101 020100 020100 3018 3016 060e 2b0601040109096001010101 0501 4004 c0000209"
        )
        body = b"\x02\x01\x01\x04" + bytes([len(community)]) + community + rest
        return one(capture(b"\x30" + bytes([len(body)]) + body, 161), "snmp")

    row = message(b"private")
    assert (row["version"], row["pdu"], row["community"], row["community_len"]) == (2, 3, "private", 7)
    assert row["oids"] == ["1.3.6.1.4.1.9.9.96.1.1.1.1.5.1"]
    assert row["address"] == address("192.0.2.9")
    row = message(b"s3cret")
    assert (row["community"], row["community_len"]) == (None, 6)
    assert "s3cret" not in str(row)


def test_addresses_of_answers_are_a_set() -> None:
    from scapy.layers.dns import DNS, DNSQR, DNSRR

    def message(*answers: str) -> dict[str, Any]:
        records = [DNSRR(rrname="a.example", type="A", rdata=answer) for answer in answers]
        return one(capture(bytes(DNS(qr=1, qd=DNSQR(qname="a.example"), an=records)), 53), "dns")

    one_way, other_way = message("192.0.2.1", "192.0.2.2"), message("192.0.2.2", "192.0.2.1")
    assert (one_way["addresses"], one_way["address_set"]) == (2, other_way["address_set"])
    assert message("192.0.2.1")["address_set"] != message("192.0.2.2")["address_set"]
    cut = bytes(DNS(qr=1, qd=DNSQR(qname="a.example"), an=[DNSRR(rrname="a.example", rdata="192.0.2.1")]))[
        :-2
    ]
    assert one(capture(cut, 53), "dns")["address_set"] is None


def test_rtcp_that_is_encrypted_is_not_read() -> None:
    # A receiver report with one block, and behind it the index and the tag of SRTCP (RFC 3711 section 3.4).
    report = bytes.fromhex("81c90007 00000001 00000002 00ffffff 00000003 00000004 00000005 00000006")
    plain, encrypted = (one(capture(report + tail, 5005), "rtcp") for tail in (b"", bytes(14)))
    assert (plain["is_encrypted"], plain["ssrc"], plain["lost"], plain["delay"]) == (False, 1, -1, 6)
    assert (encrypted["is_encrypted"], encrypted["ssrc"], encrypted["lost"]) == (True, 1, None)


def test_tables_have_names_columns_and_meanings() -> None:
    for table in tapsight.TABLES[1:]:
        schema = tapsight.open(b"", table=table).schema
        assert schema.names[:6] == ["frame", "ts", "src", "dst", "src_port", "dst_port"]
        assert all(field.metadata[b"description"] for field in list(schema)[6:])
    assert tapsight.open(b"", table="dns", columns=["qname", "frame"]).schema.names == ["qname", "frame"]
    with pytest.raises(ValueError, match='no table "nds"; there are: packets, dns'):
        tapsight.open(b"", table="nds")
    with pytest.raises(ValueError, match='no column "vlan"'):
        tapsight.open(b"", table="dns", columns=["vlan"])


def test_side_tables_are_lazy_frames_too() -> None:
    import polars as pl

    query = bytes.fromhex("1234 0100 0001 0000 0000 0000 0161 0765 7861 6d70 6c65 00 0001 0001")
    lazy = tapsight.scan(capture(query, 53), table="dns")
    assert lazy.filter(pl.col("qtype") == 1).select("qname").collect().rows() == [("a.example",)]
    assert lazy.filter(pl.col("qtype") == 2).collect().height == 0


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_text_of_captures_controls_no_terminal(form: str, tmp_path: Path) -> None:
    sip = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: =1+1\x1b[31m\r\nUser-Agent: \x9b\xe2\x80\xae\r\nTo: x\r\n\r\n"
    path, out = tmp_path / "sip.pcap", tmp_path / f"sip.{form}"
    path.write_bytes(capture(sip, 5060))
    command = [sys.executable, "-m", "tapsight", "classify", str(path), "--table", "sip", "-o", str(out)]
    subprocess.run(command, check=True)
    text = out.read_text()
    assert "[31m" in text
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert form != "csv" or ',"=1+1' not in text
