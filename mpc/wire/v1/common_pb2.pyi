from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Signed(_message.Message):
    __slots__ = ("payload", "signer", "signature")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    signer: str
    signature: bytes
    def __init__(self, payload: _Optional[bytes] = ..., signer: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...

class ErrorNotice(_message.Message):
    __slots__ = ("code", "fields")
    CODE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    code: str
    fields: _containers.RepeatedCompositeFieldContainer[ErrorField]
    def __init__(self, code: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[ErrorField, _Mapping]]] = ...) -> None: ...

class ErrorField(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("wire_version",)
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    def __init__(self, wire_version: _Optional[int] = ...) -> None: ...

class Description(_message.Message):
    __slots__ = ("wire_version", "software", "room", "member", "role", "key_exchange", "clock_us")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    KEY_EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    CLOCK_US_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    software: str
    room: str
    member: str
    role: str
    key_exchange: str
    clock_us: int
    def __init__(self, wire_version: _Optional[int] = ..., software: _Optional[str] = ..., room: _Optional[str] = ..., member: _Optional[str] = ..., role: _Optional[str] = ..., key_exchange: _Optional[str] = ..., clock_us: _Optional[int] = ...) -> None: ...

class JobReference(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class CataloguesRequest(_message.Message):
    __slots__ = ("question",)
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    question: Signed
    def __init__(self, question: _Optional[_Union[Signed, _Mapping]] = ...) -> None: ...

class LabelsRequest(_message.Message):
    __slots__ = ("question",)
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    question: Signed
    def __init__(self, question: _Optional[_Union[Signed, _Mapping]] = ...) -> None: ...

class LabelsFrame(_message.Message):
    __slots__ = ("sealed",)
    SEALED_FIELD_NUMBER: _ClassVar[int]
    sealed: bytes
    def __init__(self, sealed: _Optional[bytes] = ...) -> None: ...

class ScoreFrame(_message.Message):
    __slots__ = ("request", "data")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    request: Signed
    data: bytes
    def __init__(self, request: _Optional[_Union[Signed, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class ScoreReplyFrame(_message.Message):
    __slots__ = ("data", "receipt", "seconds")
    DATA_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    receipt: Signed
    seconds: float
    def __init__(self, data: _Optional[bytes] = ..., receipt: _Optional[_Union[Signed, _Mapping]] = ..., seconds: _Optional[float] = ...) -> None: ...
