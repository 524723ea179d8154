"""Symmetric matrices: their upper triangles, half the values of a sum, and the equations that they make."""

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError

__all__ = ["inverse", "pack_symmetric", "solve", "triangle_length", "unpack_symmetric"]


def solve(systems: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve linear systems; a singular one is a `PlanError`."""
    try:
        return np.asarray(np.linalg.solve(systems, right), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise PlanError("", reason="the equations are singular", instead="a larger regularization") from None


def inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert a matrix; a singular one is a `PlanError`."""
    return solve(matrix, np.eye(len(matrix)))


def triangle_length(width: int) -> int:
    """Values of a triangle.

    >>> triangle_length(140)
    9870
    """
    return width * (width + 1) // 2


def pack_symmetric(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper triangles (diagonal included) of symmetric matrices, shape `(..., w, w)` to `(..., w (w + 1) / 2)`."""
    width = matrices.shape[-1]
    rows, columns = np.triu_indices(width)
    flat = matrices.reshape(*matrices.shape[:-2], width * width)
    packed: NDArray[np.float64] = np.take(flat, rows * width + columns, axis=-1)
    return packed


def unpack_symmetric(packed: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Symmetric matrices of packed triangles."""
    at = np.arange(width)
    low, high = np.minimum.outer(at, at), np.maximum.outer(at, at)
    places = low * width - low * (low - 1) // 2 + (high - low)
    square: NDArray[np.float64] = np.take(packed, places.reshape(-1), axis=-1)
    return square.reshape(*packed.shape[:-1], width, width)
