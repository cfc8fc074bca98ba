"""Makes tests/corpus/protocols.pcap: a frame of each protocol whose messages are read, by scapy and by hand."""

from __future__ import annotations

from pathlib import Path

from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR
from scapy.layers.inet6 import IPv6, IPv6ExtHdrRouting
from scapy.layers.l2 import ARP, GRE, Dot3, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
PACKET = ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=7)
INNER = IP(src="198.51.100.1", dst="198.51.100.2") / UDP(sport=5, dport=6) / Raw(b"hi" * 20)

SIP = (
    b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\nVia: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bKnashds8\r\n"
    b"To: Bob <sip:bob@biloxi.example.com>\r\nf: Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710\r\nCSeq: 314159 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 49\r\n\r\n"
    b"v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 40000 RTP/AVP 8\r\n"
)
# Client hello of RFC 8446 section 4.1.2 with the extensions for name, versions and protocols.
HELLO = bytes.fromhex(
    "160301004d010000490303"
    + "00" * 32
    + "00000213010100001e0000000c000a0000076578616d706c65002b0003020304001000050003026832"
)
# Capabilities exchange with Origin-Host, Origin-Realm and Result-Code, RFC 6733 section 5.3.
DIAMETER = bytes.fromhex(
    "01000044000001010000000000000001000000020000010840000010686f737431323334000001284000000d7265616c6d0000000000010c4000000c000007d1"
)
# M3UA data, SCCP unitdata with two global titles, TCAP begin with an invoke of operation 56.
M3UA = bytes.fromhex(
    "0100010100000048" "0210003e" "000000010000000203020000"
    "0980030d170a120600120443871000320a12080012043187001020" "1262104804000000016c08a106020101020138" "0000"
)  # fmt: skip
SFLOW = bytes.fromhex(
    "0000000500000001c00002090000000000000001000000630000000100000001000000580000000100000002000002000000010000000000"
    "0000000100000002000000010000000100000030000000010000003200000004000000 20"
) + bytes(ETHER / INNER)[:32]  # fmt: skip
IPFIX = bytes.fromhex(
    "000a00300000000000000001000000050002000c01000001013bffff010000141 3".replace(" ", "")
) + bytes(19)
HEP = bytes.fromhex("48455033001f 0000000200071100000007000813c4 0000000f000a61626364".replace(" ", ""))
RTP = bytes.fromhex("800800010000000100000001") + b"\xd5" * 160


SCCP = M3UA[24:-2]
# The same with a routing label (ITU-T Q.704 section 2.2) in M2UA data and in M2PA user data; SUA without it.
UNIT = bytes.fromhex("8302400030") + SCCP
M2UA = bytes.fromhex("0100060100000050 0001000800000001 03000037") + UNIT + b"\0"
M2PA = bytes.fromhex("01000b0100000044 0000000100000002 00") + UNIT
SUA = bytes.fromhex(
    "0100070100000048 01020018 00010007 8003000800000008 8002000800000001 01030010 00010007 8003000800000006 010b0016"
) + SCCP[-18:] + bytes(2)  # fmt: skip
# Solicitation with an option, RFC 4861 section 4.3, and an advertisement that overrides, section 4.4.
SOLICITATION = bytes.fromhex("87000000 00000000 20010db8000000000000000000000003 0101020000000001")
ADVERTISEMENT = bytes.fromhex("88000000 e0000000 20010db8000000000000000000000003 0201020000000002")
ROUTER = bytes.fromhex("86000000 40000708 00000000 00000000 0101020000000001")
# Hello of an active router (RFC 2281 section 5.1), of version 2, of GLBP, and an advertisement of VRRP version 2.
HSRP = bytes.fromhex("00001003 0a78 0100 636973636f000000 c0000201")
HSRP2 = bytes.fromhex("0128 02000604 0001 020000000001 00000064 00000bb8 00002710 c0000201" + "00" * 12)
GLBP = bytes.fromhex(
    "01000001 0000 020000000001 011c 0020 0064 0000 00000bb8 00002710 0258 3840 0000 0104 c0000201"
)
VRRP = bytes.fromhex("2101ff010101 0000 c0000201 6369736300000000")
DHCP = (
    bytes.fromhex("02010600 00003d1e 00000000 00000000 c000020a 00000000 c0000209 020000000001")
    + bytes(10 + 64 + 128)
    + bytes.fromhex("63825363 350102 3604c0000201 0304c0000201 0604c0000235 7904 18c00002 4204 61626364 ff")
)
DHCPV6 = bytes.fromhex(
    "0c00" + "20010db8" + "00" * 11 + "01" + "fe80" + "00" * 13 + "02" + "00090046 07000001 0001000a00030001020000000001"
    "0002000a00030001020000000002 00030028 000000010000000000000000 00050018 20010db8000000000000000000000009 0000000100000001"
)  # fmt: skip
MARKER = bytes([0xFF] * 16)
BGP = (
    MARKER + bytes.fromhex("0025 01 04 5ba0 00b4 c0000201 08 0206 41040001 0005")
    + MARKER + bytes.fromhex("0040 02 0004 18c63364 0021 400101 00 400206 0202 fde8fde9 400304 c0000201 c0110a 0202 0001 0005 0001 0006 18cb0071")
    + MARKER + bytes.fromhex("0015 03 06 02")
)  # fmt: skip
RTCP = bytes.fromhex(
    "81c8000c 00000001 e0000000 80000000 00001000 0000000a 00000640 00000002 01ffffff 00000003 00000004 00000005 00000006"
    "81ca0002 00000001 01016100"
)  # fmt: skip
GTP1 = bytes.fromhex(
    "32100025 00000000 00010000 1000000001 1100000002 800006f121c0000209 850004c0000201 850004c0000202"
)
GTP2 = bytes.fromhex(
    "48200026 00000000 00000100 57000900 8600000001c0000201 5d000d00 57000900 8400000002c0000202"
)
RADIUS = bytes.fromhex("01070024") + bytes(16) + bytes.fromhex("0104616c 0406c0000201 050600000001")
TACACS = bytes.fromhex("c0010101 00000007 00000004 61626364 c0010200 00000007 00000000")
HEP1 = bytes.fromhex("01100211 13c413c4 c6336401 c6336402") + SIP[:40]
# The header of a capture (draft-ietf-opsawg-pcap section 4), little-endian, and a section header of pcapng.
PCAP = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
PCAPNG = bytes.fromhex("0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000")
# RFC 1157: version 2c, private, a set request of ciscoConfigCopy's server address.
SNMP = bytes.fromhex(
    "3031 020101 0407 70726976617465 a323 020101 020100 020100 3018 3016 060e 2b0601040109096001010101 0501 4004 c0000209"
)
# draft-mclaggan-wccp-v2rev1 section 6: here I am, without security, for the standard service 0.
WCCP = bytes.fromhex("0000000a 0200 0024 0000 0004 00000000 0001 0018 00000000") + bytes(20)
# RFC 4253 section 4.2 and 7.1: identification, and lists of algorithms, of which all but the first four are empty; RFC 4419 section 3: a
# group with a prime of 24 bits.
KEX = b"".join(
    len(names).to_bytes(4, "big") + names
    for names in (
        b"diffie-hellman-group16-sha512,curve25519-sha256",
        b"ssh-ed25519",
        b"aes256-ctr",
        b"aes256-ctr",
    )
)
SSH = (
    b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"
    + bytes.fromhex("00000094 07 14")
    + bytes(range(16))
    + KEX
    + bytes(6 * 4 + 5 + 7)
)
SSH_GROUP = bytes.fromhex("00000014 05 1f 00000004 00ffffef 00000001 02 0000000000")
# IKE_SA_INIT, RFC 7296 section 3.1 to 3.3: one proposal of AES-CBC with 256 bits, HMAC-SHA-384, its integrity of 192 bits, group 20.
IKE = bytes.fromhex(
    "0102030405060708 0000000000000000 21202208 00000000 0000004c 00000030 0000002c 01010004"
    "0300000c 0100000c 800e0100 03000008 02000006 03000008 0300000d 00000008 04000014"
)
# Main mode, RFC 2408 section 3.4 to 3.6: 3DES, SHA-1, a shared key, group 2.
IKE1 = bytes.fromhex(
    "0102030405060708 0000000000000000 01100200 00000000 00000048 0000002c 00000001 00000001 00000020 01010001"
    "00000018 01010000 80010005 80020002 80030001 80040002"
)
# Hello of OSPF version 2 (RFC 2328 section A.3.2) with a digest of key 7 that is behind it, and of version 3 with a trailer (RFC 7166 section 4.1).
OSPF = bytes.fromhex("0201002c c0000201 00000000 0000 0002 0000 07 10 00000001") + bytes(20 + 16)
OSPF3 = (
    bytes.fromhex("03010024 c0000201 00000000 0000 0000")
    + bytes(20)
    + bytes.fromhex("0001 0030 0000 0009 0000000000000001")
    + bytes(32)
)
# EIGRP (RFC 7868) with MD5; RIP (RFC 2453 section 4.1) with a password; BFD (RFC 5880 section 4.3) with MD5; an IS-IS hello (ISO/IEC
# 10589 section 9.7) of which element 10 is a password.
EIGRP = bytes.fromhex("02050000" + "00" * 12 + "00000001 0002 0028 0002 0010 00000005" + "00" * 28)
RIP = bytes.fromhex(
    "02020000 ffff0002 70617373 0000000000000000 00000000 0002 0000 0a000000 ffffff00 00000000 00000001"
)
BFD = bytes.fromhex("20c40330 00000001 00000002 000f4240 000f4240 00000000 02180300 00000001") + bytes(16)
ISIS = bytes.fromhex("fefe03 83140100 11010000 03 020000000001 001e 001b 01 0a05 01 61626364")
WEBSOCKET = b"\x81\xfe" + len(SIP).to_bytes(2, "big") + bytes(4) + SIP


def v6(protocol: int, body: bytes) -> Packet:
    return ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=protocol, hlim=255) / Raw(body)


def sctp(protocol: int, data: bytes) -> Packet:
    return (
        PACKET
        / SCTP(sport=2905, dport=2905)
        / SCTPChunkData(proto_id=protocol, beginning=1, ending=1, data=data)
    )


def frames() -> list[Packet]:
    """The frames."""
    return [
        PACKET / UDP(sport=5060, dport=5060) / Raw(SIP),
        PACKET / TCP(sport=5061, dport=5060, flags="PA") / Raw(SIP),
        PACKET / TCP(sport=40000, dport=443, flags="PA") / Raw(HELLO),
        PACKET
        / TCP(
            sport=40000,
            dport=443,
            flags="S",
            options=[("MSS", 1460), ("WScale", 7), ("SAckOK", b""), ("Timestamp", (1, 0))],
        ),
        PACKET
        / UDP(sport=4000, dport=53)
        / DNS(
            id=1,
            qr=1,
            qd=DNSQR(qname="www.example.com"),
            an=DNSRR(rrname="www.example.com", rdata="198.51.100.7"),
        ),
        PACKET / TCP(sport=3868, dport=3868, flags="PA") / Raw(DIAMETER),
        PACKET / SCTP(sport=2905, dport=2905) / SCTPChunkData(proto_id=3, beginning=1, ending=1, data=M3UA),
        PACKET / UDP(sport=6343, dport=6343) / Raw(SFLOW),
        PACKET / UDP(sport=4739, dport=4739) / Raw(IPFIX),
        PACKET / UDP(sport=9060, dport=9060) / Raw(HEP),
        PACKET / ICMP(type=3, code=3) / INNER,
        PACKET / GRE(key_present=1, key=7) / INNER,
        PACKET / UDP(sport=4000, dport=4789) / VXLAN(vni=5) / ETHER / INNER,
        ETHER
        / IPv6(src="2001:db8::1", dst="2001:db8::2")
        / IPv6ExtHdrRouting(type=4, addresses=["2001:db8::3"])
        / INNER,
        *(PACKET / UDP(sport=20000, dport=30000) / Raw(RTP[:3] + bytes([n]) + RTP[4:]) for n in range(5)),
        PACKET / TCP(sport=40000, dport=8080, flags="PA") / Raw(WEBSOCKET),
        PACKET / UDP(sport=9060, dport=9060) / Raw(HEP1),
        sctp(2, M2UA),
        sctp(5, M2PA),
        sctp(4, SUA),
        ETHER / ARP(op=2, psrc="192.0.2.1", pdst="192.0.2.2"),
        v6(58, SOLICITATION),
        v6(58, ADVERTISEMENT),
        v6(58, ROUTER),
        PACKET / UDP(sport=1985, dport=1985) / Raw(HSRP),
        PACKET / UDP(sport=1985, dport=1985) / Raw(HSRP2),
        PACKET / UDP(sport=3222, dport=3222) / Raw(GLBP),
        ETHER / IP(src="192.0.2.1", dst="224.0.0.18", ttl=255, proto=112) / Raw(VRRP),
        PACKET / UDP(sport=67, dport=68) / Raw(DHCP),
        v6(17, bytes(UDP(sport=547, dport=547, len=8 + len(DHCPV6), chksum=1) / Raw(DHCPV6))),
        PACKET / TCP(sport=40000, dport=179, flags="PA") / Raw(BGP),
        PACKET / UDP(sport=5005, dport=5005) / Raw(RTCP),
        PACKET / UDP(sport=2123, dport=2123) / Raw(GTP1),
        PACKET / UDP(sport=2123, dport=2123) / Raw(GTP2),
        PACKET / UDP(sport=1812, dport=1812) / Raw(RADIUS),
        PACKET / TCP(sport=40000, dport=49, flags="PA") / Raw(TACACS),
        PACKET / UDP(sport=40000, dport=161) / Raw(SNMP),
        PACKET / TCP(sport=22, dport=40000, flags="PA") / Raw(SSH),
        PACKET / TCP(sport=22, dport=40000, flags="PA") / Raw(SSH_GROUP),
        PACKET / UDP(sport=500, dport=500) / Raw(IKE),
        PACKET / UDP(sport=4500, dport=4500) / Raw(bytes(4) + IKE),
        PACKET / UDP(sport=500, dport=500) / Raw(IKE1),
        ETHER / IP(src="192.0.2.1", dst="224.0.0.5", ttl=1, proto=89) / Raw(OSPF),
        v6(89, OSPF3),
        ETHER / IP(src="192.0.2.1", dst="224.0.0.10", ttl=2, proto=88) / Raw(EIGRP),
        PACKET / UDP(sport=520, dport=520) / Raw(RIP),
        PACKET / UDP(sport=49152, dport=3784) / Raw(BFD),
        Dot3(src=ETHER.src, dst="01:80:c2:00:00:15") / Raw(ISIS),
        PACKET / ICMP(id=1) / Raw(bytes.fromhex("72550000 c0000209 01bb")),
        PACKET / UDP(sport=2048, dport=2048) / Raw(WCCP),
        PACKET / GRE(proto=0x883E) / Raw(bytes(4)) / INNER,
        ETHER
        / IP(src="192.0.2.1", dst="192.0.2.2", options=[IPOption_LSRR(routers=["192.0.2.3", "192.0.2.4"])])
        / UDP(sport=5, dport=6),
        PACKET / UDP(sport=40000, dport=69) / Raw(b"\0\x02tac.pcap\0octet\0"),
        PACKET / UDP(sport=40000, dport=40001) / Raw(b"\0\x03\0\x01" + PCAP),
        PACKET / TCP(sport=40000, dport=21, flags="PA") / Raw(b"STOR mycap.pcap\r\nRETR running-config\r\n"),
        PACKET / TCP(sport=20, dport=40000, flags="PA") / Raw(PCAPNG),
        PACKET
        / TCP(sport=40000, dport=80, flags="PA")
        / Raw(b"PUT /1.pcap HTTP/1.1\r\nHost: a\r\n\r\n" + PCAP),
    ]


if __name__ == "__main__":
    wrpcap(str(Path(__file__).parent / "corpus" / "protocols.pcap"), frames())
