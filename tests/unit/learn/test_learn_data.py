"""How rows reach a program, and how vocabularies are found."""

import numpy as np
import pytest

from mpc.errors import PlanError, RangeError, SourceError
from mpc.learn import ArrayRows, Category, Ease, LogisticRegression, Numeric
from mpc.learn.data import Codes, identifiers, reals
from mpc.learn.union import union_program
from mpc.learn.vocabulary import Vocabulary
from tests.unit.learn.learn_rooms import equal, owner, patients, room, shops, train

SEED = b"d" * 32


def test_identifiers_in_every_form_they_arrive_in():
    texts, present = identifiers(np.array(["a", None, "b"], dtype=object), "c")
    assert (texts.tolist(), present.tolist()) == (["a", "b"], [True, False, True])

    numbers, present = identifiers(np.array([1.0, np.nan, 3.0]), "c")
    assert (numbers.tolist(), numbers.dtype) == ([1, 3], np.int64)

    numbers, _ = identifiers(np.ma.masked_array([1, 2, 3], [False, True, False]), "c")
    assert numbers.tolist() == [1, 3]

    numbers, _ = identifiers(np.array([True, False]), "c")
    assert numbers.tolist() == [1, 0]


@pytest.mark.parametrize(
    "values",
    [np.array([0.5]), np.array(["a", 1], dtype=object), np.array(["2020-01-01"], dtype="datetime64[D]"),
     np.array([1 << 63], dtype=np.uint64), np.array([object()], dtype=object)],
)  # fmt: skip
def test_what_does_not_identify_is_refused_by_column(values):
    with pytest.raises(SourceError) as caught:
        identifiers(values, "item")

    assert caught.value.fields["column"] == "item"


def test_numbers_and_nulls():
    assert np.array_equal(reals(np.array([1, None, 2.5], dtype=object), "c"), [1.0, np.nan, 2.5], equal_nan=True)
    for wrong in (np.array([np.inf]), np.array(["x"])):
        with pytest.raises(SourceError):
            reals(wrong, "c")


def test_codes_number_identifiers_across_batches():
    codes = Codes("c")
    first, second = codes.add(np.array(["b", "a", "b"])), codes.add(np.array(["c", "a"]))

    values = codes.values()
    assert values[first].tolist() == ["b", "a", "b"]
    assert values[second].tolist() == ["c", "a"]


def test_rows_come_in_batches_of_the_named_columns():
    rows = ArrayRows({"a": np.arange(5), "b": np.arange(5) * 2}, batch_rows=2)

    assert [batch["b"].tolist() for batch in rows.read(["b"])] == [[0, 2], [4, 6], [8]]
    with pytest.raises(SourceError):
        list(rows.read(["z"]))
    with pytest.raises(SourceError):
        ArrayRows({"a": [1], "b": [1, 2]})


def test_a_vocabulary_numbers_by_rank():
    words = Vocabulary.of(["pear", "fig", "apple"])

    assert words.index(np.array(["fig", "nut", "apple"])).tolist() == [1, -1, 0]
    with pytest.raises(RangeError):
        words.require(np.array(["nut"]), "fruit")
    with pytest.raises(SourceError):
        words.index(np.array([1]))
    assert words.digest() != Vocabulary.of(["pear", "fig"]).digest()


@pytest.mark.parametrize("texts", [False, True])
def test_a_discovered_vocabulary_trains_the_declared_model(texts):
    rows = shops()
    if texts:
        rows["item"] = np.array([f"film-{i:03d}" for i in rows["item"]])
    rooms = room(rows, "user", "3")
    spec = {"regularization": 10.0, "minimum_users": 3}

    found = train(Ease("r", "user", "item", **spec, capacity=200), rooms, discovery=union_program(SEED))
    declared = train(Ease("r", "user", "item", **spec, items=tuple(np.unique(rows["item"]).tolist())), rooms)

    assert equal(found, declared)


def test_a_discovered_item_of_one_party_does_not_enter():
    rows = shops()
    owners, _ = owner(rows["user"], "3")
    rows["item"] = np.where((owners == 1) & (rows["item"] == 3), 999, rows["item"])

    model = train(
        Ease("r", "user", "item", 10.0, 1, capacity=200), room(rows, "user", "3"), discovery=union_program(SEED)
    )

    assert 999 not in model.items


def test_discovered_levels_train_the_declared_model():
    rows = patients()
    rooms = room(rows, "patient", "3")
    features = (Numeric("age", minimum=0, maximum=120), Category("ward", capacity=16))
    declared = (features[0], Category("ward", levels=("east", "north", "south", "west")))

    found = train(LogisticRegression("t", "back", features), rooms, discovery=union_program(SEED))

    assert equal(found, train(LogisticRegression("t", "back", declared), rooms))


def test_without_a_declaration_or_a_discovery_there_is_no_vocabulary():
    with pytest.raises(PlanError):
        train(Ease("r", "user", "item", 10.0, 1), room(shops(), "user", "2"))


def test_too_many_values_for_the_discovery_are_an_error():
    with pytest.raises(RangeError):
        train(Ease("r", "user", "item", capacity=8), room(shops(), "user", "2"), discovery=union_program(SEED))
