"""Scoring with TenSEAL as its documentation shows it: an encrypted CKKS vector times a plaintext matrix.

N = 8192, chain 60-40-60, scale 2^40, Galois keys. The context with its keys travels once and is not in the bytes. The
reply is neither re-randomised nor flooded, as ours is, so its noise tells of the matrix.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.cases import Observed, Resources, Twin, Work, expect
from mpc.client.bench.micro import threads_limited
from mpc.client.bench.peers.rounds import version
from mpc.client.bench.records import Wire
from mpc.client.bench.scoring import unit_vectors

__all__ = ["tenseal_matmul"]

_ERROR: Final = 1e-4


@contextlib.contextmanager
def tenseal_matmul(dimensions: int, rows: int, _resources: Resources) -> Iterator[Work]:
    """One query against a catalogue."""
    number = version("tenseal")
    import tenseal as ts

    secret = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60], n_threads=1)
    secret.global_scale = 2**40
    secret.generate_galois_keys()
    public = ts.context_from(secret.serialize(save_secret_key=False), n_threads=1)
    items, asked = unit_vectors(rows, dimensions, 0), unit_vectors(1, dimensions, 1)[0]
    matrix, wanted = items.T.tolist(), items @ asked
    plain_items, plain_asked = items.astype(np.float32), asked.astype(np.float32)
    clock = time.process_time

    def run(_: object) -> tuple[NDArray[Any], Observed]:
        start = clock()
        query = ts.ckks_vector(secret, asked).serialize()
        sent = clock()
        reply = ts.ckks_vector_from(public, query).mm(matrix).serialize()
        answered = clock()
        scores = np.array(ts.ckks_vector_from(secret, reply).decrypt())[:rows]
        phases = {"query": sent - start, "holder": answered - sent, "open": clock() - answered}
        return scores, Observed(wire=Wire(up_bytes=len(query), down_bytes=len(reply)), phases=phases)

    with threads_limited(1):
        yield Work(
            run=run,
            check=lambda result: expect(np.allclose(result[0], wanted, rtol=0, atol=_ERROR), "scores are wrong"),
            observe=lambda result: result[1],
            twins={"numpy": Twin(lambda _: plain_items @ plain_asked)},
            values=rows,
            scheme=f"tenseal {number}",
            security=128,
            notes="CKKS, N = 8192, chain 60-40-60; noise not flooded; Galois keys sent beforehand",
        )
