"""V10: emergency and national numbers never leave national peers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
from pydantic import BeforeValidator

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity, policy_error
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed
from tapsight.checks._dialogs import (
    addresses,
    distinct,
    encrypted_connections,
    scope_of,
    summed,
    texts,
)
from tapsight.checks._needs import Need

if TYPE_CHECKING:
    from tapsight.policy import Network

LONGEST_SHOWN = 6
"""Digits up to which a number of the policy is shown: those are services, not people."""


def as_dialled(number: str) -> str:
    """A number without marks between digits and without parameters, with a plus sign where it is international."""
    digits = re.sub(r"[-.() ]", "", number.partition(";")[0])
    return f"+{digits[2:]}" if digits.startswith("00") else digits


def _numbers(value: object) -> tuple[str, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or not re.fullmatch(r"\+?[0-9]+", as_dialled(item)):
            example = 'must be a number in quotes, such as "112" or "+4930"'
            raise policy_error(f"{example}, not {item!r}", item)
    return tuple(as_dialled(item) for item in items)


Numbers = Annotated[tuple[str, ...], BeforeValidator(_numbers)]
"""Numbers as they are dialled, or how they begin."""


class V10Options(Options):
    """What a policy may say under [checks.V10]."""

    numbers: Numbers | None = None
    """Whole numbers as they are dialled: those of emergency services, and others that only the country has."""
    prefixes: Numbers | None = None
    """How numbers begin that are to stay in the country: ``+49``."""
    peers: Prefixes | None = None
    """Who may be handed such calls: one's own network, and other national ones."""


class V10(Check[V10Options]):
    """Calls to emergency services and to numbers of the country are handed to networks of the country only.

    What it looks for:
        Calls of SIP, ISUP, H.323 and Skinny for one of ``numbers``, or for a number that begins with one of ``prefixes``, of which a message went to, or came
        back from, an address that is not in ``peers``, but for the one that the call came from. ``0049`` and ``+49`` are the same beginning.

    Why it matters:
        An emergency call that goes abroad may reach nobody who can help. And what two people of one country say to each other is protected by its law for as
        long as it stays there.

    What is counted:
        Calls, where other checks count packets. One that several taps have seen is one.

    Example that fails:
        A call for 112 that 198.51.100.10 sends to 203.0.113.66, with this policy::

            [checks.V10]
            numbers = ["112", "110"]
            prefixes = ["+49"]
            peers = ["198.51.100.0/24", "203.0.113.10"]

    What to do:
        Look for the route of that prefix on what sent the call: a default route, or a least-cost one, often catches what should have one of its own.

    What it cannot see:
        Where a peer sends the call next. Numbers in another form than the policy has them: list national forms (``030``) too, where such are dialled. Calls of
        which nobody saw the number may be for any: those that began before the capture, those whose signalling is encrypted, and those to a service by
        its name (``urn:service:sos``, RFC 5031) are in scope but not judged. Findings show beginnings and short numbers, as the policy has them, and never whom somebody called.

    Source: catalogue of policy checks, V10. What the law of a country demands of such calls is general knowledge, and not read here: ask those who
    know it. ITU-T E.164; RFC 3966, section 5.1.
    """

    id = "V10"
    title = "Emergency and national numbers stay with national peers"
    severity = "high"
    needs = ("numbers", "prefixes")
    options = V10Options
    hears = True
    pack = "carrier-voice"

    @classmethod
    def missing(cls, options: Options | None, network: Network) -> tuple[Need, ...]:
        """What the policy does not say: both which numbers, and who may be handed them."""
        peers = options.peers if isinstance(options, V10Options) else None
        unsaid = super().missing(options, network)
        return unsaid if peers is not None else (*unsaid, Need(f"checks.{cls.id}", ("peers",)))

    def judge(self, seen: Observed, options: V10Options, severity: Severity) -> Judgement:
        """Judges each call by the number that is called, and by where its messages went."""
        calls = seen.calls.with_columns(
            meant=_meant(seen.calls, options),
            # A URI without a number has a host; what has neither is no URI of SIP, such as the name of a service.
            is_open=(pl.col("began_before").fill_null(value=True) | pl.col("request_host").is_null())
            & pl.all_horizontal(pl.col(name).is_null() for name in _CALLED),
            ts=pl.coalesce("began", "last"),
            frame=pl.col("frames").list.first(),
        )
        mine = calls.filter(pl.col("meant").is_not_null())
        judged = mine.filter(pl.col("addresses").list.len().fill_null(0) > 0, pl.col("src").is_not_null())
        scope = scope_of(
            distinct(calls.filter(pl.col("meant").is_not_null() | pl.col("is_open")))
            + encrypted_connections(seen),
            distinct(judged),
            "calls of which nobody saw the number",
        )
        hops = judged.explode("addresses")
        hops = hops.with_columns(hop=addresses(hops["addresses"]))
        hops = hops.filter(
            pl.col("hop").is_not_null(),
            pl.col("hop") != pl.col("src"),
            ~inside(hops["hop"], options.peers or ()),
        )
        findings = tuple(
            self.finding(
                row,
                scope,
                severity,
                identity=(row["meant"], row["hop"]),
                sentence=(
                    f"{plural(row['packets'], 'call')} for {row['meant']} went to {listing(texts([row['hop']]))}, "
                    f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}), which the policy does not list as a national peer."
                ),
            )
            for row in summed(hops, ["meant", "hop"])
        )
        return Judgement(
            scope, findings, nothing="no calls for such numbers were seen", doubt=seen.heard.doubt
        )


_CALLED = ("callee", "request_user", "isup_called")
"""Columns that say who is called."""


def _meant(calls: pl.DataFrame, options: V10Options) -> pl.Series:
    """Which entry of the policy each call is for, as text that shows no number of anybody; null if for none."""
    told = {number: _entry(number) for number in options.numbers or ()}
    # Of two beginnings that fit, the longer one says more.
    begin = sorted(options.prefixes or (), key=len, reverse=True)

    def meant(numbers: Sequence[str | None]) -> str | None:
        dialled = [as_dialled(number) for number in numbers if number]
        whole = next((told[number] for number in dialled if number in told), None)
        if whole is not None:
            return whole
        return next((f"{each}…" for each in begin for number in dialled if number.startswith(each)), None)

    rows = calls.select(_CALLED).iter_rows()
    return pl.Series([meant(row) for row in rows], dtype=pl.String)


def _entry(number: str) -> str:
    return (
        number if len(number) <= LONGEST_SHOWN else f"a number of {len(number)} digits that the policy lists"
    )
