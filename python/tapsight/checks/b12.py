"""B12: calls are not led elsewhere by their signalling."""

from __future__ import annotations

from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity
from tapsight._text import address_text, listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed
from tapsight.checks._dialogs import (
    CALL,
    PRIVATE,
    addresses,
    fresh,
    networks,
    scope_of_calls,
    summed,
    texts,
    with_call_ids,
    with_hosts,
)
from tapsight.findings import Finding

MANY = 3
"""Calls that are sent to one place, from which on that is told without a policy."""


class B12Options(Options):
    """What a policy may say under [checks.B12]."""

    peers: Prefixes | None = None
    """Hosts that may take part in signalling: one's own and those of peers."""


class B12(Check[B12Options]):
    """The signalling of calls (SIP) does not lead them to somebody else.

    What it looks for:
        With ``peers``: a redirection (3xx, 305 Use Proxy) or a transfer (REFER) to an address that is not listed; a call that replaces another
        (Replaces) and comes from one; an INVITE whose Via does not name who sent it. With and without: in the middle of a call, a remote target
        (Contact), Record-Route, Via or sender in a network (/24 of IPv4, /48 of IPv6) that nobody in that call used before, and that is not
        listed. Without: the same place of redirection for 3 calls and more that 2 hosts and more of different networks redirect.

    What is counted:
        Calls, where other checks count packets: those of which the beginning was seen are judged. A connection of SIP over TLS
        (port 5061) counts as a call that was not.

    Why it matters:
        Who is the target of a call gets its signalling, and can set where its media go. An answer to an INVITE can be forged by whoever sees
        the INVITE.

    Example that fails:
        302 with Contact 203.0.113.66, with this policy::

            [sets]
            voice_peers = ["198.51.100.10", "203.0.113.10"]
            [checks.B12]
            peers = ["voice_peers"]

    Severity:
        High with ``peers``. Low without: calls are moved for good reasons, too.

    What to do:
        Ask the peer whether the redirection or change is its own. Compare the message on both sides of the router.

    What it cannot see:
        SIP over TLS; hosts that are named rather than addressed; private addresses that come from public ones, which are those of phones behind
        address translation; another host in the network of one that takes part; registrations.

    Source: RFC 3261, sections 8.1.3.4, 12.2, 18.2.1 and 21.3; RFC 3515; RFC 3891; ATT&CK T1557 (Adversary-in-the-Middle).
    """

    id = "B12"
    title = "Signalling does not lead calls elsewhere"
    severity = "high"
    options = B12Options
    hears = True

    def judge(self, seen: Observed, options: B12Options, severity: Severity) -> Judgement:
        """Judges each change within a call by who takes part in it."""
        scope = scope_of_calls(seen)
        whole = seen.calls.filter(~pl.col("began_before"))
        worst: Severity = severity if options.peers is not None or options.severity is not None else "low"
        changes = with_call_ids(seen.call_changes, seen).filter(~pl.col("began_before"))
        hosts = changes.with_columns(
            host=pl.col("new").str.split(" "), was=pl.col("old").fill_null("").str.split(" ")
        ).explode("host")
        hosts = hosts.filter(pl.col("host") != "", ~pl.col("host").is_in(pl.col("was")))
        hosts = with_hosts(hosts, "host").filter(
            pl.col("addr").is_not_null(), ~pl.col("is_private"), ~pl.col("is_nowhere")
        )
        if options.peers is not None:
            hosts = hosts.filter(~inside(hosts["addr"], options.peers))
        moved = fresh(hosts.filter(pl.col("change").is_in(["target", "route", "via", "sender"])), seen)
        sent = self._sent(hosts, seen, listed=options.peers is not None)
        replaced = self._replaced(whole, seen, options.peers)
        forged = self._forged(whole, options.peers)
        findings: list[Finding] = []
        for rows in (moved, sent, replaced, forged):
            parts = [*CALL, "call_id", "frame", "ts", "src", "change", "status", "addr"]
            for row in summed(rows.select(parts), ["change", "status", "addr"]):
                findings.append(
                    self.finding(
                        row,
                        scope,
                        worst,
                        identity=(row["change"], row["status"], row["addr"]),
                        kind="diversion",
                        sentence=f"{_words(row)}, {span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}); "
                        + (
                            "the policy does not list that address."
                            if options.peers is not None
                            else "nobody says that it belongs there."
                        ),
                    )
                )
        note = None if options.peers is not None else "without `peers`, only changes within calls are judged"
        return Judgement(scope, tuple(findings), nothing="no calls were seen", note=note)

    @staticmethod
    def _sent(hosts: pl.DataFrame, seen: Observed, *, listed: bool) -> pl.DataFrame:
        """Calls that are sent elsewhere from the outset, or transferred."""
        sent = hosts.filter(pl.col("change").is_in(["redirect", "refer"]))
        # A member of the cluster that is called, or of that which sends the message.
        ends = seen.calls.select(*CALL, first=networks(seen.calls["src"]), called=networks(seen.calls["dst"]))
        sent = sent.with_columns(by=networks(sent["src"])).join(ends, on=CALL, how="left")
        sent = sent.filter(*(pl.col("net").ne_missing(pl.col(name)) for name in ("by", "first", "called")))
        status = pl.when(pl.col("change") == "redirect").then("status")
        sent = sent.with_columns(status=status)
        if listed:
            return sent
        sent = sent.filter(pl.col("change") == "redirect")
        many = (pl.col("call_id").n_unique().over("addr") >= MANY) & (
            pl.col("by").n_unique().over("addr") >= 2
        )
        return sent.filter(many | (pl.col("status") == 305))

    @staticmethod
    def _replaced(whole: pl.DataFrame, seen: Observed, peers: tuple[str, ...] | None) -> pl.DataFrame:
        """Calls that take the place of others, from somebody who had no part in those."""
        replacing = whole.filter(pl.col("replaces").is_not_null()).with_columns(
            net=networks(whole.filter(pl.col("replaces").is_not_null())["src"])
        )
        known = seen.calls.select(
            "tap",
            "call_id",
            "src",
            host=pl.concat_list(pl.col("addresses").fill_null([]), pl.col("contacts").fill_null([])),
        )
        known = known.explode("host").drop_nulls("host")
        known = known.select("tap", replaces="call_id", net=networks(addresses(known["host"])))
        found = replacing.join(known.select("tap", "replaces").unique(), on=["tap", "replaces"], how="semi")
        found = found.join(known, on=["tap", "replaces", "net"], how="anti")
        if peers is not None:
            found = replacing.filter(~inside(replacing["src"], peers))
        return _first_message(found, "replaces")

    @staticmethod
    def _forged(whole: pl.DataFrame, peers: tuple[str, ...] | None) -> pl.DataFrame:
        """Calls of which no Via names who sent them."""
        if peers is None:
            return _first_message(whole.clear(), "forged")
        hops = whole.select(
            *CALL, host=pl.concat_list(pl.col("via").fill_null([]), pl.col("received").fill_null([]))
        )
        hops = hops.explode("host").drop_nulls("host")
        addr = addresses(hops["host"])
        hops = hops.with_columns(addr=addr, net=networks(addr), private=inside(addr, PRIVATE))
        # Names may be of anybody; private addresses are those of phones behind address translation.
        unsure = hops.filter(pl.col("addr").is_null() | pl.col("private")).select(CALL)
        own = whole.with_columns(net=networks(whole["src"]))
        found = own.join(hops, on=[*CALL, "net"], how="anti").join(unsure, on=CALL, how="anti")
        found = found.join(hops.select(CALL).unique(), on=CALL, how="semi")
        known = hops.filter(inside(hops["addr"], peers)).select(CALL)
        both = found.filter(inside(found["src"], peers)).join(known, on=CALL, how="semi")
        return _first_message(found.join(both.select(CALL), on=CALL, how="anti"), "forged")


def _first_message(calls: pl.DataFrame, change: str) -> pl.DataFrame:
    return calls.select(
        *CALL,
        "call_id",
        "src",
        frame=pl.col("frames").list.first(),
        ts="began",
        change=pl.lit(change),
        status=pl.lit(None, pl.UInt16),
        addr="src",
    )


_WHAT = {
    "target": "From the middle of {calls} on, {who} is the remote target (Contact)",
    "route": "In the middle of {calls}, {who} was put on the route (Record-Route)",
    "via": "In the middle of {calls}, messages came by way of {who} (Via)",
    "sender": "In the middle of {calls}, {who} began to send for one side",
    "refer": "{by} had {calls} transferred to {who} (REFER)",
    "replaces": "{who} took the place of somebody in {calls} (Replaces)",
    "forged": "{who} sent {calls} whose Via names somebody else",
}


def _words(row: dict[str, Any]) -> str:
    form = _WHAT.get(row["change"], "{by} redirected {calls} to {who} (status {status})")
    return form.format(
        calls=plural(row["packets"], "call"),
        who=address_text(row["addr"]),
        by=listing(texts(row["senders"])),
        status=row["status"],
    )
