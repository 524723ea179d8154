"""Every scheme, operation and parameter set."""

SECTIONS = ("micro/schemes",)


def test_scheme(case, run_case):
    run_case(case)
