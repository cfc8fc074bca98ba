"""Values as text for people: numbers, times, addresses, and strings that must not be trusted."""

from __future__ import annotations

import datetime
import inspect
import ipaddress
import re
import unicodedata
from collections.abc import Iterable

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_PLUS_DIGITS = re.compile(r"\+[0-9]+")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def safe(text: str) -> str:
    r"""The text with everything that could steer a terminal made visible.

    Control characters (C0, DEL, C1), bidirectional and other invisible format characters, line and paragraph
    separators and lone surrogates become escapes such as ``\x1b`` or ``\u202e``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) for char in text)


def _escape(char: str) -> str:
    if unicodedata.category(char) not in _ESCAPED:
        return char
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def safe_cell(text: str) -> str:
    """The text as a cell of a spreadsheet: safe, and never a formula.

    A leading apostrophe keeps spreadsheets from running what begins with one of ``= + - @``, tab or return (OWASP,
    "CSV Injection"). A plus sign and digits alone are a number, by which others are joined: it stays as it is.
    """
    if text[:1] not in {"=", "+", "-", "@", "\t", "\r"} or _PLUS_DIGITS.fullmatch(text):
        return safe(text)
    return "'" + safe(text)


def address_text(address: bytes) -> str:
    """A 16-byte address as text, IPv4-mapped ones in dotted form, others as RFC 5952 has it."""
    value = ipaddress.IPv6Address(address)
    return str(value.ipv4_mapped or value)


def mac_text(mac: bytes) -> str:
    """A MAC address as text: lower-case, separated by colons."""
    return mac.hex(":")


def plural(count: int, one: str, many: str | None = None) -> str:
    """The count, with thousands separated, and the noun that fits it: ``1 packet``, ``12,000 packets``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(part: int, whole: int) -> str:
    """A share in percent that never rounds to a clean 0 or 100 what is not."""
    if whole == 0:
        return "0 %"
    share = 100 * part / whole
    if part in (0, whole):
        return f"{share:.0f} %"
    return f"{min(max(share, 0.1), 99.9):.1f} %"


def percent_beside(part: int, whole: int, limit: float) -> str:
    """A share in percent with as many digits as tell it from a limit, a share as well: 0.14 % beside 0.1 %."""
    if whole == 0 or part in (0, whole):
        return percent(part, whole)
    share = 100 * part / whole
    shown = percent(part, whole)
    for digits in range(2, 10):
        if float(shown.removesuffix(" %")) != 100 * limit or share == 100 * limit:
            break
        shown = f"{share:.{digits}f} %"
    return shown


def error_text(error: OSError) -> str:
    """What the system said, and of which file."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def name_problem(name: str) -> str | None:
    """Why the engine cannot take this name of a file or a tap, which Python reads from bytes that are no text; ``None`` if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"{safe(name)}: a name that is not UTF-8 text cannot be used: rename it"
    return None


def documentation(thing: type) -> str:
    """The docstring of a class as people read it at a terminal."""
    return (inspect.getdoc(thing) or "").replace("``", "`").replace("::\n", ":\n")


def duration(nanoseconds: int) -> str:
    """A duration in the unit that fits it."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        # What would be rounded to 1,000 of the smaller unit is 1 of this one.
        if abs(nanoseconds) >= 0.9995 * size:
            value = nanoseconds / size
            return f"{value:.3g} {unit}" if abs(value) < 999.5 else f"{value:,.0f} {unit}"
    return f"{nanoseconds} ns"


def time_text(nanoseconds: int, digits: int = 0) -> str:
    """A time, given in nanoseconds since 1970, as ``2026-11-24 03:50:00 UTC``, cut to this many digits of a second."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    time = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(seconds=seconds)
    tail = f".{fraction:09d}"[: digits + 1] if digits else ""
    return f"{time:%Y-%m-%d %H:%M:%S}{tail} UTC"


def iso_time(nanoseconds: int) -> str:
    """A time, given in nanoseconds since 1970, as RFC 3339 has it, to the nanosecond."""
    return time_text(nanoseconds, 9).removesuffix(" UTC").replace(" ", "T") + "Z"


def listing(words: list[str], limit: int = 3) -> str:
    """Words as an enumeration, those beyond the limit only counted: ``a, b and 3 more``."""
    if len(words) > limit:
        return f"{', '.join(words[:limit])} and {len(words) - limit:,} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


_TRAFFIC = {
    "voice-signalling": "voice signalling",
    "voice-media": "voice",
    "mobile-signalling": "mobile network signalling",
    "internet": "internet traffic",
    "routing": "routing protocols",
    "management": "network management",
    "unknown": "unrecognised traffic",
}


def traffic_text(traffic: Iterable[str]) -> str:
    """Traffic classes in everyday words."""
    return listing(
        [_TRAFFIC.get(name, name) for name in sorted(traffic, key=lambda name: (name == "unknown", name))], 4
    )


def span_text(first_ts: int, last_ts: int) -> str:
    """``from … until …``, or ``at …`` within a second."""
    first, last = time_text(first_ts), time_text(last_ts)
    return f"at {first}" if first == last else f"from {first} until {last}"


def party(address: bytes | None, mac: bytes | None = None) -> str:
    """Who, by address or else by MAC address."""
    if address is not None:
        return address_text(address)
    return f"the device with MAC {mac_text(mac)}" if mac is not None else "an unknown device"


def begin(text: str) -> str:
    """The text with a capital first letter, unless it begins with an address."""
    return text if ":" in text.partition(" ")[0] else text[:1].upper() + text[1:]
