"""HPKE base mode (RFC 9180) with X25519, HKDF-SHA256 and ChaCha20-Poly1305, written from the text for tests."""

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = ["derive_key_pair", "open_base", "schedule", "seal_base"]

KEM_ID = (0x0020).to_bytes(2, "big")
SUITE_ID = b"HPKE" + KEM_ID + (0x0001).to_bytes(2, "big") + (0x0003).to_bytes(2, "big")
KEM_SUITE = b"KEM" + KEM_ID


def extract(salt, material):
    return hmac.new(salt or bytes(32), material, hashlib.sha256).digest()


def expand(key, info, size):
    out, block, counter = b"", b"", 1
    while len(out) < size:
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha256).digest()
        out, counter = out + block, counter + 1
    return out[:size]


def labeled_extract(suite, salt, label, material):
    return extract(salt, b"HPKE-v1" + suite + label + material)


def labeled_expand(suite, key, label, info, size):
    return expand(key, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, size)


def derive_key_pair(material):
    """Section 7.1.3."""
    key = labeled_extract(KEM_SUITE, b"", b"dkp_prk", material)
    return X25519PrivateKey.from_private_bytes(labeled_expand(KEM_SUITE, key, b"sk", b"", 32))


def raw(key):
    return key.public_key().public_bytes_raw()


def shared_secret(dh, enc, recipient):
    """Section 4.1."""
    key = labeled_extract(KEM_SUITE, b"", b"eae_prk", dh)
    return labeled_expand(KEM_SUITE, key, b"shared_secret", enc + recipient, 32)


def schedule(secret, info):
    """Section 5.1, mode base: key and base nonce."""
    psk_hash = labeled_extract(SUITE_ID, b"", b"psk_id_hash", b"")
    info_hash = labeled_extract(SUITE_ID, b"", b"info_hash", info)
    context = b"\x00" + psk_hash + info_hash
    key = labeled_extract(SUITE_ID, secret, b"secret", b"")
    return labeled_expand(SUITE_ID, key, b"key", context, 32), labeled_expand(SUITE_ID, key, b"base_nonce", context, 12)


def seal_base(ephemeral, recipient, info, aad, plaintext):
    """Encapsulated key and ciphertext of the first message."""
    enc = raw(ephemeral)
    dh = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    key, nonce = schedule(shared_secret(dh, enc, recipient), info)
    return enc, ChaCha20Poly1305(key).encrypt(nonce, plaintext, aad)


def open_base(private, enc, info, aad, ciphertext):
    dh = private.exchange(X25519PublicKey.from_public_bytes(enc))
    key, nonce = schedule(shared_secret(dh, enc, raw(private)), info)
    return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, aad)
