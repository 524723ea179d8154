"""Private scoring by dimensions and items: both roles on one core, with and without flooding, and through a room."""

SECTIONS = ("protocols/score", "protocols/score-insecure", "protocols/score-room")


def test_score(case, run_case):
    run_case(case)
