"""Optional OpenTelemetry traces from the analyst through the coordinator to the parties and their workers.

Traces exist when the extra `otel` is installed and `OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._TRACES_ENDPOINT`) is set, as
OpenTelemetry's own tools expect; otherwise every call here does nothing. Only the attributes of `ATTRIBUTES` exist, and
their values pass the log's redactor; an exception is recorded by its code alone. Context travels as W3C `traceparent`
in gRPC metadata; `baggage` and `tracestate` do not travel, for they carry what others put in. A worker has no network:
its node holds the span of each of its operations.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from mpc.errors import MpcError
from mpc.runtime.logs import redacted

__all__ = ["ATTRIBUTES", "TRACE_METADATA", "Tracing", "outgoing", "remote", "set_up", "shut_down", "span"]

TRACE_METADATA: Final = "traceparent"

ATTRIBUTES: Final = frozenset(
    {"attempt", "bytes", "ciphertexts", "code", "job", "kind", "member", "method", "operation", "party", "role",
     "round", "state"}
)  # fmt: skip
"""What a span may say. An attribute that is not listed is a mistake, and is left out."""

_PARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Tracing(Protocol):
    """Where spans go."""

    def start(self, name: str, attributes: Mapping[str, str | int]) -> Any:
        """A context manager that holds a span open and yields it."""
        ...

    def outgoing(self) -> str:
        """The present span as a `traceparent`, or nothing."""
        ...

    def remote(self, parent: str) -> Any:
        """A context manager within which spans belong to a caller's."""
        ...

    def shut_down(self) -> None:
        """Send what is left."""
        ...


class _OpenTelemetry:
    """Spans through OpenTelemetry's SDK."""

    def __init__(self, node: str, exporter: Any = None) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(resource=Resource({"service.name": "sealroom", "service.instance.id": node}))
        if exporter is None:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        else:
            self._provider.add_span_processor(SimpleSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sealroom")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def start(self, name: str, attributes: Mapping[str, str | int]) -> Iterator[Any]:
        """Hold a span open; an error leaves its code in it and nothing else."""
        from opentelemetry.trace import Status, StatusCode

        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as held:
            try:
                yield held
            except BaseException as error:
                held.set_attribute("code", error.code if isinstance(error, MpcError) else type(error).__name__)
                held.set_status(Status(StatusCode.ERROR))
                raise

    def outgoing(self) -> str:
        """The present span as a `traceparent`."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(TRACE_METADATA, "")

    @contextmanager
    def remote(self, parent: str) -> Iterator[None]:
        """Continue a caller's trace."""
        from opentelemetry import context

        token = context.attach(self._propagator.extract({TRACE_METADATA: parent}))
        try:
            yield
        finally:
            context.detach(token)

    def shut_down(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


_tracing: list[Tracing] = []
"""At most one: a process is one node."""


def set_up(node: str, exporter: Any = None) -> bool:
    """Begin tracing, if it is installed and asked for; says whether.

    Args:
        node: Name of the member.
        exporter: Where spans go instead of OTLP, for tests.
    """
    asked = exporter is not None or any(
        os.environ.get(name) for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )
    if not asked or _tracing:
        return bool(_tracing)
    try:
        _tracing.append(_OpenTelemetry(node, exporter))
    except ImportError:
        return False
    return True


def shut_down() -> None:
    """End tracing and send what is left."""
    while _tracing:
        _tracing.pop().shut_down()


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[Callable[..., None]]:
    """Hold a span open; yields a function that adds attributes to it."""
    if not _tracing:
        yield _nothing
        return
    with _tracing[0].start(name, _allowed(attributes)) as held:

        def add(**more: str | int) -> None:
            held.set_attributes(_allowed(more))

        yield add


def _nothing(**_attributes: str | int) -> None:
    """Add nothing to no span."""


def _allowed(attributes: Mapping[str, str | int]) -> dict[str, str | int]:
    chosen = {k: v for k, v in attributes.items() if k in ATTRIBUTES}
    return {f"sealroom.{k}": v if isinstance(v, int) else redacted(v) for k, v in chosen.items()}


def outgoing() -> tuple[tuple[str, str], ...]:
    """Metadata that carries the present span to a peer."""
    parent = _tracing[0].outgoing() if _tracing else ""
    return ((TRACE_METADATA, parent),) if parent else ()


@contextmanager
def remote(metadata: Iterable[tuple[str, Any]]) -> Iterator[None]:
    """Continue the trace of a caller, whose metadata is hostile until it fits the format."""
    parent = next((v for k, v in metadata if k == TRACE_METADATA), "") if _tracing else ""
    if not isinstance(parent, str) or not _PARENT.fullmatch(parent):
        yield
        return
    with _tracing[0].remote(parent):
        yield
