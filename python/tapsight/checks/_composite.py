"""Checks that say what others have found: what an agreement calls by one name, several detectors look for."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from tapsight._options import Options, Severity
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
        failed = [each for each in parts if each.verdict == "fail"]
        if failed:
            worst = max(failed, key=lambda each: each.in_scope)
            # What failed was judged, whatever else was not.
            scope = Scope(max(worst.in_scope, 1), max(worst.judged, 1))
            note = "; ".join(f"{each.check}: {each.findings} found" for each in failed)
            return Judgement(scope, others=sum(each.findings for each in failed), note=note)
        had = [each for each in parts if each.in_scope]
        if not had:
            open_ = [each for each in parts if each.lack == "policy"]
            why = (open_ or parts)[0]
            return Judgement(Scope(), nothing=why.reason or "nothing was seen", lack=why.lack)
        least = min(had, key=lambda each: each.coverage or 0)
        doubts = [
            f"{each.check}: {each.reason}"
            for each in parts
            if each.verdict == "unknown" and (each.in_scope or each.lack == "policy")
        ]
        idle = [
            each.check
            for each in parts
            if each.verdict == "unknown" and not each.in_scope and each.lack != "policy"
        ]
        note = f"nothing for {', '.join(idle)} to judge" if idle else None
        return Judgement(Scope(least.in_scope, least.judged), note=note, doubt="; ".join(doubts) or None)
