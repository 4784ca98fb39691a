"""Each request of a test in a context of its own, and an application context for the test's body."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any

from flask import has_app_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask


@contextmanager
def apart(app: Flask, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let no request share ``g``, the session or anything else with the test's body, whatever contexts that has.

    pytest-flask pushes a request context around the test, and Flask's client would use it for every request: a view
    that forgets to commit then passes.

    Args:
        app: whose requests are meant.
        check: called when a request has been answered, in the caller's context; what it raises reaches the client.
    """
    wsgi_app = app.wsgi_app
    app.wsgi_app = _apart(wsgi_app, check)  # type: ignore[method-assign,assignment]
    try:
        if has_app_context():
            yield
        else:
            with app.app_context():
                yield
    finally:
        app.wsgi_app = wsgi_app  # type: ignore[method-assign]


def _apart(wsgi_app: WSGIApplication, check: Callable[[], None]) -> WSGIApplication:
    def run(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context = Context()
        body = context.run(wsgi_app, environ, start_response)
        check()
        return _Body(context, body)

    return run


class _Body:
    """A response's body, also read and closed in the request's context: a streamed one works there."""

    def __init__(self, context: Context, body: Iterable[bytes]) -> None:
        self._context = context
        self._body = body
        self._parts = context.run(iter, body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._context.run(next, self._parts)

    def close(self) -> None:
        close: Any = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)
