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
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tapsight import _answers, _engine, _evidence, _tables
from tapsight._answers import Answer, NotShown
from tapsight._baseline import Baseline, Found, forgotten_rows, remembered_rows
from tapsight._call_verdicts import schema as call_schema
from tapsight._core import __version__
from tapsight._engine import MEMORY, Examination, Progress
from tapsight._exceptions import excepted_schema, excepted_table
from tapsight._judging import in_force_under, outcome_of, verdict_schema
from tapsight._options import SEVERITIES, Severity
from tapsight._scan import checked_threads
from tapsight._sources import (
    SourceError,
    Sources,
    Tap,
    in_order_of_time,
    is_read_once,
    problem_with,
    read_sources,
)
from tapsight._text import iso_time, safe
from tapsight.checks._base import Check, Lack
from tapsight.checks._custom import Custom, custom_check
from tapsight.checks._tables import Captures
from tapsight.findings import FrameNumbers, attack
from tapsight.policy import Network, Policy

if TYPE_CHECKING:
    from tapsight.places import Places
    from tapsight.plot import Plot

SCHEMA = 1
"""Version of the JSON output. It rises when a key changes its name or meaning, not when one is added."""


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
    worse: tuple[str, ...] = ()
    """Ids of findings that an earlier run has, but less of: they are told as those that are new."""
    lesser: tuple[str, ...] = ()
    """Ids of findings that were left out because of their severity; see :meth:`from_severity`."""
    gone: tuple[str, ...] = ()
    """Ids of findings that an earlier run had, and that this one has not, for whatever reason: what cannot be judged is not found."""
    lacks: Mapping[str, Lack] = dataclasses.field(default_factory=dict)
    """Of those with nothing in scope, by their id in ``verdicts``: whether the policy does not say what they have to know, no frame could be read, or nothing that they
    look at was seen. Those that give another reason are left out."""
    checks: Mapping[str, type[Check[Any]]] = dataclasses.field(default_factory=dict)
    """The checks that judged, by id: those that ship, and those of the policy's or the program's own."""
    found: Found = dataclasses.field(default_factory=Found)
    """All findings one by one, of which :attr:`findings` sums up many of a kind; what :meth:`since` goes by."""
    least: Severity = "info"
    """The severity below which findings are left out."""

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
        least = max(severity, self.least, key=SEVERITIES.index)
        return dataclasses.replace(self, findings=kept, lesser=(*self.lesser, *left), least=least)

    def since(self, baseline: Result | Baseline | Iterable[str]) -> Result:
        """The same without the findings that an earlier run has, unless they are worse; verdicts and answers are those of all.

        Findings are compared one by one, those included that are not listed because there are many of their kind. What has a higher severity than
        it had, or ten times the packets, is told again, and its sentence says what it was.

        Args:
            baseline: The earlier result; or ids of its findings, such as ``earlier.findings["id"].to_pylist()``, which do not tell what was summed up,
                nor what is worse. The same finding has the same id in every run.
        """
        if isinstance(baseline, Result):
            baseline = baseline.baseline
        elif not isinstance(baseline, Baseline):
            baseline = Baseline.of_ids(baseline)
        found = self.found.since(baseline)
        told = dataclasses.replace(
            self,
            findings=found.table(),
            known=found.known,
            worse=found.worse,
            gone=found.gone,
            lesser=(),
            found=found,
        )
        return told.from_severity(self.least)

    @property
    def baseline(self) -> Baseline:
        """What a later run may go by: all findings, and how bad they were when they were last told. What is excepted is none of it."""
        return self.found.as_baseline()

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
        ``worse``, ``lesser`` and ``gone`` (ids), ``remembered`` (ids of findings without a row, by how bad they were when they were last told) and
        ``forgotten`` (how many it does not remember), which later runs go by, and ``explained``. Times are RFC 3339 with nanoseconds.
        """
        remembered, forgotten = self.found.remembered(self.findings["id"].to_pylist())
        return {
            "tapsight": __version__,
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
            "worse": list(self.worse),
            "lesser": list(self.lesser),
            "gone": list(self.gone),
            "remembered": remembered_rows(remembered),
            "forgotten": forgotten_rows(forgotten),
            "explained": self.explained(),
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """:meth:`to_dict` as JSON in ASCII, so that no text from a capture can steer a terminal."""
        return as_json(self.to_dict(), indent=indent)

    def to_ndjson(self) -> str:
        """:meth:`to_dict` as one JSON object a line, told apart by ``type``.

        Types: ``run`` (versions, ``known``, ``worse``, ``lesser``, ``gone``, ``remembered`` and ``forgotten``), ``answer``, ``not_shown``, ``problem``, ``tap``, ``taps_compared``, ``verdict``, ``finding``,
        ``excepted``, ``exception``, ``explained``.
        """
        data = self.to_dict()
        left_out = ("known", "worse", "lesser", "gone", "remembered", "forgotten")
        run = {key: data[key] for key in ("tapsight", "schema", "attack", *left_out)}
        lines: list[dict[str, Any]] = [{"type": "run", **run}]
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
        self,
        directory: str | os.PathLike[str],
        form: _tables.TablesFormat = "parquet",
        *,
        threads: int | None = None,
    ) -> dict[str, Path]:
        """Writes all :meth:`tables` into a new or empty folder, a file each, and says where each is. Nothing is overwritten.

        Args:
            directory: Where to. It appears when all is written.
            form: ``parquet``, ``arrow`` (IPC streams), or ``csv``, without what is nested (``frames`` has the evidence).
            threads: How many encode Parquet; all processors by default. The files are the same.

        Raises:
            OSError: It is there and not empty, or cannot be written.
        """
        return _tables.write(self, directory, form, checked_threads(threads))

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
        author: str | None = None,
        sums: bool = False,
    ) -> None:
        """Writes one HTML file for everybody whom it concerns; see :func:`tapsight.report.write`."""
        from tapsight.report import write

        write(self, path, title=title, evidence=evidence, figures=figures, author=author, sums=sums)

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
        memory: About how many bytes to use for all that is remembered: a fifth for recent packets, three twentieths for conversations, a
            twentieth for claims, and three fifths for calls and media, which taps share evenly. What finds no room is counted, and said
            in reasons. Python, its libraries and their copies of rows come on top.
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
        if state is not None and str(error).startswith(_OF_STATE):
            raise SourceError(f"{os.fspath(state)}: {str(error).removeprefix(_OF_STATE)}") from error
        taps = readable_taps(taps, format_problem, problems)
        if len(problems) == count:
            raise SourceError(str(error)) from error
    return Examined(examine(), problems, taps)


_OF_STATE = "the saved state "
"""What the engine's errors about a state begin with: it does not know its name."""


def read_state(path: str | os.PathLike[str]) -> bytes | None:
    """What an earlier run has saved; ``None`` if there was none.

    Raises:
        SourceError: It cannot be read.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise SourceError(f"{os.fspath(path)}: is no file: a state is read and written anew")
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


def judge(
    examination: Examination,
    policy: Policy | None,
    problems: Sequence[str] = (),
    *,
    captures: Captures = Captures(),  # noqa: B008 - does not change
    checks: Sequence[type[Check[Any]]] = (),
) -> Result:
    """Verdicts and findings of what the engine found in captures, by what the policy says and by further checks."""
    outcome = outcome_of(examination, policy, problems, captures, checks)
    numbers = FrameNumbers(pa.table(examination.files).to_pylist())
    excepting = outcome.excepting
    found = Found.of(excepting.findings, (each for each, _ in excepting.excepted), numbers)
    return Result(
        verdicts=pa.Table.from_pylist(
            [dataclasses.asdict(each) for each in outcome.verdicts], schema=verdict_schema()
        ),
        findings=found.table(),
        taps=pa.table(examination.taps),
        taps_compared=pa.table(examination.compared),
        flows=pa.table(examination.flows),
        claims=pa.table(examination.claims),
        calls=outcome.calls,
        answers=outcome.answers,
        problems=tuple(problems),
        places=outcome.places,
        excepted=excepted_table(excepting.excepted, numbers),
        exceptions=tuple(excepting.rows),
        lacks={each.check: each.lack for each in outcome.verdicts if each.lack is not None},
        checks=outcome.checks,
        found=found,
    )


# --- Plain values -----------------------------------------------------------------------------------------------------


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
