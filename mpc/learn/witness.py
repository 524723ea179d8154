"""Evidence of a training: the hash chain over everything that was opened.

The opened totals are integers and the same at all parties, on whatever machine; what each computes from them in
floating point may differ in the last bits between processors. So parties compare the evidence, not the floats.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.learn.archive import FittedModel
from mpc.primitives import Checkpoint, Program, Sum, SumHeader, Totals

__all__ = ["witnessed"]

M = TypeVar("M", bound=FittedModel)

_FIRST: Final = hashlib.sha256(b"sealroom/v1/training-evidence").digest()
_NARROW: Final = 1 << 56


def witnessed(inner: Program[M], checkpoint: Mapping[str, NDArray[Any]] | None) -> Program[M]:
    """The same program, whose model carries the evidence; checkpoints carry it on."""
    chain = _FIRST if checkpoint is None else checkpoint["evidence"].tobytes()
    reply: Totals | None = None
    while True:
        try:
            step = inner.send(reply)
        except StopIteration as stop:
            model: M = stop.value
            return model.with_evidence(chain)
        if isinstance(step, Checkpoint):
            step = Checkpoint({**step.state, "evidence": np.frombuffer(chain, dtype=np.uint8)})
        reply = yield step
        if isinstance(step, Sum) and reply is not None:
            chain = _extend(chain, step.header, reply)


def _extend(chain: bytes, header: SumHeader, totals: Totals) -> bytes:
    segments = [(s.name, s.length, str(s.bound)) for s in header.segments]
    told = json.dumps([header.label, header.recipient, segments, header.context.hex()])
    state = hashlib.sha256(chain + hashlib.sha256(told.encode()).digest())
    for segment in header.segments:
        values = totals[segment.name]
        # By the declared bound, not by the type that a transport happened to choose; at most 64 parties add up.
        narrow = segment.bound < _NARROW
        if narrow:
            data: memoryview | bytes = np.ascontiguousarray(values, dtype="<i8").data
        else:
            data = ",".join(str(int(v)) for v in values.tolist()).encode()
        state.update(hashlib.sha256(data).digest())
    return state.digest()
