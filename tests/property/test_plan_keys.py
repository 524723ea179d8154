"""Encoded group keys come back as they were, sort and size as declared, and hostile bytes are refused."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import RangeError, WireError
from mpc.plan.dates import add_interval, date_of, days, micros, part_of, timestamp_of, truncate
from mpc.plan.ir import Column, Kind, Literal, Type, canonical_bytes
from mpc.plan.keys import GroupKey, GroupKeyCodec


def key(kind, name="k", **options):
    column = Column(name=name, type=Type(kind=kind, **options), declared="X")
    return GroupKey(name, column, None)


KEYS = (
    key(Kind.INTEGER, "i", low=-(1 << 47), high=1 << 47),
    key(Kind.VARCHAR, "s", max_bytes=12),
    key(Kind.DECIMAL, "w", scale=3, low=-(10**30), high=10**30),
    key(Kind.BOOLEAN, "b"),
)
CODEC = GroupKeyCodec(KEYS)

texts = st.text(max_size=12).filter(lambda s: len(s.encode("utf-8", "surrogatepass")) <= 12 and s.isprintable())
tuples = st.tuples(
    st.none() | st.integers(-(1 << 47), 1 << 47),
    st.none() | texts,
    st.none() | st.integers(-(10**30), 10**30),
    st.none() | st.integers(0, 1),
)


@given(tuples)
def test_a_tuple_comes_back_and_has_the_declared_size(values):
    data = CODEC.encode(values)

    assert len(data) == CODEC.size
    assert CODEC.decode(data) == values


@given(tuples, tuples)
def test_different_tuples_have_different_bytes(one, two):
    assert (CODEC.encode(one) == CODEC.encode(two)) == (one == two)


@given(st.integers(-(1 << 47), 1 << 47), st.integers(-(1 << 47), 1 << 47))
def test_the_bytes_of_integers_sort_as_the_integers(one, two):
    codec = GroupKeyCodec(KEYS[:1])

    assert (codec.encode((one,)) < codec.encode((two,))) == (one < two)


@given(st.binary(min_size=CODEC.size, max_size=CODEC.size))
def test_hostile_bytes_are_refused_or_canonical(data):
    try:
        values = CODEC.decode(data)
    except WireError:
        return
    assert CODEC.encode(values) == data


@given(tuples, st.integers(0, CODEC.size - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_another_tuple(values, place, change):
    data = bytearray(CODEC.encode(values))
    data[place] ^= change
    try:
        other = CODEC.decode(bytes(data))
    except WireError:
        return
    assert other != values
    assert CODEC.encode(other) == bytes(data)


@pytest.mark.parametrize("data", [b"", bytes(CODEC.size - 1), bytes(CODEC.size + 1)])
def test_another_length_is_refused(data):
    with pytest.raises(WireError):
        CODEC.decode(data)


def test_a_text_that_is_too_long_names_the_column():
    with pytest.raises(RangeError) as caught:
        CODEC.encode((1, "x" * 13, 0, 1))

    assert caught.value.fields == {"column": "s"}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


@given(values, values)
def test_canonical_bytes_are_injective(one, two):
    equal = _typed(one) == _typed(two)

    assert (canonical_bytes(one) == canonical_bytes(two)) == equal


def _typed(value):
    """True and 1 are equal in Python and different in meaning."""
    return (
        (type(value).__name__, tuple(map(_typed, value))) if isinstance(value, tuple) else (type(value).__name__, value)
    )


def test_nodes_that_differ_in_any_field_have_different_bytes():
    base = Type(kind=Kind.INTEGER, low=0, high=9)
    variants = [
        Literal(1, base),
        Literal(2, base),
        Literal(True, base),
        Literal("1", base),
        Literal(1, Type(kind=Kind.INTEGER, low=0, high=10)),
        Literal(1, Type(kind=Kind.INTEGER, low=0, high=9, nullable=False)),
        Column(name="1", type=base, declared="INTEGER"),
        Column(name="1", type=base, declared="INTEGER", local=True),
    ]

    assert len({canonical_bytes(v) for v in variants}) == len(variants)


moments = st.datetimes(dt.datetime.fromisoformat("1700-01-01"), dt.datetime.fromisoformat("2300-01-01"))


@given(moments)
def test_microseconds_and_days_come_back(when):
    assert timestamp_of(micros(when)) == when
    assert date_of(days(when.date())) == when.date()


@given(moments, st.sampled_from(["day", "week", "month", "quarter", "year"]))
def test_a_truncation_is_the_last_boundary_before(when, unit):
    start = truncate(unit, micros(when))
    step = {"day": (0, 1, 0), "week": (0, 7, 0), "month": (1, 0, 0), "quarter": (3, 0, 0), "year": (12, 0, 0)}[unit]

    assert start <= micros(when) < add_interval(start, step)
    assert truncate(unit, start) == start


@given(moments)
def test_parts_put_a_date_together(when):
    at = micros(when)

    assert (part_of("year", at), part_of("month", at), part_of("day", at)) == (when.year, when.month, when.day)
    assert part_of("quarter", at) == (when.month + 2) // 3
    assert part_of("isodow", at) % 7 == part_of("dow", at)
