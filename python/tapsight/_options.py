"""The values that checks take from a policy: severities, coverage, and lists that may be named sets."""

from __future__ import annotations

import difflib
import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from tapsight import _core
from tapsight._located import REGIONS
from tapsight._text import address_text

Severity = Literal["info", "low", "medium", "high", "critical"]
"""How much it matters, least first."""

SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")

MIN_COVERAGE = 0.5
"""Share of the packets in scope that must be judged before their check may pass, unless the policy says otherwise."""


def _listed(*kinds: str, **limits: Any) -> WithJsonSchema:
    """For editors: one value or a list, where a text may name a set."""
    one = {"type": sorted({*kinds, "string"}), **limits}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one}]})


def _techniques(value: object) -> tuple[str, ...]:
    from tapsight.findings import attack, technique_names

    known = technique_names()
    items: list[Any] = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or item not in known:
            close = difflib.get_close_matches(str(item), [*known, *known.values()], n=1)
            like = next((id_ for id_, name in known.items() if close and close[0] in {id_, name}), None)
            hint = f'; did you mean "{like}" ({known[like]})?' if like else ";"
            raise policy_error(
                f"{item!r} is no technique of ATT&CK {attack()[0]} that findings point to{hint} known: {', '.join(known)}",
                item,
            )
    return tuple(dict.fromkeys(items))


class _KnownTechniques:
    """For editors: the ids that there are."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        from tapsight.findings import technique_names

        del core, handler
        one = {"enum": list(technique_names())}
        return {"anyOf": [one, {"type": "array", "items": one}]}


Techniques = Annotated[tuple[str, ...], BeforeValidator(_techniques), _KnownTechniques()]
"""ATT&CK techniques, by their ids."""


class Options(BaseModel):
    """What every check takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    severity: Literal["low", "medium", "high", "critical"] | None = None
    """Severity of its findings in place of the usual one."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = MIN_COVERAGE
    """Below this share of judged packets the verdict is unknown, unless something failed."""
    enabled: bool = True
    """Whether to judge at all."""
    ticket: str | None = None
    """A note for whoever reads the verdict, such as the change request that the rule rests on."""
    attack: Techniques | None = None
    """ATT&CK techniques that its findings point to, in place of the usual ones."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``; did you mean "…"?`` if one of the words is close, else nothing."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def policy_error(message: str, item: object) -> PydanticCustomError:
    """An error in a policy: what is wrong, and the item that is."""
    # Braces in a message would be taken for fields; the offending item goes along to find its line.
    return PydanticCustomError("policy", "{message}", {"message": message, "item": item})


def check_prefix(text: object) -> str:
    """The text, if it is an address or a prefix without host bits; else an error that says what would be.

    IPv4 that is written as IPv6 (``::ffff:192.0.2.1``, RFC 4291 section 2.5.5.2) becomes IPv4, as which packets have it.
    """
    if not isinstance(text, str):
        raise policy_error(f"must be an address or prefix in quotes, not {text!r}", text)
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            network = ipaddress.ip_interface(text).network
        except ValueError:
            message = f'"{text}" is neither an address nor a prefix, such as 192.0.2.1 or 2001:db8::/32'
            raise policy_error(message, text) from None
        raise policy_error(
            f'prefix "{text}" has bits set beyond its length; did you mean "{network}"?', text
        ) from None
    if network.version == 6 and network.subnet_of(_MAPPED):
        mapped = ipaddress.ip_network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
        return str(mapped.network_address) if mapped.prefixlen == mapped.max_prefixlen else str(mapped)
    return text


_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def check_number(value: object, what: str, largest: int) -> int:
    """The value, if it is a whole number from 0 to the largest."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise policy_error(f"{value!r} is no {what}: must be a whole number from 0 to {largest}", value)
    return value


def _members(
    value: object, info: ValidationInfo, check: Callable[[object], Any], kind: type, what: str
) -> tuple[Any, ...]:
    """The members of a list in which names of sets stand for the members of those sets."""
    context = info.context if isinstance(info.context, Mapping) else {}
    sets: Mapping[str, tuple[Any, ...]] = context.get("sets", {})
    members: list[Any] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and item in sets:
            # They are checked already; what is wrong with the set itself is reported where it stands.
            listed = sets[item]
            if item in context.get("dated", ()):
                raise policy_error(
                    f'set "{item}" has members with dates, which only [checks] take: list those that count here without dates',
                    item,
                )
            if listed and not isinstance(listed[0], kind):
                raise policy_error(f'set "{item}" does not hold {what}', item)
            members.extend(listed if kind is str else filter(functools.partial(_is_fine, check), listed))
        elif (
            isinstance(item, str)
            and not _is_fine(check_prefix, item)
            and not any(char in item for char in ".:/")
        ):
            hint = did_you_mean(item, sets) or (
                f"; there are: {', '.join(sets)}" if sets else "; [sets] is empty"
            )
            raise policy_error(f'no set is named "{item}"{hint}', item)
        else:
            members.append(check(item))
    return tuple(members)


def _is_fine(check: Callable[[object], object], item: object) -> bool:
    try:
        check(item)
    except PydanticCustomError:
        return False
    return True


def resolve_prefixes(value: object, info: ValidationInfo) -> tuple[str, ...]:
    """The addresses and prefixes of a list, or of the sets that it names."""
    return _members(value, info, check_prefix, str, "addresses or prefixes")


def within(address: bytes | None, prefixes: Iterable[str]) -> bool:
    """Whether an address of the engine, if there is one, is in one of the prefixes."""
    if address is None:
        return False
    value = ipaddress.ip_address(address_text(address))
    number, bits = int(value), value.max_prefixlen
    return any(
        number >> (bits - length) in networks
        for (version, length), networks in _by_length(tuple(prefixes)).items()
        if version == value.version
    )


@functools.lru_cache(maxsize=64)
def _by_length(prefixes: tuple[str, ...]) -> dict[tuple[int, int], set[int]]:
    """Prefixes by version and length, each as its leading bits: so many look-ups as there are lengths."""
    found: dict[tuple[int, int], set[int]] = {}
    for prefix in prefixes:
        network = ipaddress.ip_network(prefix)
        leading = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        found.setdefault((network.version, network.prefixlen), set()).add(leading)
    return found


def _numbers(what: str, largest: int) -> BeforeValidator:
    def check(value: object) -> int:
        return check_number(value, what, largest)

    return BeforeValidator(lambda value, info: _members(value, info, check, int, "numbers"))


def _pair(value: object) -> tuple[object, object]:
    if not isinstance(value, list) or len(value) != 2:
        raise policy_error('must be a list of two sides, such as ["voice_peers", "192.0.2.1"]', value)
    return value[0], value[1]


def _macs(value: object) -> tuple[bytes, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or not re.fullmatch(r"(?i)[0-9a-f]{2}(?::[0-9a-f]{2}){5}", item):
            raise policy_error(f"must be a MAC address, such as 00:1b:54:ab:cd:ef, not {item!r}", item)
    return tuple(bytes.fromhex(item.replace(":", "")) for item in items)


def _names(value: object) -> tuple[str, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str):
            raise policy_error(f"must be the name of a tap, not {item!r}", item)
    return tuple(items)


def _words(value: object) -> tuple[str, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str):
            raise policy_error(f"must be a name in quotes, not {item!r}", item)
    return tuple(items)


def _codecs(value: object) -> list[str]:
    """The names, unless one is nearly one that is registered: others may have been agreed on as well."""
    from tapsight._encodings import ENCODINGS

    items: list[Any] = value if isinstance(value, list) else [value]
    known = {name.upper(): name for name in ENCODINGS}
    for item in items:
        if not isinstance(item, str):
            raise policy_error(f"must be the name of an encoding in quotes, not {item!r}", item)
        name, slash, _ = item.upper().partition("/")
        if slash:
            raise policy_error(f'"{item}" has a clock rate: write "{item.partition("/")[0]}"', item)
        if name not in known and (close := difflib.get_close_matches(name, known, n=1, cutoff=0.75)):
            message = f'"{item}" is no encoding that is known; did you mean "{known[close[0]]}"?'
            raise policy_error(message, item)
    return items


def check_country(value: object) -> str:
    """The code of a country, in capitals."""
    example = "must be a country's code of two letters, such as NO"
    if not isinstance(value, str):
        raise policy_error(f"{example}, not {value!r}", value)
    code = value.upper()
    if code in REGIONS:
        raise policy_error(
            f"{value!r} is no country, but what registries write of a region: {example}", value
        )
    if len(code) != 2 or _core.country_name(code) is None:
        raise policy_error(f"{example} (ISO 3166), not {value!r}", value)
    return code


def _countries(value: object) -> tuple[str, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(check_country(item) for item in items))


def _files(value: object, info: ValidationInfo) -> tuple[str, ...]:
    context = info.context if isinstance(info.context, Mapping) else {}
    folder = Path(context.get("folder", "."))
    found = []
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, str) or not item or "\0" in item:
            raise policy_error(f"must be the name of a file, not {item!r}", item)
        path = folder / item
        try:
            is_there, is_file = path.exists(), path.is_file()
        except OSError as error:
            raise policy_error(f"{path}: {error.strerror}", item) from error
        if not is_file:
            what = "no file" if is_there else "there is no such file"
            raise policy_error(f"{path}: {what} (names go by the folder of the policy)", item)
        found.append(str(path))
    return tuple(found)


class OrText:
    """For editors: beside tables, a list may hold addresses, prefixes and names of sets; and one of those need not be in a list."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """The schema of the list, made wider."""
        listed = handler(core)
        text = {"type": "string"}
        return {"anyOf": [text, {**listed, "items": {"anyOf": [text, listed["items"]]}}]}


Prefixes = Annotated[tuple[str, ...], BeforeValidator(resolve_prefixes), _listed("string")]
"""Addresses and prefixes, inline or by the names of sets."""

_SIDE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Pair = Annotated[
    tuple[Prefixes, Prefixes],
    BeforeValidator(_pair),
    WithJsonSchema({"type": "array", "items": _SIDE, "minItems": 2, "maxItems": 2}),
]
"""Two sides, each a set's name or addresses and prefixes."""

Vlans = Annotated[tuple[int, ...], _numbers("VLAN id", 4094), _listed("integer", minimum=0, maximum=4094)]
"""VLAN ids (IEEE 802.1Q)."""

Macs = Annotated[
    tuple[bytes, ...],
    BeforeValidator(_macs),
    _listed("string", pattern="^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"),
]
"""MAC addresses."""

Taps = Annotated[tuple[str, ...], BeforeValidator(_names), _listed("string")]
"""Names of taps."""

Codecs = Annotated[list[str], BeforeValidator(_codecs), _listed("string")]
"""Encodings of RTP, by their names without a clock rate."""

Words = Annotated[tuple[str, ...], BeforeValidator(_words), _listed("string")]
"""Names that protocols give to something."""

_CODE = "^[A-Za-z]{2}$"
Country = Annotated[str, BeforeValidator(check_country), WithJsonSchema({"type": "string", "pattern": _CODE})]
"""The code of a country (ISO 3166-1 alpha-2)."""

Countries = Annotated[tuple[str, ...], BeforeValidator(_countries), _listed("string", pattern=_CODE)]
"""Codes of countries."""

Files = Annotated[tuple[str, ...], BeforeValidator(_files), _listed("string")]
"""Files that are there, by the folder of the policy."""

Ports = Annotated[
    tuple[int, ...], _numbers("port", 2**16 - 1), _listed("integer", minimum=0, maximum=2**16 - 1)
]
"""Ports of TCP, UDP or SCTP."""

CodePoints = Annotated[
    tuple[int, ...], _numbers("code point of DSCP", 63), _listed("integer", minimum=0, maximum=63)
]
"""Code points of differentiated services (RFC 2474)."""

Labels = Annotated[
    tuple[int, ...], _numbers("MPLS label", 2**20 - 1), _listed("integer", minimum=0, maximum=2**20 - 1)
]
"""MPLS labels (RFC 3032, section 2.1)."""

TunnelIds = Annotated[
    tuple[int, ...], _numbers("tunnel id", 2**32 - 1), _listed("integer", minimum=0, maximum=2**32 - 1)
]
"""Identifiers of tunnels: VNI, key, TEID, session."""

TunnelId = Annotated[
    int,
    BeforeValidator(lambda value: check_number(value, "tunnel id", 2**32 - 1)),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**32 - 1}),
]
"""Identifier of one tunnel."""
