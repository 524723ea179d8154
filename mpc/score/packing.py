"""Dimensions per ciphertext, by cost: the upload shrinks with them, the reply and the covering grow.

A query has d / b ciphertexts and a reply one covered product per N / b items; the products themselves take the same
work for every b. The model is linear in public counts; its unit costs are measured on the machine
(`mpc.score.calibration`) or the defaults below.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mpc.errors import ParameterError
from mpc.schemes.rlwe.noise import lattice_of
from mpc.score.holder import holder_memory
from mpc.score.spec import Measure, ScorePlan, ScoreSpec, check_norms, finest_spec

__all__ = [
    "DEFAULT_COSTS",
    "PackingCost",
    "ScoringRequest",
    "UnitCosts",
    "choose_packing",
    "offered_costs",
    "packing_costs",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCosts:
    """Nanoseconds of one core per coefficient of a ciphertext (all primes of it counted together)."""

    multiply: float
    """Holder: one term of one row times one query."""

    read: float
    """Holder: one query ciphertext parsed and laid out."""

    cover: float
    """Holder: one ciphertext of a reply covered, rounded, packed."""

    encrypt: float
    """Querier: one seeded ciphertext."""

    open: float
    """Querier: one ciphertext of a reply expanded and decrypted."""


DEFAULT_COSTS: Final = UnitCosts(multiply=1.3, read=14.0, cover=46.0, encrypt=20.0, open=40.0)
"""Measured on one core with AVX-512 IFMA, N = 4096, two primes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringRequest:
    """What is to be scored, and over what."""

    catalogue: str
    rows: int
    dimensions: int
    bandwidth_bits_s: float
    queries: int = 1
    measure: Measure = Measure.COSINE
    query_norm: float = 1.0
    item_norm: float = 1.0

    def finest(self, dimensions_per_ciphertext: int) -> ScoreSpec:
        """The most precise spec of a packing (`ParameterError` if none fits)."""
        return finest_spec(
            catalogue=self.catalogue,
            rows=self.rows,
            dimensions=self.dimensions,
            measure=self.measure,
            query_norm=self.query_norm,
            item_norm=self.item_norm,
            dimensions_per_ciphertext=dimensions_per_ciphertext,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PackingCost:
    """What one choice costs, predicted."""

    spec: ScoreSpec
    upload_bytes: int
    reply_bytes: int
    holder_s: float
    querier_s: float
    transfer_s: float
    memory_bytes: int
    """Of the encoded catalogue."""

    typical_error: float
    """Standard deviation of a score's error."""

    @property
    def seconds(self) -> float:
        """From question to scores."""
        return self.holder_s + self.querier_s + self.transfer_s


def packing_costs(request: ScoringRequest, costs: UnitCosts = DEFAULT_COSTS) -> list[PackingCost]:
    """The cost of every packing whose flooding fits, cheapest first.

    Raises:
        ParameterError: None fits, or the request makes no sense.
    """
    if not request.bandwidth_bits_s > 0 or request.queries < 1 or request.dimensions < 1 or request.rows < 1:
        raise ParameterError("a cost needs a positive bandwidth, and at least one query, item and dimension")
    if request.measure is Measure.INNER_PRODUCT:
        check_norms(request.query_norm, request.item_norm)
    found = []
    for bits in range((2 * request.dimensions - 1).bit_length()):
        try:
            plan = request.finest(1 << bits).compile()
        except ParameterError:
            continue
        found.append(_cost(plan, request.bandwidth_bits_s, request.queries, costs))
    if not found:
        raise ParameterError("no packing has room for these scores")
    return sorted(found, key=lambda cost: (cost.seconds, cost.upload_bytes))


def offered_costs(
    specs: Iterable[ScoreSpec], *, bandwidth_bits_s: float, queries: int = 1, costs: UnitCosts = DEFAULT_COSTS
) -> list[PackingCost]:
    """The cost of every packing that a holder offers, cheapest first.

    Raises:
        ParameterError: There is no offer, or the request makes no sense.
    """
    if not bandwidth_bits_s > 0 or queries < 1:
        raise ParameterError("a cost needs a positive bandwidth and at least one query")
    found = [_cost(spec.compile(), bandwidth_bits_s, queries, costs) for spec in specs]
    if not found:
        raise ParameterError("no packing is offered")
    return sorted(found, key=lambda cost: (cost.seconds, cost.upload_bytes))


def choose_packing(request: ScoringRequest, costs: UnitCosts = DEFAULT_COSTS) -> PackingCost:
    """The cheapest packing: seconds from question to scores, over the stated bandwidth.

    Raises:
        ParameterError: None fits.
    """
    return packing_costs(request, costs)[0]


def _cost(plan: ScorePlan, bandwidth_bits_s: float, queries: int, costs: UnitCosts) -> PackingCost:
    degree = lattice_of(plan.parameters).degree
    upload, reply = plan.shape.query_bytes(queries), plan.shape.reply_bytes(queries)
    holder = plan.terms * (plan.matrix_rows * costs.multiply + costs.read) + plan.matrix_rows * costs.cover
    querier = plan.terms * costs.encrypt + plan.matrix_rows * costs.open
    return PackingCost(
        spec=plan.spec,
        upload_bytes=upload,
        reply_bytes=reply,
        holder_s=queries * degree * holder * 1e-9,
        querier_s=queries * degree * querier * 1e-9,
        transfer_s=8 * (upload + reply) / bandwidth_bits_s,
        memory_bytes=holder_memory(plan),
        typical_error=plan.typical_error,
    )
