"""The key owner's side of `bfv`.

A secret key is its ternary polynomial, two bits a coefficient: small enough to seal to every member of a group, each
of whom rebuilds SEAL's form locally.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from mpc.entropy import Entropy
from mpc.errors import KeyAccessError
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params.base import ParameterSet
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Slots
from mpc.schemes.bfv.native import NativeEncryptor, Scratch, native_context
from mpc.schemes.bfv.public import BfvEncryptor
from mpc.schemes.bfv.wire import lattice, pack, unpack
from mpc.schemes.header import Kind

__all__ = ["BfvDecryptor", "decryptor", "generate", "symmetric_encryptor"]

_CODES_PER_BYTE: Final = 4
_MINUS_ONE: Final = 2
_INVALID: Final = 3


class BfvDecryptor:
    """Decrypts with SEAL: round(t (c0 + c1 s) / q) modulo t.

    Source: Fan, Vercauteren, eprint 2012/144, section 3; computed as in Bajard, Eynard, Hasan, Zucca, eprint 2016/510.

    Reveals: to its holder, the plaintexts. Nothing else of a decryption may leave (no noise budget, no success bit):
    the scheme does not withstand chosen ciphertexts.
    """

    def __init__(self, parameters: ParameterSet, decryptor: Any) -> None:
        self._parameters = parameters
        self._decryptor = decryptor

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        return self._parameters

    def decrypt(self, ciphertexts: Sequence[bytes]) -> Slots:
        """Validate and decrypt, shape `(len(ciphertexts), N)`.

        Raises:
            WireError: Bytes break the format.
        """
        context = native_context(self._parameters)
        out = np.zeros((len(ciphertexts), self._parameters.slots), dtype=np.uint64)
        ciphertext, plaintext = seal.Ciphertext(), seal.Plaintext()
        with Scratch() as scratch:
            for target, data in zip(out, ciphertexts, strict=True):
                residues = unpack(data, self._parameters, Kind.CIPHERTEXT)
                context.load_ciphertext(ciphertext, residues, scratch)
                self._decryptor.decrypt(ciphertext, plaintext)
                coefficients = context.plaintext_coefficients(plaintext, scratch)
                target[: coefficients.size] = coefficients
        return out


def generate(parameters: ParameterSet, entropy: Entropy) -> tuple[PublicKey, SecretKey]:
    """A key pair: a uniform ternary secret from `entropy`, a public key by SEAL.

    The public key's uniform polynomial and error come from SEAL's generator, seeded by the operating system.
    """
    codes = _uniform_ternary(lattice(parameters).degree, entropy)
    material = _pack_codes(codes)
    context = native_context(parameters)
    public = seal.PublicKey()
    seal.KeyGenerator(context.context, _native_secret(parameters, material)).create_public_key(public)
    with Scratch() as scratch:
        data = pack(context.ciphertext_residues(public, scratch), parameters, Kind.PUBLIC_KEY)
    return PublicKey(parameters.id, data), SecretKey(parameters.id, material)


def symmetric_encryptor(secret: SecretKey) -> BfvEncryptor:
    """An encryptor with the secret key: less noise and less work than with the public one.

    Raises:
        KeyAccessError: The key was destroyed, or its bytes are not a secret of its set.
    """
    parameters = parameter_set(secret.parameter_set)
    context = native_context(parameters)
    native = seal.Encryptor(context.context, _native_secret(parameters, secret.material()))
    return BfvEncryptor(parameters, NativeEncryptor(context, native, symmetric=True))


def decryptor(secret: SecretKey) -> BfvDecryptor:
    """Consume the key's one opening.

    Raises:
        KeyAccessError: The key was opened before or destroyed, or its bytes are not a secret of its set.
    """
    parameters = parameter_set(secret.parameter_set)
    native = _native_secret(parameters, secret.open_once())
    return BfvDecryptor(parameters, seal.Decryptor(native_context(parameters).context, native))


def _uniform_ternary(count: int, entropy: Entropy) -> NDArray[np.uint8]:
    """`count` codes, uniform in {0, 1, 2}, by rejecting the fourth value of two bits."""
    kept = np.empty(0, dtype=np.uint8)
    while kept.size < count:
        drawn = _unpack_codes(entropy.token(count // 2))
        kept = np.concatenate((kept, drawn[drawn != _INVALID]))
    return kept[:count]


def _pack_codes(codes: NDArray[np.uint8]) -> bytes:
    quarters = codes.reshape(-1, _CODES_PER_BYTE)
    packed = quarters[:, 0] | (quarters[:, 1] << 2) | (quarters[:, 2] << 4) | (quarters[:, 3] << 6)
    return packed.tobytes()


def _unpack_codes(packed: bytes) -> NDArray[np.uint8]:
    octets = np.frombuffer(packed, dtype=np.uint8)
    codes = octets[:, np.newaxis] >> np.array([0, 2, 4, 6], dtype=np.uint8) & np.uint8(3)
    return codes.reshape(-1).astype(np.uint8, copy=False)


def _native_secret(parameters: ParameterSet, material: bytes) -> Any:
    """SEAL's form of a packed secret: the polynomial transformed modulo every prime.

    SEAL itself lifts and transforms: it takes the polynomial as a plaintext, where t - 1 stands for -1.
    """
    degree = lattice(parameters).degree
    codes = _unpack_codes(material)
    if codes.size != degree or bool((codes == _INVALID).any()):
        raise KeyAccessError("the key's bytes are not a packed ternary secret of its parameter set")
    # A group's key comes from a peer. Two thirds of a uniform secret are not zero; one that is sparse would hide
    # little. An honest secret fails this with probability below exp(-N / 18) (Hoeffding), 2^-328 for N = 4096.
    if not degree // 2 < np.count_nonzero(codes) < degree * 5 // 6:
        raise KeyAccessError("the key's secret is not a uniform ternary one")
    coefficients = codes.astype(np.uint64)  # before the assignment: bytes would cut t - 1 off in silence
    coefficients[codes == _MINUS_ONE] = parameters.plain_modulus - 1
    context = native_context(parameters)
    plain, secret = seal.Plaintext(), seal.SecretKey()
    with Scratch() as scratch:
        context.load_plaintext(plain, coefficients, scratch)
        seal.Evaluator(context.context).transform_to_ntt_inplace(plain, context.parameters_id)
        plain.save(scratch.path)
        secret.load(context.context, scratch.path)
    return secret
