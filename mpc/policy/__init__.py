"""May this job run on my data? An owner's rules, and a judge that is pure and total: no rule means no."""

from mpc.policy.judge import Facts, Reason, Verdict, judge
from mpc.policy.rules import CatalogueRule, ColumnRule, ColumnUse, Policy, TableRule, Use

__all__ = [
    "CatalogueRule",
    "ColumnRule",
    "ColumnUse",
    "Facts",
    "Policy",
    "Reason",
    "TableRule",
    "Use",
    "Verdict",
    "judge",
]
