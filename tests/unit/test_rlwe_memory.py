"""What working memory holds after use: memory that waits in a pool, or goes back to the system, holds no secret."""

import gc
import inspect

import numpy as np
import pytest

from mpc.entropy import SystemEntropy
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes.rlwe import encryption, products, secret
from mpc.schemes.rlwe.blocks import Execution, Pool, readers
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.ring import LANES

SET = parameter_set("rlwe-2048-t30")
PUBLIC = {"packed", "public", "uniform"}
"""Arrays that hold what is sent, or what a seed that is sent stands for."""


@pytest.fixture(scope="module")
def pair():
    public_key, key = secret.generate(SET, SystemEntropy())
    return public_key, key.material()


def key(pair):
    return SecretKey(SET.id, pair[1])


def encryptor(kind, pair, threads=1):
    execution = Execution(threads=threads)
    if kind == "public":
        return encryption.PublicEncryptor(pair[0], execution=execution)
    return secret.SymmetricEncryptor(key(pair), execution=execution)


MODULES = {"public": encryption, "symmetric": secret}
ROWS = np.full((5 * LANES + 3, SET.slots), SET.plain_modulus - 1, dtype=np.uint64)


@pytest.fixture
def pools(monkeypatch):
    """Fresh pools in both modules; what lies idle in them."""
    fresh = {}
    for kind, module in MODULES.items():
        pool = Pool(lambda module=module: module._Scratch(Execution().ring(SET)))
        monkeypatch.setattr(module, "_scratches", lambda *_, pool=pool: pool)
        fresh[kind] = pool
    return fresh


def secret_arrays(pool):
    """Arrays of idle pieces that are not known to be public, by name."""
    idle = list(pool._idle)
    assert idle, "void unless memory was kept"
    return [(n, a) for piece in idle for n, a in vars(piece).items() if n not in PUBLIC and isinstance(a, np.ndarray)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", MODULES)
def test_the_pooled_memory_of_encryption_holds_only_zeros_after_use(pools, pair, kind, threads):
    assert len(encryptor(kind, pair, threads).encrypt(ROWS)) == len(ROWS)
    kept = secret_arrays(pools[kind])

    assert kept
    assert [name for name, array in kept if array.any()] == []


@pytest.mark.parametrize("kind", MODULES)
def test_it_does_so_after_an_encryption_that_failed(pools, pair, kind, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(MODULES[kind], "encode", fail)
        with pytest.raises(MemoryError):
            encryptor(kind, pair).encrypt(ROWS)

    assert [name for name, array in secret_arrays(pools[kind]) if array.any()] == []


def watched(monkeypatch, kernel):
    """The arguments of a kernel's calls by name: the very arrays, whose memory is not given back meanwhile."""
    true, calls = getattr(pipeline(), kernel), []
    signature = inspect.signature(true)

    def call(*given, **named):
        bound = signature.bind(*given, **named).arguments
        done = true(*given, **named)
        calls.append((bound, {n: bool(a.any()) for n, a in bound.items() if isinstance(a, np.ndarray)}))
        return done

    monkeypatch.setattr(pipeline(), kernel, call)
    return calls


@pytest.mark.parametrize("use", ["generate", "derive", "encrypt", "decrypt"])
def test_the_making_of_a_key_leaves_nothing_of_it(monkeypatch, pair, use):
    calls = watched(monkeypatch, "make_key")
    {
        "generate": lambda: secret.generate(SET, SystemEntropy()),
        "derive": lambda: secret.derive(SET, bytes(32), b"round"),
        "encrypt": lambda: secret.SymmetricEncryptor(key(pair)),
        "decrypt": lambda: secret.RlweDecryptor(key(pair)),
    }[use]()

    ((arrays, filled),) = calls
    for name in ("words", "work", "secret"):
        assert filled[name], "void unless it held something"
        assert not arrays[name].any(), name


@pytest.mark.parametrize(("name", "used"), [("rlwe-2048-t30", ("c0", "low")), ("rlwe-4096-t60", ("c0", "low", "high"))])
def test_opening_leaves_nothing_of_what_it_opened(monkeypatch, name, used):
    parameters = parameter_set(name)
    slots = np.full((2 * LANES + 1, parameters.slots), parameters.plain_modulus - 1, dtype=np.uint64)
    public_key, own = secret.generate(parameters, SystemEntropy())
    sent = encryption.PublicEncryptor(public_key).encrypt(slots)
    calls = watched(monkeypatch, "open_block")
    opened = secret.RlweDecryptor(own, execution=Execution(threads=1)).decrypt(sent)

    assert np.array_equal(opened, slots)
    assert len(calls) == 3
    for arrays, filled in calls:
        assert all(filled[one] for one in used), "void unless they held something"
        assert [one for one in ("high", "low", "c0") if arrays[one].any()] == []
    waiting = readers(parameters.id, Execution().ring(parameters).arithmetic)._idle
    assert waiting
    assert not any(reader.c0.any() for reader in waiting)


def test_covering_a_reply_leaves_no_coins():
    scratch = products._Scratch(Execution().ring(SET))
    for array in vars(scratch).values():
        array.fill(1)
    scratch.release()

    assert not scratch.words.any()
    assert not scratch.work.any()


def test_a_pool_takes_a_piece_back_whatever_happens_and_hands_it_out_again():
    pool = Pool(lambda: np.ones(3))
    with pool.use() as first, pool.use() as second:
        assert first is not second
    with pytest.raises(KeyError), pool.use():
        raise KeyError

    assert len(pool._idle) == 2


@pytest.mark.parametrize("kind", ["encryptor", "decryptor"])
def test_the_form_of_a_secret_that_products_read_goes_with_its_holder(pair, kind):
    holder = (secret.symmetric_encryptor if kind == "encryptor" else secret.decryptor)(key(pair))
    table = holder._minus_s if kind == "encryptor" else holder._s
    assert table.any()
    del holder
    gc.collect()

    assert not table.any()
