"""Limb arithmetic against Python's integers."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mpc.entropy import Keystream
from mpc.errors import ParameterError, RangeError
from mpc.packing.layout import VectorLayout
from mpc.packing.limbs import LimbReader, LimbWriter, from_limbs, to_limbs
from mpc.packing.segments import ArrayValues, Segment, check_bound
from mpc.params import parameter_set
from mpc.sum.masks import PairwiseMasks
from mpc.sum.spec import Sum

widths = st.integers(8, 62)
limb_counts = st.integers(1, 5)


@st.composite
def shaped_values(draw, *, narrow=None):
    width, limbs = draw(widths), draw(limb_counts)
    assume(width * limbs <= 252)
    half = 1 << (width * limbs - 1)
    inside = st.integers(-half, half - 1)
    edges = st.sampled_from([0, 1, -1, half - 1, -half, 1 << (width - 1), -(1 << (width - 1)), (1 << width) - 1])
    values = draw(st.lists(inside | edges.filter(lambda v: -half <= v < half), max_size=8))
    if narrow if narrow is not None else draw(st.booleans()):
        values = [v for v in values if -(1 << 63) <= v < 1 << 63]
        return width, limbs, values, np.array(values, dtype=np.int64)
    wide = np.empty(len(values), dtype=object)
    wide[:] = values
    return width, limbs, values, wide


def integers(limbs, width):
    return [sum(int(word) << (j * width) for j, word in enumerate(row)) for row in limbs.tolist()]


@given(shaped_values())
def test_limbs_are_the_residue_in_two_s_complement(case):
    width, limbs, values, array = case
    cut = to_limbs(array, width, limbs)

    assert cut.shape == (len(values), limbs)
    assert all(word < 1 << width for word in cut.reshape(-1).tolist())
    assert integers(cut, width) == [v % (1 << (width * limbs)) for v in values]


@given(shaped_values())
def test_limbs_come_back_as_the_integers_they_were(case):
    width, limbs, values, array = case
    again = from_limbs(to_limbs(array, width, limbs), width)

    assert again.tolist() == values
    assert all(type(v) is int for v in again.tolist())


@given(shaped_values(), st.data())
def test_sums_of_limbs_without_carries_open_to_the_sum(case, data):
    """What the recipient opens: k contributions added word by word, each word below 2^64."""
    width, limbs, values, array = case
    modulus = 1 << (width * limbs)
    parties = data.draw(st.integers(1, min(1 << (64 - width), 40) - 1))
    total = np.zeros((len(values), limbs), dtype=np.uint64)
    for _ in range(parties):
        total += to_limbs(array, width, limbs)
    expected = [((parties * v + modulus // 2) % modulus) - modulus // 2 for v in values]

    assert from_limbs(total, width).tolist() == expected


@given(shaped_values(), st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 5))
def test_masking_adds_and_subtracts_whole_values_for_every_peer(case, signs, first_slot):
    width, limbs, values, array = case
    streams = tuple((Keystream(bytes([i]) * 32), Keystream(bytes(32)), sign) for i, sign in enumerate(signs))
    modulus = 1 << (width * limbs)
    expected = list(values)
    for stream, _, subtract in streams:
        mask = integers(stream.bits(first_slot, len(values) * limbs, width).reshape(len(values), limbs), width)
        expected = [v + (-m if subtract else m) for v, m in zip(expected, mask, strict=True)]
    before = to_limbs(array, width, limbs)
    masked = PairwiseMasks(streams).mask_values(before, first_slot, width)
    opposite = PairwiseMasks(tuple((s, c, not subtract) for s, c, subtract in streams))

    assert integers(masked, width) == [v % modulus for v in expected]
    assert bool((masked >> np.uint64(width) == 0).all())
    assert np.array_equal(opposite.mask_values(masked, first_slot, width), before)


@given(shaped_values(narrow=True))
def test_narrow_and_wide_arrays_give_the_same_limbs(case):
    width, limbs, _values, array = case
    wide = array.astype(object)

    assert np.array_equal(to_limbs(array, width, limbs), to_limbs(wide, width, limbs))


@given(st.lists(st.integers(0, 1 << 60), max_size=40), st.integers(1, 7), st.data())
def test_a_writer_gives_back_every_slot_in_order(slots, row, data):
    writer, out = LimbWriter(row), []
    position = 0
    while position < len(slots):
        size = data.draw(st.integers(1, 9))
        writer.push(np.array(slots[position : position + size], dtype=np.uint64))
        position += size
        out += writer.rows(data.draw(st.integers(0, 3))).reshape(-1).tolist()
    out += writer.rows(1000).reshape(-1).tolist()

    assert out == slots[: len(slots) // row * row]
    assert writer.held == len(slots) % row


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, 5, 1 << 40, 1 << 100])), min_size=1, max_size=5),
    st.integers(1, 50),
    st.data(),
)
def test_a_reader_fills_the_segments_whatever_the_stretches(shapes, tail, data):
    found = [Segment(f"s{i}", n, b) for i, (n, b) in enumerate(shapes)]
    layout = VectorLayout.compile(found, parameter_set("insecure-clear-4096-t62"), 4)
    values = {s.name: data.draw(st.lists(st.integers(-s.bound, s.bound), min_size=s.length, max_size=s.length))
              for s in found}  # fmt: skip
    stream = [
        word
        for s in layout.segments
        for row in to_limbs(np.array(values[s.name], dtype=object), layout.width_bits, s.limbs).tolist()
        for word in row
    ]
    stream = np.array(stream + [0] * tail, dtype=np.uint64)
    reader, position = LimbReader(layout.segments, layout.width_bits), 0
    while position < stream.size:
        size = data.draw(st.integers(1, 60))
        reader.push(stream[position : position + size])
        position += size

    assert {k: v.tolist() for k, v in reader.totals().items()} == values


# ---- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [1.9, None, "1", float("nan"), np.float64(2), 1 + 0j, [1]])
def test_what_is_no_integer_is_never_cut_to_one(bad):
    array = np.empty(2, dtype=object)
    array[:] = [1, bad]
    with pytest.raises(ParameterError):
        ArrayValues(array).read(0, 2)


@pytest.mark.parametrize("array", [np.zeros(2), np.zeros((2, 2), np.int64), np.array("x"), np.array(["a"]),
                                   np.array([1], dtype="M8[s]"), np.array(3)])  # fmt: skip
def test_arrays_of_other_kinds_are_refused(array):
    with pytest.raises(ParameterError):
        ArrayValues(array)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64, bool])
def test_every_integer_type_is_read_exactly(dtype):
    info = (0, 1) if dtype is bool else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    array = np.array(info, dtype=dtype)

    assert [int(v) for v in ArrayValues(array).read(0, 2)] == [int(v) for v in info]


def test_numpy_integers_in_object_arrays_are_integers():
    array = np.array([np.int32(5), 7, True], dtype=object)
    assert [int(v) for v in ArrayValues(array).read(0, 3)] == [5, 7, 1]


@given(st.integers(0, 1 << 126), st.sampled_from([-1, 0, 1]), st.booleans())
def test_the_bound_is_inclusive_on_both_sides(bound, offset, negative):
    value = -(bound + offset) if negative else bound + offset
    array = np.array([value], dtype=object)
    segment = Segment("secret_column", 1, bound)
    if abs(value) <= bound:
        check_bound(segment, array)
        return
    with pytest.raises(RangeError) as caught:
        check_bound(segment, array)
    assert caught.value.fields == {"segment": "secret_column"}
    assert str(abs(value)) not in str(caught.value) or abs(value) < 10


@pytest.mark.parametrize("extreme", [np.iinfo(np.int64).min, np.iinfo(np.int64).max])
def test_the_ends_of_int64_do_not_slip_through_the_bound(extreme):
    with pytest.raises(RangeError):
        check_bound(Segment("v", 1, (1 << 62)), np.array([extreme]))
    with pytest.raises(RangeError):
        check_bound(Segment("v", 1, (1 << 63) - 1), np.array([-(1 << 63)]))


def test_a_float_array_never_becomes_a_sum():
    with pytest.raises(ParameterError):
        Sum.of("x", {"v": np.array([1.0])}, 5)
