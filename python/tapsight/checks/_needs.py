"""What a policy has to say so that a check can judge."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """Keys of one table of a policy."""

    table: str
    """Where: ``checks.V1``, or ``network``."""
    names: tuple[str, ...]
    """The keys there."""
    one_suffices: bool = False
    """Whether one of them is enough; else it takes all."""

    def __str__(self) -> str:
        """As people read it."""
        return (" or " if self.one_suffices else " and ").join(
            f"`{name}`" for name in self.names
        ) + f" in [{self.table}]"


def needs_text(needs: Iterable[Need]) -> str:
    """What a check needs, as the reason of its verdict: ``needs set `pairs` in [checks.V1]``."""
    return f"needs set {', '.join(map(str, needs))}"
