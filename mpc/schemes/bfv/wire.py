"""Wire format of `bfv`: header, then two polynomials as residues trimmed to whole bytes.

A key or a ciphertext is two polynomials, each given modulo every prime: `2 x primes x N` residues in this order, each
in as many little-endian bytes as its prime needs. Everything is checked here, in numpy: a peer's bytes never reach a
native loader; SEAL is given bytes that `mpc.schemes.bfv.native` writes from these arrays.
"""

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError, WireError
from mpc.params.base import LatticeParameters, ParameterSet
from mpc.schemes.header import HEADER_BYTES, Kind, check_header, header

__all__ = ["COMPONENTS", "Residues", "lattice", "pack", "unpack"]

COMPONENTS: Final = 2

Residues: TypeAlias = NDArray[np.uint64]
"""Shape `(2, primes, N)`: for each component and prime, N residues below the prime."""


def lattice(parameters: ParameterSet) -> LatticeParameters:
    """The ring and moduli of a set.

    Raises:
        ParameterError: The set has none.
    """
    if parameters.lattice is None:
        raise ParameterError(f"{parameters.id} is not a lattice set")
    return parameters.lattice


def _width(prime: int) -> int:
    return -(-prime.bit_length() // 8)


def pack(residues: Residues, parameters: ParameterSet, kind: Kind) -> bytes:
    """Wire bytes of reduced residues, shape `(2, primes, N)`."""
    ring = lattice(parameters)
    widths = [_width(prime) for prime in ring.moduli]
    out = bytearray(HEADER_BYTES + COMPONENTS * ring.degree * sum(widths))
    out[:HEADER_BYTES] = header(parameters, kind)
    start = HEADER_BYTES
    for component in residues:
        for width, plane in zip(widths, component, strict=True):
            written = 0
            for piece in (4, 2, 1):  # bytes of the widest words that still fit the residue's width
                if width - written >= piece:
                    target: NDArray[np.unsignedinteger[Any]] = np.ndarray(
                        (ring.degree,), dtype=f"<u{piece}", buffer=out, offset=start + written, strides=(width,)
                    )
                    target[:] = plane >> np.uint64(8 * written)
                    written += piece
            start += width * ring.degree
    return bytes(out)


def unpack(data: bytes, parameters: ParameterSet, kind: Kind) -> Residues:
    """Residues of a key or a ciphertext, shape `(2, primes, N)`.

    Raises:
        WireError: Length or header is wrong, a residue is not below its prime, or a component vanishes modulo a
            prime: with a zero second component the first is readable by all.
    """
    ring = lattice(parameters)
    widths = [_width(prime) for prime in ring.moduli]
    check_header(data, parameters, kind, size=HEADER_BYTES + COMPONENTS * ring.degree * sum(widths))
    out = np.empty((COMPONENTS, len(widths), ring.degree), dtype=np.uint64)
    start = HEADER_BYTES
    for component in out:
        for prime, width, plane in zip(ring.moduli, widths, component, strict=True):
            # Words that end where the residue ends: the bytes before it (the header, at first) are shifted out.
            words: NDArray[np.uint64] = np.ndarray(
                (ring.degree,), dtype="<u8", buffer=data, offset=start - (8 - width), strides=(width,)
            )
            np.right_shift(words, np.uint64(8 * (8 - width)), out=plane)
            start += width * ring.degree
            largest = int(plane.max())
            if largest >= prime:
                raise WireError("a residue is not below its modulus")
            if largest == 0:
                raise WireError("a component is zero: nothing would be hidden")
    return out
