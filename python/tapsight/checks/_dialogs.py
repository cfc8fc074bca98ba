"""Calls → what is known of their hosts, for checks that judge who takes part in a call."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence
from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._text import address_text, listing
from tapsight.checks._base import EVIDENCE, Observed, Scope
from tapsight.checks._special import LOCAL, NOWHERE
from tapsight.claims import Frame

CALL = ["tap", "call"]
"""What tells one call from another."""

SIP = ("udp", "tcp", "sctp", "ws")
"""What carries SIP, in which a Call-ID is the same call at all taps."""

SIPS = 5061
"""The port of SIP over TLS (RFC 3261, section 19.1.2)."""


@functools.lru_cache(maxsize=1 << 16)
def packed(host: str | None) -> bytes | None:
    """Host, or host and port, as an address of 16 bytes; none if it is a name."""
    if not host:
        return None
    text = host.partition("]")[0][1:] if host.startswith("[") else host
    if text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        value = ipaddress.ip_address(text)
    except ValueError:
        return None
    if value.version == 4:
        return b"\0" * 10 + b"\xff\xff" + value.packed
    return value.packed


def network(address: bytes | None) -> bytes | None:
    """The /24 of an address of IPv4, the /48 of one of IPv6: what a cluster of a peer is in."""
    if address is None:
        return None
    return address[:15] if address.startswith(b"\0" * 10 + b"\xff\xff") else address[:6]


def addresses(hosts: pl.Series) -> pl.Series:
    """Hosts as addresses, names as null."""
    distinct = hosts.drop_nulls().unique()
    values = [packed(host) for host in distinct]
    return hosts.replace_strict(
        distinct, pl.Series(values, dtype=pl.Binary), default=None, return_dtype=pl.Binary
    )


def networks(column: pl.Series) -> pl.Series:
    """The networks of addresses."""
    distinct = column.drop_nulls().unique()
    values = [network(address) for address in distinct]
    return column.replace_strict(
        distinct, pl.Series(values, dtype=pl.Binary), default=None, return_dtype=pl.Binary
    )


def is_mapped(name: str) -> pl.Expr:
    """Whether addresses are of IPv4."""
    return pl.col(name).bin.starts_with(b"\0" * 10 + b"\xff\xff")


def with_hosts(frame: pl.DataFrame, column: str = "new") -> pl.DataFrame:
    """Rows with the host of a column as ``addr`` and ``net``, and whether that is private (``is_private``) while its sender is not."""
    addr = addresses(frame[column])
    return frame.with_columns(
        addr.alias("addr"),
        networks(addr).alias("net"),
        (inside(addr, LOCAL) & ~inside(frame["src"], LOCAL)).alias("is_private"),
        inside(addr, NOWHERE).alias("is_nowhere"),
    )


def fresh(rows: pl.DataFrame, seen: Observed) -> pl.DataFrame:
    """The rows whose ``net`` nobody in the call had a host or address in by then.

    Known are the ends of the first message, the hosts of From, To and of the URI that was called, what was there before (``old``), the ends of
    all hops that carried session descriptions by then, and the hosts of Contact, Via and Record-Route but those that came with a change.
    """
    if rows.is_empty():
        return rows
    ids = rows.select(CALL).unique()
    calls = seen.calls.join(ids, on=CALL, how="semi")
    forever = [
        calls.select(*CALL, host=addresses(calls[name])) for name in ("from_host", "to_host", "request_host")
    ]
    forever += [calls.select(*CALL, host=name) for name in ("src", "dst")]
    changes = seen.call_changes.join(ids, on=CALL, how="semi").filter(
        pl.col("change").is_in(["target", "route", "via"])
    )
    # Names of changes, hosts of which came later than the call's beginning.
    came = _exploded(changes, "new").join(_exploded(changes, "old"), on=[*CALL, "host"], how="anti")
    for name in ("contacts", "via", "route", "received"):
        listed = calls.select(*CALL, text=name).explode("text").drop_nulls("text")
        listed = listed.select(*CALL, host=addresses(listed["text"])).drop_nulls("host")
        forever.append(listed.join(came, on=[*CALL, "host"], how="anti"))
    known = (
        pl.concat(forever)
        .drop_nulls("host")
        .with_columns(since=pl.lit(0, pl.Int64))
        .select(*CALL, "host", "since")
    )
    media = seen.call_media.join(ids, on=CALL, how="semi")
    hops = [media.select(*CALL, host=name, since="since") for name in ("src", "dst")]
    known = pl.concat([known, *hops]).drop_nulls("host")
    known = (
        known.with_columns(net=networks(known["host"]))
        .group_by(*CALL, "net")
        .agg(since=pl.col("since").min())
    )
    old = networks(addresses(rows["old"].str.split(" ").list.first()))
    found = rows.with_columns(old_net=old).join(known, on=[*CALL, "net"], how="left")
    strange = (pl.col("since").is_null() | (pl.col("since") >= pl.col("ts"))) & pl.col("net").ne_missing(
        pl.col("old_net")
    )
    return found.filter(pl.col("net").is_not_null() & strange).drop("since", "old_net")


def _exploded(changes: pl.DataFrame, column: str) -> pl.DataFrame:
    each = changes.select(*CALL, text=pl.col(column).str.split(" ")).explode("text").drop_nulls("text")
    return each.select(*CALL, host=addresses(each["text"])).drop_nulls("host").unique()


def summed(rows: pl.DataFrame, by: Sequence[str]) -> list[dict[str, Any]]:
    """Rows summed up by these columns, most calls first: what one finding is about.

    Rows have ``packets`` (how many calls), ``flows`` (the same), ``first_ts``, ``last_ts``, ``taps``, ``senders``, ``evidence`` and ``calls`` (all of them).
    """
    if rows.is_empty():
        return []
    who = pl.struct("call_id") if "call_id" in rows.columns else pl.struct(CALL)
    grouped = (
        rows.sort("ts", maintain_order=True)
        .group_by(by, maintain_order=True)
        .agg(
            who.n_unique().alias("packets"),
            pl.col("ts").min().alias("first_ts"),
            pl.col("ts").max().alias("last_ts"),
            pl.col("tap").unique().sort().alias("taps"),
            pl.col("src").unique(maintain_order=True).head(EVIDENCE).alias("senders"),
            pl.struct("tap", "frame").unique(maintain_order=True).head(EVIDENCE).alias("evidence"),
            pl.struct(CALL).unique().alias("calls"),
        )
    )
    found = grouped.sort("packets", descending=True, maintain_order=True).to_dicts()
    for row in found:
        row["flows"] = row["packets"]
        row["calls"] = frozenset((each["tap"], each["call"]) for each in row["calls"])
        frames = [Frame(each["tap"], each["frame"], "offending") for each in row["evidence"]]
        row["evidence"] = tuple(sorted(frames, key=lambda frame: (frame.tap, frame.frame)))
    return found


def with_call_ids(rows: pl.DataFrame, seen: Observed) -> pl.DataFrame:
    """The rows with the Call-ID, by which a call is the same at all taps, and whether the call began before the capture."""
    return rows.join(seen.calls.select(*CALL, "call_id", "began_before"), on=CALL, how="inner")


def encrypted_connections(seen: Observed) -> int:
    """How many connections carry signalling that nobody can read: SIP over TLS."""
    flows = seen.unlisted.filter(
        pl.col("protocol") == 6, (pl.col("src_port") == SIPS) | (pl.col("dst_port") == SIPS)
    )
    return int(flows["flow_id"].n_unique()) if len(flows) else 0


def distinct(calls: pl.DataFrame) -> int:
    """How many calls these are: one that several taps have seen is one. Those of ISUP have no Call-ID, but a circuit that is used again."""
    is_sip = pl.col("transport").is_in(list(SIP)).fill_null(value=True)
    count = pl.col("call_id").filter(is_sip).n_unique() + (~is_sip).sum()
    return int(calls.select(count).item())


_PROTOCOLS = {
    "h225": "H.323",
    "m3ua": "ISUP/BICC",
    "m2ua": "ISUP/BICC",
    "m2pa": "ISUP/BICC",
    "skinny": "Skinny",
}
"""Names of the protocols of calls that are not SIP, by what carries them."""


def scope_of_calls(seen: Observed, readable: pl.DataFrame, what: str) -> Scope:
    """How many calls there were, and of how many of them all was seen that counts.

    Of ``readable`` calls the tables have what a check judges by. Of others they do not: ``what`` says what that is.
    """
    count = distinct(seen.calls) + encrypted_connections(seen)
    judged = distinct(readable.filter(~pl.col("began_before")))
    told = seen.calls.select(*CALL, "call_id", "transport")
    others = told.join(readable.select(CALL), on=CALL, how="anti")
    names = {_PROTOCOLS.get(each, each) for each in others["transport"].drop_nulls().unique()}
    reasons = []
    if judged < count - distinct(others):
        reasons.append("calls that began before the capture, or whose signalling is encrypted")
    if len(others):
        reasons.append(f"calls of {listing(sorted(names))}, of which {what} not read")
    return scope_of(count, judged, "; ".join(reasons))


def of_sip(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls of SIP."""
    return calls.filter(pl.col("transport").is_in(list(SIP)).fill_null(value=True))


def texts(values: Sequence[bytes]) -> list[str]:
    """Addresses as text."""
    return [address_text(each) for each in values]


def scope_of(in_scope: int, judged: int, reason: str) -> Scope:
    """A scope that says why some could not be judged, if there are any."""
    return Scope(in_scope, judged, reason if judged < in_scope else None)
