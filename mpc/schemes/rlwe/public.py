"""What needs no secret: encryption to a public key, sums, products with plaintexts, re-randomisation and flooding.

Scheme: Fan and Vercauteren 2012 (eprint 2012/144, section 4) without relinearisation; plaintexts are polynomials whose
coefficients are the slots ("coefficient packing"); ciphertexts stay in evaluation form, where addition and products
with plaintexts are value by value. README.md gives the equations.
"""

from mpc.entropy import Entropy
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet
from mpc.schemes.base import Adder, Encryptor
from mpc.schemes.rlwe.addition import SumAdder
from mpc.schemes.rlwe.blocks import DEFAULT, Execution
from mpc.schemes.rlwe.encryption import PublicEncryptor, read_public_key
from mpc.schemes.rlwe.evaluation import Evaluator

__all__ = ["adder", "encryptor", "evaluator", "validate_public_key"]


def validate_public_key(parameters: ParameterSet, data: bytes) -> PublicKey:
    """Check a peer's public key.

    Raises:
        WireError: Length, header or a residue is wrong, or a polynomial is zero (which would encrypt nothing).
    """
    read_public_key(DEFAULT.ring(parameters), data)
    return PublicKey(parameters.id, data)


def encryptor(public_key: PublicKey, *, execution: Execution = DEFAULT, entropy: Entropy | None = None) -> Encryptor:
    """An encryptor to a public key; `entropy` other than the system's is for known-answer tests."""
    return PublicEncryptor(public_key, execution=execution, entropy=entropy)


def adder(parameters: ParameterSet, *, execution: Execution = DEFAULT) -> Adder:
    """An adder for a parameter set."""
    return SumAdder(parameters, execution=execution)


def evaluator(parameters: ParameterSet, *, execution: Execution = DEFAULT, entropy: Entropy | None = None) -> Evaluator:
    """What multiplies by plaintexts, re-randomises and floods, for a parameter set."""
    return Evaluator(parameters, execution=execution, entropy=entropy)
