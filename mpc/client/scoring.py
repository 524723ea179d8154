"""Scorings from the analyst's side: ask who offers what, encrypt, send, verify, open; `Analyst` calls it."""

import asyncio
import contextlib
import hashlib
import secrets
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.client.jobs import lifetime
from mpc.client.profile import Profile
from mpc.client.score_answer import ScoreAnswer, ScoreReport, ranked_rows
from mpc.client.score_plan import OfferedCatalogue, ScoreExplanation, disclosures, explain_scoring, find_offer
from mpc.client.score_query import best_of, query_vectors, rescaled
from mpc.client.score_upload import Upload
from mpc.errors import (
    BudgetExhausted,
    DeadlineExceeded,
    IntegrityError,
    MpcError,
    PolicyDenied,
    ProtocolError,
    WireError,
)
from mpc.keys.identity import verify_signed
from mpc.keys.secret import SealingKey
from mpc.keys.statements import Signed, Statement
from mpc.plan.cost import Line
from mpc.runtime import traces
from mpc.runtime.clock import Clock
from mpc.runtime.peers import STATUS_LOST, CoordinatorPeer
from mpc.score.querier import PendingScores, Querier, Scores
from mpc.score.spec import ScorePlan
from mpc.wire import messages as m
from mpc.wire.errors import from_notice
from mpc.wire.limits import CHUNK_BYTES, MAX_SEALED_BYTES
from mpc.wire.offers import CatalogueOffer
from mpc.wire.scoring import (
    CatalogueLabels,
    CatalogueQuestion,
    ScoreReceipt,
    ScoreRequest,
    labels_context,
    labels_digest,
    question_digest,
    score_request_digest,
)

__all__ = ["Scorer"]

_GRACE_S: Final = 5.0
_MOST_OFFERS: Final = 10_000


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """One request and what came back for it."""

    request: ScoreRequest
    reply: bytes = field(default=b"", repr=False)
    receipt: ScoreReceipt | None = None
    holder_s: float = 0.0


class Scorer:
    """Scorings of one analyst. Offers and labels are remembered while they hold.

    Args:
        profile: Name, keys and room.
        peer: The coordinator.
        clock: Time.
    """

    def __init__(self, profile: Profile, peer: CoordinatorPeer, clock: Clock) -> None:
        self._profile = profile
        self._peer = peer
        self._clock = clock
        self._offers: tuple[OfferedCatalogue, ...] | None = None
        self._labels: dict[bytes, list[Any]] = {}

    # ---- offers and labels -----------------------------------------------------------------------------------

    def _sign(self, statement: Statement) -> Signed:
        return self._profile.keys.identity().sign(statement, self._profile.name)

    def _question(self, **fields: Any) -> Signed:
        return self._sign(
            CatalogueQuestion(
                room=self._profile.manifest.room,
                asked_at=int(self._clock.now()),
                nonce=secrets.token_bytes(16),
                **fields,
            )
        )

    async def catalogues(self) -> tuple[OfferedCatalogue, ...]:
        """What parties offer to this analyst, each signed by its holder; a party that is away offers nothing.

        Raises:
            IntegrityError: A signature does not hold.
            ProtocolError: An offer is for something else.
        """
        signed = self._question()
        digest = question_digest(signed.payload)
        listed = await self._peer.catalogues(m.CataloguesRequest(question=signed))
        found = [self._verified(e.party, one, digest) for e in listed.entries for one in e.offers]
        away = {e.party: e.error for e in listed.entries if e.error is not None}
        if not found and away:
            party = min(away)
            raise from_notice(away[party], party=party)
        if len({o.path for o in found}) != len(found) or len(found) > _MOST_OFFERS:
            raise ProtocolError("", reason="a catalogue is offered twice")
        self._offers = tuple(sorted(found, key=lambda o: o.path))
        return self._offers

    def _verified(self, party: str, signed: Signed, digest: bytes) -> OfferedCatalogue:
        manifest = self._profile.manifest
        member = manifest.member(party)
        if member is None or party not in manifest.parties or signed.signer != party:
            raise ProtocolError("", reason="an offer of a stranger")
        offer = verify_signed(signed, CatalogueOffer, member.public_key)
        facts = (offer.room, offer.holder, offer.analyst, offer.question_digest)
        if facts != (manifest.room, party, self._profile.name, digest):
            raise ProtocolError("", reason="an offer is for something else", party=party)
        offer.check()
        return OfferedCatalogue.of(offer)

    async def find(self, catalogue: str, holder: str = "") -> OfferedCatalogue:
        """The catalogue that a name means.

        Raises:
            PolicyDenied: No party offers it to this analyst.
            ParameterError: Several do.
        """
        found = find_offer(self._offers, catalogue, holder) if self._offers is not None else None
        found = found or find_offer(await self.catalogues(), catalogue, holder)
        if found is None:
            reason = "no party that answers offers this analyst a catalogue of this name"
            instead = "sealroom catalogues lists what you may score"
            raise PolicyDenied("", catalogue=catalogue[:64], rule="catalogues", reason=reason, instead=instead)
        return found

    async def labels(self, found: OfferedCatalogue) -> list[Any]:
        """Labels of the items, by row.

        Raises:
            IntegrityError: They are not those that the holder signed for.
        """
        known = self._labels.get(found.offer.labels)
        if known is not None:
            return known
        sealing = SealingKey()
        signed = self._question(holder=found.holder, catalogue=found.name, sealing_key=sealing.public)
        digest = question_digest(signed.payload)
        parts: list[bytes] = []
        async for frame in self._peer.labels(m.LabelsRequest(question=signed)):
            parts.append(sealing.unseal(frame.sealed, context=labels_context(digest, len(parts))))
            if len(parts) * CHUNK_BYTES > MAX_SEALED_BYTES:
                raise WireError("a party sealed too much")
        encoded = b"".join(parts)
        if labels_digest(encoded) != found.offer.labels:
            raise IntegrityError("labels are not those of the offer", party=found.holder)
        try:
            labels: list[Any] = msgspec.msgpack.decode(encoded, type=CatalogueLabels).labels
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise WireError("labels are malformed", party=found.holder) from None
        if len(labels) != found.rows:
            raise ProtocolError("", reason="there is not one label per item", party=found.holder)
        self._labels[found.offer.labels] = labels
        return labels

    async def _labelled(self, catalogue: str, holder: str) -> tuple[OfferedCatalogue, list[Any] | None]:
        """The catalogue that a name means, with its labels; offers that are not of the present are asked for again."""
        remembered = self._offers is not None
        found = await self.find(catalogue, holder)
        try:
            return found, await self.labels(found) if found.labels else None
        except IntegrityError:
            if not remembered:
                raise
            self._offers = None  # a holder that started anew has other salt in its labels
            found = await self.find(catalogue, holder)
            return found, await self.labels(found) if found.labels else None

    # ---- scoring ---------------------------------------------------------------------------------------------

    async def explain(self, catalogue: str, *, holder: str, queries: int, scheme: str, line: Line) -> ScoreExplanation:
        """What a scoring would do; asks for the offers again, so that the budget is the present one."""
        self._offers = None
        found = await self.find(catalogue, holder)
        return explain_scoring(found, queries, scheme=scheme, line=line)

    async def score(
        self,
        query: ArrayLike,
        *,
        catalogue: str,
        holder: str,
        k: int | None,
        scheme: str,
        line: Line,
        rescale: bool,
        timeout_s: float,
    ) -> ScoreAnswer:
        """See `mpc.client.analyst.Analyst.score`."""
        started = time.monotonic()
        vectors = query_vectors(query)
        one = vectors.ndim == 1
        vectors = np.atleast_2d(vectors)
        lifetime_s = lifetime(timeout_s, self._profile.manifest.floor.job_lifetime_s)
        found, labels = await self._labelled(catalogue, holder)
        plan = explain_scoring(found, len(vectors), scheme=scheme, line=line)
        best = best_of(k, found.rows)
        vectors, factors = rescaled(found, vectors) if rescale else (vectors, None)
        prepared = time.monotonic()
        scores, exchange, phases = await self._exchanged(plan, vectors, lifetime_s)
        opened = time.monotonic()
        values = scores.values if factors is None else scores.values * factors[:, None]
        rows = ranked_rows(scores, values, best, labels, batch=not one)
        ended = time.monotonic()
        phases = {"prepare": prepared - started, **phases, "rank": ended - opened}
        columns = (*(() if one else ("query",)), "item", *(("label",) if labels is not None else ()), "score")
        longest = 1.0 if factors is None else float(factors.max())
        report = self._report(plan, exchange, ended - started, phases, longest)
        return ScoreAnswer(columns, rows, report, values[0] if one else values)

    async def _exchanged(
        self, plan: ScoreExplanation, vectors: NDArray[np.float64], lifetime_s: int
    ) -> tuple[Scores, _Exchange, dict[str, float]]:
        """Encrypt, send, verify and open; the key is destroyed whatever happens."""
        start = time.monotonic()
        querier = _querier(plan)
        sent = await asyncio.to_thread(querier.ask, vectors)
        try:
            asked = time.monotonic()
            (message,) = sent.messages
            exchange = await self._send(plan, message, lifetime_s)
            answered = time.monotonic()
            scores = _scores((await asyncio.to_thread(querier.receive, sent.state, exchange.reply)).result)
        finally:
            _forget(sent.state)
        phases = {
            "encrypt": asked - start,
            "holder": exchange.holder_s,
            "carry": answered - asked - exchange.holder_s,
            "open": time.monotonic() - answered,
        }
        return scores, exchange, phases

    async def _send(self, plan: ScoreExplanation, message: bytes, lifetime_s: int) -> _Exchange:
        manifest, now = self._profile.manifest, int(self._clock.now())
        request = ScoreRequest(
            room=manifest.room,
            job=secrets.token_hex(16),
            holder=plan.catalogue.holder,
            catalogue=plan.catalogue.name,
            spec_digest=plan.plan.spec.digest(),
            queries=plan.queries,
            query_digest=await asyncio.to_thread(lambda: hashlib.sha256(message).digest()),
            query_bytes=len(message),
            reply_bytes=plan.reply_bytes,
            issued_at=now,
            expires_at=now + lifetime_s,
        )
        signed = self._sign(request)
        exchange = _Exchange(request=request)
        try:
            with traces.span("score", job=request.job[:8]):
                async with asyncio.timeout(lifetime_s + _GRACE_S):
                    await self._converse(signed, message, exchange)
        except TimeoutError:
            raise DeadlineExceeded("", job=request.job) from None
        except MpcError as error:
            found = await self._recorded(request.job, error)
            if isinstance(found, BudgetExhausted) or "catalogue" in found.fields:
                self._offers = None  # what was offered does not hold any more
            raise found from None
        return exchange

    async def _recorded(self, job: str, error: MpcError) -> MpcError:
        """The coordinator's record of how a scoring ended, where the call ended in the middle of a send without it."""
        if error.fields.get("reason") == STATUS_LOST:
            with contextlib.suppress(MpcError):
                async for event in self._peer.watch(m.WatchRequest(job=job)):
                    if event.error is not None:
                        return from_notice(event.error)
        return error

    async def _converse(self, signed: Signed, message: bytes, exchange: _Exchange) -> None:
        parts: list[bytes] = []
        digest, left = hashlib.sha256(), exchange.request.reply_bytes
        upload = Upload(signed, message)
        try:
            async with aclosing(self._peer.score(upload.frames())) as frames:  # type: ignore[type-var]
                async for frame in frames:
                    if not upload.begun.is_set():
                        if frame != m.ScoreReplyFrame():
                            raise WireError("a reply begins before its request is taken")
                        upload.begun.set()
                        continue
                    left -= len(frame.data)
                    if left < 0 or exchange.receipt is not None or bool(frame.data) == (frame.receipt is not None):
                        raise WireError("a reply has another length than was asked for")
                    if frame.receipt is not None:
                        exchange.receipt = self._receipt(frame.receipt, signed, exchange.request, digest.digest())
                        exchange.holder_s = frame.seconds
                    else:
                        digest.update(frame.data)
                        parts.append(frame.data)
        finally:
            upload.end()
        if left or exchange.receipt is None:
            raise WireError("a reply ends too early")
        exchange.reply = b"".join(parts)

    def _receipt(self, signed: Signed, request: Signed, asked: ScoreRequest, reply_digest: bytes) -> ScoreReceipt:
        """The holder's word for this reply.

        Raises:
            IntegrityError: Its signature does not hold, or it is for another reply or request.
        """
        member = self._profile.manifest.member(asked.holder)
        if member is None or signed.signer != asked.holder:
            raise ProtocolError("", reason="a receipt of a stranger")
        receipt = verify_signed(signed, ScoreReceipt, member.public_key)
        facts = (receipt.room, receipt.job, receipt.holder, receipt.request_digest, receipt.reply_digest)
        if facts != (asked.room, asked.job, asked.holder, score_request_digest(request.payload), reply_digest):
            raise IntegrityError("a receipt is for another reply", party=asked.holder, job=asked.job)
        return receipt

    def _report(
        self, plan: ScoreExplanation, exchange: _Exchange, seconds: float, phases: dict[str, float], longest: float
    ) -> ScoreReport:
        """Cost and precision; errors grow with the factor that a rescaled query's scores are brought back by."""
        found, shape = plan.catalogue, plan.plan.shape
        assert exchange.receipt is not None
        return ScoreReport(
            job=exchange.request.job,
            scheme=plan.scheme,
            parameter_set=plan.parameter_set,
            security=plan.security,
            participants=(found.holder,),
            ciphertexts=plan.queries * shape.rows,
            bytes_received=len(exchange.reply),
            seconds=seconds,
            phases=phases,
            disclosure=disclosures(found, plan.queries, plan.worst_error * longest),
            catalogue=found.name,
            holder=found.holder,
            queries=plan.queries,
            rows=found.rows,
            bytes_sent=plan.upload_bytes,
            remaining=exchange.receipt.remaining,
            flooding_bits=plan.flooding_bits,
            worst_error=plan.worst_error * longest,
            typical_error=plan.typical_error * longest,
        )


def _querier(plan: ScoreExplanation) -> Any:
    if isinstance(plan.plan, ScorePlan):
        return Querier(plan.plan)
    from mpc.score.real_querier import RealQuerier  # TenSEAL is loaded where it is asked for

    return RealQuerier(plan.plan)


def _scores(opened: Any) -> Scores:
    """Fixed-point scores, or grid values as such."""
    return opened if isinstance(opened, Scores) else Scores(integers=opened.steps, scale=2.0**opened.grid_bits)


def _forget(state: Any) -> None:
    """Destroy a key that was not used up."""
    if isinstance(state, PendingScores):
        state.key.destroy()
    else:
        state.reader.destroy()
