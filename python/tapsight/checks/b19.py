"""B19: no detour of national traffic over another country."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
from pydantic import Field

from tapsight._options import Options, Severity
from tapsight._text import begin, duration, listing, plural, span_text
from tapsight.checks._base import (
    EVIDENCE,
    TUNNEL,
    Check,
    Judgement,
    Observed,
    Scope,
    outside_of,
    packets,
    with_evidence,
)
from tapsight.checks._borders import Borders, countries_text, end_text, source_text, zones_text
from tapsight.checks._paths import CONNECTIONS, MOST, TOGETHER, Change, handshakes, prefix_of, prefix_text
from tapsight.checks._talks import SYN
from tapsight.checks.b3 import NANOSECONDS_A_KILOMETRE
from tapsight.checks.i6 import is_session
from tapsight.claims import Tunnel
from tapsight.findings import Finding

MAX_RTT_MS = 100.0
"""Round trips within a country take less, unless the policy says otherwise; the class says why."""

STEADY = 10_000_000_000
"""So long all round trips have to be that slow, in nanoseconds: queues empty sooner."""

SATELLITE = 477_000_000
"""Up to a geostationary satellite (35,786 km) and down again, there and back, at the speed of light: no answer is sooner, in nanoseconds."""

PERSISTENT = 72 * 3600 * 1_000_000_000
"""What lasts longer is no passing detour (arXiv 1606.05047), in nanoseconds."""

_GROUP = ["low", "high", "abroad"]

_Span = tuple[int, int]
"""From when until when, in nanoseconds UTC."""


class B19Options(Options):
    """What a policy may say under [checks.B19]."""

    max_rtt_ms: Annotated[float, Field(gt=0, lt=1000, allow_inf_nan=False)] = MAX_RTT_MS
    """What a round trip within the country takes at most, from a tap to a server and back, in milliseconds."""


class B19(Check[B19Options]):
    """What is sent from one place in the country to another takes no way through another country.

    What it looks for:
        Traffic of which both ends are in the countries of ``home``, under [network], pair by pair of prefixes (/24 of IPv4, /48 of IPv6), with
        signs that it was abroad in between:

        - It was in a tunnel of which an end is in another country.
        - It was on a link (by its MAC addresses, labels, VLANs or tap) of a zone that is in another ``country``.
        - Servers took longer to answer SYN than ``max_rtt_ms``: ten times in a row, over 10 s and more, not once sooner, so that it is no
          queue that somebody waits in. Conversations that were seen abroad and others are told apart.

        What ``allow`` under [checks.I1] lists is not reported.

    Why it matters:
        Abroad, others may listen, by other laws. Most detours are the sensible routing of carriers that serve several countries, and nine of ten
        pass within 72 hours; some are made.

    How long is too long:
        Light in fibre goes 100 km there and back in a millisecond. The default of 100 ms is that of 2,500 km (25 ms), which few countries are across,
        twice, as cables do not run straight, and as much again for access networks and for hosts. It accuses few, and misses detours to
        near countries. Better is what the farthest pair of prefixes takes on a good day: the least ``rtt_dst_ns`` of ``tapsight flows``. Else take
        d/50 ms where the farthest places are d km apart, and what the slowest access network adds; a larger country needs more
        than the default.

    Severity:
        High if two signs agree, as they do not depend on each other. Low for one: where an address was registered is not where it is, and slow
        access takes long, too. Changed hop counts, round trips and next hops at the same time (B2, B3, B4) are told, and prove
        nothing abroad.

    Guards:
        Addresses under ``anycast`` in [network] have no country. Answers that never come within 477 ms are those of a satellite.
        Copies of national traffic (A1, A2) that are led abroad are no detour; I1 reports them.

    What to do:
        Trace the route between the prefixes, and ask who routes it so.

    What it cannot see:
        Detours outside of tunnels, behind links of no zone, and shorter than ``max_rtt_ms``, or by satellite; the way between client and tap. By
        which networks packets went. Of traffic without
        any of these signs nothing is known, and it counts as not judged; so do addresses without a country. How long a detour lasted is known
        as far as captures go, which are usually shorter than 72 hours.

    Source: Shah, Fontugne, Papadopoulos: Towards Characterizing International Routing Detours (arXiv 1606.05047); ATT&CK T1557
    (Adversary-in-the-Middle).
    """

    id = "B19"
    title = "No detours of national traffic over other countries"
    severity = "high"
    network_needs = ("home",)
    options = B19Options

    def judge(self, seen: Observed, options: B19Options, severity: Severity) -> Judgement:
        """Judges each pair of prefixes by the tunnels, links and round trips of what they send to each other."""
        known = seen.borders
        # A copy that is led abroad is no detour of what was copied.
        copies = {claim.tunnel for claim in seen.claims if is_session(claim)}
        rows = outside_of(known.rows, copies)
        crossing = outside_of(known.crossing, copies)
        asked = _asked(rows, crossing)
        crossing = crossing.filter(~pl.col("agreed"))
        slow = _slow(asked, round(options.max_rtt_ms * 1e6))
        far = slow.filter(pl.col("soonest") < SATELLITE)
        scope = _scope(known, rows, asked)
        count, chosen = _first(crossing, far)
        far = far.join(chosen, on=_GROUP, how="semi", maintain_order="left")
        crossing = crossing.join(
            chosen.filter("abroad"), on=["low", "high"], how="semi", maintain_order="left"
        )
        answers = asked.join(chosen, on=_GROUP, how="semi").group_by(_GROUP)
        floors = answers.agg(floor=pl.col("rtt").min(), asked=pl.len())
        pairs = rows.join(chosen, on=["low", "high"], how="semi").partition_by("low", "high", as_dict=True)
        captured = _captured(seen.flows)
        findings = []
        for row in with_evidence(_ways(_seen_abroad(crossing), far, floors)):
            signs = row["by_tunnel"] + row["by_link"] + row["by_time"]
            story = _story(row, seen, pairs[row["low"], row["high"]], captured, options)
            is_certain = signs > 1 or options.severity is not None
            findings.append(self._finding(row, scope, severity if is_certain else "low", story))
        satellites = len(slow.filter(pl.col("soonest") >= SATELLITE).unique(["low", "high"]))
        notes = [
            known.note,
            f"{plural(satellites, 'pair')} of prefixes as far as a satellite" if satellites else None,
            f"only the first {MOST} pairs of prefixes were looked into" if count > MOST else None,
        ]
        return Judgement(
            scope,
            tuple(findings),
            nothing="no national traffic was seen",
            note="; ".join(filter(None, notes)) or None,
        )

    def _finding(self, row: dict[str, Any], scope: Scope, severity: Severity, sentence: str) -> Finding:
        tunnel = None
        if row["by_tunnel"]:
            example = row["example"]
            tunnel = Tunnel(
                example["encap"], example["outer_src"], example["outer_dst"], example["tunnel_id"]
            )
        return self.finding(
            row,
            scope,
            severity,
            identity=(row["low"], row["high"], row["abroad"]),
            sentence=sentence,
            kind="diversion",
            tunnel=tunnel,
        )


# --- Signs ------------------------------------------------------------------------------------------------------------


def _seen_abroad(rows: pl.DataFrame) -> pl.DataFrame:
    """What was seen on a way abroad, a row a pair of prefixes."""
    by_tunnel, by_link = pl.col("tunnel").list.len() > 0, pl.col("link").list.len() > 0
    example = ["encap", "tunnel_id"]
    example += [f"outer_{end}{what}" for end in ("src", "dst") for what in ("", "_country", "_source")]
    # The way out tells who sends it there, so it comes first.
    outward = pl.col("tunnel").list.contains(pl.col("outer_dst_country")).fill_null(value=False)
    rows = rows.sort(outward, descending=True, maintain_order=True)
    found = rows.group_by("low", "high", maintain_order=True).agg(
        pl.col("packets").sum(),
        pl.col("flow_id").n_unique().alias("flows"),
        pl.col("first_ts").min(),
        pl.col("last_ts").max(),
        by_tunnel=by_tunnel.any(),
        by_link=by_link.any(),
        countries=pl.concat_list("tunnel", "link").explode().drop_nulls().unique().sort(),
        zones=pl.col("zones").explode().drop_nulls().unique().sort(),
        tunnels=pl.struct(TUNNEL).filter(outward).n_unique(),
        example=pl.struct(example).filter(by_tunnel).first(),
        seen_on=pl.col("tap").unique().sort(),
        seen_frames=pl.struct("tap", "frames").head(EVIDENCE),
    )
    return found.with_columns(abroad=pl.lit(value=True))


def _asked(rows: pl.DataFrame, crossing: pl.DataFrame) -> pl.DataFrame:
    """The handshakes of national traffic; ``abroad`` if their packets were seen on a way there, but for those that are agreed."""
    began = crossing.filter((pl.col("tcp_flags") & SYN) != 0)
    by_way = began.group_by("flow_id").agg(pl.col("agreed").any())
    found = handshakes(rows).join(by_way, on="flow_id", how="left", maintain_order="left")
    client, server = prefix_of("client"), prefix_of("server")
    return found.filter(~pl.col("agreed").fill_null(value=False)).with_columns(
        low=pl.min_horizontal(client, server),
        high=pl.max_horizontal(client, server),
        server_prefix=server,
        abroad=pl.col("agreed").is_not_null(),
    )


def _slow(asked: pl.DataFrame, most: int) -> pl.DataFrame:
    """Times in which all answers of a prefix took longer than the most: enough of them, and long enough."""
    by = ["tap", *_GROUP, "server_prefix"]
    in_order = asked.sort(*by, "first_ts", maintain_order=True)
    # Each answer that is soon enough ends a time of late ones.
    soon = pl.col("rtt") <= most
    in_order = in_order.with_columns(
        time=soon.cum_sum().over(by), soon_last=pl.when(soon).then("first_ts").max().over(by)
    ).filter(~soon)
    times = in_order.group_by(*by, "time", maintain_order=True).agg(
        soonest=pl.col("rtt").min(),
        late=pl.len(),
        late_packets=pl.col("packets").sum(),
        late_first=pl.col("first_ts").min(),
        late_last=pl.col("first_ts").max(),
        late_end=pl.col("last_ts").max(),
        late_frames=pl.struct("tap", "frames").head(EVIDENCE),
        soon_last=pl.col("soon_last").first(),
    )
    return times.filter(pl.col("late") >= CONNECTIONS, pl.col("late_last") - pl.col("late_first") >= STEADY)


def _first(crossing: pl.DataFrame, far: pl.DataFrame) -> tuple[int, pl.DataFrame]:
    """How many pairs of prefixes have a sign, and those with most signs and packets."""
    seen = crossing.group_by("low", "high").agg(
        pl.col("packets").sum(),
        by_tunnel=(pl.col("tunnel").list.len() > 0).any(),
        by_link=(pl.col("link").list.len() > 0).any(),
    )
    late = far.group_by(_GROUP).agg(pl.col("late_packets").sum(), by_time=pl.lit(value=True).first())
    pairs = seen.with_columns(abroad=pl.lit(value=True)).join(late, on=_GROUP, how="full", coalesce=True)
    signs = pl.sum_horizontal("by_tunnel", "by_link", "by_time")
    pairs = pairs.with_columns(signs=signs, packets=pl.coalesce("packets", "late_packets"))
    pairs = pairs.sort("signs", "packets", *_GROUP, descending=[True, True, False, False, False])
    return len(pairs), pairs.head(MOST).select(_GROUP)


def _ways(seen_abroad: pl.DataFrame, far: pl.DataFrame, floors: pl.DataFrame) -> pl.DataFrame:
    """All signs by pair of prefixes."""
    # A second tap sees the same answers.
    on_tap = pl.col("late").sum().over(*_GROUP, "tap")
    far = far.with_columns(on_tap=on_tap)
    far = far.group_by(_GROUP, maintain_order=True).agg(
        pl.col("soonest").min(),
        pl.col("on_tap").max().alias("late"),
        pl.col("late_packets").sum(),
        pl.col("late_first").min(),
        pl.col("late_last", "late_end", "soon_last").max(),
        pl.col("server_prefix").unique().sort(),
        late_on=pl.col("tap").unique().sort(),
        late_frames=pl.col("late_frames").explode().head(EVIDENCE),
    )
    ways = seen_abroad.join(far, on=_GROUP, how="full", coalesce=True).join(floors, on=_GROUP, how="left")
    return ways.with_columns(
        by_tunnel=pl.col("by_tunnel").fill_null(value=False),
        by_link=pl.col("by_link").fill_null(value=False),
        by_time=pl.col("late").is_not_null(),
        packets=pl.coalesce("packets", "late_packets"),
        flows=pl.coalesce("flows", "late"),
        first_ts=pl.coalesce("first_ts", "late_first"),
        last_ts=pl.coalesce("last_ts", "late_end"),
        taps=pl.coalesce("seen_on", "late_on"),
        evidence=pl.concat_list(
            pl.col("seen_frames").fill_null(pl.lit([], dtype=far.schema["late_frames"])),
            pl.col("late_frames").fill_null(pl.lit([], dtype=far.schema["late_frames"])),
        ),
    )


def _scope(known: Borders, rows: pl.DataFrame, asked: pl.DataFrame) -> Scope:
    """Traffic is judged by whatever tells something of its way."""
    near = asked.filter(pl.col("rtt") < SATELLITE)
    measured = near.group_by("low", "high").agg(answers=pl.len()).filter(pl.col("answers") >= CONNECTIONS)
    rows = rows.select("low", "high", "flow_id", "packets", "knows_tunnel", "knows_link", "is_abroad")
    rows = rows.join(measured, on=["low", "high"], how="left", maintain_order="left")
    told = pl.any_horizontal("knows_tunnel", "knows_link", "is_abroad", pl.col("answers").is_not_null())
    # What one tap tells of a conversation, it tells of what other taps see of it.
    by_flow = told.any().over("flow_id") & pl.col("flow_id").is_not_null()
    judged = packets(rows.filter(told | by_flow))
    reasons = ["addresses without a country"] if known.unknown else []
    silent = packets(rows) - judged
    reasons += ["national traffic of which nothing shows the way"] if silent else []
    return Scope(known.unknown + packets(rows), judged, "; ".join(reasons) or None)


def _captured(flows: pl.DataFrame) -> dict[str, _Span]:
    """The times of the first and the last packet of each tap."""
    spans = flows.group_by("tap").agg(pl.col("first_ts").min(), pl.col("last_ts").max())
    return {tap: (first, last) for tap, first, last in spans.iter_rows()}


# --- As text ----------------------------------------------------------------------------------------------------------


def _home(pair: pl.DataFrame) -> str:
    """In which country both ends are, and who says so."""
    ends = pl.concat(
        [pair.select(country=f"{end}_country", source=f"{end}_source") for end in ("src", "dst")]
    )
    countries, sources = (ends[name].unique().sort().to_list() for name in ("country", "source"))
    return f"in {listing(countries)} by {listing([source_text(source) for source in sources])}"


def _story(
    row: dict[str, Any], seen: Observed, pair: pl.DataFrame, captured: dict[str, _Span], options: B19Options
) -> str:
    """What is known of a pair of prefixes, whose flows are given, in a few sentences."""
    low, high = prefix_text(row["low"]), prefix_text(row["high"])
    two = row["by_tunnel"] + row["by_link"] + row["by_time"] > 1
    where = f"through {countries_text(row['countries'])}" if row["countries"] else "through another country"
    signs = []
    if row["by_tunnel"]:
        more = f" and {row['tunnels'] - 1:,} more" if row["tunnels"] > 1 else ""
        tunnel = Tunnel(row["example"]["encap"], id=row["example"]["tunnel_id"])
        ends = " and ".join(end_text(row["example"], end) for end in ("outer_src", "outer_dst"))
        signs.append(f"it was in a {tunnel} between {ends}{more}")
    if row["by_link"]:
        signs.append(f"it was on a link of {zones_text(row['zones'])}")
    if row["by_time"]:
        servers = listing([prefix_text(prefix) for prefix in row["server_prefix"]])
        signs.append(
            f"servers of {servers} took {duration(row['soonest'])} at least to answer, {row['late']:,} times, where "
            f"{options.max_rtt_ms:g} ms are the most within the country"
        )
    text = (
        f"Traffic between {low} and {high}, {_home(pair)}, {'went' if two else 'may have gone'} {where}: "
        f"{plural(row['packets'], 'packet')} in {plural(row['flows'], 'conversation')}, {span_text(row['first_ts'], row['last_ts'])} "
        f"(on {listing(row['taps'])}). {begin('; '.join(signs))}."
    )
    if not two:
        text += " This is the only sign, and "
        if row["by_time"]:
            text += "slow access takes long, too."
        elif row["by_link"]:
            text += "a zone may list what is not abroad."
        else:
            text += "an address need not be where it is registered."
            if row["floor"] is not None:
                near = row["floor"] // NANOSECONDS_A_KILOMETRE
                text += f" The first of {row['asked']:,} answers came after {duration(row['floor'])}, from no more than {near:,} km away."
    return f"{text} {_lasted(row, pair, captured)}{_together(row, seen)}"


def _lasted(row: dict[str, Any], pair: pl.DataFrame, captured: dict[str, _Span]) -> str:
    """Whether it passed, or stays."""
    if row["by_tunnel"] or row["by_link"]:
        last = row["last_ts"]
        at_home = pair.filter(~pl.col("is_abroad"))["last_ts"].max()
        passed = at_home is not None and at_home > last + TOGETHER
    else:
        # All that was not seen abroad looks alike, and only handshakes tell the way: how long their conversations go on, does not.
        last = row["late_last"]
        passed = row["soon_last"] is not None and row["soon_last"] > last
    lasted = last - row["first_ts"]
    if lasted > PERSISTENT:
        return f"It is persistent: it lasted {lasted // 3_600_000_000_000:,} hours."
    if passed:
        return "It is transient: afterwards, the traffic went another way."
    spans = [captured[tap] for tap in pair["tap"].unique()]
    start, end = min(first for first, _ in spans), max(until for _, until in spans)
    # That it was last seen some time before the end is never wrong, so the end has to be near: in short captures, less than a minute.
    near = min(TOGETHER, (end - start) // 10)
    before = f"{duration(end - last)} before the end of the captures"
    if last + near >= end:
        told = "It lasted to the end of the captures"
    elif pair["last_ts"].max() <= last + near:
        told = f"It lasted to the last packet of this pair, {before}"
    else:
        told = f"It was last seen {before}, and what was seen of this pair afterwards proves no other way"
    return f"{told}, so whether it is transient (up to 72 hours) or persistent is not known."


def _together(row: dict[str, Any], seen: Observed) -> str:
    """What else changed when it began."""
    told = []
    for what, changes in (
        ("hop counts (B2)", seen.hop_changes),
        ("round-trip times (B3)", seen.rtt_changes),
        ("next hops (B4)", seen.owner_changes),
    ):
        if any(_is_near(change, row) for change in changes.all):
            told.append(what)
    return f" At about the same time its {listing(told)} changed." if told else ""


def _is_near(change: Change, row: dict[str, Any]) -> bool:
    return change.prefix in {row["low"], row["high"]} and abs(change.ts - row["first_ts"]) <= TOGETHER
