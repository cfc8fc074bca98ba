"""A6, samples as a copy."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from tapsight._options import Options, OrText, Prefixes, resolve_prefixes, within
from tapsight._text import begin, percent, plural
from tapsight.claims import Claim
from tapsight.detectors._base import Detector, Told


class Collector(BaseModel):
    """A receiver of telemetry."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    collector: Prefixes
    """Where it is."""
    full: bool = False
    """Whether it may receive copies of all packets, or of whole messages."""


def _collectors(value: object, info: ValidationInfo) -> list[Any]:
    """Entries as tables; addresses, prefixes and names of sets become a table with nothing but the collector."""
    entries = value if isinstance(value, list) else [value]
    return [
        item if isinstance(item, dict) else {"collector": list(resolve_prefixes(item, info))}
        for item in entries
    ]


class A6Options(Options):
    """What a policy may say under [checks.A6]."""

    collectors: Annotated[list[Collector], BeforeValidator(_collectors), OrText()] | None = None
    """Who may receive samples: a set, addresses and prefixes, or tables that also say ``full = true``."""


class A6(Detector):
    """Telemetry that copies traffic: samples of packets, or whole messages, sent to a collector.

    What it looks for:
        Beginnings of packets in sFlow, IPFIX, PSAMP and NetFlow, and messages in HEP.
        A6.full-copy: (nearly) all packets are exported: the exporter says so (sFlow, a rate of 1), or at least a quarter of the
        packets of the conversations that were sampled, as the taps saw them.
        A6.signalling-copy: HEP, which copies whole messages of signalling.
        A6.unlisted: any of these, to a collector that is not among ``collectors`` in the policy.

    What it names but does not report:
        A6.sampled: ordinary sampling, where no policy lists collectors, or lists this one.

    Why it matters:
        Every router can export samples. At a rate of one in one, with the first 128 bytes of each packet, that is a wire-tap
        which passes for telemetry.

    Example of a policy::

        [checks.A6]
        collectors = ["192.0.2.50", { collector = "192.0.2.51", full = true }]

    What to do:
        Look at the sampling rate and the collectors in the configuration of the exporter.

    What it cannot see:
        How much IPFIX and NetFlow exporters sample whose traffic passes no tap; exports over TLS or DTLS. Records of flows
        hold no packets, and are not judged. Whether a collector is outside of the network, unless ``collectors`` says where they are.

    Source: sFlow version 5; RFC 5477, RFC 7011; ATT&CK T1020.001 (Traffic Duplication).
    """

    id = "A6"
    title = "Samples that amount to a copy"
    options = A6Options

    @classmethod
    def under(cls, claim: Claim, options: A6Options | None) -> Claim:
        """A claim is reported if the collector is not listed, or not for full copies."""
        if options is None or options.collectors is None:
            return claim
        entries = [each for each in options.collectors if within(claim.tunnel.dst, each.collector)]
        if not entries:
            name = claim.detector if claim.report else "A6.unlisted"
            severity = claim.severity if claim.report else "medium"
            return dataclasses.replace(claim, detector=name, report=True, severity=severity)
        if any(entry.full for entry in entries):
            return dataclasses.replace(claim, report=False)
        return claim

    @classmethod
    def sentence(cls, told: Told) -> str:
        """Who sent how much of the traffic to whom."""
        claim = told.claim
        carrier = claim.detail or "telemetry"
        who = f"{told.exporter} sent {told.collector}"
        match claim.detector:
            case "A6.full-copy" if claim.in_scope > claim.packets or claim.severity == "high":
                share = percent(claim.packets, claim.in_scope)
                what = (
                    f"{carrier} samples of {claim.packets:,} of {plural(claim.in_scope, 'packet')} ({share}) that passed the "
                    f"taps in the conversations sampled"
                )
            case "A6.full-copy":
                what = (
                    f"{plural(claim.packets, 'sample')} by {carrier}, which says that it samples every packet"
                )
            case "A6.signalling-copy":
                what = f"copies of {plural(claim.packets, 'message')} of signalling by {carrier}"
            case _:
                what = f"{plural(claim.packets, 'sample')} of traffic by {carrier}; the policy does not list that collector"
        return begin(f"{who} {what}, {told.when} ({told.seen}).")
