"""Least squares and ridge regression from one encrypted cross-product matrix.

The normal equations of the standardised design; their condition number is that of the correlation matrix, and the
opened numbers are good to 2^-(scale_bits + 1) per party, so coefficients agree with a pooled fit to that precision.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import RangeError
from mpc.fixedpoint import Encoding, range_for
from mpc.learn.data import Rows
from mpc.learn.design import DesignRows, load_rows
from mpc.learn.newton import aliased
from mpc.learn.preparing import Prepared, prepare
from mpc.learn.regression import RegressionModel
from mpc.learn.regression_specs import LinearRegression, Tabular
from mpc.learn.symmetric import inverse, pack_symmetric, unpack_symmetric
from mpc.learn.vocabulary import Discovery
from mpc.primitives import Checkpoint, Program, Progress, Sum

__all__ = ["cross_products", "fit_linear"]

_STRETCH = 8192


def cross_products(
    spec: Tabular, prepared: Prepared, rows: DesignRows, target: NDArray[np.float64] | None, label: str
) -> Program[NDArray[np.float64]]:
    """The summed cross products of the design (and the target as its last column), shape `(width, width)`.

    Every cell is at most the largest sum of squares of a column, by Cauchy-Schwarz.

    Reveals: to all parties, these cross products.
    """
    width = prepared.design.width + (target is not None)
    local = np.zeros((width, width))
    for start in range(0, len(rows), _STRETCH):
        design = rows.read(start, start + _STRETCH)
        if target is not None:
            design = np.column_stack([design, target[start : start + _STRETCH]])
        local += design.T @ design
    largest = max(float(prepared.squares.max()), float(prepared.rows))
    encoding = Encoding(scale_bits=spec.scale_bits, range=range_for(1.01 * largest + 1.0))
    values = encoding.encode(pack_symmetric(local), statistic="cross products")
    totals = yield Sum.of(label, {"products": values}, encoding.bound, context=prepared.context())
    assert totals is not None
    return unpack_symmetric(encoding.decode(totals["products"]), width)


def fit_linear(
    spec: LinearRegression,
    data: Rows,
    *,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
    discovery: Discovery | None = None,
) -> Program[RegressionModel]:
    """Fit a linear regression.

    Reveals: to all parties, what `prepare` reveals, and the cross products of all columns and the target.
    """
    local = load_rows(spec.features, spec.target, spec.holdout, data, held_out=False)
    assert local.target is not None
    if local.count and not spec.target_minimum <= local.target.min() <= local.target.max() <= spec.target_maximum:
        raise RangeError("", column=spec.target)
    if checkpoint is None:
        prepared = yield from prepare(
            spec,
            spec.features,
            local,
            label="linear",
            parties=parties,
            penalized=spec.regularization > 0,
            target_magnitude=max(abs(spec.target_minimum), abs(spec.target_maximum)),
            scale_target=True,
            discovery=discovery,
        )
        yield Checkpoint(prepared.state())
        yield Progress(1, 2)
    else:
        prepared = Prepared.resume(checkpoint)
    goal = (local.target - prepared.target_mean) / prepared.target_scale
    products = yield from cross_products(spec, prepared, prepared.design.rows_of(local), goal, "linear/products")
    yield Progress(2, 2)
    return solve_linear(spec, prepared, products)


def solve_linear(spec: LinearRegression, prepared: Prepared, products: NDArray[np.float64]) -> RegressionModel:
    """The fit of summed cross products."""
    width = prepared.design.width
    gram, moment, total = products[:width, :width], products[:width, width], float(products[width, width])
    active = ~aliased(gram) if spec.regularization == 0.0 else np.ones(width, dtype=bool)
    penalty = np.full(width, spec.regularization)
    penalty[0] = 0.0
    kept = np.flatnonzero(active)
    inner = inverse((gram + np.diag(penalty))[np.ix_(kept, kept)])
    beta, covariance = np.zeros(width), np.zeros((width, width))
    beta[kept] = inner @ moment[kept]
    residual = max(0.0, total - 2.0 * float(beta @ moment) + float(beta @ gram @ beta))
    degrees = prepared.rows - len(kept)
    scale = prepared.target_scale
    covariance[np.ix_(kept, kept)] = inner * (residual / degrees * scale**2)
    spread = total - float(products[0, width]) ** 2 / prepared.rows
    beta = beta * scale
    beta[0] += prepared.target_mean
    return RegressionModel(
        family="gaussian",
        design=prepared.design,
        beta=beta,
        covariance=covariance,
        active=active,
        target=spec.target,
        rows=prepared.rows,
        left_out=prepared.left_out,
        regularization=spec.regularization,
        loss=residual * scale**2,
        degrees=degrees,
        rounds=1,
        converged=True,
        r_squared=1.0 - residual / spread if spread > 0 else None,
    )
