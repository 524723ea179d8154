"""How a party's rows reach a program: columns in batches, from any source.

NULL is `None` in an object array, NaN in a floating one, or a masked entry.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import SourceError

__all__ = ["ArrayRows", "Codes", "Rows", "identifiers", "reals"]


class Rows(Protocol):
    """One party's rows of one logical table."""

    def read(self, columns: Sequence[str]) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Read some columns from the first row to the last, in batches of equal-length arrays.

        A program may read several times; every reading yields the same rows in the same order (one pinned snapshot).
        """
        ...


class ArrayRows:
    """Rows that are already arrays.

    >>> rows = ArrayRows({"user": [1, 1, 2], "item": ["a", "b", "a"]})
    >>> [batch["user"].tolist() for batch in rows.read(["user"])]
    [[1, 1, 2]]
    """

    def __init__(self, columns: Mapping[str, ArrayLike], *, batch_rows: int = 1 << 16) -> None:
        self._columns = {name: np.asanyarray(values) for name, values in columns.items()}
        lengths = {len(values) for values in self._columns.values()}
        if len(lengths) > 1 or batch_rows < 1:
            raise SourceError("columns of one table have one length, and a batch has rows")
        self._length = lengths.pop() if lengths else 0
        self._batch_rows = batch_rows

    def __len__(self) -> int:
        return self._length

    def read(self, columns: Sequence[str]) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Slices of the arrays."""
        for name in columns:
            if name not in self._columns:
                raise SourceError("", column=name, reason="the table has no such column")
        for start in range(0, self._length, self._batch_rows):
            stop = start + self._batch_rows
            yield {name: self._columns[name][start:stop] for name in columns}


def _present(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are not NULL."""
    present = ~np.broadcast_to(np.ma.getmaskarray(values), values.shape)
    plain = np.ma.getdata(values)
    if plain.dtype == object:
        # The one value that differs from itself is NaN, which some sources use for NULL in object columns.
        present = present & np.fromiter((v is not None and v == v for v in plain), dtype=bool, count=len(plain))  # noqa: PLR0124
    elif plain.dtype.kind == "f":
        present = present & ~np.isnan(plain)
    return present


def identifiers(values: NDArray[Any], column: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Identifiers of a batch as int64 or text, and which of them are present (not NULL).

    Whole numbers that arrive as floats (integers with NULLs often do) are integers again; booleans are 0 and 1.

    Raises:
        SourceError: The column holds something that does not identify (fractions, dates, mixed types).
    """
    present = _present(values)
    kept = np.ma.getdata(values)[present]
    if kept.dtype == object:
        texts = [isinstance(v, str) for v in kept]
        if all(texts):
            return kept.astype(str), present
        if any(texts):
            raise SourceError("", column=column, reason="it mixes texts and numbers")
        try:
            kept = np.array([int(v) if int(v) == v else None for v in kept], dtype=np.int64)
        except (TypeError, ValueError, OverflowError):
            raise SourceError("", column=column, reason="it holds neither texts nor integers") from None
    if kept.dtype.kind == "f":
        if not np.array_equal(kept, np.trunc(kept)):
            raise SourceError("", column=column, reason="fractions identify nothing")
        kept = kept.astype(np.int64)
    if kept.dtype.kind in "iub":
        if kept.dtype == np.uint64 and kept.size and int(kept.max()) >= 1 << 63:
            raise SourceError("", column=column, reason="its integers exceed 64 bits")
        return kept.astype(np.int64), present
    if kept.dtype.kind in "UT":
        return kept.astype(str), present
    raise SourceError("", column=column, reason="it holds neither texts nor integers")


def reals(values: NDArray[Any], column: str) -> NDArray[np.float64]:
    """Numbers of a batch as float64, NULL as NaN.

    Raises:
        SourceError: The column is not numeric, or holds an infinity.
    """
    present = _present(values)
    out = np.full(len(values), np.nan)
    try:
        out[present] = np.ma.getdata(values)[present].astype(np.float64)
    except (TypeError, ValueError):
        raise SourceError("", column=column, reason="it is not numeric") from None
    if np.isinf(out).any():
        raise SourceError("", column=column, reason="it holds an infinity")
    return out


class Codes:
    """Numbers the distinct identifiers of a column in order of first batch, so that long texts are held once."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._codes: dict[str | int, int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def add(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """Codes of a batch of identifiers, new ones numbered on."""
        distinct, inverse = np.unique(values, return_inverse=True)
        table = self._codes
        codes = np.array([table.setdefault(v, len(table)) for v in distinct.tolist()], dtype=np.int32)
        return codes[inverse.reshape(-1)] if len(codes) else np.empty(0, dtype=np.int32)

    def values(self) -> NDArray[Any]:
        """The identifiers by code.

        Raises:
            SourceError: Texts and integers are mixed.
        """
        listed = list(self._codes)
        if not listed:
            return np.empty(0, dtype=np.int64)
        if len({type(v) for v in listed}) > 1:
            raise SourceError("", column=self._column, reason="it mixes texts and numbers")
        return np.array(listed)
