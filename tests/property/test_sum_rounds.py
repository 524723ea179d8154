"""Whole rounds of the sum against the trusted adder, over drawn shapes, parties and parameter sets."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpc.errors import IntegrityError, ParameterError, ProtocolError, RangeError
from mpc.packing.layout import VectorLayout
from mpc.params import parameter_set
from mpc.primitives import Sum
from mpc.sum.ideal import ideal_totals
from mpc.testing.sums import Round

CLEAR = "insecure-clear-4096-t62"
ENCRYPTED = ["rlwe-2048-t30", "rlwe-4096-t60", "bfv-4096-t40"]

bounds = st.sampled_from([0, 1, 9, (1 << 31) - 1, 1 << 40, (1 << 62) - 1, 1 << 62, 1 << 63, 1 << 90, 1 << 126]) | (
    st.integers(0, 1 << 126)
)
shapes = st.lists(st.tuples(st.integers(0, 40), bounds), min_size=1, max_size=4)


@st.composite
def requests(draw, *, most=6):
    """One request per party over one header, with values that reach their bounds."""
    shape, count = draw(shapes), draw(st.integers(2, most))
    limits = {f"s{i}": bound for i, (_, bound) in enumerate(shape)}
    out = []
    for _ in range(count):
        arrays = {}
        for i, (length, bound) in enumerate(shape):
            value = st.sampled_from([-bound, bound, 0]) | st.integers(-bound, bound)
            drawn = draw(st.lists(value, min_size=length, max_size=length))
            wide = bound >= 1 << 63 or draw(st.booleans())
            arrays[f"s{i}"] = np.array(drawn, dtype=object if wide else np.int64)
        out.append(Sum.of("drawn", arrays, limits))
    return out


def plain(totals):
    return {name: [int(v) for v in values] for name, values in totals.items()}


def expected(asked):
    """Python's own sums, beside the ideal functionality."""
    return {
        s.name: [sum(int(r.values[s.name].read(0, s.length)[j]) for r in asked) for j in range(s.length)]
        for s in asked[0].header.segments
    }


def fits(name, asked):
    try:
        VectorLayout.compile(asked[0].header.segments, parameter_set(name), len(asked))
    except (ParameterError, RangeError):
        return False
    return True


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(requests(most=8))
def test_a_round_opens_to_the_ideal_total(asked):
    if not fits(CLEAR, asked):
        return
    totals = plain(Round.make(parameter_set(CLEAR), asked).run())

    assert totals == plain(ideal_totals(asked)) == expected(asked)


@pytest.mark.parametrize("name", ENCRYPTED)
@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(asked=requests(most=4))
def test_an_encrypted_round_opens_to_the_ideal_total(name, asked):
    if not fits(name, asked):
        return

    assert plain(Round.make(parameter_set(name), asked).run()) == expected(asked)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(requests(), st.data())
def test_a_value_one_beyond_its_bound_never_opens(asked, data):
    segments = [s for s in asked[0].header.segments if s.length]
    if not segments or not fits(CLEAR, asked):
        return
    segment = data.draw(st.sampled_from(segments))
    victim = data.draw(st.sampled_from(asked))
    array = victim.values[segment.name].read(0, segment.length).astype(object)
    array[data.draw(st.integers(0, segment.length - 1))] = data.draw(st.sampled_from([-1, 1])) * (segment.bound + 1)
    changed = {s.name: victim.values[s.name].read(0, s.length) for s in victim.header.segments} | {segment.name: array}
    bad = [r if r is not victim else Sum.of("drawn", changed, {s.name: s.bound for s in r.header.segments})
           for r in asked]  # fmt: skip

    for run in (lambda: Round.make(parameter_set(CLEAR), bad).run(), lambda: ideal_totals(bad)):
        with pytest.raises(RangeError) as caught:
            run()
        assert caught.value.fields == {"segment": segment.name}


TAMPERINGS = {
    "dropped": lambda c, i, j: c[i].pop(j),
    "repeated": lambda c, i, j: c[i].insert(j, c[i][j]),
    "another party's": lambda c, i, j: c[i].__setitem__(j, c[(i + 1) % len(c)][j]),
    "a changed bit": lambda c, i, j: c[i].__setitem__(j, flipped(c[i][j], 16 + 5)),
    "swapped within a party": lambda c, i, j: c[i].__setitem__(slice(None), c[i][1:] + c[i][:1]),
    "swapped alike for all": lambda c, i, j: [x.__setitem__(slice(None), x[1:] + x[:1]) for x in c],
}


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("how", TAMPERINGS)
@settings(deadline=None, max_examples=15)
@given(parties=st.integers(2, 5), data=st.data())
def test_a_tampered_contribution_never_opens(how, parties, data):
    """At the adder, which has counted, or at the opener, by the count slot and the position tags of each ciphertext."""
    asked = [Sum.of("x", {"v": np.full(9000, 3 * i)}, 100) for i in range(parties)]
    round_ = Round.make(parameter_set(CLEAR), asked)
    contributions = list(round_.contributions().values())
    TAMPERINGS[how](contributions, data.draw(st.integers(0, parties - 1)), data.draw(st.integers(0, 1)))

    with pytest.raises((IntegrityError, ProtocolError)):
        round_.open(round_.add(dict(zip(round_.requests, contributions, strict=True))))


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 6), st.data())
def test_no_smaller_set_opens(parties, data):
    """Whatever subset a coordinator adds up, alone or with one party twice, the masks of the missing stay."""
    asked = [Sum.of("x", {"v": np.full(500, i)}, 100) for i in range(parties)]
    round_ = Round.make(parameter_set(CLEAR), asked)
    contributions = round_.contributions()
    chosen = data.draw(st.lists(st.sampled_from(sorted(contributions)), min_size=1, max_size=parties + 1))
    if sorted(chosen) == sorted(contributions):
        return
    summed = round_.add({f"{i}": contributions[p] for i, p in enumerate(chosen)}, check=False)

    with pytest.raises(IntegrityError):
        round_.open(summed)
