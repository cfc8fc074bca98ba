"""Which link types are read."""

from __future__ import annotations

import re

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
