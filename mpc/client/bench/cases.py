"""What a case is: prepared work that can be run again and again, its plaintext twin, and a check of its answer."""

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from mpc.client.bench.records import Wire
from mpc.errors import InternalError
from mpc.params.base import ParameterSet
from mpc.params.security import SecurityLevel

__all__ = [
    "Case",
    "ClockKind",
    "Level",
    "Observed",
    "Resources",
    "Twin",
    "Unavailable",
    "Work",
    "expect",
    "security_bits",
    "security_of",
]

T = TypeVar("T")


class Level(StrEnum):
    """How much is measured."""

    SMOKE = "smoke"
    """Everything once, as small as it can be: for continuous integration."""

    QUICK = "quick"
    """Ten minutes on two cores."""

    FULL = "full"


class ClockKind(StrEnum):
    """Which time counts."""

    CPU = "cpu"
    """Processor time of this process, all threads: for work of one thread. Time-slicing does not touch it."""

    WALL = "wall"
    """Elapsed time: for work of several threads or processes, and for networks."""


class Unavailable(Exception):
    """A case cannot run here, for a stated reason that is nobody's fault (a library is not installed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one run tells beside its time."""

    wire: Wire = field(default_factory=Wire)
    phases: Mapping[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    """Peak memory of other processes of the run, where there are any."""

    figures: Mapping[str, float] = field(default_factory=dict)
    """Other figures of the run, units in their names."""


@dataclass(frozen=True, slots=True)
class Twin:
    """The same work in the clear.

    Args:
        run: Does it once, given what `fresh` made.
        fresh: Makes what one run uses up, outside the measured time; None if runs use nothing up.
    """

    run: Callable[[Any], Any]
    fresh: Callable[[], Any] | None = None


def _nothing(_result: Any) -> Observed:
    return Observed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A prepared case.

    Args:
        run: Does the work once, given what `fresh` made.
        check: Raises unless a result is right; every kept result of a first run passes through it.
        twins: The same work in the clear, by name; the first is the one that plots and tables show.
        values: Numbers that one run protects.
        fresh: Makes what one run uses up (a one-time key), outside the measured time; None if runs use nothing up.
        observe: Reads bytes and phases from a result.
        parameters: The parameter set, where there is one.
        scheme: Name of the scheme where there is no parameter set of ours.
        security: Bits of security where there is no parameter set of ours.
        payload_bits: Bits that one value may carry.
        threads: Threads that compute.
        clock: Which time counts.
        notes: What a reader must know of this case.
    """

    run: Callable[[Any], Any]
    check: Callable[[Any], None]
    twins: Mapping[str, Twin]
    values: int
    fresh: Callable[[], Any] | None = None
    observe: Callable[[Any], Observed] = _nothing
    parameters: ParameterSet | None = None
    scheme: str = ""
    security: int | None = None
    payload_bits: int = 0
    threads: int = 1
    clock: ClockKind = ClockKind.CPU
    notes: str = ""


class Resources(contextlib.AbstractContextManager["Resources"]):
    """What several cases of one group share (a running room, generated tables), made on first use, closed together."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._held: dict[str, Any] = {}
        self._failed: dict[str, Exception] = {}

    def get(self, name: str, make: Callable[[], T]) -> T:
        """A shared value; what could not be made is not tried again."""
        if name in self._failed:
            raise self._failed[name]
        if name not in self._held:
            try:
                self._held[name] = make()
            except Exception as error:
                self._failed[name] = error
                raise
        found: T = self._held[name]
        return found

    def enter(self, name: str, make: Callable[[], AbstractContextManager[T]]) -> T:
        """A shared context, entered on first use and left when the group ends."""
        return self.get(name, lambda: self._stack.enter_context(make()))

    def close(self) -> None:
        """Leave all contexts."""
        self._held.clear()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case that can be prepared.

    Args:
        path: Its name, for example `micro/schemes/bfv-4096-t40/encrypt`.
        group: The leading part of the path that cases with shared resources have in common.
        labels: Its coordinates.
        prepare: Makes the work; raises `Unavailable` where it cannot run.
    """

    path: str
    group: str
    labels: Mapping[str, str | int | float]
    prepare: Callable[[Resources], AbstractContextManager[Work]]

    def selected(self, only: tuple[str, ...]) -> bool:
        """Whether a selection of leading paths includes it; none selects all."""
        return not only or any(f"{self.path}/".startswith(o.rstrip("/") + "/") for o in only)


def expect(condition: object, statement: str) -> None:
    """Refuse a wrong answer: a figure for a wrong answer is not a figure (`InternalError`)."""
    if not condition:
        raise InternalError(statement)


_BITS: Final[Mapping[SecurityLevel, int]] = {SecurityLevel.CLASSICAL_128: 128, SecurityLevel.NONE: 0}


def security_of(level: SecurityLevel) -> int:
    """Bits of a security level."""
    return _BITS[level]


def security_bits(parameters: ParameterSet) -> int:
    """Bits of a parameter set's security level."""
    return security_of(parameters.security)
