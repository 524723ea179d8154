"""The log's redactor: canaries in every place where data could slip in, and the code that writes records."""

import ast
import io
import json
import logging
import sys
import threading
from pathlib import Path

import pytest

from mpc.errors import ConfigurationError, PartyLost, SourceError
from mpc.runtime.logs import FIELDS, JsonFormatter, Sentence, TextFormatter, configure_logging, redacted

CANARY = "Käthe Canary, 4711 Main St"
ROOT = Path(__file__).parents[2]


def written(formatter, emit, name="servers.party.canary"):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate, level = [handler], False, logger.level
    logger.setLevel(logging.DEBUG)
    try:
        emit(logger)
    finally:
        logger.handlers, logger.propagate = [], True
        logger.setLevel(level)
    return stream.getvalue()


def raising(logger, error):
    secret = CANARY  # noqa: F841 - a local variable, as a traceback with locals would show it
    try:
        raise error
    except type(error):
        logger.exception("it failed")


def chained(logger):
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise ValueError(CANARY) from error
    except ValueError:
        logger.exception("it failed")


EMITTERS = {
    "text as an argument": lambda log: log.info("value %s", CANARY),
    "bytes as an argument": lambda log: log.info("value %s", CANARY.encode()),
    "repr of an argument": lambda log: log.info("value %r", CANARY),
    "a list": lambda log: log.info("values %s", [CANARY]),
    "two arguments": lambda log: log.info("%s of %s", CANARY, {"name": CANARY}),
    "a mapping": lambda log: log.info("value %(x)s", {"x": CANARY}),
    "extra, an allowed name": lambda log: log.info("done", extra={"job": CANARY}),
    "extra, another name": lambda log: log.info("done", extra={"customer": CANARY}),
    "extra, nested": lambda log: log.info("done", extra={"party": {"name": CANARY}}),
    "a wrong number of arguments": lambda log: log.info("value %s %s", CANARY),  # noqa: PLE1206
    "an exception": lambda log: raising(log, ValueError(CANARY)),
    "an exception's chain": chained,
    "our error's detail": lambda log: raising(log, SourceError(CANARY)),
    "our error's field": lambda log: log.info("job ended: %s", PartyLost("", party="north", column=CANARY)),
    "our error's reason": lambda log: log.info("job ended: %s", PartyLost(CANARY, reason=CANARY)),
    "an error as an argument": lambda log: log.info("ended: %s", ValueError(CANARY)),
    "an object": lambda log: log.info("ended: %s", type("Row", (), {"__str__": lambda self: CANARY})()),
}


@pytest.mark.parametrize("kind", [JsonFormatter, TextFormatter])
@pytest.mark.parametrize("emitter", EMITTERS.values(), ids=EMITTERS)
def test_no_canary_is_written(emitter, kind):
    text = written(kind("north"), emitter)

    assert text.strip()
    assert not any(word in text for word in ("Canary", "4711", "Käthe", "Main St"))


def test_other_libraries_lose_their_text_and_keep_their_place():
    text = written(JsonFormatter("north"), lambda log: log.error(f"bad row {CANARY}"), name="asyncio")

    assert "Canary" not in text
    assert "test_logs.py" in json.loads(text)["event"]


def test_a_json_line_says_who_what_and_where():
    def emit(log):
        log.info("round %d of %s", 3, "0a1b2c3d", extra={"party": "north", "seconds": 0.25})

    line = json.loads(written(JsonFormatter("hub"), emit))

    assert line["event"] == "round 3 of 0a1b2c3d"
    assert (line["level"], line["node"], line["logger"]) == ("info", "hub", "servers.party.canary")
    assert (line["party"], line["seconds"]) == ("north", 0.25)
    assert line["time"].endswith("Z")


def test_an_error_of_ours_is_its_code_its_class_and_its_names():
    assert redacted(PartyLost(CANARY, party="north", step="add")) == "E4302 PartyLost party=north step=add"


def test_an_exception_is_its_class_and_places():
    line = json.loads(written(JsonFormatter("hub"), chained))

    assert (line["exception"], line["because"]) == ("ValueError", "KeyError")
    assert any("test_logs.py" in place and "chained" in place for place in line["at"])


@pytest.mark.parametrize("word", ["north", "E4302", "127.0.0.1:7443", "[::1]:7443", "bfv-4096-t40", "0a1b2c3d"])
def test_words_pass(word):
    assert redacted(word) == word


@pytest.mark.parametrize("text", ["", "a b", "x" * 65, "ä", "a\nb", "a=b", "'x'", "a@b.example"])
def test_other_text_does_not(text):
    assert redacted(text) == f"<str of {len(text)}>"


def test_a_sentence_is_vouched_for():
    assert redacted(Sentence("listen is host:port, and more")) == "listen is host:port, and more"


@pytest.fixture
def restored():
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    yield
    root.handlers, root.level = before[0], before[1]
    sys.excepthook, threading.excepthook = before[2:]
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize(
    ("how", "variable", "terminal", "json_wanted"),
    [
        ("auto", "", False, True),
        ("auto", "", True, False),
        ("json", "", True, True),
        ("text", "", False, False),
        ("json", "text", False, False),
    ],
)
def test_json_unless_a_terminal_or_told(monkeypatch, restored, how, variable, terminal, json_wanted):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("SEALROOM_LOG_FORMAT", variable)

    configure_logging("north", "info", how)
    logging.getLogger("sealroom.party").info("started")

    assert stream.getvalue().startswith("{") is json_wanted


def test_an_uncaught_exception_passes_the_redactor(monkeypatch, restored):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("north", "info", "json")

    try:
        raise ValueError(CANARY)
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    thread = threading.Thread(target=lambda: {}[CANARY])
    thread.start()
    thread.join()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["exception"] for line in lines] == ["ValueError", "KeyError"]
    assert "Canary" not in stream.getvalue()


@pytest.mark.parametrize(("level", "how"), [("loud", "auto"), ("info", "xml")])
def test_a_wrong_level_or_format_is_refused(restored, level, how):
    with pytest.raises(ConfigurationError):
        configure_logging("north", level, how)


def _log_calls():
    for path in sorted([*(ROOT / "mpc").rglob("*.py"), *(ROOT / "servers").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"debug", "info", "warning", "error", "critical", "exception"}
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in {"log", "logger", "logging"}
            ):
                yield path, node


def test_every_record_has_a_constant_template_and_known_fields():
    """What the redactor relies on: a template is a constant, `extra` has listed names only."""
    calls = list(_log_calls())

    assert len(calls) > 15
    for path, node in calls:
        first = node.args[0]
        where = f"{path.relative_to(ROOT)}:{node.lineno}"
        assert isinstance(first, ast.Constant), where
        assert isinstance(first.value, str), where
        for keyword in node.keywords:
            if keyword.arg == "extra":
                assert isinstance(keyword.value, ast.Dict), where
                assert {k.value for k in keyword.value.keys} <= FIELDS, where


def test_vouched_sentences_are_few():
    """`Sentence` is for start-up errors of the operator's own configuration; a new use deserves a look."""
    users = {
        str(path.relative_to(ROOT))
        for path in [*(ROOT / "mpc").rglob("*.py"), *(ROOT / "servers").rglob("*.py")]
        if "Sentence(" in path.read_text(encoding="utf-8")
    }

    assert users == {
        "mpc/runtime/logs.py", "servers/coordinator/__main__.py", "servers/health.py", "servers/party/__main__.py",
    }  # fmt: skip
