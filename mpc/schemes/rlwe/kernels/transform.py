"""The negacyclic number-theoretic transform of eight interleaved polynomials, and products in evaluation form.

`forward` takes canonical coefficients `(N, 8)` to the values at the odd powers of the least primitive 2N-th root of
unity, in bit-reversed order (Cooley and Tukey's decimation in time with the twist merged into the twiddles, as in
Longa and Naehrig 2016, eprint 2016/504, and as SEAL orders them); `inverse` goes back (Gentleman and Sande) and
multiplies by a constant, which holds 1/N. Two stages run per pass over memory, and passes go depth first once a block
of 256 rows fits the first-level cache.

All arrays are C-contiguous uint64. Tables and modulus blocks are made by `mpc.schemes.rlwe.ring` for one arithmetic,
which the flag `portable` selects.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mpc.schemes.rlwe.kernels.compiled import Static, compiled
from mpc.schemes.rlwe.kernels.host import host_has_ifma
from mpc.schemes.rlwe.kernels.rows import I64, Floating, Ifma, Rows
from mpc.schemes.rlwe.kernels.words import address

__all__ = ["forward", "inverse", "multiply", "multiply_add"]

Words = NDArray[np.uint64]

_ROW = 64

Emit = Callable[[Rows, Any, Any, Any, Any], Callable[[Any], None]]


def _operation(emit: Emit) -> Any:
    """A numba intrinsic `f(x, stride, rows, first, second, modulus, portable)` that runs `emit` on every row.

    All arguments are addresses or counts, but for the last, whose type chooses the arithmetic. On a processor without
    IFMA the variant that needs it compiles to nothing: nobody calls it there, and LLVM could not select its
    instructions.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def operation(
        _typing: Any, _x: Any, _stride: Any, _rows: Any, _first: Any, _second: Any, _modulus: Any, portable: Any
    ) -> Any:
        arithmetic: type[Rows] = Ifma if isinstance(portable, types.NoneType) else Floating
        signature = types.void(*[types.int64] * 6, portable)

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            x, stride, rows, first, second, modulus, _ = arguments
            if arithmetic is not Ifma or host_has_ifma():
                one = emit(arithmetic(builder, modulus), x, stride, first, second)
                _for_rows(builder, rows, one)
            return context.get_dummy_value()

        return signature, generate

    return operation


def _for_rows(builder: Any, rows: Any, one: Callable[[Any], None]) -> None:
    entry = builder.block
    loop = builder.append_basic_block("rows")
    done = builder.append_basic_block("done")
    end = builder.mul(rows, ir.Constant(I64, _ROW))
    builder.branch(loop)
    builder.position_at_end(loop)
    offset = builder.phi(I64)
    offset.add_incoming(ir.Constant(I64, 0), entry)
    one(offset)
    following = builder.add(offset, ir.Constant(I64, _ROW))
    offset.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, end), loop, done)
    builder.position_at_end(done)


def _places(rows: Rows, x: Any, stride: Any, count: int) -> list[Any]:
    places = [x]
    for _ in range(count - 1):
        places.append(rows.b.add(places[-1], stride))
    return places


def _emit_forward_two(rows: Any, x: Any, stride: Any, first: Any, _second: Any) -> Callable[[Any], None]:
    w, places = rows.multiplier(first), _places(rows, x, stride, 2)

    def one(offset: Any) -> None:
        pair = rows.forward(rows.load(places[0], offset), rows.load(places[1], offset), w)
        for value, place in zip(pair, places, strict=True):
            rows.store(value, place, offset)

    return one


def _emit_forward_four(
    rows: Any, x: Any, stride: Any, first: Any, second: Any, *, refresh: bool = False
) -> Callable[[Any], None]:
    w, low, high = rows.multiplier(first), rows.multiplier(second), rows.multiplier(second, 1)
    places = _places(rows, x, stride, 4)

    def one(offset: Any) -> None:
        a, b, c, d = (rows.load(place, offset) for place in places)
        if refresh:
            a, b, c, d = (rows.refresh(value) for value in (a, b, c, d))
        a, c = rows.forward(a, c, w)
        b, d = rows.forward(b, d, w)
        for value, place in zip((*rows.forward(a, b, low), *rows.forward(c, d, high)), places, strict=True):
            rows.store(value, place, offset)

    return one


def _emit_forward_four_refreshed(rows: Any, x: Any, stride: Any, first: Any, second: Any) -> Callable[[Any], None]:
    return _emit_forward_four(rows, x, stride, first, second, refresh=True)


def _emit_inverse_two(rows: Any, x: Any, stride: Any, first: Any, _second: Any) -> Callable[[Any], None]:
    w, places = rows.multiplier(first), _places(rows, x, stride, 2)

    def one(offset: Any) -> None:
        pair = rows.inverse(rows.load(places[0], offset), rows.load(places[1], offset), w)
        for value, place in zip(pair, places, strict=True):
            rows.store(value, place, offset)

    return one


def _emit_inverse_four(rows: Any, x: Any, stride: Any, first: Any, second: Any) -> Callable[[Any], None]:
    w, low, high = rows.multiplier(first), rows.multiplier(second), rows.multiplier(second, 1)
    places = _places(rows, x, stride, 4)

    def one(offset: Any) -> None:
        a, b, c, d = (rows.load(place, offset) for place in places)
        a, b = rows.inverse(a, b, low)
        c, d = rows.inverse(c, d, high)
        a, c = rows.inverse(a, c, w)
        b, d = rows.inverse(b, d, w)
        for value, place in zip((rows.settle(a), rows.settle(b), c, d), places, strict=True):
            rows.store(value, place, offset)

    return one


def _emit_enter(rows: Any, x: Any, _stride: Any, _first: Any, _second: Any) -> Callable[[Any], None]:
    return lambda offset: rows.store(rows.enter(rows.load(x, offset)), x, offset)


def _emit_leave(rows: Any, x: Any, _stride: Any, _first: Any, _second: Any) -> Callable[[Any], None]:
    return lambda offset: rows.store(rows.leave(rows.load(x, offset)), x, offset)


def _emit_scale(rows: Any, x: Any, _stride: Any, first: Any, _second: Any) -> Callable[[Any], None]:
    w = rows.multiplier(first)

    def one(offset: Any) -> None:
        rows.store(rows.integer(rows.canonical(rows.times(rows.load(x, offset), w))), x, offset)

    return one


def _emit_multiply_add(rows: Any, x: Any, addend: Any, first: Any, out: Any) -> Callable[[Any], None]:
    """One row per multiplier; the caller's `stride` is the address of the addend and `second` that of the result."""

    def one(offset: Any) -> None:
        place = rows.b.add(first, rows.b.lshr(offset, ir.Constant(I64, 2)))
        value = rows.times_plus(rows.load(x, offset), rows.multiplier(place), rows.load(addend, offset))
        rows.store(value, out, offset)

    return one


def _emit_multiply(rows: Any, x: Any, _stride: Any, first: Any, out: Any) -> Callable[[Any], None]:
    def one(offset: Any) -> None:
        left, right = (rows.enter(rows.load(place, offset)) for place in (x, first))
        rows.store(rows.integer(rows.variable_product(left, right)), out, offset)

    return one


_enter, _leave, _scale = _operation(_emit_enter), _operation(_emit_leave), _operation(_emit_scale)
_forward_two, _forward_four = _operation(_emit_forward_two), _operation(_emit_forward_four)
_forward_four_refreshed = _operation(_emit_forward_four_refreshed)
_inverse_two, _inverse_four = _operation(_emit_inverse_two), _operation(_emit_inverse_four)
_multiply_add, _multiply = _operation(_emit_multiply_add), _operation(_emit_multiply)


@compiled
def forward(a: Words, table: Words, modulus: Words, portable: Static) -> None:
    """Transform `a`, shape `(N, 8)`, in place; canonical residues in and out."""
    x, n, twiddles, q = address(a), a.shape[0], address(table), address(modulus)
    rows, blocks, level, size = n, 1, 0, n
    if portable is not None:
        _enter(x, 0, n, 0, 0, q, portable)
    while size > 4:
        size >>= 2
    if size == 2:
        rows >>= 1
        _forward_two(x, rows * 64, rows, twiddles + 16, 0, q, portable)
        blocks = 2
    while rows > 256:
        for i in range(blocks):
            place, w = x + i * rows * 64, blocks + i
            if portable is not None and level > 0 and level & 1 == 0:
                _forward_four_refreshed(place, rows * 16, rows >> 2, twiddles + 16 * w, twiddles + 32 * w, q, portable)
            else:
                _forward_four(place, rows * 16, rows >> 2, twiddles + 16 * w, twiddles + 32 * w, q, portable)
        blocks, rows, level = blocks << 2, rows >> 2, level + 1
    for block in range(blocks):
        base, part, parts, depth = x + block * rows * 64, rows, 1, level
        while part >= 4:
            for i in range(parts):
                place, w = base + i * part * 64, (blocks + block) * parts + i
                if portable is not None and depth > 0 and depth & 1 == 0:
                    _forward_four_refreshed(
                        place, part * 16, part >> 2, twiddles + 16 * w, twiddles + 32 * w, q, portable
                    )
                else:
                    _forward_four(place, part * 16, part >> 2, twiddles + 16 * w, twiddles + 32 * w, q, portable)
            parts, part, depth = parts << 2, part >> 2, depth + 1
        _leave(base, 0, rows, 0, 0, q, portable)


@compiled
def inverse(a: Words, table: Words, modulus: Words, factor: Words, portable: Static) -> None:
    """Transform `a` back in place and multiply by the constant of `factor`, shape `(2,)`; canonical in and out."""
    x, n, twiddles, q = address(a), a.shape[0], address(table), address(modulus)
    for block in range(n >> 8):
        base, part, parts = x + block * 256 * 64, 4, 64
        if portable is not None:
            _enter(base, 0, 256, 0, 0, q, portable)
        while part <= 256:
            for i in range(parts):
                w = ((n >> 8) + block) * parts + i
                _inverse_four(
                    base + i * part * 64, part * 16, part >> 2, twiddles + 16 * w, twiddles + 32 * w, q, portable
                )
            part, parts = part << 2, parts >> 2
    part, parts = 1024, n >> 10
    while part <= n:
        for i in range(parts):
            w = parts + i
            _inverse_four(x + i * part * 64, part * 16, part >> 2, twiddles + 16 * w, twiddles + 32 * w, q, portable)
        part, parts = part << 2, parts >> 2
    if part >> 1 == n:
        _inverse_two(x, n * 32, n >> 1, twiddles + 16, 0, q, portable)
    _scale(x, 0, n, address(factor), 0, q, portable)


@compiled
def multiply_add(x: Words, multipliers: Words, addend: Words, out: Words, modulus: Words, portable: Static) -> None:
    """`out = x w + addend`, rows of `(N, 8)` by multipliers `(N, 2)`; canonical in and out; `out` may be an input."""
    w, q = address(multipliers), address(modulus)
    _multiply_add(address(x), address(addend), x.shape[0], w, address(out), q, portable)


@compiled
def multiply(x: Words, y: Words, out: Words, modulus: Words, portable: Static) -> None:
    """`out = x y`, value by value, all `(N, 8)`; canonical in and out; `out` may be an input."""
    _multiply(address(x), 0, x.shape[0], address(y), address(out), address(modulus), portable)
