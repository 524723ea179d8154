"""Symmetric matrices as their upper triangles: half the values of a sum."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack_symmetric", "triangle_length", "unpack_symmetric"]


def triangle_length(width: int) -> int:
    """Values of a triangle.

    >>> triangle_length(140)
    9870
    """
    return width * (width + 1) // 2


def pack_symmetric(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper triangles (diagonal included) of symmetric matrices, shape `(..., w, w)` to `(..., w (w + 1) / 2)`."""
    rows, columns = np.triu_indices(matrices.shape[-1])
    return np.ascontiguousarray(matrices[..., rows, columns])


def unpack_symmetric(packed: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Symmetric matrices of packed triangles."""
    rows, columns = np.triu_indices(width)
    out = np.empty((*packed.shape[:-1], width, width))
    out[..., rows, columns] = packed
    out[..., columns, rows] = packed
    return out
