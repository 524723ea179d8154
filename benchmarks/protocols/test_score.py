"""Private scoring by dimensions and items."""

SECTIONS = ("protocols/score",)


def test_score(case, run_case):
    run_case(case)
