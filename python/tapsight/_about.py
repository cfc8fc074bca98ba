"""What is known about an id: of a detector, of a check that ships, or of one of a policy's or a program's own."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from tapsight._options import did_you_mean
from tapsight._text import documentation
from tapsight.checks import CHECKS
from tapsight.checks._base import Check, Pack
from tapsight.checks._needs import Need
from tapsight.checks._own import NAME
from tapsight.detectors import DETECTORS, Detector

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tapsight.policy import Policy

PACKS: tuple[Pack, ...] = get_args(Pack)
"""The packs, in the order of the catalogue."""


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """A detector or check, for people."""

    id: str
    title: str
    kind: Literal["detector", "check"]
    """Detectors are the engine's; checks are a policy's."""
    is_own: bool
    """Whether it does not ship, but is a policy's or a program's own."""
    pack: Pack | None
    """The pack that it comes with, if it does not always judge."""
    thing: type[Detector | Check[Any]]
    """The class that it is."""

    @property
    def text(self) -> str:
        """What it looks for, why, and what it cannot see. Of those that ship, also how often they were wrong."""
        if self.is_own:
            return f"{self.id}: {self.title}\n\n{documentation(self.thing)}"
        return self.thing.explain()


def about(id_: str, checks: Mapping[str, type[Check[Any]]] = CHECKS) -> About | None:
    """What is known about this id; ``None`` if nothing is called so.

    Args:
        id_: Of a detector or check; of a class of one (``A5.forked``), its detector is told.
        checks: The checks that judge, which may be more than those that ship.
    """
    family = id_.partition(".")[0]
    if family in DETECTORS:
        return About(
            family, DETECTORS[family].title, "detector", is_own=False, pack=None, thing=DETECTORS[family]
        )
    found = CHECKS.get(family) or checks.get(family)
    if found is None:
        return None
    return About(family, found.title, "check", is_own=family not in CHECKS, pack=found.pack, thing=found)


def needs(check: type[Check[Any]]) -> list[Need]:
    """What a policy that says nothing has to say so that this check can judge."""
    from tapsight.policy import Network

    found: list[Need] = []
    given: dict[str, dict[str, Any]] = {}

    def said(id_: str) -> Any:
        table = given.get(f"checks.{id_}")
        return options_of(id_).model_construct(**table) if table else None

    # Some say what else they need once the first is there.
    while unsaid := check.missing_under(said, Network.model_construct(**given.get("network", {}))):
        new = [need for need in unsaid if need not in found]
        if not new:
            break
        found += new
        for need in new:
            anything = ("::/0",) if need.table == "network" else ()
            given.setdefault(need.table, {}).update(dict.fromkeys(need.names, anything))
    return found


def options_of(id_: str) -> type[BaseModel]:
    """What holds what a policy may say of a check or detector that ships."""
    return (DETECTORS.get(id_) or CHECKS[id_]).options


def in_pack(pack: Pack | None) -> dict[str, type[Check[Any]]]:
    """The checks of a pack by id, or those that always judge."""
    return {id_: check for id_, check in CHECKS.items() if check.pack == pack}


def listed(policy: Policy | None = None) -> str:
    """All that there is, by pack; of a policy, also its own checks."""
    groups: list[tuple[str, Mapping[str, type[Detector | Check[Any]]]]] = [
        ("Detectors, which always look", DETECTORS),
        ("Checks that always judge, if the policy says what they need", in_pack(None)),
        *((_pack_title(pack), in_pack(pack)) for pack in PACKS),
        ("Checks of the policy's own", _own(policy)),
    ]
    return "\n\n".join(_group(title, things) for title, things in groups if things)


def _pack_title(pack: Pack) -> str:
    return f'Pack {pack}: judges with packs = ["{pack}"] in a policy, or a table for one of these'


def _own(policy: Policy | None) -> dict[str, type[Check[Any]]]:
    return (
        {} if policy is None else {id_: each for id_, each in policy.in_force().items() if id_ not in CHECKS}
    )


def _group(title: str, things: Mapping[str, type[Detector | Check[Any]]]) -> str:
    return "\n".join([f"{title}:", *(f"  {id_:<4} {thing.title}" for id_, thing in things.items())])


def told(name: str, policy: Policy | None = None) -> str:
    """What is called so: a check, a detector, or a pack.

    Raises:
        ValueError: Nothing is.
    """
    own = _own(policy)
    pack = next((each for each in PACKS if each == name.lower()), None)
    if pack is not None:
        return _group(_pack_title(pack), in_pack(pack)) + "\n\ntapsight explain ID says more of each."
    known = about(name, own) or about(name.upper())
    if known is not None:
        return known.text
    ids = [*DETECTORS, *CHECKS, *own]
    hint = did_you_mean(name.partition(".")[0].upper(), ids) or did_you_mean(name, [*PACKS, *own])
    if NAME.fullmatch(name) and not hint and policy is None:
        return (
            f"{name}: a check of a policy's own, if there is one: those that ship are called otherwise. What it demands stands in the policy "
            f"under [checks.{name}]: tapsight explain {name} --policy FILE"
        )
    raise ValueError(f'no check, detector or pack is called "{name}"{hint} ({", ".join([*ids, *PACKS])})')


@functools.cache
def meanings_of(model: type[BaseModel]) -> Mapping[str, str]:
    """What the fields of a model mean, by the strings below them in its source."""
    return dict(_meanings(model))


def _meanings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for owner in reversed(model.__mro__):
        if "__annotations__" not in vars(owner) or not owner.__module__.startswith("tapsight"):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef)  # noqa: S101 - the source of a class is one
        for field, below in zip(body.body, body.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    yield name, inspect.cleandoc(text)
