"""V10: emergency and national numbers never leave national peers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
from pydantic import BeforeValidator

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity, policy_error
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed
from tapsight.checks._dialogs import (
    SIP,
    addresses,
    distinct,
    encrypted_connections,
    of_sip,
    scope_of,
    summed,
    texts,
)
from tapsight.checks._needs import Need
from tapsight.checks._tables import ReadOnceError

if TYPE_CHECKING:
    from tapsight.policy import Network

SERVICE = "urn:service:"
"""How names of services begin (RFC 5031)."""

LONGEST_SHOWN = 6
"""Digits up to which a number of the policy is shown: those are services, not people."""


def as_dialled(number: str) -> str:
    """A number without marks between digits and without parameters, with a plus sign where it is international."""
    digits = re.sub(r"[-.() ]", "", number.partition(";")[0])
    return f"+{digits[2:]}" if digits.startswith("00") else digits


def ways_to_dial(text: str) -> list[str]:
    """The numbers that a URI, or the user part of one, may stand for: a local one also with the country or area that it is of (RFC 3966, section 5.1.5)."""
    number = as_dialled(re.sub(r"^tel:", "", text, flags=re.IGNORECASE))
    context = re.search(r";phone-context=(\+[^;@]*)", text, re.IGNORECASE)
    return [number, as_dialled(context[1]) + number] if context and number[:1] != "+" else [number]


def _or_services(value: object) -> tuple[str, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    named = [item for item in items if isinstance(item, str) and item.lower().startswith(SERVICE)]
    for item in named:
        if not re.fullmatch(r"urn:service:[a-z0-9-]+(\.[a-z0-9-]+)*", item.lower()):
            raise policy_error(f'must be the name of a service such as "urn:service:sos", not {item!r}', item)
    numbers = _numbers([item for item in items if item not in named])
    return (*numbers, *(item.lower() for item in named))


def _numbers(value: object) -> tuple[str, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or not re.fullmatch(r"\+?[0-9]+", as_dialled(item)):
            example = 'must be a number in quotes, such as "112" or "+4930"'
            raise policy_error(f"{example}, not {item!r}", item)
    return tuple(as_dialled(item) for item in items)


Numbers = Annotated[tuple[str, ...], BeforeValidator(_numbers)]
"""Numbers as they are dialled, or how they begin."""

NumbersOrServices = Annotated[tuple[str, ...], BeforeValidator(_or_services)]
"""Numbers as they are dialled, and names of services."""


class V10Options(Options):
    """What a policy may say under [checks.V10]."""

    numbers: NumbersOrServices | None = None
    """Whole numbers as they are dialled: those of emergency services, and others that only the country has; ``urn:service:sos`` for these by name."""
    prefixes: Numbers | None = None
    """How numbers begin that are to stay in the country: ``+49``."""
    peers: Prefixes | None = None
    """Who may be handed such calls: one's own network, and other national ones."""


class V10(Check[V10Options]):
    """Calls to emergency services and to numbers of the country are handed to networks of the country only.

    What it looks for:
        Calls of SIP, ISUP, H.323 and Skinny for one of ``numbers``, or for a number that begins with one of ``prefixes``, that went to an address which is not
        in ``peers``, but for the one that the call came from: of SIP, to which the caller's side sent an INVITE, or which answered one. ``0049`` and ``+49`` are the
        same beginning, and so is a local number with that ``phone-context``. ``urn:service:sos`` is a number, too, and has ``urn:service:sos.fire`` below it.

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
        a name that the policy does not have are in scope but not judged. Where the messages of calls do not say it all, captures are read once more; where these
        cannot be, addresses that the first INVITE did not go to leave doubt. Findings show beginnings and short numbers, as the policy has them, and never whom somebody called.

    Source: catalogue of policy checks, V10. What the law of a country demands of such calls is general knowledge, and not read here: ask those who
    know it. ITU-T E.164; RFC 3966, section 5.1; RFC 5031.
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
        # The calls of SIP for a URI without a host: a telephone number, or the name of a service.
        hostless = of_sip(seen.calls).filter(pl.col("request_host").is_null(), ~pl.col("began_before"))
        read = _messages(seen, hostless)
        uris = _uris(read)
        # Of a local number, its context is in the URI only.
        local = hostless.filter(~pl.col("request_user").str.starts_with("+"))["call_id"]
        unread = local.clear() if read is not None else local
        calls = seen.calls.with_columns(
            meant=_meant(seen.calls, uris, options),
            # What has neither number nor host is no URI of SIP, such as the name of a service.
            is_open=(
                (pl.col("began_before").fill_null(value=True) | pl.col("request_host").is_null())
                & pl.all_horizontal(pl.col(name).is_null() for name in _CALLED)
            )
            | pl.col("call_id").is_in(unread.implode()).fill_null(value=False),
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
        hops = _with_way(hops, _messages(seen, of_sip(hops)))
        open_ = distinct(hops.filter(pl.col("is_way").is_null()))
        hops = hops.filter("is_way")
        doubt = f"where {plural(open_, 'call')} went, captures would tell if they could be read once more"
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
            scope,
            findings,
            nothing="no calls for such numbers were seen",
            doubt="; ".join(filter(None, (doubt if open_ else None, seen.heard.doubt))) or None,
        )


_CALLED = ("callee", "request_user", "isup_called")
"""Columns that say who is called."""


def _messages(seen: Observed, calls: pl.DataFrame) -> pl.DataFrame | None:
    """The INVITEs, answers and other messages of SIP of these calls; none if captures cannot be read once more."""
    names = ["src", "dst", "method", "cseq_method", "call_id", "from", "request_uri"]
    empty = pl.DataFrame(schema={name: pl.Binary if name in {"src", "dst"} else pl.String for name in names})
    if calls.is_empty():
        return empty
    if not seen.captures.is_whole or not seen.captures.taps:
        return None
    ids = calls["call_id"].drop_nulls().unique().implode()
    try:
        rows = [frame.filter(pl.col("call_id").is_in(ids)).select(names) for frame in seen.read("sip", names)]
    except ReadOnceError:
        return None
    return pl.concat([empty, *rows])


def _uris(messages: pl.DataFrame | None) -> dict[str, str]:
    """The URI of the first INVITE of each call, by Call-ID."""
    if messages is None:
        return {}
    first = messages.filter(pl.col("method") == "INVITE", pl.col("request_uri").is_not_null())
    return dict(first.unique("call_id", keep="first").select("call_id", "request_uri").iter_rows())


def _with_way(hops: pl.DataFrame, messages: pl.DataFrame | None) -> pl.DataFrame:
    """The hosts of calls with whether the call went there (``is_way``); null where nobody can tell.

    An INVITE of the caller's side went there, or its answer came from there. What only sent or received other messages (an ACK, a BYE, a
    new INVITE of who was called) may be another host of the caller's.
    """
    is_first = (pl.col("hop") == pl.col("dst")).fill_null(value=False)
    is_sip = pl.col("transport").is_in(list(SIP)).fill_null(value=True)
    if messages is None:
        return hops.with_columns(is_way=pl.when(is_first | ~is_sip).then(pl.lit(value=True)))
    tag = pl.col("from").str.extract(r"(?i);\s*tag\s*=\s*([^;>\s]+)")
    rows = messages.with_columns(tag=tag).join(
        hops.select("call_id", "from_tag").unique(), on="call_id", how="inner"
    )
    asks = (pl.col("cseq_method") == "INVITE") & pl.col("tag").eq_missing(pl.col("from_tag"))
    is_request = pl.col("method").is_not_null()
    seen_at = pl.concat(
        [
            rows.select("call_id", hop="dst", went=asks & is_request),
            rows.select("call_id", hop="src", went=asks & ~is_request),
        ]
    )
    went = seen_at.group_by("call_id", "hop").agg(pl.col("went").any())
    hops = hops.join(went, on=["call_id", "hop"], how="left", maintain_order="left")
    # What is not among messages that could be read by themselves was in one that took several packets.
    return hops.with_columns(is_way=is_first | ~is_sip | pl.col("went").fill_null(value=True))


def _meant(calls: pl.DataFrame, uris: Mapping[str, str], options: V10Options) -> pl.Series:
    """Which entry of the policy each call is for, as text that shows no number of anybody; null if for none."""
    entries = options.numbers or ()
    told = {number: _entry(number) for number in entries if not number.startswith(SERVICE)}
    services = [each for each in entries if each.startswith(SERVICE)]
    # Of two beginnings that fit, the longer one says more.
    begin = sorted(options.prefixes or (), key=len, reverse=True)

    def meant(numbers: Sequence[str | None], uri: str) -> str | None:
        if uri.startswith(SERVICE):
            return next((each for each in services if uri == each or uri.startswith(f"{each}.")), None)
        dialled = [way for number in (*numbers, uri) if number for way in ways_to_dial(number)]
        whole = next((told[number] for number in dialled if number in told), None)
        if whole is not None:
            return whole
        return next((f"{each}…" for each in begin for number in dialled if number.startswith(each)), None)

    rows = calls.select("call_id", *_CALLED).iter_rows()
    return pl.Series([meant(row[1:], uris.get(row[0], "").lower()) for row in rows], dtype=pl.String)


def _entry(number: str) -> str:
    return (
        number if len(number) <= LONGEST_SHOWN else f"a number of {len(number)} digits that the policy lists"
    )
