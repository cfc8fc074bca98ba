"""B3: round-trip times of prefixes stay as they are."""

from __future__ import annotations

from tapsight._options import Options, Severity
from tapsight._text import duration, mac_text, plural, time_text
from tapsight.checks._base import Check, Judgement, Observed, Scope
from tapsight.checks._paths import Change

NANOSECONDS_A_KILOMETRE = 10_000
"""Light in fibre takes about 5 microseconds a kilometre, and goes there and back."""


class B3(Check[Options]):
    """Servers of a prefix answer as soon as before.

    What it looks for:
        A prefix (/24 of IPv4, /48 of IPv6) whose servers answered SYN sooner or later from some time on: a step of more than 10 ms and of
        5 median absolute deviations, with 10 connections on either side, of which three quarters lie apart by half of the step.

    Why it matters:
        A detour takes time: 1 ms of round trip is at most 100 km of fibre each way.

    Severity:
        Low alone: links fill, and servers get busy. High if, within 60 s, the prefix's hop count changed (B2) or another device
        brings its packets (B4).

    What to do:
        Compare with the routing changes of that time. Trace the route to the prefix.

    What it cannot see:
        Times of connections whose beginning was not seen, and SYN that was sent again; prefixes with less than 20 connections. The part of the
        way between client and tap is not in it.

    Source: catalogue of detectors, B3; RFC 6298, section 2; ATT&CK T1557 (Adversary-in-the-Middle).
    """

    id = "B3"
    title = "Round-trip times of prefixes stay as they are"
    severity = "low"
    options = Options

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges each prefix by its servers' answers to SYN."""
        changes = seen.rtt_changes
        scope = Scope(changes.in_scope, changes.judged, "prefixes with too few connections")
        findings = []
        for change in changes.all:
            hops, owner = change.together(seen.hop_changes.all), change.together(seen.owner_changes.all)
            both = (hops or owner) is not None
            worse: Severity = "high" if both and options.severity is None else severity
            findings.append(
                self.finding(
                    change.row,
                    scope,
                    worse,
                    kind="diversion",
                    identity=(change.tap, change.prefix),
                    sentence=_sentence(change, hops, owner),
                )
            )
        return Judgement(
            scope, tuple(findings), nothing="no connections were seen to begin", note=changes.note
        )


def _sentence(change: Change, hops: Change | None, owner: Change | None) -> str:
    before, after = int(change.before), int(change.after)
    text = (
        f"Servers of {change.prefix_text} answered {'later' if after > before else 'sooner'} since {time_text(change.ts)} (on "
        f"{change.tap}): after {duration(after)} instead of {duration(before)}, in {plural(change.packets, 'connection')}"
    )
    if after > before:
        far = (after - before) // NANOSECONDS_A_KILOMETRE
        text += f", which could be up to {far:,} km farther"
    text += "."
    if hops is not None:
        text += f" At the same time the number of hops went from {hops.before!s} to {hops.after!s}."
    if owner is not None and isinstance(owner.after, bytes):
        text += f" Since the same time, {mac_text(owner.after)} brings its packets."
    return text
