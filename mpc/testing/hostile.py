"""The part of the conformance suite that plays a hostile peer or a careless owner."""

import pickle
import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from mpc.entropy import SystemEntropy
from mpc.errors import KeyAccessError, MpcError, WireError
from mpc.schemes import public, secret
from mpc.testing.mutations import header_flips, mutate, wrong_lengths
from mpc.testing.subject import Subject, expect

__all__ = [
    "OTHER_ENTROPY",
    "a_key_opens_once",
    "hostile_keys_are_refused",
    "mutations_are_refused_or_open",
    "other_objects_are_refused",
    "refused_contributions_leave_no_trace",
    "residues_above_the_modulus_are_refused",
    "secrets_do_not_show",
    "wrong_ciphertext_headers_are_refused",
    "wrong_ciphertext_lengths_are_refused",
    "zero_bodies_are_refused",
]

OTHER_ENTROPY: Final = SystemEntropy()

_HEADER_BYTES: Final = 8
"""Magic, version, kind and parameter set: at least so many bytes of every object have one legal value."""

_MUTATIONS: Final = 150


def _refused(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except WireError:
        return
    expect(condition=False, statement=f"{what} is refused with WireError")


def _refused_everywhere(subject: Subject, what: str, messages: Iterable[bytes]) -> None:
    decryptor = subject.decryptor()
    for i, message in enumerate(messages):
        _refused(f"{what} {i} in a sum", partial(subject.adder.start(1).add, [message]))
        _refused(f"{what} {i} at the key holder", partial(decryptor.decrypt, [message]))


def _fresh(subject: Subject) -> bytes:
    return subject.encryptor.encrypt(subject.constant(1))[0]


def wrong_ciphertext_lengths_are_refused(subject: Subject) -> None:
    """Truncated and extended ciphertexts."""
    _refused_everywhere(subject, "a wrong length", wrong_lengths(_fresh(subject)))


def wrong_ciphertext_headers_are_refused(subject: Subject) -> None:
    """One changed bit of magic, version, kind or parameter set."""
    flips = header_flips(_fresh(subject), header_bytes=_HEADER_BYTES)
    _refused_everywhere(subject, "a changed header", flips)


def other_objects_are_refused(subject: Subject) -> None:
    """A public key where a ciphertext belongs, padded to its length too; a contribution of another length."""
    good = _fresh(subject)
    key = subject.public_key.data
    _refused_everywhere(subject, "a public key", (key, key[: len(good)].ljust(len(good), b"\x01")))
    _refused("a longer contribution", lambda: subject.adder.start(1).add([good, good]))
    _refused("an empty contribution", lambda: subject.adder.start(1).add([]))
    _refused("a ciphertext as a key", lambda: public.validate_public_key(subject.parameters, good))


def residues_above_the_modulus_are_refused(subject: Subject) -> None:
    """A body of all ones: every residue is out of range."""
    good = _fresh(subject)
    ones = good[:_HEADER_BYTES] + b"\xff" * (len(good) - _HEADER_BYTES)
    tail = good[:-_HEADER_BYTES] + b"\xff" * _HEADER_BYTES
    _refused_everywhere(subject, "a residue out of range", (ones, tail))


def zero_bodies_are_refused(subject: Subject) -> None:
    """A ciphertext that everybody can read: zeros after the header."""
    good = _fresh(subject)
    _refused_everywhere(subject, "a zero body", (good[:_HEADER_BYTES] + bytes(len(good) - _HEADER_BYTES),))


def mutations_are_refused_or_open(subject: Subject) -> None:
    """Mutated ciphertexts end in a typed error or in a plaintext of the right shape, never in anything else."""
    good = _fresh(subject)
    source = random.Random(20)  # noqa: S311 - the test's own choice of attacks
    decryptor = subject.decryptor()
    for _ in range(_MUTATIONS):
        message = mutate(good, source)
        try:
            opened = decryptor.decrypt([message])
        except MpcError:
            continue
        expect(opened.shape == (1, subject.parameters.slots), "what opens has the shape of a plaintext")
        expect(len(message) == len(good) and message[:6] == good[:6], "what opens has the right form")


def refused_contributions_leave_no_trace(subject: Subject) -> None:
    """After a bad ciphertext at any place of a contribution, the sum is what it was."""
    bound = subject.addend_bound(2)
    batch = subject.encryptor.encrypt(subject.uniform(2, below=bound))
    total = subject.adder.start(2)
    total.add(batch)
    bad = batch[0][:-1]
    for contribution in ([bad, batch[1]], [batch[0], bad], [batch[0]]):
        _refused("a bad contribution", partial(total.add, contribution))
    total.add(batch)
    expect(total.finish() == subject.sum(batch, batch), "a refused contribution was not added")


def hostile_keys_are_refused(subject: Subject) -> None:
    """Our own key passes with its digest; wrong lengths, headers and bodies do not."""
    parameters, key = subject.parameters, subject.public_key
    expect(public.validate_public_key(parameters, key.data).digest == key.digest, "our own key is accepted")
    bodies = (bytes(len(key.data) - _HEADER_BYTES), b"\xff" * (len(key.data) - _HEADER_BYTES))
    hostile = [*wrong_lengths(key.data), *header_flips(key.data, header_bytes=_HEADER_BYTES)]
    if not parameters.insecure:  # for `clear`, any body is a key
        hostile += [key.data[:_HEADER_BYTES] + body for body in bodies]
    for i, data in enumerate(hostile):
        _refused(f"a hostile key {i}", partial(public.validate_public_key, parameters, data))


def a_key_opens_once(subject: Subject) -> None:
    """The second opening of a key and the use of a destroyed one are refused."""
    key = subject.secret_key()
    secret.symmetric_encryptor(key)  # encryption is not an opening
    secret.decryptor(key)
    _no_access("a second opening", lambda: secret.decryptor(key))
    destroyed = subject.secret_key()
    destroyed.destroy()
    _no_access("a destroyed key", lambda: secret.decryptor(destroyed))
    _no_access("encryption with a destroyed key", lambda: secret.symmetric_encryptor(destroyed))


def _no_access(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except KeyAccessError:
        return
    expect(condition=False, statement=f"{what} is refused with KeyAccessError")


def secrets_do_not_show(subject: Subject) -> None:
    """Nothing that holds a secret prints it or lets itself be pickled."""
    key = subject.secret_key()
    material = key.material()
    for holder in (key, subject.decryptor(), subject.symmetric_encryptor):
        text = f"{holder!r} {holder!s}"
        expect(material.hex()[:32] not in text and str(material[:8])[2:-1] not in text, f"{type(holder)} prints")
        try:
            pickle.dumps(holder)
        except Exception:  # noqa: BLE001, S112 - bindings refuse in their own words
            continue
        expect(condition=False, statement=f"{type(holder).__name__} is not pickled")
