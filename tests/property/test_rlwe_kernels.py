"""Every kernel against Python integers, in both arithmetics, at random and at the edges."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpc.entropy import Keystream
from mpc.errors import ParameterError
from mpc.params import SchemeId, parameter_set
from mpc.params.catalogue import PARAMETER_SETS
from mpc.params.rlwe import RLWE_SETS
from mpc.schemes.public import keystream
from mpc.schemes.rlwe.kernels import packing, pipeline, rounding, sampling, transform
from mpc.schemes.rlwe.kernels.host import host_has_ifma
from mpc.schemes.rlwe.keystream import VectorKeystream
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.ring import Arithmetic, error_words, least_root, ring
from tests.property import rlwe_reference as reference

NAMES = [p.id for p in RLWE_SETS]
ARITHMETICS = [
    pytest.param(
        a,
        marks=pytest.mark.skipif(
            a is Arithmetic.IFMA and not host_has_ifma(), reason="this processor has no AVX-512 IFMA"
        ),
        id=a,
    )
    for a in Arithmetic
]
both = pytest.mark.parametrize("arithmetic", ARITHMETICS)
rings = pytest.mark.parametrize("name", ["rlwe-2048-t30", "rlwe-4096-t60", "rlwe-8192-t60"])
few = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def block(seed, q, n, shape=None):
    """Residues with the extremes among them: all 0, all q - 1, alternating, and random ones."""
    random = np.random.default_rng(seed)
    out = random.integers(0, q, shape or (n, 8), dtype=np.uint64)
    kind = seed % 4
    if kind == 0 and out.shape[-1] == 8:
        out[..., 0], out[..., 1] = 0, q - 1
        out[::2, ..., 2], out[1::2, ..., 2] = q - 1, 0
    elif kind == 1:
        out[:] = q - 1
    return out


def integers(array):
    return [int(x) for x in np.asarray(array).reshape(-1)]


def test_the_reference_transform_is_evaluation():
    n, q = 256, 7681
    a = integers(block(3, q, n, (n, 1)))
    root = least_root(n, q)
    points = [pow(root, 2 * reference.reverse_bits(i, n) + 1, q) for i in range(n)]

    assert root == reference.least_root(n, q)
    assert reference.values(a, q) == [sum(c * pow(x, i, q) for i, c in enumerate(a)) % q for x in points]
    assert reference.coefficients(reference.values(a, q), q) == a


def test_the_reference_product_is_the_schoolbook_one():
    a, b = [3, -5, 7, 11], [-2, 13, 0, -17]
    out = [0] * 4
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            out[(i + j) % 4] += x * y if i + j < 4 else -x * y

    assert reference.product(a, b) == out


@both
@rings
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_forward_is_evaluation_and_inverse_undoes_it(arithmetic, name, seed):
    constants = ring(parameter_set(name).id, arithmetic)
    for i in {0, constants.primes - 1}:
        q = constants.moduli[i]
        a = block(seed, q, constants.degree)
        values = a.copy()
        transform.forward(values, constants.forward[i], constants.modulus[i], constants.portable)

        for lane in (0, 1, 2, 7) if seed == 0 else (5,):
            assert integers(values[:, lane]) == reference.values(integers(a[:, lane]), q)

        transform.inverse(values, constants.inverse[i], constants.modulus[i], constants.unscale[i], constants.portable)
        assert np.array_equal(values, a)


@both
@rings
def test_evaluation_turns_products_into_products(arithmetic, name):
    constants = ring(parameter_set(name).id, arithmetic)
    n, q = constants.degree, constants.moduli[0]
    a, b = block(5, q, n), block(6, q, n)
    x, y = a.copy(), b.copy()
    for one in (x, y):
        transform.forward(one, constants.forward[0], constants.modulus[0], constants.portable)
    transform.multiply(x, y, x, constants.modulus[0], constants.portable)
    transform.inverse(x, constants.inverse[0], constants.modulus[0], constants.unscale[0], constants.portable)

    expected = [v % q for v in reference.product(integers(a[:, 3]), integers(b[:, 3]))]
    assert integers(x[:, 3]) == expected


@both
@given(st.integers(0, 1000))
@few
def test_products_of_residues_are_exact(arithmetic, seed):
    constants = ring(parameter_set("rlwe-8192-t60").id, arithmetic)
    for i, q in enumerate(constants.moduli):
        x, y, e = (block(seed + d, q, 256) for d in (0, 4, 9))
        w = y[:, 0].copy()
        table, out = np.empty((256, 2), dtype=np.uint64), np.empty_like(x)
        sampling.multipliers_of(w, constants.modulus[i], table, constants.portable)
        transform.multiply_add(x, table, e, out, constants.modulus[i], constants.portable)
        assert integers(out) == [(int(x[r, c]) * int(w[r]) + int(e[r, c])) % q for r in range(256) for c in range(8)]

        transform.multiply(x, y, out, constants.modulus[i], constants.portable)
        assert integers(out) == [a * b % q for a, b in zip(integers(x), integers(y), strict=True)]


@given(st.integers(0, 1000))
@few
def test_secret_multipliers_are_the_public_ones(seed):
    for q in {p for s in RLWE_SETS for p in s.lattice.moduli}:
        constants = next(ring(s.id, Arithmetic.PORTABLE) for s in RLWE_SETS if q in s.lattice.moduli)
        modulus = constants.modulus[constants.moduli.index(q)]
        w = block(seed, q, 64, (512, 1)).reshape(-1)
        w[:3] = 0, q // 2, q // 2 + 1
        table = np.empty((w.size, 2), dtype=np.uint64)
        sampling.multipliers_of(w, modulus, table, None)
        assert integers(table) == [v for x in integers(w) for v in (x, (x << 52) // q)]

        sampling.multipliers_of(w, modulus, table, True)
        centred = [x - q if x > q // 2 else x for x in integers(w)]
        reals = table.view(np.float64)
        assert reals[:, 0].tolist() == [float(x) for x in centred]
        assert all(abs(r * q - x) <= abs(x) * 2.0**-51 for r, x in zip(reals[:, 1].tolist(), centred, strict=True))


@given(st.integers(0, 1000), st.sampled_from(sorted({p for s in RLWE_SETS for p in s.lattice.moduli})))
@few
def test_packing_is_as_described(seed, q):
    a = block(seed, q, 512)
    out, back = np.zeros((8, 403), dtype=np.uint64), np.empty_like(a)
    packing.pack_lanes(a, out, 2)
    for lane in range(8):
        data = out[lane, 2:402].tobytes()
        assert data == reference.pack(integers(a[:, lane]))
        assert reference.unpack(data) == integers(a[:, lane])

        row, words = np.empty(512, dtype=np.uint64), np.empty(400, dtype=np.uint64)
        assert packing.unpack(out[lane, 2:402].copy(), np.uint64(q), row)
        assert np.array_equal(row, a[:, lane])
        packing.pack(row, words)
        assert words.tobytes() == data
    assert not out[:, [0, 1, 402]].any()
    assert packing.unpack_lanes(out, 2, np.uint64(q), back)
    assert np.array_equal(back, a)


@pytest.mark.parametrize("place", [0, 7, 8, 255, 256, 511])
def test_one_residue_too_large_is_noticed_anywhere(place):
    q = np.uint64(1125845146009601)
    a = np.zeros((512, 8), dtype=np.uint64)
    for value, good in ((q, False), (q - np.uint64(1), True), (np.uint64((1 << 50) - 1), False)):
        for lane in (0, 7):
            a[place, lane] = value
            out, back = np.zeros((8, 400), dtype=np.uint64), np.empty_like(a)
            packing.pack_lanes(a, out, 0)
            sums = np.zeros(512, dtype=np.uint64)

            assert packing.unpack_lanes(out, 0, q, back) is good
            assert packing.unpack(out[lane].copy(), q, sums) is good
            assert packing.accumulate(out[lane].copy(), q, sums) is good
            a[place, lane] = 0


@given(st.integers(0, 1000))
@few
def test_lazy_sums_are_sums(seed):
    constants = ring(parameter_set("rlwe-4096-t60").id, Arithmetic.PORTABLE)
    q, scale = constants.moduli[1], constants.scale[1]
    a = block(seed, q, 256)
    out = np.zeros((8, 200), dtype=np.uint64)
    packing.pack_lanes(a, out, 0)
    sums = np.zeros(256, dtype=np.uint64)
    for lane in range(8):
        packing.accumulate(out[lane].copy(), np.uint64(q), sums)
    packing.retract(out[3].copy(), sums)
    assert integers(sums) == [sum(int(a[r, lane]) for lane in range(8) if lane != 3) for r in range(256)]

    for extreme in (
        0,
        q - 1,
        q,
        2 * q - 1,
        (1 << 64) - 1,
        ((1 << 14) - 1) * (q - 1),
        (1 << 64) // q * q,
        (1 << 64) // q * q - 1,
    ):
        sums[0] = extreme
        expected = [x % q for x in integers(sums)]
        packing.reduce_sums(sums, scale)
        assert integers(sums) == expected


def words_of(seed, count):
    out = np.random.default_rng(seed).integers(0, 1 << 64, count, dtype=np.uint64)
    out[:4] = 0, (1 << 64) - 1, (1 << 42) - 1, ((1 << 64) - 1) ^ ((1 << 42) - 1)
    return out


@given(st.integers(0, 1000))
@few
def test_samplers_are_as_described(seed):
    q = 1125845146009601
    size = 8 * 256
    words, out = words_of(seed, error_words(size)), np.empty((256, 8), dtype=np.uint64)
    sampling.errors(words, np.uint64(q), out)
    w, third, m = integers(words), (size + 2) // 3, (1 << 21) - 1
    expected = [(x & m).bit_count() - (x >> 21 & m).bit_count() for x in w]
    expected += [
        (x >> 42 & m).bit_count() - (y >> 42 & m).bit_count() for x, y in zip(w[:third], w[third:], strict=True)
    ]
    assert integers(out) == [e % q for e in expected[:size]]

    words = words_of(seed, size // 4)
    sampling.ternary(words, np.uint64(q), out)
    digits = [[(x % 2**62) * 81 // 2**62 // 3 ** (3 - d) % 3 for x in integers(words)] for d in range(4)]
    assert integers(out) == [(d - 1) % q for row in digits for d in row]

    words = words_of(seed, 256)
    sampling.key_secret(words, np.uint64(q), out, 3)
    assert integers(out[:, 3]) == [((3 * x >> 64) - 1) % q for x in integers(words)]


@pytest.mark.parametrize("q", [1125845146009601, 1105800176517121, 1 << 49])
def test_uniform_residues_are_the_first_acceptable_words(q):
    """2^49 is no modulus of ours: it makes every second word unacceptable."""
    words = np.random.default_rng(q % 1000).integers(0, 1 << 64, (8, 1400), dtype=np.uint64)
    words[5, 10:20] = (1 << 64) - 1
    block = np.empty((512, 8), dtype=np.uint64)
    assert sampling.uniform_lanes(words, np.uint64(q), block)
    for lane in range(8):
        accepted = [v for x in integers(words[lane]) if (v := x % 2**50) < q][:512]
        row = np.empty(512, dtype=np.uint64)
        assert integers(block[:, lane]) == accepted
        assert sampling.uniform(words[lane], np.uint64(q), row)
        assert integers(row) == accepted
    words[5] = (1 << 64) - 1
    assert not sampling.uniform_lanes(words, np.uint64(q), block)
    assert not sampling.uniform(words[5], np.uint64(q), row)


@pytest.mark.parametrize("bits", [1, 20, 62, 63, 64, 73, 126])
def test_flooding_noise_is_centred_and_of_its_width(bits):
    constants = ring(parameter_set("rlwe-8192-t60").id, Arithmetic.PORTABLE)
    words = words_of(bits, 16 * 256)
    for i, q in enumerate(constants.moduli):
        out = np.empty((256, 8), dtype=np.uint64)
        sampling.flooding(words, bits, constants.scale[i], out)
        w = integers(words)
        numbers = [(low + (high << 64)) % 2 ** (bits + 1) - 2**bits for low, high in zip(w[::2], w[1::2], strict=True)]
        assert integers(out) == [x % q for x in numbers]


def messages(seed, t, n):
    out = np.random.default_rng(seed).integers(0, t, (8, n), dtype=np.uint64)
    out[0, :4] = 0, t - 1, t // 2, t // 2 + 1
    return out


@pytest.mark.parametrize("name", NAMES)
def test_encoding_is_the_floor_of_q_m_over_t(name):
    constants = ring(parameter_set(name).id, Arithmetic.PORTABLE)
    t, q = constants.parameters.plain_modulus, constants.q
    message = messages(1, t, 256)
    for i, p in enumerate(constants.moduli):
        out = block(7, p, 256)
        before = integers(out)
        sampling.add_message(message, constants.plain, constants.scale[i], out)
        assert integers(out) == [
            (b + q * int(message[c, r]) // t) % p for b, (r, c) in zip(before, np.ndindex(256, 8), strict=True)
        ]

        sampling.lift(message, np.uint64(t), constants.scale[i], out)
        centred = [int(m) - t if int(m) > t // 2 else int(m) for m in message.T.reshape(-1)]
        assert integers(out) == [m % p for m in centred]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [-1, 1])
def test_rounding_is_right_up_to_the_stated_limit(name, sign):
    """Residues of (q / t) m + v at the very largest |v| that the bounds allow, for edge and random m."""
    constants = ring(parameter_set(name).id, Arithmetic.PORTABLE)
    t, q, limit = constants.parameters.plain_modulus, constants.q, bounds(constants.parameters).limit
    message = messages(3, t, 256).T
    y = np.empty((constants.primes, 256, 8), dtype=np.uint64)
    for index, m in zip(np.ndindex(256, 8), integers(message), strict=True):
        exact = q * m + sign * limit * t
        x = (exact // t if sign > 0 else -(-exact // t)) % q
        for i, p in enumerate(constants.moduli):
            y[(i, *index)] = x * pow(q // p, -1, p) % p
    high, low = np.empty((256, 8), dtype=np.uint64), np.empty((256, 8), dtype=np.uint64)
    rounding.round_words(y, constants.fraction, np.uint64(t), high, low)
    assert np.array_equal(low, message)
    if t <= 1 << 32:
        rounding.round_doubles(y, constants.modulus, np.uint64(t), low)
        assert np.array_equal(low, message)


@pytest.mark.skipif(not host_has_ifma(), reason="this processor has no AVX-512 IFMA")
@pytest.mark.parametrize("name", NAMES)
def test_both_arithmetics_give_the_same_bits(name):
    """Every step of the pipeline that takes the flag, on the same words."""
    steps = pipeline()
    outcomes = []
    for arithmetic in Arithmetic:
        constants = ring(parameter_set(name).id, arithmetic)
        n, k = constants.degree, constants.primes
        random = np.random.default_rng(11)
        draw = lambda *shape: random.integers(0, 1 << 64, shape, dtype=np.uint64)  # noqa: B023, E731
        residues = lambda *shape: np.stack([random.integers(0, p, shape, dtype=np.uint64) for p in constants.moduli])  # noqa: B023, E731
        uniform, message = residues(n), random.integers(0, constants.parameters.plain_modulus, (8, n), dtype=np.uint64)
        work, public, secret = np.empty((3, n, 8), np.uint64), np.empty((k, n), np.uint64), np.empty((k, n), np.uint64)
        plain, scale, modulus, forward = constants.plain, constants.scale, constants.modulus, constants.forward
        steps.make_key(
            draw(n + error_words(8 * n)), uniform, scale, modulus, forward, work, public, secret, constants.portable
        )
        tables = np.empty((3, k, n, 2), np.uint64)
        for table, row, negate in zip(tables, (public, uniform, secret), (False, False, True), strict=True):
            steps.make_multipliers(row, modulus, table, negate=negate, portable=constants.portable)
        packed = np.zeros((8, 2 * k * n * 25 // 32), np.uint64)
        words = draw(2 * error_words(8 * n) + 2 * n)
        steps.encrypt_public(
            message, words, tables[0], tables[1], plain, scale, modulus, forward, work, packed, constants.portable
        )
        seeded = np.zeros((8, k * n * 25 // 32), np.uint64)
        steps.encrypt_seeded(
            message,
            words,
            residues(n, 8),
            tables[2],
            plain,
            scale,
            modulus,
            forward,
            work[:1],
            seeded,
            constants.portable,
        )
        c0, c1, d0, d1 = (residues(n, 8) for _ in range(4))
        steps.multiply_block(c0, c1, message, plain, scale, modulus, forward, work[:1], constants.portable)
        steps.cover_block(c0, c1, d0, d1, draw(16 * n), 70, scale, modulus, forward, work[:1], constants.portable)
        results = [public.copy(), secret.copy(), packed, seeded, c0.copy(), c1.copy()]
        out, high, low = np.empty((8, n), np.uint64), np.empty((n, 8), np.uint64), np.empty((n, 8), np.uint64)
        steps.make_multipliers(secret, modulus, tables[2], negate=False, portable=constants.portable)
        steps.open_block(
            c0, c1, tables[2], constants.fraction, constants.open_factor, plain, modulus, constants.inverse, high, low,
            out, constants.portable, constants.wide,
        )  # fmt: skip
        outcomes.append([*results, out])
    assert all(np.array_equal(a, b) for a, b in zip(*outcomes, strict=True))


def test_every_ring_keeps_what_the_proofs_assume():
    for parameters in RLWE_SETS:
        constants = ring(parameters.id, Arithmetic.PORTABLE)
        assert all(1 << 49 < p < 1 << 50 and p % (2 * constants.degree) == 1 for p in constants.moduli)
        assert constants.q == math.prod(constants.moduli)
        if parameters.plain_modulus & (parameters.plain_modulus - 1) == 0:
            assert constants.q % parameters.plain_modulus == 1


@pytest.mark.parametrize(
    ("start", "count"), [(0, 2), (2, 30), (10, 32), (6, 34), (1 << 40, 4096), ((1 << 33) - 4, 130)]
)
def test_the_vector_keystream_is_the_keystream(start, count):
    key = bytes(range(32))
    out = np.empty(count, dtype=np.uint64)
    VectorKeystream(key).fill(start, out)

    assert np.array_equal(out, Keystream(key).words(start, count))
    assert integers(out) == reference.keystream(key, start, count)


def test_the_vector_keystream_falls_back_to_the_keystream(monkeypatch):
    monkeypatch.setattr(pipeline(), "host_has_vaes", lambda: False)
    out = np.empty((8, 6), dtype=np.uint64)
    VectorKeystream(b"k" * 32).fill(4, out)

    assert np.array_equal(out.reshape(-1), Keystream(b"k" * 32).words(4, 48))


@pytest.mark.parametrize("parameters", [*PARAMETER_SETS.values()], ids=lambda p: p.id)
def test_masks_are_the_same_whichever_scheme_makes_their_stream(parameters):
    key = bytes(range(32))
    made, plain = keystream(parameters)(key), Keystream(key)

    assert isinstance(made, VectorKeystream) == (parameters.scheme in {SchemeId.RLWE, SchemeId.CLEAR})
    assert np.array_equal(made.words(3, 41), plain.words(3, 41))
    assert np.array_equal(made.bits(7, 33, 19), plain.bits(7, 33, 19))
    assert key.hex() not in repr(made)
    with pytest.raises(ParameterError):
        pickle.dumps(made)


@pytest.mark.parametrize(("start", "count"), [(1, 2), (0, 3), (-2, 2), (1 << 60, 2)])
def test_half_blocks_of_a_keystream_are_refused(start, count):
    with pytest.raises(ParameterError):
        VectorKeystream(bytes(32)).fill(start, np.empty(count, dtype=np.uint64))
