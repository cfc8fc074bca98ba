"""Checks of several rules: one demand that is about more than one table."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tapsight._options import Options, Severity
from tapsight._text import listing
from tapsight.checks._base import Check, Judgement, Observed, Scope
from tapsight.checks._needs import Need
from tapsight.checks._rule import ENDS, Rule

if TYPE_CHECKING:
    from tapsight._expressions import Sets
    from tapsight.policy import Network

O = TypeVar("O", bound=Options)


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One of the rules: members of :class:`Rule` by the same names."""

    name: str
    """What tells its findings from those of others."""
    over: str
    scope: str
    expect: str
    says: str
    by: tuple[str, ...] = ENDS
    unseen: str | None = None
    """Why the check cannot pass where this rule had nothing to judge, if it cannot."""
    base: type[Rule[Any]] = Rule
    """What kind of rule it is."""


class Several(Check[O]):
    """A check that fails if one of its rules does, and passes if all do that had something to judge."""

    parts: ClassVar[tuple[Part, ...]]
    nothing: ClassVar[str]
    """What to say if nothing was in scope."""
    uses: ClassVar[tuple[str, ...]] = ()
    """As :attr:`Rule.uses`."""
    own_sets: ClassVar[Sets] = {}
    """As :attr:`Rule.own_sets`."""

    @classmethod
    def rules(cls) -> list[type[Rule[Any]]]:
        """Its parts as rules."""
        names = (
            "id",
            "title",
            "severity",
            "options",
            "nothing",
            "uses",
            "own_sets",
            "needs",
            "network_needs",
        )
        mine = {name: getattr(cls, name) for name in names}
        return [
            type(
                f"{cls.id}_{part.name}",
                (part.base,),
                {**mine, **{field: getattr(part, field) for field in _OF_RULES}},
            )
            for part in cls.parts
        ]

    @classmethod
    def missing(cls, options: Options | None, network: Network) -> tuple[Need, ...]:
        """What the policy does not say and any of the rules has to know."""
        return tuple(dict.fromkeys(need for each in cls.rules() for need in each.missing(options, network)))

    def judge(self, seen: Observed, options: O, severity: Severity) -> Judgement:
        """Judges by each rule; how much could be judged is what that could which could least."""
        judged = [rule().judge(seen, options, severity) for rule in self.rules()]
        findings = tuple(
            dataclasses.replace(finding, identity=(part.name, *finding.identity))
            for part, each in zip(self.parts, judged, strict=True)
            for finding in each.findings
        )
        had = [each for each in judged if each.scope.in_scope]
        # What cannot be read a second time was not judged, whatever else was.
        unread = [each.nothing for each in judged if not each.scope.in_scope and each.lack is None]
        idle = [
            part
            for part, each in zip(self.parts, judged, strict=True)
            if not each.scope.in_scope and each.lack is not None
        ]
        unseen = [part.unseen for part in idle]
        doubts = [*(each.doubt for each in judged), *((*unread, *unseen) if had else ())]
        said = [each.note for each in judged]
        if had and idle and not findings:
            said.append(f"nothing for {listing([part.name for part in idle])} to judge")
        scope = min(
            (each.scope for each in had), key=lambda each: each.judged / each.in_scope, default=Scope()
        )
        return Judgement(
            scope,
            findings,
            nothing=unread[0] if unread else self.nothing,
            lack=None if unread else "traffic",
            note=_joined(said),
            doubt=_joined(doubts),
        )


_OF_RULES = ("over", "scope", "expect", "says", "by")


def _joined(texts: Any) -> str | None:
    """Each text once, those that are one."""
    return "; ".join(dict.fromkeys(text for text in texts if text)) or None
