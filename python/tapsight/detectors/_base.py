"""What a detector of the engine is, for people: its documentation, and sentences about what it claims."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from tapsight._explain import explanation
from tapsight._options import Options
from tapsight._text import begin, duration, party, percent, plural, span_text, traffic_text
from tapsight.claims import Claim

Question = Literal["copied", "diverted"]


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """A claim in the words that sentences are made of."""

    claim: Claim
    mirror: Claim | None = None
    """What A2 says of the same mirror session."""
    sinks_listed: bool = False
    """Whether a policy lists authorised sinks."""

    @property
    def what(self) -> str:
        """Which traffic, in brackets with a space before; empty if that is not known."""
        return f" ({traffic_text(self.claim.traffic)})" if self.claim.traffic else ""

    @property
    def when(self) -> str:
        """``from … until …``."""
        return span_text(self.claim.first_ts, self.claim.last_ts)

    @property
    def seen(self) -> str:
        """``on tap …``."""
        tap = self.claim.copy_tap or self.claim.tap
        return f"on tap {tap}" if tap else "in the capture"

    @property
    def share(self) -> str:
        """How many packets of how many, and in how many conversations."""
        claim = self.claim
        share = plural(claim.packets, "packet")
        if claim.in_scope >= claim.packets and claim.in_scope > 0:
            part = percent(claim.packets, claim.in_scope)
            share = f"{claim.packets:,} of {plural(claim.in_scope, 'packet')} ({part})"
        return share + (f" in {self.conversations}" if claim.flows else "")

    @property
    def conversations(self) -> str:
        """How many, as far as they were told apart."""
        count = plural(self.claim.flows, "conversation")
        return f"at least {count}" if self.claim.more_flows else count

    @property
    def late(self) -> str:
        """How long after the original."""
        return duration(self.claim.lag_ns or 0)

    @property
    def lag(self) -> str:
        """A sentence that says how long after the original the copy followed, with a space before; empty if it did not."""
        late = (self.claim.lag_ns or 0) > 0
        return f" The copy followed {self.late} after the original." if late else ""

    @property
    def hop(self) -> str:
        """``from the device with MAC … to the device with MAC …``."""
        return f"from {party(None, self.claim.exporter_mac)} to {party(None, self.claim.collector_mac)}"

    @property
    def exporter(self) -> str:
        """Who did it."""
        return party(self.claim.tunnel.src, self.claim.exporter_mac)

    @property
    def collector(self) -> str:
        """Who gains by it."""
        return party(self.claim.tunnel.dst, self.claim.collector_mac)

    @property
    def subject(self) -> str:
        """Whose traffic is concerned."""
        return party(self.claim.subject)


class Detector:
    """A detector of the engine. The docstring of a subclass is its documentation: ``tapsight explain ID``."""

    id: ClassVar[str]
    title: ClassVar[str]
    asks: ClassVar[tuple[Question, ...]] = ()
    """The questions that cannot be answered with no while it could not judge."""
    optional: ClassVar[bool] = False
    """Whether the questions can be answered without it where there is nothing that it could look at."""
    options: ClassVar[type[Options]] = Options
    """What a policy may say under [checks.ID]."""

    @classmethod
    def under(cls, claim: Claim, options: Any) -> Claim:
        """The claim as a policy has it: what that allows is not reported.

        ``options`` is ``None`` if the policy does not mention the detector.
        """
        del options
        return claim

    @classmethod
    def doubt(cls, claims: Sequence[Claim], options: Any) -> str | None:
        """Why it cannot be said that all is well, though nothing is reported: what it named could be what it looks for as well."""
        del claims, options
        return None

    @classmethod
    def explain(cls) -> str:
        """What it sees and what it cannot."""
        return explanation(cls, cls.id, cls.title)

    @classmethod
    def sentence(cls, told: Told) -> str:
        """What a claim means, in a sentence or two for a person who does not know the protocols."""
        claim = told.claim
        to = f" to {told.collector}" if claim.tunnel.dst or claim.collector_mac else ""
        return begin(
            f"{claim.detector} saw {told.share}{told.what}{to}, {told.when} ({told.seen}).{told.lag}"
        )
