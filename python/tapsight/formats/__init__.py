"""Results as other tools read them: each format a function from a result to text."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from tapsight._check import Result

FormatName = Literal["eve", "ocsf", "sarif", "stix", "zeek"]
"""``eve``: alerts as Suricata's EVE JSON. ``ocsf``: Detection Findings (2004), and Compliance Findings (2003) for checks of a policy.
``sarif``: SARIF 2.1.0. ``stix``: a bundle of STIX 2.1. ``zeek``: Zeek's ``notice.log``."""

FORMATS: tuple[FormatName, ...] = get_args(FormatName)


def render(result: Result, name: FormatName) -> str:
    """The findings of a result, and where the format has a place for them the verdicts, in this format."""
    module = importlib.import_module(f"tapsight.formats._{name}")
    rendered: Callable[[Result], str] = module.render
    return rendered(result)
