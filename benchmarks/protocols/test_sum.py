"""Whole sums: in one process, over loopback gRPC, and over lines of stated delay and rate."""

SECTIONS = ("protocols/sum", "protocols/sum-grpc", "protocols/sum-wan")


def test_sum(case, run_case):
    run_case(case)
