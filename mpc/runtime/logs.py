"""Logs that can be shown to anybody: constant sentences, names and numbers, and nothing that came from data.

The redactor is an allow-list. A record's template is a constant of our own code (a test reads every call); what is
filled in is judged by type and shape:

| value | what is written |
|---|---|
| number, boolean, None | itself |
| name, identifier, digest, `host:port` (one short word of a small alphabet) | itself |
| one of our errors | its code, its class, and those of its fields that are names |
| any other exception | its class; of its traceback, files, lines and functions |
| `Sentence` | itself: the caller vouches that it is free of data |
| anything else | its type and length |

Records of other libraries keep their place in the code and lose their text, because an f-string cannot be judged.
"""

import datetime as dt
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from mpc.errors import ConfigurationError, MpcError

__all__ = ["FIELDS", "JsonFormatter", "LogFormat", "Sentence", "TextFormatter", "configure_logging", "redacted"]

LogFormat = Literal["auto", "json", "text"]

FORMAT_VARIABLE: Final = "SEALROOM_LOG_FORMAT"

OURS: Final = ("mpc", "servers", "sealroom")
"""Roots of loggers whose templates are constants of this repository."""

FIELDS: Final = frozenset(
    {
        "attempt", "bytes", "ciphertexts", "code", "incident", "job", "kind", "listen", "member", "method", "party",
        "phase", "reason", "role", "room", "round", "seconds", "signal", "state", "step", "trace", "version",
    }
)  # fmt: skip
"""Names that may be given in `extra=`."""

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+\-]{0,63}|\[?[0-9a-fA-F:.]{2,39}\]?:[0-9]{1,5}")
_NAMES: Final = frozenset({"party", "member", "method", "role", "round", "attempt", "limit", "step", "rule"})
"""Fields of our errors that are written: names of members and of the protocol, never of columns or keys."""


class Sentence(str):
    """Text that the caller vouches for: made of constants and of the operator's own configuration."""

    __slots__ = ()


def redacted(value: object) -> str:
    """What the log shows of a value.

    >>> redacted("north"), redacted(7), redacted("Anna Müller, 4711")
    ('north', '7', '<str of 17>')
    """
    match value:
        case None | bool() | int() | float():
            return str(value)
        case Sentence():
            return str.__str__(value)
        case MpcError():
            return _error(value)
        case BaseException():
            return type(value).__name__
        case str() if _WORD.fullmatch(value):
            return value
        case str() | bytes() | list() | tuple() | dict() | set() | frozenset():
            return f"<{type(value).__name__} of {len(value)}>"
        case _:
            return f"<{type(value).__name__}>"


def _error(error: MpcError) -> str:
    named = [f"{k}={redacted(v)}" for k, v in sorted(error.fields.items()) if k in _NAMES]
    return " ".join((error.code, type(error).__name__, *named))


def _ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in OURS


def _message(record: logging.LogRecord) -> str:
    """The record's sentence with judged values."""
    if not _ours(record):
        return f"{record.name} wrote a record, withheld, at {Path(record.pathname).name}:{record.lineno}"
    template = str(record.msg)
    if not record.args:
        return template
    if isinstance(record.args, Mapping):
        return template % {k: redacted(v) for k, v in record.args.items()}
    # Conversions of numbers (%d, %.2f) keep their own formatting; everything else becomes judged text.
    values = tuple(v if isinstance(v, int | float) else redacted(v) for v in record.args)
    try:
        return template % values
    except (TypeError, ValueError):
        return template


def _trace(kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> dict[str, Any]:
    """An exception by class and places; its text is left out, for it may quote a value."""
    places = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(tb)]
    found: dict[str, Any] = {"exception": kind.__name__ if kind else "unknown", "at": places[-12:]}
    cause = error.__cause__ or error.__context__ if error is not None else None
    if cause is not None:
        found["because"] = type(cause).__name__
    return found


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The allowed fields of `extra=`, judged."""
    found = {name: record.__dict__[name] for name in sorted(FIELDS & record.__dict__.keys())} if _ours(record) else {}
    return {k: v if isinstance(v, int | float) else redacted(v) for k, v in found.items()}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, node, logger, event, and what else is known."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "node": self._node,
            "logger": record.name,
            "event": _message(record),
            **_fields(record),
        }
        if record.exc_info:
            line |= _trace(*record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One line for a person at a terminal."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the places of an exception."""
        moment = dt.datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {k}={v}" for k, v in _fields(record).items())
        text = f"{moment} {record.levelname.lower():<7} {self._node}: {_message(record)}{fields}"
        if record.exc_info:
            found = _trace(*record.exc_info)
            text += "".join(f"\n    {found['exception']} at {place}" for place in found["at"])
        return text


def configure_logging(node: str, level: str, how: LogFormat | str = "auto") -> None:
    """Send the process's log to stderr: JSON unless stderr is a terminal, or as told.

    The variable `SEALROOM_LOG_FORMAT` (`json` or `text`) wins over the configuration; uncaught exceptions of the main
    thread and of others pass the redactor too.

    Raises:
        ConfigurationError: No such level or format.
    """
    chosen = os.environ.get(FORMAT_VARIABLE) or how
    if chosen not in {"auto", "json", "text"}:
        raise ConfigurationError("a log format is auto, json or text")
    if level.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ConfigurationError("a log level is debug, info, warning or error")
    text = chosen == "text" or (chosen == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter(node) if text else JsonFormatter(node))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, tb)
        return
    logging.getLogger("sealroom").critical("the process ends unexpectedly", exc_info=(kind, error, tb))


def _uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        found = (arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
        logging.getLogger("sealroom").error("a thread ended unexpectedly", exc_info=found)
