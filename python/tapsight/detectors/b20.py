"""B20, signalling of mobile networks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from tapsight._options import Options, OrText, Prefixes, resolve_prefixes, within
from tapsight._text import begin, party, plural, safe
from tapsight.claims import Claim
from tapsight.detectors._base import Detector, Told


def _texts(value: object, pattern: str, what: str) -> tuple[str, ...]:
    items: list[Any] = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or not re.fullmatch(pattern, item):
            raise ValueError(f"must be a list of {what}, not {item!r}")
    return tuple(items)


class Partner(BaseModel):
    """Who signals with the network over an interconnect; what is not given may be anything."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    addresses: Prefixes
    """Its nodes, or those of the carrier that brings its signalling."""
    titles: tuple[str, ...] | None = None
    """What its global titles begin with: digits, country code first."""
    realms: tuple[str, ...] | None = None
    """Its realms of Diameter; those below them count too."""
    categories: tuple[int, ...] = (2, 3)
    """Categories of operations that it may ask for."""

    @field_validator("titles", mode="before")
    @classmethod
    def _titles(cls, value: object) -> object:
        titles = _texts(value, r"\+?[0-9]{1,15}", 'beginnings of global titles, such as ["41", "9715"]')
        return tuple(title.removeprefix("+") for title in titles)

    @field_validator("realms", mode="before")
    @classmethod
    def _realms(cls, value: object) -> object:
        realms = _texts(value, r"[\w.-]{1,255}", 'realms, such as ["epc.mnc001.mcc228.3gppnetwork.org"]')
        return tuple(realm.lower().strip(".") for realm in realms)

    @field_validator("categories", mode="before")
    @classmethod
    def _categories(cls, value: object) -> object:
        if isinstance(value, list) and all(type(item) is int and item in {1, 2, 3} for item in value):
            return tuple(value)
        raise ValueError("must be a list of some of 1, 2 and 3")


def _partners(value: object, info: ValidationInfo) -> list[Any]:
    """Entries as tables; addresses, prefixes and names of sets become a table with nothing but the addresses."""
    entries = value if isinstance(value, list) else [value]
    return [
        item if isinstance(item, dict) else {"addresses": list(resolve_prefixes(item, info))}
        for item in entries
    ]


class B20Options(Options):
    """What a policy may say under [checks.B20]."""

    own: Prefixes | None = None
    """The network's own nodes: what two of them say to each other comes over no interconnect."""
    peers: Annotated[list[Partner], BeforeValidator(_partners), OrText()] | None = None
    """Who may signal with it: a set, addresses and prefixes, or tables that also say what may come from there."""


class B20(Detector):
    """Mobile signalling from somebody who should not send it: SS7 (MAP), Diameter, GTP.

    What it looks for:
        B20.gtp-in-gtp: GTP inside of a tunnel of GTP-U, in which subscribers' packets travel. Medium, without any policy.
        With ``own`` and ``peers`` in the policy, wherever one end, or both, is none of the network's own nodes. Who signals across its taps, and is neither
        its own nor a peer, may be a node that nobody listed:
        B20.category-1: operations that should only be heard within a network: MAP anyTimeInterrogation (71), sendRoutingInfo (22),
        sendIMSI (58) and their like; Diameter of Cx, Sh, SLh. High.
        B20.category-2: operations that should only come from a subscriber's home, such as MAP insertSubscriberData (7) or cancelLocation
        (3), or S6a 317, 319, 320, from a peer that is not listed, or not for these (``categories``). Medium.
        B20.category-3: operations that should only come from where a subscriber is, such as MAP updateLocation (2) and
        sendAuthenticationInfo (56) or S6a 316 and 318, likewise. Medium.
        B20.unlisted-peer: SIGTRAN, Diameter or GTP with somebody who is neither in ``own`` nor among ``peers``. Medium.
        B20.gt-mismatch, B20.realm-mismatch: a calling global title, or a Diameter origin realm, that is not among those of the peer
        it came from. High.

    What it names but does not report:
        All of these between own nodes, from peers that may, or where the policy does not tell what is an interconnect: B20.peer, B20.title, B20.realm.
        Without ``own``, and without ``peers``, it is unknown whether they may be, as soon as there are any.

    Why it matters:
        Networks believe each other's signalling. Whoever gets at an interconnect can ask where a subscriber is, have calls and
        messages sent elsewhere, or fetch keys.

    Example of a policy::

        [checks.B20]
        own = ["192.0.2.0/28"]
        peers = [
            { addresses = "203.0.113.0/28", titles = ["41", "9715"], realms = ["epc.mnc001.mcc228.3gppnetwork.org"] },
            { addresses = "203.0.113.16", categories = [3] },
            "grx_peers",
        ]

    What to do:
        Ask the peer whose node has the title or realm. Have the signalling firewall drop category 1 at the interconnect, and compare titles with
        IR.21 of the partners.

    What it cannot see:
        Whose subscriber is concerned, and where: no IMSI and no number is read, so that a listed peer that asks for somebody else's
        subscriber goes unseen. Operations of CAP, TCAP in segments, and what is encrypted.

    Source: operations by 3GPP TS 29.002 section 17.5 and TS 29.272 section 7.2.2. Their categories are general knowledge of GSMA FS.11, FS.19
    and FS.20, which are not public; ATT&CK T1430.002 (Impersonate SS7 Nodes), T1572 (Protocol Tunneling).
    """

    id = "B20"
    title = "Mobile signalling from where it should not come"
    options = B20Options

    @classmethod
    def under(cls, claim: Claim, options: B20Options | None) -> Claim:
        """Reported is what came over an interconnect, and may not."""
        if claim.report or options is None or not _crosses(claim, options):
            return claim
        own, peers = options.own or (), options.peers
        src, dst = claim.tunnel.src, claim.tunnel.dst
        # Who of both is the other network; of two that are not own, both.
        others = [end for end in (src, dst) if not within(end, own)]
        listed = [[peer for peer in peers or () if within(end, peer.addresses)] for end in others]
        match claim.detector:
            case "B20.peer":
                bad = peers is not None and not all(listed)
                name, severity = "B20.unlisted-peer", claim.severity
            case "B20.title" | "B20.realm":
                kind = claim.detector.removeprefix("B20.")
                senders = [peer for peer in peers or () if within(src, peer.addresses)]
                bad = (
                    bool(senders) and not within(src, own) and not any(_has(each, claim) for each in senders)
                )
                name, severity = ("B20.gt-mismatch" if kind == "title" else "B20.realm-mismatch"), "high"
            case _:
                category = int(claim.detector[-1])
                allowed = all(any(category in peer.categories for peer in each) for each in listed)
                bad = not allowed and (category == 1 or peers is not None)
                name, severity = claim.detector, "high" if category == 1 else "medium"
        return dataclasses.replace(claim, detector=name, report=True, severity=severity) if bad else claim

    @classmethod
    def doubt(cls, claims: Sequence[Claim], options: B20Options) -> str | None:
        """What the policy does not tell, but is needed to tell whether they may."""
        if not claims or (options.peers is not None and options.own is not None):
            return None
        if options.own is None and options.peers is None:
            return (
                f"{plural(len(claims), 'kind')} of mobile signalling, and no policy that says what is an interconnect: needs own and peers "
                "in [checks.B20]"
            )
        if options.own is None:
            if all(_crosses(claim, options) for claim in claims):
                return None
            return "signalling with nobody among peers: whether it is the network's own, [checks.B20] own would tell"
        crossing = any(_crosses(claim, options) for claim in claims)
        return (
            "signalling with other networks, and no list of those that may: needs peers in [checks.B20]"
            if crossing
            else None
        )

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who asked whom for what."""
        claim = told.claim
        src, dst, what = party(claim.tunnel.src), party(claim.tunnel.dst), safe(claim.detail or "")
        times = plural(claim.packets, "time")
        match claim.detector:
            case "B20.gtp-in-gtp":
                return begin(
                    f"the tunnel of GTP-U from {src} to {dst} carried GTP inside of it, {plural(claim.packets, 'packet')}, {told.when} "
                    f"({told.seen}): somebody who uses the network talked, or tried to talk, to its nodes."
                )
            case "B20.unlisted-peer":
                return begin(
                    f"{src} and {dst} exchanged {plural(claim.packets, 'packet')} of {what}, {told.when} ({told.seen}), but the policy does not "
                    "list this peer."
                )
            case "B20.gt-mismatch" | "B20.realm-mismatch":
                name = "global title" if claim.detector == "B20.gt-mismatch" else "realm"
                return begin(
                    f"{src} signalled to {dst} in the name of the {name} {what}, {times}, {told.when} ({told.seen}), which is none of that peer's."
                )
        reason = {
            "B20.category-1": "which should only be heard within a network",
            "B20.category-2": "which should only come from a subscriber's home network",
            "B20.category-3": "which should only come from where a subscriber is",
        }.get(claim.detector, "which is not expected")
        operation, _, name = what.partition(" by ")
        in_the_name = f" in the name of {name}" if name else ""
        return begin(
            f"{src} asked {dst} for {operation}{in_the_name}, {times}, {told.when} ({told.seen}), {reason}; the policy does not allow it from there."
        )


def _crosses(claim: Claim, options: B20Options) -> bool:
    """Whether it came over an interconnect, as far as the policy tells: one end is another network's."""
    ends = claim.tunnel.src, claim.tunnel.dst
    if options.own is not None:
        return not all(within(end, options.own) for end in ends)
    return any(within(end, peer.addresses) for end in ends for peer in options.peers or ())


def _has(peer: Partner, claim: Claim) -> bool:
    """Whether a title or realm is one of the peer's."""
    name = claim.detail or ""
    if claim.detector == "B20.title":
        return peer.titles is None or name.startswith(peer.titles)
    return peer.realms is None or any(name == realm or name.endswith(f".{realm}") for realm in peer.realms)
