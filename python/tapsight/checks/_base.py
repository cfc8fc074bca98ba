"""What a check of a policy is, and what it has to judge by."""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from tapsight._engine import inside, stage_schema
from tapsight._explain import explanation
from tapsight._links import unread_text
from tapsight._options import Options, Severity
from tapsight._text import plural
from tapsight.checks._needs import Need
from tapsight.checks._tables import Captures
from tapsight.claims import Claim, Frame, Tunnel
from tapsight.findings import Finding, Later

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from tapsight._judging import Verdict
    from tapsight.checks._borders import Borders, Crossing
    from tapsight.checks._paths import Changes
    from tapsight.detectors import Question
    from tapsight.places import Places
    from tapsight.policy import Network

O = TypeVar("O", bound=Options)

Pack = Literal[
    "carrier-voice", "carrier-internet", "router-hardening", "mobile-signalling", "capture-quality"
]
"""Checks that belong together, so that a policy can ask for all of them at once."""

Said = Callable[[str], Options | None]
"""What a policy says of a check or detector, by its id; none if it does not mention it."""

Lack = Literal["policy", "traffic", "reading"]
"""What is missing where nothing was in scope: the policy does not say what has to be known, nothing of that kind was seen, or no frame could be read."""


OFF = "switched off by the policy"
"""The reason of verdicts of what does not judge."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """How many packets there were to judge, and how many could be."""

    in_scope: int = 0
    judged: int = 0
    reason: str | None = None
    """Why the others could not be judged."""
    lost: int = 0
    """What a detector would have claimed but had no room for: it may have missed something."""

    @property
    def coverage(self) -> float | None:
        """The share of them that could be; none if there were none."""
        return self.judged / self.in_scope if self.in_scope else None

    @property
    def doubt(self) -> str | None:
        """Why a detector cannot say that all is well, if there is something that it could not keep."""
        return "there was no room for all that it found: give more --memory" if self.lost else None


def with_cut(scope: Scope, cut: pl.DataFrame) -> Scope:
    """A scope, and what may belong to it but was cut before that could be told."""
    hidden = packets(cut)
    if not hidden:
        return scope
    reason = f"{plural(hidden, 'packet')} cut before what they carry"
    return Scope(scope.in_scope + hidden, scope.judged, "; ".join(filter(None, (scope.reason, reason))))


@dataclasses.dataclass(frozen=True)
class Heard:
    """What was said and sent, as tables of the engine, of each tap one after the other."""

    calls: Sequence[Any] = ()
    call_changes: Sequence[Any] = ()
    call_media: Sequence[Any] = ()
    media: Sequence[Any] = ()
    missing: int = 0
    """How many rows of these found no room."""
    cut: int = 0
    """Packets of voice signalling of which a capture kept only a part."""
    is_whole: bool = True
    """Whether they are of all that was seen: of what earlier runs have left in a state, calls and media are not known."""

    @property
    def doubt(self) -> str | None:
        """Why a check of them cannot say that all is well, if there is something that it did not get to see."""
        if self.missing:
            return f"{plural(self.missing, 'row')} of calls and media found no room"
        if self.cut:
            return f"{plural(self.cut, 'packet')} of signalling of which the capture kept only a part"
        return None


@dataclasses.dataclass(frozen=True)
class Observed:
    """All that was seen, for checks to judge."""

    flows: pl.DataFrame
    """One row a direction of a conversation on one path; see :func:`flows_frame`."""
    claims: Sequence[Claim]
    """What the detectors found."""
    scopes: Mapping[str, Scope]
    """How much each detector could judge."""
    authorised: frozenset[Tunnel]
    """Mirror sessions that the policy lists."""
    network: Network
    """What the policy says of the network itself."""
    heard: Heard = Heard()
    """Calls and media."""
    places: Places | None = None
    """What is known of addresses; none if the policy has no home."""
    agreed: Sequence[Crossing] = ()
    """Ways of national traffic abroad that the policy allows."""
    captures: Captures = dataclasses.field(default_factory=Captures)
    """The captures, to be read once more."""
    verdicts: Mapping[str, Verdict] = dataclasses.field(default_factory=dict)
    """Those of other checks, by id, for those that rest on them."""
    findings: Sequence[Finding] = ()
    """What others found and what counts, for the same."""
    examined: tuple[Any, Any, Any] | None = None
    """The engine's tables :attr:`taps`, :attr:`compared` and :attr:`files` are made of."""

    @functools.cached_property
    def taps(self) -> pl.DataFrame:
        """One row a tap, file and interface: the columns of ``Result.taps``."""
        return _examined_frame(self.examined, 0)

    @functools.cached_property
    def unread(self) -> tuple[str | None, bool]:
        """How many frames are of link types that are not read, in words, if any are; and whether all are."""
        return unread_text(self.taps.to_dicts())

    @functools.cached_property
    def cut(self) -> pl.DataFrame:
        """The flows of which a capture that cuts packets kept too little to tell what they carry.

        Those are tunnels without what is inside (``hides_path``), and packets without addresses or ports.
        """
        import polars as pl

        from tapsight.checks._talks import PORTED

        taps = self.taps
        snapped = taps.filter(pl.col("snapped") > 0)["tap"].unique().to_list() if taps.height else []
        is_bare = pl.col("encap").is_null()
        has_nothing = (pl.col("src") == pl.col("outer_src")) & (pl.col("dst") == pl.col("outer_dst"))
        hides_path = (~is_bare & has_nothing) | (is_bare & pl.col("protocol").is_in(list(TUNNELS)))
        ports = [pl.col(name).fill_null(0) == 0 for name in ("src_port", "dst_port")]
        portless = pl.col("protocol").is_in(list(PORTED)) & pl.all_horizontal(ports)
        nameless = pl.col("src").is_null() & pl.col("app").is_null()
        flows = self.unlisted.filter(pl.col("tap").is_in(snapped))
        return flows.with_columns(hides_path=hides_path.fill_null(value=False)).filter(
            pl.col("hides_path") | portless.fill_null(value=False) | nameless
        )

    @functools.cached_property
    def compared(self) -> pl.DataFrame:
        """One row a class of traffic from one tap to the next: the columns of ``Result.taps_compared``."""
        return _examined_frame(self.examined, 1)

    @functools.cached_property
    def files(self) -> pl.DataFrame:
        """One row a file: its ``tap``, ``first_frame`` and ``frames``."""
        return _examined_frame(self.examined, 2)

    @functools.cached_property
    def calls(self) -> pl.DataFrame:
        """One row a call: the columns of ``tapsight.calls``."""
        return heard_frame("calls", self.heard.calls)

    @functools.cached_property
    def call_changes(self) -> pl.DataFrame:
        """One row a change in a call: the columns of its table ``call_changes``."""
        return heard_frame("call_changes", self.heard.call_changes)

    @functools.cached_property
    def call_media(self) -> pl.DataFrame:
        """One row a media endpoint that a call has described: the columns of its table ``call_media``."""
        return heard_frame("call_media", self.heard.call_media)

    @functools.cached_property
    def media(self) -> pl.DataFrame:
        """One row a media stream: the columns of ``tapsight.media``."""
        return heard_frame("media", self.heard.media)

    @functools.cached_property
    def unlisted(self) -> pl.DataFrame:
        """The flows outside of mirror sessions that the policy lists: a listed mirror is not how traffic travels."""
        return outside_of(self.flows, self.authorised)

    def read(self, table: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Rows of a table, for which the captures are read once more; outside of listed mirror sessions, where columns tell.

        Raises:
            ReadOnceError: They cannot be read a second time.
        """
        import polars as pl

        for batch in self.captures.batches(table, columns):
            frame = plain(pl.DataFrame(batch))
            yield outside_of(frame, self.authorised) if set(TUNNEL) <= set(frame.columns) else frame

    @functools.cached_property
    def conversations(self) -> pl.DataFrame:
        """One row a conversation that took place: see :func:`tapsight.checks._talks.conversations`."""
        from tapsight.checks import _talks

        return _talks.conversations(self.unlisted, self.begun)

    @functools.cached_property
    def begun(self) -> pl.DataFrame | None:
        """Who began conversations of infrastructure where only segments with SYN tell it: see :func:`tapsight.checks._talks.begun`."""
        import polars as pl

        from tapsight.checks import _talks
        from tapsight.checks._tables import ReadOnceError

        devices = self.network.infrastructure
        if not devices:
            return None
        flows = self.unlisted.filter(pl.col("protocol") == 6)
        flows = flows.filter(inside(flows["src"], devices) | inside(flows["dst"], devices))
        columns = ["src", "dst", "src_port", "dst_port", "is_answer"]
        try:
            return _talks.begun(flows, lambda: self.read("tcp", [*columns, "tap"]))
        except ReadOnceError:
            return None

    @functools.cached_property
    def borders(self) -> Borders:
        """National traffic, and what shows that it left the country."""
        from tapsight.checks import _borders

        return _borders.borders(self)

    @functools.cached_property
    def hop_changes(self) -> Changes:
        """Prefixes that became nearer or farther."""
        from tapsight.checks import _paths

        return _paths.hop_changes(self._remote)

    @functools.cached_property
    def rtt_changes(self) -> Changes:
        """Prefixes that answered sooner or later."""
        from tapsight.checks import _paths

        return _paths.rtt_changes(self._remote)

    @functools.cached_property
    def owner_changes(self) -> Changes:
        """Prefixes that another device brought."""
        from tapsight.checks import _paths

        return _paths.owner_changes(self._remote)

    @property
    def _remote(self) -> pl.DataFrame:
        # Made three times rather than kept: it is as large as the flows.
        from tapsight.checks import _paths

        return _paths.remote(self.unlisted)


def _examined_frame(tables: tuple[Any, Any, Any] | None, at: int) -> pl.DataFrame:
    import polars as pl

    return plain(pl.DataFrame(tables[at])) if tables is not None else pl.DataFrame()


TUNNEL = ["encap", "outer_src", "outer_dst", "tunnel_id"]
"""The columns that tell one tunnel from another."""

TUNNELS = (4, 41, 47, 137)
"""IP protocols that are tunnels, of which a row has ``encap`` if its header could be read: IPv4, IPv6, GRE, MPLS (IANA)."""


def outside_of(flows: pl.DataFrame, tunnels: Collection[Tunnel]) -> pl.DataFrame:
    """The flows that are in none of these tunnels."""
    import polars as pl

    if not tunnels:
        return flows
    listed = pl.DataFrame(
        [(tunnel.encap, tunnel.src, tunnel.dst, tunnel.id) for tunnel in sorted(tunnels, key=repr)],
        schema={name: flows.schema[name] for name in TUNNEL},
        orient="row",
    )
    return flows.join(listed, on=TUNNEL, how="anti", nulls_equal=True, maintain_order="left")


def flows_frame(table: pa.Table) -> pl.DataFrame:
    """The engine's flows for judging."""
    import polars as pl

    return plain(pl.DataFrame(table))


def heard_frame(name: str, tables: Sequence[Any]) -> pl.DataFrame:
    """Tables of the engine, of which there may be none, for judging."""
    import polars as pl

    parts = [pl.DataFrame(each) for each in (tables or [stage_schema(name)])]
    return plain(pl.concat(parts, how="vertical_relaxed"))


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """A table with labels as plain text, times as integers."""
    import polars as pl

    labels = [name for name, kind in frame.schema.items() if kind == pl.Categorical]
    times = [name for name, kind in frame.schema.items() if kind == pl.Datetime("ns", "UTC")]
    return frame.with_columns(pl.col(labels).cast(pl.String), pl.col(times).dt.timestamp("ns"))


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What a check found, before severity and coverage make it a verdict."""

    scope: Scope
    findings: tuple[Finding, ...] = ()
    nothing: str = "nothing of that kind was seen"
    """What to say if nothing was in scope."""
    lack: Lack | None = "traffic"
    """What is missing then; none if :attr:`nothing` says more than that."""
    note: str | None = None
    """What else a reader of the verdict should know."""
    doubt: str | None = None
    """Why the verdict is unknown rather than pass."""
    others: int = 0
    """How many findings of other checks make it fail."""


class Check(ABC, Generic[O]):
    """One rule of a policy. The docstring of a subclass is its documentation: ``tapsight explain ID``."""

    id: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity]
    """Severity of its findings unless the policy says otherwise."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Options of which it needs at least one, if any are named: without them it cannot judge."""
    network_needs: ClassVar[tuple[str, ...]] = ()
    """What it needs to know of the network, by the keys of the policy's [network]."""
    options: ClassVar[type[Options]]
    hears: ClassVar[bool] = False
    """Whether it judges by calls and media."""
    pack: ClassVar[Pack | None] = None
    """The pack that it comes with, without which it only judges if the policy mentions it; none if it always judges."""
    asks: ClassVar[tuple[Question, ...]] = ()
    """The questions that cannot be answered with no while it could not judge what there was."""
    turn: ClassVar[int] = 0
    """0 if it judges by what was seen, 1 if by verdicts of those that do, 2 if by verdicts of all of these."""

    @abstractmethod
    def judge(self, seen: Observed, options: O, severity: Severity) -> Judgement:
        """Judges what was seen. Only called when nothing is :meth:`missing`."""

    @classmethod
    def finding(
        cls,
        row: Mapping[str, Any],
        scope: Scope,
        severity: Severity,
        *,
        identity: tuple[object, ...],
        sentence: str | Callable[[], str],
        kind: str = "policy",
        tunnel: Tunnel | None = None,
        traffic: Sequence[str] = (),
        is_part: bool = True,
    ) -> Finding:
        """A finding of this check, about what a row says: ``packets``, ``flows``, ``first_ts``, ``last_ts``, ``evidence``, perhaps ``calls`` and ``taps``.

        Where there may be very many, ``sentence`` is what makes the sentence when it is read.
        """
        return Finding(
            detector=None,
            check=cls.id,
            kind=kind,
            severity=severity,
            identity=identity,
            packets=row["packets"],
            in_scope=scope.in_scope,
            judged=scope.judged,
            first_ts=row["first_ts"],
            last_ts=row["last_ts"],
            flows=row["flows"],
            evidence=row["evidence"],
            sentence=sentence if isinstance(sentence, str) else Later(sentence),
            tunnel=tunnel or Tunnel(),
            calls=row.get("calls", frozenset()),
            taps=_same(frozenset(row.get("taps", ()))),
            traffic=tuple(traffic),
            is_part=is_part,
        )

    @classmethod
    def explain(cls) -> str:
        """What it demands, why, and how to put right what fails it."""
        return explanation(cls, cls.id, cls.title)

    @classmethod
    def missing(cls, options: Options | None, network: Network) -> tuple[Need, ...]:
        """All that the policy does not say and the check has to know; empty if it says all."""
        unsaid = []
        if cls.needs and (options is None or all(getattr(options, name) is None for name in cls.needs)):
            unsaid.append(Need(f"checks.{cls.id}", cls.needs, one_suffices=True))
        if of_network := tuple(name for name in cls.network_needs if not getattr(network, name)):
            unsaid.append(Need("network", of_network))
        return tuple(unsaid)

    @classmethod
    def missing_under(cls, said: Said, network: Network) -> tuple[Need, ...]:
        """:meth:`missing`, by what the policy says of each check and detector."""
        return cls.missing(said(cls.id), network)


@functools.lru_cache(maxsize=1024)
def _same(taps: frozenset[str]) -> frozenset[str]:
    """Equal taps as one object: thousands of findings were seen at the same."""
    return taps


def packets(frame: pl.DataFrame) -> int:
    """How many packets the flows have."""
    return int(frame["packets"].sum())


def group(
    flows: pl.DataFrame, by: Sequence[str], examples: Sequence[str] = (), all_of: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Flows summed up by these columns, most packets first: what one finding is about.

    Rows have ``packets``, ``flows`` (conversations), ``first_ts``, ``last_ts``, ``apps``, ``taps``, ``evidence``,
    an example of ``src``, ``dst`` and the columns in ``examples``, and all values of those in ``all_of``.
    """
    import polars as pl

    grouped = flows.group_by(by, maintain_order=True).agg(
        pl.col("packets").sum(),
        pl.col("flow_id").n_unique().alias("flows"),
        pl.col("first_ts").min(),
        pl.col("last_ts").max(),
        *(pl.col(name).first() for name in dict.fromkeys(("src", "dst", *examples)) if name not in by),
        *(pl.col(name).drop_nulls().unique(maintain_order=True) for name in all_of),
        pl.col("app").drop_nulls().unique().sort().alias("apps"),
        pl.col("tap").unique().sort().alias("taps"),
        pl.struct("tap", "frames").head(EVIDENCE).alias("evidence"),
    )
    return with_evidence(grouped)


def with_evidence(grouped: pl.DataFrame) -> list[dict[str, Any]]:
    """The groups as rows, most packets first; ``evidence``, a list of taps and frames, becomes the frames that it shows."""
    rows = grouped.sort("packets", descending=True, maintain_order=True).to_dicts()
    for row in rows:
        frames = {
            Frame(each["tap"], number, "offending")
            for each in row["evidence"]
            for number in each["frames"] or ()
        }
        row["evidence"] = tuple(sorted(frames, key=lambda frame: (frame.tap, frame.frame))[:EVIDENCE])
    return rows


EVIDENCE = 32


def ordered_ends(first: str, second: str) -> tuple[pl.Expr, pl.Expr]:
    """Two address columns as a pair that is the same in both directions."""
    import polars as pl

    swapped = pl.col(first) > pl.col(second)
    return (
        pl.when(swapped).then(pl.col(second)).otherwise(pl.col(first)).alias("end_a"),
        pl.when(swapped).then(pl.col(first)).otherwise(pl.col(second)).alias("end_b"),
    )
