"""A whole room on this machine: real processes, real gRPC, real mutual TLS, and nothing left behind."""

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import tomli_w

from mpc.client.client import Client
from mpc.client.jobs import warm_analyst
from mpc.client.local_catalogues import CatalogueData, place_catalogue
from mpc.errors import ConfigurationError, PartyUnavailable
from mpc.keys.dictionary import Dictionary
from mpc.keys.files import KeyFolder
from mpc.keys.identity import IdentityKey
from mpc.keys.manifest import Manifest, Member, SignedManifest, endorsed
from mpc.parties import Role, party_id
from mpc.policy.rules import open_policy
from mpc.runtime.tls import answers_as

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LocalRoom"]

TableData: TypeAlias = "str | os.PathLike[str] | pa.Table"

COORDINATOR: Final = "coordinator"
ANALYST: Final = "analyst"
_START_S: Final = 60.0
_FIRST_SET: Final = "rlwe-2048-t30"  # of a small query; the kernels of the other sets are the same
_STARTS: Final = 3
_FIRST_PORT: Final = 20_000
_PORTS: Final = 12_000


class LocalRoom:
    """Party nodes, a coordinator and an analyst as they run in earnest, on loopback.

    Args:
        parties: Party name -> table name -> a Parquet, CSV, Arrow or DuckDB file, or a `pyarrow.Table`.
        policies: Party name -> a `policy.toml` as a mapping. Without it everything is usable, with no threshold and no
            noise.
        dictionary: The dictionary; inferred from the data if not given.
        catalogues: Party name -> catalogue name -> item vectors that may be scored: a matrix (scores are cosines), a
            trained model with item vectors (inner products), or an entry of `party.toml` as a mapping, in which
            `vectors` and `items` may be arrays.
        trainers: Party name -> training function -> its entry in `party.toml` (`module`, `path`).
        keep: Keep the room's folder when it closes.
        log_level: Of the nodes, which log to files in the folder.

    Example:
        with LocalRoom({"north": {"sales": "north.parquet"}, "south": {"sales": "south.parquet"}}) as room:
            print(room.client().sql("SELECT COUNT(*) AS n FROM sales"))
    """

    def __init__(
        self,
        parties: Mapping[str, Mapping[str, TableData]],
        policies: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        dictionary: Dictionary | None = None,
        catalogues: Mapping[str, Mapping[str, CatalogueData]] | None = None,
        trainers: Mapping[str, Mapping[str, Mapping[str, str]]] | None = None,
        keep: bool = False,
        log_level: str = "info",
    ) -> None:
        if len(parties) < 2:
            raise ConfigurationError("a room has two parties or more: one alone has nobody to hide among")
        self._tables = {party_id(p): dict(tables) for p, tables in parties.items()}
        if reserved := {COORDINATOR, ANALYST} & set(self._tables):
            raise ConfigurationError(f"a party of a local room is not called {min(reserved)}")
        self._policies = dict(policies or {})
        if strangers := set(self._policies) - set(self._tables):
            raise ConfigurationError(f"there is a policy for {min(strangers)}, which is not a party")
        self._dictionary = dictionary
        self._catalogues = {p: dict(some) for p, some in (catalogues or {}).items()}
        if strangers := set(self._catalogues) - set(self._tables):
            raise ConfigurationError(f"there are catalogues of {min(strangers)}, which is not a party")
        self._trainers = dict(trainers or {})
        self._keep = keep
        self._log_level = log_level
        self.folder = Path(tempfile.mkdtemp(prefix="sealroom-"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._clients: list[Client] = []
        self._manifest: Manifest | None = None
        atexit.register(self.close)

    # ---- start -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Make keys, manifest and configurations, and start every process.

        Raises:
            PartyUnavailable: A process did not come up.
        """
        try:
            for attempt in range(_STARTS):
                self._prepare()
                for name in (*self._tables, COORDINATOR):
                    self._spawn(name)
                threading.Thread(target=warm_analyst, args=(_FIRST_SET,), daemon=True).start()
                try:
                    self._await_ready()
                    return
                except PartyUnavailable as error:
                    if "cannot listen" not in error.detail or attempt == _STARTS - 1:
                        raise
                    self._clear()  # somebody took a port in between: again, with others
        except BaseException:
            self.close()
            raise

    def _clear(self) -> None:
        """End what was started and empty the folder."""
        for name in list(self._processes):
            self._end(name)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)

    def _prepare(self) -> None:
        from mpc.client.infer import infer_dictionary

        ports = iter(free_ports(len(self._tables) + 1))
        members: list[Member] = []
        keys: list[tuple[str, IdentityKey]] = []
        roles = [(p, Role.PARTY) for p in self._tables] + [(COORDINATOR, Role.COORDINATOR), (ANALYST, Role.ANALYST)]
        for name, role in roles:
            endpoint = "" if role is Role.ANALYST else f"127.0.0.1:{next(ports)}"
            folder = self.folder / name
            members.append(KeyFolder.create(folder / "keys", role, name, endpoint))
            keys.append((name, KeyFolder(folder / "keys").identity()))
        dictionary = self._dictionary or infer_dictionary(
            {
                p: {t: Path(d) if isinstance(d, os.PathLike) else d for t, d in ts.items()}
                for p, ts in self._tables.items()
            }
        )
        manifest = Manifest(name="local", members=tuple(members), dictionary=dictionary)
        signed = endorsed(manifest, keys)
        self._manifest = signed.verify()
        for member in members:
            self._configure(member, signed)

    def _configure(self, member: Member, signed: SignedManifest) -> None:
        folder = self.folder / member.name
        (folder / "room.toml").write_text(signed.dumps(), encoding="utf-8")
        config: dict[str, Any] = {"name": member.name}
        if member.role is not Role.ANALYST:
            config["listen"] = member.endpoint
            config["operations"] = {"drain_s": 0.0}  # whoever closes a local room wants it gone
        if member.role is Role.PARTY:
            config["sources"] = {
                table: self._source(folder, table, data) for table, data in self._tables[party_id(member.name)].items()
            }
            trainers = {name: dict(entry) for name, entry in self._trainers.get(member.name, {}).items()}
            if trainers:
                config["trainers"] = trainers
            tables = tuple(self._tables[party_id(member.name)])
            found = self._catalogues.get(member.name, {})
            if found:
                config["catalogues"] = {name: place_catalogue(folder, name, data) for name, data in found.items()}
            opened = open_policy(tables, tuple(trainers), tuple(found))
            policy = self._policies.get(member.name) or opened
            (folder / "policy.toml").write_text(tomli_w.dumps(dict(policy)), encoding="utf-8")
        (folder / f"{member.role.value}.toml").write_text(tomli_w.dumps(config), encoding="utf-8")

    def _source(self, folder: Path, table: str, data: TableData) -> dict[str, Any]:
        """A table's entry in `party.toml`; columns whose names are no identifiers are renamed as the dictionary has."""
        from mpc.client.infer import physical_names

        names = physical_names(data if not isinstance(data, os.PathLike) else Path(data), table)
        renamed = {logical: physical for logical, physical in names.items() if logical != physical}
        entry = {"columns": names} if renamed else {}
        return {"url": self._place(folder, table, data), "tables": {table: entry}}

    def _place(self, folder: Path, table: str, data: TableData) -> str:
        """The source address of a table's data; Arrow tables are written into the room's folder."""
        if isinstance(data, str | os.PathLike):
            path = Path(data).resolve()
            if not path.exists():
                raise ConfigurationError(f"{path.name} does not exist")
            suffix = path.suffix.lower().lstrip(".")
            scheme = (
                "parquet" if path.is_dir() else {"pq": "parquet", "tsv": "csv", "feather": "arrow"}.get(suffix, suffix)
            )
            return f"{scheme}:{path}"
        import pyarrow.parquet as pq

        target = folder / "data" / f"{table}.parquet"
        target.parent.mkdir(exist_ok=True)
        pq.write_table(data, target)
        return f"parquet:{target}"

    def _spawn(self, name: str) -> None:
        kind = "coordinator" if name == COORDINATOR else "party"
        folder = self.folder / name
        command = [sys.executable, "-m", f"servers.{kind}", "--config", str(folder / f"{kind}.toml")]
        environment = {"SEALROOM_LOG_FORMAT": "text", **os.environ, "SEALROOM_PARENT": str(os.getpid())}
        with (folder / "node.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*command, "--log-level", self._log_level],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip

    def _await_ready(self) -> None:
        waiting = dict(self._processes)
        leaf = KeyFolder(self.folder / ANALYST / "keys").leaf()
        deadline = time.monotonic() + _START_S
        while waiting:
            for name in list(waiting):
                if waiting[name].poll() is not None:
                    raise PartyUnavailable(self.log(name)[-2000:], party=name, reason="its process ended at start")
                if answers_as(self.member(name), leaf):
                    del waiting[name]
            if waiting and time.monotonic() > deadline:
                slow = min(waiting)
                raise PartyUnavailable(self.log(slow)[-2000:], party=slow, reason="it did not start in time")
            time.sleep(0.02)

    # ---- use -------------------------------------------------------------------------------------------------

    @property
    def manifest(self) -> Manifest:
        """The room's manifest (`ConfigurationError` before the start)."""
        if self._manifest is None:
            raise ConfigurationError("the room has not been started")
        return self._manifest

    def member(self, name: str) -> Member:
        """A member (`ConfigurationError` if there is none of this name)."""
        found = self.manifest.member(name)
        if found is None:
            raise ConfigurationError(f"{name} is not a member of the room")
        return found

    def client(self) -> Client:
        """A new analyst's client over gRPC and mutual TLS; it closes with the room."""
        client = Client.open(self.folder / ANALYST)
        self._clients.append(client)
        return client

    def log(self, name: str) -> str:
        """What a node has logged."""
        path = self.folder / name / "node.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def process(self, name: str) -> "subprocess.Popen[bytes]":
        """The process of a node, for tests of faults."""
        return self._processes[name]

    def restart(self, name: str) -> None:
        """Start a node again that was ended."""
        self._end(name)
        self._spawn(name)
        self._await_ready()

    # ---- end -------------------------------------------------------------------------------------------------

    def _end(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """End every process and remove every file. A second call does nothing."""
        atexit.unregister(self.close)
        for client in self._clients:
            client.close()
        self._clients.clear()
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for name in list(self._processes):
            self._end(name)
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on at this moment, outside the range that outgoing connections are given."""
    found: list[int] = []
    while len(found) < count:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port), reuse_port=False):
            if port not in found:
                found.append(port)
    return found


def listening(endpoint: str) -> bool:
    """Whether something accepts connections there."""
    host, _, port = endpoint.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=0.5):
        return True
    return False
