"""Native messages and their protobuf form: field for field, and one strict encoding each."""

import random
import struct
import time
import tracemalloc
import typing

import msgspec
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import WireError
from mpc.keys.statements import Signed
from mpc.testing.mutations import mutate
from mpc.wire import messages as m
from mpc.wire.codec import decode, encode, proto_class
from mpc.wire.form import MAX_FIELDS
from mpc.wire.v1 import common_pb2, coordinator_pb2, party_pb2
from tests.wire.strategies import structs

MODULES = (common_pb2, party_pb2, coordinator_pb2)
DESCRIPTORS = {d.name: d for module in MODULES for d in module.DESCRIPTOR.message_types_by_name.values()}
NATIVE = {name: getattr(m, name) for name in m.__all__ if name != "Message"}
KINDS = sorted(NATIVE.values(), key=lambda k: k.__name__)
BYTES_FIELDS = {"request", "ciphertexts"}

PYTHON_TYPES = {
    FieldDescriptor.TYPE_STRING: str, FieldDescriptor.TYPE_BYTES: bytes, FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_UINT32: int, FieldDescriptor.TYPE_UINT64: int, FieldDescriptor.TYPE_DOUBLE: float,
}  # fmt: skip
LARGEST = {FieldDescriptor.TYPE_UINT32: (1 << 32) - 1, FieldDescriptor.TYPE_UINT64: (1 << 64) - 1}


def limits(kind):
    return {f.name: LARGEST[f.type] for f in DESCRIPTORS[kind.__name__].fields if f.type in LARGEST}


def messages(kind):
    return structs(kind, limits(kind))


any_message = st.sampled_from(KINDS).flatmap(messages)


# ---- the two descriptions agree --------------------------------------------------------------------------------


def test_every_proto_message_has_a_native_form_and_nothing_else_has():
    assert set(NATIVE) | {"Signed"} == set(DESCRIPTORS)
    assert list(m.__all__) == sorted(m.__all__)


@pytest.mark.parametrize("kind", [*KINDS, Signed], ids=lambda k: k.__name__)
def test_a_native_message_is_its_descriptor_field_for_field(kind):
    descriptor = DESCRIPTORS[kind.__name__]
    hints = typing.get_type_hints(kind)

    assert [f.name for f in descriptor.fields] == list(kind.__struct_fields__)
    assert [f.number for f in descriptor.fields] == list(range(1, len(descriptor.fields) + 1))
    for field in descriptor.fields:
        wanted = PYTHON_TYPES.get(field.type) or (
            Signed if field.message_type.name == "Signed" else NATIVE[field.message_type.name]
        )
        hint = hints[field.name]
        if field.is_repeated:
            assert hint == tuple[wanted, ...], field.name
        elif field.message_type is not None:
            assert hint == wanted | None, field.name
        else:
            assert hint is wanted, field.name


def test_messages_use_the_simple_form_of_protobuf_alone():
    """No oneof, map, enum, extension or optional scalar: nothing whose leniency would have to be undone."""
    for descriptor in DESCRIPTORS.values():
        assert not descriptor.oneofs
        assert not descriptor.enum_types
        assert not descriptor.nested_types
        assert not descriptor.is_extendable
        assert proto_class(Signed).DESCRIPTOR.file.package == "mpc.wire.v1"
        for field in descriptor.fields:
            assert field.type in PYTHON_TYPES or field.type == FieldDescriptor.TYPE_MESSAGE
            assert not field.is_repeated or field.type in {FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_BYTES}


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_defaults_are_those_of_protobuf(kind):
    assert encode(kind()) == b""
    assert decode(b"", kind) == kind()


def test_messages_are_frozen_and_named_arguments_only():
    for kind in KINDS:
        assert kind.__struct_config__.frozen
        assert issubclass(kind, m.Message)


# ---- round trips -----------------------------------------------------------------------------------------------


@given(any_message)
def test_a_message_comes_back_as_it_was(message):
    again = decode(encode(message), type(message))

    assert again == message
    assert type(again) is type(message)


@given(any_message)
def test_a_message_has_one_encoding(message):
    assert encode(decode(encode(message), type(message))) == encode(message)


@given(any_message, any_message)
def test_two_messages_of_a_kind_share_bytes_only_if_equal(one, other):
    if type(one) is type(other):
        assert (encode(one) == encode(other)) == (one == other)


def test_something_that_has_no_wire_form_is_not_encoded():
    class Stranger(m.Message, frozen=True, kw_only=True):
        x: int = 0

    with pytest.raises(WireError):
        encode(Stranger())
    with pytest.raises(WireError):
        decode(b"", Stranger)


# ---- strictness ------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(any_message)
def test_truncations_are_refused_or_are_other_whole_messages(message):
    data = encode(message)
    for cut in range(len(data)):
        try:
            shorter = decode(data[:cut], type(message))
        except WireError:
            continue
        assert encode(shorter) == data[:cut]
        assert shorter != message


@given(st.binary(max_size=200), st.sampled_from(KINDS))
def test_random_bytes_are_a_message_or_a_wire_error(data, kind):
    try:
        message = decode(data, kind)
    except WireError:
        return
    assert len(encode(message)) == len(data)


@settings(max_examples=300)
@given(any_message, st.integers(0, 1 << 32))
def test_mutated_bytes_are_a_message_or_a_wire_error(message, seed):
    source = random.Random(seed)
    data = mutate(encode(message) or b"\x0a\x00", source)
    try:
        again = decode(data, type(message))
    except WireError:
        return
    assert len(encode(again)) == len(data), "accepted bytes are as long as the one encoding of what was read"


@given(any_message, st.integers(16, 200), st.sampled_from([0, 1, 2, 5]))
def test_unknown_fields_are_refused_wherever_they_stand(message, number, wire_type):
    body = {0: b"\x01", 1: bytes(8), 2: b"\x01x", 5: bytes(4)}[wire_type]
    unknown = varint(number << 3 | wire_type) + body
    for data in (encode(message) + unknown, unknown + encode(message)):
        with pytest.raises(WireError):
            decode(data, type(message))


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


NESTED = field(1, field(1, b"payload") + field(2, b"north") + field(3, bytes(64)))

BAD = {
    "an unknown field in a nested message": (m.CommitRequest, field(1, field(4, b"x"))),
    "an unknown field two levels down": (m.JobEvent, field(9, field(2, field(3, b"x")))),
    "a nested message twice, which protobuf merges": (m.CommitRequest, NESTED + field(1, field(2, b"south"))),
    "a text twice": (m.JobReference, field(1, b"a") + field(1, b"b")),
    "a number twice": (m.WatchRequest, b"\x10\x01\x10\x02"),
    "a text where a number should be": (m.WatchRequest, field(2, b"1")),
    "a number where a text should be": (m.WatchRequest, b"\x08\x01"),
    "fixed bytes where a number should be": (m.WatchRequest, b"\x11" + bytes(8)),
    "a number where a double should be": (m.Phase, b"\x10\x01"),
    "four bytes where a double should be": (m.Phase, b"\x15" + bytes(4)),
    "a group": (m.JobReference, b"\x0b\x0c"),
    "wire type six": (m.JobReference, b"\x0e\x00"),
    "field number zero": (m.JobReference, b"\x02\x00"),
    "a number beyond 32 bits, which protobuf cuts": (m.CollectRequest, b"\x10" + varint((1 << 32) + 1)),
    "a number beyond 64 bits": (m.WatchRequest, b"\x10" + b"\xff" * 9 + b"\x02"),
    "a number without an end": (m.WatchRequest, b"\x10" + b"\xff" * 11),
    "a number in a longer form": (m.WatchRequest, b"\x10\x81\x00"),
    "a length in a longer form": (m.JobReference, b"\x0a\x81\x00a"),
    "a tag in a longer form": (m.JobReference, b"\x8a\x00\x01a"),
    "a boolean of two": (m.RoundOffer, b"\x18\x02"),
    "an empty text spelt out": (m.JobReference, b"\x0a\x00"),
    "a zero spelt out": (m.WatchRequest, b"\x10\x00"),
    "a length beyond the message": (m.JobReference, b"\x0a\x05abc"),
    "a length beyond its own message": (m.CommitRequest, b"\x0a\x02\x0a\x05" + b"abcde"),
    "a text that is no UTF-8": (m.JobReference, field(1, b"\xff\xfe")),
    "a text with a surrogate": (m.JobReference, field(1, b"\xed\xa0\x80")),
    "a text in an overlong form": (m.JobReference, field(1, b"\xc0\x80")),
    "a tag alone": (m.JobReference, b"\x0a"),
    "half a double": (m.Phase, b"\x11" + bytes(7)),
    "a zero double spelt out": (m.Phase, b"\x11" + bytes(8)),
    "a negative zero": (m.Phase, b"\x11" + struct.pack("<d", -0.0)),
    "an infinite double": (m.Phase, b"\x11" + struct.pack("<d", float("inf"))),
    "a double that is no number": (m.Phase, b"\x11" + struct.pack("<d", float("nan"))),
}


@pytest.mark.parametrize("what", BAD)
def test_lenient_forms_of_protobuf_are_refused(what):
    kind, data = BAD[what]
    with pytest.raises(WireError):
        decode(data, kind)


def test_what_the_strict_form_is_compared_with_is_read():
    assert decode(NESTED, m.CommitRequest).request.signer == "north"
    assert decode(b"\x10\x81\x01", m.WatchRequest).after == 129
    assert decode(b"\x11" + struct.pack("<d", 1.5), m.Phase).seconds == 1.5
    assert decode(b"\x10" + b"\xff" * 9 + b"\x01", m.WatchRequest).after == (1 << 64) - 1


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "a\tb", "\x00", "\x7f", "\u202e", "\u2028", "\ufeff", "\x9b"])
def test_texts_that_could_move_a_terminals_cursor_are_refused_in_every_field(text):
    for kind in [k for k in KINDS if str in typing.get_type_hints(k).values()]:
        for name, hint in typing.get_type_hints(kind).items():
            if hint is str:
                with pytest.raises(WireError):
                    decode(encode(kind(**{name: text})), kind)
    with pytest.raises(WireError):
        decode(encode(m.CommitReply(commitment=Signed(b"", text, b""))), m.CommitReply)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_a_campaign_of_mutations_finds_messages_or_wire_errors_alone(kind):
    source, accepted = random.Random(kind.__name__), 0
    examples = [encode(filled(kind, source)) for _ in range(50)]
    for _ in range(100_000):
        data = mutate(source.choice(examples), source)
        try:
            message = decode(data, kind)
        except WireError:
            continue
        accepted += 1
        assert len(encode(message)) == len(data)

    assert accepted < 100_000


def filled(kind, source):
    """A message with something in every field."""
    values = {}
    for name, hint in typing.get_type_hints(kind).items():
        inner = next((a for a in (hint, *typing.get_args(hint)) if isinstance(a, type) and a is not type(None)), None)
        if issubclass(inner, msgspec.Struct):
            inner = (
                Signed(source.randbytes(40), "north", source.randbytes(64))
                if inner is Signed
                else filled(inner, source)
            )
        else:
            inner = {
                str: "north",
                bytes: source.randbytes(30),
                bool: True,
                int: source.randrange(1, 1 << 20),
                float: 1.5,
            }[inner]
        values[name] = (inner, inner) if typing.get_origin(hint) is tuple else inner
    return kind(**values)


FLOODS = {
    "empty nested messages": (m.BeginRequest, b"\x12\x00"),
    "empty nested messages two levels down": (m.JobEvent, None),
    "empty ciphertexts": (m.ContributionFrame, b"\x0a\x00"),
    "one text over and over": (m.JobReference, b"\x0a\x01a"),
    "one nested message over and over": (m.CommitRequest, b"\x0a\x00"),
    "unknown numbers": (m.BeginRequest, b"\xf8\x07\x00"),
    "unknown groups": (m.BeginRequest, b"\xfb\x07\xfc\x07"),
    "opened groups": (m.BeginRequest, b"\xfb\x07"),
    "traffic": (m.ResultFrame, b"\x3a\x00"),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_mebibyte_of_small_fields_costs_little_before_it_is_refused(what):
    kind, unit = FLOODS[what]
    data = field(9, b"\x12\x00" * (1 << 19)) if unit is None else unit * ((1 << 20) // len(unit))
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(WireError):
        decode(data, kind)
    seconds = time.process_time() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert seconds < 1.0
    assert peak < 2 << 20, "Python's own memory; protobuf was not called"


def test_lists_have_a_limit_and_reach_it():
    fits = b"\x0a\x00" * MAX_FIELDS

    assert len(decode(fits, m.ContributionFrame).ciphertexts) == MAX_FIELDS
    with pytest.raises(WireError):
        decode(fits + b"\x0a\x00", m.ContributionFrame)


@pytest.mark.parametrize("value", [-1, 1 << 32, 1.5, "1", None])
def test_a_native_message_with_a_wrong_value_is_not_sent(value):
    with pytest.raises((TypeError, ValueError)):
        encode(m.CollectRequest(job="j", round=value or "x"))


def test_signed_statements_keep_their_exact_bytes():
    signed = Signed(bytes(range(256)), "north", b"\xff" * 64)
    message = m.BeginRequest(job="j", commitments=(signed, signed))

    assert decode(encode(message), m.BeginRequest).commitments == (signed, signed)
    assert msgspec.structs.asdict(signed)["payload"] == bytes(range(256))
