"""The private union of identifiers: `mpc.plan.discovery`'s lookup table as a program of its own."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.errors import IntegrityError, RangeError, WireError
from mpc.keys.statements import statement_digest
from mpc.learn.vocabulary import Discovery
from mpc.plan.discovery import LookupTable
from mpc.primitives import Program, Recipient, Sum

__all__ = ["TEXT_BYTES", "union_program"]

TEXT_BYTES: Final = 64
"""Longest UTF-8 text of an identifier."""

_NUMBER, _TEXT = b"\0", b"\1"


def _encode(value: Any, label: str) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        if len(text) > TEXT_BYTES:
            raise RangeError("a text is too long", statistic=label, limit=TEXT_BYTES)
        return _TEXT + len(text).to_bytes(1, "big") + text.ljust(TEXT_BYTES, b"\0")
    return _NUMBER + b"\0" + int(value).to_bytes(8, "big", signed=True).ljust(TEXT_BYTES, b"\0")


def _decode(key: bytes) -> str | int:
    body = key[2:]
    if key[:1] == _TEXT and key[1] <= TEXT_BYTES and not any(body[key[1] :]):
        try:
            return body[: key[1]].decode()
        except UnicodeDecodeError:
            raise WireError("an identifier is not text") from None
    if key[:2] == _NUMBER + b"\0" and not any(body[8:]):
        return int.from_bytes(body[:8], "big", signed=True)
    raise WireError("an identifier is not in canonical form")


def union_program(seed: bytes) -> Discovery:
    """A discovery bound to a job.

    Args:
        seed: The plan digest of the job.

    Reveals: to every party, the union of the values and the number of holders of each.
    """

    def discover(label: str, values: NDArray[Any], *, capacity: int) -> Program[Mapping[str, int] | Mapping[int, int]]:
        bound = statement_digest("sealroom/v1/union", seed, label.encode())
        table = LookupTable(min(capacity, 1 << 20), 2 + TEXT_BYTES, bound, label)
        arrays = table.insert(_encode(v, label) for v in values.tolist())
        bounds = {name: limit for name, (_, limit) in table.segments.items()}
        totals = yield Sum.of(f"union {label}", arrays, bounds, recipient=Recipient.GROUP, context=bound)
        if totals is None:
            raise IntegrityError("the totals of a union were not opened")
        found = table.peel({n: np.asarray(v, dtype=np.int64) for n, v in totals.items()}, 64)
        decoded = {_decode(key): holders for key, holders in found.items()}
        if len({type(v) for v in decoded}) > 1:
            raise RangeError("texts and integers are mixed", statistic=label)
        return decoded  # type: ignore[return-value]  # one type, checked above

    return discover
