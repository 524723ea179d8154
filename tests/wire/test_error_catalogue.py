"""Errors as they cross the wire: the catalogue is total, and nothing passes but codes and bounded, printable names."""

import contextlib

import grpc
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc import errors
from mpc.errors import MpcError, PlanError, PolicyDenied, ProtocolError, WireError
from mpc.wire.codec import decode, encode
from mpc.wire.errors import CATALOGUE, FIELD_NAMES, STATUS, from_notice, leaves, to_notice
from mpc.wire.messages import ErrorField, ErrorNotice

CANARY = "canary-4711-hunter2"
NUMBERS = {"offset", "round"}

LEAVES = leaves()
kinds = st.sampled_from(LEAVES)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
names = st.sampled_from(sorted(FIELD_NAMES - NUMBERS))
fields = st.dictionaries(names, values, max_size=6)


def test_every_error_of_the_tree_has_a_status_of_grpc():
    exported = {getattr(errors, name) for name in errors.__all__}

    assert set(LEAVES) == exported == set(STATUS)
    assert all(isinstance(getattr(grpc.StatusCode, name), grpc.StatusCode) for name in STATUS.values())
    assert "OK" not in STATUS.values()


def test_every_code_leads_back_to_its_error():
    assert {code: kind.code for code, kind in CATALOGUE.items()} == {kind.code: kind.code for kind in LEAVES}
    assert len(CATALOGUE) == len(LEAVES)


@given(kinds, fields, st.integers(0, 10**9), st.integers(0, 10**9))
def test_code_and_allowed_fields_cross_and_come_back(kind, given_fields, offset, round_number):
    error = kind(CANARY, **given_fields, offset=offset, round=round_number)
    again = from_notice(to_notice(error))
    expected = {n: "".join(c if c.isprintable() else " " for c in v) for n, v in given_fields.items()}

    assert type(again) is kind
    assert again.fields == expected | {"offset": offset, "round": round_number}
    assert again.detail == ""


@given(kinds, st.dictionaries(st.from_regex(r"[a-z]{1,10}", fullmatch=True), st.just(CANARY), max_size=12))
def test_no_detail_and_no_other_field_crosses(kind, given_fields):
    secret = {n: v for n, v in given_fields.items() if n not in FIELD_NAMES}
    data = encode(to_notice(kind(CANARY, **secret)))

    assert CANARY.encode() not in data
    assert decode(data, ErrorNotice).fields == ()


@pytest.mark.parametrize(
    "error", [ValueError(CANARY), KeyError(CANARY), OSError(2, CANARY, CANARY), BaseException(CANARY),
              UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY)],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
def test_an_error_that_is_not_ours_is_an_internal_error_without_a_word(error):
    notice = to_notice(error)

    assert notice == ErrorNotice(code="E1001")
    assert CANARY.encode() not in msgspec.msgpack.encode(notice)


def test_long_fields_are_cut_and_the_rest_crosses():
    error = PolicyDenied("", party="north", reason="x" * 10_000)
    again = from_notice(to_notice(error))

    assert again.fields == {"party": "north", "reason": "x" * 400}


def test_allowed_fields_are_not_crowded_out_by_others():
    others = {f"secret{i}": CANARY for i in range(20)}

    assert from_notice(to_notice(PolicyDenied("", **others, party="north"))).fields == {"party": "north"}


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "a\rb", "a\nb", "a\x00b", "\u202eevil", "\u2028", "\x9b31m"])
def test_what_could_move_a_terminals_cursor_neither_leaves_nor_arrives(text):
    sent = to_notice(PlanError("", reason=text))

    assert sent.fields[0].value.isprintable()
    with pytest.raises(WireError):
        from_notice(ErrorNotice(code=PlanError.code, fields=(ErrorField(name="reason", value=text),)))


@given(st.text(max_size=20))
def test_what_the_catalogue_makes_of_any_number_is_a_number_or_a_wire_error(text):
    for name in NUMBERS:
        try:
            error = from_notice(ErrorNotice(code=PlanError.code, fields=(ErrorField(name=name, value=text),)))
        except WireError:
            continue
        assert error.fields == {name: int(text)}
        assert text.isascii()


@pytest.mark.parametrize("text", ["", "-1", "+1", "1_0", " 1", "1.0", "x", "٣", "1" * 13, "1" * 5000, "0x1"])
def test_numbers_are_short_and_plain(text):
    with pytest.raises(WireError):
        from_notice(ErrorNotice(code=PlanError.code, fields=(ErrorField(name="offset", value=text),)))


def test_a_field_that_is_no_number_here_stays_here():
    assert to_notice(PlanError("", offset="at the end")).fields == ()
    assert to_notice(PlanError("", offset=-1)).fields == ()


@pytest.mark.parametrize("code", ["", "E0000", "E1000 ", "e1000", "5", "E8101\n"])
def test_an_unknown_code_is_a_wire_error(code):
    with pytest.raises(WireError):
        from_notice(ErrorNotice(code=code))


@pytest.mark.parametrize(
    "given_fields",
    [
        [("detail", "x")], [("secret", "x")], [("", "x")], [("party", "x" * 401)], [("party", "a"), ("party", "b")],
        [("party", "a")] * 9, [("self", "x")], [("__class__", "x")],
    ],
    ids=lambda f: f[0][0] or "empty",
)  # fmt: skip
def test_unknown_repeated_long_and_too_many_fields_are_a_wire_error(given_fields):
    notice = ErrorNotice(code="E5001", fields=tuple(ErrorField(name=n, value=v) for n, v in given_fields))
    with pytest.raises(WireError):
        from_notice(notice)


def test_a_peer_does_not_speak_in_anothers_name():
    notice = ErrorNotice(code=ProtocolError.code, fields=(ErrorField(name="party", value="south"),))

    assert from_notice(notice, party="north").fields == {"party": "north"}


@given(st.binary(max_size=120))
def test_random_bytes_for_a_notice_are_a_notice_or_a_decoding_error(data):
    try:
        notice = msgspec.msgpack.decode(data, type=ErrorNotice)
    except msgspec.DecodeError:
        return
    with contextlib.suppress(WireError):
        assert isinstance(from_notice(notice), MpcError)


def test_field_names_can_be_given_to_an_error():
    assert all(name.isidentifier() and name.isascii() for name in FIELD_NAMES)
    MpcError("", **dict.fromkeys(FIELD_NAMES, "x"))
