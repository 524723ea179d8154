"""Workers of a node: warm spares, at most a few at work, each killable without a trace."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from mpc.errors import InternalError, MpcError, ResourceExhausted
from mpc.runtime.metrics import Metrics
from mpc.wire.errors import CATALOGUE
from servers.party.frames import LENGTH, MAX_FRAME_BYTES, Command, Operation, Reply, ReplyKind, pack
from servers.party.worker import Failure

__all__ = ["Worker", "WorkerPool"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_PATIENCE_S: Final = 5.0
"""A job waits for so long for another to give its worker back. Whose turn it is, is the coordinator's to arrange."""

_SPARE_S: Final = 300.0
"""Of several idle workers, all but one end when nobody needed them for so long."""

_PAUSE_S: Final = 2.0
"""A worker that a job gave back stands still for so long before it warms up what is left: jobs come one on another."""


class Worker:
    """A worker process as its node sees it. One request at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lock = asyncio.Lock()
        self._unwarmed: list[str] = []
        self._stage = 0
        self._warming: asyncio.Task[None] | None = None
        self.taken = False
        """Whether a job has it. The job waits for the stage that is being warmed, and for no other."""

        self.given_back = 0.0
        """When a job last gave it back, on the loop's clock."""

    @classmethod
    async def start(cls, *, memory_bytes: int, warm: Sequence[str], threads: int = 2, node: str = "") -> "Worker":
        """Start a process and let it load its libraries."""
        environment = {
            k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "PYTHONPATH"}
        }
        environment |= {k: v for k, v in os.environ.items() if k.startswith(("SEALROOM_", "NUMBA_", "OMP_"))}
        environment["SEALROOM_THREADS"] = str(threads)
        environment["SEALROOM_WORKER_NODE"] = node
        environment["SEALROOM_WORKER_MEMORY"] = str(memory_bytes)
        environment["SEALROOM_WORKER_PARENT"] = str(os.getpid())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "servers.party.worker", stdin=PIPE, stdout=PIPE, env=environment,
            start_new_session=False,
        )  # fmt: skip
        worker = cls(process)
        await worker.request(Operation.WARM, ([], 0), bool)
        worker._unwarmed = list(warm)
        worker.warm()
        return worker

    def warm(self, pause_s: float = 0.0) -> None:
        """Load kernels while there is nothing else to do. Compiling takes long the first time on a machine."""
        if self._unwarmed and (self._warming is None or self._warming.done()):
            self._warming = asyncio.create_task(self._warm(pause_s))

    async def _warm(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        with contextlib.suppress(MpcError):  # a worker that ended says so to whoever takes it
            while self._unwarmed and not self.taken:
                if not await self.request(Operation.WARM, (self._unwarmed, self._stage), bool):
                    self._unwarmed = []
                self._stage += 1

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.returncode is None

    async def request(self, operation: Operation, payload: Any, kind: type[T]) -> T:
        """Ask once and wait for the answer."""
        async with self._lock:
            try:
                await self._send(operation, payload)
                return msgspec.msgpack.decode((await self._answer()).payload, type=kind)
            except asyncio.CancelledError:
                self.kill()  # an abandoned answer would be read as the next one's
                raise

    async def stream(self, operation: Operation, payload: Any) -> AsyncGenerator[tuple[bool, msgspec.Raw], None]:
        """Ask once and receive parts; the last item is marked."""
        async with self._lock:
            done = False
            try:
                await self._send(operation, payload)
                while not done:
                    reply = await self._answer()
                    done = reply.kind is ReplyKind.DONE
                    yield done, reply.payload
            finally:
                if not done:
                    self.kill()

    async def _send(self, operation: Operation, payload: Any) -> None:
        await self._write(pack(Command(operation, msgspec.Raw(msgspec.msgpack.encode(payload)))))

    async def _answer(self) -> Reply:
        reply = await self._read()
        if reply.kind is ReplyKind.FAILED:
            raise _error(msgspec.msgpack.decode(reply.payload, type=Failure))
        return reply

    async def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise await self._gone() from None

    async def _read(self) -> Reply:
        assert self._process.stdout is not None
        try:
            head = await self._process.stdout.readexactly(LENGTH.size)
            (size,) = LENGTH.unpack(head)
            if size > MAX_FRAME_BYTES:
                raise InternalError("a worker's frame is too long")
            return msgspec.msgpack.decode(await self._process.stdout.readexactly(size), type=Reply)
        except asyncio.IncompleteReadError:
            raise await self._gone() from None

    async def _gone(self) -> MpcError:
        code = await self._process.wait()
        name = signal.Signals(-code).name if code < 0 else f"exit-{code}"
        log.warning("a worker ended: %s", name)
        if code in {-signal.SIGKILL, -signal.SIGABRT}:
            return ResourceExhausted(f"the worker ended with {name}", limit="memory or a kill")
        return InternalError(f"the worker ended with {name}")

    def kill(self) -> None:
        """End the process now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """End the process and wait for it."""
        self.kill()
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self._process.wait()
        transport = getattr(self._process, "_transport", None)
        if transport is not None:
            transport.close()


def _error(failure: Failure) -> MpcError:
    leaf = CATALOGUE.get(failure.code, InternalError)
    return leaf(failure.detail, **failure.fields)


class WorkerPool:
    """Hands out workers; keeps one warm, and for a while those that jobs at once needed; ends what a job leaves behind.

    Args:
        most: Jobs at work at once.
        memory_bytes: Address space of a worker; 0 leaves the sandbox's default.
        warm: Parameter sets whose kernels are loaded at start.
        threads: Threads that a worker's kernels use.
        metrics: Counters.
        node: Name of the party, for its workers' logs.
    """

    def __init__(
        self,
        *,
        most: int,
        memory_bytes: int = 0,
        warm: Sequence[str] = (),
        threads: int = 2,
        metrics: Metrics | None = None,
        node: str = "party",
    ) -> None:
        self._places = asyncio.Semaphore(most)
        self._memory_bytes = memory_bytes
        self._threads = threads
        self._node = node
        self._metrics = metrics or Metrics()
        self._metrics.watch("sealroom_workers", "Worker processes now.", self._count, label="state")
        self._warm = tuple(warm)
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._starting: asyncio.Task[Worker] | None = None
        self._thinning: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Start the warm spare in the background."""
        if not self._idle and (self._starting is None or self._starting.done()):
            self._starting = asyncio.create_task(self._start())

    async def _start(self) -> Worker:
        worker = await self._new(self._warm)
        worker.given_back = asyncio.get_running_loop().time()
        self._idle.append(worker)
        return worker

    async def _new(self, warm: Sequence[str]) -> Worker:
        worker = await Worker.start(memory_bytes=self._memory_bytes, warm=warm, threads=self._threads, node=self._node)
        self._metrics.worker_started()
        return worker

    def _count(self) -> dict[str, float]:
        return {"idle": float(len(self._idle)), "busy": float(len(self._busy))}

    @property
    def able(self) -> bool:
        """Whether workers can be had: one stands by, is at work, or is being started."""
        starting = self._starting is not None and not self._starting.done()
        return starting or any(w.alive for w in (*self._idle, *self._busy))

    async def ready(self) -> None:
        """Wait until a warm worker stands by."""
        self.prepare()
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def acquire(self) -> Worker:
        """A worker for one job.

        Raises:
            ResourceExhausted: As many jobs as allowed are at work, and none ends soon.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._places.acquire()
        except TimeoutError:
            raise ResourceExhausted("", limit="jobs at work") from None
        try:
            self._idle = [w for w in self._idle if w.alive]
            if not self._idle:
                await self.ready()
                self._idle = [w for w in self._idle if w.alive]
            worker = self._idle.pop() if self._idle else await self._new(())
        except BaseException:
            self._places.release()
            raise
        worker.taken = True
        self._busy.add(worker)
        return worker

    async def release(self, worker: Worker, *, clean: bool) -> None:
        """Take a worker back; one that did not end its job cleanly is killed."""
        self._busy.remove(worker)
        self._places.release()
        if clean and worker.alive:
            worker.taken, worker.given_back = False, asyncio.get_running_loop().time()
            worker.warm(_PAUSE_S)
            self._idle.append(worker)
            if len(self._idle) > 1 and (self._thinning is None or self._thinning.done()):
                self._thinning = asyncio.create_task(self._thin())
        else:
            self._metrics.worker_ended("job" if worker.alive else "died")
            await worker.stop()
        self.prepare()

    async def _thin(self) -> None:
        """End idle workers that nobody needs, the last used excepted, which is the next to be taken."""
        clock = asyncio.get_running_loop().time
        while len(self._idle) > 1:
            due = self._idle[0].given_back + _SPARE_S
            if clock() < due:
                await asyncio.sleep(due - clock())
                continue
            self._metrics.worker_ended("idle")
            await self._idle.pop(0).stop()

    async def close(self) -> None:
        """End every worker."""
        for task in (self._starting, self._thinning):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, MpcError):
                    await task
        await asyncio.gather(*(w.stop() for w in (*self._idle, *self._busy)), return_exceptions=True)
        self._idle.clear()
        self._busy.clear()
