"""The analyst's side, asynchronous: compile, ask, open. `mpc.client.client` is the same for callers without a loop."""

import datetime as dt
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mpc.client.analysis import Analysis
from mpc.client.answer import Answer, Report
from mpc.client.jobs import KeyPool, Note, NoteReader, Outcome, PreparedJob, Watcher, latest
from mpc.client.profile import Profile
from mpc.client.scoring_calls import ScoringCalls
from mpc.client.training import Measured, Step, Trained, evaluation_set, measured, trained
from mpc.errors import ParameterError, PlanError, ProtocolError
from mpc.keys.dictionary import Dictionary, Table
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.learn import Spec, TrainingExplanation, complete, explain_training, spec_from_mapping, to_mapping
from mpc.learn.digest import evaluation_digest, training_digest
from mpc.params import parameter_set
from mpc.plan import Explanation, QueryPlan, compile_query, explain, finish_query, fold_now, value_header
from mpc.plan.constants import calibrated_model
from mpc.plan.cost import Line
from mpc.primitives import SumHeader
from mpc.runtime import traces
from mpc.runtime.channel import GrpcCoordinatorPeer
from mpc.runtime.clock import Clock, SystemClock
from mpc.runtime.peers import CoordinatorPeer
from mpc.runtime.tls import CurrentLeaf
from mpc.schemes.base import Ability
from mpc.schemes.public import abilities
from mpc.sum.transcript import WIRE_VERSION
from mpc.wire import messages as m
from mpc.wire.job import JobKind

__all__ = ["Analyst"]


@dataclass(slots=True, kw_only=True)
class Analyst(ScoringCalls):
    """An analyst connected to a room's coordinator.

    Args:
        profile: Name, keys and room.
        peer: The coordinator.
        clock: Time.
    """

    profile: Profile
    peer: CoordinatorPeer
    clock: Clock
    keys: KeyPool
    key_exchange: str = ""

    @classmethod
    def connect(cls, profile: Profile) -> "Analyst":
        """Open a channel to the room's coordinator; it connects with the first call."""
        traces.set_up(profile.name)
        peer = GrpcCoordinatorPeer(profile.manifest.coordinator, CurrentLeaf(profile.keys))
        return cls(profile=profile, peer=peer, clock=SystemClock(), keys=KeyPool())

    @property
    def dictionary(self) -> Dictionary:
        """The tables of the room."""
        return self.profile.manifest.dictionary

    async def describe(self) -> m.Description:
        """Ask the coordinator what it is, and refuse one of another room or version.

        Raises:
            ProtocolError: Versions or rooms do not fit.
        """
        found = await self.peer.describe(m.DescribeRequest(wire_version=WIRE_VERSION))
        if found.wire_version != WIRE_VERSION:
            reason = f"it speaks wire version {found.wire_version}, this client {WIRE_VERSION}"
            raise ProtocolError("", member=found.member, reason=reason)
        if found.room != self.profile.manifest.room:
            raise ProtocolError("", member=found.member, reason="it serves another version of the room")
        self.key_exchange = found.key_exchange
        return found

    async def survey(self) -> m.SurveyReply:
        """Ask every party, through the coordinator, whether it answers."""
        return await self.peer.survey(m.DescribeRequest(wire_version=WIRE_VERSION))

    async def jobs(self, most: int = 50) -> m.JobList:
        """This analyst's jobs, newest first."""
        return await self.peer.list(m.ListRequest(most=most))

    async def cancel(self, job: str) -> None:
        """Cancel a running job."""
        await self.peer.cancel(m.JobReference(job=job))

    def compile(self, sql: str) -> QueryPlan:
        """Compile a query against the room's dictionary; now() is folded to the present first.

        Raises:
            PlanError: The query cannot be answered; names the offset, the reason and what to write instead.
        """
        now = dt.datetime.fromtimestamp(self.clock.now(), dt.UTC)
        return compile_query(fold_now(sql, now), self.dictionary)

    async def sql(
        self,
        text: str,
        *,
        scheme: str | None = None,
        line: Line | None = None,
        timeout_s: float = 600.0,
        watcher: Watcher | None = None,
    ) -> Answer:
        """Ask a query and open its answer.

        Args:
            text: SQL over the room's logical tables.
            scheme: A scheme or a parameter set instead of the planner's choice; `clear` runs without encryption where
                every owner's policy allows it.
            line: The line between the members, for the planner's choice; a local network if not stated.
            timeout_s: The job's lifetime.
            watcher: Called with every event of the job.

        Reveals: to the analyst, the opened totals; to the others what EXPLAIN lists.
        """
        started = time.monotonic()
        plan = self.compile(text)
        explanation = self._explain(plan, scheme, line)
        participants, chosen = self.participants(plan.table), explanation.parameter_set
        compiled = time.monotonic()
        job = PreparedJob.sign(
            manifest=self.profile.manifest,
            name=self.profile.name,
            identity=self.profile.keys.identity(),
            clock=self.clock,
            keys=await self.keys.take(chosen),
            kind=JobKind.SQL,
            body=plan.sql,
            plan_digest=plan.digest,
            participants=participants,
            timeout_s=timeout_s,
        )
        signed = time.monotonic()

        def header_of(_round: int, notes: Sequence[Note]) -> SumHeader:
            return value_header(plan, group_keys(plan, notes))

        outcome = await job.run(self.peer, header_of, watcher)
        self.keys.prepare(chosen)
        opened = time.monotonic()
        if len(outcome.totals) != 1:
            raise ProtocolError("", reason="the answer does not have one opened round")
        (totals,) = outcome.totals.values()
        table = finish_query(plan, totals, group_keys(plan, outcome.notes))
        ended = time.monotonic()
        outcome.phases = {
            "compile": compiled - started,
            "keys": signed - compiled,
            **outcome.phases,
            "finish": ended - opened,
        }
        columns = tuple(c.name for c in table.columns)
        learned = tuple((d.who, d.what) for d in explanation.disclosures)
        return Answer(columns, table.rows, self._report(outcome, ended - started, learned))

    def sign_training(
        self,
        spec: Spec,
        keys: tuple[PublicKey, SecretKey],
        *,
        timeout_s: float,
        resume: str = "",
        attempt: int = 1,
    ) -> PreparedJob:
        """Complete a spec from the dictionary and sign a training job for it.

        Raises:
            PlanError: The spec does not fit the room's tables.
        """
        table = self.table_of(spec)
        return PreparedJob.sign(
            manifest=self.profile.manifest,
            name=self.profile.name,
            identity=self.profile.keys.identity(),
            clock=self.clock,
            keys=keys,
            kind=JobKind.TRAIN,
            body=json.dumps(to_mapping(spec), sort_keys=True),
            plan_digest=training_digest(complete(spec, table)),
            participants=table.parties,
            timeout_s=timeout_s,
            job=resume,
            attempt=attempt,
        )

    def explain_training(self, spec: Spec, *, scheme: str | None = None) -> TrainingExplanation:
        """What a training would sum, at what price, and who would learn what; nothing is sent.

        Raises:
            PlanError: The spec does not fit the room's tables.
        """
        table = self.table_of(spec)
        return explain_training(complete(spec, table), table.parties, scheme=scheme, model=calibrated_model())

    def table_of(self, spec: Spec) -> Table:
        """The table of the room that a spec names (`PlanError` if there is none)."""
        table = self.dictionary.table(str(getattr(spec, "table", "")))
        if table is None:
            raise PlanError("", reason="the training spec names no table of the room")
        return table

    async def evaluate(
        self, model: str, spec: Spec, *, scheme: str | None = None, timeout_s: float = 600.0
    ) -> Measured:
        """Measure a model that the parties trained and kept, each on its own held-out rows.

        Args:
            model: The model's digest.
            spec: What it was trained from; only the hold-out may differ.
            scheme: A scheme or parameter set instead of the planner's choice.
            timeout_s: The job's lifetime.

        Reveals: to the parties and the analyst, the summed measures; to the coordinator, sizes and times.

        Raises:
            PlanError: The spec has no hold-out, or a party does not hold the model.
        """
        started = self.clock.monotonic()
        table = self.table_of(spec)
        completed = complete(spec, table)
        job = PreparedJob.sign(
            manifest=self.profile.manifest,
            name=self.profile.name,
            identity=self.profile.keys.identity(),
            clock=self.clock,
            keys=await self.keys.take(evaluation_set(completed, len(table.parties), scheme)),
            kind=JobKind.EVALUATE,
            body=json.dumps({"model": model, "spec": to_mapping(spec)}, sort_keys=True),
            plan_digest=evaluation_digest(model, completed),
            participants=table.parties,
            timeout_s=timeout_s,
        )
        outcome = await job.run(self.peer, no_round)
        learned = (("parties and analyst", "the summed quality measures on the held-out rows"),)
        report = self._report(outcome, self.clock.monotonic() - started, learned)
        return measured(outcome.notes, job.request.participants, report)

    async def train(self, job: PreparedJob, on_step: Callable[[Step], None]) -> Trained:
        """Run a signed training job to its end.

        Reveals: to the parties, every opened sum of the training (the model is among them); to the analyst, the model,
        the metrics and the progress; to the coordinator, sizes and times.
        """
        started = self.clock.monotonic()
        reader = NoteReader(job)
        added: dict[int, int] = {}
        parameters = parameter_set(job.request.parameter_set)
        seeded = Ability.SEEDS in abilities(parameters.scheme)
        size = parameters.symmetric_ciphertext_bytes if seeded else parameters.ciphertext_bytes

        def watch(event: m.JobEvent) -> None:
            if event.step == "add":
                added[event.round] = event.ciphertexts_done
            if event.sealed and event.party:
                for note in reader.feed(event.party, event.sealed):
                    if note.kind == "progress" and note.party == job.request.participants[0]:
                        step = msgspec.json.decode(note.body, type=Step)
                        sent = size * sum(added.values())
                        on_step(msgspec.structs.replace(step, seconds=event.seconds, sent_bytes=sent))

        outcome = await job.run(self.peer, no_round, watch)
        learned = self.explain_training(spec_from_mapping(json.loads(job.request.body))).disclosures
        report = self._report(outcome, self.clock.monotonic() - started, learned)
        return trained(outcome.notes, job.request.participants, report)

    def participants(self, table: str) -> tuple[str, ...]:
        """The parties that hold rows of a table."""
        found = self.dictionary.table(table)
        if found is None:
            raise ParameterError(f"no table {table}")
        return tuple(sorted(found.parties))

    def explain(self, text: str, *, scheme: str | None = None, line: Line | None = None) -> Explanation:
        """What a query would do: steps, scheme and why, bytes, predicted seconds, and who learns what.

        Raises:
            PlanError: The query cannot be answered.
        """
        plan = self.compile(text)
        return self._explain(plan, scheme, line)

    async def explain_analyze(self, text: str, *, scheme: str | None = None, line: Line | None = None) -> Analysis:
        """Run a query and set what it took beside what was predicted. It is a job like any other."""
        return Analysis(self.explain(text, scheme=scheme, line=line), await self.sql(text, scheme=scheme, line=line))

    def _explain(self, plan: QueryPlan, scheme: str | None, line: Line | None) -> Explanation:
        participants = self.participants(plan.table)
        return explain(
            plan,
            participants=participants,
            analyst_is_party=self.profile.name in participants,
            scheme=scheme,
            model=calibrated_model(line),
        )

    def _report(self, outcome: Outcome, seconds: float, learned: tuple[tuple[str, str], ...] = ()) -> Report:
        parameters = parameter_set(outcome.request.parameter_set)
        return Report(
            job=outcome.request.job,
            scheme=parameters.scheme.value,
            parameter_set=parameters.id,
            security=parameters.security.value,
            participants=outcome.request.participants,
            ciphertexts=outcome.ciphertexts,
            bytes_received=outcome.bytes_received,
            traffic=outcome.traffic,
            seconds=seconds,
            phases=outcome.phases,
            disclosure=learned,
            key_exchange=self.key_exchange,
        )

    async def close(self) -> None:
        """Close the channel and forget keys made ahead."""
        self.keys.close()
        closing: Any = getattr(self.peer, "close", None)
        if closing is not None:
            await closing()


def no_round(_round: int, _notes: Sequence[Note]) -> SumHeader:
    """Learning opens its sums to the parties, never to the analyst."""
    raise ProtocolError("", reason="a learning job opens nothing to the analyst")


def group_keys(plan: QueryPlan, notes: Sequence[Note]) -> list[bytes] | None:
    """The discovered group keys that the lowest party sealed to the analyst; None where the plan lists its groups."""
    if plan.discovery is None:
        return None
    body = latest(notes, "groups")
    return [] if body is None else msgspec.msgpack.decode(body, type=list[bytes])
