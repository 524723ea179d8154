from mpc.wire.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubmitRequest(_message.Message):
    __slots__ = ("request", "recipient_key")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    request: _common_pb2.Signed
    recipient_key: bytes
    def __init__(self, request: _Optional[_Union[_common_pb2.Signed, _Mapping]] = ..., recipient_key: _Optional[bytes] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("job", "after")
    JOB_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    job: str
    after: int
    def __init__(self, job: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class JobEvent(_message.Message):
    __slots__ = ("job", "sequence", "state", "step", "round", "party", "ciphertexts_done", "ciphertexts_total", "error", "seconds", "sealed")
    JOB_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXTS_DONE_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    job: str
    sequence: int
    state: str
    step: str
    round: int
    party: str
    ciphertexts_done: int
    ciphertexts_total: int
    error: _common_pb2.ErrorNotice
    seconds: float
    sealed: bytes
    def __init__(self, job: _Optional[str] = ..., sequence: _Optional[int] = ..., state: _Optional[str] = ..., step: _Optional[str] = ..., round: _Optional[int] = ..., party: _Optional[str] = ..., ciphertexts_done: _Optional[int] = ..., ciphertexts_total: _Optional[int] = ..., error: _Optional[_Union[_common_pb2.ErrorNotice, _Mapping]] = ..., seconds: _Optional[float] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class ResultFrame(_message.Message):
    __slots__ = ("commitments", "receipts", "round", "ciphertexts", "party", "sealed", "traffic", "phases")
    COMMITMENTS_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXTS_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    commitments: _containers.RepeatedCompositeFieldContainer[_common_pb2.Signed]
    receipts: _containers.RepeatedCompositeFieldContainer[_common_pb2.Signed]
    round: int
    ciphertexts: _containers.RepeatedScalarFieldContainer[bytes]
    party: str
    sealed: bytes
    traffic: _containers.RepeatedCompositeFieldContainer[Traffic]
    phases: _containers.RepeatedCompositeFieldContainer[Phase]
    def __init__(self, commitments: _Optional[_Iterable[_Union[_common_pb2.Signed, _Mapping]]] = ..., receipts: _Optional[_Iterable[_Union[_common_pb2.Signed, _Mapping]]] = ..., round: _Optional[int] = ..., ciphertexts: _Optional[_Iterable[bytes]] = ..., party: _Optional[str] = ..., sealed: _Optional[bytes] = ..., traffic: _Optional[_Iterable[_Union[Traffic, _Mapping]]] = ..., phases: _Optional[_Iterable[_Union[Phase, _Mapping]]] = ...) -> None: ...

class Traffic(_message.Message):
    __slots__ = ("member", "ciphertexts_received", "bytes_received", "ciphertexts_sent", "bytes_sent")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXTS_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXTS_SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    member: str
    ciphertexts_received: int
    bytes_received: int
    ciphertexts_sent: int
    bytes_sent: int
    def __init__(self, member: _Optional[str] = ..., ciphertexts_received: _Optional[int] = ..., bytes_received: _Optional[int] = ..., ciphertexts_sent: _Optional[int] = ..., bytes_sent: _Optional[int] = ...) -> None: ...

class Phase(_message.Message):
    __slots__ = ("name", "seconds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    seconds: float
    def __init__(self, name: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("most",)
    MOST_FIELD_NUMBER: _ClassVar[int]
    most: int
    def __init__(self, most: _Optional[int] = ...) -> None: ...

class JobSummary(_message.Message):
    __slots__ = ("job", "analyst", "kind", "state", "submitted_at", "error_code")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ANALYST_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    job: str
    analyst: str
    kind: str
    state: str
    submitted_at: float
    error_code: str
    def __init__(self, job: _Optional[str] = ..., analyst: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., submitted_at: _Optional[float] = ..., error_code: _Optional[str] = ...) -> None: ...

class JobList(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[JobSummary]
    def __init__(self, jobs: _Optional[_Iterable[_Union[JobSummary, _Mapping]]] = ...) -> None: ...

class SurveyReply(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[SurveyEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[SurveyEntry, _Mapping]]] = ...) -> None: ...

class SurveyEntry(_message.Message):
    __slots__ = ("party", "description", "error")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    party: str
    description: _common_pb2.Description
    error: _common_pb2.ErrorNotice
    def __init__(self, party: _Optional[str] = ..., description: _Optional[_Union[_common_pb2.Description, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.ErrorNotice, _Mapping]] = ...) -> None: ...

class CatalogueList(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[CatalogueEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[CatalogueEntry, _Mapping]]] = ...) -> None: ...

class CatalogueEntry(_message.Message):
    __slots__ = ("party", "offers", "error")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    party: str
    offers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Signed]
    error: _common_pb2.ErrorNotice
    def __init__(self, party: _Optional[str] = ..., offers: _Optional[_Iterable[_Union[_common_pb2.Signed, _Mapping]]] = ..., error: _Optional[_Union[_common_pb2.ErrorNotice, _Mapping]] = ...) -> None: ...
