"""The seam between programs and protocols: headers, requests, and programs in lock-step with the trusted adder."""

import numpy as np
import pytest

from mpc import primitives
from mpc.errors import ParameterError, ProtocolError, RangeError
from mpc.primitives import ArrayValues, Checkpoint, Progress, Recipient, Segment, Sum, SumHeader, run_ideal


def mean(column):
    totals = yield Sum.of("mean", {"count": np.array([len(column)]), "total": np.array([column.sum()])}, 1 << 40)
    return totals["total"][0] / totals["count"][0]


def test_a_program_gets_the_pooled_answer():
    parts = [np.array([1, 2, 3]), np.array([10]), np.array([], dtype=np.int64)]

    assert run_ideal([mean(p) for p in parts]) == [4.0] * 3


def test_totals_for_the_analyst_do_not_come_back():
    def program():
        got = yield Sum.of("x", {"v": np.array([1])}, 5, recipient=Recipient.ANALYST)
        return got

    assert run_ideal([program(), program()]) == [None, None]


def test_progress_and_checkpoints_are_answered_with_nothing():
    def program():
        first = yield Progress(1, 2)
        second = yield Checkpoint({"w": np.zeros(3)})
        third = yield Sum.of("x", {"v": np.array([2])}, 5)
        return first, second, third["v"].tolist()

    assert run_ideal([program(), program()]) == [(None, None, [4])] * 2


@pytest.mark.parametrize(
    "other",
    [
        Sum.of("y", {"v": np.array([1])}, 5),
        Sum.of("x", {"w": np.array([1])}, 5),
        Sum.of("x", {"v": np.array([1])}, 6),
        Sum.of("x", {"v": np.array([1, 2])}, 5),
        Sum.of("x", {"v": np.array([1])}, 5, recipient=Recipient.ANALYST),
        Sum.of("x", {"v": np.array([1])}, 5, context=b"keys"),
        Progress(1, 1),
    ],
    ids=["label", "segment", "bound", "length", "recipient", "context", "no sum"],
)
def test_programs_that_ask_for_different_things_are_stopped(other):
    def program(item):
        yield item

    with pytest.raises(ProtocolError):
        run_ideal([program(Sum.of("x", {"v": np.array([1])}, 5)), program(other)])


def test_programs_that_end_at_different_steps_are_stopped():
    def short():
        return 1
        yield

    def long():
        yield Progress(1, 1)
        return 1

    with pytest.raises(ProtocolError):
        run_ideal([short(), long()])


def test_the_trusted_adder_checks_bounds_and_adds_without_wrapping():
    def program(value):
        totals = yield Sum.of("x", {"v": np.array([value], dtype=object)}, 1 << 126)
        return int(totals["v"][0])

    assert run_ideal([program(1 << 126)] * 1 + [program(1 << 126), program(-1)]) == [(1 << 127) - 1] * 3
    with pytest.raises(RangeError):
        run_ideal([program((1 << 126) + 1), program(0)])


def test_int64_totals_that_leave_int64_are_exact():
    def program():
        totals = yield Sum.of("x", {"v": np.array([(1 << 62) - 1])}, (1 << 62) - 1)
        return int(totals["v"][0])

    assert run_ideal([program() for _ in range(5)]) == [5 * ((1 << 62) - 1)] * 5


@pytest.mark.parametrize(
    "segments",
    [
        (), (Segment("a", 1, 1), Segment("a", 2, 2)), (Segment("a", -1, 1),), (Segment("a", 1, -1),),
        (Segment("a", 1, (1 << 126) + 1),),
    ],
    ids=["none", "a name twice", "a negative length", "a negative bound", "a bound too large"],
)  # fmt: skip
def test_impossible_headers_are_refused(segments):
    with pytest.raises(ParameterError):
        SumHeader("x", Recipient.GROUP, segments).check()


def test_values_are_given_for_exactly_the_segments():
    header = SumHeader("x", Recipient.GROUP, (Segment("a", 2, 1),))
    two, three = ArrayValues(np.zeros(2, np.int64)), ArrayValues(np.zeros(3, np.int64))
    for values in ({}, {"b": two}, {"a": two, "b": two}, {"a": three}):
        with pytest.raises(ParameterError):
            Sum(header, values)


def test_arrays_of_several_dimensions_are_read_in_c_order():
    fortran = np.asfortranarray(np.arange(6).reshape(2, 3))
    request = Sum.of("x", {"v": fortran}, 9)

    assert request.values["v"].read(0, 6).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_request_does_not_print_its_values():
    request = Sum.of("x", {"v": np.array([4711])}, 9999)

    assert "4711" not in repr(request)
    assert "4711" not in repr(Checkpoint({"w": np.array([4711])}))


def test_the_seam_exports_what_it_names():
    assert list(primitives.__all__) == sorted(primitives.__all__)
    assert all(hasattr(primitives, name) for name in primitives.__all__)
