"""Every scheme passes the shipped suite, for every parameter set."""

import functools
from itertools import product

import pytest

from mpc.params import PARAMETER_SETS, parameter_set
from mpc.schemes.base import Ability
from mpc.schemes.public import abilities
from mpc.testing.conformance import CHECKS, Check
from mpc.testing.subject import Subject

_CASES = [(name, check) for name in PARAMETER_SETS for check in CHECKS]


@functools.cache
def _subject(name: str) -> Subject:
    return Subject(parameter_set(name))


@pytest.mark.parametrize(
    ("name", "check"),
    [(n, c) for n, c in _CASES if c.unable(parameter_set(n)) is None],
    ids=lambda value: value.name if isinstance(value, Check) else value,
)
def test_a_scheme_conforms(name, check):
    check.run(_subject(name))


def test_what_schemes_are_unable_to_do_is_known():
    """A new inability must be added here: it does not appear in silence."""
    unable = {(parameter_set(n).scheme.value, c.name) for n, c in _CASES if c.unable(parameter_set(n)) is not None}

    assert unable <= {
        ("clear", "encryptions_of_one_value_differ"),
        ("clear", "zero_bodies_are_refused"),
        ("clear", "secrets_do_not_show"),
        ("paillier", "sums_wrap"),
        *product(("clear", "paillier", "bfv"), ("seeded_ciphertexts_are_shorter",)),
        *product(("clear", "paillier", "bfv"), ("plain_products_are_exact", "flooding_keeps_the_plaintext")),
    }
    assert all(c.unable(parameter_set(n)) for n, c in _CASES if (parameter_set(n).scheme.value, c.name) in unable)


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_every_scheme_declares_what_sums_need(name):
    assert {Ability.ADDS, Ability.ENCRYPTS_SYMMETRIC} <= abilities(parameter_set(name).scheme)
