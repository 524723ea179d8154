"""Training specs: what a modeller says, as JSON or TOML, checked and completed from the room's dictionary."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from mpc.errors import PlanError
from mpc.keys.dictionary import Column, ColumnKind, Table
from mpc.learn.recommender_specs import Als, Ease, GradientFactorization, ImplicitAls, Recommender
from mpc.learn.regression_specs import (
    Category,
    Feature,
    FederatedAverage,
    KMeans,
    LinearRegression,
    LogisticRegression,
    Numeric,
    Pca,
    PoissonRegression,
)

__all__ = ["Spec", "columns_of", "complete", "kind_of", "spec_from_mapping", "to_mapping"]

Spec: TypeAlias = (
    Ease
    | Als
    | ImplicitAls
    | GradientFactorization
    | LinearRegression
    | LogisticRegression
    | PoissonRegression
    | KMeans
    | Pca
    | FederatedAverage
)


def spec_from_mapping(mapping: Mapping[str, Any]) -> Spec:
    """Read a spec from what JSON or TOML gave.

    Raises:
        PlanError: Unknown kind or field, wrong type, impossible value.

    >>> spec_from_mapping({"kind": "ease", "table": "ratings", "user": "u", "item": "i"}).minimum_users
    5
    """
    try:
        spec: Spec = msgspec.convert(dict(mapping), type=Spec, strict=True)
    except msgspec.ValidationError as error:
        raise PlanError("", reason=str(error)[:200]) from None
    return spec


def to_mapping(spec: Spec) -> dict[str, Any]:
    """The spec as plain values, defaults left out; `spec_from_mapping` reads it back."""
    mapping: dict[str, Any] = msgspec.to_builtins(spec)
    return mapping


def kind_of(spec: Spec) -> str:
    """The name of the model, for example `ease`."""
    return str(spec.__struct_config__.tag)


def columns_of(spec: Spec) -> tuple[str, ...]:
    """Every column of the table that the program reads, sorted."""
    if isinstance(spec, FederatedAverage):
        return tuple(sorted(spec.columns))
    names: set[str] = set(spec.holdout.columns) if spec.holdout else set()
    if isinstance(spec, Recommender):
        names |= {spec.user, spec.item} | ({spec.rating} if spec.rating else set())
    else:
        names |= {f if isinstance(f, str) else f.column for f in spec.features}
        if not isinstance(spec, KMeans | Pca):
            names.add(spec.target)
    return tuple(sorted(names))


def complete(spec: Spec, table: Table) -> Spec:
    """Fill in from the dictionary what the spec leaves open: catalogues, levels, ranges, kinds of features.

    The result depends on the spec and the dictionary only, so every party completes it alike.

    Raises:
        PlanError: A column is missing, or users are not local to one party.
    """
    # One form for one meaning: 1 and 1.0 in a float field, a list and a tuple, must not sign as two plans.
    spec = spec_from_mapping(to_mapping(spec))
    for name in columns_of(spec):
        _column(table, name)
    if isinstance(spec, FederatedAverage):
        return spec
    if isinstance(spec, Recommender):
        return _complete_recommender(spec, table)
    changes: dict[str, Any] = {"features": tuple(_feature(f, table) for f in spec.features)}
    changes["rows_at_most"] = min(spec.rows_at_most, table.rows_at_most)
    if isinstance(spec, LinearRegression):
        target = _column(table, spec.target)
        if target.minimum is not None and target.maximum is not None:
            changes |= {"target_minimum": float(target.minimum), "target_maximum": float(target.maximum)}
    if isinstance(spec, PoissonRegression) and (most := _column(table, spec.target).maximum) is not None:
        changes["target_maximum"] = float(min(max(1, most), 10**12))
    completed: Spec = msgspec.structs.replace(spec, **changes)
    return completed


def _complete_recommender(spec: Ease | Als | ImplicitAls | GradientFactorization, table: Table) -> Spec:
    if spec.user.lower() not in {k.lower() for k in table.local_keys}:
        raise PlanError(
            "",
            column=spec.user,
            reason="a recommender needs users whose rows are all at one party",
            instead="declare the user column in local_keys",
        )
    # A party has at most as many users as rows.
    changes: dict[str, Any] = {"users_at_most": min(spec.users_at_most, table.rows_at_most)}
    item = _column(table, spec.item)
    if spec.items is None and item.domain is not None:
        changes["items"] = item.domain
    elif spec.items is None and not item.discoverable:
        raise PlanError("", column=spec.item, reason="its values are neither declared nor discoverable")
    elif spec.items is None:
        changes["capacity"] = item.capacity
    if isinstance(spec, Als | GradientFactorization) and spec.rating_range is None and spec.rating is not None:
        rating = _column(table, spec.rating)
        if rating.minimum is None or rating.maximum is None:
            raise PlanError(
                "", column=spec.rating, reason="ratings need a declared range", instead="rating_range = [..]"
            )
        changes["rating_range"] = (float(rating.minimum), float(rating.maximum))
    completed: Spec = msgspec.structs.replace(spec, **changes)
    return completed


def _column(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise PlanError("", column=name, reason=f"table {table.name} has no such column")
    return column


def _feature(feature: Feature, table: Table) -> Feature:
    column = _column(table, feature if isinstance(feature, str) else feature.column)
    kind = column.parsed.kind
    if isinstance(feature, str):
        if kind in {ColumnKind.VARCHAR, ColumnKind.BOOLEAN} or column.domain is not None:
            feature = Category(column.name)
        elif kind in {ColumnKind.DATE, ColumnKind.TIMESTAMP}:
            raise PlanError("", column=column.name, reason="a date is not a feature", instead="a number of days")
        else:
            feature = Numeric(column.name)
    if isinstance(feature, Category) and feature.levels is None:
        if column.domain is not None:
            return msgspec.structs.replace(feature, levels=_levels(column.domain))
        if kind is ColumnKind.BOOLEAN:
            return msgspec.structs.replace(feature, levels=(0, 1))
        if not column.discoverable:
            raise PlanError("", column=column.name, reason="its levels are neither declared nor discoverable")
        return msgspec.structs.replace(feature, capacity=column.capacity)
    if isinstance(feature, Numeric) and column.minimum is not None and column.maximum is not None:
        low, high = max(feature.minimum, column.minimum), min(feature.maximum, column.maximum)
        default = (feature.minimum, feature.maximum) == (-1e6, 1e6)
        ends = (float(column.minimum), float(column.maximum)) if default else (float(low), float(high))
        return msgspec.structs.replace(feature, minimum=ends[0], maximum=ends[1])
    return feature


def _levels(domain: tuple[str | int | bool, ...]) -> tuple[str | int, ...]:
    if all(isinstance(v, str) for v in domain):
        return tuple(str(v) for v in domain)
    return tuple(int(v) for v in domain)
