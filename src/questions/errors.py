"""What can go wrong, in the words of the domain, and the one place that turns it into an answer.

::

    QuestionsError
    ├── QuestionNotFound     no question has this id
    ├── ChangedMeanwhile     the question is no longer the one that the caller saw
    ├── InvalidInput         a request does not have the described shape
    ├── MalformedInput       a request's body cannot be read
    ├── UnsupportedMedia     a request's body is of another kind
    ├── NotAuthenticated     a write without the token, or with another one
    ├── WritesClosed         a write where no token is configured
    └── Unavailable          the database cannot be used now
        └── NotMigrated      it can be reached, and is not the one that this code needs
"""

from __future__ import annotations

import logging
import sqlite3
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import Flask, Response, current_app, json
from werkzeug.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM = "application/problem+json"

_log = logging.getLogger(__name__)


class QuestionsError(Exception):
    """The root of this package's errors; its text is fit for the caller."""


class QuestionNotFound(QuestionsError):
    """No question has this id."""

    def __init__(self, question_id: int) -> None:
        super().__init__(f"There is no question {question_id}.")


class ChangedMeanwhile(QuestionsError):
    """The question is no longer the one that the caller saw."""

    def __init__(self, question_id: int) -> None:
        super().__init__(f"Question {question_id} has changed since; get it again and repeat with its new ETag.")


class InvalidInput(QuestionsError):
    """A request does not have the described shape."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__(f"Not as described: {', '.join(sorted(errors))}.")
        self.errors = dict(errors)


class MalformedInput(QuestionsError):
    """A request's body cannot be read."""


class UnsupportedMedia(QuestionsError):
    """A request's body is of another kind."""


class NotAuthenticated(QuestionsError):
    """A write without the token, or with another one."""


class WritesClosed(QuestionsError):
    """A write where no token is configured."""


class Unavailable(QuestionsError):
    """The database cannot be used now."""


class NotMigrated(Unavailable):
    """The database can be reached, and is not the one that this code needs."""


STATUS: dict[type[QuestionsError], HTTPStatus] = {
    MalformedInput: HTTPStatus.BAD_REQUEST,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    WritesClosed: HTTPStatus.FORBIDDEN,
    QuestionNotFound: HTTPStatus.NOT_FOUND,
    ChangedMeanwhile: HTTPStatus.PRECONDITION_FAILED,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    NotMigrated: HTTPStatus.SERVICE_UNAVAILABLE,
}

_HEADERS: dict[HTTPStatus, dict[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="questions"'},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "5"},
}

_UNMIGRATED = "The database is not migrated. Run: flask --app questions db upgrade"
# By SQLSTATE (PostgreSQL's documentation, appendix A).
_POSTGRES: dict[str, Unavailable] = {
    "42P01": NotMigrated(_UNMIGRATED),  # undefined_table
    "42703": NotMigrated(_UNMIGRATED),  # undefined_column
    "42501": Unavailable("The role that DATABASE_URL names lacks a right to the database. Grant it, or name another."),
    "25006": Unavailable("The database can only be read now. Try again, or name the primary server in DATABASE_URL."),
}
# SQLite has sentences.
_SQLITE: dict[str, Unavailable] = {
    "no such table": NotMigrated(_UNMIGRATED),
    "no such column": NotMigrated(_UNMIGRATED),
    "not a database": Unavailable("The file that DATABASE_URL names is not a SQLite database. Name another."),
    "readonly database": Unavailable("The database can only be read. Give the service the right to write its file."),
}


def init_app(app: Flask) -> None:
    """Answer every error of the application as problem+json."""
    app.register_error_handler(QuestionsError, _from_domain)
    app.register_error_handler(sa.exc.SQLAlchemyError, _from_database)
    app.register_error_handler(HTTPException, from_http)


def database_trouble(error: sa.exc.SQLAlchemyError) -> Unavailable | None:
    """What a database error means for the caller; None for one that is a mistake of ours."""
    if isinstance(error, sa.exc.DBAPIError):
        trouble = _of_sqlite(error.orig) if isinstance(error.orig, sqlite3.Error) else _of_postgres(error.orig)
        if trouble is not None:
            return trouble
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError):
        return Unavailable("The database cannot be reached or is too busy. Try again.")
    return None


def _of_sqlite(error: sqlite3.Error) -> Unavailable | None:
    return next((trouble for words, trouble in _SQLITE.items() if words in str(error)), None)


def _of_postgres(error: BaseException | None) -> Unavailable | None:
    return _POSTGRES.get(getattr(error, "sqlstate", None) or "")


def from_http(error: HTTPException) -> Response:
    """Werkzeug's own refusals (404, 405, 413, 500 …) in the one error shape, with the headers that they need."""
    given = error.get_response()
    answer = _problem(HTTPStatus(given.status_code), error.description or "")
    for name in ("Allow", "Location", "Retry-After", "WWW-Authenticate"):
        if name in given.headers:
            answer.headers[name] = given.headers[name]
    return answer


def _from_domain(error: QuestionsError) -> Response:
    errors = {"errors": error.errors} if isinstance(error, InvalidInput) else {}
    return _problem(STATUS[type(error)], str(error), **errors)


def _from_database(error: sa.exc.SQLAlchemyError) -> Response:
    trouble = database_trouble(error)
    if trouble is None:
        raise _without_values(error)
    # The driver's words name a host or a table and no parameters; they are for the log, not for the caller.
    _log.warning("database: %s", str(getattr(error, "orig", error)).strip())
    return _from_domain(trouble)


def _without_values(error: sa.exc.SQLAlchemyError) -> Exception:
    """The same error fit for the log: the detail that Postgres adds quotes the row, which is somebody's text."""
    diagnosis = getattr(getattr(error, "orig", None), "diag", None)
    if diagnosis is None:
        return error
    mistake = RuntimeError(f"{type(error).__name__}: {diagnosis.message_primary} (SQLSTATE {diagnosis.sqlstate})")
    mistake.__suppress_context__ = True
    return mistake.with_traceback(error.__traceback__)


def _problem(status: HTTPStatus, detail: str, **more: Any) -> Response:
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **more}
    return current_app.response_class(
        json.dumps(body), status=status, headers=_HEADERS.get(status), content_type=PROBLEM
    )
