"""Unit costs of scoring on this machine, for the cost model of `mpc.score.packing`."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from mpc.entropy import SystemEntropy
from mpc.params.catalogue import parameter_set
from mpc.schemes.rlwe import secret
from mpc.schemes.rlwe.blocks import DEFAULT, Execution
from mpc.schemes.rlwe.matrix import EncodedMatrix
from mpc.schemes.rlwe.products import Cover, Workspace
from mpc.schemes.rlwe.products_noise import plan_products
from mpc.schemes.rlwe.products_reply import Positions, expand_replies
from mpc.score.packing import UnitCosts

__all__ = ["measure_costs"]

_TERMS: Final = 64
_ROWS: Final = 16
_REPEAT: Final = 5


def measure_costs(set_name: str = "rlwe-4096-t26", *, execution: Execution = DEFAULT) -> UnitCosts:
    """Time every step on one core, on a matrix of 16 rows of 64 polynomials: about a second once all is compiled.

    The matrix, 52 MB, exceeds the processor's caches, as catalogues do. Processor time is counted, not the clock: other
    work on the machine does not enter, except through the memory that it keeps busy.
    """
    execution = replace(execution, threads=1)
    parameters = parameter_set(set_name)
    degree = parameters.slots
    ones = np.ones((_TERMS, degree), dtype=np.int64)
    plan = plan_products(parameters, ones.size)
    matrix = EncodedMatrix(
        parameters, rows=_ROWS, terms=_TERMS, polynomials=lambda _: ones, magnitude=ones.size, execution=execution
    )
    public_key, key = secret.generate(parameters, SystemEntropy())
    encryptor = secret.symmetric_encryptor(key, execution=execution)
    message = np.zeros((_TERMS, degree), dtype=np.uint64)
    query = encryptor.encrypt(message)
    workspace = Workspace(matrix, 1, _ROWS, execution)
    cover = Cover(plan, public_key, execution=execution)
    places = [Positions(start=0, step=1, count=degree)] * _ROWS
    workspace.read([query])
    replies = cover.replies(workspace.multiply(1, range(_ROWS))[0], places)
    decryptor = secret.decryptor(key, execution=execution)
    return UnitCosts(
        multiply=_nanoseconds(lambda: workspace.multiply(1, range(_ROWS)), _ROWS * _TERMS * degree),
        read=_nanoseconds(lambda: workspace.read([query]), _TERMS * degree),
        cover=_nanoseconds(lambda: cover.replies(workspace.products[0], places), _ROWS * degree),
        encrypt=_nanoseconds(lambda: encryptor.encrypt(message), _TERMS * degree),
        open=_nanoseconds(
            lambda: decryptor.decrypt(expand_replies(plan, places, replies, execution=execution)), _ROWS * degree
        ),
    )


def _nanoseconds(action: Callable[[], object], count: int) -> float:
    """The median time per coefficient."""
    action()
    times = []
    for _ in range(_REPEAT):
        start = time.thread_time()
        action()
        times.append(time.thread_time() - start)
    return sorted(times)[_REPEAT // 2] * 1e9 / count
