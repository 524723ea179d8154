"""The judge: no rule means no, every rule refuses for its own reason, and files cannot be read in two ways."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import ConfigurationError, PolicyDenied
from mpc.policy import ColumnRule, ColumnUse, Facts, Policy, Reason, TableRule, Use, judge
from mpc.policy.rules import open_policy

USE = ColumnUse(table="sales", column="qty", use=Use.AGGREGATE, function="sum")
COUNT = ColumnUse(table="sales", use=Use.AGGREGATE, function="count")


def facts(**changes):
    fields = {
        "analyst": "ana", "participants": ("north", "south", "west"), "me": "north", "uses": (COUNT, USE),
        "encrypted": True, "opens_to_parties": False, "trains": False,
    }  # fmt: skip
    return Facts(**(fields | changes))


def policy(**changes):
    rule = TableRule(count=True, columns={"qty": ColumnRule(use=(Use.AGGREGATE,), functions=("sum", "avg"))})
    fields = {"analysts": ("ana",), "tables": {"sales": rule}}
    return Policy(**(fields | changes))


def reasons(given_policy, given_facts):
    return [(r.rule, r.table, r.column) for r in judge(given_policy, given_facts).reasons]


def test_a_job_within_every_rule_is_allowed():
    verdict = judge(policy(), facts())

    assert verdict.allowed
    verdict.enforce("north")


def test_the_empty_policy_denies_everything_and_says_why():
    found = reasons(Policy(), facts(encrypted=False, trains=True, opens_to_parties=True, participants=("a", "b")))

    assert {r[0] for r in found} == {"analysts", "two_party", "allow_clear", "train", "tables"}


@given(
    st.sampled_from(Use), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.booleans(), st.booleans()
)
def test_nothing_at_all_is_allowed_without_a_rule(use, table, column, function, encrypted, trains):
    asked = ColumnUse(table=table, column=column, use=use, function=function)
    found = facts(uses=(asked,), encrypted=encrypted, trains=trains)

    assert not judge(Policy(), found).allowed
    assert not judge(Policy(analysts=("*",), train=True, allow_clear=True, two_party=True), found).allowed


JOB_RULES = {
    "analysts": (policy(analysts=("bob",)), facts()),
    "minimum_parties": (policy(minimum_parties=4), facts()),
    "required_parties": (policy(required_parties=("east",)), facts()),
    "two_party": (policy(), facts(participants=("north", "south"), opens_to_parties=True)),
    "allow_clear": (policy(), facts(encrypted=False)),
    "train": (policy(), facts(trains=True)),
    "trainers risk": (policy(trainers={"risk": ("bob",), "other": ("*",)}), facts(trainer="risk")),
}


@pytest.mark.parametrize("rule", JOB_RULES)
def test_each_rule_about_the_job_refuses_alone(rule):
    found, asked = JOB_RULES[rule]

    assert reasons(found, asked) == [(rule, "", "")]


@pytest.mark.parametrize(
    ("rule", "allowing"),
    [
        ("analysts", {"analysts": ("bob", "*")}), ("minimum_parties", {"minimum_parties": 3}),
        ("required_parties", {"required_parties": ("west", "north")}), ("two_party", {"two_party": True}),
        ("allow_clear", {"allow_clear": True}), ("train", {"train": True}),
        ("trainers risk", {"trainers": {"risk": ("bob", "ana")}}), ("trainers risk", {"trainers": {"risk": ("*",)}}),
    ],
)  # fmt: skip
def test_and_is_lifted_by_its_own_key_alone(rule, allowing):
    _, asked = JOB_RULES[rule]

    assert judge(policy(**allowing), asked).allowed


def test_an_analyst_that_is_one_of_two_parties_counts_as_a_total_that_opens_to_a_party():
    asked = facts(analyst="south", participants=("north", "south"))

    assert ("two_party", "", "") in reasons(policy(analysts=("*",)), asked)
    assert judge(policy(analysts=("*",), two_party=True), asked).allowed


def test_analysts_are_compared_exactly():
    for name in ("Ana", "ana ", "", "an", "anal", "*"):
        assert not judge(policy(), facts(analyst=name)).allowed


@pytest.mark.parametrize("use", Use)
def test_each_use_of_a_column_needs_its_own_word(use):
    asked = ColumnUse(table="sales", column="qty", use=use, function="sum")
    for granted in itertools.chain.from_iterable(itertools.combinations(Use, n) for n in range(len(Use) + 1)):
        table = TableRule(columns={"qty": ColumnRule(use=granted)})
        verdict = judge(policy(tables={"sales": table}), facts(uses=(asked,)))

        assert verdict.allowed == (use in granted)
        if use not in granted:
            assert verdict.reasons == (Reason(rule=f"use {use.value}", table="sales", column="qty"),)


@pytest.mark.parametrize("function", ["var_pop", "corr", "SUM", "su", "", "sum "])
def test_a_function_that_is_not_listed_is_refused(function):
    asked = ColumnUse(table="sales", column="qty", use=Use.AGGREGATE, function=function)

    assert reasons(policy(), facts(uses=(asked,))) == [(f"function {function}", "sales", "qty")]


def test_no_list_of_functions_is_every_function_and_for_aggregates_alone():
    table = TableRule(columns={"qty": ColumnRule(use=(Use.AGGREGATE, Use.FILTER), functions=())})
    anything = ColumnUse(table="sales", column="qty", use=Use.AGGREGATE, function="corr")
    listed = TableRule(columns={"qty": ColumnRule(use=(Use.FILTER,), functions=("sum",))})
    filtering = ColumnUse(table="sales", column="qty", use=Use.FILTER)

    assert judge(policy(tables={"sales": table}), facts(uses=(anything,))).allowed
    assert judge(policy(tables={"sales": listed}), facts(uses=(filtering,))).allowed


def test_an_unmentioned_column_or_table_is_refused_by_name():
    other = ColumnUse(table="sales", column="price", use=Use.AGGREGATE, function="sum")
    elsewhere = ColumnUse(table="payroll", column="qty", use=Use.AGGREGATE, function="sum")

    assert reasons(policy(), facts(uses=(other,))) == [("use aggregate", "sales", "price")]
    assert reasons(policy(), facts(uses=(elsewhere,))) == [("tables", "payroll", "")]


def test_counting_rows_needs_its_own_word():
    silent = TableRule(columns={"qty": ColumnRule(use=tuple(Use))})

    assert reasons(policy(tables={"sales": silent}), facts(uses=(COUNT,))) == [("count", "sales", "")]


@pytest.mark.parametrize("use", [u for u in Use if u is not Use.AGGREGATE])
def test_a_use_that_names_no_column_is_not_covered_by_counting(use):
    asked = ColumnUse(table="sales", use=use)

    assert not judge(policy(), facts(uses=(asked,))).allowed


def test_names_are_found_ignoring_case_as_sql_does():
    asked = ColumnUse(table="SALES", column="QTY", use=Use.AGGREGATE, function="sum")

    assert judge(policy(), facts(uses=(asked,))).allowed
    assert not judge(policy(), facts(uses=(msgspec.structs.replace(asked, function="corr"),))).allowed


def test_allow_all_covers_its_own_table_alone_and_no_rule_about_the_job():
    wide = policy(tables={"sales": TableRule(allow_all=True)})
    other = ColumnUse(table="payroll", column="x", use=Use.GROUP)
    anything = ColumnUse(table="sales", column="x", use=Use.TRAIN)

    assert judge(wide, facts(uses=(anything, COUNT))).allowed
    assert reasons(wide, facts(uses=(anything, other), encrypted=False)) == [
        ("allow_clear", "", ""), ("tables", "payroll", "")
    ]  # fmt: skip


def test_every_reason_is_listed_and_the_first_is_raised():
    verdict = judge(policy(analysts=()), facts(uses=(USE, ColumnUse(table="t", column="c", use=Use.GROUP))))

    assert len(verdict.reasons) == 2
    with pytest.raises(PolicyDenied) as caught:
        verdict.enforce("north")
    assert caught.value.fields == {"party": "north", "rule": "analysts"}


def test_a_refusal_names_party_table_column_and_rule():
    with pytest.raises(PolicyDenied) as caught:
        judge(policy(), facts(uses=(ColumnUse(table="sales", column="qty", use=Use.GROUP),))).enforce("north")
    assert caught.value.fields == {"party": "north", "table": "sales", "column": "qty", "rule": "use group"}


tables = st.dictionaries(
    st.sampled_from(["sales", "payroll"]),
    st.builds(
        TableRule,
        count=st.booleans(),
        allow_all=st.booleans(),
        columns=st.dictionaries(
            st.sampled_from(["qty", "price"]),
            st.builds(
                ColumnRule,
                use=st.lists(st.sampled_from(Use), max_size=4).map(tuple),
                functions=st.lists(st.sampled_from(["sum", "avg", "count"]), max_size=2).map(tuple),
            ),
        ),
    ),
)
policies = st.builds(
    Policy,
    analysts=st.lists(st.sampled_from(["ana", "bob", "*"]), max_size=2).map(tuple),
    minimum_parties=st.integers(2, 4),
    required_parties=st.lists(st.sampled_from(["north", "east"]), max_size=1).map(tuple),
    two_party=st.booleans(),
    allow_clear=st.booleans(),
    train=st.booleans(),
    tables=tables,
)
uses = st.builds(
    ColumnUse,
    table=st.sampled_from(["sales", "payroll"]),
    column=st.sampled_from(["", "qty", "price"]),
    use=st.sampled_from(Use),
    function=st.sampled_from(["", "sum", "avg", "count"]),
)
asked = st.builds(
    Facts,
    analyst=st.sampled_from(["ana", "bob"]),
    participants=st.sampled_from([("north", "south"), ("north", "south", "west"), ("east", "north")]),
    me=st.just("north"),
    uses=st.lists(uses, max_size=4).map(tuple),
    encrypted=st.booleans(),
    opens_to_parties=st.booleans(),
    trains=st.booleans(),
)


@given(policies, asked, uses)
def test_more_uses_never_make_a_job_more_allowed(found, given_facts, more):
    wider = Facts(**{n: getattr(given_facts, n) for n in Facts.__slots__} | {"uses": (*given_facts.uses, more)})

    assert set(judge(found, given_facts).reasons) <= set(judge(found, wider).reasons)


@given(policies, asked)
def test_what_is_allowed_is_allowed_use_by_use(found, given_facts):
    """The judge read again from its words, rule by rule."""
    table_rules = {name: found.tables.get(name) for name in ("sales", "payroll")}

    def permitted(use):
        table = table_rules[use.table]
        if table is None or table.allow_all:
            return table is not None
        if not use.column:
            return use.use is Use.AGGREGATE and table.count
        rule = table.columns.get(use.column, ColumnRule())
        functions = rule.functions if use.use is Use.AGGREGATE else ()
        return use.use in rule.use and (not functions or use.function in functions)

    pair = len(given_facts.participants) == 2
    expected = (
        (given_facts.analyst in found.analysts or "*" in found.analysts)
        and len(given_facts.participants) >= found.minimum_parties
        and set(found.required_parties) <= set(given_facts.participants)
        and (found.two_party or not (pair and given_facts.opens_to_parties))
        and (found.allow_clear or given_facts.encrypted)
        and (found.train or not given_facts.trains)
        and all(permitted(u) for u in given_facts.uses)
    )

    assert judge(found, given_facts).allowed == expected


# ---- files -----------------------------------------------------------------------------------------------------


def test_a_policy_file_is_read(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(
        'analysts = ["ana"]\nminimum_parties = 3\n[tables.sales]\ncount = true\n'
        '[tables.sales.columns.qty]\nuse = ["aggregate"]\nfunctions = ["sum", "avg"]\n'
    )

    assert Policy.load(path) == policy(minimum_parties=3)


@pytest.mark.parametrize(
    "mapping",
    [
        {"analyst": ["ana"]}, {"tables": {"sales": {"counts": True}}},
        {"tables": {"sales": {"columns": {"a": {"uses": []}}}}},
        {"tables": {"sales": {"columns": {"a": {"use": ["everything"]}}}}}, {"two_party": "yes"}, {"two_party": 1},
        {"analysts": "ana"}, {"minimum_parties": 1}, {"minimum_parties": 0}, {"minimum_parties": -3},
        {"tables": {"Sales": {"allow_all": True}, "sales": {}}},
        {"tables": {"sales": {"columns": {"qty": {}, "QTY": {"use": ["group"]}}}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_policy_that_is_not_understood_is_refused(mapping):
    with pytest.raises(ConfigurationError):
        Policy.from_mapping(mapping)


@pytest.mark.parametrize("content", [None, b"analysts = [", b"\xff\xfe", b"analysts = [1]"])
def test_a_file_that_is_no_policy_is_a_configuration_error(tmp_path, content):
    path = tmp_path / "policy.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        Policy.load(path)


def test_the_open_policy_names_its_tables_and_opens_no_other():
    found = Policy.from_mapping(open_policy(("sales",)))
    elsewhere = ColumnUse(table="payroll", column="x", use=Use.AGGREGATE, function="sum")

    assert judge(found, facts(encrypted=False, trains=True, participants=("a", "b"), opens_to_parties=True)).allowed
    assert not judge(found, facts(uses=(elsewhere,))).allowed
