"""The holder's part in scorings: offer catalogues, tell labels, answer encrypted queries within the owner's limits.

Every question is signed by an analyst and judged here against the owner's policy, whatever the coordinator did. An
answer is charged, and its request remembered, in one durable transaction before anything is computed.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

from mpc.errors import (
    DeadlineExceeded,
    IntegrityError,
    MpcError,
    PartyUnavailable,
    PolicyDenied,
    ProtocolError,
    ResourceExhausted,
    WireError,
)
from mpc.keys.identity import IdentityKey, verify_signed
from mpc.keys.manifest import Manifest
from mpc.keys.secret import seal
from mpc.keys.statements import Signed
from mpc.parties import PartyId
from mpc.runtime import traces
from mpc.runtime.clock import Clock
from mpc.runtime.metrics import Metrics
from mpc.score.budget import QueryBudget
from mpc.score.messages import decode_query
from mpc.score.real_spec import RealScorePlan
from mpc.score.spec import ScorePlan
from mpc.wire import messages as m
from mpc.wire.job import analyst_of
from mpc.wire.limits import CHUNK_BYTES
from mpc.wire.offers import CatalogueOffer
from mpc.wire.scoring import (
    SCORE_KIND,
    CatalogueQuestion,
    ScoreReceipt,
    ScoreRequest,
    labels_context,
    question_digest,
    score_request_digest,
)
from servers.party.catalogue_loading import Offered
from servers.party.catalogue_spec import ScoringLimits
from servers.party.shelf import RealShelf, Shelf
from servers.party.statements import required

__all__ = ["Scoring"]

log = logging.getLogger(__name__)

_SEALED_BYTES: Final = CHUNK_BYTES // 2

_UPLOAD_GRACE_S: Final = 30.0
_SLOWEST_BYTES_S: Final = 1 << 16
"""A place is not kept longer for a query message than a line of half a megabit a second would need, and the grace."""


class Scoring:
    """One party's catalogues, without their transport.

    Args:
        name: This party.
        manifest: The room.
        identity: The signing key.
        budget: The durable ledger of answered queries.
        limits: What answering may use.
        clock: Time.
        real: Where catalogues under `ckks` are kept.
        metrics: Counters.
    """

    def __init__(
        self,
        *,
        name: PartyId,
        manifest: Manifest,
        identity: IdentityKey,
        budget: QueryBudget,
        limits: ScoringLimits,
        clock: Clock,
        real: RealShelf,
        metrics: Metrics | None = None,
    ) -> None:
        self._name = name
        self._manifest = manifest
        self._identity = identity
        self._budget = budget
        self._limits = limits
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._executor = ThreadPoolExecutor(limits.at_once, thread_name_prefix="scoring")
        self._real = real
        self._shelf = Shelf(limits.memory_bytes, self._executor)
        self._metrics.watch(
            "sealroom_catalogue_bytes", "Memory of encoded catalogues.", self._shelf.memory, label="catalogue"
        )
        self._slots = asyncio.Semaphore(limits.at_once)
        self._taken = 0
        self._offered: Mapping[str, Offered] = {}
        self._loading: asyncio.Future[None] | None = None
        self._draining = False

    # ---- catalogues ------------------------------------------------------------------------------------------

    def expect(self, loading: "asyncio.Future[None]") -> None:
        """Let questions wait until catalogues have been read."""
        self._loading = loading

    def put_up(self, offered: Mapping[str, Offered]) -> None:
        """Offer catalogues from now on."""
        self._offered = dict(offered)

    async def prepare(self, name: str) -> None:
        """Encode a catalogue ahead, in the packing that suits a fast line."""
        offered = self._offered[name]
        await self._shelf.holder(next(iter(offered.plans.values())), offered.catalogue)

    async def _ready(self) -> None:
        if self._loading is not None:
            await asyncio.shield(self._loading)

    def _question(self, signed: Signed | None) -> tuple[str, CatalogueQuestion, bytes]:
        signed = required(signed)
        question = verify_signed(signed, CatalogueQuestion, analyst_of(self._manifest, signed.signer))
        question.check(self._manifest, now=self._clock.now())
        return signed.signer, question, question_digest(signed.payload)

    def _find(self, catalogue: str, analyst: str) -> Offered:
        """A catalogue that the policy lets an analyst score; others are not told apart from those that do not exist."""
        found = self._offered.get(catalogue)
        if found is None or not found.rule.admits(analyst):
            raise PolicyDenied("", party=self._name, catalogue=catalogue, rule="catalogues")
        return found

    async def catalogues(self, message: m.CataloguesRequest) -> m.CatalogueOffers:
        """What the analyst who signed the question may score.

        Reveals: to the coordinator and the analyst, the public specs and what is left of the analyst's budget.
        """
        analyst, _, digest = self._question(message.question)
        await self._ready()
        offers = [
            self._identity.sign(self._offer(name, offered, analyst, digest), self._name)
            for name, offered in sorted(self._offered.items())
            if offered.rule.admits(analyst)
        ]
        return m.CatalogueOffers(offers=tuple(offers))

    def _offer(self, name: str, offered: Offered, analyst: str, digest: bytes) -> CatalogueOffer:
        return CatalogueOffer(
            room=self._manifest.room,
            holder=self._name,
            analyst=analyst,
            question_digest=digest,
            catalogue=name,
            specs=tuple(plan.spec for plan in offered.plans.values()),
            real=offered.real.spec if offered.real else None,
            limit=offered.limit.per_client,
            remaining=self._budget.remaining(PartyId(analyst), name, limit=offered.limit),
            labels=offered.labels_digest,
        )

    async def labels(self, message: m.LabelsRequest) -> AsyncIterator[m.LabelsFrame]:
        """The labels of a catalogue's items, sealed to the analyst.

        Reveals: to the analyst, the labels; to the coordinator, their length.
        """
        analyst, question, digest = self._question(message.question)
        await self._ready()
        offered = self._find(question.catalogue, analyst)
        if question.holder != self._name or not question.sealing_key:
            raise ProtocolError("", reason="the question is for another party, or names no key")
        if not offered.labels:
            raise PolicyDenied("", party=self._name, catalogue=question.catalogue, rule="labels")
        for index, start in enumerate(range(0, len(offered.labels), _SEALED_BYTES)):
            part = offered.labels[start : start + _SEALED_BYTES]
            yield m.LabelsFrame(sealed=seal(question.sealing_key, part, context=labels_context(digest, index)))

    # ---- answers ---------------------------------------------------------------------------------------------

    async def score(self, frames: AsyncIterator[m.ScoreFrame]) -> AsyncIterator[m.ScoreReplyFrame]:
        """Answer encrypted queries once.

        Reveals: to the analyst, all scores of its queries; to the coordinator, sizes and times.
        """
        if self._draining:
            raise PartyUnavailable("", party=self._name, reason="it is stopping, and takes no new jobs")
        first = await anext(aiter(frames), None)
        if first is None or first.data:
            raise WireError("the first frame carries the signed request alone")
        signed = required(first.request)
        request = verify_signed(signed, ScoreRequest, analyst_of(self._manifest, signed.signer))
        if request.check(self._manifest, now=self._clock.now()) != self._name:
            raise ProtocolError("", reason="the request is for another party")
        outcome = MpcError.code
        try:
            offered, plan = await self._admitted(signed, request)
            async with self._slot(request):
                yield m.ScoreReplyFrame()  # nobody sends megabytes to be refused
                reply, seconds = await self._answered(offered, plan, signed, request, frames)
            for start in range(0, len(reply), CHUNK_BYTES):
                yield m.ScoreReplyFrame(data=reply[start : start + CHUNK_BYTES])
            receipt = await asyncio.to_thread(self._receipt, signed, request, reply)
            yield m.ScoreReplyFrame(receipt=receipt, seconds=seconds)
            outcome = "released"
        except MpcError as error:
            outcome = error.code
            raise
        finally:
            self._metrics.job_ended(SCORE_KIND, outcome)

    async def _admitted(self, signed: Signed, request: ScoreRequest) -> tuple[Offered, ScorePlan | RealScorePlan]:
        """What is asked for, if policy, specification and budget allow it at this moment."""
        await self._ready()
        offered = self._find(request.catalogue, signed.signer)
        plan = self._plan(offered, request)
        client = PartyId(signed.signer)
        await asyncio.to_thread(
            self._budget.require, client, request.catalogue, request.queries, limit=offered.limit, job=request.job
        )
        return offered, plan

    def _until(self, request: ScoreRequest) -> asyncio.Timeout:
        return asyncio.timeout(max(0.0, request.expires_at - self._clock.now()))

    async def _answered(
        self,
        offered: Offered,
        plan: ScorePlan | RealScorePlan,
        signed: Signed,
        request: ScoreRequest,
        frames: AsyncIterator[m.ScoreFrame],
    ) -> tuple[bytes, float]:
        try:
            async with self._until(request):
                async with asyncio.timeout(_UPLOAD_GRACE_S + request.query_bytes / _SLOWEST_BYTES_S):
                    message = await self._receive(request, frames)
                started = self._clock.monotonic()
                with traces.span("score", job=request.job[:8], queries=request.queries):
                    reply = await self._compute(offered, plan, signed, request, message)
        except TimeoutError:
            raise DeadlineExceeded("", party=self._name, job=request.job) from None
        seconds = self._clock.monotonic() - started
        self._metrics.phase("score", seconds)
        self._metrics.moved("received", request.queries * plan.shape.terms, len(message))
        self._metrics.moved("sent", request.queries * plan.shape.rows, len(reply))
        return reply, seconds

    def _plan(self, offered: Offered, request: ScoreRequest) -> ScorePlan | RealScorePlan:
        """The scoring that is meant, with the lengths that it implies."""
        plan: ScorePlan | RealScorePlan | None = offered.plans.get(request.spec_digest)
        if plan is None and offered.real is not None and offered.real.spec.digest() == request.spec_digest:
            plan = offered.real
        if plan is None:
            raise ProtocolError(
                "", catalogue=request.catalogue, reason="the catalogue is offered under another specification now"
            )
        shape = plan.shape
        sizes = (shape.query_bytes(request.queries), shape.reply_bytes(request.queries))
        if sizes != (request.query_bytes, request.reply_bytes):
            raise ProtocolError("", reason="the lengths are not those of the specification")
        if request.query_bytes > self._limits.message_bytes:
            raise ResourceExhausted("", limit="bytes of a query message", instead="ask for fewer queries at once")
        return plan

    @asynccontextmanager
    async def _slot(self, request: ScoreRequest) -> AsyncIterator[None]:
        """Wait for one of the places where queries are taken and computed."""
        if self._taken >= self._limits.at_once + self._limits.waiting:
            raise ResourceExhausted("", limit="queries at work")
        self._taken += 1
        try:
            try:
                async with self._until(request):
                    await self._slots.acquire()
            except TimeoutError:
                raise DeadlineExceeded("", party=self._name, job=request.job) from None
            try:
                yield
            finally:
                self._slots.release()
        finally:
            self._taken -= 1

    async def _receive(self, request: ScoreRequest, frames: AsyncIterator[m.ScoreFrame]) -> bytes:
        """The query message, of exactly the signed length and digest."""
        parts: list[bytes] = []
        left, digest = request.query_bytes, hashlib.sha256()
        async for frame in frames:
            left -= len(frame.data)
            if frame.request is not None or not frame.data or left < 0:
                raise WireError("a query message is longer than its request says, or a stretch of it is empty")
            digest.update(frame.data)
            parts.append(frame.data)
        if left or digest.digest() != request.query_digest:
            raise IntegrityError("the query message is not the one that the analyst signed", job=request.job)
        return b"".join(parts)

    async def _compute(
        self,
        offered: Offered,
        plan: ScorePlan | RealScorePlan,
        signed: Signed,
        request: ScoreRequest,
        message: bytes,
    ) -> bytes:
        def charge(queries: int) -> None:
            if queries != request.queries:
                raise WireError("a query message has another number of queries than its request says")
            self._budget.charge(
                PartyId(signed.signer),
                request.catalogue,
                queries,
                limit=offered.limit,
                dimensions=offered.catalogue.dimensions,
                job=request.job,
                request=score_request_digest(signed.payload),
            )

        if isinstance(plan, RealScorePlan):
            await self._real.hold(plan, offered.catalogue)
            # Only the header is read here; the worker reads the rest. A malformed query was signed, and is paid for.
            await asyncio.to_thread(charge, len(decode_query(plan.shape, message).ciphertexts))
            return await self._real.answer(plan, offered.catalogue, message)
        holder = await self._shelf.holder(plan, offered.catalogue)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: holder.answer(message, charge=charge).result)

    def _receipt(self, signed: Signed, request: ScoreRequest, reply: bytes) -> Signed:
        limit = self._offered[request.catalogue].limit
        receipt = ScoreReceipt(
            room=self._manifest.room,
            job=request.job,
            holder=self._name,
            request_digest=score_request_digest(signed.payload),
            reply_digest=hashlib.sha256(reply).digest(),
            remaining=self._budget.remaining(PartyId(signed.signer), request.catalogue, limit=limit),
        )
        return self._identity.sign(receipt, self._name)

    # ---- ends ------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Refuse new queries from now on, and wait until those that were taken are answered."""
        self._draining = True
        while self._taken:
            await self._clock.sleep(0.05)

    async def close(self) -> None:
        """End the workers and close the ledger."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        await self._real.close()
        self._budget.close()
