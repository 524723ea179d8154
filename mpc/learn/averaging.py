"""Federated averaging of named arrays that each party's own training function makes.

McMahan et al., "Communication-efficient learning of deep networks from decentralized data" (AISTATS 2017), algorithm
1, with every party in every round: the weighted mean of quantised arrays, from exact integer sums. The weights, too,
are opened as a sum only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError, RangeError
from mpc.fixedpoint import Encoding
from mpc.learn.archive import FittedModel
from mpc.learn.data import Rows
from mpc.learn.regression_specs import ArraySpec, FederatedAverage
from mpc.primitives import Checkpoint, Program, Progress, Sum

__all__ = ["AveragedModel", "Trainer", "fit_average"]

Arrays = Mapping[str, NDArray[np.float64]]

_INT64_SAFE = 1 << 62


class Trainer(Protocol):
    """A party's own training function, for example a few epochs of PyTorch or scikit-learn."""

    def __call__(self, number: int, arrays: Arrays, data: Rows) -> tuple[Mapping[str, NDArray[Any]], int]:
        """Train on from `arrays` in round `number`; return the new arrays and their weight (usually the row count)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class AveragedModel(FittedModel):
    """Averaged arrays by name."""

    kind: ClassVar[str] = "federated_average"

    values: dict[str, NDArray[np.float64]]
    weight: int
    """Sum of the parties' weights in the last round."""

    def numbers(self) -> dict[str, NDArray[Any]]:
        """The arrays, under prefixed names."""
        return {f"array/{name}": values for name, values in self.values.items()}

    def description(self) -> dict[str, Any]:
        """The last weight."""
        return {"weight": self.weight}

    @classmethod
    def rebuild(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back."""
        return cls({n.removeprefix("array/"): v for n, v in arrays.items()}, int(description["weight"]))

    def explain(self) -> str:
        """What the model is."""
        sizes = ", ".join(f"{name} {'x'.join(map(str, v.shape)) or 'scalar'}" for name, v in self.values.items())
        return f"Averages over a total weight of {self.weight}: {sizes}."


def fit_average(
    spec: FederatedAverage,
    data: Rows,
    *,
    trainer: Trainer,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
) -> Program[AveragedModel]:
    """Average the parties' arrays round after round, starting from zeros.

    Reveals: to all parties, per round the sum of the weights and the weighted sum of the arrays.

    Raises:
        RangeError: An element leaves its array's declared magnitude and clipping was not asked for, or a weight its
            bound; names the array.
        PlanError: The training function returned other arrays than declared, or all weights are zero.
    """
    values = {a.name: np.zeros(a.shape) for a in spec.arrays}
    start, weight = 0, 0
    if checkpoint is not None:
        start, weight = int(checkpoint["round"][0]), int(checkpoint["round"][1])
        values = {a.name: checkpoint[f"array/{a.name}"].reshape(a.shape) for a in spec.arrays}
    for number in range(start, spec.rounds):
        made, own = trainer(number, {n: v.copy() for n, v in values.items()}, data)
        if set(made) != set(values):
            raise PlanError("", field="arrays", reason="the training function returned other arrays than declared")
        if not 0 <= own <= spec.weight_at_most:
            raise RangeError("", statistic="weight")
        arrays: dict[str, NDArray[Any]] = {"weight": np.array([own])}
        bounds = {"weight": spec.weight_at_most}
        for array in spec.arrays:
            arrays[f"array/{array.name}"] = _weighted(spec, array, np.asarray(made[array.name]), own)
            bounds[f"array/{array.name}"] = _encoding(spec, array).bound * spec.weight_at_most
        totals = yield Sum.of(f"average/{number}", arrays, bounds)
        assert totals is not None
        weight = int(totals["weight"][0])
        if weight == 0:
            raise PlanError("", reason="the parties' weights are all zero")
        for array in spec.arrays:
            mean = _encoding(spec, array).decode(totals[f"array/{array.name}"]) / weight
            values[array.name] = mean.reshape(array.shape)
        state = {f"array/{n}": v for n, v in values.items()}
        yield Checkpoint(state | {"round": np.array([number + 1, weight])})
        yield Progress(number + 1, spec.rounds, {"weight": float(weight)})
    return AveragedModel(values, weight)


def _encoding(spec: FederatedAverage, array: ArraySpec) -> Encoding:
    return Encoding(scale_bits=spec.scale_bits, range=array.magnitude)


def _weighted(spec: FederatedAverage, array: ArraySpec, made: NDArray[Any], weight: int) -> NDArray[Any]:
    """An array in fixed point times the integer weight: exact, so that the mean is that of the quantised arrays."""
    if made.shape != array.shape:
        raise PlanError("", array=array.name, reason=f"{array.name} has another shape than declared")
    reals = made.astype(np.float64)
    if spec.clip and not np.isnan(reals).any():
        reals = np.clip(reals, -array.magnitude, array.magnitude)
    encoding = _encoding(spec, array)
    encoded = encoding.encode(reals, statistic=array.name).reshape(-1)
    wide = encoding.bound * spec.weight_at_most >= _INT64_SAFE
    out: NDArray[Any] = (encoded.astype(object) if wide else encoded) * weight
    return out
