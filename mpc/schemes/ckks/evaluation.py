"""The evaluator's side of `ckks`: plaintexts kept ready, inner products, and their covering. No secret is needed.

The arithmetic is SEAL's; the flooding is ours, for SEAL has none: integers uniform in [-2^B, 2^B) as residues, added to
c0 of a product that a fresh encryption of zero has already re-randomised.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from mpc.entropy import Entropy, Keystream
from mpc.errors import ParameterError
from mpc.params.ckks import CkksParameters
from mpc.schemes.ckks.native import NativeContext, native_context
from mpc.schemes.ckks.noise import ChainPlan
from mpc.schemes.ckks.wire import Kind, Residues, pack, unpack
from mpc.schemes.rlwe.products import Protection

__all__ = ["RealCover", "RealMatrix", "flooding", "read_queries"]

_PIECE_BITS: Final = 39


class RealMatrix:
    """Rows of real plaintexts in SEAL's evaluation form.

    Takes `8 N primes` bytes a plaintext. An all-zero plaintext is kept as the smallest that is not, since SEAL refuses
    products with zero, and refusing would tell.
    """

    def __init__(self, parameters: CkksParameters, item_scale_bits: int) -> None:
        self._context = native_context(parameters)
        self._scale_bits = item_scale_bits
        self._rows: list[list[Any]] = []

    def append(self, columns: NDArray[np.float64]) -> None:
        """Add a row: one plaintext per term, `(terms, slots)`."""
        self._rows.append([self._encode(column) for column in columns])

    def _encode(self, column: NDArray[np.float64]) -> Any:
        plain = self._context.encode(column, self._scale_bits)
        if plain.is_zero():
            plain = self._context.encode(2.0**-self._scale_bits, self._scale_bits)
        return plain

    def __len__(self) -> int:
        return len(self._rows)

    def multiply(self, row: int, query: Sequence[Any]) -> Any:
        """The inner product of a row with a query's ciphertexts: not yet fit to leave."""
        plains = self._rows[row]
        if len(plains) != len(query):
            raise ParameterError("a query has one ciphertext per term")
        evaluator, total, term = self._context.evaluator, seal.Ciphertext(), seal.Ciphertext()
        evaluator.multiply_plain(query[0], plains[0], total)
        for ciphertext, plain in zip(query[1:], plains[1:], strict=True):
            evaluator.multiply_plain(ciphertext, plain, term)
            evaluator.add_inplace(total, term)
        return total


def read_queries(parameters: CkksParameters, ciphertexts: Sequence[bytes], scale_bits: int) -> list[Any]:
    """Validate a query's ciphertexts and rebuild them for SEAL.

    Raises:
        WireError: Bytes break the format.
    """
    context = native_context(parameters)
    return [context.load_query(*unpack(parameters, Kind.QUERY, data), scale_bits) for data in ciphertexts]


class RealCover:
    """Covers inner products for one key owner.

    Reveals: to the key owner, approximate scores, and by at most 2^-(flooding bits + 1) a coefficient in statistical
    distance nothing else; to everyone else, nothing.

    Raises:
        WireError: The key breaks the format.
    """

    def __init__(
        self,
        plan: ChainPlan,
        public_key: bytes,
        *,
        entropy: Entropy,
        insecure_omit: frozenset[Protection] = frozenset(),
    ) -> None:
        residues, _ = unpack(plan.parameters, Kind.PUBLIC_KEY, public_key)
        self._context = native_context(plan.parameters)
        self._encryptor = seal.Encryptor(self._context.context, self._context.load_public_key(residues))
        self._plan, self._entropy = plan, entropy
        self._omit = insecure_omit

    def reply(self, product: Any) -> bytes:
        """Re-randomise, flood, and pack one inner product."""
        context, parameters = self._context, self._plan.parameters
        if Protection.RERANDOMISATION not in self._omit:
            zero = seal.Ciphertext()
            self._encryptor.encrypt_zero(context.data_id, zero)
            residues = context.residues(zero) + context.residues(product)
        else:
            residues = context.residues(product).copy()
        if Protection.FLOODING not in self._omit:
            noise = flooding(context, self._plan.width, Keystream(self._entropy.token(32)))
            residues[0] += noise
        moduli = np.array(parameters.lattice.moduli, dtype=np.uint64)[:, np.newaxis]
        return pack(parameters, Kind.REPLY, residues % moduli)


def flooding(context: NativeContext, width: int, stream: Keystream) -> Residues:
    """Integers uniform in [-2^width, 2^width) as a polynomial in evaluation form, `(primes, N)`.

    They are cut in pieces of 39 bits, whose transforms are put together again modulo each prime.
    """
    lattice = context.parameters.lattice
    bits, total = width + 1, np.zeros((len(lattice.moduli), lattice.degree), dtype=np.uint64)
    pieces = [min(_PIECE_BITS, bits - done) for done in range(0, bits, _PIECE_BITS)]
    for number, size in reversed(list(enumerate(pieces))):
        words = stream.words(number * lattice.degree, lattice.degree) >> np.uint64(64 - size)
        part = words.astype(np.int64)
        if number == len(pieces) - 1:
            part -= 1 << (size - 1)  # the topmost piece carries the sign: the whole range moves down by 2^width
        residues = context.transform(part)
        for i, prime in enumerate(lattice.moduli):
            shifted = _times(total[i], (1 << _PIECE_BITS) % prime, prime)
            total[i] = (shifted + residues[i]) % np.uint64(prime)
    return total


def _times(values: NDArray[np.uint64], factor: int, prime: int) -> NDArray[np.uint64]:
    """`factor values` modulo a prime below 2^50, canonical.

    The quotient is found in doubles and is off by at most one; the remainder is computed modulo 2^64.
    """
    quotient = np.floor(values.astype(np.float64) * (factor / prime)).astype(np.uint64)
    rest = (values * np.uint64(factor) - quotient * np.uint64(prime)).view(np.int64)
    rest = np.where(rest < 0, rest + prime, rest)
    return np.where(rest >= prime, rest - prime, rest).astype(np.uint64)
