"""The scheme through its interfaces: what batches, threads, keys, bounds and files do."""

import pickle
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from mpc.entropy import FixedEntropy, SystemEntropy
from mpc.errors import ConfigurationError, KeyAccessError, ParameterError, RangeError, WireError
from mpc.keys.secret import SecretKey
from mpc.params import PARAMETER_SETS, SetId, parameter_set
from mpc.schemes.base import Floods, MultipliesPlain
from mpc.schemes.rlwe import public, secret
from mpc.schemes.rlwe.addition import _Scratch
from mpc.schemes.rlwe.blocks import Execution
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.ring import Arithmetic, ring
from mpc.schemes.rlwe.warm import STAGES
from mpc.schemes.rlwe.wire import HEADER_BYTES, Kind, decode_noise, encode_noise, parse, wire_format

SMALL = parameter_set("rlwe-2048-t30")
WIDE = parameter_set("rlwe-4096-t60")


@pytest.fixture(scope="module")
def pair():
    public_key, key = secret.generate(SMALL, SystemEntropy())
    return public_key, key.material()


def key(pair):
    return SecretKey(SMALL.id, pair[1])


def rows(count, parameters=SMALL, seed=1):
    random = np.random.default_rng(seed)
    return random.integers(0, parameters.plain_modulus, (count, parameters.slots), dtype=np.uint64)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 17])
def test_batches_of_any_size_return(pair, count):
    message = rows(count)
    for encryptor in (public.encryptor(pair[0]), secret.symmetric_encryptor(key(pair))):
        assert np.array_equal(secret.decryptor(key(pair)).decrypt(encryptor.encrypt(message)), message)


def test_public_and_seeded_ciphertexts_mix_in_one_batch(pair):
    message = rows(11)
    fresh, seeded = (
        public.encryptor(pair[0]).encrypt(message),
        secret.symmetric_encryptor(key(pair)).encrypt(message),
    )
    mixed = [fresh[i] if i % 3 else seeded[i] for i in range(11)]
    assert np.array_equal(secret.decryptor(key(pair)).decrypt(mixed), message)

    total = public.adder(SMALL).start(11)
    for batch in (mixed, seeded, fresh):
        total.add(batch)
    opened = secret.decryptor(key(pair)).decrypt(total.finish())
    assert np.array_equal(opened, message * np.uint64(3) % np.uint64(SMALL.plain_modulus))


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_no_bit(pair, threads):
    message = rows(72)
    outcomes = []
    for execution in (Execution(threads=1), Execution(threads=threads)):
        entropy = FixedEntropy(b"threads")
        batch = public.encryptor(pair[0], execution=execution, entropy=entropy).encrypt(message)
        batch += secret.symmetric_encryptor(key(pair), execution=execution, entropy=entropy).encrypt(message)
        total = public.adder(SMALL, execution=execution).start(len(batch))
        total.add(batch)
        total.add(batch)
        evaluator = public.evaluator(SMALL, execution=execution, entropy=entropy)
        again = evaluator.rerandomise(total.finish(), pair[0])
        opened = secret.decryptor(key(pair), execution=execution).decrypt(again)
        outcomes.append((batch, total.finish(), again, opened.tobytes()))

    assert outcomes[0] == outcomes[1]


def test_an_error_in_one_thread_is_raised(pair):
    batch = public.encryptor(pair[0]).encrypt(rows(40))
    batch[33] = batch[33][:16] + b"\xff" * (len(batch[33]) - 16)
    with pytest.raises(WireError, match="residue"):
        secret.decryptor(key(pair), execution=Execution(threads=4)).decrypt(batch)


def test_sums_may_run_in_several_threads_at_once(pair):
    message = rows(5)
    expected = message * np.uint64(4) % np.uint64(SMALL.plain_modulus)
    wrong = []

    def run():
        total = public.adder(SMALL).start(5)
        for _ in range(4):
            total.add(public.encryptor(pair[0]).encrypt(message))
        if not np.array_equal(secret.decryptor(key(pair)).decrypt(total.finish()), expected):
            wrong.append(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_key_follows_from_its_material_alone(pair):
    message = rows(2)
    public_key, other = secret.derive(SMALL, pair[1], b"round 1")
    again, same = secret.derive(SMALL, pair[1], b"round 1")

    assert public_key == again
    assert other == same
    assert len(other.material()) == 32
    assert secret.derive(SMALL, pair[1], b"round 2")[0] != public_key
    assert secret.derive(WIDE, pair[1], b"round 1")[1] != other
    assert np.array_equal(secret.decryptor(same).decrypt(public.encryptor(public_key).encrypt(message)), message)
    with pytest.raises(ParameterError):
        secret.derive(SMALL, pair[1][:31], b"round 1")


@pytest.mark.parametrize("size", [1, 31, 33])
def test_material_of_another_length_is_refused(size):
    with pytest.raises(ParameterError):
        secret.symmetric_encryptor(SecretKey(SMALL.id, bytes(size)))


def test_a_key_opens_once_and_holders_are_not_pickled(pair):
    once = key(pair)
    decryptor = secret.decryptor(once)
    with pytest.raises(KeyAccessError):
        secret.decryptor(once)
    for holder in (decryptor, secret.symmetric_encryptor(key(pair))):
        with pytest.raises(KeyAccessError):
            pickle.dumps(holder)


def test_seeds_are_fresh_per_batch_and_shared_within(pair):
    encryptor = secret.symmetric_encryptor(key(pair))
    first, second = encryptor.encrypt(rows(3)), encryptor.encrypt(rows(3))
    layout = wire_format(SMALL)

    assert len({parse(c, layout).seed for c in first}) == 1
    assert [parse(c, layout).index for c in first] == [0, 1, 2]
    assert parse(first[0], layout).seed != parse(second[0], layout).seed
    assert not {c[48:] for c in first} & {c[48:] for c in second}


def test_a_sum_beyond_the_bound_is_refused_and_changes_nothing(pair):
    message = rows(1)
    batch = public.encryptor(pair[0]).encrypt(message)
    total = public.adder(SMALL).start(1)
    for _ in range(SMALL.max_additions):
        total.add(batch)
    before = total.finish()
    with pytest.raises(WireError, match="more ciphertexts"):
        total.add(batch)
    expected = message * np.uint64(SMALL.max_additions) % np.uint64(SMALL.plain_modulus)

    assert total.finish() == before
    assert np.array_equal(secret.decryptor(key(pair)).decrypt(before), expected)


def test_a_bad_residue_late_in_a_contribution_is_rolled_back(pair):
    batch = public.encryptor(pair[0]).encrypt(rows(4)) + secret.symmetric_encryptor(key(pair)).encrypt(rows(2))
    bad = list(batch)
    bad[5] = bad[5][:-8] + b"\xff" * 8
    total, clean = public.adder(SMALL).start(6), public.adder(SMALL).start(6)
    for one in (total, clean):
        one.add(batch)
    with pytest.raises(WireError, match="residue"):
        total.add(bad)

    assert total.finish() == clean.finish()
    total.add(batch)
    clean.add(batch)
    assert total.finish() == clean.finish()


def test_a_seed_that_gives_too_few_residues_is_rolled_back(pair, monkeypatch):
    """Such a seed cannot be found by trying, so the expansion of the third one is made to fail."""
    batch = secret.symmetric_encryptor(key(pair)).encrypt(rows(5))
    total, clean = public.adder(SMALL).start(5), public.adder(SMALL).start(5)
    for one in (total, clean):
        one.add(batch)
    expand, third = _Scratch.expand, parse(batch[2], wire_format(SMALL)).index
    with monkeypatch.context() as patch:
        patch.setattr(_Scratch, "expand", lambda self, one: one.index != third and expand(self, one))
        with pytest.raises(WireError, match="too few"):
            total.add(batch)

    assert total.finish() == clean.finish()


def test_an_encryptor_takes_another_seed_when_one_gives_too_few(pair, monkeypatch):
    calls = []

    def refuse_first(words, scale, out):
        calls.append(1)
        return len(calls) > 1 and original(words, scale, out)

    original = pipeline().expand_block
    encryptor = secret.symmetric_encryptor(key(pair), execution=Execution(threads=1))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline(), "expand_block", refuse_first)
        batch = encryptor.encrypt(rows(3))

    assert len(calls) == 2
    assert np.array_equal(secret.decryptor(key(pair)).decrypt(batch), rows(3))


def test_lazy_sums_are_reduced_before_they_overflow():
    public_key, one = secret.generate(WIDE, SystemEntropy())
    message = rows(1, WIDE)
    batch = public.encryptor(public_key).encrypt(message)
    total = public.adder(WIDE).start(1)
    total._MOST_LAZY = 5
    for _ in range(23):
        total.add(batch)
    opened = secret.decryptor(one).decrypt(total.finish())

    assert np.array_equal(opened[0], message[0].astype(object) * 23 % WIDE.plain_modulus)


def test_a_sum_of_nothing_is_refused():
    with pytest.raises(ParameterError):
        public.adder(SMALL).start(3).finish()
    with pytest.raises(ParameterError):
        public.adder(SMALL).start(-1)


def test_ciphertexts_that_hide_nothing_are_refused(pair):
    fresh = public.encryptor(pair[0]).encrypt(rows(1))[0]
    half = (len(fresh) - HEADER_BYTES) // 2
    transparent = fresh[: HEADER_BYTES + half] + bytes(half)
    for kind in (Kind.PUBLIC, Kind.SUM):
        hostile = transparent[:5] + bytes([kind]) + transparent[6:]
        with pytest.raises(WireError, match="hides nothing"):
            secret.decryptor(key(pair)).decrypt([hostile])


def test_a_multiplied_row_of_zeros_can_be_covered(pair):
    """Its ciphertext is all zeros until it is re-randomised: an evaluator must not fail on what is secret."""
    parameters = parameter_set("rlwe-4096-t26")
    public_key, one = secret.generate(parameters, SystemEntropy())
    evaluator = public.evaluator(parameters)
    zeros = np.zeros((1, parameters.slots), dtype=np.uint64)
    product = evaluator.multiply_plain(
        public.encryptor(public_key).encrypt(rows(1, parameters)), zeros, coefficient_bound=1
    )
    out = evaluator.flood(product, public_key, flooding_bits=40)

    assert not secret.decryptor(one).decrypt(out).any()
    assert np.count_nonzero(np.frombuffer(out[0], dtype=np.uint8)) > len(out[0]) * 0.99


def test_an_evaluator_keeps_its_bounds(pair):
    parameters = parameter_set("rlwe-4096-t26")
    public_key, _ = secret.generate(parameters, SystemEntropy())
    batch = public.encryptor(public_key).encrypt(rows(1, parameters))
    evaluator = public.evaluator(parameters)
    factor = np.zeros((1, parameters.slots), dtype=np.uint64)
    factor[0, :3] = 5, parameters.plain_modulus - 5, 1

    assert isinstance(evaluator, MultipliesPlain)
    assert isinstance(evaluator, Floods)
    with pytest.raises(RangeError):
        evaluator.multiply_plain(batch, factor, coefficient_bound=4)
    with pytest.raises(RangeError):
        evaluator.multiply_plain(batch, factor, coefficient_bound=5, terms=2)
    product = evaluator.multiply_plain(batch, factor, coefficient_bound=5, terms=3)
    with pytest.raises(ParameterError, match="no room"):
        evaluator.flood(product, public_key, flooding_bits=70)
    with pytest.raises(ParameterError):
        evaluator.flood(product, public_key, flooding_bits=0)
    with pytest.raises(ParameterError):
        evaluator.flood(product, pair[0], flooding_bits=40)
    with pytest.raises(ParameterError, match="one row"):
        evaluator.multiply_plain(batch * 2, factor)
    with pytest.raises(ParameterError, match="no room"):
        public.evaluator(SMALL).multiply_plain(public.encryptor(pair[0]).encrypt(rows(1)), rows(1))
    flooded = evaluator.flood(product, public_key, flooding_bits=40)
    assert parse(flooded[0], wire_format(parameters)).noise > 2**40 * parse(product[0], wire_format(parameters)).noise


def test_what_an_evaluator_states_does_not_depend_on_the_plaintext(pair):
    parameters = parameter_set("rlwe-4096-t26")
    public_key, _ = secret.generate(parameters, SystemEntropy())
    batch = public.encryptor(public_key).encrypt(rows(2, parameters))
    factors = np.zeros((2, parameters.slots), dtype=np.uint64)
    factors[1] = 1
    outcomes = public.evaluator(parameters).multiply_plain(batch, factors, coefficient_bound=1)

    assert outcomes[0][:HEADER_BYTES] == outcomes[1][:HEADER_BYTES]
    assert len(outcomes[0]) == len(outcomes[1])


@pytest.mark.parametrize("bound", [1, 2, 3, 21, 22, 2891, (1 << 40) - 1, 1 << 40, (1 << 89) + 1])
def test_noise_codes_round_up_by_less_than_one_percent(bound):
    assert bound <= decode_noise(encode_noise(bound)) <= max(bound + 1, bound * 1.01)


def test_execution_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("SEALROOM_RLWE_ARITHMETIC", "portable")
    assert Execution().ring(SMALL).arithmetic is Arithmetic.PORTABLE
    monkeypatch.setenv("SEALROOM_RLWE_ARITHMETIC", "magic")
    with pytest.raises(ConfigurationError):
        Execution().ring(SMALL)
    monkeypatch.setenv("SEALROOM_THREADS", "3")
    assert Execution().workers() == 3
    monkeypatch.setenv("SEALROOM_THREADS", "-1")
    with pytest.raises(ConfigurationError):
        Execution().workers()
    assert Execution(threads=2).workers() == 2


def test_a_processor_without_ifma_is_not_asked_for_it(monkeypatch):
    monkeypatch.setattr("mpc.schemes.rlwe.kernels.host.host_has_ifma", lambda: False)
    monkeypatch.delenv("SEALROOM_RLWE_ARITHMETIC", raising=False)
    assert Execution().ring(SMALL).arithmetic is Arithmetic.PORTABLE
    with pytest.raises(ConfigurationError, match="IFMA"):
        Execution(arithmetic=Arithmetic.IFMA).ring(SMALL)


def test_other_schemes_sets_are_refused():
    clear = parameter_set("insecure-clear-4096-t62")
    with pytest.raises(ParameterError):
        ring(clear.id, Arithmetic.PORTABLE)
    with pytest.raises(ParameterError):
        bounds(clear)
    with pytest.raises(ParameterError):
        public.adder(clear)


def test_warming_up_runs_everything():
    for stage in (*STAGES.values(), *secret.STAGES.values()):
        stage([SMALL, parameter_set("rlwe-4096-p60")])


def run(code, **environment):
    """A fresh interpreter with its own environment."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_the_scheme_loads_no_compiler_and_the_public_side_no_secret():
    code = "import sys; import mpc.schemes.rlwe, mpc.schemes.rlwe.public, mpc.schemes.rlwe.warm; "
    assert run(code + "print('numba' in sys.modules, 'mpc.keys.secret' in sys.modules)") == ["False", "False"]


def test_code_is_kept_where_only_this_user_writes(tmp_path):
    code = "from mpc.schemes.rlwe.kernels.compiled import cache_directory as c; print(c())"
    mine, shared = tmp_path / "mine", tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    kept = run(code, NUMBA_CACHE_DIR=str(shared), XDG_CACHE_HOME=str(mine))

    assert kept[0].startswith(str(mine / "sealroom" / "rlwe-"))
    assert not any(shared.iterdir())
    assert run(code, HOME=str(mine))[0].startswith(str(mine / ".cache" / "sealroom"))
    assert run(code, HOME="/proc/none", TMPDIR=str(mine))[0].startswith(str(mine / "sealroom-"))


@pytest.mark.slow
def test_kernels_run_where_nothing_is_writable():
    """A read-only container: every candidate directory fails, and code is compiled in memory."""
    code = """
import mpc.schemes.rlwe.kernels.compiled as compiled
compiled._private = lambda directory: False
from mpc.entropy import SystemEntropy
from mpc.params import parameter_set
from mpc.schemes.rlwe import secret
secret.generate(parameter_set("rlwe-2048-t30"), SystemEntropy())
print(compiled.cache_directory(), type(compiled.compiled(lambda: 1)._cache).__name__)
"""
    assert run(code) == ["None", "NullCache"]


def test_parameter_sets_are_named_and_numbered():
    mine = [p for name, p in PARAMETER_SETS.items() if name.startswith("rlwe-")]

    assert {p.wire_id for p in mine} <= set(range(30, 50))
    assert all(p.id == SetId(p.id) and replace(p, id=SetId("x")) != p for p in mine)
    for parameters in mine:
        layout = wire_format(parameters)
        assert layout.lengths[Kind.PUBLIC] == parameters.ciphertext_bytes
        assert layout.lengths[Kind.SEEDED] == parameters.symmetric_ciphertext_bytes
        assert layout.lengths[Kind.PUBLIC_KEY] == parameters.public_key_bytes
