"""What a tampered router may do, one class a kind. A new one is a class and its place in ``KINDS`` of its file."""

from __future__ import annotations

from tapsight.lab.effect import Tampering
from tapsight.lab.implants import copying, dialogs, diverting, managing, signalling, voice

IMPLANTS: dict[str, type[Tampering]] = {
    each.kind: each
    for each in (
        *copying.KINDS,
        *diverting.KINDS,
        *managing.KINDS,
        *signalling.KINDS,
        *voice.KINDS,
        *dialogs.KINDS,
    )
}
"""Every implant by its kind, those that copy first."""
