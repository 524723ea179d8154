"""What a holder offers to be scored, signed by it. The coordinator relays offers and does not read them."""

from typing import ClassVar

from mpc.errors import ProtocolError
from mpc.keys.statements import Statement
from mpc.score.real_spec import RealScorePlan, RealScoreSpec
from mpc.score.spec import ScorePlan, ScoreSpec

__all__ = ["CatalogueOffer"]


class CatalogueOffer(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One catalogue as one analyst may use it: the public specs, and what is left of the analyst's budget."""

    label: ClassVar[str] = "sealroom/v1/catalogue-offer"

    room: str
    holder: str
    analyst: str
    question_digest: bytes
    """Of the question that this answers."""

    catalogue: str
    specs: tuple[ScoreSpec, ...]
    """Fixed-point scorings, one per packing."""

    real: RealScoreSpec | None
    """The scoring of real-valued vectors, where the holder offers it."""

    limit: int
    """Queries that the analyst may ask in all."""

    remaining: int
    labels: bytes
    """Digest of the items' labels; empty where they are not offered."""

    def check(self) -> None:
        """Refuse an offer whose specs are not those of one catalogue.

        Raises:
            ProtocolError: They differ in more than their packing.
            ParameterError: One cannot be computed.
        """
        every = (*self.specs, *((self.real,) if self.real else ()))
        facts = {(s.catalogue, s.rows, s.dimensions, s.measure, s.query_norm, s.item_norm) for s in every}
        if (
            not 0 < len(self.specs) <= 64
            or len(facts) != 1
            or every[0].catalogue != self.catalogue
            or len(self.labels) not in {0, 32}
        ):
            raise ProtocolError("", reason="an offer contradicts itself", party=self.holder)
        if not 0 <= self.remaining <= self.limit < every[0].dimensions:
            raise ProtocolError("", reason="an offer's budget contradicts its dimensions", party=self.holder)

    def plans(self) -> list[ScorePlan]:
        """The fixed-point scorings, checked."""
        return [spec.compile() for spec in self.specs]

    def real_plan(self) -> RealScorePlan | None:
        """The real-valued scoring, checked."""
        return self.real.compile() if self.real else None
