"""A3, interception outside of mediation."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationInfo, field_validator

from tapsight._options import Options, Prefixes, policy_error, resolve_prefixes, within
from tapsight._text import begin, plural
from tapsight.claims import Claim
from tapsight.detectors._base import Detector, Told


@functools.lru_cache(maxsize=4096)
def hashed(intercept: int, salt: str) -> str:
    """An intercept id as a policy lists it: 32 hexadecimal digits, dear to compute so that ids are not found by trying."""
    key = hashlib.scrypt(str(intercept).encode(), salt=salt.encode(), n=1 << 14, r=8, p=1, dklen=16)
    return key.hex()


class Mediation(BaseModel):
    """A mediation device that may receive intercepted traffic; what is not given may be anything."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    device: Prefixes
    """Where the copies may go."""
    exporter: Prefixes | None = None
    """Who may make them."""
    ids: tuple[str, ...] | None = None
    """Intercepts, each as :func:`hashed` with the salt; without these, all."""

    @field_validator("ids", mode="before")
    @classmethod
    def _ids(cls, value: object) -> object:
        if isinstance(value, list) and all(
            isinstance(item, str) and re.fullmatch("[0-9a-f]{32}", item) for item in value
        ):
            return tuple(value)
        raise ValueError("must be a list of hashes of 32 hexadecimal digits (see tapsight explain A3)")


def _mediation(value: object, info: ValidationInfo) -> list[Any]:
    """Entries as tables; addresses, prefixes and names of sets become a table with nothing but the device."""
    entries = value if isinstance(value, list) else [value]
    return [
        item if isinstance(item, dict) else {"device": list(resolve_prefixes(item, info))} for item in entries
    ]


def _secret(value: object) -> object:
    if not isinstance(value, str | SecretStr):
        # What was written is not shown, whatever it is.
        raise policy_error("must be text in quotes", None)
    return value


class A3Options(Options):
    """What a policy may say under [checks.A3]."""

    mediation: Annotated[list[Mediation], BeforeValidator(_mediation)] | None = None
    """Who may receive intercepted traffic: a set, addresses and prefixes, or tables that also name exporter and ids."""
    salt: Annotated[SecretStr, BeforeValidator(_secret)] = SecretStr("")
    """What the hashes of ids were made with."""


class A3(Detector):
    """Copies of traffic in the headers of lawful intercept, to a receiver that the policy does not list.

    What it looks for:
        UDP datagrams that consist of 4 or 8 bytes and a whole packet behind them, as Juniper, Nokia, Cisco and PacketCable
        export intercepted traffic: at least 20 to one destination, and with an id that stays the same for a conversation.

    Why it matters:
        The means of lawful interception are in place on routers that carry it out. Whoever controls them can have a second
        intercept sent to another receiver.

    Example of a policy::

        [checks.A3]
        salt = "a long random text"
        mediation = ["192.0.2.40", { device = "192.0.2.41", exporter = "192.0.2.1", ids = ["fc35fdda4a1c36c220e02ac96b1e5db0"] }]

    About ids:
        Ids tell whom an order is about, so a policy holds hashes of them only; a salted one of an id is made by
        python -c 'from tapsight.detectors.a3 import hashed; print(hashed(17, "a long random text"))'
        Claims and the packets table show ids as they were captured: guard those like the orders themselves.

    What to do:
        Compare with the orders in force, and find the intercept on the device that is the source of the datagrams.

    What it cannot see:
        Handover interfaces (ETSI TS 102 232), encrypted exports and headers of other lengths. A private tunnel with 4 or 8
        constant bytes before each packet looks the same.

    Source: formats as OpenLI's collector reads them; ATT&CK T1020.001 (Traffic Duplication).
    """

    id = "A3"
    title = "Interception outside of mediation"
    options = A3Options

    @classmethod
    def under(cls, claim: Claim, options: A3Options | None) -> Claim:
        """Not reported if the policy lists the receiver, with this exporter and id if it names any."""
        listed = (options.mediation if options is not None else None) or []
        salt = options.salt.get_secret_value() if options is not None else ""
        if any(_allows(entry, claim, salt) for entry in listed):
            return dataclasses.replace(claim, report=False)
        return claim

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who sent intercepted packets to whom."""
        claim = told.claim
        id_ = f" with id {claim.tunnel.id}" if claim.tunnel.id is not None else ""
        beside = " Packets in it also passed a tap by themselves." if claim.lag_ns is not None else ""
        return begin(
            f"{told.exporter} sent {plural(claim.packets, 'packet')}{told.what} to {told.collector} in the headers of "
            f"lawful intercept{id_}, {told.when} ({told.seen}); the policy does not list that as mediation.{beside}"
        )


def _allows(entry: Mediation, claim: Claim, salt: str) -> bool:
    tunnel = claim.tunnel
    return (
        within(tunnel.dst, entry.device)
        and (entry.exporter is None or within(tunnel.src, entry.exporter))
        and (entry.ids is None or (tunnel.id is not None and hashed(tunnel.id, salt) in entry.ids))
    )
