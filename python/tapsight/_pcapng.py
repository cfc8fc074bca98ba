"""Writing pcapng (draft-ietf-opsawg-pcapng): one section in little-endian order, times in nanoseconds, comments."""

from __future__ import annotations

import struct

_COMMENT, _END = 1, 0
_SHB_USERAPPL = 4
_IF_NAME, _IF_TSRESOL, _IF_FCSLEN, _IF_TSOFFSET = 2, 9, 13, 14

_LONGEST = 65_532
"""Bytes of the longest option that is padded to no more than its 16 bits of length can say."""


def section(*, comment: str, application: str) -> bytes:
    """A Section Header Block, which begins the file; of a length that is not told."""
    options = _text(_COMMENT, comment) + _text(_SHB_USERAPPL, application)
    return _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1), options)


def interface(
    name: str, *, link_type: int, snaplen: int, fcs_len: int | None = None, offset: int = 0
) -> bytes:
    """An Interface Description Block; ``offset`` is what its packets' times are counted from, in seconds since 1970."""
    options = _text(_IF_NAME, name) + _option(_IF_TSRESOL, b"\x09")
    if fcs_len is not None:
        options += _option(_IF_FCSLEN, bytes([fcs_len]))
    if offset:
        options += _option(_IF_TSOFFSET, struct.pack("<q", offset))
    return _block(1, struct.pack("<HHI", link_type, 0, snaplen), options)


def packet(interface: int, time: int, data: bytes, wire_len: int, *, comment: str) -> bytes:
    """An Enhanced Packet Block; ``time`` in nanoseconds from what the interface counts from, not negative."""
    head = struct.pack("<IIIII", interface, time >> 32, time & 0xFFFF_FFFF, len(data), wire_len)
    return _block(6, head + data + bytes(-len(data) % 4), _text(_COMMENT, comment))


def _text(code: int, text: str) -> bytes:
    """An option of UTF-8, cut between two characters if it is too long for one."""
    value = text.encode("utf-8", "backslashreplace")
    if len(value) > _LONGEST:
        value = value[:_LONGEST].decode("utf-8", "ignore").encode()
    return _option(code, value)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes, options: bytes) -> bytes:
    body += options + struct.pack("<HH", _END, 0)
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)
