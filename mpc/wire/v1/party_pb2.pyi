from mpc.wire.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CommitRequest(_message.Message):
    __slots__ = ("request", "recipient_key")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    request: _common_pb2.Signed
    recipient_key: bytes
    def __init__(self, request: _Optional[_Union[_common_pb2.Signed, _Mapping]] = ..., recipient_key: _Optional[bytes] = ...) -> None: ...

class CommitReply(_message.Message):
    __slots__ = ("commitment", "jobs_at_once")
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    JOBS_AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    commitment: _common_pb2.Signed
    jobs_at_once: int
    def __init__(self, commitment: _Optional[_Union[_common_pb2.Signed, _Mapping]] = ..., jobs_at_once: _Optional[int] = ...) -> None: ...

class BeginRequest(_message.Message):
    __slots__ = ("job", "commitments")
    JOB_FIELD_NUMBER: _ClassVar[int]
    COMMITMENTS_FIELD_NUMBER: _ClassVar[int]
    job: str
    commitments: _containers.RepeatedCompositeFieldContainer[_common_pb2.Signed]
    def __init__(self, job: _Optional[str] = ..., commitments: _Optional[_Iterable[_Union[_common_pb2.Signed, _Mapping]]] = ...) -> None: ...

class RoundOffer(_message.Message):
    __slots__ = ("job", "round", "finished", "recipient", "parameter_set", "ciphertexts", "symmetric", "sealed_bytes")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_SET_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXTS_FIELD_NUMBER: _ClassVar[int]
    SYMMETRIC_FIELD_NUMBER: _ClassVar[int]
    SEALED_BYTES_FIELD_NUMBER: _ClassVar[int]
    job: str
    round: int
    finished: bool
    recipient: str
    parameter_set: str
    ciphertexts: int
    symmetric: bool
    sealed_bytes: int
    def __init__(self, job: _Optional[str] = ..., round: _Optional[int] = ..., finished: bool = ..., recipient: _Optional[str] = ..., parameter_set: _Optional[str] = ..., ciphertexts: _Optional[int] = ..., symmetric: bool = ..., sealed_bytes: _Optional[int] = ...) -> None: ...

class OfferKeyRequest(_message.Message):
    __slots__ = ("job", "round")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    job: str
    round: int
    def __init__(self, job: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class OfferKeyReply(_message.Message):
    __slots__ = ("offer", "public_key")
    OFFER_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    offer: _common_pb2.Signed
    public_key: bytes
    def __init__(self, offer: _Optional[_Union[_common_pb2.Signed, _Mapping]] = ..., public_key: _Optional[bytes] = ...) -> None: ...

class ContributeRequest(_message.Message):
    __slots__ = ("job", "round", "offer", "public_key")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    job: str
    round: int
    offer: _common_pb2.Signed
    public_key: bytes
    def __init__(self, job: _Optional[str] = ..., round: _Optional[int] = ..., offer: _Optional[_Union[_common_pb2.Signed, _Mapping]] = ..., public_key: _Optional[bytes] = ...) -> None: ...

class ContributionFrame(_message.Message):
    __slots__ = ("ciphertexts", "receipt")
    CIPHERTEXTS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    ciphertexts: _containers.RepeatedScalarFieldContainer[bytes]
    receipt: _common_pb2.Signed
    def __init__(self, ciphertexts: _Optional[_Iterable[bytes]] = ..., receipt: _Optional[_Union[_common_pb2.Signed, _Mapping]] = ...) -> None: ...

class DeliverFrame(_message.Message):
    __slots__ = ("job", "round", "ciphertexts")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXTS_FIELD_NUMBER: _ClassVar[int]
    job: str
    round: int
    ciphertexts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, job: _Optional[str] = ..., round: _Optional[int] = ..., ciphertexts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class CollectRequest(_message.Message):
    __slots__ = ("job", "round")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    job: str
    round: int
    def __init__(self, job: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class SealedFrame(_message.Message):
    __slots__ = ("party", "data")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    party: str
    data: bytes
    def __init__(self, party: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class CatalogueOffers(_message.Message):
    __slots__ = ("offers",)
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    offers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Signed]
    def __init__(self, offers: _Optional[_Iterable[_Union[_common_pb2.Signed, _Mapping]]] = ...) -> None: ...
