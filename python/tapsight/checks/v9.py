"""V9: media have no third receiver."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tapsight._options import MIN_COVERAGE, Options, Severity
from tapsight._text import listing, percent, plural
from tapsight.checks._base import Judgement, Observed, Scope
from tapsight.checks._composite import Composite

if TYPE_CHECKING:
    from tapsight.findings import Finding

COPYING = ("A1", "A2", "A3", "A5", "A6", "A7")
"""Detectors of copies that are no media streams of their own."""

SEEING = ("A1", "A2", "A5")
"""Those of them that look at all packets, media among them: where these could judge hardly any, nobody knows whether media were copied."""

MEDIA = "voice-media"
"""The class of traffic, as detectors name it."""


class V9(Composite[Options]):
    """One stream goes to who called, one to who was called, and none to anybody else.

    What it looks for:
        What A4 finds: streams with the same packets that go to two receivers, and recording sessions (SIPREC) with servers that no policy lists.
        And copies of media that A1, A2, A3, A5, A6 and A7 find: in tunnels, to mirror sinks, exported, forked or sampled. Receivers that are listed
        under I6 or under those do not count.

    Why it matters:
        A third receiver hears the call.

    Example that fails:
        RTP from 198.51.100.20 to 203.0.113.20, and the same packets to 192.0.2.66, with this policy::

            packs = ["carrier-voice"]
            [checks.A4]
            recorders = ["198.51.100.7"]

    What to do:
        Look at the findings of those: they name the receiver and who sends to it.

    When it is unknown:
        Where copies were found of which nobody can tell whether media are among them, or that are odd rather than proof (of low severity). Where A1, A2 or
        A5 could judge less than half of all packets, as where a capture cut them short: then no more of the media counts as judged than of
        these.

    What it cannot see:
        What A4 and the others cannot: copies with other numbers or another SSRC, those of streams of fewer than 50 packets, and copies that leave
        where no tap is. It has no findings of its own.

    Source: catalogue of policy checks, V9; RFC 3550, section 8; RFC 7866.
    """

    id = "V9"
    title = "Media have no third receiver"
    severity = "high"
    options = Options
    hears = True
    pack = "carrier-voice"
    of = ("A4",)

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges by A4, and by what others say was copied."""
        judgement = super().judge(seen, options, severity)
        copies = [each for each in seen.findings if each.check is None and each.family in COPYING]
        copies = [each for each in copies if each.kind == "copy"]
        proof = [each for each in copies if MEDIA in each.traffic and each.severity not in {"info", "low"}]
        if proof:
            said = "; ".join(f"{id_}: {count} found" for id_, count in _counts(proof).items())
            note = "; ".join(filter(None, [judgement.note, said])) if judgement.others else said
            most = max(each.packets for each in proof)
            scope = judgement.scope if judgement.scope.judged else Scope(most, most)
            return Judgement(scope, others=judgement.others + len(proof), note=note)
        maybe = [
            each for each in copies if not each.traffic or not {MEDIA, "unknown"}.isdisjoint(each.traffic)
        ]
        if judgement.others:
            return judgement
        judgement = dataclasses.replace(judgement, scope=_as_others(judgement.scope, seen))
        if not maybe:
            return judgement
        doubt = (
            f"{plural(len(maybe), 'copy', 'copies')} that may be of media ({listing(list(_counts(maybe)))})"
        )
        return dataclasses.replace(judgement, doubt="; ".join(filter(None, [doubt, judgement.doubt])))


def _as_others(scope: Scope, seen: Observed) -> Scope:
    """The scope, with no more judged than the part of all packets that those could which would see other copies; if that was too little."""
    verdicts = [seen.verdicts[id_] for id_ in SEEING if id_ in seen.verdicts]
    blind = [each for each in verdicts if each.in_scope and each.judged < MIN_COVERAGE * each.in_scope]
    if not blind or not scope.judged:
        return scope
    least = min(each.judged / each.in_scope for each in blind)
    said = listing([f"{each.check} judged {percent(each.judged, each.in_scope)}" for each in blind])
    reason = f"copies of media may be among packets that others could not judge ({said})"
    return Scope(
        scope.in_scope,
        min(scope.judged, int(scope.in_scope * least)),
        "; ".join(filter(None, [scope.reason, reason])),
    )


def _counts(findings: list[Finding]) -> dict[str, int]:
    """How many are of each detector, in the order of the catalogue."""
    found: dict[str, int] = {}
    for id_ in sorted(each.family for each in findings):
        found[id_] = found.get(id_, 0) + 1
    return found
