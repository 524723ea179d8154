"""The key owner's side of `clear`: there is no secret, but keys are made, used once and destroyed as elsewhere."""

from collections.abc import Sequence

import numpy as np

from mpc.entropy import Entropy
from mpc.errors import WireError
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params.base import ParameterSet
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Slots
from mpc.schemes.clear.public import InsecureClearEncryptor
from mpc.schemes.clear.wire import KEY_NUMBER_BYTES, pack_key, split

__all__ = ["InsecureClearDecryptor", "decryptor", "generate", "symmetric_encryptor"]


class InsecureClearDecryptor:
    """Reads what everybody can read, if it names this key."""

    def __init__(self, parameters: ParameterSet, key_number: bytes) -> None:
        self._parameters = parameters
        self._number = key_number

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        return self._parameters

    def decrypt(self, ciphertexts: Sequence[bytes]) -> Slots:
        """Validate and read, shape `(len(ciphertexts), slots)`.

        Raises:
            WireError: Bytes break the format, or belong to another key.
        """
        out = np.empty((len(ciphertexts), self._parameters.slots), dtype=np.uint64)
        for target, data in zip(out, ciphertexts, strict=True):
            number, target[:] = split(data, self._parameters)
            if number != self._number:
                raise WireError("a ciphertext belongs to another key")
        return out


def generate(parameters: ParameterSet, entropy: Entropy) -> tuple[PublicKey, SecretKey]:
    """A key pair: both halves are the same random number."""
    number = entropy.token(KEY_NUMBER_BYTES)
    return PublicKey(parameters.id, pack_key(number, parameters)), SecretKey(parameters.id, number)


def symmetric_encryptor(secret: SecretKey) -> InsecureClearEncryptor:
    """The encryptor of a key holder; it hides nothing either."""
    return InsecureClearEncryptor(parameter_set(secret.parameter_set), secret.material())


def decryptor(secret: SecretKey) -> InsecureClearDecryptor:
    """Consume the key's one opening.

    Raises:
        KeyAccessError: The key was opened before.
    """
    return InsecureClearDecryptor(parameter_set(secret.parameter_set), secret.open_once())
