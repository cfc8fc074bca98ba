"""What an earlier run has found, so that one that comes every night shows what is new."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read_baseline(path: str | os.PathLike[str]) -> frozenset[str]:
    """The ids of the findings in the JSON or NDJSON of an earlier run.

    Raises:
        ValueError: It is neither.
        OSError: It cannot be read.
    """
    text = Path(path).read_bytes().decode("utf-8", "replace")
    rows = _rows(text)
    if rows is None or not all(isinstance(row.get("id"), str) for row in rows):
        raise ValueError(
            f"{os.fspath(path)}: not what `tapsight check --format json` or `--format ndjson` writes"
        )
    return frozenset(row["id"] for row in rows)


def _rows(text: str) -> list[dict[str, Any]] | None:
    """The findings, if that is what there is."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        try:
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            return None
    else:
        if isinstance(whole, dict) and whole.get("type") != "run":
            findings = whole.get("findings")
            is_list = isinstance(findings, list) and all(isinstance(row, dict) for row in findings)
            return findings if is_list else None
        lines = [whole]
    if not lines or not all(isinstance(line, dict) for line in lines) or lines[0].get("type") != "run":
        return None
    return [line for line in lines if line.get("type") == "finding"]
