"""Signalling of mobile networks, byte by byte after its standards: MAP over M3UA, Diameter over SCTP, GTP."""

from __future__ import annotations

import struct

from tapsight.lab.packet import SCTP, UDP, Packet, address

M3UA, DIAMETER = 3, 46
"""Payload protocol identifiers (IANA)."""
PORTS = {M3UA: 2905, DIAMETER: 3868}

S6A = 16_777_251
"""The application of S6a (3GPP TS 29.272)."""

LOCATION_ENQUIRY, SUBSCRIBER_INFO, LOCATION_UPDATE, DATA_MANAGEMENT, CANCELLATION, AUTHENTICATION = (
    (29, 3), (28, 3), (1, 3), (16, 3), (2, 3), (14, 2),
)  # fmt: skip
"""Application contexts of MAP, each with a version (3GPP TS 29.002 section 17.3)."""

# --- Transport ---------------------------------------------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    """The checksum of SCTP, RFC 9260 appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _crc_of_byte(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


CRC_TABLE = tuple(_crc_of_byte(value) for value in range(256))


def sctp(src: str, dst: str, protocol: int, number: int, message: bytes) -> Packet:
    """A packet of SCTP with one chunk of data, RFC 9260 sections 3.1 and 3.3.1."""
    chunk = struct.pack("!BBHIHHI", 0, 3, 16 + len(message), 1000 + number, 1, number & 0xFFFF, protocol)
    chunk += message + bytes(-len(message) % 4)
    port, tag = PORTS[protocol], 0x5EED0000 + sum(address(dst))
    head = struct.pack("!HHI", port, port, tag)
    crc = struct.pack("<I", crc32c(head + bytes(4) + chunk))
    return Packet(src, dst, SCTP, payload=head + crc + chunk, ttl=62, tos=0x60, ip_id=number % 65535 + 1)


# --- SS7 ---------------------------------------------------------------------------------------------------------------


def ber(tag: int, value: bytes) -> bytes:
    """An element of BER, ITU-T X.690 section 8.1."""
    size = len(value)
    return bytes([tag]) + (bytes([size]) if size < 128 else b"\x81" + bytes([size])) + value


def tbcd(digits: str, filler: str = "f") -> bytes:
    """Digits, two a byte, the low half first (3GPP TS 29.002 section 17.7.8)."""
    digits += filler * (len(digits) % 2)
    return bytes(int(b + a, 16) for a, b in zip(digits[::2], digits[1::2], strict=True))


def isdn(digits: str) -> bytes:
    """An international number of E.164 (ISDN-AddressString)."""
    return b"\x91" + tbcd(digits)


def m3ua(opc: int, dpc: int, data: bytes, service: int = 3) -> bytes:
    """A message of M3UA with data of a user part, SCCP by default, RFC 4666 sections 3.1 and 3.3.1."""
    body = struct.pack("!IIBBBB", opc, dpc, service, 2, 0, 5) + data
    parameter = struct.pack("!HH", 0x0210, 4 + len(body)) + body + bytes(-len(body) % 4)
    return struct.pack("!BBBBI", 1, 0, 1, 1, 8 + len(parameter)) + parameter


def title(digits: str, subsystem: int) -> bytes:
    """An address of SCCP: subsystem and global title of E.164, ITU-T Q.713 section 3.4."""
    scheme = 0x11 if len(digits) % 2 else 0x12
    return bytes((0x12, subsystem, 0, scheme, 4)) + tbcd(digits, "0")


def unitdata(called: tuple[str, int], calling: tuple[str, int], data: bytes) -> bytes:
    """Unitdata of SCCP, ITU-T Q.713 section 4.10: to whom, from whom (title and subsystem), what."""
    parts = [bytes([len(part)]) + part for part in (title(*called), title(*calling), data)]
    offsets = 3, 2 + len(parts[0]), 1 + len(parts[0]) + len(parts[1])
    return bytes((9, 0, *offsets)) + b"".join(parts)


def begin(transaction: int, context: tuple[int, int], *invoked: tuple[int, bytes]) -> bytes:
    """The begin of a dialogue of TCAP, ITU-T Q.773: with a context of MAP, and operations with their arguments."""
    name = ber(0xA1, ber(6, bytes((4, 0, 0, 1, 0, *context))))
    request = ber(0x60, b"\x80\x02\x07\x80" + name)
    dialogue = ber(0x28, ber(6, bytes.fromhex("00118605010101")) + ber(0xA0, request))
    components = b"".join(
        ber(0xA1, bytes((2, 1, number, 2, 1, operation)) + argument)
        for number, (operation, argument) in enumerate(invoked, 1)
    )
    return ber(0x62, _transaction(0x48, transaction) + ber(0x6B, dialogue) + ber(0x6C, components))


def end(transaction: int, invoke: int = 1) -> bytes:
    """The end of a dialogue, with an empty result."""
    return ber(0x64, _transaction(0x49, transaction) + ber(0x6C, ber(0xA2, bytes((2, 1, invoke)))))


def _transaction(tag: int, number: int) -> bytes:
    return ber(tag, struct.pack("!I", number))


def any_time_interrogation(imsi: str, service: str) -> tuple[int, bytes]:
    """Where is this subscriber? For the home network's own services (3GPP TS 29.002 section 17.7.1)."""
    who, what = ber(0xA0, ber(0x80, tbcd(imsi))), ber(0xA1, b"\x80\0")
    return 71, ber(0x30, who + what + ber(0x83, isdn(service)))


def provide_subscriber_info(imsi: str) -> tuple[int, bytes]:
    """The same, asked of the network that the subscriber is in."""
    return 70, ber(0x30, ber(0x80, tbcd(imsi)) + ber(0xA2, b"\x80\0"))


def update_location(imsi: str, exchange: str) -> tuple[int, bytes]:
    """A subscriber is here now: exchange and register have this number."""
    return 2, ber(0x30, ber(4, tbcd(imsi)) + ber(0x81, isdn(exchange)) + ber(4, isdn(exchange)))


def insert_subscriber_data(imsi: str) -> tuple[int, bytes]:
    """What a subscriber may do."""
    return 7, ber(0x30, ber(0x80, tbcd(imsi)))


def cancel_location(imsi: str) -> tuple[int, bytes]:
    """A subscriber is elsewhere now."""
    return 3, ber(0xA3, ber(4, tbcd(imsi)))


def send_authentication_info(imsi: str) -> tuple[int, bytes]:
    """Keys for a subscriber."""
    return 56, ber(4, tbcd(imsi))


# --- Diameter ----------------------------------------------------------------------------------------------------------


def realm(mcc: str, mnc: str) -> str:
    """The realm of a network, 3GPP TS 23.003 section 19.2."""
    return f"epc.mnc{mnc:0>3}.mcc{mcc}.3gppnetwork.org"


def diameter(command: int, origin: str, destination: str, number: int, imsi: str, *, request: bool) -> bytes:
    """A message of S6a from one realm to another, RFC 6733 sections 3 and 4.1: a request, or its answer that says yes."""
    avps = _avp(263, f"node.{origin if request else destination};{number};1".encode())
    avps += _avp(264, f"node.{origin}".encode()) + _avp(296, origin.encode())
    avps += _avp(277, struct.pack("!I", 1))
    if request:
        avps += _avp(283, destination.encode()) + _avp(1, imsi.encode())
    else:
        avps += _avp(268, struct.pack("!I", 2001))
    flags = 0xC0 if request else 0x40
    head = struct.pack("!II", 1 << 24 | 20 + len(avps), flags << 24 | command)
    return head + struct.pack("!III", S6A, number, number) + avps


def _avp(code: int, data: bytes) -> bytes:
    return struct.pack("!II", code, 0x40 << 24 | 8 + len(data)) + data + bytes(-len(data) % 4)


# --- GTP ---------------------------------------------------------------------------------------------------------------


def gtpc(src: str, dst: str, kind: int, endpoint: int, number: int, body: bytes) -> Packet:
    """A message of GTP-C version 2, 3GPP TS 29.274 section 5.1."""
    rest = struct.pack("!II", endpoint, number << 8) + body
    payload = struct.pack("!BBH", 0x48, kind, len(rest)) + rest
    return Packet(src, dst, UDP, 2123, 2123, payload, 62, 0x60, number % 65535 + 1)


def full_endpoint(host: str, endpoint: int, interface: int) -> bytes:
    """An F-TEID of IPv4, 3GPP TS 29.274 section 8.22: 6 and 7 are S5/S8 GTP-C of SGW and PGW."""
    return struct.pack("!BHBBI", 87, 9, 0, 0x80 | interface, endpoint) + address(host)


ACCEPTED = struct.pack("!BHBBB", 2, 2, 0, 16, 0)
"""The cause "request accepted", 3GPP TS 29.274 section 8.4."""


def gtpu(src: str, dst: str, endpoint: int, number: int, inner: bytes) -> Packet:
    """A packet in a tunnel of GTP-U, 3GPP TS 29.281 section 5.1."""
    payload = struct.pack("!BBHI", 0x30, 255, len(inner), endpoint) + inner
    return Packet(src, dst, UDP, 2152, 2152, payload, 62, 0, number % 65535 + 1)
