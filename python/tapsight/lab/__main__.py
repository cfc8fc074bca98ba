"""Make a scenario from the command line: ``python -m tapsight.lab OUT --implant mirror``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args, get_type_hints

from tapsight.lab import Implant, Scenario, generate

KINDS = get_args(get_type_hints(Implant)["kind"])


def main(argv: Sequence[str] | None = None) -> int:
    """Write the captures, and say where they are."""
    parser = argparse.ArgumentParser(
        prog="tapsight lab", description="Make captures of an example router, with truth."
    )
    parser.add_argument("directory", help="where to write")
    parser.add_argument(
        "--implant", action="append", default=[], choices=KINDS, help="may be given several times"
    )
    parser.add_argument(
        "--tunnel", default="erspan2", help="of the mirror: erspan2, erspan3, gre, ipip, vxlan, geneve, gtpu"
    )
    parser.add_argument("--share", type=float, default=1.0, help="share of packets that implants act on")
    parser.add_argument("--only", default="all", choices=["all", "voice", "internet"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--calls", type=int, default=6)
    parser.add_argument("--downloads", type=int, default=40)
    for name in ("nat", "ecmp", "vlan-copy"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--snaplen", type=int, default=262_144)
    options = parser.parse_args(argv)
    implants = tuple(
        Implant(kind, share=options.share, only=options.only, tunnel=options.tunnel)
        for kind in options.implant
    )
    scenario = Scenario(
        seed=options.seed,
        seconds=options.seconds,
        calls=options.calls,
        downloads=options.downloads,
        implants=implants,
        nat=options.nat,
        ecmp=options.ecmp,
        vlan_copy=options.vlan_copy,
        snaplen=options.snaplen,
    )
    files = generate(scenario, options.directory)
    for path in (files.inside, files.outside, files.truth, files.policy, files.scenario):
        print(path)  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
