"""The main job, end to end: make captures of a router, clean and tampered with, and ask whether traffic was copied.

Run it with ``make demo``. Without an argument the captures go to ``demo``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tapsight.lab import Implant, Scenario, generate

SCENES = {
    "a router as it should be": ("clean", ()),
    "a router that mirrors calls into a tunnel": ("mirrored", (Implant("mirror", only="voice"),)),
    "a router that sends calls elsewhere": ("redirected", (Implant("redirect"),)),
}


def main() -> int:
    """Show each scene and what is found; fail if it is not what was put in."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    for title, (name, implants) in SCENES.items():
        print(f"\n### {title}", flush=True)
        files = generate(Scenario(implants=implants), folder / name)
        code = check(f"inside={files.inside}", f"outside={files.outside}", "--policy", str(files.policy))
        if code != bool(implants):
            print(f"expected exit code {int(bool(implants))}, got {code}", file=sys.stderr)
            return 1
    real = real_capture()
    if real is not None:
        print("\n### a real capture: ERSPAN from a test of Suricata", flush=True)
        check(str(real))
    print(f"\nThe captures are in {folder}; open them in Wireshark to look at the frames named above.")
    return 0


def check(*arguments: str) -> int:
    """Run ``tapsight check`` as a user would; its exit code is 0 if nothing failed, 1 if something did."""
    print("$ tapsight check " + " ".join(arguments), flush=True)
    return subprocess.run([sys.executable, "-m", "tapsight", "check", *arguments], check=False).returncode


def real_capture() -> Path | None:
    """A capture of another project, if a collection is at hand."""
    places = [os.environ.get("TAPSIGHT_CAPTURES"), Path(__file__).parents[2] / "shared" / "captures"]
    for place in filter(None, places):
        path = Path(place) / "OISF__suricata-verify" / "tests__bug-5437-02__input.pcap"
        if path.is_file():
            return path
    return None


if __name__ == "__main__":
    sys.exit(main())
