"""AES-256 in counter mode by the processor's vector instructions: the stream of `mpc.entropy.Keystream`, bit for bit.

The instructions work on four blocks at a time and take the same time for all data (FIPS 197 for the cipher and its key
expansion; SP 800-38A, section 6.5, for the mode). Processors without VAES use `Keystream` itself.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mpc.schemes.rlwe.kernels.compiled import compiled
from mpc.schemes.rlwe.kernels.host import host_has_vaes
from mpc.schemes.rlwe.kernels.words import address, scratch

__all__ = ["fill_keystream"]

Words = NDArray[np.uint64]

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_BLOCK, _QUARTERS, _ROW = ir.VectorType(_I64, 2), ir.VectorType(_I32, 4), ir.VectorType(_I64, 8)
_ROUNDS = 14
_UNROLLED = 4


def _shuffle(builder: Any, x: Any, y: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def _function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def _expand(builder: Any, low: Any, high: Any) -> list[Any]:
    """The 15 round keys of AES-256 (FIPS 197, section 5.2), each in all four blocks of a row."""
    assist = _function(builder, "llvm.x86.aesni.aeskeygenassist", _BLOCK, [_BLOCK, _I8])
    nothing = ir.Constant(_QUARTERS, [0] * 4)

    def following(key: Any, source: Any, constant: int, lane: int) -> Any:
        word = builder.bitcast(builder.call(assist, [source, ir.Constant(_I8, constant)]), _QUARTERS)
        out = quarters = builder.bitcast(key, _QUARTERS)
        for shift in (1, 2, 3):
            out = builder.xor(out, _shuffle(builder, nothing, quarters, [*range(shift), *range(4, 8 - shift)]))
        return builder.bitcast(builder.xor(out, _shuffle(builder, word, word, [lane] * 4)), _BLOCK)

    keys = [low, high]
    for number in range(7):
        keys.append(following(keys[-2], keys[-1], 1 << number, 3))
        keys.append(following(keys[-2], keys[-1], 0, 2))
    return [_shuffle(builder, key, key, [0, 1] * 4) for key in keys[: _ROUNDS + 1]]


def _encrypt(builder: Any, rows: list[Any], keys: list[Any]) -> list[Any]:
    middle = _function(builder, "llvm.x86.aesni.aesenc.512", _ROW, [_ROW, _ROW])
    last = _function(builder, "llvm.x86.aesni.aesenclast.512", _ROW, [_ROW, _ROW])
    rows = [builder.xor(row, keys[0]) for row in rows]
    for key in keys[1:_ROUNDS]:
        rows = [builder.call(middle, [row, key]) for row in rows]
    return [builder.call(last, [row, keys[_ROUNDS]]) for row in rows]


@intrinsic  # type: ignore[untyped-decorator]
def _blocks(_typing: Any, key: Any, start: Any, rounds: Any, out: Any) -> Any:  # noqa: ARG001
    """Write `rounds` times 16 blocks of the stream from block `start`; key and out are addresses."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        if not host_has_vaes():
            return context.get_dummy_value()
        key, start, rounds, out = arguments
        pointer = builder.inttoptr(key, _BLOCK.as_pointer())
        halves = [builder.load(builder.gep(pointer, [ir.Constant(_I32, i)]), align=8) for i in range(2)]
        keys = _expand(builder, *halves)
        swap = _function(builder, "llvm.bswap.v8i64", _ROW, [_ROW])
        low_halves = ir.Constant(_ROW, [0, (1 << 64) - 1] * 4)
        first = builder.insert_element(ir.Constant(_ROW, ir.Undefined), start, ir.Constant(_I32, 0))
        first = builder.add(_shuffle(builder, first, first, [0] * 8), ir.Constant(_ROW, [0, 0, 0, 1, 0, 2, 0, 3]))
        entry, loop, done = builder.block, builder.append_basic_block("blocks"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        number, counters = builder.phi(_I64), builder.phi(_ROW)
        number.add_incoming(ir.Constant(_I64, 0), entry)
        counters.add_incoming(first, entry)
        states = []
        for i in range(_UNROLLED):
            counter = builder.add(counters, ir.Constant(_ROW, [4 * i] * 8))
            states.append(builder.and_(builder.call(swap, [counter]), low_halves))
        place = builder.add(out, builder.mul(number, ir.Constant(_I64, 64 * _UNROLLED)))
        target = builder.inttoptr(place, _ROW.as_pointer())
        for i, row in enumerate(_encrypt(builder, states, keys)):
            builder.store(row, builder.gep(target, [ir.Constant(_I32, i)]), align=8)
        after = builder.add(number, ir.Constant(_I64, 1))
        number.add_incoming(after, loop)
        counters.add_incoming(builder.add(counters, ir.Constant(_ROW, [4 * _UNROLLED] * 8)), loop)
        builder.cbranch(builder.icmp_signed("<", after, rounds), loop, done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


@compiled
def fill_keystream(key: Words, start: int, out: Words) -> None:
    """Write the words `start`, an even number, and following into `out`, `(size,)`, under a key of four words."""
    rounds = out.size >> 5
    if rounds > 0:
        _blocks(address(key), start >> 1, rounds, address(out))
    rest = out.size - (rounds << 5)
    if rest > 0:
        spill = scratch(32)
        _blocks(address(key), (start >> 1) + (rounds << 4), 1, address(spill))
        for i in range(rest):  # a slice would compile numba's messages about shapes: longer than all of this
            out[(rounds << 5) + i] = spill[i]
        for i in range(32):
            spill[i] = np.uint64(0)
