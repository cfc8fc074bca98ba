"""Messages of SIP (RFC 3261) and session descriptions (RFC 8866), for what is no ordinary call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Dialog(NamedTuple):
    """A dialog, of which ``src`` asked first."""

    src: str
    dst: str
    call_id: str
    from_tag: str
    to_tag: str

    def request(self, method: str, number: int, body: str = "", *fields: str, contact: str = "") -> bytes:
        """A request of who asked first."""
        first = f"{method} sip:{self.dst} SIP/2.0"
        to_tag = "" if method == "INVITE" and number == 1 else self.to_tag
        return self._message(
            first, method, number, to_tag, body, ("Max-Forwards: 69", *fields), self.src, contact
        )

    def response(self, status: int, reason: str, method: str, number: int, body: str = "") -> bytes:
        """A response to it."""
        first = f"SIP/2.0 {status} {reason}"
        return self._message(first, method, number, self.to_tag, body, (), self.dst, "")

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


def description(address: str, media: Iterable[tuple[int, str, str]]) -> str:
    """A description of audio: port, direction and label (RFC 4574) of each medium; no label where it is empty."""
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    for port, direction, label in media:
        lines += [f"m=audio {port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000", f"a={direction}"]
        lines += [f"a=label:{label}"] if label else []
    return "\r\n".join(lines) + "\r\n"
