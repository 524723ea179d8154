"""A database over the network: its certificate is checked against the owner's own root and the host's name.

A real server on a TLS port of the loopback. `hostaddr` leads to it under the name in the certificate, so that the
address has the shape of one in earnest, and `sslmode=verify-full` is the default that the node adds.
"""

import threading
import time
import tomllib

import pyarrow as pa
import pytest
import tomli_w

from mpc.client import LocalRoom
from mpc.errors import DeadlineExceeded, JobCancelled, MpcError, SourceError
from servers.party.sources import Limits, SourceSpec, TableSpec, open_source
from tests.interop.postgres_server import HOST, Authority, postgres_server

pytestmark = [
    pytest.mark.database,
    pytest.mark.lane("database"),
    pytest.mark.processes,
    pytest.mark.xdist_group("postgres-tls"),
]

COUNT = 'SELECT COUNT(*) AS n FROM "sales"'
SLOW = 'SELECT COUNT(*) AS n FROM "sales" AS a JOIN "sales" AS b ON a."x" <> b."x" WHERE a."x" + b."x" < 0'
LIMITS = Limits(memory_bytes=64 << 20, threads=1, statement_timeout_s=20)
SCHEMA = (
    "CREATE ROLE clerk LOGIN",
    "CREATE TABLE sales AS SELECT i AS x FROM generate_series(1, 30000) AS g(i)",
    "GRANT SELECT ON sales TO clerk",
)


@pytest.fixture(scope="module")
def authority():
    return Authority("the owner's own root")


@pytest.fixture(scope="module")
def server(authority):
    with postgres_server(certificate=authority.issue(HOST)) as running:
        running.execute(*SCHEMA)
        yield running


@pytest.fixture(scope="module")
def roots(authority, tmp_path_factory):
    """The right root, and another one of the same name."""
    folder = tmp_path_factory.mktemp("roots")
    found = {"right": authority, "wrong": Authority("the owner's own root")}
    for name, one in found.items():
        (folder / f"{name}.pem").write_bytes(one.certificate)
    return folder


def opened(url, limits=LIMITS):
    return open_source(SourceSpec(url=url, tables={"sales": TableSpec()}), limits)


def test_the_right_root_opens_an_encrypted_connection(server, roots):
    source = opened(server.url("clerk", sslrootcert=roots / "right.pem"))
    try:
        assert source.run(COUNT)["n"].values.tolist() == [30_000]
        used = source._row("SELECT ssl, version FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()")
    finally:
        source.close()

    assert used == (True, "TLSv1.3")


@pytest.mark.parametrize(
    "options",
    [{"sslrootcert": "wrong.pem"}, {}, {"sslrootcert": "missing.pem"}, {"sslmode": "disable"}],
    ids=["wrong root", "no root", "missing root", "no TLS"],
)
def test_anything_else_is_refused_and_says_nothing(server, roots, options):
    given = {k: roots / v if k == "sslrootcert" else v for k, v in options.items()}
    with pytest.raises(SourceError) as refused:
        opened(server.url("clerk", **given))

    assert refused.value.fields["reason"] == "the database does not let us in"
    assert HOST not in str(refused.value)


@pytest.mark.parametrize("place", ["127.0.0.1:1", "nowhere.invalid"])
def test_a_server_that_is_away_is_told_from_one_that_refuses(place):
    with pytest.raises(SourceError) as away:
        opened(f"postgresql://clerk@{place}/sales")

    assert away.value.fields["reason"] == "the database cannot be reached"
    assert place not in str(away.value)


def test_a_certificate_for_another_host_is_refused(server, roots):
    url = server.url("clerk", sslrootcert=roots / "right.pem")
    with pytest.raises(SourceError):
        opened(url.replace(HOST, "other.internal"))

    opened(url.replace(f"{HOST}:", "other.internal:") + "&sslmode=verify-ca").close()


def test_an_expired_certificate_of_the_server_is_refused(authority, roots):
    with postgres_server(certificate=authority.issue(HOST, days=1, age=3)) as expired:
        expired.execute(*SCHEMA)
        with pytest.raises(SourceError):
            opened(expired.url("clerk", sslrootcert=roots / "right.pem"))


def running_in(server):
    """How many statements of the clerk the server works on."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(server.admin) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'clerk' AND state = 'active'")
        return cursor.fetchone()[0]


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_statement_that_is_cancelled_ends_in_the_server(server, roots):
    source = opened(server.url("clerk", sslrootcert=roots / "right.pem"))
    ended = []

    def run():
        with pytest.raises(JobCancelled):
            source.run(SLOW)
        ended.append(time.monotonic())

    asking = threading.Thread(target=run)
    asking.start()
    until(lambda: running_in(server) == 1)
    source.interrupt()
    asking.join(timeout=20)
    until(lambda: running_in(server) == 0)
    source.close()

    assert ended


def test_a_statement_that_is_too_slow_ends_in_the_server(server, roots):
    limits = Limits(memory_bytes=64 << 20, threads=1, statement_timeout_s=0.5)
    source = opened(server.url("clerk", sslrootcert=roots / "right.pem"), limits)
    with pytest.raises(DeadlineExceeded):
        source.run(SLOW)

    assert running_in(server) == 0
    source.close()


def test_a_confined_worker_reaches_it_and_a_query_is_answered(server, roots):
    """The whole way: node, worker in its sandbox, root from a file, encrypted sum. The wrong root is a source error."""
    tables = {p: {"sales": pa.table({"x": pa.array(range(1, 30_001), pa.int32())})} for p in ("north", "south")}
    with LocalRoom(tables) as room:
        before = room.client().sql("SELECT SUM(x) AS s FROM sales").rows
        path = room.folder / "north/party.toml"
        config = tomllib.loads(path.read_text())

        def asked(root):
            url = server.url("clerk", sslrootcert=roots / root)
            path.write_text(tomli_w.dumps({**config, "sources": {"db": {"url": url, "tables": {"sales": {}}}}}))
            room.restart("north")
            return room.client().sql("SELECT SUM(x) AS s FROM sales").rows

        assert asked("right.pem") == before
        with pytest.raises(MpcError) as refused:
            asked("wrong.pem")

    assert (refused.value.code, refused.value.fields["party"]) == ("E3301", "north")
