"""The only home of decryption keys and mask keys.

No chain of imports from the coordinator reaches this module. Secrets here print nothing, refuse to be pickled, compare
in constant time, and are overwritten when destroyed (best effort: CPython may have copied them).
"""

import hmac
from types import TracebackType
from typing import NoReturn, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpc.errors import IntegrityError, KeyAccessError, ProtocolError, WireError
from mpc.params.base import SetId

__all__ = ["MaskKey", "SealingKey", "SecretKey", "seal"]

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


class _Secret:
    """What every secret does: nothing that could show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<secret>)"

    def __reduce__(self) -> NoReturn:
        raise KeyAccessError("a secret is not pickled")

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise KeyAccessError("a secret is not pickled")

    def __copy__(self) -> NoReturn:
        raise KeyAccessError("a secret is not copied")

    def __deepcopy__(self, _memo: object) -> NoReturn:
        raise KeyAccessError("a secret is not copied")


class SecretKey(_Secret):
    """A decryption key of one parameter set: opaque bytes that its scheme understands, and one opening.

    One opening means all the ciphertexts of one round. `open_once` hands the material out a single time; afterwards
    the key refuses (BFV has no security against chosen ciphertexts: one more decryption can give the key away).
    """

    __slots__ = ("_material", "_openings", "parameter_set")

    def __init__(self, parameter_set: SetId, material: bytes) -> None:
        self.parameter_set = parameter_set
        self._material = bytearray(material)
        self._openings = [True]  # taken by `pop`, which two threads cannot both do

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretKey):
            return NotImplemented
        same = hmac.compare_digest(bytes(self._material), bytes(other._material))
        return same and self.parameter_set == other.parameter_set

    __hash__ = None  # type: ignore[assignment]  # a secret is not a dictionary key

    @property
    def usable(self) -> bool:
        """Whether the one opening is still to come."""
        return bool(self._openings) and bool(self._material)

    def material(self) -> bytes:
        """The bytes, for sealing to a member of a group or for symmetric encryption; not an opening.

        Raises:
            KeyAccessError: The key was destroyed.
        """
        if not self._material:
            raise KeyAccessError("the key was destroyed")
        return bytes(self._material)

    def open_once(self) -> bytes:
        """The bytes for the single opening of this key.

        Raises:
            KeyAccessError: The key was opened before, or destroyed.
        """
        try:
            self._openings.pop()
        except IndexError:
            raise KeyAccessError("one decryption per key: this key was already used") from None
        return self.material()

    def destroy(self) -> None:
        """Overwrite the bytes."""
        for i in range(len(self._material)):
            self._material[i] = 0
        self._material = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.destroy()


def _agree(private: X25519PrivateKey, peer: bytes) -> bytes:
    if len(peer) != 32:
        raise WireError("an X25519 key has 32 bytes")
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError:  # all-zero output: a point of low order (RFC 7748, section 6.1)
        raise ProtocolError("a peer's X25519 key has low order") from None


class MaskKey(_Secret):
    """The X25519 key (RFC 7748) of one job at one party, from which its pairwise masks come."""

    __slots__ = ("_private", "public")

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def pair_key(self, peer: bytes, *, transcript: bytes, info: bytes) -> bytes:
        """HKDF-SHA256 (RFC 5869) of the shared secret, salted with the transcript: 32 bytes, equal at both ends.

        Raises:
            ProtocolError: The peer's key has low order.
        """
        shared = _agree(self._private, peer)
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=transcript, info=info).derive(shared)


class SealingKey(_Secret):
    """The X25519 key of one job at one member, to which secrets and labels are sealed (HPKE base mode, RFC 9180)."""

    __slots__ = ("_private", "public")

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def unseal(self, box: bytes, *, context: bytes) -> bytes:
        """Open a box sealed to this key under the same context.

        Raises:
            IntegrityError: The box was made for another key or context, or was changed.
        """
        try:
            plain: bytes = _SUITE.decrypt(box, self._private, context)
        except (InvalidTag, ValueError):
            raise IntegrityError("a sealed box does not open") from None
        return plain


def seal(public: bytes, plaintext: bytes, *, context: bytes) -> bytes:
    """Seal bytes to a member's sealing key, bound to a context.

    HPKE base mode (RFC 9180) with X25519, HKDF-SHA256 and ChaCha20-Poly1305.

    Reveals: to everyone, the length; to the holder of the key, the bytes.
    """
    if len(public) != 32:
        raise WireError("an X25519 key has 32 bytes")
    try:
        key = X25519PublicKey.from_public_bytes(public)
        box: bytes = _SUITE.encrypt(plaintext, key, context)
    except ValueError:
        raise ProtocolError("a peer's X25519 key has low order") from None
    return box
