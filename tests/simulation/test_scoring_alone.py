"""What holder, coordinator and analyst refuse by themselves in a scoring, when nobody else on the way refuses it."""

import asyncio
import hashlib
import secrets
from dataclasses import replace

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
    PolicyDenied,
    ProtocolError,
    RangeError,
    ReplayError,
    ResourceExhausted,
    SourceError,
    TransportError,
    WireError,
)
from mpc.keys.secret import SealingKey, seal
from mpc.keys.statements import Signed, decode_statement, encode_statement
from mpc.policy.rules import CatalogueRule, Policy
from mpc.runtime.peers import STATUS_LOST
from mpc.score.messages import Query, encode_query
from mpc.score.querier import Querier
from mpc.score.real_querier import RealQuerier
from mpc.score.real_spec import finest_real_spec
from mpc.score.spec import Measure
from mpc.wire import messages as m
from mpc.wire.offers import CatalogueOffer
from mpc.wire.scoring import (
    CatalogueQuestion,
    ScoreReceipt,
    ScoreRequest,
    labels_context,
    labels_digest,
    question_digest,
    score_request_digest,
)
from servers.party import scoring as holder_side
from servers.party.catalogue_loading import offer
from servers.party.catalogue_spec import CatalogueSpec, ScoringLimits
from servers.party.config import PartyConfig
from servers.party.scoring_start import ScoringStart
from tests.simulation.scoring_room import ScoringRoom

DIMENSIONS, ROWS, STRETCH = 16, 300, 100_000
ITEMS = np.random.default_rng(7).normal(size=(ROWS, DIMENSIONS))
LABELS = np.array([f"item {i}" for i in range(ROWS)])
OPEN = {"analysts": ("*",), "queries_per_analyst": 12, "labels": True}
FOR_BOB = {"analysts": ("bob",), "queries_per_analyst": 12, "labels": True}


def offered(name, rule):
    return {"file": f"{name}.npz"}, rule, {"vectors": ITEMS, "items": LABELS}


@pytest.fixture
async def room(tmp_path):
    tables = {n: {"t": pa.table({"x": [1, 2]})} for n in ("north", "south")}
    few = {**OPEN, "queries_per_analyst": 5, "queries_of_all_analysts": 2}
    rules = {"products": OPEN, "hidden": FOR_BOB, "few": few}
    catalogues = {name: offered(name, rule) for name, rule in rules.items()}
    southern = {"products": catalogues["products"]}
    found = await ScoringRoom(tmp_path, tables).open({"north": catalogues, "south": southern})
    for scoring in found.scoring.values():
        await scoring._ready()
    yield found
    await found.close()


def asked(where, catalogue="products", queries=1, **changes):
    """A query message, and a request for it as an analyst would sign it; both as changed."""
    plan = next(iter(where.scoring["north"]._offered[catalogue].plans.values()))
    message = changes.pop("message", None) or Querier(plan).ask(ITEMS[:queries]).messages[0]
    now = int(where.clock.now())
    fields = {
        "room": where.manifest.room, "job": secrets.token_hex(16), "holder": "north", "catalogue": catalogue,
        "spec_digest": plan.spec.digest(), "queries": queries, "query_digest": hashlib.sha256(message).digest(),
        "query_bytes": plan.shape.query_bytes(queries), "reply_bytes": plan.shape.reply_bytes(queries),
        "issued_at": now, "expires_at": now + 60,
    }  # fmt: skip
    return message, ScoreRequest(**fields | changes)


def signed(room, statement, by="ana"):
    return room.keys[by].identity().sign(statement, by)


def stretches(message):
    return [m.ScoreFrame(data=message[i : i + STRETCH]) for i in range(0, len(message), STRETCH)]


class Sender:
    """Frames that are counted as they are taken."""

    def __init__(self, *frames):
        self.left, self.taken = list(frames), 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.left:
            raise StopAsyncIteration
        self.taken += 1
        return self.left.pop(0)


def request_frames(room, message, request, *more):
    return Sender(m.ScoreFrame(request=signed(room, request)), *stretches(message), *more)


async def collected(replies):
    return [reply async for reply in replies]


def used(room, catalogue="products", holder="north"):
    return room.scoring[holder]._budget.used("ana", catalogue)


# ---- the holder --------------------------------------------------------------------------------------------------


async def test_a_request_as_these_tests_make_it_is_answered_and_charged(room):
    message, request = asked(room)
    replies = await collected(room.scoring["north"].score(request_frames(room, message, request)))

    assert sum(len(r.data) for r in replies) == request.reply_bytes
    assert used(room) == 1


async def test_a_catalogue_that_is_offered_to_another_analyst_is_not_scored_and_not_told_from_none(room):
    message, request = asked(room, "hidden")
    errors = []
    for name in ("hidden", "no such thing"):
        sender = request_frames(room, message, msgspec.structs.replace(request, catalogue=name))
        with pytest.raises(PolicyDenied) as caught:
            await collected(room.scoring["north"].score(sender))
        assert sender.taken == 1, "the message was taken"
        errors.append({**caught.value.fields, "catalogue": ""})

    assert errors[0] == errors[1]
    assert used(room, "hidden") == 0


def question(where, **changes):
    now = int(where.clock.now())
    fields = {"room": where.manifest.room, "asked_at": now, "nonce": bytes(16), "holder": "north"}
    sealing = SealingKey().public
    return CatalogueQuestion(**fields | {"catalogue": "products", "sealing_key": sealing} | changes)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"catalogue": "hidden"}, PolicyDenied), ({"holder": "south"}, ProtocolError), ({"holder": ""}, ProtocolError),
        ({"sealing_key": b""}, ProtocolError), ({"room": "other"}, ProtocolError), ({"asked_at": 1}, ProtocolError),
    ],
    ids=str,
)  # fmt: skip
async def test_labels_are_told_to_whom_the_policy_names_who_asks_this_party_now(room, changes, error):
    north = room.scoring["north"]
    assert await collected(north.labels(m.LabelsRequest(question=signed(room, question(room)))))
    with pytest.raises(error):
        await collected(north.labels(m.LabelsRequest(question=signed(room, question(room, **changes)))))


@pytest.mark.parametrize("changes", [{"room": "other"}, {"asked_at": 1}], ids=str)
async def test_an_old_or_foreign_question_lists_nothing(room, changes):
    told = question(room, catalogue="", sealing_key=b"", **changes)
    with pytest.raises(ProtocolError):
        await room.scoring["north"].catalogues(m.CataloguesRequest(question=signed(room, told)))


async def test_a_request_to_another_holder_is_not_answered_here(room):
    message, request = asked(room)
    with pytest.raises(ProtocolError):
        await collected(room.scoring["south"].score(request_frames(room, message, request)))

    assert used(room, holder="south") == 0


async def test_a_request_lives_no_longer_than_the_room_allows(room):
    message, request = asked(room, expires_at=int(room.clock.now()) + room.manifest.floor.job_lifetime_s + 100)
    for side in (room.scoring["north"].score, lambda frames: room.scorings.score("ana", frames)):
        with pytest.raises(ProtocolError, match="lives longer"):
            await collected(side(request_frames(room, message, request)))

    assert used(room) == 0


async def test_the_limit_of_all_analysts_holds_where_each_could_ask_more(room):
    for _ in range(2):
        await collected(room.scoring["north"].score(request_frames(room, *asked(room, "few"))))
    with pytest.raises(BudgetExhausted) as caught:
        await collected(room.scoring["north"].score(request_frames(room, *asked(room, "few"))))

    assert caught.value.fields["rule"] == "queries-of-all-clients"
    assert used(room, "few") == 2


async def test_one_request_that_comes_twice_at_once_is_answered_once(room):
    """Both are let in before either is charged: the charge itself must know the job."""
    message, request = asked(room)
    twins = [room.scoring["north"].score(request_frames(room, message, request)) for _ in range(2)]
    for twin in twins:
        await anext(twin)

    assert (await collected(twins[0]))[-1].receipt is not None
    with pytest.raises(ReplayError):
        await collected(twins[1])
    assert used(room) == 1


def offered_real(room, items=ITEMS):
    """The catalogue of the north, under `ckks`, too."""
    north = room.scoring["north"]
    found = north._offered["products"]
    real = finest_real_spec(
        catalogue="products", rows=ROWS, dimensions=DIMENSIONS, measure=Measure.COSINE, query_norm=1.0, item_norm=1.0
    ).compile()
    north._offered["products"] = replace(found, real=real, catalogue=replace(found.catalogue, vectors=items))
    return real


def asked_real(room, real, message, queries=1):
    return asked(
        room, message=message, queries=queries, spec_digest=real.spec.digest(), query_bytes=len(message),
        reply_bytes=real.shape.reply_bytes(queries),
    )[1]  # fmt: skip


async def test_a_real_valued_query_is_charged_before_it_is_answered(room):
    """The worker that answers under `ckks` charges nothing itself."""
    north, real = room.scoring["north"], offered_real(room)
    shape, charged = real.shape, []

    async def answer(*_):
        charged.append(used(room))
        return bytes(shape.reply_bytes(2))

    async def hold(*_):
        charged.append(used(room))

    north._real.answer, north._real.hold = answer, hold
    rows = ((bytes(shape.ciphertext_bytes),) * shape.terms,) * 2
    message = encode_query(shape, Query(name=bytes(16), public_key=bytes(shape.public_key_bytes), ciphertexts=rows))
    request = asked_real(room, real, message, queries=2)
    await collected(north.score(request_frames(room, message, request)))

    assert charged == [0, 2]


@pytest.mark.parametrize("why", ["memory", "an item that is none"])
async def test_what_a_holder_cannot_answer_under_ckks_is_not_charged(room, why):
    north = room.scoring["north"]
    items = ITEMS.copy()
    if why == "memory":
        north._real._most = 1 << 20
    else:
        items[7, 3] = np.nan
    real = offered_real(room, items)
    message = RealQuerier(real).ask(ITEMS[:1]).messages[0]
    request = asked_real(room, real, message)
    with pytest.raises(ResourceExhausted if why == "memory" else RangeError):
        await collected(north.score(request_frames(room, message, request)))

    assert used(room) == 0


async def test_a_catalogue_under_ckks_takes_the_room_of_another(room):
    north, real = room.scoring["north"], offered_real(room)
    others = [replace(real, spec=msgspec.structs.replace(real.spec, flooding_bits=40 + i)) for i in range(2)]
    north._real._most = real.memory_bytes * 3 // 2
    for plan in (*others, others[0]):
        message = RealQuerier(plan).ask(ITEMS[:1]).messages[0]
        assert len(await north._real.answer(plan, north._offered["products"].catalogue, message)) > 0
        assert list(north._real._kept) == [plan.spec.digest()]


async def test_a_catalogue_that_the_policy_does_not_name_is_not_even_read(tmp_path, room, monkeypatch):
    read = []

    async def load(name, *_, **__):
        read.append(name)
        raise SourceError("", reason="this test reads nothing")

    monkeypatch.setattr("servers.party.scoring_start.load_catalogue", load)
    names = ("named", "nobody", "forgotten")
    config = PartyConfig(name="north", listen="localhost:1", catalogues={n: CatalogueSpec(file="x.npz") for n in names})
    rules = {"named": CatalogueRule(analysts=("bob",)), "nobody": CatalogueRule(labels=True)}
    start = ScoringStart(room.scoring["north"], config, Policy(catalogues=rules), tmp_path)
    start.begin()
    await start._task

    assert read == ["named"]


async def test_an_overlong_message_is_not_taken_to_its_end(room):
    message, request = asked(room)
    exact = len(stretches(message))
    sender = request_frames(room, message, request, *[m.ScoreFrame(data=b"x")] * 50)
    with pytest.raises(WireError, match="longer"):
        await collected(room.scoring["north"].score(sender))

    assert sender.taken == 1 + exact + 1
    assert used(room) == 0


@pytest.mark.parametrize("odd", ["empty", "request"])
async def test_a_stretch_that_is_none_ends_the_upload(room, odd):
    message, request = asked(room)
    frame = m.ScoreFrame() if odd == "empty" else m.ScoreFrame(request=signed(room, request), data=message[:9])
    sender = Sender(m.ScoreFrame(request=signed(room, request)), *[frame] * 50)
    with pytest.raises(WireError, match="stretch"):
        await collected(room.scoring["north"].score(sender))

    assert sender.taken == 2


async def test_a_message_shorter_than_its_signed_length_is_refused_even_if_its_digest_is_right(room):
    whole, _ = asked(room)
    message, request = asked(room, message=whole[:-1])
    with pytest.raises(IntegrityError):
        await collected(room.scoring["north"].score(request_frames(room, message, request)))

    assert used(room) == 0


async def test_a_message_with_another_number_of_queries_than_was_signed_is_not_paid_by_it(room):
    """Two queries under a request for one: lengths and digest cannot both be right."""
    two, _ = asked(room, queries=2)
    message, request = asked(room, message=two)
    with pytest.raises((WireError, IntegrityError)):
        await collected(room.scoring["north"].score(request_frames(room, message, request)))

    assert used(room) == 0


async def test_a_message_beyond_the_nodes_memory_is_refused_before_it_is_sent(room):
    message, request = asked(room)
    room.scoring["north"]._limits = ScoringLimits(message_bytes=len(message) - 1)
    sender = request_frames(room, message, request)
    with pytest.raises(ResourceExhausted, match="bytes of a query"):
        await collected(room.scoring["north"].score(sender))

    assert sender.taken == 1


async def test_no_more_queries_wait_than_the_owner_said(room):
    north, begun = room.scoring["north"], []
    north._limits = ScoringLimits(at_once=1, waiting=0)
    message, request = asked(room)
    first = north.score(request_frames(room, message, request))
    begun.append(await anext(first))
    with pytest.raises(ResourceExhausted, match="queries at work"):
        await collected(north.score(request_frames(room, *asked(room))))
    begun += [reply async for reply in first]

    assert begun[-1].receipt is not None
    assert (await collected(north.score(request_frames(room, *asked(room)))))[-1].receipt is not None


async def test_an_analyst_who_sends_nothing_does_not_keep_a_place_for_the_jobs_lifetime(room, monkeypatch):
    monkeypatch.setattr(holder_side, "_UPLOAD_GRACE_S", 0.1)
    north = room.scoring["north"]
    message, request = asked(room, expires_at=int(room.clock.now()) + 600)

    async def silent():
        yield m.ScoreFrame(request=signed(room, request))
        yield stretches(message)[0]
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        with pytest.raises(DeadlineExceeded):
            await collected(north.score(silent()))

    assert (used(room), north._taken) == (0, 0)
    assert (await collected(north.score(request_frames(room, *asked(room)))))[-1].receipt is not None


# ---- the coordinator ---------------------------------------------------------------------------------------------


def replying(room, *replies):
    """A holder that takes everything and says what it is told to; what reached it."""
    reached = []

    async def score(frames):
        reached.append(await anext(frames))
        for number, reply in enumerate(replies):
            yield reply
            if not number:
                async for frame in frames:
                    reached.append(frame)
                reached.append("end")

    room.scoring["north"].score = score
    return reached


def receipt(room, request):
    word = ScoreReceipt(
        room=request.room, job=request.job, holder="north", request_digest=score_request_digest(b""),
        reply_digest=bytes(32), remaining=1,
    )  # fmt: skip
    return signed(room, word, "north")


async def passed_on(room, frames):
    """What the coordinator passes on to an analyst that checks nothing, and how it ends."""
    seen = []
    try:
        async for reply in room.scorings.score("ana", frames):
            seen.append(reply)
    except WireError as error:
        return seen, error
    return seen, None


async def test_the_coordinator_passes_a_whole_scoring_on(room):
    message, request = asked(room)
    answer = m.ScoreReplyFrame(data=bytes(request.reply_bytes))
    end = m.ScoreReplyFrame(receipt=receipt(room, request))
    reached = replying(room, m.ScoreReplyFrame(), answer, end)
    seen, error = await passed_on(room, request_frames(room, message, request))

    assert error is None
    assert seen == [m.ScoreReplyFrame(), answer, end]
    assert b"".join(frame.data for frame in reached[1:-1]) == message


async def test_it_passes_no_more_of_a_reply_than_was_asked_for(room):
    message, request = asked(room)
    part = m.ScoreReplyFrame(data=bytes(request.reply_bytes // 2))
    replying(room, m.ScoreReplyFrame(), *[part] * 9)
    seen, error = await passed_on(room, request_frames(room, message, request))

    assert error is not None
    assert sum(len(reply.data) for reply in seen) <= request.reply_bytes


@pytest.mark.parametrize("odd", ["empty", "both", "receipt first", "short", "no end", "untaken"])
async def test_it_passes_no_frame_on_that_a_reply_does_not_have(room, odd):
    message, request = asked(room)
    end = receipt(room, request)
    whole = bytes(request.reply_bytes)
    taken, answer = m.ScoreReplyFrame(), m.ScoreReplyFrame(data=whole)
    told, passed = {
        "empty": ([taken, m.ScoreReplyFrame(), answer, m.ScoreReplyFrame(receipt=end)], 1),
        "both": ([taken, m.ScoreReplyFrame(data=whole, receipt=end)], 1),
        "receipt first": ([taken, m.ScoreReplyFrame(receipt=end)], 1),
        "short": ([taken, m.ScoreReplyFrame(data=whole[1:]), m.ScoreReplyFrame(receipt=end)], 2),
        "no end": ([taken, answer], 2),
        "untaken": ([m.ScoreReplyFrame(seconds=1.0), answer, m.ScoreReplyFrame(receipt=end)], 0),
    }[odd]
    replying(room, *told)
    seen, error = await passed_on(room, request_frames(room, message, request))

    assert error is not None
    assert len(seen) == passed


async def test_it_passes_no_more_of_a_query_than_was_signed(room):
    message, request = asked(room)
    sender = request_frames(room, message, request, *[m.ScoreFrame(data=b"x")] * 50)
    reached = replying(room, m.ScoreReplyFrame())
    _, error = await passed_on(room, sender)

    assert error is not None
    assert "end" not in reached
    assert sender.taken == 1 + len(stretches(message)) + 1


async def test_a_query_that_ends_early_does_not_reach_the_holder_as_a_whole_one(room):
    message, request = asked(room)
    reached = replying(room, m.ScoreReplyFrame())
    _, error = await passed_on(room, request_frames(room, message[:-1], request))

    assert error is not None
    assert "end" not in reached


@pytest.mark.parametrize("odd", ["empty", "request"])
async def test_no_stretch_that_is_none_reaches_the_holder(room, odd):
    message, request = asked(room)
    frame = m.ScoreFrame() if odd == "empty" else m.ScoreFrame(request=signed(room, request), data=message[:9])
    reached = replying(room, m.ScoreReplyFrame())
    _, error = await passed_on(room, Sender(m.ScoreFrame(request=signed(room, request)), *[frame] * 50))

    assert error is not None
    assert reached == [m.ScoreFrame(request=signed(room, request))]


async def test_a_first_frame_with_data_reaches_nobody(room):
    message, request = asked(room)
    both = m.ScoreFrame(request=signed(room, request), data=message)
    reached = replying(room, m.ScoreReplyFrame())
    with pytest.raises(WireError, match="first frame"):
        await collected(room.scorings.score("ana", Sender(both)))

    assert reached == []
    assert room.jobs.find(request.job) is None
    with pytest.raises(WireError, match="first frame"):
        await collected(type(room.scoring["north"]).score(room.scoring["north"], Sender(both)))


async def test_no_more_scorings_run_at_the_coordinator_than_it_has_places(room):
    room.scorings._at_once = 1
    message, request = asked(room)
    first = room.scorings.score("ana", request_frames(room, message, request))
    await anext(first)
    with pytest.raises(ResourceExhausted, match="jobs at work"):
        await collected(room.scorings.score("ana", request_frames(room, *asked(room))))

    assert (await collected(first))[-1].receipt is not None


async def test_scorings_that_come_at_once_share_the_places_of_the_coordinator(room):
    room.scorings._at_once = 2
    calls = (room.scorings.score("ana", request_frames(room, *asked(room))) for _ in range(6))
    found = await asyncio.gather(*(collected(call) for call in calls), return_exceptions=True)
    refused = [one for one in found if isinstance(one, ResourceExhausted)]

    assert [len(found) - len(refused), len(refused)] == [2, 4]
    assert (await collected(room.scorings.score("ana", request_frames(room, *asked(room)))))[-1].receipt is not None


async def test_nobody_cancels_another_analysts_scoring(room):
    message, request = asked(room)
    running = room.scorings.score("ana", request_frames(room, message, request))
    await anext(running)
    with pytest.raises(AuthorizationError):
        room.scorings.cancel("eve", request.job)

    assert (await collected(running))[-1].receipt is not None


# ---- the analyst -------------------------------------------------------------------------------------------------


def changing(method, change):
    """A hook that changes what a party answers."""
    return lambda _party, at, way, message: change(message) if (at, way) == (method, "reply") else message


@pytest.mark.parametrize(
    "changes",
    [{"room": "other"}, {"job": "0" * 32}, {"holder": "south"}, {"request_digest": bytes(32)},
     {"reply_digest": bytes(32)}],
    ids=str,
)  # fmt: skip
async def test_a_holders_own_receipt_for_anything_else_is_refused(room, changes):
    def change(message):
        if message.receipt is None:
            return message
        word = msgspec.structs.replace(decode_statement(message.receipt.payload, ScoreReceipt), **changes)
        return msgspec.structs.replace(message, receipt=signed(room, word, "north"))

    room.network.hook = changing("score", change)
    with pytest.raises(IntegrityError):
        await room.analyst.score(ITEMS[0], "north/products")


async def test_a_reply_under_a_receipt_that_the_coordinator_wrote_is_refused(room):
    digest = hashlib.sha256()

    def change(message):
        if message.data:
            message = msgspec.structs.replace(message, data=message.data[:-1] + bytes([message.data[-1] ^ 1]))
            digest.update(message.data)
        if message.receipt is None:
            return message
        word = decode_statement(message.receipt.payload, ScoreReceipt)
        word = msgspec.structs.replace(word, reply_digest=digest.digest())
        return msgspec.structs.replace(message, receipt=Signed(encode_statement(word), "north", bytes(64)))

    room.network.hook = changing("score", change)
    with pytest.raises(IntegrityError, match="signature"):
        await room.analyst.score(ITEMS[0], "north/products")


async def test_labels_that_the_coordinator_sealed_are_refused(room):
    """Anybody can seal to a question's key; the digest in the holder's signed offer tells whose labels they are."""
    original = room.scoring["north"].labels

    async def forged(message):
        told = decode_statement(message.question.payload, CatalogueQuestion)
        context = labels_context(question_digest(message.question.payload), 0)
        lies = msgspec.msgpack.encode((bytes(32), [f"item {ROWS - i}" for i in range(ROWS)]))
        yield m.LabelsFrame(sealed=seal(told.sealing_key, lies, context=context))

    room.scoring["north"].labels = forged
    with pytest.raises(IntegrityError, match="labels"):
        await room.analyst.score(ITEMS[0], "north/products")
    room.scoring["north"].labels = original
    assert (await room.analyst.score(ITEMS[0], "north/products", 1)).labels() == ["item 0"]


async def test_a_right_guess_of_the_labels_is_not_confirmed_by_an_offer(room, tmp_path):
    """The coordinator reads offers; a digest that follows from the labels would tell which items a rule hides."""
    offers = (await room.scorings.catalogues("ana", m.CataloguesRequest(question=signed(room, question(room))))).entries
    seen = [decode_statement(o.payload, CatalogueOffer).labels for e in offers for o in e.offers]
    guesses = [msgspec.msgpack.encode(guess) for guess in (LABELS.tolist(), (b"", LABELS.tolist()))]

    assert len(seen) == len(set(seen)) > 1, "the same labels under several names"
    assert not set(seen) & {labels_digest(guess) for guess in guesses}


async def test_offers_of_before_a_restart_of_the_holder_do_not_stop_a_scoring(room):
    """Its labels have another salt, and so another digest, than the offers that the analyst remembers."""
    await room.analyst.catalogues()
    north = room.scoring["north"]
    found = north._offered["products"]
    again = offer("products", CatalogueSpec(file="products.npz"), found.rule, found.catalogue)
    north._offered["products"] = again

    assert again.labels_digest != found.labels_digest
    assert (await room.analyst.score(ITEMS[0], "north/products", 1)).labels() == ["item 0"]


async def test_labels_of_another_number_than_there_are_items_are_refused(room):
    north = room.scoring["north"]
    few = msgspec.msgpack.encode((bytes(32), ["item 0"]))
    north._offered["products"] = replace(north._offered["products"], labels=few, labels_digest=labels_digest(few))
    with pytest.raises(ProtocolError, match="one label per item"):
        await room.analyst.score(ITEMS[0], "north/products")


@pytest.mark.parametrize("odd", ["empty", "too much", "both", "after the end"])
async def test_an_analyst_takes_no_more_than_was_asked_for(room, odd):
    """From a coordinator that checks no length."""
    original, taken = room.analyst.peer.score, []

    def score(frames):
        async def told():
            async for reply in original(frames):
                if odd == "both" and reply.receipt is not None:
                    reply = msgspec.structs.replace(reply, data=b"x")
                yield reply
                if (odd == "after the end") == (reply.receipt is not None) and (reply.data or reply.receipt):
                    for _ in range(50):
                        taken.append(1)
                        yield m.ScoreReplyFrame() if odd == "empty" else m.ScoreReplyFrame(data=b"x")

        return told()

    room.analyst.peer.score = score
    with pytest.raises(WireError):
        await room.analyst.score(ITEMS[0], "north/products")

    assert len(taken) <= 1


async def test_an_analyst_notices_a_reply_without_its_end(room):
    original = room.analyst.peer.score

    def score(frames):
        async def told():
            async for reply in original(frames):
                if reply.receipt is None:
                    yield reply

        return told()

    room.analyst.peer.score = score
    with pytest.raises(WireError, match="early"):
        await room.analyst.score(ITEMS[0], "north/products")


# ---- an end that the transport lost ------------------------------------------------------------------------------


def losing(room, monkeypatch, job=None):
    """The coordinator ends calls in the middle of a send: gRPC then forgets why."""
    score, watch = room.analyst.peer.score, room.analyst.peer.watch

    async def lost(frames):
        try:
            async for frame in score(frames):
                yield frame
        except MpcError:
            raise TransportError("", member="coordinator", reason=STATUS_LOST) from None

    monkeypatch.setattr(room.analyst.peer, "score", lost)
    if job:
        monkeypatch.setattr(room.analyst.peer, "watch", lambda request: watch(m.WatchRequest(job=job)))


async def test_the_analyst_asks_for_the_end_of_a_call_that_lost_it(room, monkeypatch):
    losing(room, monkeypatch)
    with pytest.raises(BudgetExhausted):
        await room.analyst.score(ITEMS[:3], "north/few")


async def test_where_there_is_no_record_the_loss_itself_is_told(room, monkeypatch):
    losing(room, monkeypatch, job="0" * 32)
    with pytest.raises(TransportError) as caught:
        await room.analyst.score(ITEMS[:3], "north/few")
    assert caught.value.fields == {"member": "coordinator", "reason": STATUS_LOST}
