"""Wire format of `ckks`: header, then polynomials as residues of seven bytes each, in evaluation form.

    public key           both polynomials modulo every prime of keys, the special one included
    query ciphertext     c0 modulo every data prime, then the 64 bytes from which SEAL draws c1
    reply ciphertext     both polynomials modulo every data prime

Lengths are fixed by the set. Everything is checked here, in numpy; SEAL is given bytes that `native` writes from the
checked arrays, never a peer's.
"""

from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mpc.errors import WireError
from mpc.params.ckks import CkksParameters

__all__ = ["SEED_BYTES", "Kind", "Residues", "object_bytes", "pack", "unpack"]

Residues: TypeAlias = NDArray[np.uint64]
"""Shape `(parts, primes, N)`: residues below their primes."""

SEED_BYTES: Final = 64

_MAGIC: Final = b"SRCK"
_VERSION: Final = 1
_HEADER_BYTES: Final = 8
_WIDTH: Final = 7


class Kind(IntEnum):
    """What the bytes after the header are."""

    PUBLIC_KEY = 1
    QUERY = 2
    REPLY = 3


def _shape(parameters: CkksParameters, kind: Kind) -> tuple[int, tuple[int, ...]]:
    """Number of polynomials, and the primes."""
    if kind is Kind.PUBLIC_KEY:
        return 2, parameters.key_moduli
    return (1 if kind is Kind.QUERY else 2), parameters.lattice.moduli


def object_bytes(parameters: CkksParameters, kind: Kind) -> int:
    """The one length of a kind."""
    parts, moduli = _shape(parameters, kind)
    seed = SEED_BYTES if kind is Kind.QUERY else 0
    return _HEADER_BYTES + parts * len(moduli) * parameters.lattice.degree * _WIDTH + seed


def _header(parameters: CkksParameters, kind: Kind) -> bytes:
    return _MAGIC + bytes([_VERSION, kind]) + parameters.wire_id.to_bytes(2, "little")


def pack(parameters: CkksParameters, kind: Kind, residues: Residues, seed: bytes = b"") -> bytes:
    """The bytes of an object of ours."""
    octets = np.ascontiguousarray(residues, dtype="<u8").view(np.uint8).reshape(-1, 8)[:, :_WIDTH]
    return _header(parameters, kind) + octets.tobytes() + seed


def unpack(parameters: CkksParameters, kind: Kind, data: bytes) -> tuple[Residues, bytes]:
    """Residues `(parts, primes, N)` and, for queries, the seed.

    Raises:
        WireError: Header or length is wrong, a residue is not below its prime, or a polynomial vanishes modulo a prime:
            with a zero in the place of a uniform polynomial nothing would be hidden.
    """
    parts, moduli = _shape(parameters, kind)
    if len(data) != object_bytes(parameters, kind) or data[:_HEADER_BYTES] != _header(parameters, kind):
        raise WireError(f"not a {kind.name.lower()} object of {parameters.id}")
    count = parts * len(moduli) * parameters.lattice.degree
    octets = np.zeros((count, 8), dtype=np.uint8)
    octets[:, :_WIDTH] = np.frombuffer(data, dtype=np.uint8, offset=_HEADER_BYTES, count=count * _WIDTH).reshape(
        -1, _WIDTH
    )
    residues = octets.view("<u8").reshape(parts, len(moduli), parameters.lattice.degree).astype(np.uint64, copy=False)
    largest = residues.max(axis=2)
    if bool((largest >= np.array(moduli, dtype=np.uint64)).any()):
        raise WireError("a residue is not below its modulus")
    if bool((largest == 0).any()):
        raise WireError("a polynomial is zero: nothing would be hidden")
    return residues, data[_HEADER_BYTES + count * _WIDTH :]
