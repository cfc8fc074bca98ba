"""Q2: what passes rests on enough of the traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tapsight._options import Options, Severity
from tapsight._text import percent_beside, plural
from tapsight.checks._base import Check, Judgement, Observed, Scope

if TYPE_CHECKING:
    from tapsight._judging import Verdict
    from tapsight.findings import Finding


class Q2Options(Options):
    """What a policy may say under [checks.Q2]."""

    coverage: Annotated[float, Field(gt=0, le=1)] = 0.9
    """The share of packets in scope that each check and detector has to judge, unless its verdict is unknown."""


class Q2(Check[Q2Options]):
    """Nothing passes by what could hardly be judged.

    What it looks for:
        Checks and detectors that pass though they judged less than ``coverage`` of what was in their scope. Its own ``min_coverage`` lets
        each pass with half; here the policy says once what it takes for all.

    Why it matters:
        *pass* and *nothing was looked at* are told apart by coverage only, and a reader of many verdicts does not look at each.

    Example that fails:
        V1 passes, having judged 60 % of the voice signalling that there was, with this policy::

            packs = ["capture-quality"]
            [checks.Q2]
            coverage = 0.9

    What to do:
        See why so little was judged (the reason stands beside the verdict), and capture what is missing; or set ``min_coverage`` of that check
        to as much, so that it says unknown itself.

    When it is unknown:
        While no other check and no detector could judge anything.

    What it cannot see:
        What is unknown: that says so itself, and is only counted here. What fails is proven, whatever else was not judged, so it needs no coverage.
        What was in no scope at all, since no tap saw it.

    Source: own; 0.9 is a proposal.
    """

    id = "Q2"
    title = "What passes rests on enough of the traffic"
    severity = "low"
    pack = "capture-quality"
    turn = 2
    options = Q2Options

    def judge(self, seen: Observed, options: Q2Options, severity: Severity) -> Judgement:
        """Judges each verdict by its coverage."""
        others = [each for each in seen.verdicts.values() if each.check != self.id]
        passed = [each for each in others if each.verdict == "pass"]
        unknown = sum(each.verdict == "unknown" for each in others)
        if len(others) == unknown:
            return Judgement(Scope(), nothing="no check or detector could judge anything", lack=None)
        short = [each for each in passed if (each.coverage or 0) < options.coverage]
        # What is judged here are verdicts, not packets.
        scope = Scope(len(others), len(others))
        note = f"{plural(unknown, 'verdict')} unknown" if unknown else None
        findings = tuple(self._finding(each, seen, options, severity) for each in short)
        return Judgement(scope, findings, note=note)

    def _finding(self, verdict: Verdict, seen: Observed, options: Q2Options, severity: Severity) -> Finding:
        taps, left = seen.taps.to_dicts(), verdict.in_scope - verdict.judged
        times = [row[name] for row in taps for name in ("first_ts", "last_ts") if row[name] is not None]
        row = {
            "packets": left,
            "flows": 0,
            "first_ts": min(times, default=0),
            "last_ts": max(times, default=0),
            "evidence": (),
            "taps": {row["tap"] for row in taps},
        }
        # Its packets are those that the other did not judge; their share is in the sentence.
        return self.finding(
            row,
            Scope(verdict.in_scope, verdict.judged),
            severity,
            is_part=False,
            identity=(verdict.check,),
            sentence=(
                f"{verdict.check} passed by {percent_beside(verdict.judged, verdict.in_scope, options.coverage)} of what was in scope ({verdict.judged:,} of "
                f"{plural(verdict.in_scope, 'packet')}), less than the {100 * options.coverage:g} % demanded: it is not known whether the rest fits."
            ),
        )
