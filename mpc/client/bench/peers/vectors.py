"""Other libraries operation by operation, on full ciphertexts, as their users call them; and plain numpy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from mpc.client.bench.cases import Level, expect
from mpc.client.bench.peers.rounds import version
from mpc.params import ParameterSet

__all__ = ["SUBJECTS", "Op", "Ops"]

BASIC: Final = ("keygen", "encrypt", "add", "parse+add", "multiply-plain", "decrypt", "serialise", "parse")
SYMMETRIC: Final = ("keygen", "encrypt", "encrypt-symmetric", *BASIC[2:])
WITHOUT_PRODUCT: Final = tuple(o for o in SYMMETRIC if o != "multiply-plain")
"""At N = 4096 the default chain has no room for a product beside a 54-bit plaintext modulus."""

_ROOM_BITS: Final = 3
"""A sign, and a factor of three: what results of the operations need beyond the values drawn here."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation, ready to run."""

    run: Callable[[Any], Any]
    check: Callable[[Any], None]
    fresh: Callable[[], Any] | None = None
    wire_bytes: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ops:
    """The operations of one subject on one batch."""

    op: Callable[[str], Op]
    values: int
    bits: int
    """Bits that a value may have."""

    security: int
    scheme: str
    parameters: ParameterSet | None = None
    notes: str = ""


def _values(count: int, bits: int) -> list[int]:
    drawn = np.random.default_rng([23, bits]).integers(0, 1 << bits, count, dtype=np.int64)
    return [int(v) for v in drawn]


def _seen(made: Any) -> None:
    """A result whose rightness other operations show."""
    expect(made is not None, "an operation gave nothing")


def _tenseal_bfv(degree: int, prime: int) -> Ops:
    """`ts.bfv_vector`, one full ciphertext."""
    import tenseal as ts

    number = version("tenseal")

    def context(kind: Any = ts.ENCRYPTION_TYPE.ASYMMETRIC) -> Any:
        return ts.context(ts.SCHEME_TYPE.BFV, degree, prime, encryption_type=kind)

    secret, symmetric = context(), context(ts.ENCRYPTION_TYPE.SYMMETRIC)
    bits = prime.bit_length() - 1
    plain = np.array(_values(degree, bits - _ROOM_BITS), dtype=np.int64)
    vector = ts.bfv_vector(secret, plain)
    data, factors = vector.serialize(), np.arange(degree) % 3 + 1

    def opens(made: Any, factor: Any) -> None:
        expect(np.array_equal(np.array(made.decrypt(secret.secret_key())), factor * plain), "a result is wrong")

    def parsed() -> Any:
        return ts.bfv_vector_from(secret, data)

    multiplier = factors.tolist()
    sealed = ts.bfv_vector(symmetric, plain).serialize()
    table = {
        "keygen": Op(lambda _: context(), _seen),
        "encrypt": Op(lambda _: ts.bfv_vector(secret, plain), lambda v: opens(v, 1), None, len(data)),
        "encrypt-symmetric": Op(lambda _: ts.bfv_vector(symmetric, plain), _seen, None, len(sealed)),
        "add": Op(lambda running: running.__iadd__(vector), lambda v: opens(v, 2), parsed),
        "parse+add": Op(lambda running: running.__iadd__(parsed()), lambda v: opens(v, 2), parsed),
        "multiply-plain": Op(lambda _: vector * multiplier, lambda v: opens(v, factors)),
        "decrypt": Op(lambda _: vector.decrypt(), lambda v: expect(np.array_equal(v, plain), "a result is wrong")),
        "serialise": Op(lambda _: vector.serialize(), _seen),
        "parse": Op(lambda _: parsed(), lambda v: opens(v, 1)),
    }
    notes = f"ts.bfv_vector, N = {degree}, default chain"
    return Ops(op=table.__getitem__, values=degree, bits=bits, security=128, scheme=f"tenseal {number}", notes=notes)


def _tenseal_ckks(_level: Level) -> Ops:
    """`ts.ckks_vector`, one full ciphertext of reals."""
    import tenseal as ts

    number = version("tenseal")

    def context() -> Any:
        made = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60])
        made.global_scale = 2**40
        return made

    secret = context()
    plain = np.array(_values(4096, 40)) / 2.0**40
    vector = ts.ckks_vector(secret, plain)
    data, factors = vector.serialize(), np.arange(len(plain)) % 3 + 1.0

    multiplier = factors.tolist()

    def opens(made: Any, factor: Any) -> None:
        got = made.decrypt() if hasattr(made, "decrypt") else made
        expect(np.allclose(got, factor * plain, rtol=0, atol=1e-4), "a result is wrong")

    def parsed() -> Any:
        return ts.ckks_vector_from(secret, data)

    table = {
        "keygen": Op(lambda _: context(), _seen),
        "encrypt": Op(lambda _: ts.ckks_vector(secret, plain), lambda v: opens(v, 1), None, len(data)),
        "add": Op(lambda running: running.__iadd__(vector), lambda v: opens(v, 2), parsed),
        "parse+add": Op(lambda running: running.__iadd__(parsed()), lambda v: opens(v, 2), parsed),
        "multiply-plain": Op(lambda _: vector * multiplier, lambda v: opens(v, factors)),
        "decrypt": Op(lambda _: vector.decrypt(), lambda v: opens(v, 1)),
        "serialise": Op(lambda _: vector.serialize(), _seen),
        "parse": Op(lambda _: parsed(), lambda v: opens(v, 1)),
    }
    notes = "ts.ckks_vector, N = 8192, chain 60-40-40-60, scale 2^40; approximate"
    return Ops(op=table.__getitem__, values=4096, bits=40, security=128, scheme=f"tenseal {number}", notes=notes)


def _seal(_level: Level) -> Ops:
    """Stock SEAL through `tenseal.sealapi`: BFV, N = 4096, its default chain, batching modulo a 54-bit prime."""
    from mpc.client.bench.peers.seal_vectors import StockSeal
    from mpc.schemes.bfv.native import Scratch

    native, scratch = StockSeal(), Scratch().__enter__()
    bits = native.plain_bits - 1
    plain = _values(native.degree, bits - _ROOM_BITS)

    def opens(made: Any, factor: int) -> None:
        expect(native.decrypt(made) == [factor * v for v in plain], "a result is wrong")

    def load() -> Any:
        return native.load(data, scratch)

    ciphertext = native.encrypt(plain)
    data = native.save(ciphertext, scratch)
    seeded = native.save(native.encrypt_seeded(plain), scratch)
    table = {
        "keygen": Op(lambda _: native.keys(), _seen),
        "encrypt": Op(lambda _: native.encrypt(plain), lambda c: opens(c, 1), None, len(data)),
        "encrypt-symmetric": Op(lambda _: native.encrypt_symmetric(plain), lambda c: opens(c, 1), None, len(seeded)),
        "add": Op(lambda running: native.add(running, ciphertext), lambda c: opens(c, 2), load),
        "parse+add": Op(lambda running: native.add(running, load()), lambda c: opens(c, 2), load),
        "decrypt": Op(lambda _: native.decrypt(ciphertext), lambda v: expect(v == plain, "a result is wrong")),
        "serialise": Op(lambda _: native.save(ciphertext, scratch), _seen),
        "parse": Op(lambda _: load(), lambda c: opens(c, 1)),
    }
    scheme = f"tenseal {version('tenseal')}"
    notes = "tenseal.sealapi, BFV, N = 4096, default chain, lists encoded and decoded"
    return Ops(op=table.__getitem__, values=native.degree, bits=bits, security=128, scheme=scheme, notes=notes)


def _phe(level: Level) -> Ops:
    """`phe`, one value per ciphertext."""
    from phe import paillier

    number, count = version("phe"), 1 if level is Level.SMOKE else 4
    public, private = paillier.generate_paillier_keypair(n_length=2048)
    plain, factors = _values(count, 40), [v | 1 << 39 for v in _values(count, 39)]
    made = [public.encrypt(v) for v in plain]
    data = [c.ciphertext().to_bytes(512, "big") for c in made]

    def opens(ciphertexts: Any, factor: int) -> None:
        expect([private.decrypt(c) for c in ciphertexts] == [factor * v for v in plain], "a result is wrong")

    def multiplied(ciphertexts: Any) -> None:
        wanted = [v * f for v, f in zip(plain, factors, strict=True)]
        expect([private.decrypt(c) for c in ciphertexts] == wanted, "a result is wrong")

    def parsed() -> Any:
        return [paillier.EncryptedNumber(public, int.from_bytes(one, "big")) for one in data]

    def sums(more: Any) -> Any:
        return [a + b for a, b in zip(made, more, strict=True)]

    table = {
        "keygen": Op(lambda _: paillier.generate_paillier_keypair(n_length=2048), _seen),
        "encrypt": Op(lambda _: [public.encrypt(v) for v in plain], lambda c: opens(c, 1), None, 512 * count),
        "add": Op(lambda _: sums(made), lambda c: opens(c, 2)),
        "parse+add": Op(lambda _: sums(parsed()), lambda c: opens(c, 2)),
        "multiply-plain": Op(lambda _: [c * f for c, f in zip(made, factors, strict=True)], multiplied),
        "decrypt": Op(lambda _: [private.decrypt(c) for c in made], lambda v: expect(v == plain, "a result is wrong")),
        "serialise": Op(lambda _: [c.ciphertext(be_secure=False).to_bytes(512, "big") for c in made], _seen),
        "parse": Op(lambda _: parsed(), lambda c: opens(c, 1)),
    }
    notes = "2048-bit modulus, one value per ciphertext, products with 40-bit factors"
    return Ops(op=table.__getitem__, values=count, bits=40, security=112, scheme=f"phe {number}", notes=notes)


def _numpy(level: Level) -> Ops:
    """Plain 64-bit words: what nobody protects."""
    count = 1 << 12 if level is Level.SMOKE else 1 << 18
    plain = np.array(_values(count, 40), dtype=np.int64)
    data, factor = plain.tobytes(), plain >> 20

    def read() -> Any:
        return np.frombuffer(data, dtype=np.int64).copy()

    def same(wanted: Any) -> Callable[[Any], None]:
        return lambda made: expect(np.array_equal(made, wanted), "a result is wrong")

    table = {
        "add": Op(lambda _: np.add(plain, plain), same(2 * plain)),
        "parse+add": Op(lambda _: np.add(plain, np.frombuffer(data, dtype=np.int64)), same(2 * plain)),
        "multiply-plain": Op(lambda _: np.multiply(plain, factor), same(plain * factor)),
        "serialise": Op(lambda _: plain.tobytes(), _seen, None, 8 * count),
        "parse": Op(lambda _: read(), same(plain)),
    }
    return Ops(op=table.__getitem__, values=count, bits=64, security=0, scheme=f"numpy {version('numpy')}")


def _bfv_4096(_level: Level) -> Ops:
    return _tenseal_bfv(4096, 18014398509309953)  # the largest prime below 2^54 that is 1 modulo 8192


def _bfv_8192(_level: Level) -> Ops:
    return _tenseal_bfv(8192, 1152921504606830593)


SUBJECTS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Level], Ops]]]] = {
    "tenseal-bfv-4096": (WITHOUT_PRODUCT, _bfv_4096),
    "tenseal-bfv-8192": (SYMMETRIC, _bfv_8192),
    "tenseal-ckks-8192": (BASIC, _tenseal_ckks),
    "seal-4096": (WITHOUT_PRODUCT, _seal),
    "phe-2048": (BASIC, _phe),
    "numpy": (("add", "parse+add", "multiply-plain", "serialise", "parse"), _numpy),
}
"""Operations and maker by name."""
