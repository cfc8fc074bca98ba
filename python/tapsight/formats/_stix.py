"""A bundle of STIX 2.1 (OASIS standard): what was observed, a note that says what it means, and ATT&CK techniques.

Ids are made of what they name (UUID version 5), so the same captures make the same bundle.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from tapsight._check import as_json
from tapsight._core import __version__
from tapsight.findings import attack, period, technique_names
from tapsight.formats import _rows

if TYPE_CHECKING:
    from tapsight._check import Result

_OBSERVABLES = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
"""The namespace of deterministic ids of observables, section 2.9."""
_OWN = uuid.uuid5(uuid.NAMESPACE_URL, "tapsight")


def render(result: Result) -> str:
    """The bundle; without findings, of the identity of the tool alone."""
    _, last = period(result.taps)
    identity = _object(
        "identity",
        "tapsight",
        last,
        name="tapsight",
        identity_class="system",
        description=f"tapsight {__version__}",
    )
    objects: dict[str, dict[str, Any]] = {identity["id"]: identity}
    for row in _rows.findings(result):
        for each in _finding(row, identity["id"]):
            objects.setdefault(each["id"], each)
    key = ",".join(objects)
    bundle = {"type": "bundle", "id": f"bundle--{uuid.uuid5(_OWN, key)}", "objects": list(objects.values())}
    return as_json(bundle, indent=2) + "\n"


def _object(kind: str, key: str, time_ns: int, **properties: Any) -> dict[str, Any]:
    moment = _rows.utc(time_ns, 3) + "Z"
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": f"{kind}--{uuid.uuid5(_OWN, f'{kind} {key}')}",
        "created": moment,
        "modified": moment,
        **properties,
    }


def _observable(kind: str, key: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """An observable, whose id is made of the properties in ``key`` as canonical JSON (RFC 8785)."""
    canonical = json.dumps(key, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    id_ = f"{kind}--{uuid.uuid5(_OBSERVABLES, canonical)}"
    return {"type": kind, "spec_version": "2.1", "id": id_, **key, **properties}


def _address(text: str) -> dict[str, Any]:
    return _observable("ipv6-addr" if ":" in text else "ipv4-addr", {"value": text})


def _finding(row: dict[str, Any], author: str) -> list[dict[str, Any]]:
    collector = row["collector"]
    observed: list[dict[str, Any]] = []
    ends: dict[str, str] = {}
    for name, address in (("src_ref", row["exporter"]), ("dst_ref", collector["address"])):
        if address is not None:
            observed.append(_address(address))
            ends[name] = observed[-1]["id"]
    if collector["mac"] is not None:
        observed.append(_observable("mac-addr", {"value": collector["mac"]}))
    if ends:
        protocols = ["ipv6" if ":" in (collector["address"] or row["exporter"]) else "ipv4"]
        protocols += (collector["encap"] or "").split("/") if collector["encap"] else []
        observed.append(_observable("network-traffic", {**ends, "protocols": protocols}))
    about: list[str] = []
    made = list(observed)
    if observed:
        data = _object(
            "observed-data",
            row["id"],
            row["last_ns"],
            created_by_ref=author,
            first_observed=_rows.utc(row["first_ns"], 6) + "Z",
            last_observed=_rows.utc(row["last_ns"], 6) + "Z",
            # At most 999,999,999 (section 4.14.1).
            number_observed=max(1, min(row["packets"], 999_999_999)),
            object_refs=[each["id"] for each in observed],
        )
        made.append(data)
        about.append(data["id"])
    for technique in row["attack"]:
        url = f"https://attack.mitre.org/techniques/{technique.replace('.', '/')}/"
        pattern = _object(
            "attack-pattern",
            technique,
            0,
            name=technique_names()[technique],
            external_references=[
                {
                    "source_name": "mitre-attack",
                    "external_id": technique,
                    "url": url,
                    "description": f"ATT&CK {attack()[0]}",
                }
            ],
        )
        made.append(pattern)
        about.append(pattern["id"])
    note = _object(
        "note",
        row["id"],
        row["last_ns"],
        created_by_ref=author,
        abstract=f"tapsight {row['name']}: {row['title']}",
        content=row["sentence"],
        labels=[row["kind"], f"severity-{row['severity']}"],
        object_refs=about or [author],
        external_references=[{"source_name": "tapsight", "external_id": row["id"]}],
    )
    return [*made, note]
