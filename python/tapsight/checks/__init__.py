"""The checks of a policy, one file a check. A new one is a file here and a line below."""

from __future__ import annotations

from typing import Any

from tapsight.checks._base import Check
from tapsight.checks.a4 import A4
from tapsight.checks.a8 import A8
from tapsight.checks.b2 import B2
from tapsight.checks.b3 import B3
from tapsight.checks.b4 import B4
from tapsight.checks.b12 import B12
from tapsight.checks.b13 import B13
from tapsight.checks.b14 import B14
from tapsight.checks.b16 import B16
from tapsight.checks.b19 import B19
from tapsight.checks.b22 import B22
from tapsight.checks.c1 import C1
from tapsight.checks.c2 import C2
from tapsight.checks.c3 import C3
from tapsight.checks.c4 import C4
from tapsight.checks.c5 import C5
from tapsight.checks.i1 import I1
from tapsight.checks.i5 import I5
from tapsight.checks.i6 import I6
from tapsight.checks.v1 import V1
from tapsight.checks.v2 import V2

CHECKS: dict[str, type[Check[Any]]] = {
    check.id: check
    for check in (A4, A8, B2, B3, B4, B12, B13, B14, B16, B19, B22, C1, C2, C3, C4, C5, V1, V2, I1, I5, I6)
}
"""Every check by its id, in the order of the catalogue."""
