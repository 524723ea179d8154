"""What a scoring is: what both sides agree on, checked once and turned into exact numbers."""

import functools
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from mpc.errors import ParameterError, RangeError
from mpc.keys.statements import canonical_digest
from mpc.params.base import ParameterSet, SchemeId
from mpc.params.catalogue import PARAMETER_SETS, parameter_set
from mpc.schemes.rlwe.matrix import MOST_TERMS
from mpc.schemes.rlwe.noise import lattice_of
from mpc.schemes.rlwe.products_noise import MINIMUM_FLOODING_BITS, ProductPlan, plan_products
from mpc.schemes.rlwe.products_reply import Positions, reply_bytes
from mpc.schemes.rlwe.wire import Kind, wire_format
from mpc.score.messages import MessageShape

__all__ = ["Measure", "ScorePlan", "ScoreSpec", "check_norms", "finest_spec", "norm_bits"]

_MOST_BITS: Final = 20
"""A coordinate of the largest norm becomes an integer of at most so many bits."""

_NORM_BITS: Final = 32
"""Norms lie between 2^-32 and 2^32, so that nothing overflows."""


class Measure(StrEnum):
    """What a score is."""

    COSINE = "cosine"
    """The cosine of the angle: both sides normalise their vectors."""

    INNER_PRODUCT = "inner-product"


class ScoreSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The public statement of a scoring: querier and holder compute everything else from it alone."""

    catalogue: str
    """Name of the item set; query budgets are counted on it."""

    rows: int
    """Items that are scored."""

    dimensions: int

    measure: Measure = Measure.COSINE

    query_norm: float = 1.0
    """Largest Euclidean norm of a query vector; 1 for cosines."""

    item_norm: float = 1.0
    """Largest Euclidean norm of an item vector; 1 for cosines."""

    query_scale_bits: int
    """A query coordinate x becomes the integer nearest to `x 2^query_scale_bits`."""

    item_scale_bits: int
    """The same for item coordinates."""

    dimensions_per_ciphertext: int = 1
    """Neighbouring dimensions that share a ciphertext (a power of two): fewer to upload, more in the reply."""

    parameter_set: str = "rlwe-4096-t22"

    flooding_bits: int = MINIMUM_FLOODING_BITS
    """The least flooding, 40 or more; the plan takes all that fits."""

    def digest(self) -> bytes:
        """What queries carry, so that both sides know that they mean the same."""
        return canonical_digest("score-spec", self)

    def compile(self) -> "ScorePlan":
        """Check the statement and work out its numbers.

        Raises:
            ParameterError: A field is out of range, or the parameter set leaves no room for the flooding.
            RangeError: A score could leave the plaintext modulus.
        """
        parameters = parameter_set(self.parameter_set)
        _check(self, parameters)
        degree, width = lattice_of(parameters).degree, self.dimensions_per_ciphertext
        query_bound = _integer_norm(self.query_norm, self.query_scale_bits, self.dimensions)
        item_bound = _integer_norm(self.item_norm, self.item_scale_bits, self.dimensions)
        if 2 * query_bound * item_bound >= parameters.plain_modulus:
            raise RangeError("a score may exceed half of the plaintext modulus", statistic="score")
        items = degree // width
        magnitude = min(items, self.rows) * math.isqrt(self.dimensions * item_bound**2)
        return ScorePlan(
            spec=self,
            parameters=parameters,
            query_bound=query_bound,
            item_bound=item_bound,
            terms=-(-self.dimensions // width),
            items_per_row=items,
            matrix_rows=-(-self.rows // items),
            magnitude=magnitude,
            product=plan_products(parameters, magnitude, flooding_bits=self.flooding_bits),
        )


@dataclass(frozen=True, kw_only=True)
class ScorePlan:
    """A checked scoring. Reading it needs no secret and tells none."""

    spec: ScoreSpec
    parameters: ParameterSet
    query_bound: int
    """Bound on the Euclidean norm of a query's integers."""

    item_bound: int
    """Bound on the Euclidean norm of an item's integers."""

    terms: int
    """Ciphertexts of a query."""

    items_per_row: int
    """Items that one ciphertext of the reply scores."""

    matrix_rows: int
    """Ciphertexts of a reply."""

    magnitude: int
    """Bound on the sum of all absolute coefficients that enter one ciphertext of the reply."""

    product: ProductPlan

    @property
    def scale(self) -> float:
        """A score's integer is the score times this."""
        return float(2.0 ** (self.spec.query_scale_bits + self.spec.item_scale_bits))

    @property
    def worst_error(self) -> float:
        """Largest error of a score through rounding coordinates: no score is further from the exact one."""
        spec = self.spec
        query, item = (
            math.sqrt(spec.dimensions) * 2.0 ** -(b + 1) for b in (spec.query_scale_bits, spec.item_scale_bits)
        )
        return spec.query_norm * item + spec.item_norm * query + query * item

    @property
    def typical_error(self) -> float:
        """Standard deviation of the error of a score of vectors of full norm, rounding taken as uniform."""
        spec = self.spec
        query, item = (2.0**-b / math.sqrt(12) for b in (spec.query_scale_bits, spec.item_scale_bits))
        return math.hypot(spec.query_norm * item, spec.item_norm * query)

    @property
    def malicious_queries(self) -> int:
        """Queries that might tell a client who breaks the rules all there is to know of all items' integers.

        One coefficient tells at most `product.readable_bits` bits under an honest public key, and an item has one.
        """
        return math.ceil(self._item_bits / self.product.readable_bits)

    @property
    def aimed_queries(self) -> int:
        """The same of one item, for such a client that knows every other item of the ciphertext already.

        Its queries are polynomials of its choice: all coefficients of the reply can be made to speak of that item, and
        what they say of the others be subtracted.
        """
        coefficients = min(self.items_per_row, self.spec.rows)
        return math.ceil(self._item_bits / (coefficients * self.product.readable_bits))

    @property
    def _item_bits(self) -> float:
        return self.spec.dimensions * math.log2(2 * self.item_bound + 1)

    @functools.cached_property
    def shape(self) -> MessageShape:
        """Sizes of the messages."""
        lengths = wire_format(self.parameters).lengths
        first, last = (reply_bytes(self.product, self.position(row)) for row in (0, self.matrix_rows - 1))
        return MessageShape(
            digest=self.spec.digest(),
            public_key_bytes=lengths[Kind.PUBLIC_KEY],
            ciphertext_bytes=lengths[Kind.SEEDED],
            terms=self.terms,
            rows=self.matrix_rows,
            product_bytes=first,
            last_product_bytes=last,
        )

    def position(self, row: int) -> Positions:
        """Where the scores stand in one ciphertext of a reply."""
        width, items = self.spec.dimensions_per_ciphertext, self.items_per_row
        return Positions(start=width - 1, step=width, count=min(items, self.spec.rows - items * row))

    def positions(self) -> list[Positions]:
        """Where the scores stand in every ciphertext of a reply."""
        return [self.position(row) for row in range(self.matrix_rows)]


def finest_spec(
    *,
    catalogue: str,
    rows: int,
    dimensions: int,
    measure: Measure = Measure.COSINE,
    query_norm: float = 1.0,
    item_norm: float = 1.0,
    dimensions_per_ciphertext: int = 1,
    flooding_bits: int = MINIMUM_FLOODING_BITS,
    parameter_sets: tuple[str, ...] = ("rlwe-4096-t22", "rlwe-4096-t26"),
) -> ScoreSpec:
    """The most precise statement that fits: as many bits for either side's vectors, over the given parameter sets.

    Norms are rounded up to powers of two, for a bound that is fitted to data tells of data; cosines need none. Scales
    are relative to them: a score's error is least, for the bits that there are, if both sides' vectors are as fine.

    Raises:
        ParameterError: Not even one bit fits, or a norm makes no sense.
    """
    inner = measure is Measure.INNER_PRODUCT
    query_bits, item_bits = (norm_bits(norm) if inner else 0 for norm in (query_norm, item_norm))
    for total in range(2 * _MOST_BITS, 1, -1):
        for name in parameter_sets:
            spec = ScoreSpec(
                catalogue=catalogue,
                rows=rows,
                dimensions=dimensions,
                measure=measure,
                query_norm=2.0**query_bits,
                item_norm=2.0**item_bits,
                query_scale_bits=(total + 1) // 2 - query_bits,
                item_scale_bits=total // 2 - item_bits,
                dimensions_per_ciphertext=dimensions_per_ciphertext,
                parameter_set=name,
                flooding_bits=flooding_bits,
            )
            try:
                spec.compile()
            except (ParameterError, RangeError):
                continue
            return spec
    raise ParameterError("no parameter set has room for these scores")


def norm_bits(norm: float) -> int:
    """The exponent of a norm rounded up to a power of two.

    Raises:
        ParameterError: It is not between 2^-32 and 2^32.
    """
    check_norms(norm)
    return math.ceil(math.log2(norm))


def check_norms(*norms: float) -> None:
    """Refuse norms (`ParameterError`) that are not between 2^-32 and 2^32."""
    if any(not 2.0**-_NORM_BITS <= norm <= 2.0**_NORM_BITS for norm in norms):
        raise ParameterError(f"norms are between 2^-{_NORM_BITS} and 2^{_NORM_BITS}")


def _integer_norm(norm: float, scale_bits: int, dimensions: int) -> int:
    """No vector of at most this norm has integers of a larger one: rounding adds at most 1/2 to every coordinate."""
    return math.ceil(norm * 2.0**scale_bits + math.sqrt(dimensions) / 2)


def _check(spec: ScoreSpec, parameters: ParameterSet) -> None:
    if parameters.scheme is not SchemeId.RLWE or parameters.id not in PARAMETER_SETS:
        raise ParameterError("fixed-point scores take a parameter set of the rlwe scheme")
    width, degree = spec.dimensions_per_ciphertext, lattice_of(parameters).degree
    if not 1 <= width <= degree or width & (width - 1) or width >= 2 * spec.dimensions:
        raise ParameterError("dimensions per ciphertext are a power of two, at most the least that holds all")
    if not 1 <= spec.rows <= 1 << 32 or spec.dimensions < 1 or -(-spec.dimensions // width) > MOST_TERMS:
        raise ParameterError("a catalogue has rows and dimensions, and a query at most 4095 ciphertexts")
    scales = (spec.query_scale_bits, spec.item_scale_bits)
    if any(not -_NORM_BITS <= bits <= _MOST_BITS + _NORM_BITS for bits in scales):
        raise ParameterError(f"a scale has {-_NORM_BITS} to {_MOST_BITS + _NORM_BITS} bits")
    norms = (spec.query_norm, spec.item_norm)
    check_norms(*norms)
    if spec.measure is Measure.COSINE and norms != (1.0, 1.0):
        raise ParameterError("vectors of a cosine have norm 1")
