"""The dictionary: what it refuses, and that names are found as SQL finds them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import ConfigurationError
from mpc.keys.dictionary import Column, ColumnKind, Dictionary, Table, parse_column_type

QTY = Column(name="qty", type="BIGINT")


@pytest.mark.parametrize(
    ("text", "kind", "name", "precision", "scale"),
    [
        ("BIGINT", ColumnKind.INTEGER, "BIGINT", 0, 0),
        (" tinyint ", ColumnKind.INTEGER, "TINYINT", 0, 0),
        ("decimal(38, 38)", ColumnKind.DECIMAL, "DECIMAL(38,38)", 38, 38),
        ("DECIMAL(1,0)", ColumnKind.DECIMAL, "DECIMAL(1,0)", 1, 0),
        ("double", ColumnKind.DOUBLE, "DOUBLE", 0, 0),
        ("Timestamp", ColumnKind.TIMESTAMP, "TIMESTAMP", 0, 0),
        ("boolean", ColumnKind.BOOLEAN, "BOOLEAN", 0, 0),
        ("DATE", ColumnKind.DATE, "DATE", 0, 0),
        ("VARCHAR", ColumnKind.VARCHAR, "VARCHAR", 0, 0),
    ],
)
def test_types_are_read(text, kind, name, precision, scale):
    found = parse_column_type(text)

    assert (found.kind, found.name, found.precision, found.scale) == (kind, name, precision, scale)


@pytest.mark.parametrize(
    "text",
    ["", "INT", "BIGINT(1,2)", "DECIMAL", "DECIMAL(0,0)", "DECIMAL(39,0)", "DECIMAL(5,6)", "DECIMAL(5)",
     "DECIMAL(5,2)x", "DECIMAL(٥,٢)", "DECIMAL(5,2)\n;DROP", "VARCHAR(10)", "FLOAT", "TIMESTAMP WITH TIME ZONE",
     "HUGEINT", "BLOB", "INTEGER[]", "DECIMAL(-5,2)"],
)  # fmt: skip
def test_other_types_are_refused(text):
    with pytest.raises(ConfigurationError):
        parse_column_type(text)


@given(st.text(max_size=30))
def test_any_text_is_a_type_or_a_typed_error(text):
    try:
        found = parse_column_type(text)
    except ConfigurationError:
        return
    assert parse_column_type(found.name) == found


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""}, {"name": "a b"}, {"name": "1a"}, {"name": "a" * 64}, {"name": 'a"b'}, {"name": "a\n"},
        {"name": "größe"}, {"type": "INT"}, {"scale": -1}, {"scale": 19}, {"type": "DECIMAL(9,2)"},
        {"minimum": 1}, {"maximum": 1}, {"minimum": 2, "maximum": 1}, {"domain": (1, 1)}, {"domain": ("1",)},
        {"domain": (True,)}, {"type": "VARCHAR", "domain": (1,)}, {"type": "BOOLEAN", "domain": (0, 1)},
        {"type": "DATE", "domain": (20260101,)},
        {"capacity": 0}, {"capacity": (1 << 24) + 1}, {"max_bytes": 0}, {"max_bytes": 1025},
        {"type": "DATE", "earliest": "2026-01-01"}, {"type": "DATE", "latest": "2026-01-01"},
        {"type": "DATE", "earliest": "2026-02-01", "latest": "2026-01-01"},
        {"type": "DATE", "earliest": "soon", "latest": "2026-01-01"},
        {"type": "DATE", "earliest": "2026-02-30", "latest": "2026-03-01"},
    ],
    ids=str,
)  # fmt: skip
def test_a_column_that_contradicts_itself_is_refused_by_name(changes):
    fields = {"name": "qty", "type": "BIGINT"} | changes
    with pytest.raises(ConfigurationError) as caught:
        Table(name="sales", columns=(Column(**fields),), parties=("north",)).check()
    assert "sales" in str(caught.value) or "column type" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a b"}, {"columns": ()}, {"columns": (QTY, Column(name="QTY", type="DATE"))}, {"parties": ()},
        {"parties": ("north", "north")}, {"rows_at_most": 0}, {"rows_at_most": (1 << 40) + 1},
        {"local_keys": ("none",)}, {"privacy_unit": "none"},
    ],
    ids=str,
)  # fmt: skip
def test_a_table_that_contradicts_itself_is_refused(changes):
    fields = {"name": "sales", "columns": (QTY,), "parties": ("north",)} | changes
    with pytest.raises(ConfigurationError):
        Table(**fields).check()


def test_tables_are_named_once_whatever_their_case():
    table = Table(name="sales", columns=(QTY,), parties=("north",))
    twin = Table(name="SALES", columns=(QTY,), parties=("north",))
    with pytest.raises(ConfigurationError):
        Dictionary(tables=(table, twin)).check()


def test_names_are_found_ignoring_case():
    table = Table(name="Sales", columns=(QTY,), parties=("north",), local_keys=("QTY",), privacy_unit="Qty")
    dictionary = Dictionary(tables=(table,))
    dictionary.check()

    assert dictionary.table("sALES") is table
    assert table.column("QTY") is QTY
    assert dictionary.table("sale") is None
    assert table.column("qt") is None
    assert list(dictionary.names()) == ["Sales"]


def test_extremes_of_every_bound_are_accepted():
    column = Column(
        name="_" * 63, type="DOUBLE", scale=18, minimum=-(1 << 100), maximum=1 << 100, capacity=1 << 24, max_bytes=1024
    )
    day = Column(name="d", type="DATE", earliest="0001-01-01", latest="9999-12-31", domain=("2026-01-01",))
    Table(name="t", columns=(column, day), parties=("north",), rows_at_most=1 << 40).check()
