"""Compile the kernels of scoring ahead of use: a node does this in the background when it starts."""

import numpy as np

from mpc.params.catalogue import parameter_set
from mpc.schemes.rlwe.blocks import DEFAULT, Execution
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.products_reply import expand_replies
from mpc.schemes.rlwe.wire import SEED_BYTES, Kind, encode
from mpc.score.holder import MatrixHolder
from mpc.score.messages import NAME_BYTES, Query, decode_reply, encode_query
from mpc.score.spec import finest_spec

__all__ = ["warm_up"]


def warm_up(set_name: str = "rlwe-4096-t26", *, execution: Execution = DEFAULT) -> None:
    """Load or compile what a holder and (its decryption apart) a querier run; needs no secret.

    It scores an item of zeros for a query of ones under a key of ones that nobody holds, and drops the outcome.
    """
    parameters = parameter_set(set_name)
    plan = finest_spec(catalogue="warm-up", rows=1, dimensions=1, parameter_sets=(set_name,)).compile()
    ones = np.ones(len(execution.ring(parameters).moduli) * parameters.slots * 25 // 32, dtype=np.uint64)
    key = encode(parameters, Kind.PUBLIC_KEY, ones, seed=bytes(SEED_BYTES))
    noise = bounds(parameters).fresh_symmetric
    ciphertext = encode(parameters, Kind.SEEDED, ones, noise=noise, seed=bytes(SEED_BYTES))
    query = Query(name=bytes(NAME_BYTES), public_key=key, ciphertexts=((ciphertext,),))
    holder = MatrixHolder(plan, lambda _start, _stop: np.zeros((1, 1)), execution=execution)
    reply = holder.answer(encode_query(plan.shape, query), charge=lambda _queries: None).result
    expand_replies(plan.product, plan.positions(), decode_reply(plan.shape, reply).products[0], execution=execution)
