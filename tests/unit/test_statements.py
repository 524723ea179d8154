"""Signed statements: one encoding each, strict decoding, and no signature that serves two purposes."""

import importlib
import pkgutil

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mpc
from mpc.client.members import Enrolment
from mpc.errors import IntegrityError, WireError
from mpc.keys.identity import IdentityKey, verify_signed
from mpc.keys.manifest import Endorsement
from mpc.keys.statements import (
    Signed,
    Statement,
    canonical_digest,
    decode_statement,
    encode_statement,
    statement_digest,
)
from mpc.sum.messages import Commitment, KeyOffer, Receipt
from mpc.wire.job import JobRequest
from mpc.wire.notes import SealedNote
from mpc.wire.offers import CatalogueOffer
from mpc.wire.scoring import CatalogueQuestion, ScoreReceipt, ScoreRequest
from tests.wire.strategies import structs

KEY = IdentityKey(b"k" * 32)

KINDS = (
    CatalogueOffer, CatalogueQuestion, Commitment, Endorsement, Enrolment, JobRequest, KeyOffer, Receipt, ScoreReceipt,
    ScoreRequest, SealedNote,
)  # fmt: skip
STRATEGIES = {kind: structs(kind) for kind in KINDS}

statements = st.one_of(*STRATEGIES.values())


def kinds():
    """Every statement the library knows, after importing all of it but the command line."""
    for module in pkgutil.walk_packages(mpc.__path__, "mpc."):
        if not module.name.startswith(("mpc.client.", "mpc.testing", "mpc.schemes")):
            importlib.import_module(module.name)
    found, todo = [], [Statement]
    while todo:
        for kind in todo.pop().__subclasses__():
            found.append(kind)
            todo.append(kind)
    return [k for k in found if k.__module__.startswith("mpc.")]


def test_every_kind_of_statement_is_under_test():
    assert set(kinds()) == set(STRATEGIES)


def test_every_kind_has_its_own_versioned_label_and_tag():
    labels = [kind.label for kind in kinds()]

    assert len(set(labels)) == len(labels)
    assert all(label.startswith("sealroom/v1/") for label in labels)
    assert not any(a != b and a.startswith(b) for a in labels for b in labels), "no label begins another"
    assert len({kind.__struct_config__.tag for kind in kinds()}) == len(labels)


@given(statements)
def test_a_statement_comes_back_as_it_was(statement):
    again = decode_statement(encode_statement(statement), type(statement))

    assert again == statement
    assert type(again) is type(statement)


@given(statements, statements)
def test_two_statements_share_bytes_only_if_they_are_equal(one, other):
    same = encode_statement(one) == encode_statement(other)

    assert same == (one == other and type(one) is type(other))


@settings(max_examples=50)
@given(statements)
def test_a_signature_serves_exactly_one_kind(statement):
    signed = KEY.sign(statement, "north")

    assert verify_signed(signed, type(statement), KEY.public) == statement
    for kind in STRATEGIES:
        if kind is not type(statement):
            with pytest.raises(IntegrityError):
                verify_signed(signed, kind, KEY.public)


@given(statements, st.data())
def test_no_changed_bit_of_payload_or_signature_verifies(statement, data):
    signed = KEY.sign(statement, "north")
    part = data.draw(st.sampled_from(["payload", "signature"]))
    raw = bytearray(getattr(signed, part))
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    changed = msgspec.structs.replace(signed, **{part: bytes(raw)})

    with pytest.raises(IntegrityError):
        verify_signed(changed, type(statement), KEY.public)


@given(statements, st.binary(min_size=1, max_size=8))
def test_trailing_bytes_are_refused(statement, tail):
    with pytest.raises(WireError):
        decode_statement(encode_statement(statement) + tail, type(statement))


@settings(max_examples=30)
@given(statements)
def test_every_truncation_is_refused(statement):
    payload = encode_statement(statement)
    for cut in range(len(payload)):
        with pytest.raises(WireError):
            decode_statement(payload[:cut], type(statement))


@given(statements, st.data())
def test_an_unknown_a_missing_or_a_repeated_field_is_refused(statement, data):
    fields = list(msgspec.msgpack.decode(encode_statement(statement)).items())
    at = data.draw(st.integers(0, len(fields) - 1))
    for changed in (
        [*fields[:at], ("unknown", 1), *fields[at:]],
        [*fields[:at], *fields[at + 1 :]],
        [*fields, fields[at]],
    ):
        with pytest.raises(WireError):
            decode_statement(pairs(changed), type(statement))


def pairs(items):
    """A MessagePack map with exactly these pairs, repeated keys and all."""
    head = bytes([0x80 | len(items)]) if len(items) < 16 else b"\xde" + len(items).to_bytes(2, "big")
    return head + b"".join(msgspec.msgpack.encode(k) + msgspec.msgpack.encode(v) for k, v in items)


@given(statements)
def test_the_same_fields_in_another_order_are_refused(statement):
    fields = list(msgspec.msgpack.decode(encode_statement(statement)).items())
    assert pairs(fields) == encode_statement(statement)
    with pytest.raises(WireError):
        decode_statement(pairs(fields[::-1]), type(statement))


def test_a_number_in_a_longer_form_is_refused():
    payload = encode_statement(Endorsement(room="r", member="m"))
    longer = b"\xde\x00\x03" + payload[1:]
    assert msgspec.msgpack.decode(longer) == msgspec.msgpack.decode(payload)
    with pytest.raises(WireError):
        decode_statement(longer, Endorsement)


@pytest.mark.parametrize("value", [1, True, None, 1.0, b"m", ["m"], {}])
def test_a_field_of_another_type_is_refused(value):
    payload = msgspec.msgpack.encode({"type": "Endorsement", "room": "r", "member": value})
    with pytest.raises(WireError):
        decode_statement(payload, Endorsement)


@pytest.mark.parametrize("value", [1.0, True, "1", -1.5, None])
def test_a_number_of_another_type_is_refused(value):
    offer = KeyOffer(
        room="r", job="j", attempt=1, round=1, maker="m", parameter_set="p", public_key_digest=b"", boxes=()
    )
    fields = msgspec.msgpack.decode(encode_statement(offer)) | {"round": value}
    with pytest.raises(WireError):
        decode_statement(pairs(list(fields.items())), KeyOffer)


@given(st.binary(max_size=300), st.sampled_from(list(STRATEGIES)))
def test_random_bytes_are_a_wire_error_and_nothing_else(data, kind):
    with pytest.raises(WireError):
        decode_statement(data, kind)


@pytest.mark.parametrize("data", [b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc1", b""])
def test_deep_or_boastful_bytes_are_a_wire_error(data):
    with pytest.raises(WireError):
        decode_statement(data, Endorsement)


def test_a_very_long_statement_is_not_looked_at():
    with pytest.raises(WireError):
        decode_statement(bytes((8 << 20) + 1), Endorsement)


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_digests_of_two_lists_agree_only_for_equal_lists(one, other):
    assert (statement_digest("l", *one) == statement_digest("l", *other)) == (one == other)


def test_a_part_and_a_label_do_not_change_places():
    assert statement_digest("a", b"b") != statement_digest("ab")
    assert statement_digest("a", b"b", b"") != statement_digest("a", b"b")


def test_canonical_digests_do_not_depend_on_the_order_of_mappings_and_keep_large_numbers():
    assert canonical_digest("x", {"a": 1, "b": 2}) == canonical_digest("x", {"b": 2, "a": 1})
    assert canonical_digest("x", 1 << 126) != canonical_digest("x", (1 << 126) + 1)
    assert canonical_digest("x", 1) != canonical_digest("y", 1)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(65)])
def test_signatures_of_another_length_are_refused(signature):
    with pytest.raises(WireError):
        verify_signed(Signed(b"", "north", signature), Endorsement, KEY.public)


def test_a_signature_of_another_member_is_refused_and_its_name_is_cut():
    signed = KEY.sign(Endorsement(room="r", member="m"), "x" * 500)
    with pytest.raises(IntegrityError) as caught:
        verify_signed(signed, Endorsement, IdentityKey().public)
    assert caught.value.fields == {"signer": "x" * 40}


def test_a_valid_signature_over_bytes_that_are_no_statement_is_a_wire_error():
    label = Endorsement.label.encode()
    payload = b"\xc1"
    signature = KEY._private.sign(len(label).to_bytes(4, "little") + label + payload)
    with pytest.raises(WireError):
        verify_signed(Signed(payload, "north", signature), Endorsement, KEY.public)
