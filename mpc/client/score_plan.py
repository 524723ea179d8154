"""What a scoring would do: the packings that the holder offers, the choice among them, and who would learn what."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mpc.errors import ParameterError
from mpc.params import SecurityLevel
from mpc.plan.cost import Line
from mpc.score.messages import MOST_QUERIES
from mpc.score.packing import PackingCost, offered_costs
from mpc.score.real_spec import RealScorePlan
from mpc.score.spec import Measure, ScorePlan
from mpc.wire.limits import MAX_SCORE_BYTES
from mpc.wire.offers import CatalogueOffer

__all__ = ["OfferedCatalogue", "ScoreExplanation", "disclosures", "explain_scoring"]

REAL = "ckks"
FIXED = "rlwe"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedCatalogue:
    """A catalogue that a holder offers to this analyst."""

    holder: str
    name: str
    rows: int
    dimensions: int
    metric: str
    """`cosine` or `inner`."""

    query_norm: float
    """Largest norm of a query; cosines take any."""

    limit: int
    """Queries that may be asked in all."""

    remaining: int
    labels: bool
    real: bool
    """Whether scores are also offered on a fine grid, under `ckks`."""

    offer: CatalogueOffer = field(repr=False)

    @property
    def path(self) -> str:
        """Holder and name, as `score` takes them."""
        return f"{self.holder}/{self.name}"

    @classmethod
    def of(cls, offer: CatalogueOffer) -> "OfferedCatalogue":
        """The catalogue of a verified offer."""
        spec = offer.specs[0]
        return cls(
            holder=offer.holder,
            name=offer.catalogue,
            rows=spec.rows,
            dimensions=spec.dimensions,
            metric="cosine" if spec.measure is Measure.COSINE else "inner",
            query_norm=spec.query_norm,
            limit=offer.limit,
            remaining=offer.remaining,
            labels=bool(offer.labels),
            real=offer.real is not None,
            offer=offer,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreExplanation:
    """A plan of a scoring; nothing was encrypted or sent for it but a question for the offers."""

    catalogue: OfferedCatalogue
    queries: int
    scheme: str
    parameter_set: str
    security: str
    megabits_per_s: float
    dimensions_per_ciphertext: int
    why: str
    packings: tuple[PackingCost, ...]
    """Every offered packing, cheapest first; empty under `ckks`, which has one."""

    upload_bytes: int
    reply_bytes: int
    seconds: float | None
    """Predicted; None where there is no model."""

    memory_bytes: int
    """Of the encoded catalogue, at the holder."""

    flooding_bits: float
    worst_error: float
    typical_error: float
    malicious_queries: int
    """Queries after which an analyst who breaks the rules could know all items."""

    aimed_queries: int
    """The same of one item, for such an analyst that knows the other items of its ciphertext already."""

    disclosure: tuple[tuple[str, str], ...]
    plan: ScorePlan | RealScorePlan = field(repr=False)

    def text(self) -> str:
        """For people."""
        found = self.catalogue
        predicted = f"about {self.seconds * 1000:.0f} ms" if self.seconds is not None else "no prediction"
        items = f"{found.rows:,} items of {found.path} ({found.metric})"
        flooding = f"{self.flooding_bits:.1f} bits of flooding"
        lines = [
            f"score {self.queries} of {found.dimensions} dimensions against {items}",
            f"scheme      {self.scheme}, {self.parameter_set}, {self.security}; {flooding}",
            f"packing     {self.dimensions_per_ciphertext} dimensions to a ciphertext: {self.why}",
        ]
        lines += [
            f"  {cost.spec.dimensions_per_ciphertext:>4} to a ciphertext: {cost.upload_bytes / 1e6:.2f} MB up, "
            f"{cost.reply_bytes / 1e6:.2f} MB down, {cost.memory_bytes / 1e6:.0f} MB at the holder, "
            f"about {cost.seconds * 1000:.0f} ms"
            for cost in self.packings
        ]
        told = (
            f"{found.dimensions} honest ones tell every item, {self.malicious_queries} of a cheat might; "
            f"{self.aimed_queries} one item to a cheat who knows the others"
        )
        lines += [
            f"bytes       {self.upload_bytes:,} up, {self.reply_bytes:,} down",
            f"time        {predicted} over {self.megabits_per_s:.0f} Mbit/s",
            f"precision   within {self.worst_error:.1e}, typically {self.typical_error:.1e}",
            f"budget      {found.remaining} of {found.limit} queries left; {told}",
            "who learns what",
        ]
        return "\n".join([*lines, *(f"  {who}: {what}" for who, what in self.disclosure)])

    def to_mapping(self) -> dict[str, Any]:
        """For machines."""
        found = self.catalogue
        kept = {n: getattr(self, n) for n in self.__slots__ if n not in {"catalogue", "packings", "plan", "disclosure"}}
        return {
            "catalogue": {n: getattr(found, n) for n in found.__slots__ if n != "offer"},
            **kept,
            "packings": [
                {
                    "dimensions_per_ciphertext": c.spec.dimensions_per_ciphertext,
                    "upload_bytes": c.upload_bytes,
                    "reply_bytes": c.reply_bytes,
                    "memory_bytes": c.memory_bytes,
                    "seconds": c.seconds,
                }
                for c in self.packings
            ],
            "disclosure": [{"who": who, "learned": what} for who, what in self.disclosure],
        }


def explain_scoring(
    found: OfferedCatalogue, queries: int, *, scheme: str = FIXED, line: Line | None = None
) -> ScoreExplanation:
    """Choose among what a holder offers.

    Raises:
        ParameterError: The scheme is not offered, or the numbers make no sense.
    """
    if queries not in range(1, MOST_QUERIES + 1):
        raise ParameterError(f"1 to {MOST_QUERIES} queries at once")
    megabits_per_s = (line or Line()).megabits_per_s
    if scheme not in {FIXED, REAL}:
        raise ParameterError(f"{scheme[:20]} is not a scheme of scorings: rlwe, or ckks where it is offered")
    plan: ScorePlan | RealScorePlan
    if scheme == REAL:
        real = found.offer.real_plan()
        if real is None:
            raise ParameterError("", reason="the holder does not offer real-valued scores (ckks) of this catalogue")
        plan, costs, why = real, [], "ckks has one form, a ciphertext per dimension"
        width, memory, typical = 1, real.memory_bytes, real.worst_error
        flooding = float(real.spec.flooding_bits)
    else:
        costs = offered_costs(found.offer.specs, bandwidth_bits_s=1e6 * megabits_per_s, queries=queries)
        chosen = costs[0]
        plan = chosen.spec.compile()
        width, memory, typical = chosen.spec.dimensions_per_ciphertext, chosen.memory_bytes, plan.typical_error
        why = f"the quickest of {len(costs)} offered over {megabits_per_s:.0f} Mbit/s"
        flooding = plan.product.flooding_bits
    shape = plan.shape
    if max(shape.query_bytes(queries), shape.reply_bytes(queries)) > MAX_SCORE_BYTES:
        raise ParameterError("a message of this scoring would be too long: ask fewer queries at once")
    security = plan.parameters.security if isinstance(plan, ScorePlan) else SecurityLevel.CLASSICAL_128
    return ScoreExplanation(
        catalogue=found,
        queries=queries,
        scheme=scheme,
        parameter_set=plan.parameters.id,
        security=security.value,
        megabits_per_s=megabits_per_s,
        dimensions_per_ciphertext=width,
        why=why,
        packings=tuple(costs),
        upload_bytes=shape.query_bytes(queries),
        reply_bytes=shape.reply_bytes(queries),
        seconds=costs[0].seconds if costs else None,
        memory_bytes=memory,
        flooding_bits=flooding,
        worst_error=plan.worst_error,
        typical_error=typical,
        malicious_queries=plan.malicious_queries,
        aimed_queries=plan.aimed_queries,
        disclosure=disclosures(found, queries, plan.worst_error),
        plan=plan,
    )


def disclosures(found: OfferedCatalogue, queries: int, error: float) -> tuple[tuple[str, str], ...]:
    """Who learns what from a scoring."""
    told = " and the items' labels" if found.labels else ""
    number = "one query" if queries == 1 else f"{queries} queries"
    scores = f"the score of each of the {found.rows:,} offered items, to within {error:.1e}{told}"
    limit = f"as many independent queries as there are dimensions ({found.dimensions}) would tell every item"
    return (
        ("the analyst", f"{scores}; {limit}"),
        (found.holder, f"that the analyst asked {number}, and when; nothing of the vectors"),
        ("the coordinator", "who asked whom, which catalogue, sizes and times; no vector, no score, no label"),
    )


def find_offer(offers: Sequence[OfferedCatalogue], catalogue: str, holder: str) -> OfferedCatalogue | None:
    """The offer that a name means (`ParameterError` where several parties offer one of that name)."""
    party, slash, name = catalogue.rpartition("/")
    if slash and holder and party != holder:
        raise ParameterError("", reason=f"the catalogue is of {party[:64]}, and holder says {holder[:64]}")
    wanted = holder or party
    found = [o for o in offers if o.name == name and (not wanted or o.holder == wanted)]
    if len(found) > 1:
        paths = ", ".join(o.path for o in found)
        raise ParameterError("", reason=f"several parties offer a catalogue of this name: {paths}")
    return found[0] if found else None
