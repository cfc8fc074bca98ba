"""What is known of addresses and telephone numbers: ``tapsight where``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tapsight import _core
from tapsight._text import safe
from tapsight.places import Places, numbers
from tapsight.policy import Policy


def load_places(
    files: Iterable[str | Path] | None, policy: Policy | str | Path | None, *, registered: bool = True
) -> Places:
    """Places by files, and the files and zones of a policy: what commands make of ``--places`` and ``--policy``.

    Files that are given count before those of the policy.

    Raises:
        ValueError: A file or the policy is not understood.
        OSError: A file cannot be read.
    """
    if policy is not None and not isinstance(policy, Policy):
        policy = Policy.load(policy)
    if policy is None:
        return Places(*files or (), registered=registered)
    if registered and not files:
        return policy.known_places()
    return Places(*policy.places.files, *files or (), registered=registered, zones=policy.zones)


def where_rows(things: list[str], places: Places) -> list[dict[str, Any]]:
    """A row for each address, and each telephone number that begins with ``+``.

    Raises:
        ValueError: One is neither.
    """
    rows = []
    for thing in things:
        if thing.lstrip().startswith("+"):
            kind, known = "number", numbers([thing.strip()])
        else:
            kind, known = "address", places.lookup([_address(thing)])
        rows.append({kind: thing, **known.to_pylist()[0]})
    return rows


def _address(thing: str) -> str:
    """The address that somebody asks for."""
    text = thing.strip()
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        if re.fullmatch(r"[0-9][-() 0-9]*", text):
            said = (
                "a telephone number begins with a plus sign and the code of its country, such as +32470123456"
            )
        elif "/" in text:
            said = f"ask for one address of a prefix, such as {text.partition('/')[0]}"
        else:
            said = "write an IP address, such as 193.0.0.1, or a telephone number with a plus sign, such as +32470123456"
        raise ValueError(f'"{thing}" is no address: {said}') from error
    return text


def where_text(rows: list[dict[str, Any]]) -> str:
    """The rows as text, a line each."""
    return "\n".join(safe(_line(row)) for row in rows)


def _line(row: dict[str, Any]) -> str:
    if "number" in row:
        known = [_country(row["country"], row["name"])] if row["name"] else ["no international number"]
        return f"{row['number']}: {', '.join(known)}"
    network = " ".join(filter(None, (f"AS{row['asn']}" if row["asn"] is not None else "", row["network"])))
    known = [
        *([f"zone {row['zone']}"] if row["zone"] else []),
        *([_country(row["country"], None)] if row["country"] else []),
        *([network] if network else []),
        *([f"special: {row['special']}"] if row["special"] else []),
    ]
    return f"{row['address']}: {', '.join(known) or 'nothing is known'}"


def _country(code: str | None, name: str | None) -> str:
    name = name or (_core.country_name(code) if code else None)
    return f"{code} ({name})" if code and name else code or name or ""
