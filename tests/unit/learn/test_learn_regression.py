"""Regressions over parties equal those of the pooled rows by scikit-learn and statsmodels."""

import numpy as np
import pytest

from mpc.errors import PlanError, RangeError
from mpc.learn import (
    ArrayRows,
    Category,
    Holdout,
    LinearRegression,
    LogisticRegression,
    Numeric,
    PoissonRegression,
    evaluate,
    load_model,
    program,
)
from mpc.learn.design import load_rows
from mpc.learn.evaluating import binned_auc
from mpc.primitives import Checkpoint, Sum, run_ideal
from tests.unit.learn.learn_datasets import LEVELS, NUMBERS, readmission
from tests.unit.learn.learn_rooms import DIVISIONS, patients, record, room, train

ROWS = patients()
FEATURES = (
    Numeric("age", minimum=0, maximum=120),
    Numeric("visits", "log1p", 0, 1000),
    Category("ward", levels=("east", "north", "south", "west")),
    Category("drug", levels=("no", "steady", "up"), reference="no"),
)


def logistic(**changes) -> LogisticRegression:
    return LogisticRegression("stays", "back", FEATURES, **changes)


def plain_design(rows) -> np.ndarray:
    """The unscaled design, written out by hand: north and no are the references."""
    columns = [np.ones(len(rows["age"])), rows["age"], np.log1p(rows["visits"])]
    columns += [rows["ward"] == w for w in ("east", "south", "west")]
    columns += [rows["drug"] == d for d in ("steady", "up")]
    return np.column_stack(columns).astype(np.float64)


def named(model) -> np.ndarray:
    return np.array([model.intercept, *model.coefficients.values()])


@pytest.mark.parametrize("division", DIVISIONS)
def test_logistic_equals_statsmodels(division):
    sm = pytest.importorskip("statsmodels.api")
    rooms = room(ROWS, "patient", division)

    model = train(logistic(), rooms)
    reference = sm.Logit(ROWS["back"], plain_design(ROWS)).fit(disp=0, method="newton", tol=1e-12)

    assert model.names == ("age", "visits", "ward=east", "ward=south", "ward=west", "drug=steady", "drug=up")
    assert np.allclose(named(model), reference.params, rtol=1e-8, atol=1e-9)
    assert np.allclose(list(model.standard_errors.values()), reference.bse, rtol=1e-6)
    assert np.allclose(list(model.p_values.values()), reference.pvalues, rtol=1e-5, atol=1e-12)
    assert np.allclose(list(model.confidence_intervals(0.9).values()), reference.conf_int(0.1), rtol=1e-5, atol=1e-6)
    assert model.loss == pytest.approx(-reference.llf, rel=1e-9)
    assert model.converged
    assert model.rounds <= 7


def test_logistic_with_a_penalty_equals_scikit_learn():
    sk = pytest.importorskip("sklearn.linear_model")
    model = train(logistic(regularization=2.0, tolerance=1e-9), room(ROWS, "patient", "3"))
    local = load_rows(FEATURES, "back", None, ArrayRows(ROWS), held_out=False)
    design = model.design.rows_of(local).read(0, local.count)[:, 1:]

    reference = sk.LogisticRegression(C=0.5, solver="newton-cholesky", tol=1e-12).fit(design, ROWS["back"])

    assert np.allclose(model.beta[1:], reference.coef_[0], atol=1e-7)
    assert model.beta[0] == pytest.approx(reference.intercept_[0], abs=1e-7)
    assert np.allclose(model.predict(ROWS), reference.predict_proba(design)[:, 1], atol=1e-8)
    with pytest.raises(Exception, match="standard errors"):
        _ = model.standard_errors


@pytest.mark.parametrize("division", DIVISIONS)
def test_linear_equals_statsmodels(division):
    sm = pytest.importorskip("statsmodels.api")
    spec = LinearRegression("stays", "cost", FEATURES)

    model = train(spec, room(ROWS, "patient", division))
    reference = sm.OLS(ROWS["cost"], plain_design(ROWS)).fit()

    assert np.allclose(named(model), reference.params, rtol=1e-7, atol=1e-6)
    assert np.allclose(list(model.standard_errors.values()), reference.bse, rtol=1e-6)
    assert np.allclose(list(model.p_values.values()), reference.pvalues, rtol=1e-4, atol=1e-12)
    assert np.allclose(list(model.confidence_intervals().values()), reference.conf_int(), rtol=1e-6, atol=1e-5)
    assert model.r_squared == pytest.approx(reference.rsquared, abs=1e-8)


def test_ridge_equals_scikit_learn():
    sk = pytest.importorskip("sklearn.linear_model")
    model = train(LinearRegression("stays", "cost", FEATURES, 30.0), room(ROWS, "patient", "3"))
    local = load_rows(FEATURES, "cost", None, ArrayRows(ROWS), held_out=False)
    design = model.design.rows_of(local).read(0, local.count)[:, 1:]

    reference = sk.Ridge(alpha=30.0).fit(design, ROWS["cost"])

    assert np.allclose(model.beta[1:], reference.coef_, rtol=1e-6, atol=1e-6)
    assert np.allclose(model.predict(ROWS), reference.predict(design), rtol=1e-7)


def test_poisson_equals_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    model = train(PoissonRegression("stays", "calls", FEATURES, target_maximum=50), room(ROWS, "patient", "3"))
    reference = sm.GLM(ROWS["calls"], plain_design(ROWS), family=sm.families.Poisson()).fit(tol=1e-12)

    assert np.allclose(named(model), reference.params, rtol=1e-7, atol=1e-8)
    assert np.allclose(list(model.standard_errors.values()), reference.bse, rtol=1e-6)
    assert model.loss == pytest.approx(-reference.llf, rel=1e-9)


def test_without_standardisation_the_unpenalised_fit_is_the_same():
    model = train(logistic(), room(ROWS, "patient", "2"))
    raw = train(logistic(standardize=False), room(ROWS, "patient", "2"))

    assert np.allclose(named(raw), named(model), rtol=1e-5, atol=1e-6)


def test_the_moments_are_those_of_the_pooled_rows():
    model = train(logistic(), room(ROWS, "patient", "80/15/5"))
    age, visits = model.design.blocks[0], model.design.blocks[1]

    assert (age.center, age.scale) == pytest.approx((ROWS["age"].mean(), ROWS["age"].std()), rel=1e-12)
    assert visits.center == pytest.approx(np.log1p(ROWS["visits"]).mean(), rel=1e-10)


def test_incomplete_rows_are_left_out_and_counted():
    rows = {name: v.astype(object) if v.dtype.kind == "U" else v.astype(np.float64) for name, v in ROWS.items()}
    rows["age"][:40] = np.nan
    rows["ward"][30:60] = None

    model = train(logistic(), room(rows | {"patient": ROWS["patient"]}, "patient", "3"))
    complete = train(logistic(), [ArrayRows({n: v[60:] for n, v in ROWS.items()})])

    assert (model.rows, model.left_out) == (2940, 60)
    assert np.allclose(named(model), named(complete), atol=1e-7)


def test_rare_levels_get_no_column():
    count = int((ROWS["ward"] == "west").sum())
    features = (*FEATURES[:2], Category("ward", levels=("east", "north", "south", "west"), minimum_rows=count + 1))

    model = train(LogisticRegression("stays", "back", features), room(ROWS, "patient", "3"))

    assert model.names == ("age", "visits", "ward=east", "ward=south")


def test_a_level_of_one_party_gets_no_column():
    rooms = room(ROWS, "patient", "3")
    columns = [{n: v for b in r.read(list(ROWS)) for n, v in b.items()} for r in rooms]
    for party, own in enumerate(columns):
        own["ward"] = np.where(own["ward"] == "west", "west" if party == 1 else "east", own["ward"])

    model = train(logistic(), [ArrayRows(own) for own in columns])

    assert model.names == ("age", "visits", "ward=east", "ward=south", "drug=steady", "drug=up")
    assert train(logistic(), [ArrayRows(columns[1])]).names[2:5] == ("ward=east", "ward=south", "ward=west")


def test_a_column_that_others_determine_is_left_out_and_named():
    rows = ROWS | {"years": ROWS["age"] * 2.0 + 1.0}
    spec = LogisticRegression("stays", "back", (*FEATURES, Numeric("years", minimum=0, maximum=300)))

    model = train(spec, room(rows, "patient", "3"))

    assert model.aliased == ("years",)
    assert model.coefficients["years"] == 0.0
    assert np.isnan(model.standard_errors["years"])
    assert np.allclose(named(model)[:-1], named(train(logistic(), [ArrayRows(ROWS)])), atol=1e-6)


def separated():
    rows = dict(ROWS)
    rows["back"] = np.where(rows["ward"] == "west", 1, rows["back"])
    return rows


def test_separation_is_refused_by_the_name_of_the_feature():
    with pytest.raises(PlanError) as caught:
        train(logistic(), room(separated(), "patient", "3"))

    assert caught.value.fields["feature"] == "ward=west"


def test_bias_reduction_gives_finite_estimates_under_separation():
    rows = separated()
    model = train(logistic(bias_reduction=True, rounds=40), room(rows, "patient", "3"))

    # Firth's estimate is where the modified score vanishes; it is evaluated here with plain numpy.
    x, beta = plain_design(rows), named(model)
    mean = 1.0 / (1.0 + np.exp(-x @ beta))
    weight = mean * (1.0 - mean)
    leverage = weight * np.einsum("ij,jk,ik->i", x, np.linalg.inv((x * weight[:, None]).T @ x), x)
    score = x.T @ (rows["back"] - mean + leverage * (0.5 - mean))
    assert model.converged
    assert np.abs(score / np.sqrt((x**2).sum(axis=0))).max() < 1e-5
    assert 3.0 < model.coefficients["ward=west"] < 12.0


def test_too_few_rows_for_the_columns_are_refused():
    few = {n: v[:399] for n, v in ROWS.items()}
    train(logistic(rows_per_feature=49), room(few, "patient", "2"))
    with pytest.raises(PlanError, match="rows for each of 8 columns"):
        train(logistic(rows_per_feature=50), room(few, "patient", "2"))


@pytest.mark.parametrize(("column", "value"), [("age", 130.0), ("back", 2), ("ward", "nowhere"), ("visits", -1.0)])
def test_a_value_out_of_its_declared_range_is_refused_by_column(column, value):
    rows = {n: v.copy() for n, v in ROWS.items()}
    rows[column] = rows[column].astype("U8") if column == "ward" else rows[column]
    rows[column][5] = value
    with pytest.raises(RangeError) as caught:
        train(logistic(), room(rows, "patient", "3"))

    assert caught.value.fields["column"] == column


@pytest.mark.parametrize("changes", [{}, {"regularization": 1.0}, {"bias_reduction": True}])
def test_resuming_from_any_checkpoint_is_bit_identical(changes):
    rooms = room(ROWS, "patient", "3")
    results, steps = record([program(logistic(**changes), d, parties=3) for d in rooms])
    checkpoints = [[s.state for s in own if isinstance(s, Checkpoint)] for own in steps]

    assert len(checkpoints[0]) >= 4
    for number in range(len(checkpoints[0])):
        again = run_ideal(
            [
                program(logistic(**changes), d, parties=3, checkpoint=own[number])
                for d, own in zip(rooms, checkpoints, strict=True)
            ]
        )
        assert {m.bits() for m in again} == {results[0].bits()}


def test_a_round_opens_the_documented_number_of_values():
    rooms = room(ROWS, "patient", "2")
    _, steps = record([program(logistic(), d, parties=2) for d in rooms])
    newton = [s.header for s in steps[0] if isinstance(s, Sum) and "newton" in s.header.label]

    width = 8
    assert {sum(s.length for s in h.segments) for h in newton} == {width * (width + 1) // 2 + width + 1}


def test_a_saved_model_predicts_the_same(tmp_path):
    model = train(logistic(), room(ROWS, "patient", "2"))
    model.save(tmp_path)

    again = load_model(tmp_path)

    assert again.bits() == model.bits()
    assert np.array_equal(again.predict(ROWS), model.predict(ROWS))
    assert again.p_values == model.p_values
    assert "Logistic regression of back" in model.explain()


def test_the_evaluation_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    spec = logistic(holdout=Holdout(5, columns=("patient",)))
    rooms = room(ROWS, "patient", "3")
    model = train(spec, rooms)
    quality = run_ideal([evaluate(model, spec, data) for data in rooms])[0]

    held = load_rows(FEATURES, "back", spec.holdout, ArrayRows(ROWS), held_out=True)
    predicted = model.predict_local(held)
    exact = metrics.roc_auc_score(held.target, predicted)
    assert quality.rows == held.count
    assert abs(quality.auc - exact) <= quality.auc_resolution + 1e-12
    assert quality.auc == pytest.approx(exact, abs=1e-4)
    assert quality.log_loss == pytest.approx(metrics.log_loss(held.target, predicted), abs=1e-8)
    assert quality.brier == pytest.approx(metrics.brier_score_loss(held.target, predicted), abs=1e-8)
    assert sum(n for _, _, n in quality.calibration) == held.count


def test_the_evaluation_of_values():
    spec = LinearRegression("stays", "cost", FEATURES, holdout=Holdout(4, columns=("patient",)))
    rooms = room(ROWS, "patient", "3")
    model = train(spec, rooms)
    quality = run_ideal([evaluate(model, spec, data) for data in rooms])[0]

    held = load_rows(FEATURES, "cost", spec.holdout, ArrayRows(ROWS), held_out=True)
    error = model.predict_local(held) - held.target
    assert quality.rmse == pytest.approx(np.sqrt((error**2).mean()), abs=1e-6)
    assert quality.mae == pytest.approx(np.abs(error).mean(), abs=1e-6)
    assert quality.r_squared == pytest.approx(1 - (error**2).sum() / np.square(held.target - held.target.mean()).sum())


def test_binned_auc_of_ties_is_a_half():
    assert binned_auc(np.array([3, 0]), np.array([2, 0])) == (0.5, 0.5)


def readmission_spec(rows, **changes) -> LogisticRegression:
    counts = {"number_outpatient", "number_emergency", "number_inpatient"}
    numbers = [Numeric(n, "log1p" if n in counts else "none", 0, 1000) for n in NUMBERS]
    levels = [
        Category(n, levels=tuple(np.unique(rows[n]).tolist()), minimum_rows=200, minimum_parties=1) for n in LEVELS
    ]
    held = Holdout(5, columns=("patient_nbr",))
    fields = {"regularization": 1.0, "holdout": held, "rounds": 10} | changes
    return LogisticRegression("encounters", "readmitted", (*numbers, *levels), **fields)


@pytest.mark.slow
@pytest.mark.parametrize("division", [*DIVISIONS, "specialty"])
def test_readmission_equals_scikit_learn_on_the_identical_matrix(division):
    linear, metrics = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.metrics")
    rows = readmission()
    spec = readmission_spec(rows)
    if division == "specialty":
        home = np.searchsorted(["G", "R"], rows["medical_specialty"], side="right")
        rooms = [ArrayRows({n: v[home == p] for n, v in rows.items()}) for p in range(3)]
    else:
        rooms = room(rows, "patient_nbr", division)
    model = train(spec, rooms)
    five = train(readmission_spec(rows, rounds=5), rooms)

    both = [load_rows(spec.features, "readmitted", spec.holdout, ArrayRows(rows), held_out=h) for h in (False, True)]
    designs = [model.design.rows_of(local).read(0, local.count)[:, 1:] for local in both]
    pooled = linear.LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=200)
    pooled.fit(designs[0], both[0].target)
    expected = metrics.roc_auc_score(both[1].target, pooled.predict_proba(designs[1])[:, 1])

    assert (both[0].count, both[1].count) == (81_551, 20_215)
    assert model.rounds <= 10
    assert model.converged
    assert np.abs(model.beta[1:] - pooled.coef_[0]).max() < 1e-5
    assert metrics.roc_auc_score(both[1].target, five.predict_local(both[1])) == pytest.approx(expected, abs=1e-6)
    assert expected == pytest.approx(0.679, abs=0.002)


@pytest.mark.slow
def test_readmission_standard_errors_equal_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    rows = readmission()
    few = ("race", "gender", "age", "insulin", "change", "diabetesMed", "A1Cresult")
    spec = readmission_spec(rows, regularization=0.0, rounds=15)
    spec = LogisticRegression("encounters", "readmitted", tuple(
        f for f in spec.features if isinstance(f, Numeric) or f.column in few
    ))  # fmt: skip
    model = train(spec, room(rows, "patient_nbr", "3"))
    local = load_rows(spec.features, "readmitted", None, ArrayRows(rows), held_out=False)
    design = model.design.rows_of(local).read(0, local.count) @ np.linalg.inv(model.design.unscaling())

    reference = sm.Logit(local.target, design).fit(disp=0, method="newton", tol=1e-12)

    assert np.allclose(named(model), reference.params, rtol=1e-5, atol=1e-7)
    assert np.allclose(list(model.standard_errors.values()), reference.bse, rtol=1e-5)
    assert np.allclose(list(model.p_values.values()), reference.pvalues, rtol=1e-4, atol=1e-12)
