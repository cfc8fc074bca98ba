"""The page: what stands in it, from the tables of a result."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import importlib.util
import json
import os
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapsight import _evidence, _files
from tapsight._about import about
from tapsight._answers import Answer, NotShown, settling
from tapsight._call_verdicts import ASPECTS
from tapsight._check import Result, compared_rows, plain_rows
from tapsight._exceptions import exception_lines
from tapsight._sets import now
from tapsight._text import begin, duration, listing, percent, plural, safe, time_text, traffic_text
from tapsight.findings import attack, period
from tapsight.report._moments import MOST, Moments
from tapsight.report._pictures import chart_svg, copy_svg, way_svg
from tapsight.report_text import collector_text, frames_by_file, quality_notes

if TYPE_CHECKING:
    import altair as alt
    import jinja2
    from markupsafe import Markup

    from tapsight._evidence import Run

ROUTES = 30
"""Pairs of addresses that calls are listed by."""


def write(
    result: Result,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    evidence: str | os.PathLike[str] | None = None,
    figures: str | os.PathLike[str] | None = None,
    author: str | None = None,
    sums: bool = False,
) -> None:
    """Writes a page for everybody whom a result concerns: one HTML file that needs nothing else.

    Captures are read once more, for when and what; a page of captures that are gone says so.

    Args:
        result: What :func:`tapsight.check` found.
        path: Where to; ``-`` is standard output. A file is replaced as a whole.
        title: What to call it.
        evidence: The folder that :meth:`tapsight.Result.evidence` wrote, which the page then links to.
        figures: A folder for the pictures, as SVG and PNG.
        author: Who answers for the page.
        sums: Whether to compute the SHA-256 of each capture, for which it is read once more. With ``evidence`` they are known.

    Raises:
        ImportError: What makes pages and pictures is not installed.
        ValueError: The path is of what was checked, or of the policy.
        OSError: It cannot be written.
    """
    require()
    inputs = result.run.inputs() if result.run is not None else []
    _files.require_other(path, inputs)
    page = _Page(result, title or "Was traffic copied, or sent elsewhere?", path, evidence, author, sums=sums)
    text = _template().render(page.context())
    with _files.output(os.fspath(path), inputs) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    if figures is not None:
        page.save_figures(Path(figures))


def require() -> None:
    """Makes sure that what makes pages and pictures is installed.

    Raises:
        ImportError: It is not.
    """
    for name in ("altair", "jinja2", "vl_convert"):
        if importlib.util.find_spec(name) is None:
            raise ImportError("reports need more than the rest of tapsight: pip install 'tapsight[report]'")


def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # What a capture says is text: what would steer a terminal or turn the direction of writing is shown, not done.
    environment.finalize = lambda value: safe(value) if type(value) is str else value
    environment.filters["marked"] = _marked
    return environment.from_string(_resource("page.html.jinja"))


def _marked(text: str) -> Markup:
    """A text in which what stands between backticks is code. All of it is escaped."""
    from markupsafe import Markup, escape

    parts = safe(text).split("`")
    if len(parts) % 2 == 0:
        # One of them is text like any other.
        return escape("`".join(parts))
    return Markup().join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)
    )


def _resource(name: str) -> str:
    return importlib.resources.files("tapsight.report").joinpath(name).read_text("utf-8")


class _Page:
    def __init__(
        self,
        result: Result,
        title: str,
        path: str | os.PathLike[str],
        evidence: str | os.PathLike[str] | None,
        author: str | None = None,
        *,
        sums: bool = False,
    ) -> None:
        self.result = result
        self.title = title
        self.folder = Path(path).absolute().parent
        self.evidence = Path(evidence) if evidence is not None else None
        self.author = author
        self.now = now()
        self.sums = _sums(result.run, self.evidence, compute=sums)
        self.charts: dict[str, alt.Chart | alt.LayerChart] = {}
        self.diagrams: dict[str, str] = {}

    def context(self) -> dict[str, Any]:
        """What the template shows."""
        from markupsafe import Markup

        from tapsight import __version__

        result, script = self.result, _resource("filter.js")
        verdicts = result.verdicts.to_pylist()
        stories = self.stories()
        words = ("fail", "unknown", "pass")
        counts = [(word, sum(row["verdict"] == word for row in verdicts)) for word in words]
        calls = self.calls()
        parts = {"findings": "Findings", "verdicts": "Verdicts", "unknown": "Not shown", "calls": "Calls"}
        parts |= {"traffic": "Traffic", "captures": "Captures", "method": "Method"}
        if calls is None:
            del parts["calls"]
        return {
            "title": self.title,
            "version": __version__,
            "script": Markup(script),  # noqa: S704 - ours
            "script_sum": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            "style": Markup(_resource("style.css")),  # noqa: S704 - ours
            "captured": self.captured(),
            "made": self.made(),
            "answers": self.answers(),
            "problems": result.problems,
            "parts": parts.items(),
            "stories": stories,
            "n_findings": result.findings.num_rows,
            "n_more": max(0, result.findings.num_rows - MOST),
            "left_out": left_out(result),
            "excepted": [
                {**_named(row, result), "by": f"{row['owner']}, {row['reason']}, until {row['expires']}"}
                for row in plain_rows(result.excepted.slice(0, MOST))
            ],
            "n_excepted": result.excepted.num_rows,
            "exceptions": exception_lines(result.exceptions),
            "verdict_picture": self.picture(
                "verdicts", result.plot.verdicts(), ", ".join(f"{count} {word}" for word, count in counts)
            ),
            "verdict_counts": counts,
            "verdicts": [
                _verdict(row) for row in sorted(verdicts, key=lambda row: words.index(row["verdict"]))
            ],
            "unknown": _unknown(verdicts),
            "calls": calls,
            "traffic": self.traffic(),
            "captures": [_capture(row) for row in plain_rows(result.taps)],
            "compared": [_compared(row) for row in compared_rows(result.taps_compared) if row["judged"]],
            "method": self.method(),
        }

    def picture(self, name: str, chart: alt.Chart | alt.LayerChart, label: str) -> Any:
        """A chart in the page, and kept for who wants it as a file."""
        from markupsafe import Markup

        self.charts[name] = chart
        return Markup(chart_svg(chart, label))  # noqa: S704 - its text is escaped where it is made

    def save_figures(self, folder: Path) -> None:
        """Writes all pictures."""
        import vl_convert

        folder.mkdir(parents=True, exist_ok=True)
        for name, chart in self.charts.items():
            spec = chart.to_dict()
            (folder / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(spec), "utf-8")
            (folder / f"{name}.png").write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
        for name, svg in self.diagrams.items():
            (folder / f"{name}.svg").write_text(svg, "utf-8")
            (folder / f"{name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=2))

    def made(self) -> str:
        """Who made the page, when, and with what."""
        from tapsight import __version__

        by = f" by {self.author}" if self.author is not None else ""
        return f"Made{by} at {time_text(self.now)} with tapsight {__version__}."

    def captured(self) -> str:
        """What was looked at, in a line."""
        taps = self.result.taps
        if taps.num_rows == 0:
            return "No frames."
        first, last = period(self.result.taps)
        frames = sum(taps["frames"].to_pylist())
        names = list(dict.fromkeys(taps["tap"].to_pylist()))
        return f"{frames:,} frames of {plural(len(names), 'tap')} ({listing(names)}), {time_text(first)} to {time_text(last)}."

    def answers(self) -> list[dict[str, str]]:
        """The questions, with what could not be shown as the last."""
        shown: list[tuple[Answer | NotShown, str]] = [(each, each.tone) for each in self.result.answers]
        shown.append((self.result.not_shown, "open"))
        return [
            {
                "question": each.question,
                "answer": each.answer,
                "because": begin(each.because),
                "tone": tone if tone != "open" else "",
            }
            for each, tone in shown
        ]

    def stories(self) -> list[dict[str, Any]]:
        """Findings that say the same place are one story."""
        rows = plain_rows(self.result.findings.slice(0, MOST))
        moments = self.result.plot.moments
        stories: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            stories.setdefault(moments.heads.get(row["id"], row["id"]), []).append(row)
        return [self.story(head, members, moments) for head, members in stories.items()]

    def story(self, head: str, members: list[dict[str, Any]], moments: Moments) -> dict[str, Any]:
        """What is told of one place, or of one finding."""
        import polars as pl

        first = members[0]
        low, high = first["share_low"], first["share_high"]
        facts = [("packets", f"{first['packets']:,}"), ("conversations", f"{first['flows']:,}")]
        if low is not None and first["judged"]:
            share = percent(first["packets"], first["judged"])
            facts.append(
                ("share of what could be judged", f"{share} (95 %: {100 * low:.1f} to {100 * high:.1f} %)")
            )
        began, ended = _moment(first["first_ts"]), _moment(first["last_ts"])
        facts.append(("time", began if began == ended else f"{began} to {ended}"))
        if where := collector_text(first["collector"]):
            facts.append(("to", where))
        if first["attack"]:
            facts.append(("ATT&CK", ", ".join(first["attack"])))
        pictures: list[dict[str, Any]] = []
        if head in moments.heads:
            plot = self.result.plot
            lags = moments.lags.filter(pl.col("finding") == head)["lag_ns"]
            pictures.append(self.path(head, first, moments, lags))
            pictures.append(
                {
                    "svg": self.picture(
                        f"timeline-{head}",
                        plot.timeline(head),
                        "packets over time, those sent there beside all others",
                    ),
                    "caption": f"Packets in parts of {duration(moments.width_ns)}, at all taps.",
                }
            )
            if lags.n_unique() > 1:
                pictures.append(
                    {
                        "svg": self.picture(f"lags-{head}", plot.lags(head), "how much later copies were"),
                        "caption": f"How much later the copies were, of {plural(len(lags), 'pair')} among the evidence. From one tap to another, the difference of "
                        "their clocks is in it.",
                    }
                )
            if moments.prefixes.filter(pl.col("finding") == head).height:
                pictures.append(
                    {
                        "svg": self.picture(
                            f"prefixes-{head}", plot.prefixes(head), "share of packets copied by prefix"
                        ),
                        "caption": "How many of the packets from or to each network were copied; of both, at the tap that saw most.",
                    }
                )
        return {
            "first": _named(first, self.result),
            "facts": facts,
            "pictures": pictures,
            "others": [_named(row, self.result) for row in members[1:]],
            "proof": self.proof(first),
        }

    def path(self, head: str, first: Mapping[str, Any], moments: Moments, lags: Any) -> dict[str, Any]:
        """Who sent what to whom: the copy beside the original, or the way that packets took."""
        import polars as pl
        from markupsafe import Markup

        prefixes = moments.prefixes.filter(pl.col("finding") == head)
        ends = [
            prefixes.filter(pl.col("end") == end).sort("copied", descending=True)["prefix"].to_list()
            for end in ("src", "dst")
        ]
        traffic = moments.traffic.filter(pl.col("finding") == head)
        kinds = traffic_text(traffic["traffic"].drop_nulls().to_list()) or "traffic"
        late = f", {duration(int(lags.median()))} later" if len(lags) else ""
        collector = first["collector"]
        to = " ".join(filter(None, (collector["address"], collector["mac"])))
        way = collector_text({**collector, "address": None, "mac": None})
        if head in moments.copies:
            svg = copy_svg(
                senders=listing(ends[0], 2) or "hosts of this network",
                device=first["exporter"] or "a device on the path",
                receivers=listing(ends[1], 2) or "those it was meant for",
                collector=to,
                copied=kinds,
                way=(way or "as it was") + late,
            )
        else:
            svg = way_svg(
                sender=first["exporter"] or "hosts of this network", receiver=to, what=kinds, way=way
            )
        self.diagrams[f"path-{head}"] = svg
        return {"svg": Markup(svg), "caption": "Who sent what to whom."}  # noqa: S704 - its text is escaped

    def proof(self, finding: Mapping[str, Any]) -> list[dict[str, str | None]]:
        """The frames of the evidence by file, and where they are if there is a folder of evidence."""
        link = None
        if self.evidence is not None and (found := sorted(self.evidence.glob(f"*{finding['id']}*.pcapng"))):
            link = urllib.parse.quote(os.fsencode(os.path.relpath(found[0].absolute(), self.folder)))
        return [
            {"file": file, "frames": frames, "filter": shown, "link": link}
            for file, frames, shown in frames_by_file(finding["evidence"])
        ]

    def calls(self) -> dict[str, Any] | None:
        """Calls by route: between which addresses, and how many passed."""
        import polars as pl

        from tapsight._text import address_text

        calls = pl.DataFrame(self.result.calls)
        if calls.is_empty():
            return None
        routes = (
            calls.group_by("src", "dst")
            .agg(
                pl.len().alias("calls"),
                *(
                    (pl.col(name) == word).sum().alias(f"{name} {word}")
                    for name in ASPECTS
                    for word in ("pass", "fail")
                ),
            )
            .sort("calls", "src", "dst", descending=[True, False, False])
        )
        return {
            "count": f"{calls.height:,}",
            "picture": self.picture("calls", self.result.plot.calls(), "calls by question and verdict"),
            "aspects": ASPECTS,
            "routes": [
                {
                    "src": address_text(row["src"]),
                    "dst": address_text(row["dst"]),
                    "calls": f"{row['calls']:,}",
                    "cells": [
                        _cell(row[f"{name} pass"], row[f"{name} fail"], row["calls"]) for name in ASPECTS
                    ],
                }
                for row in routes.head(ROUTES).to_dicts()
            ],
            "more": max(0, routes.height - ROUTES),
        }

    def traffic(self) -> list[dict[str, Any]]:
        """What traffic there was."""
        from tapsight.plot import call_pairs, country_pairs, sources

        plot, result = self.result.plot, self.result
        if result.flows.num_rows == 0:
            return []
        shown = [
            {
                "svg": self.picture("traffic", plot.traffic(), "bytes by application and class of traffic"),
                "caption": "Bytes by application, inside of tunnels. Copies count, too.",
            },
            {
                "svg": self.picture(
                    "encryption", plot.encryption(), "share of packets by encryption and class of traffic"
                ),
                "caption": "Packets by how they are encrypted, inside of tunnels. In clear: in protocols that do not encrypt. Whether RTP is "
                "SRTP is known only of calls whose set-up was seen. Cannot be told: not recognised, told by the port alone, or protocols that may encrypt or not.",
                "table": self.encryption(),
            },
        ]
        where = _where(sources(result))
        if country_pairs(result).height:
            shown.append(
                {
                    "svg": self.picture("countries", plot.countries(), "bytes from country to country"),
                    "caption": f"Bytes from country to country. {where}",
                }
            )
        if call_pairs(result).height:
            shown.append(
                {
                    "svg": self.picture(
                        "call-countries", plot.call_countries(), "calls from country to country"
                    ),
                    "caption": "Calls from country to country, by the addresses of their signalling, once for each tap that saw them. Countries as above.",
                }
            )
        return shown

    def encryption(self) -> dict[str, Any]:
        """How much is encrypted, in numbers."""
        from tapsight.plot import encryption

        rows = encryption(self.result)
        sums = dict(rows.select("traffic", "packets").group_by("traffic").sum().iter_rows())
        return {
            "head": ["Class", "Encryption", "Packets", "Share", "Conversations"],
            "rows": [
                [
                    row["traffic"],
                    row["way"],
                    f"{row['packets']:,}",
                    percent(row["packets"], sums[row["traffic"]]),
                    "-" if row["flows"] is None else f"{row['flows']:,}",
                ]
                for row in rows.to_dicts()
            ],
        }

    def method(self) -> list[tuple[str, str]]:
        """What made this, and of what."""
        from tapsight import __version__

        run = self.result.run
        rows = [("author", self.author)] if self.author is not None else []
        rows += [("made", time_text(self.now)), ("tapsight", __version__), ("ATT&CK", attack()[0])]
        if run is not None:
            rows += [
                *([("command", command)] if (command := _evidence.command_line(run, ["check"])) else []),
                ("window", f"{run.window:g} s between a packet and its copy"),
                ("memory", f"{run.memory >> 20} MiB for recent packets"),
            ]
            policy = run.policy
            if policy is None:
                rows.append(("policy", "none: what is agreed was not said"))
            elif policy.file is not None:
                rows.append(("policy", f"{policy.file} (SHA-256 {policy.sha256})"))
            sums = {**run.sums, **self.sums}
            rows += [(f"SHA-256 of {name}", value) for name, value in sums.items()]
            if not sums:
                rows.append(
                    (
                        "SHA-256 of captures",
                        "not computed: it takes reading them once more (--sums, or --evidence)",
                    )
                )
        rows += [("could not be read again", line) for line in self.result.plot.moments.unread]
        return rows


def _sums(run: Run | None, evidence: Path | None, *, compute: bool) -> dict[str, str]:
    """SHA-256 of captures: as a folder of evidence has it, which has just been written, or computed."""
    if run is None:
        return {}
    if compute:
        return {each["file"]: each["sha256"] for each in _evidence.inputs(run)}
    manifest = evidence / "manifest.json" if evidence is not None else None
    if manifest is None or not manifest.is_file():
        return {}
    names = {capture.name for capture in run.captures}
    rows = json.loads(manifest.read_text("utf-8"))["inputs"]
    return {each["file"]: each["sha256"] for each in rows if each["file"] in names}


def _where(sources: list[str]) -> str:
    """How far countries can be trusted."""
    told = [Path(name).name for name in sources if name != "registry"]
    own = f"By what the policy says ({listing(told)}), else by" if told else "By"
    return (
        f"{own} the country that an address is registered in, which need not be where it is; local: private and other special addresses; "
        "not known: nobody says."
    )


def _moment(time: str | None) -> str:
    """A time of a table, to the second."""
    return "-" if time is None else f"{time.partition('.')[0].replace('T', ' ')} UTC"


def left_out(result: Result) -> list[str]:
    """What findings are not shown because nobody asked for them."""
    lines = [f"{plural(len(result.known), 'finding')} that the baseline has"] if result.known else []
    lines += [f"{plural(len(result.lesser), 'finding')} of lower severity"] if result.lesser else []
    return lines


def _named(row: Mapping[str, Any], result: Result) -> dict[str, Any]:
    known = about(row["check"] or row["detector"], result.checks)
    return {
        "id": row["id"],
        "severity": row["severity"],
        "title": known.title if known is not None else row["check"],
        "name": " / ".join(filter(None, (row["check"], row["detector"]))),
        "sentence": row["sentence"],
    }


def _verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "check": row["check"],
        "title": row["title"],
        "verdict": row["verdict"],
        "coverage": percent(row["judged"], row["in_scope"]) if row["in_scope"] else "-",
        "packets": f"{row['in_scope']:,}",
        "reason": "; ".join(
            filter(
                None,
                (
                    plural(row["findings"], "finding") if row["findings"] else None,
                    row["reason"],
                    row["ticket"],
                ),
            )
        ),
    }


def _unknown(verdicts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What could not be judged at all, by reason; the reasons of most checks last, since they say least."""
    sentences, _ = settling()
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in verdicts:
        if row["verdict"] == "unknown":
            shown = {"check": row["check"], "title": row["title"], "settle": sentences.get(row["check"])}
            groups.setdefault(row["reason"] or "not judged", []).append(shown)
    ordered = sorted(groups.items(), key=lambda item: len(item[1]))
    return [{"reason": begin(reason), "rows": rows, "open": len(rows) <= 3} for reason, rows in ordered]


def _capture(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tap": row["tap"],
        "file": row["file"],
        "first": _moment(row["first_ts"]),
        "last": _moment(row["last_ts"]),
        "frames": f"{row['frames']:,}",
        "quality": "; ".join(quality_notes(row)),
    }


def _compared(row: Mapping[str, Any]) -> list[str]:
    names = ("lost", "inserted", "modified", "diverted", "copied")
    counts = [f"{row[name]:,}" for name in ("judged",)] + [percent(row["passed"], row["judged"])]
    return [row["from_tap"], row["to_tap"], row["traffic"], *counts, *(f"{row[name]:,}" for name in names)]


def _cell(passed: int, failed: int, calls: int) -> dict[str, str]:
    """One question about the calls of a route."""
    if failed:
        return {"tone": "fail", "text": f"fail {failed:,}" if failed < calls else "fail"}
    if passed == calls:
        return {"tone": "pass", "text": "pass"}
    return {"tone": "unknown", "text": f"unknown {calls - passed:,}" if passed else "unknown"}
