"""Compile ahead of use: a node runs `warm_up` in a background thread when it starts."""

from collections.abc import Iterable

import numpy as np

from mpc.entropy import FixedEntropy
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet
from mpc.params.catalogue import parameter_set
from mpc.schemes.rlwe.blocks import DEFAULT, BlockReader, Execution
from mpc.schemes.rlwe.encryption import PublicEncryptor
from mpc.schemes.rlwe.evaluation import Evaluator
from mpc.schemes.rlwe.addition import LazySum
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.ring import LANES, error_words
from mpc.schemes.rlwe.wire import Kind, encode, parse, wire_format

__all__ = ["warm_up"]


def warm_up(parameter_sets: Iterable[ParameterSet], *, execution: Execution = DEFAULT) -> None:
    """Load or compile every kernel and build the tables of the sets. Nothing of it is kept but code and constants."""
    for parameters in parameter_sets:
        constants = execution.ring(parameters)
        kernels, n, k = pipeline(), constants.degree, constants.primes
        part = k * n * 25 // 32

        def zeros(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
            return np.zeros(shape, dtype=np.uint64)

        kernels.make_key(
            zeros(n + error_words(LANES * n)), zeros(k, n), constants.scale, constants.modulus, constants.forward,
            zeros(3, n, LANES), public := zeros(k, n), zeros(k, n), constants.ifma,
        )  # fmt: skip
