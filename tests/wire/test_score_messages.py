"""Hostile bytes at both roles of a scoring: a typed error, or a well-formed outcome; never anything else."""

import random

import numpy as np
import pytest

from mpc.errors import MpcError, ParameterError, WireError
from mpc.keys.secret import SecretKey
from mpc.schemes.rlwe.products_reply import Positions, expand_replies, reply_bytes
from mpc.score.holder import MatrixHolder
from mpc.score.messages import MOST_QUERIES, Query, decode_query, decode_reply, encode_query
from mpc.score.querier import PendingScores, Querier
from mpc.score.spec import finest_spec
from mpc.testing.mutations import mutate, wrong_lengths

PLAN = finest_spec(catalogue="c", rows=700, dimensions=10, dimensions_per_ciphertext=8).compile()
ITEMS = np.random.default_rng(0).normal(size=(700, 10))
HEADER = 60


@pytest.fixture(scope="module")
def exchange():
    holder = MatrixHolder(PLAN, lambda start, stop: ITEMS[start:stop])
    sent = Querier(PLAN).ask(ITEMS[:2])
    reply = holder.answer(sent.messages[0], charge=lambda _: None).result
    material = sent.state.key.material()

    def state():
        return PendingScores(name=sent.state.name, queries=2, key=SecretKey(PLAN.parameters.id, material))

    return holder, sent.messages[0], reply, state


def test_messages_survive_their_codec(exchange):
    _, query, reply, _ = exchange

    assert encode_query(PLAN.shape, decode_query(PLAN.shape, query)) == query
    assert b"".join(one for row in decode_reply(PLAN.shape, reply).products for one in row) == reply[HEADER:]


def test_wrong_lengths_are_refused(exchange):
    _, query, reply, _ = exchange
    for message in wrong_lengths(query):
        with pytest.raises(WireError):
            decode_query(PLAN.shape, message)
    for message in wrong_lengths(reply):
        with pytest.raises(WireError):
            decode_reply(PLAN.shape, message)


def test_every_changed_bit_of_the_header_is_refused_but_those_of_the_name(exchange):
    _, query, reply, _ = exchange
    for message, decode in ((query, decode_query), (reply, decode_reply)):
        for place in range(HEADER):
            for bit in range(8):
                changed = bytearray(message)
                changed[place] ^= 1 << bit
                if 12 <= place < 28:
                    assert decode(PLAN.shape, bytes(changed)).name != message[12:28]
                    continue
                with pytest.raises(WireError):
                    decode(PLAN.shape, bytes(changed))


def test_one_role_s_message_is_not_the_other_s(exchange):
    _, query, reply, _ = exchange
    with pytest.raises(WireError):
        decode_query(PLAN.shape, reply)
    with pytest.raises(WireError):
        decode_reply(PLAN.shape, query)


def test_mutated_queries_are_refused_or_answered(exchange):
    holder, query, reply, _ = exchange
    source = random.Random(1)
    charged = []
    for _ in range(60):
        message = mutate(query, source)
        before = len(charged)
        try:
            answer = holder.answer(message, charge=charged.append).result
        except MpcError:
            assert len(charged) == before
            continue
        assert len(answer) == len(reply)
    assert charged


def test_mutated_replies_are_refused_or_open(exchange):
    _, _, reply, state = exchange
    source = random.Random(2)
    for _ in range(60):
        try:
            scores = Querier(PLAN).receive(state(), mutate(reply, source)).result
        except MpcError:
            continue
        assert scores.integers.shape == (2, 700)


def test_only_seeded_ciphertexts_are_taken(exchange):
    """The holder's bound on the noise and the spread of c1 hold for these alone."""
    holder, message, _, _ = exchange
    query = decode_query(PLAN.shape, message)
    first = bytearray(query.ciphertexts[0][0])
    first[5] = 2
    rows = ((bytes(first), *query.ciphertexts[0][1:]), *query.ciphertexts[1:])
    changed = Query(name=query.name, public_key=query.public_key, ciphertexts=rows)
    with pytest.raises(WireError):
        holder.answer(encode_query(PLAN.shape, changed), charge=lambda _: pytest.fail("charged"))


def test_a_public_key_of_zeros_is_refused(exchange):
    holder, message, _, _ = exchange
    query = decode_query(PLAN.shape, message)
    key = query.public_key[:48] + bytes(len(query.public_key) - 48)
    changed = Query(name=query.name, public_key=key, ciphertexts=query.ciphertexts)
    with pytest.raises(WireError):
        holder.answer(encode_query(PLAN.shape, changed), charge=lambda _: pytest.fail("charged"))


def test_a_message_has_between_one_and_the_most_queries(exchange):
    _, message, _, _ = exchange
    query = decode_query(PLAN.shape, message)
    for count in (0, MOST_QUERIES + 1):
        rows = (query.ciphertexts[0],) * count
        with pytest.raises(ParameterError):
            encode_query(PLAN.shape, Query(name=query.name, public_key=query.public_key, ciphertexts=rows))
        with pytest.raises(WireError):
            decode_query(PLAN.shape, message[:8] + count.to_bytes(4, "little") + message[12:])


def test_a_covered_product_is_filled_up_with_zeros_alone():
    places = [Positions(start=7, step=8, count=5)]
    body = bytearray(reply_bytes(PLAN.product, places[0]))
    expand_replies(PLAN.product, places, [bytes(body)])
    body[-1] = 0x80
    with pytest.raises(WireError):
        expand_replies(PLAN.product, places, [bytes(body)])
    with pytest.raises(WireError):
        expand_replies(PLAN.product, places, [bytes(body)] * 2)
