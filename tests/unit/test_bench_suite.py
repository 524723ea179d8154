"""The list of cases, the sums they run, the modelled line, and other libraries on the same work."""

import asyncio
import itertools
import subprocess
import sys
import time

import numpy as np
import pytest

from mpc.client.bench import arithmetic, relay, room_scoring, scoring, sums, training
from mpc.client.bench.blas import threads_of_blas
from mpc.client.bench.cases import Level, Resources, Unavailable, security_bits
from mpc.client.bench.drift import Drift
from mpc.client.bench.machine import describe_machine
from mpc.client.bench.peers import rounds, vectors
from mpc.client.bench.relay import Line
from mpc.client.bench.runner import Runner
from mpc.client.bench.suite import SECTIONS, select
from mpc.client.bench.tables import arithmetic_sheet
from mpc.client.local import free_ports
from mpc.errors import ConfigurationError
from mpc.learn import ArrayRows, LinearRegression, Numeric, program
from mpc.params import PARAMETER_SETS, parameter_set
from mpc.plan import choose_parameters
from mpc.plan.cost import cost_of
from mpc.primitives import run_ideal
from mpc.schemes.rlwe.blocks import DEFAULT
from mpc.schemes.rlwe.kernels.host import host_has_ifma


def smoke(*only):
    return Runner(level=Level.SMOKE, drift=Drift()).run(select(Level.SMOKE, only))


@pytest.mark.parametrize("level", list(Level))
def test_paths_are_unique_and_belong_to_their_section(level):
    cases = select(level, peers=True)

    assert len({c.path for c in cases}) == len(cases)
    for name, section in SECTIONS.items():
        found = list(section(level))
        assert found
        assert all(c.path.startswith(name + "/") and c.path.startswith(c.group) for c in found)


def test_cases_of_a_group_follow_each_other():
    groups = [c.group for c in select(Level.FULL, peers=True)]
    changes = sum(a != b for a, b in itertools.pairwise(groups))

    assert changes == len(set(groups)) - 1


def test_every_parameter_set_has_every_basic_operation():
    paths = {c.path for c in select(Level.SMOKE)}

    for name in PARAMETER_SETS:
        for operation in ("keygen", "encrypt", "encrypt-symmetric", "add", "decrypt"):
            assert f"micro/schemes/{name}/{operation}" in paths


def test_a_selection_is_by_whole_parts_of_the_path():
    assert {c.path for c in select(Level.SMOKE, ("micro/masks",))} == {f"micro/masks/p{p}" for p in (2, 3, 5)}
    assert all(c.path.startswith("protocols/sum/") for c in select(Level.SMOKE, ("protocols/sum",)))
    assert [c.path for c in select(Level.SMOKE, ("micro/masks/p2/",))] == ["micro/masks/p2"]


def test_peers_run_only_when_they_are_asked_for():
    assert not any(c.path.startswith("peers/") for c in select(Level.SMOKE))
    assert any(c.path.startswith("peers/") for c in select(Level.SMOKE, peers=True))
    assert all(c.path.startswith("peers/") for c in select(Level.SMOKE, ("peers",)))


def test_an_unknown_path_is_refused():
    with pytest.raises(ConfigurationError, match="micro/nothing"):
        select(Level.SMOKE, ("micro/schemes", "micro/nothing"))


@pytest.mark.parametrize("name", ["insecure-clear-4096-t62", "rlwe-2048-t30", "bfv-4096-t40", "paillier-3072-s64"])
def test_scheme_cases_are_right_and_complete(name):
    results = smoke(f"micro/schemes/{name}")

    assert [s for s in results.skipped if s.failed] == []
    rows = {r.labels["operation"]: r for r in results.rows}
    assert rows["encrypt"].wire.up_bytes == rows["encrypt"].values // parameter_set(name).slots * (
        parameter_set(name).ciphertext_bytes
    )
    assert all(r.security_bits == security_bits(parameter_set(name)) and r.ratios for r in results.rows)


def test_every_subject_of_the_arithmetic_table_is_right():
    results = smoke("micro/arithmetic")

    assert not any(s.failed for s in results.skipped)
    sheet = arithmetic_sheet(results)
    subjects = {cells[0] for cells in sheet.rows}
    assert subjects >= {
        "rlwe-2048-t30-portable-1t",
        "paillier-3072-s64",
        "tenseal-bfv-8192",
        "seal-4096",
        "phe-2048",
        "numpy",
    }
    assert all(r.figures["table_bytes"] > 0 for r in results.rows if r.labels["operation"] == "table")


def test_every_role_of_ckks_is_right():
    results = smoke("micro/ckks")

    assert results.skipped == ()
    rows = {r.labels["operation"]: r for r in results.rows}
    assert rows["encrypt"].wire.up_bytes > rows["multiply-and-flood"].wire.down_bytes > 0
    assert all(r.security_bits == 128 for r in results.rows)


def test_both_arithmetic_paths_are_taken():
    for path in ("portable", "ifma") if host_has_ifma() else ("portable",):
        with arithmetic.path_chosen(path):
            assert DEFAULT.ring(parameter_set("rlwe-2048-t30")).portable is (None if path == "ifma" else True)


@pytest.mark.parametrize(
    "path", ["protocols/score/d16/n300", "peers/score/sealroom", "peers/score/tenseal", "learn/pca"]
)
def test_products_in_the_clear_use_the_one_thread_that_their_row_says(path):
    if threads_of_blas() < 2:
        pytest.skip("numpy multiplies with one thread here, or does not tell")
    seen, before = [], threads_of_blas()
    (case,) = select(Level.SMOKE, (path,))

    with Resources() as resources, case.prepare(resources) as work:
        assert work.threads == 1
        seen.append(threads_of_blas())

    assert seen == [1]
    assert threads_of_blas() == before


def test_a_product_of_phe_is_with_a_factor_as_long_as_its_values(monkeypatch):
    from phe import paillier

    factors, multiply = [], paillier.EncryptedNumber.__mul__
    monkeypatch.setattr(paillier.EncryptedNumber, "__mul__", lambda self, by: factors.append(by) or multiply(self, by))
    op = vectors.SUBJECTS["phe-2048"][1](Level.QUICK).op("multiply-plain")

    op.check(op.run(None))

    assert {factor.bit_length() for factor in factors} == {40}


def test_bits_of_a_value_are_those_of_the_plaintext_modulus_for_every_library():
    bits = {name: vectors.SUBJECTS[name][1](Level.SMOKE).bits for name in ("tenseal-bfv-4096", "seal-4096")}
    own = arithmetic._own_ops("rlwe-4096-t60", Level.SMOKE)

    assert bits == {"tenseal-bfv-4096": 53, "seal-4096": 53}
    assert own.bits == 60


def test_what_was_set_is_written_down(tmp_path, monkeypatch):
    costs = tmp_path / "costs.toml"
    monkeypatch.setenv("SEALROOM_COSTS", str(costs))
    monkeypatch.setenv("SEALROOM_RLWE_ARITHMETIC", "portable")
    monkeypatch.delenv("SEALROOM_THREADS", raising=False)
    assert describe_machine().settings["SEALROOM_RLWE_ARITHMETIC"] == "portable"
    assert "costs" not in describe_machine().settings

    costs.write_text("]")
    assert describe_machine().settings["costs"] == "a file that cannot be read"


def test_a_slice_of_tenseal_takes_the_time_of_a_full_one():
    items, asked = scoring.unit_vectors(4096, 8, 0).astype(np.float32), scoring.unit_vectors(1, 8, 1)[0]

    assert room_scoring._tenseal_s(items[:400], asked) > 0.3 * room_scoring._tenseal_s(items, asked)


def test_masks_and_sums_are_right():
    results = smoke("micro/masks", "protocols/sum")

    assert results.skipped == ()
    assert all(r.phases.keys() == {"party", "coordinator", "recipient"} for r in results.rows if "protocols" in r.path)


def test_a_round_can_be_run_again_under_its_key():
    data = sums.vectors(2, 5000)
    runner = sums.RoundRunner(parameter_set("rlwe-2048-t30"), sums.requests_of(data))

    for _ in range(2):
        assert np.array_equal(runner.run().totals["x"], np.sum(data, axis=0))


@pytest.mark.parametrize("name", ["rlwe-2048-t30", "rlwe-4096-t60", "bfv-4096-t40", "insecure-clear-4096-t62"])
@pytest.mark.parametrize("length", [1, 3000, 20_000])
def test_predicted_bytes_are_the_measured_ones(name, length):
    parties, parameters = 3, parameter_set(name)
    requests = sums.requests_of(sums.vectors(parties, length))
    predicted = cost_of(requests[0].header.segments, parties, parameters)

    wire = sums.RoundRunner(parameters, requests).run().wire

    assert abs(wire.up_bytes / (parties * predicted.upload_bytes) - 1) <= 0.02
    assert abs(wire.down_bytes / predicted.download_bytes - 1) <= 0.02


def test_training_over_encrypted_sums_gives_the_ideal_model():
    draw = np.random.default_rng(5)
    columns = {"x": draw.normal(size=300).clip(-5, 5), "y": draw.normal(size=300).clip(-5, 5)}
    rooms = [ArrayRows({n: v[p::2] for n, v in columns.items()}) for p in range(2)]
    spec = LinearRegression(table="t", target="y", features=(Numeric("x", minimum=-5, maximum=5),),
                            target_minimum=-5, target_maximum=5)  # fmt: skip
    ledger = training.Ledger()

    models = training.run_encrypted([program(spec, r, parties=2) for r in rooms], ledger)

    assert models[0].digest() == run_ideal([program(spec, r, parties=2) for r in rooms])[0].digest()
    assert ledger.rounds >= 2
    assert ledger.up_bytes > 0


def test_the_first_encrypted_training_is_the_cold_one(monkeypatch):
    ran, run = [], training.run_encrypted
    monkeypatch.setattr(training, "run_encrypted", lambda *args: ran.append(1) or run(*args))
    (case,) = select(Level.SMOKE, ("learn/pca",))

    with Resources() as resources, case.prepare(resources) as work:
        assert not ran
        model, ledger = work.run(None)

    assert work.values == 3 * ledger.values
    assert work.notes.endswith(", ".join(sorted(ledger.sets)))
    assert f"{ledger.rounds} sums" in work.notes
    work.check((model, ledger))


def test_private_scores_are_right():
    results = smoke("protocols/score", "peers/score/sealroom")

    assert results.skipped == ()
    assert all(r.wire.up_bytes > 0 and r.wire.down_bytes > 0 for r in results.rows)


def test_models_are_right():
    results = smoke("learn")

    assert results.skipped == ()
    assert {r.labels["model"] for r in results.rows} >= {"ease", "als", "logistic-regression", "k-means"}


@pytest.mark.parametrize(
    "name", ["tenseal-bfv", "tenseal-bfv-4096", "seal-4096", "tenseal-ckks", "nvflare-round", "phe", "score/tenseal"]
)
def test_libraries_that_come_with_us_give_the_right_total(name):
    results = smoke(f"peers/{name}")

    assert results.skipped == ()
    row = results.rows[0]
    assert row.scheme.split()[1][0].isdigit()
    assert row.wire.up_bytes > 0
    assert row.security_bits in {112, 128}


def test_heu_is_right_or_named_as_absent():
    results = smoke("peers/sf-heu")

    assert results.rows or results.skipped[0].reason.startswith("sf-heu")
    assert not any(s.failed for s in results.skipped)


def test_a_library_that_is_not_installed_is_named():
    with pytest.raises(Unavailable, match="no-such-library is not installed"):
        rounds.version("no-such-library")


def test_a_wrong_total_of_a_library_is_noticed():
    peer = rounds._PEERS["tenseal-ckks"].make()
    data = sums.vectors(2, 100)
    opened = peer.open(peer.add([peer.contribute(v) for v in data]), 100)

    assert peer.right(opened, np.sum(data, axis=0))
    assert not peer.right(opened, np.sum(data, axis=0) + (1 << 30))


def test_a_line_carries_its_rate_whatever_the_number_of_senders():
    line = Line(0.05, 1000.0)

    arrivals = [line.arrival(100, now=0.0) for _ in range(5)]

    assert arrivals == pytest.approx([0.15, 0.25, 0.35, 0.45, 0.55])
    assert line.arrival(100, now=10.0) == pytest.approx(10.15)


async def _through_relay(size, delay_s, bytes_per_s):
    async def echo(reader, writer):
        writer.write(await reader.readexactly(size))
        await writer.drain()
        writer.close()

    target, listen = free_ports(2)
    server = await asyncio.start_server(echo, "127.0.0.1", target)
    relaying = asyncio.create_task(relay.serve(listen, target, delay_s=delay_s, bytes_per_s=bytes_per_s))
    try:
        for _ in range(100):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", listen)
                break
            except OSError:
                await asyncio.sleep(0.01)
        sent = np.random.default_rng(1).bytes(size)
        start = time.monotonic()
        writer.write(sent)
        got = await reader.readexactly(size)
        taken = time.monotonic() - start
        writer.close()
        return sent == got, taken
    finally:
        relaying.cancel()
        server.close()
        await asyncio.gather(relaying, return_exceptions=True)


@pytest.mark.parametrize(("size", "least"), [(10, 0.08), (125_000, 0.08 + 2 * 0.1)])
async def test_an_echo_takes_the_round_trip_and_the_bytes_over_the_rate(size, least):
    same, taken = await _through_relay(size, 0.04, 1_250_000)

    assert same
    assert least * 0.99 <= taken < least + 1.0


def test_a_line_ends_with_the_process_that_began_it():
    words = [sys.executable, "-m", "mpc.client.bench.relay", *map(str, free_ports(2)), "1", "100"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as line:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                line.wait(timeout=1.0)
            line.stdin.close()  # as the system does when its holder dies
            assert line.wait(timeout=20) == 0
        finally:
            line.kill()


def test_the_planner_chooses_by_length():
    short, long = (sums.requests_of(sums.vectors(3, n))[0].header.segments for n in (3, 50_000))

    assert choose_parameters(long, 3).parameters.scheme == "rlwe"
    assert choose_parameters(short, 3).upload_bytes < choose_parameters(long, 3).upload_bytes


def test_resources_are_per_group():
    with Resources() as one, Resources() as two:
        assert one.get("a", object) is not two.get("a", object)
