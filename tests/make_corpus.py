"""Makes tests/corpus/protocols.pcap: a frame of each protocol whose messages are read, by scapy and by hand."""

from __future__ import annotations

from pathlib import Path

from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrRouting
from scapy.layers.l2 import GRE, Ether
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
    "0100010100000050" "02100048" "000000010000000203020000"
    "0980030d170a120600120443871000320a1208001204318700102032" "1262104804000000016c08a106020101020138"
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
    ]


if __name__ == "__main__":
    wrpcap(str(Path(__file__).parent / "corpus" / "protocols.pcap"), frames())
