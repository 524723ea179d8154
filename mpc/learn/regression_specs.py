"""What a modeller says about a regression, a clustering or an average; every field is public and signed."""

import re
from typing import Literal

import msgspec

from mpc.learn.checks import between, one_type, refuse
from mpc.learn.recommender_specs import Holdout

__all__ = [
    "ArraySpec",
    "Category",
    "Feature",
    "FederatedAverage",
    "KMeans",
    "LinearRegression",
    "LogisticRegression",
    "Numeric",
    "Pca",
    "PoissonRegression",
    "Tabular",
]


class Numeric(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="numeric"
):
    """A numeric column."""

    column: str
    transform: Literal["none", "log1p"] = "none"
    minimum: float = -1e6
    """Least value before the transform; a smaller one is a `RangeError` naming the column."""

    maximum: float = 1e6

    def __post_init__(self) -> None:
        between(f"{self.column}.minimum", self.minimum, -1e15, 1e15)
        between(f"{self.column}.maximum", self.maximum, self.minimum, 1e15)


class Category(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="category"
):
    """A column of levels, one 0/1 column per admitted level."""

    column: str
    levels: tuple[str | int, ...] | None = None
    """The public levels; without them the union is discovered, and shown to all parties."""

    minimum_rows: int = 20
    """Levels with fewer rows over all parties are not admitted (their rows have 0 in every column)."""

    minimum_parties: int = 2
    """Levels that fewer parties have are not admitted: their rows would be one party's rows."""

    reference: str | int | None = None
    """The level without a column. By default none in a penalised model, else the most frequent."""

    capacity: int = 1024
    """Most distinct levels that a discovery must carry."""

    def __post_init__(self) -> None:
        between(f"{self.column}.minimum_rows", self.minimum_rows, 1, 1 << 40)
        between(f"{self.column}.minimum_parties", self.minimum_parties, 1, 1 << 10)
        between(f"{self.column}.capacity", self.capacity, 1, 1 << 24)
        if self.levels is not None:
            one_type(f"{self.column}.levels", self.levels)


Feature = str | Numeric | Category


class Tabular(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What all models over features have in common."""

    holdout: Holdout | None = None
    standardize: bool = True
    """Centre and scale numeric columns by the mean and deviation over all parties (two encrypted sums)."""

    rows_at_most: int = 1 << 32
    """Most rows at one party; it bounds the counts."""

    rows_per_feature: int = 10
    """Refuse when fewer rows per column of the design: p(p+1)/2 opened numbers would describe the rows."""

    scale_bits: int = 24
    """Fractional bits of every statistic."""

    def check_tabular(self, features: tuple[Feature, ...]) -> None:
        """Refuse impossible common fields (`PlanError`)."""
        names = [f if isinstance(f, str) else f.column for f in features]
        refuse(not names or len(set(names)) != len(names), "features", "features are columns, each named once")
        refuse(self.holdout is not None and not self.holdout.columns, "holdout.columns", "name the key column")
        between("rows_at_most", self.rows_at_most, 1, 1 << 40)
        between("rows_per_feature", self.rows_per_feature, 1, 1 << 20)
        between("scale_bits", self.scale_bits, 4, 60)


class Targeted(Tabular, frozen=True):
    """A target and its features."""

    table: str
    target: str
    features: tuple[Feature, ...]
    regularization: float = 0.0
    """L2 penalty `regularization / 2 * sum of squared coefficients` (of standardised features), never on the
    intercept. scikit-learn's `C` is its inverse."""


class Newton(Targeted, frozen=True, kw_only=True):
    """Fields of the models fitted by Newton's method; not a model by itself."""

    rounds: int = 25
    tolerance: float = 1e-7
    """Stop when no coefficient of the standardised design moves by more."""

    def check_newton(self) -> None:
        """Refuse impossible fields (`PlanError`)."""
        self.check_tabular(self.features)
        between("regularization", self.regularization, 0.0, 1e12)
        between("rounds", self.rounds, 1, 1000)
        between("tolerance", self.tolerance, 1e-15, 1.0)
        refuse(self.target in names_of(self.features), "target", "the target is not a feature")


class LogisticRegression(Newton, frozen=True, kw_only=True, tag_field="kind", tag="logistic_regression"):
    """Logistic regression by Newton's method on summed sufficient statistics."""

    bias_reduction: bool = False
    """Firth's penalised likelihood (Biometrika 80(1), 1993): finite estimates under separation, two sums per step."""

    def __post_init__(self) -> None:
        self.check_newton()
        refuse(self.bias_reduction and self.regularization > 0, "bias_reduction", "it replaces the L2 penalty")


class PoissonRegression(Newton, frozen=True, kw_only=True, tag_field="kind", tag="poisson_regression"):
    """Poisson regression with the logarithmic link, for counts."""

    target_maximum: float = 1e4
    """Largest count; a larger one is a `RangeError` naming the column."""

    def __post_init__(self) -> None:
        self.check_newton()
        between("target_maximum", self.target_maximum, 1.0, 1e12)


class LinearRegression(Targeted, frozen=True, kw_only=True, tag_field="kind", tag="linear_regression"):
    """Least squares, or ridge regression, from one encrypted cross-product matrix."""

    target_minimum: float = -1e6
    target_maximum: float = 1e6

    def __post_init__(self) -> None:
        self.check_tabular(self.features)
        between("regularization", self.regularization, 0.0, 1e12)
        between("target_minimum", self.target_minimum, -1e15, 1e15)
        between("target_maximum", self.target_maximum, self.target_minimum, 1e15)
        refuse(self.target in names_of(self.features), "target", "the target is not a feature")


class Pca(Tabular, frozen=True, tag_field="kind", tag="pca"):
    """Principal components from one encrypted cross-product matrix."""

    table: str
    features: tuple[Feature, ...]
    components: int = 2

    def __post_init__(self) -> None:
        self.check_tabular(self.features)
        between("components", self.components, 1, 1 << 16)


class KMeans(Tabular, frozen=True, tag_field="kind", tag="k_means"):
    """Lloyd's algorithm; the columns of a cluster with fewer than `minimum_rows` rows are never summed."""

    table: str
    features: tuple[Feature, ...]
    clusters: int = 8
    iterations: int = 20
    minimum_rows: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        self.check_tabular(self.features)
        between("clusters", self.clusters, 1, 1 << 16)
        between("iterations", self.iterations, 1, 100_000)
        between("minimum_rows", self.minimum_rows, 1, 1 << 40)
        between("seed", self.seed, 0, (1 << 63) - 1)


class ArraySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named array of a model that is averaged."""

    name: str
    shape: tuple[int, ...]
    magnitude: float
    """Every element of every party's array lies within plus or minus this."""

    def __post_init__(self) -> None:
        refuse(re.fullmatch(r"[\w.\-/]{1,200}", self.name) is None, "arrays.name", "letters, digits and . - / _")
        refuse(any(n < 1 for n in self.shape), f"{self.name}.shape", "no dimension is empty")
        between(f"{self.name}.magnitude", self.magnitude, 1e-12, 1e12)


class FederatedAverage(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="kind",
    tag="federated_average",
):
    """Weighted averages of arrays that a party's own training function makes (McMahan et al., AISTATS 2017)."""

    table: str
    trainer: str
    """Name under which each owner declares its training function."""

    arrays: tuple[ArraySpec, ...]
    rounds: int = 10
    weight_at_most: int = 1 << 32
    """Largest weight (usually a row count) of one party."""

    scale_bits: int = 24
    clip: bool = False
    """Clip elements beyond their magnitude instead of refusing them."""

    columns: tuple[str, ...] = ()
    """The columns that the training functions may read; policies judge each."""

    def __post_init__(self) -> None:
        names = [a.name for a in self.arrays]
        refuse(not names or len(set(names)) != len(names), "arrays", "arrays have unique names")
        refuse(len(set(self.columns)) != len(self.columns), "columns", "columns are named once")
        between("rounds", self.rounds, 1, 100_000)
        between("weight_at_most", self.weight_at_most, 1, 1 << 40)
        between("scale_bits", self.scale_bits, 4, 60)


def names_of(features: tuple[Feature, ...]) -> list[str]:
    """Columns of the features."""
    return [f if isinstance(f, str) else f.column for f in features]
