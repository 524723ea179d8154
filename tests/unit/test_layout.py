"""Where every value sits: nothing wraps, nothing overlaps, nothing is left out."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mpc.errors import ParameterError, RangeError
from mpc.packing.layout import CHECK_SLOTS, VectorLayout
from mpc.packing.segments import MAX_BOUND_BITS, Segment
from mpc.params import PARAMETER_SETS, parameter_set

SET_NAMES = sorted(PARAMETER_SETS)

segments = st.lists(
    st.tuples(st.integers(0, 9000), st.integers(0, 1 << MAX_BOUND_BITS)), min_size=1, max_size=5
).map(lambda found: [Segment(f"s{i}", n, b) for i, (n, b) in enumerate(found)])  # fmt: skip


def compiled(found, name, parties, noise=0):
    try:
        return VectorLayout.compile(found, parameter_set(name), parties, noise_bound=noise)
    except (ParameterError, RangeError):
        assume(condition=False)


@given(segments, st.sampled_from(SET_NAMES), st.integers(1, 128), st.integers(0, 1 << 40))
def test_no_slot_wraps_and_every_total_fits(found, name, parties, noise):
    layout = compiled(found, name, parties, noise)
    word = (1 << layout.width_bits) - 1

    assert parties * word < layout.parameters.plain_modulus, "a sum of words stays below the plaintext modulus"
    assert layout.width_bits <= 62
    for segment, asked in zip(layout.segments, found, strict=True):
        modulus = 1 << (layout.width_bits * segment.limbs)
        assert modulus > 2 * parties * (asked.bound + noise), "totals of both signs are told apart"
        assert segment.limbs == 1 or modulus >> layout.width_bits <= 4 * parties * (asked.bound + noise)


@given(segments, st.sampled_from(SET_NAMES), st.integers(1, 64))
def test_segments_follow_one_another_without_gap_or_overlap(found, name, parties):
    layout = compiled(found, name, parties)
    position = 0
    for segment, asked in zip(layout.segments, found, strict=True):
        assert (segment.name, segment.length, segment.bound) == (asked.name, asked.length, asked.bound)
        assert segment.first_slot == position
        position += segment.slots

    assert layout.payload_slots == position
    assert layout.slots_per_ciphertext == layout.parameters.slots - CHECK_SLOTS
    assert layout.ciphertexts >= 1
    assert layout.ciphertexts * layout.slots_per_ciphertext >= position
    assert (layout.ciphertexts - 1) * layout.slots_per_ciphertext < max(position, 1)


@given(segments, st.integers(1, 64))
def test_every_party_compiles_the_same(found, parties):
    one = compiled(found, "rlwe-4096-t60", parties)

    assert one == VectorLayout.compile(list(found), parameter_set("rlwe-4096-t60"), parties)


def test_an_empty_vector_is_still_counted():
    layout = VectorLayout.compile([Segment("v", 0, 5)], parameter_set("bfv-4096-t40"), 2)

    assert (layout.payload_slots, layout.ciphertexts) == (0, 1)


@pytest.mark.parametrize("name", SET_NAMES)
def test_more_participants_than_a_set_adds_are_refused(name):
    parameters = parameter_set(name)
    with pytest.raises(ParameterError):
        VectorLayout.compile([Segment("v", 1, 1)], parameters, parameters.max_additions + 1)
    with pytest.raises(ParameterError):
        VectorLayout.compile([Segment("v", 1, 1)], parameters, 0)


@pytest.mark.parametrize(
    ("found", "noise"),
    [([], 0), ([Segment("v", -1, 1)], 0), ([Segment("v", 1, -1)], 0), ([Segment("v", 1, 1)], -1)],
)
def test_layouts_that_cannot_be_are_refused(found, noise):
    with pytest.raises(ParameterError):
        VectorLayout.compile(found, parameter_set("bfv-4096-t40"), 2, noise_bound=noise)


def test_a_set_with_too_narrow_slots_is_refused():
    narrow = replace(parameter_set("insecure-clear-4096-t62"), plain_modulus=1 << 9)
    VectorLayout.compile([Segment("v", 1, 1)], narrow, 2)
    with pytest.raises(ParameterError):
        VectorLayout.compile([Segment("v", 1, 1)], narrow, 3)


def test_the_largest_bound_fits_and_the_next_does_not():
    parameters = parameter_set("bfv-4096-t40")
    VectorLayout.compile([Segment("v", 1, 1 << MAX_BOUND_BITS)], parameters, 16)
    with pytest.raises(RangeError) as caught:
        VectorLayout.compile([Segment("v", 1, 1 << (MAX_BOUND_BITS + 1))], parameters, 16)
    assert caught.value.fields["segment"] == "v"


@pytest.mark.parametrize("name", SET_NAMES)
def test_the_width_changes_exactly_where_the_modulus_says(name):
    """One participant more than a power of two costs a bit; never half a bit, never two."""
    parameters = parameter_set(name)
    for parties in (1, 2, 3, 4, 5, 8, 9):
        layout = VectorLayout.compile([Segment("v", 1, 1)], parameters, parties)
        widest = max(w for w in range(63) if parties << w <= parameters.plain_modulus)

        assert layout.width_bits == widest


def test_upload_sizes_are_those_of_the_set():
    parameters = parameter_set("rlwe-2048-t30")
    layout = VectorLayout.compile([Segment("v", 10_000, 100)], parameters, 2)

    assert layout.upload_bytes() == layout.ciphertexts * parameters.ciphertext_bytes
    assert layout.upload_bytes(symmetric=True) == layout.ciphertexts * parameters.symmetric_ciphertext_bytes


def test_digests_of_parameter_sets_are_all_different_and_frozen():
    digests = {name: parameter_set(name).digest() for name in SET_NAMES}
    changed = replace(parameter_set("bfv-4096-t40"), max_additions=7)

    assert len(set(digests.values())) == len(digests)
    assert changed.digest() != digests["bfv-4096-t40"]
    assert len(hashlib.sha256(digests["bfv-4096-t40"]).digest()) == 32
