"""Standardisation and one-hot vocabularies by encrypted sums, before any model is fitted."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError
from mpc.fixedpoint import Encoding, range_for
from mpc.learn.design import Design, LevelColumns, LocalRows, NumericColumn, check_levels, nothing_left, typed
from mpc.learn.regression_specs import Category, Feature, Numeric, Tabular
from mpc.learn.vocabulary import Discovery, Vocabulary, agree, contributors
from mpc.primitives import Program, Sum

__all__ = ["Prepared", "prepare"]

_WIDEST_BITS = 120
_FINEST_BITS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What all parties know before the fit."""

    design: Design
    rows: int
    left_out: int
    """Rows with a NULL in a used column, over all parties."""

    target_mean: float
    squares: NDArray[np.float64]
    """Sum over all rows of the square of each column of the design, shape `(width,)`: it bounds every statistic."""

    target_scale: float
    """Standard deviation of the target (1 where it is not standardised)."""

    def state(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        numbers = [self.rows, self.left_out, self.target_mean, self.target_scale]
        return {"design": self.design.pack(), "prepared": np.array(numbers, dtype=np.float64), "squares": self.squares}

    @staticmethod
    def resume(state: Mapping[str, NDArray[Any]]) -> "Prepared":
        """Read `state` back."""
        rows, left_out, mean, scale = state["prepared"].tolist()
        return Prepared(Design.unpack(state["design"]), int(rows), int(left_out), mean, state["squares"], scale)

    def context(self) -> bytes:
        """Digest bound into every later sum: what each position means."""
        return Vocabulary.of(("", *self.design.names)).digest()


def fine(magnitude: float) -> Encoding:
    """The finest encoding of values up to `magnitude` that a sum carries."""
    span = range_for(magnitude)
    spare = _WIDEST_BITS - int(np.log2(span))
    if spare < 0:
        raise PlanError("", reason="declared ranges and row counts are too large for an exact sum")
    return Encoding(scale_bits=min(_FINEST_BITS, spare), range=span)


def prepare(
    spec: Tabular,
    features: Sequence[Feature],
    local: LocalRows,
    *,
    label: str,
    parties: int,
    penalized: bool,
    target_magnitude: float = 1.0,
    scale_target: bool = False,
    discovery: Discovery | None = None,
) -> Program[Prepared]:
    """Agree on levels, counts, means and deviations.

    Reveals: to all parties, the union of undeclared levels; the number of complete and of incomplete rows; of every
    level the number of rows (and of parties, where a minimum is asked for); the sum and the sum of squared deviations
    of every numeric column, and the sum of the target.
    """
    kinds = typed(features)
    vocabularies: dict[str, Vocabulary] = {}
    needed: dict[str, int] = {}
    for feature in kinds:
        if isinstance(feature, Category):
            needed[feature.column] = contributors(feature.minimum_parties, parties)
            check_levels(feature, local)
            vocabularies[feature.column] = yield from agree(
                f"{label}/levels/{feature.column}",
                feature.levels,
                np.unique(local.levels[feature.column]),
                capacity=feature.capacity,
                minimum_parties=needed[feature.column],
                discovery=discovery,
            )
    first = yield from _first_moments(spec, kinds, local, vocabularies, needed, label, target_magnitude)
    if first.rows == 0:
        raise PlanError("", reason="no row has all columns")
    design = _design(kinds, first, spec, penalized=penalized)
    nothing_left(design)
    if first.rows < spec.rows_per_feature * design.width:
        raise PlanError(
            "",
            reason=f"fewer than {spec.rows_per_feature} rows for each of {design.width} columns",
            instead="fewer features, or a larger minimum_rows for levels",
        )
    return (
        yield from _second_moments(
            spec, kinds, local, design, first, label, target_magnitude, scale_target=scale_target
        )
    )


@dataclass(frozen=True, slots=True, eq=False)
class _First:
    rows: int
    left_out: int
    target_sum: float
    sums: dict[str, float]
    levels: dict[str, dict[str | int, int]]
    """Rows of every level that enough parties have."""


def _reach(feature: Numeric) -> float:
    """Largest magnitude of the transformed column."""
    ends = np.array([feature.minimum, feature.maximum])
    if feature.transform == "log1p":
        ends = np.log1p(np.maximum(ends, -1.0 + 2.0**-52))
    return float(np.abs(ends).max())


def _first_moments(
    spec: Tabular,
    kinds: Sequence[Numeric | Category],
    local: LocalRows,
    vocabularies: Mapping[str, Vocabulary],
    minimum: Mapping[str, int],
    label: str,
    target_magnitude: float,
) -> Program[_First]:
    most = spec.rows_at_most
    arrays: dict[str, NDArray[Any]] = {"rows": np.array([local.count, local.left_out])}
    bounds: dict[str, int] = {"rows": most}
    encodings: dict[str, Encoding] = {}
    sums = {f"sum/{f.column}": (local.numbers[f.column].sum(), _reach(f)) for f in kinds if isinstance(f, Numeric)}
    if local.target is not None:
        sums["target"] = (local.target.sum(), target_magnitude)
    for name, (value, magnitude) in sums.items():
        encodings[name] = fine(magnitude * most)
        arrays[name] = encodings[name].encode(np.array([value]), statistic=name)
        bounds[name] = encodings[name].bound
    for column, vocabulary in vocabularies.items():
        number = vocabulary.index(local.levels[column])[local.codes[column]]
        count = np.bincount(number[number >= 0], minlength=len(vocabulary))
        arrays[f"levels/{column}"], bounds[f"levels/{column}"] = count, most
        if minimum[column] > 1:
            arrays[f"holders/{column}"], bounds[f"holders/{column}"] = (count > 0).astype(np.int64), 1
    totals = yield Sum.of(f"{label}/first", arrays, bounds, context=_positions(vocabularies))
    assert totals is not None
    opened = {name: float(encoding.decode(totals[name])[0]) for name, encoding in encodings.items()}
    levels = {}
    for column, vocabulary in vocabularies.items():
        count = totals[f"levels/{column}"].astype(np.int64)
        enough = np.ones(len(vocabulary), dtype=bool)
        if minimum[column] > 1:
            enough = totals[f"holders/{column}"].astype(np.int64) >= minimum[column]
        levels[column] = dict(zip(vocabulary.values[enough].tolist(), count[enough].tolist(), strict=True))
    return _First(
        rows=int(totals["rows"][0]),
        left_out=int(totals["rows"][1]),
        target_sum=opened.get("target", 0.0),
        sums={name.removeprefix("sum/"): value for name, value in opened.items() if name != "target"},
        levels=levels,
    )


def _positions(vocabularies: Mapping[str, Vocabulary]) -> bytes:
    state = hashlib.sha256(b"sealroom/v1/levels")
    for column in sorted(vocabularies):
        state.update(vocabularies[column].digest())
    return state.digest()


def _design(
    kinds: Sequence[Numeric | Category],
    first: _First,
    spec: Tabular,
    *,
    penalized: bool,
) -> Design:
    """Columns with centres but not yet scales."""
    blocks: list[NumericColumn | LevelColumns] = []
    for feature in kinds:
        if isinstance(feature, Numeric):
            center = first.sums[feature.column] / first.rows if spec.standardize else 0.0
            blocks.append(NumericColumn(feature.column, feature.transform, center, 1.0))
            continue
        admitted = {v: n for v, n in first.levels[feature.column].items() if n >= feature.minimum_rows}
        reference = feature.reference
        if reference is None and not penalized and admitted:
            reference = max(admitted, key=lambda level: admitted[level])
        blocks.append(LevelColumns(feature.column, tuple(v for v in admitted if v != reference), reference))
    return Design(tuple(blocks))


def _second_moments(
    spec: Tabular,
    kinds: Sequence[Numeric | Category],
    local: LocalRows,
    design: Design,
    first: _First,
    label: str,
    target_magnitude: float,
    *,
    scale_target: bool,
) -> Program[Prepared]:
    centers = {b.column: b.center for b in design.blocks if isinstance(b, NumericColumn)}
    mean = first.target_sum / first.rows
    parts = {
        f"square/{f.column}": (
            np.square(local.numbers[f.column] - centers[f.column]).sum(),
            _reach(f) + abs(centers[f.column]),
        )
        for f in kinds
        if isinstance(f, Numeric)
    }
    if scale_target and local.target is not None:
        parts["target"] = (np.square(local.target - mean).sum(), target_magnitude + abs(mean))
    arrays, bounds, encodings = {}, {}, {}
    for name, (value, magnitude) in parts.items():
        encodings[name] = fine(magnitude * magnitude * spec.rows_at_most)
        arrays[name] = encodings[name].encode(np.array([value]), statistic=name)
        bounds[name] = encodings[name].bound
    squares: dict[str, float] = {}
    if arrays:
        totals = yield Sum.of(f"{label}/second", arrays, bounds, context=_positions({}))
        assert totals is not None
        squares = {name: float(encodings[name].decode(totals[name])[0]) for name in arrays}
    scaled, sizes = _scaled(spec, design, first, squares)
    deviation = float(np.sqrt(squares.get("target", 0.0) / first.rows))
    return Prepared(scaled, first.rows, first.left_out, mean, sizes, deviation if deviation > 0 else 1.0)


def _scaled(
    spec: Tabular, design: Design, first: _First, squares: Mapping[str, float]
) -> tuple[Design, NDArray[np.float64]]:
    """The design with its scales, and the sum of squares of each of its columns."""
    blocks: list[NumericColumn | LevelColumns] = []
    sizes = [float(first.rows)]
    for block in design.blocks:
        if isinstance(block, NumericColumn):
            total = squares[f"square/{block.column}"]
            scale = float(np.sqrt(total / first.rows)) if spec.standardize and total > 0.0 else 1.0
            blocks.append(NumericColumn(block.column, block.transform, block.center, scale))
            sizes.append(total / scale**2)
        else:
            blocks.append(block)
            sizes.extend(float(first.levels[block.column][level]) for level in block.levels)
    return Design(tuple(blocks)), np.array(sizes)
