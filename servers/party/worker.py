"""The worker process: one session at a time, between a pipe from the node and a pipe back.

It dies with its node, cannot gain privileges, has a memory limit, and may be killed at any moment: everything durable
is the node's. Run as `python -m servers.party.worker`; it is never started by hand.
"""

import logging
import os
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from mpc.errors import InternalError, MpcError, ProtocolError, ResourceExhausted
from mpc.runtime.logs import configure_logging
from mpc.runtime.storage import disk_full
from mpc.runtime.warming import warm_kernels
from servers.party.frames import Command, Operation, Reply, ReplyKind, read_frame, write_frame
from servers.party.session import RoundKeys, Session, Task

if TYPE_CHECKING:
    from servers.party.scoring_work import RealCatalogues

__all__ = ["Failure", "main", "serve"]

log = logging.getLogger("sealroom.worker")


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error on its way to the node: a catalogued code, fields, and a detail that stays at this party."""

    code: str
    fields: dict[str, str | int]
    detail: str


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


class Worker:
    """Executes commands on the current session."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._session: Session | None = None
        self._catalogues: RealCatalogues | None = None

    def _current(self) -> Session:
        if self._session is None:
            raise ProtocolError("no job is open")
        return self._session

    def run(self, command: Command) -> None:
        """Execute one command and answer it."""
        write_frame(self._out, Reply(ReplyKind.DONE, _raw(self._execute(command))))

    def _execute(self, command: Command) -> Any:
        match command.operation:
            case Operation.OPEN:
                self._close()
                self._session = Session.open(msgspec.msgpack.decode(command.payload, type=Task))
            case Operation.ADVANCE:
                return self._current().advance()
            case Operation.GROUP_KEY:
                return self._current().make_group_key()
            case Operation.CONTRIBUTE:
                return self._contribute(msgspec.msgpack.decode(command.payload, type=RoundKeys))
            case Operation.TAKE:
                self._current().take(msgspec.msgpack.decode(command.payload, type=list[bytes]))
            case Operation.COMPLETE:
                return self._current().complete()
            case Operation.CLOSE:
                self._close()
            case Operation.WARM:
                return warm(*msgspec.msgpack.decode(command.payload, type=tuple[list[str], int]))
            case _:
                return self._score(command)
        return None

    def _score(self, command: Command) -> Any:
        """Work for scorings, whose libraries other jobs do not load."""
        from servers.party import scoring_work as work

        if command.operation is Operation.TABLE:
            for batch in work.confined_table(msgspec.msgpack.decode(command.payload, type=work.CatalogueTask)):
                write_frame(self._out, Reply(ReplyKind.PART, _raw(batch)))
            return None
        if self._catalogues is None:
            self._catalogues = work.RealCatalogues()
        if command.operation is Operation.KEEP:
            return self._catalogues.keep(msgspec.msgpack.decode(command.payload, type=work.RealTask))
        return self._catalogues.answer(*msgspec.msgpack.decode(command.payload, type=tuple[bytes, bytes]))

    def _contribute(self, keys: RoundKeys) -> bytes:
        for item in self._current().contribute(keys):
            if isinstance(item, bytes):
                digest = item
            else:
                write_frame(self._out, Reply(ReplyKind.PART, _raw(item)))
        return digest

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def warm(sets: Sequence[str], stage: int) -> bool:
    """Load what the first job would wait for: the engine, the parser, and one stage of the kernels of some sets.

    Returns:
        Whether there are more stages.
    """
    import duckdb

    from servers.party import programs

    programs.preload()
    duckdb.connect(":memory:").close()
    if not sets:
        return False
    from mpc.schemes.rlwe.secret import STAGES

    names = list(STAGES)
    warm_kernels(sets, {names[stage]: STAGES[names[stage]]})
    return stage + 1 < len(names)


def failure_of(error: BaseException) -> Failure:
    """What the node is told."""
    if isinstance(error, MemoryError):
        error = ResourceExhausted("the worker's memory limit was reached", limit="memory")
    error = disk_full(error) or error
    if isinstance(error, MpcError):
        return Failure(code=error.code, fields=error.fields, detail=error.detail)
    incident = secrets.token_hex(8)
    log.error("incident %s in a worker", incident, exc_info=error)
    return Failure(code=InternalError.code, fields={"incident": incident}, detail=f"{type(error).__name__} in a worker")


def serve(source: BinaryIO, out: BinaryIO) -> None:
    """Answer commands until the node closes the pipe."""
    worker = Worker(out)
    while (body := read_frame(source)) is not None:
        try:
            worker.run(msgspec.msgpack.decode(body, type=Command))
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 - the worker is the barrier: every failure becomes a reply
            write_frame(out, Reply(ReplyKind.FAILED, _raw(failure_of(error))))


def main() -> None:
    """Harden the process, keep the pipes to ourselves, and serve."""
    from servers.party import sandbox

    configure_logging(f"{os.environ.get('SEALROOM_WORKER_NODE', 'party')} worker", "warning")
    source = os.fdopen(os.dup(0), "rb", buffering=1 << 16)
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)  # nothing that prints can write into the frames
    os.close(null)
    sandbox.enter(memory_bytes=int(os.environ.get("SEALROOM_WORKER_MEMORY", "0")))
    serve(source, out)


if __name__ == "__main__":
    main()
