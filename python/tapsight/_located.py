"""What flows and calls take to know where their ends are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    from tapsight.places import Places

Known: TypeAlias = Union["Places", str, os.PathLike[str], Sequence[str | os.PathLike[str]]]
"""What is known of addresses; or a file that says so, or several."""


REGIONS = ("AP", "EU")
"""What registries write where they know no single country."""


def checked_homes(home: str | Sequence[str] | None) -> tuple[str, ...]:
    """Codes of countries that are home, in capitals and each once.

    Raises:
        ValueError: One is no country's.
    """
    from tapsight import _core

    codes = [home] if isinstance(home, str) else list(home or ())
    for code in codes:
        # As policies have it: what registries write of a region is no country.
        is_country = isinstance(code, str) and len(code) == 2 and _core.country_name(code.upper()) is not None
        if not is_country or code.upper() in REGIONS:
            raise ValueError(f"home: {code!r} is not a country's code of two letters, such as DE (ISO 3166)")
    return tuple(dict.fromkeys(code.upper() for code in codes))


def checked_places(places: Any) -> Places | None:
    """Places, made of files if these are given.

    Raises:
        TypeError: It is neither.
        ValueError: A file is not understood.
        OSError: A file cannot be read.
    """
    from tapsight.places import Places

    if places is None or isinstance(places, Places):
        return places
    files = [places] if isinstance(places, str | os.PathLike) else places
    if isinstance(files, Sequence) and all(isinstance(file, str | os.PathLike) for file in files):
        return Places(*files)
    raise TypeError(
        f"places are a tapsight.places.Places, or the path of a file that says where addresses belong, or several, not {places!r}"
    )
