"""The key owner's side of `paillier`: key pairs with Damgard, Jurik and Nielsen's conditions, and arithmetic by parts.

The owner computes modulo p^2 and q^2 and joins the parts (Chinese remainders). Exponents that are secret go through
GMP's constant-time power (`powmod_sec`); the rest of GMP's arithmetic promises nothing about time. `phe` provides the
key object with its precomputed inverses.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

import gmpy2
import numpy as np
from gmpy2 import mpz
from phe.paillier import PaillierPrivateKey, PaillierPublicKey

from mpc.entropy import Entropy, SystemEntropy
from mpc.errors import IntegrityError, KeyAccessError
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params.base import ParameterSet
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Slots
from mpc.schemes.paillier.public import PaillierEncryptor, uniform_unit
from mpc.schemes.paillier.wire import MODULUS_BITS, Modulus, pack_key, unpack_ciphertexts, unpack_slots

__all__ = ["PaillierDecryptor", "decryptor", "generate", "private_key", "symmetric_encryptor"]

_PRIME_BITS: Final = MODULUS_BITS // 2
_PRIME_BYTES: Final = _PRIME_BITS // 8
_PRIMALITY_ROUNDS: Final = 40
_LEAST_DISTANCE: Final = 1 << (_PRIME_BITS - 100)


class _Parts:
    """The private key as GMP numbers, and the joining of remainders modulo p^2 and q^2."""

    def __init__(self, key: PaillierPrivateKey) -> None:
        self.modulus = Modulus.of(mpz(key.public_key.n))
        self.p, self.q = mpz(key.p), mpz(key.q)
        self.p_squared, self.q_squared = mpz(key.psquare), mpz(key.qsquare)
        self.p_factor, self.q_factor = mpz(key.hp), mpz(key.hq)
        self.p_inverse = mpz(key.p_inverse)
        self._square_inverse = gmpy2.invert(self.p_squared, self.q_squared)

    def open(self, ciphertext: mpz) -> mpz:
        """The plaintext modulo n (Paillier '99, section 7: decryption by parts)."""
        above_p = _secret_power(ciphertext % self.p_squared, self.p - 1, self.p_squared)
        above_q = _secret_power(ciphertext % self.q_squared, self.q - 1, self.q_squared)
        at_p = (above_p - 1) // self.p * self.p_factor % self.p
        at_q = (above_q - 1) // self.q * self.q_factor % self.q
        return at_p + self.p * ((at_q - at_p) * self.p_inverse % self.q)

    def zero(self, entropy: Entropy) -> mpz:
        """A uniform n-th power modulo n^2: r^p modulo p^2 and s^q modulo q^2 for uniform r and s."""
        at_p = _secret_power(uniform_unit(self.p, entropy), self.p, self.p_squared)
        at_q = _secret_power(uniform_unit(self.q, entropy), self.q, self.q_squared)
        return at_p + self.p_squared * ((at_q - at_p) * self._square_inverse % self.q_squared)

    def __reduce__(self) -> NoReturn:
        raise KeyAccessError("a secret is not pickled")


class OwnerZeros:
    """Encryptions of zero by the key's owner: exactly the distribution of r^n, at a quarter of its cost."""

    def __init__(self, parts: _Parts, entropy: Entropy) -> None:
        self._parts = parts
        self._entropy = entropy

    def draw(self, count: int) -> Iterable[mpz]:
        """`count` fresh encryptions of zero."""
        return (self._parts.zero(self._entropy) for _ in range(count))


class PaillierDecryptor:
    """Opens ciphertexts by parts.

    Reveals: to its holder, the slots' sums.
    """

    def __init__(self, parameters: ParameterSet, parts: _Parts) -> None:
        self._parameters = parameters
        self._parts = parts

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        return self._parameters

    def decrypt(self, ciphertexts: Sequence[bytes]) -> Slots:
        """Validate all, then decrypt, shape `(len(ciphertexts), slots)`.

        Raises:
            WireError: Bytes break the format.
            IntegrityError: A plaintext does not fit into the slots: no sum of ours has such a plaintext.
        """
        values = unpack_ciphertexts(ciphertexts, self._parameters, self._parts.modulus)
        out = np.empty((len(values), self._parameters.slots), dtype=np.uint64)
        for target, value in zip(out, values, strict=True):
            row = unpack_slots(self._parts.open(value), self._parameters.slots)
            if row is None:
                raise IntegrityError("a plaintext does not fit into its slots")
            target[:] = row
        return out


def generate(parameters: ParameterSet, entropy: Entropy) -> tuple[PublicKey, SecretKey]:
    """A key pair: n = p q of exactly 3072 bits.

    p and q are 3 modulo 4 with gcd(p - 1, q - 1) = 2, so that the squares modulo n are a cyclic group (Damgard, Jurik,
    Nielsen); each has 1536 bits, the upper two set, and they differ in the upper 100 bits (FIPS 186-5, appendix A.1).
    Primes of equal length make gcd(n, (p - 1)(q - 1)) = 1.
    """
    p = _prime(entropy)
    while True:
        q = _prime(entropy)
        if abs(p - q) > _LEAST_DISTANCE and gmpy2.gcd(p - 1, q - 1) == 2:
            break
    material = b"".join(int(prime).to_bytes(_PRIME_BYTES, "little") for prime in (p, q))
    return PublicKey(parameters.id, pack_key(p * q, parameters)), SecretKey(parameters.id, material)


def private_key(material: bytes) -> PaillierPrivateKey:
    """The `phe` key of a secret key's bytes: p and q, 192 little-endian bytes each.

    Raises:
        KeyAccessError: The bytes are not two primes of our length.
    """
    p, q = (int.from_bytes(half, "little") for half in (material[:_PRIME_BYTES], material[_PRIME_BYTES:]))
    if len(material) != 2 * _PRIME_BYTES or p == q or not (gmpy2.is_prime(p) and gmpy2.is_prime(q)):
        raise KeyAccessError("the key's bytes are not two primes")
    return PaillierPrivateKey(PaillierPublicKey(p * q), p, q)


def symmetric_encryptor(secret: SecretKey) -> PaillierEncryptor:
    """An encryptor for a holder of the secret key: exact randomness by Chinese remainders.

    Raises:
        KeyAccessError: The key was destroyed, or its bytes are not a key.
    """
    parts = _Parts(private_key(secret.material()))
    zeros = OwnerZeros(parts, SystemEntropy())
    return PaillierEncryptor(parameter_set(secret.parameter_set), parts.modulus, zeros)


def decryptor(secret: SecretKey) -> PaillierDecryptor:
    """Consume the key's one opening.

    Raises:
        KeyAccessError: The key was opened before or destroyed, or its bytes are not a key.
    """
    return PaillierDecryptor(parameter_set(secret.parameter_set), _Parts(private_key(secret.open_once())))


def _secret_power(base: mpz, exponent: mpz, modulus: mpz) -> mpz:
    """A power with a secret exponent, in constant time for its length; other threads run meanwhile."""
    with gmpy2.context(allow_release_gil=True):
        return gmpy2.powmod_sec(base, exponent, modulus)


def _prime(entropy: Entropy) -> mpz:
    """A uniform prime of 1536 bits among those with the upper two bits set that are 3 modulo 4."""
    fixed = mpz(3) << (_PRIME_BITS - 2) | 3
    while True:
        candidate = mpz(int.from_bytes(entropy.token(_PRIME_BYTES), "little")) | fixed
        if gmpy2.is_prime(candidate, _PRIMALITY_ROUNDS):
            return candidate
