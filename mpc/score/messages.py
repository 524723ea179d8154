"""The two messages of a scoring, in bytes of one length per plan, parsed without trust.

    4  magic "SRSC"
    1  version
    1  kind: 1 query, 2 reply
    2  zero
    4  number of queries, little-endian
   16  name of the query, drawn by the querier; the reply repeats it
   32  digest of the spec

A query goes on with the querier's public key and, for each query, one seeded ciphertext per term (the forms of
`mpc.schemes.rlwe.wire`). A reply goes on, for each query, with one covered product per row of the matrix (the form of
`mpc.schemes.rlwe.products_reply`).
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from mpc.errors import ParameterError, WireError
from mpc.schemes.rlwe.products_reply import reply_bytes
from mpc.schemes.rlwe.wire import Kind, wire_format
from mpc.score.spec import ScorePlan

__all__ = [
    "MOST_QUERIES",
    "NAME_BYTES",
    "Query",
    "Reply",
    "decode_query",
    "decode_reply",
    "encode_query",
    "encode_reply",
    "query_size",
    "reply_size",
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


def query_size(plan: ScorePlan, queries: int) -> int:
    """Bytes of a query message."""
    lengths = wire_format(plan.parameters).lengths
    return _LAYOUT.size + lengths[Kind.PUBLIC_KEY] + queries * plan.terms * lengths[Kind.SEEDED]


def reply_size(plan: ScorePlan, queries: int) -> int:
    """Bytes of a reply message."""
    first, last = (reply_bytes(plan.product, plan.position(row)) for row in (0, plan.matrix_rows - 1))
    return _LAYOUT.size + queries * ((plan.matrix_rows - 1) * first + last)


def encode_query(plan: ScorePlan, query: Query) -> bytes:
    """The bytes of a query of ours."""
    head = _header(plan, _QUERY, query.name, len(query.ciphertexts))
    return b"".join((head, query.public_key, *(one for row in query.ciphertexts for one in row)))


def encode_reply(plan: ScorePlan, reply: Reply) -> bytes:
    """The bytes of a reply of ours."""
    head = _header(plan, _REPLY, reply.name, len(reply.products))
    return b"".join((head, *(one for row in reply.products for one in row)))


def decode_query(plan: ScorePlan, data: bytes) -> Query:
    """Cut a query message into its parts; their content is checked where they are used.

    Raises:
        WireError: Header, spec, number of queries or length is wrong.
    """
    name, queries = _parse(plan, _QUERY, data)
    if len(data) != query_size(plan, queries):
        raise WireError("a query message has another length")
    lengths = wire_format(plan.parameters).lengths
    start = _LAYOUT.size + lengths[Kind.PUBLIC_KEY]
    size = lengths[Kind.SEEDED]
    pieces = [data[i : i + size] for i in range(start, len(data), size)]
    rows = tuple(tuple(pieces[i : i + plan.terms]) for i in range(0, len(pieces), plan.terms))
    return Query(name=name, public_key=data[_LAYOUT.size : start], ciphertexts=rows)


def decode_reply(plan: ScorePlan, data: bytes) -> Reply:
    """Cut a reply message into its parts; their content is checked where they are used.

    Raises:
        WireError: Header, spec, number of queries or length is wrong.
    """
    name, queries = _parse(plan, _REPLY, data)
    if len(data) != reply_size(plan, queries):
        raise WireError("a reply message has another length")
    sizes = [reply_bytes(plan.product, place) for place in plan.positions()]
    rows, position = [], _LAYOUT.size
    for _ in range(queries):
        row = []
        for size in sizes:
            row.append(data[position : position + size])
            position += size
        rows.append(tuple(row))
    return Reply(name=name, products=tuple(rows))


def _header(plan: ScorePlan, kind: int, name: bytes, queries: int) -> bytes:
    if not 1 <= queries <= MOST_QUERIES or len(name) != NAME_BYTES:
        raise ParameterError(f"a message has a name and 1 to {MOST_QUERIES} queries")
    return _LAYOUT.pack(_MAGIC, _VERSION, kind, 0, queries, name, plan.spec.digest())


def _parse(plan: ScorePlan, kind: int, data: bytes) -> tuple[bytes, int]:
    if len(data) < _LAYOUT.size:
        raise WireError("not a message of a scoring: too short")
    magic, version, found, zero, queries, name, digest = _LAYOUT.unpack_from(data)
    if magic != _MAGIC or version != _VERSION or found != kind or zero:
        raise WireError("not a message of a scoring of the expected kind and version")
    if digest != plan.spec.digest():
        raise WireError("a message of another scoring")
    if not 1 <= queries <= MOST_QUERIES:
        raise WireError(f"a message has 1 to {MOST_QUERIES} queries")
    return name, queries
