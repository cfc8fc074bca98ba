"""What people do with a policy besides checking by it: begin one, read it back, see what a change of it changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr

from tapsight._about import PACKS, about, in_pack, meanings_of, needs, options_of
from tapsight._exceptions import SOON, in_days
from tapsight._options import did_you_mean
from tapsight._text import address_text, listing, plural
from tapsight.checks import CHECKS
from tapsight.checks._base import Pack
from tapsight.checks._needs import Need, needs_text
from tapsight.checks._own import NAME, OwnOptions
from tapsight.detectors import DETECTORS
from tapsight.policy import Checks, Network, PlaceFiles, Policy, Zone

if TYPE_CHECKING:
    import polars as pl

    from tapsight._check import Result
    from tapsight._sets import Members
    from tapsight._sources import Sources

_SHIPPED: tuple[Any, ...] = (*DETECTORS.values(), *CHECKS.values())

SUGGESTED = 50
"""Addresses, VLANs or tunnels of one kind that a first policy lists of a capture."""


def schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, for editors."""
    made, checks, own = (model.model_json_schema() for model in (Policy, Checks, OwnOptions))
    definitions = {**made.pop("$defs", {}), **checks.pop("$defs", {}), **own.pop("$defs", {})}
    definitions[OwnOptions.__name__] = own
    # A table by another name than those that ship is a check of the policy's own.
    checks["additionalProperties"] = {"$ref": f"#/$defs/{OwnOptions.__name__}"}
    checks["propertyNames"] = {
        "anyOf": [{"enum": list(Checks.model_fields)}, {"pattern": f"^{NAME.pattern}$"}]
    }
    made["properties"]["checks"] = {**checks, "default": {}}
    titles = {id_: known.title for id_ in Checks.model_fields if (known := about(id_)) is not None}
    for id_, table in made["properties"]["checks"]["properties"].items():
        table["description"] = titles[id_]
    for model in (Policy, Network, PlaceFiles, Zone, OwnOptions, *(each.options for each in _SHIPPED)):
        fields = (made if model is Policy else definitions[model.__name__])["properties"]
        for name, text in meanings_of(model).items():
            if name in fields:
                fields[name].setdefault("description", text.replace("``", "`"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "tapsight policy",
        "$defs": definitions,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """What a policy lets a check or detector do."""

    check: str
    title: str
    state: str
    """``judges``, ``off``, what it needs, or the pack that it comes with."""
    said: str
    """What the policy says of it."""
    needs: tuple[Need, ...] = ()
    """What it needs, if that is why it does not judge."""


def standings(policy: Policy) -> list[Standing]:
    """What each detector and check does under this policy, its own checks included."""
    rows = []
    in_force = policy.in_force()
    for id_ in dict.fromkeys((*DETECTORS, *CHECKS, *in_force)):
        check = in_force.get(id_)
        known = about(id_, in_force)
        assert known is not None  # noqa: S101 - it is one of these
        options = policy.options(id_)
        missing = check.missing_under(policy.options, policy.network) if check is not None else ()
        is_off = options is not None and not options.enabled
        unmet = () if is_off else missing
        state = "off" if is_off else needs_text(unmet) if unmet else "judges"
        if known.kind == "check" and check is None:
            state = f'{NOT_ASKED_FOR}: packs = ["{known.pack}"]'
        rows.append(Standing(id_, known.title, state, _said(options), unmet))
    return rows


NOT_ASKED_FOR = "not asked for"
"""What is said of checks of packs that the policy does not have."""


@dataclasses.dataclass(frozen=True, slots=True)
class PackStanding:
    """What a policy has of a pack of checks."""

    pack: Pack
    is_on: bool
    """Whether the policy asks for all of it."""
    checks: tuple[str, ...]
    """The checks of it that the policy has in force."""
    others: tuple[str, ...]
    """Those that it would add."""

    def __str__(self) -> str:
        """In a line."""
        if self.is_on:
            return f"on: {', '.join(self.checks)}"
        off = f"off, but for {', '.join(self.checks)}" if self.checks else "off"
        return f"{off}; would add {', '.join(self.others)}" if self.others else off


def packs(policy: Policy) -> list[PackStanding]:
    """Which packs are on under this policy, and which checks the others would add."""
    in_force = policy.in_force()
    found = []
    for pack in PACKS:
        ids = in_pack(pack)
        has = tuple(id_ for id_ in ids if id_ in in_force)
        rest = tuple(id_ for id_ in ids if id_ not in in_force)
        if ids:
            found.append(PackStanding(pack, pack in policy.packs, has, rest))
    return found


def _said(options: Any) -> str:
    """The options that a policy sets, with how many members lists have."""
    if options is None:
        return ""
    words = []
    for name in sorted(options.model_fields_set - {"enabled"}):
        value = getattr(options, name)
        if isinstance(value, SecretStr):
            words.append(f"{name} (secret)")
        elif name == "attack":
            words.append(f"attack {' '.join(value) or 'none'}")
        else:
            words.append(
                f"{name} ({_count(value)})" if isinstance(value, list | tuple) else f"{name} {value}"
            )
    return ", ".join(words)


def _count(entries: Sequence[Any]) -> int:
    """How many entries a list has, without those that are of no address, as that which the name of an empty set becomes."""
    return sum(not (isinstance(each, BaseModel) and next(iter(each))[1] == ()) for each in entries)


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A check that two policies judge differently."""

    check: str
    title: str
    before: str
    """The verdict, and why; ``-`` if it is not there."""
    after: str
    new: tuple[str, ...]
    """Sentences of findings that only the second policy has."""
    gone: tuple[str, ...]
    """Sentences of findings that only the first has."""


def compare(
    sources: Sources, before: Policy, after: Policy, **options: Any
) -> tuple[list[Change], tuple[str, ...]]:
    """How verdicts change from one policy to another over the same captures, and which captures could not be read.

    Args:
        sources: As :func:`tapsight.check` takes them.
        before: The first policy.
        after: The second.
        options: Others of :func:`tapsight.check`.
    """
    results = _judged(sources, before, after, options)
    verdicts = [{row["check"]: row for row in result.verdicts.to_pylist()} for result in results]
    gone, new_ones = _by_check(results[0], results[1]), _by_check(results[1], results[0])
    known = {**results[0].checks, **results[1].checks}
    changes = []
    for id_ in dict.fromkeys([*verdicts[0], *verdicts[1]]):
        told = about(id_, known)
        old, new = (_verdict_text(rows.get(id_)) for rows in verdicts)
        came, went = tuple(new_ones.get(id_, ())), tuple(gone.get(id_, ()))
        if old != new or came or went:
            title = told.title if told is not None else id_
            changes.append(Change(id_, title, old, new, came, went))
    return changes, results[1].problems


def _judged(sources: Sources, before: Policy, after: Policy, options: Mapping[str, Any]) -> list[Result]:
    """What both policies make of the captures. They are examined once, unless the engine has to know of the network in which they differ."""
    from tapsight._check import check, examine_readable, judge
    from tapsight._sources import read_sources
    from tapsight.checks._tables import Captures

    if before.network != after.network:
        return [check(sources, policy=policy, **options) for policy in (before, after)]
    examined = examine_readable(read_sources(sources), network=before.network, **options)
    captures = Captures(examined.taps, options.get("threads"))
    return [
        judge(examined.examination, policy, examined.problems, captures=captures)
        for policy in (before, after)
    ]


def _by_check(result: Result, other: Result) -> dict[str, list[str]]:
    """Sentences of what the other has not, by check or detector; one that comes to be excepted, or no longer is, is another."""
    found: dict[str, list[str]] = {}
    names = ["check", "detector", "sentence"]
    # One by one, not as they are listed: what stands for many is called alike whatever it stands for.
    told = result.since(each.row_id for each in other.found.findings)
    rows = told.findings.select(names).to_pylist()
    there = {key for key, _ in _excepted(other)}
    rows += [row for key, row in _excepted(result) if key not in there]
    for row in rows:
        family = (row["check"] or row["detector"]).partition(".")[0]
        found.setdefault(family, []).append(row["sentence"])
    return found


def _excepted(result: Result) -> list[tuple[str, dict[str, Any]]]:
    """What is excepted, by its id, by whom and until when."""
    rows = []
    for row in result.excepted.select(
        ["id", "check", "detector", "sentence", "owner", "expires"]
    ).to_pylist():
        by = f"excepted by {row['owner']} until {row['expires'].isoformat()}"
        rows.append((f"{row['id']} {by}", {**row, "sentence": f"{by}: {row['sentence']}"}))
    return rows


def _verdict_text(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['verdict']} ({row['reason']})" if row["reason"] else str(row["verdict"])


# --- In plain words ---------------------------------------------------------------------------------------------------

NAMED = 10
"""Members of a set that are named because they do not count today."""


def set_lines(policy: Policy, time: int) -> list[str]:
    """Each set: how many members it has, from where, and which do not count at this time."""
    lines = []
    for name, members in policy.sets.items():
        one, many = (
            ("number", "numbers")
            if members.holds_numbers
            else ("address or prefix", "addresses and prefixes")
        )
        # Of which kind members would be, an empty set does not say.
        text = f"set {name}: {plural(len(members), one, many) if len(members) else 'no members'}"
        text += f" from {members.file}" if members.file is not None else ""
        lines.append(f"{text}; {_others(members, time)}" if _others(members, time) else text)
    return lines


def exception_words(policy: Policy, time: int) -> list[str]:
    """Each exception: what it covers, for how long, and who answers for it."""
    lines = []
    for each in policy.exceptions:
        left, by = each.left(time), f"({each.owner}: {each.reason})"
        if left < 0:
            lines.append(
                f"exception: findings of {each.about} count again since it expired on {each.expires} {by}"
            )
        else:
            until = f"until {each.expires} ({in_days(left)})" if left <= SOON else f"until {each.expires}"
            lines.append(f"exception: findings of {each.about} do not count {until} {by}")
    return lines


def warnings(policy: Policy, time: int) -> list[str]:
    """What of a policy does not count at this time, or soon will not."""
    lines = [
        f"set {name}: {text}" for name, members in policy.sets.items() if (text := _others(members, time))
    ]
    for each in policy.exceptions:
        left = each.left(time)
        if left <= SOON:
            ended = f"expired on {each.expires}" if left < 0 else f"ends {in_days(left)}"
            lines.append(f"the exception of {each.owner} for {each.about} {ended} ({each.reason})")
    return lines


def _others(members: Members, time: int) -> str:
    """Which members do not count at this time."""
    others = [str(each) for each in members.dated if not each.at(time)]
    verb = "does" if len(others) == 1 else "do"
    return (
        f"{len(others):,} of {len(members):,} {verb} not count today: {listing(others, NAMED)}"
        if others
        else ""
    )


# --- A first policy ---------------------------------------------------------------------------------------------------

_HEAD = """\
# What should be true of the network. Every list below is a question: check what was agreed, and take out what was not. [] says that there is none.
# `tapsight policy explain FILE` says what each check does with it, `tapsight explain V2` what a check is about.
"""


def starter(sources: Sources | None = None, packs: Iterable[str] = ()) -> tuple[str, tuple[str, ...]]:
    """A first policy: empty, or with what captures show, to be gone through line by line; and which captures could not be read.

    Args:
        sources: Captures of the network.
        packs: Packs of checks that it is to ask for, with what they need as questions.

    Raises:
        ValueError: A pack is not there.
    """
    wanted = checked_packs(packs)
    seen, problems = _seen(sources) if sources is not None else ({}, ())

    def note(name: str) -> str:
        if not seen:
            return ""
        if not seen[name][0]:
            return "  # none was seen"
        rest = seen[name][1] - len(seen[name][0])
        return "  # seen, not agreed: check each" + (
            f"; {rest} more were seen, with fewer packets" if rest else ""
        )

    peers, vlans, tunnels = (seen.get(name, ([], 0))[0] for name in ("peers", "vlans", "tunnels"))
    lines = [
        _HEAD,
        *(
            [f"packs = {_list(wanted)}  # checks that belong together; below is what they ask", ""]
            if wanted
            else []
        ),
        "[sets]",
        f"voice_peers = {_list(peers)}{note('peers')}",
        f"voice_vlans = {_list(vlans)}{note('vlans')}",
        "mirror_sinks = []  # addresses to which copies may go",
        "",
        "[network]",
        "infrastructure = []  # addresses of routers, switches and other devices",
        "gateways = []        # addresses to which hosts send what is for others",
        "",
        *_asked(
            bool(peers),
            "[checks.V1]  # voice signalling only between these",
            'pairs = [["voice_peers", "voice_peers"]]',
        ),
        "[checks.V2]  # voice media only in these VLANs; also: mpls, tunnel_ids, prefixes",
        'vlans = "voice_vlans"',
        "enabled = " + ("true" if vlans else "false  # once voice_vlans says where voice belongs: true"),
        "",
        *_asked(
            bool(seen),
            "[checks.I5]  # no tunnels but these",
            *(_tunnels(tunnels, note("tunnels")) if tunnels else ["allow = []"]),
        ),
        *_asked(bool(seen), "[checks.I6]  # no copies but to these", 'sinks = "mirror_sinks"')[:-1],
        *_questions(wanted),
    ]
    return "\n".join(lines) + "\n", problems


def _tunnels(tunnels: Iterable[tuple[str, str, str, str]], note: str) -> list[str]:
    """The tunnels that were seen, as a list of what may be."""
    entries = [
        f"  {{ encap = {_text(encap)}, between = [{_text(src)}, {_text(dst)}]{id_} }},"
        for encap, src, dst, id_ in tunnels
    ]
    return [f"allow = [{note}", *entries, "]"]


def _asked(is_known: bool, head: str, *lines: str) -> list[str]:
    """The table of a check; as a comment while nothing is known to fill its lists with: an empty one would say that there is none."""
    if is_known:
        return [head, *lines, ""]
    return [f"# {head}: take the # away once the list is filled in", *(f"# {line}" for line in lines), ""]


def checked_packs(names: Iterable[str]) -> list[Pack]:
    """The packs with these names, each once.

    Raises:
        ValueError: One is not there.
    """
    for name in names:
        if name not in PACKS:
            raise ValueError(f'no pack is called "{name}"{did_you_mean(name, PACKS)} ({", ".join(PACKS)})')
    return [pack for pack in PACKS if pack in set(names)]


def _questions(packs: Iterable[Pack]) -> Iterator[str]:
    """What the checks of packs need to know of the network, as lines that are comments."""
    written = set(_THERE)
    for pack in packs:
        checks = in_pack(pack)
        yield from ("", f"# --- {pack} ---", "#")
        yield from (f"# {id_:<4} {check.title}" for id_, check in checks.items())
        wanted: dict[str, list[tuple[str, Need]]] = {}
        for id_, check in checks.items():
            for need in needs(check):
                wanted.setdefault(need.table, []).append((id_, need))
        yield "#"
        if not wanted:
            yield "# They need to know no more."
            continue
        yield "# Until these are answered, verdicts are unknown. Take the # away from what you fill in; [] says that there is none."
        for table, asked in wanted.items():
            ids = ", ".join(dict.fromkeys(id_ for id_, _ in asked))
            needed = [need for _, need in asked]
            if table in written:
                # TOML takes each table only once.
                names = dict.fromkeys(name for need in needed for name in need.names)
                yield from ("", f"# Fill in {listing(list(names))} under [{table}] above, for {ids}.")
            else:
                yield from ("", f"# [{table}]  # for {ids}")
                yield from _keys(table, needed)
            written.add(table)


def _keys(table: str, asked: list[Need]) -> Iterator[str]:
    """The keys of a table that are needed, with what they mean."""
    names = {name: need for need in asked for name in need.names}
    meanings = meanings_of(_model(table))
    width = max(map(len, names), default=0)
    for name, need in names.items():
        one = " (one of these suffices)" if need.one_suffices and len(need.names) > 1 else ""
        yield f"# {name:<{width}} = []  # {meanings.get(name, '').replace('``', '')}{one}"


_THERE = frozenset({"network", "checks.V1", "checks.V2", "checks.I5", "checks.I6"})
"""Tables that a first policy has anyway."""


def _model(table: str) -> Any:
    """What holds the keys of a table."""
    if table == "network":
        return Network
    return options_of(table.removeprefix("checks."))


def _seen(sources: Sources) -> tuple[dict[str, tuple[list[Any], int]], tuple[str, ...]]:
    """What captures show of each kind: the first ones, those with most packets, and how many there are."""
    import polars as pl

    from tapsight._check import check
    from tapsight.checks._base import flows_frame

    result = check(sources)
    flows = flows_frame(result.flows)
    voice = flows.filter(pl.col("traffic") == "voice-signalling")
    ends = _most(
        pl.concat([voice.select(pl.col(end).alias("end"), "packets") for end in ("src", "dst")]), ["end"]
    )
    media = flows.filter(pl.col("traffic") == "voice-media", pl.col("encap").is_null())
    vlans = _most(media, ["vlan"])
    tunnels = _most(
        flows.drop_nulls(["outer_src", "outer_dst"]), ["encap", "outer_src", "outer_dst", "tunnel_id"]
    )
    seen: dict[str, tuple[list[Any], int]] = {
        "peers": (sorted(address_text(each) for each in ends["end"].head(SUGGESTED)), ends.height),
        "vlans": (sorted(vlans["vlan"].head(SUGGESTED)), vlans.height),
        "tunnels": ([_tunnel(row) for row in tunnels.head(SUGGESTED).to_dicts()], tunnels.height),
    }
    return seen, result.problems


def _most(flows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """By these columns, the first of which says something, those with most packets first."""
    import polars as pl

    summed = flows.drop_nulls(by[0]).group_by(by).agg(pl.col("packets").sum())
    return summed.sort("packets", *by, descending=[True, *[False] * len(by)], nulls_last=True)


def _tunnel(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    id_ = f", id = {row['tunnel_id']}" if row["tunnel_id"] is not None else ""
    return row["encap"], address_text(row["outer_src"]), address_text(row["outer_dst"]), id_


def _list(items: Iterable[object]) -> str:
    return "[" + ", ".join(_text(item) if isinstance(item, str) else str(item) for item in items) + "]"


def _text(text: str) -> str:
    """A string of TOML, of text that holds nothing to escape: addresses and names of encapsulations."""
    return f'"{text}"'


def summary(policy: Policy) -> str:
    """How many checks judge, and what others need, in a line."""
    rows = standings(policy)
    judging = [row.check for row in rows if row.state == "judges"]
    others = [row.check for row in rows if row.needs]
    text = f"{plural(len(judging), 'check')} and detectors judge"
    return text + (f"; {listing(others, len(others))} need more" if others else "")
