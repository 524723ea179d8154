"""The bytes of keys and ciphertexts, version 1.

    4  magic  "RLWE"
    1  version
    1  kind: see `Kind`
    2  number of the parameter set, little-endian
    2  noise: the bound on the noise, ceil(256 log2), little-endian; 0 for keys
    2  zero
    4  index of a seeded ciphertext in its batch, little-endian; 0 otherwise

Then, for keys and seeded ciphertexts, 32 bytes of seed; then packed polynomials in evaluation form, prime by prime: one
for keys and seeded ciphertexts, two (c0, then c1) otherwise. Every kind has one length per parameter set. 50 bits a
coefficient, in the order of `mpc.schemes.rlwe.kernels.packing`.

The other polynomial of a seeded object is drawn from AES-256 in counter mode under the seed: for prime i of index x,
the words from `(x k + i) M` are read in order, and the first N whose lower 50 bits are below the prime are its values;
M is `Format.region_words`. A region with fewer than N such words is an error (an encryptor then takes another seed).

A peer's bytes are only ever sliced, viewed as integers and compared; no library but numpy and our kernels sees them.
"""

import functools
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError, WireError
from mpc.params.base import ParameterSet, SetId
from mpc.params.catalogue import parameter_set
from mpc.schemes.rlwe.noise import bounds, lattice_of

__all__ = [
    "HEADER_BYTES",
    "MAX_INDEX",
    "SEED_BYTES",
    "Ciphertext",
    "Format",
    "Kind",
    "decode_noise",
    "encode",
    "encode_noise",
    "parse",
    "parse_batch",
    "parse_key",
    "wire_format",
]

Words = NDArray[np.uint64]

_LAYOUT: Final = struct.Struct("<4sBBHHHI")
_MAGIC: Final = b"RLWE"
_VERSION: Final = 1

HEADER_BYTES: Final = _LAYOUT.size
SEED_BYTES: Final = 32
_SEEDED_START: Final = HEADER_BYTES + SEED_BYTES
MAX_INDEX: Final = (1 << 31) - 1


class Kind(IntEnum):
    """What the bytes after the header are."""

    PUBLIC_KEY = 1
    PUBLIC = 2
    """A fresh ciphertext made with the public key."""

    SEEDED = 3
    """A fresh ciphertext made with the secret key; c1 is a seed."""

    SUM = 4
    """A sum of fresh ciphertexts."""

    RESULT = 5
    """The outcome of anything else."""


class Ciphertext(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A ciphertext whose header and length have been checked; its residues have not."""

    kind: Kind
    noise: int
    """Bound on the noise."""

    index: int
    seed: bytes
    """32 bytes for `SEEDED`, else empty."""

    packed: Words
    """The packed polynomials, read-only, `(L k,)` or `(2 L k,)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What is fixed by the parameter set."""

    parameters: ParameterSet
    lengths: Mapping[int, int]
    """Kind to the one length in bytes."""

    fresh: Mapping[int, int]
    """Kind of a fresh ciphertext to its noise."""

    limit: int
    """The largest noise that decrypts."""

    uniform_parts: tuple[tuple[int, int], ...]
    """Where the primes' polynomials of c1 begin and end in a whole ciphertext, in words."""

    region_words: int
    """Words of keystream that one polynomial of one prime may use: N, the mean of rejections, and 16 deviations."""


def wire_format(parameters: ParameterSet) -> Format:
    """The format of a set (`ParameterError` if it is not one of this scheme)."""
    return _format(parameters.id)


@functools.cache
def _format(set_id: SetId) -> Format:
    parameters = parameter_set(set_id)
    lattice, limits = lattice_of(parameters), bounds(parameters)
    polynomial = len(lattice.moduli) * lattice.degree * 50 // 8
    part, words = polynomial // 8, lattice.degree * 25 // 32
    half, whole = HEADER_BYTES + SEED_BYTES + polynomial, HEADER_BYTES + 2 * polynomial
    rejected = lattice.degree * (1 - min(lattice.moduli) / (1 << 50))
    return Format(
        parameters=parameters,
        lengths={
            Kind.PUBLIC_KEY: half,
            Kind.SEEDED: half,
            Kind.PUBLIC: whole,
            Kind.SUM: whole,
            Kind.RESULT: whole,
        },
        fresh={Kind.PUBLIC: limits.fresh_public, Kind.SEEDED: limits.fresh_symmetric},
        limit=limits.limit,
        uniform_parts=tuple((part + i * words, part + (i + 1) * words) for i in range(len(lattice.moduli))),
        region_words=lattice.degree + 2 * (int(rejected + 16 * rejected**0.5) // 2 + 32),
    )


@functools.lru_cache(maxsize=4096)
def encode_noise(bound: int) -> int:
    """A bound rounded up to 1/256 bit."""
    if bound < 1:
        raise ParameterError("a noise bound is positive")
    low, high = 0, 256 * (bound.bit_length() + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decode_noise(middle) >= bound else (middle + 1, high)
    return low


def decode_noise(code: int) -> int:
    """The integer bound of a code, rounded down: `floor(2^(code / 256))`, exactly to 40 bits."""
    whole, part = divmod(code, 256)
    return (_FRACTIONS[part] << whole) >> 40


_CIPHERTEXTS: Final = frozenset({int(Kind.PUBLIC), int(Kind.SEEDED), int(Kind.SUM), int(Kind.RESULT)})
_FRACTIONS: Final = tuple(int(2.0 ** (40 + part / 256)) for part in range(256))


def encode(
    parameters: ParameterSet, kind: Kind, packed: Words, *, noise: int = 0, seed: bytes = b"", index: int = 0
) -> bytes:
    """Assemble one object of ours."""
    code = encode_noise(noise) if noise else 0
    header = _LAYOUT.pack(_MAGIC, _VERSION, kind, parameters.wire_id, code, 0, index)
    return b"".join((header, seed, packed.data))


def _fixed_fields(data: object, layout: Format, kinds: Collection[int]) -> tuple[Kind, int]:
    """Check everything of a header but the index: the kind and the stated code of the noise."""
    if not isinstance(data, bytes) or len(data) < HEADER_BYTES:
        raise WireError("not an rlwe object: no bytes, or too few")
    magic, version, kind, set_number, code, zero, _ = _LAYOUT.unpack_from(data)
    if magic != _MAGIC or version != _VERSION or zero or kind not in kinds:
        raise WireError("not an rlwe object of the expected kind and version")
    if set_number != layout.parameters.wire_id:
        raise WireError("an rlwe object of another parameter set")
    return Kind(kind), code


def _ciphertext_fields(data: object, layout: Format) -> tuple[Kind, int]:
    """The same for a ciphertext: its kind and the bound on its noise."""
    kind, code = _fixed_fields(data, layout, _CIPHERTEXTS)
    fresh = layout.fresh.get(kind)
    if (code != encode_noise(fresh)) if fresh else not 0 < code <= encode_noise(layout.limit):
        raise WireError("a ciphertext states a noise that is not its kind's or cannot be decrypted")
    return kind, fresh or min(decode_noise(code), layout.limit)


def _check_length(data: bytes, kind: Kind, layout: Format) -> None:
    if len(data) != layout.lengths[kind]:
        raise WireError(f"a {kind.name.lower()} object of {layout.parameters.id} has another length")


def _body(data: bytes, kind: Kind, noise: int, layout: Format) -> Ciphertext:
    _check_length(data, kind, layout)
    index = int.from_bytes(data[12:16], "little")
    if kind is Kind.SEEDED:
        if index > MAX_INDEX:
            raise WireError("an rlwe object's index is out of range")
        seed, packed = data[HEADER_BYTES:_SEEDED_START], np.frombuffer(data, dtype=np.uint64, offset=_SEEDED_START)
        return Ciphertext(kind=kind, noise=noise, index=index, seed=seed, packed=packed)
    if index:
        raise WireError("an rlwe object's index is out of range")
    packed = np.frombuffer(data, dtype=np.uint64, offset=HEADER_BYTES)
    if kind is not Kind.RESULT:
        for first, last in layout.uniform_parts:
            if not packed[first] and not packed[first:last].any():
                raise WireError("a ciphertext that hides nothing")
    return Ciphertext(kind=kind, noise=noise, index=0, seed=b"", packed=packed)


def parse(data: bytes, layout: Format) -> Ciphertext:
    """Check a ciphertext's header, length and stated noise, and that c1 is not zero (everybody could read it).

    A `RESULT` may have a zero c1: it is what an evaluator holds between a product with zero and its re-randomisation.

    Raises:
        WireError: Anything is not as the format says.
    """
    kind, noise = _ciphertext_fields(data, layout)
    return _body(data, kind, noise, layout)


def parse_batch(data: Sequence[object], parameters: ParameterSet) -> list[Ciphertext]:
    """Check every ciphertext of a batch (`WireError`); headers that repeat are read once."""
    layout = wire_format(parameters)
    known: dict[bytes, tuple[Kind, int]] = {}
    out = []
    for one in data:
        if not isinstance(one, bytes):
            raise WireError("a ciphertext is bytes")
        fields = known.get(one[:12])
        if fields is None:
            fields = _ciphertext_fields(one, layout)
            known[one[:12]] = fields
        out.append(_body(one, *fields, layout))
    return out


def parse_key(data: bytes, parameters: ParameterSet) -> tuple[bytes, Words]:
    """Check a public key's header and length; its seed and its packed polynomial.

    Raises:
        WireError: Anything is not as the format says.
    """
    layout = wire_format(parameters)
    kind, code = _fixed_fields(data, layout, {Kind.PUBLIC_KEY})
    _check_length(data, kind, layout)
    if code or any(data[12:16]):
        raise WireError("a public key has no noise and no index")
    return data[HEADER_BYTES:_SEEDED_START], np.frombuffer(data, dtype=np.uint64, offset=_SEEDED_START)
