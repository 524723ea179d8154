"""Real numbers as integers of a declared range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import ParameterError, RangeError
from mpc.fixedpoint import Encoding, range_for


@given(st.lists(st.floats(-1000, 1000), max_size=50), st.integers(0, 80))
def test_decoding_returns_within_half_a_step(values, bits):
    encoding = Encoding(scale_bits=bits, range=1000.0)
    reals = np.array(values, dtype=np.float64)

    back = encoding.decode(encoding.encode(reals, statistic="x"))

    assert np.abs(back - reals).max(initial=0.0) <= 2.0 ** -(bits + 1)


def test_wide_encodings_are_python_integers_and_exact():
    encoding = Encoding(scale_bits=70, range=4.0)

    encoded = encoding.encode(np.array([1.0 + 2.0**-52, -3.5]), statistic="x")

    assert encoded.dtype == object
    assert encoded.tolist() == [(1 << 70) + (1 << 18), -(7 << 69)]
    assert encoding.decode(encoded).tolist() == [1.0 + 2.0**-52, -3.5]


@pytest.mark.parametrize("value", [1.0000001, -1.0000001, np.nan, np.inf])
def test_a_value_out_of_range_is_refused_by_the_name_of_its_statistic(value):
    with pytest.raises(RangeError) as caught:
        Encoding(scale_bits=20, range=1.0).encode(np.array([0.0, value]), statistic="gradient")

    assert caught.value.fields == {"statistic": "gradient"}
    assert "1.0000001" not in str(caught.value)


def test_the_bound_covers_every_encoded_value():
    encoding = Encoding(scale_bits=3, range=0.3)

    assert encoding.bound == 3
    assert encoding.encode(np.array([0.3]), statistic="x").tolist() == [2]


def test_encodings_that_no_sum_carries_do_not_exist():
    with pytest.raises(ParameterError):
        Encoding(scale_bits=100, range=2.0**27)
    with pytest.raises(ParameterError):
        Encoding(scale_bits=-1, range=1.0)


def test_ranges_are_powers_of_two():
    assert [range_for(x) for x in (0.0, 1.0, 1.5, 1024.0, 1025.0)] == [1.0, 1.0, 2.0, 1024.0, 2048.0]
