"""Make a scenario from the command line: ``python -m tapsight.lab OUT --implant mirror --confounder nat``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from tapsight.lab.confounders import CONFOUNDERS
from tapsight.lab.dials import Confounder, Implant
from tapsight.lab.implants import IMPLANTS
from tapsight.lab.scenario import Scenario, generate
from tapsight.lab.tunnels import TUNNELS

UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the captures, and say where they are."""
    parser = argparse.ArgumentParser(
        prog="tapsight lab",
        description="Make captures of an example router, with truth.",
        epilog="The dials of an implant count for all of a command's implants; after a kind they count for it alone: "
        "--implant mirror:tunnel=gre,share=0.01 --implant fork:to=mpls",
    )
    parser.add_argument("directory", nargs="?", help="where to write")
    parser.add_argument("--list", action="store_true", help="list kinds, what they do, and their dials")
    kinds = {"action": "append", "default": [], "metavar": "KIND[:DIAL=VALUE,...]"}
    parser.add_argument("--implant", help="what the router does; may be given several times", **kinds)  # type: ignore[arg-type]
    parser.add_argument("--confounder", help="what is honest and looks like it; likewise", **kinds)  # type: ignore[arg-type]
    scenario = parser.add_argument_group("scenario")
    scenario.add_argument("--seed", type=int, default=1)
    scenario.add_argument("--seconds", type=float, default=20.0)
    scenario.add_argument("--calls", type=int, default=6)
    scenario.add_argument("--downloads", type=int, default=40)
    scenario.add_argument("--secure", type=int, default=0, help="calls with each of three peers that encrypt")
    for name in ("nat", "ecmp", "vlan-copy"):
        scenario.add_argument(f"--{name}", action="store_true")
    scenario.add_argument("--span", type=float, default=0.01, help="share of frames that a tap sees twice")
    scenario.add_argument("--loss", type=float, default=0.002, help="share of frames that a tap loses")
    scenario.add_argument("--snaplen", type=int, default=262_144)
    dials = parser.add_argument_group("dials of implants")
    helps = {
        "share": "share of packets that it acts on",
        "only": "all, voice, internet, subscriber or an address",
        "lag": "time from original to copy, such as 15us, 3ms or 2min",
        "start": "seconds until its first act",
        "tunnel": ", ".join(TUNNELS),
        "collector": "address that receives the traffic",
        "via": "variant, for kinds that have several",
        "to": "for fork: mac, vlan, mac-vlan, mpls, mac-mpls",
        "snap": "bytes of each packet that a copy holds",
        "rewrite": "what of the copy is changed: ttl, dscp, mac, id, joined by +",
        "fragment": "the copy is cut into fragments of so many bytes",
        "mtu": "so are the tunnel's packets",
    }
    for name, text in helps.items():
        dials.add_argument(f"--{name}", metavar="VALUE", help=text)
    options = parser.parse_args(argv)
    if options.list:
        print(listing())  # noqa: T201 - a command
        return 0
    if options.directory is None:
        parser.error("say where to write, or --list")
    common = {name: getattr(options, name) for name in helps if getattr(options, name) is not None}
    try:
        made = Scenario(
            seed=options.seed,
            seconds=options.seconds,
            calls=options.calls,
            downloads=options.downloads,
            secure=options.secure,
            implants=tuple(Implant(**dials_of(Implant, text, common)) for text in options.implant),
            confounders=tuple(Confounder(**dials_of(Confounder, text, {})) for text in options.confounder),
            span=options.span,
            loss=options.loss,
            nat=options.nat,
            ecmp=options.ecmp,
            vlan_copy=options.vlan_copy,
            snaplen=options.snaplen,
        )
        files = generate(made, options.directory)
    except ValueError as error:
        parser.error(str(error))
    for path in (files.inside, files.outside, files.truth, files.policy, files.places, files.scenario):
        print(path)  # noqa: T201 - a command
    return 0


def dials_of(dials: type[Implant | Confounder], text: str, common: dict[str, str]) -> dict[str, Any]:
    """The dials that ``KIND:DIAL=VALUE,...`` sets, over those that are common to all."""
    kind, _, rest = text.partition(":")
    known = {field.name: str(field.type) for field in fields(dials)}
    made: dict[str, Any] = {"kind": kind}
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    for name, value in [*common.items(), *((name, value) for name, _, value in pairs)]:
        if name not in known or name == "kind":
            raise ValueError(
                f"{kind} has no dial {name!r}; there are {', '.join(sorted(known.keys() - {'kind'}))}"
            )
        made[name] = _value(name, known[name], value)
    return made


def _value(name: str, kind: str, text: str) -> object:
    """A dial's value from its text."""
    try:
        if name == "lag":
            number = text.rstrip("abcdefghijklmnopqrstuvwxyzµ")
            return int(float(number) * UNITS[text[len(number) :] or "ns"])
        if name == "rewrite":
            return tuple(text.split("+"))
        if kind.startswith("int"):
            return int(text)
        return float(text) if kind.startswith("float") else text
    except (ValueError, KeyError):
        raise ValueError(f"{name} cannot be {text!r}") from None


def listing() -> str:
    """All kinds, what they do, which detectors should see them, and their dials."""
    lines = ["Implants"]
    for kind, implant in IMPLANTS.items():
        expects = ", ".join(sorted(implant.expects))
        lines.append(f"  {kind:22} {implant.title()} [{expects}]")
        via = f" via={'|'.join(implant.variants)}" if implant.variants else ""
        lines.append(f"  {'':22} dials: {', '.join(name for name in implant.uses if name != 'via')}{via}")
    lines += ["", "Confounders"]
    for kind, confounder in CONFOUNDERS.items():
        lines.append(f"  {kind:22} {confounder.title()}")
        if confounder.uses:
            lines.append(f"  {'':22} dials: {', '.join(confounder.uses)}")
    lines += ["", f"Tunnels of mirror: {', '.join(TUNNELS)}"]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
