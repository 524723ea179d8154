"""Every library and every path of ours, operation by operation."""

SECTIONS = ("micro/arithmetic",)


def test_arithmetic(case, run_case):
    run_case(case)
