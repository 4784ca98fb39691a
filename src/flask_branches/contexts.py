"""Each request and command of a test in a context of its own, and an application context for the test's body."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any

from flask import has_app_context
from flask.globals import app_ctx
from flask.testing import FlaskCliRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from click.testing import Result
    from flask import Flask
    from sqlalchemy.orm import Session, scoped_session

# Where Flask's client says so.
_KEEP = "werkzeug.debug.preserve_context"


@contextmanager
def apart(app: Flask, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let no request, and no command, share ``g``, the session or anything else with the test's body.

    pytest-flask pushes a request context around the test, and Flask's client would use it for every request: a view
    that forgets to commit then passes. So does a command, which Flask runs in whatever context there is.

    Args:
        app: whose requests and commands are meant.
        check: called when one has come to its end, in the caller's context; what it raises reaches the caller.
    """
    wsgi_app, runner_class = app.wsgi_app, app.test_cli_runner_class
    # Flask documents this as the way to put a layer around an application.
    app.wsgi_app = _apart(wsgi_app, check)  # type: ignore[method-assign,assignment]  # to mypy it is a method
    app.test_cli_runner_class = _runner_class(runner_class or FlaskCliRunner, check)
    try:
        with ExitStack() as undo:
            db = app.extensions.get("sqlalchemy")
            if not has_app_context() or app_ctx.app is not app:
                undo.enter_context(app.app_context())
            elif db is not None:
                undo.enter_context(_as_it_was(db.session))
            yield
    finally:
        app.wsgi_app = wsgi_app  # type: ignore[method-assign]  # assigned as Flask documents it
        app.test_cli_runner_class = runner_class


@contextmanager
def _as_it_was(session: scoped_session[Session]) -> Iterator[None]:
    """Let the session of a context that others have pushed go on afterwards, with what they have in it, and no more.

    It has no transaction, neither before nor afterwards: what they have not committed is lost, as everywhere.
    """
    session.rollback()
    before = {id(each): each for each in session}
    try:
        yield
    finally:
        session.rollback()
        for each in list(session):
            if id(each) not in before:
                session.expunge(each)


def _apart(wsgi_app: WSGIApplication, check: Callable[[], None]) -> WSGIApplication:
    def run(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context = Context()
        body = context.run(wsgi_app, _keeping_copies(environ), start_response)
        check()
        return _Body(context, body)

    return run


def _keeping_copies(environ: WSGIEnvironment) -> WSGIEnvironment:
    """Give a client that keeps its requests' contexts copies: a streamed answer is still using its own, over here."""
    keep = environ.get(_KEEP)
    return environ if keep is None else {**environ, _KEEP: lambda context: keep(_copied(context))}


def _copied(context: Any) -> Any:  # noqa: ANN401  up to Flask 3.1 a request's context, later an application's: no common type
    if not hasattr(context, "copy"):  # an application context, before Flask made one of the two
        copied = context.app.app_context()
        copied.g = context.g
        return copied
    copied = context.copy()
    copied.flashes = context.flashes
    return copied


def _runner_class(base: type[FlaskCliRunner], check: Callable[[], None]) -> type[FlaskCliRunner]:
    def invoke(self: FlaskCliRunner, *arguments: Any, **named: Any) -> Result:
        result = Context().run(base.invoke, self, *arguments, **named)
        check()
        return result

    return type("Runner", (base,), {"invoke": invoke})


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
