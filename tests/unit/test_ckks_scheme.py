"""The ckks scheme: strict bytes, one reader, values on a grid, and chains without room refused."""

import copy
import pickle
import random

import numpy as np
import pytest
import tenseal.sealapi as seal

from mpc.entropy import SystemEntropy
from mpc.errors import KeyAccessError, MpcError, ParameterError, ProtocolError, WireError
from mpc.params import PARAMETER_SETS, SchemeId
from mpc.params.ckks import CKKS_SETS, ckks_parameters
from mpc.params.security import LATTICE_LOG_Q_128
from mpc.schemes import public, secret
from mpc.schemes.ckks.evaluation import RealCover, RealMatrix, flooding, read_queries
from mpc.schemes.ckks.native import native_context
from mpc.schemes.ckks.noise import plan_chain
from mpc.schemes.ckks.reader import Reader
from mpc.schemes.ckks.wire import Kind, object_bytes, pack, unpack
from mpc.testing.mutations import mutate, wrong_lengths
from tests.property.rlwe_reference import coefficients, values

PARAMETERS = ckks_parameters("ckks-8192-q150")
SCALES = {"query_scale_bits": 100, "item_scale_bits": 46}
PLAN = plan_chain(PARAMETERS, terms=3, query_norm=1.0, item_norm=1.0, **SCALES)
READ = {"scale_bits": 146, "grid_bits": PLAN.finest_grid_bits, "largest": 1.0}


class Round:
    """A reader, its query, and a reply to it."""

    def __init__(self, items=None, query=(0.5, -0.25, 0.1)):
        self.reader, self.query = Reader(PARAMETERS), query
        self.items = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 4096)) if items is None else items
        self.ciphertexts = self.reader.encrypt_constants(query, SCALES["query_scale_bits"])
        self.matrix = RealMatrix(PARAMETERS, SCALES["item_scale_bits"])
        self.matrix.append(self.items)

    def reply(self):
        native = read_queries(PARAMETERS, self.ciphertexts, SCALES["query_scale_bits"])
        cover = RealCover(PLAN, self.reader.public_key, entropy=SystemEntropy())
        return cover.reply(self.matrix.multiply(0, native))


@pytest.fixture(scope="module")
def exchange():
    one = Round()
    return one, one.reply()


def test_values_are_within_the_stated_error_and_on_the_grid():
    one = Round()
    read = one.reader.read([one.reply()], PLAN, **READ)
    error = np.abs(read.values[0] - np.array(one.query) @ one.items).max()

    assert error <= PLAN.error + 0.5 * 2.0**-read.grid_bits
    assert 2.0**-read.grid_bits >= 64 * PLAN.error
    assert np.array_equal(read.values, np.rint(read.values * 2.0**read.grid_bits) / 2.0**read.grid_bits)


def test_all_zero_plaintexts_are_multiplied_like_others():
    one = Round(items=np.zeros((3, 4096)))

    assert not one.reader.read([one.reply()], PLAN, **READ).steps.any()


def test_a_key_reads_one_round_and_shows_nothing():
    one = Round()
    reply = one.reply()
    assert "_key" not in repr(one.reader)
    for attempt in (lambda: pickle.dumps(one.reader), lambda: copy.copy(one.reader)):
        with pytest.raises(KeyAccessError):
            attempt()
    one.reader.read([reply], PLAN, **READ)
    for again in (lambda: one.reader.read([reply], PLAN, **READ), lambda: one.reader.encrypt_constants([1.0], 100)):
        with pytest.raises(KeyAccessError):
            again()


def test_a_grid_finer_than_64_errors_is_refused_before_the_key_is_used():
    one = Round()
    with pytest.raises(ParameterError):
        one.reader.read([one.reply()], PLAN, **(READ | {"grid_bits": PLAN.finest_grid_bits + 1}))
    one.reader.read([one.reply()], PLAN, **READ)


def test_values_beyond_their_bound_are_refused():
    one = Round()
    with pytest.raises(ProtocolError):
        one.reader.read([one.reply()], PLAN, **(READ | {"largest": 1e-4}))


def test_the_scheme_offers_nothing_that_sums_or_matches_could_take():
    for call in (public.abilities, public.adder, secret.generate):
        with pytest.raises((ParameterError, TypeError, AttributeError)):
            call(SchemeId.CKKS)
    assert not {"decrypt", "add", "start", "encrypt"} & {name for kind in (Reader, RealCover) for name in dir(kind)}
    assert not {s.id for s in CKKS_SETS} & set(PARAMETER_SETS)
    assert not {s.wire_id for s in CKKS_SETS} & {s.wire_id for s in PARAMETER_SETS.values()}


def test_parameters_keep_to_the_standard():
    for one in CKKS_SETS:
        assert one.lattice.log_q <= LATTICE_LOG_Q_128[one.lattice.degree]
        assert all(p % (2 * one.lattice.degree) == 1 for p in one.key_moduli)
        assert all(p < 1 << 50 for p in one.lattice.moduli)
        assert len(one.digest()) == 32
    with pytest.raises(ParameterError):
        ckks_parameters("rlwe-4096-t22")


@pytest.mark.parametrize(("query_scale_bits", "item_scale_bits"), [(40, 40), (60, 40), (40, 60), (30, 20)])
def test_scales_without_room_for_flooding_below_them_are_refused(query_scale_bits, item_scale_bits):
    """The scales of the library's examples among them."""
    with pytest.raises(ParameterError):
        plan_chain(
            PARAMETERS,
            terms=128,
            query_scale_bits=query_scale_bits,
            item_scale_bits=item_scale_bits,
            query_norm=1.0,
            item_norm=1.0,
        )


@pytest.mark.parametrize(
    "change", [{"flooding_bits": 39}, {"terms": 0}, {"query_scale_bits": 104}, {"item_norm": 64.0}]
)
def test_plans_beyond_the_modulus_or_with_little_flooding_are_refused(change):
    with pytest.raises(ParameterError):
        plan_chain(PARAMETERS, **({"terms": 3, "query_norm": 1.0, "item_norm": 1.0} | SCALES | change))


def test_peers_bytes_of_wrong_length_or_header_or_range_are_refused(exchange):
    one, reply = exchange
    for kind, good in ((Kind.PUBLIC_KEY, one.reader.public_key), (Kind.QUERY, one.ciphertexts[0]), (Kind.REPLY, reply)):
        residues, seed = unpack(PARAMETERS, kind, good)
        assert pack(PARAMETERS, kind, residues, seed) == good
        assert len(good) == object_bytes(PARAMETERS, kind)
        ones = good[:8] + b"\xff" * (len(good) - 8)
        zeros = good[:8] + bytes(len(good) - 8)
        flips = [good[:i] + bytes([good[i] ^ 1 << bit]) + good[i + 1 :] for i in range(8) for bit in range(8)]
        for bad in (*wrong_lengths(good), *flips, ones, zeros):
            with pytest.raises(WireError):
                unpack(PARAMETERS, kind, bad)


def test_mutated_bytes_are_refused_or_worked_with(exchange):
    one, reply = exchange
    source = random.Random(3)
    for _ in range(25):
        try:
            native = read_queries(PARAMETERS, [mutate(one.ciphertexts[0], source)] * 3, 100)
            cover = RealCover(PLAN, mutate(one.reader.public_key, source), entropy=SystemEntropy())
            assert len(cover.reply(one.matrix.multiply(0, native))) == len(reply)
        except MpcError:
            continue
    for _ in range(25):
        try:
            read = Round().reader.read([mutate(reply, source)], PLAN, **READ)
        except MpcError:
            continue
        assert read.steps.shape == (1, 4096)


def test_seeded_queries_are_what_seal_made():
    """c1 that SEAL draws from the seed makes the ciphertext open to its plaintext."""
    one = Round()
    native = read_queries(PARAMETERS, one.ciphertexts, 100)
    context = native_context(PARAMETERS)
    key = one.reader._native(one.reader._key.material())
    for ciphertext, value in zip(native, one.query, strict=True):
        plain = seal.Plaintext()
        seal.Decryptor(context.context, key).decrypt(ciphertext, plain)
        assert np.abs(context.decode(plain) - value).max() < 1e-12


def test_our_transform_is_seal_s_and_flooding_covers_its_range():
    context, width = native_context(PARAMETERS), 99

    class Fixed:
        def words(self, start, count):
            return np.random.default_rng(start).integers(0, 1 << 64, count, dtype=np.uint64)

    noise = flooding(context, width, Fixed())
    pieces = [Fixed().words(i * 8192, 8192) >> np.uint64(64 - size) for i, size in enumerate((39, 39, 22))]
    want = [
        int(a) + (int(b) << 39) + (int(c) << 78) - (1 << width) for a, b, c in zip(*pieces, strict=True)
    ]  # fmt: skip
    prime = PARAMETERS.lattice.moduli[1]

    assert min(want) < -(1 << 98)
    assert max(want) > 1 << 98
    assert noise[1].tolist() == values([w % prime for w in want], prime)
    assert coefficients(noise[1].tolist(), prime)[:50] == [w % prime for w in want[:50]]
