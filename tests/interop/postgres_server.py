"""A private PostgreSQL server: a folder of its own, an unprivileged user, ended and deleted after the tests."""

import datetime as dt
import ipaddress
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.lanes import lane_missing

__all__ = ["HOST", "Authority", "PostgresServer", "postgres_server"]

LANE = "database"
HOST = "database.internal"
"""The name in the certificate of a server that speaks TLS; `hostaddr` leads there without any name service."""


class Authority:
    """A root that issues server certificates."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key.public_key(), root=True)

    def _signed(self, subject, key, *, root, names=(), days=2, age=0):
        start = dt.datetime.now(dt.UTC) - dt.timedelta(days=age, hours=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, host: str, *, days: int = 2, age: int = 0) -> tuple[bytes, bytes]:
        """A certificate and its key for a host."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._signed(subject, key.public_key(), root=False, names=names, days=days, age=age), secret


@dataclass
class PostgresServer:
    """A server that runs."""

    folder: Path
    user: str | None
    command: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self.folder / "log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(self.command, stderr=file, user=self.user, cwd=self.folder)
        deadline = time.monotonic() + 60
        while b"ready to accept" not in log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(log.read_text()[-2000:], pytrace=False)
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, as a crash does for its clients."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # a fast shutdown: connections are cut
            self.process.wait(timeout=30)
            self.process = None

    def url(self, role: str, **options: object) -> str:
        """The address of its socket, or of its TLS port, for a role."""
        host = {"host": self.folder} if not self.port else {"hostaddr": "127.0.0.1"}
        query = "&".join(f"{k}={v}" for k, v in {**host, **options}.items())
        return f"postgresql://{role}@{f'{HOST}:{self.port}' if self.port else ''}/postgres?{query}"

    @property
    def admin(self) -> str:
        """Its owner's address, always over the socket."""
        return f"postgresql://postgres@/postgres?host={self.folder}&port={self.port or 5432}"

    def execute(self, *statements: str) -> None:
        """Run statements as the owner of the database."""
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.admin, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def fetch(self, query: str) -> list[tuple]:
        """A query's rows, as the owner of the database."""
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.admin) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def fill(self, table: str, parquet: Path) -> None:
        """A table with a Parquet file's rows."""
        import pyarrow.parquet as pq
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.admin, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(table, pq.ParquetFile(parquet).iter_batches(), mode="create")

    def give(self, name: str, content: bytes) -> Path:
        """A file in its folder that it alone may read."""
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        if self.user is not None:
            os.chown(path, pwd.getpwnam(self.user).pw_uid, pwd.getpwnam(self.user).pw_gid)
        return path


def _program(name: str) -> str | None:
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or (str(versions[0]) if versions else None)


def _able() -> tuple[str, str, str | None]:
    """Programs and the user that runs them, or the end of the test."""
    try:
        import adbc_driver_postgresql.dbapi  # noqa: F401
    except ImportError:
        lane_missing(LANE, "the extra `postgres` is not installed")
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        lane_missing(LANE, "PostgreSQL is not installed (Debian: apt-get install postgresql)")
    if os.geteuid():
        return initdb, postgres, None
    user = next((u for u in ("postgres", "nobody") if any(p.pw_name == u for p in pwd.getpwall())), None)
    if user is None:
        lane_missing(LANE, "PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
    return initdb, postgres, user


@contextmanager
def postgres_server(*settings: str, certificate: tuple[bytes, bytes] | None = None) -> Iterator[PostgresServer]:
    """Start a server; without a certificate on a UNIX socket alone, with one also on a TLS port.

    Args:
        settings: `name=value` for the server.
        certificate: What it shows, and the key. Over TCP it then refuses everything but TLS.
    """
    initdb, postgres, user = _able()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = PostgresServer(folder, user, port=_free_port() if certificate else 0)
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    arguments = ["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
    subprocess.run([initdb, "-D", folder / "data", *arguments], check=True, capture_output=True, user=user, cwd=folder)
    options = ["listen_addresses=", "fsync=off", "jit=off", *settings]
    if certificate:
        access = server.give("pg_hba.conf", b"local all all trust\nhostssl all all 0.0.0.0/0 trust\n")
        shown, key = server.give("server.pem", certificate[0]), server.give("server.key", certificate[1])
        options += ["listen_addresses=*", f"port={server.port}", "ssl=on", f"hba_file={access}"]
        options += [f"ssl_cert_file={shown}", f"ssl_key_file={key}"]
    server.command = (postgres, "-D", str(folder / "data"), "-k", str(folder), *(f"--{option}" for option in options))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
