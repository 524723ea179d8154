"""The SQL set over row and group counts: encrypted, in the clear, and in DuckDB."""

SECTIONS = ("queries",)


def test_query(case, run_case):
    run_case(case)
