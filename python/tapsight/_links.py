"""Which link types are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tapsight._text import listing, plural

_READ = frozenset(
    {
        0,
        1,
        9,
        12,
        14,
        50,
        51,
        100,
        101,
        104,
        105,
        107,
        108,
        113,
        127,
        143,
        178,
        192,
        228,
        229,
        239,
        242,
        258,
        276,
    }
)
"""Numbers of the link types that are read (docs/protocols.md); 12 and 14 are raw IP by another name."""


def is_unread(link_type: str | None) -> bool:
    """Whether a link type, such as ``dbus (231)``, is one that is not read: then all its frames are issues."""
    number = re.search(r"(\d+)\)?$", link_type or "")
    return number is not None and int(number[1]) not in _READ


def unread_text(taps: Iterable[Mapping[str, Any]]) -> tuple[str | None, bool]:
    """How many frames of captures (rows of ``Result.taps``) are of link types that are not read, in words, and whether all are; none if all are read."""
    frames, unread, links = 0, 0, dict[str, None]()
    for row in taps:
        frames += row["frames"]
        if is_unread(row["link_type"]):
            unread += row["frames"]
            links[row["link_type"]] = None
    if not unread:
        return None, False
    verb = "is" if unread == 1 else "are"
    return (
        f"{unread:,} of {plural(frames, 'frame')} {verb} of a link type that is not read ({listing(list(links))})",
        unread == frames,
    )
