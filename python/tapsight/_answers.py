"""The questions that captures are taken for, in a line each: what was asked, the answer, and what it rests on."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tapsight._options import MIN_COVERAGE
from tapsight._text import percent, plural

if TYPE_CHECKING:
    import pyarrow as pa

    from tapsight._exceptions import Excepting
    from tapsight._judging import Verdict
    from tapsight.checks._base import Lack, Observed
    from tapsight.detectors import Question
    from tapsight.findings import Finding

AnswerWord = Literal["yes", "no", "no sign", "cannot tell"]
Subject = Literal["copied", "diverted", "agreed"]
Tone = Literal["good", "bad", "open"]

_TONES: dict[tuple[Subject, AnswerWord], Tone] = {
    ("copied", "yes"): "bad",
    ("copied", "no sign"): "good",
    ("diverted", "yes"): "bad",
    ("diverted", "no sign"): "good",
    ("agreed", "no"): "bad",
    ("agreed", "yes"): "good",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one of the questions that the captures were taken for."""

    about: Subject
    """Which question: ``copied``, ``diverted`` or ``agreed``."""
    question: str
    """As people ask it."""
    answer: AnswerWord
    """``yes`` or ``no sign`` (copied, diverted), ``yes`` or ``no`` (agreed), ``cannot tell``."""
    because: str
    """What it rests on."""

    @property
    def tone(self) -> Tone:
        """Whether that is what one hopes for."""
        return _TONES.get((self.about, self.answer), "open")


# --- Was traffic copied, was it diverted? ------------------------------------------------------------------------------

QUESTIONS: dict[Question, tuple[str, frozenset[str], str]] = {
    "copied": ("Was traffic copied?", frozenset({"copy"}), "copies"),
    "diverted": ("Was traffic diverted?", frozenset({"diversion", "injection"}), "diversions"),
}
"""The questions, with the kinds of findings that answer them with yes."""


def happened(
    question: Question,
    verdicts: list[Verdict],
    demanded: Mapping[str, float],
    findings: list[Finding],
    problems: Sequence[str],
    excepting: Excepting,
) -> Answer:
    """The answer that the verdicts of detectors and checks allow, with the coverage that is demanded of each.

    What is excepted has happened all the same: the answer is still yes, and says who answers for it.
    """
    text, kinds, what = QUESTIONS[question]
    signs = [each for each in findings if each.kind in kinds or (question == "copied" and each.check == "I6")]
    # What is odd only, proves nothing.
    proof = [each for each in signs if each.severity not in {"info", "low"}]
    asked = [each for each in verdicts if _is_asked(each, question)]
    # One that failed for another question may still have seen too little for this one.
    blind = [
        each for each in asked if each.verdict == "unknown" or (each.coverage or 0) < demanded[each.check]
    ]
    if proof:
        most = max(each.packets for each in proof)
        because = f"{plural(len(proof), 'finding')}, the largest of {plural(most, 'packet')}"
        because = "; ".join(filter(None, [because, excepting.note(proof)]))
        return Answer(question, text, "yes", because)
    if problems or blind or not asked:
        reasons = [f"{each.check}: {_briefly(each.reason)}" for each in blind]
        reasons += [f"{plural(len(problems), 'capture')} could not be read"] if problems else []
        return Answer(question, text, "cannot tell", "; ".join(reasons))
    odd = f"; {plural(len(signs), 'finding')} of low severity" if signs else ""
    least = min(asked, key=lambda each: each.coverage or 0)
    share = percent(least.judged, least.in_scope)
    because = f"no {what} among the packets that could be judged, {share} of those in scope{odd}"
    return Answer(question, text, "no sign", because)


def _is_asked(verdict: Verdict, question: Question) -> bool:
    """Whether a question cannot be answered with no while this one could not judge.

    Checks of calls are asked where there is something of that kind: where nobody speaks, nothing is missing.
    """
    from tapsight.checks import CHECKS
    from tapsight.detectors import DETECTORS

    if verdict.check in DETECTORS:
        detector = DETECTORS[verdict.check]
        return question in detector.asks and not (detector.optional and verdict.in_scope == 0)
    return verdict.check in CHECKS and question in CHECKS[verdict.check].asks and verdict.in_scope > 0


def _briefly(reason: str | None) -> str:
    return (reason or "").partition("; ")[0] or "too little could be judged"


# --- Did voice travel as agreed? --------------------------------------------------------------------------------------

_VOICE = ("voice-media", "voice-signalling")
_RULES = ("V1", "V2")
"""The checks that say with whom voice is and where it belongs, both of which have to pass."""
_WRONG = {
    "V1": "voice signalling without an agreement",
    "V2": "voice where it does not belong",
    "V3": "voice on the public internet",
    "V4": "voice signalling in the clear",
    "V5": "voice in the clear",
    "V6": "voice where nobody signalled it",
    "V7": "voice without its priority",
    "V8": "codecs that were not agreed",
    "V9": "voice with a third receiver",
    "V10": "calls that left by others than agreed",
}
"""What it means that a check of voice fails. Those beyond the first two are asked where the policy has them and something was there."""
_FAILS = {
    "path": "with voice where it does not belong",
    "peers": "without an agreement",
    "encrypted": "not encrypted as agreed",
    "media": "with voice where nobody signalled it",
    "alone": "copied",
}
"""What it means that an aspect of a call fails."""


def agreed(
    verdicts: Iterable[Verdict],
    findings: Iterable[Finding],
    calls: pa.Table,
    seen: Observed,
    problems: Sequence[str],
) -> tuple[AnswerWord, str]:
    """Whether voice travelled as the policy says: the answer, and what it rests on.

    It is no if a check of voice fails by what concerns voice, or a call fails. It is yes if V1 and V2 pass, and the others if they had something to judge, and at least half of the calls with media can be told to be as agreed:
    between ends that agreed, with media where voice belongs and where signalled. What is not encrypted is as agreed unless somebody
    demands or offers that.
    """
    from tapsight.checks import CHECKS

    mine = {
        each.check: each
        for each in verdicts
        if each.check in _RULES or (each.check in _WRONG and (each.in_scope > 0 or each.verdict == "fail"))
    }
    # Other traffic with the code points of voice, and signalling of no calls in the clear, are against the policy, and yet no voice.
    beside = Counter(each.check for each in findings if each.traffic and set(each.traffic).isdisjoint(_VOICE))
    names = ["packets", "encryption", "verdict", "path", "peers", "encrypted", "media", "alone"]
    rows = calls.select(names).to_pylist()
    failed = [row for row in rows if row["verdict"] == "fail"]
    against = {id_: each.findings - beside[id_] for id_, each in mine.items() if each.verdict == "fail"}
    wrong = [f"{_WRONG[id_]} ({id_}: {plural(count, 'finding')})" for id_, count in against.items() if count]
    if failed:
        counts = {what: sum(row[name] == "fail" for row in failed) for name, what in _FAILS.items()}
        which = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        wrong.append(f"{len(failed):,} of {plural(len(rows), 'call')} did not: {which}")
    if wrong:
        return "no", "; ".join(wrong)
    open_: list[str] = []
    heard = seen.unlisted.filter(seen.unlisted["traffic"].is_in(_VOICE)).height or rows
    if not heard:
        text, is_all = seen.unread
        seen_none = "no voice was seen" if text is None else f"no voice was seen in what is read, but {text}"
        open_.append(f"{text}: whether there is voice is not known" if is_all else seen_none)
    unsaid = [
        CHECKS[id_].missing(None, seen.network)
        for id_ in _RULES
        if id_ not in mine or mine[id_].lack == "policy"
    ]
    if unsaid:
        needs = " and ".join(", ".join(map(str, each)) for each in unsaid)
        open_.append(f"nothing says what was agreed: it takes {needs}")
    if heard:
        open_ += [
            f"{each.check}: {_briefly(each.doubt if each.check in against else each.reason)}"
            for each in mine.values()
            if each.verdict != "pass" and each.lack != "policy" and (each.check not in against or each.doubt)
        ]
    with_media = [row for row in rows if row["packets"]]
    told = [row for row in with_media if {row["path"], row["peers"], row["media"]} == {"pass"}]
    if not open_ and len(told) < MIN_COVERAGE * len(with_media):
        open_.append(f"only {len(told):,} of {plural(len(with_media), 'call')} could be told to be as agreed")
    if seen.heard.doubt is not None:
        open_.append(seen.heard.doubt)
    if not seen.heard.is_whole:
        open_.append("calls of earlier runs are not known")
    if problems:
        open_.append(f"{plural(len(problems), 'capture')} could not be read")
    if open_:
        return "cannot tell", "; ".join(open_)
    least = min((mine[id_] for id_ in _RULES), key=lambda each: each.coverage or 0)
    text = (
        "all signalling that could be judged was between ends that agreed, and all media where voice belongs "
        f"({percent(least.judged, least.in_scope)} of those in scope)"
    )
    if with_media:
        text += f"; {len(told):,} of {plural(len(with_media), 'call')} could be told in full"
    clear = sum(row["encryption"] == "none" for row in with_media)
    return "yes", text + (f", {clear:,} not encrypted, which nothing demands" if clear else "")


# --- What could these captures not show? ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class NotShown:
    """What could not be judged, by what it takes."""

    checks: int
    """Detectors and checks that there are verdicts of."""
    unknown: int
    """Those that could not judge."""
    by: tuple[tuple[str, tuple[str, ...]], ...]
    """What would settle it, and which of them; what settles most first."""

    question = "What could these captures not show?"

    @property
    def answer(self) -> str:
        """How many could not judge."""
        return f"{self.unknown:,} of {plural(self.checks, 'check')}" if self.unknown else "nothing"

    @property
    def because(self) -> str:
        """What it would take."""
        if not self.unknown:
            return "every check could judge"
        return "it would take " + ", ".join(f"{what} ({len(checks):,})" for what, checks in self.by)


_UNSAID = "a policy that says more"
_UNSEEN = "traffic that these captures do not have"
_UNREAD = "captures in a link type that is read"


@functools.cache
def settling() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """What would settle a check or detector that could not judge, by its id: in a sentence, and in a few words."""
    import importlib.resources
    import tomllib

    text = importlib.resources.files("tapsight").joinpath("data/settling.toml").read_text("utf-8")
    data = tomllib.loads(text)
    return data["settling"], data["by"]


def not_shown(verdicts: Sequence[Mapping[str, Any]], lacks: Mapping[str, Lack]) -> NotShown:
    """Counts those that could not judge by what would settle them; without a policy, also the checks that need one."""
    from tapsight.checks import CHECKS

    _, briefly = settling()
    judged = {row["check"] for row in verdicts}
    # What comes with packs that nobody asked for is not missing.
    unasked = [id_ for id_, check in CHECKS.items() if check.pack is None and id_ not in judged]
    by: dict[str, list[str]] = {_UNSAID: unasked} if unasked else {}
    for row in verdicts:
        if row["verdict"] == "unknown":
            id_, lack = row["check"], lacks.get(row["check"])
            off = (row["reason"] or "").startswith("switched off")
            missing = {"policy": _UNSAID, "traffic": _UNSEEN, "reading": _UNREAD}
            what = _UNSAID if off else missing.get(lack or "")
            by.setdefault(what or briefly.get(id_, "other captures"), []).append(id_)
    ordered = sorted(by.items(), key=lambda item: -len(item[1]))
    return NotShown(
        len(judged) + len(unasked),
        sum(map(len, by.values())),
        tuple((what, tuple(ids)) for what, ids in ordered),
    )
