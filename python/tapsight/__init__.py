"""Was traffic copied or sent elsewhere? Packet captures in, verdicts with evidence out."""

from tapsight import addresses
from tapsight._check import Result, check
from tapsight._core import CaptureError
from tapsight._core import __version__ as __version__
from tapsight._scan import BATCH_SIZE, COLUMNS, CaptureWarning, Scan, open, scan
from tapsight.policy import Policy, PolicyError

__all__ = [
    "BATCH_SIZE",
    "COLUMNS",
    "CaptureError",
    "CaptureWarning",
    "Policy",
    "PolicyError",
    "Result",
    "Scan",
    "addresses",
    "check",
    "open",
    "scan",
]
