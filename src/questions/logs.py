"""Structured logs: one line a record, with the id of its request; never a body, a query string or a secret."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, has_request_context, request

if TYPE_CHECKING:
    from questions.config import Config

REQUEST_ID = "X-Request-ID"

# What a caller may hand us for our own logs: nothing that could break a line or fill a disk.
_ACCEPTED_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)

# The colours of Flask's development server, which it writes to files too.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# The control characters of ASCII and of Unicode, and what else begins a line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_log = logging.getLogger(__name__)


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request_id, and what the record carries in ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON, an exception as one string in it."""
        entry = {**_what(record), **getattr(record, "fields", {})}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same for a person: time, level, message, then the rest as ``key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, an exception below it."""
        what = _what(record)
        fields = {"request_id": what.get("request_id"), **getattr(record, "fields", {})}
        rest = printable(" ".join(f"{key}={value}" for key, value in fields.items() if value is not None))
        # Further lines are set in: none can pass for a record of its own.
        message = "\n    ".join(printable(line) for line in what["message"].split("\n"))
        line = f"{what['time']} {what['level']:7} {message} {rest}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


FORMATTERS: dict[str, type[logging.Formatter]] = {"json": JSONFormatter, "text": TextFormatter}


def printable(text: str) -> str:
    """Somebody else's text as one line that moves no cursor and sets no colour: control characters as escapes."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def init_app(app: Flask, config: Config) -> None:
    """Log each request of the application; where nobody has set up logging, write it to standard error."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(FORMATTERS[config.log_format]())
        handler.addFilter(_is_not_the_development_server_s_request)
        root.addHandler(handler)
    logging.getLogger("questions").setLevel(config.log_level)
    app.before_request(_begin)
    app.after_request(_end)


def _is_not_the_development_server_s_request(record: logging.LogRecord) -> bool:
    """Werkzeug's own line for a request says again what ours does, and the query string as well."""
    return not (record.name == "werkzeug" and '"%s" %s %s' in str(record.msg))


def _begin() -> None:
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
    g.began = time.perf_counter()


def _end(response: Response) -> Response:
    response.headers[REQUEST_ID] = g.request_id
    fields: dict[str, Any] = {
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "duration_ms": round((time.perf_counter() - g.began) * 1000, 1),
    }
    _log.info("request", extra={"fields": fields})
    return response


def _what(record: logging.LogRecord) -> dict[str, Any]:
    what = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": _COLOUR.sub("", record.getMessage()),
    }
    if has_request_context() and "request_id" in g:
        what["request_id"] = g.request_id
    return what
