"""Files as sources: what each type becomes, what a snapshot pins, and how much a stream holds."""

import datetime as dt
import os
import time
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from mpc.errors import ConfigurationError, MpcError, PlanError, RangeError, SourceError
from mpc.keys.dictionary import ColumnKind
from servers.party.sources import (
    DigestCache,
    Limits,
    SourceSpec,
    TableSpec,
    file_url,
    open_source,
    resolve_url,
    resolved,
)

UTC = dt.UTC

NAIVE = dt.datetime.fromisoformat

LIMITS = Limits(memory_bytes=256 << 20, threads=1, statement_timeout_s=20)

TYPED = pa.table({
    "flag": pa.array([True, None, False]),
    "small": pa.array([1, None, -3], pa.int8()),
    "big": pa.array([1 << 62, None, -(1 << 62)], pa.int64()),
    "word": pa.array([7, None, (1 << 32) - 1], pa.uint32()),
    "huge": pa.array([(1 << 64) - 1, None, 0], pa.uint64()),
    "price": pa.array([Decimal("3.105"), None, Decimal("-0.001")], pa.decimal128(18, 3)),
    "wide": pa.array([Decimal(10**37), None, Decimal(-(10**37))], pa.decimal128(38, 0)),
    "ratio": pa.array([0.5, None, float("nan")]),
    "single": pa.array([0.1, None, -2.0], pa.float32()),
    "text": pa.array(["süß", None, ""]),
    "day": pa.array([dt.date(2024, 2, 29), None, dt.date(1969, 12, 31)]),
    "local": pa.array([NAIVE("2024-01-02T03:04:05.678901"), None, NAIVE("1969-12-31T23:00:00")],
                      pa.timestamp("us")),
    "zoned": pa.array([dt.datetime(2024, 1, 2, 3, 0, tzinfo=UTC), None, dt.datetime(2024, 7, 1, tzinfo=UTC)],
                      pa.timestamp("us", tz="Europe/Berlin")),
    "fine": pa.array([1704164645678901234, None, -1], pa.timestamp("ns")),
    "label": pa.array(["x", None, "y"]).dictionary_encode(),
    "blob": pa.array([b"1", None, b"2"]),
    "items": pa.array([[1], None, []]),
})  # fmt: skip


def sales(rows: int = 1000) -> pa.Table:
    return pa.table({"id": range(rows), "shop": [f"s{i % 7}" for i in range(rows)]})


@pytest.fixture
def opened():
    sources = []

    def open_(url, tables=None, limits=LIMITS, **options):
        source = open_source(SourceSpec(url=str(url), tables=tables or {"t": TableSpec()}), limits, **options)
        sources.append(source)
        return source

    yield open_
    for source in sources:
        source.close()


def written(table: pa.Table, path: Path) -> str:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".arrow":
        feather.write_feather(table, str(path), compression="lz4")
    elif path.suffix == ".duckdb":
        with duckdb.connect(str(path)) as connection:
            connection.register("incoming", table)
            connection.execute("CREATE TABLE t AS SELECT * FROM incoming")
    return file_url(path)


@pytest.mark.parametrize("ending", ["parquet", "arrow", "duckdb"])
def test_every_type_becomes_what_the_table_says(tmp_path, opened, ending):
    source = opened(written(TYPED, tmp_path / f"data.{ending}"))
    types = {c.name: c.type for c in source.describe()["t"]}

    assert types["flag"] == "BOOLEAN"
    assert types["small"] == "TINYINT"
    assert types["word"] == "BIGINT"
    assert types["huge"] == "DECIMAL(20,0)"
    assert types["price"] == "DECIMAL(18,3)"
    assert types["single"] == "DOUBLE"
    assert types["zoned"] == types["local"] == "TIMESTAMP"
    assert types["label"] == "VARCHAR"
    assert types["blob"] is None
    assert types["items"] is None

    (batch,) = source.stream("t", [n for n, t in types.items() if t])
    expected = {
        "flag": (ColumnKind.BOOLEAN, np.bool_, [True, False, False]),
        "small": (ColumnKind.INTEGER, np.int64, [1, 0, -3]),
        "big": (ColumnKind.INTEGER, np.int64, [1 << 62, 0, -(1 << 62)]),
        "word": (ColumnKind.INTEGER, np.int64, [7, 0, (1 << 32) - 1]),
        "huge": (ColumnKind.INTEGER, np.object_, [(1 << 64) - 1, 0, 0]),
        "price": (ColumnKind.DOUBLE, np.float64, [3.105, np.nan, -0.001]),
        "wide": (ColumnKind.INTEGER, np.object_, [10**37, 0, -(10**37)]),
        "ratio": (ColumnKind.DOUBLE, np.float64, [0.5, np.nan, np.nan]),
        "single": (ColumnKind.DOUBLE, np.float64, [float(np.float32(0.1)), np.nan, -2.0]),
        "text": (ColumnKind.VARCHAR, np.object_, ["süß", "", ""]),
        "day": (ColumnKind.DATE, np.int64, [19782, 0, -1]),
        "local": (ColumnKind.TIMESTAMP, np.int64, [1704164645678901, 0, -3_600_000_000]),
        "zoned": (ColumnKind.TIMESTAMP, np.int64, [1704164400000000, 0, 1719792000000000]),
        "fine": (ColumnKind.TIMESTAMP, np.int64, [1704164645678901, 0, 0]),
        "label": (ColumnKind.VARCHAR, np.object_, ["x", "", "y"]),
    }
    assert set(batch) == set(expected)
    for name, (kind, dtype, values) in expected.items():
        column = batch[name]
        assert column.kind is kind, name
        assert column.values.dtype == dtype, name
        assert column.nulls.tolist() == [False, True, False], name
        np.testing.assert_array_equal(column.values[[0, 2]], np.array(values, dtype=dtype)[[0, 2]], err_msg=name)
        np.testing.assert_array_equal(column.values[1:2], np.array(values, dtype=dtype)[1:2], err_msg=name)


def test_array_types_do_not_depend_on_the_values(tmp_path, opened):
    source = opened(written(TYPED, tmp_path / "data.parquet"))
    for rows in ("", " WHERE FALSE", ' WHERE "text" IS NULL'):
        result = source.run(
            f'SELECT SUM("big") AS s, COUNT(*) AS n, MAX("price") AS m, MIN("text") AS t FROM "t"{rows}'
        )
        assert [str(c.values.dtype) for c in result.values()] == ["object", "int64", "float64", "object"]


def test_exact_integers_beyond_64_bits_come_back_exact(tmp_path, opened):
    source = opened(written(TYPED, tmp_path / "data.parquet"))
    square = '"big"::HUGEINT * 65536'
    result = source.run(
        f'SELECT SUM({square}) AS h, CAST(MAX({square}) AS VARCHAR) AS v, CAST(MIN({square}) AS VARCHAR) AS w FROM "t"',
        integers=["v", "w"],
    )

    assert result["h"].values.tolist() == [0]
    assert result["v"].values.tolist() == [1 << 78]
    assert result["w"].values.tolist() == [-(1 << 78)]
    with pytest.raises(RangeError) as refused:
        source.run('SELECT "text" FROM "t"', integers=["text"])
    assert "süß" not in str(refused.value)


def test_wide_decimals_round_to_the_nearest_double(tmp_path, opened):
    values = [Decimal("0.1"), Decimal("123456789012345.678901"), Decimal("-9007199254740993.5"), Decimal("0.000001")]
    table = pa.table({"x": pa.array(values, pa.decimal128(38, 6))})
    source = opened(written(table, tmp_path / "data.parquet"))

    assert source.run('SELECT "x" FROM "t"')["x"].values.tolist() == [float(v) for v in values]


def test_csv_has_declared_types_and_reads_the_whole_file_for_the_others(tmp_path, opened):
    rows = "\n".join(["123,1,2024-05-06,,true"] * 30_000 + ["007,2.5,2024-05-07,x,false"])
    (tmp_path / "data.csv").write_text("code,amount,day,note,ok\n" + rows + "\n")
    spec = {"t": TableSpec(types={"code": "VARCHAR"})}
    source = opened(tmp_path / "data.csv", spec)

    assert [c.type for c in source.describe()["t"]] == ["VARCHAR", "DOUBLE", "DATE", "VARCHAR", "BOOLEAN"]
    result = source.run('SELECT "code", COUNT(*) AS n, COUNT("note") AS k FROM "t" GROUP BY 1 ORDER BY 1')
    assert result["code"].values.tolist() == ["007", "123"]
    assert result["n"].values.tolist() == [1, 30_000]
    assert result["k"].values.tolist() == [1, 0]
    assert opened(tmp_path / "data.csv").describe()["t"][1].type == "DOUBLE"
    (tmp_path / "zip.csv").write_text("code\n00123\n")
    assert opened(tmp_path / "zip.csv", spec).run('SELECT "code" FROM "t"')["code"].values.tolist() == ["00123"]


def test_a_csv_value_against_its_declared_type_is_a_range_error_without_the_value(tmp_path, opened):
    (tmp_path / "data.csv").write_text("a\n1\nsecretvalue\n")
    source = opened(tmp_path / "data.csv", {"t": TableSpec(types={"a": "BIGINT"})})

    with pytest.raises(MpcError) as failed:
        source.run('SELECT SUM("a") AS s FROM "t"')
    assert "secretvalue" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_hive_partitions_and_files_with_different_columns_are_one_table(tmp_path, opened):
    for year, extra in ((2023, {}), (2024, {"note": ["n"] * 10})):
        folder = tmp_path / "sales" / f"year={year}" / "month=01"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"v": range(10), **extra}), folder / "part.parquet")
    (tmp_path / "sales" / "_temporary").mkdir()
    (tmp_path / "sales" / "_temporary" / "half.parquet").write_bytes(b"not parquet")
    source = opened(f"parquet:{tmp_path / 'sales'}")
    result = source.run('SELECT "year", SUM("v") AS s, COUNT("note") AS k FROM "t" GROUP BY 1 ORDER BY 1')

    assert result["year"].values.tolist() == [2023, 2024]
    assert result["s"].values.tolist() == [45, 45]
    assert result["k"].values.tolist() == [0, 10]
    assert [f.name for f in source.snapshot().files] == [
        "t/year=2023/month=01/part.parquet", "t/year=2024/month=01/part.parquet"
    ]  # fmt: skip


def test_columns_are_renamed_and_rows_restricted_before_any_statement(tmp_path, opened):
    pq.write_table(pa.table({'Customer "ID"': [1, 2, 3], "consent": [True, False, True]}), tmp_path / "a.parquet")
    spec = TableSpec(columns={"customer": 'Customer "ID"'}, where="consent")
    source = opened(tmp_path / "a.parquet", {"t": spec})

    assert source.run('SELECT "customer" FROM "t"')["customer"].values.tolist() == [1, 3]
    assert [b["customer"].values.tolist() for b in source.stream("t", ["customer"])] == [[1, 3]]
    with pytest.raises(PlanError):
        source.run('SELECT "consent" FROM "t"')
    with pytest.raises(ConfigurationError, match="condition"):
        opened(tmp_path / "a.parquet", {"t": TableSpec(where="no_such_column > 1")})
    with pytest.raises(ConfigurationError, match="no columns"):
        opened(tmp_path / "a.parquet", {"t": TableSpec(columns={"a": "b"})})


def test_several_tables_of_one_folder(tmp_path, opened):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "one.parquet")
    pq.write_table(pa.table({"b": [2, 3]}), tmp_path / "two.parquet")
    tables = {"one": TableSpec(origin="one.parquet"), "two": TableSpec(origin="two.parquet")}
    source = opened(f"parquet:{tmp_path}", tables)

    assert source.run('SELECT SUM("b") AS s FROM "two"')["s"].values.tolist() == [5]
    with pytest.raises(PlanError):
        source.run('SELECT "b" FROM "one"')


@pytest.mark.parametrize("rows", [1, 999, 1000, 100_000])
def test_a_stream_keeps_order_and_batch_size(tmp_path, opened, rows):
    source = opened(written(sales(5000), tmp_path / "data.parquet"))
    batches = list(source.stream("t", ["id", "shop"], batch_rows=rows)) if rows > 1 else None
    if batches is None:
        first = next(iter(source.stream("t", ["id"], batch_rows=1)))
        assert first["id"].values.tolist() == [0]
        return

    assert max(len(b["id"]) for b in batches) <= rows
    assert np.concatenate([b["id"].values for b in batches]).tolist() == list(range(5000))


def test_an_abandoned_stream_does_not_stand_in_the_way(tmp_path, opened):
    source = opened(written(sales(200_000), tmp_path / "data.parquet"))
    stream = source.stream("t", ["id"], batch_rows=1000)
    next(stream)
    stream.close()

    assert source.run('SELECT COUNT(*) AS n FROM "t"')["n"].values.tolist() == [200_000]


def test_the_same_content_elsewhere_is_the_same_snapshot_and_other_conditions_are_not(tmp_path, opened):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pq.write_table(sales(), tmp_path / name / "part.parquet")
    one, same = (opened(f"parquet:{tmp_path / n}").snapshot() for n in "ab")
    restricted = opened(f"parquet:{tmp_path / 'a'}", {"t": TableSpec(where="id > 5")}).snapshot()
    pq.write_table(sales(1001), tmp_path / "b" / "part.parquet")
    other = opened(f"parquet:{tmp_path / 'b'}").snapshot()

    assert one.identity == same.identity
    assert len({one.identity, restricted.identity, other.identity}) == 3
    assert str(tmp_path) not in repr(one)


@pytest.mark.parametrize("how", ["rewrite", "replace", "remove"])
def test_a_file_that_changes_during_the_job_ends_it(tmp_path, opened, how):
    path = tmp_path / "data.parquet"
    source = opened(written(sales(), path))
    source.run('SELECT COUNT(*) AS n FROM "t"')
    before = path.stat()
    content = path.read_bytes()
    if how == "remove":
        path.unlink()
    elif how == "rewrite":
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the change time still tells
    else:
        (tmp_path / "new.parquet").write_bytes(content)
        (tmp_path / "new.parquet").replace(path)

    with pytest.raises(SourceError):
        source.run('SELECT COUNT(*) AS n FROM "t"')
    with pytest.raises(SourceError):
        list(source.stream("t", ["id"]))


def test_a_repeated_query_does_not_hash_again(tmp_path, opened):
    path = tmp_path / "data.parquet"
    url = written(sales(), path)
    cache = DigestCache()
    first = opened(url, cache=cache).snapshot()
    assert not cache.entries  # too young: another write could fall into the same tick of the clock
    long_ago = time.time_ns() - 10**10
    os.utime(path, ns=(long_ago, long_ago))
    time.sleep(2.1)
    assert opened(url, cache=cache).snapshot() == first
    ((key, digest),) = cache.entries.items()
    assert digest == first.files[0].sha256
    cache.entries[key] = "0" * 64

    assert opened(url, cache=cache).snapshot().files[0].sha256 == "0" * 64


@pytest.mark.parametrize("url", ["parquet:/no/such/file.parquet", "duckdb:/no/such.duckdb", "csv:/no/such.csv"])
def test_what_does_not_exist_is_a_source_error(opened, url):
    with pytest.raises(SourceError):
        opened(url)


@pytest.mark.parametrize("url", ["ftp://x/y", "data.xlsx", "", "env:SEALROOM_TEST_NOT_SET", "file:/no/such/secret"])
def test_addresses_that_mean_nothing_are_refused(opened, url):
    with pytest.raises(ConfigurationError):
        opened(url)


def test_broken_files_are_source_errors(tmp_path, opened):
    for name in ("a.parquet", "b.arrow", "c.duckdb"):
        (tmp_path / name).write_bytes(b"garbage" * 1000)
        with pytest.raises(SourceError):
            opened(file_url(tmp_path / name))


def test_a_link_or_an_origin_out_of_the_folder_is_refused(tmp_path, opened):
    folder = tmp_path / "data"
    folder.mkdir()
    pq.write_table(sales(), tmp_path / "secret.parquet")
    (folder / "link.parquet").symlink_to(tmp_path / "secret.parquet")
    with pytest.raises(ConfigurationError, match="link"):
        opened(f"parquet:{folder}")
    with pytest.raises(ConfigurationError, match="leaves"):
        opened(f"parquet:{folder}", {"t": TableSpec(origin="../secret.parquet")})


def test_addresses_come_from_the_environment_or_a_secret_file(tmp_path):
    (tmp_path / "secret").write_text("duckdb:/data/x.duckdb\n")

    assert resolve_url(f"file:{tmp_path / 'secret'}") == "duckdb:/data/x.duckdb"
    assert resolve_url("env:URL", {"URL": "sqlite:/x"}) == "sqlite:/x"
    assert resolve_url("parquet:/x") == "parquet:/x"
    spec = resolved(SourceSpec(url="env:URL", tables={}), {"URL": "postgresql://u:hunter2@h/d"})
    assert spec.url == "postgresql://u:hunter2@h/d"
    assert "hunter2" not in repr(spec)
