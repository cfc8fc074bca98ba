"""One reader over one capture, as a process: ``read.py READER FILE [ARGUMENT]``. Prints how many packets it read.

What is written in Python is measured by these loops, each of which imports its own library only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path


def tapsight_columns(file: str, threads: str) -> int:
    """All columns, batch by batch; ``threads`` is a number, or ``all``."""
    import tapsight

    return sum(batch.num_rows for batch in tapsight.open(file, threads=_threads(threads)))


def tapsight_check(file: str, threads: str) -> int:
    """Flows, every detector and every check that needs no policy."""
    import pyarrow.compute as pc

    import tapsight

    result = tapsight.check([file], threads=_threads(threads))
    return int(pc.sum(result.flows["packets"]).as_py())


def tapsight_flows(file: str, threads: str) -> int:
    """A row a conversation, with both directions."""
    import pyarrow.compute as pc

    import tapsight

    rows = tapsight.flows(file, threads=_threads(threads))
    return sum(int(pc.sum(batch[name]).as_py()) for batch in rows for name in ("packets", "reverse_packets"))


def tapsight_parquet(file: str, threads: str) -> int:
    """All columns to a Parquet file beside the capture, as ``tapsight classify`` writes it."""
    import pyarrow.parquet as pq

    import tapsight
    from tapsight._files import write_parquet

    packets = tapsight.open(file, threads=_threads(threads))
    with Path(f"{file}.parquet").open("wb") as made:
        write_parquet(packets, packets.schema, made, _threads(threads))
    return int(pq.read_metadata(f"{file}.parquet").num_rows)


def _threads(threads: str) -> int | None:
    return None if threads == "all" else int(threads)


def dpkt(file: str) -> int:
    """Headers up to the transport, which dpkt reads when the object of a frame is made."""
    import dpkt

    packets = 0
    with Path(file).open("rb") as source:
        for _, frame in dpkt.pcap.Reader(source):
            dpkt.ethernet.Ethernet(frame)
            packets += 1
    return packets


def scapy(file: str) -> int:
    """Headers up to the transport: scapy is told to leave what is behind them as bytes."""
    from scapy.config import conf
    from scapy.contrib.mpls import MPLS
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
    from scapy.layers.sctp import SCTP
    from scapy.utils import PcapReader

    conf.layers.filter([Ether, Dot1AD, Dot1Q, MPLS, IP, IPv6, TCP, UDP, SCTP])
    with PcapReader(file) as packets:
        return sum(1 for _ in packets)


def nfstream(file: str) -> int:
    """Flows as nfstream makes them when nothing else is asked for."""
    from nfstream import NFStreamer

    return sum(flow.bidirectional_packets for flow in NFStreamer(source=file))


READERS: dict[str, Callable[..., int]] = {
    "tapsight-columns": tapsight_columns,
    "tapsight-flows": tapsight_flows,
    "tapsight-check": tapsight_check,
    "tapsight-parquet": tapsight_parquet,
    "dpkt": dpkt,
    "scapy": scapy,
    "nfstream": nfstream,
}

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    print("packets", READERS[name](*arguments))
