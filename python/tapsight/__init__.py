"""Was traffic copied or sent elsewhere? Packet captures in, verdicts with evidence out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tapsight import addresses
from tapsight._core import CaptureError
from tapsight._core import __version__ as __version__
from tapsight._scan import BATCH_SIZE, COLUMNS, TABLES, CaptureWarning, Scan, open, scan

if TYPE_CHECKING:
    from tapsight import formats, places
    from tapsight._calls import Calls, calls
    from tapsight._check import Result, check
    from tapsight._digest import Digested, digest
    from tapsight._evidence import EvidenceError
    from tapsight._flows import Flows, flows
    from tapsight._media import Media, media
    from tapsight._sources import SourceError
    from tapsight.checks._custom import Custom, DetectorError, Judged
    from tapsight.checks._own import rule
    from tapsight.policy import Policy, PolicyError

__all__ = [
    "BATCH_SIZE",
    "COLUMNS",
    "TABLES",
    "Calls",
    "CaptureError",
    "CaptureWarning",
    "Custom",
    "DetectorError",
    "Digested",
    "EvidenceError",
    "Flows",
    "Judged",
    "Media",
    "Policy",
    "PolicyError",
    "Result",
    "Scan",
    "SourceError",
    "addresses",
    "calls",
    "check",
    "digest",
    "flows",
    "formats",
    "media",
    "open",
    "places",
    "rule",
    "scan",
]

_HOMES = {
    "Calls": "tapsight._calls",
    "Custom": "tapsight.checks._custom",
    "DetectorError": "tapsight.checks._custom",
    "Digested": "tapsight._digest",
    "EvidenceError": "tapsight._evidence",
    "Flows": "tapsight._flows",
    "Judged": "tapsight.checks._custom",
    "Media": "tapsight._media",
    "Policy": "tapsight.policy",
    "PolicyError": "tapsight.policy",
    "Result": "tapsight._check",
    "SourceError": "tapsight._sources",
    "calls": "tapsight._calls",
    "check": "tapsight._check",
    "digest": "tapsight._digest",
    "flows": "tapsight._flows",
    "media": "tapsight._media",
    "rule": "tapsight.checks._own",
}


def __getattr__(name: str) -> object:
    """Load what is asked for when it is asked for, so that reading captures does not load what judges them."""
    if name in {"formats", "places"}:
        return importlib.import_module(f"tapsight.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
