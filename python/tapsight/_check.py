"""The question, asked of captures: was traffic copied or diverted, and did it travel as agreed?"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import html
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tapsight import _answers, _engine, _evidence, _tables
from tapsight._answers import Answer, NotShown
from tapsight._call_verdicts import judge_calls
from tapsight._call_verdicts import schema as call_schema
from tapsight._engine import Examination, Progress
from tapsight._exceptions import Excepting, except_from, excepted_schema, excepted_table
from tapsight._options import SEVERITIES, Options, Severity
from tapsight._readings import Agreed, agree, changes_text, readings, settled_calls
from tapsight._scan import checked_threads
from tapsight._sets import now
from tapsight._sources import (
    SourceError,
    Sources,
    Tap,
    in_order_of_time,
    is_read_once,
    problem_with,
    read_sources,
)
from tapsight._text import iso_time, percent, plural, safe
from tapsight.checks import CHECKS
from tapsight.checks._base import OFF, Check, Heard, Judgement, Lack, Observed, Scope, flows_frame
from tapsight.checks._custom import Custom, custom_check
from tapsight.checks._needs import needs_text
from tapsight.checks._tables import Captures
from tapsight.checks.i6 import authorised, is_session
from tapsight.claims import Claim, read_claims
from tapsight.detectors import DETECTORS, Question
from tapsight.findings import (
    Finding,
    FrameNumbers,
    Strike,
    attack,
    findings_of,
    findings_table,
    grouped,
    period,
    worst,
)
from tapsight.policy import Network, Policy

if TYPE_CHECKING:
    from tapsight.places import Places
    from tapsight.plot import Plot

SCHEMA = 1
"""Version of the JSON output. It rises when a key changes its name or meaning, not when one is added."""

MEMORY = 160 << 20
"""About how many bytes the engine may use for what it remembers of recent packets."""


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


@dataclasses.dataclass(frozen=True, repr=False)
class Result:
    """What came out of :func:`check`."""

    verdicts: pa.Table
    """One row a detector and policy check: ``check``, ``title``, ``verdict`` (pass, fail, unknown), ``reason``,
    ``severity``, ``in_scope`` and ``judged`` (packets), ``coverage`` (judged share of in_scope), ``findings``,
    ``ticket``."""
    findings: pa.Table
    """One row a thing that failed; see :func:`tapsight.findings.finding_schema`."""
    taps: pa.Table
    """One row a tap, file and interface: what was captured there and how well."""
    flows: pa.Table
    """One row a direction of a conversation on one path. Rows with equal keys add up."""
    claims: pa.Table
    """All that the detectors say, also what they only name (``report`` is false)."""
    answers: tuple[Answer, ...]
    """Was traffic copied, was it diverted, did voice travel as agreed? Each has ``about``, ``question``, ``answer`` and ``because``."""
    taps_compared: pa.Table
    """One row for each class of traffic from one tap to the next (B1); empty with one tap.

    ``from_tap``, ``to_tap``, ``traffic``; ``flows`` (directions of conversations) that passed both taps; then packets: ``judged``, of
    which ``passed``, ``lost``, ``inserted``, ``modified``, ``readdressed`` and ``diverted``; and beside those ``copied`` (second
    sightings), ``capture_loss`` (the taps themselves missed them), ``remarked`` (DSCP or ECN rewritten). ``lost_low`` and
    ``lost_high`` and so on are the 95 % intervals of the shares of ``judged`` (Wilson). ``delay_p50_ns`` and ``delay_p99_ns``: how long
    packets took; ``ttl_fall``: by how much their TTL fell, most often (-1 for a rise, 14 for that and more).

    ``offset_ns``: by how much ``to_tap``'s clock was ahead of ``from_tap``'s in the beginning, give or take
    ``offset_uncertainty_ns``; ``drift_ppm``: how much faster it is, give or take ``drift_uncertainty_ppm``; ``clock_steps``: when it
    jumped, and by how much. Unless ``both_ways``, offset and delay cannot be told apart: then ``offset_ns`` holds the usual
    least delay too, its uncertainty is null, and delays are those beyond it."""
    calls: pa.Table = dataclasses.field(default_factory=lambda: call_schema().empty_table())
    """One row a call and tap: ``call`` (its number in :func:`tapsight.calls`), ``began``, ``src`` and ``dst`` of its signalling, ``state``,
    ``packets`` (media), ``verdict``, and pass, fail or unknown for each of: ``path`` (media where the policy wants voice, V2), ``peers``
    (an agreement between its ends, V1 and B12), ``encrypted`` (as was offered and agreed, B16), ``media`` (where signalled, B13 and B14),
    ``alone`` (nobody else receives them: A1 to A5); ``reason`` says why not, ``encryption`` how its media are encrypted as agreed, ``findings`` has the
    ids of those that are of it or name a frame of it."""
    problems: tuple[str, ...] = ()
    """Captures that could not be read, a line each. The rest was examined without them."""
    excepted: pa.Table = dataclasses.field(default_factory=lambda: excepted_schema().empty_table())
    """Findings that an exception of the policy covers: no failures, but what happened. Columns are those of ``findings``, whose ``verdict`` is
    ``excepted``, and ``owner``, ``reason`` and ``expires`` (a date) of the exception."""
    exceptions: tuple[Mapping[str, Any], ...] = ()
    """Each exception of the policy: ``check`` (ids), ``about`` (what it covers, in words), ``owner``, ``reason``, ``expires``, ``findings`` (how many it
    covers), ``expired`` (how many it would, had it not expired) and ``note`` (whether it covers nothing, has expired or soon will)."""
    run: _evidence.Run | None = None
    """What was asked, and of which captures; what :meth:`evidence` needs."""
    known: tuple[str, ...] = ()
    """Ids of findings that were left out because an earlier run has them; see :meth:`since`."""
    lesser: tuple[str, ...] = ()
    """Ids of findings that were left out because of their severity; see :meth:`from_severity`."""
    gone: tuple[str, ...] = ()
    """Ids of findings that an earlier run had, and that this one has not, for whatever reason: what cannot be judged is not found."""
    lacks: Mapping[str, Lack] = dataclasses.field(default_factory=dict)
    """Of those with nothing in scope, by their id in ``verdicts``: whether the policy does not say what they have to know, or nothing that they
    look at was seen. Those that give another reason are left out."""
    checks: Mapping[str, type[Check[Any]]] = dataclasses.field(default_factory=dict)
    """The checks that judged, by id: those that ship, and those of the policy's or the program's own."""

    places: Places | None = None
    """What the policy knows of addresses, if it says what is home; what :attr:`plot` goes by."""

    @property
    def exit_code(self) -> int:
        """0 if nothing failed, 1 if something did that is not :attr:`known`, 2 if a capture could not be read."""
        return self.exit_code_from("info")

    def exit_code_from(self, severity: Severity) -> int:
        """As :attr:`exit_code`, where only findings of this severity and above count."""
        if self.problems:
            return 2
        return int(self.from_severity(severity).findings.num_rows > 0)

    def from_severity(self, severity: Severity) -> Result:
        """The same with findings of this severity and above only; verdicts and answers are those of all."""
        wanted = SEVERITIES[SEVERITIES.index(severity) :]
        kept, left = self._parted([each in wanted for each in self.findings["severity"].to_pylist()])
        return dataclasses.replace(self, findings=kept, lesser=(*self.lesser, *left))

    def since(self, baseline: Iterable[str]) -> Result:
        """The same without the findings that an earlier run has; verdicts and answers are those of all.

        Args:
            baseline: Ids of its findings, such as ``earlier.findings["id"].to_pylist()``. The same finding has the same id in every run.
        """
        ids = frozenset(baseline)
        mine = self.findings["id"].to_pylist()
        kept, left = self._parted([id_ not in ids for id_ in mine])
        there = self.excepted["id"].to_pylist()
        gone = tuple(sorted(ids.difference(mine, there, self.lesser, self.known)))
        return dataclasses.replace(self, findings=kept, known=(*self.known, *left), gone=gone)

    def _parted(self, is_kept: Sequence[bool]) -> tuple[pa.Table, list[str]]:
        """The findings that are kept, and the ids of the others."""
        kept = pa.array(is_kept, pa.bool_())
        return self.findings.filter(kept), self.findings.filter(pc.invert(kept))["id"].to_pylist()

    @functools.cached_property
    def not_shown(self) -> NotShown:
        """What these captures could not show, by what would settle it."""
        return _answers.not_shown(self.verdicts.to_pylist(), self.lacks)

    def explained(self) -> list[dict[str, Any]]:
        """What was named, but not reported, by reason: ``detector``, ``claims``, ``packets``."""
        sums: dict[str, dict[str, Any]] = {}
        for claim in self.claims.select(["detector", "report", "packets"]).to_pylist():
            if not claim["report"]:
                row = sums.setdefault(
                    claim["detector"], {"detector": claim["detector"], "claims": 0, "packets": 0}
                )
                row["claims"] += 1
                row["packets"] += claim["packets"]
        return sorted(sums.values(), key=lambda row: str(row["detector"]))

    def to_dict(self) -> dict[str, Any]:
        """All but the flows as plain values.

        ``tapsight`` (version), ``schema`` (:data:`SCHEMA`), ``attack`` (version of ATT&CK), ``answers``, ``not_shown`` (checks that could not
        judge, by what would settle them), ``problems``, ``taps``, ``taps_compared``, ``verdicts``, ``findings``, ``excepted``, ``exceptions``, ``known``,
        ``lesser`` and
        ``gone`` (ids), ``explained``. Times are RFC 3339 with nanoseconds.
        """
        return {
            "tapsight": version(),
            "schema": SCHEMA,
            "attack": attack()[0],
            "answers": [dataclasses.asdict(answer) for answer in self.answers],
            "not_shown": [{"settle": what, "checks": list(ids)} for what, ids in self.not_shown.by],
            "problems": list(self.problems),
            "taps": plain_rows(self.taps),
            "taps_compared": compared_rows(self.taps_compared),
            "verdicts": plain_rows(self.verdicts),
            "findings": plain_rows(self.findings),
            "excepted": plain_rows(self.excepted),
            "exceptions": [dict(each) for each in self.exceptions],
            "known": list(self.known),
            "lesser": list(self.lesser),
            "gone": list(self.gone),
            "explained": self.explained(),
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """:meth:`to_dict` as JSON in ASCII, so that no text from a capture can steer a terminal."""
        return as_json(self.to_dict(), indent=indent)

    def to_ndjson(self) -> str:
        """:meth:`to_dict` as one JSON object a line, told apart by ``type``.

        Types: ``run`` (versions, ``known``, ``lesser`` and ``gone``), ``answer``, ``not_shown``, ``problem``, ``tap``, ``taps_compared``, ``verdict``, ``finding``,
        ``excepted``, ``exception``, ``explained``.
        """
        data = self.to_dict()
        lines: list[dict[str, Any]] = [
            {
                "type": "run",
                **{key: data[key] for key in ("tapsight", "schema", "attack", "known", "lesser", "gone")},
            }
        ]
        lines += [{"type": "problem", "message": message} for message in data["problems"]]
        for kind in ("answers", "taps", "verdicts", "findings"):
            lines += [{"type": kind.removesuffix("s"), **row} for row in data[kind]]
        lines += [{"type": "excepted", **row} for row in data["excepted"]]
        lines += [{"type": "exception", **row} for row in data["exceptions"]]
        for kind in ("not_shown", "taps_compared"):
            lines += [{"type": kind, **row} for row in data[kind]]
        lines += [{"type": "explained", **row} for row in data["explained"]]
        return "".join(as_json(line) + "\n" for line in lines)

    def evidence(
        self,
        directory: str | os.PathLike[str],
        *,
        findings: Iterable[str] | None = None,
        max_frames: int = _evidence.MAX_FRAMES,
        zero_payload: bool = False,
    ) -> dict[str, Any]:
        """Writes a folder to hand on: for each finding a pcapng of the packets that prove it, and what to verify it by.

        Captures are read once more. The same captures and options make the same bytes, and nothing is overwritten.

        Args:
            directory: Where to; it is made, or empty.
            findings: Ids of the findings that are wanted, excepted ones among them; else all that are not excepted.
            max_frames: How many packets of one finding to write.
            zero_payload: Set all bytes behind the innermost transport header to zero.

        Returns:
            What is in ``manifest.json``; see ``docs/evidence.md``.

        Raises:
            EvidenceError: The directory is not empty, no finding has an id, or a capture has changed since.
            SourceError: A capture can be read only once, as standard input.
        """
        return _evidence.write(
            self, directory, findings=findings, max_frames=max_frames, zero_payload=zero_payload
        )

    def tables(self) -> dict[str, pa.Table]:
        """All tables by name, for Parquet, DuckDB and the like.

        Those of this class, of which ``claims`` has ``finding`` (the id) as well, and ``frames``: a row a frame of the evidence. Metadata have
        versions, and what each column means.
        """
        return _tables.tables(self)

    def write_tables(
        self, directory: str | os.PathLike[str], form: _tables.TablesFormat = "parquet"
    ) -> dict[str, Path]:
        """Writes all :meth:`tables` into a new or empty folder, a file each, and says where each is. Nothing is overwritten.

        Args:
            directory: Where to. It appears when all is written.
            form: ``parquet``, ``arrow`` (IPC streams), or ``csv``, without what is nested (``frames`` has the evidence).

        Raises:
            OSError: It is there and not empty, or cannot be written.
        """
        return _tables.write(self, directory, form)

    @functools.cached_property
    def plot(self) -> Plot:
        """Pictures of it, as Altair charts."""
        from tapsight.plot import Plot

        return Plot(self)

    def report(
        self,
        path: str | os.PathLike[str],
        *,
        title: str | None = None,
        evidence: str | os.PathLike[str] | None = None,
        figures: str | os.PathLike[str] | None = None,
    ) -> None:
        """Writes one HTML file for everybody whom it concerns; see :func:`tapsight.report.write`."""
        from tapsight.report import write

        write(self, path, title=title, evidence=evidence, figures=figures)

    def __repr__(self) -> str:
        """The answers and verdicts in a few lines."""
        asked: list[Answer | NotShown] = [*self.answers, self.not_shown]
        lines = [f"{each.question} {each.answer} ({each.because})" for each in asked]
        words = [f"{row['check']} {row['verdict']}" for row in self.verdicts.to_pylist()]
        lines += ["verdicts: " + ", ".join(words), f"findings: {self.findings.num_rows}"]
        lines += [f"excepted: {self.excepted.num_rows}"] if self.excepted.num_rows else []
        lines += self.problems
        return "\n".join(safe(line) for line in lines)

    def _repr_html_(self) -> str:
        asked: list[Answer | NotShown] = [*self.answers, self.not_shown]
        answers = "".join(
            f"<p><b>{html.escape(safe(each.question))}</b> {html.escape(safe(each.answer))}: "
            f"{html.escape(safe(each.because))}</p>"
            for each in asked
        )
        verdicts = "".join(
            f"<tr>{''.join(f'<td>{html.escape(safe(str(row[key] or str())))}</td>' for key in _HTML)}</tr>"
            for row in self.verdicts.to_pylist()
        )
        head = "".join(f"<th>{key}</th>" for key in _HTML)
        return f"{answers}<table><tr>{head}</tr>{verdicts}</table><p>{self.findings.num_rows} findings</p>"


_HTML = ("check", "title", "verdict", "reason", "findings")


def check(
    sources: Sources,
    *,
    policy: Policy | str | os.PathLike[str] | None = None,
    window: float = 5.0,
    memory: int = MEMORY,
    progress: Progress | None = None,
    threads: int | None = None,
    state: str | os.PathLike[str] | None = None,
    checks: Sequence[type[Check[Any]] | Custom] = (),
) -> Result:
    """Finds out whether traffic was copied or diverted, and whether it travelled as the policy says.

    Args:
        sources: Captures, or digests of them: a path, several paths or ``NAME=path``, or a mapping of tap names to a path or paths.
            ``-`` is standard input. Captures under one name are one tap, read in the order of the times of their first frames.
        policy: What is agreed and allowed, or a file that says so. Without one, only the detectors run.
        window: How far apart a packet and its copy may lie, in seconds.
        memory: About how many bytes to use for what is remembered of recent packets.
        progress: Called now and then with the number of packets so far; what it raises ends the work.
        threads: How many threads to use; all processors by default. What they find is the same.
        state: A file that keeps what is known from one run to the next: the run goes on from it if it is there, and writes it
            anew. So captures can be given as they come, a day at a time, and the answer is that of one run over all. A tap
            goes on by its name: ``NAME=path``. Calls and media are those of this run: the checks of them (A4, B12, B13, B14, B16) do not pass
            by what earlier runs have seen.
        checks: Further checks: rules (:func:`tapsight.rule`), and detectors in Python (:class:`tapsight.Custom`).

    Raises:
        SourceError: No capture could be read, or one was named twice, or the state cannot be used.
        PolicyError: The policy cannot be used.
    """
    further = [
        each if isinstance(each, type) and issubclass(each, Check) else custom_check(each) for each in checks
    ]
    named = policy
    if policy is not None and not isinstance(policy, Policy):
        policy = Policy.load(policy)
    if policy is not None and policy.network.home:
        # What is wrong with them is told before the captures are read.
        policy.known_places()
    in_force_under(policy, further)
    taps = read_sources(sources)
    goes_on = state is not None and os.path.lexists(state)
    run = _evidence.Run.begin(
        taps,
        _evidence.PolicyFile.of(named, policy),
        window=window,
        memory=memory,
    )
    examined = examine_readable(
        taps,
        window=window,
        memory=memory,
        progress=progress,
        threads=threads,
        network=policy.network if policy is not None else None,
        state=state,
    )
    files = pa.table(examined.examination.files).to_pylist()
    # Of what was cut off before its first packet, no tap tells.
    known = {row["file"] for row in files}
    silent = {capture.name for capture in run.captures} - known
    problems = [
        line for line in examined.examination.warnings if any(line.startswith(f"{path}: ") for path in silent)
    ]
    run = run.end(files)
    result = judge(
        examined.examination,
        policy,
        [*examined.problems, *problems],
        captures=Captures(examined.taps, checked_threads(threads), is_whole=not goes_on),
        checks=further,
    )
    return dataclasses.replace(result, run=run)


@dataclasses.dataclass(frozen=True, slots=True)
class Examined:
    """What came out of examining what could be read."""

    examination: Examination
    problems: Sequence[str]
    """What could not be read, a line each."""
    taps: Sequence[Tap]
    """What could."""


def examine_readable(
    taps: Sequence[Tap],
    *,
    window: float = 5.0,
    memory: int = MEMORY,
    progress: Progress | None = None,
    threads: int | None = None,
    network: Network | None = None,
    state: str | os.PathLike[str] | None = None,
) -> Examined:
    """Examines what can be read of the taps, and says what could not be.

    Raises:
        SourceError: Nothing could be read.
    """
    # Figures that the engine has no number for: a year, and more memory than any machine has.
    if not 0 <= window <= 31_536_000:
        raise ValueError(f"window is {window} seconds, and should be between 0 and 31536000 (a year)")
    if not 0 < memory < 1 << 60:
        raise ValueError(f"memory is {memory} bytes, which no machine has")
    problems: list[str] = []
    saved = read_state(state) if state is not None else None
    taps = readable_taps(taps, problem_with, problems)
    window_ns = round(window * 1e9)

    def examine() -> Examination:
        listed = [(tap.name, in_order_of_time(tap.paths)) for tap in taps]
        examination = _engine.examine(
            listed,
            window_ns=window_ns,
            memory=memory,
            progress=progress,
            threads=checked_threads(threads),
            infrastructure=network.infrastructure if network is not None else (),
            gateways=network.gateways if network is not None else (),
            state=saved,
            save=state is not None,
        )
        if state is not None and examination.state is not None:
            write_state(state, examination.state)
        return examination

    try:
        return Examined(examine(), problems, taps)
    except (OSError, ValueError) as error:
        # Find out which captures it was, and go on without them.
        count = len(problems)
        taps = readable_taps(taps, format_problem, problems)
        if len(problems) == count:
            raise SourceError(str(error)) from error
    return Examined(examine(), problems, taps)


def read_state(path: str | os.PathLike[str]) -> bytes | None:
    """What an earlier run has saved; ``None`` if there was none.

    Raises:
        SourceError: It cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceError(f"{os.fspath(path)}: {error.strerror}") from error


def write_state(path: str | os.PathLike[str], state: bytes) -> None:
    """Saves what a run knows; what was there stays until all is written.

    Raises:
        SourceError: It cannot be written.
    """
    # A link stays one.
    target = Path(os.path.realpath(path))
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            file.write(state)
        Path(file.name).replace(target)
    except OSError as error:
        raise SourceError(f"{os.fspath(path)}: {error.strerror}") from error


def readable_taps(
    taps: Iterable[Tap], problem: Callable[[str], str | None], problems: list[str]
) -> list[Tap]:
    """The taps with the captures that have no problem; adds those of the others."""
    kept = []
    for tap in taps:
        found = {path: problem(path) for path in tap.paths}
        problems.extend(text for text in found.values() if text is not None)
        if paths := tuple(path for path, text in found.items() if text is None):
            kept.append(dataclasses.replace(tap, paths=paths))
    if not kept:
        raise SourceError("\n".join(problems))
    return kept


def format_problem(path: str) -> str | None:
    """Why the engine cannot read the capture; ``None`` if it can."""
    if is_read_once(path):
        return None
    try:
        if _engine.digest_head(path) is not None:
            _engine.verify_digest(path)
            return None
        reader = pa.RecordBatchReader.from_stream(_engine.open_packets([path], columns=["frame"]))
        with contextlib.suppress(StopIteration):
            reader.read_next_batch()
    except (OSError, ValueError) as error:
        return str(error) if path in str(error) else f"{path}: {error}"
    return None


# --- Judging ----------------------------------------------------------------------------------------------------------


def judge(
    examination: Examination,
    policy: Policy | None,
    problems: Sequence[str] = (),
    *,
    captures: Captures = Captures(),  # noqa: B008 - does not change
    checks: Sequence[type[Check[Any]]] = (),
) -> Result:
    """Verdicts and findings of what the engine found in captures, by what the policy says and by further checks."""
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
    numbers = FrameNumbers(pa.table(examination.files).to_pylist())
    # What somebody answers for has happened all the same: answers and calls say so.
    sure = {finding.id for finding in agreed.findings}
    calls = [
        judge_calls(each, its, [one for one in made.findings if one.id in sure], verdicts, made.live)
        for (each, its), made in zip(seen, judged, strict=True)
    ]
    told_calls = settled_calls(parts, calls)
    answers = [
        _answer(question, verdicts, demanded, agreed.findings, problems, excepting) for question in _QUESTIONS
    ]
    voice = _answers.agreed(verdicts, told_calls, now_seen, problems)
    return Result(
        verdicts=pa.Table.from_pylist(
            [dataclasses.asdict(each) for each in verdicts], schema=verdict_schema()
        ),
        findings=findings_table(grouped(excepting.findings), numbers),
        taps=taps,
        taps_compared=pa.table(examination.compared),
        flows=pa.table(examination.flows),
        claims=pa.table(examination.claims),
        calls=told_calls,
        answers=(*answers, Answer("agreed", "Did voice travel as agreed?", *voice)),
        problems=tuple(problems),
        places=now_seen.places,
        excepted=excepted_table(excepting.excepted, numbers),
        exceptions=tuple(excepting.rows),
        lacks={each.check: each.lack for each in verdicts if each.lack is not None},
        checks=in_force[-1],
    )


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


def _see(
    examination: Examination,
    policy: Policy | None,
    captures: Captures,
    in_force: Mapping[str, type[Check[Any]]],
) -> tuple[Observed, dict[str, Any]]:
    """What there is to judge under a policy, and its options by check and detector."""
    claims = read_claims(pa.table(examination.claims))
    scopes = {
        row["check"]: Scope(row["in_scope"], row["judged"], row["reason"])
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
    heard = Heard(
        examination.calls,
        examination.call_changes,
        examination.call_media,
        examination.media,
        examination.missing,
        is_whole=captures.is_whole,
    )
    crossings = options["I1"]
    seen = Observed(
        flows_frame(pa.table(examination.flows)),
        told,
        scopes,
        listed_tunnels,
        network,
        heard,
        places=policy.known_places() if policy is not None and network.home else None,
        agreed=(crossings.allow or ()) if crossings is not None and crossings.enabled else (),
        captures=captures,
        examined=(pa.table(examination.taps), pa.table(examination.compared)),
    )
    return seen, options


def _sinks(options: Mapping[str, Any]) -> Any:
    """The options of I6, if the policy lists sinks."""
    listed = options["I6"] is not None and options["I6"].sinks is not None and options["I6"].enabled
    return options["I6"] if listed else None


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
        judgements[id_] = detector.title, _judge_detector(id_, seen, said), said.severity, said
    for id_, check_ in in_force.items():
        if check_.turn:
            continue
        judgements[id_] = done[id_] if id_ in done else _make(check_, seen, options)
        _, judgement, severity, _ = judgements[id_]
        strikes[id_] = [Strike(severity or check_.severity, (each,)) for each in judgement.findings]
        findings += judgement.findings
    return _Judged(judgements, _pointed(findings, options), strikes, live)


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
    judgement = _judge_check(check_(), seen, said, severity)
    return check_.title, judgement, severity, options or check_.options()


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
            sentences = " ".join(each.sentence for each in unsure[:3])
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
    return Judgement(scope, nothing=nothing, lack=lack, note=note, doubt=doubt)


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
        share = percent(scope.judged, scope.in_scope)
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


_QUESTIONS: dict[Question, tuple[str, frozenset[str], str]] = {
    "copied": ("Was traffic copied?", frozenset({"copy"}), "copies"),
    "diverted": ("Was traffic diverted?", frozenset({"diversion", "injection"}), "diversions"),
}
"""The questions, with the kinds of findings that answer them with yes."""


def _answer(
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
    text, kinds, what = _QUESTIONS[question]
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
    if verdict.check in DETECTORS:
        detector = DETECTORS[verdict.check]
        return question in detector.asks and not (detector.optional and verdict.in_scope == 0)
    return verdict.check in CHECKS and question in CHECKS[verdict.check].asks and verdict.in_scope > 0


def _briefly(reason: str | None) -> str:
    return (reason or "").partition("; ")[0] or "too little could be judged"


# --- Plain values -----------------------------------------------------------------------------------------------------


def version() -> str:
    """The version of the package."""
    import importlib.metadata

    try:
        return importlib.metadata.version("tapsight")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as plain values: times and dates as RFC 3339, no bytes."""
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    days = [field.name for field in table.schema if pa.types.is_date(field.type)]
    for name in times:
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.int64()))
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        for name in times:
            row[name] = iso_time(row[name]) if row[name] is not None else None
        for name in days:
            row[name] = row[name].isoformat() if row[name] is not None else None
    return rows


def compared_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of :attr:`Result.taps_compared` as plain values."""
    whole = pa.list_(pa.struct([("ts", pa.int64()), ("step_ns", pa.int64())]))
    steps = table["clock_steps"].cast(whole).to_pylist()
    rows = plain_rows(table.drop_columns(["clock_steps"]))
    for row, stepped in zip(rows, steps, strict=True):
        row["clock_steps"] = [{**step, "ts": iso_time(step["ts"])} for step in stepped]
    return rows


def as_json(value: object, *, indent: int | None = None) -> str:
    """JSON in printable ASCII: what a capture says cannot steer a terminal."""
    return json.dumps(value, indent=indent, ensure_ascii=True).replace("\x7f", "\\u007f")
