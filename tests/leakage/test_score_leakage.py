"""What can be read in the replies of a scoring, and that each of the three protections is needed.

Every attack below reads the catalogue when the protection it is aimed at is left out, and nothing when all are there.
Those on `unrounded` products have more than any peer is sent: the reply rounds them and leaves most coefficients out.
One ciphertext a query (dimensions per ciphertext = dimensions) is the case that attacks like best: one unknown
polynomial, one known one. Attacks after notes t5 (ratios, noise) and t12 (neighbouring sums).
"""

import functools

import numpy as np
import pytest

from mpc.entropy import SystemEntropy
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.schemes.rlwe.matrix import EncodedMatrix
from mpc.schemes.rlwe.products import Cover, Protection, Workspace
from mpc.schemes.rlwe.products_reply import expand_replies
from mpc.schemes.rlwe.secret import decryptor, generate, symmetric_encryptor
from mpc.score.encoding import item_integers, item_polynomials, query_integers, query_polynomials
from mpc.score.holder import MatrixHolder
from mpc.score.messages import Query, decode_query, decode_reply, encode_query
from mpc.score.querier import Querier
from mpc.score.spec import ScoreSpec, finest_spec
from mpc.testing.statistics import same_distribution, uniform
from tests.property.rlwe_reference import Reference, coefficients, product, values

DIMENSIONS = 8
SPEC = ScoreSpec(
    catalogue="c",
    rows=512,
    dimensions=DIMENSIONS,
    query_scale_bits=10,
    item_scale_bits=10,
    dimensions_per_ciphertext=DIMENSIONS,
)
PLAN = SPEC.compile()
N = PLAN.parameters.slots
REFERENCE = Reference(PLAN.parameters)
EVERYTHING = frozenset()


def vectors(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, DIMENSIONS))


class Scene:
    """One catalogue, one holder, and everything a key holder or an onlooker could have."""

    def __init__(self, omit=EVERYTHING, *, items=None, seed=1):
        self.items = vectors(SPEC.rows, seed) if items is None else items
        self.polynomial = item_polynomials(PLAN, item_integers(PLAN, self.items))[0]
        self.omit = omit
        self.matrix = EncodedMatrix(
            PLAN.parameters,
            rows=1,
            terms=1,
            polynomials=lambda _: self.polynomial[np.newaxis],
            magnitude=PLAN.magnitude,
        )
        self.workspace = Workspace(self.matrix, 1, 1)

    def ask(self, seed=2):
        """A query, its ciphertext, and its querier's secret."""
        vector = vectors(1, seed)
        sent = Querier(PLAN).ask(vector)
        message = sent.messages[0]
        query = decode_query(PLAN.shape, message)
        return vector, message, query, sent.state

    def unrounded(self, query):
        """The covered product as integers modulo q, `(2, N)`."""
        self.workspace.read(query.ciphertexts)
        cover = Cover(PLAN.product, PublicKey(PLAN.parameters.id, query.public_key), insecure_omit=self.omit)
        parts = cover.insecure_unrounded(self.workspace.multiply(1, range(1))[0], PLAN.positions())[0]
        return [integers(part) for part in parts]


def integers(part):
    """Residues times `(q / q_i)^-1`, by prime, as integers modulo q."""
    q = REFERENCE.q
    return [sum(int(y) * (q // p) for y, p in zip(c, REFERENCE.moduli, strict=True)) % q for c in part.T.tolist()]


def query_mask(query):
    """c1 of the query's one ciphertext modulo the first prime, in evaluation form."""
    return REFERENCE.halves(query.ciphertexts[0][0])[1][0]


def recovered(guess, truth, *, within=0):
    """How many coefficients an attacker has right."""
    return int((np.abs(np.array(guess, dtype=np.float64) - np.array(truth, dtype=np.float64)) <= within).sum())


def keyless_ratio(omit):
    """Anyone with both ciphertexts divides c1 of the reply by c1 of the query."""
    scene = Scene(omit)
    _, _, query, _ = scene.ask()
    q = REFERENCE.moduli[0]
    after, before = values([x % q for x in scene.unrounded(query)[1]], q), query_mask(query)
    ratio = coefficients([a * pow(b, -1, q) % q if b else 0 for a, b in zip(after, before, strict=True)], q)
    return recovered([x - q if x > q // 2 else x for x in ratio], scene.polynomial)


def test_dividing_the_reply_by_the_query_reads_nothing():
    assert keyless_ratio(EVERYTHING) == 0


def test_without_rerandomisation_dividing_reads_the_whole_catalogue():
    assert keyless_ratio(frozenset({Protection.RERANDOMISATION})) == N


def noise_regression(omit, queries=8):
    """The key holder knows its own errors and solves for what they were multiplied by."""
    scene, twist = Scene(omit), np.exp(1j * np.pi * np.arange(N) / N)
    top, bottom = np.zeros(N, dtype=complex), np.zeros(N)
    for number in range(queries):
        vector, _, query, state = scene.ask(seed=100 + number)
        secret = REFERENCE.secret(state.key.material())
        message = [int(m) for m in query_polynomials(PLAN, query_integers(PLAN, vector)[0])[0]]
        own = rational_noise(REFERENCE.phase(query.ciphertexts[0][0], secret), message)
        c0, c1 = scene.unrounded(query)
        phase = [(x + y) % REFERENCE.q for x, y in zip(c0, product(c1, secret), strict=True)]
        opened = [(2 * REFERENCE.t * x + REFERENCE.q) // (2 * REFERENCE.q) % REFERENCE.t for x in phase]
        left, right = (np.fft.fft(np.array(v) * twist) for v in (own, rational_noise(phase, opened)))
        top += right * np.conj(left)
        bottom += np.abs(left) ** 2
    return recovered(np.rint((np.fft.ifft(top / bottom) / twist).real), scene.polynomial, within=3)


def rational_noise(phase, message):
    """v in `phase = (q / t) m + v`, as doubles."""
    q, t = REFERENCE.q, REFERENCE.t
    out = []
    for x, m in zip(phase, message, strict=True):
        scaled = (t * x - q * m) % (t * q)
        out.append(float(scaled - t * q if scaled > t * q // 2 else scaled) / t)
    return out


def test_the_key_holder_reads_nothing_in_the_noise_of_eight_replies():
    assert noise_regression(EVERYTHING) == 0


def test_without_flooding_the_key_holder_reads_most_of_the_catalogue_in_the_noise():
    assert noise_regression(frozenset({Protection.FLOODING})) > 0.9 * N


def partial_sums(omit):
    """The key holder opens the coefficients between the scores and divides by its own query (t12)."""
    scene = Scene(omit)
    vector, _, query, state = scene.ask()
    secret = REFERENCE.secret(state.key.material())
    c0, c1 = scene.unrounded(query)
    phase = [(x + y) % REFERENCE.q for x, y in zip(c0, product(c1, secret), strict=True)]
    t = REFERENCE.t
    opened = [(2 * t * x + REFERENCE.q) // (2 * REFERENCE.q) % t for x in phase]
    signed = np.array([m - t if m > t // 2 else m for m in opened], dtype=np.float64)
    own = np.zeros(N)
    own[:DIMENSIONS] = query_integers(PLAN, vector)[0]
    twist = np.exp(1j * np.pi * np.arange(N) / N)
    quotient = np.fft.fft(signed * twist) / np.fft.fft(own * twist)
    return recovered(np.rint((np.fft.ifft(quotient) / twist).real), scene.polynomial, within=1)


def test_partial_sums_between_the_scores_read_nothing():
    assert (
        partial_sums(EVERYTHING) <= 40
    )  # guesses of some thousand: a few of 4096 are within one of the truth by chance


def test_without_uniform_filling_one_reply_gives_every_weight_away():
    assert partial_sums(frozenset({Protection.UNIFORM_FILLING})) == N


def reply_of(items, message, omit=EVERYTHING):
    holder = MatrixHolder(PLAN, lambda start, stop: items[start:stop], insecure_omit=omit)
    return holder.answer(message, charge=lambda _: None).result


def guess_is_confirmed(omit):
    """Someone who guesses the catalogue computes the reply's c1 from the query, and compares it with the real bytes."""
    scene = Scene()
    _, message, _, _ = scene.ask()
    sent = decode_reply(PLAN.shape, reply_of(scene.items, message, omit)).products[0][0]
    guessed = decode_reply(
        PLAN.shape, reply_of(scene.items, message, frozenset({Protection.RERANDOMISATION}))
    ).products[0][0]
    mask_bytes = N * PLAN.product.mask_bits // 8
    return sent[:mask_bytes] == guessed[:mask_bytes]


def test_a_right_guess_of_the_catalogue_is_not_confirmed_by_a_real_reply():
    assert not guess_is_confirmed(EVERYTHING)


def test_without_rerandomisation_it_would_be():
    assert guess_is_confirmed(frozenset({Protection.RERANDOMISATION}))


def test_real_replies_carry_no_coefficient_but_the_scores():
    words = -(-N * PLAN.product.mask_bits // 64) + -(-SPEC.rows * PLAN.product.body_bits // 64)
    scene = Scene()
    _, message, _, _ = scene.ask()
    reply = decode_reply(PLAN.shape, reply_of(scene.items, message)).products[0]

    assert [len(one) for one in reply] == [8 * words]


def test_what_the_key_holder_opens_beside_the_scores_is_uniform():
    scene = Scene()
    _, message, _, state = scene.ask()
    reply = decode_reply(PLAN.shape, reply_of(scene.items, message)).products[0]
    opener = decryptor(SecretKey(PLAN.parameters.id, state.key.material()))
    slots = opener.decrypt(expand_replies(PLAN.product, PLAN.positions(), list(reply)))[0]
    others = np.delete(slots, np.arange(DIMENSIONS - 1, N, DIMENSIONS))

    assert uniform(others, PLAN.parameters.plain_modulus)


@functools.cache
def noises(kind, omit, queries=6):
    """Noise of covered products that a key holder sees, for one of three catalogues, and c1 of the same."""
    items = {
        "zero": np.zeros((SPEC.rows, DIMENSIONS)),
        "alike": np.ones((SPEC.rows, DIMENSIONS)),
        "random": vectors(SPEC.rows, 3),
    }[kind]
    scene = Scene(omit, items=items)
    noise, masks = [], []
    for number in range(queries):
        _, _, query, state = scene.ask(seed=number)
        secret = REFERENCE.secret(state.key.material())
        c0, c1 = scene.unrounded(query)
        phase = [(x + y) % REFERENCE.q for x, y in zip(c0, product(c1, secret), strict=True)]
        opened = [(2 * REFERENCE.t * x + REFERENCE.q) // (2 * REFERENCE.q) % REFERENCE.t for x in phase]
        noise += rational_noise(phase, opened)
        masks += c1
    unit = 2.0 ** (PLAN.product.width - 40) if Protection.FLOODING not in omit else 1.0
    return (np.array(noise) / unit).astype(np.int64), np.array([m >> 60 for m in masks], dtype=np.int64)


@pytest.mark.parametrize("kind", ["alike", "random"])
def test_noise_and_mask_of_a_reply_do_not_depend_on_the_catalogue(kind):
    for one, other in zip(noises(kind, EVERYTHING), noises("zero", EVERYTHING), strict=True):
        assert same_distribution(one, other)


@pytest.mark.parametrize("kind", ["alike", "random"])
def test_without_flooding_the_noise_tells_an_empty_catalogue_from_a_full_one(kind):
    omit = frozenset({Protection.FLOODING})

    assert not same_distribution(noises(kind, omit)[0], noises("zero", omit)[0])


def test_without_rerandomisation_the_mask_of_an_empty_catalogue_is_zero():
    assert not noises("zero", frozenset({Protection.RERANDOMISATION}), 1)[1].any()


def test_flooding_fills_its_range_evenly():
    noise = noises("random", EVERYTHING)[0]  # in units that put the range at [-2^40, 2^40)

    assert uniform((noise + (1 << 40)).astype(np.uint64), 1 << 41)


def test_sizes_do_not_depend_on_vectors():
    sizes = set()
    for seed, items in ((1, np.zeros((SPEC.rows, DIMENSIONS))), (2, vectors(SPEC.rows, 5)), (3, vectors(SPEC.rows, 6))):
        _, message, _, _ = Scene().ask(seed)
        sizes.add((len(message), len(reply_of(items, message))))

    assert len(sizes) == 1


def test_the_same_query_is_answered_with_different_bytes():
    scene = Scene()
    _, message, _, _ = scene.ask()
    one, other = (np.frombuffer(reply_of(scene.items, message)[60:], dtype=np.uint8) for _ in range(2))

    chance = one.size / 256
    assert abs(int((one == other).sum()) - chance) < 6 * chance**0.5  # by chance once in 10^8


def test_entropy_is_asked_for_every_message():
    class Counting(SystemEntropy):
        asked = 0

        def token(self, size):
            Counting.asked += size
            return super().token(size)

    source = Counting()
    scene = Scene()
    message = Querier(PLAN).ask(vectors(1, 1), entropy=source).messages[0]
    before = Counting.asked
    holder = MatrixHolder(PLAN, lambda start, stop: scene.items[start:stop])
    holder.answer(message, charge=lambda _: None, entropy=source)

    assert before >= 32 + 64 + 16
    assert Counting.asked >= before + 64


# ---- what the protocol does not keep from a client that breaks the rules (README.md, section 5) ---------------------


def aimed_query(plan, bits):
    """A message whose score c reads dimensions 2 c and 2 c + 1 of item 0, `bits` bits apart, and a key to open it."""
    public_key, key = generate(plan.parameters, SystemEntropy())
    polynomials = np.zeros((plan.terms, N), dtype=np.uint64)
    pairs = np.arange(plan.terms // 2)
    polynomials[2 * pairs, pairs], polynomials[2 * pairs + 1, pairs] = 1, 1 << bits
    ciphertexts = tuple(symmetric_encryptor(key).encrypt(polynomials))
    query = Query(name=bytes(16), public_key=public_key.data, ciphertexts=(ciphertexts,))
    return encode_query(plan.shape, query), key


def test_a_cheat_who_knows_the_other_items_reads_one_with_a_single_query():
    dimensions, rows, bits = 128, 200, 13
    plan = finest_spec(catalogue="c", rows=rows, dimensions=dimensions).compile()
    items = np.random.default_rng(3).normal(size=(rows, dimensions))
    integers = item_integers(plan, items)
    message, key = aimed_query(plan, bits)
    reply = MatrixHolder(plan, lambda a, b: items[a:b]).answer(message, charge=lambda _: None).result
    products = decode_reply(plan.shape, reply).products[0]
    read = decryptor(key).decrypt(expand_replies(plan.product, plan.positions(), products))[0][:rows].astype(np.int64)

    pairs = integers[:, ::2] + (integers[:, 1::2] << bits)
    for c in range(dimensions // 2):
        read[c] -= sum(int(pairs[c - x, x]) for x in range(c))
    found = (read[: dimensions // 2] + (1 << bits - 1)) % (1 << 2 * bits) - (1 << bits - 1)
    low = (found + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
    high = (((found - low) >> bits) + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)

    assert np.array_equal(np.stack([low, high], axis=1).reshape(-1), integers[0])
    assert plan.aimed_queries == 1 < plan.malicious_queries
