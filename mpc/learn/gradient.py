"""Gradient factorisation: users step where they are, items move along encrypted sums of gradients.

FedMF (Chai, Wang, Chen, Yang, "Secure federated matrix factorization", arXiv 1906.05108) with a sum that opens only
the total, where FedMF decrypts at every user; with the momentum or Adam state public at the parties; and with exact
user solutions in place of gradient steps, if wanted. Ratings are taken minus their mean over all parties:
r = mean + p.q, minimising the squared error and `regularization` times the squared length of every vector.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError
from mpc.fixedpoint import Encoding, range_for
from mpc.learn.admission import Admission, admit
from mpc.learn.data import Rows
from mpc.learn.factor_model import FactorModel
from mpc.learn.initial import initial_factors
from mpc.learn.interactions import Ratings, load
from mpc.learn.optimizers import Optimizer
from mpc.learn.recommender_specs import GradientFactorization
from mpc.learn.solving import Problem, item_statistics, solve_rows
from mpc.learn.vocabulary import Discovery
from mpc.primitives import Checkpoint, Program, Progress, Sum

__all__ = ["fit_gradient"]

Matrix = NDArray[np.float64]


def fit_gradient(
    spec: GradientFactorization,
    data: Rows,
    *,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
    discovery: Discovery | None = None,
) -> Program[FactorModel]:
    """Train by summed item gradients.

    Reveals: to all parties, what `admit` reveals; per round the summed gradient of every admitted item and the summed
    squared residual. User vectors stay at their party (and in its own checkpoints).
    """
    if spec.rating_range is None:
        raise PlanError("", field="rating_range", reason="ratings need a declared range")
    local = load(spec, data, implicit=False)
    if checkpoint is None:
        admission = yield from admit(
            spec,
            local,
            label="gradient",
            minimum_users=spec.minimum_users,
            parties=parties,
            rating_range=spec.rating_range,
            discovery=discovery,
        )
    else:
        admission = Admission.resume(checkpoint)
    problem = Problem(
        biased=False, dimension=spec.dimension, ridge=spec.regularization, mean=admission.rating_mean, exponent=0.0
    )
    by_user = local.train.renumbered(local.numbered(admission.items), len(admission.items))
    by_item = by_user.transposed()
    deviation = float(spec.deviation / np.sqrt(spec.dimension))
    items = initial_factors(admission.items.values, spec.dimension, seed=spec.seed, deviation=deviation)
    # Items and users of the same name start differently: the users' seed is shifted.
    users = initial_factors(local.users, spec.dimension, seed=spec.seed ^ 1 << 62, deviation=deviation)
    optimizer = Optimizer(spec.optimizer, items.shape, rate=spec.learning_rate, momentum=spec.momentum)
    start = 0
    if checkpoint is not None:
        items, users, start = checkpoint["vectors"], checkpoint["people"], int(checkpoint["round"][0])
        optimizer.resume(checkpoint)
    for number in range(start, spec.iterations):
        users = _user_step(spec, problem, by_user, users, items)
        gradient, loss = yield from _item_gradient(spec, problem, by_item, users, items, admission, number)
        items = items + optimizer.step(gradient - spec.regularization * items)
        people = users if spec.user_step == "gradient" else np.empty((0, spec.dimension))
        state = {"vectors": items, "people": people, "round": np.array([number + 1])}
        yield Checkpoint({**admission.save(), **optimizer.save(), **state})
        metrics = {"train_rmse": float(np.sqrt(max(0.0, loss) / admission.entries))}
        yield Progress(number + 1, spec.iterations, metrics)
    return FactorModel(
        vocabulary=admission.items,
        vectors=items,
        users=admission.users,
        problem=problem,
        rating_range=spec.rating_range,
    )


def _user_step(spec: GradientFactorization, problem: Problem, by_user: Ratings, users: Matrix, items: Matrix) -> Matrix:
    if spec.user_step == "exact":
        return solve_rows(problem, by_user, items, others=len(items))
    # Without biases users and items play the same part.
    own = item_statistics(
        problem,
        by_user,
        items,
        users,
        stretch=(0, by_user.height),
        block=np.arange(spec.dimension),
        curvature=False,
    )
    return users + spec.learning_rate * (own.gradient - spec.regularization * users)


def _item_gradient(
    spec: GradientFactorization,
    problem: Problem,
    by_item: Ratings,
    users: Matrix,
    items: Matrix,
    admission: Admission,
    number: int,
) -> Program[tuple[Matrix, float]]:
    """Open the gradients of all items, a bounded number of items per sum."""
    assert spec.rating_range is not None
    span = spec.rating_range[1] - spec.rating_range[0]
    limits = {
        "gradient": spec.magnitude * float(admission.users.max()),
        "loss": spec.magnitude * span**2 * admission.entries,
    }
    encodings = {
        name: Encoding(scale_bits=spec.scale_bits, range=range_for(max(16.0, limit))) for name, limit in limits.items()
    }
    out, loss = np.empty_like(items), 0.0
    step = max(1, spec.block_values // spec.dimension)
    for part, first in enumerate(range(0, len(items), step)):
        last = min(first + step, len(items))
        own = item_statistics(
            problem, by_item, users, items, stretch=(first, last), block=np.arange(spec.dimension), curvature=False
        )
        reals = {"gradient": own.gradient, "loss": np.array([own.loss])}
        arrays = {name: encodings[name].encode(values, statistic=name) for name, values in reals.items()}
        bounds = {name: encoding.bound for name, encoding in encodings.items()}
        totals = yield Sum.of(f"gradient/{number}/{part}", arrays, bounds, context=admission.context())
        assert totals is not None
        out[first:last] = encodings["gradient"].decode(totals["gradient"]).reshape(last - first, -1)
        loss += float(encodings["loss"].decode(totals["loss"])[0])
    return out, loss
