"""Native messages to protobuf bytes and back: the only importer of the generated classes.

Decoding is strict: `mpc.wire.form` checks the bytes before protobuf sees them. Texts are names and are shown to people,
so they are printable; whatever a member writes freely travels within the bytes of a signed statement.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage

from mpc.errors import WireError
from mpc.keys.statements import Signed
from mpc.wire.form import EIGHT_BYTES, LENGTH, VARINT, Field, check_form
from mpc.wire.messages import Message
from mpc.wire.v1 import common_pb2, coordinator_pb2, party_pb2

__all__ = ["decode", "encode", "proto_class"]

M = TypeVar("M", bound=Message)

_MODULES: Final = (common_pb2, party_pb2, coordinator_pb2)
_WIRE_TYPES: Final[Mapping[int, tuple[int, int]]] = {
    FieldDescriptor.TYPE_BOOL: (VARINT, 1),
    FieldDescriptor.TYPE_UINT32: (VARINT, (1 << 32) - 1),
    FieldDescriptor.TYPE_UINT64: (VARINT, (1 << 64) - 1),
    FieldDescriptor.TYPE_DOUBLE: (EIGHT_BYTES, 0),
    FieldDescriptor.TYPE_STRING: (LENGTH, 0),
    FieldDescriptor.TYPE_BYTES: (LENGTH, 0),
    FieldDescriptor.TYPE_MESSAGE: (LENGTH, 0),
}
"""Type of a field -> its form on the wire, and its largest value if it is a number. Messages use no other types."""


@cache
def proto_class(kind: type) -> type[ProtoMessage]:
    """The generated class of a native message: they share their name."""
    for module in _MODULES:
        found = getattr(module, kind.__name__, None)
        if found is not None:
            generated: type[ProtoMessage] = found
            return generated
    raise WireError(f"{kind.__name__} has no wire form")


@cache
def _repeated(kind: type) -> frozenset[str]:
    """Fields of a native message that hold tuples."""
    return frozenset(name for name, hint in get_type_hints(kind).items() if get_origin(hint) is tuple)


@cache
def _nested(kind: type) -> Mapping[str, type]:
    """Fields of a native message that hold messages, with their types."""
    found: dict[str, type] = {}
    for name, hint in get_type_hints(kind).items():
        for option in (hint, *get_args(hint)):
            if isinstance(option, type) and issubclass(option, msgspec.Struct):
                found[name] = option
    return found


def _to_proto(value: msgspec.Struct) -> ProtoMessage:
    kind: type = type(value)
    proto = proto_class(kind)()
    nested = _nested(kind)
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if name in nested:
            if isinstance(item, tuple):
                getattr(proto, name).extend(_to_proto(i) for i in item)
            elif item is not None:
                getattr(proto, name).CopyFrom(_to_proto(item))
        elif isinstance(item, tuple):
            getattr(proto, name).extend(item)
        elif item:
            setattr(proto, name, item)
    return proto


@cache
def _form(kind: type) -> Mapping[int, Field]:
    """The strict form of a native message's bytes."""
    nested, repeated = _nested(kind), _repeated(kind)
    return {
        f.number: Field(
            wire_type=_WIRE_TYPES[f.type][0],
            repeated=f.name in repeated,
            largest=_WIRE_TYPES[f.type][1],
            nested=_form(nested[f.name]) if f.name in nested else None,
        )
        for f in proto_class(kind).DESCRIPTOR.fields
    }


def _from_proto(proto: ProtoMessage, kind: type) -> Any:
    nested, repeated = _nested(kind), _repeated(kind)
    fields: dict[str, Any] = {}
    for descriptor in proto.DESCRIPTOR.fields:
        item = getattr(proto, descriptor.name)
        inner = nested.get(descriptor.name)
        if descriptor.name in repeated:
            fields[descriptor.name] = tuple(_from_proto(i, inner) if inner else i for i in item)
        elif inner is not None:
            fields[descriptor.name] = _from_proto(item, inner) if proto.HasField(descriptor.name) else None
        elif isinstance(item, str) and not item.isprintable():
            raise WireError(f"a {kind.__name__} has a text with control characters")
        else:
            fields[descriptor.name] = item
    if kind is Signed:
        return Signed(fields["payload"], fields["signer"], fields["signature"])
    return kind(**fields)


def encode(message: Message) -> bytes:
    """The protobuf bytes of a native message."""
    return _to_proto(message).SerializeToString(deterministic=True)


def decode(data: bytes, kind: type[M]) -> M:
    """Decode strictly.

    Raises:
        WireError: The bytes are not a `kind`.
    """
    check_form(data, _form(kind))
    proto = proto_class(kind)()
    try:
        proto.ParseFromString(data)
    except (DecodeError, ValueError):
        raise WireError(f"not a {kind.__name__}") from None
    value = _from_proto(proto, kind)
    if not isinstance(value, kind):
        raise WireError(f"not a {kind.__name__}")
    return value
