"""First-order updates of public parameters from opened gradients; their state is public too, and equal everywhere."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Optimizer"]

Array = NDArray[np.float64]


class Optimizer:
    """Descent along opened gradients.

    `adam` is algorithm 1 of Kingma, Ba, "Adam: a method for stochastic optimization" (ICLR 2015).
    """

    def __init__(
        self, kind: Literal["sgd", "momentum", "adam"], shape: tuple[int, ...], *, rate: float, momentum: float = 0.9
    ) -> None:
        self._kind = kind
        self._rate = rate
        self._momentum = momentum
        self._first = np.zeros(shape)
        self._second = np.zeros(shape)
        self._steps = 0

    def step(self, descent: Array) -> Array:
        """The change of the parameters for a descent direction (minus the gradient)."""
        self._steps += 1
        if self._kind == "sgd":
            return self._rate * descent
        if self._kind == "momentum":
            self._first = self._momentum * self._first + descent
            return self._rate * self._first
        self._first = 0.9 * self._first + 0.1 * descent
        self._second = 0.999 * self._second + 0.001 * np.square(descent)
        mean = self._first / (1.0 - 0.9**self._steps)
        spread = self._second / (1.0 - 0.999**self._steps)
        return self._rate * mean / (np.sqrt(spread) + 1e-8)

    def save(self) -> dict[str, NDArray[Any]]:
        """State for a checkpoint."""
        return {"first": self._first, "second": self._second, "steps": np.array([self._steps])}

    def resume(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        self._first, self._second = state["first"].copy(), state["second"].copy()
        self._steps = int(state["steps"][0])
