"""Applications of flows against what nDPI and Zeek expect of the same captures."""

from __future__ import annotations

import warnings

import pytest
from conftest import capture_index, captures_dir
from labels_peer import REASONS, VOICE_APPS, compare

import tapsight


@pytest.mark.parametrize("judge", ["nDPI", "Zeek"])
def test_labels_agree(judge: str) -> None:
    directory = captures_dir()
    if directory is None:
        pytest.skip("no captures of other projects: set TAPSIGHT_CAPTURES to a folder with an INDEX.tsv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tapsight.CaptureWarning)
        score = compare(directory, list(capture_index()), judge)
    assert score.captures > 20
    assert score.share >= 0.98
    # What is voice is called voice, and nothing else is.
    assert [pair for pair in score.confusions if pair[0] in VOICE_APPS] == []
    assert score.false_voice == []
    assert [pair for pair in score.confusions if pair[2] not in REASONS] == []
