"""B13: media go where the ends of a call want them, encrypted as they agreed."""

from __future__ import annotations

import polars as pl

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity
from tapsight._text import address_text, listing, plural, span_text
from tapsight.checks._base import Check, Judgement, Observed
from tapsight.checks._dialogs import (
    CALL,
    addresses,
    is_mapped,
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

BOTH = 10
"""Packets of RTP each way by which a relay shows that it is one."""


class B13Options(Options):
    """What a policy may say under [checks.B13]."""

    media: Prefixes | None = None
    """Where media may go: addresses of one's own and of peers."""
    b2bua: Prefixes | None = None
    """What terminates calls and calls anew, relays media, or ends their encryption: border controllers and the like."""


class B13(Check[B13Options]):
    """Session descriptions (SDP) come through as they were sent, and media stay where the ends of a call are.

    What it looks for:
        The same description of a call with another address, without its keys or fingerprint, or with RTP/AVP in place of RTP/SAVP, on another
        tap, between the same two hosts: only what is between the taps can have done that. Within one tap: a next hop that describes media
        at an address that is neither its own nor listed; keys that were agreed and are not any more. With ``media``: any description with an
        address that is not listed. Without: media that a later offer or answer moves to a network (/24 of IPv4, /48 of IPv6) that nobody in that call
        used before.

    What is counted:
        Calls, where other checks count packets: those of which the beginning was seen are judged, and one that several taps have seen is one. A
        connection of SIP over TLS (port 5061) counts as a call that was not, and so does a call of H.323, ISUP or BICC: media addresses of these
        are not read. Those of Skinny are, but no changes of them: such a call is judged with ``media``, if it describes any.

    Why it matters:
        Whoever writes his address into a description gets the call's voice, and can pass it on so that nobody notices. Without keys
        it can be listened to anywhere.

    Example that fails:
        Media at 203.0.113.66, with this policy::

            [checks.B13]
            media = ["198.51.100.20", "203.0.113.20"]
            b2bua = ["198.51.100.10", "203.0.113.10"]

    Severity:
        High if it differs between taps, or if ``media`` does not list the address. Medium if keys were dropped within a call. Low for what else
        is judged without ``media``: media move for good reasons, too.

    What to do:
        Compare the message on both sides of the device. List border controllers that the network has.

    What it cannot see:
        SIP over TLS; calls that a device between the taps begins anew under another Call-ID; descriptions of which a tap lost some, which are not
        compared; private addresses that come from public ones (phones behind address translation); a relay in the peer's own network.
        Hold (direction only, or 0.0.0.0), candidates of ICE, addresses that address translation changes along with those of the packet, and fax are
        left out.

    Source: RFC 3264, sections 5 and 8; RFC 4568; RFC 5763; RFC 8839; RFC 8866; ATT&CK T1557 (Adversary-in-the-Middle), T1600 (Weaken Encryption).
    """

    id = "B13"
    title = "Media go where the ends of calls want them"
    severity = "high"
    options = B13Options
    hears = True
    asks = ("diverted",)

    def judge(self, seen: Observed, options: B13Options, severity: Severity) -> Judgement:
        """Judges each description by those before it, by those on other taps, and by the policy."""
        what = "changes of media are" if options.media is None else "media addresses are"
        scope = scope_of_calls(seen, self._described(seen, options), what)
        note = None if options.media is not None else "without `media`, only changes are judged"
        if seen.calls.is_empty():
            return Judgement(scope, nothing="no calls were seen", note=note, doubt=seen.heard.doubt)
        media = with_call_ids(seen.call_media, seen).filter(
            ~pl.col("began_before"), ~pl.col("is_candidate"), pl.col("port") != 0
        )
        changes = with_call_ids(seen.call_changes, seen).filter(~pl.col("began_before"))
        fixed = options.severity is not None
        low: Severity = severity if fixed else "low"
        medium: Severity = severity if fixed else "medium"
        findings: list[Finding] = []

        def tell(rows: pl.DataFrame, what: str, worst: Severity, kind: str, why: str) -> None:
            parts = [*CALL, "call_id", "frame", "ts", "src", "addr"]
            for row in summed(rows.select(parts), ["addr"]):
                where = address_text(row["addr"]) if row["addr"] is not None else ""
                calls = plural(row["packets"], "call")
                findings.append(
                    self.finding(
                        row,
                        scope,
                        worst,
                        identity=(kind, row["addr"]),
                        kind="diversion",
                        sentence=what.format(where=where, calls=calls, by=listing(texts(row["senders"])))
                        + f", {span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])}); {why}.",
                    )
                )

        moved, bared = self._between(media, options)
        between = "only what is between these taps can have changed it"
        tell(
            moved,
            "The same description of {calls} has the media at {where} on another tap",
            severity,
            "between",
            between,
        )
        tell(bared, "The same description of {calls} has no keys on another tap", severity, "bared", between)
        if options.media is not None:
            strange = self._unlisted(media, (*options.media, *(options.b2bua or ())))
            # What differs between taps is told already.
            strange = strange.join(
                moved.select("call_id", "addr").unique(), on=["call_id", "addr"], how="anti"
            )
            tell(
                strange,
                "{by} described media of {calls} at {where}",
                severity,
                "unlisted",
                "the policy does not list that address",
            )
        else:
            tell(
                self._moved(changes, seen, options),
                "The media of {calls} were moved to {where}, where nobody in them was before",
                low,
                "moved",
                "nobody says that they belong there",
            )
            tell(
                self._relayed(changes, seen, options),
                "{by} passed on {calls} with the media at {where}, which is not its own",
                low,
                "relayed",
                "no relay is listed there, and RTP does not show one",
            )
        tell(
            self._dropped(changes, media, options),
            "The media of {calls} were encrypted and later not any more",
            medium,
            "dropped",
            "no listed device ends encryption there",
        )
        return Judgement(
            scope, tuple(findings), nothing="no calls were seen", note=note, doubt=seen.heard.doubt
        )

    @staticmethod
    def _described(seen: Observed, options: B13Options) -> pl.DataFrame:
        """The calls of which it is read where media go: all of SIP, and by a list others too that describe any."""
        sip = of_sip(seen.calls)
        if options.media is None:
            return sip
        told = seen.call_media.filter(pl.col("addr").is_not_null())
        others = seen.calls.join(sip.select(CALL), on=CALL, how="anti")
        return pl.concat([sip, others.join(told, on=CALL, how="semi")])

    @staticmethod
    def _between(media: pl.DataFrame, options: B13Options) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Descriptions with other addresses, and those without keys, than the same ones on another tap."""
        same = ["call_id", "side", "medium", "src", "dst"]
        rows = media.sort("since", "frame", maintain_order=True).with_columns(
            nth=pl.int_range(pl.len()).over("tap", *same), of=pl.len().over("tap", *same)
        )
        # On one tap, the same hop may be there again on its other side: then it is not known which is which.
        pairs = rows.join(rows, on=[*same, "nth", "of"], suffix="_there").filter(
            pl.col("tap") < pl.col("tap_there")
        )
        listed = options.b2bua or ()
        differ = pairs.filter(pl.col("addr").ne_missing(pl.col("addr_there")))
        parts = [pl.col(name) for name in (*CALL, "call_id", "frame", "src")]
        other = [pl.col(f"{name}_there").alias(name) for name in (*CALL, "frame")]
        # The address that is not the original: not listed, and if both may be, the one that more than one side has, or the later one.
        if options.media is not None:
            here_bad = ~inside(differ["addr"], (*options.media, *listed))
            there_bad = ~inside(differ["addr_there"], (*options.media, *listed))
        else:
            there_bad = _is_later(differ)
            here_bad = ~there_bad
        differ = differ.with_columns(
            here_bad=here_bad,
            there_bad=there_bad,
            nat=inside(differ["addr"], LOCAL) & (differ["addr_there"] == differ["src"]),
        ).filter(~pl.col("nat"))
        odd = pl.when(pl.col("there_bad") | ~pl.col("here_bad")).then("addr_there").otherwise("addr")
        differ = differ.with_columns(odd=odd)
        differ = differ.filter(~inside(differ["odd"], (*listed, *NOWHERE)))
        moved = pl.concat(
            [
                differ.select(*parts, ts="since", addr="odd"),
                differ.select(*other, "call_id", "src", ts="since_there", addr="odd").select(
                    *parts, "ts", "addr"
                ),
            ]
        )
        keyed, keyed_there = _is_keyed(""), _is_keyed("_there")
        bare = pairs.filter(keyed != keyed_there)
        bared = pl.concat(
            [
                bare.select(*parts, ts="since"),
                bare.select(*other, "call_id", "src", ts="since_there").select(*parts, "ts"),
            ]
        ).with_columns(addr=pl.lit(None, pl.Binary))
        return moved, bared

    @staticmethod
    def _unlisted(media: pl.DataFrame, listed: tuple[str, ...]) -> pl.DataFrame:
        """Descriptions with addresses that the policy does not list."""
        translated = inside(media["addr"], LOCAL) & ~inside(media["src"], LOCAL)
        rows = media.filter(
            media["addr"].is_not_null(), ~inside(media["addr"], (*listed, *NOWHERE)), ~translated
        )
        return rows.with_columns(ts="since")

    @staticmethod
    def _known(seen: Observed, changed: pl.DataFrame) -> pl.DataFrame:
        """Networks of all that the descriptions and messages of these calls named, since when."""
        rows = seen.call_media.join(changed, on=CALL, how="semi")
        named = [rows.select(*CALL, "since", host=name) for name in ("addr", "rtcp_addr", "src", "dst")]
        calls = seen.calls.join(changed, on=CALL, how="semi")
        ends = [calls.select(*CALL, since=pl.lit(0, pl.Int64), host=name) for name in ("src", "dst")]
        listed = calls.select(
            *CALL, text=pl.concat_list(pl.col("contacts").fill_null([]), pl.col("received").fill_null([]))
        )
        listed = listed.explode("text").drop_nulls("text")
        ends.append(listed.select(*CALL, since=pl.lit(0, pl.Int64), host=addresses(listed["text"])))
        known = pl.concat([*named, *ends]).drop_nulls("host")
        known = known.with_columns(net=networks(known["host"]))
        return known.group_by(*CALL, "net").agg(since=pl.col("since").min())

    def _moved(self, changes: pl.DataFrame, seen: Observed, options: B13Options) -> pl.DataFrame:
        """Media that a later description moves to where nobody was."""
        rows = with_hosts(changes.filter(pl.col("change") == "media", pl.col("old").is_not_null()))
        rows = rows.with_columns(was=addresses(rows["old"]))
        rows = rows.filter(
            pl.col("addr").is_not_null(),
            ~pl.col("is_private"),
            ~pl.col("is_nowhere"),
            ~pl.col("new").str.ends_with(":0"),
        )
        # IPv4 in place of IPv6, or the other way round, tells nothing of the network.
        rows = rows.filter(is_mapped("addr") == is_mapped("was"), ~inside(rows["addr"], options.b2bua or ()))
        offered = seen.call_media.filter("is_candidate").select(*CALL, "addr").drop_nulls("addr").unique()
        rows = rows.join(offered, on=[*CALL, "addr"], how="anti")
        return self._strange(rows, seen)

    def _relayed(self, changes: pl.DataFrame, seen: Observed, options: B13Options) -> pl.DataFrame:
        """Media that a next hop describes elsewhere than the hop before, and not at itself."""
        rows = with_hosts(changes.filter(pl.col("change") == "relayed"))
        rows = rows.filter(
            pl.col("addr").is_not_null(),
            ~pl.col("is_private"),
            ~pl.col("is_nowhere"),
            ~pl.col("new").str.ends_with(":0"),
        )
        rows = rows.filter(
            ~inside(rows["addr"], options.b2bua or ()), ~inside(rows["src"], options.b2bua or ())
        )
        heard = seen.media.filter(pl.col("packets") >= BOTH)
        relays = (
            heard.select("tap", addr="src")
            .unique()
            .join(heard.select("tap", addr="dst").unique(), on=["tap", "addr"])
        )
        return self._strange(rows.join(relays, on=["tap", "addr"], how="anti"), seen)

    def _strange(self, rows: pl.DataFrame, seen: Observed) -> pl.DataFrame:
        found = rows.join(self._known(seen, rows.select(CALL).unique()), on=[*CALL, "net"], how="left")
        return found.filter(pl.col("since").is_null() | (pl.col("since") >= pl.col("ts")))

    @staticmethod
    def _dropped(changes: pl.DataFrame, media: pl.DataFrame, options: B13Options) -> pl.DataFrame:
        """Calls that were encrypted by agreement, and then were not."""
        rows = changes.filter(
            pl.col("change") == "encryption",
            pl.col("medium").is_null(),
            pl.col("new") == "none",
            pl.col("old") != "none",
        )
        rows = rows.filter(
            ~inside(rows["src"], options.b2bua or ()), ~inside(rows["dst"], options.b2bua or ())
        )
        # A fax goes in the clear, and so does what ends.
        fax = media.filter(pl.col("medium") == "image").select(*CALL, "frame").unique()
        rows = rows.join(fax, on=[*CALL, "frame"], how="anti")
        return rows.with_columns(addr=pl.lit(None, pl.Binary))


def _is_later(pairs: pl.DataFrame) -> pl.Series:
    """Whether what the second tap saw was seen later, so that it is what became of the first."""
    return pairs["since_there"] >= pairs["since"]


def _is_keyed(suffix: str) -> pl.Expr:
    profile = pl.col(f"profile{suffix}").fill_null("").str.contains("SAVP")
    return profile | (pl.col(f"encryption{suffix}").fill_null("none") != "none")
