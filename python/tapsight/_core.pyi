"""The engine. Use the package ``tapsight``, which wraps it."""

from collections.abc import Callable, Sequence
from typing import Any, final

__all__ = [
    "BATCH_SIZE",
    "DEBUG",
    "HAS_REGISTERED",
    "SCHEMA_VERSION",
    "Array",
    "CaptureError",
    "Examination",
    "Extract",
    "ParquetEncoder",
    "Places",
    "Stream",
    "Table",
    "__version__",
    "addresses_from_text",
    "addresses_to_text",
    "capture_head",
    "column_names",
    "column_words",
    "country_name",
    "digest_head",
    "examine",
    "filterable",
    "floor",
    "look_up_numbers",
    "macs_from_text",
    "macs_to_text",
    "match_prefixes",
    "mix_names",
    "schema",
    "stage_schema",
    "table_names",
    "table_schema",
    "traffic",
    "verify_digest",
    "write_digest",
]

__version__: str
SCHEMA_VERSION: str
BATCH_SIZE: int
DEBUG: bool
HAS_REGISTERED: bool

class CaptureError(ValueError): ...

@final
class Stream:
    def __new__(
        cls,
        sources: Sequence[Any],
        *,
        table: str = "packets",
        tap: str | None = None,
        columns: Sequence[str] | None = None,
        batch_size: int = ...,
        filters: Sequence[tuple[str, Sequence[int | str]]] = ...,
        limit: int | None = None,
        threads: int | None = None,
    ) -> Stream: ...
    @staticmethod
    def flows(
        sources: Sequence[Any],
        *,
        tap: str | None = None,
        threads: int | None = None,
        idle_timeout_ns: int | None = None,
        active_timeout_ns: int | None = None,
        memory: int | None = None,
        places: Places | None = None,
        home: Sequence[str] = ...,
    ) -> Stream: ...
    @staticmethod
    def calls(
        sources: Sequence[Any],
        *,
        table: str = "calls",
        tap: str | None = None,
        threads: int | None = None,
        places: Places | None = None,
        home: Sequence[str] = ...,
    ) -> Stream: ...
    @staticmethod
    def media(
        sources: Sequence[Any],
        *,
        tap: str | None = None,
        threads: int | None = None,
        timeout_ns: int | None = None,
        limit: int | None = None,
    ) -> Stream: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __arrow_c_schema__(self) -> object: ...
    def raise_error(self) -> None: ...
    @property
    def warnings(self) -> list[str]: ...

@final
class Table:
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __arrow_c_schema__(self) -> object: ...

@final
class Array:
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

@final
class Examination:
    @property
    def claims(self) -> Table: ...
    @property
    def flows(self) -> Table: ...
    @property
    def compared(self) -> Table: ...
    @property
    def scopes(self) -> Table: ...
    @property
    def taps(self) -> Table: ...
    @property
    def files(self) -> Table: ...
    @property
    def calls(self) -> list[Table]: ...
    @property
    def call_changes(self) -> list[Table]: ...
    @property
    def call_media(self) -> list[Table]: ...
    @property
    def media(self) -> list[Table]: ...
    @property
    def missing(self) -> int: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def state(self) -> bytes | None: ...

@final
class Extract:
    def __new__(
        cls,
        sources: Sequence[Any],
        frames: Sequence[int],
        *,
        tap: str | None = None,
        zero_payload: bool = False,
    ) -> Extract: ...
    def __iter__(self) -> Extract: ...
    def __next__(self) -> Table: ...

@final
class ParquetEncoder:
    def __new__(cls, schema: Any, *, threads: int | None = None) -> ParquetEncoder: ...
    def row_group(self, batches: Sequence[Any]) -> bytes: ...
    def finish(self) -> bytes: ...

def column_names() -> list[str]: ...
def schema(names: Sequence[str] | None = None) -> Table: ...
def stage_schema(name: str, *, places: Places | None = None) -> Table: ...
def table_names() -> list[str]: ...
def table_schema(name: str, names: Sequence[str] | None = None) -> Table: ...
def column_words(name: str) -> list[str]: ...
def filterable(name: str, values: Sequence[int | str]) -> bool: ...
def addresses_to_text(column: Any) -> Array: ...
def addresses_from_text(column: Any) -> Array: ...
def macs_to_text(column: Any) -> Array: ...
def macs_from_text(column: Any) -> Array: ...
def match_prefixes(column: Any, prefixes: Sequence[str]) -> Array: ...
def mix_names() -> list[str]: ...
def traffic(mix: str, packets: int, seed: int = 1) -> bytes: ...
def floor(bytes: bytes) -> int: ...
def examine(
    taps: Sequence[tuple[str | None, Sequence[Any]]],
    *,
    window_ns: int | None = None,
    late_window_ns: int | None = None,
    memory: int | None = None,
    progress: Callable[[int], object] | None = None,
    threads: int | None = None,
    infrastructure: Sequence[str] | None = None,
    gateways: Sequence[str] | None = None,
    state: bytes | None = None,
    save: bool = False,
    detectors: Sequence[str] | None = None,
) -> Examination: ...
def write_digest(
    tap: str,
    sources: Sequence[Any],
    path: str,
    *,
    name: str,
    progress: Callable[[int], object] | None = None,
    threads: int | None = None,
) -> tuple[int, list[str]]: ...
def digest_head(path: Any) -> tuple[str, list[tuple[str, tuple[int, int] | None, int | None]]] | None: ...
def capture_head(path: Any) -> tuple[str, tuple[int, int] | None, int | None]: ...
def verify_digest(path: Any) -> None: ...

@final
class Places:
    def __new__(
        cls,
        files: Sequence[str],
        *,
        registered: bool = True,
        zones: Sequence[
            tuple[
                str, Sequence[str], Sequence[int], Sequence[int], Sequence[bytes], Sequence[str], str | None
            ]
        ] = ...,
    ) -> Places: ...
    def look_up(self, column: object) -> Table: ...
    def zone(
        self,
        *,
        address: bytes | None = None,
        mac: bytes | None = None,
        mpls: Sequence[int] = ...,
        vlans: Sequence[int] = ...,
        taps: Sequence[str] = ...,
    ) -> str | None: ...

def look_up_numbers(column: object) -> Table: ...
def country_name(code: str) -> str | None: ...
