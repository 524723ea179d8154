"""Statements about what was sent and obtained: coordinator and analyst each refuse a wrong one by themselves."""

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from mpc.client.answer import Report
from mpc.client.jobs import Note, NoteReader
from mpc.client.training import measured, trained
from mpc.entropy import SystemEntropy
from mpc.errors import IntegrityError, MpcError, PolicyDenied, ProtocolError
from mpc.keys.secret import seal
from mpc.keys.statements import Signed, decode_statement
from mpc.learn import ArraySpec, FederatedAverage, LinearRegression
from mpc.learn.averaging import AveragedModel
from mpc.params import parameter_set
from mpc.schemes.secret import generate
from mpc.sum.messages import Commitment, KeyOffer, Receipt
from mpc.wire import messages as m
from mpc.wire.job import JobState
from mpc.wire.models import pack_model
from mpc.wire.notes import SealedNote, note_body_digest, note_context
from servers.party.trainers import TrainerSpec
from tests.simulation.memory_room import MemoryRoom

PARTIES = ("north", "south", "west")
PLAIN = "SELECT COUNT(*) AS n FROM sales"
DISCOVERED = "SELECT region, COUNT(*) AS n FROM sales GROUP BY region ORDER BY region"


@pytest.fixture
async def room(tmp_path):
    tables = {n: {"sales": pa.table({"region": ["a", n], "qty": [1, 2], "qty2": [2, 3]})} for n in PARTIES}
    found = MemoryRoom(tmp_path, tables)
    yield found
    await found.close()


def forged(signed):
    return Signed(signed.payload, signed.signer, bytes(64))


def resigned(room, signed, kind, changes):
    word = msgspec.structs.replace(decode_statement(signed.payload, kind), **changes)
    return room.keys[signed.signer].identity().sign(word, signed.signer)


# ---- the coordinator ---------------------------------------------------------------------------------------------


async def state(room):
    return (await room.hub.list("ana", m.ListRequest(most=1))).jobs[0].state


@pytest.mark.parametrize("changes", [None, {"job": "0" * 32}, {"round": 9}, {"party": "west"}], ids=str)
@pytest.mark.parametrize("sql", [PLAIN, DISCOVERED])
async def test_the_coordinator_releases_nothing_under_a_receipt_that_is_forged_or_for_something_else(
    room, sql, changes
):
    """In a round that opens to the parties no analyst ever sees the receipts."""

    def lie(party, at, way, message):
        if (party, at, way) != ("south", "contribute", "reply") or message.receipt is None:
            return message
        told = forged(message.receipt) if changes is None else resigned(room, message.receipt, Receipt, changes)
        return msgspec.structs.replace(message, receipt=told)

    room.network.hook = lie
    with pytest.raises(MpcError):
        await room.sql(sql)

    assert await state(room) == JobState.ABORTED
    delivered = [c for c in room.network.calls if c[1:] == ("deliver", "request")]
    assert not delivered, "a sum left on the strength of it"


@pytest.mark.parametrize(
    "changes",
    [{"job": "0" * 32}, {"attempt": 2}, {"round": 9}, {"maker": "south"}, {"parameter_set": "clear"}, {"room": "other"},
     {"seed_commitment": bytes(32)}, {"seed_commitment": b""}, {"boxes": ()}],
    ids=str,
)  # fmt: skip
async def test_a_party_sends_nothing_to_a_groups_key_that_its_maker_meant_for_something_else(room, changes):
    """The maker is north: what another party contributes is encrypted to the key that north offered for this round."""

    def lie(party, at, way, message):
        if (party, at, way) != ("south", "contribute", "request") or message.offer is None:
            return message
        return msgspec.structs.replace(message, offer=resigned(room, message.offer, KeyOffer, changes))

    room.network.hook = lie
    with pytest.raises((ProtocolError, IntegrityError)):
        await room.sql(DISCOVERED)

    assert ("south", "contribute", "request") in room.network.calls
    assert ("south", "contribute", "reply") not in room.network.calls


async def test_a_party_sends_nothing_to_a_groups_key_that_the_coordinator_made(room):
    """With a scheme whose keys travel."""
    seen = []

    def lie(party, at, way, message):
        if (party, at, way) != ("south", "contribute", "request") or not message.public_key:
            return message
        seen.append(message)
        parameters = parameter_set(decode_statement(message.offer.payload, KeyOffer).parameter_set)
        return msgspec.structs.replace(message, public_key=generate(parameters, SystemEntropy())[0].data)

    room.network.hook = lie
    with pytest.raises(IntegrityError):
        await room.sql(DISCOVERED, "bfv")

    assert seen
    assert ("south", "contribute", "reply") not in room.network.calls


async def test_a_maker_that_seals_another_seed_than_it_committed_to_gets_no_contribution(room, monkeypatch):
    def sealed(key, _material, *, context):
        return seal(key, bytes(32), context=context)

    monkeypatch.setattr("servers.party.group_keys.seal", sealed)
    with pytest.raises(IntegrityError):
        await room.sql(DISCOVERED)

    sent = {party for party, at, way in room.network.calls if (at, way) == ("contribute", "reply")}
    assert sent <= {"north"}


KINDS = {"receipts": Receipt, "commitments": Commitment}


# ---- the analyst -------------------------------------------------------------------------------------------------


def fetching(room, change):
    """An analyst whose coordinator changes the statements of a result."""
    original = room.analyst.peer.fetch

    def fetch(reference):
        async def frames():
            async for frame in original(reference):
                yield change(frame) if frame.commitments else frame

        return frames()

    room.analyst.peer.fetch = fetch


def one(kind, change):
    """Change the statement of one party."""
    return lambda frame: msgspec.structs.replace(
        frame, **{kind: tuple(change(s) if s.signer == "south" else s for s in getattr(frame, kind))}
    )


@pytest.mark.parametrize("kind", ["commitments", "receipts"])
async def test_an_analyst_opens_nothing_under_a_forged_statement(room, kind):
    fetching(room, one(kind, forged))
    with pytest.raises(IntegrityError, match="signature"):
        await room.sql(PLAIN)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("receipts", {"job": "0" * 32}), ("receipts", {"attempt": 2}), ("receipts", {"request_digest": bytes(32)}),
        ("receipts", {"ciphertexts": 7}), ("receipts", {"party": "west"}),
        ("commitments", {"job": "0" * 32}), ("commitments", {"attempt": 2}),
        ("commitments", {"request_digest": bytes(32)}), ("commitments", {"participants": ("north", "south")}),
        ("commitments", {"party": "west"}),
    ],
    ids=str,
)  # fmt: skip
async def test_an_analyst_opens_nothing_under_a_statement_for_something_else(room, kind, changes):
    fetching(
        room, one(kind, lambda s: resigned(room, s, {"receipts": Receipt, "commitments": Commitment}[kind], changes))
    )
    with pytest.raises(ProtocolError):
        await room.sql(PLAIN)


@pytest.mark.parametrize("kind", ["commitments", "receipts"])
async def test_an_analyst_opens_nothing_when_a_statement_is_missing(room, kind):
    fetching(
        room,
        lambda frame: msgspec.structs.replace(
            frame, **{kind: tuple(s for s in getattr(frame, kind) if s.signer != "south")}
        ),
    )
    with pytest.raises(ProtocolError):
        await room.sql(PLAIN)


def boxed(where, order, *, signer="south", index=1, body=b"lies", **changes):
    """A note to the analyst's key, which everybody sees, and with the context that everybody can work out."""
    request = order.request
    fields = {
        "room": request.room, "job": request.job, "attempt": request.attempt, "party": "south", "index": index,
        "round": 1, "kind": "model-digest", "body_digest": note_body_digest(body),
    }  # fmt: skip
    signed = where.keys["south"].identity().sign(SealedNote(**fields | changes), "south")
    signed = signed if signer == "south" else forged(signed)
    box = seal(request.sealing_key, msgspec.msgpack.encode((signed, body)), context=note_context(request, "south", 1))
    return len(box).to_bytes(8, "little") + box


@pytest.fixture
async def training_job(room):
    keys = await room.analyst.keys.take("rlwe-2048-t30")
    spec = LinearRegression("sales", "qty", ("qty2",))
    return room.analyst.sign_training(spec, keys, timeout_s=60, resume="", attempt=1)


async def test_a_partys_note_is_read(room, training_job):
    (note,) = NoteReader(training_job).feed("south", boxed(room, training_job))

    assert (note.party, note.kind, note.body) == ("south", "model-digest", b"lies")


async def test_a_note_that_the_coordinator_wrote_is_refused(room, training_job):
    with pytest.raises(IntegrityError, match="signature"):
        NoteReader(training_job).feed("south", boxed(room, training_job, signer="the coordinator"))


@pytest.mark.parametrize(
    "changes",
    [{"job": "0" * 32}, {"attempt": 2}, {"party": "west"}, {"index": 2}, {"body_digest": bytes(32)}],
    ids=str,
)
async def test_a_partys_note_for_something_else_is_refused(room, training_job, changes):
    with pytest.raises(ProtocolError, match="something else"):
        NoteReader(training_job).feed("south", boxed(room, training_job, **changes))


async def test_a_note_of_who_does_not_take_part_is_refused(room, training_job):
    for stranger in ("ana", "hub", "nobody"):
        with pytest.raises(ProtocolError, match="stranger"):
            NoteReader(training_job).feed(stranger, boxed(room, training_job))


# ---- what parties say they obtained ------------------------------------------------------------------------------

REPORT = Report(
    job="0" * 32, scheme="rlwe", parameter_set="rlwe-2048-t30", security="128", participants=PARTIES, ciphertexts=0,
    bytes_received=0, seconds=0.0, phases={}, disclosure=(),
)  # fmt: skip
MODEL = AveragedModel({"w": np.arange(3.0)}, 7)


def note(party, kind, body):
    return Note(party=party, round=1, kind=kind, body=body)


def model_notes(**digests):
    told = dict.fromkeys(PARTIES, MODEL.digest()) | digests
    return [note("north", "model", pack_model(MODEL))] + [
        note(p, "model-digest", d.encode()) for p, d in told.items() if d is not None
    ]


def test_a_model_is_taken_when_every_party_obtained_it():
    assert trained(model_notes(), PARTIES, REPORT).model.digest() == MODEL.digest()


@pytest.mark.parametrize("party", PARTIES)
@pytest.mark.parametrize("digest", ["0" * 64, "\u00e9", None])
def test_a_model_that_one_party_did_not_obtain_is_refused(party, digest):
    with pytest.raises(IntegrityError) as caught:
        trained(model_notes(**{party: digest}), PARTIES, REPORT)

    assert caught.value.fields["party"] == party


def qualities(**changed):
    told = dict.fromkeys(PARTIES, b'{"recall":{"20":0.5},"bins":[1,2]}') | changed
    return [note(p, "quality", body) for p, body in told.items() if body is not None]


def test_a_quality_is_that_of_every_party():
    last = b'{"recall":{"20":0.5000000000000001},"bins":[1,2]}'
    assert measured(qualities(west=last), PARTIES, REPORT).quality["recall"] == {"20": 0.5}
    with pytest.raises(ProtocolError):
        measured(qualities(west=None), PARTIES, REPORT)


@pytest.mark.parametrize(
    "other", [b'{"recall":{"20":0.6},"bins":[1,2]}', b'{"recall":{"20":0.5},"bins":[1]}', b'{"recall":{"20":0.5}}']
)
@pytest.mark.parametrize("party", PARTIES[1:])
def test_another_quality_of_one_party_is_refused(party, other):
    with pytest.raises(IntegrityError) as caught:
        measured(qualities(**{party: other}), PARTIES, REPORT)

    assert caught.value.fields["party"] == party


# ---- whose functions run -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lacking", ["policy", "declaration"])
async def test_a_function_runs_where_its_owner_declares_it_and_its_policy_allows_it(tmp_path, lacking):
    allowed = {"risk": ["bob" if lacking == "policy" else "ana"]}
    everything = {"analysts": ["*"], "train": True, "trainers": allowed, "tables": {"t": {"allow_all": True}}}
    tables = {n: {"t": pa.table({"x": [1.0, 2.0]})} for n in PARTIES}
    room = MemoryRoom(tmp_path, tables, policies=dict.fromkeys(PARTIES, everything))
    spec = FederatedAverage(table="t", trainer="risk", arrays=(ArraySpec("w", (2,), 4.0),), columns=("x",))
    for node in room.nodes.values():
        declared = {} if lacking == "declaration" else {"risk": TrainerSpec(module="owners:risk")}
        node._config = msgspec.structs.replace(node._config, trainers=declared)
    try:
        keys = await room.analyst.keys.take("rlwe-2048-t30")
        with pytest.raises(PolicyDenied) as caught:
            await room.analyst.train(room.analyst.sign_training(spec, keys, timeout_s=60, resume="", attempt=1), print)
    finally:
        await room.close()

    assert caught.value.fields["rule"] == "trainers risk"
    assert not [c for c in room.network.calls if c[1] == "begin"]
