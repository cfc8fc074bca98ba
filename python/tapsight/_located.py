"""What flows and calls take to know where their ends are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    from tapsight.places import Places

Known: TypeAlias = Union["Places", str, os.PathLike[str], Sequence[str | os.PathLike[str]]]
"""What is known of addresses; or a file that says so, or several."""


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
