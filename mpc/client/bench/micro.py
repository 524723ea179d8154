"""Micro cases: every scheme, every operation, every parameter set, through the interfaces that the protocols use.

Wire bytes go in and come out, so validation and packing are in the figures, as they are in the product. The twin is
the same operation of the `clear` scheme on as many slots; the `clear` scheme's own twin is numpy on plain arrays.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

import numpy as np

from mpc.client.bench.blas import blas_threads_limited
from mpc.client.bench.cases import Case, Level, Observed, Resources, Twin, Unavailable, Work, expect
from mpc.client.bench.records import Wire
from mpc.entropy import Keystream, SystemEntropy, expand
from mpc.errors import ParameterError
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params import PARAMETER_SETS, ParameterSet, SchemeId, SetId
from mpc.parties import PartyId
from mpc.schemes import public, secret
from mpc.schemes.base import Ability, Slots
from mpc.sum.masks import PairwiseMasks

__all__ = ["OPERATIONS", "SchemeBench", "mask_cases", "scheme_cases", "threads_limited"]

_CIPHERTEXTS: Final[Mapping[Level, tuple[int, int]]] = {
    Level.SMOKE: (8, 2),
    Level.QUICK: (32, 8),
    Level.FULL: (64, 32),
}
"""Ciphertexts of a batch: of the lattice schemes, and of Paillier."""

_CLEAR: Final = PARAMETER_SETS[next(name for name, s in PARAMETER_SETS.items() if s.scheme is SchemeId.CLEAR)]
_MASK_PARTIES: Final = (2, 3, 5)
_MASK_WIDTH: Final = 58
_MASK_SET: Final = PARAMETER_SETS[SetId("rlwe-4096-t60")]
_FLOODING_BITS: Final = 40


@contextlib.contextmanager
def threads_limited(count: int) -> Iterator[None]:
    """Compute with so many threads: our kernels ask the environment at every call, numpy's products are told."""
    before = os.environ.get("SEALROOM_THREADS")
    os.environ["SEALROOM_THREADS"] = str(count)
    try:
        with blas_threads_limited(count):
            yield
    finally:
        if before is None:
            del os.environ["SEALROOM_THREADS"]
        else:
            os.environ["SEALROOM_THREADS"] = before


def batch_size(parameters: ParameterSet, level: Level) -> int:
    """Ciphertexts that one run processes."""
    lattice, paillier = _CIPHERTEXTS[level]
    return paillier if parameters.scheme is SchemeId.PAILLIER else lattice


@dataclass
class SchemeBench:
    """One key pair of a set, and inputs of every operation; made once for all operations of the set."""

    parameters: ParameterSet
    count: int

    @cached_property
    def pair(self) -> tuple[PublicKey, SecretKey]:
        """The key pair."""
        return secret.generate(self.parameters, SystemEntropy())

    @cached_property
    def slots(self) -> Slots:
        """Uniform residues; for schemes whose slots are integers, small enough to be added twice."""
        bits = min(62, self.parameters.plain_modulus.bit_length() - 2)
        stream = Keystream(expand(b"sealroom/v1/benchmark-plaintexts", b"slots"))
        return stream.bits(0, self.count * self.parameters.slots, bits).reshape(self.count, -1)

    @cached_property
    def ciphertexts(self) -> list[bytes]:
        """The slots, encrypted."""
        return public.encryptor(self.pair[0]).encrypt(self.slots)

    @cached_property
    def summed(self) -> list[bytes]:
        """The ciphertexts added to themselves."""
        running = public.adder(self.parameters, self.pair[0]).start(self.count)
        running.add(self.ciphertexts)
        running.add(self.ciphertexts)
        return running.finish()

    def reopened(self) -> SecretKey:
        """The secret key as if it had never been opened: a measurement opens one key many times, a product never."""
        return SecretKey(self.parameters.id, self.pair[1].material())

    def opens_to(self, ciphertexts: list[bytes], wanted: Slots) -> bool:
        """Whether ciphertexts decrypt to these slots."""
        opened = secret.decryptor(self.reopened()).decrypt(ciphertexts)
        return bool(np.array_equal(opened, wanted))

    @property
    def doubled(self) -> Slots:
        """The slots added to themselves."""
        twice = self.slots * np.uint64(2)
        modulus = self.parameters.plain_modulus
        return twice if modulus >= 1 << 63 else twice % np.uint64(modulus)


Operation = Callable[[SchemeBench], tuple[Callable[[Any], Any], Callable[[Any], None], Callable[[], Any] | None]]
"""Gives run, check, and what one run uses up."""


def _keygen(bench: SchemeBench) -> tuple[Callable[[Any], Any], Callable[[Any], None], None]:
    def check(made: tuple[PublicKey, SecretKey]) -> None:
        expect(public.validate_public_key(bench.parameters, made[0].data) == made[0], "a key does not validate")

    return lambda _: secret.generate(bench.parameters, SystemEntropy()), check, None


def _encrypt(bench: SchemeBench, *, symmetric: bool) -> tuple[Callable[[Any], Any], Callable[[Any], None], None]:
    chosen = secret.symmetric_encryptor(bench.reopened()) if symmetric else public.encryptor(bench.pair[0])

    def check(made: list[bytes]) -> None:
        expect(bench.opens_to(made, bench.slots), "ciphertexts do not decrypt to what was encrypted")

    return lambda _: chosen.encrypt(bench.slots), check, None


def _add(bench: SchemeBench) -> tuple[Callable[[Any], Any], Callable[[Any], None], Callable[[], Any]]:
    """A second contribution to a running sum: validate, unpack, add."""
    adder = public.adder(bench.parameters, bench.pair[0])

    def begun() -> Any:
        running = adder.start(bench.count)
        running.add(bench.ciphertexts)
        return running

    def run(running: Any) -> Any:
        running.add(bench.ciphertexts)
        return running

    def check(running: Any) -> None:
        expect(bench.opens_to(running.finish(), bench.doubled), "a sum is wrong")

    return run, check, begun


def _decrypt(bench: SchemeBench) -> tuple[Callable[[Any], Any], Callable[[Any], None], Callable[[], Any]]:
    summed = bench.summed

    def check(opened: Slots) -> None:
        expect(np.array_equal(opened, bench.doubled), "a sum decrypts to something else")

    return lambda key: secret.decryptor(key).decrypt(summed), check, bench.reopened


def _evaluation(bench: SchemeBench, *, flooding_bits: int) -> tuple[Callable[[Any], Any], Callable[[Any], None], None]:
    """A product with a plaintext polynomial, or its re-randomisation under flooding.

    The polynomial is X, whose product is easily checked; the cost does not depend on the coefficients.
    """
    from mpc.schemes.rlwe.evaluation import Evaluator

    evaluator = Evaluator(bench.parameters)
    shift = np.zeros_like(bench.slots)
    shift[:, 1] = 1
    ciphertexts = bench.ciphertexts
    modulus = np.uint64(bench.parameters.plain_modulus)
    shifted = np.roll(bench.slots, 1, axis=1)
    shifted[:, 0] = (modulus - shifted[:, 0]) % modulus

    def multiply(_: object) -> list[bytes]:
        return evaluator.multiply_plain(ciphertexts, shift, coefficient_bound=1)

    def check(made: list[bytes]) -> None:
        expect(bench.opens_to(made, shifted), "a product is wrong")

    try:
        products = multiply(None)
        if not flooding_bits:
            return multiply, check, None
        evaluator.flood(products, bench.pair[0], flooding_bits=flooding_bits)
    except ParameterError as error:
        raise Unavailable(f"the set has no room for it: {error.detail or error}") from None
    return lambda _: evaluator.flood(products, bench.pair[0], flooding_bits=flooding_bits), check, None


_EVALUATIONS: Final = {"multiply-plain": Ability.MULTIPLIES_PLAIN, "flood": Ability.FLOODS}
"""Operations that not every scheme has."""

OPERATIONS: Final[Mapping[str, Operation]] = {
    "keygen": _keygen,
    "encrypt": partial(_encrypt, symmetric=False),
    "encrypt-symmetric": partial(_encrypt, symmetric=True),
    "add": _add,
    "decrypt": _decrypt,
    "multiply-plain": partial(_evaluation, flooding_bits=0),
    "flood": partial(_evaluation, flooding_bits=_FLOODING_BITS),
}


def _wire(operation: str, result: Any) -> Observed:
    if operation == "keygen":
        return Observed(wire=Wire(down_bytes=len(result[0].data)))
    if operation.startswith("encrypt"):
        return Observed(wire=Wire(up_bytes=sum(map(len, result))))
    return Observed()


def _numpy_twin(operation: str, bench: SchemeBench) -> Twin:
    """The same on plain arrays: copy out, add, copy in."""
    slots = bench.slots.copy()
    data = slots.tobytes()
    match operation:
        case "keygen":
            return Twin(lambda _: SystemEntropy().token(32))
        case "add":
            return Twin(lambda _: np.add(slots, np.frombuffer(data, dtype=np.uint64).reshape(slots.shape)))
        case "decrypt":
            return Twin(lambda _: np.frombuffer(data, dtype=np.uint64).copy())
        case _:
            return Twin(lambda _: slots.tobytes())


def _clear_twin(operation: str, bench: SchemeBench) -> Twin:
    """The same operation of `clear`, on at least as many slots."""
    count = -(-bench.count * bench.parameters.slots // _CLEAR.slots)
    run, _, fresh = OPERATIONS[operation](SchemeBench(_CLEAR, count))
    return Twin(run, fresh)


def _product_twin(_operation: str, bench: SchemeBench) -> Twin:
    """A plaintext product or a fresh cover, slot by slot."""
    slots = bench.slots
    return Twin(lambda _: np.multiply(slots, slots))


@contextlib.contextmanager
def _prepared(parameters: ParameterSet, operation: str, level: Level, resources: Resources) -> Iterator[Work]:
    count = batch_size(parameters, level)
    with threads_limited(1):
        bench = resources.get(f"{parameters.id}/{level}", lambda: SchemeBench(parameters, count))
        run, check, fresh = OPERATIONS[operation](bench)
        insecure = parameters.scheme is SchemeId.CLEAR
        make_twin = _product_twin if operation in _EVALUATIONS else _numpy_twin if insecure else _clear_twin
        yield Work(
            run=run,
            check=check,
            fresh=fresh,
            twins={"clear" if make_twin is _clear_twin else "numpy": make_twin(operation, bench)},
            values=1 if operation == "keygen" else count * parameters.slots,
            observe=partial(_wire, operation),
            parameters=parameters,
            payload_bits=parameters.plain_modulus.bit_length() - 1,
        )


def scheme_cases(level: Level) -> Iterator[Case]:
    """Every operation of every parameter set."""
    for parameters in PARAMETER_SETS.values():
        able = public.abilities(parameters.scheme)
        for operation in OPERATIONS:
            if operation in _EVALUATIONS and _EVALUATIONS[operation] not in able:
                continue
            yield Case(
                path=f"micro/schemes/{parameters.id}/{operation}",
                group=f"micro/schemes/{parameters.id}",
                labels={"operation": operation, "set": parameters.id},
                prepare=partial(_prepared, parameters, operation, level),
            )


@contextlib.contextmanager
def _masking(parties: int, slots: int, _resources: Resources) -> Iterator[Work]:
    names = [PartyId(f"p{i}") for i in range(parties)]
    keys = {p: SystemEntropy().token(32) for p in names[1:]}
    stream = public.keystream(_MASK_SET)
    masks = PairwiseMasks.derive(names[0], keys, stream=stream)
    limbs = np.arange(slots, dtype=np.uint64).reshape(-1, 1)
    word = np.uint64((1 << _MASK_WIDTH) - 1)

    def check(masked: Slots) -> None:
        total = masked.copy()
        for name in names[1:]:
            other = PairwiseMasks.derive(name, {names[0]: keys[name]}, stream=stream)
            total += other.mask_values(np.zeros_like(limbs), 0, _MASK_WIDTH)
        expect(np.array_equal(total & word, limbs), "masks do not cancel")

    yield Work(
        run=lambda _: masks.mask_values(limbs, 0, _MASK_WIDTH),
        check=check,
        twins={"numpy": Twin(lambda _: np.add(limbs, limbs))},
        values=slots,
        scheme="masks",
        security=128,
        payload_bits=_MASK_WIDTH,
    )


def mask_cases(level: Level) -> Iterator[Case]:
    """The pairwise masks of one party among several."""
    slots = 4096 if level is Level.SMOKE else 1 << 18
    for parties in _MASK_PARTIES:
        yield Case(
            path=f"micro/masks/p{parties}",
            group="micro/masks",
            labels={"operation": "mask", "parties": parties},
            prepare=partial(_masking, parties, slots),
        )
