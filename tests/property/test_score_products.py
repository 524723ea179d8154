"""Covered products against Python integers: exact products, noise below its bound, and the rounding of replies."""

import hashlib

import numpy as np
import pytest

from mpc.entropy import FixedEntropy
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes.rlwe import secret
from mpc.schemes.rlwe.blocks import Execution
from mpc.schemes.rlwe.kernels.host import host_has_ifma
from mpc.schemes.rlwe.matrix import EncodedMatrix, product_kernels
from mpc.schemes.rlwe.products import Cover, Protection, Workspace
from mpc.schemes.rlwe.products_noise import plan_products
from mpc.schemes.rlwe.products_reply import Positions, expand_replies
from mpc.schemes.rlwe.ring import Arithmetic, multipliers
from mpc.score.holder import MatrixHolder
from mpc.score.querier import Querier
from mpc.score.spec import finest_spec
from tests.property.rlwe_reference import Reference, coefficients, product

NOTHING = frozenset(Protection)
ARITHMETICS = [a for a in Arithmetic if a is Arithmetic.PORTABLE or host_has_ifma()]


class Bench:
    """Rows of random polynomials, one query of random messages, and the reference."""

    def __init__(self, name, rows, terms, bound, arithmetic):
        self.parameters = parameter_set(name)
        self.execution = Execution(arithmetic=arithmetic, threads=1)
        self.reference = Reference(self.parameters)
        source = np.random.default_rng(7)
        self.polynomials = source.integers(-bound, bound + 1, (rows, terms, self.parameters.slots))
        self.magnitude = bound * terms * self.parameters.slots
        self.matrix = EncodedMatrix(
            self.parameters,
            rows=rows,
            terms=terms,
            polynomials=lambda row: self.polynomials[row],
            magnitude=self.magnitude,
            execution=self.execution,
        )
        public_key, key = secret.generate(self.parameters, FixedEntropy(b"key"))
        self.public_key, self.material = PublicKey(self.parameters.id, public_key.data), key.material()
        self.messages = source.integers(0, 1 << 8, (terms, self.parameters.slots)).astype(np.uint64)
        self.query = secret.symmetric_encryptor(key).encrypt(self.messages)

    def products(self, rows, omit):
        workspace = Workspace(self.matrix, 1, len(rows), self.execution)
        workspace.read([self.query])
        plan = plan_products(self.parameters, self.magnitude)
        cover = Cover(plan, self.public_key, execution=self.execution, insecure_omit=omit)
        places = [Positions(start=0, step=1, count=self.parameters.slots)] * len(rows)
        found = workspace.multiply(1, rows)[0]
        return plan, places, cover, found

    def exact(self, row):
        """Both polynomials of the product, as integers modulo q."""
        q, totals = self.reference.q, [[0] * self.parameters.slots for _ in range(2)]
        for ciphertext, factor in zip(self.query, self.polynomials[row].tolist(), strict=True):
            for part, half in enumerate(self.halves(ciphertext)):
                totals[part] = [(a + b) % q for a, b in zip(totals[part], product(half, factor), strict=True)]
        return totals

    def halves(self, ciphertext):
        """c0 and c1 of a ciphertext as integer polynomials."""
        parts = self.reference.halves(ciphertext)
        by_prime = [
            [coefficients(values, p) for values, p in zip(part, self.reference.moduli, strict=True)] for part in parts
        ]
        return [self.reference.crt(part) for part in by_prime]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize(("rows", "terms"), [(1, 1), (6, 3)])
def test_products_are_those_of_integers(rows, terms, arithmetic):
    bench = Bench("rlwe-4096-t26", rows, terms, 1000, arithmetic)
    _, places, cover, found = bench.products(range(rows), NOTHING)
    parts = cover.insecure_unrounded(found, places)
    q = bench.reference.q
    for row in {0, rows - 1}:
        exact = bench.exact(row)
        for part in range(2):
            measured = [
                sum(int(y) * (q // p) for y, p in zip(column, bench.reference.moduli, strict=True)) % q
                for column in parts[row, part].T.tolist()
            ]
            assert measured == exact[part]


@pytest.mark.parametrize("name", ["rlwe-4096-t22", "rlwe-4096-t26"])
def test_replies_open_to_the_product_with_noise_below_the_planned_bound_and_above_the_flooding_s_half(name):
    bench = Bench(name, 2, 2, 3, None)
    plan, places, cover, found = bench.products(range(2), frozenset())
    ternary, t = bench.reference.secret(bench.material), bench.reference.t
    for row, ciphertext in enumerate(expand_replies(plan, places, cover.replies(found, places))):
        terms = zip(bench.messages.tolist(), bench.polynomials[row].tolist(), strict=True)
        message = [sum(column) % t for column in zip(*(product(m, p) for m, p in terms), strict=True)]

        assert bench.reference.decrypt(ciphertext, ternary) == message
        assert 1 << (plan.width - 1) < bench.reference.noise(ciphertext, ternary, message) <= plan.reply_noise
    opened = secret.decryptor(SecretKey(bench.parameters.id, bench.material)).decrypt(
        expand_replies(plan, places, cover.replies(found, places))
    )
    assert opened[1].tolist() == message


def test_the_noise_of_an_uncovered_product_is_below_the_bound_it_is_flooded_over():
    bench = Bench("rlwe-4096-t26", 1, 2, 1000, None)
    plan, places, cover, found = bench.products(range(1), NOTHING)
    q, ternary = bench.reference.q, bench.reference.secret(bench.material)
    c0, c1 = (
        [sum(int(y) * (q // p) for y, p in zip(column, bench.reference.moduli, strict=True)) % q for column in part]
        for part in cover.insecure_unrounded(found, places)[0].transpose(0, 2, 1).tolist()
    )
    phase = [(x + y) % q for x, y in zip(c0, product(c1, ternary), strict=True)]
    t, terms = bench.reference.t, zip(bench.messages.tolist(), bench.polynomials[0].tolist(), strict=True)
    message = [sum(column) % t for column in zip(*(product(m, p) for m, p in terms), strict=True)]
    worst = max(min(s, t * q - s) for s in ((t * x - q * m) % (t * q) for x, m in zip(phase, message, strict=True)))

    assert 0 < worst // t < plan.noise


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_the_widest_products_of_the_kernel_are_exact(arithmetic):
    """4095 terms with all residues just below the larger prime: the unreduced sums are as large as they get."""
    constants, terms = Execution(arithmetic=arithmetic).ring(parameter_set("rlwe-4096-t22")), 4095
    largest = max(constants.moduli) - 1
    group = sum(largest << 50 * lane for lane in range(8))
    halfwords = [group >> 16 * h & 0xFFFF for h in range(25)]
    values = np.zeros(2 * 5 * terms * 25 + 32, dtype=np.uint16)[:-32].reshape(2, 1, 5, terms, 25)
    values[:] = halfwords
    queries = np.full((1, 2, 1, terms, 2, 8), largest, dtype=np.uint64)
    out = np.zeros((1, 5, 2, 2, 8), dtype=np.uint64)
    reduction = np.array([
        multipliers([1, (1 << 52) % p, (1 << 104) % p], p, constants.arithmetic) for p in constants.moduli
    ])  # fmt: skip
    product_kernels().multiply_rows(
        values, queries, constants.scale, constants.modulus, reduction, (0, 1), (0, 5), out, constants.portable
    )
    for i, p in enumerate(constants.moduli):
        assert (out[0, :, :, i] == terms * largest * largest % p).all()


def test_fixed_coins_give_the_frozen_bytes():
    plan = finest_spec(catalogue="frozen", rows=600, dimensions=9, dimensions_per_ciphertext=4).compile()
    items = (np.arange(5400.0) * 37 % 101 - 50).reshape(600, 9)
    sent = Querier(plan).ask((np.arange(18.0) * 41 % 23 - 11).reshape(2, 9), entropy=FixedEntropy(b"querier"))
    holder = MatrixHolder(plan, lambda start, stop: items[start:stop])
    reply = holder.answer(sent.messages[0], charge=lambda _: None, entropy=FixedEntropy(b"holder")).result

    assert hashlib.sha256(sent.messages[0]).hexdigest() == QUERY_DIGEST
    assert hashlib.sha256(reply).hexdigest() == REPLY_DIGEST


QUERY_DIGEST = "666af84eaf1dca242702b6489f027e65fde6894d4d801c6f456fc3788620e762"
REPLY_DIGEST = "be4d50f30fc3af7480b2beb922c8a45ca18487e7ea1a5b844799849ed0bc4849"
