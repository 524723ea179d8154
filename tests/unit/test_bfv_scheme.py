"""What is particular to `bfv`: the secret's form, the limits of exactness, what is loaded, threads and files."""

import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mpc.entropy import FixedEntropy, Keystream, SystemEntropy, uniform_below
from mpc.errors import KeyAccessError, ParameterError
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes.bfv import native, public, secret
from mpc.schemes.bfv.wire import pack, unpack
from mpc.schemes.header import Kind

SETS = [parameter_set("bfv-4096-t40"), parameter_set("bfv-8192-t60")]


@pytest.fixture(params=SETS, ids=lambda p: p.id)
def parameters(request):
    return request.param


def _signed(values, modulus):
    return [int(v) if v <= modulus // 2 else int(v) - modulus for v in values]


def _constant(parameters, numerator, denominator=1):
    """A component whose every coefficient is floor(q numerator / denominator), as residues."""
    value = math.prod(parameters.lattice.moduli) * numerator // denominator
    return [[value % p] * parameters.slots for p in parameters.lattice.moduli]


def test_seal_holds_exactly_the_packed_ternary_secret(parameters):
    """The ciphertext (0, q/t) opens to the secret itself (which is why a key opens once, and nothing leaves it)."""
    _, key = secret.generate(parameters, SystemEntropy())
    q, t = math.prod(parameters.lattice.moduli), parameters.plain_modulus
    residues = np.zeros((2, len(parameters.lattice.moduli), parameters.slots), dtype=np.uint64)
    residues[1, :, 0] = [q // t % p for p in parameters.lattice.moduli]
    context = native.native_context(parameters)
    decryptor, ciphertext, plaintext = (
        secret.decryptor(key)._decryptor,
        secret.seal.Ciphertext(),
        secret.seal.Plaintext(),
    )
    with native.Scratch() as scratch:
        context.load_ciphertext(ciphertext, residues, scratch)
        decryptor.decrypt(ciphertext, plaintext)
        opened = _signed(context.plaintext_coefficients(plaintext, scratch), t)
    packed = [(0, 1, -1)[byte >> shift & 3] for byte in key.material() for shift in (0, 2, 4, 6)]

    assert opened + [0] * (parameters.slots - len(opened)) == packed
    assert set(packed) == {-1, 0, 1}


def test_ternary_coefficients_are_uniform():
    """Chi-square of 300,000 coefficients on 3 cells; alpha = 1e-6 with 2 degrees of freedom: 2 ln 10^6 = 27.63."""
    codes = secret._uniform_ternary(300_000, FixedEntropy(b"ternary"))
    counts = np.bincount(codes, minlength=3)

    assert counts.size == 3
    assert float(((counts - 1e5) ** 2 / 1e5).sum()) < 27.63


def test_packed_codes_return():
    codes = secret._uniform_ternary(4096, FixedEntropy(b"pack"))

    assert np.array_equal(secret._unpack_codes(secret._pack_codes(codes)), codes)


@pytest.mark.parametrize(
    "material",
    [
        b"\x61" * 1023,
        b"\x61" * 1025,
        b"\x61" * 1023 + b"\x03",
        b"\xff" * 1024,
        bytes(1024),
        b"\x55" * 1024,
        b"\x05" * 1024,
    ],
    ids=["short", "long", "one invalid code", "invalid codes", "zero", "no zeros", "half zeros"],
)
def test_bytes_that_are_no_ternary_secret_are_refused(material):
    for use in (secret.decryptor, secret.symmetric_encryptor):
        with pytest.raises(KeyAccessError):
            use(SecretKey(SETS[0].id, material))


def test_a_member_of_a_group_rebuilds_the_key_from_its_packed_bytes(parameters):
    public_key, key = secret.generate(parameters, SystemEntropy())
    member = SecretKey(parameters.id, key.material())
    rows = uniform_below(Keystream(b"g" * 32), parameters.slots, parameters.plain_modulus).reshape(1, -1)

    assert np.array_equal(secret.decryptor(member).decrypt(public.encryptor(public_key).encrypt(rows)), rows)
    assert np.array_equal(secret.decryptor(key).decrypt(secret.symmetric_encryptor(member).encrypt(rows)), rows)


@pytest.mark.parametrize(("share", "exact"), [((1, 4), True), ((127, 256), True), ((129, 256), False)])
def test_decryption_is_exact_up_to_half_a_step_of_noise(parameters, share, exact):
    """`max_additions` stops at a quarter of a step: SEAL's approximations have the other quarter to themselves."""
    public_key, key = secret.generate(parameters, SystemEntropy())
    rows = uniform_below(Keystream(b"b" * 32), parameters.slots, parameters.plain_modulus).reshape(1, -1)
    residues = unpack(public.encryptor(public_key).encrypt(rows)[0], parameters, Kind.CIPHERTEXT)
    moduli = np.array(parameters.lattice.moduli, dtype=np.uint64)[:, None]
    noise = np.array(_constant(parameters, share[0], share[1] * parameters.plain_modulus), dtype=np.uint64)
    residues[0] = (residues[0] + noise) % moduli
    opened = secret.decryptor(key).decrypt([pack(residues, parameters, Kind.CIPHERTEXT)])

    assert np.array_equal(opened, rows) is exact


def test_a_sum_refuses_more_additions_than_are_exact(parameters):
    total = public.adder(parameters).start(0)
    for _ in range(parameters.max_additions):
        total.add([])

    with pytest.raises(ParameterError):
        total.add([])


def test_a_sum_ends_once_and_not_before_it_began(parameters):
    total = public.adder(parameters).start(0)
    with pytest.raises(ParameterError):
        total.finish()
    total.add([])
    total.finish()

    with pytest.raises(ParameterError):
        total.finish()
    with pytest.raises(ParameterError):
        total.add([])


@pytest.mark.parametrize("count", [254, 255, 256, 257, 511])
def test_lazy_sums_do_not_overflow_their_words(count):
    """The largest residues of a 56-bit prime: 255 of them fit into 64 bits."""
    parameters = SETS[0]
    largest = np.array(parameters.lattice.moduli, dtype=np.uint64)[None, :, None] - np.uint64(1)
    data = pack(np.broadcast_to(largest, (2, 2, parameters.slots)), parameters, Kind.CIPHERTEXT)
    total = public.adder(parameters).start(1)
    for _ in range(count):
        total.add([data])
    residues = unpack(total.finish()[0], parameters, Kind.CIPHERTEXT)

    for i, prime in enumerate(parameters.lattice.moduli):
        assert set(residues[:, i].ravel().tolist()) == {count * (prime - 1) % prime}


def test_adding_and_validating_load_neither_seal_nor_secrets(tmp_path):
    public_key, _ = secret.generate(SETS[0], SystemEntropy())
    paths = [tmp_path / "key", tmp_path / "ciphertext"]
    ciphertext = public.encryptor(public_key).encrypt(np.zeros((1, 4096), dtype=np.uint64))[0]
    for path, data in zip(paths, (public_key.data, ciphertext), strict=True):
        path.write_bytes(data)
    program = f"""
import sys, pathlib
from mpc.params import parameter_set
from mpc.schemes import public
key, data = (pathlib.Path(p).read_bytes() for p in {[str(p) for p in paths]!r})
parameters = parameter_set("bfv-4096-t40")
public.validate_public_key(parameters, key)
total = public.adder(parameters).start(1)
total.add([data])
total.finish()
print([m for m in ("tenseal", "_tenseal_cpp", "_sealapi_cpp", "phe", "numba", "mpc.keys.secret") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_threads_share_an_encryptor(parameters):
    public_key, key = secret.generate(parameters, SystemEntropy())
    encryptor, decryptor = public.encryptor(public_key), secret.decryptor(key)
    rows = [np.full((3, parameters.slots), i, dtype=np.uint64) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda r: decryptor.decrypt(encryptor.encrypt(r)), rows))

    assert all(np.array_equal(a, b) for a, b in zip(opened, rows, strict=True))


def test_without_memory_files_a_private_file_serves_and_is_removed(monkeypatch, tmp_path):
    """As on systems that are not Linux."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with native.Scratch() as scratch:
        scratch.write(b"x" * 10)
        mode = Path(scratch.path).stat().st_mode & 0o777
    public_key, key = secret.generate(SETS[0], SystemEntropy())
    rows = np.full((1, 4096), 5, dtype=np.uint64)

    assert mode == 0o600
    assert np.array_equal(secret.decryptor(key).decrypt(public.encryptor(public_key).encrypt(rows)), rows)
    assert list(tmp_path.iterdir()) == []


def test_scratch_leaves_no_open_descriptor():
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("this system does not list descriptors")
    before = len(list(descriptors.iterdir()))
    public_key, key = secret.generate(SETS[0], SystemEntropy())
    secret.decryptor(key).decrypt(public.encryptor(public_key).encrypt(np.zeros((1, 4096), dtype=np.uint64)))

    assert len(list(descriptors.iterdir())) == before
