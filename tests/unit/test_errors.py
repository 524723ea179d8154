"""The tree of errors: stable codes, exit codes, and what may be said in public."""

import pickle
import re

import pytest

from mpc import errors
from mpc.errors import MpcError, PlanError, PolicyDenied

CANARY = "hunter2-4711"

EXIT_CODES = {
    "MpcError": 1, "ConfigurationError": 3, "ParameterError": 3, "KeyAccessError": 3, "RangeError": 7, "PlanError": 7,
    "SourceError": 3, "PolicyDenied": 5, "BudgetExhausted": 6, "WireError": 8, "ProtocolError": 8, "IntegrityError": 8,
    "ReplayError": 8, "TransportError": 4, "AuthenticationError": 4, "AuthorizationError": 4, "PartyUnavailable": 4,
    "PartyLost": 10, "DeadlineExceeded": 9, "ResourceExhausted": 4, "JobCancelled": 130, "InternalError": 1,
}  # fmt: skip
"""Scripts rely on these: a change here is a change of the command line."""


def classes():
    found, todo = [], [MpcError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return [k for k in found if k.__module__ == errors.__name__]


def test_every_code_is_unique_and_of_four_digits():
    codes = [kind.code for kind in classes()]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"E[1-9]\d{3}", code) for code in codes)


def test_every_class_says_its_own_code_and_sentence():
    for kind in classes():
        assert "code" in vars(kind), kind
        assert "sentence" in vars(kind), kind
        assert "exit_code" in vars(kind), kind


def test_exit_codes_do_not_change():
    assert {kind.__name__: kind.exit_code for kind in classes()} == EXIT_CODES


def test_no_exit_code_is_that_of_success_or_of_a_wrong_command_line():
    assert not {kind.exit_code for kind in classes()} & {0, 2}


def test_everything_is_exported_and_drawn_in_the_tree():
    drawn = errors.__doc__.partition("Each leaf")[0].split()

    assert sorted(errors.__all__) == list(errors.__all__) == sorted(kind.__name__ for kind in classes())
    assert {kind.__name__ for kind in classes()} <= set(drawn)


@pytest.mark.parametrize("kind", classes(), ids=lambda k: k.__name__)
def test_the_detail_is_shown_locally_and_never_in_public(kind):
    error = kind(f"password={CANARY}", party="north", column="age")

    assert CANARY in str(error)
    assert CANARY not in error.public
    assert error.public.startswith(kind.sentence)
    assert "party north" in error.public


def test_reason_and_instead_end_the_sentence():
    error = PlanError("", offset=7, reason="no windows", instead="GROUP BY")

    assert error.public == f"{PlanError.sentence} (offset 7): no windows; instead: GROUP BY"


def test_a_member_that_is_the_party_is_named_once():
    assert errors.TransportError("", member="west", party="west").public.endswith("(party west)")
    assert errors.TransportError("", member="hub", party="west").public.endswith("(member hub, party west)")
    assert errors.TransportError("", member="hub").public.endswith("(member hub)")


def test_the_detail_cannot_be_given_as_a_field():
    with pytest.raises(TypeError):
        MpcError("x", "y")
    assert MpcError("x", detail="y").fields == {"detail": "y"}


@pytest.mark.parametrize("kind", classes(), ids=lambda k: k.__name__)
def test_an_error_survives_the_way_from_a_worker_process(kind):
    error = kind("local", party="north", offset=3)
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert (again.detail, again.fields, str(again)) == (error.detail, error.fields, str(error))


def test_a_refusal_for_budget_is_a_refusal_of_policy():
    assert issubclass(errors.BudgetExhausted, PolicyDenied)
