"""SEAL, through the raw bindings in TenSEAL's wheel (`tenseal.sealapi`), with numpy in and out.

The bindings exchange objects through paths only and always compress what they write. Objects are passed in through an
anonymous memory file in SEAL's own uncompressed layout, written here from validated arrays; what SEAL writes is
decompressed to the size that is known beforehand. No Python list of coefficients exists on the way.

SEAL's layout (native/src/seal/serialization.h, ciphertext.cpp, plaintext.cpp, version 4): a 16-byte header {magic
0xA15E, header size, major, minor, compression, 2 reserved, total size}, then
ciphertext: parameters id (32), transformed (1), components, N, primes (8 each), scale (8), correction (8), array;
plaintext: parameters id (32), coefficient count (8), scale (8), array; array: header (16), count (8), words.
"""

import math
import os
import struct
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import tenseal.sealapi as seal
from numpy.typing import NDArray

from mpc.errors import InternalError
from mpc.params.base import ParameterSet
from mpc.schemes.base import Slots
from mpc.schemes.bfv.wire import COMPONENTS, Residues, lattice

__all__ = ["NativeContext", "NativeEncryptor", "Scratch", "native_context"]

_HEADER: Final = struct.Struct("<HBBBBHQ")
_CIPHERTEXT: Final = struct.Struct("<32sBQQQdQ")
_PLAINTEXT: Final = struct.Struct("<32sQd")
_COUNT: Final = struct.Struct("<Q")
_MAGIC: Final = 0xA15E
_UNCOMPRESSED: Final = 0
_ZSTANDARD: Final = 2
_ARRAY_OFFSET: Final = _HEADER.size + _COUNT.size


class Scratch:
    """A file without a name in memory, through which the bindings read and write.

    Where the system has no anonymous memory files, a temporary file that only this user may read, overwritten and
    removed on leaving.
    """

    def __enter__(self) -> Self:
        self._linked: Path | None = None
        if hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create("seal")
            self.path = f"/proc/self/fd/{self._descriptor}"
        else:
            self._descriptor, self.path = tempfile.mkstemp(prefix="seal")
            self._linked = Path(self.path)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        os.pwrite(self._descriptor, bytes(os.fstat(self._descriptor).st_size), 0)
        os.close(self._descriptor)
        if self._linked is not None:
            self._linked.unlink()

    def write(self, data: bytes) -> None:
        """Replace the content."""
        os.ftruncate(self._descriptor, len(data))
        os.pwrite(self._descriptor, data, 0)

    def read(self) -> bytes:
        """The content."""
        return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)


class NativeEncryptor:
    """A SEAL encryptor under one key."""

    def __init__(self, context: "NativeContext", encryptor: Any, *, symmetric: bool) -> None:
        self._context = context
        self._encrypt = encryptor.encrypt_symmetric if symmetric else encryptor.encrypt

    def encrypt(self, slots: Slots) -> Iterator[Residues]:
        """Ciphertexts of rows of coefficients below t, one at a time."""
        plaintext, ciphertext = seal.Plaintext(), seal.Ciphertext()
        with Scratch() as scratch:
            for row in slots:
                self._context.load_plaintext(plaintext, row, scratch)
                self._encrypt(plaintext, ciphertext)
                yield self._context.ciphertext_residues(ciphertext, scratch)


class NativeContext:
    """SEAL's context of one parameter set, and the conversions between its objects and arrays."""

    def __init__(self, parameters: ParameterSet) -> None:
        ring = lattice(parameters)
        self._primes = len(ring.moduli)
        self._degree = ring.degree
        chosen = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        chosen.set_poly_modulus_degree(ring.degree)
        chosen.set_coeff_modulus([seal.Modulus(prime) for prime in ring.moduli])
        chosen.set_plain_modulus(parameters.plain_modulus)
        self.context = seal.SEALContext(chosen, True, seal.SEC_LEVEL_TYPE.TC128)  # noqa: FBT003 - a native signature
        if not self.context.parameters_set() or self.context.using_keyswitching():
            raise InternalError(f"SEAL does not take {parameters.id}: {self.context.parameters_error_message()}")
        self.parameters_id: list[int] = self.context.first_parms_id()
        self._id_bytes = struct.pack("<4Q", *self.parameters_id)
        self._version = self._library_version()

    def public_encryptor(self, residues: Residues) -> NativeEncryptor:
        """An encryptor under validated public-key residues."""
        key = seal.PublicKey()
        with Scratch() as scratch:
            scratch.write(self._ciphertext_bytes(residues, transformed=True))
            key.load(self.context, scratch.path)
        return NativeEncryptor(self, seal.Encryptor(self.context, key), symmetric=False)

    def load_plaintext(self, plaintext: Any, row: NDArray[np.uint64], scratch: Scratch) -> None:
        """Set a SEAL plaintext to N coefficients below t."""
        body = _PLAINTEXT.pack(bytes(32), self._degree, 1.0)
        scratch.write(self._framed(body, row))
        plaintext.load(self.context, scratch.path)

    def load_ciphertext(self, ciphertext: Any, residues: Residues, scratch: Scratch) -> None:
        """Set a SEAL ciphertext to validated residues."""
        scratch.write(self._ciphertext_bytes(residues, transformed=False))
        ciphertext.load(self.context, scratch.path)

    def ciphertext_residues(self, native: Any, scratch: Scratch) -> Residues:
        """The residues of a SEAL ciphertext or public key, shape `(2, primes, N)`."""
        shape = (COMPONENTS, self._primes, self._degree)
        return self._saved_words(native, scratch, _CIPHERTEXT.size, count=math.prod(shape)).reshape(shape)

    def plaintext_coefficients(self, native: Any, scratch: Scratch) -> NDArray[np.uint64]:
        """The leading coefficients of a SEAL plaintext; SEAL drops zeros at the top."""
        return self._saved_words(native, scratch, _PLAINTEXT.size, count=native.coeff_count())

    def _library_version(self) -> tuple[int, int]:
        with Scratch() as scratch:
            seal.Plaintext("1").save(scratch.path)
            _, _, major, minor, *_ = _HEADER.unpack_from(scratch.read())
        return major, minor

    def _framed(self, body: bytes, words: NDArray[np.uint64]) -> bytes:
        inner = _HEADER.pack(_MAGIC, _HEADER.size, *self._version, _UNCOMPRESSED, 0, _ARRAY_OFFSET + words.nbytes)
        total = _HEADER.size + len(body) + _ARRAY_OFFSET + words.nbytes
        outer = _HEADER.pack(_MAGIC, _HEADER.size, *self._version, _UNCOMPRESSED, 0, total)
        return b"".join((outer, body, inner, _COUNT.pack(words.size), words.astype("<u8", copy=False).tobytes()))

    def _ciphertext_bytes(self, residues: Residues, *, transformed: bool) -> bytes:
        body = _CIPHERTEXT.pack(self._id_bytes, transformed, COMPONENTS, self._degree, self._primes, 1.0, 1)
        return self._framed(body, residues)

    @staticmethod
    def _saved_words(native: Any, scratch: Scratch, body_bytes: int, *, count: int) -> NDArray[np.uint64]:
        native.save(scratch.path)
        data = scratch.read()
        magic, _, _, _, compression, _, size = _HEADER.unpack_from(data)
        if magic != _MAGIC or compression != _ZSTANDARD or size != len(data):
            raise InternalError("SEAL wrote an unknown layout")
        size = body_bytes + _ARRAY_OFFSET + 8 * count
        raw = pa.decompress(memoryview(data)[_HEADER.size :], decompressed_size=size, codec="zstd", asbytes=True)
        words: NDArray[np.uint64] = np.frombuffer(raw, dtype="<u8", count=count, offset=body_bytes + _ARRAY_OFFSET)
        return words


@cache
def native_context(parameters: ParameterSet) -> NativeContext:
    """The one context of a parameter set in this process."""
    return NativeContext(parameters)
