"""Stock SEAL as TenSEAL's wheel exposes it (`tenseal.sealapi`): BFV, N = 4096, SEAL's default chain, batching.

No tutorial shows it, and its objects go through files; it is what remains of TenSEAL's cost without its vector objects.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.peers.rounds import Values
from mpc.schemes.bfv.native import Scratch

__all__ = ["SealVectors", "StockSeal"]

_DEGREE: Final = 4096
_PLAIN_BITS: Final = 54


class StockSeal:
    """One key pair, and SEAL's operations on whole ciphertexts of N integers."""

    degree = _DEGREE
    plain_bits = _PLAIN_BITS

    def __init__(self) -> None:
        import tenseal.sealapi as seal

        self._seal = seal
        chosen = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        chosen.set_poly_modulus_degree(_DEGREE)
        chosen.set_coeff_modulus(seal.CoeffModulus.BFVDefault(_DEGREE, seal.SEC_LEVEL_TYPE.TC128))
        chosen.set_plain_modulus(seal.PlainModulus.Batching(_DEGREE, _PLAIN_BITS))
        self._context = seal.SEALContext(chosen, True, seal.SEC_LEVEL_TYPE.TC128)  # noqa: FBT003 - a native signature
        generator, key = self.keys()
        self._encryptor = seal.Encryptor(self._context, key, generator.secret_key())
        self._decryptor = seal.Decryptor(self._context, generator.secret_key())
        self._encoder, self._evaluator = seal.BatchEncoder(self._context), seal.Evaluator(self._context)

    def keys(self) -> tuple[Any, Any]:
        """A generator and its public key."""
        generator, key = self._seal.KeyGenerator(self._context), self._seal.PublicKey()
        generator.create_public_key(key)
        return generator, key

    def encrypt(self, values: list[int]) -> Any:
        """Encode and encrypt to the public key."""
        made = self._seal.Ciphertext()
        self._encryptor.encrypt(self._encoded(values), made)
        return made

    def encrypt_symmetric(self, values: list[int]) -> Any:
        """Encode and encrypt with the secret key."""
        made = self._seal.Ciphertext()
        self._encryptor.encrypt_symmetric(self._encoded(values), made)
        return made

    def encrypt_seeded(self, values: list[int]) -> Any:
        """The same in the form whose second half is a seed, which can be saved and nothing else."""
        return self._encryptor.encrypt_symmetric(self._encoded(values))

    def _encoded(self, values: list[int]) -> Any:
        plain = self._seal.Plaintext()
        self._encoder.encode(values, plain)
        return plain

    def add(self, running: Any, more: Any) -> Any:
        """Add in place."""
        self._evaluator.add_inplace(running, more)
        return running

    def decrypt(self, ciphertext: Any) -> list[int]:
        """Decrypt and decode."""
        plain = self._seal.Plaintext()
        self._decryptor.decrypt(ciphertext, plain)
        return list(self._encoder.decode_int64(plain))

    def save(self, ciphertext: Any, scratch: Scratch) -> bytes:
        """SEAL's bytes, by way of a file: there is no other way."""
        scratch.write(b"")
        ciphertext.save(scratch.path)
        return scratch.read()

    def load(self, data: bytes, scratch: Scratch) -> Any:
        """And back."""
        made = self._seal.Ciphertext()
        scratch.write(data)
        made.load(self._context, scratch.path)
        return made


class SealVectors:
    """`Encryptor.encrypt` in chunks of N integers, saved and loaded as SEAL does."""

    security_bits = 128
    threads = 1
    notes = "N = 4096, default chain, t of 54 bits"

    def __init__(self) -> None:
        self._native = StockSeal()

    def contribute(self, values: Values) -> list[bytes]:
        """Encode, encrypt and save chunk by chunk."""
        with Scratch() as scratch:
            return [
                self._native.save(self._native.encrypt(values[start : start + _DEGREE].tolist()), scratch)
                for start in range(0, len(values), _DEGREE)
            ]

    def add(self, contributions: Sequence[list[bytes]]) -> list[bytes]:
        """Load, add in place, save."""
        out = []
        with Scratch() as scratch:
            for first, *others in zip(*contributions, strict=True):
                total = self._native.load(first, scratch)
                for part in others:
                    self._native.add(total, self._native.load(part, scratch))
                out.append(self._native.save(total, scratch))
        return out

    def open(self, summed: list[bytes], length: int) -> NDArray[Any]:
        """Load, decrypt, decode."""
        with Scratch() as scratch:
            parts = [self._native.decrypt(self._native.load(part, scratch)) for part in summed]
        return np.concatenate([np.array(part) for part in parts])[:length]

    def right(self, opened: NDArray[Any], total: Values) -> bool:
        """BFV is exact."""
        return bool(np.array_equal(opened, total))
