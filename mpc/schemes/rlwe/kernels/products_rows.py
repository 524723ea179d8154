"""LLVM code for the inner product of a row of plaintexts with a vector of ciphertexts, eight values at a time.

A row of eight residues takes 50 bytes; its lanes are moved apart by one byte shuffle and one shift. Products of 52-bit
integers are added up unreduced, low and high halves apart, in 64-bit lanes: up to 4095 of them cannot overflow, since a
low half is below 2^52. Up to four rows at once share the loads of the ciphertexts; their groups alternate in memory, so
that the matrix is read in one sweep, and are fetched ahead. The bounds in the comments assume at most 4095 terms and
primes in (2^49, 2^50).
"""

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mpc.schemes.rlwe.kernels.host import host_has_ifma
from mpc.schemes.rlwe.kernels.rows import I64, Ifma

__all__ = ["dot_four", "dot_one", "dot_three", "dot_two"]

_ROW_BYTES: Final = 50
_AHEAD: Final = 2048
_I8, _I32 = ir.IntType(8), ir.IntType(32)
_BYTES = ir.VectorType(_I8, 64)
_U8 = ir.VectorType(I64, 8)
_SHUFFLE: Final = [2 * (50 * lane // 16) + byte for lane in range(8) for byte in range(8)]
_SHIFT: Final = [50 * lane % 16 for lane in range(8)]


class _Dot(Ifma):
    """The steps of one inner product."""

    def residues(self, address: Any) -> Any:
        """Eight residues of a packed row; reads 64 bytes."""
        raw = self.b.load(self.b.inttoptr(address, _BYTES.as_pointer()), align=1)
        mask = ir.Constant(ir.VectorType(_I32, 64), _SHUFFLE)
        lanes = self.b.bitcast(self.b.shuffle_vector(raw, ir.Constant(_BYTES, ir.Undefined), mask), _U8)
        return self.b.and_(self.b.lshr(lanes, ir.Constant(_U8, _SHIFT)), self.constant((1 << 50) - 1))

    def fetch(self, address: Any) -> None:
        """Ask for the cache line `_AHEAD` bytes after an address."""
        pointer, name = _I8.as_pointer(), "llvm.prefetch.p0i8"
        kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
        function = self.b.module.globals.get(name) or ir.Function(self.b.module, kind, name)
        place = self.b.inttoptr(self.b.add(address, ir.Constant(I64, _AHEAD)), pointer)
        self.b.call(function, [place, ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)])

    def accumulate(self, sums: list[Any], value: Any, query: tuple[Any, Any]) -> list[Any]:
        """Low and high halves of both products, added to four sums."""
        first, second = query
        return [
            self._low(sums[0], value, first),
            self._high(sums[1], value, first),
            self._low(sums[2], value, second),
            self._high(sums[3], value, second),
        ]

    def reduce(self, low: Any, high: Any, reduction: Any) -> Any:
        """`low + 2^52 high` modulo q, canonical; low < 2^64, high < 2^60.

        `reduction` is the address of the multipliers 1, 2^52 and 2^104.
        """
        shift = self.constant(52)
        high = self.b.add(high, self.b.lshr(low, shift))
        parts = (self.b.and_(low, self.mask), self.b.and_(high, self.mask), self.b.lshr(high, shift))
        terms = [self.canonical(self.times(part, self.multiplier(reduction, i))) for i, part in enumerate(parts)]
        return self.leave(self.b.add(self.b.add(terms[0], terms[1]), terms[2]))


def _dot(rows: int) -> Any:
    """A numba intrinsic `f((matrix, query, count, out, out_stride, second, modulus, reduction))`.

    All of these are addresses, counts, or strides in bytes. `matrix` holds, term by term, one packed group of each of
    `rows` rows; `query` two rows of eight words per term, of which there are `count`. The results of row r, eight
    canonical residues, go to `out + r out_stride`, those of the ciphertexts' second polynomials `second` bytes further.
    On a processor without IFMA it compiles to nothing: the dispatcher never calls it there.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def operation(_typing: Any, _places: Any) -> Any:
        signature = types.void(types.UniTuple(types.int64, 8))

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            if host_has_ifma():
                _emit_dot(builder, rows, *(builder.extract_value(arguments[0], i) for i in range(8)))
            return context.get_dummy_value()

        return signature, generate

    return operation


def _emit_dot(
    builder: Any,
    rows: int,
    matrix: Any,
    query: Any,
    count: Any,
    out: Any,
    out_stride: Any,
    second: Any,
    modulus: Any,
    reduction: Any,
) -> None:
    dot = _Dot(builder, modulus)
    entry, loop, done = builder.block, builder.append_basic_block("terms"), builder.append_basic_block("done")
    zero, one = ir.Constant(I64, 0), ir.Constant(I64, 1)
    builder.branch(loop)
    builder.position_at_end(loop)
    term = builder.phi(I64)
    term.add_incoming(zero, entry)
    sums = [[builder.phi(_U8) for _ in range(4)] for _ in range(rows)]
    place = builder.add(query, builder.shl(term, ir.Constant(I64, 7)))
    values = (dot.load(place), dot.load(place, ir.Constant(I64, 64)))
    source = builder.add(matrix, builder.mul(term, ir.Constant(I64, rows * _ROW_BYTES)))
    after = []
    for row in range(rows):
        dot.fetch(source)
        after.append(dot.accumulate(sums[row], dot.residues(source), values))
        source = builder.add(source, ir.Constant(I64, _ROW_BYTES))
    following = builder.add(term, one)
    term.add_incoming(following, loop)
    for old, new in zip(sums, after, strict=True):
        for phi, value in zip(old, new, strict=True):
            phi.add_incoming(dot.zero, entry)
            phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    builder.position_at_end(done)
    for low, high, low_second, high_second in after:
        dot.store(dot.reduce(low, high, reduction), out)
        dot.store(dot.reduce(low_second, high_second, reduction), out, second)
        out = builder.add(out, out_stride)


dot_one, dot_two, dot_three, dot_four = (_dot(rows) for rows in range(1, 5))
