"""Every scheme, operation and parameter set."""

SECTIONS = ("micro/schemes", "micro/ckks")


def test_scheme(case, run_case):
    run_case(case)
