"""Models and notes as parties seal them to the analyst: whole, or a wire error."""

import contextlib
import math
import random
import tracemalloc

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import WireError
from mpc.learn.averaging import AveragedModel
from mpc.learn.ease import EaseModel
from mpc.learn.vocabulary import Vocabulary
from mpc.testing.mutations import mutate
from mpc.wire.limits import MAX_SEALED_BYTES
from mpc.wire.models import pack_model, unpack_model
from mpc.wire.notes import note_context, split_notes

EASE = EaseModel(
    Vocabulary(np.array(["Öl", "b", "\U0001f600"])), np.arange(9.0).reshape(3, 3), np.array([3, 4, 5]), 0.5
).with_evidence(bytes(range(32)))
AVERAGE = AveragedModel({"w": np.float64([[1.5, -0.0]]), "b": np.array(7.0)}, 12).with_evidence(b"e" * 32)
PACKED = msgspec.msgpack.decode(pack_model(EASE))


@pytest.mark.parametrize("model", [EASE, AVERAGE], ids=lambda m: m.kind)
def test_a_model_comes_back_to_the_last_bit(model):
    again = unpack_model(pack_model(model))

    assert type(again) is type(model)
    assert again.bits() == model.bits()
    assert again.digest() == model.digest()


def test_two_packings_are_the_same_bytes():
    assert pack_model(EASE) == pack_model(unpack_model(pack_model(EASE)))


def test_arrays_of_another_byte_order_or_layout_cross_as_little_endian():
    swapped = AveragedModel({"w": np.asfortranarray(np.arange(6.0).reshape(2, 3)).astype(">f8")}, 1)

    assert unpack_model(pack_model(swapped)).values["w"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


@settings(max_examples=400)
@given(st.integers(0, 1 << 40))
def test_mutated_models_are_models_or_wire_errors(seed):
    data = mutate(pack_model(EASE if seed % 2 else AVERAGE), random.Random(seed))
    with contextlib.suppress(WireError):
        unpack_model(data)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_wire_error(data):
    with pytest.raises(WireError):
        unpack_model(data)


def changed(**changes):
    """The packed model with one of its parts replaced."""
    parts = dict(zip(("format", "kind", "description", "arrays"), PACKED, strict=True)) | changes
    return msgspec.msgpack.encode(list(parts.values()))


def array(name="weights", kind="<f8", shape=(1,), data=bytes(8)):
    return [name, kind, list(shape), data]


@pytest.mark.parametrize(
    "parts",
    [
        {"format": "sealroom-model-1"}, {"format": ""}, {"kind": "stranger"}, {"kind": "__class__"},
        {"description": b""}, {"description": b"["}, {"description": b"[1]"}, {"description": b"[" * 100_000},
        {"description": b"\xff"}, {"arrays": []},
        {"arrays": [array(kind="|O")]}, {"arrays": [array(kind="O8")]}, {"arrays": [array(kind=">f8")]},
        {"arrays": [array(kind="<M8[s]")]}, {"arrays": [array(kind="|V8")]}, {"arrays": [array(kind="f8,f8")]},
        {"arrays": [array(kind="<U0", data=b"")]}, {"arrays": [array(kind="<U999999999")]},
        {"arrays": [array(shape=(-1,))]}, {"arrays": [array(shape=(2,))]}, {"arrays": [array(shape=(1,) * 9)]},
        {"arrays": [array(shape=(0, 1 << 62), data=b"x")]}, {"arrays": [array(shape=(1 << 62, 1 << 62))]},
        {"arrays": [array(name="items", kind="<U1", data=b"\xff" * 4)]},
    ],
    ids=lambda p: f"{next(iter(p))} {str(next(iter(p.values())))[:50]}",
)  # fmt: skip
def test_models_that_cannot_be_are_refused(parts):
    with pytest.raises(WireError):
        unpack_model(changed(**parts))


def test_a_message_does_not_unpack_to_more_than_it_is():
    huge = changed(arrays=[array(shape=(1 << 40,)), array(name="x", shape=(math.prod([1 << 20, 8]),))])
    tracemalloc.start()
    with pytest.raises(WireError):
        unpack_model(huge)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1 << 20


# ---- notes -----------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), st.integers(0, 60))
def test_notes_are_split_where_they_were_joined_however_they_arrive(boxes, cut):
    data = b"".join(len(b).to_bytes(8, "little") + b for b in boxes)
    rest, left = bytearray(data), bytearray(data[:cut])
    whole, first = split_notes(rest), split_notes(left)
    left += data[cut:]
    second = split_notes(left)

    assert (whole, rest) == (boxes, b"")
    assert (first + second, left) == (boxes, b"")


@pytest.mark.parametrize("size", [0, MAX_SEALED_BYTES + 1, (1 << 64) - 1])
def test_a_length_that_cannot_be_is_refused_at_once(size):
    with pytest.raises(WireError):
        split_notes(bytearray(size.to_bytes(8, "little")))


def test_every_place_of_a_note_has_its_own_context():
    class Request:
        room, job, attempt = "r", "j", 1

    other = type("Other", (Request,), {"attempt": 2})
    contexts = {note_context(r, p, i) for r in (Request, other) for p in ("a", "ab") for i in (0, 1, 256)}

    assert len(contexts) == 12
