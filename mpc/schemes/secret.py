"""The table of schemes for key owners: key pairs, symmetric encryption, decryption.

Each scheme is imported when it is first used. The coordinator never reaches this module.
"""

from mpc.entropy import Entropy
from mpc.errors import ParameterError
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params.base import ParameterSet, SchemeId
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Decryptor, Encryptor

__all__ = ["decryptor", "derive", "generate", "symmetric_encryptor"]


def generate(parameters: ParameterSet, entropy: Entropy) -> tuple[PublicKey, SecretKey]:
    """A key pair for one opening."""
    match parameters.scheme:
        case SchemeId.CLEAR:
            from mpc.schemes.clear import secret as clear

            return clear.generate(parameters, entropy)
        case SchemeId.PAILLIER:
            from mpc.schemes.paillier import secret as paillier

            return paillier.generate(parameters, entropy)
        case SchemeId.BFV:
            from mpc.schemes.bfv import secret as bfv

            return bfv.generate(parameters, entropy)
        case SchemeId.RLWE:
            from mpc.schemes.rlwe import secret as rlwe

            return rlwe.generate(parameters, entropy)
        case _:
            raise _not_offered(parameters.scheme)


def derive(parameters: ParameterSet, seed: bytes, info: bytes) -> tuple[PublicKey, SecretKey]:
    """The key pair of a label: equal for all holders of a seed, independent for different labels.

    Raises:
        ParameterError: The scheme has no seeded keys.
    """
    if parameters.scheme is not SchemeId.RLWE:
        raise ParameterError(f"the keys of {parameters.scheme} are not derived from seeds")
    from mpc.schemes.rlwe import secret as rlwe

    return rlwe.derive(parameters, seed, info)


def symmetric_encryptor(secret: SecretKey) -> Encryptor:
    """An encryptor for a holder of the secret key; it is not an opening.

    Raises:
        KeyAccessError: The key was destroyed.
    """
    scheme = parameter_set(secret.parameter_set).scheme
    match scheme:
        case SchemeId.CLEAR:
            from mpc.schemes.clear import secret as clear

            return clear.symmetric_encryptor(secret)
        case SchemeId.PAILLIER:
            from mpc.schemes.paillier import secret as paillier

            return paillier.symmetric_encryptor(secret)
        case SchemeId.BFV:
            from mpc.schemes.bfv import secret as bfv

            return bfv.symmetric_encryptor(secret)
        case SchemeId.RLWE:
            from mpc.schemes.rlwe import secret as rlwe

            return rlwe.symmetric_encryptor(secret)
        case _:
            raise _not_offered(scheme)


def decryptor(secret: SecretKey) -> Decryptor:
    """Consume the key's one opening.

    Raises:
        KeyAccessError: The key was opened before, or destroyed.
    """
    scheme = parameter_set(secret.parameter_set).scheme
    match scheme:
        case SchemeId.CLEAR:
            from mpc.schemes.clear import secret as clear

            return clear.decryptor(secret)
        case SchemeId.PAILLIER:
            from mpc.schemes.paillier import secret as paillier

            return paillier.decryptor(secret)
        case SchemeId.BFV:
            from mpc.schemes.bfv import secret as bfv

            return bfv.decryptor(secret)
        case SchemeId.RLWE:
            from mpc.schemes.rlwe import secret as rlwe

            return rlwe.decryptor(secret)
        case _:
            raise _not_offered(scheme)


def _not_offered(scheme: SchemeId) -> ParameterError:
    return ParameterError(f"the scheme {scheme} is not offered")
