"""The Online Retail data, cut in three by customer and by country, against DuckDB over the pooled table."""

from pathlib import Path

import duckdb
import pytest

from mpc.errors import PlanError
from mpc.keys.dictionary import Column, Dictionary, Table

DATA = Path(__file__).parents[3] / "shared" / "data" / "online-retail"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/online-retail is absent")

PARTIES = ("east", "north", "south")


def dictionary(*local_keys):
    columns = (
        Column(name="InvoiceNo", type="VARCHAR", max_bytes=16, capacity=1 << 16),
        Column(name="StockCode", type="VARCHAR", discoverable=True, max_bytes=16, capacity=8192),
        Column(name="Description", type="VARCHAR"),
        Column(name="Quantity", type="INTEGER", minimum=-(1 << 17), maximum=1 << 17),
        Column(name="InvoiceDate", type="TIMESTAMP", earliest="2009-12-01", latest="2011-12-31"),
        Column(name="UnitPrice", type="DOUBLE", scale=6, minimum=-(1 << 16), maximum=1 << 16),
        Column(name="CustomerID", type="INTEGER", discoverable=True, capacity=8192),
        Column(name="Country", type="VARCHAR", discoverable=True, capacity=64, max_bytes=32),
    )
    table = Table(name="retail", parties=PARTIES, rows_at_most=1 << 21, local_keys=local_keys, columns=columns)
    return Dictionary(tables=(table,))


@pytest.fixture(scope="module")
def by_customer(room_type):
    return _room(room_type, "coalesce(CustomerID, 0) * 7919 % 3", dictionary("CustomerID"))


@pytest.fixture(scope="module")
def by_country(room_type):
    return _room(room_type, "ascii(substr(md5(Country), 1, 1)) % 3", dictionary("Country"))


def _room(room_type, party, known):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
    connection.execute(f"CREATE TABLE pool AS FROM '{DATA}/*.parquet'")
    for number, name in enumerate(PARTIES):
        connection.execute(f"CREATE TABLE {name} AS FROM pool WHERE {party} = {number}")
    return room_type(connection, known, PARTIES, "pool")


PRICE = "CAST(UnitPrice AS DECIMAL(18,3))"
EVERYWHERE = [
    "SELECT COUNT(*) FROM retail",
    "SELECT COUNT(*), COUNT(CustomerID), COUNT(Description) FROM retail",
    f"SELECT SUM(Quantity * {PRICE}) AS revenue FROM retail",
    f"SELECT Country, SUM(Quantity * {PRICE}) AS revenue FROM retail GROUP BY Country ORDER BY revenue DESC LIMIT 10",
    "SELECT Country, COUNT(*) AS n FROM retail GROUP BY Country HAVING COUNT(*) > 5000 ORDER BY n DESC, Country",
    "SELECT Country, COUNT(*) AS n FROM retail GROUP BY Country ORDER BY n, Country LIMIT 7",
    f"SELECT date_trunc('month', InvoiceDate) AS m, COUNT(*), SUM({PRICE}) FROM retail GROUP BY m ORDER BY m",
    "SELECT EXTRACT(hour FROM InvoiceDate) AS h, SUM(Quantity) FROM retail GROUP BY h ORDER BY h",
    "SELECT dayofweek(InvoiceDate) AS d, AVG(Quantity) FROM retail GROUP BY d ORDER BY d",
    f"SELECT AVG(Quantity), AVG({PRICE}) FROM retail",
    f"SELECT VAR_POP(Quantity), VAR_SAMP(Quantity), STDDEV_SAMP(Quantity), STDDEV_POP({PRICE}) FROM retail",
    f"SELECT CORR(Quantity, {PRICE}), COVAR_POP(Quantity, {PRICE}) FROM retail",
    f"SELECT REGR_SLOPE(Quantity, {PRICE}), REGR_INTERCEPT(Quantity, {PRICE}) FROM retail WHERE Quantity > 0",
    "SELECT SUM(CASE WHEN Quantity < 0 THEN -Quantity ELSE 0 END), SUM(CASE WHEN Quantity > 0 THEN 1 END) FROM retail",
    "SELECT COUNT(*) FILTER (WHERE Quantity < 0), COUNT(*) FILTER (WHERE CustomerID IS NULL) FROM retail",
    f"SELECT Country, SUM(Quantity * {PRICE}) FILTER (WHERE Quantity < 0) FROM retail GROUP BY Country",
    "SELECT COUNT(*) FROM retail WHERE InvoiceNo LIKE 'C%'",
    "SELECT COUNT(*) FROM retail WHERE Description ILIKE '%christmas%' AND Quantity BETWEEN 1 AND 12",
    "SELECT COUNT(*), SUM(Quantity) FROM retail WHERE InvoiceDate >= '2010-12-01' AND InvoiceDate < DATE '2010-12-10'",
    "SELECT COUNT(*), SUM(Quantity), AVG(Quantity) FROM retail WHERE Country = 'Atlantis'",
    "SELECT Country, COUNT(*) FROM retail WHERE Quantity > 1000000 GROUP BY Country",
    "SELECT FLOOR(Quantity / 1000) AS b, COUNT(*) FROM retail GROUP BY b ORDER BY b",
    "SELECT year(InvoiceDate) AS y, month(InvoiceDate) AS m, COUNT(DISTINCT Country) FROM retail GROUP BY y, m",
    "SELECT CustomerID IS NULL AS unknown, COUNT(*), SUM(Quantity) FROM retail GROUP BY unknown ORDER BY unknown",
    "SELECT StockCode, SUM(Quantity) AS q FROM retail GROUP BY StockCode ORDER BY q DESC, StockCode LIMIT 12",
    "SELECT UPPER(SUBSTR(Country, 1, 3)) AS c, COUNT(*) FROM retail GROUP BY c ORDER BY c",
    f"SELECT SUM({PRICE}) / COUNT(*) AS mean, SUM(Quantity * {PRICE}) / SUM(Quantity) AS weighted FROM retail",
    "SELECT COUNT(*) FROM (SELECT DISTINCT CustomerID, Country FROM retail WHERE CustomerID IS NOT NULL)",
    (
        "WITH kept AS (SELECT Country, Quantity AS q FROM retail WHERE Quantity > 0 AND CustomerID IS NOT NULL) "
        "SELECT Country, SUM(q) FROM kept GROUP BY Country ORDER BY Country"
    ),
]
ONLY_CUSTOMERS = [
    "SELECT COUNT(DISTINCT CustomerID) FROM retail",
    "SELECT Country, COUNT(DISTINCT CustomerID) AS c FROM retail GROUP BY Country ORDER BY c DESC, Country LIMIT 5",
    (
        f"SELECT AVG(s), COUNT(*) FROM (SELECT CustomerID, SUM(Quantity * {PRICE}) AS s FROM retail "
        "WHERE CustomerID IS NOT NULL GROUP BY CustomerID)"
    ),
    "SELECT COUNT(*) FROM (SELECT CustomerID, COUNT(*) AS n FROM retail GROUP BY CustomerID HAVING COUNT(*) > 100)",
    (
        "SELECT FLOOR(n / 100) AS b, COUNT(*) FROM (SELECT CustomerID, COUNT(*) AS n FROM retail WHERE CustomerID > 0 "
        "GROUP BY CustomerID) GROUP BY b ORDER BY b"
    ),
    (
        "SELECT AVG(late - early) FROM (SELECT CustomerID, MAX(CAST(InvoiceDate AS DATE)) AS late, "
        "MIN(CAST(InvoiceDate AS DATE)) AS early FROM retail WHERE CustomerID IS NOT NULL GROUP BY CustomerID)"
    ),
]


@pytest.mark.parametrize("sql", EVERYWHERE)
def test_the_country_split_answers_as_the_pooled_table(by_country, sql):
    if "COUNT(DISTINCT" in sql:
        by_country.check(sql, ordered=False)
    else:
        by_country.check(sql)


@pytest.mark.parametrize("sql", [q for q in EVERYWHERE if "COUNT(DISTINCT Country)" not in q] + ONLY_CUSTOMERS)
def test_the_customer_split_answers_as_the_pooled_table(by_customer, sql):
    by_customer.check(sql)


@pytest.mark.parametrize("sql", ONLY_CUSTOMERS)
def test_what_each_party_would_get_wrong_is_refused_on_the_country_split(by_country, sql):
    with pytest.raises(PlanError) as caught:
        by_country.plan(sql)

    assert "part" in str(caught.value.fields["reason"])
    assert caught.value.fields["instead"]


def test_a_group_of_null_that_spans_parties_is_an_error_and_never_an_answer(by_customer):
    connection = by_customer.connection
    for name in ("north", "south"):
        connection.execute(f"CREATE OR REPLACE TABLE {name}_and_nulls AS FROM {name}")
        connection.execute(f"INSERT INTO {name}_and_nulls FROM pool WHERE CustomerID IS NULL LIMIT 10")
    room = type(by_customer)(connection, by_customer.dictionary, ("north_and_nulls", "south_and_nulls"), "pool")
    grouped = "(SELECT CustomerID, COUNT(*) AS n FROM retail {} GROUP BY CustomerID)"

    with pytest.raises(PlanError, match="lie at several parties"):
        room.ask("SELECT COUNT(*) FROM " + grouped.format(""))

    assert room.ask("SELECT COUNT(*) FROM " + grouped.format("WHERE CustomerID IS NOT NULL")).rows[0][0] > 1000


@pytest.mark.parametrize("column", ["Quantity", PRICE])
@pytest.mark.parametrize("share", ["0.5", "0.1", "0.95"])
def test_a_quantile_is_within_one_bucket(by_customer, column, share):
    sql = f"SELECT QUANTILE_CONT({column}, {share}) FROM retail"
    table = by_customer.ask(sql)
    exact = float(by_customer.connection.execute(sql.replace("retail", "pool")).fetchall()[0][0])

    assert table.columns[0].bucket_width is not None
    assert abs(table.rows[0][0] - exact) <= table.columns[0].bucket_width
