"""Instructions on 64-bit words that Python has no name for or that numba compiles slowly; addresses; working memory.

numba's own `min`, `numpy.empty`, `ndarray.view` and `ndarray.ctypes` are Python functions that it compiles in every
process that compiles a kernel: together a tenth of the time until a first query.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["address", "high_product", "larger", "ones", "real", "scratch", "smaller", "transpose", "word"]

_WORD = ir.IntType(64)


def _of_two(name: str) -> Any:
    """A numba intrinsic on two words, both signed or both not, that is one LLVM intrinsic."""

    @intrinsic  # type: ignore[untyped-decorator]
    def operation(_typing: Any, x: Any, y: Any) -> Any:
        if x.signed != y.signed:
            return None

        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            kind, full = ir.FunctionType(_WORD, [_WORD] * 2), f"llvm.{'s' if x.signed else 'u'}{name}.i64"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), arguments)

        word = types.int64 if x.signed else types.uint64
        return word(word, word), generate

    return operation


smaller = _of_two("min")
larger = _of_two("max")


@intrinsic  # type: ignore[untyped-decorator]
def real(_typing: Any, x: Any) -> Any:  # noqa: ARG001
    """The double whose bits a word holds."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def word(_typing: Any, x: Any) -> Any:  # noqa: ARG001
    """The bits of a double."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _WORD)

    return types.uint64(types.float64), generate


@intrinsic  # type: ignore[untyped-decorator]
def scratch(_typing: Any, size: Any) -> Any:
    """Zeros `(size,)` on the stack; size is a constant. They end with the function that asks."""
    if not isinstance(size, types.IntegerLiteral):
        return None
    result, count = types.Array(types.uint64, 1, "C"), size.literal_value

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        memory = cgutils.alloca_once(builder, ir.ArrayType(_WORD, count))
        memory.align = 64
        cgutils.memset(builder, memory, ir.Constant(_WORD, 8 * count), 0)
        array = context.make_array(result)(context, builder)
        context.populate_array(
            array,
            data=builder.bitcast(memory, _WORD.as_pointer()),
            shape=[context.get_constant(types.intp, count)],
            strides=[context.get_constant(types.intp, 8)],
            itemsize=context.get_constant(types.intp, 8),
            meminfo=None,
        )
        return array._getvalue()  # noqa: SLF001 - numba's only name for it

    return result(size), generate


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


@intrinsic  # type: ignore[untyped-decorator]
def address(_typing: Any, array: Any) -> Any:
    """Where an array's first element lies."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        return builder.ptrtoint(context.make_array(kind)(context, builder, arguments[0]).data, _WORD)

    return types.int64(array), generate
