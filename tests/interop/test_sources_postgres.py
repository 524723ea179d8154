"""PostgreSQL as a source, against a real server in a private folder on a UNIX socket."""

import datetime as dt
import threading
import time

import numpy as np
import pytest

from mpc.errors import (
    ConfigurationError,
    DeadlineExceeded,
    JobCancelled,
    MpcError,
    PlanError,
    RangeError,
    SourceError,
)
from mpc.keys.dictionary import ColumnKind
from servers.party.sources import Dialect, Limits, SourceSpec, TableSpec, needs_network, open_source
from servers.party.sources.postgres_address import connection_url
from tests.interop.postgres_server import postgres_server

pytestmark = [pytest.mark.database, pytest.mark.lane("database")]

CANARY = "canary-52ab"
LIMITS = Limits(memory_bytes=64 << 20, threads=1, statement_timeout_s=20)


@pytest.fixture(scope="module")
def server():
    """Address of the server's folder."""
    with postgres_server() as running:
        yield running.folder


@pytest.fixture(scope="module")
def admin(server):
    """Runs statements as the owner of the database."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(f"postgresql://postgres@/postgres?host={server}", autocommit=True) as connection:

        def execute(*statements: str) -> None:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

        execute(
            "CREATE ROLE reader LOGIN",
            "CREATE TYPE mood AS ENUM ('glad', 'sad')",
            "CREATE DOMAIN cents AS bigint CHECK (VALUE > -1000000)",
            "CREATE COLLATION german (provider = icu, locale = 'de-DE')",
            """CREATE TABLE typed (flag bool, small int2, i int4, b int8, price numeric(18,3), free numeric,
               ratio float8, single float4, word text, code char(5), short varchar(10), sorted text COLLATE german,
               day date, "local" timestamp, zoned timestamptz, id uuid, mood mood, money cents, doc jsonb,
               raw bytea, clock time, span interval, list int[])""",
            """INSERT INTO typed VALUES
               (true, 1, 2, 4611686018427387904, 3.105, 1e30, 0.5, 0.1, 'süß', 'ab', 'x', 'a', '2024-02-29',
                '2024-01-02 03:04:05.678901', '2024-01-02 04:00+01', '2454fbeb-ca48-40d3-85db-4a19c0da9b89', 'glad', 5,
                '{"k": 1}', '\\x00', '12:00', '1 day', '{1}'),
               (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                NULL, NULL, NULL, NULL, NULL, NULL),
               (false, -3, -2, -4611686018427387904, -0.001, 'NaN', 'NaN', -2, '', 'abcde', 'y', 'B', '1969-12-31',
                '1969-12-31 23:00', '2024-07-01 00:00+00', '00000000-0000-0000-0000-000000000000', 'sad', -5,
                '{}', '\\x01', '00:00', '0', '{}')""",
            "CREATE TABLE many AS SELECT i AS id, (i * 79) % 1000 AS v, 's' || i % 10 AS s"
            " FROM generate_series(1, 300000) AS g(i)",
            "CREATE SCHEMA crm",
            'CREATE TABLE crm."Odd Name" ("Customer ID" int, consent bool)',
            'INSERT INTO crm."Odd Name" VALUES (1, true), (2, false), (3, true)',
            'CREATE VIEW crm.willing AS SELECT "Customer ID" AS id FROM crm."Odd Name" WHERE consent',
            "CREATE TABLE mutable (v int)",
            "INSERT INTO mutable VALUES (1), (2)",
            f"CREATE TABLE secret AS SELECT '{CANARY}'::text AS x",
            "CREATE TABLE forbidden (x int)",
            "GRANT USAGE ON SCHEMA crm TO reader",
            'GRANT SELECT ON typed, many, mutable, secret, crm.willing, crm."Odd Name" TO reader',
        )
        yield execute


@pytest.fixture
def opened(server, admin):
    sources = []

    def open_(limits=LIMITS, user="reader", **tables):
        spec = SourceSpec(url=f"postgresql://{user}@/postgres?host={server}", tables=tables)
        source = open_source(spec, limits)
        sources.append(source)
        return source

    yield open_
    for source in sources:
        source.close()


NIL = "00000000-0000-0000-0000-000000000000"

EXPECTED = {
    "flag": ("BOOLEAN", ColumnKind.BOOLEAN, np.bool_, [True, False, False]),
    "small": ("SMALLINT", ColumnKind.INTEGER, np.int64, [1, 0, -3]),
    "i": ("INTEGER", ColumnKind.INTEGER, np.int64, [2, 0, -2]),
    "b": ("BIGINT", ColumnKind.INTEGER, np.int64, [1 << 62, 0, -(1 << 62)]),
    "price": ("DECIMAL(18,3)", ColumnKind.DOUBLE, np.float64, [3.105, np.nan, -0.001]),
    "free": ("DOUBLE", ColumnKind.DOUBLE, np.float64, [1e30, np.nan, np.nan]),
    "ratio": ("DOUBLE", ColumnKind.DOUBLE, np.float64, [0.5, np.nan, np.nan]),
    "single": ("DOUBLE", ColumnKind.DOUBLE, np.float64, [float(np.float32(0.1)), np.nan, -2.0]),
    "word": ("VARCHAR", ColumnKind.VARCHAR, np.object_, ["süß", "", ""]),
    "code": ("VARCHAR", ColumnKind.VARCHAR, np.object_, ["ab", "", "abcde"]),
    "short": ("VARCHAR", ColumnKind.VARCHAR, np.object_, ["x", "", "y"]),
    "sorted": ("VARCHAR", ColumnKind.VARCHAR, np.object_, ["a", "", "B"]),
    "day": ("DATE", ColumnKind.DATE, np.int64, [19782, 0, -1]),
    "local": ("TIMESTAMP", ColumnKind.TIMESTAMP, np.int64, [1704164645678901, 0, -3_600_000_000]),
    "zoned": ("TIMESTAMP", ColumnKind.TIMESTAMP, np.int64, [1704164400000000, 0, 1719792000000000]),
    "id": ("VARCHAR", ColumnKind.VARCHAR, np.object_, ["2454fbeb-ca48-40d3-85db-4a19c0da9b89", "", NIL]),
    "mood": ("VARCHAR", ColumnKind.VARCHAR, np.object_, ["glad", "", "sad"]),
    "money": ("BIGINT", ColumnKind.INTEGER, np.int64, [5, 0, -5]),
    "doc": ("VARCHAR", ColumnKind.VARCHAR, np.object_, ['{"k": 1}', "", "{}"]),
}  # fmt: skip


def test_every_type_becomes_what_the_table_says(opened):
    source = opened(t=TableSpec(origin="typed"))
    types = {c.name: c.type for c in source.describe()["t"]}
    (batch,) = source.stream("t", list(EXPECTED))
    result = source.run(f'SELECT {", ".join(chr(34) + n + chr(34) for n in EXPECTED)} FROM "t"')

    assert source.dialect is Dialect.POSTGRES
    assert {n: t for n, t in types.items() if t} == {n: e[0] for n, e in EXPECTED.items()}
    assert {n for n, t in types.items() if not t} == {"raw", "clock", "span", "list"}
    for found in (batch, result):
        for name, (_, kind, dtype, values) in EXPECTED.items():
            column = found[name]
            assert (column.kind, column.values.dtype) == (kind, dtype), name
            assert column.nulls.tolist() == [False, True, False], name
            np.testing.assert_array_equal(column.values, np.array(values, dtype=dtype), err_msg=name)


def test_integers_of_any_width_are_exact(opened):
    source = opened(t=TableSpec(origin="typed"))
    result = source.run(
        'SELECT SUM("b"::numeric * "b") AS s, CAST(MAX("b"::numeric * -65536) AS VARCHAR) AS d, COUNT(*) AS n FROM "t"',
        integers=["s", "d"],
    )

    assert result["s"].values.tolist() == [2 << 124]
    assert result["d"].values.tolist() == [1 << 78]
    assert result["n"].values.dtype == np.int64


def test_text_compares_by_bytes_whatever_the_columns_collation(opened):
    source = opened(t=TableSpec(origin="typed"))
    result = source.run('SELECT MIN("sorted") AS a, COUNT(*) FILTER (WHERE "sorted" < \'a\') AS n FROM "t"')

    assert result["a"].values.tolist() == ["B"]
    assert result["n"].values.tolist() == [1]


def test_times_do_not_depend_on_the_servers_zone(opened, admin):
    admin("ALTER ROLE reader SET TimeZone = 'Asia/Tokyo'")
    result = opened(t=TableSpec(origin="typed")).run('SELECT MAX(DATE_TRUNC(\'month\', "zoned")) AS m FROM "t"')
    admin("ALTER ROLE reader RESET TimeZone")

    assert result["m"].values.tolist() == [int(dt.datetime(2024, 7, 1, tzinfo=dt.UTC).timestamp()) * 10**6]


def test_schemas_views_odd_names_and_the_owners_condition(opened):
    spec = TableSpec(origin='crm."Odd Name"', columns={"customer": "Customer ID"}, where="consent")
    source = opened(t=spec, v=TableSpec(origin="crm.willing"), typed=TableSpec())

    assert source.run('SELECT SUM("customer") AS s FROM "t"')["s"].values.tolist() == [4]
    assert source.run('SELECT SUM("id") AS s FROM "v"')["s"].values.tolist() == [4]
    assert source.run('SELECT COUNT(*) AS n FROM "typed"')["n"].values.tolist() == [3]
    assert source.run('WITH "q" AS (SELECT "id" FROM "v") SELECT COUNT(*) AS n FROM "q"')["n"].values.tolist() == [2]
    with pytest.raises(PlanError):
        source.run('SELECT "consent" FROM "t"')


def test_a_job_sees_one_snapshot_and_a_change_is_another(opened, admin):
    tables = {"t": TableSpec(origin="mutable")}
    before, again = opened(**tables), opened(**tables)
    admin("INSERT INTO mutable VALUES (3)")
    after = opened(**tables)

    assert before.snapshot() == again.snapshot()
    assert before.snapshot().identity != after.snapshot().identity
    assert opened(t=TableSpec(origin="mutable", where="v > 0")).snapshot().identity != after.snapshot().identity
    assert before.run('SELECT COUNT(*) AS n FROM "t"')["n"].values.tolist() == [2]
    assert [len(b["v"]) for b in before.stream("t", ["v"])] == [2]
    assert after.run('SELECT COUNT(*) AS n FROM "t"')["n"].values.tolist() == [3]
    assert before.snapshot() == again.snapshot()


def test_streams_are_bounded_ordered_and_may_be_abandoned(opened):
    source = opened(t=TableSpec(origin="many"))
    batches = [b["id"].values for b in source.stream("t", ["id", "s"], batch_rows=7000)]
    stream = source.stream("t", ["id"], batch_rows=10)
    next(stream)
    stream.close()

    assert max(len(b) for b in batches) == 7000
    assert np.concatenate(batches).tolist() == list(range(1, 300_001))
    assert source.run('SELECT COUNT(*) AS n FROM "t"')["n"].values.tolist() == [300_000]


SLOW = 'SELECT COUNT(*) AS n FROM "t" AS a JOIN "t" AS b ON a."v" <> b."v" WHERE a."id" + b."id" < 0'


def test_a_statement_ends_at_its_timeout(opened):
    source = opened(
        limits=Limits(memory_bytes=64 << 20, threads=1, statement_timeout_s=0.5), t=TableSpec(origin="many")
    )
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        source.run(SLOW)

    assert time.monotonic() - began < 5
    with pytest.raises(MpcError):  # the snapshot is gone with its transaction
        source.run('SELECT COUNT(*) AS n FROM "t"')


def test_a_cancelled_statement_ends_in_the_server_too(opened, server):
    source = opened(t=TableSpec(origin="many"))
    timer = threading.Timer(0.5, source.interrupt)
    timer.start()
    began = time.monotonic()
    with pytest.raises(JobCancelled):
        source.run(SLOW)
    timer.join()

    assert time.monotonic() - began < 5
    with pytest.raises(JobCancelled):
        source.run('SELECT COUNT(*) AS n FROM "t"')


@pytest.mark.parametrize("statement", [
    "SELECT * FROM secret", "SELECT * FROM public.secret", "SELECT * FROM pg_catalog.pg_user", "SELECT pg_sleep(10)",
    "SELECT pg_read_file('/etc/passwd')", "SELECT query_to_xml('select * from public.secret', true, true, '')",
    "SELECT set_config('search_path', 'public', false)", "SELECT * FROM generate_series(1, 3)",
    "SELECT lo_import('/x')",
    "SELECT 1; SELECT 2", "SELECT 1) AS result; DROP TABLE mutable; --", "DROP TABLE mutable", "COPY t TO '/tmp/x'",
    "SELECT 1 INTO x", "SELECT * FROM t FOR UPDATE", "WITH q AS (DELETE FROM t RETURNING *) SELECT * FROM q",
    "SELECT current_user", "SELECT current_setting('x')", "SELECT 'public.secret'::regclass", "SELECT x.y.z FROM t",
    "SELECT (SELECT x FROM secret) AS x FROM t", "SELECT * FROM t WHERE EXISTS (SELECT 1 FROM secret)",
    "WITH a AS (SELECT * FROM secret), secret AS (SELECT 1) SELECT * FROM a", "VALUES (1)", "TABLE secret",
    "EXPLAIN SELECT 1", "SELECT * FROM ROWS FROM (generate_series(1, 2))", "SELECT t.* FROM t, LATERAL (SELECT 1) q",
    "SELECT * FROM t TABLESAMPLE SYSTEM (10)", "SELECT now()", "SELECT random()", "SELECT $1",
])  # fmt: skip
def test_what_is_not_a_query_over_the_tables_is_refused_and_shows_nothing(opened, statement):
    source = opened(t=TableSpec(origin="mutable"))
    with pytest.raises(MpcError) as refused:
        source.run(statement)

    assert CANARY not in str(refused.value)
    assert isinstance(refused.value, PlanError)


def test_the_transaction_is_read_only_even_without_the_gate(opened):
    source = opened(t=TableSpec(origin="mutable"), user="postgres")
    for statement in (
        "DROP TABLE public.mutable",
        "CREATE TABLE public.x (i int)",
        "INSERT INTO public.mutable VALUES (9)",
    ):
        with pytest.raises(SourceError, match="25006"):
            source._command(statement)
        source._connection.rollback()


def test_values_never_reach_an_error(opened):
    source = opened(t=TableSpec(origin="many"))
    with pytest.raises(RangeError) as refused:
        source.run('SELECT CAST(\'canary-\' || "s" AS INT) AS x FROM "t"')

    assert "canary" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_what_is_missing_is_named(opened, server):
    with pytest.raises(ConfigurationError, match="no_such"):
        opened(t=TableSpec(origin="no_such"))
    with pytest.raises(ConfigurationError, match="columns"):
        opened(t=TableSpec(origin="mutable", columns={"a": "b"}))
    source = opened(t=TableSpec(origin="forbidden"))
    with pytest.raises(SourceError, match="may not read"):
        source.run('SELECT COUNT(*) AS n FROM "t"')
    for url in (f"postgresql://nobody_here@/postgres?host={server}", f"postgresql://reader@/none?host={server}",
                "postgresql://reader:hunter2@127.0.0.1:1/postgres"):  # fmt: skip
        with pytest.raises(SourceError) as failed:
            open_source(SourceSpec(url=url, tables={"t": TableSpec()}), LIMITS)
        assert "hunter2" not in str(failed.value)


def test_a_server_that_goes_away_is_a_source_error(opened, admin):
    source = opened(t=TableSpec(origin="many"))
    admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
    with pytest.raises(SourceError):
        source.run('SELECT COUNT(*) AS n FROM "t"')


def test_domains_and_an_extensions_text_count_as_what_they_stand_for(opened, admin):
    admin(
        "CREATE SCHEMA kinds",
        "CREATE EXTENSION citext SCHEMA kinds",
        "CREATE DOMAIN kinds.amount AS numeric(10,2)",
        "CREATE DOMAIN kinds.fee AS kinds.amount CHECK (VALUE > 0)",
        "CREATE DOMAIN kinds.feeling AS mood",
        "CREATE DOMAIN kinds.tag AS kinds.citext",
        """CREATE TABLE kinds.held (folded kinds.citext, fee kinds.fee, feeling kinds.feeling, tag kinds.tag,
           padded bpchar, doubled int GENERATED ALWAYS AS (21 * 2) STORED, "select" int, "Mixed ""Case" int)""",
        "INSERT INTO kinds.held VALUES ('AbC', 2.5, 'glad', 'T', 'p', DEFAULT, 7, 8)",
        "GRANT USAGE ON SCHEMA kinds TO reader",
        "GRANT SELECT ON kinds.held TO reader",
    )
    source = opened(t=TableSpec(origin="kinds.held"))
    (batch,) = source.stream("t", [c.name for c in source.describe()["t"]])

    assert {c.name: c.type for c in source.describe()["t"]} == {
        "folded": "VARCHAR", "fee": "DECIMAL(10,2)", "feeling": "VARCHAR", "tag": "VARCHAR", "padded": "VARCHAR",
        "doubled": "INTEGER", "select": "INTEGER", 'Mixed "Case': "INTEGER",
    }  # fmt: skip
    assert [batch[n].values.tolist() for n in ("folded", "fee", "feeling", "tag", "padded", "doubled", "select")] == [
        ["AbC"], [2.5], ["glad"], ["T"], ["p"], [42], [7]
    ]  # fmt: skip
    assert source.run('SELECT COUNT(*) AS n FROM "t" WHERE "folded" = \'abc\'')["n"].values.tolist() == [0]


@pytest.mark.parametrize("value", ["infinity", "-infinity"])
@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_an_infinite_day_or_time_is_an_error_and_no_number(opened, admin, kind, value):
    admin(
        "DROP TABLE IF EXISTS boundless",
        f"CREATE TABLE boundless AS SELECT '{value}'::{kind} AS at",
        "GRANT SELECT ON boundless TO reader",
    )
    with pytest.raises(RangeError) as refused:
        next(opened(t=TableSpec(origin="boundless")).stream("t", ["at"]))

    assert refused.value.fields == {"column": "at"}


def test_a_partitioned_table_and_a_name_with_a_quotation_mark_are_read(opened, admin):
    admin(
        'CREATE TABLE "in ""parts""" (k int) PARTITION BY RANGE (k)',
        'CREATE TABLE low PARTITION OF "in ""parts""" FOR VALUES FROM (0) TO (10)',
        'CREATE TABLE high PARTITION OF "in ""parts""" FOR VALUES FROM (10) TO (20)',
        'INSERT INTO "in ""parts""" SELECT generate_series(0, 19)',
        'GRANT SELECT ON "in ""parts""" TO reader',
    )
    source = opened(t=TableSpec(origin='"in ""parts"""'))

    assert source.run('SELECT SUM("k") AS s FROM "t"')["s"].values.tolist() == [190]


def test_addresses_get_the_strict_defaults_and_keep_what_they_say():
    strict = connection_url("postgres://reader:p%40@db.internal:5433/crm")
    assert "sslmode=verify-full" in strict
    assert strict.startswith("postgresql://reader:p%40@db.internal:5433/crm?")
    assert "sslmode=require" in connection_url("postgresql://db/crm?sslmode=require")
    assert "verify-full" not in connection_url("postgresql://db/crm?sslmode=require")
    assert "verify-full" in connection_url("postgresql:///crm?host=db.internal")
    for away in ("//localhost,db.internal/crm", "//localhost:1,db.internal:2/crm", "///crm?hostaddr=192.0.2.1",
                 "///crm?host=localhost,db.internal", "///crm?host=/run/x&host=db", "///crm?service=crm"):  # fmt: skip
        assert "sslmode=verify-full" in connection_url(f"postgresql:{away}"), away
    for local in ("postgresql://localhost/crm", "postgresql:///crm?host=/run/postgresql", "postgresql:///crm"):
        assert "sslmode" not in connection_url(local)
    assert needs_network(SourceSpec(url="env:URL", tables={}), {"URL": "postgresql://db/crm"})
