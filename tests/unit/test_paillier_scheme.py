"""What is particular to `paillier`: its keys, its tables, slots that carry, and what a hostile key or number meets."""

import pickle
import threading
import time

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from mpc.entropy import FixedEntropy, SystemEntropy
from mpc.errors import IntegrityError, KeyAccessError, ParameterError, WireError
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes import public as table
from mpc.schemes.paillier import public, secret
from mpc.schemes.paillier.wire import Modulus, pack_ciphertext, pack_key, pack_slots, unpack_key, unpack_slots

SET = parameter_set("paillier-3072-s64")


@pytest.fixture(scope="module")
def pair():
    return secret.generate(SET, SystemEntropy())


@pytest.fixture
def key(pair):
    return SecretKey(SET.id, pair[1].material())


@pytest.fixture(scope="module")
def primes(pair):
    material = pair[1].material()
    return mpz(int.from_bytes(material[:192], "little")), mpz(int.from_bytes(material[192:], "little"))


def _rows(count, value=1):
    return np.full((count, SET.slots), value, dtype=np.uint64)


@pytest.mark.parametrize("seed", [b"a", b"b"])
def test_keys_meet_the_conditions_of_djn(seed):
    public_key, key = secret.generate(SET, FixedEntropy(seed))
    material = key.material()
    p, q = (mpz(int.from_bytes(half, "little")) for half in (material[:192], material[192:]))
    n = unpack_key(public_key.data, SET).n

    assert n == p * q
    assert n.bit_length() == 3072
    assert p % 4 == q % 4 == 3
    assert gmpy2.gcd(p - 1, q - 1) == 2
    assert gmpy2.gcd(n, (p - 1) * (q - 1)) == 1
    assert abs(p - q).bit_length() > 1436
    assert gmpy2.is_strong_prp(p, 7)
    assert gmpy2.is_strong_prp(q, 7)


def test_keys_differ():
    assert len({secret.generate(SET, FixedEntropy(bytes([i])))[0].data for i in range(3)}) == 3


@pytest.mark.parametrize("count", [1, 2, 12])
def test_zeros_of_both_sources_are_nth_powers_and_differ(pair, primes, key, count):
    p, q = primes
    modulus = unpack_key(pair[0].data, SET)
    sources = (
        public.PublicZeros(modulus, SystemEntropy()),
        secret.OwnerZeros(secret._Parts(secret.private_key(key.material())), SystemEntropy()),
    )
    zeros = [zero for source in sources for zero in source.draw(count)]

    # z is an n-th power modulo n^2 exactly if z^((p-1)(q-1)) = 1.
    assert {gmpy2.powmod(zero, (p - 1) * (q - 1), modulus.squared) for zero in zeros} == {1}
    assert len(set(zeros)) == 2 * count


def test_tables_grow_with_use_only(pair):
    zeros = public.PublicZeros(unpack_key(pair[0].data, SET), SystemEntropy())
    shapes = []
    for count in (1, 1, 20, 1):
        list(zeros.draw(count))
        shapes.append(None if zeros._comb is None else zeros._comb.shape.teeth)

    assert shapes[0] is None, "a single ciphertext needs no table"
    assert shapes[1] is not None
    assert shapes == [None, *sorted(shapes[1:])]
    assert shapes[2] == shapes[3] > shapes[1]


def test_the_public_and_the_owners_encryption_of_a_row_open_alike(pair, key):
    rows = np.random.default_rng(5).integers(0, 1 << 63, (3, SET.slots), dtype=np.uint64)
    both = public.encryptor(pair[0]).encrypt(rows) + secret.symmetric_encryptor(key).encrypt(rows)

    assert np.array_equal(secret.decryptor(key).decrypt(both), np.vstack((rows, rows)))


def test_slots_are_integers_that_carry(pair, key):
    """Not a promise to use: the reason why callers bound their sums."""
    rows = _rows(1, 0)
    rows[0, 3] = 1 << 63
    batch = public.encryptor(pair[0]).encrypt(rows)
    total = public.adder(SET, pair[0]).start(1)
    total.add(batch)
    total.add(batch)
    opened = secret.decryptor(key).decrypt(total.finish())[0]

    assert opened[3] == 0
    assert opened[4] == 1


def test_a_carry_out_of_the_last_slot_is_an_integrity_error(pair, key):
    rows = _rows(1, 0)
    rows[0, -1] = 1 << 63
    batch = public.encryptor(pair[0]).encrypt(rows)
    total = public.adder(SET, pair[0]).start(1)
    total.add(batch)
    total.add(batch)

    with pytest.raises(IntegrityError):
        secret.decryptor(key).decrypt(total.finish())


def test_slots_beyond_47_are_none():
    row = np.arange(47, dtype=np.uint64)

    assert np.array_equal(unpack_slots(pack_slots(row), 47), row)
    assert unpack_slots(mpz(1) << 3008, 47) is None


def test_the_adder_needs_the_key(pair):
    with pytest.raises(ParameterError):
        table.adder(SET)
    with pytest.raises(ParameterError):
        table.adder(SET, PublicKey(parameter_set("bfv-4096-t40").id, pair[0].data))
    assert table.adder(SET, pair[0]).parameters is SET


def test_a_sum_ends_once_and_not_before_it_began(pair):
    total = public.adder(SET, pair[0]).start(0)
    with pytest.raises(ParameterError):
        total.finish()
    total.add([])
    total.finish()

    with pytest.raises(ParameterError):
        total.finish()
    with pytest.raises(ParameterError):
        total.add([])


def _hostile_moduli():
    p, q = (gmpy2.next_prime((mpz(3) << 1534) + i) for i in (1, 10**9))
    prime = gmpy2.next_prime((mpz(3) << 3070) + 5)
    while prime % 4 != 1:
        prime = gmpy2.next_prime(prime)
    small = gmpy2.next_prime(1 << 19)
    cofactor = gmpy2.next_prime(mpz(3) << (3070 - 19))
    while small * cofactor % 4 != 1:
        cofactor = gmpy2.next_prime(cofactor)
    odd = p if p % 4 == 3 else gmpy2.next_prime(p)
    other = q
    while other % 4 == odd % 4:
        other = gmpy2.next_prime(other)
    return {
        "zero": 0,
        "fifteen": 15,
        "even": 1 << 3071,
        "prime": prime,
        "a square": p * p,
        "a factor below 2^20": small * cofactor,
        "one bit too short": (mpz(1) << 3071) - 3,
        "3 modulo 4": odd * other,
        "all ones": (mpz(1) << 3072) - 1,
    }


@pytest.mark.parametrize(("name", "n"), _hostile_moduli().items(), ids=lambda v: v if isinstance(v, str) else "")
def test_hostile_moduli_are_refused(name, n):
    data = pack_key(mpz(n), SET)

    with pytest.raises(WireError):
        public.validate_public_key(SET, data)


def test_hostile_numbers_are_refused_everywhere(pair, primes, key):
    n = primes[0] * primes[1]
    adder, decryptor = public.adder(SET, pair[0]), secret.decryptor(key)
    good = public.encryptor(pair[0]).encrypt(_rows(1))[0]
    for number in (0, n, primes[0], primes[1] * 12345, n * n - n, n * n, n * n + 5, (1 << 6144) - 1):
        data = pack_ciphertext(mpz(number), SET)
        with pytest.raises(WireError):
            adder.start(2).add([good, data])
        with pytest.raises(WireError):
            decryptor.decrypt([data, good])


@pytest.mark.parametrize("size", [0, 383, 384, 385])
def test_bytes_that_are_no_primes_are_refused(size):
    for use in (secret.decryptor, secret.symmetric_encryptor):
        with pytest.raises(KeyAccessError):
            use(SecretKey(SET.id, b"\x07" * size))


def test_one_prime_twice_is_no_key(primes):
    with pytest.raises(KeyAccessError):
        secret.private_key(int(primes[0]).to_bytes(192, "little") * 2)


def test_the_owners_objects_are_not_pickled(key):
    for holder in (secret.decryptor(key), secret.symmetric_encryptor(key)):
        with pytest.raises(KeyAccessError):
            pickle.dumps(holder)


def test_two_ciphertexts_never_share_their_randomness(pair):
    """The quotient of two encryptions of one row would be 1 if they did."""
    modulus = Modulus.of(unpack_key(pair[0].data, SET).n)
    data = public.encryptor(pair[0]).encrypt(_rows(20))
    numbers = [mpz(int.from_bytes(d[8:], "little")) for d in data]
    quotients = {a * gmpy2.invert(b, modulus.squared) % modulus.squared for a in numbers for b in numbers if a is not b}

    assert len(set(numbers)) == 20
    assert len(quotients) == 20 * 19
    assert 1 not in quotients


def test_other_threads_run_during_the_owners_powers():
    """Held throughout, the interpreter lock would stop this thread for the whole power."""
    modulus, finished = (mpz(1) << 8_000) - 3, threading.Event()

    def power():
        secret._secret_power(mpz(3), mpz(1) << 7_900, modulus)
        finished.set()

    worker = threading.Thread(target=power)
    started = last = time.perf_counter()
    longest = 0.0
    worker.start()
    while not finished.is_set():
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    longest = max(longest, time.perf_counter() - last)
    worker.join()

    assert longest < (time.perf_counter() - started) / 2
