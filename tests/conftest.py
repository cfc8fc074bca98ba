"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def captures_dir() -> Path | None:
    """Where captures of other projects lie, with an INDEX.tsv, if they are at hand."""
    for place in (os.environ.get("TAPSIGHT_CAPTURES"), ROOT.parent / "shared" / "captures"):
        if place and (Path(place) / "INDEX.tsv").is_file():
            return Path(place)
    return None


def capture_index() -> list[dict[str, str]]:
    """The rows of INDEX.tsv; none if the captures are not at hand."""
    directory = captures_dir()
    if directory is None:
        return []
    header, *lines = (directory / "INDEX.tsv").read_text().splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=False)) for line in lines]


@pytest.fixture(scope="session")
def captures() -> Path:
    directory = captures_dir()
    if directory is None:
        pytest.skip("no captures of other projects: set TAPSIGHT_CAPTURES to a folder with an INDEX.tsv")
    return directory
