"""The outcomes of a protocol step: a role is a pure function of (state, message) to one of these."""

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Done", "Send"]

S = TypeVar("S")
M = TypeVar("M")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Send(Generic[S, M]):
    """The role goes on: its new state, and the messages that leave it."""

    state: S
    messages: tuple[M, ...]


@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    """The role has ended with a result."""

    result: R
