"""The negacyclic number-theoretic transform of eight interleaved polynomials, and products in evaluation form.

`forward` takes canonical coefficients `(N, 8)` to the values at the odd powers of the least primitive 2N-th root of
unity, in bit-reversed order (Cooley and Tukey's decimation in time with the twist merged into the twiddles, as in
Longa and Naehrig 2016, eprint 2016/504, and as SEAL orders them); `inverse` goes back (Gentleman and Sande) and
multiplies by a constant, which holds 1/N. Two stages run per pass over memory, and passes go depth first once a block
of 256 rows fits the first-level cache.

All arrays are C-contiguous uint64. Tables and modulus blocks are made by `mpc.schemes.rlwe.ring` for one arithmetic,
which the flag `ifma` selects at run time.
"""

# ruff: noqa: FBT001 - compiled functions take their flags by position

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mpc.schemes.rlwe.kernels.compiled import inlined
from mpc.schemes.rlwe.kernels.host import host_has_ifma
from mpc.schemes.rlwe.kernels.rows import I64, Floating, Ifma, Rows
from mpc.schemes.rlwe.kernels.words import address

__all__ = ["forward", "inverse", "multiply", "multiply_add"]

Words = NDArray[np.uint64]

_ROW = 64

Emit = Callable[[Rows, Any, Any, Any, Any], Callable[[Any], None]]


def _operation(arithmetic: type[Rows], emit: Emit) -> Any:
    """A numba intrinsic `f(x, stride, rows, first, second, modulus)` that runs `emit` on every row.

    All arguments are addresses or counts. On a processor without IFMA the IFMA variants compile to nothing: the
    dispatcher never calls them there, and LLVM could not select their instructions.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def operation(_typing: Any, x: Any, stride: Any, rows: Any, first: Any, second: Any, modulus: Any) -> Any:  # noqa: ARG001
        signature = types.void(*[types.int64] * 6)

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            x, stride, rows, first, second, modulus = arguments
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


def _make_forward(arithmetic: type[Rows]) -> Any:
    enter, leave = _operation(arithmetic, _emit_enter), _operation(arithmetic, _emit_leave)
    two, four = _operation(arithmetic, _emit_forward_two), _operation(arithmetic, _emit_forward_four)
    fresh = _operation(arithmetic, _emit_forward_four_refreshed)
    floating = arithmetic is Floating

    def run(x: int, n: int, table: int, modulus: int) -> None:
        rows, blocks, level, size = n, 1, 0, n
        if floating:
            enter(x, 0, n, 0, 0, modulus)
        while size > 4:
            size >>= 2
        if size == 2:
            rows >>= 1
            two(x, rows * 64, rows, table + 16, 0, modulus)
            blocks = 2
        while rows > 256:
            for i in range(blocks):
                w = blocks + i
                if floating and level > 0 and level & 1 == 0:
                    fresh(x + i * rows * 64, rows * 16, rows >> 2, table + 16 * w, table + 32 * w, modulus)
                else:
                    four(x + i * rows * 64, rows * 16, rows >> 2, table + 16 * w, table + 32 * w, modulus)
            blocks, rows, level = blocks << 2, rows >> 2, level + 1
        for block in range(blocks):
            base, part, parts, depth = x + block * rows * 64, rows, 1, level
            while part >= 4:
                for i in range(parts):
                    w = (blocks + block) * parts + i
                    if floating and depth > 0 and depth & 1 == 0:
                        fresh(base + i * part * 64, part * 16, part >> 2, table + 16 * w, table + 32 * w, modulus)
                    else:
                        four(base + i * part * 64, part * 16, part >> 2, table + 16 * w, table + 32 * w, modulus)
                parts, part, depth = parts << 2, part >> 2, depth + 1
            leave(base, 0, rows, 0, 0, modulus)

    run.__qualname__ = f"forward_{arithmetic.__name__.lower()}"  # `inlined` says why
    return inlined(run)


def _make_inverse(arithmetic: type[Rows]) -> Any:
    enter, scale = _operation(arithmetic, _emit_enter), _operation(arithmetic, _emit_scale)
    two, four = _operation(arithmetic, _emit_inverse_two), _operation(arithmetic, _emit_inverse_four)
    floating = arithmetic is Floating

    def run(x: int, n: int, table: int, modulus: int, factor: int) -> None:
        for block in range(n >> 8):
            base, part, parts = x + block * 256 * 64, 4, 64
            if floating:
                enter(base, 0, 256, 0, 0, modulus)
            while part <= 256:
                for i in range(parts):
                    w = ((n >> 8) + block) * parts + i
                    four(base + i * part * 64, part * 16, part >> 2, table + 16 * w, table + 32 * w, modulus)
                part, parts = part << 2, parts >> 2
        part, parts = 1024, n >> 10
        while part <= n:
            for i in range(parts):
                w = parts + i
                four(x + i * part * 64, part * 16, part >> 2, table + 16 * w, table + 32 * w, modulus)
            part, parts = part << 2, parts >> 2
        if part >> 1 == n:
            two(x, n * 32, n >> 1, table + 16, 0, modulus)
        scale(x, 0, n, factor, 0, modulus)

    run.__qualname__ = f"inverse_{arithmetic.__name__.lower()}"
    return inlined(run)


_forward_ifma, _forward_floating = _make_forward(Ifma), _make_forward(Floating)
_inverse_ifma, _inverse_floating = _make_inverse(Ifma), _make_inverse(Floating)
_multiply_add_ifma = _operation(Ifma, _emit_multiply_add)
_multiply_add_floating = _operation(Floating, _emit_multiply_add)
_multiply_ifma, _multiply_floating = _operation(Ifma, _emit_multiply), _operation(Floating, _emit_multiply)


@inlined
def forward(a: Words, table: Words, modulus: Words, ifma: bool) -> None:
    """Transform `a`, shape `(N, 8)`, in place; canonical residues in and out."""
    n = a.shape[0]
    if ifma:
        _forward_ifma(address(a), n, address(table), address(modulus))
    else:
        _forward_floating(address(a), n, address(table), address(modulus))


@inlined
def inverse(a: Words, table: Words, modulus: Words, factor: Words, ifma: bool) -> None:
    """Transform `a` back in place and multiply by the constant of `factor`, shape `(2,)`; canonical in and out."""
    n = a.shape[0]
    if ifma:
        _inverse_ifma(address(a), n, address(table), address(modulus), address(factor))
    else:
        _inverse_floating(address(a), n, address(table), address(modulus), address(factor))


@inlined
def multiply_add(x: Words, multipliers: Words, addend: Words, out: Words, modulus: Words, ifma: bool) -> None:
    """`out = x w + addend`, rows of `(N, 8)` by multipliers `(N, 2)`; canonical in and out; `out` may be an input."""
    n, source, w = x.shape[0], address(x), address(multipliers)
    if ifma:
        _multiply_add_ifma(source, address(addend), n, w, address(out), address(modulus))
    else:
        _multiply_add_floating(source, address(addend), n, w, address(out), address(modulus))


@inlined
def multiply(x: Words, y: Words, out: Words, modulus: Words, ifma: bool) -> None:
    """`out = x y`, value by value, all `(N, 8)`; canonical in and out; `out` may be an input."""
    if ifma:
        _multiply_ifma(address(x), 0, x.shape[0], address(y), address(out), address(modulus))
    else:
        _multiply_floating(address(x), 0, x.shape[0], address(y), address(out), address(modulus))
