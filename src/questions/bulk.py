"""Many questions at once: stored in one transaction, read as a stream, in memory that does not grow."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import psycopg
import sqlalchemy as sa

from questions.extensions import db
from questions.models import Question, search_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BATCH = 1_000
_COPY = "COPY questions (title, description, search) FROM STDIN"


def store_questions(rows: Iterable[tuple[str, str]]) -> int:
    """Store every title and description, or, where anything is raised on the way, none.

    Args:
        rows: validated; read once, as they are stored.

    Returns:
        How many were stored.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: where the database refuses them or goes away.
    """
    store = _insert if db.session.get_bind().dialect.name == "sqlite" else _copy
    stored = store((title, description, search_text(title, description)) for title, description in rows)
    db.session.commit()
    return stored


def all_questions() -> Iterator[tuple[str, str]]:
    """The title and description of every question, in the order they were asked."""
    wanted = sa.select(Question.title, Question.description).order_by(Question.id)
    for question in db.session.execute(wanted.execution_options(yield_per=_BATCH)):
        yield question.title, question.description


def _insert(rows: Iterator[tuple[str, str, str]]) -> int:
    stored = 0
    columns = ("title", "description", "search")
    while batch := [dict(zip(columns, row, strict=True)) for row in islice(rows, _BATCH)]:
        # As a Core statement: an ORM one would ask for the ids, which nobody needs.
        db.session.connection().execute(sa.insert(Question), batch)
        stored += len(batch)
    return stored


def _copy(rows: Iterator[tuple[str, str, str]]) -> int:
    stored = 0
    # In the session's own transaction, so that it ends with it.
    connection = db.session.connection()
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    try:
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            for stored, row in enumerate(rows, 1):  # noqa: B007  the last number is the count
                copy.write_row(row)
    except psycopg.Error as error:
        # SQLAlchemy knows nothing of COPY, neither its errors nor a connection that it has lost.
        if driver.closed:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(_COPY, None, error, psycopg.Error, hide_parameters=True) from error
    return stored
