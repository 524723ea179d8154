"""Other libraries on the same work."""

SECTIONS = ("peers",)


def test_peer(case, run_case):
    run_case(case)
