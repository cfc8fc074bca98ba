"""Messages of SIP (RFC 3261) and session descriptions (RFC 8866), for what is no ordinary call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Dialog(NamedTuple):
    """A dialog, of which ``src`` asked first."""

    src: str
    dst: str
    call_id: str
    from_tag: str
    to_tag: str

    def turned(self) -> Dialog:
        """The same dialog, in which the other one asks (RFC 3261 section 12.2.1.1: tags change places)."""
        return Dialog(self.dst, self.src, self.call_id, self.to_tag, self.from_tag)

    def request(
        self, method: str, number: int, body: str = "", *fields: str, contact: str = "", at: str = ""
    ) -> bytes:
        """A request of who asked first. ``contact`` are parameters of its Contact, ``at`` is the host there if it is not its own."""
        first = f"{method} sip:{self.dst} SIP/2.0"
        to_tag = "" if method == "INVITE" and number == 1 else self.to_tag
        fields = ("Max-Forwards: 69", *fields)
        return self._message(first, method, number, to_tag, body, fields, at or self.src, contact)

    def response(
        self,
        status: int,
        reason: str,
        method: str,
        number: int,
        body: str = "",
        *fields: str,
        at: str = "",
        to_tag: str | None = None,
    ) -> bytes:
        """A response to it."""
        first = f"SIP/2.0 {status} {reason}"
        tag = self.to_tag if to_tag is None else to_tag
        return self._message(first, method, number, tag, body, fields, at or self.dst, "")

    def _message(
        self,
        first: str,
        method: str,
        number: int,
        to_tag: str,
        body: str,
        fields: Iterable[str],
        me: str,
        contact: str,
    ) -> bytes:
        lines = [
            first,
            f"Via: SIP/2.0/UDP {self.src}:5060;branch=z9hG4bK{self.from_tag}{number}",
            f"From: <sip:{self.src}>;tag={self.from_tag}",
            f"To: <sip:{self.dst}>" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {self.call_id}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:{me}:5060>{contact}",
            *fields,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def edited(message: bytes, change: Callable[[str], str]) -> bytes:
    """The message with its text changed, and its length as it then is."""
    head, _, body = change(message.decode()).partition("\r\n\r\n")
    lines = [line for line in head.split("\r\n") if not line.startswith("Content-Length:")]
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n" + body).encode()


def description(address: str, media: Iterable[tuple[int, str, str]]) -> str:
    """A description of audio: port, direction and label (RFC 4574) of each medium; no label where it is empty."""
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    for port, direction, label in media:
        lines += [f"m=audio {port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000", f"a={direction}"]
        lines += [f"a=label:{label}"] if label else []
    return "\r\n".join(lines) + "\r\n"


def audio(address: str, port: int, *attributes: str, profile: str = "RTP/AVP") -> str:
    """A description of one medium with further attributes."""
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    lines += [f"m=audio {port} {profile} 8", "a=rtpmap:8 PCMA/8000", *(f"a={each}" for each in attributes)]
    return "\r\n".join(lines) + "\r\n"


SDES, DTLS = "RTP/SAVP", "UDP/TLS/RTP/SAVP"
"""Profiles of encrypted media: RFC 3711, and RFC 5764."""


def crypto(key: str) -> str:
    """An attribute with the key and salt of media, 40 characters of base64 (RFC 4568 section 9.1)."""
    return f"crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}"


def fingerprint(digest: bytes) -> str:
    """An attribute with the hash of the certificate by which keys are agreed (RFC 8122 section 5)."""
    return "fingerprint:sha-256 " + digest.hex(":").upper()


def in_clear(text: str) -> str:
    """The message without keys and fingerprints, as one that never had any."""
    lines = [
        line for line in text.split("\r\n") if not line.startswith(("a=crypto", "a=fingerprint", "a=setup"))
    ]
    return "\r\n".join(lines).replace(f" {DTLS} ", " RTP/AVP ").replace(f" {SDES} ", " RTP/AVP ")
