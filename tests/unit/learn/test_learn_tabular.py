"""Averages, clusters and components over parties equal those of the pooled rows."""

import numpy as np
import pytest

from mpc.errors import PlanError, RangeError
from mpc.learn import ArrayRows, ArraySpec, Category, FederatedAverage, KMeans, Numeric, Pca, load_model, program
from mpc.learn.design import load_rows
from mpc.primitives import Checkpoint, Sum, run_ideal
from tests.unit.learn.learn_rooms import DIVISIONS, patients, record, room, train

ROWS = patients()
FEATURES = (
    Numeric("age", minimum=0, maximum=120),
    Numeric("visits", "log1p", 0, 1000),
    Numeric("cost", minimum=-1e4, maximum=1e4),
    Category("ward", levels=("east", "north", "south", "west")),
)


def standardized(rows) -> np.ndarray:
    numbers = np.column_stack([rows["age"], np.log1p(rows["visits"]), rows["cost"]])
    numbers = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    return np.column_stack([numbers, *[rows["ward"] == w for w in ("east", "north", "south", "west")]])


@pytest.mark.parametrize("division", DIVISIONS)
def test_components_are_those_of_the_pooled_rows(division):
    model = train(Pca("stays", FEATURES, 3), room(ROWS, "patient", division))
    x = standardized(ROWS)

    values, vectors = np.linalg.eigh(np.cov(x.T))
    expected = vectors.T[::-1][:3]

    assert np.allclose(np.abs(model.components @ expected.T), np.eye(3), atol=1e-7)
    assert np.allclose(model.explained_variance, values[::-1][:3], rtol=1e-8)
    assert model.explained_variance_ratio.sum() == pytest.approx(values[-3:].sum() / values.sum(), rel=1e-8)
    assert np.allclose(np.abs(model.transform(ROWS)), np.abs((x - x.mean(axis=0)) @ expected.T), atol=1e-6)
    assert (np.take_along_axis(model.components, np.abs(model.components).argmax(axis=1)[:, None], 1) > 0).all()


def test_components_survive_disk_and_resume(tmp_path):
    rooms = room(ROWS, "patient", "2")
    results, steps = record([program(Pca("stays", FEATURES, 2), d, parties=2) for d in rooms])
    results[0].save(tmp_path)
    states = [[s.state for s in own if isinstance(s, Checkpoint)] for own in steps]
    again = run_ideal(
        [
            program(Pca("stays", FEATURES, 2), d, parties=2, checkpoint=own[0])
            for d, own in zip(rooms, states, strict=True)
        ]
    )

    assert load_model(tmp_path).bits() == results[0].bits() == again[0].bits()
    assert np.array_equal(load_model(tmp_path).transform(ROWS), results[0].transform(ROWS))


def test_more_components_than_columns_are_refused():
    with pytest.raises(PlanError):
        train(Pca("stays", FEATURES, 8), room(ROWS, "patient", "2"))


def blobs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(6)
    centers = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    which = rng.integers(0, 3, 900)
    points = centers[which] + rng.normal(size=(900, 2))
    return {"id": np.arange(900), "x": points[:, 0], "y": points[:, 1], "which": which}


BLOBS = blobs()
POINTS = (Numeric("x", minimum=-100, maximum=100), Numeric("y", minimum=-100, maximum=100))


@pytest.mark.parametrize("division", DIVISIONS)
def test_clusters_are_a_fixed_point_of_the_pooled_rows(division):
    model = train(KMeans("t", POINTS, 3, 50), room(BLOBS, "id", division))
    points = np.column_stack([BLOBS["x"], BLOBS["y"]])
    own = model.predict(BLOBS)

    means = np.array([points[own == k].mean(axis=0) for k in range(3)])
    assert np.allclose(model.centers, means, atol=1e-5)
    assert np.array_equal(model.counts, np.bincount(own, minlength=3))
    assert len({(a, b) for a, b in zip(own.tolist(), BLOBS["which"].tolist(), strict=True)}) <= 6
    scaled = (points - points.mean(axis=0)) / points.std(axis=0)
    inertia = sum(np.square(scaled[own == k] - scaled[own == k].mean(axis=0)).sum() for k in range(3))
    assert model.inertia == pytest.approx(inertia, rel=1e-6)


def test_a_small_cluster_is_never_summed():
    spec = KMeans("t", POINTS, 40, 6, minimum_rows=30)
    _, steps = record([program(spec, d, parties=2) for d in room(BLOBS, "id", "2")])
    sums = [s for s in steps[0] if isinstance(s, Sum) and s.header.label.startswith("kmeans/")]
    states = [s.state for s in steps[0] if isinstance(s, Checkpoint)]

    for number, state in enumerate(states):
        opened = next(s for s in sums if s.header.label == f"kmeans/{number}/sums")
        assert opened.header.segments[0].length == 2 * int((state["counts"] >= 30).sum()) < 80


def test_clusters_resume_bit_identically(tmp_path):
    spec = KMeans("t", POINTS, 5, 12)
    rooms = room(BLOBS, "id", "3")
    results, steps = record([program(spec, d, parties=3) for d in rooms])
    states = [[s.state for s in own if isinstance(s, Checkpoint)] for own in steps]
    results[0].save(tmp_path)

    assert load_model(tmp_path).bits() == results[0].bits()
    for number in (0, len(states[0]) - 1):
        again = run_ideal(
            [program(spec, d, parties=3, checkpoint=own[number]) for d, own in zip(rooms, states, strict=True)]
        )
        assert {m.bits() for m in again} == {results[0].bits()}


def average(**changes) -> FederatedAverage:
    fields = {
        "table": "t", "trainer": "local", "rounds": 3,
        "arrays": (ArraySpec("file", (2, 3), 10.0), ArraySpec("layer/0.bias", (), 10.0)),
    }  # fmt: skip
    return FederatedAverage(**(fields | changes))


class Local:
    """Moves the arrays half way to a party's own target; weight is the number of its rows."""

    def __init__(self, target: float, weight: int) -> None:
        self.target, self.weight = target, weight

    def __call__(self, number, arrays, data):
        return {name: (a + self.target) / 2.0 for name, a in arrays.items()}, self.weight


def run_average(spec, locals_):
    return run_ideal([program(spec, ArrayRows({}), parties=len(locals_), trainers={"local": one}) for one in locals_])


def test_the_average_is_weighted_by_the_parties_weights():
    model = run_average(average(), [Local(1.0, 10), Local(-2.0, 30), Local(4.0, 60)])[0]

    goal = (10 * 1.0 - 30 * 2.0 + 60 * 4.0) / 100
    assert np.allclose(model.values["file"], goal * (1 - 0.5**3), atol=1e-6)
    assert model.values["layer/0.bias"].shape == ()
    assert model.weight == 100


def test_averages_beyond_64_bits_are_exact():
    wide = average(arrays=(ArraySpec("w", (2,), 1e6),), scale_bits=40, rounds=1, weight_at_most=1 << 40)
    model = run_average(wide, [Local(0.5, 1 << 39), Local(1.0, 1 << 39)])[0]

    assert model.values["w"].tolist() == [0.375, 0.375]


@pytest.mark.parametrize("target", [30.0, np.nan, np.inf])
def test_an_element_beyond_its_magnitude_is_refused_by_array(target):
    with pytest.raises(RangeError) as caught:
        run_average(average(), [Local(1.0, 1), Local(target, 1)])

    assert caught.value.fields["statistic"] == "file"


def test_clipping_happens_only_where_it_is_asked_for():
    model = run_average(average(clip=True, rounds=1), [Local(100.0, 1)])[0]

    assert (model.values["file"] == 10.0).all()
    with pytest.raises(RangeError):
        run_average(average(clip=True), [Local(np.nan, 1)])


def test_averages_resume_and_survive_disk(tmp_path):
    parties = [Local(1.0, 10), Local(-2.0, 30)]
    results, steps = record([program(average(), ArrayRows({}), parties=2, trainers={"local": one}) for one in parties])
    states = [[s.state for s in own if isinstance(s, Checkpoint)] for own in steps]
    again = run_ideal(
        [
            program(average(), ArrayRows({}), parties=2, trainers={"local": one}, checkpoint=own[1])
            for one, own in zip(parties, states, strict=True)
        ]
    )
    results[0].save(tmp_path)

    assert again[0].bits() == results[0].bits() == load_model(tmp_path).bits()


def test_an_unknown_trainer_and_wrong_arrays_are_refused():
    with pytest.raises(PlanError):
        program(average(), ArrayRows({}), parties=1, trainers={})

    def other(number, arrays, data):
        return {"file": np.zeros((3, 2)), "layer/0.bias": 0.0}, 1

    with pytest.raises(PlanError, match="shape"):
        run_average(average(), [other])


def test_rows_without_a_target_are_complete():
    assert load_rows(FEATURES, None, None, ArrayRows(ROWS), held_out=False).count == len(ROWS["age"])
