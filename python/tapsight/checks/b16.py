"""B16: calls between peers stay as encrypted as they were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from tapsight._engine import inside
from tapsight._options import Options, Prefixes, Severity
from tapsight._text import address_text, listing, plural, span_text, time_text
from tapsight.checks._base import Check, Judgement, Observed, Scope, group, ordered_ends
from tapsight.checks._dialogs import CALL, SIPS, distinct, encrypted_connections, scope_of, summed
from tapsight.findings import Finding, share_interval

CHANCE = 0.001
"""How likely a drop may be by chance, all places where it could be taken together."""
DROP = 0.2
"""By how much the share must have fallen at least."""
ESP = 50
IKE = (500, 4500)
"""Ports of the key exchange (RFC 7296, RFC 3948)."""
AROUND = (1, 50, 51, 58)
"""ICMP, ESP, AH, ICMPv6: what goes beside an encrypted tunnel."""
FEW = 20
"""Packets from which on a tunnel, or what came in its place, counts."""


class B16Options(Options):
    """What a policy may say under [checks.B16]."""

    peers: Prefixes | None = None
    """Whose calls are judged; all that are seen, if not given."""
    encrypted: Prefixes | None = None
    """Those whose calls must be encrypted, each of them."""
    min_calls: Annotated[int, Field(ge=1)] = 10
    """Calls before and after that it takes to tell that the share fell."""


class B16(Check[B16Options]):
    """Calls between two hosts are encrypted as often as before.

    What it looks for:
        Of calls between two hosts in which media were agreed, the share with encrypted media (SDES, DTLS-SRTP, ZRTP) falls by at least 20 points, with
        ``min_calls`` (10) calls before and after: the place in time where it falls is the one that fits best, and the test is binomial, exact: how likely are so few
        encrypted calls if the share still were the lower end of its interval (Wilson, 95 %) before, times the number of places where it could have
        fallen (Bonferroni); it fails below 0.001. Signalling over TLS (port 5061) between two hosts that ends, with ``min_calls`` calls in clear between them
        since and none before. IPsec (ESP) between two hosts that ends, and what they exchange in clear since and did not
        before. With ``encrypted``: each call of these that is not.

    What is counted:
        Calls, where other checks count packets: those with a media offer that was answered, and with enough others between the same hosts, are judged.
        One that several taps have seen is one, and in clear if it was on any of them.
        A connection of SIP over TLS counts as a call that was not; a pair of hosts with ESP as one that was.

    Why it matters:
        Whoever wants to listen has encryption fail, and the call go on without it. Nobody hears that.

    Example that fails:
        20 calls with SDES between two peers, and 20 without since noon. With this policy, the first of these::

            [checks.B16]
            peers = ["voice_peers"]
            encrypted = ["voice_peers"]

    Severity:
        Medium. High for what ``encrypted`` demands.

    What to do:
        Ask the peer whether it changed its configuration then. If it did, note it as ``ticket``.

    What it cannot see:
        A share that was low from the beginning; peers with few calls (fewer than ``min_calls`` since signalling over TLS ended make it unknown);
        calls of which the answer was not seen. A certificate that was exchanged.

    Source: RFC 4568; RFC 5763; RFC 6189; RFC 3261, section 26; Clopper, Pearson (1934) for binomial tails; Wilson (1927); ATT&CK T1600
    (Weaken Encryption).
    """

    id = "B16"
    title = "Calls stay as encrypted as they were"
    severity = "medium"
    options = B16Options
    hears = True

    def judge(self, seen: Observed, options: B16Options, severity: Severity) -> Judgement:
        """Judges each pair of hosts by its calls in time."""
        calls = seen.calls.filter(pl.col("src").is_not_null(), pl.col("dst").is_not_null())
        if options.peers is not None:
            calls = calls.filter(inside(calls["src"], options.peers) | inside(calls["dst"], options.peers))
        calls = calls.with_columns(
            *ordered_ends("src", "dst"), ts=pl.coalesce("began", "last"), frame=pl.col("frames").list.first()
        )
        pair = ["end_a", "end_b"]
        agreed = calls.filter(pl.col("encryption").is_not_null()).with_columns(
            is_safe=pl.col("encryption") != "none"
        )
        # A call that several taps have seen is one, and in clear if it was anywhere.
        agreed = agreed.with_columns(
            is_safe=pl.col("is_safe").all().over(*pair, "call_id"), of=pl.col("call_id").n_unique().over(pair)
        )
        enough = agreed.filter(pl.col("of") >= 2 * options.min_calls)
        bound = agreed.filter(must_be_encrypted(agreed, options))
        tunnels, vanished = self._tunnels(seen)
        either = agreed.join(
            pl.concat([enough.select(CALL), bound.select(CALL)]).unique(), on=CALL, how="semi"
        )
        judged = distinct(either) + tunnels
        scope = scope_of(
            distinct(calls) + encrypted_connections(seen) + tunnels,
            judged,
            f"calls without an agreement on media, fewer than {2 * options.min_calls} of them between two hosts, or encrypted signalling",
        )
        high: Severity = severity if options.severity is not None else "high"
        findings: list[Finding] = []
        for row in summed(bound.filter(~pl.col("is_safe")), ["end_a", "end_b"]):
            text = f"{plural(row['packets'], 'call')} between {_ends(row)} had media in clear, {_when(row)}; the policy demands that they are encrypted."
            findings.append(self._found(row, scope, high, "clear", text))
        bare = pl.concat(
            [self._after(each, options.min_calls) for each in enough.partition_by(pair, maintain_order=True)]
            or [enough.with_columns(safe=0, before=0, chance=0.0, since=0)]
        )
        for row in summed(bare, [*pair, "safe", "before", "chance", "since"]):
            text = (
                f"Of calls between {_ends(row)}, {row['safe']} of {row['before']} were encrypted before {time_text(row['since'])}; since then "
                f"{plural(row['packets'], 'call')} had media in clear, {_when(row)}. By chance that would be with a probability of {row['chance']:.1g}."
            )
            findings.append(self._found(row, scope, severity, "share", text))
        fallen, too_few = self._signalling(calls, seen, options.min_calls)
        for row in summed(fallen, ["end_a", "end_b"]):
            text = f"{plural(row['packets'], 'call')} between {_ends(row)} were set up in clear, {_when(row)}, since their signalling over TLS ended."
            findings.append(self._found(row, scope, severity, "signalling", text))
        for row in group(vanished, ["end_a", "end_b"]) if len(vanished) else []:
            text = f"IPsec between {_ends(row)} ended, and {plural(row['packets'], 'packet')} went in clear between them since, {_when(row)}."
            findings.append(self._found(row, scope, severity, "esp", text))
        return Judgement(
            scope,
            tuple(findings),
            nothing="no calls and no IPsec were seen",
            note=self._hint(agreed, options.min_calls),
            doubt=seen.heard.doubt or too_few,
        )

    def _found(
        self, row: dict[str, Any], scope: Scope, severity: Severity, kind: str, sentence: str
    ) -> Finding:
        return self.finding(
            row,
            scope,
            severity,
            identity=(kind, row["end_a"], row["end_b"]),
            kind="policy",
            sentence=sentence,
        )

    @staticmethod
    def _after(calls: pl.DataFrame, least: int) -> pl.DataFrame:
        """The calls in clear since the share of encrypted ones fell; none if it did not."""
        # In the order of the first tap that saw each: clocks of taps may be apart.
        order = calls.sort("tap", "ts", "call", maintain_order=True).unique(
            "call_id", keep="first", maintain_order=True
        )
        order = order.sort("ts", "call", maintain_order=True)
        at, chance, safe = fall(order["is_safe"].to_list(), least)
        since = order["ts"][at] if at else 0
        later = order.slice(at).filter(~pl.col("is_safe")) if at else order.clear()
        after = calls.join(later.select("call_id"), on="call_id", how="semi", maintain_order="left")
        return after.with_columns(
            safe=pl.lit(safe), before=pl.lit(at), chance=pl.lit(chance), since=pl.lit(since, pl.Int64)
        )

    @staticmethod
    def _signalling(calls: pl.DataFrame, seen: Observed, least: int) -> tuple[pl.DataFrame, str | None]:
        """Calls in clear between hosts that had TLS before; and that there are too few of them to tell, if so."""
        flows = seen.unlisted.filter(
            pl.col("protocol") == 6,
            (pl.col("src_port") == SIPS) | (pl.col("dst_port") == SIPS),
            pl.col("src").is_not_null(),
        )
        if flows.is_empty():
            return calls.clear(), None
        ended = (
            flows.with_columns(*ordered_ends("src", "dst"))
            .group_by("tap", "end_a", "end_b")
            .agg(pl.col("last_ts").max().alias("tls_last"), pl.col("packets").sum().alias("tls"))
        )
        ended = ended.filter(pl.col("tls") >= FEW)
        found = calls.join(ended, on=["tap", "end_a", "end_b"])
        pair = ["tap", "end_a", "end_b"]
        later = found.filter(pl.col("ts").min().over(pair) > pl.col("tls_last"))
        fallen = later.filter(pl.len().over(pair) >= least)
        few = distinct(later.join(fallen.select(pair[1:]), on=pair[1:], how="anti"))
        why = f"{plural(few, 'call')} in clear since signalling over TLS ended, and it takes {least} to tell"
        return fallen, why if few else None

    @staticmethod
    def _tunnels(seen: Observed) -> tuple[int, pl.DataFrame]:
        """How many pairs of hosts have IPsec, and what went in clear between those that had."""
        pair = ["tap", "end_a", "end_b"]
        flows = seen.unlisted.filter(pl.col("src").is_not_null(), pl.col("dst").is_not_null())
        flows = flows.with_columns(*ordered_ends("src", "dst"))
        # Of a packet in a readable tunnel, the ends are those of the inner one.
        sealed = (
            flows.filter(pl.col("protocol") == ESP)
            .group_by(pair)
            .agg(pl.col("last_ts").max().alias("esp_last"), pl.col("packets").sum().alias("esp"))
        )
        sealed = sealed.filter(pl.col("esp") >= FEW)
        beside = (
            pl.col("protocol").is_in(list(AROUND))
            | pl.col("src_port").is_in(list(IKE))
            | pl.col("dst_port").is_in(list(IKE))
        )
        clear = flows.filter(~beside.fill_null(value=False)).join(sealed, on=pair, maintain_order="left")
        clear = clear.filter(
            pl.col("first_ts").min().over(pair) > pl.col("esp_last"),
            pl.col("packets").sum().over(pair) >= FEW,
        )
        # What several taps have seen is counted at the one that saw most of it.
        ends = pair[1:]
        count = pl.col("packets").sum().over(pair)
        clear = clear.with_columns(count=count).filter(pl.col("count") == pl.col("count").max().over(ends))
        clear = clear.filter(pl.col("tap") == pl.col("tap").min().over(ends))
        return len(sealed.select(ends).unique()), clear

    @staticmethod
    def _hint(agreed: pl.DataFrame, least: int) -> str | None:
        """Hosts that agree on encryption with nobody, while others do."""
        if agreed.is_empty():
            return None
        offered = agreed.filter(pl.col("encryption_offered").list.len() > 0)
        pairs = offered.group_by("tap", "src", "dst", maintain_order=True).agg(
            pl.len(), pl.col("is_safe").mean()
        )
        pairs = pairs.filter(pl.col("len") >= least)
        good = pairs.filter(pl.col("is_safe") > 0.5).select("tap", "src").unique()
        odd = (
            pairs.filter(pl.col("is_safe") == 0)
            .join(good, on=["tap", "src"], how="semi")["dst"]
            .unique(maintain_order=True)
        )
        if odd.is_empty():
            return None
        return f"{listing([address_text(each) for each in odd])} never agreed on encryption that was offered, while others do"


def must_be_encrypted(calls: pl.DataFrame, options: B16Options) -> pl.Series:
    """Which calls the policy demands to be encrypted."""

    def either(prefixes: tuple[str, ...]) -> pl.Series:
        return inside(calls["src"], prefixes) | inside(calls["dst"], prefixes)

    bound = either(options.encrypted or ())
    return bound & either(options.peers) if options.peers is not None else bound


def fall(safe: Sequence[bool], least: int) -> tuple[int, float, int]:
    """Where the share of encrypted calls fell, how likely that is by chance, and how many were encrypted before; 0, 1, 0 if it did not."""
    total, count = sum(safe), len(safe)
    best, at, upto = -math.inf, 0, 0
    first = 0
    for index, each in enumerate(safe, 1):
        upto += each
        if index < least or count - index < least:
            continue
        before, after = upto / index, (total - upto) / (count - index)
        if before - after < DROP:
            continue
        fit = _likelihood(upto, index) + _likelihood(total - upto, count - index)
        if fit > best:
            best, at, first = fit, index, upto
    if not at:
        return 0, 1.0, 0
    low, _ = share_interval(first, at)
    places = count - 2 * least + 1
    chance = min(1.0, places * tail(total - first, count - at, low or 0.0))
    return (at, chance, first) if chance < CHANCE else (0, 1.0, 0)


def tail(hits: int, of: int, share: float) -> float:
    """How likely at most so many hits are: the lower tail of the binomial distribution, added up term by term."""
    if share <= 0 or hits >= of:
        return 1.0
    if share >= 1:
        return 0.0
    return min(
        1.0,
        math.fsum(
            math.exp(
                math.lgamma(of + 1)
                - math.lgamma(k + 1)
                - math.lgamma(of - k + 1)
                + k * math.log(share)
                + (of - k) * math.log1p(-share)
            )
            for k in range(hits + 1)
        ),
    )


def _likelihood(hits: int, of: int) -> float:
    return sum(part * math.log(part / of) for part in (hits, of - hits) if part)


def _ends(row: dict[str, Any]) -> str:
    return f"{address_text(row['end_a'])} and {address_text(row['end_b'])}"


def _when(row: dict[str, Any]) -> str:
    return f"{span_text(row['first_ts'], row['last_ts'])} (on {listing(row['taps'])})"
