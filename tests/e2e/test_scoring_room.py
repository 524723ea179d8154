"""Private scoring through a room of real processes and mutual TLS: right scores, the owner's rules, faults, attacks."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mpc.client import LocalRoom
from mpc.errors import (
    BudgetExhausted,
    MpcError,
    ParameterError,
    PartyUnavailable,
    PolicyDenied,
    RangeError,
    TransportError,
)
from mpc.keys.secret import SecretKey
from mpc.learn import ImplicitAls
from mpc.schemes.rlwe.products_reply import expand_replies
from mpc.schemes.rlwe.secret import decryptor
from mpc.score import querier
from mpc.score.encoding import item_integers, item_polynomials, query_integers
from mpc.score.ideal import ideal_scores
from mpc.score.messages import decode_reply
from mpc.score.querier import Querier

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("scoring-room")]

ROWS, DIMENSIONS = 3000, 32


def vectors(rows, dimensions=DIMENSIONS, seed=0):
    return np.random.default_rng([11, seed]).normal(size=(rows, dimensions)).astype(np.float32)


ITEMS = vectors(ROWS)
NAMES = np.array([f"product {i:04d}" for i in range(ROWS)])
LARGE = vectors(150_000, seed=5)
TABLE = pa.table(
    {
        "id": NAMES,
        "kind": ["hidden" if i % 3 == 0 else "shown" for i in range(ROWS)],
        "embedding": pa.FixedSizeListArray.from_arrays(ITEMS.reshape(-1), DIMENSIONS),
        **{f"c{j}": ITEMS[:, j].astype(np.float64) for j in range(4)},
    }
)
CATALOGUES = {
    "products": {"vectors": ITEMS, "items": NAMES},
    "inner": {"vectors": ITEMS, "metric": "inner", "query_norm": 16.0, "packings": [1, 2]},
    "listed": {"table": "items", "vectors": "embedding", "labels": "id"},
    "columns": {"table": "items", "columns": ["c0", "c1", "c2", "c3"], "labels": "id", "metric": "inner"},
    "few": {"vectors": ITEMS},
    "exact": {"vectors": ITEMS[:500], "real": True},
    "large": {"vectors": LARGE, "packings": [1]},
    "secret": {"vectors": ITEMS},
}
RULE = {"analysts": ["analyst"], "queries_per_analyst": 31, "labels": True}
RULES = {
    "products": RULE,
    "inner": RULE,
    "listed": {**RULE, "where": "kind = 'shown'"},
    "columns": {"analysts": ["*"], "queries_per_analyst": 3},
    "few": {**RULE, "queries_per_analyst": 3, "queries_of_all_analysts": 2},
    "exact": RULE,
    "large": RULE,
}


@pytest.fixture(scope="module")
def room():
    policy = {"analysts": ["*"], "catalogues": RULES}
    with LocalRoom(
        {"acme": {"items": TABLE}, "zoo": {"items": TABLE}},
        {"acme": policy, "zoo": {"analysts": ["*"]}},
        catalogues={"acme": CATALOGUES, "zoo": {"products": ITEMS}},
    ) as room:
        yield room


@pytest.fixture
def client(room):
    return room.client()


def ideal(client, catalogue, queries, items):
    plan = client.explain_score(catalogue, queries=len(queries)).plan
    return ideal_scores(plan, queries, items) / plan.scale


def test_catalogues_are_listed_with_what_the_policy_lets_be_scored(client):
    found = {c.path: c for c in client.catalogues()}

    assert set(found) == {f"acme/{name}" for name in RULES}
    assert (found["acme/products"].rows, found["acme/products"].dimensions) == (ROWS, DIMENSIONS)
    assert (found["acme/inner"].metric, found["acme/products"].metric) == ("inner", "cosine")
    assert (found["acme/few"].limit, found["acme/few"].remaining) == (3, 2)
    assert found["acme/exact"].real
    assert found["acme/products"].labels
    assert not found["acme/inner"].labels, "numbers of rows are no labels"


def test_scores_are_exactly_those_of_the_fixed_point_vectors(client):
    query = vectors(1, seed=1)
    answer = client.score(query[0], "acme/products", k=4)

    assert np.array_equal(answer.scores, ideal(client, "products", query, ITEMS)[0])
    best = np.argsort(-answer.scores, kind="stable")[:4].tolist()
    assert answer.rows == [{"item": i, "label": NAMES[i], "score": answer.scores[i]} for i in best]
    assert answer.to_pandas()["label"].tolist() == [NAMES[i] for i in best]
    exact = ITEMS @ query[0] / np.linalg.norm(ITEMS, axis=1) / np.linalg.norm(query)
    assert np.abs(answer.scores - exact).max() <= answer.report.worst_error


def test_a_batch_of_inner_products_in_every_offered_packing(client):
    from mpc.plan.cost import Line

    queries = vectors(2, seed=2)
    seen = set()
    for line in (Line(megabits_per_s=5.0), Line(megabits_per_s=50_000.0)):
        plan = client.explain_score("inner", queries=2, line=line)
        answer = client.score(queries, "inner", k=3, holder="acme", line=line)
        seen.add(plan.dimensions_per_ciphertext)

        assert np.array_equal(answer.scores, ideal_scores(plan.plan, queries, ITEMS) / plan.plan.scale)
        assert answer.report.bytes_sent == plan.upload_bytes
        assert answer.report.bytes_received == plan.reply_bytes
        assert [r["query"] for r in answer.rows] == [0, 0, 0, 1, 1, 1]
    assert seen == {1, 2} or len(seen) == 1


def test_a_table_of_lists_without_the_rows_that_the_policy_hides(client):
    query = vectors(1, seed=3)
    answer = client.score(query[0], "listed", k=None)
    shown = [i for i in range(ROWS) if i % 3]

    assert np.array_equal(answer.scores, ideal(client, "listed", query, ITEMS[shown])[0])
    assert {r["label"] for r in answer.rows} == {NAMES[i] for i in shown}


def test_a_table_of_coordinates(client):
    query = np.array([[0.5, -0.5, 0.25, 0.1]])
    answer = client.score(query[0], "columns")

    assert np.array_equal(answer.scores, ideal(client, "columns", query, ITEMS[:, :4])[0])


def test_real_values_come_on_a_fine_grid(client):
    query = vectors(1, seed=4)[0].astype(np.float64)
    answer = client.score(query, "exact", scheme="ckks")
    items = ITEMS[:500].astype(np.float64)
    exact = items @ query / np.linalg.norm(items, axis=1) / np.linalg.norm(query)

    assert np.abs(answer.scores - exact).max() <= answer.report.worst_error < 1e-6
    assert answer.report.scheme == "ckks"
    assert answer.report.remaining == 30
    with pytest.raises(ParameterError):
        client.score(query, "products", scheme="ckks")


def test_what_is_not_in_the_policy_does_not_exist(client):
    for name in ("secret", "no such thing", "zoo/products"):
        with pytest.raises(PolicyDenied):
            client.score(vectors(1)[0], name)


def test_a_query_beyond_the_norm_is_refused_before_anything_is_sent(client):
    before = client._run(client.analyst.jobs(1000)).jobs
    with pytest.raises(RangeError):
        client.score(100 * vectors(1)[0], "inner")

    assert client._run(client.analyst.jobs(1000)).jobs == before


def test_a_budget_over_all_analysts_ends_in_a_typed_error(room, client):
    client.score(vectors(2), "few")
    with pytest.raises(BudgetExhausted) as caught:
        client.score(vectors(1)[0], "few")

    assert caught.value.fields["rule"] == "queries-of-all-clients"
    room.restart("acme")
    with pytest.raises(BudgetExhausted):
        room.client().score(vectors(1)[0], "few")


def killing(client, room, at):
    """Make the client kill the holder when the first frame of the reply comes."""
    original = client.analyst.peer.score

    async def score(frames):
        count = 0
        async for frame in original(frames):
            count += 1
            if count == at:
                process = room.process("acme")
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            yield frame

    client.analyst.peer.score = score


@pytest.mark.parametrize(("at", "charged"), [(1, 0), (2, 20)], ids=["before the query", "in its reply"])
def test_a_holder_that_is_killed_in_the_middle_is_named_and_the_next_query_works(room, at, charged):
    client = room.client()
    before = client.score(vectors(1)[0], "large").report.remaining
    killing(client, room, at=at)
    started = time.monotonic()
    try:
        with pytest.raises(TransportError) as caught:
            client.score(vectors(20), "large", timeout_s=60)
    finally:
        room.restart("acme")  # other tests share the room

    assert caught.value.fields.get("party") == "acme"
    assert time.monotonic() - started < 60
    again = room.client()
    answer = again.score(vectors(1)[0], "large")
    assert answer.report.remaining == before - charged - 1, "what was computed is charged, and nothing else"
    jobs = again._run(again.analyst.jobs(10)).jobs
    assert [(j.kind, j.state) for j in jobs[:2]] == [("score", "RELEASED"), ("score", "ABORTED")]


def test_a_holder_that_is_down_is_named(room):
    client = room.client()
    client.catalogues()
    room._end("acme")
    try:
        with pytest.raises(PartyUnavailable) as caught:
            client.score(vectors(1)[0], "products")
        assert caught.value.fields["party"] == "acme"
    finally:
        room._spawn("acme")
        room._await_ready()


def test_no_log_holds_a_vector_a_score_or_a_label(room, client):
    client.score(vectors(1, seed=9)[0], "products")
    logs = "".join(room.log(name) for name in ("acme", "zoo", "coordinator"))

    assert "product 0" not in logs
    assert "Traceback" not in logs


# ---- attacks on a reply that came through the room ---------------------------------------------------------------


def test_partial_sums_of_a_captured_reply_read_nothing(client, monkeypatch):
    """t12: the key holder opens every coefficient it was sent and divides by its own query."""
    kept = {}
    receive = Querier.receive

    def keeping(self, pending, message):
        kept.update(plan=self.plan, material=pending.key.material(), parameters=pending.key.parameter_set)
        kept["reply"] = message
        return receive(self, pending, message)

    monkeypatch.setattr(Querier, "receive", keeping)
    query = vectors(1, seed=6)
    answer = client.score(query[0], "products")
    plan = kept["plan"]
    reply = decode_reply(plan.shape, kept["reply"]).products[0]
    opener = decryptor(SecretKey(kept["parameters"], kept["material"]))
    slots = opener.decrypt(expand_replies(plan.product, plan.positions(), list(reply)))
    t, width = plan.parameters.plain_modulus, plan.spec.dimensions_per_ciphertext
    first = np.where(slots[0] > t // 2, slots[0].astype(np.int64) - t, slots[0].astype(np.int64))
    scores = first[width - 1 :: width][: plan.items_per_row]
    own = np.zeros(len(first))
    own[:width] = query_integers(plan, query)[0][:width]
    twist = np.exp(1j * np.pi * np.arange(len(first)) / len(first))
    guess = np.rint((np.fft.ifft(np.fft.fft(first * twist) / np.fft.fft(own * twist)) / twist).real)
    some = item_integers(plan, ITEMS[: plan.items_per_row])
    truth = item_polynomials(plan, some)[0]

    assert np.array_equal(scores / plan.scale, answer.scores[: len(scores)]), "the attack opens what it should"
    by_chance = len(first) / plan.item_bound
    assert int((guess == truth).sum()) <= 20 + 4 * by_chance


# ---- recommenders, and the command line --------------------------------------------------------------------------


def clicks(first, seed):
    rng = np.random.default_rng(seed)
    liked = rng.integers(0, 2, 80)
    pairs = [(first + u, f"i{i:02d}") for u in range(80) for i in rng.choice(15, 6, replace=False) + 15 * liked[u]]
    user, item = zip(*pairs, strict=True)
    return pa.table({"user": user, "item": item})


def test_a_users_own_vector_against_a_trained_models_items():
    tables = {name: {"clicks": clicks(1000 * k, k)} for k, name in enumerate(("north", "south"))}
    spec = ImplicitAls("clicks", "user", "item", dimension=8, iterations=4, minimum_users=2)
    with LocalRoom(tables) as room:
        model = room.client().train(spec).model
    bought = ["i01", "i03", "i07"]
    page = Path(querier.__file__).with_name("README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found = {"np": np, "LocalRoom": LocalRoom, "model": model, "seen": bought}
    exec(compile(code, "mpc/score/README.md", "exec"), found)
    answer = found["answer"]

    ours = [label for label in answer.labels() if label not in bought][:3]
    assert ours == [r.item for r in model.recommend(bought, k=3)]


def sealroom(room, *words, data=None):
    command = [sys.executable, "-m", "mpc.client.cli", *words, "--room", str(room.folder / "analyst")]
    return subprocess.run(command, capture_output=True, input=data, check=False)


def test_the_command_line_lists_explains_and_scores(room, tmp_path):
    query = vectors(1, seed=7)[0]
    np.save(tmp_path / "query.npy", query)
    listed = sealroom(room, "catalogues")
    scored = sealroom(
        room, "score", "--catalogue", "acme/products", str(tmp_path / "query.npy"), "-k", "3", "--json",
        "--output", str(tmp_path / "all.npy"),
    )  # fmt: skip
    text = " ".join(str(v) for v in query.tolist()).encode()
    piped = sealroom(room, "score", "-c", "products", "-", "-k", "3", "--format", "csv", data=text)
    explained = sealroom(room, "score", "-c", "products", "--explain", str(tmp_path / "query.npy"))
    jobs = sealroom(room, "jobs", "list", "--json")

    assert b"acme/products" in listed.stdout, listed.stderr
    assert scored.returncode == 0, scored.stderr
    found = json.loads(scored.stdout)
    assert [r["label"] for r in found["rows"]] == [NAMES[i] for i in np.argsort(-np.load(tmp_path / "all.npy"))[:3]]
    assert found["report"]["catalogue"] == "products"
    assert piped.stdout.decode().splitlines()[0] == "item,label,score"
    assert piped.stdout.decode().splitlines()[1].startswith(f"{found['rows'][0]['item']},")
    assert b"flooding" in explained.stdout
    assert json.loads(jobs.stdout)["jobs"][0]["kind"] == "score"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("no such file.npy",), 3), (("-",), 3), (("query.npy", "-c", "nothing"), 5), (("short.npy",), 3),
        (("zero.npy",), 7), (("long.npy", "-c", "inner"), 7), (("complex.npy",), 3), (("ragged.txt",), 3),
        (("query.npy", "-o", "no such folder/scores.npy"), 3),
    ],
    ids=["file", "empty", "unknown", "dimensions", "zero", "norm", "complex", "ragged", "output"],
)  # fmt: skip
def test_the_command_line_fails_in_words_and_costs_no_query(room, client, tmp_path, words, code, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "query.npy", vectors(1)[0])
    np.save(tmp_path / "short.npy", np.ones(3))
    np.save(tmp_path / "complex.npy", vectors(1)[0] * 1j)
    np.save(tmp_path / "zero.npy", np.zeros(DIMENSIONS))
    np.save(tmp_path / "long.npy", np.full(DIMENSIONS, 99.0))
    (tmp_path / "ragged.txt").write_text("1 2 3\n4 5\n")
    left = {o.path: o.remaining for o in client.catalogues()}
    given = words if "-c" in words else (*words, "-c", "products")
    done = sealroom(room, "score", *given, data=b"")

    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Warning" not in done.stderr
    assert not {b"dictionary", b"column"} & set(done.stderr.replace(b",", b" ").split())  # cures are those of a scoring
    assert {o.path: o.remaining for o in client.catalogues()} == left


def test_asynchronous_code_scores_with_the_same_calls(room):
    import asyncio

    from mpc.client import aio

    async def ask():
        async with aio.connect(room.folder / "analyst") as analyst:
            return await asyncio.gather(*(analyst.score(vectors(1, seed=s)[0], "products", k=1) for s in range(3)))

    answers = asyncio.run(ask())

    assert [len(a) for a in answers] == [1, 1, 1]
    assert len({a.report.job for a in answers}) == 3


def test_an_unknown_error_is_never_what_a_caller_sees(client):
    for query in (np.ones((2, 2, 2)), np.ones(0), np.array(["x"] * DIMENSIONS)):
        with pytest.raises((MpcError, ValueError)):
            client.score(query, "products")
