"""M2: no management in the clear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tapsight._expressions import Column
from tapsight._options import Options
from tapsight.checks._rule import Rule
from tapsight.checks._several import Part, Several

if TYPE_CHECKING:
    from tapsight.checks._base import Observed


class _Answers(Rule[Options]):
    """Adds to messages whether their conversation was answered."""

    added = {"answered": Column("answered", "boolean")}  # noqa: RUF012 - only read

    def add_to(self, frame: pl.DataFrame, seen: Observed, options: Options) -> pl.DataFrame:
        """Messages of which it is not known have null."""
        ends = ["tap", "src", "dst", "src_port", "dst_port"]
        told = seen.conversations.filter(pl.col("protocol") == 17).select(*ends, "answered")
        back = told.rename({"src": "dst", "dst": "src", "src_port": "dst_port", "dst_port": "src_port"})
        both = pl.concat([told, back.select(told.columns)]).unique(ends, maintain_order=True)
        return frame.join(both, on=ends, how="left", maintain_order="left")


class M2(Several[Options]):
    """Devices of the network are not managed by protocols that anybody on the way can read.

    What it looks for:
        Telnet, FTP and TFTP that an address of ``infrastructure`` answered or began; HTTP that it answered; SSH of version 1 (or 1.99: both)
        that it speaks; SNMP of versions 1 and 2c that it sends, and of version 3 without authentication or without encryption. The questions and
        reports by which SNMP version 3 learns whom it speaks with (RFC 3414, section 4) say nothing of the device and are left out.

    Why it matters:
        They carry passwords, community strings and configurations in the clear. Whoever reads one packet can log in.

    Example that fails:
        SNMP version 2c between 192.0.2.14 and 198.51.100.1, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]

    What to do:
        Turn the service off; use SSH version 2, SCP or SFTP, HTTPS and SNMP version 3 with authentication and privacy. Renew the passwords that
        were sent.

    What it cannot see:
        The same inside of encrypted tunnels. What is not recognised, or only by its port, is in scope but not judged. Neither is what is sent to a
        device by UDP if no answer was seen, unless the tap shows both directions of other conversations of the device: then it did not answer, which
        is no finding, whoever asked.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices":
    disable Telnet, FTP, TFTP, SSHv1, HTTP, and SNMP v1/v2c; SNMP v3 with encryption and authentication. RFC 4253, section 5.1; RFC 3411;
    RFC 3414, section 4.
    """

    id = "M2"
    title = "No management in the clear"
    severity = "high"
    pack = "router-hardening"
    network_needs = ("infrastructure",)
    options = Options
    nothing = "no conversations of infrastructure were seen"
    parts = (
        Part(
            "clear",
            over="conversations",
            scope="addr in infrastructure",
            expect=(
                "not app in (telnet, ftp, tftp) and (app != http or not server in infrastructure) "
                "or not answered and not client in infrastructure"
            ),
            says="{packets:{apps}} in the clear passed between {end_a} and {end_b}, {when}",
        ),
        Part(
            "ssh",
            over="ssh",
            scope="src in infrastructure and message == identification",
            expect='version == "2.0"',
            says="{src} offered {dst} SSH version {version}, not version 2 only, in {packets}, {when}",
        ),
        Part(
            "snmp",
            over="snmp",
            scope="addr in infrastructure",
            # What others send says nothing of the device, but that an answer that was not seen may have been as bad.
            expect=(
                "version == 3 and (is_authenticated and is_encrypted or pdu == 8 or pdu == 0 and oids within (none)) "
                "or not src in infrastructure and (answered or not answered)"
            ),
            says="{packets:SNMP} of {version} that anybody can read or forge passed between {end_a} and {end_b}, {when}",
        ),
    )

    @classmethod
    def rules(cls) -> list[type[Rule[Any]]]:
        """Its parts as rules, of which that about SNMP knows what was answered."""
        return [
            type(rule.__name__, (_Answers, rule), {}) if rule.over == "snmp" else rule
            for rule in super().rules()
        ]
