"""Instructions on 64-bit words that Python has no name for."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["high_product", "ones"]


@intrinsic
def high_product(_typing, x, y):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """The upper 64 bits of a product of unsigned words."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def ones(_typing, x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """The number of one bits of an unsigned word."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate
