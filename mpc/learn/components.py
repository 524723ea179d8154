"""Principal components from one encrypted cross-product matrix."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError
from mpc.learn.archive import FittedModel
from mpc.learn.data import ArrayRows, Rows
from mpc.learn.design import Design, load_rows
from mpc.learn.linear import cross_products
from mpc.learn.preparing import Prepared, prepare
from mpc.learn.regression_specs import Pca
from mpc.learn.vocabulary import Discovery
from mpc.primitives import Checkpoint, Program, Progress

__all__ = ["PcaModel", "fit_pca"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PcaModel(FittedModel):
    """Principal components of the (standardised) columns."""

    kind: ClassVar[str] = "pca"

    design: Design
    mean: NDArray[np.float64]
    """Mean of each column of the design, without the constant."""

    components: NDArray[np.float64]
    """Unit vectors in the order of falling variance, shape `(components, columns)`."""

    explained_variance: NDArray[np.float64]
    total_variance: float
    rows: int

    @property
    def explained_variance_ratio(self) -> NDArray[np.float64]:
        """Share of the total variance along each component."""
        return self.explained_variance / self.total_variance

    def transform(self, data: Rows | Mapping[str, Any]) -> NDArray[np.float64]:
        """Coordinates of every complete row, shape `(rows, components)`."""
        rows = ArrayRows(data) if isinstance(data, Mapping) else data
        local = load_rows(self.design.features(), None, None, rows, held_out=False)
        matrix = self.design.rows_of(local).read(0, local.count)[:, 1:]
        return np.asarray((matrix - self.mean) @ self.components.T, dtype=np.float64)

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Means, components and variances."""
        return {"mean": self.mean, "components": self.components, "variance": self.explained_variance}

    def description(self) -> dict[str, Any]:
        """Everything else."""
        fields = {"rows": self.rows, "total_variance": self.total_variance}
        return fields | {"design": msgspec.to_builtins(self.design)}

    @classmethod
    def rebuild(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back."""
        return cls(
            design=msgspec.convert(description["design"], type=Design),
            mean=arrays["mean"],
            components=arrays["components"],
            explained_variance=arrays["variance"],
            total_variance=float(description["total_variance"]),
            rows=int(description["rows"]),
        )

    def explain(self) -> str:
        """What the model is."""
        shares = ", ".join(f"{share:.1%}" for share in self.explained_variance_ratio.tolist())
        return f"{len(self.components)} principal components of {len(self.mean)} columns, {self.rows} rows: {shares}."


def fit_pca(
    spec: Pca,
    data: Rows,
    *,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
    discovery: Discovery | None = None,
) -> Program[PcaModel]:
    """Find principal components.

    Reveals: to all parties, what `prepare` reveals, and the cross products of all columns.
    """
    local = load_rows(spec.features, None, spec.holdout, data, held_out=False)
    if checkpoint is None:
        prepared = yield from prepare(
            spec, spec.features, local, label="pca", parties=parties, penalized=True, discovery=discovery
        )
        yield Checkpoint(prepared.state())
        yield Progress(1, 2)
    else:
        prepared = Prepared.resume(checkpoint)
    if spec.components >= prepared.design.width:
        raise PlanError("", field="components", reason="more components than columns")
    products = yield from cross_products(spec, prepared, prepared.design.rows_of(local), None, "pca/products")
    yield Progress(2, 2)
    count = prepared.rows
    mean = products[0, 1:] / count
    covariance = (products[1:, 1:] - count * np.outer(mean, mean)) / (count - 1)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(-values, kind="stable")[: spec.components]
    components = vectors.T[order]
    # A component's sign is free; its largest coordinate is made positive.
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return PcaModel(
        design=prepared.design,
        mean=mean,
        components=components * np.sign(largest),
        explained_variance=values[order],
        total_variance=float(np.trace(covariance)),
        rows=count,
    )
