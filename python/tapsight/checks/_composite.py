"""Checks that say what others have found: what an agreement calls by one name, several detectors look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from tapsight._options import Options, Severity
from tapsight._text import listing
from tapsight.checks._base import Check, Judgement, Observed, Said, Scope
from tapsight.checks._needs import Need

if TYPE_CHECKING:
    from tapsight._judging import Verdict
    from tapsight.findings import Finding
    from tapsight.policy import Network

O = TypeVar("O", bound=Options)


class Counted(NamedTuple):
    """What counts of another's verdict."""

    findings: int
    doubt: str | None = None
    """Why there may be more, if that is so."""


class Composite(Check[O]):
    """A check that fails if one of others does, and passes if all of those pass that had something to judge.

    Findings are those of the others, and stay theirs.
    """

    turn = 1
    of: ClassVar[tuple[str, ...]]
    """The ids of those: detectors, and checks that always judge."""
    classes: ClassVar[frozenset[str]] = frozenset()
    """The classes of the detectors' findings that count, such as ``A5.forked``; all if none is given."""
    lists: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """What a policy has to say under [checks] of others, by their ids: it is their lists that this goes by."""

    @classmethod
    def missing_under(cls, said: Said, network: Network) -> tuple[Need, ...]:
        """What the policy does not say, of this check and of those that it rests on."""
        from tapsight.checks import CHECKS

        unsaid = list(super().missing_under(said, network))
        for id_, names in cls.lists.items():
            options = said(id_)
            if others := tuple(name for name in names if getattr(options, name, None) is None):
                unsaid.append(Need(f"checks.{id_}", others))
        if len(cls.of) == 1 and cls.of[0] in CHECKS:
            unsaid += CHECKS[cls.of[0]].missing_under(said, network)
        return tuple(unsaid)

    def counts_of(self, verdict: Verdict, seen: Observed, options: O) -> Counted:
        """What counts of the verdict of one of the others."""
        del options
        doubt = verdict.reason if verdict.verdict == "unknown" else verdict.doubt
        if verdict.verdict != "fail":
            return Counted(0, doubt)
        if not self.classes:
            return Counted(verdict.findings)
        return Counted(sum(each.detector in self.classes for each in found_by(verdict.check, seen)), doubt)

    def judge(self, seen: Observed, options: O, severity: Severity) -> Judgement:
        """Judges by the verdicts of the others."""
        del severity
        verdicts = [seen.verdicts[id_] for id_ in self.of]
        counted = {each.check: self.counts_of(each, seen, options) for each in verdicts}
        if failed := [each for each in verdicts if counted[each.check].findings]:
            # What failed was judged, whatever else was not.
            scope = Scope(
                max(1, *(each.in_scope for each in failed)), max(1, *(each.judged for each in failed))
            )
            said = "; ".join(f"{each.check}: {counted[each.check].findings} found" for each in failed)
            return Judgement(scope, others=sum(each.findings for each in counted.values()), note=said)
        had = [each for each in verdicts if each.in_scope]
        lacking = [each for each in verdicts if each.lack == "policy"]
        if not had:
            first = (lacking or verdicts)[0]
            return Judgement(Scope(), nothing=first.reason or "nothing was seen", lack=first.lack)
        blind = [each for each in (*lacking, *had) if counted[each.check].doubt]
        doubt = "; ".join(f"{each.check}: {counted[each.check].doubt}" for each in blind)
        idle = [each.check for each in verdicts if not each.in_scope and each not in lacking]
        note = f"nothing for {listing(idle)} to judge" if idle else None
        return Judgement(self.covered(had), note=note, doubt=doubt or None)

    def covered(self, had: Sequence[Verdict]) -> Scope:
        """How much those that had something to judge could, all together: as much as the one that could judge least."""
        least = min(had, key=lambda each: each.coverage or 0)
        return Scope(least.in_scope, least.judged)


def found_by(detector: str, seen: Observed) -> list[Finding]:
    """What a detector reports by itself."""
    return [each for each in seen.findings if each.check is None and each.family == detector]
