"""Arithmetic cases: one table for every library and every path of ours, operation by operation.

Ours are measured on both arithmetic paths of `rlwe` (AVX-512 IFMA and portable) and on one and two threads; the others
on one, as their users call them. Everything is per value, that is per slot of a full ciphertext, whose bits are named.
`parse+add` is what a coordinator does with bytes from the network; `add` is the addition alone. One thread counts
processor time, two threads elapsed time.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from mpc.client.bench.cases import Case, ClockKind, Level, Observed, Resources, Twin, Unavailable, Work, expect
from mpc.client.bench.machine import cores
from mpc.client.bench.micro import OPERATIONS, SchemeBench, threads_limited
from mpc.client.bench.peers import vectors
from mpc.client.bench.peers.vectors import Op, Ops
from mpc.client.bench.records import Wire
from mpc.params import SchemeId, parameter_set
from mpc.schemes import public

__all__ = ["OPERATION_NAMES", "arithmetic_cases"]

OPERATION_NAMES: Final = (
    "keygen", "table", "encrypt", "encrypt-symmetric", "add", "parse+add", "multiply-plain", "decrypt", "serialise",
    "parse",
)  # fmt: skip
_PATHS: Final = ("ifma", "portable")
_COUNTS: Final[Mapping[Level, int]] = {Level.SMOKE: 8, Level.QUICK: 64, Level.FULL: 128}
_PAILLIER_COUNTS: Final[Mapping[Level, int]] = {Level.SMOKE: 2, Level.QUICK: 24, Level.FULL: 96}
_PATH_VARIABLE: Final = "SEALROOM_RLWE_ARITHMETIC"


@contextlib.contextmanager
def path_chosen(path: str) -> Iterator[None]:
    """Compute on one arithmetic path of `rlwe`; an empty name leaves the choice as it is."""
    before = os.environ.get(_PATH_VARIABLE)
    if path:
        os.environ[_PATH_VARIABLE] = path
    try:
        yield
    finally:
        if path:
            del os.environ[_PATH_VARIABLE]
            if before is not None:
                os.environ[_PATH_VARIABLE] = before


@dataclass(frozen=True, slots=True)
class _Subject:
    """A line of the table."""

    name: str
    operations: tuple[str, ...]
    make: Callable[[Level], Ops]
    threads: int = 1
    path: str = ""


def _own_ops(name: str, level: Level) -> Ops:
    """Every operation of a set of ours, through the interfaces that the protocols use."""
    parameters = parameter_set(name)
    paillier = parameters.scheme is SchemeId.PAILLIER
    bench = SchemeBench(parameters, (_PAILLIER_COUNTS if paillier else _COUNTS)[level])

    def made(operation: str) -> Op:
        extra = {"parse": _parse, "serialise": _serialise, "add": _add, "table": _table}
        if operation in extra:
            return extra[operation](bench)
        run, check, fresh = OPERATIONS["add" if operation == "parse+add" else operation](bench)
        size = {"encrypt": parameters.ciphertext_bytes, "encrypt-symmetric": parameters.symmetric_ciphertext_bytes}
        return Op(run, check, fresh, wire_bytes=bench.count * size.get(operation, 0))

    return Ops(
        op=made,
        values=bench.count * parameters.slots,
        bits=parameters.plain_modulus.bit_length() - 1 if not paillier else 64,
        security=128,
        scheme="",
        parameters=parameters,
        notes="masks, limbs and digests not included",
    )


def _add(bench: SchemeBench) -> Op:
    """Addition alone: of unpacked residues, or of ciphertexts modulo n squared."""
    if bench.parameters.scheme is SchemeId.PAILLIER:
        from mpc.schemes.paillier.wire import unpack_ciphertexts, unpack_key

        modulus = unpack_key(bench.pair[0].data, bench.parameters)
        numbers = unpack_ciphertexts(bench.ciphertexts, bench.parameters, modulus)
        return Op(lambda _: [a * a % modulus.squared for a in numbers], lambda made: expect(made, "nothing was added"))
    lattice = bench.parameters.lattice
    primes = len(lattice.moduli) if lattice else 1
    residues = np.ones((bench.count, 2 * primes, bench.parameters.slots), dtype=np.uint64)
    sums = np.zeros_like(residues)

    def run(_: object) -> None:
        for total, more in zip(sums, residues, strict=True):
            np.add(total, more, out=total)

    return Op(run, lambda _: expect((sums > 0).all(), "nothing was added"))


def _serialise(bench: SchemeBench) -> Op:
    """A sum to bytes: reduced and packed."""
    if bench.parameters.scheme is SchemeId.PAILLIER:
        from mpc.schemes.paillier.wire import pack_ciphertext, unpack_ciphertexts, unpack_key

        modulus = unpack_key(bench.pair[0].data, bench.parameters)
        numbers = unpack_ciphertexts(bench.ciphertexts, bench.parameters, modulus)
        return Op(
            lambda _: [pack_ciphertext(n, bench.parameters) for n in numbers],
            lambda made: expect(made == bench.ciphertexts, "bytes differ"),
        )
    adder = public.adder(bench.parameters, bench.pair[0])

    def begun() -> Any:
        running = adder.start(bench.count)
        running.add(bench.ciphertexts)
        return running

    return Op(
        lambda running: running.finish(),
        lambda made: expect(bench.opens_to(made, bench.slots), "a sum is wrong"),
        begun,
    )


def _parse(bench: SchemeBench) -> Op:
    """Bytes to residues, all checks included."""
    parameters, ciphertexts = bench.parameters, bench.ciphertexts
    if parameters.scheme is SchemeId.PAILLIER:
        from mpc.schemes.paillier.wire import unpack_ciphertexts, unpack_key

        modulus = unpack_key(bench.pair[0].data, parameters)
        return Op(
            lambda _: unpack_ciphertexts(ciphertexts, parameters, modulus),
            lambda made: expect(len(made) == bench.count, "ciphertexts are missing"),
        )
    from mpc.schemes.rlwe.blocks import DEFAULT, BlockReader, for_blocks
    from mpc.schemes.rlwe.ring import LANES
    from mpc.schemes.rlwe.wire import parse_batch

    ring = DEFAULT.ring(parameters)

    def run(_: object) -> int:
        batch = parse_batch(ciphertexts, parameters)

        def read(blocks: range) -> None:
            reader = BlockReader(ring)
            for block in blocks:
                reader.read(batch[LANES * block : LANES * (block + 1)])

        for_blocks(-(-len(batch) // LANES), DEFAULT, read)
        return len(batch)

    return Op(run, lambda count: expect(count == bench.count, "ciphertexts are missing"))


def _table(bench: SchemeBench) -> Op:
    """Paillier's fixed-base tables for as many ciphertexts as the batch has; its memory is in the row."""
    import gmpy2

    from mpc.schemes.paillier.comb import Comb, cheapest_shape
    from mpc.schemes.paillier.wire import MODULUS_BITS, unpack_key

    modulus = unpack_key(bench.pair[0].data, bench.parameters)
    shape = cheapest_shape(MODULUS_BITS // 2, bench.count)
    base = gmpy2.powmod(3, modulus.n, modulus.squared)
    size = shape.entries * MODULUS_BITS // 4
    return Op(
        lambda _: Comb(base, modulus.squared, shape),
        lambda comb: expect(comb.shape == shape, "another table"),
        figures={"table_bytes": float(size), "ciphertexts": float(bench.count)},
    )


def _subjects(level: Level) -> Iterator[_Subject]:
    whole = tuple(o for o in OPERATION_NAMES if o != "table")
    names = ("rlwe-2048-t30",) if level is Level.SMOKE else ("rlwe-2048-t30", "rlwe-4096-t60")
    without_product = tuple(o for o in whole if o != "multiply-plain")
    for name in names:
        able = without_product if name == "rlwe-2048-t30" else whole  # its modulus has no room for products
        for path in _PATHS:
            for threads in (1, 2):
                yield _Subject(f"{name}-{path}-{threads}t", able, partial(_own_ops, name), threads, path)
    yield _Subject("paillier-3072-s64", ("table", *without_product), partial(_own_ops, "paillier-3072-s64"))
    for name, (operations, make) in vectors.SUBJECTS.items():
        yield _Subject(name, operations, make)


def _twin(operation: str, values: int) -> Twin:
    """The same on plain 64-bit words."""
    words = np.arange(values, dtype=np.uint64)
    match operation:
        case "add" | "parse+add":
            return Twin(lambda _: np.add(words, words))
        case "multiply-plain":
            return Twin(lambda _: np.multiply(words, words))
        case _:
            return Twin(lambda _: words.tobytes())


@contextlib.contextmanager
def _prepared(subject: _Subject, operation: str, level: Level, resources: Resources) -> Iterator[Work]:
    if subject.threads > cores():
        raise Unavailable(f"this machine has {cores()} core")
    if subject.path == "ifma":
        from mpc.schemes.rlwe.kernels.host import host_has_ifma

        if not host_has_ifma():
            raise Unavailable("this processor has no AVX-512 IFMA")
    with threads_limited(subject.threads), path_chosen(subject.path):
        ops = resources.get(f"{subject.name}/{level}", lambda: subject.make(level))
        op = ops.op(operation)
        values = 1 if operation in {"keygen", "table"} else ops.values
        yield Work(
            run=op.run,
            check=op.check,
            fresh=op.fresh,
            twins={} if values == 1 else {"numpy": _twin(operation, values)},
            values=values,
            observe=lambda _: Observed(wire=Wire(up_bytes=op.wire_bytes), figures=op.figures),
            parameters=ops.parameters,
            scheme=ops.scheme,
            security=ops.security,
            payload_bits=ops.bits,
            threads=subject.threads,
            clock=ClockKind.CPU if subject.threads == 1 else ClockKind.WALL,
            notes=ops.notes,
        )


def arithmetic_cases(level: Level) -> Iterator[Case]:
    """Every operation of every subject."""
    for subject in _subjects(level):
        for operation in subject.operations:
            yield Case(
                path=f"micro/arithmetic/{subject.name}/{operation}",
                group=f"micro/arithmetic/{subject.name}",
                labels={
                    "subject": subject.name, "operation": operation, "threads": subject.threads,
                    "arithmetic": subject.path,
                },
                prepare=partial(_prepared, subject, operation, level),
            )  # fmt: skip
