"""Federated averages over processes: the owners' own training functions, in the sandbox, by name."""

import textwrap

import numpy as np
import pyarrow as pa
import pytest

from mpc.client import LocalRoom
from mpc.errors import PlanError, PolicyDenied, RangeError
from mpc.learn import ArraySpec, FederatedAverage
from mpc.policy.rules import open_policy

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("trainers")]

PARTIES = ("north", "south", "west")
SOURCE = """
import numpy as np

COLUMNS = ["x0", "x1", "y"]


def table(data):
    parts = [np.column_stack([batch[c] for c in COLUMNS]) for batch in data.read(COLUMNS)]
    rows = np.concatenate(parts).astype(float)
    return rows[:, :2], rows[:, 2]


def learn(number, arrays, data):
    from sklearn.linear_model import SGDClassifier

    x, y = table(data)
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01, random_state=number, max_iter=1)
    model.coef_, model.intercept_, model.classes_ = arrays["weights"][None, :], arrays["bias"][None], np.array([0, 1])
    model.partial_fit(x, y, classes=[0, 1])
    return {"weights": model.coef_[0], "bias": model.intercept_[0]}, len(y)


def explode(number, arrays, data):
    return {"weights": np.array([0.0, 9.0]), "bias": np.array(0.0)}, 1


def crash(number, arrays, data):
    raise RuntimeError("row 17 holds 42")


def peek(number, arrays, data):
    next(iter(data.read(["patient"])))
"""


def cohort(seed, rows=1500):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    y = rng.random(rows) < 1 / (1 + np.exp(-(x @ [1.0, -0.7] + 0.2)))
    return pa.table({"x0": x[:, 0], "x1": x[:, 1], "y": y.astype(np.int64), "patient": np.arange(rows)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("owners")
    (folder / "hospital_training.py").write_text(textwrap.dedent(SOURCE))
    return folder


@pytest.fixture(scope="module")
def room(folder):
    def declared(*names):
        return {n: {"module": f"hospital_training:{n}", "path": str(folder)} for n in names}

    everywhere = declared("learn", "explode", "crash", "peek")
    trainers = dict.fromkeys(PARTIES, everywhere) | {"north": everywhere | declared("only")}
    tables = {p: {"cohort": cohort(k)} for k, p in enumerate(PARTIES)}
    policies = {"south": open_policy(("cohort",), (*everywhere, "only")) | {"trainers": {
        "learn": ["analyst"], "explode": ["*"], "crash": ["*"], "peek": ["*"], "only": ["*"],
    }}}  # fmt: skip
    with LocalRoom(tables, policies, trainers=trainers) as room:
        yield room


def spec(trainer, **changes):
    arrays = (ArraySpec("weights", (2,), 4.0), ArraySpec("bias", (), 4.0))
    fields = {"columns": ("x0", "x1", "y"), "rounds": 3} | changes
    return FederatedAverage(table="cohort", trainer=trainer, arrays=arrays, **fields)


def by_hand(folder, rounds):
    """The same with plain numpy on the pooled tables."""
    pytest.importorskip("sklearn")
    found = {}
    exec(compile((folder / "hospital_training.py").read_text(), "trainer", "exec"), found)
    arrays = {"weights": np.zeros(2), "bias": np.zeros(())}

    class Whole:
        def __init__(self, table):
            self.table = table

        def read(self, columns):
            yield {c: self.table[c].to_numpy() for c in columns}

    for number in range(rounds):
        made = [found["learn"](number, {n: np.array(a) for n, a in arrays.items()}, Whole(cohort(k))) for k in range(3)]
        total = sum(weight for _, weight in made)
        arrays = {n: sum(w * np.asarray(a[n]) for a, w in made) / total for n in arrays}
    return arrays


def test_owners_functions_are_averaged_as_by_hand(room, folder):
    run = room.client().train(spec("learn"))

    expected = by_hand(folder, 3)
    assert run.model.weight == 4500
    for name, values in run.model.values.items():
        assert np.allclose(values, expected[name], atol=1e-6)
    assert run.model.values["weights"][0] > 0.1 > run.model.values["weights"][1]


def test_a_value_beyond_its_magnitude_is_refused_and_named(room):
    with pytest.raises(RangeError) as caught:
        room.client().train(spec("explode")).wait()

    assert caught.value.fields["statistic"] == "weights"


def test_clipping_happens_where_the_spec_asks_for_it(room):
    assert room.client().train(spec("explode", clip=True, rounds=1)).model.values["weights"][1] == 4.0


def test_a_function_that_an_owner_does_not_declare_is_refused(room):
    with pytest.raises(PolicyDenied) as caught:
        room.client().train(spec("only")).wait()

    assert caught.value.fields["rule"] == "trainers only"
    assert caught.value.fields["party"] in {"south", "west"}


def test_a_failing_function_tells_nothing_of_the_data(room):
    with pytest.raises(PlanError) as caught:
        room.client().train(spec("crash")).wait()

    assert caught.value.fields["reason"] == "the owner's training function failed"
    assert "42" not in str(caught.value)


def test_a_function_reads_the_declared_columns_only(room):
    with pytest.raises(PlanError) as caught:
        room.client().train(spec("peek")).wait()

    assert caught.value.fields["column"] == "patient"
