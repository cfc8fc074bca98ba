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
from tapsight.checks.i2 import I2
from tapsight.checks.i3 import I3
from tapsight.checks.i4 import I4
from tapsight.checks.i5 import I5
from tapsight.checks.i6 import I6
from tapsight.checks.i7 import I7
from tapsight.checks.i8 import I8
from tapsight.checks.i9 import I9
from tapsight.checks.i10 import I10
from tapsight.checks.m1 import M1
from tapsight.checks.m2 import M2
from tapsight.checks.m3 import M3
from tapsight.checks.m4 import M4
from tapsight.checks.m5 import M5
from tapsight.checks.m6 import M6
from tapsight.checks.m7 import M7
from tapsight.checks.m8 import M8
from tapsight.checks.m9 import M9
from tapsight.checks.m10 import M10
from tapsight.checks.m11 import M11
from tapsight.checks.m12 import M12
from tapsight.checks.m13 import M13
from tapsight.checks.m14 import M14
from tapsight.checks.q1 import Q1
from tapsight.checks.q2 import Q2
from tapsight.checks.s1 import S1
from tapsight.checks.s2 import S2
from tapsight.checks.s3 import S3
from tapsight.checks.v1 import V1
from tapsight.checks.v2 import V2
from tapsight.checks.v3 import V3
from tapsight.checks.v4 import V4
from tapsight.checks.v5 import V5
from tapsight.checks.v6 import V6
from tapsight.checks.v7 import V7
from tapsight.checks.v8 import V8
from tapsight.checks.v9 import V9
from tapsight.checks.v10 import V10

CHECKS: dict[str, type[Check[Any]]] = {
    check.id: check
    for check in (
        *(A4, A8, B2, B3, B4, B12, B13, B14, B16, B19, B22, C1, C2, C3, C4, C5),
        *(V1, V2, V3, V4, V5, V6, V7, V8, V9, V10),
        *(I1, I2, I3, I4, I5, I6, I7, I8, I9, I10),
        *(M1, M2, M3, M4, M5, M6, M7, M8, M9, M10, M11, M12, M13, M14),
        *(S1, S2, S3),
        *(Q1, Q2),
    )
}
"""Every check by its id, in the order of the catalogue."""
