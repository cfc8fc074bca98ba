"""Flows → talks: who asked whom, for checks that judge clients and servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl

from tapsight._text import address_text, listing
from tapsight.checks._base import EVIDENCE, with_evidence

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
"""TCP flags (RFC 9293, section 3.1)."""

SERVICES = {
    6: (1812, 1813, 2049, 2083, 3868, 4786, 5868, 6514),
    17: (1645, 1646, 1812, 1813, 2049, 2083, 3799, 6514),
    132: (3868, 5868),
}
"""Ports of servers above those that only servers use: RADIUS (RFC 2865, RFC 2866, RFC 6613, RFC 6614, RFC 7360, and 1645 and 1646 that came before),
its orders to devices (RFC 5176), NFS (RFC 7530), Diameter (RFC 6733), Smart Install, syslog over TLS and DTLS (RFC 5425, RFC 6012)."""

TFTP = 69
"""Port to which a transfer by TFTP is asked for; the server sends from another (RFC 1350, section 4)."""

PORTED = {6: "tcp", 17: "udp", 132: "sctp"}
"""Protocols with ports (IANA, Assigned Internet Protocol Numbers)."""


def talks(flows: pl.DataFrame, begun: pl.DataFrame | None = None) -> pl.DataFrame:
    """Conversations over TCP, UDP and SCTP, one row each and tap: ``client``, ``server``, their ports, and what they said.

    Of TCP, the client is whose SYN came first, and who answers with SYN and ACK is the server: then ``handshake`` is true. Of a conversation of which
    only one side has SYN, flags do not tell which of the two it was, unless that side sent nothing else; ``begun``, see :func:`begun`, does.
    Else the server is the side whose port is that of a service (below 1024, or in :data:`SERVICES`) if just one is; else, but for TCP, the
    client is who spoke first. Of other TCP conversations, ``known`` is false.

    ``rtt`` is the time from SYN to its answer in nanoseconds, where both were seen. ``answered`` tells whether the server sent anything but resets,
    or was told in one direction of TCP that it had. ``both_ways`` tells whether both directions were seen. ``app`` is the label by signature or
    behaviour if there is one (``is_proven``), else by port. ``asked_port`` is the server's port; of a transfer by TFTP the one where it was asked for.
    """
    found = _ends(flows)
    if begun is not None:
        found = found.join(begun, on=["tap", *_PAIR], how="left", maintain_order="left")
    else:
        found = found.with_columns(told=pl.lit(None, pl.Boolean))
    told = pl.when(pl.col("protocol") == 6).then("told")
    began = _BY_FLAGS | told.is_not_null()
    one_serves = _serves("low_port") != _serves("high_port")
    far = pl.lit(_FAR)
    spoke_up_first = pl.col("first_ts_up").fill_null(far) <= pl.col("first_ts_down").fill_null(far)
    upward = (
        pl.when(_BY_FLAGS)
        .then(_UP_FIRST)
        .when(told.is_not_null())
        .then(told)
        .when(one_serves)
        .then(_serves("high_port"))
        .otherwise(spoke_up_first)
    )
    syns = pl.col("syn_up"), pl.col("syn_down")

    def side(here: str, other: str) -> pl.Expr:
        return pl.when(upward).then(here).otherwise(other)

    acked = (began | one_serves) & ~_BOTH & side("acked_up", "acked_down").fill_null(value=False)
    return _with_transfers(
        found.select(
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
            asked_port=side("high_port", "low_port"),
            rtt=pl.when(_BY_FLAGS).then(pl.when(upward).then(syns[1] - syns[0]).otherwise(syns[0] - syns[1])),
            answered=side("spoke_down", "spoke_up").fill_null(value=False) | acked,
            client_spoke=side("spoke_up", "spoke_down").fill_null(value=False),
            both_ways=_BOTH,
            handshake=began,
            known=began | one_serves | (pl.col("protocol") != 6),
        )
    )


def begun(flows: pl.DataFrame, segments: Callable[[], Iterable[pl.DataFrame]]) -> pl.DataFrame | None:
    """Who began the TCP conversations of which flags do not tell it: ``told`` is true if the lower end did.

    Args:
        flows: Those that count.
        segments: Gives rows of the table ``tcp``, for which captures are read once more; only called if there are such conversations.
    """
    one = pl.col("syn_up").is_null() != pl.col("syn_down").is_null()
    unsure = _ends(flows).filter(pl.col("protocol") == 6, one, ~_BY_FLAGS).select("tap", *_PAIR).unique()
    if unsure.is_empty():
        return None
    parts = [
        _paired(rows)
        .join(unsure, on=["tap", *_PAIR], how="semi")
        .select("tap", *_PAIR, told=pl.col("up") != pl.col("is_answer"))
        .unique()
        for rows in segments()
    ]
    if not parts:
        return None
    # Whose segments contradict each other, as those that are forged do, says nothing.
    told = pl.concat(parts).unique()
    return told.filter(pl.len().over("tap", *_PAIR) == 1)


_PAIR = ("low", "low_port", "high", "high_port")


def _paired(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a lower and an upper end, and whether each goes up."""
    up = (pl.col("src") < pl.col("dst")) | (
        (pl.col("src") == pl.col("dst")) & (pl.col("src_port") <= pl.col("dst_port"))
    )
    return rows.with_columns(up=up).with_columns(
        low=pl.when("up").then("src").otherwise("dst"),
        low_port=pl.when("up").then("src_port").otherwise("dst_port"),
        high=pl.when("up").then("dst").otherwise("src"),
        high_port=pl.when("up").then("dst_port").otherwise("src_port"),
    )


_READ = (
    *("tap", "src", "dst", "src_port", "dst_port", "protocol", "flow_id", "app", "basis"),
    *("tcp_flags", "packets", "first_ts", "last_ts", "frames"),
)


def _ends(flows: pl.DataFrame) -> pl.DataFrame:
    """Conversations with what was seen of either direction."""
    # Each conversation has a lower and an upper end, and each row goes up or down: plain minima and maxima then tell all.
    flags = pl.col("tcp_flags").fill_null(0)
    rows = (
        flows.select(_READ)
        .filter(
            pl.col("protocol").is_in(list(PORTED)),
            *(pl.col(name).is_not_null() for name in ("flow_id", "src", "dst", "src_port", "dst_port")),
        )
        .with_columns(
            syn=pl.when((flags & SYN) != 0).then("first_ts"),
            bare=(flags & (SYN | ACK)) == SYN,
            # Nobody sends data after SYN before the other side has answered it.
            acked=(flags & (SYN | ACK | PSH)) == SYN | ACK | PSH,
            spoke=((flags & RST) == 0) | ((flags & ~(RST | ACK) & 0xFFFF) != 0),
            proven=pl.when(pl.col("basis") != "port").then("app"),
        )
    )
    rows = _paired(rows)
    told = ("syn", "first_ts", "bare", "acked", "spoke")
    rows = rows.with_columns(
        *(pl.when("up").then(name).alias(f"{name}_up") for name in told),
        *(pl.when(~pl.col("up")).then(name).alias(f"{name}_down") for name in told),
    )
    sides = ("bare", "acked", "spoke")
    return rows.group_by("tap", "flow_id", maintain_order=True).agg(
        pl.col("protocol", *_PAIR, "frames").first(),
        pl.col("syn_up", "syn_down", "first_ts_up", "first_ts_down", "first_ts").min(),
        pl.col(*(f"{name}_{way}" for name in sides for way in ("up", "down"))).max(),
        pl.col("proven", "app", "last_ts").max(),
        pl.col("packets").sum(),
    )


_FAR = 2**63 - 1

_BOTH = pl.col("first_ts_up").is_not_null() & pl.col("first_ts_down").is_not_null()
_UP_FIRST = pl.col("syn_up").fill_null(_FAR) <= pl.col("syn_down").fill_null(_FAR)
_BY_FLAGS = (pl.col("protocol") == 6) & (
    (pl.col("syn_up").is_not_null() & pl.col("syn_down").is_not_null())
    | pl.col("bare_up").fill_null(value=False)
    | pl.col("bare_down").fill_null(value=False)
)
"""That flags tell who began: either side has SYN, or one has nothing but SYN."""


def _serves(port: str) -> pl.Expr:
    """That a port is one of services."""
    column = pl.col(port)
    return (column < 1024) | pl.any_horizontal(
        (pl.col("protocol") == protocol) & column.is_in(list(ports)) for protocol, ports in SERVICES.items()
    )


def _with_transfers(found: pl.DataFrame) -> pl.DataFrame:
    """Talks of which those that carry what was asked for by TFTP belong to whom asked.

    The server sends from a port of its own choice (RFC 1350, section 4): only the client's port tells that it is an answer.
    """
    requests = found.filter(pl.col("protocol") == 17, pl.col("server_port") == TFTP)
    if requests.is_empty():
        return found.drop("client_spoke")
    asked = requests.select("tap", "client", "client_port", "server", proven="is_proven").unique(
        ["tap", "client", "client_port", "server"]
    )
    likely = (pl.col("protocol") == 17) & (pl.col("asked_port") != TFTP)
    keys = ["tap", "client", "client_port", "server"]
    turned = {
        "client": "server",
        "server": "client",
        "client_port": "server_port",
        "server_port": "client_port",
        "answered": "client_spoke",
        "client_spoke": "answered",
    }
    for names in ({}, turned):
        seen = found.with_columns(**{name: pl.col(other) for name, other in names.items()})
        seen = seen.join(asked, on=keys, how="left", maintain_order="left")
        is_one = likely & seen["proven"].is_not_null()
        found = seen.with_columns(
            **{name: pl.when(is_one).then(name).otherwise(found[name]) for name in names},
            app=pl.when(is_one).then(pl.coalesce("app", pl.lit("tftp"))).otherwise("app"),
            is_proven=pl.when(is_one).then(pl.col("is_proven") | pl.col("proven")).otherwise("is_proven"),
            asked_port=pl.when(is_one).then(pl.lit(TFTP, pl.UInt16)).otherwise("asked_port"),
        ).drop("proven")
    is_transfer = (pl.col("asked_port") == TFTP) & (pl.col("server_port") != TFTP) & pl.col("answered")
    served = found.filter(is_transfer).select(*keys, served=pl.lit(value=True)).unique()
    found = found.join(served, on=keys, how="left", maintain_order="left")
    is_request = (pl.col("protocol") == 17) & (pl.col("server_port") == TFTP)
    return found.with_columns(
        answered=pl.col("answered") | (is_request & pl.col("served").fill_null(value=False))
    ).drop("served", "client_spoke")


def conversations(flows: pl.DataFrame, begun: pl.DataFrame | None = None) -> pl.DataFrame:
    """The :func:`talks` that took place, with the columns of the table ``conversations``: the server answered, or what was said tells what it is.

    What was only tried, as scanners do, is none. What nobody answered but tells what it is, is one that was not answered if the tap shows both
    directions of other conversations of that server; else nobody knows.
    """
    found = talks(flows, begun)
    # Over TCP nobody says anything before the other side has answered.
    answered = pl.col("answered") | (pl.col("is_proven") & (pl.col("protocol") == 6))
    took_place = found.filter(pl.col("answered") | pl.col("is_proven") | ~pl.col("known"))
    both_ways = found.filter("both_ways")
    heard = pl.concat([both_ways.select("tap", server=name) for name in ("client", "server")]).unique()
    took_place = took_place.join(
        heard.with_columns(is_heard=pl.lit(value=True)),
        on=["tap", "server"],
        how="left",
        maintain_order="left",
    )
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
        answered=pl.when(answered).then(statement=True).when("is_heard").then(statement=False),
        handshake=pl.when("handshake").then(statement=True),
        **{name: pl.when("known").then(name) for name in told},
    ).drop("known", "is_proven", "is_heard", "rtt", "asked_port", "both_ways")


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
