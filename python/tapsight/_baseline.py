"""What an earlier run has found, so that one that comes every night shows what is new."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read_baseline(path: str | os.PathLike[str]) -> frozenset[str]:
    """The ids of the findings in the JSON or NDJSON of an earlier run, those included that it left out.

    So one night's output is the next night's baseline.

    Raises:
        ValueError: It is neither.
        OSError: It cannot be read.
    """
    text = Path(path).read_bytes().decode("utf-8", "replace")
    ids = _ids(text)
    if ids is None or not all(isinstance(id_, str) for id_ in ids):
        raise ValueError(
            f"{os.fspath(path)}: not what `tapsight check --format json` or `--format ndjson` writes"
        )
    return frozenset(ids)


def _ids(text: str) -> list[Any] | None:
    """Ids of findings, if that is what there is."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        try:
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            return None
    else:
        if isinstance(whole, dict) and whole.get("type") != "run":
            return _of(whole, whole.get("findings"))
        lines = [whole]
    if not lines or not all(isinstance(line, dict) for line in lines) or lines[0].get("type") != "run":
        return None
    return _of(lines[0], [line for line in lines if line.get("type") == "finding"])


def _of(run: dict[str, Any], findings: object) -> list[Any] | None:
    left_out = [run.get(name, []) for name in ("known", "lesser")]
    if not isinstance(findings, list) or not all(isinstance(each, list) for each in left_out):
        return None
    if not all(isinstance(row, dict) for row in findings):
        return None
    return [*(row.get("id") for row in findings), *left_out[0], *left_out[1]]
