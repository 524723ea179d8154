"""The suite that every scheme passes: one list of checks, run on any parameter set.

    subject = Subject(parameter_set("bfv-4096-t40"))
    for check in CHECKS:
        if check.unable(subject.parameters) is None:
            check.run(subject)

A check tests what a scheme declares (`mpc.schemes.public.abilities`); what a scheme is unable to do is listed with its
reason, never skipped in silence. Checks raise AssertionError.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from mpc.errors import MpcError, ParameterError, RangeError
from mpc.params.base import ParameterSet, SchemeId
from mpc.params.security import FACTORING_MODULUS_BITS_128, MINIMUM_ERROR_DEVIATION, SecurityLevel
from mpc.schemes import public, secret
from mpc.schemes.base import Ability, Adder, Decryptor, Encryptor, RunningSum, Slots
from mpc.testing import hostile
from mpc.testing.subject import Subject, expect

__all__ = ["CHECKS", "Check", "Subject"]

_SEQUENTIAL_ADDITIONS: Final = 300
_DOUBLED_ADDITIONS: Final = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One statement about a scheme."""

    run: Callable[[Subject], None]
    needs: Ability | None = None

    @property
    def name(self) -> str:
        """The name of its function."""
        return self.run.__name__

    def unable(self, parameters: ParameterSet) -> str | None:
        """Why this check does not apply to a set, or None if it applies."""
        if self.needs is not None and self.needs not in public.abilities(parameters.scheme):
            return f"{parameters.scheme} does not declare the ability {self.needs}"
        return _NEVER.get((parameters.scheme, self.name))


def parameters_reach_their_level(subject: Subject) -> None:
    """A set that promises 128 bits has parameters that the cited tables give 128 bits."""
    parameters = subject.parameters
    expect(parameters.insecure == parameters.id.startswith("insecure-"), "weakness is in the name")
    if parameters.lattice is not None:
        parameters.lattice.check()
        expect(parameters.lattice.error_deviation >= MINIMUM_ERROR_DEVIATION, "the error is wide enough")
    elif parameters.security is SecurityLevel.CLASSICAL_128:
        bits = 8 * (parameters.ciphertext_bytes // 2)
        expect(bits >= FACTORING_MODULUS_BITS_128, "the modulus is long enough")


def objects_have_their_protocols(subject: Subject) -> None:
    """Encryptors, adders, sums and decryptors are what `mpc.schemes.base` says, and name their set."""
    parts = (
        (subject.encryptor, Encryptor),
        (subject.adder, Adder),
        (subject.decryptor(), Decryptor),
    )
    for part, protocol in parts:
        expect(isinstance(part, protocol), f"{type(part).__name__} is a {protocol.__name__}")
        expect(part.parameters == subject.parameters, f"{type(part).__name__} names its parameter set")
    expect(isinstance(subject.adder.start(1), RunningSum), "a started sum is a RunningSum")


def _edges(subject: Subject) -> Slots:
    t = subject.parameters.plain_modulus
    rows = [subject.constant(value) for value in (0, 1, 2, t // 2, t - 2, t - 1)]
    spike = np.zeros((2, subject.parameters.slots), dtype=np.uint64)
    spike[0, 0] = spike[1, -1] = t - 1
    return np.concatenate((*rows, spike, subject.uniform(2)))


def edge_values_return(subject: Subject) -> None:
    """Every residue returns from a public-key ciphertext: zeros, the largest, single slots, uniform ones."""
    rows = _edges(subject)
    opened = subject.open(subject.encryptor.encrypt(rows))
    expect(opened.dtype == np.uint64 and np.array_equal(opened, rows), "a plaintext returns unchanged")


def symmetric_values_return(subject: Subject) -> None:
    """Every residue returns from a key holder's ciphertext."""
    rows = _edges(subject)
    opened = subject.open(subject.symmetric_encryptor.encrypt(rows))
    expect(np.array_equal(opened, rows), "a plaintext returns unchanged")


def empty_batches_are_allowed(subject: Subject) -> None:
    """A batch of no ciphertexts is a batch."""
    nothing = np.empty((0, subject.parameters.slots), dtype=np.uint64)
    expect(subject.encryptor.encrypt(nothing) == [], "no rows give no ciphertexts")
    expect(subject.decryptor().decrypt([]).shape == nothing.shape, "no ciphertexts give no rows")


def sums_are_exact(subject: Subject) -> None:
    """Sums of several uniform vectors of several ciphertexts, from public-key and key holders' encryptors."""
    bound = subject.addend_bound(5)
    vectors = [subject.uniform(3, below=bound, start=i * 1000) for i in range(5)]
    symmetric = Ability.ENCRYPTS_SYMMETRIC in public.abilities(subject.parameters.scheme)
    makers = (subject.encryptor, subject.symmetric_encryptor if symmetric else subject.encryptor)
    total = subject.sum(*(makers[i % 2].encrypt(vector) for i, vector in enumerate(vectors)))
    wide = np.sum([vector.astype(object) for vector in vectors], axis=0) % subject.parameters.plain_modulus
    expect(np.array_equal(subject.open(total), wide.astype(np.uint64)), "the sum of plaintexts opens")


def sums_do_not_depend_on_order(subject: Subject) -> None:
    """Adding in another order gives the same bytes, and a sum can be added again."""
    bound = subject.addend_bound(4)
    first, second = (subject.encryptor.encrypt(subject.uniform(2, below=bound, start=i)) for i in (0, 9))
    forward = subject.sum(first, second)
    expect(forward == subject.sum(second, first), "addition commutes")
    expect(subject.sum(forward, second) == subject.sum(second, second, first), "addition associates")


def sums_wrap(subject: Subject) -> None:
    """Slots add modulo the plaintext modulus: this is what masks rely on."""
    t = subject.parameters.plain_modulus
    largest = subject.encryptor.encrypt(subject.constant(t - 1))
    expect(
        np.array_equal(subject.open(subject.sum(largest, largest, largest)), subject.constant(t - 3)), "3(t-1) = t-3"
    )


def many_additions_are_exact(subject: Subject) -> None:
    """As many additions as the set allows (bounded by the test's time), in the worst case: equal noise in all.

    Some hundred contributions one after the other, so that lazy sums must reduce; then doublings of one ciphertext.
    """
    parameters = subject.parameters
    most = min(parameters.max_additions, _DOUBLED_ADDITIONS)
    bound = subject.addend_bound(max(most, _SEQUENTIAL_ADDITIONS))
    row = subject.uniform(1, below=bound)
    row[0, 0] = bound - 1
    fresh = subject.encryptor.encrypt(row)
    count = min(_SEQUENTIAL_ADDITIONS, parameters.max_additions)
    _expect_multiple(subject, subject.sum(*[fresh] * count), row, count)
    doubled, count = fresh, 1
    while 2 * count <= most:
        doubled, count = subject.sum(doubled, doubled), 2 * count
    _expect_multiple(subject, doubled, row, count)


def _expect_multiple(subject: Subject, total: list[bytes], row: Slots, count: int) -> None:
    expected = (row.astype(object) * count % subject.parameters.plain_modulus).astype(np.uint64)
    expect(np.array_equal(subject.open(total), expected), f"{count} additions are exact")


def wrong_plaintexts_are_refused(subject: Subject) -> None:
    """Shapes, types and residues that are not plaintexts are refused before anything is encrypted."""
    good = subject.constant(0)
    wrong = [good[0], good[:, :-1], np.hstack((good, good)), good[np.newaxis], good.astype(np.int64)]
    wrong.append(good.astype(np.float64))
    if subject.parameters.plain_modulus < 1 << 64:
        wrong.append(subject.constant(subject.parameters.plain_modulus))
        wrong.append(np.vstack((good, subject.constant((1 << 64) - 1))))
    for slots in wrong:
        try:
            subject.encryptor.encrypt(slots)
        except (ParameterError, RangeError):
            continue
        expect(condition=False, statement=f"slots of shape {slots.shape} and type {slots.dtype} are refused")


def sizes_are_declared(subject: Subject) -> None:
    """Keys, fresh ciphertexts, key holders' ciphertexts and sums have the bytes that the set declares."""
    parameters = subject.parameters
    rows = subject.uniform(2, below=subject.addend_bound(2))
    fresh = subject.encryptor.encrypt(rows)
    total = subject.sum(fresh, fresh)
    expect(len(subject.public_key.data) <= parameters.public_key_bytes, "a key is at most as long as declared")
    expect({len(data) for data in (*fresh, *total)} == {parameters.ciphertext_bytes}, "ciphertexts and sums")
    if Ability.ENCRYPTS_SYMMETRIC in public.abilities(parameters.scheme):
        sizes = {len(data) for data in subject.symmetric_encryptor.encrypt(rows)}
        expect(sizes == {parameters.symmetric_ciphertext_bytes}, "key holders' ciphertexts")


def sizes_do_not_depend_on_values(subject: Subject) -> None:
    """Zeros, the largest residues and uniform ones give ciphertexts of one size."""
    sizes = {len(data) for data in subject.encryptor.encrypt(_edges(subject))}
    expect(len(sizes) == 1, "one size for every plaintext")


def seeded_ciphertexts_are_shorter(subject: Subject) -> None:
    """A key holder's ciphertext carries a seed in place of its uniform half."""
    parameters = subject.parameters
    expect(parameters.symmetric_ciphertext_bytes < 0.6 * parameters.ciphertext_bytes, "a seed halves the bytes")


def encryptions_of_one_value_differ(subject: Subject) -> None:
    """Two encryptions of one row share no more bytes than chance allows, whoever encrypts."""
    row = subject.constant(7)
    makers = [subject.encryptor]
    if Ability.ENCRYPTS_SYMMETRIC in public.abilities(subject.parameters.scheme):
        makers.append(subject.symmetric_encryptor)
    for maker in makers:
        first, second, third = (
            np.frombuffer(data, dtype=np.uint8) for data in maker.encrypt(np.repeat(row, 3, axis=0))
        )
        expect(np.mean(first == second) < 0.1 and np.mean(second == third) < 0.1, "randomness is fresh")


def another_key_opens_nothing(subject: Subject) -> None:
    """A ciphertext opens under its own key only."""
    row = subject.uniform(1)
    other = secret.decryptor(secret.generate(subject.parameters, hostile.OTHER_ENTROPY)[1])
    try:
        opened = other.decrypt(subject.encryptor.encrypt(row))
    except MpcError:
        return
    expect(np.mean(opened == row) < 0.01, "another key gives noise")


def inputs_are_not_changed(subject: Subject) -> None:
    """Encryption, addition and decryption leave their arguments as they were, and take read-only arrays."""
    rows = subject.uniform(2, below=subject.addend_bound(2))
    before = rows.copy()
    rows.flags.writeable = False
    batch = subject.encryptor.encrypt(rows)
    copies = [bytes(bytearray(data)) for data in batch]
    total = subject.sum(batch, batch)
    subject.open(total)
    subject.open(batch)
    expect(np.array_equal(rows, before) and batch == copies, "arguments are left alone")


def plain_products_are_exact(subject: Subject) -> None:
    """A product with X - X^(N-1) is exact modulo X^N + 1; one without room for its noise is refused, not wrong."""
    parameters = subject.parameters
    rows = subject.uniform(2)
    batch, evaluator = subject.encryptor.encrypt(rows), public.evaluator(parameters)
    factor = subject.constant(0)
    factor[0, 1], factor[0, -1] = 1, parameters.plain_modulus - 1
    products = evaluator.multiply_plain(batch, np.repeat(factor, 2, axis=0), coefficient_bound=1, terms=2)
    shifted, wrapped = (np.roll(rows, places, axis=1).astype(object) for places in (1, -1))
    shifted[:, 0] *= -1
    wrapped[:, :-1] *= -1  # X^(N-1) sends slot j > 0 to j - 1 with a changed sign, slot 0 to the last without
    expected = (shifted - wrapped) % parameters.plain_modulus
    expect(np.array_equal(subject.open(products).astype(object), expected), "products of polynomials")
    try:
        products = evaluator.multiply_plain(batch, subject.uniform(2, start=5))
    except ParameterError:
        return
    expect(subject.open(products).shape == rows.shape, "a product that is not refused opens")


def flooding_keeps_the_plaintext(subject: Subject) -> None:
    """Flooding changes the ciphertext and not what it opens to; where there is no room, it is refused."""
    rows = subject.uniform(2)
    batch, evaluator = subject.encryptor.encrypt(rows), public.evaluator(subject.parameters)
    flooded = 0
    for flooding_bits in (1, 40, 126):
        try:
            covered = evaluator.flood(batch, subject.public_key, flooding_bits=flooding_bits)
        except ParameterError:
            continue
        flooded += 1
        same = np.frombuffer(covered[0], dtype=np.uint8) == np.frombuffer(batch[0], dtype=np.uint8)
        expect(np.mean(same) < 0.1, "a flooded ciphertext is a fresh one")
        expect(np.array_equal(subject.open(covered), rows), f"{flooding_bits} bits of flooding keep the plaintext")
    expect(flooded > 0, "some flooding fits")


CHECKS: Final[tuple[Check, ...]] = (
    Check(run=parameters_reach_their_level),
    Check(run=objects_have_their_protocols),
    Check(run=edge_values_return),
    Check(run=symmetric_values_return, needs=Ability.ENCRYPTS_SYMMETRIC),
    Check(run=empty_batches_are_allowed),
    Check(run=sums_are_exact, needs=Ability.ADDS),
    Check(run=sums_do_not_depend_on_order, needs=Ability.ADDS),
    Check(run=sums_wrap, needs=Ability.ADDS),
    Check(run=many_additions_are_exact, needs=Ability.ADDS),
    Check(run=wrong_plaintexts_are_refused),
    Check(run=sizes_are_declared),
    Check(run=sizes_do_not_depend_on_values),
    Check(run=seeded_ciphertexts_are_shorter, needs=Ability.SEEDS),
    Check(run=encryptions_of_one_value_differ),
    Check(run=another_key_opens_nothing),
    Check(run=inputs_are_not_changed),
    Check(run=plain_products_are_exact, needs=Ability.MULTIPLIES_PLAIN),
    Check(run=flooding_keeps_the_plaintext, needs=Ability.FLOODS),
    Check(run=hostile.wrong_ciphertext_lengths_are_refused),
    Check(run=hostile.wrong_ciphertext_headers_are_refused),
    Check(run=hostile.other_objects_are_refused),
    Check(run=hostile.residues_above_the_modulus_are_refused),
    Check(run=hostile.zero_bodies_are_refused),
    Check(run=hostile.mutations_are_refused_or_open),
    Check(run=hostile.refused_contributions_leave_no_trace, needs=Ability.ADDS),
    Check(run=hostile.hostile_keys_are_refused),
    Check(run=hostile.a_key_opens_once),
    Check(run=hostile.secrets_do_not_show),
)

_NEVER: Final[Mapping[tuple[SchemeId, str], str]] = MappingProxyType(
    {
        (SchemeId.PAILLIER, "sums_wrap"): "slots are integers that carry into the next; the caller bounds their sums",
        (SchemeId.CLEAR, "encryptions_of_one_value_differ"): "the scheme hides nothing and has no randomness",
        (SchemeId.CLEAR, "zero_bodies_are_refused"): "zero slots are a valid message of a scheme that hides nothing",
        (SchemeId.CLEAR, "secrets_do_not_show"): "the key is its own public number",
    }
)
"""What a scheme will never do, and why."""
