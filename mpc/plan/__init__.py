"""SQL to plans: `mpc.plan` knows databases and sums, and nothing of ciphertexts.

    plan = compile_query(sql, dictionary)            pure; every party recompiles and compares `plan.digest`
    fold_now(sql, now)                               the analyst folds the clock before signing
    local_query(plan, dialect="duckdb")              the generated statements of a party (`LocalQuery`)
    query_program(plan, run_local)                   a party's `Program`: [discover Sum to the group,] value Sum to the
                                                     analyst; ends with `QueryResult(group_keys)`
    value_header(plan, keys), group_context(...)     the header that the analyst expects of the value round
    finish_query(plan, totals, group_keys)           the analyst's side: opened totals -> `ResultTable`
    choose_parameters(segments, participants)        the cheapest parameter set for a sum, by `CostModel`
    explain(plan)                                    steps, cost, disclosure (`Explanation`: `.text()`, `.to_json()`)
    check_failure(message)                           a database error of a checked value -> `RangeError` or None

The path of a query: `text` (parser) -> `scalars`, `handlers`, `temporal`, `casts`, `aggregates`, `relation`, `subquery`
(binding, an allow-list) -> `ir`, `source`, `statistics`, `query` (the typed plan) -> `statements`, `expressions`,
`dialects`, `duckdb` (generated SQL) -> `program`, `discovery` (a party) -> `answer`, `finishers`, `evaluate` (the
analyst).
"""

from mpc.plan.answer import ResultColumn, ResultTable, finish_query
from mpc.plan.clock import fold_now
from mpc.plan.compiler import compile_query
from mpc.plan.cost import CostModel, Line, SchemeCost, SumCost, choose_parameters
from mpc.plan.dialects import check_failure
from mpc.plan.discovery import LookupTable
from mpc.plan.explain import Explanation, explain
from mpc.plan.local import Encoding, LocalQuery, LocalStatement, OutputColumn, RunLocal
from mpc.plan.program import QueryResult, group_context, query_program, value_header
from mpc.plan.query import PlanOptions, QueryPlan
from mpc.plan.statements import local_query

__all__ = [
    "CostModel",
    "Encoding",
    "Explanation",
    "Line",
    "LocalQuery",
    "LocalStatement",
    "LookupTable",
    "OutputColumn",
    "PlanOptions",
    "QueryPlan",
    "QueryResult",
    "ResultColumn",
    "ResultTable",
    "RunLocal",
    "SchemeCost",
    "SumCost",
    "check_failure",
    "choose_parameters",
    "compile_query",
    "explain",
    "finish_query",
    "fold_now",
    "group_context",
    "local_query",
    "query_program",
    "value_header",
]
