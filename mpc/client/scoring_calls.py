"""What an analyst may ask of catalogues: the part of `Analyst` that scores."""

from dataclasses import dataclass, field

from numpy.typing import ArrayLike

from mpc.client.profile import Profile
from mpc.client.score_answer import ScoreAnswer
from mpc.client.score_plan import OfferedCatalogue, ScoreExplanation
from mpc.client.scoring import Scorer
from mpc.plan.cost import Line
from mpc.runtime.clock import Clock
from mpc.runtime.peers import CoordinatorPeer

__all__ = ["ScoringCalls"]


@dataclass(slots=True, kw_only=True)
class ScoringCalls:
    """An analyst who scores.

    Args:
        profile: Name, keys and room.
        peer: The coordinator.
        clock: Time.
    """

    profile: Profile
    peer: CoordinatorPeer
    clock: Clock
    _scorer: Scorer | None = field(default=None, init=False, repr=False)

    @property
    def scorer(self) -> Scorer:
        """The scorings of this analyst, with the offers and labels that it remembers."""
        if self._scorer is None:
            self._scorer = Scorer(self.profile, self.peer, self.clock)
        return self._scorer

    async def catalogues(self) -> tuple[OfferedCatalogue, ...]:
        """Catalogues that parties offer to this analyst, each offer signed by its holder."""
        return await self.scorer.catalogues()

    async def score(
        self,
        query: ArrayLike,
        catalogue: str,
        k: int | None = 10,
        *,
        holder: str = "",
        scheme: str = "rlwe",
        line: Line | None = None,
        rescale: bool = False,
        timeout_s: float = 600.0,
    ) -> ScoreAnswer:
        """Score a catalogue's items for encrypted queries and open the scores.

        Args:
            query: A vector `(dimensions,)`, or a batch `(queries, dimensions)`.
            catalogue: Its name, or `holder/name`.
            k: How many of the best items become rows, at most; None for all. All scores arrive in any case.
            holder: Whose catalogue, where several parties have one of this name.
            scheme: `rlwe`, exact for fixed-point vectors; or `ckks` for real values where the holder offers it.
            line: The line to the holder, by which the packing is chosen; 1 Gbit/s if not given.
            rescale: Bring queries of inner products to the declared norm, and their scores back; otherwise a longer
                query is a `RangeError`, before anything is sent.
            timeout_s: The job's lifetime.

        Reveals: to the analyst, the scores; to holder and coordinator, that there were so many queries, and when.

        Raises:
            RangeError: A query leaves its declared norm; nothing was sent.
            PolicyDenied: No party offers this analyst such a catalogue.
            BudgetExhausted: The holder answers no more of this analyst's queries.
            IntegrityError: A message was changed on its way.
        """
        return await self.scorer.score(
            query,
            catalogue=catalogue,
            holder=holder,
            k=k,
            scheme=scheme,
            line=line or Line(),
            rescale=rescale,
            timeout_s=timeout_s,
        )

    async def explain_score(
        self,
        catalogue: str,
        *,
        holder: str = "",
        queries: int = 1,
        scheme: str = "rlwe",
        line: Line | None = None,
    ) -> ScoreExplanation:
        """What a scoring would do: packing and why, bytes, seconds, precision, budget, and who learns what."""
        return await self.scorer.explain(catalogue, holder=holder, queries=queries, scheme=scheme, line=line or Line())
