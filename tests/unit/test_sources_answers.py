"""One query set over every kind of source gives one set of answers, and streams of any kind stay small."""

import datetime as dt
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from mpc.errors import ConfigurationError, PlanError, SourceError
from servers.party.sources import Dialect, Limits, SourceSpec, TableSpec, file_url, open_source

LIMITS = Limits(memory_bytes=256 << 20, threads=1, statement_timeout_s=20)

TYPES = {
    "id": "BIGINT",
    "shop": "VARCHAR",
    "amount": "DECIMAL(18,3)",
    "ratio": "DOUBLE",
    "paid": "BOOLEAN",
    "day": "DATE",
    "at": "TIMESTAMP",
}

QUERIES = [
    'SELECT COUNT(*) AS n, COUNT("shop") AS k, COUNT("ratio") AS r FROM "t"',
    'SELECT CAST(SUM(CAST("amount" * 1000 AS HUGEINT)) AS VARCHAR) AS digits FROM "t"',
    'SELECT "shop", COUNT(*) AS n, SUM("id") AS s FROM "t" GROUP BY "shop" ORDER BY "shop" NULLS LAST',
    'SELECT "paid", MIN("day") AS a, MAX("at") AS b FROM "t" GROUP BY "paid" ORDER BY "paid" NULLS FIRST',
    'SELECT DATE_TRUNC(\'month\', "day") AS m, COUNT(*) AS n FROM "t" GROUP BY 1 ORDER BY 1 NULLS LAST',
    'SELECT SUM(CASE WHEN "paid" THEN 1 ELSE 0 END) AS p, COUNT(*) FILTER (WHERE NOT "paid") AS q FROM "t"',
    'SELECT MIN("shop") AS a, MAX("shop") AS b FROM "t" WHERE "shop" > \'Z\'',
    'SELECT CAST(ROUND("ratio" * 1000000) AS BIGINT) AS x FROM "t" WHERE "ratio" IS NOT NULL ORDER BY 1',
    'SELECT COUNT(*) AS n FROM "t" WHERE "day" IS NULL OR "at" < TIMESTAMP \'2024-01-03 00:00:00\'',
    'SELECT "id" FROM "t" WHERE FALSE',
]
SHOPS = ["Ä", "a", "B", "Z", "ß", "", "zz"]


def rows(count: int = 500) -> list[tuple]:
    out = []
    for i in range(count):
        null = i % 11 == 3
        out.append((
            i, None if i % 7 == 5 else SHOPS[i % 7] or None, None if null else f"{(i * 7919) % 100000 / 1000 - 30:.3f}",
            None if null else i / 7 - 3, None if i % 5 == 4 else i % 2 == 0,
            None if i % 13 == 12 else dt.date(2024, 1, 1) + dt.timedelta(days=i % 60),
            dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=i * 977),
        ))  # fmt: skip
    return out


def arrow() -> pa.Table:
    columns = list(zip(*rows(), strict=True))
    kinds = [pa.int64(), pa.string(), pa.string(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us", tz="UTC")]
    table = pa.table({n: pa.array(c, k) for n, c, k in zip(TYPES, columns, kinds, strict=True)})
    return table.set_column(2, "amount", table.column("amount").cast(pa.decimal128(18, 3)))


def write(kind: str, path: Path) -> str:
    table = arrow()
    if kind == "parquet":
        pq.write_table(table, path / "t.parquet", row_group_size=100)
        return file_url(path / "t.parquet")
    if kind == "arrow":
        feather.write_feather(table, str(path / "t.arrow"))
        return file_url(path / "t.arrow")
    if kind == "csv":
        pacsv.write_csv(table, path / "t.csv")
        return file_url(path / "t.csv")
    if kind == "duckdb":
        with duckdb.connect(str(path / "t.duckdb")) as connection:
            connection.register("incoming", table)
            connection.execute("CREATE TABLE t AS SELECT * FROM incoming")
        return file_url(path / "t.duckdb")
    with sqlite3.connect(path / "t.sqlite") as connection:
        connection.execute(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, shop VARCHAR(20), amount DECIMAL(18,3), ratio REAL, paid BOOLEAN,"
            " day DATE, at TIMESTAMP, untyped)"
        )
        filled = [(*r[:5], r[5] and r[5].isoformat(), r[6].strftime("%Y-%m-%d %H:%M:%S"), b"x") for r in rows()]
        connection.executemany("INSERT INTO t VALUES (?,?,?,?,?,?,?,?)", filled)
    connection.close()
    return file_url(path / "t.sqlite")


def answers(source) -> list[dict]:
    out = []
    for query in QUERIES:
        integers = ["digits"] if "digits" in query else []
        result = source.run(query, integers=integers)
        out.append({n: (c.kind, str(c.values.dtype), c.values.tolist(), c.nulls.tolist()) for n, c in result.items()})
    return out


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    url = write("parquet", tmp_path_factory.mktemp("expected"))
    source = open_source(SourceSpec(url=url, tables={"t": TableSpec(types=TYPES)}), LIMITS)
    yield answers(source)
    source.close()


def test_the_reference_answers_are_right(expected):
    data = rows()
    cents = sum(round(float(r[2]) * 1000) for r in data if r[2] is not None)

    assert expected[0]["n"][2] == [500]
    assert expected[0]["k"][2] == [sum(r[1] is not None for r in data)]
    assert expected[1]["digits"][2] == [cents]
    assert expected[9]["id"][2] == []


@pytest.mark.parametrize("kind", ["arrow", "csv", "duckdb", "sqlite"])
def test_every_kind_gives_the_same_answers(tmp_path, expected, kind):
    if kind == "sqlite":
        pytest.importorskip("adbc_driver_sqlite", reason="the extra `sqlite` is not installed")
    source = open_source(SourceSpec(url=write(kind, tmp_path), tables={"t": TableSpec(types=TYPES)}), LIMITS)
    found = answers(source)
    streamed = [b["id"].values for b in source.stream("t", ["id", "shop"], batch_rows=64)]
    source.close()

    assert source.dialect is Dialect.DUCKDB
    for query, here, there in zip(QUERIES, found, expected, strict=True):
        assert here == there, query
    assert max(len(b) for b in streamed) <= 64
    assert np.concatenate(streamed).tolist() == list(range(500))


class TestSqlite:
    @pytest.fixture(autouse=True)
    def _driver(self):
        pytest.importorskip("adbc_driver_sqlite", reason="the extra `sqlite` is not installed")

    def opened(self, path, **spec):
        return open_source(SourceSpec(url=f"sqlite:{path}", tables={"t": TableSpec(**spec)}), LIMITS)

    def test_text_after_thousands_of_nulls_is_still_text(self, tmp_path):
        with sqlite3.connect(tmp_path / "x.db") as connection:
            connection.execute("CREATE TABLE t (s TEXT, d DATE)")
            connection.executemany("INSERT INTO t VALUES (?, ?)", [(None, None)] * 5000 + [("x", "2024-01-02")])
        connection.close()
        source = self.opened(tmp_path / "x.db")
        result = source.run('SELECT COUNT(*) AS n, MAX("s") AS s, MAX("d") AS d FROM "t"')

        assert result["n"].values.tolist() == [5001]
        assert result["s"].values.tolist() == ["x"]
        assert result["d"].values.tolist() == [19724]

    def test_the_owners_condition_is_sqlites_and_the_snapshot_is_the_files(self, tmp_path):
        with sqlite3.connect(tmp_path / "x.db") as connection:
            connection.execute("CREATE TABLE t (a INT, ok INT)")
            connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, 1), (2, 0), (3, 1)])
        connection.close()
        source = self.opened(tmp_path / "x.db", where="ok = 1", columns={"value": "a"})
        everything = self.opened(tmp_path / "x.db")

        assert source.run('SELECT SUM("value") AS s FROM "t"')["s"].values.tolist() == [4]
        assert source.snapshot().identity != everything.snapshot().identity
        assert [f.name for f in source.snapshot().files] == ["database"]
        assert everything.snapshot() == self.opened(tmp_path / "x.db").snapshot()

    def test_other_tables_and_what_is_not_there(self, tmp_path):
        with sqlite3.connect(tmp_path / "x.db") as connection:
            connection.execute("CREATE TABLE t (a INT)")
            connection.execute("CREATE TABLE secret (a INT)")
        connection.close()
        with pytest.raises(PlanError):
            self.opened(tmp_path / "x.db").run('SELECT * FROM "secret"')
        with pytest.raises(ConfigurationError):
            self.opened(tmp_path / "x.db", origin="none")
        (tmp_path / "broken.db").write_bytes(b"no database" * 100)
        with pytest.raises(SourceError):
            self.opened(tmp_path / "broken.db")
        with pytest.raises(SourceError):
            self.opened(tmp_path / "none.db")


def test_a_stream_of_millions_of_rows_stays_within_a_few_batches(tmp_path):
    """Peak memory over streaming 6 million rows (144 MB of arrays) against the peak before."""
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT i AS a, i * 0.5 AS b, i % 1000 AS c FROM range(6000000) t(i)) TO '{tmp_path}/x.parquet'"
        )
    script = """
        import resource, sys
        from servers.party.sources import Limits, SourceSpec, TableSpec, open_source
        limits = Limits(memory_bytes=128 << 20, threads=1)
        source = open_source(SourceSpec(url="parquet:" + sys.argv[1], tables={"t": TableSpec()}), limits)
        next(iter(source.stream("t", ["a"], batch_rows=10)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        total = sum(int(batch["a"].values.sum()) for batch in source.stream("t", ["a", "b", "c"]))
        print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "x.parquet")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=root)
    total, grown_kilobytes = map(int, done.stdout.split())

    assert total == 6_000_000 * 5_999_999 // 2
    assert grown_kilobytes < 100_000
