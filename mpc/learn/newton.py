"""Generalised linear models by Newton's method: each round opens one summed Hessian, gradient and loss.

With a canonical link, Newton's method and iteratively reweighted least squares are the same (McCullagh, Nelder,
"Generalized Linear Models", 2nd ed., section 2.5). Every statistic is a sum over rows, so the parties' sums add up to
those of the pooled data, and so do the iterates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError
from mpc.fixedpoint import Encoding, range_for
from mpc.learn.data import Rows
from mpc.learn.design import DesignRows, load_rows
from mpc.learn.families import Bernoulli, Family, Poisson
from mpc.learn.preparing import Prepared, prepare
from mpc.learn.regression import RegressionModel
from mpc.learn.regression_specs import LogisticRegression, PoissonRegression
from mpc.learn.symmetric import inverse, pack_symmetric, solve, unpack_symmetric
from mpc.learn.vocabulary import Discovery
from mpc.primitives import Checkpoint, Program, Progress, Sum

__all__ = ["fit_newton"]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Newtonian = LogisticRegression | PoissonRegression

_STRETCH = 8192
# The fixed point of the iteration depends on the gradient alone, which is short: it is summed more finely.
_FINER = {"hessian": 0, "gradient": 16, "loss": 16}
_ALIAS_TOLERANCE = 1e-9
_SEPARATION_ROUNDS = 10
_SEPARATION_STEP = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    hessian: Matrix
    gradient: Vector
    loss: float

    def save(self) -> dict[str, NDArray[Any]]:
        packed = pack_symmetric(self.hessian)
        return {"hessian": packed, "gradient": self.gradient, "loss": np.array([self.loss])}

    @classmethod
    def resume(cls, state: Mapping[str, NDArray[Any]]) -> "_Opened":
        gradient = state["gradient"]
        return cls(unpack_symmetric(state["hessian"], len(gradient)), gradient, float(state["loss"][0]))


@dataclass(slots=True, eq=False)
class _State:
    """Where the iteration stands; made of opened totals only, so equal at all parties."""

    beta: Vector
    """The point that the next round evaluates."""

    best: Vector
    """The last accepted point."""

    best_loss: float
    rounds: int
    active: NDArray[np.bool_]
    """Columns that are not linear combinations of earlier ones."""

    converged: bool = False
    opened: _Opened | None = None
    """The last opened statistics."""

    def save(self) -> dict[str, NDArray[Any]]:
        numbers = np.array([self.best_loss, float(self.rounds), float(self.converged)])
        out = {"beta": self.beta, "best": self.best, "numbers": numbers, "active": self.active}
        return out | (self.opened.save() if self.opened else {})

    @classmethod
    def resume(cls, state: Mapping[str, NDArray[Any]]) -> "_State":
        loss, rounds, converged = state["numbers"].tolist()
        return cls(
            beta=state["beta"],
            best=state["best"],
            best_loss=loss,
            rounds=int(rounds),
            active=state["active"],
            converged=bool(converged),
            opened=_Opened.resume(state),
        )


def fit_newton(
    spec: Newtonian,
    data: Rows,
    *,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
    discovery: Discovery | None = None,
) -> Program[RegressionModel]:
    """Fit a logistic or Poisson regression.

    Reveals: to all parties, what `prepare` reveals, and per round the weighted cross products of all columns, the
    gradient and the loss at that round's coefficients.

    Raises:
        PlanError: Too few rows for the columns, or the outcome is separated and nothing is done about it.
        RangeError: A target is outside the family's support.
    """
    label = "logistic" if isinstance(spec, LogisticRegression) else "poisson"
    family: Family = Bernoulli() if isinstance(spec, LogisticRegression) else Poisson(spec.target_maximum)
    local = load_rows(spec.features, spec.target, spec.holdout, data, held_out=False)
    assert local.target is not None
    family.check(local.target, spec.target)
    if checkpoint is None:
        prepared = yield from prepare(
            spec,
            spec.features,
            local,
            label=label,
            parties=parties,
            penalized=spec.regularization > 0,
            target_magnitude=1.0 if label == "logistic" else spec.target_maximum,  # type: ignore[union-attr]
            discovery=discovery,
        )
        beta = np.zeros(prepared.design.width)
        beta[0] = family.start(prepared.target_mean)
        state = _State(beta, beta.copy(), np.inf, 0, np.ones(len(beta), dtype=bool))
    else:
        prepared, state = Prepared.resume(checkpoint), _State.resume(checkpoint)
    rows = prepared.design.rows_of(local)
    return (yield from _iterate(spec, family, prepared, rows, local.target, state, label))


def _iterate(
    spec: Newtonian, family: Family, prepared: Prepared, rows: DesignRows, target: Vector, state: _State, label: str
) -> Program[RegressionModel]:
    firth = isinstance(spec, LogisticRegression) and spec.bias_reduction
    penalty = np.full(prepared.design.width, spec.regularization)
    penalty[0] = 0.0
    while state.rounds < spec.rounds and not state.converged:
        name = f"{label}/newton/{state.rounds}"
        state.opened = opened = yield from _evaluate(spec, family, prepared, rows, target, state.beta, name)
        if state.rounds == 0 and spec.regularization == 0.0:
            state.active = ~aliased(opened.hessian)
        state.rounds += 1
        loss = opened.loss + 0.5 * float(penalty @ state.beta**2)
        hessian = _regular(opened.hessian, penalty, state.active)
        gradient = opened.gradient - penalty * state.beta
        if firth:
            loss -= 0.5 * float(np.linalg.slogdet(hessian)[1])
            extra = _leverage_gradient(family, rows, state.beta, inverse(hessian))
            gradient = gradient + (yield from _open_gradient(spec, prepared, extra, f"{name}/leverage"))
        if loss > state.best_loss + 1e-9 * (1.0 + abs(state.best_loss)):
            # The step went too far: go back half way. Its statistics are not used for a new direction.
            state.beta = 0.5 * (state.beta + state.best)
        else:
            step = np.where(state.active, solve(hessian, np.where(state.active, gradient, 0.0)), 0.0)
            state.best, state.best_loss = state.beta, loss
            state.beta = state.beta + step
            state.converged = bool(np.abs(step).max() <= spec.tolerance)
            _refuse_separation(spec, prepared, state, step, firth=firth)
        yield Checkpoint({**prepared.state(), **state.save()})
        yield Progress(state.rounds, spec.rounds, {"loss": loss / prepared.rows})
    return _model(spec, family, prepared, state, penalty)


def _model(spec: Newtonian, family: Family, prepared: Prepared, state: _State, penalty: Vector) -> RegressionModel:
    """The fitted model; its covariance is the inverse of the last opened Hessian."""
    assert state.opened is not None
    covariance = inverse(_regular(state.opened.hessian, penalty, state.active)) * np.outer(state.active, state.active)
    return RegressionModel(
        family=family.name,
        design=prepared.design,
        beta=state.beta,
        covariance=covariance,
        active=state.active,
        target=spec.target,
        rows=prepared.rows,
        left_out=prepared.left_out,
        regularization=spec.regularization,
        loss=state.opened.loss,
        degrees=None,
        rounds=state.rounds,
        converged=state.converged,
    )


def _regular(hessian: Matrix, penalty: Vector, active: NDArray[np.bool_]) -> Matrix:
    """The penalised Hessian with a unit row and column in place of each column that is left out."""
    out = np.where(np.outer(active, active), hessian + np.diag(penalty), 0.0)
    out[~active, ~active] = 1.0
    return out


def aliased(hessian: Matrix) -> NDArray[np.bool_]:
    """Columns that are linear combinations of earlier ones: what remains of their square after elimination is nil."""
    work, out = hessian.copy(), np.zeros(len(hessian), dtype=bool)
    original = hessian.diagonal().copy()
    for column in range(len(work)):
        if work[column, column] <= _ALIAS_TOLERANCE * max(original[column], 1e-300) or original[column] <= 0.0:
            out[column] = True
            continue
        row = work[column] / work[column, column]
        work[column + 1 :] -= np.outer(work[column + 1 :, column], row)
    return out


def _refuse_separation(spec: Newtonian, prepared: Prepared, state: _State, step: Vector, *, firth: bool) -> None:
    """Under separation Newton's steps settle near 1 instead of shrinking (Albert, Anderson, Biometrika 71(1), 1984)."""
    if spec.regularization > 0 or firth or state.rounds < _SEPARATION_ROUNDS:
        return
    worst = int(np.abs(step).argmax())
    if abs(step[worst]) > _SEPARATION_STEP:
        feature = ("the intercept", *prepared.design.names)[worst]
        raise PlanError(
            "",
            feature=feature,
            reason=f"the estimate of {feature} is infinite: it separates the outcome",
            instead="regularization > 0, or bias_reduction = true",
        )


def _evaluate(
    spec: Newtonian, family: Family, prepared: Prepared, rows: DesignRows, target: Vector, beta: Vector, label: str
) -> Program[_Opened]:
    width = prepared.design.width
    hessian, gradient, loss = np.zeros((width, width)), np.zeros(width), 0.0
    for start in range(0, len(rows), _STRETCH):
        design, goal = rows.read(start, start + _STRETCH), target[start : start + _STRETCH]
        eta = design @ beta
        mean = family.mean(eta)
        hessian += (design * family.weight(mean)[:, None]).T @ design
        gradient += design.T @ (goal - mean)
        loss += family.loss(goal, eta)
    largest = float(prepared.squares.max())
    reach = float(np.abs(beta) @ np.sqrt(prepared.rows * prepared.squares))
    limits = family.bounds(float(prepared.rows), largest, reach)
    parts = {"hessian": pack_symmetric(hessian), "gradient": gradient, "loss": np.array([loss])}
    encodings = {
        name: Encoding(scale_bits=spec.scale_bits + _FINER[name], range=range_for(1.01 * limit + 1.0))
        for name, limit in zip(parts, limits, strict=True)
    }
    arrays = {name: encodings[name].encode(part, statistic=name) for name, part in parts.items()}
    totals = yield Sum.of(label, arrays, {n: e.bound for n, e in encodings.items()}, context=prepared.context())
    assert totals is not None
    opened = {name: encodings[name].decode(totals[name]) for name in parts}
    return _Opened(unpack_symmetric(opened["hessian"], width), opened["gradient"], float(opened["loss"][0]))


def _leverage_gradient(family: Family, rows: DesignRows, beta: Vector, spread: Matrix) -> Vector:
    """Firth's correction of the gradient: sum of h (1/2 - m) x with h the leverages (Heinze, Schemper 2002)."""
    out = np.zeros(len(beta))
    for start in range(0, len(rows), _STRETCH):
        design = rows.read(start, start + _STRETCH)
        mean = family.mean(design @ beta)
        leverage = family.weight(mean) * np.einsum("ij,jk,ik->i", design, spread, design, optimize=True)
        out += design.T @ (leverage * (0.5 - mean))
    return out


def _open_gradient(spec: Newtonian, prepared: Prepared, local: Vector, label: str) -> Program[Vector]:
    limit = float(np.sqrt(prepared.rows * prepared.squares.max()))
    bits = spec.scale_bits + _FINER["gradient"]
    encoding = Encoding(scale_bits=bits, range=range_for(1.01 * limit + 1.0))
    values = encoding.encode(local, statistic="leverage gradient")
    totals = yield Sum.of(label, {"gradient": values}, encoding.bound, context=prepared.context())
    assert totals is not None
    return encoding.decode(totals["gradient"])
