"""What is logged of a request, and what never is."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from questions.logs import FORMATTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from flask.testing import FlaskClient


@pytest.fixture
def lines(app: Flask) -> Iterator[Callable[[str], list[str]]]:
    """The lines that a format makes of what the application logs."""
    formatted: dict[str, list[str]] = {name: [] for name in FORMATTERS}

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for name, formatter in FORMATTERS.items():
                formatted[name].append(formatter().format(record))

    handler = Handler()
    logging.getLogger("questions").addHandler(handler)
    yield lambda name: formatted[name]
    logging.getLogger("questions").removeHandler(handler)


def test_a_request_is_one_json_line(client: FlaskClient, lines: Callable[[str], list[str]]) -> None:
    """With its id, its method, path, status and duration, and nothing else of it."""
    answer = client.get("/questions?q=private")

    (line,) = lines("json")
    entry = json.loads(line)
    assert set(entry) == {"time", "level", "logger", "message", "request_id", "method", "path", "status", "duration_ms"}
    assert (entry["method"], entry["path"], entry["status"]) == ("GET", "/questions", 200)
    assert entry["request_id"] == answer.headers["X-Request-ID"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry["time"])
    assert entry["duration_ms"] >= 0


def test_a_request_is_one_line_of_text(client: FlaskClient, lines: Callable[[str], list[str]]) -> None:
    """The same for a person, whatever stands in the path."""
    client.get("/a%0Ab%0D%1B%5B31m%E2%80%A8")

    (line,) = lines("text")
    path = r"/a\nb\r\x1b[31m\u2028"
    assert re.search(
        r" INFO +request request_id=[0-9a-f]{32} method=GET path=" + re.escape(path) + " status=404 ", line
    )
    assert line.isprintable()


@pytest.mark.parametrize("given", ["a", "0af7651916cd43dd-8448/eb:2+1=x@y_z.", "x" * 128])
def test_a_request_id_that_is_given_is_kept(client: FlaskClient, given: str, lines: Callable[[str], list[str]]) -> None:
    """A proxy's id leads through the logs, and back in the answer."""
    answer = client.get("/healthz", headers={"X-Request-ID": given})

    assert answer.headers["X-Request-ID"] == given
    assert json.loads(lines("json")[0])["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "\xe9", '{"a":1}'])
def test_a_request_id_that_could_harm_the_log_is_replaced(client: FlaskClient, given: str) -> None:
    """Nothing that breaks a line or fills a disk is taken over."""
    answer = client.get("/healthz", environ_overrides={"HTTP_X_REQUEST_ID": given})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_every_answer_has_a_request_id(app: Flask) -> None:
    """Refusals too, and each its own."""
    client = app.test_client()

    ids = {
        client.open(url, method=method).headers["X-Request-ID"]
        for method, url in (("GET", "/x"), ("POST", "/questions"))
    }

    assert len(ids) == 2


def test_neither_body_nor_secret_nor_query_is_logged(client: FlaskClient, lines: Callable[[str], list[str]]) -> None:
    """Whatever becomes of the request."""
    for body in ({"title": "private", "description": "private"}, {"title": "private" * 50, "private": 1}):
        client.post("/questions", json=body)
    client.get("/questions?q=private&private=1")
    client.post("/questions", data="private", headers={"Authorization": "Bearer private"})

    logged = "".join(lines("json") + lines("text"))
    assert "/questions" in logged
    assert "private" not in logged
    assert "a-token-for-tests" not in logged


def test_an_exception_stays_in_its_line(
    app: Flask, lines: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As JSON a traceback is one string; as text it follows its line."""
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", value=False)
    monkeypatch.setitem(app.view_functions, "health.alive", lambda: str(1 / 0))

    assert app.test_client().get("/healthz").status_code == 500

    entry = json.loads(lines("json")[0])
    assert entry["level"] == "ERROR"
    assert entry["exception"].endswith("ZeroDivisionError: division by zero")
    assert lines("text")[0].endswith("ZeroDivisionError: division by zero")


# Its own process, since a logger's handlers are global; the development server as `flask run` has it.
SERVE_ONE = """
import logging, threading, urllib.request
from werkzeug.serving import make_server
from questions import SQLiteConfig, create_app

create_app(SQLiteConfig(log_format="{written_as}"))
app = create_app(SQLiteConfig(log_format="{written_as}"))
assert len(logging.getLogger().handlers) == 1
server = make_server("127.0.0.1", 0, app)
server.log_startup()
thread = threading.Thread(target=server.handle_request)
thread.start()
urllib.request.urlopen("http://127.0.0.1:%d/healthz?q=private" % server.port).close()
thread.join()
server.server_close()
"""


@pytest.mark.parametrize(
    ("written_as", "expected"),
    [
        (
            "text",
            [
                r"\S+ INFO +WARNING: This is a development server\..*",
                r"     \* Running on http://127\.0\.0\.1:\d+",
                r"\S+ INFO +request request_id=[0-9a-f]{32} method=GET path=/healthz status=200 duration_ms=\S+",
            ],
        ),
        (
            "json",
            [
                r'\{"time": .* "message": "WARNING: This is .*\\n \* Running on http://127\.0\.0\.1:\d+"\}',
                r'\{"time": .* "message": "request", .* "path": "/healthz", .*\}',
            ],
        ),
    ],
    ids=["text", "json"],
)
def test_where_nobody_set_up_logging_it_goes_to_standard_error(written_as: str, expected: list[str]) -> None:
    """In the format that the settings name: one line a request, under the development server too, and no colours."""
    code = SERVE_ONE.replace("{written_as}", written_as)

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout == ""
    assert re.fullmatch("\n".join(expected), ended.stderr.strip()), ended.stderr
