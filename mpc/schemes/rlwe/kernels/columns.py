"""LLVM code for the packing of one polynomial: one row of eight words at a time, over all groups of 256 coefficients.

`unpack_row`, `add_row` and `subtract_row` treat number r of all columns of all groups: shifts are then the same for
thousands of coefficients. `pack_row` treats word w. `mpc.schemes.rlwe.kernels.packing` has the layout.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mpc.schemes.rlwe.kernels.rows import I64, Rows

__all__ = ["add_row", "pack_row", "subtract_row", "unpack_row"]

_PACKED_GROUP = 200 * 8
_GROUP = 256 * 8
_MASK = (1 << 50) - 1


def _for_groups(builder: Any, groups: Any, seen: Any, one: Callable[[Any, Any, Any], Any]) -> Any:
    """Run `seen = one(packed_offset, offset, seen)` for every group, offsets in bytes; the last `seen`."""
    entry, loop, done = builder.block, builder.append_basic_block("groups"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    number = builder.phi(I64)
    number.add_incoming(ir.Constant(I64, 0), entry)
    carried = builder.phi(seen.type)
    carried.add_incoming(seen, entry)
    packed_offset = builder.mul(number, ir.Constant(I64, _PACKED_GROUP))
    last = one(packed_offset, builder.mul(number, ir.Constant(I64, _GROUP)), carried)
    following = builder.add(number, ir.Constant(I64, 1))
    number.add_incoming(following, builder.block)
    carried.add_incoming(last, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, groups), loop, done)
    builder.position_at_end(done)
    return last


def _reading(combine: Callable[[Any, Any, Any], Any]) -> Any:
    """A numba intrinsic `f(near, far, right, groups, out, largest)`.

    `near` and `far` are the addresses of the two words in the first group, `right` the shift of the first, `out` the
    address of the first coefficients; `largest`, eight words, collects the greatest values seen.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def operation(_typing: Any, near: Any, far: Any, right: Any, groups: Any, out: Any, largest: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            near, far, right, groups, out, largest = arguments
            rows = Rows(builder, None)
            down, up = rows.splat(right), rows.splat(builder.sub(ir.Constant(I64, 63), right))
            mask, one = rows.constant(_MASK), rows.constant(1)

            def step(packed_offset: Any, offset: Any, seen: Any) -> Any:
                low = builder.lshr(rows.load(near, packed_offset), down)
                high = builder.shl(builder.shl(rows.load(far, packed_offset), one), up)
                value = builder.and_(builder.or_(low, high), mask)
                rows.store(combine(rows, value, builder.add(out, offset)), out, offset)
                return builder.call(rows.function("llvm.umax.v8i64", value.type, 2), [seen, value])

            rows.store(_for_groups(builder, groups, rows.load(largest), step), largest)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return operation


unpack_row = _reading(lambda _rows, value, _place: value)
add_row = _reading(lambda rows, value, place: rows.b.add(rows.load(place), value))
subtract_row = _reading(lambda rows, value, place: rows.b.sub(rows.load(place), value))


@intrinsic  # type: ignore[untyped-decorator]
def pack_row(_typing: Any, first: Any, third: Any, right: Any, left: Any, far: Any, groups: Any, out: Any) -> Any:  # noqa: ARG001
    """Write one word of every column: its first coefficient goes right, the next left, the third left by far + 1.

    `first`, `third` and `out` are addresses in the first group; the second coefficient follows the first.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        first, third, right, left, far, groups, out = arguments
        rows = Rows(builder, None)
        right, left, far, one = rows.splat(right), rows.splat(left), rows.splat(far), rows.constant(1)
        second = builder.add(first, ir.Constant(I64, 64))

        def step(packed_offset: Any, offset: Any, seen: Any) -> Any:
            near = builder.lshr(rows.load(first, offset), right)
            middle = builder.shl(rows.load(second, offset), left)
            last = builder.shl(builder.shl(rows.load(third, offset), far), one)
            rows.store(builder.or_(builder.or_(near, middle), last), out, packed_offset)
            return seen

        _for_groups(builder, groups, one, step)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate
