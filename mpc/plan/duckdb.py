"""DuckDB's side of rendering."""

from typing import Final

from mpc.plan.dialects import CHECK_FAILED, identifier, text_literal
from mpc.plan.ir import Column, Kind, Op, Type

__all__ = ["DUCKDB", "DuckDB"]


class DuckDB:
    """DuckDB 1.4 and later."""

    name = "duckdb"
    wide = "HUGEINT"
    integer_division = "//"
    real = "DOUBLE"
    checks_ahead = True
    decimals_may_be_nan = False

    def column(self, name: str, declared: str) -> str:
        """A column in its declared type; a cast that changes nothing costs nothing."""
        return f"CAST({identifier(name)} AS {declared})"

    def scaled(self, text: str, column: Column, *, wide: bool) -> str:
        """An INTEGER or DECIMAL column as an integer at its scale."""
        scale, target = column.type.scale, self.wide if wide else "BIGINT"
        if column.type.kind is Kind.DECIMAL and scale:
            digits = len(str(column.type.magnitude))
            if digits + scale + 1 > 38:
                # The product would not fit a DECIMAL(38): drop the point from its text.
                return f"CAST(REPLACE(CAST({text} AS VARCHAR), '.', '') AS {target})"
            return f"CAST({text} * {10**scale} AS {target})"
        return f"CAST({text} AS {target})"

    def unscaled(self, total: str, scale: int, *, wide: bool) -> str:
        """A sum of decimals as an integer; of a wide one, which would not fit once multiplied, the point is dropped."""
        if wide:
            return f"REPLACE(CAST({total} AS VARCHAR), '.', '')"
        return f"CAST({total} * {10**scale} AS BIGINT)"

    def rounded(self, text: str, column: Column, *, wide: bool) -> str:
        """A DOUBLE as an integer: what DuckDB's cast to DECIMAL computes, spelled out because that is faster."""
        product = f"{text} * 1e{column.type.scale}" if column.type.scale else text
        return f"TRY_CAST(ROUND({product}) AS {self.wide if wide else 'BIGINT'})"

    def checked(self, value: str, inside: str, names: str, witness: str) -> str:
        """The value where `inside` holds, NULL where `witness` is NULL, an error otherwise."""
        return f"CASE WHEN {inside} THEN {value} WHEN {witness} IS NOT NULL THEN {self.failure(names, witness)} END"

    def failure(self, names: str, witness: str) -> str:  # noqa: ARG002 - `error` is never folded away
        """DuckDB's `error`, which stops the statement and shows the columns' names alone."""
        return f"error({text_literal(CHECK_FAILED + names)})"

    def ordered(self, text: str) -> str:
        """DuckDB compares texts by their bytes unless told otherwise."""
        return text

    def truncated(self, unit: str, value: str) -> str:
        """DATE_TRUNC as a timestamp."""
        return f"CAST(DATE_TRUNC('{unit}', {value}) AS TIMESTAMP)"

    def part(self, part: str, value: str) -> str:
        """DATE_PART as a BIGINT."""
        return f"DATE_PART('{part}', {value})"

    def difference(self, part: str, start: str, end: str) -> str:
        """DATE_DIFF as a BIGINT."""
        return f"DATE_DIFF('{part}', {start}, {end})"

    def raw_key(self, text: str, kind: Type) -> str:
        """A group key as its raw BIGINT or VARCHAR."""
        if kind.kind is Kind.DATE:
            return f"DATE_DIFF('day', DATE '1970-01-01', {text})"
        if kind.kind is Kind.TIMESTAMP:
            return f"EPOCH_US({text})"
        return text if kind.kind is Kind.VARCHAR else f"CAST({text} AS BIGINT)"

    def like(self, value: str, pattern: str, *, any_case: bool) -> str:
        """LIKE; DuckDB has no escape character unless asked."""
        return f"({value} {'ILIKE' if any_case else 'LIKE'} {pattern})"

    def trimmed(self, op: Op, value: str) -> str:
        """TRIM, LTRIM and RTRIM."""
        return f"{op.value.upper()}({value})"

    def text_test(self, op: Op, value: str, literal: str) -> str:
        """Prefix, suffix and substring tests."""
        name = {Op.STARTS_WITH: "STARTS_WITH", Op.ENDS_WITH: "ENDS_WITH", Op.CONTAINS: "CONTAINS"}[op]
        return f"{name}({value}, {literal})"


DUCKDB: Final = DuckDB()
