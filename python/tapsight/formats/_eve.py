"""Suricata's EVE JSON, event type ``alert``: one object a line.

Source: https://docs.suricata.io/en/latest/output/eve/eve-json-format.html, and the keys of https://docs.suricata.io/en/latest/output/eve/eve-json-schema.html:
all but ``tapsight`` are among them, at every level. Addresses are those of the tunnel or collector, where a finding
has them; Suricata's own alerts of frames without IP have none either. The frame is one that has these, where there is one: a copy, not what it is a copy of.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from tapsight._check import as_json
from tapsight.formats import _rows

if TYPE_CHECKING:
    from tapsight._check import Result

SEVERITY = {"critical": 1, "high": 1, "medium": 2, "low": 3, "info": 4}
"""Suricata's priorities, 1 the highest."""
FIRST_SID = 2_113_000_000
"""Signature ids from here on: above those that rule sets use (docs.suricata.io, "Reserved SIDs")."""


def render(result: Result) -> str:
    """An alert for each finding."""
    return "".join(as_json(_alert(row)) + "\n" for row in _rows.findings(result))


def signature_id(name: str) -> int:
    """A number for a check or class of a detector that is the same in every run."""
    return FIRST_SID + zlib.crc32(name.encode()) % 10_000_000


def _alert(row: dict[str, Any]) -> dict[str, Any]:
    collector, first = row["collector"], _rows.leading(row)
    event: dict[str, Any] = {"timestamp": _rows.utc(row["first_ns"], 6) + "+0000", "event_type": "alert"}
    if first.get("tap") is not None:
        event["in_iface"] = first["tap"]
    if first.get("file") is not None:
        event["pcap_filename"], event["pcap_cnt"] = first["file"], first["frame"]
    if row["exporter"] is not None:
        event["src_ip"] = row["exporter"]
    if collector["address"] is not None:
        event["dest_ip"] = collector["address"]
    if collector["mac"] is not None:
        event["ether"] = {"dest_mac": collector["mac"]}
    event["alert"] = {
        "action": "allowed",
        "gid": 1,
        "signature_id": signature_id(row["name"]),
        "rev": 1,
        "signature": f"tapsight {row['name']} {row['title']}",
        "category": row["kind"],
        "severity": SEVERITY[row["severity"]],
        "metadata": {"signature_severity": [row["severity"]], "tag": row["attack"]},
    }
    if collector["encap"] is not None:
        event["tunnel"] = {
            key: value
            for key, value in (
                ("src_ip", row["exporter"]),
                ("dest_ip", collector["address"]),
                ("proto", collector["encap"]),
                ("depth", collector["encap"].count("/") + 1),
            )
            if value is not None
        }
    event["tapsight"] = {
        key: row[key]
        for key in ("id", "packets", "in_scope", "judged", "flows", "first_ts", "last_ts", "sentence")
    }
    return event
