"""Catalogues of a party: configuration, tables as sources of vectors, what is offered, what is charged."""

import sqlite3

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from mpc.errors import (
    BudgetExhausted,
    ConfigurationError,
    ParameterError,
    ProtocolError,
    ReplayError,
    SourceError,
)
from mpc.parties import PartyId
from mpc.policy import CatalogueRule, Policy
from mpc.score.budget import QueryBudget, QueryLimit
from mpc.score.catalogue import Catalogue
from mpc.score.packing import ScoringRequest, choose_packing, offered_costs
from mpc.wire.offers import CatalogueOffer
from servers.party.catalogue_loading import offer
from servers.party.catalogue_spec import CatalogueSpec, ScoringLimits
from servers.party.catalogue_table import CatalogueTask, find_table, read_table
from servers.party.sources.spec import Limits, SourceSpec, TableSpec

DIMENSIONS, ROWS = 6, 50
ITEMS = np.random.default_rng(3).normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
TABLE = pa.table(
    {
        "id": [f"i{i}" for i in range(ROWS)],
        "kind": ["a" if i % 2 else "b" for i in range(ROWS)],
        "number": list(range(ROWS)),
        "vec": pa.FixedSizeListArray.from_arrays(ITEMS.reshape(-1), DIMENSIONS),
        "loose": [row.tolist() for row in ITEMS],
        **{f"c{j}": ITEMS[:, j].astype(np.float64) for j in range(DIMENSIONS)},
    }
)


def spec_of(**fields):
    return msgspec.convert(fields, CatalogueSpec)


# ---- configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"file": "a.npy", "model": "b"}, {"file": "a.npy", "table": "t", "vectors": "v"}, {"table": "t"},
        {"table": "t", "vectors": "v", "columns": ["x"]}, {"file": "a.npy", "labels": "id"},
        {"file": "a", "query_norm": 0}, {"file": "a", "item_norm": -1}, {"file": "a", "vectors": "v"},
    ],
    ids=str,
)  # fmt: skip
def test_a_catalogue_that_contradicts_itself_is_refused(fields):
    with pytest.raises(ConfigurationError):
        spec_of(**fields).check("products")


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65, "a\nb"])
def test_names_of_catalogues_are_short_and_plain(name):
    with pytest.raises(ConfigurationError):
        spec_of(file="a.npy").check(name)


@pytest.mark.parametrize("field", ["memory_bytes", "at_once", "message_bytes"])
def test_limits_are_positive(field):
    ScoringLimits().check()
    with pytest.raises(ConfigurationError):
        ScoringLimits(**{field: 0}).check()


def test_a_policy_names_nobody_by_itself():
    assert not CatalogueRule().admits("ana")
    assert CatalogueRule(analysts=("ana",)).admits("ana")
    assert not CatalogueRule(analysts=("ana",)).admits("eve")
    assert CatalogueRule(analysts=("*",)).admits("eve")
    assert Policy.from_mapping({}).catalogues == {}


@pytest.mark.parametrize(
    "rule", [{"most": 0}, {"queries_per_analyst": 0}, {"queries_of_all_analysts": -1}, {"anything": 1}]
)
def test_a_policy_with_a_wrong_rule_is_refused(rule):
    with pytest.raises(ConfigurationError):
        Policy.from_mapping({"catalogues": {"products": rule}})


# ---- tables ------------------------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path):
    pq.write_table(TABLE, tmp_path / "items.parquet")
    feather.write_feather(TABLE, tmp_path / "items.arrow", compression="uncompressed")
    folder = tmp_path / "many"
    folder.mkdir()
    pq.write_table(TABLE.slice(0, 20), folder / "1.parquet")
    pq.write_table(TABLE.slice(20), folder / "2.parquet")
    import duckdb

    with duckdb.connect(str(tmp_path / "items.duckdb")) as connection:
        connection.register("given", TABLE)
        connection.execute("CREATE TABLE items AS SELECT * FROM given")
    with sqlite3.connect(tmp_path / "items.sqlite") as database:
        database.execute("CREATE TABLE items (id TEXT, c0 REAL, c1 REAL)")
        rows = [(f"i{i}", float(a), float(b)) for i, (a, b) in enumerate(ITEMS[:, :2])]
        database.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
    return tmp_path


def task(url, table=None, **fields):
    given = {"vectors": "", "columns": (), "labels": "", "where": "", **fields}
    return CatalogueTask(
        source=SourceSpec(url=url, tables={"items": table or TableSpec()}), table="items", limits=Limits(), **given
    )


def joined(found):
    batches = list(found)
    parts = [np.frombuffer(b.vectors, dtype=b.dtype).reshape(-1, b.dimensions) for b in batches]
    return np.concatenate(parts), [label for b in batches for label in b.labels or ()]


@pytest.mark.parametrize("column", ["vec", "loose"])
@pytest.mark.parametrize("url", ["parquet:items.parquet", "parquet:many", "arrow:items.arrow", "duckdb:items.duckdb"])
def test_lists_of_every_kind_of_file_become_a_matrix(sources, url, column):
    scheme, path = url.split(":")
    vectors, labels = joined(read_table(task(f"{scheme}:{sources / path}", vectors=column, labels="id")))

    assert np.allclose(vectors, ITEMS, rtol=0, atol=0)
    assert labels == TABLE["id"].to_pylist()


def test_conditions_of_source_and_policy_hold_together(sources):
    restricted = TableSpec(where="number < 10")
    found = task(f"parquet:{sources / 'items.parquet'}", restricted, vectors="vec", labels="number", where="kind = 'a'")
    vectors, labels = joined(read_table(found))

    assert labels == [1, 3, 5, 7, 9]
    assert np.array_equal(vectors, ITEMS[[1, 3, 5, 7, 9]])


def test_a_condition_cannot_leave_its_brackets(sources):
    restricted = TableSpec(where="number < 10")
    found = task(
        f"parquet:{sources / 'items.parquet'}", restricted, vectors="vec", labels="number", where="1=1 OR true"
    )
    assert joined(read_table(found))[1] == list(range(10))


@pytest.mark.parametrize("url", ["parquet:items.parquet", "sqlite:items.sqlite"])
def test_coordinates_in_columns_become_a_matrix(sources, url):
    scheme, path = url.split(":")
    vectors, labels = joined(read_table(task(f"{scheme}:{sources / path}", columns=("c1", "c0"), labels="id")))

    assert np.allclose(vectors, ITEMS[:, [1, 0]].astype(np.float64))
    assert labels[:2] == ["i0", "i1"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"vectors": "nothing"}, ConfigurationError), ({"vectors": "kind"}, SourceError),
        ({"vectors": "c0"}, SourceError), ({"columns": ("c0", "nothing")}, ConfigurationError),
        ({"columns": ("kind",)}, SourceError),
        ({"vectors": "vec", "where": "no such column = 1"}, ConfigurationError),
    ],
    ids=str,
)  # fmt: skip
def test_columns_that_hold_no_vectors_are_refused(sources, fields, error):
    with pytest.raises(error):
        list(read_table(task(f"parquet:{sources / 'items.parquet'}", **fields)))


def test_ragged_and_missing_vectors_are_refused(tmp_path):
    for column in ([[1.0, 2.0], [3.0]], [[1.0, 2.0], None], [[1.0, None], [1.0, 2.0]]):
        pq.write_table(pa.table({"vec": column}), tmp_path / "bad.parquet")
        with pytest.raises(SourceError):
            list(read_table(task(f"parquet:{tmp_path / 'bad.parquet'}", vectors="vec")))


def test_an_origin_outside_the_sources_folder_is_not_read(sources):
    outside = TableSpec(origin="../items.parquet")
    with pytest.raises(SourceError):
        list(read_table(task(f"parquet:{sources / 'many'}", outside, vectors="vec")))


def test_a_table_is_found_whatever_its_case():
    source = SourceSpec(url="parquet:x", tables={"Items": TableSpec()})

    assert find_table({"s": source}, "ITEMS", "products") == (source, "Items")
    with pytest.raises(ConfigurationError):
        find_table({"s": source}, "other", "products")


# ---- offers ------------------------------------------------------------------------------------------------------


def catalogue(dimensions=64, rows=500, labels=None):
    vectors = np.random.default_rng(1).normal(size=(rows, dimensions))
    return Catalogue(name="products", vectors=vectors, labels=np.arange(rows) if labels is None else labels)


def test_the_default_limit_is_half_of_what_could_tell_an_item():
    found = offer("products", spec_of(file="x"), CatalogueRule(analysts=("*",)), catalogue())
    known = min(64, *(p.malicious_queries for p in found.plans.values()))

    assert found.limit.per_client == known // 2 < known


def test_the_default_limit_counts_what_real_values_could_tell():
    """A reply under ckks has twice as many coefficients as items, and each tells more than one of fixed point."""
    found = offer("products", spec_of(file="x", real=True), CatalogueRule(analysts=("*",)), catalogue(rows=5000))

    assert found.real.malicious_queries < min(p.malicious_queries for p in found.plans.values())
    assert found.limit.per_client == found.real.malicious_queries // 2


def test_a_limit_of_as_many_queries_as_dimensions_is_refused():
    with pytest.raises(ConfigurationError):
        offer("products", spec_of(file="x"), CatalogueRule(analysts=("*",), queries_per_analyst=64), catalogue())


def told(**changes):
    """An offer as a holder signs it."""
    found = offer(
        "products", spec_of(file="x", packings=[4, 1], real=True), CatalogueRule(analysts=("*",)), catalogue()
    )
    fields = {
        "room": "r", "holder": "north", "analyst": "ana", "question_digest": bytes(32), "catalogue": "products",
        "specs": tuple(p.spec for p in found.plans.values()), "real": found.real.spec, "limit": 9, "remaining": 3,
        "labels": b"",
    }  # fmt: skip
    return CatalogueOffer(**fields | changes)


def other(spec, **changes):
    return msgspec.structs.replace(spec, **changes)


CONTRADICTIONS = {
    "no spec": lambda o: {"specs": ()},
    "too many specs": lambda o: {"specs": o.specs * 33},
    "another catalogue": lambda o: {"catalogue": "others"},
    "specs of two catalogues": lambda o: {"specs": (o.specs[0], other(o.specs[1], catalogue="others"))},
    "specs of two sizes": lambda o: {"specs": (o.specs[0], other(o.specs[1], rows=400))},
    "real values of another size": lambda o: {"real": other(o.real, rows=400)},
    "a limit that tells an item": lambda o: {"limit": 64},
    "more left than allowed": lambda o: {"remaining": 10},
    "less than nothing left": lambda o: {"remaining": -1},
    "half a digest of labels": lambda o: {"labels": bytes(16)},
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_an_offer_that_contradicts_itself_is_refused(name):
    told().check()
    with pytest.raises(ProtocolError):
        told(**CONTRADICTIONS[name](told())).check()


def test_norms_of_inner_products_are_rounded_up_to_powers_of_two():
    found = offer("products", spec_of(file="x", metric="inner", query_norm=3.0), CatalogueRule(), catalogue())
    spec = next(iter(found.plans.values())).spec

    assert (spec.query_norm, spec.item_norm) == (4.0, 16.0)


def test_packings_are_those_that_the_owner_lists_or_that_are_best_somewhere():
    listed = offer("products", spec_of(file="x", packings=[4, 1]), CatalogueRule(), catalogue())
    assert [p.spec.dimensions_per_ciphertext for p in listed.plans.values()] == [4, 1]
    free = offer("products", spec_of(file="x"), CatalogueRule(), catalogue())
    request = ScoringRequest(catalogue="products", rows=500, dimensions=64, bandwidth_bits_s=1e9)
    assert choose_packing(request).spec in [p.spec for p in free.plans.values()]


def test_numbers_of_rows_are_no_labels_to_tell():
    rule = CatalogueRule(analysts=("*",), labels=True)

    assert offer("products", spec_of(file="x"), rule, catalogue()).labels == b""
    assert offer("products", spec_of(file="x"), rule, catalogue(labels=np.arange(500) + 1)).labels
    hidden = catalogue(labels=np.arange(500) + 1)
    assert offer("products", spec_of(file="x"), CatalogueRule(analysts=("*",)), hidden).labels == b""


def test_offered_packings_are_ordered_by_their_time_over_the_line():
    request = ScoringRequest(catalogue="c", rows=20_000, dimensions=64, bandwidth_bits_s=1e9)
    specs = [request.finest(width) for width in (1, 4, 16)]
    thin, fast = (offered_costs(specs, bandwidth_bits_s=b) for b in (1e6, 1e11))

    assert [c.seconds for c in thin] == sorted(c.seconds for c in thin)
    assert thin[0].upload_bytes + thin[0].reply_bytes == min(c.upload_bytes + c.reply_bytes for c in thin)
    assert fast[0].seconds < thin[0].seconds
    for wrong in ({"bandwidth_bits_s": 0.0}, {"bandwidth_bits_s": 1e9, "queries": 0}):
        with pytest.raises(ParameterError):
            offered_costs(specs, **wrong)
    with pytest.raises(ParameterError):
        offered_costs([], bandwidth_bits_s=1e9)


# ---- the ledger --------------------------------------------------------------------------------------------------


def test_a_job_is_answered_once_and_a_refused_one_is_not_remembered(tmp_path):
    ledger, ana, limit = QueryBudget(tmp_path / "b.sqlite"), PartyId("ana"), QueryLimit(per_client=5, all_clients=6)
    given = {"limit": limit, "dimensions": 64}
    ledger.charge(ana, "films", 2, **given, job="a", request=b"x")
    for action in (
        lambda: ledger.charge(ana, "films", 1, **given, job="a"),
        lambda: ledger.require(ana, "films", 1, limit=limit, job="a"),
    ):
        with pytest.raises(ReplayError):
            action()
    with pytest.raises(BudgetExhausted):
        ledger.charge(ana, "films", 4, **given, job="b")
    ledger.charge(ana, "films", 3, **given, job="b")

    assert ledger.remaining(ana, "films", limit=limit) == 0
    assert ledger.remaining(PartyId("bob"), "films", limit=limit) == 1
    with pytest.raises(BudgetExhausted):
        ledger.require(PartyId("bob"), "films", 2, limit=limit, job="c")
    ledger.close()
    again = QueryBudget(tmp_path / "b.sqlite")
    with pytest.raises(ReplayError):
        again.charge(PartyId("bob"), "other", 1, **given, job="b")
    again.close()
