"""What replies under ckks and released values tell: the attacks of t5 and t6, with and without each protection."""

import functools
import math

import numpy as np
import pytest
import tenseal.sealapi as seal

from mpc.schemes.ckks.native import native_context
from mpc.schemes.ckks.wire import Kind, unpack
from mpc.schemes.rlwe.products import Protection
from mpc.score.encoding import query_reals
from mpc.score.messages import decode_reply
from mpc.score.real_holder import RealMatrixHolder
from mpc.score.real_querier import RealQuerier
from mpc.score.real_spec import finest_real_spec
from mpc.testing.statistics import same_distribution
from tests.property.rlwe_reference import coefficients

DIMENSIONS = 2
PLAN = finest_real_spec(catalogue="c", rows=4096, dimensions=DIMENSIONS).compile()
CONTEXT = native_context(PLAN.parameters)
MODULI, N = PLAN.parameters.lattice.moduli, PLAN.parameters.lattice.degree
EVERYTHING = frozenset()


def vectors(seed=0):
    return np.random.default_rng(seed).normal(size=(4096, DIMENSIONS))


def exchange(items, omit):
    sent = RealQuerier(PLAN).ask(vectors(9)[:1])
    holder = RealMatrixHolder(PLAN, lambda start, stop: items[start:stop], insecure_omit=omit)
    reply = holder.answer(sent.messages[0], charge=lambda _: None).result
    return sent, holder, reply, decode_reply(PLAN.shape, reply).products[0][0]


def exact_phase(state, product):
    """c0 + c1 s modulo every prime, in evaluation form, as the key holder has it before decoding."""
    plain = seal.Plaintext()
    native = CONTEXT.load_reply(unpack(PLAN.parameters, Kind.REPLY, product)[0], PLAN.scale_bits)
    key = state.reader._native(state.reader._key.material())
    seal.Decryptor(CONTEXT.context, key).decrypt(native, plain)
    return words_of(plain)


def words_of(plain):
    raw = CONTEXT._saved(plain, 48 + 24 + 8 * N * len(MODULI))
    return np.frombuffer(raw, dtype="<u8", offset=len(raw) - 8 * N * len(MODULI)).reshape(len(MODULI), N)


def integers(residues):
    """Polynomials by prime in evaluation form to centred integers."""
    q, parts = math.prod(MODULI), [coefficients(row.tolist(), p) for row, p in zip(residues, MODULI, strict=True)]
    factors = [(q // p) * pow(q // p, -1, p) for p in MODULI]
    whole = [sum(f * x for f, x in zip(factors, column, strict=True)) % q for column in zip(*parts, strict=True)]
    return [x - q if x > q // 2 else x for x in whole]


@functools.cache
def noise_of_a_reply(kind, omit):
    """What the phase holds beside the exact product: for an empty catalogue and for a full one."""
    items = np.zeros((4096, DIMENSIONS)) if kind == "empty" else vectors()
    sent, holder, _, product = exchange(items, omit)
    query = query_reals(PLAN.spec, vectors(9)[:1])[0]
    phase = integers(exact_phase(sent.state, product))
    for x, plain in zip(query.tolist(), holder._matrix._rows[0], strict=True):
        scaled = round(x * 2.0**PLAN.spec.query_scale_bits)
        phase = [a - scaled * b for a, b in zip(phase, integers(words_of(plain)), strict=True)]
    unit = 1 << (PLAN.chain.width - 40) if Protection.FLOODING not in omit else 1 << 20
    return np.array([v // unit for v in phase], dtype=np.int64)


def test_the_noise_of_a_reply_does_not_depend_on_the_catalogue():
    empty, full = (noise_of_a_reply(kind, EVERYTHING) for kind in ("empty", "full"))

    assert same_distribution(empty, full)
    assert np.abs(empty).max() <= 1 << 40
    assert np.abs(empty).max() > 0.99 * (1 << 40)


def test_without_flooding_it_does():
    omit = frozenset({Protection.FLOODING})
    empty, full = (noise_of_a_reply(kind, omit) for kind in ("empty", "full"))

    assert not same_distribution(empty, full)
    assert math.log2(np.abs(full).max()) + 20 < PLAN.chain.width - PLAN.chain.flooding_bits


def guess_is_confirmed(omit):
    """A right guess of the catalogue, checked against c1 of the reply without any key."""
    sent, _, _, product = exchange(vectors(), omit)
    holder = RealMatrixHolder(
        PLAN, lambda start, stop: vectors()[start:stop], insecure_omit=frozenset({Protection.RERANDOMISATION})
    )
    mine = decode_reply(PLAN.shape, holder.answer(sent.messages[0], charge=lambda _: None).result).products[0][0]
    one, other = (unpack(PLAN.parameters, Kind.REPLY, data)[0] for data in (product, mine))
    return bool((one[1] == other[1]).all())


@pytest.mark.parametrize(
    ("omit", "confirmed"),
    [(EVERYTHING, False), (frozenset({Protection.RERANDOMISATION}), True)],
    ids=["all", "without"],
)
def test_a_right_guess_is_confirmed_only_without_rerandomisation(omit, confirmed):
    assert guess_is_confirmed(omit) is confirmed


def secret_from(phase, product, prime):
    """t6: whoever knows the phase of a ciphertext divides by c1 and has the key, modulo one prime."""
    residues = unpack(PLAN.parameters, Kind.REPLY, product)[0][:, prime].tolist()
    q = MODULI[prime]
    quotient = [(p - a) * pow(b, -1, q) % q for p, a, b in zip(phase, *residues, strict=True)]
    return [x - q if x > q // 2 else x for x in coefficients(quotient, q)]


def test_an_exact_phase_would_give_the_key_and_released_values_do_not():
    sent, _, reply, product = exchange(vectors(), EVERYTHING)
    exact = exact_phase(sent.state, product)
    stolen = secret_from(exact[0].tolist(), product, 0)
    released = RealQuerier(PLAN).receive(sent.state, reply).result
    plain = CONTEXT.encode(released.values[0], 100)
    scaled = [int(v) * pow(2, PLAN.scale_bits - 100, MODULI[0]) % MODULI[0] for v in words_of(plain)[0]]
    guessed = secret_from(scaled, product, 0)

    assert set(stolen) == {-1, 0, 1}
    assert sum(a == b for a, b in zip(stolen, guessed, strict=True)) <= 20
    assert sum(abs(b) <= 1 for b in guessed) <= 20
