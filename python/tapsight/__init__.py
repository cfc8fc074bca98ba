"""Was traffic copied or sent elsewhere? Packet captures in, verdicts with evidence out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tapsight import addresses
from tapsight._core import CaptureError
from tapsight._core import __version__ as __version__
from tapsight._scan import BATCH_SIZE, COLUMNS, TABLES, CaptureWarning, Scan, open, scan

if TYPE_CHECKING:
    from tapsight import places
    from tapsight._check import Result, check
    from tapsight._digest import Digested, digest
    from tapsight._evidence import EvidenceError
    from tapsight._sources import SourceError
    from tapsight.policy import Policy, PolicyError

__all__ = [
    "BATCH_SIZE",
    "COLUMNS",
    "TABLES",
    "CaptureError",
    "CaptureWarning",
    "Digested",
    "EvidenceError",
    "Policy",
    "PolicyError",
    "Result",
    "Scan",
    "SourceError",
    "addresses",
    "check",
    "digest",
    "open",
    "places",
    "scan",
]

_HOMES = {
    "Digested": "tapsight._digest",
    "EvidenceError": "tapsight._evidence",
    "Policy": "tapsight.policy",
    "PolicyError": "tapsight.policy",
    "Result": "tapsight._check",
    "SourceError": "tapsight._sources",
    "check": "tapsight._check",
    "digest": "tapsight._digest",
}


def __getattr__(name: str) -> object:
    """Load what is asked for when it is asked for, so that reading captures does not load what judges them."""
    if name == "places":
        return importlib.import_module("tapsight.places")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
