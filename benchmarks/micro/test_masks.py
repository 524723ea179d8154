"""Pairwise masks."""

SECTIONS = ("micro/masks",)


def test_masks(case, run_case):
    run_case(case)
