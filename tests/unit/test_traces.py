"""Traces: linked over the wire, with listed attributes only, and nothing at all unless asked for."""

import pytest

from mpc.errors import SourceError
from mpc.runtime import traces

CANARY = "Käthe Canary"


@pytest.fixture
def exported():
    memory = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="the extra `otel` is not installed"
    )
    exporter = memory.InMemorySpanExporter()
    assert traces.set_up("north", exporter)
    yield exporter.get_finished_spans
    traces.shut_down()


def test_without_being_asked_nothing_is_traced(monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)

    assert not traces.set_up("north")
    with traces.span("job", job="0a1b") as add:
        add(round=1)
        assert traces.outgoing() == ()


def test_spans_link_over_metadata(exported):
    with traces.span("client"):
        metadata = traces.outgoing()
    with traces.remote((*metadata, ("sealroom-wire", "1"))), traces.span("Submit", member="ana"):
        pass

    client, submit = exported()
    assert submit.parent.span_id == client.context.span_id
    assert submit.attributes == {"sealroom.member": "ana"}


def test_attributes_are_listed_and_judged(exported):
    with traces.span("x", job=CANARY, customer=CANARY) as add:
        add(sql=CANARY, bytes=7)

    (span,) = exported()
    assert dict(span.attributes) == {"sealroom.job": "<str of 12>", "sealroom.bytes": 7}


def test_an_error_leaves_its_code_and_no_text(exported):
    with pytest.raises(SourceError), traces.span("x"):
        raise SourceError(CANARY, column=CANARY)

    (span,) = exported()
    assert span.attributes["code"] == "E3301"
    assert not span.events
    assert "Canary" not in span.to_json()


@pytest.mark.parametrize(
    "parent", ["", "00-xyz", "00-" + "0" * 5000, b"\xff", "01-" + "a" * 32 + "-" + "b" * 16 + "-01"]
)
def test_hostile_metadata_starts_a_new_trace(exported, parent):
    with traces.remote((("traceparent", parent),)), traces.span("x"):
        pass

    assert exported()[0].parent is None
