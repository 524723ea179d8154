"""Compile ahead of use: a node warms up in a background thread when it starts, so that no job waits for a compiler.

Kernels are made in stages, so that a process has first what it needs first. `STAGES` here needs no secret; those of
`mpc.schemes.rlwe.secret` are what a party and an analyst run.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet
from mpc.schemes.rlwe.addition import SumAdder
from mpc.schemes.rlwe.blocks import DEFAULT, Execution
from mpc.schemes.rlwe.encryption import PublicEncryptor
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.wire import SEED_BYTES, Kind, encode

__all__ = ["STAGES", "Warmer", "warm_addition", "warm_encryption"]

Warmer = Callable[[Iterable[ParameterSet]], None]


def warm_addition(parameter_sets: Iterable[ParameterSet], *, execution: Execution = DEFAULT) -> None:
    """Load or compile what an adder runs, by adding two ciphertexts of ones, one of them seeded."""
    for parameters in parameter_sets:
        constants = execution.ring(parameters)
        words = np.ones(2 * constants.primes * constants.degree * 25 // 32, dtype=np.uint64)
        most = bounds(parameters)
        half = words[: words.size // 2]
        seeded = encode(parameters, Kind.SEEDED, half, noise=most.fresh_symmetric, seed=bytes(SEED_BYTES))
        for one in (encode(parameters, Kind.PUBLIC, words, noise=most.fresh_public), seeded):
            total = SumAdder(parameters, execution=execution).start(1)
            total.add([one])
            total.finish()


def warm_encryption(parameter_sets: Iterable[ParameterSet], *, execution: Execution = DEFAULT) -> None:
    """Load or compile what a contributor runs, by encrypting zeros to a key of ones that nobody holds."""
    for parameters in parameter_sets:
        constants = execution.ring(parameters)
        ones = np.ones(constants.primes * constants.degree * 25 // 32, dtype=np.uint64)
        key = PublicKey(parameters.id, encode(parameters, Kind.PUBLIC_KEY, ones, seed=bytes(SEED_BYTES)))
        PublicEncryptor(key, execution=execution).encrypt(np.zeros((1, constants.degree), dtype=np.uint64))


STAGES: Final[Mapping[str, Warmer]] = MappingProxyType({"addition": warm_addition})
"""What the coordinator runs."""
