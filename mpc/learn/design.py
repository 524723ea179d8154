"""The design matrix: public knowledge about the columns, and one party's rows behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError, RangeError
from mpc.learn.data import Codes, Rows, identifiers, reals
from mpc.learn.recommender_specs import Holdout
from mpc.learn.regression_specs import Category, Feature, Numeric
from mpc.learn.splits import bucket, pair_bucket
from mpc.learn.vocabulary import Vocabulary

__all__ = ["Design", "LevelColumns", "LocalRows", "NumericColumn", "load_rows", "typed"]


class NumericColumn(msgspec.Struct, frozen=True, tag_field="kind", tag="numeric"):
    """One column of the design: `(transform(x) - center) / scale`."""

    column: str
    transform: Literal["none", "log1p"]
    center: float
    scale: float


class LevelColumns(msgspec.Struct, frozen=True, tag_field="kind", tag="levels"):
    """One 0/1 column of the design for each level."""

    column: str
    levels: tuple[str | int, ...]
    """Sorted."""

    reference: str | int | None = None
    """The level that has no column; levels that were not admitted count as it."""


class Design(msgspec.Struct, frozen=True):
    """The columns of the design; column 0 is the constant 1."""

    blocks: tuple[NumericColumn | LevelColumns, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns after the constant: `age`, `race=Asian`."""
        out: list[str] = []
        for block in self.blocks:
            if isinstance(block, NumericColumn):
                out.append(block.column)
            else:
                out.extend(f"{block.column}={level}" for level in block.levels)
        return tuple(out)

    @property
    def width(self) -> int:
        """Columns, the constant among them."""
        return 1 + len(self.names)

    def unscaling(self) -> NDArray[np.float64]:
        """The matrix T with `T @ beta` the coefficients for unscaled columns, shape `(width, width)`."""
        matrix = np.diag(np.concatenate([[1.0], 1.0 / self.scales()]))
        matrix[0, 1:] = -self.centers() / self.scales()
        return matrix

    def scales(self) -> NDArray[np.float64]:
        """Scale of every column after the constant (1 for levels)."""
        parts = [[b.scale] if isinstance(b, NumericColumn) else [1.0] * len(b.levels) for b in self.blocks]
        return np.array([v for part in parts for v in part])

    def centers(self) -> NDArray[np.float64]:
        """Centre of every column after the constant (0 for levels)."""
        parts = [[b.center] if isinstance(b, NumericColumn) else [0.0] * len(b.levels) for b in self.blocks]
        return np.array([v for part in parts for v in part])

    def features(self) -> tuple[Feature, ...]:
        """The features that reading rows for a prediction needs: any value, any level."""
        return tuple(
            Numeric(b.column, b.transform, -1e15 if b.transform == "none" else -1.0 + 2.0**-52, 1e15)
            if isinstance(b, NumericColumn)
            else Category(b.column)
            for b in self.blocks
        )

    def rows_of(self, local: "LocalRows") -> "DesignRows":
        """One party's rows seen through this design."""
        return DesignRows(self, local)

    def pack(self) -> NDArray[np.uint8]:
        """As bytes, for a checkpoint."""
        return np.frombuffer(msgspec.json.encode(self), dtype=np.uint8)

    @staticmethod
    def unpack(data: NDArray[np.uint8]) -> "Design":
        """Read `pack` back."""
        return msgspec.json.decode(data.tobytes(), type=Design)


@dataclass(frozen=True, slots=True, eq=False)
class LocalRows:
    """One party's complete rows: numbers transformed, levels as codes (a few bytes per value)."""

    count: int
    left_out: int
    """Rows with a NULL in a column that is used."""

    numbers: dict[str, NDArray[np.float64]]
    codes: dict[str, NDArray[Any]]
    levels: dict[str, NDArray[Any]]
    """This party's own levels by code."""

    target: NDArray[np.float64] | None


class DesignRows:
    """Rows of the design matrix, made in stretches."""

    def __init__(self, design: Design, local: LocalRows) -> None:
        self._design = design
        self._local = local
        self._numbers = {
            b.column: Vocabulary.of(b.levels).index(local.levels[b.column])
            for b in design.blocks
            if isinstance(b, LevelColumns) and b.levels
        }

    def __len__(self) -> int:
        return self._local.count

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Rows `start` to `stop`, shape `(stop - start, width)`."""
        stop = min(stop, self._local.count)
        out = np.zeros((stop - start, self._design.width))
        out[:, 0] = 1.0
        position = 1
        for block in self._design.blocks:
            if isinstance(block, NumericColumn):
                out[:, position] = (self._local.numbers[block.column][start:stop] - block.center) / block.scale
                position += 1
            elif block.levels:
                number = self._numbers[block.column][self._local.codes[block.column][start:stop]]
                known = np.flatnonzero(number >= 0)
                out[known, position + number[known]] = 1.0
                position += len(block.levels)
        return out


def typed(features: Sequence[Feature]) -> tuple[Numeric | Category, ...]:
    """A bare column name is a numeric column (`complete` has replaced those of texts by then)."""
    return tuple(Numeric(f) if isinstance(f, str) else f for f in features)


def _transform(feature: Numeric, values: NDArray[np.float64]) -> NDArray[np.float64]:
    present = values[~np.isnan(values)]
    if present.size and (float(present.min()) < feature.minimum or float(present.max()) > feature.maximum):
        raise RangeError("", column=feature.column)
    if feature.transform == "log1p":
        if feature.minimum <= -1.0 and present.size and float(present.min()) <= -1.0:
            raise RangeError("", column=feature.column, reason="log1p needs values above -1")
        return np.log1p(values)
    return values


def _held(holdout: Holdout | None, batch: Any, rows: int) -> NDArray[np.bool_]:
    if holdout is None:
        return np.zeros(rows, dtype=bool)
    keys = []
    for name in holdout.columns:
        values, present = identifiers(batch[name], name)
        if not present.all():
            raise RangeError("", column=name, reason="a hold-out key is NULL")
        keys.append(values)
    if len(keys) == 1:
        return np.equal(bucket(keys[0], holdout.seed, holdout.buckets), 0)
    return np.equal(pair_bucket(keys[0], keys[1], holdout.seed, holdout.buckets), 0)


def load_rows(
    features: Sequence[Feature], target: str | None, holdout: Holdout | None, data: Rows, *, held_out: bool
) -> LocalRows:
    """Read the complete rows of the training part, or of the held-out part.

    Raises:
        RangeError: A number leaves its declared range; names the column.
    """
    kinds = typed(features)
    codes = {f.column: Codes(f.column) for f in kinds if isinstance(f, Category)}
    columns = sorted(
        {f.column for f in kinds} | ({target} if target else set()) | set(holdout.columns if holdout else ())
    )
    parts: dict[str, list[NDArray[Any]]] = {f.column: [] for f in kinds}
    targets, left_out = [np.empty(0)], 0
    for batch in data.read(columns):
        rows = len(batch[columns[0]])
        kept = _held(holdout, batch, rows) == held_out
        wanted = int(kept.sum())
        numbers = {f.column: _transform(f, reals(batch[f.column], f.column)) for f in kinds if isinstance(f, Numeric)}
        goal = reals(batch[target], target) if target else np.zeros(rows)
        kept &= ~np.isnan(goal)
        for values in numbers.values():
            kept &= ~np.isnan(values)
        found = {name: identifiers(batch[name], name) for name in codes}
        for _, present in found.values():
            kept &= present
        left_out += wanted - int(kept.sum())
        targets.append(goal[kept])
        for name, values in numbers.items():
            parts[name].append(values[kept])
        for name, (names, present) in found.items():
            parts[name].append(codes[name].add(names[kept[present]]))
    joined = {name: np.concatenate(p) if p else np.empty(0) for name, p in parts.items()}
    return LocalRows(
        count=sum(len(t) for t in targets),
        left_out=left_out,
        numbers={f.column: joined[f.column].astype(np.float64) for f in kinds if isinstance(f, Numeric)},
        codes={name: joined[name].astype(_narrowest(len(table))) for name, table in codes.items()},
        levels={name: table.values() for name, table in codes.items()},
        target=np.concatenate(targets) if target else None,
    )


def _narrowest(levels: int) -> type[np.integer[Any]]:
    """The smallest type that numbers so many levels: a party's rows are held in memory by these."""
    return np.uint8 if levels <= 1 << 8 else np.uint16 if levels <= 1 << 16 else np.int32


def check_levels(feature: Category, local: LocalRows) -> None:
    """Refuse a level outside the declared ones (`RangeError` naming the column)."""
    if feature.levels is not None:
        Vocabulary.of(feature.levels).require(local.levels[feature.column], feature.column)


def nothing_left(design: Design) -> None:
    """Refuse a design without columns (`PlanError`)."""
    if design.width == 1:
        raise PlanError("", reason="no feature is left: no level has enough rows")
