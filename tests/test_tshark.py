"""Every frame of every real capture, field by field, against tshark."""

from __future__ import annotations

import warnings

import pytest
from conftest import capture_index, captures_dir
from tshark_peer import compare, is_available

import tapsight

PARTS = 32


@pytest.mark.parametrize("part", range(PARTS))
def test_fields_agree_with_tshark(part: int) -> None:
    directory = captures_dir()
    if directory is None:
        pytest.skip("no captures of other projects: set TAPSIGHT_CAPTURES to a folder with an INDEX.tsv")
    if not is_available():
        pytest.skip("tshark is not installed")
    differences: list[str] = []
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tapsight.CaptureWarning)
        for row in capture_index()[part::PARTS]:
            result = compare(directory / row["file"], row["file"])
            differences += result.differences
            compared += result.compared.total()
    assert compared > 0
    assert differences == []
