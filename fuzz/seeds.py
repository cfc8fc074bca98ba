"""Seeds for fuzzing: frames of captures, as the targets take them.

python fuzz/seeds.py CAPTURES CORPUS writes CORPUS/frame (link type, extra length, frame) and CORPUS/classify (kind, ports,
payload), one file a seed, at the most 20 frames of a capture.
"""

import hashlib
import sys
import warnings
from pathlib import Path

import dpkt

# The position of a link type in the list of the target.
LINKS = [
    0, 1, 9, 12, 50, 51, 100, 101, 104, 105, 107, 108, 113, 127, 143, 147, 178, 192, 228, 229, 239, 242, 258, 276,
]  # fmt: skip


def write(folder: Path, seed: bytes) -> None:
    """Write a seed into a file named by its content."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


def main(captures: Path, corpus: Path) -> None:
    """Write the seeds."""
    for path in sorted(captures.rglob("*.pcap")):
        try:
            with path.open("rb") as file:
                reader = dpkt.pcap.Reader(file)
                link = reader.datalink()
                for number, (_, frame) in enumerate(reader):
                    if number >= 20 or link not in LINKS:
                        break
                    write(corpus / "frame", bytes([LINKS.index(link), 0]) + frame[:2000])
                    ip = dpkt.ethernet.Ethernet(frame).data if link == 1 else None
                    for kind, protocol in enumerate((dpkt.udp.UDP, dpkt.tcp.TCP, dpkt.sctp.SCTP)):
                        transport = getattr(ip, "data", None)
                        if isinstance(transport, protocol):
                            payload = bytes(transport)[transport.__hdr_len__ :]
                            ports = transport.sport.to_bytes(2, "big") + transport.dport.to_bytes(2, "big")
                            write(corpus / "classify", bytes([kind]) + ports + payload[:1400])
        except (ValueError, OSError, dpkt.Error):
            continue


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
