"""Flows → talks: who asked whom, for checks that judge clients and servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from tapsight._text import address_text, listing
from tapsight.checks._base import EVIDENCE, with_evidence

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
"""TCP flags (RFC 9293, section 3.1)."""

PORTED = {6: "tcp", 17: "udp", 132: "sctp"}
"""Protocols with ports (IANA, Assigned Internet Protocol Numbers)."""


def talks(flows: pl.DataFrame) -> pl.DataFrame:
    """Conversations over TCP, UDP and SCTP, one row each and tap: ``client``, ``server``, their ports, and what they said.

    Of TCP, the client is whose SYN came first. Where none was seen, or only one direction, the server is the side whose port is below 1024 if
    just one is; else, but for TCP, the client is who spoke first. Of other TCP conversations, ``known`` is false.

    ``rtt`` is the time from SYN to its answer in nanoseconds, where both were seen. ``answered`` tells whether the server sent anything but resets. ``app`` is the label by signature or behaviour if there is one
    (``is_proven``), else by port.
    """
    # Each conversation has a lower and an upper end, and each row goes up or down: plain minima and maxima then tell all.
    flags = pl.col("tcp_flags").fill_null(0)
    up = (pl.col("src") < pl.col("dst")) | (
        (pl.col("src") == pl.col("dst")) & (pl.col("src_port") <= pl.col("dst_port"))
    )
    rows = flows.filter(
        pl.col("protocol").is_in(list(PORTED)),
        *(pl.col(name).is_not_null() for name in ("flow_id", "src", "dst", "src_port", "dst_port")),
    ).with_columns(
        up=up,
        syn=pl.when((flags & SYN) != 0).then("first_ts"),
        bare=(flags & (SYN | ACK)) == SYN,
        spoke=((flags & RST) == 0) | ((flags & ~(RST | ACK) & 0xFFFF) != 0),
        proven=pl.when(pl.col("basis") != "port").then("app"),
    )
    rows = rows.with_columns(
        low=pl.when("up").then("src").otherwise("dst"),
        low_port=pl.when("up").then("src_port").otherwise("dst_port"),
        high=pl.when("up").then("dst").otherwise("src"),
        high_port=pl.when("up").then("dst_port").otherwise("src_port"),
    )
    told = ("syn", "first_ts", "bare", "spoke")
    rows = rows.with_columns(
        *(pl.when("up").then(name).alias(f"{name}_up") for name in told),
        *(pl.when(~pl.col("up")).then(name).alias(f"{name}_down") for name in told),
    )
    found = rows.group_by("tap", "flow_id", maintain_order=True).agg(
        pl.col("protocol", "low", "low_port", "high", "high_port", "frames").first(),
        pl.col("syn_up", "syn_down", "first_ts_up", "first_ts_down", "first_ts").min(),
        pl.col("bare_up", "bare_down", "spoke_up", "spoke_down", "proven", "app", "last_ts").max(),
        pl.col("packets").sum(),
    )
    far = pl.lit(_FAR)
    both = pl.col("first_ts_up").is_not_null() & pl.col("first_ts_down").is_not_null()
    up_first = pl.col("syn_up").fill_null(far) <= pl.col("syn_down").fill_null(far)
    bare = pl.when(up_first).then("bare_up").otherwise("bare_down").fill_null(value=False)
    has_syn = pl.col("syn_up").is_not_null() | pl.col("syn_down").is_not_null()
    began = (pl.col("protocol") == 6) & has_syn & (both | bare)
    one_low = (pl.col("low_port") < 1024) != (pl.col("high_port") < 1024)
    spoke_up_first = pl.col("first_ts_up").fill_null(far) <= pl.col("first_ts_down").fill_null(far)
    upward = (
        pl.when(began).then(up_first).when(one_low).then(pl.col("high_port") < 1024).otherwise(spoke_up_first)
    )

    syns = pl.col("syn_up"), pl.col("syn_down")

    def side(here: str, other: str) -> pl.Expr:
        return pl.when(upward).then(here).otherwise(other)

    return found.select(
        "tap",
        "flow_id",
        "protocol",
        "packets",
        "first_ts",
        "last_ts",
        "frames",
        app=pl.coalesce("proven", "app"),
        is_proven=pl.col("proven").is_not_null(),
        client=side("low", "high"),
        server=side("high", "low"),
        client_port=side("low_port", "high_port"),
        server_port=side("high_port", "low_port"),
        rtt=pl.when(began).then(pl.when(upward).then(syns[1] - syns[0]).otherwise(syns[0] - syns[1])),
        answered=side("spoke_down", "spoke_up").fill_null(value=False),
        known=began | one_low | (pl.col("protocol") != 6),
    )


_FAR = 2**63 - 1


def conversations(flows: pl.DataFrame) -> pl.DataFrame:
    """The :func:`talks` that took place, with the columns of the table ``conversations``: the server answered, or what was said tells what it is.

    What was only tried, as scanners do, is none.
    """
    found = talks(flows)
    # Over TCP nobody says anything before the other side has answered.
    answered = pl.col("answered") | (pl.col("is_proven") & (pl.col("protocol") == 6))
    took_place = found.filter(pl.col("answered") | pl.col("is_proven") | ~pl.col("known"))
    told = ("client", "server", "client_port", "server_port")
    return took_place.with_columns(
        src="client",
        dst="server",
        src_port="client_port",
        dst_port="server_port",
        basis=pl.when("is_proven")
        .then(pl.lit("signature"))
        .when(pl.col("app").is_not_null())
        .then(pl.lit("port")),
        answered=pl.when(answered).then(statement=True),
        **{name: pl.when("known").then(name) for name in told},
    ).drop("known", "is_proven", "rtt")


def summed(found: pl.DataFrame, by: Sequence[str]) -> list[dict[str, Any]]:
    """Talks summed up by these columns, most packets first: what one finding is about.

    Rows have ``packets``, ``flows``, ``first_ts``, ``last_ts``, ``taps``, ``services``, ``evidence``, and ``clients`` or ``servers`` where
    those are several.
    """
    others = [name for name in ("client", "server") if name not in by]
    grouped = found.group_by(by, maintain_order=True).agg(
        pl.col("packets").sum(),
        pl.col("flow_id").n_unique().alias("flows"),
        pl.col("first_ts").min(),
        pl.col("last_ts").max(),
        *(pl.col(name).unique(maintain_order=True).head(EVIDENCE).alias(f"{name}s") for name in others),
        pl.struct("server_port", "protocol").unique(maintain_order=True).head(EVIDENCE).alias("services"),
        pl.col("tap").unique().sort().alias("taps"),
        pl.struct("tap", "frames").head(EVIDENCE).alias("evidence"),
    )
    return with_evidence(grouped)


def services(row: dict[str, Any]) -> str:
    """The ports of a row of :func:`summed` as people write them: ``tcp/22``."""
    return listing([f"{PORTED[each['protocol']]}/{each['server_port']}" for each in row["services"]])


def to_many() -> pl.Expr:
    """Whether frames go to a group or to all, which is no next hop: the lowest bit of the first byte (IEEE 802, section 8.2)."""
    first = pl.col("eth_dst").bin.encode("hex").str.slice(1, 1)
    return first.is_in(list("13579bdf")).fill_null(value=False)


def end(address: bytes | None) -> str:
    """An address, or that there is none."""
    return address_text(address) if address is not None else "an unknown address"
