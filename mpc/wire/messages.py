"""The messages as native values; field for field those of `proto/mpc/wire/v1`, which documents them."""

import msgspec

from mpc.keys.statements import Signed

__all__ = [
    "Acknowledgement",
    "BeginRequest",
    "CatalogueEntry",
    "CatalogueList",
    "CatalogueOffers",
    "CataloguesRequest",
    "CollectRequest",
    "CommitReply",
    "CommitRequest",
    "ContributeRequest",
    "ContributionFrame",
    "DeliverFrame",
    "DescribeRequest",
    "Description",
    "ErrorField",
    "ErrorNotice",
    "JobEvent",
    "JobList",
    "JobReference",
    "JobSummary",
    "LabelsFrame",
    "LabelsRequest",
    "ListRequest",
    "Message",
    "OfferKeyReply",
    "OfferKeyRequest",
    "Phase",
    "ResultFrame",
    "RoundOffer",
    "ScoreFrame",
    "ScoreReplyFrame",
    "SealedFrame",
    "SubmitRequest",
    "SurveyEntry",
    "SurveyReply",
    "Traffic",
    "WatchRequest",
]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the native messages."""


class ErrorField(Message, frozen=True, kw_only=True):
    """A named part of a public sentence."""

    name: str = ""
    value: str = ""


class ErrorNotice(Message, frozen=True, kw_only=True):
    """An error as it may cross the wire."""

    code: str = ""
    fields: tuple[ErrorField, ...] = ()


class DescribeRequest(Message, frozen=True, kw_only=True):
    """Asks a node what it is."""

    wire_version: int = 0


class Description(Message, frozen=True, kw_only=True):
    """What a node is."""

    wire_version: int = 0
    software: str = ""
    room: str = ""
    member: str = ""
    role: str = ""
    key_exchange: str = ""
    clock_us: int = 0
    """The node's clock when it answered, microseconds since 1970; 0: not told."""


class JobReference(Message, frozen=True, kw_only=True):
    """Names one job."""

    job: str = ""


class Acknowledgement(Message, frozen=True, kw_only=True):
    """Says that a request about a job was taken."""

    job: str = ""


class CommitRequest(Message, frozen=True, kw_only=True):
    """The analyst's signed request and the recipient's public key."""

    request: Signed | None = None
    recipient_key: bytes = b""


class CommitReply(Message, frozen=True, kw_only=True):
    """A party's signed commitment."""

    commitment: Signed | None = None
    jobs_at_once: int = 0
    """How many jobs the party works on together; 0: not told."""


class BeginRequest(Message, frozen=True, kw_only=True):
    """Everybody's commitments."""

    job: str = ""
    commitments: tuple[Signed, ...] = ()


class RoundOffer(Message, frozen=True, kw_only=True):
    """What a party will send next."""

    job: str = ""
    round: int = 0
    finished: bool = False
    recipient: str = ""
    parameter_set: str = ""
    ciphertexts: int = 0
    symmetric: bool = False
    sealed_bytes: int = 0


class OfferKeyRequest(Message, frozen=True, kw_only=True):
    """Asks the lowest party for a round's group key."""

    job: str = ""
    round: int = 0


class OfferKeyReply(Message, frozen=True, kw_only=True):
    """The signed offer and the public key."""

    offer: Signed | None = None
    public_key: bytes = b""


class ContributeRequest(Message, frozen=True, kw_only=True):
    """Asks for a party's ciphertexts of a round."""

    job: str = ""
    round: int = 0
    offer: Signed | None = None
    public_key: bytes = b""


class ContributionFrame(Message, frozen=True, kw_only=True):
    """Ciphertexts in order, or the receipt."""

    ciphertexts: tuple[bytes, ...] = ()
    receipt: Signed | None = None


class DeliverFrame(Message, frozen=True, kw_only=True):
    """Job and round, then summed ciphertexts in order."""

    job: str = ""
    round: int = 0
    ciphertexts: tuple[bytes, ...] = ()


class CollectRequest(Message, frozen=True, kw_only=True):
    """Asks for what was sealed to the analyst up to a round."""

    job: str = ""
    round: int = 0


class SealedFrame(Message, frozen=True, kw_only=True):
    """A stretch of sealed bytes."""

    party: str = ""
    data: bytes = b""


class SubmitRequest(Message, frozen=True, kw_only=True):
    """An analyst's signed request and the recipient's public key."""

    request: Signed | None = None
    recipient_key: bytes = b""


class WatchRequest(Message, frozen=True, kw_only=True):
    """Asks for a job's events after a sequence number."""

    job: str = ""
    after: int = 0


class JobEvent(Message, frozen=True, kw_only=True):
    """A step of a job."""

    job: str = ""
    sequence: int = 0
    state: str = ""
    step: str = ""
    round: int = 0
    party: str = ""
    ciphertexts_done: int = 0
    ciphertexts_total: int = 0
    error: ErrorNotice | None = None
    seconds: float = 0.0
    sealed: bytes = b""


class Traffic(Message, frozen=True, kw_only=True):
    """What passed between the coordinator and a member in a job."""

    member: str = ""
    ciphertexts_received: int = 0
    bytes_received: int = 0
    ciphertexts_sent: int = 0
    bytes_sent: int = 0


class Phase(Message, frozen=True, kw_only=True):
    """Seconds in a phase of a job."""

    name: str = ""
    seconds: float = 0.0


class ResultFrame(Message, frozen=True, kw_only=True):
    """A part of a released result."""

    commitments: tuple[Signed, ...] = ()
    receipts: tuple[Signed, ...] = ()
    round: int = 0
    ciphertexts: tuple[bytes, ...] = ()
    party: str = ""
    sealed: bytes = b""
    traffic: tuple[Traffic, ...] = ()
    phases: tuple[Phase, ...] = ()


class ListRequest(Message, frozen=True, kw_only=True):
    """Asks for the caller's latest jobs."""

    most: int = 0


class JobSummary(Message, frozen=True, kw_only=True):
    """A job in a list."""

    job: str = ""
    analyst: str = ""
    kind: str = ""
    state: str = ""
    submitted_at: float = 0.0
    error_code: str = ""


class JobList(Message, frozen=True, kw_only=True):
    """Jobs, newest first."""

    jobs: tuple[JobSummary, ...] = ()


class SurveyEntry(Message, frozen=True, kw_only=True):
    """One party's answer to a survey."""

    party: str = ""
    description: Description | None = None
    error: ErrorNotice | None = None


class SurveyReply(Message, frozen=True, kw_only=True):
    """Every party's answer."""

    entries: tuple[SurveyEntry, ...] = ()


class CataloguesRequest(Message, frozen=True, kw_only=True):
    """An analyst's signed question."""

    question: Signed | None = None


class CatalogueOffers(Message, frozen=True, kw_only=True):
    """A party's signed offers."""

    offers: tuple[Signed, ...] = ()


class CatalogueEntry(Message, frozen=True, kw_only=True):
    """One party's offers, or why there are none."""

    party: str = ""
    offers: tuple[Signed, ...] = ()
    error: ErrorNotice | None = None


class CatalogueList(Message, frozen=True, kw_only=True):
    """Every party's offers."""

    entries: tuple[CatalogueEntry, ...] = ()


class LabelsRequest(Message, frozen=True, kw_only=True):
    """An analyst's signed question for labels."""

    question: Signed | None = None


class LabelsFrame(Message, frozen=True, kw_only=True):
    """A stretch of sealed labels."""

    sealed: bytes = b""


class ScoreFrame(Message, frozen=True, kw_only=True):
    """The signed request, then stretches of the query message."""

    request: Signed | None = None
    data: bytes = b""


class ScoreReplyFrame(Message, frozen=True, kw_only=True):
    """The word that the request is taken, a stretch of the reply message, or the receipt."""

    data: bytes = b""
    receipt: Signed | None = None
    seconds: float = 0.0
