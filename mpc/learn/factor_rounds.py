"""ALS and iALS over encrypted sums: users are solved where they are, items from summed statistics.

Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets" (ICDM 2008); Zhou et al. (AAIM 2008) for
the weighted regularisation; Rendle et al., "Revisiting the performance of iALS" (arXiv 2110.14037) and "iALS++"
(arXiv 2110.14044) for the frequency scaling and the block updates.

Before every item update all users are solved exactly for the current items: that is free, since it is local. The item
update is written for the residual: with the summed Hessian H and residual gradient g of a block of coordinates, the
step solves (H + R) d = g - R w. A block of all coordinates is the classical alternation; the rounding of a round is
corrected by the next one instead of accumulating.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError
from mpc.fixedpoint import Encoding, range_for
from mpc.learn.admission import Admission, admit
from mpc.learn.data import Rows
from mpc.learn.factor_model import FactorModel
from mpc.learn.initial import initial_factors
from mpc.learn.interactions import Interactions, Ratings, load
from mpc.learn.optimizers import Optimizer
from mpc.learn.recommender_specs import Als, ImplicitAls
from mpc.learn.solver_choice import Schedule, choose
from mpc.learn.solving import Problem, item_statistics, solve_rows
from mpc.learn.symmetric import pack_symmetric, solve, triangle_length, unpack_symmetric
from mpc.learn.vocabulary import Discovery, Vocabulary
from mpc.primitives import Checkpoint, Program, Progress, Sum

__all__ = ["fit_factors"]

Matrix = NDArray[np.float64]

_SOLVED_AT_ONCE: Final = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Room:
    """What stays fixed during the rounds."""

    spec: Als | ImplicitAls
    label: str
    problem: Problem
    schedule: Schedule
    admission: Admission
    by_user: Ratings
    by_item: Ratings
    penalty: Matrix
    """Diagonal of the items' regularisation."""

    context: bytes
    """Bound into every sum: hashing the whole catalogue once is enough."""

    @classmethod
    def of(cls, spec: Als | ImplicitAls, label: str, admission: Admission, local: Interactions) -> Self:
        """Put the admitted rows and the schedule together."""
        problem = _problem(spec, admission)
        by_user = local.train.renumbered(local.numbered(admission.items), len(admission.items))
        return cls(
            spec=spec,
            label=label,
            problem=problem,
            schedule=choose(spec, problem.width, items=len(admission.items), entries=admission.entries),
            admission=admission,
            by_user=by_user,
            by_item=by_user.transposed(),
            penalty=problem.penalty(admission.users, admission.population),
            context=admission.context(),
        )

    def encoding(self, statistic: str) -> Encoding:
        """Declared ranges: products average at most `magnitude` over the entries that they sum."""
        spec, most = self.spec, float(self.admission.users.max())
        span = 1.0
        if isinstance(spec, Als) and spec.rating_range is not None:
            span = max(1.0, spec.rating_range[1] - spec.rating_range[0])
        limit = {
            "hessian": spec.magnitude * most,
            "gradient": spec.magnitude * span * most,
            "shared": spec.magnitude * self.admission.population,
            "loss": 4.0 * spec.magnitude * span**2 * self.admission.entries,
        }[statistic]
        return Encoding(scale_bits=spec.scale_bits, range=range_for(max(16.0, limit)))


def fit_factors(
    spec: Als | ImplicitAls,
    data: Rows,
    *,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
    discovery: Discovery | None = None,
) -> Program[FactorModel]:
    """Train ALS or iALS.

    Reveals: to all parties, what `admit` reveals; per round and admitted item the summed residual gradient and (but
    for the gradient solver) the summed products of the user coordinates that are updated; for iALS the summed
    products over all users; the summed squared residual. User vectors and biases stay at their party.

    Raises:
        RangeError: A statistic outgrew its declared magnitude; names the statistic.
    """
    explicit = isinstance(spec, Als)
    label = "als" if explicit else "ials"
    local = load(spec, data, implicit=not explicit)
    if checkpoint is None:
        if isinstance(spec, Als) and spec.rating_range is None:
            raise PlanError("", field="rating_range", reason="ratings need a declared range")
        admission = yield from admit(
            spec,
            local,
            label=label,
            minimum_users=spec.minimum_users,
            parties=parties,
            rating_range=spec.rating_range if isinstance(spec, Als) else None,
            discovery=discovery,
        )
    else:
        admission = Admission.resume(checkpoint)
    room = _Room.of(spec, label, admission, local)
    return (yield from _iterate(room, checkpoint))


def _iterate(room: _Room, checkpoint: Mapping[str, NDArray[Any]] | None) -> Program[FactorModel]:
    spec, admission = room.spec, room.admission
    gradual = room.schedule.solver == "gradient"
    adam = Optimizer("adam", (len(admission.items), room.problem.width), rate=spec.learning_rate)
    vectors, start = _initial(spec, room.problem, admission.items), 0
    if checkpoint is not None:
        vectors, start = checkpoint["vectors"], int(checkpoint["round"][0])
        if gradual:
            adam.resume(checkpoint)
    for number in range(start, room.schedule.rounds):
        vectors, loss = yield from _round(room, vectors, number, adam)
        state = {"vectors": vectors, "round": np.array([number + 1]), **admission.save()}
        yield Checkpoint(state | (adam.save() if gradual else {}))
        error = float(np.sqrt(max(0.0, loss) / admission.entries))
        yield Progress(number + 1, room.schedule.rounds, {"train_rmse": error})
    return FactorModel(
        vocabulary=admission.items,
        vectors=vectors,
        users=admission.users,
        problem=room.problem,
        rating_range=spec.rating_range if isinstance(spec, Als) else None,
    )


def _problem(spec: Als | ImplicitAls, admission: Admission) -> Problem:
    if isinstance(spec, Als):
        return Problem(
            biased=True,
            dimension=spec.dimension,
            ridge=spec.regularization,
            mean=admission.rating_mean,
            bias_ridge=spec.bias_regularization,
        )
    return Problem(
        biased=False,
        dimension=spec.dimension,
        ridge=spec.regularization,
        unobserved=spec.unobserved,
        exponent=spec.exponent,
    )


def _initial(spec: Als | ImplicitAls, problem: Problem, items: Vocabulary) -> Matrix:
    deviation = spec.deviation / np.sqrt(spec.dimension)
    factors = initial_factors(items.values, spec.dimension, seed=spec.seed, deviation=float(deviation))
    return np.column_stack([np.zeros(len(items)), factors]) if problem.biased else factors


def _round(room: _Room, vectors: Matrix, number: int, adam: Optimizer) -> Program[tuple[Matrix, float]]:
    """Solve the local users, open the items' statistics block by block, move the items."""
    block = room.schedule.blocks[number % len(room.schedule.blocks)]
    curvature = room.schedule.solver != "gradient"
    users = solve_rows(room.problem, room.by_user, vectors, others=len(vectors))
    moved, descent, loss = vectors.copy(), np.zeros_like(vectors), 0.0
    shared = np.zeros((room.problem.width, room.problem.width))
    stretches = list(_stretches(room, len(block), curvature=curvature))
    opened_loss = 0.0
    for part, (first, last) in enumerate(stretches):
        own = item_statistics(
            room.problem, room.by_item, users, vectors, stretch=(first, last), block=block, curvature=curvature
        )
        loss += own.loss
        reals = {"gradient": own.gradient}
        if own.hessian is not None:
            reals["hessian"] = own.hessian
        if part == 0 and not room.problem.biased:
            reals["shared"] = pack_symmetric(users.T @ users)
        if part == len(stretches) - 1:
            reals["loss"] = np.array([loss])
        opened = yield from _open(room, reals, f"{room.label}/{number}/{part}")
        if "shared" in opened:
            shared = room.problem.unobserved * unpack_symmetric(opened["shared"], room.problem.width)
        if "loss" in opened:
            opened_loss = float(opened["loss"][0])
        old = vectors[first:last]
        gradient = opened["gradient"].reshape(last - first, len(block))
        gradient = gradient - room.penalty[first:last, block] * old[:, block] - old @ shared[:, block]
        if not curvature:
            descent[first:last] = gradient
            continue
        hessian = opened["hessian"].reshape(last - first, -1)
        moved[first:last, block] += _steps(hessian, gradient, room.penalty[first:last, block], shared, block)
    return (moved if curvature else vectors + adam.step(descent)), opened_loss


def _stretches(room: _Room, width: int, *, curvature: bool) -> Iterator[tuple[int, int]]:
    """Items in blocks, so that no sum is longer than the spec's `block_values`."""
    values = width + (triangle_length(width) if curvature else 0)
    step = max(1, room.spec.block_values // values)
    items = len(room.admission.items)
    return ((first, min(first + step, items)) for first in range(0, items, step))


def _open(room: _Room, reals: Mapping[str, Matrix], label: str) -> Program[dict[str, Matrix]]:
    encodings = {name: room.encoding(name) for name in reals}
    arrays = {name: encodings[name].encode(values, statistic=name) for name, values in reals.items()}
    bounds = {name: encoding.bound for name, encoding in encodings.items()}
    totals = yield Sum.of(label, arrays, bounds, context=room.context)
    assert totals is not None
    return {name: encoding.decode(totals[name]) for name, encoding in encodings.items()}


def _steps(packed: Matrix, gradient: Matrix, penalty: Matrix, shared: Matrix, block: NDArray[np.int64]) -> Matrix:
    """Solve every item's block, a bounded number of items at a time."""
    out = np.empty_like(gradient)
    width = len(block)
    chunk = max(1, _SOLVED_AT_ONCE // (width * width))
    diagonal = np.arange(width)
    common = shared[np.ix_(block, block)]
    for first in range(0, len(out), chunk):
        last = first + chunk
        system = unpack_symmetric(packed[first:last], width)
        system += common
        system[:, diagonal, diagonal] += penalty[first:last]
        out[first:last] = solve(system, gradient[first:last][:, :, None])[:, :, 0]
    return out
