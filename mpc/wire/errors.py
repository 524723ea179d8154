"""The error catalogue: every leaf of `mpc.errors` to a gRPC status and a public sentence, and back.

A notice carries the leaf's code and its fields, which are names by contract; the local detail never leaves. What a
peer tells is shown to people, so it is printable text of bounded length, and numbers where numbers are expected.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mpc import errors
from mpc.errors import InternalError, MpcError, WireError
from mpc.wire.messages import ErrorField, ErrorNotice

__all__ = ["CATALOGUE", "STATUS", "from_notice", "leaves", "to_notice"]

_MAX_FIELDS: Final = 8
_MAX_FIELD_CHARACTERS: Final = 400
_NUMBERS: Final = frozenset({"offset", "round"})
_NUMBER: Final = re.compile(r"[0-9]{1,12}\Z")

FIELD_NAMES: Final = frozenset(
    {
        "bits", "capacity", "catalogue", "code", "column", "columns", "contribution", "incident", "instead", "job",
        "limit", "line", "member", "method", "offset", "party", "reason", "round", "rule", "seconds", "segment",
        "signer", "state", "statistic", "step", "table", "set",
    }
)  # fmt: skip
"""The only field names that cross the wire."""

_STATUS_BY_NAME: Final[Mapping[str, str]] = MappingProxyType(
    {
        "MpcError": "UNKNOWN",
        "ConfigurationError": "FAILED_PRECONDITION",
        "ParameterError": "INVALID_ARGUMENT",
        "KeyAccessError": "FAILED_PRECONDITION",
        "RangeError": "OUT_OF_RANGE",
        "PlanError": "INVALID_ARGUMENT",
        "SourceError": "FAILED_PRECONDITION",
        "PolicyDenied": "PERMISSION_DENIED",
        "BudgetExhausted": "PERMISSION_DENIED",
        "WireError": "INVALID_ARGUMENT",
        "ProtocolError": "FAILED_PRECONDITION",
        "IntegrityError": "DATA_LOSS",
        "ReplayError": "ALREADY_EXISTS",
        "TransportError": "UNAVAILABLE",
        "AuthenticationError": "UNAUTHENTICATED",
        "AuthorizationError": "PERMISSION_DENIED",
        "PartyUnavailable": "UNAVAILABLE",
        "PartyLost": "ABORTED",
        "DeadlineExceeded": "DEADLINE_EXCEEDED",
        "ResourceExhausted": "RESOURCE_EXHAUSTED",
        "JobCancelled": "CANCELLED",
        "InternalError": "INTERNAL",
    }
)


def leaves(root: type[MpcError] = MpcError) -> tuple[type[MpcError], ...]:
    """Every class of the tree, the root first."""
    found = [root]
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            found.extend(leaves(child))
    return tuple(found)


CATALOGUE: Final[Mapping[str, type[MpcError]]] = MappingProxyType({leaf.code: leaf for leaf in leaves()})
"""Code -> leaf."""

STATUS: Final[Mapping[type[MpcError], str]] = MappingProxyType(
    {leaf: _STATUS_BY_NAME[leaf.__name__] for leaf in leaves()}
)
"""Leaf -> name of a gRPC status code."""


def to_notice(error: BaseException) -> ErrorNotice:
    """What may be said of an error to a peer; anything that is not ours becomes `InternalError` without a word."""
    if not isinstance(error, MpcError):
        return ErrorNotice(code=InternalError.code)
    allowed = [(name, _printable(value)) for name, value in error.fields.items() if name in FIELD_NAMES]
    known = [(n, v) for n, v in allowed if n not in _NUMBERS or _NUMBER.match(v)]
    return ErrorNotice(
        code=error.code, fields=tuple(ErrorField(name=name, value=value) for name, value in known[:_MAX_FIELDS])
    )


def _printable(value: str | int) -> str:
    """A field's text without control characters, which could move a terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in str(value)[:_MAX_FIELD_CHARACTERS])


def from_notice(notice: ErrorNotice, **extra: str) -> MpcError:
    """The error a peer told of.

    Args:
        notice: What it said.
        **extra: What the caller knows of the peer; it wins over what the peer says of itself.

    Raises:
        WireError: The code is not in the catalogue, or the fields break their limits.
    """
    leaf = CATALOGUE.get(notice.code)
    if leaf is None or len(notice.fields) > _MAX_FIELDS:
        raise WireError("an unknown error code")
    fields: dict[str, str | int] = {}
    for field in notice.fields:
        if field.name not in FIELD_NAMES or field.name in fields:
            raise WireError("an error's field is unknown or given twice")
        if len(field.value) > _MAX_FIELD_CHARACTERS or not field.value.isprintable():
            raise WireError("an error's field breaks its limits")
        number = field.name in _NUMBERS
        if number and not _NUMBER.match(field.value):
            raise WireError("an error's field is not a number")
        fields[field.name] = int(field.value) if number else field.value
    return leaf("", **{**fields, **extra})
