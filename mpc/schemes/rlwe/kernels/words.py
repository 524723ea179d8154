"""Instructions on 64-bit words that Python has no name for, and addresses."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["address", "high_product", "ones", "transpose"]


@intrinsic  # type: ignore[untyped-decorator]
def high_product(_typing: Any, x: Any, y: Any) -> Any:  # noqa: ARG001
    """The upper 64 bits of a product of unsigned words."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def ones(_typing: Any, x: Any) -> Any:  # noqa: ARG001
    """The number of one bits of an unsigned word."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def transpose(_typing: Any, source: Any, source_stride: Any, target: Any, target_stride: Any) -> Any:  # noqa: ARG001
    """Copy 8 x 8 words, rows becoming columns; addresses and strides in bytes.

    Three rounds of pairwise shuffles on rows of eight words.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        source, source_stride, target, target_stride = arguments
        word, index = ir.IntType(64), ir.IntType(32)
        row = ir.VectorType(word, 8)

        def place(base: Any, stride: Any, number: int) -> Any:
            offset = builder.mul(stride, ir.Constant(word, number))
            return builder.inttoptr(builder.add(base, offset), row.as_pointer())

        def shuffle(x: Any, y: Any, lanes: list[int]) -> Any:
            return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(index, 8), lanes))

        rows = [builder.load(place(source, source_stride, i), align=8) for i in range(8)]
        for span in (1, 2, 4):
            keep = [i if i & span == 0 else i - span + 8 for i in range(8)]
            take = [i + span if i & span == 0 else i + 8 for i in range(8)]
            for i in (i for i in range(8) if i & span == 0):
                low, high = rows[i], rows[i + span]
                rows[i], rows[i + span] = shuffle(low, high, keep), shuffle(low, high, take)
        for i in range(8):
            builder.store(rows[i], place(target, target_stride, i), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


@njit(nogil=True)  # type: ignore[untyped-decorator]
def address(array: NDArray[np.uint64]) -> int:
    """Where an array's first element lies."""
    return np.int64(array.ctypes.data)  # type: ignore[return-value]
