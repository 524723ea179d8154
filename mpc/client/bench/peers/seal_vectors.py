"""Stock SEAL as TenSEAL's wheel exposes it (`tenseal.sealapi`): BFV, N = 4096, SEAL's default chain, batching.

No tutorial shows it, and its objects go through files; it is what remains of TenSEAL's cost without its vector objects.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.peers.rounds import Values
from mpc.schemes.bfv.native import Scratch

__all__ = ["SealVectors"]

_DEGREE: Final = 4096
_PLAIN_BITS: Final = 54


class SealVectors:
    """`Encryptor.encrypt` in chunks of N integers, saved and loaded as SEAL does."""

    security_bits = 128
    threads = 1
    notes = "N = 4096, default chain, t of 54 bits"

    def __init__(self) -> None:
        import tenseal.sealapi as seal

        self._seal = seal
        chosen = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        chosen.set_poly_modulus_degree(_DEGREE)
        chosen.set_coeff_modulus(seal.CoeffModulus.BFVDefault(_DEGREE, seal.SEC_LEVEL_TYPE.TC128))
        chosen.set_plain_modulus(seal.PlainModulus.Batching(_DEGREE, _PLAIN_BITS))
        self._context = seal.SEALContext(chosen, True, seal.SEC_LEVEL_TYPE.TC128)  # noqa: FBT003 - a native signature
        generator, key = seal.KeyGenerator(self._context), seal.PublicKey()
        generator.create_public_key(key)
        self._encryptor = seal.Encryptor(self._context, key)
        self._decryptor = seal.Decryptor(self._context, generator.secret_key())
        self._encoder, self._evaluator = seal.BatchEncoder(self._context), seal.Evaluator(self._context)

    def contribute(self, values: Values) -> list[bytes]:
        """Encode, encrypt and save chunk by chunk."""
        out, plaintext, ciphertext = [], self._seal.Plaintext(), self._seal.Ciphertext()
        with Scratch() as scratch:
            for start in range(0, len(values), _DEGREE):
                self._encoder.encode(values[start : start + _DEGREE].tolist(), plaintext)
                self._encryptor.encrypt(plaintext, ciphertext)
                out.append(self._saved(ciphertext, scratch))
        return out

    def add(self, contributions: Sequence[list[bytes]]) -> list[bytes]:
        """Load, add in place, save."""
        out, total, more = [], self._seal.Ciphertext(), self._seal.Ciphertext()
        with Scratch() as scratch:
            for first, *others in zip(*contributions, strict=True):
                self._load(total, first, scratch)
                for part in others:
                    self._load(more, part, scratch)
                    self._evaluator.add_inplace(total, more)
                out.append(self._saved(total, scratch))
        return out

    def open(self, summed: list[bytes], length: int) -> NDArray[Any]:
        """Load, decrypt, decode."""
        out, plaintext, ciphertext = [], self._seal.Plaintext(), self._seal.Ciphertext()
        with Scratch() as scratch:
            for part in summed:
                self._load(ciphertext, part, scratch)
                self._decryptor.decrypt(ciphertext, plaintext)
                out.append(np.array(self._encoder.decode_int64(plaintext)))
        return np.concatenate(out)[:length]

    def right(self, opened: NDArray[Any], total: Values) -> bool:
        """BFV is exact."""
        return bool(np.array_equal(opened, total))

    def _saved(self, ciphertext: Any, scratch: Scratch) -> bytes:
        scratch.write(b"")
        ciphertext.save(scratch.path)
        return scratch.read()

    def _load(self, ciphertext: Any, data: bytes, scratch: Scratch) -> None:
        scratch.write(data)
        ciphertext.load(self._context, scratch.path)
