"""Hypothesis strategies for any native message or statement, from its own type hints."""

import typing
from enum import Enum

import msgspec
from hypothesis import strategies as st

__all__ = ["of_type", "structs"]

PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=12)
RANGES = {"uint32": (1 << 32) - 1, "uint64": (1 << 64) - 1}


def of_type(hint, largest):
    """Values of a field; texts are printable, as the wire demands."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is str:
        return PRINTABLE
    if hint is bytes:
        return st.binary(max_size=40)
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(0, largest) | st.sampled_from([0, 1, 127, 128, largest])
    if hint is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return structs(hint)
    if origin is tuple and arguments[-1] is ...:
        return st.lists(of_type(arguments[0], largest), max_size=4).map(tuple)
    if origin is tuple:
        return st.tuples(*(of_type(a, largest) for a in arguments))
    (inner,) = (a for a in arguments if a is not type(None))
    return st.none() | of_type(inner, largest)


def structs(kind, limits=None):
    """Values of a struct; `limits` gives the largest value of an integer field by name."""
    hints = {n: h for n, h in typing.get_type_hints(kind).items() if n in kind.__struct_fields__}
    return st.builds(kind, **{n: of_type(h, (limits or {}).get(n, (1 << 32) - 1)) for n, h in hints.items()})
