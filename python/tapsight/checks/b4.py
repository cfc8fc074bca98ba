"""B4: the same devices bring the packets of prefixes."""

from __future__ import annotations

from tapsight._options import Options, Severity
from tapsight._text import listing, mac_text, plural, time_text
from tapsight.checks._base import Check, Judgement, Observed, Scope
from tapsight.checks._paths import Change, moved_at_once
from tapsight.findings import Finding


class B4(Check[Options]):
    """Packets from a prefix are brought by the same next hop as before.

    What it looks for:
        On one tap and VLAN, a prefix (/24 of IPv4, /48 of IPv6) with at least 3 hosts whose packets come with another source MAC from some
        time on: more than 1 % of its packets, 50 before and after, of at least 3 hosts that the first device brought earlier.

    Why it matters:
        Who brings the packets of a prefix is the next hop on their way. Another one is another way.

    Severity:
        Low: routes change for good reasons, too. Medium if the hop count changed within 60 s (B2). B3 is of high severity if it comes with
        this. If everything that one device brought is brought by another since, it is one finding of severity info: this
        is what maintenance looks like.

    What to do:
        Find the device that has the new MAC address, and compare with the routing changes of that time.

    What it cannot see:
        A new way behind the same next hop; captures without MAC addresses; prefixes with few hosts or packets. Several next hops that share
        the load from the start, and addresses that routers share (VRRP, HSRP, GLBP), are left out.

    Source: catalogue of detectors, B4; RFC 9568, section 7.3; ATT&CK T1557 (Adversary-in-the-Middle), T1599 (Network Boundary Bridging).
    """

    id = "B4"
    title = "The same devices bring the packets of prefixes"
    severity = "low"
    options = Options

    def judge(self, seen: Observed, options: Options, severity: Severity) -> Judgement:
        """Judges each prefix by the source MACs of its packets."""
        changes = seen.owner_changes
        scope = Scope(
            changes.in_scope, changes.judged, "prefixes with too few hosts or packets behind one device"
        )
        whole = moved_at_once(seen.unlisted, changes.all)
        known = {id(change) for same in whole.values() for change in same}
        findings = []
        for same in whole.values():
            prefixes = listing([change.prefix_text for change in same])
            change = same[0]
            sentence = f"All that {_mac(change.before)} brought ({prefixes}) is brought by {_mac(change.after)} {_since(change)}"
            findings.append(self._finding(change, scope, "info", sentence))
        for change in changes.all:
            if id(change) in known:
                continue
            hops = change.together(seen.hop_changes.all)
            worse: Severity = "medium" if hops is not None and options.severity is None else severity
            sentence = (
                f"{plural(change.packets, 'packet')} of {change.prefix_text}, which {_mac(change.before)} brought, are brought by "
                f"{_mac(change.after)} {_since(change)}"
            )
            if hops is not None:
                sentence += (
                    f" At the same time the number of hops went from {hops.before!s} to {hops.after!s}."
                )
            findings.append(self._finding(change, scope, worse, sentence))
        return Judgement(
            scope, tuple(findings), nothing="no packets of remote hosts were seen", note=changes.note
        )

    def _finding(self, change: Change, scope: Scope, severity: Severity, sentence: str) -> Finding:
        return self.finding(
            change.row,
            scope,
            severity,
            kind="diversion",
            identity=(change.tap, change.vlan, change.prefix, change.before, change.after),
            sentence=sentence,
        )


def _mac(value: int | bytes) -> str:
    return mac_text(value) if isinstance(value, bytes) else str(value)


def _since(change: Change) -> str:
    vlan = f" in VLAN {change.vlan}" if change.vlan is not None else ""
    return f"since {time_text(change.ts)} (on {change.tap}{vlan})."
