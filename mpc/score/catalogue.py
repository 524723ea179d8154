"""Catalogues: where item vectors come from, and which of them an owner offers.

Sources: an `.npy` or `.npz` file (read without pickle; `.npy` stays on disk and is mapped), a table column of lists of
numbers, the arrays of a trained model. Vectors stay as they were stored; they are checked when they are encoded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mpc.errors import SourceError

__all__ = ["Catalogue", "Subset", "catalogue_from_arrays", "catalogue_from_column", "catalogue_from_file"]

_VECTORS: Final = "vectors"
_ITEMS: Final = "items"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Catalogue:
    """Item vectors with their labels."""

    name: str
    """The item set: query budgets are counted on this name, whatever subset or edition is served under it."""

    vectors: NDArray[Any] = field(repr=False)
    """`(items, dimensions)`, floating point or integer."""

    labels: NDArray[Any] = field(repr=False)
    """`(items,)`, distinct texts or integers."""

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.dtype.kind not in "fiu" or 0 in self.vectors.shape:
            raise SourceError("", reason="a catalogue is a matrix of numbers with at least one item")
        if self.labels.shape != self.vectors.shape[:1] or self.labels.dtype.kind not in "iuU":
            raise SourceError("", reason="a catalogue has one label per item, all texts or all integers")
        if np.unique(self.labels).size != self.labels.size:
            raise SourceError("", reason="two items of a catalogue have the same label")

    @property
    def rows(self) -> int:
        """Number of items."""
        return int(self.vectors.shape[0])

    @property
    def dimensions(self) -> int:
        """Length of an item's vector."""
        return int(self.vectors.shape[1])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The vectors of some items: what `MatrixHolder` takes."""
        return self.vectors[start:stop]

    def largest_norm(self, *, items_at_once: int = 65536) -> float:
        """The largest Euclidean norm of an item. It is data: round it up before it goes into a spec.

        Raises:
            SourceError: A vector is not finite.
        """
        largest = 0.0
        for start in range(0, self.rows, items_at_once):
            block = np.asarray(self.read(start, start + items_at_once), dtype=np.float64)
            norms = np.sqrt((block * block).sum(axis=1))
            if not np.isfinite(norms).all():
                raise SourceError("", reason="a vector of the catalogue is not finite")
            largest = max(largest, float(norms.max()))
        return largest


class Subset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An owner's rule: which items of a catalogue may be scored at all. The default offers everything."""

    only: tuple[str | int, ...] | None = None
    """Labels that are offered; None for all."""

    never: tuple[str | int, ...] = ()
    """Labels that are not offered, whatever `only` says."""

    most: int | None = None
    """At most so many items: the first ones, in the catalogue's order."""

    def apply(self, catalogue: Catalogue) -> Catalogue:
        """The offered part of a catalogue, in its order and under its name.

        Raises:
            SourceError: Nothing is offered, or the rule names an item that does not exist (a typing mistake in a rule
                must not offer more than was meant).
        """
        if self.most is not None and self.most < 0:
            raise SourceError("", reason="the owner's rule offers a negative number of items")
        kept = np.ones(catalogue.rows, dtype=bool)
        if self.only is not None:
            kept &= np.isin(catalogue.labels, self._known(catalogue, self.only))
        if self.never:
            kept &= ~np.isin(catalogue.labels, self._known(catalogue, self.never))
        rows = np.flatnonzero(kept)[: self.most]
        if not rows.size:
            raise SourceError("", reason="the owner's rule offers no item of the catalogue")
        if rows.size == catalogue.rows:
            return catalogue
        return Catalogue(name=catalogue.name, vectors=catalogue.vectors[rows], labels=catalogue.labels[rows])

    @staticmethod
    def _known(catalogue: Catalogue, labels: Sequence[str | int]) -> NDArray[Any]:
        text = catalogue.labels.dtype.kind == "U"
        if any(isinstance(label, str) != text for label in labels):
            raise SourceError("", reason="the owner's rule names items by another type than the catalogue")
        try:
            wanted = np.array(labels, dtype=np.str_ if text else catalogue.labels.dtype)
        except OverflowError:
            raise SourceError("", reason="the owner's rule names an item that the catalogue does not have") from None
        if not np.isin(wanted, catalogue.labels).all():
            raise SourceError("", reason="the owner's rule names an item that the catalogue does not have")
        return wanted


def catalogue_from_file(name: str, path: Path) -> Catalogue:
    """Read an `.npy` file (a matrix; labels are row numbers) or an `.npz` file.

    An `.npz` file holds `vectors` and, if wanted, `items` (the labels); a single unnamed matrix will do too.

    Raises:
        SourceError: The file holds no catalogue.
    """
    try:
        if path.suffix == ".npy":
            return _numbered(name, np.load(path, mmap_mode="r", allow_pickle=False))
        if path.suffix != ".npz":
            raise SourceError("", reason="a catalogue file is .npy or .npz")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise SourceError(repr(error), reason="the file holds no catalogue") from None
    if _VECTORS not in arrays and len(arrays) == 1:
        return _numbered(name, next(iter(arrays.values())))
    return catalogue_from_arrays(name, arrays)


def catalogue_from_arrays(name: str, arrays: Mapping[str, NDArray[Any]]) -> Catalogue:
    """A trained model's arrays: `vectors`, and `items` for the labels.

    Scores of a factor model with biases are inner products too: column 0 of its vectors is the item's bias, so the
    user's vector has 1 there.

    Raises:
        SourceError: There are no vectors.
    """
    if _VECTORS not in arrays:
        raise SourceError("", reason="there is no array named vectors")
    if _ITEMS not in arrays:
        return _numbered(name, arrays[_VECTORS])
    return Catalogue(name=name, vectors=arrays[_VECTORS], labels=arrays[_ITEMS])


def catalogue_from_column(name: str, table: pa.Table, *, vectors: str, labels: str) -> Catalogue:
    """A table: one column of lists of numbers, all of one length, and one of distinct labels.

    Raises:
        SourceError: A column does not exist, has another type or a NULL, or the lists differ in length.
    """
    for column in (vectors, labels):
        if column not in table.column_names:
            raise SourceError("", reason="the table has no such column", column=column)
        if table.column(column).null_count:
            raise SourceError("", reason="a NULL in a catalogue", column=column)
    return Catalogue(
        name=name, vectors=_matrix(table.column(vectors), vectors), labels=_labels(table.column(labels), labels)
    )


def _numbered(name: str, vectors: NDArray[Any]) -> Catalogue:
    return Catalogue(name=name, vectors=vectors, labels=np.arange(vectors.shape[0] if vectors.ndim else 0))


def _matrix(column: pa.ChunkedArray, name: str) -> NDArray[Any]:
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise SourceError("", reason="item vectors are lists of numbers", column=name)
    if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise SourceError("", reason="item vectors are lists of numbers", column=name)
    lengths = pc.list_value_length(column)
    values = pc.list_flatten(column)
    if not len(column) or pc.min(lengths).as_py() != pc.max(lengths).as_py() or values.null_count:
        raise SourceError("", reason="item vectors have one length and no NULL", column=name)
    flat: NDArray[Any] = values.to_numpy()
    return flat.reshape(len(column), -1)


def _labels(column: pa.ChunkedArray, name: str) -> NDArray[Any]:
    if pa.types.is_integer(column.type):
        return np.asarray(column.to_numpy())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=np.str_)
    raise SourceError("", reason="labels are texts or integers", column=name)
