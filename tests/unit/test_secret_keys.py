"""Secrets: what they agree on with the standards, what they never show, and that they work once."""

import copy
import io
import json
import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import IntegrityError, KeyAccessError, ProtocolError, WireError
from mpc.keys.secret import MaskKey, SealingKey, SecretKey, seal
from mpc.params.base import SetId
from tests.unit import hpke_reference as hpke

SET = SetId("rlwe-2048-t30")
MATERIAL = bytes(range(100, 164))


def mask_key(private):
    key = MaskKey()
    key._private = X25519PrivateKey.from_private_bytes(private)
    key.public = key._private.public_key().public_bytes_raw()
    return key


def sealing_key(private):
    key = SealingKey()
    key._private = private
    key.public = private.public_key().public_bytes_raw()
    return key


SECRETS = [SecretKey(SET, MATERIAL), MaskKey(), SealingKey()]


# ---- nothing shows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", SECRETS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(
    "take",
    [pickle.dumps, copy.copy, copy.deepcopy, lambda s: s.__reduce__(), lambda s: s.__reduce_ex__(4),
     lambda s: pickle.Pickler(io.BytesIO(), 5).dump([s]), lambda s: copy.deepcopy({"k": s})],
)  # fmt: skip
def test_secrets_are_not_pickled_or_copied(secret, take):
    with pytest.raises(KeyAccessError):
        take(secret)


@pytest.mark.parametrize("secret", SECRETS, ids=lambda s: type(s).__name__)
def test_secrets_print_as_nothing(secret):
    expected = f"{type(secret).__name__}(<secret>)"

    assert repr(secret) == str(secret) == f"{secret}" == f"{secret!r:}" == expected
    assert repr({"k": [secret]}) == f"{{'k': [{expected}]}}"
    with pytest.raises(TypeError):
        vars(secret)


@pytest.mark.parametrize("secret", SECRETS, ids=lambda s: type(s).__name__)
def test_secrets_are_not_serialised_by_accident(secret):
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)
    with pytest.raises((TypeError, KeyAccessError)):
        msgspec.msgpack.encode([secret])
    with pytest.raises(TypeError):
        bytes(secret)


def test_a_logged_secret_shows_nothing(caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("mpc").debug("key %s %r", *SECRETS[:2])

    assert MATERIAL.hex()[:16] not in caplog.text
    assert "<secret>" in caplog.text


# ---- one opening -----------------------------------------------------------------------------------------------


def test_a_key_opens_once():
    key = SecretKey(SET, MATERIAL)

    assert key.usable
    assert key.open_once() == MATERIAL
    assert not key.usable
    for _ in range(2):
        with pytest.raises(KeyAccessError):
            key.open_once()


def test_of_many_threads_one_opens():
    def race(key):
        barrier.wait()
        try:
            return key.open_once() == MATERIAL
        except KeyAccessError:
            return False

    barrier = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(100):
            key = SecretKey(SET, MATERIAL)
            assert sum(pool.map(race, [key] * 8, timeout=30)) == 1


def test_reading_the_material_is_not_an_opening():
    key = SecretKey(SET, MATERIAL)

    assert key.material() == key.material() == MATERIAL
    assert key.usable


def test_a_destroyed_key_gives_nothing_and_its_bytes_are_gone():
    key = SecretKey(SET, MATERIAL)
    held = key._material
    key.destroy()
    key.destroy()

    assert held == bytearray(len(MATERIAL)), "the buffer itself was overwritten"
    assert not key.usable
    for take in (key.material, key.open_once):
        with pytest.raises(KeyAccessError):
            take()


def test_an_opened_key_is_destroyed_too():
    with SecretKey(SET, MATERIAL) as key:
        key.open_once()
        held = key._material

    assert held == bytearray(len(MATERIAL))


def test_a_key_is_destroyed_when_its_block_fails():
    with pytest.raises(ZeroDivisionError), SecretKey(SET, MATERIAL) as key:
        raise ZeroDivisionError
    assert not key.usable


def test_keys_are_equal_by_set_and_bytes_and_are_no_dictionary_keys():
    assert SecretKey(SET, MATERIAL) == SecretKey(SET, MATERIAL)
    assert SecretKey(SET, MATERIAL) != SecretKey(SetId("other"), MATERIAL)
    assert SecretKey(SET, MATERIAL) != SecretKey(SET, MATERIAL[:-1])
    assert SecretKey(SET, MATERIAL) != SecretKey(SET, MATERIAL[:-1] + b"\0")
    assert SecretKey(SET, MATERIAL) != MATERIAL
    with pytest.raises(TypeError):
        hash(SecretKey(SET, MATERIAL))


def test_the_callers_buffer_is_not_shared():
    given_bytes = bytearray(MATERIAL)
    key = SecretKey(SET, given_bytes)
    given_bytes[0] ^= 1

    assert key.material() == MATERIAL


# ---- X25519 ----------------------------------------------------------------------------------------------------

# RFC 7748, section 6.1, and for the derivation RFC 5869: HKDF with the transcript as salt.
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")

LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    2**255 - 20,
    2**255 - 19,
    2**255 - 18,
]
"""All u-coordinates below 2^255 of points of small order on curve25519 and its twist; see cr.yp.to/ecdh.html."""


def test_mask_keys_are_x25519_of_rfc_7748():
    alice, bob = mask_key(ALICE), mask_key(BOB)

    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=60))
def test_a_pair_key_is_hkdf_of_the_shared_secret_salted_with_the_transcript(transcript, info):
    expected = hpke.expand(hpke.extract(transcript, SHARED), info, 32)

    assert mask_key(ALICE).pair_key(mask_key(BOB).public, transcript=transcript, info=info) == expected
    assert mask_key(BOB).pair_key(mask_key(ALICE).public, transcript=transcript, info=info) == expected


def test_the_derivation_of_the_reference_is_rfc_5869():
    salt, material = bytes(range(13)), b"\x0b" * 22
    okm = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"

    assert hpke.expand(hpke.extract(salt, material), bytes(range(0xF0, 0xFA)), 42).hex() == okm


def test_pair_keys_differ_in_every_argument():
    alice, bob = mask_key(ALICE), mask_key(BOB)
    first = alice.pair_key(bob.public, transcript=bytes(32), info=b"a")

    assert first != alice.pair_key(bob.public, transcript=b"\1" + bytes(31), info=b"a")
    assert first != alice.pair_key(bob.public, transcript=bytes(32), info=b"b")
    assert first != alice.pair_key(MaskKey().public, transcript=bytes(32), info=b"a")


@pytest.mark.parametrize("point", LOW_ORDER)
@pytest.mark.parametrize("high_bit", [0, 1])
def test_points_of_low_order_are_refused_in_every_encoding(point, high_bit):
    peer = (point | high_bit << 255).to_bytes(32, "little")
    with pytest.raises(ProtocolError):
        MaskKey().pair_key(peer, transcript=bytes(32), info=b"")
    with pytest.raises(ProtocolError):
        seal(peer, b"secret", context=b"")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_of_another_length_are_refused(size):
    with pytest.raises(WireError):
        MaskKey().pair_key(bytes(size), transcript=bytes(32), info=b"")
    with pytest.raises(WireError):
        seal(bytes(size), b"", context=b"")


def test_every_key_is_fresh():
    assert len({MaskKey().public for _ in range(20)} | {SealingKey().public for _ in range(20)}) == 40


# ---- HPKE ------------------------------------------------------------------------------------------------------

# RFC 9180, appendix A.2.1: base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305.
RFC_9180 = {
    "info": "4f6465206f6e2061204772656369616e2055726e",
    "ikm_e": "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b",
    "enc": "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
    "ikm_r": "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
    "pk_r": "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
    "aad": "436f756e742d30",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
}


def vector(name):
    return bytes.fromhex(RFC_9180[name])


def test_the_reference_is_hpke_of_rfc_9180():
    ephemeral, recipient = hpke.derive_key_pair(vector("ikm_e")), hpke.derive_key_pair(vector("ikm_r"))
    enc, ct = hpke.seal_base(ephemeral, vector("pk_r"), vector("info"), vector("aad"), vector("pt"))

    assert recipient.public_key().public_bytes_raw() == vector("pk_r")
    assert (enc, ct) == (vector("enc"), vector("ct"))
    assert hpke.open_base(recipient, enc, vector("info"), vector("aad"), ct) == vector("pt")


def test_our_boxes_open_as_the_standard_says():
    recipient = hpke.derive_key_pair(vector("ikm_r"))
    box = seal(vector("pk_r"), vector("pt"), context=vector("info"))

    assert hpke.open_base(recipient, box[:32], vector("info"), b"", box[32:]) == vector("pt")
    assert len(box) == 32 + len(vector("pt")) + 16


def test_boxes_of_the_standard_open_here():
    recipient = hpke.derive_key_pair(vector("ikm_r"))
    enc, ct = hpke.seal_base(hpke.derive_key_pair(vector("ikm_e")), vector("pk_r"), vector("info"), b"", vector("pt"))

    assert sealing_key(recipient).unseal(enc + ct, context=vector("info")) == vector("pt")


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_a_box_opens_with_its_key_and_context(plaintext, context):
    key = SealingKey()

    assert key.unseal(seal(key.public, plaintext, context=context), context=context) == plaintext


@given(st.binary(max_size=40), st.data())
def test_no_changed_bit_of_a_box_opens(plaintext, data):
    key = SealingKey()
    box = bytearray(seal(key.public, plaintext, context=b"c"))
    bit = data.draw(st.integers(0, 8 * len(box) - 1).filter(lambda b: b != 255))
    box[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError):
        key.unseal(bytes(box), context=b"c")


def test_another_key_or_context_does_not_open_a_box():
    key = SealingKey()
    box = seal(key.public, b"secret", context=b"job-1")
    for other, context in ((SealingKey(), b"job-1"), (key, b"job-2"), (key, b""), (key, b"job-1\0")):
        with pytest.raises(IntegrityError):
            other.unseal(box, context=context)


@pytest.mark.parametrize("box", [b"", bytes(31), bytes(32), bytes(48), bytes(100), b"\xff" * 100])
def test_what_is_no_box_is_an_integrity_error(box):
    with pytest.raises(IntegrityError):
        SealingKey().unseal(box, context=b"")


def test_two_boxes_of_one_secret_share_nothing():
    key = SealingKey()
    one, other = (seal(key.public, bytes(64), context=b"") for _ in range(2))

    assert one[:32] != other[:32]
    assert one[32:] != other[32:]


def test_the_reference_refuses_what_we_refuse():
    recipient = hpke.derive_key_pair(vector("ikm_r"))
    with pytest.raises(InvalidTag):
        hpke.open_base(recipient, vector("enc"), vector("info"), b"", vector("ct"))
