"""Scorings through the room's roles in one process: the right scores or a typed error, whatever happens on the way."""

import asyncio
import random

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from mpc.errors import (
    AuthorizationError,
    BudgetExhausted,
    DeadlineExceeded,
    IntegrityError,
    MpcError,
    ParameterError,
    PartyLost,
    PartyUnavailable,
    PolicyDenied,
    ProtocolError,
    RangeError,
    ReplayError,
    WireError,
)
from mpc.keys.statements import decode_statement
from mpc.score.ideal import ideal_scores
from mpc.testing.mutations import mutate
from mpc.wire import messages as m
from mpc.wire.codec import decode, encode
from mpc.wire.job import JobState
from mpc.wire.scoring import ScoreReceipt, ScoreRequest
from tests.simulation.scoring_room import ScoringRoom

DIMENSIONS, ROWS = 16, 700
LABELS = np.array([f"item {i}" for i in range(ROWS)])
OPEN = {"analysts": ("*",), "queries_per_analyst": 12, "labels": True}


def vectors(rows, seed=0):
    return np.random.default_rng([7, seed]).normal(size=(rows, DIMENSIONS))


ITEMS = vectors(ROWS)
PRODUCTS = ({"file": "products.npz"}, OPEN, {"vectors": ITEMS, "items": LABELS})
INNER = ({"file": "inner.npz", "metric": "inner", "query_norm": 8.0}, OPEN, {"vectors": ITEMS})


@pytest.fixture
async def room(tmp_path):
    tables = {n: {"t": pa.table({"x": [1, 2]})} for n in ("north", "south")}
    found = await ScoringRoom(tmp_path, tables).open({"north": {"products": PRODUCTS, "inner": INNER}})
    yield found
    await found.close()


async def scores(room, query=None, catalogue="products", **options):
    return await room.analyst.score(vectors(1, 1)[0] if query is None else query, catalogue, **options)


async def ideal(room, query, catalogue="products"):
    plan = (await room.analyst.explain_score(catalogue, queries=len(np.atleast_2d(query)))).plan
    return ideal_scores(plan, np.atleast_2d(query), ITEMS) / plan.scale


# ---- right answers -----------------------------------------------------------------------------------------------


async def test_scores_are_exactly_those_of_the_fixed_point_vectors(room):
    query = vectors(1, 1)[0]
    answer = await scores(room, query, k=5)

    assert np.array_equal(answer.scores, (await ideal(room, query))[0])
    best = np.argsort(-answer.scores, kind="stable")[:5]
    assert answer.rows == [{"item": i, "label": f"item {i}", "score": answer.scores[i]} for i in best.tolist()]
    assert answer.labels() == [f"item {i}" for i in best]
    assert answer.to_arrow().column_names == ["item", "label", "score"]


async def test_cosines_are_close_to_the_real_ones(room):
    query = vectors(1, 1)[0]
    answer = await scores(room, query)
    exact = ITEMS @ query / np.linalg.norm(ITEMS, axis=1) / np.linalg.norm(query)

    assert np.abs(answer.scores - exact).max() <= answer.report.worst_error


async def test_a_batch_has_a_row_of_scores_per_query(room):
    queries = vectors(3, 2)
    answer = await scores(room, queries, catalogue="inner", k=2)

    assert np.array_equal(answer.scores, await ideal(room, queries, "inner"))
    assert [r["query"] for r in answer.rows] == [0, 0, 1, 1, 2, 2]
    assert answer.report.queries == 3
    assert answer.report.remaining == OPEN["queries_per_analyst"] - 3


async def test_all_items_can_be_asked_for(room):
    answer = await scores(room, k=None)

    assert len(answer) == ROWS
    assert [r["score"] for r in answer.rows] == sorted(answer.scores.tolist(), reverse=True)


async def test_the_record_tells_of_a_score_job(room):
    answer = await scores(room)
    job = room.last_job()

    assert (job.job, job.kind, job.state) == (answer.report.job, "score", JobState.RELEASED)


async def test_a_query_beyond_the_norm_is_refused_before_anything_is_sent(room):
    await room.analyst.catalogues()
    before = len(room.network.calls)
    with pytest.raises(RangeError):
        await scores(room, np.full(DIMENSIONS, 100.0), catalogue="inner")

    assert len(room.network.calls) == before
    assert room.jobs.latest("ana", 10) == []


async def test_rescaling_brings_a_long_query_to_the_norm_and_its_scores_back(room):
    query = 50 * vectors(1, 3)[0]
    answer = await scores(room, query, catalogue="inner", rescale=True)

    assert np.allclose(answer.scores, ITEMS @ query, rtol=0, atol=answer.report.worst_error)
    assert answer.column("item")[0] == int(np.argmax(ITEMS @ query))


@pytest.mark.parametrize("norm", [1e-3, 1.0, 50.0, 1e6, 1e-100, 1e100])
async def test_the_error_that_a_rescaled_answer_states_is_that_of_its_scores(room, norm):
    query = vectors(1, 3)[0]
    query *= norm / np.linalg.norm(query)
    report = (answer := await scores(room, query, catalogue="inner", rescale=True)).report
    plain = await room.analyst.explain_score("inner")
    errors = np.abs(answer.scores - ITEMS @ query)

    assert report.worst_error == pytest.approx(plain.worst_error * norm / 8, rel=1e-9, abs=0)
    assert report.worst_error > errors.max() > report.worst_error / 50
    assert 0.7 < np.sqrt((errors**2).mean()) / report.typical_error < 1.1
    assert f"{report.worst_error:.1e}" in dict(report.disclosure)["the analyst"]


def odd(value, **options):
    return pytest.param(value, options, id=f"{str(value)[:20]} {options}")


ZERO = np.zeros(DIMENSIONS)
ODD = [
    odd(ZERO), odd(ZERO + np.nan), odd(ZERO + np.inf), odd(np.ones(3)), odd(np.ones((0, 16))), odd(np.ones((1, 1, 16))),
    odd(3.0), odd([]), odd("abc"), odd(["1"] * DIMENSIONS), odd([object()] * DIMENSIONS),
    odd([[1.0] * DIMENSIONS, [1.0]]), odd(np.ones(DIMENSIONS) + 1j), odd(np.ones((257, DIMENSIONS))),
    *(odd(np.ones(DIMENSIONS), k=k) for k in (0, -1, 2.5, "5", float("nan"))),
    *(odd(np.ones(DIMENSIONS), timeout_s=s) for s in (0, -10, float("nan"), float("inf"))),
    *(odd(x, catalogue="inner", rescale=True) for x in (ZERO, ZERO + np.nan, ZERO + np.inf, np.ones(3), 3.0)),
    *(odd(np.full(DIMENSIONS, x), catalogue="inner", rescale=True) for x in (1e308, 1e200, 1e-200, 5e-324)),
]  # fmt: skip


@pytest.mark.parametrize(("query", "options"), ODD)
@pytest.mark.filterwarnings("error")
async def test_a_query_that_is_none_is_refused_in_words_and_not_charged(room, query, options):
    with pytest.raises((RangeError, ParameterError)):
        await scores(room, query, **options)
    assert {o.remaining for o in await room.analyst.catalogues()} == {12}


@pytest.mark.parametrize("queries", [0, -1, 2.5, float("nan"), 257])
async def test_an_impossible_number_of_queries_is_not_explained(room, queries):
    with pytest.raises(ParameterError):
        await room.analyst.explain_score("products", queries=queries)


async def test_a_catalogue_of_fewer_items_than_the_best_that_are_asked_for_gives_them_all(room):
    assert len((await scores(room, k=ROWS + 1)).rows) == ROWS
    assert len((await scores(room, k=np.int64(2))).rows) == 2


# ---- the owner's rules -------------------------------------------------------------------------------------------


async def test_the_budget_ends_with_a_typed_error_and_no_reply(room):
    await scores(room, vectors(12, 4))
    replies = len([c for c in room.network.calls if c == ("north", "score", "reply")])
    with pytest.raises(BudgetExhausted) as caught:
        await scores(room)

    assert caught.value.fields["party"] == "north"
    assert len([c for c in room.network.calls if c == ("north", "score", "reply")]) == replies
    assert room.last_job().state is JobState.ABORTED
    assert room.last_job().error.code == BudgetExhausted.code
    assert (await room.analyst.catalogues())[1].remaining == 0


async def test_a_batch_beyond_the_budget_is_not_answered_in_part(room):
    with pytest.raises(BudgetExhausted):
        await scores(room, vectors(13, 4))
    answer = await scores(room)

    assert answer.report.remaining == 11


async def opened(tmp_path, rule, entry=None, arrays=None):
    tables = {n: {"t": pa.table({"x": [1]})} for n in ("north", "south")}
    one = (entry or {"file": "products.npz"}, rule, arrays or {"vectors": ITEMS, "items": LABELS})
    return await ScoringRoom(tmp_path, tables).open({"north": {"products": one}})


@pytest.mark.parametrize("rule", [{}, {"analysts": ("bob",)}, {"labels": True, "queries_per_analyst": 5}])
async def test_who_is_not_named_gets_nothing_and_does_not_learn_that_it_exists(tmp_path, rule):
    room = await opened(tmp_path, rule)
    try:
        assert await room.analyst.catalogues() == ()
        with pytest.raises(PolicyDenied):
            await scores(room)
        with pytest.raises(PolicyDenied):
            await scores(room, catalogue="no such thing")
    finally:
        await room.close()


async def test_a_holder_judges_by_itself_even_if_the_client_does_not_ask_first(room):
    found = await room.analyst.scorer.find("products")
    room.scoring["north"].put_up({})
    room.analyst.scorer._offers = (found,)
    with pytest.raises(PolicyDenied) as caught:
        await scores(room)

    assert caught.value.fields["rule"] == "catalogues"


async def test_hidden_items_have_no_score(tmp_path):
    hidden = tuple(f"item {i}" for i in range(0, ROWS, 7))
    room = await opened(tmp_path, {**OPEN, "never": hidden, "most": 300})
    try:
        answer = await scores(room, k=None)
        kept = [i for i in range(ROWS) if i % 7][:300]

        assert answer.scores.shape == (300,)
        assert set(answer.labels()) == {f"item {i}" for i in kept}
        assert not set(answer.labels()) & set(hidden)
    finally:
        await room.close()


async def test_a_file_names_the_items_that_are_offered(tmp_path):
    tables = {n: {"t": pa.table({"x": [1]})} for n in ("north", "south")}
    room = ScoringRoom(tmp_path, tables)
    (tmp_path / "north" / "offered.txt").write_text("item 5\nitem 9\n")
    await room.open({"north": {"products": (PRODUCTS[0], {**OPEN, "only_file": "offered.txt"}, PRODUCTS[2])}})
    try:
        assert set((await scores(room, k=2)).labels()) == {"item 5", "item 9"}
    finally:
        await room.close()


async def test_labels_stay_with_their_owner_unless_the_policy_tells_them(tmp_path):
    room = await opened(tmp_path, {**OPEN, "labels": False})
    try:
        answer = await scores(room)
        assert "label" not in answer.columns
        with pytest.raises(PolicyDenied):
            await room.analyst.scorer.labels(await room.analyst.scorer.find("products"))
    finally:
        await room.close()


async def test_the_default_budget_is_below_what_tells_an_item(tmp_path):
    room = await opened(tmp_path, {"analysts": ("ana",)})
    try:
        plan = await room.analyst.explain_score("products")
        assert 1 <= plan.catalogue.limit < min(DIMENSIONS, plan.malicious_queries)
        assert "who learns what" in plan.text()
    finally:
        await room.close()


@pytest.mark.parametrize("rule", [{"queries_per_analyst": DIMENSIONS}, {"only": ("no such item",)}, {"where": "x > 1"}])
async def test_a_rule_that_contradicts_the_catalogue_offers_nothing(tmp_path, rule):
    room = await opened(tmp_path, {"analysts": ("*",), **rule})
    try:
        assert await room.analyst.catalogues() == ()
    finally:
        await room.close()


# ---- replays, lies, and losses -----------------------------------------------------------------------------------


async def replayed(room, message_of=lambda frames: frames):
    """Run a scoring, and give its very frames to the holder again."""
    sent = []
    room.network.hook = lambda _p, method, direction, x: (
        (sent.append(x) if (method, direction) == ("score", "request") else None) or x
    )
    await scores(room)
    room.network.hook = lambda _p, _m, _d, x: x

    async def again():
        for frame in message_of(sent):
            yield frame

    return [frame async for frame in room.scoring["north"].score(again())]


async def test_a_replayed_request_is_refused_and_charged_once(room):
    with pytest.raises(ReplayError):
        await replayed(room)

    assert (await room.analyst.explain_score("products")).catalogue.remaining == 11


async def test_a_replayed_request_is_refused_after_a_restart_of_the_holder(room):
    before = room.scoring["north"]
    sent = []
    room.network.hook = lambda _p, method, direction, x: (
        (sent.append(x) if (method, direction) == ("score", "request") else None) or x
    )
    await scores(room)
    offered = before._offered
    await before.close()
    from servers.party.config import PartyConfig

    room.scoring["north"] = again = room._scoring("north", PartyConfig(name="north", listen="localhost:1"))
    again.put_up(offered)

    async def frames():
        for frame in sent:
            yield frame

    with pytest.raises(ReplayError):
        [frame async for frame in again.score(frames())]


async def test_the_coordinator_itself_refuses_a_job_twice(room):
    sent = []
    original = room.analyst.peer.score

    def recording(frames):
        async def kept():
            async for frame in frames:
                sent.append(frame)
                yield frame

        return original(kept())

    room.analyst.peer.score = recording
    await scores(room)

    async def again():
        for frame in sent:
            yield frame

    with pytest.raises(ReplayError):
        [frame async for frame in room.scorings.score("ana", again())]
    with pytest.raises(AuthorizationError):
        [frame async for frame in room.scorings.score("eve", again())]


def flipping(direction, part):
    """A hook that flips one bit of the data of the chosen frames."""

    def hook(_party, method, way, message):
        if (method, way) != ("score", direction) or not message.data:
            return message
        at = len(message.data) * part // 100
        data = bytes([*message.data[:at], message.data[at] ^ 1, *message.data[at + 1 :]])
        return msgspec.structs.replace(message, data=data)

    return hook


@pytest.mark.parametrize("direction", ["request", "reply"])
@pytest.mark.parametrize("part", [0, 50, 99])
async def test_a_changed_message_is_noticed(room, direction, part):
    room.network.hook = flipping(direction, part)
    with pytest.raises(IntegrityError):
        await scores(room)
    room.network.hook = lambda _p, _m, _d, x: x
    answer = await scores(room)

    assert answer.report.remaining == (11 if direction == "request" else 10), "only what was answered is charged"


async def test_a_shortened_or_lengthened_message_is_noticed(room):
    for change in (lambda data: data[:-1], lambda data: data + b"\0"):
        for direction in ("request", "reply"):

            def hook(_party, method, way, message, change=change, direction=direction):
                if (method, way) == ("score", direction) and message.data:
                    return msgspec.structs.replace(message, data=change(message.data))
                return message

            room.network.hook = hook
            with pytest.raises((IntegrityError, WireError)):
                await scores(room)


async def test_another_holders_receipt_is_refused(room):
    def hook(_party, method, way, message):
        if (method, way) == ("score", "reply") and message.receipt is not None:
            receipt = decode_statement(message.receipt.payload, ScoreReceipt)
            return msgspec.structs.replace(message, receipt=room.keys["south"].identity().sign(receipt, "south"))
        return message

    room.network.hook = hook
    with pytest.raises(ProtocolError):
        await scores(room)


async def test_an_old_reply_does_not_pass_for_a_new_one(room):
    kept = []

    def keep(_party, method, way, message):
        if (method, way) == ("score", "reply"):
            kept.append(message)
        return message

    room.network.hook = keep
    await scores(room)
    old = list(kept)
    position = [0]

    def swap(_party, method, way, message):
        if (method, way) != ("score", "reply"):
            return message
        position[0] += 1
        return old[position[0] - 1]

    room.network.hook = swap
    with pytest.raises(IntegrityError):
        await scores(room)


async def test_an_offer_that_was_changed_is_refused(room):
    def hook(_party, method, way, message):
        if (method, way) != ("catalogues", "reply") or not message.offers:
            return message
        first = message.offers[0]
        payload = first.payload.replace(b"inner", b"outer")
        return m.CatalogueOffers(offers=(msgspec.structs.replace(first, payload=payload), *message.offers[1:]))

    room.network.hook = hook
    with pytest.raises((IntegrityError, WireError)):
        await room.analyst.catalogues()


async def test_an_offer_of_yesterday_is_refused(room):
    kept = []
    room.network.hook = lambda _p, method, way, x: (
        (kept.append(x) if (method, way) == ("catalogues", "reply") else None) or x
    )
    await room.analyst.catalogues()
    old = {bytes(x.offers[0].payload): x for x in kept if x.offers}
    room.network.hook = lambda _p, method, way, x: (
        next(iter(old.values())) if (method, way) == ("catalogues", "reply") and x.offers else x
    )
    with pytest.raises(ProtocolError):
        await room.analyst.catalogues()


async def test_changed_labels_are_refused(room):
    def hook(_party, method, way, message):
        if (method, way) == ("labels", "reply"):
            return m.LabelsFrame(sealed=message.sealed[:-1] + bytes([message.sealed[-1] ^ 1]))
        return message

    room.network.hook = hook
    with pytest.raises(IntegrityError):
        await scores(room)


async def test_a_holder_that_is_away_is_named(room):
    await room.analyst.catalogues()

    def hook(_party, method, _way, message):
        if method == "score":
            raise PartyUnavailable("", party="north", reason="nothing listens on its port")
        return message

    room.network.hook = hook
    with pytest.raises((PartyUnavailable, PartyLost)) as caught:
        await scores(room)

    assert caught.value.fields["party"] == "north"
    assert room.last_job().state is JobState.ABORTED


async def test_a_holder_that_leaves_in_the_middle_is_lost_and_the_next_query_works(room):
    def hook(_party, method, way, message):
        if (method, way) == ("score", "reply") and message.data:
            raise PartyUnavailable("", party="north")
        return message

    await room.analyst.catalogues()
    room.network.hook = hook
    with pytest.raises(PartyLost):
        await scores(room)
    room.network.hook = lambda _p, _m, _d, x: x
    answer = await scores(room)

    assert answer.report.remaining == 10, "an answer that was computed is charged, whether or not it arrived"


async def test_a_cancelled_scoring_ends_in_the_record(room):
    reached, release = asyncio.Event(), asyncio.Event()
    original = room.scoring["north"]._receive

    async def slow(*arguments):
        reached.set()
        await release.wait()
        return await original(*arguments)

    room.scoring["north"]._receive = slow
    running = asyncio.create_task(scores(room))
    await reached.wait()
    job = room.last_job()
    assert room.scorings.cancel("ana", job.job)
    with pytest.raises(MpcError) as caught:
        await running

    assert caught.value.code == "E1301"
    assert room.last_job().state is JobState.ABORTED
    assert not room.scorings.cancel("ana", job.job)
    room.scoring["north"]._receive = original
    assert len(await scores(room)) == 10


async def test_a_silent_holder_ends_in_a_deadline(room):
    await room.analyst.catalogues()

    async def never(*_):
        await asyncio.Event().wait()

    room.scoring["north"]._receive = never
    with pytest.raises(DeadlineExceeded):
        await scores(room, timeout_s=1.0)


def request_of(frames):
    return decode_statement(frames[0].request.payload, ScoreRequest)


@pytest.mark.parametrize(
    "change",
    [{"query_bytes": 1 << 31}, {"query_bytes": 0}, {"queries": 0}, {"queries": 300}, {"job": "x" * 32}, {"job": "a"},
     {"catalogue": ""}, {"catalogue": "x" * 65}, {"catalogue": "\x1b[2J"}, {"spec_digest": b""}, {"room": "other"},
     {"expires_at": 1}, {"holder": "ana"}, {"holder": "hub"}, {"reply_bytes": 17}, {"query_bytes": 17}],
    ids=str,
)  # fmt: skip
async def test_a_request_that_breaks_the_rules_is_refused_by_coordinator_and_holder(room, change):
    sent = []
    room.network.hook = lambda _p, method, direction, x: (
        (sent.append(x) if (method, direction) == ("score", "request") else None) or x
    )
    await scores(room)
    room.network.hook = lambda _p, _m, _d, x: x
    request = msgspec.structs.replace(request_of(sent), **{"job": "a" * 32, **change})
    signed = room.keys["ana"].identity().sign(request, "ana")

    async def frames():
        yield m.ScoreFrame(request=signed)
        for frame in sent[1:]:
            yield frame

    for side in (room.scoring["north"].score(frames()), room.scorings.score("ana", frames())):
        with pytest.raises((WireError, ProtocolError, PolicyDenied)):
            [frame async for frame in side]


async def test_mangled_messages_give_a_typed_error_or_the_right_scores(room):
    """Any one message of a scoring, changed anywhere."""
    source, outcomes = random.Random(5), []
    right = (await scores(room)).scores
    for attempt in range(30):
        countdown = [source.randrange(8)]

        def hook(_party, _method, _way, message, countdown=countdown):
            countdown[0] -= 1
            if countdown[0] != -1:
                return message
            return decode(mutate(encode(message) or b"\x0a\x01a", source), type(message))

        room.network.hook = hook
        room.analyst.scorer._offers = None
        room.analyst.scorer._labels.clear()
        try:
            answer = await scores(room)
        except MpcError as error:
            outcomes.append(type(error).__name__)
            if isinstance(error, BudgetExhausted):
                break
        else:
            outcomes.append("answer")
            assert np.array_equal(answer.scores, right), attempt

    assert "InternalError" not in outcomes
    assert len(set(outcomes)) > 2, "void unless the attack was noticed in several ways"


async def test_a_refused_request_costs_no_upload(room):
    await scores(room, vectors(12, 4))
    room.network.calls.clear()
    with pytest.raises(BudgetExhausted):
        await scores(room)

    assert [c for c in room.network.calls if c[1] == "score"] == [("north", "score", "request")]


async def test_a_holder_that_says_too_much_or_too_little_is_noticed(room):
    """The frames of a reply in another order, repeated, or left out."""
    right = []
    room.network.hook = lambda _p, method, way, x: (
        (right.append(x) if (method, way) == ("score", "reply") else None) or x
    )
    await scores(room)
    taken, *data, receipt = right
    orders = (
        [*data, receipt], [taken, taken, *data, receipt], [taken, receipt], [taken, *data], [taken, receipt, *data],
        [taken, *data, *data, receipt], [],
    )  # fmt: skip
    original = room.scoring["north"].score
    room.network.hook = lambda _p, _m, _d, x: x
    for order in orders:

        async def score(_frames, order=order):
            for frame in order:
                yield frame

        room.scoring["north"].score = score
        with pytest.raises((WireError, IntegrityError)):
            await scores(room)
        assert room.last_job().state is JobState.ABORTED or order[-1:] == [receipt]
    room.scoring["north"].score = original
    assert len(await scores(room)) == 10


# ---- what the coordinator sees -----------------------------------------------------------------------------------


async def seen(room, query, catalogue="products"):
    """Methods, directions and sizes on the way to the holder."""
    out = []

    def hook(party, method, direction, message):
        signed = getattr(message, "request", None) or getattr(message, "receipt", None)
        size = len(encode(message)) if signed is None else len(encode(message)) - len(signed.payload)
        out.append((party, method, direction, size))
        return message

    room.network.hook = hook
    await scores(room, query, catalogue=catalogue)
    room.network.hook = lambda _p, _m, _d, x: x
    return out


async def test_the_coordinator_sees_sizes_that_depend_on_the_spec_alone(room):
    await scores(room)
    views = [await seen(room, q) for q in (vectors(1, 8)[0], np.eye(DIMENSIONS)[0], -np.ones(DIMENSIONS))]

    assert views[0] == views[1] == views[2]


async def test_items_do_not_change_what_the_coordinator_sees(tmp_path):
    views = []
    for number, items in enumerate((np.zeros((ROWS, DIMENSIONS)), np.ones((ROWS, DIMENSIONS)), ITEMS)):
        room = await opened(tmp_path / str(number), OPEN, arrays={"vectors": items, "items": LABELS})
        try:
            await scores(room)
            views.append(await seen(room, vectors(1, 1)[0]))
        finally:
            await room.close()

    assert views[0] == views[1] == views[2]


async def test_labels_cross_the_coordinator_sealed(room):
    kept = []
    room.network.hook = lambda _p, method, _w, x: (kept.append(encode(x)) if method == "labels" else None) or x
    await scores(room)

    assert kept
    assert not any(b"item 1" in one for one in kept)
