"""Where an address belongs, and whose a telephone number is.

::

    places = tapsight.places.Places("asn.mmdb", "own.csv", zones=policy.zones)
    places.lookup(packets["src"])          # country, source, asn, network, zone, special: a row an address
    tapsight.places.country_of_number("+49 30 1234567")

The country of an address is the one it was *registered* in, unless a file says otherwise; docs/places.md says what that is worth.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tapsight import _core
from tapsight._text import name_problem
from tapsight.addresses import chunks_of

if TYPE_CHECKING:
    from tapsight.policy import Zone


class Places:
    """What is known of addresses.

    Args:
        files: MaxMind DBs, tables as CSV, or delegation files of registries. A later file counts before an earlier one.
        registered: Whether to know registered countries as well, where no file knows better.
        zones: Zones by name, as :attr:`tapsight.policy.Policy.zones` has them. The country of a zone counts before files.

    Raises:
        ValueError: A file is not understood (the text names it and the line), or two zones list the same.
        OSError: A file cannot be read.
    """

    def __init__(
        self,
        *files: str | os.PathLike[str],
        registered: bool = True,
        zones: Mapping[str, Zone] | None = None,
    ) -> None:
        members = [
            (name, zone.prefixes, zone.vlans, zone.mpls, zone.macs, zone.taps, zone.country)
            for name, zone in (zones or {}).items()
        ]
        self.zone_countries = {name: zone.country for name, zone in (zones or {}).items() if zone.country}
        """The countries of zones that are in one."""
        if wrong := next(filter(None, (name_problem(os.fspath(file)) for file in files)), None):
            raise ValueError(wrong)
        self.core = _core.Places([os.fspath(file) for file in files], registered=registered, zones=members)

    def lookup(self, column: Any) -> Any:
        """What is known of each address of a column, of 16 bytes or of text.

        Returns:
            A table with a row for each: ``country`` (code of two letters), ``source`` (who says so: ``zone``, the name of a file, or
            ``registry``), ``asn`` and ``network`` (number and name of the autonomous system), ``zone``, and ``special``, what an address is for that lies nowhere, such as ``private``. Null where nothing
            is known. A :class:`polars.DataFrame` for a Polars series, a :class:`pyarrow.Table` for anything else.

        Raises:
            ValueError: A value is no address.
        """
        return _table(column, self.core.look_up)

    def zone(
        self,
        *,
        address: bytes | None = None,
        mac: bytes | None = None,
        mpls: Iterable[int] = (),
        vlans: Iterable[int] = (),
        taps: Iterable[str] = (),
    ) -> str | None:
        """The zone of what has this address of 16 bytes and was seen so.

        By prefix; if none says, by MAC address, the innermost label, the innermost VLAN (both are given from the outermost), or tap.
        """
        return self.core.zone(address=address, mac=mac, mpls=list(mpls), vlans=list(vlans), taps=list(taps))


def numbers(column: Any) -> Any:
    """Whose the international telephone numbers of a column of text are.

    Returns:
        A table with a row for each: ``country`` (code of two letters), and ``name``, that of the country, or of the service or
        network where a number is of no single country. Null for what is no international number.
    """
    return _table(column, _core.look_up_numbers)


def country_of_number(number: str) -> str | None:
    """The code of the country of one international number, such as ``+49 30 1234567``; ``None`` if it has none or several."""
    country: str | None = numbers([number])["country"][0].as_py()
    return country


def _table(column: Any, function: Any) -> Any:
    import pyarrow as pa

    if type(column).__module__.partition(".")[0] == "polars":
        import polars as pl

        return pl.DataFrame(_table(column.to_arrow(), function))
    return pa.concat_tables(
        [pa.table(function(chunk)) for chunk in chunks_of(column)], promote_options="none"
    ).unify_dictionaries()
