"""What the engine says it found: its claims, read from their table."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tapsight._options import Severity

if TYPE_CHECKING:
    import pyarrow as pa

MIRROR_ONLY = frozenset({"erspan1", "erspan2", "erspan3", "tzsp", "hp-erm", "rpcap"})
"""Encapsulations that have no use but mirroring, by their names in the ``encap`` column."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel in one direction; a mirror session, if it carries copies."""

    encap: str | None = None
    """The stack of encapsulations, outermost first, such as ``gre/erspan2``."""
    src: bytes | None = None
    """Address that it comes from, 16 bytes."""
    dst: bytes | None = None
    """Address that it goes to, 16 bytes."""
    id: int | None = None
    """VNI, key, TEID or session."""

    @property
    def is_mirror(self) -> bool:
        """Whether it is made for mirroring only."""
        return self.encap is not None and not MIRROR_ONLY.isdisjoint(self.encap.split("/"))

    def __str__(self) -> str:
        """Its kind and identifier."""
        return f"tunnel ({self.encap or 'unknown'})" + (f" with id {self.id}" if self.id is not None else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """A frame that proves something."""

    tap: str
    frame: int
    """Number in the tap's stream."""
    role: str
    """Its part: ``original``, ``copy``, ``mirror``, ``redirected``, ``injected``, ``trigger``, ``answer`` or ``offending``."""


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A row of the engine's claims. Fields are its columns."""

    detector: str
    report: bool
    kind: str
    severity: Severity
    tap: str | None
    copy_tap: str | None
    packets: int
    in_scope: int
    judged: int
    first_ts: int
    last_ts: int
    lag_ns: int | None
    tunnel: Tunnel
    """Encapsulation, exporter, collector and tunnel id."""
    exporter_mac: bytes | None
    collector_mac: bytes | None
    subject: bytes | None
    """Whose traffic is concerned, where there is one address."""
    detail: str | None
    """What else identifies it, as captured."""
    rewritten_from: bytes | None
    rewritten_to: bytes | None
    flows: int
    """Conversations that are told apart."""
    more_flows: bool
    """Whether there were others, which are not told apart."""
    evidence: tuple[Frame, ...]
    apps: tuple[str, ...]
    traffic: tuple[str, ...]

    @property
    def taps(self) -> frozenset[str]:
        """The taps that saw it; none of what is not told by tap."""
        seen = {self.tap, self.copy_tap, *(frame.tap for frame in self.evidence)}
        return frozenset(tap for tap in seen if tap is not None)

    @property
    def family(self) -> str:
        """Id of its detector without the class: ``A5`` of ``A5.forked``."""
        return self.detector.partition(".")[0]


def read_claims(table: pa.Table) -> list[Claim]:
    """The claims of an examination."""
    import pyarrow as pa

    for name in ("first_ts", "last_ts"):
        column = table[name].cast(pa.int64())
        table = table.set_column(table.schema.get_field_index(name), name, column)
    claims = []
    names = {field.name for field in dataclasses.fields(Claim)}
    for row in table.to_pylist():
        tunnel = Tunnel(row.pop("encap"), row.pop("exporter"), row.pop("collector"), row.pop("tunnel_id"))
        evidence = tuple(
            Frame(frame["tap"], frame["frame"], frame["role"]) for frame in row.pop("evidence") or ()
        )
        apps, traffic = tuple(row.pop("apps") or ()), tuple(row.pop("traffic") or ())
        known = {name: value for name, value in row.items() if name in names}
        claims.append(Claim(tunnel=tunnel, evidence=evidence, apps=apps, traffic=traffic, **known))
    return claims
