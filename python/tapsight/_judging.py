"""Judging: what was seen and what a policy says → verdicts and findings, step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import pyarrow as pa

from tapsight import _answers
from tapsight._answers import Answer
from tapsight._call_verdicts import judge_calls
from tapsight._exceptions import Excepting, except_from
from tapsight._options import Options, Severity
from tapsight._readings import Agreed, Reading, agree, changes_text, narrowed, readings, settled_calls
from tapsight._sets import now
from tapsight._text import percent_beside, plural
from tapsight.checks import CHECKS
from tapsight.checks._base import OFF, Check, Heard, Judgement, Lack, Observed, Scope, flows_frame
from tapsight.checks._needs import needs_text
from tapsight.checks.i6 import authorised, is_session
from tapsight.claims import Claim, read_claims
from tapsight.detectors import DETECTORS
from tapsight.findings import Finding, Strike, findings_of, period, worst
from tapsight.policy import Network, Policy

if TYPE_CHECKING:
    from tapsight._engine import Examination
    from tapsight.checks._tables import Captures
    from tapsight.places import Places


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of one detector or check."""

    check: str
    title: str
    verdict: Literal["pass", "fail", "unknown"]
    reason: str | None
    severity: Severity
    in_scope: int
    judged: int
    coverage: float | None
    findings: int
    ticket: str | None
    lack: Lack | None = None
    """What is missing where nothing was in scope, if it is one of these."""
    doubt: str | None = None
    """Why it would not pass, had nothing failed."""


def verdict_schema() -> pa.Schema:
    """The schema of the verdicts table. Fields mean what :attr:`Result.verdicts` says."""
    text, count = pa.string(), pa.uint64()
    return pa.schema(
        [
            pa.field("check", text, nullable=False),
            pa.field("title", text, nullable=False),
            pa.field("verdict", text, nullable=False),
            pa.field("reason", text),
            pa.field("severity", text, nullable=False),
            pa.field("in_scope", count, nullable=False),
            pa.field("judged", count, nullable=False),
            pa.field("coverage", pa.float64()),
            pa.field("findings", count, nullable=False),
            pa.field("ticket", text),
        ]
    )


# --- From what was seen to what is said of it --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What captures come to under a policy."""

    verdicts: list[Verdict]
    """Of detectors and checks, in their order."""
    excepting: Excepting
    """The findings: those that count, and those that somebody answers for."""
    calls: pa.Table
    answers: tuple[Answer, ...]
    places: Places | None
    """What is known of addresses now, if the policy says what is home."""
    checks: Mapping[str, type[Check[Any]]]
    """The checks that judge now, by id."""


def outcome_of(
    examination: Examination,
    policy: Policy | None,
    problems: Sequence[str],
    captures: Captures,
    checks: Sequence[type[Check[Any]]],
) -> Outcome:
    """Judges what the engine found in captures by each reading of the policy, and says what is sure, what is excepted and what rests on that."""
    taps = pa.table(examination.taps)
    first, last = period(taps) if taps.num_rows else (now(), now())
    if policy is not None and policy.network.home:
        # Once, for all readings.
        policy.known_places()
    parts = readings(policy, first, last)
    in_force = [in_force_under(part.policy, checks) for part in parts]
    seen = [
        _see(examination, part.policy, captures, each) for part, each in zip(parts, in_force, strict=True)
    ]
    judged: list[_Judged] = []
    for (each, options), mine in zip(seen, in_force, strict=True):
        # What a program brings along does not go by the policy, and is asked once.
        before = judged[0].judgements if judged else {}
        done = {check_.id: before[check_.id] for check_ in checks if check_.id in before}
        judged.append(_judge_all(each, options, mine, done))
    changed = changes_text(policy, first, last) if len(parts) > 1 else ""
    agreed = agree(parts, [(each.findings, each.strikes) for each in judged], changed)
    agreed = _narrow(agreed, parts, seen, in_force)
    waivers = policy.exceptions if policy is not None else ()
    excepting = except_from(agreed.findings, waivers, last)
    now_seen, options = seen[-1]
    verdicts = _verdicts(judged, agreed, excepting, changed)
    later, found = _later(
        now_seen, options, in_force[-1], verdicts, lambda each: except_from(each, waivers, last), excepting
    )
    verdicts += later
    if found:
        excepting = except_from([*agreed.findings, *found], waivers, last)
    order = {id_: at for at, id_ in enumerate((*DETECTORS, *in_force[-1]))}
    verdicts.sort(key=lambda each: order[each.check])
    demanded = {id_: (options[id_] or Options()).min_coverage for id_ in options}
    # What somebody answers for has happened all the same: answers and calls say so.
    sure = {finding.id for finding in agreed.findings}
    calls = [
        judge_calls(each, its, [one for one in made.findings if one.id in sure], verdicts, made.live)
        for (each, its), made in zip(seen, judged, strict=True)
    ]
    told_calls = settled_calls(parts, calls, now_seen.calls["last"].to_list() if len(parts) > 1 else ())
    answers = [
        _answers.happened(question, verdicts, demanded, agreed.findings, problems, excepting)
        for question in _answers.QUESTIONS
    ]
    voice = _answers.agreed(verdicts, excepting.findings, told_calls, now_seen, problems)
    return Outcome(
        verdicts,
        excepting,
        told_calls,
        (*answers, Answer("agreed", "Did voice travel as agreed?", *voice)),
        now_seen.places,
        in_force[-1],
    )


# --- What there is to judge -------------------------------------------------------------------------------------------


def in_force_under(
    policy: Policy | None, further: Sequence[type[Check[Any]]] = ()
) -> dict[str, type[Check[Any]]]:
    """The checks that judge, by id: without a policy, those that need none.

    Raises:
        ValueError: Two are called alike.
    """
    if policy is not None:
        checks = policy.in_force()
    else:
        network = Network()
        checks = {
            id_: each
            for id_, each in CHECKS.items()
            if each.pack is None and not each.missing_under(lambda _: None, network)
        }
    for each in further:
        if each.id in {*checks, *CHECKS, *DETECTORS}:
            raise ValueError(f"two checks are called {each.id!r}")
        checks[each.id] = each
    return checks


def _see(
    examination: Examination,
    policy: Policy | None,
    captures: Captures,
    in_force: Mapping[str, type[Check[Any]]],
) -> tuple[Observed, dict[str, Any]]:
    """What there is to judge under a policy, and its options by check and detector."""
    claims = read_claims(pa.table(examination.claims))
    scopes = {
        row["check"]: Scope(row["in_scope"], row["judged"], row["reason"], row["lost"])
        for row in pa.table(examination.scopes).to_pylist()
    }
    options: dict[str, Any] = {
        id_: policy.options(id_) if policy is not None else None for id_ in (*DETECTORS, *CHECKS, *in_force)
    }
    network = policy.network if policy is not None else Network()
    told = [DETECTORS[claim.family].under(claim, options[claim.family]) for claim in claims]
    # What a detector's own list allows is authorised for the others too.
    allowed = [old.tunnel for old, new in zip(claims, told, strict=True) if old.report and not new.report]
    listed_tunnels = authorised(claims, _sinks(options)).union(
        tunnel for tunnel in allowed if tunnel.encap is not None
    )
    flows = flows_frame(pa.table(examination.flows))
    heard = Heard(
        examination.calls,
        examination.call_changes,
        examination.call_media,
        examination.media,
        examination.missing,
        cut=int(flows.filter(pl.col("traffic") == "voice-signalling")["cut"].sum()),
        is_whole=captures.is_whole,
    )
    crossings = options["I1"]
    seen = Observed(
        flows,
        told,
        scopes,
        listed_tunnels,
        network,
        heard,
        places=policy.known_places() if policy is not None and network.home else None,
        agreed=(crossings.allow or ()) if crossings is not None and crossings.enabled else (),
        captures=captures,
        examined=(pa.table(examination.taps), pa.table(examination.compared), pa.table(examination.files)),
    )
    return seen, options


def _sinks(options: Mapping[str, Any]) -> Any:
    """The options of I6, if the policy lists sinks."""
    listed = options["I6"] is not None and options["I6"].sinks is not None and options["I6"].enabled
    return options["I6"] if listed else None


# --- Detectors and checks, by one reading of a policy -----------------------------------------------------------------


_Made = tuple[str, Judgement, Severity | None, Options]
"""Title, judgement, severity (none: that of what fails it) and options of a check or detector."""


@dataclasses.dataclass(frozen=True)
class _Judged:
    """What one reading of a policy makes of what was seen."""

    judgements: dict[str, _Made]
    """By check and detector."""
    findings: list[Finding]
    strikes: dict[str, list[Strike]]
    live: list[Claim]
    """Claims that are reported."""


def _judge_all(
    seen: Observed,
    options: Mapping[str, Any],
    in_force: Mapping[str, type[Check[Any]]],
    done: Mapping[str, _Made],
) -> _Judged:
    """All that detectors and checks make of it, but for those that say what others found; some are done already."""
    off = {id_ for id_, each in options.items() if each is not None and not each.enabled}
    live = [
        claim
        for claim in seen.claims
        if claim.report and claim.family not in off and not _is_listed(claim, seen)
    ]
    severities = {
        id_: each.severity for id_, each in options.items() if each is not None and each.severity is not None
    }
    findings, strikes = findings_of(live, sinks_listed=_sinks(options) is not None, severities=severities)
    judgements: dict[str, _Made] = {}
    for id_, detector in DETECTORS.items():
        said = options[id_] or detector.options()
        judgement = _where_read(_judge_detector(id_, seen, said), seen)
        judgements[id_] = detector.title, judgement, said.severity, said
    for id_, check_ in in_force.items():
        if check_.turn:
            continue
        judgements[id_] = done[id_] if id_ in done else _make(check_, seen, options)
        _, judgement, severity, _ = judgements[id_]
        strikes[id_] = [Strike(severity or check_.severity, (each,)) for each in judgement.findings]
        findings += judgement.findings
    return _Judged(judgements, _pointed(findings, options), strikes, live)


def _narrow(
    agreed: Agreed,
    parts: Sequence[Reading],
    seen: Sequence[tuple[Observed, Mapping[str, Any]]],
    in_force: Sequence[Mapping[str, type[Check[Any]]]],
) -> Agreed:
    """Findings of which a part was allowed, as those of the other part: judged once more by what was there when it was not allowed."""
    found: dict[str, Finding] = {}
    for at in sorted(set(agreed.partly.values())):
        ids = {each.check for each in agreed.findings if agreed.partly.get(each.id) == at}
        checks = [each for id_, each in in_force[at].items() if id_ in ids and not each.turn]
        if not checks:
            continue
        observed, options = seen[at]
        observed, is_sure = narrowed(observed, parts[at])
        made = [one for each in checks for one in _make(each, observed, options)[1].findings]
        for finding in _pointed(made, options):
            rest = (
                ""
                if is_sure
                else " There may be more, of conversations that began earlier or went on longer."
            )
            found[finding.id] = dataclasses.replace(finding, sentence=f"{finding.sentence}{rest}")
    findings = [
        found.get(each.id, each) if each.check is not None and each.id in agreed.partly else each
        for each in agreed.findings
    ]
    return dataclasses.replace(agreed, findings=findings)


def _pointed(findings: Iterable[Finding], options: Mapping[str, Any]) -> list[Finding]:
    """The findings with the techniques that the policy says they point to."""
    techniques = {id_: each.attack for id_, each in options.items() if each is not None}
    return [
        dataclasses.replace(each, techniques=techniques[each.family])
        if techniques.get(each.family) is not None
        else each
        for each in findings
    ]


def _make(check_: type[Check[Any]], seen: Observed, said: Mapping[str, Any]) -> _Made:
    """What a check makes of what was seen."""
    options = said[check_.id]
    severity = (options.severity if options is not None else None) or check_.severity
    judgement = _where_read(_judge_check(check_(), seen, said, severity), seen)
    # They say why they would leave something out, whether or not there was any.
    if judgement.scope.judged == judgement.scope.in_scope:
        judgement = dataclasses.replace(judgement, scope=dataclasses.replace(judgement.scope, reason=None))
    return check_.title, judgement, severity, options or check_.options()


def _where_read(judgement: Judgement, seen: Observed) -> Judgement:
    """The judgement; where it says that nothing of a kind was seen, it does not say so of frames that nobody could read."""
    text, is_all = seen.unread
    if text is None or judgement.scope.in_scope or judgement.lack != "traffic":
        return judgement
    if is_all:
        return dataclasses.replace(judgement, nothing=text, lack="reading")
    return dataclasses.replace(judgement, nothing=f"{judgement.nothing}, but {text}")


def _is_listed(claim: Claim, seen: Observed) -> bool:
    return is_session(claim) and claim.tunnel in seen.authorised


def _judge_detector(id_: str, seen: Observed, options: Options) -> Judgement:
    listed = sum(claim.report and claim.family == id_ and _is_listed(claim, seen) for claim in seen.claims)
    note = plural(listed, "authorised mirror session") if listed else None
    scope = seen.scopes.get(id_, Scope())
    # Where the engine gives a reason, that says more.
    why = scope.reason if scope.in_scope == 0 else None
    nothing = why or "no packets that it could look at"
    lack: Lack | None = None if why else "traffic"
    doubt = DETECTORS[id_].doubt([claim for claim in seen.claims if claim.family == id_], options)
    return Judgement(scope, nothing=nothing, lack=lack, note=note, doubt=doubt or scope.doubt)


def _judge_check(
    check_: Check[Any], seen: Observed, said: Mapping[str, Any], severity: Severity
) -> Judgement:
    missing = check_.missing_under(said.get, seen.network)
    options = said[check_.id] or check_.options()
    if not options.enabled:
        # What it would have judged keeps the questions open that it answers.
        judgement = Judgement(check_.judge(seen, options, severity).scope if check_.asks else Scope())
    elif missing:
        judgement = Judgement(Scope(), nothing=needs_text(missing), lack="policy")
    else:
        judgement = check_.judge(seen, options, severity)
    if check_.hears and not seen.heard.is_whole:
        judgement = dataclasses.replace(judgement, doubt="calls and media of earlier runs are not known")
    return judgement


# --- Verdicts, by what is sure and what counts ------------------------------------------------------------------------


def _least(coverage: float | None) -> float:
    return 2.0 if coverage is None else coverage


def _verdicts(judged: Sequence[_Judged], agreed: Agreed, excepting: Excepting, changed: str) -> list[Verdict]:
    """The verdict of each check and detector, by what is sure and what counts."""
    counting = {finding.id for finding in excepting.findings}
    verdicts = []
    for id_ in judged[0].judgements:
        title, judgement, severity, options = min(
            (each.judgements[id_] for each in judged), key=lambda each: _least(each[1].scope.coverage)
        )
        doubt = next(filter(None, (each.judgements[id_][1].doubt for each in judged)), None)
        strikes = agreed.strikes.get(id_, ())
        failing = [each for each in strikes if not counting.isdisjoint(told.id for told in each.findings)]
        note = judgement.note
        if unsure := agreed.doubted.get(id_):
            sentences = " ".join(str(each.sentence) for each in unsure[:3])
            doubt = f"{plural(len(unsure), 'finding')} in doubt, as the policy changed meanwhile ({changed}): {sentences}"
            note = "; ".join(filter(None, [note, doubt]))
        judgement = dataclasses.replace(judgement, note=note, doubt=doubt)
        verdict = _settle(
            id_,
            title,
            judgement,
            count=len(failing),
            severity=severity or worst([each.severity for each in failing] or ["info"]),
            options=options,
            excepted=excepting.note(told for each in strikes for told in each.findings),
        )
        verdicts.append(verdict)
    return verdicts


def _later(
    seen: Observed,
    options: Mapping[str, Any],
    in_force: Mapping[str, type[Check[Any]]],
    verdicts: Sequence[Verdict],
    excepted: Callable[[Sequence[Finding]], Excepting],
    excepting: Excepting,
) -> tuple[list[Verdict], list[Finding]]:
    """The verdicts of checks that rest on those of others, by what counts of them; and what they find themselves."""
    made: list[Verdict] = []
    found: list[Finding] = []
    for turn in sorted({each.turn for each in in_force.values()} - {0}):
        known = {each.check: each for each in (*verdicts, *made)}
        seen = dataclasses.replace(seen, verdicts=known, findings=excepting.findings)
        for id_, check_ in in_force.items():
            if check_.turn != turn:
                continue
            title, judgement, severity, said = _make(check_, seen, options)
            mine = _pointed(judgement.findings, options)
            counting = excepted(mine)
            made.append(
                _settle(
                    id_,
                    title,
                    judgement,
                    count=judgement.others + len(counting.findings),
                    severity=severity or check_.severity,
                    options=said,
                    excepted=counting.note(mine),
                )
            )
            found += mine
    return made, found


def _settle(
    id_: str,
    title: str,
    judgement: Judgement,
    *,
    count: int,
    severity: Severity,
    options: Options,
    excepted: str | None = None,
) -> Verdict:
    """The verdict of a judgement: something that failed fails; what could hardly be judged does not pass. ``excepted`` says what does not count."""
    scope = judgement.scope
    coverage = scope.coverage
    why = scope.reason
    word: Literal["pass", "fail", "unknown"] = "unknown"
    lack: Lack | None = None
    reasons: list[str | None]
    if not options.enabled:
        count, reasons = 0, [OFF]
    elif count:
        word, reasons = "fail", [judgement.note, why and f"not judged: {why}"]
    elif coverage is None:
        reasons, lack = [judgement.nothing], judgement.lack
    elif scope.judged == 0:
        reasons = ["nothing in scope could be judged", why]
    elif coverage < options.min_coverage:
        share = percent_beside(scope.judged, scope.in_scope, options.min_coverage)
        reasons = [
            f"only {share} could be judged, less than the {100 * options.min_coverage:g} % demanded",
            why,
        ]
    elif judgement.doubt:
        reasons = [judgement.doubt, why]
    else:
        word, reasons = "pass", [judgement.note, why and f"not judged: {why}"]
    reason = "; ".join(filter(None, [*reasons, excepted])) or None
    return Verdict(
        id_,
        title,
        word,
        reason,
        severity,
        scope.in_scope,
        scope.judged,
        coverage,
        count,
        options.ticket,
        lack,
        judgement.doubt,
    )
