"""What the locked engine and the gate before it refuse: 61 known probes, variations of them, and a trace of files."""

import itertools
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import DeadlineExceeded, JobCancelled, MpcError, PlanError, RangeError, ResourceExhausted
from servers.party.sources import Limits, SourceSpec, TableSpec, open_source
from servers.party.sources.statement import check_select
from tests.lanes import lane_missing

CANARY = "canary-7d1f0c"
LIMITS = Limits(memory_bytes=256 << 20, threads=1, statement_timeout_s=10)
CANARY_VALUE = 7_191_119
secret_python_variable = np.arange(3) + CANARY_VALUE

PROBES = {
    "read_csv": "select * from read_csv('{d}/secret.csv', header=false)",
    "from_path": "select * from '{d}/secret.csv'",
    "from_csv_path": "select * from '{d}/f.csv'",
    "read_text": "select content from read_text('{d}/secret.csv')",
    "read_blob": "select content from read_blob('{d}/secret.csv')",
    "glob": "select * from glob('{d}/*')",
    "sniff_csv": "select * from sniff_csv('{d}/secret.csv')",
    "read_json": "select * from read_json('{d}/f.json')",
    "read_parquet": "select * from read_parquet('{d}/secret.parquet')",
    "parquet_metadata": "select * from parquet_metadata('{d}/secret.parquet')",
    "copy_to": "copy people to '{d}/out.csv'",
    "copy_from": "copy people from '{d}/secret.csv'",
    "export_db": "export database '{d}/exp'",
    "import_db": "import database '{d}/exp'",
    "attach_file": "attach '{d}/other.duckdb' as o",
    "attach_ro": "attach '{d}/other.duckdb' as o (read_only)",
    "attach_memory": "attach ':memory:' as m2",
    "use_other": "use memory",
    "install": "install httpfs",
    "load": "load httpfs",
    "load_path": "load '/nonexistent/evil.duckdb_extension'",
    "http_read": "select * from read_csv('http://127.0.0.1:9/x.csv')",
    "s3": "select * from read_parquet('s3://b/x')",
    "create_secret": "create secret s (type s3, key_id 'a', secret 'b')",
    "set_ext": "set enable_external_access=true",
    "set_global_ext": "set global enable_external_access=true",
    "reset_ext": "reset enable_external_access",
    "set_lock": "set lock_configuration=false",
    "pragma_mem": "pragma memory_limit='100GB'",
    "set_threads": "set threads=64",
    "set_tempdir": "set temp_directory='{d}/t'",
    "set_home": "set home_directory='/tmp'",
    "set_logging": "call enable_logging()",
    "enable_profiling": "pragma enable_profiling; pragma profiling_output='{d}/prof.json'",
    "set_searchpath": "set search_path='main'",
    "getenv": "select getenv('SEALROOM_TEST_CANARY')",
    "settings": "select count(*) from duckdb_settings()",
    "tables": "select table_name from duckdb_tables()",
    "databases_paths": "select path from duckdb_databases() where path is not null",
    "secrets": "select count(*) from duckdb_secrets()",
    "log_storage": "select count(*) from duckdb_logs",
    "python_var": "select * from secret_python_variable",
    "other_table": "select * from {c}.secret_tbl",
    "query_fn": "select * from query('select * from {c}.secret_tbl')",
    "query_table_fn": "select * from query_table('{c}.secret_tbl')",
    "json_exec": "select * from json_execute_serialized_sql(json_serialize_sql('select * from {c}.secret_tbl'))",
    "from_substrait": "call from_substrait_json('{{}}')",
    "multi_stmt": "select 1; drop table if exists zzz; select 2",
    "drop_table": "drop table {c}.secret_tbl",
    "insert": "insert into {c}.people values (1,1,1)",
    "create_macro": "create macro sum(x) as 42",
    "create_view": "create view people_v as select * from {c}.secret_tbl",
    "prepare_exec": "prepare p as select * from {c}.secret_tbl; execute p",
    "set_variable": "set variable x=1",
    "checkpoint": "force checkpoint",
    "vacuum": "vacuum",
    "current_setting": "select current_setting('temp_directory')",
    "write_blob_fn": "copy (select 'x') to '{d}/w.txt' (format csv)",
    "copy_db": "copy from database source to memory",
    "duckdb_extensions": "select count(*) from duckdb_extensions()",
    "shell_cat": "select * from read_csv('cat {d}/secret.csv |')",
}
"""The statements of the earlier study, with files and tables of this test."""

RUNS_WITHOUT_THE_GATE = {
    "attach_memory", "checkpoint", "create_macro", "create_view", "current_setting", "databases_paths",
    "json_exec", "log_storage", "multi_stmt", "other_table", "prepare_exec", "query_fn",
    "query_table_fn", "secrets", "set_searchpath", "set_variable", "settings", "tables", "use_other", "vacuum",
}  # fmt: skip
"""What the engine's own settings do not refuse; anything new in this set is news about DuckDB."""

MORE = [
    "with people as (select 1 as id) select * from people, duckdb_tables",
    "select * from information_schema.tables",
    "select * from pg_catalog.pg_tables",
    "select * from sqlite_master",
    "select * from main.people",
    "select * from memory.main.people",
    "select (select count(*) from duckdb_tables()) as n",
    "select * from people where id in (select id from source.main.secret_tbl)",
    "with q as (select * from secret_tbl), secret_tbl as (select 1) select * from q",
    "with recursive t as (select 1 x union all select x+1 from t) select count(*) from t",
    "select * from range(10)",
    "select unnest([1,2])",
    "select getvariable('x')",
    "select nextval('s')",
    "select columns('.*') from people",
    "select * replace (1 as id) from people",
    "select id from people tablesample 10%",
    "select list_transform([1], lambda x: x + 1)",
    "select sum(id) over () from people",
    "select repeat('a', 4000000000)",
    "select random() from people",
    "select now()",
    "select #1 from people",
    "describe people",
    "summarize people",
    "show tables",
    "explain select 1",
    "pivot people on id using sum(grp)",
    "select * from (describe people)",
    "select * from people at (version => 1)",
    "select $1",
    "select ?",
    "",
    ";",
    "select 1;;select 2",
    "select 'unfinished",
    "\0select 1",
]  # fmt: skip

ALLOWED = [
    "from people",
    'SELECT COUNT(*) AS n FROM "people"',
    "select count(*) as n from People",
    'WITH q AS (SELECT "grp" AS g, COUNT(*) AS n FROM "people" GROUP BY 1), r AS (SELECT * FROM q) SELECT * FROM r',
    'SELECT "grp", SUM(CAST("id" AS HUGEINT)) FILTER (WHERE "id" > 1) AS s FROM "people" GROUP BY 1 ORDER BY 1 LIMIT 3',
    'SELECT CASE WHEN "v" BETWEEN 1 AND 2 THEN 1 ELSE COALESCE("id", 0) END AS c FROM "people" WHERE "grp" IN (1, 2)',
    'SELECT DATE_TRUNC(\'month\', DATE \'2024-01-05\') AS d, DATE \'2024-01-05\' + INTERVAL 1 MONTH AS e FROM "people"',
    'SELECT COUNT(DISTINCT "id") AS n, "grp" // 2 AS h FROM (SELECT DISTINCT "id", "grp" FROM people) AS x GROUP BY h',
    'SELECT COUNT(*) AS n FROM "people" AS a JOIN (VALUES (1), (2)) AS k(x) ON a."grp" = k.x',
    'SELECT "id" FROM "people" UNION ALL SELECT "grp" AS id FROM "people"',
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    d = tmp_path_factory.mktemp("lockdown")
    with duckdb.connect(str(d / "party.duckdb")) as connection:
        connection.execute("create table people as select i as id, i % 7 as grp, i * 1.5 as v from range(1000) t(i)")
        connection.execute(f"create table secret_tbl as select '{CANARY}' as x, {CANARY_VALUE} as y")
    with duckdb.connect(str(d / "other.duckdb")) as connection:
        connection.execute(f"create table s as select '{CANARY}' as x")
    (d / "secret.csv").write_text(f"{CANARY},1\n")
    (d / "f.csv").write_text(f"a,b\n{CANARY},2\n")
    (d / "f.json").write_text(f'{{"a": "{CANARY}"}}')
    pq.write_table(pa.table({"x": [CANARY]}), d / "secret.parquet")
    columns = {"id": range(1000), "grp": [i % 7 for i in range(1000)], "v": [i * 1.5 for i in range(1000)]}
    pq.write_table(pa.table(columns), d / "people.parquet")
    os.environ["SEALROOM_TEST_CANARY"] = CANARY
    yield d
    del os.environ["SEALROOM_TEST_CANARY"]


@pytest.fixture(params=["duckdb", "parquet"])
def source(request, folder):
    name = "party.duckdb" if request.param == "duckdb" else "people.parquet"
    opened = open_source(SourceSpec(url=f"{request.param}:{folder / name}", tables={"people": TableSpec()}), LIMITS)
    yield opened
    opened.close()


def attempt(run, statement):
    """What came out: a text of the rows or of the whole error."""
    try:
        return True, str(run(statement))
    except (MpcError, duckdb.Error, RuntimeError) as error:
        return False, f"{error} {getattr(error, 'detail', '')}"


def rows(source, statement):
    return {name: c.values.tolist() for name, c in source.run(statement).items()}


def test_there_are_61_probes():
    assert len(PROBES) == 61


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_is_refused_and_shows_nothing(source, folder, name):
    before = sorted(folder.iterdir())
    ran, shown = attempt(lambda s: rows(source, s), PROBES[name].format(d=folder, c="source"))

    assert not ran
    assert CANARY not in shown
    assert str(CANARY_VALUE) not in shown
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("statement", MORE)
def test_a_variation_is_refused(source, statement):
    with pytest.raises(PlanError) as refused:
        source.run(statement)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("statement", ALLOWED)
def test_generated_statements_pass(source, statement):
    assert len(next(iter(source.run(statement).values()))) >= 1


def test_the_settings_alone_hold_for_files_but_not_for_tables(folder):
    """Without the gate: no file, extension, network, setting or Python variable; but every table and catalogue."""
    ran = set()
    for name, statement in PROBES.items():
        spec = SourceSpec(url=f"duckdb:{folder / 'party.duckdb'}", tables={"people": TableSpec()})
        source = open_source(spec, LIMITS)
        connection = source._engine._connection
        done, shown = attempt(lambda s, c=connection: c.execute(s).fetchall(), statement.format(d=folder, c="source"))
        source.close()
        if done:
            ran.add(name)
        if name not in {"other_table", "query_fn", "query_table_fn", "json_exec", "prepare_exec"}:
            assert CANARY not in shown, name
    assert ran == RUNS_WITHOUT_THE_GATE


def test_a_declared_file_could_be_overwritten_by_the_engine_alone(tmp_path):
    """The hole behind `allowed_paths` that the gate and the sandbox close."""
    path = tmp_path / "people.parquet"
    pq.write_table(pa.table({"id": [1]}), path)
    source = open_source(SourceSpec(url=f"parquet:{path}", tables={"people": TableSpec()}), LIMITS)
    overwrite = f"copy (select 5 as id) to '{path}' (format parquet, use_tmp_file false)"
    with pytest.raises(PlanError):
        source.run(overwrite)
    source._engine._connection.execute(overwrite)
    source.close()

    assert pq.read_table(path).column("id").to_pylist() == [5]


def test_a_failed_check_names_the_column_and_nothing_else(source):
    statement = (
        """SELECT SUM(CASE WHEN "id" > 5 THEN error('sealroom-range-check:id') ELSE "id" END) AS s FROM "people" """
    )
    with pytest.raises(RangeError) as refused:
        source.run(statement)

    assert refused.value.fields == {"column": "id"}
    with pytest.raises(MpcError) as other:
        source.run(f"""SELECT error('sealroom-range-check:{CANARY}') AS s FROM "people" """)
    assert CANARY not in str(other.value)


def test_values_never_reach_an_error(source):
    with pytest.raises(RangeError) as refused:
        source.run("""SELECT CAST('canary-' || CAST("id" AS VARCHAR) AS BIGINT) AS x FROM "people" """)
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_statement_ends_at_its_timeout_and_the_source_goes_on(folder):
    limits = Limits(memory_bytes=256 << 20, threads=1, statement_timeout_s=0.5)
    source = open_source(SourceSpec(url=f"parquet:{folder / 'people.parquet'}", tables={"people": TableSpec()}), limits)
    slow = (
        'SELECT COUNT(*) AS n FROM "people" a, "people" b, "people" c, "people" d WHERE a."v" + b."v" <> c."v" * d."v"'
    )
    with pytest.raises(DeadlineExceeded):
        source.run(slow)

    assert rows(source, 'SELECT COUNT(*) AS n FROM "people"') == {"n": [1000]}
    source.interrupt()
    with pytest.raises(JobCancelled):
        source.run('SELECT COUNT(*) AS n FROM "people"')
    source.close()


def test_a_statement_beyond_the_memory_is_a_resource_error(folder):
    limits = Limits(memory_bytes=64 << 20, threads=1, statement_timeout_s=30)
    source = open_source(SourceSpec(url=f"parquet:{folder / 'people.parquet'}", tables={"people": TableSpec()}), limits)
    with pytest.raises(ResourceExhausted):
        source.run(
            'SELECT COUNT(DISTINCT (a."id" * 1000 + b."id") * 1000 + c."id") AS n FROM people a, people b, people c'
        )
    source.close()


NAMES = st.sampled_from(["people", "secret_tbl", "q", "duckdb_tables", "source.secret_tbl", '"people"', "x"])
EXPRESSIONS = st.sampled_from(
    ["id", "*", "count(*)", "x", "getvariable('a')", "sum(id)", "(select max(x) from secret_tbl)"]
)


@st.composite
def queries(draw, depth=0):
    shape = draw(st.integers(0, 5 if depth < 3 else 1))
    if shape <= 1:
        return f"select {draw(EXPRESSIONS)} from {draw(NAMES)}"
    inner = draw(queries(depth=depth + 1))
    if shape == 2:
        return f"select {draw(EXPRESSIONS)} from ({inner}) as {draw(st.sampled_from(['q', 'secret_tbl', 'y']))}"
    if shape == 3:
        name = draw(st.sampled_from(["q", "secret_tbl", "people"]))
        return f"with {name} as ({inner}) {draw(queries(depth=depth + 1))}"
    if shape == 4:
        return f"{inner} union all {draw(queries(depth=depth + 1))}"
    return f"select {draw(EXPRESSIONS)} from {draw(NAMES)} where exists ({inner})"


@settings(max_examples=400, deadline=None)
@given(statement=queries())
def test_no_accepted_query_reads_the_canary(statement):
    """The canary table has a name of its own in the search path here: only the gate stands before it."""
    connection = _open_engine()
    try:
        check_select(connection, statement, {"people"})
    except PlanError:
        return
    try:
        shown = str(connection.execute(statement).fetchall())
    except duckdb.Error as error:
        shown = str(error)

    assert CANARY not in shown
    assert str(CANARY_VALUE) not in shown


_ENGINES: list = []


def _open_engine():
    if not _ENGINES:
        connection = duckdb.connect(":memory:")
        connection.execute("create table people as select 1 as id, 2 as x")
        connection.execute(
            f"create table secret_tbl as select '{CANARY}' as x, {CANARY_VALUE} as y, {CANARY_VALUE} as id"
        )
        _ENGINES.append(connection)
    return _ENGINES[0]


@pytest.mark.lane("syscalls")
def test_no_file_outside_the_data_is_opened_after_the_lock(folder):
    """System calls of a process that runs every probe both ways: after the marker, only declared files are opened."""
    if shutil.which("strace") is None:
        lane_missing("syscalls", "strace is not installed")
    script = textwrap.dedent("""
        import json, os, sys
        from servers.party.sources import Limits, SourceSpec, TableSpec, open_source
        probes, path = json.loads(sys.argv[1]), sys.argv[2]
        limits = Limits(memory_bytes=256 << 20, threads=1, statement_timeout_s=10)
        source = open_source(SourceSpec(url=f"parquet:{path}", tables={"people": TableSpec()}), limits)
        source.run('SELECT SUM(v) AS s, date_trunc(\\'day\\', TIMESTAMP \\'2024-01-01\\') AS d FROM people GROUP BY 2')
        try:
            source.run('SELECT "no" FROM "people"')
        except Exception:
            pass
        print("ready", flush=True)
        os.stat("/sealroom-marker") if os.path.exists("/sealroom-marker") else None
        for run in (source.run, lambda s: source._engine._connection.execute(s).fetchall()):
            for probe in probes:
                try:
                    run(probe)
                except Exception:
                    pass
    """)
    import json

    probes = json.dumps([p.format(d=folder, c="source") for p in PROBES.values()])
    declared = folder / "people.parquet"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2,creat,connect,execve,stat,newfstatat", "-o",
         str(folder / "trace"), sys.executable, "-c", script, probes, str(declared)],
        capture_output=True, timeout=120, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    if b"ready" not in done.stdout:
        lane_missing("syscalls", f"strace may not trace here: {done.stderr[-200:]!r}")
    lines = (folder / "trace").read_text().splitlines()
    (folder / "trace").unlink()
    after = itertools.dropwhile(lambda line: "/sealroom-marker" not in line, lines)
    calls = [line for line in after if "open" in line or "creat(" in line or "connect(" in line]
    quiet = (
        str(declared),
        "/usr/",
        "/lib",
        "/proc/self",
        "/sys/fs/cgroup",
        "/proc/meminfo",
        sys.prefix,
        sys.base_prefix,
    )
    opened = [c for c in calls if " = -1 " not in c and not any(f'"{q}' in c for q in quiet)]

    assert any("/sealroom-marker" in line for line in lines)
    assert opened == []
    assert not any(str(folder / "secret.csv") in c for c in calls)
