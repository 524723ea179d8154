"""Compiled kernels before their first use: each process loads what it needs, or compiles it.

The processes of one user share the work part by part (`mpc.schemes.rlwe.kernels.compiled`).
"""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mpc.params import SchemeId, parameter_set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpc.schemes.rlwe.warm import Warmer

__all__ = ["kernel_cache", "warm_kernels"]

log = logging.getLogger(__name__)


def kernel_cache() -> Path | None:
    """The folder where compiled kernels are kept, or None where no place is writable."""
    from mpc.schemes.rlwe.kernels.compiled import cache_directory

    return cache_directory()


def warm_kernels(names: Iterable[str], stages: "Mapping[str, Warmer] | None" = None) -> None:
    """Load or compile the kernels of the parameter sets that have any.

    Args:
        names: Parameter sets.
        stages: What exercises the kernels, by name, in this order; addition if not given. A key holder gives
            `mpc.schemes.rlwe.secret.STAGES`, which this module must not know.
    """
    wanted = [s for s in map(parameter_set, names) if s.scheme is SchemeId.RLWE]
    if not wanted:
        return
    if stages is None:
        from mpc.schemes.rlwe.warm import STAGES

        stages = STAGES
    started = time.monotonic()
    for warmer in stages.values():
        warmer(wanted)
    log.info("kernels ready after %.1f s", time.monotonic() - started)
