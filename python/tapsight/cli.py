"""The command line. Data goes to standard output, everything else to standard error.

Exit codes: 0 nothing failed, 1 something failed, 2 could not run (also because of a mistake in tapsight itself), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tapsight._text import error_text, safe

if TYPE_CHECKING:
    import pyarrow as pa

    from tapsight._check import Result
    from tapsight._files import Input, TableFormat
    from tapsight._sources import Tap
    from tapsight.policy import Policy

app = typer.Typer(
    name="tapsight",
    help="Was traffic copied or sent elsewhere? Packet captures in, verdicts with evidence out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Captures = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]CAPTURE...",
        help="Captures, or for info, check and evidence digests of them; those under one NAME are one tap. - is standard input.",
    ),
]
Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write there; - is standard output.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Window = Annotated[
    float, typer.Option(min=0, help="How far apart a packet and its copy may lie, in seconds.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, max=1024, help="How many threads to use; else all processors. The result is the same."
    ),
]
PolicyFile = Annotated[Path | None, typer.Option(metavar="FILE", help="What is agreed and allowed (TOML).")]
PlacesFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--places",
        metavar="FILE",
        help="Where addresses belong: a MaxMind DB, a table as CSV, or a registry's delegation file; can be given several times, "
        "later ones count first.",
    ),
]
"""Given to :func:`tapsight._where.load_places`."""

Located = Annotated[
    bool, typer.Option("--located", help="Say where ends are; --places, --policy and --home say so too.")
]
Home = Annotated[
    list[str] | None,
    typer.Option(
        "--home",
        metavar="CODE",
        help="The country whose traffic is national, such as DE; can be given several times. Else what the policy has.",
    ),
]
MaxFrames = Annotated[int, typer.Option(min=1, help="How many packets of one finding the evidence has.")]
ZeroPayload = Annotated[
    bool, typer.Option("--zero-payload", help="Set what the packets of the evidence carry to zero.")
]
Memory = Annotated[int, typer.Option(min=1, help="About how many MiB to use for all that is remembered.")]
FlowsMemory = Annotated[
    int, typer.Option("--memory", min=1, help="About how many MiB to use for flows that are going on.")
]
TableForm = Annotated[
    Literal["csv", "ndjson", "arrow", "parquet"] | None,
    typer.Option("--format", help="How to write it; else as the ending of FILE says, else csv."),
]
SeverityWord = Literal["info", "low", "medium", "high", "critical"]
"""As :data:`tapsight._options.Severity`, which takes longer to import."""
Columns = Annotated[str | None, typer.Option(metavar="A,B,...", help="Only these columns, in this order.")]


def main() -> None:
    """Runs the command line and exits."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # Nobody is to find half-written files; what nohup ignores stays ignored.
        if signal.getsignal(ending) == signal.SIG_DFL:
            signal.signal(ending, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - what panics in the engine or in Polars is no Exception
        # Exit code 1 would say that something failed which was judged.
        _report_mistake(error)
        sys.exit(2)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """What cannot be done becomes a clear line for each problem and exit code 2, without a traceback."""
    try:
        yield
    except BrokenPipeError as error:
        # Whoever read our output has seen enough. Python would complain once more when it closes standard output.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from error  # 128 + SIGPIPE, as the shell has it
    except OSError as error:
        _complain(error_text(error))
        raise typer.Exit(2) from error
    except (ValueError, MemoryError) as error:
        _complain(str(error) or type(error).__name__)
        raise typer.Exit(2) from error
    except ImportError as error:
        _complain(f"this installation is incomplete: {error}")
        raise typer.Exit(2) from error


def _report_mistake(error: BaseException) -> None:
    """Tells whoever runs it that tapsight itself is wrong, and what to send on."""
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        typer.echo(safe(line), err=True)
    from tapsight._core import __version__

    _complain(
        f"a mistake in tapsight {__version__}, not in what you gave it: nothing was judged. Please report the lines above, with the command; "
        "they may name files and addresses."
    )


def _complain(text: str) -> None:
    for line in text.splitlines() or [""]:
        typer.echo(f"tapsight: {safe(line)}", err=True)


def _show_version(show: bool) -> None:
    if show:
        from tapsight._core import __version__

        typer.echo(f"tapsight {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


@app.command()
def info(
    captures: Captures,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="How to write it.")] = "text",
    memory: Memory = 512,
    quiet: Quiet = False,
) -> None:
    """Say what is in captures: format, frames, times, drops, tunnels, applications."""
    with _errors():
        from tapsight._check import as_json, examine_readable
        from tapsight._info import info_rows, info_text
        from tapsight._sources import read_sources

        with _progress(quiet) as progress:
            examined = examine_readable(read_sources(captures), memory=memory << 20, progress=progress)
        rows = info_rows(examined.examination)
        typer.echo(as_json(rows, indent=2) if form == "json" else info_text(rows))
        _end(examined.problems)


@app.command()
def classify(
    captures: Captures,
    output: Output = None,
    form: TableForm = None,
    columns: Columns = None,
    table: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="packets, a row a frame; or a row a message of one protocol: dns, tls, tcp, sip, rtp, icmp, diameter, ss7, sample.",
        ),
    ] = "packets",
    threads: Threads = None,
) -> None:
    """Write a row a frame: addresses, tunnels, ports, application, traffic class and on what basis; or a row a message."""
    with _errors():
        from tapsight import _engine

        names = _column_names(columns)
        _write(
            captures,
            lambda tap: _engine.open_packets(
                tap.paths, table=table, columns=names, tap=tap.name, threads=threads
            ),
            None,
            output,
            form,
            _inputs(captures),
            threads,
        )


@app.command()
def flows(
    captures: Captures,
    output: Output = None,
    form: Annotated[
        Literal["csv", "ndjson", "arrow", "parquet", "eve", "zeek"] | None,
        typer.Option(
            "--format",
            help="How to write it: eve is Suricata's JSON, zeek is conn.log; else as the ending of FILE says, else csv.",
        ),
    ] = None,
    columns: Columns = None,
    idle_timeout: Annotated[
        float, typer.Option(help="After how many seconds without a packet a flow ends.")
    ] = 120.0,
    active_timeout: Annotated[
        float | None,
        typer.Option(help="After how many seconds a flow is told, and goes on in another row; else never."),
    ] = None,
    memory: FlowsMemory = 160,
    threads: Threads = None,
    places: PlacesFiles = None,
    policy: PolicyFile = None,
    located: Located = False,
    home: Home = None,
) -> None:
    """Write a row a conversation: who, by what, how much each way, how it went, and which way it was seen."""
    with _errors():
        from tapsight import _engine

        agreed = _loaded(policy)
        known, homes = _known_places(places, agreed, home, located=located)
        _write(
            captures,
            lambda tap: _engine.open_flows(
                tap.paths,
                tap=tap.name,
                idle_timeout=idle_timeout,
                active_timeout=active_timeout,
                memory=memory << 20,
                threads=threads,
                places=known,
                home=homes,
            ),
            columns,
            output,
            form,
            _inputs(captures, policy=policy, agreed=agreed, places=places),
            threads,
        )


@app.command()
def calls(
    captures: Captures,
    output: Output = None,
    form: TableForm = None,
    columns: Columns = None,
    table: Annotated[
        Literal["calls", "call_messages", "call_changes", "call_media"],
        typer.Option(help="A row a call; or a message, a change, or a media endpoint of one."),
    ] = "calls",
    ladder: Annotated[
        str | None,
        typer.Option(metavar="CALL", help="Draw the messages of this call: its number, or its Call-ID."),
    ] = None,
    show_numbers: Annotated[
        bool, typer.Option("--show-numbers", help="Show numbers and names, of which else a hash is shown.")
    ] = False,
    threads: Threads = None,
    places: PlacesFiles = None,
    policy: PolicyFile = None,
    located: Located = False,
    home: Home = None,
) -> None:
    """Show who called whom and what became of it; or with -o or --format write a row a call, message, change or media endpoint."""
    with _errors():
        from tapsight import _engine

        agreed = _loaded(policy)
        known, homes = _known_places(places, agreed, home, located=located)

        def rows(tap: Tap, of: str = table, *, hides: bool = not show_numbers) -> Any:
            return _engine.open_calls(
                tap.paths,
                table=of,
                tap=tap.name,
                show_numbers=not hides,
                threads=threads,
                places=known,
                home=homes,
            )

        inputs = _inputs(captures, policy=policy, agreed=agreed, places=places)
        if ladder is None and (
            output is not None or form is not None or columns is not None or table != "calls"
        ):
            _write(captures, rows, columns, output, form, inputs, threads)
        _show_calls(
            captures,
            rows,
            ladder,
            output,
            inputs,
            lambda tap: rows(tap, "calls", hides=False),
            located=known is not None,
        )


@app.command()
def media(
    captures: Captures,
    output: Output = None,
    form: TableForm = None,
    columns: Columns = None,
    timeout: Annotated[
        float, typer.Option(help="After how many seconds without a packet a stream has ended.")
    ] = 60.0,
    threads: Threads = None,
) -> None:
    """Write a row an RTP stream: packets, loss, jitter, gaps, codecs, and how good speech in it can be."""
    with _errors():
        from tapsight import _engine

        _write(
            captures,
            lambda tap: _engine.open_media(tap.paths, tap=tap.name, timeout=timeout, threads=threads),
            columns,
            output,
            form,
            _inputs(captures),
            threads,
        )


@app.command()
def check(
    captures: Captures,
    policy: PolicyFile = None,
    form: Annotated[
        Literal["text", "json", "ndjson", "eve", "ocsf", "sarif", "stix", "zeek"] | None,
        typer.Option("--format", help="How to write it; else as the ending of FILE says, else text."),
    ] = None,
    output: Output = None,
    evidence: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the packets that prove each finding there.")
    ] = None,
    max_frames: MaxFrames = 1000,
    zero_payload: ZeroPayload = False,
    tables: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write all tables into this new or empty folder, a file each."),
    ] = None,
    tables_format: Annotated[
        Literal["parquet", "arrow", "csv"], typer.Option(help="How to write those tables.")
    ] = "parquet",
    window: Window = 5.0,
    memory: Memory = 512,
    threads: Threads = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Go on from what an earlier run left here, and leave what this one knows: captures as they come, a day at a time.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Show only findings that are not in this JSON of an earlier run, and how many are.",
        ),
    ] = None,
    min_severity: Annotated[
        SeverityWord,
        typer.Option(help="Show only findings of this severity and above."),
    ] = "info",
    fail_on: Annotated[
        SeverityWord,
        typer.Option(help="Exit with 1 only for findings of this severity and above."),
    ] = "info",
    details: Annotated[
        bool,
        typer.Option(
            "--details", help="Of text, not one screen but all: each verdict, and every frame to look up."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Find out whether traffic was copied or diverted, and whether it travelled as the policy says."""
    with _errors():
        from tapsight import _files, _tables, formats, report_text
        from tapsight._baseline import read_baseline

        inputs = _inputs(captures, policy=policy)
        inputs += [(baseline, "the baseline")] if baseline is not None else []
        inputs += [(state, "the state")] if state is not None else []
        _files.require_other(output, inputs)
        _check_evidence(captures, evidence, zero_payload=zero_payload)
        if tables is not None:
            _tables.require_room(tables)
        earlier = read_baseline(baseline) if baseline is not None else None
        for line in earlier.notes if earlier is not None else ():
            _complain(f"{baseline}: {line}")
        result = _run_check(captures, policy, window, memory, threads, quiet=quiet, state=state)
        if earlier is not None:
            result = result.since(earlier)
        code = result.exit_code_from(fail_on)
        result = result.from_severity(min_severity)
        to_terminal = _to_terminal(output)
        ending = Path(output or "").suffix
        endings = {".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".sarif": "sarif"}
        match form or endings.get(ending, "text"):
            case "json":
                text = result.to_json() + "\n"
            case "ndjson":
                text = result.to_ndjson()
            case "eve" | "ocsf" | "sarif" | "stix" | "zeek" as other:
                text = formats.render(result, other)
            case _:
                width = os.get_terminal_size().columns if to_terminal else 100
                colour = to_terminal and "NO_COLOR" not in os.environ
                text = report_text.render(result, width=width, colour=colour, details=details)
        try:
            if tables is not None:
                result.write_tables(tables, tables_format, threads=threads)
            if evidence is not None:
                result.evidence(evidence, max_frames=max_frames, zero_payload=zero_payload)
        finally:
            # The report is there whatever comes in the way of evidence and tables.
            read = result.run.inputs() if result.run is not None else []
            with _files.output(output, [*inputs, *read]) as file:
                file.write(text.encode("utf-8", "backslashreplace"))
        _end(result.problems, code)


@app.command()
def schema(
    form: Annotated[
        Literal["json", "ndjson"],
        typer.Argument(metavar="[json|ndjson]", help="Of the whole, or of a line of NDJSON."),
    ] = "json",
) -> None:
    """Write the JSON Schema of what `tapsight check --format json` or ndjson writes."""
    with _errors():
        from tapsight._check import as_json
        from tapsight._schema import schema as made

        typer.echo(as_json(made(form), indent=2))


@app.command()
def report(
    captures: Captures,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="Write the page there; - is standard output."),
    ],
    policy: PolicyFile = None,
    title: Annotated[str | None, typer.Option(help="What to call the page.")] = None,
    author: Annotated[str | None, typer.Option(help="Who answers for the page: a name, an address.")] = None,
    sums: Annotated[
        bool,
        typer.Option(
            "--sums",
            help="Compute the SHA-256 of each capture, which is read once more for it. With --evidence they are there anyway.",
        ),
    ] = False,
    evidence: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the packets that prove each finding there, and link to them."
        ),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the pictures there as well, as SVG and PNG.")
    ] = None,
    max_frames: MaxFrames = 1000,
    zero_payload: ZeroPayload = False,
    window: Window = 5.0,
    memory: Memory = 512,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Check captures, and write a page for everybody whom the answer concerns: one HTML file that needs nothing else.

    Captures are read a second time, for when packets went where they should not.
    """
    with _errors():
        from tapsight import _files
        from tapsight import report as page

        if _to_terminal(output):
            raise ValueError("a page is not for terminals: name a file with -o")
        page.require()
        _files.require_other(output, _inputs(captures, policy=policy))
        _check_evidence(captures, evidence, zero_payload=zero_payload)
        result = _run_check(captures, policy, window, memory, threads, quiet=quiet)
        if evidence is not None:
            result.evidence(evidence, max_frames=max_frames, zero_payload=zero_payload)
        result.report(output, title=title, evidence=evidence, figures=figures, author=author, sums=sums)
        _end(result.problems, result.exit_code)


@app.command()
def digest(
    captures: Annotated[
        list[str],
        typer.Argument(metavar="NAME=CAPTURE...", help="Captures of the tap NAME. - is standard input."),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Write there; - is standard output.")
    ],
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Write what a check needs to know of the captures of one tap, so that several processes can share the work.

    tapsight check takes digests in place of the captures, and says the same: tapsight digest inside=1.pcap -o 1.digest, and so on,
    then tapsight check *.digest. A digest has no packets (but those that carry samples of others), so evidence needs the captures; it has
    addresses and what signalling says, numbers included. Only the version that made it reads it.
    """
    with _errors():
        from tapsight._digest import digest as run

        if _to_terminal(output):
            raise ValueError("a digest is not for terminals: name a file with -o")
        with _progress(quiet) as progress:
            made = run(captures, output, progress=progress, threads=threads)
        if not quiet:
            typer.echo(safe(f"{made.path}: {made.packets:,} packets of tap {made.tap}"), err=True)
        for warning in made.warnings:
            _complain(warning)


@app.command()
def evidence(
    captures: Captures,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new or an empty folder.")],
    finding: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only this finding; can be given several times.")
    ] = None,
    policy: PolicyFile = None,
    max_frames: MaxFrames = 1000,
    zero_payload: ZeroPayload = False,
    window: Window = 5.0,
    memory: Memory = 512,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Write a folder to hand on: the packets that prove each finding, where they came from, and sums to verify it by."""
    with _errors():
        _require_evidence(captures, out)
        result = _run_check(captures, policy, window, memory, threads, quiet=quiet)
        manifest = result.evidence(
            out, findings=finding or None, max_frames=max_frames, zero_payload=zero_payload
        )
        for each in manifest["findings"]:
            where = str(out / each["file"]) if each["file"] else "(no packets)"
            typer.echo(safe(f"{where}: {each['sentence']}"))
        _end(result.problems, result.exit_code)


@app.command()
def explain(
    id_: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="A check or detector, such as V2 or A5, or a pack, such as carrier-voice."
        ),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A policy, whose own checks are told as well.")
    ] = None,
) -> None:
    """Say what a check or detector looks for, why, and what it cannot see; or list a pack. Without ID, list all."""
    with _errors():
        from tapsight import _about
        from tapsight.policy import Policy

        agreed = Policy.load(policy) if policy is not None else None
        text = _about.listed(agreed) if id_ is None else _about.told(id_, agreed)
        typer.echo("\n".join(map(safe, text.splitlines())))


policies = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Begin, read back and compare policies."
)
app.add_typer(policies, name="policy")

PolicyArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A policy (TOML).")]


@policies.command("check")
def policy_check(file: PolicyArgument) -> None:
    """Say whether a policy is understood, and what of it does not count today; if not, what is wrong in which line. Exit code 2 if so."""
    with _errors():
        from tapsight import _policy_tools
        from tapsight._sets import now
        from tapsight.policy import Policy

        policy = Policy.load(file)
        # What it names is read too.
        policy.known_places()
        typer.echo(safe(f"{file}: {_policy_tools.summary(policy)}"))
        for line in _policy_tools.warnings(policy, now()):
            typer.echo(safe(f"{file}: {line}"))


@policies.command("explain")
def policy_explain(file: PolicyArgument) -> None:
    """Say which packs are on, what each check does under a policy, what those that cannot judge need, and what sets and exceptions say."""
    with _errors():
        from tapsight import _policy_tools
        from tapsight._sets import now
        from tapsight.policy import Policy

        policy = Policy.load(file)
        for pack in _policy_tools.packs(policy):
            typer.echo(f"pack {pack.pack:<17} {pack}")
        for row in _policy_tools.standings(policy):
            if row.state.startswith(_policy_tools.NOT_ASKED_FOR):
                # The line of its pack says so.
                continue
            said = f" [{row.said}]" if row.said else ""
            typer.echo(safe(f"{row.check:<4} {row.state}: {row.title}{said}"))
        for line in (*_policy_tools.set_lines(policy, now()), *_policy_tools.exception_words(policy, now())):
            typer.echo(safe(line))


@policies.command("init")
def policy_init(
    captures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]CAPTURE...", help="Captures of the network, to begin with what they show."
        ),
    ] = None,
    pack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Ask for this pack of checks, with what they need as questions; can be given several times. tapsight explain lists them.",
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Write a first policy: empty, or with what captures show, to be gone through line by line."""
    with _errors():
        from tapsight import _files, _policy_tools

        inputs = _inputs(captures) if captures else []
        _files.require_other(output, inputs)
        if output is not None and Path(output).is_file():
            # What somebody has decided line by line is not to be had again from captures.
            raise ValueError(
                f"{output} is there already, and may have been edited: name another file, or delete it"
            )
        text, problems = _policy_tools.starter(captures or None, pack or ())
        with _files.output(output, inputs) as file:
            file.write(text.encode())
        _end(problems)


@policies.command("diff")
def policy_diff(
    before: PolicyArgument,
    after: PolicyArgument,
    captures: Captures,
    window: Window = 5.0,
    memory: Memory = 512,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Say how the verdicts on captures change from one policy to another. Exit code 1 if one does."""
    with _errors():
        from tapsight import _policy_tools
        from tapsight.policy import Policy

        policies = [Policy.load(path) for path in (before, after)]
        with _progress(quiet) as progress:
            changes, problems = _policy_tools.compare(
                captures, *policies, window=window, memory=memory << 20, threads=threads, progress=progress
            )
        for change in changes:
            typer.echo(safe(f"{change.check}  {change.before} -> {change.after}: {change.title}"))
            for mark, sentences in (("+", change.new), ("-", change.gone)):
                for sentence in sentences:
                    typer.echo(safe(f"  {mark} {sentence}"))
        if not changes:
            typer.echo("no verdict changes")
        _end(problems, int(bool(changes)))


@policies.command("schema")
def policy_schema() -> None:
    """Write the JSON Schema of a policy, by which editors complete and check it."""
    with _errors():
        import json

        from tapsight import _policy_tools

        typer.echo(json.dumps(_policy_tools.schema(), indent=2))


@app.command()
def where(
    things: Annotated[
        list[str],
        typer.Argument(
            metavar="ADDRESS|+NUMBER...", help="IP addresses, and international telephone numbers."
        ),
    ],
    places: PlacesFiles = None,
    policy: PolicyFile = None,
    registered: Annotated[
        bool, typer.Option(help="Whether to know the countries that addresses were registered in.")
    ] = True,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="How to write it.")] = "text",
) -> None:
    """Say where addresses belong (country, network, zone), and whose telephone numbers are."""
    with _errors():
        from tapsight._check import as_json
        from tapsight._where import load_places, where_rows, where_text

        rows = where_rows(things, load_places(places, policy, registered=registered))
        typer.echo(as_json(rows, indent=2) if form == "json" else where_text(rows))


@app.command()
def bench(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Captures to measure with as well.")
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Traffic to make: 64-byte, imix, carrier, rtp; and what attacks: flood (each packet a conversation), repeated (one frame again and again). All of them without FILE or this option.",
        ),
    ] = None,
    packets: Annotated[
        int | None, typer.Option(min=1, help="How many packets to make of each mix; else 64 MiB of them.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="How often to measure each row.")] = 5,
    detectors: Annotated[
        bool, typer.Option("--detectors", help="Measure each detector by itself too.")
    ] = False,
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers there as well.")
    ] = None,
) -> None:
    """Measure how fast captures are read on this machine, beside one pass over the same bytes."""
    with _errors():
        from tapsight import _bench, _core, _files

        if _core.DEBUG:
            _complain("this is a debug build: its times say nothing")
        mixes = mix or ([] if files else list(_bench.MIXES))
        measured = []
        # Opened before the minutes that follow, so that a name that cannot be written is told at once.
        read = [(file, "one of the captures") for file in files or ()]
        with _files.output(str(json_ or os.devnull), read) as file:
            for source, rows in _bench.bench(
                files or [], mixes, packets=packets, runs=runs, detectors=detectors
            ):
                typer.echo(f"{safe(source)}\n{_bench.header()}")
                for row in rows:
                    typer.echo(row.line())
                    measured.append(row)
                typer.echo()
            file.write(_bench.as_json(measured).encode())
        typer.echo(_bench.explanation(runs))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def lab(context: typer.Context) -> None:
    """Generate captures of an imagined router with known copies and diversions in them."""
    with _errors():
        import runpy

        sys.argv = ["tapsight lab", *context.args]
        runpy.run_module("tapsight.lab", run_name="__main__", alter_sys=False)


def _require_evidence(captures: list[str], directory: Path) -> None:
    """What would keep evidence from being written is told before captures are read."""
    from tapsight import _evidence
    from tapsight._sources import read_sources

    _evidence.require_files(read_sources(captures))
    _evidence.require_room(directory)


def _run_check(
    captures: list[str],
    policy: Path | None,
    window: float,
    memory: int,
    threads: int | None,
    *,
    quiet: bool,
    state: Path | None = None,
) -> Result:
    """The result of a check, whose progress is shown; memory in MiB."""
    from tapsight._check import check as run

    with _progress(quiet) as progress:
        return run(
            captures,
            policy=policy,
            window=window,
            memory=memory << 20,
            progress=progress,
            threads=threads,
            state=state,
        )


def _check_evidence(captures: list[str], directory: Path | None, *, zero_payload: bool) -> None:
    """That evidence can be written, if it is asked for."""
    if directory is not None:
        _require_evidence(captures, directory)
    elif zero_payload:
        raise ValueError("--zero-payload is about evidence: say where to write that, with --evidence DIR")


def _inputs(
    captures: list[str],
    *,
    policy: Path | None = None,
    agreed: Policy | None = None,
    places: Sequence[Path] | None = None,
) -> list[Input]:
    """What a command reads, which it must not write over. ``agreed`` is the policy, once it is loaded."""
    from tapsight._sources import captures_read, read_sources

    read: list[Input] = [*captures_read(read_sources(captures))]
    read += [(policy, "the policy")] if policy is not None else []
    read += [(path, "a file that the policy names") for path in agreed.files()] if agreed is not None else []
    return [*read, *((path, "one of the places") for path in places or ())]


def _to_terminal(output: str | None) -> bool:
    return output in {None, "-"} and sys.stdout is not None and sys.stdout.isatty()


def _calls_named(rows: Any, call_id: str) -> list[int]:
    """The numbers of the calls with a Call-ID, in rows that show it."""
    import pyarrow.compute as pc

    # Warnings were told when the same calls were read before.
    return [
        number
        for batch in rows.read(str)
        for number in batch.filter(pc.equal(batch["call_id"], call_id))["call"].to_pylist()
    ]


def _width(*, to_terminal: bool) -> int | None:
    """How wide text may be: as COLUMNS says, else as wide as the terminal; none if it goes elsewhere."""
    if to_terminal:
        # This goes by COLUMNS first.
        return shutil.get_terminal_size().columns
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else None


def _end(problems: Sequence[str], code: int = 0) -> None:
    for problem in problems:
        _complain(problem)
    raise typer.Exit(2 if problems else code)


def _format_of(output: str | None) -> TableFormat:
    from tapsight._files import TABLE_FORMATS

    if output in {None, "-"}:
        return "csv"
    endings: dict[str, TableFormat] = {f".{name}": name for name in TABLE_FORMATS}
    endings |= {".jsonl": "ndjson", ".feather": "arrow", ".arrows": "arrow"}
    ending = Path(str(output)).suffix.lower()
    if ending not in endings:
        raise ValueError(
            f"{output}: cannot tell the format from its ending; use one of {', '.join(endings)} or --format"
        )
    return endings[ending]


def _column_names(columns: str | None) -> list[str] | None:
    return [name.strip() for name in columns.split(",")] if columns is not None else None


def _write(
    captures: list[str],
    rows: Callable[[Tap], Any],
    columns: str | None,
    output: str | None,
    form: TableFormat | Literal["eve", "zeek"] | None,
    inputs: Sequence[Input],
    threads: int | None,
) -> None:
    """Writes the rows of all taps that can be read, one tap after the other, and exits."""
    _end_waits_by_signals()
    from tapsight import _files
    from tapsight._check import format_problem, readable_taps
    from tapsight._sources import problem_with, read_sources

    chosen = form or _format_of(output)
    if chosen in {"arrow", "parquet"} and _to_terminal(output):
        raise ValueError(f"{chosen} is not for terminals: name a file with -o, or choose --format csv")
    problems: list[str] = []
    taps = readable_taps(
        read_sources(captures), lambda path: problem_with(path) or format_problem(path), problems
    )
    all_rows = [rows(tap) for tap in taps]
    schema: pa.Schema = all_rows[0].schema
    if columns is not None:
        if chosen in {"eve", "zeek"}:
            raise ValueError(f"{chosen} has columns of its own: leave out --columns")
        schema = _chosen(schema, _column_names(columns) or [])
    batches = (batch.select(schema.names) for each in all_rows for batch in each.read(_complain))
    with _files.output(output, inputs) as file:
        match chosen:
            case "eve" | "zeek":
                from tapsight.formats import _conversations

                write = {"eve": _conversations.write_eve, "zeek": _conversations.write_zeek}[chosen]
                write(batches, file)
            case table:
                _files.write_table(batches, schema, file, table, threads)
    _end(problems)


def _loaded(file: Path | None) -> Policy | None:
    """The policy of a file, if one is named."""
    from tapsight.policy import Policy

    return Policy.load(file) if file is not None else None


def _known_places(
    files: PlacesFiles, agreed: Policy | None, home: list[str] | None, *, located: bool
) -> tuple[Any, list[str]]:
    """What ends are looked up in, if anything asks for it, and which countries are home."""
    if not (located or files or agreed is not None or home):
        return None, []
    from tapsight._where import load_places

    return load_places(files, agreed), home or list(agreed.network.home if agreed else ())


def _show_calls(
    captures: list[str],
    rows: Callable[[Tap, str], Any],
    wanted: str | None,
    output: str | None,
    inputs: Sequence[Input],
    shown: Callable[[Tap], Any],
    *,
    located: bool,
) -> None:
    """Shows all calls, or the ladder of one, and exits."""
    import pyarrow as pa

    from tapsight import _files, _ladder
    from tapsight._check import format_problem, readable_taps
    from tapsight._sources import problem_with, read_sources

    def read(tap: Tap, table: str) -> list[dict[str, Any]]:
        made = rows(tap, table)
        whole = pa.Table.from_batches(list(made.read(_complain if table == "calls" else str)), made.schema)
        # Times as numbers: Python's own have no nanoseconds.
        times = [field.name for field in whole.schema if pa.types.is_timestamp(field.type)]
        for name in times:
            whole = whole.set_column(whole.schema.get_field_index(name), name, whole[name].cast(pa.int64()))
        found: list[dict[str, Any]] = whole.to_pylist()
        return found

    problems: list[str] = []
    taps = readable_taps(
        read_sources(captures), lambda path: problem_with(path) or format_problem(path), problems
    )
    if wanted is not None and any("-" in tap.paths for tap in taps):
        raise ValueError("--ladder reads the capture twice, and standard input can be read once: name a file")
    to_terminal = _to_terminal(output)
    width = _width(to_terminal=to_terminal)
    colour = to_terminal and "NO_COLOR" not in os.environ
    all_calls = [
        (tap, row) for tap in taps for row in sorted(read(tap, "calls"), key=lambda row: row["call"])
    ]
    if wanted is None:
        text = _ladder.calls_text([row for _, row in all_calls], width, located=located)
    else:
        chosen = [(tap, row) for tap, row in all_calls if wanted in {str(row["call"]), row["call_id"]}]
        if not chosen:
            # A Call-ID that looks like a number is hidden in the tables: whoever knows it may find its call, and learns no other.
            named = {
                (at, number) for at, tap in enumerate(taps) for number in _calls_named(shown(tap), wanted)
            }
            chosen = [(tap, row) for tap, row in all_calls if (taps.index(tap), row["call"]) in named]
        if not chosen:
            raise ValueError(f"no call has the number or the Call-ID {wanted}: tapsight calls lists them")
        # Of one Call-ID there may be many calls: each tap is read once for all of them.
        numbers = {(tap.name, row["call"]) for tap, row in chosen}
        messages: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for tap in dict.fromkeys(tap for tap, _ in chosen):
            for message in read(tap, "call_messages"):
                key = tap.name, message["call"]
                if key in numbers:
                    messages.setdefault(key, []).append(message)
        parts = []
        for tap, row in chosen:
            title = f"call {row['call']} at {row['tap']}: {row['caller'] or '?'} → {row['callee'] or '?'}, {row['state']}"
            told = messages.get((tap.name, row["call"]), [])
            parts.append(_ladder.ladder(title, told, width or 120, colour=colour))
        text = "\n".join(parts)
    with _files.output(output, inputs) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    _end(problems)


def _chosen(schema: pa.Schema, names: list[str]) -> pa.Schema:
    """These columns, in this order."""
    unknown = next((name for name in names if name not in schema.names), None)
    if unknown is not None:
        raise ValueError(f'no column "{unknown}"; there are: {", ".join(schema.names)}')
    return schema.empty_table().select(names).schema


def _end_waits_by_signals() -> None:
    """Ctrl-C ends a wait for a pipe. With Polars' handler, reads begin again, and it would be seen only when something comes."""
    import polars  # noqa: F401 - sets that handler

    signal.siginterrupt(signal.SIGINT, True)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int], object] | None]:
    """Shows how far reading is, if somebody watches."""
    _end_waits_by_signals()
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,} packets"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda packets: bar.update(task, completed=packets)


if __name__ == "__main__":
    main()
