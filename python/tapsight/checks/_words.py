"""What rules say of packets: templates of sentences, and values in the words that people have for them."""

from __future__ import annotations

import dataclasses
import functools
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tapsight._expressions import NONE_IF_NULL, PROTOCOLS, Kind
from tapsight._text import address_text, begin, listing, mac_text, party, plural, time_text

_NAMES: Mapping[tuple[str, str], Mapping[Any, str]] = {
    # RFC 8446, section 4.1.3, and those before it; RFC 9147, section 5.4.
    ("tls", "version"): {
        0x0002: "SSL 2.0",
        0x0300: "SSL 3.0",
        0x0301: "TLS 1.0",
        0x0302: "TLS 1.1",
        0x0303: "TLS 1.2",
        0x0304: "TLS 1.3",
        0xFEFF: "DTLS 1.0",
        0xFEFD: "DTLS 1.2",
        0xFEFC: "DTLS 1.3",
    },
    # RFC 1157; RFC 1901; RFC 3410.
    ("snmp", "version"): {1: "version 1", 2: "version 2c", 3: "version 3"},
}
"""Names of numbers, by table and column."""

_PHRASES: Mapping[tuple[str, str], Mapping[Any, str]] = {
    ("routing_auth", "auth"): {"none": "without authentication", "text": "with a password in the clear"},
}
"""What a value means in a sentence, by table and column."""

_PROTOCOLS = {number: name.upper() for name, number in PROTOCOLS.items()} | {58: "ICMPv6", 41: "IPv6"}
_WRITTEN = {
    "isis": "IS-IS",
    "telnet": "Telnet",
    "syslog": "syslog",
    "tacacs": "TACACS+",
    "gtpu": "GTP-U",
    "dtls": "DTLS",
}
"""Protocols whose names are not written in capitals alone."""

_SHOWN = 8
"""Members of a list that are shown."""


@dataclasses.dataclass(frozen=True)
class Told:
    """What a finding of a rule is made of, in a sentence."""

    table: str
    kinds: Mapping[str, Kind]
    """What the columns of the table hold."""
    by: Mapping[str, Any]
    """What is equal of all that it is about."""
    packets: int
    when: str
    apps: Sequence[str]
    ends: Mapping[str, Any]
    """``src`` and ``dst`` of the first row."""
    all: Mapping[str, Sequence[Any]]
    """Of columns that a template names, all that they say."""
    first: Mapping[str, Any]
    """Of columns that are shown, what the first row says."""

    def by_template(self, template: str) -> str:
        """The sentence: fields are ``packets`` (``{packets:OSPF}`` is "2 OSPF packets"), ``when``, ``apps``, ``first``, and columns."""
        fields = {
            "packets": _Packets(self.packets),
            "when": self.when,
            "apps": listing([_written(name) for name in self.apps]),
            "first": self._first(),
            **{name: self._field(name, [value]) for name, value in {**self.ends, **self.by}.items()},
            **{name: self._field(name, values) for name, values in self.all.items()},
        }
        return begin(f"{template.format_map(fields)}.")

    def plainly(self) -> str:
        """The sentence of a rule that has no words of its own."""
        packets = plural(self.packets, "packet") + (f" ({listing(list(self.apps))})" if self.apps else "")
        named = dict(self.by)
        if "end_a" in named and "end_b" in named:
            ends = [self._party(each, named.pop(each)) for each in ("end_a", "end_b")]
            said = f"{packets} passed between {ends[0]} and {ends[1]}"
        elif "src" in named:
            said = f"{self._party('src', named.pop('src'))} sent "
            said += f"{self._party('dst', named.pop('dst'))} {packets}" if "dst" in named else packets
        elif "client" in named and "server" in named:
            ends = [self._party(each, named.pop(each)) for each in ("client", "server")]
            said = f"{packets} passed between client {ends[0]} and server {ends[1]}"
        else:
            said = f"there {'was' if self.packets == 1 else 'were'} {packets}"
        by = listing([f"{name} {self._value(name, value)}" for name, value in named.items()], limit=8)
        said += f" with {by}" if by else ""
        return begin(f"{said}, {self.when}, which the policy does not allow{self._first()}.")

    def _first(self) -> str:
        told = [
            f"{name} is {self._value(name, value)}"
            for name, value in self.first.items()
            if value is not None or name in NONE_IF_NULL
        ]
        return f"; in the first, {listing(told, limit=_SHOWN)}" if told else ""

    def _field(self, name: str, values: Sequence[Any]) -> str:
        phrases = _PHRASES.get((self.table, name), {})
        words = [
            phrases[value] if value in phrases else self._party(name, value)
            for value in values
            if not isinstance(value, list)
        ]
        if name == "protocol":
            words = [_written(word) for word in words]
        return listing(words)

    def _party(self, name: str, value: Any) -> str:
        """The value, as somebody who does something."""
        if name in {"end_a", "end_b"} or self.kinds.get(name) == "address":
            return address_text(value) if value is not None else "a device without an address"
        if self.kinds.get(name) == "MAC address":
            return party(None, value)
        return self._value(name, value)

    def _value(self, name: str, value: Any) -> str:
        if value is None:
            return "none" if name in NONE_IF_NULL else "unknown"
        if (known := _NAMES.get((self.table, name), {}).get(_hashable(value))) is not None:
            return known
        if isinstance(value, list):
            more = [f"{len(value) - _SHOWN} more"] if len(value) > _SHOWN else []
            return f"[{', '.join([*(self._value(name, each) for each in value[:_SHOWN]), *more])}]"
        match self.kinds.get(name):
            case "address":
                return address_text(value)
            case "MAC address":
                return mac_text(value)
            case "time":
                return time_text(value, 6)
            case "number" if name == "protocol":
                return _PROTOCOLS.get(value, f"IP protocol {value}")
            case "boolean":
                return str(value).lower()
        if name in {"end_a", "end_b"}:
            return address_text(value)
        return f"{value:g}" if isinstance(value, float) else str(value)


@functools.cache
def fields_of(template: str) -> tuple[str, ...]:
    """The fields that a template names, each once."""
    return tuple(dict.fromkeys(_fields(template)))


def _fields(template: str) -> Iterator[str]:
    for _, name, within, _ in string.Formatter().parse(template):
        if name is not None:
            yield name
            yield from _fields(within or "")


class _Packets:
    """How many packets, in a template: ``{packets}``, or ``{packets:SSH}``."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __format__(self, what: str) -> str:
        """The count, and the noun that fits it."""
        return plural(self._count, f"{what} packet" if what else "packet")


def _written(name: str) -> str:
    """The name of a protocol, as people write it."""
    return _WRITTEN.get(name, name if name != name.lower() else name.upper())


def _hashable(value: Any) -> Any:
    return None if isinstance(value, list) else value
