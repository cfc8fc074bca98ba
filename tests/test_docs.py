"""Pages of docs that are made from the code are as the code is now."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from tapsight.checks import CHECKS
from tapsight.policy import Policy, PolicyError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "page", ["packets", "protocols", "messages", "checks", "calls", "flows", "media", "peers"]
)
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


def test_examples_of_checks_are_policies(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("prefix,country\n")
    text = (ROOT / "docs/checks.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(examples) > 20
    for example in examples:
        try:
            Policy.loads(example, folder=tmp_path)
        except PolicyError as error:
            # Examples may name sets that they do not show.
            assert all("no set is named" in each.message for each in error.problems), (example, error)


def test_every_check_of_a_pack_says_what_rules_of_a_linter_say() -> None:
    for id_, check in CHECKS.items():
        if check.pack is not None:
            text = check.explain()
            for section in (
                "What it looks for",
                "Why it matters",
                "Example that fails",
                "What to do",
                "What it cannot see",
                "Source",
            ):
                assert f"\n{section}:" in text, (id_, section)


def test_the_readme_lists_each_check_once() -> None:
    text = (ROOT / "README.md").read_text()
    (part,) = re.findall(r"## What it finds today\n(.*?)\n## ", text, re.DOTALL)
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", part, re.MULTILINE)
    assert len(rows) > 20
    assert len(rows) == len(set(rows))
