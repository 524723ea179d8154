"""The key owner, who is the only reader.

`Reader` both encrypts and reads; there is no separate decryptor to hand a key to. What it reads leaves as `GridValues`:
multiples of a declared grid at least 64 times coarser than the largest error. Raw results of decryption, whose low bits
are equations in the key (Li, Micciancio, eprint 2020/1533), are never returned; the key opens one round and is
destroyed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from mpc.errors import KeyAccessError, ParameterError, ProtocolError
from mpc.keys.secret import SecretKey
from mpc.params.ckks import CkksParameters
from mpc.schemes.bfv.native import Scratch
from mpc.schemes.ckks.native import native_context
from mpc.schemes.ckks.noise import ChainPlan
from mpc.schemes.ckks.wire import Kind, pack, unpack

__all__ = ["GridValues", "Reader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridValues:
    """Real values on a declared grid."""

    steps: NDArray[np.int64] = field(repr=False)
    """The values in multiples of the grid."""

    grid_bits: int

    @property
    def values(self) -> NDArray[np.float64]:
        """The values."""
        return np.ldexp(self.steps.astype(np.float64), -self.grid_bits)


class Reader:
    """A key made for one round by the one who reads it.

    The secret and the key's error come from SEAL's generator, seeded by the operating system.
    """

    def __init__(self, parameters: CkksParameters) -> None:
        self._parameters = parameters
        context = native_context(parameters)
        generator, public = seal.KeyGenerator(context.context), seal.PublicKey()
        generator.create_public_key(public)
        residues = context.residues(public, primes=len(parameters.key_moduli))
        self.public_key = pack(parameters, Kind.PUBLIC_KEY, residues)
        with Scratch() as scratch:
            generator.secret_key().save(scratch.path)
            self._key = SecretKey(parameters.id, scratch.read())

    def __reduce__(self) -> NoReturn:
        raise KeyAccessError("what holds a secret key is not pickled")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.destroy()

    def destroy(self) -> None:
        """Overwrite the key; a second call does nothing."""
        self._key.destroy()

    def encrypt_constants(self, values: Sequence[float], scale_bits: int) -> list[bytes]:
        """Seeded ciphertexts that hold one value in all slots each.

        Reveals: the number of values.
        """
        context, parameters = native_context(self._parameters), self._parameters
        encryptor = seal.Encryptor(context.context, self._native(self._key.material()))
        out = []
        for value in values:
            c0, seed = context.seeded_residues(encryptor.encrypt_symmetric(context.encode(float(value), scale_bits)))
            out.append(pack(parameters, Kind.QUERY, c0, seed))
        return out

    def read(
        self, ciphertexts: Sequence[bytes], plan: ChainPlan, *, scale_bits: int, grid_bits: int, largest: float
    ) -> GridValues:
        """Open the one round of this key, on the grid, `(len(ciphertexts), slots)`; the key is destroyed.

        Args:
            ciphertexts: Replies.
            plan: Of the inner products.
            scale_bits: Of the replies.
            grid_bits: The declared grid, no finer than the plan allows.
            largest: Bound on the magnitude of a value.

        Raises:
            WireError: Bytes break the format.
            ProtocolError: A value exceeds its bound.
            ParameterError: The grid is too fine.
            KeyAccessError: The key was used before.
        """
        if grid_bits > plan.finest_grid_bits:
            raise ParameterError("the grid is finer than 64 times the largest error")
        context = native_context(self._parameters)
        with self._key as key:
            decryptor = seal.Decryptor(context.context, self._native(key.open_once()))
            rows = [unpack(self._parameters, Kind.REPLY, data)[0] for data in ciphertexts]
            steps = np.empty((len(rows), self._parameters.slots), dtype=np.int64)
            plain = seal.Plaintext()
            for target, residues in zip(steps, rows, strict=True):
                decryptor.decrypt(context.load_reply(residues, scale_bits), plain)
                values = context.decode(plain)
                if not float(np.abs(values).max()) <= 2 * largest:
                    raise ProtocolError("a value beyond its bound: the evaluator left the protocol")
                target[:] = np.rint(np.ldexp(values, grid_bits))
        return GridValues(steps=steps, grid_bits=grid_bits)

    def _native(self, material: bytes) -> Any:
        secret = seal.SecretKey()
        with Scratch() as scratch:
            scratch.write(material)
            secret.load(native_context(self._parameters).context, scratch.path)
        return secret
