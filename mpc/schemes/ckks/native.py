"""SEAL's CKKS through the raw bindings in TenSEAL's wheel (`tenseal.sealapi`), with numpy in and out.

The layouts are those of `mpc.schemes.bfv.native`; a seeded ciphertext is the array of c0 alone, followed by SEAL's
generator block {header (16), type (1), seed (64)} (native/src/seal/ciphertext.cpp, randomgen.h, version 4).
"""

import math
import struct
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import tenseal.sealapi as seal
from numpy.typing import NDArray

from mpc.errors import InternalError
from mpc.params.ckks import CkksParameters
from mpc.schemes.bfv.native import Scratch
from mpc.schemes.ckks.wire import SEED_BYTES, Residues

__all__ = ["NativeContext", "native_context"]

_HEADER: Final = struct.Struct("<HBBBBHQ")
_CIPHERTEXT: Final = struct.Struct("<32sBQQQdQ")
_PLAINTEXT: Final = struct.Struct("<32sQd")
_COUNT: Final = struct.Struct("<Q")
_MAGIC: Final = 0xA15E
_UNCOMPRESSED: Final = 0
_ZSTANDARD: Final = 2
_BLAKE: Final = b"\x01"
_PIECE_BITS: Final = 40


class NativeContext:
    """SEAL's context of one parameter set, and the conversions between its objects and arrays."""

    def __init__(self, parameters: CkksParameters) -> None:
        lattice = parameters.lattice
        self.parameters = parameters
        self.context = self._context(parameters, seal.SCHEME_TYPE.CKKS)
        self.data_id: list[int] = self.context.first_parms_id()
        self._key_id: list[int] = self.context.key_parms_id()
        self.encoder = seal.CKKSEncoder(self.context)
        self.evaluator = seal.Evaluator(self.context)
        # A BFV context over the same primes: SEAL offers the bare transform there alone.
        self._transforms = self._context(parameters, seal.SCHEME_TYPE.BFV)
        self._degree, self._primes = lattice.degree, len(lattice.moduli)
        self._version = self._library_version()

    @staticmethod
    def _context(parameters: CkksParameters, scheme: Any) -> Any:
        chosen = seal.EncryptionParameters(scheme)
        chosen.set_poly_modulus_degree(parameters.lattice.degree)
        chosen.set_coeff_modulus([seal.Modulus(prime) for prime in parameters.key_moduli])
        if scheme == seal.SCHEME_TYPE.BFV:
            chosen.set_plain_modulus(1 << (_PIECE_BITS + 1))
        context = seal.SEALContext(chosen, True, seal.SEC_LEVEL_TYPE.TC128)  # noqa: FBT003 - a native signature
        if not context.parameters_set():
            raise InternalError(f"SEAL does not take {parameters.id}: {context.parameters_error_message()}")
        return context

    def encode(self, values: NDArray[np.float64] | float, scale_bits: int) -> Any:
        """A plaintext of up to N / 2 real numbers, or of one in every slot."""
        plain = seal.Plaintext()
        content = values if isinstance(values, float) else values.tolist()
        self.encoder.encode(content, self.data_id, 2.0**scale_bits, plain)
        return plain

    def decode(self, plaintext: Any) -> NDArray[np.float64]:
        """The real parts of all slots."""
        return np.array(self.encoder.decode_double(plaintext), dtype=np.float64)

    def load_public_key(self, residues: Residues) -> Any:
        """SEAL's form of validated key residues `(2, key primes, N)`."""
        key = seal.PublicKey()
        with Scratch() as scratch:
            scratch.write(self._ciphertext_bytes(residues, self._key_id, scale=1.0))
            key.load(self.context, scratch.path)
        return key

    def load_query(self, c0: Residues, seed: bytes, scale_bits: int) -> Any:
        """A ciphertext of validated residues `(1, primes, N)` whose c1 SEAL draws from a seed."""
        ciphertext = seal.Ciphertext()
        size = _HEADER.size + len(_BLAKE) + SEED_BYTES
        generator = self._head(size) + _BLAKE + seed
        with Scratch() as scratch:
            scratch.write(self._ciphertext_bytes(c0, self.data_id, scale=2.0**scale_bits, tail=generator))
            ciphertext.load(self.context, scratch.path)
        return ciphertext

    def load_reply(self, residues: Residues, scale_bits: int) -> Any:
        """A ciphertext of validated residues `(2, primes, N)`."""
        ciphertext = seal.Ciphertext()
        with Scratch() as scratch:
            scratch.write(self._ciphertext_bytes(residues, self.data_id, scale=2.0**scale_bits))
            ciphertext.load(self.context, scratch.path)
        return ciphertext

    def residues(self, native: Any, *, primes: int | None = None) -> Residues:
        """The residues of a ciphertext or public key, `(2, primes, N)`."""
        shape = (2, primes or self._primes, self._degree)
        raw = self._saved(native, _CIPHERTEXT.size + _HEADER.size + _COUNT.size + 8 * math.prod(shape))
        words: Residues = np.frombuffer(
            raw, dtype="<u8", count=math.prod(shape), offset=len(raw) - 8 * math.prod(shape)
        )
        return words.reshape(shape)

    def seeded_residues(self, native: Any) -> tuple[Residues, bytes]:
        """c0, `(1, primes, N)`, and the seed of a fresh symmetric ciphertext."""
        count = self._primes * self._degree
        tail = _HEADER.size + len(_BLAKE) + SEED_BYTES
        start = _CIPHERTEXT.size + _HEADER.size + _COUNT.size
        raw = self._saved(native, start + 8 * count + tail)
        if raw[-SEED_BYTES - 1 : -SEED_BYTES] != _BLAKE:
            raise InternalError("SEAL drew from another generator")
        c0: Residues = np.frombuffer(raw, dtype="<u8", count=count, offset=start)
        return c0.reshape(1, self._primes, self._degree), raw[-SEED_BYTES:]

    def transform(self, coefficients: NDArray[np.int64]) -> Residues:
        """Residues in evaluation form, `(primes, N)`, of integers of magnitude below 2^40."""
        if coefficients.shape != (self._degree,) or int(np.abs(coefficients).max()) >= 1 << _PIECE_BITS:
            raise InternalError("a polynomial of small integers was expected")
        plain = seal.Plaintext()
        words = (coefficients % (1 << (_PIECE_BITS + 1))).astype("<u8")
        with Scratch() as scratch:
            scratch.write(self._framed(_PLAINTEXT.pack(bytes(32), self._degree, 1.0), words))
            plain.load(self._transforms, scratch.path)
        seal.Evaluator(self._transforms).transform_to_ntt_inplace(plain, self._transforms.first_parms_id())
        count = self._primes * self._degree
        raw = self._saved(plain, _PLAINTEXT.size + _HEADER.size + _COUNT.size + 8 * count)
        out: Residues = np.frombuffer(raw, dtype="<u8", count=count, offset=len(raw) - 8 * count)
        return out.reshape(self._primes, self._degree)

    def _library_version(self) -> tuple[int, int]:
        with Scratch() as scratch:
            seal.Plaintext("1").save(scratch.path)
            _, _, major, minor, *_ = _HEADER.unpack_from(scratch.read())
        return major, minor

    def _head(self, size: int) -> bytes:
        return _HEADER.pack(_MAGIC, _HEADER.size, *self._version, _UNCOMPRESSED, 0, size)

    def _framed(self, body: bytes, words: NDArray[np.uint64], tail: bytes = b"") -> bytes:
        array = _HEADER.size + _COUNT.size + words.nbytes
        outer = self._head(_HEADER.size + len(body) + array + len(tail))
        return b"".join((outer, body, self._head(array), _COUNT.pack(words.size), words.tobytes(), tail))

    def _ciphertext_bytes(
        self, residues: Residues, parameters_id: list[int], *, scale: float, tail: bytes = b""
    ) -> bytes:
        _, primes, degree = residues.shape
        identity = struct.pack("<4Q", *parameters_id)
        body = _CIPHERTEXT.pack(identity, True, 2, degree, primes, scale, 1)  # noqa: FBT003 - in evaluation form
        return self._framed(body, np.ascontiguousarray(residues, dtype="<u8"), tail)

    @staticmethod
    def _saved(native: Any, size: int) -> bytes:
        """What SEAL saves of an object, decompressed to the size that is known beforehand."""
        with Scratch() as scratch:
            native.save(scratch.path)
            data = scratch.read()
        magic, _, _, _, compression, _, found = _HEADER.unpack_from(data)
        if magic != _MAGIC or compression != _ZSTANDARD or found != len(data):
            raise InternalError("SEAL wrote an unknown layout")
        raw: bytes = pa.decompress(memoryview(data)[_HEADER.size :], decompressed_size=size, codec="zstd", asbytes=True)
        return raw


@cache
def native_context(parameters: CkksParameters) -> NativeContext:
    """The one context of a parameter set in this process."""
    return NativeContext(parameters)
