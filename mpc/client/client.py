"""The analyst's client for ordinary code: the same calls as `mpc.client.analyst`, run on a loop of its own."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec
from numpy.typing import ArrayLike

from mpc.client.analysis import Analysis
from mpc.client.analyst import Analyst
from mpc.client.answer import Answer
from mpc.client.jobs import Watcher
from mpc.client.notebook import register
from mpc.client.profile import Profile, find_profile
from mpc.client.training import Measured, Step, TrainingRun, training_set
from mpc.errors import InternalError, JobCancelled
from mpc.keys.dictionary import Table
from mpc.learn import FittedModel, Holdout, Spec, TrainingExplanation, complete, spec_from_mapping, to_mapping
from mpc.plan import Explanation
from mpc.plan.cost import Line

if TYPE_CHECKING:
    from mpc.client.score_answer import ScoreAnswer
    from mpc.client.score_plan import OfferedCatalogue, ScoreExplanation

__all__ = ["Client", "connect"]

T = TypeVar("T")

_ENDING_S: Final = 8.0
"""A little more than a job may take to tell the coordinator that it is given up."""


class Client:
    """An analyst's connection to a room. Use it in a `with` statement or call `close`."""

    def __init__(self, profile: Profile) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sealroom-client", daemon=True)
        self._thread.start()
        self._closed = False
        self._analyst: Analyst = self._run(_connect(profile))
        register()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """A client for the profile in a folder."""
        return cls(Profile.load(folder))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise InternalError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise JobCancelled("the client was closed") from None
        except KeyboardInterrupt:
            future.cancel()
            raise

    @property
    def analyst(self) -> Analyst:
        """The asynchronous analyst behind this client."""
        return self._analyst

    def tables(self) -> tuple[Table, ...]:
        """The dictionary: logical tables with their columns, types, ranges and the parties that hold rows."""
        return self._analyst.dictionary.tables

    def sql(
        self,
        text: str,
        scheme: str | None = None,
        *,
        line: Line | None = None,
        timeout_s: float = 600.0,
        watcher: Watcher | None = None,
    ) -> Answer:
        """Ask a query and open its answer; see `mpc.client.analyst.Analyst.sql`."""
        return self._run(self._analyst.sql(text, scheme=scheme, line=line, timeout_s=timeout_s, watcher=watcher))

    def explain(self, text: str, scheme: str | None = None, *, line: Line | None = None) -> Explanation:
        """What a query would do and who would learn what; nothing is sent."""
        return self._analyst.explain(text, scheme=scheme, line=line)

    def explain_analyze(self, text: str, scheme: str | None = None, *, line: Line | None = None) -> Analysis:
        """Run a query and set what it took beside what was predicted."""
        return self._run(self._analyst.explain_analyze(text, scheme=scheme, line=line))

    def train(
        self,
        spec: Spec | Mapping[str, Any],
        *,
        scheme: str | None = None,
        timeout_s: float = 3600.0,
        on_step: Callable[[Step], None] | None = None,
        resume: str = "",
        attempt: int = 1,
    ) -> TrainingRun:
        """Start a training over the room; `.model` of the run waits for its end.

        Args:
            spec: What to train (`mpc.learn`), or the same as a mapping from TOML or JSON.
            scheme: A scheme or parameter set instead of the planner's choice.
            timeout_s: The job's lifetime.
            on_step: Called with live progress.
            resume: A job of this analyst to go on with, from its last checkpoint, bit for bit.
            attempt: With `resume`: one more than the attempts so far.

        Raises:
            PlanError: The spec does not fit the room's tables.
        """
        wanted = spec_from_mapping(spec) if isinstance(spec, Mapping) else spec
        table = self._analyst.table_of(wanted)
        chosen = training_set(complete(wanted, table), len(table.parties), scheme)
        keys = self._run(self._analyst.keys.take(chosen))
        job = self._analyst.sign_training(wanted, keys, timeout_s=timeout_s, resume=resume, attempt=attempt)
        steps: list[Step] = []

        def step(progress: Step) -> None:
            steps.append(progress)
            if on_step is not None:
                on_step(progress)

        future = asyncio.run_coroutine_threadsafe(self._analyst.train(job, step), self._loop)
        run = TrainingRun(job.request.job, future)
        run.steps = steps
        return run

    def explain_training(self, spec: Spec | Mapping[str, Any], *, scheme: str | None = None) -> TrainingExplanation:
        """What a training would sum, at what price, and who would learn what; nothing is sent."""
        wanted = spec_from_mapping(spec) if isinstance(spec, Mapping) else spec
        return self._analyst.explain_training(wanted, scheme=scheme)

    def evaluate(
        self,
        model: FittedModel | str,
        spec: Spec | Mapping[str, Any],
        *,
        holdout: Holdout | None = None,
        scheme: str | None = None,
        timeout_s: float = 600.0,
    ) -> Measured:
        """Measure a trained model over the room, each party on its own held-out rows.

        Args:
            model: The model, or its digest. The parties keep a bounded number of the models that they trained.
            spec: What it was trained from.
            holdout: Other rows to measure on than the spec holds out; rows that it does not hold out were trained on.
            scheme: A scheme or parameter set instead of the planner's choice.
            timeout_s: The job's lifetime.

        Raises:
            PlanError: There is no hold-out, or a party does not hold the model.
        """
        wanted = spec_from_mapping(spec) if isinstance(spec, Mapping) else spec
        if holdout is not None:
            wanted = spec_from_mapping(to_mapping(wanted) | {"holdout": msgspec.to_builtins(holdout)})
        digest = model if isinstance(model, str) else model.digest()
        return self._run(self._analyst.evaluate(digest, wanted, scheme=scheme, timeout_s=timeout_s))

    def catalogues(self) -> "tuple[OfferedCatalogue, ...]":
        """Catalogues that parties offer to this analyst."""
        return self._run(self._analyst.catalogues())

    def score(
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
    ) -> "ScoreAnswer":
        """Score a catalogue's items for encrypted queries; see `mpc.client.analyst.Analyst.score`."""
        return self._run(
            self._analyst.score(
                query,
                catalogue,
                k,
                holder=holder,
                scheme=scheme,
                line=line,
                rescale=rescale,
                timeout_s=timeout_s,
            )
        )

    def explain_score(
        self,
        catalogue: str,
        *,
        holder: str = "",
        queries: int = 1,
        scheme: str = "rlwe",
        line: Line | None = None,
    ) -> "ScoreExplanation":
        """What a scoring would do and who would learn what; only the question for the offers is sent."""
        return self._run(
            self._analyst.explain_score(catalogue, holder=holder, queries=queries, scheme=scheme, line=line)
        )

    def close(self) -> None:
        """Close the connection; jobs that are waited for are cancelled. A second call does nothing."""
        if self._closed:
            return
        self._run(self._end())
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()

    async def _end(self) -> None:
        """Cancel what still runs on the loop, let it say so to the coordinator, and close."""
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_ENDING_S)
        await self._analyst.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()


async def _connect(profile: Profile) -> Analyst:
    return Analyst.connect(profile)


def connect(room: str | os.PathLike[str] | None = None) -> Client:
    """Connect to a room as one of its analysts.

    Args:
        room: A folder with `analyst.toml`, or the name of one under `$XDG_CONFIG_HOME/sealroom`; if not given, the
            environment variable `SEALROOM_ROOM` names it.

    Raises:
        ConfigurationError: There is no such room, or the folder is not in order.
        TransportError: The coordinator does not answer; says why.
    """
    client = Client(Profile.load(find_profile(room)))
    try:
        client._run(client.analyst.describe())  # noqa: SLF001 - the same module
    except BaseException:
        client.close()
        raise
    return client
