"""What says what packets are: they themselves, or no more than their port."""

from __future__ import annotations

import polars as pl


def is_proven(flows: pl.DataFrame) -> pl.Series:
    """Whether more than a port says what each flow is: its own packets, or others of its conversation that are the same application.

    Of a conversation over TCP, segments without data are known by nothing but their port.
    """
    proven = flows.filter(pl.col("basis") != "port").select("flow_id", "app").unique()
    proven = proven.with_columns(is_proven=pl.lit(value=True))
    found = flows.select("flow_id", "app").join(
        proven, on=["flow_id", "app"], how="left", maintain_order="left"
    )
    return found["is_proven"].fill_null(value=False)


ONLY_PORT = "only the port says what it is"
"""Why what is not proven is not judged."""
