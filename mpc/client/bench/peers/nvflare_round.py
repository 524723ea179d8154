"""One encrypted aggregation round as NVIDIA FLARE does it with TenSEAL.

Own code after `nvflare.lighter.impl.he.HEBuilder` (CKKS, N = 8192, chain 60-40-40, scale 2^40, symmetric encryption,
relinearisation keys), `app_opt.he.model_encryptor` (weigh by local steps, one `ckks_vector` per model variable),
`app_opt.he.intime_accumulate_model_aggregator` (deserialise, add, multiply by one over the sum of weights) and
`app_opt.he.model_serialize_filter`, NVFlare 2.x. All clients hold the one secret key. The model is one variable.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.peers.rounds import Values

__all__ = ["NvflareRound"]

_REAL_UNIT: Final = float(1 << 40)
_LOCAL_STEPS: Final = 10
_REAL_ERROR: Final = 1e-4


class NvflareRound:
    """Weighted average of one model variable."""

    security_bits = 128
    threads = 1
    notes = "CKKS, N = 8192, chain 60-40-40, symmetric; weighted mean of reals below 1; every client can decrypt"

    def __init__(self) -> None:
        import tenseal as ts

        self._ts = ts
        made = ts.context(
            ts.SCHEME_TYPE.CKKS,
            poly_modulus_degree=8192,
            coeff_mod_bit_sizes=[60, 40, 40],
            encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
        )
        made.generate_relin_keys()
        made.global_scale = 2**40
        self._client = made
        server = made.serialize(save_public_key=False, save_secret_key=False, save_galois_keys=False)
        self._server = ts.context_from(server)

    def contribute(self, values: Values) -> list[bytes]:
        """A client: weigh, encrypt the whole variable, serialise."""
        weighted = (values / _REAL_UNIT) * np.float64(_LOCAL_STEPS)
        return [self._ts.ckks_vector(self._client, weighted).serialize()]

    def add(self, contributions: Sequence[list[bytes]]) -> list[bytes]:
        """The server: accumulate as contributions come, divide by the weights, serialise."""
        total = None
        for (part,) in contributions:
            vector = self._ts.ckks_vector_from(self._server, part)
            total = vector if total is None else total + vector
        if total is None:
            return []
        return [(total * (1.0 / (_LOCAL_STEPS * len(contributions)))).serialize()]

    def open(self, summed: list[bytes], length: int) -> NDArray[Any]:
        """A client: deserialise and decrypt the mean."""
        return np.array(self._ts.ckks_vector_from(self._client, summed[0]).decrypt())[:length]

    def right(self, opened: NDArray[Any], total: Values) -> bool:
        """The mean of five parties, within the error of CKKS after one product."""
        return bool(np.allclose(opened, total / _REAL_UNIT / 5, rtol=0.0, atol=_REAL_ERROR))
