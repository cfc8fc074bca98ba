"""Checks of one's own: one in a line, one in Python. Run as ``python examples/own_checks.py CAPTURE …``."""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.compute as pc

import tapsight

no_telnet = tapsight.rule("no-telnet", expect="app != telnet", severity="high", title="Nobody uses Telnet")


class OwnNames:
    """Names of our own domain stand for addresses of our own: any other answer is a lie, or a mistake."""

    id = "own-names"
    title = "Our names stand for our addresses"
    severity = "high"
    table = "dns"
    columns = ("frame", "ts", "src", "is_response", "qname", "address")

    def __init__(self, domain: str, prefixes: list[str]) -> None:
        self.domain = domain
        self.prefixes = prefixes

    def judge(self, batches: pa.RecordBatchReader) -> tapsight.Judged:
        """Looks at each answer to a question for one of the names."""
        answers = judged = 0
        wrong = []
        for batch in batches:
            table = pa.table(batch)
            # No answer without a question, and no word of either without the other: null is neither.
            ours = pc.or_kleene(
                pc.equal(table["qname"], self.domain), pc.ends_with(table["qname"], f".{self.domain}")
            )
            table = table.filter(pc.and_kleene(table["is_response"], ours))
            answers += table.num_rows
            table = table.filter(pc.is_valid(table["address"]))
            judged += table.num_rows
            fits = tapsight.addresses.in_prefixes(table["address"], self.prefixes)
            wrong.append(table.filter(pc.invert(fits)))
        return tapsight.Judged(answers, judged, self.findings(wrong), "answers without an address")

    def findings(self, wrong: list[pa.Table]) -> pa.Table | None:
        """A finding for each name and who answered, however often."""
        if not wrong:
            return None
        table = pa.concat_tables(wrong)
        table = table.append_column("who", tapsight.addresses.to_text(table["src"]))
        grouped = table.group_by(["qname", "who", "tap"], use_threads=False).aggregate(
            [("frame", "list"), ("frame", "count"), ("ts", "min"), ("ts", "max")]
        )
        join = pc.binary_join_element_wise
        return pa.table(
            {
                "key": join(grouped["qname"], grouped["who"], " "),
                "sentence": join(
                    grouped["who"], " gave an address that is not ours for ", grouped["qname"], ""
                ),
                "packets": grouped["frame_count"],
                "first_ts": grouped["ts_min"],
                "last_ts": grouped["ts_max"],
                "tap": grouped["tap"],
                "frames": grouped["frame_list"],
            }
        )


if __name__ == "__main__":
    checks = [no_telnet, OwnNames("example.com", ["192.0.2.0/24"])]
    print(tapsight.check(sys.argv[1:], checks=checks))
