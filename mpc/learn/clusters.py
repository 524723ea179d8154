"""k-means by Lloyd's algorithm (IEEE Trans. Inf. Theory 28(2), 1982) over encrypted counts and sums."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.fixedpoint import Encoding, range_for
from mpc.learn.archive import FittedModel
from mpc.learn.data import ArrayRows, Rows
from mpc.learn.design import Design, DesignRows, load_rows
from mpc.learn.initial import initial_factors
from mpc.learn.preparing import Prepared, prepare
from mpc.learn.regression_specs import KMeans
from mpc.learn.vocabulary import Discovery
from mpc.primitives import Checkpoint, Program, Progress, Sum

__all__ = ["ClusterModel", "fit_clusters"]

Matrix = NDArray[np.float64]

_STRETCH = 8192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterModel(FittedModel):
    """Centres of clusters."""

    kind: ClassVar[str] = "k_means"

    design: Design
    standardized_centers: Matrix
    """Shape `(clusters, columns)`."""

    counts: NDArray[np.int64]
    """Rows of each cluster over all parties, when the centres were last moved."""

    inertia: float
    """Sum of squared distances of all rows to the centres before the last move."""

    @property
    def centers(self) -> Matrix:
        """Centres in the units of the table (after the declared transforms)."""
        return self.standardized_centers * self.design.scales() + self.design.centers()

    def predict(self, data: Rows | Mapping[str, Any]) -> NDArray[np.int64]:
        """The nearest centre of every complete row."""
        rows = ArrayRows(data) if isinstance(data, Mapping) else data
        local = load_rows(self.design.features(), None, None, rows, held_out=False)
        design = self.design.rows_of(local)
        parts = [nearest(block, self.standardized_centers)[0] for block in _blocks(design)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Centres and counts."""
        return {"centers": self.standardized_centers, "counts": self.counts}

    def description(self) -> dict[str, Any]:
        """Everything else."""
        return {"inertia": self.inertia, "design": msgspec.to_builtins(self.design)}

    @classmethod
    def rebuild(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back."""
        return cls(
            design=msgspec.convert(description["design"], type=Design),
            standardized_centers=arrays["centers"],
            counts=arrays["counts"],
            inertia=float(description["inertia"]),
        )

    def explain(self) -> str:
        """What the model is."""
        return f"{len(self.counts)} clusters of {int(self.counts.sum())} rows over {len(self.design.names)} columns."


def _blocks(design: DesignRows) -> list[Matrix]:
    return [design.read(start, start + _STRETCH)[:, 1:] for start in range(0, len(design), _STRETCH)]


def nearest(rows: Matrix, centers: Matrix) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Index of and squared distance to the nearest centre of each row."""
    distance = np.square(centers).sum(axis=1)[None, :] - 2.0 * rows @ centers.T
    best = distance.argmin(axis=1)
    least = np.take_along_axis(distance, best[:, None], axis=1)[:, 0] + np.square(rows).sum(axis=1)
    return best, np.maximum(least, 0.0)


def fit_clusters(
    spec: KMeans,
    data: Rows,
    *,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
    discovery: Discovery | None = None,
) -> Program[ClusterModel]:
    """Cluster rows. A cluster with too few rows is never summed: its centre moves beside that of the largest.

    Reveals: to all parties, what `prepare` reveals; per iteration the number of rows of every cluster, the summed
    squared distance, and the sums of the columns over every cluster that has at least `minimum_rows` rows.
    """
    local = load_rows(spec.features, None, spec.holdout, data, held_out=False)
    if checkpoint is None:
        prepared = yield from prepare(
            spec, spec.features, local, label="kmeans", parties=parties, penalized=True, discovery=discovery
        )
    else:
        prepared = Prepared.resume(checkpoint)
    width = prepared.design.width - 1
    centers = initial_factors(np.arange(spec.clusters), width, seed=spec.seed, deviation=1.0)
    centers = centers * np.sqrt(prepared.squares[1:] / prepared.rows)
    counts, inertia, start, settled = np.zeros(spec.clusters, dtype=np.int64), 0.0, 0, False
    if checkpoint is not None:
        centers, counts = checkpoint["centers"], checkpoint["counts"]
        inertia, start, settled = checkpoint["inertia"][0], int(checkpoint["round"][0]), bool(checkpoint["round"][1])
    rows = prepared.design.rows_of(local)
    for number in range(start, spec.iterations):
        if settled:
            break
        moved, counts, inertia = yield from _iteration(spec, prepared, rows, centers, number)
        settled = bool(np.array_equal(moved, centers))
        centers = moved
        state = {"centers": centers, "counts": counts, "inertia": np.array([inertia])}
        yield Checkpoint({**prepared.state(), **state, "round": np.array([number + 1, int(settled)])})
        yield Progress(number + 1, spec.iterations, {"inertia": inertia / prepared.rows})
    return ClusterModel(design=prepared.design, standardized_centers=centers, counts=counts, inertia=float(inertia))


def _iteration(
    spec: KMeans, prepared: Prepared, rows: DesignRows, centers: Matrix, number: int
) -> Program[tuple[Matrix, NDArray[np.int64], float]]:
    count, total, distance = np.zeros(spec.clusters, dtype=np.int64), np.zeros(centers.shape), 0.0
    for block in _blocks(rows):
        best, least = nearest(block, centers)
        count += np.bincount(best, minlength=spec.clusters)
        np.add.at(total, best, block)
        distance += float(least.sum())
    reach = float(prepared.squares[1:].sum() + prepared.rows * np.square(centers).sum(axis=1).max())
    spread = Encoding(scale_bits=spec.scale_bits, range=range_for(2.02 * reach + 1.0))
    arrays: dict[str, NDArray[Any]] = {"counts": count}
    arrays["inertia"] = spread.encode(np.array([distance]), statistic="inertia")
    bounds = {"counts": int(range_for(float(prepared.rows))), "inertia": spread.bound}
    opened = yield Sum.of(f"kmeans/{number}/counts", arrays, bounds, context=prepared.context())
    assert opened is not None
    counts = opened["counts"].astype(np.int64)
    large = np.flatnonzero(counts >= spec.minimum_rows)
    moved = centers.copy()
    if len(large):
        # Cauchy-Schwarz: a sum over any rows is at most the root of rows times the column's sum of squares.
        limit = float(np.sqrt(prepared.rows * prepared.squares.max()))
        encoding = Encoding(scale_bits=spec.scale_bits, range=range_for(1.01 * limit + 1.0))
        values = encoding.encode(total[large], statistic="cluster sums")
        sums = yield Sum.of(f"kmeans/{number}/sums", {"sums": values}, encoding.bound, context=prepared.context())
        assert sums is not None
        moved[large] = encoding.decode(sums["sums"]).reshape(len(large), -1) / counts[large, None]
        small = np.flatnonzero(counts < spec.minimum_rows)
        beside = initial_factors(small, centers.shape[1], seed=spec.seed + number + 1, deviation=0.1)
        moved[small] = moved[int(counts.argmax())] + beside * np.sqrt(prepared.squares[1:] / prepared.rows)
    return moved, counts, float(spread.decode(opened["inertia"])[0])
