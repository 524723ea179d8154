"""Named parameter sets: secure by the table, unique, and the only ones a peer can name."""

from dataclasses import FrozenInstanceError, fields, replace

import gmpy2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import ParameterError, WireError
from mpc.params import PARAMETER_SETS, SchemeId, SecurityLevel, parameter_set, parameter_set_by_wire_id
from mpc.params.base import LatticeParameters
from mpc.params.security import FACTORING_MODULUS_BITS_128, LATTICE_LOG_Q_128

SETS = sorted(PARAMETER_SETS.values(), key=lambda s: s.wire_id)
LATTICES = [s for s in SETS if s.lattice is not None]

WIRE_IDS = {
    "insecure-clear-4096-t62": 1, "bfv-4096-t40": 10, "bfv-8192-t60": 11, "paillier-3072-s64": 20,
    "rlwe-2048-t30": 30, "rlwe-4096-t30": 31, "rlwe-4096-t60": 32, "rlwe-4096-t22": 33, "rlwe-4096-t26": 34,
    "rlwe-8192-t60": 35, "rlwe-4096-p60": 36,
}  # fmt: skip
"""Numbers on the wire are never reused; new sets get new ones."""


def test_names_and_numbers_are_unique_and_do_not_change():
    assert len({s.wire_id for s in SETS}) == len(SETS)
    assert all(0 < s.wire_id < 1 << 16 for s in SETS)
    assert {name: PARAMETER_SETS[name].wire_id for name in WIRE_IDS} == WIRE_IDS


@pytest.mark.parametrize("found", SETS, ids=lambda s: s.id)
def test_a_set_is_found_by_name_and_by_number(found):
    assert parameter_set(found.id) is parameter_set_by_wire_id(found.wire_id) is found


@given(st.text(max_size=20) | st.sampled_from(["", "bfv", "BFV-4096-T40", "bfv-4096-t40 ", "insecure"]))
def test_any_other_name_is_a_parameter_error(name):
    if name not in PARAMETER_SETS:
        with pytest.raises(ParameterError):
            parameter_set(name)


@given(st.integers(-5, 1 << 20))
def test_any_other_number_is_a_wire_error(number):
    if number not in {s.wire_id for s in SETS}:
        with pytest.raises(WireError):
            parameter_set_by_wire_id(number)


def test_the_catalogue_cannot_be_changed():
    with pytest.raises(TypeError):
        PARAMETER_SETS["x"] = SETS[0]
    with pytest.raises(FrozenInstanceError):
        SETS[0].slots = 1


@pytest.mark.parametrize("found", SETS, ids=lambda s: s.id)
def test_weakness_is_in_the_name_and_nowhere_else(found):
    assert found.insecure == found.id.startswith("insecure-") == (found.scheme is SchemeId.CLEAR)
    assert found.insecure == (found.security is SecurityLevel.NONE)


@pytest.mark.parametrize("found", SETS, ids=lambda s: s.id)
def test_sizes_make_sense(found):
    assert found.slots > 2
    assert found.plain_modulus > 1 << 16
    assert found.max_additions >= 64
    assert found.ciphertext_bytes * 8 >= found.slots * (found.plain_modulus.bit_length() - 1)
    assert found.symmetric_ciphertext_bytes <= found.ciphertext_bytes


@pytest.mark.parametrize("found", LATTICES, ids=lambda s: s.id)
def test_lattices_are_within_the_standards_table(found):
    lattice = found.lattice
    product = lattice.special_modulus or 1
    for prime in lattice.moduli:
        assert gmpy2.is_prime(prime)
        assert prime % (2 * lattice.degree) == 1, "the number-theoretic transform exists"
        product *= prime

    assert product < 1 << LATTICE_LOG_Q_128[lattice.degree]
    assert len(set(lattice.moduli)) == len(lattice.moduli)
    assert lattice.error_deviation >= 3.19
    assert lattice.secret == "ternary"


def test_factoring_sets_have_the_modulus_of_the_table():
    for found in SETS:
        if found.scheme is SchemeId.PAILLIER:
            assert found.ciphertext_bytes * 8 >= 2 * FACTORING_MODULUS_BITS_128


GOOD = LatticeParameters(degree=4096, moduli=(40961, 65537), special_modulus=None, error_deviation=3.2)


@pytest.mark.parametrize(
    "changes",
    [
        {"degree": 1000}, {"degree": 512}, {"moduli": ((1 << 109) + 1,)}, {"special_modulus": (1 << 109) + 1},
        {"error_deviation": 3.18}, {"error_deviation": 0.0}, {"error_deviation": -3.2}, {"secret": "sparse"},
        {"moduli": (65537, 65537)}, {"degree": 2048, "moduli": (40961, (1 << 40) + 15)},
    ],
    ids=str,
)  # fmt: skip
def test_weaker_lattices_are_refused_when_they_are_named(changes):
    GOOD.check()
    with pytest.raises(ParameterError):
        replace(GOOD, **changes).check()
    with pytest.raises(ParameterError):
        replace(LATTICES[0], lattice=replace(GOOD, **changes))


def test_the_table_is_that_of_the_standard():
    assert dict(LATTICE_LOG_Q_128) == {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
    assert FACTORING_MODULUS_BITS_128 == 3072


def test_every_field_of_a_set_is_in_its_digest():
    base = LATTICES[0]
    for field in fields(base):
        value = getattr(base, field.name)
        other = {int: lambda v: v + 1}.get(type(value), lambda v: None)(value)
        if field.name == "id":
            other = "other"
        elif field.name in {"scheme", "security"}:
            other = SchemeId.CLEAR if field.name == "scheme" else SecurityLevel.NONE
        changed = replace(base, **{field.name: other})

        assert changed.digest() != base.digest(), field.name
