"""The two messages of a scoring, in bytes of one length per plan, parsed without trust.

    4  magic "SRSC"
    1  version
    1  kind: 1 query, 2 reply
    2  zero
    4  number of queries, little-endian
   16  name of the query, drawn by the querier; the reply repeats it
   32  digest of the spec

A query goes on with the querier's public key and, for each query, one ciphertext per term. A reply goes on, for each
query, with one covered product per row of the matrix. Their forms are the scheme's.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from mpc.errors import ParameterError, WireError

__all__ = [
    "MOST_QUERIES",
    "NAME_BYTES",
    "MessageShape",
    "Query",
    "Reply",
    "decode_query",
    "decode_reply",
    "encode_query",
    "encode_reply",
]

MOST_QUERIES: Final = 256
NAME_BYTES: Final = 16

_LAYOUT: Final = struct.Struct("<4sBBHI16s32s")
_MAGIC: Final = b"SRSC"
_VERSION: Final = 1
_QUERY, _REPLY = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a querier sends. Reveals: the number of queries and the public spec."""

    name: bytes
    public_key: bytes = field(repr=False)
    ciphertexts: tuple[tuple[bytes, ...], ...] = field(repr=False)
    """For each query one ciphertext per term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a holder sends. Reveals: to the querier, the scores; to others, nothing."""

    name: bytes
    products: tuple[tuple[bytes, ...], ...] = field(repr=False)
    """For each query one covered product per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageShape:
    """What a plan says of its messages."""

    digest: bytes
    """Of the spec."""

    public_key_bytes: int
    ciphertext_bytes: int
    terms: int
    """Ciphertexts of a query."""

    rows: int
    """Covered products of a reply to one query."""

    product_bytes: int
    last_product_bytes: int
    """The last row may be shorter."""

    def query_bytes(self, queries: int) -> int:
        """Size of a query message."""
        return _LAYOUT.size + self.public_key_bytes + queries * self.terms * self.ciphertext_bytes

    def reply_bytes(self, queries: int) -> int:
        """Size of a reply message."""
        return _LAYOUT.size + queries * ((self.rows - 1) * self.product_bytes + self.last_product_bytes)


def encode_query(shape: MessageShape, query: Query) -> bytes:
    """The bytes of a query of ours."""
    head = _header(shape, _QUERY, query.name, len(query.ciphertexts))
    return b"".join((head, query.public_key, *(one for row in query.ciphertexts for one in row)))


def encode_reply(shape: MessageShape, reply: Reply) -> bytes:
    """The bytes of a reply of ours."""
    head = _header(shape, _REPLY, reply.name, len(reply.products))
    return b"".join((head, *(one for row in reply.products for one in row)))


def decode_query(shape: MessageShape, data: bytes) -> Query:
    """Cut a query message into its parts; their content is checked where they are used.

    Raises:
        WireError: Header, spec, number of queries or length is wrong.
    """
    name, queries = _parse(shape, _QUERY, data)
    if len(data) != shape.query_bytes(queries):
        raise WireError("a query message has another length")
    start, size = _LAYOUT.size + shape.public_key_bytes, shape.ciphertext_bytes
    pieces = [data[i : i + size] for i in range(start, len(data), size)]
    rows = tuple(tuple(pieces[i : i + shape.terms]) for i in range(0, len(pieces), shape.terms))
    return Query(name=name, public_key=data[_LAYOUT.size : start], ciphertexts=rows)


def decode_reply(shape: MessageShape, data: bytes) -> Reply:
    """Cut a reply message into its parts; their content is checked where they are used.

    Raises:
        WireError: Header, spec, number of queries or length is wrong.
    """
    name, queries = _parse(shape, _REPLY, data)
    if len(data) != shape.reply_bytes(queries):
        raise WireError("a reply message has another length")
    rows, position = [], _LAYOUT.size
    for _ in range(queries):
        row = []
        for number in range(shape.rows):
            size = shape.product_bytes if number < shape.rows - 1 else shape.last_product_bytes
            row.append(data[position : position + size])
            position += size
        rows.append(tuple(row))
    return Reply(name=name, products=tuple(rows))


def _header(shape: MessageShape, kind: int, name: bytes, queries: int) -> bytes:
    if not 1 <= queries <= MOST_QUERIES or len(name) != NAME_BYTES:
        raise ParameterError(f"a message has a name and 1 to {MOST_QUERIES} queries")
    return _LAYOUT.pack(_MAGIC, _VERSION, kind, 0, queries, name, shape.digest)


def _parse(shape: MessageShape, kind: int, data: bytes) -> tuple[bytes, int]:
    if len(data) < _LAYOUT.size:
        raise WireError("not a message of a scoring: too short")
    magic, version, found, zero, queries, name, digest = _LAYOUT.unpack_from(data)
    if magic != _MAGIC or version != _VERSION or found != kind or zero:
        raise WireError("not a message of a scoring of the expected kind and version")
    if digest != shape.digest:
        raise WireError("a message of another scoring")
    if not 1 <= queries <= MOST_QUERIES:
        raise WireError(f"a message has 1 to {MOST_QUERIES} queries")
    return name, queries
