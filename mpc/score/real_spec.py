"""What a scoring of real-valued data under `ckks` is: finer than fixed point, larger in bytes, for the same reader."""

import functools
import math
from dataclasses import dataclass
from typing import Final

import msgspec

from mpc.errors import ParameterError
from mpc.keys.statements import canonical_digest
from mpc.params.ckks import CkksParameters, ckks_parameters
from mpc.schemes.ckks.noise import MINIMUM_FLOODING_BITS, ChainPlan, plan_chain
from mpc.schemes.ckks.wire import Kind, object_bytes
from mpc.score.messages import MessageShape
from mpc.score.spec import Measure, check_norms, norm_bits

__all__ = ["RealScorePlan", "RealScoreSpec", "finest_real_spec"]

_MOST_SCALE_BITS: Final = 120
_ITEM_SCALE_BITS: Final = 46


class RealScoreSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The public statement: querier and holder compute everything else from it alone."""

    catalogue: str
    """Name of the item set; query budgets are counted on it."""

    rows: int
    dimensions: int
    measure: Measure = Measure.COSINE
    query_norm: float = 1.0
    """Largest Euclidean norm of a query vector; 1 for cosines."""

    item_norm: float = 1.0
    """Largest Euclidean norm of an item vector; 1 for cosines."""

    query_scale_bits: int
    item_scale_bits: int = _ITEM_SCALE_BITS
    grid_bits: int
    """Released scores are multiples of 2^-grid_bits."""

    parameter_set: str = "ckks-8192-q150"
    flooding_bits: int = MINIMUM_FLOODING_BITS

    def digest(self) -> bytes:
        """What queries carry, so that both sides know that they mean the same."""
        return canonical_digest("real-score-spec", self)

    def compile(self) -> "RealScorePlan":
        """Check the statement and work out its numbers.

        Raises:
            ParameterError: A field is out of range, the chain has no room for the flooding below the scale, or the grid
                is finer than 64 times the largest error.
        """
        parameters = ckks_parameters(self.parameter_set)
        norms, scales = (self.query_norm, self.item_norm), (self.query_scale_bits, self.item_scale_bits)
        if not 1 <= self.rows <= 1 << 32 or not 1 <= self.dimensions <= 1 << 16:
            raise ParameterError("a catalogue has rows and dimensions")
        check_norms(*norms)
        if any(not 1 <= bits <= _MOST_SCALE_BITS for bits in scales) or self.grid_bits < -_MOST_SCALE_BITS:
            raise ParameterError(f"a scale has 1 to {_MOST_SCALE_BITS} bits, and a grid no fewer than minus as many")
        if self.measure is Measure.COSINE and norms != (1.0, 1.0):
            raise ParameterError("vectors of a cosine have norm 1")
        chain = plan_chain(
            parameters,
            terms=self.dimensions,
            query_scale_bits=self.query_scale_bits,
            item_scale_bits=self.item_scale_bits,
            query_norm=self.query_norm,
            item_norm=self.item_norm,
            flooding_bits=self.flooding_bits,
        )
        if self.grid_bits > chain.finest_grid_bits:
            raise ParameterError("the grid is finer than 64 times the largest error", rule="grid")
        return RealScorePlan(spec=self, parameters=parameters, chain=chain)


@dataclass(frozen=True, kw_only=True)
class RealScorePlan:
    """A checked scoring. Reading it needs no secret and tells none."""

    spec: RealScoreSpec
    parameters: CkksParameters
    chain: ChainPlan

    @property
    def scale_bits(self) -> int:
        """Of a reply."""
        return self.spec.query_scale_bits + self.spec.item_scale_bits

    @property
    def matrix_rows(self) -> int:
        """Ciphertexts of a reply: N / 2 items each."""
        return -(-self.spec.rows // self.parameters.slots)

    @property
    def worst_error(self) -> float:
        """Largest error of a released score (except with probability 2^-128): that of the slot and half a step."""
        return self.chain.error + math.ldexp(0.5, -self.spec.grid_bits)

    @property
    def malicious_queries(self) -> int:
        """Queries that might tell a client who breaks the rules all items, to a step of the grid.

        All coefficients of a reply are sent: N for as many items as a ciphertext has, N / 2 at most.
        """
        return math.ceil(self._item_bits * min(self.spec.rows, self.parameters.slots) / self._reply_bits)

    @property
    def aimed_queries(self) -> int:
        """The same of one item, for such a client that knows every other item of the ciphertext already."""
        return math.ceil(self._item_bits / self._reply_bits)

    @property
    def _item_bits(self) -> float:
        largest = self.spec.query_norm * self.spec.item_norm
        return self.spec.dimensions * math.log2(math.ldexp(largest, self.spec.grid_bits + 1) + 1)

    @property
    def _reply_bits(self) -> float:
        """What one ciphertext of a reply tells at most: of every coefficient, the bits above the flooding."""
        return self.parameters.lattice.degree * (math.log2(self.parameters.q) - self.chain.width - 1)

    @property
    def memory_bytes(self) -> int:
        """Of a prepared catalogue."""
        lattice = self.parameters.lattice
        return 8 * self.matrix_rows * self.spec.dimensions * len(lattice.moduli) * lattice.degree

    @functools.cached_property
    def shape(self) -> MessageShape:
        """Sizes of the messages."""
        reply = object_bytes(self.parameters, Kind.REPLY)
        return MessageShape(
            digest=self.spec.digest(),
            public_key_bytes=object_bytes(self.parameters, Kind.PUBLIC_KEY),
            ciphertext_bytes=object_bytes(self.parameters, Kind.QUERY),
            terms=self.spec.dimensions,
            rows=self.matrix_rows,
            product_bytes=reply,
            last_product_bytes=reply,
        )


def finest_real_spec(
    *,
    catalogue: str,
    rows: int,
    dimensions: int,
    measure: Measure = Measure.COSINE,
    query_norm: float = 1.0,
    item_norm: float = 1.0,
    parameter_set: str = "ckks-8192-q150",
) -> RealScoreSpec:
    """The statement with the finest grid that the chain allows; norms are rounded up to powers of two.

    Raises:
        ParameterError: The chain has no room.
    """
    inner = measure is Measure.INNER_PRODUCT
    query_bits, item_bits = (norm_bits(norm) if inner else 0 for norm in (query_norm, item_norm))
    log_q = ckks_parameters(parameter_set).q.bit_length() - 1
    top = log_q - 3 - _ITEM_SCALE_BITS - query_bits
    draft = RealScoreSpec(
        catalogue=catalogue,
        rows=rows,
        dimensions=dimensions,
        measure=measure,
        query_norm=2.0**query_bits,
        item_norm=2.0**item_bits,
        query_scale_bits=min(top, _MOST_SCALE_BITS),
        item_scale_bits=_ITEM_SCALE_BITS - item_bits,
        grid_bits=-_MOST_SCALE_BITS,
        parameter_set=parameter_set,
    )
    return msgspec.structs.replace(draft, grid_bits=draft.compile().chain.finest_grid_bits)
