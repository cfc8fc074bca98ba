"""Addresses and MACs as text and back, a column at a time.

Columns of the packets table hold addresses as 16 bytes (IPv4 as ``::ffff:a.b.c.d``, RFC 4291 section 2.5.5.2) and MACs as 6.
Each function takes a column of any library that speaks Arrow (``pyarrow``, ``polars``, …) and returns one of the same kind:
a :class:`polars.Series` for a Polars series, a :class:`pyarrow.ChunkedArray` for anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapsight import _core

if TYPE_CHECKING:
    import pyarrow as pa


def to_text(column: Any) -> Any:
    """Addresses as text: ``192.0.2.1``, ``2001:db8::1`` (RFC 5952). Nulls stay null.

    Raises:
        ValueError: A value is not 16 bytes long.
    """
    return _apply(column, _core.addresses_to_text)


def from_text(column: Any) -> Any:
    """Text as addresses of 16 bytes. Nulls stay null.

    Raises:
        ValueError: A value is no IPv4 or IPv6 address.
    """
    return _apply(column, _core.addresses_from_text)


def mac_to_text(column: Any) -> Any:
    """MACs as text: ``00:1b:54:ab:cd:ef``. Nulls stay null.

    Raises:
        ValueError: A value is not 6 bytes long.
    """
    return _apply(column, _core.macs_to_text)


def mac_from_text(column: Any) -> Any:
    """Text as MACs of 6 bytes: ``00:1b:54:ab:cd:ef``, ``00-1b-…`` or ``001b.54ab.cdef``. Nulls stay null.

    Raises:
        ValueError: A value is no MAC address.
    """
    return _apply(column, _core.macs_from_text)


def in_prefixes(column: Any, prefixes: list[str]) -> Any:
    """Whether each address is in any of ``prefixes``, such as ``192.0.2.0/24``; null where the address is null.

    Raises:
        ValueError: A prefix is none, or has bits set behind its length.
    """
    return _apply(column, lambda chunk: _core.match_prefixes(chunk, prefixes))


def _apply(column: Any, function: Callable[[pa.Array], _core.Array]) -> Any:
    import pyarrow as pa

    if type(column).__module__.partition(".")[0] == "polars":
        import polars as pl

        return pl.Series(column.name, _apply(column.to_arrow(), function))
    made = [pa.array(function(chunk)) for chunk in chunks_of(column)]
    return pa.chunked_array(made)


def chunks_of(column: Any) -> list[pa.Array]:
    """A column of any library as arrays, one at least."""
    import pyarrow as pa

    if not isinstance(column, pa.ChunkedArray) and hasattr(column, "__arrow_c_stream__"):
        column = pa.chunked_array(column)
    if isinstance(column, pa.ChunkedArray):
        return column.chunks or [pa.array([], column.type)]
    return [column if hasattr(column, "__arrow_c_array__") else pa.array(column)]
