"""Keyed streams against the standards they name, and properties of what is drawn from them."""

import copy
import hashlib
import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.entropy import FixedEntropy, Keystream, SystemEntropy, expand, uniform_below
from mpc.errors import ParameterError

KEY = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
"""The AES-256 key of NIST SP 800-38A, appendix F."""


def ecb(key, block):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block)


def counter_mode(key, first, blocks):
    """SP 800-38A, section 6.5, from the block cipher: the reference that the stream is compared with."""
    return b"".join(ecb(key, ((first + i) % (1 << 128)).to_bytes(16, "big")) for i in range(blocks))


def test_the_reference_is_aes_256_of_fips_197_appendix_c_3():
    key = bytes(range(32))

    assert ecb(key, bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == "8ea2b7ca516745bfeafc49904b496089"


def test_the_reference_is_counter_mode_of_sp_800_38a_f_5_5():
    plain = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = bytes.fromhex(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    stream = counter_mode(KEY, int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16), 4)

    assert bytes(a ^ b for a, b in zip(plain, stream, strict=True)) == cipher


@given(st.integers(0, 1 << 59), st.integers(0, 40))
def test_a_keystream_is_counter_mode_from_zero_at_every_position(start, count):
    first, skip = divmod(start, 2)
    expected = counter_mode(KEY, first, (skip + count + 1) // 2 + 1)

    assert Keystream(KEY).words(start, count).tobytes() == expected[8 * skip : 8 * (skip + count)]


@given(st.integers(0, 1 << 40), st.integers(0, 20))
def test_filling_gives_the_same_words(half, pairs):
    out = np.empty((pairs, 2), dtype=np.uint64)
    Keystream(KEY).fill(2 * half, out)

    assert np.array_equal(out.reshape(-1), Keystream(KEY).words(2 * half, 2 * pairs))


def test_filling_crosses_its_own_pieces_without_a_seam():
    out = np.empty(3 * 8192 + 6, dtype=np.uint64)
    Keystream(KEY).fill(4, out)

    assert np.array_equal(out, Keystream(KEY).words(4, out.size))


@pytest.mark.parametrize(("start", "count"), [(-1, 1), (0, -1), ((1 << 60), 1), ((1 << 60) - 1, 2)])
def test_positions_outside_the_stream_are_refused(start, count):
    with pytest.raises(ParameterError):
        Keystream(KEY).words(start, count)


@pytest.mark.parametrize("out", [np.empty(3, np.uint64), np.empty((4, 4), np.uint64)[:, :2]])
def test_half_blocks_and_scattered_arrays_are_not_filled(out):
    with pytest.raises(ParameterError):
        Keystream(KEY).fill(0, out)


def test_an_odd_start_is_not_filled():
    with pytest.raises(ParameterError):
        Keystream(KEY).fill(1, np.empty(2, np.uint64))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_keystream_wants_a_whole_key(size):
    with pytest.raises(ParameterError):
        Keystream(bytes(size))


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_keystream_is_not_pickled_or_copied(take):
    with pytest.raises(ParameterError):
        take(Keystream(KEY))


def test_a_keystream_shows_nothing():
    assert repr(Keystream(KEY)) == str(Keystream(KEY)) == "Keystream(<secret>)"


@given(st.integers(1, 64))
def test_bits_are_the_low_bits_of_the_words(width):
    stream = Keystream(KEY)
    expected = [int(w) % (1 << width) for w in stream.words(5, 9)]

    assert stream.bits(5, 9, width).tolist() == expected


@pytest.mark.parametrize("width", [0, 65, -1])
def test_bits_are_between_one_and_sixty_four(width):
    with pytest.raises(ParameterError):
        Keystream(KEY).bits(0, 1, width)


# RFC 5869, appendix A: salt and input keying material give the key that is expanded here.
RFC_5869 = [
    (
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5", "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244", bytes(range(0xB0, 0x100)).hex(),
        ("b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
    ),
    (
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04", "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("key", "info", "okm"), RFC_5869)
def test_expansion_is_that_of_rfc_5869(key, info, okm):
    assert expand(bytes.fromhex(key), bytes.fromhex(info), len(okm) // 2).hex() == okm


def test_expansion_gives_prefixes_of_one_stream():
    assert expand(KEY, b"x", 8160)[:100] == expand(KEY, b"x", 100)


@pytest.mark.parametrize(("key", "size"), [(bytes(31), 32), (bytes(32), 0), (bytes(32), 8161), (bytes(32), -1)])
def test_expansion_refuses_short_keys_and_other_lengths(key, size):
    with pytest.raises(ParameterError):
        expand(key, b"", size)


@settings(deadline=None)
@given(st.integers(1, 1 << 64), st.integers(0, 300))
def test_residues_lie_below_their_modulus_and_longer_draws_begin_alike(modulus, count):
    stream = Keystream(KEY)
    drawn = uniform_below(stream, count, modulus)

    assert drawn.size == count
    assert all(int(v) < modulus for v in drawn)
    assert np.array_equal(uniform_below(stream, count + 50, modulus)[:count], drawn)


@pytest.mark.parametrize("modulus", [(1 << 63) + 1, 3 << 62, 12345])
def test_residues_are_rejected_and_not_folded(modulus):
    """Straight from the definition: words at or above the largest multiple of the modulus are skipped."""
    limit = (1 << 64) // modulus * modulus
    words = [int(w) for w in Keystream(KEY).words(0, 4000)]
    expected = [w % modulus for w in words if w < limit][:1000]

    assert uniform_below(Keystream(KEY), 1000, modulus).tolist() == expected


@pytest.mark.parametrize("modulus", [0, -1, (1 << 64) + 1])
def test_impossible_moduli_are_refused(modulus):
    with pytest.raises(ParameterError):
        uniform_below(Keystream(KEY), 1, modulus)


def test_fixed_entropy_repeats_itself_and_never_a_byte():
    one, again, other = FixedEntropy(b"a"), FixedEntropy(b"a"), FixedEntropy(b"b")
    pieces = [one.token(n) for n in (1, 7, 8, 9, 16, 33)]

    assert pieces == [again.token(n) for n in (1, 7, 8, 9, 16, 33)]
    assert pieces[5] != other.token(33)
    blocks = [p[i : i + 8] for p in pieces for i in range(0, len(p) - 7, 8)]
    assert len(set(blocks)) == len(blocks)


def test_system_entropy_has_the_size_that_was_asked_for_and_does_not_repeat():
    tokens = {SystemEntropy().token(32) for _ in range(100)}

    assert {len(t) for t in tokens} == {32}
    assert len(tokens) == 100


def test_the_first_words_are_frozen():
    """A change of the stream would make every mask of two versions differ."""
    words = Keystream(hashlib.sha256(b"frozen").digest()).words(0, 1 << 12)

    assert hashlib.sha256(words.tobytes()).hexdigest() == FROZEN


FROZEN = "d49cf6debafb2473f026c4f4434d115127369ca5646db52eba0d6557f231baf9"
