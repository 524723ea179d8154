"""What is signed in a scoring: the analyst's questions and request, the holder's receipt.

The coordinator checks these and the lengths in them, and passes the messages that they speak of on unread.
"""

from typing import ClassVar, Final

import msgspec

from mpc.errors import ProtocolError, WireError
from mpc.keys.manifest import Manifest
from mpc.keys.statements import Statement, statement_digest
from mpc.parties import PartyId
from mpc.wire.limits import MAX_SCORE_BYTES

__all__ = [
    "SCORE_KIND",
    "CatalogueLabels",
    "CatalogueQuestion",
    "ScoreReceipt",
    "ScoreRequest",
    "labels_context",
    "labels_digest",
    "question_digest",
    "score_request_digest",
]

SCORE_KIND: Final = "score"
"""What a scoring is called in lists of jobs."""

_CLOCKS_APART_S: Final = 300
_QUESTION_S: Final = 300
_MOST_QUERIES: Final = 256
_NAME_CHARACTERS: Final = 64


class CatalogueQuestion(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An analyst asks what it may score; or, with a catalogue and a sealing key, for the labels of that catalogue.

    Signed, since the answer tells how much of the analyst's own budget is left, and labels are for its eyes alone.
    """

    label: ClassVar[str] = "sealroom/v1/catalogue-question"

    room: str
    asked_at: int
    nonce: bytes
    holder: str = ""
    """Empty: every party."""

    catalogue: str = ""
    sealing_key: bytes = b""

    def check(self, manifest: Manifest, *, now: float) -> None:
        """Refuse a question of another room or time (`ProtocolError`), or a malformed one (`WireError`)."""
        if len(self.nonce) != 16 or len(self.catalogue) > _NAME_CHARACTERS or len(self.sealing_key) not in {0, 32}:
            raise WireError("a question about catalogues is malformed")
        if self.room != manifest.room:
            raise ProtocolError("", reason="the question is for another version of the room")
        if abs(now - self.asked_at) > _QUESTION_S:
            raise ProtocolError("", reason="the question is old, or a clock is wrong by minutes")


class CatalogueLabels(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The labels of a catalogue's items, as they are sealed.

    The digest of their bytes is in the offer, which the coordinator reads: without the salt it could try its guesses.
    """

    salt: bytes
    """32 bytes from the operating system, drawn when the catalogue is offered."""

    labels: list[str | int]
    """By row."""


class ScoreRequest(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an analyst wants scored, and the exact message that carries its encrypted queries."""

    label: ClassVar[str] = "sealroom/v1/score-request"

    room: str
    job: str
    holder: str
    catalogue: str
    spec_digest: bytes
    """Of the scoring that was offered and is meant."""

    queries: int
    query_digest: bytes
    """SHA-256 of the query message."""

    query_bytes: int
    reply_bytes: int
    """Lengths of the two messages; they follow from the spec, which only analyst and holder read."""

    issued_at: int
    expires_at: int

    def check(self, manifest: Manifest, *, now: float) -> PartyId:
        """Refuse a request that the room's rules do not allow, and return its holder.

        Raises:
            WireError: A field is malformed.
            ProtocolError: It is for another room or time, or its holder is not a party of the room.
        """
        if len(self.job) != 32 or set(self.job) - set("0123456789abcdef"):
            raise WireError("a job's name is 32 hexadecimal digits")
        if (len(self.spec_digest), len(self.query_digest)) != (32, 32) or not 1 <= self.queries <= _MOST_QUERIES:
            raise WireError("a request for scores is malformed")
        if not 0 < len(self.catalogue) <= _NAME_CHARACTERS or not self.catalogue.isprintable():
            raise WireError("a catalogue's name is a short printable text")
        if not 0 < self.query_bytes <= MAX_SCORE_BYTES or not 0 < self.reply_bytes <= MAX_SCORE_BYTES:
            raise WireError("a message of a scoring has a length within bounds")
        if self.room != manifest.room:
            raise ProtocolError("", reason="the request is for another version of the room")
        if not self.issued_at - _CLOCKS_APART_S <= now < self.expires_at:
            raise ProtocolError("", reason="the request has expired, or a clock is wrong by minutes")
        if self.expires_at - self.issued_at > manifest.floor.job_lifetime_s:
            raise ProtocolError("", reason="the request lives longer than the room allows")
        if self.holder not in manifest.parties:
            raise ProtocolError("", reason="the holder is not a party of the room")
        return PartyId(self.holder)


class ScoreReceipt(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The holder's word that exactly this reply answers exactly this request."""

    label: ClassVar[str] = "sealroom/v1/score-receipt"

    room: str
    job: str
    holder: str
    request_digest: bytes
    reply_digest: bytes
    """SHA-256 of the reply message."""

    remaining: int
    """Queries that the analyst may still ask of this item set."""


def score_request_digest(payload: bytes) -> bytes:
    """Digest of a signed request's exact bytes."""
    return statement_digest("sealroom/v1/score-request-digest", payload)


def question_digest(payload: bytes) -> bytes:
    """Digest of a signed question's exact bytes, which its answers repeat."""
    return statement_digest("sealroom/v1/catalogue-question-digest", payload)


def labels_digest(encoded: bytes) -> bytes:
    """What a signed offer says of its items' encoded labels."""
    return statement_digest("sealroom/v1/catalogue-labels", encoded)


def labels_context(question: bytes, index: int) -> bytes:
    """The context under which a stretch of labels is sealed: the question's digest and the position."""
    return statement_digest("sealroom/v1/catalogue-labels-context", question, index.to_bytes(8, "little"))
