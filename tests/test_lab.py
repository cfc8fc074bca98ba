"""The lab's captures are what they claim to be, by independent readers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import dpkt
import pytest
from scapy.layers.inet import IP, TCP, UDP  # type: ignore[import-untyped]
from scapy.layers.l2 import Ether  # type: ignore[import-untyped]
from scapy.utils import RawPcapNgReader  # type: ignore[import-untyped]

import tapsight
from tapsight.lab import Implant, Scenario, generate

SMALL = {"seconds": 6.0, "calls": 2, "downloads": 8}
IMPLANTS = [
    Implant("mirror", tunnel=tunnel)
    for tunnel in ("erspan2", "erspan3", "gre", "ipip", "vxlan", "geneve", "gtpu")
]
IMPLANTS += [Implant("fork"), Implant("redirect"), Implant("late")]


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    def made(seed: int, name: str) -> list[bytes]:
        files = generate(Scenario(seed=seed, implants=(Implant("mirror"),), **SMALL), tmp_path / name)
        return [path.read_bytes() for path in (files.inside, files.outside, files.truth, files.scenario)]

    assert made(5, "a") == made(5, "b")
    assert made(5, "a")[0] != made(6, "c")[0]


@pytest.mark.parametrize(
    "implant", [None, *IMPLANTS], ids=lambda implant: implant and f"{implant.kind}-{implant.tunnel}"
)
def test_frames_are_right_and_have_a_truth_each(tmp_path: Path, implant: Implant | None) -> None:
    files = generate(Scenario(implants=(implant,) if implant else (), **SMALL), tmp_path)
    truth = [json.loads(line) for line in files.truth.read_text().splitlines()]
    for tap, path in (("inside", files.inside), ("outside", files.outside)):
        mine = [row for row in truth if row["tap"] == tap]
        assert [row["frame"] for row in mine] == list(range(1, len(mine) + 1))
        assert tapsight.open(path).to_pyarrow().num_rows == len(mine)
        with RawPcapNgReader(str(path)) as reader:
            raw = [bytes(data) for data, _ in reader]
        assert len(raw) == len(mine)
        # scapy fills in the checksums that are deleted: the bytes must come out as they were.
        for data in raw[::17]:
            frame = Ether(data)
            for layer in (IP, TCP, UDP):
                if layer in frame:
                    del frame[layer].chksum
            assert bytes(Ether(bytes(frame))) == data
    built = json.loads(files.scenario.read_text())["implants"]
    roles = Counter(row["role"] for row in truth)
    if implant is None:
        assert built == []
        assert {row["implant"] for row in truth} == {None}
    else:
        # Taps lose a few of what implants sent, and may see some twice.
        assert built[0]["packets"] * 0.97 <= roles[implant.kind] <= built[0]["packets"]


def test_sip_lengths_and_dialogs(tmp_path: Path) -> None:
    files = generate(Scenario(**SMALL), tmp_path)
    methods: Counter[str] = Counter()
    with files.inside.open("rb") as stream:
        for _, data in dpkt.pcapng.Reader(stream):
            udp = dpkt.ethernet.Ethernet(data).data.data
            if isinstance(udp, dpkt.udp.UDP) and udp.dport == 5060:
                head, _, body = udp.data.partition(b"\r\n\r\n")
                headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
                assert int(headers[b"Content-Length"]) == len(body)
                methods[headers[b"CSeq"].split()[1].decode()] += 1
    assert methods["INVITE"] >= 6
    assert methods["BYE"] >= 2


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("tunnel", ["", "erspan2", "erspan3", "gre", "ipip", "vxlan", "geneve", "gtpu"])
def test_tshark_reads_all_of_it(tmp_path: Path, tunnel: str) -> None:
    implants = (Implant("mirror", tunnel=tunnel),) if tunnel else ()
    files = generate(Scenario(implants=implants, **SMALL), tmp_path)
    command = [
        "tshark",
        "-n",
        "-r",
        str(files.outside),
        "-T",
        "fields",
        "-e",
        "frame.number",
        "-e",
        "frame.protocols",
        "-e",
        "_ws.malformed",
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    truth = {
        row["frame"]: row
        for row in map(json.loads, files.truth.read_text().splitlines())
        if row["tap"] == "outside"
    }
    for line in output.splitlines():
        number, protocols, malformed = line.split("\t")
        row = truth[int(number)]
        assert malformed == "", line
        if row["role"] == "mirror":
            assert protocols.count("ip") >= 2, line
        elif row["flow"].startswith("call-"):
            assert any(name in protocols for name in ("sip", "rtp", "rtcp")), line
        elif row["flow"].startswith("dns-"):
            assert "dns" in protocols, line
