"""The detectors of the engine, described as people ask for them, one file a detector: ``tapsight explain A5``.

The detecting happens in the engine, where each has a file of the same name in ``src/detect``. A new one is a file here and a line
below.
"""

from __future__ import annotations

from tapsight.detectors._base import Detector, Question, Told
from tapsight.detectors.a1 import A1
from tapsight.detectors.a2 import A2
from tapsight.detectors.a3 import A3
from tapsight.detectors.a5 import A5
from tapsight.detectors.a6 import A6
from tapsight.detectors.a7 import A7
from tapsight.detectors.a9 import A9
from tapsight.detectors.b1 import B1
from tapsight.detectors.b5 import B5
from tapsight.detectors.b6 import B6
from tapsight.detectors.b7 import B7
from tapsight.detectors.b8 import B8
from tapsight.detectors.b9 import B9
from tapsight.detectors.b10 import B10
from tapsight.detectors.b11 import B11
from tapsight.detectors.b17 import B17
from tapsight.detectors.b20 import B20
from tapsight.detectors.b21 import B21
from tapsight.detectors.d1 import D1
from tapsight.detectors.d2 import D2
from tapsight.detectors.d3 import D3
from tapsight.detectors.d4 import D4

DETECTORS: dict[str, type[Detector]] = {
    detector.id: detector
    for detector in (
        A1,
        A2,
        A3,
        A5,
        A6,
        A7,
        A9,
        B1,
        B5,
        B6,
        B7,
        B8,
        B9,
        B10,
        B11,
        B17,
        B20,
        B21,
        D1,
        D2,
        D3,
        D4,
    )
}
"""Every detector by its id, in the order of the catalogue."""

__all__ = ["DETECTORS", "Detector", "Question", "Told"]
