"""What an analyst types: `connect`, `LocalRoom`, and the client they give.

The names are loaded when they are first used, so that `sealroom --help` loads neither gRPC nor a database.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpc.client.answer import Answer, Report
    from mpc.client.client import Client, connect
    from mpc.client.local import LocalRoom

__all__ = ["Answer", "Client", "LocalRoom", "Report", "connect"]

_HOMES = {
    "Answer": "mpc.client.answer",
    "Client": "mpc.client.client",
    "LocalRoom": "mpc.client.local",
    "Report": "mpc.client.answer",
    "connect": "mpc.client.client",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
