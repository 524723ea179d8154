"""DuckDB's types and the dictionary's: what each physical column becomes in a relation.

| DuckDB | dictionary | in the relation |
|---|---|---|
| BOOLEAN, TINYINT ... BIGINT, DOUBLE, VARCHAR, DATE, DECIMAL(p,s), TIMESTAMP | the same | as it is |
| UTINYINT, USMALLINT, UINTEGER | SMALLINT, INTEGER, BIGINT | cast |
| UBIGINT | DECIMAL(20,0) | cast |
| HUGEINT, UHUGEINT | DECIMAL(38,0) | cast; beyond 38 digits a `RangeError` when read |
| FLOAT | DOUBLE | cast (exact) |
| ENUM, UUID, JSON | VARCHAR | cast |
| TIMESTAMP_S, TIMESTAMP_MS | TIMESTAMP | cast (exact) |
| TIMESTAMP_NS | TIMESTAMP | cast, cut to microseconds |
| TIMESTAMP WITH TIME ZONE, TIMESTAMPTZ_NS | TIMESTAMP | the instant's UTC reading, cut to microseconds |
| a column of NULLs without a type | INTEGER | as it is |
| BLOB, BIT, TIME, INTERVAL, nested types, ... | none | left out: a statement cannot name it |

A timestamp without a zone counts as UTC.
"""

import re

__all__ = ["dictionary_type", "read_expression"]

_SAME = frozenset({"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP"})
_CAST = {
    "UTINYINT": "SMALLINT",
    "USMALLINT": "INTEGER",
    "UINTEGER": "BIGINT",
    "UBIGINT": "DECIMAL(20,0)",
    "HUGEINT": "DECIMAL(38,0)",
    "UHUGEINT": "DECIMAL(38,0)",
    "FLOAT": "DOUBLE",
    "UUID": "VARCHAR",
    "JSON": "VARCHAR",
    "TIMESTAMP_S": "TIMESTAMP",
    "TIMESTAMP_MS": "TIMESTAMP",
    "TIMESTAMP_NS": "TIMESTAMP",
}
_ZONED = "TIMESTAMP WITH TIME ZONE"
_ZONED_NS = "TIMESTAMPTZ_NS"
_UNTYPED = '"NULL"'
_DECIMAL = re.compile(r"DECIMAL\(\d{1,2},\d{1,2}\)\Z")
_ENUM = re.compile(r"ENUM\(.*\)\Z", re.DOTALL)


def dictionary_type(physical: str) -> str | None:
    """The dictionary's type for a DuckDB type as DESCRIBE spells it, or None.

    >>> dictionary_type("UBIGINT"), dictionary_type("INTEGER[]")
    ('DECIMAL(20,0)', None)
    """
    if physical in _SAME or _DECIMAL.match(physical):
        return physical
    if physical in {_ZONED, _ZONED_NS}:
        return "TIMESTAMP"
    if physical == _UNTYPED:
        return "INTEGER"
    if _ENUM.match(physical):
        return "VARCHAR"
    return _CAST.get(physical)


def read_expression(column: str, physical: str) -> str:
    r"""The expression that reads a column as its dictionary type.

    Args:
        column: The quoted physical name.
        physical: A type for which `dictionary_type` is not None.

    >>> read_expression('"at"', "TIMESTAMP WITH TIME ZONE")
    '("at" AT TIME ZONE \'UTC\')'
    """
    if physical in _SAME or physical == _UNTYPED or _DECIMAL.match(physical):
        return column
    if physical == _ZONED:
        return f"({column} AT TIME ZONE 'UTC')"
    if physical == _ZONED_NS:
        return f"CAST(({column} AT TIME ZONE 'UTC') AS TIMESTAMP)"
    return f"CAST({column} AS {dictionary_type(physical)})"
