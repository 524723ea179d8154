"""Predicted against measured cost."""

SECTIONS = ("planner",)


def test_prediction(case, run_case):
    run_case(case)
