"""B2: hop counts of prefixes stay as they are."""

from __future__ import annotations

from tapsight._options import Options, Severity
from tapsight._text import mac_text, plural, time_text
from tapsight.checks._base import Check, Judgement, Observed, Scope
from tapsight.checks._paths import Change


class B2(Check[Options]):
    """Packets from a prefix take as many hops as before.

    What it looks for:
        A prefix (/24 of IPv4, /48 of IPv6) of which at least 3 hosts became nearer or farther by at least 2 hops at about the same time, with
        50 packets before and after, and stayed so. Hops are what is missing of the TTL to the next of 32, 64, 128 and 255.

    Why it matters:
        Traffic that is led past somebody who reads it comes a longer way, or another.

    Severity:
        Low: routes change for good reasons, too. Medium if another device brings the prefix's packets since (B4). B3 is of high severity
        if it comes with this.

    What to do:
        Compare with the routing changes of that time. Trace the route to the prefix.

    What it cannot see:
        Detours of equal length, and tunnels that hide their hops. Hosts with a changing number of hops are not judged, nor prefixes of which
        less was seen.

    Source: Jin, Wang, Shin: Hop-Count Filtering, CCS 2003; ATT&CK T1557 (Adversary-in-the-Middle), T1090 (Proxy).
    """

    id = "B2"
    title = "Hop counts of prefixes stay as they are"
    severity = "low"
    options = Options

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges each prefix by the TTLs of its hosts."""
        changes = seen.hop_changes
        scope = Scope(changes.in_scope, changes.judged, "prefixes with too few hosts or packets")
        findings = []
        for change in changes.all:
            owner = change.together(seen.owner_changes.all)
            worse: Severity = "medium" if owner is not None and options.severity is None else severity
            more = ""
            if owner is not None and isinstance(owner.after, bytes):
                more = f" Since then, {mac_text(owner.after)} brings its packets."
            findings.append(
                self.finding(
                    change.row,
                    scope,
                    worse,
                    kind="diversion",
                    identity=(change.tap, change.prefix, change.before, change.after),
                    sentence=f"{plural(change.hosts, 'host')} of {change.prefix_text} became {_words(change)}, at {time_text(change.ts)} (on "
                    f"{change.tap}), for {plural(change.packets, 'packet')} since.{more}",
                )
            )
        return Judgement(
            scope, tuple(findings), nothing="no packets of remote hosts were seen", note=changes.note
        )


def _words(change: Change) -> str:
    before, after = int(change.before), int(change.after)
    way = "farther" if after > before else "nearer"
    return f"{way} by {abs(after - before)} hops ({before} before, {after} since)"
