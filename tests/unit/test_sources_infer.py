"""A dictionary inferred from local data: types, ranges, capacities and local keys are facts about that data."""

import datetime as dt
import time
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.client.infer import infer_dictionary, logical_names
from mpc.errors import ConfigurationError

RETAIL = Path(__file__).parents[3] / "shared" / "data" / "online-retail"


def columns_of(**parties):
    dictionary = infer_dictionary({party: {"t": table} for party, table in parties.items()})
    (table,) = dictionary.tables
    return table, {c.name: c for c in table.columns}


def one(**arrays):
    return pa.table(arrays)


@pytest.mark.parametrize(
    ("here", "there", "type_"),
    [
        (pa.int8(), pa.int16(), "SMALLINT"),
        (pa.int32(), pa.int64(), "BIGINT"),
        (pa.uint32(), pa.int32(), "BIGINT"),
        (pa.uint64(), pa.int8(), "BIGINT"),
        (pa.int32(), pa.float64(), "DOUBLE"),
        (pa.decimal128(18, 3), pa.float32(), "DOUBLE"),
        (pa.decimal128(10, 2), pa.decimal128(12, 6), "DECIMAL(14,6)"),
        (pa.decimal128(10, 2), pa.int32(), "DECIMAL(12,2)"),
        (pa.decimal128(38, 2), pa.int64(), "DECIMAL(38,2)"),
        (pa.bool_(), pa.bool_(), "BOOLEAN"),
        (pa.string(), pa.large_string(), "VARCHAR"),
        (pa.date32(), pa.timestamp("us"), "TIMESTAMP"),
        (pa.timestamp("ns", tz="Asia/Tokyo"), pa.timestamp("s"), "TIMESTAMP"),
    ],
)
def test_types_are_widened_over_the_parties(here, there, type_):
    def value(kind):
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return "x"
        if pa.types.is_temporal(kind):
            return dt.date(2024, 1, 2) if pa.types.is_date(kind) else dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
        return Decimal(1) if pa.types.is_decimal(kind) else pa.scalar(1).cast(kind).as_py()

    parties = {"a": one(x=pa.array([value(here)], here)), "b": one(x=pa.array([value(there)], there))}
    for order in (parties, {"a": parties["b"], "b": parties["a"]}):
        assert columns_of(**order)[1]["x"].type == type_


@pytest.mark.parametrize(
    ("here", "there"), [(["x"], [1]), ([True], [1]), ([dt.date(2024, 1, 1)], [1.5]), ([dt.date(2024, 1, 1)], ["2024"])]
)
def test_types_that_no_type_holds_are_refused_by_name(here, there):
    with pytest.raises(ConfigurationError, match=r"table t: x is"):
        columns_of(a=one(x=here), b=one(x=there))


def test_a_party_with_only_nulls_has_no_say():
    _, columns = columns_of(a=one(x=pa.array([None, None], pa.string())), b=one(x=[1, 2]), c=one(x=pa.nulls(3)))

    assert columns["x"].type == "BIGINT"
    assert columns["x"].nullable


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0, 1], 0, 1),
        ([5], 0, 8),
        ([8], 0, 8),
        ([9, -1], -1, 16),
        ([-9], -16, 0),
        ([None, None], 0, 1),
        ([1 << 60, -(1 << 60)], -(1 << 47), 1 << 47),
    ],
)
def test_integers_lie_between_powers_of_two(values, low, high):
    column = columns_of(a=one(x=pa.array(values, pa.int64())))[1]["x"]

    assert (column.minimum, column.maximum) == (low, high)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0.25, float("nan"), float("inf")], 0, 1),
        ([1.000001], 0, 2),
        ([-38970.0, 2.5], -65536, 4),
        ([1e300, -1e300], -(1 << 40), 1 << 40),
    ],
)
def test_doubles_have_scale_six_and_powers_of_two(values, low, high):
    column = columns_of(a=one(x=values))[1]["x"]

    assert (column.scale, column.minimum, column.maximum) == (6, low, high)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(1 << 46), 1 << 46), min_size=1, max_size=5))
def test_every_value_lies_in_the_range_and_the_range_is_not_twice_too_wide(values):
    for table in (one(x=pa.array(values, pa.int64())), one(x=[Decimal(v) / 100 for v in values])):
        column = columns_of(a=table)[1]["x"]
        own = table.column("x").to_pylist()

        assert column.minimum <= min(own)
        assert max(own) <= column.maximum
        assert column.maximum <= 2 * max(1, *own)
        assert column.minimum >= 2 * min(0, *own) - 2


def test_days_rows_parties_and_nulls():
    table, columns = columns_of(
        b=one(d=[dt.date(2024, 5, 6), None], t=[dt.datetime(2024, 5, 6, 23, tzinfo=dt.UTC)] * 2),
        a=one(d=[dt.date(1999, 1, 1)] * 1024, t=[dt.datetime(2024, 5, 5, 23, tzinfo=dt.UTC)] * 1024),
    )

    assert table.parties == ("a", "b")
    assert table.rows_at_most == 2048
    assert (columns["d"].earliest, columns["d"].latest, columns["d"].nullable) == ("1999-01-01", "2024-05-06", True)
    assert (columns["t"].earliest, columns["t"].latest, columns["t"].nullable) == ("2024-05-05", "2024-05-06", False)
    assert columns["d"].discoverable
    assert not columns["t"].discoverable
    assert columns_of(a=one(x=[1]))[0].rows_at_most == 1024


def test_discovery_has_room_for_all_parties_keys_and_the_longest_text():
    _, columns = columns_of(
        a=one(s=[f"a{i}" for i in range(3000)], b=[True, None] * 1500, n=range(3000)),
        b=one(s=[f"b{i}ü" for i in range(3000)], b=[False] * 3000, n=range(3000)),
    )

    assert columns["s"].discoverable
    assert columns["s"].capacity >= 6001
    assert columns["s"].capacity <= 4 * 6001
    assert columns["s"].max_bytes == 8
    assert columns["n"].capacity == 4096
    assert columns["b"].capacity == 16
    _, columns = columns_of(a=one(s=["x" * 2000]))
    assert not columns["s"].discoverable


def test_local_keys_are_those_without_a_shared_value():
    table, columns = columns_of(
        a=one(customer=[1, 2, None], country=["DE", "FR", "FR"], day=[dt.date(2024, 1, 1)] * 3, ratio=[0.1, 0.2, 0.3]),
        b=one(customer=[3, 4, None], country=["FR", "NL", None], day=[dt.date(2024, 1, 2)] * 3, ratio=[0.4, 0.5, 0.6]),
        c=one(customer=[5, 6, 7], country=["IT", "IT", "IT"], day=[dt.date(2024, 1, 3)] * 3, ratio=[0.7, 0.8, 0.9]),
    )

    assert table.local_keys == ("customer", "day")
    assert columns["customer"].nullable  # NULL occurs at two parties and is no value: the plan sees `nullable`


def test_a_value_of_another_type_at_another_party_is_still_shared():
    table, _ = columns_of(a=one(x=pa.array([1, 2], pa.int8())), b=one(x=pa.array([2, 300], pa.int64())))

    assert table.local_keys == ()


def test_columns_that_not_everyone_has_or_that_no_type_holds_stay_out():
    _, columns = columns_of(a=one(x=[1], extra=[1], raw=[b"x"]), b=one(x=[2], raw=[b"y"]))
    assert list(columns) == ["x"]

    with pytest.raises(ConfigurationError, match="no column"):
        columns_of(a=one(x=[1]), b=one(y=[1]))
    with pytest.raises(ConfigurationError, match="spelt differently"):
        columns_of(a=one(x=[1]), b=one(X=[1]))


def test_names_become_identifiers():
    assert logical_names(["Customer ID", "2nd", "ok"]) == {"Customer_ID": "Customer ID", "_2nd": "2nd", "ok": "ok"}
    with pytest.raises(ConfigurationError, match="share the name"):
        logical_names(["a b", "A-B"])
    _, columns = columns_of(a=one(**{"Unit Price": [1.5]}), b=one(**{"Unit Price": [2.5]}))
    assert list(columns) == ["Unit_Price"]


def test_every_kind_of_file_gives_the_same_dictionary(tmp_path):
    table = one(
        id=pa.array([1, 2, 3], pa.int64()), s=["x", None, "yy"], d=[dt.date(2024, 1, 1)] * 3, f=[0.5, None, 2.0]
    )
    pq.write_table(table, tmp_path / "t.parquet")
    (tmp_path / "folder" / "part=1").mkdir(parents=True)
    pq.write_table(table, tmp_path / "folder" / "part=1" / "x.parquet")
    feather.write_feather(table, str(tmp_path / "t.arrow"))
    (tmp_path / "t.csv").write_text("id,s,d,f\n1,x,2024-01-01,0.5\n2,,2024-01-01,\n3,yy,2024-01-01,2\n")
    with duckdb.connect(str(tmp_path / "t.duckdb")) as connection:
        connection.register("incoming", table)
        connection.execute("CREATE TABLE t AS SELECT * FROM incoming")
    expected = columns_of(a=table)

    for name in ("t.parquet", "t.arrow", "t.csv", "t.duckdb"):
        assert columns_of(a=tmp_path / name) == expected, name
        assert columns_of(a=str(tmp_path / name)) == expected, name
    assert set(columns_of(a=tmp_path / "folder")[1]) == {"id", "s", "d", "f", "part"}
    for bad in ("none.parquet", "t.xlsx"):
        with pytest.raises(ConfigurationError, match=r"a\.t cannot be read"):
            columns_of(a=tmp_path / bad)


def test_a_million_rows_take_well_under_a_second():
    generator = np.random.default_rng(1)
    names = np.array([f"product {i}" for i in range(4000)])
    parts = {
        f"p{k}": one(
            customer=generator.integers(k * 100_000, k * 100_000 + 50_000, 350_000),
            product=names[generator.integers(0, 4000, 350_000)],
            price=generator.random(350_000) * 100,
            quantity=generator.integers(-100, 100, 350_000),
        )
        for k in range(3)
    }
    infer_dictionary({"warm": {"t": one(x=[1])}})
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        table, _ = columns_of(**parts)
        spent.append(time.perf_counter() - began)

    assert table.local_keys == ("customer",)
    assert min(spent) < 2.0  # 0.2 s on an idle core; this is a bound for a busy machine


@pytest.mark.skipif(not RETAIL.is_dir(), reason="the online-retail data is not beside the checkout")
def test_retail_split_by_customer_and_by_country(tmp_path):
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE r AS SELECT * FROM read_parquet('{RETAIL}/*.parquet')")
        by_customer = {p: connection.sql(f"SELECT * FROM r WHERE hash(coalesce(CustomerID, 0)) % 3 = {i}")
                       .to_arrow_table() for i, p in enumerate("abc")}  # fmt: skip
        by_country = {p: connection.sql(f"SELECT * FROM r WHERE hash(Country) % 3 = {i}").to_arrow_table()
                      for i, p in enumerate("abc")}  # fmt: skip
    table, columns = columns_of(**by_customer)
    assert "CustomerID" in table.local_keys
    assert "Country" not in table.local_keys
    assert columns["Quantity"].maximum == 1 << 17
    assert columns["UnitPrice"].type == "DOUBLE"
    assert columns["CustomerID"].nullable

    table, _ = columns_of(**by_country)
    assert "Country" in table.local_keys
    assert "StockCode" not in table.local_keys
