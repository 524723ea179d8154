"""Every model, over encrypted sums and over a trusted adder."""

SECTIONS = ("learn",)


def test_model(case, run_case):
    run_case(case)
