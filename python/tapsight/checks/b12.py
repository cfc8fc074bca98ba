"""B12: calls are not led elsewhere by their signalling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity
from tapsight._text import address_text, listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed
from tapsight.checks._dialogs import (
    CALL,
    addresses,
    fresh,
    networks,
    of_sip,
    scope_of_calls,
    summed,
    texts,
    with_call_ids,
    with_hosts,
)
from tapsight.checks._special import LOCAL, NOWHERE
from tapsight.findings import Finding

MANY = 3
"""Calls that are sent to one place, from which on that is told without a policy."""
USUAL = 20
"""Calls between two hosts from which on it is known what is usual between them."""
ODD = 0.1
"""The share of them that may be unusual."""


class B12Options(Options):
    """What a policy may say under [checks.B12]."""

    peers: Prefixes | None = None
    """Hosts that may take part in signalling: one's own and those of peers."""


class B12(Check[B12Options]):
    """The signalling of calls (SIP) does not lead them to somebody else.

    What it looks for:
        On several taps: a Contact, Via or Record-Route of a call that has another host on another tap, between the same hosts: only what is
        between the taps can have done that. With ``peers``: an address that is not listed as the target of a redirection (3xx, 305 Use Proxy)
        or of a transfer (REFER); as the Contact of either end, unless a listed hop stays on the route (Record-Route); as the
        last hop of an INVITE (topmost Via or Record-Route) that is not who sent it; as who takes the place of another in a call (Replaces). And an
        INVITE from one that is not listed, whose Via names somebody else. With and without: in the middle of a call, a remote target
        (Contact), Record-Route, Via or sender that is not listed, and (without) in a network (/24 of IPv4, /48 of IPv6) that nobody in that call used
        before. Without: a Contact in another network than both hosts have, where nine of ten of their calls, 20 and more, have none; the same
        place of redirection for 3 calls and more that 2 hosts and more of different networks redirect. Else, without ``peers``, a redirection,
        transfer or replacement makes it unknown.

    What is counted:
        Calls, where other checks count packets: those of which the beginning was seen are judged, and one that several taps have seen is one. A
        connection of SIP over TLS (port 5061) counts as a call that was not, and so does a call of H.323, ISUP, BICC or Skinny: where such
        signalling leads is not read.

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
        High with ``peers``, and for what differs between taps. Else low: calls are moved for good reasons, too.

    What to do:
        Ask the peer whether the redirection or change is its own. Compare the message on both sides of the router.

    What it cannot see:
        SIP over TLS; hosts that are named rather than addressed; private addresses that come from public ones, which are those of phones behind
        address translation; without ``peers``, another host in the network of one that takes part, and who was led elsewhere from the beginning
        on; hops behind the last one; registrations. Taps are compared where both saw as many messages of a call; a hop only where a tap saw
        two hosts in it.

    Source: RFC 3261, sections 8.1.3.4, 12.2, 16.6, 18.2.1 and 21.3; RFC 3515; RFC 3891; ATT&CK T1557 (Adversary-in-the-Middle).
    """

    id = "B12"
    title = "Signalling does not lead calls elsewhere"
    severity = "high"
    options = B12Options
    hears = True
    asks = ("diverted",)

    def judge(self, seen: Observed, options: B12Options, severity: Severity) -> Judgement:
        """Judges each change within a call by who takes part in it."""
        sip = of_sip(seen.calls)
        scope = scope_of_calls(seen, sip, "targets and routes are")
        is_listed, fixed = options.peers is not None, options.severity is not None
        note = None if is_listed else "without `peers`, only changes are judged"
        doubt = seen.heard.doubt
        if sip.is_empty():
            return Judgement(scope, nothing="no calls were seen", note=note, doubt=doubt)
        whole = sip.filter(~pl.col("began_before"))
        worst: Severity = severity if is_listed or fixed else "low"
        changes = with_call_ids(seen.call_changes, seen).filter(~pl.col("began_before"))
        hosts = changes.with_columns(
            host=pl.col("new").str.split(" "), was=pl.col("old").fill_null("").str.split(" ")
        )
        hosts = hosts.with_columns(top=pl.col("host").list.first()).explode("host")
        hosts = hosts.filter(pl.col("host") != "", ~pl.col("host").is_in(pl.col("was")))
        hosts = with_hosts(hosts, "host").filter(
            pl.col("addr").is_not_null(), ~pl.col("is_private"), ~pl.col("is_nowhere")
        )
        if options.peers is not None:
            hosts = hosts.filter(~inside(hosts["addr"], options.peers))
        found = [
            self._between(whole, options.peers),
            self._sent(hosts, seen, listed=is_listed),
            self._replaced(whole, seen, options.peers),
            self._moved(hosts, seen, ("target", "route", "via"), listed=is_listed),
        ]
        if options.peers is not None:
            found += [self._hops(whole, options.peers), self._contacts(whole, options.peers)]
        else:
            found.append(self._unusual(whole))
        found.append(self._moved(hosts, seen, ("sender",), listed=is_listed))
        findings: list[Finding] = []
        told = whole.select("call_id", addr=pl.lit(None, pl.Binary)).clear()
        for rows in found:
            # What leads a call somewhere is told once, by what comes first here.
            new = rows.select(_PARTS).join(told, on=["call_id", "addr"], how="anti", maintain_order="left")
            new = new.filter(pl.col("change") == pl.col("change").first().over("call_id", "addr"))
            told = pl.concat([told, new.select("call_id", "addr").unique()])
            for row in summed(new, ["change", "status", "addr"]):
                between = row["change"] in _BETWEEN
                if between:
                    why = "only what is between these taps can have changed it"
                else:
                    why = (
                        "the policy does not list that address"
                        if is_listed
                        else "nobody says that it belongs there"
                    )
                findings.append(
                    self.finding(
                        row,
                        scope,
                        severity if between else worst,
                        identity=(row["change"], row["status"], row["addr"]),
                        kind="diversion",
                        sentence=f"{_words(row)}, {span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}); {why}.",
                    )
                )
        if not is_listed and doubt is None:
            doubt = self._led(changes, whole)
        return Judgement(scope, tuple(findings), nothing="no calls were seen", note=note, doubt=doubt)

    @staticmethod
    def _led(changes: pl.DataFrame, whole: pl.DataFrame) -> str | None:
        """What leads calls elsewhere, and may only be judged by a list."""
        led = changes.filter(pl.col("change").is_in(["redirect", "refer"])).select("call_id")
        led = pl.concat([led, whole.filter(pl.col("replaces").is_not_null()).select("call_id")]).unique()
        count = plural(len(led), "call")
        return (
            f"{count} redirected, transferred or in place of another, and no `peers` say who may do so"
            if len(led)
            else None
        )

    @staticmethod
    def _moved(hosts: pl.DataFrame, seen: Observed, kinds: tuple[str, ...], *, listed: bool) -> pl.DataFrame:
        """Changes in the middle of calls: any that are not listed, but for hops behind the last one, and those to where nobody was."""
        moved = hosts.filter(pl.col("change").is_in(list(kinds)))
        if not listed:
            return fresh(moved, seen)
        last = pl.col("change").is_in(["target", "sender"]) | (pl.col("host") == pl.col("top"))
        return pl.concat([moved.filter(last), fresh(moved.filter(~last), seen).select(moved.columns)])

    @staticmethod
    def _sent(hosts: pl.DataFrame, seen: Observed, *, listed: bool) -> pl.DataFrame:
        """Calls that are sent elsewhere from the outset, or transferred."""
        sent = hosts.filter(pl.col("change").is_in(["redirect", "refer"]))
        status = pl.when(pl.col("change") == "redirect").then("status")
        sent = sent.with_columns(status=status)
        if listed:
            return sent
        # A member of the cluster that is called, or of that which sends the message.
        ends = seen.calls.select(*CALL, first=networks(seen.calls["src"]), called=networks(seen.calls["dst"]))
        sent = sent.with_columns(by=networks(sent["src"])).join(ends, on=CALL, how="left")
        sent = sent.filter(*(pl.col("net").ne_missing(pl.col(name)) for name in ("by", "first", "called")))
        sent = sent.filter(pl.col("change") == "redirect")
        many = (pl.col("call_id").n_unique().over("addr") >= MANY) & (
            pl.col("by").n_unique().over("addr") >= 2
        )
        return sent.filter(many | (pl.col("status") == 305))

    @staticmethod
    def _replaced(whole: pl.DataFrame, seen: Observed, peers: tuple[str, ...] | None) -> pl.DataFrame:
        """Calls that take the place of others, from somebody who had no part in those."""
        replacing = whole.filter(pl.col("replaces").is_not_null())
        replacing = replacing.with_columns(net=networks(replacing["src"]))
        if peers is not None:
            return _first_message(replacing.filter(~inside(replacing["src"], peers)), "replaces")
        replaced = replacing.select("tap", call_id="replaces").unique()
        known = seen.calls.join(replaced, on=["tap", "call_id"], how="semi").select(
            "tap",
            "call_id",
            host=pl.concat_list(pl.col("addresses").fill_null([]), pl.col("contacts").fill_null([])),
        )
        known = known.explode("host").drop_nulls("host")
        known = known.select("tap", replaces="call_id", net=networks(addresses(known["host"])))
        found = replacing.join(known.select("tap", "replaces").unique(), on=["tap", "replaces"], how="semi")
        found = found.join(known, on=["tap", "replaces", "net"], how="anti")
        return _first_message(found, "replaces")

    @staticmethod
    def _between(whole: pl.DataFrame, peers: tuple[str, ...] | None) -> pl.DataFrame:
        """Hosts that a call's fields have on one tap and not on another, though both saw the same messages between the same hosts."""
        same = ["call_id", "src", "dst"]
        # Of a Call-ID that one tap has seen several times, it is not known which is which.
        calls = whole.select(
            *CALL,
            *same,
            "incomplete",
            "messages",
            pl.col("addresses").list.sort(),
            *("contacts", "via", "route", "frames", "began"),
        )
        calls = calls.filter(pl.col("incomplete") == 0, pl.len().over("tap", *same) == 1)
        pairs = calls.join(calls, on=[*same, "messages", "addresses"], suffix="_there").filter(
            pl.col("tap") != pl.col("tap_there")
        )
        parts = []
        for name in ("contacts", "via", "route"):
            here, there = (pl.col(each).fill_null([]) for each in (name, f"{name}_there"))
            more = (
                pairs.filter(here != there).with_columns(host=here.list.set_difference(there)).explode("host")
            )
            addr = addresses(more["host"])
            more = more.with_columns(addr=addr, change=pl.lit(f"{name} there"))
            odd = addr.is_not_null() & ~inside(addr, (*LOCAL, *NOWHERE, *(peers or ())))
            more = more.filter(odd, pl.col("addr") != pl.col("src"), pl.col("addr") != pl.col("dst"))
            parts += [
                _first_message(more.select(*CALL, *same, "frames", "began", "addr", "change")),
                _first_message(
                    more.select(
                        tap="tap_there",
                        call="call_there",
                        **{key: pl.col(key) for key in same},
                        frames="frames_there",
                        began="began_there",
                        addr="addr",
                        change="change",
                    )
                ),
            ]
        return pl.concat(parts)

    @staticmethod
    def _unusual(whole: pl.DataFrame) -> pl.DataFrame:
        """Calls of which an end is to be reached elsewhere, between hosts that have else been where they say."""
        pair = ["src", "dst"]
        rows = whole.select(*CALL, "call_id", *pair, "frames", "began", host="contacts").explode("host")
        rows = rows.with_columns(addr=addresses(rows["host"]))
        ends = [networks(rows[name]).alias(f"{name}_net") for name in pair]
        rows = rows.with_columns(*ends, net=networks(rows["addr"]))
        near = (pl.col("net") == pl.col("src_net")) | (pl.col("net") == pl.col("dst_net"))
        hidden = inside(rows["addr"], (*LOCAL, *NOWHERE))
        # Of a name nothing is known, and of a private address nothing that counts.
        rows = rows.with_columns(odd=pl.col("addr").is_not_null() & ~near.fill_null(value=True) & ~hidden)
        calls = rows.group_by(*pair, "call_id").agg(pl.col("odd").any())
        share = calls.group_by(pair).agg(of=pl.len(), odd_calls=pl.col("odd").sum())
        share = share.filter(pl.col("of") >= USUAL, pl.col("odd_calls") <= ODD * pl.col("of"))
        return _first_message(rows.filter("odd").join(share, on=pair, how="semi"), "contact", addr="addr")

    @staticmethod
    def _hops(whole: pl.DataFrame, peers: tuple[str, ...]) -> pl.DataFrame:
        """Calls that a hop says to have sent which is not listed, or is not who sent them."""
        single = whole.filter(pl.col("addresses").list.len() == 2)
        listed = inside(single["src"], peers)
        single = single.with_columns(sender=pl.col("src"), own=networks(single["src"]), listed=listed)
        parts = []
        for name in ("via", "route"):
            top = addresses(single[name].list.last())
            hops = single.with_columns(addr=top, net=networks(top)).filter(top.is_not_null())
            top = hops["addr"]
            hidden = inside(top, NOWHERE) | (inside(top, LOCAL) & ~inside(hops["src"], LOCAL))
            hops = hops.filter(~hidden, pl.col("addr") != pl.col("src"), pl.col("addr") != pl.col("dst"))
            strange = hops.filter(~inside(hops["addr"], peers) & hops["listed"])
            parts.append(_first_message(strange, name, addr="addr"))
            if name == "via":
                forged = hops.filter(~pl.col("listed"), pl.col("net") != pl.col("own"))
                parts.append(_first_message(forged, "forged"))
        return pl.concat(parts)

    @staticmethod
    def _contacts(whole: pl.DataFrame, peers: tuple[str, ...]) -> pl.DataFrame:
        """Calls whose ends are to be reached where no listed host is, nor on the way there."""
        kept = whole.select(*CALL, host="route").explode("host").drop_nulls("host")
        kept = kept.filter(inside(addresses(kept["host"]), peers)).select(CALL).unique()
        rows = whole.join(kept, on=CALL, how="anti").with_columns(host="contacts").explode("host")
        rows = rows.with_columns(addr=addresses(rows["host"]))
        rows = rows.filter(pl.col("addr").is_not_null())
        public = ~inside(rows["src"], LOCAL) & ~inside(rows["dst"], LOCAL)
        hidden = inside(rows["addr"], NOWHERE) | (inside(rows["addr"], LOCAL) & public)
        return _first_message(rows.filter(~hidden & ~inside(rows["addr"], peers)), "contact", addr="addr")


_PARTS: Sequence[str] = (*CALL, "call_id", "frame", "ts", "src", "change", "status", "addr")


def _first_message(calls: pl.DataFrame, change: str | None = None, addr: str = "src") -> pl.DataFrame:
    """Calls as rows of what leads them somewhere, shown by their first message: to ``addr``, or where the calls say so themselves."""
    return calls.select(
        *CALL,
        "call_id",
        frame=pl.col("frames").list.first(),
        ts="began",
        src="src",
        change=pl.lit(change) if change is not None else pl.col("change"),
        status=pl.lit(None, pl.UInt16),
        addr=pl.col(addr) if change is not None else pl.col("addr"),
    )


_BETWEEN = {"contacts there", "via there", "route there"}
_WHAT = {
    "target": "From the middle of {calls} on, {who} is the remote target (Contact)",
    "route": "{who} was put on the route of {calls} (Record-Route)",
    "via": "Messages of {calls} came by way of {who} (Via)",
    "sender": "In the middle of {calls}, {who} began to send for one side",
    "refer": "{by} had {calls} transferred to {who} (REFER)",
    "replaces": "{who} took the place of somebody in {calls} (Replaces)",
    "forged": "{who} sent {calls} whose Via names somebody else",
    "contact": "{calls} had {who} as the target of what follows (Contact)",
    "contacts there": "The same messages of {calls} have {who} as the target (Contact) on one tap and not on another",
    "via there": "The same messages of {calls} came by way of {who} (Via) on one tap and not on another",
    "route there": "The same messages of {calls} have {who} on the route (Record-Route) on one tap and not on another",
}


def _words(row: dict[str, Any]) -> str:
    form = _WHAT.get(row["change"], "{by} redirected {calls} to {who} (status {status})")
    return form.format(
        calls=plural(row["packets"], "call"),
        who=address_text(row["addr"]),
        by=listing(texts(row["senders"])),
        status=row["status"],
    )
