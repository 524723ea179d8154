"""Checks of what a modeller asked for."""

import math

from mpc.errors import PlanError

__all__ = ["between", "one_type", "refuse"]


def between(name: str, value: float, low: float, high: float) -> None:
    """Refuse a field outside `[low, high]`, or not a number (`PlanError`)."""
    if not (math.isfinite(value) and low <= value <= high):
        raise PlanError("", field=name, reason=f"{name} lies between {low:g} and {high:g}")


def one_type(name: str, values: tuple[str | int, ...]) -> None:
    """Refuse a list of identifiers that is empty, repeats one, or mixes texts and integers (`PlanError`)."""
    refuse(not values, name, "it is empty")
    refuse(len(set(values)) != len(values), name, "it names a value twice")
    refuse(len({type(v) for v in values}) > 1, name, "it mixes texts and integers")


def refuse(wrong: bool, name: str, reason: str) -> None:  # noqa: FBT001 - the condition is what is said
    """Refuse a field for a reason when `wrong` (`PlanError`)."""
    if wrong:
        raise PlanError("", field=name, reason=reason)
