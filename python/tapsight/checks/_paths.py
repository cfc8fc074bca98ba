"""How the paths to remote prefixes changed: in hops (B2), in round-trip time (B3), and by who brings their packets (B4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._text import address_text
from tapsight.checks._talks import SYN, talks
from tapsight.claims import Frame

MAPPED = b"\0" * 10 + b"\xff\xff"
"""What IPv4 addresses begin with (RFC 4291, section 2.5.5.2)."""

NO_PATH = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "fe80::/10", "ff00::/8", "::/127")
"""Addresses that are on the link, or no host's."""

INITIAL = (32, 64, 128, 255)
"""TTLs that hosts begin with; those between are taken for the next (Jin, Wang, Shin: Hop-Count Filtering, CCS 2003)."""

MAX_HOPS = 30
"""More are not seen on the internet (the same), so they are tools that choose their TTL."""

HOPS = 2
"""A path of equal cost may differ by one."""

HOSTS = 3
PACKETS = 50
"""What a change has to show, as the catalogue of detectors proposes it."""

TOGETHER = 60_000_000_000
"""Changes this near to each other are one, in nanoseconds."""

SETTLED = 1_000_000_000
"""So long after another device began to bring a host's packets, the one before may still do so, in nanoseconds."""

CONNECTIONS = 10
"""Handshakes on either side of a step."""

STEP = 10_000_000
"""The smallest step in round-trip time, in nanoseconds."""

DEVIATIONS = 5
"""Median absolute deviations that a step has to exceed."""

RETRANSMITTED = 1_000_000_000
"""From here on SYN may have been sent again (RFC 6298, section 2), in nanoseconds."""

CHANCE = 0.001
"""How unlikely it has to be that a second next hop was there before, and not seen."""

VIRTUAL = (
    bytes.fromhex("00005e0001"),
    bytes.fromhex("00005e0002"),
    bytes.fromhex("00000c07ac"),
    bytes.fromhex("0007b4"),
)
"""MACs that routers share, by their beginnings: VRRP (RFC 9568, section 7.3), HSRP, GLBP; and 00:00:0c:9f:f… of HSRP version 2."""

MOST = 256
"""Changes that are looked into, so that a capture made to have many takes no hours."""

_EVIDENCE = 16
_NO_VLAN = 0xFFFF


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """Something about the packets from a prefix was other from a time on."""

    tap: str
    prefix: bytes
    """The bytes that all of its addresses begin with: 15 are a /24 of IPv4, 6 a /48 of IPv6."""
    ts: int
    """When, nanoseconds UTC."""
    before: int | bytes
    """Hops, nanoseconds or MAC."""
    after: int | bytes
    packets: int
    """Packets, or handshakes, since."""
    hosts: int
    last_ts: int
    flows: int
    evidence: tuple[Frame, ...]
    vlan: int | None = None

    @property
    def prefix_text(self) -> str:
        """The prefix as people write it."""
        return prefix_text(self.prefix)

    @property
    def row(self) -> dict[str, Any]:
        """What a finding about it is made of: see :meth:`tapsight.checks._base.Check.finding`."""
        names = ("packets", "flows", "last_ts", "evidence")
        return {"first_ts": self.ts, **{name: getattr(self, name) for name in names}}

    def together(self, others: Iterable[Change]) -> Change | None:
        """One of the others that is of the same prefix at the same time, on whatever tap."""
        near = (
            other for other in others if other.prefix == self.prefix and abs(other.ts - self.ts) <= TOGETHER
        )
        return min(near, key=lambda other: abs(other.ts - self.ts), default=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """What changed, and how many packets or handshakes there were to tell it by."""

    all: tuple[Change, ...]
    in_scope: int
    judged: int

    @property
    def note(self) -> str | None:
        """What to say if there were more than are kept."""
        return f"only the first {MOST} changes were looked into" if len(self.all) >= MOST else None


def remote(flows: pl.DataFrame) -> pl.DataFrame:
    """The flows between hosts outside of tunnels, with the ``prefix`` of their source, and without what no change is told by."""
    bare = flows.filter(pl.col("encap").is_null()).select(_REMOTE)
    return between_hosts(bare).with_columns(prefix=prefix_of("src"))


_REMOTE = (
    *("tap", "vlan", "eth_src", "src", "dst", "src_port", "dst_port", "protocol", "flow_id", "app", "basis"),
    *("tcp_flags", "first_ttl", "last_ttl", "packets", "first_ts", "last_ts", "frames"),
)


def between_hosts(flows: pl.DataFrame) -> pl.DataFrame:
    """The flows of which both ends are hosts that need not be on the same link."""
    ends = [flows[name] for name in ("src", "dst")]
    return flows.filter(*(each.is_not_null() & ~inside(each, NO_PATH) for each in ends))


def prefix_of(name: str) -> pl.Expr:
    """The bytes that all addresses of a prefix begin with: 15 of a /24 of IPv4, 6 of a /48 of IPv6."""
    address = pl.col(name).bin
    return pl.when(address.starts_with(MAPPED)).then(address.head(15)).otherwise(address.head(6))


def prefix_text(prefix: bytes) -> str:
    """A prefix of :func:`prefix_of` as people write it."""
    return f"{address_text(prefix.ljust(16, bytes(1)))}/{24 if len(prefix) == 15 else 48}"


# --- B2 ---------------------------------------------------------------------------------------------------------------


def hop_changes(flows: pl.DataFrame) -> Changes:
    """Prefixes of which several hosts became nearer or farther at once, and stayed so."""
    flows = flows.filter(pl.col("first_ttl") > 0).with_row_index("flow")
    # The first and the last packet of a flow tell when which TTL was seen.
    shared = ["tap", "prefix", "src", "flow"]
    both = pl.col("first_ttl") == pl.col("last_ttl")
    first = flows.select(
        *shared,
        ttl="first_ttl",
        first="first_ts",
        last=pl.when(both).then("last_ts").otherwise("first_ts"),
        n="packets",
    )
    last = flows.filter(~both).select(*shared, ttl="last_ttl", first="last_ts", last="last_ts", n="packets")
    seen = pl.concat([first, last])
    ttl = pl.col("ttl").cast(pl.Int64)
    initial = pl.min_horizontal(pl.when(ttl <= first).then(first) for first in INITIAL)
    seen = seen.with_columns(initial=initial)
    seen = seen.with_columns(hops=pl.col("initial") - ttl).filter(pl.col("hops") <= MAX_HOPS)
    host = ["tap", "prefix", "src", "initial"]
    levels = (
        seen.group_by(*host, "hops")
        .agg(pl.col("first").min(), pl.col("last").max(), pl.col("n").sum())
        .sort("first", "hops")
    )
    steps = levels.group_by(host).agg(
        pl.len().alias("levels"),
        *(pl.col(name).first().alias(f"{name}_a") for name in ("hops", "last", "n")),
        *(pl.col(name).last().alias(f"{name}_b") for name in ("hops", "first", "last", "n")),
    )
    # A host that goes to and fro has paths of several lengths, and one with another TTL for some packets is not farther away.
    moved = steps.filter(
        pl.col("levels") == 2,
        pl.col("last_a") <= pl.col("first_b"),
        (pl.col("hops_a") - pl.col("hops_b")).abs() >= HOPS,
    )
    found = moved.group_by("tap", "prefix", "hops_a", "hops_b").agg(
        pl.col("src").n_unique().alias("hosts"),
        pl.col("last_a").max().alias("until"),
        pl.col("first_b").min().alias("ts"),
        pl.col("n_a", "n_b").sum(),
        pl.col("src").alias("sources"),
    )
    # All of them before, all of them after, but for the time in which it happens.
    found = found.filter(
        pl.col("hosts") >= HOSTS,
        pl.col("n_a") >= PACKETS,
        pl.col("n_b") >= PACKETS,
        pl.col("until") <= pl.col("ts") + TOGETHER,
    ).sort("ts", "prefix", "hops_a", "hops_b", "tap")
    found = found.head(MOST)
    seen = seen.join(found, on=["tap", "prefix"], how="semi")
    steps = steps.join(found, on=["tap", "prefix"], how="semi")
    changes = []
    for row in found.to_dicts():
        stayed = steps.filter(
            pl.col("tap") == row["tap"],
            pl.col("prefix") == row["prefix"],
            pl.col("levels") == 1,
            pl.col("hops_b") == row["hops_a"],
            pl.col("first_b") < row["ts"],
            pl.col("last_b") > row["until"] + TOGETHER,
        )
        # Where as many hosts stayed as moved, it is not the path of the prefix.
        if len(stayed) >= row["hosts"]:
            continue
        mine = seen.filter(
            pl.col("tap") == row["tap"],
            pl.col("prefix") == row["prefix"],
            pl.col("hops") == row["hops_b"],
            pl.col("src").is_in(pl.Series(row["sources"], dtype=pl.Binary).implode()),
        ).join(flows.select("flow", "flow_id", "frames"), on="flow", maintain_order="left")
        changes.append(
            Change(
                row["tap"],
                row["prefix"],
                row["ts"],
                row["hops_a"],
                row["hops_b"],
                row["n_b"],
                row["hosts"],
                mine["last"].max(),  # type: ignore[arg-type]
                mine["flow_id"].n_unique(),
                _frames(mine, "first"),
            )
        )
    prefixes = levels.group_by("tap", "prefix").agg(
        pl.col("n").sum(), pl.col("src").n_unique().alias("hosts")
    )
    enough = prefixes.filter(pl.col("n") >= 2 * PACKETS, pl.col("hosts") >= HOSTS)
    return Changes(tuple(changes), int(prefixes["n"].sum()), int(enough["n"].sum()))


# --- B4 ---------------------------------------------------------------------------------------------------------------


def owner_changes(flows: pl.DataFrame) -> Changes:
    """Prefixes of which several hosts' packets were brought by another device from a time on."""
    # No VLAN is one, too.
    flows = flows.filter(pl.col("eth_src").is_not_null()).with_columns(pl.col("vlan").fill_null(_NO_VLAN))
    link = ["tap", "vlan", "prefix"]
    hosts = flows.group_by(*link, "src", "eth_src").agg(
        pl.col("first_ts").min(), pl.col("last_ts").max(), pl.col("packets").sum()
    )
    owners = hosts.group_by(*link, "eth_src").agg(
        pl.col("first_ts").min(), pl.col("last_ts").max(), pl.col("packets").sum(), pl.len().alias("hosts")
    )
    totals = owners.group_by(link).agg(
        pl.col("packets").sum().alias("total"), pl.col("hosts").max().alias("most"), pl.len().alias("owners")
    )
    # A device that brings the packets of one host only is that host, or as good as.
    judged = totals.filter(pl.col("most") >= HOSTS, pl.col("total") >= 2 * PACKETS)
    counts = int(totals["total"].sum()), int(judged["total"].sum())
    several = owners.filter(pl.col("hosts") >= HOSTS, pl.col("packets") >= PACKETS, ~_is_virtual("eth_src"))
    several = several.join(judged.filter(pl.col("owners") > 1), on=link)
    pairs = several.join(several, on=link, suffix="_b").filter(
        pl.col("first_ts_b") > pl.col("first_ts"), pl.col("packets_b") > 0.01 * pl.col("total")
    )
    if pairs.is_empty():
        return Changes((), *counts)
    # Those whose hosts moved from the one to the other.
    ours = hosts.join(pairs, on=link, how="semi")
    moves = ours.join(ours, on=[*link, "src"], suffix="_b").filter(pl.col("first_ts") < pl.col("first_ts_b"))
    # A tap that sees both sides of a router sees two devices bring them all the time.
    stopped = pl.col("last_ts") <= pl.col("first_ts_b") + SETTLED
    went_on = pl.col("last_ts_b") > pl.col("last_ts") + SETTLED
    moves = moves.filter(stopped, went_on)
    both = [*link, "eth_src", "eth_src_b"]
    pairs = pairs.join(moves.group_by(both).agg(pl.len().alias("moved")), on=both)
    # Two next hops that share the load would both have been seen soon: how likely is it that the second was not, so far?
    flows = flows.join(pairs, on=link, how="semi")
    starts = flows.group_by(*link, "flow_id").agg(pl.col("first_ts").min()).sort("first_ts")
    starts = starts.with_columns(n=pl.int_range(1, pl.len() + 1).over(link), all=pl.len().over(link))
    brought = flows.group_by(*link, "eth_src").agg(pl.col("flow_id").n_unique().alias("flows_b"))
    pairs = pairs.join(brought, left_on=[*link, "eth_src_b"], right_on=[*link, "eth_src"])
    pairs = pairs.sort("first_ts_b").join_asof(
        starts.select(*link, "n", "all", at="first_ts"),
        left_on="first_ts_b",
        right_on="at",
        by=link,
        allow_exact_matches=False,
        check_sortedness=False,
    )
    share = (pl.col("flows_b") / (pl.col("all") - pl.col("n")).clip(1)).clip(0, 1)
    pairs = pairs.filter(pl.col("moved") >= HOSTS, (1 - share).pow(pl.col("n")) <= CHANCE)
    pairs = pairs.sort("first_ts_b", "prefix", "tap", "eth_src", "eth_src_b").head(MOST)
    flows = flows.join(pairs, on=link, how="semi")
    changes = []
    for row in pairs.to_dicts():
        mine = flows.filter(
            *(pl.col(name) == pl.lit(row[name]) for name in link),
            pl.col("eth_src") == pl.lit(row["eth_src_b"]),
        )
        changes.append(
            Change(
                row["tap"],
                row["prefix"],
                row["first_ts_b"],
                row["eth_src"],
                row["eth_src_b"],
                row["packets_b"],
                row["hosts_b"],
                row["last_ts_b"],
                row["flows_b"],
                _frames(mine, "first_ts"),
                row["vlan"] if row["vlan"] != _NO_VLAN else None,
            )
        )
    return Changes(tuple(changes), *counts)


def moved_at_once(
    flows: pl.DataFrame, changes: Iterable[Change]
) -> dict[tuple[str, int | None], tuple[Change, ...]]:
    """Links on which all that one device brought is brought by another since: what maintenance looks like."""
    by_link: dict[tuple[str, int | None], list[Change]] = {}
    for change in changes:
        by_link.setdefault((change.tap, change.vlan), []).append(change)
    whole = {}
    for (tap, vlan), mine in by_link.items():
        first = mine[0]
        same = [each for each in mine if (each.before, each.after) == (first.before, first.after)]
        if len(same) < 2 or max(each.ts for each in same) - first.ts > TOGETHER:
            continue
        brought = flows.filter(
            pl.col("tap") == tap, pl.col("vlan").eq_missing(vlan), pl.col("eth_src") == pl.lit(first.before)
        )
        if brought["last_ts"].max() <= first.ts + TOGETHER:  # type: ignore[operator]
            whole[tap, vlan] = tuple(same)
    return whole


def _is_virtual(name: str) -> pl.Expr:
    mac = pl.col(name)
    hsrp2 = mac.bin.starts_with(bytes.fromhex("00000c9f")) & (mac.bin.slice(4, 1) >= pl.lit(b"\xf0"))
    return pl.any_horizontal(*(mac.bin.starts_with(start) for start in VIRTUAL), hsrp2)


# --- B3 ---------------------------------------------------------------------------------------------------------------


def handshakes(flows: pl.DataFrame) -> pl.DataFrame:
    """The talks over TCP of which SYN and its answer were seen, and SYN only once, as far as ``rtt`` tells."""
    found = talks(flows.filter(pl.col("protocol") == 6, (pl.col("tcp_flags") & SYN) != 0))
    return found.filter(pl.col("rtt").is_between(0, RETRANSMITTED - 1))


def rtt_changes(flows: pl.DataFrame) -> Changes:
    """Prefixes whose servers took longer to answer SYN from a time on, or less."""
    found = handshakes(flows).with_columns(prefix=prefix_of("server"))
    by = ["tap", "prefix"]
    counted = found.with_columns(pl.len().over(by).alias("all"))
    enough = counted.filter(pl.col("all") >= 2 * CONNECTIONS).sort(*by, "first_ts", maintain_order=True)
    # Where the sum of the distances from the median is farthest from zero is where the step is (CUSUM).
    rtt = pl.col("rtt").cast(pl.Float64)
    place = pl.int_range(pl.len()).over(by)
    sums = enough.with_columns(place=place, sum=(rtt - rtt.mean().over(by)).cum_sum().over(by))
    inner = (pl.col("place") >= CONNECTIONS - 1) & (pl.col("place") < pl.col("all") - CONNECTIONS)
    sums = sums.with_columns(far=pl.when(inner).then(pl.col("sum").abs()))
    sums = sums.with_columns(
        at=pl.when(pl.col("far") == pl.col("far").max().over(by)).then("place").min().over(by)
    )
    sides = sums.with_columns(late=pl.col("place") > pl.col("at"))
    # Servers that were asked on one side only may be elsewhere: another server is no longer way.
    sides = sides.filter(
        pl.col("late").any().over(*by, "server"), (~pl.col("late")).any().over(*by, "server")
    )
    middle = rtt.median().over(*by, "late")
    sides = sides.with_columns(middle=middle, off=(rtt - middle).abs())
    summed = sides.group_by(*by, "late").agg(
        pl.col("middle").first(),
        pl.col("off").median(),
        rtt.quantile(0.25).alias("low"),
        rtt.quantile(0.75).alias("high"),
        pl.col("first_ts").min(),
        pl.col("last_ts").max(),
        pl.len().alias("n"),
        pl.col("server").n_unique().alias("hosts"),
    )
    early, late = summed.filter(~pl.col("late")), summed.filter("late")
    steps = early.join(late, on=by, suffix="_b").with_columns(
        step=(pl.col("middle_b") - pl.col("middle")).abs()
    )
    # Three quarters of the one side and of the other lie apart by half of the step at least: a busy server is no longer way.
    gap = pl.max_horizontal(pl.col("low_b") - pl.col("high"), pl.col("low") - pl.col("high_b"))
    apart = gap > pl.col("step") / 2
    steps = steps.filter(pl.min_horizontal("n", "n_b") >= CONNECTIONS)
    steps = steps.filter(pl.col("step") > STEP, pl.col("step") > DEVIATIONS * pl.col("off"), apart)
    steps = steps.sort("first_ts_b", "prefix", "tap").head(MOST)
    sides = sides.join(steps, on=by, how="semi")
    changes = []
    for row in steps.to_dicts():
        mine = sides.filter(pl.col("tap") == row["tap"], pl.col("prefix") == row["prefix"], pl.col("late"))
        changes.append(
            Change(
                row["tap"],
                row["prefix"],
                row["first_ts_b"],
                round(row["middle"]),
                round(row["middle_b"]),
                row["n_b"],
                row["hosts_b"],
                row["last_ts_b"],
                mine["flow_id"].n_unique(),
                _frames(mine, "first_ts"),
            )
        )
    return Changes(tuple(changes), len(found), len(enough))


def _frames(rows: pl.DataFrame, by: str) -> tuple[Frame, ...]:
    """The first frames of rows that have ``tap`` and ``frames``."""
    first = rows.sort(by, maintain_order=True).select("tap", "frames").head(_EVIDENCE)
    frames = {(row["tap"], number) for row in first.to_dicts() for number in row["frames"] or ()}
    return tuple(Frame(tap, number, "offending") for tap, number in sorted(frames)[:_EVIDENCE])
