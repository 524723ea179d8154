"""Compile ahead of use: a node warms up in a background thread when it starts, so that no job waits for a compiler.

`warm_up` covers what needs no secret; `mpc.schemes.rlwe.secret.warm_up` covers everything.
"""

from collections.abc import Iterable

import numpy as np

from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet
from mpc.schemes.rlwe.addition import SumAdder
from mpc.schemes.rlwe.blocks import DEFAULT, Execution
from mpc.schemes.rlwe.encryption import PublicEncryptor
from mpc.schemes.rlwe.evaluation import Evaluator
from mpc.schemes.rlwe.wire import SEED_BYTES, Kind, encode

__all__ = ["warm_up"]


def warm_up(parameter_sets: Iterable[ParameterSet], *, execution: Execution = DEFAULT) -> None:
    """Load or compile the kernels of encryption, addition and evaluation, and build the tables of the sets.

    It encrypts zeros to a key of ones that nobody holds, adds, multiplies and floods them, and drops the outcome.
    """
    for parameters in parameter_sets:
        constants = execution.ring(parameters)
        ones = np.ones(constants.primes * constants.degree * 25 // 32, dtype=np.uint64)
        key = PublicKey(parameters.id, encode(parameters, Kind.PUBLIC_KEY, ones, seed=bytes(SEED_BYTES)))
        zeros = np.zeros((1, constants.degree), dtype=np.uint64)
        fresh = PublicEncryptor(key, execution=execution).encrypt(zeros)
        total = SumAdder(parameters, execution=execution).start(1)
        total.add(fresh)
        total.finish()
        evaluator = Evaluator(parameters, execution=execution)
        product = evaluator.multiply_plain(fresh, zeros, coefficient_bound=1, terms=1)
        evaluator.rerandomise(product, key)
