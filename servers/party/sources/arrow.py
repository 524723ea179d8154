"""Arrow arrays to the arrays that programs compute with.

| Arrow type (what DuckDB and ADBC deliver) | `kind` | `values` |
|---|---|---|
| bool | BOOLEAN | bool |
| int8 ... int64, uint8 ... uint32 | INTEGER | int64 |
| uint64 | INTEGER | Python integers (object) |
| decimal(p <= 18, 0) | INTEGER | int64 |
| decimal(p > 18, 0): also DuckDB's HUGEINT | INTEGER | Python integers (object) |
| decimal(p, s > 0) | DOUBLE | float64, the nearest to each value |
| float, double | DOUBLE | float64; NaN and infinities stay what they are |
| string (any layout), dictionary of strings | VARCHAR | str (object) |
| string or opaque numeric named in `integers` | INTEGER | Python integers (object) |
| opaque numeric (PostgreSQL), not named | DOUBLE | float64, the nearest to each value |
| date32, date64 | DATE | int64, days since 1970-01-01 |
| timestamp of any unit, with or without a zone | TIMESTAMP | int64, microseconds since 1970-01-01T00:00:00 UTC |
| null | INTEGER | int64 zeros, all NULL |

A timestamp without a zone is UTC by the dictionary's rule; one with a zone is stored as a UTC instant. Nanoseconds are
floored to microseconds. Everything else (binary, times, intervals, nested types) is refused by the column's name.
The array types depend on the Arrow type alone, never on the values.
"""

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.errors import PlanError, RangeError, SourceError
from mpc.keys.dictionary import ColumnKind
from servers.party.sources.base import ColumnData, Columns

__all__ = ["columns_of", "from_arrow"]

_INTEGER = re.compile(r"-?[0-9]{1,60}\Z")
_MICROSECONDS = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_MILLISECONDS_PER_DAY = 86_400_000
_EXACT_IN_FLOAT64 = 1 << 53
_LATEST = {ColumnKind.DATE: 2_147_400_000, ColumnKind.TIMESTAMP: 9_222_400_000_000_000_000}
"""Days and microseconds beyond every finite one of a database. `infinity` lies outside: it is the last number of its
width in DuckDB, and ADBC's shift from PostgreSQL's epoch to 1970 wraps it around."""


def columns_of(batch: Any, integers: Collection[str] = ()) -> Columns:
    """Convert a `pyarrow.RecordBatch` or `pyarrow.Table`.

    Raises:
        PlanError: Two columns share a name, or `integers` names none.
        SourceError: A column's type has no place in a dictionary.
        RangeError: A text named in `integers` is not an integer, or a date or time is infinite.
    """
    names = list(batch.schema.names)
    if len(set(names)) != len(names):
        raise PlanError("two result columns share a name")
    if missing := set(integers) - set(names):
        raise PlanError(f"{sorted(missing)} are not result columns")
    columns = zip(names, batch.columns, strict=True)
    return {name: from_arrow(name, array, integer=name in integers) for name, array in columns}


def from_arrow(name: str, array: Any, *, integer: bool = False) -> ColumnData:
    """Convert one column by the table above.

    Args:
        name: For errors.
        array: `pyarrow.Array` or `pyarrow.ChunkedArray`.
        integer: Whether a text holds decimal integers.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # pyarrow keeps a table of no rows without chunks
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if isinstance(array.type, pa.DictionaryType):
        array = array.dictionary_decode()
    numeric_text = isinstance(array.type, pa.BaseExtensionType) and _is_numeric(array.type)
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    nulls: NDArray[np.bool_] = np.asarray(array.is_null())
    kind, values = _convert(name, array, nulls, integer=integer, numeric_text=numeric_text)
    if (most := _LATEST.get(kind)) is not None and len(values) and (values.min() < -most or values.max() > most):
        raise RangeError("an infinite date or time", column=name)
    return ColumnData(kind=kind, values=values, nulls=nulls)


def _is_numeric(kind: Any) -> bool:
    """Whether an extension type is ADBC's opaque spelling of PostgreSQL's numeric."""
    return getattr(kind, "type_name", "") == "numeric"


def _convert(
    name: str, array: Any, nulls: NDArray[np.bool_], *, integer: bool, numeric_text: bool
) -> tuple[ColumnKind, NDArray[Any]]:
    kind = array.type
    if pa.types.is_null(kind):
        return ColumnKind.INTEGER, np.zeros(len(array), dtype=np.int64)
    if pa.types.is_boolean(kind):
        return ColumnKind.BOOLEAN, _dense(array, pa.bool_(), filler=False)
    if kind == pa.uint64():
        wide: NDArray[Any] = _dense(array, pa.uint64(), filler=0).astype(object)
        return ColumnKind.INTEGER, wide
    if pa.types.is_integer(kind):
        return ColumnKind.INTEGER, _dense(array, pa.int64(), filler=0)
    if pa.types.is_floating(kind):
        return ColumnKind.DOUBLE, _dense(array, pa.float64(), filler=np.nan)
    if pa.types.is_decimal(kind):
        return _from_decimal(array, nulls)
    if pa.types.is_date(kind):
        days = _dense(array.view(pa.int32()) if pa.types.is_date32(kind) else array.view(pa.int64()), pa.int64(), 0)
        return ColumnKind.DATE, days if pa.types.is_date32(kind) else days // _MILLISECONDS_PER_DAY
    if pa.types.is_timestamp(kind):
        factor, divisor = _MICROSECONDS[kind.unit]
        return ColumnKind.TIMESTAMP, _dense(array.view(pa.int64()), pa.int64(), filler=0) * factor // divisor
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _from_text(name, array, nulls, integer=integer, numeric_text=numeric_text)
    raise SourceError(f"Arrow type {kind}", column=name, reason="its type has no place in a dictionary")


def _dense(array: Any, kind: Any, filler: Any) -> NDArray[Any]:
    """Cast and fill the NULL positions; the result is writable and contiguous."""
    if array.type != kind:
        array = array.cast(kind)
    if array.null_count:
        array = array.fill_null(filler)
    values: NDArray[Any] = np.array(array.to_numpy(zero_copy_only=False))
    return values


def _from_decimal(array: Any, nulls: NDArray[np.bool_]) -> tuple[ColumnKind, NDArray[Any]]:
    """Read 128-bit two's complement words: exact integers, or the nearest float64."""
    if not pa.types.is_decimal128(array.type):
        array = array.cast(pa.decimal128(min(array.type.precision, 38), array.type.scale))
    precision, scale = array.type.precision, array.type.scale
    words = np.frombuffer(array.buffers()[1] or b"", dtype="<i8")[2 * array.offset : 2 * (array.offset + len(array))]
    low, high = words[0::2].copy(), words[1::2]
    low[nulls] = 0
    if precision > 18:
        high = np.where(nulls, 0, high)
        unscaled: NDArray[Any] = (high.astype(object) << 64) + low.view(np.uint64).astype(object)
    else:
        unscaled = low
    if scale <= 0:
        return ColumnKind.INTEGER, unscaled * 10**-scale if scale else unscaled
    exact = not len(unscaled) or -_EXACT_IN_FLOAT64 <= unscaled.min() <= unscaled.max() <= _EXACT_IN_FLOAT64
    if exact and scale <= 22:  # both operands are exact in float64, so the one division rounds correctly
        quotient: NDArray[Any] = unscaled.astype(np.float64) / 10.0**scale
    else:  # Python rounds the quotient of two integers correctly
        quotient = (unscaled.astype(object) / 10**scale).astype(np.float64)
    quotient[nulls] = np.nan
    return ColumnKind.DOUBLE, quotient


def _from_text(
    name: str, array: Any, nulls: NDArray[np.bool_], *, integer: bool, numeric_text: bool
) -> tuple[ColumnKind, NDArray[Any]]:
    texts: NDArray[Any] = np.array(array.to_numpy(zero_copy_only=False), dtype=object)
    if integer:
        texts[nulls] = "0"
        if not all(_INTEGER.match(text) for text in texts):
            raise RangeError(column=name)
        return ColumnKind.INTEGER, np.array([int(text) for text in texts], dtype=object)
    if numeric_text:
        texts[nulls] = "nan"
        return ColumnKind.DOUBLE, np.array([float(text) for text in texts], dtype=np.float64)
    texts[nulls] = ""
    return ColumnKind.VARCHAR, texts
