"""Checks that say what others have found: what an agreement calls by one name, several detectors look for."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from tapsight._options import Options, Severity
from tapsight._text import listing
from tapsight.checks._base import Check, Judgement, Observed, Scope

O = TypeVar("O", bound=Options)


class Composite(Check[O]):
    """A check that fails if one of others does, and passes if all of those pass that had something to judge.

    Findings are those of the others, and stay theirs.
    """

    of: ClassVar[tuple[str, ...]]
    """The ids of those: detectors, and checks that always judge."""

    def judge(self, seen: Observed, options: O, severity: Severity) -> Judgement:
        """Judges by the verdicts of the others."""
        del options, severity
        parts = [seen.verdicts[id_] for id_ in self.of]
        if failed := [each for each in parts if each.verdict == "fail"]:
            # What failed was judged, whatever else was not.
            scope = Scope(
                max(1, *(each.in_scope for each in failed)), max(1, *(each.judged for each in failed))
            )
            said = "; ".join(f"{each.check}: {each.findings} found" for each in failed)
            return Judgement(scope, others=sum(each.findings for each in failed), note=said)
        had = [each for each in parts if each.in_scope]
        lacking = [each for each in parts if each.lack == "policy"]
        if not had:
            first = (lacking or parts)[0]
            return Judgement(Scope(), nothing=first.reason or "nothing was seen", lack=first.lack)
        least = min(had, key=lambda each: each.coverage or 0)
        blind = [*lacking, *(each for each in had if each.verdict == "unknown")]
        doubt = "; ".join(f"{each.check}: {each.reason}" for each in blind)
        idle = [each.check for each in parts if not each.in_scope and each not in lacking]
        note = f"nothing for {listing(idle)} to judge" if idle else None
        return Judgement(Scope(least.in_scope, least.judged), note=note, doubt=doubt or None)
