"""The layer around the application: it writes down what is asked of the API, and lets requests meet the faults."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from neon_emulator.faults import answers
from neon_emulator.faults.requests_log import Asked, RequestsLog, readable_body, readable_query
from neon_emulator.faults.rules import Effect, Faults
from neon_emulator.http import API, LARGEST_BODY, request_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_NOTHING = Effect()
_BROKEN = 500


class Disturbing:
    """A WSGI application around another: requests below `/api/v2` are written down, and meet the faults that are set.

    Attributes:
        faults: the rules.
        log: what was asked.
    """

    def __init__(self, inner: WSGIApplication) -> None:
        self._inner = inner
        self.faults = Faults()
        self.log = RequestsLog()
        self._interrupted = threading.Event()

    def interrupt(self) -> None:
        """End every delay now: whoever waits in one has its connection closed, and what was not yet begun is not."""
        waiting, self._interrupted = self._interrupted, threading.Event()
        waiting.set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, unless its fault closes the connection: then the server is told so by ConnectionError."""
        path = Request(environ).path
        if not path.startswith(f"{API}/"):
            return self._inner(environ, start_response)
        try:
            response = self._answer(environ, path.removeprefix(API))
        except _Closed:
            _hang_up(environ)
            raise
        return response(environ, start_response)

    def _answer(self, environ: WSGIEnvironment, path: str) -> Response:
        interrupted = self._interrupted  # before the request can be seen by whoever interrupts it
        # The application is told it too, and makes no other.
        name = environ["HTTP_X_REQUEST_ID"] = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        try:
            body = _read(environ)
        except HTTPException as error:  # too long, or the client has gone before it was complete
            return answers.error(error.code or _BROKEN, error.description or "", name)
        fault = self.faults.meet(environ["REQUEST_METHOD"], path)
        number = self.log.begin(replace(_asked(environ, path, body), fault=fault.id if fault else None))
        status: int | Literal["closed"] = _BROKEN
        try:
            response = self._disturbed(environ, fault.effect if fault else _NOTHING, interrupted)
            status = response.status_code
        except _Closed:
            status = "closed"
            raise
        finally:
            self.log.end(number, status)
        return response

    def _disturbed(self, environ: WSGIEnvironment, effect: Effect, interrupted: threading.Event) -> Response:
        if _cut_short(effect.delay_before, interrupted) or effect.close == "before":
            raise _Closed("A fault has closed the connection.")
        response = Response.from_app(self._inner, environ, buffered=True) if effect.works else Response()
        if _cut_short(effect.delay_after, interrupted) or effect.close == "after":
            raise _Closed("A fault has closed the connection.")
        if effect.status is None:
            return response
        name = environ["HTTP_X_REQUEST_ID"]
        return answers.answer(effect.status, name, body=effect.body, retry_after=effect.retry_after)


class _Closed(ConnectionAbortedError):
    """A connection that a fault has closed; werkzeug's server takes it for one that the client has dropped."""


def _cut_short(delay: float, interrupted: threading.Event) -> bool:
    """Wait for a number of seconds, and tell whether that was interrupted; who has not to wait is not."""
    return delay > 0 and interrupted.wait(delay)


def _hang_up(environ: WSGIEnvironment) -> None:
    """Close the client's connection, without a byte."""
    connection = environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):  # the client has closed it first
            connection.shutdown(socket.SHUT_RDWR)


def _read(environ: WSGIEnvironment) -> bytes:
    """Read a request's body to its end, and leave it to be read again: a fault may outlast the client."""
    request = Request(environ)
    request.max_content_length = LARGEST_BODY
    body = request.get_data(cache=False)
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _asked(environ: WSGIEnvironment, path: str, body: bytes) -> Asked:
    return Asked(
        method=environ["REQUEST_METHOD"],
        path=path,
        query=readable_query(parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)),
        body=readable_body(body),
        request_id=environ["HTTP_X_REQUEST_ID"],
        started=datetime.now(UTC),
    )
