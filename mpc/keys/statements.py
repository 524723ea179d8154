"""Signed statements: a typed value, its exact bytes, and an Ed25519 signature over label and bytes (RFC 8032).

A statement is a frozen `msgspec.Struct`. It travels as the bytes that were signed and is decoded strictly: unknown
fields, wrong types, trailing bytes and any encoding other than the canonical one are refused.
"""

import hashlib
from typing import Any, ClassVar, TypeVar

import msgspec

from mpc.errors import WireError

__all__ = ["Signed", "Statement", "decode_statement", "encode_statement", "statement_digest"]

T = TypeVar("T", bound="Statement")

_MAX_STATEMENT_BYTES = 8 << 20


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything that is signed. Each subclass sets `label`, the domain of its signature."""

    label: ClassVar[str] = ""


class Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A statement's bytes with the signature of one member."""

    payload: bytes
    signer: str
    signature: bytes


def encode_statement(statement: Statement) -> bytes:
    """The canonical bytes of a statement: MessagePack, fields in the order of their declaration."""
    return msgspec.msgpack.encode(statement, order="deterministic")


def decode_statement(payload: bytes, kind: type[T]) -> T:
    """Decode strictly.

    Raises:
        WireError: The bytes are not the canonical encoding of a `kind`.
    """
    if len(payload) > _MAX_STATEMENT_BYTES:
        raise WireError("a statement is too long")
    try:
        value: T = msgspec.msgpack.decode(payload, type=kind, strict=True)
        again = encode_statement(value)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError, TypeError, RecursionError) as error:
        raise WireError(f"not a {kind.__name__}: {type(error).__name__}") from None
    if again != payload:
        raise WireError(f"a {kind.__name__} is not in canonical form")
    return value


def statement_digest(label: str, *parts: bytes) -> bytes:
    """SHA-256 over length-prefixed parts under a label: injective, so no two lists of parts share a digest."""
    hasher = hashlib.sha256()
    for part in (label.encode(), *parts):
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def canonical_digest(label: str, value: Any) -> bytes:
    """Digest of any msgspec-encodable value in canonical form (JSON: its integers have no limit)."""
    return statement_digest(label, msgspec.json.encode(value, order="deterministic"))
