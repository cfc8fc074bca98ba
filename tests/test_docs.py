"""Pages of docs that are made from the code are as the code is now."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["packets", "protocols", "messages", "calls", "flows", "media", "peers"])
def test_generated_pages_are_fresh(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    committed = ROOT / "docs" / f"{page}.md"
    shutil.copy(committed, tmp_path)
    monkeypatch.setattr(module, "DOCS", tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    getattr(module, page)()
    for made in tmp_path.rglob("*.*"):
        fresh = ROOT / "docs" / made.relative_to(tmp_path)
        assert made.read_text() == fresh.read_text(), f"make docs writes {fresh.name} anew"
