"""A8: no VLAN, label or tunnel id that is not expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tapsight._options import Labels, Options, Severity, TunnelIds, Vlans
from tapsight._text import listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, packets, with_cut
from tapsight.findings import Finding

if TYPE_CHECKING:
    import polars as pl

LEARN = 60.0
"""Seconds in which a tap shows what is normal, unless a policy says what is expected."""

_COPIES = {"A1.encapsulated-sibling", "A5.forked", "A5.late", "A5.vlan-copy", "A5.readdressed"}
"""Claims that packets passed twice. Of a copy to another VLAN it does not show which of the two is the copy."""


class A8Options(Options):
    """What a policy may say under [checks.A8]."""

    vlans: Vlans | None = None
    """All VLANs that are expected."""
    mpls: Labels | None = None
    """All MPLS labels that are expected."""
    tunnel_ids: TunnelIds | None = None
    """All identifiers of tunnels that are expected."""
    learn: Annotated[float, Field(ge=0, allow_inf_nan=False)] = LEARN
    """Of what is not listed, what a tap shows in so many seconds is expected."""


_KINDS = {"VLAN": "vlans", "MPLS label": "mpls", "tunnel id": "tunnel_ids"}
"""What packets are told apart by, and the option that lists it."""


class A8(Check[A8Options]):
    """Packets travel in VLANs, labels and tunnels that are expected, and copies in none that is new.

    What it looks for:
        A VLAN id, MPLS label or tunnel id that is not in ``vlans``, ``mpls`` or ``tunnel_ids``; of what the policy does not list,
        one that a tap did not show in its first minute (``learn``, in seconds), if packets in it are copies that A1 or A5
        knows. Unexpected and with copies is of high severity.

    Why it matters:
        A remote mirror port (RSPAN) carries its copies in a VLAN of its own, and a router that forks traffic gives the copies
        another label: what was not there before the device was tampered with.

    Example that fails:
        VLAN 999 that carries voice, with this policy::

            [checks.A8]
            vlans = [100, 210]

    What to do:
        Find out where the VLAN, label or tunnel ends, and who configured it when it first appeared.

    What it cannot see:
        What was there before the capture began. Tunnels that the capture cut before what is inside are in scope but not judged. New labels and tunnels come and go in a healthy network: without a list, and
        without copies in them, they are only counted. Of copies, frames that prove them are compared: the first of each claim and of
        each flow.

    Source: ATT&CK T1020.001 (Traffic Duplication).
    """

    id = "A8"
    title = "No unexpected VLAN, label or tunnel"
    severity = "medium"
    options = A8Options

    def judge(self, seen: Observed, options: A8Options, severity: Severity) -> Judgement:
        """Judges each VLAN, label and tunnel id of each tap."""
        import polars as pl

        marks = _marks(seen.unlisted)
        total = packets(marks.select("row", "packets").unique("row"))
        starts = seen.flows.group_by("tap").agg(start=pl.col("first_ts").min(), end=pl.col("last_ts").max())
        learn = round(options.learn * 1e9)
        listed = {kind: getattr(options, name) for kind, name in _KINDS.items()}
        known = pl.any_horizontal(
            pl.lit(value=False),
            *(
                (pl.col("kind") == kind) & pl.col("value").is_in(values)
                for kind, values in listed.items()
                if values
            ),
        )
        has_list = pl.col("kind").is_in([kind for kind, values in listed.items() if values is not None])
        keys = ["tap", "kind", "value"]
        values = (
            marks.group_by(keys)
            .agg(begun=pl.col("first_ts").min())
            .join(starts, on="tap")
            .with_columns(has_list=has_list, is_new=pl.col("begun") - pl.col("start") > learn)
            .with_columns(unexpected=pl.when("has_list").then(~known).otherwise("is_new"))
        )
        # A tap whose capture ends before it could have shown what is normal says nothing of what is not listed.
        blind = values.filter(~pl.col("has_list") & (pl.col("end") - pl.col("start") <= learn))
        unjudged = packets(marks.join(blind, on=keys, how="semi").select("row", "packets").unique("row"))
        unexpected = values.filter("unexpected").select(*keys, "has_list")
        told = (
            marks.join(unexpected, on=keys, maintain_order="left")
            .select("row", *keys, "has_list")
            .unique(maintain_order=True)
        )
        flows = told.drop("row", "tap").hstack(seen.unlisted[told["row"]])
        frames = flows.select(*keys, frame="frames").explode("frame")
        copied = set(frames.join(_copies(seen), on=["tap", "frame"], how="semi")[keys].unique().iter_rows())
        rows = group(flows, [*keys, "has_list"])
        findings, others = [], 0
        for row in rows:
            has_copies = (row["tap"], row["kind"], row["value"]) in copied
            if has_copies or row["has_list"]:
                findings.append(self._finding(row, has_copies=has_copies, severity=severity, total=total))
            else:
                others += 1
        reason = f"captures shorter than the {options.learn:g} s in which a tap shows what is normal"
        scope = Scope(total, total - unjudged, reason if unjudged else None)
        scope = with_cut(scope, seen.cut.filter("hides_path"))
        note = (
            f"{plural(others, 'new VLAN, label or tunnel id', 'new VLANs, labels or tunnel ids')}"
            if others
            else None
        )
        return Judgement(
            scope, tuple(findings), nothing="no VLAN tags, labels or tunnels were seen", note=note
        )

    def _finding(self, row: dict[str, Any], *, has_copies: bool, severity: Severity, total: int) -> Finding:
        copies = ", some of which are copies of packets that also passed elsewhere" if has_copies else ""
        why = "the policy does not list it" if row["has_list"] else "the tap did not show it before"
        return Finding(
            detector=None,
            check=self.id,
            kind="copy" if has_copies else "policy",
            severity="high" if has_copies and severity == "medium" else severity,
            identity=(row["tap"], row["kind"], row["value"]),
            packets=row["packets"],
            in_scope=total,
            judged=total,
            first_ts=row["first_ts"],
            last_ts=row["last_ts"],
            flows=row["flows"],
            evidence=row["evidence"],
            sentence=(
                f"{row['kind'][:1].upper()}{row['kind'][1:]} {row['value']} carried {plural(row['packets'], 'packet')}{copies}, "
                f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}); {why}."
            ),
        )


def _marks(flows: pl.DataFrame) -> pl.DataFrame:
    """Each VLAN, label and tunnel id of each flow: ``row`` of the flow, its ``tap``, ``packets``, ``first_ts``, and ``kind``, ``value``."""
    import polars as pl

    told = ["row", "tap", "packets", "first_ts"]
    kinds = (("VLAN", "vlan"), ("VLAN", "vlan_inner"), ("tunnel id", "tunnel_id"))
    rows = flows.with_row_index("row")
    marks = [
        rows.select(*told, kind=pl.lit(kind), value=pl.col(name).cast(pl.Int64)).drop_nulls("value")
        for kind, name in kinds
    ]
    labels = rows.select(*told, kind=pl.lit("MPLS label"), value="mpls").filter(
        pl.col("value").list.len() > 0
    )
    return pl.concat([*marks, labels.explode("value").cast({"value": pl.Int64})])


def _copies(seen: Observed) -> pl.DataFrame:
    """The frames that are known to be copies."""
    import polars as pl

    frames = [
        (frame.tap, frame.frame)
        for claim in seen.claims
        if claim.detector in _COPIES
        for frame in claim.evidence
        if claim.detector == "A5.vlan-copy" or frame.role in {"copy", "redirected"}
    ]
    return pl.DataFrame(frames, schema={"tap": pl.String, "frame": pl.UInt64}, orient="row")
