"""Hard limits on what a peer may send. Every method has its own; nothing is raised globally."""

from typing import Final

__all__ = [
    "CHUNK_BYTES",
    "MAX_CIPHERTEXTS",
    "MAX_FRAME_BYTES",
    "MAX_NOTE_BYTES",
    "MAX_PUBLIC_KEY_BYTES",
    "MAX_REQUEST_BYTES",
    "MAX_SCORE_BYTES",
    "MAX_SEALED_BYTES",
    "METADATA_BYTES",
]

CHUNK_BYTES: Final = 1 << 20
"""Most payload bytes that a stream's sender puts into one frame (one ciphertext may exceed it)."""

MAX_FRAME_BYTES: Final = CHUNK_BYTES + (1 << 17)
"""Largest frame that is received: a chunk and its framing."""

MAX_REQUEST_BYTES: Final = 3 << 20
"""Largest unary message: a signed request with a public key, or a key offer for a large group."""

MAX_PUBLIC_KEY_BYTES: Final = 2 << 20

MAX_CIPHERTEXTS: Final = 1 << 20
"""Most ciphertexts of one round."""

MAX_SEALED_BYTES: Final = 1 << 31
"""Most bytes that one party seals to the analyst in one job."""

MAX_SCORE_BYTES: Final = 1 << 30
"""Longest message of a scoring, in either direction; the coordinator passes it on without keeping it."""

MAX_NOTE_BYTES: Final = 1 << 16

METADATA_BYTES: Final = 16 << 10
