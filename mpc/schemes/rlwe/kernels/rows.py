"""LLVM code for rows of eight 64-bit lanes, in two arithmetics.

A row holds the same coefficient of eight polynomials, so every stage of a transform works on whole vectors and no lane
ever moves. `Ifma` multiplies 52-bit integers with the AVX-512 IFMA instructions; `Floating` does the same exact modular
arithmetic with fused multiply-add on doubles and compiles for any processor. Both are exact, so that everything
computed from canonical residues and returned as canonical residues is equal bit for bit. The bounds in the comments are
proved in `mpc/schemes/rlwe/README.md`, section 4.

Nothing here branches on lane values: comparisons become minimum or select instructions.
"""

from typing import Any

from llvmlite import ir

__all__ = ["Floating", "Ifma", "Rows"]

I64 = ir.IntType(64)
_I32 = ir.IntType(32)
_LANES = 8
_U8 = ir.VectorType(I64, _LANES)
_F8 = ir.VectorType(ir.DoubleType(), _LANES)

MASK_52 = (1 << 52) - 1
_EXPONENT_52 = 0x4330000000000000  # the double 2^52: or-ing an integer below 2^52 into it adds the integer
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding and subtracting it rounds to the nearest integer


class Rows:
    """Loads, stores and broadcasts that both arithmetics share; addresses are 64-bit integers in bytes."""

    def __init__(self, builder: Any, modulus: Any) -> None:
        """Bind to a builder; `modulus` is the address of a modulus block (see `mpc.schemes.rlwe.ring`)."""
        self.b = builder
        self.modulus = modulus

    def load(self, address: Any, offset: Any = None) -> Any:
        """A row of unsigned integers."""
        place = address if offset is None else self.b.add(address, offset)
        return self.b.load(self.b.inttoptr(place, _U8.as_pointer()), align=8)

    def store(self, row: Any, address: Any, offset: Any = None) -> None:
        """Write a row of unsigned integers."""
        place = address if offset is None else self.b.add(address, offset)
        self.b.store(row, self.b.inttoptr(place, _U8.as_pointer()), align=8)

    def word(self, address: Any, index: int) -> Any:
        """The 64-bit word number `index` at an address."""
        place = self.b.add(address, ir.Constant(I64, 8 * index))
        return self.b.load(self.b.inttoptr(place, I64.as_pointer()), align=8)

    def splat(self, scalar: Any) -> Any:
        """A row whose lanes are all `scalar`."""
        kind = ir.VectorType(scalar.type, _LANES)
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_I32, 0))
        return self.b.shuffle_vector(
            first, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_I32, _LANES), [0] * _LANES)
        )

    def constant(self, value: int) -> Any:
        """A row of one integer constant."""
        return ir.Constant(_U8, [value] * _LANES)

    def function(self, name: str, kind: Any, arity: int) -> Any:
        """Declare an LLVM intrinsic on rows."""
        module = self.b.module
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(kind, [kind] * arity), name)

    def minimum(self, x: Any, y: Any) -> Any:
        """Lane-wise unsigned minimum."""
        return self.b.call(self.function("llvm.umin.v8i64", _U8, 2), [x, y])


class Ifma(Rows):
    """Modular arithmetic on integers below 2^52 (Harvey 2014, "Faster arithmetic for number-theoretic transforms").

    A multiplier is the pair `(w, floor(2^52 w / q))`; values stay below 4q < 2^52 inside a transform.
    """

    def __init__(self, builder: Any, modulus: Any) -> None:
        super().__init__(builder, modulus)
        one = self.word(modulus, 0)
        self.q = self.splat(one)
        self.q2 = self.splat(builder.shl(one, ir.Constant(I64, 1)))
        self.minus_q = self.splat(builder.sub(ir.Constant(I64, 1 << 52), one))
        self.zero = self.constant(0)
        self.mask = self.constant(MASK_52)

    def _low(self, accumulator: Any, x: Any, y: Any) -> Any:
        return self.b.call(self.function("llvm.x86.avx512.vpmadd52l.uq.512", _U8, 3), [accumulator, x, y])

    def _high(self, accumulator: Any, x: Any, y: Any) -> Any:
        return self.b.call(self.function("llvm.x86.avx512.vpmadd52h.uq.512", _U8, 3), [accumulator, x, y])

    def multiplier(self, address: Any, index: int = 0) -> tuple[Any, Any]:
        """Broadcast entry number `index` of a table of multipliers."""
        return self.splat(self.word(address, 2 * index)), self.splat(self.word(address, 2 * index + 1))

    def times(self, x: Any, w: tuple[Any, Any]) -> Any:
        """`w x` modulo q, in `[0, 2q)`, for x below 2^52."""
        quotient = self._high(self.zero, w[1], x)
        product = self._low(self._low(self.zero, w[0], x), quotient, self.minus_q)
        return self.b.and_(product, self.mask)

    def product(self, x: Any, y: Any) -> Any:
        """`x y 2^-52` modulo q, in `[0, 2q)`, for canonical x and y (Montgomery 1985)."""
        high, low = self._high(self.zero, x, y), self._low(self.zero, x, y)
        factor = self._low(self.zero, low, self.splat(self.word(self.modulus, 3)))
        carry = self.b.zext(self.b.icmp_unsigned("!=", low, self.zero), _U8)
        return self.b.add(self._high(high, factor, self.q), carry)

    def variable_product(self, x: Any, y: Any) -> Any:
        """`x y` modulo q, canonical, for canonical x and y."""
        restore = (self.splat(self.word(self.modulus, 4)), self.splat(self.word(self.modulus, 5)))
        return self._once(self.times(self.product(x, y), restore))

    def integer(self, x: Any) -> Any:
        """Canonical values as they are stored."""
        return x

    def canonical(self, x: Any) -> Any:
        """Values below 2q as canonical ones."""
        return self._once(x)

    def _twice(self, x: Any) -> Any:
        return self.minimum(x, self.b.sub(x, self.q2))

    def _once(self, x: Any) -> Any:
        return self.minimum(x, self.b.sub(x, self.q))

    def enter(self, x: Any) -> Any:
        """Canonical residues as the transform keeps them."""
        return x

    def leave(self, x: Any) -> Any:
        """Values below 4q as canonical residues."""
        return self._once(self._twice(x))

    def refresh(self, x: Any) -> Any:
        """Forward values stay below 4q by themselves."""
        return x

    def forward(self, x: Any, y: Any, w: tuple[Any, Any]) -> tuple[Any, Any]:
        """`(x + w y, x - w y)`: in and out below 4q."""
        x = self._twice(x)
        v = self.times(y, w)
        return self.b.add(x, v), self.b.sub(self.b.add(x, self.q2), v)

    def inverse(self, x: Any, y: Any, w: tuple[Any, Any]) -> tuple[Any, Any]:
        """`(x + y, w (x - y))`: in and out below 2q."""
        return self._twice(self.b.add(x, y)), self.times(self.b.sub(self.b.add(x, self.q2), y), w)

    def settle(self, x: Any) -> Any:
        """Inverse values stay below 2q by themselves."""
        return x

    def times_plus(self, x: Any, w: tuple[Any, Any], e: Any) -> Any:
        """`w x + e` modulo q, canonical, for canonical e."""
        return self.leave(self.b.add(self.times(x, w), e))


class Floating(Rows):
    """Modular arithmetic on integers that doubles hold exactly, by fused multiply-add.

    A multiplier is the pair of doubles `(w, w / q)` with w centred, `|w| <= q / 2`. A product is reduced to
    `w x - q round(x w / q)`, exactly, in `(-(1/2 + |x| / 16 q) q, ...)`, for `|x| < 4q`.
    """

    def __init__(self, builder: Any, modulus: Any) -> None:
        super().__init__(builder, modulus)
        self.q = self.splat(builder.bitcast(self.word(modulus, 1), ir.DoubleType()))
        self.minus_q = builder.fneg(self.q)
        self.reciprocal = self.splat(builder.bitcast(self.word(modulus, 2), ir.DoubleType()))
        self.zero = ir.Constant(_F8, [0.0] * _LANES)
        self.round = ir.Constant(_F8, [_ROUND] * _LANES)

    def load(self, address: Any, offset: Any = None) -> Any:
        """A row of doubles."""
        return self.b.bitcast(super().load(address, offset), _F8)

    def store(self, row: Any, address: Any, offset: Any = None) -> None:
        """Write a row of doubles."""
        super().store(self.b.bitcast(row, _U8), address, offset)

    def multiplier(self, address: Any, index: int = 0) -> tuple[Any, Any]:
        """Broadcast entry number `index` of a table of multipliers."""
        kind = ir.DoubleType()
        first = self.b.bitcast(self.word(address, 2 * index), kind)
        second = self.b.bitcast(self.word(address, 2 * index + 1), kind)
        return self.splat(first), self.splat(second)

    def _fma(self, x: Any, y: Any, z: Any) -> Any:
        return self.b.call(self.function("llvm.fma.v8f64", _F8, 3), [x, y, z])

    def _nearest(self, x: Any, y: Any) -> Any:
        return self.b.fsub(self._fma(x, y, self.round), self.round)

    def _reduce_product(self, x: Any, y: Any, quotient: Any) -> Any:
        high = self.b.fmul(x, y)
        low = self._fma(x, y, self.b.fneg(high))
        return self.b.fadd(self._fma(quotient, self.minus_q, high), low)

    def times(self, x: Any, w: tuple[Any, Any]) -> Any:
        """`w x` modulo q, centred, for |x| < 4q."""
        return self._reduce_product(x, w[0], self._nearest(x, w[1]))

    def variable_product(self, x: Any, y: Any) -> Any:
        """`x y` modulo q, canonical, for canonical x and y."""
        high = self.b.fmul(x, y)
        low = self._fma(x, y, self.b.fneg(high))
        quotient = self._nearest(high, self.reciprocal)
        return self.canonical(self.b.fadd(self._fma(quotient, self.minus_q, high), low))

    def canonical(self, x: Any) -> Any:
        """Values in (-q, 2q) brought into [0, q)."""
        x = self.b.fadd(x, self.b.select(self.b.fcmp_ordered("<", x, self.zero), self.q, self.zero))
        return self.b.fsub(x, self.b.select(self.b.fcmp_ordered(">=", x, self.q), self.q, self.zero))

    def enter(self, x: Any) -> Any:
        """Canonical residues (integers) as doubles."""
        bits = self.b.or_(self.b.bitcast(x, _U8), self.constant(_EXPONENT_52))
        return self.b.fsub(self.b.bitcast(bits, _F8), ir.Constant(_F8, [float(1 << 52)] * _LANES))

    def leave(self, x: Any) -> Any:
        """Doubles as canonical residues (integers)."""
        return self.integer(self.canonical(self.refresh(x)))

    def integer(self, x: Any) -> Any:
        """Canonical doubles as canonical residues (integers)."""
        bits = self.b.bitcast(self.b.fadd(x, ir.Constant(_F8, [float(1 << 52)] * _LANES)), _U8)
        return self.b.bitcast(self.b.and_(bits, self.constant(MASK_52)), _F8)

    def refresh(self, x: Any) -> Any:
        """Reduce |x| < 2^52 to at most q / 2 (and a rounding error)."""
        return self._fma(self._nearest(x, self.reciprocal), self.minus_q, x)

    def forward(self, x: Any, y: Any, w: tuple[Any, Any]) -> tuple[Any, Any]:
        """`(x + w y, x - w y)`: |x| grows by at most (1/2 + |y| / 16 q) q."""
        v = self.times(y, w)
        return self.b.fadd(x, v), self.b.fsub(x, v)

    def inverse(self, x: Any, y: Any, w: tuple[Any, Any]) -> tuple[Any, Any]:
        """`(x + y, w (x - y))`: the first grows to |x| + |y|, the second is reduced."""
        return self.b.fadd(x, y), self.times(self.b.fsub(x, y), w)

    def settle(self, x: Any) -> Any:
        """Reduce a sum of the inverse transform."""
        return self.refresh(x)

    def times_plus(self, x: Any, w: tuple[Any, Any], e: Any) -> Any:
        """`w x + e` modulo q, canonical (integers), for canonical x and e (integers)."""
        value = self.b.fadd(self.times(self.enter(x), w), self.enter(e))
        return self.integer(self.canonical(value))
