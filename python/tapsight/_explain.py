"""What a check or detector is, for people: its documentation, and how often it was wrong where nothing was.

``make evaluate`` measures that in the lab.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import textwrap

from tapsight._text import documentation, plural


def explanation(thing: type, id_: str, title: str) -> str:
    """What it looks for, why, what to do, what it cannot see, and what was measured."""
    measured = textwrap.fill(false_alarms(id_), 116, initial_indent="    ", subsequent_indent="    ")
    return f"{id_}: {title}\n\n{documentation(thing)}\n\nFalse alarms measured:\n{measured}"


@functools.cache
def _rates() -> dict[str, dict[str, int]]:
    text = importlib.resources.files("tapsight").joinpath("data/false_alarms.json").read_text("utf-8")
    rates: dict[str, dict[str, int]] = json.loads(text)
    return rates


def per_million(alarms: int, judged: int) -> str | None:
    """The rate of alarms, or the bound that holds with 95 % where there was none (3 over what was seen); none if nothing was seen."""
    if judged == 0:
        return None
    rate = (alarms or 3) * 1e6 / judged
    return ("" if alarms else "< ") + (f"{rate:,.0f}" if rate >= 100 else f"{rate:.2g}")


def false_alarms(id_: str) -> str:
    """What was measured, in a sentence."""
    rate = _rates().get(id_)
    if rate is None or rate["judged"] == 0:
        return "No scenario of the lab without an implant has anything that it could judge: its rate is not known."
    where = f"in {plural(rate['scenarios'], 'scenario')} of the lab without an implant"
    quiet = f", and {rate['quiet']} of low severity" if rate["quiet"] else ""
    million = per_million(rate["loud"], rate["judged"])
    return (
        f"{rate['loud'] or 'None'} of medium severity or above{quiet} {where}, where it judged {plural(rate['judged'], 'packet')}: "
        f"{million} per million{'' if rate['loud'] else ', with 95 % confidence'}."
    )
