"""Names of members and sets of participants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import ParameterError
from mpc.parties import Role, party_id, roster

names = st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True)


@given(names)
def test_a_valid_name_is_itself(name):
    assert party_id(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "", "North", "1north", "-north", "a" * 41, "north\n", "north ", " north", "nörth", "n\u200borth", "a/b", "a.b",
        "a_b", "north\x00", "ｎorth", "..", "a\u0661",
    ],
)  # fmt: skip
def test_names_that_could_be_mistaken_or_could_escape_a_path_are_refused(text):
    with pytest.raises(ParameterError):
        party_id(text)


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_a_typed_error(text):
    try:
        accepted = party_id(text)
    except ParameterError:
        return
    assert accepted.isascii()
    assert 1 <= len(accepted) <= 40


def test_a_refused_name_is_quoted_shortly():
    with pytest.raises(ParameterError) as caught:
        party_id("X" * 10_000)
    assert len(str(caught.value)) < 300


@given(st.sets(names, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_roster_does_not_depend_on_the_order_of_its_names(found, random):
    shuffled = list(found)
    random.shuffle(shuffled)

    assert roster(shuffled) == tuple(sorted(found))


@pytest.mark.parametrize("parties", [[], ["a", "a"], ["a", "B"], ["a", ""]])
def test_rosters_are_not_empty_and_name_every_party_once(parties):
    with pytest.raises(ParameterError):
        roster(parties)


def test_roles_are_the_four_of_the_design():
    assert {r.value for r in Role} == {"party", "analyst", "coordinator", "auditor"}
