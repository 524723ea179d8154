"""The table of schemes for those who hold no secret: encryptors, adders, key validation.

Each scheme is imported when it is first used, so that using one loads no other. No import here reaches
`mpc.keys.secret`: the coordinator adds with this module.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from mpc.entropy import Keystream
from mpc.errors import ParameterError
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet, SchemeId
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Ability, Adder, Encryptor, Floods, MultipliesPlain

__all__ = ["Evaluator", "abilities", "adder", "encryptor", "evaluator", "keystream", "validate_public_key"]

_ABILITIES: Final[Mapping[SchemeId, frozenset[Ability]]] = MappingProxyType(
    {
        SchemeId.CLEAR: frozenset({Ability.ADDS, Ability.ENCRYPTS_SYMMETRIC}),
        SchemeId.PAILLIER: frozenset({Ability.ADDS, Ability.ENCRYPTS_SYMMETRIC}),
        SchemeId.BFV: frozenset({Ability.ADDS, Ability.ENCRYPTS_SYMMETRIC}),
        SchemeId.RLWE: frozenset(
            {Ability.ADDS, Ability.ENCRYPTS_SYMMETRIC, Ability.SEEDS, Ability.MULTIPLIES_PLAIN, Ability.FLOODS}
        ),
    }
)


class Evaluator(MultipliesPlain, Floods, Protocol):
    """Multiplies by plaintexts and covers what that leaves in the noise."""


def abilities(scheme: SchemeId) -> frozenset[Ability]:
    """What a scheme can do; the conformance suite tests exactly this.

    Raises:
        ParameterError: The scheme is not offered.
    """
    try:
        return _ABILITIES[scheme]
    except KeyError:
        raise _not_offered(scheme) from None


def encryptor(public_key: PublicKey) -> Encryptor:
    """An encryptor under a public key.

    Raises:
        WireError: The key's bytes break the format.
    """
    scheme = parameter_set(public_key.parameter_set).scheme
    match scheme:
        case SchemeId.CLEAR:
            from mpc.schemes.clear import public as clear

            return clear.encryptor(public_key)
        case SchemeId.PAILLIER:
            from mpc.schemes.paillier import public as paillier

            return paillier.encryptor(public_key)
        case SchemeId.BFV:
            from mpc.schemes.bfv import public as bfv

            return bfv.encryptor(public_key)
        case SchemeId.RLWE:
            from mpc.schemes.rlwe import public as rlwe

            return rlwe.encryptor(public_key)
        case _:
            raise _not_offered(scheme)


def adder(parameters: ParameterSet, public_key: PublicKey | None = None) -> Adder:
    """An adder for a parameter set.

    Args:
        parameters: The set.
        public_key: The recipient's key. Paillier's sums are products modulo the square of the key's modulus, so it
            needs it; for the others any key of the set will do and this may be left out.

    Raises:
        ParameterError: The scheme needs the key, or the key is of another set.
    """
    if public_key is not None and public_key.parameter_set != parameters.id:
        raise ParameterError(f"the key is not one of {parameters.id}")
    match parameters.scheme:
        case SchemeId.CLEAR:
            from mpc.schemes.clear import public as clear

            return clear.adder(parameters)
        case SchemeId.PAILLIER:
            from mpc.schemes.paillier import public as paillier

            return paillier.adder(parameters, public_key)
        case SchemeId.BFV:
            from mpc.schemes.bfv import public as bfv

            return bfv.adder(parameters)
        case SchemeId.RLWE:
            from mpc.schemes.rlwe import public as rlwe

            return rlwe.adder(parameters)
        case _:
            raise _not_offered(parameters.scheme)


def evaluator(parameters: ParameterSet) -> Evaluator:
    """What multiplies by plaintexts and floods.

    Raises:
        ParameterError: The scheme does not declare these abilities.
    """
    match parameters.scheme:
        case SchemeId.RLWE:
            from mpc.schemes.rlwe import public as rlwe

            return rlwe.evaluator(parameters)
        case _:
            raise ParameterError(f"{parameters.scheme} does not multiply by plaintexts")


def keystream(parameters: ParameterSet) -> Callable[[bytes], Keystream]:
    """What makes keystreams fastest where this scheme encrypts: the same words for a key, whichever makes them.

    `clear` makes them as `rlwe` does, so that the two differ by encryption alone.
    """
    if parameters.scheme in {SchemeId.RLWE, SchemeId.CLEAR}:
        from mpc.schemes.rlwe.keystream import VectorKeystream

        return VectorKeystream
    return Keystream


def validate_public_key(parameters: ParameterSet, data: bytes) -> PublicKey:
    """Accept a peer's key bytes.

    Raises:
        WireError: They are not a key of this set.
    """
    match parameters.scheme:
        case SchemeId.CLEAR:
            from mpc.schemes.clear import public as clear

            return clear.validate_public_key(parameters, data)
        case SchemeId.PAILLIER:
            from mpc.schemes.paillier import public as paillier

            return paillier.validate_public_key(parameters, data)
        case SchemeId.BFV:
            from mpc.schemes.bfv import public as bfv

            return bfv.validate_public_key(parameters, data)
        case SchemeId.RLWE:
            from mpc.schemes.rlwe import public as rlwe

            return rlwe.validate_public_key(parameters, data)
        case _:
            raise _not_offered(parameters.scheme)


def _not_offered(scheme: SchemeId) -> ParameterError:
    return ParameterError(f"the scheme {scheme} is not offered")
